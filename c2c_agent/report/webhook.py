"""Webhooks: reports as signed HTTP requests, as the Standard Webhooks specification 1.0.0 has them.

Only 2xx is success, redirects are not followed, 410 ends all deliveries, `Retry-After` is honoured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from c2c_agent.config.sections import WebhookConfig
from c2c_agent.net.signature import signed_headers
from c2c_agent.report.delivery import Delivered, Delivery, Later, Refused, Target, Waiting
from c2c_agent.report.event import EventType

#: Seconds after a failed attempt until the next one; after the last there is none.
SCHEDULE: Final = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

#: By how much of its length a pause is longer at most, so that not all come back at once.
JITTER: Final = 0.1

#: Seconds that a receiver may ask to be left alone for, at most.
_LONGEST_PAUSE: Final = 86400.0

#: Requests to one receiver at once.
_WINDOW: Final = 10

#: Bytes of an answer's body that are read; nothing in it is of use.
_LONGEST_BODY: Final = 65536

_GONE: Final = 410
_REFUSED: Final = "the receiver said 410 Gone; replay sends it again"


class Webhook:
    """The reporter of one receiver.

    `secrets` are the keys, the newest first: each signs, so that the receiver may change to a new
    one when it likes. `client` keeps its connections for further requests, `fresh` makes one for
    each. `random` gives numbers from 0 to 1.
    """

    window = _WINDOW

    def __init__(
        self,
        config: WebhookConfig,
        secrets: Sequence[bytes],
        *,
        client: HTTPClient,
        fresh: HTTPClient,
        clock: Any,  # IReactorTime; treq has a type of its own for it
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.target = Target(
            config.name,
            None if config.types is None else tuple(map(EventType, config.types)),
            config.keys,
        )
        self._url = config.url
        self._timeout = config.timeout
        self._secrets = secrets
        self._client = client
        self._fresh = fresh
        self._clock = clock
        self._now = now
        self._random = random
        self._gone = False

    def ready(self) -> bool:
        """Whether it can deliver: always, for whether the receiver is there only a try can tell."""
        return True

    def revive(self) -> None:
        """Forget a 410."""
        self._gone = False

    async def deliver(self, waiting: Waiting) -> Delivery:
        """Send a report once, and judge the answer."""
        if self._gone:
            return Refused(_REFUSED)
        try:
            posted = Deferred.fromCoroutine(self._post(waiting))
            response = await posted.addTimeout(
                self._timeout, self._clock, onTimeoutCancel=_too_late
            )
        except Exception as error:  # noqa: BLE001 - no link, a bad certificate, too late, nonsense
            return self._failed(waiting, _words(error))
        _Ignored.body_of(response, self._timeout, self._clock)
        if 200 <= response.code <= 299:  # noqa: PLR2004 - this range is the specification's
            return Delivered()
        if response.code == _GONE:
            self._gone = True
            return Refused(_REFUSED)
        wanted = response.headers.getRawHeaders(b"retry-after", [b""])[0].decode("latin-1")
        return self._failed(waiting, f"HTTP {response.code}", retry_after(wanted, self._now()))

    async def _post(self, waiting: Waiting) -> IResponse:
        try:
            return await self._send(waiting, self._client)
        except (RequestTransmissionFailed, ResponseNeverReceived) as error:
            if not any(reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons):
                raise
        # Most likely it was closed before it was used: idle for long, or by a receiver that closes
        # each and does not say so. Were it another reason: the event's id tells who gets it twice.
        return await self._send(waiting, self._fresh)

    async def _send(self, waiting: Waiting, client: HTTPClient) -> IResponse:
        body = waiting.report.body.encode()
        signed = signed_headers(waiting.report.event_id, int(self._now()), body, self._secrets)
        headers = Headers({"Content-Type": ["application/json"], "User-Agent": ["c2c-agent"]})
        for name, value in signed.items():
            headers.addRawHeader(name, value)
        response: IResponse = await client.post(
            self._url,
            data=body,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,
        )
        return response

    def _failed(self, waiting: Waiting, reason: str, pause: float = 0.0) -> Delivery:
        if waiting.attempts >= len(SCHEDULE):
            return Refused(f"given up after {waiting.attempts + 1} attempts: {reason}")
        planned = SCHEDULE[waiting.attempts] * (1 + JITTER * self._random())
        return Later(reason, max(planned, min(pause, _LONGEST_PAUSE)))


def retry_after(value: str, now: float) -> float:
    """The seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3); 0 where it does not."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _too_late(_cancelled: object, seconds: float) -> NoReturn:
    raise TimeoutError(f"no answer within {seconds:g} s")


def _words(error: Exception) -> str:
    """What went wrong; Twisted wraps it where the request was on its way."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[0].value
    return f"{type(error).__name__}: {error}"[:500]


class _Ignored(Protocol):
    """Passes over a body, so that the connection can be used again; a long one ends it instead."""

    def __init__(self) -> None:
        self._length = 0
        self.ended = Deferred[None](lambda _: self._give_up())

    @classmethod
    def body_of(cls, response: IResponse, seconds: float, clock: IReactorTime) -> None:
        """Pass over an answer's body, for so long at most."""
        body = cls()
        body.ended.addTimeout(seconds, clock).addErrback(lambda _: None)
        # As it comes: treq would unpack it, and a few bytes can hold megabytes.
        while hasattr(response, "original"):
            response = response.original
        response.deliverBody(body)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._length += len(data)
        if self._length > _LONGEST_BODY:
            self._give_up()

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002, N802 - Twisted's name
        if not self.ended.called:
            self.ended.callback(None)

    def _give_up(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            # Its loseConnection would wait for the other side to end TLS, too, however long.
            transport.stopProducing()
