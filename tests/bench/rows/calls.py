"""Complete calls per second, and what each costs: of the agent, the ceiling, floor and panoramisk.

A call of the agent: HTTP request, Originate, FastAGI, Dial, the final outcome stored.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from tests.bench.agent_calls import place_calls
from tests.bench.figures import Figure, Goal, at_least, at_most
from tests.bench.peers.run import run
from tests.bench.places import HANGS_UP, STAYS, Bench
from tests.bench.rounds import alternate, ratios
from tests.bench.usage import Usage, measured

#: More at once place no more calls per second, and fewer do not keep Asterisk busy: each lasts
#: 0.7 s, of which its own Answer takes 0.5 s to wait for media.
AT_ONCE: Final = 400

#: What is run in the agent's place to do no more than its I/O.
FLOOR: Final = "tests.bench.peers.floor"

_AGI_PORT: Final = 4999


@frozen
class Round:
    """What one contestant did in one round: calls per second, and milliseconds of CPU for each."""

    rate: float
    agent_ms: float
    asterisk_ms: float
    usage: Usage

    @classmethod
    def of(cls, calls: int, seconds: float, usage: Usage) -> Round:
        """From what was used for so many calls in so many seconds."""
        cpu = usage.cpu
        return cls(
            calls / seconds, 1000 * cpu["agent"] / calls, 1000 * cpu["asterisk"] / calls, usage
        )


def measure(bench: Bench) -> Iterator[Figure]:
    """Let the four place calls in turn."""
    calls = bench.few(3000, 1200)
    results = alternate(
        bench.rounds,
        {
            "ceiling": lambda: peer(bench, "ceiling", calls),
            "agent": lambda: agent(bench, calls),
            "floor": lambda: agent(bench, calls, module=FLOOR),
            "panoramisk": lambda: peer(bench, "panoramisk_calls", calls),
        },
        "calls",
    )
    yield from figures("calls", "between Local channels", results, at_least(0.9))
    yield from _beside_others(results)


def figures(
    row: str, phones: str, results: Mapping[str, list[Round]], share: Goal | None = None
) -> Iterator[Figure]:
    """The figures of such rounds."""
    ours, ceiling = results["agent"], results["ceiling"]
    rates = {name: [round_.rate for round_ in rounds] for name, rounds in results.items()}
    yield Figure(
        row,
        f"calls per second {phones}, agent over ceiling",
        ratios(rates["agent"], rates["ceiling"]),
        share,
        behind={f"calls/s of {name}": values for name, values in rates.items()},
        limit=f"CPU; cores in the agent's median round: {_typical(ours).cores()}; "
        f"in the ceiling's: {_typical(ceiling).cores()}",
    )
    yield Figure(
        row,
        "agent's CPU over Asterisk's, per call",
        [round_.agent_ms / round_.asterisk_ms for round_ in ours],
        at_most(0.15),
        behind={
            **{
                f"ms of CPU per call of {name}": [round_.agent_ms for round_ in rounds]
                for name, rounds in results.items()
            },
            **{
                f"ms of Asterisk's CPU per call, beside {name}": [
                    round_.asterisk_ms for round_ in rounds
                ]
                for name, rounds in results.items()
            },
        },
        limit="the agent's own CPU per call; docs/performance.md divides it",
    )


def _beside_others(results: Mapping[str, list[Round]]) -> Iterator[Figure]:
    """The agent over panoramisk, and over a floor of its own libraries."""
    ours = results["agent"]
    yield Figure(
        "calls",
        "calls per second, agent over panoramisk, which stores and checks nothing",
        ratios(*([round_.rate for round_ in results[name]] for name in ("agent", "panoramisk"))),
        at_least(0.85),
        limit="each millisecond of the agent's is one that Asterisk does not have",
    )
    yield Figure(
        "calls",
        "agent's CPU per call over its floor",
        ratios(*([round_.agent_ms for round_ in rounds] for rounds in (ours, results["floor"]))),
        at_most(2.0),
        limit="what the agent does beside the I/O: checks, events, evidence, log, metrics",
    )


def agent(
    bench: Bench,
    calls: int,
    at_once: int = AT_ONCE,
    *,
    first: str = STAYS,
    second: str = HANGS_UP,
    module: str = "c2c_agent",
) -> Round:
    """A fresh agent places calls, or what is run in its place."""
    with bench.agent(module) as running:
        place_calls(running, 20, 20, first=first, second=second)
        with measured(
            time.monotonic, {"agent": running.pid, "asterisk": bench.pbx.pid, "load": os.getpid()}
        ) as usage:
            placed = place_calls(running, calls, at_once, first=first, second=second)
    return Round.of(calls, placed.seconds, usage)


def peer(
    bench: Bench,
    module: str,
    calls: int,
    at_once: int = AT_ONCE,
    *,
    first: str = STAYS,
    second: str = HANGS_UP,
) -> Round:
    """A peer places calls."""
    order = {
        "ami": bench.ami,
        "agi": [bench.pbx.address, _AGI_PORT],
        "calls": calls,
        "at_once": at_once,
        "rate": None,
        "first": first,
        "second": second,
    }
    with measured(time.monotonic, {"asterisk": bench.pbx.pid}) as usage:
        said = run(module, order)
    usage.cpu["agent"] = said["cpu"]
    usage.cpu["others"] -= said["cpu"]
    return Round.of(calls, said["seconds"], usage)


def _typical(rounds: list[Round]) -> Usage:
    median = statistics.median_low(round_.rate for round_ in rounds)
    return next(round_.usage for round_ in rounds if round_.rate == median)
