"""Every outcome, reached for real: by SIP phones that behave that way, on both Asterisks.

What the status says is held against two witnesses that share no code with the agent: the phones'
own SIP traces and a foreign AMI client. Its times are held against theirs, never against what a
phone was told to do: on a busy machine a phone is late itself.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import (
    ANSWERS,
    BUSY,
    DECLINES,
    NOT_FOUND,
    RINGS_FOR_EVER,
    UNAVAILABLE,
    Behaviour,
)
from tests.pbx.witness import CallSeen, Witness

TALKS = Behaviour(ring_seconds=0.6, talk_seconds=1.5)
RINGS_A_WHILE = Behaviour(ring_seconds=1.2)
DIES_SILENTLY = Behaviour(ring_seconds=None, ringing=False)

#: What a phone does, what that is called, the cause of its leg, and whether it rings.
REFUSALS = [
    pytest.param(BUSY, "busy", 17, True, id="busy"),
    pytest.param(evolve(BUSY, ringing=False, ring_seconds=0), "busy", 17, False, id="busy-at-once"),
    pytest.param(DECLINES, "declined", 21, True, id="declined"),
    pytest.param(UNAVAILABLE, "unreachable", 19, False, id="unavailable"),
    pytest.param(NOT_FOUND, "unreachable", 1, False, id="not-found"),
]


def check_against(witness: Witness, request_id: str, call: dict[str, Any]) -> CallSeen:
    """Hold a status against what the foreign AMI client saw: one order, channels, causes."""
    seen = witness.wait_until_gone(linkedid_of(request_id), 10)
    assert seen.originates == 1
    for leg in ("dial_first", "dial_second"):
        name = call[leg]["channel"]
        if name is not None and name.startswith("PJSIP/"):
            assert seen.channel(name).cause == call[leg]["cause"], leg
    return seen


class TestConnected:
    def test_second_hangs_up(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """The whole way: both ring, both answer, they talk, the second hangs up."""
        first, second = phone("100", RINGS_A_WHILE), phone("200", TALKS)
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["hung_up_by"] == "second"
        assert (call["cause"], call["cause_text"]) == (16, "Normal Clearing")
        for leg, there in (("dial_first", first), ("dial_second", second)):
            assert call[leg]["status"] == "ANSWER"
            rang = there.calls()[0].ring_seconds
            assert call[leg]["ring_seconds"] == lateness.near(rang, 0.5)
        seen = check_against(witness, request_id, call)
        assert {call["dial_first"]["channel"], call["dial_second"]["channel"]} <= {
            channel.name for channel in seen.channels
        }
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert [entry["event"] for entry in call["timeline"]] == [
            "accepted",
            "dialing_first",
            "originate_accepted",
            "first_ringing",
            "first_answered",
            "dialing_second",
            "second_ringing",
            "connected",
            "ended",
        ]

    def test_they_are_bridged(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """Both phones were in bridges for as long as the talk lasted, as the witness saw."""
        phone("100")
        phone("200", TALKS)
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        seen = check_against(witness, request_id, call)
        for leg in ("dial_first", "dial_second"):
            channel = seen.channel(call[leg]["channel"])
            stays = [stay for stay in seen.stays if stay.channel == channel.uniqueid]
            assert stays
            assert stays[-1].left is not None
            least = call["talk_seconds"] - 0.5 - lateness.seconds
            assert stays[-1].left - stays[0].entered >= least

    def test_first_hangs_up(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """The first hangs up during the talk."""
        first = phone("100")
        second = phone("200")
        request_id = agent.call("100", "200")
        agent.reached(request_id, "connected")
        first.hang_up()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        check_against(witness, request_id, call)

    def test_early_media(self, agent: AgentProcess, phone: StartPhone, lateness: Lateness) -> None:
        """A second leg that sends a voice before it answers is not taken for answered."""
        phone("100", Behaviour(ring_seconds=0.2))
        second = phone("200", Behaviour(ring_seconds=1.0, early_media=True, talk_seconds=1.0))
        call = agent.ended(agent.call("100", "200"))
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    def test_the_far_side_ends_by_itself(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """An extension that answers and hangs up, with no phone behind it."""
        phone("100")
        request_id = agent.call("100", "293")
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        seen = check_against(witness, request_id, call)
        talked = seen.talk_seconds("Local/293@from-phones")
        assert talked == lateness.near(1.5, 0.5)  # Answer() itself waits for voice a while
        assert call["talk_seconds"] == lateness.near(talked, 0.5)


class TestFirstLeg:
    @pytest.mark.parametrize(("behaviour", "result", "cause", "rings"), REFUSALS)
    def test_refuses(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        behaviour: Behaviour,
        result: str,
        cause: int,
        rings: bool,
    ) -> None:
        """A first phone that does not take the call; the second is not rung."""
        phone("100", behaviour)
        second = phone("200")
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        assert call["outcome"] == f"first_{result}"
        assert call["cause"] == call["dial_first"]["cause"] == cause
        assert (call["dial_first"]["ring_seconds"] is not None) == rings
        assert call["talk_seconds"] is None
        assert call["hung_up_by"] is None
        assert second.calls() == []
        check_against(witness, request_id, call)

    def test_never_answers(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """The timeout ends the ringing, within a second of what was asked for."""
        first = phone("100", RINGS_FOR_EVER)
        request_id = agent.call("100", "200", timeout="2")
        call = agent.ended(request_id)
        assert call["outcome"] == "first_no_answer"
        channel = check_against(witness, request_id, call).channel("PJSIP/100")
        assert channel.created is not None
        assert channel.hung_up is not None
        assert channel.hung_up - channel.created == lateness.near(2, 1)
        assert call["dial_first"]["ring_seconds"] == lateness.near(2, 0.5)
        rang = first.whole_call().ring_seconds
        assert rang == lateness.near(2, 1)
        assert call["dial_first"]["ring_seconds"] == lateness.near(rang, 0.5)

    def test_no_such_extension(self, agent: AgentProcess) -> None:
        """Neither a device nor in the context of dial_as."""
        call = agent.ended(agent.call("399", "200", dial_as="100"))
        assert call["outcome"] == "first_unreachable"
        assert call["dial_first"]["ring_seconds"] is None

    def test_not_registered(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Rings nowhere: the dialplan's own words come through (extension 199 has no phone)."""
        second = phone("200")
        call = agent.ended(agent.call("199", "200", dial_as="100"))
        assert call["outcome"] == "first_unreachable"
        assert second.calls() == []


