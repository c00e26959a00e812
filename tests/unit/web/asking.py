"""Asks an API in front of a desk, as a client does."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.call.events import Gone, OriginateAccepted
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.check.finding import Finding
from c2c_agent.config.sections import HttpConfig
from c2c_agent.policy.keys import KeyRing, key_digest, operator_key
from c2c_agent.policy.token import TokenSigner
from c2c_agent.report.delivery import Depth
from c2c_agent.report.lane import Trouble
from c2c_agent.report.metrics import Exposition
from c2c_agent.report.outbox import Standing
from c2c_agent.web.answers import Reply
from c2c_agent.web.api import Api
from c2c_agent.web.ask import PREFIX, Ask
from c2c_agent.web.browser import Browser
from c2c_agent.web.request import Parameters, read_parameters
from tests.fakes import (
    CALL_PARAMETERS,
    CRM,
    CRM_SECRET,
    OPERATOR_SECRET,
    SHOP,
    SHOP_SECRET,
    DeskTest,
    uuid,
)

ONE, TWO = uuid(1), uuid(2)


BASE = "http://pbx1.example.com:8470"


BUSY = Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17)))


EXPOSITION = Exposition("text/plain; version=0.0.4", b"c2c_ami_up 1.0\n")


CHECKED: dict[str, Any] = {
    "utc.time": "1435628937.000",
    "ok": False,
    "findings": [
        Finding("configuration", "2 keys, server_id pbx1.example.com").as_dict(),
        Finding("AMI login", "127.0.0.1:5038: not connected yet", "Is it running?").as_dict(),
    ],
}


UNKNOWN_KEY = "c2c_nobody-has-this"


class ApiTest(DeskTest):
    """An API in front of a desk. None of its answers or log lines may have a key in it."""

    config = HttpConfig()

    def setUp(self) -> None:
        """Put the API there, and listen to the log."""
        super().setUp()
        self.parts: dict[str, str | None] = {"store": None, "ami": None}
        self.answers: list[Reply] = []
        self.replayed: list[tuple[str | None, str | None]] = []
        operator = operator_key(key_digest(OPERATOR_SECRET), [CRM, SHOP])
        self.signer = TokenSigner([b"a secret of the tests, of 32 bytes and more"])
        self.ring = KeyRing([CRM, SHOP, operator])
        self.api = Api(
            config=self.config,
            server_id="pbx1.example.com",
            keys=self.ring,
            intake=self.desk.intake,
            dispatcher=self.desk.dispatcher,
            live=self.desk.live,
            readiness=lambda: self.parts,
            metrics=lambda: EXPOSITION,
            replay=self.replay,
            standing=self.standing,
            kill_switch=self.desk,
            check=self.check,
            signer=self.signer,
            tokens=self.desk.tokens,
            report_list=self.desk.report_list,
            use=lambda name: self.desk.meter.use(name, self.desk.now()),
            clock=self.clock,
            now=self.desk.wall,
        )
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    async def replay(self, target: str | None, request_id: str | None) -> int:
        """Be the outbox, with seven dead letters."""
        self.replayed.append((target, request_id))
        return 7

    async def check(self) -> dict[str, Any]:
        """Be the checks, which find a fault."""
        return CHECKED

    async def standing(self) -> list[Standing]:
        """Be the outbox, with a receiver that fails and one that does not."""
        trouble = Trouble("HTTP 500", 1_435_628_937)
        return [
            Standing("crm", Depth(3, 1, 1_435_628_930.5), trouble),
            Standing("shop", Depth(), None),
        ]

    def tearDown(self) -> None:
        """No key was told to anybody, or written anywhere."""
        told = json.dumps([answer.body for answer in self.answers], default=repr)
        written = "".join(formatEvent(event) or "" for event in self.logged)
        stored = repr(self.store.all_kept())
        for secret in (CRM_SECRET, SHOP_SECRET, OPERATOR_SECRET, UNKNOWN_KEY):
            assert secret not in told + written + stored
        super().tearDown()

    # Asking

    def asks(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | str = "",
        *,
        key: str | None = CRM_SECRET,
        json_body: object = None,
        last_event_id: str = "",
        browser: Any = Browser(),
        **form: Any,
    ) -> Deferred[Reply]:
        """Ask with a key as bearer; parameters in the query, the form, or as JSON."""
        text = query if isinstance(query, str) else urlencode(query)
        kind, body = "", urlencode(form).encode()
        if json_body is not None:
            kind, body = "application/json; charset=utf-8", json.dumps(json_body).encode()
        parameters = read_parameters(text.encode(), kind, body)
        ask = self.ask_of(
            method,
            path,
            parameters=parameters,
            bearer=key,
            last_event_id=last_event_id,
            browser=browser,
        )
        handler, _ = self.api.route(method, path)
        asked = Deferred.fromCoroutine(self.api.answer(handler, ask))
        asked.addCallback(self.note)
        return asked

    def ask_of(self, method: str, path: str, **more: Any) -> Ask:
        """A request, read."""
        return Ask(
            **{
                "method": method,
                "path": path,
                "base_url": BASE,
                "item": self.api.route(method, path)[1],
                "parameters": Parameters(),
                "bearer": None,
                "client": "192.0.2.7",
                **more,
            }
        )

    def note(self, reply: Reply) -> Reply:
        """Remember an answer, for the end."""
        self.answers.append(reply)
        return reply

    def told(self, asked: Deferred[Reply]) -> dict[str, Any]:
        """What an answer says, which comes as 200 and as JSON."""
        reply = self.successResultOf(asked)
        assert reply.code == 200
        body: dict[str, Any] = json.loads(json.dumps(reply.body))
        return body

    def get(self, path: str, query: dict[str, Any] | str = "", **how: Any) -> dict[str, Any]:
        """What is told at once."""
        return self.told(self.asks("GET", path, query, **how))

    def post(self, path: str, **how: Any) -> dict[str, Any]:
        """What is told at once."""
        return self.told(self.asks("POST", path, **how))

    def placed(self, request_id: str = ONE, key: str = CRM_SECRET) -> str:
        """A call that the PBX has accepted: its id."""
        asked = self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": request_id}, key=key)
        self.driver.tells(request_id, OriginateAccepted({"Response": "Success"}))
        assert self.told(asked)["response"]["status"] == "success"
        return request_id

    def ended(self, request_id: str = ONE, key: str = CRM_SECRET) -> str:
        """A call that has ended: its id."""
        self.placed(request_id, key)
        self.driver.tells(request_id, BUSY)
        return request_id

    def faults(self, body: Any) -> list[tuple[str, str]]:
        """The errors of an answer: code and words."""
        errors = body["errors"] if "errors" in body else body["response"]["errors"]
        return [(entry["error"]["code"], entry["error"]["message"]) for entry in errors]

    def assert_unauthorized(self, body: dict[str, Any], message: str) -> None:
        """Refused without a trace: nothing dialled, nothing stored, nothing told."""
        assert self.faults(body) == [("unauthorized", message)]
        assert "url" not in json.dumps(body)
        assert self.driver.prepared == []
        assert self.store.saves == []
