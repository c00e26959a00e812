"""The store, on real files and threads: what was saved is there, and a final outcome is final."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from c2c_agent.call import Call, CallState, Entry, Received
from c2c_agent.calls_table import _DELETE
from c2c_agent.disposition import Outcome
from c2c_agent.errors import StoreError
from c2c_agent.report import Report
from c2c_agent.store import Store
from tests.playbook import a_call


def call(number: int = 1, *, at: float | None = None, **changes: Any) -> Call:
    """A call that came in at a second of its own."""
    changes.setdefault("request_id", f"00000000-0000-4000-8000-{number:012}")
    received = Received(float(number) if at is None else at, "http://pbx", "GET", {})
    return a_call(**{"received": received, **changes})


def ended(one: Call, outcome: Outcome = Outcome.CONNECTED) -> Call:
    """The call, at its end."""
    return evolve(one, state=CallState.ENDED, outcome=outcome, ended_at=one.received.at + 60)


@contextmanager
def traced() -> Iterator[list[str]]:
    """The SQL statements of every connection that is made meanwhile."""
    statements: list[str] = []
    connect = sqlite3.connect

    def connect_traced(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **keywords)
        connection.set_trace_callback(statements.append)
        return connection

    with mock.patch("sqlite3.connect", connect_traced):
        yield statements


class StoreTests(TestCase):
    """One store in a directory of its own.

    What is saved before the store is opened waits and is written as one batch: so the tests choose
    what comes into one transaction.
    """

    def setUp(self) -> None:
        """Make the directory, and a store that is not open yet."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "state" / "c2c.sqlite3"
        self.store = self.another()

    def another(self) -> Store:
        """A store on the same file."""
        reactor_with_threads: Any = reactor
        return Store(str(self.path), reactor_with_threads)

    def opened(self) -> Store:
        """The store, open until the end of the test."""
        self.store.open()
        self.addCleanup(self.store.close)
        return self.store

    def all_saved(self, *calls: Call) -> Deferred[list[None]]:
        """Save the calls, in this order."""
        return gatherResults([self.store.save(one) for one in calls], consumeErrors=True)

    def sqlite(self) -> sqlite3.Connection:
        """A connection of somebody else to the file."""
        return sqlite3.connect(self.path)


