"""Calls through ARI, by the example that is shipped: every outcome, with real phones.

An Asterisk of its own, on an address of its own, has ARI beside what the others have; the agent
knows it as `other`, over HTTP alone. What a status says is held against the phones' own traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from tests.pbx.agents import AgentProcess
from tests.pbx.ari import PASSWORD, PORT, give_ari, section
from tests.pbx.conftest import StartPhone, alone
from tests.pbx.hosts import ADDRESSES, AsteriskHost, beside
from tests.pbx.lateness import Lateness
from tests.pbx.sip_scenario import (
    ANSWERS,
    BUSY,
    DECLINES,
    NOT_FOUND,
    RINGS_FOR_EVER,
    Behaviour,
)
from tests.pbx.waiting import wait_until

#: In half a second a look comes; so much later than it happened a stage may be noted.
LOOK: Final = 1.0


@pytest.fixture(scope="module", params=ADDRESSES, ids="asterisk-{}".format)
def asterisk(request: pytest.FixtureRequest) -> Iterator[AsteriskHost]:
    """A real Asterisk with ARI, in the place of the one that other tests share."""
    host = AsteriskHost(request.param, beside(ADDRESSES[request.param], 100))
    give_ari(host)
    with alone(host.address, request.config), host:
        yield host


@pytest.fixture(scope="module")
def agent(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent that reaches this Asterisk by the example."""
    directory = tmp_path_factory.mktemp("agent")
    changes = {"asterisk": False, "other": section(asterisk, directory)}
    with AgentProcess(asterisk, directory, changes) as running:
        yield running


def call(agent: AgentProcess, first: str = "100", second: str = "200", **more: str) -> str:
    """Ask for a call that is accepted; its request id."""
    answer = agent.place(first, second, pbx="other", **more)
    assert answer["status"] == "success", answer
    return str(answer["request_id"])


def ended(agent: AgentProcess, request_id: str, outcome: str) -> dict[str, Any]:
    """The call, which has ended so; the variables that told of it are gone."""
    found = agent.ended(request_id)
    assert found["outcome"] == outcome, found
    shown = str(agent.status(request_id))
    assert PASSWORD not in shown
    return found


