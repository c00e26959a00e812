"""A page of another program, on an origin of its own, that has the widget.

It allows no inline style or script, and nothing from elsewhere but the agent.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Customers</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/style.css">
<script src="{agent}/c2c.js" data-token-url="/token" data-links defer></script></head>
<body><main><h1>Customers</h1>
<p>Ann <c2c-call number="200">Call Ann</c2c-call></p>
<p>Ben <c2c-call number="209"></c2c-call></p>
<p>Dan <a href="tel:200">200</a></p>
<p>Eve <a href="tel:%2B1-555-010-0100">+1 555 010 0100</a></p>
</main></body></html>
"""

STYLE = b":root { color-scheme: light dark; } a { color: inherit; }"


class CustomerPage:
    """A page of a CRM, with a back end that has a key of the agent's."""

    def __init__(self, agent: str, key: str, **wishes: Any) -> None:
        self.agent = agent
        self._key = key
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
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
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
