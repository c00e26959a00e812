"""A relay's store that claims calls, one after the other, each in a transaction of its own.

    python -m tests.bench.peers.claims '{"url": "postgresql://…", "password": "…", "server_id": "a",
        "keys": ["k0", "k1"], "claims": 800, "begin_at": 1700000000.0, "seconds": null}'

It begins at a moment, so that several begin at once, and ends after so many claims, or so many
seconds. Prints JSON: how many claims there were, and the seconds that each took.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from c2c_agent.config.sections import CallsConfig
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission
from c2c_agent.store.postgres.store import PostgresStore
from tests.fakes import CRM
from tests.store_contract import call

#: Claims before those that count: what is made at first use is there then.
_FIRST = 50


class Nobody:
    """Hears what other relays do, and does nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


def key_of(name: str) -> Key:
    """A key with every limit, of which none is reached."""
    return evolve(
        CRM,
        name=name,
        max_concurrent=1_000_000,
        per_minute=1_000_000,
        per_day=100_000_000,
        minutes_per_day=1_000_000_000,
    )


async def claim(store: PostgresStore, key: Key) -> float:
    """Claim one call; the seconds that took."""
    wanted = call(request_id=str(uuid4()), at=time.time(), key=key.name)
    began = time.perf_counter()
    claimed = await store.claim(wanted, key, CallsConfig(max_concurrent=100_000))
    seconds = time.perf_counter() - began
    assert isinstance(claimed.admitted, Admission), claimed
    return seconds


async def _claim_all(reactor: Any, order: dict[str, Any]) -> None:
    store = PostgresStore(order["url"], order["password"], order["server_id"], reactor)
    store.observer = Nobody()
    store.open()
    reactor.addSystemEventTrigger("after", "shutdown", store.close)
    keys = [key_of(name) for name in order["keys"]]
    for number in range(_FIRST):
        await claim(store, keys[number % len(keys)])
    await deferLater(reactor, max(0.0, order["begin_at"] - time.time()))
    ends = None if order["seconds"] is None else time.monotonic() + order["seconds"]
    took: list[float] = []
    while len(took) < order["claims"] if ends is None else time.monotonic() < ends:
        took.append(await claim(store, keys[len(took) % len(keys)]))
    sys.stdout.write(json.dumps({"claims": len(took), "took": took}))


def main(reactor: Any, order: str) -> Deferred[None]:
    """Claim what the argument orders."""
    return Deferred.fromCoroutine(_claim_all(reactor, json.loads(order)))


if __name__ == "__main__":
    react(main, sys.argv[1:])
