"""Killed by SIGKILL at every step of a call, one call for each: the agent, back again, knows all.

A first call without a kill names the boundaries (`tests.pbx.launcher`): before and after each
commit, each write to AMI and FastAGI, each answer and each report. Then each has a call of its own.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.error import URLError

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.judge import Judge, ask_until_answered
from tests.pbx.linkedid import linkedid_of
from tests.pbx.receiver import SECRET, WebhookReceiver
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import WaitedInVainError, wait_until
from tests.pbx.witness import Witness

FIRST = Behaviour(ring_seconds=0.2)
#: Rings for long enough to be seen ringing, and the agent killed meanwhile.
FIRST_LATER = Behaviour(ring_seconds=1.5)
SECOND = Behaviour(ring_seconds=0.2, talk_seconds=0.4)
DECLINES_SOON = Behaviour(ring_seconds=0.2, final=603)
#: Agents that are killed side by side: most of the time goes into waiting.
LANES = 4

#: Steps that a call has for certain; the launcher finds more.
STEPS = {
    *("AMI Getvar PJSIP_ENDPOINT", "commit of dialing_first", "AMI Originate", "HTTP answer"),
    *("commit of first_ringing", "commit of first_answered", "commit of dialing_second"),
    *("commit of second_ringing", "commit of connected", "commit of ended"),
    *('AGI GET VARIABLE "C2C_SECRET"', 'AGI EXEC "Dial" "Local/200@from-phones'),
    'AGI SET VARIABLE "C2C_DONE" "1"',
    *("report call.accepted", "report call.connected", "report call.ended"),
    *("settling of call.accepted", "settling of call.connected", "settling of call.ended"),
}

VERSIONS = os.environ.get("C2C_CHAOS_VERSIONS", "22").split(",")


@pytest.fixture
def receiver(asterisk: AsteriskHost) -> Iterator[WebhookReceiver]:
    """A receiver that takes everything."""
    with WebhookReceiver(asterisk.address) as listening:
        yield listening


@pytest.fixture
def mortals(
    asterisk: AsteriskHost, tmp_path: Path, receiver: WebhookReceiver
) -> Iterator[list[AgentProcess]]:
    """Agents that tell the receiver everything, to be started and ended side by side."""
    agents = []
    for number in range(LANES):
        directory = tmp_path / f"agent-{number}"
        directory.mkdir()
        agents.append(telling_agent(asterisk, directory, receiver))
    yield agents
    for agent in agents:
        if agent.pid is not None:
            agent.stop()


def telling_agent(host: AsteriskHost, directory: Path, receiver: WebhookReceiver) -> AgentProcess:
    """Make an agent with a webhook."""
    secret = directory / "crm.whsec"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    webhook = {"name": "crm", "url": receiver.url, "secret_file": str(secret)}
    return AgentProcess(host, directory, {"webhooks": [webhook]})


class Scenario:
    """A kind of call, killed at each of its boundaries in turn, in one agent's life after life."""

    def __init__(self, agent: AgentProcess, judge: Judge, second: str, expected: str) -> None:
        self._agent = agent
        self._judge = judge
        self._second = second
        self._expected = expected
        self._trace = agent.directory / "boundaries"
        self.not_reached: list[str] = []

    def boundaries(self) -> list[str]:
        """Place a call that nothing happens to, and return the boundaries that it passes."""
        request_id = str(uuid.uuid4())
        self._trace.unlink(missing_ok=True)
        self.play(request_id, {"C2C_BOUNDARY_TRACE": str(self._trace)})
        self._judge.judge(self._agent, request_id, self._expected, "no kill")
        passed = "after settling of call.ended"
        wait_until(lambda: passed in self._passed(), 20, passed)
        return self._passed()

    def _passed(self) -> list[str]:
        return self._trace.read_text(encoding="utf-8").splitlines() if self._trace.exists() else []

    def kill_at(self, boundary: str) -> None:
        """Let a call come to a boundary, kill the agent there, and judge what becomes of both.

        A busy machine may let events come so late that two things are done as one: once more, then.
        """
        if not self._is_killed_at(boundary) and not self._is_killed_at(boundary):
            self.not_reached.append(f"{boundary}:\n{self._agent.log()[-3000:]}")

    def _is_killed_at(self, boundary: str) -> bool:
        request_id = str(uuid.uuid4())
        if self._agent.pid is not None:
            self._agent.kill()
        with suppress(URLError, OSError, ValueError, WaitedInVainError):  # it may end at any time
            self.play(request_id, {"C2C_BOUNDARY_KILL": boundary})
        reached = self._agent.was_killed(15)
        if not reached:
            self._agent.kill()
        self._judge.tally.kills += 1
        self._agent.start()
        ask_until_answered(self._agent, "100", self._second, request_id)
        self._judge.judge(self._agent, request_id, self._expected, boundary)
        return reached

    def play(self, request_id: str, launcher: dict[str, str]) -> None:
        """Have an agent that is launched so go through the call."""
        self._agent.start(launcher={"C2C_BOUNDARY_REQUEST": request_id, **launcher})
        self._agent.place("100", self._second, request_id=request_id)


