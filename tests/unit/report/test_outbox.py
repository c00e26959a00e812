"""Reports on their way: each delivered at least once, those of a request in order."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from importlib.resources import files
from typing import Any, TypeVar

from attrs import asdict
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import CallState, Entry
from c2c_agent.errors import StoreError
from c2c_agent.report.delivery import (
    Delivered,
    Delivery,
    Depth,
    Later,
    Refused,
    Report,
    Target,
    Waiting,
)
from c2c_agent.report.lane import Trouble
from c2c_agent.report.outbox import Outbox, Standing
from c2c_agent.store.calls_table import _REPORT, Connection
from c2c_agent.store.outbox_table import _DUE, OutboxTable
from tests.fakes import uuid
from tests.playbook import a_call

T = TypeVar("T")

EPOCH = 1_435_628_937.0

#: Seconds after which what was delivered is deleted.
LINGER = 0.2


class MemoryDatabase:
    """The store's tables in memory. It answers at once; or when the test says so, or fails."""

    server_id = ""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for version in (1, 2, 3):
            schema = files("c2c_agent.store.sqlite").joinpath(f"schema_v{version}.sql").read_text()
            self.connection.executescript(schema)
        self.held: list[tuple[Any, Deferred[Any]]] | None = None
        self.broken = False

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        if self.broken:
            return fail(StoreError("disk I/O error"))
        found = query(self.connection)
        if self.held is None:
            return succeed(found)
        answer = Deferred[T]()
        self.held.append((found, answer))
        return answer

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        if self.broken:
            return fail(StoreError("database or disk is full"))
        return succeed(change(self.connection))

    def release(self) -> None:
        """What was read before is heard of now."""
        held, self.held = self.held or [], None
        for found, answer in held:
            answer.callback(found)


class FakeReporter:
    """A receiver whose answers are the test's."""

    window = 3

    def __init__(self, name: str) -> None:
        self.target = Target(name)
        self.is_ready = True
        self.revived = 0
        self.begun: list[Waiting] = []
        self._under_way: dict[str, Deferred[Delivery]] = {}

    def ready(self) -> bool:
        return self.is_ready

    def revive(self) -> None:
        self.revived += 1

    async def deliver(self, waiting: Waiting) -> Delivery:
        event = waiting.report.event_id
        assert event not in self._under_way, f"{event} is under way twice"
        self.begun.append(waiting)
        self._under_way[event] = Deferred()
        return await self._under_way[event]

    @property
    def under_way(self) -> list[str]:
        """The events that wait for an answer."""
        return list(self._under_way)

    def answers(self, event: str, delivery: Delivery | Exception = Delivered()) -> None:  # noqa: B008
        """Answer an attempt."""
        attempt = self._under_way.pop(event)
        if isinstance(delivery, Exception):
            attempt.errback(delivery)
        else:
            attempt.callback(delivery)


