"""What a PBX said: status, text, and the JSON in it, looked at with pointers. Pure.

An answer is taken for JSON when it is JSON, whatever its Content-Type says. Numbers stay the text
that they are spelled with: so 1 and "1" are the same, and none is too long or loses a digit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Final

from attrs import define, frozen

from c2c_agent.errors import C2CError

#: Steps of a pointer, and elements of a list that are looked at.
_DEEPEST: Final = 16
_MOST_ELEMENTS: Final = 1000

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")


class PointerError(C2CError):
    """A text is no JSON pointer; the message says what would be right."""


class Missing:
    """There is nothing where a pointer points to."""


MISSING: Final = Missing()


@define(slots=False)
class Answer:
    """An answer: its HTTP status and its body, of which no more than 64 KiB are ever read."""

    status: int
    body: bytes = b""

    @cached_property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", errors="replace")

    @cached_property
    def document(self) -> Any:
        """The JSON that the body is; MISSING where it is none."""
        try:
            return json.loads(self.body, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):  # also where it is no UTF-8
            return MISSING


@frozen
class Pointer:
    """A JSON pointer (RFC 6901); a step `*` stands for every element."""

    steps: tuple[str, ...]

    @property
    def is_single(self) -> bool:
        """Whether it points to one place."""
        return "*" not in self.steps

    def get(self, document: Any) -> Any:
        """What is at this place; MISSING where nothing is."""
        return next(self.each(document), MISSING)

    def each(self, document: Any) -> Iterator[Any]:
        """What is at all places that it points to; the first thousand of them."""
        return islice(_walk(document, self.steps), _MOST_ELEMENTS)


def parse_pointer(text: str, *, several: bool = False) -> Pointer:
    """The pointer that a text is; `several`: it may have `*` steps. Raises PointerError."""
    if text and not text.startswith("/"):
        raise PointerError("must be a JSON pointer such as /result/id")
    if _BAD_ESCAPE.search(text):
        raise PointerError("may have ~ only in ~0 and ~1, as RFC 6901 says")
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])
    if len(steps) > _DEEPEST:
        raise PointerError(f"may have {_DEEPEST} steps at most")
    pointer = Pointer(steps)
    if not several and not pointer.is_single:
        raise PointerError("may have the step * only in for_each")
    return pointer


def _walk(value: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    if not steps:
        if value is not MISSING:
            yield value
        return
    step, rest = steps[0], steps[1:]
    if step == "*":
        elements = value.values() if isinstance(value, Mapping) else value
        for element in elements if isinstance(value, (Mapping, list)) else ():
            yield from _walk(element, rest)
    elif isinstance(value, Mapping):
        yield from _walk(value.get(step, MISSING), rest)
    elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
        yield from _walk(value[int(step)], rest)


def spelled(value: Any) -> str | None:
    """A value as JSON spells it, a string without its quotes; None for lists and objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (str, int, float)):
        return str(value)
    return None
