"""Schemathesis finds nothing at an agent without a PBX."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.schemathesis_run import findings


@pytest.fixture
def agent(tmp_path: Path) -> Any:
    """An agent that has no PBX, on any free port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    nowhere: Any = SimpleNamespace(address="127.0.0.1", ami_port=0, ami_username="", ami_secret="")
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"], "per_minute": 600}
    changes = {"asterisk": False, "keys": [key]}
    with AgentProcess(nowhere, tmp_path, changes, ports=(port, 0)) as running:
        yield running


@pytest.mark.parametrize("key", [KEY, None], ids=["with-key", "without"])
def test_nothing_is_found(agent: AgentProcess, tmp_path: Path, key: str | None) -> None:
    """With the description that the agent itself serves."""
    description = f"{agent.url}/openapi.json"
    assert findings(agent.url, description, tmp_path, examples=10, key=key) == ""
    calls = agent.ask(f"/c2c/v2/calls?api_key={KEY.replace(' ', '+')}")["calls"]
    assert bool(calls) == (key is not None)
