"""The pages: what is served, with which headers, and that nothing else is."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import re
from importlib.resources import files

from c2c_agent.web.ask import Ask
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
