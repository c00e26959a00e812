"""Keys in a database: the same rules as in the configuration, and what is wrong with which."""

from __future__ import annotations

import pytest

from c2c_agent.policy.keys import Key
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.service.key_table import usable
from c2c_agent.store.call_store import KeyRow

ZEROS = "0" * 64


def test_a_key() -> None:
    """Everything that a key of the configuration can have."""
    row = KeyRow("shop", ZEROS, {"allow": ["_1XX"], "agent": "pbx1", "per_minute": 60})
    key = Key("shop", ZEROS, allow=(parse_pattern("_1XX"),), agent="pbx1", per_minute=60)
    assert usable([row], {"crm"}) == ([key], [])


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
        (KeyRow("operator", ZEROS, {}), "the agent's own name"),
        (KeyRow("crm", ZEROS, {}), "the configuration has one of that name, which counts"),
    ],
)
def test_one_that_cannot_be_used(row: KeyRow, complaint: str) -> None:
    """It is named, with what is wrong; the others work."""
    good = KeyRow("shop", ZEROS, {})
    keys, complaints = usable([row, good], {"crm"})
    assert [key.name for key in keys] == ["shop"]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"key {row.name!r} of the store: ")
    assert complaint in complaints[0]
