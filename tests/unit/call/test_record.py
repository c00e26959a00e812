"""Records: a call as text, and the very same call back."""

from __future__ import annotations

import json
import re

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2c_agent.call.call import (
    Answer,
    Call,
    CallState,
    Entry,
    Exchange,
    HungUpBy,
    OriginatePlan,
    Received,
    Timekeeper,
)
from c2c_agent.call.evidence import Attempt, LegEvidence, SaidBy, Source
from c2c_agent.call.job import CallJob
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.record import dump, load
from c2c_agent.errors import ErrorCode, Fault
from tests.playbook import a_call

# Two halves of a surrogate pair in a row are one character to JSON; nothing that decodes text ever
# gives them singly side by side.
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=10).filter(
    lambda text: re.search("[\ud800-\udbff][\udc00-\udfff]", text) is None
)
TEXTS = st.one_of(
    ANY_TEXT,
    st.sampled_from(["", "\ud800", "\udcff", "a\0b", "\r\n", "\x1b[31m", "\u2028", '"\\', "NaN"]),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(TEXTS, VALUES, max_size=4)
FAULTS = st.builds(Fault, code=st.sampled_from(ErrorCode), message=TEXTS)
CAUSES = st.none() | st.integers(0, 127)
TIMES = st.none() | NUMBERS
LEGS = st.builds(
    LegEvidence,
    channel=st.none() | TEXTS,
    status=st.none() | TEXTS,
    cause=CAUSES,
    cause_text=st.none() | TEXTS,
    sip=st.none() | st.integers(100, 699),
    ringing_at=TIMES,
    answered_at=TIMES,
    ended_at=TIMES,
    source=st.none() | st.sampled_from(Source),
    by=st.none() | st.sampled_from(SaidBy),
    tried=st.lists(
        st.builds(
            Attempt,
            channel=TEXTS,
            status=st.none() | TEXTS,
            cause=CAUSES,
            sip=st.none() | st.integers(100, 699),
            ring_seconds=TIMES,
        ),
        max_size=2,
    ).map(tuple),
)
JOBS = st.builds(
    CallJob,
    dial_first=TEXTS,
    dial_second=TEXTS,
    dial_as=TEXTS,
    timeout=st.integers(),
    pbx=TEXTS,
    request_id=st.none() | TEXTS,
    expires=TIMES,
)
PLANS = st.builds(
    OriginatePlan,
    data=DATA,
    target=TEXTS,
    timeout=st.integers(),
    timekeeper=st.sampled_from(Timekeeper),
)
EXCHANGES = st.builds(Exchange, at=NUMBERS, data=DATA)
CALLS = st.builds(
    Call,
    request_id=TEXTS,
    key=TEXTS,
    received=st.builds(Received, at=NUMBERS, url=TEXTS, method=TEXTS, data=DATA),
    fingerprint=TEXTS,
    max_duration=st.integers(),
    job=st.none() | JOBS,
    state=st.sampled_from(CallState),
    outcome=st.none() | st.sampled_from(Outcome),
    answer=st.none() | st.builds(Answer, faults=st.lists(FAULTS, max_size=3).map(tuple)),
    plan=st.none() | PLANS,
    pbx_request=st.none() | EXCHANGES,
    pbx_response=st.none() | EXCHANGES,
    first=LEGS,
    second=LEGS,
    dialed_at=TIMES,
    cancelled=st.booleans(),
    hung_up_by=st.none() | st.sampled_from(HungUpBy),
    hung_up_at=TIMES,
    cause=CAUSES,
    cause_text=st.none() | TEXTS,
    ended_at=TIMES,
    timeline=st.lists(
        st.builds(Entry, at=NUMBERS, event=TEXTS, detail=st.none() | TEXTS), max_size=4
    ).map(tuple),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # these calls are large
@given(CALLS)
def test_a_call_comes_back_as_it_was(call: Call) -> None:
    """Whatever callers sent and the PBX said; and any database takes the text."""
    text = dump(call)
    assert text.isascii()
    assert "\0" not in text
    again = load(text)
    assert again == call
    assert type(again.state) is CallState
    assert dump(again) == text


def test_what_is_not_known_is_left_out() -> None:
    """A record says only what differs from nothing, so it is short while there is little to say."""
    assert set(json.loads(dump(a_call(job=None)))) == {
        "request_id",
        "key",
        "received",
        "fingerprint",
        "max_duration",
    }


def test_the_driver_s_order_is_not_kept() -> None:
    """What was sent once is never sent again, so there is nothing to keep it for."""
    plan = OriginatePlan(data={"Exten": "s"}, target="Local/200@x/n", timeout=30, order=object())
    text = dump(a_call(plan=plan))
    assert "order" not in text
    again = load(text).plan
    assert again is not None
    assert (again, again.order) == (evolve(plan, order=None), None)


def test_the_order_stands_there_once() -> None:
    """What was sent as planned is not written twice; in records that have it twice it is read."""
    plan = OriginatePlan(data={"Action": "Originate"}, target="Local/200@sales", timeout=20)
    call = evolve(a_call(), plan=plan, pbx_request=Exchange(1.0, plan.data))
    text = dump(call)
    assert text.count("Originate") == 1
    assert load(text) == call
    record = json.loads(text)
    record["plan"]["data"] = {"Action": "Planned"}
    twice = load(json.dumps(record))
    assert twice.plan is not None
    assert twice.plan.data == {"Action": "Planned"}


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize(
    ("data", "timekeeper"),
    [
        ({"agent": "pbx1", "request_id": "1", "timeout": 30}, Timekeeper.ELSEWHERE),
        ({"Action": "Originate", "Exten": "s"}, Timekeeper.HERE),
    ],
)
def test_plans_of_version_0_1(
    data: dict[str, object], timekeeper: Timekeeper, *, sent: bool
) -> None:
    """Who keeps the time of a call that was placed then: an agent, where the plan names one."""
    plan = OriginatePlan(data=data, target="x", timeout=30)
    call = a_call(plan=plan, pbx_request=Exchange(1.0, data) if sent else None)
    record = json.loads(dump(call))
    del record["plan"]["timekeeper"]
    again = load(json.dumps(record))
    assert again == evolve(call, plan=evolve(plan, timekeeper=timekeeper))
    assert load(dump(again)) == again


@pytest.mark.parametrize(
    "more", [{}, {"a_later_version": {"says": "more"}}, {"first": {"codec": "opus"}}]
)
def test_records_of_other_versions(more: dict[str, object]) -> None:
    """An older record lacks fields, one of a later version has more: both are read."""
    received = {"at": 1.0, "url": "http://pbx", "method": "GET", "data": {}}
    record = {
        "request_id": "1",
        "key": "crm",
        "received": received,
        "fingerprint": "f",
        "max_duration": 60,
    }
    assert load(json.dumps({**record, **more})) == Call(
        request_id="1",
        key="crm",
        received=Received(1.0, "http://pbx", "GET", {}),
        fingerprint="f",
        max_duration=60,
    )
