"""A receiver of webhooks, as a user of the agent would write one: it trusts only the signature."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from standardwebhooks import Webhook

from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: Seconds between an answer and the end of its connection, where that is not said.
_MOMENT: Final = 0.2

SECRET: Final = "whsec_" + "c2VjcmV0" * 5


class WebhookReceiver:
    """Listens on an address of the loopback network; `events` are those that it has taken.

    `code` is what it answers to a request whose signature is right; where that is no success, the
    event is one of those `not_taken`. After each it closes the connection, and `says_so`; or it
    does not, and lets a moment pass in which a client may write to what is about to be closed.
    """

    def __init__(
        self, address: str, port: int = 0, code: int = 204, *, says_so: bool = True
    ) -> None:
        self.code = code
        self.events: list[dict[str, Any]] = []
        self.not_taken: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(dict(self.headers.items()), body))
                if says_so:
                    self.send_header("Connection", "close")
                self.end_headers()
                if not says_so:
                    time.sleep(_MOMENT)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # Python's own 5 are few where an agent catches up

        self._server = Server((address, port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://{address}:{self.port}/calls"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Judge a request; the code of the answer."""
        with self._lock:
            try:
                event = Webhook(SECRET).verify(body, headers)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it
                self.refused.append(repr(error))
                return 401
            code = self.code  # a test may change it at any time
            (self.events if code < 300 else self.not_taken).append(event)
            return code

    def of(self, request_id: str) -> list[str]:
        """The types of the events of a request, in the order in which they came."""
        with self._lock:
            return [one["type"] for one in self.events if one["request_id"] == request_id]

    def wait_for(self, request_id: str, event: str, timeout: float = 20) -> dict[str, Any]:
        """An event of a request, when it has come."""

        def found() -> list[dict[str, Any]]:
            with self._lock:
                return [
                    one
                    for one in self.events
                    if (one["request_id"], one["type"]) == (request_id, event)
                ]

        wait_until(lambda: bool(found()), timeout, f"{event} of {request_id}")
        return found()[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
