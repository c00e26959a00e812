"""One attempt after another to tell a receiver, in the time of the tests.

The receiver is a resource of twisted.web in the same process (treq's own test double), so what is
sent goes through a whole HTTP client and server; its answers are the test's.
"""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import gzip
import json
from email.utils import formatdate
from io import BytesIO
from typing import Any
from unittest import mock

from attrs import evolve
from standardwebhooks import Webhook as Verifier
from treq.client import HTTPClient
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as NoListener
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from c2c_agent.call.call import Entry
from c2c_agent.config.sections import WebhookConfig
from c2c_agent.net.signature import parse_secrets
from c2c_agent.report.delivery import Delivered, Delivery, Later, Refused, Report, Target, Waiting
from c2c_agent.report.event import EventType, event_json
from c2c_agent.report.webhook import JITTER, SCHEDULE, Webhook, retry_after
from tests.playbook import REQUEST_ID, a_call

NOW = 1_435_628_937.75
SECRET = "whsec_" + "QUJD" * 10

#: The pauses that the specification names, from one attempt to the next.
HOUR = 3600
PAUSES = [5, 5 * 60, 30 * 60, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]

REPORT = Report("crm", "evt-1", "call.ended", REQUEST_ID, 1.0, '{"type":"call.ended","é":1}')
FIRST = Waiting(REPORT)


