"""What a stolen key tries on a real Asterisk, and what the PBX was seen to do: nothing of it.

Each test is named for the trick. What was not dialled is told by a foreign AMI client and by the
phones that should not ring.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import FORWARDS, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

QUICK = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)

#: A number that costs the thief's victim money.
DEAR = "103"


class WithKey:
    """Makes agents whose one key has these limits; they end with the test."""

    def __init__(self, make: Callable[..., AgentProcess]) -> None:
        self._make = make

    def __call__(
        self,
        calls: dict[str, Any] | None = None,
        asterisk: dict[str, Any] | None = None,
        **limits: Any,
    ) -> AgentProcess:
        """Start one; the sections of the configuration are changed as they say."""
        key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"], **limits}
        return self._make({"keys": [key], "calls": calls or {}}, asterisk or {})


@pytest.fixture
def with_key(asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithKey]:
    """Agents of the test's own."""
    started: list[AgentProcess] = []

    def make(changes: dict[str, Any], asterisk_changes: dict[str, Any]) -> AgentProcess:
        directory = tmp_path_factory.mktemp("agent")
        agent = AgentProcess(asterisk, directory, changes, asterisk_changes=asterisk_changes)
        agent.start()
        started.append(agent)
        return agent

    yield WithKey(make)
    for agent in started:
        agent.stop()


def codes(response: dict[str, Any]) -> list[str]:
    """Why a request was refused."""
    return [entry["error"]["code"] for entry in response["errors"]]


