"""Who listens on this host."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from c2c_agent.check.listening import listeners

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
)
V4 = (
    HEAD
    + "   0: 0100007F:13AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   110 0 1 1\n"
    "   1: 00000000:13AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   110 0 1 1\n"
    "   2: 0200000A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 1 1\n"
    "   3: 0100007F:13AE 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000   110 0 1 1\n"
)
V6 = (
    HEAD
    + "   0: 00000000000000000000000000000000:13AE 00000000000000000000000000000000:0000 0A 0 0\n"
    "   1: 00000000000000000000000001000000:13AE 00000000000000000000000000000000:0000 0A 0 0\n"
    "   2: 0000000000000000FFFF00000100007F:13AE 00000000000000000000000000000000:0000 0A 0 0\n"
)


@pytest.mark.parametrize(
    ("table", "port", "addresses"),
    [
        (V4, 5038, ["127.0.0.1", "0.0.0.0"]),
        (V4, 22, ["10.0.0.2"]),
        (V4, 80, []),
        (V6, 5038, ["::", "::1", "127.0.0.1"]),
        ("", 5038, []),
    ],
)
def test_listeners(table: str, port: int, addresses: list[str]) -> None:
    """Those that listen there, and no connections."""
    assert list(listeners(table, port)) == [ip_address(address) for address in addresses]


@pytest.mark.parametrize(
    ("family", "address", "table"),
    [(socket.AF_INET, "127.0.0.9", "tcp"), (socket.AF_INET6, "::1", "tcp6")],
)
def test_as_this_kernel_says_it(family: int, address: str, table: str) -> None:
    """A real socket, found in the real table."""
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.bind((address, 0))
        listening.listen()
        text = Path("/proc/net", table).read_text(encoding="ascii")
        found = listeners(text, listening.getsockname()[1])
        # On another address the same port may be somebody else's.
        assert [one for one in found if one == ip_address(address)] == [ip_address(address)]
