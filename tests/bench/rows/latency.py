"""From an HTTP request to its answer, over the round trip of the bare AMI action.

Both at half the rate of calls that the ceiling reaches here, found at the beginning of the row.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from tests.bench.figures import Figure, at_most
from tests.bench.http_load import Client, at_rate, call_path
from tests.bench.peers.run import run
from tests.bench.places import HANGS_UP, STAYS, Bench
from tests.bench.rounds import alternate, ratios
from tests.bench.rows import calls
from tests.pbx.waiting import wait_until

_AGI_PORT: Final = 4998

#: Calls before those that are measured.
_FIRST: Final = 40


def measure(bench: Bench) -> Iterator[Figure]:
    """Ask them at the same rate in turn."""
    highest = [calls.peer(bench, "ceiling", bench.few(1500, 600)).rate for _ in range(3)]
    rate = statistics.median(highest) / 2
    count = round(rate * bench.few(8, 4))

    def bare() -> Sequence[float]:
        order = {
            "ami": bench.ami,
            "agi": [bench.pbx.address, _AGI_PORT],
            "calls": count,
            "at_once": 0,
            "rate": rate,
            "first": STAYS,
            "second": HANGS_UP,
        }
        round_trips: Sequence[float] = run("ceiling", order)["round_trips"]
        return round_trips

    results = alternate(
        bench.rounds,
        {
            "agent": lambda: _agent(bench, "c2c_agent", rate, count),
            "floor": lambda: _agent(bench, calls.FLOOR, rate, count),
            "bare": bare,
        },
        "latency",
    )
    for name, percent, limit in (("p50", 50, 8), ("p99", 99, 7)):
        times = {
            who: [1000 * percentile(seconds, percent) for seconds in rounds]
            for who, rounds in results.items()
        }
        yield Figure(
            "latency",
            f"HTTP request to answer over AMI action's round trip, {name}",
            ratios(times["agent"], times["bare"]),
            at_most(limit),
            behind={
                **{f"{name} of {who}, ms": values for who, values in times.items()},
                "at calls per second": [rate],
            },
            limit="two AMI round trips, one commit with fsync, and HTTP, one after the other",
        )


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of them do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _agent(bench: Bench, module: str, rate: float, count: int) -> Sequence[float]:
    async def ask(host: str, port: int, path: str) -> list[float]:
        client = Client(host, port)
        # The first calls of a new process are not what its answers take for days.
        await at_rate(lambda: client.get(path), rate / 4, _FIRST)
        client.seconds.clear()
        await at_rate(lambda: client.get(path), rate, count)
        return client.seconds

    with bench.agent(module) as running:
        path = call_path(STAYS, HANGS_UP, running.key)
        seconds = asyncio.run(ask(bench.pbx.address, running.http_port, path))
        # The next round is to begin on an Asterisk at rest.
        wait_until(lambda: not bench.pbx.core_show_channels(), 30, "all calls are over")
    return seconds
