"""What a process has of others that share its store: the news, and the keys in it.

Between `store.postgres`, which hears of everything, and the parts of the agent that have to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.call.call import Call
from c2c_agent.config.pbx import RelayConfig
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.neighbours import Neighbours, SharedStore
from c2c_agent.report.live import Followed, Live, OfKey, OfRequest
from c2c_agent.store.call_store import CallStore, KeyRow
from c2c_agent.store.calls_table import Connection

T = TypeVar("T")

_log = Logger()

#: Seconds until what could not be read is read again.
_AGAIN: Final = 5.0


#: Seconds that another process of the same store has to answer a request: without a relay's limit,
#: and beyond it.
_ANSWER: Final = 30.0

#: Seconds between two looks for processes that are not there any more.
_LOOK: Final = 60.0

_SPARE: Final = 5.0


class News(Protocol):
    """What is needed of `postgres.PostgresStore`."""

    observer: Any

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """What a query gives."""

    def read_at_once(self, query: Callable[[Connection], T]) -> T:
        """What a query gives. Blocks."""

    def keys(self, connection: Connection) -> Sequence[KeyRow]:
        """A query: the keys in the table."""

    def cancelled(self, connection: Connection) -> Sequence[str]:
        """A query: the calls of this process that somebody wants to end."""

    def missing(self, connection: Connection) -> Mapping[str, int]:
        """A query: processes that are not there, and how many calls each has in progress."""

    def recount(self) -> Deferred[None]:
        """See that what is in progress is counted rightly."""


class Sharing:
    """Takes the news to who has to know: the `SharedObserver` of a store.

    `keys` takes the rows of the table of keys; `cancel` ends a call if it is one of this process.
    """

    def __init__(
        self,
        store: News,
        neighbours: Neighbours,
        *,
        keys: Callable[[Sequence[KeyRow]], None],
        cancel: Callable[[str], object],
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._neighbours = neighbours
        self._keys = keys
        self._cancel = cancel
        self._clock = clock
        self._again: IDelayedCall | None = None  # what could not be read is read then
        self._stopped = False
        self._missing: AbstractSet[str] = frozenset()  # processes
        self._looking: IDelayedCall | None = None
        store.observer = self

    def start(self) -> None:
        """Take what has happened while this process was not there. Blocks."""
        self._keys(self._store.read_at_once(self._store.keys))
        self._cancel_all(self._store.read_at_once(self._store.cancelled))
        self._looking = self._clock.callLater(_LOOK, self._look)

    def stop(self) -> None:
        """Read nothing any more."""
        self._stopped = True
        self._neighbours.stop()
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    # Processes that are not there

    def _look(self) -> None:
        looking = self._store.read(self._store.missing)
        looking.addCallbacks(self._found_missing, self._unread)
        looking.addBoth(lambda _: self._look_again())

    def _look_again(self) -> None:
        if not self._stopped:
            self._looking = self._clock.callLater(_LOOK, self._look)

    def _found_missing(self, missing: Mapping[str, int]) -> None:
        """Count anew where a process was lost; its calls go on, and count until it is back."""
        for server_id in sorted(missing.keys() - self._missing):
            _log.warn(
                "the process {server_id} is not there; its {count} calls in progress count "
                "against the limits until it is back",
                server_id=server_id,
                count=missing[server_id],
            )
            self._store.recount().addErrback(self._unread)
        self._missing = frozenset(missing)

    # SharedObserver

    def changed_elsewhere(self, request_id: str, key_name: str) -> None:
        """A call of another process has changed, and the store has it."""
        self._neighbours.changed_elsewhere(request_id, key_name)

    def cancel_wanted(self, request_id: str) -> None:
        """Somebody wants a call to end; it may be this process'."""
        self._cancel(request_id)

    def keys_changed(self) -> None:
        """The table of keys has changed."""
        reading = self._store.read(self._store.keys)
        reading.addCallbacks(self._keys, self._unread)

    def missed(self) -> None:
        """Any of these may have happened."""
        self._neighbours.missed()
        self.keys_changed()
        reading = self._store.read(self._store.cancelled)
        reading.addCallbacks(self._cancel_all, self._unread)

    def _cancel_all(self, request_ids: Iterable[str]) -> None:
        for request_id in request_ids:
            self._cancel(request_id)

    def _unread(self, failure: Failure) -> None:
        # Its own connection may be well while the listener's is not, and the other way round: so
        # nobody else says when it can be read again.
        if self._again is None and not self._stopped:
            reason = failure.getErrorMessage()
            _log.warn("the store could not be read: {reason}", reason=reason)
            self._again = self._clock.callLater(_AGAIN, self._read_again)

    def _read_again(self) -> None:
        self._again = None
        self.missed()


class ForeignStreams:
    """Tells who follows calls of other processes what has happened to these.

    The streams of events are this process' own; what there is to tell, the store has.
    """

    def __init__(self, live: Live, dispatcher: Dispatcher, store: CallStore) -> None:
        self._live = live
        self._dispatcher = dispatcher
        self._store = store

    def follow(self, neighbours: Neighbours) -> None:
        """Hear of their calls from now on, as far as somebody follows them."""
        neighbours.observers.append(self._changed)
        neighbours.missed_observers.append(self._missed)
        self._live.follows = partial(self._follows, neighbours)

    def _follows(self, neighbours: Neighbours, followed: Followed, is_followed: bool) -> None:
        match followed:
            case OfRequest(request_id):
                if not is_followed:
                    neighbours.unfollow_request(request_id)
                elif self._dispatcher.known(request_id) is None:  # it is none of this process
                    neighbours.follow_request(request_id)
            case OfKey(name):
                subject = "all" if name is None else f"key {name}"
                if is_followed:
                    neighbours.follow(subject)
                elif not self._live.follows_key(name):  # nor a part of its calls
                    neighbours.unfollow(subject)

    def _changed(self, request_id: str, key_name: str) -> None:
        if self._live.is_followed(request_id, key_name):
            self._catch_up(request_id)

    def _missed(self) -> None:
        for request_id in self._live.followed_requests():
            self._catch_up(request_id)

    def _catch_up(self, request_id: str) -> None:
        if self._dispatcher.known(request_id) is not None:
            return  # it is one of this process

        def found(call: Call | None) -> None:
            if call is not None:
                self._live.catch_up(call)

        self._store.find(request_id).addCallback(found).addErrback(
            lambda failure: _log.warn(
                "call {call} could not be looked at: {reason}",
                call=request_id,
                reason=failure.getErrorMessage(),
            )
        )


def neighbours_of(
    store: SharedStore, drivers: Mapping[str, Any], relay: RelayConfig | None, clock: IReactorTime
) -> Neighbours:
    """The other processes of a shared store."""
    answer_timeout = _ANSWER if relay is None else relay.answer_timeout + _SPARE
    return Neighbours(store, drivers, answer_timeout=answer_timeout, clock=clock)
