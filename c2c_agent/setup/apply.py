"""The files of `setup asterisk`: reads them, writes them, keeps what they were, and undoes it.

What they were lies in the folder `setup-undo` beside the agent's configuration, where only root can
change it: the agent's own folder would not do, for an undo writes to Asterisk's configuration as
root. The journal is on the disk before the first file changes, so a run that was cut short can be
undone, too.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import asdict, evolve, frozen

from c2c_agent.config import files as configfile
from c2c_agent.host.files import write_anew
from c2c_agent.setup import plan as setup_asterisk
from c2c_agent.setup.plan import Change, Kind, Place, Plan, SetupError

_SECRET_FILE: Final = "ami.secret"  # noqa: S105 - a file's name
_STATE: Final = "setup-undo"
_JOURNAL: Final = "journal.json"

#: What Asterisk is told to read again; nothing else, so that no call notices.
_RELOADS: Final = ("manager reload", "dialplan reload")

#: Where the command may be though it is not in the PATH of who became root by `su`.
_SBIN: Final = "/usr/sbin:/usr/local/sbin"

#: Seconds for one command of Asterisk's.
_PATIENCE: Final = 30.0


@frozen
class _Entry:
    """A file that a setup wrote: SHA-256 of what it was (None: not there), and of all it got.

    `blocks` are those of the marked blocks, for a file that is somebody else's.
    """

    path: str
    original: str | None
    written: Sequence[str] = ()
    blocks: Sequence[str] = ()


@frozen
class _Journal:
    """All that setups have done here, in order."""

    files: Sequence[_Entry] = ()
    directories: Sequence[str] = ()


def shipped() -> dict[str, str]:
    """The files of asterisk-conf: in the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    for folder in (package / "asterisk-conf", package.parent / "asterisk-conf"):
        if folder.is_dir():
            return {
                name: (folder / name).read_text(encoding="utf-8") for name in setup_asterisk.SHIPPED
            }
    raise SetupError(f"{package}: asterisk-conf is missing there: install c2c-agent again.")


def place(asterisk_dir: str, config: str) -> Place:
    """Where everything lies; raises ConfigError where the agent's configuration cannot be used."""
    file = Path(os.path.abspath(config))  # noqa: PTH100 - resolve() would follow a link
    folder = os.path.abspath(asterisk_dir)  # noqa: PTH100
    if _text(file) is None:
        return Place(folder, str(file), str(file.parent / _SECRET_FILE))
    asterisk = configfile.load(str(file)).asterisk
    if asterisk is None:
        raise SetupError(f"{file}: this agent has no Asterisk (asterisk is false).")
    ami = asterisk.ami
    return Place(folder, str(file), ami.secret_file, ami.username, asterisk.freepbx)


def read(where: Place) -> dict[str, str]:
    """The text of every file that counts and is there, by its path."""
    folder = Path(where.asterisk_dir)
    files = [
        folder / "extensions.conf",
        folder / "extensions_custom.conf",
        folder / "extensions_additional.conf",
        folder / setup_asterisk.FIRST,
        folder / setup_asterisk.BRIDGE,
        *sorted(folder.glob("manager*.conf")),
        *sorted(folder.glob("manager.d/*.conf")),
        Path(where.config),
        Path(where.secret_file),
    ]
    found = {str(file): _text(file) for file in files}
    return {path: text for path, text in found.items() if text is not None}


def apply(plan: Plan, where: Place) -> None:
    """Make the changes, each file at once; raises SetupError."""
    with _words_for_errors(" What was written before, --undo takes back."):
        state = _state(where.config)
        journal = _load(state)
        entries = {entry.path: entry for entry in journal.files}
        missing = _missing_folders([*(Path(change.path) for change in plan.changes), state])
        for change in plan.changes:
            entries[change.path] = _noted(change, entries.get(change.path), state)
        for folder in missing:
            _make_folder(folder, where)
        state.mkdir(mode=0o700, exist_ok=True)
        for change in plan.changes:
            original = _original(change, entries[change.path])
            if original is not None:
                write_anew(state / _digest(original), _bytes(original), 0o600)
        made = [str(folder) for folder in missing]
        _save(state, _Journal([*entries.values()], [*journal.directories, *made]))
        for change in plan.changes:
            _carry_out(change, where)


def notes(plan: Plan) -> list[str]:
    """What the admin should know of this host and of the modes of the files that get a secret."""
    said = []
    if _group("c2c-agent") < 0 and any(change.kind is Kind.AGENT for change in plan.changes):
        said.append(
            "There is no group c2c-agent: the agent's files are for root alone. Make the user "
            "(README.md says how), then chgrp them."
        )
    for change in plan.changes:
        if change.kind is Kind.AMI and change.before is not None:
            mode = Path(change.path).stat().st_mode
            if mode & 0o004:
                said.append(f"Everybody on this host can read {change.path}: chmod o= it.")
    return said


def undo(config: str) -> list[str]:
    """Take back all that setups did; says what was done with each file. Raises SetupError."""
    state = _state(os.path.abspath(config))  # noqa: PTH100
    with _words_for_errors():
        journal = _load(state)
        if not journal.files:
            raise SetupError(f"Nothing to undo: no setup has left its journal in {state}.")
        steps = _steps_back(journal, state)
        done = [_step_back(*step) for step in steps]
        shutil.rmtree(state)
        for folder in reversed(journal.directories):
            with suppress(OSError):  # something else lies in it by now
                Path(folder).rmdir()
    return done


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


# One change


