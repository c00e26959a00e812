"""Tells others what became of calls: every report at least once, those of one request in order.

Reports come into the store with the change that they tell of, and stay there until a target's
reporter has delivered them; so none is lost, whatever crashes. What a target is told goes through a
`lane` of its own: a slow or dead target holds up nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from c2c_agent.call.call import Call, CallState
from c2c_agent.report import delivery as report
from c2c_agent.report.delivery import Depth, Report, Reporter
from c2c_agent.report.lane import Lane, ReportTable, Trouble

_log = Logger()

#: Seconds between two counts of what waits.
_COUNT: Final = 10.0


@frozen
class Standing:
    """How it stands with one target; `trouble` None: the last report reached it."""

    target: str
    depth: Depth
    trouble: Trouble | None


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
        if before.state is CallState.ACCEPTED and after.state is CallState.DIALING_FIRST:
            for lane in self._lanes.values():
                lane.begin(after.request_id)
        told = report.reports(before, after, self._targets, server_id=self._server_id)
        # What an agent tells has happened by now, though its host's clock may be ahead.
        now = self._now()
        return [one if one.at <= now else evolve(one, at=now) for one in told]

    def stored(self, call: Call, reports: Sequence[Report]) -> None:
        """The store has a call, and the reports of its change."""
        for one in reports:
            self._lanes[one.target].tell(one)
        if call.state is CallState.ENDED:
            self._not_from_memory(call.request_id)

    def owed(self, call: Call) -> None:
        """The store could not take a call: its reports come later, with another change."""
        self._not_from_memory(call.request_id)

    def _not_from_memory(self, request_id: str) -> None:
        for lane in self._lanes.values():
            lane.end(request_id)

    def wake(self) -> None:
        """Reports may have come into the store."""
        for lane in self._lanes.values():
            lane.wake()

    async def standing(self) -> list[Standing]:
        """How it stands with each target: what waits, what was given up, what fails."""
        depths = {**dict.fromkeys(self._lanes, Depth()), **await self._table.depths()}
        return [
            Standing(name, depth, self._lanes[name].trouble if name in self._lanes else None)
            for name, depth in depths.items()
        ]

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
