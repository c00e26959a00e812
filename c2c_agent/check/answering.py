"""Numbers that answer by themselves: as `dial_first`, they have the second rung for nobody.

Pure. A queue, a PIN or an announcement answers before a person is there, and to Asterisk that is an
answer like any other. What is looked at are the steps of an extension up to the first that lets a
phone ring; where a `Goto` leads is not.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Final

from c2c_agent.ami.message import Message
from c2c_agent.check.finding import Finding
from c2c_agent.policy.pattern import PatternError, numbers_of

#: Applications that answer a channel which is not answered yet (each one's file in apps/).
_ANSWERS: Final = frozenset(
    {
        *("Answer", "AlarmReceiver", "Authenticate", "BackGround", "ConfBridge", "ControlPlayback"),
        *("DISA", "Dictate", "Directory", "Echo", "Festival", "MP3Player", "MeetMe", "Milliwatt"),
        *("Page", "Playback", "Queue", "Read", "Record", "SayAlpha", "SayDigits", "SayNumber"),
        *("SayUnixTime", "VMAuthenticate", "VoiceMail", "VoiceMailMain", "WaitForSilence"),
    }
)
#: Those that let a phone ring, so that what answers is a device.
_RINGS: Final = frozenset({"Dial", "FollowMe", "RetryDial"})

#: As many numbers are named.
_MOST: Final = 5

#: Patterns of more numbers are not looked at: that some key may have one rung first is no news.
_MOST_OF_PATTERN: Final = 1000


def included(items: Iterable[Message]) -> list[str]:
    """The contexts that a context includes; `items` are those that ShowDialPlan lists of it."""
    return [name for item in items if (name := item.get("IncludeContext"))]


def of_contexts(items: Iterable[Message], is_rung_unasked: Callable[[str], bool]) -> Finding | None:
    """Which numbers answer by themselves in the contexts that `items` are of.

    `is_rung_unasked`: whether some key may have a number rung first, and nobody is asked there.
    """
    first_steps = _first_steps(items)
    found = {
        extension: application
        for extension, application in first_steps.items()
        if application and any(map(is_rung_unasked, _numbers(extension, first_steps)))
    }
    if not found:
        return None
    named = ", ".join(f"{number} ({what})" for number, what in sorted(found.items())[:_MOST])
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return Finding(
        "first numbers",
        f"answered by the dialplan itself: {named}{more}; rung first, such a number has the second "
        "rung before a person is there",
        "Give the keys that may have them rung first `confirm: auto`, or take these numbers out of "
        "what they may (`first`).",
        warning=True,
    )


def _first_steps(items: Iterable[Message]) -> Mapping[str, str]:
    """What answers first, by extension; empty for extensions that let a phone ring before."""
    decided: dict[str, str] = {}
    for item in items:
        extension, application = item.get("Extension"), item.get("Application")
        if extension in decided:
            continue
        if application in _RINGS:
            decided[extension] = ""
        elif application in _ANSWERS and "noanswer" not in item.get("AppData"):
            decided[extension] = application
    return decided


def _numbers(extension: str, others: Container[str]) -> Iterable[str]:
    """The numbers that an extension is dialled by; of a pattern those without one of their own."""
    if not extension.startswith("_"):
        return [extension]
    try:
        numbers = numbers_of(extension, _MOST_OF_PATTERN) or ()
    except PatternError:  # one that Asterisk knows, and no key can have
        return ()
    return (number for number in numbers if number not in others)
