"""The description of what goes over the broker says what the program does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from attrs import evolve
from jsonschema import Draft7Validator

from c2c_agent import __version__
from c2c_agent.amqp.messages import (
    CANCEL,
    DEAD,
    EVENTS,
    JOB,
    REASON,
    MalformedMessage,
    cancel_message,
    encode,
    event_key,
    job_message,
    jobs_queue,
    pbx_name_of,
    read_event,
    read_job,
    results_queue,
)
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    Place,
    Reject,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.job import PBX_KINDS
from c2c_agent.call.machine import step
from c2c_agent.call.record import to_json
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.report.delivery import Target, reports
from c2c_agent.report.event import EventType
from c2c_agent.web.operation import description
from tests.playbook import JOB as A_JOB
from tests.playbook import PLAN, REQUEST_ID, a_call
from tests.schemas import Schemas
from tests.unit.report.test_history import TALKED

PROJECT: Final = Path(__file__).parent.parent
DESCRIPTION: Final[dict[str, Any]] = yaml.safe_load(
    (PROJECT / "docs" / "asyncapi.yml").read_text(encoding="utf-8")
)
SCHEMAS: Final = Schemas(
    DESCRIPTION,
    at="file:///docs/asyncapi.yml",
    beside={"file:///c2c_agent/web/openapi.yml": description()},
)

#: Where scripts/test has unpacked the package of the AsyncAPI project that has its JSON schemas.
SPECIFICATIONS: Final = Path(os.environ.get("C2C_ASYNCAPI", "/nowhere"))


def faults(schema: str, body: bytes) -> list[str]:
    """What is wrong with a message's body."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return ["no JSON"]
    return SCHEMAS.faults(f"/components/schemas/{schema}", message)


@pytest.mark.asyncapi
def test_is_asyncapi() -> None:
    """By the specification's own schema; what is no AsyncAPI, that does not take."""
    schema = SPECIFICATIONS / "schemas" / "3.0.0-without-$id.json"
    validator = Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(DESCRIPTION)] == []
    jobs = {**DESCRIPTION["channels"]["jobs"], "adress": "x"}
    assert not validator.is_valid({**DESCRIPTION, "channels": {"jobs": jobs}})


def references(part: Any) -> Iterator[str]:
    """All references."""
    if isinstance(part, dict):
        for name, below in part.items():
            if name == "$ref":
                yield below
            else:
                yield from references(below)
    elif isinstance(part, list):
        for below in part:
            yield from references(below)


def test_references() -> None:
    """Each leads somewhere."""
    files = {"": DESCRIPTION, "../c2c_agent/web/openapi.yml": description()}
    for reference in references(DESCRIPTION):
        file, _, pointer = reference.partition("#/")
        there = files[file]
        for name in pointer.split("/"):
            there = there[name]
        assert there


def test_version() -> None:
    """That of the program."""
    assert DESCRIPTION["info"]["version"] == __version__


def test_names() -> None:
    """Queues, exchanges and routing keys are those of the program."""
    channels = DESCRIPTION["channels"]
    assert {name: channel["address"] for name, channel in channels.items()} == {
        "jobs": jobs_queue("{agent_id}"),
        "events": event_key("{agent_id}", "{event_type}"),
        "results": results_queue("{server_id}"),
        "dead": DEAD,
    }
    assert channels["events"]["bindings"]["amqp"]["exchange"]["name"] == EVENTS


def test_properties() -> None:
    """What tells messages apart, and the reason of a dead letter."""
    messages = DESCRIPTION["components"]["messages"]
    for name, kind in (("job", JOB), ("cancel", CANCEL)):
        assert messages[name]["name"] == kind
        assert messages[name]["bindings"]["amqp"]["messageType"] == kind
    assert set(messages["dead"]["headers"]["properties"]) == {REASON}


def test_values() -> None:
    """The same events and kinds of PBX as in the program."""
    schemas = DESCRIPTION["components"]["schemas"]
    assert set(schemas["EventType"]["enum"]) == set(EventType)
    assert schemas["Job"]["properties"]["pbx"]["enum"] == list(PBX_KINDS)


