"""The man pages say everything: each command, option and setting stands in them.

The settings are put into their page from the configuration itself (`docs.tables`). Here they are
looked for by a way of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import click
import pytest

from c2c_agent.__main__ import main
from c2c_agent.config.sections import Config
from docs.tables import filled

PAGES: Final = Path(__file__).parent.parent / "docs" / "man"


def page(name: str) -> str:
    """A page, with what is generated in it."""
    return filled((PAGES / f"{name}.md").read_text(encoding="utf-8"))


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Each command that does something, by its whole name."""
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(below, f"{name} {word}")
    else:
        yield name, command


def settings(section: type[Any], path: str = "") -> Iterator[str]:
    """The dotted names of all settings."""
    types = get_type_hints(section)
    for attribute in attrs.fields(section):
        name = f"{path}{attribute.name}"
        below, brackets = _below(types[attribute.name])
        if attribute.metadata.get("values"):
            below = None  # it says itself what stands there
        if below is None:
            yield name
        else:
            yield from settings(below, f"{name}{brackets}.")


def _below(kind: Any) -> tuple[type[Any] | None, str]:
    """The section that a setting is, or is a list of."""
    if get_origin(kind) in {Union, UnionType}:
        kind = next(part for part in get_args(kind) if part is not type(None))
    brackets = ""
    if get_origin(kind) is Sequence:
        [kind] = get_args(kind)
        brackets = "[]"
    if get_origin(kind) is Mapping:
        kind, brackets = get_args(kind)[1], ".<name>"
    # A rule of a leg, a pattern and hours are explained with the list that they stand in.
    explained = {"Hours", "LegRule", "Pattern", "SecondLegRule"}
    known = isinstance(kind, type) and attrs.has(kind) and kind.__name__ not in explained
    return (kind, brackets) if known else (None, "")


@pytest.mark.parametrize("name", [name for name, _ in commands(main, "c2c-agent")])
def test_commands(name: str) -> None:
    """Each command has a paragraph, with each of its options."""
    command = dict(commands(main, "c2c-agent"))[name]
    paragraphs = re.split(r"\n\n(?=\*\*c2c-agent )", page("c2c-agent.8"))
    [paragraph] = [text for text in paragraphs if text.startswith(f"**{name}**")]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert f"*{str(parameter.name).upper()}*" in paragraph
        elif not {"--config", "--url", "--ca-file"}.intersection(parameter.opts):
            assert f"**{parameter.opts[0]}**" in paragraph


def test_common_options() -> None:
    """What most commands have in common is said once."""
    for option in ("--config", "--url", "--ca-file", "--version", "--help"):
        assert f"**{option}**" in page("c2c-agent.8")


def test_settings() -> None:
    """Each setting of the configuration has an entry, and there is none of another."""
    entries = re.findall(r"^([^\n]+)\n: ", page("c2c-agent.yml.5"), re.MULTILINE)
    assert [entry.partition(" (")[0] for entry in entries] == list(settings(Config))
