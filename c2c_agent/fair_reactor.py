"""Twisted's reactor for Linux, made to take few sockets at a time.

Between two looks at the clock, Twisted's own sees to every socket on which something has come. When
five hundred clients ask at the same moment, timers, and with them the calls in progress, would wait
for all of them. epoll hands out what is ready in turn, so nobody is forgotten (epoll_wait(2)).
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor

#: Sockets that are seen to at once: some milliseconds for requests, a moment for all else.
AT_ONCE: Final = 25


class FewAtOnce:
    """A `select.epoll` that tells of no more than AT_ONCE sockets at a time."""

    def __init__(self, poller: Any) -> None:
        self._poller = poller

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """Wait as `select.epoll.poll` does."""
        events: list[tuple[int, int]] = self._poller.poll(timeout, min(maxevents, AT_ONCE))
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class FairReactor(EPollReactor):
    """The reactor."""

    def __init__(self) -> None:
        super().__init__()
        self._poller = FewAtOnce(self._poller)


def install() -> None:
    """Make it the reactor of this process; before anything else imports one."""
    installReactor(FairReactor())
