"""The measure of a machine that stands still: a test that it excuses must have been late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pbx.lateness import Lateness, Sleeper, WaitsForProcessor


@pytest.mark.parametrize(("naps", "seconds"), [([0.05, 0.14], 0), ([0.05, 3.05, 0.1, 1.05], 4)])
def test_what_counts(naps: list[float], seconds: float) -> None:
    """What is longer than usual, each time, and as soon as it is."""
    now = 1000.0
    sleeper = Sleeper(lambda: now)
    for nap in naps:
        now += nap
        assert sleeper.late <= seconds + 0.001
        sleeper.wake()
    assert sleeper.late == pytest.approx(seconds)


def test_when() -> None:
    """Those count that began before the end and ended after the beginning."""
    now = 1000.0
    sleeper = Sleeper(lambda: now)
    for nap in (3.05, 0.05, 2.05):  # late from 1000.05 to 1003.05, and from 1003.15 to 1005.15
        now += nap
        sleeper.wake()
    assert sleeper.late_between(900, 1000) == 0
    assert sleeper.late_between(1002, 1003.1) == pytest.approx(3)
    assert sleeper.late_between(1003.1, 1004) == pytest.approx(2)
    assert sleeper.late_between(1003, 1004) == pytest.approx(5)
    assert sleeper.late_between(1006, 1007) == 0


def test_near() -> None:
    """As near as is asked for; further away where there was a standstill since."""
    late = 7.0
    lateness = Lateness(lambda: late)
    assert lateness.near(2, 0.5) == 2.4
    assert lateness.near(2, 0.5) != 2.6
    late += 3
    assert lateness.near(2, 0.5) == 5.4
    assert lateness.near(2, 0.5) != 5.6


def test_waits_for_a_processor(tmp_path: Path) -> None:
    """What the kernel has counted since the last time."""
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("740297000 44336000000 2\n", encoding="ascii")
    waits = WaitsForProcessor(schedstat)
    schedstat.write_text("840297000 44536000000 9\n", encoding="ascii")
    assert waits.since() == pytest.approx(0.2)
    assert waits.since() == 0
    assert WaitsForProcessor(tmp_path / "none").since() == 0


def test_of_this_machine() -> None:
    """A process that was stopped for a second knows it."""
    program = (
        "import sys\n"
        "from tests.pbx.lateness import Lateness\n"
        "lateness = Lateness()\n"
        "print(flush=True)\n"
        "sys.stdin.readline()\n"
        "print(lateness.seconds)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate("\n", timeout=60)
    assert float(told) > 0.9
