"""An independent observer of a test PBX: a second, foreign AMI client that sees every call.

It shares no code with the agent: the protocol is pyst2's, and what happened is put together here
from what Asterisk tells alone: what happened from AMI's events, and when from its channels' own
records (`channel_log`). Refusals and ringing are in no record; their times, and an event's, are
those at which Asterisk wrote it. All are told as `time.monotonic()` would have told them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from asterisk.manager import Manager, ManagerException
from attrs import evolve, frozen

from tests.pbx.channel_log import ChannelLog
from tests.pbx.hosts import WITNESS_SECRET
from tests.pbx.moments import moment
from tests.pbx.waiting import Patience, WaitedInVainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, Self

    from tests.pbx.channel_log import Record
    from tests.pbx.hosts import AsteriskHost

_CLOSE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2  # from one look to the next, where no event comes


@frozen
class ChannelSeen:
    """A channel, from its Newchannel to its Hangup, and when that was as its records say.

    A record may come later than the event; until then its time is None.
    """

    uniqueid: str
    name: str
    created: float | None
    hung_up: float | None
    cause: int | None


@frozen
class DialSeen:
    """An attempt to reach a channel, from its DialBegin to its DialEnd, or to the answer.

    `caller` is the dialling channel's id, None where an Originate dialled. A dial that timed out
    in an Originate has no end.
    """

    caller: str | None
    callee: str
    began: float
    rang: float | None
    ended: float | None
    status: str | None


@frozen
class BridgeStay:
    """The time that a channel (`channel` is its id) spent in a bridge."""

    bridge: str
    channel: str
    entered: float
    left: float | None


@frozen
class CallSeen:
    """All that the witness saw of one call; its legs are asked for by the name of their channel."""

    linkedid: str
    #: How many channels began under the call's own id: more than one were a second Originate.
    originates: int
    channels: tuple[ChannelSeen, ...]
    dials: tuple[DialSeen, ...]
    stays: tuple[BridgeStay, ...]

    @property
    def is_gone(self) -> bool:
        """Whether every channel of it has hung up."""
        return bool(self.channels) and all(channel.hung_up for channel in self.channels)

    def channel(self, name: str) -> ChannelSeen:
        """Return the first channel whose name begins so ("PJSIP/200")."""
        return next(channel for channel in self.channels if channel.name.startswith(name))

    def has(self, name: str) -> bool:
        """Tell whether there was a channel whose name begins so."""
        return any(channel.name.startswith(name) for channel in self.channels)

    def dial(self, name: str) -> DialSeen:
        """Return the attempt to reach that channel."""
        callee = self.channel(name).uniqueid
        return next(dial for dial in self.dials if dial.callee == callee)

    def ring_seconds(self, name: str) -> float | None:
        """Return how long that channel rang, as far as Asterisk knows; None if it did not."""
        dial, channel = self.dial(name), self.channel(name)
        end = dial.ended or channel.hung_up
        return None if dial.rang is None or end is None else end - dial.rang

    def talk_seconds(self, name: str) -> float | None:
        """Return how long that channel was answered; None if it was not or still is."""
        dial, channel = self.dial(name), self.channel(name)
        if dial.status != "ANSWER" or dial.ended is None or channel.hung_up is None:
            return None
        return channel.hung_up - dial.ended


@frozen
class SeenEvent:
    """One AMI event as it came: its name, its headers, and when Asterisk wrote it."""

    at: float
    name: str
    headers: dict[str, str]

    def get(self, header: str) -> str:
        """Return a header's value, "" where there is none."""
        return self.headers.get(header, "")


