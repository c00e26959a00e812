"""What is written: no text of a job becomes SQL, and nothing is told that is not so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.call.call import CallState, Received
from c2c_agent.call.outcome import Outcome
from c2c_agent.report.delivery import Report
from c2c_agent.store import calls_table
from c2c_agent.store.calls_table import schema_files
from c2c_agent.store.sqlite.store import SCHEMA_VERSION
from tests.playbook import REQUEST_ID, a_call
from tests.store_contract import call, ended

#: Texts as JSON and HTTP bring them along, and such as are SQL.
TEXTS = st.text(max_size=40) | st.sampled_from(
    [
        "'); DROP TABLE calls; --",
        "' OR '1'='1",
        '"; DELETE FROM outbox; --',
        ":request_id",
        "%(key_name)s",
        "$1",
        "\0",
        "\ud800",
        "1; ATTACH DATABASE '/tmp/x' AS x",
    ]
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=8,
)


@contextmanager
def a_store() -> Iterator[tuple[sqlite3.Connection, set[str | None]]]:
    """An empty store in memory, and the names of the tables that are written in it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for name in schema_files(1, SCHEMA_VERSION):
            connection.executescript(files("c2c_agent.store.sqlite").joinpath(name).read_text())
        written: set[str | None] = set()

        def note(action: int, table: str | None, *_: object) -> int:
            if action not in {sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION}:
                written.add(
                    table if action in {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE} else None
                )
            return sqlite3.SQLITE_OK

        connection.set_authorizer(note)
        yield connection, written


@given(data=st.dictionaries(TEXTS, VALUES, max_size=6), key=TEXTS, target=TEXTS)
def test_any_text(data: dict[str, Any], key: str, target: str) -> None:
    """Written as one row in each of two tables, and nothing else happens to the store."""
    # A key's and a target's name are the configuration's; what cannot be UTF-8 is refused there.
    key, target = (text.encode("utf-8", "replace").decode() for text in (key, target))
    call = a_call(received=Received(1000.0, "http://pbx/c2c/v2", "POST", data), key=key)
    report = Report(target, "event", "call.accepted", REQUEST_ID, 1000.0, "{}")
    with a_store() as (connection, written):
        calls_table.save(connection, "", [call], [report])
        assert calls_table.find(connection, REQUEST_ID) == call
        assert calls_table.recent(connection, 5, key) == [call]
        assert written == {"calls", "outbox"}
        rows = connection.execute(
            "SELECT count(*) FROM calls UNION ALL SELECT count(*) FROM outbox"
        )
        assert rows.fetchall() == [(1,), (1,)]
        assert connection.execute("SELECT target FROM outbox").fetchone() == (target,)


REFUSED = ended(call(1), Outcome.REJECTED)
REFUSAL = Report("crm", "event", "call.rejected", REFUSED.request_id, 5.0, "{}")


def told(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Which reports are in the store, and of which process."""
    return connection.execute("SELECT type, server_id FROM outbox").fetchall()


def test_refused_in_ignorance() -> None:
    """A request that is another process', and was refused since nobody knew: its call goes on."""
    talking = call(1, state=CallState.CONNECTED)
    for theirs in (talking, ended(talking)):
        with a_store() as (connection, _):
            calls_table.save(connection, "relay-a", [theirs], [])
            calls_table.save(connection, "relay-b", [REFUSED], [REFUSAL])
            assert calls_table.find(connection, REFUSED.request_id) == theirs
            assert told(connection) == []
