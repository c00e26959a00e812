"""Calls through a relay, beside calls that an agent is asked for directly, and a bare script's."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Final

from attrs import define, field, frozen

from c2c_agent.store.calls_table import delete_ended
from c2c_agent.store.postgres.link import Statements
from tests.bench.clouds import PROCESSES, Cloud
from tests.bench.figures import Figure, at_most
from tests.bench.http_load import Client, at_once, at_rate, call_path
from tests.bench.peers.run import started
from tests.bench.places import HANGS_UP, STAYS, Bench
from tests.bench.rounds import alternate, ratios
from tests.bench.rows.latency import percentile
from tests.bench.usage import cpu_seconds
from tests.cloud.databases import PASSWORD, Database
from tests.pbx.agents import KEY
from tests.pbx.waiting import wait_until

#: Calls at once where CPU is counted, and calls per second where the time to the answer is.
_LANES: Final = 20
_RATE: Final = 15.0

#: Relays of which one alone places the calls, and the others stand by.
_RELAYS: Final = 8

_BARE_PORT: Final = 4996

_CONNECTED: Final = "SELECT count(*) FROM calls WHERE state = 'ended' AND outcome = 'connected'"
_SIZE: Final = "SELECT pg_database_size(current_database()), pg_current_wal_lsn() - '0/0'"


@frozen
class Place:
    """Where calls are asked for, and who says how many of them have connected and ended."""

    address: str
    port: int
    connected: Callable[[], int]


@define
class Round:
    """What a contestant's calls took: milliseconds of CPU for each, by who used them.

    `p50`, `p99`: of the time to the answer, in ms. `bytes`: of the database and its log, per call.
    """

    calls: int
    ms: dict[str, float] = field(factory=dict)
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    bytes: Sequence[float] = ()
    deleting: float = 0.0

    @property
    def foreign(self) -> float:
        """CPU of a relay, per call of another."""
        others = [ms for name, ms in self.ms.items() if name.startswith("relay-")]
        return sum(others) / len(others)


def figures(bench: Bench, cloud: Cloud) -> Iterator[Figure]:
    """Place calls in turn: at an agent, at a relay, at one of eight, and at a bare script."""
    rounds = alternate(
        bench.rounds,
        {
            "direct": lambda: _direct(bench, cloud),
            "relayed": lambda: _relayed(bench, cloud, 1),
            "of eight": lambda: _relayed(bench, cloud, _RELAYS),
            "bare": lambda: _bare(bench, cloud),
        },
        "relay: calls",
    )
    direct, relayed, of_eight, bare = rounds.values()
    yield _latency(rounds)
    yield Figure(
        "relay",
        "agent's CPU per call, relayed over direct",
        ratios(_ms(relayed, "agent"), _ms(direct, "agent")),
        at_most(1.6),
        behind={
            f"ms per call of the agent, {name}": _ms(results, "agent")
            for name, results in rounds.items()
        },
        limit="a job, and six events to the broker, each confirmed and deleted again",
    )
    yield Figure(
        "relay",
        f"broker's CPU per call, {_RELAYS} relays over 1",
        ratios(_ms(of_eight, "broker"), _ms(relayed, "broker")),
        at_most(1.2),
        behind={
            "ms per call, 1 relay": _ms(relayed, "broker"),
            f"ms per call, {_RELAYS} relays": _ms(of_eight, "broker"),
            "ms per call, bare script": _ms(bare, "broker"),
        },
        limit="each event goes into one queue, whoever else is there",
    )
    yield Figure(
        "relay",
        "a relay's CPU for a call of another relay over one of its own",
        [round_.foreign / round_.ms["relay"] for round_ in of_eight],
        at_most(0.05),
        behind={
            "ms per call of its own": _ms(of_eight, "relay"),
            "ms per call of another": [round_.foreign for round_ in of_eight],
        },
        limit="nothing of such a call reaches it; what is left is its clock",
    )
    yield Figure(
        "relay",
        "relay's CPU per call over the bare script's",
        ratios(_ms(relayed, "relay"), _ms(bare, "relay")),
        behind={
            "ms per call of the relay": _ms(relayed, "relay"),
            "ms per call of the bare script": _ms(bare, "relay"),
            "ms per call of the database, relayed": _ms(relayed, "database"),
            "ms per call of the database, bare": _ms(bare, "database"),
            "calls/s, relayed": [round_.rate for round_ in relayed],
            "calls/s, bare": [round_.rate for round_ in bare],
        },
        limit="the relay's own CPU: limits, the call's record, the state machine, its log",
    )
    yield Figure(
        "relay",
        "what the database keeps of a call",
        [round_.bytes[0] / 1024 for round_ in relayed],
        unit="KiB",
        behind={
            "KiB of its log (WAL) per call": [round_.bytes[1] / 1024 for round_ in relayed],
            "ms of its CPU to delete a call": [round_.deleting for round_ in relayed],
        },
    )


def _latency(rounds: Mapping[str, Sequence[Round]]) -> Figure:
    p50 = {name: [round_.p50 for round_ in results] for name, results in rounds.items()}
    return Figure(
        "relay",
        "HTTP request to answer, relayed over direct, p50",
        ratios(p50["relayed"], p50["direct"]),
        at_most(4),
        behind={
            **{f"p50, ms, {name}": values for name, values in p50.items()},
            **{
                f"p99, ms, {name}": [round_.p99 for round_ in results]
                for name, results in rounds.items()
            },
            "at calls per second": [_RATE],
        },
        limit="three commits, three messages that the broker has on its disk, one after the other",
    )


def _ms(rounds: Sequence[Round], who: str) -> list[float]:
    return [round_.ms[who] for round_ in rounds]


# The contestants


def _direct(bench: Bench, cloud: Cloud) -> Round:
    with cloud.agent(relayed=False) as agent:
        path = agent.directory / "c2c.sqlite3"

        def connected() -> int:
            with closing(sqlite3.connect(path)) as store:
                return int(store.execute(_CONNECTED).fetchone()[0])

        place = Place(agent.host.address, agent.http_port, connected)
        return _round(bench, cloud, place, {"agent": agent.pid})


def _relayed(bench: Bench, cloud: Cloud, relays: int) -> Round:
    database = cloud.server.new()
    with ExitStack() as stack:
        agent = stack.enter_context(cloud.agent(relayed=True))
        own, *others = [cloud.relay(f"relay-{number}", database) for number in range(relays)]
        for relay in (own, *others):  # one by one: the first makes the tables
            stack.enter_context(relay)
        processes = {"agent": agent.pid, "relay": own.pid}
        processes |= {f"relay-{number}": relay.pid for number, relay in enumerate(others, 1)}
        place = Place(own.host.address, own.http_port, lambda: _connected(database))
        before = database.all(_SIZE)[0]
        result = _round(bench, cloud, place, processes)
        after = database.all(_SIZE)[0]
        placed = _connected(database)
        result.bytes = [float(now - then) / placed for now, then in zip(after, before, strict=True)]
    if relays == 1:
        result.deleting = _delete(cloud, database)
    return result


def _bare(bench: Bench, cloud: Cloud) -> Round:
    database = cloud.server.new()
    order = {
        "listen": [PROCESSES, _BARE_PORT],
        "agent": "pbx1",
        "broker": cloud.broker_login,
        "url": database.url,
        "password": PASSWORD,
    }
    with cloud.agent(relayed=True) as agent, started("bare_relay", order) as peer:
        wait_until(lambda: _listens(PROCESSES, _BARE_PORT), 20, "the bare script listens")
        place = Place(PROCESSES, _BARE_PORT, lambda: _connected(database))
        return _round(bench, cloud, place, {"agent": agent.pid, "relay": peer.process.pid})


# What they all do


def _round(bench: Bench, cloud: Cloud, place: Place, processes: Mapping[str, int | None]) -> Round:
    calls = bench.few(400, 200)
    _place(place, 2 * _LANES)  # whatever is made at first use is there now
    round_ = Round(calls)
    with _spent(cloud, processes, round_):
        began = time.perf_counter()
        _place(place, calls)
        round_.rate = calls / (time.perf_counter() - began)
    client = Client(place.address, place.port)
    asyncio.run(at_rate(lambda: _ask(client), _RATE, round(_RATE * bench.few(12, 6))))
    round_.p50, round_.p99 = (1000 * percentile(client.seconds, percent) for percent in (50, 99))
    return round_


def _place(place: Place, calls: int) -> None:
    """Place so many calls, until all have connected and ended."""
    client = Client(place.address, place.port)
    before = place.connected()
    asyncio.run(at_once(lambda: _ask(client), _LANES, calls))
    wait_until(lambda: place.connected() == before + calls, 60, f"{calls} calls have connected")


async def _ask(client: Client) -> None:
    answer = json.loads(await client.get(call_path(STAYS, HANGS_UP, KEY)))
    assert answer["response"]["status"] == "success", answer


@contextmanager
def _spent(cloud: Cloud, processes: Mapping[str, int | None], round_: Round) -> Iterator[None]:
    servers = {"broker": cloud.broker, "database": cloud.server}

    def now() -> dict[str, float]:
        return {
            **{name: cpu_seconds(pid) for name, pid in processes.items()},
            **{name: server.cpu_seconds() for name, server in servers.items()},
        }

    before = now()
    yield
    round_.ms = {name: 1000 * (used - before[name]) / round_.calls for name, used in now().items()}


def _connected(database: Database) -> int:
    [(connected,)] = database.all(_CONNECTED)
    return int(connected)


def _delete(cloud: Cloud, database: Database) -> float:
    """Milliseconds of the database's CPU for each call that it deletes."""
    deleted = 0
    before = cloud.server.cpu_seconds()
    with closing(database.connect()) as connection:
        while some := delete_ended(Statements(connection), time.time()):
            deleted += some
        connection.execute("VACUUM calls, claims")
    return 1000 * (cloud.server.cpu_seconds() - before) / deleted


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection((host, port))):
        return True
    return False
