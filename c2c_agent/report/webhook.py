"""Webhooks: reports as signed HTTP requests, as the Standard Webhooks specification 1.0.0 has them.

Only 2xx is success, redirects are not followed, 410 ends all deliveries, `Retry-After` is honoured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.web.client import RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from c2c_agent.config.sections import WebhookConfig
from c2c_agent.net.http_client import pass_over_body, reason_of, within
from c2c_agent.net.signature import signed_headers
from c2c_agent.report.delivery import Delivered, Delivery, Later, Refused, Target, Waiting
from c2c_agent.report.event import EventType
from c2c_agent.report.formats import FORMATS

#: Seconds after a failed attempt until the next one; after the last there is none.
SCHEDULE: Final = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

#: By how much of its length a pause is longer at most, so that not all come back at once.
JITTER: Final = 0.1

#: Seconds that a receiver may ask to be left alone for, at most.
_LONGEST_PAUSE: Final = 86400.0

#: Requests to one receiver at once.
_WINDOW: Final = 10

_GONE: Final = 410
_REFUSED: Final = "the receiver said 410 Gone; replay sends it again"


class Webhook:
    """The reporter of one receiver.

    `secrets` are the keys, the newest first: each signs, so that the receiver may change to a new
    one when it likes. Other formats have a `token` in their place, with which the URL ends.
    `client` keeps its connections for further requests, `fresh` makes one for each. `random` gives
    numbers from 0 to 1.
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
        token: str | None = None,
    ) -> None:
        self.target = Target(
            config.name,
            None if config.types is None else tuple(map(EventType, config.types)),
            config.keys,
        )
        self._url = config.url
        if token is not None:
            self._url = f"{config.url.rstrip('/')}/{quote(token, safe='')}"
        self._format = FORMATS.get(config.format)
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
        body = self._body(waiting)
        if body is None:  # the receiver has no word for it
            return Delivered()
        try:
            posted = Deferred.fromCoroutine(self._post(waiting, body))
            response = await within(posted, self._timeout, self._clock)
        except Exception as error:  # noqa: BLE001 - no link, a bad certificate, too late, nonsense
            return self._failed(waiting, reason_of(error))
        pass_over_body(response, self._timeout, self._clock)
        if 200 <= response.code <= 299:  # noqa: PLR2004 - Standard Webhooks 1.0.0
            return Delivered()
        if response.code == _GONE:
            self._gone = True
            return Refused(_REFUSED)
        wanted = response.headers.getRawHeaders(b"retry-after", [b""])[0].decode("latin-1")
        return self._failed(waiting, f"HTTP {response.code}", retry_after(wanted, self._now()))

    def _body(self, waiting: Waiting) -> bytes | None:
        """What is sent of a report; None: nothing is."""
        if self._format is None:
            return waiting.report.body.encode()  # as it stands in the store, to the byte
        told = self._format(json.loads(waiting.report.body))
        return None if told is None else json.dumps(told, separators=(",", ":")).encode()

    async def _post(self, waiting: Waiting, body: bytes) -> IResponse:
        try:
            return await self._send(waiting, body, self._client)
        except (RequestTransmissionFailed, ResponseNeverReceived) as error:
            if not any(reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons):
                raise
        # Most likely it was closed before it was used: idle for long, or by a receiver that closes
        # each and does not say so. Were it another reason: the event's id tells who gets it twice.
        return await self._send(waiting, body, self._fresh)

    async def _send(self, waiting: Waiting, body: bytes, client: HTTPClient) -> IResponse:
        headers = Headers({"Content-Type": ["application/json"], "User-Agent": ["c2c-agent"]})
        if self._format is None:
            event_id, now = waiting.report.event_id, int(self._now())
            for name, value in signed_headers(event_id, now, body, self._secrets).items():
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
            return Refused(f"{waiting.attempts + 1} attempts failed: {reason}")
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
