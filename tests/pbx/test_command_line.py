"""The command line beside a running agent, and `check` where all is well and where it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import WITNESS_SECRET, AsteriskHost
from tests.pbx.sip_scenario import BUSY, RINGS_FOR_EVER, Behaviour

TALKS = Behaviour(ring_seconds=0.3, talk_seconds=0.5)


class TestCall:
    def test_wait_shows_what_happens(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Ringing, answered, connected, ended, each as it happens; exit status 0."""
        phone("100", Behaviour(ring_seconds=0.3))
        phone("200", TALKS)
        done = agent.run("call", "100", "200", "--wait")
        assert done.returncode == 0, done.stderr
        words = [
            "first ringing",
            "first answered",
            "dialing second",
            "second ringing",
            "connected",
            "ended: connected",
            "outcome connected",
        ]
        positions = [done.stdout.index(word) for word in words]
        assert positions == sorted(positions)

    def test_exit_status_by_outcome(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Scripts see what became of it."""
        phone("100", BUSY)
        assert agent.run("call", "100", "200", "--wait").returncode == 10
        assert agent.run("call", "100", "900123456789", "--wait").returncode == 40

    def test_status_cancel_and_calls(self, agent: AgentProcess, phone: StartPhone) -> None:
        """The other commands, on a call that rings."""
        phone("100", RINGS_FOR_EVER)
        placed = agent.run("call", "100", "200", "--timeout", "60", "--dial-as", "101")
        request_id = placed.stdout.strip()
        agent.reached(request_id, "first_ringing")
        assert "first ringing" in agent.run("status", request_id).stdout
        story = json.loads(agent.run("status", request_id, "--json").stdout)["c2c_status"]
        assert story["request"]["request_data"]["api_key"] == "operator"
        assert story["call"]["dial_as"] == "101"
        listed = agent.run("calls", "--json").stdout.splitlines()
        assert json.loads(listed[-1])["request_id"] == request_id
        assert agent.run("cancel", request_id).returncode == 0
        assert agent.ended(request_id)["outcome"] == "cancelled"
        assert "cancelled" in agent.run("calls").stdout.splitlines()[-1]

    def test_unknown_request(self, agent: AgentProcess) -> None:
        """One plain line, exit status 1."""
        done = agent.run("status", "00000000-0000-4000-8000-000000000000")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1


def check(configuration: Path) -> subprocess.CompletedProcess[str]:
    """Run `check` on a configuration, with the option before the subcommand."""
    command = [sys.executable, "-m", "c2c_agent", "--config", str(configuration), "check"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class TestCheck:
    def test_all_is_well(self, agent: AgentProcess) -> None:
        """The whole way round through the running agent."""
        done = check(agent.config)
        assert done.returncode == 0, done.stdout
        assert "FAIL" not in done.stdout
        assert "to the running agent" in done.stdout.splitlines()[-1]

    def test_only_the_version_is_warned_of(
        self, agent: AgentProcess, asterisk: AsteriskHost
    ) -> None:
        """With Asterisk's side as it is shipped; 16 never got a repair of its own."""
        warned = [line for line in check(agent.config).stdout.splitlines() if "WARN" in line]
        assert [line.split(":")[0] for line in warned] == (
            ["WARN Asterisk's version"] if asterisk.version == "16" else []
        )

    def test_rights_that_are_too_wide(self, asterisk: AsteriskHost, tmp_path: Path) -> None:
        """Asterisk itself tells what its user may do."""
        agent = AgentProcess(asterisk, tmp_path, asterisk_changes={"ami": {"username": "witness"}})
        (tmp_path / "ami.secret").write_text(WITNESS_SECRET, encoding="utf-8")
        done = check(agent.config)
        assert "the AMI user also has system, command, config" in done.stdout

    def test_without_a_running_agent(self, asterisk: AsteriskHost, tmp_path: Path) -> None:
        """The way round is checked without an agent, too, and as JSON."""
        agent = AgentProcess(asterisk, tmp_path)
        assert check(agent.config).returncode == 0
        findings = json.loads(agent.run("check", "--json").stdout)
        assert all(finding["ok"] for finding in findings)
        assert findings[-1]["name"] == "test call"

    @pytest.mark.parametrize(
        ("changes", "said", "advice"),
        [
            ({"bridge_context": "c2c-nowhere"}, "context c2c-nowhere", "dialplan reload"),
            ({"agi": {"url": "agi://127.0.0.1:9/c2c"}}, "did not come back", "can it reach"),
            ({"ami": {"port": 9}}, "AMI login", "Is Asterisk running"),
            ({"ami": {"username": "nobody"}}, "login refused", "Compare the secret"),
            ({"ami": {"secret_file": "/nonexistent"}}, "AMI secret", "Put the secret"),
            ({"dial_as": {"default_context": "nowhere"}}, "context nowhere", "dialplan reload"),
        ],
        ids=["bridge", "agi", "port", "user", "secret", "default-context"],
    )
    def test_each_failure_says_what_to_do(
        self,
        asterisk: AsteriskHost,
        tmp_path: Path,
        changes: dict[str, dict[str, object]],
        said: str,
        advice: str,
    ) -> None:
        """Exit status 1, what is wrong, and what to do."""
        agent = AgentProcess(asterisk, tmp_path, asterisk_changes=changes)
        done = check(agent.config)
        assert done.returncode == 1, done.stdout
        failed = done.stdout[done.stdout.index("FAIL") :]
        assert said in failed
        assert advice in failed

    def test_a_configuration_that_cannot_be_read(self, tmp_path: Path) -> None:
        """The first finding is the configuration itself."""
        (tmp_path / "c.yml").write_text("calls: {timeout: soon}\n", encoding="utf-8")
        done = check(tmp_path / "c.yml")
        assert done.returncode == 1
        assert "calls.timeout: must be a whole number" in done.stdout
