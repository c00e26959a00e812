"""What the clock on the wall shows at a moment, here or in another time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from c2c_agent.config.parse import ConfigError
from c2c_agent.policy.hours import WeekTime


def week_time(at: float, timezone: str | None) -> WeekTime:
    """Weekday and minute at a moment (epoch seconds); `timezone` None is the host's own."""
    shown = datetime.fromtimestamp(at, None if timezone is None else ZoneInfo(timezone))
    return WeekTime(shown.weekday(), shown.hour * 60 + shown.minute)


def check_timezone(timezone: str) -> None:
    """Raise ConfigError where the host knows no such time zone."""
    try:
        ZoneInfo(timezone)
    except (OSError, ValueError, LookupError) as error:
        message = f"configuration: the time zone {timezone!r} is not known here (see timedatectl)"
        raise ConfigError(message) from error
