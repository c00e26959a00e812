"""Care of the store, on real files, with an agent's store open on the same file or not."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import evolve

from c2c_agent.call.call import Call, Entry
from c2c_agent.errors import StoreError
from c2c_agent.store.sqlite import care as store_care
from c2c_agent.store.sqlite import store
from tests.store_contract import call, ended
from tests.unit.store.sqlite.test_store import StoreTests


class CareTests(StoreTests):
    """The store of a running agent, and what an admin does beside it."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.path.parent / "backup.sqlite3"

    def change(self, statement: str, *arguments: object) -> None:
        """Somebody else writes in the file."""
        with closing(self.sqlite()) as other, other:
            other.execute(statement, arguments)

    async def stored(self, count: int = 3) -> list[Call]:
        """Calls of some size, in an open store."""
        calls = [
            ended(call(number, timeline=(Entry(1.0, "accepted", "x" * 2000),)))
            for number in range(1, count + 1)
        ]
        self.opened()
        await self.all_saved(*calls)
        return calls


class Check(CareTests):
    """Whether everything in it can be read."""

    def fails(self, *words: str) -> None:
        """It is not: one line says why."""
        with pytest.raises(StoreError) as caught:
            store_care.check(self.path)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

    async def test_sound(self) -> None:
        """Beside a running agent, and alone: how many requests there are."""
        await self.stored()
        assert store_care.check(self.path) == 3
        self.store.close()
        with mock.patch.object(self.store, "close"):
            assert store_care.check(self.path) == 3
            self.doCleanups()

    async def test_while_the_agent_writes(self) -> None:
        """Neither waits for the other."""
        opened = self.opened()
        with closing(self.sqlite()) as other:
            other.execute("BEGIN IMMEDIATE")
            assert store_care.check(self.path) == 0
            other.rollback()
        await opened.save(call(1))
        assert store_care.check(self.path) == 1

    def test_none(self) -> None:
        """A store that is not there is not made."""
        self.fails(f"There is no store {self.path}.")
        assert not self.path.parent.exists()

    def test_a_directory_that_is_closed(self) -> None:
        """Who may not look into it is told so in one line, too."""
        with mock.patch.object(
            Path, "exists", side_effect=PermissionError(13, "Permission denied")
        ):
            self.fails(f"The store {self.path} cannot be used: Permission denied.")

    def test_something_else(self) -> None:
        """A file that is no database, and a database of another program."""
        self.path.parent.mkdir()
        self.path.write_text("This is no database. " * 100)
        self.fails(str(self.path), "not a database")
        self.path.unlink()
        self.change("CREATE TABLE calls (number TEXT)")
        self.fails(str(self.path), "schema_version")

    async def test_schema(self) -> None:
        """A later version, and none."""
        await self.stored()
        self.change("UPDATE schema_version SET version = 7")
        self.fails("has schema 7; this version of c2c-agent knows 4.")
        self.change("DELETE FROM schema_version")
        self.fails("has no schema")

    async def test_a_record(self) -> None:
        """Which one it is."""
        calls = await self.stored()
        for record in ("{", "[]", '{"state": "odd"}'):
            self.change(
                "UPDATE calls SET record = ? WHERE request_id = ?", record, calls[1].request_id
            )
            self.fails(f"the record of {calls[1].request_id} cannot be read")

    async def test_damaged(self) -> None:
        """Pages that a broken disk has changed, here those of an index."""
        self.store.open()
        await self.all_saved(*(call(number) for number in range(1, 500)))
        self.store.close()
        with closing(self.sqlite()) as other:
            query = "SELECT rootpage FROM sqlite_schema WHERE name = 'calls_by_time'"
            (page,) = other.execute(query).fetchone()
        with self.path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(bytes(4096))
        self.fails(str(self.path))


