"""Phones that really talk: SIP and RTP of the tests' own, from one thread.

Where `phones` has SIPp do with a call what a scenario says, a talker is there for what is said in
it: it says a tone of its own, fifty packets a second, and keeps what it hears, from whom. It takes
a new place for its voice in mid-call (re-INVITE: direct media), calls others, registers, and takes
any number of calls at once.
"""

from __future__ import annotations

import re
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from attrs import define, field, frozen

from tests.pbx.sip_text import Media, Sip, answer_to, authorization, describe
from tests.pbx.sound import (
    BY_PAYLOAD_TYPE,
    PACKET_SECONDS,
    PACKET_TICKS,
    ULAW,
    Codec,
    samples_of,
    share_of_tone,
    tone,
)
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_TICK: Final = 0.004  # calls take turns in it, as phones do that know nothing of each other
_TURNS: Final = round(PACKET_SECONDS / _TICK)
_AGAIN: Final = 0.5  # seconds, RFC 3261's T1
_TRIES: Final = 7
_PATIENCE: Final = 20.0
_RTP_HEADER: Final = struct.Struct("!BBHII")
#: Where a challenge stands, and where its answer goes.
_CHALLENGES: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}
_URI: Final = re.compile(r"<([^>]*)>|^([^;]*)")


@frozen
class Heard:
    """A packet of voice that came: when (time.monotonic()), from where, with what in it."""

    at: float
    source: tuple[str, int]
    payload_type: int
    payload: bytes


@define(eq=False)
class TalkerCall:
    """A call of a talker; read from any thread."""

    call_id: str
    phone: Talker
    placed: bool
    socket: socket.socket
    port: int
    request: Sip
    remote: tuple[str, int]
    #: SIP statuses that came of a call which was placed, in order.
    statuses: list[int] = field(factory=list)
    #: Where the other side wanted to be spoken to, each time that it said so.
    wanted: list[Media] = field(factory=list)
    answered_at: float | None = None
    ended_at: float | None = None
    #: Whether the talker itself ended the talk.
    hung_up: bool = False
    #: Whether nothing comes of it any more, as where its line is cut.
    mute: bool = False
    sent: int = 0
    received: int = 0
    #: Packets of voice by who they came from.
    sources: Counter[tuple[str, int]] = field(factory=Counter)
    heard: list[Heard] = field(factory=list)
    target: tuple[str, int] | None = None
    codec: Codec = ULAW
    _voice: Sequence[bytes] = ()
    _own_tag: str = ""
    _own_uri: str = ""
    _their_uri: str = ""
    _their_tag: str = ""
    _peer: str = ""
    _cseq: int = 1
    _version: int = 1

    @property
    def invite(self) -> Sip:
        """The INVITE that began it."""
        return self.request

    @property
    def talks(self) -> bool:
        """Whether it has been answered and nobody has hung up."""
        return self.answered_at is not None and self.ended_at is None

    def packets(self, since: float = 0.0, until: float = float("inf")) -> list[Heard]:
        """What was heard in a stretch of time."""
        return [one for one in self.heard if since <= one.at < until]

    def share_of(self, *hz: int, since: float = 0.0, until: float = float("inf")) -> float:
        """How much of what was heard in a stretch of time, 0 to 1, is these tones."""
        kinds = Counter(one.payload_type for one in self.packets(since, until))
        codec = next(
            (BY_PAYLOAD_TYPE[kind] for kind, _ in kinds.most_common() if kind in BY_PAYLOAD_TYPE),
            None,
        )
        if codec is None:
            return 0.0
        # Decoded from the beginning: what G.722 says depends on what it said before.
        packets = [one for one in self.heard if one.payload_type == codec.payload_type]
        samples = samples_of(codec, [one.payload for one in packets if one.at < until])
        kept = round(PACKET_SECONDS * codec.rate) * sum(since <= one.at < until for one in packets)
        return share_of_tone(samples[-kept:], codec.rate, *hz)

    def hears(self, *hz: int, seconds: float = 0.4) -> bool:
        """Whether these tones are what has been heard in the last moments."""
        now = time.monotonic()
        enough = seconds / PACKET_SECONDS / 2
        return len(self.packets(now - seconds)) > enough and (
            self.share_of(*hz, since=now - seconds) > 0.8
        )

    def heard_from(self, seconds: float = 0.4) -> set[tuple[str, int]]:
        """Who has spoken in the last moments."""
        return {one.source for one in self.packets(time.monotonic() - seconds)}


