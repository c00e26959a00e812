"""All calls in progress: runs the state machine, stores, carries out commands, keeps time.

Between `intake` above and the PBX drivers below. An event drives its call through `machine.step`;
the new state is stored, the commands are carried out, and whoever waits for the call is told. The
one order that matters: a call is durable before the PBX is given it. What a call may do stands in
`machine`; this module only does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.call.call import Answer, Call, CallState, OriginatePlan
from c2c_agent.call.events import (
    Cancel,
    Command,
    Event,
    Expire,
    Gone,
    Guard,
    GuardExpired,
    HangUp,
    LegEvent,
    LinkLost,
    OriginateUnanswered,
    OriginateUnsent,
    Reject,
    Reply,
    SendOriginate,
    Settle,
)
from c2c_agent.call.evidence import CallEvidence
from c2c_agent.call.machine import guard_after_restart, step
from c2c_agent.dispatch.neighbours import Neighbours
from c2c_agent.errors import C2CError, ErrorCode, Fault
from c2c_agent.pbx.driver import PbxDriver, PlacedCall
from c2c_agent.policy.meter import Meter
from c2c_agent.report.call_log import log_state
from c2c_agent.report.delivery import Report
from c2c_agent.store.call_store import CallStore

_log = Logger()

#: Seconds until a call that could not be stored (a full disk, for instance) is tried again: at
#: first, and at most. Each time it is twice as long.
_RETRY: Final = 5.0
_LONGEST_RETRY: Final = 80.0

#: Seconds after which a request is not placed any more, where it took as long to store it: whoever
#: made it has given up by then, and would be rung out of the blue.
_STALE: Final = 30.0

#: Seconds that who cancels a call waits at the most until that is stored. It is done meanwhile.
_MOMENT: Final = 2.0

#: What requesters are told while calls are stopped; the reason is the admin's business.
_STOPPED: Final = Fault(
    ErrorCode.NOT_ALLOWED, "The operator has stopped all calls; none is placed at present."
)

#: States in which the first leg may still come to be answered, and the second to be dialled.
_BEFORE_BRIDGE: Final = frozenset(
    {CallState.DIALING_FIRST, CallState.FIRST_RINGING, CallState.FIRST_ANSWERED}
)


class CallObserver(Protocol):
    """Who follows all calls. What it raises is logged, and the calls go on."""

    def call_changed(self, before: Call, after: Call) -> None:
        """Something has happened to a call, and it was given to the store."""


class ReportQueue(Protocol):
    """Who tells others of calls."""

    def reports(self, before: Call, after: Call) -> Sequence[Report]:
        """What is to be told of a change."""

    def stored(self) -> None:
        """Reports may have come into the store."""


class StoreUnreadableError(C2CError):
    """The store could not be read, so nobody knows whether a request was made before."""


@define(eq=False)
class ActiveCall:
    """A call that is in progress, or not stored to its end yet; `Dispatcher.apply` moves it on."""

    call: Call
    sent: bool = False  # the PBX was given the order
    bridged: bool = False  # its second leg was given out to be dialled
    counted: bool = False  # it stands in the meter
    counted_at: float = 0.0  # since then
    foreign: bool = False  # another process has it, and was asked to answer the request
    unsure: bool = False  # the store is being asked whether the request was made before
    unwanted: bool = False  # it was cancelled meanwhile
    reserved: float = 0.0  # seconds of its key's, there
    changes: int = 0  # how often it was given to the store
    durable: int = 0  # the latest of these that the store has
    refused: int = 0  # the latest of these that it could not take
    guard: IDelayedCall | None = None
    retry: IDelayedCall | None = None  # of storing it
    retry_after: float = _RETRY
    answer_waiters: list[Deferred[None]] = field(factory=list)
    change_waiters: list[Deferred[None]] = field(factory=list)
    durable_waiters: list[tuple[int, Deferred[bool]]] = field(factory=list)

    @property
    def ended(self) -> bool:
        """Whether it is over, and only to be stored yet."""
        return self.call.state is CallState.ENDED

    @property
    def placed(self) -> bool:
        """Whether the PBX may have it."""
        return self.sent and self.call.state is not CallState.ENDED


class Dispatcher:
    """All calls in progress. It is the `PbxObserver` of its drivers."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        wall: Callable[[], float],
        store: CallStore,
        drivers: Mapping[str, PbxDriver],
        meter: Meter,
        observers: Sequence[CallObserver] = (),
        are_stopped: Callable[[], bool] = lambda: False,
        outbox: ReportQueue | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._clock = clock
        self._now = now
        self._wall = wall
        self._are_stopped = are_stopped
        self._store = store
        self._drivers = drivers
        self._meter = meter
        self._observers = observers
        self._outbox = outbox
        self._neighbours = neighbours
        self._active: dict[str, ActiveCall] = {}
        self._unstored: set[str] = set()  # those of them whose end could not be stored so far
        self._stopped = False

    # For the intake

    def active(self, request_id: str) -> ActiveCall | None:
        """The call of a request, where it is in progress."""
        return self._active.get(request_id)

    def known(self, request_id: str) -> ActiveCall | None:
        """The same, but none of which the store may yet say that it was made before."""
        active = self._active.get(request_id)
        return None if active is None or active.unsure else active

    def begin(self, call: Call) -> ActiveCall:
        """Take a call in; no other may have its request_id until it is forgotten."""
        active = self._active[call.request_id] = ActiveCall(call)
        return active

    async def answer_of(self, active: ActiveCall) -> Answer:
        """What the requester is told, as soon as it is known."""
        if active.call.answer is None and not active.foreign:
            waiter: Deferred[None] = Deferred()
            active.answer_waiters.append(waiter)
            await waiter
        if active.call.answer is None and active.foreign and self._neighbours is not None:
            active.call = await self._neighbours.answered(active.call)
        if active.call.answer is None:
            raise StoreUnreadableError("The store could not be asked about this request.")
        return active.call.answer

    async def until_stored(self, request_id: str) -> bool:
        """Wait until the store has a call as it is now.

        False where nothing of it is, or will be, stored by this one: it is not in progress.
        """
        active = self._active.get(request_id)
        if active is None:
            return False
        if active.durable >= max(1, active.changes):
            return True
        waiter: Deferred[bool] = Deferred()
        active.durable_waiters.append((max(1, active.changes), waiter))
        if 0 < active.changes == active.refused:
            self._save(active)  # it would be tried again by itself, but that may be late
        self._store.hurry()
        return await waiter

    def cancel(self, request_id: str) -> None:
        """Hang up whatever exists of a call; nothing where it has ended."""
        active = self._active.get(request_id)
        if active is not None and active.unsure:
            active.unwanted = True  # once it is known which call that is, it is told so
        elif active is not None:
            job = active.call.job
            self.apply(active, Cancel(expired=job is not None and job.has_expired(self._wall())))

    def hang_up_all(self) -> int:
        """Hang up whatever exists of all calls; how many there are."""
        going = [active for active in self._active.values() if not active.ended]
        for active in going:
            with _log.failuresHandled("a call could not be hung up; the others are"):
                self.cancel(active.call.request_id)
        return len(going)

    def stopped(self) -> Fault | None:
        """Why no call may be placed at all; None: they may."""
        return _STOPPED if self._are_stopped() else None

    async def cancel_anywhere(self, call: Call) -> None:
        """Hang up whatever exists of a call, of this process or of another.

        Returns when that survives a crash; where it cannot be stored, after a moment.
        """
        active = self._active.get(call.request_id)
        if active is not None and (not active.unsure or active.call is call):
            self.cancel(call.request_id)
            if not active.unsure:
                stored = Deferred.fromCoroutine(self.until_stored(call.request_id))
                with suppress(TimedOut):
                    await stored.addTimeout(_MOMENT, self._clock)
        elif self._neighbours is not None:
            await self._neighbours.cancel(call)

    # Questions

    @property
    def in_progress(self) -> int:
        """Calls that have not ended."""
        return sum(active.call.state is not CallState.ENDED for active in self._active.values())

    @property
    def unstored(self) -> int:
        """Calls whose end could not be stored so far: they are kept in memory until it can be."""
        return len(self._unstored)

    @property
    def states(self) -> Mapping[CallState, int]:
        """How many calls are in each state; an ended one only until its end is stored."""
        return Counter(active.call.state for active in self._active.values())

    async def find(self, request_id: str) -> Call | None:
        """A call, in progress or ended."""
        active = self._active.get(request_id)
        if active is not None and not active.unsure:
            return active.call
        stored = await self._store.find(request_id)
        if active is None or (active.unsure and stored is not None):
            return stored
        return active.call  # a new one: the store has been asked meanwhile, or does not know it

    async def recent(self, limit: int, key_name: str | None = None) -> list[Call]:
        """The latest calls, newest first, as they are now."""
        return [self._as_it_is(call) for call in await self._store.recent(limit, key_name)]

    def _as_it_is(self, stored: Call) -> Call:
        active = self.known(stored.request_id)
        return stored if active is None else active.call

    async def has_ended(self, request_id: str) -> bool:
        """Whether the end of a call is in the store."""
        if self.known(request_id) is not None:
            return False
        call = await self._store.find(request_id)
        return call is not None and call.state is CallState.ENDED

    def changed(self, request_id: str) -> Deferred[None] | None:
        """Fires at the next change of a call; None where nothing of it will change any more.

        Ask this before the call is looked at: what comes between the two would be missed.
        The Deferred may be cancelled by who does not want to wait any longer.
        """
        active = self._active.get(request_id)
        if active is None and self._neighbours is not None:
            return self._neighbours.changed(request_id)
        if active is None or active.call.state is CallState.ENDED:
            return None
        waiter = Deferred[None](lambda waiter: _take_out(waiter, active.change_waiters))
        active.change_waiters.append(waiter)
        return waiter

    # Start and end

    def resume(self, unfinished: Sequence[Call]) -> None:
        """Take over the calls that were in progress before a restart."""
        for call in unfinished:
            active = self._active[call.request_id] = ActiveCall(call)
            active.changes = active.durable = 1
            active.bridged = call.dialed_at is not None
            active.counted, active.counted_at = True, call.received.at
            before_talk = call.job.seconds_before_talk if call.job is not None else 0
            active.reserved = call.max_duration + before_talk
            self._meter.resume(call.key, active.reserved)
            driver = self._drivers.get(call.job.pbx) if call.job is not None else None
            if call.plan is None:
                message = "The agent was restarted before the call was placed."
                self.apply(active, Reject((Fault(ErrorCode.INTERNAL_ERROR, message),)))
            elif driver is None:  # configured no more, so there is nobody to ask
                self.apply(active, Gone(CallEvidence(lost=True)))
            else:
                active.sent = True
                driver.adopt([_placed(call, call.plan)])
                self._run(active, (guard_after_restart(call, self._now()),))

    def stop(self) -> None:
        """Send no orders and keep no time any more; what goes on is settled after the next start.

        Ends that could not be stored so far have a last chance.
        """
        self._stopped = True
        for active in list(self._active.values()):
            self._stop_guard(active)
            if _stop_retry(active):
                self._save(active)

    # PbxObserver

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Take an event of a call."""
        active = self.known(request_id)
        if active is not None:
            self.apply(active, event)

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """The plan of a call whose first leg was answered, to dial its second: given once."""
        active = self._active.get(request_id)
        if (
            active is None
            or not active.sent
            or active.bridged
            or active.call.cancelled
            or active.call.state not in _BEFORE_BRIDGE
        ):
            return None
        active.bridged = True
        return active.call.plan

    def pbx_up(self) -> None:
        """Settle every call that the PBX was given."""
        for kind, driver in self._drivers.items():
            placed = [
                request_id
                for request_id, active in self._active.items()
                if active.placed and active.call.job is not None and active.call.job.pbx == kind
            ]
            if placed:
                driver.settle(placed)

    def pbx_down(self, reason: str) -> None:
        """Note it in the story of every call that goes on without being heard."""
        for active in list(self._active.values()):
            if active.placed:
                self.apply(active, LinkLost(reason))

    # The machine at work

    def apply(self, active: ActiveCall, event: Event) -> None:
        """Let an event happen to a call, store what it makes of it, and do what follows."""
        before = active.call
        active.call, commands, breach = step(before, event, self._now())
        if breach:
            _log.error(
                "call {call}: a breach of the driver's contract: {breach} in {state}",
                call=before.request_id,
                breach=type(event).__name__,
                state=before.state.value,
            )
        if active.call is not before:
            if active.call.state is not before.state:
                log_state(active.call)
            reports = self._outbox.reports(before, active.call) if self._outbox is not None else ()
            urgent = SendOriginate() in commands or _is_known_here_alone(before, active.call)
            stored = self._save(active, reports, patient=not urgent)
            self._announce(before, active.call)
            if SendOriginate() in commands:
                self._send_when(stored, active)
            self._wake(active)
        self._run(active, commands)

    def _run(self, active: ActiveCall, commands: Sequence[Command]) -> None:
        request_id = active.call.request_id
        for command in commands:
            match command:
                case Guard(seconds):
                    self._stop_guard(active)
                    if not self._stopped:
                        expired = GuardExpired()
                        active.guard = self._clock.callLater(seconds, self.apply, active, expired)
                case HangUp():
                    self._driver_of(active).hang_up(request_id)
                case Settle():
                    if active.sent:
                        self._driver_of(active).settle([request_id])
                case Reply() | SendOriginate():
                    pass  # the waiters were woken; the order goes out when the call is stored
        if active.call.state is CallState.ENDED:
            self._stop_guard(active)
        self._count(active)

    def _count(self, active: ActiveCall) -> None:
        """Tell the meter of a call that is over."""
        # Who was told that it failed does not wait for it; nor does the next call.
        if active.call.nobody_waits and active.counted:
            active.counted = False
            dialled = active.call.was_dialled
            self._meter.release(active.call.key, dialled=dialled, at=active.counted_at)
        if active.ended and active.reserved:
            spent = active.call.answered_seconds
            self._meter.settle(active.call.key, active.reserved, spent, self._now())
            active.reserved = 0.0

    def _driver_of(self, active: ActiveCall) -> PbxDriver:
        job = active.call.job
        assert job is not None  # noqa: S101 - a call without a job is refused before any command
        return self._drivers[job.pbx]

    def _send_when(self, stored: Deferred[bool], active: ActiveCall) -> None:
        """Give the PBX its order once the call is durable: whatever crashes then, it is known."""

        def send(durable: bool) -> None:
            call = active.call
            if call.plan is None or call.job is None or call.state is CallState.ENDED:
                return
            if not durable:
                code = ErrorCode.INTERNAL_ERROR
                self.apply(active, OriginateUnsent("The call could not be stored.", code))
            elif call.cancelled:
                self.apply(active, OriginateUnsent("The call was cancelled."))
            elif self._stopped:
                self.apply(active, OriginateUnsent("The agent is shutting down."))
            elif self.stopped() is not None:
                self.apply(active, OriginateUnsent(_STOPPED.message, _STOPPED.code))
            elif call.job.has_expired(self._wall()):
                self.apply(active, Expire())
            elif self._now() - call.received.at > _STALE:
                message = "It took too long to store the call."
                self.apply(active, OriginateUnsent(message, ErrorCode.INTERNAL_ERROR))
            else:
                active.sent = True
                self._driver_of(active).originate(call.request_id, call.plan)

        def failed(failure: Failure) -> None:
            _log.failure("originate failed", failure)
            self.apply(active, OriginateUnanswered("An internal error; see the log."))

        stored.addCallback(send).addErrback(failed)

    def _save(
        self, active: ActiveCall, reports: Sequence[Report] = (), *, patient: bool = False
    ) -> Deferred[bool]:
        """Store the call as it is now; whether that worked. Once its end is stored, forget it."""
        ended = active.call.state is CallState.ENDED
        active.changes += 1
        number = active.changes

        def kept(_: None) -> bool:
            # With what is stored at last come the reports of the attempts that failed.
            if self._outbox is not None and (reports or active.refused > active.durable):
                self._outbox.stored()
            active.durable = max(active.durable, number)
            _stop_retry(active)
            active.retry_after = _RETRY
            _wake_durable(active, active.durable)
            if ended:
                self.forget(active)
            return True

        def failed(failure: Failure) -> bool:
            reason = failure.getErrorMessage()
            request_id = active.call.request_id
            active.refused = number
            _log.error("call {call} could not be stored: {reason}", call=request_id, reason=reason)
            if ended and self._active.get(request_id) is active:
                self._unstored.add(request_id)
            if not self._stopped and not _waits_for_retry(active):
                # Also on the way: the next change stores the whole call anew, but it may come after
                # an hour's talk, and until then nobody would be told of this one.
                active.retry = self._clock.callLater(active.retry_after, self._save, active)
                active.retry_after = min(active.retry_after * 2, _LONGEST_RETRY)
            return False

        saved = self._store.save(active.call, reports, patient=patient)
        return saved.addCallbacks(kept, failed)

    def forget(self, active: ActiveCall) -> None:
        """No longer active: it is in the store, or nothing was done for it."""
        if self._active.get(active.call.request_id) is active:
            del self._active[active.call.request_id]
            self._unstored.discard(active.call.request_id)
        self._wake(active, forgotten=True)
        _wake_durable(active)

    def _announce(self, before: Call, after: Call) -> None:
        for observer in self._observers:
            try:
                observer.call_changed(before, after)
            except Exception:  # noqa: BLE001 - whatever it is, the calls go on
                _log.failure("a mistake in what follows the calls")

    def _wake(self, active: ActiveCall, *, forgotten: bool = False) -> None:
        woken, active.change_waiters = active.change_waiters, []
        if active.call.answer is not None or forgotten:
            woken += active.answer_waiters
            active.answer_waiters = []
        for waiter in woken:
            if not waiter.called:  # one who was woken before may have made it give up
                waiter.callback(None)

    def _stop_guard(self, active: ActiveCall) -> None:
        if active.guard is not None and active.guard.active():
            active.guard.cancel()
        active.guard = None


def _placed(call: Call, plan: OriginatePlan) -> PlacedCall:
    """What the driver of a call is told of it after a restart."""
    answer = call.answer
    return PlacedCall(
        call.request_id,
        plan,
        call.first,
        call.second,
        answered=answer is not None,
        failed=answer is not None and bool(answer.faults),
        cancelled=call.cancelled,
    )


def _is_known_here_alone(before: Call, call: Call) -> bool:
    """Whether a call's end is known from here alone; all else can be settled with the PBX again.

    Where the second leg's end was stored (SecondEnded), the call's end follows from that.
    """
    return call.state is CallState.ENDED and before.second.ended_at is None


def _waits_for_retry(active: ActiveCall) -> bool:
    """Whether it is to be tried again to store it."""
    return active.retry is not None and active.retry.active()


def _stop_retry(active: ActiveCall) -> bool:
    """Try no more to store it; whether that was to be tried."""
    waits = _waits_for_retry(active)
    if active.retry is not None and waits:
        active.retry.cancel()
    active.retry = None
    return waits


def _wake_durable(active: ActiveCall, number: int | None = None) -> None:
    """Wake who waits for a change to be durable, up to this one; None: none will be any more."""
    waiting, active.durable_waiters = active.durable_waiters, []
    for wanted, waiter in waiting:
        if number is None or wanted <= number:
            waiter.callback(number is not None)
        else:
            active.durable_waiters.append((wanted, waiter))


def _take_out(waiter: Deferred[None], waiters: list[Deferred[None]]) -> None:
    """Let a waiter go that has given up; it may have been taken to be woken already."""
    if waiter in waiters:
        waiters.remove(waiter)
