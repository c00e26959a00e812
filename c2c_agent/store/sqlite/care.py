"""Care of the store from the command line, while the agent runs or not: check, backup, vacuum.

Each works on a connection of its own, and none makes the agent wait for long: reading never does
(WAL), and room is given back in small steps.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from c2c_agent.call.record import load
from c2c_agent.errors import StoreError
from c2c_agent.store.sqlite.store import SCHEMA_VERSION, connect

#: Pages in one step of `vacuum`: 4 MB, a few milliseconds of work.
_STEP: Final = 1000

#: Seconds between steps: the agent, where it waits, looks again within 0.1 s.
_PAUSE: Final = 0.12


def check(path: Path) -> int:
    """Read all of the store; gives how many calls are in it. Raises StoreError."""
    with _opened(path, "ro") as store:
        # One view of it all, whatever the agent writes meanwhile.
        store.execute("BEGIN")
        (found,) = store.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise StoreError(f"The store {path} is damaged: {' '.join(found.split())}")
        version = store.execute("SELECT version FROM schema_version").fetchone()
        if version != (SCHEMA_VERSION,):
            told = "no schema" if version is None else f"schema {version[0]}"
            raise StoreError(
                f"The store {path} has {told}; this version of c2c-agent knows {SCHEMA_VERSION}."
            )
        count = 0
        for request_id, record in store.execute("SELECT request_id, record FROM calls"):
            try:
                load(record)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                message = f"The store {path}: the record of {request_id} cannot be read: {reason}"
                raise StoreError(" ".join(message.split())) from error
            count += 1
    return count


def backup(path: Path, file: Path) -> None:
    """Copy the store to a new file, as it is at one moment: all of it, or nothing.

    Raises StoreError.
    """
    with _opened(path, "ro") as store:
        try:
            _refuse_existing(file)
            with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as directory:
                copy = Path(directory) / "copy"
                # Numbers are in it, as in the store.
                os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
                with closing(sqlite3.connect(copy)) as target:
                    store.backup(target)
                _refuse_existing(file)  # it took a while
                copy.rename(file)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The backup {file} cannot be made: {error}") from error


def vacuum(path: Path, pause: Callable[[float], None] = time.sleep) -> int:
    """Give back the room of what was deleted; gives how many bytes. Raises StoreError."""
    with _opened(path, "rw") as store:
        # The agent's writer does that. Two of them at once can damage a file (SQLite < 3.51.3).
        store.execute("PRAGMA wal_autocheckpoint = 0")
        (page_size,) = store.execute("PRAGMA page_size").fetchone()
        first = free = _free(store)
        while free:
            # By `execute`, Python would end it after the first page.
            store.executescript(f"PRAGMA incremental_vacuum({_STEP})")
            before, free = free, _free(store)
            if free >= before:
                break  # the agent deletes faster; or it is a file that cannot shrink
            pause(_PAUSE)
        return max(0, first - free) * int(page_size)


def _free(store: sqlite3.Connection) -> int:
    (pages,) = store.execute("PRAGMA freelist_count").fetchone()
    return int(pages)


def _refuse_existing(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise StoreError(f"The backup {file} cannot be made: the file exists.")


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """The store, which has to be there; what SQLite says of it in one line."""
    try:
        if not path.exists():
            raise StoreError(f"There is no store {path}.")
        with closing(connect(path, mode)) as store:
            yield store
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            raise StoreError(f"The store {path} is busy; try again later.") from error
        raise StoreError(f"The store {path} cannot be used: {error}.") from error
    except OSError as error:  # who may not look into the directory
        raise StoreError(f"The store {path} cannot be used: {error.strerror}.") from error
