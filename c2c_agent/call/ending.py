"""What the evidence of a call that is over says: pieced together, whose end it was, who hung up.

Pure. Which outcome that makes, `disposition` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from c2c_agent.call.call import Call, HungUpBy
from c2c_agent.call.events import SecondEnded
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.call.outcome import Outcome

#: Seconds by which Asterisk's end of a ringing may seem to come too early.
_TIMER_SLACK: Final = 1.0

_LEGS: Final[Mapping[HungUpBy | None, Leg]] = {
    HungUpBy.FIRST: Leg.FIRST,
    HungUpBy.SECOND: Leg.SECOND,
}


def all_evidence(call: Call, told: CallEvidence) -> CallEvidence:
    """The evidence told at the end, together with what was seen (and stored) on the way."""
    first = _merge_leg(call.first, told.first)
    second = _merge_leg(call.second, _possible(call, told.second))
    return evolve(
        told,
        first=first,
        second=second,
        timed_out=told.timed_out or _rang_out(call, first, second),
        dialed=told.dialed or call.dialed_at is not None,
        hung_up_by=_LEGS.get(call.hung_up_by) if told.hung_up_by is None else told.hung_up_by,
        hung_up_at=call.hung_up_at if told.hung_up_at is None else told.hung_up_at,
    )


def _rang_out(call: Call, first: LegEvidence, second: LegEvidence) -> Leg | None:
    """The leg whose ringing our timeout ended, where the PBX does not say so: the clock does.

    Where nobody watched the first one, the dialplan only saw that its dialling was given up. And
    Dial's NOANSWER for the second can be a refusal, too, or be of two phones of which one refused.
    """
    if call.plan is None:
        return None
    placed = call.pbx_request.at if call.pbx_request is not None else None
    if first.status == "CANCEL" and _lasted(placed, first, call.plan.timeout - _TIMER_SLACK):
        return Leg.FIRST
    dialed = call.dialed_at
    if dialed is None and not call.plan.confirm_seconds:
        dialed = first.answered_at  # the dialplan, alone, dials at once
    if second.status == "NOANSWER" and _lasted(dialed, second, call.plan.timeout):
        return Leg.SECOND
    return None


def _lasted(begin: float | None, leg: LegEvidence, seconds: float) -> bool:
    return begin is not None and leg.ended_at is not None and leg.ended_at - begin >= seconds


def second_over(call: Call, told: SecondEnded) -> Call:
    """The call with what its second leg's end says, of which nothing may be told again."""
    by = call.hung_up_by if told.hung_up_by is None else HungUpBy(told.hung_up_by.value)
    second = _merge_leg(call.second, _possible(call, told.evidence))
    return evolve(call, second=second, hung_up_by=by, hung_up_at=told.hung_up_at)


def _possible(call: Call, told: LegEvidence) -> LegEvidence:
    """What is told of the second leg, but no answer before the order, or after the end.

    The PBX noted it by its host's clock, which was set since; so what was seen here counts.
    """
    answered, ended = told.answered_at, told.ended_at
    if answered is None or ended is None or call.second.answered_at is None:
        return told
    ordered = call.pbx_request.at if call.pbx_request is not None else call.received.at
    if ordered - _TIMER_SLACK <= answered <= ended + _TIMER_SLACK:
        return told
    return evolve(told, answered_at=None)


def _merge_leg(seen: LegEvidence, told: LegEvidence) -> LegEvidence:
    return evolve(
        told,
        channel=told.channel or seen.channel,
        status=told.status or seen.status,
        cause=seen.cause if told.cause is None else told.cause,
        cause_text=told.cause_text or seen.cause_text,
        sip=seen.sip if told.sip is None else told.sip,
        ended_at=seen.ended_at if told.ended_at is None else told.ended_at,
        ringing_at=seen.ringing_at if seen.ringing_at is not None else told.ringing_at,
        answered_at=told.answered_at if told.answered_at is not None else seen.answered_at,
    )


def decisive_leg(evidence: CallEvidence, result: Outcome) -> LegEvidence:
    """The leg whose end was the call's end."""
    if result.value.startswith(Leg.SECOND.value):
        return evidence.second
    if result is Outcome.CONNECTED:
        return evidence.first if evidence.hung_up_by is Leg.FIRST else evidence.second
    return evidence.first


def who_hung_up(call: Call, evidence: CallEvidence, result: Outcome) -> HungUpBy | None:
    """Who ended the call; None where nobody did, or nobody knows."""
    left = evidence.hung_up_by
    if result is Outcome.CONNECTED and left is not None:
        return _who_made_it_leave(call, evidence, left) if evidence.lost else HungUpBy(left.value)
    if call.cancelled:
        return HungUpBy.CANCEL
    if result is Outcome.ABANDONED:
        return HungUpBy.FIRST
    if result is Outcome.CONNECTED and _reached_its_limit(call, evidence):
        return HungUpBy.LIMIT
    return None


def _who_made_it_leave(call: Call, evidence: CallEvidence, left: Leg) -> HungUpBy:
    """Who ended a talk whose end was not watched: all that is known is which leg left first."""
    if call.cancelled and left is Leg.FIRST:
        return HungUpBy.CANCEL  # that is the leg that a cancel hangs up
    return HungUpBy.LIMIT if _reached_its_limit(call, evidence) else HungUpBy(left.value)


def _reached_its_limit(call: Call, evidence: CallEvidence) -> bool:
    answered, ended = evidence.second.answered_at, evidence.hung_up_at or evidence.second.ended_at
    if answered is None or ended is None:
        return False
    return ended - answered >= call.max_duration - _TIMER_SLACK
