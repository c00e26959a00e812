"""What a client sent over HTTP: its parameters, and the address that it is from.

Pure. `read_parameters` makes one mapping of query string and body, and lists what is wrong with
them. `Proxies` knows whose word counts for the client's address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from email import message_from_bytes
from email.message import Message
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from sys import intern
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from attrs import field, frozen

from c2c_agent.call.job import DEEPEST
from c2c_agent.call.number import opens_number
from c2c_agent.config.rules import UNIX
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.text import finite, no_constant

#: Bytes of a body that are read; no request of the API comes near.
BODY_LIMIT: Final = 64 * 1024

_MOST_FIELDS: Final = 100
_LONGEST_BOUNDARY: Final = 70  # RFC 2046, section 5.1.1

#: A parameter up to the first plus in it that is not escaped. Who has escaped ASCII in front of it,
#: but for blanks, has escaped a plus as well, and means a blank by one that is not. So does who has
#: one that is escaped behind it.
_TO_PLUS: Final = re.compile(
    r"((?:^|&)[^&=]*=)((?:[^&+%]|%20|%[89A-F][0-9A-F])*+)\+(?!\+*%2B)", re.IGNORECASE
)

_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"

#: What a flag and the text that means it have in common.
_FLAGS: Final = {True: ("true", "1"), False: ("false", "0")}


@frozen
class Parameters:
    """The parameters of a request, and what was wrong with the way they were sent.

    `secrets` are all keys among them, also those that another one has taken the place of.
    """

    values: Mapping[str, object] = field(factory=dict)
    faults: tuple[Fault, ...] = ()
    secrets: frozenset[str] = field(factory=frozenset, repr=False)


def read_parameters(
    query: bytes, content_type: str, body: bytes, *, oversized: bool = False
) -> Parameters:
    """Put the parameters of query string and body together.

    A body is JSON where the Content-Type says so or it begins like JSON, parts where that says so
    (RFC 7578), else a form. One parameter in two places counts as given twice, which is a fault
    unless both say the same.
    """
    values: dict[str, object] = {}
    faults: list[str] = []
    given: list[tuple[str, object]] = [*_form(query, faults, "query string")]
    if oversized:
        faults.append(f"The body is longer than {BODY_LIMIT} bytes.")
    elif body.strip():
        given += _body(content_type, body, faults)
    _collect(values, faults, given)
    return Parameters(
        values,
        tuple(Fault(ErrorCode.INVALID_PARAMETER, text) for text in faults),
        frozenset(value for name, value in given if name == "api_key" and isinstance(value, str))
        - {""},
    )


def _body(content_type: str, body: bytes, faults: list[str]) -> Iterable[tuple[str, object]]:
    """The parameters in a body."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _MULTIPART:
        return _parts(content_type, body, faults)
    # Many clients forget to say so, or say that it is a form (`curl -d`); no form of ours begins
    # like that, and a whole body would become the name of a parameter.
    if kind.endswith("json") or body.lstrip(_BLANK)[:1] in {b"{", b"["}:
        return _json(body, faults)
    fields = _form(body, faults, "body")
    if kind != _FORM and fields and b"=" not in body:
        said = f"it has the Content-Type {kind[:40]!a}" if kind else "it has no Content-Type"
        faults.append(
            f"The body was read as a form, because {said}, but it is none; "
            "send JSON with the Content-Type application/json, or a form."
        )
    return fields


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
        if known in given and not _same(given[known], value):
            twice.append(known)
        given[known] = value
    return given, twice


def _collect(
    values: dict[str, object], faults: list[str], fields: Iterable[tuple[str, object]]
) -> None:
    for name, value in fields:
        before = values.get(name)
        if before not in (None, "") and value in (None, ""):
            continue  # an empty one counts as not given
        if before not in (None, "") and not _same(before, value):
            faults.append(f"{name[:40]!r} is given twice.")
        values[intern(name)] = value  # kept with the call: one copy for all


def _same(one: object, other: object) -> bool:
    """Whether two values say the same, perhaps one as text and the other as JSON has it."""
    if isinstance(one, bool) is not isinstance(other, bool):
        flag, text = (one, other) if isinstance(one, bool) else (other, one)
        return text in _FLAGS[bool(flag)]
    return one == other or str(one) == str(other)


def _form(data: bytes, faults: list[str], where: str) -> list[tuple[str, str]]:
    try:
        # It is meant as a plus, though forms write blanks that way; read as a blank it would be
        # dropped, and another number be dialled.
        text = _TO_PLUS.sub(_leading_plus, data.decode("ascii"))
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:  # not ASCII, not UTF-8 behind the percent signs, or too many fields
        faults.append(
            f"The {where} is no form of parameters (name=value&…, percent-encoded UTF-8)."
        )
        return []


def _leading_plus(found: re.Match[str]) -> str:
    """A parameter up to its first plus, with the plus escaped if a number begins with it."""
    name, before = found.groups()
    return f"{name}{before}%2B" if opens_number(unquote(before, errors="strict")) else found[0]


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


def _parts(content_type: str, body: bytes, faults: list[str]) -> list[tuple[str, str]]:
    """The fields of a body in parts, each with a name and a text (RFC 7578)."""
    try:
        return [_part(part) for part in _divided(content_type, body)]
    except ValueError:  # that of UTF-8 is one
        faults.append(
            "The body is no multipart/form-data (RFC 7578) of at most "
            f"{_MOST_FIELDS} named texts in UTF-8."
        )
        return []


def _divided(content_type: str, body: bytes) -> list[bytes]:
    """What stands between the boundaries of a body (RFC 2046, section 5.1.1)."""
    header = Message()
    header["content-type"] = content_type.encode("ascii").decode()
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise ValueError("no boundary")
    _, *parts, end = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("ascii"))
    if not parts or len(parts) > _MOST_FIELDS or not end.startswith(b"--"):
        raise ValueError("no parts, too many, or no end")
    return parts


def _part(part: bytes) -> tuple[str, str]:
    """Name and text of a part."""
    line_end, _, rest = part.partition(b"\r\n")
    head, blank_line, text = rest.partition(b"\r\n\r\n")
    headers = message_from_bytes(head)
    name = headers.get_param("name", header="content-disposition")
    encoding = headers.get("content-transfer-encoding", "8bit").strip().lower()
    if (
        line_end.strip(b" \t")
        or not blank_line
        or headers.get_content_disposition() != "form-data"
        or headers.get_filename() is not None
        or encoding not in {"7bit", "8bit", "binary"}
        or not isinstance(name, str)
    ):
        raise ValueError("no field")
    return name.encode("ascii", "surrogateescape").decode(), text.decode()


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
