"""A Twisted process that does nothing: how late a timer is on this machine, whoever runs it.

`python -m tests.pbx.idle_loop SECONDS FILE` measures like the agent does, at that pace, and keeps
the longest delay so far in the file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from c2c_agent.report import metrics
from c2c_agent.report.metrics import LoopWatch


class Longest:
    """Keeps the longest delay in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._longest = 0.0
        self._write()

    def __call__(self, seconds: float) -> None:
        """Take a measurement."""
        if seconds > self._longest:
            self._longest = seconds
            self._write()

    def _write(self) -> None:
        """Put it there whole: somebody may be reading."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{self._longest:.4f}\n", encoding="ascii")
        new.replace(self._file)


if __name__ == "__main__":
    from twisted.internet import reactor

    running: Any = reactor
    metrics._TICK = float(sys.argv[1])  # type: ignore[misc]
    LoopWatch(running, Longest(Path(sys.argv[2]))).startService()
    running.run()
