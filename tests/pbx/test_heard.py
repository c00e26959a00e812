"""What the first hears while the second has not answered yet."""

from __future__ import annotations

from pathlib import Path

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import ANSWERS, Behaviour
from tests.pbx.waiting import wait_until

WAITS = Behaviour(ring_seconds=None)
RINGS = Behaviour(ring_seconds=None)
SPEAKS_FIRST = Behaviour(ring_seconds=None, ringing=False, early_media=True)

#: Packets of 20 ms: a second of sound.
A_SECOND = 50


class TestWhileTheSecondRings:
    def test_ringback(self, agent: AgentProcess, phone: StartPhone) -> None:
        """A tone that the PBX makes, for the second only says that it rings."""
        first, second = phone("100", ANSWERS), phone("200", RINGS)
        request_id = agent.call("100", "200")
        wait_until(lambda: first.packets_heard > A_SECOND, 10, "the first hears it ring")
        assert first.voices_heard == 0
        agent.cancel(request_id)
        agent.ended(request_id)
        assert second.calls()[0].answered_at is None

    def test_early_media(self, agent: AgentProcess, phone: StartPhone) -> None:
        """What the second's side plays before it answers, such as an announcement."""
        first, second = phone("100", ANSWERS), phone("200", SPEAKS_FIRST)
        request_id = agent.call("100", "200")
        wait_until(lambda: first.voices_heard > A_SECOND, 10, "the first hears the second's side")
        agent.cancel(request_id)
        call = agent.ended(request_id)
        assert second.calls()[0].answered_at is None
        assert call["outcome"] == "cancelled"

    def test_while_the_agent_is_away(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """The dialplan that bridges alone lets it through as well."""
        first, second = phone("100", WAITS), phone("200", SPEAKS_FIRST)
        agent = AgentProcess(asterisk, tmp_path)
        agent.start()
        request_id = agent.call("100", "200", timeout="60")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        first.decide()
        wait_until(lambda: first.voices_heard > A_SECOND, 15, "the first hears the second's side")
        assert second.calls()[0].answered_at is None
        with agent:
            agent.cancel(request_id)
            assert agent.ended(request_id)["outcome"] == "cancelled"
