"""The store, on real files and threads: what was saved is there, and a final outcome is final."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any
from unittest import mock

import pytest
from attrs import evolve
from twisted.internet import reactor

from c2c_agent.call.call import CallState, Entry
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.record import dump
from c2c_agent.errors import StoreError
from c2c_agent.store.calls_table import _DELETE
from c2c_agent.store.sqlite.store import Store
from tests import store_contract as contract
from tests.playbook import JOB
from tests.store_contract import call, ended


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


class StoreTests(contract.StoreContract):
    """One store in a directory of its own."""

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

    def sqlite(self) -> sqlite3.Connection:
        """A connection of somebody else to the file."""
        return sqlite3.connect(self.path)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What somebody else reads."""
        with closing(self.sqlite()) as other:
            return other.execute(query).fetchall()

    @contextmanager
    def refusing(self, what: str, table: str) -> Iterator[None]:
        """The file refuses INSERT or DELETE in a table."""
        with closing(self.sqlite()) as other:
            other.execute(
                f"CREATE TRIGGER refusal BEFORE {what} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
            )
            yield
            other.execute("DROP TRIGGER refusal")


class Keeping(StoreTests, contract.Keeping):
    """What was saved is there."""

    async def test_written_through(self) -> None:
        """Each commit goes to the disk itself: WAL, synchronous=FULL."""
        with traced() as statements:
            self.opened()
        assert "PRAGMA synchronous = FULL" in statements
        with closing(self.sqlite()) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)

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
        # The one that makes the schema; each other is a statement by itself.
        assert len([text for text in statements if text.startswith("BEGIN")]) == 1
        assert len(writes) == 4
        assert await store.recent(10) == calls[-1:-6:-1]

    async def test_saves_of_many_calls(self) -> None:
        """A transaction of many statements keeps the same as one of a single one."""
        calls = [call(number) for number in range(1, 101)]
        saved = self.all_saved(*calls)
        with traced() as statements:
            store = self.opened()
            await saved
        assert len([text for text in statements if text.startswith("BEGIN")]) == 2
        assert await store.recent(200) == calls[::-1]


class Looking(StoreTests, contract.Looking):
    """Calls that are looked for."""


class Repeated(StoreTests, contract.Repeated):
    """The same two numbers again."""


class Tokens(StoreTests, contract.Tokens):
    """What is known of tokens."""


class Failing(StoreTests, contract.Failing):
    """What cannot be written."""


class DiskFull(StoreTests):
    """A disk that takes no more: here, a file that may not grow."""

    def writer(self) -> sqlite3.Connection:
        """The connection that writes."""
        assert isinstance(self.store, Store)
        return self.store._writer

    def fill(self) -> None:
        """Let the file not grow any more; the reader's connection has no part in it."""
        writer = self.writer()
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}")

    def clear(self) -> None:
        """There is room again."""
        self.writer().execute("PRAGMA max_page_count = 1000000")

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


class Hanging(StoreTests):
    """A disk that stands still: nothing fails, and nothing ends."""

    async def test_told(self) -> None:
        """Whoever asks for the state of the store hears of it, until it goes on."""
        clock = mock.Mock(wraps=reactor, seconds=mock.Mock(return_value=1000.0))
        self.store = Store(str(self.path), clock)
        store = self.opened()
        await store.save(call(1))
        goes_on = Event()
        changed = store.write(lambda _: goes_on.wait(60))
        saved = self.all_saved(call(2), call(3))
        told = []
        for now in (1009.0, 1010.0, 1100.0):
            clock.seconds.return_value = now
            told.append(store.last_error)
        goes_on.set()
        assert await changed
        await saved
        clock.seconds.return_value = 9000.0
        assert store.last_error is None
        silence = "the store has not answered for {} s"
        assert told == [None, silence.format(10), silence.format(100)]


class Reports(StoreTests, contract.Reports):
    """What is to be told of a change comes into the store with it, or not at all."""

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


