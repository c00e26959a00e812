"""Two clocks: what others stamp with the time of day, told as a moment of `time.monotonic()`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two looks at the steady clock, with one at the other between them, that are near
#: enough; and how often that is tried.
_NEAR: Final = 0.0001
_TRIES: Final = 20


def ahead(
    wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
) -> float:
    """By how many seconds the time of day is ahead of the steady clock.

    A process that has to wait between its looks at the two would be wrong by the wait: the nearest
    looks of several count.
    """
    nearest, found = math.inf, 0.0
    for _ in range(_TRIES):
        before, now, after = steady(), wall(), steady()
        if after - before < nearest:
            nearest, found = after - before, now - (before + after) / 2
        if nearest <= _NEAR:
            break
    return found


def moment(stamp: float) -> float:
    """What `time.monotonic()` told at this time of day, in epoch seconds."""
    return stamp - ahead()
