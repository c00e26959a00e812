"""A stream of events over HTTP: takes from a `live.Watch` what the client is able to read.

The connection says when it has enough to send (`pauseProducing`); from then on events wait in the
watch, which is bounded. A client that is too far behind, or takes nothing for too long, is cut off:
it comes again and hears the rest, instead of going on without knowing what it missed.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from c2c_agent.report.live import Watch
from c2c_agent.web.connections import BoundedRequest

_log = Logger()

CONTENT_TYPE: Final = "text/event-stream"

#: The beginning of a stream: after how many milliseconds a client whose stream was cut comes again.
_RETRY: Final = b"retry: 3000\n\n"

#: A comment, which says that the stream goes on; for proxies that cut what is silent.
_ALIVE: Final = b":\n\n"
_ALIVE_SECONDS: Final = 15.0

#: How often in a row a client may have no room for that.
_PATIENCE: Final = 4

#: Bytes on their way to a client that the kernel is asked to hold (it takes twice as much). Left to
#: itself, it holds megabytes for a client that reads nothing.
_KERNEL_BUFFER: Final = 32 * 1024


def write_head(request: BoundedRequest) -> None:
    """Write the headers of a stream; for a HEAD, all there is."""
    request.setHeader("content-type", CONTENT_TYPE)
    request.setHeader("cache-control", "no-store")
    request.setHeader("x-accel-buffering", "no")  # nginx would collect events before it sends them
    request.write(b"")


@implementer(IPushProducer)
class EventStream:
    """What one client reads. It begins at once, and ends with the watch or with the connection.

    At the latest after `lasts` seconds: then what the client has shown is not valid any more.
    """

    def __init__(
        self,
        request: BoundedRequest,
        watch: Watch,
        clock: IReactorTime,
        lasts: float | None = None,
    ) -> None:
        self._request = request
        self._watch = watch
        self._clock = clock
        self._paused = False
        self._unread = 0  # times in a row that there was no room
        self._over = False
        _bound_kernel_buffer(request)
        request.notifyFinish().addErrback(lambda _: self._stop())
        write_head(request)
        request.registerProducer(self, True)
        self._timer: IDelayedCall = clock.callLater(_ALIVE_SECONDS, self._tick)
        self._end_timer = None if lasts is None else clock.callLater(lasts, watch.end)
        self._write(_RETRY)
        watch.woken = self._go_on
        self._go_on()

    # IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Let events wait: the client has enough to read."""
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802 - the same
        """Go on: the client has read."""
        self._paused = False
        self._unread = 0
        self._go_on()

    def stopProducing(self) -> None:  # noqa: N802 - the same
        """Stop: the connection is gone."""
        self._stop()

    def _go_on(self) -> None:
        """Write what waits, as far as there is room; after the last, end."""
        if self._over:
            return
        if self._watch.behind:
            self._cut()
            return
        if not self._paused:
            self._write(self._watch.take())
        if self._watch.ended and not self._over:
            self._end()

    def _tick(self) -> None:
        """Show that the stream goes on, or find that the client does not."""
        self._timer = self._clock.callLater(_ALIVE_SECONDS, self._tick)
        if not self._paused:
            self._write(_ALIVE)
            return
        self._unread += 1
        if self._unread >= _PATIENCE:
            self._watch.let_go()

    def _write(self, data: bytes) -> None:
        if data:
            self._request.write(data)

    def _end(self) -> None:
        """Nothing more is to come: what still waits goes out as the client reads it."""
        self._write(self._watch.take())
        self._stop()
        self._request.unregisterProducer()
        self._request.finish()

    def _cut(self) -> None:
        peer = str(getattr(self._request.getClientAddress(), "host", "-"))
        _log.info(
            "the event stream of {peer} was closed, because {peer} does not read it", peer=peer
        )
        self._stop()
        self._request.channel.forceAbortClient()

    def _stop(self) -> None:
        """Hear no more."""
        self._over = True
        self._watch.close()
        for timer in (self._timer, self._end_timer):
            if timer is not None and timer.active():
                timer.cancel()


def _bound_kernel_buffer(request: BoundedRequest) -> None:
    transport: Any = request.channel.transport
    while isinstance(transport, ProtocolWrapper):  # TLS
        transport = transport.transport
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if isinstance(handle, socket.socket):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
