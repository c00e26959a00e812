"""The pictures in docs/diagrams are those that the code makes now."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from c2c_agent.call.call import CallState
from tests.diagrams import packages, states, way
from tests.diagrams.pictures import FOLDER, PICTURES
from tests.unit.call.test_machine import EXPECTED

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", PICTURES)
def test_is_not_stale(name: str) -> None:
    """The code has not changed since it was drawn."""
    drawn = (FOLDER / name).read_text(encoding="utf-8")
    assert PICTURES[name]() == drawn, "run scripts/diagrams"


def test_no_other_is_there() -> None:
    """Nobody draws it any more."""
    assert {file.name for file in FOLDER.iterdir()} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_stays_on_its_sheet(name: str) -> None:
    """Every box, dot and text begins within the picture."""
    root = ET.fromstring((FOLDER / name).read_text(encoding="utf-8"))  # noqa: S314 - our own
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    placed = [*root.iter(f"{SVG}text"), *root.iter(f"{SVG}rect"), *root.iter(f"{SVG}circle")]
    for each in placed:
        x = float(each.get("x", each.get("cx", "0")))
        y = float(each.get("y", each.get("cy", "0")))
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_every_transition_is_drawn() -> None:
    """As the table written by hand has it: a letter `.` stays, a digit leads there."""
    drawn = {each.name: each for each in states.columns()}
    assert set(drawn) == {event.__name__ for event in EXPECTED}
    for event, letters in EXPECTED.items():
        leads = drawn[event.__name__].leads
        for state, letter in zip(CallState, letters, strict=True):
            if letter == ".":
                assert state not in leads
            else:
                assert states.STATES[int(letter)] in leads[state] | {state}


def test_no_package_is_missing() -> None:
    """Every package of the program stands in the house, and every import has an arrow or a way."""
    house = packages.House()
    named = {name for row in house.rows for name in row} | set(packages.GROUND)
    there = {file.parent.name for file in packages.PACKAGE.glob("*/__init__.py")}
    assert named == there | {"__main__", *packages.GROUND}
    drawn = set(house.arrows) | house.upwards
    for source, targets in packages.imports().items():
        for target in targets - set(packages.GROUND) - {"__init__"}:
            if source not in packages.GROUND:
                assert target in reached(source, drawn)


def reached(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    """The packages that arrows lead to."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        new = {target for source, target in arrows if source == here} - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("step", [step for _, steps in way.PARTS for step in steps], ids=str)
def test_the_way_is_there(step: way.Step) -> None:
    """What a step calls exists; and of two packages, one imports the other."""
    assert way.resolved(step.name) is not None
    assert {step.source, step.target} <= set(way.PLACES)
    if not {step.source, step.target} & set(way.OUTSIDE):
        known = packages.imports()
        assert step.target in known[step.source] or step.source in known[step.target]


def test_a_name_that_is_gone() -> None:
    """It is noticed."""
    with pytest.raises(AttributeError):
        way.resolved("call.machine.no_such_function")
