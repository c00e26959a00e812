"""Hearing what other processes of a store say, without a PostgreSQL."""

from __future__ import annotations

import os
import resource
import socket
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest import TestCase, mock

from c2c_agent.store.postgres import listener as postgres_listener
from c2c_agent.store.postgres.listener import Listener

#: The number of a file in a process that has many: select() goes up to 1023.
LARGE = 1500


class FakeConnection:
    """What is needed of psycopg's; each line that comes is something said."""

    def __init__(self, number: int) -> None:
        self._number = number
        os.set_blocking(number, False)

    def execute(self, *_: object) -> Any:
        return SimpleNamespace(fetchone=lambda: (True,))

    def notifies(self, timeout: float) -> list[Any]:
        assert timeout == 0
        try:
            said = os.read(self._number, 1000).decode()
        except BlockingIOError:
            return []
        return [SimpleNamespace(channel="c2c_calls", payload=line) for line in said.splitlines()]

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        """Left to the test."""


class Listening(TestCase):
    """A listener in a process with many sockets."""

    def setUp(self) -> None:
        """Give its connection a large number."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft <= LARGE:
            resource.setrlimit(resource.RLIMIT_NOFILE, (LARGE + 1, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        ours, self.server = socket.socketpair()
        self.addCleanup(self.server.close)
        with ours:
            self.connection = FakeConnection(os.dup2(ours.fileno(), LARGE))
        self.addCleanup(os.close, LARGE)
        self.said: list[str] = []
        self.heard = Event()
        reactor: Any = SimpleNamespace(callFromThread=lambda call, *values: call(*values))
        self.listener = Listener(
            "", "relay-a", ("c2c_calls",), reactor=reactor, heard=self.hear, again=self.heard.set
        )

    def hear(self, channel: str, payload: str) -> None:
        """Something was said."""
        self.said.append(f"{channel}: {payload}")
        self.heard.set()

    def test_a_file_of_a_large_number(self) -> None:
        """It is listened to like any other, and the end is heard as well."""
        with mock.patch.object(postgres_listener, "connect", return_value=self.connection):
            self.listener.start()
            for word in ("one", "two"):
                self.heard.clear()
                self.server.send(f"{word}\n".encode())
                assert self.heard.wait(60), "not heard"
            self.listener.stop()
        assert self.said == ["c2c_calls: one", "c2c_calls: two"]
