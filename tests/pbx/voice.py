"""What a phone says and hears: RTP of its own beside SIPp's signalling.

The phone speaks from the moment it offers a voice (183 or 200) until the call is over, fifty
packets a second as people's phones do. Without RTP Asterisk never takes Local channels out of the
path, which it does for real calls. It does not echo: two phones that echo throw each other's
packets back thousands of times a second.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, Final

from attrs import define

if TYPE_CHECKING:
    from tests.pbx.sip_trace import SipMessage, SipTrace

_PACKET_SECONDS: Final = 0.02
_SAMPLES: Final = 160  # of 8 kHz mu-law in 20 ms
_NEAR_SILENCE: Final = b"\xff\x7f\xfe\x7e" * (_SAMPLES // 4)
#: Near silence as it arrives, perhaps decoded and encoded again on the way. Tones are loud.
_QUIET: Final = frozenset(b"\xff\x7f\xfe\x7e")
_RTP_HEADER: Final = 12  # bytes
#: A key pressed, in packets: when the first is, and each further one after that, for how long, and
#: how often its end is said.
_PRESSED_AT: Final = 50
_NEXT_AFTER: Final = 25
_PRESSED_FOR: Final = 10
_SAID_AGAIN: Final = 3
_EVENT_TYPE: Final = 101  # as the phones' SDP says
_VOLUME: Final = 10  # -dBm0
_KEYS: Final = "0123456789*#ABCD"
_PLACE: Final = re.compile(r"^c=IN IP4 (\S+)$.*^m=audio (\d+) ", re.MULTILINE | re.DOTALL)


@define
class _Line:
    """One call's stream of voice to the other side."""

    target: tuple[str, int]
    source: int
    presses: str
    sent: int = 0

    def next_packet(self) -> bytes:
        """Return the next packet (RFC 3550, section 5.1; payload type 0 is PCMU)."""
        number, time = self.sent & 0xFFFF, (self.sent * _SAMPLES) & 0xFFFFFFFF
        self.sent += 1
        key, held = divmod(number - _PRESSED_AT, _NEXT_AFTER)
        if not 0 <= key < len(self.presses) or held >= _PRESSED_FOR:
            return struct.pack("!BBHII", 0x80, 0, number, time, self.source) + _NEAR_SILENCE
        # RFC 4733, section 2.3: one time stamp for the whole event, its end said three times.
        began = (number - held) * _SAMPLES
        last = 0x80 if held >= _PRESSED_FOR - _SAID_AGAIN else 0
        event = _KEYS.index(self.presses[key]), last | _VOLUME, (held + 1) * _SAMPLES
        header = struct.pack("!BBHII", 0x80, _EVENT_TYPE, number, began, self.source)
        return header + struct.pack("!BBH", *event)


class Voice:
    """A socket at which a phone is spoken to, and from which it speaks into all of its calls."""

    def __init__(self, address: str, presses: str = "") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._presses = presses
        self.heard = 0
        self.voices_heard = 0
        self._offered: dict[str, tuple[str, int]] = {}
        self._lines: dict[str, _Line] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, trace: SipTrace) -> None:
        """Begin to speak in the calls that the trace tells of."""
        self._thread = threading.Thread(target=self._speak, args=(trace,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _speak(self, trace: SipTrace) -> None:
        while not self._stopped.wait(_PACKET_SECONDS):
            for message in trace.new_messages():
                self._take(message)
            for line in self._lines.values():
                try:
                    self._socket.sendto(line.next_packet(), line.target)
                except OSError:
                    continue  # nobody listens there any more: a packet lost, as on any network
            self._listen()

    def _listen(self) -> None:
        """Count the packets that have come, and those with the voice of a phone."""
        try:
            while packet := self._socket.recv(2048):
                self.heard += 1
                self.voices_heard += _QUIET.issuperset(packet[_RTP_HEADER:])
        except OSError:
            return  # none is left

    def _take(self, message: SipMessage) -> None:
        call = message.header("Call-ID")
        place = _PLACE.search(message.body)
        if message.method in ("BYE", "CANCEL"):
            self._lines.pop(call, None)
        elif message.received and place:
            self._offered[call] = (place[1], int(place[2]))
        elif place and call in self._offered and call not in self._lines:
            source = len(self._lines) + self.port
            self._lines[call] = _Line(self._offered.pop(call), source, self._presses)
