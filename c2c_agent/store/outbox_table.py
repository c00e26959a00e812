"""The reports that wait in the store: which are due, and what became of them.

The rows come into the table with the calls that they tell of (`Store.save`); here they are read,
postponed, given up, sent again and deleted. Who waits for what stands in the schema's comments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred

from c2c_agent.report.delivery import Depth, Listed, Report, Waiting
from c2c_agent.store.calls_table import Connection

T = TypeVar("T")

#: Beyond all numbers of reports.
_LAST: Final = 2**62

#: No pause is that long, in seconds: what is due later was postponed by a clock that was wrong.
_NEVER: Final = 2 * 86400

#: The reports of each request whose oldest is due: what comes after that goes out after it.
_DUE: Final = f"""
    WITH head AS (
        SELECT id, request_id, due_at FROM outbox AS oldest
        WHERE server_id = :server_id AND target = :target AND dead_at IS NULL
        AND (due_at <= :now OR due_at > :now + {_NEVER}) AND NOT EXISTS (
            SELECT 1 FROM outbox AS earlier
            WHERE earlier.target = oldest.target AND earlier.request_id = oldest.request_id
            AND earlier.dead_at IS NULL AND earlier.id < oldest.id
        )
        ORDER BY due_at, id LIMIT :most
    )
    SELECT attempts, target, event_id, type, one.request_id, created_at, body
    FROM head JOIN outbox AS one
    ON one.target = :target AND one.request_id = head.request_id AND one.dead_at IS NULL
    ORDER BY head.due_at, head.id, one.id
"""  # noqa: S608 - a number of our own
_NEXT_DUE: Final = """
    SELECT min(due_at) FROM outbox
    WHERE server_id = :server_id AND target = :target AND dead_at IS NULL AND due_at > :now
"""
#: Of `{}`, which stands for the names of the values.
_DELIVERED: Final = "DELETE FROM outbox WHERE target = :target AND event_id IN ({})"
_FAILED: Final = """
    UPDATE outbox SET attempts = attempts + :counted, reason = :reason
    WHERE target = :target AND event_id = :event_id
"""
#: All that waits for a report waits as long as it does.
_POSTPONE: Final = """
    UPDATE outbox SET due_at = :due_at
    WHERE target = :target AND request_id = :request_id AND dead_at IS NULL
"""
_BURY: Final = """
    UPDATE outbox SET attempts = attempts + 1, reason = :reason, dead_at = :now
    WHERE target = :target AND event_id = :event_id
"""
_REPLAY: Final = """
    UPDATE outbox SET attempts = 0, dead_at = NULL, due_at = :now
    WHERE server_id = :server_id AND dead_at IS NOT NULL
    AND (CAST(:target AS TEXT) IS NULL OR target = :target)
    AND (CAST(:request_id AS TEXT) IS NULL OR request_id = :request_id)
"""
_COUNT: Final = """
    SELECT target, count(*) FILTER (WHERE dead_at IS NULL), count(dead_at),
        min(created_at) FILTER (WHERE dead_at IS NULL)
    FROM outbox WHERE server_id = :server_id GROUP BY target
"""
_LIST: Final = """
    SELECT id, target, event_id, type, request_id, created_at, attempts, due_at, dead_at, reason
    FROM outbox WHERE server_id = :server_id AND id < :before
    AND (CAST(:key_name AS TEXT) IS NULL OR EXISTS (
        SELECT 1 FROM calls
        WHERE calls.request_id = outbox.request_id AND calls.key_name = :key_name
    ))
    AND (CAST(:dead AS INTEGER) IS NULL OR (dead_at IS NOT NULL) = (:dead = 1))
    ORDER BY id DESC LIMIT :most
"""
_DELETE_OLD: Final = """
    DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE created_at < :before LIMIT 500)
