"""The agent killed by SIGKILL at random moments, with several calls in progress all the time.

Clients ask for calls of many kinds, and repeat a request whose answer was lost, as they are told
to. In between the agent is killed and started again, at moments drawn from a seed that is printed.
Every request is judged by what a foreign AMI client and the phones saw of it. `scripts/chaos` is
the long run.
"""

from __future__ import annotations

import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest
from attrs import frozen

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.judge import Judge, ask_until_answered
from tests.pbx.receiver import WebhookReceiver
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.test_crash_boundaries import telling_agent
from tests.pbx.waiting import WaitedInVainError, wait_until
from tests.pbx.witness import Witness

CALLS = int(os.environ.get("C2C_CHAOS_CALLS", "60"))
SEED = int(os.environ.get("C2C_CHAOS_SEED") or time.time_ns() % 1_000_000)
VERSIONS = os.environ.get("C2C_CHAOS_VERSIONS", "16").split(",")

#: Calls in progress at the same time.
CLIENTS = 6

#: Seconds that the agent lives; after some lives that are too short to settle anything comes one
#: that is not.
LIVES = [(0.1, 2.0), (0.1, 2.0), (2.0, 6.0)]

PHONES = {
    "100": Behaviour(ring_seconds=0.3),
    "101": Behaviour(ring_seconds=1.5),
    "102": Behaviour(ring_seconds=0.5, final=486),
    "103": Behaviour(ring_seconds=0.5, final=603),
    "200": Behaviour(ring_seconds=0.3, talk_seconds=0.5),
    "201": Behaviour(ring_seconds=1.0, talk_seconds=2.5),
    "202": Behaviour(ring_seconds=0.5, final=486),
    "203": Behaviour(ring_seconds=0.5, final=603),
}
#: Kinds of calls, and what becomes of each; connected ones more often than others.
KINDS = [
    *[("100", "200", "connected")] * 3,
    *[("100", "201", "connected"), ("101", "200", "connected"), ("101", "201", "connected")],
    *[("100", "202", "second_busy"), ("101", "203", "second_declined")],
    *[("102", "200", "first_busy"), ("103", "200", "first_declined")],
]


@frozen
class Request:
    """A call that a client wants, and what the phones make of it."""

    request_id: str
    first: str
    second: str
    expected: str


class Chaos:
    """Clients that want calls, and somebody who kills the agent, until every call was placed."""

    def __init__(self, agent: AgentProcess, judge: Judge, seed: int) -> None:
        self._agent = agent
        self._judge = judge
        self._dice = random.Random(seed)  # noqa: S311 - to be repeated
        self.requests = [
            Request(str(uuid.UUID(int=self._dice.getrandbits(128), version=4)), *kind)
            for kind in self._dice.choices(KINDS, k=CALLS)
        ]
        self._left = list(reversed(self.requests))
        self._placed = Event()
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Place all calls, and kill meanwhile; raises what went wrong for a client."""
        self._agent.start()
        clients = [Thread(target=self._client) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        killer = Thread(target=self._killer)
        killer.start()
        for client in clients:
            client.join()
        self._placed.set()
        killer.join()
        for error in self._errors:
            raise error

    def _client(self) -> None:
        """One who wants one call after the other, each when the last one should be over."""
        try:
            while self._left and not self._errors:
                wanted = self._left.pop()
                ask_until_answered(
                    self._agent, wanted.first, wanted.second, wanted.request_id, timeout=120
                )
                time.sleep(2)  # the talk: nothing is waited for
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self._errors.append(error)

    def _killer(self) -> None:
        while not self._placed.wait(self._dice.uniform(*self._dice.choice(LIVES))):
            self._agent.kill()
            self._judge.tally.kills += 1
            try:
                self._agent.start(wait=self._dice.random() < 0.5)
            except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
                self._errors.append(error)
                return


@pytest.fixture
def receiver(asterisk: AsteriskHost) -> Iterator[WebhookReceiver]:
    """A receiver that takes everything."""
    with WebhookReceiver(asterisk.address) as listening:
        yield listening


@pytest.mark.parametrize(
    "asterisk", VERSIONS, indirect=True, ids="asterisk-{}".format, scope="session"
)
@pytest.mark.timeout(600 + 4 * CALLS)
def test_killed_at_random_moments(
    asterisk: AsteriskHost,
    tmp_path: Path,
    phone: StartPhone,
    witness: Witness,
    receiver: WebhookReceiver,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exactly one outcome for each request, the true one, reported; nobody rung twice."""
    phones = [phone(number, behaviour) for number, behaviour in PHONES.items()]
    with capsys.disabled():
        sys.stdout.write(f"\n{asterisk}: {CALLS} calls, seed {SEED}\n")
        sys.stdout.flush()
    agent = telling_agent(asterisk, tmp_path, receiver)
    judge = Judge(witness, receiver, phones)
    chaos = Chaos(agent, judge, SEED)
    try:
        chaos.run()
        wait_until(agent.is_ready, 30, "the agent is ready")
        for wanted in chaos.requests:
            kind = f"{wanted.first} to {wanted.second}"
            judge.judge(agent, wanted.request_id, wanted.expected, kind)
        wait_until(
            lambda: judge.requests.isdisjoint(asterisk.database("c2c")),
            10,
            "AstDB has none of them",
        )
        with suppress(WaitedInVainError):
            wait_until(lambda: not asterisk.core_show_channels(), 10, "no channel is left")
        left = asterisk.core_show_channels()
    finally:
        if agent.pid is not None:
            agent.stop()
    with capsys.disabled():
        sys.stdout.write(f"{asterisk}: {judge.tally}, channels left {len(left)}\n")
    assert judge.tally.breaches == []
    assert left == []
    assert len({wanted.request_id for wanted in chaos.requests}) == CALLS
