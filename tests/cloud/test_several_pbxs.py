"""Calls through the broker to an agent that has several PBXs of one kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from c2c_agent.policy.keys import key_digest
from tests.cloud.brokers import Broker
from tests.cloud.conftest import Cloud, NoPbx, Relay
from tests.cloud.order_taker import OrderTaker
from tests.pbx.agents import KEY, OTHER_KEY, AgentProcess

WEST_KEY = "a key of the PBX that is not opened to jobs"


@pytest.fixture
def pbxs() -> Iterator[Mapping[str, OrderTaker]]:
    """Three PBXs, each over HTTP."""
    with ExitStack() as last_first:
        yield {
            name: last_first.enter_context(OrderTaker(NoPbx.address))
            for name in ("north", "south", "west")
        }


@pytest.fixture
def cloud(broker: Broker, tmp_path: Path) -> Iterator[Cloud]:
    """Without an Asterisk."""
    broker.ctl("purge_queue", "c2c.jobs.pbx1")
    hosts: Any = {"pbx1": NoPbx()}
    made = Cloud(broker, hosts, tmp_path)
    yield made
    made.end()


@pytest.fixture
def agent(cloud: Cloud, pbxs: Mapping[str, OrderTaker]) -> Iterator[AgentProcess]:
    """An agent of all three: jobs are on north, and may name south."""
    agent = cloud.agent(
        asterisk=False,
        pbxs={name: {"other": pbx.section} for name, pbx in pbxs.items()},
        keys=[
            {
                "name": "crm",
                "sha256": key_digest(KEY),
                "allow": ["_XXX"],
                "pbx": {"other": "north"},
            }
        ],
        jobs_pbxs=["south"],
    )
    with agent:
        yield agent


@pytest.fixture
def relay(cloud: Cloud) -> Iterator[Relay]:
    """A relay with a key for each PBX; that of north leaves it to the agent."""
    names = {KEY: "other", OTHER_KEY: "south", WEST_KEY: "west"}
    keys = [
        {
            "name": name,
            "sha256": key_digest(key),
            "allow": ["_XXX"],
            "agent": "pbx1",
            "pbx": {"other": name},
        }
        for key, name in names.items()
    ]
    with cloud.relay(keys=keys) as relay:
        yield relay


def test_the_key_of_the_relay_chooses(
    agent: AgentProcess, relay: Relay, pbxs: Mapping[str, OrderTaker]
) -> None:
    """Within what the agent has opened to jobs; what it has not is refused there."""
    at_north = relay.place("100", "200", pbx="other")
    at_south = relay.place("100", "200", OTHER_KEY, pbx="other")
    assert (at_north["status"], at_south["status"]) == ("success", "success")
    refused = relay.place("100", "200", WEST_KEY, pbx="other")
    assert [one["error"]["code"] for one in refused["errors"]] == ["not_allowed"]
    assert {name: pbx.orders for name, pbx in pbxs.items()} == {
        "north": [at_north["request_id"]],
        "south": [at_south["request_id"]],
        "west": [],
    }
    told = [relay.status(one["request_id"])["call"].get("pbx") for one in (at_north, at_south)]
    assert told == [None, "south"]
    assert agent.status(at_south["request_id"])["call"]["pbx"] == "south"
    assert agent.status(at_north["request_id"])["call"]["pbx"] == "north"


def test_a_cancel_that_does_nothing(agent: AgentProcess, relay: Relay) -> None:
    """The PBX hangs no call up: that is said at the relay, as beside it, and the call goes on."""
    request_id = relay.call("100", "200", pbx="other")
    told = [
        (one["error"]["code"], one["error"]["message"])
        for answer in (relay.cancel(request_id), agent.cancel(request_id))
        for one in answer["errors"]
    ]
    assert [code for code, _ in told] == ["unsupported_pbx"] * 2
    assert len({*told}) == 1
    events = [entry["event"] for entry in relay.status(request_id)["call"]["timeline"]]
    assert "cancel_requested" not in events
