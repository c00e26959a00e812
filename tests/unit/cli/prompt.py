"""Runs commands with a directory's configuration, and says what calls look like."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve
from click.testing import CliRunner, Result

from c2c_agent.__main__ import main
from c2c_agent.call.call import CallState, Entry, HungUpBy, Received
from c2c_agent.call.evidence import Attempt, LegEvidence, SaidBy
from c2c_agent.call.outcome import Outcome
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.web import answers as result
from tests.fakes import uuid
from tests.playbook import a_call

ONE, TWO = uuid(1), uuid(2)

#: 01:48:57 UTC, as in the specification's examples.
EPOCH = 1_435_628_937.0

ARRIVED = evolve(
    a_call(request_id=ONE),
    received=Received(EPOCH, "http://pbx1/c2c/v2", "POST", {}),
    timeline=(Entry(EPOCH, "accepted"),),
)
DIALING = evolve(
    ARRIVED,
    state=CallState.DIALING_FIRST,
    timeline=(*ARRIVED.timeline, Entry(EPOCH + 0.25, "dialing_first")),
)
RINGING = evolve(
    DIALING,
    state=CallState.FIRST_RINGING,
    timeline=(*DIALING.timeline, Entry(EPOCH + 1, "first_ringing", "PJSIP/100-1")),
)
TALKED = evolve(
    RINGING,
    state=CallState.ENDED,
    outcome=Outcome.CONNECTED,
    hung_up_by=HungUpBy.SECOND,
    first=LegEvidence(ringing_at=EPOCH + 1, answered_at=EPOCH + 3.1, cause=16),
    second=LegEvidence(
        answered_at=EPOCH + 5,
        ended_at=EPOCH + 17.3,
        cause=16,
        by=SaidBy.DIALPLAN,
        tried=(Attempt("PJSIP/200-2", "BUSY", 17, 486, 1.5), Attempt("PJSIP/200-3")),
    ),
    timeline=(*RINGING.timeline, Entry(EPOCH + 17.3, "ended", "connected")),
)
BUSY = evolve(
    RINGING,
    state=CallState.ENDED,
    outcome=Outcome.FIRST_BUSY,
    first=LegEvidence(status="BUSY", cause=17),
    timeline=(*RINGING.timeline, Entry(EPOCH + 2, "ended", "first_busy")),
)
FAULT = Fault(ErrorCode.NOT_ALLOWED, "This key may not dial this dial_first.")


def answer(*faults: Fault, request_id: str | None = ONE) -> dict[str, Any]:
    """What the agent answers to a call or a cancel."""
    return result.response(
        request_id, faults, status_url=None, method="asterisk.call", server_id="pbx1"
    )


def configure(directory: Path, **changes: Any) -> Path:
    """Write a configuration: the whole of it lies in the directory."""
    configuration = {
        "server_id": "pbx1.example.com",
        "store": {"path": str(directory / "c2c.sqlite3")},
        "asterisk": False,
        **changes,
    }
    file = directory / "c2c-agent.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    return file


def run(directory: Path, *arguments: str) -> Result:
    """Run a command with the directory's configuration."""
    file = str(directory / "c2c-agent.yml")
    return CliRunner().invoke(main, [*arguments, "--config", file], prog_name="c2c-agent")


def assert_plain_error(done: Result, *words: str) -> None:
    """One line on standard error that has these words, no traceback, exit status 1."""
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port
