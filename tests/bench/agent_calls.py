"""Calls through an agent: placed over HTTP, counted in its store."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import Final

from attrs import define

from tests.bench.http_load import Client, call_path
from tests.bench.places import HANGS_UP, STAYS
from tests.pbx.agents import AgentProcess

_LOOK: Final = 0.01
_PATIENCE: Final = 120.0

_COUNT: Final = """
    SELECT (SELECT coalesce(max(id), 0) FROM calls),
           (SELECT count(*) FROM calls WHERE state <> 'ended')
"""


class CallsError(Exception):
    """Calls did not become what they should; the text says what."""


@define
class Placed:
    """What came of calls: how long they took, and the time of each request."""

    seconds: float
    round_trips: list[float]


def place_calls(
    agent: AgentProcess,
    calls: int,
    at_once: int,
    *,
    first: str = STAYS,
    second: str = HANGS_UP,
    rest: int = 0,
) -> Placed:
    """Place so many calls, so many at once, until the outcome of the last is stored.

    `rest` is how many others are in progress all the while. Raises CallsError where an outcome is
    not `connected`.
    """
    return asyncio.run(
        _place_calls(agent, calls, at_once, call_path(first, second, agent.key), rest)
    )


async def _place_calls(
    agent: AgentProcess, calls: int, at_once: int, path: str, rest: int
) -> Placed:
    client = Client(agent.host.address, agent.http_port)
    asked: set[asyncio.Future[bytes]] = set()
    store = sqlite3.connect(agent.directory / "c2c.sqlite3", isolation_level=None)
    with closing(store):
        before, _ = store.execute(_COUNT).fetchone()
        begun = 0
        began = latest = time.perf_counter()
        while True:
            known, unfinished = store.execute(_COUNT).fetchone()
            ended = known - before - (unfinished - rest)
            if ended >= calls:
                break
            if time.perf_counter() - latest > _PATIENCE:
                raise CallsError(f"{ended} of {begun} calls ended; {agent.log()[-2000:]}")
            for _ in range(min(calls - begun, at_once - (begun - ended))):
                begun += 1
                latest = time.perf_counter()
                asked.add(asyncio.ensure_future(client.get(path)))
            await asyncio.sleep(_LOOK)
        seconds = time.perf_counter() - began
        bodies = await asyncio.gather(*asked)
        _check_outcomes(store, before, calls, agent)
    if any(b'"success"' not in body for body in bodies):
        raise CallsError(f"refused: {next(body for body in bodies if b'success' not in body)!r}")
    return Placed(seconds, client.seconds)


def _check_outcomes(
    store: sqlite3.Connection, after_id: int, calls: int, agent: AgentProcess
) -> None:
    """Raise CallsError unless that many calls after `after_id` have connected."""
    rows = store.execute(
        "SELECT outcome, count(*) FROM calls WHERE id > ? AND state = 'ended' GROUP BY 1",
        (after_id,),
    )
    outcomes = Counter(dict(rows.fetchall()))
    if outcomes != {"connected": calls}:
        query = "SELECT record FROM calls WHERE id > ? AND outcome <> 'connected'"
        odd = store.execute(query, (after_id,)).fetchone()
        warnings = [line for line in agent.log().splitlines() if " info " not in line]
        raise CallsError(f"of {calls} calls: {dict(outcomes)}, such as {odd}; {warnings[-20:]}")
