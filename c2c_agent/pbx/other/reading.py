"""From a section `other` of the configuration to a Program: every mistake is found at the start.

Pure. Each mistake is named with the file and the path where it stands, and with what would be
right. Values are not shown: a password may have got into any of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from c2c_agent.errors import ConfigError
from c2c_agent.net.endpoints import is_loopback
from c2c_agent.net.tls import Trust
from c2c_agent.pbx.other.answer import Pointer, PointerError, parse_pointer, spelled
from c2c_agent.pbx.other.program import (
    Auth,
    AuthKind,
    Login,
    Place,
    Program,
    Status,
    StatusRequest,
    Step,
    Timeouts,
)
from c2c_agent.pbx.other.request import Body, Request
from c2c_agent.pbx.other.rules import (
    REASONS,
    Conditions,
    ErrorText,
    LegEnd,
    Look,
    Over,
    Progress,
    Rule,
    Told,
    parse_tell,
)
from c2c_agent.pbx.other.template import Placeholder, Template, TemplateError, parse_template

T = TypeVar("T")

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ADDRESS: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?/?")
_PATH: Final = re.compile(r"/(?!/)[!-\"$->@-~]*")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,32}")
_FINGERPRINT: Final = re.compile(r"([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_STATUS: Final = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")

#: Headers that say where a request goes, how long it is, or how the connection is used.
_OURS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect"}
)

#: Headers that have a credential, whoever reads them. A configuration may be read by many.
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_IN_A_FILE: Final = 'must be kept in a file, and be such as "{secret.name}"'

#: Values that a call keeps of the PBX's answers.
_MOST_SAVED: Final = 10
_MOST: Final = 100  # rules, steps, conditions in one list

_DIGESTS: Final = ("md5", "sha256", "base64")
_TEXTS: Final[Mapping[AuthKind, tuple[str, ...]]] = {
    AuthKind.NONE: (),
    AuthKind.BASIC: ("username", "password"),
    AuthKind.DIGEST: ("username", "password"),
    AuthKind.BEARER: ("token",),
    AuthKind.SIGNATURE: ("secret",),
}

_REQUEST: Final = (
    *("method", "path", "query", "raw_query", "headers", "json", "form", "text", "no_auth"),
)

#: Levels of a JSON body.
_DEEPEST: Final = 16

_CALL: Final = frozenset({"dial_first", "dial_second", "dial_as", "timeout", "request_id"})

Where = tuple[str | int, ...]


def read(section: object, where: Where, files: Mapping[Where, str]) -> Program:
    """The program of a section that stands at `where`. Raises ConfigError.

    `files` says which file each value is from.
    """
    faults: list[tuple[Where, str]] = []
    program = _Reading().program(_Node(section, where, faults))
    if faults or program is None:
        lines = [f"{_origin(at, files)}: {_dotted(at)}: {advice}" for at, advice in faults]
        raise ConfigError("\n".join(dict.fromkeys(lines)))
    return program


def _dotted(where: Where) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.lstrip(".")


def _origin(where: Where, files: Mapping[Where, str]) -> str:
    """The file that a value, or the nearest that stands above it, is from."""
    above = (where[:length] for length in range(len(where), -1, -1))
    return next((files[one] for one in above if one in files), "configuration")


class _Node:
    """A value of the configuration and where it stands; it collects what is wrong."""

    def __init__(self, value: object, where: Where, faults: list[tuple[Where, str]]) -> None:
        self.value = value
        self.where = where
        self._faults = faults

    def fault(self, advice: str) -> None:
        """Something is wrong here."""
        self._faults.append((self.where, advice))

    def below(self, part: str | int, value: object) -> _Node:
        """What stands under this name, or in this place of a list."""
        return _Node(value, (*self.where, part), self._faults)

    def mapping(self) -> dict[str, _Node]:
        """What stands below by name; nothing where this is no mapping."""
        if not isinstance(self.value, Mapping):
            self.fault("must be a mapping")
            return {}
        for name in self.value:
            if not isinstance(name, str):
                self.below(str(name), None).fault("must have its name in quotes")
        return {str(name): self.below(str(name), value) for name, value in self.value.items()}

    def items(self) -> list[_Node]:
        """What stands below in order; nothing where this is no list."""
        if not isinstance(self.value, list) or len(self.value) > _MOST:
            self.fault(f"must be a list of at most {_MOST}")
            return []
        return [self.below(index, value) for index, value in enumerate(self.value)]

    def some(self) -> list[_Node]:
        """The same, of a list that must not be empty."""
        if self.value == []:
            self.fault("must not be empty")
        return self.items()

    def one_or_more(self) -> list[_Node]:
        """The same, of a list or of a single value."""
        return self.items() if isinstance(self.value, list) else [self]

    def text(self, shape: re.Pattern[str] | None = None, words: str = "text") -> str:
        """A text; "" where it is none."""
        if not isinstance(self.value, str) or (shape and shape.fullmatch(self.value) is None):
            quotes = type(self.value) in {int, float}
            self.fault(f"must be {words}" + ("; write it in quotes" if quotes else ""))
            return ""
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.fault("must be true or false")
        return self.value is True

    def number(self, low: float, high: float, unit: str) -> float:
        """A number of this size."""
        value = self.value
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not right or not low <= value <= high:  # type: ignore[operator]
            self.fault(f"must be from {low:g} to {high:g} {unit}")
            return low
        return float(value)  # type: ignore[arg-type]

    def choice(self, words: Collection[str]) -> str:
        """One of these words; "" where it is none."""
        if self.value not in words:
            self.fault(f"must be one of {', '.join(words)}")
            return ""
        return str(self.value)

    def fields(self, *known: str, needed: Iterable[str] = ()) -> dict[str, _Node]:
        """What stands below, of which these names are known and those are needed."""
        below = self.mapping()
        for name in [name for name in below if name not in known]:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            below.pop(name).fault(f"is unknown; {hint}")
        for name in needed:
            if name not in below and isinstance(self.value, Mapping):
                self.below(name, None).fault("is missing")
        return below


class _Reading:
    """Reads one section."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._login: set[str] = set()
        self._saved: set[str] = set()
        self._secret_in_url = False

    def program(self, node: _Node) -> Program | None:
        """The whole section."""
        known = (
            *("base_url", "insecure_http", "tls", "auth", "secrets", "secret_in_url", "headers"),
            *("login", "dial_as", "place", "status", "cancel", "cleanup", "check", "timeouts"),
            *("ring_timeout", "max_pending"),
        )
        have = node.fields(*known, needed=("base_url", "place"))
        if "base_url" not in have or "place" not in have:
            return None
        insecure = _given(have, "insecure_http", _Node.flag) or False
        self._secret_in_url = _given(have, "secret_in_url", _Node.flag) or False
        files = _given(have, "secrets", self._secret_files) or {}
        self._secrets = frozenset(f"secret.{name}" for name in files)
        login = _given(have, "login", self._read_login)
        always = self._secrets | self._login
        # What a status saves may be used wherever a call is known.
        self._saved = {f"saved.{name}" for name in _saved_names(have)}
        if len(self._saved) > _MOST_SAVED:
            node.fault(f"may save {_MOST_SAVED} values at most")
        place = self._place(have["place"])
        in_call = always | _CALL | self._saved | {"call_id"}
        program = Program(
            base_url=_base_url(have["base_url"], insecure=insecure).rstrip("/"),
            place=place,
            insecure_http=insecure,
            trust=(_given(have, "tls", _trust) or Trust()),
            auth=(_given(have, "auth", lambda one: self._auth(one, always)) or Auth()),
            secret_files=files,
            headers=(_given(have, "headers", lambda one: self._headers(one, always)) or {}),
            login=login,
            dial_as=_given(have, "dial_as", _dial_as),
            status=_given(have, "status", lambda one: self._status(one, place, in_call)),
            cancel=(_given(have, "cancel", lambda one: self._requests(one, in_call)) or ()),
            cleanup=(_given(have, "cleanup", lambda one: self._requests(one, in_call)) or ()),
            check=_given(have, "check", lambda one: self._step(one, always, "GET")),
            timeouts=(_given(have, "timeouts", _timeouts) or Timeouts()),
            cancels_late=(_given(have, "ring_timeout", _is_cancel) or False),
            max_pending=int(
                _given(have, "max_pending", lambda one: one.number(1, 1000, "orders")) or 20
            ),
        )
        _check_whole(have, program)
        return program

    # Who we are, and to whom

    def _secret_files(self, node: _Node) -> dict[str, str]:
        files = {}
        for name, below in node.mapping().items():
            if _NAME.fullmatch(name) is None:
                below.fault("must have a name of letters, digits and _")
            have = below.fields("file", needed=("file",))
            files[name] = _given(have, "file", _Node.text) or ""
        return files

    def _auth(self, node: _Node, known: Collection[str]) -> Auth:
        words = [kind.value for kind in AuthKind]
        if not isinstance(node.value, Mapping) or node.value.get("kind") not in words:
            node.below("kind", None).fault(f"must be one of {', '.join(words)}")
            return Auth()
        kind = AuthKind(node.value["kind"])
        have = node.fields("kind", *_TEXTS[kind], needed=_TEXTS[kind])
        have.pop("kind")
        texts = {name: self._template(below, known) for name, below in have.items()}
        for name, text in texts.items():
            if name != "username" and not any(text.placeholders):
                have[name].fault(_IN_A_FILE)
        return Auth(kind, texts)

    def _read_login(self, node: _Node) -> Login:
        have = node.fields("lifetime", "again_when", "steps", needed=("steps",))
        steps = []
        for below in _given(have, "steps", _Node.some) or []:
            steps.append(self._step(below, self._secrets | self._login, "POST", logs_in=True))
            self._login |= {f"login.{name}" for name in (*steps[-1].save, *steps[-1].compute)}
        again = _given(have, "again_when", _Node.one_or_more) or []
        return Login(
            tuple(steps),
            (_given(have, "lifetime", lambda one: one.number(1, 86400, "seconds")) or 300.0),
            tuple(self._conditions(below, self._secrets) for below in again),
        )

    # Requests

    def _request(
        self, have: Mapping[str, _Node], node: _Node, known: Collection[str], method: str
    ) -> Request:
        bodies = [name for name in ("json", "form", "text") if name in have]
        for name in bodies[1:]:
            have[name].fault(f"must not be given beside {bodies[0]}")
        if "query" in have and "raw_query" in have:
            have["raw_query"].fault("must not be given beside query")
        request = Request(
            (_given(have, "method", lambda one: one.choice(_METHODS)) or method),
            (_given(have, "path", lambda one: self._path(one, known)) or Template(())),
            (_given(have, "query", lambda one: self._templates(one, known)) or {}),
            _given(have, "raw_query", lambda one: self._template(one, known)),
            (_given(have, "headers", lambda one: self._headers(one, known)) or {}),
            self._body(have[bodies[0]], bodies[0], known) if bodies else None,
            (_given(have, "no_auth", _Node.flag) or False),
        )
        if request.body is not None and request.method == "GET":
            have[bodies[0]].fault("must not be given with GET")
        if not self._secret_in_url and any(one.family == "secret" for one in request.in_url()):
            node.fault(
                "has a secret in its path or query, where logs show it; "
                "secret_in_url: true allows that"
            )
        return request

    def _path(self, node: _Node, known: Collection[str]) -> Template:
        words = "a path such as /api/call, with neither ? nor # nor blanks in it"
        return self._template(node, known) if node.text(_PATH, words) else Template(())

    def _templates(self, node: _Node, known: Collection[str]) -> dict[str, Template]:
        return {name: self._template(below, known) for name, below in node.mapping().items()}

    def _requests(self, node: _Node, known: Collection[str]) -> tuple[Request, ...]:
        requests = []
        for below in node.items():
            have = below.fields(*_REQUEST, needed=("path",))
            requests.append(self._request(have, below, known, "POST"))
        return tuple(requests)

    def _body(self, node: _Node, kind: str, known: Collection[str]) -> Body:
        if kind == "form":
            return Body(form=self._templates(node, known))
        if kind == "text":
            return Body(text=self._template(node, known))
        return Body(json=self._json(node, known, 0))

    def _json(self, node: _Node, known: Collection[str], depth: int) -> Any:
        value = node.value
        if depth > _DEEPEST:
            node.fault("is too deep")
        elif isinstance(value, Mapping):
            below = node.mapping().items()
            return {name: self._json(one, known, depth + 1) for name, one in below}
        elif isinstance(value, list):
            return [self._json(one, known, depth + 1) for one in node.items()]
        elif isinstance(value, str):
            return self._template(node, known)
        elif not (value is None or isinstance(value, (bool, int, float))):
            node.fault("must be what JSON knows; write it in quotes")
        return value

    def _headers(self, node: _Node, known: Collection[str]) -> dict[str, Template]:
        headers = {}
        for name, below in node.mapping().items():
            if _HEADER.fullmatch(name) is None:
                below.fault("must have the name of a header")
            elif name.lower() in _OURS:
                below.fault("is a header that the agent sets itself")
            text = below.text()
            if not text.isascii() or not text.isprintable():
                below.fault("must be printable ASCII")
            headers[name] = self._template(below, known)
            if name.lower() in _CREDENTIALS and not any(headers[name].placeholders):
                below.fault(_IN_A_FILE)
        return headers

    def _step(
        self, node: _Node, known: Collection[str], method: str, *, logs_in: bool = False
    ) -> Step:
        more = ("success", "save", "compute") if logs_in else ("success",)
        have = node.fields(*_REQUEST, *more, needed=("path",))
        compute: dict[str, tuple[str, Template]] = {}
        for name, below in (_given(have, "compute", _Node.mapping) or {}).items():
            made = below.fields(*_DIGESTS)
            if len(made) != 1 or _NAME.fullmatch(name) is None:
                below.fault(f"must be one of {', '.join(_DIGESTS)} of a text")
            for how, text in made.items():
                compute[name] = (how, self._template(text, known))
        known = {*known, *(f"login.{name}" for name in compute)}
        request = self._request(have, node, known, method)
        return Step(
            request,
            (
                _given(have, "success", lambda one: self._conditions(one, known))
                or Step(request).success
            ),
            (_given(have, "save", self._save) or {}),
            compute,
        )

    # The order

    def _place(self, node: _Node) -> Place:
        more = ("success", "failed", "refused", "error_message", "call_id", "save", "answers_when")
        have = node.fields(*_REQUEST, *more, needed=("path", "success"))
        known = self._secrets | self._login | _CALL
        request = self._request(have, node, known, "POST")
        names = {one.name for one in request.placeholders()}
        if isinstance(node.value, Mapping) and not names & {"dial_first", "dial_second"}:
            node.fault("must have {dial_first} or {dial_second} in it")
        return Place(
            request,
            (_given(have, "success", lambda one: self._conditions(one, known)) or Conditions()),
            (_given(have, "failed", lambda one: self._failed(one, known)) or ()),
            (
                _given(
                    have,
                    "refused",
                    lambda one: tuple(self._conditions(item, known) for item in one.one_or_more()),
                )
                or Place(request, Conditions()).refused
            ),
            (_given(have, "error_message", self._error_text) or ErrorText()),
            _given(have, "call_id", lambda one: _parsed(one, parse_pointer)),
            (_given(have, "save", self._save) or {}),
            (
                _given(
                    have,
                    "answers_when",
                    lambda one: one.choice(("accepted", "first_answered")) == "first_answered",
                )
                or False
            ),
        )

    def _failed(self, node: _Node, known: Collection[str]) -> tuple[tuple[Conditions, LegEnd], ...]:
        return tuple(
            (rule.when, rule.tell)
            for rule in (self._rule(one, known, "when", ends=True) for one in node.items())
            if isinstance(rule.tell, LegEnd)
        )

    def _error_text(self, node: _Node) -> ErrorText:
        places: list[Pointer | re.Pattern[str]] = []
        for below in node.one_or_more():
            text = below.text()
            place = _parsed(below, parse_pointer) if text.startswith("/") else _regex(below)
            if place is not None:
                places.append(place)
        return ErrorText(tuple(places))

    # What becomes of it

    def _status(self, node: _Node, place: Place, known: Collection[str]) -> Status:
        have = node.fields("every", "requests", "while_placing", needed=("requests",))
        early = set(known) - self._saved
        if place.call_id is not None:
            early -= {"call_id"}  # the answer has it
        requests = _given(have, "requests", _Node.some) or []
        placing = _given(have, "while_placing", _Node.items) or []
        return Status(
            tuple(self._status_request(below, known) for below in requests),
            (_given(have, "every", lambda one: one.number(0.5, 10, "seconds")) or Status(()).every),
            tuple(self._status_request(below, early) for below in placing),
        )

    def _status_request(self, node: _Node, known: Collection[str]) -> StatusRequest:
        more = ("rules", "for_each", "otherwise", "absent")
        have = node.fields(*_REQUEST, *more, needed=("path",))
        if "for_each" not in have:
            for name in ("otherwise", "absent"):
                if name in have:
                    have[name].fault("needs for_each")
        look = Look(
            (_given(have, "rules", lambda one: self._rules(one, known)) or ()),
            _given(have, "for_each", lambda one: _parsed(one, _for_each)),
            (_given(have, "otherwise", lambda one: self._rules(one, known)) or ()),
            _given(have, "absent", lambda one: self._rule(one, known, "where")),
        )
        if not look.rules and not look.otherwise and look.absent is None:
            node.fault("must have rules, which say what its answer means")
        return StatusRequest(self._request(have, node, known, "GET"), look)

    def _rules(self, node: _Node, known: Collection[str]) -> tuple[Rule, ...]:
        return tuple(self._rule(one, known, "when") for one in node.items())

    def _rule(self, node: _Node, known: Collection[str], when: str, *, ends: bool = False) -> Rule:
        have = node.fields(when, "tell", *(() if ends else ("save",)), needed=(when,))
        if isinstance(node.value, Mapping) and "tell" not in have and "save" not in have:
            node.fault("must have tell" if ends else "must have tell, or save")
        rule = Rule(
            (_given(have, when, lambda one: self._conditions(one, known)) or Conditions()),
            _given(have, "tell", _tell),
            (_given(have, "save", self._save) or {}),
        )
        if ends and rule.tell is not None and not isinstance(rule.tell, LegEnd):
            have["tell"].fault("must say how a leg ended, such as first BUSY")
        return rule

    # Single values

    def _conditions(self, node: _Node, known: Collection[str]) -> Conditions:
        below = node.mapping()
        if isinstance(node.value, Mapping) and not below:
            node.fault("must have a condition")
        status: tuple[range, ...] | None = None
        text: re.Pattern[str] | None = None
        values = []
        for name, one in below.items():
            if name == "status":
                status = tuple(_status_range(item) for item in one.one_or_more())
            elif name == "text":
                text = _regex(one)
            elif name.startswith("/"):
                pointer = _parsed(_at_its_own_place(one, name), parse_pointer)
                wanted = tuple(self._wanted(item, known) for item in one.one_or_more())
                if pointer is not None:
                    values.append((pointer, wanted))
            else:
                one.fault("is unknown; known are status, text, and JSON pointers such as /error")
        return Conditions(status, text, tuple(values))

    def _wanted(self, node: _Node, known: Collection[str]) -> Template:
        if isinstance(node.value, str):
            return self._template(node, known)
        text = spelled(node.value)
        if text is None:
            node.fault("must be a single value, or a list of them")
        return Template((text or "",))

    def _save(self, node: _Node) -> dict[str, Pointer]:
        saved = {}
        for name, below in node.mapping().items():
            if _NAME.fullmatch(name) is None:
                below.fault("must have a name of letters, digits and _")
            pointer = _parsed(below, parse_pointer)
            if pointer is not None:
                saved[name] = pointer
        return saved

    def _template(self, node: _Node, known: Collection[str]) -> Template:
        text = node.text()
        try:
            template = parse_template(text)
        except TemplateError as error:
            node.fault(str(error))
            return Template(())
        for one in template.placeholders:
            if one.name not in known:
                node.fault(self._why_not(one))
        return template

    def _why_not(self, one: Placeholder) -> str:
        if one.family == "secret" and one.name not in self._secrets:
            return f"secrets has no {one.name.partition('.')[2]!r}"
        if one.family in {"login", "saved"} and one.name not in self._login | self._saved:
            return f"{{{one.name}}} is saved nowhere"
        return f"{{{one.name}}} is not known yet where this is sent"


