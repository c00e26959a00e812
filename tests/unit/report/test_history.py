"""Events made again are those that were told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.call.events import (
    Cancel,
    Event,
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    OriginateUnsent,
    PbxLost,
    Place,
    Reject,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, NotConfirmed
from c2c_agent.call.machine import step
from c2c_agent.call.record import dump, load
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.report.event import EventType, Json, event_json, event_type
from c2c_agent.report.history import history
from tests.playbook import PLAN, a_call

SERVER = "pbx1.example.com"

TALKED = CallEvidence(
    first=LegEvidence("PJSIP/100-1", "ANSWER", 16, "Normal Clearing", None, 1001, 1002, 1030),
    second=LegEvidence("PJSIP/200-2", "ANSWER", 16, "Normal Clearing", None, 1003, 1004, 1030),
    dialed=True,
    hung_up_by=Leg.SECOND,
    hung_up_at=1030.0,
)

#: What can happen to a call, in a likely order: a story leaves some of it out.
STORY: Sequence[Event] = (
    Reject((Fault(ErrorCode.NOT_ALLOWED, "No."),)),
    Place(PLAN),
    OriginateUnsent("The link is down."),
    FirstRinging(),
    OriginateAccepted({"Response": "Success"}),
    FirstRinging("PJSIP/100-1"),
    PbxLost("cut"),
    FirstAnswered("PJSIP/100-1", at=1005.5),
    FirstAnswered(),
    SecondDialed(30),
    SecondRinging("PJSIP/200-2"),
    SecondRinging(),
    SecondAnswered("PJSIP/200-2", at=1002.0),
    SecondAnswered(),
    Cancel(),
    Gone(TALKED),
    Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17), lost=True)),
    Gone(CallEvidence(first=LegEvidence(answered_at=1003.5), not_confirmed=NotConfirmed.DECLINED)),
)


def told_of(call: Call, events: Sequence[Event]) -> tuple[list[Json], Call]:
    """What was told while it happened, and the call as it is then."""
    told = []
    for number, event in enumerate(events):
        before = call
        call = step(before, event, 1000.0 + number).call
        event_of_it = event_type(before, call)
        if event_of_it not in {None, EventType.PLACED}:
            assert event_of_it is not None
            told.append(as_told(call, event_of_it))
    return told, call


def as_told(call: Call, event: EventType) -> Json:
    """The event of a call, as receivers hear it."""
    return event_json(call, event, server_id=SERVER, at=call.timeline[-1].at)


@given(st.lists(st.sampled_from(range(len(STORY))), unique=True).map(sorted))
def test_told_again(chosen: list[int]) -> None:
    """Whatever happened: the same events, with all that they said, from what the store keeps."""
    accepted = a_call(timeline=(Entry(999.5, "accepted"),))
    told, call = told_of(accepted, [STORY[index] for index in chosen])
    again = [as_told(happened.call, happened.type) for happened in history(load(dump(call)))]
    assert again == told


def test_a_whole_story() -> None:
    """From the order to the end, with each state on the way."""
    leave_out = {0, 2, 3, 8, 11, 13, 14}
    told, call = told_of(a_call(), [e for i, e in enumerate(STORY[:16]) if i not in leave_out])
    assert [happened.type for happened in history(call)] == [
        "call.accepted",
        "call.first_ringing",
        "call.first_answered",
        "call.second_ringing",
        "call.connected",
        "call.ended",
    ]
    assert told[4]["call"]["dial_first"]["status"] == "ANSWER"
    assert told[4]["call"]["outcome"] is None


def test_a_relay() -> None:
    """Its timeline has the agent's entries, too; each event was told once."""
    entries = (
        Entry(1000.0, "accepted"),
        Entry(1000.1, "dialing_first"),
        Entry(1000.2, "accepted"),
        Entry(1000.3, "dialing_first"),
        Entry(1001.0, "first_ringing", "PJSIP/100-1"),
    )
    call = a_call(state=CallState.FIRST_RINGING, timeline=entries)
    assert [happened.type for happened in history(call)] == ["call.accepted", "call.first_ringing"]


@pytest.mark.parametrize("timeline", [(), (Entry(1000.0, "accepted"),)])
def test_nothing_yet(timeline: tuple[Entry, ...]) -> None:
    """Of a call that was only taken in, nothing was told."""
    assert list(history(evolve(a_call(), timeline=timeline))) == []
