"""A time of day as a moment of the steady clock: right on a machine that is busy, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.pbx.moments import ahead, moment

OFF = 1_000_000.0


class Clocks:
    """A steady clock and another one; each look takes as long as the next of `delays`."""

    def __init__(self, delays: Iterator[float]) -> None:
        self._delays = delays
        self._now = 5.0

    def steady(self) -> float:
        """Look at the steady one."""
        self._now += next(self._delays, 0.0)
        return self._now

    def wall(self) -> float:
        """Look at the one that is ahead."""
        return self.steady() + OFF


def test_the_nearest_looks_count() -> None:
    """Who had to wait between two looks looks again."""
    delays = iter([0.0, 0.0, 0.7, 0.0, 0.4, 0.0, 0.0, 0.0, 0.00005])
    assert ahead(*_both(Clocks(delays))) == pytest.approx(OFF, abs=0.0001)


def test_the_best_of_many_on_a_slow_machine() -> None:
    """Where no look is quick, the quickest bounds the error."""
    delays = iter([0.05] * 27 + [0.002] * 3 + [0.05] * 100)
    assert ahead(*_both(Clocks(delays))) == pytest.approx(OFF, abs=0.002)


def _both(clocks: Clocks) -> tuple[Callable[[], float], Callable[[], float]]:
    return clocks.wall, clocks.steady


def test_now() -> None:
    """The time of day now is the moment now."""
    before = time.monotonic()
    now = moment(time.time())
    assert before - 0.01 <= now <= time.monotonic() + 0.01
