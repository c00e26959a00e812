"""Imports that import-linter cannot hold, and what each package says of itself."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "c2c_agent"

#: The client's side of twisted.web; the rest of it is the server's.
CLIENT = re.compile(
    r"twisted\.web\.(client|_newclient|iweb|http_headers|http\.PotentialDataLoss)\b|treq\b"
)
SERVER = re.compile(r"twisted\.web\b")


def imported(file: Path) -> Iterator[str]:
    """The names that a module imports, wherever in it; of `from a import b`, `a.b`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(wanted: re.Pattern[str], but: re.Pattern[str] | None = None) -> set[str]:
    """The modules that import something of that name."""
    return {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        for name in imported(file)
        if wanted.match(name) and not (but is not None and but.match(name))
    }


def places(modules: set[str], *allowed: str) -> set[str]:
    """Those of the modules that stand somewhere else."""
    return {module for module in modules if not module.startswith(allowed)}


def test_twisted_web() -> None:
    """Who serves HTTP stands under web; who asks others over HTTP stands in net."""
    served, asked = importers(SERVER, CLIENT), importers(CLIENT)
    assert served, "the pattern finds nothing any more"
    assert asked, "the pattern finds nothing any more"
    assert places(served, "web/") == set()
    # Webhooks are sent where they are told, and the service puts the client together.
    assert places(asked, "net/", "report/webhook.py", "service/") == set()


def test_pure_modules() -> None:
    """Those that import-linter holds to be pure are those that are covered whole."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [pure] = [each for each in contracts["contracts"] if each["name"].startswith("The pure")]
    listed = (ROOT / "tests/pure_modules.txt").read_text().splitlines()
    named = {
        line.removesuffix(".py").removesuffix("/*").replace("/", ".")
        for line in listed
        if not line.startswith("#")
    }
    assert named == {name.removeprefix("c2c_agent.") for name in pure["source_modules"]}


@pytest.mark.parametrize(
    "package", sorted(PACKAGE.rglob("*/__init__.py")), ids=lambda file: file.parent.name
)
def test_packages_say_what_is_in_them(package: Path) -> None:
    """Each module and each package below is named where the package says what it is for."""
    said = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    inside = {
        each.stem
        for each in package.parent.iterdir()
        if each.suffix == ".py" or (each / "__init__.py").exists()
    }
    assert {name for name in inside - {"__init__"} if f"`{name}`" not in said} == set()