def told(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Why a call was not placed: the code and the message of each error."""
    errors = [entry["error"] for entry in answer["errors"]]
    return [(error["code"], error["message"]) for error in errors]


REFUSALS: Final = [
    pytest.param(BUSY, "busy", id="busy"),
    pytest.param(DECLINES, "declined", id="declined"),
    pytest.param(NOT_FOUND, "unreachable", id="not-found"),
]


class TestOutcomes:
    def test_connected(self, agent: AgentProcess, phone: StartPhone, lateness: Lateness) -> None:
        """Both ring, both answer, and the second hangs up."""
        first = phone("100", Behaviour(ring_seconds=1.2))
        second = phone("200", Behaviour(ring_seconds=1.2, talk_seconds=2.5))
        request_id = call(agent)
        found = ended(agent, request_id, "connected")
        assert [entry["event"] for entry in found["timeline"]] == [
            *("accepted", "dialing_first", "originate_accepted", "first_ringing"),
            *("first_answered", "dialing_second", "connected", "ended"),
        ]
        talked = second.whole_call().talk_seconds
        assert talked is not None
        assert found["talk_seconds"] == lateness.near(talked, LOOK + 1.5)
        assert [leg["source"] for leg in (found["dial_first"], found["dial_second"])] == [
            "reported",
            "reported",
        ]
        assert len(first.invites()) == len(second.invites()) == 1
        assert agent.status(request_id)["pbx_request"]["pbx_data"]["method"] == "POST"

    @pytest.mark.parametrize(("behaviour", "result"), REFUSALS)
    def test_first(
        self, agent: AgentProcess, phone: StartPhone, behaviour: Behaviour, result: str
    ) -> None:
        """The first refuses: the second is not rung."""
        first, second = phone("100", behaviour), phone("200")
        ended(agent, call(agent), f"first_{result}")
        assert len(first.invites()) == 1
        assert second.invites() == []

    @pytest.mark.parametrize(("behaviour", "result"), REFUSALS)
    def test_second(
        self, agent: AgentProcess, phone: StartPhone, behaviour: Behaviour, result: str
    ) -> None:
        """The first has answered, and the second refuses."""
        first, second = phone("100"), phone("200", behaviour)
        ended(agent, call(agent), f"second_{result}")
        assert len(first.invites()) == len(second.invites()) == 1

    def test_first_no_answer(self, agent: AgentProcess, phone: StartPhone) -> None:
        """It rings for as long as it may."""
        phone("100", RINGS_FOR_EVER)
        ended(agent, call(agent, timeout="3"), "first_no_answer")

    def test_second_no_answer(self, agent: AgentProcess, phone: StartPhone) -> None:
        """The same of the second."""
        phone("100")
        phone("200", RINGS_FOR_EVER)
        ended(agent, call(agent, timeout="3"), "second_no_answer")

    def test_abandoned(self, agent: AgentProcess, phone: StartPhone) -> None:
        """The first hangs up while the second rings."""
        phone("100", evolve(ANSWERS, talk_seconds=3))
        second = phone("200", RINGS_FOR_EVER)
        ended(agent, call(agent), "abandoned")
        assert len(second.invites()) == 1

    def test_cancelled_while_the_second_rings(self, agent: AgentProcess, phone: StartPhone) -> None:
        """That is a cancel all the same, though the dialplan sees both alike."""
        phone("100", evolve(ANSWERS, talk_seconds=None))
        second = phone("200", RINGS_FOR_EVER)
        request_id = call(agent)
        agent.reached(request_id, "dialing_second")
        second.wait_for(lambda call: call.invite, 10, "it is called")
        agent.cancel(request_id)
        ended(agent, request_id, "cancelled")
        assert second.whole_call().ended_at

    def test_no_such_phone(self, agent: AgentProcess) -> None:
        """Nobody is rung."""
        ended(agent, call(agent, first="199"), "first_unreachable")

    def test_cancelled(self, agent: AgentProcess, phone: StartPhone) -> None:
        """While the first rings: it stops, and the second is not rung."""
        first, second = phone("100", RINGS_FOR_EVER), phone("200")
        request_id = call(agent)
        agent.reached(request_id, "first_ringing")
        agent.cancel(request_id)
        ended(agent, request_id, "cancelled")
        assert first.whole_call().ended_at
        assert second.invites() == []

    def test_cancelled_talk(self, agent: AgentProcess, phone: StartPhone) -> None:
        """They have talked."""
        phone("100", evolve(ANSWERS, talk_seconds=None))
        second = phone("200")
        request_id = call(agent)
        agent.reached(request_id, "connected")
        agent.cancel(request_id)
        found = ended(agent, request_id, "connected")
        assert found["hung_up_by"] == "cancel"
        assert second.whole_call().ended_at

    def test_nothing_is_left(self, agent: AgentProcess, asterisk: AsteriskHost) -> None:
        """The variables that told of calls were taken away."""
        assert agent.readiness()["other"] == "ok"
        assert "C2C_" not in asterisk.cli("dialplan show globals")

    def test_killed_on_the_way(self, agent: AgentProcess, phone: StartPhone) -> None:
        """The agent is killed while they talk: found again, and nobody is rung twice."""
        first = phone("100")
        second = phone("200", Behaviour(ring_seconds=0.3, talk_seconds=6))
        request_id = call(agent)
        agent.reached(request_id, "connected")
        agent.kill()
        agent.start()
        ended(agent, request_id, "connected")
        assert len(first.invites()) == len(second.invites()) == 1

    def test_killed_pbx(
        self, agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """Asterisk dies while the second rings, and knows nothing of the call when it is back."""
        first, second = phone("100"), phone("200", RINGS_FOR_EVER)
        request_id = call(agent)
        agent.reached(request_id, "dialing_second")
        second.wait_for(lambda call: call.invite, 10, "it is called")
        asterisk.kill()
        asterisk.start()
        found = ended(agent, request_id, "unknown")
        assert found["dial_first"]["status"] == "ANSWER"
        assert found["dial_second"]["status"] is None
        assert len(first.invites()) == len(second.invites()) == 1
        wait_until(lambda: agent.readiness()["other"] == "ok", 30, "the PBX is there again")


class TestNotPlaced:
    """What was never rung: by the PBX's word, or because nothing answers there."""

    def test_asterisk_that_stops(
        self, agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """It waits for its last call and makes no channel any more: its own words are told."""
        first, others = phone("100"), (phone("102"), phone("200"))
        talk = call(agent, first="102")
        agent.reached(talk, "connected")
        asterisk.cli("core stop gracefully")
        try:
            answer = agent.place("100", "200", pbx="other")
        finally:
            asterisk.cli("core abort shutdown")
        assert told(answer) == [("pbx_error", "Allocation failed")]
        found = ended(agent, answer["request_id"], "pbx_error")
        assert found["dial_first"]["status"] is None
        assert first.invites() == []
        assert agent.status(talk)["call"]["state"] == "connected"
        others[0].hang_up()
        ended(agent, talk, "connected")

    def test_password_that_asterisk_does_not_take(
        self, asterisk: AsteriskHost, phone: StartPhone, tmp_path: Path
    ) -> None:
        """The agent has seen that at its start, and asks no more."""
        first = phone("100")
        changes = {"asterisk": False, "other": section(asterisk, tmp_path, "wrong")}
        agent = AgentProcess(asterisk, tmp_path, changes)
        agent.start(wait=False)
        try:
            agent.logged("Authentication required")
            answer = agent.place("100", "200", pbx="other")
        finally:
            agent.stop()
        assert [code for code, _ in told(answer)] == ["pbx_unavailable"]
        assert first.invites() == []

    def test_asterisk_that_is_down(
        self, agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """Nothing answers: the call is rejected at once."""
        first = phone("100")
        asterisk.kill()
        try:
            answer = agent.place("100", "200", pbx="other")
        finally:
            asterisk.start()
        assert [code for code, _ in told(answer)] == ["pbx_unavailable"]
        found = agent.status(answer["request_id"])["call"]
        assert (found["state"], found["outcome"]) == ("ended", "rejected")
        wait_until(lambda: agent.readiness()["other"] == "ok", 30, "the PBX is there again")
        assert first.invites() == []


class TestCheck:
    def test_well(self, agent: AgentProcess) -> None:
        """Its line says what was asked."""
        done = agent.run("check")
        assert f"http://{agent.host.address}:{PORT} answered the check" in done.stdout

    def test_wrong_password(self, asterisk: AsteriskHost, tmp_path: Path) -> None:
        """In Asterisk's words."""
        changes = {"asterisk": False, "other": section(asterisk, tmp_path, "wrong")}
        other = AgentProcess(asterisk, tmp_path, changes)
        done = other.run("check")
        assert done.returncode == 1
        assert "Authentication required" in done.stdout
