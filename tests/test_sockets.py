"""The sockets of our connections, on loopback: what is written leaves at once.

With Nagle's algorithm (RFC 9293, section 3.7.4) a small piece waits until the one before has been
acknowledged, and the other side delays that by up to 40 ms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pika
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.tcp import Client, Server
from twisted.trial.unittest import TestCase

from c2c_agent.agi.protocol import AgiFactory
from c2c_agent.ami.link import AmiLink, ami_endpoint
from c2c_agent.amqp.link import AmqpLink
from c2c_agent.amqp.login import broker_endpoint
from c2c_agent.config.sections import AmqpConfig
from c2c_agent.net.http_client import http_client
from c2c_agent.web.connections import ClientConnection, Connections

HOST = "127.0.0.1"
reactor: Any = _reactor


class Silent(Protocol):
    """A peer that says nothing."""


class Sockets(TestCase):
    """One connection, of which one side is ours."""

    async def listen(self, factory: Factory) -> int:
        """Take connections until the end of the test; gives the port."""
        port = await TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def at_once(self, side: type[Client | Server]) -> list[bool]:
        """Whether what our side of the connection writes leaves at once, as its socket says."""
        for _ in range(100):
            found = [one for one in self.connections() if isinstance(one, side)]
            if found:
                # What follows the connection's making in the same turn of the reactor is done.
                await deferLater(reactor, 0.01)
                return [bool(one.getTcpNoDelay()) for one in found]
            await deferLater(reactor, 0.01)
        raise AssertionError("nobody has connected")

    def connections(self) -> Iterator[Client | Server]:
        """All connections of this process that Twisted has."""
        for reader in reactor.getReaders():
            if isinstance(reader, (Client, Server)):
                yield reader

    async def gone(self) -> None:
        """Wait until no connection is left."""
        for one in list(self.connections()):
            one.abortConnection()
        while list(self.connections()):
            await deferLater(reactor, 0.01)

    async def check_amqp(self, *, tls: bool) -> None:
        """Connect to a broker."""
        port = await self.listen(Factory.forProtocol(Silent))
        config = AmqpConfig(host=HOST, port=port, tls=tls, password_file="-")
        login = pika.ConnectionParameters(HOST, port, heartbeat=0)
        link = AmqpLink(broker_endpoint(config, reactor), login, clock=reactor)
        link.startService()
        try:
            assert await self.at_once(Client) == [True]
        finally:
            stopped = link.stopService()
            await self.gone()
            await stopped

    async def test_amqp(self) -> None:
        """To the broker."""
        await self.check_amqp(tls=False)

    async def test_amqp_over_tls(self) -> None:
        """The same, where TLS lies between."""
        await self.check_amqp(tls=True)

    async def test_ami(self) -> None:
        """To Asterisk."""
        port = await self.listen(Factory.forProtocol(Silent))
        endpoint = ami_endpoint(reactor, HOST, port, tls=False)
        link = AmiLink(endpoint, username="u", secret="s", new_secret=lambda: "s", clock=reactor)
        link.observer = _Nobody()
        link.startService()
        try:
            assert await self.at_once(Client) == [True]
        finally:
            stopped = link.stopService()
            await self.gone()
            await stopped

    async def test_agi(self) -> None:
        """From Asterisk."""
        factory = AgiFactory(_never, reactor)
        port = await self.listen(factory)
        await HostnameEndpoint(reactor, HOST, port).connect(Factory.forProtocol(Silent))
        assert await self.at_once(Server) == [True]
        await self.gone()

    async def test_http(self) -> None:
        """From callers."""
        connections = Connections(10, reactor, b"")

        class Site(Factory):
            def buildProtocol(self, _address: object) -> ClientConnection:
                return ClientConnection(connections)

        port = await self.listen(Site())
        await TCP4ClientEndpoint(reactor, HOST, port).connect(Factory.forProtocol(Silent))
        assert await self.at_once(Server) == [True]
        await self.gone()

    async def test_webhooks(self) -> None:
        """To receivers."""
        port = await self.listen(Factory.forProtocol(Silent))
        asked: Deferred[Any] = http_client(reactor).post(f"http://{HOST}:{port}/", data=b"{}")
        assert await self.at_once(Client) == [True]
        asked.cancel()
        with contextlib.suppress(Exception):
            await asked
        await self.gone()


class _Nobody:
    """Follows the AMI link, and does nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args: None


async def _never(_channel: object) -> None:
    """No session comes so far."""
