"""Limits over many processes that come and go, and what counts them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cloud.claimer import CAPS, TOTAL
from tests.cloud.databases import STORE_ADDRESS, Database, DatabaseServer
from tests.pbx.conftest import alone

pytestmark = pytest.mark.postgres

PROCESSES = 8
KILLS = 8

_IN_PROGRESS = "SELECT key_name, count(*) FROM claims WHERE running GROUP BY key_name"


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database."""
    with alone(STORE_ADDRESS, request.config), DatabaseServer(STORE_ADDRESS) as server:
        yield server.new()


class Claimers:
    """The processes, by their number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def start(self, number: int) -> None:
        """Start one, and wait until it has begun."""
        command = [sys.executable, "-m", "tests.cloud.claimer", self._database.url, f"p{number}"]
        root = Path(__file__).parents[2]
        started = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        self._processes[number] = started
        assert started.stdout is not None
        assert started.stdout.readline() == "begun\n"

    def kill(self, number: int) -> None:
        """End one as a crash does."""
        killed = self._processes.pop(number)
        killed.kill()
        killed.wait()
        assert killed.stdout is not None
        killed.stdout.close()

    def end(self) -> None:
        """End all."""
        for number in list(self._processes):
            self.kill(number)


@pytest.fixture
def claimers(database: Database) -> Iterator[Claimers]:
    """No process runs yet."""
    made = Claimers(database)
    yield made
    made.end()


def test_caps_hold_over_processes_that_are_killed(database: Database, claimers: Claimers) -> None:
    """At no moment one call too many, of a key or of all; every place is used; counts are right."""
    for number in range(PROCESSES):
        claimers.start(number)
    highest: Counter[str] = Counter()
    with closing(database.connect()) as reader:

        def look(seconds: float) -> None:
            """Look at what is in progress, again and again: each time at one moment."""
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                found = {str(key): int(count) for key, count in reader.execute(_IN_PROGRESS)}
                found["all"] = sum(found.values())
                for name, count in found.items():
                    highest[name] = max(highest[name], count)

        for kill in range(KILLS):
            look(0.5)
            claimers.kill(kill % PROCESSES)
            look(0.2)
            claimers.start(kill % PROCESSES)
        look(1)
    claimers.end()
    assert highest["all"] == TOTAL
    for key, cap in CAPS.items():
        assert TOTAL / 4 < highest[key] <= cap
    # What the killed had in progress still counts, and as it should.
    assert database.all("SELECT c2c_recount(TRUE)") == []
    [(running, total)] = database.all(
        "SELECT (SELECT count(*) FROM claims WHERE running), (SELECT sum(running) FROM "
        "running_total)"
    )
    assert running == total
