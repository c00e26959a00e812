"""Texts: what a PBX says, decoded and kept once; what users are told of a setting; strict JSON.

Pure. What the PBX says comes as a new string each time, and stays for as long as the call does: so
there is `one_copy` of strings that stand in many calls, or several times in one. Not `sys.intern`:
with texts that come and go its table is made anew again and again, and now and then twice as large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NoReturn

#: Characters; what is longer is no word that all calls have in common, and would fill the memory.
_LONGEST: Final = 200


def decode(raw: bytes | bytearray) -> str:
    r"""Make text of what Asterisk sent: UTF-8, with any other byte shown as its escape `\xNN`."""
    try:
        return raw.decode()  # twice as fast as with the arguments below
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace")


def one_copy(text: str) -> str:
    """The text, as the object that it was when it came here lately."""
    return _lately(text) if len(text) <= _LONGEST else text


@lru_cache(maxsize=1024)
def _lately(text: str) -> str:
    return text


def described(text: str, *, values: str = "", default: str = "") -> Mapping[str, str]:
    """What users are told of a setting, as `metadata` of its field.

    `text`: what it means, in Markdown. `values`: which values it can have, where type and rule do
    not say it. `default`: what counts where it is not given, where the field's own default does
    not say it. The documentation of the configuration is made of these.
    """
    told = {"text": text, "values": values, "default": default}
    return {name: words for name, words in told.items() if words}


def no_constant(name: str) -> NoReturn:
    """Refuse `NaN` and its like, which are no JSON: as `parse_constant` of `json.loads`."""
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    """A number, as `parse_float`; one beyond all numbers could not be written as JSON again."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number
