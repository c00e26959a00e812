"""A number is dialled as the PBX's number plan says, on a real Asterisk, however it was written.

The dialplan of the test PBX has a way outside behind a 0, for the numbers of one town and for those
abroad. What was dialled is told by a foreign AMI client, and by the phone that rang.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.witness import Witness

QUICK = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)

PLAN = {"region": "DE", "dial": "national", "outside": "0", "internal": ["_1XX", "_2XX"]}
ALLOW = ["_[12]XX", "_+49X.", "_+1X."]


@pytest.fixture
def planned(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent whose PBX has a number plan."""
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ALLOW}
    agent = AgentProcess(
        asterisk,
        tmp_path_factory.mktemp("agent"),
        {"keys": [key]},
        asterisk_changes={"numbers": PLAN},
    )
    with agent:
        yield agent


def dialled(witness: Witness, request_id: str) -> set[str]:
    """The extensions at which Asterisk was seen to dial a call's Local channels."""
    seen = witness.wait_until_gone(linkedid_of(request_id), 10)
    names = [channel.name for channel in seen.channels if channel.name.startswith("Local/")]
    return {name.removeprefix("Local/").partition("@")[0] for name in names}


class TestSecond:
    @pytest.mark.parametrize(
        ("written", "dialed"),
        [
            ("+49 30 123200", "0030123200"),
            ("+49 (0) 30 / 123-200", "0030123200"),
            ("tel:///+4930123200", "0030123200"),
            ("0049 30 123200", "0030123200"),
            ("030 123200", "0030123200"),
            ("+1 (212) 555-0200", "00012125550200"),
        ],
    )
    def test_dialled_as_the_plan_wants_it(
        self,
        planned: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        written: str,
        dialed: str,
    ) -> None:
        """They talk, and the answer, the status and the witness tell the same number."""
        phone("100", QUICK)
        second = phone("200", TALKS)
        response = planned.place("100", written)
        assert response["status"] == "success", response
        assert response["dialed_second"] == dialed
        assert "dialed_first" not in response
        call = planned.ended(response["request_id"])
        assert call["outcome"] == "connected"
        assert (call["dialed_second"], call.get("dialed_first")) == (dialed, None)
        assert dialled(witness, response["request_id"]) == {"100", dialed}
        assert len(second.calls()) == 1

    def test_an_extension_is_left_alone(
        self, planned: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """It is internal."""
        phone("100", QUICK)
        phone("200", TALKS)
        request_id = planned.call("100", "200")
        assert "dialed_second" not in planned.ended(request_id)
        assert dialled(witness, request_id) == {"100", "200"}


class TestFirst:
    def test_dialled_as_the_plan_wants_it(
        self, planned: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """A first leg outside goes the same way, with the permission of `dial_as`."""
        first = phone("101", QUICK)
        phone("200", TALKS)
        request_id = planned.call("+49 30 123101", "200", dial_as="100")
        call = planned.ended(request_id)
        assert (call["outcome"], call["dialed_first"]) == ("connected", "0030123101")
        assert dialled(witness, request_id) == {"0030123101", "200"}
        assert len(first.calls()) == 1


class TestWithout:
    def test_dialled_as_it_was_written(
        self,
        asterisk: AsteriskHost,
        tmp_path_factory: pytest.TempPathFactory,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """Which this dialplan does not understand: so it was the plan that made the difference."""
        phone("100", QUICK)
        second = phone("200", TALKS)
        key = {"name": "crm", "sha256": key_digest(KEY), "allow": ALLOW}
        directory = tmp_path_factory.mktemp("agent")
        with AgentProcess(asterisk, directory, {"keys": [key]}) as agent:
            request_id = agent.call("100", "+49 30 123200")
            assert agent.ended(request_id)["outcome"] == "second_unreachable"
        assert "0030123200" not in dialled(witness, request_id)
        assert second.calls() == []


class TestRefused:
    @pytest.mark.parametrize(
        ("number", "code"),
        [
            ("+44 20 7946 0200", "not_allowed"),
            ("0044 20 7946 0200", "not_allowed"),
            ("+49 030 123200", "invalid_parameter"),
            ("0049 (0) 30 123200", "invalid_parameter"),
            ("+49 30 123200;ext=200", "invalid_parameter"),
        ],
    )
    def test_rings_nobody(
        self, planned: AgentProcess, witness: Witness, number: str, code: str
    ) -> None:
        """Neither what no key allows in any form, nor what has two readings."""
        before = len(witness._events)
        response = planned.place("100", number)
        assert {entry["error"]["code"] for entry in response["errors"]} == {code}
        assert len(witness._events) == before