class Deleting(StoreTests, contract.Deleting):
    """Calls that ended long ago."""

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

    async def test_does_not_read_all_of_the_file(self) -> None:
        """It looks at old calls alone, for which there is an index."""
        self.opened()
        with closing(self.sqlite()) as other:
            plan = other.execute(f"EXPLAIN QUERY PLAN {_DELETE}", {"before": 1.0}).fetchall()
        steps = [str(step[-1]) for step in plan]
        assert "SEARCH calls USING INDEX calls_by_time (received_at<?)" in steps
        assert not any(step.startswith("SCAN") for step in steps)


class Finding(StoreTests, contract.Finding):
    """Lists of calls."""

    async def test_answered_since(self) -> None:
        """Key, end and seconds of calls that were answered, in order of their ends."""
        store = self.opened()
        assert isinstance(store, Store)
        answered = LegEvidence(answered_at=10.0)
        await self.all_saved(
            ended(call(1, at=5.0, first=answered)),
            ended(call(2, at=1.0, first=answered, key="shop")),
            ended(call(3, at=6.0)),
            call(4, at=7.0, first=answered),
            ended(call(5, at=8.0, first=answered), Outcome.UNKNOWN),
            ended(call(6, at=9.0, first=answered), Outcome.REJECTED),
        )
        assert store.answered_since(0.0) == [
            ("shop", 61.0, 51.0),
            ("crm", 65.0, 55.0),
            ("crm", 68.0, 58.0),
        ]
        assert store.answered_since(65.0) == [("crm", 68.0, 58.0)]

    async def test_answered_seconds(self) -> None:
        """The query and the call agree on what they are, whatever is known of the end."""
        store = self.opened()
        assert isinstance(store, Store)
        known = [(first, second, by) for first in (1, 30) for second in (2, 0) for by in (40, 0)]
        for number, (first, second, by) in enumerate(known):
            one = ended(
                call(
                    number,
                    at=5.0,
                    first=LegEvidence(answered_at=10.0, ended_at=first or None),
                    second=LegEvidence(ended_at=second or None),
                    hung_up_at=by or None,
                )
            )
            await store.save(one)
            assert store.answered_since(0.0)[-1] == ("crm", 65.0, one.answered_seconds)
        answered = LegEvidence(answered_at=10.0)
        jobs = (JOB, evolve(JOB, confirm=True), evolve(JOB, confirm="auto"), None)
        for number, job in enumerate(jobs, start=len(known)):
            one = ended(call(number, at=5.0, first=answered, job=job, max_duration=7))
            one = evolve(one, ended_at=100.0 + number)
            await store.save(one)
            assert store.answered_since(0.0)[-1] == ("crm", one.ended_at, one.answered_seconds)
            assert one.answered_seconds < 90.0


class Opening(StoreTests):
    """The file."""

    async def test_upgrade(self) -> None:
        """A file of the version before keeps what is in it, and is then like a fresh one."""
        self.path.parent.mkdir()
        with closing(self.sqlite()) as old:
            for version in (1, 2):
                schema = (
                    files("c2c_agent.store.sqlite").joinpath(f"schema_v{version}.sql").read_text()
                )
                old.executescript(schema)
            columns = "request_id, key_name, received_at, state, record"
            values = (call(1).request_id, "crm", 1.0, "accepted", dump(call(1)))
            old.execute(f"INSERT INTO calls ({columns}) VALUES (?, ?, ?, ?, ?)", values)  # noqa: S608
            old.commit()
        store = self.opened()
        assert store.unfinished() == [call(1)]
        await store.save(ended(call(1)))
        assert await store.find(call(1).request_id) == ended(call(1))
        upgraded = self.schema()
        self.path = self.path.with_name("fresh.sqlite3")
        self.store = self.another()
        self.opened()
        assert self.schema() == upgraded

    def schema(self) -> list[tuple[Any, ...]]:
        """All that is declared in the file, and its version."""
        declared = self.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
        return [*declared, *self.rows("SELECT version FROM schema_version")]

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
            f"The store {self.path} has schema 7; this version of c2c-agent knows up to 4."
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
