"""What the description of a listener says: its kind, its place, and how it is reached.

Pure. Descriptions are Twisted's (twisted.internet.endpoints.serverFromString): fields between
colons, the first of them the kind, with a backslash before a colon, an equals sign or a backslash
that belongs to a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from attrs import field, frozen

#: A field's text: anything with a backslash before it, and anything but what separates fields.
_FIELD: Final = re.compile(r"((?:\\.|[^\\:])*)(:|\Z)", re.DOTALL)
_NAMED: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)

#: Of each kind, the name of the field that may stand without one, and of those that it may have.
_KINDS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "tcp": ("port", frozenset({"interface", "backlog"})),
    "tcp6": ("port", frozenset({"interface", "backlog"})),
    "ssl": (
        "port",
        frozenset(
            {"interface", "backlog", "privateKey", "certKey", "extraCertChain", "dhParameters"}
        ),
    ),
    "unix": ("address", frozenset({"mode", "backlog", "lockfile"})),
}

_HIGHEST_PORT: Final = 65535

#: Bytes of a UNIX socket's path (unix(7), sun_path with its end).
_LONGEST_PATH: Final = 107


@frozen
class Listening:
    """A listener's description, read. `place` is a port, or the path of a UNIX socket."""

    kind: str
    place: str
    fields: Mapping[str, str] = field(factory=dict)

    @property
    def port(self) -> int | None:
        """The TCP port; None for a UNIX socket."""
        return None if self.kind == "unix" else int(self.place)

    @property
    def host(self) -> str:
        """Where its own host reaches it: a wildcard is the loopback interface. Empty for a path."""
        if self.kind == "unix":
            return ""
        interface = self.fields.get("interface", "")
        if self.kind == "tcp6" and interface in {"", "::"}:
            return "::1"
        return "127.0.0.1" if interface in {"", "0.0.0.0", "::"} else interface  # noqa: S104

    @property
    def address(self) -> str | None:
        """`host:port`, an IPv6 address in brackets; None for a UNIX socket."""
        if self.kind == "unix":
            return None
        return f"[{self.host}]:{self.place}" if ":" in self.host else f"{self.host}:{self.place}"

    @property
    def is_open(self) -> bool:
        """Whether others than this host may reach it."""
        if self.kind == "unix":
            return False
        interface = self.fields.get("interface", "")
        try:
            return not interface or not ip_address(interface).is_loopback
        except ValueError:
            return interface != "localhost"


def listening(description: str, *kinds: str) -> Listening:
    """What a description says; raises ValueError, with what would be right, for any other.

    `kinds` are those that may be; without any, all that are known.
    """
    kinds = kinds or tuple(_KINDS)
    kind, *texts = _fields(description)
    if kind not in kinds:
        wanted = ", ".join(f"{one}:" for one in kinds)
        raise ValueError(f"must begin with one of {wanted} not {description!r}")
    first, known = _KINDS[kind]
    values: dict[str, str] = {}
    for text in texts:
        named = _NAMED.fullmatch(text)
        name, value = named.groups() if named is not None else (first, text)
        if name not in {first, *known} or name in values:
            what = "twice" if name in values else f"unknown to {kind}:"
            raise ValueError(f"{name} is {what} in {description!r}")
        values[name] = _ESCAPED.sub(r"\1", value)
    place = values.pop(first, "")
    _check_place(kind, place, description)
    _check_fields(kind, values, description)
    return Listening(kind, place, values)


def _fields(description: str) -> list[str]:
    found = list(_FIELD.finditer(description))
    if len(found) > 1 and not found[-2][2]:
        found.pop()  # nothing, behind the end
    return [match[1] for match in found]


def _check_place(kind: str, place: str, description: str) -> None:
    if kind == "unix":
        if not place.startswith("/") or len(place.encode()) > _LONGEST_PATH:
            advice = f"must name a path from / on, of at most {_LONGEST_PATH} bytes"
            raise ValueError(f"{advice}, not {description!r}")
    elif not re.fullmatch("[0-9]{1,5}", place) or int(place) > _HIGHEST_PORT:
        raise ValueError(f"must name a port up to {_HIGHEST_PORT}, not {description!r}")


def _check_fields(kind: str, values: Mapping[str, str], description: str) -> None:
    for name, right in (("backlog", "[0-9]{1,6}"), ("mode", "[0-7]{3,4}"), ("lockfile", "[01]")):
        if re.fullmatch(right, values.get(name, "1" if name == "lockfile" else "000")) is None:
            raise ValueError(f"{name} is impossible in {description!r}")
    interface = values.get("interface", "")
    is_ipv6 = ":" in interface
    if kind == "tcp6" and interface and not is_ipv6:
        raise ValueError(f"interface must be an IPv6 address in {description!r}")
    if is_ipv6:
        try:
            ip_address(interface)
        except ValueError:
            raise ValueError(f"interface is no address in {description!r}") from None
    if kind == "ssl" and "privateKey" not in values:
        raise ValueError(f"privateKey is missing in {description!r}")