@pytest.mark.parametrize("name", ["job", "cancel"])
def test_examples(name: str) -> None:
    """They can be used as they are."""
    message = DESCRIPTION["components"]["messages"][name]
    for example in message["examples"]:
        body = encode(example["payload"])
        assert faults(name.capitalize(), body) == []
        assert read_job(body) == example["payload"]


class TestJobs:
    @pytest.mark.parametrize(
        "job",
        [
            A_JOB,
            evolve(A_JOB, auto_answer="call-info", confirm=True, pbx="other", agent_pbx="south"),
        ],
    )
    def test_what_a_relay_writes(self, job: Any) -> None:
        """Each of its fields is described."""
        message = job_message(REQUEST_ID, job, 1003.5)
        described = DESCRIPTION["components"]["schemas"]["Job"]["properties"]
        assert faults("Job", encode(message)) == []
        assert set(message) <= set(described)
        assert faults("Cancel", encode(cancel_message(REQUEST_ID))) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"\xff",
            b"",
            b"[" * 100_000,
            b"[]",
            b"null",
            b"7",
            b"{}",
            b'{"request_id": 7, "dial_first": "100", "dial_second": "200"}',
            b'{"request_id": "7", "dial_first": "100", "dial_second": "200"}',
            b'{"request_id": null, "dial_first": "100", "dial_second": "200"}',
        ],
    )
    def test_what_is_none(self, body: bytes) -> None:
        """What the program refuses, the description does."""
        with pytest.raises(MalformedMessage):
            read_job(body)
        assert faults("Job", body)
        assert faults("Cancel", body)

    @pytest.mark.parametrize("name", ["", "a b", "x" * 65, 7])
    def test_what_no_pbx_is_called(self, name: object) -> None:
        """Likewise."""
        body = encode({**job_message(REQUEST_ID, A_JOB, 1003.5), "pbx_name": name})
        with pytest.raises(MalformedMessage):
            pbx_name_of(body)
        assert faults("Job", body)

    def test_what_cannot_be_placed(self) -> None:
        """What is a message, and cannot be a call, is none by the description either."""
        message = job_message(REQUEST_ID, A_JOB, 1003.5)
        for wrong in ({"dial_first": ["100"]}, {"timeout": 0}, {"pbx": "x"}, {"confirm": "maybe"}):
            assert faults("Job", encode({**message, **wrong}))


class TestEvents:
    def bodies(self, *happened: Any) -> Iterator[tuple[str, bytes]]:
        """What an agent publishes of a call: types and bodies."""
        call = a_call()
        for number, event in enumerate(happened):
            before = call
            call = step(before, event, 1000.5 + number).call
            for report in reports(before, call, [Target("relay", relay=True)], server_id="pbx1"):
                yield report.type, report.body.encode()

    def test_what_an_agent_publishes(self) -> None:
        """Of a whole story, and of a refused request: every type there is."""
        told = [
            *self.bodies(
                Place(PLAN),
                OriginateAccepted({"Response": "Success"}),
                FirstRinging("PJSIP/100-1"),
                FirstAnswered("PJSIP/100-1"),
                SecondDialed(30),
                SecondRinging("PJSIP/200-2"),
                SecondAnswered("PJSIP/200-2"),
                Gone(TALKED),
            ),
            *self.bodies(Reject((Fault(ErrorCode.NOT_ALLOWED, "No."),))),
        ]
        assert {kind for kind, _ in told} == set(EventType)
        for _, body in told:
            assert faults("Event", body) == []

    @pytest.mark.parametrize(
        "record", [None, {}, [], "x", {**to_json(a_call()), "state": "asleep"}]
    )
    def test_what_is_none(self, record: Any) -> None:
        """What a relay refuses, the description does."""
        [(kind, body)] = self.bodies(Place(PLAN))
        event = {**json.loads(body), "record": record}
        with pytest.raises(MalformedMessage):
            read_event(f"pbx1.{kind}", encode(event))
        assert faults("Event", encode(event))
