"""The wheel has all that the program reads of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest
from hatchling import build

PROJECT: Final = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the wheel, by their names."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        name = build.build_wheel(str(folder))
    with ZipFile(folder / name) as wheel:
        return {each: wheel.read(each) for each in wheel.namelist()}


def files_below(folder: str) -> dict[str, bytes]:
    """The files of a folder of the project, by their paths in it."""
    root = PROJECT / folder
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_package(packed: dict[str, bytes]) -> None:
    """Each file, the pages for browsers and the description of the API among them, as it is."""
    whole = {f"c2c_agent/{path}": content for path, content in files_below("c2c_agent").items()}
    for name in ("static/dial.html", "static/console.html", "static/c2c.js", "openapi.yml"):
        assert f"c2c_agent/web/{name}" in whole
    assert {name: packed.get(name) for name in whole} == whole


def test_asterisks_side(packed: dict[str, bytes]) -> None:
    """What `setup asterisk` writes."""
    dialplan = files_below("asterisk-conf")
    assert dialplan
    where = "c2c_agent/asterisk-conf/"
    assert {name: packed.get(where + name) for name in dialplan} == dialplan
