"""The calls of other processes, where several share a store: watched, waited for, and cancelled.

What such a call is at, the store says. When to look at it again, the other processes tell
(`postgres`); nothing of it is kept here but who waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from c2c_agent.call.call import Answer, Call, CallState
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.pbx.driver import PbxDriver, PlacedCall

_log = Logger()

_SILENT: Final = "The process that has this request has not answered in time; its status tells."


class SharedStore(Protocol):
    """What is needed of `postgres.PostgresStore`."""

    def find(self, request_id: str) -> Deferred[Call | None]:
        """The call of a request."""

    def ask_to_cancel(self, request_id: str) -> Deferred[None]:
        """Tell the process that has a call to end it."""


class Neighbours:
    """The other processes. `answer_timeout`: seconds that one of them has to answer a request."""

    def __init__(
        self,
        store: SharedStore,
        drivers: Mapping[str, PbxDriver],
        *,
        answer_timeout: float,
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._answer_timeout = answer_timeout
        self._clock = clock
        self._waiting: dict[str, list[Deferred[None]]] = {}
        #: Who is told of every change: `(request_id, key_name)`.
        self.observers: list[Callable[[str, str], None]] = []
        #: Who is told that any may have been missed.
        self.missed_observers: list[Callable[[], None]] = []

    # What is heard of them

    def changed_elsewhere(self, request_id: str, key_name: str) -> None:
        """A call of another process has changed, and the store has it."""
        self._wake(request_id)
        for observer in self.observers:
            with _log.failuresHandled("a mistake in what follows the calls of others"):
                observer(request_id, key_name)

    def missed(self) -> None:
        """Any of them may have changed: all who wait have to look again."""
        for request_id in list(self._waiting):
            self._wake(request_id)
        for observer in self.missed_observers:
            with _log.failuresHandled("a mistake in what follows the calls of others"):
                observer()

    def changed(self, request_id: str) -> Deferred[None]:
        """Fires at the next change of such a call; look at it only after this was asked.

        The Deferred may be cancelled by who does not want to wait any longer.
        """
        waiter = Deferred[None](partial(self._give_up, request_id))
        self._waiting.setdefault(request_id, []).append(waiter)
        return waiter

    # What is wanted of them

    async def answered(self, call: Call) -> Call:
        """A call with the answer to its request, as soon as the process that has it knows one."""
        deadline = self._clock.seconds() + self._answer_timeout
        while True:
            changed = self.changed(call.request_id)
            try:
                call = await self._store.find(call.request_id) or call
                left = deadline - self._clock.seconds()
                if call.answer is not None or left <= 0:
                    break
                await changed.addTimeout(left, self._clock, onTimeoutCancel=_let_pass)
            except CancelledError:
                continue  # to look a last time
            finally:
                changed.addErrback(_let_go).cancel()
        if call.answer is None:
            fault = Fault(ErrorCode.PBX_UNAVAILABLE, _SILENT)
            return evolve(call, answer=Answer((fault,)))
        return call

    async def cancel(self, call: Call) -> None:
        """Hang up whatever exists of a call, whether the process that has it is alive or not."""
        if call.state is CallState.ENDED:
            return
        await self._store.ask_to_cancel(call.request_id)
        driver = self._drivers.get(call.job.pbx) if call.job is not None else None
        if driver is not None and call.plan is not None:
            asked, said = call.pbx_request, call.pbx_response
            placed = PlacedCall(
                call.request_id,
                call.plan,
                call.first,
                call.second,
                placed_at=None if asked is None else asked.at,
                response=None if said is None else said.data,
            )
            driver.hang_up_foreign(placed)

    def _wake(self, request_id: str) -> None:
        for waiter in self._waiting.pop(request_id, []):
            if not waiter.called:  # one who was woken before may have made it give up
                waiter.callback(None)

    def _give_up(self, request_id: str, waiter: Deferred[None]) -> None:
        waiters = self._waiting.get(request_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[request_id]


def _let_pass(failure: Any, _seconds: float) -> Any:
    """Leave a Deferred that took too long as it is: cancelled."""
    return failure


def _let_go(failure: Any) -> None:
    failure.trap(CancelledError)
