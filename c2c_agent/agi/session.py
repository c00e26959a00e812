"""One FastAGI session as a machine without I/O: bytes in, events out, and whose turn it is.

`agi.protocol` passes on the bytes of a connection and sends what `Session.command` returns; what
the lines mean is in `agi.message`. The same bytes give the same events, wherever the network cut
them. Pure: no Twisted, no clock, no I/O.

A session, with what Asterisk says on the left::

    agi_network: yes
    …
    (an empty line)
                              GET VARIABLE "DIALSTATUS"
    200 result=1 (BUSY)
                              EXEC "Wait" "9"
    200 result=-1
    HANGUP

Asterisk does one thing at a time in a session: it reads a command, carries it out and writes the
reply, and it looks for a hangup in between. So `HANGUP` never stands inside the environment or the
lines of another reply, but everywhere else, and commands cannot be sent ahead: Asterisk would leave
the second one unread until more bytes come (`run_agi` in res/res_agi.c waits on the
socket, not on what it has read already).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from c2c_agent.agi.message import (
    AgiReply,
    Command,
    Environment,
    Event,
    Hangup,
    LocalAgiError,
    RemoteAgiError,
    encode_command,
)

ENVIRONMENT_LINES: Final = 64
"""Most lines of an environment. Asterisk has 22 of its own, and one for each argument."""

ENVIRONMENT_LIMIT: Final = 16 * 1024
"""Most bytes of an environment: whoever reaches the port may send it, before we know who it is."""

REPLY_LIMIT: Final = 64 * 1024
"""Most bytes of a reply, in one line or many, line ends included.

`GET FULL VARIABLE` has no limit of its own, and what is expected from it is some hundred bytes.
Without a limit, a single session could take all of the memory.
"""


class _Phase(Enum):
    """Whose turn it is; the value completes "No command can be sent: …"."""

    ENVIRONMENT = "the environment is not complete"
    OURS = "it can"
    REPLY = "a reply is outstanding"
    USAGE = "a reply is outstanding, of which the beginning is here"
    BROKEN = "the peer has broken the protocol"


class Session:
    """The server's side of one FastAGI session.

    Give every byte that arrives to `receive`, and send what `command` returns. `hung_up` is true
    from the moment that Asterisk has said `HANGUP`: dead mode, see `Hangup`.
    """

    def __init__(self) -> None:
        self.hung_up = False
        self._phase = _Phase.ENVIRONMENT
        self._rest = bytearray()  # the beginning of a line
        self._block: list[bytes] = []  # the lines so far of an environment or a long reply
        self._size = 0  # bytes of these lines

    def command(self, command: Command | str, *arguments: str) -> Command:
        """Take a command's turn, and return the bytes to send.

        A command is either ready made, or a verb with its arguments as for `encode_command`.
        Raises LocalAgiError if the words cannot be sent, the environment is not complete, or a
        reply is outstanding; the session then is as if nothing had been asked.
        """
        line = encode_command(command, *arguments) if isinstance(command, str) else command
        if self._phase is not _Phase.OURS:
            raise LocalAgiError(f"No command can be sent: {self._phase.value}")
        self._phase = _Phase.REPLY
        return line

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from Asterisk, and return what they complete, in order.

        Raises RemoteAgiError if they cannot come from Asterisk or are over a limit. That voids all
        of `data`, also what came before the fault, and the session for good: a variable whose value
        holds a line break makes a reply that looks right, with lines behind it that nobody asked
        for. Asterisk writes them at once, so they are mostly found in time, together.
        """
        if self._phase is _Phase.BROKEN:
            raise RemoteAgiError(_Phase.BROKEN.value)
        hung_up = self.hung_up
        try:
            return self._events(data)
        except RemoteAgiError:
            self.hung_up = hung_up
            self._phase = _Phase.BROKEN
            self._rest.clear()
            self._block.clear()
            raise

    def _events(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._rest += data
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            behind = 0
            if self._phase is _Phase.ENVIRONMENT:
                behind = self._environment_lines(lines, events)
            for line in lines[behind:]:
                self._size += len(line) + 1
                self._check_size(self._size)
                event = self._line(line.removesuffix(b"\r"))
                if event is not None:
                    self._size = 0
                    events.append(event)
        self._check_rest()
        return events

    def _line(self, line: bytes) -> Event | None:
        """Take one line, and return what it completes, if it completes something."""
        match self._phase:
            case _Phase.USAGE:
                return self._usage_line(line)
            case _ if line == b"HANGUP":
                self.hung_up = True
                return Hangup()
            case _Phase.REPLY:
                return self._reply_line(line)
            case _:
                raise RemoteAgiError(f"nobody asked for {line[:80]!r}")

    def _environment_lines(self, lines: list[bytes], events: list[Event]) -> int:
        """Take the lines of the environment, all at once; return how many those are."""
        stripped = [line.removesuffix(b"\r") for line in lines]
        complete = b"" in stripped
        count = stripped.index(b"") if complete else len(lines)
        taken = count + complete
        self._size += sum(map(len, lines[:taken])) + taken
        self._check_size(self._size)
        self._block += stripped[:count]
        if len(self._block) > ENVIRONMENT_LINES:
            raise RemoteAgiError(f"environment of more than {ENVIRONMENT_LINES} lines")
        if complete:
            self._phase = _Phase.OURS
            self._size = 0
            events.append(Environment.parse(self._end_block()))
        return taken

    def _reply_line(self, line: bytes) -> AgiReply | None:
        if line.startswith(b"520-"):
            self._phase = _Phase.USAGE
            self._block.append(line)
            return None
        self._phase = _Phase.OURS
        return AgiReply.parse(line)

    def _usage_line(self, line: bytes) -> AgiReply | None:
        # The usage text is free: it may well quote a reply, or `HANGUP`. Only its end counts.
        self._block.append(line)
        if not line.startswith(b"520 "):
            return None
        self._phase = _Phase.OURS
        return AgiReply.parse(self._end_block())

    def _end_block(self) -> bytes:
        lines = b"\n".join(self._block)
        self._block.clear()
        return lines

    def _check_size(self, size: int) -> None:
        limit = ENVIRONMENT_LIMIT if self._phase is _Phase.ENVIRONMENT else REPLY_LIMIT
        if size > limit:
            raise RemoteAgiError(f"more than {limit} bytes in one piece")

    def _check_rest(self) -> None:
        """Refuse the beginning of a line that can become none that may come."""
        self._check_size(self._size + len(self._rest))
        # Left alone, it would later pass for the reply to our next command.
        if self._phase is _Phase.OURS and not b"HANGUP\r".startswith(self._rest):
            raise RemoteAgiError(f"nobody asked for {bytes(self._rest[:80])!r}")
