"""What a client sent over HTTP: its parameters, and the address that it is from.

Pure. `read_parameters` makes one mapping of query string and body, and lists what is wrong with
them. `Proxies` knows whose word counts for the client's address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from sys import intern
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from attrs import field, frozen

from c2c_agent.call.job import DEEPEST
from c2c_agent.config.rules import UNIX
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.text import finite, no_constant

#: Bytes of a body that are read; no request of the API comes near.
BODY_LIMIT: Final = 64 * 1024

_MOST_FIELDS: Final = 100

#: A plus that a number begins with, perhaps behind `tel:`, slashes, brackets, and what nobody sees.
#: Of these ASCII as it is, but for blanks: who has that escaped has escaped the plus as well, and
#: means a blank by one that is not. So does who has one that is escaped behind it.
_LEADING_PLUS: Final = re.compile(
    r"=((?:%20)*(?:(?:tel|callto):)?(?:[/().-]|%20|%[89A-F][0-9A-F])*)\+(?!\+*%2B)", re.IGNORECASE
)


@frozen
class Parameters:
    """The parameters of a request, and what was wrong with the way they were sent."""

    values: Mapping[str, object] = field(factory=dict)
    faults: tuple[Fault, ...] = ()


def read_parameters(
    query: bytes, content_type: str, body: bytes, *, oversized: bool = False
) -> Parameters:
    """Put the parameters of query string and body together.

    A body is JSON where the Content-Type says so, else a form. One parameter in two places counts
    as given twice, which is a fault unless both say the same.
    """
    values: dict[str, object] = {}
    faults: list[str] = []
    _collect(values, faults, _form(query, faults, "query string"))
    if oversized:
        faults.append(f"The body is longer than {BODY_LIMIT} bytes.")
    elif body.strip():
        kind = content_type.partition(";")[0].strip().lower()
        fields = _json(body, faults) if kind.endswith("json") else _form(body, faults, "body")
        _collect(values, faults, fields)
    return Parameters(values, tuple(Fault(ErrorCode.INVALID_PARAMETER, text) for text in faults))


def renamed(
    values: Mapping[str, object], names: Mapping[str, str]
) -> tuple[dict[str, object], list[str]]:
    """Parameters under the names that they have here, and what was given twice by that.

    `names`: what a caller calls a parameter, and what it is called here.
    """
    given: dict[str, object] = {}
    twice: list[str] = []
    for name, value in values.items():
        known = names.get(name, name)
        if known in given and str(given[known]) != str(value):
            twice.append(known)
        given[known] = value
    return given, twice


def _collect(
    values: dict[str, object], faults: list[str], fields: Iterable[tuple[str, object]]
) -> None:
    for name, value in fields:
        if name in values and str(values[name]) != str(value):
            faults.append(f"{name[:40]!r} is given twice.")
        values[intern(name)] = value  # kept with the call: one copy for all


def _form(data: bytes, faults: list[str], where: str) -> list[tuple[str, str]]:
    try:
        # It is meant as a plus, though forms write blanks that way; read as a blank it would be
        # dropped, and another number be dialled.
        text = _LEADING_PLUS.sub(r"=\1%2B", data.decode("ascii"))
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:  # not ASCII, not UTF-8 behind the percent signs, or too many fields
        faults.append(
            f"The {where} is no form of parameters (name=value&…, percent-encoded UTF-8)."
        )
        return []


def _json(data: bytes, faults: list[str]) -> Iterable[tuple[str, object]]:
    try:
        pairs = json.loads(
            data, object_pairs_hook=_Pairs, parse_constant=no_constant, parse_float=finite
        )
        if isinstance(pairs, _Pairs):
            return [(name, _plain(value, DEEPEST)) for name, value in pairs]
    except (ValueError, RecursionError):
        faults.append("The body is no valid JSON, or too deeply nested.")
    else:
        faults.append("The body is no JSON object.")
    return []


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, with names that are repeated still in it."""


def _plain(value: object, depth: int) -> object:
    """The value with dictionaries in it, for the pairs that they were read as."""
    if not isinstance(value, list):
        return value
    if not depth:
        raise ValueError("too deeply nested")
    if isinstance(value, _Pairs):
        return {name: _plain(inner, depth - 1) for name, inner in value}
    return [_plain(inner, depth - 1) for inner in value]


Network: TypeAlias = IPv4Network | IPv6Network


#: Entries of X-Forwarded-For that are looked at: nobody has so many proxies of his own.
_MOST: Final = 20


class Proxies:
    """The proxies whose X-Forwarded-For is believed; without any, nobody's is."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusts_unix = UNIX in trusted
        self._trusted: tuple[Network, ...] = tuple(
            ip_network(text) for text in trusted if text != UNIX
        )

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address of the client, `peer` being the one that the connection is from.

        Each proxy adds to the right whom it heard from. So the list counts from the right, and
        only as far as it was written by trusted proxies; what stands further left, anybody may
        have written.
        """
        client = peer
        for heard_from in reversed(forwarded_for.split(",")[-_MOST:]):
            if not self._is_trusted(client):
                break
            address = _address(heard_from)
            if address is None:
                break
            client = address
        return client

    def _is_trusted(self, text: str) -> bool:
        if text == UNIX:
            return self._trusts_unix
        address = _address(text)
        return address is not None and any(ip_address(address) in net for net in self._trusted)


def _address(text: str) -> str | None:
    """An address in its canonical form. None if it is none, or has a zone: that may be any text."""
    if "%" in text:
        return None
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # a client of IPv4 at a listener of IPv6
    return str(mapped or address)
