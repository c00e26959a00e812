"""How long the machine has stood still: nobody who was waited for could do anything meanwhile.

A thread sleeps, again and again, and sees how late it wakes. What is late by more than a busy
machine makes it is a standstill: of this process at least, and mostly of all of them.
"""

from __future__ import annotations

import math
import threading
import time
from functools import cache
from pathlib import Path
from time import sleep  # its own: what a test puts in the place of time.sleep is not for it
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_NAP: Final = 0.05  # seconds of one sleep
_NOTICED: Final = 0.1  # seconds of being late that count


class Sleeper:
    """Notes by how much it wakes too late, on the clock `now`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # From when to when it overslept each time, and since when it has slept again.
        self._noted: tuple[tuple[tuple[float, float], ...], float] = ((), now())

    def _overslept(self) -> tuple[tuple[float, float], ...]:
        """All times so far, and the one that goes on just now."""
        times, asleep_since = self._noted
        due, now = asleep_since + _NAP, self._now()
        return (*times, (due, now)) if now - due > _NOTICED else times

    @property
    def late(self) -> float:
        """Seconds so far, those among them by which it is late just now."""
        return self.late_between(-math.inf, math.inf)

    def late_between(self, begin: float, end: float) -> float:
        """Seconds of all that were in part between two moments."""
        times = [time for time in self._overslept() if time[0] <= end and begin <= time[1]]
        return sum(last - first for first, last in times)

    def wake(self) -> None:
        """Note the nap that is over, and begin the next one."""
        self._noted = (self._overslept(), self._now())

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


class WaitsForProcessor:
    """For how long this thread was ready to run, and the machine had others run."""

    def __init__(self, schedstat: Path = Path("/proc/thread-self/schedstat")) -> None:
        self._schedstat = schedstat
        self._before = self._so_far()

    def since(self) -> float:
        """Seconds since this was asked before, or made; none where the kernel does not count."""
        before, self._before = self._before, self._so_far()
        return self._before - before

    def _so_far(self) -> float:
        """Seconds; the second of the fields (the kernel's documentation, sched-stats)."""
        try:
            return int(self._schedstat.read_text(encoding="ascii").split()[1]) / 1e9
        except FileNotFoundError:
            return 0.0


def late_between(begin: float, end: float) -> float:
    """For how long this machine stood still between two moments of time.monotonic()."""
    return _sleeper().late_between(begin, end)


def _stood_still() -> float:
    return _sleeper().late


@cache
def _sleeper() -> Sleeper:
    sleeper = Sleeper()
    threading.Thread(target=sleeper.sleep_for_ever, daemon=True).start()
    return sleeper
