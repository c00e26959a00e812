"""The link to Asterisk: one session at a time, made anew whenever it is lost.

`AmiLink` is what the rest of the program knows of AMI. Twisted's ClientService makes the TCP
connections and waits between them; the login is part of `protocol.AmiProtocol`. (As ClientService's
`prepareConnection`, it would leave the socket of a refused login open, and make a second session
beside it.) A link is up when Asterisk has let us log in and has told its version.

    connect ─> log in ─> CoreSettings ─> `link_up` … `ami_event` … `link_down` ─> wait ─> connect
       └──────────┴──────────┴─> not up, and the reason is logged when it is a new one ─> wait

ClientService logs each attempt by itself, at level info; whoever sets up the log may want to hear
the namespace `twisted.application` from level warn on.
"""

from __future__ import annotations

import random
import typing
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.ami.actions import Action, core_settings, login, logoff
from c2c_agent.ami.message import AmiError, Message
from c2c_agent.ami.protocol import LIMITS, AmiProtocol, Limits, LinkDown, LoginRefused
from c2c_agent.errors import C2CError
from c2c_agent.net.endpoints import WatchedEndpoint, trust_root
from c2c_agent.net.reconnect import ReconnectPolicy

__all__ = ["AmiLink", "AmiObserver", "LinkDown", "ami_endpoint"]

_log = Logger()

#: Seconds between two attempts at most, so that calls are settled soon after Asterisk is back.
_LONGEST_PAUSE: Final = 8.0


def ami_endpoint(
    reactor: Any, host: str, port: int, *, tls: bool, ca_file: str | None = None
) -> IStreamClientEndpoint:
    """Where AMI is; over TLS its certificate is verified for that host.

    `ca_file` has the authorities that may vouch for it; None: the system's. Raises ConfigError.
    """
    endpoint = HostnameEndpoint(reactor, host.encode(), port)
    if not tls:
        return endpoint
    return wrapClientTLS(optionsForClientTLS(host, trustRoot=trust_root(ca_file)), endpoint)


class AmiObserver(typing.Protocol):
    """Who follows the link. What these methods raise is logged, and the link goes on."""

    def link_up(self, version: str) -> None:
        """The link is up, to an Asterisk of this version. `send` and `collect` work now."""

    def link_down(self, reason: str) -> None:
        """The link that was up is lost or closed; events will be missed. Follows each `link_up`."""

    def ami_event(self, event: Message) -> None:
        """Asterisk reports something. Only between `link_up` and `link_down`."""


