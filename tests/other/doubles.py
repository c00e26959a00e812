"""Doubles of PBXs over HTTP, as their public documents have them: over real connections.

They prove that the examples and the language fit those documents, and no more. A call at one goes
through its stages by the clock.
"""

# Neither twisted.web nor twisted.trial has annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from attrs import frozen
from standardwebhooks import Webhook, WebhookVerificationError
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

reactor: Any = _reactor

#: Seconds after its order at which a call comes to a stage.
STAGES: Final = (("ringing", 0.0), ("answered", 1.2), ("talking", 2.4), ("over", 3.6))


@frozen
class Request:
    """A request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: str

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the query."""
        return {name: values[0] for name, values in parse_qs(self.query).items()}

    @property
    def json(self) -> Any:
        """What the body is."""
        return json.loads(self.body)


class Double(ABC):
    """A back end with one call. `busy` is a number that is; `placed` is how often it was told."""

    busy = "105"

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.placed = 0
        self.hung_up = False
        self._since = 0.0

    @abstractmethod
    def answer(self, request: Request) -> Any:
        """Status and body of an answer, or a Deferred with them."""

    def begin(self) -> None:
        """The call begins now."""
        self.placed += 1
        self._since = reactor.seconds()

    @property
    def stage(self) -> str:
        """Where the call is."""
        if not self.placed or self.hung_up:
            return "over"
        seconds = reactor.seconds() - self._since
        return [stage for stage, at in STAGES if seconds >= at][-1]

    def listen(self) -> Any:
        """Listen on some port of loopback."""
        return reactor.listenTCP(0, Site(_Everything(self)), interface="127.0.0.1")


