"""The Asterisk driver hangs up whatever exists of a call, once or again."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.ami.actions import ShuttingDown
from c2c_agent.ami.pending import LinkLost
from c2c_agent.call.events import (
    FirstRinging,
    Found,
    Gone,
)
from c2c_agent.call.evidence import Leg, LegEvidence
from c2c_agent.pbx.asterisk.channel_id import root_id
from c2c_agent.pbx.driver import PlacedCall
from tests.fake_link import Sent, message
from tests.unit.pbx.asterisk.driver_case import ID, JOB, ROOT, DriverTestCase


class HangUpTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.originate()

    def hangups(self) -> int:
        """How often Hangup was sent."""
        return self.link.names().count("Hangup")

    def end(self) -> None:
        """The call ends."""
        self.first_leg()
        self.originate_response("Failure", "3")
        self.hang_up_first()

    def test_whether_that_ended_it(self) -> None:
        """Only what Asterisk has hung up for us did not end by itself."""
        for taken in (True, False):
            self.setUp()
            self.first_leg()
            self.driver.hang_up(ID)
            sent = self.link.last("Hangup")
            if taken:
                sent.succeed()
            else:
                sent.refuse("No such channel")
            self.originate_response("Failure", "0")
            self.hang_up_first()
            gone = self.observer.told[-1]
            assert isinstance(gone, Gone)
            assert gone.evidence.ended_here is taken

    def test_until_the_channel_is_there(self) -> None:
        """A channel that is only just being made is hung up as soon as it is there."""
        self.driver.hang_up(ID)
        sent = self.link.last("Hangup")
        assert sent.headers == {"Channel": ROOT, "Cause": "16"}
        sent.refuse("No such channel")
        self.clock.advance(1)
        assert self.hangups() == 2
        self.link.last("Hangup").succeed()
        self.clock.advance(10)
        assert self.hangups() == 2
        self.end()

    def test_ever_more_seldom(self) -> None:
        """As long as Asterisk does not do it, whatever it says."""
        for in_vain in (
            lambda sent: sent.refuse("No such channel"),
            lambda sent: sent.refuse("Permission denied"),
            lambda sent: sent.fail(ShuttingDown("Hangup", "Asterisk is shutting down")),
        ):
            self.setUp()
            self.driver.hang_up(ID)
            sent_at: list[float] = []
            for _ in range(60 * 4):
                if self.hangups() > len(sent_at):
                    sent_at.append(self.clock.seconds())
                    in_vain(self.link.last("Hangup"))
                self.clock.advance(0.25)
            assert sent_at[:7] == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75]
            assert len(sent_at) <= 13
            self.end()

    def test_a_phone_that_asterisk_does_not_hang_up_at_present(self) -> None:
        """It is not gone: it is hung up as soon as that is done again."""
        uniqueid, *_ = self.hang_up_what_the_first_left()
        for _ in range(3):
            *_, sent = (one for one in self.link.sent if one.action.name == "Hangup")
            assert sent.headers["Channel"] == uniqueid
            sent.fail(ShuttingDown("Hangup", "Asterisk is shutting down"))
            self.clock.advance(8)
        assert Gone not in map(type, self.observer.told)
        self.driver.link_down("cut")
        self.clock.advance(10)

    def test_not_any_more_when_it_is_gone(self) -> None:
        """The repetition ends with the call."""
        self.driver.hang_up(ID)
        self.link.last("Hangup").refuse("No such channel")
        self.end()
        self.clock.advance(10)
        assert self.hangups() == 1

    def hang_up_what_the_first_left(self) -> dict[str, str]:
        """Two phones talk without it, and the call is to end; their names by Uniqueid."""
        self.first_leg()
        self.originate_response("Success", "4")
        phones = {"7.3": "PJSIP/200-3", "7.4": "PJSIP/201-4"}
        for uniqueid, name in phones.items():
            self.event("Newchannel", Uniqueid=uniqueid, Channel=name)
        self.hang_up_first()
        self.driver.hang_up(ID)
        return phones

    def test_the_first_channel_has_gone(self) -> None:
        """What is left is hung up, one channel after the other."""
        for uniqueid, name in self.hang_up_what_the_first_left().items():
            sent = self.link.last("Hangup")
            assert sent.headers["Channel"] == uniqueid
            sent.succeed()
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")
            self.clock.advance(0.3)
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.hangups() == 2

    def test_others_talk_on(self) -> None:
        """More than two are in the bridge: who is left when the first is hung up is, too."""
        self.first_leg()
        self.originate_response("Success", "4")
        phones = {"7.3": "PJSIP/200-3", "7.4": "PJSIP/201-4"}
        for uniqueid, name in phones.items():
            self.event("Newchannel", Uniqueid=uniqueid, Channel=name)
        self.driver.hang_up(ID)
        self.link.last("Hangup").succeed()
        self.clock.advance(10)
        assert self.hangups() == 1
        self.hang_up_first()
        for uniqueid, name in phones.items():
            self.clock.advance(0.3)
            sent = self.link.last("Hangup")
            assert sent.headers["Channel"] == uniqueid
            sent.succeed()
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")
        self.link.last("DBGet").refuse("Database entry not found")
        assert isinstance(self.observer.told[-1], Gone)
        assert self.hangups() == 3
        self.clock.advance(0.3)

    def test_all_go_with_the_first(self) -> None:
        """As they mostly do: nothing more is hung up."""
        self.first_leg()
        self.originate_response("Success", "4")
        self.event("Newchannel", Uniqueid="7.3", Channel="PJSIP/200-3")
        self.driver.hang_up(ID)
        self.link.last("Hangup").succeed()
        self.hang_up_first()
        self.event("Hangup", Uniqueid="7.3", Channel="PJSIP/200-3", Cause="16")
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.hangups() == 1

    def test_a_channel_whose_end_was_not_told(self) -> None:
        """Asterisk does not know it any more: the next one is hung up, and the call ends."""
        for uniqueid in self.hang_up_what_the_first_left():
            sent = self.link.last("Hangup")
            assert sent.headers["Channel"] == uniqueid
            sent.refuse("No such channel")
            self.clock.advance(0.3)
        self.link.last("DBGet").refuse("Database entry not found")
        assert isinstance(self.observer.told[-1], Gone)
        assert self.hangups() == 2

    def test_asked_twice(self) -> None:
        """One attempt at a time."""
        self.driver.hang_up(ID)
        self.driver.hang_up(ID)
        assert self.hangups() == 1
        self.link.last("Hangup").succeed()
        self.end()

    def test_a_link_that_is_lost_meanwhile(self) -> None:
        """It can be asked for again when the link is back."""
        self.driver.hang_up(ID)
        self.link.last("Hangup").fail(LinkLost("cut"))
        self.driver.link_down("cut")
        self.driver.hang_up(ID)
        assert self.hangups() == 2
        self.link.last("Hangup").succeed()
        self.end()

    def test_a_link_that_is_lost_before_the_repetition(self) -> None:
        """The repetition is not sent on a new link by itself."""
        self.driver.hang_up(ID)
        self.link.last("Hangup").refuse("No such channel")
        self.driver.link_down("cut")
        self.clock.advance(1)
        assert self.hangups() == 1
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(3)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").refuse("Database entry not found")

    def test_a_call_of_another_process(self) -> None:
        """Hung up by its id, once; what becomes of it is told to who follows it."""
        other = ID.replace("2", "3")
        preparing = Deferred.fromCoroutine(self.driver.prepare(other, JOB))
        self.link.last("Getvar").succeed(Value="from-phones")
        plan = self.successResultOf(preparing)
        for answer in (Sent.succeed, lambda sent: sent.fail(LinkLost("cut"))):
            self.driver.hang_up_foreign(PlacedCall(other, plan, LegEvidence(), LegEvidence()))
            sent = self.link.last("Hangup")
            assert sent.headers == {"Channel": root_id(other), "Cause": "16"}
            answer(sent)
        assert self.observer.told == []
        assert self.clock.getDelayedCalls() == []
        self.end()

    def test_a_call_that_is_not_known(self) -> None:
        """There is nothing to hang up."""
        self.driver.hang_up("other")
        assert self.hangups() == 0
        self.end()


class CallOf01Tests(DriverTestCase):
    """A call that version 0.1 placed goes on over an upgrade: its id is the UUID itself."""

    root = f"c2c-{ID}"

    def setUp(self) -> None:
        super().setUp()
        plan = self.plan()
        data = {**plan.data, "ActionID": self.root, "ChannelId": self.root}
        self.old = evolve(plan, data=data, secret_digest="")
        self.driver.adopt([PlacedCall(ID, self.old, LegEvidence(), LegEvidence())])
        self.driver.settle([ID])
        self.channel = {"Uniqueid": self.root, "Linkedid": self.root, "Channel": "Local/100@x-1;1"}
        listed = message(Event="CoreShowChannel", ChannelStateDesc="Ringing", **self.channel)
        self.link.last("CoreShowChannels").list(listed)

    def test_it_is_found_and_settled(self) -> None:
        """It is known by that id, in a list and in events."""
        assert self.observer.told == [Found(), FirstRinging("Local/100@x-1;1")]
        answer = {"Uniqueid": self.root, "Response": "Failure", "Reason": "3"}
        self.driver.ami_event(message(Event="OriginateResponse", **answer))
        self.driver.ami_event(message(Event="Hangup", Cause="0", **self.channel))
        self.link.last("DBGet").refuse("Database entry not found")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.timed_out is Leg.FIRST

    def test_it_is_hung_up(self) -> None:
        """By that id, also by a neighbour."""
        self.driver.hang_up(ID)
        assert self.link.last("Hangup").headers["Channel"] == self.root
        self.link.last("Hangup").succeed()
        self.driver.hang_up_foreign(PlacedCall(ID, self.old, LegEvidence(), LegEvidence()))
        assert self.link.last("Hangup").headers["Channel"] == self.root
        self.driver.ami_event(message(Event="Hangup", Cause="16", **self.channel))
        self.clock.advance(2)
        self.link.last("DBGet").refuse("Database entry not found")
