"""AMI on the wire: bytes in, messages out; headers in, bytes out.

Pure: no Twisted, no clock, no I/O. `protocol` feeds a `Receiver` with what the socket gave, and
writes what `encode` makes of an action; nothing else in this program reads or makes AMI bytes.

Asterisk first sends a banner. Then it answers each action with a message that has a `Response`
header, and reports what happens with messages that have an `Event` header. A message is a run of
`Name: value` lines that ends with an empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from sys import intern
from typing import Final

from c2c_agent.errors import C2CError
from c2c_agent.text import decode, one_copy

#: What Asterisk's first line begins with (main/manager.c, `session_do`). The AMI version that
#: follows says little; CoreSettings tells Asterisk's own.
BANNER: Final = "Asterisk Call Manager/"

#: Bytes of a line, CRLF not counted, that Asterisk's input buffer takes (main/manager.c,
#: `get_input`). A longer one is thrown away and answered with two errors instead of one.
MAX_LINE: Final = 1022
#: Headers of a message to Asterisk, Action and ActionID among them (AST_MAX_MANHEADERS).
MAX_HEADERS: Final = 128

#: Bytes of a message from Asterisk. It has no limit of its own, but an EndpointDetail with 144
#: headers is 3 KB; what grows beyond this is no AMI, and would only fill our memory.
MAX_MESSAGE: Final = 1024 * 1024
#: Bytes of the banner, which has about 30. Who sends more without ending the line is no Asterisk.
MAX_BANNER: Final = 1024

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: The end of a message: of its last line, and of the empty line behind it.
_ENDING: Final = re.compile(rb"\n\r?\n")


class AmiError(C2CError):
    """Root of what can go wrong between this program and Asterisk's manager interface."""


class LocalAmiError(AmiError):
    """We were about to send something impossible. Nothing was sent."""


class RemoteAmiError(AmiError):
    """The peer sent something that no Asterisk sends."""


class Message:
    r"""A message from Asterisk: its headers, in order, never changed.

    `raw` is the message as it came, without its ending. Header names are looked up without regard
    to case, as Asterisk does it; of a repeated header the first wins. A line without a colon is no
    header and is passed over. Text is UTF-8; bytes that are not become `\xNN`.
    """

    # Most messages are asked for two or three of their headers. To search for these takes a third
    # of the time of an index of all, so there is none.
    __slots__ = ("_raw", "_searchable")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._searchable = b""  # made when it is first needed

    def get(self, name: str, default: str = "") -> str:
        """Return the value of the first header `name`, or `default`."""
        line_start = _line_start(name)
        searchable = self._searchable or self._make_searchable()
        found = searchable.find(line_start)
        if found < 0:
            return default
        # With the LF in front, everything stands one further to the right in `searchable`.
        begin = found + len(line_start) - 1
        end = searchable.find(b"\n", begin + 1) - 1
        return decode(self._raw[begin:end].removeprefix(b" ").removesuffix(b"\r"))

    def get_all(self, name: str) -> list[str]:
        """Return the values of all headers `name`, in order."""
        wanted = name.lower()
        return [value for name, value in self.headers if name.lower() == wanted]

    def __contains__(self, name: str) -> bool:
        return _line_start(name) in (self._searchable or self._make_searchable())

    def _make_searchable(self) -> bytes:
        # Every line stands between two LFs. bytes.lower() knows ASCII alone and keeps every length.
        self._searchable = b"\n" + self._raw.lower() + b"\n"
        return self._searchable

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers in order, repeated ones too. The list is the caller's own."""
        # Not splitlines(), for which a line also ends at U+2028 and others.
        lines = (line.partition(":") for line in decode(self._raw).split("\n"))
        # One blank stands behind the colon; a second one belongs to the value.
        return [
            (name, value.removeprefix(" ").removesuffix("\r"))
            for name, colon, value in lines
            if colon
        ]

    def as_dict(self) -> dict[str, str | list[str]]:
        """Return names to values, ready for JSON; the values of a repeated header as a list."""
        return headers_as_dict((name, one_copy(value)) for name, value in self.headers)

    @property
    def event(self) -> str:
        """The event's name; `""` in anything else."""
        # Asterisk puts Event first, and everybody asks for it; the search is for who does not.
        if self._raw.startswith(b"Event: "):
            return decode(self._raw[7:].partition(b"\n")[0].removesuffix(b"\r"))
        return self.get("Event")

    @property
    def response(self) -> str:
        """`Success`, `Error` or `Goodbye` in an answer. An OriginateResponse has one as well."""
        return self.get("Response")

    @property
    def action_id(self) -> str:
        """The ActionID of the action that this answers or follows from; `""` without one."""
        return self.get("ActionID")

    @property
    def is_event(self) -> bool:
        """Whether this reports something. OriginateResponse does, whatever its `Response`."""
        # Asterisk puts Event first; the search is for anybody who does not.
        return self._raw.startswith(b"Event:") or "Event" in self

    @property
    def is_response(self) -> bool:
        """Whether this answers an action."""
        return not self.is_event and "Response" in self

    def __eq__(self, other: object) -> bool:
        return self.headers == other.headers if isinstance(other, Message) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.headers))

    def __repr__(self) -> str:
        return f"Message({self._raw!r})"


class Receiver:
    """Makes messages of the bytes from Asterisk, wherever they were cut on their way.

    `banner` is the first line, `""` until it is there. CRLF and a bare LF both end a line.
    """

    def __init__(self) -> None:
        self.banner = ""
        self._buffer = bytearray()  # what is not a whole message yet
        self._fault = ""  # why nothing more can be read

    @property
    def unfinished(self) -> bool:
        """Whether part of a message has arrived, and the rest not yet."""
        return b":" in self._buffer

    def receive(self, data: bytes) -> list[Message]:
        """Take what has arrived; return the messages that are complete now.

        Raises RemoteAmiError for what is not AMI: another banner, or a banner or message beyond
        MAX_BANNER or MAX_MESSAGE bytes. If messages came before the fault in the same data, they
        are returned, and the next call raises. So does every call from then on.
        """
        if self._fault:
            raise RemoteAmiError(self._fault)
        # What was searched before is not searched again, but an ending may have been cut in it.
        unsearched = max(len(self._buffer) - 2, 0)
        self._buffer += data
        if not self.banner:
            unsearched = 0
            self._take_banner()
        messages = []
        if self.banner and not self._fault:
            if _ENDING.search(self._buffer, unsearched):
                messages = self._take_messages()
            # The two bytes are an ending that has not arrived as a whole.
            if len(self._buffer) > MAX_MESSAGE + 2:
                self._fault = f"the peer sent a message of more than {MAX_MESSAGE} bytes"
        if self._fault and not messages:
            raise RemoteAmiError(self._fault)
        return messages

    def _take_banner(self) -> None:
        line, line_end, rest = self._buffer.partition(b"\n")
        if len(line) > MAX_BANNER:
            self._fault = f"the peer sent no banner, but a line of more than {MAX_BANNER} bytes"
        elif line_end:
            banner = decode(line.removesuffix(b"\r"))
            if banner.startswith(BANNER):
                self.banner = banner
                self._buffer = rest
            else:
                self._fault = f"the peer is no Asterisk Manager Interface: it says {banner[:60]!r}"

    def _take_messages(self) -> list[Message]:
        messages = []
        *complete, rest = _ENDING.split(self._buffer)
        self._buffer = bytearray(rest)
        for raw in complete:
            if len(raw) > MAX_MESSAGE:
                self._fault = f"the peer sent a message of more than {MAX_MESSAGE} bytes"
                break
            # Without a colon there is no header. Such are the blank lines behind some of
            # Asterisk's error texts, which end with an LF of their own.
            if b":" in raw:
                messages.append(Message(raw))
        return messages


def encode(headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the message with these headers: the one place where outgoing text becomes bytes.

    Raises LocalAmiError, naming the header and never its value, for anything that Asterisk would
    take for something else: an empty or odd name; a control character, since even a bare LF starts
    a new header and two a new action; a line beyond MAX_LINE; none or more than MAX_HEADERS.
    """
    lines = [_encode_line(name, value) for name, value in headers]
    if not 0 < len(lines) <= MAX_HEADERS:
        raise LocalAmiError(f"a message has 1 to {MAX_HEADERS} headers, not {len(lines)}")
    return b"".join(lines) + b"\r\n"


def _encode_line(name: str, value: str) -> bytes:
    if _NAME.fullmatch(name) is None:
        raise LocalAmiError(f"{name[:40]!r} is no name of a header")
    if _CONTROL.search(value):
        raise LocalAmiError(f"{name}: a control character cannot be sent")
    try:
        line = f"{name}: {value}".encode()
    except UnicodeEncodeError:
        raise LocalAmiError(f"{name}: half a character (a lone surrogate) cannot be sent") from None
    if len(line) > MAX_LINE:
        raise LocalAmiError(f"{name}: {len(line)} bytes; Asterisk takes {MAX_LINE} in a line")
    return line + b"\r\n"


def headers_as_dict(headers: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return names to values, ready for JSON; the values of a repeated header as a list."""
    collected: dict[str, list[str]] = {}
    for name, value in headers:
        collected.setdefault(intern(name), []).append(value)  # kept with the call: one copy for all
    return {name: values[0] if len(values) == 1 else values for name, values in collected.items()}


@lru_cache(maxsize=256)  # of the few dozen names that this program looks up
def _line_start(name: str) -> bytes:
    return b"\n" + name.lower().encode(errors="backslashreplace") + b":"
