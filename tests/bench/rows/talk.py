"""What a second of talk costs Asterisk: of a call of the agent's, over an ordinary one's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.bench.figures import Figure, at_most
from tests.bench.places import Bench
from tests.bench.rounds import alternate, ratios
from tests.bench.talks import (
    DIRECT,
    NARROW,
    WIDE,
    Contest,
    Pair,
    ordinary,
    second_of_talk,
    talking_place,
    through,
)

_TALKS: Final = 20

#: What is measured: the phones, and what is to be reached.
_KINDS: Final = {
    "G.711 phones": (NARROW, 1.1),
    "G.722 phones": (WIDE, 1.1),
    "phones with direct media": (DIRECT, 1.5),
}


def measure(bench: Bench) -> Iterator[Figure]:
    """Let phones talk in turn, joined by the agent and by themselves."""
    with talking_place(bench) as place, place.agent() as agent:
        for kind, (pair, limit) in _KINDS.items():
            yield _figure(place, kind, pair, limit, through(agent))


def _figure(bench: Bench, kind: str, pair: Pair, limit: float, ours: Contest) -> Figure:
    seconds = bench.few(10, 5)
    rounds = alternate(
        bench.rounds,
        {
            name: partial(second_of_talk, bench, contest, pair, _TALKS, seconds)
            for name, contest in (("agent", ours), ("ordinary", ordinary(bench)))
        },
        f"talk, {kind}",
    )
    costs = {name: [cost.asterisk for cost in round_] for name, round_ in rounds.items()}
    return Figure(
        "talk",
        f"Asterisk's CPU per second, {kind}, over an ordinary call",
        ratios(costs["agent"], costs["ordinary"]),
        at_most(limit),
        behind={f"ms per second of talk, {name}": values for name, values in costs.items()}
        | {"agent's own ms per second of talk": [cost.agent for cost in rounds["agent"]]},
        limit=f"{_TALKS} talks at once; what the path through Asterisk has more than two channels",
    )
