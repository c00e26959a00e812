"""The packages and who imports whom, on the floors that pyproject.toml gives them."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.diagrams.svg import EDGE, FAINT, INK, LINE, PALE, RED, Point, Sheet, wrapped

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "c2c_agent"

#: What all others may stand on; arrows to it would hide the rest.
GROUND: Final = ("text", "errors")

WIDTH, BOX, HEIGHT, FLOOR, TOP = 900.0, 216.0, 58.0, 96.0, 96.0

#: A room on a floor: a package, or the place where a long arrow crosses the floor.
Room = tuple[int, str]


def floors() -> list[list[str]]:
    """The packages as import-linter has them, the highest floor first, without the ground."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [each["layers"] for each in linter["contracts"] if each["type"] == "layers"]
    rows = [[name.strip() for name in layer.split("|")] for layer in layers]
    return [row for row in rows if not set(row) <= set(GROUND)]


@cache
def imports() -> dict[str, set[str]]:
    """Which packages each package imports, from the code."""
    found: dict[str, set[str]] = defaultdict(set)
    there = {each.name.removesuffix(".py") for each in PACKAGE.iterdir()}
    for file in PACKAGE.rglob("*.py"):
        package = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                root, _, inner = name.partition(".")
                other = inner.partition(".")[0]
                if root == PACKAGE.name and other in there - {package}:
                    found[package].add(other)
    return found


def without_implied(arrows: Mapping[str, Iterable[str]]) -> set[tuple[str, str]]:
    """The arrows that no way over other packages stands for (the transitive reduction)."""

    def reached(start: str, but: str) -> set[str]:
        seen: set[str] = set()
        waiting = [each for each in arrows.get(start, ()) if each != but]
        while waiting:
            here = waiting.pop()
            if here not in seen:
                seen.add(here)
                waiting += arrows.get(here, ())
        return seen

    return {
        (source, target)
        for source, targets in arrows.items()
        for target in targets
        if target not in reached(source, but=target)
    }