class TestSecondLeg:
    @pytest.mark.parametrize(("behaviour", "result", "cause", "rings"), REFUSALS)
    def test_refuses(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        behaviour: Behaviour,
        result: str,
        cause: int,
        rings: bool,
    ) -> None:
        """A second phone that does not take the call."""
        phone("100")
        phone("200", behaviour)
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        assert call["outcome"] == f"second_{result}"
        assert call["cause"] == call["dial_second"]["cause"] == cause
        assert (call["dial_second"]["ring_seconds"] is not None) == rings
        assert call["dial_second"]["sip"] == behaviour.final
        assert call["dial_first"]["status"] == "ANSWER"
        assert call["talk_seconds"] is None
        check_against(witness, request_id, call)

    def test_never_answers(
        self, agent: AgentProcess, phone: StartPhone, lateness: Lateness
    ) -> None:
        """The timeout ends the second ringing, too."""
        phone("100", Behaviour(ring_seconds=0))
        second = phone("200", RINGS_FOR_EVER)
        call = agent.ended(agent.call("100", "200", timeout="2"))
        assert call["outcome"] == "second_no_answer"
        assert call["dial_second"]["ring_seconds"] == lateness.near(2, 0.5)
        rang = second.whole_call().ring_seconds
        assert rang == lateness.near(2, 1)
        assert call["dial_second"]["ring_seconds"] == lateness.near(rang, 0.5)

    def test_never_even_rings(self, agent: AgentProcess, phone: StartPhone) -> None:
        """A phone that takes the INVITE and says nothing more."""
        phone("100", Behaviour(ring_seconds=0))
        phone("200", DIES_SILENTLY)
        call = agent.ended(agent.call("100", "200", timeout="2"))
        assert call["outcome"] == "second_no_answer"
        assert call["dial_second"]["ring_seconds"] is None

    @pytest.mark.parametrize(
        ("number", "outcome"),
        [("399", "unreachable"), ("290", "busy"), ("291", "unreachable"), ("292", "unreachable")],
        ids=["no-such-extension", "Busy()", "Congestion()", "announcement-then-21"],
    )
    def test_ends_in_the_dialplan(
        self, agent: AgentProcess, phone: StartPhone, number: str, outcome: str
    ) -> None:
        """No phone is behind the second leg; the dialplan says what became of it."""
        phone("100", Behaviour(ring_seconds=0.2))
        call = agent.ended(agent.call("100", number))
        assert call["outcome"] == f"second_{outcome}"

    @pytest.mark.parametrize("second", [RINGS_FOR_EVER, DIES_SILENTLY], ids=["rings", "silent"])
    def test_abandoned(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, second: Behaviour
    ) -> None:
        """The first hangs up while the second rings."""
        phone("100", Behaviour(ring_seconds=0.2, talk_seconds=1.0))
        phone("200", second)
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("abandoned", "first")
        assert call["dial_second"]["status"] == "CANCEL"
        check_against(witness, request_id, call)


class TestCancelled:
    @pytest.mark.parametrize(
        ("state", "first", "second"),
        [
            ("dialing_first", DIES_SILENTLY, ANSWERS),
            ("first_ringing", RINGS_FOR_EVER, ANSWERS),
            ("dialing_second", ANSWERS, DIES_SILENTLY),
            ("second_ringing", ANSWERS, RINGS_FOR_EVER),
        ],
    )
    def test_before_anybody_talked(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        state: str,
        first: Behaviour,
        second: Behaviour,
    ) -> None:
        """Cancel hangs up whatever there is, in every state."""
        phone("100", first)
        phone("200", second)
        request_id = agent.call("100", "200")
        agent.reached(request_id, state)
        assert agent.cancel(request_id) == {
            "request_id": request_id,
            "status": "success",
            "errors": [],
        }
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("cancelled", "cancel")
        check_against(witness, request_id, call)

    def test_during_the_talk(self, agent: AgentProcess, phone: StartPhone) -> None:
        """They talked, so the call was connected; the cancel ended it."""
        phone("100")
        phone("200")
        request_id = agent.call("100", "200")
        agent.reached(request_id, "connected")
        agent.cancel(request_id)
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "cancel")

    def test_after_the_end(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Nothing is left to hang up, and nothing changes."""
        phone("100", BUSY)
        request_id = agent.call("100", "200")
        before = agent.ended(request_id)
        assert agent.cancel(request_id)["status"] == "success"
        assert agent.ended(request_id) == before

    def test_at_once(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Cancelled in the moment in which Asterisk makes the channel."""
        phone("100", RINGS_FOR_EVER)
        for _ in range(5):
            request_id = agent.call("100", "200")
            agent.cancel(request_id)
            assert agent.ended(request_id)["outcome"] == "cancelled"