class Receiver(Resource):
    """Answers as it is told to, and keeps what it got."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self) -> None:
        super().__init__()
        self.code: int | None = 204  # None: never
        self.headers: dict[str, str | bytes] = {}
        self.body = b""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[bytes] = []

    def render_POST(self, request: Any) -> Any:
        headers = {
            name.decode().lower(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.got.append((headers, request.content.read()))
        self.paths.append(request.path)
        if self.code is None:
            return NOT_DONE_YET
        request.setResponseCode(self.code)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return self.body


class Endless:
    """An answer over TLS that never ends, of a server that agrees to no end of TLS either."""

    code = 200

    def __init__(self) -> None:
        self.headers = Headers()
        self.open = True
        self.body: Any = None

    def deliverBody(self, body: Any) -> None:
        """Begin; it is the transport, too."""
        self.body = body
        body.makeConnection(self)

    def loseConnection(self) -> None:
        """Say that it is to end, and wait for ever for the other side to say so, too."""

    def stopProducing(self) -> None:
        """Close the connection."""
        self.open = False
        self.body.connectionLost()


class WebhookTests(SynchronousTestCase):
    """A webhook, and its receiver."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        self.client: Any = StubTreq(self.receiver)
        self.random = 0.0
        self.webhook = self.a_webhook()

    def a_webhook(self, **changes: Any) -> Webhook:
        """A webhook to the receiver."""
        config = WebhookConfig("crm", "http://crm.example.com/calls", "crm.whsec", **changes)
        return Webhook(
            config,
            parse_secrets(SECRET, "crm.whsec"),
            client=self.client,
            fresh=self.client,
            clock=self.clock,
            now=lambda: NOW + self.clock.seconds(),
            random=lambda: self.random,
        )

    def begin(self, waiting: Waiting = FIRST) -> Deferred[Delivery]:
        """Try once."""
        delivery = Deferred.fromCoroutine(self.webhook.deliver(waiting))
        self.client.flush()
        return delivery

    def tries(self, waiting: Waiting = FIRST) -> Delivery:
        """Try once; what became of it."""
        result: Delivery = self.successResultOf(self.begin(waiting))
        self.client.flush()
        return result

    def reasons(self, delivery: Delivery) -> str:
        """Why it did not work."""
        assert isinstance(delivery, (Later, Refused))
        return delivery.reason

    def test_delivered(self) -> None:
        """The body as it stands in the store, under headers that a foreign verifier takes."""
        assert self.tries() == Delivered()
        [(headers, body)] = self.receiver.got
        assert body == REPORT.body.encode()
        assert headers["content-type"] == "application/json"
        assert headers["webhook-id"] == "evt-1"
        assert headers["webhook-timestamp"] == "1435628937"
        expected = Verifier(SECRET).sign("evt-1", _moment(1_435_628_937), REPORT.body)
        assert headers["webhook-signature"] == expected

    def test_another_format(self) -> None:
        """In the receiver's words, to the URL with its token, unsigned; or not at all."""
        config = WebhookConfig("desk", "http://desk.example.com/cti/", "x", format="zammad")
        self.webhook = Webhook(
            config,
            (),
            client=self.client,
            fresh=self.client,
            clock=self.clock,
            now=lambda: NOW,
            random=lambda: 0.0,
            token="a/token",
        )
        told = event_json(a_call(), EventType.FIRST_RINGING, server_id="pbx1", at=1.0)
        assert self.tries(Waiting(evolve(REPORT, body=json.dumps(told)))) == Delivered()
        assert self.receiver.got == []
        began = a_call(timeline=(Entry(1.0, "dialing_first"),))
        told = event_json(began, EventType.ACCEPTED, server_id="pbx1", at=1.0)
        assert self.tries(Waiting(evolve(REPORT, body=json.dumps(told)))) == Delivered()
        [(headers, body)] = self.receiver.got
        assert json.loads(body)["event"] == "newCall"
        assert not [name for name in headers if name.startswith("webhook-")]
        assert self.receiver.paths == [b"/cti/a%2Ftoken"]

    def test_every_attempt_is_signed_anew(self) -> None:
        """The same event under the same id, at a new time."""
        self.tries()
        self.clock.advance(300)
        self.tries(evolve(FIRST, attempts=1))
        first, second = (headers for headers, _ in self.receiver.got)
        assert first["webhook-id"] == second["webhook-id"]
        assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 300
        assert first["webhook-signature"] != second["webhook-signature"]

    def test_only_2xx_is_success(self) -> None:
        """Not a redirect, which is not followed, and no error."""
        for code in (200, 201, 202, 204, 299):
            self.receiver.code = code
            assert self.tries() == Delivered()
        self.receiver.headers = {"Location": "http://elsewhere.example.com/"}
        for code in (300, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503):
            self.receiver.code = code
            assert self.tries() == Later(f"HTTP {code}", 5)
        assert len(self.receiver.got) == 5 + 11

    def test_the_schedule(self) -> None:
        """After each attempt the specification's pause; after the tenth a dead letter."""
        self.receiver.code = 500
        pauses = []
        waiting = FIRST
        while isinstance(delivery := self.tries(waiting), Later):
            pauses.append(delivery.seconds)
            waiting = evolve(waiting, attempts=waiting.attempts + 1)
        assert pauses == PAUSES == list(SCHEDULE)
        assert delivery == Refused("10 attempts failed: HTTP 500")
        assert len(self.receiver.got) == 10

    def test_jitter(self) -> None:
        """Pauses are longer by up to a tenth, each its own."""
        self.receiver.code = 500
        for number, self.random in ((0, 0.5), (8, 1.0)):
            delivery = self.tries(evolve(FIRST, attempts=number))
            assert isinstance(delivery, Later)
            assert delivery.seconds == PAUSES[number] * (1 + JITTER * self.random)

    def test_retry_after(self) -> None:
        """A receiver that names a time is left alone until then, but never asked earlier."""
        self.receiver.code = 503
        for value, seconds in (
            ("120", 120),
            ("3", 5),
            ("100000000", 86400),
            (formatdate(NOW + 1000, usegmt=True), 999.25),
            (formatdate(NOW - 1000, usegmt=True), 5),
            ("soon", 5),
        ):
            self.receiver.headers = {"Retry-After": value}
            assert self.tries() == Later("HTTP 503", seconds), value

    def test_retry_after_that_is_no_text(self) -> None:
        """It asks for nothing, and the receiver is given up like any other."""
        self.receiver.code = 503
        self.receiver.headers = {"Retry-After": b"\xff"}
        assert self.tries() == Later("HTTP 503", 5)
        refused = Refused("10 attempts failed: HTTP 503")
        assert self.tries(evolve(FIRST, attempts=9)) == refused

    def test_gone(self) -> None:
        """After a 410 nothing is sent any more, until somebody revives it."""
        self.receiver.code = 410
        refused = Refused("the receiver said 410 Gone; replay sends it again")
        assert self.tries() == refused
        self.receiver.code = 200
        assert self.tries() == refused
        assert len(self.receiver.got) == 1
        self.webhook.revive()
        assert self.tries() == Delivered()

    def test_no_answer(self) -> None:
        """A receiver that says nothing is not waited for longer than its time."""
        self.receiver.code = None
        self.webhook = self.a_webhook(timeout=3)
        delivery = self.begin()
        self.clock.advance(2.9)
        self.assertNoResult(delivery)
        self.clock.advance(0.2)
        result = self.successResultOf(delivery)
        assert self.reasons(result) == "TimeoutError: no answer within 3 s"
        assert self.clock.getDelayedCalls() == []

    def test_no_connection(self) -> None:
        """Nobody listens there: it is tried again."""

        class Nobody:
            def request(self, *_arguments: object, **_keywords: object) -> Deferred[object]:
                return fail(NoListener())

        nobody: Any = Nobody()
        self.client = HTTPClient(nobody)
        self.webhook = self.a_webhook()
        delivery = self.successResultOf(Deferred.fromCoroutine(self.webhook.deliver(FIRST)))
        assert self.reasons(delivery).startswith("ConnectionRefusedError")
        assert isinstance(delivery, Later)
        assert delivery.counted

    def test_a_long_answer(self) -> None:
        """What a receiver says beyond its code is not kept, however long it is."""
        self.receiver.code = 200
        self.receiver.body = b"x" * 1_000_000
        assert self.tries() == Delivered()
        self.clock.advance(20)
        assert self.clock.getDelayedCalls() == []

    def test_a_packed_answer(self) -> None:
        """It stays packed: to unpack what is not read would cost memory and time."""
        self.receiver.code = 200
        self.receiver.headers = {"content-encoding": "gzip"}
        self.receiver.body = gzip.compress(bytes(10_000_000))
        with mock.patch("c2c_agent.net.http_client.IgnoredBody.dataReceived") as received:
            assert self.tries() == Delivered()
        data = b"".join(call.args[0] for call in received.call_args_list)
        assert data == self.receiver.body

    def test_an_answer_without_end(self) -> None:
        """It is cut, be it long or late: not one connection stays open for each report."""
        for length, seconds in ((70_000, 0), (10, 16)):
            answer = Endless()
            self.client = mock.Mock(post=mock.Mock(return_value=succeed(answer)))
            self.webhook = self.a_webhook()
            delivery = Deferred.fromCoroutine(self.webhook.deliver(FIRST))
            assert self.successResultOf(delivery) == Delivered()
            answer.body.dataReceived(b"x" * length)
            self.clock.advance(seconds)
            assert not answer.open
            assert self.clock.getDelayedCalls() == []

    def test_what_it_wants(self) -> None:
        """All events of all keys, or those of its configuration."""
        assert self.webhook.target == Target("crm")
        webhook = self.a_webhook(types=("call.ended",), keys=("crm",))
        assert webhook.target.wants(webhook.target.types[0], "crm")  # type: ignore[index]
        assert not webhook.target.wants(webhook.target.types[0], "shop")  # type: ignore[index]
        assert webhook.ready()

    def test_retry_after_of_nonsense(self) -> None:
        """What is no time asks for nothing."""
        for value in ("", "-5", "1.5", "Wed, 99 Foo 2026", "9" * 50, json.dumps({})):
            assert retry_after(value, NOW) == 0.0


