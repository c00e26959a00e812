"""What is known of one call, what can happen to it, and what can be done about it.

Pure data: the record that is stored and shown, and the two vocabularies of the state machine in
`machine` (events in, commands out).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from attrs import frozen

from c2c_agent.disposition import Outcome
from c2c_agent.errors import Fault
from c2c_agent.job import CallJob
from c2c_agent.pbx import LegEvent, LegEvidence, OriginatePlan


class CallState(StrEnum):
    """Where a call is; stored, and read back after a restart."""

    ACCEPTED = "accepted"
    DIALING_FIRST = "dialing_first"
    FIRST_RINGING = "first_ringing"
    FIRST_ANSWERED = "first_answered"
    DIALING_SECOND = "dialing_second"
    SECOND_RINGING = "second_ringing"
    CONNECTED = "connected"
    ENDED = "ended"


class HungUpBy(StrEnum):
    """Who ended a call in which somebody had answered."""

    FIRST = "first"
    SECOND = "second"
    CANCEL = "cancel"  # a request to cancel
    LIMIT = "limit"  # the longest duration that the configuration allows


@frozen
class Received:
    """The request as it came in. `data` has the key's name in the place of the key."""

    at: float
    url: str
    method: str
    data: Mapping[str, object]


@frozen
class Exchange:
    """One side of the exchange with the PBX: when, and what."""

    at: float
    data: Mapping[str, object]


@frozen
class Answer:
    """What the requester was told: success, or the faults."""

    faults: tuple[Fault, ...] = ()


@frozen
class Entry:
    """A line of the timeline."""

    at: float
    event: str
    detail: str | None = None


@frozen
class Call:
    """Everything that is known of one request. Times are epoch seconds of the program's clock."""

    request_id: str
    key: str
    received: Received
    fingerprint: str  # equal for equal calls: what makes a repeated request_id a replay
    max_duration: int
    job: CallJob | None = None  # None: the request was no valid job
    state: CallState = CallState.ACCEPTED
    outcome: Outcome | None = None
    answer: Answer | None = None
    plan: OriginatePlan | None = None
    pbx_request: Exchange | None = None
    pbx_response: Exchange | None = None
    first: LegEvidence = LegEvidence()
    second: LegEvidence = LegEvidence()
    dialed_at: float | None = None  # the second leg
    cancelled: bool = False
    hung_up_by: HungUpBy | None = None
    hung_up_at: float | None = None
    cause: int | None = None
    cause_text: str | None = None
    ended_at: float | None = None
    timeline: tuple[Entry, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it: it has ended, or its requester was told that it failed."""
        failed = self.answer is not None and bool(self.answer.faults)
        return failed or self.state is CallState.ENDED

    @property
    def talk_seconds(self) -> float | None:
        """How long they talked; None if they did not, or if nobody knows."""
        if self.outcome is not Outcome.CONNECTED or self.second.answered_at is None:
            return None
        end = self.hung_up_at if self.hung_up_at is not None else self.second.ended_at
        return None if end is None else max(0.0, end - self.second.answered_at)


# What happened, on the caller's side


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
    """Somebody wants the call to end."""


@frozen
class GuardExpired:
    """The time that the PBX was given for what it is doing is over."""


@frozen
class Relayed:
    """An agent beside the PBX says how its own call stands; `server_id` is that agent's."""

    server_id: str
    call: Call


Event: TypeAlias = Place | Reject | Expire | Cancel | GuardExpired | Relayed | LegEvent


# What to do


@frozen
class SendOriginate:
    """Send the plan to the PBX; once, after the call has been stored."""


@frozen
class HangUp:
    """Hang up whatever exists of the call."""


@frozen
class Reply:
    """The answer to the request is known now."""


@frozen
class Guard:
    """Come back with GuardExpired in so many seconds; replaces an earlier one."""

    seconds: float


@frozen
class Settle:
    """Ask the PBX what became of the call."""


Command: TypeAlias = SendOriginate | HangUp | Reply | Guard | Settle
