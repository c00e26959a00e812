"""The calls in the store: the SQL by which they are written, found and deleted, and what it gives.

SQLite and PostgreSQL both understand it. Values stand in it as `:name`; `server_id` is that of the
process whose store it is, and '' where no other process can have the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import asdict

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.record import dump, load
from c2c_agent.report.delivery import Report
from c2c_agent.store.call_store import EVERY, Wanted

#: Rows that one step deletes: few, so that a call that is to be saved never waits long.
STEP: Final = 500

#: What `row` gives, in this order.
COLUMNS: Final = (
    "request_id",
    "key_name",
    "received_at",
    "state",
    "outcome",
    "ended_at",
    "record",
    "server_id",
    "first_number",
    "second_number",
)
#: A statement that saves calls is SAVE, the rows, and UNLESS_ENDED.
SAVE: Final = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES "  # noqa: S608 - names of our own
UNLESS_ENDED: Final = """
    ON CONFLICT (request_id) DO UPDATE
    SET state = excluded.state, outcome = excluded.outcome,
        ended_at = excluded.ended_at, record = excluded.record
    WHERE calls.state <> 'ended'  -- a final outcome is final
    AND calls.server_id = excluded.server_id
"""
_SAVE: Final = f"{SAVE}({', '.join(f':{column}' for column in COLUMNS)}){UNLESS_ENDED}"

#: A request of which something waits is not due before that. An event is told once: a change that
#: happens again after a crash makes the same event again. A request that is refused since the store
#: could not be asked about it may turn out to be another process', or to have ended otherwise: then
#: nobody is told. The types are said for PostgreSQL, which cannot know those of what is selected.
_REPORT: Final = """
    INSERT INTO outbox (target, event_id, type, request_id, created_at, due_at, body, server_id)
    SELECT CAST(:target AS TEXT), CAST(:event_id AS TEXT), CAST(:type AS TEXT),
        CAST(:request_id AS TEXT), CAST(:at AS DOUBLE PRECISION), coalesce(
            (SELECT max(due_at) FROM outbox
             WHERE target = :target AND request_id = :request_id AND dead_at IS NULL),
            CAST(:at AS DOUBLE PRECISION)),
        CAST(:body AS TEXT), CAST(:server_id AS TEXT)
    WHERE NOT EXISTS (
        SELECT 1 FROM calls WHERE request_id = :request_id AND (
            server_id <> :server_id OR (:type = 'call.rejected' AND outcome <> 'rejected')
        )
    )
    ON CONFLICT (target, event_id) DO NOTHING
"""

#: By `received_at` as well, for that has an index; no call ends before it came in.
_DELETE: Final = f"""
    DELETE FROM calls WHERE id IN (
        SELECT id FROM calls WHERE received_at < :before AND ended_at < :before AND state = 'ended'
        ORDER BY received_at LIMIT {STEP}
    )
"""  # noqa: S608 - a number of our own

_FIND: Final = "SELECT record FROM calls WHERE request_id = :request_id"
#: What may be asked of calls, and how the newest come first.
_CONDITIONS: Final[Mapping[str, str]] = {
    "key_name": "key_name = :key_name",
    "since": "received_at >= :since",
    "until": "received_at < :until",
    "number": "(first_number = :number OR second_number = :number)",
    "first": "first_number = :first",
    "outcome": "outcome = :outcome",
    "after_at": "received_at <= :after_at",
    "after_id": "(received_at < :after_at OR request_id < :after_id)",
}
_NEWEST_FIRST: Final = "ORDER BY received_at DESC, request_id DESC LIMIT :limit"
#: What never reached the PBX was no call that could be repeated.
_REPEATED: Final = """
    SELECT record FROM calls
    WHERE key_name = :key_name AND received_at > :since AND request_id <> :request_id
    AND first_number = :first_number AND second_number = :second_number
    AND (outcome IS NULL OR outcome NOT IN ('rejected', 'expired', 'pbx_error'))
    ORDER BY received_at DESC LIMIT 1
"""
_UNFINISHED: Final = """
    SELECT record FROM calls WHERE state <> 'ended' AND server_id = :server_id ORDER BY id
"""
_PLACED_SINCE: Final = """
    SELECT key_name, received_at FROM calls
    WHERE received_at > :moment AND (outcome IS NULL OR outcome NOT IN ('rejected', 'expired'))
    ORDER BY received_at
