"""The channels of one call, and which leg each is part of.

Pure. Every channel of a call hangs on the one that Originate made (the root, whose Uniqueid we
chose). One channel dials the second leg; it is called the caller here. Mostly that is the phone
that answered, on which c2c-bridge then runs, and the root ends at that moment:

    root ─ its far half (Local ";2") ─ the phone (the caller)               the first leg
                                         └─ what it dials ─ its far half …  the second leg

Where the first leg is no phone of this PBX, or its dialplan does not take the phone out, the root
itself is the caller:

    root ─── its own far half (Local ";2") ─ what that dials          the first leg
      └─── what the root dials ─ its far half ─ what that dials …     the second leg

A Local channel that two parties talk through may optimise itself away (core_local.c): its halves
end, and the talk goes on without them.

Events of different threads of Asterisk overtake one another, so who dialled whom is only noted when
it is told, and worked out when it is asked.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from attrs import define, field

from c2c_agent.ami.message import Message
from c2c_agent.call.evidence import NO_MEDIA, Leg

#: Seconds within which channels end that end together.
APART: Final = 1.0

#: Contexts of asterisk-conf/c2c-bridge.conf in which a channel is that dials the second leg.
CALLERS_CONTEXTS: Final = frozenset({"c2c-bridge", "c2c-talk", "c2c-confirm"})


#: Dial statuses of a device that has not said itself that it does not take the call. It has where
#: it was busy or could not be reached, or where somebody took it up and then did not want it
#: (what option U of Dial gives).
_NOT_ITS_WORD: Final = frozenset({None, "ANSWER", "CANCEL", "NOANSWER"})


@define
class Channel:
    """What was told of one channel. `sip` is the response by which its far end refused.

    `status` is that of its own dialling, which began and was over as the so-manieth thing that was
    told of the call (`dialed_turn`, `over_turn`): two may be told to have happened at one time.
    """

    uniqueid: str
    name: str
    dialed_turn: int = 0
    over_turn: int | None = None
    over_at: float | None = None
    rang_at: float | None = None
    status: str | None = None
    refused: bool = False
    answered: bool = False
    optimized: bool = False  # it has taken itself out of a talk, which goes on
    ended: bool = False
    ended_at: float | None = None
    asked_at: float | None = None  # when somebody behind it asked for its end
    cause: int | None = None
    cause_text: str | None = None
    sip: int | None = None

    @property
    def rang(self) -> bool:
        """Whether it made itself heard."""
        return self.rang_at is not None

    @property
    def ring_seconds(self) -> float | None:
        """For how long it rang until its dialling was over; None where it did not, or still is."""
        if self.rang_at is None or self.over_at is None:
            return None
        return max(0.0, self.over_at - self.rang_at)

    @property
    def turned_down(self) -> bool:
        """Whether it was the device itself that did not take the call, not who dialled it."""
        return self.refused or self.status not in _NOT_ITS_WORD

    @property
    def own_status(self) -> str:
        """Its dial status as one that did not answer: given up is not answered, by whatever end."""
        return self.status if self.status is not None and self.turned_down else "NOANSWER"

    @property
    def is_device(self) -> bool:
        """Whether a phone or trunk is behind it, not another part of the dialplan."""
        return not self.name.startswith("Local/")

    @property
    def is_far_half(self) -> bool:
        """Whether it is the half of a Local channel that runs the dialplan behind it."""
        return not self.is_device and self.name.endswith(";2")

    @property
    def left_at(self) -> float | None:
        """When it was no part of a talk any more; an agent may hold its channel for longer."""
        known = [at for at in (self.asked_at, self.ended_at) if at is not None]
        return min(known) if known else None

    @property
    def other_half(self) -> str | None:
        """The name of the other half, where it is one of a Local channel."""
        if self.is_device:
            return None
        return self.name[:-1] + ("1" if self.is_far_half else "2")


@define
class ChannelTree:
    """All channels of one call that were ever told of."""

    root: str
    caller: str = field(init=False)  # the Uniqueid of what dials the second leg
    channels: dict[str, Channel] = field(factory=dict)
    dialed: list[str] = field(factory=list)  # by the caller, in order: the second leg
    _parents: dict[str, str] = field(factory=dict)

    @caller.default
    def _root_calls(self) -> str:
        return self.root

    def set_caller(self, uniqueid: str, name: str) -> None:
        """Note which channel dials the second leg."""
        if uniqueid == self.caller:
            return
        self.channel(uniqueid, name)
        self.caller = self._kept(uniqueid)
        if self.leg_of(uniqueid) is not Leg.FIRST:
            self.tie(uniqueid, self.root + ";2")
        # What hung on it up to now was dialled by it; it was only not known what that means.
        for child, parent in list(self._parents.items()):
            if parent == uniqueid:
                self.dialed.append(child)

    @property
    def is_taken(self) -> bool:
        """Whether the phone itself dials the second leg, and the root's end says nothing."""
        return self.caller != self.root

    def channel(self, uniqueid: str, name: str) -> Channel:
        """The channel of this Uniqueid; a new one where it was not told of before."""
        channel = self.channels.get(uniqueid)
        if channel is None:
            uniqueid = self._kept(uniqueid)
            channel = self.channels[uniqueid] = Channel(uniqueid, name)
        return channel

    def tie(self, uniqueid: str, parent: str) -> None:
        """Note that a channel was dialled by `parent`, or is the far half of it."""
        self._parents[self._kept(uniqueid)] = self._kept(parent)

    def tie_to_caller(self, uniqueid: str) -> None:
        """Note that a channel was dialled by the caller, so stands for the second leg."""
        uniqueid = self._kept(uniqueid)
        self._parents[uniqueid] = self.caller
        self.dialed.append(uniqueid)

    def rang_as_first(self, uniqueid: str) -> bool:
        """Whether it is a phone that rang as the first; one that dials was taken by c2c-bridge."""
        channel, of_first = self.channels.get(uniqueid), self.leg_of(uniqueid) is Leg.FIRST
        return channel is not None and channel.is_device and of_first and uniqueid != self.root

    def tie_to_who_dialed(self, uniqueid: str, dialed_by: str) -> None:
        """Note which channel has dialled another one; `dialed_by` may be empty."""
        if dialed_by == self.caller:
            self.tie_to_caller(uniqueid)
        elif self._faces_the_first(dialed_by):
            # The first has transferred the talk: what the second is put through to stands for it.
            self.tie(uniqueid, self.root + ";2")
        elif dialed_by:  # there is none where Originate itself dials the root
            self.tie(uniqueid, dialed_by)

    def _faces_the_first(self, uniqueid: str) -> bool:
        """Whether it is what the first talks with, not what is somewhere behind that."""
        channel = self.channels.get(uniqueid)
        if channel is None or self.leg_of(uniqueid) is not Leg.SECOND:
            return False
        return channel.is_device or uniqueid in self.dialed

    def _kept(self, uniqueid: str) -> str:
        """An id as it is kept already: each event brings its own copy of the same few."""
        if uniqueid == self.root:
            return self.root
        channel = self.channels.get(uniqueid)
        return uniqueid if channel is None else channel.uniqueid

    def leg_of(self, uniqueid: str) -> Leg | None:
        """The leg that a channel is part of; None where that was not told yet."""
        for _ in range(len(self._parents) + 1):
            if uniqueid in (self.root, self.root + ";2"):
                return Leg.FIRST
            if uniqueid in self.dialed:
                return Leg.SECOND
            if uniqueid not in self._parents:
                return None
            uniqueid = self._parents[uniqueid]
        return None

    def head_of(self, leg: Leg) -> Channel | None:
        """The channel that stands for the leg as a whole: the caller, or what it dialled last.

        Of one that has optimised itself away, what was behind it.
        """
        if leg is Leg.FIRST:
            return self.channels.get(self.caller)
        head = self.channels.get(self.dialed[-1]) if self.dialed else None
        for _ in self.channels:
            if head is None or not self.has_left(head):
                break
            head = self._behind(head) or self.device_of(leg)
        return head

    def _behind(self, near: Channel) -> Channel | None:
        """What answered behind a Local channel, dialled by its far half."""
        for uniqueid, parent in self._parents.items():
            dialed, far = self.channels.get(uniqueid), self.channels.get(parent)
            answered = dialed is not None and dialed.answered
            if answered and far is not None and far.name == near.other_half:
                return dialed
        return None

    def has_left(self, channel: Channel) -> bool:
        """Whether a Local channel has left a talk that went on without it.

        Where an older eventfilter keeps the event back that says so, the two who went on tell.
        """
        if channel.optimized:
            return True
        ended_at, other = channel.ended_at, channel.other_half
        if ended_at is None or other is None or channel.uniqueid == self.root:
            return False
        near = self.named(other) if channel.is_far_half else channel
        behind = self._behind(near) if near is not None else None
        two = (behind, self.channels.get(self.caller))
        return all(one is not None and _outlived(one, ended_at) for one in two)

    def of_leg(self, leg: Leg) -> list[Channel]:
        """All channels of a leg, in the order in which they were told of."""
        return [one for one in self.channels.values() if self.leg_of(one.uniqueid) is leg]

    def _devices_of(self, leg: Leg) -> list[Channel]:
        return [channel for channel in self.of_leg(leg) if channel.is_device]

    def is_unrung(self, leg: Leg) -> bool:
        """Whether no device of it rang: there was none, or each one refused at once.

        Dial and Queue can let the other side hear ringing before any device rings.
        """
        return all(device.refused and not device.rang for device in self._devices_of(leg))

    def may_have_fallen_silent(self, leg: Leg) -> bool:
        """Whether Asterisk has ended a talk because nothing was heard of a device any more.

        Or may have: of a device that talks, and has not hung up, only its end tells the cause.
        """
        return any(
            device.asked_at is None
            and (device.cause == NO_MEDIA or (device.answered and not device.ended))
            for device in self._devices_of(leg)
        )

    def device_of(self, leg: Leg) -> Channel | None:
        """The leg's phone or trunk: of several the one that answered, else the last one tried."""
        devices = self._devices_of(leg)
        answered = [channel for channel in devices if channel.answered]
        return (answered or devices)[-1] if devices else None

    def name_of(self, leg: Leg) -> str | None:
        """The name of the channel that a leg is shown by."""
        channel = self.device_of(leg) or self.head_of(leg)
        return channel.name if channel is not None else None

    def dialed_by(self, channel: Channel) -> Channel | None:
        """What has dialled a channel, or left the talk to it, where that is known."""
        return self.channels.get(self._parents.get(channel.uniqueid, ""))

    def talkers(self, leg: Leg) -> list[Channel]:
        """Those of a leg that have taken part in the talk, one after the other or together."""
        return [
            channel
            for channel in self.channels.values()
            if (channel.answered or channel.uniqueid == self.caller)
            and self.leg_of(channel.uniqueid) is leg
        ]

    def left_at(self, leg: Leg) -> float | None:
        """When the last of a leg left the talk; None where one has not, or nobody knows."""
        ends = [channel.left_at for channel in self.talkers(leg)]
        known = [at for at in ends if at is not None]
        return max(known) if known and len(known) == len(ends) else None

    def unplaced(self) -> list[Channel]:
        """Those that talk, and are of no leg: whom a party of the call has asked beside it."""
        return [
            channel
            for channel in self.channels.values()
            if channel.answered and not channel.ended and self.leg_of(channel.uniqueid) is None
        ]

    def stand_in(self, uniqueid: str, name: str, gone: str) -> None:
        """Note that a channel has taken the place of `gone`, which has left the talk to it."""
        self.channel(uniqueid, name).answered = True
        if self.leg_of(uniqueid) is None:
            self.tie(uniqueid, gone)

    @property
    def all_ended(self) -> bool:
        """Whether every channel that was told of has ended."""
        return all(channel.ended for channel in self.channels.values())

    def has_ended(self, leg: Leg) -> bool:
        """Whether there were channels of this leg, and none is left."""
        ended = [one.ended for one in self.of_leg(leg)]
        return bool(ended) and all(ended)

    @property
    def alive(self) -> list[str]:
        """The Uniqueids of those that have not ended."""
        return [channel.uniqueid for channel in self.channels.values() if not channel.ended]

    @property
    def only_halves_alive(self) -> bool:
        """Whether all that has not ended are halves of which the other has: so will they.

        One that was joined with another call has that call's Linkedid, and its end is not told.
        """
        gone = {channel.name for channel in self.channels.values() if channel.ended}
        return all(
            channel.ended or channel.other_half in gone for channel in self.channels.values()
        )

    def named(self, name: str) -> Channel | None:
        """The channel of this name."""
        return next((one for one in self.channels.values() if one.name == name), None)

    def take_list(self, listed: Mapping[str, Message]) -> None:
        """Take the call's channels as CoreShowChannels lists them, by Uniqueid.

        Those that are not listed any more have ended unseen. A channel whose dialling was not seen
        is of the leg of its other half, or of who is in a bridge with it, where the bridge is not
        the caller's: who talks with the caller was dialled by it. What is left was dialled by the
        caller, too, unless that was not even answered: the near half of a Local channel, and by its
        far half whatever else there is. A list has no order.
        """
        for uniqueid, channel in listed.items():
            known = self.channel(uniqueid, channel.get("Channel"))
            known.answered = known.answered or _is_up(channel)
            if uniqueid != self.root and channel.get("Context") in CALLERS_CONTEXTS:
                self.set_caller(uniqueid, channel.get("Channel"))
        self.end_all_but(listed)
        while unknown := [uniqueid for uniqueid in listed if self.leg_of(uniqueid) is None]:
            tied = [uniqueid for uniqueid in unknown if self._tie_to_company(uniqueid, listed)]
            if tied:
                continue
            nearest = min(unknown, key=self._depth)
            behind = self._far_half_of_dialed()
            if not _is_up(listed.get(self.caller)):
                self.tie(nearest, self.root + ";2")
            elif behind is not None:
                self.tie(nearest, behind)
            else:
                self.tie_to_caller(nearest)

    def _depth(self, uniqueid: str) -> int:
        """Which of several channels the caller has dialled, most likely: the one of the least."""
        channel = self.channels[uniqueid]
        return 2 if channel.is_far_half else int(channel.is_device)

    def _far_half_of_dialed(self) -> str | None:
        """What runs the dialplan behind what the caller has dialled last, if that is there."""
        head = self.channels.get(self.dialed[-1]) if self.dialed else None
        far = self.named(head.other_half) if head is not None and head.other_half else None
        return None if far is None or far.ended else far.uniqueid

    def end_all_but(self, listed: Container[str]) -> None:
        """Note that what is not listed has ended unseen."""
        for known in self.channels.values():
            known.ended = known.ended or known.uniqueid not in listed

    def _tie_to_company(self, uniqueid: str, listed: Mapping[str, Message]) -> bool:
        """Tie a channel by what it is together with, if the leg of that is known."""
        name, bridge = listed[uniqueid].get("Channel"), listed[uniqueid].get("BridgeId")
        for other, channel in listed.items():
            in_bridge = bridge and channel.get("BridgeId") == bridge
            halves = name[:-1] == channel.get("Channel")[:-1] and name.startswith("Local/")
            if other == uniqueid or not (in_bridge or halves) or self.leg_of(other) is None:
                continue
            if other == self.caller:
                self.tie_to_caller(uniqueid)
            else:
                self.tie(uniqueid, other)
            return True
        return False


def _outlived(channel: Channel, at: float) -> bool:
    """Whether a channel went on for longer than what ends together does."""
    return not channel.ended or (channel.ended_at is not None and channel.ended_at > at + APART)


def _is_up(channel: Message | None) -> bool:
    return channel is None or channel.get("ChannelStateDesc") == "Up"
