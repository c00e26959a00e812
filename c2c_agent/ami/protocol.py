"""One connection to Asterisk: logs in, sends actions, passes events on, notices silence.

A thin shell around `message.Receiver` and `pending.Pending`; `service.AmiLink` makes one for each
connection.

    connection ─> banner ─> Login ─> Success ─> ready: actions, events, a Ping after silence
                                └──> Error ──> LoginRefused, closed
    its end ─> every action that is out fails with LinkLost ─> `when_lost`
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Final, Generic, TypeAlias, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.ami.actions import Action, ShuttingDown, ping, refusal, shutting_down
from c2c_agent.ami.message import (
    AmiError,
    LocalAmiError,
    Message,
    Receiver,
    RemoteAmiError,
    encode,
)
from c2c_agent.ami.pending import LinkLost, Pending

T = TypeVar("T")

#: A method of `Pending` that expects the answer to an action, by its ActionID, within seconds.
Expect: TypeAlias = Callable[[Action, str, float], Deferred[T]]

_log = Logger()


class LoginRefused(AmiError):  # noqa: N818 - it says what happened, as Twisted's errors do
    """Asterisk refused the login, in these words of its own."""


class LinkDown(AmiError):  # noqa: N818 - the same
    """There is no link that the action could be sent on. It was not sent."""


@frozen
class Limits:
    """How long Asterisk is waited for, in seconds."""

    login: float = 10.0
    """From the connection to the login. Asterisk itself gives 30 (authtimeout)."""
    answer: float = 10.0
    """For the answer to an action that says nothing else."""
    silence: float = 10.0
    """Without a byte from Asterisk, which sends none of its own accord, until we send a Ping."""
    ping: float = 10.0
    """For the answer to that Ping, until the connection is given up."""
    goodbye: float = 1.0
    """For the orderly end of a connection, until it is cut."""


LIMITS: Final = Limits()


class Eventual(Generic[T]):
    """What comes of something, once, for any number of those who wait for it."""

    def __init__(self) -> None:
        self._tell: Callable[[Deferred[T]], None] | None = None
        self._waiting: list[Deferred[T]] = []

    def wait(self) -> Deferred[T]:
        """Return a Deferred of the outcome, the caller's own."""
        waiting: Deferred[T] = Deferred()
        self._waiting.append(waiting)
        self._tell_all()
        return waiting

    def succeed(self, result: T) -> None:
        """Tell the result to all who wait, now or later; unless the outcome is known already."""
        self._settle(lambda waiting: waiting.callback(result))

    def fail(self, error: Exception) -> None:
        """Tell the error to all who wait, now or later; unless the outcome is known already."""
        self._settle(lambda waiting: waiting.errback(error))

    def _settle(self, tell: Callable[[Deferred[T]], None]) -> None:
        self._tell = self._tell or tell
        self._tell_all()

    def _tell_all(self) -> None:
        while self._tell is not None and self._waiting:
            self._tell(self._waiting.pop(0))


