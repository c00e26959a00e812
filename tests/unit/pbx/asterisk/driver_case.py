"""What the tests of the Asterisk driver stand on: a link and an observer of the tests' own."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import Message
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import LegEvent
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.pbx.asterisk.channel_id import root_id
from c2c_agent.pbx.asterisk.driver import AsteriskDriver
from tests.fake_link import FakeLink, message

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

    def hang_up_listed(self, *channels: Message) -> None:
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
