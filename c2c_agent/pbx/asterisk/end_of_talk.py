"""How the talk of one call ends, and whose side ended it.

Pure. Asterisk tells of each channel that somebody behind it hangs up (HangupRequest), and only some
of these end a talk. A Local channel that has left the talk to others ends by itself, so does who
has transferred it, and a channel may only repeat what was done to it. Events of different threads
of Asterisk overtake one another, so requests are only noted when they are told, and which one ended
the talk is worked out when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import define, field

from c2c_agent.call.evidence import Leg
from c2c_agent.pbx.asterisk.channel_tree import APART, Channel, ChannelTree
from c2c_agent.pbx.asterisk.leg_trace import LegTrace

#: Who leaves a talk, as part of which leg, and when.
_Leaving: TypeAlias = tuple[Channel, Leg, float]


@define
class EndOfTalk:
    """What was told of who leaves one talk, at times in seconds.

    `heard_at`: when anything was told of the call last.
    """

    _tree: ChannelTree
    _legs: Mapping[Leg, LegTrace]  # when each was answered
    heard_at: float = 0.0
    _hangups: list[_Leaving] = field(factory=list)  # who asked for one
    _left: _Leaving | None = None  # who has transferred the talk
    _is_to_end: bool = False

    def hung_up(self, channel: Channel, at: float) -> None:
        """Note that somebody behind a channel that was up has hung up."""
        leg = self._tree.leg_of(channel.uniqueid)
        if leg is None or self._is_to_end:
            return
        # A dialplan that answers and hangs up at once may be told to have done so in this order.
        if self._legs[leg].answered_at is not None or channel.uniqueid in self._tree.dialed:
            self._hangups.append((channel, leg, at))

    def transferred(self, gone: str, at: float, comes: str = "", name: str = "") -> None:
        """Note that a party has transferred the talk, and the channel that comes in its place.

        Nothing where it is no party of ours. Of a blind transfer nobody knows yet who comes.
        """
        leg = self._tree.leg_of(gone)
        if leg is None:
            return
        self._left = self._tree.channels[gone], leg, at
        if comes:
            self._tree.stand_in(comes, name, gone)

    def leaves(self, uniqueid: str, name: str) -> None:
        """Note who ends, where nothing was heard of that channel.

        It has come to the talk from outside, as who is called back after a transfer that failed: in
        the place of a leg that has left it.
        """
        if uniqueid in self._tree.channels or uniqueid == self._tree.root:
            return
        for leg in (Leg.SECOND, Leg.FIRST):
            if self._tree.left_at(leg) is not None:
                self._tree.stand_in(uniqueid, name, self._tree.talkers(leg)[-1].uniqueid)
                return

    def is_to_end(self) -> None:
        """It is hung up from here: nobody who does so now, or has left it to others, ends it."""
        self._is_to_end = True
        self._left = None

    def who_left(self) -> Leg | None:
        """Who has transferred the talk, where nobody has come in their place."""
        if self._left is None or self._goes_on(*self._left):
            return None
        return self._left[1]

    def ended(self) -> tuple[Leg | None, float | None]:
        """Whose side ended the talk by hanging up, and when.

        Nobody, where it ended otherwise, and when it was over; None where there was no talk, or it
        is not over.

        It is not a Local channel that has left the talk to others, nor the root where the phone was
        taken out of it: those end by themselves, and may be told so in any order. Nor who has
        transferred the talk or left it to another of the same side, nor whoever was made to leave.
        """
        for channel, leg, asked_at in self._hangups:
            answered_at = self._legs[leg].answered_at
            if answered_at is None:
                continue
            at = max(asked_at, answered_at)
            leaves_a_talk = self._leaves_by_itself(channel, leg) or self._goes_on(channel, leg, at)
            if not leaves_a_talk and not self._was_over(leg, at):
                return leg, at
        return None, self._over_at()

    def _leaves_by_itself(self, channel: Channel, leg: Leg) -> bool:
        if not channel.is_device and self._tree.may_have_fallen_silent(leg):
            return True  # it went with the phone behind it
        is_root = channel.uniqueid == self._tree.root and self._tree.is_taken
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
        is_of_root = half.uniqueid == self._tree.root + ";2" and self._tree.is_taken
        return half.asked_at < asked_at and not is_of_root and not self._tree.has_left(half)

    def _goes_on(self, gone: Channel, leg: Leg, at: float) -> bool:
        """Whether the leg has others who talk on when this one has gone."""
        for channel in self._tree.talkers(leg):
            left_at = self.heard_at if channel.left_at is None else channel.left_at
            if channel is not gone and left_at >= at + APART:
                return True
        return False

    def _was_over(self, leg: Leg, at: float) -> bool:
        """Whether the other leg had gone before, and had not left this one to somebody else."""
        other = Leg.SECOND if leg is Leg.FIRST else Leg.FIRST
        left_at = self._tree.left_at(other)
        waits = self._left is not None and self._left[1] is other
        return left_at is not None and left_at < at and not waits

    def _over_at(self) -> float | None:
        """When the talk was over; None where there was none, or it is not over."""
        if self._legs[Leg.SECOND].answered_at is None:
            return None
        ends = [at for leg in Leg if (at := self._tree.left_at(leg)) is not None]
        return min(ends, default=None)
