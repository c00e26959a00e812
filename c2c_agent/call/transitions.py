"""What each event does to a call: the entries of the table in `machine`. Pure.

Each transition is named for what it does, and gives the call as it is afterwards with the commands
to carry out. When it applies, the table says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from c2c_agent.call.call import Answer, Call, CallState, Entry, Exchange, moved
from c2c_agent.call.ending import second_over
from c2c_agent.call.events import (
    Cancel,
    Command,
    Event,
    Expire,
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    Guard,
    GuardExpired,
    HangUp,
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
    SendOriginate,
    Settle,
    TellAnswer,
)
from c2c_agent.call.evidence import NotConfirmed
from c2c_agent.call.evolve import evolve
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.verdict import Verdict, verdict
from c2c_agent.errors import ErrorCode, Fault

#: Seconds that the PBX is given beyond its own limits before the agent asks what became of a call.
GRACE: Final = 5.0


#: What the timeline says of a first leg that was answered, and not by a person who wanted the call.
_NOT_CONFIRMED: Final[Mapping[NotConfirmed, str]] = {
    NotConfirmed.SILENT: "first_not_confirmed",
    NotConfirmed.DECLINED: "first_declined",
}


_STATES: Final = frozenset(state.value for state in CallState)

#: What has to have happened since a thing was noted for it to be noted once more.
_NEWS_AFTER: Final[Mapping[str, frozenset[str]]] = {
    "overdue": _STATES | {"pbx_lost"},
    "pbx_lost": _STATES | {"pbx_found"},
    "pbx_found": _STATES | {"pbx_lost"},
}


class Step(NamedTuple):
    """A call after an event, and what is to be done.

    `breach`: the event cannot come in this state; whoever told it has broken the driver's contract.
    """

    call: Call
    commands: tuple[Command, ...] = ()
    breach: bool = False


def late(call: Call, _event: Event, _now: float) -> Step:
    """Came after what it announces, or after the end: changes nothing."""
    return Step(call)


repeated = late  # a second time


def never(call: Call, _event: Event, _now: float) -> Step:
    """Cannot come in this state from a driver that keeps its contract: changes nothing."""
    return Step(call, breach=True)


def _note(call: Call, event: str, now: float, detail: str | None = None) -> Call:
    return evolve(call, timeline=(*call.timeline, Entry(now, event, detail)))


def _note_news(call: Call, event: str, now: float, detail: str | None = None) -> Call:
    """Note it, unless nothing has changed since that was noted: it may be told again and again."""
    news_after = _NEWS_AFTER[event]
    for entry in reversed(call.timeline):
        if entry.event in news_after:
            break
        if entry.event == event:
            return call
    return _note(call, event, now, detail)


def _enter(call: Call, state: CallState, now: float, channel: str | None = None) -> Call:
    return _note(evolve(call, state=state), state.value, now, channel)


def _end(call: Call, result: Outcome, now: float) -> Call:
    ended = evolve(call, state=CallState.ENDED, outcome=result, ended_at=now)
    return _note(ended, CallState.ENDED.value, now, result.value)


def place(call: Call, event: Place, now: float) -> Step:
    """The plan is made: the order goes out once this is stored."""
    placed = evolve(call, plan=event.plan, pbx_request=Exchange(now, event.plan.data))
    return Step(
        _enter(placed, CallState.DIALING_FIRST, now),
        (SendOriginate(), Guard(event.plan.timeout + GRACE)),
    )


def reject(call: Call, event: Reject, now: float) -> Step:
    """Refused before the PBX heard of it."""
    return Step(
        _end(evolve(call, answer=Answer(event.faults)), Outcome.REJECTED, now), (TellAnswer(),)
    )


def expire(call: Call, _event: Expire, now: float) -> Step:
    """Too old when its turn came: nobody is rung."""
    fault = Fault(ErrorCode.EXPIRED, "The job had expired before its turn came.")
    return Step(_end(evolve(call, answer=Answer((fault,))), Outcome.EXPIRED, now), (TellAnswer(),))


def cancel_unplaced(call: Call, event: Cancel, now: float) -> Step:
    """Cancelled before it was placed: nobody is rung."""
    if event.expired:
        return expire(call, Expire(), now)  # it would not have been placed anyway
    fault = Fault(ErrorCode.EXPIRED, "The call was cancelled before it was placed.")
    cancelled = evolve(call, cancelled=True, answer=Answer((fault,)))
    return Step(_end(cancelled, Outcome.CANCELLED, now), (TellAnswer(),))


def cancel(call: Call, _event: Cancel, now: float) -> Step:
    """Cancelled on its way: hang up whatever there is. Asked again, it is tried again."""
    if not call.cancelled:
        call = evolve(call, cancelled=True, cannot_hang_up=None)
        call = _note(call, "cancel_requested", now)
    return Step(call, (HangUp(),))


def not_hung_up(call: Call, event: NotHungUp, now: float) -> Step:
    """The PBX did not do it: the call is not cancelled, and goes on."""
    if not call.cancelled:
        return Step(call)
    going = evolve(call, cancelled=False, cannot_hang_up=event.reason)
    return Step(_note(going, "cannot_hang_up", now, event.reason))


def accepted(call: Call, event: OriginateAccepted, now: float) -> Step:
    """The PBX took the order; the requester is told so."""
    if call.pbx_response is not None:
        return Step(call)
    taken = evolve(
        call,
        # Nobody will want the order again, and it is large.
        plan=call.plan and evolve(call.plan, order=None),
        pbx_response=Exchange(now, event.data),
        answer=call.answer or Answer(),
    )
    return Step(_note(taken, "originate_accepted", now), (TellAnswer(),))


def refused(call: Call, event: OriginateRefused, now: float) -> Step:
    """The PBX refused the order; that ends the call."""
    ended = evolve(
        call,
        pbx_response=Exchange(now, event.data),
        answer=_said(event),
    )
    return Step(_end(ended, Outcome.PBX_ERROR, now), (TellAnswer(),))


def _said(event: OriginateRefused | OriginateFailed) -> Answer:
    """All that the PBX says against an order, each in its own words."""
    code = event.code if isinstance(event, OriginateRefused) else ErrorCode.PBX_ERROR
    others = (Fault(ErrorCode.PBX_ERROR, text) for text in event.others)
    return Answer((Fault(code, event.message), *others))


def failed(call: Call, event: OriginateFailed, now: float) -> Step:
    """The PBX tried, and it came to nothing; that ends the call."""
    end = verdict(call, evolve(event.evidence, lost=True))
    told = evolve(
        call,
        pbx_response=call.pbx_response or Exchange(now, event.data),
        answer=call.answer or _said(event),
    )
    if end.outcome is Outcome.UNKNOWN:
        end = evolve(end, outcome=Outcome.PBX_ERROR, reason=None)  # it is known that it failed
    ended = _over(told, end, now)
    return Step(ended, (TellAnswer(),) if call.answer is None else ())


def unsent(call: Call, event: OriginateUnsent, now: float) -> Step:
    """The order never left; that ends the call."""
    ended = evolve(call, answer=Answer((Fault(event.code, event.message),)))
    result = Outcome.CANCELLED if call.cancelled else Outcome.REJECTED
    return Step(_end(ended, result, now), (TellAnswer(),))


def unanswered(call: Call, event: OriginateUnanswered, now: float) -> Step:
    """Nobody knows whether the order arrived: the requester is told, and whatever is there hung up.

    Not where more was heard of the call than the order's answer would say. An agent that was given
    the call is told by who gave it.
    """
    call = _note(call, "originate_unanswered", now, event.message)
    if call.answer is not None:
        return Step(call)
    elsewhere = call.is_relayed
    if call.state is not CallState.DIALING_FIRST and not elsewhere:
        return Step(evolve(call, answer=Answer()), (TellAnswer(),))
    fault = Fault(ErrorCode.PBX_UNAVAILABLE, event.message)
    void = evolve(call, answer=Answer((fault,)))
    return Step(void, (TellAnswer(),) if elsewhere else (TellAnswer(), HangUp()))


def _happened_at(call: Call, at: float | None, now: float) -> float:
    """When a leg's event happened: now where that is not told, and not before what is known."""
    return now if at is None else max(at, call.timeline[-1].at if call.timeline else at)