class TestNumbers:
    @pytest.mark.parametrize(
        "number",
        ["*72103", "10*", "100#", "+103", "+49103", "00103", "100*103", "#21*103", "tel:+103"],
    )
    @pytest.mark.parametrize("which", ["dial_first", "dial_second"])
    def test_codes_and_other_forms(
        self, agent: AgentProcess, witness: Witness, which: str, number: str
    ) -> None:
        """Neither number may be one that no pattern names, however it is dressed up."""
        before = len(witness._events)
        numbers = {"dial_first": "100", "dial_second": "200"} | {which: number}
        response = agent.place(numbers["dial_first"], numbers["dial_second"])
        assert codes(response) == ["not_allowed"]
        assert agent.ended(response["request_id"])["outcome"] == "rejected"
        assert len(witness._events) == before

    def test_a_code_behind_an_open_pattern(self, with_key: WithKey, witness: Witness) -> None:
        """`.` and `!` stand for digits, so a code behind what is allowed is not allowed."""
        agent = with_key(allow=["_1.", "_2!"], dial_as=["_1XX"])
        before = len(witness._events)
        for number in ("1*72103", "10#5", "1+103"):
            assert codes(agent.place("100", number)) in (["not_allowed"], ["invalid_parameter"])
        for number in ("2*", "2#103"):
            assert codes(agent.place(number, "200", dial_as="100")) == ["not_allowed"]
        assert codes(agent.place("100", "200", dial_as="1*0")) == ["not_allowed"]
        assert len(witness._events) == before

    def test_the_other_form_of_a_denied_number(self, with_key: WithKey, witness: Witness) -> None:
        """What is denied with 00 is denied with + as well, and the other way round."""
        agent = with_key(allow=["_X.", "_+X."], deny=["_00.", "_+881."])
        before = len(witness._events)
        for number in ("0049103", "+49103", "00881103", "+881103"):
            assert codes(agent.place("100", number)) == ["not_allowed"]
        assert len(witness._events) == before

    def test_what_is_no_parameter(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """Names that Asterisk knows mean nothing in a request: no variable, no caller ID."""
        first, second, dear = phone("100", QUICK), phone("200", TALKS), phone(DEAR)
        smuggled = {
            "Channel": f"PJSIP/{DEAR}",
            "channel": f"PJSIP/{DEAR}",
            "variables": f"C2C_SECOND_CHANNEL=PJSIP/{DEAR}",
            "Variable": f"C2C_SECOND_CHANNEL=PJSIP/{DEAR}",
            "__C2C_SECOND": DEAR,
            "C2C_SECOND_CHANNEL": f"PJSIP/{DEAR}",
            "caller_id": DEAR,
            "CallerID": DEAR,
            "context": "limited",
            "Application": "Dial",
            "Data": f"PJSIP/{DEAR}",
            "target": f"PJSIP/{DEAR}",
        }
        request_id = agent.call("100", "200", **smuggled)
        assert agent.ended(request_id)["outcome"] == "connected"
        sent = agent.status(request_id)["pbx_request"]["pbx_data"]
        assert sent["Channel"] == "Local/100@c2c-first/n"
        assert DEAR not in json.dumps(sent)
        assert "Application" not in sent
        assert first.invites()[0].caller_number == "200"
        assert second.invites()[0].caller_number == "100"
        assert dear.calls() == []
        assert not witness.call(linkedid_of(request_id)).has(f"PJSIP/{DEAR}")


class TestForwarding:
    def test_the_first_phone_forwards(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """A 302 of the first phone rings nobody: not the number it names, and not the second."""
        first, second, dear = phone("100", FORWARDS), phone("200"), phone(DEAR)
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        assert call["outcome"] == "first_unreachable"
        seen = witness.wait_until_gone(linkedid_of(request_id), 10)
        assert not seen.has(f"PJSIP/{DEAR}")
        assert all(f"/{DEAR}@" not in channel.name for channel in seen.channels)
        assert len(first.calls()) == 1
        assert second.calls() == dear.calls() == []

    #: A second leg that is a device: no dialplan of the admin's is asked.
    DEVICE: ClassVar = {"second_leg": [{"match": "_X.", "channel": "PJSIP/{number}"}]}

    def test_the_second_phone_forwards_where_the_agent_dials_it(
        self, with_key: WithKey, phone: StartPhone, witness: Witness
    ) -> None:
        """The same of the second phone, where the agent's own Dial rings it."""
        agent = with_key(asterisk=self.DEVICE)
        phone("100", QUICK)
        second, dear = phone("200", FORWARDS), phone(DEAR)
        request_id = agent.call("100", "200")
        call = agent.ended(request_id)
        assert call["outcome"] == "second_unreachable"
        seen = witness.wait_until_gone(linkedid_of(request_id), 10)
        assert not seen.has(f"PJSIP/{DEAR}")
        assert len(second.calls()) == 1
        assert dear.calls() == []

    def test_the_second_phone_forwards_where_the_dialplan_is_alone(
        self, with_key: WithKey, phone: StartPhone, witness: Witness
    ) -> None:
        """Killed while the first rings: c2c-bridge dials with the same option."""
        agent = with_key(asterisk=self.DEVICE)
        phone("100", Behaviour(ring_seconds=5.0))
        second, dear = phone("200", FORWARDS), phone(DEAR)
        request_id = agent.call("100", "200")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        seen = witness.wait_until_gone(linkedid_of(request_id), 20)
        agent.start()
        # Nobody watched, and to Dial a forwarding that it does not follow is a phone that is busy.
        assert agent.ended(request_id)["outcome"] == "second_busy"
        assert not seen.has(f"PJSIP/{DEAR}")
        assert len(second.calls()) == 1
        assert dear.calls() == []


class TestDuration:
    def test_a_forgotten_call_ends_without_the_agent(
        self, with_key: WithKey, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """Killed during the talk: the PBX ends it all the same, and the agent learns of it."""
        agent = with_key(calls={"max_duration": 4})
        first, second = phone("100", QUICK), phone("200", QUICK)
        request_id = agent.call("100", "200")
        channel = agent.reached(request_id, "connected")["dial_first"]["channel"]

        def is_bound() -> bool:
            asked = {"Channel": channel, "Variable": "TIMEOUT(absolute)"}
            return 0 < float(witness.action("Getvar", **asked)["Value"]) <= 4

        wait_until(is_bound, 10, "the agent has had it bounded")
        agent.kill()
        witness.wait_until_gone(linkedid_of(request_id), 15)
        assert second.whole_call().talk_seconds == lateness.near(4, 0.7)
        assert first.whole_call().hung_up_by == "pbx"
        agent.start()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
        assert call["talk_seconds"] == lateness.near(4, 0.7)

    def test_a_forgotten_call_ends_where_the_agent_was_never_asked(
        self, with_key: WithKey, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """Killed while the first rings: the dialplan that joins them alone keeps the limit."""
        agent = with_key(calls={"max_duration": 3})
        phone("100", Behaviour(ring_seconds=5.0))
        second = phone("200", QUICK)
        request_id = agent.call("100", "200")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        witness.wait_until_gone(linkedid_of(request_id), 20)
        assert second.whole_call().talk_seconds == lateness.near(3, 0.7)
        agent.start()
        assert agent.ended(request_id)["outcome"] == "connected"

    def test_a_job_asks_for_more(
        self, with_key: WithKey, phone: StartPhone, lateness: Lateness
    ) -> None:
        """A request may shorten its talk, and not lengthen it beyond what its key may."""
        agent = with_key(max_duration=2)
        phone("100", QUICK)
        phone("200", QUICK)
        for asked, talked in (("3600", 2), ("1", 1)):
            call = agent.ended(agent.call("100", "200", max_duration=asked))
            assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
            assert call["talk_seconds"] == lateness.near(talked, 0.5)


class TestMinutes:
    def test_a_call_longer_than_what_is_left(
        self, with_key: WithKey, phone: StartPhone, lateness: Lateness
    ) -> None:
        """The PBX ends it when the minutes are used up, and the next one is refused."""
        agent = with_key(minutes_per_day=1, calls={"timeout": 57, "max_timeout": 57})
        phone("100", QUICK)
        second = phone("200", QUICK)
        call = agent.ended(agent.call("100", "200"))
        assert call["hung_up_by"] == "limit"
        assert call["talk_seconds"] == lateness.near(3, 0.5)
        assert codes(agent.place("100", "200")) == ["rate_limited"]
        assert len(second.calls()) == 1

    def test_calls_at_once(self, with_key: WithKey, phone: StartPhone, witness: Witness) -> None:
        """What one call may still use, none beside it gets."""
        agent = with_key(minutes_per_day=1)
        phone("100", QUICK)
        phone("200", QUICK)
        request_id = agent.call("100", "200", timeout="10")
        assert [codes(agent.place("100", "200", timeout="10")) for _ in range(5)] == [
            ["rate_limited"]
        ] * 5
        agent.reached(request_id, "connected")
        agent.cancel(request_id)
        agent.ended(request_id)
        assert witness.wait_until_gone(linkedid_of(request_id), 10).originates == 1

    def test_a_restart_gives_nothing_back(self, with_key: WithKey, phone: StartPhone) -> None:
        """Neither calls nor minutes of the day, nor those of a call in progress."""
        agent = with_key(minutes_per_day=1, per_day=2)
        phone("100", QUICK)
        phone("200", TALKS)
        asked = {"timeout": "40", "request_id": "31111111-2222-4333-8444-555555555555"}
        agent.ended(agent.call("100", "200", **asked))
        agent.stop()
        agent.start()
        assert agent.place("100", "200", **asked)["replayed"]  # counts once
        phone("200", QUICK)
        request_id = agent.call("100", "200", timeout="40")
        agent.stored(request_id, "connected")
        agent.kill()
        agent.start()
        assert codes(agent.place("100", "200", timeout="10")) == ["rate_limited"]
        call = agent.ended(request_id)
        assert call["hung_up_by"] == "limit"
        response = agent.place("100", "200", timeout="10")
        assert response["errors"][0]["error"]["message"] == "This key may place 2 calls a day."


class TestKillSwitch:
    def test_it_holds(self, with_key: WithKey, phone: StartPhone, witness: Witness) -> None:
        """No request passes it, also not after a restart; what is known is answered still."""
        agent = with_key()
        first = phone("100", QUICK)
        phone("200", TALKS)
        asked = {"request_id": "41111111-2222-4333-8444-555555555555"}
        agent.ended(agent.call("100", "200", **asked))
        stopped = agent.run("stop-calls", "--reason", "a key was stolen")
        assert (stopped.returncode, stopped.stdout) == (0, "Calls are stopped.\n"), stopped.stderr
        before = len(witness._events)
        for _ in range(2):
            response = agent.place("100", "200")
            assert codes(response) == ["not_allowed"]
            assert "stopped all calls" in response["errors"][0]["error"]["message"]
            assert agent.place("100", "200", **asked)["replayed"]
            agent.stop()
            agent.start(wait=False)
            agent.logged("calls are stopped: a key was stolen")
            wait_until(lambda: answers(agent, "/healthz"), 20, "the agent answers")
        ready = ready_parts(agent)
        assert ready["calls"] == "calls are stopped: a key was stolen"
        assert "WARN kill switch" in agent.run("check").stdout
        assert len(witness._events) - before <= 2  # the test call of `check` rings nobody
        assert len(first.calls()) == 1
        started = agent.run("start-calls")
        assert (started.returncode, started.stdout) == (0, "Calls are placed again.\n")
        agent.ended(agent.call("100", "200"))
        assert len(first.calls()) == 2

    def test_calls_in_progress_are_hung_up(
        self, with_key: WithKey, phone: StartPhone, lateness: Lateness
    ) -> None:
        """One that rings and one that talks, at once."""
        agent = with_key()
        phone("100", QUICK)
        second = phone("200", QUICK)
        first = phone("101", Behaviour(ring_seconds=None))
        talking = agent.call("100", "200")
        ringing = agent.call("101", "200", timeout="60")
        agent.reached(talking, "connected")
        agent.reached(ringing, "first_ringing")
        before = time.monotonic()
        stopped = agent.run("stop-calls", "--hang-up")
        assert stopped.stdout == "Calls are stopped. 2 in progress are hung up.\n", stopped.stderr
        assert agent.ended(ringing)["outcome"] == "cancelled"
        call = agent.ended(talking)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "cancel")
        given_up, hung_up = first.whole_call().cancelled_at, second.whole_call().ended_at
        assert given_up is not None
        assert hung_up is not None
        assert max(given_up, hung_up) - before < 15 + lateness.seconds

    def test_turned_where_no_agent_runs(
        self, with_key: WithKey, phone: StartPhone, witness: Witness
    ) -> None:
        """It counts from the start, and what still talked is hung up then."""
        agent = with_key()
        phone("100", QUICK)
        phone("200", QUICK)
        request_id = agent.call("100", "200")
        agent.stored(request_id, "connected")
        agent.kill()
        stopped = agent.run("stop-calls", "--hang-up")
        assert stopped.returncode == 0, stopped.stderr
        assert "No agent was told" in stopped.stdout
        assert not witness.call(linkedid_of(request_id)).is_gone
        agent.start(wait=False)
        witness.wait_until_gone(linkedid_of(request_id), 20)
        wait_until(lambda: answers(agent, "/healthz"), 20, "the agent answers")
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "cancel")
        assert codes(agent.place("100", "200")) == ["not_allowed"]


def answers(agent: AgentProcess, path: str) -> bool:
    """Tell whether the agent answers at all."""
    try:
        return bool(agent.ask(path))
    except OSError:
        return False


def ready_parts(agent: AgentProcess) -> dict[str, str]:
    """What `/readyz` says while the agent is not ready."""
    try:
        with urlopen(f"{agent.url}/readyz", timeout=5) as answer:  # noqa: S310 - our own
            raise AssertionError(answer.read())
    except HTTPError as error:
        parts: dict[str, str] = json.loads(error.read())["parts"]
        return parts
