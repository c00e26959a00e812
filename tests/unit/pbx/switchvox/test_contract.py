"""The Switchvox driver keeps the contract of all drivers, over the double in memory."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.net.fresh_request import HttpAnswer, NotConnectedError
from c2c_agent.net.http_auth import Credentials
from c2c_agent.pbx.driver import PbxDriver, PlacedCall
from c2c_agent.pbx.switchvox.client import ExtendClient
from c2c_agent.pbx.switchvox.driver import SwitchvoxDriver
from tests import pbx_driver_contract as contract
from tests.fake_switchvox import FakeSwitchvox
from tests.pbx_driver_contract import StagedPbx, Watcher


class Line:
    """The network between one driver and the double: it can be cut, or the driver be dead."""

    def __init__(self, fake: FakeSwitchvox) -> None:
        self._fake = fake
        self.is_cut = False
        self.is_dead = False

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """Send a request, if there is a way."""
        if self.is_cut:
            raise NotConnectedError("no route to host")
        got = await self._fake.send(method, path, headers, body, seconds)
        if self.is_dead:
            await Deferred()
        return got


class StagedSwitchvox(StagedPbx):
    """The double, whose calls do what the test says."""

    job = CallJob("101", "200", "101", 30, pbx="switchvox")

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeSwitchvox(self.clock)
        self.fake.by_hand, self.fake.log_after = True, 0
        self.fake.lists_at_once = False  # so that an order that is held cannot be hung up yet
        self.hung_up = self.fake.hung_up
        self._drivers: list[tuple[SwitchvoxDriver, Line]] = []
        self._cut = False

    @property
    def orders(self) -> list[str]:
        """Requests of the orders that have come."""
        return [call.transaction_id for call in self.fake.placed]

    @orders.setter
    def orders(self, _: list[str]) -> None:
        """They are the double's."""

    def start(self, watcher: Watcher, *adopted: PlacedCall) -> PbxDriver:
        line = Line(self.fake)
        line.is_cut = self._cut
        fake = self.fake
        client = ExtendClient(
            line.send,
            Credentials(fake.username, fake.password),
            proof="switchvox.info.getList",
            wanted="auto",
            seconds=self.clock.seconds,
            new_word=lambda: "word",
        )
        config = SwitchvoxConfig("https://pbx.example.com", fake.username, "/nowhere")
        driver = SwitchvoxDriver(config, client, clock=self.clock, now=self.clock.seconds)
        driver.observer = watcher
        driver.adopt(adopted)
        driver.start()
        self._drivers.append((driver, line))
        return driver

    def accept(self) -> None:
        self.clock.advance(1)  # sooner than this, the first phone would still be ringing
        self.fake.answer_first(self.fake.placed[-1])

    def refuse(self) -> None:
        self.fake.refuse(self.fake.placed[-1], "10010", "Invalid extension (200).")

    def ring(self) -> None:
        """It has, before the order was answered."""

    def answer(self) -> None:
        self.fake.talk(self.fake.placed[-1])

    def end(self) -> None:
        self.fake.end(self.fake.placed[-1])

    def lose_link(self) -> None:
        self._cut = True
        self.fake.drop_open()
        for driver, line in self._drivers:
            line.is_cut = True
            Deferred.fromCoroutine(driver.try_it())

    def restore_link(self) -> None:
        self._cut = False
        for driver, line in self._drivers:
            line.is_cut = False
            Deferred.fromCoroutine(driver.try_it())

    def drop_drivers(self) -> None:
        for driver, line in self._drivers:
            line.is_dead = True
            driver.stop()
            driver.observer = Deaf()
        self._drivers.clear()


class Deaf(Watcher):
    """Who has died hears nothing."""

    def leg_event(self, request_id: str, event: object) -> None:
        """Nothing."""


class SwitchvoxContract(contract.PbxDriverContract):
    def make_pbx(self) -> StagedPbx:
        return StagedSwitchvox()
