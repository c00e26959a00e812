"""What the evidence of a call that is over says."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.call.call import Exchange, HungUpBy
from c2c_agent.call.ending import all_evidence, decisive_leg, second_over, who_hung_up
from c2c_agent.call.events import SecondEnded
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.call.outcome import Outcome
from tests.playbook import PLAN, a_call

FIRST, SECOND = LegEvidence(cause=16), LegEvidence(cause=17)
TALKED = CallEvidence(FIRST, LegEvidence(answered_at=100.0, ended_at=160.0), dialed=True)


class TestAllEvidence:
    """What was seen on the way, and what was told at the end."""

    def test_the_end_knows_less(self) -> None:
        """What was stored stays: channel, ringing, answer, and that the second was dialled."""
        seen = LegEvidence(channel="PJSIP/100-1", ringing_at=1.0, answered_at=2.0)
        call = evolve(a_call(), first=seen, dialed_at=2.5)
        assert all_evidence(call, CallEvidence(first=LegEvidence(cause=16))) == CallEvidence(
            first=evolve(seen, cause=16), dialed=True
        )

    def test_the_end_knows_more(self) -> None:
        """The PBX's own time of an answer is better than when it was heard here."""
        call = evolve(a_call(), first=LegEvidence(channel="a", ringing_at=1.0, answered_at=2.5))
        told = LegEvidence(channel="b", ringing_at=1.5, answered_at=2.0)
        merged = all_evidence(call, CallEvidence(first=told))
        assert merged.first == LegEvidence(channel="b", ringing_at=1.0, answered_at=2.0)
        assert not merged.dialed

    @pytest.mark.parametrize("request_seen", [True, False])
    @pytest.mark.parametrize("jump", [-3600.0, 3600.0])
    def test_the_pbx_s_clock_was_set_while_they_talked(
        self, jump: float, *, request_seen: bool
    ) -> None:
        """Nobody answers before the order, or after the end: what was seen here counts then."""
        call = evolve(a_call(), second=LegEvidence(answered_at=1010.0))
        if request_seen:
            call = evolve(call, pbx_request=Exchange(1000.0, {}))
        told = LegEvidence(status="ANSWER", answered_at=1010.1 + jump, ended_at=1030.0)
        assert all_evidence(call, CallEvidence(second=told)).second.answered_at == 1010.0
        assert second_over(call, SecondEnded(told)).second.answered_at == 1010.0
        right = evolve(told, answered_at=1010.1)
        assert all_evidence(call, CallEvidence(second=right)).second == right
        unseen = evolve(call, second=LegEvidence())
        assert all_evidence(unseen, CallEvidence(second=told)).second == told

    @pytest.mark.parametrize(
        ("status", "ended_at", "timed_out"),
        [
            ("CANCEL", 1030.1, Leg.FIRST),
            ("CANCEL", 1029.2, Leg.FIRST),  # timers are not that exact
            ("CANCEL", 1020.0, None),  # somebody else hung it up
            ("CANCEL", None, None),
            ("BUSY", 1030.1, None),
        ],
    )
    def test_nobody_watched_the_first_leg_s_timeout(
        self, status: str, ended_at: float | None, timed_out: Leg | None
    ) -> None:
        """The dialplan only saw that the ringing was given up; the clock says by whom."""
        call = evolve(a_call(), plan=PLAN, pbx_request=Exchange(1000.0, {}))
        told = CallEvidence(LegEvidence(status=status, ended_at=ended_at))
        assert all_evidence(call, told).timed_out is timed_out
        assert all_evidence(a_call(), told).timed_out is None

    @pytest.mark.parametrize(
        ("status", "ended_at", "timed_out"),
        [
            ("NOANSWER", 1130.0, Leg.SECOND),
            ("NOANSWER", 1129.5, None),  # it was refused just before
            ("NOANSWER", None, None),
            ("BUSY", 1130.1, None),
        ],
    )
    def test_the_second_leg_s_timeout(
        self, status: str, ended_at: float | None, timed_out: Leg | None
    ) -> None:
        """Dial says the same of a refusal; it rang for as long as it might."""
        call = evolve(a_call(), plan=PLAN, dialed_at=1100.0)
        second = LegEvidence(status=status, cause=21, ended_at=ended_at)
        assert all_evidence(call, CallEvidence(second=second)).timed_out is timed_out
        stored = evolve(call, second=second)
        assert all_evidence(stored, CallEvidence(lost=True)).timed_out is timed_out
        assert all_evidence(a_call(), CallEvidence(second=second)).timed_out is None

    def test_the_dialplan_rang_the_second_alone(self) -> None:
        """It began when the first was there, unless that one was asked to confirm before."""
        call = evolve(a_call(), plan=PLAN)
        told = CallEvidence(
            LegEvidence(status="ANSWER", answered_at=1100.0),
            LegEvidence(status="NOANSWER", cause=17, ended_at=1130.0),
        )
        assert all_evidence(call, told).timed_out is Leg.SECOND
        confirming = evolve(call, plan=evolve(PLAN, confirm_seconds=20))
        assert all_evidence(confirming, told).timed_out is None

    def test_the_second_leg_s_end_is_stored_before_the_call_s(self) -> None:
        """An agent that crashes between the two tells the same as one that does not."""
        answered = evolve(a_call(), second=LegEvidence(answered_at=10.0))
        evidence = LegEvidence(status="ANSWER", cause=16, sip=200, ended_at=20.0)
        over = second_over(answered, SecondEnded(evidence, Leg.SECOND, 19.5))
        assert over.second == evolve(evidence, answered_at=10.0)
        lost = all_evidence(over, CallEvidence(lost=True))
        assert lost == CallEvidence(
            second=over.second, hung_up_by=Leg.SECOND, hung_up_at=19.5, lost=True
        )

    def test_nobody_hung_up(self) -> None:
        """Who ended it is told as far as it is known."""
        over = second_over(a_call(), SecondEnded(LegEvidence(status="BUSY")))
        assert (over.hung_up_by, over.hung_up_at) == (None, None)
        assert all_evidence(over, CallEvidence()).hung_up_by is None


