"""Who follows calls as they happen, and what each still has to be told.

Pure. The dispatcher's changes come in by `call_changed`; where several processes share a store, the
calls of the others by `catch_up`. An event goes to those who follow its request, its key, or all
calls; where there are none it costs nothing. Each has a `Watch` of its own, in which a bounded
number of events wait: so nobody waits for who is slow, and who has too many waiting is let go
rather than told half of it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeAlias

from attrs import frozen

from c2c_agent.call.call import Call
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.report.event import FINAL, EventType, event_json, event_type
from c2c_agent.report.history import history

#: Events that may wait for one reader, whatever their size.
_MOST_EVENTS: Final = 1000

#: Events of a call of another process that is looked at for the first time, up to which it has only
#: just begun.
_FEW: Final = 2


@frozen
class LiveEvent:
    """An event, and its text as the HTML Standard (section 9.2) has event streams.

    All readers have the same bytes.
    """

    id: str
    text: bytes
    final: bool


def live_event(call: Call, event: EventType, *, server_id: str, at: float) -> LiveEvent:
    """The event of a call as it is now; `at` is when it happened."""
    told = event_json(call, event, server_id=server_id, at=at)
    data = json.dumps(told, separators=(",", ":"))
    text = f"id: {told['id']}\nevent: {event.value}\ndata: {data}\n\n"
    return LiveEvent(told["id"], text.encode(), event in FINAL)


@frozen
class OfRequest:
    """The call of a request."""

    request_id: str


@frozen
class OfKey:
    """All calls of a key, or those that ring `first` first; of every key, where it is None."""

    name: str | None
    first: str | None = None


Followed: TypeAlias = OfRequest | OfKey


class Live:
    """All readers. It is a `CallObserver` of the dispatcher.

    At most `most` readers at once, and `most_each` of one owner (a key, or an address); for each at
    most `buffer` bytes wait.
    """

    def __init__(self, server_id: str, *, most: int, most_each: int, buffer: int) -> None:
        self._server_id = server_id
        self._most = most
        self._most_each = most_each
        self._buffer = buffer
        self._watches: dict[Followed, dict[Watch, None]] = {}
        self._owners: Counter[str] = Counter()
        self._closed = False
        #: Of calls of other processes, the ids of the events that were told.
        self._told: dict[str, set[str]] = {}
        #: How many readers were let go because they were too slow.
        self.cut = 0
        #: Told when something gets its first reader (True), and when it has lost its last (False).
        self.follows: Callable[[Followed, bool], None] = _nowhere

    # Events

    def call_changed(self, before: Call, after: Call) -> None:
        """Tell who follows a call what has happened to it, if that is told at all."""
        event = event_type(before, after)
        if event is not None:
            self.publish(after, event)

    def publish(self, call: Call, event: EventType) -> None:
        """Tell who follows a call that this has just happened to it."""
        watches = self._who_follows(call)
        if watches and event is not EventType.PLACED:  # that is for relays alone
            made = self.event(call, event, call.timeline[-1].at)
            for watch in watches:
                watch.push(made)

    def event(self, call: Call, event: EventType, at: float) -> LiveEvent:
        """An event as it is told here, or by the process that has the call."""
        return live_event(call, event, server_id=call.server_id or self._server_id, at=at)

    def past(self, call: Call) -> list[LiveEvent]:
        """All events of a call so far."""
        return [
            self.event(happened.call, happened.type, happened.call.timeline[-1].at)
            for happened in history(call)
        ]

    # Calls of other processes

    def is_followed(self, request_id: str, key_name: str) -> bool:
        """Whether anybody wants to hear of such a call, which has changed.

        Where nobody does any more, `catch_up` will not see its end: so nothing is kept of it.
        """
        followed = OfRequest(request_id) in self._watches or any(
            isinstance(one, OfKey) and one.name in {None, key_name} for one in self._watches
        )
        if not followed:
            self._told.pop(request_id, None)
        return followed

    def follows_key(self, name: str | None) -> bool:
        """Whether anybody follows calls of this key, be it all of them or a part."""
        return any(isinstance(one, OfKey) and one.name == name for one in self._watches)

    def followed_requests(self) -> list[str]:
        """The requests that are followed by their ids."""
        return [one.request_id for one in self._watches if isinstance(one, OfRequest)]

    def catch_up(self, call: Call) -> None:
        """Tell what has happened to a call that another process has, as its store has it now.

        Several changes may have become one there. Who follows a request hears of each; who follows
        a key does so of calls that came after the first look at them, else of the latest.
        """
        events = self.past(call)
        if not events:
            return
        told = self._told.get(call.request_id)
        if told is None:
            began_lately = len(events) <= _FEW
            told = set() if began_lately else {event.id for event in events[:-1]}
        request = list(self._watches.get(OfRequest(call.request_id), ()))
        others = [watch for watch in self._who_follows(call) if watch not in request]
        for event in events:
            for watch in request:
                watch.push(event)  # it knows by itself what it has had
            if event.id not in told:
                for watch in others:
                    watch.push(event)
        if events[-1].final or not others:
            self._told.pop(call.request_id, None)
        else:
            self._told[call.request_id] = told | {event.id for event in events}

    def _who_follows(self, call: Call) -> list[Watch]:
        followed: list[Followed] = [OfRequest(call.request_id), OfKey(call.key), OfKey(None)]
        if call.job is not None:
            followed.append(OfKey(call.key, call.job.dial_first))
        return [watch for one in followed for watch in self._watches.get(one, ())]

    # Readers

    @property
    def open(self) -> int:
        """How many readers there are."""
        return self._owners.total()

    @property
    def tokens(self) -> set[tuple[str, str]]:
        """The tokens that somebody reads with: name of the key, and id."""
        return {
            (watch.owner, watch.token)
            for watches in self._watches.values()
            for watch in watches
            if watch.token is not None
        }

    def follow_request(self, request_id: str, owner: str, token: str | None = None) -> Watch:
        """Follow a request, whether there is one or not, to its end; raises ApiError.

        `token`: the id of that which the reader has shown.
        """
        return self._follow(OfRequest(request_id), owner, token)

    def follow_key(
        self, name: str | None, owner: str, first: str | None = None, token: str | None = None
    ) -> Watch:
        """Follow all calls of a key from now on, or those of every key; raises ApiError.

        `first`: only those that ring this number first. `token`: likewise.
        """
        return self._follow(OfKey(name, first), owner, token)

    def _follow(self, followed: Followed, owner: str, token: str | None) -> Watch:
        if self._closed:
            raise ApiError(Fault(ErrorCode.PBX_UNAVAILABLE, "The agent is shutting down."))
        if self.open >= self._most or self._owners[owner] >= self._most_each:
            raise ApiError(Fault(ErrorCode.TOO_MANY_STREAMS, "Too many event streams are open."))
        watch = Watch(
            buffer=self._buffer,
            to_its_end=isinstance(followed, OfRequest),
            left=lambda: self._leave(followed, watch),
            owner=owner,
            token=token,
        )
        self._owners[owner] += 1
        if followed not in self._watches:
            self._watches[followed] = {}
            self.follows(followed, True)
        self._watches[followed][watch] = None
        return watch

    def _leave(self, followed: Followed, watch: Watch) -> None:
        self._owners[watch.owner] -= 1
        if not self._owners[watch.owner]:
            del self._owners[watch.owner]
        watches = self._watches[followed]
        del watches[watch]
        self.cut += watch.behind
        if not watches:
            del self._watches[followed]
            self.follows(followed, False)

    # Ends

    def forbid(self, key_names: Collection[str]) -> None:
        """End what follows these keys' calls, or is read with them: they are not valid any more."""
        for followed, watches in list(self._watches.items()):
            of_key = isinstance(followed, OfKey) and followed.name in key_names
            self._end([watch for watch in watches if of_key or watch.owner in key_names])

    def revoke(self, key_name: str, token: str) -> None:
        """End what is read with a token: it is not valid any more."""
        shown = (key_name, token)
        for watches in list(self._watches.values()):
            self._end([watch for watch in watches if (watch.owner, watch.token) == shown])

    def close(self) -> None:
        """End all, and let nobody in any more."""
        self._closed = True
        self._end([watch for watches in self._watches.values() for watch in watches])

    def _end(self, watches: Iterable[Watch]) -> None:
        for watch in list(watches):
            watch.end()


