"""A program that takes calls over HTTP, in the place of a PBX: it rings nobody, and ends none."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class OrderTaker:
    """Listens on an address of the loopback network; `orders` are the request ids that it took."""

    def __init__(self, address: str) -> None:
        self.orders: list[str] = []
        taker = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                taker.orders.append(body["id"])
                self.answer(201, {})

            def do_GET(self) -> None:
                self.answer(200, {"state": "goes on"})

            def answer(self, code: int, said: dict[str, str]) -> None:
                body = json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._url = f"http://{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def section(self) -> dict[str, Any]:
        """The section `other` of an agent whose PBX this is."""
        return {
            "base_url": self._url,
            "place": {
                "path": "/calls",
                "json": {"first": "{dial_first}", "second": "{dial_second}", "id": "{request_id}"},
                "success": {"status": 201},
            },
            "status": {
                "every": 1,
                "requests": [
                    {
                        "path": "/calls/{request_id}",
                        "rules": [{"when": {"/state": "over"}, "tell": "gone"}],
                    }
                ],
            },
        }

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
        self._thread.join()
        self._server.server_close()
