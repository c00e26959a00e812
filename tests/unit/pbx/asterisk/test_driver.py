"""The Asterisk driver: the originate contract kept over AMI and FastAGI, link or no link."""

from __future__ import annotations

from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.agi.protocol import AgiFactory, AgiProtocol
from c2c_agent.ami.actions import Action, ShuttingDown
from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import Message
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    SecondAnswered,
    SecondDialed,
    SecondEnded,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import AmiConfig, AsteriskConfig, DialAsConfig, SecondLegRule
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.asterisk.channel_id import check_id, root_id
from c2c_agent.pbx.asterisk.driver import AsteriskDriver
from c2c_agent.pbx.driver import PlacedCall
from c2c_agent.policy.pattern import parse_pattern
from tests.fake_link import FakeLink, Sent, message
from tests.fakes import uuid

ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
ROOT = root_id(ID)
JOB = CallJob("100", "200", "100", 30)


class Observer:
    """Keeps what the driver tells."""

    def __init__(self) -> None:
        self.told: list[LegEvent] = []
        self.plan: OriginatePlan | None = None
        self.ups = 0
        self.downs: list[str] = []
        self.storing: Deferred[bool] | None = None  # None: it is stored at once
        self.ended: set[str] = set()  # whose end is in the store

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Keep an event."""
        assert request_id == ID
        self.told.append(event)

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """Give the plan out."""
        return self.plan if request_id == ID else None

    async def until_stored(self, request_id: str) -> bool:
        """Wait for the store."""
        assert request_id == ID
        return True if self.storing is None else await self.storing

    async def has_ended(self, request_id: str) -> bool:
        """Look in the store."""
        return request_id in self.ended

    def pbx_up(self) -> None:
        """Count."""
        self.ups += 1

    def pbx_down(self, reason: str) -> None:
        """Keep the reason."""
        self.downs.append(reason)


def talking() -> list[Message]:
    """What CoreShowChannels lists while a Local channel is between the two."""
    places = {
        "7.1": ("PJSIP/100-1", "b1"),
        "7.2": ("Local/200@x-1;1", "b1"),
        "7.3": ("Local/200@x-1;2", "b2"),
        "7.4": ("PJSIP/200-2", "b2"),
    }
    return [
        message(
            Event="CoreShowChannel",
            Uniqueid=uniqueid,
            Linkedid=ROOT,
            Channel=name,
            ChannelStateDesc="Up",
            BridgeId=bridge,
            Context="c2c-talk" if uniqueid == "7.1" else "x",
        )
        for uniqueid, (name, bridge) in places.items()
    ]


class DriverTestCase(SynchronousTestCase):
    """A driver between a fake link and a keeping observer."""

    config = AsteriskConfig()
    ahead = 0.0  # of the host's clock, to the steady one

    def setUp(self) -> None:
        self.link = FakeLink()
        self.clock = Clock()
        self.observer = Observer()
        self.driver = AsteriskDriver(
            self.config,
            link=cast("AmiLink", self.link),
            agi_url="agi://127.0.0.1:8475/c2c",
            max_duration=3600,
            clock=self.clock,
            now=self.clock.seconds,
            wall=lambda: self.clock.seconds() + self.ahead,
        )
        self.driver.observer = self.observer

    def tearDown(self) -> None:
        assert self.clock.getDelayedCalls() == []

    def prepare(self, job: CallJob = JOB) -> Deferred[OriginatePlan]:
        """Ask for a plan."""
        return Deferred.fromCoroutine(self.driver.prepare(ID, job))

    def plan(self) -> OriginatePlan:
        """A plan, with Asterisk's help."""
        preparing = self.prepare()
        self.link.last("Getvar").succeed(Value="from-phones")
        return self.successResultOf(preparing)

    def originate(self) -> None:
        """Place a call that Asterisk accepts."""
        self.observer.plan = self.plan()
        self.driver.originate(ID, self.observer.plan)
        self.link.last("Originate").succeed()
        self.observer.told.clear()

    def event(self, name: str, **headers: str) -> None:
        """Asterisk tells something of the call."""
        self.driver.ami_event(message(Event=name, Linkedid=ROOT, **headers))

    def hang_up(self, *channels: Message) -> None:
        """Channels that were listed end."""
        for one in channels:
            names = {name: one.get(name) for name in ("Uniqueid", "Channel")}
            self.event("Hangup", **names, Cause="16")

    def first_leg(self) -> None:
        """Its channel comes to be."""
        self.event("Newchannel", Uniqueid=ROOT, Channel="PJSIP/100-1")

    def hang_up_first(self, cause: str = "16") -> None:
        """Its channel ends."""
        self.event("Hangup", Uniqueid=ROOT, Channel="PJSIP/100-1", Cause=cause)

    def originate_response(self, response: str, reason: str) -> None:
        """The originate's own end."""
        self.driver.ami_event(
            message(Event="OriginateResponse", Uniqueid=ROOT, Response=response, Reason=reason)
        )


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


class SettleTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        plan = self.plan()
        seen = LegEvidence(ringing_at=-5.0, answered_at=-3.0)
        self.driver.adopt([PlacedCall(ID, plan, seen, LegEvidence())])

    def test_found(self) -> None:
        """It is alive, and what was missed is told."""
        self.driver.settle([ID, "another"])
        root = {"Uniqueid": ROOT, "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        self.link.last("CoreShowChannels").list(
            message(Event="CoreShowChannel", ChannelStateDesc="Up", BridgeId="b", **root),
            message(Event="CoreShowChannel", Uniqueid="7.1", Linkedid="7.1", Channel="SIP/x"),
        )
        assert self.observer.told[0] == Found()
        assert len(self.observer.told) == 2
        self.clock.advance(1)
        told = [one.headers for one in self.link.sent if one.action.name == "Setvar"]
        assert [headers["Variable"] for headers in told] == ["CDR_PROP(disable)"]

    def test_what_ends_before_the_list_is_there(self) -> None:
        """The Local channel leaves the talk just when the agent is back: that goes on."""
        self.driver.settle([ID])
        halves = [one for one in talking() if one.get("Channel").startswith("Local/")]
        self.hang_up(*halves)
        self.link.last("CoreShowChannels").list(*talking())
        self.clock.advance(1)
        assert "DBGet" not in self.link.names()
        assert Gone not in map(type, self.observer.told)
        self.hang_up(*(one for one in talking() if one not in halves))
        self.link.last("DBGet").refuse("Database entry not found")
        assert Gone in map(type, self.observer.told)

    def test_all_ends_before_the_list_is_there(self) -> None:
        """Nothing is told any more after it."""
        self.driver.settle([ID])
        self.hang_up(*talking())
        self.link.last("CoreShowChannels").list(*talking())
        self.link.last("DBGet").refuse("Database entry not found")
        assert Gone in map(type, self.observer.told)

    def test_a_list_that_is_refused(self) -> None:
        """Then events alone tell, also those before the refusal."""
        self.driver.settle([ID])
        self.hang_up(*talking())
        self.link.last("CoreShowChannels").refuse("Permission denied")
        self.link.last("DBGet").refuse("Database entry not found")
        assert Gone in map(type, self.observer.told)

    def test_the_first_refuses_in_this_moment(self) -> None:
        """Its phone is listed still, and what dialled it no more: it is not the second's."""
        plan = self.plan()
        self.driver.adopt([PlacedCall(ID, plan, LegEvidence(ringing_at=-5.0), LegEvidence())])
        self.driver.settle([ID])
        phone = {"Uniqueid": "7.1", "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        self.link.last("CoreShowChannels").list(
            message(Event="CoreShowChannel", ChannelStateDesc="Ringing", **phone)
        )
        half = {"Uniqueid": ROOT, "Channel": "Local/100@c2c-first-0;1"}
        self.event("Hangup", **half, Cause="17")
        self.event("Hangup", Uniqueid="7.1", Channel="PJSIP/100-1", Cause="17")
        self.clock.advance(2)
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="first,BUSY,17,0.0"))
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.first.status == "BUSY"
        assert gone.evidence.first.channel == "PJSIP/100-1"
        assert (gone.evidence.dialed, gone.evidence.second) == (False, LegEvidence())

    def test_gone_only_after_a_second_look(self) -> None:
        """An order on its way when the link broke may only just be carried out."""
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        assert self.observer.told == []
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        self.link.last("Setvar").succeed()
        (gone,) = self.observer.told
        assert isinstance(gone, Gone)
        assert gone.evidence.second.status == "BUSY"
        assert not gone.evidence.lost

    def test_asterisk_cannot_be_asked(self) -> None:
        """Nothing is concluded from that."""
        self.driver.settle([ID])
        self.link.is_up = False
        self.link.last("CoreShowChannels").fail(LinkLost("cut"))
        assert self.observer.told == []

    def test_asterisk_is_slow(self) -> None:
        """The link is up still, so nobody else will ask again."""
        self.driver.settle([ID])
        for _ in range(3):
            self.link.last("CoreShowChannels").fail(ActionTimedOut("CoreShowChannels"))
            assert self.observer.told == []
            self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").fail(ActionTimedOut("CoreShowChannels"))
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        for _ in range(3):
            assert self.observer.told == []
            self.link.last("DBGet").fail(ActionTimedOut("DBGet"))
            self.clock.advance(2)
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        (gone,) = self.observer.told
        assert isinstance(gone, Gone)

    def test_asterisk_shuts_down_over_the_record(self) -> None:
        """It is there, and is read when the call is asked for the next time."""
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").fail(ShuttingDown("DBGet", "Asterisk is shutting down"))
        assert self.observer.told == []
        assert self.clock.getDelayedCalls() == []
        self.clock.advance(5)
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        (gone,) = self.observer.told
        assert isinstance(gone, Gone)
        assert gone.evidence.second.status == "BUSY"

    def test_asterisk_is_slow_and_the_link_is_lost(self) -> None:
        """When it is back, all are settled."""
        self.driver.settle([ID])
        asked = self.link.last("CoreShowChannels")
        self.link.is_up = False
        asked.fail(ActionTimedOut("CoreShowChannels"))
        assert self.clock.getDelayedCalls() == []
        self.driver.link_down("cut")
        self.link.is_up = True
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        asked = self.link.last("DBGet")
        self.link.is_up = False
        asked.fail(ActionTimedOut("DBGet"))
        assert self.clock.getDelayedCalls() == []
        assert self.observer.told == []

    def test_the_link_tells_when_to_settle(self) -> None:
        """Up: settle. Down: noted."""
        self.driver.link_up("22.10.1")
        self.link.last("DBGetTree").refuse("Database entry not found")
        self.driver.link_down("cut")
        assert (self.observer.ups, self.observer.downs) == (1, ["cut"])

    def test_records_that_a_crash_has_left(self) -> None:
        """Deleted where the end is stored; of a call in progress, or another agent's, they stay."""
        self.originate()
        self.observer.ended = {"1", ID}
        self.driver.link_up("22.10.1")
        self.link.last("DBGetTree").list(
            *(
                message(Event="DBGetTreeResponse", Key=f"/c2c/{key}", Val="ANSWER")
                for key in ("1", "2", ID)
            )
        )
        deletions = [sent for sent in self.link.sent if sent.action.name == "Setvar"]
        (deletion,) = deletions
        assert deletion.headers["Variable"] == "DB_DELETE(c2c/1)"
        deletion.succeed()


