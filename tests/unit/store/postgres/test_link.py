"""When a connection to PostgreSQL is kept, and when it is made anew, without a PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socketpair
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest import TestCase, mock

import psycopg
from psycopg.pq import TransactionStatus

from c2c_agent.errors import StoreError
from c2c_agent.store.calls_table import Connection
from c2c_agent.store.postgres import link as postgres_link
from c2c_agent.store.postgres.link import PATIENCE, Link, LinkWatchdog


class FakeConnection:
    """What is needed of psycopg's: how it stands, and transactions, of which nothing becomes."""

    def __init__(self) -> None:
        self.closed = False
        self.ours, self.server = socketpair()
        self.info = SimpleNamespace(transaction_status=TransactionStatus.IDLE)
        self.on_settings: Callable[[], object] = lambda: None

    def execute(self, _statement: str) -> None:
        """The settings of a new connection."""
        self.on_settings()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        assert self.info.transaction_status is TransactionStatus.IDLE, "used while unusable"
        yield

    def fileno(self) -> int:
        return self.ours.fileno()

    def lose(self) -> None:
        """The server has gone, and libpq knows."""
        self.closed = True
        self.info.transaction_status = TransactionStatus.UNKNOWN

    def lose_within_pipeline(self) -> None:
        """The server has gone, and libpq waits for more of it."""
        self.info.transaction_status = TransactionStatus.ACTIVE

    def close(self) -> None:
        self.ours.close()
        self.lose()


class LinkTest(TestCase):
    """A link whose connections are fakes."""

    def setUp(self) -> None:
        """Have the link make fakes."""
        self.made: list[FakeConnection] = []
        patch = mock.patch.object(psycopg, "connect", self.connect)
        patch.start()
        self.addCleanup(patch.stop)
        self.link = Link("")
        self.attempts = 0

    def connect(self, _: str, *, autocommit: bool) -> FakeConnection:
        """Make one."""
        assert autocommit
        connection = FakeConnection()
        self.made.append(connection)
        self.addCleanup(connection.server.close)
        self.addCleanup(connection.ours.close)
        self.addCleanup(self.link.close)
        return connection


class Losing(LinkTest):
    """Connections that are lost in the middle of a piece of work."""

    def failing(self, error: Exception, how: Callable[[FakeConnection], None]) -> Any:
        """Work whose first attempt fails, and leaves the connection like this."""

        def work(_: Connection) -> str:
            self.attempts += 1
            if self.attempts == 1:
                how(self.made[-1])
                raise error
            return "done"

        return work

    def test_kept(self) -> None:
        """One connection serves all work."""
        for _ in range(3):
            assert self.link.run(lambda _: "done") == "done"
        assert len(self.made) == 1

    def test_lost(self) -> None:
        """The work is done once more on a new one, however much libpq knows."""
        for lose in (FakeConnection.lose, FakeConnection.lose_within_pipeline):
            with self.subTest(lose.__name__):
                self.setUp()
                work = self.failing(psycopg.OperationalError("gone"), lose)
                assert self.link.run(work) == "done"
                assert self.attempts == 2
                old, new = self.made
                assert old.closed
                assert not new.closed

    def test_lost_again(self) -> None:
        """There is no third attempt, but the next work has a new connection."""

        def always(_: Connection) -> None:
            self.made[-1].lose_within_pipeline()
            raise psycopg.OperationalError("gone\nfor good")

        with self.assertRaisesRegex(StoreError, "^gone for good$"):
            self.link.run(always)
        assert len(self.made) == 2
        assert self.link.run(lambda _: "done") == "done"
        assert [each.closed for each in self.made] == [True, True, False]

    def test_refused(self) -> None:
        """What the server refuses is not tried again, and costs no connection."""
        with self.assertRaisesRegex(StoreError, "^no such table$"):
            self.link.run(self.failing(psycopg.errors.UndefinedTable("no such table"), keep))
        assert self.link.run(lambda _: "done") == "done"
        assert len(self.made) == 1

    def test_lost_by_an_error_of_another_kind(self) -> None:
        """The error is told as it is, and the next work has a new connection."""
        with self.assertRaisesRegex(ValueError, "not this"):
            self.link.run(self.failing(ValueError("not this"), FakeConnection.lose_within_pipeline))
        assert self.attempts == 1
        assert self.link.run(lambda _: "done") == "done"
        assert [each.closed for each in self.made] == [True, False]

    def test_closed(self) -> None:
        """It can be closed at any time; used again, it connects again."""
        self.link.close()
        self.link.run(lambda _: "done")
        self.link.close()
        self.link.close()
        assert [each.closed for each in self.made] == [True]
        assert self.link.run(lambda _: "done") == "done"

    def test_no_connection(self) -> None:
        """Nothing is tried again where none can be made."""
        refused = psycopg.OperationalError("refused")
        with (
            mock.patch.object(psycopg, "connect", side_effect=refused) as connect,
            self.assertRaisesRegex(StoreError, "refused"),
        ):
            self.link.run(lambda _: "done")
        assert connect.call_count == 1


