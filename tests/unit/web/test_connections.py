"""How many HTTP connections there may be, and for how long one may take."""

# Twisted's test doubles and test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from socket import socketpair
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from c2c_agent.call.events import OriginateAccepted
from c2c_agent.web import connections as http_connections
from c2c_agent.web.connections import RETRY_AFTER, SPARE, BoundedRequest, Refused
from c2c_agent.web.request import BODY_LIMIT
from c2c_agent.web.server import ApiSite
from tests.fakes import CRM_SECRET, DeskTest, uuid
from tests.memory_host import Connection, request
from tests.unit.web.test_server import AUTHORIZED, api_of

MOST = 3


class ConnectionsTest(DeskTest):
    """A listener that serves three clients at once."""

    def setUp(self) -> None:
        """Put the listener there, and listen to the log."""
        super().setUp()
        self.site_clock = Clock()
        api = api_of(self.desk)
        self.site = ApiSite(api, None, self.site_clock, max_connections=MOST)
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def connect(self, count: int = 1) -> list[Connection]:
        """So many clients, one after the other."""
        return [Connection(self.site) for _ in range(count)]

    def busy(self, number: int) -> Connection:
        """A client that waits for the answer to a call."""
        (client,) = self.connect()
        target = f"/c2c/v2?dial_first=100&dial_second=200&request_id={uuid(number)}"
        client.sends(request(f"{target}&api_key={CRM_SECRET}"))
        return client

    def log_lines(self) -> list[str]:
        """What was logged of refusals."""
        lines = [formatEvent(event) or "" for event in self.logged]
        return [line for line in lines if "turned away" in line]


class Limit(ConnectionsTest):
    """One too many."""

    def test_the_idle_make_room(self) -> None:
        """The one that was silent for longest, with the reason; the newcomer is served."""
        idle = self.connect(MOST)
        (newcomer,) = self.connect()
        (told,) = idle[0].answers()
        assert (told.code, told.headers["retry-after"]) == (503, str(RETRY_AFTER))
        assert told.headers["content-type"] == "application/json"
        assert (told.faults, told.json["response"]["request_id"]) == (["rate_limited"], None)
        assert idle[0].transport.disconnecting
        assert not idle[1].transport.disconnecting
        assert newcomer.asks("/healthz").code == 200
        assert (self.site.connections.open, self.site.connections.refused) == (MOST, 1)

    def test_who_has_asked_something_is_closed_later_and_in_silence(self) -> None:
        """It knows how to come back, and would take a word for an answer."""
        first, second, third = self.connect(MOST)
        assert first.asks("/healthz").code == 200
        self.connect()
        assert second.transport.disconnecting
        assert not first.transport.disconnecting
        assert third.asks("/healthz").code == 200
        self.connect()
        assert first.transport.disconnecting
        assert first.answers() == []

    def test_a_crowd_at_once(self) -> None:
        """Nobody is turned away whose request has come, but was not read yet."""
        self.patch(http_connections, "SPARE", 0)
        first = self.connect(MOST)
        for client in first:
            ready, sender = socketpair()
            self.addCleanup(ready.close)
            sender.sendall(b"GET")
            sender.close()
            client.transport.fileno = ready.fileno
        self.connect(2)
        assert [client.asks("/healthz").code for client in first] == [200] * MOST

    def test_who_waits_for_an_answer_is_left_alone(self) -> None:
        """Whatever comes; and gets its answer."""
        waiting = [self.busy(number) for number in range(1, MOST + 1)]
        self.connect(2 * SPARE)
        self.desk.driver.tells(uuid(1), OriginateAccepted())
        (told,) = waiting[0].answers()
        assert told.json["response"]["status"] == "success"
        assert not any(client.transport.disconnecting for client in waiting[1:])

    def test_nobody_is_idle(self) -> None:
        """The newcomer is told at once, and closed when it had time to read it."""
        self.patch(http_connections, "SPARE", 0)
        for number in range(1, MOST + 1):
            self.busy(number)
        (late,) = self.connect()
        assert isinstance(late.protocol, Refused)
        (told,) = late.answers()
        assert (told.code, told.headers["retry-after"]) == (503, str(RETRY_AFTER))
        assert told.headers["content-type"] == "application/json"
        assert told.json["response"]["status"] == "fail"
        assert told.json["response"]["request_id"] is None
        [entry] = told.json["response"]["errors"]
        assert entry["error"] == {
            "code": "rate_limited",
            "message": "There are more connections than this agent serves.",
        }
        late.sends(request("/healthz"))
        assert late.answers() == []
        self.site_clock.advance(1)
        assert late.transport.disconnected
        late.leaves()

    def test_no_more_goodbyes_than_are_bounded(self) -> None:
        """Then the connection is closed without a word."""
        self.patch(http_connections, "SPARE", 0)
        for number in range(1, MOST + 1):
            self.busy(number)
        self.patch(http_connections, "_GOODBYES", 100)
        told = self.connect(100)
        assert self.site.buildProtocol(None) is None
        told[0].leaves()
        self.connect()

    def test_a_client_leaves(self) -> None:
        """Its place is free."""
        first, *_ = self.connect(MOST)
        first.leaves()
        assert self.site.connections.open == MOST - 1
        self.connect()
        assert self.site.connections.refused == 0

    def test_it_is_logged_once_in_a_while(self) -> None:
        """A flood of clients is none of lines."""
        self.patch(http_connections, "_QUIET", 30.0)
        self.connect(MOST + 5)
        assert len(self.log_lines()) == 1
        self.site_clock.advance(30)
        self.connect(1)
        assert len(self.log_lines()) == 2


