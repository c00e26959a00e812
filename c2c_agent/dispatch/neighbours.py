"""The calls of other processes, where several share a store: watched, waited for, and cancelled.

What such a call is at, the store says. When to look at it again, the other processes tell
(`postgres`), once the store knows that somebody waits; nothing of it is kept here but who does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.call.call import Answer, Call, CallState
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.pbx.driver import PbxDriver, PlacedCall

_log = Logger()

#: Seconds for which a call is watched that nobody waits for any more: who looks at it again and
#: again waits soon again.
_LINGER: Final = 10.0

_SILENT: Final = "The process that has this request has not answered in time; its status tells."


class SharedStore(Protocol):
    """What is needed of `postgres.PostgresStore`."""

    def find(self, request_id: str) -> Deferred[Call | None]:
        """The call of a request."""

    def ask_to_cancel(self, request_id: str) -> Deferred[None]:
        """Tell the process that has a call to end it."""

    def watch(self, subject: str, request_id: str | None = None) -> Deferred[None]:
        """Hear of what others do with calls; with `request_id`, what came before is to be seen."""

    def unwatch(self, subject: str) -> Deferred[None]:
        """Hear of it no more."""


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
        self._followed: set[str] = set()  # requests
        self._watched: dict[str, IDelayedCall | None] = {}  # by request; what ends that
        #: Who is told of every change: `(request_id, key_name)`.
        self.observers: list[Callable[[str, str], None]] = []
        #: Who is told that any may have been missed.
        self.missed_observers: list[Callable[[], None]] = []

    # What is heard of them

    def changed_elsewhere(self, request_id: str, key_name: str) -> None:
        """A call of another process has changed, and the store has it."""
        self._wake(request_id)
        self._tell(request_id, key_name)

    def _tell(self, request_id: str, key_name: str) -> None:
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
        self._watch(request_id)
        return waiter

    # What the store is told of it

    def follow(self, subject: str) -> None:
        """Hear of calls that are followed otherwise: `key <name>`, or `all`."""
        self._store.watch(subject).addErrback(_not_watched, subject)

    def unfollow(self, subject: str) -> None:
        """Hear of these no more."""
        self._store.unwatch(subject).addErrback(_not_watched, subject)

    def follow_request(self, request_id: str) -> None:
        """Hear of a call until nobody follows it: what happens from now on, and whatever before."""
        self._followed.add(request_id)
        self._watch(request_id)

    def unfollow_request(self, request_id: str) -> None:
        """Nobody follows it any more."""
        self._followed.discard(request_id)
        self._let_go(request_id)

    def _watch(self, request_id: str) -> None:
        if request_id not in self._watched:
            watching = self._store.watch(f"request {request_id}", request_id)
            watching.addErrback(_not_watched, request_id)
            watching.addCallback(lambda _: self._is_watched(request_id))
        elif (until := self._watched[request_id]) is not None:
            until.cancel()
        self._watched[request_id] = None

    def _is_watched(self, request_id: str) -> None:
        """What happened before was heard by nobody: so who waits looks once more."""
        self._wake(request_id)
        if request_id in self._followed:
            self._tell(request_id, "")

    def _let_go(self, request_id: str) -> None:
        """Watch a call no more in a while, unless somebody waits for it again, or follows it."""
        waited_for = request_id in self._waiting or request_id in self._followed
        if not waited_for and self._watched.get(request_id, self) is None:
            self._watched[request_id] = self._clock.callLater(_LINGER, self._unwatch, request_id)

    def _unwatch(self, request_id: str) -> None:
        del self._watched[request_id]
        self.unfollow(f"request {request_id}")

    def stop(self) -> None:
        """Watch nothing any more; the store forgets by itself what this process waited for."""
        for until in self._watched.values():
            if until is not None:
                until.cancel()
        self._watched.clear()

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
                changed.addErrback(_gave_up).cancel()
        if call.answer is None:
            fault = Fault(ErrorCode.PBX_UNAVAILABLE, _SILENT)
            return evolve(call, answer=Answer((fault,)))
        return call

    async def cancel(self, call: Call) -> str | None:
        """Hang up whatever exists of a call, whether the process that has it is alive or not.

        Gives why that cannot be done, where its PBX hangs none up, as far as that is known.
        """
        if call.state is CallState.ENDED:
            return None
        if call.cannot_hang_up is not None:
            return call.cannot_hang_up
        await self._store.ask_to_cancel(call.request_id)
        driver = self._drivers.get(call.job.pbx_name) if call.job is not None else None
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
        return None

    def _wake(self, request_id: str) -> None:
        for waiter in self._waiting.pop(request_id, []):
            if not waiter.called:  # one who was woken before may have made it give up
                waiter.callback(None)
        self._let_go(request_id)

    def _give_up(self, request_id: str, waiter: Deferred[None]) -> None:
        waiters = self._waiting.get(request_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[request_id]
                self._let_go(request_id)


def _let_pass(failure: Any, _seconds: float) -> Any:
    """Leave a Deferred that took too long as it is: cancelled."""
    return failure


def _gave_up(failure: Any) -> None:
    failure.trap(CancelledError)


def _not_watched(failure: Failure, subject: str) -> None:
    message = "the store could not be told whether {subject} is waited for: {reason}"
    _log.warn(message, subject=subject, reason=failure.getErrorMessage())
