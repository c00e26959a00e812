"""What setups have done on this host, so that it can be taken back.

What the files were lies in the folder `setup-undo` beside the agent's configuration, where only
root can change it: the agent's own folder would not do, for an undo writes to Asterisk's
configuration as root.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import asdict, evolve, frozen

from c2c_agent.setup import files
from c2c_agent.setup.asterisk_conf import SetupError, block_of, taken_back, without_block
from c2c_agent.setup.plan import Change

_STATE: Final = "setup-undo"
_JOURNAL: Final = "journal.json"


@frozen
class Entry:
    """A file that a setup wrote: SHA-256 of what it was (None: not there), and of all it got.

    `blocks` are those of the marked blocks, for a file that is somebody else's.
    """

    path: str
    original: str | None
    written: Sequence[str] = ()
    blocks: Sequence[str] = ()


@frozen
class Journal:
    """All that setups have done here, in order."""

    files: Sequence[Entry] = ()
    directories: Sequence[str] = ()


def noted(change: Change, earlier: Entry | None, state: Path) -> Entry:
    """The journal's entry for a change; raises SetupError where an edit would be lost."""
    entry = earlier or Entry(change.path, None if change.before is None else digest(change.before))
    known = {*entry.written, entry.original}
    if earlier is not None and change.before is not None and digest(change.before) not in known:
        if change.block is None:
            raise SetupError(
                f"{change.path} was edited since the setup, and is to be replaced: move it away, "
                f"and run this again. (What it was before the setup is in {state}.)"
            )
        entry = evolve(entry, original=digest(without_block(change.before)))
    blocks = [] if change.block is None else [digest(change.block)]
    return evolve(
        entry, written=[*entry.written, digest(change.after)], blocks=[*entry.blocks, *blocks]
    )


def original(change: Change, entry: Entry) -> str | None:
    """The text that the entry's digest stands for, where it is not in the state folder yet."""
    for text in (change.before, without_block(change.before or "")):
        if text is not None and digest(text) == entry.original:
            return text
    return None


def undo(config: str) -> list[str]:
    """Take back all that setups did; says what was done with each file. Raises SetupError."""
    state = state_of(os.path.abspath(config))  # noqa: PTH100
    with files.words_for_errors():
        journal = load(state)
        if not journal.files:
            raise SetupError(f"Nothing to undo: no setup has left its journal in {state}.")
        steps = _steps_back(journal, state)
        done = [_step_back(*step) for step in steps]
        shutil.rmtree(state)
        for folder in reversed(journal.directories):
            with suppress(OSError):  # something else lies in it by now
                Path(folder).rmdir()
    return done


def _steps_back(journal: Journal, state: Path) -> list[tuple[Path, str | None, str | None]]:
    """For each file, what it is now and what it is to be; raises SetupError, all files named."""
    steps: list[tuple[Path, str | None, str | None]] = []
    edited = []
    # Includes go before what they include.
    for entry in reversed(journal.files):
        path = Path(entry.path)
        current = files.text_of(path)
        original = None if entry.original is None else files.text_of(state / entry.original)
        if entry.original is not None and original is None:
            raise SetupError(f"{state / entry.original} is missing: it held what {path} was.")
        if current is None:  # somebody has removed it
            steps.append((path, None, None))
            continue
        block = block_of(current)
        try:
            after = taken_back(
                entry.path,
                current,
                original,
                # Around an older block there may have been edits that the latest original has.
                ours=digest(current) in (entry.written[-1:] if entry.blocks else entry.written),
                blocked=bool(entry.blocks),
                block_ours=block is not None and digest(block) in entry.blocks,
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
    files.rewrite(path, after)
    return f"{path}: restored"


def state_of(config: str) -> Path:
    """The state folder, beside the agent's configuration."""
    return Path(config).parent / _STATE


def load(state: Path) -> Journal:
    """The journal of a state folder, empty where there is none; raises SetupError."""
    text = files.text_of(state / _JOURNAL)
    if text is None:
        return Journal()
    try:
        raw = json.loads(text)
        return Journal([Entry(**entry) for entry in raw["files"]], raw["directories"])
    except (ValueError, TypeError, KeyError) as error:
        raise SetupError(f"{state / _JOURNAL} cannot be read: {error}") from error


def save(state: Path, journal: Journal) -> None:
    """Write the journal; on the disk when this returns."""
    files.write(state / _JOURNAL, json.dumps(asdict(journal), indent=2) + "\n", 0o600)


def digest(text: str) -> str:
    """SHA-256 of a text's bytes, in hexadecimal."""
    return hashlib.sha256(files.bytes_of(text)).hexdigest()
