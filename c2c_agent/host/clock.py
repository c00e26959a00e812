"""The program's clocks, and which of them is asked for what.

The host's clock may be set: by an hour, forward or back, at any moment. So

* **how long** something took or may take (ringing, talk, timeouts, guards, the minute and the day
  of a key's limits, when a report is sent again, how old a call is) is asked of the steady clock,
  `SteadyClock.now`, which nobody can set. All stamps in a call and in the store are its own. It
  goes on over restarts of the agent, as long as the host is not booted anew;
* **what time it is** for others (`expires` of a job, hours of a key, a webhook's timestamp and
  `Retry-After`, when a relay's job expires) is asked of the host's clock at that moment, `wall`;
* what is **shown** of a call are its stamps moved by `Call.clock_ahead`: how far the host's clock
  was ahead of the steady one when the call came in. So they are the time of day, and still as far
  apart as things were;
* timers are the reactor's, which has to be told (`keep_steady`): Twisted's own count on the host's
  clock (twisted.python.runtime.seconds is time.time).

What Asterisk stamps itself (asterisk-conf/c2c-bridge.conf, context c2c-result) are times of the PBX
host's clock: they are only compared with each other, and moved together to the steady clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from twisted.logger import Logger

from c2c_agent.errors import ConfigError
from c2c_agent.host.files import write_anew
from c2c_agent.policy.hours import WeekTime

_log = Logger()

#: Where Linux says which boot this is; a unit that may not see it passes it on (its %b).
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_VARIABLE: Final = "C2C_BOOT_ID"

#: Seconds of difference that are none: reading two clocks takes a moment.
_NOTHING: Final = 0.5

#: Seconds by which a clock that is set at most is kept apart; beyond that it was no clock before.
_MOST: Final = 86400.0


class SteadyClock:
    """Epoch seconds as they were at the start, plus the seconds that have passed since.

    `host` and `monotonic` are `time.time` and `time.monotonic`, or a test's own.
    """

    def __init__(
        self,
        host: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._monotonic = monotonic
        self._anchor = host() - monotonic()

    def now(self) -> float:
        """Epoch seconds that never jump: for stamps, and for how long things take."""
        return self._anchor + self._monotonic()

    def wall(self) -> float:
        """Epoch seconds as the host's clock has them at this moment."""
        return self._host()

    def ahead(self) -> float:
        """By how many seconds the host's clock is ahead of the steady one, for it was set."""
        ahead = self._host() - self.now()
        return ahead if abs(ahead) > _NOTHING else 0.0

    def go_on(self, file: Path, boot: str | None) -> None:
        """Go on as the clock of before a restart did in this boot; `file` is its memory.

        Where there is none, or none of this `boot`, it begins here. A host whose clock was off by
        more than a day had none.
        """
        if boot is None:
            return
        with suppress(OSError, ValueError):
            kept, anchor = file.read_text(encoding="ascii").split()
            if kept == boot and abs(float(anchor) - self._anchor) < _MOST:
                self._anchor = float(anchor)
                return
        try:
            write_anew(file, f"{boot} {self._anchor!r}\n".encode("ascii"), 0o600)
        except OSError as error:
            _log.warn(
                "{file} could not be written: {reason}", file=str(file), reason=error.strerror
            )


def boot_id() -> str | None:
    """Which boot of the host this is; None where nothing tells."""
    given = os.environ.get(_BOOT_VARIABLE)
    if given is None:
        try:
            given = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            return None
    return given.replace("-", "").lower() or None


def keep_steady(reactor: Any) -> None:
    """Have a reactor count its timers on a clock that nobody can set; before it has any."""
    reactor.seconds = time.monotonic


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
