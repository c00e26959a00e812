"""What is stored of an order, shown, and found again."""

from __future__ import annotations

import json
from typing import Any
from unittest import TestCase

from attrs import evolve

from c2c_agent.call.job import CallJob
from c2c_agent.errors import ApiError, ErrorCode
from c2c_agent.pbx.other.answer import Answer
from c2c_agent.pbx.other.order import (
    kept_before,
    kept_of,
    make_plan,
    redacted,
    shown_answer,
    values_of,
)
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.reading import read
from c2c_agent.pbx.other.template import UnusableValueError

ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
JOB = CallJob("100", "+49 200", "104", 25)


def program(**more: Any) -> Program:
    """A back end that has a token in its query, and a secret in its body."""
    section = {
        "base_url": "https://pbx:8088",
        "secrets": {"key": {"file": "/key"}},
        "headers": {"User-Agent": "c2c", "X-Key": "{secret.key}"},
        "login": {"steps": [{"path": "/login", "save": {"token": "/token"}}]},
        "place": {
            "path": "/call/{dial_first}",
            "query": {"token": "{login.token}"},
            "json": {"to": "{dial_second}", "as": "{dial_as}", "key": "{secret.key}"},
            "success": {"status": 200},
            "call_id": "/id",
            "save": {"channel": "/channel"},
        },
        **more,
    }
    return read(section, ("other",), {})


class TestPlan(TestCase):
    def test_what_is_shown(self) -> None:
        """The request, with stars for what is secret."""
        plan = make_plan(program(), ID, JOB, 3600)
        body = plan.data["body"]
        assert isinstance(body, str)
        assert json.loads(body) == {"to": "+49 200", "as": "104", "key": "***"}
        assert plan.data["url"] == "https://pbx:8088/call/100?token=%2A%2A%2A"
        assert plan.data["method"] == "POST"
        assert plan.data["headers"] == {"User-Agent": "c2c", "Content-Type": "application/json"}
        assert (plan.target, plan.timeout, plan.max_duration) == ("+49 200", 25, 3600)

    def test_credentials_that_are_written_out_are_not_shown(self) -> None:
        """Neither in headers, nor in query or body; known by their names."""
        place = {
            "path": "/call",
            "headers": {"X-Access-Token": "abc-1", "Accept": "text/plain"},
            "query": {"apikey": "abc-2", "to": "{dial_second}"},
            "json": {
                "password": "abc-3",
                "nested": [{"tokens": ["abc-4", {"of": "abc-5"}], "pin": 7654321, "times": 3}],
                "session": "{dial_as}",
                "is_secret": True,
                "signature": "abc {secret.key}",
            },
            "success": {"status": 200},
            "call_id": "/id",
        }
        headers = {"X-Auth": "abc-6", "X-Key": "{secret.key}"}
        plan = make_plan(program(headers=headers, place=place), ID, JOB, 3600)
        assert plan.data["headers"] == {
            "X-Auth": "***",
            "X-Access-Token": "***",
            "Accept": "text/plain",
            "Content-Type": "application/json",
        }
        assert plan.data["url"] == "https://pbx:8088/call?apikey=%2A%2A%2A&to=%2B49%20200"
        body = plan.data["body"]
        assert isinstance(body, str)
        assert json.loads(body) == {
            "password": "***",
            "nested": [{"tokens": ["***", {"of": "***"}], "pin": "***", "times": 3}],
            "session": "104",
            "is_secret": True,
            "signature": "abc ***",
        }

    def test_credentials_of_a_form_are_not_shown(self) -> None:
        """They are known by their names, too."""
        place = {
            "path": "/call",
            "form": {"pwd": "abc", "to": "{dial_first}", "auth": "a{dial_as}"},
            "success": {"status": 200},
            "call_id": "/id",
        }
        plan = make_plan(program(place=place), ID, JOB, 3600)
        assert plan.data["body"] == "pwd=%2A%2A%2A&to=100&auth=%2A%2A%2A"

    def test_after_a_restart(self) -> None:
        """The values are those of the plan."""
        plan = make_plan(program(dial_as={"104": "1110"}), ID, JOB, 3600)
        assert values_of(ID, plan) == {
            "dial_first": "100",
            "dial_second": "+49 200",
            "dial_as": "1110",
            "timeout": "25",
            "request_id": ID,
        }

    def test_unknown_dial_as(self) -> None:
        """Where there is a map, it has all of them."""
        with self.assertRaises(ApiError) as caught:
            make_plan(program(dial_as={"105": "1110"}), ID, JOB, 3600)
        assert caught.exception.faults[0].code is ErrorCode.UNKNOWN_DIAL_AS

    def test_it_cannot_be_filled_in(self) -> None:
        """Nothing is placed."""
        with self.assertRaises(ApiError) as caught:
            make_plan(program(), ID, evolve(JOB, dial_first=".."), 3600)
        assert caught.exception.faults[0].code is ErrorCode.PBX_ERROR


class TestAnswer(TestCase):
    def test_kept(self) -> None:
        """The call's id and what is saved, found again after a restart."""
        answer = Answer(200, b'{"id": 7, "channel": "PJSIP/1"}')
        kept = kept_of(program(), answer)
        assert kept == {"call_id": "7", "saved.channel": "PJSIP/1"}
        assert kept_before(shown_answer(answer, kept, ())) == kept
        assert kept_before(None) == kept_before({"kept": "x"}) == {}

    def test_none_there(self) -> None:
        """Nothing is kept, and nothing shown of it."""
        kept = kept_of(program(), Answer(200, b"<html>"))
        assert kept == {}
        assert "kept" not in shown_answer(Answer(200), kept, ())
        own = program(place={"path": "/{dial_first}", "success": {"status": 200}})
        assert kept_of(own, Answer(200, b'{"id": 7}')) == {}

    def test_unusable(self) -> None:
        """It goes into later requests."""
        for body in (b'{"id": "a b"}', b'{"id": 7, "channel": "a\\r\\nb"}'):
            with self.subTest(body=body), self.assertRaises(UnusableValueError):
                kept_of(program(), Answer(200, body))

    def test_shown(self) -> None:
        """No more than 4 KiB, without secrets."""
        shown = shown_answer(Answer(200, b"token hush " + b"x" * 9000), {}, ["hush"])
        assert shown["status"] == 200
        assert str(shown["body"]).startswith("token *** xxx")
        assert len(str(shown["body"])) == 4096

    def test_redacted(self) -> None:
        """As it is, in a URL, in JSON; the longest first; an empty one hides nothing."""
        secret = 'a/"b c'
        for text in (secret, "a%2F%22b%20c", "a/%22b%20c", 'a/\\"b c', 'a\\/\\"b c'):
            assert redacted(f"x{text}y", [secret]) == "x***y", text
        assert redacted("hushhush", ["hush", "hushhush", ""]) == "***"
