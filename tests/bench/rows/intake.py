"""The way in alone: requests per second, committed durably, with a PBX that costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from tests.bench.figures import Figure, at_least, at_most
from tests.bench.http_load import Client, at_once, at_rate, call_path
from tests.bench.places import HANGS_UP, STAYS, Bench
from tests.bench.rounds import alternate
from tests.bench.rows.latency import percentile
from tests.bench.usage import cpu_seconds
from tests.pbx.agents import AgentProcess

_LANES: Final = 32
_RATE: Final = 500


def measure(bench: Bench) -> Iterator[Figure]:
    """Ask as fast as answers come, and then at the rate that is to be reached."""
    count = bench.few(4000, 1000)

    def ask() -> tuple[float, float, float]:
        with bench.agent("tests.bench.peers.instant_agent") as running:
            before = cpu_seconds(running.pid)
            rate = count / asyncio.run(_as_fast_as_it_can(running, count))
            cpu = 1000 * (cpu_seconds(running.pid) - before) / count
            seconds = asyncio.run(_at_rate(running, count))
        return rate, cpu, 1000 * percentile(seconds, 99)

    rounds = alternate(bench.rounds, {"agent": ask}, "intake")["agent"]
    yield Figure(
        "intake",
        f"requests committed and answered, {_LANES} at once",
        [rate for rate, _, _ in rounds],
        at_least(_RATE),
        unit="per second",
        behind={"ms of CPU per request": [cpu for _, cpu, _ in rounds]},
        limit="the agent's CPU; commits are shared by the requests that wait for them",
    )
    yield Figure(
        "intake",
        f"time to the answer at {_RATE} requests/s, p99",
        [p99 for _, _, p99 in rounds],
        at_most(20),
        unit="ms",
        limit="waiting behind other requests for the agent's one thread",
    )


async def _as_fast_as_it_can(agent: AgentProcess, count: int) -> float:
    client, path = _client(agent)
    began = asyncio.get_running_loop().time()
    await at_once(lambda: client.get(path), _LANES, count)
    return asyncio.get_running_loop().time() - began


async def _at_rate(agent: AgentProcess, count: int) -> Sequence[float]:
    client, path = _client(agent)
    await at_rate(lambda: client.get(path), _RATE, count)
    return client.seconds


def _client(agent: AgentProcess) -> tuple[Client, str]:
    return Client(agent.host.address, agent.http_port), call_path(STAYS, HANGS_UP, agent.key)
