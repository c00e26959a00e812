"""Killed by SIGKILL at every step of a call, one call for each: the agent, back again, knows all.

A first call without a kill names the boundaries (`tests.pbx.launcher`): before and after each
commit, each write to AMI and FastAGI, each answer and each report. Then each has a call of its own.
"""

from __future__ import annotations

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
from tests.pbx.receiver import SECRET, WebhookReceiver
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

FIRST = Behaviour(ring_seconds=0.2)
SECOND = Behaviour(ring_seconds=0.2, talk_seconds=0.4)
#: Agents that are killed side by side: most of the time goes into waiting.
LANES = 4

LONG_TALK = Behaviour(ring_seconds=0.2, talk_seconds=1.0)


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
        launched = {"C2C_BOUNDARY_REQUEST": request_id, "C2C_BOUNDARY_TRACE": str(self._trace)}
        self._agent.start(launcher=launched)
        ask_until_answered(self._agent, "100", self._second, request_id)
        self._judge.judge(self._agent, request_id, self._expected, "no kill")
        passed = "after settling of call.ended"
        wait_until(lambda: passed in self._passed(), 20, passed)
        return self._passed()

    def _passed(self) -> list[str]:
        return self._trace.read_text(encoding="utf-8").splitlines() if self._trace.exists() else []

    def kill_at(self, boundary: str) -> None:
        """Let a call come to a boundary, kill the agent there, and judge what becomes of both."""
        request_id = str(uuid.uuid4())
        if self._agent.pid is not None:
            self._agent.kill()
        launched = {"C2C_BOUNDARY_REQUEST": request_id, "C2C_BOUNDARY_KILL": boundary}
        self._agent.start(launcher=launched)
        with suppress(URLError, OSError, ValueError):  # the answer may be lost with the agent
            self._agent.place("100", self._second, request_id=request_id)
        if not self._agent.was_killed(15):
            self.not_reached.append(f"{boundary} of {request_id}")
            self._agent.kill()
        self._judge.tally.kills += 1
        self._agent.start()
        ask_until_answered(self._agent, "100", self._second, request_id)
        self._judge.judge(self._agent, request_id, self._expected, boundary)


def kill_at_each(
    boundaries: Sequence[str],
    agents: Sequence[AgentProcess],
    scenario: Callable[[AgentProcess], Scenario],
) -> list[str]:
    """Deal the boundaries out to the agents; those not reached. Raises what a scenario raised."""
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
    return not_reached


@pytest.mark.parametrize(
    "asterisk", ["22"], indirect=True, ids="asterisk-{}".format, scope="session"
)
@pytest.mark.timeout(400)
class TestEveryBoundary:
    def test_of_a_call_that_connects(
        self,
        mortals: list[AgentProcess],
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
        receiver: WebhookReceiver,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Whatever was done or not done at that moment: connected, or honestly unknown."""
        phone("100", FIRST), phone("200", SECOND)
        judge = Judge(witness, receiver)
        boundaries = Scenario(mortals[0], judge, "200", "connected").boundaries()
        assert len(boundaries) > 40, boundaries
        not_reached = kill_at_each(
            boundaries, mortals, lambda agent: Scenario(agent, judge, "200", "connected")
        )
        with capsys.disabled():
            sys.stdout.write(f"\n{asterisk}: each of {len(boundaries)} boundaries: {judge.tally}\n")
        assert judge.tally.breaches == []
        assert not_reached == []
        wait_until(lambda: not asterisk.database("c2c"), 10, "AstDB is empty")
