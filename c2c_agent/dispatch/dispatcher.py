"""All calls in progress: runs the state machine, stores, carries out commands, keeps time.

Between `intake` above and the PBX drivers below. An event drives its call through `machine.step`;
the new state is stored, the commands are carried out, and whoever waits for the call is told. The
one order that matters: a call is durable before the PBX is given it. What a call may do stands in
`machine`; this module only does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
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
    OriginateUnanswered,
    OriginateUnsent,
    PbxLost,
    Reject,
    SendOriginate,
    Settle,
    TellAnswer,
)
from c2c_agent.call.evidence import CallEvidence
from c2c_agent.call.machine import guard_after_restart, step
from c2c_agent.call.transitions import GRACE
from c2c_agent.dispatch.active import ActiveCall, Ownership
from c2c_agent.dispatch.neighbours import Neighbours
from c2c_agent.dispatch.saving import Durability, ReportQueue, Saving, can_wait
from c2c_agent.errors import C2CError, ErrorCode, Fault
from c2c_agent.pbx.driver import PbxDriver, PbxObserver
from c2c_agent.policy.meter import Admission, Meter
from c2c_agent.report.call_log import log_state
from c2c_agent.store.call_store import EVERY, CallStore, Wanted

_log = Logger()

#: Seconds after which a request is not placed any more, where it took as long to store it: whoever
#: made it has given up by then, and would be rung out of the blue.
_STALE: Final = 30.0

#: Seconds that who cancels a call waits at the most until that is stored. It is done meanwhile.
_MOMENT: Final = 2.0

#: What requesters are told while calls are stopped; the reason is the admin's business.
_CALLS_STOPPED: Final = Fault(
    ErrorCode.NOT_ALLOWED, "The operator has stopped all calls; none is placed at present."
)


class CallObserver(Protocol):
    """Who follows all calls. What it raises is logged, and the calls go on."""

    def call_changed(self, before: Call, after: Call) -> None:
        """Something has happened to a call, and it was given to the store."""


class StoreUnreadableError(C2CError):
    """The store could not be read, so nobody knows whether a request was made before."""


class Dispatcher:
    """All calls in progress. It is the `PbxObserver` of its drivers, by the names of their PBXs."""

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
        self._saving = Saving(store, clock, outbox)
        self._active: dict[str, ActiveCall] = {}
        self._closed = False

    # For the intake

    def active(self, request_id: str) -> ActiveCall | None:
        """The call of a request, where it is in progress."""
        return self._active.get(request_id)

    def known(self, request_id: str) -> ActiveCall | None:
        """The same, but none of which the store may yet say that it was made before."""
        active = self._active.get(request_id)
        return None if active is None or not active.ownership.is_decided else active

    def begin(self, call: Call, ownership: Ownership = Ownership.OURS) -> ActiveCall:
        """Take a call in; no other may have its request_id until it is forgotten."""
        active = self._active[call.request_id] = ActiveCall(call, ownership)
        active.durability = Durability(call, lambda: self.forget(active))
        return active

    async def answer_of(self, active: ActiveCall) -> Answer:
        """What the requester is told, as soon as it is known."""
        foreign = active.ownership is Ownership.FOREIGN
        if active.call.answer is None and not foreign:
            await active.answered()
        foreign = active.ownership is Ownership.FOREIGN
        if active.call.answer is None and foreign and self._neighbours is not None:
            active.call = await self._neighbours.answered(active.call)
        if active.call.answer is None:
            raise StoreUnreadableError("The store could not be asked about this request.")
        return active.call.answer

    async def until_stored(self, request_id: str) -> bool:
        """Wait until the store has a call as it is now.

        False where nothing of it is, or will be, stored by this one: it is not in progress.
        """
        active = self._active.get(request_id)
        return active is not None and await self._saving.until_stored(active.durability)

    def cancel(self, request_id: str) -> str | None:
        """Hang up whatever exists of a call; nothing where it has ended.

        Gives why that cannot be done, where the PBX has the call and hangs none up. Then the call
        is not cancelled, and goes on.
        """
        active = self._active.get(request_id)
        if active is None:
            return None
        if (why := self._cannot_hang_up(active)) is not None:
            return why
        active.ownership = active.ownership.cancelled()
        if active.ownership.is_decided:
            job = active.call.job
            self.apply(active, Cancel(expired=job is not None and job.has_expired(self._wall())))
        return None

    def _cannot_hang_up(self, active: ActiveCall) -> str | None:
        """Why the PBX that has a call hangs none up; of one elsewhere, what its agent has said."""
        if not active.placed:
            return None
        if active.call.is_relayed:
            return active.call.cannot_hang_up
        return self._driver_of(active).cannot_hang_up(active.call.request_id)

    def hang_up_all(self) -> int:
        """Hang up whatever exists of all calls; how many there are that can be hung up."""
        going = [active for active in self._active.values() if not active.ended]
        lasting = 0
        for active in going:
            with _log.failuresHandled("a call could not be hung up; the others are"):
                why = self.cancel(active.call.request_id)
                if why is not None:
                    lasting += 1
                    _log.warn("call {call}: {why}", call=active.call.request_id, why=why)
        return len(going) - lasting

    def kill_switch_fault(self) -> Fault | None:
        """What keeps every call from being placed, where calls are stopped; None: they are not."""
        return _CALLS_STOPPED if self._are_stopped() else None

    async def cancel_anywhere(self, call: Call) -> str | None:
        """Hang up whatever exists of a call, of this process or of another.

        Returns when that survives a crash; where it cannot be stored, after a moment. Gives why it
        cannot be hung up, where its PBX hangs none up. Of a call that was given to an agent, that
        one says so; where nothing is heard of it within a moment, the cancel is passed on.
        """
        active = self._active.get(call.request_id)
        if active is not None and (active.ownership.is_decided or active.call is call):
            why = self.cancel(call.request_id)
            if why is not None:
                return why
            if active.ownership.is_decided:
                stored = Deferred.fromCoroutine(self.until_stored(call.request_id))
                with suppress(TimedOut):
                    await stored.addTimeout(_MOMENT, self._clock)
                heard = Deferred.fromCoroutine(_until_heard(active))
                with suppress(TimedOut):
                    await heard.addTimeout(_MOMENT, self._clock)
                return None if active.call.cancelled else self._cannot_hang_up(active)
        elif self._neighbours is not None:
            return await self._neighbours.cancel(call)
        return None

    # Questions

    @property
    def in_progress(self) -> int:
        """Calls that have not ended."""
        return sum(not active.ended for active in self._active.values())

    @property
    def unstored(self) -> int:
        """Calls whose end could not be stored so far: they are kept in memory until it can be."""
        return len(self._saving.unstored)

    def has_unstored(self, most: int) -> bool:
        """Whether as many ends of calls are kept in memory until they are stored.

        They could not be, or wait for a disk that hangs.
        """
        return self._has(most, lambda active: active.ended)

    def has_undecided(self, most: int) -> bool:
        """Whether of as many requests it is not known yet whether they were made before."""
        return self._has(most, lambda active: not active.ownership.is_decided)

    def _has(self, most: int, wanted: Callable[[ActiveCall], bool]) -> bool:
        return len(self._active) >= most and sum(map(wanted, self._active.values())) >= most

    @property
    def states(self) -> Mapping[CallState, int]:
        """How many calls are in each state; an ended one only until its end is stored."""
        return Counter(active.call.state for active in self._active.values())

    async def find(self, request_id: str) -> Call | None:
        """A call, in progress or ended."""
        active = self._active.get(request_id)
        if active is not None and active.ownership.is_decided:
            return active.call
        stored = await self._store.find(request_id)
        if active is None or (not active.ownership.is_decided and stored is not None):
            return stored
        return active.call  # a new one: the store has been asked meanwhile, or does not know it

    async def recent(
        self, limit: int, key_name: str | None = None, wanted: Wanted = EVERY
    ) -> list[Call]:
        """The latest calls that are wanted, newest first, as they are now."""
        calls = await self._store.recent(limit, key_name, wanted)
        return [self._as_it_is(call) for call in calls]

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
        return None if active is None or active.ended else active.changed()

    # Start and end

    def resume(self, unfinished: Sequence[Call]) -> None:
        """Take over the calls that were in progress before a restart."""
        for call in unfinished:
            active = self.begin(call)
            active.resumed()
            before_talk = call.job.seconds_before_talk if call.job is not None else 0
            admission = Admission(call.max_duration, call.max_duration + before_talk)
            pbx = call.job.pbx_name if call.job is not None else None
            active.lease = self._meter.resume(call.key, admission, call.received.at, pbx)
            driver = None if pbx is None else self._drivers.get(pbx)
            if call.plan is None:
                message = "The agent was restarted before the call was placed."
                self.apply(active, Reject((Fault(ErrorCode.INTERNAL_ERROR, message),)))
            elif driver is None:  # configured no more, so there is nobody to ask
                self.apply(active, Gone(CallEvidence(lost=True)))
            else:
                active.sent = True
                driver.adopt([active.placed_before(call.plan)])
                self._run(active, (guard_after_restart(call, self._now()),))

    def stop(self) -> None:
        """Send no orders and keep no time any more; what goes on is settled after the next start.

        Ends that could not be stored so far have a last chance.
        """
        self._closed = True
        for active in self._active.values():
            active.stop_guard()
        self._saving.close([active.durability for active in self._active.values()])

    # PbxObserver

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Take an event of a call."""
        active = self.known(request_id)
        if active is not None:
            self.apply(active, event)

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """The plan of a call whose first leg was answered, to dial its second: given once."""
        active = self._active.get(request_id)
        return None if active is None else active.may_bridge()

    def pbx_up(self, pbxs: Collection[str] | None = None) -> None:
        """Settle every call that these PBXs were given; None: that any was."""
        for name in self._drivers if pbxs is None else pbxs:
            placed = [active.call.request_id for active in self._placed_at({name})]
            if placed:
                self._drivers[name].settle(placed)

    def pbx_down(self, reason: str, pbxs: Collection[str] | None = None) -> None:
        """Note it in the story of every call that goes on there without being heard."""
        for active in self._placed_at(self._drivers if pbxs is None else pbxs):
            self.apply(active, PbxLost(reason))

    def observer_of(self, *pbxs: str) -> PbxObserver:
        """Who hears the driver of some PBXs among several, by their names."""
        return _SomePbxs(self, pbxs)

    def _placed_at(self, pbxs: Collection[str]) -> list[ActiveCall]:
        return [
            active
            for active in self._active.values()
            if active.placed and active.call.job is not None and active.call.job.pbx_name in pbxs
        ]

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
            patient = SendOriginate() not in commands and can_wait(before, active.call)
            stored = self._saving.save(active.call, active.durability, reports, patient=patient)
            self._announce(before, active.call)
            if SendOriginate() in commands:
                self._send_when(stored, active)
            active.wake()
        self._run(active, commands)

    def _run(self, active: ActiveCall, commands: Sequence[Command]) -> None:
        request_id = active.call.request_id
        for command in commands:
            match command:
                case Guard(seconds):
                    if not self._closed:
                        expired = partial(self.apply, active, GuardExpired())
                        active.guard_for(self._clock, seconds, expired)
                case HangUp():
                    self._driver_of(active).hang_up(request_id)
                case Settle():
                    if active.sent:
                        self._driver_of(active).settle([request_id])
                case TellAnswer() | SendOriginate():
                    pass  # the waiters were woken; the order goes out when the call is stored
        if active.ended:
            active.stop_guard()
        active.count(self._now())

    def _driver_of(self, active: ActiveCall) -> PbxDriver:
        job = active.call.job
        assert job is not None  # noqa: S101 - a call without a job is refused before any command
        return self._drivers[job.pbx_name]

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
            elif self._closed:
                self.apply(active, OriginateUnsent("The agent is shutting down."))
            elif self._are_stopped():
                self.apply(active, OriginateUnsent(_CALLS_STOPPED.message, _CALLS_STOPPED.code))
            elif call.job.has_expired(self._wall()):
                self.apply(active, Expire())
            elif self._now() - call.received.at > _STALE:
                message = "It took too long to store the call."
                self.apply(active, OriginateUnsent(message, ErrorCode.INTERNAL_ERROR))
            else:
                self._send(active, call, call.plan)

        def failed(failure: Failure) -> None:
            _log.failure("originate failed", failure)
            self.apply(active, OriginateUnanswered("An internal error; see the log."))

        stored.addCallback(send).addErrback(failed)

    def _send(self, active: ActiveCall, call: Call, plan: OriginatePlan) -> None:
        active.sent = True
        self._driver_of(active).originate(call.request_id, plan)
        if active.call is call:  # the PBX has its time from now on, not since it was stored
            self._run(active, (Guard(plan.timeout + GRACE),))

    def forget(self, active: ActiveCall) -> None:
        """No longer active: it is in the store, or nothing was done for it."""
        if self._active.get(active.call.request_id) is active:
            del self._active[active.call.request_id]
            self._saving.unstored.discard(active.call.request_id)
        active.wake(let_go=True)
        active.durability.let_go()

    def _announce(self, before: Call, after: Call) -> None:
        for observer in self._observers:
            try:
                observer.call_changed(before, after)
            except Exception:  # noqa: BLE001 - whatever it is, the calls go on
                _log.failure("a mistake in what follows the calls")


async def _until_heard(active: ActiveCall) -> None:
    """Wait until the agent that a call was given to has told of it; nothing for any other call."""
    while active.call.is_relayed and active.placed and active.call.pbx_response is None:
        await active.changed()


class _SomePbxs:
    """What a PBX says of itself is about its calls alone; all else goes to the dispatcher."""

    def __init__(self, dispatcher: Dispatcher, pbxs: Collection[str]) -> None:
        self._dispatcher = dispatcher
        self._pbxs = pbxs
        self.leg_event = dispatcher.leg_event
        self.may_bridge = dispatcher.may_bridge
        self.until_stored = dispatcher.until_stored
        self.has_ended = dispatcher.has_ended

    def pbx_up(self) -> None:
        """It can be reached."""
        self._dispatcher.pbx_up(self._pbxs)

    def pbx_down(self, reason: str) -> None:
        """It cannot."""
        self._dispatcher.pbx_down(reason, self._pbxs)
