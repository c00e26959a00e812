"""What was seen of a call on its way, and what is told of its end, put together. Pure.

What is stored of a call outlives a crash, and what a driver tells afterwards may know less. What
the whole means, `verdict` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from c2c_agent.call.call import Call, HungUpBy
from c2c_agent.call.events import SecondEnded
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Source
from c2c_agent.call.evolve import evolve

#: Seconds by which two clocks, or two timers, may seem to disagree.
SLACK: Final = 1.0

_LEGS: Final[Mapping[HungUpBy | None, Leg]] = {
    HungUpBy.FIRST: Leg.FIRST,
    HungUpBy.SECOND: Leg.SECOND,
}


def all_evidence(call: Call, told: CallEvidence) -> CallEvidence:
    """The evidence told at the end, together with what was seen (and stored) on the way."""
    return evolve(
        told,
        first=_rung(_with_source(told, _merge_leg(call.first, told.first))),
        second=_rung(_with_source(told, _merge_leg(call.second, _possible(call, told.second)))),
        dialed=told.dialed or call.dialed_at is not None,
        hung_up_by=_LEGS.get(call.hung_up_by) if told.hung_up_by is None else told.hung_up_by,
        hung_up_at=call.hung_up_at if told.hung_up_at is None else told.hung_up_at,
    )


def _with_source(told: CallEvidence, leg: LegEvidence) -> LegEvidence:
    """A leg with how it is known what became of it, where the driver did not say so.

    Such a driver follows channels; what it knows of an end that was missed, the PBX told it.
    """
    if leg.source is not None or leg == LegEvidence():
        return leg
    return evolve(leg, source=Source.REPORTED if told.lost else Source.WATCHED)


def _rung(leg: LegEvidence) -> LegEvidence:
    """A leg without the ringing that was let hear where nothing rang, and nobody answered."""
    is_heard_only = leg.unrung and leg.answered_at is None
    return evolve(leg, ringing_at=None) if is_heard_only else leg


def second_over(call: Call, told: SecondEnded) -> Call:
    """The call with what its second leg's end says, of which nothing may be told again."""
    by = call.hung_up_by if told.hung_up_by is None else HungUpBy(told.hung_up_by.value)
    second = _merge_leg(call.second, _possible(call, told.evidence))
    second = _with_source(CallEvidence(), second)
    return evolve(call, second=second, hung_up_by=by, hung_up_at=told.hung_up_at)


def _possible(call: Call, told: LegEvidence) -> LegEvidence:
    """What is told of the second leg, but no answer before the order, or after the end.

    The PBX noted it by its host's clock, which was set since; so what was seen here counts.
    """
    answered, ended = told.answered_at, told.ended_at
    if answered is None or ended is None or call.second.answered_at is None:
        return told
    ordered = call.pbx_request.at if call.pbx_request is not None else call.received.at
    if ordered - SLACK <= answered <= ended + SLACK:
        return told
    return evolve(told, answered_at=None)


def _merge_leg(seen: LegEvidence, told: LegEvidence) -> LegEvidence:
    if told.by is None:  # what had the last word is told as a whole, and else nobody knows more
        told = evolve(
            told,
            channel=told.channel or seen.channel,
            cause=seen.cause if told.cause is None else told.cause,
            cause_text=told.cause_text or seen.cause_text,
            sip=seen.sip if told.sip is None else told.sip,
            by=seen.by,
            tried=told.tried or seen.tried,
        )
    return evolve(
        told,
        status=told.status or seen.status,
        ended_at=seen.ended_at if told.ended_at is None else told.ended_at,
        ringing_at=seen.ringing_at if seen.ringing_at is not None else told.ringing_at,
        answered_at=told.answered_at if told.answered_at is not None else seen.answered_at,
        source=told.source or seen.source,
    )
