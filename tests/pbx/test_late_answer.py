"""The PBX answers an order late: what was told as failed is no call that goes on unseen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.proxy import Wire
from tests.pbx.sip_scenario import RINGS_FOR_EVER, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

#: Seconds for which Asterisk's answer to an action is waited for.
PATIENCE = 10.0


@pytest.fixture
def narrow(
    asterisk: AsteriskHost, wire: Wire, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent at the end of the wire that may have one call in progress."""
    directory = tmp_path_factory.mktemp("agent")
    calls = {"calls": {"max_concurrent": 1, "timeout": 60, "max_timeout": 60}}
    # To look a context up would have to be answered, too.
    users = {"dial_as": {"default_context": "from-phones", "contexts": {"100": "from-phones"}}}
    with AgentProcess(
        asterisk, directory, calls, asterisk_changes=users, ami_port=wire.place[1]
    ) as agent:
        yield agent


def place_while_held(
    agent: AgentProcess, wire: Wire, witness: Witness, *, mute: bool = False
) -> dict[str, Any]:
    """Place a call whose order arrives, and is answered too late; what its requester is told.

    `mute`: nothing that the agent says arrives after that.
    """
    wire.held = True
    with ThreadPoolExecutor(1) as pool:
        placing = pool.submit(agent.place, "100", "200")
        witness.wait_for_first_call(20)
        wire.mute = mute
        response = placing.result(PATIENCE + 20)
    assert response["errors"][0]["error"]["code"] == "pbx_unavailable"
    return response


def test_the_slot_lives_as_long_as_the_call(
    narrow: AgentProcess, wire: Wire, phone: StartPhone, witness: Witness
) -> None:
    """While the phone of the first rings, no second call is placed; and it is hung up."""
    first, other = phone("100", RINGS_FOR_EVER), phone("101", Behaviour(ring_seconds=0.2))
    phone("201", Behaviour(ring_seconds=0.2, talk_seconds=0.5))
    response = place_while_held(narrow, wire, witness)
    request_id = response["request_id"]
    assert not witness.call(linkedid_of(request_id)).is_gone
    second = narrow.place("101", "201", dial_as="100")
    assert second["errors"][0]["error"]["code"] == "too_many_calls"
    wire.held = False
    call = narrow.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("cancelled", "cancel")
    witness.wait_until_gone(linkedid_of(request_id), 10)
    assert [one.final_status for one in first.calls()] == [487]
    assert not other.calls()
    wait_until(narrow.is_ready, 20, "the link is up")
    assert narrow.ended(narrow.call("101", "201", dial_as="100"))["outcome"] == "connected"


def test_who_answers_is_not_put_through(
    narrow: AgentProcess, wire: Wire, phone: StartPhone, witness: Witness
) -> None:
    """The first answers when its requester knows that the call failed: the second never rings."""
    first, second = phone("100", Behaviour(ring_seconds=None)), phone("200")
    response = place_while_held(narrow, wire, witness, mute=True)
    request_id = response["request_id"]
    assert not witness.call(linkedid_of(request_id)).is_gone
    first.decide()
    witness.wait_until_gone(linkedid_of(request_id), 20)
    wire.mute = wire.held = False
    assert narrow.ended(request_id)["outcome"] == "cancelled"
    time.sleep(1)  # nothing comes later either
    assert second.calls() == []
    assert witness.call(linkedid_of(request_id)).originates == 1