class OutboxTests(SynchronousTestCase):
    """An outbox with two targets. Events are named by request and number: `1a`, `1b`, `2a`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.database = self.new_database()
        self.crm, self.shop = FakeReporter("crm"), FakeReporter("shop")
        self.start()
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def new_database(self) -> MemoryDatabase:
        """An empty store."""
        return MemoryDatabase()

    def start(self) -> None:
        """An outbox on what is in the store."""
        self.outbox = Outbox(
            OutboxTable(self.database),
            [self.crm, self.shop],
            server_id="pbx1",
            clock=self.clock,
            now=self.now,
        )
        self.outbox.startService()

    def now(self) -> float:
        """Epoch seconds."""
        return EPOCH + self.clock.seconds()

    def happen(self, *events: str, target: str = "crm") -> None:
        """Events are stored for a target, and the outbox hears of it."""
        for event in events:
            report = Report(target, event, "call.ended", uuid(int(event[0])), self.now(), "{}")
            self.store(report)
        self.outbox.wake()

    def store(self, report: Report) -> None:
        """Put a report into the store."""
        self.database.connection.execute(_REPORT, {**asdict(report), "server_id": ""})

    def left(self) -> list[tuple[str, str]]:
        """What is in the store."""
        query = "SELECT target, event_id FROM outbox ORDER BY id"
        return self.database.connection.execute(query).fetchall()

    def lines(self) -> str:
        """What is in the log."""
        return "\n".join(formatEvent(event) or "" for event in self.logged)


class Delivering(OutboxTests):
    """Everything goes well."""

    def test_delivered(self) -> None:
        """A report is gone from the store when it is delivered, not before."""
        self.happen("1a")
        assert self.crm.under_way == ["1a"]
        assert self.left() == [("crm", "1a")]
        self.crm.answers("1a")
        self.clock.advance(LINGER)
        assert self.left() == []

    def test_in_order(self) -> None:
        """Of a request, each report waits for the one before; other requests do not."""
        self.happen("1a", "1b", "2a", "1c", "2b")
        assert self.crm.under_way == ["1a", "2a"]
        self.crm.answers("2a")
        assert self.crm.under_way == ["1a", "2b"]
        self.crm.answers("1a")
        self.crm.answers("1b")
        assert self.crm.under_way == ["2b", "1c"]

    def test_no_more_than_the_window(self) -> None:
        """However much waits, so many are under way at once; the next begins when one ends."""
        self.happen("1a", "2a", "3a", "4a", "5a")
        assert self.crm.under_way == ["1a", "2a", "3a"]
        self.crm.answers("2a")
        assert self.crm.under_way == ["1a", "3a", "4a"]

    def test_targets_do_not_wait_for_each_other(self) -> None:
        """What one target is slow to take, another has already."""
        self.happen("1a", "1b")
        self.happen("1a", "1b", target="shop")
        self.shop.answers("1a")
        self.shop.answers("1b")
        self.clock.advance(LINGER)
        assert self.left() == [("crm", "1a"), ("crm", "1b")]

    def test_a_change_of_a_call(self) -> None:
        """What is to be told of a change goes to each target."""
        before = a_call()
        after = a_call(state=CallState.CONNECTED, timeline=(Entry(self.now(), "connected"),))
        told = self.outbox.reports(before, after)
        assert [(one.target, one.type) for one in told] == [
            ("crm", "call.connected"),
            ("shop", "call.connected"),
        ]

    def test_of_a_clock_that_is_ahead(self) -> None:
        """What an agent tells is due at once, whatever its clock says; the event has its time."""
        hour = self.now() + 3600
        after = a_call(state=CallState.CONNECTED, timeline=(Entry(hour, "connected"),))
        for report in self.outbox.reports(a_call(), after):
            assert json.loads(report.body)["utc.time"] == f"{hour:.3f}"
            self.store(report)
        self.outbox.wake()
        assert len(self.crm.under_way) == len(self.shop.under_way) == 1

    def test_an_event_is_stored_once(self) -> None:
        """The same change, stored again, is not told again while the first waits."""
        self.happen("1a")
        self.happen("1a")
        assert self.left() == [("crm", "1a")]

    def test_what_was_read_is_out_of_date(self) -> None:
        """A report that is delivered while the store is being read is not sent again."""
        self.happen("1a", "2a")
        self.database.held = []
        self.outbox.wake()  # reads 1a and 2a, which are under way
        self.crm.answers("1a")
        self.database.release()
        assert [waiting.report.event_id for waiting in self.crm.begun] == ["1a", "2a"]

    def test_news_while_the_store_is_read(self) -> None:
        """What comes in while the store is being read is seen as well."""
        self.database.held = []
        self.outbox.wake()
        self.happen("1a")
        assert self.crm.under_way == []
        self.database.release()
        assert self.crm.under_way == ["1a"]


class Failing(OutboxTests):
    """What does not work at once."""

    def test_later(self) -> None:
        """It is tried again when its time has come, with one attempt more."""
        self.happen("1a")
        self.crm.answers("1a", Later("HTTP 500", 5))
        self.clock.advance(4.9)
        assert self.crm.under_way == []
        self.clock.advance(0.2)
        assert [waiting.attempts for waiting in self.crm.begun] == [0, 1]

    def test_the_first_failure_and_the_recovery(self) -> None:
        """One line for each, whatever fails between; and the reason can be asked for."""
        self.happen("1a", "2a")
        self.crm.answers("1a", Later("HTTP 500", 5))
        self.crm.answers("2a", Later("ConnectionRefusedError: no", 5))
        told = "reports to crm fail, and are tried again: HTTP 500"
        assert self.lines().count("reports to crm fail") == 1
        assert told in self.lines()
        assert self.standing() == {
            "crm": Standing(
                "crm", Depth(2, 0, EPOCH), Trouble("ConnectionRefusedError: no", EPOCH)
            ),
            "shop": Standing("shop", Depth(), None),
        }
        self.clock.advance(6)
        self.crm.answers("1a")
        self.crm.answers("2a")
        assert self.lines().count("reports to crm arrive again, after 6 s") == 1
        self.clock.advance(1)  # what was delivered is deleted with others
        assert self.standing()["crm"] == Standing("crm", Depth(), None)
        self.happen("3a")
        self.crm.answers("3a", Later("HTTP 502", 5))
        assert self.lines().count("reports to crm fail") == 2

    def test_given_up_at_once(self) -> None:
        """What a receiver refuses for good has a line of its own, and is a trouble, too."""
        self.happen("1a")
        self.crm.answers("1a", Refused("the receiver said 410 Gone"))
        assert "cannot be told" not in self.lines()
        trouble = self.standing()["crm"].trouble
        assert trouble == Trouble("the receiver said 410 Gone", EPOCH)

    def standing(self) -> dict[str, Standing]:
        """How it stands with each target."""
        standing = self.successResultOf(Deferred.fromCoroutine(self.outbox.standing()))
        return {one.target: one for one in standing}

    def test_postponed_by_a_clock_that_was_wrong(self) -> None:
        """What could be due in two days at the earliest was never meant: it is tried at once."""
        self.happen("1a", "2a")
        self.crm.answers("1a", Later("HTTP 500", 5))
        self.crm.answers("2a", Later("HTTP 500", 86400))
        query = "UPDATE outbox SET due_at = due_at + 1e9 WHERE event_id = '1a'"
        self.database.connection.execute(query)
        self.outbox.wake()
        assert self.crm.under_way == ["1a"]

    def test_not_counted(self) -> None:
        """A pause that is nobody's fault is no attempt."""
        self.happen("1a")
        self.crm.answers("1a", Later("no link", 5, counted=False))
        self.clock.advance(6)
        assert [waiting.attempts for waiting in self.crm.begun] == [0, 0]

    def test_what_comes_after_waits(self) -> None:
        """Later reports of the request wait as long, those that come meanwhile, too."""
        self.happen("1a", "1b")
        self.crm.answers("1a", Later("HTTP 500", 300))
        self.happen("1c", "2a")
        assert self.crm.under_way == ["2a"]
        self.clock.advance(301)
        self.crm.answers("1a")
        self.crm.answers("1b")
        assert self.crm.under_way == ["2a", "1c"]

    def test_given_up(self) -> None:
        """A dead letter stays in the store, the log says so, and the next report goes out."""
        self.happen("1a", "1b")
        self.crm.answers("1a", Refused("10 attempts failed: HTTP 500"))
        assert self.crm.under_way == ["1b"]
        assert self.left() == [("crm", "1a"), ("crm", "1b")]
        assert (
            f"crm: the report call.ended of call {uuid(1)} was given up: "
            "10 attempts failed: HTTP 500" in self.lines()
        )

    def test_replay(self) -> None:
        """Dead letters go out again, with all their attempts before them."""
        self.happen("1a", "2a")
        self.happen("1a", target="shop")
        for event in ("1a", "2a"):
            self.crm.answers(event, Refused("no"))
        self.shop.answers("1a", Refused("no"))
        replay = Deferred.fromCoroutine(self.outbox.replay("crm", uuid(2)))
        assert self.successResultOf(replay) == 1
        assert (self.crm.revived, self.shop.revived) == (1, 0)
        assert self.crm.under_way == ["2a"]
        assert self.crm.begun[-1].attempts == 0
        replay = Deferred.fromCoroutine(self.outbox.replay())
        assert self.successResultOf(replay) == 2
        assert (self.crm.under_way, self.shop.under_way) == (["2a", "1a"], ["1a"])

    def test_a_mistake_of_ours(self) -> None:
        """A reporter that raises is logged, and tried again."""
        self.happen("1a")
        self.crm.answers("1a", ZeroDivisionError())
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        self.clock.advance(6)
        assert self.crm.under_way == ["1a"]

    def test_no_link(self) -> None:
        """A reporter that is not ready is given nothing, and all when it is."""
        self.crm.is_ready = False
        self.happen("1a")
        assert self.crm.begun == []
        self.crm.is_ready = True
        self.outbox.wake()
        assert self.crm.under_way == ["1a"]

    def test_a_store_that_cannot_be_read(self) -> None:
        """It is asked again."""
        self.database.broken = True
        self.happen("1a")
        assert self.crm.begun == []
        self.database.broken = False
        self.clock.advance(6)
        assert self.crm.under_way == ["1a"]

    def test_a_store_that_cannot_be_written(self) -> None:
        """What was delivered is not sent again while the store cannot take it in."""
        self.happen("1a", "1b")
        self.database.broken = True
        self.crm.answers("1a")
        self.clock.advance(20)
        assert self.left() == [("crm", "1a"), ("crm", "1b")]
        self.database.broken = False
        self.clock.advance(6)
        assert self.left() == [("crm", "1b")]
        assert [waiting.report.event_id for waiting in self.crm.begun] == ["1a", "1b"]


