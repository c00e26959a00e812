"""Who may ask what: requests of nobody we know."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent

from c2c_agent.web.ask import PREFIX, Ask
from c2c_agent.web.request import read_parameters
from tests.fakes import (
    CALL_PARAMETERS,
)
from tests.unit.web.asking import BASE, ONE, UNKNOWN_KEY, ApiTest


class Unauthorized(ApiTest):
    """Requests of nobody we know."""

    def test_no_key(self) -> None:
        """It is said that it is missing; also an empty one is none."""
        self.assert_unauthorized(self.get(PREFIX, CALL_PARAMETERS, key=None), "api_key is missing.")
        self.assert_unauthorized(
            self.get(PREFIX, {**CALL_PARAMETERS, "api_key": ""}, key=None), "api_key is missing."
        )

    def test_an_unknown_key(self) -> None:
        """The admin reads from where it came, and not what it was."""
        body = self.get(PREFIX, CALL_PARAMETERS, key=UNKNOWN_KEY)
        self.assert_unauthorized(body, "This api_key is not known.")
        assert [formatEvent(event) for event in self.logged] == [
            "unauthorized: a key that is not known, from 192.0.2.7"
        ]

    def test_nothing_else_is_told(self) -> None:
        """Not whether the rest was right, nor whether an id was seen before."""
        self.assert_unauthorized(
            self.get(PREFIX, {"dial_first": "&", "request_id": ONE}, key=UNKNOWN_KEY),
            "This api_key is not known.",
        )
        assert self.store.reads == []

    def test_a_request_that_cannot_be_read(self) -> None:
        """Where the key may stand in what cannot be read, that is what is said."""
        handler, _ = self.api.route("POST", PREFIX)
        broken = read_parameters(b"", "application/json", b'{"api_key": "x')
        ask = Ask("POST", PREFIX, BASE, "", broken, None, "192.0.2.7")
        body = self.told(Deferred.fromCoroutine(handler(ask)))
        assert self.faults(body) == [
            ("invalid_parameter", "The body is no valid JSON, or too deeply nested.")
        ]
        assert body["response"]["request_id"] is None
        assert self.store.saves == []

    def test_an_unknown_key_and_a_request_that_cannot_be_read(self) -> None:
        """An unknown key is told so, and logged, whatever else is wrong."""
        handler, _ = self.api.route("POST", PREFIX)
        broken = read_parameters(b"", "application/json", b"{")
        ask = Ask("POST", PREFIX, BASE, "", broken, UNKNOWN_KEY, "192.0.2.7")
        body = self.told(Deferred.fromCoroutine(handler(ask)))
        assert [code for code, _ in self.faults(body)] == ["invalid_parameter", "unauthorized"]
        assert "from 192.0.2.7" in (formatEvent(self.logged[0]) or "")
        assert self.store.saves == []

    def test_everywhere(self) -> None:
        """Cancelling, listing and following ask for a key, too."""
        for method, path in (
            ("POST", f"{PREFIX}/cancel/{ONE}"),
            ("GET", f"{PREFIX}/calls"),
            ("GET", f"{PREFIX}/events"),
        ):
            for key, message in (
                (None, "api_key is missing."),
                (UNKNOWN_KEY, "This api_key is not known."),
            ):
                self.assert_unauthorized(self.told(self.asks(method, path, key=key)), message)
