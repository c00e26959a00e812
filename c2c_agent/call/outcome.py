"""What became of a leg, and of a call: the evidence of the PBX turned into one outcome.

Pure. One table says what a hangup cause means, one what a dial status means where the cause says
nothing. Asterisk's `Reason` of an OriginateResponse is not used, but for the one thing that it
alone tells: that our timeout ended the ringing (with PJSIP every SIP rejection gives Reason 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Refusal


class Outcome(StrEnum):
    """How a request ended; exactly one (outside contract, section 1)."""

    CONNECTED = "connected"
    FIRST_BUSY = "first_busy"
    FIRST_NO_ANSWER = "first_no_answer"
    FIRST_DECLINED = "first_declined"
    FIRST_UNREACHABLE = "first_unreachable"
    SECOND_BUSY = "second_busy"
    SECOND_NO_ANSWER = "second_no_answer"
    SECOND_DECLINED = "second_declined"
    SECOND_UNREACHABLE = "second_unreachable"
    ABANDONED = "abandoned"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    PBX_ERROR = "pbx_error"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class LegResult(StrEnum):
    """How the dialling of one leg ended."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    UNREACHABLE = "unreachable"
    CANCELLED = "cancelled"  # by our side: the caller left, or the call was cancelled
    UNKNOWN = "unknown"


#: Q.850 causes with a meaning of their own. Two (18 "no user responding", 19 "no answer from
#: user") mean what they say only where the phone rang: chan_pjsip gives 19 also for SIP 480, and
#: 18 for 408.
_BY_CAUSE: Final[Mapping[int, LegResult]] = {
    17: LegResult.BUSY,  # user busy; SIP 486, 600
    21: LegResult.DECLINED,  # call rejected; SIP 401, 403, 407, 603
}
_ALERTING_CAUSES: Final = frozenset({18, 19})

#: Causes that say nothing of why a leg was not answered: none given, normal clearing, answered
#: elsewhere (another of the user's phones, or our own cancel).
_EMPTY_CAUSES: Final = frozenset({0, 16, 26})

#: SIP responses below are provisional (RFC 3261, section 7.2).
_FINAL: Final = 200

#: Dial statuses (app_dial and the DialEnd event), for where the cause is one of the empty ones.
_BY_STATUS: Final[Mapping[str, LegResult]] = {
    "ANSWER": LegResult.ANSWERED,
    "BUSY": LegResult.BUSY,
    "NOANSWER": LegResult.NO_ANSWER,
    "CANCEL": LegResult.CANCELLED,
    "CONGESTION": LegResult.UNREACHABLE,
    "CHANUNAVAIL": LegResult.UNREACHABLE,
    "INVALIDARGS": LegResult.UNREACHABLE,
    "DONTCALL": LegResult.DECLINED,
    "TORTURE": LegResult.DECLINED,
}

_OUTCOMES: Final[Mapping[tuple[Leg, LegResult], Outcome]] = {
    (Leg.FIRST, LegResult.BUSY): Outcome.FIRST_BUSY,
    (Leg.FIRST, LegResult.NO_ANSWER): Outcome.FIRST_NO_ANSWER,
    (Leg.FIRST, LegResult.DECLINED): Outcome.FIRST_DECLINED,
    (Leg.FIRST, LegResult.UNREACHABLE): Outcome.FIRST_UNREACHABLE,
    (Leg.SECOND, LegResult.BUSY): Outcome.SECOND_BUSY,
    (Leg.SECOND, LegResult.NO_ANSWER): Outcome.SECOND_NO_ANSWER,
    (Leg.SECOND, LegResult.DECLINED): Outcome.SECOND_DECLINED,
    (Leg.SECOND, LegResult.UNREACHABLE): Outcome.SECOND_UNREACHABLE,
    (Leg.SECOND, LegResult.CANCELLED): Outcome.ABANDONED,
}

#: Something answered the first leg, but no person who wanted the call.
_REFUSALS: Final[Mapping[Refusal, Outcome]] = {
    Refusal.UNCONFIRMED: Outcome.FIRST_NO_ANSWER,
    Refusal.DECLINED: Outcome.FIRST_DECLINED,
}


def leg_result(leg: LegEvidence) -> LegResult:
    """How the dialling of a leg ended, from its evidence."""
    rang = leg.ringing_at is not None
    if leg.answered_at is not None or leg.status == "ANSWER":
        return LegResult.ANSWERED
    if leg.status == "CANCEL":
        return LegResult.CANCELLED
    if leg.cause is not None and leg.cause not in _EMPTY_CAUSES:
        if leg.cause in _ALERTING_CAUSES:
            return LegResult.NO_ANSWER if rang else LegResult.UNREACHABLE
        return _BY_CAUSE.get(leg.cause, LegResult.UNREACHABLE)
    return _by_status(leg)


def _by_status(leg: LegEvidence) -> LegResult:
    """What the dial status says, where the cause says nothing."""
    if leg.status == "CHANUNAVAIL" and leg.ringing_at is not None:
        # A dialplan behind the leg gave up by itself: the phone rang, and it passed no cause on.
        return LegResult.NO_ANSWER
    if leg.status == "BUSY" and leg.sip is not None and leg.sip < _FINAL:
        # The phone itself never said so: it forwards calls, which is not followed, and app_dial
        # counts that as busy (seen on 16.28 and 22.10; SIP's last word is then "100 Trying").
        return LegResult.UNREACHABLE
    return _BY_STATUS.get(leg.status or "", LegResult.UNKNOWN)


def outcome(evidence: CallEvidence, *, cancelled: bool) -> Outcome:
    """The one outcome of a call of which nothing is left on the PBX.

    `cancelled`: its hanging up was asked for before anybody talked.
    """
    second = leg_result(evidence.second)
    if second is LegResult.ANSWERED:
        return Outcome.CONNECTED
    if cancelled:
        return Outcome.CANCELLED
    first = leg_result(evidence.first)
    if first is LegResult.ANSWERED or evidence.dialed:
        return _after_first_answered(evidence, second)
    if evidence.timed_out is Leg.FIRST:
        return Outcome.FIRST_NO_ANSWER
    silent = evidence.first.ringing_at is None
    if silent and (first is LegResult.NO_ANSWER or evidence.first.cause in _ALERTING_CAUSES):
        # DialEnd's NOANSWER for what was never even tried: no such extension, no device. Or a phone
        # said that it does not answer, and nobody can tell whether it rang before.
        first = LegResult.UNKNOWN if evidence.lost else LegResult.UNREACHABLE
    if first is LegResult.UNKNOWN and not evidence.lost:
        return Outcome.FIRST_UNREACHABLE  # no channel ever came to be
    return _OUTCOMES.get((Leg.FIRST, first), Outcome.UNKNOWN)


def _after_first_answered(evidence: CallEvidence, second: LegResult) -> Outcome:
    """The outcome of a call whose first leg was answered and whose second was not."""
    if evidence.refusal is not None:
        return _REFUSALS[evidence.refusal]
    if evidence.timed_out is Leg.SECOND:
        # Whatever the cause says: of several phones one may have refused.
        return Outcome.SECOND_NO_ANSWER
    if second is not LegResult.UNKNOWN:
        return _OUTCOMES[Leg.SECOND, second]
    if evidence.hung_up_by is Leg.FIRST:
        return Outcome.ABANDONED
    if evidence.lost:
        return Outcome.UNKNOWN
    # Watched to the end: nobody hung up, and the PBX did not go on to the second leg.
    return Outcome.PBX_ERROR
