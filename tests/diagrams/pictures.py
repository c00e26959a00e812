"""The pictures that there are, by their names in docs/diagrams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.diagrams import packages, states, way

FOLDER: Final = Path(__file__).parents[2] / "docs" / "diagrams"

PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "states.svg": states.draw,
    "packages.svg": packages.draw,
    "way-of-a-call.svg": way.draw,
}
