"""An event in the words of Zammad's generic CTI interface (its documentation, "Generic CTI").

Zammad knows three events: `newCall`, `answer` and `hangup`; a call that never gets the last stays
in its log as one that goes on. So each call that was told of as new gets exactly one `hangup`, with
the call's own final event, which is never lost; a call that never rang anybody is not told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: Our events, and Zammad's.
_EVENTS: Final[Mapping[str, str]] = {
    "call.accepted": "newCall",
    "call.connected": "answer",
    "call.ended": "hangup",
    "call.rejected": "hangup",
}

#: What is said of the end ("Call Hangup", `cause`). A `cancel` is one by the caller.
_CAUSES: Final[Mapping[str, str]] = {
    "connected": "normalClearing",
    "first_busy": "cancel",
    "first_no_answer": "cancel",
    "first_declined": "cancel",
    "first_unreachable": "cancel",
    "second_busy": "busy",
    "second_no_answer": "noAnswer",
    "second_declined": "noAnswer",
    "second_unreachable": "notFound",
    "abandoned": "cancel",
    "cancelled": "cancel",
    "rejected": "congestion",
    "pbx_error": "congestion",
    "expired": "cancel",
    "unknown": "normalClearing",
}

#: In the timeline of a call: it was told of as new.
_BEGAN: Final = "dialing_first"


def told(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What Zammad is told of an event.

    To Zammad the first leg is the caller: the person who clicked. `user` is whose call it is.
    """
    name = _EVENTS.get(event["type"])
    call = event["call"]
    if name is None or not any(entry["event"] == _BEGAN for entry in call["timeline"]):
        return None
    said = {
        "event": name,
        "from": call["dial_first"]["number"],
        "to": call["dial_second"]["number"],
        "direction": "out",
        "callId": event["request_id"],
        "user": call["dial_as"],
    }
    if name == "hangup":
        said["cause"] = _CAUSES.get(call["outcome"], "normalClearing")
    return said
