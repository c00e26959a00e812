"""Where calls are kept that several relays share: PostgreSQL.

Every process reads all of it, and writes what is its own. Who is to place a request, and whether
the limits allow it, is decided in one transaction (`claim`). Whoever decides about calls of a key
holds the row in which its use is counted, so the limits hold over all processes; those of different
keys do not wait for each other. The schema's functions do the counting (`schema_v5.sql`).

What one does, the others hear of (LISTEN, NOTIFY) where they have said that they wait for it:

    channel           payload
    c2c_calls_<md5>   {"request_id", "key", "server_id"}: a call has changed; of the server_id
                      of the process that waits
    c2c_cancels       the request_id of a call that is to end
    c2c_keys          nothing: the table of keys has changed
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import md5
from importlib.resources import files
from typing import Any, ClassVar, Final, Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.record import load
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission, Lease, LimitReached, Meter
from c2c_agent.report.delivery import Report
from c2c_agent.store.call_store import Claim, KeyRow
from c2c_agent.store.calls_table import Connection, find, repeated, row, schema_files
from c2c_agent.store.postgres.link import Link, LinkWatchdog, login
from c2c_agent.store.postgres.listener import Listener
from c2c_agent.store.sql_store import CLAIMS_AT_ONCE, Asked, SqlStore

T = TypeVar("T")

_log = Logger()

SCHEMA_VERSION: Final = 5

#: The schema's first version; before it there was no PostgreSQL.
_FIRST_VERSION: Final = 3

_MINUTE: Final = 60

#: Stands for all other keys in a meter; no key is called so.
_OTHERS: Final = "*"

_CANCELS: Final = "c2c_cancels"
_KEYS: Final = "c2c_keys"

#: Locks until the transaction's end, for who changes the schema.
_UPGRADE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('c2c-agent: schema', 0))"

_CLAIM: Final = """
    SELECT c2c_claim(
        CAST(:wanted AS JSONB), CAST(:keys AS JSONB), :server_id, :most, CAST(:at_once AS INTEGER))
"""
_LOCK_USAGE: Final = "SELECT c2c_lock_usage(ARRAY[:key_name])"
_UNCLAIM: Final = "SELECT c2c_unclaim(:request_id, :server_id)"
_DECIDE: Final = "SELECT c2c_decide(CAST(:decided AS JSONB), :server_id, :now)"
_LEAVE: Final = "SELECT c2c_leave(CAST(:over AS JSONB), :server_id)"
_RECOUNT: Final = "SELECT wrong FROM c2c_recount(:slots)"
_WATCH: Final = """
    INSERT INTO watches (server_id, subject) VALUES (:server_id, :subject)
    ON CONFLICT (subject, server_id) DO NOTHING
"""
_UNWATCH: Final = "DELETE FROM watches WHERE server_id = :server_id AND subject = :subject"
_UNWATCH_ALL: Final = "DELETE FROM watches WHERE server_id = :server_id"
#: Until no transaction has a call under change that did not see yet who waits for it.
_CHANGED: Final = "SELECT FROM calls WHERE request_id = :request_id FOR SHARE"
#: After the calls were written: who waits for one now, but was not seen, waits for its row.
_TELL: Final = """
    SELECT pg_notify('c2c_calls_' || md5(watches.server_id), told.payload)
    FROM jsonb_to_recordset(CAST(:told AS JSONB))
        AS told (request_id TEXT, key_name TEXT, payload TEXT)
    JOIN watches ON subject = ANY (
        ARRAY['request ' || told.request_id, 'key ' || told.key_name, 'all'])
    WHERE watches.server_id <> :server_id
"""
_TELL_ALL: Final = "SELECT pg_notify(:channel, :payload)"
_CANCEL: Final = "UPDATE claims SET cancelled = TRUE WHERE request_id = :request_id"
_CANCELLED: Final = """
    SELECT request_id FROM claims JOIN calls USING (request_id)
    WHERE cancelled AND state <> 'ended' AND server_id = :server_id