class StartAndStop(OutboxTests):
    """From one run to the next."""

    def tearDown(self) -> None:
        """After the stop there is no timer."""
        assert self.clock.getDelayedCalls() == []

    def test_what_has_waited(self) -> None:
        """After a restart all that was not delivered goes out, in the order of before."""
        self.happen("1a", "1b", "2a")
        self.crm.answers("2a", Later("HTTP 500", 60))
        self.outbox.stopService()
        self.crm = FakeReporter("crm")
        self.start()
        assert self.crm.under_way == ["1a"]
        self.clock.advance(60)
        assert self.crm.under_way == ["1a", "2a"]
        self.outbox.stopService()

    def test_stop(self) -> None:
        """Nothing new is begun; it has stopped when what is under way has ended."""
        self.happen("1a", "1b")
        stopped = self.outbox.stopService()
        self.assertNoResult(stopped)
        self.crm.answers("1a")
        self.successResultOf(stopped)
        assert self.left() == [("crm", "1b")]
        assert self.crm.under_way == []

    def test_stop_with_a_full_disk(self) -> None:
        """What cannot be noted is sent again after the next start; the stop does not wait."""
        self.happen("1a")
        stopped = self.outbox.stopService()
        self.database.broken = True
        self.crm.answers("1a")
        self.successResultOf(stopped)

    def test_stop_while_a_settlement_is_retried(self) -> None:
        """The same where the disk was full before."""
        self.happen("1a")
        self.database.broken = True
        self.crm.answers("1a")
        stopped = self.outbox.stopService()
        self.clock.advance(6)
        self.successResultOf(stopped)


