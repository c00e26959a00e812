"""What follows from the record of a call."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from c2c_agent.call.call import Call, CallState, Entry, Exchange, moved
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.job import CONFIRM_SECONDS
from c2c_agent.call.outcome import Outcome
from tests.playbook import JOB, a_call

TALKED = a_call(
    state=CallState.ENDED,
    outcome=Outcome.CONNECTED,
    pbx_request=Exchange(1001.0, {}),
    pbx_response=Exchange(1002.0, {}),
    first=LegEvidence(ringing_at=1003.0, answered_at=1005.0, ended_at=1031.0),
    second=LegEvidence(ringing_at=1006.0, answered_at=1010.0, ended_at=1030.0),
    dialed_at=1005.5,
    hung_up_at=1030.0,
    ended_at=1031.5,
    timeline=(Entry(1000.0, "accepted"), Entry(1031.5, "ended", "connected")),
)

#: The host was off for a day, and nobody knows when the call ended.
UNSEEN: dict[str, Any] = {
    "first": LegEvidence(answered_at=1005.0),
    "second": LegEvidence(answered_at=1010.0),
    "hung_up_at": None,
    "ended_at": 90000.0,
}


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        (TALKED, 26.0),
        (evolve(TALKED, first=LegEvidence(answered_at=1005.0)), 25.0),
        (evolve(TALKED, first=LegEvidence(answered_at=1005.0), second=LegEvidence()), 25.0),
        (
            # Nobody saw an end: the call counts until it was known to be over, if it can have.
            evolve(
                TALKED,
                first=LegEvidence(answered_at=1005.0),
                second=LegEvidence(),
                hung_up_at=None,
            ),
            26.5,
        ),
        (evolve(TALKED, **UNSEEN, max_duration=5), 5.0 + JOB.timeout),
        (evolve(TALKED, **UNSEEN, max_duration=5, job=None), 5.0),
        (
            evolve(TALKED, **UNSEEN, job=evolve(JOB, confirm=True)),
            TALKED.max_duration + JOB.timeout + CONFIRM_SECONDS,
        ),
        (evolve(TALKED, first=LegEvidence(ended_at=1031.0)), 0.0),
        (evolve(TALKED, ended_at=None), 0.0),
        (evolve(TALKED, first=LegEvidence(answered_at=2000.0)), 0.0),
    ],
)
def test_how_long_somebody_was_on_the_line(call: Call, seconds: float) -> None:
    """From the first leg's answer to the last end that is known, or for as long as it can be."""
    assert call.answered_seconds == seconds


def test_moved_to_another_clock() -> None:
    """Every time is, and no duration changes; what is shown stays the same."""
    call = evolve(TALKED, clock_ahead=3600.0)
    there = moved(call, 3600.0)
    assert there.clock_ahead == 0.0
    assert (there.received.at, there.ended_at, there.dialed_at) == (4600.0, 4631.5, 4605.5)
    assert (there.pbx_request, there.pbx_response) == (Exchange(4601.0, {}), Exchange(4602.0, {}))
    assert [entry.at for entry in there.timeline] == [4600.0, 4631.5]
    assert there.talk_seconds == call.talk_seconds == 20.0
    assert there.answered_seconds == call.answered_seconds
    assert moved(there, -3600.0) == call
    assert moved(call, 0.0) is call


def test_moved_before_anything_happened() -> None:
    """What is not known stays so."""
    there = moved(a_call(), 10.0)
    assert (there.pbx_request, there.first, there.ended_at) == (None, LegEvidence(), None)
