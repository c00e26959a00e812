"""A running agent for the commands that ask one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_agent import FakeAgent
from tests.unit.cli.prompt import configure


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    """A running agent, its configuration in the directory, and no key in the environment."""
    monkeypatch.delenv("C2C_API_KEY", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with FakeAgent() as running:
        port = running.address.partition(":")[2]
        configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
        (tmp_path / "operator.key").write_text("c2c_host\n")
        yield running
    monkeypatch.undo()
    time.tzset()
