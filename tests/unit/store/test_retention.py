"""When old calls are deleted, in the time of the tests."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.errors import StoreError
from c2c_agent.store.retention import Retention

HOUR, DAY = 3600, 86400

#: When the tests begin.
EPOCH = 1_000_000_000.0


class RetentionTests(SynchronousTestCase):
    """Retention of 90 days, over a store that answers when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[float] = []  # before which moments
        self.steps: list[Deferred[int]] = []
        self.retention = Retention(
            self.delete_ended,
            keep_days=90,
            clock=self.clock,
            now=lambda: EPOCH + self.clock.seconds(),
        )
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def delete_ended(self, before: float) -> Deferred[int]:
        """Be the store."""
        self.asked.append(before)
        self.steps.append(Deferred())
        return self.steps[-1]

    def lines(self) -> list[str | None]:
        """What is in the log."""
        return [formatEvent(event) for event in self.logged]

    def test_at_the_start(self) -> None:
        """At once, step by step, with one limit for all: until nothing is left."""
        self.retention.startService()
        for count in (500, 500, 7):
            self.steps[-1].callback(count)
            self.clock.advance(1)
        assert len(self.asked) == 4
        self.steps[-1].callback(0)
        assert set(self.asked) == {EPOCH - 90 * DAY}
        assert self.lines() == ["deleted 1007 calls that ended more than 90 days ago"]

    def test_one_step_at_a_time(self) -> None:
        """A slow store is not asked again, even when an hour has passed."""
        self.retention.startService()
        self.clock.pump([HOUR, HOUR])
        assert len(self.asked) == 1

    def test_every_hour(self) -> None:
        """With the limit of that hour; and nothing is said where nothing was to do."""
        self.retention.startService()
        for _ in range(3):
            self.steps[-1].callback(0)
            self.clock.advance(HOUR)
        assert self.asked == [EPOCH - 90 * DAY + hour * HOUR for hour in range(4)]
        assert self.lines() == []

    def test_failing(self) -> None:
        """The admin reads why; an hour later it is tried again."""
        self.retention.startService()
        self.steps[0].callback(500)
        self.steps[1].errback(StoreError("database or disk is full"))
        assert self.lines() == [
            "calls that ended long ago could not be deleted: database or disk is full",
            "deleted 500 calls that ended more than 90 days ago",
        ]
        assert len(self.asked) == 2
        self.clock.advance(HOUR)
        assert len(self.asked) == 3

    def test_stopped(self) -> None:
        """No timer is left."""
        self.retention.startService()
        self.steps[0].callback(0)
        self.retention.stopService()
        assert self.clock.getDelayedCalls() == []

    def test_stopped_on_the_way(self) -> None:
        """The step that is on its way is the last."""
        self.retention.startService()
        self.retention.stopService()
        self.steps[0].callback(500)
        assert len(self.asked) == 1
        assert self.clock.getDelayedCalls() == []

    def test_never_started(self) -> None:
        """Where another part could not start, this one is stopped all the same."""
        self.retention.stopService()
        assert self.asked == []
