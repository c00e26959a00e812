"""Where calls are kept: SQLite, and the promise that what was saved is still there after a crash.

WAL and synchronous=FULL: a transaction that has returned is on the disk. The writer's connection is
the only one of the agent that ever writes, and the only one that checkpoints while the agent runs.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from c2c_agent.call.call import Call
from c2c_agent.call.job import CONFIRM_SECONDS
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.report.delivery import Report
from c2c_agent.store import calls_table
from c2c_agent.store.call_store import Claim
from c2c_agent.store.calls_table import Connection, schema_files
from c2c_agent.store.sql_store import Asked, SqlStore

T = TypeVar("T")

SCHEMA_VERSION: Final = 4

#: Seconds from a call's arrival to its end, at the most; the longest talk is a day.
_LONGEST_CALL: Final = 2 * 86400.0

#: `Call.answered_seconds` of the calls that ended since a moment, as SQL has it.
_ANSWERED: Final = f"""
    SELECT key_name, ended_at, max(0.0, coalesce(nullif(max(
        coalesce(json_extract(record, '$.first.ended_at'), 0),
        coalesce(json_extract(record, '$.second.ended_at'), 0),
        coalesce(json_extract(record, '$.hung_up_at'), 0)
    ), 0) - answered_at, min(
        ended_at - answered_at,
        json_extract(record, '$.max_duration') + coalesce(json_extract(record, '$.job.timeout'), 0)
            + {CONFIRM_SECONDS} * (coalesce(json_extract(record, '$.job.confirm'), 0) != 0)
    )))
    FROM (
        SELECT *, json_extract(record, '$.first.answered_at') AS answered_at FROM calls
        WHERE received_at > :received AND ended_at > :ended
        AND outcome NOT IN ('rejected', 'expired')
    )
    WHERE answered_at IS NOT NULL ORDER BY ended_at
"""  # noqa: S608 - a number of our own


#: Calls that are saved by one statement; where there are more, it hardly matters how.
_TOGETHER: Final = 32


@lru_cache
def _save_together(calls: int) -> str:
    """The statement that saves so many calls; its values are theirs, one call after the other."""
    row = f"({', '.join('?' * len(calls_table.COLUMNS))})"
    return f"{calls_table.SAVE}{', '.join([row] * calls)}{calls_table.UNLESS_ENDED}"


class Store(SqlStore):
    """The calls in one SQLite file. It has one user, so all that is in it is this process' own."""

    shared: ClassVar = False

    def __init__(self, path: str, reactor: IReactorFromThreads) -> None:
        super().__init__("", reactor)
        self._path = Path(path)

    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:  # noqa: ARG002
        """Find out whether a request was made before; nobody else can take it meanwhile."""

        def query(reader: Connection) -> Claim:
            earlier = calls_table.find(reader, call.request_id)
            if earlier is not None or key is None or not key.repeat_window:
                return Claim(earlier)
            return Claim(calls_table.repeated(reader, call, key.repeat_window), repeated=True)

        return self.read(query)

    def _decide(self, writer: Connection, asked: Sequence[Asked]) -> Sequence[Claim]:
        return [Claim(calls_table.find(writer, one.call.request_id)) for one in asked]

    def _connect(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # The file holds numbers: not for everybody's eyes, whatever the umask.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640))
            self._writer = connect(self._path, "rw")
            self._upgrade()
            self._reader = connect(self._path, "ro")
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The store {self._path} cannot be used: {error}.") from error

    def _disconnect(self) -> None:
        self._reader.close()
        self._writer.close()

    def _save_all(self, calls: Sequence[Call], reports: Sequence[Report]) -> None:
        if reports or len(calls) > _TOGETHER:
            super()._save_all(calls, reports)
            return
        # A statement is a transaction by itself. Each further one would hand the interpreter to the
        # reactor's thread and wait to get it back, which takes longer than all that is done here.
        rows = [calls_table.row(call, self.server_id) for call in calls]
        values = [row[column] for row in rows for column in calls_table.COLUMNS]
        self._writer.execute(_save_together(len(calls)), values)

    def _transaction(self, change: Callable[[Connection], T]) -> T:
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            return change(self._writer)

    def _query(self, query: Callable[[Connection], T]) -> T:
        return query(self._reader)

    def answered_since(self, moment: float) -> list[tuple[str, float, float]]:
        """Key, end and seconds (`Call.answered_seconds`) of answered calls that ended since then.

        In order of their ends. For the start.
        """
        # No call is in progress for two days: that bounds what the index on received_at gives.
        values = {"received": moment - _LONGEST_CALL, "ended": moment}
        rows = self._reader.execute(_ANSWERED, values)
        return [(str(key), float(ended), float(seconds)) for key, ended, seconds in rows]

    def _upgrade(self) -> None:
        """Bring the file to the schema of this version, all steps or none."""
        tables = self._writer.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        version = 0
        if ("schema_version",) in tables.fetchall():
            (version,) = self._writer.execute("SELECT version FROM schema_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"The store {self._path} has schema {version}; this version of c2c-agent knows "
                f"up to {SCHEMA_VERSION}."
            )
        if version < SCHEMA_VERSION:
            steps = [
                files("c2c_agent.store.sqlite").joinpath(name).read_text()
                for name in schema_files(version + 1, SCHEMA_VERSION)
            ]
            self._writer.executescript(f"BEGIN IMMEDIATE; {' '.join(steps)} COMMIT;")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file that is there: `rw`, or `ro`."""
    # isolation_level None: transactions begin where BEGIN stands, and nowhere else.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA busy_timeout = 5000")
    if mode == "rw":
        # Before anything is in the file: it lets `store vacuum` go in small steps.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection
