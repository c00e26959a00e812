"""What a receiver of webhooks hears of real calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.receiver import SECRET, WebhookReceiver
from tests.pbx.sip_scenario import BUSY, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

TALKS = Behaviour(ring_seconds=0.6, talk_seconds=1.5)
RINGS_A_WHILE = Behaviour(ring_seconds=1.2)
BUSY_AT_ONCE = Behaviour(ring_seconds=0, ringing=False, final=486)

CONNECTED = [
    "call.accepted",
    "call.first_ringing",
    "call.first_answered",
    "call.second_ringing",
    "call.connected",
    "call.ended",
]


@pytest.fixture
def receiver(asterisk: AsteriskHost) -> Iterator[WebhookReceiver]:
    """A receiver that takes everything."""
    with WebhookReceiver(asterisk.address) as listening:
        yield listening


def telling(asterisk: AsteriskHost, tmp_path: Path, receiver: WebhookReceiver) -> AgentProcess:
    """An agent that tells the receiver everything."""
    secret = tmp_path / "crm.whsec"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    webhook = {"name": "crm", "url": receiver.url, "secret_file": str(secret)}
    return AgentProcess(asterisk, tmp_path, {"webhooks": [webhook]})


class TestWebhooks:
    def test_a_call(
        self,
        asterisk: AsteriskHost,
        tmp_path: Path,
        receiver: WebhookReceiver,
        phone: StartPhone,
    ) -> None:
        """Every event once, in order, signed; the last says what the status says."""
        phone("100", RINGS_A_WHILE), phone("200", TALKS)
        with telling(asterisk, tmp_path, receiver) as agent:
            request_id = agent.call("100", "200")
            call = agent.ended(request_id)
            told = receiver.wait_for(request_id, "call.ended")
        assert told["call"] == call
        assert call["outcome"] == "connected"
        assert told["server_id"] == "pbx.test"
        assert receiver.of(request_id) == CONNECTED
        assert receiver.refused == []

    def test_a_receiver_that_closes_unsaid(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """One event after the other, none of them as late as after a failed attempt."""
        phone("100", BUSY_AT_ONCE)
        with (
            WebhookReceiver(asterisk.address, says_so=False) as receiver,
            telling(asterisk, tmp_path, receiver) as agent,
        ):
            for _ in range(10):
                request_id = agent.call("100", "200")
                receiver.wait_for(request_id, "call.ended", timeout=4)
                assert receiver.of(request_id) == ["call.accepted", "call.ended"]

    def test_refused_requests(
        self, asterisk: AsteriskHost, tmp_path: Path, receiver: WebhookReceiver
    ) -> None:
        """One that never reaches the PBX is told as well: `call.rejected`, and nothing else."""
        with telling(asterisk, tmp_path, receiver) as agent:
            request_id = agent.place("100", "9999")["request_id"]
            told = receiver.wait_for(request_id, "call.rejected")
        assert told["call"]["outcome"] == "rejected"
        assert receiver.of(request_id) == ["call.rejected"]

    def test_nothing_is_lost(
        self,
        asterisk: AsteriskHost,
        tmp_path: Path,
        receiver: WebhookReceiver,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """The receiver fails and the agent is killed in the middle: all is told, in order."""
        phone("100", RINGS_A_WHILE), phone("200", evolve(TALKS, talk_seconds=4))
        receiver.code = 503
        agent = telling(asterisk, tmp_path, receiver)
        agent.start()
        request_id = agent.call("100", "200")
        # All wait behind the first, for 5 s; were it refused once more, for 5 minutes.
        wait_until(lambda: receiver.not_taken, 20, "a report has failed")
        receiver.code = 204
        agent.reached(request_id, "connected")
        agent.stored(request_id, "connected")
        agent.kill()
        with agent:
            call = agent.ended(request_id)
            told = receiver.wait_for(request_id, "call.ended", timeout=30)
        assert (told["call"], call["outcome"]) == (call, "connected")
        assert receiver.of(request_id) == CONNECTED
        assert witness.wait_until_gone(linkedid_of(request_id), 10).originates == 1

    def test_dead_letters(
        self,
        asterisk: AsteriskHost,
        tmp_path: Path,
        receiver: WebhookReceiver,
        phone: StartPhone,
    ) -> None:
        """After 410 nothing is sent any more, and `replay` sends all of it."""
        phone("100", BUSY)
        receiver.code = 410
        with telling(asterisk, tmp_path, receiver) as agent:
            request_id = agent.call("100", "200")
            assert agent.ended(request_id)["outcome"] == "first_busy"
            agent.logged("crm: the report call.ended")
            receiver.code = 204
            assert receiver.of(request_id) == []
            done = agent.run("replay", request_id)
            assert done.stdout == "3 reports are sent again\n"
            receiver.wait_for(request_id, "call.ended")
        assert receiver.of(request_id) == ["call.accepted", "call.first_ringing", "call.ended"]
