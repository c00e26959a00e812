"""A relay: jobs to agents, and their events back."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from unittest import mock

from attrs import evolve
from pika.exceptions import ChannelClosed, ChannelClosedByBroker, NackError
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.call.call import Answer, Call, CallState, OriginatePlan, Timekeeper
from c2c_agent.call.events import (
    Cancel,
    Event,
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    OriginateUnanswered,
    OriginateUnsent,
    Relayed,
    SecondAnswered,
)
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.record import to_json
from c2c_agent.config.pbx import Events as Wanted
from c2c_agent.dispatch.intake import Submission
from c2c_agent.errors import ApiError, ErrorCode
from c2c_agent.pbx.driver import PlacedCall
from tests.fake_broker import FakeChannel, FakeConnection
from tests.fakes import CRM, Desk
from tests.playbook import JOB, REQUEST_ID, a_call

NOW = 1_435_628_937.0
ENDED = a_call(state=CallState.ENDED, outcome=Outcome.CONNECTED, answer=Answer())


class Heard:
    """Who hears of leg events; `stored` is what the store says when it is asked."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.story: list[str] = []
        self.stored: Deferred[bool] | None = None

    def leg_event(self, request_id: str, event: Any) -> None:
        assert request_id == REQUEST_ID
        self.events.append(event)

    async def until_stored(self, request_id: str) -> bool:
        assert request_id == REQUEST_ID
        stored, self.stored = self.stored, None
        return True if stored is None else await stored

    async def has_ended(self, request_id: str) -> bool:
        raise AssertionError(request_id)

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        raise AssertionError(request_id)

    def pbx_up(self) -> None:
        self.story.append("up")

    def pbx_down(self, reason: str) -> None:
        self.story.append(f"down: {reason}")


def test_of_every_kind() -> None:
    """Each kind has a driver that says its own method; all of them are the relay."""
    relay = RelayDriver(
        server_id="relay-a", agents=set, answer_timeout=10, clock=Clock(), now=lambda: NOW
    )
    for kind in ("asterisk", "switchvox", "other"):
        driver = relay.of_kind(kind)
        assert driver.method == f"{kind}.call"
        assert driver.unready() == "The broker cannot be reached at present."
    preparing = relay.of_kind("switchvox").prepare(REQUEST_ID, evolve(JOB, agent="pbx1"))
    plans: list[OriginatePlan] = []
    Deferred.fromCoroutine(preparing).addCallback(plans.append)
    [plan] = plans
    assert plan.data["agent"] == "pbx1"


class RelayTest(SynchronousTestCase):
    """A relay of two agents; `job` is for pbx1."""

    def setUp(self) -> None:
        """Bring the link up."""
        self.clock = Clock()
        self.heard = Heard()
        self.lost: list[str] = []
        self.agents: Collection[str] = {"pbx1", "pbx2"}
        self.make("all")
        self.connect()

    def make(self, events: Wanted) -> None:
        """Make the relay; `events` is what its configuration says of them."""
        clock: Any = self.clock
        self.driver = RelayDriver(
            server_id="relay-a",
            agents=lambda: self.agents,
            answer_timeout=10,
            clock=clock,
            now=lambda: NOW + self.clock.seconds(),
            events=events,
        )
        self.driver.observer = self.heard

    def connect(self) -> None:
        """The link comes up."""
        self.broker = FakeConnection()
        self.open()

    def open(self) -> None:
        """The link comes up as it was prepared."""
        connection: Any = self.broker
        opening = self.driver.opened(connection, self.lost.append)
        self.successResultOf(Deferred.fromCoroutine(opening))

    def plan(self, **changes: Any) -> OriginatePlan:
        """The plan of a job for pbx1."""
        job = evolve(JOB, agent="pbx1", **changes)
        preparing = self.driver.prepare(REQUEST_ID, job)
        plan: OriginatePlan = self.successResultOf(Deferred.fromCoroutine(preparing))
        return plan

    def place(self) -> None:
        """Give the job to the agent."""
        self.driver.originate(REQUEST_ID, self.plan())

    def tell(self, call: Call, agent: str = "pbx1") -> int:
        """Have an agent tell of its call; the tag of the message."""
        event = {"server_id": f"{agent}.test", "record": to_json(call)}
        return self.broker.deliver(json.dumps(event).encode(), key=f"{agent}.call.ended")

    def published(self) -> list[tuple[str, str]]:
        """What went to which queue."""
        return [(str(properties.type), key) for _, key, _, properties in self.broker.published]


