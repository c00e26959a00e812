"""What every command shares: `--config`, whom it asks, errors in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from c2c_agent.__main__ import main
from tests.fake_agent import FakeAgent
from tests.unit.cli.prompt import ONE, assert_plain_error, configure, free_port, run


class TestTheAgent:
    """Which agent is asked, and as whom; every command does it alike."""

    def test_of_this_host(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Where its configuration says, as its host's operator."""
        agent.script = [{"calls": []}]
        assert run(tmp_path, "calls").exit_code == 0
        assert agent.asked[0].authorization == "Bearer c2c_host"

    def test_with_a_key_of_ones_own(
        self, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """$C2C_API_KEY counts before the host's key, which need not be readable then."""
        monkeypatch.setenv("C2C_API_KEY", "c2c_own")
        (tmp_path / "operator.key").unlink()
        agent.script = [{"calls": []}]
        assert run(tmp_path, "calls").exit_code == 0
        assert agent.asked[0].authorization == "Bearer c2c_own"

    def test_elsewhere(self, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
        """With --url and a key, no configuration is needed at all."""
        monkeypatch.setenv("C2C_API_KEY", "c2c_own")
        agent.script = [{"calls": []}]
        url = f"http://{agent.address}"
        done = CliRunner().invoke(main, ["calls", "--url", url, "--config", "/nonexistent"])
        assert (done.exit_code, done.output) == (0, "")

    def test_elsewhere_with_the_hosts_key(self, agent: FakeAgent, tmp_path: Path) -> None:
        """With --url alone, the key is still the host's."""
        agent.script = [{"calls": []}]
        configure(tmp_path, http={"listen": "unix:/run/c2c.sock"})
        assert run(tmp_path, "calls", "--url", f"http://{agent.address}").exit_code == 0
        assert agent.asked[0].authorization == "Bearer c2c_host"

    @pytest.mark.parametrize(
        "command", [["call", "100", "200"], ["status", ONE], ["cancel", ONE], ["calls"]]
    )
    def test_not_running(self, tmp_path: Path, command: list[str]) -> None:
        """It is said where it was looked for."""
        port = free_port()
        configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
        (tmp_path / "operator.key").write_text("c2c_host\n")
        done = run(tmp_path, *command)
        assert_plain_error(done, f"The agent at 127.0.0.1:{port} does not answer", "running?")

    def test_no_host_key(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Which file cannot be read, and what to do."""
        (tmp_path / "operator.key").unlink()
        done = run(tmp_path, "calls")
        assert_plain_error(done, str(tmp_path / "operator.key"), "root", "$C2C_API_KEY")
        assert agent.asked == []

    def test_bad_configuration(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The file, the place in it, and what would be right."""
        configure(tmp_path, calls={"timeout": "soon"})
        done = run(tmp_path, "calls")
        assert_plain_error(done, "c2c-agent.yml", "calls.timeout", "a whole number")
        assert agent.asked == []
