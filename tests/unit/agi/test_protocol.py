"""Tests of agi.protocol: connections, whatever happens to them, and the factory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from zope.interface import directlyProvides

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import AgiReply, get_variable, noop
from c2c_agent.agi.protocol import Refusal
from tests.unit.agi.playbook import BEGIN, Playbook, ProtocolTest, hold, transcript, transcripts


class ConversationTests(ProtocolTest):
    """A coroutine talks to a channel."""

    def test_dialogue(self) -> None:
        """The conversation begins with the environment, and the connection ends with it."""

        async def conversation(channel: AgiChannel) -> None:
            self.heard.append(channel.environment.channel)
            self.heard.append(await channel.command("EXEC", "Dial", "PJSIP/200,20,g"))
            self.heard.append((await channel.command(get_variable("DIALSTATUS"))).value)

        factory = self.factory(conversation)
        self.connect(
            factory,
            """
            agi_network: yes
            agi_channel: PJSIP/100-00000001

            > EXEC "Dial" "PJSIP/200,20,g"
            200 result=0
            > GET VARIABLE "DIALSTATUS"
            200 result=1 (BUSY)
            = closed
            """,
        )
        dialled = AgiReply(200, "0", None, "200 result=0")
        assert self.heard == ["PJSIP/100-00000001", dialled, "BUSY"]
        assert (factory.open_sessions, factory.total_sessions) == (0, 1)
        assert not factory.refusals

    def test_byte_by_byte(self) -> None:
        """The packets of the network mean nothing."""

        async def conversation(channel: AgiChannel) -> None:
            self.heard.append((await channel.command(get_variable("X"))).value)

        book = Playbook(self.factory(conversation), self.clock)
        for byte in BEGIN.encode():
            book.protocol.dataReceived(bytes([byte]))
        book.play('> GET VARIABLE "X"')
        for byte in b"HANGUP\n200 result=1 (a)\nHANGUP\n":
            book.protocol.dataReceived(bytes([byte]))
        book.play("= closed")
        assert self.heard == ["a"]

    def test_any_awaitable(self) -> None:
        """`accept` need not be a coroutine function: a Deferred will do."""

        def accept(_: AgiChannel) -> Deferred[None]:
            return succeed(None)

        self.connect(self.factory(accept), BEGIN + "= closed")

    def test_recorded_sessions(self) -> None:
        """Real sessions go the same way through the whole of it, to the last reply."""
        for path in [*transcripts("session"), *transcripts("dead-channel")]:
            self.recorded_session(path)

    def recorded_session(self, path: Path) -> None:
        """Hold the conversation of a transcript."""
        dialogue = transcript(path)
        commands = [turn.said for turn in dialogue if turn.said is not None]

        async def conversation(channel: AgiChannel) -> None:
            for command in commands:
                self.heard.append((await channel.command(command)).code)

        book = Playbook(self.factory(conversation), self.clock)
        for turn in dialogue:
            book.protocol.dataReceived(turn.heard)
            if turn.said is not None:
                book.play(f"> {turn.said.decode()}")
        book.play("= closed")
        assert len(self.heard) == len(commands)
        self.heard.clear()

    def test_exception(self) -> None:
        """A conversation that fails is logged with its traceback, and harms no other."""

        async def conversation(channel: AgiChannel) -> None:
            if (await channel.command(noop())).result == "1":
                raise ZeroDivisionError

        factory = self.factory(conversation)
        good = self.connect(factory, BEGIN + '> NOOP ""')
        with capturedLogs() as events:
            self.connect(factory, BEGIN + '> NOOP ""\n200 result=1\n= closed')
        (event,) = events
        assert event["log_level"] == LogLevel.critical
        assert event["channel"] == "c2c-1"
        (failure,) = self.logged_errors(ZeroDivisionError)
        assert "in conversation" in failure.getTraceback()
        good.play("200 result=0\n= closed")

    def test_exception_before_the_coroutine(self) -> None:
        """An `accept` that does not even return an awaitable is logged and closed as well."""

        def accept(_: AgiChannel) -> None:
            raise ZeroDivisionError

        self.connect(self.factory(accept), BEGIN + "= closed")
        assert len(self.logged_errors(ZeroDivisionError)) == 1


class TimeTests(ProtocolTest):
    """Nobody is waited for too long."""

    def test_silence(self) -> None:
        """A connection that says nothing is aborted after five seconds."""
        factory = self.factory(hold)
        self.connect(factory, "= 4.9 s\n= open\n= 0.1 s\n= aborted")
        assert factory.refusals == {Refusal.ENVIRONMENT_LATE: 1}
        assert factory.open_sessions == 0

    def test_one_line_a_second(self) -> None:
        """Saying a little now and then gains no time."""
        self.connect(
            self.factory(hold),
            """
            agi_arg_1: x
            = 2 s
            agi_arg_2: x
            = 2 s
            agi_arg_3: x
            = 0.9 s
            = open
            = 0.1 s
            = aborted
            """,
        )

    def test_environment_in_time(self) -> None:
        """Whoever has said the environment has all the time of the conversation."""
        self.connect(self.factory(hold), "= 4 s\n" + BEGIN + '> NOOP ""\n= 60 s\n= open\n= lost\n')

    def test_other_limits(self) -> None:
        """The limits are the factory's arguments."""

        async def conversation(channel: AgiChannel) -> None:
            await channel.command(noop())

        factory = self.factory(conversation, environment_seconds=1, reply_seconds=2)
        self.connect(factory, "= 1 s\n= aborted")
        self.connect(factory, BEGIN + '> NOOP ""\n= 1.9 s\n= open\n= 0.1 s\n= aborted')

    def test_peer_does_not_let_go(self) -> None:
        """A connection that does not close in peace is aborted."""

        async def conversation(_: AgiChannel) -> None:
            pass

        factory = self.factory(conversation)
        book = self.connect(factory, BEGIN)
        assert (book.transport.disconnecting, book.transport.disconnected) == (True, False)
        book.play("= 4.9 s")
        assert not book.transport.disconnected
        book.play("= 0.1 s\n= aborted")
        assert not factory.refusals


