"""The dispatcher: durable before it is sent, sent once, and every call ended and let go of once."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from c2c_agent.call.call import Answer, Call, CallState, HungUpBy, OriginatePlan, Received
from c2c_agent.call.events import (
    Cancel,
    Event,
    Expire,
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    GuardExpired,
    LegEvent,
    OriginateAccepted,
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
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, SaidBy
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.transitions import GRACE
from c2c_agent.dispatch.active import ActiveCall, Ownership
from c2c_agent.dispatch.dispatcher import StoreUnreadableError
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.meter import Admission
from tests.fakes import EPOCH, Desk, DeskTest, FakeDriver, uuid
from tests.playbook import JOB, a_call

ONE, TWO, THREE = uuid(1), uuid(2), uuid(3)

#: The seconds that a call's first leg may take before the PBX is asked what became of it.
RING = JOB.timeout + GRACE
#: The seconds after which storing the end of a call is tried again.
RETRY = 5.0

PLAN = OriginatePlan(
    data={"Action": "Originate"},
    target="Local/200@from-phones/n",
    timeout=30,
    order="made by this driver",
)
FAULT = Fault(ErrorCode.NOT_ALLOWED, "This key may not dial this dial_first.")

TALKED = CallEvidence(
    first=LegEvidence(status="ANSWER", cause=16, by=SaidBy.DEVICE),
    second=LegEvidence(status="ANSWER", cause=16, cause_text="Normal Clearing", by=SaidBy.DIALPLAN),
    dialed=True,
    hung_up_by=Leg.SECOND,
    hung_up_at=EPOCH + 20,
)

#: What leads to each state on the way of a call that was placed.
WAY: dict[CallState, Sequence[LegEvent]] = {
    CallState.DIALING_FIRST: (),
    CallState.FIRST_RINGING: (FirstRinging("PJSIP/100-1"),),
    CallState.FIRST_ANSWERED: (FirstAnswered("PJSIP/100-1"),),
    CallState.DIALING_SECOND: (FirstAnswered("PJSIP/100-1"), SecondDialed(30)),
    CallState.SECOND_RINGING: (FirstAnswered("PJSIP/100-1"), SecondRinging("PJSIP/200-2")),
    CallState.CONNECTED: (FirstAnswered("PJSIP/100-1"), SecondAnswered("PJSIP/200-2")),
}


def a_job(**changes: Any) -> CallJob:
    """The job of the playbook, with changes."""
    return evolve(JOB, **changes)


class DispatcherTest(DeskTest):
    """Calls that are given to the dispatcher as the intake does it."""

    def begin(self, request_id: str = ONE, **changes: Any) -> ActiveCall:
        """A call comes in, and is counted."""
        received = Received(self.desk.now(), "http://pbx1/c2c/v2", "GET", {})
        call = a_call(**{"request_id": request_id, "received": received, **changes})
        active = self.desk.dispatcher.begin(call)
        admission = Admission(call.max_duration, reserved=0)
        active.lease = self.desk.meter.resume(call.key, admission, self.desk.now())
        return active

    def apply(self, active: ActiveCall, event: Event) -> None:
        """Let an event happen to a call."""
        self.desk.dispatcher.apply(active, event)

    def place(self, request_id: str = ONE, *events: LegEvent, **changes: Any) -> ActiveCall:
        """A call is placed, and then these events are told of it."""
        active = self.begin(request_id, **changes)
        self.apply(active, Place(PLAN))
        self.driver.tells(request_id, *events)
        return active

    def ended(self, request_id: str = ONE) -> Outcome | None:
        """The outcome with which a call has ended, and is stored; nothing is kept of it."""
        assert self.desk.dispatcher.active(request_id) is None
        assert self.desk.meter.running == 0
        assert self.clock.getDelayedCalls() == []
        call = self.store.kept(request_id)
        assert call is not None
        assert call.state is CallState.ENDED
        return call.outcome

    def in_seconds(self) -> list[float]:
        """When the timers are due, from now."""
        now = self.clock.seconds()
        return [timer.getTime() - now for timer in self.clock.getDelayedCalls()]

    def asked_to_settle(self) -> list[str]:
        """The calls that the PBX was asked about since this was asked last."""
        asked, self.driver.settled[:] = list(self.driver.settled), []
        return asked


class TheOrder(DispatcherTest):
    """Durable first, then sent; and sent once."""

    def test_held_until_the_commit(self) -> None:
        """While the disk has not written the call, the PBX hears nothing of it."""
        self.store.hold_writes()
        self.place()
        assert self.driver.originated == []
        self.store.commit()
        assert self.driver.originated == [ONE]

    def test_what_is_stored_before_it(self) -> None:
        """The plan and the state stand on the disk: after a crash it is known what was ordered."""
        self.place()
        kept = self.store.kept(ONE)
        assert kept is not None
        assert (kept.state, kept.plan) == (CallState.DIALING_FIRST, PLAN)

    def test_later_commits(self) -> None:
        """Only the commit of the plan sends the order, not those of what happens afterwards."""
        self.store.hold_writes()
        active = self.place()
        self.store.commit()
        self.driver.tells(ONE, OriginateAccepted(), FirstRinging(), FirstAnswered())
        self.store.commit()
        self.apply(active, Place(PLAN))
        self.store.commit()
        assert self.driver.originated == [ONE]

    def test_a_failed_commit(self) -> None:
        """What cannot be stored is not sent; the requester hears it at once."""
        self.store.hold_writes()
        active = self.place()
        self.store.fail()
        assert active.call.answer == Answer(
            (Fault(ErrorCode.INTERNAL_ERROR, "The call could not be stored."),)
        )
        self.store.commit()
        assert self.ended() is Outcome.REJECTED
        assert self.driver.originated == []

    def test_cancelled_before_the_commit(self) -> None:
        """Who cancels while the disk writes is in time: nobody is rung."""
        self.store.hold_writes()
        self.place()
        self.desk.dispatcher.cancel(ONE)
        self.store.commit()
        assert self.driver.originated == []
        self.store.commit()
        assert self.ended() is Outcome.CANCELLED

    def test_gone_before_the_commit(self) -> None:
        """A PBX that says so has no such call; after that end, nobody is rung for it."""
        self.store.hold_writes()
        self.place()
        self.driver.tells(ONE, Gone(CallEvidence(lost=True)))
        self.store.commit()
        assert self.driver.originated == []
        assert self.ended() is Outcome.UNKNOWN

    def test_a_commit_that_takes_its_time(self) -> None:
        """The disk hangs: for longer than anybody waits for the answer, and nobody is rung then."""
        self.store.hold_writes()
        active = self.place()
        self.clock.advance(31)
        self.store.commit()
        assert self.driver.originated == []
        assert active.call.answer == Answer(
            (Fault(ErrorCode.INTERNAL_ERROR, "It took too long to store the call."),)
        )
        self.store.commit()
        assert self.ended() is Outcome.REJECTED

    def test_expired_before_the_commit(self) -> None:
        """Stored later than the job may be: nobody may be rung for it any more."""
        self.store.hold_writes()
        active = self.place(job=a_job(expires=EPOCH + 3))
        self.clock.advance(3.5)
        self.store.commit()
        assert self.driver.originated == []
        assert active.call.answer is not None
        assert [fault.code for fault in active.call.answer.faults] == [ErrorCode.EXPIRED]
        self.store.commit()
        assert self.ended() is Outcome.EXPIRED

    def test_a_slow_disk(self) -> None:
        """The PBX is not asked about a call that it was not given yet."""
        self.store.hold_writes()
        self.apply(self.begin(), Place(evolve(PLAN, timeout=10)))
        self.clock.pump([10 + GRACE, GRACE, GRACE])
        self.desk.dispatcher.pbx_up()
        assert self.asked_to_settle() == []
        self.store.commit()
        assert self.driver.originated == [ONE]
        self.desk.dispatcher.pbx_up()
        assert self.asked_to_settle() == [ONE]

    def test_a_driver_that_fails(self) -> None:
        """A mistake in it is logged; nobody knows whether the order left, so it is asked about."""
        self.driver.mistake = ZeroDivisionError()
        active = self.place()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        assert active.call.answer is not None
        assert [fault.code for fault in active.call.answer.faults] == [ErrorCode.PBX_UNAVAILABLE]
        self.clock.advance(RING)
        assert self.asked_to_settle() == [ONE]
        self.driver.tells(ONE, Gone(CallEvidence(lost=True)))
        assert self.ended() is Outcome.UNKNOWN


class TheEnd(DispatcherTest):
    """However a call ends, it is stored, counted off once, and forgotten."""

    def assert_ends(self, active: ActiveCall, outcome: Outcome) -> None:
        """Exactly one end, whatever else comes late."""
        request_id = active.call.request_id
        assert self.ended(request_id) is outcome
        saves = len(self.store.saves)
        self.driver.tells(request_id, FirstRinging(), OriginateRefused("late"), Found(), Gone())
        ours = (Cancel(), Place(PLAN), Reject((FAULT,)), Expire(), GuardExpired(), PbxLost("late"))
        for late in ours:
            self.apply(active, late)
        self.desk.dispatcher.cancel(request_id)
        assert self.ended(request_id) is outcome
        assert len(self.store.saves) == saves

    def test_refused_before_it_was_placed(self) -> None:
        """Rejected: it is stored so that its status can be asked for."""
        active = self.begin()
        self.apply(active, Reject((FAULT,)))
        self.assert_ends(active, Outcome.REJECTED)

    def test_expired(self) -> None:
        """Too old when its turn came."""
        active = self.begin()
        self.apply(active, Expire())
        self.assert_ends(active, Outcome.EXPIRED)

    def test_cancelled_before_it_was_placed(self) -> None:
        """Nothing was sent, and nothing is hung up."""
        active = self.begin()
        self.desk.dispatcher.cancel(ONE)
        self.assert_ends(active, Outcome.CANCELLED)
        assert self.driver.hung_up == []

    def test_refused_by_the_pbx(self) -> None:
        """In the PBX's own words."""
        active = self.place(ONE, OriginateRefused("Extension does not exist."))
        self.assert_ends(active, Outcome.PBX_ERROR)

    def test_not_sent(self) -> None:
        """The link was down in that moment."""
        self.assert_ends(self.place(ONE, OriginateUnsent("no link")), Outcome.REJECTED)

    def test_gone_without_a_word(self) -> None:
        """Nobody saw what happened."""
        self.assert_ends(
            self.place(ONE, OriginateUnanswered("lost"), Gone(CallEvidence(lost=True))),
            Outcome.UNKNOWN,
        )

    def test_that_cannot_be_hung_up(self) -> None:
        """Then it is not cancelled: it goes on, and ends as it does."""
        active = self.place(ONE, FirstRinging())
        waiting = self.place(TWO, FirstRinging(), FirstAnswered())
        self.driver.lasts = "No."
        assert self.desk.dispatcher.cancel(ONE) == "No."
        anywhere = Deferred.fromCoroutine(self.desk.dispatcher.cancel_anywhere(waiting.call))
        assert self.successResultOf(anywhere) == "No."
        assert self.desk.dispatcher.hang_up_all() == 0
        assert self.driver.hung_up == []
        self.driver.tells(ONE, Gone(TALKED))
        assert active.call.outcome is Outcome.CONNECTED
        assert active.call.hung_up_by is not HungUpBy.CANCEL
        self.driver.lasts = None
        assert self.desk.dispatcher.hang_up_all() == 1
        self.driver.tells(TWO, Gone(TALKED))

    def test_gone_in_every_state(self) -> None:
        """Wherever it was, Gone ends it."""
        for number, (state, events) in enumerate(WAY.items()):
            active = self.place(uuid(number), *events)
            assert active.call.state is state
            self.driver.tells(uuid(number), Gone(TALKED))
            self.assert_ends(active, Outcome.CONNECTED)

    def test_cancelled_in_every_state(self) -> None:
        """The PBX is asked to hang up, and the call ends when it says that it is gone."""
        for number, (state, events) in enumerate(WAY.items()):
            active = self.place(uuid(number), *events)
            self.desk.dispatcher.cancel(uuid(number))
            assert self.driver.hung_up[-1] == uuid(number)
            assert active.call.state is state
            self.driver.tells(uuid(number), Gone(CallEvidence(first=LegEvidence(status="CANCEL"))))
            talked = state is CallState.CONNECTED
            self.assert_ends(active, Outcome.CONNECTED if talked else Outcome.CANCELLED)
            assert active.call.hung_up_by is HungUpBy.CANCEL

    def test_what_may_not_wait(self) -> None:
        """The order, and an end that nobody could tell again."""
        self.place(ONE, *WAY[CallState.CONNECTED], Gone(TALKED))
        urgent = [CallState.DIALING_FIRST, CallState.ENDED]
        assert [call.state for call in self.store.urgent] == urgent

    def test_what_may_wait(self) -> None:
        """An end that follows from what was stored of the second leg, should it be lost."""
        second = evolve(TALKED.second, ended_at=EPOCH + 20)
        second_ended = SecondEnded(second, TALKED.hung_up_by, EPOCH + 20)
        self.place(ONE, *WAY[CallState.CONNECTED], second_ended, Gone(TALKED))
        assert [call.state for call in self.store.urgent] == [CallState.DIALING_FIRST]
        assert self.ended() is Outcome.CONNECTED

    def test_told_while_it_is_being_asked_for(self) -> None:
        """A PBX that knows the answer at once may give it within the question."""
        self.driver.found_out = Gone(TALKED)
        active = self.place()
        self.clock.advance(RING)
        self.assert_ends(active, Outcome.CONNECTED)

    def test_one_of_several(self) -> None:
        """Others go on, and go on being counted."""
        self.place(ONE)
        self.place(TWO)
        self.driver.tells(ONE, Gone(TALKED))
        assert self.desk.meter.running == 1
        assert self.desk.dispatcher.in_progress == 1
        assert self.in_seconds() == [RING]


