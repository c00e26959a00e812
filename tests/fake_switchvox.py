"""A Switchvox for the tests: its Extend API, and the calls behind it.

It answers as what is publicly known of real ones says, and each doubt and each fault can be set.
`ask` is the whole of it, in memory and in the time of a Clock; `post` is what the driver's client
talks to there. `FakeServer` puts it behind a real HTTP server, over TLS or not, where other
programs' clients work with it (tests/switchvox), which is why it is believed.

What becomes of a call, its numbers say: `stories`.
"""

# Twisted's servers have few annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from c2c_agent.net.fresh_request import HttpAnswer, NoAnswerError, NotConnectedError
from c2c_agent.pbx.switchvox.login import LONGEST

Scheme: TypeAlias = Literal["empty-qop", "no-qop", "qop-auth", "qop-list", "auth-int", "basic"]

#: What can go wrong with one request. `placed`: after its call was placed.
Fault: TypeAlias = Literal[
    "no-connection",
    "dropped",
    "dropped-placed",
    "cut",
    "html-502",
    "html-502-placed",
    "html-200-placed",
    "empty-placed",
    "no-result-placed",
    "huge-placed",
    "never",
    "never-placed",
    "late",
    "blocked",
    "forgotten-nonce",
    "restart",
    "restart-placed",
]

HTML: Final = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body></body></html>\r\n"

#: Bytes of a huge answer.
HUGE: Final = 10_000_000

#: Faults that keep a request from being carried out, unless it is said that they come later.
_IGNORES_IT: Final = frozenset({"dropped", "restart", "never", "html-502"})

#: What is answered in the place of what was asked.
_INSTEAD: Final[Mapping[str, HttpAnswer]] = {
    "html-502": HttpAnswer(502, HTML),
    "html-200": HttpAnswer(200, HTML),
    "empty": HttpAnswer(200),
    "no-result": HttpAnswer(200, b'{"response": {"method": "switchvox.call"}}'),
    "huge": HttpAnswer(200, b" " * HUGE),
}

#: Digits from which on a number gets a line's prefix.
_OUTSIDE: Final = 7

#: Seconds of the PBX's clock at 0 of the tests' own: it has a time zone that nobody knows.
PBX_EPOCH: Final = 1_600_000_000

_FIELD: Final = re.compile(r'(\w+)="?([^",]*)"?')


class DroppedError(Exception):
    """The connection ends here; before, `sent` has gone out of `length` promised bytes."""

    def __init__(self, sent: bytes = b"", length: int = 0) -> None:
        super().__init__("dropped")
        self.sent = sent
        self.length = length


@frozen
class Story:
    """What happens when a number is called: after so many seconds, None for never."""

    answers: float | None = 2.0
    talks: float | None = 10.0  # for how long, then it hangs up
    refuses: float | None = None  # is busy, or unregistered, after so many seconds


@define(eq=False)
class PlacedCall:
    """A call that the PBX was told to place."""

    id: str
    first: str
    second: str
    parameters: Mapping[str, Any]
    placed_at: float
    answer: Deferred[HttpAnswer]
    failed: HttpAnswer  # what the request is answered when it comes to nothing
    state: str = "ringing"
    to_second: bool = False
    transaction_id: str = ""
    listed: bool = True
    talking_at: float | None = None
    ended_at: float | None = None
    timers: list[IDelayedCall] = field(factory=list)