@pytest.mark.parametrize(
    ("result", "hung_up_by", "leg"),
    [
        (Outcome.SECOND_BUSY, None, SECOND),
        (Outcome.FIRST_BUSY, None, FIRST),
        (Outcome.ABANDONED, Leg.FIRST, FIRST),
        (Outcome.CONNECTED, Leg.FIRST, FIRST),
        (Outcome.CONNECTED, Leg.SECOND, SECOND),
        (Outcome.CONNECTED, None, SECOND),
    ],
)
def test_the_leg_whose_end_it_was(
    result: Outcome, hung_up_by: Leg | None, leg: LegEvidence
) -> None:
    """Its hangup cause is that of the call."""
    assert decisive_leg(CallEvidence(FIRST, SECOND, hung_up_by=hung_up_by), result) is leg


class TestWhoHungUp:
    """One of the two, a cancel, the longest duration, or nobody."""

    def test_a_talk(self) -> None:
        """Whoever ended it, also when a cancel came meanwhile."""
        evidence = evolve(TALKED, hung_up_by=Leg.SECOND)
        cancelled = evolve(a_call(), cancelled=True)
        assert who_hung_up(cancelled, evidence, Outcome.CONNECTED) is HungUpBy.SECOND

    def test_cancelled(self) -> None:
        """Before the talk or during it."""
        cancelled = evolve(a_call(), cancelled=True)
        assert who_hung_up(cancelled, TALKED, Outcome.CONNECTED) is HungUpBy.CANCEL
        assert who_hung_up(cancelled, CallEvidence(), Outcome.CANCELLED) is HungUpBy.CANCEL

    def test_a_cancel_that_was_not_watched(self) -> None:
        """It hangs the first leg up: that this one left first says nothing of its user."""
        cancelled = evolve(a_call(), cancelled=True)
        left = evolve(TALKED, hung_up_by=Leg.FIRST)
        assert who_hung_up(cancelled, left, Outcome.CONNECTED) is HungUpBy.FIRST
        unwatched = evolve(left, lost=True)
        assert who_hung_up(cancelled, unwatched, Outcome.CONNECTED) is HungUpBy.CANCEL
        assert who_hung_up(a_call(), unwatched, Outcome.CONNECTED) is HungUpBy.FIRST
        second = evolve(unwatched, hung_up_by=Leg.SECOND)
        assert who_hung_up(cancelled, second, Outcome.CONNECTED) is HungUpBy.SECOND

    @pytest.mark.parametrize("by", list(Leg))
    def test_the_longest_duration_that_was_not_watched(self, by: Leg) -> None:
        """Then it was the clock, whichever leg left first."""
        call = evolve(a_call(), max_duration=60)
        left = evolve(TALKED, hung_up_by=by)
        assert who_hung_up(call, left, Outcome.CONNECTED) is HungUpBy(by.value)
        unwatched = evolve(left, lost=True)
        assert who_hung_up(call, unwatched, Outcome.CONNECTED) is HungUpBy.LIMIT
        longer = evolve(call, max_duration=62)
        assert who_hung_up(longer, unwatched, Outcome.CONNECTED) is HungUpBy(by.value)

    def test_abandoned(self) -> None:
        """That is what it means."""
        assert who_hung_up(a_call(), CallEvidence(), Outcome.ABANDONED) is HungUpBy.FIRST

    def test_nobody(self) -> None:
        """A busy phone hangs up nothing."""
        busy = evolve(TALKED, hung_up_by=Leg.SECOND)
        assert who_hung_up(a_call(), busy, Outcome.SECOND_BUSY) is None

    @pytest.mark.parametrize(
        ("longest", "who"), [(60, HungUpBy.LIMIT), (61, HungUpBy.LIMIT), (62, None)]
    )
    def test_the_longest_duration(self, longest: int, who: HungUpBy | None) -> None:
        """Where neither hung up, the clock did, to the second."""
        call = evolve(a_call(), max_duration=longest)
        assert who_hung_up(call, TALKED, Outcome.CONNECTED) is who

    def test_times_that_are_not_known(self) -> None:
        """Then nobody is named."""
        evidence = evolve(TALKED, second=LegEvidence())
        assert who_hung_up(a_call(), evidence, Outcome.CONNECTED) is None
        assert who_hung_up(a_call(), evolve(evidence, first=FIRST), Outcome.CONNECTED) is None