def _given(have: Mapping[str, _Node], name: str, read_it: Callable[[_Node], T]) -> T | None:
    """What is read where this name is given."""
    return read_it(have[name]) if name in have else None


def _check_whole(have: Mapping[str, _Node], program: Program) -> None:
    if program.cancels_late and (program.status is None or not program.cancel):
        have["ring_timeout"].fault("needs status and cancel")
    if program.auth.kind is AuthKind.DIGEST and program.check is None:
        have["auth"].fault("digest needs check: a harmless request that gets the challenge")
    if program.cleanup and program.status is None:
        have["cleanup"].fault("needs status: without it nobody knows when a call is gone")


def _is_cancel(node: _Node) -> bool:
    return node.choice(("cancel",)) != ""


def _trust(node: _Node) -> Trust:
    have = node.fields("ca_file", "server_name", "sha256")
    given = {name: below for name, below in have.items() if below.value is not None}
    fingerprint = "64 hexadecimal digits, perhaps with colons"
    return Trust(
        _given(given, "ca_file", _Node.text),
        _given(given, "server_name", _Node.text),
        _given(given, "sha256", lambda one: one.text(_FINGERPRINT, fingerprint)),
    )


def _dial_as(node: _Node) -> dict[str, str]:
    return {name: below.text() for name, below in node.mapping().items()}


