"""Twisted's reactor for Linux, made to take few sockets at a time, and to hear before it judges.

Between two looks at the clock, Twisted's own sees to every socket on which something has come. When
five hundred clients ask at the same moment, timers, and with them the calls in progress, would wait
for all of them. epoll hands out what is ready in turn, so nobody is forgotten (epoll_wait(2)).

And after the process has stood still (the host swapped, or was suspended), Twisted's own would let
every timer run that has come due meanwhile, before it reads a byte: answers that have long been
there would count as never given. This one takes what has come first.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor

#: Sockets that are seen to at once: some milliseconds for requests, a moment for all else.
AT_ONCE: Final = 25

#: Seconds by which the loop is late when the process must have stood still: far more than all that
#: the program itself ever does in one go, and less than it waits for any answer.
STOOD_STILL: Final = 1.0

#: How often sockets are looked at after that, at most: whoever goes on sending cannot keep timers
#: from their turn.
_LOOKS: Final = 100


class FewAtOnce:
    """A `select.epoll` that tells of no more than AT_ONCE sockets at a time.

    `told`: of how many it did last.
    """

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self.told = 0

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """Wait as `select.epoll.poll` does."""
        events: list[tuple[int, int]] = self._poller.poll(timeout, min(maxevents, AT_ONCE))
        self.told = len(events)
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class FairReactor(EPollReactor):
    """The reactor."""

    def __init__(self) -> None:
        super().__init__()
        self._poller = FewAtOnce(self._poller)
        self._seen = self.seconds()  # when timers were looked at last
        self._waits = 0.0  # how long sockets might be waited for since

    def runUntilCurrent(self) -> None:  # noqa: N802 - Twisted's name
        """Let the timers run that are due; what has come during a standstill is heard before."""
        if self.seconds() - self._seen > self._waits + STOOD_STILL:
            self._hear()
        self._seen = self.seconds()
        super().runUntilCurrent()

    def doPoll(self, timeout: float | None) -> None:  # noqa: N802 - the same
        """See to sockets, after waiting for one for `timeout` seconds at the most."""
        self._waits = timeout or 0.0
        super().doPoll(timeout)

    doIteration = doPoll  # noqa: N815 - what Twisted's loop calls

    def _hear(self) -> None:
        """Take all that has come."""
        for _ in range(_LOOKS):
            self.doPoll(0)
            if not self._poller.told:
                break


def install() -> None:
    """Make it the reactor of this process; before anything else imports one."""
    installReactor(FairReactor())
