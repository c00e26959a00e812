"""What an answer may be: in time, of a bounded length, and without memory."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from email.message import Message
from typing import Any
from unittest import mock
from urllib.request import Request

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import HTTPConnectionPool, ResponseNeverReceived

from c2c_agent.net.http_client import http_client, pass_over_body, reason_of, within


class Answer:
    """An answer whose body comes as the test has it; it is the transport, too."""

    def __init__(self) -> None:
        self.open = True
        self.body: Any = None

    def deliverBody(self, body: Any) -> None:
        """Begin."""
        self.body = body
        body.makeConnection(self)

    def stopProducing(self) -> None:
        """Close the connection."""
        self.open = False
        self.body.connectionLost()


class Bodies(SynchronousTestCase):
    """A body that nobody reads."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.answer: Any = Answer()

    def begins(self, answer: Any = None) -> None:
        """Pass over it, for ten seconds at most."""
        pass_over_body(answer or self.answer, 10.0, self.clock)

    def test_a_short_one(self) -> None:
        """The connection stays, for the next request."""
        self.begins()
        self.answer.body.dataReceived(b"x" * 65_536)
        self.answer.body.connectionLost()
        assert self.answer.open
        assert self.clock.getDelayedCalls() == []

    def test_a_long_one(self) -> None:
        """One byte too many ends the connection."""
        self.begins()
        self.answer.body.dataReceived(b"x" * 65_536)
        assert self.answer.open
        self.answer.body.dataReceived(b"x")
        assert not self.answer.open
        assert self.clock.getDelayedCalls() == []

    def test_a_late_one(self) -> None:
        """It is given up in time, however little has come."""
        self.begins()
        self.answer.body.dataReceived(b"x")
        self.clock.advance(9.9)
        assert self.answer.open
        self.clock.advance(0.1)
        assert not self.answer.open

    def test_before_it_begins(self) -> None:
        """Where there is no connection yet, there is none to be ended."""
        never = mock.Mock(spec=["deliverBody"])
        self.begins(never)
        self.clock.advance(10.0)
        assert self.clock.getDelayedCalls() == []

    def test_what_treq_wraps(self) -> None:
        """The answer itself is read, not what would unpack it."""
        wrapped = mock.Mock(spec=["original", "deliverBody"], original=self.answer)
        self.begins(wrapped)
        assert not wrapped.deliverBody.called
        assert self.answer.body is not None
        self.answer.body.connectionLost()


class Waiting(SynchronousTestCase):
    """An answer that is waited for."""

    def test_in_time(self) -> None:
        """It is given, and no timer is left."""
        clock, answer = Clock(), Deferred[str]()
        waiting = within(answer, 3.0, clock)
        answer.callback("yes")
        assert self.successResultOf(waiting) == "yes"
        assert clock.getDelayedCalls() == []

    def test_too_late(self) -> None:
        """After how long is said."""
        clock = Clock()
        waiting = within(Deferred[str](), 2.5, clock)
        clock.advance(2.5)
        failure = self.failureResultOf(waiting, TimeoutError)
        assert failure.getErrorMessage() == "no answer within 2.5 s"


class Reasons(SynchronousTestCase):
    """What is said of a request that came to nothing."""

    def test_of_the_request(self) -> None:
        """The kind of error, and its words."""
        assert reason_of(ValueError("no")) == "ValueError: no"

    def test_on_its_way(self) -> None:
        """What Twisted has wrapped."""
        wrapped = ResponseNeverReceived([Failure(ConnectionLost("gone"))])
        assert reason_of(wrapped).startswith("ConnectionLost: ")
        assert "gone" in reason_of(wrapped)

    def test_long_words(self) -> None:
        """They are cut."""
        assert len(reason_of(ValueError("x" * 10_000))) == 500


class Clients(SynchronousTestCase):
    """The client itself."""

    def test_no_cookies(self) -> None:
        """What a server sets is not kept."""
        kept = http_client(MemoryReactorClock())._cookiejar
        headers = Message()
        headers["Set-Cookie"] = "nonce-1=x"
        kept.extract_cookies(mock.Mock(info=lambda: headers), Request("http://127.0.0.1:9/"))
        assert not [*kept]

    def test_connections(self) -> None:
        """Those of a pool are its own; without one, none is kept."""
        reactor = MemoryReactorClock()
        pool: Any = HTTPConnectionPool(reactor)
        with_pool: Any = http_client(reactor, pool)._agent
        assert with_pool._pool is pool
        without: Any = http_client(reactor)._agent
        assert not without._pool.persistent