class Hanging(LinkTest):
    """A server that says nothing: a watch looks at the link while work is under way."""

    def is_cut(self, *, after: float) -> bool:
        """Whether the server sees the end, when somebody has looked so many seconds after."""
        connection = self.made[-1]
        connection.server.setblocking(False)
        self.link.cut_overdue(time.monotonic() + after)
        try:
            return connection.server.recv(1) == b""
        except BlockingIOError:
            return False

    def test_in_time(self) -> None:
        """Nobody interferes."""
        assert not self.link.run(lambda _: self.is_cut(after=PATIENCE - 1))

    def test_overdue(self) -> None:
        """It is cut, however often somebody looks."""
        assert self.link.run(lambda _: [self.is_cut(after=PATIENCE) for _ in "ab"]) == [True, True]

    def test_idle(self) -> None:
        """A connection on which nothing is to be done may wait for as long as it likes."""
        self.link.run(lambda _: None)
        assert not self.is_cut(after=1000)

    def test_not_connected(self) -> None:
        """There is nothing to cut: to connect has a limit of its own."""
        self.link.cut_overdue(time.monotonic() + 1000)

        def connect(conninfo: str, *, autocommit: bool) -> FakeConnection:
            self.link.cut_overdue(time.monotonic() + 1000)
            return self.connect(conninfo, autocommit=autocommit)

        with mock.patch.object(psycopg, "connect", connect):
            assert self.link.run(lambda _: "done") == "done"

    def test_silent_after_the_login(self) -> None:
        """A connection is watched as soon as there is one, and not used where it fails so early."""

        def say_nothing() -> None:
            raise psycopg.OperationalError("gone" if self.is_cut(after=PATIENCE) else "in vain")

        def connect(conninfo: str, *, autocommit: bool) -> FakeConnection:
            connection = self.connect(conninfo, autocommit=autocommit)
            if len(self.made) == 1:
                connection.on_settings = say_nothing
            return connection

        with mock.patch.object(psycopg, "connect", connect):
            with self.assertRaisesRegex(StoreError, "^gone$"):
                self.link.run(lambda _: "done")
            assert self.link.run(lambda _: "done") == "done"
        assert [each.closed for each in self.made] == [True, False]

    def test_watched(self) -> None:
        """A watch looks by itself, until it is stopped."""
        looked = Event()
        link: Any = SimpleNamespace(cut_overdue=lambda _: looked.set())
        watch = LinkWatchdog(link)
        with mock.patch.object(postgres_link, "_LOOK", 0.0):
            watch.start()
            assert looked.wait(60), "nobody looks"
            watch.stop()
        LinkWatchdog(link).stop()  # before its beginning: nothing to end


def keep(_: FakeConnection) -> None:
    """Leave it as it is."""
