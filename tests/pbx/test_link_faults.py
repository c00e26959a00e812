"""AMI and Asterisk at their worst, with calls up: each settles soon after the link is back."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.proxy import Wire
from tests.pbx.sip_scenario import RINGS_FOR_EVER, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

#: Seconds after which every call has settled once AMI can be reached again.
SETTLED = 15.0

QUICK = Behaviour(ring_seconds=0.2)

#: Seconds for which a phone rings, at most: longer than any test takes.
RINGING = "300"


@pytest.fixture
def wired(
    asterisk: AsteriskHost, wire: Wire, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent at the end of the wire."""
    directory = tmp_path_factory.mktemp("agent")
    limits = {"calls": {"max_timeout": int(RINGING)}}
    with AgentProcess(asterisk, directory, limits, ami_port=wire.place[1]) as agent:
        yield agent


#: Calls at once whose events fill what lies between Asterisk and an agent that does not read. How
#: much that is, some MB mostly, is up to the system's buffers; so it takes some of these.
FLOOD = 5


def flood(witness: Witness, channel_id: str) -> None:
    """Have Asterisk tell the agent of a call that is none of its own."""
    answer = witness.action(
        "Originate",
        Channel="Local/297@from-phones/n",
        ChannelId=channel_id,
        Application="Wait",
        Data="60",
        Async="true",
    )
    assert answer["Response"] == "Success", answer


def flooded_until_cut(asterisk: AsteriskHost, witness: Witness) -> bool:
    """Whether Asterisk has ended the agent's connection; where it has not, it has more to tell."""
    if asterisk.ami_username not in asterisk.cli("manager show connected"):
        return True
    nobodys = [linkedid_of(str(uuid4())) for _ in range(FLOOD)]
    for channel_id in nobodys:
        flood(witness, channel_id)
    for channel_id in nobodys:
        witness.wait_until_gone(channel_id, 30)
    return False


class Calls:
    """Some calls in different states, and how long they take to settle."""

    def __init__(self, agent: AgentProcess, phone: StartPhone) -> None:
        self._agent = agent
        phone("100", QUICK)
        phone("101", RINGS_FOR_EVER)
        phone("200", QUICK)
        phone("201", RINGS_FOR_EVER)
        self.talking = agent.call("100", "200")
        self.first_rings = agent.call("101", "200", timeout=RINGING)
        self.second_rings = agent.call("100", "201", timeout=RINGING)
        agent.reached(self.talking, "connected")
        agent.reached(self.first_rings, "first_ringing")
        agent.reached(self.second_rings, "second_ringing")

    @property
    def all(self) -> list[str]:
        """Their requests."""
        return [self.talking, self.first_rings, self.second_rings]

    def settle_within(
        self, begin: float, what: str, capsys: pytest.CaptureFixture[str]
    ) -> dict[str, str]:
        """Wait until each has been found or has ended; the seconds since `begin` are judged."""
        lateness = Lateness()

        def settled() -> bool:
            for request_id in self.all:
                events = [
                    one["event"] for one in self._agent.status(request_id)["call"]["timeline"]
                ]
                since_lost = events[events.index("pbx_lost") :] if "pbx_lost" in events else []
                if "ended" not in events and "pbx_found" not in since_lost:
                    return False
            return True

        wait_until(settled, 60, "all calls have settled")
        seconds = time.monotonic() - begin - lateness.seconds
        calls = {
            name: self._agent.status(getattr(self, name))["call"]
            for name in ("talking", "first_rings", "second_rings")
        }
        told = {name: str(call["outcome"] or call["state"]) for name, call in calls.items()}
        with capsys.disabled():
            sys.stdout.write(f"\n{self._agent.host}: {what}: settled in {seconds:.1f} s: {told}\n")
        assert seconds <= SETTLED
        return told

    def end(self) -> None:
        """Hang up what goes on: that, and no phone, ended each."""
        for request_id in self.all:
            self._agent.cancel(request_id)
        told = [self._agent.ended(request_id) for request_id in self.all]
        assert [call["outcome"] for call in told] == ["connected", "cancelled", "cancelled"]
        assert {call["hung_up_by"] for call in told} == {"cancel"}


ALIVE = {"talking": "connected", "first_rings": "first_ringing", "second_rings": "second_ringing"}


