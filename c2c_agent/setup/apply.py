"""Makes the changes of a plan on this host, and tells Asterisk of them.

The journal is on the disk before the first file changes, so a run that was cut short can be
undone, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from c2c_agent.config import files as configfile
from c2c_agent.setup import files, journal
from c2c_agent.setup.asterisk_conf import SetupError
from c2c_agent.setup.plan import Change, Kind, Place, Plan

_SECRET_FILE: Final = "ami.secret"  # noqa: S105 - a file's name

#: What Asterisk is told to read again; nothing else, so that no call notices.
_RELOADS: Final = ("manager reload", "dialplan reload")

#: Where the command may be though it is not in the PATH of who became root by `su`.
_SBIN: Final = "/usr/sbin:/usr/local/sbin"

#: Seconds for one command of Asterisk's.
_PATIENCE: Final = 30.0


def place(asterisk_dir: str, config: str, pbx: str | None = None) -> Place:
    """Where everything lies, for the Asterisk of that name among several.

    Raises ConfigError where the agent's configuration cannot be used, or has no such Asterisk.
    """
    file = Path(os.path.abspath(config))  # noqa: PTH100 - resolve() would follow a link
    folder = os.path.abspath(asterisk_dir)  # noqa: PTH100
    if files.text_of(file) is None:
        return Place(folder, str(file), str(file.parent / _SECRET_FILE))
    loaded = configfile.load(str(file))
    if "asterisk" not in loaded.pbx_kinds.values():
        raise SetupError(f"{file}: this agent has no Asterisk (asterisk is false).")
    asterisk = loaded.pbx_of_kind("asterisk", pbx).asterisk
    assert asterisk is not None  # noqa: S101 - it is of that kind
    ami = asterisk.ami
    return Place(folder, str(file), ami.secret_file, ami.username, asterisk.freepbx)


def apply(plan: Plan, where: Place) -> None:
    """Make the changes, each file at once; raises SetupError."""
    with files.words_for_errors(" What was written before, --undo takes back."):
        state = journal.state_of(where.config)
        earlier = journal.load(state)
        entries = {entry.path: entry for entry in earlier.files}
        missing = files.missing_folders([*(Path(change.path) for change in plan.changes), state])
        for change in plan.changes:
            entries[change.path] = journal.noted(change, entries.get(change.path), state)
        for folder in missing:
            files.make_folder(folder, where)
        state.mkdir(mode=0o700, exist_ok=True)
        for change in plan.changes:
            original = journal.original(change, entries[change.path])
            if original is not None:
                files.write(state / journal.digest(original), original, 0o600)
        made = [str(folder) for folder in missing]
        journal.save(state, journal.Journal([*entries.values()], [*earlier.directories, *made]))
        for change in plan.changes:
            _carry_out(change, where)


def _carry_out(change: Change, where: Place) -> None:
    path = Path(change.path)
    if files.text_of(path) != change.before:
        raise SetupError(f"{path} has just been changed by somebody else: run this again.")
    if change.before is not None:
        files.rewrite(path, change.after)
        return
    if change.kind is Kind.DIALPLAN:
        like = Path(where.asterisk("extensions.conf")).stat()
        files.write(path, change.after, like.st_mode & 0o777, like.st_uid, like.st_gid)
    elif change.kind is Kind.AMI:
        like = Path(where.asterisk("manager.conf")).stat()
        files.write(path, change.after, 0o640, like.st_uid, files.group("asterisk", like.st_gid))
    else:
        files.write(path, change.after, 0o640, gid=files.group("c2c-agent"))


def notes(plan: Plan) -> list[str]:
    """What the admin should know of this host and of the modes of the files that get a secret."""
    said = []
    if files.group("c2c-agent") < 0 and any(change.kind is Kind.AGENT for change in plan.changes):
        said.append(
            "There is no group c2c-agent: the agent's files are for root alone. Make the user "
            "(the page Start of the documentation says how), then chgrp them."
        )
    for change in plan.changes:
        if change.kind is Kind.AMI and change.before is not None:
            mode = Path(change.path).stat().st_mode
            if mode & 0o004:
                said.append(f"Everybody on this host can read {change.path}: chmod o= it.")
    return said


def reload_asterisk() -> list[str]:
    """Have Asterisk read AMI users and dialplan again; says what came of it."""
    program = shutil.which("asterisk", path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if program is None:
        return [
            "Not reloaded: the command asterisk is not here. On the Asterisk: "
            + ", ".join(f'asterisk -rx "{command}"' for command in _RELOADS)
        ]
    said: list[str] = []
    for command in _RELOADS:
        try:
            result = subprocess.run(  # noqa: S603 - Asterisk's own program, with words of ours
                [program, "-rx", command],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said.append(f"Not reloaded: asterisk -rx {command!r}: {error}")
            break
        if result.returncode:
            words = (result.stderr or result.stdout).strip()
            said.append(
                f"Not reloaded: Asterisk does not run, or does not answer ({words}). It reads the "
                "files when it starts."
            )
            break
        said.append(f"Asterisk: {command}")
    return said