class Backup(CareTests):
    """A copy that is whole, or none."""

    def beside(self) -> set[str]:
        """What is in the directory but for the store."""
        return {file.name for file in self.path.parent.iterdir()} - {
            "c2c.sqlite3",
            "c2c.sqlite3-wal",
            "c2c.sqlite3-shm",
        }

    async def test_live(self) -> None:
        """All that was saved, also while somebody writes; for those who may read the store."""
        await self.stored(200)
        before = os.umask(0)
        try:
            with closing(self.sqlite()) as other:
                other.execute("BEGIN IMMEDIATE")
                other.execute("DELETE FROM calls")
                store_care.backup(self.path, self.file)
                other.rollback()
        finally:
            os.umask(before)
        assert self.beside() == {"backup.sqlite3"}
        assert stat.S_IMODE(self.file.stat().st_mode) == 0o640
        assert store_care.check(self.file) == 200

    async def test_usable(self) -> None:
        """An agent can go on with it."""
        calls = await self.stored()
        store_care.backup(self.path, self.file)
        self.path = self.file
        other = self.another()
        other.open()
        self.addCleanup(other.close)
        assert await other.recent(10) == calls[::-1]

    async def test_overwrites_nothing(self) -> None:
        """Neither a file, nor a link to nowhere, nor the store."""
        await self.stored()
        self.file.write_text("precious")
        link = self.path.parent / "link"
        link.symlink_to("nowhere")
        for file in (self.file, link, self.path):
            with pytest.raises(StoreError, match=f"{file.name} cannot be made: the file"):
                store_care.backup(self.path, file)
        assert self.file.read_text() == "precious"
        assert self.beside() == {"backup.sqlite3", "link"}

    async def test_a_file_that_came_meanwhile(self) -> None:
        """It is left alone, too."""
        await self.stored()

        def rival(*arguments: Any) -> Any:
            self.file.write_text("precious")
            return connect(*arguments)

        connect: Any = sqlite3.connect
        with (
            mock.patch("sqlite3.connect", rival),
            mock.patch.object(store_care, "connect", lambda path, _: connect(path)),
            pytest.raises(StoreError, match="the file exists"),
        ):
            store_care.backup(self.path, self.file)
        assert self.file.read_text() == "precious"
        assert self.beside() == {"backup.sqlite3"}

    async def test_nothing_is_left_of_a_failure(self) -> None:
        """No room for it: no half of a copy."""
        await self.stored(200)

        def small(*arguments: Any) -> Any:
            target = connect(*arguments)
            target.execute("PRAGMA max_page_count = 3")
            return target

        connect: Any = sqlite3.connect
        with (
            mock.patch("sqlite3.connect", small),
            mock.patch.object(store_care, "connect", lambda path, _: connect(path)),
            pytest.raises(StoreError, match=r"cannot be made: .*full"),
        ):
            store_care.backup(self.path, self.file)
        assert self.beside() == set()

    async def test_no_directory(self) -> None:
        """Said with the name of the file."""
        await self.stored()
        with pytest.raises(StoreError, match=r"no/b cannot be made: .*No such file or directory"):
            store_care.backup(self.path, self.path.parent / "no" / "b")

    def test_no_store(self) -> None:
        """Then there is nothing to copy."""
        with pytest.raises(StoreError, match="There is no store"):
            store_care.backup(self.path, self.file)
        assert not Path(self.path).exists()


class Vacuum(CareTests):
    """The room of what was deleted."""

    async def emptied(self) -> int:
        """Store much, delete it; gives how large the file is."""
        opened = self.opened()
        entry = Entry(1.0, "accepted", "x" * 100_000)
        calls = [ended(call(number, timeline=(entry,))) for number in range(1, 101)]
        await self.all_saved(*calls, call(200))
        assert await opened.delete_ended(5000.0) == 100
        return 100 * 100_000

    async def test_live(self) -> None:
        """In steps, between which the agent writes."""
        size = await self.emptied()
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            with closing(self.sqlite()) as other, other:
                other.execute("PRAGMA busy_timeout = 0")
                other.execute("UPDATE calls SET key_name = 'crm'")

        assert store_care.vacuum(self.path, pause) >= size
        assert len(pauses) == 3
        assert store_care.check(self.path) == 1
        await self.store.save(evolve(call(200), max_duration=7))
        assert await self.store.find(call(200).request_id) == evolve(call(200), max_duration=7)
        self.store.close()
        with mock.patch.object(self.store, "close"):
            assert self.path.stat().st_size < size / 10
            self.doCleanups()

    async def test_nothing_to_give_back(self) -> None:
        """Then there is no pause, either."""
        await self.stored()
        assert store_care.vacuum(self.path, self.fail) == 0

    async def test_busy(self) -> None:
        """Somebody else writes for too long: the line says that, and nothing is broken."""
        await self.emptied()

        def impatient(path: Path, mode: str) -> sqlite3.Connection:
            connection = connect(path, mode)
            connection.execute("PRAGMA busy_timeout = 1")
            return connection

        connect = store.connect
        with closing(self.sqlite()) as other:
            other.execute("BEGIN IMMEDIATE")
            with (
                mock.patch.object(store_care, "connect", impatient),
                pytest.raises(StoreError, match=r"c2c\.sqlite3 is busy; try again later\."),
            ):
                store_care.vacuum(self.path, self.fail)
            other.rollback()
        assert store_care.check(self.path) == 1
