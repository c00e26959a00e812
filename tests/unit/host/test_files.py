"""A file written anew: whole or not at all, with the mode that it is to have."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from c2c_agent.host.files import write_anew


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_mode(tmp_path: Path, mode: int, umask: int) -> None:
    """As it was said, whatever the umask, and whatever the file had before."""
    file = tmp_path / "file"
    file.write_text("before")
    file.chmod(0o666)
    before = os.umask(umask)
    try:
        write_anew(file, b"after\xff", mode)
    finally:
        os.umask(before)
    assert file.read_bytes() == b"after\xff"
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert names(tmp_path) == ["file"]


def test_who_reads_it_meanwhile(tmp_path: Path) -> None:
    """Has the whole of what it was."""
    file = tmp_path / "file"
    write_anew(file, b"before", 0o600)
    with file.open("rb") as reader:
        write_anew(file, b"after", 0o600)
        assert reader.read() == b"before"


def test_a_link(tmp_path: Path) -> None:
    """It is replaced: what it led to stays as it was."""
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text("somebody's")
    link.symlink_to(other)
    write_anew(link, b"ours", 0o600)
    assert (link.read_text(), other.read_text()) == ("ours", "somebody's")
    assert not link.is_symlink()


class Calls:
    """What the operating system is asked for, in order; one of it fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "", error: int = 0) -> None:
        self.made: list[str] = []
        self._fails = fails
        self._error = error
        for name in ("fchown", "fchmod", "fsync"):
            self._follow(monkeypatch, name)
        replace = Path.replace

        def replaced(file: Path, target: Path) -> Path:
            self._note("replace")
            return replace(file, target)

        monkeypatch.setattr(Path, "replace", replaced)

    def _follow(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(os, name)

        def called(handle: int, *arguments: int) -> None:
            folder = stat.S_ISDIR(os.fstat(handle).st_mode)
            self._note(f"{name} {'folder' if folder else 'file'}")
            original(handle, *arguments)

        monkeypatch.setattr(os, name, called)

    def _note(self, call: str) -> None:
        self.made.append(call)
        if call == self._fails:
            raise OSError(self._error, os.strerror(self._error))


def test_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content before the name, and the name at last. Nobody's owner is touched unasked."""
    calls = Calls(monkeypatch)
    write_anew(tmp_path / "file", b"content", 0o600)
    assert calls.made == ["fchmod file", "fsync file", "replace", "fsync folder"]


def test_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given away before it has its name."""
    calls = Calls(monkeypatch)
    write_anew(tmp_path / "file", b"content", 0o600, (os.getuid(), -1))
    assert calls.made[0] == "fchown file"
    assert (tmp_path / "file").stat().st_uid == os.getuid()


@pytest.mark.parametrize("fails", ["fchmod file", "fsync file", "replace"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """The file is as it was, and nothing is left beside it."""
    file = tmp_path / "file"
    file.write_text("before")
    Calls(monkeypatch, fails, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        write_anew(file, b"after", 0o600)
    assert file.read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_a_file_system_without_a_folder_s_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it is enough that the file has its name. Another failure is said."""
    file = tmp_path / "file"
    Calls(monkeypatch, "fsync folder", errno.EINVAL)
    write_anew(file, b"content", 0o600)
    assert file.read_bytes() == b"content"
    Calls(monkeypatch, "fsync folder", errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        write_anew(file, b"content", 0o600)


def test_no_folder(tmp_path: Path) -> None:
    """Which file could not be made is said."""
    with pytest.raises(FileNotFoundError):
        write_anew(tmp_path / "nowhere" / "file", b"content", 0o600)
