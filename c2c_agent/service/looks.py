"""Who looks now and then whether a PBX is there that holds no connection open."""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

#: Seconds from one look to the next while there are no calls: so that who asks whether the agent is
#: ready hears what is so, and not what was.
_LOOK: Final = 60.0


class LookedAt(Protocol):
    """A driver that asks its PBX by single requests."""

    @property
    def is_up(self) -> bool:
        """Whether the PBX answered when it was last asked."""

    def start(self) -> None:
        """Ask for the first time, in the background, and again until it answers."""

    def stop(self) -> None:
        """Ask nothing any more; calls go on in the PBX."""

    async def try_it(self) -> None:
        """Ask once more."""


class Looks(Service):
    """Has a driver look whether its PBX is there: at the start, and `again` once in a minute."""

    def __init__(self, driver: LookedAt, reactor: Any, *, again: bool = True) -> None:
        self._driver = driver
        self._again = again
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Log in, or check, in the background."""
        super().startService()
        self._driver.start()
        if self._again:
            self._loop.start(_LOOK, now=False)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Ask nothing any more; calls go on in the PBX."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self._driver.stop()

    def _look(self) -> Deferred[None] | None:
        if not self._driver.is_up:
            return None  # it tries again by itself
        return Deferred.fromCoroutine(self._driver.try_it())
