"""The phones against a caller that does what an Asterisk does only when messages cross."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.pbx.conftest import alone
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import BUSY, Behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from tests.pbx.sip_trace import PhoneCall

pytestmark = [
    pytest.mark.pbx,  # SIPp is needed, though no Asterisk
    pytest.mark.usefixtures("phones_address"),
]

ADDRESS = "127.0.1.9"
PORT = 6100

#: Seconds in which whatever is waited for has come, however busy the machine is.
PATIENCE = 20.0


@pytest.fixture(scope="session")
def phones_address(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep ADDRESS for ourselves."""
    with alone(ADDRESS, request.config):
        yield


class Caller:
    """One end of one SIP call, request by request; its To header takes the phone's tag."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 0))
        self._socket.settimeout(PATIENCE)
        self._to = f"<sip:100@{ADDRESS}>"
        self._received: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, method: str, sequence: int = 1, branch: str = "z9hG4bK-first") -> None:
        """Send a request of the call."""
        port = self._socket.getsockname()[1]
        tagless = f"<sip:100@{ADDRESS}>"
        to = self._to if method in ("ACK", "BYE") else tagless
        lines = [
            f"{method} sip:100@{ADDRESS}:{PORT} SIP/2.0",
            f"Via: SIP/2.0/UDP {ADDRESS}:{port};branch={branch}",
            f'From: "The Caller" <sip:555@{ADDRESS}>;tag=caller',
            f"To: {to}",
            "Call-ID: the-call",
            f"CSeq: {sequence} {method}",
            f"Contact: <sip:555@{ADDRESS}:{port}>",
            "Content-Length: 0",
        ]
        self._socket.sendto("\r\n".join([*lines, "", ""]).encode(), (ADDRESS, PORT))

    def answer(self, request: str) -> None:
        """Send 200 to a request of the phone's."""
        kept = ("Via:", "From:", "To:", "Call-ID:", "CSeq:")
        lines = [line for line in request.split("\r\n") if line.startswith(kept)]
        text = "\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0", "", ""])
        self._socket.sendto(text.encode(), (ADDRESS, PORT))

    def receive(self, start: str, cseq: str) -> str:
        """Return the next message that is no repetition; it has to begin so and have that CSeq."""
        while (text := self._socket.recv(4096).decode()) in self._received:
            continue  # the phone says it once more after half a second
        self._received.add(text)
        assert text.startswith(start), text
        headers = dict(line.split(": ", 1) for line in text.split("\r\n")[1:] if ": " in line)
        assert headers["CSeq"] == cseq, text
        assert headers["To"].count(";tag=") <= 1, text
        if cseq.endswith("INVITE"):
            self._to = headers["To"]
        return text


@pytest.fixture
def caller() -> Iterator[Caller]:
    """Somebody who calls the phone."""
    with Caller() as someone:
        yield someone


def call_of(phone: Phone) -> PhoneCall:
    """Return the one call that the phone had, and see that nothing about it was odd."""
    assert phone.complaints() == []
    (call,) = phone.calls()
    return call


def a_phone(directory: Path, behaviour: Behaviour) -> Phone:
    """Return a phone that is tied to no PBX."""
    return Phone("100", ADDRESS, PORT, behaviour, directory)


