"""FastAGI sessions as dialogues: how the tests write them down, read recorded ones, play them.

A dialogue is what went over the connection, in order. Lines behind `> ` are ours, all others are
Asterisk's, byte for byte::

    agi_uniqueid: c2c-1

    > GET VARIABLE "DIALSTATUS"
    200 result=1 (BUSY)

The files in `tests/transcripts` are such dialogues, behind a header of lines with `#`. A `Playbook`
plays one with an AgiFactory, and knows some more lines that begin with `=`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import Command, Event, noop
from c2c_agent.agi.protocol import AgiFactory, AgiProtocol
from c2c_agent.agi.session import Session

# These have no types of their own.
transport_for_tests: Callable[[], Any] = StringTransport
failure: Callable[[Exception], Failure] = Failure

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"


@frozen
class Turn:
    """What Asterisk said, and then we, if anything; both with their line ends."""

    heard: bytes
    said: Command | None


def turns(dialogue: bytes) -> list[Turn]:
    """Cut a dialogue after each line of ours."""
    found: list[Turn] = []
    heard = b""
    for line in dialogue.splitlines(keepends=True):
        if line.startswith(b"> "):
            found.append(Turn(heard, Command(line.removeprefix(b"> "))))
            heard = b""
        else:
            heard += line
    return [*found, Turn(heard, None)]


def transcript(path: Path) -> list[Turn]:
    """Read a recorded dialogue without its header."""
    lines = path.read_bytes().splitlines(keepends=True)
    while lines[0].startswith(b"#"):
        del lines[0]
    return turns(b"".join(lines))


def transcripts(name: str = "*") -> list[Path]:
    """Find the recorded dialogues of a name, one for each Asterisk."""
    found = sorted(TRANSCRIPTS.glob(f"agi-asterisk-*-{name}.txt"))
    assert found, name
    return found


def play(session: Session, dialogue: Sequence[Turn], *cuts: int) -> list[Event]:
    """Play a dialogue; cut what Asterisk says where `cuts` says, counted over all of it."""
    events: list[Event] = []
    offset = 0
    for turn in dialogue:
        here = [cut - offset for cut in sorted(cuts) if offset < cut < offset + len(turn.heard)]
        for begin, end in zip([0, *here], [*here, len(turn.heard)], strict=True):
            events += session.receive(turn.heard[begin:end])
        offset += len(turn.heard)
        if turn.said is not None:
            assert session.command(turn.said) == turn.said
    return events


class Playbook:
    """One connection to an AgiFactory, on a StringTransport and the factory's Clock.

    Beside the two voices, a dialogue may have these lines:

    `= 4.5 s`     so much time passes
    `= closed`    we have closed the connection, and it closes
    `= aborted`   we have aborted the connection, and it breaks
    `= open`      we have done neither
    `= lost`      the peer closes the connection
    """

    def __init__(self, factory: AgiFactory, clock: Clock) -> None:
        self._clock = clock
        self.transport = transport_for_tests()
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        assert protocol is not None
        self.protocol: AgiProtocol = protocol
        connect: Callable[[Any], None] = protocol.makeConnection
        connect(self.transport)

    def play(self, dialogue: str) -> None:
        """Say Asterisk's lines one by one, and expect ours at their place and no others."""
        expected = dedent(dialogue).removeprefix("\n").rstrip(" ").splitlines()
        played: list[str] = []
        for count, line in enumerate(expected, 1):
            ours = line.startswith("> ")
            if line.startswith("= "):
                played.append(self._stage(line))
            elif not ours:
                self.protocol.dataReceived(line.encode() + b"\n")
                played.append(line)
            # What we say is taken where it is due, and looked for where nothing is.
            if ours or count == len(expected) or not expected[count].startswith("> "):
                played += self._said()
            assert played == expected[:count]

    def _said(self) -> list[str]:
        said: list[str] = self.transport.value().decode().splitlines()
        self.transport.clear()
        return [f"> {line}" for line in said]

    def _stage(self, line: str) -> str:
        match line.split():
            case [_, seconds, "s"]:
                self._clock.advance(float(seconds))
                return line
            case [_, "lost"]:
                self.protocol.connectionLost(failure(ConnectionDone()))
                return line
        if self.transport.disconnected:
            self.protocol.connectionLost(failure(ConnectionAborted()))
            return "= aborted"
        if self.transport.disconnecting:
            self.protocol.connectionLost(failure(ConnectionDone()))
            return "= closed"
        return "= open"


BEGIN = "agi_network: yes\nagi_channel: PJSIP/100-00000001\nagi_uniqueid: c2c-1\n\n"


async def hold(channel: AgiChannel) -> None:
    """A conversation of one command that waits for ever."""
    await channel.command(noop(), patience=None)


class ProtocolTest(TestCase):
    """A factory on a Clock, and the playbooks of its connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.heard: list[object] = []

    def tearDown(self) -> None:
        """No test leaves a delayed call behind."""
        assert self.clock.getDelayedCalls() == []

    def factory(self, accept: Callable[[AgiChannel], Any], **limits: Any) -> AgiFactory:
        """Make a factory that calls `accept`."""
        return AgiFactory(accept, self.clock, **limits)

    def connect(self, factory: AgiFactory, dialogue: str = "") -> Playbook:
        """Open a connection, and play the beginning of it."""
        book = Playbook(factory, self.clock)
        book.play(dialogue)
        return book

    def logged_errors(self, kind: type[Exception]) -> list[Any]:
        """Take the logged errors of a kind."""
        flush: Callable[[type[Exception]], list[Any]] = self.flushLoggedErrors
        return flush(kind)
