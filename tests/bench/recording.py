"""An unfiltered AMI stream: recorded from the benchmark's own Asterisk, played to AMI clients."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.places import Bench
from tests.pbx.waiting import wait_until

_END: Final = b"\r\n\r\n"
_BANNER: Final = b"Asterisk Call Manager/11.0.0\r\n"
#: Also serves as the answer to Login, Ping and CoreSettings.
_ANSWER: Final = b"Response: Success\r\nActionID: %s\r\nPing: Pong\r\nAsteriskVersion: 22\r\n\r\n"

#: What tells a client that it has heard everything.
LAST_EVENT: Final = "RecordingEnds"
_LAST: Final = f"Event: {LAST_EVENT}\r\nPrivilege: user,all\r\n\r\n".encode()


def record(bench: Bench, path: Path, place_calls: Callable[[], object]) -> None:
    """Write to `path` everything that Asterisk tells an AMI user who may see all, during calls."""
    host, port, user, secret = bench.witness
    with socket.create_connection((host, port)) as connection, path.open("wb") as file:
        login = f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\nEvents: on\r\n\r\n"
        connection.sendall(login.encode())
        received = b""
        while _END not in received.partition(b"Response: Success")[2]:
            received += connection.recv(1 << 16)
        reader = threading.Thread(target=_copy, args=(connection, file))
        reader.start()
        try:
            place_calls()
            wait_until(lambda: not bench.pbx.core_show_channels(), 60, "all calls are over")
        finally:
            connection.sendall(b"Action: Logoff\r\n\r\n")
            reader.join()


def _copy(connection: socket.socket, file: Any) -> None:
    while data := connection.recv(1 << 18):
        file.write(data)


class Player:
    """An AMI that says yes to everything, and plays a stream to who sends a Ping."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream + _LAST
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def place(self) -> tuple[str, int]:
        """Where it is."""
        host, port = self._listener.getsockname()
        return host, port

    def start(self) -> None:
        """Take one client at a time."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._play(client)

    def _play(self, client: socket.socket) -> None:
        client.sendall(_BANNER)
        received = b""
        while data := client.recv(1 << 16):
            *actions, received = (received + data).split(_END)
            for action in actions:
                action_id = action.lower().partition(b"actionid: ")[2]
                start = len(action) - len(action_id)
                client.sendall(_ANSWER % action[start:].partition(b"\r\n")[0])
                if b"action: ping" in action.lower() and self._stream:
                    client.sendall(self._stream)


@contextmanager
def playing(stream: bytes) -> Iterator[tuple[str, int]]:
    """A player for as long as the `with` lasts; where it is."""
    player = Player(stream)
    player.start()
    try:
        yield player.place
    finally:
        player.stop()
