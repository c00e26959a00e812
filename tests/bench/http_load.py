"""Requests to the agent over HTTP, at little cost: connections that are kept, answers unread.

The client shares the machine with what it measures, so it does as little as it can.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

from tests.bench.places import DIAL_AS

_END_OF_HEAD: Final = b"\r\n\r\n"
_SECONDS: Final = 30.0


class Connection(asyncio.Protocol):
    """One connection, with one request at a time on it."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on an answer that is complete."""
        self._received += data
        head, found, body = self._received.partition(_END_OF_HEAD)
        if found:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(body) >= length and self._answer is not None:
                self._received = b""
                self._answer.set_result(body)

    def connection_lost(self, _reason: Exception | None) -> None:
        """Fail who waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the agent closed the connection"))

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; the body of its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer


class Client:
    """As many connections to one agent as are needed at once."""

    def __init__(self, host: str, port: int) -> None:
        self._place = host, port
        self._free: list[Connection] = []
        #: Of each answered request, the seconds from its sending.
        self.seconds: list[float] = []

    async def get(self, path: str) -> bytes:
        """The body of the answer to a GET."""
        if self._free:
            connection = self._free.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(Connection, *self._place)
        began = time.perf_counter()
        body = await connection.ask(f"GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
        self.seconds.append(time.perf_counter() - began)
        self._free.append(connection)
        return body


def call_path(first: str, second: str, key: str) -> str:
    """The request for a call."""
    values = {"dial_first": first, "dial_second": second, "dial_as": DIAL_AS, "api_key": key}
    return "/c2c/v2?" + urlencode(values)


async def at_rate(ask: Callable[[], Awaitable[object]], rate: float, count: int) -> None:
    """Ask so many times, so many in a second, whether answers come or not."""
    began = time.perf_counter()
    asked = set()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        asked.add(asyncio.ensure_future(ask()))
    await asyncio.wait_for(asyncio.gather(*asked), _SECONDS)


async def at_once(ask: Callable[[], Awaitable[object]], lanes: int, count: int) -> None:
    """Ask so many times, always so many at once."""
    left = count

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await ask()

    await asyncio.wait_for(asyncio.gather(*(lane() for _ in range(lanes))), 20 * _SECONDS)
