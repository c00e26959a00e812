"""A channel of Asterisk as a conversation sees it: commands, their replies, and the hangup.

`agi.protocol` makes an `AgiChannel` when the environment of a session is complete, starts the
conversation with it, and tells it of everything that happens on the connection::

    async def conversation(channel: AgiChannel) -> None:
        await channel.command("EXEC", "Dial", "PJSIP/200,20,g", patience=None)
        status = await channel.command("GET VARIABLE", "DIALSTATUS")
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from c2c_agent.agi.message import AgiReply, Command, Environment, Hangup, SessionLost
from c2c_agent.agi.session import Session
from c2c_agent.text import decode


class Patience(Enum):
    """How long to wait for a reply, where a command does not say it in seconds."""

    DEFAULT = "as long as the listener's `reply_seconds`"


class Connection(Protocol):
    """What a channel needs of the connection below it."""

    def send(self, line: Command) -> None:
        """Send a command."""

    def close(self) -> None:
        """End the session in peace, and call `AgiChannel.ended`."""

    def give_up(self, detail: str) -> None:
        """End the session at once, for a reply did not come, and call `AgiChannel.ended`."""


class AgiChannel:
    """A channel of Asterisk, for as long as it is in our hands."""

    def __init__(
        self,
        environment: Environment,
        session: Session,
        connection: Connection,
        clock: IReactorTime,
        reply_seconds: float,
    ) -> None:
        self.environment = environment
        self._session = session
        self._connection = connection
        self._clock = clock
        self._reply_seconds = reply_seconds
        self._asked: tuple[Command, Deferred[AgiReply]] | None = None
        self._timer: IDelayedCall | None = None
        self._hangup: list[Deferred[bool]] = []
        self._ended = ""  # why no command can be sent any more

    @property
    def hung_up(self) -> bool:
        """Whether Asterisk has said so; known even while a reply before it is passed on."""
        return self._session.hung_up

    def when_hung_up(self) -> Deferred[bool]:
        """Fire with True when the channel is hung up, with False if the session ends before that.

        Each caller gets a Deferred of its own; it always fires and never fails.
        """
        if self.hung_up or self._ended:
            return succeed(self.hung_up)
        waiting = Deferred[bool]()
        self._hangup.append(waiting)
        return waiting

    def command(
        self,
        command: Command | str,
        *arguments: str,
        patience: float | Patience | None = Patience.DEFAULT,
    ) -> Deferred[AgiReply]:
        """Send a command, ready made or as a verb with its arguments, and wait for the reply.

        `patience` is in seconds; None waits for ever, as an `EXEC Dial` lasts as long as the call.
        When it runs out the session ends, and so it does when the Deferred is cancelled: a later
        reply could no longer be told from the reply to this one.

        Raises LocalAgiError at once, as `Session.command` does; nothing was sent then. Fails with
        SessionLost if the session ends before the reply, or had ended already.
        """
        if self._ended:
            return fail(SessionLost(self._ended))
        line = self._session.command(command, *arguments)
        reply: Deferred[AgiReply] = Deferred(self._cancelled)
        self._asked = line, reply
        if patience is not None:
            seconds = self._reply_seconds if isinstance(patience, Patience) else patience
            self._timer = self._clock.callLater(seconds, self._late, seconds)
        self._connection.send(line)
        return reply

    def close(self) -> None:
        """Give the channel back to the dialplan, as the end of the conversation does."""
        self._connection.close()

    # What the connection tells.

    def heard(self, event: AgiReply | Hangup) -> None:
        """Asterisk has said something."""
        if isinstance(event, Hangup):
            self._tell_hangup()
        elif (asked := self._no_longer_waiting()) is not None:
            asked[1].callback(event)

    def ended(self, why: str) -> None:
        """The session is over; nothing comes after this."""
        self._ended = why
        asked = self._no_longer_waiting()
        if asked is not None:
            command, reply = asked
            # Not its arguments: numbers stand in them, and this is for the log.
            verb = decode(command.partition(b'"')[0]).rstrip()
            reply.errback(SessionLost(f"{why} (asked: {verb})"))
        self._tell_hangup()

    def _tell_hangup(self) -> None:
        waiting, self._hangup = self._hangup, []
        for each in waiting:
            each.callback(self.hung_up)

    def _no_longer_waiting(self) -> tuple[Command, Deferred[AgiReply]] | None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        asked, self._asked = self._asked, None
        return asked

    def _late(self, seconds: float) -> None:
        self._connection.give_up(f"no reply within {seconds:g} s")

    def _cancelled(self, _: Deferred[AgiReply]) -> None:
        self._asked = None  # the Deferred fails by itself, as cancelled
        self._connection.give_up("the wait for a reply was cancelled")
