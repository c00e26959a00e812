"""An agent's HTTP side that says what a test has written down: for the command line's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl

from attrs import frozen


@frozen
class Asked:
    """A request that came to a FakeAgent."""

    method: str
    path: str
    authorization: str | None
    form: dict[str, str]


#: What a FakeAgent answers: JSON, bytes as they are, or None: it hangs up without an answer.
Scripted: TypeAlias = dict[str, Any] | list[Any] | int | bytes | None


class FakeAgent:
    """An agent's HTTP side on a loopback port, in a thread of its own: for who asks and blocks.

    It gives the answers of `script`, one after the other; one that is a function is called for it,
    when the request has come. `asked` are the requests.
    """

    def __init__(self) -> None:
        self.script: list[Scripted | Callable[[], Scripted]] = []
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_AgentRequest, self))
        self._thread = Thread(target=self._server.serve_forever, args=[0.01])

    @property
    def address(self) -> str:
        """Where it is: host:port."""
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer_to(self, asked: Asked) -> Scripted:
        """The next answer."""
        self.asked.append(asked)
        answer = self.script.pop(0)
        return answer() if callable(answer) else answer


class _AgentRequest(BaseHTTPRequestHandler):
    """One request to a FakeAgent."""

    def __init__(self, agent: FakeAgent, *connection: Any) -> None:
        self._agent = agent
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Answer what is scripted."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = Asked(self.command, self.path, self.headers["Authorization"], dict(parse_qsl(body)))
        answer = self._agent.answer_to(asked)
        if answer is None:
            return
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - the name is http.server's

    def log_message(self, *_: object) -> None:
        """Say nothing."""
