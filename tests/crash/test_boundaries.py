"""Killed by SIGKILL at every step of a call through a Switchvox, and through a program over HTTP.

A first call without a kill names the boundaries (`tests.pbx.launcher`): before and after each
commit, each request to the PBX and the answer to the caller. Then each has a call of its own. What
came to the PBX is counted there: an order once at the most, whatever the agent believes.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.error import URLError

import pytest

from tests.crash import back_end
from tests.crash.back_end import BackEnd
from tests.fake_switchvox import Story
from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import AsteriskHost
from tests.pbx.waiting import WaitedInVainError, wait_until
from tests.switchvox.server import Running
from tests.switchvox.server import serve as serve_switchvox

#: An address for the agents; no Asterisk is there.
ADDRESS: Final = "127.0.0.96"

#: Agents that are killed side by side: most of the time goes into waiting.
LANES: Final = 4

#: Steps that a call has for certain; the launcher finds more.
STEPS: Final = {
    *("commit of dialing_first", "write to the PBX", "HTTP answer"),
    *("commit of connected", "commit of ended"),
}


class Pbx(ABC):
    """A double: what the agent's configuration says of it, and what came to it."""

    kind: str
    order: str  # the name of the request that places a call

    @abstractmethod
    def section(self, directory: Path) -> dict[str, Any]:
        """The section of its kind."""

    @abstractmethod
    def orders(self, request_id: str) -> int:
        """How many orders for this request have come."""


class SwitchvoxDouble(Pbx):
    """The double of a Switchvox; its answer comes when the first phone has answered."""

    kind = "switchvox"
    order = "PBX switchvox.call"

    def __init__(self, running: Running) -> None:
        self._running = running
        fake = running.fake
        fake.extensions = {"100": "1106", "200": "1206"}
        fake.stories = {"100": Story(answers=0.7), "200": Story(answers=0.5, talks=1.5)}
        fake.log_after = 0.5

    def section(self, directory: Path) -> dict[str, Any]:
        """Over plain HTTP, so that the launcher can read what is written."""
        password = directory / "switchvox.password"
        password.write_text(self._running.fake.password + "\n", encoding="utf-8")
        password.chmod(0o640)
        return {
            "url": self._running.url,
            "username": self._running.fake.username,
            "password_file": str(password),
        }

    def orders(self, request_id: str) -> int:
        """As it has placed them."""
        placed = self._running.do(lambda: list(self._running.fake.placed))
        return sum(call.transaction_id == request_id for call in placed)


class Program(Pbx):
    """A program over HTTP that knows a call by the id of the request."""

    kind = "other"
    order = "PBX POST /call"

    def __init__(self, server: BackEnd) -> None:
        self._server = server

    def section(self, directory: Path) -> dict[str, Any]:  # noqa: ARG002 - it has no secret
        """Looked at while a call lasts."""
        rules = [
            {"when": {"/state": "ringing"}, "tell": "first_ringing"},
            {"when": {"/state": "up"}, "tell": "first_answered"},
            {"when": {"/state": "talk"}, "tell": "second_answered"},
            {"when": {"/state": "none"}, "tell": "gone"},
        ]
        return {
            "base_url": self._server.url,
            "place": {
                "path": "/call/{request_id}",
                "json": {"from": "{dial_first}", "to": "{dial_second}"},
                "success": {"status": 200},
            },
            "status": {"every": 0.5, "requests": [{"path": "/call/{call_id}", "rules": rules}]},
            "check": {"path": "/"},
        }

    def orders(self, request_id: str) -> int:
        """As they came."""
        return self._server.orders[request_id]


@contextmanager
def a_switchvox() -> Iterator[Pbx]:
    """The double of a Switchvox."""
    with serve_switchvox(None) as running:
        yield SwitchvoxDouble(running)


@contextmanager
def a_program() -> Iterator[Pbx]:
    """A program over HTTP."""
    with back_end.serve() as server:
        yield Program(server)


