"""The driver for whatever takes an order over HTTP keeps the contract of every PBX driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from twisted.internet.defer import Deferred

from c2c_agent.net.fresh_request import HttpAnswer, NoAnswerError, NotConnectedError
from c2c_agent.pbx.driver import PbxDriver, PlacedCall
from c2c_agent.pbx.other.client import Client
from c2c_agent.pbx.other.driver import OtherDriver
from c2c_agent.pbx.other.reading import read
from tests import pbx_driver_contract as contract
from tests.pbx_driver_contract import ID, StagedPbx, Watcher

PROGRAM: Final = read(
    {
        "base_url": "http://127.0.0.1:9",
        "place": {
            "path": "/calls/{request_id}",
            "json": {"from": "{dial_first}", "to": "{dial_second}"},
            "success": {"status": 200},
            "error_message": "/message",
        },
        "status": {
            "every": 0.5,
            "requests": [
                {
                    "path": "/calls/{call_id}",
                    "rules": [
                        {"when": {"/state": "Ringing"}, "tell": "first_ringing"},
                        {"when": {"/state": "Up"}, "tell": "first_answered"},
                        {"when": {"status": 404}, "tell": "gone"},
                    ],
                }
            ],
        },
        "cancel": [{"method": "DELETE", "path": "/calls/{call_id}"}],
        "check": {"path": "/ping"},
    },
    ("other",),
    {},
)


class StagedBackEnd(StagedPbx):
    """A back end with one call, over HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self._up = True
        self._order: Deferred[HttpAnswer] | None = None  # not answered yet
        self._state: str | None = None  # of the call; None: there is none
        self._drivers: list[OtherDriver] = []

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """Take a request."""
        assert headers is not None
        assert seconds > 0
        if not self._up:
            raise NotConnectedError("cut")
        if method == "POST":
            assert json.loads(body) == {"from": "100", "to": "200"}
            self.orders.append(target.rpartition("/")[2])
            self._order = Deferred()
            return await self._order
        if target == "/ping":
            return HttpAnswer(200)
        assert target == f"/calls/{ID}"
        if self._state is None:
            return HttpAnswer(404)
        if method == "DELETE":
            if ID not in self.hung_up:
                self.hung_up.append(ID)
                self.clock.callLater(0.1, self.end)
            return HttpAnswer(204)
        return HttpAnswer(200, json.dumps({"state": self._state}).encode())

    def start(self, watcher: Watcher, *adopted: PlacedCall) -> PbxDriver:
        words = count(1)
        client = Client(
            PROGRAM,
            self.send,
            secrets={},
            seconds=self.clock.seconds,
            wall=self.clock.seconds,
            new_word=lambda: str(next(words)),
        )
        driver = OtherDriver(
            PROGRAM, client, max_duration=3600, clock=self.clock, now=self.clock.seconds
        )
        driver.observer = watcher
        driver.adopt(adopted)
        self._drivers.append(driver)
        driver.start()
        return driver

    def drop_drivers(self) -> None:
        self._drivers.clear()

    def accept(self) -> None:
        self._state = "Down"
        self._answer(HttpAnswer(200))

    def refuse(self) -> None:
        self._answer(HttpAnswer(400, b'{"message": "Extension does not exist."}'))

    def _answer(self, answer: HttpAnswer) -> None:
        order, self._order = self._order, None
        assert order is not None
        order.callback(answer)

    def ring(self) -> None:
        self._state = "Ringing"
        self.clock.advance(0.5)

    def answer(self) -> None:
        self._state = "Up"
        self.clock.advance(0.5)

    def end(self) -> None:
        self._state = None

    def lose_link(self) -> None:
        self._up = False
        order, self._order = self._order, None
        if order is not None:
            self._state = "Down"  # it had arrived
            order.errback(NoAnswerError("cut"))
        self._check()

    def lose_answer(self) -> None:
        self.lose_link()

    def restore_link(self) -> None:
        self._up = True
        self._check()

    def _check(self) -> None:
        """Have the drivers look, as often as it takes."""
        for driver in self._drivers:
            for _ in range(3):
                done: Deferred[Any] = Deferred.fromCoroutine(driver.try_it())
                assert done.called


class OtherContract(contract.PbxDriverContract):
    """Over HTTP."""

    def make_pbx(self) -> StagedPbx:
        return StagedBackEnd()
