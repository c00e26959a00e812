"""What stands in for the store and the PBX where the core is tested, and a desk to test it at.

The fakes do nothing by themselves: a save is on the disk when the test says so, and a PBX tells
what the test has it tell. They keep their side of the contracts (`dispatcher.CallStore`, `pbx`) and
insist on the other's: an order that comes twice, or before its call is durable, is an error.
"""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import Call, CallState, OriginatePlan
from c2c_agent.call.events import Gone, LegEvent
from c2c_agent.call.evidence import CallEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.record import dump, load
from c2c_agent.config.sections import CallsConfig
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake, Submission
from c2c_agent.dispatch.neighbours import Neighbours
from c2c_agent.errors import Fault, StoreError
from c2c_agent.pbx.driver import PbxObserver, PlacedCall
from c2c_agent.policy.hours import WeekTime
from c2c_agent.policy.keys import Key, key_digest
from c2c_agent.policy.meter import Admission, LimitReached, Meter
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.policy.pbxs import PbxNames
from c2c_agent.policy.token import Token
from c2c_agent.report.delivery import Listed, Report, Target, reports
from c2c_agent.report.live import Live
from c2c_agent.store.call_store import EVERY, Claim, Wanted

#: When the clock of a desk stands at 0; the time in the specification's examples.
EPOCH = 1_435_628_937.0

DISK_FULL = sqlite3.OperationalError("database or disk is full")
DISK_BROKEN = sqlite3.OperationalError("disk I/O error")

CRM_SECRET = "c2c_secret-of-the-crm"
SHOP_SECRET = "c2c_secret-of-the-shop"
OPERATOR_SECRET = "c2c_secret-of-the-host"

CRM = Key(
    name="crm",
    sha256=key_digest(CRM_SECRET),
    allow=(parse_pattern("_1XX"), parse_pattern("_2XX")),
    deny=(parse_pattern("299"),),
    dial_as=(parse_pattern("_1XX"),),
)
SHOP = Key(name="shop", sha256=key_digest(SHOP_SECRET), allow=(parse_pattern("_XXX"),))

CALL_PARAMETERS = {"dial_first": "100", "dial_second": "200"}


def uuid(number: int) -> str:
    """A request_id for each number."""
    return f"00000000-0000-4000-8000-{number:012}"