class EndTests(ProtocolTest):
    """The session ends while the conversation goes on."""

    def test_lost_connection_is_no_fault(self) -> None:
        """A line, but no traceback; its channel by the id, for the name may hold a number."""
        begin = BEGIN.replace("PJSIP/100-00000001", "Local/0155512345@c2c-first-00000001;1")
        with capturedLogs() as events:
            self.connect(self.factory(hold), begin + '> NOOP ""\n= lost')
        (event,) = events
        assert formatEvent(event).startswith("FastAGI session of 'c2c-1' lost: ")
        assert event["log_level"] == LogLevel.info
        assert event["lost"] == "Connection was closed cleanly. (asked: NOOP)"

    def test_lost_before_the_environment(self) -> None:
        """Somebody knocks and goes away: nothing begins, nothing is refused, nothing is logged."""
        factory = self.factory(hold)
        with capturedLogs() as events:
            self.connect(factory, "agi_network: yes\n= lost")
        assert (factory.open_sessions, factory.total_sessions) == (0, 1)
        assert not factory.refusals
        assert not events

    def test_fault_of_the_peer(self) -> None:
        """A reply that nobody asked for ends the session, without a trace on the others."""
        factory = self.factory(hold)
        other = self.connect(factory, BEGIN + '> NOOP ""')
        book = self.connect(factory, BEGIN + '> NOOP ""')
        book.protocol.dataReceived(b"200 result=0\n200 result=0\n")
        book.play("= aborted")
        assert factory.refusals == {Refusal.MALFORMED: 1}
        other.play("200 result=0\n= closed")

    def test_garbage(self) -> None:
        """Whoever does not speak AGI is cut off at its empty line, or when it gets too long."""
        factory = self.factory(hold)
        self.connect(factory, "GET / HTTP/1.1\nHost: x\n\n= aborted")
        book = Playbook(factory, self.clock)
        book.protocol.dataReceived(b"\xff" * 65536)
        book.play("= aborted")
        assert factory.refusals == {Refusal.MALFORMED: 2}

    def test_bytes_after_the_end(self) -> None:
        """What comes after the end is of no interest, be it right or wrong."""

        async def conversation(_: AgiChannel) -> None:
            pass

        factory = self.factory(conversation)
        self.connect(factory, BEGIN + "HANGUP\n200 result=0\n= closed")
        assert not factory.refusals


