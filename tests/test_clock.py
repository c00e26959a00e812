"""The program's clock: epoch seconds that only ever go on."""

from __future__ import annotations

from c2c_agent.clock import SteadyClock


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
