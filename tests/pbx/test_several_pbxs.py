"""One agent and two Asterisks of both versions, each with phones of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, OTHER_KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost, beside
from tests.pbx.linkedid import linkedid_of
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

TALKS = Behaviour(ring_seconds=0.5, talk_seconds=6)
TALKS_ON = Behaviour(ring_seconds=0.5)


@pytest.fixture
def south(asterisk: AsteriskHost) -> Iterator[AsteriskHost]:
    """A second Asterisk, of the other version."""
    version = "16" if asterisk.version == "22" else "22"
    with AsteriskHost(version, beside(asterisk.address, 140)) as host:
        yield host


def section_of(host: AsteriskHost, agi_listen: str, secret: Path) -> dict[str, Any]:
    """The section of an Asterisk."""
    ami = {
        "host": host.address,
        "port": host.ami_port,
        "username": host.ami_username,
        "secret_file": str(secret),
    }
    return {"asterisk": {"ami": ami, "agi": {"listen": agi_listen}}}


@pytest.fixture
def agent(asterisk: AsteriskHost, south: AsteriskHost, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent of both, and a key for each."""
    listen = f"tcp:8475:interface={asterisk.address}"
    secret = tmp_path / "ami.secret"
    changes = {
        "asterisk": False,
        "pbxs": {
            "north": section_of(asterisk, listen, secret),
            "south": section_of(south, listen, secret) | {"max_concurrent": 1},
        },
        "keys": [
            {
                "name": name,
                "sha256": key_digest(key),
                "allow": ["_XXX"],
                "pbx": {"asterisk": pbx},
            }
            for name, key, pbx in (("crm", KEY, "north"), ("other", OTHER_KEY, "south"))
        ],
    }
    with AgentProcess(asterisk, tmp_path, changes) as running:
        yield running


def southern(host: AsteriskHost, number: str, behaviour: Behaviour, folder: Path) -> Phone:
    """A phone of the second Asterisk."""
    own = folder / f"south-{number}"
    own.mkdir()
    phone = Phone(number, host.phones_address, host.phone_port(number), behaviour, own)
    phone.start()
    return phone


def test_both_at_once(
    agent: AgentProcess,
    asterisk: AsteriskHost,
    south: AsteriskHost,
    phone: StartPhone,
    tmp_path: Path,
) -> None:
    """Each call rings the phones of its own PBX; a restart of the agent settles each there."""
    phone("100", TALKS_ON)
    phone("200", TALKS)
    phones = [
        southern(south, "100", TALKS_ON, tmp_path),
        southern(south, "200", TALKS, tmp_path),
    ]
    try:
        with Witness(asterisk) as in_the_north, Witness(south) as in_the_south:
            first = agent.call("100", "200")
            second = agent.call("100", "200", key=OTHER_KEY)
            too_many = agent.place("100", "200", key=OTHER_KEY)
            assert too_many["errors"][0]["error"]["code"] == "too_many_calls"
            for request_id, pbx in ((first, "north"), (second, "south")):
                assert agent.reached(request_id, "connected")["pbx"] == pbx
                agent.stored(request_id, "connected")
            agent.kill()
            agent.start()
            for request_id, witness in ((first, in_the_north), (second, in_the_south)):
                call = agent.ended(request_id)
                assert (call["outcome"], call["hung_up_by"]) == ("connected", "second"), call
                assert witness.wait_until_gone(linkedid_of(request_id), 10).originates == 1
        for one in phones:
            assert len(one.calls()) == 1
    finally:
        for one in phones:
            one.stop()


def test_one_is_away(agent: AgentProcess, south: AsteriskHost, phone: StartPhone) -> None:
    """Its line says so, its calls are refused, and the calls of the other go on."""
    phone("100", TALKS_ON)
    phone("200", TALKS)
    found = agent.run("check").stdout
    for name in ("north", "south"):
        assert f"ok   PBX {name}: test call: through the bridge context and over FastAGI" in found
    south.kill()
    wait_until(lambda: agent.readiness()["pbx south"] != "ok", 20, "its link is known to be down")
    assert agent.readiness()["pbx north"] == "ok"
    assert 'c2c_pbx_up{kind="asterisk",pbx="south"} 0.0' in agent.metrics()
    refused = agent.place("100", "200", key=OTHER_KEY)
    assert refused["errors"][0]["error"]["code"] == "pbx_unavailable"
    assert agent.ended(agent.call("100", "200"))["outcome"] == "connected"
