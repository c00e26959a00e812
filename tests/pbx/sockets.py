"""Which sockets a process has open, from outside: proc(5)."""

from __future__ import annotations

from pathlib import Path


def open_sockets(pid: int | None) -> set[str]:
    """Return the inodes of the sockets that a process has open, of whatever kind.

    What it closes while this looks is left out.
    """
    inodes = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = file.readlink().name
        except FileNotFoundError:
            continue  # closed since the folder was read
        if link.startswith("socket:["):
            inodes.add(link.removeprefix("socket:[").removesuffix("]"))
    return inodes
