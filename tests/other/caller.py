"""One caller with a driver of its own: it places calls, and has their machine follow them."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from c2c_agent.call.call import Call, CallState, OriginatePlan
from c2c_agent.call.events import Cancel, LegEvent, OriginateAccepted
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.config.files import document
from c2c_agent.config.parse import parse
from c2c_agent.net.fresh_request import Send
from c2c_agent.pbx.other.client import Client
from c2c_agent.pbx.other.connection import requests_of
from c2c_agent.pbx.other.driver import OtherDriver
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.reading import read
from tests.playbook import a_call

reactor: Any = _reactor

EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "other"


def example(name: str, base_url: str) -> Program:
    """The program of an example, with a back end at another place."""
    file = EXAMPLES / f"{name}.yml"
    config = parse([(str(file), document(file.read_bytes(), str(file)))], server_id="pbx1")
    assert config.other is not None
    value = {**config.other.value, "base_url": base_url}
    return read(value, config.other.where, config.other.files)


class Caller:
    """Places calls at a back end. `secrets` are by name."""

    def __init__(
        self, program: Program, secrets: Mapping[str, str], send: Send | None = None
    ) -> None:
        client = Client(
            program,
            send or requests_of(program, reactor),
            secrets=secrets,
            seconds=reactor.seconds,
            wall=reactor.seconds,
            new_word=lambda: uuid.uuid4().hex,
        )
        self.driver = OtherDriver(
            program, client, max_duration=60, clock=reactor, now=reactor.seconds
        )
        self.driver.observer = self
        self.story: list[str] = []
        self.told: list[str] = []
        self.data: Mapping[str, object] = {}
        self._calls: dict[str, Call] = {}

    # PbxObserver

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Let the call's machine have it."""
        self.told.append(type(event).__name__)
        if isinstance(event, OriginateAccepted):
            self.data = event.data
        call, _, breach = step(self._calls[request_id], event, reactor.seconds())
        assert not breach
        self._calls[request_id] = call

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """Nobody asks."""
        raise AssertionError(request_id)

    async def until_stored(self, request_id: str) -> bool:
        """Nobody asks."""
        raise AssertionError(request_id)

    async def has_ended(self, request_id: str) -> bool:
        """Nobody asks."""
        raise AssertionError(request_id)

    def pbx_up(self) -> None:
        """Note it."""
        self.story.append("up")

    def pbx_down(self, reason: str) -> None:
        """Note it."""
        self.story.append(reason)

    # What a test does

    async def up(self) -> None:
        """Start, and wait for the back end."""
        self.driver.start()
        while not self.story:
            await self.sleep(0.02)
        assert self.story == ["up"]

    async def place(self, first: str = "100", second: str = "200", ring: int = 10) -> str:
        """Place a call; its request id."""
        request_id = str(uuid.uuid4())
        job = CallJob(first, second, first, ring)
        plan = await self.driver.prepare(request_id, job)
        placed = a_call(request_id=request_id, state=CallState.DIALING_FIRST, plan=plan, job=job)
        self._calls[request_id] = evolve(
            placed, received=evolve(placed.received, at=reactor.seconds())
        )
        self.driver.originate(request_id, plan)
        return request_id

    def call(self, request_id: str) -> Call:
        """A call, as it is."""
        return self._calls[request_id]

    async def until(self, request_id: str, state: CallState, seconds: float = 20) -> Call:
        """Wait until it has come to a state."""
        until = reactor.seconds() + seconds
        while self._calls[request_id].state is not state:
            assert reactor.seconds() < until, f"{self._calls[request_id].state}: {self.told}"
            await self.sleep(0.02)
        return self._calls[request_id]

    async def ended(self, request_id: str, seconds: float = 20) -> Call:
        """Wait for its end."""
        return await self.until(request_id, CallState.ENDED, seconds)

    def cancel(self, request_id: str) -> None:
        """Cancel it."""
        self._calls[request_id] = step(self._calls[request_id], Cancel(), reactor.seconds()).call
        self.driver.hang_up(request_id)

    @staticmethod
    def sleep(seconds: float) -> Deferred[None]:
        """Wait."""
        return deferLater(reactor, seconds)
