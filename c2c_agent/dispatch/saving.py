"""Calls on their way into the store: what is durable, what could not be stored, and who waits.

A change that the store does not take is tried again with the whole call, later each time, until the
store has it. Reports of changes go with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.call.call import Call, CallState
from c2c_agent.report.delivery import Report
from c2c_agent.store.call_store import CallStore

_log = Logger()

#: Seconds until a call that could not be stored (a full disk, for instance) is tried again: at
#: first, and at most. Each time it is twice as long.
_RETRY: Final = 5.0
_LONGEST_RETRY: Final = 80.0


class ReportQueue(Protocol):
    """Who tells others of calls."""

    def reports(self, before: Call, after: Call) -> Sequence[Report]:
        """What is to be told of a change."""

    def stored(self, call: Call, reports: Sequence[Report]) -> None:
        """The store has a call, and the reports of its change."""

    def owed(self, call: Call) -> None:
        """The store could not take a call: its reports come later, with another change."""

    def wake(self) -> None:
        """Reports may have come into the store."""


def can_wait(before: Call, call: Call) -> bool:
    """Whether a change may be lost: all but a call's end can be settled with the PBX again.

    Where the second leg's end was stored (SecondEnded), the call's end follows from that.
    """
    return call.state is not CallState.ENDED or before.second.ended_at is not None


@define(eq=False)
class Durability:
    """How far the store has one call. `end_stored` is called when it has its end."""

    call: Call  # as it was given to the store last
    end_stored: Callable[[], None]
    _given: int = 0  # how often it was
    _durable: int = 0  # the latest of these that the store has
    _refused: int = 0  # the latest of these that it could not take
    _retry: IDelayedCall | None = None  # of storing it
    _retry_after: float = _RETRY
    _waiters: list[tuple[int, Deferred[bool]]] = field(factory=list)
    _let_go: bool = False

    def came_from_the_store(self) -> None:
        """It is there as it is: it was in progress before a restart."""
        self._given = self._durable = 1

    def give(self, call: Call) -> int:
        """The call is given to the store; the number of this."""
        self.call = call
        self._given += 1
        return self._given

    def take(self, number: int) -> None:
        """The store has it as it was given then."""
        self._durable = max(self._durable, number)
        self.stop_retry()
        self._retry_after = _RETRY
        self._wake(self._durable)

    def refuse(self, number: int) -> None:
        """The store could not take it as it was given then."""
        self._refused = number

    @property
    def was_given(self) -> bool:
        """Whether something of it was given to the store."""
        return bool(self._given)

    @property
    def is_stored(self) -> bool:
        """Whether the store has it as it is; something of it has to be there."""
        return self._durable >= max(1, self._given)

    @property
    def is_refused(self) -> bool:
        """Whether the store could not take it as it is."""
        return 0 < self._given == self._refused

    @property
    def is_behind(self) -> bool:
        """Whether the store has refused something since it took it last."""
        return self._refused > self._durable

    def wait(self) -> Deferred[bool]:
        """Fires when the store has it as it is now; with False where it never will."""
        waiter: Deferred[bool] = Deferred()
        self._waiters.append((max(1, self._given), waiter))
        return waiter

    def let_go(self) -> None:
        """Nothing of it is waited for any more."""
        self._let_go = True
        self._wake(None)

    @property
    def is_let_go(self) -> bool:
        """Whether nothing of it is waited for any more."""
        return self._let_go

    def retry(self, clock: IReactorTime, save: Callable[[], object]) -> None:
        """Have it tried again, unless it is to be already.

        Also on the way: the next change stores the whole call anew, but it may come after an hour's
        talk, and until then nobody would be told of this one.
        """
        if self._retry is None or not self._retry.active():
            self._retry = clock.callLater(self._retry_after, save)
            self._retry_after = min(self._retry_after * 2, _LONGEST_RETRY)

    def stop_retry(self) -> bool:
        """Try it no more; whether that was to be done."""
        retry, self._retry = self._retry, None
        if retry is None or not retry.active():
            return False
        retry.cancel()
        return True

    def _wake(self, number: int | None) -> None:
        """Wake who waits for a change up to this one; None: none will be durable any more."""
        waiting, self._waiters = self._waiters, []
        for wanted, waiter in waiting:
            if number is None or wanted <= number:
                waiter.callback(number is not None)
            else:
                self._waiters.append((wanted, waiter))


class Saving:
    """Gives calls to the store, and tries again what it could not take.

    `unstored` are the requests of calls whose end could not be stored so far.
    """

    def __init__(
        self, store: CallStore, clock: IReactorTime, outbox: ReportQueue | None = None
    ) -> None:
        self.unstored: set[str] = set()
        self._store = store
        self._clock = clock
        self._outbox = outbox
        self._closed = False

    def save(
        self,
        call: Call,
        durability: Durability,
        reports: Sequence[Report] = (),
        *,
        patient: bool = False,
    ) -> Deferred[bool]:
        """Store a call as it is now, and what is to be told of it; whether that worked."""
        ended = call.state is CallState.ENDED
        number = durability.give(call)

        def kept(_: None) -> bool:
            if self._outbox is not None:
                self._outbox.stored(call, reports)
                if durability.is_behind:
                    # With it come the reports of the attempts that failed.
                    self._outbox.wake()
            durability.take(number)
            if ended:
                durability.end_stored()
            return True

        def failed(failure: Failure) -> bool:
            reason = failure.getErrorMessage()
            durability.refuse(number)
            if self._outbox is not None:
                self._outbox.owed(call)
            _log.error(
                "call {call} could not be stored: {reason}", call=call.request_id, reason=reason
            )
            if ended and not durability.is_let_go:
                self.unstored.add(call.request_id)
            if not self._closed:
                durability.retry(self._clock, lambda: self._again(durability))
            return False

        saved = self._store.save(call, reports, patient=patient)
        return saved.addCallbacks(kept, failed)

    def _again(self, durability: Durability) -> Deferred[bool]:
        return self.save(durability.call, durability)

    async def until_stored(self, durability: Durability) -> bool:
        """Wait until the store has a call as it is now; False where it never will."""
        if durability.is_stored:
            return True
        waiter = durability.wait()
        if durability.is_refused:
            self._again(durability)  # it would be tried again by itself, but that may be late
        self._store.hurry()
        return await waiter

    def close(self, going: Sequence[Durability]) -> None:
        """Try nothing again any more; what was to be tried has a last chance, at once."""
        self._closed = True
        for durability in going:
            if durability.stop_retry():
                self._again(durability)
