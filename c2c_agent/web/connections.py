"""How many HTTP connections there are at once, and for how long one may take to say what it wants.

So many clients may be connected as the configuration says. One more, and the connection on which
nothing has been asked for longest is closed for it; it is told so, if it never asked anything.
Where there is none that could have asked by now, the newcomer is refused, but for a few: whoever
looks after the agent has to be let in then, too (`is_spare`).

A request has to be complete within a time that no sender of single bytes can stretch. What a
connection costs is bounded by `BoundedRequest`, a Request that keeps only so much of a body, and by
twisted.web: headers, what is read ahead.
"""

from __future__ import annotations

import select
from itertools import islice
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import HTTPChannel, Request

from c2c_agent.web.request import BODY_LIMIT

_log = Logger()

#: Seconds after which a client that was refused may try again.
RETRY_AFTER: Final = 5

#: Connections beyond the limit, for those who look after the agent.
SPARE: Final = 20

#: Seconds from the first byte of a request to its last.
_REQUEST: Final = 15.0

#: Connections that are looked at for an idle one.
_LOOKS: Final = 8

#: Seconds that a refused client is given to read why, and how many of them at once.
_GOODBYE: Final = 1.0
_GOODBYES: Final = 1000

#: What is logged of refusals, at most once in so many seconds.
_QUIET: Final = 60.0

#: Bytes after which a client that goes on sending is cut off without an answer.
_PATIENCE: Final = 32 * 1024 * 1024

_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
)


class Connections:
    """All connections of a listener, `most` of them at once; `refused` counts those turned away.

    `body` is the JSON that these are told, whatever they would have asked for.
    """

    def __init__(self, most: int, clock: IReactorTime, body: bytes) -> None:
        self.most = most
        self.refused = 0
        self.refusal = _REFUSAL % (RETRY_AFTER, len(body), body)
        self._clock = clock
        self._open: dict[ClientConnection, None] = {}  # the one idle for longest first
        self._goodbyes = 0
        self._quiet_until = 0.0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether the next one is one too many."""
        return len(self._open) >= self.most

    def make_room(self) -> bool:
        """Whether a new connection may be taken, perhaps in the place of an idle one."""
        if self.is_full:
            self._refuse_one()
            idle = self._longest_idle()
            if idle is not None:
                self.left(idle)
                idle.turn_away()
        return len(self._open) < self.most + SPARE

    def _longest_idle(self) -> ClientConnection | None:
        idle = (connection for connection in self._open if connection.is_idle)
        # To close one with bytes unread would be to lose a request, and the answer, too.
        return next((one for one in islice(idle, _LOOKS) if not one.has_unread()), None)

    def _refuse_one(self) -> None:
        self.refused += 1
        now = self._clock.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            _log.warn(
                "HTTP: {most} connections are open, others are turned away ({count} so far)",
                most=self.most,
                count=self.refused,
            )

    def goodbye(self) -> Protocol | None:
        """The protocol for a connection that may not be taken; None: it is just closed."""
        return Refused(self, self._clock) if self._goodbyes < _GOODBYES else None

    # For the connections

    def joined(self, connection: ClientConnection) -> None:
        """It is there, or has become idle again: it is the last to be closed for another one."""
        self._open.pop(connection, None)
        self._open[connection] = None

    def left(self, connection: ClientConnection) -> None:
        """It is gone."""
        self._open.pop(connection, None)

    def has(self, connection: ClientConnection) -> bool:
        """Whether it counts still; one that was turned away does not."""
        return connection in self._open

    def saying_goodbye(self, change: int) -> None:
        """One more, or one less, that is told why it was refused."""
        self._goodbyes += change


class ClientConnection(HTTPChannel):
    """One connection of a client."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections
        self._receiving = False  # a request has begun, and is not complete
        self._asked = False  # something was asked on it
        self._idle_seconds: float | None = None
        self._came_late = False  # there were too many already

    @property
    def is_spare(self) -> bool:
        """Whether it is one of those that are only for who looks after the agent."""
        return self._came_late and self._connections.open > self._connections.most

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""
        return not self._handlingRequest

    def has_unread(self) -> bool:
        """Whether something has come that was not read yet."""
        if self.transport is None or not hasattr(self.transport, "fileno"):
            return False  # in memory
        poller = select.poll()
        poller.register(self.transport.fileno(), select.POLLIN)
        return bool(poller.poll(0))

    def turn_away(self) -> None:
        """Close it for another one; who never got to ask anything is told to come back."""
        if not self._asked and self.transport is not None:
            self.transport.write(self._connections.refusal)
        self.setTimeout(None)
        # As `timeoutConnection` has it, but without a line in the log for each of a flood.
        self._abortingCall = self.callLater(_GOODBYE, self.forceAbortClient)
        self.loseConnection()

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Join the others."""
        self._came_late = self._connections.is_full
        self._connections.joined(self)
        self._idle_seconds = self.timeOut
        super().connectionMade()

    def resetTimeout(self) -> None:  # noqa: N802 - Twisted's name
        """Bytes have come: the first of a request begin its time, and no others give it more."""
        if not self._receiving and not self._handlingRequest:
            self._receiving = True
            # Anew: to move one to an earlier time, Twisted looks through all timers that there are.
            self.setTimeout(None)
            self.setTimeout(_REQUEST)

    def allContentReceived(self) -> None:  # noqa: N802 - Twisted's name
        """Answer the request that is complete now, however long that takes."""
        self._receiving = False
        self._asked = True
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:  # noqa: N802 - Twisted's name
        """Wait for the next request."""
        self._savedTimeOut = self._idle_seconds
        if self._connections.has(self):
            self._connections.joined(self)
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's
        """Leave the others."""
        self._connections.left(self)
        super().connectionLost(reason)


class Refused(Protocol):
    """A connection that is refused: told so at once, and closed when it had time to read that.

    To close it with bytes of a request unread would reset it, and the answer would be lost.
    """

    def __init__(self, connections: Connections, clock: IReactorTime) -> None:
        self._connections = connections
        self._clock = clock
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Tell it."""
        transport: Any = self.transport
        self._connections.saying_goodbye(+1)
        self._timer = self._clock.callLater(_GOODBYE, transport.abortConnection)
        transport.write(self._connections.refusal)
        if ITCPTransport.providedBy(transport):
            transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002, N802 - the same
        """It is gone."""
        self._connections.saying_goodbye(-1)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class BoundedRequest(server.Request):
    """A request of whose body no more than BODY_LIMIT bytes are kept."""

    oversized = False
    _arrived = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a part of the body, as far as it is within the limit."""
        room = max(0, BODY_LIMIT - self._arrived)
        self._arrived += len(data)
        if self._arrived > BODY_LIMIT:
            self.oversized = True
        if self._arrived > _PATIENCE:
            self.channel.forceAbortClient()
        elif room:
            super().handleContentChunk(data[:room])

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Begin the body in memory; Twisted would put a large one into a file."""
        super().gotLength(BODY_LIMIT if length is None else min(length, BODY_LIMIT))
