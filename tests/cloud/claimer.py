"""A process that places calls, as fast as the limits let it, until it is stopped or killed.

    python -m tests.cloud.claimer URL SERVER_ID

It wants many calls at once, of two keys in turn, ends those that it got, and begins anew; those
that it had before a crash it ends first. A line on its standard output says that it has begun.
"""

from __future__ import annotations

import random
import sys
from typing import Any, Final
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from c2c_agent.call.call import Call
from c2c_agent.config.sections import CallsConfig
from c2c_agent.policy.meter import Admission
from c2c_agent.store.call_store import Claim
from c2c_agent.store.postgres.store import PostgresStore
from tests.cloud.databases import PASSWORD
from tests.fakes import CRM, SHOP
from tests.store_contract import call, ended

#: Calls in progress at most: of each key, and of all.
CAPS: Final = {"crm": 200, "shop": 150}
TOTAL: Final = 300

#: Calls that a process wants at once; eight of them want more than there may be.
_WANTED: Final = 60

_KEYS: Final = [evolve(CRM, max_concurrent=CAPS["crm"]), evolve(SHOP, max_concurrent=CAPS["shop"])]
_LIMITS: Final = CallsConfig(max_concurrent=TOTAL)


class _Nobody:
    """Hears what other processes do, and does nothing."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args: None


async def _claim_and_end(reactor: Any, store: PostgresStore) -> None:
    """Place calls, wait a moment, and end them."""
    calls: list[Call] = []
    wanted: list[Deferred[Claim]] = []
    for number in range(_WANTED):
        key = _KEYS[number % 2]
        calls.append(call(request_id=str(uuid4()), key=key.name))
        wanted.append(store.claim(calls[-1], key, _LIMITS))
    claims = await gatherResults(wanted)
    await deferLater(reactor, random.uniform(0, 0.05))  # noqa: S311 - no secret
    placed = [
        one
        for one, claim in zip(calls, claims, strict=True)
        if isinstance(claim.admitted, Admission)
    ]
    await gatherResults([store.save(ended(one)) for one in placed])


async def _run(reactor: Any, url: str, server_id: str) -> None:
    store = PostgresStore(url, PASSWORD, server_id, reactor)
    store.observer = _Nobody()
    store.open()
    reactor.addSystemEventTrigger("after", "shutdown", store.close)
    await gatherResults([store.save(ended(one)) for one in store.unfinished()])
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    while True:
        await _claim_and_end(reactor, store)


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Run until a signal comes."""
    return Deferred.fromCoroutine(_run(reactor, *arguments))


if __name__ == "__main__":
    react(main, sys.argv[1:])
