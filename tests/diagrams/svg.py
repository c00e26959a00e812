"""Draws: a sheet that takes shapes and texts, and becomes an SVG that is the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

INK: Final = "#1b2a41"
FAINT: Final = "#8894a8"
LINE: Final = "#4a6fa5"
PALE: Final = "#eef2f8"
EDGE: Final = "#c3cee0"
GREEN: Final = "#2e7d5b"
RED: Final = "#b3403a"

_SANS: Final = "Inter, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"
_MONO: Final = "'JetBrains Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace"

Point = tuple[float, float]


class Sheet:
    """A white card, readable on a light page and on a dark one."""

    def __init__(self, width: float, height: float, title: str, subtitle: str) -> None:
        self._size = (width, height)
        self._title = title
        self._parts: list[str] = []
        self.text(32, 44, title, size=20, weight=700)
        self.text(32, 66, subtitle, size=12.5, fill=FAINT)

    def add(self, element: str) -> None:
        """Put an element on top of the others."""
        self._parts.append(element)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12,
        fill: str = INK,
        weight: int = 400,
        anchor: str = "start",
        mono: bool = False,
        turn: float = 0,
    ) -> None:
        """One line of text; `turn` is in degrees."""
        turned = f' transform="rotate({_n(turn)} {_n(x)} {_n(y)})"' if turn else ""
        self.add(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{fill}"'
            f' font-weight="{weight}" text-anchor="{anchor}"'
            f" font-family={quoteattr(_MONO if mono else _SANS)}{turned}>"
            f"{escape(words)}</text>"
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "#fff",
        stroke: str = EDGE,
        radius: float = 8,
    ) -> None:
        """A rectangle with round corners."""
        self.add(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
            f' rx="{_n(radius)}" fill="{fill}" stroke="{stroke}"/>'
        )

    def dot(self, x: float, y: float, radius: float, *, fill: str, stroke: str = "none") -> None:
        """A circle."""
        self.add(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" fill="{fill}" stroke="{stroke}"'
            ' stroke-width="1.6"/>'
        )

    def line(
        self,
        points: Sequence[Point],
        *,
        stroke: str = LINE,
        width: float = 1.6,
        dashed: bool = False,
        arrow: bool = False,
        smooth: bool = False,
    ) -> None:
        """A line through points; `smooth` bends it so that it leaves each point vertically."""
        (x, y), *others = points
        path = f"M{_n(x)} {_n(y)}"
        for to_x, to_y in others:
            middle = _n((y + to_y) / 2)
            bend = f"C{_n(x)} {middle} {_n(to_x)} {middle} " if smooth else "L"
            path += f"{bend}{_n(to_x)} {_n(to_y)}"
            x, y = to_x, to_y
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.add(
            f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{_n(width)}"{dash}/>'
        )
        if arrow:
            before = (x, y - 1) if smooth and y > points[0][1] else points[-2]
            if smooth and y < points[0][1]:
                before = (x, y + 1)
            self._arrowhead((x, y), before, stroke)

    def _arrowhead(self, tip: Point, before: Point, fill: str) -> None:
        along = (tip[0] - before[0], tip[1] - before[1])
        length = (along[0] ** 2 + along[1] ** 2) ** 0.5
        ax, ay = along[0] / length, along[1] / length
        back = (tip[0] - 8 * ax, tip[1] - 8 * ay)
        corners = [tip, (back[0] - 4 * ay, back[1] + 4 * ax), (back[0] + 4 * ay, back[1] - 4 * ax)]
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in corners)
        self.add(f'<polygon points="{points}" fill="{fill}"/>')

    def __str__(self) -> str:
        width, height = map(_n, self._size)
        return "\n".join(
            [
                '<svg xmlns="http://www.w3.org/2000/svg" role="img"',
                f' viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
                f" aria-label={quoteattr(self._title)}>",
                "<!-- Made by scripts/diagrams from the code: change that, not this. -->",
                f'<rect width="{width}" height="{height}" rx="12" fill="#fff"/>',
                *self._parts,
                "</svg>\n",
            ]
        )


def wrapped(words: str, most: int) -> list[str]:
    """The words in lines of at most so many characters."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) > most and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _n(number: float) -> str:
    """A number with no more digits than can be seen."""
    return f"{number:.1f}".removesuffix(".0")
