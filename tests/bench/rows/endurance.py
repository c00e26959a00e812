"""What a hundred thousand calls in a row leave behind in the agent's memory.

Asterisk is played by `peers.scripted_asterisk`, which speaks one recorded call again and again: the
real one would take a quarter of an hour for as many.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.bench.agent_calls import place_calls
from tests.bench.figures import Figure, at_most
from tests.bench.peers.run import started
from tests.bench.places import Bench
from tests.bench.recorded_call import recorded_call
from tests.bench.usage import cpu_seconds, memory_bytes

_AMI_PORT: Final = 5039
_AT_ONCE: Final = 50
_PARTS: Final = 10


def measure(bench: Bench) -> Iterator[Figure]:
    """Place them in ten parts, and look at the memory after each."""
    calls = bench.few(100_000, 10_000)
    order = {"ami": [bench.pbx.address, _AMI_PORT], "call": recorded_call(bench)}
    memory, cpu = [], []
    with (
        started("scripted_asterisk", order),
        bench.agent(ami_port=_AMI_PORT) as running,
    ):
        for _ in range(_PARTS):
            before = cpu_seconds(running.pid)
            place_calls(running, calls // _PARTS, _AT_ONCE)
            memory.append(memory_bytes(running.pid))
            cpu.append(1000 * (cpu_seconds(running.pid) - before) / (calls // _PARTS))
    yield Figure(
        "endurance",
        f"memory after {calls:,} calls over that after {calls // _PARTS:,}",
        [memory[-1] / memory[0]],
        at_most(1.02),
        behind={
            "MiB after each tenth": [used / 2**20 for used in memory],
            "ms of CPU per call, by tenths": cpu,
        },
        limit="with a scripted Asterisk",
    )
