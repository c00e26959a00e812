"""The HTTP listener: twisted.web below, the handlers of `api` above."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from c2c_agent.config.rules import UNIX
from c2c_agent.errors import StoreError
from c2c_agent.report.live import Watch
from c2c_agent.report.metrics import Exposition
from c2c_agent.web.answers import Reply, Text
from c2c_agent.web.api import Api
from c2c_agent.web.ask import PREFIX, Ask
from c2c_agent.web.browser import read_browser
from c2c_agent.web.connections import RETRY_AFTER, BoundedRequest, ClientConnection, Connections
from c2c_agent.web.request import Proxies, read_parameters
from c2c_agent.web.stream import EventStream, write_head

_log = Logger()

#: Seconds without a byte from a client after which its connection is closed.
_IDLE: Final = 60

#: An answer, with the type and the bytes of its body; of a stream there are none yet.
Answer: TypeAlias = tuple[Reply, str, bytes]

#: A target in absolute form, but for its query.
_ABSOLUTE: Final = re.compile("https?://([^/]*)(/.*)?", re.IGNORECASE)

_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,253}")


class ApiResource(Resource):
    """Every request of the listener; a leaf, for `Api` knows the paths."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self, api: Api, public_url: str | None, proxies: Proxies, clock: IReactorTime
    ) -> None:
        super().__init__()
        self._api = api
        self._clock = clock
        self._public_url = public_url
        self._proxies = proxies

    def render(self, request: BoundedRequest) -> int:
        """Answer a request, now or later."""
        path, _ = _target(request)
        method = request.method.decode("ascii", "backslashreplace")
        read: list[Ask] = []  # the request, as soon as it is read
        answering = Deferred.fromCoroutine(self._answer(request, method, path, read))
        gone: list[Failure] = []

        def leave(reason: Failure) -> None:
            gone.append(reason)
            if path.startswith(f"{PREFIX}/status/"):
                answering.cancel()  # it may be held for long; whoever asks changes nothing by it

        request.notifyFinish().addErrback(leave)

        def failed(failure: Failure) -> Answer | None:
            if gone and failure.check(CancelledError):
                return None
            if failure.check(StoreError):  # no mistake of ours, and while it lasts there are many
                reason = failure.getErrorMessage()
                _log.warn("{method} {path}: {reason}", method=method, path=path, reason=reason)
            else:
                _log.failure("{method} {path} failed", failure, method=method, path=path)
            reply = self._api.failed(path)
            return _encode(self._api.for_client(read[0], reply) if read else reply)

        def write(answer: Answer | None) -> None:
            if answer is None:
                return
            reply, content_type, body = answer
            if isinstance(reply.body, Watch):
                _set_headers(request, reply)
                self._stream(request, reply.body, reply.lasts, gone=bool(gone))
            elif not gone:
                _write(request, reply, content_type, body)

        answering.addErrback(failed).addCallback(write)
        answering.addErrback(lambda failure: _log.failure("an answer was not sent", failure))
        return NOT_DONE_YET

    def _stream(
        self, request: BoundedRequest, watch: Watch, lasts: float | None, *, gone: bool
    ) -> None:
        if gone:
            watch.close()
        elif request.method == b"HEAD":
            watch.close()
            write_head(request)
            request.finish()
        else:
            EventStream(request, watch, self._clock, lasts)

    async def _answer(
        self, request: BoundedRequest, method: str, path: str, read: list[Ask]
    ) -> Answer:
        handler, item = self._api.route(method, path)
        ask = self._ask(request, method, path, item)
        read.append(ask)
        if getattr(request.channel, "is_spare", False) and not self._api.looks_after(ask):
            return _encode(self._api.for_client(ask, self._api.busy(ask.path, RETRY_AFTER)))
        return _encode(await self._api.answer(handler, ask))

    def _ask(self, request: BoundedRequest, method: str, path: str, item: str) -> Ask:
        _, _, query = request.uri.partition(b"?")
        body = request.content.read() if request.content is not None else b""
        return Ask(
            method=method,
            path=path,
            base_url=self._public_url or _base_url(request),
            item=item,
            parameters=read_parameters(
                query, _header(request, b"content-type"), body, oversized=request.oversized
            ),
            bearer=_bearer(request),
            client=self._proxies.client(
                str(getattr(request.getClientAddress(), "host", UNIX)),
                ",".join(_headers(request, "x-forwarded-for")),
            ),
            last_event_id=_header(request, b"last-event-id"),
            browser=read_browser(method, lambda name: _header(request, name.encode())),
            if_none_match=_header(request, b"if-none-match"),
        )