class Foreign(RelayTest):
    """A call that another process of the same store has placed."""

    def test_hung_up(self) -> None:
        """The word goes to the call's own agent; it stays the other's call."""
        evidence = LegEvidence()
        self.driver.hang_up_foreign(PlacedCall(REQUEST_ID, self.plan(), evidence, evidence))
        assert self.published() == [("c2c.cancel", "c2c.jobs.pbx1")]
        self.tell(a_call(request_id=REQUEST_ID))
        assert self.heard.events == []
        assert self.clock.getDelayedCalls() == []


class Broker(RelayTest):
    """What has to be there."""

    def test_queues_and_exchanges(self) -> None:
        """Made sure of, each time that the link comes up."""
        assert self.broker.declared == [
            "c2c.results.relay-a quorum expires 1209600000 True",  # in 14 days
            "c2c.events topic True",
            "c2c.dead fanout True",
            "c2c.dead quorum True",
            "c2c.dead > c2c.dead",
            "c2c.events #> c2c.results.relay-a",
            "c2c.jobs.pbx1 quorum True",
            "c2c.jobs.pbx2 quorum True",
        ]
        assert self.broker.consumed == "c2c.results.relay-a"

    def test_results_of_an_older_relay(self) -> None:
        """A queue that never expires stays as it is, and is used; the log says what to do."""
        broker = FakeConnection()
        broker.of_other_arguments.add("c2c.results.relay-a")
        with capturedLogs() as logged:
            self.successResultOf(Deferred.fromCoroutine(self.driver.opened(broker, self.fail)))
        assert broker.declared[0] == "c2c.results.relay-a quorum True"
        assert broker.consumed == "c2c.results.relay-a"
        [line] = [formatEvent(event) for event in logged if event["log_level"] is LogLevel.warn]
        assert line is not None
        assert line.startswith("c2c.results.relay-a is of 0.1 and never expires")

    def test_no_permission(self) -> None:
        """Any other refusal ends the link, as ever."""
        broker = FakeConnection()
        broker.forbidden.add("c2c.results.relay-a")
        opening = Deferred.fromCoroutine(self.driver.opened(broker, self.fail))
        assert self.failureResultOf(opening).check(ChannelClosedByBroker)

    def test_up_and_down(self) -> None:
        """Without the link no call can be placed."""
        assert self.driver.unready() is None
        self.driver.closed("cut")
        assert self.driver.unready() == "The broker cannot be reached at present."
        assert self.heard.story == ["up", "down: cut"]
        self.place()
        [event] = self.heard.events
        assert isinstance(event, OriginateUnsent)
        assert self.clock.getDelayedCalls() == []

    def test_half_up(self) -> None:
        """A link over which no agent can be heard is none."""
        self.driver.closed("cut")
        self.broker = FakeConnection()
        connection: Any = self.broker
        gone = ChannelClosed(404, "no queue")
        with mock.patch.object(FakeChannel, "basic_consume", side_effect=gone):
            opening = Deferred.fromCoroutine(self.driver.opened(connection, self.lost.append))
        self.failureResultOf(opening, ChannelClosed)
        assert self.driver.unready() == "The broker cannot be reached at present."
        assert self.heard.story == ["up", "down: cut"]


