"""How long things are kept: what is older is deleted, at the start and then every hour.

With a call goes its request_id: the same request is a new one afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()

#: Seconds between two looks.
_INTERVAL: Final = 3600.0

_DAY: Final = 86400.0


class Retention(Service):
    """Deletes what is more than `keep_days` old, by and by.

    `delete` is given a moment, deletes a few of what was before it, and gives how many. `what` are
    the log's words for it.
    """

    name = "retention"

    def __init__(
        self,
        delete: Callable[[float], Deferred[int]],
        what: str = "calls that ended",
        *,
        keep_days: int,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._delete_some = delete
        self._what = what
        self._keep_days = keep_days
        self._now = now
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._delete()))
        self._loop.clock = clock

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Begin, and go on every hour."""
        super().startService()
        self._loop.start(_INTERVAL)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Begin nothing new; a step that is on its way is the last."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    async def _delete(self) -> None:
        """Delete all that is due, step by step: calls that are to be saved come in between."""
        before = self._now() - self._keep_days * _DAY
        total = 0
        try:
            while self.running and (deleted := await self._delete_some(before)):
                total += deleted
        except Exception as error:  # noqa: BLE001 - whatever it is, there is a next time
            message = "{what} long ago could not be deleted: {reason}"
            _log.warn(message, what=self._what, reason=str(error))
        if total:
            message = "deleted {count} {what} more than {days} days ago"
            _log.info(message, count=total, what=self._what, days=self._keep_days)
