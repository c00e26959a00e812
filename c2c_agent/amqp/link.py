"""The link to the message broker: one connection at a time, made anew whenever it is lost.

AMQP 0-9-1 itself is pika's, on its adapter for Twisted. What stands here is what pika leaves to its
users: to connect again, with a pause that grows and jitter in it, and to know of each message that
was published what became of it.
"""

from __future__ import annotations

import logging
import random
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import pika
from pika.adapters.twisted_connection import TwistedChannel, TwistedProtocolConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, UnroutableError
from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.errors import C2CError
from c2c_agent.net.endpoints import WatchedEndpoint
from c2c_agent.net.reconnect import ReconnectPolicy

_log = Logger()

# What it has to say comes to us as exceptions; its own lines would go to stderr past our log.
logging.getLogger("pika").addHandler(logging.NullHandler())
logging.getLogger("pika").propagate = False

#: Seconds for the broker to say yes or no: to a connection, to a channel, to a message.
_PATIENCE: Final = 15.0

#: Seconds that a link has to last. One that a user has to give up sooner counts as an attempt that
#: failed: the broker lets us in, and then refuses what we do.
_STEADY: Final = 60.0

#: Seconds between two attempts to connect at most.
_LONGEST_PAUSE: Final = 29.0

#: Delivery mode 2: the broker keeps it over a restart of its own.
_PERSISTENT: Final = 2


class NotPublished(C2CError):  # noqa: N818 - it says what happened
    """The broker has not taken a message, and says why."""


class Unroutable(NotPublished):
    """There is no queue for the message."""


class PublishingUnknown(C2CError):  # noqa: N818 - as above
    """The link was lost, or the broker silent: nobody knows whether it has the message."""


class AmqpUser(typing.Protocol):
    """Who works over the link."""

    async def opened(self, connection: TwistedProtocolConnection, lose: Lose) -> None:
        """The connection is there. What this raises ends it; a later trouble goes to `lose`."""

    def closed(self, reason: str) -> None:
        """The connection that was there is lost. Follows each `opened` that came to its end."""


#: Ends the connection, for a reason that is logged; a new one is made.
Lose: typing.TypeAlias = Callable[[str], None]


