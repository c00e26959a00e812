"""How a file is written anew: whoever reads it sees it whole, as it was or as it is to be.

After a crash, too: rename(2) replaces a file at once, and fsync(2) of the file before it and of the
folder after it has both on the disk. So there is no moment with half a file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Final

#: What the file is called until it is whole. Not *.conf: Asterisk includes whole folders of these.
_PREFIX: Final = ".c2c-agent-"
_SUFFIX: Final = ".tmp"


def write_anew(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a file with this content in the place of `path`, and have it on the disk.

    It has the permission bits `mode`, whatever the umask, and belongs to `owner`, a user's and a
    group's number (-1: as it comes), or to who writes it. A link is replaced, not followed. Raises
    OSError; the file is as it was then, and nothing is left beside it.
    """
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:  # the agent's unit has it killed for trying (SystemCallFilter)
                os.fchown(handle, *owner)
            os.fchmod(handle, mode)
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _keep_names(path.parent)


def _keep_names(folder: Path) -> None:
    """Have what a folder says of its files on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does so by itself, or not at all
            raise
    finally:
        os.close(handle)
