"""The way to a PBX over HTTP: started, looked at now and then, stopped."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from c2c_agent.config.pbx import OtherSection
from c2c_agent.config.sections import CallsConfig
from c2c_agent.errors import ConfigError
from c2c_agent.host.clock import SteadyClock
from c2c_agent.service.other import OtherParts, other_parts

PLACE = {"path": "/{dial_first}", "success": {"status": 200}}


class Observer:
    """Notes whether the PBX is up."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def pbx_up(self) -> None:
        self.story.append("up")

    def pbx_down(self, reason: str) -> None:
        self.story.append(reason)


def parts_of(host: MemoryReactorClock, **more: Any) -> tuple[OtherParts, Observer]:
    """The parts of a section, and who hears of them."""
    section = {"base_url": "http://127.0.0.1:9", "place": PLACE, **more}
    configured = OtherSection(section, ("other",), {("other",): "c2c-agent.yml"})
    parts = other_parts(configured, CallsConfig(), clock=SteadyClock(), reactor=host)
    observer = Observer()
    parts.driver.observer = observer  # type: ignore[assignment]
    return parts, observer


def refuse(host: MemoryReactorClock, number: int) -> None:
    """A connection that is being made comes to nothing."""
    factory = host.tcpClients[number][2]
    factory.clientConnectionFailed(host.connectors[number], Failure(Refused()))


def test_nothing_to_look_at() -> None:
    """Without check and login it counts as there, and nothing is asked."""
    host = MemoryReactorClock()
    parts, observer = parts_of(host)
    parts.service.startService()
    assert observer.story == ["up"]
    assert host.getDelayedCalls() == []
    parts.service.stopService()


def test_looked_at() -> None:
    """At the start; while it is away it is tried again, until the end."""
    host = MemoryReactorClock()
    parts, observer = parts_of(host, check={"path": "/ping"})
    parts.service.startService()
    assert host.tcpClients[0][:2] == ("127.0.0.1", 9)
    for number in (0, 1):
        refuse(host, number)
        host.advance(0.3)  # for which the endpoint waits for further addresses
        assert observer.story == ["ConnectionRefusedError: Connection was refused by other side."]
        host.advance(2)
    assert len(host.tcpClients) == 3
    parts.service.stopService()
    refuse(host, 2)
    host.pump([10] * 20)
    assert len(host.tcpClients) == 3


def test_secrets(tmp_path: Path) -> None:
    """Each is in its file, or the error names that."""
    file = tmp_path / "key"
    more = {
        "secrets": {"key": {"file": str(file)}},
        "auth": {"kind": "bearer", "token": "{secret.key}"},
    }
    with pytest.raises(ConfigError, match=str(file)):
        parts_of(MemoryReactorClock(), **more)
    file.write_text("hush\n")
    parts_of(MemoryReactorClock(), **more)


def test_a_mistake() -> None:
    """By file and path."""
    with pytest.raises(ConfigError, match=r"^c2c-agent\.yml: other\.base_url: must be"):
        parts_of(MemoryReactorClock(), base_url="ftp://x")
