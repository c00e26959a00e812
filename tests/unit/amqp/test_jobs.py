"""Jobs from the broker."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from pika.exceptions import ChannelClosedByBroker, NackError
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.amqp.jobs import JobConsumer
from c2c_agent.amqp.messages import CANCEL, cancel_message, encode
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    SecondAnswered,
)
from c2c_agent.call.evidence import CallEvidence
from c2c_agent.call.outcome import Outcome
from tests.fake_broker import FakeConnection
from tests.fakes import CRM, EPOCH, Desk, uuid

ONE, TWO = uuid(1), uuid(2)


class JobTest(SynchronousTestCase):
    """An agent that takes jobs from a queue."""

    def setUp(self) -> None:
        """Begin to take jobs."""
        self.desk = Desk()
        self.key: Any = CRM
        self.lost: list[str] = []
        self.start()

    def start(self) -> None:
        """Take jobs for the agent as it is now."""
        self.consumer = JobConsumer(
            "c2c.jobs.pbx1",
            prefetch=7,
            key=lambda: self.key,
            intake=self.desk.intake,
            dispatcher=self.desk.dispatcher,
            clock=self.desk.clock,
        )
        self.connect()

    def connect(self) -> None:
        """The link comes up."""
        self.broker = FakeConnection()
        opening = self.consumer.opened(self.broker, self.lost.append)
        self.successResultOf(Deferred.fromCoroutine(opening))

    def give(self, **changes: object) -> int:
        """Give the agent a job; its tag."""
        job = {
            "request_id": ONE,
            "dial_first": "100",
            "dial_second": "200",
            "dial_as": "100",
            "timeout": 20,
            "pbx": "asterisk",
            "expires": EPOCH + 10,
        }
        return self.broker.deliver(encode(job | changes))

    def dead_letter(self) -> str:
        """Why the one dead letter is one."""
        [(exchange, key, _, properties)] = self.broker.published
        assert (exchange, key) == ("c2c.dead", "c2c.jobs.pbx1")
        return str(properties.headers["c2c-reason"])


class Taking(JobTest):
    """Acknowledged when it is in the store."""

    def test_the_queue(self) -> None:
        """So many at once."""
        assert (self.broker.consumed, self.broker.prefetch) == ("c2c.jobs.pbx1", 7)

    def test_not_before_it_is_stored(self) -> None:
        """Until then the broker has to keep it."""
        self.desk.store.hold_writes()
        tag = self.give()
        assert self.broker.settled == {}
        self.desk.store.commit()
        assert self.desk.driver.originated == [ONE]
        self.desk.driver.tells(ONE, OriginateAccepted())
        assert self.broker.settled == {}
        self.desk.store.commit()
        assert self.broker.settled == {tag: "ack"}

    def test_the_pbx(self) -> None:
        """The job says of which kind it is, and the agent's key which of that kind."""
        self.desk = Desk("asterisk north", "asterisk south", "switchvox hotel", "other")
        assert self.key is not None
        self.key = evolve(self.key, pbx={"asterisk": "south", "switchvox": "hotel"})
        self.start()
        self.give()
        assert self.desk.drivers["south"].originated == [ONE]
        self.give(request_id=TWO, pbx="switchvox")
        assert self.desk.drivers["hotel"].originated == [TWO]
        self.give(request_id=uuid(3), pbx="other")
        refused = self.desk.call(uuid(3))
        assert refused.answer is not None
        assert [fault.code.value for fault in refused.answer.faults] == ["not_allowed"]
        for driver, request_id in (("south", ONE), ("hotel", TWO)):
            self.desk.drivers[driver].tells(request_id, Gone(CallEvidence(lost=True)))

    def test_the_pbx_that_it_names(self) -> None:
        """One that is opened to jobs; who asked for another is told, as for a key of its own."""
        pbxs = ("other north", "other south", "other west")
        self.desk = Desk(*pbxs, for_jobs=["south"])
        self.key = evolve(self.key, pbx={"other": "north"})
        self.start()
        for request_id, name in ((ONE, None), (TWO, "south"), (uuid(3), "west")):
            self.give(request_id=request_id, pbx="other", pbx_name=name)
        originated = {name: driver.originated for name, driver in self.desk.drivers.items()}
        assert originated == {"north": [ONE], "south": [TWO], "west": []}
        job = self.desk.call(TWO).job
        assert job is not None
        assert (job.pbx_name, job.agent_pbx) == ("south", None)
        refused = self.desk.call(uuid(3))
        assert refused.outcome is Outcome.REJECTED
        assert refused.answer is not None
        assert [fault.code.value for fault in refused.answer.faults] == ["not_allowed"]
        for name, request_id in (("north", ONE), ("south", TWO)):
            self.desk.drivers[name].tells(request_id, Gone(CallEvidence(lost=True)))

    def test_the_name_of_no_pbx(self) -> None:
        """Such a job is none."""
        self.give(pbx_name="no name")
        assert self.dead_letter() == "pbx_name is not the name of a PBX"

    def test_again_while_its_answer_is_not_durable(self) -> None:
        """That it was answered does not make it safe."""
        self.give()
        self.desk.store.hold_writes()
        self.desk.driver.tells(ONE, OriginateAccepted())
        tag = self.give()
        assert self.broker.settled.get(tag) is None
        self.desk.store.commit()
        assert self.broker.settled[tag] == "ack"

    def test_again_after_the_disk_was_full(self) -> None:
        """It does not wait for the next change, which may be long in coming."""
        self.give()
        self.desk.driver.tells(ONE, OriginateAccepted(), FirstAnswered())
        self.desk.store.hold_writes()
        self.desk.driver.tells(ONE, SecondAnswered())
        self.desk.store.fail()
        tag = self.give()
        assert self.broker.settled.get(tag) is None
        self.desk.store.commit()
        assert self.broker.settled[tag] == "ack"

    def test_again(self) -> None:
        """Also while the first is not stored yet: acknowledged, and not dialled."""
        self.desk.store.hold_writes()
        first, second = self.give(), self.give()
        self.desk.store.release()
        self.desk.driver.tells(ONE, OriginateAccepted())
        assert self.broker.settled == {first: "ack", second: "ack"}
        third = self.give()
        assert self.broker.settled[third] == "ack"
        assert self.desk.driver.originated == [ONE]

    def test_again_after_its_end(self) -> None:
        """Known from the store."""
        self.give(dial_second="999")
        assert self.desk.call(ONE).outcome is Outcome.REJECTED
        assert self.broker.settled[self.give(dial_second="999")] == "ack"
        assert self.broker.published == []

    def test_what_is_wrong_with_it_is_a_result(self) -> None:
        """A number that may not be dialled is no malformed job: who asked is told."""
        tag = self.give(dial_second="0037112345678")
        assert self.desk.call(ONE).outcome is Outcome.REJECTED
        assert self.broker.settled == {tag: "ack"}

    def test_past_its_time(self) -> None:
        """It rings nobody."""
        self.give(expires=EPOCH - 1)
        assert self.desk.call(ONE).outcome is Outcome.EXPIRED
        assert self.desk.driver.originated == []

    def test_the_store_cannot_be_read(self) -> None:
        """Nobody knows whether it was dialled before: it comes again, later."""
        self.desk.store.hold_reads()
        tag = self.give()
        self.desk.store.fail_reads()
        assert self.broker.settled == {}
        self.desk.clock.advance(5)
        assert self.broker.settled == {tag: "again"}
        assert self.desk.driver.originated == []

    def test_the_agent_stops(self) -> None:
        """What it does not take in any more, comes again."""
        self.desk.intake.close()
        tag = self.give()
        self.desk.clock.advance(5)
        assert self.broker.settled == {tag: "again"}
        assert self.desk.store.saves == []

    def test_the_link_is_lost_meanwhile(self) -> None:
        """Then nothing can be said; the broker gives it again, and it is known."""
        self.desk.store.hold_writes()
        self.give()
        self.broker.channels[-1].is_open = False
        self.consumer.closed("cut")
        self.desk.store.release()
        assert self.broker.settled == {}
        self.connect()
        tag = self.give()
        self.desk.driver.tells(ONE, OriginateAccepted())
        assert self.broker.settled == {tag: "ack"}
        assert self.desk.driver.originated == [ONE]


