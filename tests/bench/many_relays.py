"""A hundred relays on one broker and one database, simulated, over one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from tests.bench.clouds import Cloud
from tests.bench.figures import Figure, at_most
from tests.bench.peers.run import run
from tests.bench.places import Bench
from tests.bench.rounds import alternate, ratios
from tests.cloud.databases import PASSWORD

_RELAYS: Final = (1, 10, 100)

_EVENTS: Final = 1000
_CLAIMS: Final = 1000


def figures(bench: Bench, cloud: Cloud) -> Iterator[Figure]:
    """Let few and many relays do the same."""
    rounds = alternate(
        bench.rounds,
        {f"relays: {relays}": partial(_simulate, cloud, relays) for relays in _RELAYS},
        "relay: many",
    )
    one, *_, many = rounds.values()
    for what, name, limit in (
        ("broker's CPU per event", "broker_ms", "each event goes into one queue"),
        ("database's CPU per claim", "database_ms", "each relay changes rows of its own"),
    ):
        yield Figure(
            "relay",
            f"{what}, {_RELAYS[-1]} relays (simulated) over 1",
            ratios([said[name] for said in many], [said[name] for said in one]),
            at_most(1.2),
            behind={
                f"ms, {who}{words}": [said[name + end] for said in results]
                for end, words in (("", ""), ("_many", ", 100 at once"))
                for who, results in rounds.items()
            },
            limit=limit,
        )
    yield Figure(
        "relay",
        f"events of other relays that came to one of {_RELAYS[-1]}",
        [said["foreign"] for said in many],
        at_most(0),
        behind={
            "of its own, at least": [said["own"] for said in many],
            "seconds until its link was up": [said["seconds_to_link"] for said in many],
        },
    )


def _simulate(cloud: Cloud, relays: int) -> dict[str, Any]:
    host, port, _, password = cloud.broker_login
    return run(
        "many_relays",
        {
            "relays": relays,
            "agents": 1,
            "events": _EVENTS,
            "claims": _CLAIMS,
            "broker": cloud.broker_login,
            "agent": [host, port, "pbx1", password],
            "url": cloud.server.new().url,
            "password": PASSWORD,
            "servers": [cloud.broker.name, cloud.server.name],
        },
    )
