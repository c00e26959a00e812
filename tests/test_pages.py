"""The documentation leaves nothing out: no code, outcome, finding or command of the program."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import click
import pytest
from click.testing import CliRunner

import c2c_agent
from c2c_agent.__main__ import main
from c2c_agent.call.outcome import Outcome
from c2c_agent.cli.calls import EXIT_STATUS
from c2c_agent.config.sections import EventName
from c2c_agent.errors import ErrorCode
from tests.pages import PROJECT, Block, blocks, pages, prose, source
from tests.test_man_pages import commands

#: What `wc -w` may count in the README.
_WORDS: Final = 900

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")

#: The names of findings that have a name of something in them, as headings have it.
_NAMED: Final = {
    "webhook": "webhook NAME",
    "key": "key NAME",
    "context": "context NAME",
    "file": "file PATH",
}


def first_cells(page: str) -> set[str]:
    """What stands in the first cells of a page's tables, as code."""
    cells = re.findall(r"^\| (.*?[^\\]) \|", source(page), re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


class TestReadme:
    def test_is_short(self) -> None:
        """Nobody reads more before the first call."""
        assert len(source("README.md").split()) <= _WORDS

    def test_installs_as_the_page_does(self) -> None:
        """The four commands are those of Start, which a test runs on a host."""
        installing = source("README.md").split("## Installing on a PBX host")[1].split("\n## ")[0]
        shown = re.findall(r"^    (\S.*)$", installing, re.MULTILINE)
        page = [block.text.strip() for block in blocks("docs/start.md") if block.language == "sh"]
        assert shown == page[:4]


@pytest.mark.parametrize("page", pages())
class TestEachPage:
    def test_links(self, page: str) -> None:
        """What a page links to in the sources is there; within the site, Sphinx looks as well."""
        folder = (PROJECT / page).parent
        gone = [path for path in _LINK.findall(prose(page)) if not (folder / path).exists()]
        assert gone == []

    def test_json(self, page: str) -> None:
        """What is shown as JSON is JSON."""
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)

    def test_shell(self, page: str) -> None:
        """What is shown as a command can be parsed."""
        for block in blocks(page):
            if block.language == "sh":
                subprocess.run(["/usr/bin/env", "bash", "-n", "-c", block.text], check=True)


class TestComplete:
    def test_error_codes(self) -> None:
        """Each code has a line with cause and cure."""
        assert first_cells("docs/operation/errors.md") == {code.value for code in ErrorCode}

    def test_outcomes(self) -> None:
        """Each outcome is explained."""
        assert first_cells("docs/outcomes.md") >= {outcome.value for outcome in Outcome}

    def test_events(self) -> None:
        """Each event that receivers can be told of is explained."""
        assert first_cells("docs/webhooks.md") == set(get_args(EventName))

    def test_exit_status(self) -> None:
        """As `call --wait` ends."""
        rows = re.findall(
            r"^\| ([0-9, ]+) \| (.*) \|$", source("docs/operation/command-line.md"), re.MULTILINE
        )
        told = {
            outcome: int(status)
            for statuses, outcomes in rows
            for status, outcome in zip(
                statuses.split(", "), re.findall(r"`(\w+)`", outcomes), strict=True
            )
        }
        assert told == EXIT_STATUS

    def test_commands(self) -> None:
        """Each command has a line, and none that there is not."""
        told = {
            " ".join(re.findall(r"c2c-agent((?: [a-z-]+)+)", row)[0].split())
            for row in first_cells("docs/operation/command-line.md")
            if row.startswith("c2c-agent")
        }
        assert told == {name.removeprefix("c2c-agent ") for name, _ in commands(main, "c2c-agent")}

    def test_findings(self) -> None:
        """Each finding of `check` has a paragraph, and none that there is not."""
        headings = set(re.findall(r"^## (.*)$", source("docs/operation/check.md"), re.MULTILINE))
        assert headings == set(findings())


def findings() -> Iterator[str]:
    """The names of all findings, as they stand in the program."""
    folder = Path(c2c_agent.__file__).parent
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Name("Finding" | "CheckFailed"), [ast.Constant(str(name)), *_]):
                    yield name
                case ast.Call(ast.Name("Finding" | "CheckFailed"), [ast.JoinedStr(parts), *_]):
                    yield from _with_names(parts)


def _with_names(parts: list[ast.expr]) -> Iterator[str]:
    match parts:
        case [ast.Constant(str(word)), ast.FormattedValue()]:
            yield _NAMED[word.strip()]
        case [ast.FormattedValue(), ast.Constant(str(word))]:
            for service in ("AMI", "FastAGI"):
                yield f"{service}{word}"
        case _:
            raise AssertionError(ast.dump(ast.JoinedStr(values=parts)))


class TestDevelopers:
    def test_packages(self) -> None:
        """The table of the house has every package."""
        house = source("docs/developers/index.md").split("## The house")[1].split("\n## ")[0]
        told = re.findall(r"^\| `(\w+)` \|", house, re.MULTILINE)
        folder = Path(c2c_agent.__file__).parent
        assert sorted(told) == sorted(file.parent.name for file in folder.glob("*/__init__.py"))

    def test_names(self) -> None:
        """What the walk through a call names is there."""
        names = re.findall(r"`([a-z]+(?:\.\w+)+)`", source("docs/developers/call.md"))
        assert len(names) > 20
        for name in names:
            pkgutil.resolve_name(f"c2c_agent.{name}")


class TestBlocks:
    def test_of_a_page(self) -> None:
        """Language, text, and heading; the name of a file from the first line."""
        found = blocks("docs/connect.md")
        assert Block("sh", "php call.php 100 200\n", "PHP") in found
        assert {block.file for block in found} >= {
            "call.mjs",
            "call.php",
            "call.py",
            "receiver.mjs",
            "receiver.php",
            "receiver.py",
        }


@pytest.mark.parametrize("group", [[], ["key"], ["setup"], ["store"]], ids=" ".join)
def test_help_is_whole(group: list[str]) -> None:
    """No command's description is cut where commands are listed, on a terminal of 80 columns."""
    told = CliRunner().invoke(main, [*group, "--help"], terminal_width=80).output
    listed = told.partition("Commands:")[2]
    assert listed.count("\n") > 1
    assert "..." not in listed


@pytest.mark.parametrize("name", [name for name, _ in commands(main, "c2c-agent")])
def test_help_is_sentences(name: str) -> None:
    """Each option and each command is explained by whole sentences."""
    command = dict(commands(main, "c2c-agent"))[name]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    for text in (command.help, *(option.help for option in options)):
        assert text is not None
        assert re.fullmatch(r"[A-Z].*[.]", text.strip(), re.DOTALL), text
