"""The HTTP listener: whatever bytes a client sends, it gets its answer, and nobody else is hurt."""

# Twisted's test doubles and test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from c2c_agent.call.call import CallState
from c2c_agent.call.events import FirstRinging, OriginateAccepted
from c2c_agent.config.sections import HttpConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.keys import KeyRing
from c2c_agent.policy.token import TokenSigner
from c2c_agent.report.metrics import Exposition
from c2c_agent.report.outbox import Standing
from c2c_agent.web import server as http_server
from c2c_agent.web.api import Api
from c2c_agent.web.request import BODY_LIMIT
from c2c_agent.web.server import ApiSite
from tests.fakes import CRM, CRM_SECRET, Desk, DeskTest, uuid
from tests.memory_host import Answer, Connection, answers, request

# Its type is that of a module.
reactor: Any = global_reactor

ONE = uuid(1)
PLACE = f"/c2c/v2?dial_first=100&dial_second=200&request_id={ONE}&api_key={CRM_SECRET}"
AUTHORIZED = f"Authorization: Bearer {CRM_SECRET}"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"


async def nobody_is_told() -> list[Standing]:
    """Be an outbox without targets."""
    return []


async def nothing_to_replay(_target: str | None, _request_id: str | None) -> int:
    """Be an outbox without dead letters."""
    return 0


async def nothing_found() -> dict[str, Any]:
    """Be checks that find all well."""
    return {"utc.time": "1435628937.000", "ok": True, "findings": []}


def api_of(desk: Desk) -> Api:
    """An API in front of a desk."""
    return Api(
        config=HttpConfig(),
        server_id="pbx1.example.com",
        keys=KeyRing([CRM]),
        intake=desk.intake,
        dispatcher=desk.dispatcher,
        live=desk.live,
        readiness=dict,
        metrics=lambda: Exposition("text/plain; version=0.0.4", b"c2c_ami_up 1.0\n"),
        replay=nothing_to_replay,
        standing=nobody_is_told,
        kill_switch=desk,
        check=nothing_found,
        signer=TokenSigner(),
        tokens=desk.tokens,
        report_list=desk.report_list,
        use=lambda name: desk.meter.use(name, desk.now()),
        now=desk.wall,
        clock=desk.clock,
    )


class SiteTest(DeskTest):
    """A listener in front of a desk, and one connection to it."""

    public_url: str | None = None

    def setUp(self) -> None:
        """Put the listener there, and listen to the log."""
        super().setUp()
        self.site_clock = Clock()
        self.api = api_of(self.desk)
        self.site = ApiSite(self.api, self.public_url, self.site_clock)
        self.client = Connection(self.site)
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def tearDown(self) -> None:
        """No key in the log, whatever happened."""
        assert CRM_SECRET not in "".join(formatEvent(event) or "" for event in self.logged)
        super().tearDown()

    def placed(self, answer_to: Connection | None = None) -> Answer:
        """A call that the PBX has accepted: the answer to it."""
        client = answer_to or self.client
        client.sends(request(PLACE))
        self.driver.tells(ONE, OriginateAccepted())
        [answer] = client.answers()
        return answer


