"""The ceiling: what a bare script can do, with nothing stored, checked or told.

AMI Originate written raw, FastAGI answered raw with one `EXEC Dial`. The order has the channel, the
context and the variables of the agent's own, and the Dial its options, so that Asterisk has the
same work with it. C2C_DONE is set beforehand: else the dialplan would take the agent for dead and
leave a record in AstDB.

    python -m tests.bench.peers.ceiling '{"ami": [host, port, user, secret], "agi": [host, port],
        "calls": 500, "at_once": 40, "rate": null, "first": "298", "second": "299"}'

Prints JSON: the seconds and CPU seconds that the calls took, and the seconds of each action's round
trip.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from tests.bench.peers import ordered

_ORIGINATE = (
    "Action: Originate\r\nActionID: bare-%(id)s\r\nChannel: Local/%(first)s@c2c-first/n\r\n"
    "Context: c2c-bridge\r\nExten: s\r\nPriority: 1\r\nTimeout: 10000\r\nAsync: true\r\n"
    'ChannelId: bare-%(id)s\r\nCallerID: "%(second)s" <%(second)s>\r\n'
    "%(variables)s\r\n"
)


class Ami(asyncio.Protocol):
    """The AMI connection: logs in, writes orders, notes when each is answered."""

    def __init__(self, user: str, secret: str) -> None:
        self.login = f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\nEvents: off\r\n\r\n"
        self.ready = asyncio.get_running_loop().create_future()
        self.sent: dict[bytes, float] = {}
        self.round_trips: list[float] = []
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.login.encode())

    def data_received(self, data: bytes) -> None:
        *messages, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for message in messages:
            _, found, rest = message.partition(b"\r\nActionID: ")
            sent = self.sent.pop(rest.partition(b"\r\n")[0], None) if found else None
            if sent is not None:
                self.round_trips.append(time.perf_counter() - sent)
            elif not self.ready.done():
                self.ready.set_result(None)

    def originate(self, call_id: str, agi: str, first: str, second: str) -> None:
        variables = {**ordered.variables(call_id, first, second, agi), "_C2C_DONE": "1"}
        lines = "".join(f"Variable: {name}={value}\r\n" for name, value in variables.items())
        values = {"id": call_id, "first": first, "second": second, "variables": lines}
        self.sent[f"bare-{call_id}".encode()] = time.perf_counter()
        self.transport.write((_ORIGINATE % values).encode())


class Agi(asyncio.Protocol):
    """One FastAGI session: after the environment one Dial, after its reply the end."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.dialed = False
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if not self.dialed and self.rest.endswith(b"\n\n"):
            self.dialed = True
            channel = self.rest.partition(b"\nagi_channel: ")[2].partition(b"\n")[0]
            self.rest = b""
            self.transport.write(ordered.dial(self.calls.second, channel.decode()).encode())
        elif self.dialed and b"200 result=" in self.rest:
            self.transport.close()
            self.calls.ended()


class Calls:
    """So many calls, so many at once; or at a rate, in calls per second."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.second: str = order["second"]
        self.begun = self.over = 0
        self.done = asyncio.get_running_loop().create_future()

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        host, port, user, secret = self.order["ami"]
        agi_host, agi_port = self.order["agi"]
        server = await loop.create_server(lambda: Agi(self), agi_host, agi_port, backlog=1000)
        _, self.ami = await loop.create_connection(lambda: Ami(user, secret), host, port)
        await self.ami.ready
        began, cpu = time.perf_counter(), time.process_time()
        if self.order["rate"] is None:
            for _ in range(self.order["at_once"]):
                self.begin()
        else:
            for number in range(self.order["calls"]):
                due = began + number / self.order["rate"]
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                self.begin()
        await asyncio.wait_for(self.done, 300)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        server.close()
        return {"seconds": seconds, "cpu": cpu, "round_trips": self.ami.round_trips}

    def begin(self) -> None:
        if self.begun < self.order["calls"]:
            self.begun += 1
            host, port = self.order["agi"]
            self.ami.originate(
                f"{port}-{time.time_ns()}",
                agi=f"{host}:{port}",
                first=self.order["first"],
                second=self.order["second"],
            )

    def ended(self) -> None:
        self.over += 1
        if self.over == self.order["calls"]:
            self.done.set_result(None)
        elif self.order["rate"] is None:
            self.begin()


async def main() -> None:
    """Place the calls that the argument orders."""
    print(json.dumps(await Calls(json.loads(sys.argv[1])).run()))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
