"""The Asterisk driver keeps the contract of every PBX driver."""

from __future__ import annotations

from typing import Final, cast

from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import Message
from c2c_agent.ami.pending import LinkLost
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.pbx.asterisk.channel_id import root_id
from c2c_agent.pbx.asterisk.driver import AsteriskDriver
from c2c_agent.pbx.driver import PbxDriver, PlacedCall
from tests import pbx_driver_contract as contract
from tests.fake_link import FakeLink, Sent, message
from tests.pbx_driver_contract import ID, StagedPbx, Watcher

ROOT: Final = root_id(ID)
PHONE: Final = {"Linkedid": ROOT, "Uniqueid": ROOT, "Channel": "PJSIP/100-1"}


class _AnsweredLink(FakeLink):
    """A link at whose other end the staged Asterisk answers by itself."""

    def __init__(self, asterisk: StagedAsterisk, *, is_up: bool) -> None:
        super().__init__()
        self.is_up = is_up
        self._asterisk = asterisk

    def _take(self, sent: Sent) -> None:
        super()._take(sent)
        if self.is_up:
            self._asterisk.take(sent)


class StagedAsterisk(StagedPbx):
    """An Asterisk with one call, whose first channel is all there is."""

    def __init__(self) -> None:
        super().__init__()
        self._up = True
        self._order: Sent | None = None  # not answered yet
        self._channel = False  # it is there
        self._answered = False
        self._ends: list[tuple[AsteriskDriver, _AnsweredLink]] = []

    def start(self, watcher: Watcher, *adopted: PlacedCall) -> PbxDriver:
        link = _AnsweredLink(self, is_up=self._up)
        driver = AsteriskDriver(
            AsteriskConfig(),
            link=cast("AmiLink", link),
            agi_url="agi://127.0.0.1:8475/c2c",
            max_duration=3600,
            clock=self.clock,
            now=self.clock.seconds,
            wall=self.clock.seconds,
        )
        driver.observer = watcher
        driver.adopt(adopted)
        self._ends.append((driver, link))
        if self._up:
            driver.link_up("22.10.1")
        return driver

    def drop_drivers(self) -> None:
        self._ends.clear()

    def take(self, sent: Sent) -> None:
        """Answer an action."""
        match sent.action.name:
            case "Getvar":
                sent.succeed(Value="from-phones")
            case "Originate":
                self.orders.append(ID)
                self._order = sent
            case "Hangup" if self._channel:
                assert sent.headers["Channel"] == ROOT
                self.hung_up.append(ID)
                sent.succeed()
                self.clock.callLater(0.1, self.end)
            case "Hangup":
                sent.refuse("No such channel")
            case "CoreShowChannels":
                state = "Up" if self._answered else "Ringing"
                listed = message(Event="CoreShowChannel", ChannelStateDesc=state, **PHONE)
                sent.list(*([listed] if self._channel else []))
            case "DBGet" | "DBGetTree":
                sent.refuse("Database entry not found")
            case name:
                raise AssertionError(name)

    def accept(self) -> None:
        order, self._order = self._order, None
        assert order is not None
        self._channel = True
        order.succeed(Message="Originate successfully queued")
        self._tell(message(Event="Newchannel", **PHONE))

    def refuse(self) -> None:
        order, self._order = self._order, None
        assert order is not None
        order.refuse("Extension does not exist.")

    def ring(self) -> None:
        state = {"DestUniqueid": ROOT, "DestChannel": "PJSIP/100-1", "DialStatus": "RINGING"}
        self._tell(message(Event="DialState", Linkedid=ROOT, **state))

    def answer(self) -> None:
        self._answered = True
        response = {"Response": "Success", "Reason": "4"}
        self._tell(message(Event="OriginateResponse", Uniqueid=ROOT, **response))

    def end(self) -> None:
        self._channel = False
        self._tell(message(Event="Hangup", Cause="16", **PHONE))

    def lose_link(self) -> None:
        self._up = False
        for driver, link in self._ends:
            link.is_up = False
            driver.link_down("cut")
        if self._order is not None:
            self._order.fail(LinkLost("cut"))
            self._order = None

    def lose_answer(self) -> None:
        self.lose_link()
        self._channel = True

    def restore_link(self) -> None:
        self._up = True
        for driver, link in self._ends:
            link.is_up = True
            driver.link_up("22.10.1")

    def _tell(self, event: Message) -> None:
        for driver, link in self._ends:
            if link.is_up:
                driver.ami_event(event)


class AsteriskContract(contract.PbxDriverContract):
    """Over AMI."""

    def make_pbx(self) -> StagedPbx:
        return StagedAsterisk()
