"""Reports from memory, and what was delivered deleted in batches."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from unittest import mock

from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.report import lane
from c2c_agent.report.delivery import Later, Refused, Report
from c2c_agent.store.calls_table import Connection
from tests.fakes import uuid
from tests.playbook import a_call
from tests.unit.report.test_outbox import LINGER, MemoryDatabase, OutboxTests

T = TypeVar("T")


class CountingDatabase(MemoryDatabase):
    """A database that counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.writes = 0

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        self.reads += 1
        return super().read(query)

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        self.writes += 1
        return super().write(change)


class LaneTests(OutboxTests):
    """Calls that begin here; their events are named by their types."""

    database: CountingDatabase

    def new_database(self) -> CountingDatabase:
        """A store that counts."""
        return CountingDatabase()

    def change(self, number: int, state: CallState, *, store: bool = True) -> Call:
        """A call comes to a state, which is stored."""
        before = CallState.ACCEPTED if state is CallState.DIALING_FIRST else CallState.CONNECTED
        entry = Entry(self.now(), state.value)
        call = a_call(request_id=uuid(number), state=before, timeline=(entry,))
        after = evolve(call, state=state)
        reports = [one for one in self.outbox.reports(call, after) if one.target == "crm"]
        if store:
            self.keep(reports)
            self.outbox.stored(after, reports)
        else:
            self.outbox.owed(after)
            self.keep(reports)
        return after

    def keep(self, reports: list[Report]) -> None:
        """Put reports into the store."""
        for report in reports:
            self.store(report)

    def answer(self, delivery: Any = None) -> None:
        """Answer what is under way."""
        for event in self.crm.under_way:
            self.crm.answers(event, *(() if delivery is None else (delivery,)))

    def told(self) -> list[tuple[str, str]]:
        """What the receiver was told: request and type."""
        return [(w.report.request_id[-1], w.report.type) for w in self.crm.begun]


