"""A phone that nothing is heard of any more: Asterisk ends the talk, and nobody hung up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartTalker
from tests.pbx.hosts import AsteriskHost
from tests.pbx.talker import Talker
from tests.pbx.waiting import wait_until

#: Asterisk's cause for a channel whose media has stayed away (res_pjsip_sdp_rtp.c).
REQUESTED_CHANNEL_UNAVAILABLE = 44

#: Phones that Asterisk listens for (`rtp_timeout`), the first and the second.
HEARD = {"first": ("185", "200"), "second": ("100", "246")}


def cut(agent: AgentProcess, phones: dict[str, Talker], leg: str) -> str:
    """A talk in which the phone of that leg falls silent; the request of it."""
    request_id = agent.call(phones["first"].number, phones["second"].number)
    calls = {name: phone.the_call() for name, phone in phones.items()}
    wait_until(lambda: all(call.received > 20 for call in calls.values()), 15, "they talk")
    calls[leg].mute = True
    wait_until(lambda: all(call.ended_at for call in calls.values()), 20, "both are hung up")
    assert not any(call.hung_up for call in calls.values())
    return request_id


def judged(call: dict[str, object]) -> tuple[object, ...]:
    """What is told of the end."""
    return call["outcome"], call["hung_up_by"], call["cause"]


@pytest.mark.parametrize("leg", ["first", "second"])
class TestMediaTimeout:
    """`rtp_timeout` of an endpoint."""

    EXPECTED = ("connected", "media_timeout", REQUESTED_CHANNEL_UNAVAILABLE)

    def test_it_is_nobodys_hanging_up(
        self, agent: AgentProcess, talker: StartTalker, leg: str
    ) -> None:
        """On the light way, on which the two talk with nothing between them."""
        phones = dict(zip(("first", "second"), map(talker, HEARD[leg]), strict=True))
        call = agent.ended(cut(agent, phones, leg))
        assert judged(call) == self.EXPECTED
        assert call[f"dial_{leg}"]["cause"] == REQUESTED_CHANNEL_UNAVAILABLE

    def test_behind_a_channel_that_stays(
        self, asterisk: AsteriskHost, tmp_path: Path, talker: StartTalker, leg: str
    ) -> None:
        """The Local channel between them ends with it, and has not hung up either."""
        rules = [{"match": "_X.", "channel": "Local/{number}@{context}", "optimize": False}]
        phones = dict(zip(("first", "second"), map(talker, HEARD[leg]), strict=True))
        with AgentProcess(asterisk, tmp_path, asterisk_changes={"second_leg": rules}) as agent:
            assert judged(agent.ended(cut(agent, phones, leg))) == self.EXPECTED

    def test_while_the_agent_is_away(
        self, asterisk: AsteriskHost, tmp_path: Path, talker: StartTalker, leg: str
    ) -> None:
        """The dialplan has left behind why; but of the second not on Asterisk 22."""
        phones = dict(zip(("first", "second"), map(talker, HEARD[leg]), strict=True))
        agent = AgentProcess(asterisk, tmp_path)
        agent.start()
        request_id = agent.call(*HEARD[leg])
        agent.stored(request_id, "connected")
        calls = {name: phone.the_call() for name, phone in phones.items()}
        agent.kill()
        calls[leg].mute = True
        wait_until(lambda: all(call.ended_at for call in calls.values()), 20, "both are hung up")
        with agent:
            call = agent.ended(request_id)
        if leg == "second" and asterisk.version == "22":
            # Dial passes the cause of the phone that it was left with on to nobody.
            assert judged(call) == ("connected", None, 16)
        else:
            assert judged(call)[:2] == self.EXPECTED[:2]