class Telling(DispatcherTest):
    """What others are told of calls."""

    def told(self) -> list[str]:
        """The events that went to the store, in order."""
        return [report.type for report in self.store.reports]

    def test_a_whole_call(self) -> None:
        """Each event comes once, together with the change that it tells of."""
        self.place(ONE, OriginateAccepted(), FirstRinging(), FirstRinging(), FirstAnswered())
        self.driver.tells(ONE, SecondDialed(20), SecondAnswered(), Gone(TALKED))
        assert self.told() == [
            "call.accepted",
            "call.first_ringing",
            "call.first_answered",
            "call.connected",
            "call.ended",
        ]
        assert {report.request_id for report in self.store.reports} == {ONE}

    def test_refused(self) -> None:
        """What never came to the PBX has one event."""
        self.apply(self.begin(), Reject((Fault(ErrorCode.NOT_ALLOWED, "No."),)))
        assert self.told() == ["call.rejected"]

    def test_when_it_is_stored(self) -> None:
        """The outbox hears of reports that are on the disk, not before."""
        self.store.hold_writes()
        self.place()
        assert self.desk.outbox.woken == 0
        self.store.commit()
        assert self.desk.outbox.woken == 1
        self.driver.tells(ONE, OriginateAccepted())  # of which nothing is told
        self.store.commit()
        assert self.desk.outbox.woken == 1

    def test_stored_at_last(self) -> None:
        """Reports of an end that had no room come with the next attempt: then it is told, too."""
        self.place(ONE, OriginateAccepted())
        woken = self.desk.outbox.woken
        self.store.hold_writes()
        self.driver.tells(ONE, Gone(TALKED))
        self.store.fail()
        assert self.desk.outbox.woken == woken
        self.clock.advance(RETRY)
        self.store.commit()
        assert self.desk.outbox.woken == woken + 1
        assert self.told() == ["call.accepted", "call.ended"]  # the store keeps what it was given

    def test_stored_at_last_on_the_way(self) -> None:
        """Those of a change that somebody wants to hear of long before the end, as well."""
        self.place(ONE, OriginateAccepted())
        woken = self.desk.outbox.woken
        self.store.hold_writes()
        self.driver.tells(ONE, FirstRinging())
        self.store.fail()
        self.clock.advance(RETRY)
        assert self.desk.outbox.woken == woken
        self.store.commit()
        assert self.desk.outbox.woken == woken + 1


