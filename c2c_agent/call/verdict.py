"""How a call ended: its one outcome, whose end it was, who hung up, and when the talk was over.

Pure. `verdict` is asked once, when nothing of the call is left on the PBX. It alone judges: a
driver tells what was seen and said, `ending` puts that together with what is stored.

One table says what a hangup cause means, one what a dial status means where the cause says nothing.
Asterisk's `Reason` of an OriginateResponse is not used, but for the one thing that it alone tells:
that our timeout ended the ringing (with PJSIP every SIP rejection gives Reason 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from attrs import frozen

from c2c_agent.call.call import Call, CallState, HungUpBy, OriginatePlan, end_of_talk
from c2c_agent.call.ending import SLACK, all_evidence
from c2c_agent.call.evidence import (
    NO_MEDIA,
    CallEvidence,
    Leg,
    LegEvidence,
    NotConfirmed,
    SaidBy,
)
from c2c_agent.call.outcome import Outcome, UnknownReason


@frozen
class Verdict:
    """How a call ended. `evidence` is all that is known of it.

    `hung_up_by`: None where nobody hung up, or nobody knows. `hung_up_at`: when the talk was over,
    or, where there was none, when somebody hung up. `cause`: of the leg whose end was the call's.
    `reason`: why the outcome is unknown, where it is.
    """

    evidence: CallEvidence
    outcome: Outcome
    hung_up_by: HungUpBy | None
    hung_up_at: float | None
    cause: int | None
    cause_text: str | None
    reason: UnknownReason | None = None


def verdict(call: Call, told: CallEvidence) -> Verdict:
    """How a call ended of which nothing is left on the PBX, and of whose end this is told."""
    evidence = all_evidence(call, told)
    result = _outcome(call, evidence)
    decisive = _decisive_leg(evidence, result)
    ended = evidence.hung_up_at
    if result is Outcome.CONNECTED:
        ended = end_of_talk(ended, evidence.second)
    return Verdict(
        evidence,
        outcome=result,
        hung_up_by=_who_hung_up(call, evidence, result),
        hung_up_at=ended,
        cause=decisive.cause,
        cause_text=decisive.cause_text,
        reason=_reason(evidence) if result is Outcome.UNKNOWN else None,
    )


def _reason(evidence: CallEvidence) -> UnknownReason:
    return UnknownReason.NOT_TOLD if evidence.not_told else UnknownReason.LOST


# What became of one leg


class LegResult(StrEnum):
    """How the dialling of one leg ended."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    UNREACHABLE = "unreachable"
    CANCELLED = "cancelled"  # by our side: the first hung up, or the call was cancelled
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

#: Seconds by which a timer of the PBX may seem to end early.
_TIMER: Final = 0.1

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
    "DECLINED": LegResult.DECLINED,  # no word of Asterisk's, whose causes say so
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
_NOT_CONFIRMED: Final[Mapping[NotConfirmed, Outcome]] = {
    NotConfirmed.SILENT: Outcome.FIRST_NO_ANSWER,
    NotConfirmed.DECLINED: Outcome.FIRST_DECLINED,
}


#: What a dialplan may say where it alone did not put a call through: no phone rang, and nobody has
#: declined. That a number is busy it says of the number, as a phone does.
_BY_DIALPLAN: Final[Mapping[LegResult, LegResult]] = {
    LegResult.NO_ANSWER: LegResult.UNREACHABLE,
    LegResult.DECLINED: LegResult.UNREACHABLE,
}


def leg_result(leg: LegEvidence) -> LegResult:
    """How the dialling of a leg ended, from its evidence."""
    result = _as_told(leg)
    return _BY_DIALPLAN.get(result, result) if leg.by is SaidBy.DIALPLAN else result


def _as_told(leg: LegEvidence) -> LegResult:
    """The same, whoever said so."""
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
    if leg.status == "NOANSWER" and leg.unrung:
        return LegResult.UNREACHABLE  # a dialplan has let ring, and had nobody to ring
    if leg.status == "BUSY" and leg.sip is not None and leg.sip < _FINAL:
        # The phone itself never said so: it forwards calls, which is not followed, and app_dial
        # counts that as busy (seen on 16.28 and 22.10; SIP's last word is then "100 Trying").
        return LegResult.UNREACHABLE
    return _BY_STATUS.get(leg.status or "", LegResult.UNKNOWN)


# Whose ringing lasted as long as it might


def _rang_out(call: Call, evidence: CallEvidence, leg: Leg) -> bool:
    """Whether the leg's ringing was ended by its time.

    The PBX says so of our timeout. A phone was seen ringing until it was given up: the limit of who
    dialled it may be shorter than ours. Or the clock tells.
    """
    if evidence.timed_out is leg:
        return True
    result = leg_result(evidence.first if leg is Leg.FIRST else evidence.second)
    if leg in evidence.rang_out and result not in {LegResult.ANSWERED, LegResult.CANCELLED}:
        return True
    if call.plan is None:
        return False
    if leg is Leg.FIRST:
        return _first_took(call, evidence.first, call.plan.timeout - SLACK)
    return _second_took(call, call.plan, evidence)


def _first_took(call: Call, first: LegEvidence, seconds: float) -> bool:
    """Where nobody watched it, the dialplan only saw that its dialling was given up."""
    placed = call.pbx_request.at if call.pbx_request is not None else None
    return first.status == "CANCEL" and _lasted(placed, first, seconds)


