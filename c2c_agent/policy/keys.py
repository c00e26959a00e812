"""Who may place which call: keys, their patterns, their hours, and their caps.

Pure; time comes in as an argument. Everything is denied that nothing allows. Two questions are kept
apart: `Key.faults` says whether a key may place such a call, `meter` whether there is room for it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, Literal, TypeAlias

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, deep_mapping, ge, le, matches_re, optional

from c2c_agent.call.job import PBX_KINDS, CallJob, Confirm, is_parameter
from c2c_agent.call.number import NumberError, read_number
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.hours import Hours, WeekTime
from c2c_agent.policy.numbers import NumberPlan, PlannedNumber
from c2c_agent.policy.pattern import Pattern
from c2c_agent.text import described

#: The name of the key that the command line uses; no configured key may have it.
OPERATOR: Final = "operator"


#: What an agent is known by at the broker.
AGENT_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

#: Ways to ask a phone to answer by itself; what each sends stands in asterisk-conf/c2c-bridge.conf.
AutoAnswer: TypeAlias = Literal["call-info", "alert-info", "ring-answer"]

#: Seconds for which the same two numbers may be the same call.
_LONGEST_WINDOW: Final = 300

_PBX_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ANY_NAME: Final = re.compile(r"(?!api_key\Z).{1,64}")

#: Ways to ask for a call over HTTP.
Method: TypeAlias = Literal["GET", "POST"]

#: An origin as browsers write it (RFC 6454, section 6.2); a `*` would be everybody.
_ORIGIN: Final = re.compile(
    r"(?!http://[^:]*:80\Z|https://[^:]*:443\Z)"
    r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?"
)


def _origin(_instance: object, _attribute: object, value: str) -> None:
    """A validator: an origin, and nothing more."""
    if _ORIGIN.fullmatch(value) is None:
        raise ValueError(
            "must be an origin as browsers write it, such as https://crm.example.com: lower case, "
            f"without a path, a wildcard or the usual port, not {value!r}"
        )


def _kind(_instance: object, _attribute: object, value: str) -> None:
    """A validator: a kind of PBX."""
    if value not in PBX_KINDS:
        raise ValueError(f"pbx names kinds: {', '.join(PBX_KINDS)}, and not {value!r}")


def _parameter(_instance: object, _attribute: object, value: str) -> None:
    """A validator: a parameter of a request for a call."""
    if not is_parameter(value):
        raise ValueError(f"must be a parameter such as dial_second, not {value!r}")


@frozen
class Key:
    """A caller's key: its hash, and what it opens.

    `dial_as` None means: as anyone. A cap (`max_concurrent`, `per_minute` and `per_day` calls,
    `minutes_per_day` of calls that were answered, `max_duration` seconds of talk) that is None
    means: none of its own. `hours` empty: always; else those of `timezone`, None being the host's.
    `auto_answer`: how a call that asks for it has the first phone answer by itself; None: it may
    not, for that opens a microphone. `auto_answer_always`: every call does, unless it says no.
    `confirm`: whether whoever answers first is asked to press 1. `agent`: to which agent a relay
    gives its calls. `first`, `second`: which of the allowed numbers may be that leg;
    None: all. `default_first` is rung first where a request names nobody. `origins`: which pages
    may use the key in a browser; empty: no browser is told that any may. `methods`: by which calls
    may be placed; None: by all. `http_errors`: the HTTP status says what went wrong. `map`: what a
    caller calls a parameter, and what it is called here. `repeat_window`: for so many seconds, the
    same two numbers again are the same call. `console`: it sees and ends the calls of all keys, and
    looks after the agent. `pbx`: the kinds of PBX that it may use, and the name of the one that it
    means of each; empty: all kinds (`pbxs`). `numbers`: its own number plan, in the place of the
    PBX's.
    """

    name: str = field(
        metadata=described(
            "The name of the key, for the log and for other settings.",
            values="1 to 64 letters, digits, `_`, `.` or `-`",
        )
    )
    sha256: str = field(
        repr=False,
        metadata=described(
            "The hash of the key, which no other key may have. `c2c-agent key new` prints both.",
            values="64 hexadecimal digits",
        ),
    )
    allow: Sequence[Pattern] = field(
        default=(),
        metadata=described(
            "What the key may dial. Both numbers have to be allowed, and none of them denied. A "
            "number is allowed as it is written: to allow `_0049.` does not allow `+49…`. A `*`, "
            "`#` or `+` is allowed only where a pattern has it at that place: `.`, `!` and `X` do "
            "not stand for them, so that `_1.` lets no code such as `1*72…` through."
        ),
    )
    deny: Sequence[Pattern] = field(
        default=(),
        metadata=described(
            "What the key may not dial, whatever `allow` says. Here `.` and `!` stand for "
            "anything, and both ways to write an international number count "
            "(`calls.international_prefix`)."
        ),
    )
    dial_as: Sequence[Pattern] | None = field(
        default=None,
        metadata=described(
            "With whose permission and identity the key may place calls.", default="anyone's"
        ),
    )
    max_concurrent: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=described(
            "How many calls may be in progress at once.",
            values="number of calls",
            default="no limit of its own",
        ),
    )
    per_minute: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=described(
            "How many calls may be placed in a minute.",
            values="number of calls",
            default="no limit of its own",
        ),
    )
    per_day: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=described(
            "How many calls may be placed in the last 24 hours, at every moment: so midnight opens "
            "nothing. A call counts from its acceptance on. A repetition by `request_id`, and a "
            "call that was refused, do not count.",
            values="number of calls",
            default="no limit of its own",
        ),
    )
    minutes_per_day: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=described(
            "How many minutes of answered calls there may be in the last 24 hours: from the first "
            "leg's answer to the end, because both legs cost something from then on. A call is "
            "placed with what is left as its longest duration, less the time for which its second "
            "leg may ring. A call in progress has reserved as much as it may use, so that calls at "
            "once cannot use the same minutes. Set `max_duration` beside this, or the first call "
            "has all of them until it ends.",
            values="minutes",
            default="no limit of its own",
        ),
    )
    max_duration: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=described(
            "The longest talk of this key's calls. A request may ask for less.",
            values="seconds",
            default="`calls.max_duration`",
        ),
    )
    hours: Sequence[Hours] = field(
        default=(),
        metadata=described(
            "When the key may place calls, such as `Mo-Fr 08:00-18:00`, or `Sa,Su 22:00-06:00`, "
            "which ends on the next day. A call that began within them goes on.",
            values="list of hours",
            default="always",
        ),
    )
    timezone: str | None = field(
        default=None,
        metadata=described(
            "Whose hours they are.",
            values="a time zone such as `Europe/Berlin`",
            default="the host's",
        ),
    )
    auto_answer: AutoAnswer | None = field(
        default=None,
        metadata=described(
            "By which SIP header a call that asks for it (`auto_answer`) has the first phone "
            "answer by itself. See the page on the dialplan for the phones that understand each. "
            "Without one such calls are refused, because this opens a microphone. Only devices of "
            "this PBX are told."
        ),
    )
    auto_answer_always: bool = field(
        default=False,
        metadata=described(
            "Whether every call of the key does so, unless it says `auto_answer=false`."
        ),
    )
    confirm: Confirm = field(
        default=False,
        metadata=described(
            "Whether whoever answers the first phone is asked to press 1 before the second is "
            "rung, so that no voicemail box is ever connected. `auto`: only where the dialplan "
            "answers (a queue, a PIN, an announcement), and no phone or trunk does. A call may say "
            "otherwise (`confirm`).",
            values="true, false or auto",
        ),
    )
    agent: str | None = field(
        default=None,
        validator=optional(matches_re(AGENT_ID)),
        metadata=described(
            "The agent to which a relay gives the calls of this key.", values="an `amqp.agent_id`"
        ),
    )
    first: Sequence[Pattern] | None = field(
        default=None,
        metadata=described(
            "Which numbers may be rung first, of those that the key may dial. Name the phones of "
            "your own side here: then a key that leaks cannot connect two outside numbers.",
            default="all that `allow` names",
        ),
    )
    second: Sequence[Pattern] | None = field(
        default=None,
        metadata=described(
            "Which numbers may be rung second, of those that the key may dial.",
            default="all that `allow` names",
        ),
    )
    default_first: str | None = field(
        default=None,
        metadata=described(
            "Who is rung first where a request has no `dial_first`.",
            values="a number that the key may ring first",
            default="a request has to say it",
        ),
    )
    origins: Sequence[str] = field(
        default=(),
        validator=deep_iterable(_origin),
        metadata=described(
            "The pages that may use the key in a browser, by their origins, such as "
            "`https://crm.example.com`. A browser lets a page of another origin read no answer. "
            "Where origins are named, requests from pages of other origins are refused. A page of "
            "this server, and a program that is no browser, needs no origin.",
            values="list of origins, without path or wildcard",
            default="no browser is told that a page may",
        ),
    )
    methods: Sequence[Method] | None = field(
        default=None,
        metadata=described(
            "How the key may place calls. With `[POST]` no link and no image in a page places one.",
            values="list of `GET`, `POST`",
            default="both",
        ),
    )
    http_errors: bool = field(
        default=False,
        metadata=described(
            "Whether the HTTP status says what went wrong: 401, 403, 409, 422, 429, 502 or 503, "
            "with the same JSON. Without it every answer is 200, as the public API promises."
        ),
    )
    repeat_window: int = field(
        default=0,
        validator=and_(ge(0), le(_LONGEST_WINDOW)),
        metadata=described(
            "For how many seconds the same two numbers again are the same call: a second click is "
            "answered with the first call's answer and `replayed`, and nobody is dialled. A call "
            "that was refused does not count.",
            values="0 to 300 seconds",
        ),
    )
    map: Mapping[str, str] = field(
        factory=dict,
        hash=False,
        validator=deep_mapping(matches_re(_ANY_NAME), _parameter),
        metadata=described(
            "What the caller calls a parameter, and which one it is, such as `{to: dial_second}`. "
            "For programs whose request cannot be changed.",
            values="mapping of names to parameters",
        ),
    )
    console: bool = field(
        default=False,
        metadata=described(
            "Whether the key opens the console: it sees the calls, keys and reports of all keys, "
            "hangs up any call, sends reports again, and stops all calls. It places only the calls "
            "that it may. For those who look after the agent, and for no program."
        ),
    )
    pbx: Mapping[str, str] = field(
        factory=dict,
        hash=False,
        validator=deep_mapping(_kind, matches_re(_PBX_NAME)),
        metadata=described(
            "Which kinds of PBX the key may use, and which PBX it means of each, by its name in "
            "`pbxs`, such as `{asterisk: north, switchvox: hotel}`. A kind that is not named is "
            "refused. At a relay they are the names in the agent's `pbxs`, and the agent has to "
            "open them to jobs (`amqp.jobs_pbxs`).",
            values="mapping of kinds to names of PBXs",
            default="of each kind the PBX of its own section, or else the only one",
        ),
    )
    numbers: NumberPlan | None = field(
        default=None,
        metadata=described(
            "How the callers with this key write numbers, and how the PBX wants them, if that "
            "differs from `asterisk.numbers`. At a relay it counts for `allow` and `deny` alone: "
            "the agent beside the PBX dials by its own plan."
        ),
    )

    @name.validator
    def _check_name(self, _attribute: object, value: str) -> None:
        if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value) is None:
            raise ValueError(f"name must be 1 to 64 letters, digits, _, . or -, not {value!r}")

    @sha256.validator
    def _check_sha256(self, _attribute: object, value: str) -> None:
        if re.fullmatch(r"[0-9a-f]{64}", value) is None:
            raise ValueError("sha256 must be the 64 hexadecimal digits that `key new` prints")

    @default_first.validator
    def _check_default_first(self, _attribute: object, value: str | None) -> None:
        if value is not None and not (_is_number(value, self.names) and self.may_ring_first(value)):
            raise ValueError(f"must be a number that the key may ring first, not {value!r}")

    @cached_property
    def names(self) -> frozenset[str]:
        """The extensions with letters that this key allows by name."""
        patterns = [*self.allow, *(self.dial_as or ())]
        return frozenset(pattern.literal for pattern in patterns if pattern.literal is not None)

    def may_dial(
        self,
        number: str,
        international_prefix: str | None = None,
        planned: PlannedNumber | None = None,
    ) -> bool:
        """Whether `number` is allowed, and denied in none of its forms.

        Where a number plan has `planned` it, each of its forms may be the one that is allowed. Else
        it is allowed as it is written, but `+49…` and `0049…` (where the prefix is `00`) are the
        same number to who denies it.
        """
        forms = (number,) if planned is None else planned.forms
        refused = {number} if planned is None else {*planned.forms, planned.dialed}
        refused |= {other for one in refused for other in _forms(one, international_prefix)}
        denied = any(pattern.covers(form) for pattern in self.deny for form in refused)
        return any(_any(self.allow, form) for form in forms) and not denied

    def may_ring_first(
        self,
        number: str,
        international_prefix: str | None = None,
        planned: PlannedNumber | None = None,
    ) -> bool:
        """Whether `number` may be dialled, and be the first leg, in one of its forms."""
        return self._may_be(self.first, number, planned) and self.may_dial(
            number, international_prefix, planned
        )

    def may_ring_second(
        self,
        number: str,
        international_prefix: str | None = None,
        planned: PlannedNumber | None = None,
    ) -> bool:
        """Whether `number` may be dialled, and be the second leg, in one of its forms."""
        return self._may_be(self.second, number, planned) and self.may_dial(
            number, international_prefix, planned
        )

    @staticmethod
    def _may_be(
        patterns: Sequence[Pattern] | None, number: str, planned: PlannedNumber | None
    ) -> bool:
        forms = (number,) if planned is None else planned.forms
        return any(_may(patterns, form) for form in forms)

    def may_dial_as(self, extension: str) -> bool:
        """Whether calls may be made with `extension`'s permission and identity."""
        return _may(self.dial_as, extension)

    def may_call_at(self, time: WeekTime) -> bool:
        """Whether calls may be placed when the clock shows that."""
        return not self.hours or any(hours.include(time) for hours in self.hours)

    def faults(
        self,
        job: CallJob,
        international_prefix: str | None = None,
        planned: Mapping[str, PlannedNumber] | None = None,
    ) -> list[Fault]:
        """What this key may not do of `job`; both numbers are checked, as they are `planned`."""
        plans = planned or {}
        refused = []
        first, second = job.dial_first, job.dial_second
        if not self.may_ring_first(first, international_prefix, plans.get(first)):
            refused.append("dial this dial_first")
        if not self.may_ring_second(second, international_prefix, plans.get(second)):
            refused.append("dial this dial_second")
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


def _may(patterns: Iterable[Pattern] | None, number: str) -> bool:
    """Whether one of these permits it; None: they are no limit."""
    return patterns is None or _any(patterns, number)


def _is_number(value: str, names: Collection[str]) -> bool:
    """Whether `value` is a number as it is dialled, with nothing to drop from it."""
    try:
        return read_number(value, names) == value
    except NumberError:
        return False


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

    def welcomes(self, origin: str) -> bool:
        """Whether pages of that origin may use some key."""
        return any(origin in key.origins for key in self._keys)

    def shows_errors(self, origin: str) -> bool:
        """Whether a key that pages of that origin may use has the HTTP status say what is wrong."""
        return any(key.http_errors for key in self._keys if origin in key.origins)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)


def operator_key(sha256: str, keys: Sequence[Key]) -> Key:
    """The key of the agent's own host: what some key may, it may; what one may not, it may not.

    Of each kind it means the PBX that the first key means which names one.
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
        console=True,
        pbx={kind: name for key in reversed(keys) for kind, name in key.pbx.items()},
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