def first_ringing(call: Call, event: FirstRinging, now: float) -> Step:
    """The first phone rings."""
    at = _happened_at(call, event.at, now)
    channel = event.channel or call.first.channel
    first = evolve(call.first, ringing_at=at, channel=channel, source=event.source)
    return Step(_enter(evolve(call, first=first), CallState.FIRST_RINGING, at, channel))


def first_answered(call: Call, event: FirstAnswered, now: float) -> Step:
    """The first was answered; the second is dialled next."""
    at = _happened_at(call, event.at, now)
    channel = event.channel or call.first.channel
    first = evolve(call.first, answered_at=at, channel=channel, source=event.source)
    answered = _enter(evolve(call, first=first), CallState.FIRST_ANSWERED, at, channel)
    confirming = call.plan.confirm_seconds if call.plan is not None else 0
    return Step(answered, (Guard(GRACE + confirming),))


def second_dialed(call: Call, event: SecondDialed, now: float) -> Step:
    """The second leg is dialled."""
    dialing = evolve(call, dialed_at=now)
    return Step(_enter(dialing, CallState.DIALING_SECOND, now), (Guard(event.timeout + GRACE),))


def second_ringing(call: Call, event: SecondRinging, now: float) -> Step:
    """The second phone rings."""
    at = _happened_at(call, event.at, now)
    channel = event.channel or call.second.channel
    second = evolve(call.second, ringing_at=at, channel=channel, source=event.source)
    ringing = evolve(call, second=second, dialed_at=call.dialed_at or at)
    return Step(_enter(ringing, CallState.SECOND_RINGING, at, channel))


