"""A back end that answers late, never, half, too much or nonsense, over real connections.

Each order ends in one outcome, and came once, or never.
"""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from attrs import evolve
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.net.fresh_request import FreshRequests, NotConnectedError
from c2c_agent.pbx.other.connection import requests_of
from c2c_agent.pbx.other.program import Program, Timeouts
from tests.certificates import Authority
from tests.other.caller import Caller
from tests.other.test_examples import asynchronous
from tests.unit.pbx.other.back_end import program

reactor: Any = _reactor

#: What a back end does with a connection once a request has come.
Fault = Callable[[Any], None]

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
TAKEN: Final = b'{"ok": 1}'


def says(body: bytes, head: bytes = HEAD) -> Fault:
    """A whole answer."""

    def answer(transport: Any) -> None:
        transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    return answer


class _Server(Protocol):
    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        self.factory.connections += 1
        if self.factory.fault is None:
            self.transport.loseConnection()  # before anything was read

    def dataReceived(self, data: bytes) -> None:
        self.factory.received += data
        fault = self.factory.fault
        if fault is not None and data.endswith(b"}"):
            fault(self.transport)


class _Servers(Factory):
    protocol: Any = _Server
    noisy = False

    def __init__(self, fault: Fault | None) -> None:
        self.fault = fault
        self.received = b""
        self.connections = 0