class Keeping(StoreTests):
    """What was saved is there."""

    async def test_find(self) -> None:
        """Once saved, a call is found by its request's id; another is not."""
        store = self.opened()
        one = call(1, timeline=(Entry(1.0, "accepted"),))
        await store.save(one)
        assert await store.find(one.request_id) == one
        assert await store.find(call(2).request_id) is None

    async def test_durable(self) -> None:
        """When the Deferred has fired, the call is in the file, whatever becomes of the process."""
        self.opened()
        one, two = call(1), ended(call(2))
        await self.all_saved(one, two)
        columns = "request_id, key_name, received_at, state, outcome, ended_at"
        with closing(self.sqlite()) as other:
            assert other.execute(f"SELECT {columns} FROM calls").fetchall() == [  # noqa: S608
                (one.request_id, "crm", 1.0, "accepted", None, None),
                (two.request_id, "crm", 2.0, "ended", "connected", 62.0),
            ]

    async def test_written_through(self) -> None:
        """Each commit goes to the disk itself: WAL, synchronous=FULL."""
        with traced() as statements:
            self.opened()
        assert "PRAGMA synchronous = FULL" in statements
        with closing(self.sqlite()) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    async def test_after_reopening(self) -> None:
        """Everything of a call comes back after a restart."""
        one, two = call(1), ended(call(2))
        self.store.open()
        await self.all_saved(one, two)
        self.store.close()
        self.store = self.another()
        store = self.opened()
        assert await store.find(one.request_id) == one
        assert await store.find(two.request_id) == two

    async def test_odd_texts(self) -> None:
        """What others sent is kept as it is, lone surrogates included."""
        data = {"dial_first": "\ud800", "a\0": ["\r\n", None, 10**30]}
        one = call(1, job=None, received=Received(1.0, "http://pbx/\ud800", "GET", data))
        store = self.opened()
        await store.save(one)
        assert await store.find(one.request_id) == one

    async def test_later_saves_replace(self) -> None:
        """A call is found as it was saved last."""
        store = self.opened()
        one = call(1)
        for state in (CallState.ACCEPTED, CallState.DIALING_FIRST, CallState.FIRST_RINGING):
            one = evolve(one, state=state)
            await store.save(one)
            assert await store.find(one.request_id) == one
        assert await store.recent(10) == [one]

    async def test_an_end_is_final(self) -> None:
        """An ended call is changed by nothing that is saved later."""
        store = self.opened()
        one = ended(call(1))
        await store.save(one)
        await store.save(evolve(one, state=CallState.CONNECTED, outcome=None))
        await store.save(ended(one, Outcome.UNKNOWN))
        assert await store.find(one.request_id) == one

    async def test_an_end_is_final_within_a_transaction(self) -> None:
        """Nor by what is saved in the same moment."""
        one = ended(call(1))
        saved = self.all_saved(
            call(1), one, evolve(one, state=CallState.CONNECTED), ended(one, Outcome.UNKNOWN)
        )
        store = self.opened()
        await saved
        assert await store.find(one.request_id) == one

    async def test_close_writes_what_is_waiting(self) -> None:
        """Also when nobody waits for it any more."""
        calls = [call(number) for number in range(1, 1200)]
        saved = self.all_saved(*calls)
        self.store.open()
        self.store.close()
        with closing(self.sqlite()) as other:
            assert other.execute("SELECT count(*) FROM calls").fetchone() == (len(calls),)
        await saved

    async def test_nothing_is_saved_after_the_close(self) -> None:
        """Who saves too late is told so, and does not wait for ever."""
        self.store.open()
        self.store.close()
        with pytest.raises(StoreError, match="closed"):
            await self.store.save(a_call())

    async def test_close_leaves_one_file(self) -> None:
        """All of it is in the database itself then: that file may be copied."""
        self.store.open()
        await self.store.save(call(1))
        assert len(list(self.path.parent.iterdir())) == 3
        self.store.close()
        assert list(self.path.parent.iterdir()) == [self.path]


class GroupCommit(StoreTests):
    """Many saves share a transaction."""

    async def test_many_saves_of_few_calls(self) -> None:
        """2,000 saves that wait are four transactions, and each call is written once in each."""
        states = [CallState.ACCEPTED, CallState.DIALING_FIRST]
        calls = [
            call(number, state=states[count % 2], max_duration=count)
            for count in range(400)
            for number in range(1, 6)
        ]
        saved = self.all_saved(*calls)
        with traced() as statements:
            store = self.opened()
            await saved
        writes = [text for text in statements if text.lstrip().startswith("INSERT INTO calls")]
        # The first transaction is the one that makes the schema.
        assert len([text for text in statements if text.startswith("BEGIN")][1:]) == 4
        assert len(writes) == 4 * 5
        assert await store.recent(10) == calls[-1:-6:-1]