class Jobs(RelayTest):
    """One for each call."""

    def test_the_job(self) -> None:
        """To the queue of the key's agent, with the time until which it may ring."""
        self.place()
        [(exchange, key, body, properties)] = self.broker.published
        assert (exchange, key) == ("", "c2c.jobs.pbx1")
        assert (properties.type, properties.message_id) == ("c2c.job", REQUEST_ID)
        assert json.loads(body) == {
            "request_id": REQUEST_ID,
            "dial_first": "100",
            "dial_second": "200",
            "dial_as": "100",
            "timeout": 30,
            "pbx": "asterisk",
            "expires": NOW + 9,
        }

    def test_the_agent_keeps_time(self) -> None:
        """Of a talk that is too long, too: its end is told by the agent, when it is heard again."""
        assert self.plan().timekeeper is Timekeeper.ELSEWHERE

    def test_the_pbx_at_the_agent(self) -> None:
        """Its name goes with the job, and the job is given out again with it."""
        self.driver.originate(REQUEST_ID, self.plan(pbx="other", agent_pbx="south"))
        [(*_, body, _)] = self.broker.published
        message = json.loads(body)
        assert (message["pbx"], message["pbx_name"]) == ("other", "south")
        plan, leg = self.plan(agent_pbx="south"), LegEvidence()
        self.driver.adopt([PlacedCall(REQUEST_ID, plan, leg, leg)])
        self.driver.closed("cut")
        self.connect()
        [(*_, body, _)] = self.broker.published
        assert json.loads(body)["pbx_name"] == "south"

    def test_an_earlier_expiry_counts(self) -> None:
        """The requester's own."""
        assert self.plan(expires=NOW + 3).data["expires"] == NOW + 3
        assert self.plan(expires=NOW + 30).data["expires"] == NOW + 9

    def test_a_key_without_an_agent(self) -> None:
        """It has no PBX."""
        preparing = Deferred.fromCoroutine(self.driver.prepare(REQUEST_ID, JOB))
        error = self.failureResultOf(preparing, ApiError).value
        assert isinstance(error, ApiError)
        assert [fault.code for fault in error.faults] == [ErrorCode.UNSUPPORTED_PBX]

    def test_an_agent_that_is_new(self) -> None:
        """Its queue is made when it is first needed."""
        self.broker.unroutable.add("c2c.jobs.pbx3")
        preparing = self.driver.prepare(REQUEST_ID, evolve(JOB, agent="pbx3"))
        plan = self.successResultOf(Deferred.fromCoroutine(preparing))
        self.driver.originate(REQUEST_ID, plan)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx3")]

    def test_not_taken(self) -> None:
        """The broker has not got it, so nobody will be rung."""
        self.broker.error = NackError([])
        self.place()
        [event] = self.heard.events
        assert isinstance(event, OriginateUnsent)
        assert self.clock.getDelayedCalls() == []

    def test_the_link_is_lost_meanwhile(self) -> None:
        """Given out again when it is back, for nobody knows; the agent knows it by its id."""
        self.broker.error = ChannelClosed(0, "cut")
        self.place()
        assert self.heard.events == []
        self.driver.closed("cut")
        self.connect()
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1")]

    def test_not_taken_the_second_time(self) -> None:
        """The first may have arrived, and ring: so it does not count as never sent."""
        self.broker.error = ChannelClosed(0, "cut")
        self.place()
        self.driver.closed("cut")
        self.broker = FakeConnection()
        self.broker.error = NackError([])
        self.open()
        assert self.heard.events == []
        ringing = a_call(state=CallState.FIRST_RINGING, answer=Answer())
        self.tell(ringing)
        assert self.heard.events == [Relayed("pbx1.test", ringing)]
        assert self.clock.getDelayedCalls() == []

    def test_heard_before_it_is_refused(self) -> None:
        """Whatever the broker says, the agent has it."""
        self.broker.holds = True
        self.place()
        self.tell(a_call(state=CallState.FIRST_RINGING))
        self.broker.held.pop().errback(NackError([]))
        [event] = self.heard.events
        assert isinstance(event, Relayed)

    def test_confirmed(self) -> None:
        """It is not given out again."""
        self.place()
        self.driver.closed("cut")
        self.connect()
        assert self.published() == []

    def test_after_a_restart(self) -> None:
        """Given out again, as it was; unless the agent has told of it since."""
        plan = self.plan()
        self.driver.closed("stopped")
        call = PlacedCall(REQUEST_ID, evolve(plan, order=None), LegEvidence(), LegEvidence())
        self.driver.adopt([call])
        self.connect()
        [(_, key, body, _)] = self.broker.published
        assert key == "c2c.jobs.pbx1"
        assert json.loads(body)["expires"] == NOW + 9
        self.tell(a_call(state=CallState.CONNECTED))
        self.driver.closed("cut")
        self.connect()
        assert self.published() == []

    def test_refused_after_a_restart(self) -> None:
        """Logged; it may have arrived before."""
        plan = self.plan()
        self.driver.closed("stopped")
        self.driver.adopt([PlacedCall(REQUEST_ID, plan, LegEvidence(), LegEvidence())])
        self.broker = FakeConnection()
        self.broker.error = NackError([])
        self.open()
        assert self.heard.events == []