class Answers(SiteTest):
    """What an answer looks like."""

    def test_an_answer(self) -> None:
        """JSON with its length, for nobody to keep."""
        answer = self.client.asks("/c2c/v2/calls", AUTHORIZED)
        assert (answer.code, answer.json) == (200, {"calls": []})
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.endswith(b"\n")

    def test_metrics(self) -> None:
        """Not JSON: as they are, with their own content type."""
        answer = self.client.asks("/metrics")
        assert (answer.code, answer.content) == (200, b"c2c_ami_up 1.0\n")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4"
        assert answer.headers["content-length"] == "15"

    def test_later(self) -> None:
        """The answer comes when it is known, and on its own connection."""
        other = Connection(self.site)
        self.client.sends(request(PLACE))
        assert self.client.answers() == []
        self.driver.tells(ONE, OriginateAccepted())
        assert [answer.json["response"]["status"] for answer in self.client.answers()] == [
            "success"
        ]
        assert other.answers() == []

    def test_one_after_the_other(self) -> None:
        """A connection serves several requests, also where they come at once."""
        self.client.sends(request("/healthz") + request("/readyz") + request("/c2c/v2"))
        told = self.client.answers()
        assert [answer.code for answer in told] == [200, 200, 200]
        assert told[0].json == {"status": "ok"}
        assert told[2].faults == ["unauthorized"]

    def test_head(self) -> None:
        """What GET would say, without saying it."""
        shown = self.client.asks("/healthz")
        self.client.sends(request("/healthz", method="HEAD"))
        [answer] = answers(self.client.transport.value(), head=True)
        assert answer.code == 200
        assert answer.headers["content-length"] == str(len(shown.content))

    def test_head_dials_nobody(self) -> None:
        """A HEAD of the call's URL is no call."""
        self.client.sends(request(PLACE, method="HEAD"))
        [answer] = answers(self.client.transport.value(), head=True)
        assert answer.code == 200
        assert self.driver.prepared == []

    def test_ordinary_codes(self) -> None:
        """Outside the API, the code says it."""
        assert self.client.asks("/").code == 404
        assert self.client.asks("/healthz", method="DELETE").code == 405
        self.api._operation._readiness = lambda: {"store": None, "ami": "not connected yet"}
        answer = self.client.asks("/readyz")
        assert (answer.code, answer.json["ready"]) == (503, False)

    def test_retry_after(self) -> None:
        """When it is worth another try stands in the header, too."""
        self.api._access.keys = KeyRing([evolve(CRM, per_minute=1)])
        assert "retry-after" not in self.placed().headers
        answer = self.client.asks("/c2c/v2?dial_first=100&dial_second=200", AUTHORIZED)
        assert answer.faults == ["rate_limited"]
        assert answer.headers["retry-after"] == "60"

    def test_methods(self) -> None:
        """Any word can be a method."""
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get"):
            answer = self.client.asks(PLACE, method=method)
            assert (answer.code, answer.faults) == (200, ["not_found"])
        assert self.driver.prepared == []


