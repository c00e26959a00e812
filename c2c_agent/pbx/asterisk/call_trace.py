"""One call, watched through AMI events: leg events as they become true, evidence at the end.

Pure. `CallTrace` takes the events that carry the call's Linkedid (`channel_id` tells whose they
are); `channel_tree` knows which leg a channel is part of. OriginateResponse travels a way of its
own and may come before everything else, or after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import define, evolve, field

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
from c2c_agent.pbx.asterisk.channel_tree import APART, Channel, ChannelTree
from c2c_agent.pbx.asterisk.last_word import LastWord, of_answered, of_unanswered

#: DialState values that say that a phone makes itself heard. PROGRESS (SIP 183) is how a trunk
#: usually says it.
_ALERTING: Final = frozenset({"RINGING", "PROGRESS"})

#: OriginateResponse reasons (pbx.c, `pbx_dial_reason`) that say something: our timeout, and what a
#: Local channel's dialplan indicated. All else comes as 0.
_TIMED_OUT: Final = "3"
_INDICATED: Final[Mapping[str, str]] = {"5": "BUSY", "8": "CONGESTION"}

_NORMAL_CLEARING: Final = 16

#: Causes that are no reason: none, and normal clearing.
_EMPTY: Final = frozenset({None, 0, _NORMAL_CLEARING})

#: Causes that say of a leg as a whole that nobody answered.
_NO_ANSWER: Final = frozenset({18, 19})

#: Who leaves in an attended transfer, and who then talks in their place; the channels of each are
#: headers that begin so.
_TRANSFERS: Final = (("OrigTransferer", "TransferTarget"), ("SecondTransferer", "Transferee"))


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
    _legs: dict[Leg, _LegTrace] = field(factory=lambda: {leg: _LegTrace() for leg in Leg})
    _originate_failed: bool = False
    _timed_out: bool = False
    _hangups: list[tuple[Channel, Leg, float]] = field(factory=list)  # who asked for one, and when
    _is_to_end: bool = False
    _heard_at: float = 0.0  # when the last event came
    _direct: bool = False  # a list shows that no Local channel is between the two
    _left: tuple[Channel, Leg, float] | None = None  # who has transferred the talk, and when

    @_tree.default
    def _new_tree(self) -> ChannelTree:
        return ChannelTree(self.root)

    # Events in, leg events out

    def observe(self, event: Message, now: float) -> list[LegEvent]:
        """Take one event at `now` (seconds); what says nothing of the legs is passed over."""
        self._heard_at = now
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
        if not self._tree.is_taken and not self._tree.dialed and self._is_phone_of_first(caller):
            self._tree.set_caller(caller, name)  # the dialplan dials, no session has told
        self._tie_to_who_dialed(event)
        return [SecondDialed(self.timeout)] if caller == self._tree.caller else []

    def _is_phone_of_first(self, uniqueid: str) -> bool:
        """Whether it is a phone that rang as the first; one that dials was taken by c2c-bridge."""
        channel = self._tree.channels.get(uniqueid)
        of_first = self._tree.leg_of(uniqueid) is Leg.FIRST
        return channel is not None and channel.is_device and of_first and uniqueid != self.root

    def _tie_to_who_dialed(self, event: Message) -> None:
        dialed, caller = event.get("DestUniqueid"), event.get("Uniqueid")
        self._turn += 1
        self._tree.channel(dialed, event.get("DestChannel")).dialed_turn = self._turn
        if caller == self._tree.caller:
            self._tree.tie_to_caller(dialed)
        elif self._faces_the_first(caller):
            # The first has transferred the talk: what the second is put through to stands for it.
            self._tree.tie(dialed, self.root + ";2")
        elif caller:  # there is none where Originate itself dials the root
            self._tree.tie(dialed, caller)

    def _faces_the_first(self, uniqueid: str) -> bool:
        """Whether it is what the first talks with, not what is somewhere behind that."""
        channel = self._tree.channels.get(uniqueid)
        if channel is None or self._tree.leg_of(uniqueid) is not Leg.SECOND:
            return False
        return channel.is_device or uniqueid in self._tree.dialed

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
            self._device_answered(dialed)
        leg = self._dialed_leg(event)
        if leg is None:
            return []
        trace = self._legs[leg]
        trace.status = event.get("DialStatus")
        if dialed.answered:
            return self._answered(leg, now)
        if trace.ended_at is None:
            ended_at = self._ended_at(leg)
            trace.ended_at = now if ended_at is None else ended_at
        return []

    def _ended_at(self, leg: Leg) -> float | None:
        """When its dialling ended, or the channel that stands for it."""
        if (ended_at := self._legs[leg].ended_at) is not None:
            return ended_at
        head = self._tree.head_of(leg)
        return head.ended_at if head is not None else None

    def _device_answered(self, device: Channel) -> None:
        """Of several that do, the last one counts; once the leg is answered, no other does."""
        leg = self._tree.leg_of(device.uniqueid)
        if leg is None:
            return
        trace = self._legs[leg]
        if trace.device is None or trace.answered_at is None:
            trace.device = device

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
        if first.ended_at is None:
            ended_at = self._ended_at(Leg.FIRST)
            first.ended_at = now if ended_at is None else ended_at
        return []

    def _hangup_request(self, event: Message, now: float) -> list[LegEvent]:
        channel = self._ending(event)
        channel.sip = _number(event.get("TechCause"))
        channel.asked_at = now
        if channel.is_far_half:
            return []  # the near half was hung up, and takes this one along
        if event.get("ChannelStateDesc", "Up") != "Up":
            channel.refused = True  # it was only rung, perhaps by a queue that has answered
            return []
        leg = self._tree.leg_of(channel.uniqueid)
        if leg is None or self._is_to_end:
            return []
        # A dialplan that answers and hangs up at once may be told to have done so in this order.
        if self._legs[leg].answered_at is not None or channel.uniqueid in self._tree.dialed:
            self._hangups.append((channel, leg, now))
        return []

    def _ending(self, event: Message) -> Channel:
        """The channel whose end this is about.

        One that nothing was heard of has come to the talk from outside, as who is called back
        after a transfer that failed: in the place of a leg that has left it.
        """
        uniqueid, name = event.get("Uniqueid"), event.get("Channel")
        is_new = uniqueid not in self._tree.channels and uniqueid != self.root
        if is_new and not self.lost:
            for leg in (Leg.SECOND, Leg.FIRST):
                if self._tree.left_at(leg) is not None:
                    self._tree.stand_in(uniqueid, name, self._tree.talkers(leg)[-1].uniqueid)
                    break
        return self._tree.channel(uniqueid, name)

    @property
    def _hung_up(self) -> tuple[Leg | None, float | None]:
        """Whose side ended the talk by hanging up, and when.

        Not a Local channel that has left the talk to others, nor the root where the phone was taken
        out of it: those end by themselves, and may be told so in any order. Nor who has transferred
        the talk or left it to another of the same side, nor whoever was made to leave.
        """
        for channel, leg, asked_at in self._hangups:
            answered_at = self._legs[leg].answered_at
            if answered_at is None:
                continue
            at = max(asked_at, answered_at)
            leaves_a_talk = self._leaves_by_itself(channel, leg) or self._goes_on(channel, leg, at)
            if not leaves_a_talk and not self._was_over(leg, at):
                return leg, at
        return None, None

    def _leaves_by_itself(self, channel: Channel, leg: Leg) -> bool:
        if not channel.is_device and self._tree.fell_silent(leg):
            return True  # it went with the phone behind it
        is_root = channel.uniqueid == self.root and self._tree.is_taken
        has_transferred = self._left is not None and self._left[0] is channel
        has_left = self._tree.has_left(channel)
        return is_root or has_transferred or has_left or self._is_made_to(channel)

    def _is_made_to(self, channel: Channel) -> bool:
        """Whether the half that dialled it was hung up before: it only repeats that, as IAX2 does.

        Not where that half had done its part at the answer, and had gone then.
        """
        half, asked_at = self._tree.dialed_by(channel), channel.asked_at
        if half is None or not half.is_far_half or half.asked_at is None or asked_at is None:
            return False
        is_of_root = half.uniqueid == self.root + ";2" and self._tree.is_taken
        return half.asked_at < asked_at and not is_of_root and not self._tree.has_left(half)

    def _goes_on(self, gone: Channel, leg: Leg, at: float) -> bool:
        """Whether the leg has others who talk on when this one has gone."""
        for channel in self._tree.talkers(leg):
            left_at = self._heard_at if channel.left_at is None else channel.left_at
            if channel is not gone and left_at >= at + APART:
                return True
        return False

    def _was_over(self, leg: Leg, at: float) -> bool:
        """Whether the other leg had gone before, and had not left this one to somebody else."""
        other = Leg.SECOND if leg is Leg.FIRST else Leg.FIRST
        left_at = self._tree.left_at(other)
        waits = self._left is not None and self._left[1] is other
        return left_at is not None and left_at < at and not waits

    def _talk_over_at(self) -> float | None:
        """When the talk was over; None where there was none, or it is not over."""
        if self._legs[Leg.SECOND].answered_at is None:
            return None
        ends = [at for leg in Leg if (at := self._tree.left_at(leg)) is not None]
        return min(ends, default=None)

    def who_left(self) -> Leg | None:
        """Who has transferred the talk, where nobody has come in their place."""
        if self._left is None or self._goes_on(*self._left):
            return None
        return self._left[1]

    def _local_optimized(self, event: Message, _now: float) -> list[LegEvent]:
        for half in ("LocalOne", "LocalTwo"):
            name = event.get(half + "Channel")
            self._tree.channel(event.get(half + "Uniqueid"), name).optimized = True
        return []

    def _blind_transfer(self, event: Message, now: float) -> list[LegEvent]:
        if event.get("Result") == "Success":
            self._transferred(event.get("TransfererUniqueid"), now)
        return []

    def _attended_transfer(self, event: Message, now: float) -> list[LegEvent]:
        """The call may be that of either of the two channels of who transfers."""
        if event.get("Result") == "Success":
            for leaves, comes in _TRANSFERS:
                gone = event.get(leaves + "Uniqueid")
                if self._transferred(gone, now) and (uniqueid := event.get(comes + "Uniqueid")):
                    self._tree.stand_in(uniqueid, event.get(comes + "Channel"), gone)
        return []

    def _transferred(self, uniqueid: str, now: float) -> bool:
        """Whether it is a party of ours that has transferred."""
        leg = self._tree.leg_of(uniqueid)
        if leg is not None:
            self._left = self._tree.channels[uniqueid], leg, now
        return leg is not None

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
        channel = self._ending(event)
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
        self._is_to_end = True
        self._left = None

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
        listed = {channel.get("Uniqueid") for channel in channels}
        for channel in self._tree.channels.values():
            if not channel.ended and channel.uniqueid not in listed:
                channel.ended = True

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
        """Whether the phone that was taken out of the root talks, and the way it dialled is gone.

        What the dialplan has bound the dialling to has gone with it.
        """
        head = self._tree.channels.get(self._tree.dialed[-1]) if self._tree.dialed else None
        return self._tree.is_taken and (self._direct or (head is not None and head.optimized))

    def talk_since(self) -> float | None:
        """Since when the two talk, in seconds; None where they do not, or nobody has seen it."""
        second = self._legs[Leg.SECOND]
        return None if second.missed else second.answered_at

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

    def second_is_one_of_several(self) -> bool:
        """Whether what is said of the second leg as a whole may be another phone's word."""
        return self._last_word(Leg.SECOND).speaks_for_itself

    def evidence(self) -> CallEvidence:
        """What was watched of the call."""
        hung_up_by, hung_up_at = self._hung_up
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
            hung_up_at=self._talk_over_at() if hung_up_at is None else hung_up_at,
            lost=self.lost,
        )

    def _last_word(self, leg: Leg) -> LastWord:
        trace, head, channels = self._legs[leg], self._tree.head_of(leg), self._tree.of_leg(leg)
        if trace.answered_at is not None:
            return of_answered(channels, head, trace.device)
        timed_out = self._timed_out if leg is Leg.FIRST else trace.status == "NOANSWER"
        is_over = trace.ended_at is not None and trace.status != "CANCEL"
        return of_unanswered(channels, head, is_over=is_over, timed_out=timed_out)

    def _leg_evidence(self, leg: Leg, word: LastWord) -> LegEvidence:
        trace, shown = self._legs[leg], word.channel
        told = LegEvidence(
            status=trace.status or ("ANSWER" if trace.missed else None),
            ringing_at=trace.ringing_at,
            answered_at=None if trace.missed else trace.answered_at,
            ended_at=self._ended_at(leg),
            by=word.by,
            tried=word.tried,
            unrung=trace.ringing_at is not None and not self.lost and self._tree.is_unrung(leg),
        )
        if shown is None:
            return told
        told = evolve(told, channel=shown.name, sip=shown.sip if shown.is_device else None)
        if trace.answered_at is not None:
            return _with_cause_of(shown, told, is_own=shown.is_device, lost=self.lost)
        why = _why_unanswered(shown, self._tree.head_of(leg), word)
        told = evolve(
            told,
            status=shown.own_status if word.speaks_for_itself else told.status,
            ended_at=shown.over_at if word.has_refused else told.ended_at,
        )
        return _with_cause_of(why, told, is_own=why.turned_down)


def _why_unanswered(shown: Channel, head: Channel | None, word: LastWord) -> Channel:
    """Whose cause says why a leg was not answered: that of what is shown, or of the leg's head."""
    if head is None or head.cause in _EMPTY:
        return shown
    if not word.has_refused:
        # It was given up, and its own cause says only that. Busy was another one.
        return head if head.cause in _NO_ANSWER or not shown.is_device else shown
    return head if shown.cause in _EMPTY and not word.is_one_of_several else shown


def _with_cause_of(
    channel: Channel, leg: LegEvidence, *, is_own: bool, lost: bool = False
) -> LegEvidence:
    """A leg with the cause of a channel.

    Unless it `is_own`, it may be that of a phone which was tried before: Asterisk leaves that on
    the channel that has dialled (app_dial.c), and passes it on to what is hung up with it. Where
    some was `lost`, that phone may be unknown.
    """
    before = {one.cause for one in leg.tried}
    if channel.cause not in _EMPTY and not is_own and (lost or channel.cause in before):
        return evolve(leg, cause=_NORMAL_CLEARING, cause_text="Normal Clearing")
    return evolve(leg, cause=channel.cause, cause_text=channel.cause_text)


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
