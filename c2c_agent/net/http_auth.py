"""How a client shows an HTTP server who it is: Basic (RFC 7617) and Digest (RFC 7616).

Pure. A server's challenges are read, the best of them is chosen, and the `Authorization` header is
made. One quirk is met on purpose: an empty `qop` is taken for none, as in the older RFC 2069.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from c2c_agent.errors import C2CError

#: Text up to the next comma that stands in no quotes.
_PIECE: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER: Final = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s"]*)')
_SCHEME: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+(.*))?", re.DOTALL)

#: What a digest may be made with; the `-sess` variants and others are not understood.
_ALGORITHMS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
}

#: Bytes of a header that are looked at; no server asks with more.
_LONGEST: Final = 4096


class NoSchemeError(C2CError):
    """None of what the server asks for is understood; the message says what that is."""


@frozen
class Basic:
    """The server wants name and password as they are."""


@frozen
class Digest:
    """The server wants a digest that is made with its `nonce`.

    `qop`: the quality of protection is named in the answer. `stale`: only the nonce was too old.
    """

    realm: str
    nonce: str = field(repr=False)
    algorithm: str | None = None
    opaque: str | None = None
    qop: bool = False
    stale: bool = False


Scheme: TypeAlias = Basic | Digest


@frozen
class Credentials:
    """A name and its password."""

    username: str
    password: str = field(repr=False)


def choose(
    challenges: Iterable[str], wanted: Literal["auto", "basic", "digest"] = "auto"
) -> Scheme:
    """The scheme to answer the `WWW-Authenticate` headers with; Digest before Basic.

    Raises NoSchemeError where none is both understood and `wanted`.
    """
    offers = [offer for header in challenges for offer in _offers(header[:_LONGEST])]
    for name, parameters in offers:
        if name == "digest" and wanted != "basic":
            digest = _digest(parameters)
            if digest is not None:
                return digest
    if wanted != "digest" and any(name == "basic" for name, _ in offers):
        return Basic()
    names = ", ".join(sorted({name for name, _ in offers})) or "nothing"
    raise NoSchemeError(f"the server asks for {names}, which the agent does not support")


def authorization(
    scheme: Scheme, who: Credentials, *, method: str, uri: str, count: int, cnonce: str
) -> str:
    """The value of the `Authorization` header of one request.

    `count` is how often the nonce was used, this time included; `cnonce` is a random word.
    """
    if isinstance(scheme, Basic):
        pair = f"{who.username}:{who.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def digest(text: str) -> str:
        made: str = _ALGORITHMS[(scheme.algorithm or "MD5").upper()](text.encode()).hexdigest()
        return made

    secret = digest(f"{who.username}:{scheme.realm}:{who.password}")
    request = digest(f"{method}:{uri}")
    fields = {
        "username": _quoted(who.username),
        "realm": _quoted(scheme.realm),
        "nonce": _quoted(scheme.nonce),
        "uri": _quoted(uri),
    }
    if scheme.qop:
        middle = f"{scheme.nonce}:{count:08x}:{cnonce}:auth"
        fields |= {"qop": "auth", "nc": f"{count:08x}", "cnonce": _quoted(cnonce)}
    else:
        middle = scheme.nonce
    fields["response"] = _quoted(digest(f"{secret}:{middle}:{request}"))
    if scheme.algorithm is not None:
        fields["algorithm"] = scheme.algorithm
    if scheme.opaque is not None:
        fields["opaque"] = _quoted(scheme.opaque)
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


def _digest(parameters: Mapping[str, str]) -> Digest | None:
    """A challenge that a digest can be made for; None for any other."""
    algorithm = parameters.get("algorithm")
    offered = {word.strip().lower() for word in parameters.get("qop", "").split(",")} - {""}
    if (
        "nonce" not in parameters
        or (algorithm or "MD5").upper() not in _ALGORITHMS
        or (offered and "auth" not in offered)
    ):
        return None
    return Digest(
        realm=parameters.get("realm", ""),
        nonce=parameters["nonce"],
        algorithm=algorithm,
        opaque=parameters.get("opaque"),
        qop=bool(offered),
        stale=parameters.get("stale", "").lower() == "true",
    )


def _offers(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The challenges of a header: the scheme's name in small letters, and its parameters."""
    name: str | None = None
    parameters: dict[str, str] = {}
    for piece in _PIECE.findall(header):
        text = piece.strip()
        parameter = _PARAMETER.fullmatch(text)
        if parameter is None:
            scheme = _SCHEME.fullmatch(text)
            if scheme is None:
                continue
            if name is not None:
                yield name, parameters
            name, parameters = scheme[1].lower(), {}
            parameter = _PARAMETER.fullmatch((scheme[2] or "").strip())
        if parameter is not None:
            parameters.setdefault(parameter[1].lower(), _unquoted(parameter[2]))
    if name is not None:
        yield name, parameters


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
