"""A call followed by what its back end tells."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from attrs import evolve

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateFailed,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import Leg, LegEvidence, Source
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.pbx.other.progress import FollowedCall, adopted, end_of_order, hear
from c2c_agent.pbx.other.rules import LegEnd, Over, Progress, Told
from tests.playbook import PLAN, a_call

P = Progress


def end(leg: Leg, status: str) -> LegEnd:
    """How a leg ended."""
    return LegEnd(leg, status)


def placed() -> Call:
    """A call whose order has left at 1000."""
    return a_call(state=CallState.DIALING_FIRST, plan=PLAN)


class Story:
    """A call that was placed at 1000, and the machine's own record of it."""

    def __init__(self) -> None:
        self.followed = FollowedCall(30, 1000.0)
        self.call = placed()
        self.events: list[Any] = []

    def tell(self, at: float, *told: Told, whole: bool = True) -> Story:
        """Look at it so many seconds after the order."""
        self.followed, events = hear(self.followed, told, 1000.0 + at, whole=whole)
        for event in events:
            self.call, _, breach = step(self.call, event, 1000.0 + at)
            assert not breach
        self.events += events
        return self

    def over(self, at: float, *told: Told) -> Call:
        """It is gone, and seen to be twice."""
        self.tell(at, Over.GONE).tell(at + 0.5, Over.GONE, *told)
        assert isinstance(self.events[-1], Gone)
        return self.call


