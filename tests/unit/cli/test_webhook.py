"""`c2c-agent webhook test`: an event that is signed like any other, and means nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from c2c_agent.net.signature import parse_secrets, signed_headers
from tests.unit.cli.prompt import assert_plain_error, configure, run

SECRET = "whsec_" + "A" * 32


class Receiver(ThreadingHTTPServer):
    """A receiver on a loopback port; it answers with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.code = code
        self.told: list[tuple[dict[str, str], bytes]] = []


class Request(BaseHTTPRequestHandler):
    """One event."""

    server: Receiver

    def do_POST(self) -> None:
        """Note it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        named = {name.lower(): value for name, value in self.headers.items()}
        self.server.told.append((named, body))
        self.send_response(self.server.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("code", [204, 500])
def test_sent(tmp_path: Path, code: int) -> None:
    """Once, and it says what came of it; in a process of its own, for it runs a reactor."""
    (tmp_path / "whsec").write_text(SECRET)
    with Receiver(code) as receiver:
        serving = Thread(target=receiver.serve_forever, args=[0.01])
        serving.start()
        url = f"http://127.0.0.1:{receiver.server_port}/hook"
        crm = {"name": "crm", "url": url, "secret_file": str(tmp_path / "whsec")}
        file = configure(tmp_path, webhooks=[crm, {**crm, "name": "shop", "url": f"{url}/shop"}])
        command = [sys.executable, "-m", "c2c_agent", "webhook", "test", "crm"]
        done = subprocess.run(
            [*command, "--config", str(file)], capture_output=True, text=True, check=False
        )
        receiver.shutdown()
        serving.join()
    [(headers, body)] = receiver.told
    event = json.loads(body)
    assert (event["type"], event["request_id"]) == ("webhook.test", None)
    signed = signed_headers(
        event["id"], int(headers["webhook-timestamp"]), body, parse_secrets(SECRET, "")
    )
    assert headers["webhook-signature"] == signed["webhook-signature"]
    if code == 204:
        assert (done.returncode, done.stdout) == (0, "crm was told.\n")
    else:
        assert (done.returncode, done.stderr) == (1, "crm was not told: HTTP 500\n")


def test_none_of_that_name(tmp_path: Path) -> None:
    """Those that there are are named."""
    configure(tmp_path)
    assert_plain_error(run(tmp_path, "webhook", "test", "crm"), "no webhook 'crm'", "none")