class NotStored(DispatcherTest):
    """The end of a call, where the disk does not take it."""

    def setUp(self) -> None:
        """Make a call whose end the disk refuses."""
        super().setUp()
        self.active = self.place(ONE, OriginateAccepted())
        self.store.hold_writes()
        self.driver.tells(ONE, Gone(TALKED))

    def test_kept_in_memory(self) -> None:
        """It has ended for all who ask, and for the limits; only the disk does not know it yet."""
        self.store.fail()
        call = self.successResultOf(Deferred.fromCoroutine(self.desk.dispatcher.find(ONE)))
        assert call is self.active.call
        assert call.outcome is Outcome.CONNECTED
        assert self.desk.dispatcher.in_progress == 0
        assert self.desk.meter.running == 0
        assert self.desk.dispatcher.changed(ONE) is None

    def test_tried_again(self) -> None:
        """Until the disk takes it, ever more rarely; then it is forgotten here."""
        for times in (1, 2, 4, 8, 16, 16, 16):
            self.store.fail()
            assert self.in_seconds() == [RETRY * times]
            self.clock.advance(RETRY * times)
        self.store.commit()
        assert self.ended() is Outcome.CONNECTED

    def test_how_many(self) -> None:
        """Those whose end is known here alone, each once, until it is stored."""
        assert self.desk.dispatcher.unstored == 0
        self.store.fail()
        assert self.desk.dispatcher.unstored == 1
        self.clock.advance(5)
        self.store.fail()
        assert self.desk.dispatcher.unstored == 1
        self.store.release()
        self.clock.advance(10)
        assert self.desk.dispatcher.unstored == 0

    def test_logged(self) -> None:
        """The admin reads which call, and what the disk says."""
        with capturedLogs() as logs:
            self.store.fail()
        [line] = [formatEvent(event) for event in logs]
        assert line == f"call {ONE} could not be stored: database or disk is full"

    def test_at_the_stop(self) -> None:
        """The last chance is taken at once: the store writes what waits before it closes."""
        self.store.fail()
        self.desk.dispatcher.stop()
        assert self.clock.getDelayedCalls() == []
        self.store.commit()
        assert self.ended() is Outcome.CONNECTED

    def test_failed_again_after_the_stop(self) -> None:
        """Then nothing is left to try; the next start settles the call anew."""
        self.desk.dispatcher.stop()
        self.store.fail()
        assert self.clock.getDelayedCalls() == []

    def test_on_the_way(self) -> None:
        """Tried again as well, for the next change may be an hour off."""
        self.fail_on_the_way()
        self.clock.advance(RETRY)
        self.store.commit()
        assert self.events_kept(TWO)[-1] == "first_ringing"
        assert self.in_seconds() == [RING - RETRY]

    def test_overtaken(self) -> None:
        """Each change stores the whole call anew, and nothing is left to be tried again."""
        self.fail_on_the_way()
        self.driver.tells(TWO, FirstAnswered())
        self.store.commit()
        assert self.events_kept(TWO)[-2:] == ["first_ringing", "first_answered"]
        assert len(self.in_seconds()) == 1  # the guard

    def fail_on_the_way(self) -> None:
        """A phone rings, and the disk does not take it."""
        self.store.commit()
        self.place(TWO)
        self.store.commit()
        self.driver.tells(TWO, FirstRinging())
        self.store.fail()
        assert self.in_seconds() == [RETRY, RING]

    def events_kept(self, request_id: str) -> list[str]:
        """What the store has of a call."""
        kept = self.store.kept(request_id)
        assert kept is not None
        return [entry.event for entry in kept.timeline]


