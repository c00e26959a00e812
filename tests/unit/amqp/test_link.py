"""The link to the broker, and what becomes of each message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pika
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.amqp.link import (
    AmqpLink,
    Lose,
    NotPublished,
    Publisher,
    PublishingUnknown,
    Unroutable,
    consume,
)
from tests.fake_broker import FakeBroker, FakeConnection


class User:
    """Somebody who works over the link."""

    def __init__(self, clock: Clock) -> None:
        self.publisher: Publisher | None = None
        self.mistake: Exception | None = None
        self.story: list[str] = []
        self.lose: Lose
        self._clock: Any = clock

    async def opened(self, connection: Any, lose: Lose) -> None:
        self.lose = lose
        if self.mistake is not None:
            raise self.mistake
        self.publisher = await Publisher.open(connection, self._clock, lose)
        self.story.append("opened")

    def closed(self, reason: str) -> None:
        self.publisher = None
        self.story.append(f"closed: {reason}")


class LinkTest(SynchronousTestCase):
    """A link to a broker in memory."""

    def setUp(self) -> None:
        """Connect."""
        self.clock = Clock()
        self.broker = FakeBroker()
        self.user = User(self.clock)
        login = pika.PlainCredentials("pbx1", "hush")
        endpoint: Any = self.broker
        self.link = AmqpLink(
            endpoint,
            pika.ConnectionParameters("broker.test", 5671, credentials=login, heartbeat=0),
            clock=self.clock,
            users=[self.user],
            jitter=lambda: 0.5,
        )
        self.link.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Nothing is left: no connection, no timer."""
        stopped = self.link.stopService()
        self.broker.answer()
        self.successResultOf(stopped)
        assert self.clock.getDelayedCalls() == []

    def up(self) -> None:
        """Let the broker answer until the link is up."""
        self.broker.answer()
        assert self.link.is_up


class TheLink(LinkTest):
    """It comes up, is lost, and comes up again."""

    def test_up(self) -> None:
        """When all users have what they need."""
        assert not self.link.is_up
        self.up()
        assert self.user.story == ["opened"]
        assert self.link.reconnects == 0

    def test_lost(self) -> None:
        """Made anew, after a pause."""
        self.up()
        self.broker.lose()
        assert not self.link.is_up
        assert self.user.story[1].startswith("closed: ")
        assert self.broker.connections == 1
        self.clock.advance(3)
        self.up()
        assert (self.broker.connections, self.link.reconnects) == (2, 1)

    def test_nobody_there(self) -> None:
        """Tried again, ever more slowly, and the reason is said."""
        self.up()
        self.broker.absent = True
        self.broker.lose()
        pauses = []
        for _ in range(8):
            [timer] = self.clock.getDelayedCalls()
            pauses.append(timer.getTime() - self.clock.seconds())
            self.clock.advance(pauses[-1])
        assert self.link.last_error == "nobody listens"
        assert pauses == sorted(pauses)
        assert pauses[0] < 3
        assert 10 < pauses[-1] <= 30
        self.broker.absent = False
        self.clock.advance(30)
        self.up()

    def test_refused(self) -> None:
        """A login that a person has to mend is not tried every second."""
        self.broker.lose()
        self.broker.refuses = True
        self.clock.advance(5)
        self.broker.answer()
        assert "ACCESS_REFUSED" in self.link.last_error
        assert "hush" not in self.link.last_error
        [timer] = self.clock.getDelayedCalls()
        assert timer.getTime() - self.clock.seconds() >= 10

    def test_silent(self) -> None:
        """A broker that takes the connection and says nothing is given up."""
        self.broker.lose()
        self.broker.silent = True
        self.clock.advance(5)
        assert self.broker.connections == 2
        self.clock.advance(20)
        assert self.broker.dropped
        self.broker.lose()
        assert "no answer from the broker" in self.link.last_error
        self.broker.silent = False

    def test_a_user_that_cannot_work(self) -> None:
        """No such queue, for instance: the link is not up, and made anew later."""
        self.user.mistake = ValueError("no such queue")
        self.broker.answer()
        assert not self.link.is_up
        assert self.broker.dropped
        self.broker.lose()
        assert self.link.last_error == "no such queue"
        assert self.user.story == []

    def test_lost_by_a_user(self) -> None:
        """For a reason that is kept."""
        self.up()
        self.user.lose("the queue was deleted")
        assert self.broker.dropped
        self.broker.lose()
        assert self.link.last_error == "the queue was deleted"

    def close_channel(self) -> float:
        """The broker closes the channel of the publisher; the pause until the next attempt."""
        self.broker.close_channel(404, "NOT_FOUND - no exchange 'c2c.events'")
        self.broker.answer()
        assert "no exchange" in self.link.last_error
        [timer] = self.clock.getDelayedCalls()
        return timer.getTime() - self.clock.seconds()

    def test_refused_when_it_is_up(self) -> None:
        """A broker that lets us in and then refuses what we do is tried ever more slowly."""
        with capturedLogs() as logs:
            self.up()
            pauses = []
            for _ in range(8):
                pauses.append(self.close_channel())
                self.clock.advance(pauses[-1])
                self.up()
        assert pauses[0] < 3
        assert pauses == sorted(pauses)
        assert 10 < pauses[-1] <= 30
        assert self.levels(logs) == ["info", "warn"]  # up, and why it is not: said once

    def levels(self, logs: Sequence[LogEvent]) -> list[str]:
        """How serious each line of the log is."""
        return [event["log_level"].name for event in logs if "AMQP" in event["log_format"]]

    def test_steady_again(self) -> None:
        """When it has lasted for a minute, that is said, and forgotten what was before."""
        self.up()
        for _ in range(3):
            self.clock.advance(self.close_channel())
            self.up()
        with capturedLogs() as logs:
            self.clock.advance(60)
        assert self.levels(logs) == ["info"]
        with capturedLogs() as logs:
            pause = self.close_channel()
        assert pause < 3
        assert self.levels(logs) == ["warn"]
        with capturedLogs() as logs:
            self.clock.advance(pause)
            self.up()
        assert self.levels(logs) == ["info"]

    def test_lost_again(self) -> None:
        """A link that breaks soon, and often, is made anew as soon as ever."""
        self.up()
        for _ in range(5):
            self.broker.lose()
            self.clock.advance(3)
            self.up()

    def test_stopped(self) -> None:
        """With a goodbye."""
        self.up()
        stopped = self.link.stopService()
        self.broker.answer()
        self.successResultOf(stopped)
        assert self.user.story == ["opened", "closed: closed by us"]
        self.clock.advance(100)
        assert self.broker.connections == 1


