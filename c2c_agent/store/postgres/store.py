"""Where calls are kept that several relays share: PostgreSQL.

Every process reads all of it, and writes what is its own. Who is to place a request, and whether
the limits allow it, is decided in one transaction (`claim`): the processes decide one after the
other, so two never place the same request, and the limits hold over all of them. What one does, the
others hear of (LISTEN, NOTIFY).

    channel      payload
    c2c_calls    {"request_id", "key", "server_id"}: a call has changed
    c2c_cancels  the request_id of a call that is to end
    c2c_keys     nothing: the table of keys has changed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import ClassVar, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.record import load
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import DAY, Admission, Lease, LimitReached, Meter
from c2c_agent.report.delivery import Report
from c2c_agent.store.call_store import Claim, KeyRow
from c2c_agent.store.calls_table import Connection, find, repeated, row, schema_files
from c2c_agent.store.postgres.link import Link, LinkWatchdog, login
from c2c_agent.store.postgres.listener import Listener
from c2c_agent.store.sql_store import SqlStore

T = TypeVar("T")

SCHEMA_VERSION: Final = 4

#: The schema's first version; before it there was no PostgreSQL.
_FIRST_VERSION: Final = 3

_MINUTE: Final = 60.0

_CALLS: Final = "c2c_calls"
_CANCELS: Final = "c2c_cancels"
_KEYS: Final = "c2c_keys"

#: Locks until the transaction's end: who decides about calls, and who changes the schema.
_DECIDE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('c2c-agent: claims', 0))"
_UPGRADE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('c2c-agent: schema', 0))"

_TAKE: Final = """
    INSERT INTO calls
        (request_id, key_name, received_at, state, outcome, ended_at, record, server_id,
         first_number, second_number)
    VALUES
        (:request_id, :key_name, :received_at, :state, :outcome, :ended_at, :record, :server_id,
         :first_number, :second_number)
    ON CONFLICT (request_id) DO NOTHING
"""
_TAKEN: Final = "SELECT record, server_id FROM calls WHERE request_id = :request_id"
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
_RUNNING: Final = """
    SELECT key_name, count(*) FILTER (WHERE running), sum(reserved) FROM claims
    WHERE (running OR reserved > 0) AND request_id <> :request_id GROUP BY key_name
"""
#: Of a minute all that were admitted count, of a day those that were dialled. More than the limit
#: would not change what the meter says.
_OF_THE_MINUTE: Final = """
    SELECT admitted_at FROM claims
    WHERE key_name = :key_name AND admitted_at > :since AND request_id <> :request_id
    ORDER BY admitted_at DESC LIMIT :most
"""
_OF_THE_DAY: Final = """
    SELECT admitted_at FROM claims
    WHERE key_name = :key_name AND admitted_at > :since AND request_id <> :request_id AND dialled
    ORDER BY admitted_at DESC LIMIT :most
"""
#: What ended within a minute is taken together.
_SPENT: Final = """
    SELECT max(ended_at) AS latest, sum(spent) FROM claims
    WHERE key_name = :key_name AND ended_at > :since AND spent > 0
    GROUP BY floor(ended_at / 60) ORDER BY latest
"""
_CLAIM: Final = """
    INSERT INTO claims (request_id, key_name, admitted_at, running, reserved)
    VALUES (:request_id, :key_name, :admitted_at, :running, :reserved)
    ON CONFLICT (request_id) DO UPDATE
    SET admitted_at = excluded.admitted_at, running = excluded.running,
        reserved = excluded.reserved
"""
_RELEASE: Final = """
    UPDATE claims SET running = FALSE
    FROM calls
    WHERE claims.request_id = ANY(CAST(:request_ids AS TEXT[])) AND running
    AND calls.request_id = claims.request_id AND calls.server_id = :server_id
"""
_SETTLE: Final = """
    UPDATE claims SET reserved = 0, spent = :spent, dialled = :dialled,
        ended_at = extract(epoch FROM clock_timestamp())
    FROM calls
    WHERE claims.request_id = :request_id AND claims.ended_at IS NULL
    AND calls.request_id = claims.request_id AND calls.server_id = :server_id
