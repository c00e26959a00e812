"""The routes: what is nowhere, wrong methods, and a mistake of ours."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json

from tests.fakes import (
    CALL_PARAMETERS,
)
from tests.unit.web.asking import ONE, ApiTest


class Elsewhere(ApiTest):
    """Paths and methods that do not exist."""

    def test_below_the_api(self) -> None:
        """200 and JSON, as the public API promises for whatever goes wrong."""
        for path in ("/c2c/v2/x", "/c2c/v2/status", "/c2c/v2/status/a/b", "/c2c/v2x", "/c2c/v2/.."):
            body = self.get(path)
            assert self.faults(body) == [("not_found", f"There is nothing at {path}.")]
            assert body["response"]["status"] == "fail"

    def test_outside(self) -> None:
        """404 there, and still JSON."""
        for path in ("/", "/favicon.ico", "/c2c", "/c2c/v1", "*", "/metrics/x"):
            reply = self.successResultOf(self.asks("GET", path))
            assert reply.code == 404
            assert self.faults(reply.body) == [("not_found", f"There is nothing at {path}.")]

    def test_wrong_methods(self) -> None:
        """Named, with 200 below the API and 405 outside; nothing is done."""
        self.placed(ONE)
        for method, path in (
            ("PUT", "/c2c/v2"),
            ("HEAD", "/c2c/v2"),
            ("POST", f"/c2c/v2/status/{ONE}"),
            ("GET", f"/c2c/v2/cancel/{ONE}"),
            ("HEAD", f"/c2c/v2/cancel/{ONE}"),
            ("DELETE", "/c2c/v2/calls"),
        ):
            body = self.told(self.asks(method, path, CALL_PARAMETERS))
            assert self.faults(body) == [("not_found", f"{method} cannot be used at {path}.")]
        reply = self.successResultOf(self.asks("POST", "/healthz"))
        assert reply.code == 405
        assert self.driver.originated == [ONE]
        assert self.driver.hung_up == []

    def test_head(self) -> None:
        """Where GET only looks, HEAD may look, too."""
        self.ended(ONE)
        for path in (f"/c2c/v2/status/{ONE}", "/c2c/v2/calls", "/healthz", "/readyz", "/metrics"):
            shown = self.successResultOf(self.asks("HEAD", path))
            assert shown == self.successResultOf(self.asks("GET", path))

    def test_long_ones(self) -> None:
        """Nobody's megabyte of path comes back."""
        path = "/c2c/v2/" + "x" * 10_000
        assert len(json.dumps(self.get(path))) < 1000
        assert len(json.dumps(self.told(self.asks("X" * 10_000, "/c2c/v2")))) < 1000

    def test_a_mistake_of_ours(self) -> None:
        """A handler that fails is answered for: in the API's shape below it, with 500 outside."""
        call = self.api.failed("/c2c/v2")
        assert call.code == 200
        assert self.faults(call.body)[0][0] == "internal_error"
        status = self.api.failed(f"/c2c/v2/status/{ONE}")
        assert status.code == 200
        assert isinstance(status.body, dict)
        assert status.body["c2c_status"] is None
        assert self.faults(status.body)[0][0] == "internal_error"
        assert self.api.failed("/readyz").code == 500
