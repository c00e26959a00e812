"""Hours of the week, as the configuration writes them: `Mo-Fr 08:00-18:00`.

Pure. They are asked what the clock on the wall shows, weekday and minute of the day; so where an
hour is left out or comes twice (daylight saving), they do what people there would do. What shows
in which time zone, `wall_time` knows.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from attrs import frozen

from c2c_agent.errors import C2CError

_DAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_DAY: Final = "|".join(_DAYS)
_TIME: Final = r"([01][0-9]|2[0-4]):([0-5][0-9])"
_HOURS: Final = re.compile(
    rf"(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*) {_TIME}-{_TIME}"
)
_MINUTES: Final = 24 * 60


class HoursError(C2CError):
    """A text that names no hours; the message says what would be right."""


class WeekTime(NamedTuple):
    """What the clock on the wall shows: the weekday (0 is Monday), and the minute of the day."""

    weekday: int
    minute: int


@frozen
class Hours:
    """On some days from one minute of the day up to another; past midnight, if that is smaller."""

    text: str
    days: AbstractSet[int]
    begin: int
    end: int

    def include(self, time: WeekTime) -> bool:
        """Whether it is within these hours. What runs past midnight belongs to its first day."""
        if self.begin < self.end:
            return time.weekday in self.days and self.begin <= time.minute < self.end
        if time.minute >= self.begin:
            return time.weekday in self.days
        return time.minute < self.end and (time.weekday - 1) % len(_DAYS) in self.days


def parse_hours(text: str) -> Hours:
    """Read hours such as `Mo-Fr 08:00-18:00` or `Sa,Su 22:00-06:00`; raises HoursError."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise HoursError(f"{text!r} names no hours; write them as in 'Mo-Fr,Su 08:00-18:00'")
    begin, end = (int(match[group]) * 60 + int(match[group + 1]) for group in (2, 4))
    if begin >= _MINUTES or end > _MINUTES or begin == end:
        raise HoursError(f"{text!r}: must lie between 00:00 and 24:00, and not be empty")
    days: set[int] = set()
    for part in match["days"].split(","):
        first, _, last = part.partition("-")
        low, high = _DAYS.index(first), _DAYS.index(last or first)
        days.update(day % len(_DAYS) for day in range(low, high + 1 + (high < low) * len(_DAYS)))
    return Hours(text, frozenset(days), begin, end)
