"""What the agent reaches beside its PBX: the broker, and the receivers of webhooks.

Each is connected to, and by TLS as the agent has it; nothing is sent that could be taken for an
event or a job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as Conversation
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from c2c_agent.check import exposure
from c2c_agent.check.finding import Finding
from c2c_agent.config.sections import AmqpConfig, Config, WebhookConfig
from c2c_agent.errors import ConfigError
from c2c_agent.net.http_client import reason_of

#: Seconds for one of them to answer.
_PATIENCE: Final = 10.0

#: Seconds between looks whether the broker has answered.
_LOOK: Final = 0.05


class Link(Protocol):
    """What is needed of `amqp.link.AmqpLink`, with nobody who works over it."""

    last_error: str

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Connect."""

    def stopService(self) -> Deferred[None]:  # noqa: N802 - the same
        """Close."""


@frozen
class Outside:
    """How the checks look beyond this program and its PBX.

    `running` says where the running agent takes FastAGI, as `host:port`; None: no agent runs.
    `broker` makes a link that is not started; it raises ConfigError. `receiver` says why the
    server of a URL cannot be used; None: it can. `sockets` gives the kernel's tables of sockets,
    as `exposure.open_listeners` reads them.
    """

    running: Callable[[], Awaitable[str | None]]
    broker: Callable[[AmqpConfig], Link]
    receiver: Callable[[str], Awaitable[str | None]]
    sockets: Callable[[], Sequence[str]]


async def findings(config: Config, outside: Outside, reactor: Any) -> list[Finding]:
    """What is found of the broker and of each webhook."""
    found = []
    if config.amqp is not None:
        found.append(await _broker(config.amqp, outside, reactor))
        found += filter(None, [exposure.of_broker(config.amqp.host, tls=config.amqp.tls)])
    for webhook in config.webhooks:
        found.append(await _webhook(webhook, outside))
        found += filter(None, [exposure.of_webhook(webhook.name, webhook.url)])
    return found


async def _broker(config: AmqpConfig, outside: Outside, reactor: Any) -> Finding:
    place = f"{config.host}:{config.port}"
    try:
        link = outside.broker(config)
    except ConfigError as error:
        return Finding("broker", str(error), "Correct this, and check again.")
    untried = link.last_error
    deadline = reactor.seconds() + _PATIENCE
    link.startService()
    try:
        while link.last_error == untried and reactor.seconds() < deadline:
            await deferLater(reactor, _LOOK)
        reason = link.last_error
    finally:
        await link.stopService()
    if not reason:
        return Finding("broker", f"{place} lets the agent in")
    return Finding(
        "broker",
        f"{place}: {'no answer' if reason == untried else reason}",
        "See that the broker runs, that amqp.host and amqp.port are its own, that its user "
        "(amqp.username, or the certificate's name) may use amqp.virtual_host, and that "
        "amqp.ca_file has the authority of its certificate.",
    )


async def _webhook(webhook: WebhookConfig, outside: Outside) -> Finding:
    name = f"webhook {webhook.name}"
    reason = await outside.receiver(webhook.url)
    if reason is None:
        message = f"the server of {_server(webhook.url)} can be reached; nothing was sent"
        return Finding(name, message)
    advice = (
        f"See that the receiver runs at that place, with a certificate for its name; then "
        f"`c2c-agent webhook test {webhook.name}` sends it an event."
    )
    return Finding(name, f"{_server(webhook.url)}: {reason}", advice)


def _server(url: str) -> str:
    """The place in a URL; its path and query may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def server_of(url: str, reactor: Any) -> str | None:
    """Why the server of a URL cannot be connected to, over TLS where it is https; None: it can."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    endpoint: Any = HostnameEndpoint(reactor, host.encode("idna"), port)
    if parts.scheme == "https":
        endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
    try:
        connecting = endpoint.connect(Factory.forProtocol(_Handshake))
        handshake: _Handshake = await connecting.addTimeout(_PATIENCE, reactor)
        if parts.scheme == "https":
            await handshake.done.addTimeout(_PATIENCE, reactor)
    except Exception as error:  # noqa: BLE001 - no such name, refused, no TLS, another's certificate
        return reason_of(error)
    await handshake.leave()
    return None


@implementer(IHandshakeListener)
class _Handshake(Conversation):
    """A connection on which nothing is said but TLS; `done` fires when that is through."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self._left: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:  # noqa: N802 - the name of Twisted's IHandshakeListener
        """Both sides know each other."""
        if not self.done.called:
            self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Its end may be the reason."""
        if not self.done.called:
            self.done.errback(reason)
        self._left.callback(None)

    def leave(self) -> Deferred[None]:
        """End it, without a word; fires when nothing is left."""
        self.done.addErrback(lambda _: None)
        transport: Any = self.transport
        transport.abortConnection()
        return self._left
