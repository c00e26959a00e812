"""Relays in one process, each with its own link to the broker and its own store.

    python -m tests.bench.peers.many_relays '{"relays": 100, "events": 2000, "claims": 1000,
        "broker": [host, port, user, password], "agent": [host, port, user, password],
        "url": "postgresql://…", "password": "…", "servers": ["broker's container", "database's"]}'

They are relays as to what the broker and the database see: the driver with its queue and bindings,
and the store with its three connections. An agent tells one relay after the other an event, and one
relay after the other claims a call: first each when the one before is done, and then many at once.
Prints JSON: milliseconds of the broker's CPU per event and of the database's per claim, and how
many events came to a relay that were not meant for it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any, Final

import pika
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import deferLater, react

from c2c_agent.amqp.link import AmqpLink, Lose, Publisher
from c2c_agent.amqp.messages import EVENTS, event_key
from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.call.record import to_json
from c2c_agent.store.postgres.store import PostgresStore
from tests.bench.peers.claims import Nobody, claim, key_of
from tests.cloud.servers import cpu_seconds_of
from tests.playbook import a_call

#: Events, or claims, at once.
_MANY: Final = 100

#: Claims of each relay before those that count: what a session plans at first is planned then.
_FIRST: Final = 10

_PATIENCE: Final = 120.0
_EVENT: Final = "call.ended"
_BODY: Final = json.dumps({"server_id": "pbx1.bench", "record": to_json(a_call())}).encode()


class Relay(RelayDriver):
    """A relay's driver, which counts what it hears."""

    def __init__(self, server_id: str, reactor: Any, agents: int) -> None:
        super().__init__(
            server_id=server_id,
            agents=lambda: [f"pbx{number}" for number in range(1, agents + 1)],
            answer_timeout=10,
            clock=reactor,
            now=time.time,
            events="own",
        )
        observer: Any = Nobody()
        self.observer = observer
        self.server_id = server_id
        self.heard: Counter[str] = Counter()
        self._waiting: list[Deferred[None]] = []

    def next_heard(self) -> Deferred[None]:
        """Fires when as many more events have come as are waited for."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        return waiter

    async def _take(self, message: Any) -> None:
        self.heard[message.method.routing_key.rpartition(".")[2]] += 1
        await super()._take(message)
        if self._waiting:
            self._waiting.pop(0).callback(None)


class Agent:
    """An agent's way to the broker."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.publisher: Publisher

    async def opened(self, connection: Any, lose: Lose) -> None:
        """Have a channel to publish on."""
        self.publisher = await Publisher.open(connection, self._reactor, lose)

    def closed(self, reason: str) -> None:
        """Nothing is waited for."""

    async def tell(self, relay: str) -> None:
        """Tell one event to a relay."""
        key = event_key("pbx1", _EVENT, relay)
        await self.publisher.publish(EVENTS, key, _BODY, kind=_EVENT, message_id=relay)


class Simulation:
    """All relays, and an agent."""

    def __init__(self, reactor: Any, order: dict[str, Any]) -> None:
        self._reactor = reactor
        self._order = order
        self._broker, self._database = order["servers"]
        names = [f"many-{number}" for number in range(order["relays"])]
        self._relays = [Relay(name, reactor, order["agents"]) for name in names]
        self._stores = [PostgresStore(order["url"], order["password"], n, reactor) for n in names]
        self._agent = Agent(reactor)

    async def run(self) -> dict[str, Any]:
        """Connect all, and measure."""
        began = time.monotonic()
        await self._connect(self._agent, self._order["agent"])
        for relay in self._relays:
            await self._connect(relay, self._order["broker"])
        linked = (time.monotonic() - began) / len(self._relays)
        for store in self._stores:
            store.observer = Nobody()
            store.open()
            self._reactor.addSystemEventTrigger("after", "shutdown", store.close)
        events, claims = self._order["events"], self._order["claims"]
        await self._in_turn(self._tell, len(self._relays), 1)
        await self._in_turn(self._claim, _FIRST * len(self._relays), 1)
        return {
            "seconds_to_link": linked,
            "broker_ms": await self._cost(self._broker, self._tell, events, 1),
            "broker_ms_many": await self._cost(self._broker, self._tell, events, _MANY),
            "database_ms": await self._cost(self._database, self._claim, claims, 1),
            "database_ms_many": await self._cost(self._database, self._claim, claims, _MANY),
            "foreign": sum(
                count
                for relay in self._relays
                for name, count in relay.heard.items()
                if name != relay.server_id
            ),
            "own": min(relay.heard[relay.server_id] for relay in self._relays),
        }

    async def _cost(
        self, server: str, work: Callable[[int], Awaitable[object]], count: int, at_once: int
    ) -> float:
        """Milliseconds of a server's CPU for each piece of work."""
        before = cpu_seconds_of(server)
        await self._in_turn(work, count, at_once)
        return 1000 * (cpu_seconds_of(server) - before) / count

    async def _in_turn(
        self, work: Callable[[int], Awaitable[object]], count: int, at_once: int
    ) -> None:
        """Do so many pieces of work, so many at once, for one relay after the other."""
        numbers = cycle(range(len(self._relays)))
        left = count

        async def lane() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await work(next(numbers))

        await gatherResults([Deferred.fromCoroutine(lane()) for _ in range(at_once)])

    async def _tell(self, relay: int) -> None:
        """Tell a relay an event; it has come then."""
        told = self._relays[relay]
        heard = told.next_heard()
        await self._agent.tell(told.server_id)
        await heard

    async def _claim(self, relay: int) -> None:
        await claim(self._stores[relay], key_of(f"k{relay}"))

    async def _connect(self, user: Any, login: list[Any]) -> None:
        host, port, name, password = login
        credentials = pika.PlainCredentials(name, password)
        link = AmqpLink(
            HostnameEndpoint(self._reactor, host.encode(), port),
            pika.ConnectionParameters(host, port, credentials=credentials, heartbeat=20),
            clock=self._reactor,
            users=[user],
        )
        link.startService()
        await self._until(lambda: link.is_up, "the link is up")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            await deferLater(self._reactor, 0.005)


async def _main(reactor: Any, order: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(await Simulation(reactor, order).run()))


def main(reactor: Any, order: str) -> Deferred[None]:
    """Run what the argument orders."""
    return Deferred.fromCoroutine(_main(reactor, json.loads(order)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
