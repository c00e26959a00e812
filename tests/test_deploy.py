"""What compose.yml starts, as far as it can be tried without containers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

_DATABASE: Final = Path(__file__).parents[1] / "deploy" / "database"

#: Notes its command line, and keeps what it is told.
_PROGRAM: Final = """#!/bin/sh
echo "$0 $*" >> "$NOTES/commands"
[ "${0##*/}" != psql ] || cat > "$NOTES/told"
"""


def test_no_password_on_a_command_line(tmp_path: Path) -> None:
    """Everybody on the machine sees those of a container; psql is told where the password is."""
    programs = tmp_path / "programs" / "15" / "bin"
    programs.mkdir(parents=True)
    for name in ("initdb", "pg_ctl", "postgres", "psql"):
        (programs / name).write_text(_PROGRAM)
        (programs / name).chmod(0o755)
    (tmp_path / "made" / "database").mkdir(parents=True)
    (tmp_path / "made" / "database" / "postgresql.password").write_text("hush")
    (tmp_path / "postgresql" / "data").mkdir(parents=True)
    script = _DATABASE.read_text(encoding="utf-8")
    for there, here in (
        ("/var/lib/postgresql", "postgresql"),
        ("/usr/lib/postgresql", "programs"),
        ("/made/", "made/"),
    ):
        script = script.replace(there, f"{tmp_path}/{here}")
    # `pg_ctl` has to make nothing: only the mark is looked for.
    script = script.replace('rm -rf "$data"', ":")
    subprocess.run(
        ["/usr/bin/env", "bash", "-c", script],
        env={"PATH": f"{programs}:{os.environ['PATH']}", "NOTES": str(tmp_path)},
        check=True,
    )
    commands = (tmp_path / "commands").read_text()
    assert commands.count("psql") == 1
    assert "hush" not in commands
    told = (tmp_path / "told").read_text()
    assert told.startswith(f"\\set password `cat {tmp_path}/made/database/postgresql.password`\n")