class FakeStore:
    """A store whose disk is the test's: it writes and reads at once, or when it is told to.

    After `hold_writes`, what is saved waits for `commit` or `fail`; after `hold_reads`, what is
    asked waits for `answer` or `fail_reads`. It keeps text as the real one does, and a final
    outcome is final here, too.
    """

    def __init__(self) -> None:
        self.saves: list[Call] = []  # all that were asked for
        self.urgent: list[Call] = []  # those of them that may not wait for company
        self.reports: list[Report] = []  # that came with them
        self.reads: list[str] = []  # the ids that were asked for
        self.claims: list[tuple[Key | None, CallsConfig]] = []  # in a store that is shared
        self.admitted: Admission | LimitReached = Admission(
            14400, 14400
        )  # what it says of the limits
        self.cancels: list[str] = []  # of calls of other processes
        self.watches: dict[str, Deferred[None]] = {}  # what is waited for; fired by the test
        self._writes_held = False
        self._reads_held = False
        self._writing: list[tuple[Call, Deferred[None]]] = []
        self._reading: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self._records: dict[str, str] = {}
        # What nobody will answer any more: kept, for Python ends what nothing refers to.
        self._orphans: list[object] = []

    # Who waits for calls of other processes

    def watch(self, subject: str, request_id: str | None = None) -> Deferred[None]:  # noqa: ARG002
        assert subject not in self.watches
        watching = self.watches[subject] = Deferred()
        return watching

    def unwatch(self, subject: str) -> Deferred[None]:
        del self.watches[subject]
        return succeed(None)

    # The disk

    def hold_writes(self) -> None:
        """From now on, what is saved waits."""
        self._writes_held = True

    def commit(self, most: int | None = None) -> None:
        """Write what waits, or the first `most` of it."""
        for call, saved in self._taken(most):
            self._write(call)
            saved.callback(None)

    def commit_unheard(self) -> None:
        """Write what waits; but whoever waits for it is killed before hearing so."""
        for call, _ in self._writing:
            self._write(call)
        self.crash()

    def fail(self, most: int | None = None, error: Exception = DISK_FULL) -> None:
        """Let what waits, or the first `most` of it, fail."""
        for _, saved in self._taken(most):
            saved.errback(error)

    def release(self) -> None:
        """Write and read at once again, and what waits."""
        self._writes_held = self._reads_held = False
        self.commit()
        self.answer()

    def hold_reads(self) -> None:
        """From now on, what is asked waits."""
        self._reads_held = True

    def answer(self) -> None:
        """Answer what was asked, from what is there by now."""
        reading, self._reading = self._reading, []
        for query, found in reading:
            found.callback(query())

    def fail_reads(self, error: Exception = DISK_BROKEN) -> None:
        """Let what was asked fail."""
        reading, self._reading = self._reading, []
        for _, found in reading:
            found.errback(error)

    def crash(self) -> None:
        """What was not written yet never will be; nobody hears of it."""
        self._orphans += [self._writing, self._reading]
        self._writing, self._reading = [], []

    def put(self, call: Call) -> None:
        """Another process writes a call."""
        self._records[call.request_id] = dump(call)

    @property
    def waiting(self) -> list[Call]:
        """What waits to be written."""
        return [call for call, _ in self._writing]

    def kept(self, request_id: str) -> Call | None:
        """What is on the disk of a request."""
        record = self._records.get(request_id)
        return None if record is None else load(record)

    def all_kept(self) -> list[Call]:
        """All that is on the disk, in order of arrival."""
        return [load(record) for record in self._records.values()]

    def unfinished(self) -> list[Call]:
        """What the agent finds in progress when it starts."""
        return [call for call in self.all_kept() if call.state is not CallState.ENDED]

    # CallStore

    shared = False
    server_id = ""

    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:
        if not self.shared:
            self.reads.append(call.request_id)
            return self._read(lambda: self._before(call, key))
        self.claims.append((key, limits))
        return self._read(lambda: self._decide(call, key))

    def _before(self, call: Call, key: Key | None) -> Claim:
        earlier = self.kept(call.request_id)
        if earlier is not None or key is None or call.job is None:
            return Claim(earlier)
        for one in reversed(self.all_kept()):
            lately = call.received.at - one.received.at < key.repeat_window
            refused = one.outcome in {Outcome.REJECTED, Outcome.EXPIRED, Outcome.PBX_ERROR}
            if one.key == call.key and one.job is not None and lately and not refused:
                numbers = one.job.dial_first, one.job.dial_second
                if numbers == (call.job.dial_first, call.job.dial_second):
                    return Claim(one, repeated=True)
        return Claim()

    def _decide(self, call: Call, key: Key | None) -> Claim:
        before = self._before(call, key)
        if before.earlier is not None:
            return before
        self._write(call)
        return Claim(admitted=None if key is None else self.admitted)

    def ask_to_cancel(self, request_id: str) -> Deferred[None]:
        self.cancels.append(request_id)
        return succeed(None)

    def save(
        self, call: Call, reports: Sequence[Report] = (), *, patient: bool = False
    ) -> Deferred[None]:
        self.saves.append(call)  # when to write is the test's
        if not patient:
            self.urgent.append(call)
        self.reports += reports
        if not self._writes_held:
            self._write(call)
            return succeed(None)
        saved = Deferred[None]()
        self._writing.append((call, saved))
        return saved

    def hurry(self) -> None:
        """Write, or not: it is the test's."""

    def find(self, request_id: str) -> Deferred[Call | None]:
        self.reads.append(request_id)
        return self._read(lambda: self.kept(request_id))

    def recent(
        self, limit: int, key_name: str | None = None, wanted: Wanted = EVERY
    ) -> Deferred[list[Call]]:
        def query() -> list[Call]:
            calls = [
                call
                for call in self.all_kept()
                if key_name in {None, call.key} and _is_wanted(call, wanted)
            ]
            return sorted(calls, key=_place, reverse=True)[:limit]

        return self._read(query)

    def _read(self, query: Callable[[], Any]) -> Deferred[Any]:
        if not self._reads_held:
            return succeed(query())
        found: Deferred[Any] = Deferred()
        self._reading.append((query, found))
        return found

    def _write(self, call: Call) -> None:
        earlier = self.kept(call.request_id)
        if earlier is None or earlier.state is not CallState.ENDED:
            self._records[call.request_id] = dump(call)

    def _taken(self, most: int | None) -> list[tuple[Call, Deferred[None]]]:
        taken, self._writing = self._writing[:most], [] if most is None else self._writing[most:]
        return taken


