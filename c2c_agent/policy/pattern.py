"""Asterisk's extension patterns: which numbers a rule of the configuration matches.

Pure. A pattern starts with an underscore; X is 0-9, Z is 1-9, N is 2-9, `[15-9]` one of those
listed, `.` at the end one or more of anything, `!` at the end anything or nothing. Without the
underscore the text stands for itself. Dashes count neither here nor in a number (Asterisk
main/pbx.c, `ext_cmp_pattern_pos`, and the "Pattern Matching" page of its documentation).

`*`, `#` and `+` open more than a number does: call forwarding, other networks, other countries. So
there are two readings. What a pattern permits, it `matches`: those three only where they stand in
it themselves. What a pattern is about, it `covers`: `.` and `!` are anything, as to Asterisk; what
is refused, and how a number is dialled, goes by that.
"""

from __future__ import annotations

import itertools
import math
import re
import string
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from c2c_agent.errors import C2CError

_CLASSES: Final = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
#: What the tails stand for: in a pattern that permits, and as Asterisk reads them.
_TAILS: Final = {".": "[0-9A-Za-z]+", "!": "[0-9A-Za-z]*"}
_WIDE_TAILS: Final = {".": ".+", "!": ".*"}
_LITERAL: Final = re.compile(r"\+?(?!-*\Z)[A-Za-z0-9_*#-]{1,32}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9*#+]")
_SYMBOLS: Final = string.digits + string.ascii_letters + "*#+"


class PatternError(C2CError):
    """A text that is no extension pattern; the message says what would be right."""


@frozen
class Pattern:
    """One pattern, ready to match.

    `literal` is the extension itself where the text is no pattern, else None.
    """

    text: str
    literal: str | None
    _regex: re.Pattern[str] = field(eq=False, repr=False)
    _wide: re.Pattern[str] = field(eq=False, repr=False)

    def matches(self, number: str) -> bool:
        """Whether the whole `number` matches; `*`, `#` and `+` only where the pattern has them."""
        return self._regex.fullmatch(number.replace("-", "")) is not None

    def covers(self, number: str) -> bool:
        """Whether the whole `number` matches as Asterisk would have it."""
        return self._wide.fullmatch(number.replace("-", "")) is not None


def parse_pattern(text: str) -> Pattern:
    """Read a pattern; raises PatternError."""
    if not text.startswith("_"):
        if _LITERAL.fullmatch(text) is None:
            raise PatternError(
                f"{text!r} is neither a number nor a pattern; a pattern starts with an underscore"
            )
        itself = re.compile(re.escape(text.replace("-", "")))
        return Pattern(text, text, itself, itself)
    narrow, wide = (re.compile(_translate(text, tails)) for tails in (_TAILS, _WIDE_TAILS))
    return Pattern(text, None, narrow, wide)


def numbers_of(text: str, most: int) -> list[str] | None:
    """All numbers that a pattern of a fixed length matches; None where there are more than `most`.

    Raises PatternError.
    """
    if text[-1] in _TAILS:
        return None
    members = [
        [one for one in _SYMBOLS if re.fullmatch(part, one)] for part in _parts(text, _TAILS)
    ]
    if math.prod(map(len, members)) > most:
        return None
    return ["".join(number) for number in itertools.product(*members)]


def _translate(text: str, tails: Mapping[str, str]) -> str:
    """The regular expression for a pattern's text."""
    return "".join(_parts(text, tails))


def _parts(text: str, tails: Mapping[str, str]) -> list[str]:
    """The regular expression for each symbol of a pattern's text."""
    parts: list[str] = []
    rest = text[1:]
    if not rest.replace("-", ""):
        raise PatternError(f"{text!r} matches nothing; something must follow the underscore")
    while rest:
        symbol, rest = rest[0], rest[1:]
        if symbol == "-":
            continue
        if symbol in tails:
            if rest:
                raise PatternError(f"{text!r}: {symbol!r} must be the last character")
            parts.append(tails[symbol])
        elif symbol == "[":
            inside, bracket, rest = rest.partition("]")
            if not bracket:
                raise PatternError(f"{text!r}: a '[' without its ']'")
            parts.append(_character_set(text, inside))
        elif symbol.upper() in _CLASSES:
            parts.append(_CLASSES[symbol.upper()])
        elif _PLAIN.fullmatch(symbol):
            parts.append(re.escape(symbol))
        else:
            raise PatternError(f"{text!r}: {symbol!r} cannot stand in an extension pattern")
    return parts


def _character_set(text: str, inside: str) -> str:
    """The regular expression for the inside of a pair of brackets: characters and ranges."""
    members: set[str] = set()
    position = 0
    while position < len(inside):
        low = high = inside[position]
        position += 1
        if inside[position : position + 1] == "-" and position + 1 < len(inside):
            high = inside[position + 1]
            position += 2
        # A range may not reach over * or +, which have to stand there themselves.
        known = _PLAIN.fullmatch(low) and _PLAIN.fullmatch(high)
        if not known or low > high or not (low == high or (low + high).isalnum()):
            raise PatternError(
                f"{text!r}: [{inside}] is no set of digits and ranges such as [15-9]"
            )
        members.update(chr(code) for code in range(ord(low), ord(high) + 1))
    if not members:
        raise PatternError(f"{text!r}: empty brackets match nothing")
    return "[" + "".join(re.escape(member) for member in sorted(members)) + "]"
