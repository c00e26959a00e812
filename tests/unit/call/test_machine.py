"""The state machine: every pair of state and event, and the stories that people know."""

from __future__ import annotations

import typing
from itertools import product
from typing import Any

import pytest
from attrs import evolve

from c2c_agent.call import call as vocabulary
from c2c_agent.call.call import Answer, CallState, Entry, Exchange, HungUpBy, Timekeeper
from c2c_agent.call.events import (
    Cancel,
    Event,
    Expire,
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    Guard,
    GuardExpired,
    HangUp,
    NotHungUp,
    OriginateAccepted,
    OriginateFailed,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    PbxLost,
    Place,
    Reject,
    Relayed,
    SecondAnswered,
    SecondDialed,
    SecondEnded,
    SecondRinging,
    SendOriginate,
    Settle,
    TellAnswer,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, NotConfirmed
from c2c_agent.call.machine import TABLE, UnlistedTransitionError, guard_after_restart, step
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.call.transitions import GRACE, Step
from c2c_agent.errors import ErrorCode, Fault
from tests.playbook import PLAN, Playbook, a_call

BUSY = LegEvidence(status="BUSY", cause=17, cause_text="User busy")
FAULT = Fault(ErrorCode.NOT_ALLOWED, "No.")

ONE_OF_EACH: list[Event] = [
    Place(PLAN),
    Reject((FAULT,)),
    Expire(),
    Cancel(),
    GuardExpired(),
    OriginateAccepted({"Response": "Success"}),
    OriginateRefused("Extension does not exist.", {"Response": "Error"}),
    OriginateFailed("Your call failed to connect.", {"code": "41591"}),
    OriginateUnsent("The link is down."),
    OriginateUnanswered("The link was lost."),
    FirstRinging("PJSIP/100-1"),
    FirstAnswered("PJSIP/100-1"),
    SecondDialed(30),
    SecondRinging("PJSIP/200-2"),
    SecondAnswered("PJSIP/200-2"),
    SecondEnded(BUSY),
    Relayed(
        "pbx1",
        a_call(state=CallState.FIRST_RINGING, timeline=(Entry(1001.0, "first_ringing"),)),
    ),
    NotHungUp("Nobody knows which it is."),
    PbxLost("cut"),
    Found(),
    Gone(CallEvidence(first=BUSY)),
]

PROGRESS = [state for state in CallState if state is not CallState.ENDED]

#: What each event leads to from each state, written down once more by hand: the first letter of
#: the row is `accepted`, the last `ended`; `.` stays where it is, a digit is the state's number.
EXPECTED = {
    Place: "1.......",
    Reject: "7.......",
    Expire: "77......",
    Cancel: "7.......",
    GuardExpired: "........",
    OriginateAccepted: "........",
    OriginateRefused: ".7......",
    OriginateFailed: ".777777.",
    OriginateUnsent: "77......",
    OriginateUnanswered: "........",
    FirstRinging: ".2......",
    FirstAnswered: ".33.....",
    SecondDialed: ".444....",
    SecondRinging: ".5555...",
    SecondAnswered: ".66666..",
    SecondEnded: "........",
    Relayed: ".222222.",
    NotHungUp: "........",
    PbxLost: "........",
    Found: "........",
    Gone: ".777777.",
}

#: Which of them cannot come, likewise: `x` breaks the driver's contract, or ours with ourselves.
NEVER = {
    Place: "........",
    Reject: "........",
    Expire: "..xxxxx.",
    Cancel: "........",
    GuardExpired: "x.......",
    OriginateAccepted: "x.......",
    OriginateRefused: "x.xxxxx.",
    OriginateFailed: "x.......",
    OriginateUnsent: "..xxxxx.",
    OriginateUnanswered: "x.......",
    FirstRinging: "x.......",
    FirstAnswered: "x.......",
    SecondDialed: "x.......",
    SecondRinging: "x.......",
    SecondAnswered: "x.......",
    SecondEnded: "xxx.....",
    Relayed: "x.......",
    NotHungUp: "x.......",
    PbxLost: "x.......",
    Found: "x.......",
    Gone: "x.......",
}


def in_state(state: CallState) -> vocabulary.Call:
    """A call in a state, with what a call in it has."""
    call = a_call(state=state, plan=None if state is CallState.ACCEPTED else PLAN)
    if state is CallState.ENDED:
        return evolve(call, outcome=Outcome.CONNECTED, answer=Answer(), ended_at=1000.0)
    return call


class TestTable:
    def test_has_every_pair_of_state_and_event(self) -> None:
        """No event of the vocabulary is missing, and none of its states."""
        named = set(typing.get_args(Event))
        assert set(TABLE) == named == {type(event) for event in ONE_OF_EACH} == set(EXPECTED)
        for row in TABLE.values():
            assert set(row) == set(CallState)

    @pytest.mark.parametrize(
        ("state", "event"),
        list(product(CallState, ONE_OF_EACH)),
        ids=lambda value: value.value if isinstance(value, CallState) else type(value).__name__,
    )
    def test_every_pair_leads_where_it_should(self, state: CallState, event: Event) -> None:
        """The table agrees with one written by hand, and only `ended` has an outcome."""
        states = list(CallState)
        letter = EXPECTED[type(event)][states.index(state)]
        expected = state if letter == "." else states[int(letter)]
        after = step(in_state(state), event, 1001.0).call
        assert after.state is expected
        assert (after.outcome is not None) == (after.state is CallState.ENDED)

    @pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
    @pytest.mark.parametrize("state", CallState)
    def test_what_cannot_come_is_a_breach(self, state: CallState, event: Event) -> None:
        """It is told as one, changes nothing, and leads to nothing; all else is none."""
        call = in_state(state)
        never = NEVER[type(event)][list(CallState).index(state)] == "x"
        after = step(call, event, 1001.0)
        assert after.breach is never
        if never:
            assert after == Step(call, breach=True)

    @pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
    def test_nothing_changes_a_call_that_has_ended(self, event: Event) -> None:
        """A final outcome is final, whatever comes, and nothing more is done."""
        ended = in_state(CallState.ENDED)
        assert step(ended, event, 1001.0) == Step(ended)

    @pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
    @pytest.mark.parametrize("state", CallState)
    def test_an_order_is_only_given_when_a_call_is_placed(
        self, state: CallState, event: Event
    ) -> None:
        """Originate is the answer to Place in `accepted` and to nothing else."""
        commands = step(in_state(state), event, 1001.0).commands
        placed = isinstance(event, Place) and state is CallState.ACCEPTED
        assert (SendOriginate() in commands) == placed

    def test_an_unlisted_pair_raises(self) -> None:
        """What is not in the table is a mistake, not a no-op."""
        with pytest.raises(UnlistedTransitionError, match="object in accepted"):
            step(a_call(), object(), 0.0)  # type: ignore[arg-type]


def placed() -> Playbook:
    """A call whose order Asterisk has accepted."""
    return (
        Playbook(a_call())
        .at(0)
        .on(Place(PLAN))
        .goes_to("dialing_first")
        .does(SendOriginate(), Guard(30 + GRACE))
        .at(0.1)
        .on(OriginateAccepted({"Response": "Success"}))
        .goes_to("dialing_first")
        .does(TellAnswer())
    )


def talking() -> Playbook:
    """A call whose legs talk since second 6."""
    return (
        placed()
        .at(1)
        .on(FirstRinging("PJSIP/100-1"))
        .goes_to("first_ringing")
        .does()
        .at(3)
        .on(FirstAnswered())
        .goes_to("first_answered")
        .does(Guard(GRACE))
        .on(SecondDialed(30))
        .goes_to("dialing_second")
        .does(Guard(30 + GRACE))
        .at(4)
        .on(SecondRinging("PJSIP/200-2"))
        .goes_to("second_ringing")
        .does()
        .at(6)
        .on(SecondAnswered("PJSIP/200-2"))
        .goes_to("connected")
        .does(Guard(3600 + GRACE))
    )


def talked(until: float, by: Leg | None = None) -> CallEvidence:
    """The evidence of a call that was connected."""
    return CallEvidence(
        first=LegEvidence(channel="PJSIP/100-1", status="ANSWER", cause=16, ended_at=until),
        second=LegEvidence(channel="PJSIP/200-2", status="ANSWER", cause=17, ended_at=until),
        dialed=True,
        hung_up_by=by,
        hung_up_at=until if by else None,
    )


class TestStories:
    def test_a_call_that_connects(self) -> None:
        """The whole way, and the second leg hangs up."""
        story = talking().at(18.3).on(Gone(talked(1018.25, Leg.SECOND))).does()
        story.ends(Outcome.CONNECTED, hung_up_by=HungUpBy.SECOND, cause=17, answer=Answer())
        assert story.call.talk_seconds == pytest.approx(12.25)
        assert [entry.event for entry in story.call.timeline] == [
            "dialing_first",
            "originate_accepted",
            "first_ringing",
            "first_answered",
            "dialing_second",
            "second_ringing",
            "connected",
            "ended",
        ]
        answered = next(one for one in story.call.timeline if one.event == "first_answered")
        assert answered.detail == "PJSIP/100-1"  # as it was known from the ringing

    def test_the_first_hangs_up(self) -> None:
        """The cause shown is that of the leg that ended the call."""
        talking().on(Gone(talked(1018.0, Leg.FIRST))).ends(
            Outcome.CONNECTED, hung_up_by=HungUpBy.FIRST, cause=16
        )

    def test_the_longest_duration_ends_a_call(self) -> None:
        """Nobody hung up, and the talk is as long as a talk may be."""
        talking().on(Gone(talked(1006.0 + 3600))).ends(Outcome.CONNECTED, hung_up_by=HungUpBy.LIMIT)

    def test_nobody_known_hung_up(self) -> None:
        """Where the PBX ended the talk by itself, nobody is named."""
        talking().on(Gone(talked(1018.0))).ends(Outcome.CONNECTED, hung_up_by=None)

    def test_a_cancelled_talk_is_still_a_connected_call(self) -> None:
        """They did talk; cancelling only ended it."""
        talking().at(9).on(Cancel()).goes_to("connected").does(HangUp()).on(
            Gone(talked(1009.0))
        ).ends(Outcome.CONNECTED, hung_up_by=HungUpBy.CANCEL)

    def test_who_hangs_up_before_a_cancel_takes_effect_is_named(self) -> None:
        """A phone that was put down in the same moment did end the talk."""
        talking().on(Cancel()).on(Gone(talked(1009.0, Leg.FIRST))).ends(
            Outcome.CONNECTED, hung_up_by=HungUpBy.FIRST
        )

    @pytest.mark.parametrize("state", PROGRESS[1:-1])
    def test_cancelled_before_anybody_talked(self, state: CallState) -> None:
        """Cancel hangs up in every state, and asking twice asks the PBX twice but notes it once."""
        story = Playbook(in_state(state)).on(Cancel()).does(HangUp()).on(Cancel()).does(HangUp())
        assert [entry.event for entry in story.call.timeline] == ["cancel_requested"]
        story.on(Gone(CallEvidence(second=LegEvidence(status="CANCEL"), dialed=True)))
        story.ends(Outcome.CANCELLED, hung_up_by=HungUpBy.CANCEL)

    def test_cancelled_before_it_was_placed(self) -> None:
        """Nothing was sent, nothing is hung up, and the requester is told."""
        Playbook(a_call()).on(Cancel()).does(TellAnswer()).ends(Outcome.CANCELLED)

    def test_cancelled_when_it_was_too_late_anyway(self) -> None:
        """A relay withdraws a job that nobody took in time: it expired."""
        story = Playbook(a_call())
        story.at(4).on(Cancel(expired=True)).does(TellAnswer()).ends(Outcome.EXPIRED)

    def test_cancelled_while_it_was_being_stored(self) -> None:
        """The order does not go out any more."""
        Playbook(a_call()).on(Place(PLAN)).on(Cancel()).on(OriginateUnsent("cancelled")).ends(
            Outcome.CANCELLED, hung_up_by=None
        )

    def test_the_pbx_refuses(self) -> None:
        """Its own words reach the caller."""
        story = (
            Playbook(a_call())
            .on(Place(PLAN))
            .on(OriginateRefused("Extension does not exist.", {"Response": "Error"}))
            .does(TellAnswer())
            .ends(Outcome.PBX_ERROR)
        )
        fault = Fault(ErrorCode.PBX_ERROR, "Extension does not exist.")
        assert story.call.answer == Answer((fault,))
        assert story.call.pbx_response is not None

    def test_the_pbx_says_more_than_one_thing(self) -> None:
        """Each is told, in its own words."""
        refused = OriginateRefused("A is missing.", {}, ("B is wrong.",))
        story = Playbook(a_call()).on(Place(PLAN)).on(refused).ends(Outcome.PBX_ERROR)
        code = ErrorCode.PBX_ERROR
        assert story.call.answer == Answer(
            (Fault(code, "A is missing."), Fault(code, "B is wrong."))
        )

    def test_a_cancel_that_the_pbx_does_not_carry_out(self) -> None:
        """The call is not cancelled: it goes on, ends as it does, and may be cancelled again."""
        assert talking().on(NotHungUp("No.")).does().call.cannot_hang_up is None  # nobody wanted it
        story = talking().at(9).on(Cancel()).at(11).on(NotHungUp("No.")).does()
        going = story.call
        assert (going.cancelled, going.cannot_hang_up) == (False, "No.")
        assert going.timeline[-1] == Entry(going.timeline[-1].at, "cannot_hang_up", "No.")
        again = story.on(Cancel()).does(HangUp()).call
        assert (again.cancelled, again.cannot_hang_up) == (True, None)
        story.on(NotHungUp("No.")).on(Gone(talked(1020.0, Leg.FIRST))).ends(Outcome.CONNECTED)
        assert story.call.hung_up_by is HungUpBy.FIRST

    def test_the_pbx_refuses_for_a_reason_that_has_a_code(self) -> None:
        """The requester hears the code with it; what is said besides is the PBX's own error."""
        code = ErrorCode.UNKNOWN_DIAL_AS
        refused = OriginateRefused("No such account.", {}, ("B is wrong.",), code)
        story = Playbook(a_call()).on(Place(PLAN)).on(refused).ends(Outcome.PBX_ERROR)
        assert story.call.answer == Answer(
            (Fault(code, "No such account."), Fault(ErrorCode.PBX_ERROR, "B is wrong."))
        )

    def test_the_pbx_tried_and_it_came_to_nothing(self) -> None:
        """Also after a phone rang: the requester hears its words, and the call has ended."""
        failed = OriginateFailed("Your call failed.", {"code": "41591"}, others=("Sorry.",))
        story = Playbook(a_call()).on(Place(PLAN)).on(FirstRinging())
        story.at(12).on(failed).does(TellAnswer()).ends(Outcome.PBX_ERROR, reason=None)
        assert story.call.answer is not None
        texts = [fault.message for fault in story.call.answer.faults]
        assert texts == ["Your call failed.", "Sorry."]
        assert story.call.pbx_response == Exchange(1012.0, {"code": "41591"})

    def test_the_pbx_tried_for_as_long_as_it_might(self) -> None:
        """Then the first has not answered."""
        failed = OriginateFailed("Your call failed.", {}, CallEvidence(timed_out=Leg.FIRST))
        Playbook(a_call()).on(Place(PLAN)).at(30).on(failed).ends(Outcome.FIRST_NO_ANSWER)

    def test_it_failed_because_it_was_cancelled(self) -> None:
        """And an answer that was given stays."""
        story = Playbook(a_call()).on(Place(PLAN)).on(OriginateUnanswered("late"))
        answer = story.call.answer
        story.on(Cancel()).on(OriginateFailed("Your call failed.")).does()
        story.ends(Outcome.CANCELLED, answer=answer)

    @pytest.mark.parametrize("not_told", [True, False])
    def test_why_nobody_knows(self, *, not_told: bool) -> None:
        """Something was missed, or a PBX of this kind does not tell."""
        end = Gone(CallEvidence(lost=True, not_told=not_told))
        reason = UnknownReason.NOT_TOLD if not_told else UnknownReason.LOST
        story = Playbook(a_call()).on(Place(PLAN)).on(OriginateAccepted()).on(FirstAnswered())
        story.on(end).ends(Outcome.UNKNOWN, reason=reason)

    def test_the_order_could_not_be_sent(self) -> None:
        """It never reached the PBX, so it was rejected."""
        story = Playbook(a_call()).on(Place(PLAN)).on(OriginateUnsent("down")).does(TellAnswer())
        story.ends(Outcome.REJECTED)
        assert story.call.answer == Answer((Fault(ErrorCode.PBX_UNAVAILABLE, "down"),))

    def test_an_order_without_an_answer(self) -> None:
        """The requester is told that nobody knows, once only; whatever is there is hung up."""
        story = (
            Playbook(a_call())
            .on(Place(PLAN))
            .on(OriginateUnanswered("lost"))
            .goes_to("dialing_first")
            .does(TellAnswer(), HangUp())
            .on(OriginateUnanswered("lost"))
            .does()
            .on(FirstRinging())
            .on(OriginateAccepted())
            .does(TellAnswer())
        )
        assert story.call.answer == Answer((Fault(ErrorCode.PBX_UNAVAILABLE, "lost"),))
        story.on(OriginateAccepted()).does()
        story.on(Gone(CallEvidence(lost=True))).ends(Outcome.UNKNOWN, hung_up_by=None)

    def test_an_order_without_an_answer_is_found(self) -> None:
        """It was taken all the same, and is hung up: its requester was told that it failed."""
        story = Playbook(a_call()).on(Place(PLAN)).on(OriginateUnanswered("lost"))
        assert story.call.is_void
        story.on(Found()).does(HangUp()).on(SecondAnswered()).goes_to("connected")
        story.on(Gone(talked(1005.0, Leg.FIRST))).ends(Outcome.CONNECTED)
        assert not story.call.is_void

    def test_an_order_without_an_answer_that_was_hung_up(self) -> None:
        """It ended from here; what ended by itself did not, whatever its requester was told."""
        for ended_here, outcome, by in (
            (True, Outcome.CANCELLED, HungUpBy.CANCEL),
            (False, Outcome.FIRST_BUSY, None),
        ):
            story = Playbook(a_call()).on(Place(PLAN)).on(OriginateUnanswered("late"))
            story.on(FirstRinging()).on(Gone(CallEvidence(BUSY, ended_here=ended_here)))
            story.ends(outcome, hung_up_by=by)

    def test_an_order_of_which_more_was_heard_than_its_answer(self) -> None:
        """The phone rings, so the PBX took it; its answer comes late, or not at all."""
        story = Playbook(a_call()).on(Place(PLAN)).on(FirstRinging())
        story.on(OriginateUnanswered("late")).does(TellAnswer()).goes_to("first_ringing")
        assert story.call.answer == Answer()
        assert not story.call.is_void

    def test_a_job_without_an_answer(self) -> None:
        """Who gave it to an agent takes it back."""
        given = evolve(PLAN, timekeeper=Timekeeper.ELSEWHERE)
        Playbook(a_call()).on(Place(given)).on(OriginateUnanswered("late")).does(TellAnswer())

    def test_gone_before_the_order_was_answered(self) -> None:
        """Asterisk may tell the end before it answers the action."""
        story = Playbook(a_call()).on(Place(PLAN)).on(Gone(CallEvidence(first=BUSY)))
        story.does(TellAnswer()).ends(Outcome.FIRST_BUSY, answer=Answer(), cause=17)
        assert story.call.cause_text == "User busy"

    def test_gone_without_a_trace(self) -> None:
        """Where nothing at all was heard, nobody claims that the PBX took the order."""
        gone = Gone(CallEvidence(lost=True))
        story = Playbook(a_call()).on(Place(PLAN)).on(gone).does(TellAnswer()).ends(Outcome.UNKNOWN)
        assert story.call.answer is not None
        assert story.call.answer.faults[0].code is ErrorCode.PBX_UNAVAILABLE
        story = Playbook(a_call()).on(Place(PLAN)).on(FirstRinging()).on(gone).does(TellAnswer())
        story.ends(Outcome.UNKNOWN, answer=Answer())

    def test_a_refused_request(self) -> None:
        """It ends as rejected, with all its faults."""
        Playbook(a_call(job=None)).on(Reject((FAULT, FAULT))).does(TellAnswer()).ends(
            Outcome.REJECTED, answer=Answer((FAULT, FAULT))
        )

    def test_an_expired_job(self) -> None:
        """Nobody is rung, and the requester is told why."""
        story = Playbook(a_call()).on(Expire()).does(TellAnswer()).ends(Outcome.EXPIRED)
        assert story.call.answer is not None
        assert story.call.answer.faults[0].code is ErrorCode.EXPIRED

    def test_a_job_that_expires_while_it_is_being_stored(self) -> None:
        """The order does not go out any more."""
        Playbook(a_call()).on(Place(PLAN)).on(Expire()).does(TellAnswer()).ends(Outcome.EXPIRED)

    def test_the_second_leg_is_busy(self) -> None:
        """The cause shown is that of the second leg."""
        story = placed().on(FirstAnswered("PJSIP/100-1")).on(SecondDialed(30))
        evidence = CallEvidence(first=LegEvidence(cause=16), second=BUSY, dialed=True)
        story.on(Gone(evidence)).ends(Outcome.SECOND_BUSY, cause=17, hung_up_by=None)
        assert story.call.first.channel == "PJSIP/100-1"
        assert story.call.talk_seconds is None

    def test_the_first_hangs_up_while_the_second_rings(self) -> None:
        """It is abandoned, by the first."""
        story = placed().on(FirstAnswered()).on(SecondDialed(30)).on(SecondRinging())
        evidence = CallEvidence(second=LegEvidence(status="CANCEL"), dialed=True)
        story.on(Gone(evidence)).ends(Outcome.ABANDONED, hung_up_by=HungUpBy.FIRST)

    @pytest.mark.parametrize(
        ("why", "result", "event"),
        [
            (NotConfirmed.SILENT, Outcome.FIRST_NO_ANSWER, "first_not_confirmed"),
            (NotConfirmed.DECLINED, Outcome.FIRST_DECLINED, "first_declined"),
        ],
    )
    def test_nobody_confirms(self, why: NotConfirmed, result: Outcome, event: str) -> None:
        """The first leg was answered, and no person wanted the call: the timeline says so."""
        asking = evolve(PLAN, confirm_seconds=30)
        story = Playbook(a_call()).on(Place(asking)).on(FirstAnswered()).does(Guard(30 + GRACE))
        story.on(Gone(CallEvidence(not_confirmed=why))).ends(result, hung_up_by=None)
        assert story.call.first.answered_at is not None
        assert [entry.event for entry in story.call.timeline][-2:] == [event, "ended"]

    def test_times_of_a_leg_are_those_first_seen(self) -> None:
        """What was stored on the way counts; evidence that knows the answer better, more."""
        story = talking().on(
            Gone(
                CallEvidence(
                    first=LegEvidence(ringing_at=5.0),
                    second=LegEvidence(ringing_at=5.0, answered_at=1006.5, ended_at=1010.0),
                )
            )
        )
        assert story.call.first.ringing_at == 1001.0
        assert story.call.first.answered_at == 1003.0
        assert story.call.second.ringing_at == 1004.0
        assert story.call.talk_seconds == pytest.approx(3.5)

    def test_states_may_be_skipped(self) -> None:
        """A second leg that is seen ringing, or answered, was dialled."""
        story = placed().at(2).on(SecondRinging()).goes_to("second_ringing")
        assert story.call.dialed_at == 1002.0
        story = placed().at(3).on(SecondAnswered()).goes_to("connected")
        assert story.call.dialed_at == 1003.0

    def test_an_answered_call_of_which_nothing_more_is_known(self) -> None:
        """It was connected; how long they talked, nobody knows."""
        story = talking().on(Gone(CallEvidence(lost=True))).ends(Outcome.CONNECTED)
        assert story.call.talk_seconds is None


class TestGuard:
    def test_asks_when_the_pbx_is_overdue(self) -> None:
        """Again and again, but the story notes it once."""
        story = placed()
        for _ in range(3):
            story.on(GuardExpired()).does(Settle(), Guard(GRACE))
        assert [entry.event for entry in story.call.timeline].count("overdue") == 1

    def test_hangs_up_a_talk_that_the_pbx_does_not_end(self) -> None:
        """The longest duration holds even if the PBX forgets it."""
        talking().on(GuardExpired()).does(HangUp(), Settle(), Guard(GRACE))

    def test_means_nothing_before_a_call_is_placed(self) -> None:
        """There is nothing to ask for."""
        assert step(a_call(), GuardExpired(), 1001.0) == Step(a_call(), (), breach=True)

    def test_after_a_restart_a_talk_is_not_cut_short(self) -> None:
        """What is left of the longest duration counts, not the time since the restart."""
        connected = talking().call  # since 1006
        assert guard_after_restart(connected, 1016.0) == Guard(3600 - 10 + GRACE)
        assert guard_after_restart(connected, 99999.0) == Guard(GRACE)
        unknown = evolve(connected, second=LegEvidence())
        assert guard_after_restart(unknown, 99999.0) == Guard(3600 + GRACE)

    def test_after_a_restart_a_leg_has_what_is_left_of_its_ringing(self) -> None:
        """Until then there is nothing to ask for, again and again."""
        dialing = placed()
        ringing = dialing.call, Playbook(dialing.call).on(FirstRinging()).call
        second = Playbook(ringing[1]).at(10).on(FirstAnswered()).on(SecondDialed(30))
        for call, begun in (
            *((call, 1000.0) for call in ringing),
            (second.call, 1010.0),
            (second.on(SecondRinging()).call, 1010.0),
        ):
            assert guard_after_restart(call, begun + 12) == Guard(30 - 12 + GRACE)
            assert guard_after_restart(call, begun + 99) == Guard(GRACE)
            assert guard_after_restart(call, begun - 99) == Guard(30 + GRACE)  # a clock was set

    def test_after_a_restart_who_confirms_has_the_time_for_it(self) -> None:
        """The second is dialled at once, or when the first has pressed the key."""
        for seconds in (0, 20):
            plan = evolve(PLAN, confirm_seconds=seconds)
            call = Playbook(a_call()).on(Place(plan)).on(FirstAnswered()).call
            assert guard_after_restart(call, 1000.0) == Guard(seconds + GRACE)

    def test_after_a_restart_nothing_is_known_of_the_order(self) -> None:
        """A record of an old version: the whole time, from now on."""
        for call in (in_state(CallState.DIALING_FIRST), in_state(CallState.SECOND_RINGING)):
            assert guard_after_restart(call, 99999.0) == Guard(30 + GRACE)
        without = evolve(in_state(CallState.FIRST_RINGING), plan=None)
        assert guard_after_restart(without, 99999.0) == Guard(GRACE)


class TestNews:
    """What is told again and again is noted when something has changed."""

    def noted(self, *told: Event) -> list[str]:
        """What the story notes of these, from a ringing first on."""
        story = placed().on(FirstRinging())
        before = len(story.call.timeline)
        for event in told:
            story.on(event)
        return [entry.event for entry in story.call.timeline[before:]]

    def test_asked_for_and_found_again_and_again(self) -> None:
        """A call that is there, and takes longer than it may."""
        told: list[Event] = [GuardExpired(), Found()]
        assert self.noted(*told * 5) == ["overdue", "pbx_found"]

    def test_a_link_that_comes_and_goes(self) -> None:
        """Each loss after it was found is news, and each time that it was found after a loss."""
        lost, found = PbxLost("cut"), Found()
        story = ["pbx_lost", "pbx_found", "pbx_lost", "pbx_found"]
        assert self.noted(lost, lost, found, found, lost, lost, found) == story

    def test_the_call_goes_on(self) -> None:
        """In another state it is another thing to be overdue."""
        overdue, answered = GuardExpired(), FirstAnswered()
        story = ["overdue", "first_answered", "overdue"]
        assert self.noted(overdue, overdue, answered, overdue, overdue) == story


class TestRelayed:
    """What an agent elsewhere says of its own call is taken over."""

    def test_of_another_clock(self) -> None:
        """Its times are those of its host's clock; ours are moved by what ours was set by."""
        call = evolve(in_state(CallState.DIALING_FIRST), clock_ahead=100.0)
        relayed = step(call, self.told(clock_ahead=-3600.0), 1003.0).call
        assert [entry.at for entry in relayed.timeline] == [1001.5 - 3700, 1002.0 - 3700]
        again = step(relayed, self.told(clock_ahead=-3600.0), 1004.0)
        assert again.call is relayed

    def test_of_no_job(self) -> None:
        """Where it could make no job of it, ours stays."""
        call = in_state(CallState.DIALING_FIRST)
        assert step(call, self.told(job=None), 1003.0).call.job == call.job

    def told(self, **changes: Any) -> Relayed:
        """The word of an agent that was given the call."""
        record = evolve(
            a_call(),
            key="cloud",
            pbx_request=Exchange(1002.0, {"Action": "Originate"}),
            timeline=(Entry(1001.5, "accepted"), Entry(1002.0, "dialing_first")),
            state=CallState.DIALING_FIRST,
        )
        return Relayed("pbx1", evolve(record, **changes))

    def test_the_answer_of_its_pbx(self) -> None:
        """It is the answer to the request; both sides of the exchange are shown."""
        story = Playbook(a_call()).on(Place(PLAN)).at(3)
        story.on(self.told()).does()
        answered = self.told(
            answer=Answer(),
            pbx_response=Exchange(1002.5, {"Response": "Success"}),
            timeline=(Entry(1001.5, "accepted"), Entry(1002.5, "originate_accepted")),
        )
        story.on(answered).does(TellAnswer())
        assert story.call.answer == Answer()
        assert story.call.key == "crm"
        assert story.call.pbx_request == Exchange(1000.0, PLAN.data)
        assert story.call.pbx_response == Exchange(
            1003.0,
            {
                "server_id": "pbx1",
                "pbx_data": {"Action": "Originate"},
                "response_data": {"Response": "Success"},
            },
        )

    def test_the_numbers_as_its_pbx_was_told_them(self) -> None:
        """Its plan counts; what was asked for stays."""
        asked = a_call()
        assert asked.job is not None
        dialed = evolve(asked.job, dial_second="x", dialed_second="0030123456")
        job = step(in_state(CallState.DIALING_FIRST), self.told(job=dialed), 1003.0).call.job
        assert job == evolve(asked.job, dialed_second="0030123456")

    def test_a_story_told_in_parts(self) -> None:
        """Each entry once, in the order of their times; what comes again changes nothing."""
        story = Playbook(a_call(timeline=(Entry(1000.0, "accepted"),))).on(Place(PLAN))
        for told in (self.told(), self.told()):
            story.on(told).does()
        more = (*self.told().call.timeline, Entry(1004.0, "first_ringing"))
        story.on(self.told(state=CallState.FIRST_RINGING, timeline=more)).goes_to("first_ringing")
        assert [(entry.at, entry.event) for entry in story.call.timeline] == [
            (1000.0, "accepted"),
            (1000.0, "dialing_first"),
            (1001.5, "accepted"),
            (1002.0, "dialing_first"),
            (1004.0, "first_ringing"),
        ]

    def test_a_talk(self) -> None:
        """Asked about as late as the whole call, whatever was to be asked before; noted once."""
        connected = self.told(
            state=CallState.CONNECTED, timeline=(Entry(1008.0, "connected", "PJSIP/200-2"),)
        )
        more = self.told(state=CallState.CONNECTED, timeline=(Entry(1009.0, "pbx_lost"),))
        story = Playbook(a_call()).on(Place(PLAN)).on(connected)
        story.does(Guard(PLAN.timeout + GRACE)).goes_to("connected")
        story.on(connected).does().on(more).does().goes_to("connected")

    def test_a_talk_of_which_nothing_more_is_heard(self) -> None:
        """The agent ends it when it is too long; while that is away, nothing is sent after it."""
        connected = self.told(
            state=CallState.CONNECTED,
            second=LegEvidence(answered_at=1008.0),
            timeline=(Entry(1008.0, "connected"),),
        )
        plan = evolve(PLAN, timekeeper=Timekeeper.ELSEWHERE)
        story = Playbook(a_call()).on(Place(plan)).on(connected)
        assert guard_after_restart(story.call, 99999.0) == Guard(GRACE)
        for _ in range(3):
            story.on(GuardExpired()).does(Settle(), Guard(GRACE)).goes_to("connected")

    def test_the_end(self) -> None:
        """The outcome is the agent's, with all its evidence."""
        ended = self.told(
            state=CallState.ENDED,
            outcome=Outcome.SECOND_BUSY,
            second=BUSY,
            cause=17,
            ended_at=1009.0,
            timeline=(Entry(1009.0, "ended", "second_busy"),),
        )
        story = Playbook(a_call()).on(Place(PLAN)).on(ended)
        story.ends(Outcome.SECOND_BUSY, cause=17, hung_up_by=None)
        assert (story.call.second, story.call.ended_at) == (BUSY, 1009.0)

    def test_that_cannot_be_hung_up(self) -> None:
        """A cancel that was under way does nothing: it is taken back, and noted once."""
        story = Playbook(a_call()).on(Place(PLAN)).on(Cancel())
        told = self.told(cannot_hang_up="No.")
        story.on(told).does()
        assert (story.call.cancelled, story.call.cannot_hang_up) == (False, "No.")
        more = (*told.call.timeline, Entry(1004.0, "first_ringing"))
        story.on(self.told(cannot_hang_up="No.", timeline=more)).does()
        entries = [entry for entry in story.call.timeline if entry.event == "cannot_hang_up"]
        assert [entry.detail for entry in entries] == ["No."]

    def test_cancelled_before_its_pbx_was_given_it(self) -> None:
        """Also where that hangs no call up: nobody was rung."""
        story = Playbook(a_call()).on(Place(PLAN)).on(Cancel())
        story.on(self.told(cannot_hang_up="No.", cancelled=True)).does()
        assert story.call.cancelled

    def test_what_the_requester_was_told_stays(self) -> None:
        """The agent was late; its truth is in the story."""
        story = (
            Playbook(a_call())
            .on(Place(PLAN))
            .on(OriginateUnanswered("Late."))
            .does(TellAnswer(), HangUp())
        )
        told = story.call.answer
        assert told is not None
        story.on(self.told(answer=Answer())).does()
        assert story.call.answer == told

    def test_a_cancel_that_the_agent_does_not_know_of(self) -> None:
        """It is said again, until the agent knows."""
        story = Playbook(a_call()).on(Place(PLAN)).on(Cancel()).does(HangUp())
        story.on(self.told()).does(HangUp())
        more = (*self.told().call.timeline, Entry(1004.0, "cancel_requested"))
        story.on(self.told(cancelled=True, timeline=more)).does()


class TestLostAndFound:
    def test_a_lost_link_is_noted(self) -> None:
        """The story says that the PBX was not heard for a time."""
        story = talking().on(PbxLost("cut")).does().on(Found()).does().goes_to("connected")
        assert [entry.event for entry in story.call.timeline][-2:] == ["pbx_lost", "pbx_found"]

    def test_what_is_found_was_accepted(self) -> None:
        """Where the PBX's answer was not heard, finding the call tells as much."""
        story = Playbook(a_call()).on(Place(PLAN)).on(Found()).does(TellAnswer())
        assert story.call.answer == Answer()

    def test_a_cancelled_call_that_is_found_again_is_hung_up(self) -> None:
        """The cancel was lost with the link; it still holds."""
        placed().on(Cancel()).on(PbxLost("cut")).on(Found()).does(HangUp())
