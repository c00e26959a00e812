"""Streams of events over HTTP: what is written, and that nobody waits for who does not read."""

# Twisted's test doubles and test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import formatEvent
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import TestCase

from c2c_agent.call.events import FirstRinging, Gone, OriginateAccepted
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.web.server import ApiSite
from tests.fakes import CRM_SECRET, Desk, uuid
from tests.memory_host import Connection, request
from tests.unit.web.test_server import AUTHORIZED, ONE, PLACE, SiteTest, api_of

reactor: Any = global_reactor

BUSY = Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17)))
ALL = "/c2c/v2/events"
OF_ONE = f"{ALL}/{ONE}"


def unchunked(body: bytes) -> tuple[bytes, bool]:
    """What came in chunks (RFC 9112, section 7.1), and whether that was all."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return content, True
        content += body[:length]
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]
    return content, False


class Stream:
    """A client that follows; what its transport was given it has read, unless it is told not to."""

    def __init__(self, site: Any, target: str, *headers: str) -> None:
        self.connection = Connection(site)
        self.transport = self.connection.transport
        self.aborted = False
        self.transport.abortConnection = self._abort
        self.connection.sends(request(target, *headers))

    def _abort(self) -> None:
        self.aborted = True
        self.connection.leaves()

    @property
    def head(self) -> dict[str, str]:
        """The headers."""
        top, _, _ = self.transport.value().partition(b"\r\n\r\n")
        status, *lines = top.decode().lower().split("\r\n")
        assert status == "http/1.1 200 ok"
        return dict(line.split(": ", 1) for line in lines)

    @property
    def text(self) -> str:
        """What has come."""
        return unchunked(self.transport.value().partition(b"\r\n\r\n")[2])[0].decode()

    @property
    def ended(self) -> bool:
        """Whether it has come to its end in order."""
        return unchunked(self.transport.value().partition(b"\r\n\r\n")[2])[1]

    @property
    def events(self) -> list[str]:
        """The types of the events that have come."""
        lines = self.text.splitlines()
        return [line.removeprefix("event: call.") for line in lines if line.startswith("event: ")]


class StreamTest(SiteTest):
    """Clients that follow, in memory."""

    def tearDown(self) -> None:
        """Nothing is left of any stream."""
        self.desk.live.close()
        assert self.desk.live.open == 0
        for connection in self.site_clock.getDelayedCalls():
            assert "_tick" not in repr(connection)
        super().tearDown()

    def follow(self, target: str = OF_ONE, *headers: str) -> Stream:
        """Follow a request, or what else is asked for."""
        return Stream(self.site, target, *headers)


class WhatIsWritten(StreamTest):
    """Headers, events, comments."""

    def test_headers(self) -> None:
        """An event stream, which nobody keeps or collects."""
        self.placed()
        head = self.follow().head
        assert head["content-type"] == "text/event-stream"
        assert head["cache-control"] == "no-store"
        assert head["x-accel-buffering"] == "no"

    def test_a_call(self) -> None:
        """When to come again, each event as it happens, and the end; then the next request."""
        self.placed()
        stream = self.follow()
        assert stream.text.startswith("retry: 3000\n\nid: ")
        assert stream.events == ["accepted"]
        self.driver.tells(ONE, FirstRinging())
        assert (stream.events, stream.ended) == (["accepted", "first_ringing"], False)
        self.driver.tells(ONE, BUSY)
        assert stream.events == ["accepted", "first_ringing", "ended"]
        assert stream.ended
        stream.transport.clear()
        assert stream.connection.asks("/healthz").json == {"status": "ok"}

    def test_one_that_has_ended(self) -> None:
        """All of it at once."""
        self.placed()
        self.driver.tells(ONE, BUSY)
        stream = self.follow()
        assert (stream.events, stream.ended) == (["accepted", "ended"], True)

    def test_where_one_was(self) -> None:
        """`Last-Event-ID` leaves out what was seen."""
        self.placed()
        last = self.follow().text.split("id: ")[1].split("\n")[0]
        self.driver.tells(ONE, FirstRinging())
        assert self.follow(OF_ONE, f"Last-Event-ID: {last}").events == ["first_ringing"]

    def test_all_of_a_key(self) -> None:
        """Nothing at first, then what happens."""
        stream = self.follow(ALL, AUTHORIZED)
        assert stream.text == "retry: 3000\n\n"
        self.placed()
        assert stream.events == ["accepted"]
        assert CRM_SECRET not in stream.text

    def test_no_stream(self) -> None:
        """What is refused is JSON."""
        assert self.client.asks(OF_ONE).faults == ["not_found"]
        assert self.client.asks(ALL).faults == ["unauthorized"]
        for _ in range(4):
            self.follow(ALL, AUTHORIZED)
        answer = self.client.asks(ALL, AUTHORIZED)
        assert (answer.faults, answer.headers["retry-after"]) == (["too_many_streams"], "30")

    def test_the_store_cannot_be_read(self) -> None:
        """In the shape of a status, and nothing is left of it."""
        self.store.hold_reads()
        self.client.sends(request(OF_ONE))
        self.store.fail_reads()
        [answer] = self.client.answers()
        assert (answer.json["c2c_status"], answer.faults) == (None, ["internal_error"])
        self.flushLoggedErrors()

    def test_head(self) -> None:
        """The headers, at once, and no stream."""
        self.placed()
        for target, headers in ((OF_ONE, ()), (ALL, (AUTHORIZED,))):
            self.client.sends(request(target, *headers, method="HEAD"))
            top = self.client.transport.value()
            self.client.transport.clear()
            assert top.endswith(b"\r\n\r\n")
            assert b"text/event-stream" in top
            assert self.desk.live.open == 0
        assert self.client.asks("/healthz").json == {"status": "ok"}

    def test_http_1_0(self) -> None:
        """Without chunks, to the end of the connection."""
        self.placed()
        self.client.sends(request(OF_ONE, version="1.0"))
        self.driver.tells(ONE, BUSY)
        _, _, body = self.client.transport.value().partition(b"\r\n\r\n")
        assert body.startswith(b"retry: 3000\n\nid: ")
        assert self.client.transport.disconnecting

    def test_silence(self) -> None:
        """A comment every 15 seconds; the listener's patience does not end the stream."""
        stream = self.follow(ALL, AUTHORIZED)
        for _ in range(20):
            self.site_clock.advance(15)
        assert stream.text == "retry: 3000\n\n" + ":\n\n" * 20
        assert not stream.transport.disconnecting
        self.placed(Connection(self.site))
        assert stream.events == ["accepted"]


