"""The pages of the documentation, as the tests read them: their fenced blocks, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

PROJECT: Final = Path(__file__).parent.parent
DOCS: Final = PROJECT / "docs"

_FENCE: Final = re.compile(r"^```([a-z{}]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)

#: The name of a file in the first line of a program, such as `# call.py` or `<?php // call.php`.
_FILE: Final = re.compile(r"(?:<\?php )?(?:#|//) ([a-z]+\.[a-z]+)\n")


@frozen
class Block:
    """A fenced block: its language, its text, and the heading that it stands below."""

    language: str
    text: str
    heading: str

    @property
    def file(self) -> str | None:
        """The file that it is to be put into, if its first line names one."""
        found = _FILE.match(self.text)
        return found[1] if found else None


def source(name: str) -> str:
    """The source of a page, by its path below the project's folder."""
    return (PROJECT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    """The fenced blocks of a page."""
    return list(_blocks(source(name)))


def prose(name: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", source(name))


def _blocks(text: str) -> Iterator[Block]:
    for fence in _FENCE.finditer(text):
        before = _FENCE.sub("", text[: fence.start()])  # a comment of a shell is no heading
        headings = _HEADING.findall(before)
        yield Block(fence[1], fence[2], headings[-1] if headings else "")


def pages() -> list[str]:
    """The paths of all pages, README included."""
    found = [str(page.relative_to(PROJECT)) for page in sorted(DOCS.rglob("*.md"))]
    return ["README.md", "SECURITY.md", "CHANGES.md", "asterisk-conf/README.md", *found]
