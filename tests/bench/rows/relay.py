"""Calls through relays: what they cost, and that it stays so as relays and calls become many.

RabbitMQ and PostgreSQL are real; Asterisk is played by `peers.scripted_asterisk`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import claims, many_relays, relayed_calls
from tests.bench.clouds import cloud
from tests.bench.figures import Figure
from tests.bench.places import Bench


def measure(bench: Bench) -> Iterator[Figure]:
    """Measure claims, calls, and a hundred relays."""
    with cloud(bench) as here:
        for part in (claims, relayed_calls, many_relays):
            yield from part.figures(bench, here)
