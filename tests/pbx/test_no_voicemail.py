"""A voicemail behind every extension, and the context that keeps the second's from answering."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone, StartTalker
from tests.pbx.freepbx import INTERNAL, agent_at_freepbx
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import BUSY, DECLINES, RINGS_FOR_EVER, Behaviour
from tests.pbx.test_voice import channels, talk
from tests.pbx.waiting import wait_until

WAITS = Behaviour(ring_seconds=None)

#: What a second phone does, and what that is called.
REFUSALS = {"busy": BUSY, "declined": DECLINES, "no_answer": RINGS_FOR_EVER}


@pytest.fixture(scope="module")
def keeping(asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """An agent that dials the second without voicemail."""
    directory = tmp_path_factory.mktemp("keeping")
    with agent_at_freepbx(asterisk, directory, no_voicemail=True) as agent:
        yield agent


def test_a_voicemail_answers_for_the_second(
    asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
) -> None:
    """Through the user's own context: that is what the other one is for."""
    phone("100")
    phone("200", BUSY)
    with agent_at_freepbx(asterisk, tmp_path) as agent:
        assert agent.ended(agent.call("100", "200"))["outcome"] == "connected"


class TestWithoutVoicemail:
    """`c2c-no-voicemail` in `asterisk.second_leg`."""

    @pytest.mark.parametrize("result", REFUSALS)
    def test_a_refusal_stays_one(
        self, keeping: AgentProcess, phone: StartPhone, result: str
    ) -> None:
        """And its cause comes through the dialplan that has blocked the voicemail."""
        phone("100")
        phone("200", REFUSALS[result])
        call = keeping.ended(keeping.call("100", "200"))
        assert call["outcome"] == f"second_{result}"
        assert call["dial_second"]["ring_seconds"] is not None

    def test_no_phone_is_registered(self, keeping: AgentProcess, phone: StartPhone) -> None:
        """Ringing was let hear, and nothing rang."""
        phone("100")
        call = keeping.ended(keeping.call("100", "280"))
        assert call["outcome"] == "second_unreachable"
        assert call["dial_second"]["ring_seconds"] is None

    def test_no_such_extension(self, keeping: AgentProcess, phone: StartPhone) -> None:
        """As in the user's own context."""
        phone("100")
        call = keeping.ended(keeping.call("100", "999"))
        assert (call["outcome"], call["cause"]) == ("second_unreachable", 1)

    def test_a_talk_is_as_light(
        self, keeping: AgentProcess, asterisk: AsteriskHost, talker: StartTalker
    ) -> None:
        """The context leaves it to the two, as the user's own does."""
        first, second = talker("100"), talker("200")
        request_id, _, other = talk(keeping, first, second)
        wait_until(lambda: channels(asterisk) == {"PJSIP/100", "PJSIP/200"}, 10, "two channels")
        second.hang_up(other)
        assert keeping.ended(request_id)["hung_up_by"] == "second"

    def test_the_recipe(self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone) -> None:
        """A context that dials the phones alone, and nobody outside the user's own."""
        phone("100")
        phone("200", BUSY)
        rules = [{"match": "_X.", "channel": "Local/{number}@c2c-users"}]
        contexts = {"contexts": {"100": INTERNAL, "102": "limited"}}
        with agent_at_freepbx(asterisk, tmp_path, second_leg=rules, dial_as=contexts) as agent:
            assert agent.ended(agent.call("100", "200"))["outcome"] == "second_busy"
            refused = agent.ended(agent.call("100", "210", dial_as="102"))
        assert refused["outcome"] in {"second_declined", "second_unreachable"}
        assert refused["cause"] == 21

    def test_while_the_agent_is_away(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """The dialplan that bridges alone dials the same way."""
        first = phone("100", WAITS)
        phone("200", BUSY)
        agent = agent_at_freepbx(asterisk, tmp_path, no_voicemail=True)
        agent.start()
        request_id = agent.call("100", "200")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        first.decide()
        first.wait_for(lambda call: call.ended_at is not None, 20, "the first is hung up")
        with agent:
            assert agent.ended(request_id)["outcome"] == "second_busy"
