"""Every input of the corpus, and of whatever was found once, in every parser that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = [file for name in TARGETS for file in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_corpus(file: Path) -> None:
    """What is right is taken, what is wrong is refused, and nothing else happens."""
    TARGETS[file.parent.name](file.read_bytes())


def test_every_target_has_a_corpus() -> None:
    """And every corpus a target."""
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200))
def test_anything(name: str, data: bytes) -> None:
    """Bytes at random."""
    TARGETS[name](data)
