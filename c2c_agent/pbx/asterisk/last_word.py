"""Which channel had the last word of a leg, and which were tried before.

Pure. A leg may be several phones, at once or one after the other, with a dialplan behind or before
them. What is told of it is told of one: of what answered it, or of what said last why nobody did.

Phones that are dialled at once are one round. In a round, a phone that rang to the end counts more
than one that refused: it was there to be answered. One that refused counts more than one of which
nothing was ever heard, which is what a place is where a phone is registered and is not any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from attrs import frozen

from c2c_agent.call.evidence import MOST_TRIED, Attempt, SaidBy
from c2c_agent.pbx.asterisk.channel_tree import Channel

#: Dial statuses that tell nothing of the phone itself: it was hung up for another's sake, or by us.
_NOT_ITS_OWN: Final = frozenset({None, "ANSWER", "CANCEL"})

#: Causes that a phone gives for itself: user busy, call rejected. Others, such as "no user
#: responding" (18), may come from a place where nothing is.
_ITS_OWN_CAUSES: Final = frozenset({17, 21})


@frozen
class LastWord:
    """Which channel had a leg's last word, or is shown for it where none had (`by` is None).

    `has_refused`: it is a device that did not take the call. `rang_out`: it is one that rang for as
    long as it might. `is_one_of_several`: others were dialled, too, of the same leg.
    """

    by: SaidBy | None = None
    channel: Channel | None = None
    has_refused: bool = False
    rang_out: bool = False
    is_one_of_several: bool = False
    tried: tuple[Attempt, ...] = ()

    @property
    def speaks_for_itself(self) -> bool:
        """Whether what is told of an unanswered leg as a whole may be what another one said."""
        return self.by is not None and self.is_one_of_several


def of_answered(
    channels: Sequence[Channel], head: Channel | None, answered: Channel | None
) -> LastWord:
    """The last word of a leg that was answered.

    `channels` are all of the leg, in the order in which they were told of, `head` the one that
    stands for it, and `answered` the device that is known to have answered, if one is.
    """
    devices = [channel for channel in channels if channel.is_device]
    up = [channel for channel in channels if channel.answered and not channel.is_far_half]
    device = answered or next((one for one in reversed(up) if one.is_device), None)
    if device is None and head is not None and head.is_device:
        device = head
    if device is not None:
        before = [one for one in devices if _came_before(one, device)]
        return LastWord(SaidBy.DEVICE, device, tried=_attempts(before))
    if up:
        # Behind a Local channel may be another one, and the last is what the others answer for.
        return LastWord(SaidBy.DIALPLAN, up[-1], tried=_attempts(devices))
    return LastWord(None, head, tried=_attempts(devices))


def of_unanswered(
    channels: Sequence[Channel], head: Channel | None, *, is_over: bool, timed_out: bool
) -> LastWord:
    """The last word of a leg that was not answered.

    `is_over`: its dialling has ended, and not for our sake. `timed_out`: that was because of the
    ringing's limit.
    """
    devices = [channel for channel in channels if channel.is_device]
    if not devices:
        return LastWord(SaidBy.DIALPLAN if is_over and head is not None else None, head)
    last = _last_of(devices)
    given_up = not last.turned_down
    spoke = not given_up or timed_out or last.status == "NOANSWER"
    return LastWord(
        SaidBy.DEVICE if is_over and spoke else None,
        last,
        has_refused=last.turned_down,
        rang_out=given_up and last.rang and spoke,
        is_one_of_several=len(devices) > 1,
        tried=_attempts(one for one in devices if one is not last),
    )


def refused_by(own: str, named: Collection[str]) -> SaidBy | None:
    """What refused a call, by the names of the channels that Asterisk has causes of.

    Those are devices (`HANGUPCAUSE_KEYS`), and `own`, which dialled, is among them. Where it is
    not, nothing is known of the others either.
    """
    if own not in named:
        return None
    return SaidBy.DEVICE if len(named) > 1 else SaidBy.DIALPLAN


def _last_of(devices: Sequence[Channel]) -> Channel:
    """Of the devices of a leg the one whose word counts."""
    newest = max(device.dialed_turn for device in devices)
    # Whose dialling had ended before the newest one was dialled is of an earlier round. The end of
    # the newest one may have been told first.
    together = [one for one in devices if one.dialed_turn == newest or _over(one) > newest]
    ringing = [one for one in together if one.rang and not one.turned_down]
    refused = [one for one in together if one.turned_down]
    spoke = [one for one in refused if one.rang or one.cause in _ITS_OWN_CAUSES]
    for ones in (ringing, spoke, refused):
        if ones:
            return max(ones, key=_over)
    return together[-1]


def _over(device: Channel) -> float:
    return float("inf") if device.over_turn is None else device.over_turn


def _came_before(device: Channel, answered: Channel) -> bool:
    """Whether it was tried before the other answered, not after a transfer of the talk."""
    if device is answered:
        return False
    return answered.over_turn is None or device.dialed_turn < answered.over_turn


def _attempts(devices: Iterable[Channel]) -> tuple[Attempt, ...]:
    """What is told of those that said themselves why they did not answer, oldest first."""
    tried = [one for one in devices if one.status not in _NOT_ITS_OWN or one.refused]
    return tuple(_attempt(one) for one in sorted(tried, key=_over)[-MOST_TRIED:])


def _attempt(device: Channel) -> Attempt:
    return Attempt(device.name, device.status, device.cause, device.sip, device.ring_seconds)