class AmqpLink(Service):
    """The link to one broker, as a service.

    `endpoint` says where it is, `parameters` how to log in; `clock` is the reactor. The `users` are
    told in order, each when the one before is ready. `jitter` gives numbers from 0 to 1.

    `last_error` is why there is no link, `""` while there is one. `reconnects` counts the links
    after the first.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        parameters: pika.ConnectionParameters,
        *,
        clock: Any,
        users: Sequence[AmqpUser] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.users = users
        self.last_error = "not connected yet"
        self.reconnects = -1
        self._parameters = parameters
        self._clock = clock
        self._reconnect = ReconnectPolicy(_LONGEST_PAUSE, jitter)
        self._doubtful = False  # the link was given up before it was steady, and may be again
        self._until_steady: IDelayedCall | None = None
        self._connection: _Connection | None = None
        self._open_users: list[AmqpUser] = []
        factory = Factory.forProtocol(self._new_connection)
        factory.noisy = False
        self._client = ClientService(
            WatchedEndpoint(endpoint, self._not_connected), factory, self._delay, clock
        )

    @property
    def is_up(self) -> bool:
        """Whether all users have what they need."""
        return not self.last_error

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Connect, and go on connecting."""
        super().startService()
        self._client.startService()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - the same
        """Close; fires when nothing is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        connection = self._connection
        if connection is not None:
            self._go_down("closed by us")
            connection.say_goodbye()
        await self._client.stopService()

    def _new_connection(self) -> _Connection:
        connection = self._connection = _Connection(self._parameters, self._clock, self._lost)
        Deferred.fromCoroutine(self._open(connection))
        return connection

    async def _open(self, connection: _Connection) -> None:
        """Have every user ready, or end the connection."""
        try:
            await within(Deferred.fromCoroutine(connection.logged_in()), self._clock)
            for user in self.users:
                await within(
                    Deferred.fromCoroutine(user.opened(connection, connection.lose)), self._clock
                )
                self._open_users.append(user)
        except Exception as error:  # noqa: BLE001 - refused, silent, no such queue, or our mistake
            self._reconnect.refused = connection.was_refused or not connection.is_lost
            connection.lose(_words(error))
        else:
            if connection is self._connection and not connection.is_lost:
                self.reconnects += 1
                self.last_error = ""
                self._until_steady = self._clock.callLater(_STEADY, self._steady)
                if not self._doubtful:
                    self._is_up()

    def _steady(self) -> None:
        self._until_steady = None
        if self._doubtful:
            self._doubtful = False
            self._is_up()

    def _is_up(self) -> None:
        self._reconnect.succeeded()
        _log.info("AMQP link up: {place}", place=self._place)

    def _lost(self, connection: _Connection, reason: str) -> None:
        if connection is self._connection:
            self._connection = None
            if connection.was_given_up and self._until_steady is not None:
                self._doubtful = True
            self._go_down(reason)

    def _go_down(self, reason: str) -> None:
        self.last_error = reason
        if self._until_steady is not None:
            self._until_steady.cancel()
            self._until_steady = None
        users, self._open_users = self._open_users, []
        for user in reversed(users):
            with _log.failuresHandled("AMQP: a mistake in what follows the link, at its end"):
                user.closed(reason)

    def _not_connected(self, failure: Failure) -> None:
        self.last_error = failure.getErrorMessage().rstrip(".")

    def _delay(self, _attempts: int) -> float:
        """How long to wait before the next attempt, in seconds."""
        seconds = self._reconnect.pause()
        if self._reconnect.is_news(self.last_error):
            _log.warn(
                "No AMQP link to {place}: {reason}. Next attempt in {seconds:.1f} s",
                place=self._place,
                reason=self.last_error,
                seconds=seconds,
            )
        return seconds

    @property
    def _place(self) -> str:
        return f"{self._parameters.host}:{self._parameters.port}"


class _Connection(TwistedProtocolConnection):  # type: ignore[misc]  # pika has no annotations
    """A connection that keeps why it was refused or lost."""

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        clock: Any,
        lost: Callable[[_Connection, str], None],
    ) -> None:
        super().__init__(parameters, clock)
        self.is_lost = False
        self.was_refused = False
        self.was_given_up = False
        self._let_in = False
        self._ready: Deferred[Any] = self.ready
        self._when_lost = lost
        self._reason = ""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Have every message leave at once.

        pika writes a message in three frames. The second would wait until the broker has
        acknowledged the first (Nagle's algorithm, RFC 9293 section 3.7.4), which the broker's
        host delays by up to 40 ms.
        """
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        super().connectionMade()

    async def logged_in(self) -> None:
        """Wait until the broker has let us in."""
        await self._ready
        self._let_in = True
        self.closed.addBoth(self._note)

    def lose(self, reason: str) -> None:
        """End it at once."""
        if not self.is_lost:
            self._reason = reason
            self.was_given_up = True
            self.transport.abortConnection()

    def say_goodbye(self) -> None:
        """Close as the protocol has it; the broker ends the connection then."""
        with suppress(AMQPError):
            self.close()

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Tell the link."""
        self.is_lost = True
        # What the broker said at last; pika does not pass it on where it let nobody in.
        said = self._impl._error  # noqa: SLF001
        if isinstance(said, AMQPError):
            self.was_refused = not self._let_in
            self._note(said)
        super().connectionLost(reason)
        self._when_lost(self, self._reason or _words(reason.value))

    def _note(self, error: object) -> None:
        self._reason = self._reason or _words(error)


class Publisher:
    """A channel on which the broker confirms each message.

    pika tells a message that came back by its order alone, and so takes one for another where the
    broker confirms several at once; here each has a number of its own.
    """

    def __init__(self, channel: TwistedChannel, clock: IReactorTime) -> None:
        self._channel = channel
        self._clock = clock
        self._published = 0
        self._returned: set[str] = set()
        channel.add_on_return_callback(self._take_back)

    @classmethod
    async def open(
        cls, connection: TwistedProtocolConnection, clock: IReactorTime, lose: Lose
    ) -> Publisher:
        """Open a channel for it. Where the broker closes that alone, `lose` is told.

        It does so for what it does not allow, or where there is no such exchange. What waits to be
        sent is lost with the link, if that is given up then.
        """
        channel = await connection.channel()

        def closed(reason: object) -> None:
            if isinstance(reason, ChannelClosedByBroker):
                lose(_words(reason))

        channel.on_closed.addBoth(closed)
        await channel.confirm_delivery()
        return cls(channel, clock)

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        kind: str,
        message_id: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Publish, persistent and mandatory; returns when the broker has it safely.

        `kind` is the property `type`. Raises NotPublished, or PublishingUnknown.
        """
        self._published += 1
        number = str(self._published)
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=_PERSISTENT,
            correlation_id=number,
            message_id=message_id,
            type=kind,
            headers=dict(headers or {}),
        )
        try:
            await within(
                self._channel.basic_publish(exchange, routing_key, body, properties, True),
                self._clock,
            )
        except UnroutableError:
            pass  # of this message or of one beside it: the numbers tell
        except NackError as error:
            raise NotPublished("the broker could not keep it") from error
        except Exception as error:
            # A TimeoutError, or whatever ended the connection: pika passes that on as it is.
            raise PublishingUnknown(_words(error)) from error
        if number in self._returned:
            self._returned.discard(number)
            raise Unroutable(f"there is no queue for {routing_key} at {exchange or 'the broker'}")

    def _take_back(self, message: Any) -> None:
        self._returned.add(str(message.properties.correlation_id))


def consume(messages: Any, take: Callable[[Any], Any], lose: Lose) -> None:
    """Give each message of a consumer's queue to `take`, until it ends; that ends the link."""

    async def all_messages() -> None:
        while True:
            message = await messages.get()
            taking = Deferred.fromCoroutine(take(message))
            taking.addErrback(lambda failure: _log.failure("a mistake with a message", failure))

    def ended(failure: Any) -> None:
        lose(failure.getErrorMessage())

    Deferred.fromCoroutine(all_messages()).addErrback(ended)


def within(waiting: Deferred[Any], clock: IReactorTime) -> Deferred[Any]:
    """Wait for the broker, but not for ever; fails with TimeoutError."""

    def too_late(failure: Failure, seconds: float) -> None:
        failure.trap(CancelledError)
        raise TimeoutError(f"no answer from the broker within {seconds:g} s")

    return waiting.addTimeout(_PATIENCE, clock, onTimeoutCancel=too_late)


def _words(error: object) -> str:
    if isinstance(error, Failure):
        error = error.value
    return (str(error) or repr(error))[:300]