class Failing(StoreTests):
    """What cannot be written."""

    async def test_a_failing_transaction(self) -> None:
        """Its saves fail with SQLite's error and leave nothing; later ones work again."""
        store = self.opened()
        await store.save(call(1))
        with closing(self.sqlite()) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON calls "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
            with pytest.raises(StoreError, match="database or disk is full"):
                await store.save(call(2))
            assert await store.find(call(2).request_id) is None
            assert await store.find(call(1).request_id) == call(1)
            other.execute("DROP TRIGGER full")
        await store.save(call(3))
        await store.save(call(2))
        assert await store.recent(10) == [call(3), call(2), call(1)]

    async def test_all_saves_of_a_transaction_fail_together(self) -> None:
        """Nobody is told that something is kept that is not."""
        self.store.open()
        self.store.close()
        with closing(self.sqlite()) as other:
            other.execute(
                "CREATE TRIGGER odd BEFORE INSERT ON calls WHEN NEW.received_at = 2 "
                "BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        self.store = self.another()
        saved = [self.store.save(call(number)) for number in (1, 2, 3)]
        store = self.opened()
        for one in saved:
            with pytest.raises(StoreError, match="no"):
                await one
        assert await store.recent(10) == []


class DiskFull(StoreTests):
    """A disk that takes no more: here, a file that may not grow."""

    def fill(self) -> None:
        """Let the file not grow any more; the reader's connection has no part in it."""
        writer = self.store._writer
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}")

    def clear(self) -> None:
        """There is room again."""
        self.store._writer.execute("PRAGMA max_page_count = 1000000")

    def last_error(self) -> str | None:
        """What the store says of the latest transaction."""
        return self.store.last_error

    async def test_full_and_cleared(self) -> None:
        """What has no room fails, and leaves nothing; it works again as soon as there is room."""
        store = self.opened()
        await store.save(call(1))
        self.fill()
        large = Entry(1.0, "accepted", "x" * 100_000)
        with pytest.raises(StoreError, match="database or disk is full"):
            await store.save(call(2, timeline=(large,)))
        assert self.last_error() == "database or disk is full"
        assert await store.recent(10) == [call(1)]
        self.clear()
        await store.save(call(2, timeline=(large,)))
        assert self.last_error() is None
        assert await store.recent(10) == [call(2, timeline=(large,)), call(1)]


class Reports(StoreTests):
    """What is to be told of a change comes into the store with it, or not at all."""

    def report(self, event: str, target: str = "crm", at: float = 5.0) -> Report:
        """A report of the first call."""
        return Report(target, event, "call.ended", call(1).request_id, at, "{}")

    def waiting(self) -> list[tuple[str, str]]:
        """The events in the file, in order."""
        with closing(self.sqlite()) as other:
            return other.execute("SELECT target, event_id FROM outbox ORDER BY id").fetchall()

    async def test_with_the_change(self) -> None:
        """One transaction for both; of several changes of a call every report counts."""
        store = self.store
        first = store.save(call(1), [self.report("1"), self.report("1", "shop")])
        second = store.save(ended(call(1)), [self.report("2")])
        with traced() as statements:
            self.opened()
            await first
            await second
        assert len([text for text in statements if text.startswith("BEGIN")][1:]) == 1
        assert self.waiting() == [("crm", "1"), ("shop", "1"), ("crm", "2")]

    async def test_owed(self) -> None:
        """Where the change could not be stored, its reports come with the next one, in order."""
        store = self.opened()
        await store.save(call(1), [self.report("1")])
        with closing(self.sqlite()) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON outbox "
                "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
            with pytest.raises(StoreError, match="database or disk is full"):
                await store.save(ended(call(1)), [self.report("2"), self.report("3")])
            assert await store.find(call(1).request_id) == call(1)
            other.execute("DROP TRIGGER full")
        await store.save(ended(call(1)), [self.report("4")])
        assert [event for _, event in self.waiting()] == ["1", "2", "3", "4"]

    async def test_told_once(self) -> None:
        """An event that is made again, as after a crash, is the same."""
        store = self.opened()
        await store.save(call(1), [self.report("1")])
        await store.save(call(1), [self.report("1"), self.report("1", "shop")])
        assert self.waiting() == [("crm", "1"), ("shop", "1")]

    async def test_due_with_what_waits(self) -> None:
        """While an earlier report of the request is postponed, a new one is not due either."""
        store = self.opened()
        await store.save(call(1), [self.report("1")])
        await store.write(lambda writer: writer.execute("UPDATE outbox SET due_at = 900").rowcount)
        await store.save(ended(call(1)), [self.report("2"), self.report("1", "shop")])
        due = await store.read(
            lambda reader: reader.execute(
                "SELECT target, event_id, due_at FROM outbox ORDER BY id"
            ).fetchall()
        )
        assert due == [("crm", "1", 900.0), ("crm", "2", 900.0), ("shop", "1", 5.0)]


