"""An AMI client that hears a recorded stream: the agent's, panoramisk's or pyst2's.

    python -m tests.bench.peers.ami_client '{"client": "panoramisk", "ami": [host, port]}'

Its subscriber gets every event and asks it for its name and its Linkedid. Prints JSON: the CPU
seconds from before the first event to after the last, all threads, and how many events there were.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from tests.bench.recording import LAST_EVENT


class Subscriber:
    """Counts events, and calls `done` after the last."""

    def __init__(self) -> None:
        self.count = 0
        self.done: Callable[[], object] = lambda: None

    def take(self, name: str, _linkedid: str | None) -> None:
        """Take an event."""
        if name == LAST_EVENT:
            self.done()
        else:
            self.count += 1


def agent(host: str, port: int, subscriber: Subscriber) -> float:
    """The agent's own link."""
    from twisted.internet import reactor  # noqa: PLC0415
    from twisted.internet.endpoints import HostnameEndpoint  # noqa: PLC0415

    from c2c_agent.ami.actions import ping  # noqa: PLC0415
    from c2c_agent.ami.link import AmiLink  # noqa: PLC0415
    from c2c_agent.ami.message import Message  # noqa: PLC0415

    process: Any = reactor

    class Observer:
        def link_up(self, _version: str) -> None:
            link.send(ping())

        def link_down(self, _reason: str) -> None:
            pass

        def ami_event(self, event: Message) -> None:
            subscriber.take(event.event, event.get("Linkedid"))

    endpoint = HostnameEndpoint(process, host.encode(), port)
    link = AmiLink(endpoint, username="u", secret="s", clock=process, observer=Observer())
    subscriber.done = process.stop
    link.startService()
    cpu = time.process_time()
    process.run()
    return time.process_time() - cpu


def panoramisk(host: str, port: int, subscriber: Subscriber) -> float:
    """Panoramisk's Manager."""
    import panoramisk  # noqa: PLC0415

    async def run() -> float:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        subscriber.done = lambda: over.set_result(None)
        manager = panoramisk.Manager(
            host=host,
            port=port,
            username="u",
            secret="s",
            loop=loop,
            on_login=lambda manager: manager.send_action({"Action": "Ping"}),
        )
        manager.register_event(
            "*", lambda _manager, event: subscriber.take(event.event, event.linkedid)
        )
        cpu = time.process_time()
        await manager.connect()
        await over
        return time.process_time() - cpu

    return asyncio.run(run())


def pyst2(host: str, port: int, subscriber: Subscriber) -> float:
    """The Manager of pyst2."""
    from asterisk.manager import Manager  # noqa: PLC0415

    over = threading.Event()
    subscriber.done = over.set
    manager = Manager()
    manager.connect(host, port)
    manager.login("u", "s")
    manager.register_event(
        "*", lambda event, _manager: subscriber.take(event.name, event.get_header("Linkedid"))
    )
    cpu = time.process_time()
    manager.ping()
    over.wait()
    return time.process_time() - cpu


_CLIENTS: Final = {"agent": agent, "panoramisk": panoramisk, "pyst2": pyst2}


def main() -> None:
    """Hear the stream."""
    order = json.loads(sys.argv[1])
    subscriber = Subscriber()
    host, port = order["ami"]
    cpu = _CLIENTS[order["client"]](host, port, subscriber)
    print(json.dumps({"cpu": cpu, "events": subscriber.count}), flush=True)  # noqa: T201
    os._exit(0)  # pyst2's threads would wait for ever


if __name__ == "__main__":
    main()