class WhatClientsSend(SiteTest):
    """Bodies, headers and paths of every kind."""

    def call(self, *headers: str, body: bytes, **how: Any) -> str:
        """A call that is placed by a body: its id."""
        before = len(self.driver.originated)
        self.client.sends(request("/c2c/v2", AUTHORIZED, *headers, method="POST", body=body, **how))
        assert len(self.driver.originated) == before + 1
        request_id = self.driver.originated[-1]
        self.driver.tells(request_id, OriginateAccepted())
        [answer] = self.client.answers()
        assert answer.json["response"]["request_id"] == request_id
        return request_id

    def test_json(self) -> None:
        """As JSON where the Content-Type says so."""
        body = json.dumps({"dial_first": "100", "dial_second": "200"}).encode()
        self.call(JSON, body=body)
        self.call("content-TYPE: Application/JSON ; charset=utf-8", body=body)

    def test_form(self) -> None:
        """As a form otherwise."""
        self.call(FORM, body=b"dial_first=100&dial_second=200")
        self.call(body=b"dial_first=1%2000&dial_second=200")

    def test_json_with_get(self) -> None:
        """As the specification has its clients do."""
        body = json.dumps({"dial_first": "100", "dial_second": "200"}).encode()
        self.client.sends(request("/c2c/v2", AUTHORIZED, JSON, body=body))
        assert len(self.driver.originated) == 1

    def test_byte_by_byte(self) -> None:
        """However the network cuts it."""
        body = b"dial_first=100&dial_second=200"
        for byte in request("/c2c/v2", AUTHORIZED, FORM, method="POST", body=body):
            assert self.driver.originated == []
            self.client.sends(bytes([byte]))
        assert len(self.driver.originated) == 1

    def test_chunked(self) -> None:
        """A body in pieces, whose length nobody knows before."""
        head = request("/c2c/v2", AUTHORIZED, FORM, "Transfer-Encoding: chunked", method="POST")
        self.client.sends(head + b"e\r\ndial_first=100\r\n10\r\n&dial_second=200\r\n0\r\n\r\n")
        assert len(self.driver.originated) == 1

    def test_no_length(self) -> None:
        """A POST that does not say how long its body is has none."""
        self.client.sends(request(PLACE, FORM, method="POST"))
        assert self.driver.originated == [ONE]

    def test_expect_continue(self) -> None:
        """A client that asks before it sends its body (as curl does) is told to go on."""
        body = b"dial_first=100&dial_second=200"
        whole = request("/c2c/v2", AUTHORIZED, "Expect: 100-continue", method="POST", body=body)
        self.client.sends(whole[: -len(body)])
        assert self.client.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
        self.client.transport.clear()
        self.client.sends(body)
        assert len(self.driver.originated) == 1

    def test_broken(self) -> None:
        """What cannot be read is said, in JSON and with 200."""
        for headers, body in (
            ((JSON,), b"{"),
            ((JSON,), b"[]"),
            ((JSON,), b"\xff\xfe"),
            ((JSON,), b"[" * 60_000),
            ((FORM,), b"dial_first=%ff"),
            ((FORM,), b"\xff"),
        ):
            answer = self.client.asks("/c2c/v2", AUTHORIZED, *headers, method="POST", body=body)
            assert answer.code == 200
            assert "invalid_parameter" in answer.faults
        assert self.driver.prepared == []

    def test_a_body_that_is_too_long(self) -> None:
        """It is cut at 64 KiB, read to its end and answered; the connection goes on."""
        body = b"dial_first=100&dial_second=200&x=" + b"x" * BODY_LIMIT
        answer = self.client.asks("/c2c/v2", AUTHORIZED, FORM, method="POST", body=body)
        assert "invalid_parameter" in answer.faults
        assert self.driver.prepared == []
        assert self.client.asks("/healthz").json == {"status": "ok"}

    def test_no_utf_8_in_a_header(self) -> None:
        """A header may have any byte; it is read as far as it means something."""
        for header in ("Host: \xff", "Content-Type: \xff", f"{AUTHORIZED}\xff", "X-Other: \xff"):
            answer = self.client.asks("/c2c/v2", header)
            assert (answer.code, answer.faults) == (200, ["unauthorized"])
        answer = self.client.asks("/healthz", "Host: \xe9")
        assert answer.json == {"status": "ok"}

    def test_no_utf_8_in_path_and_query(self) -> None:
        """Percent-encoded, it is answered; raw, it is no HTTP at all, and Twisted says so."""
        answer = self.client.asks("/c2c/v2/%FF", AUTHORIZED)
        assert answer.faults == ["not_found"]
        answer = self.client.asks("/c2c/v2?x=%FF", AUTHORIZED)
        assert "invalid_parameter" in answer.faults
        self.client.sends(request("/c2c/v2?x=\xff", AUTHORIZED))
        assert self.client.transport.value() == b"HTTP/1.1 400 Bad Request\r\n\r\n"

    def test_absolute_targets(self) -> None:
        """As clients of proxies send them; what they name counts in the place of Host."""
        asked = "/c2c/v2?dial_first=300&dial_second=200"
        for target, base in (
            (f"http://pbx1.example.com:8470{asked}", "http://pbx1.example.com:8470"),
            (f"HTTPS://pbx1.example.com{asked}", "http://pbx1.example.com"),
            (f"http://user@evil.example{asked}", "http://localhost:12345"),
        ):
            answer = self.client.asks(target, AUTHORIZED, "Host: other.example.com")
            url = answer.json["response"]["errors"][0]["error"]["url"]
            assert url.startswith(f"{base}/c2c/v2/status/")
        for target in ("http://pbx1/healthz", "http://pbx1:8470/healthz?x=http://y"):
            assert self.client.asks(target).json == {"status": "ok"}
        for target in ("http://pbx1", "http://pbx1?x=1", "ftp://pbx1/healthz", "http:/healthz"):
            assert self.client.asks(target).code == 404

    def test_multipart(self) -> None:
        """Well-formed it is read, broken it is refused in the API's own shape."""
        kind = "Content-Type: multipart/form-data; boundary=a"
        field = b'--a\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        body = field % (b"dial_first", b"100") + field % (b"dial_second", b"200")
        whole = body + b"--a--\r\n"
        self.client.sends(request("/c2c/v2", AUTHORIZED, kind, method="POST", body=whole))
        self.driver.tells(self.driver.originated[0], OriginateAccepted())
        [answer] = self.client.answers()
        assert answer.json["response"]["status"] == "success"
        for broken in (body, b"x", body.replace(b"form-data", b"x")):
            answer = self.client.asks("/c2c/v2", AUTHORIZED, kind, method="POST", body=broken)
            assert answer.code == 200
            assert "invalid_parameter" in answer.faults
            assert "no multipart/form-data" in json.dumps(answer.json)

    def test_http_1_0(self) -> None:
        """An old client without a Host is told the port, at least."""
        answer = self.client.asks(
            "/c2c/v2?dial_first=300&dial_second=200", AUTHORIZED, version="1.0"
        )
        url = answer.json["response"]["errors"][0]["error"]["url"]
        assert url.startswith("http://localhost:12345/c2c/v2/status/")
        assert self.client.transport.disconnecting


