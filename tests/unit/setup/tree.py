"""A tree of files that stands for a host with an Asterisk, and `setup asterisk` on it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from click.testing import CliRunner, Result

from c2c_agent.__main__ import main
from tests.unit.setup.layouts import DEBIAN, FREEPBX, PLAIN

LAYOUTS = {"plain": PLAIN, "debian": DEBIAN, "freepbx": FREEPBX}


#: Where the AMI user is written, by layout.
AMI_FILE = {
    "plain": "manager.conf",
    "debian": "manager.d/c2c-agent.conf",
    "freepbx": "manager_custom.conf",
}


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


def command(folder: Path, script: str) -> Path:
    """Make the command asterisk of a shell script."""
    file = folder / "bin" / "asterisk"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file
