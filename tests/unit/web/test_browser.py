"""What a browser says, and what it is told: pages of other origins, and what nobody asked for."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.policy.keys import Key
from c2c_agent.report.live import Watch
from c2c_agent.web.answers import Reply
from c2c_agent.web.ask import PREFIX
from c2c_agent.web.browser import Browser, origin_of, preflight, read_browser
from tests.fakes import CALL_PARAMETERS, CRM, CRM_SECRET, SHOP_SECRET
from tests.unit.web.asking import BASE, ONE, UNKNOWN_KEY, ApiTest

PAGE = "https://crm.example.com"
OTHER = "https://elsewhere.example.com"


def read(method: str = "GET", **headers: str) -> Browser:
    """What is read of these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_browser(method, lambda name: named.get(name, ""))


class TestReading:
    def test_a_program(self) -> None:
        """It says nothing of this."""
        assert read(user_agent="curl") == Browser()

    def test_a_page(self) -> None:
        """Its origin, and whether it is one of ours."""
        assert read(origin=PAGE, sec_fetch_site="cross-site") == Browser(origin=PAGE)
        assert read(sec_fetch_site="same-origin").same_origin

    @pytest.mark.parametrize(
        "headers",
        [
            {"sec_purpose": "prefetch"},
            {"sec_purpose": "prefetch;prerender"},
            {"purpose": "prefetch"},
            {"x_moz": "prefetch"},
        ],
    )
    def test_early(self, headers: dict[str, str]) -> None:
        """As each browser says it."""
        assert read(**headers).early
        assert not read(purpose="preview").early

    def test_a_preflight(self) -> None:
        """An OPTIONS that names a method; into a private network it says so."""
        asked = {"access_control_request_method": "POST"}
        assert read("OPTIONS", **asked).asks_first
        assert not read("OPTIONS").asks_first
        assert not read("POST", **asked).asks_first
        private = {**asked, "access_control_request_private_network": "true"}
        assert read("OPTIONS", **private).private_network

    def test_origins(self) -> None:
        """A URL has one."""
        assert origin_of("https://PBX.example.com:8470/c2c") == "https://pbx.example.com:8470"

    def test_private_networks(self) -> None:
        """They are opened only to who asks for that."""
        name = "Access-Control-Allow-Private-Network"
        assert (name, "true") in preflight(Browser(PAGE, private_network=True))
        assert name not in dict(preflight(Browser(PAGE)))


class PageTest(ApiTest):
    """A page of the CRM, whose key it may use; there are other keys, and other pages."""

    key: Key = evolve(CRM, origins=(PAGE,))

    def setUp(self) -> None:
        super().setUp()
        self.ring.change([self.key, *[key for key in self.ring if key.name != "crm"]])

    def page(
        self, origin: str = PAGE, method: str = "POST", path: str = PREFIX, **how: Any
    ) -> Deferred[Reply]:
        """A page asks; for a call, if nothing else is said."""
        how.setdefault("browser", Browser(origin))
        return self.asks(method, path, {**CALL_PARAMETERS, "request_id": ONE}, **how)

    def headers(self, asked: Deferred[Reply]) -> dict[str, str]:
        """The headers of an answer."""
        return self.both(asked)[0]

    def both(self, asked: Deferred[Reply]) -> tuple[dict[str, str], Any]:
        """The headers of an answer, and what it says."""
        reply = self.successResultOf(asked)
        assert reply.code == 200
        return dict(reply.headers), reply.body


class Origins(PageTest):
    """Which page may use a key."""

    def test_its_own(self) -> None:
        """The answer names the page's origin, and never anybody's; caches know of it."""
        asked = self.page(path=f"{PREFIX}/calls", method="GET")
        assert self.headers(asked) == {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": PAGE,
            "Access-Control-Expose-Headers": "Retry-After",
        }

    def test_another(self) -> None:
        """Nothing is placed for it, and it reads nothing."""
        for origin in (OTHER, "null", "http://crm.example.com", PAGE + ":8443", PAGE.upper()):
            headers, body = self.both(self.page(origin))
            assert headers == {"Vary": "Origin"}
            message = f"Pages of {origin} may not use this key."
            assert self.faults(body) == [("not_allowed", message)]
        assert self.driver.originated == []
        assert self.store.saves == []

    def test_the_other_shape(self) -> None:
        """Where a status is asked for, the refusal is one of a status."""
        self.placed(ONE)
        body = self.told(self.page(OTHER, "GET", f"{PREFIX}/status/{ONE}"))
        assert body["c2c_status"] is None
        assert self.faults(body)[0][0] == "not_allowed"

    def test_no_page(self) -> None:
        """A program names no origin; and pages of this server need no permission."""
        for origin in ("", BASE):
            asked = self.asks("GET", f"{PREFIX}/calls", browser=Browser(origin))
            assert self.both(asked) == ({"Vary": "Origin"}, {"calls": []})

    def test_a_key_without_origins(self) -> None:
        """It works as it always did, but no page is told the answer."""
        asked = self.page(method="GET", path=f"{PREFIX}/calls", key=SHOP_SECRET)
        assert self.both(asked) == ({"Vary": "Origin"}, {"calls": []})

    def test_an_unknown_key(self) -> None:
        """A page that may use some key is told that its own is known no more."""
        for key in (None, UNKNOWN_KEY):
            assert self.headers(self.page(key=key))["Access-Control-Allow-Origin"] == PAGE
            assert self.headers(self.page(OTHER, key=key)) == {"Vary": "Origin"}

    def test_outside(self) -> None:
        """Health and metrics are for no page."""
        assert self.headers(self.page(method="GET", path="/healthz")) == {}

    def test_failures(self) -> None:
        """A page is told of ours as well."""
        reply = self.api.for_client(
            self.ask_of("POST", PREFIX, browser=Browser(PAGE)), self.api.failed(PREFIX)
        )
        assert dict(reply.headers)["Access-Control-Allow-Origin"] == PAGE