class FakeReportList:
    """The reports that wait; what was asked of them is kept."""

    def __init__(self) -> None:
        self.reports: list[Listed] = []
        self.asked: list[tuple[str | None, int | None, bool | None]] = []

    def listed(
        self, most: int, *, key_name: str | None, before: int | None, dead: bool | None
    ) -> Deferred[list[Listed]]:
        self.asked.append((key_name, before, dead))
        return succeed(self.reports[:most])


class FakeTokens:
    """What is kept of tokens, at once; `broken`: the store cannot be used."""

    def __init__(self) -> None:
        self.used: Counter[tuple[str, str]] = Counter()
        self.revoked: set[tuple[str, str]] = set()
        self.broken = False

    def use(self, key_name: str, token: str, uses: int, expires_at: float) -> Deferred[bool]:
        assert expires_at > 0
        known = key_name, token
        if self.broken:
            return fail(StoreError("the disk is full"))
        if self.used[known] >= uses or known in self.revoked:
            return succeed(False)
        self.used[known] += 1
        return succeed(True)

    def revoke(self, key_name: str, token: str, expires_at: float) -> Deferred[None]:
        assert expires_at > 0
        self.revoked.add((key_name, token))
        return succeed(None)

    def is_revoked(self, key_name: str, token: str) -> Deferred[bool]:
        return fail(StoreError("?")) if self.broken else succeed((key_name, token) in self.revoked)


def _place(call: Call) -> tuple[float, str]:
    return call.received.at, call.request_id


def _is_wanted(call: Call, wanted: Wanted) -> bool:
    numbers = {call.job.dial_first, call.job.dial_second} if call.job is not None else set()
    return (
        (wanted.since is None or call.received.at >= wanted.since)
        and (wanted.until is None or call.received.at < wanted.until)
        and (wanted.number is None or wanted.number in numbers)
        and wanted.first in {None, call.job.dial_first if call.job is not None else ""}
        and wanted.outcome in {None, call.outcome}
        and (wanted.after is None or _place(call) < wanted.after)
    )


class FakeDriver:
    """A PBX that takes every order and tells what the test has it tell.

    It survives the restart of an agent, as a PBX does. What it was asked for stands in lists of
    request_ids, in order.
    """

    method = "asterisk.call"

    def __init__(self, kept: Callable[[str], Call | None]) -> None:
        self._kept = kept  # what is on the disk of a request
        self._planning: list[Deferred[None]] = []
        self._orphans: list[Deferred[None]] = []
        self._plans_held = False
        self.observer: PbxObserver
        self.reason: str | None = None  # why no call can be placed
        self.refusal: Exception | None = None  # what `prepare` raises
        self.mistake: Exception | None = None  # what `originate` raises
        self.lasts: str | None = None  # why no call can be hung up
        self.found_out: LegEvent | None = None  # what `settle` tells at once
        self.prepared: list[str] = []
        self.originated: list[str] = []
        self.hung_up: list[str] = []
        self.foreign: list[str] = []
        self.adopted: list[PlacedCall] = []
        self.settled: list[str] = []

    # What the test has it do

    def hold_plans(self) -> None:
        """From now on, `prepare` takes until `make_plans`."""
        self._plans_held = True

    def make_plans(self) -> None:
        """Finish what is being prepared."""
        planning, self._planning = self._planning, []
        for ready in planning:
            ready.callback(None)

    def crash(self) -> None:
        """What was being prepared never will be."""
        self._orphans += self._planning
        self._planning = []

    def tells(self, request_id: str, *events: LegEvent) -> None:
        """Tell events of a call."""
        for event in events:
            self.observer.leg_event(request_id, event)

    # PbxDriver

    def unready(self) -> str | None:
        return self.reason

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        self.prepared.append(request_id)
        if self._plans_held:
            ready = Deferred[None]()
            self._planning.append(ready)
            await ready
        if self.refusal is not None:
            raise self.refusal
        return OriginatePlan(
            data={"Action": "Originate", "ChannelId": f"c2c-{request_id}"},
            target=f"Local/{job.dial_second}@from-phones/n",
            timeout=job.timeout,
            order="made by this driver",
        )

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        self.originated.append(request_id)
        kept = self._kept(request_id)
        assert self.originated.count(request_id) == 1, "sent twice"
        assert kept is not None, "sent before it was stored"
        assert kept.state is not CallState.ENDED, "sent after its end"
        assert kept.plan == plan, "sent something else than was stored"
        assert plan.order == "made by this driver"
        if self.mistake is not None:
            raise self.mistake

    def cannot_hang_up(self, _request_id: str | None = None) -> str | None:
        return self.lasts

    def hang_up(self, request_id: str) -> None:
        self.hung_up.append(request_id)

    def hang_up_foreign(self, call: PlacedCall) -> None:
        self.foreign.append(call.request_id)

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        self.adopted.extend(calls)

    def settle(self, request_ids: Collection[str]) -> None:
        self.settled.extend(request_ids)
        if self.found_out is not None:
            for request_id in request_ids:
                self.tells(request_id, self.found_out)


