"""What other processes say in a shared store: LISTEN, on a connection and a thread of its own.

The session holds the lock on the process' `server_id`, too: no two living processes may have the
same. A connection that is lost is made anew, second by second; whatever was said meanwhile is not
heard, so then everything has to be looked at again.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, Final

import psycopg
from psycopg import sql
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from c2c_agent.errors import StoreError
from c2c_agent.store.postgres.link import connect, one_line

_log = Logger()

#: Seconds between two attempts to get a connection back.
_AGAIN: Final = 1.0

#: Seconds that the start waits for the lock: a process that has just died may still have it.
_PATIENCE: Final = 5.0

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('c2c-agent ' || %s, 0))"
_SESSION: Final = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"

#: A session of ours whose end the server has not noticed. A pid alone may be another's by now.
_END: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s
"""


class Listener:
    """Tells `heard(channel, payload)` what is said, and `again()` when something was missed.

    Both in the reactor's thread.
    """

    def __init__(
        self,
        conninfo: str,
        server_id: str,
        channels: Sequence[str],
        *,
        reactor: IReactorFromThreads,
        heard: Callable[[str, str], None],
        again: Callable[[], None],
    ) -> None:
        self._conninfo = conninfo
        self._server_id = server_id
        self._channels = channels
        self._reactor = reactor
        self._heard = heard
        self._again = again
        self._connection: psycopg.Connection[Any] | None = None
        self._session: tuple[object, ...] | None = None
        self._stopping = False
        self._waker: socket.socket | None = None
        self._thread = Thread(target=self._listen_always, name="store-listener", daemon=True)
        #: Why nothing is heard; None: it is.
        self.last_error: str | None = None
        #: Whether another process has taken the server_id meanwhile.
        self.usurped = False

    def start(self) -> None:
        """Take the lock, and begin to listen. Raises StoreError."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._connection = self._connected()
            except psycopg.Error as error:
                raise StoreError(one_line(error)) from error
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break
        self._waked, self._waker = socket.socketpair()
        self._thread.start()

    def stop(self) -> None:
        """End it, and give the lock back."""
        self._stopping = True
        if self._waker is not None:
            self._waker.send(b".")
            self._thread.join()
            self._waked.close()
            self._waker.close()
        if self._connection is not None:
            self._connection.close()

    # In the thread

    def _listen_always(self) -> None:
        while not self._stopping:
            try:
                if self._connection is None:
                    self._connection = self._connected()
                    self._reactor.callFromThread(self._back)
                self._listen(self._connection)
            except (psycopg.Error, StoreError) as error:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                self._reactor.callFromThread(self._lost, str(error), isinstance(error, StoreError))
                _wait(self._waked.fileno(), seconds=_AGAIN)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopping:
            for notice in connection.notifies(timeout=0):
                self._reactor.callFromThread(self._heard, notice.channel, notice.payload)
            _wait(connection.fileno(), self._waked.fileno())

    def _connected(self) -> psycopg.Connection[Any]:
        """A connection that has the lock and listens; raises StoreError where another has it."""
        connection = connect(self._conninfo)
        try:
            if self._session is not None:
                connection.execute(_END, self._session)
                self._session = None
            self._lock(connection)
            for channel in self._channels:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._session = connection.execute(_SESSION).fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _lock(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(_LOCK, (self._server_id,)).fetchone()
        if row is None or not row[0]:
            raise StoreError(
                f"another process with the server_id {self._server_id} uses it; each needs one of "
                "its own"
            )

    # In the reactor's thread

    def _lost(self, reason: str, usurped: bool) -> None:
        reason = " ".join(reason.split())
        if self.last_error is None or usurped is not self.usurped:
            _log.error("nothing is heard of the store's other processes: {reason}", reason=reason)
        self.last_error, self.usurped = reason, usurped

    def _back(self) -> None:
        _log.info("the store's other processes are heard again")
        self.last_error, self.usurped = None, False
        self._again()


def _wait(*files: int, seconds: float | None = None) -> None:
    """Wait until one can be read. Not by select(), which takes no file of a number beyond 1023."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    poll.poll(None if seconds is None else seconds * 1000)
