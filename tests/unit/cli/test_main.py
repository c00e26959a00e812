"""The program as a whole: its name, its help, its commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from c2c_agent import __version__
from c2c_agent.__main__ import main
from c2c_agent.config import files as configfile
from tests.fake_agent import FakeAgent
from tests.unit.cli.prompt import assert_plain_error


class TestTheProgram:
    """Options that every command has."""

    def test_version_and_help(self) -> None:
        """-h helps, too, and every command has a line of its own."""
        assert (
            CliRunner().invoke(main, ["--version"]).output == f"c2c-agent, version {__version__}\n"
        )
        shown = CliRunner().invoke(main, ["-h"]).output
        for command in ("run", "check", "call", "status", "cancel", "calls", "key", "store"):
            assert f"\n  {command} " in shown

    def test_as_a_module(self) -> None:
        """`python -m c2c_agent` is the same program under the same name."""
        command = [sys.executable, "-m", "c2c_agent", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == f"c2c-agent, version {__version__}\n"

    def test_config_before_and_after_the_command(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Both are the same; the one after counts where there are two."""
        file, missing = str(tmp_path / "c2c-agent.yml"), str(tmp_path / "missing.yml")
        agent.script = [{"calls": []}] * 3
        for arguments in (
            ["--config", file, "calls"],
            ["calls", "--config", file],
            ["--config", missing, "calls", "--config", file],
        ):
            assert CliRunner().invoke(main, arguments).exit_code == 0
        assert len(agent.asked) == 3
        done = CliRunner().invoke(main, ["--config", file, "calls", "--config", missing])
        assert_plain_error(done, missing)

    def test_config_by_default(self, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the option, the file of the contract is read."""
        assert configfile.DEFAULT_PATH == "/etc/c2c-agent/c2c-agent.yml"
        monkeypatch.setattr(configfile, "DEFAULT_PATH", "/nonexistent/default.yml")
        done = CliRunner().invoke(main, ["calls"])
        assert_plain_error(done, "/nonexistent/default.yml", "No such file")
        assert agent.asked == []