class FromMemory(LaneTests):
    """What has just come into the store."""

    def test_not_read_back(self) -> None:
        """A call's events go out one after the other, and the store is not asked for them."""
        asked = self.database.reads
        for state in (CallState.DIALING_FIRST, CallState.FIRST_RINGING, CallState.ENDED):
            self.change(1, state)
        assert self.told() == [("1", "call.accepted")]
        self.answer()
        assert self.told()[1:] == [("1", "call.first_ringing")]
        self.answer()
        assert self.told()[2:] == [("1", "call.ended")]
        assert (self.database.reads, self.database.writes) == (asked, 0)

    def test_deleted_together(self) -> None:
        """What was delivered within a moment, in one transaction."""
        for number in range(1, 4):
            self.change(number, CallState.DIALING_FIRST)
        self.answer()
        self.change(1, CallState.ENDED)
        self.answer()
        assert (len(self.left()), self.database.writes) == (4, 0)
        self.clock.advance(LINGER)
        assert (self.left(), self.database.writes) == ([], 1)

    def test_deleted_before_there_are_too_many(self) -> None:
        """However much is delivered, a transaction deletes no more than so many."""
        with mock.patch.object(lane, "_BATCH", 2):
            for number in range(1, 4):
                self.change(number, CallState.DIALING_FIRST)
            self.answer()
        assert len(self.left()) == 1
        self.clock.advance(LINGER)
        assert self.left() == []

    def test_an_attempt_that_failed(self) -> None:
        """From then on the request's reports are told from the store, in order."""
        self.change(1, CallState.DIALING_FIRST)
        self.change(1, CallState.FIRST_RINGING)
        self.answer(Later("HTTP 500", 5))
        self.change(1, CallState.ENDED)
        assert self.told() == [("1", "call.accepted")]
        self.clock.advance(5)
        for _ in range(3):
            self.answer()
        assert [kind for _, kind in self.told()] == [
            "call.accepted",
            "call.accepted",
            "call.first_ringing",
            "call.ended",
        ]

    def test_a_dead_letter(self) -> None:
        """What comes after it goes out all the same, once."""
        self.change(1, CallState.DIALING_FIRST)
        self.change(1, CallState.ENDED)
        self.answer(Refused("no"))
        self.answer()
        assert self.told() == [("1", "call.accepted"), ("1", "call.ended")]

    def test_put_off_while_the_store_is_read(self) -> None:
        """What was read of such a request before is out of date: nothing overtakes."""
        self.happen("1a", "1b")
        self.database.held = []
        self.outbox.wake()  # reads 1a, which is under way, and 1b
        self.crm.answers("1a", Later("HTTP 500", 60))
        self.database.release()
        assert self.crm.under_way == []
        self.clock.advance(60)
        assert self.crm.under_way == ["1a"]

    def test_no_link(self) -> None:
        """What happens meanwhile waits in the store, and comes from there."""
        self.change(1, CallState.DIALING_FIRST)
        self.answer()
        self.crm.is_ready = False
        self.change(1, CallState.FIRST_RINGING)
        self.crm.is_ready = True
        self.change(1, CallState.ENDED)
        self.answer()
        self.answer()
        assert [kind for _, kind in self.told()] == [
            "call.accepted",
            "call.first_ringing",
            "call.ended",
        ]

    def test_a_link_that_is_lost(self) -> None:
        """What waits in memory goes on when there is one again."""
        self.change(1, CallState.DIALING_FIRST)
        self.change(1, CallState.ENDED)
        self.crm.is_ready = False
        self.answer()
        assert len(self.told()) == 1
        self.crm.is_ready = True
        self.outbox.wake()
        assert self.told()[1:] == [("1", "call.ended")]

    def test_reports_that_are_owed(self) -> None:
        """What the store did not take comes with a later change, and is told from there."""
        self.change(1, CallState.DIALING_FIRST)
        self.answer()
        self.change(1, CallState.FIRST_RINGING, store=False)
        self.change(1, CallState.ENDED)
        self.answer()
        assert [kind for _, kind in self.told()][1:] == ["call.first_ringing", "call.ended"]

    def test_a_call_of_before(self) -> None:
        """It may have reports in the store that were not told yet."""
        self.crm.is_ready = False
        self.happen("1a")
        self.crm.is_ready = True
        self.change(1, CallState.ENDED)
        assert self.crm.under_way == ["1a"]
        self.answer()
        assert self.told()[1:] == [("1", "call.ended")]

    def test_more_than_memory_should_hold(self) -> None:
        """The rest waits in the store, and comes when there is room."""
        with mock.patch.object(lane, "_MOST_FRESH", 2):
            for number in range(1, 10):
                self.change(number, CallState.DIALING_FIRST)
        for _ in range(9):
            self.answer()
        assert sorted(self.told()) == [(str(number), "call.accepted") for number in range(1, 10)]
        self.clock.advance(LINGER)
        assert self.left() == []

    def test_a_store_that_takes_nothing(self) -> None:
        """What was delivered is not told again; beyond a bound nothing is told at all."""
        with mock.patch.object(lane, "_MOST_DELIVERED", 2):
            self.database.broken = True
            for number in range(1, 8):
                self.change(number, CallState.DIALING_FIRST)
            self.answer()
            self.answer()
            assert len(self.told()) == 4  # those that were under way already, and one
            self.database.broken = False
            self.clock.advance(6)
            self.answer()
            self.answer()
            self.clock.advance(LINGER)
        assert sorted(self.told()) == [(str(number), "call.accepted") for number in range(1, 8)]
        assert self.left() == []

    def test_nothing_is_kept(self) -> None:
        """Of a call that is over, and told, nothing is left in memory."""
        for number in range(1, 4):
            self.change(number, CallState.DIALING_FIRST)
            self.change(number, CallState.ENDED)
        self.answer(Later("HTTP 500", 5))
        self.clock.advance(5)
        self.answer()
        self.answer()
        self.clock.advance(LINGER)
        for one in self.outbox._lanes.values():
            kept = vars(one)
            for name in ("_fresh", "_waiting", "_turns", "_under_way", "_delivered", "_noting"):
                assert not kept[name], name
