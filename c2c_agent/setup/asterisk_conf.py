"""Asterisk's configuration files as text: their sections and includes, and marked blocks in them.

Pure. Files that belong to somebody else get a block between two marks, which can be taken out
again to the byte. `taken_back` is the way back for one file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from c2c_agent.errors import C2CError

_BEGIN: Final = "; --- begin of c2c-agent (made by `c2c-agent setup asterisk`, which can undo it)"
_END: Final = "; --- end of c2c-agent"
_MARKED: Final = re.compile(
    rf"\n?^{re.escape(_BEGIN)}\n(?P<body>.*?)^{re.escape(_END)}(?:\n|\Z)", re.DOTALL | re.MULTILINE
)

#: `;-- … --;` over several lines, and `;` to the line's end (Asterisk main/config.c).
_COMMENT: Final = re.compile(r";--(?!-).*?--;|(?<!\\);[^\n]*", re.DOTALL)
_SECTION: Final = re.compile(r"^[ \t]*\[([^\]\n]+)\](?:[ \t]*\(([^)\n]*)\))?", re.MULTILINE)
_INCLUDE: Final = re.compile(
    r"^[ \t]*#(?:try)?include[ \t]+[\"<]?([^\"<>\n]*?)[\">]?[ \t\r]*$", re.MULTILINE
)
_EXEC: Final = re.compile(r"^[ \t]*#exec[ \t]+([^\n]+?)[ \t\r]*$", re.MULTILINE)

#: Files within each other that Asterisk reads (main/config.c, MAX_INCLUDE_LEVEL).
_DEEPEST: Final = 10
_SETTING: Final = re.compile(r"^[ \t]*(\w+)[ \t]*=>?[ \t]*([^\n]*?)[ \t\r]*$", re.MULTILINE)


class SetupError(C2CError):
    """It cannot be set up, or undone; the message says what to do."""


def includes(text: str, file: str) -> bool:
    """Whether an `#include` names this file, given as a regular expression."""
    return before_include(text, file) is not None


def before_include(text: str, file: str) -> str | None:
    """What stands before the `#include` of this file, a regular expression; None without one."""
    line = rf"^[ \t]*#(?:try)?include[ \t]+[\"<]?(?:[^\"<>\s]*/)?{file}[\">]?[ \t\r]*$"
    bare = _COMMENT.sub("", text)
    found = re.search(line, bare, re.MULTILINE)
    return None if found is None else bare[: found.start()]


def has_section(text: str, name: str) -> bool:
    """Whether there is a section of that name, be it empty."""
    return name in _sections(text)


def settings(text: str, section: str) -> dict[str, str]:
    """The settings of a section as Asterisk has them; the last of a name counts.

    A section that says so adds to the one of its name (`(+)`), or begins with what a template has.
    Of a second one that does not say so, Asterisk reads nothing.
    """
    return _sections(text).get(section, {})


def _sections(text: str) -> dict[str, dict[str, str]]:
    """Every section with its settings, as main/config.c puts them together."""
    sections: dict[str, dict[str, str]] = {}
    templates: dict[str, dict[str, str]] = {}
    before, *parts = _SECTION.split(_COMMENT.sub("", text))
    del before
    for name, options, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        words = [word.strip() for word in (options or "").split(",")]
        kind = templates if "!" in words else sections
        if "+" in words:
            kind = sections if name in sections else templates
            own = kind.setdefault(name, {})
        elif name in kind:
            continue
        else:
            own = kind[name] = {}
        for word in words:
            own.update(templates.get(word, sections.get(word, {})) if word not in "!+" else {})
        pairs = _SETTING.findall(body)
        own.update((key.lower(), value.replace("\\;", ";")) for key, value in pairs)
    return sections


def included(text: str) -> list[str]:
    """What `#include` and `#tryinclude` name, in order; wildcards may be in it."""
    return [found[1] for found in _INCLUDE.finditer(_COMMENT.sub("", text))]


def executed(text: str) -> list[str]:
    """The commands of `#exec`, whose output Asterisk reads in their place."""
    return [found[1].strip(' \t"<>') for found in _EXEC.finditer(_COMMENT.sub("", text))]


def as_read(path: str, found: Mapping[str, str], folder: str, *, depth: int = 0) -> str:
    """A file's text with that of each file that it includes behind the line that includes it.

    As far as they are in `found`, by their paths; relative ones are in `folder`, and a wildcard
    takes them in order of name.
    """
    lines = []
    for line in _COMMENT.sub("", found.get(path, "")).split("\n"):
        lines.append(line)
        for name in included(line) if depth < _DEEPEST else []:
            wanted = name if name.startswith("/") else f"{folder}/{name}"
            lines += [
                as_read(other, found, folder, depth=depth + 1)
                for other in sorted(found)
                if other == wanted or fnmatchcase(other, wanted)
            ]
    return "\n".join(lines)


def with_block(path: str, text: str, body: str) -> tuple[str, str]:
    """The text with our block at its end, and the block; raises SetupError.

    The line's end before the block is part of it: without the block the text is what it was, also
    where its last line had no end.
    """
    there = _MARKED.search(text)
    if there is not None and not set(there["body"].split("\n")) <= set(body.split("\n")):
        raise SetupError(
            f"{path}: the block of c2c-agent was edited: move your lines out of it, and remove "
            "what is left of it; then run this again."
        )
    block = f"\n{_BEGIN}\n{body}{_END}\n"
    return without_block(text) + block, block


def without_block(text: str) -> str:
    """The text as it would be without our block."""
    there = _MARKED.search(text)
    if there is None:
        return text
    before, after = text[: there.start()], text[there.end() :]
    joint = "\n" if before and after and not before.endswith("\n") else ""
    return before + joint + after


def body_of(text: str) -> str:
    """What stands between the marks; empty where there are none."""
    there = _MARKED.search(text)
    return "" if there is None else there["body"]


def block_of(text: str) -> str | None:
    """The block with its marks, as it stands there now."""
    there = _MARKED.search(text)
    return None if there is None else there[0]


def taken_back(
    path: str, current: str, original: str | None, *, ours: bool, blocked: bool, block_ours: bool
) -> str | None:
    """The file as it is to be after an undo, None for none; raises SetupError.

    `ours`: the file is just as it was written; `blocked`: it is one that got a block;
    `block_ours`: that block is just as it was written, whatever was edited around it.
    """
    if ours:
        return original
    if current == original or (blocked and _BEGIN not in current):
        return current
    if blocked and block_ours:
        rest = without_block(current)
        return None if original is None and not rest else rest
    what = "the block of c2c-agent in it was edited" if blocked else "it was edited"
    raise SetupError(f"{path}: {what} since the setup")
