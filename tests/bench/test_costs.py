"""The pure parts do not become dearer unnoticed: instructions against a baseline, not seconds."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from tests.bench.costs import baselines, costs, instructions, version

#: What may come with a library's new version, or with a fault that was put right.
_MORE: int = 10  # percent

_RENEW = "`python -m tests.bench.costs --renew` makes what there is now the baseline of this Python"

# Tracing tells of every instruction in Python 3.11 only: 3.12 and 3.13 lose some, or all, of what
# runs specialised (seen on both).
pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="instructions can be counted in Python 3.11 alone"
)


def test_no_dearer_than_the_baseline() -> None:
    """Each piece of work takes at most a tenth more instructions than when that was accepted."""
    known = baselines().get(version())
    assert known is not None, f"costs.json has no baseline for Python {version()}: {_RENEW}"
    now = costs()
    assert now.keys() == known.keys(), _RENEW
    dearer = {
        name: f"{known[name]} -> {count}"
        for name, count in now.items()
        if count > known[name] * (100 + _MORE) / 100
    }
    assert not dearer, f"more instructions than they may take; if that is as it must be, {_RENEW}"


def test_the_count_is_of_the_work() -> None:
    """Twice the work takes about twice the instructions, and the same work always the same."""

    def work(times: int) -> int:
        return sum(number * number for number in range(times))

    once, again, twice = (instructions(partial(work, times)) for times in (1000, 1000, 2000))
    assert once == again
    assert 1.9 < twice / once < 2.1
