"""One call from its request to its one final outcome: a pure, total state machine.

`step(call, event, now)` gives the call as it is afterwards and the commands to carry out. There is
no clock, no I/O and no Twisted in it; the dispatcher stores the new call, then carries out the
commands. Two rules:

    1. Every pair of state and event stands in the table. Late and repeated events are listed as
       such and change nothing; a pair that is not listed raises.
    2. Nothing leads out of ENDED, and only ENDED has an outcome.

    accepted ─> dialing_first ─> first_ringing ─> first_answered ─> dialing_second
                                                    ─> second_ringing ─> connected ─> ended

Any state may be skipped (a phone may answer without ringing) and any may go to ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from attrs import evolve

from c2c_agent.call.call import (
    Answer,
    Call,
    CallState,
    Cancel,
    Command,
    Entry,
    Event,
    Exchange,
    Expire,
    Guard,
    GuardExpired,
    HangUp,
    Place,
    Reject,
    Relayed,
    Reply,
    SendOriginate,
    Settle,
    moved,
)
from c2c_agent.call.ending import all_evidence, decisive_leg, second_over, who_hung_up
from c2c_agent.call.outcome import Outcome, outcome
from c2c_agent.errors import C2CError, ErrorCode, Fault
from c2c_agent.pbx.driver import (
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    LinkLost,
    OriginateAccepted,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    Refusal,
    SecondAnswered,
    SecondDialed,
    SecondEnded,
    SecondRinging,
)

#: Seconds that the PBX is given beyond its own limits before the agent asks what became of a call.
GRACE: Final = 5.0

#: What names the agent that told how its PBX has answered.
_TELLER: Final = "server_id"

#: What the timeline says of a first leg that was answered, and not by a person who wanted the call.
_REFUSALS: Final[Mapping[Refusal, str]] = {
    Refusal.UNCONFIRMED: "first_not_confirmed",
    Refusal.DECLINED: "first_declined",
}


class Step(NamedTuple):
    """A call after an event, and what is to be done."""

    call: Call
    commands: tuple[Command, ...] = ()


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
    """The guard of a call that was in progress before a restart.

    To ask soon does no harm, but a talk must not be cut short.
    """
    if call.state is CallState.CONNECTED and call.second.answered_at is not None:
        longest = call.second.answered_at + call.max_duration + GRACE
        return Guard(max(GRACE, longest - now))
    return Guard(GRACE)


# Transitions. Each is named for what it does; the table below says when.


def _late(call: Call, _event: Event, _now: float) -> Step:
    """Came after what it announces, or after the end: changes nothing."""
    return Step(call)


_repeated = _late  # a second time
_never = _late  # cannot come in this state from a driver that keeps its contract


def _note(call: Call, event: str, now: float, detail: str | None = None) -> Call:
    return evolve(call, timeline=(*call.timeline, Entry(now, event, detail)))


def _enter(call: Call, state: CallState, now: float, channel: str | None = None) -> Call:
    return _note(evolve(call, state=state), state.value, now, channel)


def _end(call: Call, result: Outcome, now: float) -> Call:
    ended = evolve(call, state=CallState.ENDED, outcome=result, ended_at=now)
    return _note(ended, CallState.ENDED.value, now, result.value)


def _place(call: Call, event: Place, now: float) -> Step:
    placed = evolve(call, plan=event.plan, pbx_request=Exchange(now, event.plan.data))
    return Step(
        _enter(placed, CallState.DIALING_FIRST, now),
        (SendOriginate(), Guard(event.plan.timeout + GRACE)),
    )


def _reject(call: Call, event: Reject, now: float) -> Step:
    return Step(_end(evolve(call, answer=Answer(event.faults)), Outcome.REJECTED, now), (Reply(),))


def _expire(call: Call, _event: Expire, now: float) -> Step:
    fault = Fault(ErrorCode.EXPIRED, "The job had expired before its turn came.")
    return Step(_end(evolve(call, answer=Answer((fault,))), Outcome.EXPIRED, now), (Reply(),))


def _cancel_unplaced(call: Call, event: Cancel, now: float) -> Step:
    if event.expired:
        return _expire(call, Expire(), now)  # it would not have been placed anyway
    fault = Fault(ErrorCode.EXPIRED, "The call was cancelled before it was placed.")
    cancelled = evolve(call, cancelled=True, answer=Answer((fault,)))
    return Step(_end(cancelled, Outcome.CANCELLED, now), (Reply(),))


def _cancel(call: Call, _event: Cancel, now: float) -> Step:
    if not call.cancelled:
        call = _note(evolve(call, cancelled=True), "cancel_requested", now)
    return Step(call, (HangUp(),))


def _accepted(call: Call, event: OriginateAccepted, now: float) -> Step:
    if call.pbx_response is not None:
        return Step(call)
    accepted = evolve(
        call,
        # Nobody will want the order again, and it is large.
        plan=call.plan and evolve(call.plan, order=None),
        pbx_response=Exchange(now, event.data),
        answer=call.answer or Answer(),
    )
    return Step(_note(accepted, "originate_accepted", now), (Reply(),))


def _refused(call: Call, event: OriginateRefused, now: float) -> Step:
    refused = evolve(
        call,
        pbx_response=Exchange(now, event.data),
        answer=Answer((Fault(ErrorCode.PBX_ERROR, event.message),)),
    )
    return Step(_end(refused, Outcome.PBX_ERROR, now), (Reply(),))


def _unsent(call: Call, event: OriginateUnsent, now: float) -> Step:
    unsent = evolve(call, answer=Answer((Fault(event.code, event.message),)))
    result = Outcome.CANCELLED if call.cancelled else Outcome.REJECTED
    return Step(_end(unsent, result, now), (Reply(),))


def _unanswered(call: Call, event: OriginateUnanswered, now: float) -> Step:
    call = _note(call, "originate_unanswered", now, event.message)
    if call.answer is not None:
        return Step(call)
    fault = Fault(ErrorCode.PBX_UNAVAILABLE, event.message)
    return Step(evolve(call, answer=Answer((fault,))), (Reply(),))


def _first_ringing(call: Call, event: FirstRinging, now: float) -> Step:
    first = evolve(call.first, ringing_at=now, channel=event.channel or call.first.channel)
    return Step(_enter(evolve(call, first=first), CallState.FIRST_RINGING, now, event.channel))


def _first_answered(call: Call, event: FirstAnswered, now: float) -> Step:
    first = evolve(call.first, answered_at=now, channel=event.channel or call.first.channel)
    answered = _enter(evolve(call, first=first), CallState.FIRST_ANSWERED, now, event.channel)
    confirming = call.plan.confirm_seconds if call.plan is not None else 0
    return Step(answered, (Guard(GRACE + confirming),))


def _second_dialed(call: Call, event: SecondDialed, now: float) -> Step:
    dialing = evolve(call, dialed_at=now)
    return Step(_enter(dialing, CallState.DIALING_SECOND, now), (Guard(event.timeout + GRACE),))


def _second_ringing(call: Call, event: SecondRinging, now: float) -> Step:
    second = evolve(call.second, ringing_at=now, channel=event.channel or call.second.channel)
    ringing = evolve(call, second=second, dialed_at=call.dialed_at or now)
    return Step(_enter(ringing, CallState.SECOND_RINGING, now, event.channel))


def _second_answered(call: Call, event: SecondAnswered, now: float) -> Step:
    second = evolve(call.second, answered_at=now, channel=event.channel or call.second.channel)
    talking = evolve(call, second=second, dialed_at=call.dialed_at or now)
    connected = _enter(talking, CallState.CONNECTED, now, event.channel)
    return Step(connected, (Guard(call.max_duration + GRACE),))


def _overdue(call: Call, now: float) -> Call:
    """Note it once: the guard comes back for as long as the PBX stays silent."""
    if call.timeline and call.timeline[-1].event == "overdue":
        return call
    return _note(call, "overdue", now)


def _second_ended(call: Call, event: SecondEnded, _now: float) -> Step:
    """Keep what is known of its end; the call is over when all of it is gone."""
    return Step(second_over(call, event))


def _ask(call: Call, _event: GuardExpired, now: float) -> Step:
    """It takes longer than it can: perhaps events were missed. Ask, and ask again later."""
    return Step(_overdue(call, now), (Settle(), Guard(GRACE)))


def _too_long(call: Call, event: GuardExpired, now: float) -> Step:
    """The PBX itself ends a call at its longest duration; it did not, so do it from here.

    An agent that was given the call does so beside its PBX: while it is away, nobody would hear of
    it, and what it said of the end is still to come.
    """
    if _is_relayed(call):
        return _ask(call, event, now)
    return Step(_overdue(call, now), (HangUp(), Settle(), Guard(GRACE)))


def _link_lost(call: Call, event: LinkLost, now: float) -> Step:
    return Step(_note(call, "pbx_lost", now, event.reason))


def _found(call: Call, _event: Found, now: float) -> Step:
    """It is there, so the PBX took the order, whether its answer was heard or not."""
    found = _note(evolve(call, answer=call.answer or Answer()), "pbx_found", now)
    reply = () if call.answer is not None else (Reply(),)
    return Step(found, (*reply, HangUp()) if call.cancelled else reply)


def _gone(call: Call, event: Gone, now: float) -> Step:
    evidence = all_evidence(call, event.evidence)
    if evidence.refusal is not None:
        call = _note(call, _REFUSALS[evidence.refusal], now)
    nobody_talked = call.state is not CallState.CONNECTED
    result = outcome(evidence, cancelled=call.cancelled and nobody_talked)
    decisive = decisive_leg(evidence, result)
    ended = evolve(
        call,
        first=evidence.first,
        second=evidence.second,
        hung_up_by=who_hung_up(call, evidence, result),
        hung_up_at=evidence.hung_up_at,
        cause=decisive.cause,
        cause_text=decisive.cause_text,
    )
    ended = _end(ended, result, now)
    if ended.answer is not None:
        return Step(ended)
    # The call came and went, and the PBX's answer to the order was not heard.
    answer = Answer()
    if result is Outcome.UNKNOWN and call.state is CallState.DIALING_FIRST:
        message = "Nobody knows whether the PBX took the call; it will not be placed again."
        answer = Answer((Fault(ErrorCode.PBX_UNAVAILABLE, message),))
    return Step(evolve(ended, answer=answer), (Reply(),))


def _relayed(call: Call, event: Relayed, now: float) -> Step:
    """Take over what the agent beside the PBX knows; what was known already changes nothing."""
    told = moved(event.call, event.call.clock_ahead - call.clock_ahead)
    timeline = dict.fromkeys([*call.timeline, *told.timeline])  # a set that keeps the order
    if len(timeline) == len({*call.timeline}):
        return Step(call)
    relayed = evolve(
        call,
        state=told.state,
        outcome=told.outcome,
        answer=call.answer or told.answer,
        pbx_response=Exchange(now, _words_of(event)),
        first=told.first,
        second=told.second,
        dialed_at=told.dialed_at,
        cancelled=call.cancelled or told.cancelled,
        hung_up_by=told.hung_up_by,
        hung_up_at=told.hung_up_at,
        cause=told.cause,
        cause_text=told.cause_text,
        ended_at=told.ended_at,
        timeline=tuple(sorted(timeline, key=lambda entry: entry.at)),
    )
    commands: tuple[Command, ...] = ()
    connected = told.state is CallState.CONNECTED and call.state is not told.state
    if connected and call.plan is not None:
        # The agent keeps its time; what asks soon after a restart would cut the talk short.
        commands += (Guard(call.plan.timeout + GRACE),)
    if call.answer is None and relayed.answer is not None:
        commands += (Reply(),)
    if call.cancelled and not told.cancelled and told.outcome is None:
        commands += (HangUp(),)
    return Step(relayed, commands)


def _words_of(event: Relayed) -> Mapping[str, object]:
    """The exchange with the PBX, as the agent had it."""
    request, response = event.call.pbx_request, event.call.pbx_response
    return {
        _TELLER: event.server_id,
        "pbx_data": None if request is None else request.data,
        "response_data": None if response is None else response.data,
    }


def _is_relayed(call: Call) -> bool:
    """Whether an agent elsewhere has it, and has told of it."""
    return call.pbx_response is not None and _TELLER in call.pbx_response.data


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
    accepted: Callable[..., Step] = _never,
    connected: Callable[..., Step] | None = None,
    ended: Callable[..., Step] = _late,
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
        first_ringing=_never,
        first_answered=_never,
        dialing_second=_never,
        second_ringing=_never,
        connected=_never,
        ended=_late,
    )


TABLE: Final[Mapping[type, Mapping[CallState, Callable[..., Step]]]] = {
    Place: _in_progress(_repeated, accepted=_place),
    Reject: _in_progress(_late, accepted=_reject),
    Expire: _before_the_order(_expire),
    Cancel: _in_progress(_cancel, accepted=_cancel_unplaced),
    GuardExpired: _in_progress(_ask, connected=_too_long),
    OriginateAccepted: _in_progress(_accepted),
    OriginateRefused: _row(
        accepted=_never,
        dialing_first=_refused,
        first_ringing=_never,
        first_answered=_never,
        dialing_second=_never,
        second_ringing=_never,
        connected=_never,
        ended=_late,
    ),
    OriginateUnsent: _before_the_order(_unsent),
    OriginateUnanswered: _in_progress(_unanswered),
    FirstRinging: _row(
        accepted=_never,
        dialing_first=_first_ringing,
        first_ringing=_repeated,
        first_answered=_late,
        dialing_second=_late,
        second_ringing=_late,
        connected=_late,
        ended=_late,
    ),
    FirstAnswered: _row(
        accepted=_never,
        dialing_first=_first_answered,
        first_ringing=_first_answered,
        first_answered=_repeated,
        dialing_second=_late,
        second_ringing=_late,
        connected=_late,
        ended=_late,
    ),
    SecondDialed: _row(
        accepted=_never,
        dialing_first=_second_dialed,
        first_ringing=_second_dialed,
        first_answered=_second_dialed,
        dialing_second=_repeated,
        second_ringing=_late,
        connected=_late,
        ended=_late,
    ),
    SecondRinging: _row(
        accepted=_never,
        dialing_first=_second_ringing,
        first_ringing=_second_ringing,
        first_answered=_second_ringing,
        dialing_second=_second_ringing,
        second_ringing=_repeated,
        connected=_late,
        ended=_late,
    ),
    SecondAnswered: _row(
        accepted=_never,
        dialing_first=_second_answered,
        first_ringing=_second_answered,
        first_answered=_second_answered,
        dialing_second=_second_answered,
        second_ringing=_second_answered,
        connected=_repeated,
        ended=_late,
    ),
    SecondEnded: _row(
        accepted=_never,
        dialing_first=_never,
        first_ringing=_never,
        first_answered=_second_ended,
        dialing_second=_second_ended,
        second_ringing=_second_ended,
        connected=_second_ended,
        ended=_late,
    ),
    Relayed: _in_progress(_relayed),
    LinkLost: _in_progress(_link_lost),
    Found: _in_progress(_found),
    Gone: _in_progress(_gone),
}
