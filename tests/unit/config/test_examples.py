"""The example configurations that are shipped."""

from __future__ import annotations

from pathlib import Path

from c2c_agent.config.files import load
from c2c_agent.pbx.other.reading import read

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_pbxs() -> None:
    """Each of its PBXs is used by a key, and what is sent to the program is understood."""
    config = load(str(EXAMPLES / "pbxs.yml"))
    assert config.pbx_kinds == {
        "north": "asterisk",
        "south": "asterisk",
        "hotel": "switchvox",
        "dialer": "other",
    }
    assert {name for key in config.keys for name in key.pbx.values()} == {*config.pbxs}
    other = config.pbxs["dialer"].other
    assert other is not None
    assert read(other.value, other.where, other.files).base_url == "https://dialer.example.com"
