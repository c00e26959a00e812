"""Requests over HTTP, bounded: how long an answer may take, and how much of it is read.

The other side is not ours. It may be slow, say nothing, answer without end, or set cookies.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, NoReturn, TypeVar

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IResponse

T = TypeVar("T")

#: Bytes of an answer's body that are passed over, so that its connection can be used again.
_LONGEST_BODY: Final = 65536

_LONGEST_REASON: Final = 500


def http_client(reactor: Any, pool: HTTPConnectionPool | None = None) -> HTTPClient:
    """A client that keeps no cookies; with a `pool` it keeps its connections for further requests.

    Cookies would go back with every further request, ever more of them.
    """
    cookies = IndexableCookieJar(DefaultCookiePolicy(allowed_domains=()))
    return HTTPClient(Agent(reactor, pool=pool), cookies)


def within(answer: Deferred[T], seconds: float, clock: IReactorTime) -> Deferred[T]:
    """Wait for an answer, but not for ever; fails with TimeoutError."""
    return answer.addTimeout(seconds, clock, onTimeoutCancel=_too_late)


def _too_late(_cancelled: object, seconds: float) -> NoReturn:
    raise TimeoutError(f"no answer within {seconds:g} s")


def reason_of(error: Exception) -> str:
    """What went wrong with a request; Twisted wraps it where the request was on its way."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[0].value
    return f"{type(error).__name__}: {error}"[:_LONGEST_REASON]


def pass_over_body(response: IResponse, seconds: float, clock: IReactorTime) -> None:
    """Read an answer's body and forget it, so that the connection can be used again.

    A body that is long, or takes more than `seconds`, ends the connection instead.
    """
    body = IgnoredBody()
    body.ended.addTimeout(seconds, clock).addErrback(lambda _: None)
    # As it comes: treq would unpack it, and a few bytes can hold megabytes.
    while hasattr(response, "original"):
        response = response.original
    response.deliverBody(body)


class IgnoredBody(Protocol):
    """Passes over a body; `ended` fires at its end. To cancel that ends the connection."""

    def __init__(self) -> None:
        self._length = 0
        self.ended = Deferred[None](lambda _: self._give_up())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Count it."""
        self._length += len(data)
        if self._length > _LONGEST_BODY:
            self._give_up()

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002, N802 - Twisted's name
        """It is over, in one way or another."""
        if not self.ended.called:
            self.ended.callback(None)

    def _give_up(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            # Its loseConnection would wait for the other side to end TLS, too, however long.
            transport.stopProducing()