class FakeOutbox:
    """Reports every change to one target; `woken` is how often it was told of stored reports."""

    def __init__(self) -> None:
        self.woken = 0
        self.owing: list[str] = []

    def reports(self, before: Call, after: Call) -> Sequence[Report]:
        return reports(before, after, [Target("crm")], server_id="pbx1")

    def stored(self, call: Call, reports: Sequence[Report]) -> None:  # noqa: ARG002
        self.woken += bool(reports)

    def owed(self, call: Call) -> None:
        self.owing.append(call.request_id)

    def wake(self) -> None:
        self.woken += 1


class Desk:
    """An agent's core over fakes: where requests come in, and a PBX that does as it is told.

    `kinds` of PBX there is one each, by default an Asterisk; one that has a name of its own is
    given as kind and name, such as `asterisk north`. `limits` are those of `CallsConfig`.
    `shared`: other processes use the store, too, and have 10 s to answer. The kinds `relayed` go to
    agents; a job may name the PBXs `for_jobs`.
    Time is the Clock's, beginning at EPOCH.
    """

    def __init__(
        self,
        *kinds: str,
        shared: bool = False,
        relayed: Collection[str] = (),
        for_jobs: Collection[str] = (),
        **limits: Any,
    ) -> None:
        self.clock = Clock()
        self.outbox = FakeOutbox()
        self.store = FakeStore()
        self.store.shared = shared
        self.tokens = FakeTokens()
        self.report_list = FakeReportList()
        named = [kind.split() for kind in kinds or ["asterisk"]]
        self.pbx_kinds = {words[-1]: words[0] for words in named}
        self.pbx_names = PbxNames(self.pbx_kinds, relayed=relayed, for_jobs=for_jobs)
        self.pbx_limits: dict[str, int] = {}  # by name of PBX
        self.drivers = {name: FakeDriver(self.store.kept) for name in self.pbx_kinds}
        self._limits = CallsConfig(**limits)
        self.number_plans: dict[str, NumberPlan] = {}  # by name of PBX
        self.clock_set = 0.0
        self.stopped = False  # by the kill switch
        self.stop_reason = ""
        self.week_time = WeekTime(0, 12 * 60)  # what a clock on the wall shows: Monday noon
        self._ids = count(1)
        self._submitted: list[Deferred[Submission]] = []
        self._open()

    @property
    def driver(self) -> FakeDriver:
        """The one driver, where there is only one."""
        [driver] = self.drivers.values()
        return driver

    def _open(self) -> None:
        self.meter = Meter(self._limits.max_concurrent, self.pbx_limits)
        self.live = Live("pbx1", most=8, most_each=4, buffer=50_000)
        self.neighbours = Neighbours(self.store, self.drivers, answer_timeout=10, clock=self.clock)
        self.dispatcher = Dispatcher(
            clock=self.clock,
            now=self.now,
            wall=self.wall,
            store=self.store,
            drivers=self.drivers,
            meter=self.meter,
            observers=[self.live],
            are_stopped=lambda: self.stopped,
            outbox=self.outbox,
            neighbours=self.neighbours if self.store.shared else None,
        )
        self.intake = Intake(
            clock=self,
            week_time=lambda _at, _timezone: self.week_time,
            new_id=lambda: f"11111111-0000-4000-8000-{next(self._ids):012}",
            dispatcher=self.dispatcher,
            store=self.store,
            drivers=self.drivers,
            pbxs=self.pbx_names,
            limits=self._limits,
            meter=self.meter,
            number_plans=self.number_plans,
            tokens=self.tokens,
        )
        for driver in self.drivers.values():
            driver.observer = self.dispatcher

    def now(self) -> float:
        """Epoch seconds that never jump."""
        return EPOCH + self.clock.seconds()

    def wall(self) -> float:
        """Epoch seconds as the host's clock has them; it may have been set by `clock_set`."""
        return self.now() + self.clock_set

    def ahead(self) -> float:
        """By how much it was set."""
        return self.clock_set

    # KillSwitch

    def stop(self, reason: str, *, hang_up: bool) -> int:
        """Stop calls."""
        self.stopped, self.stop_reason = True, reason
        return self.dispatcher.hang_up_all() if hang_up else 0

    def start(self) -> bool:
        """Let calls be placed again."""
        was, self.stopped = self.stopped, False
        return was

    def restart(self, *, committed: bool = False) -> None:
        """The agent is killed, and started again: of the old one only the disk is left.

        `committed`: the disk had just written what waited, which nobody heard.
        """
        if committed:
            self.store.commit_unheard()
        for timer in list(self.clock.getDelayedCalls()):
            timer.cancel()
        self.store.crash()
        for driver in self.drivers.values():
            driver.crash()
        for submitted in self._submitted:
            submitted.addErrback(lambda _: None)  # nobody waits any more
        self._submitted = []
        self._open()
        self.dispatcher.resume(self.store.unfinished())

    def submit(
        self,
        key: Key = CRM,
        faults: tuple[Fault, ...] = (),
        token: Token | None = None,
        /,
        **parameters: object,
    ) -> Deferred[Submission]:
        """A request comes in: from 100 to 200, unless `parameters` say otherwise."""
        submitted = Deferred.fromCoroutine(
            self.intake.submit(
                key,
                {**CALL_PARAMETERS, **parameters},
                faults,
                url="http://pbx1.example.com/c2c/v2",
                method="GET",
                token=token,
            )
        )
        self._submitted.append(submitted)
        return submitted

    def call(self, request_id: str) -> Call:
        """A call, as it is now."""
        active = self.dispatcher.active(request_id)
        call = active.call if active is not None else self.store.kept(request_id)
        assert call is not None, f"{request_id} is not known"
        return call

    def end_all(self) -> None:
        """Let everything come to its end: the disk writes, the PBX has no calls any more."""
        for driver in self.drivers.values():
            driver._plans_held = False
            driver.make_plans()
        for _ in range(3):
            self.store.release()
            for call in self.store.unfinished():
                self.drivers[call.job.pbx if call.job else ""].tells(
                    call.request_id, Gone(CallEvidence(lost=True))
                )
            self.clock.advance(10)


class DeskTest(SynchronousTestCase):
    """Tests at a desk. None may send an order twice, or leave a timer behind when it is stopped."""

    limits: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        self.desk = Desk(**self.limits)
        self.clock = self.desk.clock
        self.store = self.desk.store

    @property
    def driver(self) -> FakeDriver:
        return self.desk.driver

    def tearDown(self) -> None:
        self.desk.dispatcher.stop()
        self.desk.neighbours.stop()
        assert self.clock.getDelayedCalls() == []
        for driver in self.desk.drivers.values():
            assert all(times == 1 for times in Counter(driver.originated).values())
