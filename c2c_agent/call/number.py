"""How people write telephone numbers, and which number they meant by it.

Pure. What stands between digits for the eye is dropped: blanks, dashes, dots, slashes, brackets,
marks that nobody sees, a `tel:` in front. Everything else is refused, and named. So is whatever has
two readings, such as a zero in brackets that may be dialled or left out: nobody is called by a
guess. What comes out is the number that was written, and nothing but `+` in front, digits, `*` and
`#`; that keeps every character that means something to Asterisk out of all that follows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

from c2c_agent.errors import C2CError

#: 32 characters and room for decoration; beyond that nobody meant a number.
_LONGEST_TEXT: Final = 128
_LARGEST_INT: Final = 10**32  # what has no more than 32 digits; Python refuses to print huge ones

_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")

#: In front of a number, with the slashes that some programs put behind it.
_SCHEME: Final = re.compile(r" *(?:tel|callto):", re.IGNORECASE)

#: Characters that nobody sees: marks of direction, joiners, a soft hyphen, a byte order mark. Not
#: U+202E, by which a number is shown backwards.
_UNSEEN: Final = frozenset(
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d"
    "\u2060\u2066\u2067\u2068\u2069\ufeff"
)

#: Characters that are read as another one, beside blanks, dashes and digits, which Unicode knows.
_READ_AS: Final = {
    "\u2212": "-",  # the minus sign
    "\u30fc": "-",  # the mark that Japanese keyboards have in the place of a dash
    "\uff0e": ".",
    "\uff0f": "/",
    "\uff08": "(",
    "\uff09": ")",
    "\uff0b": "+",
    "\ufe62": "+",
    "\uff0a": "*",
    "\uff03": "#",
}

#: What is dropped between digits.
_DECORATION: Final = str.maketrans("", "", " .-/()")

#: Country codes of one digit and of two (the list of codes assigned, annexed to ITU-T E.164); every
#: other one has three. None begins another.
_SHORT_CODE: Final = "(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58])"
_COUNTRY_CODE: Final = re.compile(f"{_SHORT_CODE}|(?!{_SHORT_CODE})[2-9][0-9]{{2}}")

#: Country codes with numbers that begin with a 0 which is dialled from abroad, too, by what
#: libphonenumber knows of them: behind these a `(0)` is none that everybody leaves out.
_ZERO_STAYS: Final = frozenset(
    re.findall("[0-9]+", "39 47 225 227 229 241 242 267 268 378 379 501 676 679 687 853")
)

#: A country code with its plus, and what stands in the bracket behind it.
_BEHIND_COUNTRY: Final = re.compile(r"[( .-]*\+[( .-]*([0-9]{1,3})[) ./-]*\(([^()]*)\)")
#: One digit by itself: what is dialled in front of a number within a country, perhaps.
_TRUNK: Final = re.compile(r" *[0-9](?![0-9])")
_ZERO: Final = re.compile(r"\([ .-]*0+[ .-]*\)")

#: A spreadsheet's number, as it shows one that it takes for a fraction.
_FRACTION: Final = re.compile(r"\+?[0-9]+\.0+")

#: Digits after which a slash or a `#` may begin something else: another number, or its last digits
#: alone, or an extension.
_ENOUGH: Final = 7
_LAST_DIGITS: Final = re.compile(" *[0-9]{1,3} *")

_PARAMETER: Final = re.compile(r";[ ]*([A-Za-z][A-Za-z0-9-]{0,20})=?[^;]{0,12}")
_EXTENSION: Final = re.compile("(?:e?xt?n?|extension|\u00d7)[.: ]*[0-9]{1,12}", re.IGNORECASE)
_OTHER_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}:")


class NumberError(C2CError):
    """A text that is no number that can be dialled; the message says what was found in it."""


def read_number(value: object, names: Collection[str] = ()) -> str:
    """The number that somebody wrote, or one of the `names` as it is; raises NumberError.

    `value` is text, or a whole number of JSON.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_INT:
        value = str(value)
    if not isinstance(value, str):
        raise NumberError("it is no text")
    if len(value) > _LONGEST_TEXT:
        raise NumberError(f"it is longer than {_LONGEST_TEXT} characters")
    if value in names:
        return value
    text = _without_scheme(value)
    strange = _strange(text)
    if strange is not None:
        raise NumberError(strange)
    text = _without_zero(text.lstrip(" /"))
    number = text.translate(_DECORATION)
    if "+" in number[1:]:
        raise NumberError("it has a '+' that is not at its beginning")
    if _NUMBER.fullmatch(number) is None:
        count = len(number.removeprefix("+"))
        raise NumberError(
            f"it has {count} digits, and 32 at most can be dialled" if count else "it has no digits"
        )
    _check_readings(text)
    return number


