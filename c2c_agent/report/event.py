"""What is told of a call: the types of events, and their JSON. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.call.evidence import Attempt, LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome


class EventType(StrEnum):
    """What has happened.

    That the PBX has taken the order (`PLACED`) is told to relays alone: somebody waits there for
    the answer to a request.
    """

    ACCEPTED = "call.accepted"
    PLACED = "call.placed"
    FIRST_RINGING = "call.first_ringing"
    FIRST_ANSWERED = "call.first_answered"
    SECOND_RINGING = "call.second_ringing"
    CONNECTED = "call.connected"
    REJECTED = "call.rejected"
    ENDED = "call.ended"


#: After these nothing is told of a call any more.
FINAL: Final = frozenset({EventType.REJECTED, EventType.ENDED})

#: A state that is entered, and what is told of it. That the second leg is dialled says nothing yet.
TOLD: Final = {
    CallState.DIALING_FIRST: EventType.ACCEPTED,
    CallState.FIRST_RINGING: EventType.FIRST_RINGING,
    CallState.FIRST_ANSWERED: EventType.FIRST_ANSWERED,
    CallState.SECOND_RINGING: EventType.SECOND_RINGING,
    CallState.CONNECTED: EventType.CONNECTED,
    CallState.ENDED: EventType.ENDED,
}


def event_type(before: Call, after: Call) -> EventType | None:
    """What is told of a change of a call, if anything."""
    if after.state is before.state:
        answered = before.answer is None and after.answer is not None
        return EventType.PLACED if answered else None
    if after.outcome is Outcome.REJECTED:
        return EventType.REJECTED
    return TOLD.get(after.state)


def event_json(call: Call, event: EventType, *, server_id: str, at: float) -> Json:
    """The event of a call as it is now; the same event has the same id, whenever it is made."""
    return {
        "id": str(uuid5(UUID(call.request_id), f"{server_id} {event.value}")),
        "type": event.value,
        "server_id": server_id,
        "request_id": call.request_id,
        "utc.time": f"{at + call.clock_ahead:.3f}",
        "call": call_summary(call),
    }


Json: TypeAlias = dict[str, Any]


def call_summary(call: Call) -> Json:
    """The part of a status that tells of the call itself."""
    job = call.job
    return {
        **dialed_numbers(job),
        **_pbx_name(job),
        "state": call.state.value,
        "outcome": call.outcome.value if call.outcome is not None else None,
        "reason": call.reason.value if call.reason is not None else None,
        "hung_up_by": call.hung_up_by.value if call.hung_up_by is not None else None,
        "cause": call.cause,
        "cause_text": call.cause_text,
        "dial_first": _leg(call, job.dial_first if job else None, call.first),
        "dial_second": _leg(call, job.dial_second if job else None, call.second),
        "dial_as": job.dial_as if job else None,
        "talk_seconds": _rounded(call.talk_seconds),
        "metadata": dict(job.metadata) if job else {},
        "timeline": [_entry(call, entry) for entry in call.timeline],
    }


def _pbx_name(job: CallJob | None) -> Json:
    """The name of the PBX, here or at the agent, where the request was given one."""
    name = None if job is None else job.named_pbx or job.agent_pbx
    return {} if name is None else {"pbx": name}


def dialed_numbers(job: CallJob | None) -> Json:
    """The numbers as the PBX was told them, where these are not those that were asked for."""
    if job is None:
        return {}
    told = {"dialed_first": job.dialed_first, "dialed_second": job.dialed_second}
    return {name: number for name, number in told.items() if number is not None}


def _leg(call: Call, number: str | None, leg: LegEvidence) -> Json:
    # On the way these may still change, and what was told then could not be told again.
    has_ended = call.outcome is not None
    source, by = (leg.source, leg.by) if has_ended else (None, None)
    return {
        "number": number,
        "status": leg.status if leg.answered_at is None else "ANSWER",
        "ring_seconds": _rounded(_ring_seconds(leg)),
        "channel": leg.channel,
        "cause": leg.cause,
        "cause_text": leg.cause_text,
        "sip": leg.sip,
        "source": None if source is None else source.value,
        "by": None if by is None else by.value,
        "tried": [_attempt(one) for one in leg.tried] if has_ended else [],
    }


def _attempt(attempt: Attempt) -> Json:
    return {
        "channel": attempt.channel,
        "status": attempt.status,
        "cause": attempt.cause,
        "sip": attempt.sip,
        "ring_seconds": _rounded(attempt.ring_seconds),
    }


def _ring_seconds(leg: LegEvidence) -> float | None:
    """From ringing to the answer, or to the end; None where it did not ring, or still does."""
    end = leg.answered_at if leg.answered_at is not None else leg.ended_at
    if leg.ringing_at is None or end is None:
        return None
    return max(0.0, end - leg.ringing_at)


def _entry(call: Call, entry: Entry) -> Json:
    shown: Json = {"utc.time": _exact(entry.at + call.clock_ahead), "event": entry.event}
    if entry.detail is not None:
        shown["detail"] = entry.detail
    return shown


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _exact(at: float) -> str:
    return f"{at:.3f}"
