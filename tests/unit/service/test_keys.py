"""The keys of an agent: those of a database, by the same rules, and that of its own host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from attrs import evolve
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.errors import ConfigError
from c2c_agent.policy.keys import Key
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.service.keys import AgentKeys, usable
from c2c_agent.store.call_store import KeyRow
from tests.fakes import CRM, SHOP

ZEROS = "0" * 64


def test_a_key() -> None:
    """Everything that a key of the configuration can have."""
    row = KeyRow("shop", ZEROS, {"allow": ["_1XX"], "agent": "pbx1", "per_minute": 60})
    key = Key("shop", ZEROS, allow=(parse_pattern("_1XX"),), agent="pbx1", per_minute=60)
    assert usable([row], [CRM]) == ([key], [])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (KeyRow("bad", ZEROS, {"allow": "_1XX"}), "allow: must be a list, not text ('_1XX')"),
        (KeyRow("bad", "abc", {}), "sha256 must be the 64 hexadecimal digits"),
        (KeyRow("bad", ZEROS, {"colour": 1}), "colour: is unknown"),
        (KeyRow("bad", ZEROS, {"per_minute": 0}), "per_minute"),
        (KeyRow("bad", ZEROS, ["allow"]), "settings must be a JSON object"),
        (KeyRow("bad", ZEROS, None), "settings must be a JSON object"),
        (KeyRow("bad", ZEROS, {"name": "x"}), "settings.name: has a column of its own"),
        (KeyRow("a name", ZEROS, {}), "name must be 1 to 64 letters"),
        (KeyRow("operator", ZEROS, {}), "reserved for the host"),
        (
            KeyRow("crm", ZEROS, {}),
            "the configuration has a key of this name, which takes precedence",
        ),
    ],
)
def test_one_that_cannot_be_used(row: KeyRow, complaint: str) -> None:
    """It is named, with what is wrong; the others work."""
    good = KeyRow("shop", ZEROS, {})
    keys, complaints = usable([row, good], [CRM])
    assert [key.name for key in keys] == ["shop"]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"key {row.name!r} of the store: ")
    assert complaint in complaints[0]


def test_secrets_that_are_taken() -> None:
    """A row that repeats one is left out and named, whosever it is; the first has it."""
    rows = [
        KeyRow("again", CRM.sha256, {"allow": ["_X."]}),
        KeyRow("host", "f" * 64, {}),
        KeyRow("one", ZEROS, {}),
        KeyRow("two", ZEROS, {"allow": ["_X."]}),
    ]
    keys, complaints = usable(rows, [CRM], "f" * 64)
    assert [key.name for key in keys] == ["one"]
    assert complaints == [
        "key 'again' of the store: sha256: is that of the key 'crm'",
        "key 'host' of the store: sha256: is that of the key 'operator'",
        "key 'two' of the store: sha256: is that of the key 'one'",
    ]


def test_a_secret_that_the_configuration_has_too(tmp_path: Path) -> None:
    """The policy of the configuration counts, and the log names the row."""
    keys = AgentKeys([CRM], lambda _names: None)
    keys.open(tmp_path / "operator.key")
    with capturedLogs() as logged:
        keys.take([KeyRow("wide", CRM.sha256, {"allow": ["_X."]})])
    assert [key.name for key in keys.ring] == ["crm", "operator"]
    told = [formatEvent(event) for event in logged]
    assert "left out: key 'wide' of the store: sha256: is that of the key 'crm'" in told


def opened(file: Path) -> AgentKeys:
    """The keys of an agent without any, as it starts."""
    keys = AgentKeys([], lambda _names: None)
    keys.open(file)
    return keys


def test_the_operator_s_key_is_made_once(tmp_path: Path) -> None:
    """For its user and root alone, whatever the umask; then it stays."""
    file = tmp_path / "state" / "operator.key"
    before = os.umask(0)
    try:
        first = opened(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750
    assert [each.name for each in file.parent.iterdir()] == ["operator.key"]
    secret = file.read_text().strip()
    assert secret.startswith("c2c_")
    second = opened(file)
    assert file.read_text().strip() == secret
    for keys in (first, second):
        found = keys.ring.find(secret)
        assert found is not None
        assert found.name == "operator"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff"])
def test_a_damaged_operator_s_key(tmp_path: Path, content: bytes) -> None:
    """One that was left empty by a full disk is made anew."""
    file = tmp_path / "operator.key"
    file.write_bytes(content)
    file.chmod(0o644)
    keys = opened(file)
    assert file.read_text().startswith("c2c_")
    assert keys.ring.find(file.read_text().strip()) is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_operator_s_key_that_cannot_be_made(tmp_path: Path) -> None:
    """Said in a line that names it."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigError, match=r"operator\.key: (Not a directory|File exists)"):
        opened(tmp_path / "state" / "operator.key")


def test_before_the_start() -> None:
    """There is no operator yet, and no file is asked for."""
    keys = AgentKeys([CRM], lambda _names: None)
    assert [*keys.ring] == [CRM]


def test_who_is_let_go(tmp_path: Path) -> None:
    """Who follows with a key that was taken away, got another secret, or lost its console."""
    forbidden: list[list[str]] = []
    keys = AgentKeys([CRM, SHOP], lambda names: forbidden.append(list(names)))
    keys.open(tmp_path / "operator.key")
    keys.configure([evolve(CRM, sha256="0" * 64), SHOP])
    keys.take([KeyRow("more", "1" * 64, {"allow": ["_XXX"]})])
    assert [key.name for key in keys.ring] == ["more", "crm", "shop", "operator"]
    keys.configure([SHOP])
    keys.take([])
    assert forbidden == [[], ["crm"], [], ["crm"], ["more"]]
    keys.configure([evolve(SHOP, console=True)])
    keys.configure([SHOP])
    assert forbidden[5:] == [["shop"], ["shop"]]


def test_a_time_zone_of_the_database(tmp_path: Path) -> None:
    """One that this host does not know leaves its key out, and the log says so."""
    keys = opened(tmp_path / "operator.key")
    settings = {"allow": ["_XXX"], "hours": ["Mo 08:00-18:00"], "timezone": "Mars/Olympus"}
    with capturedLogs() as logged:
        keys.take([KeyRow("crm", "0" * 64, settings), KeyRow("shop", "1" * 64, {})])
    assert [key.name for key in keys.ring] == ["shop", "operator"]
    assert formatEvent(logged[0]) == (
        "left out: key 'crm' of the store: configuration: the time zone 'Mars/Olympus' is not "
        "known here (see timedatectl)"
    )


def test_a_time_zone_of_the_configuration() -> None:
    """It is refused."""
    with pytest.raises(ConfigError, match="'Mars/Olympus' is not known here"):
        AgentKeys([evolve(CRM, timezone="Mars/Olympus")], lambda _names: None)
