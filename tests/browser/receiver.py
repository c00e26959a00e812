"""A receiver of webhooks that answers as a test likes."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Receiver:
    """Answers each event with `status`.

    `told` are the types of those that came, in order, `bodies` the whole, `paths` where they came.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        self.told: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.requests: set[str] = set()
        receiver = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.told.append(event.get("type") or event["event"])
                receiver.requests.add(event.get("request_id") or event["callId"])
                receiver.bodies.append(event)
                receiver.paths.append(self.path)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def settings(self, directory: Path) -> dict[str, Any]:
        """A webhook of the configuration that tells it; its secret is put into `directory`."""
        secret = directory / "webhook.secret"
        secret.write_text(f"whsec_{base64.b64encode(bytes(32)).decode()}\n", encoding="utf-8")
        secret.chmod(0o600)
        return {"name": "crm-hook", "url": f"{self.origin}/calls", "secret_file": str(secret)}

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
