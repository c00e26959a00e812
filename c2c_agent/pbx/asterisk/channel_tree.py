"""The channels of one call, and which leg each is part of.

Pure. Every channel of a call hangs on the one that Originate made (the root, whose Uniqueid we
chose):

    root ─── its own far half (Local ";2") ─ what that dials          the first leg
      └─── what the root dials ─ its far half ─ what that dials …     the second leg

Events of different threads of Asterisk overtake one another, so who dialled whom is only noted when
it is told, and worked out when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from c2c_agent.ami.message import Message
from c2c_agent.call.evidence import Leg


@define
class Channel:
    """What was told of one channel. `sip` is the response by which its far end refused."""

    uniqueid: str
    name: str
    rang: bool = False
    refused: bool = False
    answered: bool = False
    ended: bool = False
    cause: int | None = None
    cause_text: str | None = None
    sip: int | None = None

    @property
    def is_device(self) -> bool:
        """Whether a phone or trunk is behind it, not another part of the dialplan."""
        return not self.name.startswith("Local/")

    @property
    def is_far_half(self) -> bool:
        """Whether it is the half of a Local channel that runs the dialplan behind it."""
        return not self.is_device and self.name.endswith(";2")

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
    channels: dict[str, Channel] = field(factory=dict)
    dialed: list[str] = field(factory=list)  # by the root, in order: the second leg
    _parents: dict[str, str] = field(factory=dict)

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

    def tie_to_root(self, uniqueid: str) -> None:
        """Note that a channel was dialled by the root, so stands for the second leg."""
        uniqueid = self._kept(uniqueid)
        self._parents[uniqueid] = self.root
        self.dialed.append(uniqueid)

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
        """The channel that stands for the leg as a whole: the root, or what it dialled last."""
        if leg is Leg.FIRST:
            return self.channels.get(self.root)
        return self.channels.get(self.dialed[-1]) if self.dialed else None

    def device_of(self, leg: Leg) -> Channel | None:
        """The leg's phone or trunk: of several the one that answered, else the last one tried."""
        devices = [
            channel
            for channel in self.channels.values()
            if channel.is_device and self.leg_of(channel.uniqueid) is leg
        ]
        answered = [channel for channel in devices if channel.answered]
        return (answered or devices)[-1] if devices else None

    def name_of(self, leg: Leg) -> str | None:
        """The name of the channel that a leg is shown by."""
        channel = self.device_of(leg) or self.head_of(leg)
        return channel.name if channel is not None else None

    @property
    def all_ended(self) -> bool:
        """Whether every channel that was told of has ended."""
        return all(channel.ended for channel in self.channels.values())

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
        the root's: who talks with the root was dialled by it. What is left was dialled by the root,
        too, unless the root was not even answered.
        """
        for uniqueid, channel in listed.items():
            self.channel(uniqueid, channel.get("Channel"))
        for known in self.channels.values():
            known.ended = known.ended or known.uniqueid not in listed
        while unknown := [uniqueid for uniqueid in listed if self.leg_of(uniqueid) is None]:
            tied = [uniqueid for uniqueid in unknown if self._tie_to_company(uniqueid, listed)]
            if not tied and _is_up(listed.get(self.root)):
                self.tie_to_root(unknown[0])
            elif not tied:
                self.tie(unknown[0], self.root + ";2")

    def _tie_to_company(self, uniqueid: str, listed: Mapping[str, Message]) -> bool:
        """Tie a channel by what it is together with, if the leg of that is known."""
        name, bridge = listed[uniqueid].get("Channel"), listed[uniqueid].get("BridgeId")
        for other, channel in listed.items():
            in_bridge = bridge and channel.get("BridgeId") == bridge
            halves = name[:-1] == channel.get("Channel")[:-1] and name.startswith("Local/")
            if other == uniqueid or not (in_bridge or halves) or self.leg_of(other) is None:
                continue
            if other == self.root:
                self.tie_to_root(uniqueid)
            else:
                self.tie(uniqueid, other)
            return True
        return False


def _is_up(channel: Message | None) -> bool:
    return channel is None or channel.get("ChannelStateDesc") == "Up"
