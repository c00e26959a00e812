"""What every PBX driver promises, whatever its PBX is: the tests that each of them runs.

A driver brings a `StagedPbx`, and a test case of `PbxDriverContract` that makes one.
"""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import CallState, OriginatePlan
from c2c_agent.call.events import (
    Found,
    Gone,
    HangUp,
    LegEvent,
    OriginateAccepted,
    OriginateFailed,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    Relayed,
)
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.pbx.driver import PbxDriver, PlacedCall
from tests.playbook import PLAN, a_call

_log = Logger()

ID: Final = "2c4f781a-4825-4d09-a573-2d8689e5682b"

#: Seconds after which every driver has told what it knows of an order, or of a call that is over.
PATIENCE: Final = 60

_WORDS: Final = {
    OriginateAccepted: "accepted",
    OriginateRefused: "refused",
    OriginateFailed: "failed",
    OriginateUnsent: "unsent",
    OriginateUnanswered: "unanswered",
    Found: "found",
    Gone: "gone",
}

#: What becomes of an order: exactly one of these is told.
ANSWERS: Final = ("accepted", "refused", "failed", "unsent", "unanswered")


class Watcher:
    """A `PbxObserver` that notes what it is told of `ID`: answers, whether it is there, its end.

    An agent's record is noted for what it takes the place of. `plan` is that of the call, which
    may be bridged once. Events drive a call's machine; what cannot come fails the test (conftest).
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.story: list[str] = []  # of the PBX: up, down
        self.plan: OriginatePlan | None = None
        self._driver: PbxDriver | None = None  # who is told to hang up; None: nobody
        self._call = a_call(request_id=ID, state=CallState.DIALING_FIRST, plan=PLAN)

    def carry_out(self, driver: PbxDriver, plan: OriginatePlan) -> None:
        """From here on have `driver` hang the call up where its machine says so."""
        self._driver = driver
        self._call = evolve(self._call, plan=plan)

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Note it."""
        assert request_id == ID
        state = self._call.state.value
        self._call, commands, breach = step(self._call, event, self._call.received.at)
        if HangUp() in commands and self._driver is not None:
            self._driver.hang_up(ID)
        if breach:
            _log.error("{breach} in {state}", breach=type(event).__name__, state=state)
        if isinstance(event, Relayed):
            self._note_record(event)
        elif type(event) in _WORDS:
            self.told.append(_WORDS[type(event)])

    def _note_record(self, event: Relayed) -> None:
        answer, ended = event.call.answer, event.call.outcome is not None
        refused = answer is not None and bool(answer.faults)
        if answer is not None and not self.heard(*ANSWERS):
            self.told.append("refused" if refused else "accepted")
        if ended and not refused:
            self.told.append("gone")
        elif not ended:
            self.told.append("found")

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """Give the plan out."""
        plan, self.plan = self.plan, None
        return plan if request_id == ID else None

    async def until_stored(self, request_id: str) -> bool:
        """At once."""
        assert request_id == ID
        return True

    async def has_ended(self, request_id: str) -> bool:
        """Nothing is kept."""
        assert request_id
        return False

    def pbx_up(self) -> None:
        """Note it."""
        self.story.append("up")

    def pbx_down(self, reason: str) -> None:
        """Note it."""
        assert reason
        self.story.append("down")

    def heard(self, *words: str) -> list[str]:
        """What was told, of these words alone."""
        return [word for word in self.told if word in words]


