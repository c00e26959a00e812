"""Requests: each value encoded by the place where it lands."""

from __future__ import annotations

import json
from typing import Any
from unittest import TestCase
from urllib.parse import parse_qs

from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.pbx.other.request import Body, Request
from c2c_agent.pbx.other.template import UnusableValueError, parse_template

VALUES = {"dial_first": "100", "dial_second": "+200", "timeout": "30"}
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def request(path: str = "/call", method: str = "POST", **fields: Any) -> Request:
    """A request to this path."""
    return Request(method, parse_template(path), **fields)


class TestTarget(TestCase):
    def test_query(self) -> None:
        """Each value encoded."""
        query = {"to": parse_template("{dial_second}"), "a b": parse_template("&=")}
        assert request(query=query).fill(VALUES).target == "/call?to=%2B200&a%20b=%26%3D"

    def test_raw_query(self) -> None:
        """Filled first, then encoded as a whole."""
        raw = parse_template("{a={timeout}}user/{dial_first} {dial_second}")
        assert request(raw_query=raw).fill(VALUES).target == "/call?%7Ba%3D30%7Duser%2F100%20%2B200"

    def test_no_way_out_of_the_path(self) -> None:
        """Neither by one value nor by two."""
        for path, values in (
            ("/a/{dial_first}/b", {"dial_first": ".."}),
            ("/a/{dial_first}", {"dial_first": "."}),
            ("/a/{dial_first}{dial_second}", {"dial_first": ".", "dial_second": "."}),
        ):
            with self.subTest(path=path), self.assertRaises(UnusableValueError):
                request(path).fill(values)

    @given(WORDS)
    def test_any_value_stays_in_its_place(self, value: str) -> None:
        """In path, query, form and JSON."""
        name = parse_template("{dial_first}")
        filled = request("/x/y", query={"q": name}, body=Body(form={"f": name})).fill(
            {"dial_first": value}
        )
        path, _, query = filled.target.partition("?")
        assert path == "/x/y"
        assert parse_qs(query, strict_parsing=True, keep_blank_values=True) == {"q": [value]}
        assert parse_qs(filled.body, strict_parsing=True, keep_blank_values=True) == {"f": [value]}
        in_json = request(body=Body(json={"a": ["{", name]})).fill({"dial_first": value})
        assert json.loads(in_json.body) == {"a": ["{", value]}


class TestBody(TestCase):
    def test_json(self) -> None:
        """Inside string values alone; what else JSON has stays."""
        body = Body(
            json={
                "to": parse_template("{dial_second}"),
                "seconds": parse_template("{timeout:int}"),
                "list": [1, None, True, parse_template("{dial_first}")],
            }
        )
        filled = request(body=body).fill(VALUES)
        assert json.loads(filled.body) == {
            "to": "+200",
            "seconds": 30,
            "list": [1, None, True, "100"],
        }
        assert filled.headers == {"Content-Type": "application/json"}

    def test_form_and_text(self) -> None:
        """With the type that each is."""
        form = request(body=Body(form={"To": parse_template("{dial_second}")})).fill(VALUES)
        assert form.body == "To=%2B200"
        assert form.headers == {"Content-Type": "application/x-www-form-urlencoded"}
        text = request(body=Body(text=parse_template("call {dial_first}"))).fill(VALUES)
        assert text.body == "call 100"
        assert text.headers == {"Content-Type": "text/plain; charset=utf-8"}

    def test_a_type_of_its_own(self) -> None:
        """What is configured counts."""
        headers = {"content-type": parse_template("application/vnd.x+json")}
        filled = request(body=Body(json={}), headers=headers).fill({})
        assert filled.headers == {"content-type": "application/vnd.x+json"}

    def test_too_long(self) -> None:
        """Not sent."""
        body = Body(text=parse_template("x" * 65537))
        with self.assertRaisesRegex(UnusableValueError, "65536 bytes"):
            request(body=body).fill({})

    def test_no_body(self) -> None:
        """Nor a type of one."""
        filled = request(method="DELETE").fill({})
        assert (filled.body, filled.headers) == ("", {})


class TestShowing(TestCase):
    def test_secrets(self) -> None:
        """Stars in every place."""
        secret, token = parse_template("{secret.key}"), parse_template("{login.token}")
        shown = request(
            query={"k": secret},
            headers={"X-Token": token},
            body=Body(json={"a": [secret], "to": parse_template("{dial_first}")}),
        ).show({**VALUES, "secret.key": "hush"})
        assert shown.target == "/call?k=%2A%2A%2A"
        assert shown.headers["X-Token"] == "***"
        assert json.loads(shown.body) == {"a": ["***"], "to": "100"}

    def test_all_placeholders(self) -> None:
        """Those of path and query apart."""
        one = request(
            "/{dial_first}",
            raw_query=parse_template("{dial_second}"),
            headers={"X": parse_template("{dial_as}")},
            body=Body(text=parse_template("{timeout}")),
        )
        assert [name.name for name in one.in_url()] == ["dial_first", "dial_second"]
        assert [name.name for name in one.placeholders()] == [
            *("dial_first", "dial_second", "dial_as", "timeout")
        ]
        assert list(request().placeholders()) == []
        form = request(body=Body(form={"a": parse_template("{timeout}")}))
        assert [name.name for name in form.placeholders()] == ["timeout"]