class Deleting(StoreTests):
    """Calls that ended long ago."""

    async def test_only_what_ended_before(self) -> None:
        """Not what ended later, and nothing that has not ended, however old it is."""
        store = self.opened()
        running = [
            call(number, state=state, at=0.5)
            for number, state in enumerate(CallState, 1)
            if state is not CallState.ENDED
        ]
        old, later, last = (ended(call(number)) for number in (101, 102, 103))
        await self.all_saved(*running, old, later, last)
        assert await store.delete_ended(162.0) == 1
        assert await store.find(old.request_id) is None
        assert store.unfinished() == running
        assert await store.recent(2) == [last, later]
        assert await store.delete_ended(162.0) == 0

    async def test_a_long_talk(self) -> None:
        """It counts when a call ended, not when it came in."""
        store = self.opened()
        talk = evolve(ended(call(1)), ended_at=5000.0)
        await store.save(talk)
        assert await store.delete_ended(5000.0) == 0
        assert await store.delete_ended(5000.5) == 1

    async def test_steps(self) -> None:
        """One step is a few hundred calls, the oldest first, in one transaction."""
        calls = [ended(call(number)) for number in range(1, 1202)]
        saved = self.all_saved(*calls)
        with traced() as statements:
            store = self.opened()
            await saved
            begun = sum(text.startswith("BEGIN") for text in statements)
            assert await store.delete_ended(5000.0) == 500
            assert sum(text.startswith("BEGIN") for text in statements) == begun + 1
        assert await store.find(calls[499].request_id) is None
        assert await store.find(calls[500].request_id) == calls[500]
        assert [await store.delete_ended(5000.0) for _ in range(3)] == [500, 201, 0]

    async def test_calls_go_first(self) -> None:
        """What is saved in the same moment is committed before anything is deleted."""
        calls = [ended(call(number)) for number in range(1, 4)]
        deleted = self.store.delete_ended(5000.0)
        saved = self.all_saved(*calls)
        self.opened()
        await saved
        assert await deleted == 3

    async def test_does_not_read_all_of_the_file(self) -> None:
        """It looks at old calls alone, for which there is an index."""
        self.opened()
        with closing(self.sqlite()) as other:
            plan = other.execute(f"EXPLAIN QUERY PLAN {_DELETE}", {"before": 1.0}).fetchall()
        steps = [str(step[-1]) for step in plan]
        assert "SEARCH calls USING INDEX calls_by_time (received_at<?)" in steps
        assert not any(step.startswith("SCAN") for step in steps)

    async def test_failing(self) -> None:
        """Who asked is told; no call fails with it, and the agent is as ready as before."""
        store = self.opened()
        one = ended(call(1))
        await store.save(one)
        with closing(self.sqlite()) as other:
            other.execute(
                "CREATE TRIGGER odd BEFORE DELETE ON calls BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        deleted, saved = store.delete_ended(5000.0), store.save(call(2))
        with pytest.raises(StoreError, match="no"):
            await deleted
        await saved
        assert store.last_error is None
        assert await store.recent(10) == [call(2), one]

    async def test_at_the_close(self) -> None:
        """A step that was asked for before is done; a later one is refused."""
        self.store.open()
        await self.store.save(ended(call(1)))
        deleted = self.store.delete_ended(5000.0)
        self.store.close()
        assert await deleted == 1
        with pytest.raises(StoreError, match="closed"):
            await self.store.delete_ended(5000.0)

    async def test_a_request_id_is_free_again(self) -> None:
        """What was deleted is forgotten: the same request is a new one."""
        store = self.opened()
        await store.save(ended(call(1)))
        await store.delete_ended(5000.0)
        await store.save(call(1))
        assert await store.find(call(1).request_id) == call(1)


class Finding(StoreTests):
    """Lists of calls."""

    async def test_recent(self) -> None:
        """The latest first, of one key or of all, no more than wanted."""
        store = self.opened()
        first, second, third = call(1), call(2, key="shop"), ended(call(3))
        await self.all_saved(second, third, first)
        assert await store.recent(10) == [third, second, first]
        assert await store.recent(2) == [third, second]
        assert await store.recent(0) == []
        assert await store.recent(10, "crm") == [third, first]
        assert await store.recent(1, "crm") == [third]
        assert await store.recent(10, "nobody") == []

    async def test_unfinished(self) -> None:
        """What was in progress when the agent stopped, in order of arrival, and nothing else."""
        store = self.opened()
        assert store.unfinished() == []
        states = [state for state in CallState if state is not CallState.ENDED]
        calls = [call(number, state=state) for number, state in enumerate(states, 1)]
        late = call(90, at=0.5)
        await self.all_saved(*calls, late)
        await self.all_saved(ended(call(91)), ended(calls[2]))
        assert store.unfinished() == [*calls[:2], *calls[3:], late]

    async def test_placed_since(self) -> None:
        """Key and time of requests that were not refused, the oldest first."""
        store = self.opened()
        await self.all_saved(
            call(5, at=30.0, key="shop"),
            call(1, at=10.0),
            call(2, at=10.5),
            ended(call(3, at=20.0)),
            ended(call(4, at=25.0), Outcome.REJECTED),
        )
        assert store.placed_since(10.0) == [("crm", 10.5), ("crm", 20.0), ("shop", 30.0)]
        assert store.placed_since(30.0) == []


class Opening(StoreTests):
    """The file."""

    def mode(self, file: Path) -> int:
        """The permissions of a file."""
        return stat.S_IMODE(file.stat().st_mode)

    async def test_permissions(self) -> None:
        """Numbers are in it: not for everybody's eyes, nor in SQLite's files beside it."""
        before = os.umask(0)
        try:
            store = self.opened()
            await store.save(call(1))
        finally:
            os.umask(before)
        assert self.mode(self.path.parent) == 0o750
        files = sorted(self.path.parent.iterdir())
        assert [file.name for file in files] == [
            "c2c.sqlite3",
            "c2c.sqlite3-shm",
            "c2c.sqlite3-wal",
        ]
        assert {self.mode(file) for file in files} == {0o640}

    async def test_a_path_with_signs_of_a_url(self) -> None:
        """A path is a path, whatever stands in it."""
        self.path = self.path.with_name("a?mode=ro #%41.sqlite3")
        self.store = self.another()
        await self.opened().save(call(1))
        assert self.path.exists()

    async def test_unknown_schema(self) -> None:
        """A file of a later version is left alone, and both versions are told."""
        self.store.open()
        self.store.close()
        with closing(self.sqlite()) as other, other:
            other.execute("UPDATE schema_version SET version = 7")
        with pytest.raises(StoreError) as caught:
            self.another().open()
        assert str(caught.value) == (
            f"The store {self.path} has schema 7; this version of c2c-agent knows up to 3."
        )

    def unusable(self, path: Path) -> str:
        """What is told of a path that cannot be used."""
        self.path = path
        with pytest.raises(StoreError) as caught:
            self.another().open()
        assert str(path) in str(caught.value)
        return str(caught.value)

    def test_unusable_paths(self) -> None:
        """The path is told, and why: a directory, a file in the place of one, no database."""
        here = self.path.parent
        here.mkdir()
        (here / "directory").mkdir()
        (here / "text").write_text("This is no database. " * 100)
        assert "Is a directory" in self.unusable(here / "directory")
        assert "cannot be used" in self.unusable(here / "text" / "c2c.sqlite3")
        assert "not a database" in self.unusable(here / "text")
        assert (here / "text").read_text() == "This is no database. " * 100

    def test_a_database_of_something_else(self) -> None:
        """Tables of another program are not taken for ours, and nothing is added to them."""
        self.path.parent.mkdir()
        with closing(self.sqlite()) as other, other:
            other.execute("CREATE TABLE calls (number TEXT)")
        assert "cannot be used" in self.unusable(self.path)
        with closing(self.sqlite()) as other:
            tables = other.execute("SELECT name FROM sqlite_schema").fetchall()
        assert tables == [("calls",)]
