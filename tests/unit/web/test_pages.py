"""The pages: what is served, with which headers, and that nothing else is."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from c2c_agent.web.ask import Ask
from c2c_agent.web.operation import description
from c2c_agent.web.pages import pages
from c2c_agent.web.request import Parameters
from tests.memory_host import request
from tests.unit.web.test_server import AUTHORIZED, SiteTest

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}

#: What in a page would be loaded, or run, from where it is not served.
_ELSEWHERE = re.compile(
    r"""(?:src|href|action)=["'](?:[a-z]+:|//)|\son[a-z]+=|\sstyle=|<style|@import"""
)


class Pages(SiteTest):
    """What a browser gets."""

    def test_each(self) -> None:
        """With its type and the headers, to anybody: the API asks for the key."""
        assert {"/dial", "/console", "/c2c.js", "/static/base.css"} < set(pages())
        for path, page in pages().items():
            answer = self.client.asks(path)
            assert answer.code == 200
            assert answer.content == page.content
            assert answer.headers["content-type"] == page.content_type
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS

    def test_types(self) -> None:
        """By which a browser knows what it may run."""
        assert pages()["/dial"].content_type == "text/html; charset=utf-8"
        assert pages()["/c2c.js"].content_type == "text/javascript; charset=utf-8"
        assert pages()["/static/base.css"].content_type == "text/css; charset=utf-8"
        assert pages()["/static/icon.svg"].content_type == "image/svg+xml"

    def test_the_headers_alone(self) -> None:
        """HEAD is GET without the content."""
        for path, page in pages().items():
            self.client.sends(request(path, method="HEAD"))
            head, content = self.taken()
            assert head.startswith(b"http/1.1 200 ok")
            assert f"content-length: {len(page.content)}\r\n".encode() in head
            assert content == b""

    def test_what_a_browser_has(self) -> None:
        """It is not sent again, as long as it is the same."""
        tag = self.client.asks("/dial").headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            self.client.sends(request("/dial", f"If-None-Match: {known}"))
            head, content = self.taken()
            assert head.startswith(b"http/1.1 304 ")
            assert f"etag: {tag}\r\n".encode() in head
            assert content == b""
        assert self.client.asks("/dial", 'If-None-Match: "other"').code == 200

    def taken(self) -> tuple[bytes, bytes]:
        """What came, in small letters: the headers, and the content."""
        sent = self.client.transport.value().lower()
        self.client.transport.clear()
        head, _, content = sent.partition(b"\r\n\r\n")
        return head + b"\r\n", content

    def test_the_widget(self) -> None:
        """Alone for pages of other origins, and small."""
        answer = self.client.asks("/c2c.js")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert len(answer.content) <= 20_000
        for path in set(pages()) - {"/c2c.js"}:
            assert "access-control-allow-origin" not in self.client.asks(path).headers

    def test_no_way_out(self) -> None:
        """A path is looked up in a table, and never becomes the name of a file."""
        for path in (
            "/static/../openapi.yml",
            "/static/..%2fopenapi.yml",
            "/static/%2e%2e/pages.py",
            "/static//etc/passwd",
            "/static/",
            "/static",
            "/static/dial.html",
            "/static/base.css%00.js",
            "/STATIC/base.css",
            "/dial/",
        ):
            assert self.client.asks(path).code == 404, path

    def test_only_looked_at(self) -> None:
        """Nothing can be sent to a page."""
        assert self.client.asks("/dial", AUTHORIZED, method="POST").code == 405

    def test_none_is_of_who_looks_after_the_agent(self) -> None:
        """Pages take none of the connections that are kept for health."""
        for path in pages():
            ask = Ask("GET", path, "http://a", path, Parameters(), None, "192.0.2.7")
            assert not self.api.looks_after(ask)

    def test_nothing_from_elsewhere(self) -> None:
        """No file names another origin, or has style or script where the policy forbids it."""
        found = [
            (file.name, hit[0])
            for file in files("c2c_agent.web").joinpath("static").iterdir()
            if file.name.endswith((".html", ".css"))
            for hit in _ELSEWHERE.finditer(file.read_text(encoding="utf-8"))
        ]
        assert found == []


#: A script asks the agent for a path.
_ASKED = re.compile(
    r"""(?:^|[ .#])(?P<by>ask|follow|send|turn)\((?P<quote>["`])(?P<path>.*?)(?P=quote)"""
    r"""(?P<rest>.*)$""",
    re.MULTILINE,
)

