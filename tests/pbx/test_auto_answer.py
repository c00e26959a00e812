"""`auto_answer`: which header the first phone gets, and that nobody else gets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import Behaviour

QUICK = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)

#: What each profile sends, as makers document it: header, and what has to stand in it.
PROFILES = {
    "call-info": ("Call-Info", ";answer-after=0"),
    "alert-info": ("Alert-Info", ";info=alert-autoanswer"),
    "ring-answer": ("Alert-Info", "Ring Answer"),
}


def agent_with(asterisk: AsteriskHost, directory: Path, profile: str) -> AgentProcess:
    """An agent whose key may let phones answer by themselves in this way."""
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"], "auto_answer": profile}
    return AgentProcess(asterisk, directory, {"keys": [key]})


class TestAutoAnswer:
    @pytest.mark.parametrize("profile", PROFILES)
    def test_the_first_phone_is_asked(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone, profile: str
    ) -> None:
        """The header comes with its INVITE; the second's has none, nor has one without."""
        first, second = phone("100", QUICK), phone("200", TALKS)
        with agent_with(asterisk, tmp_path, profile) as agent:
            for parameters in ({"auto_answer": "true"}, {}, {"auto_answer": "false"}):
                call = agent.ended(agent.call("100", "200", **parameters))
                assert call["outcome"] == "connected"
        asked, *others = first.invites()
        header, words = PROFILES[profile]
        assert words in asked.header(header)
        for invite in (*others, *second.invites()):
            assert (invite.header("Call-Info"), invite.header("Alert-Info")) == ("", "")
        assert (len(others), len(second.calls())) == (2, 3)

    def test_not_without_the_key_s_leave(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Then the request is refused, and nobody is rung."""
        first = phone("100", QUICK)
        refused = agent.place("100", "200", auto_answer="true")
        assert [entry["error"]["code"] for entry in refused["errors"]] == ["not_allowed"]
        assert first.calls() == []
