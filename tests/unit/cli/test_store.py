"""`c2c-agent store`: each command says one plain line."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from twisted.internet.testing import MemoryReactorClock

from c2c_agent.store.postgres import store as postgres
from c2c_agent.store.sqlite.store import Store
from tests.unit.cli.prompt import assert_plain_error, configure, run


class TestStore:
    """`c2c-agent store`: each command says one plain line."""

    @pytest.fixture(autouse=True)
    def a_store(self, tmp_path: Path) -> Path:
        """Make a store with nothing in it, and the configuration that names it."""
        configure(tmp_path)
        reactor: Any = MemoryReactorClock()
        store = Store(str(tmp_path / "c2c.sqlite3"), reactor)
        store.open()
        store.close()
        return tmp_path / "c2c.sqlite3"

    def test_a_database(self, tmp_path: Path) -> None:
        """It has tools of its own, and each command that has no meaning there names them."""
        url = "postgresql://c2c@db.example.com/c2c"
        configure(tmp_path, store={"url": url})
        for command in (["vacuum"], ["backup", str(tmp_path / "copy")]):
            assert_plain_error(run(tmp_path, "store", *command), url, "pg_dump")

    def test_check_of_a_database(self, tmp_path: Path) -> None:
        """Its counts: right, or put right with exit status 1; or it cannot be reached."""
        url = "postgresql://c2c@127.0.0.1:9/c2c?connect_timeout=2"
        configure(tmp_path, store={"url": url})
        assert_plain_error(run(tmp_path, "store", "check"), url, "connection failed")
        with mock.patch.object(postgres, "check", return_value=postgres.Counts(7, 2, [])):
            done = run(tmp_path, "store", "check")
        told = f"The store {url} counts rightly: 7 requests, 2 in progress.\n"
        assert (done.exit_code, done.output) == (0, told)
        with mock.patch.object(postgres, "check", return_value=postgres.Counts(7, 2, ["key crm"])):
            done = run(tmp_path, "store", "check")
        assert_plain_error(done, f"The store {url} counted wrongly", "key crm")

    def test_check(self, tmp_path: Path, a_store: Path) -> None:
        """Sound: exit status 0."""
        done = run(tmp_path, "store", "check")
        assert (done.exit_code, done.output) == (0, f"The store {a_store} is sound: 0 requests.\n")

    def test_check_of_something_else(self, tmp_path: Path, a_store: Path) -> None:
        """Not sound: exit status 1."""
        a_store.write_text("something else, and long enough to be read" * 100)
        assert_plain_error(run(tmp_path, "store", "check"), str(a_store), "not a database")

    def test_backup(self, tmp_path: Path) -> None:
        """Silent where it worked; never over a file."""
        file = tmp_path / "backup.sqlite3"
        done = run(tmp_path, "store", "backup", str(file))
        assert (done.exit_code, done.output) == (0, "")
        assert file.exists()
        assert_plain_error(
            run(tmp_path, "store", "backup", str(file)), str(file), "the file exists"
        )

    def test_vacuum(self, tmp_path: Path, a_store: Path) -> None:
        """How much that was."""
        done = run(tmp_path, "store", "vacuum")
        assert done.exit_code == 0
        assert done.output == f"The store {a_store} has given back 0 KiB.\n"

    @pytest.mark.parametrize("command", [["check"], ["backup", "b"], ["vacuum"]])
    def test_no_store(self, tmp_path: Path, a_store: Path, command: list[str]) -> None:
        """None is made by looking for it."""
        a_store.unlink()
        assert_plain_error(run(tmp_path, "store", *command), f"There is no store {a_store}.")
        assert not a_store.exists()
