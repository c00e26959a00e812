"""What a phone does when it is called, and the SIPp scenario that makes it do so.

The scenario is a callee of RFC 3261: it takes a CANCEL at any time before the final answer, and
either side may end the talk. SIPp does the signalling alone; what is said and heard is `voice`.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen
class Behaviour:
    """What a phone does with every call that comes to it."""

    #: Seconds until the final answer; None rings until the caller gives up, or until the phone is
    #: told to give it (`Phone.decide`).
    ring_seconds: float | None = 0.3
    #: Whether the phone says 180 Ringing; without it the caller knows only that it tries.
    ringing: bool = True
    #: Whether the phone sends 183 with a voice before it answers.
    early_media: bool = False
    #: The final answer: 200 takes the call, any other status refuses it.
    final: int = 200
    #: Where a call is forwarded to, by a final answer that says so (302).
    forwards_to: str | None = None
    #: The keys that its user presses: the first a second after the answer, then two each second.
    presses: str = ""
    #: Seconds after which this phone hangs up; None leaves that to the other side, or to whoever
    #: tells the phone to (`Phone.hang_up`).
    talk_seconds: float | None = None


ANSWERS: Final = Behaviour()
RINGS_FOR_EVER: Final = Behaviour(ring_seconds=None)
BUSY: Final = Behaviour(final=486)
DECLINES: Final = Behaviour(final=603)
FORWARDS: Final = Behaviour(ring_seconds=0, ringing=False, final=302, forwards_to="103")
UNAVAILABLE: Final = Behaviour(ring_seconds=0, ringing=False, final=480)
NOT_FOUND: Final = Behaviour(ring_seconds=0, ringing=False, final=404)

#: Requests that no SIP knows, by which a phone is told what to do now with a call.
DECIDE: Final = "DECIDE"
HANG_UP: Final = "HANGUP"

_REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    302: "Moved Temporarily",
    404: "Not Found",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    503: "Service Unavailable",
    603: "Decline",
}

_SDP: Final = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=phone 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[local_ip_type] [local_ip]
t=0 0
m=audio {port} RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000"""

#: Seconds for which the phone knows a call that is over, and repeats its last answer.
_LINGER_SECONDS: Final = 4.0

_ITSELF: Final = "[service]@[local_ip]:[local_port]"

_NO_SDP: Final = "Content-Length: 0\n"

#: `[last_...]` repeats a header of the message that is answered.
_REPLY: Final = """\
<send{attributes}><![CDATA[
SIP/2.0 {status} {reason}
[last_Via:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
{cseq}
Contact: <sip:{contact}>
{body}
]]></send>"""

_BYE: Final = """\
<send retrans="500"><![CDATA[
BYE [$contact] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$to];tag=[pid]phone[call_number]
To:[$from]
[last_Call-ID:]
CSeq: 1 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>"""

_INVITE: Final = """\
<recv request="INVITE"><action>
<ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="cseq"/>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
<ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="contact"/>
</action></recv>
<Reference variables="cseq,from,to,contact"/>"""


def scenario(behaviour: Behaviour, media_port: int) -> str:
    """Return the SIPp scenario (XML) of a phone that behaves so and has its voice at that port."""
    sdp = _SDP.format(port=media_port)
    steps = [_INVITE, _reply(100, tag=False)]
    if behaviour.ringing:
        steps.append(_reply(180))
    if behaviour.early_media:
        steps.append(_reply(183, body=sdp))
    steps += [*_ring(behaviour.ring_seconds), '<label id="final"/>']
    if behaviour.final == 200:
        steps += [_reply(200, body=sdp, retransmit=True), *_await_ack("answered")]
        steps += _talk(behaviour.talk_seconds)
    else:
        contact = f"{behaviour.forwards_to}@[local_ip]" if behaviour.forwards_to else _ITSELF
        steps += [_reply(behaviour.final, retransmit=True, contact=contact)]
        steps += _await_ack("refused")
        steps += ['<nop next="end"/>']
    steps += [
        '<label id="cancelled"/>',
        _reply(200),
        _reply(487, cseq="CSeq:[$cseq]", retransmit=True),
        *_once_more("INVITE", "CANCEL"),
        '<recv request="ACK"/>',
        '<label id="end"/>',
        f'<timewait milliseconds="{_milliseconds(_LINGER_SECONDS)}"/>',
    ]
    body = "\n".join(steps)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="phone">\n{body}\n</scenario>\n'


def _ring(seconds: float | None) -> list[str]:
    if seconds == 0:
        return []
    return [*_begin_to_wait(seconds, DECIDE, "final"), '<recv request="CANCEL" next="cancelled"/>']


def _await_ack(name: str) -> list[str]:
    """Wait for the ACK; a CANCEL that crossed our final answer on its way is answered too."""
    return [
        f'<label id="{name}"/>',
        *_once_more("INVITE"),
        f'<recv request="CANCEL" optional="true" next="{name}_too_late"/>',
        f'<recv request="ACK" next="{name}_for_good"/>',
        f'<label id="{name}_too_late"/>',
        _reply(200, attributes=f' next="{name}"'),
        f'<label id="{name}_for_good"/>',
    ]


def _talk(seconds: float | None) -> list[str]:
    """Talk until the other side hangs up, or we do; both may do so at once."""
    return [
        *_begin_to_wait(seconds, HANG_UP, "hang_up"),
        '<recv request="BYE"/>',
        _reply(200, tag=False, attributes=' next="end"'),
        '<label id="hang_up"/>',
        _BYE,
        '<label id="hung_up"/>',
        *_once_more("INVITE"),
        '<recv request="BYE" optional="true" next="both"/>',
        '<recv response="481" optional="true" next="end"/>',
        '<recv response="200" next="end"/>',
        '<label id="both"/>',
        _reply(200, tag=False, attributes=' next="hung_up"'),
    ]


def _begin_to_wait(seconds: float | None, word: str, then: str) -> list[str]:
    """Wait for what comes next, but go on at `then` after that time, or at that word of a test."""
    if seconds is None:
        told = f'<recv request="{word}" optional="true" next="{then}"/>'
        return [*_once_more("INVITE"), told]
    return _once_more("INVITE", limit=f'timeout="{_milliseconds(seconds)}" ontimeout="{then}"')


def _once_more(*methods: str, limit: str = "") -> list[str]:
    """Take no notice of a repeated request; `limit` is for the wait that this begins.

    A PBX that stood still repeats what it sent before it reads the answer that is there already.
    SIPp knows only the request it answered last; any other it would take for one that should not
    have come, and forget the call without a word to the PBX.
    """
    first, *others = [
        f'request="{method}" optional="true" advance_state="false"' for method in methods
    ]
    return [f"<recv {first} {limit}/>", *(f"<recv {other}/>" for other in others)]


def _reply(
    status: int,
    *,
    body: str = _NO_SDP,
    tag: bool = True,
    cseq: str = "[last_CSeq:]",
    contact: str = _ITSELF,
    retransmit: bool = False,
    attributes: str = "",
) -> str:
    return _REPLY.format(
        status=status,
        reason=_REASONS.get(status, "Because"),
        body=body,
        tag=";tag=[pid]phone[call_number]" if tag else "",
        cseq=cseq,
        contact=contact,
        attributes=attributes + (' retrans="500"' if retransmit else ""),
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