"""


class Database(Protocol):
    """What is needed of `sql_store.SqlStore`."""

    server_id: str  # whose reports are meant

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """What a query gives."""

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """Make a change in a transaction of its own."""


class OutboxTable:
    """This process' reports. Every Deferred fails with StoreError where the store does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(
        self, target: str, now: float, most: int
    ) -> Deferred[tuple[Sequence[Waiting], float | None]]:
        """What may be delivered now, of so many requests, and when the next one will be due.

        The requests stand in the order in which they are due, the reports of each in that in which
        they are to be told.
        """

        def query(reader: Connection) -> tuple[Sequence[Waiting], float | None]:
            values = self._ours(target=target, now=now, most=most)
            due = [_waiting(*row) for row in reader.execute(_DUE, values)]
            (next_due,) = reader.execute(_NEXT_DUE, values).fetchone()
            return due, next_due

        return self._database.read(query)

    def delivered(self, target: str, event_ids: Collection[str]) -> Deferred[None]:
        """Forget reports, at least one: their target has them."""
        values = {f"event_{number}": event_id for number, event_id in enumerate(event_ids)}
        statement = _DELIVERED.format(", ".join(f":{name}" for name in values))

        def change(writer: Connection) -> None:
            writer.execute(statement, {"target": target, **values})

        return self._database.write(change)

    def postpone(
        self, waiting: Waiting, due_at: float, reason: str, *, counted: bool
    ) -> Deferred[None]:
        """Try again at `due_at`; later reports of the same request wait with it."""
        values: dict[str, Any] = {
            "event_id": waiting.report.event_id,
            "target": waiting.report.target,
            "request_id": waiting.report.request_id,
            "due_at": due_at,
            "reason": reason,
            "counted": int(counted),
        }

        def change(writer: Connection) -> None:
            writer.execute(_FAILED, values)
            writer.execute(_POSTPONE, values)

        return self._database.write(change)

    def bury(self, waiting: Waiting, now: float, reason: str) -> Deferred[None]:
        """Give a report up: what comes after it is due now."""
        values: dict[str, Any] = {
            "event_id": waiting.report.event_id,
            "target": waiting.report.target,
            "request_id": waiting.report.request_id,
            "due_at": now,
            "now": now,
            "reason": reason,
        }

        def change(writer: Connection) -> None:
            writer.execute(_BURY, values)
            writer.execute(_POSTPONE, values)

        return self._database.write(change)

    def replay(
        self, now: float, target: str | None = None, request_id: str | None = None
    ) -> Deferred[int]:
        """Let dead letters be due again: all, or a target's, or a request's; gives how many."""
        values = self._ours(now=now, target=target, request_id=request_id)
        return self._database.write(lambda writer: writer.execute(_REPLAY, values).rowcount)

    def depths(self) -> Deferred[dict[str, Depth]]:
        """How much there is, by target."""
        values = self._ours()

        def query(reader: Connection) -> dict[str, Depth]:
            return {target: Depth(*counts) for target, *counts in reader.execute(_COUNT, values)}

        return self._database.read(query)

    def listed(
        self, most: int, *, key_name: str | None, before: int | None, dead: bool | None
    ) -> Deferred[list[Listed]]:
        """Reports that wait or were given up, the newest first: of a key's calls, or of all.

        `before`: only those with a smaller number. `dead`: only those that were given up, or that
        were not.
        """
        values = self._ours(
            key_name=key_name,
            before=_LAST if before is None else before,
            dead=None if dead is None else int(dead),
            most=most,
        )
        return self._database.read(
            lambda reader: [Listed(*columns) for columns in reader.execute(_LIST, values)]
        )

    def delete_old(self, before: float) -> Deferred[int]:
        """Delete what was to be told before a moment: a few, and gives how many those were."""
        return self._database.write(
            lambda writer: writer.execute(_DELETE_OLD, {"before": before}).rowcount
        )

    def _ours(self, **values: object) -> dict[str, object]:
        return {"server_id": self._database.server_id, **values}


def _waiting(attempts: int, *columns: Any) -> Waiting:
    target, event_id, kind, request_id, at, body = columns
    return Waiting(Report(target, event_id, kind, request_id, at, body), attempts)
