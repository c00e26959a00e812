"""The Asterisk driver: the originate contract kept over AMI and FastAGI, link or no link."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from c2c_agent.ami.actions import ShuttingDown
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import AmiConfig, AsteriskConfig, DialAsConfig
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.asterisk.channel_id import root_id
from c2c_agent.pbx.driver import PlacedCall
from tests.fake_link import message
from tests.fakes import uuid
from tests.unit.pbx.asterisk.driver_case import ID, ROOT, DriverTestCase


class TimeTestCase(DriverTestCase):
    """A call of which Asterisk tells when its events happened."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(1000)
        self.originate()

    def stamped(self, name: str, at: float, **headers: str) -> None:
        """An event that happened at `at`, by the steady clock."""
        self.event(name, Timestamp=f"{at + self.ahead:.6f}", **headers)

    def rings_and_answers(self) -> tuple[float | None, float | None]:
        """When it did, as it is told."""
        dialed = {"DestUniqueid": ROOT, "DestChannel": "PJSIP/100-1"}
        self.stamped("Newchannel", 1001, Uniqueid=ROOT, Channel="PJSIP/100-1")
        self.stamped("DialState", 1002, DialStatus="RINGING", **dialed)
        self.stamped("DialEnd", 1004, DialStatus="ANSWER", **dialed)
        ringing, answered = self.observer.told
        assert isinstance(ringing, FirstRinging)
        assert isinstance(answered, FirstAnswered)
        return ringing.at, answered.at


class TimeTests(TimeTestCase):
    """Ringing and talk are measured by when it happened, however late the agent reads of it."""

    def test_the_agent_stood_still(self) -> None:
        """It reads all at once, by a host's clock that is somewhere else."""
        self.ahead = 1.7e9
        self.clock.advance(9)
        assert self.rings_and_answers() == (1002, 1004)

    def test_the_clock_was_set(self) -> None:
        """What would have happened in the future happens now, and nothing before what is known."""
        self.clock.advance(3)
        assert self.rings_and_answers() == (1002, 1003)

    def test_order_is_kept(self) -> None:
        """Whatever the stamps say."""
        self.clock.advance(9)
        channel = {"Uniqueid": ROOT + ";2", "Channel": "Local/100@c2c-first-1;2"}
        self.stamped("Newchannel", 1007, **channel)
        assert self.rings_and_answers() == (1007, 1007)


class RemoteTimeTests(TimeTestCase):
    """Of another host's clock nobody knows whether it agrees with ours."""

    config = AsteriskConfig(ami=AmiConfig(host="192.0.2.1"))

    def test_the_agent_stood_still(self) -> None:
        """It happened when it was read."""
        self.clock.advance(9)
        assert self.rings_and_answers() == (1009, 1009)


class PlanTests(DriverTestCase):
    def test_the_context_is_that_of_the_endpoint(self) -> None:
        """Asterisk is asked for it, and the second leg is dialled through it."""
        plan = self.plan()
        assert self.link.sent[0].headers == {"Variable": "PJSIP_ENDPOINT(100,context)"}
        assert plan.target == "Local/200@from-phones"
        assert plan.timeout == 30
        assert plan.data["ActionID"] == plan.data["ChannelId"] == ROOT

    def test_unknown_dial_as(self) -> None:
        """No endpoint, no configured context, no default: refused."""
        preparing = self.prepare()
        self.link.last("Getvar").succeed(Value="")
        error = self.failureResultOf(preparing, ApiError).value
        assert [fault.code for fault in error.faults] == [ErrorCode.UNKNOWN_DIAL_AS]

    def test_a_context_that_is_none(self) -> None:
        """What Asterisk answers is not put into a dial string unseen."""
        preparing = self.prepare()
        self.link.last("Getvar").succeed(Value="a,b")
        self.failureResultOf(preparing, ApiError)

    def test_without_a_link(self) -> None:
        """It cannot be found out, and the caller is told so."""
        self.link.is_up = False
        assert self.driver.unready() is not None
        error = self.failureResultOf(self.prepare(), ApiError).value
        assert [fault.code for fault in error.faults] == [ErrorCode.PBX_UNAVAILABLE]

    def test_shutting_down(self) -> None:
        """It can be reached, and says why it does nothing; that is no word on dial_as."""
        preparing = self.prepare()
        self.link.last("Getvar").fail(ShuttingDown("Getvar", "Asterisk is shutting down"))
        error = self.failureResultOf(preparing, ApiError).value
        assert error.faults == (Fault(ErrorCode.PBX_UNAVAILABLE, "Asterisk is shutting down"),)

    def test_an_inquiry_that_is_refused(self) -> None:
        """It says nothing of dial_as either: the PBX's own words are told."""
        for said, told in (("Permission denied", "Permission denied"), ("", "The PBX refused")):
            preparing = self.prepare()
            self.link.last("Getvar").refuse(said)
            [fault] = self.failureResultOf(preparing, ApiError).value.faults
            assert fault.code is ErrorCode.PBX_ERROR
            assert fault.message.startswith(told)

    def test_with_a_link(self) -> None:
        """Calls can be placed."""
        assert self.driver.unready() is None