class Witness:
    """Logged in to a test PBX as a user that sees everything, from its start to its close."""

    def __init__(self, host: AsteriskHost) -> None:
        self._host = host
        self._manager: Any = Manager()
        self._changed = threading.Condition()
        self._one_action = threading.Lock()
        self._events: dict[str, list[SeenEvent]] = {}
        # A channel may come under another call's Linkedid later (a transfer); it is counted where
        # it began.
        self._began_in: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Connect and log in; from here on nothing is missed."""
        self._log = ChannelLog(self._host.channel_log)
        self._manager.register_event("*", self._take)
        self._manager.connect(self._host.address, self._host.ami_port)
        login = self.action("Login", Username="witness", Secret=WITNESS_SECRET, Events="call")
        if login["Response"] != "Success":
            raise ConnectionRefusedError(f"{self._host} refuses the witness: {login}")

    def close(self) -> None:
        """Log off; a PBX that is dead or silent does not hold the tests up."""
        # pyst2 closes once more when it is deleted; let that be here and not at Python's end.
        manager, self._manager = self._manager, None
        closing = threading.Thread(target=_close, args=(manager,), daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def action(self, name: str, **headers: str) -> dict[str, str]:
        """Send an action and return its response's headers.

        Raises `ConnectionError` where the connection has ended.
        """
        with self._one_action:  # pyst2 tells responses apart by their order alone
            try:
                response = self._manager.send_action({"Action": name, **headers})
            except ManagerException as error:
                raise ConnectionError(f"{self._host} is gone: {error}") from error
        return dict(response.headers)

    def is_connected(self) -> bool:
        """Tell whether the PBX is still at the other end."""
        return self._manager is not None and bool(self._manager.connected())

    def linkedids(self) -> list[str]:
        """Return the ids of all calls, in the order in which they began."""
        with self._changed:
            return list(self._events)

    def call(self, linkedid: str) -> CallSeen:
        """Return what was seen of a call so far; nothing at all is an answer, too."""
        return summarise(linkedid, self.events(linkedid), self._log.of)

    def events(self, linkedid: str) -> list[SeenEvent]:
        """Return the events of a call so far, in order."""
        with self._changed:
            return list(self._events.get(linkedid, ()))

    def wait_for(
        self, linkedid: str, condition: Callable[[CallSeen], object], timeout: float, what: str
    ) -> CallSeen:
        """Wait until the condition is true of the call, and return what was seen of it."""
        with self._changed:
            if not self._wait_for(lambda: condition(self.call(linkedid)), timeout):
                seen = self.call(linkedid)
                raise WaitedInVainError(f"not within {timeout} s: {what}; {linkedid}: {seen}")
            return self.call(linkedid)

    def wait_for_first_call(self, timeout: float) -> str:
        """Return the id of the first call, as soon as there is one."""
        with self._changed:
            if not self._wait_for(lambda: self._events, timeout):
                raise WaitedInVainError(f"not within {timeout} s: a call")
            return next(iter(self._events))

    def wait_until_gone(self, linkedid: str, timeout: float) -> CallSeen:
        """Wait until the call has been there and every channel of it has hung up."""
        return self.wait_for(linkedid, lambda call: call.is_gone, timeout, "the call is over")

    def wait_until_it_talks(self, linkedid: str, channel: str) -> CallSeen:
        """Wait until a channel talks, and no Local channel is between it and the other any more.

        While one is leaving the talk, Asterisk refuses to transfer it; and where one of the two is
        taken away just then, the other stays, alone.
        """

        def talks(call: CallSeen) -> bool:
            uniqueids = [seen.uniqueid for seen in call.channels if seen.name == channel]
            between = [seen for seen in call.channels if seen.name.startswith("Local/")]
            settled = all(seen.hung_up is not None for seen in between)
            return settled and any(stay.channel in uniqueids for stay in call.stays)

        return self.wait_for(linkedid, talks, 10, "it talks")

    def _wait_for(self, condition: Callable[[], object], timeout: float) -> bool:
        """Wait for what events change, with `_changed` held; False if it was in vain."""
        patience = Patience(timeout)
        while not condition():
            if patience.left < 0:
                return False
            self._changed.wait(_LOOK_SECONDS)
        return True

    def _take(self, event: Any, _manager: Any) -> None:
        """Keep an event; runs in pyst2's own thread."""
        at = moment(float(event.headers["Timestamp"]))
        seen = SeenEvent(at, event.name, dict(event.headers))
        uniqueid = seen.get("Uniqueid") or seen.get("DestUniqueid")
        linkedid = seen.get("Linkedid") or seen.get("DestLinkedid")
        if not linkedid:
            return
        with self._changed:
            if seen.name == "Newchannel":
                self._began_in[uniqueid] = linkedid
            linkedid = self._began_in.get(uniqueid, linkedid)
            self._events.setdefault(linkedid, []).append(seen)
            self._changed.notify_all()


def _close(manager: Any) -> None:
    try:
        manager.close()
    except (ManagerException, OSError, ValueError):
        return  # the connection had ended before


def summarise(
    linkedid: str, events: Sequence[SeenEvent], records: Callable[[str], Sequence[Record]]
) -> CallSeen:
    """Put together what is told of one call; `records` are those of a channel, by its id."""
    dials: dict[str, dict[str, Any]] = {}
    for event in events:
        callee = event.get("DestUniqueid")
        if event.name == "DialBegin":
            caller = event.get("Uniqueid") or None
            dials[callee] = {"caller": caller, "callee": callee, "began": event.at}
        elif event.name == "DialState" and event.get("DialStatus") == "RINGING":
            dials.get(callee, {}).setdefault("rang", event.at)
        elif event.name == "DialEnd" and callee in dials:
            status = event.get("DialStatus")
            answered = _first(records(callee), "ANSWER") if status == "ANSWER" else None
            dials[callee] |= {"ended": answered or event.at, "status": status}
    blank = {"rang": None, "ended": None, "status": None}
    born = [event for event in events if event.name == "Newchannel"]
    uniqueids = [event.get("Uniqueid") for event in born]
    return CallSeen(
        linkedid=linkedid,
        originates=uniqueids.count(linkedid),
        channels=tuple(_channel(event, events, records) for event in born),
        dials=tuple(DialSeen(**blank | dial) for dial in dials.values()),
        stays=tuple(stay for uniqueid in uniqueids for stay in _stays(records(uniqueid))),
    )


def _first(records: Sequence[Record], kind: str) -> float | None:
    return next((record.at for record in records if record.kind == kind), None)


def _channel(
    born: SeenEvent, events: Sequence[SeenEvent], records: Callable[[str], Sequence[Record]]
) -> ChannelSeen:
    uniqueid = born.get("Uniqueid")
    own = records(uniqueid)
    ends = (e for e in events if e.name == "Hangup" and e.get("Uniqueid") == uniqueid)
    end = next(ends, None)
    return ChannelSeen(
        uniqueid=uniqueid,
        name=born.get("Channel"),
        created=_first(own, "CHAN_START"),
        hung_up=_first(own, "HANGUP") if end else None,
        cause=int(end.get("Cause")) if end else None,
    )


def _stays(records: Sequence[Record]) -> list[BridgeStay]:
    """Return the stays of a channel, from its records."""
    stays: list[BridgeStay] = []
    for record in records:
        if record.kind == "BRIDGE_ENTER" and record.bridge:
            stays.append(BridgeStay(record.bridge, record.channel, record.at, left=None))
        elif record.kind == "BRIDGE_EXIT" and stays and stays[-1].bridge == record.bridge:
            stays[-1] = evolve(stays[-1], left=record.at)
    return stays
