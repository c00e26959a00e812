"""What a PBX can say of a call and of its two legs. Pure values; `verdict` judges them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen

#: The cause by which a PBX ends a channel that no media comes from any more: "requested circuit or
#: channel not available". Asterisk's res_pjsip_sdp_rtp.c does so (`rtp_timeout` of an endpoint).
NO_MEDIA: Final = 44


class Leg(StrEnum):
    """The two halves of a call."""

    FIRST = "first"
    SECOND = "second"


class Source(StrEnum):
    """How it is known what became of a leg."""

    WATCHED = "watched"  # its channel was followed while it happened
    REPORTED = "reported"  # the PBX said so afterwards
    INFERRED = "inferred"  # it follows from what the PBX shows, which says something else


class SaidBy(StrEnum):
    """What gave a leg its last word."""

    DEVICE = "device"  # a phone, or a trunk: it answered, refused, or rang out
    DIALPLAN = "dialplan"  # an application of the PBX's answered, or it refused without any device


#: How many of those that were tried before a leg's last word are told of.
MOST_TRIED: Final = 8


@frozen
class Attempt:
    """A device that was tried for a leg and had not its last word. What was not said is None.

    Status, cause and response are as those of LegEvidence. `ring_seconds`: for how long it rang.
    """

    channel: str
    status: str | None = None
    cause: int | None = None
    sip: int | None = None
    ring_seconds: float | None = None


class NotConfirmed(StrEnum):
    """How the first, who was asked to confirm that a person had answered, did not."""

    SILENT = "unconfirmed"  # nothing came: nobody is there, or a voicemail box
    DECLINED = "declined"


@frozen
class LegEvidence:
    """What the PBX said of one leg. Whatever it did not say is None.

    `status` is the PBX's dial status (ANSWER, BUSY, NOANSWER, CANCEL, CONGESTION, CHANUNAVAIL …),
    `cause` the ITU-T Q.850 cause of the channel's end, `sip` the response code behind it: all of
    what had the leg's last word, which `by` tells; None: nothing had, or nobody knows. `tried`:
    what refused or rang out before, oldest first, MOST_TRIED at the most. `source` is that of the
    last word; None: the driver does not say, and it was watched or reported. `unrung`: no device of
    it rang, whatever the other side was let hear. Times are seconds on the clock of the program.
    """

    channel: str | None = None
    status: str | None = None
    cause: int | None = None
    cause_text: str | None = None
    sip: int | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    source: Source | None = None
    by: SaidBy | None = None
    tried: tuple[Attempt, ...] = ()
    unrung: bool = False


@frozen
class CallEvidence:
    """What the PBX said of a whole call when nothing of it was left.

    `timed_out`: the leg of which the PBX said that our timeout had ended its ringing. `rang_out`:
    the legs of which a phone rang for as long as its dialling lasted, and none has refused since.
    `dialed`: the second leg was dialled. `not_confirmed`: why it was not, although the first leg
    was answered. `hung_up_by` is the leg whose side ended the call by hanging up, `hung_up_at` when
    that was, or when the talk was over otherwise. `lost`: the end was not watched, so what is None
    here may have happened all the same. `not_told`: nothing was missed, but a PBX of this kind does
    not tell how a call ends. `ended_here`: it was hung up from here, or not put through, as its
    requester had been told that it failed.
    """

    first: LegEvidence = LegEvidence()
    second: LegEvidence = LegEvidence()
    timed_out: Leg | None = None
    rang_out: frozenset[Leg] = frozenset()
    dialed: bool = False
    not_confirmed: NotConfirmed | None = None
    hung_up_by: Leg | None = None
    hung_up_at: float | None = None
    lost: bool = False
    not_told: bool = False
    ended_here: bool = False