class NotDurable(DispatcherTest):
    """A change on the way that somebody has to know durable, and that the disk does not take."""

    def setUp(self) -> None:
        """An agent tells something of a call, and the disk refuses it."""
        super().setUp()
        self.active = self.place(ONE, OriginateAccepted())
        self.guard = self.in_seconds()
        self.store.hold_writes()
        self.told = self.tell(self.at(FirstRinging()))
        self.store.fail()

    def tell(self, at_the_agent: Call) -> Deferred[bool]:
        """An agent tells of its call; fires when that is stored."""
        self.driver.tells(ONE, Relayed("pbx1", at_the_agent))
        return Deferred.fromCoroutine(self.desk.dispatcher.until_stored(ONE))

    def at(self, event: LegEvent) -> Call:
        """The call as the agent has it after one event more."""
        return step(self.active.call, event, self.desk.now()).call

    def test_tried_again(self) -> None:
        """Without a further event, which may wait for this one: until the disk takes it."""
        self.assertNoResult(self.told)
        assert self.in_seconds() == [RETRY, *self.guard]
        self.clock.advance(RETRY)
        self.store.fail()
        self.clock.advance(RETRY)
        assert self.store.waiting == []
        self.clock.advance(RETRY)
        self.store.commit()
        assert self.successResultOf(self.told)
        assert self.store.kept(ONE) == self.active.call
        assert len(self.clock.getDelayedCalls()) == 1

    def test_asked_for_later(self) -> None:
        """Who waits for a change only after the disk has refused it has it tried again at once."""
        self.place(TWO)
        self.store.commit()
        self.driver.tells(TWO, OriginateAccepted())
        self.store.fail()
        waiters = [Deferred.fromCoroutine(self.desk.dispatcher.until_stored(TWO)) for _ in range(2)]
        assert len(self.store.waiting) == 1
        self.store.fail()
        self.clock.advance(RETRY * 2)
        self.store.commit()
        for waiter in waiters:
            assert self.successResultOf(waiter)

    def test_overtaken(self) -> None:
        """By a change that the disk takes: that has it all in it."""
        self.tell(self.at(FirstAnswered()))
        self.store.commit()
        assert self.successResultOf(self.told)
        assert self.in_seconds() == self.guard

    def test_the_end_is_tried_once(self) -> None:
        """With what was to be tried again, and as soon: a call changes often within a moment."""
        self.clock.advance(1)
        self.driver.tells(ONE, Gone(TALKED))
        self.store.fail()
        assert self.in_seconds() == [RETRY - 1]
        self.clock.advance(RETRY - 1)
        self.store.fail()
        assert self.in_seconds() == [RETRY * 2]
        self.clock.advance(RETRY * 2)
        self.store.commit()
        assert self.ended() is Outcome.CONNECTED
        assert self.successResultOf(self.told)


class Guards(DispatcherTest):
    """One timer for each call: the time that the PBX has for what it does."""

    def test_on_the_way(self) -> None:
        """Each stage has its own time, and never two of them run."""
        self.place()
        assert self.in_seconds() == [RING]
        self.driver.tells(ONE, FirstRinging())
        assert self.in_seconds() == [RING]
        self.driver.tells(ONE, FirstAnswered())
        assert self.in_seconds() == [GRACE]
        self.driver.tells(ONE, SecondDialed(20))
        assert self.in_seconds() == [20 + GRACE]
        self.driver.tells(ONE, SecondAnswered())
        assert self.in_seconds() == [3600 + GRACE]
        self.driver.tells(ONE, Gone(TALKED))
        assert self.in_seconds() == []

    def test_overdue(self) -> None:
        """The PBX is asked what became of the call, and asked again while it says nothing."""
        self.place()
        self.clock.advance(RING - 0.1)
        assert self.asked_to_settle() == []
        self.clock.advance(0.1)
        assert self.asked_to_settle() == [ONE]
        self.clock.pump([GRACE, GRACE])
        assert self.asked_to_settle() == [ONE, ONE]

    def test_found_alive(self) -> None:
        """A call that goes on is only asked about again."""
        self.place()
        self.clock.advance(RING)
        self.driver.tells(ONE, Found())
        assert self.in_seconds() == [GRACE]
        assert self.driver.hung_up == []

    def test_talking_for_too_long(self) -> None:
        """The PBX should have ended it; so it is hung up from here."""
        self.place(ONE, *WAY[CallState.CONNECTED])
        self.clock.advance(3600 + GRACE)
        assert self.driver.hung_up == [ONE]
        assert self.asked_to_settle() == [ONE]


