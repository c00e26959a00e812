"""The channels of one call, followed through AMI events: which leg each is part of, and its story.

Pure. `CallTrace` takes the events that carry the call's Linkedid and gives leg events (`pbx`) as
they become true; at the end `evidence` sums up. Every channel of a call hangs on the one that
Originate made (the root, whose Uniqueid we chose):

    root ─── its own far half (Local ";2") ─ what that dials          the first leg
      └─── what the root dials ─ its far half ─ what that dials …     the second leg

Events of different threads of Asterisk overtake one another, so who dialled whom is only noted when
it is told, and worked out when it is asked. OriginateResponse may come before everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import define, field

from c2c_agent.ami.message import Message
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


@define
class _Channel:
    """What was told of one channel."""

    uniqueid: str
    name: str
    answered: bool = False
    ended: bool = False
    cause: int | None = None
    cause_text: str | None = None
    sip: int | None = None

    @property
    def is_device(self) -> bool:
        """Whether a phone or trunk is behind it, not another part of the dialplan."""
        return not self.name.startswith("Local/")


@define
class _LegTrace:
    """What was told of one leg as a whole, by the dialling that the root takes part in."""

    status: str | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None


@define
class CallTrace:
    """The channels of one call.

    `timeout` is the ringing that the second leg is given, in seconds.
    """

    root: str
    timeout: float
    timed_out: bool = False
    originate_failed: bool = False
    hung_up_by: Leg | None = None
    hung_up_at: float | None = None
    lost: bool = False  # some of the story was not watched
    _channels: dict[str, _Channel] = field(factory=dict)
    _parents: dict[str, str] = field(factory=dict)
    _dialed: list[str] = field(factory=list)  # what the root dialled, in order
    _dial_cause: int | None = None
    _dial_sip: int | None = None
    _legs: dict[Leg, _LegTrace] = field(factory=lambda: {leg: _LegTrace() for leg in Leg})

    # Events in, leg events out

    def observe(self, event: Message, now: float) -> list[LegEvent]:
        """Take one event at `now` (seconds); what says nothing of the legs is passed over."""
        take = _TAKERS.get(event.event)
        return take(self, event, now) if take is not None else []

    def _new_channel(self, event: Message, _now: float) -> list[LegEvent]:
        self._channel(event.get("Uniqueid"), event.get("Channel"))
        return []

    def _local_bridge(self, event: Message, _now: float) -> list[LegEvent]:
        near, far = event.get("LocalOneUniqueid"), event.get("LocalTwoUniqueid")
        self._channel(near, event.get("LocalOneChannel"))
        self._channel(far, event.get("LocalTwoChannel"))
        self._parents[far] = near
        return []

    def _dial_begin(self, event: Message, _now: float) -> list[LegEvent]:
        dialed, caller = event.get("DestUniqueid"), event.get("Uniqueid")
        self._channel(dialed, event.get("DestChannel"))
        if not caller:
            return []  # Originate itself dials the root
        self._parents[dialed] = caller
        if caller != self.root:
            return []
        self._dialed.append(dialed)
        return [SecondDialed(self.timeout)]

    def _dial_state(self, event: Message, now: float) -> list[LegEvent]:
        leg = self._dialed_leg(event)
        if leg is None or event.get("DialStatus") not in _ALERTING:
            return []
        trace = self._legs[leg]
        if trace.ringing_at is not None:
            return []
        trace.ringing_at = now
        name = self._name_of(leg)
        return [FirstRinging(name) if leg is Leg.FIRST else SecondRinging(name)]

    def _dial_end(self, event: Message, now: float) -> list[LegEvent]:
        dialed = self._channel(event.get("DestUniqueid"), event.get("DestChannel"))
        dialed.answered = event.get("DialStatus") == "ANSWER"
        leg = self._dialed_leg(event)
        if leg is None:
            return []
        trace = self._legs[leg]
        trace.status = event.get("DialStatus")
        if trace.status == "ANSWER":
            return self._answered(leg, now)
        trace.ended_at = trace.ended_at or now
        return []

    def _originate_response(self, event: Message, now: float) -> list[LegEvent]:
        first = self._legs[Leg.FIRST]
        if event.get("Response") == "Success":
            first.status = "ANSWER"
            return self._answered(Leg.FIRST, now)
        reason = event.get("Reason")
        self.originate_failed = True
        self.timed_out = reason == _TIMED_OUT
        if self.timed_out:
            first.status = "NOANSWER"
        first.status = first.status or _INDICATED.get(reason)
        first.ended_at = first.ended_at or now
        return []

    def _hangup_request(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._channel(event.get("Uniqueid"), event.get("Channel"))
        channel.sip = _number(event.get("TechCause"))
        if not channel.is_device and channel.name.endswith(";2"):
            return []  # the near half was hung up, and takes this one along
        leg = self._leg_of(channel.uniqueid)
        if self.hung_up_by is None and leg is not None and self._legs[leg].answered_at is not None:
            self.hung_up_by, self.hung_up_at = leg, now
        return []

    def _hangup(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._channel(event.get("Uniqueid"), event.get("Channel"))
        channel.ended = True
        channel.cause = _number(event.get("Cause"))
        channel.cause_text = event.get("Cause-txt") or None
        leg = self._leg_of(channel.uniqueid)
        if leg is not None and channel.uniqueid in (self.root, *self._dialed[-1:]):
            trace = self._legs[leg]
            trace.ended_at = trace.ended_at or now
        return []

    def _answered(self, leg: Leg, now: float) -> list[LegEvent]:
        trace = self._legs[leg]
        if trace.answered_at is not None:
            return []
        trace.answered_at = now
        trace.ended_at = None
        name = self._name_of(leg)
        return [FirstAnswered(name) if leg is Leg.FIRST else SecondAnswered(name)]

    # What the agent knows from elsewhere

    def seen_before(self, first: LegEvidence, second: LegEvidence) -> None:
        """Take over what was known of the call before a restart of the agent."""
        self.lost = True
        for leg, evidence in ((Leg.FIRST, first), (Leg.SECOND, second)):
            self._legs[leg].ringing_at = evidence.ringing_at
            self._legs[leg].answered_at = evidence.answered_at

    def dial_ended(self, status: str, cause: int | None, sip: int | None) -> None:
        """Take what Dial itself left behind of the second leg: DIALSTATUS, HANGUPCAUSE, SIP."""
        self._legs[Leg.SECOND].status = status
        self._dial_cause, self._dial_sip = cause, sip

    def found(self, channels: Iterable[Message], now: float) -> list[LegEvent]:
        """Take the call's channels as CoreShowChannels lists them; some may have been missed.

        Channels that are not listed any more have ended unseen.
        """
        self.lost = True
        listed = {channel.get("Uniqueid"): channel for channel in channels}
        for uniqueid, channel in listed.items():
            self._channel(uniqueid, channel.get("Channel"))
        for known in self._channels.values():
            known.ended = known.ended or known.uniqueid not in listed
        self._guess_parents(listed)
        return self._catch_up(listed, now)

    def _guess_parents(self, listed: Mapping[str, Message]) -> None:
        """Tie channels whose dialling was not seen: halves by name, partners by their bridge."""
        by_name = {channel.name: channel.uniqueid for channel in self._channels.values()}
        for channel in self._channels.values():
            near = by_name.get(channel.name[:-1] + "1") if channel.name.endswith(";2") else None
            if near is not None:
                self._parents.setdefault(channel.uniqueid, near)
        for uniqueid in listed:
            if self._leg_of(uniqueid) is None:
                self._parents[uniqueid] = self._bridge_partner(uniqueid, listed) or self.root
                if self._parents[uniqueid] == self.root:
                    self._dialed.append(uniqueid)

    def _bridge_partner(self, uniqueid: str, listed: Mapping[str, Message]) -> str | None:
        bridge = listed[uniqueid].get("BridgeId")
        return next(
            (
                other
                for other, channel in listed.items()
                if bridge and other != uniqueid and channel.get("BridgeId") == bridge
            ),
            None,
        )

    def _catch_up(self, listed: Mapping[str, Message], now: float) -> list[LegEvent]:
        """The leg events that the list of channels shows to have been missed."""
        root = listed.get(self.root)
        missed: list[LegEvent] = []
        if root is not None and root.get("ChannelStateDesc") == "Up":
            missed += self._answered(Leg.FIRST, now)
            if root.get("BridgeId"):
                missed += self._answered(Leg.SECOND, now)
        return missed

    # Questions

    @property
    def is_over(self) -> bool:
        """Whether nothing of the call is left on the PBX, as far as events tell."""
        root = self._channels.get(self.root)
        if root is None and not self.originate_failed:
            return False
        return all(channel.ended for channel in self._channels.values())

    @property
    def is_explained(self) -> bool:
        """Whether all has been told that will be told of why the first leg was not answered."""
        return self._legs[Leg.FIRST].answered_at is not None or (
            self.originate_failed and (self.timed_out or self.root in self._channels)
        )

    @property
    def has_channels(self) -> bool:
        """Whether any channel of the call was ever seen."""
        return bool(self._channels)

    def evidence(self) -> CallEvidence:
        """What was learned of the call."""
        return CallEvidence(
            first=self._leg_evidence(Leg.FIRST),
            second=self._leg_evidence(Leg.SECOND),
            timed_out=self.timed_out,
            dialed=bool(self._dialed),
            hung_up_by=self.hung_up_by,
            hung_up_at=self.hung_up_at,
            lost=self.lost,
        )

    def _leg_evidence(self, leg: Leg) -> LegEvidence:
        trace = self._legs[leg]
        device, dialed = self._device_of(leg), self._dialed_channel(leg)
        shown = device or dialed
        telling = shown
        if trace.answered_at is None and dialed is not None and dialed.cause not in _EMPTY:
            telling = dialed
        cause = telling.cause if telling is not None else None
        sip = shown.sip if shown is not None else None
        if leg is Leg.SECOND:
            cause = self._dial_cause if cause is None else cause
            sip = self._dial_sip if sip is None else sip
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

    def _channel(self, uniqueid: str, name: str) -> _Channel:
        channel = self._channels.get(uniqueid)
        if channel is None:
            channel = self._channels[uniqueid] = _Channel(uniqueid, name)
        return channel

    def _leg_of(self, uniqueid: str) -> Leg | None:
        """The leg that a channel is part of; None where that was not told yet."""
        for _ in range(len(self._parents) + 1):
            if uniqueid in (self.root, self.root + ";2"):
                return Leg.FIRST
            if uniqueid in self._dialed:
                return Leg.SECOND
            if uniqueid not in self._parents:
                return None
            uniqueid = self._parents[uniqueid]
        return None

    def _dialed_leg(self, event: Message) -> Leg | None:
        """Which leg a Dial… event tells of as a whole; None for what goes on deeper inside."""
        if event.get("DestUniqueid") == self.root:
            return Leg.FIRST
        return Leg.SECOND if event.get("Uniqueid") == self.root else None

    def _dialed_channel(self, leg: Leg) -> _Channel | None:
        """The channel that stands for the leg as a whole."""
        if leg is Leg.FIRST:
            return self._channels.get(self.root)
        return self._channels.get(self._dialed[-1]) if self._dialed else None

    def _device_of(self, leg: Leg) -> _Channel | None:
        """The leg's phone or trunk: of several the one that answered, else the last one tried."""
        devices = [
            channel
            for channel in self._channels.values()
            if channel.is_device and self._leg_of(channel.uniqueid) is leg
        ]
        answered = [channel for channel in devices if channel.answered]
        return (answered or devices)[-1] if devices else None

    def _name_of(self, leg: Leg) -> str | None:
        channel = self._device_of(leg) or self._dialed_channel(leg)
        return channel.name if channel is not None else None


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
