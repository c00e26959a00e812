"""The crowd of clients: an answer has come when the kernel has it, however late it is read."""

from __future__ import annotations

import socket
import time

from tests.pbx.crowd import last_data_recv

#: Seconds by which the kernel's count may be off: it counts its own ticks.
_TICK = 0.02


def test_since_data_came() -> None:
    """Counted by the kernel, each time anew, whatever this process does meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with client, other:
        for _ in range(2):
            begin = time.monotonic()
            other.sendall(b"answer")
            assert client.recv(6, socket.MSG_WAITALL) == b"answer"
            came = time.monotonic()
            time.sleep(0.2)
            asked = time.monotonic()
            information = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            since = last_data_recv(information) / 1000
            assert asked - came - _TICK <= since <= time.monotonic() - begin + _TICK