def _noted(change: Change, earlier: _Entry | None, state: Path) -> _Entry:
    """The journal's entry for a change; raises SetupError where an edit would be lost."""
    entry = earlier or _Entry(change.path, _digest_or_none(change.before))
    known = {*entry.written, entry.original}
    if earlier is not None and change.before is not None and _digest(change.before) not in known:
        if change.block is None:
            raise SetupError(
                f"{change.path} was edited since the setup, and is to be replaced: move it away, "
                f"and run this again. (What it was before the setup is in {state}.)"
            )
        entry = evolve(entry, original=_digest(setup_asterisk.without_block(change.before)))
    blocks = [] if change.block is None else [_digest(change.block)]
    return evolve(
        entry, written=[*entry.written, _digest(change.after)], blocks=[*entry.blocks, *blocks]
    )


def _original(change: Change, entry: _Entry) -> str | None:
    """The text that the entry's digest stands for, where it is not in the state folder yet."""
    for text in (change.before, setup_asterisk.without_block(change.before or "")):
        if text is not None and _digest(text) == entry.original:
            return text
    return None


def _carry_out(change: Change, where: Place) -> None:
    path = Path(change.path)
    if _text(path) != change.before:
        raise SetupError(f"{path} has just been changed by somebody else: run this again.")
    if change.before is not None:
        _rewrite(path, change.after)
        return
    after = _bytes(change.after)
    if change.kind is Kind.DIALPLAN:
        like = Path(where.asterisk("extensions.conf")).stat()
        write_anew(path, after, like.st_mode & 0o777, (like.st_uid, like.st_gid))
    elif change.kind is Kind.AMI:
        like = Path(where.asterisk("manager.conf")).stat()
        write_anew(path, after, 0o640, (like.st_uid, _group("asterisk", like.st_gid)))
    else:
        write_anew(path, after, 0o640, (-1, _group("c2c-agent")))


def _steps_back(journal: _Journal, state: Path) -> list[tuple[Path, str | None, str | None]]:
    """For each file, what it is now and what it is to be; raises SetupError, all files named."""
    steps: list[tuple[Path, str | None, str | None]] = []
    edited = []
    # Includes go before what they include.
    for entry in reversed(journal.files):
        path = Path(entry.path)
        current = _text(path)
        original = None if entry.original is None else _text(state / entry.original)
        if entry.original is not None and original is None:
            raise SetupError(f"{state / entry.original} is missing: it held what {path} was.")
        if current is None:  # somebody has removed it
            steps.append((path, None, None))
            continue
        block = setup_asterisk.block_of(current)
        try:
            after = setup_asterisk.taken_back(
                entry.path,
                current,
                original,
                # Around an older block there may have been edits that the latest original has.
                ours=_digest(current) in (entry.written[-1:] if entry.blocks else entry.written),
                blocked=bool(entry.blocks),
                block_ours=block is not None and _digest(block) in entry.blocks,
            )
        except SetupError as error:
            edited.append(str(error))
        else:
            steps.append((path, current, after))
    if edited:
        raise SetupError(
            "\n".join(edited) + "\nNothing was undone. Move your edits away (a file, or the block "
            "between the marks), and run this again."
        )
    return steps


def _step_back(path: Path, current: str | None, after: str | None) -> str:
    if after == current:
        return f"{path}: nothing to undo"
    if after is None:
        path.unlink()
        return f"{path}: removed"
    _rewrite(path, after)
    return f"{path}: restored"


# The state folder


def _state(config: str) -> Path:
    return Path(config).parent / _STATE


def _load(state: Path) -> _Journal:
    text = _text(state / _JOURNAL)
    if text is None:
        return _Journal()
    try:
        raw = json.loads(text)
        return _Journal([_Entry(**entry) for entry in raw["files"]], raw["directories"])
    except (ValueError, TypeError, KeyError) as error:
        raise SetupError(f"{state / _JOURNAL} cannot be read: {error}") from error


def _save(state: Path, journal: _Journal) -> None:
    text = json.dumps(asdict(journal), indent=2) + "\n"
    write_anew(state / _JOURNAL, _bytes(text), 0o600)


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _digest_or_none(text: str | None) -> str | None:
    return None if text is None else _digest(text)


# Files and folders


def _text(file: Path) -> str | None:
    """The text of a file, None where it is not there; bytes that are no UTF-8 survive."""
    with _words_for_errors():
        try:
            return file.read_bytes().decode("utf-8", "surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _rewrite(path: Path, text: str) -> None:
    """Give a file another content, with its mode and owner; a link goes on to point to it."""
    real = path.resolve()
    like = real.stat()
    write_anew(real, _bytes(text), like.st_mode & 0o7777, (like.st_uid, like.st_gid))


def _missing_folders(files: Sequence[Path]) -> list[Path]:
    """The folders that these files need and that are not there, the outer ones first."""
    wanted = {folder for file in files for folder in file.parents if not folder.exists()}
    return sorted(wanted)


def _make_folder(folder: Path, where: Place) -> None:
    folder.mkdir(mode=0o750)
    if folder.is_relative_to(where.asterisk_dir):
        like = Path(where.asterisk_dir).stat()
        os.chown(folder, like.st_uid, like.st_gid)
        folder.chmod(like.st_mode & 0o777)
    else:
        os.chown(folder, -1, _group("c2c-agent"))


def _group(name: str, otherwise: int = -1) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return otherwise


@contextmanager
def _words_for_errors(advice: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        root = " Run this as root." if isinstance(error, PermissionError) else ""
        raise SetupError(f"{error.filename}: {error.strerror}.{root}{advice}") from error