class AfterAClose(SynchronousTestCase):
    """A receiver that closed the connection that it is told on, so that nobody can know."""

    ANSWER = b"HTTP/1.0 204 No Content\r\n\r\n"

    def setUp(self) -> None:
        self.network = MemoryReactorClock()
        pool = HTTPConnectionPool(self.network)
        self.webhook = Webhook(
            WebhookConfig("crm", "http://127.0.0.1/calls", "crm.whsec", timeout=10),
            parse_secrets(SECRET, "crm.whsec"),
            client=self.a_client(pool),
            fresh=self.a_client(HTTPConnectionPool(self.network, persistent=False)),
            clock=self.network,
            now=lambda: NOW,
            random=lambda: 0.0,
        )
        self.connections: list[Any] = []

    def a_client(self, pool: HTTPConnectionPool) -> HTTPClient:
        """A client whose connections are the test's."""

        def endpoint(uri: Any) -> TCP4ClientEndpoint:
            return TCP4ClientEndpoint(self.network, uri.host.decode(), uri.port)

        agent = Agent.usingEndpointFactory(
            self.network, mock.Mock(endpointForURI=endpoint), pool=pool
        )
        return HTTPClient(agent, data_to_body_producer=self.a_body)

    def a_body(self, data: bytes) -> FileBodyProducer:
        """What is to be sent, written in the time of the test."""
        cooperator = Cooperator(scheduler=lambda write: self.network.callLater(0, write))
        return FileBodyProducer(BytesIO(data), cooperator)

    def begin(self) -> Deferred[Delivery]:
        """Try once; a connection that it wants is made."""
        delivery = Deferred.fromCoroutine(self.webhook.deliver(FIRST))
        self.connect()
        return delivery

    def connect(self) -> None:
        """Make the connections that are wanted, and let what is to be written be written."""
        for _host, _port, factory, *_ in self.network.tcpClients[len(self.connections) :]:
            connection: Any = factory.buildProtocol(None)
            connection.makeConnection(StringTransport())
            self.connections.append(connection)
        while any(call.getTime() <= self.network.seconds() for call in self.network.calls):
            self.network.advance(0)

    def close(self, connection: Any, error: Exception | None = None) -> None:
        """The receiver has closed it."""
        connection.connectionLost(Failure(error or ConnectionDone()))
        self.connect()

    def delivered(self) -> None:
        """An event on the first connection, which is kept."""
        delivery = self.begin()
        self.connections[0].dataReceived(self.ANSWER)
        assert self.successResultOf(delivery) == Delivered()
        self.connections[0].transport.clear()

    def test_it_is_told_at_once(self) -> None:
        """On a new connection, and not as late as after a failed attempt."""
        for error in (ConnectionDone(), ConnectionLost()):
            self.setUp()
            self.delivered()
            delivery = self.begin()
            first = self.connections[0].transport.value()
            assert b"webhook-id: evt-1" in first.lower()
            self.close(self.connections[0], error)
            self.assertNoResult(delivery)
            assert b"webhook-id: evt-1" in self.connections[1].transport.value().lower()
            self.connections[1].dataReceived(self.ANSWER)
            assert self.successResultOf(delivery) == Delivered()

    def test_while_it_is_written(self) -> None:
        """What has not left whole is told at once, too."""
        self.delivered()
        delivery = Deferred.fromCoroutine(self.webhook.deliver(FIRST))
        assert not self.connections[0].transport.value().endswith(REPORT.body.encode())
        self.close(self.connections[0])
        self.connections[1].dataReceived(self.ANSWER)
        assert self.successResultOf(delivery) == Delivered()

    def test_only_once(self) -> None:
        """Where the new one is closed, too, the attempt has failed."""
        delivery = self.begin()
        self.close(self.connections[0])
        self.close(self.connections[1])
        result = self.successResultOf(delivery)
        assert isinstance(result, Later)
        assert result.reason.startswith("ConnectionDone")
        assert len(self.connections) == 2

    def test_not_after_something_else(self) -> None:
        """An answer that makes no sense is one."""
        delivery = self.begin()
        self.connections[0].dataReceived(b"220 mail.example.com ESMTP\r\n")
        assert isinstance(self.successResultOf(delivery), Later)
        self.connect()
        assert len(self.connections) == 1

    def test_not_after_a_part_of_an_answer(self) -> None:
        """The receiver has it, and fell over it maybe."""
        delivery = self.begin()
        self.connections[0].dataReceived(b"HTTP/1.1 500 Inter")
        self.close(self.connections[0])
        assert isinstance(self.successResultOf(delivery), Later)
        assert len(self.connections) == 1

    def test_not_for_longer(self) -> None:
        """Both together have the time of one attempt, and what is too late is over."""
        self.delivered()
        delivery = self.begin()
        self.network.advance(7)
        self.close(self.connections[0])
        self.network.advance(2.9)
        self.assertNoResult(delivery)
        self.network.advance(0.2)
        result = self.successResultOf(delivery)
        assert isinstance(result, Later)
        assert result.reason == "TimeoutError: no answer within 10 s"
        self.connect()
        assert len(self.connections) == 2


def _moment(seconds: int) -> Any:
    """Epoch seconds as the verifier wants them."""
    from datetime import UTC, datetime  # noqa: PLC0415 - nothing else here needs a calendar

    return datetime.fromtimestamp(seconds, UTC)
