"""Waiting for a condition: the only way in which these tests let time pass."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_INTERVAL = 0.02  # seconds between two looks


class WaitedInVainError(AssertionError):
    """A condition did not come true in time; the text says which."""


def wait_until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Return the first true value of `condition()`.

    After `timeout` seconds raise `WaitedInVainError`, saying that `what` did not happen and what
    the condition gave last.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise WaitedInVainError(f"not within {timeout} s: {what} (last seen: {value!r})")
        time.sleep(_INTERVAL)
    return value
