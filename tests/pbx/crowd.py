"""Crowds of clients, from one thread: requests by the thousand, slow senders, idle connections."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from attrs import define, field, frozen

from tests.pbx.lateness import Lateness

_PATIENCE: Final = 120.0

#: Where Linux's struct tcp_info (linux/tcp.h) has tcpi_last_data_recv: the milliseconds since data
#: came last, as they are now.
_LAST_DATA_RECV: Final = 52

#: Seconds that the agent leaves a connection which it refuses, for the refusal to be read.
_GOODBYE: Final = 1.0


@frozen
class Told:
    """One answer: its HTTP code, its JSON if any, after how many seconds a new try is worth it."""

    code: int  # 0: the connection ended without an answer
    body: dict[str, Any] = field(factory=dict)
    retry_after: int | None = None
    seconds: float = 0.0

    @property
    def word(self) -> str:
        """`success`, the code of the first error, or the HTTP code where there is no body."""
        response = self.body.get("response", {})
        if response.get("status") == "success":
            return "success"
        errors = response.get("errors", ())
        return str(errors[0]["error"]["code"]) if errors else f"HTTP {self.code}"


@define
class Answers:
    """What came of many requests."""

    told: list[Told] = field(factory=list)

    @property
    def words(self) -> Counter[str]:
        """How often each was told."""
        return Counter(one.word for one in self.told)

    def of(self, *words: str) -> list[Told]:
        """Those that said one of these."""
        return [one for one in self.told if one.word in words]

    def slowest(self) -> float:
        """Seconds until the last answer had come."""
        return max((one.seconds for one in self.told), default=0.0)


def allow_many_files(wanted: int = 12_000) -> None:
    """Let this process, and those that it starts, have so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def ask_at_once(place: tuple[str, int], targets: Sequence[str], clients: int) -> Answers:
    """Send all these requests from so many connections, each its next one after an answer."""
    answers = Answers()
    left = list(reversed(targets))

    async def client() -> None:
        while left:
            await _keep_asking(place, left, answers)

    async def crowd() -> None:
        await asyncio.gather(*(client() for _ in range(clients)))

    asyncio.run(asyncio.wait_for(crowd(), _PATIENCE))
    return answers


async def _keep_asking(place: tuple[str, int], left: list[str], answers: Answers) -> None:
    """Use one connection for as long as it lasts."""
    begin, lateness = time.monotonic(), Lateness()
    reader = writer = None
    target = left.pop()
    try:
        reader, writer = await asyncio.open_connection(*place)
        while True:
            writer.write(f"GET {target} HTTP/1.1\r\nHost: {place[0]}\r\n\r\n".encode())
            told = await _answer(reader, writer.get_extra_info("socket"), begin)
            answers.told.append(told)
            if told.code != 200 or not left:
                return
            begin = time.monotonic()
            target = left.pop()
    except (OSError, asyncio.IncompleteReadError):
        if lateness.seconds >= _GOODBYE:
            left.append(target)  # what was told could not be read in time
        else:
            answers.told.append(Told(0, seconds=time.monotonic() - begin))
    finally:
        if writer is not None:
            writer.close()


async def _answer(reader: asyncio.StreamReader, connection: socket.socket, begin: float) -> Told:
    top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = top.split("\r\n")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
    }
    body = await reader.readexactly(int(headers["content-length"]))
    came = time.monotonic() - _lies_here(connection)
    retry = headers.get("retry-after")
    return Told(
        int(lines[0].split()[1]),
        json.loads(body) if body else {},
        None if retry is None else int(retry),
        came - begin,
    )


def _lies_here(connection: socket.socket) -> float:
    """For how many seconds the kernel has had the last that came, while the crowd was busy."""
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return last_data_recv(information) / 1000


def last_data_recv(tcp_info: bytes) -> int:
    """Return the milliseconds since data came last."""
    (milliseconds,) = struct.unpack_from("=I", tcp_info, _LAST_DATA_RECV)
    return int(milliseconds)


@contextmanager
def connections(place: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing; those that are refused among them."""
    opened: list[socket.socket] = []
    try:
        while len(opened) < count:
            opened.append(socket.create_connection(place, timeout=20))
        yield opened
    finally:
        for one in opened:
            one.close()


def trickle(opened: Sequence[socket.socket], byte: bytes) -> int:
    """Send each of them one more byte; how many took it."""
    taken = 0
    for one in opened:
        try:
            taken += one.send(byte)
        except OSError:
            continue
    return taken


def still_open(opened: Sequence[socket.socket]) -> int:
    """How many of them the other end has not closed."""
    count = 0
    for one in opened:
        try:
            one.setblocking(False)
            while one.recv(4096):
                pass
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count
