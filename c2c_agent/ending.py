"""What the evidence of a call that is over says: pieced together, whose end it was, who hung up.

Pure. Which outcome that makes, `disposition` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve

from c2c_agent.call import Call, HungUpBy
from c2c_agent.disposition import Outcome
from c2c_agent.pbx import CallEvidence, Leg, LegEvidence, SecondEnded

#: Seconds by which Asterisk's end of a ringing may seem to come too early.
_TIMER_SLACK: Final = 1.0

_LEGS: Final[Mapping[HungUpBy | None, Leg]] = {
    HungUpBy.FIRST: Leg.FIRST,
    HungUpBy.SECOND: Leg.SECOND,
}


def all_evidence(call: Call, told: CallEvidence) -> CallEvidence:
    """The evidence told at the end, together with what was seen (and stored) on the way."""
    return evolve(
        told,
        first=_merge_leg(call.first, told.first),
        second=_merge_leg(call.second, told.second),
        timed_out=told.timed_out or _rang_out(call, told.first),
        dialed=told.dialed or call.dialed_at is not None,
        hung_up_by=_LEGS.get(call.hung_up_by) if told.hung_up_by is None else told.hung_up_by,
        hung_up_at=call.hung_up_at if told.hung_up_at is None else told.hung_up_at,
    )


def _rang_out(call: Call, first: LegEvidence) -> bool:
    """Whether our own timeout ended the ringing of the first leg, where nobody watched it.

    The dialplan then only sees that the dialling was given up.
    """
    placed, ended = call.pbx_request, first.ended_at
    if first.status != "CANCEL" or call.plan is None or placed is None or ended is None:
        return False
    return ended - placed.at >= call.plan.timeout - _TIMER_SLACK


def second_over(call: Call, told: SecondEnded) -> Call:
    """The call with what its second leg's end says, of which nothing may be told again."""
    by = call.hung_up_by if told.hung_up_by is None else HungUpBy(told.hung_up_by.value)
    second = _merge_leg(call.second, told.evidence)
    return evolve(call, second=second, hung_up_by=by, hung_up_at=told.hung_up_at)


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
    if result is Outcome.CONNECTED and evidence.hung_up_by is not None:
        return HungUpBy(evidence.hung_up_by.value)
    if call.cancelled:
        return HungUpBy.CANCEL
    if result is Outcome.ABANDONED:
        return HungUpBy.FIRST
    if result is not Outcome.CONNECTED:
        return None
    answered, ended = evidence.second.answered_at, evidence.hung_up_at or evidence.second.ended_at
    if answered is not None and ended is not None and ended - answered >= call.max_duration - 1:
        return HungUpBy.LIMIT
    return None
