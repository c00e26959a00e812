"""Asterisk's configuration files as text: their sections and includes, and marked blocks in them.

Pure. Files that belong to somebody else get a block between two marks, which can be taken out
again to the byte. `taken_back` is the way back for one file.
"""

from __future__ import annotations

import re
from typing import Final

from c2c_agent.errors import C2CError

_BEGIN: Final = "; --- begin of c2c-agent (made by `c2c-agent setup asterisk`, which can undo it)"
_END: Final = "; --- end of c2c-agent"
_MARKED: Final = re.compile(
    rf"\n?^{re.escape(_BEGIN)}\n(?P<body>.*?)^{re.escape(_END)}(?:\n|\Z)", re.DOTALL | re.MULTILINE
)

#: `;-- … --;` over several lines, and `;` to the line's end (Asterisk main/config.c).
_COMMENT: Final = re.compile(r";--(?!-).*?--;|(?<!\\);[^\n]*", re.DOTALL)
_SECTION: Final = re.compile(r"^[ \t]*\[([^\]\n]+)\]", re.MULTILINE)
_SETTING: Final = re.compile(r"^[ \t]*(\w+)[ \t]*=>?[ \t]*([^\n]*?)[ \t\r]*$", re.MULTILINE)


class SetupError(C2CError):
    """It cannot be set up, or undone; the message says what to do."""


def includes(text: str, file: str) -> bool:
    """Whether an `#include` names this file, given as a regular expression."""
    line = rf"^[ \t]*#(?:try)?include[ \t]+[\"<]?(?:[^\"<>\s]*/)?{file}[\">]?[ \t\r]*$"
    return re.search(line, _COMMENT.sub("", text), re.MULTILINE) is not None


def has_section(text: str, name: str) -> bool:
    """Whether there is a section of that name, be it empty."""
    return name in _SECTION.findall(_COMMENT.sub("", text))


def settings(text: str, section: str) -> dict[str, str]:
    """The settings of a section, all parts of it together; the last of a name counts."""
    _, *parts = _SECTION.split(_COMMENT.sub("", text))
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name == section:
            pairs = _SETTING.findall(body)
            found.update((key.lower(), value.replace("\\;", ";")) for key, value in pairs)
    return found


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
