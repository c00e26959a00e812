"""`setup asterisk --undo`: back to what every file was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2c_agent.setup import files, journal
from c2c_agent.setup.asterisk_conf import SetupError
from tests.unit.setup.tree import Host


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
        real = files.write

        def full(path: Path, *arguments: Any, **named: Any) -> None:
            if path.name == "c2c-bridge.conf":
                raise OSError(28, "No space left on device", str(path))
            real(path, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write", full)
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
        written = json.loads((state / "journal.json").read_text())
        for entry in written["files"]:
            if entry["original"]:
                (state / entry["original"]).unlink()
        before = plain.tree()
        with pytest.raises(SetupError, match="is missing: it held"):
            journal.undo(str(plain.config))
        assert plain.tree() == before
        (state / "journal.json").write_text("{}")
        with pytest.raises(SetupError, match="cannot be read"):
            journal.undo(str(plain.config))
