"""Records what Asterisk says over AMI of whole calls: `python -m tests.transcripts.record`.

For each version and each story below a file is written: a head of comment lines, then the bytes as
they came, from the moment of the login. They are what a filtered user such as the agent's gets: an
agent places the calls, and beside its session a second one of the same user listens.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from attrs import frozen

from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import (
    ANSWERS,
    BUSY,
    DECLINES,
    NOT_FOUND,
    RINGS_FOR_EVER,
    UNAVAILABLE,
    Behaviour,
)
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE: Final = Path(__file__).parent
_QUICK: Final = Behaviour(ring_seconds=0.2)


@frozen
class Story:
    """One call: what the phones do, what is asked for, and what happens from outside."""

    name: str
    first: Behaviour | None = _QUICK
    second: Behaviour | None = None
    numbers: tuple[str, str] = ("100", "200")
    more: Mapping[str, str] = {"timeout": "2", "dial_as": "100"}
    cancel_in: str | None = None
    first_leg: str = "Local/{number}@c2c-first/n"


STORIES: Final = (
    Story("connected-second-hangs-up", second=Behaviour(ring_seconds=0.3, talk_seconds=0.5)),
    Story("connected-first-hangs-up", Behaviour(ring_seconds=0.2, talk_seconds=1.0), ANSWERS),
    Story("connected-cancelled", second=ANSWERS, cancel_in="connected"),
    Story("far-side-ends-by-itself", numbers=("100", "293")),
    Story("first-busy", BUSY),
    Story("first-declines", DECLINES),
    Story("first-unavailable", UNAVAILABLE),
    Story("first-not-found", NOT_FOUND),
    Story("first-never-answers", RINGS_FOR_EVER),
    Story("first-no-such-extension", None, numbers=("499", "200")),
    Story("first-cancelled", RINGS_FOR_EVER, cancel_in="first_ringing"),
    Story("first-dialplan-says-busy", None, numbers=("290", "200")),
    Story("second-busy", second=BUSY),
    Story("second-declines", second=DECLINES),
    Story("second-unavailable", second=UNAVAILABLE),
    Story("second-never-answers", second=RINGS_FOR_EVER),
    Story("second-no-such-extension", numbers=("100", "499")),
    Story("second-dialplan-says-busy", numbers=("100", "290")),
    Story("second-cancelled", second=RINGS_FOR_EVER, cancel_in="second_ringing"),
    Story("abandoned", Behaviour(ring_seconds=0.2, talk_seconds=0.7), RINGS_FOR_EVER),
    Story(
        "device-as-first-leg",
        second=Behaviour(ring_seconds=0.3, talk_seconds=0.5),
        first_leg="PJSIP/{number}",
    ),
)


class Listener:
    """A session of the agent's AMI user that keeps every byte."""

    def __init__(self, host: AsteriskHost) -> None:
        self._bytes = bytearray()
        self._socket = socket.create_connection((host.address, host.ami_port))
        login = f"Action: Login\r\nUsername: {host.ami_username}\r\nSecret: {host.ami_secret}\r\n"
        self._socket.sendall((login + "Events: call\r\n\r\n").encode())
        threading.Thread(target=self._listen, daemon=True).start()
        wait_until(lambda: b"accepted" in self._bytes, 5, "the listener is logged in")

    def _listen(self) -> None:
        while data := self._socket.recv(65536):
            self._bytes += data

    def told_the_end(self, request_id: str) -> bool:
        """Whether all that will be told of the call has been told."""
        text = bytes(self._bytes)
        unique = rb"Uniqueid: ([^\r]+)"
        born = set(re.findall(rb"Event: Newchannel\r\n(?:[^\r]+\r\n)*?" + unique, text))
        gone = set(re.findall(rb"Event: Hangup\r\n(?:[^\r]+\r\n)*?" + unique, text))
        return linkedid_of(request_id).encode() in gone and born == gone and b"Reason: " in text

    def close(self) -> bytes:
        """End, and give what was heard."""
        self._socket.shutdown(socket.SHUT_RDWR)
        return bytes(self._bytes)


def record(host: AsteriskHost, story: Story, directory: Path) -> bytes:
    """Let one story happen and give what Asterisk told of it."""
    rules = [{"match": "_X.", "channel": story.first_leg}]
    with ExitStack() as running:
        for number, behaviour in (("100", story.first), ("200", story.second)):
            if behaviour is not None:
                place = directory / number
                place.mkdir(exist_ok=True)
                port = host.phone_port(number)
                running.enter_context(Phone(number, host.phones_address, port, behaviour, place))
        agent = AgentProcess(host, directory, asterisk_changes={"first_leg": rules})
        running.enter_context(agent)
        listener = Listener(host)
        request_id = agent.call(*story.numbers, **story.more)
        if story.cancel_in is not None:
            agent.reached(request_id, story.cancel_in)
            agent.cancel(request_id)
        outcome = agent.ended(request_id)["outcome"]
        wait_until(lambda: listener.told_the_end(request_id), 10, "everything was told")
        heard = listener.close()
    head = f"# {story.name}: what Asterisk told of a call whose outcome was: {outcome}\n"
    return head.encode() + heard.replace(
        linkedid_of(request_id).encode(), b"c2c-REQUEST-ID"
    ).replace(request_id.encode(), b"REQUEST-ID")


def main() -> None:
    """Record every story on every version."""
    for version in ("16", "22"):
        with AsteriskHost(version) as host:
            release = host.cli("core show version").split()[1]
            short = ".".join(release.split(".")[:2])
            for story in STORIES:
                with TemporaryDirectory() as directory:
                    heard = record(host, story, Path(directory))
                head = f"# Asterisk {release}; recorded by tests/transcripts/record.py\n"
                file = _HERE / f"call-asterisk-{short}-{story.name}.txt"
                file.write_bytes(head.encode() + heard)


if __name__ == "__main__":
    main()