def _second_took(call: Call, plan: OriginatePlan, evidence: CallEvidence) -> bool:
    """Dial's NOANSWER can be a refusal, too, or be of two phones of which one refused."""
    dialed = call.dialed_at
    if dialed is None and not plan.confirm_seconds:
        dialed = evidence.first.answered_at  # the dialplan, alone, dials at once
    second = evidence.second
    return second.status == "NOANSWER" and _lasted(dialed, second, plan.timeout)


def _lasted(begin: float | None, leg: LegEvidence, seconds: float) -> bool:
    return begin is not None and leg.ended_at is not None and leg.ended_at - begin >= seconds


# The outcome


def _outcome(call: Call, evidence: CallEvidence) -> Outcome:
    second = leg_result(evidence.second)
    if second is LegResult.ANSWERED:
        return Outcome.CONNECTED
    if call.cancelled and call.state is not CallState.CONNECTED:
        return Outcome.CANCELLED  # before anybody talked
    first = leg_result(evidence.first)
    if first is LegResult.ANSWERED or evidence.dialed:
        return _after_first_answered(call, evidence, second)
    if _rang_out(call, evidence, Leg.FIRST):
        return Outcome.FIRST_NO_ANSWER
    silent = evidence.first.ringing_at is None
    if silent and (first is LegResult.NO_ANSWER or evidence.first.cause in _ALERTING_CAUSES):
        # DialEnd's NOANSWER for what was never even tried: no such extension, no device. Or a phone
        # said that it does not answer, and nobody can tell whether it rang before.
        first = LegResult.UNKNOWN if evidence.lost else LegResult.UNREACHABLE
    if first is LegResult.UNKNOWN and not evidence.lost:
        return Outcome.FIRST_UNREACHABLE  # no channel ever came to be
    return _OUTCOMES.get((Leg.FIRST, first), Outcome.UNKNOWN)


def _after_first_answered(call: Call, evidence: CallEvidence, second: LegResult) -> Outcome:
    """The outcome of a call whose first leg was answered and whose second was not."""
    if evidence.not_confirmed is not None:
        return _NOT_CONFIRMED[evidence.not_confirmed]
    if _rang_out(call, evidence, Leg.SECOND):
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


# Whose end it was


def _decisive_leg(evidence: CallEvidence, result: Outcome) -> LegEvidence:
    """The leg whose end was the call's end."""
    if result.value.startswith(Leg.SECOND.value):
        return evidence.second
    if result is Outcome.CONNECTED:
        leg = _fell_silent(evidence) or evidence.hung_up_by
        return evidence.first if leg is Leg.FIRST else evidence.second
    return evidence.first


def _who_hung_up(call: Call, evidence: CallEvidence, result: Outcome) -> HungUpBy | None:
    """Who ended the call; None where nobody did, or nobody knows."""
    by = _who_ended_the_talk(call, evidence) if result is Outcome.CONNECTED else None
    if by is not None:
        return by
    if call.cancelled:
        return HungUpBy.CANCEL
    if result is Outcome.ABANDONED:
        return HungUpBy.FIRST
    if result is Outcome.CONNECTED and _reached_its_limit(call, evidence):
        return HungUpBy.LIMIT
    return None


def _who_ended_the_talk(call: Call, evidence: CallEvidence) -> HungUpBy | None:
    """Which of the two, or what did so in the place of one; None where no leg was told to have."""
    leg = evidence.hung_up_by
    if _fell_silent(evidence) is not None:
        return HungUpBy.MEDIA_TIMEOUT
    if leg is None:
        return None
    if evidence.lost:
        return _who_made_it_end(call, evidence, leg)
    return HungUpBy.LIMIT if _ends_with_its_limit(call, evidence) else HungUpBy(leg.value)


def _fell_silent(evidence: CallEvidence) -> Leg | None:
    """The leg of which the PBX has heard nothing any more; None where that was not the end.

    A phone may hang up with that cause, too: so not where one of the two was seen to hang up.
    """
    if evidence.hung_up_by is not None and not evidence.lost:
        return None
    legs = ((Leg.SECOND, evidence.second), (Leg.FIRST, evidence.first))
    silent = [leg for leg, told in legs if told.cause == NO_MEDIA]
    if evidence.hung_up_by is not None:
        silent = [leg for leg in silent if leg is evidence.hung_up_by]
    return silent[0] if silent else None


def _who_made_it_end(call: Call, evidence: CallEvidence, leg: Leg) -> HungUpBy:
    """Who ended a talk whose end was not watched: all that is known is which leg ended first."""
    if call.cancelled and leg is Leg.FIRST:
        return HungUpBy.CANCEL  # that is the leg that a cancel hangs up
    return HungUpBy.LIMIT if _reached_its_limit(call, evidence) else HungUpBy(leg.value)


def _ends_with_its_limit(call: Call, evidence: CallEvidence) -> bool:
    """Whether a leg hung up just when the PBX ended the talk.

    What it ends may tell of that as if a party had asked for it (chan_iax2.c queues a hangup).
    """
    began, ended = evidence.second.answered_at, evidence.hung_up_at
    if began is None or ended is None:
        return False
    return -_TIMER <= ended - began - call.max_duration <= SLACK


def _reached_its_limit(call: Call, evidence: CallEvidence) -> bool:
    began = evidence.second.answered_at
    ended = end_of_talk(evidence.hung_up_at, evidence.second)
    if began is None or ended is None:
        return False
    return ended - began >= call.max_duration - SLACK
