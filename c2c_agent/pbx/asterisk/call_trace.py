"""One call, watched through AMI events: leg events as they become true, evidence at the end.

Pure. `CallTrace` takes the events that carry the call's Linkedid; `channel_id` tells whose they
are. `channel_tree` knows which leg a channel is part of, `leg_trace` what was told of a leg as a
whole, `end_of_talk` who left. OriginateResponse travels a way of its own and may come before
everything else, or after it.
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
from c2c_agent.pbx.asterisk.end_of_talk import EndOfTalk
from c2c_agent.pbx.asterisk.last_word import LastWord
from c2c_agent.pbx.asterisk.leg_trace import LegTrace

#: DialState values that say that a phone makes itself heard. PROGRESS (SIP 183) is how a trunk
#: usually says it.
_ALERTING: Final = frozenset({"RINGING", "PROGRESS"})

#: OriginateResponse reasons (pbx.c, `pbx_dial_reason`) that say something: our timeout, and what a
#: Local channel's dialplan indicated. All else comes as 0.
_TIMED_OUT: Final = "3"
_INDICATED: Final[Mapping[str, str]] = {"5": "BUSY", "8": "CONGESTION"}

#: Who leaves in an attended transfer, and who then talks in their place; the channels of each are
#: headers that begin so.
_TRANSFERS: Final = (("OrigTransferer", "TransferTarget"), ("SecondTransferer", "Transferee"))


def tells_of_legs(event: Message) -> bool:
    """Whether `CallTrace.observe` learns anything from an event of this name."""
    return event.event in _TAKERS


@define
class CallTrace:
    """What was told of one call.

    `root` is the Uniqueid of its first channel; `timeout` the ringing that the second leg is
    given, in seconds. `lost`: some of the story was not watched. `other_linkedid`: under which it
    goes on, where a phone of another call has picked its first channel up.
    """

    root: str
    timeout: float
    lost: bool = False
    other_linkedid: str | None = None
    _turn: int = 0  # how many beginnings and ends of dialling were told
    _tree: ChannelTree = field(init=False)
    _legs: dict[Leg, LegTrace] = field(factory=lambda: {leg: LegTrace() for leg in Leg})
    _end: EndOfTalk = field(init=False)
    _originate_failed: bool = False
    _timed_out: bool = False
    _direct: bool = False  # a list shows that no Local channel is between the two

    @_tree.default
    def _new_tree(self) -> ChannelTree:
        return ChannelTree(self.root)

    @_end.default
    def _new_end(self) -> EndOfTalk:
        return EndOfTalk(self._tree, self._legs)

    # Events in, leg events out

    def observe(self, event: Message, now: float) -> list[LegEvent]:
        """Take one event at `now` (seconds); what says nothing of the legs is passed over."""
        self._end.heard_at = now
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
        caller, name = event.get("Uniqueid"), event.get("Channel")
        if not self._tree.is_taken and not self._tree.dialed and self._tree.rang_as_first(caller):
            self._tree.set_caller(caller, name)  # the dialplan dials, no session has told
        self._tie_to_who_dialed(event)
        return [SecondDialed(self.timeout)] if caller == self._tree.caller else []

    def _tie_to_who_dialed(self, event: Message) -> None:
        dialed, caller = event.get("DestUniqueid"), event.get("Uniqueid")
        self._turn += 1
        self._tree.channel(dialed, event.get("DestChannel")).dialed_turn = self._turn
        self._tree.tie_to_who_dialed(dialed, caller)

    def _dial_state(self, event: Message, now: float) -> list[LegEvent]:
        if event.get("DialStatus") not in _ALERTING:
            return []
        channel = self._tree.channel(event.get("DestUniqueid"), event.get("DestChannel"))
        if channel.rang_at is None:
            channel.rang_at = now
        leg = self._dialed_leg(event)
        return [] if leg is None else self._ringing(leg, now)

    def _dial_end(self, event: Message, now: float) -> list[LegEvent]:
        dialed = self._tree.channel(event.get("DestUniqueid"), event.get("DestChannel"))
        dialed.status = event.get("DialStatus")
        dialed.answered = dialed.status == "ANSWER"
        self._note_over(dialed, now)
        if dialed.answered and self._tree.leg_of(dialed.uniqueid) is None:
            # A phone that was not dialled has picked the call up.
            self._tie_to_who_dialed(event)
        if dialed.answered and dialed.is_device:
            answered = self._tree.leg_of(dialed.uniqueid)
            if answered is not None:
                self._legs[answered].device_answered(dialed)
        leg = self._dialed_leg(event)
        if leg is None:
            return []
        trace = self._legs[leg]
        trace.status = event.get("DialStatus")
        if dialed.answered:
            return self._answered(leg, now)
        trace.dialing_ended(self._tree.head_of(leg), now)
        return []

    def _note_over(self, dialed: Channel, now: float) -> None:
        """Note when its dialling was over; who takes a call may be told of more than once."""
        if dialed.over_turn is None:
            self._turn += 1
            dialed.over_turn, dialed.over_at = self._turn, now

    def _originate_response(self, event: Message, now: float) -> list[LegEvent]:
        first = self._legs[Leg.FIRST]
        if event.get("Response") == "Success":
            first.status = "ANSWER"
            # It has overtaken all else where no channel is known: what tells of one comes yet.
            is_known = self._tree.name_of(Leg.FIRST) is not None
            return self._answered(Leg.FIRST, now) if is_known else []
        reason = event.get("Reason")
        self._originate_failed = True
        self._timed_out = reason == _TIMED_OUT
        if self._timed_out:
            first.status = "NOANSWER"
        first.status = first.status or _INDICATED.get(reason)
        first.dialing_ended(self._tree.head_of(Leg.FIRST), now)
        return []

    def _hangup_request(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._leaving(event)
        channel.sip = _number(event.get("TechCause"))
        channel.asked_at = now
        if channel.is_far_half:
            return []  # the near half was hung up, and takes this one along
        if event.get("ChannelStateDesc", "Up") != "Up":
            channel.refused = True  # it was only rung, perhaps by a queue that has answered
        else:
            self._end.hung_up(channel, now)
        return []

    def _leaving(self, event: Message) -> Channel:
        """The channel whose end this is about; a new one is from outside, if nothing was lost."""
        uniqueid, name = event.get("Uniqueid"), event.get("Channel")
        if not self.lost:
            self._end.leaves(uniqueid, name)
        return self._tree.channel(uniqueid, name)

    def _local_optimized(self, event: Message, _now: float) -> list[LegEvent]:
        for half in ("LocalOne", "LocalTwo"):
            name = event.get(half + "Channel")
            self._tree.channel(event.get(half + "Uniqueid"), name).optimized = True
        return []

    def _blind_transfer(self, event: Message, now: float) -> list[LegEvent]:
        if event.get("Result") == "Success":
            self._end.transferred(event.get("TransfererUniqueid"), now)
        return []

    def _attended_transfer(self, event: Message, now: float) -> list[LegEvent]:
        """The call may be that of either of the two channels of who transfers.

        Nobody is named who has left the bridge already when the event is made; then it is whoever
        was asked.
        """
        if event.get("Result") == "Success":
            for leaves, comes in _TRANSFERS:
                gone, uniqueid = event.get(leaves + "Uniqueid"), event.get(comes + "Uniqueid")
                asked = [(one.uniqueid, one.name) for one in self._tree.unplaced()]
                named = [(uniqueid, event.get(comes + "Channel"))]
                for one in named if uniqueid else asked or named:
                    self._end.transferred(gone, now, *one)
        return []

    def _picked_up(self, event: Message, _now: float) -> list[LegEvent]:
        """Where it is the first channel that was taken over, the other phone does all it had to do.

        It has the place of that channel from then on, and the Uniqueid and Linkedid of its own call
        (`channel_do_masquerade`, main/channel.c), so of what follows only a part is told.
        """
        if event.get("TargetUniqueid") == self.root and not self._tree.is_taken:
            self._tree.set_caller(event.get("Uniqueid"), event.get("Channel"))
            self.other_linkedid = event.get("Linkedid")
            self.lost = True
        return []

    def _hangup(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._leaving(event)
        channel.ended = True
        channel.ended_at = now
        self._note_over(channel, now)
        channel.cause = _number(event.get("Cause"))
        channel.cause_text = event.get("Cause-txt") or None
        return []

    def _ringing(self, leg: Leg, now: float) -> list[LegEvent]:
        trace = self._legs[leg]
        if trace.ringing_at is not None:
            return []
        trace.ringing_at = now
        name = self._tree.name_of(leg)
        return [(FirstRinging if leg is Leg.FIRST else SecondRinging)(name, at=now)]

    def _answered(self, leg: Leg, now: float) -> list[LegEvent]:
        trace = self._legs[leg]
        if trace.answered_at is not None:
            return []
        trace.answered_at = now
        trace.ended_at = None  # an earlier attempt, which was forwarded
        word = self._last_word(leg)
        name = self._tree.name_of(leg)  # of what is known, where this has overtaken who answered
        if word.by is not None and word.channel is not None:
            name = word.channel.name
        return [(FirstAnswered if leg is Leg.FIRST else SecondAnswered)(name, at=now)]

    def _dialed_leg(self, event: Message) -> Leg | None:
        """Which leg a Dial… event tells of as a whole; None for what goes on deeper inside."""
        if event.get("DestUniqueid") == self.root:
            return Leg.FIRST
        return Leg.SECOND if event.get("Uniqueid") == self._tree.caller else None

    # What the agent knows from elsewhere

    def seen_before(self, first: LegEvidence, second: LegEvidence) -> None:
        """Take over what was known of the call before a restart of the agent."""
        self.lost = True
        self._legs[Leg.FIRST].seen_before(first)
        self._legs[Leg.SECOND].seen_before(second)

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
        caller = listed.get(self._tree.caller)
        if caller is None:
            return []
        locals_ = [one for one in listed.values() if one.get("Channel").startswith("Local/")]
        self._direct = bool(caller.get("BridgeId")) and not locals_
        match caller.get("ChannelStateDesc"):
            case "Ringing":
                return self._ringing(Leg.FIRST, now)
            case "Up" if caller.get("BridgeId"):
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

    def first_came(self, uniqueid: str, name: str, now: float) -> None:
        """The first leg has come to the bridge, so it was answered, whatever events tell.

        On this channel, which is what dials the second leg.
        """
        if uniqueid not in self._tree.channels and uniqueid != self.root:
            # Picked up, and that was not told: a call has the Linkedid of its first channel.
            self.other_linkedid = uniqueid
        self._tree.set_caller(uniqueid, name)
        first = self._legs[Leg.FIRST]
        first.status = "ANSWER"
        if first.answered_at is None:
            first.answered_at = now

    def second_came(self, at: float) -> None:
        """It was told elsewhere when the second leg had answered, so no event tells it again."""
        second = self._legs[Leg.SECOND]
        if second.answered_at is None or second.missed:
            second.answered_at, second.missed = at, False

    def is_to_end(self) -> None:
        """It is hung up from here: nobody who does so now, or has left it to others, ends it."""
        self._end.is_to_end()

    # Questions

    @property
    def all_gone(self) -> bool:
        """Whether nothing of the call exists on the PBX any more, as far as events tell."""
        begun = bool(self._tree.channels) or self._originate_failed
        return begun and self._tree.all_ended

    @property
    def all_going(self) -> bool:
        """Whether nothing exists but what ends by itself, perhaps without our being told."""
        caller = self._tree.channels.get(self._tree.caller)
        return caller is not None and caller.ended and self._tree.only_halves_alive

    @property
    def is_left_to_others(self) -> bool:
        """Whether one of the two who talked has ended, and something else has not."""
        caller = self._tree.channels.get(self._tree.caller)
        one_ended = (caller is not None and caller.ended) or self._tree.has_ended(Leg.SECOND)
        return one_ended and not self.all_gone and not self.all_going

    def still_there(self, channels: Iterable[Message]) -> None:
        """Take the call's channels as they are listed, where nothing else was missed."""
        self._tree.end_all_but({channel.get("Uniqueid") for channel in channels})

    @property
    def main_channels(self) -> frozenset[str]:
        """The Uniqueids of those whose end is the call's: the root, and who was taken out of it."""
        return frozenset({self.root, self._tree.caller})

    @property
    def to_hang_up(self) -> str | None:
        """The Uniqueid of the channel to be hung up next: what dials the second leg, or the root.

        When they have ended, what else has not; None where nothing is left.
        """
        for uniqueid in (self._tree.caller, self.root):
            channel = self._tree.channels.get(uniqueid)
            if channel is not None and not channel.ended:
                return uniqueid
        if not self._tree.channels:
            return self.root  # it may only just be made
        return next(iter(self._tree.alive), None)

    def name_of(self, leg: Leg) -> str | None:
        """The name of the channel that a leg is shown by; None where none is known."""
        return self._tree.name_of(leg)

    @property
    def caller(self) -> str:
        """The Uniqueid of the channel that dials the second leg."""
        return self._tree.caller

    def talks_alone(self) -> bool:
        """Whether what dialled the second talks, and the way it dialled is gone.

        What the dialplan has bound the dialling to has gone with it.
        """
        head = self._dialed_last()
        return self._direct or (head is not None and head.optimized and head.ended)

    @property
    def far_half_of_second(self) -> str | None:
        """The name of the half that runs the second's dialplan; None where there is none."""
        head = self._dialed_last()
        return None if head is None or head.ended else head.other_half

    def _dialed_last(self) -> Channel | None:
        return self._tree.channels.get(self._tree.dialed[-1]) if self._tree.dialed else None

    def who_left(self) -> Leg | None:
        """Who has transferred the talk, where nobody has come in their place."""
        return self._end.who_left()

    def talk_since(self) -> float | None:
        """Since when the two talk, in seconds; None where they do not, or nobody has seen it."""
        second = self._legs[Leg.SECOND]
        return None if second.missed else second.answered_at

    @property
    def first_answered(self) -> bool:
        """Whether the first leg was answered, seen or not."""
        return self._legs[Leg.FIRST].answered_at is not None

    @property
    def second_answered(self) -> bool:
        """Whether the second leg was answered, seen or not."""
        return self._legs[Leg.SECOND].answered_at is not None

    @property
    def is_explained(self) -> bool:
        """Whether all has been told that will be told of why the first leg was not answered."""
        seen = self.root in self._tree.channels
        return self.first_answered or (self._originate_failed and (self._timed_out or seen))

    @property
    def ran_dialplan(self) -> bool:
        """Whether the first leg was rung by a dialplan, behind a Local channel."""
        return self.root + ";2" in self._tree.channels

    def second_is_one_of_several(self) -> bool:
        """Whether what is said of the second leg as a whole may be another phone's word."""
        return self._last_word(Leg.SECOND).speaks_for_itself

    def evidence(self) -> CallEvidence:
        """What was watched of the call."""
        hung_up_by, hung_up_at = self._end.ended()
        words = {leg: self._last_word(leg) for leg in Leg}
        # Where the phone has refused, what the timeout ended is a place where no phone was.
        timed_out = self._timed_out and not words[Leg.FIRST].has_refused
        return CallEvidence(
            first=self._leg_evidence(Leg.FIRST, words[Leg.FIRST]),
            second=self._leg_evidence(Leg.SECOND, words[Leg.SECOND]),
            timed_out=Leg.FIRST if timed_out else None,
            rang_out=frozenset(leg for leg, word in words.items() if word.rang_out),
            dialed=bool(self._tree.dialed),
            hung_up_by=hung_up_by,
            hung_up_at=hung_up_at,
            lost=self.lost,
        )

    def _last_word(self, leg: Leg) -> LastWord:
        trace, channels = self._legs[leg], self._tree.of_leg(leg)
        timed_out = self._timed_out if leg is Leg.FIRST else trace.status == "NOANSWER"
        return trace.last_word(channels, self._tree.head_of(leg), timed_out=timed_out)

    def _leg_evidence(self, leg: Leg, word: LastWord) -> LegEvidence:
        unrung = not self.lost and self._tree.is_unrung(leg)
        head = self._tree.head_of(leg)
        return self._legs[leg].evidence(word, head, unrung=unrung, lost=self.lost)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


_TAKERS: Final[Mapping[str, Callable[[CallTrace, Message, float], list[LegEvent]]]] = {
    "Newchannel": CallTrace._new_channel,  # noqa: SLF001 - the class's own table
    "LocalBridge": CallTrace._local_bridge,  # noqa: SLF001
    "LocalOptimizationEnd": CallTrace._local_optimized,  # noqa: SLF001
    "BlindTransfer": CallTrace._blind_transfer,  # noqa: SLF001
    "AttendedTransfer": CallTrace._attended_transfer,  # noqa: SLF001
    "Pickup": CallTrace._picked_up,  # noqa: SLF001
    "DialBegin": CallTrace._dial_begin,  # noqa: SLF001
    "DialState": CallTrace._dial_state,  # noqa: SLF001
    "DialEnd": CallTrace._dial_end,  # noqa: SLF001
    "OriginateResponse": CallTrace._originate_response,  # noqa: SLF001
    "HangupRequest": CallTrace._hangup_request,  # noqa: SLF001
    "Hangup": CallTrace._hangup,  # noqa: SLF001
}
