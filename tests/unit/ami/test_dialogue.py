"""The dialogue with which the package opens is what is said on the wire."""

from __future__ import annotations

import re

from c2c_agent import ami
from c2c_agent.ami import actions
from c2c_agent.ami.message import Message, Receiver, encode

SAID = re.findall(r"^    (->|<-) ?(.*)$", ami.__doc__ or "", re.MULTILINE)


def lines(side: str) -> bytes:
    """All that one side says."""
    return "".join(f"{line}\r\n" for who, line in SAID if who == side).encode()


def test_what_we_send() -> None:
    """Three actions, byte for byte."""
    call = actions.originate(
        channel="Local/290@from-phones",
        context="c2c-bridge",
        exten="s",
        priority=1,
        timeout=30,
        channel_id="c2c-5f0e7c1a",
    )
    sent = [actions.login("c2c-agent", "s3cret"), call, actions.logoff()]
    assert lines("->") == b"".join(
        encode(action.as_pairs(str(number))) for number, action in enumerate(sent, 1)
    )


def test_what_asterisk_sends() -> None:
    """A banner, a response to each, an event of one of them."""
    receiver = Receiver()
    heard = receiver.receive(lines("<-"))
    assert receiver.banner == "Asterisk Call Manager/11.0.0"

    def what(message: Message) -> tuple[str, str]:
        return message.event or message.response, message.action_id

    assert [what(message) for message in heard] == [
        ("Success", "1"),
        ("Success", "2"),
        ("OriginateResponse", "2"),
        ("Goodbye", "3"),
    ]
    assert not receiver.unfinished
