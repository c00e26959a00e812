"""Speaks a recorded call as Asterisk does, for any number of calls, at hardly any cost.

    python -m tests.bench.peers.scripted_asterisk '{"ami": [host, port], "call": {…}}'

For each Originate it plays the events of one call that `recorded_call` took from a real Asterisk,
with this call's id in the place of that one's, and connects to the agent's FastAGI where that one
did. It serves until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any, Final
from urllib.parse import urlsplit

_ID: Final = b"@ID@"
_ENVIRONMENT: Final = (
    b"agi_network: yes\nagi_network_script: c2c\nagi_request: agi://127.0.0.1/c2c\n"
    b"agi_channel: Local/298@c2c-first-00000001;1\nagi_uniqueid: %s\nagi_context: c2c-bridge\n"
    b"agi_arg_1: %s\n\n"
)
#: What the second leg came to: its status and cause, and when it answered.
_RESULT: Final = b"200 result=1 (ANSWER,16,1700000000.123)\n"
_RESPONSE: Final = b"Response: %s\r\nActionID: %s\r\nMessage: %s\r\n%s\r\n"


class Call(asyncio.Protocol):
    """The FastAGI connection of one call, and its events around it."""

    def __init__(self, ami: asyncio.Transport, order: bytes, parts: dict[str, bytes]) -> None:
        self.ami = ami
        self.call_id = _header(order, b"ChannelId")
        self.request_id = _variable(order, b"C2C_REQUEST_ID")
        self.secret = _variable(order, b"C2C_SECRET")
        self.parts = parts
        self.rest = b""

    def tell(self, part: str) -> None:
        """Play the events of a part."""
        self.ami.write(self.parts[part].replace(_ID, self.call_id))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_ENVIRONMENT % (self.call_id, self.request_id))

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b'EXEC "Dial"'):
                self.tell("dialed")
                self.transport.write(b"200 result=0\n")
            elif line.startswith(b"GET FULL VARIABLE"):
                self.transport.write(_RESULT)
            elif line.startswith(b"GET VARIABLE"):
                self.transport.write(b"200 result=1 (%s)\n" % self.secret)
            else:
                self.transport.write(b"200 result=1\n")

    def connection_lost(self, _reason: Exception | None) -> None:
        self.tell("ended")


class Ami(asyncio.Protocol):
    """An AMI session."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self.parts = parts
        self.rest = b""
        self.calls: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"Asterisk Call Manager/11.0.0\r\n")

    def data_received(self, data: bytes) -> None:
        *actions, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for action in actions:
            name = _header(action, b"Action")
            values = {b"CoreSettings": b"AsteriskVersion: 22\r\n", b"Getvar": b"Value: bench\r\n"}
            action_id = _header(action, b"ActionID")
            # A status that nobody wrote, where a call was left in AstDB.
            success = b"Error" if name == b"DBGet" else b"Success"
            more = values.get(name, b"")
            self.transport.write(_RESPONSE % (success, action_id, b"ok", more))
            if name == b"Originate":
                agi = urlsplit(_variable(action, b"C2C_AGI").decode())
                assert agi.hostname is not None
                assert agi.port is not None
                call = Call(self.transport, action, self.parts)
                call.tell("begun")
                task = asyncio.ensure_future(_connect(call, agi.hostname, agi.port))
                self.calls.add(task)
                task.add_done_callback(self.calls.discard)


async def _connect(call: Call, host: str, port: int) -> None:
    await asyncio.get_running_loop().create_connection(lambda: call, host, port)


def _header(action: bytes, name: bytes) -> bytes:
    return (b"\r\n" + action).partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def _variable(action: bytes, name: bytes) -> bytes:
    """The value of a channel variable, however far it is inherited."""
    found = re.search(rb"\r\nVariable: _{0,2}%s=([^\r]*)" % name, action)
    return b"" if found is None else found[1]


async def main() -> None:
    """Serve."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    parts = {name: text.encode() for name, text in order["call"].items()}
    server = await asyncio.get_running_loop().create_server(lambda: Ami(parts), *order["ami"])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