class Answers(RelayTest):
    """What the agent's PBX says, in time or not."""

    def test_in_time(self) -> None:
        """Passed on, and nothing is waited for any more."""
        self.place()
        tag = self.tell(a_call(answer=Answer()))
        assert self.heard.events == [Relayed("pbx1.test", a_call(answer=Answer()))]
        assert self.broker.settled == {tag: "ack"}
        assert self.clock.getDelayedCalls() == []

    def test_not_in_time(self) -> None:
        """The requester is told, and the agent that the call is not wanted any more."""
        self.place()
        self.tell(a_call(state=CallState.FIRST_RINGING))  # rings, but has not answered the order
        self.clock.advance(10)
        told = self.heard.events.pop()
        assert isinstance(told, OriginateUnanswered)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1"), ("c2c.cancel", "c2c.jobs.pbx1")]
        self.tell(ENDED)
        assert self.heard.events[-1] == Relayed("pbx1.test", ENDED)

    def test_heard_while_that_is_said(self) -> None:
        """It is said once."""
        self.place()
        self.broker.holds = True
        self.clock.advance(10)
        self.tell(a_call(state=CallState.FIRST_RINGING))
        self.broker.held.pop().callback(None)
        self.clock.advance(3)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1"), ("c2c.cancel", "c2c.jobs.pbx1")]


class TooLateWithoutALink(RelayTest):
    """The requester was told that it failed, and the agent could not be."""

    def setUp(self) -> None:
        """The link comes back after that."""
        super().setUp()
        self.place()
        self.driver.closed("cut")
        self.clock.advance(10)
        [event] = self.heard.events
        assert isinstance(event, OriginateUnanswered)
        self.connect()

    def in_state(self, state: CallState) -> None:
        """The agent tells of it."""
        self.tell(a_call(state=state, answer=Answer()))

    def test_it_rings(self) -> None:
        """The agent took it in time: whoever is rung, is rung no more. That is said once."""
        self.in_state(CallState.FIRST_RINGING)
        assert self.published() == []
        self.clock.advance(3)
        assert self.published() == [("c2c.cancel", "c2c.jobs.pbx1")]
        self.in_state(CallState.FIRST_ANSWERED)
        self.driver.closed("cut")
        self.connect()
        self.clock.advance(60)
        assert self.published() == []
        assert self.clock.getDelayedCalls() == []

    def test_nothing_new(self) -> None:
        """Also where all that there is to be heard of it was heard before."""
        self.clock.advance(3)
        assert self.published() == [("c2c.cancel", "c2c.jobs.pbx1")]

    def test_they_talk(self) -> None:
        """What has waited is heard from its beginning; a talk is not cut."""
        self.in_state(CallState.FIRST_RINGING)
        self.clock.advance(2)
        self.in_state(CallState.FIRST_ANSWERED)
        self.clock.advance(2)
        self.in_state(CallState.CONNECTED)
        self.clock.advance(60)
        assert self.published() == []

    def test_over(self) -> None:
        """Nothing is left to be said."""
        self.tell(ENDED)
        assert self.clock.getDelayedCalls() == []

    def test_cannot_be_told_yet(self) -> None:
        """Said when the broker takes it, or when there is a link."""
        self.broker.error = NackError([])
        self.clock.advance(3)
        self.driver.closed("cut")
        self.connect()
        self.driver.closed("cut")
        self.clock.advance(3)
        self.connect()
        self.clock.advance(3)
        assert self.published() == [("c2c.cancel", "c2c.jobs.pbx1")]


