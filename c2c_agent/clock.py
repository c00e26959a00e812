"""The program's clock: epoch seconds that never jump."""

from __future__ import annotations

import time
from collections.abc import Callable


class SteadyClock:
    """Epoch seconds as they were at the start, plus the seconds that have passed since.

    Durations taken on it are right when somebody sets the host's clock, and so is the order of what
    happened. `wall` and `monotonic` are `time.time` and `time.monotonic`, or a test's own.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._anchor = wall() - monotonic()

    def now(self) -> float:
        """Epoch seconds."""
        return self._anchor + self._monotonic()
