"""More than the agent, or its Asterisk, can take: refused at once, and nobody who talks is touched.

One agent lives through all of it, with a call in progress from beginning to end. In the end it is
asked how long its event loop ever stood still; a process that does nothing measures the same beside
it, for on a machine that is busy everybody is late.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.crowd import allow_many_files, ask_at_once, connections, still_open, trickle
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sockets import open_sockets
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

#: Calls at once that this Asterisk is said to take.
MOST = 20
#: HTTP connections at once, as by default.
MOST_CONNECTIONS = 500

#: Bytes that the agent may take more than before, whatever comes: docs/operation/limits.md.
GROWTH = 80 * 1024 * 1024

#: A refusal has to come at once; the machine, and not the agent, decides what that is.
AT_ONCE = 10.0


class Overloaded:
    """An agent under load, and what it costs."""

    def __init__(self, agent: AgentProcess, directory: Path) -> None:
        self.agent = agent
        self.place = (agent.host.address, agent.http_port)
        self.agi_place = (agent.host.address, agent.agi_port)
        self.longest = directory / "longest"
        self.control = directory / "control"
        self.before = self.memory()

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes that the agent has in memory now, or `VmHWM`: had at the most."""
        status = Path(f"/proc/{self.agent.pid}/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith(what)]
        return int(line.split()[1]) * 1024

    def targets(self, count: int, first: str = "298", second: str = "299") -> list[str]:
        """URLs of so many different calls that need no phone."""
        return [self.target(str(uuid.uuid4()), first, second) for _ in range(count)]

    def target(self, request_id: str, first: str = "298", second: str = "299") -> str:
        """The URL of a call."""
        asked = {"dial_first": first, "dial_second": second, "request_id": request_id}
        return f"/c2c/v2?{urlencode({**asked, 'dial_as': '100', 'api_key': KEY})}"

    def is_idle(self) -> bool:
        """Whether no call but the lasting one is in progress."""
        text = self.agent.metrics()
        states = [line for line in text.splitlines() if line.startswith("c2c_calls{")]
        return sum(float(line.split()[-1]) for line in states if "ended" not in line) <= 1

    def open_connections(self) -> int:
        """Sockets that it has open, of whatever kind."""
        return len(open_sockets(self.agent.pid))

    def places_a_call(self) -> float:
        """Place a call to its end; the seconds until Asterisk had taken it."""
        begin = time.monotonic()
        request_id = self.agent.call("298", "299", dial_as="100")
        taken = time.monotonic() - begin
        assert self.agent.ended(request_id)["outcome"] == "connected"
        return taken


@pytest.fixture(scope="class")
def overloaded(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Overloaded]:
    """An agent, and beside it a process that does nothing."""
    allow_many_files()
    directory = tmp_path_factory.mktemp("agent")
    agent = AgentProcess(
        asterisk,
        directory,
        {"calls": {"max_concurrent": MOST + 1}, "http": {"max_connections": MOST_CONNECTIONS}},
    )
    tick = "0.02"
    agent.start(launcher={"C2C_LOOP_TICK": tick, "C2C_LOOP_LONGEST": str(directory / "longest")})
    control = subprocess.Popen(
        [sys.executable, "-m", "tests.pbx.idle_loop", tick, str(directory / "control")]
    )
    try:
        overloaded = Overloaded(agent, directory)
        yield overloaded
    finally:
        control.kill()
        control.wait()
        agent.stop()


@pytest.fixture(autouse=True)
def lasting(overloaded: Overloaded) -> Iterator[None]:
    """A call that is in progress during a test, and that nothing may touch."""
    agent = overloaded.agent
    request_id = agent.call("298", "298", dial_as="100")
    agent.reached(request_id, "connected")
    before = agent.status(request_id)["call"]
    yield
    assert agent.status(request_id)["call"] == before, "a call in progress was touched"
    agent.cancel(request_id)
    assert agent.ended(request_id)["hung_up_by"] == "cancel"


def placed(witness: Witness) -> list[str]:
    """The agent's calls that began under the witness's eyes; the lasting one began before."""
    calls = [linkedid for linkedid in witness.linkedids() if linkedid.startswith("c2c-")]
    return [linkedid for linkedid in calls if witness.call(linkedid).originates]


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Print a line of counts."""
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


@pytest.mark.parametrize(
    "asterisk", ["22"], indirect=True, ids="asterisk-{}".format, scope="session"
)
class TestOverload:
    def test_ten_times_the_calls(
        self, overloaded: Overloaded, witness: Witness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As many as may be are placed; the others hear a code and when to come back."""
        targets = overloaded.targets(10 * MOST)
        answers = ask_at_once(overloaded.place, targets, len(targets))
        say(capsys, f"10 times the calls: {dict(answers.words)}, slowest {answers.slowest():.2f} s")
        assert answers.words["success"] + answers.words["too_many_calls"] == len(targets)
        assert answers.words["success"] >= MOST
        assert all(one.retry_after for one in answers.of("too_many_calls"))
        wait_until(overloaded.is_idle, 60, "the calls have ended")
        wait_until(lambda: len(placed(witness)) >= answers.words["success"], 20, "all were seen")
        assert len(placed(witness)) == answers.words["success"]

    def test_two_thousand_requests_at_once(
        self, overloaded: Overloaded, lateness: Lateness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """From as many clients: each gets an answer, and at once."""
        targets = overloaded.targets(2000)
        answers = ask_at_once(overloaded.place, targets, len(targets))
        words = answers.words
        say(capsys, f"2,000 at once: {dict(words)}, slowest {answers.slowest():.2f} s")
        assert sum(words.values()) == len(targets)
        assert words["success"] >= 1
        assert set(words) <= {"success", "too_many_calls", "rate_limited", "HTTP 503"}
        refused = answers.of("too_many_calls", "rate_limited", "HTTP 503")
        assert all(one.retry_after for one in refused)
        assert answers.slowest() < AT_ONCE + lateness.seconds
        wait_until(overloaded.is_idle, 60, "the calls have ended")

    def test_ten_thousand_duplicates(
        self, overloaded: Overloaded, witness: Witness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One Originate, and the same answer for all of them."""
        request_id = str(uuid.uuid4())
        targets = [overloaded.target(request_id)] * 10_000
        answers = ask_at_once(overloaded.place, targets, 200)
        originates = witness.wait_until_gone(linkedid_of(request_id), 20).originates
        say(capsys, f"10,000 duplicates: {dict(answers.words)}, Originates {originates}")
        assert answers.words == {"success": 10_000}
        assert originates == 1
        assert {one.body["response"]["request_id"] for one in answers.told} == {request_id}
        replayed = [one for one in answers.told if one.body["response"].get("replayed")]
        assert len(replayed) == 10_000 - 1

    def test_slow_senders(
        self, overloaded: Overloaded, lateness: Lateness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Cut when their time is over, on both ports; meanwhile calls are placed as ever."""
        with (
            connections(overloaded.place, 300) as http,
            connections(overloaded.agi_place, 300) as agi,
        ):
            deadline = time.monotonic() + 20  # a request may take 15 s from its first byte
            slowest = 0.0
            while time.monotonic() < deadline:
                trickle(http, b"G")
                trickle(agi, b"a")
                slowest = max(slowest, overloaded.places_a_call())
                time.sleep(0.5)  # the pace of a slow sender
            left = still_open(http), still_open(agi)
        say(capsys, f"600 slow senders: left {left}, slowest call placed in {slowest:.2f} s")
        assert left == (0, 0)
        assert slowest < AT_ONCE + lateness.seconds

    def test_five_thousand_idle_connections(
        self, overloaded: Overloaded, lateness: Lateness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No more stay than may be, and the agent can be asked and placed calls with."""
        with connections(overloaded.place, 5000):
            taken = overloaded.places_a_call()
            open_ones = overloaded.open_connections()
            memory = overloaded.memory()
        say(
            capsys,
            f"5,000 idle: {open_ones} stay, a call placed in {taken:.2f} s, {memory >> 20} MB",
        )
        assert open_ones <= MOST_CONNECTIONS + 20
        assert taken < AT_ONCE + lateness.seconds

    def test_what_it_cost(self, overloaded: Overloaded, capsys: pytest.CaptureFixture[str]) -> None:
        """Memory within its bound, and an event loop that never stood still for long."""
        longest = float(overloaded.longest.read_text(encoding="ascii"))
        control = float(overloaded.control.read_text(encoding="ascii"))
        most = overloaded.memory("VmHWM")
        say(
            capsys,
            f"memory {overloaded.before >> 20} MB before, {most >> 20} MB at the most; "
            f"event loop late by {1000 * longest:.0f} ms at the most, a process that does nothing "
            f"by {1000 * control:.0f} ms",
        )
        assert most - overloaded.before < GROWTH
        assert longest <= max(0.1, 3 * control)
