"""The events that a call has had so far, made again from its record.

Pure. For who comes later than the events did. Each is what it was when it happened, with the id
that it had then: what a state brought with it stands in the timeline, so nothing has to be guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attrs import evolve

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.outcome import Outcome
from c2c_agent.report.event import TOLD, EventType


class Happened(NamedTuple):
    """An event, and the call as it was then."""

    type: EventType
    call: Call


def history(call: Call) -> Iterator[Happened]:
    """All events that were told of a call, in order; the present state is that of the last one."""
    told: set[EventType] = set()
    for index, entry in enumerate(call.timeline):
        event = _told_by(entry)
        # A relay's timeline has the agent's entries beside its own.
        if event is not None and event not in told:
            told.add(event)
            yield Happened(event, _as_it_was(call, index))
    if call.state is CallState.ENDED:
        rejected = call.outcome is Outcome.REJECTED
        yield Happened(EventType.REJECTED if rejected else EventType.ENDED, call)


def _told_by(entry: Entry) -> EventType | None:
    """What was told when this was noted, but for the end."""
    if entry.event == CallState.ENDED or entry.event not in set(CallState):
        return None
    return TOLD.get(CallState(entry.event))


def _as_it_was(call: Call, index: int) -> Call:
    """The call when the entry of its timeline with that index was the last one."""
    timeline = call.timeline[: index + 1]
    return evolve(
        call,
        state=CallState(timeline[-1].event),
        outcome=None,
        reason=None,
        hung_up_by=None,
        hung_up_at=None,
        cause=None,
        cause_text=None,
        first=_leg(timeline, CallState.FIRST_RINGING, CallState.FIRST_ANSWERED),
        second=_leg(timeline, CallState.SECOND_RINGING, CallState.CONNECTED),
        ended_at=None,
        timeline=timeline,
    )


def _leg(timeline: tuple[Entry, ...], ringing: CallState, answered: CallState) -> LegEvidence:
    """What was known of a leg: until the call is over, no more than stands there."""
    leg = LegEvidence()
    for entry in timeline:
        if entry.event == ringing:
            leg = evolve(leg, ringing_at=entry.at, channel=entry.detail or leg.channel)
        elif entry.event == answered:
            leg = evolve(leg, answered_at=entry.at, channel=entry.detail or leg.channel)
    return leg
