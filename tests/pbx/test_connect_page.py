"""The page Connect, as it stands: its programs place real calls, its receivers hear of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from standardwebhooks import Webhook

from c2c_agent.policy.keys import key_digest
from tests.pages import Block, blocks
from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.receiver import SECRET
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until

PAGE: Final = "docs/connect.md"
KEY: Final = "c2c_the-key-of-the-page-connect"
TALKS: Final = Behaviour(ring_seconds=0.3, talk_seconds=0.5)

#: What stands before the output of each block.
_MARK: Final = "-- block of the page --"

#: The block that says where the agent is; the test says so itself.
_EXPORTS: Final = """\
export C2C_URL=http://127.0.0.1:8470
export C2C_KEY=c2c_the-key-that-was-printed
"""

#: Each receiver, with what runs it: the port is the last argument, or part of it.
_RECEIVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "receiver.py": (sys.executable, "receiver.py", "{address}", "{port}"),
    "receiver.mjs": ("node", "receiver.mjs", "{address}", "{port}"),
    "receiver.php": ("php", "-S", "{address}:{port}", "receiver.php"),
}


@pytest.fixture
def page(tmp_path: Path) -> list[Block]:
    """The blocks of the page; its programs are files by now."""
    found = blocks(PAGE)
    for block in found:
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    return found


def agent_of(host: AsteriskHost, directory: Path, **changes: Any) -> AgentProcess:
    """An agent that knows the page's key."""
    keys = [{"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"]}]
    return AgentProcess(host, directory, {"keys": keys, **changes}, key=KEY)


def outputs(page: list[Block], agent: AgentProcess, folder: Path) -> dict[str, str]:
    """Run all commands of the page in one shell; what each printed."""
    commands = [block.text for block in page if block.language == "sh"]
    assert commands[0] == _EXPORTS
    script = "".join(f"echo '{_MARK}'\n{command}\n" for command in commands[1:])
    environment = {**os.environ, "C2C_URL": agent.url, "C2C_KEY": KEY}
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    told = done.stdout.split(f"{_MARK}\n")[1:]
    return dict(zip(commands[1:], told, strict=True))


def the(outputs: Mapping[str, str], part: str) -> str:
    """What the one command with this in it printed."""
    [found] = [output for command, output in outputs.items() if part in command]
    return found


def test_commands(
    asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone, page: list[Block]
) -> None:
    """Each does what the page says of it."""
    for first in ("100", "101"):
        phone(first, Behaviour(ring_seconds=0.2))
    phone("200", TALKS)
    with agent_of(asterisk, tmp_path) as agent:
        told = outputs(page, agent, tmp_path)
        listed = agent.ask(f"/c2c/v2/calls?limit=50&api_key={KEY}")["calls"]
        ended = [agent.ended(one["request_id"])["outcome"] for one in listed]

    # curl
    placed = json.loads(next(iter(told.values())))
    shown = next(json.loads(block.text) for block in page if block.language == "json")
    assert placed.keys() == shown.keys()
    assert placed["response"].keys() == shown["response"].keys()
    assert placed["response"]["status"] == "success"
    request_id = placed["response"]["request_id"]
    assert json.loads(the(told, "?wait=60"))["c2c_status"]["call"]["outcome"] == "connected"
    events = the(told, "curl -sSN")
    assert events.index("event: call.accepted") < events.index("event: call.ended")
    assert json.loads(the(told, "/cancel/"))["response"]["request_id"] == request_id
    assert request_id in {one["request_id"] for one in json.loads(the(told, "?limit=5"))["calls"]}

    # The programs
    for command in ("node call.mjs", "php call.php", "python3 call.py"):
        assert re.fullmatch(r"connected \d+(\.\d+)?\n", the(told, command)), command
    assert the(told, "node follow.mjs").splitlines()[-1] == "call.ended"

    # The recipes
    first, second = [
        json.loads(answer)["response"] for answer in _objects(the(told, "for attempt"))
    ]
    assert (first["request_id"], "replayed" in first) == (second["request_id"], False)
    assert second["replayed"] is True
    assert json.loads(the(told, "expires="))["response"]["status"] == "success"
    assert json.loads(the(told, "dial_as=100"))["response"]["status"] == "success"
    # Each was one call, and no command another: the second attempt rang nobody.
    assert ended == ["connected"] * 7