class Waiting(DispatcherTest):
    """Those who wait for an answer, or for something to happen."""

    def answer(self, active: ActiveCall) -> Deferred[Answer]:
        """Ask what the requester is told."""
        return Deferred.fromCoroutine(self.desk.dispatcher.answer_of(active))

    def change(self, request_id: str = ONE) -> Deferred[None]:
        """Wait for the next change."""
        changed = self.desk.dispatcher.changed(request_id)
        assert changed is not None
        return changed

    def test_for_the_answer(self) -> None:
        """All who wait are told when the PBX has answered; who asks later, at once."""
        active = self.place()
        early = [self.answer(active) for _ in range(3)]
        self.driver.tells(ONE, FirstRinging())
        for waiting in early:
            self.assertNoResult(waiting)
        self.driver.tells(ONE, OriginateAccepted())
        for waiting in [*early, self.answer(active)]:
            assert self.successResultOf(waiting) == Answer()

    def test_for_an_answer_that_cannot_be_known(self) -> None:
        """Forgotten without an answer: the store could not be read, and nothing was done."""
        active = self.begin()
        waiting = self.answer(active)
        self.desk.dispatcher.forget(active)
        self.failureResultOf(waiting, StoreUnreadableError)
        assert active.lease is not None
        active.lease.release(dialled=True)

    def test_cancelled_while_waiting_for_the_answer(self) -> None:
        """Who does not wait any longer takes nobody else's answer away."""
        active = self.place()
        gone, stays = self.answer(active), self.answer(active)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.driver.tells(ONE, OriginateAccepted())
        assert self.successResultOf(stays) == Answer()

    def test_for_a_change(self) -> None:
        """Each change tells those who wait, once."""
        self.place()
        waiting = [self.change() for _ in range(3)]
        self.driver.tells(ONE, FirstRinging())
        for changed in waiting:
            self.successResultOf(changed)
        self.assertNoResult(self.change())

    def test_no_change(self) -> None:
        """What changes nothing wakes nobody, and stores nothing."""
        self.place(ONE, FirstRinging())
        saves = len(self.store.saves)
        changed = self.change()
        self.driver.tells(ONE, FirstRinging())
        self.assertNoResult(changed)
        assert len(self.store.saves) == saves

    @pytest.mark.breach
    def test_a_breach_of_the_driver_s_contract(self) -> None:
        """Nor does what cannot come; the log says so, for it is a mistake of the driver's."""
        self.place(ONE, FirstRinging())
        saves = len(self.store.saves)
        changed = self.change()
        with capturedLogs() as logs:
            self.driver.tells(ONE, OriginateRefused("too late"))
        self.assertNoResult(changed)
        assert len(self.store.saves) == saves
        [event] = logs
        assert event["log_level"] is LogLevel.error
        assert formatEvent(event) == (
            f"call {ONE}: a breach of the driver's contract: OriginateRefused in first_ringing"
        )

    def test_for_the_end(self) -> None:
        """The end is a change, and the last: afterwards there is nothing to wait for."""
        self.place()
        self.store.hold_writes()
        changed = self.change()
        self.driver.tells(ONE, Gone(TALKED))
        self.successResultOf(changed)
        assert self.desk.dispatcher.changed(ONE) is None
        self.store.commit()
        assert self.desk.dispatcher.changed(ONE) is None
        assert self.desk.dispatcher.changed(TWO) is None

    def test_cancelled_while_waiting_for_a_change(self) -> None:
        """Who gives up is not told, and the others are."""
        self.place()
        gone, stays = self.change(), self.change()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.driver.tells(ONE, FirstRinging())
        self.successResultOf(stays)

    def test_cancelled_in_the_moment_of_the_change(self) -> None:
        """One who is woken may make another give up; nobody is passed over for it."""
        self.place()
        first, second, third = self.change(), self.change(), self.change()
        first.addCallback(lambda _: second.cancel())
        second.addErrback(lambda failure: failure.trap(CancelledError))
        self.driver.tells(ONE, FirstRinging())
        self.successResultOf(first)
        self.successResultOf(third)

    def test_a_waiter_that_fails(self) -> None:
        """Its mistake is its own: the call goes on, and the others are told."""
        self.place()
        bad, good = self.change(), self.change()
        bad.addCallback(lambda _: 1 // 0)
        self.driver.tells(ONE, FirstRinging())
        self.failureResultOf(bad, ZeroDivisionError)
        self.successResultOf(good)


class Bridging(DispatcherTest):
    """The plan for the second leg, for the channel that asks for it."""

    def test_once(self) -> None:
        """Given to the first that asks; a second channel gets nothing."""
        self.place(ONE, OriginateAccepted(), FirstRinging())
        assert self.desk.dispatcher.may_bridge(ONE) == PLAN
        assert self.desk.dispatcher.may_bridge(ONE) is None

    def test_until_the_second_is_dialled(self) -> None:
        """The first leg may be answered before anything was heard of it; later is too late."""
        for number, (state, events) in enumerate(WAY.items()):
            self.place(uuid(number), *events)
            early = state in {
                CallState.DIALING_FIRST,
                CallState.FIRST_RINGING,
                CallState.FIRST_ANSWERED,
            }
            assert (self.desk.dispatcher.may_bridge(uuid(number)) == PLAN) == early, state

    def test_unknown(self) -> None:
        """Whose channel that is, nobody knows."""
        assert self.desk.dispatcher.may_bridge(ONE) is None

    def test_not_placed(self) -> None:
        """A call that the PBX was not given has no channel."""
        self.begin()
        assert self.desk.dispatcher.may_bridge(ONE) is None

    def test_cancelled(self) -> None:
        """Nobody else is rung for a call that somebody wants to end."""
        self.place(ONE, FirstRinging())
        self.desk.dispatcher.cancel(ONE)
        assert self.desk.dispatcher.may_bridge(ONE) is None

    def test_ended(self) -> None:
        """Nor for one that has ended, stored or not."""
        self.place(ONE)
        self.store.hold_writes()
        self.driver.tells(ONE, Gone(TALKED))
        assert self.desk.dispatcher.may_bridge(ONE) is None
        self.store.commit()
        assert self.desk.dispatcher.may_bridge(ONE) is None


class TheLink(DispatcherTest):
    """The PBX cannot be heard, and can be again."""

    def setUp(self) -> None:
        """Make a desk with two kinds of PBX."""
        self.desk = Desk("asterisk", "other")
        self.clock, self.store = self.desk.clock, self.desk.store

    @property
    def driver(self) -> FakeDriver:
        return self.desk.drivers["asterisk"]

    def test_up(self) -> None:
        """Each driver is asked about its own calls, as far as it was given them."""
        self.place(ONE)
        self.place(TWO, FirstAnswered())
        self.place(THREE, job=a_job(pbx="other"))
        self.begin(uuid(4))
        self.begin(uuid(5), job=None)
        self.place(uuid(6), OriginateRefused("no"))
        self.store.hold_writes()
        self.driver.tells(TWO, Gone(TALKED))
        self.desk.dispatcher.pbx_up()
        assert self.driver.settled == [ONE]
        assert self.desk.drivers["other"].settled == [THREE]

    def test_up_with_nothing_to_ask(self) -> None:
        """Then nothing is asked."""
        self.begin(ONE)
        self.desk.dispatcher.pbx_up()
        assert self.driver.settled == []

    def test_down(self) -> None:
        """It stands in the story of each call that was placed, and of no other."""
        self.place(ONE, FirstRinging())
        waiting = self.begin(TWO)
        self.place(THREE)
        self.store.hold_writes()
        self.driver.tells(THREE, Gone(TALKED))
        self.desk.dispatcher.pbx_down("cut")
        self.store.commit()
        last = self.desk.call(ONE).timeline[-1]
        assert (last.event, last.detail) == ("pbx_lost", "cut")
        assert waiting.call.timeline == ()
        assert self.desk.call(THREE).timeline[-1].event == "ended"

    def test_one_pbx_among_several(self) -> None:
        """What it says of itself is about its own calls alone."""
        self.desk = Desk("asterisk", "other")
        self.clock, self.store = self.desk.clock, self.desk.store
        self.place(ONE, FirstRinging())
        self.place(TWO, job=a_job(pbx="other"))
        other = self.desk.dispatcher.observer_of("other")
        other.pbx_down("cut")
        assert self.desk.call(ONE).timeline[-1].event == "first_ringing"
        assert self.desk.call(TWO).timeline[-1].event == "pbx_lost"
        other.pbx_up()
        assert self.desk.drivers["asterisk"].settled == []
        assert self.desk.drivers["other"].settled == [TWO]
        self.desk.dispatcher.observer_of("asterisk", "other").pbx_up()
        assert self.desk.drivers["asterisk"].settled == [ONE]
        assert self.desk.drivers["other"].settled == [TWO, TWO]
        other.leg_event(TWO, Found())
        assert self.desk.call(TWO).timeline[-1].event == "pbx_found"

    def test_down_and_up_again(self) -> None:
        """What was found alive goes on, and is not dialled again."""
        self.place(ONE, FirstRinging())
        self.desk.dispatcher.pbx_down("cut")
        self.desk.dispatcher.pbx_up()
        self.driver.tells(ONE, Found(), FirstAnswered())
        assert self.desk.call(ONE).state is CallState.FIRST_ANSWERED
        assert self.driver.originated == [ONE]

    def test_cancelled_meanwhile(self) -> None:
        """The cancel could not be heard: it is said again when the call is found."""
        self.place(ONE, FirstRinging())
        self.desk.dispatcher.pbx_down("cut")
        self.desk.dispatcher.cancel(ONE)
        self.driver.hung_up.clear()
        self.driver.tells(ONE, Found())
        assert self.driver.hung_up == [ONE]


class Restart(DispatcherTest):
    """The agent is killed and started again: what was placed is followed on, never placed again."""

    def test_in_every_state(self) -> None:
        """Each call is handed to the driver with what was seen of it, counted, and not ordered."""
        for number, (state, events) in enumerate(WAY.items()):
            self.place(uuid(number), *events)
            assert self.desk.call(uuid(number)).state is state
        before = {number: self.desk.call(uuid(number)) for number in range(len(WAY))}
        sent = list(self.driver.originated)
        self.desk.restart()
        for number, adopted in enumerate(self.driver.adopted):
            call = before[number]
            assert adopted.request_id == uuid(number)
            assert (adopted.plan, adopted.first, adopted.second) == (PLAN, call.first, call.second)
            assert adopted.answered is (call.answer is not None)
            assert self.desk.call(uuid(number)) == call
        assert len(self.driver.adopted) == len(WAY)
        assert self.driver.originated == sent
        assert self.desk.meter.running == len(WAY)
        self.desk.end_all()
        assert self.driver.originated == sent
        assert self.desk.meter.running == 0
        assert self.clock.getDelayedCalls() == []

    def test_it_is_in_the_store(self) -> None:
        """Who is told of it again what it knows does not wait for its next change."""
        self.place(ONE, FirstRinging())
        self.desk.restart()
        known = self.desk.call(ONE)
        self.driver.tells(ONE, Relayed("pbx1", known))
        told = Deferred.fromCoroutine(self.desk.dispatcher.until_stored(ONE))
        assert self.successResultOf(told)

    def test_settled(self) -> None:
        """It is asked about when the PBX can be reached, and it ends by what the PBX says."""
        self.place(ONE, FirstRinging())
        self.desk.restart()
        self.desk.dispatcher.pbx_up()
        assert self.driver.settled == [ONE]
        self.driver.tells(ONE, Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17))))
        assert self.ended() is Outcome.FIRST_BUSY

    def test_asked_about_by_itself(self) -> None:
        """When its time is over: also where nobody says that the PBX can be reached."""
        self.place(ONE, FirstRinging())
        self.desk.restart()
        self.clock.advance(RING - 1)
        assert self.driver.settled == []
        self.clock.pump([1, GRACE])
        assert self.driver.settled == [ONE, ONE]

    def test_a_talk_goes_on(self) -> None:
        """A restart hangs up nobody: the talk has the rest of its time."""
        self.place(ONE, *WAY[CallState.CONNECTED])
        self.clock.advance(600)
        self.desk.restart()
        self.desk.dispatcher.pbx_up()
        self.driver.tells(ONE, Found())
        self.clock.pump([GRACE] * 20)
        assert self.driver.hung_up == []
        self.clock.advance(3600 - 600)
        assert self.driver.hung_up == [ONE]

    def test_a_talk_elsewhere_that_begins_after_it(self) -> None:
        """What asks about a call that rings says nothing of how long they may talk."""
        active = self.place(ONE, OriginateAccepted(), FirstRinging())
        at_the_agent = active.call
        self.desk.restart()
        for event in WAY[CallState.CONNECTED]:
            at_the_agent = step(at_the_agent, event, self.desk.now()).call
        self.driver.tells(ONE, Relayed("pbx1", at_the_agent))
        assert self.desk.call(ONE).state is CallState.CONNECTED
        self.clock.advance(GRACE)
        assert self.driver.hung_up == []

    def test_a_talk_that_was_over_meanwhile(self) -> None:
        """Its longest duration passed while the agent was away: it is hung up, if it is there."""
        self.place(ONE, *WAY[CallState.CONNECTED])
        self.clock.advance(3590)
        self.desk.restart()
        self.clock.advance(20)
        assert self.driver.hung_up == [ONE]

    def test_the_answer_that_was_not_heard(self) -> None:
        """A call that is found was accepted: who asks again does not wait for its end."""
        self.place(ONE)
        self.desk.restart()
        active = self.desk.dispatcher.active(ONE)
        assert active is not None
        waiting = Deferred.fromCoroutine(self.desk.dispatcher.answer_of(active))
        self.driver.tells(ONE, Found())
        assert self.successResultOf(waiting) == Answer()

    def test_killed_before_the_order_left(self) -> None:
        """Stored but not sent, which nobody can know: it is not sent later, and told as it is."""
        self.store.hold_writes()
        self.place(ONE)
        self.desk.restart(committed=True)
        self.store.release()
        active = self.desk.dispatcher.active(ONE)
        assert active is not None
        self.driver.tells(ONE, Gone(CallEvidence(lost=True)))
        assert self.ended() is Outcome.UNKNOWN
        assert active.call.answer is not None
        assert [fault.code for fault in active.call.answer.faults] == [ErrorCode.PBX_UNAVAILABLE]
        assert self.driver.originated == []

    def test_bridging(self) -> None:
        """The second leg is given out in those states in which it may not have been dialled yet."""
        for number, events in enumerate(WAY.values()):
            self.place(uuid(number), *events)
        self.desk.restart()
        given = [self.desk.dispatcher.may_bridge(uuid(number)) for number in range(len(WAY))]
        assert given == [PLAN, PLAN, PLAN, None, None, None]
        given = [self.desk.dispatcher.may_bridge(uuid(number)) for number in range(len(WAY))]
        assert given == [None] * len(WAY)

    def test_cancelled_before(self) -> None:
        """The cancel still holds: nothing more is dialled, and what is found is hung up."""
        self.place(ONE, FirstRinging())
        self.desk.dispatcher.cancel(ONE)
        self.driver.hung_up.clear()
        self.desk.restart()
        assert self.desk.dispatcher.may_bridge(ONE) is None
        self.driver.tells(ONE, Found())
        assert self.driver.hung_up == [ONE]

    def test_not_placed(self) -> None:
        """It never reached the PBX: it is refused, and its status says why."""
        self.desk.store.save(a_call(request_id=ONE))
        self.desk.restart()
        assert self.ended() is Outcome.REJECTED
        assert self.driver.adopted == []
        answer = self.desk.call(ONE).answer
        assert answer == Answer(
            (
                Fault(
                    ErrorCode.INTERNAL_ERROR, "The agent was restarted before the call was placed."
                ),
            )
        )

    def test_a_pbx_that_is_configured_no_more(self) -> None:
        """Nobody can be asked: what was placed there ends as unknown, and counts no more."""
        self.place(ONE, FirstRinging())
        self.desk.drivers.clear()
        self.desk.restart()
        assert self.desk.meter.running == 0
        kept = self.store.kept(ONE)
        assert kept is not None
        assert kept.outcome is Outcome.UNKNOWN

    def test_the_commit_did_not_come(self) -> None:
        """Killed while the disk wrote: nothing was sent, and nothing is known of it."""
        self.store.hold_writes()
        self.place(ONE)
        self.desk.restart()
        assert self.driver.originated == []
        assert self.desk.dispatcher.active(ONE) is None


