"""Calls of other processes: watched, waited for, cancelled; and what is counted over all."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.call.call import Answer, Call, CallState, OriginatePlan
from c2c_agent.call.events import Gone, OriginateAccepted
from c2c_agent.call.evidence import CallEvidence
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import ErrorCode, Fault, StoreError
from c2c_agent.policy.meter import LimitReached
from tests.fakes import CRM, EPOCH, SHOP, Desk, DeskTest, uuid

ONE, TWO = uuid(1), uuid(2)

PLAN = OriginatePlan(data={"agent": "pbx1"}, target="c2c.jobs.pbx1", timeout=10)


class SharedTest(DeskTest):
    """A desk whose store others use, too."""

    def setUp(self) -> None:
        super().setUp()
        self.desk = Desk(shared=True)
        self.clock, self.store = self.desk.clock, self.desk.store
        self.neighbours = self.desk.neighbours

    def theirs(self, **changes: Any) -> Call:
        """A call of another process, as it stands in the store: as `submit` would make it."""
        mine = self.desk.submit(request_id=ONE)
        call = self.desk.call(ONE)
        self.desk = Desk(shared=True)
        self.clock, self.store = self.desk.clock, self.desk.store
        self.neighbours = self.desk.neighbours
        mine.addErrback(lambda _: None)
        changed: dict[str, Any] = {"state": CallState.DIALING_FIRST, "plan": PLAN, **changes}
        call = evolve(call, answer=None, **changed)
        self.store.put(call)
        return call

    def change(self, call: Call) -> None:
        """The other process changes it, and tells so."""
        self.store.put(call)
        self.neighbours.changed_elsewhere(call.request_id, call.key)


class Watching(SharedTest):
    """Who waits for a change is woken by it."""

    def test_a_change(self) -> None:
        """Of that call, once."""
        one, other = self.neighbours.changed(ONE), self.neighbours.changed(TWO)
        self.neighbours.changed_elsewhere(ONE, "crm")
        self.successResultOf(one)
        self.assertNoResult(other)
        self.neighbours.changed_elsewhere(ONE, "crm")

    def test_something_missed(self) -> None:
        """All look again."""
        waiting = [self.neighbours.changed(ONE), self.neighbours.changed(TWO)]
        self.neighbours.missed()
        for one in waiting:
            self.successResultOf(one)

    def test_given_up(self) -> None:
        """Who does not wait any longer is not woken, and nothing of it is left."""
        first, second = self.neighbours.changed(ONE), self.neighbours.changed(ONE)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        assert self.neighbours._waiting == {}

    def test_given_up_in_the_moment_of_the_change(self) -> None:
        """One that is woken makes another give up, which is no mistake."""
        first, second, third = (self.neighbours.changed(ONE) for _ in range(3))
        first.addCallback(lambda _: second.cancel())
        self.neighbours.changed_elsewhere(ONE, "crm")
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
        self.successResultOf(third)

    def test_observers_of_what_was_missed(self) -> None:
        """They are told that they have to look; a mistake of one is not another's."""
        heard: list[str] = []

        def mistaken() -> None:
            raise ZeroDivisionError

        self.neighbours.missed_observers += [mistaken, lambda: heard.append("missed")]
        self.neighbours.missed()
        assert heard == ["missed"]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1

    def test_observers(self) -> None:
        """Each hears which call, and whose key; a mistake of one stops nobody."""
        heard: list[tuple[str, str]] = []

        def mistaken(_request_id: str, _key_name: str) -> None:
            raise ZeroDivisionError

        self.neighbours.observers += [mistaken, lambda *told: heard.append(told)]
        self.neighbours.changed_elsewhere(ONE, "crm")
        assert heard == [(ONE, "crm")]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1

    def test_of_the_dispatcher(self) -> None:
        """It knows of its own calls, and asks the neighbours for the others."""
        changed = self.desk.dispatcher.changed(ONE)
        assert changed is not None
        self.neighbours.changed_elsewhere(ONE, "crm")
        self.successResultOf(changed)


