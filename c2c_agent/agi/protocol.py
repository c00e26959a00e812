"""The FastAGI listener: each connection is a session, each session starts one coroutine.

`AgiFactory` listens where the dialplan's `AGI(agi://…)` connects to. When Asterisk has said what
channel it is about, the factory's `accept` is called with an `agi.channel.AgiChannel`: a coroutine
that holds the conversation, as those of `pbx.asterisk.bridge` do.

Asterisk keeps a channel that was hung up for as long as the session lasts (`run_agi` in
res/res_agi.c), so the connection is closed as soon as the coroutine is done, however it ended.
Every wait has a limit, except where it lasts as long as a call. Nothing piles up: what arrives is
bounded by `agi.session`, and of what is sent there is at most one command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import Command, Environment, RemoteAgiError, SessionLost
from c2c_agent.agi.session import Session

QUIET_SECONDS: Final = 60.0
"""What we end for the same reason is logged at most once in so many seconds."""

_log = Logger()


class Refusal(StrEnum):
    """Why we turned a connection away or cut it; a label of the metrics."""

    TOO_MANY = "too_many"
    STOPPING = "stopping"
    ENVIRONMENT_LATE = "environment_late"
    REPLY_LATE = "reply_late"
    MALFORMED = "malformed"


class AgiProtocol(Protocol):
    """One connection: it passes bytes to the session, events to the channel, and closes.

    It counts as open until the peer is gone *and* the coroutine is done.
    """

    transport: ITCPTransport

    def __init__(self, owner: AgiFactory) -> None:
        self._owner = owner
        self._session = Session()
        self._channel: AgiChannel | None = None  # until the environment is complete
        self._timer: IDelayedCall | None = None
        self._talking = False  # the coroutine runs
        self._ended = False  # nothing is sent and nothing believed any more
        self._gone = False  # there is no connection any more

    @property
    def begun(self) -> bool:
        """Whether the environment was complete."""
        return self._channel is not None

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Wait for the environment."""
        self._owner.session_opened(self)
        if ITCPTransport.providedBy(self.transport):
            with suppress(OSError):  # a UNIX socket provides the interface, too, but cannot do it
                # There is only ever one command to send: to hold it back for more gains nothing.
                self.transport.setTcpNoDelay(True)
                # During a wait without limit, this finds a PBX host that has lost its power.
                self.transport.setTcpKeepAlive(True)
        self._wait(self._owner.environment_seconds, self._environment_late)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Pass on what is complete."""
        if self._ended:
            return
        try:
            events = self._session.receive(data)
        except RemoteAgiError as error:
            self.abort(Refusal.MALFORMED, str(error))
            return
        for event in events:
            if isinstance(event, Environment):
                self._begin(event)
            elif self._channel is not None:
                self._channel.heard(event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - the same
        """Tell the conversation."""
        self._end(reason.getErrorMessage())
        self._stop_waiting()
        self._gone = True
        self._leave_if_over()

    def send(self, line: Command) -> None:
        """Send a command, at once as far as the socket takes it: nothing of ours waits before it.

        Twisted's `write` leaves it to the next turn of the event loop, and has the loop watch the
        socket until then: a fifth of what a session costs.
        """
        rest: bytes = line
        if isinstance(self.transport, FileDescriptor):
            sent = self.transport.writeSomeData(line)
            if isinstance(sent, int):  # else the connection is lost, as `write` will find
                rest = line[sent:]
        if rest:
            self.transport.write(rest)

    def close(self) -> None:
        """End the session in peace: what was sent still arrives."""
        if not self._ended:
            self._end("closed by us")
            self.transport.loseConnection()
            # A peer that does not read what was sent would otherwise keep the connection for ever.
            self._wait(self._owner.reply_seconds, self.transport.abortConnection)

    def give_up(self, detail: str) -> None:
        """End the session at once, for a reply did not come."""
        self.abort(Refusal.REPLY_LATE, detail)

    def abort(self, why: Refusal, detail: str) -> None:
        """End the session at once; it counts as refused, unless it was only about to close."""
        if not self._ended:
            self._owner.refuse(why, detail)
            self._end(detail)
        self.transport.abortConnection()

    def _begin(self, environment: Environment) -> None:
        self._stop_waiting()
        self._talking = True
        self._channel = AgiChannel(
            environment, self._session, self, self._owner.clock, self._owner.reply_seconds
        )
        talk = Deferred.fromCoroutine(self._talk(self._channel))
        # Not by the channel's name: that of a Local channel has the number in it.
        talk.addErrback(self._talk_failed, environment.uniqueid).addCallback(self._talk_done)

    async def _talk(self, channel: AgiChannel) -> None:
        await self._owner.accept(channel)

    def _talk_failed(self, failure: Failure, channel: str) -> None:
        if isinstance(failure.value, SessionLost):
            # No fault of the program: a restart of Asterisk does it to all calls at once.
            lost = str(failure.value)
            _log.info("FastAGI session of {channel!r} lost: {lost}", channel=channel, lost=lost)
        else:
            sentence = "FastAGI session of {channel!r} closed, for its conversation failed"
            _log.failure(sentence, failure, channel=channel)

    def _talk_done(self, _: None) -> None:
        self._talking = False
        self.close()
        self._leave_if_over()

    def _end(self, why: str) -> None:
        if not self._ended:
            self._ended = True
            self._stop_waiting()
            if self._channel is not None:
                self._channel.ended(why)

    def _leave_if_over(self) -> None:
        if self._gone and not self._talking:
            self._owner.session_closed(self)

    def _environment_late(self) -> None:
        self.abort(Refusal.ENVIRONMENT_LATE, f"none within {self._owner.environment_seconds:g} s")

    def _wait(self, seconds: float, late: Callable[[], None]) -> None:
        self._timer = self._owner.clock.callLater(seconds, late)

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class AgiFactory(Factory):
    """Accepts the connections of Asterisk, and starts an `accept` for each session.

    What `accept` raises is logged, and closes that session alone. `clock` is the reactor's time.
    A connection may take `environment_seconds` to say its environment, and a reply may take
    `reply_seconds` where the command says nothing else. One over `max_sessions` takes the place of
    the oldest that has not said its environment; where there is none, it is closed at once. The
    dialplan then goes on without us, for `AGI()` never stops it.

    For the metrics: `total_sessions` counts those that were admitted, `refusals` those that we
    turned away or cut, by reason.
    """

    noisy = False

    def __init__(
        self,
        accept: Callable[[AgiChannel], Awaitable[None]],
        clock: IReactorTime,
        *,
        environment_seconds: float = 5.0,
        reply_seconds: float = 5.0,
        max_sessions: int = 2000,
    ) -> None:
        self.accept = accept
        self.clock = clock
        self.environment_seconds = environment_seconds
        self.reply_seconds = reply_seconds
        self.max_sessions = max_sessions
        self.total_sessions = 0
        self.refusals: Counter[Refusal] = Counter()
        self._sessions: dict[AgiProtocol, None] = {}  # the oldest first
        self._quiet_until: dict[Refusal, float] = {}
        self._stopping = False
        self._drained: list[Deferred[None]] = []

    @property
    def open_sessions(self) -> int:
        """How many sessions are open now."""
        return len(self._sessions)

    def buildProtocol(self, addr: IAddress | None) -> AgiProtocol | None:  # noqa: N802 - the same
        """Admit a connection, or have it closed."""
        if self._stopping:
            self.refuse(Refusal.STOPPING, str(addr))
        elif len(self._sessions) >= self.max_sessions and not self._make_room():
            self.refuse(Refusal.TOO_MANY, f"{self.max_sessions} are open")
        else:
            return AgiProtocol(self)
        return None

    def _make_room(self) -> bool:
        """Cut the oldest connection that has not said its environment: Asterisk says it at once."""
        silent = next((session for session in self._sessions if not session.begun), None)
        if silent is None:
            return False
        del self._sessions[silent]
        silent.abort(Refusal.TOO_MANY, f"{self.max_sessions} are open")
        return True

    def stop(self) -> Deferred[None]:
        """Admit nobody any more, and fire when no session is open.

        A conversation that has begun may end in its own time, however long; `abort` cuts it.
        """
        self._stopping = True
        for session in tuple(self._sessions):
            if not session.begun:
                session.abort(Refusal.STOPPING, "before its environment")
        drained = Deferred[None]()
        self._drained.append(drained)
        self._tell_drained()
        return drained

    def abort(self) -> None:
        """Cut all sessions: the conversations fail with SessionLost at their next command."""
        for session in tuple(self._sessions):
            session.abort(Refusal.STOPPING, "cut")

    def refuse(self, why: Refusal, detail: str) -> None:
        """Count a refusal, and log it unless one like it was logged just now."""
        self.refusals[why] += 1
        now = self.clock.seconds()
        if now >= self._quiet_until.get(why, now):
            self._quiet_until[why] = now + QUIET_SECONDS
            _log.warn(
                "FastAGI connection ended by us, {why}: {detail} (number {count})",
                why=why.value,
                detail=detail,
                count=self.refusals[why],
            )

    def session_opened(self, session: AgiProtocol) -> None:
        """Take note of a connection."""
        self.total_sessions += 1
        self._sessions[session] = None

    def session_closed(self, session: AgiProtocol) -> None:
        """Forget a session that is over."""
        self._sessions.pop(session, None)
        self._tell_drained()

    def _tell_drained(self) -> None:
        if not self._sessions:
            waiting, self._drained = self._drained, []
            for each in waiting:
                each.callback(None)