class AmiLink(Service):
    """The link to one Asterisk, as a service.

    `endpoint` says where its AMI is, and how long a connection may take; `clock` is the reactor's.
    `jitter` gives numbers from 0 to 1 and spreads the attempts to connect. After a refused login
    `new_secret` is asked before the next one: what was changed in Asterisk may have been changed
    here, too; it may raise C2CError. Raises LocalAmiError for a username or secret that cannot be
    sent.

    `changed` is called when an attempt has come to a link, or to nothing and is to be repeated.
    `last_error` is why there is no link, `""` while there is one. `asterisk_version` is what the
    last link told, `reconnects` how many there were after the first.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        *,
        username: str,
        secret: str,
        clock: IReactorTime,
        new_secret: Callable[[], str] | None = None,
        observer: AmiObserver | None = None,
        jitter: Callable[[], float] = random.random,
        limits: Limits = LIMITS,
    ) -> None:
        self.observer = observer
        self.changed: Callable[[], None] = lambda: None
        self.last_error = "not connected yet"
        self.asterisk_version = ""
        self.reconnects = 0
        self._username = username
        self._new_secret = new_secret
        self._login = login(username, secret)
        self._login_doubted = False  # the last one was refused
        self._clock = clock
        self._limits = limits
        self._reconnect = ReconnectPolicy(_LONGEST_PAUSE, jitter)
        self._session: AmiProtocol | None = None
        self._up = False
        self._early: list[Message] = []  # events between the login and `link_up`
        factory = Factory.forProtocol(self._new_session)
        factory.noisy = False
        self._client = ClientService(
            WatchedEndpoint(endpoint, self._not_connected), factory, self._delay, clock
        )

    @property
    def is_up(self) -> bool:
        """Whether actions can be sent."""
        return self._up and self._session is not None and self._session.is_ready

    @property
    def refusal(self) -> str:
        """What Asterisk says to every action, where it carries none out; `""` where it does.

        The link is up nevertheless: events come, until the last call has ended.
        """
        return self._session.refusal if self._session is not None and self.is_up else ""

    def send(
        self, action: Action, action_id: str | None = None, time_limit: float | None = None
    ) -> Deferred[Message]:
        """Send an action; return a Deferred of Asterisk's response, as `AmiProtocol.send` does."""
        if self._session is None or not self.is_up:
            return fail(self._down_for(action))
        return self._session.send(action, action_id, time_limit)

    def collect(
        self, action: Action, action_id: str | None = None, time_limit: float | None = None
    ) -> Deferred[list[Message]]:
        """Ask for a list; return a Deferred of its items, as `AmiProtocol.collect` does."""
        if self._session is None or not self.is_up:
            return fail(self._down_for(action))
        return self._session.collect(action, action_id, time_limit)

    def _down_for(self, action: Action) -> LinkDown:
        return LinkDown(f"{action.name}: no AMI link: {self.last_error or 'it is just closing'}")

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Connect, and go on connecting."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotation there
        if not self._client.running:
            self._client.startService()

    def stopService(self) -> Deferred[None]:  # noqa: N802 - the same
        """Log off and close; return a Deferred that fires when nothing is left.

        That takes at most twice `limits.goodbye`.
        """
        super().stopService()  # type: ignore[no-untyped-call]  # the same
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        session, reason = self._session, "closed by us"
        if session is not None:
            if self.is_up:
                self._go_down(reason)
                with suppress(AmiError):
                    await session.send(logoff(), time_limit=self._limits.goodbye)
            session.close(reason)
        # Not if it was started again meanwhile: then it connects anew. And not a second time, which
        # ClientService does not bear in a callback of the first.
        if self._client.running and not self.running:
            await self._client.stopService()
        if session is not None:
            await session.when_lost()

    def _renew_login(self) -> None:
        if self._new_secret is not None:
            try:
                self._login = login(self._username, self._new_secret())
            except C2CError as error:
                _log.warn("AMI: the secret stays as it was: {reason}", reason=str(error))

    def _new_session(self) -> AmiProtocol:
        if self._login_doubted:
            self._login_doubted = False
            self._renew_login()
        session = AmiProtocol(self._login, self._event, self._clock, self._limits)
        session.when_lost().addCallback(self._session_lost)
        self._session = session
        self._early = []
        Deferred.fromCoroutine(self._open(session))
        return session

    async def _open(self, session: AmiProtocol) -> None:
        try:
            await session.when_logged_in()
            settings = await session.send(core_settings())
        except LoginRefused:
            self._reconnect.refused = self._login_doubted = True  # and the session closes by itself
        except AmiError as error:
            session.abort(str(error))
        else:
            version = settings.get("AsteriskVersion")
            if version:
                self._go_up(version)
            else:
                self._reconnect.refused = True
                said = settings.get("Message").strip()
                needs = " (the AMI user needs write=reporting)" if "Permission" in said else ""
                session.close(f"CoreSettings refused: {said}{needs}")

    def _go_up(self, version: str) -> None:
        if self.asterisk_version:
            self.reconnects += 1
        self.asterisk_version = version
        self.last_error = ""
        self._reconnect.succeeded()
        self._up = True
        _log.info("AMI link up: Asterisk {version}", version=version)
        if self.observer is not None:
            with _log.failuresHandled("AMI: a mistake in what follows the link, when it came up"):
                self.observer.link_up(version)
        self.changed()
        early, self._early = self._early, []
        for event in early:
            with _log.failuresHandled("AMI: a mistake in what follows the events"):
                self._event(event)

    def _go_down(self, reason: str) -> None:
        self.last_error = reason
        if self._up:
            self._up = False
            if self.observer is not None:
                with _log.failuresHandled("AMI: a mistake in what follows the link, at its end"):
                    self.observer.link_down(reason)

    def _event(self, event: Message) -> None:
        if not self._up:
            self._early.append(event)
        elif self.observer is not None:
            self.observer.ami_event(event)

    def _session_lost(self, reason: str) -> None:
        self._session = None
        self._go_down(reason)

    def _not_connected(self, failure: Failure) -> None:
        self.last_error = failure.getErrorMessage().rstrip(".")

    def _delay(self, _attempts: int) -> float:
        """How long to wait before the next attempt, in seconds."""
        seconds = self._reconnect.pause()
        self.changed()
        if self._reconnect.is_news(self.last_error):
            _log.warn(
                "No AMI link: {reason}. Next attempt in {seconds:.1f} s",
                reason=self.last_error,
                seconds=seconds,
            )
        return seconds
