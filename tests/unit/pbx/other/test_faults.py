"""Ten thousand calls at a back end that fails in every way: each order is written once.

The faults are drawn by a seed, in memory, and are counted at the back end: what came there, not
what the driver believes.
"""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import Call, CallState, OriginatePlan
from c2c_agent.call.events import LegEvent
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome
from c2c_agent.net.fresh_request import HttpAnswer, NoAnswerError, NotConnectedError
from c2c_agent.pbx.driver import PlacedCall
from c2c_agent.pbx.other.client import Client
from c2c_agent.pbx.other.driver import OtherDriver
from c2c_agent.pbx.other.program import Program
from tests.playbook import a_call
from tests.unit.pbx.other.back_end import program

CALLS: Final = 10_000
SEED: Final = 18
JOB: Final = CallJob("100", "200", "100", 20)

#: What may come in the place of an answer.
JUNK: Final = (
    b"",
    b"<html><body>Bad gateway</body></html>",
    b'{"state": "up", "id":',
    b'{"state": 7, "id": {"a": 1}}',
    b'{"id": "a b\\r\\nc", "token": "x\\r\\ny"}',
    b'{"id": 12345678901234567890, "state": null}',
    b'"' + b"x" * 60_000 + b'"',
    b"\xff\xfe\x00",
    b"[" * 10_000,
)
STATES: Final = ("ringing", "up", "talk", "none", "busy")

PROGRAMS: Final = (
    program(),
    program(
        place={"call_id": "/id", "save": {"c": "/state"}},
        login={
            "lifetime": 30,
            "again_when": {"status": 401},
            "steps": [{"path": "/login", "save": {"token": "/token"}}],
        },
        auth={"kind": "bearer", "token": "{login.token}"},
    ),
    *(
        program(
            place={**place, "path": "/call/{request_id}"},
            status={
                "every": 2,
                "requests": [
                    {
                        "path": "/status/{call_id}",
                        "rules": [
                            {"when": {"/state": "ringing"}, "tell": "first_ringing"},
                            {"when": {"/state": "up"}, "tell": "first_answered"},
                            {"when": {"/state": "talk"}, "tell": "second_answered"},
                            {"when": {"/state": "busy"}, "tell": "first BUSY"},
                            {"when": {"status": 404}, "tell": "gone"},
                        ],
                    }
                ],
            },
            cancel=[{"method": "DELETE", "path": "/call/{call_id}"}],
            check={"path": "/ping"},
        )
        for place in ({}, {"call_id": "/id"}, {"answers_when": "first_answered"})
    ),
)


class BrokenBackEnd:
    """Reacts as chance has it; `ended`: it has no calls any more, and says so."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self._chance = chance
        self._clock = clock
        self.placed: Counter[str] = Counter()
        self.not_run = 0  # orders of which it said that it did not carry them out
        self.ended = False

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """Take a request, or do not."""
        assert headers is not None
        assert body is not None
        order = method == "POST" and target.startswith("/call")
        if self._chance.random() < (0 if self.ended else 0.1):
            raise NotConnectedError("refused")
        answer = self._answer(target)
        if order:
            if answer.status == 401:
                self.not_run += 1
            else:
                self.placed[target] += 1
        if self._chance.random() < 0.3 and not self.ended:
            late = Deferred[None]()
            self._clock.callLater(self._chance.uniform(0, seconds), late.callback, None)
            await late
        if self._chance.random() < 0.2 and not self.ended:
            raise NoAnswerError("dropped, half, never, or 10 MB")
        return answer

    def _answer(self, target: str) -> HttpAnswer:
        if self.ended:
            return HttpAnswer(404 if target.startswith("/status") else 200, b'{"token": "t"}')
        if self._chance.random() < 0.3:
            status = self._chance.choice((200, 204, 301, 400, 401, 404, 408, 429, 500, 503))
            return HttpAnswer(status, self._chance.choice(JUNK))
        state = self._chance.choice(STATES)
        return HttpAnswer(200, f'{{"token": "t", "id": "c7", "state": "{state}"}}'.encode())


class OneCall:
    """A call at such a back end, from its order to its end."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.request_id = f"{number:08}-0000-4000-8000-000000000000"
        self.chance = chance
        self.back_end = BrokenBackEnd(chance, self.clock)
        self.program: Program = chance.choice(PROGRAMS)
        self.call: Call = a_call()
        self.driver = self.make()

    def make(self) -> OtherDriver:
        """A driver, whose observer this is."""
        words = iter(range(10**9))
        client = Client(
            self.program,
            self.back_end.send,
            secrets={},
            seconds=self.clock.seconds,
            wall=self.clock.seconds,
            new_word=lambda: str(next(words)),
        )
        driver = OtherDriver(
            self.program, client, max_duration=60, clock=self.clock, now=self.clock.seconds
        )
        driver.observer = self
        driver.start()
        return driver

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Let the machine have it: what cannot come fails."""
        assert request_id == self.request_id
        self.call, _, breach = step(self.call, event, self.clock.seconds())
        assert not breach, (event, self.call.timeline)

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
        """Settle, as the dispatcher does."""
        if self.call.state not in {CallState.ENDED, CallState.ACCEPTED}:
            self.driver.settle([self.request_id])

    def pbx_down(self, reason: str) -> None:
        """It is away."""
        assert reason

    def live(self, plan: OriginatePlan) -> None:
        """The order, a restart or a cancel on the way perhaps, and the end."""
        self.call = a_call(
            request_id=self.request_id, state=CallState.DIALING_FIRST, plan=plan, job=JOB
        )
        self.driver.originate(self.request_id, plan)
        self.clock.pump([1] * self.chance.randrange(40))
        if self.chance.random() < 0.3:
            self.driver.hang_up(self.request_id)
            self.clock.pump([1] * self.chance.randrange(10))
        if self.chance.random() < 0.2 and self.call.state is not CallState.ENDED:
            self.restart(plan)
        self.back_end.ended = True
        self.clock.pump([2] * 150)

    def restart(self, plan: OriginatePlan) -> None:
        """The process is killed, and started again."""
        self.driver.stop()
        for timer in self.clock.getDelayedCalls():
            timer.cancel()
        answer, response = self.call.answer, self.call.pbx_response
        placed = PlacedCall(
            self.request_id,
            plan,
            self.call.first,
            self.call.second,
            answered=answer is not None,
            failed=answer is not None and bool(answer.faults),
            placed_at=1000.0,
            response=None if response is None else response.data,
        )
        self.driver = self.make()
        self.driver.adopt([placed])
        self.driver.settle([self.request_id])


class FaultsTest(SynchronousTestCase):
    def test_written_once(self) -> None:
        """Each call has one outcome, and one order came for it, or none."""
        outcomes: Counter[Outcome] = Counter()
        chance = random.Random(SEED)  # noqa: S311 - to be repeated
        for number in range(CALLS):
            one = OneCall(number, chance)
            plan = self.successResultOf(
                Deferred.fromCoroutine(one.driver.prepare(one.request_id, JOB))
            )
            one.live(plan)
            assert one.call.outcome is not None, (number, one.call.timeline)
            assert sum(one.back_end.placed.values()) <= 1, number
            assert one.back_end.not_run <= 2, number
            left = one.clock.getDelayedCalls()
            assert not left, (number, left)
            outcomes[one.call.outcome] += 1
        # Chance has gone everywhere.
        assert {Outcome.CONNECTED, Outcome.UNKNOWN, Outcome.FIRST_BUSY} <= set(outcomes)
        assert {Outcome.PBX_ERROR, Outcome.REJECTED} <= set(outcomes)
