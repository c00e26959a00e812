"""Evidence to outcome: what was seen on real Asterisks, row by row."""

from __future__ import annotations

import pytest

from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Refusal
from c2c_agent.call.outcome import LegResult, Outcome, leg_result, outcome

ANSWERED = LegEvidence(status="ANSWER", answered_at=5.0, cause=16)
RANG = 1.0  # a time at which a leg rang


@pytest.mark.parametrize(
    ("status", "cause", "rang", "expected"),
    [
        # What SIP phones do, as DialEnd and Hangup tell it.
        ("BUSY", 17, None, LegResult.BUSY),  # 486
        ("NOANSWER", 21, RANG, LegResult.DECLINED),  # 603, DialEnd
        ("CHANUNAVAIL", 21, RANG, LegResult.DECLINED),  # 603, DIALSTATUS
        ("NOANSWER", 19, None, LegResult.UNREACHABLE),  # 480 at once
        ("NOANSWER", 19, RANG, LegResult.NO_ANSWER),  # 480 after ringing: nobody came
        ("NOANSWER", 18, None, LegResult.UNREACHABLE),  # 408, nothing was heard of it
        ("NOANSWER", 18, RANG, LegResult.NO_ANSWER),
        ("NOANSWER", 1, None, LegResult.UNREACHABLE),  # 404
        ("CONGESTION", 34, None, LegResult.UNREACHABLE),  # 503
        ("CHANUNAVAIL", 20, None, LegResult.UNREACHABLE),  # not registered
        ("NOANSWER", 127, None, LegResult.UNREACHABLE),
        # Where the cause says nothing, the dial status does.
        ("BUSY", 0, None, LegResult.BUSY),  # the dialplan's Busy()
        ("CONGESTION", 0, None, LegResult.UNREACHABLE),  # Congestion()
        ("CHANUNAVAIL", 0, None, LegResult.UNREACHABLE),  # no such extension
        ("CHANUNAVAIL", 0, RANG, LegResult.NO_ANSWER),  # a dialplan behind it gave up ringing
        ("NOANSWER", 0, RANG, LegResult.NO_ANSWER),  # our timeout
        ("NOANSWER", 16, None, LegResult.NO_ANSWER),
        ("NOANSWER", None, RANG, LegResult.NO_ANSWER),
        ("INVALIDARGS", 0, None, LegResult.UNREACHABLE),
        ("DONTCALL", 0, RANG, LegResult.DECLINED),
        ("TORTURE", 0, RANG, LegResult.DECLINED),
        ("CANCEL", 16, RANG, LegResult.CANCELLED),
        ("CANCEL", 26, None, LegResult.CANCELLED),
        ("ANSWER", 17, RANG, LegResult.ANSWERED),  # 16 puts the other leg's cause here
        (None, None, None, LegResult.UNKNOWN),
        (None, 16, None, LegResult.UNKNOWN),
        ("SOMETHING", 0, None, LegResult.UNKNOWN),
    ],
)
def test_result_of_a_leg(
    status: str | None, cause: int | None, rang: float | None, expected: LegResult
) -> None:
    """The cause decides, where it says anything; else the dial status."""
    assert leg_result(LegEvidence(status=status, cause=cause, ringing_at=rang)) is expected


@pytest.mark.parametrize(
    ("status", "cause", "sip", "rang", "expected"),
    [
        ("BUSY", 17, 486, None, LegResult.BUSY),
        ("BUSY", 0, 486, None, LegResult.BUSY),
        ("BUSY", 0, 100, None, LegResult.UNREACHABLE),  # 302, seen on 16.28
        ("BUSY", 0, 180, RANG, LegResult.UNREACHABLE),
        ("BUSY", 23, 100, None, LegResult.UNREACHABLE),  # 302, seen on 22.10
        ("CHANUNAVAIL", 0, 100, None, LegResult.UNREACHABLE),
    ],
)
def test_a_phone_that_forwards_is_not_busy(
    status: str, cause: int, sip: int, rang: float | None, expected: LegResult
) -> None:
    """Dial calls it so where it does not follow; SIP's last word tells that the phone did not."""
    leg = LegEvidence(status=status, cause=cause, sip=sip, ringing_at=rang)
    assert leg_result(leg) is expected


