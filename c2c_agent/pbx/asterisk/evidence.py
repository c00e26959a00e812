"""The evidence of a call on an Asterisk, put together from its three sources. Pure.

    watched   AMI events and lists of channels: `call_trace`
    reported  what Dial left behind of the second leg, read over FastAGI: `bridge`
    recorded  what the dialplan left in AstDB for an agent that was away: `astdb`

What was watched counts most for times; what Dial says counts for how the second leg ended; the
record fills in what neither tells. Nothing is judged here: what the evidence means,
`call.verdict` says.
"""

from __future__ import annotations

from math import inf
from typing import Final

from attrs import evolve, frozen

from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.pbx.asterisk.astdb import DialplanRecord, FirstRecord, SecondRecord

#: Seconds by which what was seen here may be late: a busy host, or one that swaps.
_SLACK: Final = 30.0


@frozen
class DialResult:
    """DIALSTATUS, HANGUPCAUSE, and the SIP response behind it where one is known.

    `first_hung_up`: the dialling channel was hung up while Dial ran. `answered_at`: when the
    dialled one was answered, in epoch seconds of Asterisk's host.
    """

    status: str
    cause: int | None = None
    sip: int | None = None
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


def with_dial_report(watched: CallEvidence, told: DialReport) -> CallEvidence:
    """What was watched together with what Dial said."""
    second, result = watched.second, told.result
    ended_at: float | None = told.ended_at
    seen_at = second.answered_at if told.answered_at is None else None
    if seen_at is not None and seen_at > told.ended_at:
        ended_at = second.ended_at  # what Dial said overtook the events of the whole talk
    second = evolve(
        second,
        status=result.status or second.status,
        cause=result.cause if second.cause is None else second.cause,
        sip=result.sip if second.sip is None else second.sip,
        answered_at=second.answered_at if told.answered_at is None else told.answered_at,
        ended_at=ended_at,
    )
    if told.hung_up_by is None:
        return evolve(watched, second=second)
    return evolve(watched, second=second, hung_up_by=told.hung_up_by, hung_up_at=told.hung_up_at)


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
