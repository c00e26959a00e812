"""Zammad is told of each call: that it is new, that it was answered, and once that it is over."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    LegEvent,
    OriginateAccepted,
    SecondAnswered,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.call.outcome import Outcome
from c2c_agent.report.formats import zammad
from tests.fakes import CRM, Desk, uuid

ONE = uuid(1)


def event(kind: str, outcome: str | None = None, *, began: bool = True) -> dict[str, Any]:
    """An event, with what of it counts here."""
    timeline = [{"event": "accepted"}, *([{"event": "dialing_first"}] if began else [])]
    return {
        "type": kind,
        "request_id": ONE,
        "call": {
            "dial_first": {"number": "100"},
            "dial_second": {"number": "030123"},
            "dial_as": "101",
            "outcome": outcome,
            "timeline": timeline,
        },
    }


def test_a_call() -> None:
    """The first leg calls the second; Zammad's words and ours for the same."""
    said = {
        "from": "100",
        "to": "030123",
        "direction": "out",
        "callId": ONE,
        "user": "101",
    }
    assert zammad.told(event("call.accepted")) == {"event": "newCall", **said}
    assert zammad.told(event("call.connected")) == {"event": "answer", **said}
    assert zammad.told(event("call.ended", "connected")) == {
        "event": "hangup",
        "cause": "normalClearing",
        **said,
    }


@pytest.mark.parametrize("kind", ["first_ringing", "first_answered", "second_ringing"])
def test_what_it_has_no_word_for(kind: str) -> None:
    """It is not told."""
    assert zammad.told(event(f"call.{kind}")) is None


@pytest.mark.parametrize("kind", ["call.rejected", "call.ended"])
def test_what_rang_nobody(kind: str) -> None:
    """What was never told of as new has no end; what was has one, also where it was refused."""
    assert zammad.told(event(kind, "rejected", began=False)) is None
    told = zammad.told(event(kind, "rejected"))
    assert told is not None
    assert told["event"] == "hangup"


@pytest.mark.parametrize("outcome", Outcome)
def test_causes(outcome: Outcome) -> None:
    """Each outcome has one of Zammad's."""
    told = zammad.told(event("call.ended", outcome.value))
    assert outcome.value in zammad._CAUSES
    assert told is not None
    assert told["cause"] in {
        *("normalClearing", "busy", "cancel", "noAnswer", "congestion", "notFound", "forwarded")
    }


BUSY = Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17)))
OVER = Gone(CallEvidence(second=LegEvidence(status="ANSWER", cause=16)))
STORIES: tuple[tuple[LegEvent, ...], ...] = (
    (OriginateAccepted(), FirstRinging(), BUSY),
    (
        *(OriginateAccepted(), FirstRinging(), FirstAnswered(), SecondRinging()),
        *(SecondAnswered(), OVER),
    ),
)


def told_after(desk: Desk, run: Callable[[], None]) -> Counter[str]:
    """How often Zammad is told of what; an event that is told again is the same."""
    run()
    desk.end_all()
    events = {report.event_id: json.loads(report.body) for report in desk.store.reports}
    said = [zammad.told(one) for one in events.values()]
    return Counter(one["event"] for one in said if one is not None)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("story", STORIES)
def test_an_agent_that_is_killed(story: tuple[LegEvent, ...], committed: bool) -> None:
    """Wherever it is killed: a call that was new to Zammad has one end."""
    for steps in range(len(story) + 1):
        desk = Desk()

        def run(desk: Desk = desk, steps: int = steps) -> None:
            desk.submit(CRM, request_id=ONE)
            for one in story[:steps]:
                desk.driver.tells(ONE, one)
            desk.store.hold_writes()
            durable = len(desk.store.reports)
            if steps < len(story):
                desk.driver.tells(ONE, story[steps])
            killed = len(desk.store.reports)
            desk.restart(committed=committed)
            if not committed:  # what was not written was not told either
                del desk.store.reports[durable:killed]
            desk.store.release()
            for one in story[steps:]:
                desk.driver.tells(ONE, one)

        told = told_after(desk, run)
        assert (told["newCall"], told["hangup"]) == (1, 1), steps
        assert told["answer"] <= 1
        desk.dispatcher.stop()
