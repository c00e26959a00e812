"""The kill switch: a file beside the store. While it is there, no call is placed.

A file holds over restarts, and can be made where no agent runs. It is looked at for every call, so
it counts at once; what has to be done when it appears (a line in the log, hanging up),
`StopSwitchService` does within a second. A file that cannot be read, or that says nothing, stops
calls all the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from c2c_agent.host.files import write_anew

_log = Logger()

FILE_NAME: Final = "calls.stopped"

#: Seconds between two looks.
_INTERVAL: Final = 0.5

_LONGEST_REASON: Final = 500


@frozen
class Stopped:
    """Calls are stopped, for this reason; `hang_up`: those in progress are hung up, too."""

    reason: str = ""
    hang_up: bool = False

    def __str__(self) -> str:
        """In words, for the admin."""
        return f"calls are stopped: {self.reason}" if self.reason else "calls are stopped"


class StopSwitch:
    """The switch of the agent whose store is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / FILE_NAME

    def state(self) -> Stopped | None:
        """Whether calls are stopped, and why; None if they are not."""
        try:
            text = self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return Stopped(f"{self.file} cannot be read ({error.strerror})")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return Stopped()
        return Stopped(str(said.get("reason") or ""), hang_up=said.get("hang_up") is True)

    def stop(self, stopped: Stopped) -> None:
        """Stop calls; raises OSError where the file cannot be made.

        Root makes it for whom its directory belongs to.
        """
        said = {"reason": stopped.reason[:_LONGEST_REASON], "hang_up": stopped.hang_up}
        owner = None
        if os.geteuid() == 0:
            folder = self.file.parent.stat()
            owner = folder.st_uid, folder.st_gid
        write_anew(self.file, f"{json.dumps(said)}\n".encode(), 0o640, owner)

    def start(self) -> bool:
        """Let calls be placed again; whether they had been stopped. Raises OSError."""
        was = self.file.exists()
        self.file.unlink(missing_ok=True)
        return was


class StopSwitchService(Service):
    """Notices that the switch was turned; `hang_up` ends all calls in progress, and counts them."""

    name = "stop-watch"

    def __init__(
        self,
        switch: StopSwitch,
        hang_up: Callable[[], int],
        clock: IReactorTime,
    ) -> None:
        self._switch = switch
        self._hang_up = hang_up
        self._seen: Stopped | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to look."""
        super().startService()
        self._loop.start(_INTERVAL)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Leave no timer behind."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    def stop(self, reason: str, *, hang_up: bool) -> int:
        """Stop calls, at once; how many are hung up. Raises OSError."""
        self._switch.stop(Stopped(reason, hang_up=hang_up))
        return self.look()

    def start(self) -> bool:
        """Let calls be placed again; whether they had been stopped. Raises OSError."""
        was = self._switch.start()
        self.look()
        return was

    def _look(self) -> None:
        with _log.failuresHandled("a mistake where the kill switch was turned"):
            self.look()

    def look(self) -> int:
        """Do what is to be done where it was turned; how many calls were hung up."""
        stopped, seen = self._switch.state(), self._seen
        if stopped == seen:
            return 0
        self._seen = stopped
        if stopped is None:
            _log.info("calls are placed again")
            return 0
        _log.warn("{what}; no call is placed until c2c-agent start-calls", what=str(stopped))
        if not stopped.hang_up:
            return 0
        count = self._hang_up()
        _log.warn("{count} calls in progress are hung up", count=count)
        return count
