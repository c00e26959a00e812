"""A request, read: what was asked, and who asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from c2c_agent.call.call import Call
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.policy.keys import Key, KeyRing
from c2c_agent.policy.token import Token, TokenError, TokenSigner
from c2c_agent.store.call_store import TokenStore
from c2c_agent.web.browser import Browser, origin_of
from c2c_agent.web.request import Parameters

_log = Logger()

PREFIX: Final = "/c2c/v2"


@frozen
class Ask:
    """A request, read: method, the id in the path, parameters, who asks.

    `last_event_id` is the last event that a client of a stream has seen before; `if_none_match` the
    entity tags of what it has.
    """

    method: str
    path: str
    base_url: str
    item: str
    parameters: Parameters
    bearer: str | None
    client: str
    last_event_id: str = ""
    browser: Browser = Browser()
    if_none_match: str = ""

    @property
    def secret(self) -> str | None:
        """The key that was presented."""
        given = self.parameters.values.get("api_key")
        return given if isinstance(given, str) and given else self.bearer

    @property
    def is_from_elsewhere(self) -> bool:
        """Whether a page asks that is not of this server."""
        origin = self.browser.origin
        return bool(origin) and origin != origin_of(self.base_url)

    @property
    def secrets(self) -> frozenset[str]:
        """All keys that were presented: none of them may be kept anywhere."""
        bearer = frozenset() if self.bearer is None else frozenset({self.bearer})
        return self.parameters.secrets | bearer

    def status_url(self, request_id: str) -> str:
        """Where the client finds the story of a request."""
        return f"{self.base_url}{PREFIX}/status/{request_id}"

    def number(self, name: str, most: int) -> int | Fault | None:
        """A number in the query string; a fault where it is none, None where it is not given."""
        text = self.parameters.values.get(name)
        if text is None:
            return None
        if isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}", text) and int(text) <= most:
            return int(text)
        message = f"{name} must be a whole number from 0 to {most}."
        return Fault(ErrorCode.INVALID_PARAMETER, message)


@frozen
class Caller:
    """Who asks: a key, or a token of it."""

    key: Key
    token: Token | None = None

    @property
    def dial_first(self) -> str | None:
        """The number to whose calls the caller is confined: the token's; None: it is not."""
        return None if self.token is None else self.token.dial_first

    @property
    def oversees(self) -> bool:
        """Whether the calls of all keys are the caller's to see; never by a token."""
        return self.key.console and self.token is None


@frozen
class Listener:
    """Who hears of events: of a key's calls, or only those that ring a number first.

    `expires`: until when, in epoch seconds; None: that has no end. `token`: the id of the token by
    which it does; None: by a key.
    """

    key: Key
    dial_first: str | None
    expires: float | None
    token: str | None

    @property
    def oversees(self) -> bool:
        """Whether the calls of all keys are heard of; likewise."""
        return self.key.console and self.dial_first is None