class BeingTold(SharedTest):
    """The store is told who waits, and for how long."""

    def test_who_waits(self) -> None:
        """Once for all who do; they look once more when the store knows, and then are told."""
        first, second = self.neighbours.changed(ONE), self.neighbours.changed(ONE)
        [subject] = self.store.watches
        assert subject == f"request {ONE}"
        self.store.watches[subject].callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        third = self.neighbours.changed(ONE)
        self.assertNoResult(third)
        self.neighbours.changed_elsewhere(ONE, "crm")
        self.successResultOf(third)

    def test_nobody_any_more(self) -> None:
        """After a while in which nobody waits again the store is told."""
        self.neighbours.changed(ONE)
        self.neighbours.changed_elsewhere(ONE, "crm")
        self.clock.advance(9)
        again = self.neighbours.changed(ONE)
        self.clock.advance(60)
        assert list(self.store.watches) == [f"request {ONE}"]
        again.cancel()
        self.failureResultOf(again, CancelledError)
        self.clock.advance(10)
        assert self.store.watches == {}
        assert self.clock.getDelayedCalls() == []

    def test_who_follows(self) -> None:
        """It is looked at when the store knows; and watched for as long as it is followed."""
        heard: list[str] = []
        self.neighbours.observers.append(lambda request_id, _: heard.append(request_id))
        self.neighbours.follow_request(ONE)
        self.store.watches[f"request {ONE}"].callback(None)
        assert heard == [ONE]
        self.successResultOf(self.waits_shortly())
        self.clock.advance(60)
        assert list(self.store.watches) == [f"request {ONE}"]
        self.neighbours.unfollow_request(ONE)
        self.clock.advance(10)
        assert self.store.watches == {}

    def waits_shortly(self) -> Deferred[None]:
        """Somebody waits for a change, which comes."""
        changed = self.neighbours.changed(ONE)
        self.neighbours.changed_elsewhere(ONE, "crm")
        return changed

    def test_a_store_that_cannot_be_told(self) -> None:
        """Said; who waits looks once more all the same."""
        changed = self.neighbours.changed(ONE)
        with capturedLogs() as logged:
            self.store.watches[f"request {ONE}"].errback(StoreError("Connection refused"))
        self.successResultOf(changed)
        assert "Connection refused" in (formatEvent(logged[0]) or "")


class Again(SharedTest):
    """A request that another process has."""

    def test_answered_already(self) -> None:
        """From the store, and nothing is dialled."""
        self.theirs()
        self.change(evolve(self.desk.call(ONE), answer=Answer()))
        submission = self.successResultOf(self.desk.submit(request_id=ONE))
        assert (submission.replayed, submission.answer) == (True, Answer())
        assert self.driver.prepared == []
        assert self.desk.dispatcher.active(ONE) is None

    def test_answered_later(self) -> None:
        """All who ask here wait until the other process knows."""
        call = self.theirs()
        asked = [self.desk.submit(request_id=ONE) for _ in range(3)]
        conflicting = self.desk.submit(SHOP, request_id=ONE)
        self.change(evolve(call, state=CallState.FIRST_RINGING))
        for one in [*asked, conflicting]:
            self.assertNoResult(one)
        self.change(evolve(call, answer=Answer()))
        for one in asked:
            assert self.successResultOf(one).replayed
        [fault] = self.successResultOf(conflicting).answer.faults
        assert fault.code is ErrorCode.REQUEST_ID_CONFLICT
        assert self.store.all_kept() == [evolve(call, answer=Answer())]

    def test_while_the_store_decides(self) -> None:
        """Who asks here meanwhile waits for the other process, too."""
        call = self.theirs()
        self.store.hold_reads()
        asked = [self.desk.submit(request_id=ONE) for _ in range(3)]
        self.store.release()
        self.change(evolve(call, answer=Answer()))
        for one in asked:
            assert self.successResultOf(one).replayed

    def test_never_answered(self) -> None:
        """The other process is dead: said when it can ring nobody any more."""
        self.theirs()
        asked = self.desk.submit(request_id=ONE)
        self.clock.advance(9.9)
        self.assertNoResult(asked)
        self.clock.advance(0.2)
        [fault] = self.successResultOf(asked).answer.faults
        assert fault.code is ErrorCode.PBX_UNAVAILABLE
        assert self.store.kept(ONE) == evolve(self.desk.call(ONE), answer=None)

    def test_answered_at_the_last_moment(self) -> None:
        """What was not told is seen all the same."""
        call = self.theirs()
        asked = self.desk.submit(request_id=ONE)
        self.store.put(evolve(call, answer=Answer()))
        self.clock.advance(10)
        assert self.successResultOf(asked).answer == Answer()


class Cancelling(SharedTest):
    """A call of another process."""

    def cancel(self) -> str | None:
        """Somebody asks for its end here; why that cannot be."""
        call = self.store.kept(ONE)
        assert call is not None
        cancelling = Deferred.fromCoroutine(self.desk.dispatcher.cancel_anywhere(call))
        why: str | None = self.successResultOf(cancelling)
        return why

    def test_it_goes_both_ways(self) -> None:
        """To the process that has it, and to the agent, for that process may be dead."""
        self.theirs()
        assert self.cancel() is None
        assert (self.store.cancels, self.driver.foreign) == ([ONE], [ONE])

    def test_that_cannot_be_hung_up(self) -> None:
        """The agent has said so: it goes on, unless it has ended."""
        self.theirs(cannot_hang_up="No.")
        assert self.cancel() == "No."
        assert (self.store.cancels, self.driver.foreign) == ([], [])
        self.theirs(cannot_hang_up="No.", state=CallState.ENDED)
        assert self.cancel() is None

    def test_not_placed_yet(self) -> None:
        """No agent knows of it: only its process can end it."""
        self.theirs(state=CallState.ACCEPTED, plan=None)
        self.cancel()
        assert (self.store.cancels, self.driver.foreign) == ([ONE], [])

    def test_ended(self) -> None:
        """There is nothing to hang up."""
        self.theirs(state=CallState.ENDED)
        self.cancel()
        assert (self.store.cancels, self.driver.foreign) == ([], [])

    def test_of_its_own(self) -> None:
        """As ever."""
        self.desk.submit(request_id=ONE)
        self.cancel()
        assert (self.driver.hung_up, self.store.cancels) == ([ONE], [])

    def test_while_the_store_decides(self) -> None:
        """Nobody knows yet whose call it is."""
        call = self.theirs()
        self.store.hold_reads()
        asked = self.desk.submit(request_id=ONE)
        self.desk.dispatcher.cancel(ONE)
        self.store.put(call)  # a real store lets nobody else write it
        self.store.answer()
        assert self.store.cancels == [ONE]
        self.store.release()
        self.change(evolve(call, answer=Answer()))
        assert self.successResultOf(asked).replayed