#: The same where it passes on the path that it was given, is defined, or asks for no path.
_PASSED_ON = re.compile(r"""(?:^|[ .#])(?:ask|follow|send|turn)\((?:path\b|\))""", re.MULTILINE)

#: Both.
_ANY = re.compile(r"""(?:^|[ .#])(?:ask|follow|send|turn)\(""", re.MULTILINE)

#: The properties of an object of a JSDoc type, and those of objects within it.
_TYPE = re.compile(r"@typedef \{\{(?P<fields>.*?)\}\} (?P<name>\w+) \*/", re.DOTALL)
_INNER = re.compile(r"\{[^{}]*\}")
_FIELD = re.compile(r"""(?:^|, )"?(?P<name>[\w.]+)"?\??:""")


def scripts() -> dict[str, str]:
    """The text of each script that is served, without comments, by the name of its file."""
    return {
        file.name: re.sub(r"(?m)^ *(?://|/?\*).*$", "", file.read_text(encoding="utf-8"))
        for file in files("c2c_agent.web").joinpath("static").iterdir()
        if file.name.endswith(".js")
    }


def asked(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Each method and path that a script asks the agent for, with `x` for what it fills in."""
    for one in _ASKED.finditer(text):
        rest = one["rest"]
        if name == "c2c.js":  # send(path, token, body, …)
            posts = rest.split(",")[2:3] not in ([], [" undefined"])
        else:
            posts = 'method: "POST"' in rest or one["by"] == "turn"
        path = re.sub(r"\$\{.*?\}", "x", one["path"]).partition("?")[0]
        yield (
            "post" if posts else "get",
            f"/{path}" if "outside: true" in rest else f"/c2c/v2{path}",
        )


def described(method: str, path: str) -> bool:
    """Whether the description of the API has this."""
    return any(
        method in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path)
        for known, operations in description()["paths"].items()
    )


def types() -> dict[str, set[str]]:
    """The fields of each type of the pages."""
    text = files("c2c_agent.web").joinpath("static", "types.js").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for one in _TYPE.finditer(text):
        flat = _INNER.sub("", re.sub(r"\s*\n \*\s*", " ", one["fields"]))
        found[one["name"]] = {field["name"] for field in _FIELD.finditer(flat)}
    return found


def properties(way: str) -> dict[str, Any]:
    """The properties of a schema, or of one that stands within it."""
    name, *inner = way.split()
    schema: dict[str, Any] = description()["components"]["schemas"][name]
    for part in inner:
        schema = schema["items"] if part == "items" else schema["properties"][part]
    found: dict[str, Any] = schema["properties"]
    return found


class TestDescription:
    """The pages know the API by its description alone."""

    def test_what_is_asked_for(self) -> None:
        """Each path with its method is described."""
        found = {one for name, text in scripts().items() for one in asked(name, text)}
        assert {one for one in found if not described(*one)} == set()
        assert {
            ("post", "/c2c/v2"),
            ("post", "/c2c/v2/cancel/x"),
            ("get", "/c2c/v2/events/x"),
            ("get", "/c2c/v2/calls"),
            ("post", "/c2c/v2/stop-calls"),
            ("get", "/readyz"),
        } <= found
        assert not described("delete", "/c2c/v2/calls")
        assert not described("get", "/c2c/v2/nothing")

    def test_no_request_is_overlooked(self) -> None:
        """The test before finds whatever is asked for, and nothing else asks the agent."""
        for name, text in scripts().items():
            seen = len(_ASKED.findall(text)) + len(_PASSED_ON.findall(text))
            assert (name, len(_ANY.findall(text))) == (name, seen)
        fetching = {name: text.count("fetch(") for name, text in scripts().items()}
        # The widget has one more: for a token, of the page's own back end.
        assert {name: count for name, count in fetching.items() if count} == {
            "api.js": 1,
            "c2c.js": 2,
        }

    @pytest.mark.parametrize(
        ("name", "schema"),
        [
            ("Entry", "Call timeline items"),
            ("Tried", "Attempt"),
            ("Leg", "Leg"),
            ("Call", "Call"),
            ("Listed", "Calls calls items"),
            ("Received", "Status c2c_status request"),
            ("Status", "Status c2c_status"),
            ("CallEvent", "Event"),
        ],
    )
    def test_types(self, name: str, schema: str) -> None:
        """What the pages read of an answer, the description has."""
        fields = types()[name]
        assert fields
        assert fields <= set(properties(schema))

    def test_every_type_is_looked_at(self) -> None:
        """None is left out above."""
        assert set(types()) == {
            *("Entry", "Tried", "Leg", "Call", "Listed", "Received", "Status", "CallEvent")
        }
