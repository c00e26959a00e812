"""One leg of a watched call: what was told of it as a whole, and what of that is evidence.

Pure. A leg as a whole is what the dialling tells that made it; its channels tell more.
`last_word` says which of them is told of. Here is what of both becomes the leg's evidence, and
whose cause is its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define

from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.evolve import evolve
from c2c_agent.pbx.asterisk.channel_tree import Channel
from c2c_agent.pbx.asterisk.last_word import LastWord, of_answered, of_unanswered

_NORMAL_CLEARING: Final = 16

#: Causes that are no reason: none, and normal clearing.
_EMPTY: Final = frozenset({None, 0, _NORMAL_CLEARING})

#: Causes that say of a leg as a whole that nobody answered.
_NO_ANSWER: Final = frozenset({18, 19})


@define
class LegTrace:
    """What was told of one leg as a whole, by the dialling that the root takes part in.

    `head`, wherever it is asked for, is the channel that stands for the leg, if one is known.
    """

    status: str | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    device: Channel | None = None  # what answered it
    missed: bool = False  # `answered_at` is when it was found: its answer was not seen

    def seen_before(self, evidence: LegEvidence) -> None:
        """Take over what was known of the leg before a restart of the agent."""
        self.ringing_at = evidence.ringing_at
        self.answered_at = evidence.answered_at
        if evidence.answered_at is not None and evidence.channel is not None:
            answered = Channel("", evidence.channel)  # its Uniqueid is not stored
            self.device = answered if answered.is_device else None

    def device_answered(self, device: Channel) -> None:
        """Of several that do, the last one counts; once the leg is answered, no other does."""
        if self.device is None or self.answered_at is None:
            self.device = device

    def dialing_ended(self, head: Channel | None, now: float) -> None:
        """Note that its dialling has ended: now, or before with the channel that stands for it."""
        over_at = self.over_at(head)
        self.ended_at = now if over_at is None else over_at

    def over_at(self, head: Channel | None) -> float | None:
        """When its dialling ended, or the channel that stands for it."""
        if self.ended_at is not None or head is None:
            return self.ended_at
        return head.ended_at

    def last_word(
        self, channels: Sequence[Channel], head: Channel | None, *, timed_out: bool
    ) -> LastWord:
        """Which of its channels had the last word.

        `channels` are all of the leg. `timed_out`: the ringing's limit has ended its dialling, if
        it was not answered.
        """
        if self.answered_at is not None:
            return of_answered(channels, head, self.device)
        is_over = self.ended_at is not None and self.status != "CANCEL"
        return of_unanswered(channels, head, is_over=is_over, timed_out=timed_out)

    def evidence(
        self, word: LastWord, head: Channel | None, *, unrung: bool, lost: bool
    ) -> LegEvidence:
        """What was watched of the leg.

        `unrung`: no device of it rang, and nothing was missed. `lost`: some was not watched.
        """
        shown = word.channel
        told = LegEvidence(
            status=self.status or ("ANSWER" if self.missed else None),
            ringing_at=self.ringing_at,
            answered_at=None if self.missed else self.answered_at,
            ended_at=self.over_at(head),
            by=word.by,
            tried=word.tried,
            unrung=self.ringing_at is not None and unrung,
        )
        if shown is None:
            return told
        told = evolve(told, channel=shown.name, sip=shown.sip if shown.is_device else None)
        if self.answered_at is not None:
            return _with_cause_of(shown, told, is_own=shown.is_device, lost=lost)
        why = _why_unanswered(shown, head, word)
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
