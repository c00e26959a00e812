"""What a phone saw on the wire: SIPp's message trace, read as messages and as calls.

Times are those of `time.monotonic()`, so they compare with the witness's; lengths of ringing and
talking are measured here without asking Asterisk or the agent. SIPp stamps what it sends when it
sends it, and what comes when it reads it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Final

from attrs import frozen

from tests.pbx.moments import ahead

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEAD: Final = re.compile(
    rb"-{47} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})\n"
    rb"UDP message (received|sent) [\[(](\d+)(?:\] bytes :|\ bytes\):)\n\n"
)
_CALLER: Final = re.compile(r'^\s*(?:"((?:[^"\\]|\\.)*)"|([^<]*?))\s*<sips?:([^@>;]*)@')


@frozen
class SipMessage:
    """One SIP message that came to the phone (`received`) or left it."""

    at: float
    received: bool
    start_line: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def header(self, name: str) -> str:
        """Return the first header of that name, in whatever case; "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response belongs to."""
        return self.header("CSeq").rpartition(" ")[2]

    @property
    def status(self) -> int | None:
        """The status of a response; None for a request."""
        first, _, rest = self.start_line.partition(" ")
        return int(rest[:3]) if first.startswith("SIP/") else None

    @property
    def caller_name(self) -> str:
        """The display name of From: what the phone shows as the caller's name."""
        match = _CALLER.match(self.header("From"))
        return (match[1] or match[2] or "") if match else ""

    @property
    def caller_number(self) -> str:
        """The number of From: what the phone shows as the caller's number."""
        match = _CALLER.match(self.header("From"))
        return match[3] if match else ""


@frozen
class PhoneCall:
    """One call that came to a phone, as its messages tell it (retransmissions left out)."""

    messages: tuple[SipMessage, ...]

    @property
    def invite(self) -> SipMessage:
        """The INVITE that began the call."""
        return self.messages[0]

    @property
    def ringing_at(self) -> float | None:
        """When the phone said 180."""
        return self._when(sent=180)

    @property
    def early_media_at(self) -> float | None:
        """When the phone said 183."""
        return self._when(sent=183)

    @property
    def answered_at(self) -> float | None:
        """When the phone took the call."""
        return self._when(sent=200)

    @property
    def cancelled_at(self) -> float | None:
        """When the caller gave up."""
        return self._when(request="CANCEL")

    @property
    def ended_at(self) -> float | None:
        """When the call was over for the phone: hung up, refused, or given up by the caller."""
        return self._when(request="BYE") if self.answered_at else self._decided_at

    @property
    def final_status(self) -> int | None:
        """The phone's final answer to the INVITE."""
        finals = (m.status for m in self.messages if m.status and m.method == "INVITE")
        return next((status for status in finals if status >= 200), None)

    @property
    def hung_up_by(self) -> str | None:
        """Who ended the talk, "phone" or "pbx"; None while nobody has, or nobody answered."""
        bye = next((m for m in self.messages if m.start_line.startswith("BYE ")), None)
        if bye is None:
            return None
        return "pbx" if bye.received else "phone"

    @property
    def ring_seconds(self) -> float | None:
        """How long it rang, to whatever ended that; None if it never did or still does."""
        if self.ringing_at is None or self._decided_at is None:
            return None
        return self._decided_at - self.ringing_at

    @property
    def talk_seconds(self) -> float | None:
        """How long it was answered; None if it never was or still is."""
        if self.answered_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.answered_at

    @property
    def _decided_at(self) -> float | None:
        """When the phone's final answer left, or the caller gave up."""
        final = self._when(sent=self.final_status) if self.final_status else None
        return self.cancelled_at or final

    def _when(self, *, request: str | None = None, sent: int | None = None) -> float | None:
        """Return the time of the first such request, or of the first such answer to the INVITE."""
        for message in self.messages:
            if request is not None and message.start_line.startswith(f"{request} "):
                return message.at
            if sent is not None and message.status == sent and message.method == "INVITE":
                return message.at
        return None


class SipTrace:
    """Reads the trace of a running SIPp as far as it has been written, in whatever thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""
        self._messages: list[SipMessage] = []
        self._one_reader = Lock()

    def calls(self) -> list[PhoneCall]:
        """Return the calls so far, in the order in which they came."""
        self.new_messages()
        by_call: dict[str, list[SipMessage]] = {}
        for message in list(self._messages):
            by_call.setdefault(message.header("Call-ID"), []).append(message)
        return [
            PhoneCall(_without_repetitions(messages))
            for messages in by_call.values()
            if messages[0].start_line.startswith("INVITE ")
        ]

    def new_messages(self) -> list[SipMessage]:
        """Return what has come since the last time; a message that is not complete yet waits."""
        with self._one_reader:
            return self._new_messages()

    def _new_messages(self) -> list[SipMessage]:
        if not self._path.exists() or self._path.stat().st_size == self._read:
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        self._rest += new
        known = len(self._messages)
        # The trace has the wall clock's time; what it is ahead of the monotonic one.
        off = ahead()
        while (head := _HEAD.search(self._rest)) and len(self._rest) >= head.end() + int(head[3]):
            end = head.end() + int(head[3])
            at = datetime.strptime(head[1].decode(), "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
            text = self._rest[head.end() : end].decode("utf-8", "backslashreplace")
            self._messages.append(_message(at.timestamp() - off, head[2] == b"received", text))
            self._rest = self._rest[end:]
        return self._messages[known:]


def _message(at: float, received: bool, text: str) -> SipMessage:
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    start_line, *lines = head.split("\n")
    headers = (line.partition(":") for line in lines)
    return SipMessage(
        at=at,
        received=received,
        start_line=start_line,
        headers=tuple((name.strip(), value.strip()) for name, _, value in headers),
        body=body,
    )


def _without_repetitions(messages: Sequence[SipMessage]) -> tuple[SipMessage, ...]:
    """Leave out retransmissions: the same start line, CSeq and direction once more."""
    first: dict[tuple[bool, str, str], SipMessage] = {}
    for message in messages:
        first.setdefault((message.received, message.start_line, message.header("CSeq")), message)
    return tuple(first.values())