"""


class Cursor(Protocol):
    """The rows that a statement gave, or how many it changed."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """The next row; None after the last."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection to a database that takes statements with `:name` in them."""

    def execute(self, statement: str, values: Mapping[str, Any] = ..., /) -> Cursor:
        """Carry out a statement."""

    def executemany(self, statement: str, values: Iterable[Mapping[str, Any]], /) -> object:
        """Carry out a statement once for each."""


def save(
    connection: Connection, server_id: str, calls: Iterable[Call], reports: Iterable[Report]
) -> None:
    """Write the calls as they are, and the reports of their changes."""
    connection.executemany(_SAVE, [row(call, server_id) for call in calls])
    rows = [{**asdict(report), "server_id": server_id} for report in reports]
    if rows:
        connection.executemany(_REPORT, rows)


def latest(calls: Iterable[Call]) -> list[Call]:
    """Of several versions of a call the last; but an end is final."""
    found: dict[str, Call] = {}
    for call in calls:
        earlier = found.get(call.request_id)
        if earlier is None or earlier.state is not CallState.ENDED:
            found[call.request_id] = call
    return list(found.values())


def row(call: Call, server_id: str) -> Mapping[str, object]:
    """A call's columns."""
    return {
        "request_id": call.request_id,
        "key_name": call.key,
        "received_at": call.received.at,
        "state": call.state.value,
        "outcome": call.outcome.value if call.outcome is not None else None,
        "ended_at": call.ended_at if call.state is CallState.ENDED else None,
        "record": dump(call),
        "server_id": server_id,
        "first_number": call.job.dial_first if call.job is not None else None,
        "second_number": call.job.dial_second if call.job is not None else None,
    }


def find(connection: Connection, request_id: str) -> Call | None:
    """The call of a request."""
    found = connection.execute(_FIND, {"request_id": request_id}).fetchone()
    return None if found is None else load(found[0])


def recent(
    connection: Connection, limit: int, key_name: str | None, wanted: Wanted = EVERY
) -> list[Call]:
    """The latest calls that are wanted, newest first: of one key, or of all."""
    after_at, after_id = wanted.after or (None, None)
    asked = {
        "key_name": key_name,
        "since": wanted.since,
        "until": wanted.until,
        "number": wanted.number,
        "first": wanted.first,
        "outcome": wanted.outcome.value if wanted.outcome is not None else None,
        "after_at": after_at,
        "after_id": after_id,
    }
    values: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    where = " AND ".join(_CONDITIONS[name] for name in values) or "TRUE"
    query = f"SELECT record FROM calls WHERE {where} {_NEWEST_FIRST}"  # noqa: S608 - our own words
    return _calls(connection.execute(query, {**values, "limit": limit}))


def repeated(connection: Connection, call: Call, window: int) -> Call | None:
    """The call between the same two numbers that the key has placed within so many seconds."""
    columns = row(call, "")
    found = connection.execute(
        _REPEATED,
        {
            **{name: columns[name] for name in ("key_name", "request_id")},
            **{name: columns[name] for name in ("first_number", "second_number")},
            "since": call.received.at - window,
        },
    ).fetchone()
    return None if found is None else load(found[0])


def unfinished(connection: Connection, server_id: str) -> list[Call]:
    """The calls of a process that have not ended, in order of arrival."""
    return _calls(connection.execute(_UNFINISHED, {"server_id": server_id}))


def placed_since(connection: Connection, moment: float) -> list[tuple[str, float]]:
    """Key and time of the requests since `moment` that were not refused, the oldest first."""
    rows = connection.execute(_PLACED_SINCE, {"moment": moment})
    return [(str(key), float(at)) for key, at in rows]


def delete_ended(connection: Connection, before: float) -> int:
    """Delete calls that ended before a moment: the oldest few, and how many those were."""
    return connection.execute(_DELETE, {"before": before}).rowcount


def schema_files(first: int, last: int) -> Sequence[str]:
    """The files of a schema that lead from the version before `first` to `last`."""
    return [f"schema_v{version}.sql" for version in range(first, last + 1)]


def _calls(rows: Cursor) -> list[Call]:
    return [load(record) for (record,) in rows]