def test_a_leg_that_was_seen_answering_was_answered() -> None:
    """Also where nobody told a status."""
    assert leg_result(LegEvidence(answered_at=3.0, cause=19)) is LegResult.ANSWERED


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Outcome.FIRST_BUSY, Outcome.SECOND_BUSY),
        (Outcome.FIRST_DECLINED, Outcome.SECOND_DECLINED),
        (Outcome.FIRST_NO_ANSWER, Outcome.SECOND_NO_ANSWER),
        (Outcome.FIRST_UNREACHABLE, Outcome.SECOND_UNREACHABLE),
    ],
)
def test_each_leg_has_its_own_outcomes(first: Outcome, second: Outcome) -> None:
    """The same evidence on the other leg gives the other leg's outcome."""
    evidence = {
        "busy": LegEvidence(status="BUSY", cause=17),
        "declined": LegEvidence(status="NOANSWER", cause=21),
        "no_answer": LegEvidence(status="NOANSWER", cause=19, ringing_at=1.0),
        "unreachable": LegEvidence(status="NOANSWER", cause=1),
    }[first.value.removeprefix("first_")]
    assert outcome(CallEvidence(first=evidence), cancelled=False) is first
    both = CallEvidence(first=ANSWERED, second=evidence, dialed=True)
    assert outcome(both, cancelled=False) is second


@pytest.mark.parametrize(
    ("evidence", "cancelled", "expected"),
    [
        (CallEvidence(first=ANSWERED, second=ANSWERED), False, Outcome.CONNECTED),
        (CallEvidence(first=ANSWERED, second=ANSWERED), True, Outcome.CONNECTED),
        (CallEvidence(first=LegEvidence(status="NOANSWER", cause=26)), True, Outcome.CANCELLED),
        (
            CallEvidence(first=ANSWERED, second=LegEvidence(status="CANCEL"), dialed=True),
            False,
            Outcome.ABANDONED,
        ),
        # Answered, and put down before the second leg was dialled.
        (CallEvidence(first=ANSWERED, hung_up_by=Leg.FIRST), False, Outcome.ABANDONED),
        # Our timeout, on 16 (cause 0) and 22 (cause 19), rung or not.
        (
            CallEvidence(LegEvidence(status="NOANSWER", cause=0), timed_out=Leg.FIRST),
            False,
            Outcome.FIRST_NO_ANSWER,
        ),
        (
            CallEvidence(LegEvidence(status="NOANSWER", cause=19), timed_out=Leg.FIRST),
            False,
            Outcome.FIRST_NO_ANSWER,
        ),
        # No such extension: DialEnd says NOANSWER, and nothing ever rang.
        (CallEvidence(LegEvidence(status="NOANSWER", cause=0)), False, Outcome.FIRST_UNREACHABLE),
        # One of the second's phones refused, the other rang for as long as it might.
        (
            CallEvidence(ANSWERED, LegEvidence(status="NOANSWER", cause=21), timed_out=Leg.SECOND),
            False,
            Outcome.SECOND_NO_ANSWER,
        ),
        (
            CallEvidence(ANSWERED, LegEvidence(status="NOANSWER", cause=21), dialed=True),
            False,
            Outcome.SECOND_DECLINED,
        ),
        # A phone refused, and nobody saw whether it had rung.
        (
            CallEvidence(LegEvidence(status="NOANSWER", cause=19), lost=True),
            False,
            Outcome.UNKNOWN,
        ),
        # No channel came to be at all.
        (CallEvidence(), False, Outcome.FIRST_UNREACHABLE),
        # The first leg rang, and the dialplan behind it gave up.
        (
            CallEvidence(LegEvidence(status="NOANSWER", cause=0, ringing_at=1.0)),
            False,
            Outcome.FIRST_NO_ANSWER,
        ),
        # Something answered, and no person confirmed; a cancel meanwhile counts.
        (CallEvidence(ANSWERED, refusal=Refusal.UNCONFIRMED), False, Outcome.FIRST_NO_ANSWER),
        (CallEvidence(ANSWERED, refusal=Refusal.DECLINED), False, Outcome.FIRST_DECLINED),
        (CallEvidence(ANSWERED, refusal=Refusal.UNCONFIRMED), True, Outcome.CANCELLED),
        # Watched to the end, answered, nobody hung up, and still no second leg.
        (CallEvidence(first=ANSWERED), False, Outcome.PBX_ERROR),
        # Not watched to the end.
        (CallEvidence(lost=True), False, Outcome.UNKNOWN),
        (CallEvidence(first=ANSWERED, lost=True), False, Outcome.UNKNOWN),
        (CallEvidence(LegEvidence(status="NOANSWER", cause=0), lost=True), False, Outcome.UNKNOWN),
        (CallEvidence(LegEvidence(status="CANCEL", cause=16)), False, Outcome.UNKNOWN),
        (CallEvidence(dialed=True, lost=True), False, Outcome.UNKNOWN),
        (CallEvidence(LegEvidence(status="BUSY", cause=17), lost=True), False, Outcome.FIRST_BUSY),
    ],
)
def test_outcome(evidence: CallEvidence, cancelled: bool, expected: Outcome) -> None:
    """One outcome for each call, `unknown` only where the end was not watched."""
    assert outcome(evidence, cancelled=cancelled) is expected
