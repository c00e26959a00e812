"""The log: one line an event on standard error, as an admin reads it, with nothing secret in it.

Telephone numbers stand in events under the names of `NUMBERS` and are masked here, in one place,
unless the configuration says otherwise. Under systemd each line begins with its priority
(`<6>`, sd-daemon(3)) and has no time of its own, as the journal has one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import implementer

#: The fields of an event that hold telephone numbers.
NUMBERS: Final = ("dial_first", "dial_second", "dial_as")

#: Priorities of syslog(3).
_PRIORITIES: Final = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}


def mask(number: str) -> str:
    """Hide a number but for its last two characters, of a short one its last."""
    shown = 2 if len(number) > 4 else 1  # noqa: PLR2004 - the length of an internal extension
    return "*" * (len(number) - shown) + number[-shown:]


@implementer(ILogObserver)
class LineObserver:
    """Writes each event as one line."""

    def __init__(self, stream: TextIO, *, full_numbers: bool, journal: bool) -> None:
        self.full_numbers = full_numbers
        self._stream = stream
        self._journal = journal

    def __call__(self, event: LogEvent) -> None:
        """Write the event."""
        if not self.full_numbers:
            event = {**event, **{name: mask(event[name]) for name in NUMBERS if event.get(name)}}
        level = event.get("log_level") or LogLevel.info
        lines = [formatEvent(event), *_traceback(event)]
        # What others sent may stand in an event; a line break in it must not forge a line.
        text = " | ".join(part for line in lines for part in line.splitlines() if part.strip())
        if not text.isprintable():
            text = "".join(letter if letter.isprintable() else "?" for letter in text)
        if self._journal:
            self._stream.write(f"<{_PRIORITIES[level]}>{text}\n")
        else:
            when = datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds")
            self._stream.write(f"{when} {level.name:5} {text}\n")
        self._stream.flush()


def _traceback(event: LogEvent) -> list[str]:
    failure = event.get("log_failure")
    return [] if failure is None else [failure.getTraceback()]


def _is_journal(stream: TextIO) -> bool:
    """Whether what is written there goes to the journal, as systemd says (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Log:
    """The log that was begun, to change what it shows."""

    def __init__(self, observer: LineObserver, predicate: LogLevelFilterPredicate) -> None:
        self._observer = observer
        self._predicate = predicate

    def change(self, level: str, *, full_numbers: bool) -> None:
        """Show from now on what is of `level` or above, with numbers in full or masked."""
        self._observer.full_numbers = full_numbers
        lowest = LogLevel.levelWithName(level)
        self._predicate.setLogLevelForNamespace("", lowest)
        # Twisted's own chatter about factories and ports tells an admin nothing.
        for namespace in ("twisted", "log_legacy"):
            self._predicate.setLogLevelForNamespace(namespace, max(LogLevel.warn, lowest))


def start(
    level: str,
    *,
    full_numbers: bool,
    stream: TextIO | None = None,
    begin: Callable[..., Any] = globalLogBeginner.beginLoggingTo,
) -> Log:
    """Begin to log to `stream` (standard error) what is of `level` or above."""
    stream = stream or sys.stderr
    observer = LineObserver(stream, full_numbers=full_numbers, journal=_is_journal(stream))
    predicate = LogLevelFilterPredicate()
    log = Log(observer, predicate)
    log.change(level, full_numbers=full_numbers)
    begin([FilteringLogObserver(observer, [predicate])], redirectStandardIO=False)
    return log
