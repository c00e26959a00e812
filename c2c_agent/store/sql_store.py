"""What all stores share, their threads: one writes, many calls at a time, another reads beside it.

What is to be saved waits in a queue. The writer takes all that is waiting into one transaction
(group commit), so that many calls share the cost of making it durable; a Deferred of `save` fires
when its transaction is. How a transaction is made, the stores themselves say (`store`, `postgres`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from c2c_agent.call.call import Call
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.report.delivery import Report
from c2c_agent.store import calls_table
from c2c_agent.store.call_store import EVERY, Claim, Wanted
from c2c_agent.store.calls_table import Connection

T = TypeVar("T")

#: Jobs in one transaction. Measured: 50,000 rows/s at 20 rows a commit; more gains little.
_BATCH: Final = 500

#: Requests that are claimed in one transaction. Few: those of other processes that decide at the
#: same moment are not seen, so the total of all keys is counted under a lock where it comes that
#: near to its limit (postgres/schema_v5.sql, c2c_running).
CLAIMS_AT_ONCE: Final = 8

#: Seconds that a patient change waits for company. A call that is set up goes through three or four
#: states within as much, of which the last alone is then written.
_LINGER: Final = 0.02


#: Seconds without an answer to anything after which a store counts as one that does not work.
_SILENT: Final = 10.0


@frozen(eq=False)
class _Save:
    call: Call
    reports: Sequence[Report]
    done: Deferred[None]


@frozen(eq=False)
class _Change:
    change: Callable[[Connection], Any]
    done: Deferred[Any]


@frozen(eq=False)
class Asked:
    """A request that this process wants to have, with what judges it: see `SqlStore.claim`."""

    call: Call
    key: Key | None
    limits: CallsConfig


@frozen(eq=False)
class _Claim:
    asked: Asked
    done: Deferred[Claim]


_Job: TypeAlias = _Save | _Change | _Claim


class SqlStore(ABC):
    """A store in a database that speaks SQL; `server_id` says whose part of it this is."""

    #: Whether other processes use it, too: then it is the store that counts calls.
    shared: ClassVar[bool]

    def __init__(self, server_id: str, reactor: Any) -> None:
        self.server_id = server_id
        self._reactor = reactor
        self._queue: SimpleQueue[Sequence[_Job] | None] = SimpleQueue()
        self._patient: list[_Job] = []  # not given to the writer yet
        self._linger: IDelayedCall | None = None
        self._thread = Thread(target=self._write_all, name="store-writer", daemon=True)
        self._closed = False
        # By request, of transactions that failed: they go with the next change of that call.
        self._owed: dict[str, list[Report]] = {}
        self._write_error: str | None = None
        self._unanswered = 0  # jobs that wait
        self._silent_since = 0.0  # by the reactor's clock; while jobs wait
        self._readers = ThreadPool(minthreads=0, maxthreads=1, name="store-reader")
        # A process that has failed to close the store must still be able to end.
        self._readers.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]

    # What each kind of store does in its own way

    @abstractmethod
    def _connect(self) -> None:
        """Make the connections, and the schema where there is none. Raises StoreError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """End them."""

    @abstractmethod
    def _transaction(self, change: Callable[[Connection], T]) -> T:
        """Make a change in a transaction of its own, durable at the return; the writer's thread."""

    @abstractmethod
    def _query(self, query: Callable[[Connection], T]) -> T:
        """What a query gives; in the reader's thread, and at the start in the reactor's."""

    @abstractmethod
    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:
        """Take a request for this process, unless it was made before.

        A call that is to be placed comes with its `key`, by whose limits it is judged where the
        store counts calls, and by the `limits` of all. Fails with StoreError.
        """

    @abstractmethod
    def _decide(self, writer: Connection, asked: Sequence[Asked]) -> Sequence[Claim]:
        """Claim requests, in order, within a transaction: `CLAIMS_AT_ONCE` at the most."""

    def _save_all(self, calls: Sequence[Call], reports: Sequence[Report]) -> None:
        """Write calls and reports in one transaction, durable at the return; writer's thread."""
        self._transaction(lambda writer: self._write(writer, calls, reports))

    def _write(self, writer: Connection, calls: Sequence[Call], reports: Sequence[Report]) -> None:
        """Write calls and reports, within a transaction."""
        calls_table.save(writer, self.server_id, calls, reports)

    # For everybody

    @property
    def last_error(self) -> str | None:
        """Why the store does not work: a transaction failed, or does not end; None: it works."""
        silent = self._reactor.seconds() - self._silent_since
        if self._unanswered and silent >= _SILENT:
            return f"the store has not answered for {silent:.0f} s"
        return self._write_error

    def open(self) -> None:
        """Open it, or make it, and start the threads. Raises StoreError."""
        self._connect()
        self._thread.start()
        self._readers.start()

    def close(self) -> None:
        """Write what is waiting, and close it."""
        self._closed = True
        if self._linger is not None:
            self._linger.cancel()
        self.hurry()
        self._queue.put(None)
        self._thread.join()
        self._readers.stop()
        self._disconnect()

    def save(
        self, call: Call, reports: Sequence[Report] = (), *, patient: bool = False
    ) -> Deferred[None]:
        """Keep the call as it is now, and with it the reports of its change.

        Fires when that is durable, fails with StoreError. Reports are kept even so, and written
        when this call is saved next. `patient`: it may wait a moment for others to be written with.
        """
        return self._put(_Save(call, reports, Deferred()), patient=patient)

    def delete_ended(self, before: float) -> Deferred[int]:
        """Delete calls that ended before a moment: the oldest few, and how many those were.

        Few, so that a call that is to be saved never waits long; ask again until there are none.
        """
        return self.write(lambda writer: calls_table.delete_ended(writer, before))

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """Make a change in a transaction of its own; fires with what it gives.

        It runs in the writer's thread, after the calls that wait to be saved: so it has to be
        short. Fails with StoreError.
        """
        return self._put(_Change(change, Deferred()))

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """What a query gives; it runs in the reader's thread."""
        return deferToThreadPool(self._reactor, self._readers, self._query, query)

    def find(self, request_id: str) -> Deferred[Call | None]:
        """The call of a request."""
        return self.read(lambda reader: calls_table.find(reader, request_id))

    def recent(
        self, limit: int, key_name: str | None = None, wanted: Wanted = EVERY
    ) -> Deferred[list[Call]]:
        """The latest calls that are wanted, newest first: of one key, or of all."""
        return self.read(lambda reader: calls_table.recent(reader, limit, key_name, wanted))

    def unfinished(self) -> list[Call]:
        """This process' calls that have not ended, in order of arrival. Blocks; for the start."""
        return self._query(lambda reader: calls_table.unfinished(reader, self.server_id))

    def placed_since(self, moment: float) -> list[tuple[str, float]]:
        """Key and time of the requests since `moment` that were not refused. For the start."""
        return self._query(lambda reader: calls_table.placed_since(reader, moment))

    def _claim(self, asked: Asked) -> Deferred[Claim]:
        """Have a request claimed, before the calls that wait to be saved."""
        return self._put(_Claim(asked, Deferred()))

    def _put(self, job: _Job, *, patient: bool = False) -> Deferred[Any]:
        if self._closed:
            return fail(StoreError("the store is closed"))
        if not self._unanswered:
            self._silent_since = self._reactor.seconds()
        self._unanswered += 1
        self._patient.append(job)
        if not patient:
            self.hurry()
        elif self._linger is None:
            self._linger = self._reactor.callLater(_LINGER, self._lingered)
        return job.done

    def _lingered(self) -> None:
        self._linger = None
        self.hurry()

    def hurry(self) -> None:
        """Give the writer all that waits, at once: so it goes into one transaction."""
        if self._patient:
            self._queue.put(self._patient)
            self._patient = []

    # In the writer's thread

    def _write_all(self) -> None:
        while (jobs := self._queue.get()) is not None:
            batch, last = self._waiting([*jobs])
            claims = [job for job in batch if isinstance(job, _Claim)]
            for together in _together(claims):
                self._claim_all(together)
            saves = [job for job in batch if isinstance(job, _Save)]
            if saves:
                self._reactor.callFromThread(self._tell, saves, self._commit(saves))
            # After the calls, which somebody waits for.
            for job in batch:
                if isinstance(job, _Change):
                    given = self._changed(job.change)
                    self._reactor.callFromThread(self._tell_changed, job, given)
            if last:
                return

    def _waiting(self, batch: list[_Job]) -> tuple[list[_Job], bool]:
        """Everything that waits to be written, and whether it is the last."""
        while len(batch) < _BATCH:
            try:
                jobs = self._queue.get_nowait()
            except Empty:
                break
            if jobs is None:
                return batch, True
            batch += jobs
        return batch, False

    def _claim_all(self, claims: Sequence[_Claim]) -> None:
        """Claim requests in one transaction, in order."""
        given = self._changed(
            lambda writer: list(self._decide(writer, [job.asked for job in claims]))
        )
        told = given if isinstance(given, list) else [given] * len(claims)
        for job, one in zip(claims, told, strict=True):
            self._reactor.callFromThread(self._tell_changed, job, one)

    def _commit(self, saves: Sequence[_Save]) -> StoreError | None:
        """Write calls in one transaction; of several for the same call the last is enough."""
        calls = calls_table.latest(save.call for save in saves)
        for save in saves:
            if save.reports:
                self._owed.setdefault(save.call.request_id, []).extend(save.reports)
        owed = [report for call in calls for report in self._owed.get(call.request_id, ())]

        error = self._attempt(lambda: self._save_all(calls, owed))
        if isinstance(error, StoreError):
            return error
        for call in calls:
            self._owed.pop(call.request_id, None)
        return None

    def _changed(self, change: Callable[[Connection], Any]) -> object:
        """What a change gave, or a StoreError; if it fails, no call fails with it."""
        return self._attempt(lambda: self._transaction(change))

    @staticmethod
    def _attempt(work: Callable[[], T]) -> T | StoreError:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever it is, this thread has to go on
            return StoreError(str(error))

    # In the reactor's thread

    def _tell(self, saves: list[_Save], error: StoreError | None) -> None:
        """The fate of a transaction."""
        self._answered(len(saves))
        self._write_error = None if error is None else str(error)
        for job in saves:
            if error is None:
                job.done.callback(None)
            else:
                job.done.errback(error)

    def _tell_changed(self, job: _Change | _Claim, given: Any) -> None:
        self._answered(1)
        if isinstance(given, StoreError):
            job.done.errback(given)
        else:
            job.done.callback(given)

    def _answered(self, jobs: int) -> None:
        self._unanswered -= jobs
        self._silent_since = self._reactor.seconds()


def _together(claims: Sequence[_Claim]) -> Iterator[Sequence[_Claim]]:
    """Those that one transaction decides about, in order.

    Where a key has repeated calls answered, each comes alone: it may repeat the one before.
    """
    batch: list[_Claim] = []
    for job in claims:
        alone = job.asked.key is not None and job.asked.key.repeat_window > 0
        if batch and (alone or len(batch) == CLAIMS_AT_ONCE):
            yield batch
            batch = []
        batch.append(job)
        if alone:
            yield batch
            batch = []
    if batch:
        yield batch
