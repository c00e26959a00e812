"""One call in progress: the record, whose it is, what it holds, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from c2c_agent.call.call import Call, CallState, OriginatePlan
from c2c_agent.dispatch.saving import Durability
from c2c_agent.pbx.driver import PlacedCall
from c2c_agent.policy.meter import Lease
from c2c_agent.policy.token import Token

#: States in which the first leg may still come to be answered, and the second to be dialled.
_BEFORE_BRIDGE: Final = frozenset(
    {CallState.DIALING_FIRST, CallState.FIRST_RINGING, CallState.FIRST_ANSWERED}
)


class Ownership(Enum):
    """Whose call a request is, as far as the store has said so."""

    OURS = "ours"
    UNDECIDED = "undecided"  # the store is being asked whether the request was made before
    UNWANTED = "unwanted"  # the same, and the request was cancelled meanwhile
    FOREIGN = "foreign"  # another process has it, and is to answer

    @property
    def is_decided(self) -> bool:
        """Whether the store has answered."""
        return self not in {Ownership.UNDECIDED, Ownership.UNWANTED}

    def cancelled(self) -> Ownership:
        """The same after a cancel, which is kept until it is known which call that is."""
        return self if self.is_decided else Ownership.UNWANTED


@define(eq=False)
class ActiveCall:
    """A call that is in progress, or not stored to its end yet; `Dispatcher.apply` moves it on.

    `lease` is its slot in the meter, once it was admitted.
    """

    call: Call
    ownership: Ownership = Ownership.OURS
    lease: Lease | None = None
    sent: bool = False  # the PBX was given the order
    token: Token | None = None  # with which it was asked for
    durability: Durability = field(init=False)
    _bridged: bool = False  # its second leg was given out to be dialled
    guard: IDelayedCall | None = None
    _answer_waiters: list[Deferred[None]] = field(factory=list)
    change_waiters: list[Deferred[None]] = field(factory=list)

    @property
    def ended(self) -> bool:
        """Whether it is over, and only to be stored yet."""
        return self.call.state is CallState.ENDED

    @property
    def placed(self) -> bool:
        """Whether the PBX may have it."""
        return self.sent and not self.ended

    # Whose it is

    def is_ours(self) -> bool:
        """The request was not made before: it is this process' call. Whether it is still wanted."""
        wanted = self.ownership is not Ownership.UNWANTED
        self.ownership = Ownership.OURS
        return wanted

    def was_made_before(self, earlier: Call, *, foreign: bool) -> bool:
        """It is this earlier call, perhaps of another process. Whether it is still wanted."""
        wanted = self.ownership is not Ownership.UNWANTED
        self.call = earlier
        self.ownership = Ownership.FOREIGN if foreign else Ownership.OURS
        return wanted

    # What its driver is told

    def placed_before(self, plan: OriginatePlan) -> PlacedCall:
        """What its driver is told of it after a restart."""
        answer = self.call.answer
        return PlacedCall(
            self.call.request_id,
            plan,
            self.call.first,
            self.call.second,
            answered=answer is not None,
            failed=answer is not None and bool(answer.faults),
            cancelled=self.call.cancelled,
            placed_at=None if self.call.pbx_request is None else self.call.pbx_request.at,
            response=None if self.call.pbx_response is None else self.call.pbx_response.data,
        )

    def resumed(self) -> None:
        """It was in progress before a restart; so may its second leg be."""
        self.durability.came_from_the_store()
        self._bridged = self.call.dialed_at is not None

    def may_bridge(self) -> OriginatePlan | None:
        """The plan to dial its second leg by, once; None: it may not be dialled."""
        early = self.call.state in _BEFORE_BRIDGE
        unwanted = self.call.cancelled or self.call.is_void
        if not self.sent or self._bridged or unwanted or not early:
            return None
        self._bridged = True
        return self.call.plan

    # Its slot

    def count(self, now: float) -> None:
        """Give back what it does not need any more."""
        if self.lease is None:
            return
        if not self.call.holds_slot:
            self.lease.release(dialled=self.call.was_dialled)
        if self.ended:
            self.lease.settle(self.call.answered_seconds, now)

    # Its guard

    def guard_for(self, clock: IReactorTime, seconds: float, expired: Callable[[], None]) -> None:
        """Have it looked after in so many seconds, and not before."""
        self.stop_guard()
        self.guard = clock.callLater(seconds, expired)

    def stop_guard(self) -> None:
        """Look after it no more."""
        if self.guard is not None and self.guard.active():
            self.guard.cancel()
        self.guard = None

    # Who waits for it

    def answered(self) -> Deferred[None]:
        """Fires when its answer is known, or when it is let go of without one."""
        waiter: Deferred[None] = Deferred()
        self._answer_waiters.append(waiter)
        return waiter

    def changed(self) -> Deferred[None]:
        """Fires at its next change; may be cancelled by who does not want to wait any longer."""
        waiter = Deferred[None](lambda waiter: _take_out(waiter, self.change_waiters))
        self.change_waiters.append(waiter)
        return waiter

    def wake(self, *, let_go: bool = False) -> None:
        """It has changed, or is let go of."""
        woken, self.change_waiters = self.change_waiters, []
        if self.call.answer is not None or let_go:
            woken += self._answer_waiters
            self._answer_waiters = []
        for waiter in woken:
            if not waiter.called:  # one who was woken before may have made it give up
                waiter.callback(None)


def _take_out(waiter: Deferred[None], waiters: list[Deferred[None]]) -> None:
    """Let a waiter go that has given up; it may have been taken to be woken already."""
    if waiter in waiters:
        waiters.remove(waiter)
