"""Rounds: everybody in turn, again and again, so that what disturbs the machine disturbs all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def alternate(
    rounds: int, contestants: Mapping[str, Callable[[], T]], row: str
) -> dict[str, list[T]]:
    """Let each contestant run once in every round, every other round in reverse order."""
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants.items())
        for name, run in order if number % 2 == 0 else reversed(order):
            sys.stderr.write(f"{row}: round {number + 1} of {rounds}, {name}\n")
            results[name].append(run())
    return results


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Round by round, one over the other."""
    return [a / b for a, b in zip(above, below, strict=True)]