class TestProgress(TestCase):
    def test_the_whole_way(self) -> None:
        """In the order of a call, whatever the order of the rules."""
        story = Story().tell(1, P.FIRST_RINGING).tell(2, P.SECOND_DIALED, P.FIRST_ANSWERED)
        story.tell(3, P.SECOND_RINGING).tell(5, P.SECOND_ANSWERED, P.FIRST_RINGING)
        source = Source.REPORTED
        assert story.events == [
            FirstRinging(source=source),
            FirstAnswered(source=source),
            SecondDialed(30),
            SecondRinging(source=source),
            SecondAnswered(source=source),
        ]
        call = story.over(9)
        assert call.outcome is Outcome.CONNECTED
        assert call.talk_seconds == 4
        assert (call.first.source, call.second.source) == (source, source)
        assert call.reason is None

    def test_only_forward(self) -> None:
        """What comes late or again is not told."""
        story = Story().tell(1, P.FIRST_ANSWERED).tell(2, P.FIRST_RINGING, P.FIRST_ANSWERED)
        assert story.events == [FirstAnswered(source=Source.REPORTED)]

    def test_gone_needs_a_second_look(self) -> None:
        """One that was answered whole, and says the same; a word that comes then still counts."""
        story = Story().tell(1, Over.GONE).tell(2, P.FIRST_RINGING).tell(3, Over.GONE)
        assert story.call.state is CallState.FIRST_RINGING
        story.tell(3.5, whole=False)  # says nothing
        story.tell(4, Over.GONE, end(Leg.FIRST, "BUSY"))
        assert story.call.outcome is Outcome.FIRST_BUSY

    def test_how_the_first_ended(self) -> None:
        """In the back end's word."""
        for status, outcome in (
            ("BUSY", Outcome.FIRST_BUSY),
            ("NOANSWER", Outcome.FIRST_NO_ANSWER),
            ("DECLINED", Outcome.FIRST_DECLINED),
            ("CHANUNAVAIL", Outcome.FIRST_UNREACHABLE),
        ):
            with self.subTest(status=status):
                call = Story().over(3, end(Leg.FIRST, status))
                assert (call.outcome, call.first.source) == (outcome, Source.REPORTED)

    def test_how_the_second_ended(self) -> None:
        """After the first has answered."""
        for status, outcome in (
            ("BUSY", Outcome.SECOND_BUSY),
            ("NOANSWER", Outcome.SECOND_NO_ANSWER),
            ("DECLINED", Outcome.SECOND_DECLINED),
            ("CHANUNAVAIL", Outcome.SECOND_UNREACHABLE),
            ("CANCEL", Outcome.ABANDONED),
            ("ANSWER", Outcome.CONNECTED),
        ):
            with self.subTest(status=status):
                story = Story().tell(1, P.FIRST_ANSWERED, P.SECOND_DIALED)
                assert story.over(3, end(Leg.SECOND, status)).outcome is outcome

    def test_a_later_word_counts(self) -> None:
        """It rang out, and then it was busy."""
        story = Story().tell(1, end(Leg.FIRST, "NOANSWER"))
        assert story.over(2, end(Leg.FIRST, "BUSY")).outcome is Outcome.FIRST_BUSY

    def test_an_answer_stays_one(self) -> None:
        """Whatever is said of its end."""
        story = Story().tell(1, P.FIRST_ANSWERED).tell(2, P.SECOND_ANSWERED)
        assert story.over(3, end(Leg.SECOND, "CANCEL")).second.status == "ANSWER"

    def test_nothing_was_told(self) -> None:
        """Unknown, and why; but where it lasted as long as it might, it rang out."""
        call = Story().over(3)
        assert (call.outcome, call.reason) == (Outcome.UNKNOWN, UnknownReason.NOT_TOLD)
        call = Story().over(29.5)
        assert call.outcome is Outcome.FIRST_NO_ANSWER
        assert call.first.source is Source.INFERRED
        assert Story().tell(1, P.FIRST_RINGING).over(30).first.source is Source.REPORTED
        story = Story().tell(2, P.FIRST_ANSWERED)
        assert story.over(40).reason is UnknownReason.NOT_TOLD

    def test_something_was_missed(self) -> None:
        """Then it may have happened."""
        story = Story()
        story.followed = evolve(story.followed, missed=True, placed_at=None)
        assert story.over(40).reason is UnknownReason.LOST
        assert FollowedCall(30, 0.0).evidence.timed_out is None

    def test_nobody_watched(self) -> None:
        """However long that lasted: they may have talked meanwhile, or nobody was rung at all."""
        story = Story()
        story.followed = evolve(story.followed, missed=True)
        call = story.over(40)
        assert (call.outcome, call.reason) == (Outcome.UNKNOWN, UnknownReason.LOST)
        assert call.first.source is None

    def test_overdue(self) -> None:
        """The first since its order, the second since the first answered."""
        call = FollowedCall(30, 1000.0)
        assert call.overdue(1029) is None
        assert call.overdue(1030) is Leg.FIRST
        call = hear(call, [P.FIRST_ANSWERED], 1010).call
        call = hear(call, [P.SECOND_RINGING], 1015).call
        assert call.overdue(1039) is None
        assert call.overdue(1040) is Leg.SECOND
        assert evolve(call, late=Leg.SECOND).overdue(1050) is None
        assert hear(call, [Over.GONE], 1020).call.overdue(1050) is None
        assert hear(call, [P.SECOND_ANSWERED], 1020).call.overdue(2000) is None
        assert FollowedCall(30, None).overdue(2000) is None

    def test_cancelled_for_being_late(self) -> None:
        """It rang out."""
        story = Story().tell(1, P.FIRST_ANSWERED, P.SECOND_DIALED)
        story.followed = evolve(story.followed, late=Leg.SECOND)
        assert story.over(32).outcome is Outcome.SECOND_NO_ANSWER

    def test_an_order_that_came_to_nothing(self) -> None:
        """The answer itself says how."""
        for status, outcome in (
            ("BUSY", Outcome.FIRST_BUSY),
            ("NOANSWER", Outcome.FIRST_NO_ANSWER),
            ("DECLINED", Outcome.FIRST_DECLINED),
        ):
            evidence = end_of_order(end(Leg.FIRST, status))
            call, _, _ = step(placed(), OriginateFailed("x", {}, evidence), 1003.0)
            assert call.outcome is outcome, status

    def test_adopted(self) -> None:
        """As far as it had come."""
        assert adopted(30, 1000, LegEvidence(), LegEvidence()).reached is None
        call = adopted(30, 1000, LegEvidence(ringing_at=1001, answered_at=1003), LegEvidence())
        assert (call.reached, call.reached_at, call.missed) == (P.FIRST_ANSWERED, 1003, True)
        assert hear(call, [P.FIRST_RINGING], 1004).events == ()
