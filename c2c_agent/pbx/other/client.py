"""Asks a back end: logs in where that is needed, shows who we are, and tells what has left.

One login serves all calls; it is made anew when it has lapsed, or when an answer says so. Only in
that case a request is sent a second time: the back end has said that it did not carry it out.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredLock

from c2c_agent.errors import C2CError
from c2c_agent.net.fresh_request import NoAnswerError, NotConnectedError, Send
from c2c_agent.net.http_auth import (
    Basic,
    Credentials,
    NoSchemeError,
    Scheme,
    authorization,
    choose,
)
from c2c_agent.net.signature import parse_secrets, signed_headers
from c2c_agent.pbx.other.answer import Answer
from c2c_agent.pbx.other.order import redacted
from c2c_agent.pbx.other.program import AuthKind, Program, Step
from c2c_agent.pbx.other.request import OutgoingRequest, Request
from c2c_agent.pbx.other.rules import values_at
from c2c_agent.pbx.other.template import Template, UnusableValueError, Where

#: Seconds for which a challenge counts as fresh: an order that needs one does not go out by an
#: older one, since it would be refused, and is not sent again.
_FRESH: Final = 10.0

#: Values of earlier logins that are kept out of what is shown.
_MOST_HIDDEN: Final = 50
_LONGEST_TOKEN: Final = 8192
_UNAUTHORIZED: Final = 401

_DIGESTS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
    "base64": lambda data: base64.b64encode(data).decode(),
}


class UnsentError(C2CError):
    """The request has not left, or was not carried out; the message says why."""


class UnansweredError(C2CError):
    """The request has left, and nobody knows whether it was carried out."""


class Client:
    """Asks the back end of a program by `send`.

    `secrets`: the program's, by name. `wall` is the host's clock, in epoch seconds; `new_word`
    makes a word that was never used. Raises ConfigError for a secret that cannot sign.
    """

    def __init__(
        self,
        program: Program,
        send: Send,
        *,
        secrets: Mapping[str, str],
        seconds: Callable[[], float],
        wall: Callable[[], float],
        new_word: Callable[[], str],
    ) -> None:
        self._program = program
        self._send = send
        self._seconds = seconds
        self._wall = wall
        self._new_word = new_word
        self._known = {f"secret.{name}": text for name, text in secrets.items()}
        self._hidden = deque(secrets.values(), maxlen=_MOST_HIDDEN + len(secrets))
        self._login: dict[str, str] = {}
        self._login_until: float | None = None
        self._logins = 0
        self._lock = DeferredLock()
        self._scheme: Scheme | None = None
        self._scheme_at = 0.0
        self._uses = 0
        self._keys: tuple[bytes, ...] = ()
        if program.auth.kind is AuthKind.SIGNATURE:
            secret = program.auth.texts["secret"].fill(self._known, Where.PLAIN)
            self._keys = parse_secrets(secret, "other.auth.secret")

    @property
    def secrets(self) -> Iterable[str]:
        """What must not be shown."""
        return tuple(self._hidden)

    def redacted(self, text: str) -> str:
        """A text without secrets."""
        return redacted(text, self._hidden)

    async def ask(
        self,
        request: Request,
        values: Mapping[str, str],
        *,
        seconds: float,
        message_id: str | None = None,
        once: bool = False,
    ) -> Answer:
        """Send a request with these values, and wait for its answer for so many seconds.

        `message_id`: by which a signed request is known. `once`: it must not be carried out twice.
        Raises UnsentError, UnansweredError.
        """
        await self._ensure_login()
        if once and self._program.auth.kind is AuthKind.DIGEST:
            await self._freshen()
        logins = self._logins
        answer = await self._try(request, values, seconds, message_id, once=once)
        login = self._program.login
        if login is None or not any(one.hold(answer, self._known) for one in login.again_when):
            return answer
        await self._ensure_login(after=logins)
        return await self._try(request, values, seconds, message_id, once=once)

    async def check(self) -> None:
        """Find out whether calls can be placed. Raises UnsentError, UnansweredError."""
        await self._ensure_login()
        step = self._program.check
        if step is None:
            return
        answer = await self.ask(step.request, {}, seconds=self._program.timeouts.answer)
        if not step.success.hold(answer, self._known | self._login):
            raise UnsentError(self._not_well("the check", answer))

    # The login

    async def _ensure_login(self, after: int | None = None) -> None:
        """Log in where that is needed; `after`: the login of that number does not hold any more."""
        if self._program.login is None:
            return
        waiting: Deferred[Any] = self._lock.acquire()
        await waiting
        try:
            lapsed = self._login_until is None or self._seconds() >= self._login_until
            if lapsed or after == self._logins:
                await self._log_in()
        finally:
            self._lock.release()

    async def _log_in(self) -> None:
        login = self._program.login
        assert login is not None  # noqa: S101 - asked before
        self._login, self._login_until = {}, None
        for step in login.steps:
            await self._log_in_by(step)
        self._login_until = self._seconds() + login.lifetime
        self._logins += 1

    async def _log_in_by(self, step: Step) -> None:
        try:
            for name, (how, template) in step.compute.items():
                text = template.fill(self._known | self._login, Where.PLAIN)
                self._learn(name, _DIGESTS[how](text.encode()))
            needs_login = any(map(_needs_login, self._program.auth.texts.values()))
            request = evolve(step.request, no_auth=step.request.no_auth or needs_login)
            answer = await self._try(request, {}, self._program.timeouts.answer, None)
        except (UnansweredError, UnusableValueError) as error:
            raise UnsentError(f"the login failed: {error}") from error
        if not step.success.hold(answer, self._known | self._login):
            raise UnsentError(self._not_well("the login", answer))
        found = values_at(step.save, answer.document)
        for name in step.save:
            if not 0 < len(found.get(name, "")) <= _LONGEST_TOKEN:
                raise UnsentError(f"the login's answer has no {name}")
            self._learn(name, found[name])

    def _learn(self, name: str, text: str) -> None:
        self._login[f"login.{name}"] = text
        self._hidden.append(text)

    def _not_well(self, what: str, answer: Answer) -> str:
        words = self.redacted(self._program.place.error_message.of(answer))
        return f"{what} was refused: {words}"

    # One request

    async def _freshen(self) -> None:
        """See to it that the challenge is fresh: an order is not sent again for it."""
        if self._scheme is None or self._seconds() - self._scheme_at > _FRESH:
            self._scheme = None
            try:
                await self.check()
            except UnansweredError as error:
                raise UnsentError(str(error)) from error

    async def _try(
        self,
        request: Request,
        values: Mapping[str, str],
        seconds: float,
        message_id: str | None,
        *,
        once: bool = False,
    ) -> Answer:
        known = {**values, **self._known, **self._login}
        try:
            outgoing = request.fill(known)
            headers = {
                **{name: one.fill(known, Where.HEADER) for name, one in self._headers(known)},
                **outgoing.headers,
            }
            if not request.no_auth:
                headers |= self._authorized(outgoing, known, message_id)
        except UnusableValueError as error:
            raise UnsentError(str(error)) from error
        answer, challenges = await self._exchange(outgoing, headers, seconds)
        wants_digest = self._program.auth.kind is AuthKind.DIGEST and not request.no_auth
        if not wants_digest or answer.status != _UNAUTHORIZED:
            return answer
        self._take_challenge(challenges)
        if once:
            return answer
        headers |= self._authorized(outgoing, known, message_id)
        answer, _ = await self._exchange(outgoing, headers, seconds)
        return answer

    def _headers(self, known: Mapping[str, str]) -> Iterator[tuple[str, Template]]:
        """Those of every request; on the way to a login, without what it is to give."""
        for name, template in self._program.headers.items():
            if all(one.name in known for one in template.placeholders):
                yield name, template

    async def _exchange(
        self, outgoing: OutgoingRequest, headers: Mapping[str, str], seconds: float
    ) -> tuple[Answer, tuple[str, ...]]:
        try:
            heard = await self._send(
                outgoing.method, outgoing.target, headers, outgoing.body, seconds
            )
        except NotConnectedError as error:
            raise UnsentError(self.redacted(str(error))) from error
        except NoAnswerError as error:
            raise UnansweredError(self.redacted(str(error))) from error
        return Answer(heard.status, heard.body), heard.challenges

    def _authorized(
        self, outgoing: OutgoingRequest, known: Mapping[str, str], message_id: str | None
    ) -> dict[str, str]:
        auth = self._program.auth
        match auth.kind:
            case AuthKind.NONE:
                return {}
            case AuthKind.BEARER:
                return {"Authorization": f"Bearer {auth.texts['token'].fill(known, Where.HEADER)}"}
            case AuthKind.SIGNATURE:
                word = message_id or self._new_word()
                return signed_headers(word, int(self._wall()), outgoing.body.encode(), self._keys)
        scheme: Scheme | None = Basic() if auth.kind is AuthKind.BASIC else self._scheme
        if scheme is None:
            return {}  # the answer says what it wants
        self._uses += 1
        who = Credentials(
            auth.texts["username"].fill(known, Where.PLAIN),
            auth.texts["password"].fill(known, Where.PLAIN),
        )
        made = authorization(
            scheme,
            who,
            method=outgoing.method,
            uri=outgoing.target,
            count=self._uses,
            cnonce=self._new_word(),
        )
        return {"Authorization": made}

    def _take_challenge(self, challenges: Iterable[str]) -> None:
        try:
            self._scheme = choose(challenges, "digest")
        except NoSchemeError as error:
            raise UnsentError(str(error)) from error
        self._scheme_at, self._uses = self._seconds(), 0


def _needs_login(template: Template) -> bool:
    return any(one.family == "login" for one in template.placeholders)
