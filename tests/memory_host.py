"""A host in memory: its ports, the Asterisk on it, and HTTP connections to what listens there."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IAddress, IListeningPort, ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import directlyProvides, implementer

from tests.unit.ami.fake_asterisk import FakeAsterisk, FakeSession

# This has no type of its own.
transport_for_tests: Callable[..., Any] = StringTransport


class MemoryHost(MemoryReactorClock):
    """A reactor of memory, on a host with an Asterisk, or with none.

    `journal` is what was listened on, connected to and closed, in order, by port; `taken` are the
    ports that others listen on. Nothing moves but in `turn`.
    """

    def __init__(self, asterisk: FakeAsterisk | None = None) -> None:
        super().__init__()
        self.asterisk = asterisk
        self.journal: list[str] = []
        self.taken: set[int] = set()
        self._links: list[IOPump] = []
        self._from_threads: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> MemoryPort:
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        super().listenTCP(port, factory, backlog, interface)
        self.journal.append(f"listen {port}")
        return MemoryPort(partial(self.journal.append, f"close {port}"))

    def connectTCP(self, host: str, port: int, factory: Any, *how: Any, **more: Any) -> Any:
        connector = super().connectTCP(host, port, factory, *how, **more)
        self.journal.append(f"connect {port}")
        self.callLater(0, self._connected, connector, factory)
        return connector

    def _connected(self, connector: Any, factory: Any) -> None:
        if connector.stoppedConnecting:
            return
        if self.asterisk is None:
            factory.clientConnectionFailed(connector, Failure(Refused("no")))
            return
        agent, session = factory.buildProtocol(None), FakeSession(self.asterisk)
        ends = FakeTransport(session, isServer=True), FakeTransport(agent, isServer=False)
        self._links.append(connect(session, ends[0], agent, ends[1], greet=False, clock=Clock()))

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        """Wait for the next turn."""
        self._from_threads.put(partial(function, *arguments))

    def turn(self, seconds: float = 0) -> None:
        """Let time pass, then let everything come to rest."""
        self.advance(seconds)
        moved = True
        while moved:
            moved = bool(sum(link.flush() for link in self._links))
            while not self._from_threads.empty():
                self._from_threads.get()()
                moved = True
            while any(timer.getTime() <= self.seconds() for timer in self.getDelayedCalls()):
                self.advance(0)
                moved = True

    def factory(self, port: int) -> Any:
        """What listens on a port."""
        return [factory for taken, factory, *_ in self.tcpServers if taken == port][-1]


@implementer(IListeningPort)
class MemoryPort:
    """A port of a MemoryHost."""

    def __init__(self, closed: Callable[[], object]) -> None:
        self._closed = closed

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> None:
        """Close."""
        self._closed()

    def getHost(self) -> IPv4Address:
        """Somewhere."""
        return IPv4Address("TCP", "127.0.0.1", 0)


@frozen
class Answer:
    """One answer, as it came over the wire."""

    code: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """What it says; the length was right, and it is JSON and says so."""
        assert self.headers["content-type"] == "application/json"
        assert int(self.headers["content-length"]) == len(self.content)
        return json.loads(self.content)

    @property
    def faults(self) -> list[str]:
        """The codes of its errors."""
        body = self.json
        errors = body["errors"] if "errors" in body else body["response"]["errors"]
        return [entry["error"]["code"] for entry in errors]


def answers(data: bytes, *, head: bool = False) -> list[Answer]:
    """Cut what came over a connection into answers."""
    found = []
    while data:
        top, _, data = data.partition(b"\r\n\r\n")
        status, *lines = top.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if head else int(headers["content-length"])
        found.append(Answer(int(status.split()[1]), headers, data[:length]))
        data = data[length:]
    return found


def request(
    target: str, *headers: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
) -> bytes:
    """The bytes of a request, with the length of its body."""
    lines = [f"{method} {target} HTTP/{version}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection:
    """A connection to the listener, in memory."""

    def __init__(self, site: Any, peer: IAddress | None = None, *, secure: bool = False) -> None:
        address = peer or IPv4Address("TCP", "192.0.2.7", 40000)
        self.transport = transport_for_tests(peerAddress=address)
        if secure:
            self.transport.setTcpNoDelay = lambda _enabled: None
            directlyProvides(self.transport, ISSLTransport)
        self.protocol: Any = site.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    def sends(self, data: bytes) -> None:
        """Send bytes."""
        self.protocol.dataReceived(data)

    def answers(self) -> list[Answer]:
        """What came since this was asked last."""
        data = self.transport.value()
        self.transport.clear()
        return answers(data)

    def asks(self, *parts: Any, **how: Any) -> Answer:
        """Send a request, and take the one answer to it."""
        self.sends(request(*parts, **how))
        [answer] = self.answers()
        return answer

    def leaves(self) -> None:
        """The client is gone."""
        self.protocol.connectionLost(Failure(ConnectionLost()))