class WhoLeaves(StreamTest):
    """Clients that go, and an agent that does."""

    def test_a_client(self) -> None:
        """Nothing is written any more, and there is room again."""
        self.placed()
        stream = self.follow()
        stream.connection.leaves()
        stream.transport.clear()
        self.driver.tells(ONE, FirstRinging())
        self.site_clock.advance(15)
        assert (stream.transport.value(), self.desk.live.open) == (b"", 0)

    def test_before_it_began(self) -> None:
        """The same where it leaves while the store is asked."""
        self.placed()
        self.driver.tells(ONE, BUSY)
        self.store.hold_reads()
        stream = self.follow()
        stream.connection.leaves()
        self.store.release()
        assert (stream.transport.value(), self.desk.live.open) == (b"", 0)

    def test_the_agent(self) -> None:
        """All streams end in order, at once, and none begins."""
        streams = [self.follow(ALL, AUTHORIZED) for _ in range(2)]
        self.desk.live.close()
        assert all(stream.ended for stream in streams)
        assert self.client.asks(ALL, AUTHORIZED).faults == ["pbx_unavailable"]


class WhoDoesNotRead(StreamTest):
    """A client whose connection is full."""

    def calls(self, count: int, begin: int = 1) -> None:
        """So many calls, each with three events."""
        for number in range(begin, begin + count):
            self.client.sends(request(PLACE.replace(ONE, uuid(number))))
            self.driver.tells(uuid(number), OriginateAccepted(), FirstRinging(), BUSY)
            [answer] = self.client.answers()
            assert answer.json["response"]["status"] == "success"

    def assert_logged(self) -> None:
        """The admin reads who was cut, once; it is counted, too."""
        lines = [formatEvent(event) for event in self.logged]
        assert (
            lines.count(
                "the event stream of 192.0.2.7 was closed, because 192.0.2.7 does not read it"
            )
            == 1
        )
        assert self.desk.live.cut == 1

    def test_reads_again(self) -> None:
        """What waited comes, in order, when there is room."""
        stream = self.follow(ALL, AUTHORIZED)
        stream.transport.producer.pauseProducing()
        self.calls(3)
        assert stream.text == "retry: 3000\n\n"
        stream.transport.producer.resumeProducing()
        assert stream.events == ["accepted", "first_ringing", "ended"] * 3

    def test_too_far_behind(self) -> None:
        """It is cut, not told half of it; the others have heard everything."""
        slow, quick = self.follow(ALL, AUTHORIZED), self.follow(ALL, AUTHORIZED)
        slow.transport.producer.pauseProducing()
        self.calls(30)
        assert (slow.aborted, slow.events) == (True, [])
        assert (quick.aborted, quick.events) == (False, ["accepted", "first_ringing", "ended"] * 30)
        assert self.desk.live.open == 1
        self.assert_logged()

    def test_reads_nothing(self) -> None:
        """Where little happens, it is cut after a minute."""
        stream = self.follow(ALL, AUTHORIZED)
        stream.transport.producer.pauseProducing()
        self.site_clock.advance(15)
        stream.transport.producer.resumeProducing()
        stream.transport.producer.pauseProducing()
        for _ in range(3):
            self.site_clock.advance(15)
        assert (stream.aborted, self.desk.live.open) == (False, 1)
        self.site_clock.advance(15)
        assert (stream.aborted, self.desk.live.open) == (True, 0)
        self.assert_logged()

    def test_the_end_comes(self) -> None:
        """All that waits is given to the connection when there is no more to come."""
        self.placed()
        stream = self.follow()
        stream.transport.producer.pauseProducing()
        self.driver.tells(ONE, FirstRinging(), BUSY)
        assert (stream.events, stream.ended) == (["accepted", "first_ringing", "ended"], True)
        assert self.desk.live.open == 0

    def test_stopped(self) -> None:
        """A transport that stops its producer is heard, and has no more from it."""
        stream = self.follow(ALL, AUTHORIZED)
        producer = stream.transport.producer
        producer.stopProducing()
        producer.resumeProducing()
        self.site_clock.advance(15)
        assert (stream.text, self.desk.live.open) == ("retry: 3000\n\n", 0)