class Recovery(Scenario):
    """A call that went on and ended while the agent was dead; killed while it learns of that."""

    def __init__(self, agent: AgentProcess, judge: Judge, witness: Witness) -> None:
        super().__init__(agent, judge, "200", "connected")
        self._witness = witness

    def play(self, request_id: str, launcher: dict[str, str]) -> None:
        """Kill an agent while the first leg rings; the one after it is launched so."""
        self._agent.start()
        self._agent.place("100", self._second, request_id=request_id)
        self._agent.stored(request_id, "first_ringing")
        # What is still to be told then would be told by the next one: more steps, or fewer.
        wait_until(lambda: not self._agent.owes(request_id), 10, "all is told so far")
        self._agent.kill()
        self._judge.tally.kills += 1
        self._witness.wait_until_gone(linkedid_of(request_id), 20)
        always = {"C2C_BOUNDARY_REQUEST": request_id, "C2C_BOUNDARY_ALWAYS": "1"}
        self._agent.start(launcher={**always, **launcher}, wait="C2C_BOUNDARY_KILL" not in launcher)


def kill_at_each(
    boundaries: Sequence[str],
    agents: Sequence[AgentProcess],
    scenario: Callable[[AgentProcess], Scenario],
) -> None:
    """Deal the boundaries out to the agents; each has to be reached."""
    left = list(reversed(boundaries))
    errors: list[BaseException] = []
    not_reached: list[str] = []

    def lane(agent: AgentProcess) -> None:
        own = scenario(agent)
        while left and not errors:
            try:
                own.kill_at(left.pop())
            except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
                errors.append(error)
        not_reached.extend(own.not_reached)

    lanes = [Thread(target=lane, args=(agent,)) for agent in agents]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    for error in errors:
        raise error
    assert not_reached == []


@pytest.mark.parametrize(
    "asterisk", VERSIONS, indirect=True, ids="asterisk-{}".format, scope="session"
)
@pytest.mark.timeout(600)
class TestEveryBoundary:
    @pytest.fixture
    def judge(self, witness: Witness, receiver: WebhookReceiver) -> Judge:
        """Who judges every call."""
        return Judge(witness, receiver)

    @pytest.fixture(autouse=True)
    def _everything_is_well(
        self, asterisk: AsteriskHost, judge: Judge, capsys: pytest.CaptureFixture[str]
    ) -> Iterator[None]:
        yield
        with capsys.disabled():
            sys.stdout.write(f"\n{asterisk}: {judge.tally}\n")
        assert judge.tally.breaches == []
        wait_until(
            lambda: judge.requests.isdisjoint(asterisk.database("c2c")),
            10,
            "AstDB has none of them",
        )

    def test_of_a_call_that_connects(
        self, mortals: list[AgentProcess], phone: StartPhone, judge: Judge
    ) -> None:
        """Whatever was done or not done at that moment: connected, or honestly unknown."""
        judge.phones += [phone("100", FIRST), phone("200", SECOND)]
        boundaries = Scenario(mortals[0], judge, "200", "connected").boundaries()
        assert {f"before {step}" for step in STEPS} <= set(boundaries), boundaries
        kill_at_each(boundaries, mortals, lambda agent: Scenario(agent, judge, "200", "connected"))
        assert judge.tally.kills >= len(boundaries)

    def test_of_a_call_that_is_declined(
        self, mortals: list[AgentProcess], phone: StartPhone, judge: Judge
    ) -> None:
        """What the agent asks and stores of the reason, where the second leg says no."""
        judge.phones += [phone("100", FIRST), phone("203", DECLINES_SOON)]
        boundaries = Scenario(mortals[0], judge, "203", "second_declined").boundaries()
        ending = boundaries[boundaries.index("before commit of second_ringing") :]
        assert len(ending) > 10, boundaries
        kill_at_each(
            ending, mortals, lambda agent: Scenario(agent, judge, "203", "second_declined")
        )

    def test_of_the_recovery_itself(
        self, mortals: list[AgentProcess], phone: StartPhone, judge: Judge, witness: Witness
    ) -> None:
        """Killed again while it learns what became of a call: nothing of that is lost."""
        judge.phones += [phone("100", FIRST_LATER), phone("200", SECOND)]
        boundaries = Recovery(mortals[0], judge, witness).boundaries()
        assert "before AMI Setvar DB_DELETE" in boundaries
        kill_at_each(boundaries, mortals, lambda agent: Recovery(agent, judge, witness))
        assert judge.tally.outcomes["unknown"] == 0
