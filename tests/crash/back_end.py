"""A program that takes calls over HTTP, and counts the orders that come."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Final

#: Seconds since the order until which a call is in a state.
STORY: Final = ((0.8, "ringing"), (1.6, "up"), (3.2, "talk"))


class BackEnd(ThreadingHTTPServer):
    """`POST /call/ID` places a call, `GET /call/ID` says its state, `GET /` that it is there."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.orders: Counter[str] = Counter()
        self.placed_at: dict[str, float] = {}
        self.lock = Lock()

    @property
    def url(self) -> str:
        """What its requests begin with."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def order(self, call_id: str) -> None:
        """Count it, and let the call begin."""
        with self.lock:
            self.orders[call_id] += 1
            self.placed_at.setdefault(call_id, time.monotonic())

    def state(self, call_id: str) -> str:
        """The state of a call; `none` where there is none any more, or never was."""
        placed_at = self.placed_at.get(call_id)
        if placed_at is None:
            return "none"
        since = time.monotonic() - placed_at
        return next((state for until, state in STORY if since < until), "none")


class _Exchange(BaseHTTPRequestHandler):
    server: BackEnd

    def do_GET(self) -> None:
        self._answer({"state": self.server.state(self.path.rpartition("/")[2])})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        call_id = self.path.rpartition("/")[2]
        self.server.order(call_id)
        self._answer({"state": self.server.state(call_id)})

    def _answer(self, body: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's
        """Say nothing."""


@contextmanager
def serve() -> Iterator[BackEnd]:
    """One that listens, until the end."""
    with BackEnd() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