class Access:
    """Whose key or token came with a request, and what it may.

    `now` gives epoch seconds as the host's clock has them.
    """

    def __init__(
        self,
        keys: KeyRing,
        *,
        signer: TokenSigner,
        tokens: TokenStore,
        now: Callable[[], float],
    ) -> None:
        self.keys = keys
        self._signer = signer
        self._tokens = tokens
        self._now = now

    def key(self, ask: Ask) -> Key | None:
        """The key that was presented, if it is known; of a token, its key."""
        if not ask.secret:
            return None
        try:
            return self.keys.find(ask.secret) or self._read_token(ask)[0]
        except TokenError:
            return None

    async def caller(self, ask: Ask) -> Caller | Fault:
        """Who asks, or why nobody is known by what was presented."""
        key = None if ask.secret is None else self.keys.find(ask.secret)
        if key is not None:
            return Caller(key)
        try:
            return await self._by_token(ask)
        except ApiError as error:
            return error.faults[0]

    async def _by_token(self, ask: Ask) -> Caller:
        """Who asks by a token; raises ApiError."""
        if ask.secret is None:
            raise ApiError(self.unauthorized(ask))
        if ask.secret != ask.bearer and _looks_like_a_token(ask.secret):
            raise ApiError(_not_in_a_url())
        try:
            key, token = self._read_token(ask)
        except TokenError as error:
            fault = Fault(ErrorCode.UNAUTHORIZED, str(error))
            raise ApiError(self.unauthorized(ask) if error.forged else fault) from error
        if not _is_at_home(ask, token.origin):
            message = f"Pages of {ask.browser.origin[:200] or 'no origin'} may not use this token."
            raise ApiError(Fault(ErrorCode.NOT_ALLOWED, message))
        if await self._tokens.is_revoked(key.name, token.id):
            raise _unauthorized("This token was revoked.")
        return Caller(key, token)

    async def listener(self, ask: Ask) -> Listener | Fault:
        """Who wants to hear of events: with a ticket, which is used by that, or as anybody else."""
        ticket = ask.parameters.values.get("ticket")
        if ticket is None:
            caller = await self.caller(ask)
            if isinstance(caller, Fault):
                return caller
            token = caller.token
            if token is None:
                return Listener(caller.key, None, None, None)
            return Listener(caller.key, token.dial_first, token.expires, token.id)
        try:
            return await self._by_ticket(ask, str(ticket))
        except ApiError as error:
            return error.faults[0]

    async def _by_ticket(self, ask: Ask, text: str) -> Listener:
        """Who hears of events with a ticket, which is used by that; raises ApiError."""
        try:
            key, ticket = self._signer.read_ticket(text, self.keys.named, self._now())
        except TokenError as error:
            raise _unauthorized(str(error).replace("token", "ticket")) from error
        if not _is_at_home(ask, ticket.origin):
            raise ApiError(Fault(ErrorCode.NOT_ALLOWED, "This page may not use this ticket."))
        if not await self._tokens.use(key.name, ticket.id, 1, ticket.expires):
            raise _unauthorized("This ticket was used before.")
        if ticket.token is not None and await self._tokens.is_revoked(key.name, ticket.token):
            raise _unauthorized("The token of this ticket was revoked.")
        return Listener(key, ticket.dial_first, ticket.until, ticket.token)

    def _read_token(self, ask: Ask) -> tuple[Key, Token]:
        """The token in the header Authorization, and its key; raises TokenError."""
        return self._signer.read(ask.bearer or "", self.keys.named, self._now())

    def lasts(self, expires: float | None) -> float | None:
        """For how many seconds from now something is valid; None: there is no end to it."""
        return None if expires is None else max(0.0, expires - self._now())

    def page_fault(self, ask: Ask, key: Key) -> Fault | None:
        """Why the page that asks may not use a key; None: it may, or it is no page that asks.

        A browser alone would keep the page from reading the answer, but the call would be placed.
        """
        if not key.origins or not ask.is_from_elsewhere or ask.browser.origin in key.origins:
            return None
        message = f"Pages of {ask.browser.origin[:200]} may not use this key."
        return Fault(ErrorCode.NOT_ALLOWED, message)

    def may_read(self, ask: Ask) -> bool:
        """Whether the page that asks may read the answer.

        That is for the key to say; where none was presented, or none that is known, any key's word
        counts: so a page is told that its key has ended.
        """
        if not ask.is_from_elsewhere:
            return False
        key = self.key(ask)
        if key is None:
            return self.keys.welcomes(ask.browser.origin)
        return ask.browser.origin in key.origins

    def shows_errors(self, ask: Ask) -> bool:
        """Whether the HTTP status is to say what went wrong: likewise."""
        key = self.key(ask)
        return self.keys.shows_errors(ask.browser.origin) if key is None else key.http_errors

    @staticmethod
    def is_of(caller: Caller | Listener, call: Call) -> bool:
        """Whether a call is the caller's: of the same key, and ringing the token's number first.

        Every call is theirs who oversee all.
        """
        if caller.oversees:
            return True
        first = None if call.job is None else call.job.dial_first
        return caller.key.name == call.key and caller.dial_first in {None, first}

    def unauthorized(self, ask: Ask) -> Fault:
        """The fault of a request without a key that is known; an unknown one is logged."""
        if ask.secret is None:
            return Fault(ErrorCode.UNAUTHORIZED, "api_key is missing.")
        _log.warn("unauthorized: a key that is not known, from {client}", client=ask.client)
        return Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")

    def no_console(self, ask: Ask, what: str) -> Fault | None:
        """Why who asks does not look after the agent, by a key with a console; None: it does."""
        key = self.keys.find(ask.secret) if ask.secret else None
        if key is None:
            return self.unauthorized(ask)
        if not key.console:
            return Fault(ErrorCode.NOT_ALLOWED, f"This key may not {what}.")
        return None


def _unauthorized(message: str) -> ApiError:
    return ApiError(Fault(ErrorCode.UNAUTHORIZED, message))


def _not_in_a_url() -> Fault:
    message = "A token belongs in the header Authorization; URLs are kept in many places."
    return Fault(ErrorCode.UNAUTHORIZED, message)


def _looks_like_a_token(text: str) -> bool:
    """Whether it has the three parts of one; what a key has, `new_secret` says."""
    return text.count(".") == 2 and text.startswith("eyJ")  # noqa: PLR2004 - {"… in Base64


def _is_at_home(ask: Ask, origin: str | None) -> bool:
    """Whether a page of that origin asks; None: any may, or a program.

    A browser names no origin where a page of the server itself only reads; then it says that.
    """
    if origin is None or ask.browser.origin == origin:
        return True
    own = origin_of(ask.base_url) == origin and ask.browser.same_origin
    return own and not ask.browser.origin