class Spare(ConnectionsTest):
    """The few beyond the limit, for those who look after the agent."""

    def setUp(self) -> None:
        """Every place is taken by somebody who waits."""
        super().setUp()
        self.waiting = [self.busy(number) for number in range(1, MOST + 1)]
        (self.client,) = self.connect()

    def test_health_and_metrics(self) -> None:
        """They are told as ever."""
        assert self.client.asks("/healthz").code == 200
        assert self.client.asks("/metrics").code == 200

    def test_everybody_else(self) -> None:
        """Refused with a code, and with the time after which it is worth another try."""
        told = self.client.asks("/c2c/v2/calls", AUTHORIZED)
        assert (told.code, told.faults) == (200, ["rate_limited"])
        assert told.headers["retry-after"] == str(RETRY_AFTER)

    def test_a_status(self) -> None:
        """In the shape of a status."""
        told = self.client.asks(f"/c2c/v2/status/{uuid(1)}")
        assert (told.json["c2c_status"], told.faults) == (None, ["rate_limited"])

    def test_the_shape_of_a_path(self) -> None:
        """What is asked for is named as in any other answer to it."""
        for path, method in (
            ("/c2c/v2", "asterisk.call"),
            ("/c2c/v2/calls", "asterisk.calls"),
            ("/c2c/v2/events", "asterisk.events"),
            ("/c2c/v2/replay", "asterisk.replay"),
            ("/c2c/v2/stop-calls", "asterisk.stop-calls"),
            (f"/c2c/v2/cancel/{uuid(1)}", "asterisk.cancel"),
        ):
            told = self.client.asks(path, AUTHORIZED).json
            assert (told["method"], told["response"]["request_id"]) == (method, None)
        for path in (f"/c2c/v2/status/{uuid(1)}", f"/c2c/v2/events/{uuid(1)}"):
            assert self.client.asks(path).json["c2c_status"] is None

    def test_the_next_request_after_the_crowd(self) -> None:
        """Who came when it was full is as welcome as the others when it is not any more."""
        self.waiting[0].leaves()
        assert len(self.client.asks("/c2c/v2/calls", AUTHORIZED).json["calls"]) == MOST


class Time(ConnectionsTest):
    """How long a request may take to come."""

    def test_a_slow_sender(self) -> None:
        """A byte now and then gives it no more time."""
        (slow,) = self.connect()
        for byte in request("/healthz")[:16]:
            slow.sends(bytes([byte]))
            self.site_clock.advance(1)
        assert slow.transport.disconnecting

    def test_a_slow_body(self) -> None:
        """The same for the rest of a request."""
        (slow,) = self.connect()
        slow.sends(request("/c2c/v2", method="POST", body=b"x" * 100)[:-90])
        for _ in range(16):
            slow.sends(b"x")
            self.site_clock.advance(1)
        assert slow.transport.disconnecting

    def test_a_silent_client(self) -> None:
        """Before its first byte, and between two requests, it has more time, but not for ever."""
        (silent,) = self.connect()
        self.site_clock.advance(59)
        assert silent.asks("/healthz").code == 200
        self.site_clock.advance(59)
        assert silent.asks("/healthz").code == 200
        assert not silent.transport.disconnecting
        self.site_clock.advance(60)
        assert silent.transport.disconnecting

    def test_an_answer_may_take_its_time(self) -> None:
        """Only what the client has to send is counted."""
        waiting = self.busy(1)
        self.site_clock.advance(300)
        waiting.sends(b"GET /healthz")  # ahead of its time
        self.site_clock.advance(300)
        assert not waiting.transport.disconnecting


