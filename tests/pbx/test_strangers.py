"""FastAGI takes only our own channels; whoever else connects leaves no trace on a call."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import Patience

#: The agent gives a stranger 5 s; the machine may take a little longer.
LIMIT = 6.0


def environment(uniqueid: str, script: str = "c2c") -> bytes:
    """What Asterisk says at the beginning of a session."""
    lines = [
        "agi_network: yes",
        f"agi_network_script: {script}",
        "agi_channel: PJSIP/100-00000000",
        f"agi_uniqueid: {uniqueid}",
    ]
    return ("\n".join(lines) + "\n\n").encode()


class Stranger:
    """A connection to the agent's FastAGI port."""

    def __init__(self, agent: AgentProcess) -> None:
        self._socket = socket.create_connection((agent.host.address, agent.agi_port))
        self._patience = Patience(LIMIT)

    def say(self, data: bytes) -> None:
        """Send bytes; an end that is closed meanwhile is what is being waited for."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def hears_line(self) -> bytes:
        """The next thing that the agent says."""
        self._socket.settimeout(LIMIT)
        heard = b""
        while not heard.endswith(b"\n"):
            byte = self._socket.recv(1)
            assert byte, heard
            heard += byte
        return heard

    def hears_until_closed(self) -> bytes:
        """What the agent says until it closes, which must be within the limit."""
        heard = b""
        with closing(self._socket):
            while True:
                self._socket.settimeout(max(0.1, self._patience.left))
                try:
                    data = self._socket.recv(4096)
                except TimeoutError:
                    if self._patience.left <= 0:
                        raise
                    continue  # the machine stood still meanwhile
                except ConnectionResetError:
                    return heard
                if not data:
                    return heard
                heard += data


@pytest.fixture
def talk(agent: AgentProcess, phone: StartPhone) -> Iterator[str]:
    """A call in which both talk, and which nothing here may touch."""
    phone("100", Behaviour(ring_seconds=0.2))
    phone("200", Behaviour(ring_seconds=0.2))
    request_id = agent.call("100", "200")
    agent.reached(request_id, "connected")
    before = agent.status(request_id)["call"]
    yield request_id
    assert agent.status(request_id)["call"] == before
    agent.cancel(request_id)
    assert agent.ended(request_id)["hung_up_by"] == "cancel"


@pytest.mark.usefixtures("talk")
class TestStrangers:
    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00" + bytes(range(256)),
            b"agi_network: yes\n",
            b"agi_x: " + b"y" * 100_000 + b"\n\n",
            b"a: b\n" * 500,
        ],
        ids=["silence", "http", "tls", "half", "endless-line", "many-lines"],
    )
    def test_who_does_not_speak_agi(self, agent: AgentProcess, said: bytes) -> None:
        """Ended within 5 s, with no word."""
        stranger = Stranger(agent)
        stranger.say(said)
        assert stranger.hears_until_closed() == b""

    def test_a_slow_sender(self, agent: AgentProcess) -> None:
        """Who sends a byte now and then has no more time than who is silent."""
        stranger = Stranger(agent)
        deadline = time.monotonic() + LIMIT
        for byte in environment("c2c-x"):
            if time.monotonic() > deadline - 1:
                break
            stranger.say(bytes([byte]))
            time.sleep(0.2)
        assert stranger.hears_until_closed() == b""

    @pytest.mark.parametrize("uniqueid", ["1795415440.12", "", "c2d-1", "c2c-pbx1-1795415440.12"])
    def test_a_foreign_channel(self, agent: AgentProcess, uniqueid: str) -> None:
        """A channel that the agent did not make is given back at once."""
        stranger = Stranger(agent)
        stranger.say(environment(uniqueid))
        assert stranger.hears_until_closed() == b""

    def test_another_script(self, agent: AgentProcess, talk: str) -> None:
        """Another path is not ours, whatever the channel."""
        stranger = Stranger(agent)
        stranger.say(environment(linkedid_of(talk), script="other"))
        assert stranger.hears_until_closed() == b""

    def test_an_unknown_call(self, agent: AgentProcess) -> None:
        """Nothing is dialled for a call that nobody placed."""
        stranger = Stranger(agent)
        stranger.say(environment(linkedid_of("00000000-0000-4000-8000-000000000000")))
        stranger.say(b"200 result=1\n")
        assert b"EXEC" not in stranger.hears_until_closed()

    def test_a_second_session_of_the_same_call(self, agent: AgentProcess, talk: str) -> None:
        """The call has its session; another one is told to end, and dials nothing."""
        stranger = Stranger(agent)
        stranger.say(environment(linkedid_of(talk)))
        assert b"EXEC" not in stranger.hears_until_closed()


def test_a_finished_call(agent: AgentProcess) -> None:
    """Nothing is dialled for a call that has ended."""
    request_id = agent.call("399", "200", dial_as="100")
    before = agent.ended(request_id)
    stranger = Stranger(agent)
    stranger.say(environment(linkedid_of(request_id)))
    assert b"EXEC" not in stranger.hears_until_closed()
    assert agent.ended(request_id) == before
