"""Schemathesis finds nothing at an agent beside a real Asterisk, and rings nobody."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from c2c_agent.policy.keys import key_digest
from c2c_agent.web.operation import description
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.hosts import AsteriskHost
from tests.schemathesis_run import findings

#: Numbers that no phone has, and that no extension is for.
NOBODY = {"type": "string", "pattern": "^77[0-9]$", "examples": ["770"]}


@pytest.mark.timeout(450)
def test_nothing_is_found(asterisk: AsteriskHost, tmp_path: Path) -> None:
    """Calls that can be placed are, to numbers that do not exist; the agent is well afterwards."""
    described = json.loads(json.dumps(description()))
    described["components"]["schemas"]["Number"] = NOBODY
    changes = {
        "keys": [{"name": "crm", "sha256": key_digest(KEY), "allow": ["_77X"]}],
        "calls": {"timeout": 2, "max_timeout": 5, "max_concurrent": 10},
    }
    contexts = {"dial_as": {"default_context": "from-phones"}}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(described), encoding="utf-8")
    with AgentProcess(asterisk, tmp_path, changes, asterisk_changes=contexts) as agent:
        assert findings(agent.url, str(file), tmp_path, examples=25, key=KEY) == ""
        calls = agent.ask(f"/c2c/v2/calls?limit=1000&api_key={KEY.replace(' ', '+')}")["calls"]
        outcomes = Counter(agent.ended(call["request_id"])["outcome"] for call in calls)
        assert agent.is_ready()
        assert "Traceback" not in agent.log()
    assert outcomes["first_unreachable"] > 0
    assert set(outcomes) <= {"first_unreachable", "rejected", "expired", "cancelled", "pbx_error"}
