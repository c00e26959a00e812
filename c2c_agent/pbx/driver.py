"""The seam between calls and the kinds of PBX: leg events come in, `PbxDriver` goes out.

Pure: the contract of a driver. `dispatch` knows a PBX only through this file, so that Asterisk,
another PBX, or an agent behind a broker are the same to a call.

The originate contract
    1. `PbxDriver.prepare` makes a plan and places nothing. The plan is stored before it is
       carried out.
    2. `PbxDriver.originate` is called at most once for each call, whatever happens. Afterwards the
       driver tells exactly one of OriginateAccepted, OriginateRefused, OriginateFailed,
       OriginateUnsent and OriginateUnanswered. What was left unanswered is hung up then
       (`PbxDriver.hang_up`), and again when it is found: its requester was told that it failed.
    3. Every call that was accepted or left unanswered ends with exactly one Gone, as soon as
       nothing of it exists on the PBX any more; it carries the evidence for both legs. Refused,
       failed and unsent are the end themselves.
    4. Between the two come any of the other leg events, in any order; none is promised.
       A driver that gives calls to an agent beside a PBX elsewhere tells Relayed in the place of
       all of these: the agent's own record, whose answer is the order's, and whose end the call's.
    5. A driver that lost the PBX or was restarted is told by `settle` which calls to look for, and
       for each tells Found or Gone. Of an order whose answer is still to come it tells neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from attrs import frozen

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import LegEvent
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.job import CallJob


@frozen
class PlacedCall:
    """What a driver is told of a call that was placed before a restart.

    `answered`: what its requester is told is known; `failed`: it is that nobody will be rung.
    `cancelled`: it is to end. `placed_at`: when its order was stored, on the steady clock.
    `response`: what the PBX said to it, as it was told with OriginateAccepted.
    """

    request_id: str
    plan: OriginatePlan
    first: LegEvidence
    second: LegEvidence
    answered: bool = False
    failed: bool = False
    cancelled: bool = False
    placed_at: float | None = None
    response: Mapping[str, object] | None = None


class PbxObserver(Protocol):
    """Who hears of leg events: the dispatcher."""

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Take one event of one call. Late and unknown ones are ignored there."""

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """The plan whose second leg may be dialled now, once; None: it may not."""

    async def until_stored(self, request_id: str) -> bool:
        """Wait until the store has a call as it is now; False where it will not be stored."""

    async def has_ended(self, request_id: str) -> bool:
        """Whether the end of a call is in the store."""

    def pbx_up(self) -> None:
        """The PBX can be reached (again): the time to settle calls."""

    def pbx_down(self, reason: str) -> None:
        """The PBX cannot be heard any more."""


class PbxDriver(Protocol):
    """One kind of PBX, as calls and the agent see it."""

    method: str  # what a response's `method` says: "asterisk.call"
    observer: PbxObserver  # set by who puts the parts together, before anything is asked

    def unready(self) -> str | None:
        """Why no call can be placed at present, in words for a caller; None: it can."""

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Find out how `job` is placed. Raises ApiError, such as `unknown_dial_as`."""

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Carry the plan out. At most once for each call."""

    def cannot_hang_up(self, request_id: str | None = None) -> str | None:
        """Why this PBX hangs this call up not now, or none at all, in words for a caller.

        None: it does. That it did not all the same is told with NotHungUp.
        """

    def hang_up(self, request_id: str) -> None:
        """Hang up whatever exists of the call, also what comes to be while this is tried."""

    def hang_up_foreign(self, call: PlacedCall) -> None:
        """Hang up a call that another process of the same store has placed.

        It stays the other's: what becomes of it is told there, and nothing of it here.
        """

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart; `settle` for them comes later."""

    def settle(self, request_ids: Collection[str]) -> None:
        """Find out about calls that were lost sight of; Found or Gone for each, once possible."""
