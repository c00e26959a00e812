"""How a call ended: its outcome as real Asterisks showed it, row by row; who hung up, and when."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.call.call import Call, CallState, Exchange, HungUpBy
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, NotConfirmed, SaidBy
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.verdict import LegResult, leg_result, verdict
from tests.playbook import PLAN, a_call

ANSWERED = LegEvidence(status="ANSWER", answered_at=5.0, cause=16)
RANG = 1.0  # a time at which a leg rang


def outcome(evidence: CallEvidence, *, cancelled: bool) -> Outcome:
    """That of a call of which nothing was seen before."""
    return verdict(a_call(cancelled=cancelled), evidence).outcome


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
    ("by", "cause", "rang", "expected"),
    [
        (SaidBy.DIALPLAN, 21, None, LegResult.UNREACHABLE),  # a class of service
        (SaidBy.DIALPLAN, 19, RANG, LegResult.UNREACHABLE),  # it let ringing be heard
        (SaidBy.DIALPLAN, 18, None, LegResult.UNREACHABLE),
        (SaidBy.DIALPLAN, 16, RANG, LegResult.UNREACHABLE),
        (SaidBy.DIALPLAN, 17, None, LegResult.BUSY),  # "do not disturb", or a call limit
        (SaidBy.DIALPLAN, 34, None, LegResult.UNREACHABLE),
        (SaidBy.DEVICE, 21, None, LegResult.DECLINED),
        (SaidBy.DEVICE, 19, RANG, LegResult.NO_ANSWER),
        (None, 21, None, LegResult.DECLINED),
    ],
)
def test_a_dialplan_is_no_person(
    by: SaidBy | None, cause: int, rang: float | None, expected: LegResult
) -> None:
    """Where it alone refused, no phone rang and nobody declined; that it is busy may be so."""
    leg = LegEvidence(status="CHANUNAVAIL", cause=cause, ringing_at=rang, by=by)
    assert leg_result(leg) is expected


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


@pytest.mark.parametrize(
    ("status", "cause", "expected"),
    [
        ("NOANSWER", 0, LegResult.UNREACHABLE),  # a queue without members lets ring, 22.10
        ("CHANUNAVAIL", 16, LegResult.UNREACHABLE),  # a ring group without any
        ("NOANSWER", 19, LegResult.UNREACHABLE),  # whose only phone there said 480
        ("CHANUNAVAIL", 17, LegResult.BUSY),
    ],
)
def test_ringing_that_was_let_hear_alone(status: str, cause: int, expected: LegResult) -> None:
    """Nothing has rung, whatever the dialplan let hear; so nobody can have left it ringing."""
    leg = LegEvidence(status=status, cause=cause, ringing_at=RANG, ended_at=2.0, unrung=True)
    end = verdict(a_call(), CallEvidence(first=ANSWERED, second=leg, dialed=True))
    assert end.outcome.value == f"second_{expected.value}"
    assert end.evidence.second.ringing_at is None


def test_what_has_let_ring_and_answered() -> None:
    """A voicemail or a queue: for so long its caller heard it ring."""
    leg = LegEvidence(status="ANSWER", ringing_at=RANG, answered_at=2.0, unrung=True)
    end = verdict(a_call(), CallEvidence(first=ANSWERED, second=leg, dialed=True))
    assert (end.outcome, end.evidence.second.ringing_at) == (Outcome.CONNECTED, RANG)


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
        (CallEvidence(ANSWERED, not_confirmed=NotConfirmed.SILENT), False, Outcome.FIRST_NO_ANSWER),
        (
            CallEvidence(ANSWERED, not_confirmed=NotConfirmed.DECLINED),
            False,
            Outcome.FIRST_DECLINED,
        ),
        (CallEvidence(ANSWERED, not_confirmed=NotConfirmed.SILENT), True, Outcome.CANCELLED),
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


class TestRangOut:
    """A leg that rang for as long as it might: told, seen at its phone, or by the clock."""

    @pytest.mark.parametrize(
        ("status", "ended_at", "rang_out"),
        [
            ("CANCEL", 1030.1, True),
            ("CANCEL", 1029.2, True),  # timers are not that exact
            ("CANCEL", 1020.0, False),  # somebody else hung it up
            ("CANCEL", None, False),
            ("BUSY", 1030.1, False),
        ],
    )
    def test_nobody_watched_the_first_leg_s_timeout(
        self, status: str, ended_at: float | None, *, rang_out: bool
    ) -> None:
        """The dialplan only saw that the ringing was given up; the clock says by whom."""
        call = evolve(a_call(), plan=PLAN, pbx_request=Exchange(1000.0, {}))
        told = CallEvidence(LegEvidence(status=status, ended_at=ended_at))
        no_answer = Outcome.FIRST_NO_ANSWER
        assert (verdict(call, told).outcome is no_answer) is rang_out
        assert verdict(a_call(), told).outcome is not no_answer
        assert verdict(a_call(plan=PLAN), told).outcome is not no_answer

    @pytest.mark.parametrize(
        ("status", "ended_at", "rang_out"),
        [
            ("NOANSWER", 1130.0, True),
            ("NOANSWER", 1129.5, False),  # it was refused just before
            ("NOANSWER", None, False),
            ("BUSY", 1130.1, False),
        ],
    )
    def test_the_second_leg_s_timeout(
        self, status: str, ended_at: float | None, *, rang_out: bool
    ) -> None:
        """Dial says the same of a refusal; it rang for as long as it might."""
        call = evolve(a_call(), plan=PLAN, dialed_at=1100.0)
        second = LegEvidence(status=status, cause=21, ended_at=ended_at)
        expected = Outcome.SECOND_NO_ANSWER if rang_out else Outcome.SECOND_DECLINED
        assert verdict(call, CallEvidence(second=second)).outcome is expected
        stored = evolve(call, second=second)
        assert verdict(stored, CallEvidence(lost=True)).outcome is expected
        unplanned = a_call(dialed_at=1100.0)
        assert verdict(unplanned, CallEvidence(second=second)).outcome is Outcome.SECOND_DECLINED

    def test_the_dialplan_rang_the_second_alone(self) -> None:
        """It began when the first was there, unless that one was asked to confirm before."""
        call = evolve(a_call(), plan=PLAN)
        told = CallEvidence(
            LegEvidence(status="ANSWER", answered_at=1100.0),
            LegEvidence(status="NOANSWER", cause=17, ended_at=1130.0),
        )
        assert verdict(call, told).outcome is Outcome.SECOND_NO_ANSWER
        confirming = evolve(call, plan=evolve(PLAN, confirm_seconds=20))
        assert verdict(confirming, told).outcome is Outcome.SECOND_BUSY

    @pytest.mark.parametrize(
        ("leg", "expected"),
        [
            (LegEvidence(status="BUSY", cause=17), Outcome.SECOND_NO_ANSWER),
            (LegEvidence(), Outcome.SECOND_NO_ANSWER),
            (LegEvidence(status="CANCEL"), Outcome.ABANDONED),
            (LegEvidence(status="ANSWER"), Outcome.CONNECTED),
        ],
    )
    def test_a_phone_rang_until_it_was_given_up(self, leg: LegEvidence, expected: Outcome) -> None:
        """The limit of who dialled it may be shorter than ours; an answer counts more."""
        told = CallEvidence(ANSWERED, leg, rang_out=frozenset({Leg.SECOND}), dialed=True)
        assert outcome(told, cancelled=False) is expected
        first = evolve(told, first=leg, second=LegEvidence(), rang_out=frozenset(Leg), dialed=False)
        assert (outcome(first, cancelled=False) is Outcome.FIRST_NO_ANSWER) is (
            expected is Outcome.SECOND_NO_ANSWER
        )


SECOND_ANSWERED = LegEvidence(cause=17, answered_at=100.0, ended_at=160.0)
FIRST_ENDED = LegEvidence(cause=16, cause_text="Normal Clearing")
TALKED = CallEvidence(FIRST_ENDED, SECOND_ANSWERED, dialed=True)
BUSY = CallEvidence(ANSWERED, LegEvidence(status="BUSY", cause=17), dialed=True)


@pytest.mark.parametrize(
    ("told", "result", "cause"),
    [
        (BUSY, Outcome.SECOND_BUSY, 17),
        (CallEvidence(LegEvidence(status="BUSY", cause=17)), Outcome.FIRST_BUSY, 17),
        (evolve(BUSY, second=LegEvidence(status="CANCEL", cause=0)), Outcome.ABANDONED, 16),
        (evolve(TALKED, hung_up_by=Leg.FIRST), Outcome.CONNECTED, 16),
        (evolve(TALKED, hung_up_by=Leg.SECOND), Outcome.CONNECTED, 17),
        (TALKED, Outcome.CONNECTED, 17),
    ],
)
def test_the_leg_whose_end_it_was(told: CallEvidence, result: Outcome, cause: int) -> None:
    """Its hangup cause is that of the call."""
    end = verdict(a_call(), told)
    assert (end.outcome, end.cause) == (result, cause)
    expected = "Normal Clearing" if told.hung_up_by is Leg.FIRST else None
    assert end.cause_text == expected


class TestWhoHungUp:
    """One of the two, a cancel, the longest duration, or nobody."""

    def who(self, call: Call, told: CallEvidence) -> HungUpBy | None:
        """Who hung up where two have talked."""
        end = verdict(call, told)
        assert end.outcome is Outcome.CONNECTED
        return end.hung_up_by

    def test_a_talk(self) -> None:
        """Whoever ended it, also when a cancel came meanwhile."""
        evidence = evolve(TALKED, hung_up_by=Leg.SECOND)
        assert self.who(a_call(cancelled=True), evidence) is HungUpBy.SECOND

    def test_cancelled(self) -> None:
        """Before the talk or during it."""
        cancelled = a_call(cancelled=True)
        assert self.who(cancelled, TALKED) is HungUpBy.CANCEL
        end = verdict(cancelled, CallEvidence())
        assert (end.outcome, end.hung_up_by) == (Outcome.CANCELLED, HungUpBy.CANCEL)

    def test_cancelled_while_they_talked(self) -> None:
        """Where the talk was seen and what is told denies it, nobody says that there was none."""
        talking = a_call(cancelled=True, state=CallState.CONNECTED)
        assert verdict(talking, CallEvidence(lost=True)).outcome is Outcome.UNKNOWN

    def test_a_cancel_that_was_not_watched(self) -> None:
        """It hangs the first leg up: that this one ended first says nothing of its user."""
        cancelled = a_call(cancelled=True)
        first = evolve(TALKED, hung_up_by=Leg.FIRST)
        assert self.who(cancelled, first) is HungUpBy.FIRST
        unwatched = evolve(first, lost=True)
        assert self.who(cancelled, unwatched) is HungUpBy.CANCEL
        assert self.who(a_call(), unwatched) is HungUpBy.FIRST
        second = evolve(unwatched, hung_up_by=Leg.SECOND)
        assert self.who(cancelled, second) is HungUpBy.SECOND

    @pytest.mark.parametrize("by", list(Leg))
    def test_the_longest_duration_that_was_not_watched(self, by: Leg) -> None:
        """Then it was the clock, whichever leg ended first."""
        call = a_call(max_duration=60)
        ended = evolve(TALKED, hung_up_by=by)
        assert self.who(call, ended) is HungUpBy(by.value)
        unwatched = evolve(ended, lost=True)
        assert self.who(call, unwatched) is HungUpBy.LIMIT
        longer = evolve(call, max_duration=62)
        assert self.who(longer, unwatched) is HungUpBy(by.value)

    @pytest.mark.parametrize("leg", list(Leg))
    def test_a_phone_fell_silent(self, leg: Leg) -> None:
        """The PBX ended the talk; the cause is that of the phone that was not heard any more."""
        silent = evolve(getattr(TALKED, leg.value), cause=44)
        told = evolve(TALKED, **{leg.value: silent})
        end = verdict(a_call(), told)
        assert (end.outcome, end.hung_up_by) == (Outcome.CONNECTED, HungUpBy.MEDIA_TIMEOUT)
        assert end.cause == 44

    def test_a_phone_that_hangs_up_with_that_cause(self) -> None:
        """It was seen to do so, and nothing fell silent; nor did its peer, which has it, too."""
        both = evolve(
            TALKED, first=evolve(TALKED.first, cause=44), second=evolve(TALKED.second, cause=44)
        )
        assert self.who(a_call(), evolve(both, hung_up_by=Leg.SECOND)) is HungUpBy.SECOND

    def test_a_phone_fell_silent_while_nobody_watched(self) -> None:
        """All that is known is which leg ended first, and why."""
        silent = evolve(TALKED, first=evolve(TALKED.first, cause=44), lost=True)
        told = evolve(silent, hung_up_by=Leg.FIRST)
        assert self.who(a_call(), told) is HungUpBy.MEDIA_TIMEOUT
        assert self.who(a_call(), evolve(told, hung_up_by=Leg.SECOND)) is HungUpBy.SECOND

    def test_abandoned(self) -> None:
        """That is what it means."""
        end = verdict(a_call(), evolve(BUSY, second=LegEvidence(status="CANCEL")))
        assert (end.outcome, end.hung_up_by) == (Outcome.ABANDONED, HungUpBy.FIRST)

    def test_nobody(self) -> None:
        """A busy phone hangs up nothing."""
        end = verdict(a_call(), evolve(BUSY, hung_up_by=Leg.SECOND))
        assert (end.outcome, end.hung_up_by) == (Outcome.SECOND_BUSY, None)

    @pytest.mark.parametrize(
        ("longest", "who"), [(60, HungUpBy.LIMIT), (61, HungUpBy.LIMIT), (62, None)]
    )
    def test_the_longest_duration(self, longest: int, who: HungUpBy | None) -> None:
        """Where neither hung up, the clock did, to the second."""
        assert self.who(a_call(max_duration=longest), TALKED) is who

    @pytest.mark.parametrize(
        ("at", "who"),
        [
            (159.8, HungUpBy.SECOND),
            (159.95, HungUpBy.LIMIT),
            (160.9, HungUpBy.LIMIT),
            (161.5, HungUpBy.SECOND),
        ],
    )
    def test_a_leg_that_seems_to_hang_up_at_the_longest_duration(
        self, at: float, who: HungUpBy
    ) -> None:
        """The PBX ended it, which some channels tell as their own wish."""
        ended = evolve(TALKED, hung_up_by=Leg.SECOND, hung_up_at=at)
        assert self.who(a_call(max_duration=60), ended) is who

    @pytest.mark.parametrize(
        "second", [LegEvidence(status="ANSWER"), LegEvidence(answered_at=100.0)]
    )
    def test_times_that_are_not_known(self, second: LegEvidence) -> None:
        """Then nobody is named."""
        assert self.who(a_call(), evolve(TALKED, second=second)) is None


class TestEndOfTheTalk:
    def test_somebody_hung_up(self) -> None:
        """Then; the channel ends a moment later."""
        told = evolve(TALKED, hung_up_by=Leg.FIRST, hung_up_at=159.5)
        assert verdict(a_call(), told).hung_up_at == 159.5

    def test_nobody_hung_up(self) -> None:
        """Then it was over when the second leg was."""
        assert verdict(a_call(), TALKED).hung_up_at == 160.0

    def test_nobody_talked(self) -> None:
        """There is no such time, unless somebody hung up before."""
        assert verdict(a_call(), BUSY).hung_up_at is None
        assert verdict(a_call(), evolve(BUSY, hung_up_at=9.0)).hung_up_at == 9.0
