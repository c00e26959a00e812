"""Calls with panoramisk: its Manager originates, its FastAGI Application dials.

Takes the same argument as `ceiling`, and prints the same but for the round trips.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import panoramisk
from panoramisk.fast_agi import Application, Request

from tests.bench.peers import ordered


async def main() -> None:
    """Place the calls that the argument orders."""
    print(json.dumps(await place(json.loads(sys.argv[1]))))  # noqa: T201


async def place(order: dict[str, Any]) -> dict[str, Any]:
    """So many calls, so many at once."""
    loop = asyncio.get_running_loop()
    host, port, user, secret = order["ami"]
    agi_host, agi_port = order["agi"]
    first, second = order["first"], order["second"]
    ready = loop.create_future()
    manager = panoramisk.Manager(
        host=host,
        port=port,
        username=user,
        secret=secret,
        events="off",
        loop=loop,
        on_login=lambda _manager: ready.set_result(None),
    )
    ends: dict[str, asyncio.Future[None]] = {}

    async def dial(request: Request) -> None:
        await request.send_command(ordered.dial(second, request.headers["agi_channel"]).rstrip())
        ends.pop(request.headers["agi_arg_1"]).set_result(None)

    async def call() -> None:
        call_id = f"bare-{agi_port}-{time.time_ns()}"
        ends[call_id] = loop.create_future()
        variables = {
            **ordered.variables(call_id, first, second, f"{agi_host}:{agi_port}"),
            "_C2C_DONE": "1",
        }
        over = ends[call_id]
        # Not awaited: with an Async Originate it waits for the OriginateResponse, an event.
        manager.send_action(
            {
                "Action": "Originate",
                "Channel": f"Local/{first}@c2c-first/n",
                "Context": "c2c-bridge",
                "Exten": "s",
                "Priority": "1",
                "Timeout": "10000",
                "Async": "true",
                "ChannelId": call_id,
                "CallerID": f'"{second}" <{second}>',
                "Variable": [f"{name}={value}" for name, value in variables.items()],
            }
        )
        await over

    application = Application(loop=loop)
    application.add_route("c2c", dial)
    server = await asyncio.start_server(application.handler, agi_host, agi_port, backlog=1000)
    await manager.connect()
    await ready
    left = order["calls"]

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.wait_for(asyncio.gather(*(lane() for _ in range(order["at_once"]))), 300)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    server.close()
    manager.close()
    return {"seconds": took, "cpu": cpu}


if __name__ == "__main__":
    asyncio.run(main())
