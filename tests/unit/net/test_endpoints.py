"""Where a listener is reached, and what is a listener."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from c2c_agent.errors import ConfigError
from c2c_agent.net.endpoints import listener, tcp_address


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:4573:interface=127.0.0.1", "127.0.0.1:4573"),
        ("tcp:4573", "127.0.0.1:4573"),
        ("tcp:port=4573", "127.0.0.1:4573"),
        ("tcp:interface=10.0.0.5:port=4573", "10.0.0.5:4573"),
        ("tcp:4573:interface=0.0.0.0", "127.0.0.1:4573"),
        ("tcp:4573:interface=:backlog=50", "127.0.0.1:4573"),
        ("tcp:4573:interface=pbx.example.com", "pbx.example.com:4573"),
        (r"tcp6:4573:interface=\:\:1", "[::1]:4573"),
        (r"tcp:4573:interface=\:\:", "127.0.0.1:4573"),
        (r"tcp6:4573:interface=2001\:db8\:\:5", "[2001:db8::5]:4573"),
        ("ssl:8443:privateKey=/etc/key.pem:certKey=/etc/cert.pem", "127.0.0.1:8443"),
        ("unix:/run/c2c.sock", None),
        ("systemd:domain=INET:index=0", None),
        ("tcp:", None),
        ("tcp", None),
        ("tcp:http", None),
        ("", None),
    ],
)
def test_tcp_address(listen: str, address: str | None) -> None:
    """Where a listener is reached from its own host; None for one without a TCP port."""
    assert tcp_address(listen) == address


def listening(description: str) -> tuple[int, int]:
    """On which port it listens once it is started, and how many connections may wait there."""
    reactor: Any = MemoryReactorClock()
    service = listener(description, Factory(), reactor)
    assert reactor.tcpServers == []
    service.startService()
    [(port, _, backlog, _)] = reactor.tcpServers
    return port, backlog


def test_backlog() -> None:
    """Room for a burst of connections, unless the description says how much."""
    assert listening("tcp:8470") == (8470, 1024)
    assert listening("tcp:8470:backlog=7") == (8470, 7)


def test_others_take_no_backlog_of_ours(tmp_path: Path) -> None:
    """A UNIX socket has its own."""
    reactor: Any = MemoryReactorClock()
    listener(f"unix:{tmp_path}/socket", Factory(), reactor).startService()
    [(path, _, backlog, *_)] = reactor.unixServers
    assert (path, backlog) == (f"{tmp_path}/socket", 50)


@pytest.mark.parametrize("description", ["nonsense", "tcp:http", "tcp", "ssl:1:privateKey=/none"])
def test_no_listener(description: str) -> None:
    """What is none is named."""
    with pytest.raises(ConfigError, match=f"'{description}' is no endpoint to listen on"):
        listener(description, Factory(), MemoryReactorClock())
