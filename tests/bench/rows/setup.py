"""What a whole call costs Asterisk and the agent, over an ordinary one's Asterisk.

A call with one second of talk is measured. One of a minute is reckoned: the same call, and 59 more
of the seconds that were measured in twenty talks beside it, in the same round.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.bench.figures import Figure, at_most
from tests.bench.places import Bench
from tests.bench.rounds import alternate, ratios
from tests.bench.talks import (
    NARROW,
    Contest,
    Cost,
    ordinary,
    second_of_talk,
    short_call,
    talking_place,
    through,
)

_TALKS: Final = 20
_RATE: Final = 5.0
_MINUTE: Final = 59


def measure(bench: Bench) -> Iterator[Figure]:
    """Let calls be placed in turn, by the agent and by the first phone itself."""
    calls, seconds = bench.few(60, 20), bench.few(10, 5)
    with talking_place(bench) as place, place.agent() as agent:

        def both(contest: Contest) -> tuple[Cost, Cost]:
            return (
                short_call(place, contest, NARROW, calls, _RATE),
                second_of_talk(place, contest, NARROW, _TALKS, seconds),
            )

        contests = {"agent": through(agent), "ordinary": ordinary(place)}
        rounds = alternate(
            bench.rounds,
            {name: partial(both, contest) for name, contest in contests.items()},
            "setup",
        )
    short = {name: [call for call, _ in results] for name, results in rounds.items()}
    yield Figure(
        "setup",
        "Asterisk's CPU of a call with 1 s of talk, over an ordinary one",
        ratios(*([call.asterisk for call in short[name]] for name in contests)),
        at_most(1.6),
        behind={
            f"ms of Asterisk, {name}": [call.asterisk for call in calls]
            for name, calls in short.items()
        }
        | {"ms of the agent": [call.agent for call in short["agent"]]},
        limit="two Local channels that come and go, and FastAGI",
    )
    minute = {
        name: [
            call.asterisk + call.agent + _MINUTE * (talk.asterisk + talk.agent)
            for call, talk in results
        ]
        for name, results in rounds.items()
    }
    yield Figure(
        "setup",
        "CPU of a call of 60 s, Asterisk's and the agent's, over an ordinary one's",
        ratios(minute["agent"], minute["ordinary"]),
        at_most(1.15),
        behind={f"ms, {name}": values for name, values in minute.items()},
        limit="the agent's own milliseconds, and those of its call's beginning and end",
    )
