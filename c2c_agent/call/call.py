"""What is known of one call: the record that is stored and shown. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen

from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.evolve import evolve
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.errors import Fault


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
    MEDIA_TIMEOUT = "media_timeout"  # the PBX, which heard nothing of one of them any more


@frozen
class Received:
    """The request as it came in. `data` has the key's name in the place of the key."""

    at: float
    url: str
    method: str
    data: Mapping[str, object]


class Timekeeper(StrEnum):
    """Who ends a talk that the PBX itself has not ended at its longest duration."""

    HERE = "here"  # this process
    ELSEWHERE = "elsewhere"  # an agent beside its PBX, which was given the call


@frozen
class OriginatePlan:
    """How one call will be placed: made by `prepare`, stored, then given to `originate`.

    `data` is what a status shows as the request to the PBX. `target` is what the bridge dials when
    the first leg has answered, and `timeout` for how many seconds. `confirm_seconds`: how long the
    first may take before that to confirm that a person is there. `max_duration`: how long they may
    talk; None is the driver's own limit. All in seconds. `timekeeper`: who sees to that. `order` is
    the driver's own form of `data`; it is not stored, since nothing is ever sent twice.
    `secret_digest`: the SHA-256, in hex, of what a channel must know that wants the second leg
    dialled; empty where nothing was agreed on, as version 0.1 did not.
    """

    data: Mapping[str, object]
    target: str
    timeout: int
    confirm_seconds: int = 0
    max_duration: int | None = None
    timekeeper: Timekeeper = Timekeeper.HERE
    order: object = field(default=None, eq=False, repr=False)
    secret_digest: str = ""


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
    """Everything that is known of one request. Times are epoch seconds of the steady clock.

    `clock_ahead`: the host's clock was ahead of that one by so many seconds when the request came
    in; what is shown is moved by it (`clock`). `server_id` is that of the process that has it,
    where several share a store; the call's events bear it, whoever tells them.
    """

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
    clock_ahead: float = 0.0
    server_id: str = ""
    reason: UnknownReason | None = None  # why its outcome is unknown
    relay: str | None = None  # the server_id of the one that alone hears of it over the broker
    cannot_hang_up: str | None = None  # why the PBX that was given it hangs it up for nobody

    @property
    def answered_seconds(self) -> float:
        """For how long somebody was on the line: from the first leg's answer to the end, or 0.

        Where nobody knows the end, it may have been found out much later: then no longer than it
        can have been.
        """
        if self.first.answered_at is None or self.ended_at is None:
            return 0.0
        ends = (self.first.ended_at, self.second.ended_at, self.hung_up_at)
        known = [at for at in ends if at is not None]
        if known:
            return max(0.0, max(known) - self.first.answered_at)
        before_talk = self.job.seconds_before_talk if self.job is not None else 0
        return max(
            0.0, min(self.ended_at - self.first.answered_at, before_talk + self.max_duration)
        )

    @property
    def was_dialled(self) -> bool:
        """Whether its end does not say that nobody was dialled for it."""
        return self.outcome not in {Outcome.REJECTED, Outcome.EXPIRED}

    @property
    def is_void(self) -> bool:
        """Whether its requester was told that it failed, and the PBX may have it all the same.

        Nobody may be rung for it any more.
        """
        failed = self.answer is not None and bool(self.answer.faults)
        return failed and self.state is not CallState.ENDED

    @property
    def holds_slot(self) -> bool:
        """Whether it is one of the calls that may be in progress at once: until it has ended.

        A void job that no agent elsewhere has told of is none: it has expired by then, and may stay
        in the agent's queue for as long as that is away.
        """
        untold = self.is_relayed and self.pbx_response is None
        return self.state is not CallState.ENDED and not (self.is_void and untold)

    @property
    def is_relayed(self) -> bool:
        """Whether it was given to an agent elsewhere, which keeps its time and tells of it."""
        return self.plan is not None and self.plan.timekeeper is Timekeeper.ELSEWHERE

    @property
    def talk_seconds(self) -> float | None:
        """How long they talked; None if they did not, or if nobody knows."""
        if self.outcome is not Outcome.CONNECTED or self.second.answered_at is None:
            return None
        end = end_of_talk(self.hung_up_at, self.second)
        return None if end is None else max(0.0, end - self.second.answered_at)


def end_of_talk(hung_up_at: float | None, second: LegEvidence) -> float | None:
    """When a talk was over: when somebody hung up, or else when the second leg ended."""
    return second.ended_at if hung_up_at is None else hung_up_at


def moved(call: Call, seconds: float) -> Call:
    """A call as a clock has it that is so many seconds ahead of the call's own."""
    if not seconds:
        return call

    def at(moment: float | None) -> float | None:
        return None if moment is None else moment + seconds

    def leg(evidence: LegEvidence) -> LegEvidence:
        return evolve(
            evidence,
            ringing_at=at(evidence.ringing_at),
            answered_at=at(evidence.answered_at),
            ended_at=at(evidence.ended_at),
        )

    return evolve(
        call,
        received=evolve(call.received, at=call.received.at + seconds),
        pbx_request=call.pbx_request and evolve(call.pbx_request, at=call.pbx_request.at + seconds),
        pbx_response=call.pbx_response
        and evolve(call.pbx_response, at=call.pbx_response.at + seconds),
        first=leg(call.first),
        second=leg(call.second),
        dialed_at=at(call.dialed_at),
        hung_up_at=at(call.hung_up_at),
        ended_at=at(call.ended_at),
        timeline=tuple(evolve(entry, at=entry.at + seconds) for entry in call.timeline),
        clock_ahead=call.clock_ahead - seconds,
    )
