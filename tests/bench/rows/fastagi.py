"""FastAGI sessions per second: environment, GET VARIABLE, SET VARIABLE, close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Final

from tests.bench.agi_load import sessions
from tests.bench.figures import Figure, at_least
from tests.bench.peers.run import started
from tests.bench.places import ADDRESS, Bench
from tests.bench.rounds import alternate, ratios
from tests.bench.usage import cpu_seconds
from tests.pbx.waiting import wait_until

_PORT: Final = 4997
_AT_ONCE: Final = 16


def measure(bench: Bench) -> Iterator[Figure]:
    """Hold sessions with each server in turn."""
    count = bench.few(6000, 1500)

    def serve(server: str) -> tuple[float, float]:
        place = (ADDRESS, _PORT)
        with started("agi_server", {"server": server, "agi": list(place)}) as peer:
            wait_until(lambda: _answers(place), 20, f"{server} listens")
            before = cpu_seconds(peer.process.pid)
            took = sessions(place, count, _AT_ONCE)
            cpu = cpu_seconds(peer.process.pid) - before
        return count / took, 1e6 * cpu / count

    servers = ("agent", "bare", "panoramisk")
    results = alternate(bench.rounds, {name: partial(serve, name) for name in servers}, "fastagi")
    rates = {name: [rate for rate, _ in rounds] for name, rounds in results.items()}
    cpus = {name: [cpu for _, cpu in rounds] for name, rounds in results.items()}
    for peer, limit in (("panoramisk", 1.2), ("bare", 0.8)):
        yield Figure(
            "fastagi",
            f"sessions per second, agent over {peer}",
            ratios(rates["agent"], rates[peer]),
            at_least(limit),
            behind={
                **{f"sessions/s of {name}": values for name, values in rates.items()},
                **{f"us of CPU per session of {name}": values for name, values in cpus.items()},
            },
            limit="the server's CPU: it has one core to itself",
        )


def _answers(place: tuple[str, int]) -> bool:
    with suppress(OSError):
        sessions(place, 1, 1)
        return True
    return False