class StagedPbx(ABC):
    """A PBX that does what the test says; a driver's part in its contract.

    Told to hang a call up, it does so by itself, as soon as the call is there. `clock` is that of
    its drivers.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.orders: list[str] = []  # requests of the orders that have come to it
        self.hung_up: list[str] = []  # requests of the calls that it was told to hang up

    job = CallJob("100", "200", "100", 30)

    @abstractmethod
    def start(self, watcher: Watcher, *adopted: PlacedCall) -> PbxDriver:
        """A driver with `watcher` as its observer; it adopts these, then its link comes up.

        Unless the links are lost: then only `restore_link` brings it up.
        """

    @abstractmethod
    def accept(self) -> None:
        """Answer the order that has come: it will be tried."""

    @abstractmethod
    def refuse(self) -> None:
        """Answer the order that has come: it will not be."""

    @abstractmethod
    def ring(self) -> None:
        """The first phone rings."""

    @abstractmethod
    def answer(self) -> None:
        """The first phone is answered."""

    @abstractmethod
    def end(self) -> None:
        """The call is over; told only if there is a link."""

    @abstractmethod
    def lose_link(self) -> None:
        """All drivers lose their links."""

    def lose_answer(self) -> None:
        """All drivers lose their links; the order that has come is carried out."""
        self.lose_link()
        self.accept()

    @abstractmethod
    def restore_link(self) -> None:
        """The links come up again, and what a PBX of this kind tells by itself then is told."""

    @abstractmethod
    def drop_drivers(self) -> None:
        """Tell the drivers of before nothing any more."""

    def forget_drivers(self) -> None:
        """The process of the drivers is killed."""
        self.drop_drivers()
        for timer in list(self.clock.getDelayedCalls()):
            timer.cancel()


class PbxDriverContract(SynchronousTestCase):
    """One driver, over a PBX on a stage. Its answers come at once, unless the test holds them."""

    pbx: StagedPbx

    def make_pbx(self) -> StagedPbx:
        """A PBX on a stage."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new PBX, and a driver with a link to it."""
        self.pbx = self.make_pbx()
        self.watcher = Watcher()
        self.driver = self.pbx.start(self.watcher)
        assert self.watcher.story == ["up"]

    # On the way

    def prepare(self) -> OriginatePlan:
        """The plan of a call."""
        preparing = Deferred.fromCoroutine(self.driver.prepare(ID, self.pbx.job))
        plan: OriginatePlan = self.successResultOf(preparing)
        self.watcher.plan = plan
        return plan

    def order(self) -> OriginatePlan:
        """Place a call; the PBX has not answered yet."""
        plan = self.prepare()
        self.placed_at = self.pbx.clock.seconds()
        self.driver.originate(ID, plan)
        assert self.pbx.orders == [ID]
        return plan

    def go_to(self, stage: str) -> OriginatePlan:
        """Place a call, and let it come so far."""
        plan = self.order()
        for name, let in (
            ("accepted", self.pbx.accept),
            ("ringing", self.pbx.ring),
            ("answered", self.pbx.answer),
        ):
            if stage == "ordered":
                break
            let()
            if stage == name:
                break
        return plan

    def wait(self) -> None:
        """Let all timers of an end run out."""
        self.pbx.clock.pump([1] * PATIENCE)

    def settle(self) -> None:
        """Ask what became of the call, as long as its end was not told, and wait."""
        if not self.ends():
            self.driver.settle([ID])
        self.wait()

    def answers(self) -> list[str]:
        """What was told of the order."""
        return self.watcher.heard(*ANSWERS)

    def ends(self) -> int:
        """How many ends were told."""
        return len(self.watcher.heard("gone"))

    def restart(self, plan: OriginatePlan) -> None:
        """The process is killed and started again: the call is adopted before the link is up."""
        self.watcher = Watcher()
        adopted = PlacedCall(
            ID, plan, LegEvidence(), LegEvidence(), answered=True, placed_at=self.placed_at
        )
        self.driver = self.pbx.start(self.watcher, adopted)

    # What is promised

    def test_a_plan_places_nothing(self) -> None:
        """However many are made; a status shows what is in it."""
        plans = [self.prepare() for _ in range(3)]
        self.wait()
        assert self.pbx.orders == []
        assert self.watcher.told == []
        assert self.pbx.clock.getDelayedCalls() == []
        assert all(plan.data and plan.target for plan in plans)

    def test_the_method_names_the_call(self) -> None:
        """As the API of the kind of PBX does."""
        assert self.driver.method.endswith(".call")

    def test_accepted(self) -> None:
        """Told once, and the order has come once; nothing has ended."""
        self.go_to("accepted")
        assert self.answers() == ["accepted"]
        assert self.pbx.orders == [ID]
        assert self.ends() == 0
        self.pbx.end()
        self.wait()
        assert (self.answers(), self.ends()) == (["accepted"], 1)

    def test_refused(self) -> None:
        """Told once, and nothing follows."""
        self.order()
        self.pbx.refuse()
        self.wait()
        assert self.answers() == ["refused"]
        assert self.ends() == 0
        assert self.pbx.clock.getDelayedCalls() == []

    def test_without_a_link(self) -> None:
        """The order never leaves, now or later, and that is told once."""
        plan = self.prepare()
        self.pbx.lose_link()
        self.driver.originate(ID, plan)
        self.pbx.restore_link()
        self.wait()
        assert self.answers() == ["unsent"]
        assert self.ends() == 0
        assert self.pbx.orders == []
        assert self.pbx.clock.getDelayedCalls() == []

    def test_the_link_is_lost_before_the_answer(self) -> None:
        """Nobody knows whether the order arrived; it did, and its end is told once."""
        self.order()
        self.pbx.lose_link()
        self.wait()
        assert self.answers() == ["unanswered"]
        assert self.ends() == 0
        self.pbx.end()
        self.pbx.restore_link()
        self.settle()
        assert self.answers() == ["unanswered"]
        assert self.ends() == 1
        assert self.pbx.orders == [ID]

    def test_what_was_left_unanswered_is_hung_up(self) -> None:
        """Its requester was told that it failed: when the link is back, it is found and ended."""
        self.watcher.carry_out(self.driver, self.order())
        self.pbx.lose_answer()
        self.wait()
        assert self.answers() == ["unanswered"]
        self.pbx.restore_link()
        self.settle()
        self.settle()
        assert self.pbx.hung_up == [ID]
        assert (self.answers(), self.ends()) == (["unanswered"], 1)
        assert self.pbx.orders == [ID]
        assert self.pbx.clock.getDelayedCalls() == []

    def test_ends_once_from_every_state(self) -> None:
        """Whatever comes after it: a hang-up, a lost link."""
        for stage in ("accepted", "ringing", "answered"):
            with self.subTest(stage=stage):
                self.begin()
                self.go_to(stage)
                self.pbx.end()
                self.wait()
                assert self.ends() == 1
                self.driver.hang_up(ID)
                self.pbx.lose_link()
                self.pbx.restore_link()
                self.wait()
                assert self.answers() == ["accepted"]
                assert self.watcher.told[-1] == "gone"
                assert self.ends() == 1

    def test_hung_up_in_every_state(self) -> None:
        """Also before the order is answered; the end is told as ever."""
        for stage in ("ordered", "accepted", "ringing", "answered"):
            with self.subTest(stage=stage):
                self.begin()
                self.go_to(stage)
                self.driver.hang_up(ID)
                if stage == "ordered":
                    self.pbx.accept()
                self.wait()
                assert ID in self.pbx.hung_up
                assert self.answers() == ["accepted"]
                assert self.ends() == 1
                assert self.pbx.clock.getDelayedCalls() == []

    def test_hang_up_of_nothing(self) -> None:
        """What was never placed is not hung up."""
        self.driver.hang_up(ID)
        self.wait()
        assert self.pbx.hung_up == []
        assert self.watcher.told == []

    def test_hung_up_for_another_process(self) -> None:
        """The PBX is told; it is the other's call, and its end is told there alone."""
        plan = self.go_to("ringing")
        another = Watcher()
        driver = self.pbx.start(another)
        driver.hang_up_foreign(
            PlacedCall(ID, plan, LegEvidence(), LegEvidence(), placed_at=self.placed_at)
        )
        self.wait()
        assert self.pbx.hung_up == [ID]
        assert another.told == []
        assert self.ends() == 1

    def test_the_link_is_lost_on_the_way(self) -> None:
        """Told as such; the call is over only when that is known."""
        for stage in ("accepted", "ringing", "answered"):
            with self.subTest(stage=stage):
                self.begin()
                self.go_to(stage)
                self.pbx.lose_link()
                self.wait()
                assert self.watcher.story == ["up", "down"]
                assert self.ends() == 0
                self.pbx.end()
                self.wait()
                assert self.ends() == 0
                self.pbx.restore_link()
                assert self.watcher.story == ["up", "down", "up"]
                self.settle()
                assert self.answers() == ["accepted"]
                assert self.ends() == 1

    def test_adopted_and_there(self) -> None:
        """Found, and followed from there to its end."""
        plan = self.go_to("ringing")
        self.pbx.forget_drivers()
        self.restart(plan)
        self.driver.settle([ID])
        self.pbx.answer()
        self.wait()
        assert self.watcher.heard("found")
        assert self.ends() == 0
        self.pbx.end()
        self.settle()
        assert self.ends() == 1
        assert self.pbx.orders == [ID]

    def test_adopted_and_over(self) -> None:
        """It ended while nobody was there: told once, as soon as that can be known."""
        plan = self.go_to("ringing")
        self.pbx.forget_drivers()
        self.pbx.lose_link()
        self.pbx.end()
        self.restart(plan)
        self.pbx.restore_link()
        self.settle()
        assert self.ends() == 1
        assert self.pbx.orders == [ID]
        assert self.pbx.clock.getDelayedCalls() == []

    def test_unready_without_a_link(self) -> None:
        """In words for a caller; ready again with it."""
        assert self.driver.unready() is None
        self.pbx.lose_link()
        words = self.driver.unready()
        assert words is not None
        assert words.endswith(".")
        self.pbx.restore_link()
        assert self.driver.unready() is None
