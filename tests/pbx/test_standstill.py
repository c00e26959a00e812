"""The agent stands still, as on a host that swaps, and what came meanwhile is not held late."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.proxy import Wire
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

#: Longer than the agent waits for any answer of Asterisk (`ami.protocol.LIMITS`).
STANDSTILL = 12.0

ANSWERS_AT_ONCE = Behaviour(ring_seconds=0.2)


@pytest.fixture
def wired(
    asterisk: AsteriskHost, wire: Wire, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent at the end of the wire, which need not ask for a context before it places a call."""
    contexts = {"contexts": {"100": "from-phones"}}
    directory = tmp_path_factory.mktemp("agent")
    with AgentProcess(
        asterisk, directory, asterisk_changes={"dial_as": contexts}, ami_port=wire.place[1]
    ) as agent:
        yield agent


@contextmanager
def standing_still(agent: AgentProcess) -> Iterator[None]:
    """Let the agent's process stand still, and go on after the standstill."""
    assert agent.pid is not None
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(STANDSTILL)
    finally:
        os.kill(agent.pid, signal.SIGCONT)


def test_an_answer_that_came_meanwhile_counts(
    wired: AgentProcess, wire: Wire, phone: StartPhone, witness: Witness
) -> None:
    """Whoever asked is not told that the PBX did not answer: it did, only the agent was late."""
    phone("100", ANSWERS_AT_ONCE)
    phone("200", Behaviour(ring_seconds=0.2, talk_seconds=1))
    wire.held = True
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(wired.place, "100", "200")
        linkedid = witness.wait_for_first_call(20)
        with standing_still(wired):
            wire.held = False
        response = placing.result(30)
    assert response["status"] == "success", response
    assert linkedid == linkedid_of(response["request_id"])
    call = wired.ended(response["request_id"])
    assert call["outcome"] == "connected"
    events = [entry["event"] for entry in call["timeline"]]
    assert "originate_accepted" in events
    assert not {"originate_unanswered", "pbx_lost"} & {*events}


def test_the_link_is_kept_where_asterisk_did_answer(
    wired: AgentProcess, wire: Wire, phone: StartPhone
) -> None:
    """A talk goes on through it, over a link on which a Ping was out when it began."""
    phone("100", ANSWERS_AT_ONCE)
    phone("200", ANSWERS_AT_ONCE)
    request_id = wired.call("100", "200")
    wired.reached(request_id, "connected")
    wire.held = True
    before = wire.passed
    wait_until(lambda: wire.passed > before, 20, "a Ping is out")
    with standing_still(wired):
        wire.held = False
    wired.cancel(request_id)
    call = wired.ended(request_id)
    assert call["outcome"] == "connected"
    assert call["hung_up_by"] == "cancel"
    assert "pbx_lost" not in [entry["event"] for entry in call["timeline"]]


def test_ringing_and_talk_are_told_as_they_were(wired: AgentProcess, phone: StartPhone) -> None:
    """They are measured by when Asterisk told of them, not by when the agent came to read it."""
    phone("100", ANSWERS_AT_ONCE)
    phone("200", Behaviour(ring_seconds=3, talk_seconds=2))
    request_id = wired.call("100", "200")
    wired.reached(request_id, "second_ringing")
    with standing_still(wired):
        pass
    call = wired.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
    assert call["dial_second"]["ring_seconds"] == pytest.approx(3, abs=1)
    assert call["talk_seconds"] == pytest.approx(2, abs=1)
