"""The reactor that takes few sockets at a time."""

from __future__ import annotations

from unittest.mock import patch

from c2c_agent import fair_reactor
from c2c_agent.fair_reactor import AT_ONCE, FairReactor, FewAtOnce


class Poller:
    """A `select.epoll` with a thousand ready sockets."""

    closed = False

    def poll(self, _timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """Tell of as many as may be told of."""
        return [(number, 1) for number in range(1000)][:maxevents]


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