# The request

# These have no types of their own.
transport_for_tests: Callable[[], Any] = StringTransport
site_for_tests: Callable[..., Any] = Site


class Received(Resource):
    """Keeps the requests that arrived."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, requests: list[Any]) -> None:
        initialize: Callable[[Resource], None] = Resource.__init__
        initialize(self)
        self._requests = requests

    def render(self, request: BoundedRequest) -> int:
        """Take one."""
        self._requests.append(request)
        return NOT_DONE_YET


class Client:
    """Sends bytes to a site of BoundedRequests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []  # BoundedRequests, whose methods have no types
        site = site_for_tests(
            Received(self.requests), requestFactory=BoundedRequest, reactor=Clock()
        )
        self._protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        self.transport = transport_for_tests()
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Let bytes arrive."""
        self._protocol.dataReceived(data)

    def post(self, length: int) -> None:
        """Begin a request with a body of this length."""
        self.send(b"POST /c2c/v2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)

    def post_chunked(self) -> None:
        """Begin a request with a body of unknown length."""
        self.send(b"POST /c2c/v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")


def content(request: BoundedRequest) -> bytes:
    """The part of a request's body that was kept."""
    assert request.content is not None
    kept: bytes = request.content.read()
    return kept


class TestBoundedRequest:
    """How much of a body is kept."""

    @pytest.mark.parametrize("pieces", [1, 2, 7])
    @pytest.mark.parametrize("length", [0, 1, BODY_LIMIT - 1, BODY_LIMIT])
    def test_within_the_limit(self, length: int, pieces: int) -> None:
        """All of it, however it arrives."""
        client = Client()
        client.post(length)
        body = bytes(number % 251 for number in range(length))
        size = -(-length // pieces) or 1
        for begin in range(0, length, size):
            client.send(body[begin : begin + size])
        (request,) = client.requests
        assert content(request) == body
        assert not request.oversized

    @pytest.mark.parametrize("pieces", [1, 3])
    @pytest.mark.parametrize("length", [BODY_LIMIT + 1, 5 * BODY_LIMIT])
    def test_beyond_the_limit(self, length: int, pieces: int) -> None:
        """The request is told to be oversized, and answered; no more than the limit is kept."""
        client = Client()
        client.post(length)
        size = -(-length // pieces)
        for begin in range(0, length, size):
            client.send(b"x" * (min(begin + size, length) - begin))
        (request,) = client.requests
        assert len(content(request)) == BODY_LIMIT
        assert request.oversized
        assert client.transport.connected

    def test_chunked(self) -> None:
        """A body that does not tell its length is bounded likewise."""
        client = Client()
        client.post_chunked()
        client.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        client.post_chunked()
        for _ in range(3):
            client.send(b"%x\r\n%s\r\n" % (BODY_LIMIT, b"y" * BODY_LIMIT))
        client.send(b"0\r\n\r\n")
        first = client.requests[0]
        assert (content(first), first.oversized) == (b"abcde", False)
        first.finish()
        second = client.requests[1]
        assert (content(second), second.oversized) == (b"y" * BODY_LIMIT, True)

    @pytest.mark.parametrize("chunked", [False, True])
    def test_nothing_goes_to_the_disk(self, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Twisted would make a temporary file of a large body; strangers do not write here."""

        def made(*_: object, **__: object) -> None:
            raise AssertionError("a temporary file was made")

        monkeypatch.setattr("tempfile.TemporaryFile", made)
        client = Client()
        if chunked:
            client.post_chunked()
            client.send(b"1\r\nx\r\n0\r\n\r\n")
        else:
            client.post(200_000)
            client.send(b"x" * 200_000)
        assert len(client.requests) == 1

    def test_who_goes_on_sending(self) -> None:
        """Beyond all patience the connection is cut, without an answer."""
        client = Client()
        client.post(100 * 1024 * 1024)
        piece = b"z" * (1024 * 1024)
        for _ in range(32):
            client.send(piece)
        assert not client.transport.disconnected
        client.send(b"z")
        assert client.transport.disconnected
        assert client.transport.value() == b""
        assert client.requests == []
