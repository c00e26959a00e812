"""Beside a FastAGI server that is somebody else's, at the port that FreePBX's own has."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import Behaviour

FREEPBX_PORT = 4573

TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)


class Foreigner:
    """A FastAGI server that takes whatever comes, and keeps it."""

    def __init__(self, address: str) -> None:
        self.visits: list[bytes] = []
        self._socket = socket.create_server((address, FREEPBX_PORT))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._socket.accept()
            except OSError:
                return  # closed
            with visitor:
                visitor.settimeout(1)
                try:
                    self.visits.append(visitor.recv(4096))
                except OSError:
                    self.visits.append(b"")

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def foreigner(asterisk: AsteriskHost) -> Iterator[Foreigner]:
    """One that was there first."""
    server = Foreigner(asterisk.address)
    yield server
    server.close()


class TestForeignFastAgi:
    """FreePBX's server may not be told anything, and may not be in the way."""

    def test_both_side_by_side(
        self, asterisk: AsteriskHost, tmp_path: Path, foreigner: Foreigner, phone: StartPhone
    ) -> None:
        """Calls and `check` go their way, and the other one hears of nothing."""
        phone("100")
        phone("200", TALKS)
        with AgentProcess(asterisk, tmp_path) as agent:
            assert agent.run("check").returncode == 0
            assert agent.ended(agent.call("100", "200"))["outcome"] == "connected"
        assert foreigner.visits == []

    def test_at_its_port(
        self, asterisk: AsteriskHost, tmp_path: Path, foreigner: Foreigner
    ) -> None:
        """Start and check name it, and send nothing there."""
        agent = AgentProcess(asterisk, tmp_path, ports=(5590, FREEPBX_PORT))
        checked = agent.run("check")
        assert checked.returncode == 1
        assert f"another program listens at {asterisk.address}:{FREEPBX_PORT}" in checked.stdout
        started = agent.run("run")
        assert started.returncode != 0
        assert "asterisk.agi.listen" in started.stderr
        assert foreigner.visits == []
