"""What a dialplan loses, or costs, where Local channels leave a talk to the two who talk.

Pure. A context of the second leg is dialled through a Local channel; when the phone behind it has
answered, the channel takes itself out (core_local.c, `optimize`). What the context has set for it
ends at that moment. What is said here was seen on Asterisk 16.28 and 22.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from c2c_agent.ami.message import Message
from c2c_agent.check.finding import Finding

#: Where a phone is taken out of the channels that rang it (asterisk-conf/c2c-bridge.conf).
TAKEN: Final = "c2c-taken"

#: What goes on to the context of the dial_as user, without voicemail.
NO_VOICEMAIL: Final = "c2c-no-voicemail"

_LIMIT: Final = re.compile(r"TIMEOUT\(absolute\)=(?!0*\s*$)", re.IGNORECASE)
_GOES_ON: Final = re.compile(r"^[^,]*,[^,]*,[^,]*g")
_RINGS: Final = frozenset({"Dial", "Queue"})


def of_second_leg(name: str, items: Iterable[Message]) -> Finding | None:
    """What the context `name` would lose; `items` are those that ShowDialPlan lists of it."""
    lost = dict.fromkeys(what for item in items for what in _lost(item))
    if not lost:
        return None
    return Finding(
        f"context {name}",
        f"loses {', '.join(lost)}, when the Local channel through it leaves the talk",
        "Give the rule of asterisk.second_leg that leads there `optimize: false`, if the context "
        "needs that for the whole talk.",
        warning=True,
    )


def _lost(item: Message) -> Iterable[str]:
    application, data = item.get("Application"), item.get("AppData")
    if application == "Set" and _LIMIT.search(data):
        yield "its limit, TIMEOUT(absolute)"
    if application == "Set" and "hangup_handler_push" in data:
        yield "its hangup handler, which then runs at the answer"
    if item.get("Extension") == "h":
        yield "its extension h, which then runs at the answer"
    if application in _RINGS and _GOES_ON.match(_without_brackets(data)):
        yield f"what comes after {application}"


def _without_brackets(data: str) -> str:
    """Arguments of an application without what stands in brackets, which may have commas."""
    return re.sub(r"\([^()]*\)|\{[^{}]*\}", "", data)


def of_first_leg(name: str, items: Iterable[Message]) -> Finding | None:
    """A context that rings the first as version 0.1 did."""
    told = [item.get("AppData") for item in items]
    if any(TAKEN in data for data in told):
        return None
    return Finding(
        f"context {name}",
        "keeps its channels in the talk, which costs Asterisk several times what an ordinary call "
        "does",
        "Let its Dial have the option G, and look at the contacts before, as "
        "asterisk-conf/c2c-first.conf does.",
        warning=True,
    )
