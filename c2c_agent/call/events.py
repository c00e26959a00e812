"""What can happen to a call, and what is then to be done.

Leg events come from the PBX's driver, the others from our own side. `machine` says which commands
follow from which event. `at` of a leg's event is when it happened, in seconds of the agent's clock,
where that may have been before it was heard; None is now. It makes no difference to what is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field, frozen

from c2c_agent.call.call import Call, OriginatePlan
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Source
from c2c_agent.errors import ErrorCode, Fault


@frozen
class OriginateAccepted:
    """The PBX took the order; it will try to ring the first leg. `data`: its words."""

    data: Mapping[str, object] = field(factory=dict)


@frozen
class OriginateRefused:
    """The PBX refused the order with `message`; no phone rang. `others`: more that it said.

    `code` is what the requester is told with `message`.
    """

    message: str
    data: Mapping[str, object] = field(factory=dict)
    others: tuple[str, ...] = ()
    code: ErrorCode = ErrorCode.PBX_ERROR


@frozen
class OriginateFailed:
    """The PBX tried, a phone may have rung, and it says with `message` that it came to nothing.

    It is the answer to the order, and the end of the call. `others`: more that it said.
    """

    message: str
    data: Mapping[str, object] = field(factory=dict)
    evidence: CallEvidence = CallEvidence()
    others: tuple[str, ...] = ()


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
    source: Source = Source.WATCHED
    at: float | None = field(default=None, eq=False)


@frozen
class FirstAnswered:
    """The first phone was answered."""

    channel: str | None = None
    source: Source = Source.WATCHED
    at: float | None = field(default=None, eq=False)


@frozen
class SecondDialed:
    """The second leg is being dialled, for `timeout` seconds of ringing."""

    timeout: float


@frozen
class SecondRinging:
    """The second phone rings."""

    channel: str | None = None
    source: Source = Source.WATCHED
    at: float | None = field(default=None, eq=False)


@frozen
class SecondAnswered:
    """The second phone was answered: they talk."""

    channel: str | None = None
    source: Source = Source.WATCHED
    at: float | None = field(default=None, eq=False)


@frozen
class SecondEnded:
    """The second leg is over, and this is what the PBX itself said of it; Gone follows.

    Told so that it is stored before the PBX is told that nothing has to be left for us.
    """

    evidence: LegEvidence
    hung_up_by: Leg | None = None
    hung_up_at: float | None = None


@frozen
class PbxLost:
    """The PBX cannot be heard; the call may go on there."""

    reason: str


@frozen
class NotHungUp:
    """The call was to be hung up, and `reason` says why the PBX did not: it goes on."""

    reason: str


@frozen
class Found:
    """After a lost link or a restart the call was found alive on the PBX."""


@frozen
class Gone:
    """Nothing of the call is left on the PBX."""

    evidence: CallEvidence = CallEvidence()


@frozen
class Relayed:
    """An agent beside the PBX says how its own call stands; `server_id` is that agent's."""

    server_id: str
    call: Call


LegEvent: TypeAlias = (
    OriginateAccepted
    | OriginateRefused
    | OriginateFailed
    | OriginateUnsent
    | OriginateUnanswered
    | FirstRinging
    | FirstAnswered
    | SecondDialed
    | SecondRinging
    | SecondAnswered
    | SecondEnded
    | NotHungUp
    | Found
    | Gone
    | Relayed
)


@frozen
class Place:
    """Go ahead: the plan is made, and the call may ring its first leg."""

    plan: OriginatePlan


@frozen
class Reject:
    """The request is refused before it reaches the PBX."""

    faults: tuple[Fault, ...]


@frozen
class Expire:
    """The job is older than it may be: nobody may be rung for it any more."""


@frozen
class Cancel:
    """Somebody wants the call to end. `expired`: it was too late for it anyway."""

    expired: bool = False


@frozen
class GuardExpired:
    """The time that the PBX was given for what it is doing is over."""


Event: TypeAlias = Place | Reject | Expire | Cancel | GuardExpired | PbxLost | LegEvent


@frozen
class SendOriginate:
    """Send the plan to the PBX; once, after the call has been stored."""


@frozen
class HangUp:
    """Hang up whatever exists of the call."""


@frozen
class TellAnswer:
    """The answer to the request is known now."""


@frozen
class Guard:
    """Come back with GuardExpired in so many seconds; replaces an earlier one."""

    seconds: float


@frozen
class Settle:
    """Ask the PBX what became of the call."""


Command: TypeAlias = SendOriginate | HangUp | TellAnswer | Guard | Settle