class Publishing(LinkTest):
    """Of each message it is known what became of it."""

    def setUp(self) -> None:
        """Bring the link up."""
        super().setUp()
        self.up()

    def publish(self) -> Deferred[None]:
        """Publish a message."""
        assert self.user.publisher is not None
        publishing = Deferred.fromCoroutine(
            self.user.publisher.publish(
                "c2c.events", "key", b"{}", kind="call.ended", message_id="1"
            )
        )
        self.broker.answer()
        return publishing

    def test_confirmed(self) -> None:
        """Not before the broker says so."""
        one, two = self.publish(), self.publish()
        self.assertNoResult(one)
        self.broker.confirm(2, multiple=True)
        self.successResultOf(one)
        self.successResultOf(two)
        assert self.broker.published == ["1", "2"]

    def test_one_of_several_has_no_queue(self) -> None:
        """It is that one, also where all are confirmed at once."""
        one, two, three = self.publish(), self.publish(), self.publish()
        self.broker.give_back("2")
        self.broker.confirm(3, multiple=True)
        self.successResultOf(one)
        assert "no queue for key" in str(self.failureResultOf(two, Unroutable).value)
        self.successResultOf(three)

    def test_several_have_no_queue(self) -> None:
        """All of them."""
        messages = [self.publish() for _ in range(4)]
        for number in ("1", "3"):
            self.broker.give_back(number)
        self.broker.confirm(4, multiple=True)
        for message in (messages[1], messages[3]):
            self.successResultOf(message)
        for message in (messages[0], messages[2]):
            self.failureResultOf(message, Unroutable)

    def test_not_kept(self) -> None:
        """The broker says that it could not."""
        one = self.publish()
        self.broker.refuse(1)
        self.failureResultOf(one, NotPublished)

    def test_lost(self) -> None:
        """Then nobody knows."""
        one = self.publish()
        self.broker.lose()
        self.failureResultOf(one, PublishingUnknown)

    def test_a_channel_that_the_broker_closes(self) -> None:
        """There is no such exchange, for instance: it is published over a link that is new."""
        one = self.publish()
        self.broker.close_channel(404, "NOT_FOUND - no exchange 'c2c.events'")
        self.failureResultOf(one, PublishingUnknown)
        self.broker.answer()
        assert not self.link.is_up
        self.clock.advance(5)
        self.up()
        again = self.publish()
        self.broker.confirm(1)
        self.successResultOf(again)

    def test_no_word(self) -> None:
        """Nor where the broker is silent for too long."""
        one = self.publish()
        self.clock.advance(20)
        assert re.search("no answer", str(self.failureResultOf(one, PublishingUnknown).value))

    def test_after_the_end(self) -> None:
        """A channel that is gone takes nothing."""
        publisher = self.user.publisher
        assert publisher is not None
        self.broker.lose()
        late = publisher.publish("c2c.events", "key", b"{}", kind="x", message_id="1")
        self.failureResultOf(Deferred.fromCoroutine(late), PublishingUnknown)


class Consuming(SynchronousTestCase):
    """Messages are taken as they come."""

    def test_until_it_ends(self) -> None:
        """The end of the consumer is that of the link; a mistake with a message is logged."""
        connection = FakeConnection()
        taken: list[bytes] = []
        lost: list[str] = []

        async def take(message: Any) -> None:
            taken.append(message.body)
            if message.body == b"bad":
                raise ValueError("a mistake")

        consume(connection.messages, take, lost.append)
        self.successResultOf(connection.channel())
        for body in (b"one", b"bad", b"two"):
            connection.deliver(body)
        assert taken == [b"one", b"bad", b"two"]
        assert len(self.flushLoggedErrors(ValueError)) == 1
        [waiting] = connection.messages.waiting
        waiting.errback(ConnectionError("gone"))
        assert lost == ["gone"]
