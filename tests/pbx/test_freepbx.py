"""`asterisk.freepbx`: the class of service is that of dial_as, as FreePBX decides it.

The dialplan of the test (`from-internal` in `etc/extensions.conf`) finds out who is calling in the
way of FreePBX 17. There 102 may dial, and 100 may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import Behaviour

QUICK = Behaviour(ring_seconds=0.2)
WAITS = Behaviour(ring_seconds=None)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)

ROWS = [
    ("DEVICE/100", "user", "100"),
    ("DEVICE/102", "user", "102"),
    ("AMPUSER/100", "cidname", "Restricted"),
    ("AMPUSER/102", "cidname", "Privileged"),
    ("AMPUSER/102", "may", "yes"),
]

#: What another call has left on the first leg, in the way of FreePBX: the user who may dial, or the
#: one who may not.
INHERITED = {
    "privileged": {
        "__REALCALLERIDNUM": "102",
        "__AMPUSER": "102",
        "__AMPUSERCIDNAME": "Privileged",
    },
    "restricted": {
        "__REALCALLERIDNUM": "100",
        "__AMPUSER": "100",
        "__AMPUSERCIDNAME": "Restricted",
    },
}


@pytest.fixture(autouse=True)
def _users(asterisk: AsteriskHost) -> Iterator[None]:
    """Devices and users, where FreePBX keeps them."""
    for family, key, value in ROWS:
        asterisk.cli(f"database put {family} {key} {value}")
    yield
    for family, key, _ in ROWS:
        asterisk.cli(f"database del {family} {key}")


def agent_of(
    asterisk: AsteriskHost,
    directory: Path,
    variables: dict[str, str] | None = None,
    *,
    freepbx: bool = True,
) -> AgentProcess:
    """An agent on a FreePBX: everybody's context is from-internal."""
    contexts = dict.fromkeys(("100", "102"), "from-internal")
    return AgentProcess(
        asterisk,
        directory,
        asterisk_changes={
            "freepbx": freepbx,
            "dial_as": {"contexts": contexts},
            "variables": variables or {},
        },
    )


class TestClassOfService:
    @pytest.mark.parametrize("inherited", [None, "privileged", "restricted"])
    def test_dial_as_decides(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone, inherited: str | None
    ) -> None:
        """Not the one who is rung first, and not what the first leg has inherited."""
        for number in ("100", "102"):
            phone(number, QUICK)
        second = phone("200", TALKS)
        variables = INHERITED[inherited] if inherited is not None else {}
        with agent_of(asterisk, tmp_path, variables) as agent:
            allowed = agent.ended(agent.call("100", "200", dial_as="102"))
            assert allowed["outcome"] == "connected"
            [invite] = second.invites()
            assert (invite.caller_number, invite.caller_name) == ("102", "Privileged")
            refused = agent.ended(agent.call("102", "200", dial_as="100"))
        assert refused["outcome"] == "second_unreachable"
        assert refused["dial_second"]["cause"] == 21
        assert len(second.calls()) == 1

    @pytest.mark.parametrize("inherited", [None, "privileged"])
    def test_dial_as_decides_for_a_first_leg_outside(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone, inherited: str | None
    ) -> None:
        """Not the number that the first is shown as the caller: that of the second."""
        first = phone("101", QUICK)
        phone("100", TALKS)
        second = phone("102", TALKS)
        variables = INHERITED[inherited] if inherited is not None else {}
        with agent_of(asterisk, tmp_path, variables) as agent:
            refused = agent.ended(agent.call("301", "102", dial_as="100"))
            assert (first.calls(), second.calls()) == ([], [])
            allowed = agent.ended(agent.call("301", "100", dial_as="102"))
        assert refused["outcome"] == "first_unreachable"
        assert allowed["outcome"] == "connected"
        assert len(first.calls()) == 1

    def test_without_the_setting(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """Then what is inherited would decide: that is what the setting is for."""
        phone("102", QUICK)
        phone("200", TALKS)
        with agent_of(asterisk, tmp_path, INHERITED["privileged"], freepbx=False) as agent:
            call = agent.ended(agent.call("102", "200", dial_as="100"))
        assert call["outcome"] == "connected"

    def test_while_the_agent_is_away(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """The dialplan that bridges alone asks for the same user."""
        firsts = [phone(number, WAITS) for number in ("100", "102")]
        second = phone("200", TALKS)
        agent = agent_of(asterisk, tmp_path, INHERITED["privileged"])
        agent.start()
        allowed, refused = (
            agent.call("100", "200", dial_as="102"),
            agent.call("102", "200", dial_as="100"),
        )
        for request_id in (allowed, refused):
            agent.stored(request_id, "first_ringing")
        agent.kill()
        for first in firsts:
            first.decide()
        second.wait_for(lambda call: call.ended_at is not None, 20, "the allowed call has ended")
        with agent:
            assert agent.ended(allowed)["outcome"] == "connected"
            assert agent.ended(refused)["outcome"] == "second_unreachable"
        assert [invite.caller_number for invite in second.invites()] == ["102"]
