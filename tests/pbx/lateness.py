"""How long the machine has stood still: nobody who was waited for could do anything meanwhile.

A thread sleeps, again and again, and sees how late it wakes. What is late by more than a busy
machine makes it is a standstill: of this process at least, and mostly of all of them.
"""

from __future__ import annotations

import threading
import time
from functools import cache
from time import sleep  # its own: what a test puts in the place of time.sleep is not for it
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_NAP: Final = 0.05  # seconds of one sleep
_NOTICED: Final = 0.1  # seconds of being late that count


class Sleeper:
    """Adds up by how much it wakes too late."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._noted = (0.0, now())  # seconds so far, and since when it has slept again

    @property
    def late(self) -> float:
        """Seconds so far, those among them by which it is late just now."""
        seconds, asleep_since = self._noted
        late = self._now() - asleep_since - _NAP
        return seconds + (late if late > _NOTICED else 0.0)

    def wake(self) -> None:
        """Note the nap that is over, and begin the next one."""
        self._noted = (self.late, self._now())

    def sleep_for_ever(self) -> None:
        """Nap and wake; does not return."""
        while True:
            sleep(_NAP)
            self.wake()


class Lateness:
    """The standstills since this was made; what `late` tells, of this machine or of another."""

    def __init__(self, late: Callable[[], float] | None = None) -> None:
        self._late = late or _stood_still
        self._before = self._late()

    @property
    def seconds(self) -> float:
        """For how long the machine has stood still since."""
        return self._late() - self._before

    def near(self, seconds: float | None, within: float) -> object:
        """Equal to what is so near to `seconds`, or further from it by the standstills."""
        return pytest.approx(seconds, abs=within + self.seconds)


def _stood_still() -> float:
    return _sleeper().late


@cache
def _sleeper() -> Sleeper:
    sleeper = Sleeper()
    threading.Thread(target=sleeper.sleep_for_ever, daemon=True).start()
    return sleeper
