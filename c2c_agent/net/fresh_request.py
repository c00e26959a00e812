"""One HTTP request over one connection of its own, and what is known where no answer comes.

A connection that is used again may be dying, and then nobody knows whether a request arrived. A
fresh one tells: before it is made nothing has left, afterwards everything may have. Nothing is
sent again, no redirect is followed, no proxy of the environment is used, nothing is unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from c2c_agent.errors import C2CError
from c2c_agent.net.http_client import reason_of
from c2c_agent.net.tls import Trust, tls_endpoint

#: Bytes of an answer's body, where nothing else is said.
_LONGEST: Final = 65536


class NotConnectedError(C2CError):
    """There was no connection, so nothing of the request has left."""


class NoAnswerError(C2CError):
    """The request has left, and no whole answer came: it may have been carried out."""


@frozen
class HttpAnswer:
    """What a server said. `challenges` are its `WWW-Authenticate` headers."""

    status: int
    body: bytes = b""
    challenges: tuple[str, ...] = ()


class Send(Protocol):
    """Who sends one request, and waits for its answer for so many seconds."""

    async def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """Send. Raises NotConnectedError and NoAnswerError."""


class FreshRequests:
    """Sends each request over a connection of its own, always to the same host and port."""

    def __init__(
        self,
        reactor: Any,
        *,
        host: str,
        port: int,
        trust: Trust | None,
        connect_seconds: float,
        longest: int = _LONGEST,
        why_not: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`trust` None: there is no TLS. Raises ConfigError where it cannot be had.

        `longest`: an answer whose body has more bytes counts as none.
        `why_not` is asked of the address that was connected to: whatever a name was resolved to,
        nothing is sent to one that is refused.
        """
        self._reactor = reactor
        self._longest = longest
        self._why_not = why_not
        shown = f"[{host}]" if ":" in host else host
        self._url = f"{'http' if trust is None else 'https'}://{shown}:{port}".encode()
        self._endpoint: IStreamClientEndpoint = (
            HostnameEndpoint(reactor, host.encode(), port, timeout=connect_seconds)
            if trust is None
            else tls_endpoint(reactor, host, port, trust, connect_seconds=connect_seconds)
        )

    async def __call__(
        self, method: str, target: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """Send. The seconds begin when the connection is there."""
        connecting = _Connecting(self._endpoint, self._why_not)
        agent = Agent.usingEndpointFactory(self._reactor, connecting)
        sent = Headers({name: [value] for name, value in headers.items()})
        producer = FileBodyProducer(BytesIO(body.encode())) if body or method != "GET" else None

        async def exchange() -> HttpAnswer:
            response: IResponse = await agent.request(
                method.encode(), self._url + target.encode(), sent, producer
            )
            challenges = response.headers.getRawHeaders("WWW-Authenticate") or ()
            return HttpAnswer(response.code, await self._body(response), tuple(challenges))

        exchanging = Deferred.fromCoroutine(exchange())
        # Connecting has a limit of its own.
        connecting.made = lambda: self._reactor.callLater(seconds, exchanging.cancel)
        try:
            return await exchanging
        except Exception as error:  # whatever it is, one thing counts: whether something has left
            timer = connecting.timer
            if timer is None:
                raise NotConnectedError(_words(error)) from error
            late = f"no whole answer within {seconds:g} s"
            raise NoAnswerError(_words(error) if timer.active() else late) from error
        finally:
            connecting.done()

    def _body(self, response: IResponse) -> Deferred[bytes]:
        """The body of an answer; fails where it is cut off, or too long."""
        body = _Body(self._longest)
        response.deliverBody(body)
        return body.whole


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Connecting:
    """The endpoint of one request, which notes when it has connected."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, why_not: Callable[[str], str | None]
    ) -> None:
        self._endpoint = endpoint
        self._why_not = why_not
        self.made: Callable[[], IDelayedCall]
        self.timer: IDelayedCall | None = None  # since it has connected

    def endpointForURI(self, uri: object) -> IStreamClientEndpoint:  # noqa: ARG002, N802 - Twisted
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, as the endpoint does."""

        def connected(protocol: Any) -> IProtocol:
            reason = self._why_not(protocol.transport.getPeer().host)
            if reason is not None:
                protocol.transport.abortConnection()
                raise NotConnectedError(reason)
            self.timer = self.made()
            made: IProtocol = protocol
            return made

        return self._endpoint.connect(factory).addCallback(connected)

    def done(self) -> None:
        """The exchange is over."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


class _Body(TwistedProtocol):
    """Collects the body of an answer, up to a limit."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._length = 0
        self.whole = Deferred[bytes](lambda _: self._abort())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        if self.whole.called:
            return
        self._parts.append(data)
        self._length += len(data)
        if self._length > self._longest:
            self._parts.clear()
            self.whole.errback(NoAnswerError(f"the answer is longer than {self._longest} bytes"))
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(reason)

    def _abort(self) -> None:
        transport: Any = self.transport
        # Its loseConnection would wait for the other side to end TLS, too, however long.
        transport.stopProducing()


def _words(error: Exception) -> str:
    """What went wrong; Twisted wraps it where the request was on its way."""
    reasons = getattr(error, "reasons", None)
    cause = reasons[0].value if reasons else error
    return str(cause) if isinstance(cause, C2CError) else reason_of(error)