def _header(request: BoundedRequest, name: bytes) -> str:
    """A header as text: any byte may stand in one (RFC 9110, section 5.5)."""
    return (request.getHeader(name) or b"").decode("latin-1")


def _headers(request: BoundedRequest, name: str) -> list[str]:
    """All headers of that name; several mean one list (RFC 9110, section 5.3)."""
    values = request.requestHeaders.getRawHeaders(name.encode(), [])
    return [value.decode("latin-1") for value in values]


def _bearer(request: BoundedRequest) -> str | None:
    scheme, _, secret = _header(request, b"authorization").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret.strip() else None


def _base_url(request: BoundedRequest) -> str:
    """How the client named this server; only what a URL can begin with."""
    _, authority = _target(request)
    host = authority or _header(request, b"host")
    if _HOST.fullmatch(host) is None:
        host = _here(request)
    return f"{'https' if request.isSecure() else 'http'}://{host}"


def _here(request: BoundedRequest) -> str:
    """This host, and the port at which the request came."""
    port = getattr(request.getHost(), "port", None)  # there is none at a socket of UNIX
    usual = 443 if request.isSecure() else 80
    return "localhost" if port in {None, usual} else f"localhost:{port}"


def _target(request: BoundedRequest) -> tuple[str, str]:
    """The path that was asked for; and whom it was asked of, where the target names that.

    What a target names counts in the place of the header Host (RFC 9112, section 3.2.2).
    """
    path = request.path.decode("ascii", "backslashreplace")
    absolute = _ABSOLUTE.fullmatch(path)
    return (path, "") if absolute is None else (absolute[2] or "/", absolute[1])


def _encode(reply: Reply) -> Answer:
    if reply.body is None or isinstance(reply.body, Watch):
        return reply, "", b""
    if isinstance(reply.body, (Exposition, Text)):
        return reply, reply.body.content_type, reply.body.content
    return reply, "application/json", _json(reply)


def _json(reply: Reply) -> bytes:
    return json.dumps(reply.body).encode() + b"\n"


def _write(request: BoundedRequest, reply: Reply, content_type: str, body: bytes) -> None:
    request.setResponseCode(reply.code)
    if content_type:
        request.setHeader("content-type", content_type)
        request.setHeader("content-length", str(len(body)))
    request.setHeader("cache-control", "no-store")
    _set_headers(request, reply)
    if reply.retry_after is not None:
        request.setHeader("retry-after", str(reply.retry_after))
    request.write(body)
    request.finish()


def _set_headers(request: BoundedRequest, reply: Reply) -> None:
    for name, value in reply.headers:
        request.setHeader(name, value)


class ApiSite(Site):
    """The factory to listen with."""

    noisy = False

    def __init__(
        self,
        api: Api,
        public_url: str | None,
        clock: IReactorTime,
        trusted_proxies: Sequence[str] = (),
        *,
        max_connections: int = 1000,
    ) -> None:
        base_url = public_url.rstrip("/") if public_url is not None else None
        super().__init__(
            ApiResource(api, base_url, Proxies(trusted_proxies), clock),
            requestFactory=BoundedRequest,
            timeout=_IDLE,
            reactor=clock,
            parsePOSTFormSubmission=False,  # `read_parameters` does, and refuses in words
        )
        self.connections = Connections(max_connections, clock, _json(api.busy(PREFIX, RETRY_AFTER)))
        # HTTP/1.1 alone, so without the wrapper that Twisted has for HTTP/2, too.
        self.protocol = partial(ClientConnection, self.connections)  # type: ignore[assignment]

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 - Twisted's name
        """Take a client in, or tell it why not."""
        return (
            super().buildProtocol(addr)
            if self.connections.make_room()
            else self.connections.goodbye()
        )

    def log(self, request: Request) -> None:
        """Keep no log of URLs: keys stand in them, and the rest is in the store and our own log."""
