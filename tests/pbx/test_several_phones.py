"""Users with two phones, which ring together: the call has one outcome, that of the person."""

from __future__ import annotations

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.pbx_files import SECOND_PHONES
from tests.pbx.sip_scenario import (
    ANSWERS,
    BUSY,
    DECLINES,
    NOT_FOUND,
    RINGS_FOR_EVER,
    UNAVAILABLE,
    Behaviour,
)
from tests.pbx.witness import Witness

TALKS = Behaviour(ring_seconds=1.0, talk_seconds=1.0)

#: What the two phones of somebody do who does not answer, and what that is called.
REFUSALS = [
    pytest.param(BUSY, RINGS_FOR_EVER, "no_answer", id="busy-and-rings"),
    pytest.param(RINGS_FOR_EVER, DECLINES, "no_answer", id="rings-and-declines"),
    pytest.param(NOT_FOUND, RINGS_FOR_EVER, "no_answer", id="not-found-and-rings"),
    pytest.param(BUSY, NOT_FOUND, "busy", id="busy-and-not-found"),
    pytest.param(UNAVAILABLE, DECLINES, "declined", id="unavailable-and-declines"),
    pytest.param(UNAVAILABLE, UNAVAILABLE, "unreachable", id="both-unavailable"),
]


@pytest.mark.parametrize("leg", ["first", "second"])
class TestTwoPhones:
    """One leg is a user with two phones, the other one with a phone that answers."""

    @pytest.fixture(autouse=True)
    def _other_leg(self, phone: StartPhone, leg: str) -> None:
        self.user, self.call = {
            "first": ("140", ("140", "200")),
            "second": ("240", ("100", "240")),
        }[leg]
        phone("200" if leg == "first" else "100", Behaviour(ring_seconds=0))

    @pytest.mark.parametrize("other", [RINGS_FOR_EVER, DECLINES], ids=["rings", "declines"])
    def test_one_answers(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        leg: str,
        other: Behaviour,
        lateness: Lateness,
    ) -> None:
        """The leg is that of the phone that talks, whatever the other does."""
        quiet = phone(self.user, other)
        answering = phone(SECOND_PHONES[self.user], TALKS)
        request_id = agent.call(*self.call)
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", leg)
        told = call[f"dial_{leg}"]
        assert (told["status"], told["cause"]) == ("ANSWER", 16)
        talk = answering.whole_call()
        assert call["talk_seconds"] == lateness.near(talk.talk_seconds, 0.5)
        seen = witness.wait_until_gone(linkedid_of(request_id), 10)
        assert seen.talk_seconds(told["channel"]) == lateness.near(talk.talk_seconds, 0.5)
        quiet.wait_for(lambda call: call.final_status, 20, "it declines, or need not ring")
        assert [one.final_status for one in quiet.calls()] == [603 if other is DECLINES else 487]

    @pytest.mark.parametrize(("one", "other", "result"), REFUSALS)
    def test_nobody_answers(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        leg: str,
        one: Behaviour,
        other: Behaviour,
        result: str,
    ) -> None:
        """Where one rings for as long as it may, nobody answered, whatever the other said."""
        phone(self.user, one)
        phone(SECOND_PHONES[self.user], other)
        rings_out = RINGS_FOR_EVER in {one, other}
        call = agent.ended(agent.call(*self.call, timeout="2" if rings_out else "20"))
        assert call["outcome"] == f"{leg}_{result}"


@pytest.mark.parametrize("refuses", [BUSY, DECLINES], ids=["busy", "declines"])
def test_the_context_lets_them_ring_for_less(
    agent: AgentProcess, phone: StartPhone, refuses: Behaviour, lateness: Lateness
) -> None:
    """It rang for as long as the dialplan behind the number lets it: nobody answered."""
    phone("100", ANSWERS)
    phone("240", refuses)
    ringing = phone(SECOND_PHONES["240"], RINGS_FOR_EVER)
    call = agent.ended(agent.call("100", "245", timeout="8"))
    assert call["outcome"] == "second_no_answer"
    assert call["dial_second"]["ring_seconds"] == lateness.near(2.0, 0.5)
    rang = ringing.whole_call().ring_seconds
    assert call["dial_second"]["ring_seconds"] == lateness.near(rang, 0.5)
