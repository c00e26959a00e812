"""What is checked without the PBX: keys and the store."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

from attrs import evolve
from twisted.internet import reactor as global_reactor

from c2c_agent.check import configuration
from c2c_agent.check.finding import Finding
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.config.sections import HttpConfig, StoreConfig, WebhookConfig
from c2c_agent.errors import StoreError
from c2c_agent.store.sqlite.store import Store
from tests.fakes import CRM, SHOP
from tests.unit.check.pbx_under_check import (
    CheckTest,
)


class Keys(CheckTest):
    """Keys with which nobody can do anything. They do not end the check."""

    def found(self) -> list[Finding]:
        """What is said of keys, of which the first has failed, and of the rest, which is well."""
        findings = self.check()
        assert [finding for finding in findings if finding.failed] == [findings[1]]
        return findings

    def test_none(self) -> None:
        """How to make one."""
        self.config = evolve(self.config, keys=[])
        found = self.found()[1]
        assert found.message == "No key is configured, so nobody can place calls."
        assert "c2c-agent key new" in found.advice

    def test_one_that_may_nothing(self) -> None:
        """As `key new` prints it: what it lacks."""
        self.config = evolve(self.config, keys=[evolve(CRM, allow=()), SHOP])
        found = self.found()
        assert found[1].name == "key crm"
        assert "`allow`" in found[1].advice
        assert found[2] == Finding("key shop", "may dial _XXX")


class Secrets(CheckTest):
    """Files that are for the agent alone."""

    def test_of_a_switchvox(self) -> None:
        """Its password is one of them."""
        password = self.directory / "switchvox.password"
        password.write_text("hush")
        switchvox = SwitchvoxConfig("https://pbx.example.com", "c2c-agent", str(password))
        self.config = evolve(self.config, switchvox=switchvox)
        for mode, names in ((0o600, []), (0o644, [f"file {password}"])):
            password.chmod(mode)
            found = [finding.name for finding in configuration.findings(self.config)]
            assert [name for name in found if name.startswith("file ")] == names


class TheStore(CheckTest):
    """The store's file. It does not end the check either."""

    def test_cannot_be_written(self) -> None:
        """Which directory has to be the agent's."""
        (self.directory / "file").write_text("")
        path = self.directory / "file" / "c2c.sqlite3"
        self.config = evolve(self.config, store=StoreConfig(path=str(path)))
        findings = self.check()
        [failed] = [finding for finding in findings if finding.failed]
        assert failed.name == "store"
        assert str(path) in failed.message
        assert f"Make {path.parent} a directory" in failed.advice
        assert findings[-1].name == "test call"

    def test_a_database(self) -> None:
        """Reached, and of a known schema; a file with its password that is for all to read."""
        password = self.directory / "database.password"
        password.write_text("hush")
        password.chmod(0o644)
        url = "postgresql://c2c@db.example.com/c2c"
        store = StoreConfig(url=url, password_file=str(password), directory=str(self.directory))
        self.config = evolve(self.config, store=store, asterisk=None)
        for found, message, words in (
            ((3, 3), f"{url} is reached", ""),
            ((3, 0), f"{url} is reached; its tables will be made by the first start", ""),
            ((3, 4), f"{url} is of a newer version of c2c-agent.", "Install the version"),
            (StoreError("no"), f"{url} cannot be used: no", "See that the server runs"),
        ):
            with mock.patch("c2c_agent.check.configuration.database_versions", side_effect=[found]):
                findings = self.check()
            [store_found] = [finding for finding in findings if finding.name == "store"]
            assert store_found.message == message
            assert words in (store_found.advice or "")
            assert f"file {password}" in [finding.name for finding in findings]

    def test_not_made(self) -> None:
        """A check before the first start, by root perhaps, leaves no file behind."""
        self.check()
        assert not (self.directory / "c2c.sqlite3").exists()

    def the_finding(self) -> Finding:
        """What is said of the store."""
        [found] = [finding for finding in self.check() if finding.name == "store"]
        return found

    def made(self) -> Path:
        """The store of an agent that has run."""
        path = self.directory / "c2c.sqlite3"
        reactor: Any = global_reactor
        store = Store(str(path), reactor)
        store.open()
        store.close()
        return path

    def test_left_as_it_was(self) -> None:
        """The check of an agent's store does it no harm."""
        path = self.made()
        before = path.read_bytes()
        assert self.the_finding() == Finding("store", f"{path} can be written")
        assert path.read_bytes() == before

    def test_no_store(self) -> None:
        """A file that is none is named, with SQLite's words."""
        path = self.directory / "c2c.sqlite3"
        path.write_text("This is no database. " * 100)
        found = self.the_finding()
        assert found.failed
        assert f"{path} cannot be used: file is not a database" in found.message

    def test_a_newer_one(self) -> None:
        """A store that this version does not know."""
        path = self.made()
        with closing(sqlite3.connect(path)) as store, store:
            store.execute("UPDATE schema_version SET version = 99")
        found = self.the_finding()
        assert found.failed
        assert "newer version" in found.message

    def test_of_another_user(self) -> None:
        """Who has run the agent by hand, as root, is told how to give the store back."""
        path = self.made()
        stat = os.stat_result((0o100640, 0, 0, 1, 54321, 0, 0, 0, 0, 0))
        original = Path.stat

        def of_another(file: Path, **keywords: bool) -> os.stat_result:
            return stat if file == path else original(file, **keywords)

        with mock.patch.object(Path, "stat", of_another):
            found = self.the_finding()
        assert found.failed
        assert "belongs to the user 54321" in found.message
        assert found.advice == f"chown --reference={self.directory} {path}*"


class TheWhole(CheckTest):
    """What no single check looks at: whether the agent could be made of it all."""

    def test_a_name_of_every_host(self) -> None:
        """A warning: calls work, but nobody can tell whose they are."""
        for name in ("localhost", "localhost.localdomain"):
            self.config = evolve(self.config, server_id=name)
            [warned] = [finding for finding in self.check() if finding.warning]
            assert warned.name == "server_id"
            assert f"is {name}" in warned.message

    def test_a_listener_that_cannot_be(self) -> None:
        """It is said at last, whatever else is well."""
        self.config = evolve(self.config, http=HttpConfig(listen="ssl:1:privateKey=/nonexistent"))
        failed = self.failed()
        assert failed.name == "configuration"
        assert "http.listen: /nonexistent: a certificate with its key" in failed.message
        assert failed.advice == "Correct this, and check again."

    def test_without_an_asterisk(self) -> None:
        """It is said there, too."""
        receiver = WebhookConfig("crm", "http://127.0.0.1:9/", str(self.directory / "whsec"))
        self.config = evolve(self.config, asterisk=None, webhooks=[receiver])
        assert f"{self.directory / 'whsec'}: this file must hold the secret" in (
            self.failed().message
        )

    def test_beside_another_trouble(self) -> None:
        """Both are said."""
        self.config = evolve(self.config, http=HttpConfig(listen="ssl:1:privateKey=/nonexistent"))
        self.pbx.contexts = set()
        failed = [finding.name for finding in self.check() if finding.failed]
        assert failed == ["context c2c-bridge", "configuration"]

    def test_said_already(self) -> None:
        """What another check has said, with advice of its own, is not said twice."""
        self.secret.unlink()
        assert self.failed().name == "AMI secret"

    def test_leaves_nothing(self) -> None:
        """No file is written that was not there."""
        before = sorted(self.directory.rglob("*"))
        self.check()
        assert sorted(self.directory.rglob("*")) == before