class Questions(DispatcherTest):
    """What the API asks."""

    def recent(self, limit: int = 10, key_name: str | None = None) -> list[Call]:
        """The latest calls."""
        asked = Deferred.fromCoroutine(self.desk.dispatcher.recent(limit, key_name))
        return self.successResultOf(asked)

    def find(self, request_id: str) -> Deferred[Call | None]:
        """A call."""
        return Deferred.fromCoroutine(self.desk.dispatcher.find(request_id))

    def test_find(self) -> None:
        """As it is now while it goes on, from the store afterwards, None where there is none."""
        active = self.place(ONE)
        assert self.successResultOf(self.find(ONE)) is active.call
        self.driver.tells(ONE, Gone(TALKED))
        assert self.store.reads == []
        assert self.successResultOf(self.find(ONE)) == active.call
        assert self.store.reads == [ONE]
        assert self.successResultOf(self.find(TWO)) is None

    def test_recent(self) -> None:
        """The newest first, as they are now and not as they were stored last."""
        self.place(ONE)
        self.clock.advance(1)
        self.place(TWO, key="shop")
        self.store.hold_writes()
        self.driver.tells(TWO, FirstRinging())
        assert [(call.request_id, call.state) for call in self.recent()] == [
            (TWO, CallState.FIRST_RINGING),
            (ONE, CallState.DIALING_FIRST),
        ]
        assert [call.request_id for call in self.recent(limit=1)] == [TWO]
        assert [call.request_id for call in self.recent(key_name="crm")] == [ONE]

    def asked_again(self) -> ActiveCall:
        """A call that has ended; the store is being asked, for its request has come again."""
        self.place(ONE, Gone(TALKED))
        self.store.hold_reads()
        active = self.begin(ONE)
        active.ownership = Ownership.UNDECIDED
        return active

    def test_asked_again(self) -> None:
        """The request that came again does not stand in for the call that was placed."""
        self.asked_again()
        found = self.find(ONE)
        ended = Deferred.fromCoroutine(self.desk.dispatcher.has_ended(ONE))
        self.store.release()
        call = self.store.kept(ONE)
        assert call is not None
        assert call.state is CallState.ENDED
        assert self.successResultOf(found) == call
        assert self.recent() == [call]
        assert self.successResultOf(ended)

    def test_asked_for_the_first_time(self) -> None:
        """Where the store does not know it, it is the call, as it is by then."""
        active = self.begin(ONE)
        active.ownership = Ownership.UNDECIDED
        assert self.successResultOf(self.find(ONE)) is active.call
        self.store.hold_reads()
        found = self.find(ONE)
        assert active.is_ours()
        self.apply(active, Place(PLAN))
        self.store.release()
        assert self.successResultOf(found) is active.call

    def test_cancelled_while_the_store_is_asked(self) -> None:
        """Who was shown the call that has ended has nothing to hang up; else it is the new one."""
        active = self.asked_again()
        call = self.store.kept(ONE)
        assert call is not None
        for which, unwanted in ((call, False), (active.call, True)):
            self.successResultOf(
                Deferred.fromCoroutine(self.desk.dispatcher.cancel_anywhere(which))
            )
            assert (active.ownership is Ownership.UNWANTED) is unwanted
            assert active.call.state is CallState.ACCEPTED

    def test_cancelled_and_killed_then(self) -> None:
        """Who cancels hears of it when it survives that; the PBX at once."""
        active = self.place(ONE, OriginateAccepted())
        self.store.hold_writes()
        cancelling = Deferred.fromCoroutine(self.desk.dispatcher.cancel_anywhere(active.call))
        assert self.driver.hung_up == [ONE]
        self.assertNoResult(cancelling)
        self.store.commit()
        self.successResultOf(cancelling)
        kept = self.store.kept(ONE)
        assert kept is not None
        assert kept.cancelled

    def test_cancelled_while_the_disk_is_full(self) -> None:
        """It is done all the same, and who cancels does not wait for the disk."""
        active = self.place(ONE, OriginateAccepted())
        self.store.hold_writes()
        cancelling = Deferred.fromCoroutine(self.desk.dispatcher.cancel_anywhere(active.call))
        self.store.fail()
        self.clock.advance(2)
        self.successResultOf(cancelling)
        self.clock.advance(RETRY)
        self.store.commit()
        assert self.store.kept(ONE) == active.call

    def test_in_progress(self) -> None:
        """Those that have not ended, whether they are stored or not."""
        self.begin(ONE)
        self.place(TWO)
        self.store.hold_writes()
        assert self.desk.dispatcher.in_progress == 2
        self.driver.tells(TWO, Gone(TALKED))
        assert self.desk.dispatcher.in_progress == 1


