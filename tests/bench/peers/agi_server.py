"""A FastAGI server: the agent's, panoramisk's or a bare one; GET VARIABLE, SET VARIABLE, close.

    python -m tests.bench.peers.agi_server '{"server": "bare", "agi": [host, port]}'

Serves until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final


def agent(host: str, port: int) -> None:
    """The agent's own listener."""
    from twisted.internet import reactor  # noqa: PLC0415
    from twisted.internet.endpoints import TCP4ServerEndpoint  # noqa: PLC0415

    from c2c_agent.agi.channel import AgiChannel  # noqa: PLC0415
    from c2c_agent.agi.message import get_variable, set_variable  # noqa: PLC0415
    from c2c_agent.agi.protocol import AgiFactory  # noqa: PLC0415

    async def accept(channel: AgiChannel) -> None:
        await channel.command(get_variable("DIALSTATUS"))
        await channel.command(set_variable("C2C_DONE", "1"))

    process: Any = reactor
    endpoint = TCP4ServerEndpoint(process, port, backlog=1000, interface=host)
    endpoint.listen(AgiFactory(accept, process))
    process.run()


def panoramisk(host: str, port: int) -> None:
    """Panoramisk's Application, as its documentation starts it."""
    from panoramisk.fast_agi import Application, Request  # noqa: PLC0415

    async def accept(request: Request) -> None:
        await request.send_command('GET VARIABLE "DIALSTATUS"')
        await request.send_command('SET VARIABLE "C2C_DONE" "1"')

    async def run() -> None:
        application = Application(loop=asyncio.get_running_loop())
        application.add_route("c2c", accept)
        server = await asyncio.start_server(application.handler, host, port, backlog=1000)
        await server.serve_forever()

    asyncio.run(run())


class _Bare(asyncio.Protocol):
    """Writes a command after the environment, the next after its reply, then closes."""

    def __init__(self) -> None:
        self.rest = b""
        self.commands = [b'SET VARIABLE "C2C_DONE" "1"\n', b'GET VARIABLE "DIALSTATUS"\n']

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if self.rest.endswith(b"\n\n" if len(self.commands) == 2 else b"\n"):
            self.rest = b""
            if self.commands:
                self.transport.write(self.commands.pop())
            else:
                self.transport.close()


def bare(host: str, port: int) -> None:
    """An asyncio protocol that checks nothing."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Bare, host, port, backlog=1000)
        await server.serve_forever()

    asyncio.run(run())


_SERVERS: Final = {"agent": agent, "panoramisk": panoramisk, "bare": bare}


def main() -> None:
    """Serve."""
    order = json.loads(sys.argv[1])
    _SERVERS[order["server"]](*order["agi"])


if __name__ == "__main__":
    main()