class FactoryTests(ProtocolTest):
    """Who is admitted, what is counted, and how it stops."""

    def test_too_many(self) -> None:
        """Over the limit, connections are closed at once, until there is room again."""
        factory = self.factory(hold, max_sessions=2)
        first, second = (self.connect(factory, BEGIN + '> NOOP ""') for _ in range(2))
        assert factory.buildProtocol(None) is None
        assert factory.refusals == {Refusal.TOO_MANY: 1}
        first.play("200 result=0\n= closed")
        third = self.connect(factory, BEGIN + '> NOOP ""')
        assert factory.buildProtocol(None) is None
        assert (factory.open_sessions, factory.total_sessions) == (2, 3)
        second.play("= lost")
        third.play("= lost")

    def test_the_silent_make_room(self) -> None:
        """Whoever has not said its environment is none of Asterisk's sessions."""
        factory = self.factory(hold, max_sessions=2)
        talking = self.connect(factory, BEGIN + '> NOOP ""')
        stranger = self.connect(factory)
        late = self.connect(factory, BEGIN + '> NOOP ""')
        stranger.play("= aborted")
        assert factory.buildProtocol(None) is None
        assert factory.refusals == {Refusal.TOO_MANY: 2}
        assert factory.open_sessions == 2
        talking.play("200 result=0\n= closed")
        late.play("200 result=0\n= closed")

    def test_log_at_most_once_a_minute(self) -> None:
        """A flood of refusals fills no log; each reason is told for itself."""
        factory = self.factory(hold, max_sessions=0)
        with capturedLogs() as events:
            for _ in range(100):
                factory.buildProtocol(None)
            self.clock.advance(59.9)
            factory.buildProtocol(None)
            factory.refuse(Refusal.MALFORMED, "x")
            self.clock.advance(0.1)
            factory.buildProtocol(None)
            factory.buildProtocol(None)
        assert [(event["why"], event["count"]) for event in events] == [
            ("too_many", 1),
            ("malformed", 1),
            ("too_many", 102),
        ]
        assert all(event["log_level"] == LogLevel.warn for event in events)

    def test_open_until_the_conversation_is_over(self) -> None:
        """A session whose peer is gone still counts while its coroutine has something to do."""
        something: Deferred[None] = Deferred()

        async def conversation(_: AgiChannel) -> None:
            await something

        factory = self.factory(conversation)
        self.connect(factory, BEGIN + "= lost")
        assert factory.open_sessions == 1
        something.callback(None)
        assert factory.open_sessions == 0

    def test_stop_when_idle(self) -> None:
        """Without a session the factory has stopped at once, and admits nobody any more."""
        factory = self.factory(hold)
        factory.stop().addCallback(self.heard.append)
        assert self.heard == [None]
        assert factory.buildProtocol(None) is None
        assert factory.refusals == {Refusal.STOPPING: 1}

    def test_stop_when_busy(self) -> None:
        """A conversation that has begun may end; a connection without environment may not."""
        factory = self.factory(hold)
        begun = self.connect(factory, BEGIN + '> NOOP ""')
        knocking = self.connect(factory, "agi_network: yes")
        for _ in range(2):
            factory.stop().addCallback(self.heard.append)
        knocking.play("= aborted")
        begun.play("= 1000 s\n= open\n200 result=0")
        assert self.heard == []
        begun.play("= closed")
        assert self.heard == [None, None]

    def test_abort(self) -> None:
        """When stopping takes too long, the sessions that are left can be cut."""
        factory = self.factory(hold)
        books = [self.connect(factory, BEGIN + '> NOOP ""') for _ in range(2)]
        factory.stop().addCallback(self.heard.append)
        factory.abort()
        for book in books:
            book.play("= aborted")
        assert self.heard == [None]
        assert factory.refusals == {Refusal.STOPPING: 2}

    def test_abort_what_does_not_close(self) -> None:
        """A connection that is closing is cut as well, but was not refused."""

        async def conversation(_: AgiChannel) -> None:
            pass

        factory = self.factory(conversation)
        book = self.connect(factory, BEGIN)
        assert not book.transport.disconnected
        factory.abort()
        book.play("= aborted")
        assert not factory.refusals


class TcpTransport(StringTransport):
    """A StringTransport that notes the options of its socket."""

    def __init__(self, *, fails: bool = False) -> None:
        init: Callable[[], None] = super().__init__
        init()
        self.options: list[str] = []
        self.fails = fails
        directlyProvides(self, ITCPTransport)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note it, or fail as a UNIX socket does."""
        if self.fails:
            raise OSError(95, "Operation not supported")
        self.options.append(f"no delay {enabled}")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Note it."""
        self.options.append(f"keep alive {enabled}")


class Socket(FileDescriptor):
    """A connection of Twisted's, whose socket takes so many bytes at once, or is broken: None."""

    def __init__(self, takes: int | None) -> None:
        super().__init__(reactor=object())  # type: ignore[arg-type]  # never asked
        self._takes = takes
        self.sent = b""  # by the socket, at once
        self.left = b""  # to the event loop

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Take what fits."""
        if self._takes is None:
            return ConnectionLost()
        self.sent += data[: self._takes]
        return len(data[: self._takes])

    def write(self, data: bytes) -> None:
        """Keep it for later."""
        self.left += data


class SocketTests(ProtocolTest):
    """What is asked of the socket."""

    def sent(self, takes: int | None) -> tuple[bytes, bytes]:
        """What becomes of a command: what goes out at once, and what is left to the event loop."""
        socket = Socket(takes)
        protocol: Any = self.factory(hold).buildProtocol(None)
        protocol.makeConnection(socket)
        protocol.send(noop("a word"))
        protocol.connectionLost()
        return socket.sent, socket.left

    def test_at_once(self) -> None:
        """A command waits for no turn of the event loop."""
        assert self.sent(1000) == (b'NOOP "a word"\n', b"")

    def test_what_the_socket_does_not_take(self) -> None:
        """It follows by the event loop, and no byte twice."""
        assert self.sent(0) == (b"", b'NOOP "a word"\n')
        assert self.sent(5) == (b"NOOP ", b'"a word"\n')

    def test_a_connection_that_is_lost(self) -> None:
        """The event loop finds that out, as ever."""
        assert self.sent(None) == (b"", b'NOOP "a word"\n')

    def start(self, transport: TcpTransport) -> None:
        """Make a connection, and lose it."""
        protocol: Any = self.factory(hold).buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.connectionLost()

    def test_options(self) -> None:
        """Nothing is held back, and a peer that has vanished is found at last."""
        transport = TcpTransport()
        self.start(transport)
        assert transport.options == ["no delay True", "keep alive True"]

    def test_not_supported(self) -> None:
        """A socket that does not know these options is as good."""
        transport = TcpTransport(fails=True)
        self.start(transport)
        assert transport.options == []
