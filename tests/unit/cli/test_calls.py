"""The commands that ask a running agent: what each prints, and its exit status."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final
from unittest import mock
from urllib.parse import parse_qsl

import click
import pytest
from attrs import evolve

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.cli.calls import EXIT_STATUS
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.web import answers as result
from tests.fake_agent import FakeAgent, Scripted
from tests.unit.cli.prompt import (
    ARRIVED,
    BUSY,
    DIALING,
    EPOCH,
    FAULT,
    ONE,
    RINGING,
    TALKED,
    TWO,
    answer,
    assert_plain_error,
    configure,
    free_port,
    run,
)


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
            "--pbx=switchvox",
            "--confirm",
        )
        assert agent.asked[0].form == {
            "dial_first": "100",
            "dial_second": "200",
            "dial_as": "101",
            "timeout": "20",
            "auto_answer": "true",
            "pbx": "switchvox",
            "confirm": "true",
        }

    def test_confirm_auto(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Asked for as such; to be asked in any case is more."""
        agent.script = [answer(), answer()]
        run(tmp_path, "call", "100", "200", "--confirm-auto")
        run(tmp_path, "call", "100", "200", "--confirm-auto", "--confirm")
        assert [one.form["confirm"] for one in agent.asked] == ["auto", "true"]

    def test_an_id_and_limits_of_its_own(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The id makes it safe to ask again; the time may be so long from now, or a date."""
        agent.script = [answer(), answer()]
        own = ("call", "100", "200", "--request-id", TWO, "--max-duration", "60", "--expires")
        before = time.time()
        assert run(tmp_path, *own, "5m").exit_code == 0
        assert run(tmp_path, *own, "2015-06-30 01:48:57").exit_code == 0
        soon, at = (float(one.form.pop("expires")) for one in agent.asked)
        assert before + 299.9 <= soon <= time.time() + 300.1
        assert at == EPOCH
        asked = {"dial_first": "100", "dial_second": "200", "max_duration": "60"}
        assert [one.form for one in agent.asked] == [{**asked, "request_id": TWO}] * 2

    def test_wrong_options(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Said by the command itself, with exit status 2."""
        assert run(tmp_path, "call", "100").exit_code == 2
        assert run(tmp_path, "call", "100", "200", "--timeout", "soon").exit_code == 2
        assert run(tmp_path, "call", "100", "200", "--max-duration", "long").exit_code == 2
        late = run(tmp_path, "call", "100", "200", "--expires", "tomorrow")
        assert_plain_error(late, "--expires: 'tomorrow' is neither 90m, 2h or 3d")
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
            "  dial_second 200: status ANSWER, by dialplan, cause 16",
            "    before PJSIP/200-2: status BUSY, rang 1.5, cause 17",
            "    before PJSIP/200-3: not reached",
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

    @pytest.mark.parametrize(
        ("reason", "status"), [(UnknownReason.NOT_TOLD, 0), (UnknownReason.LOST, 50)]
    )
    def test_exit_status_of_what_is_unknown(
        self, agent: FakeAgent, tmp_path: Path, reason: UnknownReason, status: int
    ) -> None:
        """What this PBX never tells is no failure; what was missed is one."""
        agent.script = [
            answer(),
            result.status(evolve(BUSY, outcome=Outcome.UNKNOWN, reason=reason)),
        ]
        done = run(tmp_path, "call", "100", "200", "--wait")
        assert "\noutcome unknown\n" in done.stdout
        assert done.exit_code == status

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

    def test_ended(self, agent: FakeAgent, tmp_path: Path) -> None:
        """What was over before is not cancelled by it."""
        ended = answer()
        ended["response"]["ended"] = "connected"
        agent.script = [ended]
        done = run(tmp_path, "cancel", ONE)
        assert_plain_error(done, "nothing to cancel: the call has ended (connected)")
        assert done.stdout == ""

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


FAILING: Final[dict[str, Any]] = {
    "target": "crm",
    "waiting": 3,
    "given_up": 1,
    "oldest": "1435628930.500",
    "failing_since": "1435628937.000",
    "reason": "HTTP 500",
}
WELL: Final = {**FAILING, "target": "shop", "failing_since": None, "reason": None}


class TestTargets:
    """`c2c-agent targets`."""

    def test_shown(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Each receiver, and why one is not told."""
        agent.script = [{"targets": [FAILING, WELL]}] * 2
        assert run(tmp_path, "targets").stdout.splitlines() == [
            "crm: 3 wait, 1 given up",
            "  fails since 01:48:57.000: HTTP 500",
            "shop: 3 wait, 1 given up",
        ]
        shown = json.loads(run(tmp_path, "targets", "--json").stdout)
        assert shown == [FAILING, WELL]

    def test_nobody(self, agent: FakeAgent, tmp_path: Path) -> None:
        """No receiver is no fault."""
        agent.script = [{"targets": []}]
        assert run(tmp_path, "targets").stdout.startswith("Nobody is told")

    def test_not_shown(self, agent: FakeAgent, tmp_path: Path) -> None:
        """In the API's words."""
        agent.script = [answer(FAULT, request_id=None)]
        assert_plain_error(run(tmp_path, "targets"), FAULT.message)


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

    def test_without_one(self, tmp_path: Path) -> None:
        """Where none listens, the file alone counts; what is not known is not said."""
        port = free_port()
        configure(tmp_path, http={"listen": f"tcp:{port}:interface=127.0.0.1"})
        done = run(tmp_path, "stop-calls", "--hang-up", "--reason", "x")
        assert done.exit_code == 0
        [file] = tmp_path.rglob("calls.stopped")
        written, why = done.output.splitlines()
        assert written.startswith(f"{file} is written. An agent that has its store there places no")
        assert written.endswith("calls, and hangs up those in progress.")
        assert why == f"(No agent was told: nobody listens at 127.0.0.1:{port})"
        assert StopSwitch(file.parent).state() == Stopped("x", hang_up=True)
        assert run(tmp_path, "start-calls").output == "Calls are placed again.\n"
        assert run(tmp_path, "start-calls").output == "Calls were not stopped.\n"
        assert not file.exists()

    @pytest.mark.parametrize(
        "said",
        [
            answer(Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")),  # another store's
            answer(Fault(ErrorCode.INTERNAL_ERROR, "The kill switch cannot be turned.")),
            {"stopped": False, "hung_up": 0},
            {"stopped": "yes"},
            b"<html>",
            None,
        ],
    )
    def test_anything_but_yes(self, agent: FakeAgent, tmp_path: Path, said: Scripted) -> None:
        """The running agent may go on: that is a failure, though the file is written."""
        agent.script = [said, said]
        done = run(tmp_path, "stop-calls", "--hang-up")
        assert done.exit_code == 1
        assert "Calls are stopped" not in done.output
        assert "has not said that it stops calls" in done.stderr
        assert "It may go on." in done.stderr
        [file] = tmp_path.rglob("calls.stopped")
        done = run(tmp_path, "start-calls")
        assert (done.exit_code, done.stdout) == (1, "")
        assert file.exists()

    def test_the_hosts_key_is_gone(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Somebody listens, and cannot be told: that is no success either."""
        (tmp_path / "operator.key").unlink()
        done = run(tmp_path, "stop-calls")
        assert done.exit_code == 1
        assert "Calls are stopped" not in done.output
        assert "operator.key cannot be read" in done.stderr
        assert agent.asked == []

    def test_not_allowed(self, tmp_path: Path) -> None:
        """Who may not write there is told what to do."""
        configure(tmp_path, http={"listen": f"tcp:{free_port()}:interface=127.0.0.1"})
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

    def test_what_is_looked_for(self, agent: FakeAgent, tmp_path: Path) -> None:
        """It is asked of the agent; the time is one, or so long ago."""
        agent.script = [self.listed(TALKED), self.listed()]
        options = ("--outcome", "connected", "--number", "200", "--since", "2015-06-30 01:48:57")
        more = ("--until", "2015-06-30 01:49:57", "--key", "crm")
        assert len(run(tmp_path, "calls", *options, *more).stdout.splitlines()) == 1
        query = dict(parse_qsl(agent.asked[0].path.partition("?")[2]))
        assert query == {
            "limit": "20",
            "outcome": "connected",
            "number": "200",
            "since": f"{EPOCH:.3f}",
            "until": f"{EPOCH + 60:.3f}",
            "key": "crm",
        }
        before = time.time()
        assert run(tmp_path, "calls", "--since", "2h").exit_code == 0
        since = float(dict(parse_qsl(agent.asked[1].path.partition("?")[2]))["since"])
        assert before - 7200.1 <= since <= time.time() - 7200
        assert_plain_error(run(tmp_path, "calls", "--since", "yesterday"), "neither 90m, 2h or 3d")
        assert run(tmp_path, "calls", "--outcome", "x").exit_code == 2

    def test_csv(self, agent: FakeAgent, tmp_path: Path) -> None:
        """The agent's table, as it is; or why there is none."""
        fault = Fault(ErrorCode.INVALID_PARAMETER, "limit must be a whole number from 0 to 1000.")
        agent.script = [b"a,b\r\n1,2\r\n", answer(fault, request_id=None)]
        assert run(tmp_path, "calls", "--csv").stdout_bytes == b"a,b\r\n1,2\r\n"
        assert agent.asked[0].path == "/c2c/v2/calls?limit=20&format=csv"
        assert_plain_error(run(tmp_path, "calls", "--csv", "--limit", "5000"), "limit must be")
        assert run(tmp_path, "calls", "--csv", "--json").exit_code == 2

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

        monkeypatch.setattr("c2c_agent.cli.overview._sleep", sleep)
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


class TestReports:
    """`c2c-agent reports`."""

    REPORT: ClassVar = {
        "id": "e-1",
        "target": "crm",
        "type": "call.ended",
        "request_id": ONE,
        "utc.time": "1435628937.000",
        "state": "given_up",
        "attempts": 10,
        "utc.due": None,
        "reason": "HTTP 500",
    }

    def test_the_latest_last(self, agent: FakeAgent, tmp_path: Path) -> None:
        """When, of which call, what, for whom, and why it was not told."""
        waiting = {**self.REPORT, "state": "waiting", "attempts": 0, "reason": None}
        agent.script = [{"reports": [waiting, self.REPORT]}]
        why = "given up, 10 attempts failed: HTTP 500"
        assert run(tmp_path, "reports", "--state", "given_up").stdout.splitlines() == [
            f"2015-06-30 01:48:57+00:00  {ONE}  call.ended -> crm  {why}",
            f"2015-06-30 01:48:57+00:00  {ONE}  call.ended -> crm  waiting",
        ]
        assert agent.asked[0].path == "/c2c/v2/reports?limit=20&state=given_up"

    def test_json(self, agent: FakeAgent, tmp_path: Path) -> None:
        """One object a line."""
        agent.script = [{"reports": [self.REPORT]}, {"nonsense": 1}]
        assert json.loads(run(tmp_path, "reports", "--json").stdout) == self.REPORT
        assert run(tmp_path, "reports").exit_code == 1


class TestKeyList:
    """`c2c-agent key list`."""

    KEY: ClassVar = {
        "name": "crm",
        "limits": {"max_concurrent": 10, "per_minute": None, "per_day": 5, "minutes_per_day": 60},
        "use": {"concurrent": 1, "minute": 2, "day": 3, "minutes_day": 4.5},
    }

    def test_limits_and_use(self, agent: FakeAgent, tmp_path: Path) -> None:
        """Of each key; where nobody knows its use, that is said."""
        agent.script = [{"keys": [self.KEY, {**self.KEY, "use": None}]}]
        assert run(tmp_path, "key", "list").stdout.splitlines() == [
            "crm  in progress 1 of 10, this minute 2, this day 3 of 5, minutes this day 4.5 of 60",
            "crm  (use is not known to one of several relays)",
        ]
        assert agent.asked[0].path == "/c2c/v2/keys"

    def test_json(self, agent: FakeAgent, tmp_path: Path) -> None:
        """One object a line."""
        agent.script = [{"keys": [self.KEY]}, {"nonsense": 1}]
        assert json.loads(run(tmp_path, "key", "list", "--json").stdout) == self.KEY
        assert run(tmp_path, "key", "list").exit_code == 1