class AmiProtocol(Protocol):
    """A connection to Asterisk, which logs in when the banner has come.

    `login` is the action for that. `on_event` is called with every event that is not an item of a
    list that was asked for; what it raises is logged, and the link goes on.

    `refusal` is what Asterisk said last where it carries nothing out any more, `""` where it does.
    From then on it is asked by a Ping now and then, however much it tells.
    """

    transport: ITCPTransport

    def __init__(
        self,
        login: Action,
        on_event: Callable[[Message], object],
        clock: IReactorTime,
        limits: Limits = LIMITS,
    ) -> None:
        self._login = login
        self._on_event = on_event
        self._clock = clock
        self._limits = limits
        self._receiver = Receiver()
        self._pending = Pending(clock)
        self._action_ids = (f"agent-{number}" for number in count(1))
        self._timer: IDelayedCall | None = None  # for the login, then for silence, then for the end
        self._login_sent = False
        self._ready = False
        self._ended = ""  # why
        self.refusal = ""
        self._logged_in: Eventual[Message] = Eventual()
        self._lost: Eventual[str] = Eventual()

    @property
    def is_ready(self) -> bool:
        """Whether actions can be sent: logged in, and not at the end."""
        return self._ready

    def when_logged_in(self) -> Deferred[Message]:
        """Return a Deferred of Asterisk's welcome.

        It fails with LoginRefused, or with LinkLost if the connection ends before that.
        """
        return self._logged_in.wait()

    def when_lost(self) -> Deferred[str]:
        """Return a Deferred of the reason why the connection is no more. It never fails."""
        return self._lost.wait()

    def send(
        self, action: Action, action_id: str | None = None, time_limit: float | None = None
    ) -> Deferred[Message]:
        """Send an action; return a Deferred of Asterisk's response, be it Success or Error.

        `action_id` has to be unique; without it one is made. `time_limit` is in seconds. Fails with
        LinkDown or LocalAmiError if the action was not sent; with ShuttingDown if Asterisk carries
        none out any more; if it was sent, but the answer did not come, with ActionTimedOut or
        LinkLost. To cancel the Deferred does not recall the action.
        """

        def taken(response: Message) -> Message:
            if shutting_down(response) is not None:
                raise refusal(action.name, response)
            return response

        sent = self._send(action, action_id, time_limit, self._pending.response_to)
        return sent.addCallback(taken)

    def collect(
        self, action: Action, action_id: str | None = None, time_limit: float | None = None
    ) -> Deferred[list[Message]]:
        """Send an action that asks for a list; return a Deferred of the items of the whole list.

        Arguments and failures are those of `send`; and ActionRefused if the response is an Error,
        RemoteAmiError if it is no list.
        """
        return self._send(action, action_id, time_limit, self._pending.list_from)

    def _send(
        self, action: Action, action_id: str | None, time_limit: float | None, expect: Expect[T]
    ) -> Deferred[T]:
        if not self._ready:
            return fail(LinkDown(f"{action.name}: {self._ended or 'not logged in yet'}"))
        seconds = self._limits.answer if time_limit is None else time_limit
        try:
            return self._write(action, action_id or next(self._action_ids), seconds, expect)
        except LocalAmiError:
            return fail()

    def _write(
        self, action: Action, action_id: str, seconds: float, expect: Expect[T]
    ) -> Deferred[T]:
        data = encode(action.as_pairs(action_id))
        answer = expect(action, action_id, seconds)
        self.transport.write(data)
        return answer

    def close(self, reason: str) -> None:
        """End the connection in order, or by force if it takes longer than `limits.goodbye`."""
        if not self._ended:
            self._end(reason)
            self._wait(self._limits.goodbye, self.transport.abortConnection)
            self.transport.loseConnection()

    def abort(self, reason: str) -> None:
        """End the connection at once."""
        if not self._ended:
            self._end(reason)
            self.transport.abortConnection()

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Wait for the banner."""
        if ITCPTransport.providedBy(self.transport):
            with suppress(OSError):  # a UNIX socket provides the interface, too, but cannot do it
                # An action must not wait for the acknowledgement of the one before.
                self.transport.setTcpNoDelay(True)
                self.transport.setTcpKeepAlive(True)
        limit = self._limits.login
        self._wait(limit, lambda: self.abort(f"no login within {limit:g} s"))

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """See to every message that is complete now."""
        if self._ready and self._timer is not None and not self.refusal:
            self._timer.reset(self._limits.silence)
        try:
            messages = self._receiver.receive(data)
        except RemoteAmiError as error:
            self.abort(str(error))
            return
        if self._receiver.banner and not self._login_sent:
            self._log_in()
        for message in messages:
            if self._ended:  # perhaps by who saw the message before
                return
            if message.is_event:
                if not self._pending.take_event(message):
                    self._report(message)
            elif message.is_response:
                self.refusal = shutting_down(message) or ""
                self._pending.take_response(message)
            else:
                names = [name for name, _ in message.headers]
                _log.debug("AMI: neither event nor response, but: {names}", names=names)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - the same
        """Tell everybody who waits for something."""
        self._end(self._ended or self._in_words(reason))
        self._pending.fail_all(self._ended)
        self._logged_in.fail(LinkLost(self._ended))
        self._lost.succeed(self._ended)

    def _log_in(self) -> None:
        self._login_sent = True
        limit = self._limits.login
        answer = self._write(self._login, next(self._action_ids), limit, self._pending.response_to)
        # Nothing is to be done about no answer: the timer, or whatever ended it, did it.
        answer.addCallbacks(self._login_answered, lambda _failure: None)

    def _login_answered(self, response: Message) -> None:
        if response.response == "Success":
            self._ready = True
            self._listen(response)
            self._logged_in.succeed(response)
        else:
            refused = LoginRefused(response.get("Message").strip() or "no reason given")
            self._logged_in.fail(refused)
            self.close(f"login refused: {refused}")

    def _report(self, event: Message) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - whatever it is, the link has to go on
            _log.failure("AMI: a mistake in what follows the events, at {event}", event=event.event)

    def _listen(self, _: Message | None) -> None:
        self._wait(self._limits.silence, self._send_ping)

    def _send_ping(self) -> None:
        self._timer = None
        # Where it fails because the connection has ended, there is nothing left to abort.
        no_answer = f"no answer to a Ping within {self._limits.ping:g} s"
        sent = self.send(ping(), time_limit=self._limits.ping)

        def failed(failure: Failure) -> None:
            if isinstance(failure.value, ShuttingDown):
                self._listen(None)
            else:
                self.abort(no_answer)

        sent.addCallbacks(self._listen, failed)

    def _end(self, reason: str) -> None:
        self._ended = reason
        self._ready = False
        self._stop_waiting()

    def _in_words(self, reason: Failure) -> str:
        if not isinstance(reason.value, ConnectionDone):
            return reason.getErrorMessage().rstrip(".")
        if self._receiver.unfinished:
            return "Asterisk closed the connection within a message (writetimeout too short?)"
        return "Asterisk closed the connection"

    def _wait(self, seconds: float, late: Callable[[], object]) -> None:
        self._stop_waiting()
        self._timer = self._clock.callLater(seconds, late)

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
