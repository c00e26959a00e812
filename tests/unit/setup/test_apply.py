"""`setup asterisk` on trees of files: what is written, what is not, and what an undo gives back."""

from __future__ import annotations

import grp
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from c2c_agent.__main__ import main
from c2c_agent.config import files as configfile
from c2c_agent.host.files import write_anew
from c2c_agent.policy.keys import key_digest
from c2c_agent.setup import apply as setup_files
from c2c_agent.setup.plan import SHIPPED, SetupError
from tests.unit.setup.test_plan import DEBIAN, FREEPBX, PLAIN

LAYOUTS = {"plain": PLAIN, "debian": DEBIAN, "freepbx": FREEPBX}

#: Where the AMI user is written, by layout.
AMI_FILE = {
    "plain": "manager.conf",
    "debian": "manager.d/c2c-agent.conf",
    "freepbx": "manager_custom.conf",
}

#: The real one; the tests do without the machine's groups.
GROUP = setup_files._group

#: A comment that is no UTF-8, as old configurations have them, and a line without an end.
ODD = "; Büro\n[last]".encode("latin-1")


@frozen
class Host:
    """A tree with an Asterisk's configuration, and a place for the agent's."""

    root: Path
    layout: str

    @property
    def etc(self) -> Path:
        return self.root / "asterisk"

    @property
    def config(self) -> Path:
        return self.root / "c2c-agent" / "c2c-agent.yml"

    @property
    def dialplan(self) -> Path:
        name = "extensions_custom.conf" if self.layout == "freepbx" else "extensions.conf"
        return self.etc / name

    def run(self, *arguments: str) -> Result:
        """`setup asterisk` on this host."""
        words = ["setup", "asterisk", "--config", str(self.config), *arguments]
        if "--undo" not in arguments:
            words += ["--asterisk-dir", str(self.etc)]
        return CliRunner().invoke(main, words)

    def set_up(self, *arguments: str) -> Result:
        """The same, which has to go well."""
        result = self.run("--allow", "_1XX", *arguments)
        assert result.exit_code == 0, result.output
        return result

    def tree(self) -> dict[str, tuple[bytes | None, int, int, int]]:
        """All that there is: content, mode, owner and group of every file and folder."""
        told = {}
        for path in sorted(self.root.rglob("*")):
            its = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(its.st_mode) else None
            told[str(path)] = (content, its.st_mode, its.st_uid, its.st_gid)
        return told


def made(root: Path, layout: str) -> Host:
    """Write a layout's files, with modes that are nobody's default."""
    host = Host(root, layout)
    files: Mapping[str, str] = LAYOUTS[layout]
    host.etc.mkdir(parents=True)
    for name, text in files.items():
        (host.etc / name).write_bytes(text.encode())
        (host.etc / name).chmod(0o660)
    if layout == "debian":
        (host.etc / "manager.d").mkdir()
    with host.dialplan.open("ab") as file:
        file.write(ODD)
    return host


