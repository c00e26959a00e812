"""What an answer means: conditions on it, what they tell of a call, and its error text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from attrs import field, frozen

from c2c_agent.call.evidence import Leg
from c2c_agent.pbx.other.answer import MISSING, Answer, Pointer, spelled
from c2c_agent.pbx.other.template import Template, UnusableValueError, Where

_OK: Final = 2  # the first digit of a status

#: Characters of an error text, of which a caller sees all.
_LONGEST_MESSAGE: Final = 500


@frozen
class Conditions:
    """All of them must hold.

    `status`: ranges, of which one must have it. `text`: is found in the body. `values`: what is at
    a pointer is spelled as one of the templates.
    """

    status: tuple[range, ...] | None = None
    text: re.Pattern[str] | None = None
    values: tuple[tuple[Pointer, tuple[Template, ...]], ...] = ()

    def hold(self, answer: Answer, known: Mapping[str, str], document: Any = MISSING) -> bool:
        """Whether they do; pointers look at `document`, by default at the whole answer."""
        if self.status is not None and not any(answer.status in one for one in self.status):
            return False
        if self.text is not None and self.text.search(answer.text) is None:
            return False
        if not self.values:
            return True
        looked_at = answer.document if document is MISSING else document
        return all(
            _is_one_of(pointer.get(looked_at), wanted, known) for pointer, wanted in self.values
        )


def _is_one_of(value: Any, wanted: Iterable[Template], known: Mapping[str, str]) -> bool:
    text = None if value is MISSING else spelled(value)
    return text is not None and any(text == _filled(one, known) for one in wanted)


def _filled(template: Template, known: Mapping[str, str]) -> str | None:
    try:
        return template.fill(known, Where.PLAIN)
    except UnusableValueError:
        return None  # equal to nothing


class Progress(Enum):
    """How far a call has come; the order of the members is that of a call."""

    FIRST_RINGING = "first_ringing"
    FIRST_ANSWERED = "first_answered"
    SECOND_DIALED = "second_dialed"
    SECOND_RINGING = "second_ringing"
    SECOND_ANSWERED = "second_answered"


#: How a leg may be said to have ended.
REASONS: Final = ("BUSY", "NOANSWER", "DECLINED", "CHANUNAVAIL", "CANCEL", "ANSWER")


@frozen
class LegEnd:
    """How a leg ended: a dial status."""

    leg: Leg
    status: str


class Over(Enum):
    """Nothing of the call is left."""

    GONE = "gone"


Told = Progress | LegEnd | Over


def parse_tell(text: str) -> Told | None:
    """What a rule tells; None: there is no such word."""
    leg, _, status = text.partition(" ")
    if status in REASONS and leg in {Leg.FIRST.value, Leg.SECOND.value}:
        return LegEnd(Leg(leg), status)
    words: dict[str, Told] = {one.value: one for one in (*Progress, *Over)}
    return words.get(text)


@frozen
class Rule:
    """Where the conditions hold: what is told of the call, and what is kept of the answer."""

    when: Conditions
    tell: Told | None = None
    save: Mapping[str, Pointer] = field(factory=dict)


@frozen
class Look:
    """What one answer says of a call.

    `rules` look at the whole answer, or at each element that `for_each` points to; then
    `otherwise` looks at the whole, and `absent` is told where no element fits.
    """

    rules: tuple[Rule, ...] = ()
    for_each: Pointer | None = None
    otherwise: tuple[Rule, ...] = ()
    absent: Rule | None = None

    def judge(self, answer: Answer, known: Mapping[str, str]) -> tuple[list[Told], dict[str, str]]:
        """What is told, and the values that are kept."""
        told: list[Told] = []
        saved: dict[str, str] = {}
        for rule, document in self._that_hold(answer, known):
            if rule.tell is not None:
                told.append(rule.tell)
            saved |= values_at(rule.save, document)
        return told, saved

    def _that_hold(self, answer: Answer, known: Mapping[str, str]) -> Iterator[tuple[Rule, Any]]:
        whole = answer.document
        elements = [whole] if self.for_each is None else list(self.for_each.each(whole))
        for element in elements:
            for rule in self.rules:
                if rule.when.hold(answer, known, element):
                    yield rule, element
        for rule in self.otherwise:
            if rule.when.hold(answer, known):
                yield rule, whole
        absent = self.absent
        # Where the answer is no JSON, nothing is known of what is absent.
        if (
            absent is not None
            and whole is not MISSING
            and answer.status // 100 == _OK
            and not any(absent.when.hold(answer, known, element) for element in elements)
        ):
            yield absent, whole


def values_at(save: Mapping[str, Pointer], document: Any) -> dict[str, str]:
    """The texts at these places; what is missing, null, empty or no single value is left out."""
    found = {name: pointer.get(document) for name, pointer in save.items()}
    texts = {name: spelled(value) for name, value in found.items() if value is not None}
    return {name: text for name, text in texts.items() if text}


@frozen
class ErrorText:
    """Where an answer says what is wrong: the first that finds something counts."""

    places: tuple[Pointer | re.Pattern[str], ...] = ()

    def of(self, answer: Answer) -> str:
        """The PBX's own words; else its status."""
        for place in self.places:
            text = _at(place, answer)
            if text:
                return text[:_LONGEST_MESSAGE]
        return f"HTTP {answer.status}"


def _at(place: Pointer | re.Pattern[str], answer: Answer) -> str | None:
    if isinstance(place, Pointer):
        value = place.get(answer.document)
        return None if value is MISSING or value is None else (spelled(value) or "").strip()
    found = place.search(answer.text)
    if found is None:
        return None
    return ((found[1] if place.groups else found[0]) or "").strip()
