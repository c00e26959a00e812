"""What the evidence of a call that is over says."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.call import Exchange, HungUpBy
from c2c_agent.disposition import Outcome
from c2c_agent.ending import all_evidence, decisive_leg, second_over, who_hung_up
from c2c_agent.pbx import CallEvidence, Leg, LegEvidence, SecondEnded
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

    @pytest.mark.parametrize(
        ("status", "ended_at", "timed_out"),
        [
            ("CANCEL", 1030.1, True),
            ("CANCEL", 1029.2, True),  # timers are not that exact
            ("CANCEL", 1020.0, False),  # somebody else hung it up
            ("CANCEL", None, False),
            ("BUSY", 1030.1, False),
        ],
    )
    def test_nobody_watched_the_timeout(
        self, status: str, ended_at: float | None, timed_out: bool
    ) -> None:
        """The dialplan only saw that the ringing was given up; the clock says by whom."""
        call = evolve(a_call(), plan=PLAN, pbx_request=Exchange(1000.0, {}))
        told = CallEvidence(LegEvidence(status=status, ended_at=ended_at))
        assert all_evidence(call, told).timed_out is timed_out
        assert not all_evidence(a_call(), told).timed_out

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
