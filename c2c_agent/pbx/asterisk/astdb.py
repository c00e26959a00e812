"""What the dialplan leaves of a call in AstDB, for an agent that was away.

Pure. The contexts c2c-result and c2c-first-result of asterisk-conf/c2c-bridge.conf write it.
"""

from __future__ import annotations

from math import inf
from typing import Final

from attrs import evolve

from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Refusal

#: What a record of c2c-first-result begins with.
_OF_FIRST: Final = "first,"


#: Seconds by which what was seen here may be late: a busy host, or one that swaps.
_SLACK: Final = 30.0


def merge_left(
    evidence: CallEvidence, left: str, *, ahead: float = 0.0, now: float = inf
) -> CallEvidence:
    """The evidence together with what the dialplan left of a call that the agent did not watch.

    Of a first leg that was not answered (c2c-first-result): `first`, dial status, hangup cause, and
    the end, in epoch seconds. Else (c2c-result): dial status and hangup cause of the second; when
    the first leg came to the bridge, when the second answered (if it did), and the end; then, where
    the first was asked to confirm, what it said. Where no dial status is there, the first leg was
    gone before the second was dialled, or did not confirm.

    The times are the PBX's: its clock is `ahead` of ours by so many seconds, unless both saw the
    end, and so tell by how many. Where the end would then be before the first answered, or after
    `now`, that clock was set since, and the beginning, which both saw, tells.
    """
    if left.startswith(_OF_FIRST):
        return _merge_first(evidence, left.removeprefix(_OF_FIRST), ahead)
    status, cause, started, answered, ended, confirmed = (left.split(",") + [""] * 6)[:6]
    began_at, answered_at, ended_at = map(_seconds, (started, answered, ended))
    first, second = evidence.first, evidence.second
    if ended_at is not None and first.ended_at is not None:
        ahead = ended_at - first.ended_at
    elif (
        ended_at is not None
        and began_at is not None
        and first.answered_at is not None
        and not first.answered_at - _SLACK <= ended_at - ahead <= now + _SLACK
    ):
        ahead = began_at - first.answered_at
    began_at, answered_at, ended_at = (
        None if at is None else at - ahead for at in (began_at, answered_at, ended_at)
    )
    refusal = next((refusal for refusal in Refusal if refusal.value == confirmed), None)
    return evolve(
        evidence,
        first=evolve(first, status="ANSWER", answered_at=first.answered_at or began_at),
        second=evolve(
            second,
            status=status or second.status,
            cause=int(cause) if second.cause is None and cause.isdecimal() else second.cause,
            answered_at=answered_at or second.answered_at,
            ended_at=second.ended_at or ended_at,
        ),
        dialed=evidence.dialed or bool(status),
        refusal=refusal,
        hung_up_by=evidence.hung_up_by if status or refusal is not None else Leg.FIRST,
        lost=False,
    )


def _merge_first(evidence: CallEvidence, left: str, ahead: float) -> CallEvidence:
    """The evidence together with why the first leg was not answered.

    So the second was not dialled. What was taken for it was the first's, of which only the phone
    was found: whatever rang it had gone already.
    """
    seen, found = evidence.first, evidence.second
    status, cause, ended = (left.split(",") + [""] * 3)[:3]
    ended_at = _seconds(ended)
    first = evolve(
        seen,
        channel=found.channel or seen.channel,
        status=status or seen.status,
        cause=int(cause) if seen.cause is None and cause.isdecimal() else seen.cause,
        sip=seen.sip if found.sip is None else found.sip,
        ended_at=seen.ended_at or (None if ended_at is None else ended_at - ahead),
    )
    # Whether the phone rang before it gave this up, Dial does not tell.
    lost = status == "NOANSWER"
    return evolve(evidence, first=first, second=LegEvidence(), dialed=False, lost=lost)


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


#: Of AstDB, where the dialplan leaves its records.
FAMILY: Final = "c2c"
