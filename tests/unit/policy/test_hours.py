"""Hours of the week: what they say, and what a clock on the wall shows."""

from __future__ import annotations

import time

import pytest

from c2c_agent.errors import ConfigError
from c2c_agent.host.clock import check_timezone, week_time
from c2c_agent.policy.hours import HoursError, WeekTime, parse_hours

MO, TU, WE, TH, FR, SA, SU = range(7)
BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "within", "outside"),
    [
        (
            "Mo-Fr 08:00-18:00",
            [(MO, 8 * 60), (FR, 18 * 60 - 1)],
            [(MO, 8 * 60 - 1), (FR, 18 * 60), (SA, 720), (SU, 720)],
        ),
        ("Sa 00:00-24:00", [(SA, 0), (SA, 1439)], [(FR, 1439), (SU, 0)]),
        (
            "Fr,Su 22:00-06:00",
            [(FR, 1320), (SA, 0), (SA, 359), (SU, 1439), (MO, 0)],
            [(SA, 360), (SA, 1320), (FR, 0), (SU, 0), (TU, 0), (FR, 1319)],
        ),
        ("Sa-Mo,We 10:00-11:00", [(SA, 600), (SU, 600), (MO, 600), (WE, 600)], [(TU, 600)]),
        ("Su-Sa 00:00-24:00", [(day, 0) for day in range(7)], []),
    ],
)
def test_hours(text: str, within: list[tuple[int, int]], outside: list[tuple[int, int]]) -> None:
    """From the first minute to the last one before the end, past midnight, too."""
    hours = parse_hours(text)
    assert hours.text == text
    assert all(hours.include(WeekTime(*time)) for time in within)
    assert not any(hours.include(WeekTime(*time)) for time in outside)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mo",
        "08:00-18:00",
        "Mo 8:00-18:00",
        "Mo 08:00",
        "Mo 08:00-24:01",
        "Mo 24:00-08:00",
        "Mo 25:00-08:00",
        "Mo 08:60-09:00",
        "Mo 08:00-08:00",
        "mo 08:00-09:00",
        "Mo- 08:00-09:00",
        "Mo,,Tu 08:00-09:00",
        "Mo 08:00-09:00 ",
        "Xx 08:00-09:00",
        "Mo \u0660\u0668:00-09:00",
    ],
)
def test_no_hours(text: str) -> None:
    """What is none is refused, with the text."""
    with pytest.raises(HoursError) as caught:
        parse_hours(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("at", "timezone", "shown"),
    [
        (1_767_225_600.0, "UTC", (TH, 0)),  # 2026-01-01T00:00Z
        (1_767_225_600.0, BERLIN, (TH, 60)),
        (1_767_225_600.0, "America/New_York", (WE, 19 * 60)),
        (1_774_745_999.0, BERLIN, (SU, 119)),  # the hour from 2 to 3 is left out
        (1_774_746_000.0, BERLIN, (SU, 180)),
        (1_792_889_999.0, BERLIN, (SU, 179)),  # and comes twice
        (1_792_890_000.0, BERLIN, (SU, 120)),
    ],
)
def test_week_time(at: float, timezone: str, shown: tuple[int, int]) -> None:
    """As people there read it off the wall, also when their clocks are changed."""
    assert week_time(at, timezone) == WeekTime(*shown)


def test_the_hosts_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, what the host's own clock shows."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert week_time(1_767_225_600.0, None) == WeekTime(TH, 540)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_time_zones_are_known() -> None:
    """One that is not known is an error of the configuration."""
    check_timezone(BERLIN)
    for wrong in ("Mars/Olympus", "../../etc/passwd", "", "Europe"):
        with pytest.raises(ConfigError, match="is not known here"):
            check_timezone(wrong)