class Preflight(PageTest):
    """A browser that asks before it asks."""

    def asks_first(self, origin: str, path: str = PREFIX, *, private: bool = False) -> Reply:
        """It comes without a key."""
        browser = Browser(origin, asks_first=True, private_network=private)
        return self.successResultOf(self.asks("OPTIONS", path, key=None, browser=browser))

    def test_of_a_page_that_may(self) -> None:
        """It is told what it may send."""
        reply = self.asks_first(PAGE)
        assert (reply.code, reply.body) == (204, None)
        assert dict(reply.headers) == {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": PAGE,
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        }

    def test_into_a_private_network(self) -> None:
        """Likewise, and only a page that may."""
        name = "Access-Control-Allow-Private-Network"
        assert dict(self.asks_first(PAGE, private=True).headers)[name] == "true"
        assert dict(self.asks_first(OTHER, private=True).headers) == {"Vary": "Origin"}

    def test_of_another(self) -> None:
        """It is told nothing that opens anything."""
        for origin in (OTHER, "null", "*", ""):
            reply = self.asks_first(origin)
            assert dict(reply.headers) == {"Vary": "Origin"}
            assert self.faults(reply.body)[0][0] == "not_found"

    def test_outside(self) -> None:
        """Only the API is for pages."""
        assert self.asks_first(PAGE, "/metrics").code == 405


class Early(PageTest):
    """What a browser fetches before anybody has asked for it."""

    def test_no_call(self) -> None:
        """Nothing is placed, nor kept: the same request places the call when it is meant."""
        asked = self.page(method="GET", browser=Browser(PAGE, early=True))
        assert self.faults(self.told(asked))[0][0] == "not_allowed"
        assert self.driver.prepared == []
        assert self.store.saves == []
        self.placed(ONE)


class Methods(PageTest):
    """A key that places calls in one way."""

    key = evolve(CRM, origins=(PAGE,), methods=("POST",))

    def test_another(self) -> None:
        """A link, an image, a preview place nothing."""
        message = "This key places calls by POST alone, not GET."
        body = self.told(self.page(method="GET"))
        assert self.faults(body) == [("not_allowed", message)]
        assert self.store.saves == []

    def test_what_is_only_looked_at(self) -> None:
        """That goes on with GET."""
        assert self.get(f"{PREFIX}/calls") == {"calls": []}

    def test_the_one(self) -> None:
        """It does."""
        self.page(method="POST", dial_first="100")
        assert self.driver.originated == [ONE]


class HttpErrors(PageTest):
    """A key whose errors are the HTTP status as well."""

    key = evolve(CRM, origins=(PAGE,), http_errors=True, per_minute=1)

    def code(self, asked: Deferred[Reply]) -> int:
        """The status of an answer; the body is the same as ever."""
        return self.successResultOf(asked).code

    def test_each(self) -> None:
        """The status says the same as the code."""
        self.placed(ONE)
        for parameters, code in (
            ({"dial_first": "x"}, 422),
            ({"dial_second": "900"}, 403),
            ({"request_id": ONE, "dial_second": "201"}, 409),
            ({"pbx": "other"}, 422),
            ({}, 429),
        ):
            asked = self.asks("POST", PREFIX, {**CALL_PARAMETERS, **parameters})
            assert self.code(asked) == code, parameters
        assert self.code(self.asks("GET", f"{PREFIX}/status/{ONE}x")) == 404
        assert self.code(self.asks("GET", f"{PREFIX}/status/{ONE}")) == 200
        assert self.code(self.asks("PUT", PREFIX)) == 404

    def test_an_unknown_key(self) -> None:
        """Its page is told so by the status, and how to do better; nobody else is."""
        reply = self.successResultOf(self.page(key=UNKNOWN_KEY))
        assert reply.code == 401
        assert dict(reply.headers)["WWW-Authenticate"] == "Bearer"
        assert self.code(self.page(OTHER, key=UNKNOWN_KEY)) == 200
        assert self.code(self.page("", key=UNKNOWN_KEY)) == 200

    def test_the_pbx(self) -> None:
        """When it cannot be reached, that is 503."""
        self.driver.reason = "The PBX cannot be reached at present."
        assert self.code(self.page()) == 503

    def test_other_keys(self) -> None:
        """They are answered with 200, as the public API promises."""
        assert self.code(self.asks("POST", PREFIX, {"dial_first": "x"}, key=SHOP_SECRET)) == 200

    def test_streams(self) -> None:
        """One that begins is 200."""
        reply = self.successResultOf(self.asks("GET", f"{PREFIX}/events", key=CRM_SECRET))
        assert reply.code == 200
        assert isinstance(reply.body, Watch)
        reply.body.close()


class Renamed(PageTest):
    """A CRM that calls things otherwise."""

    key = evolve(CRM, map={"from": "dial_first", "to": "dial_second", "record": "metadata.record"})

    def test_a_call(self) -> None:
        """Its words are read as ours."""
        self.asks("POST", PREFIX, **{"from": "100", "to": "201", "record": "7", "request_id": ONE})
        job = self.desk.call(ONE).job
        assert job is not None
        assert (job.dial_first, job.dial_second, job.metadata) == ("100", "201", {"record": "7"})

    def test_both(self) -> None:
        """Said twice, it has to be the same."""
        body = self.post(PREFIX, **{"from": "100", "dial_first": "101", "to": "201"})
        assert self.faults(body) == [("invalid_parameter", "'dial_first' is given twice.")]
