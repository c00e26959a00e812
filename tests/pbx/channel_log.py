"""What a test PBX notes of its channels, each with the time at which it happened.

An AMI event is stamped when Asterisk's AMI thread writes it (`timestampevents`; main/manager.c,
`__manager_event_sessions_va`), which on a busy machine is later, and two that are far apart may be
written together. A channel event record (CEL) has the time of the message that the channel's own
thread sent (main/cel.c, `stasis_message_timestamp`). `etc/cel_custom.conf` says what a line has.
"""

from __future__ import annotations

import csv
import json
from threading import Lock
from typing import TYPE_CHECKING

from attrs import frozen

from tests.pbx.moments import ahead

if TYPE_CHECKING:
    from pathlib import Path


@frozen
class Record:
    """One record: what happened, to which channel (its id), and when.

    `at` is a moment of `time.monotonic()`; `bridge` is the id of the bridge that was entered or
    left, and None for what is no matter of bridges.
    """

    kind: str
    at: float
    channel: str
    bridge: str | None


def parse(line: str, off: float) -> Record:
    """Read a line; its clock is ahead of the steady one by `off` seconds."""
    kind, stamp, channel, extra = next(csv.reader([line]))
    bridge = json.loads(extra).get("bridge_id") if extra else None
    return Record(kind, float(stamp) - off, channel, bridge)


class ChannelLog:
    """Reads what a running PBX records from now on, as far as it is written, in whatever thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self._records: dict[str, list[Record]] = {}
        self._one_reader = Lock()

    def of(self, channel: str) -> list[Record]:
        """Return the records of a channel so far, in order."""
        with self._one_reader:
            self._take()
            return list(self._records.get(channel, ()))

    def _take(self) -> None:
        """Read what has come since the last time; a line that is not complete yet waits."""
        if not self._path.exists() or self._path.stat().st_size == self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        off = ahead()
        for line in lines:
            record = parse(line.decode("utf-8", "backslashreplace"), off)
            self._records.setdefault(record.channel, []).append(record)
