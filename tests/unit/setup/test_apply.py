"""`setup asterisk` on trees of files: what is written, what is not, what Asterisk is told."""

from __future__ import annotations

import grp
import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from c2c_agent.__main__ import main
from c2c_agent.config import files as configfile
from c2c_agent.policy.keys import key_digest
from c2c_agent.setup import apply, files
from c2c_agent.setup.plan import SHIPPED
from tests.unit.setup.tree import AMI_FILE, Host, command, made

#: The real one; the tests do without the machine's groups.
GROUP = files.group


class TestSetUp:
    """A first run and a second one."""

    def test_written(self, host: Host, reloads: Callable[[], list[str]]) -> None:
        """The agent can be started with what was written, and log in to this Asterisk."""
        result = host.set_up()
        config = configfile.load(str(host.config))
        assert config.asterisk is not None
        assert config.asterisk.freepbx == (host.layout == "freepbx")
        secret = configfile.read_secret(config.asterisk.ami.secret_file)
        ami = (host.etc / AMI_FILE[host.layout]).read_text()
        assert "\n[c2c-agent]\n" in ami
        assert f"\nsecret = {secret}\n" in ami
        assert '#include "c2c-first.conf"' in host.dialplan.read_text("latin-1")
        for name in SHIPPED[1:]:
            assert (host.etc / name).read_text() == files.shipped()[name]
        (key,) = re.findall(r"^    (c2c_\S+)$", result.output, re.MULTILINE)
        assert [own.sha256 for own in config.keys] == [key_digest(key)]
        assert secret not in result.output
        assert reloads() == ["-rx manager reload", "-rx dialplan reload"]

    def test_no_voicemail(self, host: Host) -> None:
        """On a FreePBX the second is dialled without; elsewhere nothing is written."""
        before = host.tree()
        result = host.run("--allow", "_1XX", "--no-voicemail")
        if host.layout != "freepbx":
            assert result.exit_code == 1
            assert "Only a FreePBX" in result.output
            assert host.tree() == before
            return
        config = configfile.load(str(host.config))
        assert config.asterisk is not None
        assert {rule.channel for rule in config.asterisk.second_leg} == {
            "Local/{number}@c2c-no-voicemail"
        }
        assert host.run("--undo", "--no-voicemail").exit_code == 2

    def test_modes(self, host: Host) -> None:
        """Secrets are for their readers only; files that were there keep their modes."""
        host.set_up()
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in host.root.rglob("*")
            if path.is_file()
        }
        assert modes["ami.secret"] == modes["c2c-agent.yml"] == 0o640
        assert modes["c2c-first.conf"] == modes[host.dialplan.name] == 0o660
        assert modes[Path(AMI_FILE[host.layout]).name] == (
            0o640 if host.layout == "debian" else 0o660
        )
        state = host.config.parent / "setup-undo"
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert modes["journal.json"] == 0o600

    def test_dry_run(self, host: Host, reloads: Callable[[], list[str]]) -> None:
        """It shows everything and writes nothing, no key either."""
        before = host.tree()
        result = host.set_up("--dry-run")
        assert host.tree() == before
        assert reloads() == []
        for path in (host.config, host.dialplan, host.etc / AMI_FILE[host.layout]):
            assert f"\n+++ {path}\n" in f"\n{result.output}"
        assert "+secret = ********" in result.output
        assert "c2c_" not in result.output
        assert "Nothing was written." in result.output

    def test_second_run(self, host: Host, reloads: Callable[[], list[str]]) -> None:
        """It changes nothing, and says so."""
        host.set_up()
        before, asked = host.tree(), reloads()
        result = host.set_up()
        assert host.tree() == before
        assert "Nothing has to change." in result.output
        assert reloads() == asked

    def test_allow(self, host: Host) -> None:
        """Nobody may dial what nobody has said."""
        before = host.tree()
        for arguments in ([], ["--dry-run"], ["--allow", " "], ["--allow", "_1X _"]):
            result = host.run(*arguments)
            assert result.exit_code == 2
            assert "--allow" in result.output
        assert host.tree() == before

    def test_asked(self, plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody at a terminal is asked, until it is an answer; several have blanks between."""
        monkeypatch.setattr("c2c_agent.cli.setup._can_ask", lambda: True)
        words = ["setup", "asterisk", "--config", str(plain.config)]
        words += ["--asterisk-dir", str(plain.etc)]
        result = CliRunner().invoke(main, words, input="\n  \n1+1\n_1XX _NXXNXXXXXX\n")
        assert result.exit_code == 0, result.output
        assert "a key without patterns can dial nothing" in result.output
        assert "'1+1' is neither a number nor a pattern" in result.output
        allow = [pattern.text for pattern in configfile.load(str(plain.config)).keys[0].allow]
        assert allow == ["_1XX", "_NXXNXXXXXX"]

    def test_another_program_has_the_port(self, plain: Host) -> None:
        """It is named before any call could come to it, and it sees nothing of that."""
        with socket.create_server(("127.0.0.1", 0)) as foreign:
            port = foreign.getsockname()[1]
            plain.config.parent.mkdir()
            agi = f"{{listen: 'tcp:{port}:interface=127.0.0.1'}}"
            http = f"{{listen: 'unix:{plain.root}/http'}}"
            plain.config.write_text(f"http: {http}\nasterisk: {{agi: {agi}}}\n")
            said = plain.set_up("--dry-run").output
            assert f"Another program listens at 127.0.0.1:{port}" in said
            foreign.settimeout(0)
            with pytest.raises(BlockingIOError):
                foreign.accept()
        assert "Another program" not in plain.set_up("--dry-run").output

    def test_link(self, plain: Host) -> None:
        """A file that is linked from elsewhere is written where it is."""
        real = plain.root / "elsewhere.conf"
        plain.dialplan.rename(real)
        plain.dialplan.symlink_to(real)
        before = plain.tree()
        plain.set_up()
        assert plain.dialplan.is_symlink()
        assert b"c2c-first.conf" in real.read_bytes()
        assert plain.run("--undo").exit_code == 0
        assert plain.tree() == before

    def test_folder_is_missing(self, tmp_path: Path) -> None:
        """An included folder that is not there is made, and goes with an undo."""
        host = made(tmp_path / "host", "debian")
        (host.etc / "manager.d").rmdir()
        before = host.tree()
        host.set_up()
        assert (host.etc / "manager.d").stat().st_mode == host.etc.stat().st_mode
        assert host.run("--undo").exit_code == 0
        assert host.tree() == before

    def test_groups(self, plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """The agent's files are its group's, where there is one; else that is said."""
        assert "no group c2c-agent" in plain.set_up("--dry-run").output
        names = {"c2c-agent": os.getgid()}
        monkeypatch.setattr(files, "group", lambda name, otherwise=-1: names.get(name, otherwise))
        assert "no group" not in plain.set_up().output
        assert plain.config.stat().st_gid == os.getgid()

    def test_group_by_name(self) -> None:
        """As the system knows it."""
        assert GROUP(grp.getgrgid(0).gr_name) == 0
        assert GROUP("no-such-group", 7) == 7

    def test_no_asterisk(self, tmp_path: Path) -> None:
        """A folder that is not there."""
        result = Host(tmp_path / "host", "plain").run("--allow", "_1XX")
        assert result.exit_code == 1
        assert "manager.conf is not there" in result.output

    def test_agent_without_asterisk(self, plain: Host) -> None:
        """An agent that says that it has no Asterisk gets none."""
        plain.config.parent.mkdir()
        plain.config.write_text("asterisk: false\n")
        result = plain.run()
        assert result.exit_code == 1
        assert "asterisk is false" in result.output

    def test_one_of_several_asterisks(self, plain: Host) -> None:
        """It is said which one is here; its secret goes where its section says."""
        plain.config.parent.mkdir()
        secret = plain.config.parent / "south.secret"
        plain.config.write_text(
            "pbxs:\n"
            "  north: {asterisk: {}}\n"
            f"  south: {{asterisk: {{ami: {{secret_file: {secret}, username: c2c-south}}}}}}\n"
        )
        vague = plain.run()
        assert vague.exit_code == 1
        assert "no asterisk PBX; known are north, south." in vague.output
        assert plain.run("--pbx", "south", "--allow", "_1XX").exit_code == 0
        assert secret.exists()
        files = [path for path in plain.etc.rglob("*.conf") if path.is_file()]
        assert any(b"[c2c-south]" in path.read_bytes() for path in files)

    def test_readable_by_all(self, plain: Host) -> None:
        """Where the secret goes into a file that everybody can read, it is said."""
        (plain.etc / "manager.conf").chmod(0o644)
        assert "manager.conf: chmod o= it" in plain.set_up().output

    def test_changed_meanwhile(self, plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody writes between the look and the deed is not lost."""
        place = apply.place(str(plain.etc), str(plain.config))
        monkeypatch.setattr(files, "read", _then_write(plain.dialplan, files.read(place)))
        before = plain.dialplan.read_bytes()
        result = plain.run("--allow", "_1XX")
        assert result.exit_code == 1
        assert "changed by somebody else" in result.output
        assert plain.dialplan.read_bytes() == before + b"; new\n"


def _then_write(file: Path, found: dict[str, str]) -> Callable[[Any], dict[str, str]]:
    def read(_place: object) -> dict[str, str]:
        with file.open("a") as opened:
            opened.write("; new\n")
        return found

    return read


class TestReload:
    """What is said where Asterisk does not answer."""

    def test_does_not_run(self, tmp_path: Path, plain: Host) -> None:
        """The files are written; Asterisk reads them when it starts."""
        command(tmp_path, "echo 'Unable to connect to remote asterisk' >&2; exit 1")
        output = plain.set_up().output
        assert "Asterisk does not run" in output
        assert "(Unable to connect to remote asterisk)" in output

    def test_not_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The admin is told what to run elsewhere."""
        monkeypatch.setenv("PATH", str(tmp_path))
        (said,) = apply.reload_asterisk()
        assert 'asterisk -rx "manager reload", asterisk -rx "dialplan reload"' in said

    @pytest.mark.parametrize("script", ["sleep 30", None])
    def test_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
    ) -> None:
        """A command that hangs, and one that cannot be run."""
        monkeypatch.setattr(apply, "_PATIENCE", 0.1)
        file = command(tmp_path, f"exec {script}")
        if script is None:
            file.write_text("#!/nowhere\n")
        (said,) = apply.reload_asterisk()
        assert said.startswith("Not reloaded: asterisk -rx 'manager reload'")
