"""The reactor that takes few sockets at a time."""

from __future__ import annotations

import math
from unittest.mock import patch

import pytest

from c2c_agent.host import reactor as fair_reactor
from c2c_agent.host.reactor import AT_ONCE, STOOD_STILL, FairReactor, FewAtOnce


class Poller:
    """A `select.epoll` with a thousand ready sockets, which are ready `looks` times."""

    closed = False

    def __init__(self, looks: float = math.inf) -> None:
        self.looks = looks
        self.looked = 0

    def poll(self, _timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """Tell of as many as may be told of."""
        self.looked += 1
        ready = range(1000) if self.looked <= self.looks else range(0)
        return [(number, 1) for number in ready][:maxevents]


class Standing(FairReactor):
    """A reactor on a clock that the test sets, with a poller of the test's own."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()
        self._poller.close()
        self.poller = Poller(looks=3)
        self._poller = FewAtOnce(self.poller)

    def seconds(self) -> float:
        """The test's time."""
        return self.now


@pytest.fixture
def reactor() -> Standing:
    """One that has come round once."""
    reactor = Standing()
    reactor.runUntilCurrent()
    return reactor


def test_few_at_once() -> None:
    """However many are ready, and never more than are asked for; all else is as it was."""
    poller = FewAtOnce(Poller())
    assert len(poller.poll(-1, 1000)) == AT_ONCE
    assert len(poller.poll(0, 3)) == 3
    assert poller.closed is False


def test_it_is_what_gets_installed() -> None:
    """One made of Twisted's own, around its own poller."""
    with patch.object(fair_reactor, "installReactor") as installed:
        fair_reactor.install()
    ((reactor,), _) = installed.call_args
    assert isinstance(reactor, FairReactor)
    assert isinstance(reactor._poller, FewAtOnce)
    ran: list[str] = []
    reactor.callLater(0, ran.append, "a timer")
    reactor.runUntilCurrent()
    assert ran == ["a timer"]
    reactor._poller.close()


def looks_before_a_timer(reactor: Standing) -> list[int]:
    """How often sockets had been looked at when a timer that was due ran."""
    looks: list[int] = []
    reactor.callLater(0, lambda: looks.append(reactor.poller.looked))
    reactor.runUntilCurrent()
    return looks


class TestStandstill:
    """The process stood still: timers are due, and answers may have come before they were."""

    def test_what_has_come_is_heard_first(self, reactor: Standing) -> None:
        """Until nothing more is there."""
        reactor.now += STOOD_STILL + 0.1
        assert looks_before_a_timer(reactor) == [4]

    def test_it_was_only_late(self, reactor: Standing) -> None:
        """A busy moment is no standstill."""
        reactor.now += STOOD_STILL - 0.1
        assert looks_before_a_timer(reactor) == [0]

    def test_it_only_waited(self, reactor: Standing) -> None:
        """Until the next timer, however long that was."""
        reactor.doIteration(60)
        reactor.now += 60.5
        assert looks_before_a_timer(reactor) == [1]

    def test_somebody_goes_on_sending(self, reactor: Standing) -> None:
        """Timers have their turn all the same."""
        reactor.poller.looks = math.inf
        reactor.now += 60
        (looks,) = looks_before_a_timer(reactor)
        assert 10 <= looks <= 1000
