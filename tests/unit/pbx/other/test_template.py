"""Templates: what is a placeholder, and what a value must be for its place."""

from __future__ import annotations

from unittest import TestCase
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.pbx.other.template import (
    Placeholder,
    TemplateError,
    UnusableValueError,
    Where,
    hidden,
    is_plain,
    parse_template,
)


def fill(text: str, where: Where, **values: str) -> str:
    """Fill a text; `__` in a name stands for the dot."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return parse_template(text).fill(named, where)


class TestParsing(TestCase):
    def test_placeholders(self) -> None:
        """Of a call, of a login, of what was saved, of secrets."""
        text = "{dial_first}/{call_id}/{login.token}/{saved.channel}/{secret.key}"
        names = [one.name for one in parse_template(text).placeholders]
        assert names == ["dial_first", "call_id", "login.token", "saved.channel", "secret.key"]
        assert next(parse_template("{saved.a}").placeholders).family == "saved"
        assert next(parse_template("{call_id}").placeholders).family == "call_id"

    def test_other_braces_stay(self) -> None:
        """As a PBX itself has them, also around a placeholder."""
        text = "{origination_uuid={request_id},a=b}user/{dial_first} {} { x } {a-b} {1}"
        filled = fill(text, Where.VALUE, request_id="1-2", dial_first="100")
        assert filled == "{origination_uuid=1-2,a=b}user/100 {} { x } {a-b} {1}"

    def test_misspelt(self) -> None:
        """A single word in braces that nobody knows."""
        for text in ("{dial_frist}", "{login}", "{secret}", "{other.thing}", "{dial_first.x}"):
            with (
                self.subTest(text=text),
                self.assertRaisesRegex(TemplateError, "known are call_id"),
            ):
                parse_template(text)

    def test_numbers(self) -> None:
        """Only a timeout is one."""
        assert list(parse_template("{timeout:int}").placeholders) == [Placeholder("timeout", True)]
        for text in ("{dial_first:int}", "{timeout:text}"):
            with self.subTest(text=text), self.assertRaisesRegex(TemplateError, "timeout:int"):
                parse_template(text)


class TestFilling(TestCase):
    def test_path(self) -> None:
        """A value is one segment, or a part of one."""
        assert fill("/x/{dial_first}", Where.PATH, dial_first="a/b?c#d%") == "/x/a%2Fb%3Fc%23d%25"

    @given(st.text(min_size=1))
    def test_any_value_in_a_path(self, value: str) -> None:
        """None brings a separator with it, and none is lost."""
        try:
            value.encode()
        except UnicodeEncodeError:
            return
        filled = fill("{dial_first}", Where.PATH, dial_first=value)
        assert not set(filled) & set("/?# \r\n")
        assert unquote(filled) == value

    def test_header(self) -> None:
        """Printable ASCII alone."""
        assert fill("Bearer {login.token}", Where.HEADER, login__token="a b") == "Bearer a b"
        for value in ("a\r\nX: y", "a\n", "é", "\0"):
            with self.subTest(value=value), self.assertRaises(UnusableValueError):
                fill("{login.token}", Where.HEADER, login__token=value)

    def test_text(self) -> None:
        """Where the PBX reads it by rules of its own, only what means nothing to any."""
        assert fill("call {dial_first}", Where.TEXT, dial_first="+1*#a@b") == "call +1*#a@b"
        for value in ("a b", "a,b", "a{b", "a'b", "", "1" * 129):
            with self.subTest(value=value), self.assertRaises(UnusableValueError):
                fill("{dial_first}", Where.TEXT, dial_first=value)

    def test_a_secret_in_a_text(self) -> None:
        """Is the administrator's own."""
        assert fill("{secret.key}", Where.TEXT, secret__key="a b,c") == "a b,c"

    def test_from_the_pbx(self) -> None:
        """Held to the narrowest rule everywhere."""
        for where in Where:
            for name in ("call_id", "saved.channel"):
                template = parse_template(f"{{{name}}}")
                assert template.fill({name: "PJSIP"}, where) == "PJSIP"
                with self.subTest(where=where), self.assertRaises(UnusableValueError):
                    template.fill({name: "a b"}, where)

    def test_not_known_yet(self) -> None:
        """The message names it, and no value."""
        with self.assertRaisesRegex(UnusableValueError, "{saved.channel} is not known yet"):
            fill("{saved.channel}", Where.VALUE)

    def test_json(self) -> None:
        """A number where it stands alone, and a text with anything beside it."""
        assert parse_template("{timeout:int}").fill_json({"timeout": "30"}) == 30
        assert parse_template("{timeout}").fill_json({"timeout": "30"}) == "30"
        assert parse_template("{timeout:int} s").fill_json({"timeout": "30"}) == "30 s"

    def test_hidden(self) -> None:
        """Stars for secrets, and for what a login gave, known or not."""
        template = parse_template("{dial_first} {secret.key} {login.token}")
        shown = hidden(
            {"dial_first": "100", "secret.key": "x", "login.old": "y"}, template.placeholders
        )
        assert shown == {"dial_first": "100", "secret.key": "***", "login.token": "***"}

    def test_is_plain(self) -> None:
        """What a PBX's value may be."""
        assert is_plain("c2c-1.2:3@x/y")
        assert not is_plain("")
        assert not is_plain("a\n")
