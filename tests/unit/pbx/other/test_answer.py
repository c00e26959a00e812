"""Answers, and pointers into them."""

from __future__ import annotations

from unittest import TestCase

from c2c_agent.pbx.other.answer import (
    MISSING,
    Answer,
    PointerError,
    parse_pointer,
    spelled,
)


class TestAnswer(TestCase):
    def test_json_whatever_it_is_called(self) -> None:
        """Numbers keep their spelling, however long."""
        long = "1" * 5000
        answer = Answer(200, f'{{"a": 1.50, "b": {long}, "c": NaN, "d": true}}'.encode())
        assert answer.document == {"a": "1.50", "b": long, "c": "NaN", "d": True}

    def test_no_json(self) -> None:
        """HTML, half of one, too deep, no UTF-8."""
        for body in (b"<html>", b'{"a": 1', b"[" * 50_000, b"\xff", b""):
            with self.subTest(body=body[:10]):
                assert Answer(200, body).document is MISSING

    def test_text(self) -> None:
        """What is no UTF-8 is replaced."""
        assert Answer(200, b"+OK \xff").text == "+OK \ufffd"


class TestPointer(TestCase):
    document = Answer(
        200,
        b'{"a": {"b/c": [10, {"~d": "x"}]}, "": "empty", "e": null,'
        b' "list": [{"n": 1}, {"n": 2}, 3]}',
    ).document

    def at(self, text: str) -> object:
        return parse_pointer(text).get(self.document)

    def test_places(self) -> None:
        """RFC 6901: members, elements, escapes, the whole."""
        assert self.at("/a/b~1c/0") == "10"
        assert self.at("/a/b~1c/1/~0d") == "x"
        assert self.at("/") == "empty"
        assert self.at("") is self.document
        assert self.at("/e") is None

    def test_nothing_there(self) -> None:
        """No such member, no such element, nothing below a value."""
        for text in ("/x", "/a/b~1c/2", "/a/b~1c/-", "/a/b~1c/01", "/a/b~1c/x", "/e/f", "/a/x/y"):
            with self.subTest(text=text):
                assert self.at(text) is MISSING
        assert parse_pointer("").get(MISSING) is MISSING

    def test_every_element(self) -> None:
        """Of lists and of objects."""
        assert list(parse_pointer("/list/*/n", several=True).each(self.document)) == ["1", "2"]
        pointer = parse_pointer("/a/*/0", several=True)
        assert list(pointer.each(self.document)) == ["10"]
        assert not pointer.is_single

    def test_a_thousand_elements(self) -> None:
        """No more are looked at."""
        assert len(list(parse_pointer("/*", several=True).each(["x"] * 5000))) == 1000

    def test_no_pointer(self) -> None:
        """Found at the start."""
        for text, words in (
            ("a/b", "must be a JSON pointer"),
            ("/a~2", "~0 and ~1"),
            ("/a" * 17, "16 steps"),
            ("/a/*", "only in for_each"),
        ):
            with self.subTest(text=text), self.assertRaisesRegex(PointerError, words):
                parse_pointer(text)

    def test_spelled(self) -> None:
        """As JSON has it; no lists, no objects."""
        values: tuple[object, ...] = (True, False, None, 1, 1.5, "x", [], {})
        assert [spelled(value) for value in values] == [
            *("true", "false", "null", "1", "1.5", "x"),
            None,
            None,
        ]