class Bearer(SiteTest):
    """`Authorization: Bearer …`."""

    def test_ways_to_write_it(self) -> None:
        """The scheme in any case, blanks around the key."""
        for header in (
            f"Authorization: Bearer {CRM_SECRET}",
            f"authorization: bearer {CRM_SECRET}",
            f"AUTHORIZATION: BEARER   {CRM_SECRET}  ",
        ):
            assert self.client.asks("/c2c/v2/calls", header).json == {"calls": []}

    def test_none(self) -> None:
        """Other schemes are not ours, and a scheme alone is no key."""
        for header in (
            "Authorization: Basic Y3JtOng=",
            "Authorization: Bearer",
            f"X: {CRM_SECRET}",
        ):
            answer = self.client.asks("/c2c/v2/calls", header)
            message = answer.json["response"]["errors"][0]["error"]["message"]
            assert message == "api_key is missing."

    def test_who_asked(self) -> None:
        """An unknown key is logged with the client's address, as far as there is one."""
        self.client.asks("/c2c/v2/calls", "Authorization: Bearer wrong")
        Connection(self.site, UNIXAddress(b"")).asks("/c2c/v2/calls", "Authorization: Bearer wrong")
        assert [formatEvent(event) for event in self.logged] == [
            "unauthorized: a key that is not known, from 192.0.2.7",
            "unauthorized: a key that is not known, from unix",
        ]

    def test_behind_a_proxy(self) -> None:
        """Only a proxy that the configuration names is believed who it heard from."""
        forwarded = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.5")
        wrong = "Authorization: Bearer wrong"
        trusting = ApiSite(self.api, None, self.site_clock, ["192.0.2.0/24"])
        Connection(trusting).asks("/c2c/v2/calls", wrong, *forwarded)
        self.client.asks("/c2c/v2/calls", wrong, *forwarded)
        assert [(formatEvent(event) or "").split()[-1] for event in self.logged] == [
            "203.0.113.5",
            "192.0.2.7",
        ]


class UrlTest(SiteTest):
    """Refused requests, which are told where their status is."""

    def url(self, *headers: str, secure: bool = False) -> str:
        """What the URL of a status begins with."""
        answer = Connection(self.site, secure=secure).asks(
            "/c2c/v2?dial_first=300&dial_second=200", AUTHORIZED, *headers
        )
        url: str = answer.json["response"]["errors"][0]["error"]["url"]
        path = f"/c2c/v2/status/{answer.json['response']['request_id']}"
        assert url.endswith(path)
        return url.removesuffix(path)


class StatusUrls(UrlTest):
    """What the URLs begin with that clients are told."""

    def test_as_the_client_named_us(self) -> None:
        """By the Host header: name or address, with a port or without."""
        for host in ("pbx1.example.com", "pbx1.example.com:8470", "192.0.2.1", "[2001:db8::1]:80"):
            assert self.url(f"Host: {host}") == f"http://{host}"

    def test_hostile(self) -> None:
        """What no URL can begin with is left out."""
        for host in (
            "evil.example/path",
            "evil.example?x=",
            "user@evil.example",
            '"><script>alert(1)</script>',
            "a b",
            "x" * 300,
            "",
        ):
            assert self.url(f"Host: {host}") == "http://localhost:12345"

    def test_over_tls(self) -> None:
        """The scheme is the connection's."""
        assert self.url("Host: pbx1", secure=True) == "https://pbx1"

    def test_in_the_story(self) -> None:
        """request_url is where it came to, without its query, in which a key may stand."""
        self.client.sends(request(PLACE, "Host: pbx1"))
        assert self.desk.call(ONE).received.url == "http://pbx1/c2c/v2"


