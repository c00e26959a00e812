"""The agent is restarted while phones ring: it looks once, for all, and waits for what comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.sip_scenario import RINGS_FOR_EVER, Behaviour

#: Seconds for which the phones ring: long enough for several looks, if there were any.
RINGING = 24
PHONES = ("100", "101", "102", "103", "104", "105")


@pytest.fixture
def own_agent(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent that a test may end."""
    agent = AgentProcess(
        asterisk, tmp_path_factory.mktemp("agent"), {"calls": {"timeout": RINGING}}
    )
    agent.start()
    yield agent
    agent.stop()


def test_the_first_phones_ring(
    own_agent: AgentProcess, phone: StartPhone, tmp_path: Path, lateness: Lateness
) -> None:
    """One list of channels for all of them, one note in each story, and all of the ringing."""
    for number in PHONES:
        phone(number, RINGS_FOR_EVER)
    calls = [own_agent.call(number, "200") for number in PHONES]
    for request_id in calls:
        own_agent.stored(request_id, "first_ringing")
    own_agent.kill()
    trace = tmp_path / "written"
    told = {"C2C_BOUNDARY_REQUEST": calls[0], "C2C_BOUNDARY_TRACE": str(trace)}
    own_agent.start(launcher={**told, "C2C_BOUNDARY_ALWAYS": "1"})
    for request_id in calls:
        own_agent.reached(request_id, "pbx_found")
    time.sleep(16)  # three times what each was asked after
    written = trace.read_text(encoding="utf-8").splitlines()
    assert [line for line in written if line.startswith("before AMI CoreShowChannels")] == [
        "before AMI CoreShowChannels"
    ]
    for request_id in calls:
        call = own_agent.ended(request_id)
        assert call["outcome"] == "first_no_answer"
        assert call["dial_first"]["ring_seconds"] == lateness.near(RINGING, 1.5)
        events = [entry["event"] for entry in call["timeline"]]
        assert events.count("pbx_found") == 1, events
        assert "overdue" not in events, events


def test_the_second_phone_rings(own_agent: AgentProcess, phone: StartPhone) -> None:
    """It has what is left of its own time, and no more."""
    phone("100", Behaviour(ring_seconds=0.2))
    phone("200", RINGS_FOR_EVER)
    request_id = own_agent.call("100", "200")
    own_agent.stored(request_id, "second_ringing")
    own_agent.kill()
    own_agent.start()
    own_agent.reached(request_id, "pbx_found")
    call = own_agent.ended(request_id)
    assert call["outcome"] == "second_no_answer"
    events = [entry["event"] for entry in call["timeline"]]
    assert events.count("pbx_found") == 1, events
    assert "overdue" not in events, events
