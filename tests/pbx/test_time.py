"""The host's clock is set by an hour, forward or back, while calls go on: nothing is shifted.

libfaketime sets the clock of the agent alone (`CLOCK_REALTIME`; the steady clock cannot be set), so
what the phones and the PBX see stays the truth to hold it against.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.sip_scenario import RINGS_FOR_EVER, Behaviour

_UNPACKED: Final = Path(
    os.environ.get("C2C_FAKETIME", Path.home() / ".local/state/c2c-agent/libfaketime")
)
HOUR: Final = 3600.0
QUICK = Behaviour(ring_seconds=0.2)


class HostClock:
    """The clock that an agent sees: the real one, unless it has jumped by so many seconds."""

    def __init__(self, directory: Path, by: float) -> None:
        self._file = directory / "faketime"
        self._by = by
        self.put_right()

    def jump(self) -> None:
        """Have it set, as an administrator or a bad time server would."""
        self._set(self._by)

    def put_right(self) -> None:
        """Have it show the real time."""
        self._set(0.0)

    def _set(self, seconds: float) -> None:
        """Set it to so many seconds beside the real one."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}s\n", encoding="ascii")
        fresh.replace(self._file)
        self._ahead = seconds

    def now(self) -> float:
        """What it shows."""
        return time.time() + self._ahead

    @property
    def environment(self) -> dict[str, str]:
        """What a program is started with to see it."""
        libraries = [str(path) for path in _UNPACKED.rglob("libfaketimeMT.so.1")]
        assert libraries, f"no libfaketime in {_UNPACKED}: scripts/test unpacks it"
        return {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture(params=[HOUR, -HOUR], ids=["forward", "back"])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> HostClock:
    """The clock of the test's agent, which jumps forward, or back."""
    return HostClock(tmp_path, request.param)


@pytest.fixture
def agent(
    asterisk: AsteriskHost, clock: HostClock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent that sees that clock."""
    directory = tmp_path_factory.mktemp("agent")
    changes = {"calls": {"max_duration": 12}}
    agent = AgentProcess(asterisk, directory, changes, environment=clock.environment)
    agent.start()
    yield agent
    agent.stop()


def stamps(call: dict[str, list[dict[str, str]]]) -> list[float]:
    """The times in a call's story."""
    return [float(entry["utc.time"]) for entry in call["timeline"]]


class TestCalls:
    def test_set_while_they_ring_and_talk(
        self, agent: AgentProcess, clock: HostClock, phone: StartPhone, lateness: Lateness
    ) -> None:
        """Every duration is what the phones saw; the story is in order, and of the right time."""
        first = phone("100", Behaviour(ring_seconds=2.0))
        second = phone("200", Behaviour(ring_seconds=1.5, talk_seconds=2.0))
        began = clock.now()
        request_id = agent.call("100", "200")
        placed = clock.now()
        agent.reached(request_id, "first_ringing")
        clock.jump()
        agent.reached(request_id, "second_ringing")
        clock.put_right()
        agent.reached(request_id, "connected")
        clock.jump()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        for leg, there in (("dial_first", first), ("dial_second", second)):
            rang = there.calls()[0].ring_seconds
            assert call[leg]["ring_seconds"] == lateness.near(rang, 0.5)
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert stamps(call) == sorted(stamps(call))
        assert began - 0.5 <= stamps(call)[0] <= placed + 0.5
        assert "overdue" not in [entry["event"] for entry in call["timeline"]]

    def test_set_while_the_second_rings_for_ever(
        self, agent: AgentProcess, clock: HostClock, phone: StartPhone, lateness: Lateness
    ) -> None:
        """The timeout comes when it was to come."""
        phone("100", Behaviour(ring_seconds=0))
        second = phone("200", RINGS_FOR_EVER)
        request_id = agent.call("100", "200", timeout="3")
        agent.reached(request_id, "second_ringing")
        clock.jump()
        call = agent.ended(request_id)
        assert call["outcome"] == "second_no_answer"
        rang = second.whole_call().ring_seconds
        assert rang == lateness.near(3, 0.7)
        assert call["dial_second"]["ring_seconds"] == lateness.near(3, 0.7)
        assert call["dial_second"]["ring_seconds"] == lateness.near(rang, 0.7)

    def test_set_during_a_forgotten_talk(
        self, agent: AgentProcess, clock: HostClock, phone: StartPhone, lateness: Lateness
    ) -> None:
        """The longest duration is as long as ever."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = agent.call("100", "200")
        agent.reached(request_id, "connected")
        clock.jump()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
        talked = second.whole_call().talk_seconds
        assert talked == lateness.near(12, 0.7)
        assert call["talk_seconds"] == lateness.near(12, 0.7)
        assert call["talk_seconds"] == lateness.near(talked, 0.7)

    def test_set_while_the_agent_is_away(
        self, agent: AgentProcess, clock: HostClock, phone: StartPhone, lateness: Lateness
    ) -> None:
        """Killed during the talk, and started after the clock was set: the steady clock goes on."""
        first = phone("100", Behaviour(ring_seconds=1.5))
        second = phone("200", Behaviour(ring_seconds=0.3))
        request_id = agent.call("100", "200")
        agent.stored(request_id, "connected")
        agent.kill()
        clock.jump()
        agent.start()
        assert agent.status(request_id)["call"]["state"] == "connected"
        second.hang_up()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        # An hour is what it must not be off by; a busy machine is late to hear that a phone rings.
        rang = first.calls()[0].ring_seconds
        assert call["dial_first"]["ring_seconds"] == lateness.near(rang, 1.2)
        assert stamps(call) == sorted(stamps(call))

    def test_set_and_nobody_watched(
        self, agent: AgentProcess, clock: HostClock, phone: StartPhone, lateness: Lateness
    ) -> None:
        """The dialplan's own times, of the PBX's clock, are not mixed with those of another."""
        clock.jump()
        phone("100", Behaviour(ring_seconds=5.0))
        second = phone("200", Behaviour(ring_seconds=0.3, talk_seconds=1.5))
        request_id = agent.call("100", "200")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        second.wait_for(lambda call: call.hung_up_by, 20, "the end of the talk")
        agent.start()
        call = agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    def test_expiry_is_asked_of_the_clock_as_it_is(
        self, agent: AgentProcess, clock: HostClock, phone: StartPhone
    ) -> None:
        """A job's `expires` is another machine's time of day: what the clock says now decides."""
        first = phone("100", QUICK)
        phone("200", Behaviour(ring_seconds=0.2, talk_seconds=0.3))
        clock.jump()
        late = agent.place("100", "200", expires=f"{clock.now() - 2:.3f}")
        assert late["errors"][0]["error"]["code"] == "expired"
        assert first.calls() == []
        began = clock.now()
        request_id = agent.call("100", "200", expires=f"{began + 20:.3f}")
        placed = clock.now()
        assert agent.ended(request_id)["outcome"] == "connected"
        shown = float(agent.status(request_id)["request"]["utc.time"])
        assert began - 1 <= shown <= placed + 1  # whole seconds
