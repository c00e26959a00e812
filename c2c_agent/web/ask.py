"""A request, read: what was asked, and who asks."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen
from twisted.logger import Logger

from c2c_agent.call.call import Call
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import Key, KeyRing
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

    @property
    def secret(self) -> str | None:
        """The key that was presented."""
        given = self.parameters.values.get("api_key")
        return given if isinstance(given, str) and given else self.bearer

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
