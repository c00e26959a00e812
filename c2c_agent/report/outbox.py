"""Tells others what became of calls: every report at least once, those of one request in order.

Reports come into the store with the change that they tell of, and stay there until a target's
reporter has delivered them; so none is lost, whatever crashes. What a target is told goes through a
lane of its own: a slow or dead target holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from c2c_agent.call.call import Call
from c2c_agent.report import delivery as report
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

#: Seconds between two counts of what waits.
_COUNT: Final = 10.0


class ReportTable(Protocol):
    """What is needed of `outbox_table.OutboxTable`."""

    def due(
        self, target: str, now: float, most: int
    ) -> Deferred[tuple[Sequence[Waiting], float | None]]:
        """What may be delivered now, and when the next one will be due."""

    def delivered(self, waiting: Waiting) -> Deferred[None]:
        """Forget a report."""

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


class Outbox(Service):
    """All lanes. It is the `ReportQueue` of the dispatcher."""

    name = "outbox"

    def __init__(
        self,
        table: ReportTable,
        reporters: Sequence[Reporter],
        *,
        server_id: str,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._reporters = reporters
        self._targets = [reporter.target for reporter in reporters]
        self._server_id = server_id
        self._now = now
        self._lanes = {
            reporter.target.name: Lane(table, reporter, clock, now) for reporter in reporters
        }
        self._depths: Mapping[str, Depth] = {}
        self._counting = LoopingCall(lambda: Deferred.fromCoroutine(self._count()))
        self._counting.clock = clock

    @property
    def depths(self) -> Mapping[str, Depth]:
        """How much waits for each target, as counted some seconds ago."""
        return {**dict.fromkeys(self._lanes, Depth()), **self._depths}

    def reports(self, before: Call, after: Call) -> Sequence[Report]:
        """What is to be told of a change, to whom."""
        told = report.reports(before, after, self._targets, server_id=self._server_id)
        # What an agent tells has happened by now, though its host's clock may be ahead.
        now = self._now()
        return [one if one.at <= now else evolve(one, at=now) for one in told]

    def wake(self) -> None:
        """Reports may have come into the store."""
        for lane in self._lanes.values():
            lane.wake()

    async def replay(self, target: str | None = None, request_id: str | None = None) -> int:
        """Send dead letters again: all, a target's, or a request's; gives how many."""
        for reporter in self._reporters:
            if target in {None, reporter.target.name}:
                reporter.revive()
        count = await self._table.replay(self._now(), target, request_id)
        self.wake()
        return count

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to deliver what has waited since the last time."""
        super().startService()
        self._counting.start(_COUNT)
        for lane in self._lanes.values():
            lane.start()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Begin nothing new; fires when what is on its way has come to its end."""
        super().stopService()
        if self._counting.running:
            self._counting.stop()
        stopped = DeferredList([lane.stop() for lane in self._lanes.values()])
        return stopped.addCallback(lambda _: None)

    async def _count(self) -> None:
        try:
            counted = await self._table.depths()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is a next time
            _log.warn("waiting reports could not be counted: {reason}", reason=str(error))
            return
        for target in counted.keys() - self._depths.keys() - self._lanes.keys():
            message = "{count} reports wait for {target}, which is configured no more"
            _log.warn(message, count=counted[target].waiting, target=target)
        self._depths = counted


class Lane:
    """The reports of one target: takes what is due, hands it on, notes what became of it."""

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
        self._running = False
        self._looking = False  # the store is being asked
        self._again = False  # something has changed meanwhile
        self._settled: set[int] = set()  # meanwhile, so that what was read of it is out of date
        self._under_way: dict[int, Waiting] = {}
        self._timer: IDelayedCall | None = None
        self._idle_waiters: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin."""
        self._running = True
        self.wake()

    def stop(self) -> Deferred[None]:
        """Begin nothing new; fires when nothing is under way any more."""
        self._running = False
        self._set_timer(None)
        idle = Deferred[None](self._idle_waiters.remove)
        self._idle_waiters.append(idle)
        self._tell_idle()
        return idle

    def wake(self) -> None:
        """Look whether something is due."""
        if self._looking:
            self._again = True
        elif self._may_look():
            self._looking = True
            Deferred.fromCoroutine(self._look())

    def _may_look(self) -> bool:
        return (
            self._running
            and self._reporter.ready()
            and len(self._under_way) < self._reporter.window
        )

    async def _look(self) -> None:
        """Take what is due, and set the clock for what will be."""
        self._again = False
        self._settled.clear()
        window = self._reporter.window
        try:
            due, next_due = await self._table.due(self._name, self._now(), window)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            _log.warn("waiting reports could not be read: {reason}", reason=str(error))
            due, next_due = (), self._now() + _RETRY
        self._looking = False
        self._set_timer(next_due)
        for waiting in due:
            known = waiting.id in self._under_way or waiting.id in self._settled
            if not known and self._may_look():
                self._begin(waiting)
        if self._again:
            self.wake()

    def _begin(self, waiting: Waiting) -> None:
        self._under_way[waiting.id] = waiting
        delivery = Deferred.fromCoroutine(self._reporter.deliver(waiting))
        delivery.addErrback(self._mistake)
        delivery.addCallback(partial(self._settle, waiting))

    def _mistake(self, failure: object) -> Delivery:
        _log.failure("reporting to {target} failed", failure, target=self._name)  # type: ignore[arg-type]
        return Later("an internal error; the agent's log has more", _RETRY)

    def _settle(self, waiting: Waiting, delivery: Delivery) -> None:
        """Note in the store what became of a report; until that is durable it is under way."""
        noted = self._noted(waiting, delivery)

        def done(_: object) -> None:
            del self._under_way[waiting.id]
            self._settled.add(waiting.id)
            self._tell_idle()
            self.wake()

        def failed(failure: object) -> None:
            _log.warn("a report to {target} could not be settled", target=self._name)
            if self._running:
                self._clock.callLater(_RETRY, self._settle, waiting, delivery)
            else:
                done(failure)

        noted.addCallbacks(done, failed)

    def _noted(self, waiting: Waiting, delivery: Delivery) -> Deferred[None]:
        match delivery:
            case Delivered():
                return self._table.delivered(waiting)
            case Later():
                due_at = self._now() + delivery.seconds
                return self._table.postpone(
                    waiting, due_at, delivery.reason, counted=delivery.counted
                )
            case Refused():
                _log.warn(
                    "{target} was not told {type} of call {call}: {reason}",
                    target=self._name,
                    type=waiting.report.type,
                    call=waiting.report.request_id,
                    reason=delivery.reason,
                )
                return self._table.bury(waiting, self._now(), delivery.reason)

    def _set_timer(self, due_at: float | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if due_at is not None and self._running:
            self._timer = self._clock.callLater(max(0.0, due_at - self._now()), self.wake)

    def _tell_idle(self) -> None:
        if not self._under_way and not self._running:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                waiter.callback(None)