def second_answered(call: Call, event: SecondAnswered, now: float) -> Step:
    """The two talk."""
    at = _happened_at(call, event.at, now)
    channel = event.channel or call.second.channel
    second = evolve(call.second, answered_at=at, channel=channel, source=event.source)
    talking = evolve(call, second=second, dialed_at=call.dialed_at or at)
    connected = _enter(talking, CallState.CONNECTED, at, channel)
    return Step(connected, (Guard(call.max_duration + GRACE),))


def second_ended(call: Call, event: SecondEnded, _now: float) -> Step:
    """Keep what is known of its end; the call is over when all of it is gone."""
    return Step(second_over(call, event))


def ask(call: Call, _event: GuardExpired, now: float) -> Step:
    """It takes longer than it can: perhaps events were missed. Ask, and ask again later."""
    return Step(_note_news(call, "overdue", now), (Settle(), Guard(GRACE)))


def too_long(call: Call, event: GuardExpired, now: float) -> Step:
    """The PBX itself ends a call at its longest duration; it did not, so do it from here.

    An agent that was given the call does so beside its PBX: while it is away, nobody would hear of
    it, and what it said of the end is still to come.
    """
    if call.is_relayed:
        return ask(call, event, now)
    return Step(_note_news(call, "overdue", now), (HangUp(), Settle(), Guard(GRACE)))


def pbx_lost(call: Call, event: PbxLost, now: float) -> Step:
    """The PBX cannot be heard; its calls go on."""
    return Step(_note_news(call, "pbx_lost", now, event.reason))


def found(call: Call, _event: Found, now: float) -> Step:
    """It is there, so the PBX took the order, whether its answer was heard or not."""
    unwanted = call.cancelled or call.is_void
    after = evolve(call, answer=call.answer or Answer(), cancelled=unwanted)
    after = _note_news(after, "pbx_found", now)
    reply = () if call.answer is not None else (TellAnswer(),)
    return Step(after, (*reply, HangUp()) if unwanted else reply)


