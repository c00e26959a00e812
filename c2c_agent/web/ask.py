"""A request, read: what was asked, and who asks."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from c2c_agent.call.call import Call
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import Key, KeyRing
from c2c_agent.web.browser import Browser, origin_of
from c2c_agent.web.request import Parameters

_log = Logger()

PREFIX: Final = "/c2c/v2"


@frozen
class Ask:
    """A request, read: method, the id in the path, parameters, who asks.

    `last_event_id` is the last event that a client of a stream has seen before.
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


class Access:
    """Whose key came with a request, and what it may.

    The operator is the key that may see and cancel every call.
    """

    def __init__(self, keys: KeyRing, operator: str) -> None:
        self.keys = keys
        self._operator = operator

    def key(self, ask: Ask) -> Key | None:
        """The key that was presented, if it is known."""
        return self.keys.find(ask.secret) if ask.secret else None

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

    def is_operator(self, key: Key) -> bool:
        """Whether it is the operator's."""
        return key.name == self._operator

    def is_of(self, key: Key, call: Call) -> bool:
        """Whether a call is this key's: it has placed it, or it is the operator's."""
        return key.name in {call.key, self._operator}

    def unauthorized(self, ask: Ask) -> Fault:
        """The fault of a request without a key that is known; an unknown one is logged."""
        if ask.secret is None:
            return Fault(ErrorCode.UNAUTHORIZED, "api_key is missing.")
        _log.warn("unauthorized: a key that is not known, from {client}", client=ask.client)
        return Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")

    def no_operator(self, ask: Ask, what: str) -> Fault | None:
        """Why who asks is not the operator of this host; None: it is."""
        key = self.key(ask)
        if key is None:
            return self.unauthorized(ask)
        if not self.is_operator(key):
            return Fault(ErrorCode.NOT_ALLOWED, f"This key may not {what}.")
        return None
