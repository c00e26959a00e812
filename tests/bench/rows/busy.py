"""What a busy PBX costs the agent: foreign calls that pass through Asterisk, none of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from tests.bench.figures import Figure, at_most
from tests.bench.peers.run import run
from tests.bench.places import Bench
from tests.bench.rounds import alternate
from tests.bench.usage import Usage, measured

_RATE: Final = 200


def measure(bench: Bench) -> Iterator[Figure]:
    """Let foreign calls pass while an agent looks on."""
    count = _RATE * bench.few(8, 4)
    with bench.agent() as running:

        def pass_through() -> tuple[float, Usage]:
            order = {"ami": bench.witness, "calls": count, "rate": _RATE}
            with measured(
                time.monotonic, {"agent": running.pid, "asterisk": bench.pbx.pid}
            ) as usage:
                said = run("foreign", order)
            return said["rate"], usage

        rounds = alternate(bench.rounds, {"foreign calls": pass_through}, "busy")["foreign calls"]
    yield Figure(
        "busy",
        f"agent's CPU while {_RATE} foreign calls/s pass",
        [100 * usage.cpu["agent"] / usage.seconds for _, usage in rounds],
        at_most(1),
        unit="% of a core",
        behind={
            "foreign calls/s that passed": [rate for rate, _ in rounds],
            "Asterisk's CPU, cores": [usage.cpu["asterisk"] / usage.seconds for _, usage in rounds],
        },
        limit="nothing: no event of these calls reaches the agent; what is left is its clock",
    )