class Stopping(DispatcherTest):
    """The agent stops; its calls go on at the PBX."""

    def test_no_timers(self) -> None:
        """Nothing is asked, hung up or ended any more."""
        self.place(ONE)
        self.place(TWO, FirstAnswered(), SecondAnswered())
        self.desk.dispatcher.stop()
        assert self.clock.getDelayedCalls() == []
        assert self.driver.hung_up == self.driver.settled == []

    def test_what_still_comes(self) -> None:
        """Until the links are closed, what is heard is stored; but no time is kept for it."""
        self.place(ONE)
        self.desk.dispatcher.stop()
        self.driver.tells(ONE, FirstRinging(), FirstAnswered(), SecondDialed(30))
        assert self.clock.getDelayedCalls() == []
        kept = self.store.kept(ONE)
        assert kept is not None
        assert kept.state is CallState.DIALING_SECOND

    def test_an_order_that_waits_for_its_commit(self) -> None:
        """It is not sent any more: the listener for its first leg is about to go."""
        self.store.hold_writes()
        active = self.place(ONE)
        self.desk.dispatcher.stop()
        self.store.commit()
        assert self.driver.originated == []
        assert active.call.outcome is Outcome.REJECTED
        self.store.commit()
        assert self.ended() is Outcome.REJECTED