ENVIRONMENT = (
    "agi_network: yes\nagi_network_script: {script}\nagi_channel: {name}\n"
    "agi_uniqueid: {uniqueid}\n{arguments}\n"
)


class BridgeTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = AgiFactory(self.driver.accept, self.clock)
        protocol = self.factory.buildProtocol(None)
        assert isinstance(protocol, AgiProtocol)
        self.agi = protocol
        self.transport = StringTransport()
        self.agi.makeConnection(cast("Any", self.transport))

    def connect(
        self,
        uniqueid: str = ROOT,
        script: str = "c2c",
        *,
        name: str = "PJSIP/100-1",
        arguments: tuple[str, ...] = (),
    ) -> None:
        """Asterisk connects with a channel."""
        lines = "".join(f"agi_arg_{n}: {text}\n" for n, text in enumerate(arguments, 1))
        self.say(ENVIRONMENT.format(uniqueid=uniqueid, script=script, name=name, arguments=lines))

    def prove(self, secret: str | None = None) -> None:
        """The channel tells the secret of the call, or another."""
        assert self.heard() == 'GET VARIABLE "C2C_SECRET"\n'
        self.say(f"200 result=1 ({secret or self.secret()})\n")

    def secret(self) -> str:
        """What was sent with the call."""
        plan = self.observer.plan
        assert plan is not None
        assert isinstance(plan.order, Action)
        sent = [value for _, value in plan.order.headers if value.startswith("_C2C_SECRET=")]
        return sent[0].removeprefix("_C2C_SECRET=")

    def come_to_the_bridge(self) -> None:
        """The answered first leg comes to the agent, and proves that it is of the call."""
        self.connect(arguments=(ID,))
        self.prove()

    def say(self, text: str) -> None:
        """Asterisk says something."""
        self.agi.dataReceived(text.encode())

    def heard(self) -> str:
        """What the agent has said since the last look."""
        text = self.transport.value()
        self.transport.clear()
        return str(text, "ascii")

    def hang_up(self) -> None:
        """The connection ends."""
        self.agi.connectionLost()

    def test_dials_and_reads_the_result(self) -> None:
        """One Dial, with the plan's target, timeout and the longest duration."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        assert self.observer.told == [FirstAnswered("PJSIP/100-1"), SecondDialed(30)]
        assert self.heard() == (
            'EXEC "Dial" "Local/200@from-phones,30,giS(3600)U(c2c-answered^PJSIP/100-1)"\n'
        )
        self.say("200 result=0\n")
        assert self.heard().startswith("GET FULL VARIABLE")
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.say("200 result=1\n")
        assert self.transport.disconnecting
        self.hang_up()
        self.originate_response("Success", "4")
        self.hang_up_first()
        (gone,) = [event for event in self.observer.told if isinstance(event, Gone)]
        assert gone.evidence.second.status == "ANSWER"
        assert {"DBGet", "Setvar"}.isdisjoint(self.link.names())

    def test_the_first_answered_while_the_link_was_down(self) -> None:
        """When it came to the bridge, and not when the link was back."""
        self.originate()
        self.driver.link_down("cut")
        self.clock.advance(3)
        self.come_to_the_bridge()
        self.clock.advance(60)
        self.driver.settle([ID])
        root = {"Uniqueid": ROOT, "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        up = message(Event="CoreShowChannel", ChannelStateDesc="Up", BridgeId="b", **root)
        self.link.last("CoreShowChannels").list(up)
        self.say("200 result=0\n")
        self.say("200 result=1 (ANSWER,16,15.0)\n")
        self.say("200 result=1\n")
        self.hang_up()
        self.hang_up_first()
        (gone,) = [event for event in self.observer.told if isinstance(event, Gone)]
        assert gone.evidence.first.answered_at == 3.0
        assert gone.evidence.second.answered_at == 15.0

    def test_the_result_is_stored_before_the_dialplan_is_told(self) -> None:
        """Whoever crashes in between finds it: here, or in AstDB."""
        self.observer.storing = Deferred()
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.say("200 result=0\n")
        self.heard()
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        assert self.heard() == ""
        ended = self.observer.told[-1]
        assert isinstance(ended, SecondEnded)
        assert ended.evidence.status == "ANSWER"
        self.observer.storing.callback(True)
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.say("200 result=1\n")
        self.hang_up()

    def test_a_store_that_is_too_slow(self) -> None:
        """The channel is not held for it: the dialplan leaves a record of its own."""
        self.observer.storing = Deferred()
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.say("200 result=0\n")
        self.heard()
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        self.clock.advance(2)
        assert self.heard() == ""
        assert self.transport.disconnecting
        self.hang_up()
        self.ends_and_leaves_a_record()

    def test_the_session_ends_before_the_dialplan_is_told(self) -> None:
        """Neither does it know then, and it leaves a record; the agent knows better."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.say("200 result=0\n")
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        assert self.heard().endswith('SET VARIABLE "C2C_DONE" "1"\n')
        self.hang_up()
        self.ends_and_leaves_a_record()

    def ends_and_leaves_a_record(self) -> None:
        """The first leg is gone: the record is deleted as soon as the end is stored."""
        self.observer.storing = Deferred()
        self.originate_response("Success", "4")
        self.hang_up_first()
        assert isinstance(self.observer.told[-1], Gone)
        assert "DBGet" not in self.link.names()
        assert "Setvar" not in self.link.names()
        self.observer.storing.callback(True)
        deletion = self.link.last("Setvar")
        assert deletion.headers == {"Variable": f"DB_DELETE(c2c/{ID})", "Value": ""}

    def test_the_end_waits_for_the_session(self) -> None:
        """The first leg is gone, but the session still has to tell how the second ended."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.say("200 result=-1\nHANGUP\n")
        self.heard()
        assert Gone not in map(type, self.observer.told)
        self.say("200 result=1 (CANCEL,0,)\n")
        self.say("200 result=1\n")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.second.status == "CANCEL"
        self.hang_up()

    def test_a_session_that_is_lost(self) -> None:
        """The call goes on; how it ended is taken from AstDB."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.hang_up()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").refuse("Database entry not found")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.dialed is False

    def test_a_call_that_may_not_be_bridged(self) -> None:
        """Told to end: the dialplan hangs up and dials nothing by itself."""
        self.connect(root_id(uuid(7)))
        assert self.heard() == 'GET VARIABLE "C2C_SECRET"\n'
        self.say("200 result=0\n")
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.say("200 result=1\n")
        assert self.transport.disconnecting
        self.hang_up()

    def test_a_call_that_is_not_put_through(self) -> None:
        """Its own channel may not have the second leg dialled: that ends it from here."""
        self.originate()
        self.first_leg()
        secret, self.observer.plan = self.secret(), None
        self.connect(arguments=(ID,))
        self.prove(secret)
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.hang_up()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").refuse("Database entry not found")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.ended_here

    def test_the_phone_itself_dials(self) -> None:
        """It is known by the argument and the secret; its own id says nothing. And once only."""
        self.originate()
        self.first_leg()
        self.connect("17.5", arguments=(ID,))
        assert self.observer.told == []
        self.prove()
        assert self.observer.told == [FirstAnswered("PJSIP/100-1"), SecondDialed(30)]
        assert self.heard().startswith('EXEC "Dial"')
        self.hang_up()
        self.hang_up_first()
        assert Gone not in map(type, self.observer.told)
        self.event("Hangup", Uniqueid="17.5", Channel="PJSIP/100-1", Cause="16")
        self.link.last("DBGet").refuse("Database entry not found")
        assert isinstance(self.observer.told[-1], Gone)

    def pick_up(self, *, told: bool) -> None:
        """Another phone takes the first number, and comes to the bridge in its place."""
        self.originate()
        self.event("Newchannel", Uniqueid=ROOT, Channel="Local/100@c2c-first-1;1")
        if told:
            other = {"Uniqueid": "9.1", "Linkedid": "9.1", "Channel": "PJSIP/101-9"}
            picked = {"TargetUniqueid": ROOT, "TargetLinkedid": ROOT}
            self.driver.ami_event(message(Event="Pickup", **other, **picked))
        self.event("Hangup", Uniqueid=ROOT, Channel="Local/100@c2c-first-1;1", Cause="26")
        self.connect("9.1", name="PJSIP/101-9", arguments=(ID,))
        self.prove()

    def test_a_first_number_that_is_picked_up(self) -> None:
        """What is told under the other call's Linkedid is of the call, whoever has said so."""
        for told in (True, False):
            with self.subTest(told=told):
                self.setUp()
                self.pick_up(told=told)
                other = {"Uniqueid": "9.1", "Linkedid": "9.1", "Channel": "PJSIP/101-9"}
                near = {"DestUniqueid": "9.2", "DestLinkedid": "9.1", "DestChannel": "Local/200;1"}
                self.driver.ami_event(message(Event="DialBegin", **other, **near))
                answered = message(Event="DialEnd", DialStatus="ANSWER", **other, **near)
                self.driver.ami_event(answered)
                assert isinstance(self.observer.told[-1], SecondAnswered)
                self.driver.settle([ID])
                up = {"ChannelStateDesc": "Up", "BridgeId": "b"}
                self.link.last("CoreShowChannels").list(
                    message(Event="CoreShowChannel", **other, **up)
                )
                assert self.observer.told[-1:] == [Found()]
                self.driver.hang_up(ID)
                assert self.link.last("Hangup").headers["Channel"] == "9.1"
                self.hang_up()
                self.driver.ami_event(message(Event="Hangup", Cause="16", **other))
                near = {"Uniqueid": "9.2", "Linkedid": "9.1", "Channel": "Local/200;1"}
                self.driver.ami_event(message(Event="Hangup", Cause="16", **near))
                self.link.last("DBGet").refuse("Database entry not found")
                assert isinstance(self.observer.told[-1], Gone)

    def test_a_dialplan_of_version_0_1(self) -> None:
        """It says no more than its channel's id, and needs the Local channel for its limit."""
        self.originate()
        self.connect()
        self.prove()
        assert self.heard().startswith('EXEC "Dial" "Local/200@from-phones/n,30,')
        self.hang_up()

    def test_a_stranger_who_knows_the_call(self) -> None:
        """By its id alone, and even by the id of its channel: nothing is dialled or told."""
        for uniqueid, secret in (("17.5", "0" * 32), (ROOT, "0" * 32), (ROOT, "")):
            with self.subTest(uniqueid=uniqueid, secret=secret):
                self.setUp()
                self.originate()
                self.connect(uniqueid, arguments=(ID,))
                assert self.heard() == 'GET VARIABLE "C2C_SECRET"\n'
                self.say(f"200 result=1 ({secret})\n")
                assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
                assert self.observer.told == []
                self.hang_up()

    def test_a_stranger_who_goes_away(self) -> None:
        """Asked for the secret, it hangs up: nothing was given out."""
        self.originate()
        self.connect("17.5", arguments=(ID,))
        self.hang_up()
        assert self.observer.told == []

    def test_a_call_of_version_0_1(self) -> None:
        """It has no secret, and is known by the id of its channel as it was then."""
        self.originate()
        assert self.observer.plan is not None
        plan = evolve(self.observer.plan, secret_digest="")
        self.driver.hang_up(ID)
        self.link.last("Hangup").fail(LinkLost("cut"))
        self.setUp()
        self.observer.plan = plan
        self.driver.adopt([PlacedCall(ID, plan, LegEvidence(), LegEvidence())])
        self.connect(arguments=(ID,))
        self.heard()
        self.say("200 result=0\n")
        assert self.heard().startswith('EXEC "Dial"')
        self.hang_up()

    def test_a_test_call(self) -> None:
        """Acknowledged by a cause that nothing else gives."""
        self.connect(check_id())
        self.heard()
        self.say("200 result=1\n")
        assert self.heard() == 'EXEC "Hangup" "27"\n'
        self.say("200 result=-1\n")
        assert self.transport.disconnecting
        self.hang_up()

    def test_a_channel_that_is_not_ours(self) -> None:
        """Given back without a word."""
        for uniqueid, script in (("17.1", "c2c"), (ROOT, "other")):
            with self.subTest(uniqueid=uniqueid, script=script):
                self.setUp()
                self.connect(uniqueid, script)
                assert self.heard() == ""
                assert self.transport.disconnecting
                self.hang_up()


