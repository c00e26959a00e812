"""What the dialplan leaves of a call in AstDB, for an agent that was away.

Pure. The contexts c2c-result and c2c-first-result of asterisk-conf/c2c-bridge.conf write it;
`evidence` says what it counts for.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from attrs import frozen

from c2c_agent.call.evidence import NotConfirmed, SaidBy
from c2c_agent.pbx.asterisk.last_word import refused_by

#: Of AstDB, where the dialplan leaves its records.
FAMILY: Final = "c2c"

#: What a record of c2c-first-result begins with.
_OF_FIRST: Final = "first,"

#: Dial statuses of a second leg that was not refused.
_NOT_REFUSED: Final = frozenset({"", "ANSWER", "CANCEL"})


@frozen
class FirstRecord:
    """Of a first leg that was not answered (c2c-first-result); so the second was not dialled.

    `status` is the dial status, empty where nothing was dialled: then the dialplan alone refused.
    `ended_at` is the end in epoch seconds of Asterisk's host.
    """

    status: str
    cause: int | None
    ended_at: float | None


@frozen
class SecondRecord:
    """Of a call whose first leg came to the bridge (c2c-result).

    `status` and `cause` are the second leg's. Where `status` is empty, the first leg was gone
    before the second was dialled, or did not confirm. In epoch seconds of Asterisk's host:
    `began_at` is when the first leg came to the bridge, `answered_at` when the second answered, if
    it did, `ended_at` the end. `refused_by`: what did not put it through; None: nobody knows.
    """

    status: str
    cause: int | None
    began_at: float | None
    answered_at: float | None
    ended_at: float | None
    not_confirmed: NotConfirmed | None
    refused_by: SaidBy | None = None


DialplanRecord: TypeAlias = FirstRecord | SecondRecord


def read(text: str) -> DialplanRecord:
    """What a record says. One that is cut short, or is none, says the less."""
    if text.startswith(_OF_FIRST):
        status, cause, ended = (text.removeprefix(_OF_FIRST).split(",") + [""] * 3)[:3]
        return FirstRecord(status, _cause(cause), _seconds(ended))
    told = text.split(",")
    status, cause, began, answered, ended, confirmed, own = (told + [""] * 7)[:7]
    return SecondRecord(
        status,
        _cause(cause),
        _seconds(began),
        _seconds(answered),
        _seconds(ended),
        next((why for why in NotConfirmed if why.value == confirmed), None),
        refused_by(own, told[7:]) if status not in _NOT_REFUSED else None,
    )


def _cause(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