class PublicUrl(UrlTest):
    """`http.public_url`: what stands there counts, whatever a client says."""

    public_url = "https://calls.example.com/agent/"

    def test_whatever_the_client_says(self) -> None:
        """With or without a Host, hostile or not."""
        for headers in ((), ("Host: pbx1",), ("Host: evil.example/path",)):
            assert self.url(*headers) == "https://calls.example.com/agent"

    def test_in_the_story(self) -> None:
        """There, too."""
        self.client.sends(request(PLACE, "Host: pbx1"))
        assert self.desk.call(ONE).received.url == "https://calls.example.com/agent/c2c/v2"


class Mistakes(SiteTest):
    """A handler fails: the client hears it in JSON, the admin in the log."""

    def assert_logged(self, error: type[Exception], count: int = 1) -> None:
        """It stands in the log, and nothing secret beside it."""
        assert len(self.flushLoggedErrors(error)) == count
        written = [event for event in self.logged if event["log_level"].name == "critical"]
        assert len(written) == count
        for event in written:
            assert CRM_SECRET not in event["log_failure"].getTraceback()

    def test_the_store_cannot_be_read(self) -> None:
        """All who asked for the same request hear the same; nothing is dialled."""
        self.store.hold_reads()
        others = [Connection(self.site) for _ in range(2)]
        for client in (self.client, *others):
            client.sends(request(PLACE))
        self.store.fail_reads()
        for client in (self.client, *others):
            [answer] = client.answers()
            assert (answer.code, answer.faults) == (200, ["internal_error"])
            assert answer.json["response"]["request_id"] is None
        self.assert_logged(Exception, count=3)
        assert self.driver.prepared == []

    def test_the_status_cannot_be_read(self) -> None:
        """In the shape of a status."""
        self.store.hold_reads()
        self.client.sends(request(f"/c2c/v2/status/{ONE}"))
        self.store.fail_reads()
        [answer] = self.client.answers()
        assert answer.json["c2c_status"] is None
        assert answer.faults == ["internal_error"]
        self.assert_logged(Exception)

    def test_the_store_is_away(self) -> None:
        """One line for each who asks, and no more."""
        self.store.hold_reads()
        self.client.sends(request(f"/c2c/v2/status/{ONE}"))
        self.store.fail_reads(StoreError("Connection refused"))
        [answer] = self.client.answers()
        assert answer.faults == ["internal_error"]
        [event] = [event for event in self.logged if event["log_level"].name == "warn"]
        assert formatEvent(event) == f"GET /c2c/v2/status/{ONE}: Connection refused"

    def test_outside_the_api(self) -> None:
        """With 500 there."""

        def fail() -> dict[str, str | None]:
            raise ZeroDivisionError

        self.api._operation._readiness = fail
        answer = self.client.asks("/readyz")
        assert (answer.code, answer.faults) == (500, ["internal_error"])
        self.assert_logged(ZeroDivisionError)

    def test_before_the_handler(self) -> None:
        """Also where it is the reading of the request that fails."""

        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        self.patch(http_server, "read_parameters", fail)
        answer = self.client.asks(PLACE)
        assert (answer.code, answer.faults) == (200, ["internal_error"])
        self.assert_logged(ZeroDivisionError)

    def test_an_answer_that_is_no_json(self) -> None:
        """Even then the client is not left waiting."""
        self.api._operation._readiness = lambda: {"store": object()}  # type: ignore[dict-item]
        answer = self.client.asks("/readyz")
        assert (answer.code, answer.faults) == (500, ["internal_error"])
        self.assert_logged(TypeError)