class TakenTests(DriverTestCase):
    """The phone that answered dials the second leg itself, and the way to it goes."""

    def setUp(self) -> None:
        super().setUp()
        self.originate()
        self.talk()

    def talk(self) -> None:
        """They talk since second 4, over a Local channel."""
        self.event("Newchannel", Uniqueid=ROOT, Channel="Local/100@c2c-first-0;1")
        self.event("Newchannel", Uniqueid=ROOT + ";2", Channel="Local/100@c2c-first-0;2")
        phone = {"Uniqueid": "7.1", "Channel": "PJSIP/100-1"}
        dialed = {"DestUniqueid": "7.1", "DestChannel": "PJSIP/100-1"}
        far = {"Uniqueid": ROOT + ";2", "Channel": "Local/100@c2c-first-0;2"}
        self.event("DialBegin", **far, **dialed)
        self.event("DialEnd", DialStatus="ANSWER", **far, **dialed)
        self.originate_response("Success", "4")
        self.near = {"DestUniqueid": "7.2", "DestChannel": "Local/200@x-1;1"}
        self.event("DialBegin", **phone, **self.near)
        self.clock.advance(4)
        far = {"Uniqueid": "7.3", "Channel": "Local/200@x-1;2"}
        dialed = {"DestUniqueid": "7.4", "DestChannel": "PJSIP/200-2"}
        self.event("DialBegin", **far, **dialed)
        self.event("DialEnd", DialStatus="ANSWER", **far, **dialed)
        self.event("DialEnd", DialStatus="ANSWER", **phone, **self.near)
        for number in "12":
            name = f"Local/100@c2c-first-0;{number}"
            uniqueid = ROOT if number == "1" else ROOT + ";2"
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")

    def optimize(self) -> None:
        """The Local channel leaves the talk."""
        halves = {"LocalOneUniqueid": "7.2", "LocalTwoUniqueid": "7.3"}
        names = {"LocalOneChannel": "Local/200@x-1;1", "LocalTwoChannel": "Local/200@x-1;2"}
        self.event("LocalOptimizationEnd", LocalOneLinkedid=ROOT, **halves, **names)
        for uniqueid, name in (("7.2", "Local/200@x-1;1"), ("7.3", "Local/200@x-1;2")):
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")

    def ends(self, uniqueid: str, linkedid: str = ROOT) -> None:
        """A phone's channel ends."""
        name = {"7.1": "PJSIP/100-1", "7.4": "PJSIP/200-2"}[uniqueid]
        self.driver.ami_event(
            message(Event="Hangup", Linkedid=linkedid, Uniqueid=uniqueid, Channel=name, Cause="16")
        )

    def set_on_the_phone(self) -> dict[str, str]:
        """What was set, by name."""
        sent = [one.headers for one in self.link.sent if one.action.name == "Setvar"]
        assert {headers["Channel"] for headers in sent} <= {"7.1"}
        return {headers["Variable"]: headers["Value"] for headers in sent}

    def over(self) -> bool:
        """Whether the call is told to be gone."""
        return Gone in map(type, self.observer.told)

    def finish(self) -> None:
        """Nothing was left in AstDB."""
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.over()

    def test_the_cdr(self) -> None:
        """Once the way is gone, the talk is counted; once."""
        halves = {"LocalOneUniqueid": "7.2", "LocalTwoUniqueid": "7.3"}
        names = {"LocalOneChannel": "Local/200@x-1;1", "LocalTwoChannel": "Local/200@x-1;2"}
        self.event("LocalOptimizationEnd", LocalOneLinkedid=ROOT, **halves, **names)
        assert self.set_on_the_phone() == {}
        self.optimize()
        assert self.set_on_the_phone() == {"CDR_PROP(disable)": "0"}
        self.clock.advance(2)
        self.event("DialState", DialStatus="RINGING", **self.near)
        assert self.link.names().count("Setvar") == 1
        self.link.last("Setvar").fail(LinkLost("cut"))
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def refused(self, words: str) -> list[str]:
        """What is logged where the talk is not counted as it should; it goes on to its end."""
        self.optimize()
        with capturedLogs() as logs:
            self.link.last("Setvar").refuse(words)
        self.ends("7.4")
        self.ends("7.1")
        self.finish()
        return [str(formatEvent(entry)) for entry in logs]

    def test_what_is_not_set(self) -> None:
        """The log has Asterisk's words."""
        said = f"call {ID}: Setvar CDR_PROP(disable) refused: Permission denied"
        assert self.refused("Permission denied") == [said]

    def test_a_channel_that_has_just_ended(self) -> None:
        """Nothing is wrong with that."""
        assert self.refused("No such channel") == []

    def test_asterisk_is_slow(self) -> None:
        """Then it may be set, or not; the log says so."""
        self.optimize()
        late = ActionTimedOut("Setvar: no answer within 10 s")
        with capturedLogs() as logs:
            self.link.last("Setvar").fail(late)
        assert [str(formatEvent(entry)) for entry in logs] == [f"call {ID}: {late}"]
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_the_cdr_of_a_channel_that_stays(self) -> None:
        """Where it has not left the talk by then, as with a recording, its own leads here."""
        self.clock.advance(0.9)
        assert self.link.names().count("Setvar") == 0
        self.clock.advance(0.2)
        headers = self.link.last("Setvar").headers
        told = {name: headers[name] for name in ("Channel", "Variable", "Value")}
        assert told == {"Channel": "Local/200@x-1;2", "Variable": "CDR(userfield)", "Value": ID}
        assert self.link.names().count("Setvar") == 1
        self.link.last("Setvar").fail(LinkLost("cut"))
        for uniqueid, name in (("7.2", "Local/200@x-1;1"), ("7.3", "Local/200@x-1;2")):
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_the_cdr_of_a_channel_that_is_to_stay(self) -> None:
        """As the configuration has it, it leads here from the answer on."""
        stays = SecondLegRule(parse_pattern("_X."), "Local/{number}@{context}", optimize=False)
        self.config = AsteriskConfig(second_leg=[stays])
        self.setUp()
        self.clock.advance(0)
        assert self.link.last("Setvar").headers["Variable"] == "CDR(userfield)"
        self.driver.link_down("cut")
        self.link.last("Setvar").fail(LinkLost("cut"))
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list(*talking())
        self.clock.advance(0)
        assert self.link.names().count("Setvar") == 2
        self.link.last("Setvar").succeed()
        for uniqueid, name in (("7.2", "Local/200@x-1;1"), ("7.3", "Local/200@x-1;2")):
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")
        self.ends("7.4")
        self.ends("7.1")
        self.clock.advance(2)
        self.finish()

    def test_the_limit(self) -> None:
        """A talk that comes near it is bounded exactly, from its beginning on."""
        self.clock.advance(0.5)
        self.optimize()
        self.clock.advance(3537.5)
        assert "TIMEOUT(absolute)" not in self.set_on_the_phone()
        self.clock.advance(3)
        assert self.set_on_the_phone()["TIMEOUT(absolute)"] == "59.000"
        self.link.last("Setvar").fail(LinkLost("cut"))
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_the_limit_is_near_when_the_link_is_back(self) -> None:
        """What was said while it was cut is said again: it may not have been heard."""
        names = {"LocalOneChannel": "Local/200@x-1;1", "LocalTwoChannel": "Local/200@x-1;2"}
        self.event("LocalBridge", LocalOneUniqueid="7.2", LocalTwoUniqueid="7.3", **names)
        self.optimize()
        self.driver.link_down("cut")
        self.clock.advance(3590)
        self.link.last("Setvar").fail(LinkLost("cut"))
        before = self.link.names().count("Setvar")
        self.driver.settle([ID])
        two = {"7.1": ("PJSIP/100-1", "c2c-talk"), "7.4": ("PJSIP/200-2", "from-phones")}
        self.link.last("CoreShowChannels").list(
            *(
                message(
                    Event="CoreShowChannel",
                    ChannelStateDesc="Up",
                    BridgeId="b",
                    Linkedid=ROOT,
                    Uniqueid=uniqueid,
                    Channel=name,
                    Context=context,
                )
                for uniqueid, (name, context) in two.items()
            )
        )
        self.clock.advance(0)
        assert self.set_on_the_phone()["TIMEOUT(absolute)"] == "10.000"
        assert self.link.names().count("Setvar") == before + 2
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_hung_up_from_here(self) -> None:
        """The phone that dialled is, and all goes with it."""
        self.optimize()
        self.driver.hang_up(ID)
        sent = self.link.last("Hangup")
        assert sent.headers["Channel"] == "7.1"
        sent.succeed()
        self.ends("7.1")
        self.ends("7.4")
        self.finish()

    def test_left_to_an_older_call(self) -> None:
        """Its end is told as that one's, so it is looked for, as long as it is there."""
        self.optimize()
        self.ends("7.1")
        self.clock.advance(3)
        there = {"Uniqueid": "7.4", "Linkedid": ROOT, "Channel": "PJSIP/200-2"}
        self.link.last("CoreShowChannels").list(message(Event="CoreShowChannel", **there))
        assert not self.over()
        assert Found not in map(type, self.observer.told)
        self.clock.advance(3)
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.finish()
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert not gone.evidence.lost

    def test_all_ends_before_it_is_looked_for(self) -> None:
        """Then nothing is asked."""
        self.optimize()
        self.ends("7.4")
        self.ends("7.1")
        self.finish()
        self.clock.advance(10)
        assert "CoreShowChannels" not in self.link.names()
