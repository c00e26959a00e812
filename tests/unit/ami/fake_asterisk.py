"""An Asterisk's manager interface on a real loopback port, that does what a test wants.

Healthy by default: it says a banner, accepts the login, answers the actions that `AmiLink` sends by
itself. A test changes `on_connect` or an entry of `on_action` to have it behave as no healthy
Asterisk does. It counts its sessions, above all how many were ever open at the same time.
"""

# Twisted's methods of services and protocols have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from c2c_agent.ami.message import Message

BANNER = "Asterisk Call Manager/11.0.0\r\n"
VERSION = "22.10.1"


class FakeSession(Protocol):
    """One connection to the fake."""

    transport: ITCPTransport

    def __init__(self, asterisk: FakeAsterisk) -> None:
        self.asterisk = asterisk
        self.heard: list[str] = []  # names of actions
        self._buffer = b""

    def connectionMade(self) -> None:
        self.asterisk.sessions.append(self)
        self.asterisk.open.add(self)
        self.asterisk.most_open = max(self.asterisk.most_open, len(self.asterisk.open))
        self.transport.setTcpNoDelay(True)
        self.asterisk.on_connect(self)

    def dataReceived(self, data: bytes) -> None:
        *actions, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for action in map(Message, actions):
            name = action.get("Action")
            self.heard.append(name)
            self.asterisk.on_action.get(name, acknowledge)(self, action)

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        self.asterisk.open.discard(self)

    def says(self, text: str) -> None:
        """Say something."""
        self.transport.write(text.encode())

    def answers(self, action: Message, response: str = "Success", **headers: str) -> None:
        """Say this in answer to an action."""
        self.sends(Response=response, ActionID=action.action_id, **headers)

    def sends(self, **headers: str) -> None:
        """Say a message."""
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        self.says("".join(lines) + "\r\n")

    def hang_up(self) -> None:
        """Close the connection when everything is sent."""
        self.transport.loseConnection()

    def cut(self) -> None:
        """Reset the connection."""
        self.transport.abortConnection()


OnAction = Callable[[FakeSession, Message], None]


def greet(session: FakeSession) -> None:
    """Say the banner."""
    session.says(BANNER)


def acknowledge(session: FakeSession, action: Message) -> None:
    """Answer that all is well."""
    session.answers(action)


def say_nothing(*_: object) -> None:
    """Neither greet nor answer."""


def accept_login(session: FakeSession, action: Message) -> None:
    """Let the user log in."""
    session.answers(action, Message="Authentication accepted")


def refuse_login(session: FakeSession, action: Message) -> None:
    """Refuse the login, and leave it to the other side to close the connection."""
    session.answers(action, "Error", Message="Authentication failed")


def tell_version(session: FakeSession, action: Message) -> None:
    """Answer CoreSettings."""
    session.answers(action, AsteriskVersion=VERSION)


def pong(session: FakeSession, action: Message) -> None:
    """Answer a Ping."""
    session.answers(action, Ping="Pong")


def say_goodbye(session: FakeSession, action: Message) -> None:
    """Answer Logoff, and close the connection."""
    session.answers(action, "Goodbye", Message="Thanks for all the fish.")
    session.hang_up()


class FakeAsterisk:
    """The fake: `sessions` are all that ever were, `open` those that are, as it sees them."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._listening: Any = None
        self.port = 0
        self.sessions: list[FakeSession] = []
        self.open: set[FakeSession] = set()
        self.most_open = 0
        self.on_connect: Callable[[FakeSession], None] = greet
        self.on_action: dict[str, OnAction] = {
            "Login": accept_login,
            "CoreSettings": tell_version,
            "Ping": pong,
            "Logoff": say_goodbye,
        }

    def start(self) -> None:
        """Listen; the second time on the port of the first time."""
        factory = Factory.forProtocol(lambda: FakeSession(self))
        factory.noisy = False
        self._listening = self._reactor.listenTCP(self.port, factory, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    async def stop(self) -> None:
        """Refuse connections, and reset those that are open, as a crash does."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await listening.stopListening()
        for session in list(self.open):
            session.cut()
