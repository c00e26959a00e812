"""What each thing that is heard of a call means, where no story of the double leads there."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from attrs import evolve

from c2c_agent.call.events import Found, Gone, LegEvent, SecondAnswered
from c2c_agent.call.evidence import CallEvidence, LegEvidence, Source
from c2c_agent.pbx.switchvox.extend_api import CurrentCall, LoggedCall
from c2c_agent.pbx.switchvox.followed_call import (
    Accepted,
    FollowedCall,
    Heard,
    Listed,
    Logged,
    Missed,
    NoAnswer,
    Phase,
    Sought,
    hear,
    may_be_logged,
)
from c2c_agent.pbx.switchvox.matching import Match, Wanted

WANTED = Wanted(frozenset({"101"}), frozenset({"200"}), 30.0, 1000.0, frozenset())
CALL = FollowedCall(WANTED, 30, second_timeout=True, placed_at=0.0)
RINGING = CurrentCall("x", "ringing", "101", "200", 1000.0)
TALKING = evolve(RINGING, state="talking")
NOTHING = Listed(Match())
ACCEPTED = Accepted("101", "200", {}, 4.0)


def listed(entry: CurrentCall) -> Listed:
    """A list with just this."""
    return Listed(Match(entry), frozenset({entry.id}))


def logged(**fields: Any) -> LoggedCall:
    """An entry of the log."""
    return evolve(LoggedCall("7", "101", "200", 1000.0, True, 8.0, 20.0, ()), **fields)


class FollowedCallTest(TestCase):
    def play(
        self, *story: tuple[float, Heard], call: FollowedCall = CALL
    ) -> tuple[FollowedCall, list[LegEvent]]:
        """Let these be heard, each at its second."""
        told: list[LegEvent] = []
        for at, heard in story:
            call, events = hear(call, heard, at)
            told += events
        return call, told

    def end(self, *story: tuple[float, Heard], call: FollowedCall = CALL) -> CallEvidence:
        """The evidence that is told at the end."""
        _, told = self.play(*story, call=call)
        gone = told[-1]
        assert isinstance(gone, Gone)
        return gone.evidence

    def test_one_list_without_it_is_no_end(self) -> None:
        call, _ = self.play((4, ACCEPTED), (5, listed(RINGING)), (6, NOTHING))
        self.assertEqual(call.phase, Phase.ACCEPTED)
        call, _ = self.play((7, listed(RINGING)), (8, NOTHING), call=call)
        self.assertEqual(call.phase, Phase.ACCEPTED)
        call, _ = self.play((9, NOTHING), call=call)
        self.assertEqual(call.phase, Phase.ENDING)

    def test_a_call_that_is_listed_again_goes_on(self) -> None:
        story: list[tuple[float, Heard]] = [(4, ACCEPTED), (5, NOTHING), (6, NOTHING)]
        call, _ = self.play(*story, (7, NOTHING))
        self.assertEqual(call.phase, Phase.ENDING)
        call, told = self.play((8, listed(TALKING)), call=call)
        self.assertEqual((call.phase, type(told[-1])), (Phase.ACCEPTED, SecondAnswered))
        early, _ = self.play((0.1, evolve(ACCEPTED, seconds=0.1)), (1, NOTHING), (2, NOTHING))
        self.assertEqual(early.phase, Phase.ENDING)
        early, _ = self.play((3, listed(evolve(RINGING, to_number="101"))), call=early)
        self.assertEqual(early.phase, Phase.EARLY)

    def test_the_log_is_asked_until_the_last_time(self) -> None:
        story: list[tuple[float, Heard]] = [(4, ACCEPTED), (5, NOTHING), (6, NOTHING)]
        call, told = self.play(*story, (8, Logged(None, last=False)))
        self.assertEqual((call.phase, len(told)), (Phase.ENDING, 3))
        evidence = self.end((9, Logged(None, last=True)), call=call)
        self.assertTrue(evidence.lost and evidence.not_told)
        self.assertEqual(evidence.first.source, Source.REPORTED)

    def test_what_was_missed_is_lost_and_not_untold(self) -> None:
        evidence = self.end(
            (4, ACCEPTED), (5, Missed()), (6, NOTHING), (7, NOTHING), (9, Logged(None, last=True))
        )
        self.assertTrue(evidence.lost and not evidence.not_told)

    def test_the_times_of_the_log_are_moved_to_our_clock(self) -> None:
        evidence = self.end(
            (4, ACCEPTED), (25, NOTHING), (26, NOTHING), (28, Logged(logged(), last=False))
        )
        second = LegEvidence(
            status="ANSWER", answered_at=12.0, ended_at=20.0, source=Source.REPORTED
        )
        self.assertEqual(evidence.second, second)
        self.assertEqual(evidence.hung_up_at, 20.0)

    def test_a_log_without_durations_says_at_least_that_they_talked(self) -> None:
        entry = logged(total_seconds=None, talk_seconds=None)
        evidence = self.end(
            (4, ACCEPTED), (25, NOTHING), (26, NOTHING), (28, Logged(entry, last=False))
        )
        self.assertEqual((evidence.second.status, evidence.second.answered_at), ("ANSWER", None))
        self.assertEqual(evidence.hung_up_at, 25)
        self.assertTrue(evidence.lost)

    def test_a_call_that_was_found_in_the_log_alone(self) -> None:
        story: list[tuple[float, Heard]] = [(5, NoAnswer("cut")), (6, NOTHING), (21, NOTHING)]
        evidence = self.end(*story, (23, Logged(logged(), last=False)))
        self.assertEqual(evidence.first, LegEvidence(status="ANSWER", source=Source.INFERRED))
        self.assertEqual(evidence.second.answered_at, 12.0)

    def test_found_is_told_each_time_somebody_asks(self) -> None:
        call, told = self.play((5, NoAnswer("cut")), (6, listed(RINGING)), (7, listed(RINGING)))
        self.assertEqual(told.count(Found()), 1)
        call, told = self.play(
            (8, Sought()), (9, listed(TALKING)), (10, listed(TALKING)), call=call
        )
        self.assertEqual(told.count(Found()), 1)

    def test_to_ask_again_prolongs_nothing(self) -> None:
        asked: list[tuple[float, Heard]] = [(float(at), Sought()) for at in range(6, 20, 5)]
        call, _ = self.play((5, NoAnswer("cut")), *asked, (19, NOTHING))
        self.assertEqual(call.phase, Phase.LOST)
        call, _ = self.play((20, NOTHING), call=call)
        self.assertEqual(call.phase, Phase.ENDING)

    def test_of_several_one_may_be_it_but_not_for_ever(self) -> None:
        several = Listed(Match(doubtful=frozenset({"x", "y"})))
        call, _ = self.play((4, ACCEPTED), *((float(at), several) for at in range(5, 120)))
        self.assertEqual(call.phase, Phase.ACCEPTED)
        call, _ = self.play((120, several), (121, several), call=call)
        self.assertEqual(call.phase, Phase.ENDING)

    def test_whose_the_log_is_where_the_list_had_several(self) -> None:
        story: list[tuple[float, Heard]] = [(4, ACCEPTED), (5, listed(RINGING))]
        sure, _ = self.play(*story, (6, NOTHING), (7, NOTHING))
        self.assertTrue(may_be_logged(sure, last=False))
        several = Listed(Match(doubtful=frozenset({"x", "y"})))
        gone, _ = self.play((4, ACCEPTED), (5, several), (6, NOTHING), (7, NOTHING))
        self.assertEqual(gone.phase, Phase.ENDING)
        self.assertFalse(may_be_logged(gone, last=False))
        self.assertTrue(may_be_logged(gone, last=True))
        one_left = Listed(Match(doubtful=frozenset({"y"})))
        left, _ = self.play((8, one_left), call=gone)
        self.assertFalse(may_be_logged(left, last=True))

    def test_what_cannot_follow_changes_nothing(self) -> None:
        over, _ = self.play((4, ACCEPTED), (5, NOTHING), (6, NOTHING), (9, Logged(None, last=True)))
        for heard in (
            ACCEPTED,
            NoAnswer("x"),
            Sought(),
            Missed(),
            NOTHING,
            Logged(None, last=True),
        ):
            self.assertEqual(hear(over, heard, 20), (over, ()))
        self.assertEqual(hear(CALL, Sought(), 1), (CALL, ()))
        self.assertEqual(hear(CALL, NOTHING, 1), (CALL, ()))
        self.assertEqual(hear(CALL, Logged(None, last=True), 1), (CALL, ()))

    def test_a_voice_mail_that_takes_the_second_leg_counts_as_an_answer(self) -> None:
        _, told = self.play((4, ACCEPTED), (5, listed(evolve(RINGING, state="leaving_voicemail"))))
        self.assertEqual(told[-1], SecondAnswered(source=Source.INFERRED))

    def test_a_short_ringing_is_not_taken_for_the_whole_time(self) -> None:
        story: list[tuple[float, Heard]] = [(4, ACCEPTED), (5, listed(RINGING))]
        for ended, timed_out in ((20.0, False), (34.0, True), (60.0, False)):
            evidence = self.end(
                *story, (ended, NOTHING), (ended + 1, NOTHING), (90, Logged(None, last=True))
            )
            self.assertEqual(evidence.timed_out is not None, timed_out, ended)
