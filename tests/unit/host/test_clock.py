"""The program's clock: epoch seconds that only ever go on."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from twisted.internet.selectreactor import SelectReactor
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.host.clock import SteadyClock, boot_id, keep_steady


def test_begins_at_the_wall_clock_and_goes_on_with_the_monotonic_one() -> None:
    """The time is the host's at the start, plus what has passed since."""
    monotonic = iter([50.0, 50.0, 53.5])
    clock = SteadyClock(lambda: 1_000_000.0, lambda: next(monotonic))
    assert clock.now() == 1_000_000.0
    assert clock.now() == 1_000_003.5


def test_the_host_clock_may_be_set() -> None:
    """Whoever sets the host's clock changes no duration and no order."""
    wall = iter([1_000_000.0, 5.0, 9_000_000.0])
    monotonic = iter([7.0, 8.0, 9.0])
    clock = SteadyClock(lambda: next(wall), lambda: next(monotonic))
    before = clock.now()
    assert clock.now() - before == 1.0


def test_by_default_it_is_the_host_s_time() -> None:
    """Without arguments: the epoch, not the seconds since the machine was started."""
    clock = SteadyClock()
    first, second = clock.now(), clock.now()
    assert second >= first > 1_700_000_000


class Clocks:
    """The host's clock, which may be set, and the one that cannot."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0

    def start(self) -> SteadyClock:
        """A clock, as a program has it that starts now."""
        return SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.wall += seconds
        self.monotonic += seconds


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_what_time_it_is_and_how_far_off(jump: float) -> None:
    """The host's clock is told as it is, and by how much it was set."""
    clocks = Clocks()
    clock = clocks.start()
    clocks.pass_by(10.0)
    assert (clock.now(), clock.wall(), clock.ahead()) == (1_000_010.0, 1_000_010.0, 0.0)
    clocks.wall += jump
    clocks.pass_by(10.0)
    assert (clock.now(), clock.wall(), clock.ahead()) == (1_000_020.0, 1_000_020.0 + jump, jump)


def test_to_read_two_clocks_takes_a_moment() -> None:
    """That is no difference; so what is shown is what is kept, as long as nobody sets a clock."""
    clocks = Clocks()
    clock = clocks.start()
    clocks.wall += 0.4
    assert clock.ahead() == 0.0


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 0.0])
def test_it_goes_on_over_a_restart(tmp_path: Path, jump: float) -> None:
    """In the same boot, as if nobody had set the host's clock meanwhile."""
    clocks, file = Clocks(), tmp_path / "clock"
    clock = clocks.start()
    clock.go_on(file, "a-boot")
    clocks.wall += jump
    clocks.pass_by(10.0)
    again = clocks.start()
    again.go_on(file, "a-boot")
    assert again.now() == clock.now() == 1_000_010.0


def test_a_new_boot_begins_with_the_host_s_clock(tmp_path: Path) -> None:
    """Nothing is left to go on from."""
    clocks, file = Clocks(), tmp_path / "clock"
    clocks.start().go_on(file, "a-boot")
    clocks.wall, clocks.monotonic = 1_009_000.0, 3.0
    for boot in ("another-boot", "another-boot", None):
        clock = clocks.start()
        clock.go_on(file, boot)
        assert clock.now() == 1_009_000.0
    assert [each.name for each in tmp_path.iterdir()] == ["clock"]


def test_a_clock_that_was_none(tmp_path: Path) -> None:
    """A host that learned the date after its boot does not stay in the past."""
    clocks, file = Clocks(), tmp_path / "clock"
    clocks.wall = 0.0
    clocks.start().go_on(file, "a-boot")
    clocks.wall = 1_792_000_000.0
    clock = clocks.start()
    clock.go_on(file, "a-boot")
    assert clock.now() == 1_792_000_000.0


@pytest.mark.parametrize("content", [b"", b"a-boot", b"a-boot soon", b"\xff 1", b"a-boot nan"])
def test_a_damaged_memory(tmp_path: Path, content: bytes) -> None:
    """It is written anew."""
    clocks, file = Clocks(), tmp_path / "clock"
    file.write_bytes(content)
    clock = clocks.start()
    clock.go_on(file, "a-boot")
    assert clock.now() == 1_000_000.0
    assert file.read_text() == "a-boot 999950.0\n"


def test_no_memory(tmp_path: Path) -> None:
    """Where nothing can be written, the agent works all the same, and says so."""
    clock = Clocks().start()
    with capturedLogs() as logged:
        clock.go_on(tmp_path / "nowhere" / "clock", "a-boot")
    assert clock.now() == 1_000_000.0
    assert "could not be written: No such file" in str(formatEvent(logged[0]))


def test_which_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What systemd says, else what the kernel says, else nothing: always in the same form."""
    monkeypatch.delenv("C2C_BOOT_ID", raising=False)
    kernel = tmp_path / "boot_id"
    monkeypatch.setattr("c2c_agent.host.clock._BOOT_ID", kernel)
    assert boot_id() is None
    kernel.write_text("3E4F-ab\n")
    assert boot_id() == "3e4fab"
    monkeypatch.setenv("C2C_BOOT_ID", "3e4fab")
    kernel.write_text("another\n")
    assert boot_id() == "3e4fab"
    monkeypatch.setenv("C2C_BOOT_ID", "")
    assert boot_id() is None


def test_timers_of_a_reactor() -> None:
    """They are counted on the clock that cannot be set; Twisted's own are not."""
    reactor = SelectReactor()
    keep_steady(reactor)
    timer = reactor.callLater(60.0, int)
    with patch("time.time", return_value=2**40):
        left = reactor.timeout()
    assert left is not None
    assert 59.0 < left <= 60.0
    timer.cancel()
