"""Saving: again until the store has it, later each time, and who waits is told."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.outcome import Outcome
from c2c_agent.dispatch.saving import Durability, Saving, can_wait
from tests.fakes import FakeOutbox, FakeStore
from tests.playbook import REQUEST_ID, a_call

CALL = a_call()
RINGING = evolve(CALL, state=CallState.FIRST_RINGING)
ENDED = evolve(CALL, state=CallState.ENDED, outcome=Outcome.CONNECTED, ended_at=1001.0)


class SavingTest(SynchronousTestCase):
    """One call, and a disk that the test holds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = FakeStore()
        self.store.hold_writes()
        self.outbox = FakeOutbox()
        self.saving = Saving(self.store, self.clock, self.outbox)
        self.ends = 0
        self.durability = Durability(CALL, self.end_stored)

    def end_stored(self) -> None:
        """The store has the call's end."""
        self.ends += 1
        self.durability.let_go()

    def save(self, call: Call) -> Deferred[bool]:
        """Store the call so."""
        return self.saving.save(call, self.durability)

    def wait(self) -> Deferred[bool]:
        """Wait until the store has it."""
        return Deferred.fromCoroutine(self.saving.until_stored(self.durability))

    def test_later_each_time(self) -> None:
        """As it is by then, and at most 80 s later; from the first pause on again after that."""
        assert not self.store.saves
        saved = self.save(CALL)
        self.store.fail()
        assert self.successResultOf(saved) is False
        for pause in (5, 10, 20, 40, 80, 80):
            self.clock.advance(pause - 0.1)
            assert self.store.waiting == []
            self.clock.advance(0.1)
            assert self.store.waiting == [CALL]
            self.store.fail()
        self.save(RINGING)
        self.store.commit()
        assert self.clock.getDelayedCalls() == []
        self.save(RINGING)
        self.store.fail()
        self.clock.advance(5)
        assert self.store.waiting == [RINGING]
        self.store.commit()

    def test_who_waits(self) -> None:
        """For what was given to the store by then, and no more."""
        self.save(CALL)
        first = self.wait()
        self.save(RINGING)
        second = self.wait()
        self.store.commit(1)
        assert self.successResultOf(first) is True
        self.assertNoResult(second)
        self.store.commit()
        assert self.successResultOf(second) is True
        assert self.successResultOf(self.wait()) is True

    def test_who_waits_in_vain(self) -> None:
        """It is let go of: nothing of it will be stored."""
        waiting = self.wait()
        self.durability.let_go()
        assert self.successResultOf(waiting) is False

    def test_an_end_that_is_not_stored(self) -> None:
        """Counted until it is let go of, and told once it is there."""
        self.save(ENDED)
        self.store.fail()
        assert (self.saving.unstored, self.ends) == ({REQUEST_ID}, 0)
        self.clock.advance(5)
        self.store.commit()
        assert self.ends == 1

    def test_reports_of_what_was_refused(self) -> None:
        """They come with what is stored at last, so whoever delivers them is woken."""
        self.save(CALL)
        self.store.commit()
        assert self.outbox.woken == 0
        self.save(RINGING)
        self.store.fail()
        self.clock.advance(5)
        self.store.commit()
        assert self.outbox.woken == 1

    def test_closed(self) -> None:
        """What was to be tried again has a last chance, and then none."""
        self.save(CALL)
        self.store.fail()
        self.saving.close([self.durability])
        assert self.clock.getDelayedCalls() == []
        assert self.store.waiting == [CALL]
        self.store.fail()
        assert self.clock.getDelayedCalls() == []


def test_what_can_wait() -> None:
    """All but an end that does not follow from what was stored of the second leg."""
    second_over = evolve(RINGING, second=evolve(RINGING.second, ended_at=1000.5))
    assert can_wait(CALL, RINGING)
    assert not can_wait(RINGING, ENDED)
    assert can_wait(second_over, ENDED)
