"""The widget on a page of another origin, against a whole agent with a scripted PBX.

The page allows no inline style or script, and nothing from elsewhere but the agent. Its back end
gives it tokens, as a CRM would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from c2c_agent.policy.keys import key_digest
from tests.browser.conftest import KEY, ScriptedAgent, Tab

OpenTab = Callable[..., Tab]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Customers</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/style.css">
<script src="{agent}/c2c.js" data-token-url="/token" data-links defer></script></head>
<body><main><h1>Customers</h1>
<p>Ann <c2c-call number="200">Call Ann</c2c-call></p>
<p>Ben <c2c-call number="209"></c2c-call></p>
<p>Eve <a href="tel:%2B1-555-010-0100">+1 555 010 0100</a></p>
</main></body></html>
"""

STYLE = b":root { color-scheme: light dark; } a { color: inherit; }"


class CustomerPage:
    """A page of a CRM, with a back end that has a key of the agent's."""

    def __init__(self, agent: str, **wishes: Any) -> None:
        self.wishes = {"dial_first": "100", **wishes}
        self.tokens = 0
        self.stale: list[bytes] = []
        page = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/style.css":
                    self._answer("text/css", STYLE)
                else:
                    self._answer("text/html", PAGE.format(agent=agent).encode())

            def do_POST(self) -> None:
                page.tokens += 1
                content = page.stale.pop() if page.stale else page.token(agent)
                self._answer("application/json", content)

            def _answer(self, content_type: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                self.send_header(
                    "Content-Security-Policy",
                    f"default-src 'none'; script-src {agent}; style-src 'self'; "
                    f"connect-src 'self' {agent}",
                )
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def token(self, agent: str) -> bytes:
        """What the agent answers to the page's back end."""
        data = json.dumps(self.wishes).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        asked = Request(f"{agent}/c2c/v2/tokens", data, headers)  # noqa: S310 - our own
        with urlopen(asked, timeout=20) as answer:  # noqa: S310
            content: bytes = answer.read()
        assert b"token" in content, content
        return content

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def agent(tmp_path: Path, unused_tcp_port_of_browser: int) -> Iterator[ScriptedAgent]:
    """An agent that has not been started, and knows no origin yet."""
    agent = ScriptedAgent(tmp_path, unused_tcp_port_of_browser, [])
    yield agent
    agent.stop()


@pytest.fixture
def customers(agent: ScriptedAgent) -> Iterator[CustomerPage]:
    """The page, whose origin the agent knows."""
    page = CustomerPage(agent.origin)
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_X.", "_+X."]}
    agent.configure([{**key, "origins": [page.origin], "repeat_window": 5}])
    agent.start()
    yield page
    page.close()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_call(
    agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab, look: str
) -> None:
    """From the click to the end, beside the name; the key never came to the page."""
    tab = open_tab(look, allowed=(customers.origin,))
    tab.page.goto(customers.origin)
    ann = tab.page.locator("c2c-call").first
    tab.look("widget-before")
    ann.get_by_role("button", name="Call Ann").click()
    expect(ann.get_by_role("status")).to_have_text("Talking")
    tab.look("widget-talking")
    ann.get_by_role("button", name="Hang up").click()
    expect(ann.get_by_role("status")).to_have_text("Call ended")
    [call] = agent.calls()
    assert (call["key"], call["call"]["outcome"]) == ("crm", "connected")
    assert call["call"]["dial_first"]["number"] == "100"
    assert KEY not in tab.page.content()


def test_a_link(agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab) -> None:
    """A tel: link of the page rings, and shows how it goes beside it."""
    tab = open_tab(allowed=(customers.origin,))
    tab.page.goto(customers.origin)
    tab.page.click("text=+1 555 010 0100")
    expect(tab.page.get_by_text("Talking")).to_be_visible()
    tab.look("widget-link")
    [call] = agent.calls()
    assert call["call"]["dial_second"]["number"] == "+15550100100"


def test_a_double_click(agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab) -> None:
    """Is one call, of an element and of a link; and busy is said beside it."""
    tab = open_tab(allowed=(customers.origin,))
    tab.page.goto(customers.origin)
    ben = tab.page.locator("c2c-call").nth(1)
    ben.get_by_role("button", name="209").dblclick()
    tab.page.locator("text=+1 555 010 0100").dblclick()
    expect(ben.get_by_role("status")).to_have_text("Busy")
    expect(tab.page.get_by_text("Talking")).to_be_visible()
    assert len(agent.calls()) == 2


def test_a_page_that_is_not_known(
    agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab
) -> None:
    """Places nothing, whatever token it has."""
    stranger = CustomerPage(agent.origin)
    try:
        tab = open_tab(allowed=(stranger.origin,))
        tab.page.goto(stranger.origin)
        ann = tab.page.locator("c2c-call").first
        ann.get_by_role("button", name="Call Ann").click()
        expect(ann.get_by_role("status")).to_have_text("The call could not be placed")
        assert agent.calls() == []
    finally:
        stranger.close()
    assert customers.tokens == 0


def test_a_token_that_has_expired(
    agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab
) -> None:
    """Is not the end: the page's back end is asked for another one."""
    tab = open_tab(allowed=(customers.origin,))
    customers.stale = [b'{"token": "e30.e30.expired"}']
    tab.page.goto(customers.origin)
    ann = tab.page.locator("c2c-call").first
    ann.get_by_role("button", name="Call Ann").click()
    expect(ann.get_by_role("status")).to_have_text("Talking")
    assert customers.tokens == 2
    assert len(agent.calls()) == 1
