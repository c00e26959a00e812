"""What is told of a call, and to whom."""

from __future__ import annotations

import json
from typing import get_args
from uuid import UUID

import pytest
from attrs import evolve

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.call.outcome import Outcome
from c2c_agent.config.sections import EventName
from c2c_agent.report.delivery import Target, reports
from c2c_agent.report.event import EventType, event_json, event_type
from c2c_agent.web import answers as result
from tests.playbook import REQUEST_ID, a_call

SERVER = "pbx1.example.com"


def in_state(state: CallState, outcome: Outcome | None = None) -> Call:
    """The call in a state that it entered at 1010."""
    return a_call(state=state, outcome=outcome, timeline=(Entry(1010.25, state.value),))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("dialing_first", "call.accepted"),
        ("first_ringing", "call.first_ringing"),
        ("first_answered", "call.first_answered"),
        ("dialing_second", None),
        ("second_ringing", "call.second_ringing"),
        ("connected", "call.connected"),
    ],
)
def test_on_the_way(state: str, told: str | None) -> None:
    """Each state that says something new is told, when it is entered."""
    assert event_type(a_call(), in_state(CallState(state))) == told


@pytest.mark.parametrize("outcome", Outcome)
def test_the_end(outcome: Outcome) -> None:
    """There is one final event: `call.rejected` for what never reached the PBX."""
    told = event_type(a_call(), in_state(CallState.ENDED, outcome))
    assert told == ("call.rejected" if outcome is Outcome.REJECTED else "call.ended")


@pytest.mark.parametrize("state", CallState)
def test_within_a_state(state: CallState) -> None:
    """A change that leads to no other state is not told."""
    outcome = Outcome.CONNECTED if state is CallState.ENDED else None
    before = in_state(state, outcome)
    assert event_type(before, evolve(before, cancelled=True)) is None


def test_what_it_says() -> None:
    """The contract's fields, and the call as its status shows it."""
    call = in_state(CallState.CONNECTED)
    told = event_json(call, EventType.CONNECTED, server_id=SERVER, at=1010.25)
    assert told == {
        "id": told["id"],
        "type": "call.connected",
        "server_id": SERVER,
        "request_id": REQUEST_ID,
        "utc.time": "1010.250",
        "call": result.status(call)["c2c_status"]["call"],
    }


@pytest.mark.parametrize("event", EventType)
def test_the_callers_own_words(event: EventType) -> None:
    """Each event tells them back as they were given."""
    words = {"ticket": "4711", "note": " <b>&\n"}
    call = in_state(CallState.CONNECTED)
    assert call.job is not None
    call = evolve(call, job=evolve(call.job, metadata=words))
    assert event_json(call, event, server_id=SERVER, at=1.0)["call"]["metadata"] == words


def test_ids() -> None:
    """An event has the same id whenever it is made; no two events have one."""
    call = in_state(CallState.CONNECTED)
    other = evolve(call, request_id="00000000-0000-4000-8000-000000000001")
    made = [
        event_json(one, event, server_id=server, at=at)["id"]
        for at in (1.0, 2.0)
        for one in (call, other)
        for event in EventType
        for server in ("pbx1", "pbx2")
    ]
    assert made[: len(made) // 2] == made[len(made) // 2 :]
    assert len({UUID(one) for one in made}) == len(made) // 2


def test_to_whom() -> None:
    """Each target that wants the event is told the same, byte for byte."""
    ended = in_state(CallState.ENDED, Outcome.CONNECTED)
    targets = [
        Target("all"),
        Target("starts", types=[EventType.ACCEPTED]),
        Target("ends", types=[EventType.ENDED, EventType.REJECTED]),
        Target("shop", keys=["shop"]),
        Target("crm", types=[EventType.ENDED], keys=["shop", "crm"]),
    ]
    told = reports(in_state(CallState.CONNECTED), ended, targets, server_id=SERVER)
    assert [one.target for one in told] == ["all", "ends", "crm"]
    assert {(one.request_id, one.type, one.at) for one in told} == {
        (REQUEST_ID, "call.ended", 1010.25)
    }
    [body] = {one.body for one in told}
    assert json.loads(body)["id"] == told[0].event_id


def test_to_nobody() -> None:
    """Where nothing is told, or nobody wants it, there is no report."""
    ringing = in_state(CallState.FIRST_RINGING)
    assert reports(ringing, ringing, [Target("all")], server_id=SERVER) == ()
    assert reports(a_call(), ringing, [], server_id=SERVER) == ()
    assert reports(a_call(), ringing, [Target("shop", keys=["shop"])], server_id=SERVER) == ()


def test_names_in_the_configuration() -> None:
    """The configuration knows the same events."""
    assert set(get_args(EventName)) == set(EventType) - {EventType.PLACED}