@pytest.fixture(params=LAYOUTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """A host of each layout."""
    return made(tmp_path / "host", request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Host:
    """A host with the files of Asterisk's own sample."""
    return made(tmp_path / "host", "plain")


@pytest.fixture(autouse=True)
def reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """An Asterisk that answers; gives what it was told. Groups of the machine do not count."""
    log = tmp_path / "asked"
    command(tmp_path, f'echo "$*" >>{log}')
    monkeypatch.setattr(setup_files, "_SBIN", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(setup_files, "_group", lambda _name, otherwise=-1: otherwise)
    return lambda: log.read_text().splitlines() if log.exists() else []


def command(folder: Path, script: str) -> Path:
    """Make the command asterisk of a shell script."""
    file = folder / "bin" / "asterisk"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


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
            assert (host.etc / name).read_text() == setup_files.shipped()[name]
        (key,) = re.findall(r"^    (c2c_\S+)$", result.output, re.MULTILINE)
        assert [own.sha256 for own in config.keys] == [key_digest(key)]
        assert secret not in result.output
        assert reloads() == ["-rx manager reload", "-rx dialplan reload"]

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
        monkeypatch.setattr(
            setup_files, "_group", lambda name, otherwise=-1: names.get(name, otherwise)
        )
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

    def test_readable_by_all(self, plain: Host) -> None:
        """Where the secret goes into a file that everybody can read, it is said."""
        (plain.etc / "manager.conf").chmod(0o644)
        assert "manager.conf: chmod o= it" in plain.set_up().output

    def test_changed_meanwhile(self, plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody writes between the look and the deed is not lost."""
        place = setup_files.place(str(plain.etc), str(plain.config))
        monkeypatch.setattr(
            setup_files, "read", _then_write(plain.dialplan, setup_files.read(place))
        )
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
        (said,) = setup_files.reload_asterisk()
        assert 'asterisk -rx "manager reload", asterisk -rx "dialplan reload"' in said

    @pytest.mark.parametrize("script", ["sleep 30", None])
    def test_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
    ) -> None:
        """A command that hangs, and one that cannot be run."""
        monkeypatch.setattr(setup_files, "_PATIENCE", 0.1)
        file = command(tmp_path, f"exec {script}")
        if script is None:
            file.write_text("#!/nowhere\n")
        (said,) = setup_files.reload_asterisk()
        assert said.startswith("Not reloaded: asterisk -rx 'manager reload'")


class TestUndo:
    """Back to what it was."""

    def test_byte_for_byte(self, host: Host, reloads: Callable[[], list[str]]) -> None:
        """Every file, its mode, and no folder more than before."""
        before = host.tree()
        host.set_up()
        result = host.run("--undo")
        assert result.exit_code == 0, result.output
        assert host.tree() == before
        assert f"{host.config}: removed" in result.output
        assert f"{host.dialplan}: restored" in result.output
        assert reloads()[2:] == ["-rx manager reload", "-rx dialplan reload"]

    def test_nothing_to_undo(self, host: Host) -> None:
        """Before a setup, and after an undo."""
        assert "Nothing to undo" in host.run("--undo").output
        host.set_up()
        host.run("--undo")
        result = host.run("--undo")
        assert result.exit_code == 1
        assert "Nothing to undo" in result.output

    @pytest.mark.parametrize("other", [["--dry-run"], ["--allow", "_1XX"]])
    def test_with_another(self, plain: Host, other: list[str]) -> None:
        """Options that make no sense beside it."""
        assert plain.run("--undo", *other).exit_code == 2

    def test_own_file_edited(self, host: Host) -> None:
        """All files that were edited are named, and nothing is undone."""
        host.set_up()
        first = host.etc / "c2c-first.conf"
        for file in (first, host.config):
            file.write_text(file.read_text() + "# mine\n")
        before = host.tree()
        result = host.run("--undo")
        assert result.exit_code == 1
        assert f"{first}: it was edited" in result.output
        assert f"{host.config}: it was edited" in result.output
        assert host.tree() == before

    def test_edited_around_the_block(self, host: Host) -> None:
        """Edits in a file that is not ours stay; our block goes."""
        text = host.dialplan.read_bytes()
        host.set_up()
        host.dialplan.write_bytes(b"; above\n" + host.dialplan.read_bytes() + b"; below\n")
        assert host.run("--undo").exit_code == 0
        assert host.dialplan.read_bytes() == b"; above\n" + text + b"\n; below\n"

    def test_block_edited(self, host: Host) -> None:
        """An edited block is refused by its file's name, until it is gone."""
        before = host.tree()
        host.set_up()
        text = host.dialplan.read_bytes()
        host.dialplan.write_bytes(text.replace(b"; --- end", b"; mine\n; --- end"))
        result = host.run("--undo")
        assert result.exit_code == 1
        assert f"{host.dialplan}: the block of c2c-agent in it was edited" in result.output
        host.dialplan.write_bytes(text[: text.index(b"\n; --- begin")])
        result = host.run("--undo")
        assert f"{host.dialplan}: nothing to undo" in result.output
        assert host.tree() == before

    def test_file_removed(self, host: Host) -> None:
        """What the admin has removed stays so."""
        before = host.tree()
        host.set_up()
        (host.etc / "c2c-first.conf").unlink()
        assert host.run("--undo").exit_code == 0
        assert host.tree() == before

    def test_after_two_runs(self, host: Host) -> None:
        """An older c2c-bridge.conf that was there first comes back, whatever was written since."""
        bridge = host.etc / "c2c-bridge.conf"
        bridge.write_text("; older\n")
        before = host.tree()
        host.set_up()
        (host.etc / "c2c-first.conf").unlink()
        host.set_up()
        assert host.run("--undo").exit_code == 0
        assert host.tree() == before

    def test_edited_between_two_runs(self, plain: Host) -> None:
        """An edit around a block that is older than the block's repair stays."""
        text = plain.dialplan.read_bytes()
        plain.set_up()
        less = plain.dialplan.read_bytes().replace(b'#include "c2c-bridge.conf"\n', b"")
        plain.dialplan.write_bytes(b"; above\n" + less)
        plain.set_up()
        assert plain.run("--undo").exit_code == 0
        assert plain.dialplan.read_bytes() == b"; above\n" + text

    def test_own_file_edited_before_second_run(self, plain: Host) -> None:
        """A file of ours that was edited is not replaced."""
        plain.set_up()
        bridge = plain.etc / "c2c-bridge.conf"
        bridge.write_text("; mine\n")
        result = plain.run()
        assert result.exit_code == 1
        assert "c2c-bridge.conf was edited since the setup" in result.output
        assert bridge.read_text() == "; mine\n"

    def test_cut_short(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that could not write all of it can be undone."""
        before = host.tree()
        real = write_anew

        def full(path: Path, *arguments: Any, **named: Any) -> None:
            if path.name == "c2c-bridge.conf":
                raise OSError(28, "No space left on device", str(path))
            real(path, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(setup_files, "write_anew", full)
            result = host.run("--allow", "_1XX")
        assert result.exit_code == 1
        assert (
            "No space left on device. What was written before, --undo takes back" in result.output
        )
        assert host.run("--undo").exit_code == 0
        assert host.tree() == before

    def test_broken_journal(self, plain: Host) -> None:
        """A journal that is damaged undoes nothing, and neither does one that lost an original."""
        plain.set_up()
        state = plain.config.parent / "setup-undo"
        journal = json.loads((state / "journal.json").read_text())
        for entry in journal["files"]:
            if entry["original"]:
                (state / entry["original"]).unlink()
        before = plain.tree()
        with pytest.raises(SetupError, match="is missing: it held"):
            setup_files.undo(str(plain.config))
        assert plain.tree() == before
        (state / "journal.json").write_text("{}")
        with pytest.raises(SetupError, match="cannot be read"):
            setup_files.undo(str(plain.config))


class TestWords:
    """Errors of the system."""

    def test_not_allowed(self, plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who may not, is told who may."""

        def refuse(*_arguments: object) -> None:
            raise PermissionError(13, "Permission denied", "/x")

        monkeypatch.setattr(os, "fchown", refuse)
        result = plain.run("--allow", "_1XX")
        assert result.exit_code == 1
        assert "/x: Permission denied. Run this as root." in result.output


class TestShipped:
    """asterisk-conf, wherever the package lies."""

    def test_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In the package itself, if it is there."""
        package = tmp_path / "c2c_agent"
        (package / "asterisk-conf" / "manager.d").mkdir(parents=True)
        for name in SHIPPED:
            (package / "asterisk-conf" / name).write_text("; installed\n")
        monkeypatch.setattr(setup_files, "__file__", str(package / "setup" / "apply.py"))
        assert set(setup_files.shipped().values()) == {"; installed\n"}

    def test_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package without it is broken."""
        monkeypatch.setattr(setup_files, "__file__", str(tmp_path / "a" / "setup" / "apply.py"))
        with pytest.raises(SetupError, match="install c2c-agent again"):
            setup_files.shipped()
