"""One call, followed through AMI events: leg events as they become true, evidence at the end.

Pure. `CallTrace` takes the events that carry the call's Linkedid (`request_id_of` tells whose they
are); `channel_tree` knows which leg a channel is part of. OriginateResponse travels a way of its
own and may come before everything else, or after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import define, field

from c2c_agent.ami.channel_tree import ChannelTree
from c2c_agent.ami.message import Message
from c2c_agent.dial import DialResult
from c2c_agent.pbx import (
    CallEvidence,
    FirstAnswered,
    FirstRinging,
    Leg,
    LegEvent,
    LegEvidence,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)

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
    if event.event == "OriginateResponse":
        linked = event.get("Uniqueid")
    else:
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
    _dial: DialResult = field(factory=lambda: DialResult(status=""))

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
        dialed, caller = event.get("DestUniqueid"), event.get("Uniqueid")
        self._tree.channel(dialed, event.get("DestChannel"))
        if not caller:
            return []  # Originate itself dials the root
        if caller != self.root:
            self._tree.tie(dialed, caller)
            return []
        self._tree.tie_to_root(dialed)
        return [SecondDialed(self.timeout)]

    def _dial_state(self, event: Message, now: float) -> list[LegEvent]:
        leg = self._dialed_leg(event)
        if leg is None or event.get("DialStatus") not in _ALERTING:
            return []
        return self._ringing(leg, now)

    def _dial_end(self, event: Message, now: float) -> list[LegEvent]:
        dialed = self._tree.channel(event.get("DestUniqueid"), event.get("DestChannel"))
        dialed.answered = event.get("DialStatus") == "ANSWER"
        leg = self._dialed_leg(event)
        if leg is None:
            return []
        trace = self._legs[leg]
        trace.status = event.get("DialStatus")
        if dialed.answered:
            return self._answered(leg, now)
        trace.ended_at = trace.ended_at or now
        return []

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

    def dial_ended(self, result: DialResult, now: float) -> None:
        """Take what Dial itself left behind of the second leg.

        It is also told where events were missed: then it says who left, and when they talked.
        """
        self._dial = result
        second = self._legs[Leg.SECOND]
        second.status = result.status
        second.ended_at = second.ended_at or now
        if result.status == "ANSWER" and self.lost:
            second.answered_at = second.answered_at or result.answered_at
            if self._hung_up_by is None:
                self._hung_up_by = Leg.FIRST if result.first_left else Leg.SECOND
                self._hung_up_at = now

    def seen_before(self, first: LegEvidence, second: LegEvidence) -> None:
        """Take over what was known of the call before a restart of the agent."""
        self.lost = True
        for leg, evidence in ((Leg.FIRST, first), (Leg.SECOND, second)):
            self._legs[leg].ringing_at = evidence.ringing_at
            self._legs[leg].answered_at = evidence.answered_at

    def found(self, channels: Iterable[Message], now: float) -> list[LegEvent]:
        """Take the call's channels as CoreShowChannels lists them; gives what was missed.

        None listed means that the call has ended unseen.
        """
        self.lost = True
        listed = {channel.get("Uniqueid"): channel for channel in channels}
        self._tree.take_list(listed)
        root = listed.get(self.root)
        if root is None:
            return []
        match root.get("ChannelStateDesc"):
            case "Ringing":
                return self._ringing(Leg.FIRST, now)
            case "Up" if root.get("BridgeId"):
                return [*self._answered(Leg.FIRST, now), *self._answered(Leg.SECOND, now)]
            case "Up":
                return self._answered(Leg.FIRST, now)
        return []

    # Questions

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is left on the PBX, as far as events tell."""
        begun = self.root in self._tree.channels or self._originate_failed
        return begun and self._tree.all_ended

    @property
    def is_explained(self) -> bool:
        """Whether all has been told that will be told of why the first leg was not answered."""
        answered = self._legs[Leg.FIRST].answered_at is not None
        seen = self.root in self._tree.channels
        return answered or (self._originate_failed and (self._timed_out or seen))

    @property
    def ran_dialplan(self) -> bool:
        """Whether the first leg was rung by a dialplan, behind a Local channel."""
        return self.root + ";2" in self._tree.channels

    def evidence(self) -> CallEvidence:
        """What was learned of the call."""
        return CallEvidence(
            first=self._leg_evidence(Leg.FIRST),
            second=self._leg_evidence(Leg.SECOND),
            timed_out=self._timed_out,
            dialed=bool(self._tree.dialed),
            hung_up_by=self._hung_up_by,
            hung_up_at=self._hung_up_at,
            lost=self.lost,
        )

    def _leg_evidence(self, leg: Leg) -> LegEvidence:
        trace, head = self._legs[leg], self._tree.head_of(leg)
        shown = self._tree.device_of(leg) or head
        telling = shown
        if trace.answered_at is None and head is not None and head.cause not in _EMPTY:
            telling = head  # of several devices tried, the leg as a whole says which counted
        cause = telling.cause if telling is not None else None
        sip = shown.sip if shown is not None else None
        if leg is Leg.SECOND:
            cause = self._dial.cause if cause is None else cause
            sip = self._dial.sip if sip is None else sip
        return LegEvidence(
            channel=shown.name if shown is not None else None,
            status=trace.status,
            cause=cause,
            cause_text=telling.cause_text if telling is not None else None,
            sip=sip,
            ringing_at=trace.ringing_at,
            answered_at=trace.answered_at,
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
