"""Files as they are shipped, and errors of the system in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from c2c_agent.setup import files
from c2c_agent.setup.asterisk_conf import SetupError
from c2c_agent.setup.plan import SHIPPED, Place
from tests.unit.setup.tree import Host


class TestWords:
    """Errors of the system."""

    def test_not_allowed(self, plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who may not, is told who may."""

        def refuse(*_arguments: object) -> None:
            raise PermissionError(13, "Permission denied", "/x")

        monkeypatch.setattr(os, "fchown", refuse)
        result = plain.run("--allow", "_1XX")
        assert result.exit_code == 1
        assert "/x: Permission denied. Run this as root." in result.output


class TestRead:
    """What is read of Asterisk's configuration."""

    def test_all_that_is_included(self, plain: Host) -> None:
        """By name, by wildcard, in other folders, in circles; what is not there is passed over."""
        (plain.etc / "a" / "b").mkdir(parents=True)
        (plain.etc / "manager.conf").write_text("#include a/*.conf\n#include gone.conf\n")
        (plain.etc / "a" / "one.conf").write_text("#include a/b/two.conf\n")
        (plain.etc / "a" / "b" / "two.conf").write_text(f"#include {plain.etc}/manager.conf\n")
        (plain.etc / "a" / "three.txt").write_text("")
        found = files.read(Place(str(plain.etc), str(plain.config), "/nonexistent"))
        names = {path.removeprefix(f"{plain.etc}/") for path in found}
        assert {"manager.conf", "a/one.conf", "a/b/two.conf"} <= names
        assert "a/three.txt" not in names


class TestShipped:
    """asterisk-conf, wherever the package lies."""

    def test_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In the package itself, if it is there."""
        package = tmp_path / "c2c_agent"
        (package / "asterisk-conf" / "manager.d").mkdir(parents=True)
        for name in SHIPPED:
            (package / "asterisk-conf" / name).write_text("; installed\n")
        monkeypatch.setattr(files, "__file__", str(package / "setup" / "files.py"))
        assert set(files.shipped().values()) == {"; installed\n"}

    def test_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package without it is broken."""
        monkeypatch.setattr(files, "__file__", str(tmp_path / "a" / "setup" / "files.py"))
        with pytest.raises(SetupError, match="install c2c-agent again"):
            files.shipped()
