"""What was seen on the way and what was told at the end, put together."""

from __future__ import annotations

import pytest
from attrs import evolve

from c2c_agent.call.call import Exchange
from c2c_agent.call.ending import all_evidence, second_over
from c2c_agent.call.events import SecondEnded
from c2c_agent.call.evidence import Attempt, CallEvidence, Leg, LegEvidence, SaidBy, Source
from tests.playbook import a_call


class TestAllEvidence:
    """What was seen on the way, and what was told at the end."""

    def test_the_end_knows_less(self) -> None:
        """What was stored stays: channel, ringing, answer, and that the second was dialled."""
        seen = LegEvidence(channel="PJSIP/100-1", ringing_at=1.0, answered_at=2.0)
        call = evolve(a_call(), first=seen, dialed_at=2.5)
        assert all_evidence(call, CallEvidence(first=LegEvidence(cause=16))) == CallEvidence(
            first=evolve(seen, cause=16, source=Source.WATCHED), dialed=True
        )

    def test_the_end_knows_more(self) -> None:
        """The PBX's own time of an answer is better than when it was heard here."""
        call = evolve(a_call(), first=LegEvidence(channel="a", ringing_at=1.0, answered_at=2.5))
        told = LegEvidence(channel="b", ringing_at=1.5, answered_at=2.0)
        merged = all_evidence(call, CallEvidence(first=told))
        assert merged.first == LegEvidence(
            channel="b", ringing_at=1.0, answered_at=2.0, source=Source.WATCHED
        )
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
        watched = evolve(right, source=Source.WATCHED)
        assert all_evidence(call, CallEvidence(second=right)).second == watched
        unseen = evolve(call, second=LegEvidence())
        watched = evolve(told, source=Source.WATCHED)
        assert all_evidence(unseen, CallEvidence(second=told)).second == watched

    def test_the_last_word_is_told_as_a_whole(self) -> None:
        """Nothing of another channel that was seen before is mixed into it."""
        seen = LegEvidence(channel="PJSIP/200-2", cause=17, cause_text="User busy", sip=486)
        call = evolve(a_call(), second=seen)
        told = LegEvidence(
            channel="Local/200@x-1;1",
            status="ANSWER",
            by=SaidBy.DIALPLAN,
            tried=(Attempt("PJSIP/200-2", "BUSY", 17, 486),),
        )
        merged = all_evidence(call, CallEvidence(second=told))
        assert merged.second == evolve(told, source=Source.WATCHED)
        again = all_evidence(evolve(call, second=merged.second), CallEvidence())
        assert again.second == merged.second

    def test_the_second_leg_s_end_is_stored_before_the_call_s(self) -> None:
        """An agent that crashes between the two tells the same as one that does not."""
        answered = evolve(a_call(), second=LegEvidence(answered_at=10.0))
        evidence = LegEvidence(status="ANSWER", cause=16, sip=200, ended_at=20.0)
        over = second_over(answered, SecondEnded(evidence, Leg.SECOND, 19.5))
        assert over.second == evolve(evidence, answered_at=10.0, source=Source.WATCHED)
        lost = all_evidence(over, CallEvidence(lost=True))
        assert lost == CallEvidence(
            second=over.second, hung_up_by=Leg.SECOND, hung_up_at=19.5, lost=True
        )

    def test_how_it_is_known(self) -> None:
        """The driver says so; or it watched the leg, or was told of an end that it missed."""
        told = CallEvidence(
            first=LegEvidence(cause=16), second=LegEvidence(cause=17, source=Source.INFERRED)
        )
        sources = [leg.source for leg in (all_evidence(a_call(), told).first, told.second)]
        assert sources == [Source.WATCHED, Source.INFERRED]
        assert all_evidence(a_call(), evolve(told, lost=True)).first.source is Source.REPORTED
        assert all_evidence(a_call(), CallEvidence(lost=True)).first.source is None
        seen = a_call(first=LegEvidence(answered_at=1.0, source=Source.WATCHED))
        assert all_evidence(seen, CallEvidence(lost=True)).first.source is Source.WATCHED

    def test_nobody_hung_up(self) -> None:
        """Who ended it is told as far as it is known."""
        over = second_over(a_call(), SecondEnded(LegEvidence(status="BUSY")))
        assert (over.hung_up_by, over.hung_up_at) == (None, None)
        assert all_evidence(over, CallEvidence()).hung_up_by is None