class _Everything(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, double: Double) -> None:
        super().__init__()
        self._double = double

    def render(self, request: Any) -> Any:
        names = {
            name.decode(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        path, _, query = request.uri.decode().partition("?")
        came = Request(request.method.decode(), path, query, names, request.content.read().decode())
        self._double.requests.append(came)
        answer = self._double.answer(came)
        if not isinstance(answer, Deferred):
            return self._written(request, answer)

        def later(found: Any) -> None:
            if not request._disconnected:
                request.write(self._written(request, found))
                request.finish()

        answer.addCallback(later)
        return NOT_DONE_YET

    def _written(self, request: Any, answer: tuple[int, Any]) -> bytes:
        status, body = answer
        request.setResponseCode(status)
        text = body if isinstance(body, str) else json.dumps(body)
        return text.encode()


class FreeSwitch(Double):
    """mod_xml_rpc: text, always HTTP 200; originate waits until the first phone has answered."""

    uuid = ""

    def answer(self, request: Request) -> Any:
        if request.headers["Authorization"] != _basic("freeswitch", "hush"):
            return 401, ""
        words = unquote(request.query)
        match request.path.rpartition("/")[2]:
            case "status":
                return 200, "UP 0 years, 3 days"
            case "originate":
                return self._originate(words)
            case "uuid_exists":
                return 200, "true" if words == self.uuid and self.stage != "over" else "false"
            case "uuid_getvar":
                bond = "some-uuid" if self.stage == "talking" else "_undef_"
                return 200, bond if self.stage != "over" else "-ERR No such channel!"
            case "uuid_kill":
                self.hung_up = True
                return 200, "+OK"
        raise AssertionError(request)

    def _originate(self, words: str) -> Any:
        self.begin()
        assert words.startswith("{origination_uuid=")
        self.uuid = words.removeprefix("{origination_uuid=").partition(",")[0]
        if f"user/{self.busy} " in words:
            return deferLater(reactor, 0.7, lambda: (200, "-ERR USER_BUSY\n"))
        if "user/100 200 XML default" not in words:
            return 200, "-ERR SUBSCRIBER_ABSENT\n"

        def answered() -> Any:
            return 200, "-ERR NO_ANSWER\n" if self.hung_up else f"+OK {self.uuid}\n"

        return deferLater(reactor, STAGES[1][1], answered)


class Yeastar(Double):
    """The OpenAPI of a P-series: HTTP 200 whatever happens, a token in the query."""

    token = 0
    lapsed = False  # the next request with the token of now

    def answer(self, request: Request) -> Any:
        assert request.headers["User-Agent"] == "OpenAPI"
        name = request.path.rpartition("/")[2]
        if name == "get_token":
            if request.json != {"username": "id", "password": "hush"}:
                return 200, {"errcode": 20003, "errmsg": "wrong"}
            self.token += 1
            return 200, {"errcode": 0, "errmsg": "SUCCESS", "access_token": f"token{self.token}"}
        if request.parameters["access_token"] != f"token{self.token}" or self.lapsed:
            self.lapsed = False
            return 200, {"errcode": 10004, "errmsg": "ACCESS TOKEN EXPIRED"}
        return self._logged_in(name, request)

    def _logged_in(self, name: str, request: Request) -> Any:
        if name == "dial":
            return self._dial(request.json)
        if name == "hangup":
            assert request.json == {"channel_id": "PJSIP/100-1"}
            self.hung_up = True
            return 200, {"errcode": 0}
        assert request.parameters["call_id"] == "1612.4"
        if self.stage == "over":
            return 200, {"errcode": 10001, "errmsg": "NO SUCH CALL"}
        second = {"ringing": "", "answered": "RING", "talking": "ANSWER"}[self.stage]
        first = "RING" if self.stage == "ringing" else "ANSWER"
        members = [
            {"extension": {"number": "100", "channel_id": "PJSIP/100-1", "member_status": first}}
        ]
        if second:
            members.append({"outbound": {"to": "200", "member_status": second}})
        return 200, {"errcode": 0, "data": [{"call_id": "1612.4", "members": members}]}

    def _dial(self, order: Any) -> Any:
        self.begin()
        if order["caller"] == self.busy:
            return 200, {"errcode": 40002, "errmsg": "EXTENSION IS BUSY"}
        return 200, {"errcode": 0, "errmsg": "SUCCESS", "call_id": "1612.4"}


class ThreeCx(Double):
    """The Call Control API: a bearer token from a form, a list of participants."""

    def answer(self, request: Request) -> Any:
        if request.path == "/connect/token":
            assert "Authorization" not in request.headers
            form = parse_qs(request.body)
            right = form["client_secret"] == ["hush"]
            return (200, {"access_token": "t.o-k"}) if right else (400, {"error": "invalid_client"})
        if request.headers["Authorization"] != "Bearer t.o-k":
            return 401, {}
        match request.path.split("/")[2:]:
            case [extension, "makecall"]:
                if extension == self.busy:
                    self.placed += 1
                    return 422, {"finalstatus": "Failed", "reasontext": "Device is busy."}
                assert request.json["timeout"] == 10
                self.begin()
                return 202, {"finalstatus": "Success", "result": {"id": 12, "callid": 7}}
            case ["100", "participants"]:
                status = {"ringing": "Ringing", "answered": "Dialing", "talking": "Connected"}
                mine = [{"id": 12, "callid": 7, "status": status.get(self.stage)}]
                others = [{"id": 13, "callid": 8, "status": "Ringing"}]
                return 200, others + ([] if self.stage == "over" else mine)
            case ["100", "participants", "12", "drop"]:
                self.hung_up = True
                return 200, {}
        raise AssertionError(request)


class Ucm(Double):
    """A Grandstream UCM: challenge, md5, cookie; no id of a call."""

    def answer(self, request: Request) -> Any:
        order = request.json["request"]
        right = hashlib.md5(b"1234hush", usedforsecurity=False).hexdigest()
        match order["action"]:
            case "challenge":
                return 200, {"response": {"challenge": "1234"}, "status": 0}
            case "login" if order["token"] == right:
                return 200, {"response": {"cookie": "sid77"}, "status": 0}
            case "dialOutbound" if order["cookie"] == "sid77":
                self.begin()
                if order["caller"] == self.busy:
                    return 200, {"response": {"message": "Extension is busy"}, "status": -9}
                return 200, {"response": {"need_apply": "no"}, "status": 0}
        return 200, {"status": -5}


class Dialer(Double):
    """A program with the library of Standard Webhooks."""

    secret = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, or so").decode()

    def answer(self, request: Request) -> Any:
        headers = {name.lower(): text for name, text in request.headers.items()}
        try:
            order = Webhook(self.secret).verify(request.body, headers)
        except WebhookVerificationError as error:
            return 401, {"error": str(error)}
        self.begin()
        data: Any = order["data"]
        if data["dial_first"] == self.busy:
            return 409, {"error": "That one is busy."}
        assert headers["webhook-id"] == data["request_id"]
        assert data["timeout"] == 10
        return 202, {"ok": True}


class Kamailio(Double):
    """JSON-RPC: a result, or an error with HTTP 500."""

    def answer(self, request: Request) -> Any:
        order = request.json
        self.begin()
        same = {"jsonrpc": "2.0", "id": order["id"]}
        assert order["method"] == "dlg.bridge_dlg"
        if order["params"][0].startswith(f"sip:{self.busy}@"):
            return 500, {**same, "error": {"code": 500, "message": "Cannot place it"}}
        return 200, {**same, "result": {}}


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
