"""Keys that stand in a database, beside those of the configuration.

Pure. They are read by the same rules; what cannot be used is left out and named, and the others
work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from c2c_agent.config.parse import parse_key
from c2c_agent.errors import ConfigError
from c2c_agent.policy.keys import OPERATOR, Key
from c2c_agent.store.call_store import KeyRow


def usable(rows: Iterable[KeyRow], configured: Collection[str]) -> tuple[list[Key], list[str]]:
    """The keys of these rows, and what is wrong with the others.

    `configured` are the names in the configuration: each is that key's alone.
    """
    keys: list[Key] = []
    complaints: list[str] = []
    for row in rows:
        place = f"key {row.name!r} of the store"
        try:
            key = parse_key(_fields(row, place), place)
        except ConfigError as error:
            complaints.append(str(error))
            continue
        if key.name == OPERATOR:
            complaints.append(f"{place}: that is the agent's own name for its host's key")
        elif key.name in configured:
            complaints.append(f"{place}: the configuration has one of that name, which counts")
        else:
            keys.append(key)
    return keys, complaints


def _fields(row: KeyRow, place: str) -> Mapping[str, object]:
    if not isinstance(row.settings, Mapping):
        raise ConfigError(f"{place}: settings must be a JSON object")
    twice = sorted({"name", "sha256"} & row.settings.keys())
    if twice:
        raise ConfigError(f"{place}: settings.{twice[0]}: has a column of its own")
    return {"name": row.name, "sha256": row.sha256, **row.settings}