class AnswersAfterARestart(RelayTest):
    """Whoever asked is gone, but may ask again."""

    def adopt(self, **changes: Any) -> None:
        """A call was placed before."""
        plan = self.plan()
        self.driver.closed("stopped")
        call = PlacedCall(REQUEST_ID, plan, LegEvidence(), LegEvidence())
        self.driver.adopt([evolve(call, **changes)])
        self.connect()

    def test_none(self) -> None:
        """Said after the same time as ever; the agent hears that the call is not wanted."""
        self.adopt()
        self.clock.advance(9)
        assert self.heard.events == []
        self.clock.pump([1, 3])
        [event] = self.heard.events
        assert isinstance(event, OriginateUnanswered)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1"), ("c2c.cancel", "c2c.jobs.pbx1")]

    def test_in_time(self) -> None:
        """Nothing is waited for any more."""
        self.adopt()
        self.tell(a_call(answer=Answer()))
        assert self.clock.getDelayedCalls() == []

    def test_known_before(self) -> None:
        """Nothing is waited for at all."""
        self.adopt(answered=True)
        assert self.clock.getDelayedCalls() == []

    def test_failed_before(self) -> None:
        """Its requester was told so, and the agent perhaps not: it is told now."""
        self.adopt(answered=True, failed=True)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1")]
        self.clock.advance(3)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1"), ("c2c.cancel", "c2c.jobs.pbx1")]

    def test_failed_before_and_they_talk(self) -> None:
        """Whether that was heard before or is now: a talk is not cut."""
        self.adopt(answered=True, failed=True)
        self.tell(a_call(state=CallState.CONNECTED))
        self.adopt(answered=True, failed=True, second=LegEvidence(answered_at=NOW))
        self.clock.advance(60)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1")]

    def test_cancelled_before(self) -> None:
        """The agent was perhaps not told; now it is, also where they talk."""
        self.adopt(answered=True, cancelled=True, second=LegEvidence(answered_at=NOW))
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1"), ("c2c.cancel", "c2c.jobs.pbx1")]

    def test_a_talk(self) -> None:
        """The link comes late, and what the agent said meanwhile is just being read."""
        self.adopt()
        self.clock.advance(10)
        self.tell(a_call(state=CallState.FIRST_RINGING, answer=Answer()))
        self.tell(a_call(state=CallState.CONNECTED, answer=Answer()))
        self.clock.advance(60)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1")]


class Events(RelayTest):
    """Taken from the broker when they are stored here."""

    def setUp(self) -> None:
        """Place the call."""
        super().setUp()
        self.place()

    def test_not_before_it_is_stored(self) -> None:
        """A crash before that must not lose it."""
        stored = self.heard.stored = Deferred()
        tag = self.tell(ENDED)
        assert self.broker.settled == {}
        stored.callback(True)
        assert self.broker.settled == {tag: "ack"}

    def test_again(self) -> None:
        """After the end nobody wants to know."""
        self.tell(ENDED)
        tag = self.tell(ENDED)
        assert self.broker.settled[tag] == "ack"
        assert len(self.heard.events) == 1

    def test_of_another_agent(self) -> None:
        """An agent speaks for its own calls only."""
        tag = self.tell(ENDED, agent="pbx2")
        assert self.heard.events == []
        assert self.broker.settled[tag] == "ack"

    def test_of_calls_that_are_not_ours(self) -> None:
        """Another relay's, or placed beside the PBX."""
        tag = self.tell(evolve(ENDED, request_id=REQUEST_ID.replace("2", "3")))
        assert self.heard.events == []
        assert self.broker.settled[tag] == "ack"

    def test_malformed(self) -> None:
        """A dead letter; the next one is taken."""
        tag = self.broker.deliver(b"{}", key="pbx1.call.ended")
        self.tell(ENDED)
        assert self.broker.settled == {tag: "dead", 2: "ack"}

    def test_the_link_is_lost_meanwhile(self) -> None:
        """The broker gives them again; nothing is said on a channel that is gone."""
        for channel in self.broker.channels:
            channel.is_open = False
        self.tell(ENDED)
        self.broker.deliver(b"{}", key="pbx1.call.ended")
        assert self.broker.settled == {}


class HangingUp(RelayTest):
    """A call that is not wanted any more."""

    def test_told_to_the_agent(self) -> None:
        """Whatever there is of it, is there."""
        self.place()
        self.driver.hang_up(REQUEST_ID)
        assert self.published()[1] == ("c2c.cancel", "c2c.jobs.pbx1")

    def test_cannot_be_told(self) -> None:
        """It is asked for again when the agent is heard."""
        self.place()
        self.broker.error = NackError([])
        self.driver.hang_up(REQUEST_ID)
        self.driver.closed("cut")
        self.driver.hang_up(REQUEST_ID)
        assert self.published() == [("c2c.job", "c2c.jobs.pbx1")]

    def test_without_a_link(self) -> None:
        """They talk already, so nothing will be heard that it could be said after: said, once."""
        self.place()
        self.tell(a_call(state=CallState.CONNECTED, answer=Answer()))
        self.driver.closed("cut")
        self.driver.hang_up(REQUEST_ID)
        self.connect()
        assert self.published() == [("c2c.cancel", "c2c.jobs.pbx1")]
        self.driver.closed("cut")
        self.connect()
        assert self.published() == []

    def test_nothing_there(self) -> None:
        """A call that has ended."""
        self.driver.hang_up(REQUEST_ID)
        assert self.published() == []


