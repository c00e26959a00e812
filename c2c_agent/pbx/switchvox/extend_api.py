"""The Extend API of a Switchvox: requests as bytes, answers as values.

Pure. A request names a method and its parameters and goes to `/json`. The answer is the tree of the
older XML interface as JSON: one child is an object, several are a list, none is left out; numbers
come as numbers or as text. So everything is read as text, and nothing is relied on that is not
needed.
"""

from __future__ import annotations

import json
import re
from calendar import timegm
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from attrs import frozen

#: Where requests go; the path picks the format.
PATH: Final = "/json"

#: "Your call failed to connect (Originate failed)": a phone may have rung.
ORIGINATE_FAILED: Final = "41591"

#: "That account_id is invalid": of a well-formed one, so that there is no such account.
UNKNOWN_ACCOUNT: Final = "84711"

#: Errors that a request is refused with before anything was tried: something missing, or of the
#: wrong length or shape; an account that is none or may not do it; a request that is not
#: understood.
_REFUSALS: Final = frozenset(
    {
        "10000",
        "10010",
        "10011",
        "10012",
        "10013",
        "10014",
        "11014",
        UNKNOWN_ACCOUNT,
        "27168",
        "74151",
    }
)

#: Errors that say that an account id is not, or no more, that of an extension.
WRONG_ACCOUNT: Final = frozenset({"10014", "11014", UNKNOWN_ACCOUNT})

#: Errors that say that the login lacks a right.
NOT_PERMITTED: Final = frozenset({"27168"})

#: Seconds within which an unknown error came too early for a phone to have rung.
AT_ONCE: Final = 1.0

_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,6})?")


@frozen
class ApiFault:
    """One error of the PBX, in its own words."""

    code: str
    message: str


@frozen
class Result:
    """The PBX did what was asked. `data`: the response as it came."""

    tree: Mapping[str, object]
    data: Mapping[str, object]


@frozen
class Failure:
    """The PBX did not, and says why."""

    faults: tuple[ApiFault, ...]
    data: Mapping[str, object]

    @property
    def codes(self) -> set[str]:
        """All the codes in it."""
        return {fault.code for fault in self.faults}

    @property
    def messages(self) -> tuple[str, ...]:
        """All that it says."""
        return tuple(fault.message for fault in self.faults)

    @property
    def text(self) -> str:
        """The same, as one text."""
        return "; ".join(self.messages)


@frozen
class Nonsense:
    """No answer of an Extend API; `reason` says what it is instead."""

    reason: str


Answer: TypeAlias = Result | Failure | Nonsense


@frozen
class CurrentCall:
    """A call that the PBX has at present. `started_at` is on its own clock, in seconds."""

    id: str
    state: str
    from_number: str
    to_number: str
    started_at: float | None


@frozen
class LoggedCall:
    """A call in the PBX's log. `talked`: somebody answered it; `seconds`: of talk.

    `words` are what the PBX shows of its events.
    """

    id: str
    from_number: str
    to_number: str
    started_at: float | None
    talked: bool
    talk_seconds: float | None
    total_seconds: float | None
    words: tuple[str, ...]


def request(method: str, parameters: Mapping[str, object], transaction_id: str = "") -> str:
    """The body of a request; `transaction_id` comes back in the answer of newer releases."""
    asked: dict[str, object] = {"method": method, "parameters": parameters}
    if transaction_id:
        asked["transaction_id"] = transaction_id
    return json.dumps({"request": asked})


def answer(body: bytes) -> Answer:
    """What the body of an answer says."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        kind = "an empty answer" if not body.strip() else "no JSON"
        return Nonsense(f"{kind} came in the place of an answer")
    neither = Nonsense("the answer has neither a result nor errors")
    match document:
        case {"response": {"errors": {"error": errors}} as response}:
            faults = _faults(errors)
            return Failure(faults, response) if faults else neither
        case {"response": {"result": Mapping() as tree} as response}:
            return Result(tree, response)
        case {"response": {"result": None | "" | []} as response}:
            return Result({}, response)  # an empty element of the tree
    return neither


def _faults(errors: object) -> tuple[ApiFault, ...]:
    return tuple(
        ApiFault(_text(error.get("code")), _text(error.get("message")))
        for error in many(errors)
        if isinstance(error, Mapping)
    )


def failed_after_trying(failure: Failure, seconds: float) -> bool:
    """Whether a phone may have rung before the PBX gave this answer, after so many seconds."""
    if ORIGINATE_FAILED in failure.codes:
        return True
    return not failure.codes <= _REFUSALS and seconds >= AT_ONCE


def many(child: object) -> Sequence[object]:
    """The children of one name, however many there are."""
    if child is None:
        return ()
    return child if isinstance(child, list) else (child,)


def inside(tree: object, *names: str) -> object:
    """What stands in a tree under these names; None where it does not."""
    for name in names:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(name)
    return tree


def text_of(tree: object, *names: str) -> str:
    """The same as text; "" where nothing stands there."""
    return _text(inside(tree, *names))


def current_calls(result: Result) -> tuple[CurrentCall, ...] | None:
    """The calls in an answer to `currentCalls.getList`; None where it does not tell them."""
    listed = inside(result.tree, "current_calls")
    children = many(inside(listed, "current_call"))
    counted = text_of(listed, "total_items")
    if not children and counted != "0":
        return None
    return tuple(
        CurrentCall(
            id=text_of(child, "id"),
            state=text_of(child, "state").lower(),
            from_number=text_of(child, "from_caller_id_number"),
            to_number=text_of(child, "to_caller_id_number"),
            started_at=pbx_time(text_of(child, "start_time")),
        )
        for child in children
        if text_of(child, "id")
    )


def logged_calls(result: Result) -> tuple[LoggedCall, ...]:
    """The calls in an answer to `callLogs.search`."""
    return tuple(_logged(child) for child in many(inside(result.tree, "calls", "call")))


def _logged(child: object) -> LoggedCall:
    events = many(inside(child, "events", "event"))
    talk = _seconds(text_of(child, "talk_duration"))
    return LoggedCall(
        id=text_of(child, "id"),
        from_number=text_of(child, "from_number"),
        to_number=text_of(child, "to_number"),
        started_at=pbx_time(text_of(child, "start_time")),
        talked=bool(talk) or any(text_of(event, "type").upper() == "TALKING" for event in events),
        talk_seconds=talk,
        total_seconds=_seconds(text_of(child, "total_duration")),
        words=tuple(word for event in events if (word := text_of(event, "display"))),
    )


def accounts(result: Result) -> Mapping[str, str]:
    """The account id of each extension in an answer to `extensions.getInfo`."""
    return {
        text_of(child, "number"): text_of(child, "account_id")
        for child in many(inside(result.tree, "extensions", "extension"))
        if text_of(child, "number") and text_of(child, "account_id")
    }


def pbx_time(text: str) -> float | None:
    """A time of the PBX's own clock and zone, in seconds; None where it is written otherwise."""
    found = _TIME.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31 and year):  # noqa: PLR2004 - a calendar's
        return None
    return float(timegm((year, month, day, hour, minute, second, 0, 0, 0)))


def _seconds(text: str) -> float | None:
    """A duration: seconds, as every release seen so far has them; None for anything else."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _text(value: object) -> str:
    """A leaf of the tree; what is no leaf has no text."""
    if isinstance(value, bool) or value is None or isinstance(value, (Mapping, list)):
        return ""
    return str(value).strip()
