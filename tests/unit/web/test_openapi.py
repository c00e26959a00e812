"""The description of the HTTP API says what the program does, and all of it."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import pytest
from attrs import evolve
from openapi_spec_validator import OpenAPIV31SpecValidator

from c2c_agent import __version__
from c2c_agent.call.call import CallState, HungUpBy
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    OriginateRefused,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.job import PBX_KINDS
from c2c_agent.call.outcome import Outcome
from c2c_agent.errors import ErrorCode
from c2c_agent.policy.keys import KeyRing, key_digest, operator_key
from c2c_agent.report.event import EventType, event_json
from c2c_agent.web.api import Api
from c2c_agent.web.operation import description
from c2c_agent.web.server import ApiSite
from tests.fakes import CRM, CRM_SECRET, OPERATOR_SECRET, Desk, uuid
from tests.memory_host import Answer, Connection, request
from tests.schemas import Schemas
from tests.unit.report.test_history import TALKED
from tests.unit.report.test_live import read
from tests.unit.web.asking import CHECKED
from tests.unit.web.test_server import AUTHORIZED, FORM, JSON, ONE, PLACE, SiteTest, api_of
from tests.unit.web.test_stream import Stream

DESCRIPTION: Final = description()
SCHEMAS: Final = Schemas(DESCRIPTION)
OPERATOR: Final = f"Authorization: Bearer {OPERATOR_SECRET}"


def pointer(*parts: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def enum(name: str) -> set[str]:
    """The values of a schema."""
    return set(DESCRIPTION["components"]["schemas"][name]["enum"])


class TestDescription:
    def test_is_openapi(self) -> None:
        """By the specification's own schema."""
        assert list(OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()) == []

    def test_version(self) -> None:
        """That of the program."""
        assert DESCRIPTION["info"]["version"] == __version__

    def test_routes(self) -> None:
        """Each path with each of its methods, and no others."""
        described = {
            path: set(operations) & {"get", "head", "post", "put", "delete", "patch", "options"}
            for path, operations in DESCRIPTION["paths"].items()
        }
        assert described == dict(routes(api_of(Desk())))

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("ErrorCode", ErrorCode),
            ("Outcome", Outcome),
            ("CallState", CallState),
            ("EventType", set(EventType) - {EventType.PLACED}),
            ("PbxKind", PBX_KINDS),
        ],
    )
    def test_names(self, name: str, values: Iterable[StrEnum | str]) -> None:
        """Those of the program."""
        assert enum(name) == {str(value) for value in values}

    def test_who_hangs_up(self) -> None:
        """The same, or nobody."""
        who = DESCRIPTION["components"]["schemas"]["Call"]["properties"]["hung_up_by"]["enum"]
        assert set(who) == {None, *(by.value for by in HungUpBy)}

    def test_ways_to_say_it(self) -> None:
        """A call's parameters are the same in the query string and in a body; so is the key.

        Metadata alone is an object in a body, and written one by one in a query.
        """
        in_query = {each["name"] for each in DESCRIPTION["paths"]["/c2c/v2"]["get"]["parameters"]}
        in_body = set(DESCRIPTION["components"]["schemas"]["CallRequest"]["properties"])
        assert in_body == {*in_query, "api_key", "metadata"}

    def test_what_is_no_answer(self) -> None:
        """The schemas refuse what the program does not say: so they can be believed."""
        for schema, instance in (
            ("Refusal", {"response": {}, "method": "asterisk.call", "server_id": "x"}),
            ("StatusAnswer", {"c2c_status": None}),
            ("Calls", {"calls": [{}]}),
            ("Event", {"id": "x"}),
            ("Readiness", {"ready": True, "parts": {"store": None}}),
        ):
            assert SCHEMAS.faults(pointer("components", "schemas", schema), instance)


def routes(api: Api) -> Iterable[tuple[str, set[str]]]:
    """The paths of the program, with their methods."""
    for path, methods in api._routes:
        item = "{token_id}" if "/tokens/" in path.pattern else "{request_id}"
        name = path.pattern.replace("(?P<item>[^/]+)", item).replace("\\.", ".")
        yield name, {method.lower() for method in methods}