"""
_TELL: Final = "SELECT pg_notify(:channel, told) FROM unnest(CAST(:told AS TEXT[])) AS told"
_CANCEL: Final = "UPDATE claims SET cancelled = TRUE WHERE request_id = :request_id"
_CANCELLED: Final = """
    SELECT request_id FROM claims JOIN calls USING (request_id)
    WHERE cancelled AND state <> 'ended' AND server_id = :server_id
"""
_ALL_KEYS: Final = "SELECT name, sha256, settings FROM keys ORDER BY name"


class SharedObserver(Protocol):
    """Who hears what the other processes do."""

    def changed_elsewhere(self, request_id: str, key_name: str) -> None:
        """A call of another process has changed, and the store has it."""

    def cancel_wanted(self, request_id: str) -> None:
        """Somebody wants a call to end; it may be this process'."""

    def keys_changed(self) -> None:
        """The table of keys has changed."""

    def missed(self) -> None:
        """Any of these may have happened."""


class PostgresStore(SqlStore):
    """The part of a process in a database that others use, too."""

    shared: ClassVar = True

    def __init__(
        self, url: str, password: str | None, server_id: str, reactor: IReactorFromThreads
    ) -> None:
        super().__init__(server_id, reactor)
        self._url = url
        conninfo = login(url, password, f"c2c-agent {server_id}")
        self._writer = Link(conninfo)
        self._reader = Link(conninfo)
        self._watch = LinkWatchdog(self._writer, self._reader)
        self._listener = Listener(
            conninfo,
            server_id,
            (_CALLS, _CANCELS, _KEYS),
            reactor=reactor,
            heard=self._heard,
            again=self._back,
        )
        self.observer: SharedObserver  # set by who puts the parts together

    @property
    def last_error(self) -> str | None:
        """Why the store does not work; None if it does, for all that is known."""
        return self._listener.last_error or super().last_error

    # Requests

    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:
        """Take a request for this process, unless one has it, and judge it by the limits."""
        return self._claim(partial(self._decide, call, key, limits))

    def _decide(
        self, call: Call, key: Key | None, limits: CallsConfig, writer: Connection
    ) -> Claim:
        if self._listener.usurped:
            raise StoreError(str(self._listener.last_error))
        writer.execute(_DECIDE)
        if key is not None and key.repeat_window and find(writer, call.request_id) is None:
            earlier = repeated(writer, call, key.repeat_window)
            if earlier is not None:
                return Claim(earlier, repeated=True)
        columns = row(call, self.server_id)
        if not writer.execute(_TAKE, columns).rowcount:
            taken = writer.execute(_TAKEN, columns).fetchone()
            if taken is None:  # deleted in this moment, as too old
                return self._decide(call, key, limits, writer)
            # It may be our own: of a transaction whose end was not heard.
            if taken != (columns["record"], self.server_id):
                return Claim(load(taken[0]))
        admitted: Admission | LimitReached | None = None
        now = None
        if key is not None and call.job is not None:
            (now,) = writer.execute(_NOW).fetchone()
            meter = self._meter(call, key, limits.max_concurrent, now, writer)
            taken = meter.admit(key, call.job, limits.max_duration, now)
            admitted = taken.admission if isinstance(taken, Lease) else taken
        taken_in = isinstance(admitted, Admission)
        writer.execute(
            _CLAIM,
            {
                "request_id": call.request_id,
                "key_name": call.key,
                "admitted_at": now if taken_in else None,
                "running": taken_in,
                "reserved": admitted.reserved if isinstance(admitted, Admission) else 0,
            },
        )
        return Claim(admitted=admitted)

    def _meter(
        self, call: Call, key: Key, max_concurrent: int, now: float, writer: Connection
    ) -> Meter:
        """A meter that has counted what all processes use."""
        meter = Meter(max_concurrent)
        for name, count, reserved in writer.execute(_RUNNING, {"request_id": call.request_id}):
            meter.count(name, reserved, calls=count)
        values = {"key_name": key.name, "request_id": call.request_id}
        for query, seconds, most, recall in (
            (_OF_THE_MINUTE, _MINUTE, key.per_minute, meter.recall_minute),
            (_OF_THE_DAY, DAY, key.per_day, meter.recall_day),
        ):
            asked = {**values, "since": now - seconds, "most": most or 0}
            for (at,) in reversed(writer.execute(query, asked).fetchall()):
                recall(key.name, at)
        if key.minutes_per_day is not None:
            for ended_at, spent in writer.execute(_SPENT, {**values, "since": now - DAY}):
                meter.recall_spent(key.name, ended_at, spent)
        return meter

    def ask_to_cancel(self, request_id: str) -> Deferred[None]:
        """Tell the process that has a call to end it: at once, or when it is back."""

        def change(writer: Connection) -> None:
            writer.execute(_CANCEL, {"request_id": request_id})
            writer.execute(_TELL, {"channel": _CANCELS, "told": [request_id]})

        return self.write(change)

    def read_at_once(self, query: Callable[[Connection], T]) -> T:
        """What a query gives. Blocks; for the start."""
        return self._query(query)

    def cancelled(self, connection: Connection) -> Sequence[str]:
        """A query: the calls of this process, in progress, that somebody wants to end."""
        rows = connection.execute(_CANCELLED, {"server_id": self.server_id})
        return [request_id for (request_id,) in rows]

    def keys(self, connection: Connection) -> Sequence[KeyRow]:
        """A query: the keys in the table, in order of name."""
        return [KeyRow(*columns) for columns in connection.execute(_ALL_KEYS)]

    # SqlStore

    def _write(self, writer: Connection, calls: Sequence[Call], reports: Sequence[Report]) -> None:
        super()._write(writer, calls, reports)
        over = [call.request_id for call in calls if call.is_unawaited]
        if over:
            writer.execute(_RELEASE, {"request_ids": over, "server_id": self.server_id})
        settled = [
            {
                "request_id": call.request_id,
                "spent": call.answered_seconds,
                "dialled": call.was_dialled,
                "server_id": self.server_id,
            }
            for call in calls
            if call.state is CallState.ENDED
        ]
        if settled:
            writer.executemany(_SETTLE, settled)
        told = [
            json.dumps(
                {"request_id": call.request_id, "key": call.key, "server_id": self.server_id}
            )
            for call in calls
        ]
        writer.execute(_TELL, {"channel": _CALLS, "told": told})

    def _connect(self) -> None:
        try:
            self._watch.start()
            self._listener.start()
            self._writer.run(self._upgrade)
        except StoreError as error:
            self._disconnect()
            raise StoreError(f"The store {self._url} cannot be used: {error}") from error

    def _disconnect(self) -> None:
        self._listener.stop()
        self._reader.close()
        self._writer.close()
        self._watch.stop()

    def _transaction(self, change: Callable[[Connection], T]) -> T:
        return self._writer.run(change)

    def _query(self, query: Callable[[Connection], T]) -> T:
        return self._reader.run(query)

    def _upgrade(self, writer: Connection) -> None:
        """Bring the database to the schema of this version, all steps or none."""
        writer.execute(_UPGRADE)
        version = schema_version(writer)
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"it has schema {version}; this version of c2c-agent knows up to {SCHEMA_VERSION}."
            )
        first = max(_FIRST_VERSION, version + 1)
        for name in schema_files(first, SCHEMA_VERSION):
            writer.execute(files("c2c_agent.store.postgres").joinpath(name).read_text())

    # From the listener, in the reactor's thread

    def _heard(self, channel: str, payload: str) -> None:
        if channel == _CALLS:
            told: Mapping[str, str] = json.loads(payload)
            if told["server_id"] != self.server_id:
                self.observer.changed_elsewhere(told["request_id"], told["key"])
        elif channel == _CANCELS:
            self.observer.cancel_wanted(payload)
        else:
            self.observer.keys_changed()

    def _back(self) -> None:
        self._write_error = None  # the next transaction will tell
        self.observer.missed()


def schema_version(connection: Connection) -> int:
    """The version of the schema in a database; 0: there is none."""
    (table,) = connection.execute("SELECT to_regclass('schema_version')::text").fetchone()
    if table is None:
        return 0
    (version,) = connection.execute("SELECT version FROM schema_version").fetchone()
    return int(version)


def version_of(url: str, password: str | None) -> int:
    """The version of the schema in the database of a URL; 0: there is none. Raises StoreError."""
    link = Link(login(url, password, "c2c-agent check"))
    try:
        return link.run(schema_version)
    finally:
        link.close()
