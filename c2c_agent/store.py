"""Where calls are kept: SQLite, and the promise that what was saved is still there after a crash.

One thread writes. It takes all that is waiting into one transaction (group commit), so that many
calls share the cost of one `fsync`; a Deferred of `save` fires when its transaction is on the disk
(WAL, synchronous=FULL). It is the only connection of the agent that ever writes, and the only one
that checkpoints while the agent runs; another thread reads beside it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeAlias, TypeVar

from attrs import asdict, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from c2c_agent.call import Call, CallState
from c2c_agent.errors import C2CError
from c2c_agent.record import dump, load
from c2c_agent.report import Report

T = TypeVar("T")

SCHEMA_VERSION: Final = 2

#: Rows in one transaction. Measured: 50,000 rows/s at 20 rows a commit; more gains little.
_BATCH: Final = 500

_SAVE: Final = """
    INSERT INTO calls (request_id, key_name, received_at, state, outcome, ended_at, record)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (request_id) DO UPDATE
    SET state = excluded.state, outcome = excluded.outcome,
        ended_at = excluded.ended_at, record = excluded.record
    WHERE calls.state <> 'ended'  -- a final outcome is final
"""

#: By `received_at` as well, for that has an index; no call ends before it came in.
_DELETE: Final = f"""
    DELETE FROM calls WHERE id IN (
        SELECT id FROM calls WHERE received_at < :before AND ended_at < :before AND state = 'ended'
        ORDER BY received_at LIMIT {_BATCH}
    )
"""  # noqa: S608 - a number of our own

#: A request of which something waits is not due before that. An event is told once: a change that
#: happens again after a crash makes the same event again.
_REPORT: Final = """
    INSERT INTO outbox (target, event_id, type, request_id, created_at, due_at, body)
    VALUES (:target, :event_id, :type, :request_id, :at, coalesce(
        (SELECT max(due_at) FROM outbox
         WHERE target = :target AND request_id = :request_id AND dead_at IS NULL), :at), :body)
    ON CONFLICT (target, event_id) DO NOTHING