def purpose(package: str) -> str:
    """The first sentence of what a package says of itself."""
    file = PACKAGE / package / "__init__.py"
    file = file if file.exists() else PACKAGE / f"{package}.py"
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    sentence = " ".join(said.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    return (
        sentence.replace("`", "").split(":")[0] if len(sentence) > 76 else sentence.replace("`", "")
    )


class House:
    """Where every package stands, and every arrow runs: few crossings, and no arrow over a room."""

    def __init__(self) -> None:
        self.rows = floors()
        floor = {name: level for level, row in enumerate(self.rows) for name in row}
        every = {
            source: {target for target in targets if target in floor}
            for source, targets in imports().items()
            if source in floor
        }
        up = {(a, b) for a, targets in every.items() for b in targets if floor[b] <= floor[a]}
        down = {a: {b for b in targets if (a, b) not in up} for a, targets in every.items()}
        self.count = sum(map(len, every.values()))
        self.arrows: dict[tuple[str, str], list[Room]] = {}
        self.upwards = up
        rooms: list[list[Room]] = [
            [(level, name) for name in row] for level, row in enumerate(self.rows)
        ]
        for a, b in sorted(without_implied(down)) + sorted((b, a) for a, b in up):
            way = [(level, f"{a}>{b}") for level in range(floor[a] + 1, floor[b])]
            for room in way:
                rooms[room[0]].append(room)
            self.arrows[a, b] = [(floor[a], a), *way, (floor[b], b)]
        self._above: dict[Room, list[Room]] = defaultdict(list)
        self._below: dict[Room, list[Room]] = defaultdict(list)
        for way in self.arrows.values():
            for upper, lower in pairwise(way):
                self._below[upper].append(lower)
                self._above[lower].append(upper)
        self.order = self._ordered(rooms)
        self.x = self._placed()

    def _ordered(self, rooms: list[list[Room]]) -> list[list[Room]]:
        """Each floor's rooms from left to right, so that few arrows cross."""
        best = order = [sorted(row) for row in rooms]
        for turn in range(40):
            way = 1 if turn % 2 == 0 else -1
            near = self._above if way == 1 else self._below
            place: dict[Room, float] = {}

            def wish(
                room: Room,
                near: Mapping[Room, list[Room]] = near,
                place: Mapping[Room, float] = place,
            ) -> tuple[float, Room]:
                return _mean([place[each] for each in near[room]], place[room]), room

            new: list[list[Room]] = []
            for row in order[::way]:
                place.update(_shares(row))
                new.append(sorted(row, key=wish))
                place.update(_shares(new[-1]))
            order = self._swapped(new[::way])
            if self._crossings(order) < self._crossings(best):
                best = order
        return best

    def _swapped(self, order: list[list[Room]]) -> list[list[Room]]:
        """Neighbours change places wherever that saves a crossing."""
        order = [list(row) for row in order]
        better = True
        while better:
            better = False
            for row in order:
                for number in range(len(row) - 1):
                    before = self._crossings(order)
                    row[number], row[number + 1] = row[number + 1], row[number]
                    if self._crossings(order) < before:
                        better = True
                    else:
                        row[number], row[number + 1] = row[number + 1], row[number]
        return order

    def _crossings(self, order: list[list[Room]]) -> int:
        count = 0
        for upper, lower in pairwise(order):
            place = {room: number for number, room in enumerate(lower)}
            lines = [
                (number, place[to]) for number, room in enumerate(upper) for to in self._below[room]
            ]
            count += sum(
                (a - c) * (b - d) < 0
                for index, (a, b) in enumerate(lines)
                for c, d in lines[index + 1 :]
            )
        return count

    def _placed(self) -> dict[Room, float]:
        """The middle of each room: near what it is tied to, with room for its neighbours."""
        x = {
            room: WIDTH * (number + 0.5) / len(row)
            for row in self.order
            for number, room in enumerate(row)
        }
        for _ in range(200):
            for row in self.order:
                wished = [
                    _mean([x[each] for each in (*self._above[room], *self._below[room])], x[room])
                    for room in row
                ]
                x.update(zip(row, _apart(row, wished), strict=True))
        # In the middle of the sheet.
        ends = [x[room] + side * _size(room) / 2 for room in x for side in (-1, 1)]
        aside = WIDTH / 2 - (min(ends) + max(ends)) / 2
        return {room: middle + aside for room, middle in x.items()}

    def way(self, arrow: tuple[str, str]) -> list[Point]:
        """The points of an arrow, from the lower edge of a room to the upper edge of another."""
        (first, *middle, last) = self.arrows[arrow]
        points = [(self._door(first, arrow, below=True), self.y(first) + HEIGHT)]
        for room in middle:
            points += [(self.x[room], self.y(room)), (self.x[room], self.y(room) + HEIGHT)]
        return [*points, (self._door(last, arrow, below=False), self.y(last) - 2)]

    def _door(self, room: Room, arrow: tuple[str, str], *, below: bool) -> float:
        """Where an arrow leaves or enters a room: beside the others, in their order."""
        near = self._below if below else self._above
        others = sorted(near[room], key=lambda each: (self.x[each], each))
        way = self.arrows[arrow]
        mine = way[1] if below else way[-2]
        spread = min(28.0, (BOX - 40) / max(1, len(others)))
        return self.x[room] + spread * (others.index(mine) - (len(others) - 1) / 2)

    def y(self, room: Room) -> float:
        """The upper edge of a room."""
        return TOP + FLOOR * room[0]


def _shares(row: list[Room]) -> dict[Room, float]:
    """Where each room stands in its row, from 0 to 1."""
    return {room: number / max(1, len(row) - 1) for number, room in enumerate(row)}


def _size(room: Room) -> float:
    return 26.0 if ">" in room[1] else BOX + 22


def _apart(row: list[Room], wished: list[float]) -> list[float]:
    """The wished places, moved as little as it takes for nobody to stand on another's feet."""
    # Rooms that touch become one block, which stands where its members wish on the average.
    blocks: list[list[int]] = []
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (_size(left) + _size(right)) / 2)

    def start(block: list[int]) -> float:
        middle = sum(wished[each] - offsets[each] for each in block) / len(block)
        least = _size(row[0]) / 2 - offsets[0]
        most = WIDTH - _size(row[-1]) / 2 - offsets[-1]
        return min(max(middle, least), max(most, least))

    for number in range(len(row)):
        blocks.append([number])
        while len(blocks) > 1 and start(blocks[-2]) > start(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return [start(block) + offsets[each] for block in blocks for each in block]


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def draw() -> str:
    """The picture."""
    house = House()
    margin = 40.0
    bottom = TOP + FLOOR * len(house.rows)
    sheet = Sheet(
        WIDTH + 2 * margin,
        bottom + 110,
        "The house: packages, and who imports whom",
        f"{house.count} imports between packages, all downwards"
        f"{f', but for {len(house.upwards)} (red)' if house.upwards else ''}. "
        "An arrow that others imply is left out.",
    )
    for level in range(0, len(house.rows), 2):
        sheet.box(
            16, house.y((level, "")) - 19, WIDTH + 2 * margin - 32, FLOOR, fill=PALE, stroke="none"
        )
    for arrow in sorted(house.arrows):
        points = [(x + margin, y) for x, y in house.way(arrow)]
        upwards = arrow[::-1] in house.upwards
        sheet.line(
            points[::-1] if upwards else points,
            stroke=RED if upwards else LINE,
            arrow=True,
            smooth=True,
            dashed=upwards,
        )
    for row in house.order:
        for room in row:
            if ">" not in room[1]:
                _draw_room(sheet, room[1], house.x[room] + margin - BOX / 2, house.y(room), BOX)
    half = (WIDTH - 20) / 2
    for number, name in enumerate(GROUND):
        _draw_room(sheet, name, margin + number * (half + 20), bottom + 4, half)
    sheet.text(
        margin + WIDTH / 2, bottom + 90, "The ground: every package may stand on it.", size=12,
        fill=FAINT, anchor="middle",
    )  # fmt: skip
    return str(sheet)


def _draw_room(sheet: Sheet, name: str, x: float, y: float, width: float) -> None:
    sheet.box(x, y, width, HEIGHT, stroke=EDGE)
    sheet.text(
        x + width / 2, y + 19, name, size=13.5, weight=700, anchor="middle", mono=True, fill=INK
    )
    lines = wrapped(purpose(name), int(width / 5.7))[:2]
    for number, line in enumerate(lines):
        sheet.text(
            x + width / 2,
            y + 38 - 3 * len(lines) + 13 * number + 3,
            line,
            size=10,
            anchor="middle",
            fill=FAINT,
        )