class Counting(SharedTest):
    """The store counts the calls of all processes."""

    def test_admitted(self) -> None:
        """By the key, and the limit of all; the meter here only knows how many there are."""
        self.desk.submit(request_id=ONE)
        self.desk.submit()
        assert self.store.claims == [(CRM, CallsConfig())] * 2
        assert self.desk.meter.running == 2
        self.driver.tells(ONE, OriginateAccepted(), Gone(CallEvidence()))
        assert self.desk.meter.running == 1

    def test_refused(self) -> None:
        """As the store says, with the time after which another try is worth it."""
        fault = Fault(ErrorCode.RATE_LIMITED, "too fast")
        self.store.admitted = LimitReached(fault, retry_after=7)
        submission = self.successResultOf(self.desk.submit())
        assert submission.answer == Answer((fault,))
        assert submission.retry_after == 7
        assert self.desk.meter.running == 0
        assert self.driver.prepared == []

    def test_what_cannot_be_placed_anyway(self) -> None:
        """It is claimed, so that no other process takes it; it is not counted."""
        self.successResultOf(self.desk.submit(dial_first="300"))
        self.successResultOf(self.desk.submit(dial_first=""))
        self.successResultOf(self.desk.submit(expires=EPOCH - 1))
        self.driver.reason = "away"
        self.successResultOf(self.desk.submit())
        assert [key for key, _ in self.store.claims] == [None] * 4

    def test_what_cannot_be_placed_until_the_store_has_decided(self) -> None:
        """What it was not asked to count is not placed, though nothing is in the way by then."""
        self.store.admitted = LimitReached(Fault(ErrorCode.RATE_LIMITED, "too fast"))
        self.store.hold_reads()
        self.driver.reason = "away"
        away = self.desk.submit(request_id=ONE)
        self.driver.reason = None
        self.desk.stopped = True
        stopped = self.desk.submit(request_id=TWO)
        self.desk.stopped = False
        self.store.answer()
        told = [self.successResultOf(asked).answer.faults for asked in (away, stopped)]
        assert [fault.code for [fault] in told] == [
            ErrorCode.PBX_UNAVAILABLE,
            ErrorCode.NOT_ALLOWED,
        ]
        assert self.driver.prepared == []
        assert self.desk.meter.running == 0

    def test_what_cannot_be_placed_any_more(self) -> None:
        """What comes in the way while the store decides still counts."""
        self.store.hold_reads()
        asked = self.desk.submit(request_id=ONE)
        self.driver.reason = "away"
        self.store.answer()
        [fault] = self.successResultOf(asked).answer.faults
        assert fault.code is ErrorCode.PBX_UNAVAILABLE
        assert self.driver.prepared == []

    def test_the_store_is_away(self) -> None:
        """Refused; and kept in memory until the store can have it, for it may know of it."""
        self.store.hold_reads()
        self.store.hold_writes()
        asked = self.desk.submit(request_id=ONE)
        self.store.fail_reads(StoreError("Connection refused"))
        [fault] = self.successResultOf(asked).answer.faults
        assert (fault.code, fault.message) == (
            ErrorCode.INTERNAL_ERROR,
            "The call could not be stored.",
        )
        assert self.driver.prepared == []
        # What is told of it goes no further where the store turns out to have the call.
        assert [report.type for report in self.store.reports] == ["call.rejected"]
        self.store.fail()
        assert self.desk.dispatcher.active(ONE) is not None
        self.store.release()
        self.clock.advance(5)
        assert self.desk.dispatcher.active(ONE) is None
        assert self.desk.call(ONE).state is CallState.ENDED

    def test_the_store_stays_away(self) -> None:
        """No more than so many are kept in memory; of others it is not even asked."""
        self.store.hold_writes()
        for number in range(1000):
            key = evolve(CRM, name=f"key{number % 20}")  # of each, only so many are stored
            self.successResultOf(self.desk.submit(key, dial_first="300"))
            self.store.fail()
        claims = len(self.store.claims)
        submission = self.successResultOf(self.desk.submit(request_id=ONE))
        assert [fault.code for fault in submission.answer.faults] == [ErrorCode.INTERNAL_ERROR]
        assert not submission.kept
        assert self.desk.dispatcher.active(ONE) is None
        assert len(self.store.claims) == claims
