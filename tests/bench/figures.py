"""What the benchmark says: figures over rounds, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen


@frozen
class Goal:
    """What a figure is to reach: no less, or no more, than `limit`."""

    limit: float
    at_least: bool

    def reached_by(self, value: float) -> bool:
        """Whether a value is well."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_least(limit: float) -> Goal:
    """Not below `limit`."""
    return Goal(limit, at_least=True)


def at_most(limit: float) -> Goal:
    """Not above `limit`."""
    return Goal(limit, at_least=False)


@frozen
class Figure:
    """One figure: a value for each round; its median is what counts.

    `unit` is "" for a ratio. `behind`: what it was made of, by round. `limit`: what kept it there.
    """

    row: str
    what: str
    values: Sequence[float]
    goal: Goal | None = None
    unit: str = ""
    behind: Mapping[str, Sequence[float]] = field(factory=dict)
    limit: str = ""

    @property
    def median(self) -> float:
        """The value that counts."""
        return statistics.median(self.values)

    @property
    def reached(self) -> bool:
        """Whether the median is well."""
        return self.goal is None or self.goal.reached_by(self.median)

    def as_json(self) -> dict[str, Any]:
        """Everything of it."""
        return {
            "row": self.row,
            "what": self.what,
            "unit": self.unit,
            **_spread(self.values),
            "goal": None if self.goal is None else str(self.goal),
            "reached": self.reached,
            "behind": {name: _spread(values) for name, values in self.behind.items()},
            "limit": self.limit,
        }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }


def table(figures: Iterable[Figure]) -> str:
    """The figures, one below the other; what they were made of below each."""
    lines = [f"{'':<66} {'median':>9} {'min':>9} {'max':>9}  to reach"]
    for figure in figures:
        name = f"{figure.row}: {figure.what}" + (f" [{figure.unit}]" if figure.unit else "")
        goal = "" if figure.goal is None else f"{figure.goal}  {'ok' if figure.reached else 'NOT'}"
        lines.append(f"{name:<66} {_numbers(figure.values)}  {goal}".rstrip())
        lines += [f"    {what:<62} {_numbers(values)}" for what, values in figure.behind.items()]
        if figure.limit:
            lines.append(f"    limited by: {figure.limit}")
    return "\n".join(lines)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(
        f"{value:>9.4g}" for value in (statistics.median(values), min(values), max(values))
    )


#: Between these, a page has the figures of one run.
_FROM: Final = "<!-- figures: from here on scripts/bench --page writes -->"
_TO: Final = "<!-- figures: up to here -->"


def markdown(figures: Iterable[Figure]) -> str:
    """The figures as a table of Markdown; what they were made of stands in a column, as medians."""
    lines = [
        "| row | figure | to reach | median | min | max | | made of (medians) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for figure in figures:
        goal = "" if figure.goal is None else str(figure.goal)
        reached = "" if figure.goal is None else "yes" if figure.reached else "**no**"
        unit = f", {figure.unit}" if figure.unit else ""
        numbers = (figure.median, min(figure.values), max(figure.values))
        made_of = "; ".join(
            f"{what}: {statistics.median(values):.4g}" for what, values in figure.behind.items()
        )
        cells = [figure.row, figure.what + unit, goal, *(f"{one:.3g}" for one in numbers)]
        lines.append(f"| {' | '.join([*cells, reached, made_of])} |")
    return "\n".join(lines)


def on_page(page: str, machine: Mapping[str, Any], figures: Iterable[Figure]) -> str:
    """A page with these figures, and what they were measured on, in the place of those before.

    Raises ValueError for a page that does not say where they stand.
    """
    before, found, rest = page.partition(_FROM)
    _, ends, after = rest.partition(_TO)
    if not found or not ends:
        raise ValueError(f"the page does not have both {_FROM} and {_TO}")
    on = "; ".join(f"{what}: {value}" for what, value in machine.items())
    return f"{before}{_FROM}\n\n{markdown(figures)}\n\nMeasured on: {on}.\n\n{_TO}{after}"