class Talker:
    """A phone of that number at that place, which talks.

    `codecs`: what it can, the dearest first. It rings for `ring_seconds` and then takes the call,
    or gives the status `final`; None rings until `answer` is called. `keeps`: whether the packets
    that it hears are kept, or only counted, for the sake of a load test.
    """

    def __init__(
        self,
        number: str,
        address: str,
        port: int,
        *,
        codecs: Sequence[Codec] = (ULAW,),
        hz: int | None = None,
        ring_seconds: float | None = 0.2,
        talk_seconds: float | None = None,
        final: int = 200,
        early_media: bool = False,
        keeps: bool = True,
    ) -> None:
        self.number = number
        self.address = address
        self.port = port
        self.codecs = tuple(codecs)
        self.hz = hz or 600 + 20 * (port % 37)
        self.ring_seconds = ring_seconds
        self.talk_seconds = talk_seconds
        self.final = final
        self.early_media = early_media
        self._keeps = keeps
        self.calls: list[TalkerCall] = []
        self._by_id: dict[str, TalkerCall] = {}
        self._selector = selectors.DefaultSelector()
        self._orders: list[Callable[[], None]] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._awaited: dict[tuple[str, str, int], Callable[[Sip], None]] = {}
        self._answers: dict[tuple[str, str, int], Sip] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._numbers = count(1)
        self._errors: list[BaseException] = []

    def __repr__(self) -> str:
        return f"<talker {self.number} at {self.address}:{self.port}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((self.address, self.port))
        self._socket.setblocking(False)
        self._selector.register(self._socket, selectors.EVENT_READ, self._read_sip)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, as if the plug were pulled. Raises what went wrong in its thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        for call in self.calls:
            call.socket.close()
        self._socket.close()
        if self._errors:
            raise self._errors[0]

    # What a test has it do

    def call(self, number: str, pbx: tuple[str, int], password: str = "") -> TalkerCall:
        """Call a number of a PBX."""
        call_id = f"{uuid4()}@{self.address}"
        uri = f"sip:{number}@{pbx[0]}"
        call = self._new_call(call_id, Sip(""), pbx, placed=True)
        call._own_uri, call._their_uri, call._peer = (
            f"<sip:{self.number}@{pbx[0]}>",
            f"<{uri}>",
            uri,
        )
        self._order(partial(self._invite, call, password))
        return call

    def register(
        self, pbx: tuple[str, int], contact: str, password: str, *, expires: int = 60
    ) -> int:
        """Register a contact of any text; the final status of the answer.

        `*` for 0 seconds takes all away that were registered.
        """
        answers: list[Sip] = []
        call_id = f"{uuid4()}@{self.address}"
        uri = f"sip:{pbx[0]}"

        def send(number: int, proof: str = "") -> None:
            headers = [
                ("From", f"<sip:{self.number}@{pbx[0]}>;tag={number}"),
                ("To", f"<sip:{self.number}@{pbx[0]}>"),
                ("Call-ID", call_id),
                ("CSeq", f"{number} REGISTER"),
                ("Contact", contact),
                ("Expires", str(expires)),
            ]
            if proof:
                headers.append(("Authorization", proof))
            self._send_request(Sip(f"REGISTER {uri} SIP/2.0", headers), pbx, took)

        def took(answer: Sip) -> None:
            if answer.status == 401 and answer.number == 1:
                challenge = answer.header("WWW-Authenticate")
                send(2, authorization(challenge, "REGISTER", uri, self.number, password))
            elif answer.status >= 200:
                answers.append(answer)

        self._order(partial(send, 1))
        wait_until(lambda: answers, _PATIENCE, f"{self} is registered or refused")
        return answers[0].status

    def answer(self, call: TalkerCall, status: int = 200) -> None:
        """Give the final answer to a call that rings."""
        self._order(partial(self._answer, call, status))

    def hang_up(self, call: TalkerCall) -> None:
        """End a talk, or give up a call that was placed."""
        self._order(partial(self._hang_up, call))

    def the_call(self, number: int = 0, timeout: float = _PATIENCE) -> TalkerCall:
        """The so-manieth call, as soon as there is one."""
        wait_until(lambda: len(self.calls) > number, timeout, f"{self} is called")
        return self.calls[number]

    # The thread

    def _order(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._orders.append(work)

    def _after(self, seconds: float, work: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, work))

    def _run(self) -> None:
        turn, due = 0, time.monotonic()
        while not self._stopped.is_set():
            try:
                for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                    key.data()
                self._do_what_is_due()
                if (now := time.monotonic()) >= due:
                    due = max(due + _TICK, now - PACKET_SECONDS)
                    turn += 1
                    for call in self.calls[turn % _TURNS :: _TURNS]:
                        self._speak(call)
            except Exception as error:  # noqa: BLE001 - told by `stop`
                self._errors.append(error)

    def _do_what_is_due(self) -> None:
        with self._lock:
            orders, self._orders = self._orders, []
        now = time.monotonic()
        due = [work for at, work in self._timers if at <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for work in (*orders, *due):
            work()

    # Voice

    def _speak(self, call: TalkerCall) -> None:
        if call.target is None or call.mute:
            return
        if not call._voice:
            call._voice = tone(call.codec, self.hz)
        number = call.sent
        header = _RTP_HEADER.pack(
            0x80,
            call.codec.payload_type,
            number & 0xFFFF,
            number * PACKET_TICKS & 0xFFFFFFFF,
            call.port,
        )
        call.sent += 1
        try:
            call.socket.sendto(header + call._voice[number % len(call._voice)], call.target)
        except OSError:
            return  # nobody listens there any more: a packet lost, as on any network

    def _listen(self, call: TalkerCall) -> None:
        try:
            while True:
                packet, source = call.socket.recvfrom(2048)
                call.received += 1
                call.sources[source] += 1
                if self._keeps:
                    kind = packet[1] & 0x7F
                    call.heard.append(Heard(time.monotonic(), source, kind, packet[12:]))
        except OSError:
            return  # none is left

    # SIP

    def _read_sip(self) -> None:
        try:
            while True:
                data, source = self._socket.recvfrom(65536)
                if data.strip():
                    self._take(Sip.read(data), source)
        except OSError:
            return

    def _take(self, message: Sip, source: tuple[str, int]) -> None:
        key = (message.header("Call-ID"), message.method, message.number)
        if message.status:
            took = self._awaited.get(key)
            if took is not None:
                took(message)
            return
        again = self._answers.get(key)
        if again is not None and message.method != "ACK":
            self._send(again, source)
            return
        call = self._by_id.get(message.header("Call-ID"))
        if message.method == "INVITE" and call is None:
            self._ring(message, source)
        elif call is None:
            if message.method != "ACK":
                self._reply(message, source, 200 if message.method == "OPTIONS" else 481)
        else:
            self._take_in_call(call, message, source)

    def _take_in_call(self, call: TalkerCall, message: Sip, source: tuple[str, int]) -> None:
        match message.method:
            case "ACK":
                self._answers.pop((call.call_id, "unacknowledged", message.number), None)
                offered = Media.read(message.body)
                if offered is not None:
                    self._take_media(call, offered)
            case "INVITE":
                offered = Media.read(message.body)
                if offered is not None:
                    self._take_media(call, offered)
                self._reply(message, source, 200, body=self._describe(call), call=call)
            case "CANCEL":
                self._reply(message, source, 200, call=call)
                if call.answered_at is None and call.ended_at is None:
                    self._finish(call)
                    self._reply(call.request, source, 487, call=call)
            case "BYE":
                self._reply(message, source, 200, call=call)
                self._finish(call)
            case "UPDATE":
                offered = Media.read(message.body)
                if offered is not None:
                    self._take_media(call, offered)
                body = self._describe(call) if offered is not None else ""
                self._reply(message, source, 200, body=body, call=call)
            case _:
                self._reply(message, source, 200, call=call)

    def _ring(self, invite: Sip, source: tuple[str, int]) -> None:
        call = self._new_call(invite.header("Call-ID"), invite, source, placed=False)
        call._own_uri, call._their_uri = invite.header("To"), invite.header("From")
        call._peer = _uri(invite.header("Contact"))
        self._reply(invite, source, 100)
        self._reply(invite, source, 180, call=call)
        if self.early_media:
            self._reply(invite, source, 183, body=self._describe(call), call=call)
            self._begin_to_speak(call)
        if self.ring_seconds is not None:
            self._after(self.ring_seconds, partial(self._answer, call, self.final))

    def _answer(self, call: TalkerCall, status: int) -> None:
        if call.ended_at is not None or call.answered_at is not None:
            return
        if status >= 300:
            self._finish(call)
            self._reply(call.request, call.remote, status, call=call)
            return
        self._reply(call.request, call.remote, 200, body=self._describe(call), call=call)
        self._talk(call)

    def _invite(
        self, call: TalkerCall, password: str, number: int = 1, proof: tuple[str, str] | None = None
    ) -> None:
        call._cseq = number
        headers = self._dialog_headers(call, "INVITE") + ([proof] if proof else [])
        uri = _uri(call._their_uri)
        request = Sip(f"INVITE {uri} SIP/2.0", headers, self._describe(call))
        self._send_request(request, call.remote, partial(self._take_answer, call, password))

    def _take_answer(self, call: TalkerCall, password: str, answer: Sip) -> None:
        """Take what came of a call that was placed."""
        call.statuses.append(answer.status)
        offered = Media.read(answer.body)
        if offered is not None:
            call.wanted.append(offered)
        if answer.status >= 200:
            call._their_tag = _tag(answer.header("To"))
            if answer.status < 300:
                call._peer = _uri(answer.header("Contact"))
            self._acknowledge(call, answer)
        if answer.status in (401, 407) and answer.number == 1 and password:
            uri = _uri(call._their_uri)
            asked, name = _CHALLENGES[answer.status]
            proof = authorization(answer.header(asked), "INVITE", uri, self.number, password)
            call._their_tag = ""  # the refusal's; no dialog was made (RFC 3261, 22.2)
            self._invite(call, password, 2, (name, proof))
        elif answer.status >= 300:
            self._finish(call)
        elif answer.status == 183 and offered is not None:
            self._begin_to_speak(call)
        elif answer.status >= 200 and call.answered_at is None:
            self._talk(call)

    def _talk(self, call: TalkerCall) -> None:
        call.answered_at = time.monotonic()
        self._begin_to_speak(call)
        if self.talk_seconds is not None:
            self._after(self.talk_seconds, partial(self._hang_up, call))

    def _acknowledge(self, call: TalkerCall, answer: Sip) -> None:
        """RFC 3261, sections 13.2.2.4 and 17.1.1.3."""
        accepted = answer.status < 300
        uri = call._peer if accepted else _uri(call._their_uri)
        via = self._via() if accepted else call.request.header("Via")
        headers = self._dialog_headers(
            call, "ACK", via=via, number=answer.number, to=answer.header("To")
        )
        self._send(Sip(f"ACK {uri} SIP/2.0", headers), call.remote)

    def _hang_up(self, call: TalkerCall) -> None:
        if call.ended_at is not None:
            return
        if call.answered_at is not None:
            call.hung_up = True
            call._cseq += 1
            headers = self._dialog_headers(call, "BYE", number=call._cseq)
            self._send_request(
                Sip(f"BYE {call._peer} SIP/2.0", headers), call.remote, lambda _: None
            )
            self._finish(call)
        elif call.placed:
            headers = self._dialog_headers(call, "CANCEL", via=call.request.header("Via"))
            uri = _uri(call._their_uri)
            self._send_request(Sip(f"CANCEL {uri} SIP/2.0", headers), call.remote, lambda _: None)

    def _dialog_headers(
        self,
        call: TalkerCall,
        method: str,
        *,
        via: str | None = None,
        number: int | None = None,
        to: str | None = None,
    ) -> list[tuple[str, str]]:
        if to is None:
            to = call._their_uri
            if call._their_tag and ";tag=" not in to and method != "CANCEL":
                to += f";tag={call._their_tag}"
        own = call._own_uri + ("" if ";tag=" in call._own_uri else f";tag={call._own_tag}")
        headers = [
            ("From", own),
            ("To", to),
            ("Call-ID", call.call_id),
            ("CSeq", f"{number or call._cseq} {method}"),
            ("Contact", f"<{self._contact}>"),
        ]
        return [("Via", via), *headers] if via else headers

    # What is sent

    @property
    def _contact(self) -> str:
        return f"sip:{self.number}@{self.address}:{self.port}"

    def _via(self) -> str:
        branch = f"z9hG4bK{uuid4().hex}"
        return f"SIP/2.0/UDP {self.address}:{self.port};branch={branch};rport"

    def _send_request(
        self, request: Sip, place: tuple[str, int], took: Callable[[Sip], None]
    ) -> None:
        """Send a request, again and again until something is answered."""
        if not request.header("Via"):
            headers = [("Via", self._via()), ("Max-Forwards", "70"), *request.headers]
            request = Sip(request.start_line, headers, request.body)
        call = self._by_id.get(request.header("Call-ID"))
        if call is not None and request.method == "INVITE":
            call.request = request
        key = (request.header("Call-ID"), request.method, request.number)
        answered = False

        def heard(answer: Sip) -> None:
            nonlocal answered
            answered = True
            took(answer)

        def send(tries: int) -> None:
            if not answered and tries:
                self._send(request, place)
                self._after(_AGAIN, partial(send, tries - 1))

        self._awaited[key] = heard
        send(_TRIES)

    def _reply(
        self,
        request: Sip,
        place: tuple[str, int],
        status: int,
        *,
        body: str = "",
        call: TalkerCall | None = None,
    ) -> None:
        tag = call._own_tag if call is not None else f"{next(self._numbers)}"
        answer = answer_to(request, status, tag=tag, contact=self._contact, body=body)
        self._send(answer, place)
        if status < 200:
            return
        key = (request.header("Call-ID"), request.method, request.number)
        self._answers[key] = answer
        if request.method == "INVITE":
            waits = (request.header("Call-ID"), "unacknowledged", request.number)
            self._answers[waits] = answer

            def again(tries: int) -> None:
                if waits in self._answers and tries:
                    self._send(answer, place)
                    self._after(_AGAIN, partial(again, tries - 1))

            self._after(_AGAIN, partial(again, _TRIES))

    def _send(self, message: Sip, place: tuple[str, int]) -> None:
        self._socket.sendto(message.to_bytes(), place)

    # Media

    def _new_call(
        self, call_id: str, request: Sip, remote: tuple[str, int], *, placed: bool
    ) -> TalkerCall:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind((self.address, 0))
        rtp.setblocking(False)
        port = rtp.getsockname()[1]
        call = TalkerCall(call_id, self, placed, rtp, port, request, remote)
        call._own_tag = f"{self.number}t{next(self._numbers)}"
        self._by_id[call_id] = call
        self._selector.register(rtp, selectors.EVENT_READ, partial(self._listen, call))
        offered = Media.read(request.body)
        if offered is not None:
            call.wanted.append(offered)
        self.calls.append(call)
        return call

    def _describe(self, call: TalkerCall) -> str:
        """The SDP of this side: an offer of all that it can, or the answer to the last one."""
        codecs: Sequence[Codec] = self.codecs
        if call.wanted:
            both = [codec for codec in call.wanted[-1].codecs if codec in self.codecs]
            codecs = both[:1] or self.codecs
        call._version += 1
        return describe(self.address, call.port, codecs, call._version)

    def _take_media(self, call: TalkerCall, offered: Media) -> None:
        call.wanted.append(offered)
        self._begin_to_speak(call)

    def _begin_to_speak(self, call: TalkerCall) -> None:
        if not call.wanted:
            return
        other = call.wanted[-1]
        both = [codec for codec in other.codecs if codec in self.codecs]
        codec = both[0] if both else call.codec
        if codec is not call.codec:
            call._voice = ()
        call.codec = codec
        call.target = other.place if other.listens and other.port else None

    def _finish(self, call: TalkerCall) -> None:
        call.ended_at = call.ended_at or time.monotonic()
        call.target = None


def _uri(header: str) -> str:
    match = _URI.search(header)
    assert match is not None
    return match[1] or match[2]


def _tag(header: str) -> str:
    return header.partition(";tag=")[2].partition(";")[0]