class Reads(Protocol):
    """A client on a socket."""

    def __init__(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class OnASocket(TestCase):
    """On the loopback interface, where a kernel is in between."""

    timeout = 60

    async def test_the_kernel_holds_little(self) -> None:
        """Its own buffers are bounded as well; also below a wrapper, as TLS is one."""
        desk = Desk()
        for wrapped in (False, True):
            taken: list[Any] = []
            site: Any = ApiSite(api_of(desk), None, reactor)
            if wrapped:
                site = WrappingFactory(site)
            site.buildProtocol = _noting(site.buildProtocol, taken)
            port = reactor.listenTCP(0, site, interface="127.0.0.1")
            client: Any = await TCP4ClientEndpoint(
                reactor, "127.0.0.1", port.getHost().port
            ).connect(Factory.forProtocol(Reads))
            client.transport.write(request(ALL, AUTHORIZED))
            while b"retry" not in client.data:
                await turn()
            built = taken[0]
            transport = built.transport
            held = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert held <= 128 * 1024
            client.transport.abortConnection()
            while desk.live.open:
                await turn()
            await port.stopListening()


def _noting(build: Any, taken: list[Any]) -> Any:
    """Build protocols, and note them."""

    def building(address: Any) -> Any:
        taken.append(build(address))
        return taken[-1]

    return building


def turn() -> Deferred[None]:
    """Let the reactor go on once."""
    turned = Deferred[None]()
    reactor.callLater(0, turned.callback, None)
    return turned