def _objects(text: str) -> Iterator[str]:
    """JSON objects that stand one behind the other."""
    decoder = json.JSONDecoder()
    while text := text.strip():
        _, end = decoder.raw_decode(text)
        yield text[:end]
        text = text[end:]


@contextmanager
def running(name: str, folder: Path, address: str, port: int) -> Iterator[Path]:
    """Run a receiver of the page; the file with what it prints."""
    command = [part.format(address=address, port=port) for part in _RECEIVERS[name]]
    output = folder / f"{name}.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "C2C_WEBHOOK_SECRET": SECRET},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _answers(address, port), 20, f"{name} listens")
        yield output
    finally:
        process.terminate()
        process.wait(10)


def _answers(address: str, port: int) -> bool:
    """Whether there is a receiver; an event that is not signed is refused, and so none it hears."""
    try:
        return post(address, port, b'{"type": "forged"}', {}) == 401
    except OSError:
        return False


def post(address: str, port: int, body: bytes, headers: Mapping[str, str]) -> int:
    """Send an event; the status of the answer."""
    url = f"http://{address}:{port}/calls"
    try:
        with urlopen(Request(url, body, dict(headers)), timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_receivers(
    asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone, page: list[Block]
) -> None:
    """Each hears of a call what the agent tells, once, and believes nobody else."""
    del page  # its programs are in the folder
    phone("100", Behaviour(ring_seconds=0.2))
    phone("200", TALKS)
    (tmp_path / "crm.whsec").write_text(SECRET + "\n", encoding="utf-8")
    ports = {name: 5700 + index for index, name in enumerate(_RECEIVERS)}
    webhooks = [
        {
            "name": name,
            "url": f"http://{asterisk.address}:{port}/calls",
            "secret_file": str(tmp_path / "crm.whsec"),
        }
        for name, port in ports.items()
    ]
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(running(name, tmp_path, asterisk.address, port))
            for name, port in ports.items()
        }
        agent = stack.enter_context(agent_of(asterisk, tmp_path, webhooks=webhooks))
        request_id = agent.call("100", "200")
        agent.ended(request_id)
        last = f"call.ended {request_id} connected"
        for name, log in logs.items():
            wait_until(partial(has, log, last), 20, f"{name} has heard")
            assert f"call.first_ringing {request_id}" in log.read_text("utf-8")
        for name, port in ports.items():
            assert_believes_the_signature_alone(asterisk.address, port, name)
    for name in ("receiver.py", "receiver.mjs"):  # the page leaves it to the database of PHP's
        assert logs[name].read_text("utf-8").count("told.twice") == 1


def has(log: Path, text: str) -> bool:
    """Whether something stands in a file."""
    return text in log.read_text(encoding="utf-8")


def assert_believes_the_signature_alone(address: str, port: int, name: str) -> None:
    """An event that was changed, or is old, is refused; one that comes twice is taken twice."""
    event = {"type": "told.twice", "request_id": "-", "call": {"outcome": None}}
    body = json.dumps(event).encode()
    headers = signed(body, time.time())
    assert [post(address, port, body, headers) for _ in range(2)] == [204, 204], name
    assert post(address, port, body.replace(b"twice", b"thrice"), headers) == 401, name
    assert post(address, port, body, signed(body, time.time() - 3600)) == 401, name


def signed(body: bytes, at: float) -> dict[str, str]:
    """The headers of an event that is signed at a moment."""
    moment = datetime.fromtimestamp(int(at), UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": "an-event-of-the-test",
        "webhook-timestamp": str(int(at)),
        "webhook-signature": Webhook(SECRET).sign("an-event-of-the-test", moment, body.decode()),
    }
