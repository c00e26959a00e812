"""One call, watched through AMI events: leg events as they become true, evidence at the end.

Pure. `CallTrace` takes the events that carry the call's Linkedid (`request_id_of` tells whose they
are); `channel_tree` knows which leg a channel is part of. OriginateResponse travels a way of its
own and may come before everything else, or after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import define, field

from c2c_agent.ami.message import Message
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    LegEvent,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.pbx.asterisk.channel_tree import Channel, ChannelTree

#: What our channel ids begin with; the AMI user's eventfilter rests on it.
PREFIX: Final = "c2c-"

#: DialState values that say that a phone makes itself heard. PROGRESS (SIP 183) is how a trunk
#: usually says it.
_ALERTING: Final = frozenset({"RINGING", "PROGRESS"})

#: OriginateResponse reasons (pbx.c, `pbx_dial_reason`) that say something: our timeout, and what a
#: Local channel's dialplan indicated. All else comes as 0.
_TIMED_OUT: Final = "3"
_INDICATED: Final[Mapping[str, str]] = {"5": "BUSY", "8": "CONGESTION"}

#: Causes that are no reason: none, and normal clearing.
_EMPTY: Final = frozenset({None, 0, 16})

_LINKED: Final = ("Linkedid", "DestLinkedid", "LocalOneLinkedid")


def request_id_of(event: Message) -> str | None:
    """The request whose call an event belongs to; None where it is no call of ours."""
    # First by the channel's own id: in one bridge with another call (after a transfer), it may have
    # that call's Linkedid, which may be one of ours as well.
    linked = event.get("Uniqueid").partition(";")[0]
    if not linked.startswith(PREFIX):
        linked = next(filter(None, map(event.get, _LINKED)), "")
    return linked[len(PREFIX) :] if linked.startswith(PREFIX) else None


def tells_of_legs(event: Message) -> bool:
    """Whether `CallTrace.observe` learns anything from an event of this name."""
    return event.event in _TAKERS


@define
class _LegTrace:
    """What was told of one leg as a whole, by the dialling that the root takes part in."""

    status: str | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    device: Channel | None = None  # what answered it
    missed: bool = False  # `answered_at` is when it was found: its answer was not seen
    rang_out: bool = False  # a phone of it rang for as long as it might, and none refused since


@define
class CallTrace:
    """What was told of one call.

    `root` is the Uniqueid of its first channel; `timeout` the ringing that the second leg is
    given, in seconds. `lost`: some of the story was not watched.
    """

    root: str
    timeout: float
    lost: bool = False
    _tree: ChannelTree = field(init=False)
    _legs: dict[Leg, _LegTrace] = field(factory=lambda: {leg: _LegTrace() for leg in Leg})
    _originate_failed: bool = False
    _timed_out: bool = False
    _hung_up_by: Leg | None = None
    _hung_up_at: float | None = None

    @_tree.default
    def _new_tree(self) -> ChannelTree:
        return ChannelTree(self.root)

    # Events in, leg events out

    def observe(self, event: Message, now: float) -> list[LegEvent]:
        """Take one event at `now` (seconds); what says nothing of the legs is passed over."""
        take = _TAKERS.get(event.event)
        return take(self, event, now) if take is not None else []

    def _new_channel(self, event: Message, _now: float) -> list[LegEvent]:
        self._tree.channel(event.get("Uniqueid"), event.get("Channel"))
        return []

    def _local_bridge(self, event: Message, _now: float) -> list[LegEvent]:
        near, far = event.get("LocalOneUniqueid"), event.get("LocalTwoUniqueid")
        self._tree.channel(near, event.get("LocalOneChannel"))
        self._tree.channel(far, event.get("LocalTwoChannel"))
        self._tree.tie(far, near)
        return []

    def _dial_begin(self, event: Message, _now: float) -> list[LegEvent]:
        self._tie_to_caller(event)
        return [SecondDialed(self.timeout)] if event.get("Uniqueid") == self.root else []

    def _tie_to_caller(self, event: Message) -> None:
        dialed, caller = event.get("DestUniqueid"), event.get("Uniqueid")
        self._tree.channel(dialed, event.get("DestChannel"))
        if caller == self.root:
            self._tree.tie_to_root(dialed)
        elif caller:  # there is none where Originate itself dials the root
            self._tree.tie(dialed, caller)

    def _dial_state(self, event: Message, now: float) -> list[LegEvent]:
        if event.get("DialStatus") not in _ALERTING:
            return []
        self._tree.channel(event.get("DestUniqueid"), event.get("DestChannel")).rang = True
        leg = self._dialed_leg(event)
        return [] if leg is None else self._ringing(leg, now)

    def _dial_end(self, event: Message, now: float) -> list[LegEvent]:
        dialed = self._tree.channel(event.get("DestUniqueid"), event.get("DestChannel"))
        dialed.answered = event.get("DialStatus") == "ANSWER"
        if dialed.answered and self._tree.leg_of(dialed.uniqueid) is None:
            self._tie_to_caller(event)  # a phone that was not dialled has picked the call up
        if dialed.answered and dialed.is_device:
            self._device_answered(dialed)
        elif dialed.is_device:
            self._device_unanswered(dialed, event.get("DialStatus"))
        leg = self._dialed_leg(event)
        if leg is None:
            return []
        trace = self._legs[leg]
        trace.status = event.get("DialStatus")
        if dialed.answered:
            return self._answered(leg, now)
        trace.ended_at = trace.ended_at or now
        return []

    def _device_answered(self, device: Channel) -> None:
        """Of several that do, the last one counts; once the leg is answered, no other does."""
        leg = self._tree.leg_of(device.uniqueid)
        if leg is None:
            return
        trace = self._legs[leg]
        if trace.device is None or trace.answered_at is None:
            trace.device = device
        elif self._hung_up_by is leg:
            # It has taken the talk over: who transferred it hung up, and that was not the end.
            self._hung_up_by = self._hung_up_at = None

    def _device_unanswered(self, device: Channel, status: str) -> None:
        """Dial gave it up or it refused; the limit of who dialled it may be shorter than ours."""
        leg = self._tree.leg_of(device.uniqueid)
        if leg is not None and device.refused:
            self._legs[leg].rang_out = False
        elif leg is not None and device.rang and status == "NOANSWER":
            self._legs[leg].rang_out = True

    def _originate_response(self, event: Message, now: float) -> list[LegEvent]:
        first = self._legs[Leg.FIRST]
        if event.get("Response") == "Success":
            first.status = "ANSWER"
            return self._answered(Leg.FIRST, now)
        reason = event.get("Reason")
        self._originate_failed = True
        self._timed_out = reason == _TIMED_OUT
        if self._timed_out:
            first.status = "NOANSWER"
        first.status = first.status or _INDICATED.get(reason)
        first.ended_at = first.ended_at or now
        return []

    def _hangup_request(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._tree.channel(event.get("Uniqueid"), event.get("Channel"))
        channel.sip = _number(event.get("TechCause"))
        if channel.is_far_half:
            return []  # the near half was hung up, and takes this one along
        if event.get("ChannelStateDesc", "Up") != "Up":
            channel.refused = True  # it was only rung, perhaps by a queue that has answered
            return []
        leg = self._tree.leg_of(channel.uniqueid)
        if self._hung_up_by is None and leg is not None and self._legs[leg].answered_at is not None:
            self._hung_up_by, self._hung_up_at = leg, now
        return []

    def _hangup(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._tree.channel(event.get("Uniqueid"), event.get("Channel"))
        channel.ended = True
        channel.cause = _number(event.get("Cause"))
        channel.cause_text = event.get("Cause-txt") or None
        for leg, trace in self._legs.items():
            if self._tree.head_of(leg) is channel:
                trace.ended_at = trace.ended_at or now
        return []

    def _ringing(self, leg: Leg, now: float) -> list[LegEvent]:
        trace = self._legs[leg]
        if trace.ringing_at is not None:
            return []
        trace.ringing_at = now
        name = self._tree.name_of(leg)
        return [FirstRinging(name) if leg is Leg.FIRST else SecondRinging(name)]

    def _answered(self, leg: Leg, now: float) -> list[LegEvent]:
        trace = self._legs[leg]
        if trace.answered_at is not None:
            return []
        trace.answered_at = now
        trace.ended_at = None  # an earlier attempt, which was forwarded
        name = self._tree.name_of(leg)
        return [FirstAnswered(name) if leg is Leg.FIRST else SecondAnswered(name)]

    def _dialed_leg(self, event: Message) -> Leg | None:
        """Which leg a Dial… event tells of as a whole; None for what goes on deeper inside."""
        if event.get("DestUniqueid") == self.root:
            return Leg.FIRST
        return Leg.SECOND if event.get("Uniqueid") == self.root else None

    # What the agent knows from elsewhere

    def seen_before(self, first: LegEvidence, second: LegEvidence) -> None:
        """Take over what was known of the call before a restart of the agent."""
        self.lost = True
        for leg, evidence in ((Leg.FIRST, first), (Leg.SECOND, second)):
            trace = self._legs[leg]
            trace.ringing_at = evidence.ringing_at
            trace.answered_at = evidence.answered_at
            if evidence.answered_at is not None and evidence.channel is not None:
                answered = Channel("", evidence.channel)  # its Uniqueid is not stored
                trace.device = answered if answered.is_device else None

    def found(self, channels: Iterable[Message], now: float) -> list[LegEvent]:
        """Take the call's channels as CoreShowChannels lists them; gives what was missed.

        None listed means that the call has ended unseen.
        """
        self.lost = True
        listed = {channel.get("Uniqueid"): channel for channel in channels}
        self._tree.take_list(listed)
        for trace in self._legs.values():
            if trace.device is not None:
                trace.device = self._tree.named(trace.device.name) or trace.device
        root = listed.get(self.root)
        if root is None:
            return []
        match root.get("ChannelStateDesc"):
            case "Ringing":
                return self._ringing(Leg.FIRST, now)
            case "Up" if root.get("BridgeId"):
                return [*self._found_up(Leg.FIRST, now), *self._found_up(Leg.SECOND, now)]
            case "Up":
                return self._found_up(Leg.FIRST, now)
        return []

    def _found_up(self, leg: Leg, now: float) -> list[LegEvent]:
        events = self._answered(leg, now)
        if events:
            self._legs[leg].missed = True
        return events

    def is_gone(self, uniqueid: str) -> None:
        """A channel that was told of is there no more; its end was not told."""
        self._tree.channels[uniqueid].ended = True

    def first_came(self, now: float) -> None:
        """The first leg has come to the bridge, so it was answered, whatever events tell."""
        first = self._legs[Leg.FIRST]
        if first.answered_at is None:
            first.answered_at = now

    def second_came(self, at: float) -> None:
        """It was told elsewhere when the second leg had answered, so no event tells it again."""
        second = self._legs[Leg.SECOND]
        if second.answered_at is None or second.missed:
            second.answered_at, second.missed = at, False

    # Questions

    @property
    def all_gone(self) -> bool:
        """Whether nothing of the call exists on the PBX any more, as far as events tell."""
        begun = self.root in self._tree.channels or self._originate_failed
        return begun and self._tree.all_ended

    @property
    def all_going(self) -> bool:
        """Whether nothing exists but what ends by itself, perhaps without our being told."""
        root = self._tree.channels.get(self.root)
        return root is not None and root.ended and self._tree.only_halves_alive

    @property
    def to_hang_up(self) -> str | None:
        """The Uniqueid of the channel whose end is the call's: the root's, until it has ended."""
        root = self._tree.channels.get(self.root)
        if root is None or not root.ended:
            return self.root
        return next(iter(self._tree.alive), None)

    @property
    def first_answered(self) -> bool:
        """Whether the first leg was answered, seen or not."""
        return self._legs[Leg.FIRST].answered_at is not None

    @property
    def is_explained(self) -> bool:
        """Whether all has been told that will be told of why the first leg was not answered."""
        seen = self.root in self._tree.channels
        return self.first_answered or (self._originate_failed and (self._timed_out or seen))

    @property
    def ran_dialplan(self) -> bool:
        """Whether the first leg was rung by a dialplan, behind a Local channel."""
        return self.root + ";2" in self._tree.channels

    def evidence(self) -> CallEvidence:
        """What was watched of the call."""
        return CallEvidence(
            first=self._leg_evidence(Leg.FIRST),
            second=self._leg_evidence(Leg.SECOND),
            timed_out=Leg.FIRST if self._timed_out else None,
            rang_out=frozenset(leg for leg, trace in self._legs.items() if trace.rang_out),
            dialed=bool(self._tree.dialed),
            hung_up_by=self._hung_up_by,
            hung_up_at=self._hung_up_at,
            lost=self.lost,
        )

    def _leg_evidence(self, leg: Leg) -> LegEvidence:
        trace, head = self._legs[leg], self._tree.head_of(leg)
        shown = trace.device or self._tree.device_of(leg) or head
        telling = shown
        if trace.answered_at is None and head is not None and head.cause not in _EMPTY:
            telling = head  # of several devices tried, the leg as a whole says which counted
        return LegEvidence(
            channel=shown.name if shown is not None else None,
            status=trace.status or ("ANSWER" if trace.missed else None),
            cause=telling.cause if telling is not None else None,
            cause_text=telling.cause_text if telling is not None else None,
            sip=shown.sip if shown is not None else None,
            ringing_at=trace.ringing_at,
            answered_at=None if trace.missed else trace.answered_at,
            ended_at=trace.ended_at,
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


_TAKERS: Final[Mapping[str, Callable[[CallTrace, Message, float], list[LegEvent]]]] = {
    "Newchannel": CallTrace._new_channel,  # noqa: SLF001 - the class's own table
    "LocalBridge": CallTrace._local_bridge,  # noqa: SLF001
    "DialBegin": CallTrace._dial_begin,  # noqa: SLF001
    "DialState": CallTrace._dial_state,  # noqa: SLF001
    "DialEnd": CallTrace._dial_end,  # noqa: SLF001
    "OriginateResponse": CallTrace._originate_response,  # noqa: SLF001
    "HangupRequest": CallTrace._hangup_request,  # noqa: SLF001
    "Hangup": CallTrace._hangup,  # noqa: SLF001
}
