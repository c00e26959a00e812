"""Who may place which call: keys, their patterns, their hours, and their caps.

Pure; time comes in as an argument. Everything is denied that nothing allows. Two questions are kept
apart: `Key.faults` says whether a key may place such a call, `meter` whether there is room for it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, Literal, TypeAlias

from attrs import field, frozen
from attrs.validators import ge, matches_re, optional

from c2c_agent.call.job import CallJob
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.hours import Hours, WeekTime
from c2c_agent.policy.pattern import Pattern

#: The name of the key that the command line uses; no configured key may have it.
OPERATOR: Final = "operator"


#: What an agent is known by at the broker.
AGENT_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

#: Ways to ask a phone to answer by itself; what each sends stands in asterisk-conf/c2c-bridge.conf.
AutoAnswer: TypeAlias = Literal["call-info", "alert-info", "ring-answer"]


@frozen
class Key:
    """A caller's key: its hash, and what it opens.

    `dial_as` None means: as anyone. A cap (`max_concurrent`, `per_minute` and `per_day` calls,
    `minutes_per_day` of calls that were answered, `max_duration` seconds of talk) that is None
    means: none of its own. `hours` empty: always; else those of `timezone`, None being the host's.
    `auto_answer`: how a call that asks for it has the first phone answer by itself; None: it may
    not, for that opens a microphone. `auto_answer_always`: every call does, unless it says no.
    `confirm`: whoever answers first is asked to press 1, unless a call says no. `agent`: to which
    agent a relay gives its calls.
    """

    name: str = field()
    sha256: str = field(repr=False)
    allow: Sequence[Pattern] = ()
    deny: Sequence[Pattern] = ()
    dial_as: Sequence[Pattern] | None = None
    max_concurrent: int | None = field(default=None, validator=optional(ge(1)))
    per_minute: int | None = field(default=None, validator=optional(ge(1)))
    per_day: int | None = field(default=None, validator=optional(ge(1)))
    minutes_per_day: int | None = field(default=None, validator=optional(ge(1)))
    max_duration: int | None = field(default=None, validator=optional(ge(1)))
    hours: Sequence[Hours] = ()
    timezone: str | None = None
    auto_answer: AutoAnswer | None = None
    auto_answer_always: bool = False
    confirm: bool = False
    agent: str | None = field(default=None, validator=optional(matches_re(AGENT_ID)))

    @name.validator
    def _check_name(self, _attribute: object, value: str) -> None:
        if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value) is None:
            raise ValueError(f"name must be 1 to 64 letters, digits, _, . or -, not {value!r}")

    @sha256.validator
    def _check_sha256(self, _attribute: object, value: str) -> None:
        if re.fullmatch(r"[0-9a-f]{64}", value) is None:
            raise ValueError("sha256 must be the 64 hexadecimal digits that `key new` prints")

    @cached_property
    def names(self) -> frozenset[str]:
        """The extensions with letters that this key allows by name."""
        patterns = [*self.allow, *(self.dial_as or ())]
        return frozenset(pattern.literal for pattern in patterns if pattern.literal is not None)

    def may_dial(self, number: str, international_prefix: str | None = None) -> bool:
        """Whether `number` is allowed, and denied in none of its forms.

        It is allowed as it is written, but `+49…` and `0049…` (where the prefix is `00`) are the
        same number to who denies it.
        """
        forms = _forms(number, international_prefix)
        denied = any(pattern.covers(form) for pattern in self.deny for form in forms)
        return _any(self.allow, number) and not denied

    def may_dial_as(self, extension: str) -> bool:
        """Whether calls may be made with `extension`'s permission and identity."""
        return self.dial_as is None or _any(self.dial_as, extension)

    def may_call_at(self, time: WeekTime) -> bool:
        """Whether calls may be placed when the clock shows that."""
        return not self.hours or any(hours.include(time) for hours in self.hours)

    def faults(self, job: CallJob, international_prefix: str | None = None) -> list[Fault]:
        """What this key may not do of `job`; both numbers are checked."""
        refused = [
            f"dial this {name}"
            for name, number in (("dial_first", job.dial_first), ("dial_second", job.dial_second))
            if not self.may_dial(number, international_prefix)
        ]
        if not self.may_dial_as(job.dial_as):
            refused.append("place calls as this dial_as")
        return [Fault(ErrorCode.NOT_ALLOWED, f"This key may not {what}.") for what in refused]


def _forms(number: str, international_prefix: str | None) -> Sequence[str]:
    """All ways to write a number: with `+`, and with what is dialled in its place."""
    if international_prefix is None:
        return (number,)
    if number.startswith("+"):
        return (number, international_prefix + number[1:])
    if number.startswith(international_prefix):
        return (number, "+" + number.removeprefix(international_prefix))
    return (number,)


def _any(patterns: Iterable[Pattern], number: str) -> bool:
    return any(pattern.matches(number) for pattern in patterns)


class KeyRing:
    """All keys, found by the secret that a caller presents."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def change(self, keys: Iterable[Key]) -> None:
        """Hold these keys instead."""
        self._keys = tuple(keys)

    def find(self, secret: str) -> Key | None:
        """The key of a presented secret, or None.

        Every key is compared, each in constant time, so that the time taken tells nothing.
        """
        digest = key_digest(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def named(self, name: str) -> Key | None:
        """The key of a name."""
        return next((key for key in self._keys if key.name == name), None)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)


def operator_key(sha256: str, keys: Sequence[Key]) -> Key:
    """The key of the agent's own host: what some key may, it may; what one may not, it may not.

    Who holds it can read the agent's files, so it sees and cancels every call.
    """
    everybody = any(key.dial_as is None for key in keys)
    return Key(
        name=OPERATOR,
        sha256=sha256,
        allow=tuple(pattern for key in keys for pattern in key.allow),
        deny=tuple(pattern for key in keys for pattern in key.deny),
        dial_as=None
        if everybody
        else tuple(pattern for key in keys for pattern in key.dial_as or ()),
        auto_answer=next((key.auto_answer for key in keys if key.auto_answer is not None), None),
    )


def key_digest(secret: str) -> str:
    """The hexadecimal SHA-256 of a key, which is what the configuration holds.

    Any text has one: JSON can hold lone surrogates, too.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret() -> str:
    """A new key for a caller: 256 random bits, so that a plain hash keeps it."""
    return "c2c_" + secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Whether this could be a key's secret: it has to stand in an HTTP header."""
    return bool(text) and text.isascii() and text.isprintable()
