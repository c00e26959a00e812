"""The ids of channels: short enough for CDRs, and ours only as a whole."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost, beside
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import DECLINES, RINGS_FOR_EVER, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

QUICK = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)
#: Until the test tells it to take the call.
WAITS = Behaviour(ring_seconds=None)

#: Of `uniqueid` and `linkedid` in a FreePBX's table of CDRs.
ROOM = 32


def test_no_id_is_longer_than_a_cdr_has_room_for(
    agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
) -> None:
    """Neither the call's, nor that of any of its channels, `;2` included."""
    phone("100", QUICK)
    phone("200", TALKS)
    request_id = agent.call("100", "200")
    agent.ended(request_id)

    def rows() -> list[dict[str, str]]:
        return asterisk.cdrs(linkedid_of(request_id))

    wait_until(rows, 10, "the CDRs are written")
    ids = [row[column] for row in rows() for column in ("uniqueid", "linkedid")]
    assert max(map(len, ids)) <= ROOM
    assert agent.status(request_id)["pbx_request"]["pbx_data"]["ChannelId"] == linkedid_of(
        request_id
    )


class TestCallsOfVersion01:
    """They are in progress while the agent is upgraded: found, followed, and ended as any other."""

    @pytest.fixture
    def upgraded(
        self, asterisk: AsteriskHost, tmp_path: Path
    ) -> Iterator[tuple[AgentProcess, Callable[[], AgentProcess]]]:
        """An agent that places calls as 0.1 did, and what puts that of today in its place."""
        before = AgentProcess(asterisk, tmp_path, module="tests.pbx.as_0_1")
        before.start()
        now = AgentProcess(asterisk, tmp_path, ports=(before.http_port, before.agi_port))

        def upgrade() -> AgentProcess:
            before.stop()
            now.start()
            return now

        yield before, upgrade
        for agent in (before, now):
            if agent.pid is not None:
                agent.stop()

    @staticmethod
    def assert_as_0_1(agent: AgentProcess, request_id: str, witness: Witness) -> None:
        """It was placed as 0.1 did."""
        data = agent.status(request_id)["pbx_request"]["pbx_data"]
        assert data["ChannelId"] == f"c2c-{request_id}"
        assert not any("C2C_SECRET" in variable for variable in data["Variable"])
        assert witness.call(f"c2c-{request_id}").originates == 1

    def test_it_goes_on(
        self,
        upgraded: tuple[AgentProcess, Callable[[], AgentProcess]],
        phone: StartPhone,
        witness: Witness,
        lateness: Lateness,
    ) -> None:
        """The first rings over the upgrade; then the new agent connects the two, and tells."""
        agent, upgrade = upgraded
        first, second = phone("100", WAITS), phone("200", QUICK)
        request_id = agent.call("100", "200")
        agent.stored(request_id, "first_ringing")
        self.assert_as_0_1(agent, request_id, witness)
        agent = upgrade()
        agent.reached(request_id, "pbx_found")
        first.decide()
        agent.reached(request_id, "connected")
        time.sleep(1.0)
        second.hang_up()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert "second_ringing" in [entry["event"] for entry in call["timeline"]]

    @pytest.mark.parametrize("state", ["first_ringing", "connected"])
    def test_it_is_cancelled(
        self,
        upgraded: tuple[AgentProcess, Callable[[], AgentProcess]],
        phone: StartPhone,
        witness: Witness,
        state: str,
    ) -> None:
        """By the new agent, whatever it had come to."""
        agent, upgrade = upgraded
        phone("100", RINGS_FOR_EVER if state == "first_ringing" else QUICK)
        phone("200", QUICK)
        request_id = agent.call("100", "200")
        agent.stored(request_id, state)
        agent = upgrade()
        agent.reached(request_id, "pbx_found")
        assert agent.cancel(request_id)["status"] == "success"
        call = agent.ended(request_id)
        talked = state == "connected"
        assert call["outcome"] == ("connected" if talked else "cancelled")
        assert call["hung_up_by"] == "cancel"
        witness.wait_until_gone(f"c2c-{request_id}", 10)

    def test_it_ends_meanwhile(
        self,
        upgraded: tuple[AgentProcess, Callable[[], AgentProcess]],
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """No agent runs: what the dialplan has left tells how."""
        agent, upgrade = upgraded
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = agent.call("100", "200")
        agent.stored(request_id, "connected")
        agent.kill()
        second.hang_up()
        witness.wait_until_gone(f"c2c-{request_id}", 20)
        assert upgrade().ended(request_id)["outcome"] == "connected"
        wait_until(lambda: request_id not in asterisk.database("c2c"), 5, "it is taken from AstDB")


class AgentsEar:
    """A session of the agent's AMI user beside the agent's own: what that one is told, too."""

    def __init__(self, host: AsteriskHost) -> None:
        self._host = host
        self._socket = socket.create_connection((host.address, host.ami_port), 10)
        self._said = 0

    def __enter__(self) -> Self:
        host = self._host
        self._say("Login", Username=host.ami_username, Secret=host.ami_secret)
        assert b"Authentication accepted" in self.heard()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _say(self, action: str, **headers: str) -> None:
        self._said += 1
        lines = {"Action": action, "ActionID": f"ear-{self._said}", **headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._socket.sendall(text.encode() + b"\r\n")

    def heard(self) -> bytes:
        """What has been said since the last time; the events of a call come a moment after it."""
        time.sleep(0.5)
        self._say("Ping")
        end = f"ActionID: ear-{self._said}\r\n".encode()
        heard = b""
        while end not in heard:
            data = self._socket.recv(65536)
            assert data, heard
            heard += data
        return heard


class TestAPbxWhoseNameBeginsAsOurIds:
    """Its `systemname` is `c2c-pbx1`, so the ids of all its channels begin with `c2c-pbx1-`."""

    NAME = "c2c-pbx1"

    @pytest.fixture
    def named(self, asterisk: AsteriskHost) -> Iterator[AsteriskHost]:
        """The PBX with that name."""
        host = AsteriskHost(asterisk.version, beside(asterisk.address, 100))
        settings = f"[options]\nsystemname = {self.NAME}\n"
        host.files = {**host.files, "asterisk.conf": settings}
        with host:
            yield host

    @pytest.fixture
    def its_agent(self, named: AsteriskHost, tmp_path: Path) -> Iterator[AgentProcess]:
        """An agent beside it."""
        with AgentProcess(named, tmp_path) as agent:
            yield agent

    @pytest.fixture
    def its_phone(self, named: AsteriskHost, tmp_path: Path) -> Iterator[Callable[..., Phone]]:
        """Starts its phones."""
        phones: list[Phone] = []

        def start(number: str, behaviour: Behaviour) -> Phone:
            place = tmp_path / f"phone-{len(phones)}-{number}"
            place.mkdir()
            address = (named.phones_address, named.phone_port(number))
            phones.append(Phone(number, *address, behaviour, place))
            phones[-1].start()
            return phones[-1]

        yield start
        for phone in phones:
            phone.stop()

    def test_a_call_is_told_and_ends(
        self, its_agent: AgentProcess, its_phone: Callable[..., Phone], lateness: Lateness
    ) -> None:
        """Its children are its own, whatever their ids begin with."""
        first, second = its_phone("100", QUICK), its_phone("200", TALKS)
        request_id = its_agent.call("100", "200")
        call = its_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        for leg, number, rang in (("first", "100", first), ("second", "200", second)):
            told = call[f"dial_{leg}"]
            assert told["channel"].startswith(f"PJSIP/{number}-")
            assert told["ring_seconds"] == lateness.near(rang.calls()[0].ring_seconds, 0.5)
        its_phone("201", DECLINES)
        assert its_agent.ended(its_agent.call("100", "201"))["outcome"] == "second_declined"

    def test_a_colleague_picks_up(
        self, named: AsteriskHost, its_agent: AgentProcess, its_phone: Callable[..., Phone]
    ) -> None:
        """On a channel of another call, whose id begins so, while the first rings."""
        its_phone("100", RINGS_FOR_EVER)
        its_phone("101", Behaviour(ring_seconds=0.2, talk_seconds=2.0))
        its_phone("200", QUICK)
        request_id = its_agent.call("100", "200")
        ringing = its_agent.reached(request_id, "first_ringing")["dial_first"]["channel"]
        with Witness(named) as witness:
            pickup = {"Application": "PickupChan", "Data": ringing, "Async": "true"}
            answer = witness.action("Originate", Channel="PJSIP/101", **pickup)
            assert answer["Response"] == "Success", answer
            call = its_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")
        assert call["dial_first"]["channel"].startswith("PJSIP/101-")

    def test_others_calls_are_kept_from_the_agent(
        self, named: AsteriskHost, its_agent: AgentProcess, its_phone: Callable[..., Phone]
    ) -> None:
        """The AMI user's eventfilter takes an id for ours only as a whole."""
        phone = its_phone("103", Behaviour(ring_seconds=0.2, talk_seconds=0.5))
        with Witness(named) as witness, AgentsEar(named) as ear:
            call = {"Application": "Wait", "Data": "30", "Async": "true"}
            answer = witness.action("Originate", Channel="PJSIP/103", **call)
            assert answer["Response"] == "Success", answer
            foreign = witness.wait_for_first_call(10)
            assert foreign.startswith(f"{self.NAME}-")
            witness.wait_until_gone(foreign, 20)
            phone.whole_call()
            assert b"Event: " not in ear.heard()
            its_phone("100", QUICK)
            its_phone("200", TALKS)
            request_id = its_agent.call("100", "200")
            its_agent.ended(request_id)
            heard = ear.heard()
        assert f"Uniqueid: {linkedid_of(request_id)};2\r\n".encode() in heard
        assert f"Uniqueid: {self.NAME}-".encode() in heard  # its children

    def test_check_warns(self, its_agent: AgentProcess) -> None:
        """And says which name it is; all the rest is well, the test call included."""
        done = its_agent.run("check")
        assert done.returncode == 0, done.stdout
        assert f"WARN systemname: the ids of all channels of this PBX begin with {self.NAME}-" in (
            done.stdout
        )
        assert "ok   test call: through the bridge context" in done.stdout