class FaultTest(TestCase):
    """One order at a back end with a fault."""

    timeout = 30

    async def order(self, fault: Fault | None) -> Call:
        """What becomes of it; the order has come once at the most."""
        self.servers = _Servers(fault)
        listening = reactor.listenTCP(0, self.servers, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        made: Program = program(
            base_url=f"http://127.0.0.1:{listening.getHost().port}",
            place={"success": {"status": 200, "/ok": [1]}, "refused": [{"status": "400-499"}]},
        )
        caller = Caller(evolve(made, timeouts=Timeouts(1.0, 1.0)), {})
        self.addCleanup(caller.driver.stop)
        await caller.up()
        call = await caller.ended(await caller.place())
        await caller.sleep(0.1)
        assert self.servers.received.count(b"POST /call ") <= 1
        assert self.servers.connections <= 1
        return call

    async def nobody_knows(self, fault: Fault | None, words: str) -> None:
        """It may have been carried out."""
        call = await self.order(fault)
        assert (call.outcome, call.reason) == (Outcome.UNKNOWN, UnknownReason.LOST)
        assert call.answer is not None
        assert words in call.answer.faults[0].message, call.answer

    @asynchronous
    async def test_another_type(self) -> None:
        """JSON is JSON, whatever it is called; numbers may be strings."""
        for body in (TAKEN, b'{"ok": "1"}'):
            call = await self.order(says(body))
            assert call.reason is UnknownReason.NOT_TOLD

    @asynchronous
    async def test_html(self) -> None:
        """Says neither yes nor no."""
        await self.nobody_knows(says(b"<html>Bad gateway</html>"), "HTTP 200")

    @asynchronous
    async def test_a_redirect(self) -> None:
        """Is not followed."""
        head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
        await self.nobody_knows(says(b"", head), "HTTP 302")

    @asynchronous
    async def test_compressed(self) -> None:
        """Is not unpacked: a few bytes can hold megabytes."""
        head = HEAD + b"Content-Encoding: gzip\r\n"
        call = await self.order(says(TAKEN, head))
        assert call.reason is UnknownReason.NOT_TOLD  # it was read as it came

    @asynchronous
    async def test_never(self) -> None:
        """Given up after its time."""
        await self.nobody_knows(lambda _: None, "no whole answer within 1 s")

    @asynchronous
    async def test_half(self) -> None:
        """And then never the rest; or the connection is dropped in the middle."""

        def half(transport: Any) -> None:
            transport.write(HEAD + b'Content-Length: 9\r\n\r\n{"ok"')

        def dropped(transport: Any) -> None:
            half(transport)
            transport.loseConnection()

        await self.nobody_knows(half, "no whole answer within 1 s")
        await self.nobody_knows(dropped, "did not answer")

    @asynchronous
    async def test_a_byte_at_a_time(self) -> None:
        """The time is that of the whole answer."""
        writing: list[LoopingCall] = []

        def slowly(transport: Any) -> None:
            writing.append(LoopingCall(transport.write, b"H"))
            writing[-1].start(0.2)

        begin = time.monotonic()
        await self.nobody_knows(slowly, "no whole answer within 1 s")
        assert time.monotonic() - begin < 10
        writing[0].stop()

    @asynchronous
    async def test_ten_megabytes(self) -> None:
        """No more than 64 KiB are read."""
        await self.nobody_knows(says(b"x" * 10_000_000), "longer than 65536 bytes")

    @asynchronous
    async def test_dropped(self) -> None:
        """Before the request was read, or after: it had been written."""
        await self.nobody_knows(None, "did not answer")
        await self.nobody_knows(lambda transport: transport.abortConnection(), "did not answer")

    @asynchronous
    async def test_no_http(self) -> None:
        """Something else listens there."""
        await self.nobody_knows(lambda transport: transport.write(b"220 smtp\r\n"), "")

    @asynchronous
    async def test_nobody_listens(self) -> None:
        """Nothing has left."""
        listening = reactor.listenTCP(0, _Servers(None), interface="127.0.0.1")
        port = listening.getHost().port
        await listening.stopListening()
        caller = Caller(program(base_url=f"http://127.0.0.1:{port}"), {})
        await caller.up()
        call = await caller.ended(await caller.place())
        assert call.outcome is Outcome.REJECTED

    @asynchronous
    async def test_its_certificate_has_changed(self) -> None:
        """Since the agent saw it last: nothing is said to whoever shows another."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        authority = Authority(folder)
        servers = _Servers(says(TAKEN))

        def listen(authority: Authority, port: int = 0) -> Any:
            issued = authority.issue("pbx", "127.0.0.1")
            context = DefaultOpenSSLContextFactory(str(issued.key), str(issued.certificate))
            return reactor.listenSSL(port, servers, context, interface="127.0.0.1")

        listening = listen(authority)
        port = listening.getHost().port
        made = program(
            base_url=f"https://127.0.0.1:{port}",
            tls={"ca_file": str(authority.file)},
            place={"success": {"status": 200, "/ok": [1]}},
        )
        caller = Caller(made, {})
        self.addCleanup(caller.driver.stop)
        await caller.up()
        first = await caller.ended(await caller.place())
        assert first.reason is UnknownReason.NOT_TOLD
        assert servers.received.count(b"POST /call ") == 1
        await listening.stopListening()
        listening = listen(Authority(folder), port)  # another, of the same name
        self.addCleanup(listening.stopListening)
        second = await caller.ended(await caller.place())
        assert second.outcome is Outcome.REJECTED
        assert second.answer is not None
        assert "certificate" in second.answer.faults[0].message
        assert servers.received.count(b"POST /call ") == 1

    @asynchronous
    async def test_it_blocks_our_address(self) -> None:
        """It says so, or ends every connection at once: over TLS, nothing has left then."""
        call = await self.order(says(b'{"error": "blocked"}', HEAD.replace(b"200 OK", b"403 No")))
        assert call.outcome is Outcome.PBX_ERROR
        servers = _Servers(None)
        listening = reactor.listenTCP(0, servers, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        caller = Caller(program(base_url=f"https://127.0.0.1:{listening.getHost().port}"), {})
        self.addCleanup(caller.driver.stop)
        await caller.up()
        call = await caller.ended(await caller.place())
        assert call.outcome is Outcome.REJECTED
        assert b"POST" not in servers.received

    @asynchronous
    async def test_it_restarts_meanwhile(self) -> None:
        """It has forgotten the call then; the order is not given again, and nothing is claimed."""
        state = ["ringing"]

        def answer(transport: Any) -> None:
            says(b'{"ok": 1, "state": "%s"}' % state[0].encode())(transport)
            transport.loseConnection()

        servers = _Servers(answer)
        listening = reactor.listenTCP(0, servers, interface="127.0.0.1")
        port = listening.getHost().port
        rules = [
            {"when": {"/state": "ringing"}, "tell": "first_ringing"},
            {"when": {"/state": "none"}, "tell": "gone"},
        ]
        request = {"method": "POST", "path": "/state/{call_id}", "json": {}, "rules": rules}
        made = program(
            base_url=f"http://127.0.0.1:{port}",
            place={"success": {"status": 200, "/ok": [1]}},
            status={"every": 0.5, "requests": [request]},
        )
        caller = Caller(made, {})
        self.addCleanup(caller.driver.stop)
        await caller.up()
        request_id = await caller.place(ring=30)
        await caller.until(request_id, CallState.FIRST_RINGING)
        await listening.stopListening()
        await caller.sleep(1.2)
        state[0] = "none"
        listening = reactor.listenTCP(port, servers, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        call = await caller.ended(request_id)
        assert call.outcome is Outcome.UNKNOWN
        assert servers.received.count(b"POST /call ") == 1

    @asynchronous
    async def test_an_address_that_is_refused(self) -> None:
        """Whatever the name says, the address counts: nothing is sent there."""
        servers = _Servers(says(TAKEN))
        listening = reactor.listenTCP(0, servers, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        send = FreshRequests(
            reactor,
            host="localhost",
            port=listening.getHost().port,
            trust=None,
            connect_seconds=2,
            why_not=lambda address: f"{address} is refused",
        )
        with self.assertRaisesRegex(NotConnectedError, r"127\.0\.0\.1 is refused"):
            await send("POST", "/call", {}, "{}", 2)
        await Caller.sleep(0.1)
        assert servers.received == b""
        # What the driver has is this, with its own rules.
        assert requests_of(program(), reactor)._why_not("169.254.1.1") is not None
