"""The files of `setup asterisk`: reads them, and writes each at once, whole."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from c2c_agent.host.files import write_anew
from c2c_agent.setup.asterisk_conf import SetupError, included
from c2c_agent.setup.plan import BRIDGE, CHOWN, FIRST, SHIPPED, Place


def shipped() -> dict[str, str]:
    """The files of asterisk-conf: in the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    for folder in (package / "asterisk-conf", package.parent / "asterisk-conf"):
        if folder.is_dir():
            return {name: (folder / name).read_text(encoding="utf-8") for name in SHIPPED}
    raise SetupError(f"{package}: asterisk-conf is missing there: install c2c-agent again.")


def read(where: Place) -> dict[str, str]:
    """The text of every file that counts and is there, by its path."""
    folder = Path(where.asterisk_dir)
    files = [
        folder / "extensions.conf",
        folder / "extensions_custom.conf",
        folder / "extensions_additional.conf",
        folder / FIRST,
        folder / BRIDGE,
        folder / CHOWN,
        *sorted(folder.glob("manager*.conf")),
        *sorted(folder.glob("manager.d/*.conf")),
        Path(where.config),
        Path(where.secret_file),
    ]
    found: dict[str, str] = {}
    while files:
        file = files.pop(0)
        text = text_of(file) if str(file) not in found else None
        if text is None:
            continue
        found[str(file)] = text
        if file.suffix == ".conf":
            files += [other for name in included(text) for other in _named(folder, name)]
    return found


def _named(folder: Path, name: str) -> list[Path]:
    """The files that an include names, relative to the folder of Asterisk's configuration."""
    path = Path(os.path.normpath(folder / name))
    if not any(wild in path.name for wild in "*?["):
        return [path]
    return sorted(path.parent.glob(path.name))


def text_of(file: Path) -> str | None:
    """The text of a file, None where it is not there; bytes that are no UTF-8 survive."""
    with words_for_errors():
        try:
            return file.read_bytes().decode("utf-8", "surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            return None


def bytes_of(text: str) -> bytes:
    """The bytes of a text that `text_of` has read."""
    return text.encode("utf-8", "surrogateescape")


def rewrite(path: Path, text: str) -> None:
    """Give a file another content, with its mode and owner; a link goes on to point to it."""
    real = path.resolve()
    like = real.stat()
    write(real, text, like.st_mode & 0o7777, like.st_uid, like.st_gid)


def write(path: Path, text: str, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Write a file anew, whole or not at all (`host.files`), for a user and a group (-1: ours)."""
    write_anew(path, bytes_of(text), mode, (uid, gid))


def missing_folders(files: Sequence[Path]) -> list[Path]:
    """The folders that these files need and that are not there, the outer ones first."""
    wanted = {folder for file in files for folder in file.parents if not folder.exists()}
    return sorted(wanted)


def make_folder(folder: Path, where: Place) -> None:
    """Make a folder, for those who read what stands beside it."""
    folder.mkdir(mode=0o750)
    if folder.is_relative_to(where.asterisk_dir):
        like = Path(where.asterisk_dir).stat()
        os.chown(folder, like.st_uid, like.st_gid)
        folder.chmod(like.st_mode & 0o777)
    else:
        os.chown(folder, -1, group("c2c-agent"))


def group(name: str, otherwise: int = -1) -> int:
    """The number of a group of this host; `otherwise` where there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return otherwise


@contextmanager
def words_for_errors(advice: str = "") -> Iterator[None]:
    """Raise SetupError for an OSError: which file, why, and what to do."""
    try:
        yield
    except OSError as error:
        root = " Run this as root." if isinstance(error, PermissionError) else ""
        raise SetupError(f"{error.filename}: {error.strerror}.{root}{advice}") from error