"""
#: Of a process that lives, the listener's session has a lock (listener._LOCK).
_MISSING: Final = """
    SELECT server_id, count(*) FROM calls
    WHERE state <> 'ended' AND server_id <> :server_id GROUP BY server_id
    HAVING hashtextextended('c2c-agent ' || server_id, 0) NOT IN (
        SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
"""
_COUNT: Final = "SELECT count(*), count(*) FILTER (WHERE state <> 'ended') FROM calls"
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
            (_channel(server_id), _CANCELS, _KEYS),
            reactor=reactor,
            heard=self._heard,
            again=self._back,
        )
        self.observer: SharedObserver  # set by who puts the parts together

        self._watched: set[str] = set()

    @property
    def last_error(self) -> str | None:
        """Why the store does not work; None if it does, for all that is known."""
        return self._listener.last_error or super().last_error

    # Requests

    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:
        """Take a request for this process, unless one has it, and judge it by the limits."""
        return self._claim(Asked(call, key, limits))

    def _decide(self, writer: Connection, wanted: Sequence[Asked]) -> Sequence[Claim]:
        if self._listener.usurped:
            raise StoreError(str(self._listener.last_error))
        earlier = _repeated(writer, wanted)
        if earlier is not None:
            return [Claim(earlier, repeated=True)]
        rows = {one.call.request_id: row(one.call, self.server_id) for one in reversed(wanted)}
        told = self._take(writer, wanted)
        # It may be our own: of a transaction whose end was not heard.
        ours = [
            request_id
            for request_id, taken in told["earlier"].items()
            if taken == [rows[request_id]["record"], self.server_id]
        ]
        if ours:
            for request_id in ours:
                writer.execute(_UNCLAIM, {"request_id": request_id, "server_id": self.server_id})
            told = self._take(writer, wanted)
            for request_id in ours:
                del told["earlier"][request_id]
        meter = _meter(told)
        claims: list[Claim] = []
        decided: dict[str, Mapping[str, object]] = {}
        mine: dict[str, Call] = {}
        for one in wanted:
            call = one.call
            if call.request_id in told["earlier"]:
                claims.append(Claim(load(told["earlier"][call.request_id][0])))
            elif call.request_id in mine:  # twice at the same moment
                claims.append(Claim(mine[call.request_id]))
            else:
                mine[call.request_id] = call
                admitted = _judge(one, meter, told["now"])
                claims.append(Claim(admitted=admitted))
                taken_in = isinstance(admitted, Admission)
                decided[call.request_id] = {
                    "request_id": call.request_id,
                    "key_name": call.key,
                    "admitted": taken_in,
                    "reserved": admitted.reserved if isinstance(admitted, Admission) else 0,
                }
        if decided:
            values = {"server_id": self.server_id, "now": told["now"]}
            writer.execute(_DECIDE, {**values, "decided": json.dumps([*decided.values()])})
        return claims

    def _take(self, writer: Connection, wanted: Sequence[Asked]) -> dict[str, Any]:
        """Take requests that nobody has, and find out what their keys use."""
        values = {
            "wanted": json.dumps(
                [{**row(one.call, self.server_id), "place": n} for n, one in enumerate(wanted)]
            ),
            "keys": json.dumps(_listed_from(wanted)),
            "server_id": self.server_id,
            "most": min(one.limits.max_concurrent for one in wanted),
            "at_once": CLAIMS_AT_ONCE,
        }
        (told,) = writer.execute(_CLAIM, values).fetchone()
        given: dict[str, Any] = told
        return given

    def recount(self) -> Deferred[None]:
        """See that what is in progress is counted rightly."""
        return self.write(_count_anew)

    def missing(self, connection: Connection) -> Mapping[str, int]:
        """A query: other processes that are not there, and how many calls each has in progress."""
        return dict(connection.execute(_MISSING, {"server_id": self.server_id}).fetchall())

    # Who waits for calls of others

    def watch(self, subject: str, request_id: str | None = None) -> Deferred[None]:
        """Hear from now on what other processes do with calls.

        `subject` is `request <id>`, `key <name>`, or `all`. Fires when every change is heard that
        comes after; with `request_id`, what came before is to be seen then.
        """
        self._watched.add(subject)
        values = {"server_id": self.server_id, "subject": subject}
        watching = self.write(lambda writer: _no_rows(writer, _WATCH, values))
        if request_id is None:
            return watching
        asked = {"request_id": request_id}
        return watching.addCallback(
            lambda _: self.write(lambda writer: _no_rows(writer, _CHANGED, asked))
        )

    def unwatch(self, subject: str) -> Deferred[None]:
        """Hear of it no more."""
        self._watched.discard(subject)
        values = {"server_id": self.server_id, "subject": subject}
        return self.write(lambda writer: _no_rows(writer, _UNWATCH, values))

    # Calls of others

    def ask_to_cancel(self, request_id: str) -> Deferred[None]:
        """Tell the process that has a call to end it: at once, or when it is back."""

        def change(writer: Connection) -> None:
            writer.execute(_CANCEL, {"request_id": request_id})
            writer.execute(_TELL_ALL, {"channel": _CANCELS, "payload": request_id})

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
        over = [
            {
                "request_id": call.request_id,
                "ended": call.state is CallState.ENDED,
                "spent": call.answered_seconds,
                "dialled": call.was_dialled,
            }
            for call in calls
            if not call.holds_slot
        ]
        if over:  # before the calls: the schema says in which order locks are taken
            writer.execute(_LEAVE, {"over": json.dumps(over), "server_id": self.server_id})
        super()._write(writer, calls, reports)
        told = [
            {
                "request_id": call.request_id,
                "key_name": call.key,
                "payload": json.dumps(
                    {"request_id": call.request_id, "key": call.key, "server_id": self.server_id}
                ),
            }
            for call in calls
        ]
        writer.execute(_TELL, {"told": json.dumps(told), "server_id": self.server_id})

    def _connect(self) -> None:
        try:
            self._watch.start()
            self._listener.start()
            self._writer.run(self._upgrade)
            self._writer.run(self._begin)
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

    def _begin(self, writer: Connection) -> None:
        """Wait for nothing yet, and see that what is in progress is counted rightly."""
        writer.execute(_UNWATCH_ALL, {"server_id": self.server_id})
        _count_anew(writer)

    # From the listener, in the reactor's thread

    def _heard(self, channel: str, payload: str) -> None:
        if channel == _CANCELS:
            self.observer.cancel_wanted(payload)
        elif channel == _KEYS:
            self.observer.keys_changed()
        else:
            told: Mapping[str, str] = json.loads(payload)
            self.observer.changed_elsewhere(told["request_id"], told["key"])

    def _back(self) -> None:
        self._write_error = None  # the next transaction will tell
        # A server that crashed has forgotten who waits.
        for subject in list(self._watched):
            self.watch(subject).addErrback(
                lambda failure: _log.warn(
                    "the store could not be asked for notifications: {reason}",
                    reason=failure.getErrorMessage(),
                )
            )
        self.write(lambda _: None).addBoth(lambda _: self.observer.missed())


def _channel(server_id: str) -> str:
    """On which a process hears of calls of others."""
    return "c2c_calls_" + md5(server_id.encode(), usedforsecurity=False).hexdigest()


def _no_rows(writer: Connection, statement: str, values: Mapping[str, Any]) -> None:
    writer.execute(statement, values)


def _recounted(writer: Connection, *, slots: bool) -> Sequence[str]:
    """Count anew; whose counts were wrong."""
    wrong = writer.execute(_RECOUNT, {"slots": slots}).fetchall()
    return ["all keys together" if name is None else f"key {name}" for (name,) in wrong]


def _count_anew(writer: Connection) -> None:
    """Count what is in progress anew, and say so where it was counted wrongly."""
    if wrong := _recounted(writer, slots=False):
        message = "calls in progress were counted wrongly, and are counted rightly now: {wrong}"
        _log.warn(message, wrong=", ".join(wrong))


def _listed_from(wanted: Iterable[Asked]) -> Mapping[str, Mapping[str, float]]:
    """By key, from which sums on the slots are wanted: where so many calls may reach a limit."""
    listed: dict[str, dict[str, float]] = {}
    for one in wanted:
        key, job = one.key, one.call.job
        if key is None or job is None:
            continue
        own = listed.setdefault(key.name, {})
        if key.per_minute is not None:
            own["minute"] = own.get("minute", key.per_minute) - 1
        if key.per_day is not None:
            own["day"] = own.get("day", key.per_day) - 1
        if key.minutes_per_day is not None:
            longest = one.limits.max_duration + 2 * job.seconds_before_talk + 1
            own["spent"] = own.get("spent", key.minutes_per_day * _MINUTE) - longest
    return listed


def _repeated(writer: Connection, asked: Sequence[Asked]) -> Call | None:
    """The call that a request repeats, where its key has such ones answered; it comes alone then.

    Nobody else claims a call of this key meanwhile.
    """
    [first, *_] = asked
    call, key = first.call, first.key
    if key is None or not key.repeat_window:
        return None
    writer.execute(_LOCK_USAGE, {"key_name": key.name})
    if find(writer, call.request_id) is not None:
        return None
    return repeated(writer, call, key.repeat_window)


def _meter(told: Mapping[str, Any]) -> Meter:
    """A meter that has counted what all processes use."""
    meter = Meter(0)
    others = told["total"] or 0
    for name, used in told["keys"].items():
        others -= used["running"]
        meter.count(name, used["reserved"], calls=used["running"])
        for kind, recall in (
            ("minute", meter.recall_minute),
            ("day", meter.recall_day),
            ("spent", meter.recall_spent),
        ):
            window = used[kind]
            if window is not None:
                for at, amount in window["slots"] or [(told["now"], window["sum"])]:
                    recall(name, at, amount)
    meter.count(_OTHERS, calls=others)
    return meter


def _judge(one: Asked, meter: Meter, now: float) -> Admission | LimitReached | None:
    """Whether the limits allow a call; None where it could not be placed anyway."""
    if one.key is None or one.call.job is None:
        return None
    meter.max_concurrent = one.limits.max_concurrent
    taken = meter.admit(one.key, one.call.job, one.limits.max_duration, now)
    return taken.admission if isinstance(taken, Lease) else taken


def schema_version(connection: Connection) -> int:
    """The version of the schema in a database; 0: there is none."""
    (table,) = connection.execute("SELECT to_regclass('schema_version')::text").fetchone()
    if table is None:
        return 0
    (version,) = connection.execute("SELECT version FROM schema_version").fetchone()
    return int(version)


@frozen
class Counts:
    """How many requests a database has, and how many calls in progress; `wrong`: what was so."""

    requests: int
    in_progress: int
    wrong: Sequence[str]


def check(url: str, password: str | None) -> Counts:
    """Count anew what keys use, from the calls of all processes, which go on. Raises StoreError."""

    def count(writer: Connection) -> Counts:
        version = schema_version(writer)
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"it has schema {version}; this version of c2c-agent knows {SCHEMA_VERSION}."
            )
        wrong = _recounted(writer, slots=True)
        requests, in_progress = writer.execute(_COUNT).fetchone()
        return Counts(requests, in_progress, wrong)

    link = Link(login(url, password, "c2c-agent store check"))
    try:
        return link.run(count)
    finally:
        link.close()


def version_of(url: str, password: str | None) -> int:
    """The version of the schema in the database of a URL; 0: there is none. Raises StoreError."""
    link = Link(login(url, password, "c2c-agent check"))
    try:
        return link.run(schema_version)
    finally:
        link.close()
