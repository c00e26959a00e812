"""Hosts, and an Asterisk that notes what it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from c2c_agent.setup import apply, files
from tests.unit.setup.tree import LAYOUTS, Host, command, made


@pytest.fixture(params=LAYOUTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """A host of each layout."""
    return made(tmp_path / "host", request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Host:
    """A host with the files of Asterisk's own sample."""
    return made(tmp_path / "host", "plain")


@pytest.fixture(autouse=True)
def reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """An Asterisk that answers; gives what it was told. Groups of the machine do not count."""
    log = tmp_path / "asked"
    command(tmp_path, f'echo "$*" >>{log}')
    monkeypatch.setattr(apply, "_SBIN", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(files, "group", lambda _name, otherwise=-1: otherwise)
    return lambda: log.read_text().splitlines() if log.exists() else []
