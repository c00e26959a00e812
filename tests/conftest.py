"""Settings of all tests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from xdist.scheduler import LoadScopeScheduling
from zope.interface import implementer

# Before anything imports them, whichever folder is collected first.
pytest.register_assert_rewrite(
    "tests.pbx_driver_contract",
    "tests.unit.agi.playbook",
    "tests.unit.cli.prompt",
    "tests.unit.pbx.asterisk.driver_case",
    "tests.unit.setup.tree",
    "tests.unit.web.asking",
    "tests.upgrade_contract",
)

# A test that is slow on a busy machine is not wrong.
settings.register_profile("c2c-agent", deadline=None)
settings.load_profile("c2c-agent")

#: What tests share that bear it in their names: an Asterisk, the phones' address, a host, a server.
_SHARED: Final = re.compile(r"\[asterisk-\d\d(?=[]-])|tests/pbx/test_phones|tests/(?:cloud|host)/")


class PiecesOfWork(LoadScopeScheduling):  # type: ignore[misc]  # it has no annotations
    """Deals tests out to workers; those of one module on one PBX go to the same, one by one.

    Each worker has PBXs of its own, one of a version at a time. The marks of xdist (3.8) for this
    have no effect with the node ids of pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        shared = _SHARED.search(nodeid)
        if shared is None:
            return nodeid
        pbx = shared[0].startswith("[")
        return f"{nodeid.partition('::')[0]}{shared[0]}" if pbx else shared[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> PiecesOfWork:
    """Use it wherever tests run side by side."""
    return PiecesOfWork(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker a session of its own, with the phones and agents that it starts.

    Linux shares the processors out to sessions (autogroups, sched(7)). A worker that computes does
    not keep the PBX of the other one waiting then, which it otherwise has been seen to do for 10 s.
    """
    if hasattr(config, "workerinput"):
        os.setsid()


@pytest.fixture(autouse=True)
def _drivers_keep_their_contract(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a driver tells what cannot come.

    With the mark `breach` it has to tell so; with `breach(required=False)` it may.
    """
    breaches: list[str] = []

    @implementer(ILogObserver)
    def note(event: LogEvent) -> None:
        if "breach" in event:
            breaches.append(formatEvent(event))

    globalLogPublisher.addObserver(note)
    yield
    globalLogPublisher.removeObserver(note)
    mark = request.node.get_closest_marker("breach")
    if mark is None:
        assert not breaches
    elif mark.kwargs.get("required", True):
        assert breaches, "no breach was told"