class TheLog(DispatcherTest):
    """What an admin reads of a call."""

    def lines(self, request_id: str, *events: LegEvent, **changes: Any) -> list[str]:
        """The lines of a call, with numbers as their observer gets them."""
        with capturedLogs() as logs:
            self.place(request_id, *events, **changes)
        return [formatEvent(event) for event in logs]

    def test_a_call_that_connects(self) -> None:
        """A line for each state, with the evidence at the end."""
        told = (
            "first ANSWER by device, second ANSWER by dialplan; talked 20.0 s; "
            "cause 16 (Normal Clearing); hung up by second"
        )
        assert self.lines(ONE, FirstRinging(), FirstAnswered(), SecondAnswered(), Gone(TALKED)) == [
            f"call {ONE} dialing_first: 100, then 200, as 100, for key crm",
            f"call {ONE} first_ringing",
            f"call {ONE} first_answered",
            f"call {ONE} connected",
            f"call {ONE} ended: connected; {told}",
        ]

    def test_nobody_talked(self) -> None:
        """What did not happen is None."""
        [_, line] = self.lines(ONE, Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17))))
        assert line == (
            f"call {ONE} ended: first_busy; first BUSY, second None; talked None s; "
            "cause 17 (None); hung up by None"
        )

    def test_refused(self) -> None:
        """With every fault, and whose key it was."""
        active = self.begin(ONE, job=None)
        with capturedLogs() as logs:
            self.apply(active, Reject((FAULT, FAULT)))
        text = "not_allowed: This key may not dial this dial_first."
        assert [formatEvent(event) for event in logs] == [
            f"call {ONE} ended: rejected, for key crm: {text}; {text}"
        ]

    def test_numbers_under_their_names(self) -> None:
        """They stand in fields of their own, where the log can mask them."""
        with capturedLogs() as logs:
            self.place(ONE)
        assert [logs[0][name] for name in ("dial_first", "dial_second", "dial_as")] == [
            "100",
            "200",
            "100",
        ]
