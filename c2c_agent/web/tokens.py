"""The paths of tokens: have one made, have one ended, have a ticket for a stream of events."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from c2c_agent.call.number import NumberError, read_number
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import Key
from c2c_agent.policy.pattern import Pattern, PatternError, parse_pattern
from c2c_agent.policy.token import (
    LONGEST,
    TICKET_SECONDS,
    USUAL,
    Ticket,
    Token,
    TokenSigner,
)
from c2c_agent.store.call_store import TokenStore
from c2c_agent.web.answers import Reply, refused
from c2c_agent.web.ask import Access, Ask

_ISSUE: Final = "asterisk.tokens"
_EVENTS: Final = "asterisk.events"

_MOST_USES: Final = 100_000
_MOST_PATTERNS: Final = 32
_LONGEST_PATTERN: Final = 80

_NO_SECRET: Final = Fault(
    ErrorCode.NOT_ALLOWED,
    "No tokens can be made here: http.token_secret_file is needed where several relays share a "
    "store.",
)


class Tokens:
    """Makes tokens and tickets. `now` gives epoch seconds as the host's clock has them.

    `revoked` hears of each token that is ended here: the name of its key, and its id.
    """

    def __init__(
        self,
        *,
        server_id: str,
        access: Access,
        signer: TokenSigner,
        store: TokenStore,
        revoked: Callable[[str, str], None],
        now: Callable[[], float],
    ) -> None:
        self._server_id = server_id
        self._access = access
        self._signer = signer
        self._store = store
        self._revoked = revoked
        self._now = now

    async def issue(self, ask: Ask) -> Reply:
        """Make a token, for the key that asks."""
        caller = await self._access.caller(ask)
        if isinstance(caller, Fault):
            return self._fail(caller)
        if caller.token is not None:
            return self._fail(Fault(ErrorCode.NOT_ALLOWED, "A token cannot make tokens."))
        if not self._signer.can_sign:
            return self._fail(_NO_SECRET)
        now = int(self._now())
        wish = _Wish(ask, caller.key, now)
        token = wish.token()
        if wish.faults:
            return self._fail(*wish.faults)
        text = self._signer.sign(token, caller.key, now)
        return Reply({"token": text, "id": token.id, "expires": token.expires})

    async def revoke(self, ask: Ask) -> Reply:
        """End a token of the key that asks; whether there is such a one nobody knows."""
        caller = await self._access.caller(ask)
        if isinstance(caller, Fault):
            return self._fail(caller)
        if caller.token is not None and caller.token.id != ask.item:
            return self._fail(Fault(ErrorCode.NOT_ALLOWED, "A token cannot revoke another token."))
        token_id = ask.item[:64]
        await self._store.revoke(caller.key.name, token_id, self._now() + LONGEST)
        self._revoked(caller.key.name, token_id)
        return Reply({"revoked": ask.item})

    async def ticket(self, ask: Ask) -> Reply:
        """Make a ticket for one stream of events: those that who asks may see."""
        caller = await self._access.caller(ask)
        if isinstance(caller, Fault):
            return self._fail(caller, method=_EVENTS)
        if not self._signer.can_sign:
            return self._fail(_NO_SECRET, method=_EVENTS)
        now, token = int(self._now()), caller.token
        ticket = Ticket(
            id=_new_id(),
            expires=now + TICKET_SECONDS,
            dial_first=caller.dial_first,
            origin=ask.browser.origin or None,
            token=None if token is None else token.id,
            until=None if token is None else token.expires,
        )
        text = self._signer.sign_ticket(ticket, caller.key, now)
        return Reply({"ticket": text, "expires": ticket.expires})

    def _fail(self, *faults: Fault, method: str = _ISSUE) -> Reply:
        return refused(*faults, method=method, server_id=self._server_id)


class _Wish:
    """What is asked of a token, taken one by one; what is wrong with it is collected."""

    def __init__(self, ask: Ask, key: Key, now: int) -> None:
        self._values = ask.parameters.values
        self._key = key
        self._now = now
        self.faults: list[Fault] = list(ask.parameters.faults)

    def token(self) -> Token:
        """The token that is asked for; it is one only where there are no faults."""
        first = self._number("dial_first", self._key.may_ring_first) or self._key.default_first
        if first is None and not self.faults:
            self._wrong("dial_first is missing.")
        return Token(
            id=_new_id(),
            dial_first=first or "",
            expires=self._now + (self._whole("expires_in", LONGEST) or USUAL),
            dial_as=self._number("dial_as", self._key.may_dial_as),
            second=self._patterns(),
            origin=self._origin(),
            uses=self._whole("uses", _MOST_USES),
        )

    def _wrong(self, message: str, code: ErrorCode = ErrorCode.INVALID_PARAMETER) -> None:
        self.faults.append(Fault(code, message))

    def _given(self, name: str) -> object:
        value = self._values.get(name)
        return None if value == "" else value

    def _number(self, name: str, may: Callable[[str], bool]) -> str | None:
        value = self._given(name)
        if value is None:
            return None
        try:
            number = read_number(value, self._key.names)
        except NumberError as error:
            self._wrong(f"{name} is not a number that can be dialled: {error}.")
            return None
        if not may(number):
            self._wrong(f"This key may not use this {name}.", ErrorCode.NOT_ALLOWED)
        return number

    def _whole(self, name: str, most: int) -> int | None:
        value = self._given(name)
        if (
            isinstance(value, str)
            and value.isascii()
            and value.isdigit()
            and len(value) <= len(str(most))
        ):
            value = int(value)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            self._wrong(f"{name} must be a whole number from 1 to {most}.")
            return None
        return value

    def _patterns(self) -> Sequence[Pattern] | None:
        """A list of texts; in a form or query one text, with commas between them."""
        value = self._given("second")
        if value is None:
            return None
        texts = value.split(",") if isinstance(value, str) else value
        if (
            not isinstance(texts, list)
            or not 1 <= len(texts) <= _MOST_PATTERNS
            or not all(isinstance(text, str) and len(text) <= _LONGEST_PATTERN for text in texts)
        ):
            self._wrong(f"second must be a list of 1 to {_MOST_PATTERNS} numbers or patterns.")
            return None
        try:
            return tuple(parse_pattern(text.strip()) for text in texts)
        except PatternError as error:
            self._wrong(f"second: {error}.")
            return None

    def _origin(self) -> str | None:
        value = self._given("origin")
        if value is None:
            return None
        if value not in self._key.origins:
            self._wrong("origin is none of those that this key has.", ErrorCode.NOT_ALLOWED)
        return str(value)


def _new_id() -> str:
    return secrets.token_urlsafe(16)