class Lane:
    """One agent and one PBX, through life after life."""

    def __init__(self, agent: AgentProcess, pbx: Pbx) -> None:
        self._agent = agent
        self._pbx = pbx
        self._trace = agent.directory / "boundaries"
        self.not_reached: list[str] = []
        self.outcomes: list[str] = []

    def boundaries(self) -> list[str]:
        """Place a call that nothing happens to; the boundaries that every call passes."""
        request_id = str(uuid.uuid4())
        self.play(request_id, {"C2C_BOUNDARY_TRACE": str(self._trace)})
        assert self._agent.ended(request_id)["outcome"] == "connected"
        passed = "after commit of ended"
        wait_until(lambda: passed in self._trace.read_text(encoding="utf-8"), 20, passed)
        self._agent.kill()
        # How often the PBX is looked at is chance; twice it always is.
        lines = self._trace.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.endswith(")") or line.endswith(" (2)")]

    def kill_at(self, boundary: str) -> None:
        """Kill the agent there, and judge what becomes of the call; once more where it was late."""
        if not self._is_killed_at(boundary) and not self._is_killed_at(boundary):
            self.not_reached.append(f"{boundary}:\n{self._agent.log()[-2000:]}")

    def _is_killed_at(self, boundary: str) -> bool:
        request_id = str(uuid.uuid4())
        if self._agent.pid is not None:
            self._agent.kill()
        with suppress(URLError, OSError, ValueError, WaitedInVainError):  # it may end at any time
            self.play(request_id, {"C2C_BOUNDARY_KILL": boundary})
        reached = self._agent.was_killed(12)
        if not reached:
            self._agent.kill()
        self._agent.start()
        self._ask_again(request_id, boundary)
        self._judge(request_id, boundary)
        return reached

    def play(self, request_id: str, launcher: dict[str, str]) -> None:
        """Have an agent that is launched so go through the call."""
        self._agent.start(launcher={"C2C_BOUNDARY_REQUEST": request_id, **launcher})
        self._agent.place("100", "200", pbx=self._pbx.kind, request_id=request_id)

    def _ask_again(self, request_id: str, boundary: str) -> None:
        """As a client does that has heard no answer."""

        def answered() -> bool:
            with suppress(URLError, OSError, ValueError):
                again = self._agent.place("100", "200", pbx=self._pbx.kind, request_id=request_id)
                return again["request_id"] is not None
            return False

        try:
            wait_until(answered, 60, f"an answer ({boundary})")
        except WaitedInVainError as error:
            raise AssertionError(f"{error}\n{self._agent.log()[-4000:]}") from error

    def _judge(self, request_id: str, boundary: str) -> None:
        """One order at the most; and what is said of the call is not more than is known."""
        outcome = str(self._agent.ended(request_id)["outcome"])
        self.outcomes.append(f"{boundary}: {outcome}")
        orders = self._pbx.orders(request_id)
        assert orders <= 1, f"{boundary}: {orders} orders"
        allowed = {"connected", "unknown"} if orders else {"rejected", "unknown", "pbx_error"}
        # The request may have been lost before it was stored: then it was the second that rang.
        assert outcome in allowed, f"{boundary}: {outcome} of {orders} orders"


def kill_at_each(boundaries: list[str], lanes: list[Lane]) -> list[str]:
    """Deal the boundaries out; each has to be reached. What became of the calls."""
    left = list(reversed(boundaries))
    errors: list[BaseException] = []

    def run(lane: Lane) -> None:
        while left and not errors:
            try:
                lane.kill_at(left.pop())
            except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
                errors.append(error)

    threads = [Thread(target=run, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    assert [one for lane in lanes for one in lane.not_reached] == []
    return [one for lane in lanes for one in lane.outcomes]


def end(agent: AgentProcess) -> None:
    """Leave nothing running."""
    if agent.pid is not None:
        agent.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("begin", [a_switchvox, a_program])
def test_killed_at_each_step(
    begin: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is rung twice, and what is told is true or honestly unknown."""
    with ExitStack() as stack:
        lanes = []
        for number in range(LANES):
            directory = tmp_path / f"agent-{number}"
            directory.mkdir()
            pbx: Pbx = stack.enter_context(begin())
            changes = {"asterisk": False, pbx.kind: pbx.section(directory)}
            agent = AgentProcess(AsteriskHost("22", ADDRESS), directory, changes)
            stack.callback(end, agent)
            lanes.append(Lane(agent, pbx))
        boundaries = lanes[0].boundaries()
        assert {f"before {step}" for step in (*STEPS, pbx.order)} <= set(boundaries), boundaries
        outcomes = kill_at_each(boundaries, lanes)
        with capsys.disabled():
            unknown = [one for one in outcomes if one.endswith("unknown")]
            print(f"\n{pbx.kind}: {len(boundaries)} boundaries, {len(outcomes)} kills; unknown:")  # noqa: T201
            print("".join(f"  {one}\n" for one in sorted(unknown)))  # noqa: T201
