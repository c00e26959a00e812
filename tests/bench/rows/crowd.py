"""Two thousand calls in progress: what each takes in memory, and what they cost the next calls.

The cost is compared with that of another agent, on the same Asterisk in the same crowd, which has
none of these calls: Asterisk itself becomes slower with 8,000 channels, and tells of less at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from attrs import frozen

from tests.bench.agent_calls import place_calls
from tests.bench.figures import Figure, at_most
from tests.bench.http_load import Client, at_once, call_path
from tests.bench.places import STAYS, Bench
from tests.bench.rounds import alternate
from tests.bench.usage import cpu_seconds, memory_bytes
from tests.pbx.agents import AgentProcess
from tests.pbx.waiting import wait_until

_MOVING: Final = 20


@frozen
class Round:
    """What was seen of one agent."""

    bytes_per_call: float
    ms_alone: float
    ms_in_crowd: float


def measure(bench: Bench) -> Iterator[Figure]:
    """Fill agents with calls that stay, and place calls that come and go beside them."""
    crowd = bench.few(2000, 400)
    rounds = alternate(bench.rounds, {"agent": lambda: _round(bench, crowd)}, "crowd")["agent"]
    yield Figure(
        "crowd",
        f"memory of {crowd} calls in progress, per call",
        [round_.bytes_per_call / 1024 for round_ in rounds],
        at_most(16),
        unit="KiB",
        limit="the call's record, its followed channels, its FastAGI connection, timers",
    )
    yield Figure(
        "crowd",
        f"agent's CPU per call, {_MOVING} at once beside {crowd} more, over {_MOVING} alone",
        [round_.ms_in_crowd / round_.ms_alone for round_ in rounds],
        at_most(1.2),
        behind={
            "ms per call alone": [round_.ms_alone for round_ in rounds],
            "ms per call in the crowd": [round_.ms_in_crowd for round_ in rounds],
        },
        limit="nothing that grows with the calls: they are found by their ids",
    )


def _round(bench: Bench, crowd: int) -> Round:
    moving = bench.few(400, 200)
    with bench.agent() as filled, bench.agent() as empty:
        for agent in (filled, empty):
            place_calls(agent, moving, _MOVING)  # whatever is made at first use is there now
        before = memory_bytes(filled.pid)
        asyncio.run(_fill(filled, crowd))
        taken = memory_bytes(filled.pid) - before
        in_crowd = _cpu_per_call(filled, moving, rest=crowd)
        alone = _cpu_per_call(empty, moving, rest=0)
        bench.pbx.cli("channel request hangup all")
        wait_until(lambda: not bench.pbx.core_show_channels(), 120, "all calls are over")
    return Round(taken / crowd, alone, in_crowd)


def _cpu_per_call(agent: AgentProcess, calls: int, rest: int) -> float:
    before = cpu_seconds(agent.pid)
    place_calls(agent, calls, _MOVING, rest=rest)
    return 1000 * (cpu_seconds(agent.pid) - before) / calls


async def _fill(agent: AgentProcess, crowd: int) -> None:
    """Place calls of which both phones stay, until all are connected."""
    client = Client(agent.host.address, agent.http_port)
    path = call_path(STAYS, STAYS, agent.key)
    await at_once(lambda: client.get(path), 20, crowd)
    with closing(sqlite3.connect(agent.directory / "c2c.sqlite3")) as store:

        def connected() -> bool:
            query = "SELECT count(*) FROM calls WHERE state = 'connected'"
            return bool(store.execute(query).fetchone()[0] == crowd)

        wait_until(connected, 120, f"{crowd} calls are connected")
