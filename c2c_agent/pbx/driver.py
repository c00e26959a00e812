"""The seam between calls and the kinds of PBX: leg events in, `PbxDriver` out.

Pure: words, and the contract of a driver. `dispatcher` knows a PBX only through this file, so that
Asterisk, another PBX, or an agent behind a broker are the same to a call.

The originate contract
    1. `PbxDriver.prepare` makes a plan and places nothing. The plan is stored before it is
       carried out.
    2. `PbxDriver.originate` is called at most once for each call, whatever happens. Afterwards the
       driver tells exactly one of OriginateAccepted, OriginateRefused, OriginateUnsent and
       OriginateUnanswered.
    3. Every call that was accepted or left unanswered ends with exactly one Gone, as soon as
       nothing of it exists on the PBX any more; it carries the evidence for both legs.
    4. Between the two come any of the other leg events, in any order; none is promised.
    5. A driver that lost the PBX or was restarted is told by `settle` which calls to look for, and
       for each tells Found or Gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Protocol, TypeAlias

from attrs import field, frozen

from c2c_agent.call.job import CallJob
from c2c_agent.errors import ErrorCode


class Leg(StrEnum):
    """The two halves of a call."""

    FIRST = "first"
    SECOND = "second"


class Refusal(StrEnum):
    """How the first, who was asked to confirm that a person had answered, did not."""

    UNCONFIRMED = "unconfirmed"  # nothing came: nobody is there, or a voicemail box
    DECLINED = "declined"


@frozen
class LegEvidence:
    """What the PBX said of one leg. Whatever it did not say is None.

    `status` is the PBX's dial status (ANSWER, BUSY, NOANSWER, CANCEL, CONGESTION, CHANUNAVAIL …),
    `cause` the ITU-T Q.850 cause of the channel's end, `sip` the response code behind it.
    Times are seconds on the clock of the program.
    """

    channel: str | None = None
    status: str | None = None
    cause: int | None = None
    cause_text: str | None = None
    sip: int | None = None
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None


@frozen
class CallEvidence:
    """What the PBX said of a whole call when nothing of it was left.

    `timed_out`: the leg whose ringing was ended by our timeout. `dialed`: the second leg was
    dialled. `refusal`: why it was not, although the first leg was answered. `hung_up_by` is the leg
    whose side hung up first. `lost`: the end was not watched, so what is None here may have
    happened all the same.
    """

    first: LegEvidence = LegEvidence()
    second: LegEvidence = LegEvidence()
    timed_out: Leg | None = None
    dialed: bool = False
    refusal: Refusal | None = None
    hung_up_by: Leg | None = None
    hung_up_at: float | None = None
    lost: bool = False


# What happened: the leg events


@frozen
class OriginateAccepted:
    """The PBX took the order; it will try to ring the first leg. `data`: its words."""

    data: Mapping[str, object] = field(factory=dict)


@frozen
class OriginateRefused:
    """The PBX refused the order with `message`; no phone rang."""

    message: str
    data: Mapping[str, object] = field(factory=dict)


@frozen
class OriginateUnsent:
    """The order never left; no phone rang. `code` is what the requester is told."""

    message: str
    code: ErrorCode = ErrorCode.PBX_UNAVAILABLE


@frozen
class OriginateUnanswered:
    """The order left, and nobody knows whether it arrived: the link was lost, or was too slow."""

    message: str


@frozen
class FirstRinging:
    """The first phone rings."""

    channel: str | None = None


@frozen
class FirstAnswered:
    """The first phone was answered."""

    channel: str | None = None


@frozen
class SecondDialed:
    """The second leg is being dialled, for `timeout` seconds of ringing."""

    timeout: float


@frozen
class SecondRinging:
    """The second phone rings."""

    channel: str | None = None


@frozen
class SecondAnswered:
    """The second phone was answered: they talk."""

    channel: str | None = None


@frozen
class SecondEnded:
    """The second leg is over, and this is what the PBX itself said of it; Gone follows.

    Told so that it is stored before the PBX is told that nothing has to be left for us.
    """

    evidence: LegEvidence
    hung_up_by: Leg | None = None
    hung_up_at: float | None = None


@frozen
class LinkLost:
    """The PBX cannot be heard; the call may go on there."""

    reason: str


@frozen
class Found:
    """After a lost link or a restart the call was found alive on the PBX."""


@frozen
class Gone:
    """Nothing of the call is left on the PBX."""

    evidence: CallEvidence = CallEvidence()


LegEvent: TypeAlias = (
    OriginateAccepted
    | OriginateRefused
    | OriginateUnsent
    | OriginateUnanswered
    | FirstRinging
    | FirstAnswered
    | SecondDialed
    | SecondRinging
    | SecondAnswered
    | SecondEnded
    | LinkLost
    | Found
    | Gone
)


# What a driver does


@frozen
class OriginatePlan:
    """How one call will be placed: made by `prepare`, stored, then given to `originate`.

    `data` is what a status shows as the request to the PBX. `target` is what the bridge dials when
    the first leg has answered, and `timeout` for how many seconds. `confirm_seconds`: how long the
    first may take before that to confirm that a person is there. `max_duration`: how long they may
    talk; None is the driver's own limit. All in seconds. `order` is the driver's own form of
    `data`; it is not stored, since nothing is ever sent twice.
    """

    data: Mapping[str, object]
    target: str
    timeout: int
    confirm_seconds: int = 0
    max_duration: int | None = None
    order: object = field(default=None, eq=False, repr=False)


@frozen
class PlacedCall:
    """What a driver is told of a call that was placed before a restart.

    `answered`: what its requester is told is known; `failed`: it is that nobody will be rung.
    `cancelled`: it is to end.
    """

    request_id: str
    plan: OriginatePlan
    first: LegEvidence
    second: LegEvidence
    answered: bool = False
    failed: bool = False
    cancelled: bool = False


class PbxObserver(Protocol):
    """Who hears of leg events: the dispatcher."""

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Take one event of one call. Late and unknown ones are ignored there."""

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """The plan whose second leg may be dialled now, once; None: it may not."""

    def pbx_up(self) -> None:
        """The PBX can be reached (again): the time to settle calls."""

    def pbx_down(self, reason: str) -> None:
        """The PBX cannot be heard any more."""


class PbxDriver(Protocol):
    """One kind of PBX, as `dispatcher` sees it."""

    method: str  # what a response's `method` says: "asterisk.call"

    def unready(self) -> str | None:
        """Why no call can be placed at present, in words for a caller; None: it can."""

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Find out how `job` is placed. Raises ApiError, such as `unknown_dial_as`."""

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Carry the plan out. At most once for each call."""

    def hang_up(self, request_id: str) -> None:
        """Hang up whatever exists of the call, also what comes to be while this is tried."""

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart; `settle` for them comes later."""

    def settle(self, request_ids: Collection[str]) -> None:
        """Find out about calls that were lost sight of; Found or Gone for each, once possible."""
