"""What the PBX says, as text: decoded, and one copy of what it says again and again.

Pure. What the PBX says comes as a new string each time, and stays for as long as the call does: so
there is `one_copy` of strings that stand in many calls, or several times in one. Not `sys.intern`:
with texts that come and go its table is made anew again and again, and now and then twice as large.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

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