class ConfiguredContextTests(DriverTestCase):
    config = AsteriskConfig(
        dial_as=DialAsConfig(contexts={"100": "sales"}, default_context="guests")
    )

    def test_a_configured_context_wins(self) -> None:
        """Asterisk is not even asked."""
        plan = self.successResultOf(self.prepare())
        assert plan.target == "Local/200@sales"
        assert self.link.sent == []

    def test_the_default_serves_the_others(self) -> None:
        """For a dial_as that is no endpoint."""
        preparing = self.prepare(CallJob("300", "200", "300", 30))
        self.link.last("Getvar").succeed(Value="")
        assert self.successResultOf(preparing).target == "Local/200@guests"


class OrderTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.driver.originate(ID, self.plan())
        self.order = self.link.last("Originate")

    def tearDown(self) -> None:
        self.driver.ami_event(message(Event="Newchannel", Linkedid=ROOT, Uniqueid="9"))
        super().tearDown()

    def test_is_sent_under_the_calls_own_id(self) -> None:
        """So that everything that follows can be told apart."""
        assert self.order.action_id == ROOT

    def test_accepted(self) -> None:
        """Asterisk's words are kept."""
        self.order.succeed(Message="Originate successfully queued")
        expected = {"Response": "Success", "Message": "Originate successfully queued"}
        assert self.observer.told == [OriginateAccepted(expected)]

    def test_refused(self) -> None:
        """With Asterisk's own words; nothing follows."""
        self.order.refuse("Extension does not exist.")
        assert self.observer.told == [
            OriginateRefused(
                "Extension does not exist.",
                {"Response": "Error", "Message": "Extension does not exist."},
            )
        ]
        self.driver.link_down("cut")
        assert len(self.observer.told) == 1

    def test_refused_without_a_word(self) -> None:
        """The caller is told something all the same."""
        self.order.refuse("")
        assert isinstance(self.observer.told[0], OriginateRefused)
        assert self.observer.told[0].message

    def test_shutting_down(self) -> None:
        """No phone rings: it was not carried out, and is told in Asterisk's own words."""
        self.order.fail(ShuttingDown("Originate", "Asterisk is shutting down"))
        assert self.observer.told == [OriginateUnsent("Asterisk is shutting down")]

    def test_unanswered(self) -> None:
        """Whether it arrived is not known, so it is still followed."""
        for error in (ActionTimedOut("late"), LinkLost("cut")):
            with self.subTest(error=error):
                self.setUp()
                self.order.fail(error)
                assert self.observer.told == [OriginateUnanswered(str(error))]
                self.first_leg()
                self.event("DialState", DestUniqueid=ROOT, DialStatus="RINGING")
                assert self.observer.told[1:] == [FirstRinging("PJSIP/100-1")]


class UnsentTests(DriverTestCase):
    def test_the_link_is_down(self) -> None:
        """It never left, and that is told as such."""
        plan = self.plan()
        self.link.is_up = False
        self.driver.originate(ID, plan)
        assert isinstance(self.observer.told[0], OriginateUnsent)


class EndTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.originate()

    def told(self) -> CallEvidence:
        """The evidence of the end, which was told once."""
        (gone,) = [event for event in self.observer.told if isinstance(event, Gone)]
        assert self.observer.told[-1] is gone
        return gone.evidence

    def test_explained_at_once(self) -> None:
        """All has been told: the end goes out without waiting."""
        self.first_leg()
        self.originate_response("Failure", "0")
        self.hang_up_first("17")
        assert self.told().first.cause == 17

    def test_explained_a_moment_later(self) -> None:
        """The channel is gone before the originate says that it timed out."""
        self.first_leg()
        self.hang_up_first("0")
        assert self.observer.told == []
        self.clock.advance(0.5)
        self.originate_response("Failure", "3")
        assert self.told().timed_out is Leg.FIRST

    def test_never_explained(self) -> None:
        """After a while the end goes out with what is known."""
        self.first_leg()
        self.hang_up_first("19")
        self.clock.advance(2)
        assert self.told().first.cause == 19

    def test_no_channel_at_all(self) -> None:
        """A refusal within Asterisk: no channel, and after a moment the end."""
        self.originate_response("Failure", "0")
        assert self.observer.told == []
        self.clock.advance(2)
        assert self.told() == CallEvidence(first=LegEvidence(ended_at=0.0))

    def test_the_channels_come_after_the_answer(self) -> None:
        """OriginateResponse overtook everything; the cause is still learned."""
        self.originate_response("Failure", "0")
        self.first_leg()
        self.hang_up_first("21")
        assert self.told().first.cause == 21
        self.clock.advance(2)
        self.told()

    def test_answered_without_the_agent(self) -> None:
        """What the dialplan left in AstDB is taken, and deleted there."""
        self.first_leg()
        self.originate_response("Success", "4")
        self.clock.advance(20)
        self.hang_up_first()
        self.link.last("DBGet").list(
            message(Event="DBGetResponse", Val="ANSWER,16,10.000,12.500,20.000")
        )
        deletion = self.link.last("Setvar")
        assert deletion.headers == {"Variable": f"DB_DELETE(c2c/{ID})", "Value": ""}
        deletion.succeed()
        evidence = self.told()
        assert evidence.second == LegEvidence(
            status="ANSWER", cause=16, answered_at=12.5, ended_at=20.0
        )

    def test_found_in_the_middle_of_the_talk(self) -> None:
        """The dialplan knows when both answered; that they were found later says nothing."""
        self.driver.adopt([PlacedCall(ID, self.plan(), LegEvidence(), LegEvidence())])
        self.clock.advance(60)
        self.driver.settle([ID])
        root = {"Uniqueid": ROOT, "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        up = message(Event="CoreShowChannel", ChannelStateDesc="Up", BridgeId="b", **root)
        self.link.last("CoreShowChannels").list(up)
        self.clock.advance(10)
        self.hang_up_first()
        self.link.last("DBGet").list(
            message(Event="DBGetResponse", Val="ANSWER,16,10.000,12.500,70.000")
        )
        self.link.last("Setvar").succeed()
        evidence = self.told()
        assert (evidence.first.answered_at, evidence.second.answered_at) == (10.0, 12.5)

    def test_refused_by_what_the_dialplan_rang(self) -> None:
        """All of it was watched: what the dialplan left is not asked for, but deleted."""
        self.first_leg()
        self.event("Newchannel", Uniqueid=f"{ROOT};2", Channel="Local/100@c2c-first-1;2")
        self.originate_response("Failure", "0")
        self.event("Hangup", Uniqueid=f"{ROOT};2", Channel="Local/100@c2c-first-1;2", Cause="17")
        assert "Setvar" not in self.link.names()
        self.hang_up_first("17")
        assert self.told().first.cause == 17
        deletion = self.link.last("Setvar")
        assert deletion.headers == {"Variable": f"DB_DELETE(c2c/{ID})", "Value": ""}
        deletion.succeed()
        assert "DBGet" not in self.link.names()

    def test_refused_without_the_agent(self) -> None:
        """After a restart the call is gone; why, the dialplan has left."""
        self.driver.adopt([PlacedCall(ID, self.plan(), LegEvidence(), LegEvidence())])
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="first,BUSY,17,1.5"))
        self.link.last("Setvar").succeed()
        assert self.told() == CallEvidence(LegEvidence(status="BUSY", cause=17, ended_at=1.5))

    def test_the_pbx_has_another_clock(self) -> None:
        """Its times are moved to the steady clock, by the end that both have seen."""
        self.first_leg()
        self.originate_response("Success", "4")
        self.clock.advance(20)
        self.hang_up_first()
        self.link.last("DBGet").list(
            message(Event="DBGetResponse", Val="ANSWER,16,3610.000,3612.500,3620.000")
        )
        self.link.last("Setvar").succeed()
        second = self.told().second
        assert (second.answered_at, second.ended_at) == (12.5, 20.0)

    def test_the_record_stays_until_the_end_is_stored(self) -> None:
        """An agent that is killed before that has to find it once more."""
        self.observer.storing = Deferred()
        self.first_leg()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        self.told()
        assert "Setvar" not in self.link.names()
        self.observer.storing.callback(True)
        self.link.last("Setvar").fail(LinkLost("cut"))  # the next link sees to it

    def test_the_record_stays_where_the_end_is_not_stored(self) -> None:
        """By no means is the only proof deleted."""
        self.observer.storing = succeed(False)
        self.first_leg()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        self.told()
        assert "Setvar" not in self.link.names()

    def test_answered_and_nothing_was_left(self) -> None:
        """Hung up before the dialplan could say anything."""
        self.first_leg()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.told().second == LegEvidence()

    def test_an_entry_without_a_value(self) -> None:
        """It is deleted, and tells nothing."""
        self.first_leg()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").list()
        self.link.last("Setvar").succeed()
        assert self.told().second == LegEvidence()

    def test_the_link_is_cut_while_it_is_collected(self) -> None:
        """The end is told after the next look, when the link is back."""
        self.first_leg()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").fail(LinkLost("cut"))
        assert Gone not in map(type, self.observer.told)
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.told().lost

    def test_events_after_the_end_and_of_others(self) -> None:
        """Nobody hears of them."""
        self.first_leg()
        self.originate_response("Failure", "3")
        self.hang_up_first()
        self.told()
        self.hang_up_first()
        self.driver.ami_event(message(Event="Hangup", Linkedid=root_id(uuid(7)), Uniqueid="1"))
        self.driver.ami_event(message(Event="Hangup", Linkedid="17.1", Uniqueid="17.1"))
        self.told()


