"""A call that somebody wants placed: what a caller sent, checked and made plain.

Pure. The entry of every request (HTTP or broker) passes through `parse_job`, which collects every
fault instead of stopping at the first. Which number was meant, `number` reads; nothing else is ever
repaired. That keeps every character that means something to Asterisk (`& , / @ ( " $` and control
characters) out of all that follows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from c2c_agent.call.number import NumberError, read_number
from c2c_agent.errors import ApiError, ErrorCode, Fault

PBX_KINDS: Final = ("asterisk", "switchvox", "other")

#: Whether whoever answers first has to say by a key that a person is there; `auto`: only where a
#: dialplan answers, and no device.
Confirm: TypeAlias = Literal[True, False, "auto"]

#: Objects and lists within each other in a request: more than anybody means, and few enough for all
#: that is done with them later.
DEEPEST: Final = 32

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_YES: Final = (True, "true", "1")
_NO: Final = (False, "false", "0")
_LATEST_EXPIRY: Final = 10_000_000_000  # epoch seconds, the year 2286
#: What a request for a call may say, beside metadata.
PARAMETERS: Final = frozenset(
    {
        "dial_first",
        "dial_second",
        "dial_as",
        "timeout",
        "pbx",
        "request_id",
        "expires",
        "auto_answer",
        "confirm",
        "max_duration",
    }
)

#: In a query or form, what stands before the name of one of the caller's own words.
METADATA: Final = "metadata."
_METADATA_NAME: Final = re.compile(r"[a-z0-9_]{1,32}")
_MOST_METADATA: Final = 16
_LONGEST_METADATA: Final = 256  # characters of a value
_LONGEST_TALK: Final = 86400  # seconds, what `calls.max_duration` may be at most

#: How many seconds whoever answers first takes at the most to confirm: three times a tone, a prompt
#: of about six seconds and five seconds of waiting (asterisk-conf/c2c-bridge.conf, c2c-confirm).
CONFIRM_SECONDS: Final = 36


@frozen
class CallJob:
    """One wanted call. A number is plain (`+` perhaps, digits, `*`, `#`) or an allowed name."""

    dial_first: str
    dial_second: str
    dial_as: str
    timeout: int  # seconds of ringing that each leg is given
    pbx: str = "asterisk"
    request_id: str | None = None  # the caller's own; None: one is made
    expires: float | None = None  # epoch seconds; later than that no call may begin
    confirm: Confirm = False
    agent: str | None = None  # beside the PBX that a relay gives it to
    auto_answer: str | None = None  # the profile by which the first phone answers by itself
    max_duration: int | None = None  # seconds of talk at most; None: what the configuration says
    no_auto_answer: bool = False  # said in so many words, so that no other key's default counts
    no_confirm: bool = False  # likewise
    metadata: Mapping[str, str] = field(factory=dict)  # the caller's own words, told back as given
    #: What the PBX is told in the place of the numbers, where it wants them otherwise.
    dialed_first: str | None = None
    dialed_second: str | None = None
    named_pbx: str | None = None  # the PBX among several; None: that which is called like its kind
    agent_pbx: str | None = None  # the same at the agent; None: which one, the agent's key says

    @property
    def pbx_name(self) -> str:
        """The name of the PBX that it is placed on."""
        return self.named_pbx or self.pbx

    @property
    def first_as_dialed(self) -> str:
        """The first number, as the PBX is told it."""
        return self.dialed_first or self.dial_first

    @property
    def second_as_dialed(self) -> str:
        """The second number, as the PBX is told it."""
        return self.dialed_second or self.dial_second

    @property
    def seconds_before_talk(self) -> int:
        """How long the first, who has answered, may have to wait for the second's answer."""
        return self.timeout + (CONFIRM_SECONDS if self.confirm else 0)

    def has_expired(self, now: float) -> bool:
        """Whether it is too late for it at `now`, in epoch seconds."""
        return self.expires is not None and self.expires < now


@frozen
class JobRules:
    """What the configuration says about jobs.

    `names` are the extensions with letters that may stand in place of a number. `auto_answer` is
    the profile that may be asked for; `auto_answer_always`: it counts where nothing is said, as
    `confirm` does. `agent`: to which agent a relay gives it. `default_first` and `default_as` are
    meant where a request has no `dial_first` or `dial_as`.
    """

    timeout: int = 30
    max_timeout: int = 120
    names: Collection[str] = field(factory=frozenset)
    auto_answer: str | None = None
    auto_answer_always: bool = False
    confirm: Confirm = False
    agent: str | None = None
    default_first: str | None = None
    default_as: str | None = None


def is_parameter(name: str) -> bool:
    """Whether a request for a call may have a parameter of that name."""
    words = name.removeprefix(METADATA)
    return name in PARAMETERS or (words != name and _METADATA_NAME.fullmatch(words) is not None)