class Watch:
    """What waits for one reader: it is woken when there is something, and takes when it can.

    `owner` is the reader's key, or address; `token` the id of a token of that key, if it has one.
    `behind`: the reader is too slow, and nothing waits for it any more. `ended`: what can be taken
    now is the last.
    """

    def __init__(
        self,
        *,
        buffer: int,
        to_its_end: bool,
        left: Callable[[], None],
        owner: str,
        token: str | None,
    ) -> None:
        self.owner = owner
        self.token = token
        self._buffer = buffer
        self._to_its_end = to_its_end
        self._left: Callable[[], None] | None = left
        self._waiting: deque[LiveEvent] = deque()
        self._bytes = 0
        self._had: set[str] = set()  # the ids of the events of its request
        self.behind = False
        self.ended = False
        #: Called when there is something to take, or nothing more will come. It must not raise.
        self.woken: Callable[[], None] = _nobody

    def begin(self, past: Iterable[LiveEvent], last_id: str = "") -> None:
        """Put what has happened so far before what has come since this watch began.

        Only what came after the event with `last_id`, where there was such a one.
        """
        earlier = list(past)
        known = {event.id for event in earlier}
        events = [*earlier, *(event for event in self._waiting if event.id not in known)]
        seen = next((n for n, event in enumerate(events, 1) if event.id == last_id), 0)
        self._had |= {event.id for event in events}
        self._waiting = deque(events[seen:])
        self._bytes = sum(len(event.text) for event in self._waiting)
        if events and events[-1].final:
            self.end()

    def push(self, event: LiveEvent) -> None:
        """An event for the reader; of a request that it follows it hears each once."""
        if self._to_its_end:
            if event.id in self._had:
                return
            self._had.add(event.id)
        self._waiting.append(event)
        self._bytes += len(event.text)
        if self._bytes > self._buffer or len(self._waiting) > _MOST_EVENTS:
            self.let_go()
        elif event.final and self._to_its_end:
            self.end()
        else:
            self.woken()

    def take(self) -> bytes:
        """All that waits."""
        text = b"".join(event.text for event in self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return text

    def let_go(self) -> None:
        """The reader is too slow."""
        self.behind = True
        self._waiting.clear()
        self._bytes = 0
        self.end()

    def end(self) -> None:
        """Nothing more is to come; what waits can still be taken."""
        self.close()
        self.woken()

    def close(self) -> None:
        """The reader is gone, or has no more to hear."""
        self.ended = True
        if self._left is not None:
            left, self._left = self._left, None
            left()


def _nobody() -> None:
    """Wake nobody: nobody has begun to read."""


def _nowhere(_followed: Followed, _is_followed: bool, /) -> None:
    """There are no calls but those of this process."""