class Counting(OutboxTests):
    """How much waits."""

    def test_depths(self) -> None:
        """Counted every ten seconds; a target of which nothing waits is there, too."""
        assert self.outbox.depths == {"crm": Depth(), "shop": Depth()}
        self.happen("1a", "2a")
        self.clock.advance(4)
        self.happen("3a")
        self.crm.answers("2a", Refused("no"))
        self.clock.advance(6)
        assert self.outbox.depths == {"crm": Depth(2, 1, EPOCH), "shop": Depth()}

    def test_a_target_that_is_gone(self) -> None:
        """What waits for a target that is configured no more is logged, once."""
        self.happen("1a", target="old")
        self.clock.advance(10)
        self.clock.advance(10)
        assert self.lines().count("1 reports wait for old, which is configured no more") == 1

    def test_not_countable(self) -> None:
        """The counts of before stay."""
        self.happen("1a")
        self.clock.advance(10)
        self.database.broken = True
        self.clock.advance(10)
        assert self.outbox.depths["crm"] == Depth(1, 0, EPOCH)
        assert "waiting reports could not be counted: disk I/O error" in self.lines()


class Deleting(OutboxTests):
    """What nobody was told for long."""

    def test_delete_old(self) -> None:
        """Whatever was to be told before a moment, delivered or not."""
        self.happen("1a")
        self.crm.answers("1a", Refused("no"))
        self.clock.advance(100)
        self.happen("2a")
        table = OutboxTable(self.database)
        assert self.successResultOf(table.delete_old(EPOCH + 50)) == 1
        assert self.left() == [("crm", "2a")]

    def test_indexes(self) -> None:
        """What is due is found without looking at all that waits."""
        values = {"server_id": "", "target": "crm", "now": 1.0, "most": 3}
        query = f"EXPLAIN QUERY PLAN {_DUE}"
        plan = self.database.connection.execute(query, values).fetchall()
        steps = " ".join(str(step[-1]) for step in plan)
        assert "outbox_due" in steps
        assert "outbox_by_request" in steps
        # The few that were found, and no table.
        assert steps.count("SCAN") == steps.count("SCAN head") == 1
