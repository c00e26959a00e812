"""Connections to a PostgreSQL server: how they are made, kept, and made anew when they were lost.

They block; each belongs to one thread. What fails is told as StoreError, in one line and without a
password. A server that is there and says nothing would block them for ever: a watch cuts them then.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from socket import SHUT_RDWR, socket
from threading import Event, Lock, Thread
from typing import Any, Final, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from c2c_agent.errors import StoreError
from c2c_agent.store.calls_table import Connection, Cursor

T = TypeVar("T")

# What it has to say comes to us as exceptions; its own lines would go to stderr past our log.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
logging.getLogger("psycopg").propagate = False

#: What the URL does not say (libpq's parameter key words). Seconds, but tcp_user_timeout: a server
#: that is gone without a word is noticed within a quarter of a minute. Of several hosts, the one
#: that can be written to is meant.
_DEFAULTS: Final[Mapping[str, str | int]] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
    "target_session_attrs": "read-write",
}

#: So that a process which hangs within a transaction holds up no other for long, and the server
#: lets go of one whose host is gone. And what is committed is durable, whatever the default.
_SETTINGS: Final = """
    SELECT set_config('lock_timeout', '10s', FALSE),
        set_config('statement_timeout', '15s', FALSE),
        set_config('idle_in_transaction_session_timeout', '10s', FALSE),
        set_config('tcp_keepalives_idle', '5', FALSE),
        set_config('tcp_keepalives_interval', '3', FALSE),
        set_config('tcp_keepalives_count', '3', FALSE),
        CASE WHEN current_setting('synchronous_commit') = 'off'
             THEN set_config('synchronous_commit', 'on', FALSE) END
"""

#: Seconds for a piece of work; it takes milliseconds, and a server that still does anything ends a
#: statement sooner by itself.
PATIENCE: Final = 20.0

#: Seconds between two looks of a watch.
_LOOK: Final = 1.0

#: A value in a statement; not the two colons of a PostgreSQL cast.
_VALUE: Final = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


def login(url: str, password: str | None, name: str) -> str:
    """What libpq wants to know; `name` is what the server calls the connection.

    Raises StoreError.
    """
    try:
        given = conninfo_to_dict(url)
        more = {} if password is None else {"password": password}
        told: dict[str, Any] = {**_DEFAULTS, "application_name": name, **given, **more}
        return make_conninfo(**{**told, "client_encoding": "UTF8"})
    except psycopg.Error as error:
        raise StoreError(f"store.url: {one_line(error)}") from None


def connect(
    conninfo: str, made: Callable[[psycopg.Connection[Any]], None] = lambda _: None
) -> psycopg.Connection[Any]:
    """Make a connection, on which each statement is a transaction unless one is begun.

    `made` is told of it as soon as it is there, before anything is asked on it.
    """
    connection = psycopg.connect(conninfo, autocommit=True)
    try:
        made(connection)
        connection.execute(_SETTINGS)
    except BaseException:
        connection.close()
        raise
    return connection


def one_line(error: BaseException) -> str:
    """What the server or libpq says."""
    return " ".join(str(error).split()) or type(error).__name__


class Statements:
    """A connection as `calls_table` and `outbox_table` know it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Mapping[str, Any] = {}, /) -> Cursor:
        """Carry out a statement with `:name` in it."""
        return self._connection.execute(_translated(statement), _storable(values) or None)

    def executemany(self, statement: str, values: Iterable[Mapping[str, Any]], /) -> object:
        """Carry out a statement once for each."""
        cursor = self._connection.cursor()
        cursor.executemany(_translated(statement), [_storable(one) for one in values])
        return cursor


class Link:
    """One connection, made when it is needed, and anew where it was lost."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection[Any] | None = None
        self._begun: float | None = None  # on the steady clock, when work has been begun
        # The connection's socket once more, for the watch: the number of libpq's own may be another
        # file's by the time that it is used.
        self._wire: socket | None = None
        self._wire_lock = Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, in a transaction of its own. Raises StoreError.

        Where the connection turns out to be lost, once more on a new one: so work has to be such
        that it may have been done before.
        """
        try:
            try:
                return self._run(work)
            except psycopg.Error:
                if self._connection is None or _is_usable(self._connection):
                    raise
            return self._run(work)
        except psycopg.Error as error:
            raise StoreError(one_line(error)) from error

    def _run(self, work: Callable[[Connection], T]) -> T:
        self._begun = time.monotonic()
        try:
            if self._connection is None or not _is_usable(self._connection):
                self.close()
                self._connection = connect(self._conninfo, self._look_after)
            with self._connection.transaction():
                return work(Statements(self._connection))
        finally:
            self._begun = None

    def _look_after(self, connection: psycopg.Connection[Any]) -> None:
        self._wire = socket(fileno=os.dup(connection.fileno()))

    def close(self) -> None:
        """End the connection."""
        with self._wire_lock:
            if self._wire is not None:
                self._wire.close()
                self._wire = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def cut_overdue(self, now: float) -> None:
        """Have work fail, as by a lost connection, that was begun too long before `now`.

        To be called in another thread; `now` is the steady clock's.
        """
        begun = self._begun
        if begun is not None and now - begun >= PATIENCE:
            with self._wire_lock, suppress(OSError):  # it may be cut already
                if self._wire is not None:
                    self._wire.shutdown(SHUT_RDWR)


class LinkWatchdog:
    """A thread that cuts links on which nothing moves any more."""

    def __init__(self, *links: Link) -> None:
        self._links = links
        self._over = Event()
        self._thread = Thread(target=self._look_on, name="store-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End it; nothing where it has not begun."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(_LOOK):
            for link in self._links:
                link.cut_overdue(time.monotonic())


def _is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Whether a transaction can begin on it.

    Not every connection that is lost counts as closed: where the server's last word came within
    `executemany`, and the end of the connection just after it, libpq takes nothing more but does
    not say that it is over.
    """
    return connection.info.transaction_status is TransactionStatus.IDLE


@cache
def _translated(statement: str) -> bytes:
    return _VALUE.sub(r"%(\1)s", statement).encode()


def _storable(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values, with what no text of PostgreSQL can hold written out: NUL and lone surrogates."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }
