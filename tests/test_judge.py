"""Who judges the calls of the chaos tests: what is held to be true of a talk, and what is told."""

from __future__ import annotations

import pytest

from tests.pbx.judge import TALK_TOLERANCE, Truth, talk_of
from tests.pbx.sip_trace import PhoneCall, SipMessage
from tests.pbx.witness import CallSeen, ChannelSeen, DialSeen


def message(at: float, start_line: str, method: str, linkedid: str = "") -> SipMessage:
    """A message of a phone."""
    headers = [("CSeq", f"1 {method}")] + [("X-Linkedid", linkedid)] * bool(linkedid)
    return SipMessage(at, start_line.startswith("INVITE"), start_line, tuple(headers), "")


def phone_call(linkedid: str, *, ended: bool = True) -> PhoneCall:
    """A talk of 0.5 s, or one that goes on."""
    messages = [
        message(10.0, "INVITE sip:200 SIP/2.0", "INVITE", linkedid),
        message(10.1, "SIP/2.0 180 Ringing", "INVITE"),
        message(11.0, "SIP/2.0 200 OK", "INVITE"),
    ]
    return PhoneCall((*messages, *[message(11.5, "BYE sip:x SIP/2.0", "BYE")] * ended))


def call_seen(status: str | None, *, lasted: float = 0.002) -> CallSeen:
    """A call whose second leg ended so, with what a PBX that had to wait says of its talk."""
    return CallSeen(
        linkedid="c2c-1",
        originates=1,
        channels=(
            ChannelSeen("c2c-1", "Local/100@c2c-first;1", 9.0, 12.1 + lasted, 16),
            ChannelSeen("5.1", "Local/200@from-phones;1", 9.9, 12.1 + lasted, 16),
        ),
        dials=(DialSeen("c2c-1", "5.1", 9.9, 10.1, 12.1, status),),
        stays=(),
    )


class TestTruth:
    def test_the_phone_says_how_long_they_talked(self) -> None:
        """Not a PBX that had to wait between the answer and the end."""
        truth = Truth.of(call_seen("ANSWER"), phone_call("c2c-1"))
        assert (truth.originates, truth.second_status, truth.talk_seconds) == (1, "ANSWER", 0.5)
        assert truth.talked_for(1.1)
        assert truth.talked_for(0.5)

    @pytest.mark.parametrize("told", [None, 0.5 + TALK_TOLERANCE + 0.01, 3.0])
    def test_what_is_told_is_wrong(self, told: float | None) -> None:
        """By more than a busy machine explains, or nothing at all."""
        assert not Truth.of(call_seen("ANSWER"), phone_call("c2c-1")).talked_for(told)

    def test_no_phone_has_talked(self) -> None:
        """Then nothing that is told of a talk is true."""
        truth = Truth.of(call_seen("ANSWER"), None)
        assert truth.talk_seconds is None
        assert not truth.talked_for(0.0)

    def test_the_second_did_not_answer(self) -> None:
        """How its dialling ended last."""
        assert Truth.of(call_seen("BUSY"), None).second_status == "BUSY"

    def test_a_standstill_is_excused(self) -> None:
        """By as much as there was, and no more."""
        truth = Truth.of(call_seen("ANSWER"), phone_call("c2c-1"))
        truth.stood_still = 2.0
        assert truth.talked_for(0.5 + TALK_TOLERANCE + 1.9)
        assert not truth.talked_for(0.5 + TALK_TOLERANCE + 2.1)


class TestTalk:
    def test_of_that_call(self) -> None:
        """The phone was told which call it was."""
        other, own = phone_call("c2c-2"), phone_call("c2c-1")
        assert talk_of("c2c-1", [other, own]) is own
        assert talk_of("c2c-3", [other, own]) is None

    def test_it_goes_on(self) -> None:
        """Of what is not over yet nothing is known."""
        assert talk_of("c2c-1", [phone_call("c2c-1", ended=False)]) is None
