"""The command line: what each command prints, and its exit status."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.request import urlopen

import click
import pytest
import yaml
from attrs import evolve
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from c2c_agent import __version__
from c2c_agent.__main__ import EXIT_STATUS, main
from c2c_agent.call.call import Call, CallState, Entry, HungUpBy, Received
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.outcome import Outcome
from c2c_agent.check.finding import Finding
from c2c_agent.config import files as configfile
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import key_digest
from c2c_agent.store.sqlite.store import Store
from c2c_agent.web import answers as result
from tests.fake_agent import FakeAgent
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
    second=LegEvidence(answered_at=EPOCH + 5, ended_at=EPOCH + 17.3, cause=16),
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


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    """A running agent, its configuration in the directory, and no key in the environment."""
    monkeypatch.delenv("C2C_API_KEY", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with FakeAgent() as running:
        port = running.address.partition(":")[2]
        configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
        (tmp_path / "operator.key").write_text("c2c_host\n")
        yield running
    monkeypatch.undo()
    time.tzset()


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


class TestTheProgram:
    """Options that every command has."""

    def test_version_and_help(self) -> None:
        """-h helps, too, and every command has a line of its own."""
        assert (
            CliRunner().invoke(main, ["--version"]).output == f"c2c-agent, version {__version__}\n"
        )
        shown = CliRunner().invoke(main, ["-h"]).output
        for command in ("run", "check", "call", "status", "cancel", "calls", "key", "store"):
            assert f"\n  {command} " in shown

    def test_as_a_module(self) -> None:
        """`python -m c2c_agent` is the same program under the same name."""
        command = [sys.executable, "-m", "c2c_agent", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == f"c2c-agent, version {__version__}\n"

    def test_config_before_and_after_the_command(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Both are the same; the one after counts where there are two."""
        file, missing = str(tmp_path / "c2c-agent.yml"), str(tmp_path / "missing.yml")
        agent.script = [{"calls": []}] * 3
        for arguments in (
            ["--config", file, "calls"],
            ["calls", "--config", file],
            ["--config", missing, "calls", "--config", file],
        ):
            assert CliRunner().invoke(main, arguments).exit_code == 0
        assert len(agent.asked) == 3
        done = CliRunner().invoke(main, ["--config", file, "calls", "--config", missing])
        assert_plain_error(done, missing)

    def test_config_by_default(self, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the option, the file of the contract is read."""
        assert configfile.DEFAULT_PATH == "/etc/c2c-agent/c2c-agent.yml"
        monkeypatch.setattr(configfile, "DEFAULT_PATH", "/nonexistent/default.yml")
        done = CliRunner().invoke(main, ["calls"])
        assert_plain_error(done, "/nonexistent/default.yml", "No such file")
        assert agent.asked == []


class TestTheAgent:
    """Which agent is asked, and as whom; every command does it alike."""

    def test_of_this_host(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Where its configuration says, as its host's operator."""
        agent.script = [{"calls": []}]
        assert run(tmp_path, "calls").exit_code == 0
        assert agent.asked[0].authorization == "Bearer c2c_host"

    def test_with_a_key_of_ones_own(
        self, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """$C2C_API_KEY counts before the host's key, which need not be readable then."""
        monkeypatch.setenv("C2C_API_KEY", "c2c_own")
        (tmp_path / "operator.key").unlink()
        agent.script = [{"calls": []}]
        assert run(tmp_path, "calls").exit_code == 0
        assert agent.asked[0].authorization == "Bearer c2c_own"

    def test_elsewhere(self, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
        """With --url and a key, no configuration is needed at all."""
        monkeypatch.setenv("C2C_API_KEY", "c2c_own")
        agent.script = [{"calls": []}]
        url = f"http://{agent.address}"
        done = CliRunner().invoke(main, ["calls", "--url", url, "--config", "/nonexistent"])
        assert (done.exit_code, done.output) == (0, "")

    def test_elsewhere_with_the_hosts_key(self, agent: FakeAgent, tmp_path: Path) -> None:
        """With --url alone, the key is still the host's."""
        agent.script = [{"calls": []}]
        configure(tmp_path, http={"listen": "unix:/run/c2c.sock"})
        assert run(tmp_path, "calls", "--url", f"http://{agent.address}").exit_code == 0
        assert agent.asked[0].authorization == "Bearer c2c_host"

    @pytest.mark.parametrize(
        "command", [["call", "100", "200"], ["status", ONE], ["cancel", ONE], ["calls"]]
    )
    def test_not_running(self, tmp_path: Path, command: list[str]) -> None:
        """It is said where it was looked for."""
        port = free_port()
        configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
        (tmp_path / "operator.key").write_text("c2c_host\n")
        done = run(tmp_path, *command)
        assert_plain_error(done, f"The agent at 127.0.0.1:{port} does not answer", "running?")

    def test_no_host_key(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Which file cannot be read, and what to do."""
        (tmp_path / "operator.key").unlink()
        done = run(tmp_path, "calls")
        assert_plain_error(done, str(tmp_path / "operator.key"), "root", "$C2C_API_KEY")
        assert agent.asked == []

    def test_bad_configuration(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The file, the place in it, and what would be right."""
        configure(tmp_path, calls={"timeout": "soon"})
        done = run(tmp_path, "calls")
        assert_plain_error(done, "c2c-agent.yml", "calls.timeout", "a whole number")
        assert agent.asked == []


class TestCall:
    """`c2c-agent call FIRST SECOND`."""

    def test_placed(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The id alone on standard output, for scripts."""
        agent.script = [answer()]
        done = run(tmp_path, "call", "100", "200")
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"{ONE}\n", "")
        assert agent.asked[0].form == {"dial_first": "100", "dial_second": "200"}

    def test_options(self, agent: FakeAgent, tmp_path: Path) -> None:
        """With whose permission, and how long it rings."""
        agent.script = [answer()]
        run(
            tmp_path,
            "call",
            "100",
            "200",
            "--dial-as",
            "101",
            "--timeout",
            "20",
            "--auto-answer",
            "--confirm",
        )
        assert agent.asked[0].form == {
            "dial_first": "100",
            "dial_second": "200",
            "dial_as": "101",
            "timeout": "20",
            "auto_answer": "true",
            "confirm": "true",
        }

    def test_wrong_options(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Said by the command itself, with exit status 2."""
        assert run(tmp_path, "call", "100").exit_code == 2
        assert run(tmp_path, "call", "100", "200", "--timeout", "soon").exit_code == 2
        assert agent.asked == []

    def test_refused(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Every fault is a line on standard error; the id is there all the same."""
        agent.script = [answer(FAULT, FAULT)]
        done = run(tmp_path, "call", "300", "200")
        line = "not_allowed: This key may not dial this dial_first.\n"
        assert (done.exit_code, done.stdout, done.stderr) == (1, f"{ONE}\n", line * 2)

    @pytest.mark.parametrize("options", [[], ["--wait"]])
    def test_unauthorized(self, agent: FakeAgent, tmp_path: Path, options: list[str]) -> None:
        """There is no id then, and nothing to wait for."""
        fault = Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")
        agent.script = [answer(fault, request_id=None)]
        done = run(tmp_path, "call", "100", "200", *options)
        assert_plain_error(done, "unauthorized: This api_key is not known.")
        assert done.stdout == ""

    def test_wait(self, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each event once, as it happens; then what became of both legs."""
        printed: list[str] = []
        shown: list[list[str]] = []  # what was printed when the status was asked for
        echo = click.echo

        def note(message: str, **how: Any) -> None:
            printed.append(message)
            echo(message, **how)

        def asked_for(call: Call) -> Callable[[], dict[str, Any]]:
            def tell() -> dict[str, Any]:
                shown.append(list(printed))
                return result.status(call)

            return tell

        monkeypatch.setattr(click, "echo", note)
        agent.script = [answer(), asked_for(DIALING), asked_for(RINGING), asked_for(TALKED)]
        done = run(tmp_path, "call", "100", "200", "--wait")
        assert done.exit_code == 0
        assert done.stdout.splitlines() == [
            f"request {ONE}",
            "01:48:57.000  accepted",
            "01:48:57.250  dialing first",
            "01:48:58.000  first ringing: PJSIP/100-1",
            "01:49:14.300  ended: connected",
            "outcome connected",
            "  dial_first 100: status ANSWER, rang 2.1, cause 16",
            "  dial_second 200: status ANSWER, cause 16",
            "  talked 12.3 s, hung up by second",
        ]
        assert [len(lines) for lines in shown] == [1, 3, 4]

    @pytest.mark.parametrize("outcome", Outcome)
    def test_exit_status_by_outcome(
        self, agent: FakeAgent, tmp_path: Path, outcome: Outcome
    ) -> None:
        """Scripts see what became of it: each outcome has a status of its own."""
        ended = evolve(BUSY, outcome=outcome)
        agent.script = [answer(), result.status(ended)]
        done = run(tmp_path, "call", "100", "200", "--wait")
        assert f"\noutcome {outcome.value}\n" in done.stdout
        assert done.exit_code == EXIT_STATUS[outcome.value]

    def test_exit_statuses(self) -> None:
        """0 is a talk and nothing else; 1 and 2 are trouble with the command; no two are alike."""
        assert set(EXIT_STATUS) == {outcome.value for outcome in Outcome}
        assert EXIT_STATUS["connected"] == 0
        assert len(set(EXIT_STATUS.values())) == len(EXIT_STATUS)
        assert {1, 2}.isdisjoint(EXIT_STATUS.values())

    def test_wait_for_a_refused_one(self, agent: FakeAgent, tmp_path: Path) -> None:
        """It has a story, too: the faults, and how it ended."""
        refused = evolve(
            ARRIVED,
            job=None,
            state=CallState.ENDED,
            outcome=Outcome.REJECTED,
            timeline=(*ARRIVED.timeline, Entry(EPOCH, "ended", "rejected")),
        )
        agent.script = [answer(FAULT), result.status(refused)]
        done = run(tmp_path, "call", "300", "200", "--wait")
        assert done.exit_code == EXIT_STATUS["rejected"]
        assert done.stderr == "not_allowed: This key may not dial this dial_first.\n"
        assert done.stdout.splitlines()[-2:] == [
            "  dial_first None: not reached",
            "  dial_second None: not reached",
        ]

    def test_the_agent_goes_away_meanwhile(self, agent: FakeAgent, tmp_path: Path) -> None:
        """What was shown stays; then the plain error."""
        agent.script = [answer(), result.status(DIALING), None]
        done = run(tmp_path, "call", "100", "200", "--wait")
        assert_plain_error(done, "does not answer")
        assert "dialing first" in done.stdout


class TestStatus:
    """`c2c-agent status REQUEST_ID`."""

    def test_of_a_talk(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The timeline, and what became of both legs."""
        agent.script = [result.status(TALKED)]
        done = run(tmp_path, "status", ONE)
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert lines[0] == "01:48:57.000  accepted"
        assert lines[-1] == "  talked 12.3 s, hung up by second"

    def test_while_it_goes_on(self, agent: FakeAgent, tmp_path: Path) -> None:
        """It has no outcome yet."""
        agent.script = [result.status(RINGING)]
        done = run(tmp_path, "status", ONE)
        assert done.stdout.splitlines()[-3:] == [
            "outcome (none yet)",
            "  dial_first 100: not reached",
            "  dial_second 200: not reached",
        ]

    def test_nobody_hung_up(self, agent: FakeAgent, tmp_path: Path) -> None:
        """A talk that the PBX ended by itself."""
        agent.script = [result.status(evolve(TALKED, hung_up_by=None))]
        assert "talked 12.3 s, hung up by nobody" in run(tmp_path, "status", ONE).stdout

    def test_json(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The whole story as the API tells it."""
        agent.script = [result.status(TALKED)]
        done = run(tmp_path, "status", ONE, "--json")
        assert json.loads(done.stdout) == result.status(TALKED)

    def test_unknown(self, agent: FakeAgent, tmp_path: Path) -> None:
        """In the API's words."""
        agent.script = [result.not_found(ONE)]
        assert_plain_error(run(tmp_path, "status", ONE), f"No request has the id {ONE}.")


class TestCancel:
    """`c2c-agent cancel REQUEST_ID`."""

    def test_done(self, agent: FakeAgent, tmp_path: Path) -> None:
        """One word."""
        agent.script = [answer()]
        done = run(tmp_path, "cancel", ONE)
        assert (done.exit_code, done.output) == (0, "cancelled\n")

    def test_not_done(self, agent: FakeAgent, tmp_path: Path) -> None:
        """In the API's words."""
        fault = Fault(ErrorCode.NOT_FOUND, f"This key placed no call with the id {ONE}.")
        agent.script = [answer(fault, request_id=None)]
        assert_plain_error(run(tmp_path, "cancel", ONE), "This key placed no call")


class TestReplay:
    """`c2c-agent replay`."""

    @pytest.mark.parametrize(
        ("arguments", "asked"),
        [
            ([], {}),
            ([ONE], {"request_id": ONE}),
            (["--target", "crm"], {"target": "crm"}),
            ([ONE, "--target", "crm"], {"target": "crm", "request_id": ONE}),
        ],
    )
    def test_done(
        self, agent: FakeAgent, tmp_path: Path, arguments: list[str], asked: dict[str, str]
    ) -> None:
        """It says how many."""
        agent.script = [{"replayed": 3}]
        done = run(tmp_path, "replay", *arguments)
        assert (done.exit_code, done.output) == (0, "3 reports are sent again\n")
        assert agent.asked[0].form == asked

    def test_not_done(self, agent: FakeAgent, tmp_path: Path) -> None:
        """In the API's words."""
        agent.script = [answer(Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known."))]
        assert_plain_error(run(tmp_path, "replay"), "This api_key is not known.")


class TestStopCalls:
    """`c2c-agent stop-calls` and `start-calls`."""

    def test_through_the_agent(self, agent: FakeAgent, tmp_path: Path) -> None:
        """It says how many were hung up; nothing is written beside it."""
        agent.script = [
            {"stopped": True, "hung_up": 0},
            {"stopped": True, "hung_up": 3},
            {"stopped": False, "were_stopped": True},
            {"stopped": False, "were_stopped": False},
        ]
        done = run(tmp_path, "stop-calls", "--reason", "a key was stolen")
        assert (done.exit_code, done.output) == (0, "Calls are stopped.\n")
        done = run(tmp_path, "stop-calls", "--hang-up")
        assert done.output == "Calls are stopped. 3 in progress are hung up.\n"
        assert run(tmp_path, "start-calls").output == "Calls are placed again.\n"
        assert run(tmp_path, "start-calls").output == "Calls were not stopped.\n"
        assert [asked.form for asked in agent.asked] == [
            {"reason": "a key was stolen", "hang_up": "false"},
            {"hang_up": "true"},
            {},
            {},
        ]
        assert not list(tmp_path.rglob("calls.stopped*"))

    def test_without_one(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Whatever is wrong with the agent, calls are stopped; and placed again."""
        agent.script = [
            None,
            answer(Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")),
            None,
            None,
        ]
        done = run(tmp_path, "stop-calls", "--hang-up", "--reason", "x")
        assert done.exit_code == 0
        assert "Calls are stopped; an agent that runs or starts finds them so." in done.output
        assert "What is in progress is hung up by it, then." in done.output
        [file] = tmp_path.rglob("calls.stopped")
        assert StopSwitch(file.parent).state() == Stopped("x", hang_up=True)
        done = run(tmp_path, "stop-calls")
        assert "(No agent was told: This api_key is not known.)" in done.output
        assert StopSwitch(file.parent).state() == Stopped()
        assert run(tmp_path, "start-calls").output == "Calls are placed again.\n"
        assert run(tmp_path, "start-calls").output == "Calls were not stopped.\n"
        assert not file.exists()

    def test_not_allowed(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Who may not write there is told what to do."""
        agent.script = [None]
        error = PermissionError(13, "Permission denied", "/var/lib/c2c-agent/calls.stopped")
        with mock.patch("c2c_agent.dispatch.kill_switch.StopSwitch.stop", side_effect=error):
            done = run(tmp_path, "stop-calls")
        assert_plain_error(done, "Permission denied; run this as root or as the agent's user.")


class TestCalls:
    """`c2c-agent calls`."""

    LATER = evolve(RINGING, request_id=TWO, received=evolve(RINGING.received, at=EPOCH + 60))

    def listed(self, *calls: Call) -> dict[str, Any]:
        """What the agent lists."""
        return {"calls": [result.listing(call) for call in calls]}

    def test_the_latest_last(self, agent: FakeAgent, tmp_path: Path) -> None:
        """When, which, from where to where, and what became of it."""
        agent.script = [self.listed(self.LATER, TALKED)]
        done = run(tmp_path, "calls")
        assert done.stdout.splitlines() == [
            f"2015-06-30 01:48:57+00:00  {ONE}  100 -> 200  connected 12.3 s",
            f"2015-06-30 01:49:57+00:00  {TWO}  100 -> 200  first_ringing",
        ]
        assert agent.asked[0].path == "/c2c/v2/calls?limit=20"

    def test_limit(self, agent: FakeAgent, tmp_path: Path) -> None:
        """How many; what is too many the agent says."""
        fault = Fault(ErrorCode.INVALID_PARAMETER, "limit must be a whole number from 0 to 1000.")
        agent.script = [self.listed(), answer(fault, request_id=None)]
        assert run(tmp_path, "calls", "--limit", "5").output == ""
        assert agent.asked[0].path == "/c2c/v2/calls?limit=5"
        assert_plain_error(run(tmp_path, "calls", "--limit", "5000"), "limit must be")

    def test_json(self, agent: FakeAgent, tmp_path: Path) -> None:
        """One object a line."""
        agent.script = [self.listed(self.LATER, TALKED)]
        lines = run(tmp_path, "calls", "--json").stdout.splitlines()
        assert [json.loads(line) for line in lines] == [
            result.listing(TALKED),
            result.listing(self.LATER),
        ]

    def test_follow(
        self, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A line for each call that is new or has gone on, until somebody ends it."""
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr("c2c_agent.__main__._sleep", sleep)
        agent.script = [
            self.listed(RINGING),
            self.listed(self.LATER, RINGING),
            self.listed(self.LATER, TALKED),
        ]
        done = run(tmp_path, "calls", "--follow")
        assert [line.split()[2:] for line in done.stdout.splitlines()] == [
            [ONE, "100", "->", "200", "first_ringing"],
            [TWO, "100", "->", "200", "first_ringing"],
            [ONE, "100", "->", "200", "connected", "12.3", "s"],
        ]
        assert slept == [1, 1, 1]


class TestKeyNew:
    """`c2c-agent key new NAME`."""

    def made(self, name: str) -> tuple[str, dict[str, Any]]:
        """A new key, and the configuration's entry, read as YAML."""
        done = CliRunner().invoke(main, ["key", "new", name])
        assert done.exit_code == 0
        secret, *lines = [line for line in done.stdout.splitlines() if line.startswith("    ")]
        [entry] = yaml.safe_load("\n".join(["keys:", *lines]))["keys"]
        return secret.strip(), entry

    def test_both(self) -> None:
        """The key, this once, and its hash for the configuration; it may dial nothing yet."""
        secret, entry = self.made("crm")
        assert entry == {"name": "crm", "sha256": key_digest(secret), "allow": []}
        assert secret != self.made("crm")[0]

    @pytest.mark.parametrize("name", ["17", "true", "null", "1e5", "0x1", "2015-06-30", "-", "."])
    def test_names_that_yaml_would_read_otherwise(self, name: str, tmp_path: Path) -> None:
        """What is printed can be put into the configuration as it is."""
        _, entry = self.made(name)
        assert entry["name"] == name
        config = configfile.load(str(configure(tmp_path, keys=[entry])))
        assert [key.name for key in config.keys] == [name]

    @pytest.mark.parametrize("name", ["", "a b", "a: b", "\u00e4", "x" * 65, "operator"])
    def test_names_that_no_key_can_have(self, name: str) -> None:
        """Said now, not when the agent is started with it; and no key is made."""
        done = CliRunner().invoke(main, ["key", "new", "--", name])
        assert_plain_error(done, "name")
        assert done.stdout == ""


class TestCheck:
    """`c2c-agent check`: how findings are shown. What is checked stands in test_check."""

    @pytest.fixture(autouse=True)
    def findings(self, monkeypatch: pytest.MonkeyPatch) -> list[Finding | Exception]:
        """What the checks find, and a reactor that is not the real one."""
        found: list[Finding | Exception] = [Finding("configuration", "2 keys, server_id pbx1")]

        async def checks(*_arguments: object) -> AsyncIterator[Finding]:
            for finding in found:
                if isinstance(finding, Exception):
                    raise finding
                yield finding

        def react(begin: Callable[[Any], Any]) -> None:
            """Do as twisted.internet.task.react does."""
            ended: list[Any] = []
            begin(MemoryReactorClock()).addBoth(ended.append)
            sys.exit(0 if ended == [None] else 1)

        monkeypatch.setattr("c2c_agent.check.run.run", checks)
        monkeypatch.setattr("twisted.internet.task.react", react)
        return found

    def test_all_is_well(self, tmp_path: Path) -> None:
        """A line for each finding, exit status 0."""
        configure(tmp_path)
        done = run(tmp_path, "check")
        assert (done.exit_code, done.stdout) == (0, "ok   configuration: 2 keys, server_id pbx1\n")

    def test_a_failure(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """What to do stands below it; exit status 1."""
        configure(tmp_path)
        findings.append(Finding("AMI login", "refused", "Compare the secrets."))
        done = run(tmp_path, "check")
        assert done.exit_code == 1
        assert done.stdout.splitlines()[1:] == [
            "FAIL AMI login: refused",
            "     -> Compare the secrets.",
        ]

    def test_a_warning(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """It stands out, but calls work: exit status 0."""
        configure(tmp_path)
        findings.append(Finding("key crm", "may dial any number", "Narrow it.", warning=True))
        done = run(tmp_path, "check")
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-2:] == [
            "WARN key crm: may dial any number",
            "     -> Narrow it.",
        ]

    def test_json(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """One list, for programs; the exit status is the same."""
        configure(tmp_path)
        findings.append(Finding("AMI login", "refused", "Compare the secrets."))
        done = run(tmp_path, "check", "--json")
        assert done.exit_code == 1
        assert json.loads(done.stdout) == [
            {
                "ok": True,
                "name": "configuration",
                "message": "2 keys, server_id pbx1",
                "advice": "",
                "warning": False,
            },
            {
                "ok": False,
                "name": "AMI login",
                "message": "refused",
                "advice": "Compare the secrets.",
                "warning": False,
            },
        ]

    def test_bad_configuration(self, tmp_path: Path) -> None:
        """The first finding is the configuration itself, as text and as JSON."""
        configure(tmp_path, calls={"timeout": "soon"})
        done = run(tmp_path, "check")
        assert done.exit_code == 1
        assert done.stdout.startswith("FAIL configuration: ")
        assert "calls.timeout" in done.stdout
        assert done.stdout.endswith("     -> Correct this, and check again.\n")
        done = run(tmp_path, "check", "--json")
        assert done.exit_code == 1
        [finding] = json.loads(done.stdout)
        assert (finding["ok"], finding["name"]) == (False, "configuration")

    @pytest.mark.parametrize("how", [[], ["--json"]])
    def test_cut_short(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: list[str]
    ) -> None:
        """By a signal, for which Twisted's own exit status is 0: it found out nothing."""

        def react(begin: Callable[[Any], Any]) -> None:
            begin(MemoryReactorClock())
            sys.exit(0)

        async def checks(*_arguments: object) -> AsyncIterator[Finding]:
            yield Finding("configuration", "2 keys, server_id pbx1")
            await Deferred()

        monkeypatch.setattr("c2c_agent.check.run.run", checks)
        monkeypatch.setattr("twisted.internet.task.react", react)
        configure(tmp_path)
        done = run(tmp_path, "check", *how)
        assert done.exit_code == 1
        assert "2 keys" in done.stdout
        assert "it was stopped before its end" in done.stdout

    def test_a_mistake_of_ours(self, tmp_path: Path, findings: list[Finding | Exception]) -> None:
        """No clean bill of health: exit status 1."""
        configure(tmp_path)
        findings.append(ZeroDivisionError())
        assert run(tmp_path, "check").exit_code == 1


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port


class TestRun:
    """`c2c-agent run`, with a reactor that only remembers what it was asked for."""

    @pytest.fixture
    def reactor(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """That reactor; and the log that would have begun."""
        memory: Any = MemoryReactorClock()
        memory.callFromThread = lambda *_: None  # nothing waits for what the store's threads say
        monkeypatch.setattr("twisted.internet.reactor", memory, raising=False)
        memory.log = []
        monkeypatch.setattr(
            "c2c_agent.host.log.start",
            lambda level, *, full_numbers: memory.log.append((level, full_numbers)),
        )
        memory.signals = {}
        really = signal.signal

        def note(number: signal.Signals, handler: Any) -> Any:
            """Keep what the agent sets; others set theirs."""
            if number is not signal.SIGHUP:
                return really(number, handler)
            return memory.signals.setdefault(number, handler)

        monkeypatch.setattr(signal, "signal", note)
        return memory

    def test_runs(self, tmp_path: Path, reactor: Any) -> None:
        """It listens and runs; what stops the reactor stops the agent first."""
        configure(tmp_path, http={"listen": "tcp:8470:interface=127.0.0.1"})
        done = run(tmp_path, "run")
        assert (done.exit_code, done.output) == (0, "")
        assert reactor.hasRun
        [(port, _, _, interface)] = reactor.tcpServers
        assert (port, interface) == (8470, "127.0.0.1")
        assert list(reactor.signals) == [signal.SIGHUP]
        [(stop, _, _)] = reactor.triggers["before"]["shutdown"]
        stopped: list[object] = []
        stop().addBoth(stopped.append)
        assert stopped == [None]

    @pytest.mark.parametrize(("numbers", "full"), [("masked", False), ("full", True)])
    def test_log(self, tmp_path: Path, reactor: Any, numbers: str, full: bool) -> None:
        """As the configuration has it."""
        configure(tmp_path, log={"level": "warn", "numbers": numbers})
        run(tmp_path, "run")
        assert reactor.log == [("warn", full)]
        self.stop(reactor)

    def stop(self, reactor: Any) -> None:
        """Stop what runs."""
        for stop, _, _ in reactor.triggers["before"]["shutdown"]:
            stop()

    def test_bad_configuration(self, tmp_path: Path, reactor: Any) -> None:
        """Nothing is begun."""
        configure(tmp_path, calls={"timeout": "soon"})
        assert_plain_error(run(tmp_path, "run"), "calls.timeout")
        assert reactor.log == []
        assert not reactor.hasRun

    @pytest.mark.parametrize("listen", ["nonsense", "tcp:http", "ssl:8470:privateKey=/nonexistent"])
    def test_no_place_to_listen(self, tmp_path: Path, reactor: Any, listen: str) -> None:
        """What cannot be listened on is said as a fault of the configuration."""
        configure(tmp_path, http={"listen": listen})
        assert_plain_error(run(tmp_path, "run"), repr(listen))
        assert not reactor.hasRun

    @pytest.mark.parametrize(
        "error",
        [
            CannotListenError("127.0.0.1", 8470, OSError(98, "Address already in use")),
            OSError(2, "No such file or directory"),
            OverflowError("port must be 0-65535."),
        ],
    )
    def test_cannot_listen(self, tmp_path: Path, reactor: Any, error: Exception) -> None:
        """Whatever the listener says, in one line."""

        def refuse(*_: object, **__: object) -> None:
            raise error

        reactor.listenTCP = refuse
        configure(tmp_path)
        assert_plain_error(run(tmp_path, "run"), str(error))
        assert not reactor.hasRun

    def test_no_store(self, tmp_path: Path, reactor: Any) -> None:
        """A store that cannot be is named."""
        (tmp_path / "file").write_text("")
        configure(tmp_path, store={"path": str(tmp_path / "file" / "c2c.sqlite3")})
        assert_plain_error(run(tmp_path, "run"), str(tmp_path / "file"))
        assert not reactor.hasRun

    def test_no_database(self, tmp_path: Path, reactor: Any) -> None:
        """A database that cannot be reached is named, with what the system says of it."""
        url = "postgresql://c2c@127.0.0.1:9/c2c"
        configure(tmp_path, store={"url": url, "directory": str(tmp_path)})
        assert_plain_error(run(tmp_path, "run"), url, "Connection refused")
        assert not reactor.hasRun

    def test_a_store_that_is_none(self, tmp_path: Path, reactor: Any) -> None:
        """So is a file that is something else."""
        (tmp_path / "c2c.sqlite3").write_text("something else, and long enough to be read" * 100)
        configure(tmp_path)
        assert_plain_error(run(tmp_path, "run"), str(tmp_path / "c2c.sqlite3"))
        assert not reactor.hasRun


class TestStore:
    """`c2c-agent store`: each command says one plain line."""

    @pytest.fixture(autouse=True)
    def a_store(self, tmp_path: Path) -> Path:
        """Make a store with nothing in it, and the configuration that names it."""
        configure(tmp_path)
        reactor: Any = MemoryReactorClock()
        store = Store(str(tmp_path / "c2c.sqlite3"), reactor)
        store.open()
        store.close()
        return tmp_path / "c2c.sqlite3"

    def test_a_database(self, tmp_path: Path) -> None:
        """It has tools of its own, and each command names them."""
        url = "postgresql://c2c@db.example.com/c2c"
        configure(tmp_path, store={"url": url})
        for command in (["check"], ["vacuum"], ["backup", str(tmp_path / "copy")]):
            assert_plain_error(run(tmp_path, "store", *command), url, "pg_dump")

    def test_check(self, tmp_path: Path, a_store: Path) -> None:
        """Sound: exit status 0."""
        done = run(tmp_path, "store", "check")
        assert (done.exit_code, done.output) == (0, f"The store {a_store} is sound: 0 requests.\n")

    def test_check_of_something_else(self, tmp_path: Path, a_store: Path) -> None:
        """Not sound: exit status 1."""
        a_store.write_text("something else, and long enough to be read" * 100)
        assert_plain_error(run(tmp_path, "store", "check"), str(a_store), "not a database")

    def test_backup(self, tmp_path: Path) -> None:
        """Silent where it worked; never over a file."""
        file = tmp_path / "backup.sqlite3"
        done = run(tmp_path, "store", "backup", str(file))
        assert (done.exit_code, done.output) == (0, "")
        assert file.exists()
        assert_plain_error(run(tmp_path, "store", "backup", str(file)), str(file), "such a file")

    def test_vacuum(self, tmp_path: Path, a_store: Path) -> None:
        """How much that was."""
        done = run(tmp_path, "store", "vacuum")
        assert done.exit_code == 0
        assert done.output == f"The store {a_store} has given back 0 KiB.\n"

    @pytest.mark.parametrize("command", [["check"], ["backup", "b"], ["vacuum"]])
    def test_no_store(self, tmp_path: Path, a_store: Path, command: list[str]) -> None:
        """None is made by looking for it."""
        a_store.unlink()
        assert_plain_error(run(tmp_path, "store", *command), f"There is no store {a_store}.")
        assert not a_store.exists()


class TestProcess:
    """`c2c-agent run` as a process of its own."""

    @contextmanager
    def started(self, file: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start it as systemd does; it does not outlive the test."""
        reader, writer = os.pipe()
        journal = os.fstat(writer)
        command = [sys.executable, "-m", "c2c_agent", "run", "--config", str(file)]
        environment = {**os.environ, "JOURNAL_STREAM": f"{journal.st_dev}:{journal.st_ino}"}
        environment |= more
        with os.fdopen(reader) as log:
            process = subprocess.Popen(command, stderr=writer, text=True, env=environment)
            os.close(writer)
            process.stderr = log
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def test_from_start_to_stop(self, tmp_path: Path) -> None:
        """It answers, and ends in peace when systemd asks it to."""
        port = free_port()
        with self.started(configure(tmp_path, http={"listen": f"tcp:{port}"})) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "<6>started; 0 calls were in progress before\n"
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as healthz:
                assert json.load(healthz) == {"status": "ok"}
            process.send_signal(signal.SIGTERM)
            assert process.stderr.read() == "<6>stopping; 0 calls go on\n"
            assert process.wait() == 0

    def test_supervised(self, tmp_path: Path) -> None:
        """Systemd hears when it is ready, reloaded and stopping; a bad file does not end it."""
        file = configure(tmp_path, http={"listen": f"tcp:{free_port()}"})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.settimeout(60)
            with self.started(file, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
                assert process.stderr is not None
                ready = b"READY=1\nSTATUS=No PBX is configured"
                assert systemd.recv(4096) == ready
                process.stderr.readline()
                configure(tmp_path, calls={"timeout": "soon"})
                process.send_signal(signal.SIGHUP)
                told = process.stderr.readline()
                assert told.startswith("<3>configuration refused, the old one stays: ")
                assert "calls.timeout: must be a whole number" in told
                assert systemd.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert systemd.recv(4096) == ready
                configure(tmp_path, log={"level": "error"}, calls={"timeout": 20})
                process.send_signal(signal.SIGHUP)
                assert systemd.recv(4096).startswith(b"RELOADING=1")
                assert systemd.recv(4096) == ready
                process.send_signal(signal.SIGTERM)
                assert systemd.recv(4096) == b"STOPPING=1"
                assert process.stderr.read() == ""  # the new level holds
                assert process.wait() == 0

    def test_a_taken_port(self, tmp_path: Path) -> None:
        """One line says which; the process is gone."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
            file = configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
            with self.started(file) as process:
                assert process.stderr is not None
                told = process.stderr.read()
                assert process.wait() == 1
        assert told.count("\n") == 1
        assert f"127.0.0.1:{port}" in told
        assert "Address already in use" in told
