"""`ami` and `agi` could be lifted into another project: each passes its tests on its own.

Only what they stand on is beside them: no other package of the product, no other test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What each package stands on, what its tests take, and the streams that they replay.
NEEDS: dict[str, tuple[list[str], list[str], str]] = {
    "agi": (["errors.py", "text.py"], [], "agi-*.txt"),
    "ami": (["errors.py", "text.py", "net"], ["tests/certificates.py"], "ami-*.txt"),
}


def lift(name: str, folder: Path) -> None:
    """Copy a package, what it stands on, and its tests, into an empty folder."""
    ground, taken, streams = NEEDS[name]
    for path in ["c2c_agent/__init__.py", *(f"c2c_agent/{each}" for each in (name, *ground))]:
        copy(path, folder)
    for path in ("tests/__init__.py", "tests/conftest.py", "tests/unit/__init__.py", *taken):
        copy(path, folder)
    copy(f"tests/unit/{name}", folder)
    for stream in (ROOT / "tests/transcripts").glob(streams):
        copy(f"tests/transcripts/{stream.name}", folder)


def copy(path: str, folder: Path) -> None:
    """Copy a file or a folder of the repository, to the same place below another one."""
    source, target = ROOT / path, folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, whose modules come before all others; coverage is not for copies."""
    ours = ("COVERAGE", "PYTEST", "PYTHONPATH")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.parametrize("name", NEEDS)
def test_alone(name: str, tmp_path: Path) -> None:
    """Its unit tests pass where nothing else of the product is, nor anything else of the tests."""
    lift(name, tmp_path)
    told = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/unit/{name}")
    assert told.returncode == 0, told.stdout + told.stderr
    assert " passed" in told.stdout
    assert "skipped" not in told.stdout


@pytest.mark.parametrize("name", NEEDS)
def test_the_product_is_not_there(name: str, tmp_path: Path) -> None:
    """The copy is what is imported, and the installed product does not stand in for the rest."""
    lift(name, tmp_path)
    told = run(tmp_path, "-c", f"import c2c_agent.{name} as it; print(it.__file__)")
    assert told.stdout == f"{tmp_path}/c2c_agent/{name}/__init__.py\n"
    told = run(tmp_path, "-c", "import c2c_agent.call")
    assert "No module named 'c2c_agent.call'" in told.stderr