class JoinedTests(DriverTestCase):
    """A talk that was joined with an older call: some of its channels are counted as that one's."""

    def setUp(self) -> None:
        super().setUp()
        self.originate()
        self.event("Newchannel", Uniqueid=ROOT, Channel="Local/100@c2c-first-0;1")
        self.event("Newchannel", Uniqueid=f"{ROOT};2", Channel="Local/100@c2c-first-0;2")
        self.event("DialEnd", DestUniqueid=ROOT, DialStatus="ANSWER")
        for uniqueid, half in (("7.1", 1), ("7.2", 2)):
            self.event("Newchannel", Uniqueid=uniqueid, Channel=f"Local/200@phones-1;{half}")

    def ends(self, uniqueid: str, name: str, linkedid: str = ROOT) -> None:
        """A channel ends."""
        self.driver.ami_event(
            message(Event="Hangup", Uniqueid=uniqueid, Linkedid=linkedid, Channel=name, Cause="16")
        )

    def has_ended(self, seconds: float) -> bool:
        """Whether the call has, after some time, without a look at what Asterisk still has."""
        self.clock.advance(seconds)
        if "DBGet" in self.link.names():
            self.link.last("DBGet").refuse("Database entry not found")
        return any(isinstance(told, Gone) for told in self.observer.told)

    def test_by_the_first(self) -> None:
        """The far half of its channel is known by its own id, which begins as ours do."""
        self.ends("7.2", "Local/200@phones-1;2")
        self.ends("7.1", "Local/200@phones-1;1")
        self.ends(ROOT, "Local/100@c2c-first-0;1")
        self.ends(f"{ROOT};2", "Local/100@c2c-first-0;2", linkedid="1.1")
        assert self.has_ended(0.0)

    def test_by_the_second(self) -> None:
        """The end of its far half is not told at all: it follows its near half."""
        self.ends("7.1", "Local/200@phones-1;1")
        self.ends(ROOT, "Local/100@c2c-first-0;1")
        self.ends(f"{ROOT};2", "Local/100@c2c-first-0;2")
        assert not self.has_ended(0.5)
        assert self.has_ended(1.0)

    def test_after_the_first_has_left_it(self) -> None:
        """As one that was dialled as a device may: the near half goes with the far one, unseen."""
        self.ends(ROOT, "Local/100@c2c-first-0;1")
        self.ends(f"{ROOT};2", "Local/100@c2c-first-0;2")
        assert not self.has_ended(10.0)
        self.ends("7.2", "Local/200@phones-1;2")
        assert not self.has_ended(0.5)
        assert self.has_ended(1.0)

    def test_a_phone_is_left(self) -> None:
        """It is waited for."""
        self.event("Newchannel", Uniqueid="7.3", Channel="PJSIP/200-3")
        self.ends("7.1", "Local/200@phones-1;1")
        self.ends(ROOT, "Local/100@c2c-first-0;1")
        self.ends(f"{ROOT};2", "Local/100@c2c-first-0;2")
        assert not self.has_ended(10.0)
