"""What processes and the machine used: CPU seconds and memory, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import define, field

#: CPUCLOCK_SCHED of linux/posix-timers.h: the time that the scheduler gave.
_SCHEDULED: Final = 2

_TICK: Final = os.sysconf("SC_CLK_TCK")

#: Of the line `cpu` in /proc/stat (proc(5)).
_IDLE: Final = (4, 5)


def cpu_seconds(pid: int | None) -> float:
    """CPU seconds that a process has used so far, all of its threads, in user and kernel mode.

    What /proc/PID/stat counts in hundredths, its CPU clock tells to the nanosecond
    (clock_getcpuclockid(3); Linux makes the clock's id so of the process's).
    """
    assert pid is not None
    return time.clock_gettime(~pid << 3 | _SCHEDULED)


def memory_bytes(pid: int | None) -> int:
    """Memory that is a process's alone: what would be free without it (private, and its swap)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    sizes = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return 1024 * sum(
        int(sizes[name].split()[0]) for name in ("Private_Clean", "Private_Dirty", "Swap")
    )


def _machine_seconds() -> tuple[float, float]:
    """CPU seconds of the whole machine since its start: busy, idle."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        fields = file.readline().split()
    idle = sum(int(fields[number]) for number in _IDLE)
    return (sum(map(int, fields[1:9])) - idle) / _TICK, idle / _TICK


@define
class Usage:
    """CPU seconds over a stretch of time, by who used them, and how long that was."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(factory=dict)

    def cores(self) -> str:
        """How many cores each had, in words."""
        return ", ".join(
            f"{name} {used / self.seconds:.2f}" for name, used in self.cpu.items() if self.seconds
        )


@contextmanager
def measured(now: Callable[[], float], processes: Mapping[str, int | None]) -> Iterator[Usage]:
    """Measure what named processes use within the `with`; `others` and `idle` are the rest."""
    usage = Usage()
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    busy, idle = _machine_seconds()
    began = now()
    yield usage
    usage.seconds = now() - began
    for name, pid in processes.items():
        usage.cpu[name] = cpu_seconds(pid) - before[name]
    busy_after, idle_after = _machine_seconds()
    usage.cpu["others"] = max(0.0, busy_after - busy - sum(usage.cpu.values()))
    usage.cpu["idle"] = idle_after - idle
