"""What systemd is told: the datagrams, and when."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from c2c_agent.host.sd_notify import Supervisor


class Systemd:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        """What came since this was asked last."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(65536).decode())
        return found


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """A systemd that listens."""
    listening = Systemd(str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


def supervisor(systemd: Systemd, watchdog: float | None = None) -> tuple[Supervisor, Clock]:
    """A supervisor that is there, and the time."""
    clock = Clock()
    return Supervisor(systemd.socket.getsockname(), watchdog, clock), clock


class TestMessages:
    """Each state in one datagram."""

    def test_from_ready_to_stopping(self, systemd: Systemd) -> None:
        """READY=1 once; then the status where it is a new one; nothing after the end."""
        agent, _ = supervisor(systemd)
        agent.ready("up")
        agent.ready("up")
        agent.ready("down")
        agent.stopping()
        agent.reloading()
        agent.reloaded()
        assert systemd.heard() == ["READY=1\nSTATUS=up", "STATUS=down", "STOPPING=1"]

    def test_reload(self, systemd: Systemd) -> None:
        """It is ready again afterwards; one that was not ready before is not."""
        agent, _ = supervisor(systemd)
        agent.reloading()
        agent.reloaded()
        assert systemd.heard() == []
        agent.ready("up")
        agent.reloading()
        agent.reloaded()
        _, reloading, reloaded = systemd.heard()
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert reloaded == "READY=1\nSTATUS=up"

    def test_what_others_sent(self, systemd: Systemd) -> None:
        """A status forges no message, and does not make one too long."""
        agent, _ = supervisor(systemd)
        agent.ready("refused\nMAINPID=1\ud800" + "\u4e2d" * 5000)
        [ready] = systemd.heard()
        assert ready.startswith("READY=1\nSTATUS=refused?MAINPID=1?")
        assert len(ready.encode()) < 4096

    def test_abstract(self) -> None:
        """A name that begins with @ is no file."""
        name = f"c2c-agent-test-{id(self)}"
        systemd = Systemd(f"\0{name}")
        Supervisor(f"@{name}", None, Clock()).ready("up")
        assert systemd.heard() == ["READY=1\nSTATUS=up"]
        systemd.socket.close()

    def test_nobody_hears(self, tmp_path: Path) -> None:
        """The log says so, and the agent goes on."""
        with capturedLogs() as logs:
            Supervisor(str(tmp_path / "gone"), None, Clock()).ready("up")
        [event] = logs
        assert "No such file" in event["reason"]


class TestWatchdog:
    """Signs of life."""

    def test_half_the_time(self, systemd: Systemd) -> None:
        """From the start to the end, twice as often as they are wanted."""
        agent, clock = supervisor(systemd, 30.0)
        assert clock.getDelayedCalls() == []
        agent.ready("up")
        clock.pump([15, 15, 14])
        assert systemd.heard() == ["READY=1\nSTATUS=up", *["WATCHDOG=1"] * 3]
        agent.stopping()
        assert clock.getDelayedCalls() == []


class TestEnvironment:
    """Who the supervisor is."""

    @pytest.mark.parametrize(
        ("environment", "beats"),
        [
            ({}, False),
            ({"WATCHDOG_USEC": "30000000"}, True),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, True),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, False),
            ({"WATCHDOG_USEC": "0"}, False),
            ({"WATCHDOG_USEC": "soon"}, False),
        ],
    )
    def test_watchdog(self, systemd: Systemd, environment: dict[str, str], beats: bool) -> None:
        """Only where it is meant for this process."""
        clock = Clock()
        environment = {"NOTIFY_SOCKET": systemd.socket.getsockname(), **environment}
        agent = Supervisor.of(environment, 7, clock)
        agent.ready("up")
        assert [timer.getTime() for timer in clock.getDelayedCalls()] == ([15.0] if beats else [])
        agent.stopping()

    @pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}])
    def test_nobody(self, environment: dict[str, str]) -> None:
        """Without systemd, nothing is told, and nothing beats."""
        clock = Clock()
        with capturedLogs() as logs:
            agent = Supervisor.of({"WATCHDOG_USEC": "1000", **environment}, 7, clock)
            agent.ready("up")
            agent.stopping()
        assert logs == []
        assert clock.getDelayedCalls() == []