class MortalDriver(RelayDriver):
    """A driver as a desk knows it."""

    def crash(self) -> None:
        """What it knew is gone with it."""


class DeskTest(SynchronousTestCase):
    """A relay with its store and its calls, and the agent that has one of them."""

    def setUp(self) -> None:
        """Begin with a relay whose link is up."""
        self.desk = Desk()
        self.open()
        self.driver.observer = self.desk.dispatcher
        self.connect()

    def open(self) -> None:
        """A driver that knows of nothing."""
        clock: Any = self.desk.clock
        self.driver = MortalDriver(
            server_id="relay-a",
            agents=lambda: {"pbx1"},
            answer_timeout=10,
            clock=clock,
            now=self.desk.wall,
        )
        drivers: Any = self.desk.drivers
        drivers["asterisk"] = self.driver

    def connect(self) -> None:
        """The link comes up."""
        self.broker = FakeConnection()
        connection: Any = self.broker
        opening = self.driver.opened(connection, lambda _: None)
        self.successResultOf(Deferred.fromCoroutine(opening))

    def submit(self) -> Deferred[Submission]:
        """A call is given to the agent."""
        submitted = self.desk.submit(evolve(CRM, agent="pbx1"), request_id=REQUEST_ID)
        self.at_the_agent = evolve(self.desk.call(REQUEST_ID), server_id="pbx1")
        return submitted

    def happens(self, *events: Event) -> None:
        """The agent sees these and tells of them."""
        for event in events:
            self.desk.clock.advance(0.5)
            self.at_the_agent = step(self.at_the_agent, event, self.desk.now()).call
            told = {"server_id": "pbx1.test", "record": to_json(self.at_the_agent)}
            self.broker.deliver(json.dumps(told).encode(), key="pbx1.call.x")

    def published(self) -> list[str]:
        """What was given to the broker since the restart."""
        return [properties.type for *_, properties in self.broker.published]


class OnAPbxThatHangsNoneUp(DeskTest):
    """A cancel says so, as beside that PBX."""

    def cancel(self) -> Deferred[str | None]:
        """Somebody asks for the call's end; why that cannot be."""
        call = self.desk.call(REQUEST_ID)
        return Deferred.fromCoroutine(self.desk.dispatcher.cancel_anywhere(call))

    def submit(self) -> Deferred[Submission]:
        """The agent's PBX has no way to end a call."""
        submitted = super().submit()
        self.at_the_agent = evolve(self.at_the_agent, cannot_hang_up="No.")
        return submitted

    def test_known(self) -> None:
        """The agent has told of the call: it goes on, and nothing is sent after it."""
        self.submit()
        self.happens(OriginateAccepted())
        assert self.successResultOf(self.cancel()) == "No."
        assert self.desk.dispatcher.hang_up_all() == 0
        assert self.published() == ["c2c.job"]
        assert not self.desk.call(REQUEST_ID).cancelled

    def test_heard_while_it_is_waited_for(self) -> None:
        """The agent is told, for its PBX may be any; what it says then is the answer."""
        self.submit()
        cancelling = self.cancel()
        assert self.published() == ["c2c.job", "c2c.cancel"]
        self.assertNoResult(cancelling)
        self.happens(OriginateAccepted())
        assert self.successResultOf(cancelling) == "No."
        assert not self.desk.call(REQUEST_ID).cancelled
        self.happens(FirstRinging())
        assert self.published() == ["c2c.job", "c2c.cancel"]

    def test_not_heard(self) -> None:
        """Nobody waits longer than a moment: the cancel is passed on; the story says the rest."""
        self.submit()
        cancelling = self.cancel()
        self.desk.clock.advance(2)
        assert self.successResultOf(cancelling) is None
        assert self.desk.call(REQUEST_ID).cancelled
        self.happens(OriginateAccepted())
        assert not self.desk.call(REQUEST_ID).cancelled
        assert "cannot_hang_up" in [entry.event for entry in self.desk.call(REQUEST_ID).timeline]

    def test_in_time(self) -> None:
        """The agent was told before its PBX was given the call: it is cancelled."""
        self.submit()
        cancelling = self.cancel()
        self.happens(Cancel())
        assert self.successResultOf(cancelling) is None
        assert self.desk.call(REQUEST_ID).cancelled

    def test_on_another(self) -> None:
        """An agent that says nothing of it hangs up, as one of 0.1 does."""
        self.submit()
        self.at_the_agent = evolve(self.at_the_agent, cannot_hang_up=None)
        cancelling = self.cancel()
        self.happens(FirstRinging())
        assert self.successResultOf(cancelling) is None
        assert self.desk.call(REQUEST_ID).cancelled