def gone(call: Call, event: Gone, now: float) -> Step:
    """Nothing of it is left on the PBX: this ends the call."""
    if call.is_void and event.evidence.ended_here:
        call = evolve(call, cancelled=True)
    end = verdict(call, event.evidence)
    if end.evidence.not_confirmed is not None:
        call = _note(call, _NOT_CONFIRMED[end.evidence.not_confirmed], now)
    ended = _over(call, end, now)
    if ended.answer is not None:
        return Step(ended)
    # The call came and went, and the PBX's answer to the order was not heard.
    answer = Answer()
    if end.outcome is Outcome.UNKNOWN and call.state is CallState.DIALING_FIRST:
        message = "Nobody knows whether the PBX took the call; it will not be placed again."
        answer = Answer((Fault(ErrorCode.PBX_UNAVAILABLE, message),))
    return Step(evolve(ended, answer=answer), (TellAnswer(),))


def _over(call: Call, end: Verdict, now: float) -> Call:
    ended = evolve(
        call,
        first=end.evidence.first,
        second=end.evidence.second,
        hung_up_by=end.hung_up_by,
        hung_up_at=end.hung_up_at,
        cause=end.cause,
        cause_text=end.cause_text,
        reason=end.reason,
    )
    return _end(ended, end.outcome, now)


def relayed(call: Call, event: Relayed, now: float) -> Step:
    """Take over what the agent beside the PBX knows; what was known already changes nothing.

    Where its PBX hangs no call up, the call is not cancelled, and goes on.
    """
    told = moved(event.call, event.call.clock_ahead - call.clock_ahead)
    timeline = dict.fromkeys([*call.timeline, *told.timeline])  # a set that keeps the order
    if len(timeline) == len({*call.timeline}):
        return Step(call)
    after = evolve(
        call,
        job=_as_dialed_there(call.job, told.job),
        state=told.state,
        outcome=told.outcome,
        reason=told.reason,
        answer=call.answer or told.answer,
        pbx_response=Exchange(now, _words_of(event)),
        first=told.first,
        second=told.second,
        dialed_at=told.dialed_at,
        cancelled=told.cancelled or (call.cancelled and told.cannot_hang_up is None),
        cannot_hang_up=told.cannot_hang_up,
        hung_up_by=told.hung_up_by,
        hung_up_at=told.hung_up_at,
        cause=told.cause,
        cause_text=told.cause_text,
        ended_at=told.ended_at,
        timeline=tuple(sorted(timeline, key=lambda entry: entry.at)),
    )
    if call.cancelled and not after.cancelled and told.outcome is None:
        after = _note(after, "cannot_hang_up", now, told.cannot_hang_up)
    commands: tuple[Command, ...] = ()
    connected = told.state is CallState.CONNECTED and call.state is not told.state
    if connected and call.plan is not None:
        # The agent keeps its time; what asks soon after a restart would cut the talk short.
        commands += (Guard(call.plan.timeout + GRACE),)
    if call.answer is None and after.answer is not None:
        commands += (TellAnswer(),)
    if after.cancelled and not told.cancelled and told.outcome is None:
        commands += (HangUp(),)
    return Step(after, commands)


def _as_dialed_there(job: CallJob | None, told: CallJob | None) -> CallJob | None:
    """The job, with the numbers as the agent's own PBX was told them."""
    if job is None or told is None:
        return job
    return evolve(job, dialed_first=told.dialed_first, dialed_second=told.dialed_second)


def _words_of(event: Relayed) -> Mapping[str, object]:
    """The exchange with the PBX, as the agent had it."""
    request, response = event.call.pbx_request, event.call.pbx_response
    return {
        "server_id": event.server_id,
        "pbx_data": None if request is None else request.data,
        "response_data": None if response is None else response.data,
    }
