"""What 0.1.0 left on a disk is opened, upgraded, and told of as 0.1.0 told it.

`tests/v0_1_0` has the files, and says how they came to be.
"""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import copy
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs
import pytest
import yaml
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from c2c_agent.call.call import CallState
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome
from c2c_agent.config import files
from c2c_agent.config.pbx import AgiConfig
from c2c_agent.pbx.asterisk.bridge import agi_url
from c2c_agent.pbx.asterisk.originate import make_plan
from c2c_agent.policy.hours import Hours, WeekTime
from c2c_agent.policy.pattern import Pattern
from c2c_agent.store.sqlite import care
from c2c_agent.store.sqlite.store import Store
from tests.upgrade_contract import TOLD, WRITTEN, StoreOf010, assert_told

CONFIGURATIONS: Final = json.loads((WRITTEN / "configurations.json").read_text(encoding="utf-8"))


class SqliteOf010(StoreOf010, TestCase):
    """A copy of the file."""

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "c2c.sqlite3"
        shutil.copy(WRITTEN / "c2c.sqlite3", self.path)
        self.store = self.opened(self.path)

    def opened(self, path: Path) -> Store:
        """A store on a file."""
        reactor_with_threads: Any = reactor
        store = Store(str(path), reactor_with_threads)
        store.open()
        self.addCleanup(store.close)
        return store

    def test_schema(self) -> None:
        """The upgraded file has the schema of a new one."""
        fresh = self.path.with_name("fresh.sqlite3")
        self.opened(fresh)
        assert schema(self.path) == schema(fresh)

    def test_sound(self) -> None:
        """`store check` reads all of it."""
        assert care.check(self.path) == len(TOLD["calls"])


def test_has_all() -> None:
    """There is a call for each state and each outcome that 0.1.0 knew."""
    calls = [told["status"]["c2c_status"]["call"] for told in TOLD["calls"]]
    assert {call["state"] for call in calls} == {state.value for state in CallState}
    assert {call["outcome"] for call in calls} - {None} == {one.value for one in Outcome}


def schema(path: Path) -> list[tuple[str, ...]]:
    """Each table with its columns, and each index with its statement."""
    with closing(sqlite3.connect(path)) as store:
        names = store.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        columns = [
            (name, *map(str, column))
            for (name,) in names.fetchall()
            for column in store.execute(f"PRAGMA table_info({name})")
        ]
        indices = store.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'")
        return columns + sorted((name, str(sql)) for name, sql in indices)


def plain(value: Any) -> Any:
    """A part of a configuration as JSON knows it; hours of the week as `[day, hour]`."""
    if isinstance(value, Hours):
        times = [(day, hour) for day in range(7) for hour in range(24)]
        return [[day, hour] for day, hour in times if value.include(WeekTime(day, 60 * hour))]
    if isinstance(value, Pattern):
        return value.text
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, tuple) else value


#: Defaults that are others on purpose, since 0.1.0: what they were, what they are.
CHANGED: Final = {
    # FreePBX and Wazo have a FastAGI server at 4573. The dialplan gets the URL with each call.
    ("asterisk", "agi", "listen"): (
        "tcp:4573:interface=127.0.0.1",
        "tcp:8475:interface=127.0.0.1",
    ),
    # Its Local channel leaves the talk, which then costs what an ordinary call does.
    ("asterisk", "second_leg"): (
        [{"match": text, "channel": "Local/{number}@{context}/n"} for text in ("_X.", "_!")],
        [{"match": text, "channel": "Local/{number}@{context}"} for text in ("_X.", "_!")],
    ),
}


def with_new_defaults(before: Any, document: Any) -> Any:
    """What 0.1.0 read, with the defaults of today where the file leaves a setting out."""
    before = copy.deepcopy(before)
    for path, (old, new) in CHANGED.items():
        section, given = before, document
        for name in path[:-1]:
            section = section[name] if section else None
            given = (given or {}).get(name, {})
        if section is not None and path[-1] not in (given or {}):
            assert section[path[-1]] == old
            section[path[-1]] = new
    return before


@pytest.mark.parametrize("name", ["setup.yml", "readme.yml"])
def test_fastagi_of_a_default(name: str) -> None:
    """An Asterisk of 0.1.0's setup finds the agent at its new port: each call says where it is."""
    asterisk = files.load(str(WRITTEN / name)).asterisk
    assert asterisk is not None
    url = agi_url(asterisk.agi)
    assert url == "agi://127.0.0.1:8475/c2c"
    job = CallJob("100", "200", "100", timeout=30)
    plan = make_plan(asterisk, "1-2", job, "phones", agi_url=url, max_duration=60)
    assert f"C2C_AGI={url}" in str(plan.data)
    shipped = Path(__file__).parents[1] / "asterisk-conf" / "c2c-bridge.conf"
    assert "AGI(${C2C_AGI}," in shipped.read_text(encoding="utf-8")


def test_fastagi_of_a_url() -> None:
    """Where 0.1.0 was given a URL alone, it listened at 4573, and so does this one."""
    assert AgiConfig(url="agi://127.0.0.1:4573/c2c").listen == "tcp:4573:interface=127.0.0.1"
    assert AgiConfig(url="agi://localhost/c2c").listen == "tcp:4573:interface=127.0.0.1"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configuration(name: str) -> None:
    """Each file of 0.1.0 is valid, and every setting in it means what it meant."""
    text = (WRITTEN / name).read_text(encoding="utf-8")
    before = with_new_defaults(CONFIGURATIONS[name], yaml.safe_load(text))
    if "server_id" not in text:
        del before["server_id"]  # the host's name
    assert_told(before, plain(files.load(str(WRITTEN / name))), name)