class OfOneRelay(JobTest):
    """A job says which relay alone is to hear of it."""

    def test_it_is_kept(self) -> None:
        """With the call, also where that is refused; a request of somebody else has none."""
        self.give(relay="relay-a")
        assert self.desk.call(ONE).relay == "relay-a"
        other = uuid(2)
        self.give(request_id=other, relay="relay-b", dial_second="nonsense & more")
        assert self.desk.call(other).job is None
        assert self.desk.call(other).relay == "relay-b"
        self.desk.submit(request_id=uuid(3), relay="relay-c")
        assert self.desk.call(uuid(3)).relay is None

    def test_what_cannot_stand_in_a_routing_key(self) -> None:
        """A pattern would bring events to others: such a job is none."""
        for relay in ("#", "a.*", "a b", "", 7, "x" * 121, ["relay-a"]):
            self.broker.published.clear()
            self.give(relay=relay)
            assert self.dead_letter() == "relay is not the server_id of a relay"


class Cancelling(JobTest):
    """A call that is not wanted any more."""

    def test_cancel(self) -> None:
        """Whatever there is of it is hung up."""
        self.give()
        self.desk.driver.tells(ONE, OriginateAccepted(), FirstRinging())
        tag = self.broker.deliver(encode(cancel_message(ONE)), kind=CANCEL)
        assert self.desk.driver.hung_up == [ONE]
        assert self.broker.settled[tag] == "ack"

    def test_it_is_not_forgotten(self) -> None:
        """The broker keeps it until the store does; the PBX hears of it at once."""
        self.give()
        self.desk.driver.tells(ONE, OriginateAccepted(), FirstRinging())
        self.desk.store.hold_writes()
        tag = self.broker.deliver(encode(cancel_message(ONE)), kind=CANCEL)
        assert self.desk.driver.hung_up == [ONE]
        assert tag not in self.broker.settled
        self.desk.store.commit()
        assert self.broker.settled[tag] == "ack"

    def test_that_cannot_be_hung_up(self) -> None:
        """It goes on, and the message is done with."""
        self.desk.driver.lasts = "Calls cannot be cancelled on this PBX."
        self.give()
        assert self.desk.call(ONE).cannot_hang_up == self.desk.driver.lasts  # so a relay hears it
        self.desk.driver.tells(ONE, OriginateAccepted(), FirstRinging())
        tag = self.broker.deliver(encode(cancel_message(ONE)), kind=CANCEL)
        assert self.desk.driver.hung_up == []
        assert self.broker.settled[tag] == "ack"
        assert not self.desk.call(ONE).cancelled

    def test_what_was_no_job(self) -> None:
        """The broker hears of all calls, by their ids; those of HTTP are not its to end."""
        self.desk.submit(request_id=ONE)
        self.desk.driver.tells(ONE, OriginateAccepted(), FirstAnswered(), SecondAnswered())
        tag = self.broker.deliver(encode(cancel_message(ONE)), kind=CANCEL)
        assert self.desk.driver.hung_up == []
        assert not self.desk.call(ONE).cancelled
        assert self.broker.settled == {tag: "ack"}

    def test_after_a_restart(self) -> None:
        """A job is known to have been one."""
        self.give()
        self.desk.driver.tells(ONE, OriginateAccepted())
        self.desk.restart()
        self.start()
        self.broker.deliver(encode(cancel_message(ONE)), kind=CANCEL)
        assert self.desk.driver.hung_up == [ONE]

    def test_nothing_to_cancel(self) -> None:
        """It has ended long ago, or never was."""
        tag = self.broker.deliver(encode(cancel_message(ONE)), kind=CANCEL)
        assert self.broker.settled == {tag: "ack"}


