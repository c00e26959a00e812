"""A message broker in memory: what stands in for RabbitMQ where the link and its users are tested.

`FakeBroker` speaks AMQP 0-9-1 at the other end of a StringTransport, as far as the agent uses it;
it confirms and returns messages when the test says so. `FakeConnection` is what users of the link
get: queues and exchanges without any protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pika
from pika import frame, spec
from pika.exceptions import ChannelClosedByBroker
from twisted.internet.defer import Deferred, DeferredQueue, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure


class FakeBroker:
    """The other end of one connection after another; it is the endpoint that is connected to.

    `refuses`: a login comes to nothing. `silent`: it says nothing at all.
    """

    def __init__(self) -> None:
        self.refuses = False
        self.silent = False
        self.absent = False
        self.connections = 0
        self.published: list[str] = []  # correlation ids
        self._protocol: Any = None
        self._transport = StringTransport()
        self._buffer = b""

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Take a connection."""
        if self.absent:
            return fail(ConnectionRefusedError("nobody listens"))
        self.connections += 1
        protocol: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        self._protocol, self._transport, self._buffer = protocol, StringTransport(), b""
        protocol.makeConnection(self._transport)
        return succeed(protocol)

    # What the test has it do

    def answer(self) -> None:
        """Answer everything that was said so far, and what that leads to."""
        while self._transport.value():
            self._buffer += self._transport.value()
            self._transport.clear()
            if self._transport.disconnecting:
                self.lose()
                return
            if not self.silent:
                self._take()

    def confirm(self, tag: int, *, multiple: bool = False) -> None:
        """Confirm a message, or all up to it."""
        self._send(1, spec.Basic.Ack(tag, multiple))

    def refuse(self, tag: int) -> None:
        """Say that a message could not be kept."""
        self._send(1, spec.Basic.Nack(tag, multiple=False))

    def give_back(self, number: str) -> None:
        """Return a message for which there is no queue."""
        properties = spec.BasicProperties(correlation_id=number)
        self._send(1, spec.Basic.Return(312, "NO_ROUTE", "c2c.events", "key"))
        self._protocol.dataReceived(frame.Header(1, 0, properties).marshal())

    def close_channel(self, code: int, why: str) -> None:
        """Close the channel that is published over, and nothing else."""
        self._send(1, spec.Channel.Close(code, why, 60, 40))

    def lose(self, why: Exception | None = None) -> None:
        """Lose the connection."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(why or ConnectionLost("the cable")))

    @property
    def dropped(self) -> bool:
        """Whether the agent has ended the connection."""
        return bool(self._transport.disconnecting or self._transport.disconnected)

    # AMQP

    def _take(self) -> None:
        if self._buffer.startswith(b"AMQP"):
            self._buffer = self._buffer[8:]
            properties = {"capabilities": {"publisher_confirms": True, "basic.nack": True}}
            self._send(0, spec.Connection.Start(0, 9, properties, "PLAIN", "en_US"))
        while self._buffer:
            count, one = frame.decode_frame(self._buffer)
            if not count:
                return
            self._buffer = self._buffer[count:]
            if isinstance(one, frame.Header):
                self.published.append(str(one.properties.correlation_id))
            elif isinstance(one, frame.Method):
                self._answer(one.channel_number, one.method)

    def _answer(self, channel: int, method: Any) -> None:
        match method:
            case spec.Connection.StartOk() if self.refuses:
                self._send(0, spec.Connection.Close(403, "ACCESS_REFUSED", 0, 0))
                self.lose(ConnectionDone())
            case spec.Connection.StartOk():
                self._send(0, spec.Connection.Tune(100, 131072, 0))
            case spec.Connection.Open():
                self._send(0, spec.Connection.OpenOk())
            case spec.Connection.Close():
                self._send(0, spec.Connection.CloseOk())
                self.lose()
            case spec.Channel.Open():
                self._send(channel, spec.Channel.OpenOk())
            case spec.Confirm.Select():
                self._send(channel, spec.Confirm.SelectOk())

    def _send(self, channel: int, method: Any) -> None:
        self._protocol.dataReceived(frame.Method(channel, method).marshal())


class FakeChannel:
    """A channel: what was published through it, and what is consumed from it."""

    def __init__(self, connection: FakeConnection) -> None:
        self.is_open = True
        self.on_closed: Deferred[Any] = Deferred()
        self._connection = connection

    def add_on_return_callback(self, callback: Any) -> None:
        self._connection.returned = callback

    def confirm_delivery(self) -> Deferred[None]:
        return succeed(None)

    def basic_qos(self, prefetch_count: int) -> Deferred[None]:
        self._connection.prefetch = prefetch_count
        return succeed(None)

    def basic_consume(self, queue: str) -> Deferred[tuple[Any, str]]:
        self._connection.consumed = queue
        return succeed((self._connection.messages, "tag"))

    def exchange_declare(self, exchange: str, exchange_type: str, durable: bool) -> Deferred[None]:
        self._connection.declared.append(f"{exchange} {exchange_type} {durable}")
        return succeed(None)

    def queue_declare(
        self, queue: str, durable: bool, arguments: Mapping[str, object]
    ) -> Deferred[None]:
        if queue in self._connection.of_other_arguments and "x-expires" in arguments:
            return fail(ChannelClosedByBroker(406, "PRECONDITION_FAILED - inequivalent arg"))
        if queue in self._connection.forbidden:
            return fail(ChannelClosedByBroker(403, "ACCESS_REFUSED"))
        kind = arguments["x-queue-type"]
        if "x-expires" in arguments:
            kind = f"{kind} expires {arguments['x-expires']}"
        self._connection.declared.append(f"{queue} {kind} {durable}")
        return succeed(None)

    def queue_bind(self, queue: str, exchange: str, routing_key: str) -> Deferred[None]:
        self._connection.declared.append(f"{exchange} {routing_key}> {queue}")
        return succeed(None)

    def queue_unbind(self, queue: str, exchange: str, routing_key: str) -> Deferred[None]:
        self._connection.unbound.append(f"{exchange} {routing_key}> {queue}")
        return succeed(None)

    def basic_publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: pika.BasicProperties,
        mandatory: bool,
    ) -> Deferred[None]:
        assert mandatory
        assert properties.delivery_mode == 2
        return self._connection.take(exchange, routing_key, body, properties)

    def basic_ack(self, tag: int) -> None:
        self._connection.settled[tag] = "ack"

    def basic_nack(self, tag: int) -> None:
        self._connection.settled[tag] = "again"

    def basic_reject(self, tag: int, *, requeue: bool) -> None:
        assert not requeue
        self._connection.settled[tag] = "dead"


class FakeConnection:
    """A connection of the link's. What is published is confirmed at once, unless `holds`.

    `error` is what publishing fails with. `settled` tells what became of each delivery.
    """

    def __init__(self) -> None:
        self.messages: Any = DeferredQueue()
        self.published: list[tuple[str, str, bytes, pika.BasicProperties]] = []
        self.declared: list[str] = []
        self.unbound: list[str] = []
        self.settled: dict[int, str] = {}
        self.prefetch = 0
        self.consumed = ""
        self.error: Exception | None = None
        self.holds = False
        self.held: list[Deferred[None]] = []
        self.of_other_arguments: set[str] = set()  # queues that are there, and never expire
        self.forbidden: set[str] = set()
        self.unroutable: set[str] = set()  # routing keys; one that is declared meanwhile is not
        self.returned: Any = None
        self.channels: list[FakeChannel] = []
        self._deliveries = 0

    def channel(self) -> Deferred[FakeChannel]:
        self.channels.append(FakeChannel(self))
        return succeed(self.channels[-1])

    def take(
        self, exchange: str, routing_key: str, body: bytes, properties: pika.BasicProperties
    ) -> Deferred[None]:
        """Take a message that is published."""
        if self.error is not None:
            return fail(self.error)
        declared = any(one.startswith(f"{routing_key} ") for one in self.declared)
        if routing_key in self.unroutable and not declared:
            self.returned(_Message(self.channels[-1], 0, routing_key, body, properties))
            return succeed(None)
        self.published.append((exchange, routing_key, body, properties))
        if not self.holds:
            return succeed(None)
        self.held.append(Deferred())
        return self.held[-1]

    def deliver(self, body: bytes, *, kind: str | None = None, key: str = "") -> int:
        """Have the broker deliver a message; its tag."""
        self._deliveries += 1
        properties = pika.BasicProperties(type=kind)
        message = _Message(self.channels[-1], self._deliveries, key, body, properties)
        self.messages.put(message)
        return self._deliveries


class _Message:
    """A message as pika gives it."""

    def __init__(
        self, channel: Any, tag: int, key: str, body: bytes, properties: pika.BasicProperties
    ) -> None:
        self.channel = channel
        self.method = spec.Basic.Deliver(
            "tag", tag, redelivered=False, exchange="", routing_key=key
        )
        self.properties = properties
        self.body = body