def _timeouts(node: _Node) -> Timeouts:
    have = node.fields("connect", "answer")
    usual = Timeouts()
    return Timeouts(
        (_given(have, "connect", lambda one: one.number(1, 60, "seconds")) or usual.connect),
        (_given(have, "answer", lambda one: one.number(1, 120, "seconds")) or usual.answer),
    )


def _tell(node: _Node) -> Told | None:
    told = parse_tell(node.value) if isinstance(node.value, str) else None
    if told is None:
        words = ", ".join(one.value for one in (*Progress, *Over))
        legs = f"or first or second with one of {', '.join(REASONS)}"
        node.fault(f"must be one of {words}, {legs}")
    return told


def _for_each(text: str) -> Pointer:
    return parse_pointer(text, several=True)


def _saved_names(have: Mapping[str, _Node]) -> Iterator[str]:
    """The names under which an order's answer, or a status, saves something."""
    for section in ("place", "status"):
        if section in have:
            yield from _names_below(have[section].value)


def _names_below(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            if name == "save" and isinstance(below, Mapping):
                yield from (str(one) for one in below)
            elif name not in {"json", "form", "headers", "query"}:
                yield from _names_below(below)
    elif isinstance(value, list):
        for below in value:
            yield from _names_below(below)


def _base_url(node: _Node, *, insecure: bool) -> str:
    """Scheme, host and port alone, none of which a caller can change."""
    words = "a URL of scheme, host and port alone, such as https://pbx.example.com:8089"
    url = node.text(_ADDRESS, words)
    if not url:
        return url
    parts = urlsplit(url)
    try:
        possible = parts.port != 0
    except ValueError:
        possible = False
    if not possible:
        node.fault("must have a port from 1 to 65535")
    host = parts.hostname or ""
    if is_link_local(host):
        node.fault("must not be a link-local address; a cloud's own data is found there")
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        node.fault("must begin with https://; insecure_http: true allows http to another host")
    return url


def is_link_local(host: str) -> bool:
    """Whether this is an address of 169.254.0.0/16 or fe80::/10, in whatever spelling."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_link_local


def _status_range(node: _Node) -> range:
    found = _STATUS.fullmatch(str(node.value))
    if isinstance(node.value, bool) or found is None:
        node.fault('must be a status such as 200, or a range such as "400-499"')
        return range(0)
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def _regex(node: _Node) -> re.Pattern[str] | None:
    try:
        return re.compile(node.text())
    except re.error as error:
        node.fault(f"is no regular expression: {error}")
        return None


def _parsed(node: _Node, parse: Callable[[str], Pointer]) -> Pointer | None:
    try:
        return parse(node.text())
    except PointerError as error:
        node.fault(str(error))
        return None


def _at_its_own_place(node: _Node, name: str) -> _Node:
    """A pointer that is the name of a value, and not the value."""
    return _Node(name, node.where, node._faults)  # noqa: SLF001 - one of its own kind
