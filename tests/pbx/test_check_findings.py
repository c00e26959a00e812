"""What `c2c-agent check` finds on an Asterisk whose AMI user is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.hosts import AsteriskHost, beside
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

USER = "manager.d/c2c-agent.conf"


@contextmanager
def another(asterisk: AsteriskHost, old: str, new: str) -> Iterator[AsteriskHost]:
    """An Asterisk of the same version with one line of the agent's AMI user changed."""
    host = AsteriskHost(asterisk.version, beside(asterisk.address, 100))
    assert old in host.files[USER]
    host.files = {**host.files, USER: host.files[USER].replace(old, new)}
    with host:
        yield host


def checked(host: AsteriskHost, directory: Path) -> tuple[int, str]:
    """The exit status of the check, and what it prints; no agent runs."""
    done = AgentProcess(host, directory).run("check")
    return done.returncode, done.stdout


class TestTheAmiUser:
    def test_setvar(self, asterisk: AsteriskHost, tmp_path: Path) -> None:
        """Old versions drop our variables because of it; newer ones bear it."""
        with another(asterisk, "read = call", "setvar = ANYTHING=1\nread = call") as host:
            status, told = checked(host, tmp_path)
            wait_until(lambda: not host.core_show_channels(), 5, "no channel is left")
        if asterisk.version == "16":
            assert status == 1
            assert "FAIL AMI user: the channel variables" in told
            assert "-> Take `setvar` out of manager.conf's [c2c-agent]" in told
        else:
            assert status == 0
            assert "ok   test call: through the bridge context" in told

    def test_no_eventfilter(self, asterisk: AsteriskHost, tmp_path: Path) -> None:
        """A warning: calls work."""
        with another(asterisk, "eventfilter =", "; eventfilter =") as host:
            status, told = checked(host, tmp_path)
        assert status == 0
        assert "ok   test call" in told
        assert "WARN AMI eventfilter: AMI tells of everybody's calls" in told

    def test_as_it_is_shipped(
        self, asterisk: AsteriskHost, agent: AgentProcess, tmp_path: Path
    ) -> None:
        """Nothing of that is found where the user is the shipped one."""
        status, told = checked(asterisk, tmp_path)
        assert status == 0
        assert "eventfilter" not in told
        assert "test call" in told
        assert agent.is_ready()

    def test_within_the_agent(
        self, asterisk: AsteriskHost, tmp_path: Path, witness: Witness
    ) -> None:
        """The same of the PBX, over the agent's own link, and without a call of any kind."""
        agent = AgentProcess(asterisk, tmp_path)
        care = {"name": "care", "sha256": key_digest(KEY), "allow": ["_XXX"], "console": True}
        agent.configure("keys", [care])
        with agent:
            logins = agent.log().count("AMI link up")
            told = agent.ask(f"/c2c/v2/check?{urlencode({'api_key': KEY})}")
            assert agent.log().count("AMI link up") == logins
        names = [finding["name"] for finding in told["findings"] if finding["ok"]]
        assert told["ok"] is True
        for name in ("key care", "AMI login", "AMI rights", "context c2c-bridge"):
            assert name in names
        assert "test call" not in names
        assert witness.linkedids() == []