class DeadLetters(JobTest):
    """What cannot be used."""

    def test_malformed(self) -> None:
        """The reason goes along, and the next one is taken."""
        tag = self.broker.deliver(b"hello")
        assert self.dead_letter() == "no valid JSON"
        self.give()
        self.desk.driver.tells(ONE, OriginateAccepted())
        assert self.broker.settled == {tag: "ack", 2: "ack"}
        assert self.desk.driver.originated == [ONE]

    def test_another_call(self) -> None:
        """An id stands for one call."""
        self.give()
        self.desk.driver.tells(ONE, OriginateAccepted())
        self.give(dial_second="201")
        assert self.dead_letter() == "This request_id was used before for another call."
        assert self.desk.driver.originated == [ONE]

    def test_without_a_key(self) -> None:
        """Jobs are held to nobody's policy: none is taken."""
        self.key = None
        self.give()
        assert self.dead_letter() == "the agent has no key for jobs"

    def test_the_reason_cannot_be_told(self) -> None:
        """It is a dead letter all the same."""
        self.broker.error = NackError([])
        tag = self.broker.deliver(b"hello")
        assert self.broker.settled == {tag: "dead"}

    def test_the_broker_takes_no_reasons(self) -> None:
        """It closes the channel that they go over; the link is not given up for that."""
        self.broker.channels[0].on_closed.callback(ChannelClosedByBroker(404, "no exchange"))
        assert self.lost == []
        tag = self.broker.deliver(b"hello")
        assert self.broker.settled == {tag: "dead"}
        assert self.broker.published == []

    def test_the_link_is_lost_meanwhile(self) -> None:
        """It comes again, and is judged again."""
        self.consumer.closed("cut")
        tag = self.broker.deliver(b"hello")
        assert self.broker.settled == {tag: "dead"}