class TestLink:
    def test_cut_within_a_message(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Half an event is none: the link is lost, and what goes on is found again."""
        calls = Calls(wired, phone)
        phone("102", QUICK)
        wire.cut_within = b"Event: DialState"
        request_id = wired.call("102", "201", timeout=RINGING)
        wired.reached(request_id, "pbx_lost")
        begin = time.monotonic()
        wire.mend()
        assert calls.settle_within(begin, "cut within a message", capsys) == ALIVE
        assert "within a message" in wired.log()
        wired.cancel(request_id)
        assert wired.ended(request_id)["outcome"] == "cancelled"
        calls.end()

    def test_silent(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It accepts and says nothing: a Ping without an answer ends the link."""
        calls = Calls(wired, phone)
        wire.deaf = True
        begin, lateness = time.monotonic(), Lateness()
        wait_until(lambda: not wired.is_ready(), 40, "the agent has noticed")
        noticed = time.monotonic() - begin - lateness.seconds
        assert "no answer to a Ping within 10 s" in wired.log()
        assert noticed < 25  # 10 s of silence, and 10 s for the answer
        wired.logged("no login within 10 s", 40)  # the next attempt fares no better
        wire.deaf = False
        begin = time.monotonic()
        # A connection that was accepted before says nothing more; it is given up by itself.
        assert calls.settle_within(begin, f"silent, noticed in {noticed:.0f} s", capsys) == ALIVE
        calls.end()

    @pytest.mark.timeout(400)  # the witness reads the flood, too, and a busy machine takes long
    def test_a_reader_that_stalls(
        self,
        wired: AgentProcess,
        wire: Wire,
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """It stands still while events flow: after writetimeout (5 s) Asterisk ends the link."""
        wire.narrow = True
        wire.cut()
        wire.mend()
        wired.logged("No AMI link")
        wait_until(wired.is_ready, 20, "the link is back")
        calls = Calls(wired, phone)
        assert wired.pid is not None
        os.kill(wired.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: flooded_until_cut(asterisk, witness), 150, "the link is ended")
        finally:
            os.kill(wired.pid, signal.SIGCONT)
        begin = time.monotonic()
        wired.reached(calls.talking, "pbx_lost")
        assert calls.settle_within(begin, "stalled reader", capsys) == ALIVE
        calls.end()

    def test_the_secret_is_changed(
        self,
        wired: AgentProcess,
        wire: Wire,
        asterisk: AsteriskHost,
        phone: StartPhone,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Nothing happens until the link is lost; then it says what is wrong, and takes the new."""
        calls = Calls(wired, phone)
        secret = wired.directory / "ami.secret"
        with asterisk.changed_secret("another secret"):
            assert wired.is_ready()
            wire.cut()
            wire.mend()
            wired.logged("login refused: Authentication failed")
            assert "login refused" in wired.readiness()["ami"]
            secret.write_text("another secret\n", encoding="utf-8")
            wait_until(wired.is_ready, 40, "the agent has taken the new secret")
            assert calls.settle_within(time.monotonic(), "secret changed", capsys) == ALIVE
            calls.end()


class TestAsteriskGone:
    @pytest.mark.parametrize("how", ["killed", "core restart now"])
    def test_with_calls_up(
        self,
        wired: AgentProcess,
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
        how: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Every call has its one outcome, none is placed again, and the next call works."""
        calls = Calls(wired, phone)
        originates = [witness.call(linkedid_of(request_id)).originates for request_id in calls.all]
        if how == "killed":
            asterisk.kill()
            wait_until(lambda: not wired.is_ready(), 20, "the agent has noticed")
            asterisk.start()
        else:
            asterisk.restart_now()
        begin = time.monotonic()
        told = calls.settle_within(begin, how, capsys)
        assert told["talking"] == "connected"
        assert wired.status(calls.talking)["call"]["state"] == "ended"
        assert originates == [1, 1, 1]
        wait_until(wired.is_ready, SETTLED, "the link is back")
        with Witness(asterisk) as second_witness:
            phone("200", Behaviour(ring_seconds=0.2, talk_seconds=0.5))
            next_call = wired.call("100", "200")
            assert wired.ended(next_call)["outcome"] == "connected"
            assert second_witness.linkedids() == [linkedid_of(next_call)]
