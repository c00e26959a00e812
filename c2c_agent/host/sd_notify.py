"""What systemd is told of the agent: that it is ready, how it goes, that its loop turns, its end.

The datagrams of sd_notify(3). Where no systemd asks for them in the environment, nothing is told.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()

#: The longest status. A message over 4,096 bytes is dropped by systemd, so READY=1 could be lost.
_MAX_STATUS = 500


class Supervisor:
    """The systemd that started the process, or nobody.

    `address` is its socket (`@…`: an abstract one), None where there is none. `watchdog`: after how
    many seconds without a sign of life it restarts the agent, None where it never does.
    """

    def __init__(self, address: str | None, watchdog: float | None, clock: IReactorTime) -> None:
        self._address = address
        self._watchdog = watchdog
        self._status = ""
        self._ready = False
        self._signs_of_life = LoopingCall(self._tell, "WATCHDOG=1")
        self._signs_of_life.clock = clock

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int, clock: IReactorTime) -> Supervisor:
        """The one that the environment of the process `pid` names."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        watched = meant and microseconds.isdecimal() and int(microseconds) > 0
        watchdog = int(microseconds) / 1e6 if watched else None
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog, clock)

    def ready(self, status: str) -> None:
        """The agent is ready, as it may have been before; `status` says in words how it goes."""
        # What others sent may stand in the status; a line break in it must not forge a message.
        status = "".join(letter if letter.isprintable() else "?" for letter in status[:_MAX_STATUS])
        if not self._ready:
            self._ready = True
            self._tell("READY=1", f"STATUS={status}")
            if self._address is not None and self._watchdog is not None:
                self._signs_of_life.start(self._watchdog / 2)
        elif status != self._status:
            self._tell(f"STATUS={status}")
        self._status = status

    def reloading(self) -> None:
        """The configuration is read again, until `reloaded`."""
        if self._ready:
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """The configuration was read again, whatever came of it."""
        if self._ready:
            self._tell("READY=1", f"STATUS={self._status}")

    def stopping(self) -> None:
        """The agent stops; what else comes is of no interest to systemd."""
        self._ready = False
        if self._signs_of_life.running:
            self._signs_of_life.stop()
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a systemd that hangs must not keep calls waiting
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            _log.warn("systemd was not told {lines}: {reason}", lines=lines, reason=str(error))