class Leaving(SiteTest):
    """Clients that do not wait for their answer, and those that say nothing."""

    def test_a_call_goes_on(self) -> None:
        """Who places a call and leaves has placed a call."""
        self.client.sends(request(PLACE))
        self.client.leaves()
        self.driver.tells(ONE, OriginateAccepted(), FirstRinging())
        assert self.desk.call(ONE).state is CallState.FIRST_RINGING
        assert self.client.answers() == []

    def test_a_status_that_is_held(self) -> None:
        """Nothing is written where nobody is any more, and nothing is kept for them."""
        self.placed()
        active = self.desk.dispatcher.active(ONE)
        assert active is not None
        self.client.sends(request(f"/c2c/v2/status/{ONE}?wait=60"))
        assert len(active.change_waiters) == 1
        self.client.leaves()
        assert active.change_waiters == []
        assert self.clock.getDelayedCalls() == [active.guard]
        self.assert_nothing_more()

    def test_a_status_that_the_store_is_asked_for(self) -> None:
        """What it says comes too late."""
        self.store.hold_reads()
        self.client.sends(request(f"/c2c/v2/status/{ONE}?wait=60"))
        self.client.leaves()
        self.store.release()
        self.assert_nothing_more()

    def assert_nothing_more(self) -> None:
        """Whatever happens, nothing is written, and no failure logged."""
        self.clock.advance(60)
        assert self.client.answers() == []
        assert self.logged == [event for event in self.logged if "log_failure" not in event]

    def test_silence(self) -> None:
        """A client that says nothing for a minute is let go, but not one that waits."""
        self.placed()
        waiting, silent = Connection(self.site), self.client
        waiting.sends(request(f"/c2c/v2/status/{ONE}?wait=60"))
        self.site_clock.advance(61)
        assert silent.transport.disconnecting
        assert not waiting.transport.disconnecting
        self.clock.advance(60)
        [answer] = waiting.answers()
        assert answer.json["c2c_status"]["call"]["state"] == "dialing_first"


class Collector(Protocol):
    """A client on a real socket: collects what comes, until it is closed or has enough."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = Deferred[None]()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class OnASocket(TestCase):
    """The same on the loopback interface, where bytes come as the kernel has them come."""

    timeout = 60

    def setUp(self) -> None:
        """Listen."""
        self.desk = Desk()
        self.port = reactor.listenTCP(
            0, ApiSite(api_of(self.desk), None, reactor), interface="127.0.0.1"
        )
        self.addCleanup(self.port.stopListening)

    def connect(self) -> Deferred[Collector]:
        """Connect to it."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        connected: Deferred[Any] = endpoint.connect(Factory.forProtocol(Collector))
        return connected

    async def ask(self, data: bytes) -> list[Answer]:
        """Send these bytes, the last of which asks to close; take all answers."""
        client = await self.connect()
        assert client.transport is not None
        client.transport.write(data)
        await client.lost
        return answers(client.data)

    async def test_ten_megabytes(self) -> None:
        """Read to the end without being kept, answered, and the connection goes on."""
        body = b"dial_first=100&dial_second=200&x=" + b"x" * 10 * 1024 * 1024
        too_long, health = await self.ask(
            request("/c2c/v2", AUTHORIZED, FORM, method="POST", body=body)
            + request("/healthz", "Connection: close")
        )
        assert too_long.code == 200
        assert "invalid_parameter" in too_long.faults
        assert health.json == {"status": "ok"}
        assert self.desk.driver.prepared == []

    async def test_many_at_once(self) -> None:
        """A hundred clients with the same request: one call."""
        clients = [await self.connect() for _ in range(100)]
        self.desk.store.hold_reads()
        for client in clients:
            assert client.transport is not None
            client.transport.write(request(PLACE, "Connection: close"))
        while len(self.desk.store.reads) == 0:
            await self.turn()
        self.desk.store.release()
        self.desk.driver.tells(ONE, OriginateAccepted())
        for client in clients:
            await client.lost
        told = [answer for client in clients for answer in answers(client.data)]
        assert len(told) == len(clients)
        assert [answer.json["response"].get("replayed") for answer in told].count(None) == 1
        assert self.desk.driver.originated == [ONE]
        self.desk.end_all()

    def turn(self) -> Deferred[None]:
        """Let the reactor go on once."""
        turned = Deferred[None]()
        reactor.callLater(0, turned.callback, None)
        return turned
