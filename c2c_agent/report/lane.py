"""The way to one target: what is told next, what is under way, and what became of it.

A report that has just come into the store is told from memory. What has waited there (from before
the start, while the target could not be reached, or after an attempt that failed) is read from it,
each request's reports together. The reports of a request go out one after the other: the next when
the target has the one before. What was delivered is deleted with others a moment later, so what a
crash comes between is told once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from c2c_agent.report.delivery import (
    Delivered,
    Delivery,
    Depth,
    Later,
    Refused,
    Report,
    Reporter,
    Waiting,
)

_log = Logger()

#: Seconds until the store is asked again where it could not be read or written.
_RETRY: Final = 5.0

#: Seconds that a report which was delivered waits to be deleted with others, and how many at most
#: one transaction deletes.
_LINGER: Final = 0.2
_BATCH: Final = 200

#: Requests of which something may wait in memory, beside those that the store is asked for.
_MOST_FRESH: Final = 1000

#: Reports that may wait to be deleted where the store takes nothing; beyond that none is told.
_MOST_DELIVERED: Final = 10_000


class ReportTable(Protocol):
    """What is needed of `outbox_table.OutboxTable`."""

    def due(
        self, target: str, now: float, most: int
    ) -> Deferred[tuple[Sequence[Waiting], float | None]]:
        """What may be delivered now, of so many requests, and when the next one will be due."""

    def delivered(self, target: str, event_ids: Collection[str]) -> Deferred[None]:
        """Forget reports."""

    def postpone(
        self, waiting: Waiting, due_at: float, reason: str, *, counted: bool
    ) -> Deferred[None]:
        """Try again at `due_at`."""

    def bury(self, waiting: Waiting, now: float, reason: str) -> Deferred[None]:
        """Give a report up."""

    def replay(
        self, now: float, target: str | None = None, request_id: str | None = None
    ) -> Deferred[int]:
        """Let dead letters be due again."""

    def depths(self) -> Deferred[dict[str, Depth]]:
        """How much there is, by target."""


@frozen
class Trouble:
    """Why a target is not told at present, and since when."""

    reason: str
    since: float  # epoch seconds


class Lane:
    """The reports of one target: takes what is due, hands it on, notes what became of it.

    The first failure is a line in the log, and so is the end of the trouble; those between are not.
    """

    def __init__(
        self,
        table: ReportTable,
        reporter: Reporter,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._reporter = reporter
        self._name = reporter.target.name
        self._clock = clock
        self._now = now
        self.trouble: Trouble | None = None
        self._running = False
        self._looking = False  # the store is being asked
        self._again = False  # something has changed meanwhile
        self._more = False  # the store has more than was asked for
        self._settled: set[str] = set()  # meanwhile, so that what was read of it is out of date
        self._put_off: set[str] = set()  # requests that were, meanwhile
        self._noting: set[str] = set()  # requests that the store is being told to put off
        self._fresh: set[str] = set()  # requests of which all was told from memory so far
        self._waiting: dict[str, deque[Waiting]] = {}  # by request, none of them empty
        self._turns: deque[str] = deque()  # requests whose next report may begin
        self._under_way: dict[str, Waiting] = {}  # by request
        self._delivered: dict[str, str] = {}  # requests by event: the store has them still
        self._deleting = False
        self._timer: IDelayedCall | None = None  # until something is due
        self._linger: IDelayedCall | None = None  # until what was delivered is deleted
        self._idle_waiters: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin."""
        self._running = True
        self.wake()

    def stop(self) -> Deferred[None]:
        """Begin nothing new; fires when nothing is under way any more, and the store knows it."""
        self._running = False
        self._set_timer(None)
        idle = Deferred[None](self._idle_waiters.remove)
        self._idle_waiters.append(idle)
        self._delete()
        self._tell_idle()
        return idle

    # What there is to tell

    def begin(self, request_id: str) -> None:
        """A request begins: the store has nothing to tell of it."""
        self._fresh.add(request_id)

    def end(self, request_id: str) -> None:
        """Nothing more is to be told of a request than what was; or not from memory."""
        self._fresh.discard(request_id)

    def tell(self, report: Report) -> None:
        """A report has come into the store, behind all that is told of its request."""
        if report.request_id in self._fresh and self._may_begin() and not self._is_full():
            self._append(Waiting(report))
            self._fill()
        else:
            self._fresh.discard(report.request_id)
            self.wake()

    def wake(self) -> None:
        """Go on, and look whether something is due in the store."""
        self._fill()
        if self._looking:
            self._again = True
        elif self._has_enough():
            self._more = True
        elif self._may_begin():
            self._looking = True
            Deferred.fromCoroutine(self._look())

    def _may_begin(self) -> bool:
        return self._running and self._reporter.ready() and len(self._delivered) < _MOST_DELIVERED

    def _has_enough(self) -> bool:
        """Whether enough waits in memory, so that the store need not be asked."""
        return len(self._turns) >= self._reporter.window

    def _is_full(self) -> bool:
        return len(self._waiting) >= _MOST_FRESH

    async def _look(self) -> None:
        """Take what is due, and set the clock for what will be."""
        self._again = False
        self._settled.clear()
        self._put_off = set(self._noting)
        # What is known already may stand before what is not.
        known = {*self._waiting, *self._under_way, *self._delivered.values()}
        most = len(known) + 2 * self._reporter.window
        try:
            due, next_due = await self._table.due(self._name, self._now(), most)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            _log.warn("waiting reports could not be read: {reason}", reason=str(error))
            due, next_due = (), self._now() + _RETRY
        self._looking = False
        self._set_timer(next_due)
        self._more = len({waiting.report.request_id for waiting in due}) == most
        known = {*self._delivered, *self._settled}
        for waiting in chain(self._under_way.values(), *self._waiting.values()):
            known.add(waiting.report.event_id)
        for waiting in due:
            report = waiting.report
            if report.event_id not in known and report.request_id not in self._put_off:
                self._append(waiting)
        self._fill()
        if self._again:
            self.wake()

    def _append(self, waiting: Waiting) -> None:
        """Have it told after what is known of its request."""
        request_id = waiting.report.request_id
        if request_id in self._waiting:
            self._waiting[request_id].append(waiting)
            return
        self._waiting[request_id] = deque([waiting])
        if request_id not in self._under_way:
            self._turns.append(request_id)

    def _fill(self) -> None:
        """Begin what may be begun."""
        while self._turns and len(self._under_way) < self._reporter.window and self._may_begin():
            request_id = self._turns.popleft()
            waiting = self._under_way[request_id] = self._next(request_id)
            delivery = Deferred.fromCoroutine(self._reporter.deliver(waiting))
            delivery.addErrback(self._mistake)
            delivery.addCallback(partial(self._settle, waiting))
        if self._more and not self._has_enough():
            self._more = False
            self.wake()

    def _next(self, request_id: str) -> Waiting:
        queue = self._waiting[request_id]
        waiting = queue.popleft()
        if not queue:
            del self._waiting[request_id]
        return waiting

    def _mistake(self, failure: object) -> Delivery:
        _log.failure("reporting to {target} failed", failure, target=self._name)  # type: ignore[arg-type]
        return Later("an internal error; the agent's log has more", _RETRY)

    # What became of it

    def _settle(self, waiting: Waiting, delivery: Delivery) -> None:
        self._note_trouble(delivery)
        if isinstance(delivery, Delivered):
            self._over(waiting)
            self._delivered[waiting.report.event_id] = waiting.report.request_id
            if not self._running or len(self._delivered) >= _BATCH:
                self._delete()
            elif self._linger is None and not self._deleting:
                self._linger = self._clock.callLater(_LINGER, self._delete)
            self._fill()
        else:
            # What comes after it waits with it, in the store.
            request_id = waiting.report.request_id
            self._fresh.discard(request_id)
            self._waiting.pop(request_id, None)
            self._noting.add(request_id)
            self._put_off.add(request_id)
            self._note(waiting, delivery)

    def _note_trouble(self, delivery: Delivery) -> None:
        """Have the log say when telling the target begins to fail, and when it works again."""
        trouble = self.trouble
        if isinstance(delivery, Delivered):
            self.trouble = None
            if trouble is not None:
                _log.info(
                    "reports to {target} arrive again, after {seconds:.0f} s",
                    target=self._name,
                    seconds=max(0.0, self._now() - trouble.since),
                )
            return
        since = self._now() if trouble is None else trouble.since
        self.trouble = Trouble(delivery.reason, since)
        if trouble is None and isinstance(delivery, Later):
            _log.warn(
                "reports to {target} fail, and are tried again: {reason}",
                target=self._name,
                reason=delivery.reason,
            )

    def _over(self, waiting: Waiting) -> None:
        """It is no longer under way."""
        request_id = waiting.report.request_id
        del self._under_way[request_id]
        self._settled.add(waiting.report.event_id)
        if request_id in self._waiting:
            self._turns.append(request_id)

    def _note(self, waiting: Waiting, delivery: Later | Refused) -> None:
        """Note in the store what became of a report; until that is durable it is under way."""

        def done(_: object) -> None:
            self._noting.discard(waiting.report.request_id)
            self._over(waiting)
            self._tell_idle()
            self.wake()

        def failed(failure: object) -> None:
            _log.warn("a report to {target} could not be settled", target=self._name)
            if self._running:
                self._clock.callLater(_RETRY, self._note, waiting, delivery)
            else:
                done(failure)

        self._noted(waiting, delivery).addCallbacks(done, failed)

    def _noted(self, waiting: Waiting, delivery: Later | Refused) -> Deferred[None]:
        match delivery:
            case Later():
                due_at = self._now() + delivery.seconds
                return self._table.postpone(
                    waiting, due_at, delivery.reason, counted=delivery.counted
                )
            case Refused():
                _log.warn(
                    "{target}: the report {type} of call {call} was given up: {reason}",
                    target=self._name,
                    type=waiting.report.type,
                    call=waiting.report.request_id,
                    reason=delivery.reason,
                )
                return self._table.bury(waiting, self._now(), delivery.reason)

    def _delete(self) -> None:
        """Have the store forget what was delivered, all together."""
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        self._linger = None
        if self._deleting or not self._delivered:
            return
        batch = list(islice(self._delivered, _BATCH))
        self._deleting = True

        def done(_: object) -> None:
            self._deleting = False
            were_too_many = len(self._delivered) >= _MOST_DELIVERED
            for event_id in batch:
                del self._delivered[event_id]
            self._settled.update(batch)
            self._delete()
            self._tell_idle()
            if were_too_many:
                self.wake()

        def failed(_: object) -> None:
            self._deleting = False
            _log.warn("reports to {target} could not be settled", target=self._name)
            if self._running:
                self._linger = self._clock.callLater(_RETRY, self._delete)
            else:  # they are told once more after the next start
                self._delivered.clear()
                self._tell_idle()

        self._table.delivered(self._name, batch).addCallbacks(done, failed)

    def _set_timer(self, due_at: float | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if due_at is not None and self._running:
            self._timer = self._clock.callLater(max(0.0, due_at - self._now()), self.wake)

    def _tell_idle(self) -> None:
        if not self._under_way and not self._delivered and not self._running:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                waiter.callback(None)