"""

_Row: TypeAlias = tuple[str, str, float, str, str | None, float | None, str]


@frozen(eq=False)
class _Save:
    row: _Row
    reports: Sequence[Report]
    done: Deferred[None]


@frozen(eq=False)
class _Change:
    change: Callable[[sqlite3.Connection], Any]
    done: Deferred[Any]


_Job: TypeAlias = _Save | _Change


class StoreError(C2CError):
    """The store cannot be used; the message says why."""


class Store:
    """The calls in one SQLite file."""

    def __init__(self, path: str, reactor: IReactorFromThreads) -> None:
        self._path = Path(path)
        self._reactor = reactor
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="store-writer", daemon=True)
        self._closed = False
        # Of transactions that failed: they go with the next one.
        self._owed: list[Report] = []
        #: Why the latest transaction failed; None if it did not.
        self.last_error: str | None = None
        self._readers = ThreadPool(minthreads=0, maxthreads=1, name="store-reader")
        # A process that has failed to close the store must still be able to end.
        self._readers.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]

    def open(self) -> None:
        """Open or make the file, and start the threads. Raises StoreError."""
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # The file holds numbers: not for everybody's eyes, whatever the umask.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640))
            self._writer = connect(self._path, "rw")
            self._upgrade()
            self._reader = connect(self._path, "ro")
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The store {self._path} cannot be used: {error}.") from error
        self._thread.start()
        self._readers.start()

    def close(self) -> None:
        """Write what is waiting, and close the file."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._readers.stop()
        self._reader.close()
        self._writer.close()

    def save(self, call: Call, reports: Sequence[Report] = ()) -> Deferred[None]:
        """Keep the call as it is now, and with it the reports of its change.

        Fires when that is durable, fails with StoreError. Reports are kept even so, and written
        with what is saved next.
        """
        if self._closed:
            return fail(StoreError("the store is closed"))
        saved = Deferred[None]()
        self._queue.put(_Save(_row(call), reports, saved))
        return saved

    def delete_ended(self, before: float) -> Deferred[int]:
        """Delete calls that ended before a moment: the oldest few, and how many those were.

        Few, so that a call that is to be saved never waits long; ask again until there are none.
        """
        return self.write(lambda writer: writer.execute(_DELETE, {"before": before}).rowcount)

    def write(self, change: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Make a change in a transaction of its own; fires with what it gives.

        It runs in the writer's thread, after the calls that wait to be saved: so it has to be
        short. Fails with StoreError.
        """
        if self._closed:
            return fail(StoreError("the store is closed"))
        changed = Deferred[T]()
        self._queue.put(_Change(change, changed))
        return changed

    def read(self, query: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """What a query gives; it runs in the reader's thread."""
        return self._read(lambda: query(self._reader))

    def find(self, request_id: str) -> Deferred[Call | None]:
        """The call of a request."""
        return self._read(lambda: self._find(request_id))

    def recent(self, limit: int, key_name: str | None = None) -> Deferred[list[Call]]:
        """The latest calls, newest first: of one key, or of all."""
        return self._read(lambda: self._recent(limit, key_name))

    def unfinished(self) -> list[Call]:
        """The calls that have not ended, in order of arrival. Blocks; for the start."""
        query = "SELECT record FROM calls WHERE state <> 'ended' ORDER BY id"
        return self._calls(query, ())

    def placed_since(self, moment: float) -> list[tuple[str, float]]:
        """Key and time of the requests since `moment` that were not refused. For the start."""
        query = """
            SELECT key_name, received_at FROM calls
            WHERE received_at > ? AND (outcome IS NULL OR outcome NOT IN ('rejected', 'expired'))
            ORDER BY received_at
        """
        return [(str(key), float(at)) for key, at in self._reader.execute(query, (moment,))]

    # In the reader's thread

    def _read(self, query: Callable[[], T]) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._readers, query)

    def _find(self, request_id: str) -> Call | None:
        calls = self._calls("SELECT record FROM calls WHERE request_id = ?", (request_id,))
        return calls[0] if calls else None

    def _recent(self, limit: int, key_name: str | None) -> list[Call]:
        if key_name is None:
            query = "SELECT record FROM calls ORDER BY received_at DESC LIMIT ?"
            return self._calls(query, (limit,))
        query = "SELECT record FROM calls WHERE key_name = ? ORDER BY received_at DESC LIMIT ?"
        return self._calls(query, (key_name, limit))

    def _calls(self, query: str, arguments: tuple[object, ...]) -> list[Call]:
        return [load(record) for (record,) in self._reader.execute(query, arguments)]

    # In the writer's thread

    def _write_all(self) -> None:
        while (job := self._queue.get()) is not None:
            batch, last = self._waiting([job])
            saves = [job for job in batch if isinstance(job, _Save)]
            if saves:
                self._reactor.callFromThread(self._tell, saves, self._commit(saves))
            # After the calls, which somebody waits for.
            for job in batch:
                if isinstance(job, _Change):
                    self._reactor.callFromThread(_tell_changed, job, self._changed(job.change))
            if last:
                return

    def _waiting(self, batch: list[_Job]) -> tuple[list[_Job], bool]:
        """Everything that waits to be written, and whether it is the last."""
        while len(batch) < _BATCH:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _commit(self, saves: Sequence[_Save]) -> StoreError | None:
        """Write calls in one transaction; of several for the same call the last is enough.

        But an end is final here, too.
        """
        latest: dict[str, _Row] = {}
        for save in saves:
            earlier = latest.get(save.row[0])
            if earlier is None or earlier[3] != CallState.ENDED:
                latest[save.row[0]] = save.row
            self._owed.extend(save.reports)
        try:
            with self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                self._writer.executemany(_SAVE, latest.values())
                self._writer.executemany(_REPORT, map(asdict, self._owed))
        except Exception as error:  # noqa: BLE001 - whatever it is, this thread has to go on
            return StoreError(str(error))
        self._owed.clear()
        return None

    def _changed(self, change: Callable[[sqlite3.Connection], Any]) -> object:
        """What a change gave, or a StoreError; if it fails, no call fails with it."""
        try:
            with self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                return change(self._writer)
        except Exception as error:  # noqa: BLE001 - as above
            return StoreError(str(error))

    # In the reactor's thread

    def _tell(self, saves: list[_Save], error: StoreError | None) -> None:
        """The fate of a transaction."""
        self.last_error = None if error is None else str(error)
        for job in saves:
            if error is None:
                job.done.callback(None)
            else:
                job.done.errback(error)

    # Opening

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
                files("c2c_agent").joinpath(f"schema_v{step}.sql").read_text()
                for step in range(version + 1, SCHEMA_VERSION + 1)
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


def _row(call: Call) -> _Row:
    ended = call.state is CallState.ENDED
    return (
        call.request_id,
        call.key,
        call.received.at,
        call.state.value,
        call.outcome.value if call.outcome is not None else None,
        call.ended_at if ended else None,
        dump(call),
    )


def _tell_changed(job: _Change, given: object) -> None:
    if isinstance(given, StoreError):
        job.done.errback(given)
    else:
        job.done.callback(given)
