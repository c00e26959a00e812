"""SIP messages and session descriptions as text, as far as a phone of the tests' own speaks them.

RFC 3261 for the messages, RFC 3264 and 4566 for what is offered and answered, RFC 2617 for the
answer to a challenge. `talker` is the phone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from tests.pbx.sound import BY_PAYLOAD_TYPE, Codec

_REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    481: "Call Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    603: "Decline",
}
_PLACE: Final = re.compile(r"^c=IN IP4 (\S+)", re.MULTILINE)
_AUDIO: Final = re.compile(r"^m=audio (\d+) \S+ ([\d ]+)", re.MULTILINE)
_DIRECTION: Final = re.compile(r"^a=(sendonly|recvonly|inactive|sendrecv)\s*$", re.MULTILINE)
_CHALLENGE: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


@frozen
class Sip:
    """A SIP message: its first line, its headers in order, its body."""

    start_line: str
    headers: Sequence[tuple[str, str]] = ()
    body: str = ""

    @classmethod
    def read(cls, data: bytes) -> Sip:
        """Read one as it came in a datagram."""
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        start_line, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(start_line, [(name.strip(), value.strip()) for name, _, value in pairs], body)

    def header(self, name: str) -> str:
        """The first header of a name; "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def status(self) -> int:
        """The status of a response; 0 for a request."""
        return int(self.start_line.split()[1]) if self.start_line.startswith("SIP/") else 0

    @property
    def method(self) -> str:
        """The method of a request, or that of the request which is answered."""
        return self.header("CSeq").rpartition(" ")[2]

    @property
    def number(self) -> int:
        """The number of CSeq."""
        return int(self.header("CSeq").split()[0])

    def to_bytes(self) -> bytes:
        """As it goes into a datagram."""
        lines = [self.start_line, *(f"{name}: {value}" for name, value in self.headers)]
        if self.body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(self.body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


def answer_to(request: Sip, status: int, *, tag: str, contact: str, body: str = "") -> Sip:
    """The answer to a request (RFC 3261, section 8.2.6)."""
    kept = [
        (name, value)
        for name, value in request.headers
        if name.lower() in ("via", "record-route", "from", "call-id", "cseq")
    ]
    to = request.header("To")
    if status > 100 and ";tag=" not in to:
        to += f";tag={tag}"
    return Sip(
        f"SIP/2.0 {status} {_REASONS.get(status, 'Because')}",
        [*kept, ("To", to), ("Contact", f"<{contact}>")],
        body,
    )


def authorization(challenge: str, method: str, uri: str, user: str, password: str) -> str:
    """The answer to a Digest challenge without qop, or with qop=auth (RFC 2617, section 3.2.2)."""
    asked = {name: quoted or plain for name, quoted, plain in _CHALLENGE.findall(challenge)}

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret = md5(user, asked["realm"], password)
    parts = {
        "username": f'"{user}"',
        "realm": f'"{asked["realm"]}"',
        "nonce": f'"{asked["nonce"]}"',
        "uri": f'"{uri}"',
        "algorithm": "MD5",
    }
    if "auth" in asked.get("qop", "").split(","):
        parts |= {"qop": "auth", "nc": "00000001", "cnonce": '"talker"'}
        proof = md5(secret, asked["nonce"], "00000001", "talker", "auth", md5(method, uri))
    else:
        proof = md5(secret, asked["nonce"], md5(method, uri))
    parts["response"] = f'"{proof}"'
    if "opaque" in asked:
        parts["opaque"] = f'"{asked["opaque"]}"'
    return "Digest " + ", ".join(f"{name}={value}" for name, value in parts.items())


@frozen
class Media:
    """What one side says in SDP of how it is spoken to."""

    host: str
    port: int
    codecs: Sequence[Codec]
    #: Whether it wants to hear anything at present: not on hold.
    listens: bool = True

    @classmethod
    def read(cls, body: str) -> Media | None:
        """From a body; None where it has no audio. Codecs that are not ours are left out."""
        place, audio = _PLACE.search(body), _AUDIO.search(body)
        if place is None or audio is None:
            return None
        types = map(int, audio[2].split())
        codecs = [BY_PAYLOAD_TYPE[one] for one in types if one in BY_PAYLOAD_TYPE]
        direction = _DIRECTION.search(body)
        listens = direction is None or direction[1] in ("sendrecv", "recvonly")
        return cls(place[1], int(audio[1]), codecs, listens)

    @property
    def place(self) -> tuple[str, int]:
        """Where its RTP goes."""
        return self.host, self.port


def describe(host: str, port: int, codecs: Iterable[Codec], version: int) -> str:
    """The SDP of a phone; `version` grows with every one of a call."""
    offered = list(codecs)
    types = " ".join(str(codec.payload_type) for codec in offered)
    lines = [
        "v=0",
        f"o=talker 1 {version} IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {types} 101",
        *(f"a=rtpmap:{codec.payload_type} {codec.name}/8000" for codec in offered),
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=sendrecv",
    ]
    return "\r\n".join(lines) + "\r\n"