def opens_number(text: str) -> bool:
    """Whether a text is only what may stand in front of a number and its plus."""
    return len(text) <= _LONGEST_TEXT and not _without_scheme(text).translate(_DECORATION)


def _without_scheme(value: str) -> str:
    """The plain form of a text, without the `tel:` in front."""
    text = "".join(map(_read_as, value))
    return text[scheme.end() :] if (scheme := _SCHEME.match(text)) else text


def _read_as(character: str) -> str:
    """The plain form of a character of the text."""
    if character in _UNSEEN:
        return ""
    if character in _READ_AS:
        return _READ_AS[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return {"Zs": " ", "Pd": "-"}.get(category, character)


def _strange(text: str) -> str | None:
    """What else stands in a text than a number and its decoration; None: nothing."""
    first = re.search(r"[^0-9*#+ .()/-]", text)
    if first is None:
        return None
    at, found = first.start(), first[0]
    if other := _OTHER_SCHEME.match(text.lstrip()):
        return f"it begins with {other[0]!r}"
    behind = _PARAMETER.match(text, at) or _EXTENSION.match(text, at)
    if behind:
        return f"it has {_shown(behind[0])} behind it, and a number alone can be dialled"
    if found in ",;" or (found in "pPwW" and not text[at + 1 : at + 2].isalpha()):
        return f"it has a pause in it ({found!r})"
    if found.isalpha():
        letters = re.compile(r"[^\W\d_]{1,12}").match(text, at)
        return f"it has letters in it ({(letters[0] if letters else found)!r})"
    if found == "%":
        found = text[at : at + 3]
    return f"it has {_shown(found)} in it"


def _shown(text: str) -> str:
    """A text in quotes; what cannot be printed by its code."""
    if text.isprintable():
        return repr(text)
    [*_, character] = [one for one in text if not one.isprintable()]
    return f"U+{ord(character):04X}"


def _without_zero(text: str) -> str:
    """The text without a `(0)` that nobody dials; raises NumberError where somebody might."""
    behind = _BEHIND_COUNTRY.match(text)
    if behind is not None and _COUNTRY_CODE.fullmatch(behind[1]):
        inside = behind[2].translate(_DECORATION)
        bracket = f"'({behind[2]})' behind the country code"
        stays = behind[1] in _ZERO_STAYS
        if inside == "0" and not stays:
            text = text[: behind.start(2) - 1] + text[behind.end(2) + 1 :]
        elif (inside.startswith("0") and not (stays and len(inside) > 1)) or _TRUNK.match(
            behind[2]
        ):
            raise NumberError(f"{bracket} may be dialled or left out; write it as it is dialled")
    zero = _ZERO.search(text)
    if zero is not None:
        raise NumberError(f"{zero[0]!r} may be dialled or left out; write it as it is dialled")
    return text


def _check_readings(text: str) -> None:
    """Raise NumberError where what is dropped may have meant something."""
    if _FRACTION.fullmatch(text.strip()):
        raise NumberError("it ends like a number with a fraction ('.0')")
    for mark in re.finditer("[/#]", text):
        before, after = text[: mark.start()], text[mark.end() :]
        digits = before.translate(_DECORATION).removeprefix("+")
        if len(digits) < _ENOUGH or not digits.isdigit():
            continue
        rest = after.translate(_DECORATION)
        if mark[0] == "#" and rest:
            raise NumberError(f"'#{rest[:12]}' at its end may be an extension")
        if mark[0] == "/" and (rest.startswith("0") or _LAST_DIGITS.fullmatch(after)):
            raise NumberError(f"'/{rest[:12]}' at its end may be another number")
