"""The keys that open the agent: of the configuration, of the database, and of its own host.

Keys of the database are read by the same rules as those of the configuration. What cannot be used
is left out and named, and the others work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from twisted.logger import Logger

from c2c_agent.config.parse import parse_key
from c2c_agent.errors import ConfigError, of_setting
from c2c_agent.host.clock import check_timezone
from c2c_agent.host.files import write_anew
from c2c_agent.policy.keys import (
    OPERATOR,
    Key,
    KeyRing,
    is_secret,
    key_digest,
    new_secret,
    operator_key,
)
from c2c_agent.store.call_store import KeyRow

_log = Logger()


class AgentKeys:
    """All keys that are valid at present: they are in `ring`.

    `configured` are those of the configuration. `forbid` hears the names of keys that are valid no
    more. Raises ConfigError for a time zone that this host does not know.
    """

    def __init__(
        self, configured: Sequence[Key], forbid: Callable[[Collection[str]], None]
    ) -> None:
        for index, key in enumerate(configured):
            if key.timezone is not None:
                with of_setting(f"keys[{index}].timezone"):
                    check_timezone(key.timezone)
        self._configured = configured
        self._rows: Sequence[KeyRow] = ()  # in the database
        self._operator_sha256: str | None = None  # None: before `open`
        self._forbid = forbid
        self.ring = KeyRing(self._all())

    def open(self, operator_file: Path) -> None:
        """Take the key of this host's command line; make it where there is none.

        Raises ConfigError.
        """
        self._operator_sha256 = key_digest(_operator_secret(operator_file))
        self._change()

    def configure(self, keys: Sequence[Key]) -> None:
        """Take the keys of another configuration."""
        self._configured = keys
        self._change()

    def take(self, rows: Sequence[KeyRow]) -> None:
        """Take the table of keys, as it is now in the database."""
        self._rows = rows
        self._change()
        _log.info("the store holds {count} keys", count=len(rows))

    def _change(self) -> None:
        """Hold the keys as they are now; who follows with one that is no more is let go."""
        keys = self._all()
        kept = {(key.name, key.sha256, key.console) for key in keys}
        changed = [key.name for key in self.ring if (key.name, key.sha256, key.console) not in kept]
        self._forbid(changed)
        self.ring.change(keys)

    def _all(self) -> list[Key]:
        shared, complaints = usable(self._rows, self._configured, self._operator_sha256)
        for complaint in complaints:
            _log.warn("left out: {complaint}", complaint=complaint)
        keys = [*filter(_has_its_timezone, shared), *self._configured]
        if self._operator_sha256 is None:
            return keys
        return [*keys, operator_key(self._operator_sha256, keys)]


def usable(
    rows: Iterable[KeyRow], configured: Iterable[Key], operator_sha256: str | None = None
) -> tuple[list[Key], list[str]]:
    """The keys of these rows, and what is wrong with the others.

    Names and secrets of `configured` keys are theirs alone, as is that of the agent's own host.
    """
    names, secrets = set(), {operator_sha256: OPERATOR}
    for key in configured:
        names.add(key.name)
        secrets[key.sha256] = key.name
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
            complaints.append(f"{place}: this name is reserved for the host's own key")
        elif key.name in names:
            complaints.append(
                f"{place}: the configuration has a key of this name, which takes precedence"
            )
        elif key.sha256 in secrets:
            complaints.append(f"{place}: sha256: is that of the key {secrets[key.sha256]!r}")
        else:
            secrets[key.sha256] = key.name
            keys.append(key)
    return keys, complaints


def _fields(row: KeyRow, place: str) -> Mapping[str, object]:
    if not isinstance(row.settings, Mapping):
        raise ConfigError(f"{place}: settings must be a JSON object")
    twice = sorted({"name", "sha256"} & row.settings.keys())
    if twice:
        raise ConfigError(f"{place}: settings.{twice[0]}: has a column of its own")
    return {"name": row.name, "sha256": row.sha256, **row.settings}


def _has_its_timezone(key: Key) -> bool:
    """Whether the host knows a key's time zone; where not, the log says so."""
    try:
        if key.timezone is not None:
            check_timezone(key.timezone)
    except ConfigError as error:
        _log.warn("left out: key {name!r} of the store: {why}", name=key.name, why=str(error))
        return False
    return True


def _operator_secret(file: Path) -> str:
    """The secret by which the command line on this host knows itself to the agent.

    Made at the first start, readable for the agent's user and root alone; made anew where a full
    disk has left less than a key. Raises ConfigError.
    """
    try:
        if file.exists():
            secret = file.read_bytes().decode("ascii", "replace").strip()
            if is_secret(secret):
                return secret
        return _make_operator_secret(file)
    except OSError as error:
        message = f"the key of this host's command line, {file}: {error.strerror}"
        raise ConfigError(message) from error


def _make_operator_secret(file: Path) -> str:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    secret = new_secret()
    write_anew(file, f"{secret}\n".encode("ascii"), 0o600)
    return secret