def test_cancel_that_comes_too_late(caller: Caller, tmp_path: Path) -> None:
    """A CANCEL that crosses the 200 is answered, and the call goes on to its ACK and BYE."""
    with a_phone(tmp_path, Behaviour(ring_seconds=0)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        caller.receive("SIP/2.0 200", "1 INVITE")
        caller.send("CANCEL")
        caller.receive("SIP/2.0 200", "1 CANCEL")
        caller.send("ACK", branch="z9hG4bK-second")
        caller.send("BYE", 2, branch="z9hG4bK-third")
        caller.receive("SIP/2.0 200", "2 BYE")
        call = call_of(phone)
    assert (call.final_status, call.hung_up_by) == (200, "pbx")


def test_cancel_that_crosses_a_refusal(caller: Caller, tmp_path: Path) -> None:
    """A CANCEL that crosses the 486 is answered, and the refusal stands."""
    with a_phone(tmp_path, BUSY) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        caller.receive("SIP/2.0 486", "1 INVITE")
        caller.send("CANCEL")
        caller.receive("SIP/2.0 200", "1 CANCEL")
        caller.send("ACK")
        call = phone.wait_for(lambda call: call.messages[-1].method == "ACK", PATIENCE, "ACK")
        assert phone.complaints() == []
    assert (call.final_status, call.hung_up_by) == (486, None)


def test_both_hang_up_at_once(caller: Caller, tmp_path: Path) -> None:
    """Two BYEs that cross are both answered."""
    with a_phone(tmp_path, Behaviour(ring_seconds=0, ringing=False, talk_seconds=0.1)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 200", "1 INVITE")
        caller.send("ACK", branch="z9hG4bK-second")
        goodbye = caller.receive("BYE ", "1 BYE")
        caller.send("BYE", 2, branch="z9hG4bK-third")
        caller.receive("SIP/2.0 200", "2 BYE")
        caller.answer(goodbye)
        call = call_of(phone)
    assert (call.hung_up_by, call.invite.caller_name) == ("phone", "The Caller")


def test_given_up_while_ringing(caller: Caller, tmp_path: Path) -> None:
    """A CANCEL in time is answered, and the INVITE with 487."""
    with a_phone(tmp_path, Behaviour(ring_seconds=30)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        caller.send("CANCEL")
        caller.receive("SIP/2.0 200", "1 CANCEL")
        caller.receive("SIP/2.0 487", "1 INVITE")
        caller.send("ACK")
        call = phone.wait_for(lambda call: call.messages[-1].method == "ACK", PATIENCE, "ACK")
        assert phone.complaints() == []
    assert (call.final_status, call.answered_at) == (487, None)


def test_call_that_is_offered_again_in_the_talk(caller: Caller, tmp_path: Path) -> None:
    """A PBX that stood still repeats its INVITE before it reads the 200; the phone hangs up yet."""
    with a_phone(tmp_path, Behaviour(ring_seconds=0, talk_seconds=0.5)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        caller.receive("SIP/2.0 200", "1 INVITE")
        caller.send("INVITE")
        caller.send("ACK", branch="z9hG4bK-second")
        caller.send("INVITE")
        caller.send("ACK", branch="z9hG4bK-second")
        caller.answer(caller.receive("BYE ", "1 BYE"))
        phone.wait_for(
            lambda call: call.messages[-1].status == 200, PATIENCE, "the answer to its BYE"
        )
        call = call_of(phone)
    assert (call.final_status, call.hung_up_by) == (200, "phone")


def test_call_that_is_offered_again_while_it_rings(caller: Caller, tmp_path: Path) -> None:
    """It rings on for as long as it would, and is refused then."""
    with a_phone(tmp_path, Behaviour(ring_seconds=0.5, final=486)) as phone:
        caller.send("INVITE")
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        caller.send("INVITE")
        caller.receive("SIP/2.0 486", "1 INVITE")
        caller.send("INVITE")
        caller.send("ACK")
        phone.wait_for(lambda call: call.messages[-1].method == "ACK", PATIENCE, "ACK")
        call = call_of(phone)
    assert call.final_status == 486
    assert call.ring_seconds is not None
    assert call.ring_seconds > 0.4


def test_given_up_twice(caller: Caller, tmp_path: Path) -> None:
    """Where a CANCEL is repeated before its answer is read, the 487 gets its ACK all the same."""
    with a_phone(tmp_path, Behaviour(ring_seconds=None)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        caller.send("INVITE")
        caller.send("CANCEL")
        caller.receive("SIP/2.0 200", "1 CANCEL")
        caller.receive("SIP/2.0 487", "1 INVITE")
        caller.send("INVITE")
        caller.send("CANCEL")
        caller.send("ACK")
        phone.wait_for(lambda call: call.messages[-1].method == "ACK", PATIENCE, "ACK")
        call = call_of(phone)
    assert (call.final_status, call.answered_at) == (487, None)


def test_hung_up_twice(caller: Caller, tmp_path: Path) -> None:
    """A BYE that is repeated before its answer is read is nothing odd."""
    with a_phone(tmp_path, Behaviour(ring_seconds=0, ringing=False)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 200", "1 INVITE")
        caller.send("ACK", branch="z9hG4bK-second")
        caller.send("BYE", 2, branch="z9hG4bK-third")
        caller.send("BYE", 2, branch="z9hG4bK-third")
        caller.receive("SIP/2.0 200", "2 BYE")
        call = call_of(phone)
    assert (call.final_status, call.hung_up_by) == (200, "pbx")


def test_told_what_to_do(caller: Caller, tmp_path: Path) -> None:
    """It rings until it is told to answer, and talks until it is told to hang up."""
    with a_phone(tmp_path, Behaviour(ring_seconds=None)) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.receive("SIP/2.0 180", "1 INVITE")
        phone.decide()
        caller.receive("SIP/2.0 200", "1 INVITE")
        caller.send("ACK", branch="z9hG4bK-second")
        phone.hang_up()
        caller.answer(caller.receive("BYE ", "1 BYE"))
        phone.wait_for(lambda call: call.messages[-1].status == 200, 5, "the answer to its BYE")
        call = call_of(phone)
    assert (call.final_status, call.hung_up_by) == (200, "phone")


def test_told_to_refuse(caller: Caller, tmp_path: Path) -> None:
    """The same of a phone whose final answer is no, and that does not even say that it rings."""
    behaviour = Behaviour(ring_seconds=None, ringing=False, final=603)
    with a_phone(tmp_path, behaviour) as phone:
        caller.send("INVITE")
        caller.receive("SIP/2.0 100", "1 INVITE")
        caller.send("INVITE")
        phone.decide()
        caller.receive("SIP/2.0 603", "1 INVITE")
        caller.send("ACK")
        phone.wait_for(lambda call: call.messages[-1].method == "ACK", 5, "ACK")
        call = call_of(phone)
    assert (call.final_status, call.answered_at) == (603, None)
