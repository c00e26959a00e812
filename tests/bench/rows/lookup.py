"""The status of a request in a large store, over that in a small one."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Final

from tests.bench.agent_calls import place_calls
from tests.bench.figures import Figure, at_most
from tests.bench.http_load import Client
from tests.bench.places import Bench
from tests.bench.rounds import alternate, ratios
from tests.pbx.agents import AgentProcess

_SMALL: Final = 1000


def measure(bench: Bench) -> Iterator[Figure]:
    """Ask two agents in turn, one with a large store, one with a small one."""
    large, asked = bench.few(1_000_000, 100_000), bench.few(1000, 300)
    with ExitStack() as agents:

        def filled(rows: int) -> tuple[AgentProcess, list[str]]:
            agent = bench.agent()
            with agent:
                place_calls(agent, 1, 1)
            ids = _fill(agent, rows)
            return agents.enter_context(agent), ids

        stores = {f"{rows:,} requests": filled(rows) for rows in (_SMALL, large)}
        results = alternate(
            bench.rounds,
            {name: partial(_look_up, *store, asked) for name, store in stores.items()},
            "lookup",
        )
    small, big = results.values()
    yield Figure(
        "lookup",
        f"status look-up in {large:,} requests over {_SMALL:,}",
        ratios(big, small),
        at_most(1.5),
        behind={f"p50 in {name}, ms": values for name, values in results.items()},
        limit="HTTP and JSON; the index is two pages deeper",
    )


def _fill(agent: AgentProcess, rows: int) -> list[str]:
    """Put copies of the one call that is there into the store, each with an id of its own."""
    ids = sorted(str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(rows))
    with closing(sqlite3.connect(agent.directory / "c2c.sqlite3")) as store:
        store.execute("PRAGMA synchronous = OFF")
        ((own, *columns, record),) = store.execute(
            "SELECT request_id, key_name, received_at, state, outcome, ended_at, record FROM calls"
        )
        with store:
            store.executemany(
                "INSERT INTO calls (request_id, key_name, received_at, state, outcome, ended_at, "
                "record) VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((new, *columns, record.replace(own, new)) for new in ids),
            )
    return ids


def _look_up(agent: AgentProcess, ids: list[str], count: int) -> float:
    return asyncio.run(_ask(agent, ids, count))


async def _ask(agent: AgentProcess, ids: list[str], count: int) -> float:
    """The median of so many look-ups, one after the other, in milliseconds."""
    client = Client(agent.host.address, agent.http_port)
    seconds = []
    for request_id in random.sample(ids, count):
        began = time.perf_counter()
        body = await client.get(f"/c2c/v2/status/{request_id}")
        seconds.append(time.perf_counter() - began)
        assert b'"connected"' in body, body
    return 1000 * statistics.median(seconds)
