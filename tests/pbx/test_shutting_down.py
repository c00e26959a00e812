"""Asterisk is to restart as soon as its last call has ended: until then it carries nothing out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost, HostError
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

QUICK = Behaviour(ring_seconds=0.2)
WORDS = "Asterisk is shutting down"


@pytest.fixture
def own_agent(asterisk: AsteriskHost, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent that no other test has; afterwards Asterisk shuts down no more."""
    with AgentProcess(asterisk, tmp_path) as agent:
        yield agent
        if not agent.is_ready():
            asterisk.cli("core abort shutdown")


def restart_gracefully(asterisk: AsteriskHost, witness: Witness) -> Thread:
    """Have it restart when its last call has ended; the command itself waits for that.

    Returns when it carries nothing out any more.
    """

    def ask() -> None:
        try:
            asterisk.cli("core restart gracefully")
        except HostError:
            return  # it was aborted

    asking = Thread(target=ask, daemon=True)
    asking.start()
    wait_until(lambda: witness.action("Ping").get("Message") == WORDS, 20, WORDS)
    return asking


def test_restart_gracefully(
    own_agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone, witness: Witness
) -> None:
    """Requesters and `/readyz` are told Asterisk's words; a cancel waits, and takes effect."""
    agent = own_agent
    phone("100", QUICK)
    phone("200", QUICK)
    other = phone("101", QUICK)
    request_id = agent.call("100", "200")
    agent.reached(request_id, "connected")
    asking = restart_gracefully(asterisk, witness)
    error = agent.place("101", "200")["errors"][0]["error"]
    assert (error["code"], error["message"]) == ("pbx_unavailable", WORDS)
    assert not agent.is_ready()
    assert agent.readiness()["ami"] == WORDS
    begin = time.time()
    assert agent.cancel(request_id)["status"] == "success"
    time.sleep(5)
    tried = asterisk.logs(since=begin).count("Unable to process manager action 'Hangup'")
    assert 2 <= tried <= 6  # after 0, 0.25, 0.75, 1.75, 3.75 s
    assert agent.status(request_id)["call"]["state"] == "connected"
    asterisk.cli("core abort shutdown")
    asking.join(20)
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "cancel")
    wait_until(agent.is_ready, 25, "calls can be placed again")
    assert not other.calls()


def test_the_last_call_ends(
    own_agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone, witness: Witness
) -> None:
    """What it was is told as ever, and after the restart calls are placed again."""
    agent = own_agent
    phone("100", QUICK)
    second = phone("200", QUICK)
    request_id = agent.call("100", "200")
    agent.reached(request_id, "connected")
    asking = restart_gracefully(asterisk, witness)
    second.hang_up()
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
    asking.join(30)
    wait_until(agent.is_ready, 60, "it is back")
    phone("200", Behaviour(ring_seconds=0.2, talk_seconds=0.5))
    assert agent.ended(agent.call("100", "200"))["outcome"] == "connected"