class RealAnswers(SiteTest):
    """What the program says, held to the description."""

    def setUp(self) -> None:
        """Let the operator in, too."""
        super().setUp()
        self.api._access.keys = KeyRing([CRM, operator_key(key_digest(OPERATOR_SECRET), [CRM])])
        self.site = ApiSite(self.api, None, self.site_clock)

    def check(self, path: str, answer: Answer, method: str = "get") -> Any:
        """What an answer says, which the description has so: code, type, header and content."""
        operation = ("paths", path, method, "responses")
        described = DESCRIPTION["paths"][path][method]["responses"]
        assert str(answer.code) in described
        response = described[str(answer.code)]
        at = (*operation, str(answer.code))
        if "$ref" in response:
            at = tuple(response["$ref"].removeprefix("#/").split("/"))
            response = DESCRIPTION["components"]["responses"][at[-1]]
        kind = answer.headers["content-type"]
        assert kind in response["content"]
        if "retry-after" in answer.headers:
            assert "Retry-After" in response["headers"]
        assert SCHEMAS.faults(pointer(*at, "content", kind, "schema"), answer.json) == []
        return answer.json

    def talk(self, request_id: str = ONE) -> None:
        """A call from its order to its end."""
        self.driver.tells(
            request_id,
            OriginateAccepted({"Response": "Success"}),
            FirstRinging("PJSIP/100-1"),
            FirstAnswered("PJSIP/100-1"),
            SecondDialed(30),
            SecondRinging("PJSIP/200-2"),
            SecondAnswered("PJSIP/200-2"),
            Gone(TALKED),
        )

    def test_calls(self) -> None:
        """Placed, placed again, refused by us, by the PBX, and by the key."""
        self.check("/c2c/v2", self.placed())
        again = self.check("/c2c/v2", self.client.asks(PLACE))
        assert again["response"]["replayed"] is True
        body = json.dumps({"dial_first": "&", "timeout": [], "api_key": CRM_SECRET}).encode()
        said = self.client.asks("/c2c/v2", JSON, method="POST", body=body)
        self.check("/c2c/v2", said, "post")
        said = self.client.asks("/c2c/v2", FORM, method="POST", body=b"dial_first=100")
        self.check("/c2c/v2", said, "post")
        self.client.sends(request(PLACE.replace(ONE, uuid(2))))
        self.driver.tells(uuid(2), OriginateRefused("Extension does not exist."))
        [answer] = self.client.answers()
        assert self.check("/c2c/v2", answer)["response"]["status"] == "fail"

    def test_come_again(self) -> None:
        """The header that says when."""
        self.api._access.keys = KeyRing([evolve(CRM, per_minute=1)])
        self.placed()
        answer = self.client.asks("/c2c/v2?dial_first=100&dial_second=200", AUTHORIZED)
        assert "retry-after" in answer.headers
        self.check("/c2c/v2", answer)

    def test_status(self) -> None:
        """In each state, and where there is none."""
        path, url = "/c2c/v2/status/{request_id}", f"/c2c/v2/status/{ONE}"
        self.check(path, self.client.asks(url))
        self.check(path, self.client.asks(url + "?wait=61"))
        self.client.sends(request(PLACE))
        self.check(path, Connection(self.site).asks(url))  # the first one waits for its answer
        self.talk()
        self.client.answers()
        call = self.check(path, self.client.asks(url))["c2c_status"]["call"]
        assert call["outcome"] == "connected"

    def test_refused_status(self) -> None:
        """Of a request that was no call at all."""
        self.client.asks(f"/c2c/v2?dial_first=&request_id={ONE}", AUTHORIZED)
        said = self.check("/c2c/v2/status/{request_id}", self.client.asks(f"/c2c/v2/status/{ONE}"))
        assert said["c2c_status"]["call"]["outcome"] == "rejected"

    def test_cancel(self) -> None:
        """Done, and refused."""
        self.placed()
        for header in (AUTHORIZED, OPERATOR, "X: y"):
            said = self.client.asks(f"/c2c/v2/cancel/{ONE}", header, method="POST")
            self.check("/c2c/v2/cancel/{request_id}", said, "post")

    def test_calls_of_a_key(self) -> None:
        """Listed, and refused."""
        self.placed()
        self.talk()
        for query, header in (("", AUTHORIZED), ("?limit=x", AUTHORIZED), ("", "X: y")):
            self.check("/c2c/v2/calls", self.client.asks(f"/c2c/v2/calls{query}", header))

    def test_replay(self) -> None:
        """Done, and refused."""
        for header in (OPERATOR, AUTHORIZED, "X: y"):
            answer = self.client.asks("/c2c/v2/replay", header, method="POST")
            self.check("/c2c/v2/replay", answer, "post")

    def test_check(self) -> None:
        """What was found, and refused."""
        for header in (OPERATOR, AUTHORIZED):
            self.check("/c2c/v2/check", self.client.asks("/c2c/v2/check", header))
        schema = pointer("components", "schemas", "Checked")
        assert SCHEMAS.faults(schema, CHECKED) == []

    def test_keys(self) -> None:
        """All, its own, and refused."""
        for header in (OPERATOR, AUTHORIZED, "X: y"):
            self.check("/c2c/v2/keys", self.client.asks("/c2c/v2/keys", header))

    def test_stop_and_start(self) -> None:
        """Done, and refused."""
        for header in (OPERATOR, AUTHORIZED, "X: y"):
            for path in ("/c2c/v2/stop-calls", "/c2c/v2/start-calls"):
                self.check(path, self.client.asks(path, header, method="POST"), "post")

    def test_events(self) -> None:
        """Each event of a stream; the answers where there is none."""
        self.check("/c2c/v2/events", self.client.asks("/c2c/v2/events"))
        path, url = "/c2c/v2/events/{request_id}", f"/c2c/v2/events/{ONE}"
        self.check(path, self.client.asks(url))
        self.placed()
        stream = Stream(self.site, url)
        self.talk()
        described = DESCRIPTION["paths"][path]["get"]["responses"]["200"]["content"]
        assert stream.head["content-type"] in described
        at = ("paths", path, "get", "responses", "200", "content", "text/event-stream", "schema")
        streamed = read(stream.text.removeprefix("retry: 3000\n\n").encode())
        events = [json.loads(fields["data"]) for fields in streamed]
        assert len(events) == 6
        for fields, event in zip(streamed, events, strict=True):
            assert SCHEMAS.faults(pointer(*at), fields) == []
            assert SCHEMAS.faults(pointer("components", "schemas", "Event"), event) == []
        seen = self.client.asks(url, f"Last-Event-ID: {events[-1]['id']}")
        assert self.check(path, seen)["c2c_status"]["call"]["outcome"] == "connected"

    def test_webhooks(self) -> None:
        """What is told to them is the same event."""
        self.placed()
        self.talk()
        call = self.desk.call(ONE)
        event = event_json(call, EventType.ENDED, server_id="pbx1", at=1.0)
        where = ("webhooks", "event", "post", "requestBody", "content", "application/json")
        assert SCHEMAS.faults(pointer(*where, "schema"), event) == []

    def test_operation(self) -> None:
        """Health, readiness and the description itself."""
        self.check("/healthz", self.client.asks("/healthz"))
        self.check("/readyz", self.client.asks("/readyz"))
        self.api._operation._readiness = lambda: {"store": None, "ami": "not connected yet"}
        self.check("/readyz", self.client.asks("/readyz"))
        assert self.check("/openapi.json", self.client.asks("/openapi.json")) == DESCRIPTION

    def test_metrics(self) -> None:
        """Not JSON."""
        described = DESCRIPTION["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
        kind = self.client.asks("/metrics").headers["content-type"]
        assert re.split("; *", kind)[0] in described
