"""Foreign calls: placed at a rate by another AMI user, none of the agent's business.

    python -m tests.bench.peers.foreign '{"ami": [host, port, user, secret], "calls": 1600,
        "rate": 200}'

Each is a Local channel that answers and hangs up, with a dialplan on both of its ends. Prints JSON:
the rate that was kept until the last had hung up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

_ORIGINATE: Final = (
    "Action: Originate\r\nChannel: Local/299@from-phones/n\r\nContext: from-phones\r\n"
    "Exten: 299\r\nPriority: 1\r\nAsync: true\r\nChannelId: foreign-%d\r\n"
    "OtherChannelId: foreign-%d-2\r\n\r\n"
)
#: Calls that have not ended while a second passes without an end: there is something wrong.
_PATIENCE: Final = 60.0


async def main() -> None:
    """Place the calls, and wait for the end of each first channel."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    host, port, user, secret = order["ami"]
    reader, writer = await asyncio.open_connection(host, port)
    login = f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\nEvents: call\r\n\r\n"
    writer.write(login.encode())
    await reader.readuntil(b"\r\n\r\n")
    ends = asyncio.ensure_future(_ends(reader, order["calls"]))
    began = time.perf_counter()
    first = time.time_ns()
    for number in range(order["calls"]):
        await asyncio.sleep(max(0.0, began + number / order["rate"] - time.perf_counter()))
        writer.write((_ORIGINATE % (first + number, first + number)).encode())
    await asyncio.wait_for(ends, _PATIENCE)
    took = time.perf_counter() - began
    print(json.dumps({"rate": order["calls"] / took}))  # noqa: T201


async def _ends(reader: asyncio.StreamReader, calls: int) -> None:
    """Read events until as many calls have ended."""
    ended = 0
    rest = b""
    while ended < calls:
        data = await reader.read(1 << 18)
        if not data:
            raise ConnectionError("Asterisk closed the connection")
        *messages, rest = (rest + data).split(b"\r\n\r\n")
        ended += sum(
            message.startswith(b"Event: Hangup\r") and b"-2\r\nLinkedid" not in message
            for message in messages
        )


if __name__ == "__main__":
    asyncio.run(main())
