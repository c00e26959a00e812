"""Conditions, what rules tell, and error texts."""

from __future__ import annotations

import re
from typing import Any
from unittest import TestCase

from c2c_agent.call.evidence import Leg
from c2c_agent.pbx.other.answer import Answer, parse_pointer
from c2c_agent.pbx.other.rules import (
    Conditions,
    ErrorText,
    LegEnd,
    Look,
    Over,
    Progress,
    Rule,
    parse_tell,
    values_at,
)
from c2c_agent.pbx.other.template import parse_template


def at(pointer: str, *wanted: str) -> Conditions:
    """What is at a pointer is one of these."""
    return Conditions(
        values=((parse_pointer(pointer), tuple(parse_template(text) for text in wanted)),)
    )


class TestConditions(TestCase):
    def test_status(self) -> None:
        """One of the ranges."""
        when = Conditions(status=(range(200, 201), range(400, 500)))
        assert [when.hold(Answer(status), {}) for status in (200, 201, 404, 500)] == [
            *(True, False, True, False)
        ]

    def test_text(self) -> None:
        """Found anywhere, unless the expression says where."""
        when = Conditions(text=re.compile(r"^-ERR"))
        assert when.hold(Answer(200, b"-ERR USER_BUSY"), {})
        assert not when.hold(Answer(200, b"+OK -ERR"), {})

    def test_values(self) -> None:
        """Compared as text; whatever is spelled so is the same."""
        for body in (b'{"ok": 1}', b'{"ok": "1"}'):
            assert at("/ok", "0", "1").hold(Answer(200, body), {})
        assert at("/ok", "true").hold(Answer(200, b'{"ok": true}'), {})
        for body in (b'{"ok": 2}', b"{}", b"<html>", b'{"ok": []}'):
            with self.subTest(body=body):
                assert not at("/ok", "1").hold(Answer(200, body), {})

    def test_placeholders(self) -> None:
        """One that is not known yet is equal to nothing."""
        when = at("/callid", "{call_id}")
        answer = Answer(200, b'{"callid": "7"}')
        assert when.hold(answer, {"call_id": "7"})
        assert not when.hold(answer, {"call_id": "8"})
        assert not when.hold(answer, {})

    def test_all_must_hold(self) -> None:
        """Status, text and values."""
        when = Conditions(
            (range(200, 201),),
            re.compile("result"),
            at("/a", "1").values,
        )
        assert when.hold(Answer(200, b'{"a": 1, "result": 2}'), {})
        assert not when.hold(Answer(200, b'{"a": 1}'), {})
        assert not when.hold(Answer(404, b'{"a": 1, "result": 2}'), {})


class TestTelling(TestCase):
    def test_words(self) -> None:
        """Progress, how a leg ended, and that nothing is left."""
        assert parse_tell("second_ringing") is Progress.SECOND_RINGING
        assert parse_tell("gone") is Over.GONE
        assert parse_tell("first BUSY") == LegEnd(Leg.FIRST, "BUSY")
        assert parse_tell("second ANSWER") == LegEnd(Leg.SECOND, "ANSWER")
        for text in ("third BUSY", "first SLOW", "first", "", "first busy", "answered"):
            with self.subTest(text=text):
                assert parse_tell(text) is None

    def judge(self, look: Look, body: bytes, status: int = 200, **known: str) -> Any:
        return look.judge(Answer(status, body), known)

    def test_every_rule_that_holds_speaks(self) -> None:
        """And saves what it is told to."""
        look = Look(
            (
                Rule(at("/a", "1"), Progress.FIRST_RINGING, {"c": parse_pointer("/c")}),
                Rule(at("/a", "2"), Progress.FIRST_ANSWERED),
                Rule(at("/b", "1"), None, {"d": parse_pointer("/nothing")}),
            )
        )
        told, saved = self.judge(look, b'{"a": 1, "b": 1, "c": "PJSIP/1"}')
        assert told == [Progress.FIRST_RINGING]
        assert saved == {"c": "PJSIP/1"}

    def test_elements(self) -> None:
        """The rules look at each; `otherwise` at the whole."""
        look = Look(
            (Rule(at("/n", "{dial_first}"), Progress.FIRST_RINGING),),
            parse_pointer("/members/*", several=True),
            (Rule(at("/errcode", "10001"), Over.GONE),),
        )
        assert self.judge(look, b'{"members": [{"n": "7"}, {"n": "100"}]}', dial_first="100") == (
            [Progress.FIRST_RINGING],
            {},
        )
        assert self.judge(look, b'{"errcode": 10001}', dial_first="100") == ([Over.GONE], {})
        assert self.judge(look, b"<html>", dial_first="100") == ([], {})

    def test_absent(self) -> None:
        """Only where the list was there to be looked through."""
        look = Look(
            for_each=parse_pointer("/*", several=True),
            absent=Rule(at("/callid", "{call_id}"), Over.GONE),
        )
        assert self.judge(look, b'[{"callid": 7}]', call_id="7")[0] == []
        assert self.judge(look, b'[{"callid": 8}]', call_id="7")[0] == [Over.GONE]
        assert self.judge(look, b"[]", call_id="7")[0] == [Over.GONE]
        assert self.judge(look, b"[]", status=500, call_id="7")[0] == []
        assert self.judge(look, b"<html>", call_id="7")[0] == []

    def test_saved_values(self) -> None:
        """What is missing, empty, or no single value is left out."""
        document = Answer(200, b'{"a": "x", "b": "", "c": [], "d": 7, "f": null}').document
        save = {name: parse_pointer(f"/{name}") for name in "abcdef"}
        assert values_at(save, document) == {"a": "x", "d": "7"}


class TestErrorText(TestCase):
    def test_the_first_that_finds_something(self) -> None:
        """Pointers, expressions with a group and without; else the status."""
        text = ErrorText(
            (parse_pointer("/reason"), re.compile(r"^-ERR (\w+)"), re.compile("-USAGE"))
        )
        assert text.of(Answer(400, b'{"reason": " no such phone "}')) == "no such phone"
        assert text.of(Answer(200, b"-ERR CALL_REJECTED")) == "CALL_REJECTED"
        assert text.of(Answer(200, b"-USAGE: originate")) == "-USAGE"
        assert text.of(Answer(503, b'{"reason": null, "x": 1}')) == "HTTP 503"
        assert text.of(Answer(503, b'{"reason": []}')) == "HTTP 503"
        assert text.of(Answer(503, b"<html>")) == "HTTP 503"
        assert ErrorText((re.compile("(x)?y"),)).of(Answer(503, b"y")) == "HTTP 503"

    def test_long(self) -> None:
        """Nobody reads all of it."""
        assert len(ErrorText((re.compile(".*"),)).of(Answer(500, b"x" * 5000))) == 500
