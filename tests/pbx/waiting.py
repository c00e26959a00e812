"""Waiting for a condition: the only way in which these tests let time pass."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from tests.pbx.lateness import Lateness

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_INTERVAL = 0.02  # seconds between two looks


class WaitedInVainError(AssertionError):
    """A condition did not come true in time; the text says which."""


class Patience:
    """So many seconds of waiting; those for which the machine stood still do not count."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began, self._lateness = time.monotonic(), Lateness()

    @property
    def left(self) -> float:
        """How many of them are left; less than none when they are over."""
        return self._began + self._seconds + self._lateness.seconds - time.monotonic()


def wait_until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Return the first true value of `condition()`.

    After `timeout` seconds raise `WaitedInVainError`, saying that `what` did not happen and what
    the condition gave last.
    """
    patience = Patience(timeout)
    while not (value := condition()):
        if patience.left < 0:
            raise WaitedInVainError(f"not within {timeout} s: {what} (last seen: {value!r})")
        time.sleep(_INTERVAL)
    return value
