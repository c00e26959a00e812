"""The evidence of a call on an Asterisk, put together from its three sources. Pure.

    watched   AMI events and lists of channels: `call_trace`
    reported  what Dial left behind of the second leg, read over FastAGI: `bridge`
    recorded  what the dialplan left in AstDB for an agent that was away: `astdb`

What was watched counts most for times; what Dial says counts for how the second leg ended; the
record fills in what neither tells. Nothing is judged here: what the evidence means,
`call.verdict` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from attrs import field, frozen

from c2c_agent.call.evidence import Attempt, CallEvidence, Leg, LegEvidence, SaidBy
from c2c_agent.call.evolve import evolve
from c2c_agent.pbx.asterisk.astdb import DialplanRecord, FirstRecord, SecondRecord

#: Seconds by which what was seen here may be late: a busy host, or one that swaps.
_SLACK: Final = 30.0


#: SIP responses below are provisional (RFC 3261, section 7.2).
_FINAL: Final = 200


@frozen
class DialResult:
    """DIALSTATUS, HANGUPCAUSE, and the last SIP response of each channel of which one is known.

    `sips` has the responses by the channels' names. `refused_by`: what did not put the call
    through, where that is known. `first_hung_up`: the dialling channel was hung up while Dial ran.
    `answered_at`: when the dialled one was answered, in epoch seconds of Asterisk's host.
    """

    status: str
    cause: int | None = None
    sips: Mapping[str, int] = field(factory=dict)
    refused_by: SaidBy | None = None
    first_hung_up: bool = False
    answered_at: float | None = None


@frozen
class DialReport:
    """A DialResult, and what it adds to what had been watched when it came.

    `ended_at` is the end of the second leg. `answered_at`, `hung_up_by` and `hung_up_at` are None
    where what was watched tells them. Times are seconds on the clock of the program.
    """

    result: DialResult
    ended_at: float
    answered_at: float | None = None
    hung_up_by: Leg | None = None
    hung_up_at: float | None = None


def dial_report(
    watched: CallEvidence, result: DialResult, *, ahead: float, now: float
) -> DialReport:
    """What `result`, told at `now`, adds to what was `watched`.

    Where events were missed, it says who hung up, and since when they had talked: its clock is
    `ahead` of ours by so many seconds.
    """
    ended_at = watched.second.ended_at or now
    if result.status != "ANSWER" or not watched.lost:
        return DialReport(result, ended_at)
    answered_at = None
    if watched.second.answered_at is None and result.answered_at is not None:
        answered_at = result.answered_at - ahead
    if watched.hung_up_by is not None:
        return DialReport(result, ended_at, answered_at)
    by = Leg.FIRST if result.first_hung_up else Leg.SECOND
    return DialReport(result, ended_at, answered_at, hung_up_by=by, hung_up_at=now)


def with_dial_report(
    watched: CallEvidence, told: DialReport, *, is_one_of_several: bool = False
) -> CallEvidence:
    """What was watched together with what Dial said.

    `is_one_of_several`: what was watched is the word of one phone of the second leg, so what Dial
    says of all of them is not its status.
    """
    second, result = _with_responses(watched.second, told.result), told.result
    ended_at: float | None = told.ended_at
    seen_at = second.answered_at if told.answered_at is None else None
    if seen_at is not None and seen_at > told.ended_at:
        ended_at = second.ended_at  # what Dial said overtook the events of the whole talk
    if seen_at is None and second.by is not None and result.status != "ANSWER":
        ended_at = second.ended_at  # the phone had refused before Dial gave up
    has_own_status = is_one_of_several and result.status not in {"ANSWER", "CANCEL"}
    second = evolve(
        second,
        status=second.status if has_own_status else result.status or second.status,
        cause=result.cause if second.cause is None else second.cause,
        answered_at=second.answered_at if told.answered_at is None else told.answered_at,
        ended_at=ended_at,
        by=second.by or result.refused_by,
    )
    if told.hung_up_by is None:
        return evolve(watched, second=second)
    return evolve(watched, second=second, hung_up_by=told.hung_up_by, hung_up_at=told.hung_up_at)


def _with_responses(leg: LegEvidence, result: DialResult) -> LegEvidence:
    """A leg with the SIP responses by which its phones refused, where none was watched.

    Where no channel was watched, and the PBX knows of one phone, that is the phone.
    """
    if leg.channel is None and len(result.sips) == 1:
        [name] = result.sips
        leg = evolve(leg, channel=name)
    has_refused = leg.by is not SaidBy.DIALPLAN and result.status != "ANSWER"
    sip = result.sips.get(leg.channel or "") if has_refused else None
    return evolve(
        leg,
        sip=sip if leg.sip is None else leg.sip,
        tried=tuple(_with_response(one, result.sips) for one in leg.tried),
    )


def _with_response(attempt: Attempt, sips: Mapping[str, int]) -> Attempt:
    """With the response by which it refused: one that was given up has only said that it rings."""
    sip = sips.get(attempt.channel, 0)
    return attempt if attempt.sip is not None or sip < _FINAL else evolve(attempt, sip=sip)


def with_record(
    known: CallEvidence, record: DialplanRecord, *, ahead: float = 0.0, now: float = inf
) -> CallEvidence:
    """What is known of a call that was not watched to its end, together with the dialplan's record.

    The record's times are the PBX's: its clock is `ahead` of ours by so many seconds, unless both
    saw the end, and so tell by how many. Where the end would then be before the first answered, or
    after `now`, that clock was set since, and the beginning, which both saw, tells.
    """
    if isinstance(record, FirstRecord):
        return _with_first(known, record, ahead)
    ahead = _ahead(known.first, record, ahead, now)
    first, second = known.first, known.second
    not_dialed = not record.status and record.not_confirmed is None
    return evolve(
        known,
        first=evolve(
            first,
            status="ANSWER",
            answered_at=first.answered_at or _ours(record.began_at, ahead),
        ),
        second=evolve(
            second,
            status=record.status or second.status,
            cause=record.cause if second.cause is None else second.cause,
            answered_at=_ours(record.answered_at, ahead) or second.answered_at,
            ended_at=second.ended_at or _ours(record.ended_at, ahead),
            by=second.by or record.refused_by,
        ),
        dialed=known.dialed or bool(record.status),
        not_confirmed=record.not_confirmed,
        hung_up_by=Leg.FIRST if not_dialed else known.hung_up_by,
        lost=False,
    )


def _with_first(known: CallEvidence, record: FirstRecord, ahead: float) -> CallEvidence:
    """What is known together with why the first leg was not answered.

    So the second was not dialled. What was taken for it was the first's, of which only the phone
    was found: whatever rang it had gone already.
    """
    seen, found = known.first, known.second
    first = evolve(
        seen,
        channel=found.channel or seen.channel,
        status=record.status or seen.status,
        cause=record.cause if seen.cause is None else seen.cause,
        sip=seen.sip if found.sip is None else found.sip,
        ended_at=seen.ended_at or _ours(record.ended_at, ahead),
        by=seen.by if record.status or not record.cause else SaidBy.DIALPLAN,
    )
    # Whether the phone rang before it gave this up, Dial does not tell.
    lost = record.status == "NOANSWER"
    return evolve(known, first=first, second=LegEvidence(), dialed=False, lost=lost)


def _ahead(first: LegEvidence, record: SecondRecord, ahead: float, now: float) -> float:
    """By how many seconds the clock of a record was ahead of ours."""
    if record.ended_at is None:
        return ahead
    if first.ended_at is not None:
        return record.ended_at - first.ended_at
    if record.began_at is None or first.answered_at is None:
        return ahead
    if first.answered_at - _SLACK <= record.ended_at - ahead <= now + _SLACK:
        return ahead
    return record.began_at - first.answered_at


def _ours(at: float | None, ahead: float) -> float | None:
    return None if at is None else at - ahead