def is_request_id(text: object) -> bool:
    """Whether `text` is a UUID as RFC 9562 section 4 writes it."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def parse_job(parameters: Mapping[str, object], rules: JobRules) -> CallJob:
    """Read a job from a request's parameters.

    Values are text (query, form) or JSON values. Raises ApiError with one Fault for each parameter
    that is missing or wrong.
    """
    reader = _Reader(parameters, rules)
    dial_first = reader.number("dial_first", default=rules.default_first)
    dial_second = reader.number("dial_second")
    dial_as = reader.number(reader.dial_as_spelling(), default=rules.default_as or "")
    timeout = reader.timeout()
    pbx = reader.pbx()
    request_id = reader.request_id()
    expires = reader.expires()
    wants_auto_answer = reader.flag("auto_answer")
    auto_answer = reader.auto_answer(wants_auto_answer)
    confirm = reader.confirm()
    max_duration = reader.max_duration()
    metadata = reader.metadata()
    if reader.faults:
        raise ApiError(*reader.faults)
    return CallJob(
        dial_first=dial_first,
        dial_second=dial_second,
        dial_as=dial_as or dial_first,
        timeout=timeout,
        pbx=pbx,
        request_id=request_id,
        expires=expires,
        auto_answer=auto_answer,
        agent=rules.agent,
        confirm=rules.confirm if confirm is None else confirm,
        max_duration=max_duration,
        no_auto_answer=wants_auto_answer is False,
        no_confirm=confirm is False,
        metadata=metadata,
    )


class _Reader:
    """Takes parameters one by one and collects what is wrong with them."""

    def __init__(self, parameters: Mapping[str, object], rules: JobRules) -> None:
        self._parameters = parameters
        self._rules = rules
        self.faults: list[Fault] = []

    def _wrong(self, message: str) -> None:
        self.faults.append(Fault(ErrorCode.INVALID_PARAMETER, message))

    def _given(self, name: str) -> object:
        """The parameter's value; an empty one counts as not given, as forms send them."""
        value = self._parameters.get(name)
        return None if value == "" else value

    def number(self, name: str, *, default: str | None = None) -> str:
        """The number that was given, or else the default; None: there has to be one."""
        value = self._given(name)
        if value is None:
            if default is None:
                self._wrong(f"{name} is missing.")
            return default or ""
        try:
            return read_number(value, self._rules.names)
        except NumberError as error:
            self._wrong(f"{name} is not a number that can be dialled: {error}.")
            return ""

    def dial_as_spelling(self) -> str:
        """The name under which dial_as was given; the public API's own misspelling counts."""
        right, misspelt = self._given("dial_as"), self._given("dail_as")
        if right is not None and misspelt is not None and right != misspelt:
            self._wrong("dial_as and dail_as are both given and differ.")
        return "dail_as" if right is None else "dial_as"

    def timeout(self) -> int:
        given = self._seconds("timeout", self._rules.max_timeout)
        return self._rules.timeout if given is None else given

    def max_duration(self) -> int | None:
        return self._seconds("max_duration", _LONGEST_TALK)

    def _seconds(self, name: str, most: int) -> int | None:
        value = self._given(name)
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(f"{name} is not a whole number of seconds.")
        elif not 1 <= value <= most:
            self._wrong(f"{name} must be from 1 to {most} seconds.")
        else:
            return value
        return 0

    def pbx(self) -> str:
        value = self._given("pbx")
        if value is None:
            return PBX_KINDS[0]
        if not isinstance(value, str) or value not in PBX_KINDS:
            self._wrong(f"pbx must be one of {', '.join(PBX_KINDS)}.")
            return ""
        return value

    def request_id(self) -> str | None:
        value = self._given("request_id")
        if value is None:
            return None
        if not isinstance(value, str) or not is_request_id(value):
            self._wrong("request_id is not a UUID.")
            return None
        return value.lower()

    def expires(self) -> float | None:
        value = self._given("expires")
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,6})?", value):
            value = float(value)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            self._wrong("expires is not a time in epoch seconds.")
        elif not 0 <= value <= _LATEST_EXPIRY:
            self._wrong("expires is out of range.")
        else:
            return float(value)
        return None

    def auto_answer(self, wanted: bool | None) -> str | None:
        """The profile, where one is asked for."""
        if wanted is None:
            wanted = self._rules.auto_answer_always
        elif wanted and self._rules.auto_answer is None:
            message = "This key may not let phones answer by themselves."
            self.faults.append(Fault(ErrorCode.NOT_ALLOWED, message))
        return self._rules.auto_answer if wanted else None

    def confirm(self) -> Confirm | None:
        """Whether the first is to confirm; None where nothing is said."""
        if self._given("confirm") == "auto":
            return "auto"
        return self.flag("confirm", "true, false nor auto")

    def metadata(self) -> Mapping[str, str]:
        """The caller's own words: an object, or one by one as `metadata.<name>`."""
        given = self._given("metadata")
        if given is not None and not isinstance(given, Mapping):
            self._wrong("metadata is not an object; in a query, write metadata.<name>=<text>.")
            return {}
        words: dict[str, object] = {**(given or {})}
        for parameter, value in self._parameters.items():
            name = parameter.removeprefix(METADATA)
            if name != parameter:
                if words.get(name, value) != value:
                    self._wrong(f"{parameter[:50]} is given twice.")
                words[name] = value
        if len(words) > _MOST_METADATA:
            self._wrong(f"metadata has more than {_MOST_METADATA} entries.")
        elif not all(map(_METADATA_NAME.fullmatch, words)):
            self._wrong("metadata: a name is 1 to 32 of a-z, 0-9 and _.")
        elif any(not isinstance(v, str) or len(v) > _LONGEST_METADATA for v in words.values()):
            self._wrong(f"metadata: a value is a text of at most {_LONGEST_METADATA} characters.")
        return {name: value for name, value in words.items() if isinstance(value, str)}

    def flag(self, name: str, choices: str = "true nor false") -> bool | None:
        value = self._given(name)
        if value is not None and value not in _YES and value not in _NO:
            self._wrong(f"{name} is neither {choices}.")
        return None if value is None else value in _YES
