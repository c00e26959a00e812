"""Tests of one class here build on each other: after a failure the later ones fail at once."""

from __future__ import annotations

import pytest

_FAILED = pytest.StashKey[str]()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Remember the first failure."""
    if call.excinfo is not None and item.parent is not None:
        item.parent.stash.setdefault(_FAILED, item.name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Do not begin where an earlier test has left the host half-way."""
    if item.parent is not None and _FAILED in item.parent.stash:
        pytest.fail(f"{item.parent.stash[_FAILED]} has failed before", pytrace=False)