class FakeSwitchvox:
    """One Switchvox. Whatever a test sets counts from the next request on."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        # Who may ask
        self.username, self.password = "c2c-agent", 's3cret "quoted"'
        self.scheme: Scheme = "empty-qop"
        self.nonce_uses: int | None = None  # how often a nonce serves; None: for ever
        self.refused_with = 403  # what a wrong password gets; 401 since Basic
        self.permitted = True
        self.forbidden: set[str] = set()  # methods
        # How it speaks
        self.as_text = True  # numbers are strings
        self.content_type = "application/json"
        self.version = "7.8.0.1"
        self.rejects_second_timeout = False
        self.clock_known = True
        # Its calls
        self.extensions: dict[str, str] = {"101": "1107", "102": "1108", "104": "1110"}
        self.stories: dict[str, Story] = {}
        self.prefix = "9"
        self.lists_at_once = True  # a call, before its first phone was answered
        self.by_hand = False  # calls do nothing by themselves
        self.blocks = True  # the answer comes when the first phone was answered
        self.swapped = False  # from and to, in its list
        self.log_after: float | None = (
            2.0  # seconds from a call's end to its entry; None: there is none
        )
        self.log_accounts = True
        self.faults: dict[str, list[Fault]] = {}  # by method, one for each request to come
        self.before_answer: Callable[[str], None] = lambda _method: None
        # What was seen
        self.asked: list[str] = []  # methods, in order
        self.written: list[Mapping[str, Any]] = []  # parameters of each switchvox.call that came
        self.placed: list[PlacedCall] = []
        self.wrong_credentials = 0
        self.challenges = 0
        self.unknown_ids = 0  # that somebody wanted hung up
        self.hung_up: list[str] = []  # transaction ids of calls that somebody had it hang up
        self.strangers: list[dict[str, Any]] = []  # other people's calls
        self.log: list[dict[str, Any]] = []
        self._ids = itertools.count(6600)
        self._nonces: dict[str, int] = {}
        self._open: list[Deferred[HttpAnswer]] = []

    # In memory

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """The client's own way here, which sees what it would over a network."""
        asked = self.ask(method, path, headers.get("Authorization", ""), body.encode())
        try:
            got = await asked.addTimeout(seconds, self.clock)
        except ConnectionRefusedError:
            raise NotConnectedError("nobody listens there") from None
        except (DroppedError, TimedOut) as error:
            raise NoAnswerError(str(error)) from None
        if len(got.body) > LONGEST:
            raise NoAnswerError("the answer is too long")
        return got

    # Any request

    def ask(self, verb: str, path: str, authorization: str, body: bytes) -> Deferred[HttpAnswer]:
        """The answer to a request; fails with DroppedError where none comes."""
        method = _method_of(body)
        faults = self.faults.get(method)
        fault = faults.pop(0) if faults else None
        if fault == "no-connection":
            return fail(ConnectionRefusedError())
        if fault == "blocked":
            return fail(DroppedError())
        if fault == "forgotten-nonce":
            self._nonces.clear()
        unasked = self._challenge(verb, path, authorization) or _of_no_use(verb, path)
        if unasked is not None:
            return succeed(unasked)
        self.asked.append(method)
        return self._with_fault(method, body, fault or "")

    def _with_fault(self, method: str, body: bytes, fault: str) -> Deferred[HttpAnswer]:
        placed, name = fault.endswith("-placed"), fault.removesuffix("-placed")
        if placed or name not in _IGNORES_IT:
            answered = self._answer(method, body)
            self.before_answer(method)
        if name == "restart":
            self.restart()
        if name not in {"", "late", "cut", "forgotten-nonce"}:
            if placed:
                answered.addErrback(lambda _: None)  # nobody hears of it
            return self._instead(name)
        if name == "late":
            return answered.addCallback(self._later, 5.0)
        return answered.addCallback(_cut) if name == "cut" else answered

    def _instead(self, name: str) -> Deferred[HttpAnswer]:
        if name in {"dropped", "restart"}:
            return fail(DroppedError())
        return self._held() if name == "never" else succeed(_INSTEAD[name])

    def _later(self, got: HttpAnswer, seconds: float) -> Deferred[HttpAnswer]:
        waiting: Deferred[HttpAnswer] = Deferred()
        self.clock.callLater(seconds, _give, waiting, got)
        return waiting

    def _held(self) -> Deferred[HttpAnswer]:
        held: Deferred[HttpAnswer] = Deferred()
        self._open.append(held)
        return held

    def drop_open(self) -> None:
        """All connections end; calls go on."""
        for call in self.placed:
            _drop(call.answer)

    def restart(self) -> None:
        """All calls and all connections end, and no nonce is known any more."""
        for call in self.placed:
            if call.ended_at is None:
                self._end(call, logged=False)
            _drop(call.answer)
        self._nonces.clear()
        opened, self._open = self._open, []
        for held in opened:
            _drop(held)

    # Who asks

    def _challenge(self, verb: str, path: str, authorization: str) -> HttpAnswer | None:
        if not authorization:
            self.challenges += 1
            return self._ask_who()
        kind, _, rest = authorization.partition(" ")
        if kind == "Basic" and self.scheme == "basic":
            right = base64.b64decode(rest).decode() == f"{self.username}:{self.password}"
            return None if right else self._refuse()
        if kind != "Digest" or self.scheme == "basic":
            return self._refuse()
        given = dict(_FIELD.findall(rest))
        nonce = given.get("nonce", "")
        uses = self._nonces.get(nonce)
        if uses is None or uses == self.nonce_uses:
            self._nonces.pop(nonce, None)
            return self._ask_who(stale=True)
        if given.get("response") != self._response(verb, path, given):
            return self._refuse()
        self._nonces[nonce] = uses + 1
        return None

    def _refuse(self) -> HttpAnswer:
        self.wrong_credentials += 1
        if self.refused_with == 401:
            return self._ask_who()
        return HttpAnswer(self.refused_with, HTML)

    def _ask_who(self, *, stale: bool = False) -> HttpAnswer:
        if self.scheme == "basic":
            return HttpAnswer(401, HTML, ('Basic realm="Switchvox"',))
        nonce = hashlib.sha256(str(next(self._ids)).encode()).hexdigest()[:32]
        self._nonces[nonce] = 0
        qop = {
            "empty-qop": 'qop="", ',
            "no-qop": "",
            "qop-auth": 'qop="auth", ',
            "qop-list": 'qop="auth,auth-int", ',
            "auth-int": 'qop="auth-int", ',
        }[self.scheme]
        said = str(stale).lower()
        header = f'Digest realm="Switchvox", {qop}nonce="{nonce}", algorithm="MD5", stale="{said}"'
        return HttpAnswer(401, HTML, (header,))

    def _response(self, verb: str, path: str, given: Mapping[str, str]) -> str:
        """The one right response, as RFC 2069 or, with a qop, RFC 2617 has it."""
        secret = _md5(f"{self.username}:Switchvox:{self.password}")
        request = _md5(f"{verb}:{path}")
        if self.scheme in {"empty-qop", "no-qop"}:
            if "qop" in given or "nc" in given or "cnonce" in given:
                return "none is right"
            return _md5(f"{secret}:{given.get('nonce')}:{request}")
        middle = ":".join(given.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return _md5(f"{secret}:{middle}:{request}")

    # What is asked

    def _answer(self, method: str, body: bytes) -> Deferred[HttpAnswer]:
        try:
            request = json.loads(body)["request"]
            parameters = request.get("parameters", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            return succeed(
                self._says({}, "74151", "Your json request is not structured correctly.")
            )
        known: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "switchvox.info.getList": self._info,
            "switchvox.users.getMyInfo": self._my_info,
            "switchvox.systemClock.getInfo": self._clock_info,
            "switchvox.extensions.getInfo": self._extensions,
            "switchvox.currentCalls.getList": self._current,
            "switchvox.currentCalls.hangUp": self._hang_up,
            "switchvox.callLogs.search": self._search,
            "switchvox.users.callLogs.search": self._search,
        }
        echo = {"method": method}
        if "transaction_id" in request:
            echo["transaction_id"] = request["transaction_id"]
        if method in {"switchvox.call", "switchvox.users.call"}:
            self.written.append(parameters)
            if method not in self.forbidden:
                return self._place(echo, parameters)
        if method in self.forbidden:
            text = "Your account is not permitted to run this action."
            return succeed(self._says(echo, "27168", text))
        if method not in known:
            return succeed(self._says(echo, "99999", f"Unknown method ({method})."))
        told = known[method](parameters)
        if isinstance(told, tuple):
            return succeed(self._says(echo, *told))
        return succeed(self._says(echo, result=told))

    def _says(self, echo: Mapping[str, Any], *errors: str, result: object = None) -> HttpAnswer:
        """An answer: a result, or errors: a code, its message, the next code and so on."""
        response: dict[str, Any] = dict(echo)
        if errors:
            listed = [
                {"code": self._number(int(code)), "message": message}
                for code, message in zip(errors[::2], errors[1::2], strict=True)
            ]
            response["errors"] = {"error": listed[0] if len(listed) == 1 else listed}
        else:
            response["result"] = result
        body = json.dumps({"response": response}, indent=4).encode()
        return HttpAnswer(200, body)

    def _number(self, value: int) -> str | int:
        return str(value) if self.as_text else value

    def _info(self, _: Mapping[str, Any]) -> object:
        if not self.permitted:
            return ("27168", "Your account is not permitted to run this action.")
        return {
            "info": {
                "software": {"edition": "SMB", "version": self.version},
                "max_concurrent": {"calls": self._number(20)},
            }
        }

    def _my_info(self, _: Mapping[str, Any]) -> object:
        return {"my_info": {"extension": "101", "account_id": "1107"}}

    def _clock_info(self, _: Mapping[str, Any]) -> object:
        if not self.clock_known:
            return ("27168", "Your account is not permitted to run this action.")
        return {"system": {"current_time": self.shown(self.clock.seconds())}}

    def shown(self, at: float) -> str:
        """A time of the tests' clock as the PBX writes it."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(PBX_EPOCH + at))

    def _extensions(self, parameters: Mapping[str, Any]) -> object:
        wanted = [str(number) for number in parameters.get("extensions", [])]
        found = [
            {"number": number, "account_id": self.extensions[number], "type": "sip"}
            for number in wanted
            if number in self.extensions
        ]
        return {"extensions": _as_tree("extension", found)}

    # Calls

    def _place(
        self, echo: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> Deferred[HttpAnswer]:
        wrong = self._wrong(echo["method"], parameters)
        if wrong is not None:
            return succeed(self._says(echo, *wrong))
        first, second = parameters["dial_first"], self.rewritten(parameters["dial_second"])
        answered: Deferred[HttpAnswer] = Deferred()
        call = PlacedCall(
            f"SIP/{first}-{next(self._ids)}",
            first,
            second,
            parameters,
            self.clock.seconds(),
            answered,
            self._says(echo, "41591", "Your call failed to connect (Originate failed)."),
            transaction_id=echo.get("transaction_id", ""),
            listed=self.lists_at_once,
        )
        self.placed.append(call)
        accepted = self._says(
            echo,
            result={"call_info": {"dialed_first": first, "dialed_second": second, "variables": {}}},
        )
        story = self.stories.get(first, Story())
        timeout = float(parameters.get("timeout", 30))
        if story.refuses is not None and (story.answers is None or story.refuses < story.answers):
            self._then(call, story.refuses, lambda: self._fail(call))
        elif self.by_hand:
            pass
        elif story.answers is None or story.answers > timeout:
            self._then(call, timeout, lambda: self._fail(call))
        else:
            self._then(call, story.answers, lambda: self._first_answered(call, accepted))
        if not self.blocks:
            _give(answered, accepted)
        return answered

    def _wrong(self, method: str, parameters: Mapping[str, Any]) -> tuple[str, str] | None:
        needed = ["dial_first", "dial_second"]
        if method == "switchvox.call":
            needed.append("dial_as_account_id")
        for name in needed:
            if not parameters.get(name):
                return "10011", f"Missing required parameter ({name})"
        account = parameters.get("dial_as_account_id")
        if account is not None and account not in self.extensions.values():
            return "84711", "That account_id is invalid."
        if self.rejects_second_timeout and "timeout_second_call" in parameters:
            return "10013", "Invalid number of parameters."
        return None

    def rewritten(self, number: str) -> str:
        """A number as it is really dialled."""
        return self.prefix + number if len(number) >= _OUTSIDE else number

    def _then(self, call: PlacedCall, seconds: float, what: Callable[[], None]) -> None:
        call.timers.append(self.clock.callLater(seconds, what))

    def _fail(self, call: PlacedCall) -> None:
        self._end(call)
        _give(call.answer, call.failed)

    def _first_answered(self, call: PlacedCall, accepted: HttpAnswer) -> None:
        call.to_second = call.listed = True
        story = self.stories.get(call.parameters["dial_second"], Story())
        timeout = float(call.parameters.get("timeout_second_call", 30))
        if story.refuses is not None and (story.answers is None or story.refuses < story.answers):
            self._then(call, story.refuses, lambda: self._end(call))
        elif self.by_hand:
            pass
        elif story.answers is None or story.answers > timeout:
            self._then(call, timeout, lambda: self._end(call))
        else:
            talks = story.talks
            self._then(call, story.answers, lambda: self._talk(call, talks))
        _give(call.answer, accepted)

    def _talk(self, call: PlacedCall, seconds: float | None) -> None:
        call.state, call.talking_at = "talking", self.clock.seconds()
        if seconds is not None:
            self._then(call, seconds, lambda: self._end(call))

    def _end(self, call: PlacedCall, *, logged: bool = True) -> None:
        for timer in call.timers:
            if timer.active():
                timer.cancel()
        call.ended_at = self.clock.seconds()
        if logged and self.log_after == 0:
            self._write_log(call)
        elif logged and self.log_after is not None:
            self.clock.callLater(self.log_after, self._write_log, call)

    # By hand: what a test has calls do whose numbers never do anything by themselves

    def answer_first(self, call: PlacedCall) -> None:
        """The first phone is answered."""
        told = {"dialed_first": call.first, "dialed_second": call.second, "variables": {}}
        echo = {"method": "switchvox.call"}
        self._first_answered(call, self._says(echo, result={"call_info": told}))

    def refuse(self, call: PlacedCall, code: str, message: str) -> None:
        """The order is answered with an error, and there is no call."""
        self._end(call, logged=False)
        _give(call.answer, self._says({"method": "switchvox.call"}, code, message))

    def talk(self, call: PlacedCall) -> None:
        """The second phone is answered."""
        self._talk(call, None)

    def end(self, call: PlacedCall) -> None:
        """Somebody hangs up."""
        if call.ended_at is None:
            self._end(call)

    def hang_up_all(self) -> None:
        """Everybody hangs up."""
        for call in self.placed:
            if call.ended_at is None:
                self._end(call)

    def _write_log(self, call: PlacedCall) -> None:
        assert call.ended_at is not None
        talk = 0.0 if call.talking_at is None else call.ended_at - call.talking_at
        events = [{"type": "OUTGOING", "display": f"Call from {call.first}"}]
        if call.talking_at is not None:
            events.append({"type": "TALKING", "display": "Talking"})
        if call.to_second:
            events.append({"type": "HANGUP", "display": "Call was hung up by somebody"})
        entry: dict[str, Any] = {
            "id": self._number(next(self._ids)),
            "origination": "outgoing",
            "start_time": self.shown(call.placed_at),
            "from_number": call.first,
            "to_number": call.second,
            "talk_duration": self._number(round(talk)),
            "total_duration": self._number(round(call.ended_at - call.placed_at)),
            "events": _as_tree("event", events),
        }
        if self.log_accounts:
            entry["from_account_id"] = call.parameters.get("dial_as_account_id", "")
        self.log.append(entry)

    def _current(self, _: Mapping[str, Any]) -> object:
        going = [call for call in self.placed if _is_going(call) and call.listed]
        listed = [*map(self._entry, going), *self.strangers]
        counted = {"total_items": self._number(len(listed))}
        return {"current_calls": {**counted, **_as_tree("current_call", listed)}}

    def _entry(self, call: PlacedCall) -> dict[str, Any]:
        sides = [call.second, call.first] if not call.to_second else [call.first, call.second]
        if self.swapped:
            sides.reverse()
        return {
            "id": call.id,
            "state": call.state,
            "start_time": self.shown(call.placed_at),
            "duration": self._number(round(self.clock.seconds() - call.placed_at)),
            "from_caller_id_name": "",
            "from_caller_id_number": sides[0],
            "to_caller_id_number": sides[1],
            "format": "ulaw",
        }

    def _hang_up(self, parameters: Mapping[str, Any]) -> object:
        for call in filter(_is_going, self.placed):
            if call.id == parameters.get("current_call_id"):
                self.hung_up.append(call.transaction_id)
                self._end(call)
                _give(call.answer, call.failed)
                return {}
        self.unknown_ids += 1
        return ("10010", "Invalid current_call_id.")

    def _search(self, parameters: Mapping[str, Any]) -> object:
        if not parameters.get("start_date") or not parameters.get("end_date"):
            return ("77534", "Invalid date.")
        if not parameters.get("account_ids") and not parameters.get("account_id"):
            return ("10000", "Missing account_ids.")
        begin, end = str(parameters["start_date"]), str(parameters["end_date"])
        found = [entry for entry in self.log if begin <= entry["start_time"] <= end]
        return {"calls": {"total_items": self._number(len(found)), **_as_tree("call", found)}}


class FakeServer(Resource):
    """The same behind a real HTTP server; `site` is given to an endpoint."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self, fake: FakeSwitchvox) -> None:
        super().__init__()
        self._fake = fake
        self.site = Site(self, reactor=fake.clock)
        self.drips: float | None = None  # seconds from one byte of an answer to the next

    def render(self, request: Request) -> Any:
        """Answer a request, or do not."""
        body = request.content.read() if request.content is not None else b""
        authorization = request.getHeader("Authorization") or ""
        verb, path = request.method.decode(), request.path.decode()
        asked = self._fake.ask(verb, path, authorization, body)
        gone: list[bool] = []
        request.notifyFinish().addErrback(lambda _: gone.append(True))

        def answered(got: HttpAnswer) -> None:
            if gone:
                return
            request.setResponseCode(got.status)
            request.setHeader("Server", "nginx")
            html = got.body.startswith(b"<html")
            request.setHeader("Content-Type", "text/html" if html else self._fake.content_type)
            for challenge in got.challenges:
                request.responseHeaders.addRawHeader("WWW-Authenticate", challenge)
            request.setHeader("Content-Length", str(len(got.body)))
            if self.drips is not None:
                self._drip(request, got.body, gone)
                return
            if verb != "HEAD":
                request.write(got.body)
            request.finish()

        def dropped(failure: Any) -> None:
            if gone:
                return
            if isinstance(failure.value, DroppedError) and failure.value.sent:
                request.setHeader("Content-Length", str(failure.value.length))
                request.write(failure.value.sent)
            transport: Any = request.transport
            transport.abortConnection()

        asked.addCallbacks(answered, dropped)
        return NOT_DONE_YET

    def _drip(self, request: Request, body: bytes, gone: list[bool]) -> None:
        if not gone and body:
            request.write(body[:1])
            later = self._fake.clock.callLater(self.drips or 0, self._drip, request, body[1:], gone)
            request.notifyFinish().addErrback(_stopped, later)


def _of_no_use(verb: str, path: str) -> HttpAnswer | None:
    """The answer to what is no request of the JSON interface."""
    if path not in {"/json", "/xml"}:
        return HttpAnswer(404, HTML)
    if verb == "HEAD":
        return HttpAnswer(200)
    if verb != "POST" or path == "/xml":
        return HttpAnswer(200, b'<response><errors><error code="74151"/></errors></response>')
    return None


def _cut(got: HttpAnswer) -> HttpAnswer:
    raise DroppedError(got.body[: len(got.body) // 2], len(got.body))


def _stopped(_gone: object, timer: IDelayedCall) -> None:
    if timer.active():
        timer.cancel()


def _method_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["request"]["method"])
    except (ValueError, KeyError, TypeError):
        return ""


def _as_tree(name: str, children: list[dict[str, Any]]) -> dict[str, Any]:
    """One child is an object, several are a list, none is left out."""
    if not children:
        return {}
    return {name: children[0] if len(children) == 1 else children}


def _is_going(call: PlacedCall) -> bool:
    return call.ended_at is None


def _give(waiting: Deferred[HttpAnswer], got: HttpAnswer) -> None:
    if not waiting.called:
        waiting.callback(got)


def _drop(waiting: Deferred[HttpAnswer]) -> None:
    if not waiting.called:
        waiting.errback(DroppedError())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