class Restarted(DeskTest):
    """Killed and started again; the agent goes on."""

    def restart(self) -> None:
        """Of the old one only the disk is left."""
        self.open()
        self.desk.restart()
        self.connect()

    def test_a_talk_goes_on(self) -> None:
        """Killed while a phone rings: whoever talks afterwards is not cut off."""
        submitted = self.submit()
        self.happens(OriginateAccepted(), FirstRinging())
        assert self.successResultOf(submitted).answer == Answer()
        self.restart()
        self.happens(FirstAnswered(), SecondAnswered())
        assert self.desk.call(REQUEST_ID).state is CallState.CONNECTED
        self.desk.clock.pump([30] * 20)
        assert self.published() == ["c2c.job"]

    def test_a_call_that_failed_rings_no_more(self) -> None:
        """Its requester was told so while the link was away; the relay is killed before it is."""
        submitted = self.submit()
        self.happens(FirstRinging())
        self.driver.closed("cut")
        self.desk.clock.advance(10)
        [fault] = self.successResultOf(submitted).answer.faults
        assert fault.code is ErrorCode.PBX_UNAVAILABLE
        self.restart()
        self.desk.clock.advance(3)
        assert self.published() == ["c2c.job", "c2c.cancel"]

    def test_a_cancel_is_not_forgotten(self) -> None:
        """It was asked for while the link was away, and they talk: nothing more is heard of it."""
        self.submit()
        self.happens(OriginateAccepted(), FirstRinging(), FirstAnswered(), SecondAnswered())
        self.driver.closed("cut")
        self.desk.dispatcher.cancel(REQUEST_ID)
        self.restart()
        assert self.published() == ["c2c.job", "c2c.cancel"]


class Settling(RelayTest):
    """Calls of which nothing is heard."""

    def test_in_a_day_it_may_still_be_told(self) -> None:
        """By an agent that was away for a night."""
        self.place()
        self.clock.advance(80_000)
        self.heard.events.clear()
        self.driver.settle([REQUEST_ID])
        assert self.heard.events == []

    def test_given_up(self) -> None:
        """What became of it, nobody knows."""
        self.place()
        self.clock.advance(90_000)
        self.driver.settle([REQUEST_ID])
        assert self.heard.events[-1] == Gone(CallEvidence(lost=True))
        self.heard.events.clear()
        self.tell(ENDED)
        assert self.heard.events == []


class WhichEvents(RelayTest):
    """By configuration: all, its own, or its own beside those of older agents."""

    def bound(self, events: Wanted) -> list[str]:
        """The routing keys that are bound, and with a sign those that are no more."""
        self.make(events)
        self.connect()
        end = "> c2c.results.relay-a"
        made = [one for one in self.broker.declared if one.endswith(end)]
        gone = [f"-{one}" for one in self.broker.unbound]
        return [one.removesuffix(end).replace("c2c.events ", "") for one in [*made, *gone]]

    def test_bindings(self) -> None:
        """What is not wanted any more is unbound, after what is wanted was bound."""
        assert self.bound("all") == ["#", "-#.call.*", "-#.relay-a"]
        assert self.bound("mixed") == ["#.relay-a", "#.call.*", "-#"]
        assert self.bound("own") == ["#.relay-a", "-#", "-#.call.*"]

    def test_what_agents_are_asked_for(self) -> None:
        """To tell this relay alone; for all events nothing is asked, as in 0.1."""
        asked: list[Wanted] = ["all", "mixed", "own"]
        for events, relay in zip(asked, (None, "relay-a", "relay-a"), strict=True):
            self.make(events)
            assert self.plan().data.get("relay") == relay
