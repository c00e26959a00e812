"""What goes over the broker."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from c2c_agent.amqp.messages import (
    MalformedMessage,
    agent_of,
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
from c2c_agent.call.call import CallState
from c2c_agent.call.job import JobRules, parse_job
from c2c_agent.call.record import to_json
from tests.playbook import JOB, REQUEST_ID, a_call


def test_names() -> None:
    """They begin alike, so that permissions can be given by patterns."""
    assert jobs_queue("pbx1") == "c2c.jobs.pbx1"
    assert results_queue("relay-a") == "c2c.results.relay-a"


@pytest.mark.parametrize("agent", ["pbx1", "pbx1.example.com"])
def test_whose_event_it_is(agent: str) -> None:
    """The routing key tells, also where the id has dots."""
    assert agent_of(event_key(agent, "call.ended"), "relay-a") == agent
    assert agent_of(event_key(agent, "call.ended", "relay-a"), "relay-a") == agent
    assert agent_of(event_key(agent, "call.ended", "relay-b"), "relay-a") == ""
    assert agent_of(event_key(agent, "call.ended"), "ended") == agent  # whatever a relay is called


class TestJobs:
    def test_there_and_back(self) -> None:
        """An agent reads what a relay writes."""
        wanted = evolve(
            JOB, auto_answer="call-info", confirm=True, max_duration=60, metadata={"ticket": "7"}
        )
        read = read_job(encode(job_message(REQUEST_ID, wanted, 1003.5)))
        job = parse_job(read, JobRules(auto_answer="alert-info"))
        assert job == evolve(
            wanted, request_id=REQUEST_ID, expires=1003.5, auto_answer="alert-info"
        )

    def test_what_is_expressly_not_wanted(self) -> None:
        """The agent does not do it, either, whatever its own key says of what is left open."""
        parameters = {
            "dial_first": "100",
            "dial_second": "200",
            "auto_answer": "0",
            "confirm": False,
        }
        wanted = parse_job(parameters, JobRules())
        read = read_job(encode(job_message(REQUEST_ID, wanted, 1003.5)))
        assert (read["auto_answer"], read["confirm"]) == (False, False)
        rules = JobRules(auto_answer="alert-info", auto_answer_always=True, confirm=True)
        job = parse_job(read, rules)
        assert (job.auto_answer, job.confirm) == (None, False)

    def test_confirm_auto(self) -> None:
        """As it was wanted, whatever the agent's own key says."""
        wanted = parse_job({"dial_first": "1", "dial_second": "2", "confirm": "auto"}, JobRules())
        read = read_job(encode(job_message(REQUEST_ID, wanted, 1003.5)))
        assert parse_job(read, JobRules(confirm=True)).confirm == "auto"

    def test_what_nothing_is_said_of(self) -> None:
        """There the agent's own key decides."""
        message = job_message(REQUEST_ID, JOB, 1003.5)
        assert "confirm" not in message
        assert "auto_answer" not in message
        assert "max_duration" not in message
        assert "pbx_name" not in message
        assert pbx_name_of(encode(message)) is None

    def test_the_pbx_of_several(self) -> None:
        """A relay's key names it. It is no parameter: no request may name one."""
        body = encode(job_message(REQUEST_ID, evolve(JOB, agent_pbx="south.2"), 1003.5))
        assert pbx_name_of(body) == "south.2"
        assert "pbx_name" not in read_job(body)

    @pytest.mark.parametrize("name", ["", "a b", "x" * 65, 7, ["north"], "north\n"])
    def test_no_name_of_a_pbx(self, name: object) -> None:
        """No agent has one that is called so."""
        with pytest.raises(MalformedMessage, match=r"^pbx_name is not the name of a PBX$"):
            pbx_name_of(encode({"request_id": REQUEST_ID, "pbx_name": name}))

    def test_cancel(self) -> None:
        """It needs the id alone."""
        assert read_job(encode(cancel_message(REQUEST_ID))) == {"request_id": REQUEST_ID}

    def test_an_id_in_capitals(self) -> None:
        """It is the same id."""
        assert read_job(encode({"request_id": REQUEST_ID.upper()}))["request_id"] == REQUEST_ID

    def test_more_than_a_job_has(self) -> None:
        """Nothing else comes in."""
        read = read_job(encode({"request_id": REQUEST_ID, "api_key": "x", "context": "y"}))
        assert read == {"request_id": REQUEST_ID}

    @pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
    def test_nested(self, opened: str, closed: str) -> None:
        """As deeply as over HTTP; what is deeper than anybody means breaks nothing."""

        def body(levels: int) -> bytes:
            value = opened * levels + "1" + closed * levels
            return f'{{"request_id": "{REQUEST_ID}", "timeout": {value}}}'.encode()

        assert "timeout" in read_job(body(32))
        for levels in (33, 900):
            with pytest.raises(MalformedMessage, match="too deeply nested"):
                read_job(body(levels))

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"\xff", "no valid JSON"),
            (f'{{"request_id": "{REQUEST_ID}", "timeout": NaN}}'.encode(), "no valid JSON"),
            (f'{{"request_id": "{REQUEST_ID}", "expires": -Infinity}}'.encode(), "no valid JSON"),
            (f'{{"request_id": "{REQUEST_ID}", "expires": 1e999}}'.encode(), "no valid JSON"),
            (b"[" * 100_000, "no valid JSON"),
            (b"[]", "no JSON object"),
            (b"{}", "request_id is not a UUID"),
            (b'{"request_id": 7}', "request_id is not a UUID"),
            (b'{"request_id": "7"}', "request_id is not a UUID"),
            (b'"' + b"x" * 300_000 + b'"', "longer than 262144 bytes"),
        ],
    )
    def test_malformed(self, body: bytes, reason: str) -> None:
        """The reason is said."""
        with pytest.raises(MalformedMessage, match=reason):
            read_job(body)


class TestEvents:
    def body(self, **changes: object) -> bytes:
        """An event of pbx1."""
        call = a_call(state=CallState.FIRST_RINGING)
        event = {"server_id": "pbx1.test", "record": to_json(call), **changes}
        return json.dumps(event).encode()

    def test_read(self) -> None:
        """Whose it is, and the agent's own record of the call."""
        event = read_event("pbx1.call.first_ringing", self.body())
        assert (event.agent_id, event.server_id) == ("pbx1", "pbx1.test")
        assert event.call == a_call(state=CallState.FIRST_RINGING)

    @pytest.mark.parametrize(
        "record",
        [None, {}, [], "x", {**to_json(a_call()), "state": "asleep"}],
    )
    def test_no_record(self, record: object) -> None:
        """Whatever is wrong with it."""
        with pytest.raises(MalformedMessage, match="no event of an agent"):
            read_event("pbx1.call.ended", self.body(record=record))

    def test_no_id(self) -> None:
        """Nobody could say which request it is of."""
        record = {**to_json(a_call()), "request_id": "7"}
        with pytest.raises(MalformedMessage, match="request_id is not a UUID"):
            read_event("pbx1.call.ended", self.body(record=record))
