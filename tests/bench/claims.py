"""Claims of relays: what one takes beside many calls in progress, and how many several make."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

from attrs import frozen

from tests.bench.clouds import Cloud
from tests.bench.figures import Figure, at_least, at_most
from tests.bench.peers.run import run, started
from tests.bench.places import Bench
from tests.bench.rounds import alternate, ratios
from tests.cloud.databases import PASSWORD, Database

#: Calls in progress of the crowd, and the keys that it and the claims are of.
_CROWD: Final = 20_000
_KEYS: Final = 20
_PROCESSES: Final = 4

#: Seconds in which a process has started and opened its store.
_START: Final = 4.0

_FILL: Final = """
    INSERT INTO calls (request_id, key_name, received_at, state, record, server_id)
    SELECT 'crowd-' || n, 'k' || n %% %s, 0, 'connected', '{}', 'crowd'
    FROM generate_series(1, %s) AS n
"""
_FILL_CLAIMS: Final = """
    INSERT INTO claims (request_id, key_name, admitted_at, running, reserved)
    SELECT request_id, key_name, c2c_now() - id % 1000, TRUE, 1 FROM calls
    WHERE server_id = 'crowd'
"""


@frozen
class Round:
    """What was seen in one database: seconds and ms of CPU of a claim, and claims per second."""

    p50: float
    database_ms: float
    of_one: float
    of_all: float


def figures(bench: Bench, cloud: Cloud) -> Iterator[Figure]:
    """Claim in empty databases and in crowded ones, in turn."""
    rounds = alternate(
        bench.rounds,
        {"none": lambda: _round(bench, cloud, 0), "crowd": lambda: _round(bench, cloud, _CROWD)},
        "relay: claims",
    )
    p50 = {name: [1000 * one.p50 for one in results] for name, results in rounds.items()}
    yield Figure(
        "relay",
        f"a claim with {_CROWD:,} calls in progress over one with none, p50",
        ratios(p50["crowd"], p50["none"]),
        at_most(1.2),
        behind={
            **{f"ms of a claim, {name}": values for name, values in p50.items()},
            **{
                f"ms of the database's CPU, {name}": [one.database_ms for one in results]
                for name, results in rounds.items()
            },
        },
        limit="one commit; a claim reads the rows of its key and the sums of all, however many",
    )
    for name, results in rounds.items():
        yield Figure(
            "relay",
            f"claims/s of {_PROCESSES} processes over 1, different keys, {name} in progress",
            [one.of_all / one.of_one for one in results],
            at_least(1.4) if name == "none" else None,
            behind={
                "claims/s of 1": [one.of_one for one in results],
                f"claims/s of {_PROCESSES}": [one.of_all for one in results],
            },
            limit="the CPU that the database and the claiming processes share",
        )


def _round(bench: Bench, cloud: Cloud, crowd: int) -> Round:
    database = cloud.server.new()
    # The first that opens the database makes its tables.
    run("claims", _order(database, "first", [0], claims=1))
    if crowd:
        database.do(_FILL, _KEYS, crowd)
        database.do(_FILL_CLAIMS)
        database.do("SELECT c2c_recount(TRUE)")
    database.do("VACUUM ANALYZE")  # as it stands where calls have come one by one
    claims = bench.few(1000, 400)
    before = cloud.server.cpu_seconds()
    took = run("claims", _order(database, "p0", range(_KEYS), claims=claims))["took"]
    database_ms = 1000 * (cloud.server.cpu_seconds() - before) / claims
    seconds = bench.few(4, 2)
    of_one, of_all = (_rate(database, processes, seconds) for processes in (1, _PROCESSES))
    return Round(statistics.median(took), database_ms, of_one, of_all)


def _rate(database: Database, processes: int, seconds: float) -> float:
    share = _KEYS // _PROCESSES
    begin_at = time.time() + _START
    with ExitStack() as stack:
        peers = [
            stack.enter_context(
                started(
                    "claims",
                    _order(
                        database,
                        f"p{number}",
                        range(number * share, (number + 1) * share),
                        begin_at=begin_at,
                        seconds=seconds,
                    ),
                )
            )
            for number in range(processes)
        ]
        claims: int = sum(peer.wait()["claims"] for peer in peers)
    return claims / seconds


def _order(
    database: Database, server_id: str, keys: Sequence[int], **changes: Any
) -> dict[str, Any]:
    usual = {"claims": None, "begin_at": 0.0, "seconds": None}
    names = [f"k{number}" for number in keys]
    place = {"url": database.url, "password": PASSWORD, "server_id": server_id, "keys": names}
    return {**usual, **place, **changes}
