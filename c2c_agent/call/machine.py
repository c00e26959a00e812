"""One call from its request to its one final outcome: a pure, total state machine.

`step(call, event, now)` gives the call as it is afterwards and the commands to carry out. There is
no clock, no I/O and no Twisted in it; the dispatcher stores the new call, then carries out the
commands. Two rules:

    1. Every pair of state and event stands in the table. Late and repeated events are listed as
       such and change nothing. Nor do those that can never come, which are told as a breach of the
       driver's contract; a pair that is not listed raises.
    2. Nothing leads out of ENDED, and only ENDED has an outcome.

    accepted ─> dialing_first ─> first_ringing ─> first_answered ─> dialing_second
                                                    ─> second_ringing ─> connected ─> ended

Any state may be skipped (a phone may answer without ringing) and any may go to ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from c2c_agent.call import transitions as to
from c2c_agent.call.call import Call, CallState
from c2c_agent.call.events import (
    Cancel,
    Event,
    Expire,
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    Guard,
    GuardExpired,
    NotHungUp,
    OriginateAccepted,
    OriginateFailed,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    PbxLost,
    Place,
    Reject,
    Relayed,
    SecondAnswered,
    SecondDialed,
    SecondEnded,
    SecondRinging,
)
from c2c_agent.call.transitions import GRACE, Step
from c2c_agent.errors import C2CError


class UnlistedTransitionError(C2CError):
    """A state and an event that the table does not have: a mistake in this module."""


def step(call: Call, event: Event, now: float) -> Step:
    """The call after `event` at `now` (seconds), and the commands; pure."""
    try:
        transition = TABLE[type(event)][call.state]
    except KeyError:
        raise UnlistedTransitionError(f"{type(event).__name__} in {call.state}") from None
    return transition(call, event, now)


def guard_after_restart(call: Call, now: float) -> Guard:
    """The guard of a call that was in progress before a restart: what is left of the one before.

    The PBX is asked for it at once, where it can be; until its time is over, that is enough.
    """
    begun, seconds = _limit(call)
    left = seconds if begun is None else min(seconds, begun + seconds - now)
    return Guard(max(0.0, left) + GRACE)


def _limit(call: Call) -> tuple[float | None, float]:
    """Since when a call is where it is, if that is known, and for how long it may be."""
    if call.state is CallState.CONNECTED:
        return call.second.answered_at, call.max_duration
    if call.plan is None:
        return None, 0.0
    match call.state:
        case CallState.FIRST_ANSWERED:
            return call.first.answered_at, call.plan.confirm_seconds
        case CallState.DIALING_SECOND | CallState.SECOND_RINGING:
            return call.dialed_at, call.plan.timeout
        case _:
            placed_at = call.pbx_request.at if call.pbx_request is not None else None
            return placed_at, call.plan.timeout


# The table


def _row(
    *,
    accepted: Callable[..., Step],
    dialing_first: Callable[..., Step],
    first_ringing: Callable[..., Step],
    first_answered: Callable[..., Step],
    dialing_second: Callable[..., Step],
    second_ringing: Callable[..., Step],
    connected: Callable[..., Step],
    ended: Callable[..., Step],
) -> Mapping[CallState, Callable[..., Step]]:
    """One event's transition in each state; a state cannot be forgotten."""
    return {CallState(name): transition for name, transition in locals().items()}


def _in_progress(
    transition: Callable[..., Step],
    *,
    accepted: Callable[..., Step] = to.never,
    connected: Callable[..., Step] | None = None,
    ended: Callable[..., Step] = to.late,
) -> Mapping[CallState, Callable[..., Step]]:
    """The same transition in every state in which the PBX has the call."""
    return _row(
        accepted=accepted,
        dialing_first=transition,
        first_ringing=transition,
        first_answered=transition,
        dialing_second=transition,
        second_ringing=transition,
        connected=connected or transition,
        ended=ended,
    )


def _before_the_order(transition: Callable[..., Step]) -> Mapping[CallState, Callable[..., Step]]:
    """A transition of calls whose order did not leave; they may have got as far as being stored."""
    return _row(
        accepted=transition,
        dialing_first=transition,
        first_ringing=to.never,
        first_answered=to.never,
        dialing_second=to.never,
        second_ringing=to.never,
        connected=to.never,
        ended=to.late,
    )


TABLE: Final[Mapping[type, Mapping[CallState, Callable[..., Step]]]] = {
    Place: _in_progress(to.repeated, accepted=to.place),
    Reject: _in_progress(to.late, accepted=to.reject),
    Expire: _before_the_order(to.expire),
    Cancel: _in_progress(to.cancel, accepted=to.cancel_unplaced),
    GuardExpired: _in_progress(to.ask, connected=to.too_long),
    OriginateAccepted: _in_progress(to.accepted),
    OriginateRefused: _row(
        accepted=to.never,
        dialing_first=to.refused,
        first_ringing=to.never,
        first_answered=to.never,
        dialing_second=to.never,
        second_ringing=to.never,
        connected=to.never,
        ended=to.late,
    ),
    OriginateFailed: _in_progress(to.failed),
    OriginateUnsent: _before_the_order(to.unsent),
    OriginateUnanswered: _in_progress(to.unanswered),
    FirstRinging: _row(
        accepted=to.never,
        dialing_first=to.first_ringing,
        first_ringing=to.repeated,
        first_answered=to.late,
        dialing_second=to.late,
        second_ringing=to.late,
        connected=to.late,
        ended=to.late,
    ),
    FirstAnswered: _row(
        accepted=to.never,
        dialing_first=to.first_answered,
        first_ringing=to.first_answered,
        first_answered=to.repeated,
        dialing_second=to.late,
        second_ringing=to.late,
        connected=to.late,
        ended=to.late,
    ),
    SecondDialed: _row(
        accepted=to.never,
        dialing_first=to.second_dialed,
        first_ringing=to.second_dialed,
        first_answered=to.second_dialed,
        dialing_second=to.repeated,
        second_ringing=to.late,
        connected=to.late,
        ended=to.late,
    ),
    SecondRinging: _row(
        accepted=to.never,
        dialing_first=to.second_ringing,
        first_ringing=to.second_ringing,
        first_answered=to.second_ringing,
        dialing_second=to.second_ringing,
        second_ringing=to.repeated,
        connected=to.late,
        ended=to.late,
    ),
    SecondAnswered: _row(
        accepted=to.never,
        dialing_first=to.second_answered,
        first_ringing=to.second_answered,
        first_answered=to.second_answered,
        dialing_second=to.second_answered,
        second_ringing=to.second_answered,
        connected=to.repeated,
        ended=to.late,
    ),
    SecondEnded: _row(
        accepted=to.never,
        dialing_first=to.never,
        first_ringing=to.never,
        first_answered=to.second_ended,
        dialing_second=to.second_ended,
        second_ringing=to.second_ended,
        connected=to.second_ended,
        ended=to.late,
    ),
    Relayed: _in_progress(to.relayed),
    NotHungUp: _in_progress(to.not_hung_up),
    PbxLost: _in_progress(to.pbx_lost),
    Found: _in_progress(to.found),
    Gone: _in_progress(to.gone),
}
