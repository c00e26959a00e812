"""The dialogue with which the package opens is what is said on the wire."""

from __future__ import annotations

import re

from c2c_agent import agi
from c2c_agent.agi.message import (
    AgiReply,
    Environment,
    Hangup,
    exec_,
    get_full_variable,
    get_variable,
)
from c2c_agent.agi.session import Session
from tests.unit.agi.playbook import play, turns

SAID = re.findall(r"^    (->|<-) ?(.*)$", agi.__doc__ or "", re.MULTILINE)
DIALOGUE = turns(
    "".join(f"> {line}\n" if who == "->" else f"{line}\n" for who, line in SAID).encode()
)


def test_what_we_send() -> None:
    """Four commands, byte for byte."""
    assert [turn.said for turn in DIALOGUE] == [
        get_variable("NOT_SET"),
        exec_("Dial", "PJSIP/200,30,g"),
        get_full_variable("${DIALSTATUS},${HANGUPCAUSE}"),
        exec_("Wait", "1"),
        None,
    ]


def test_what_asterisk_sends() -> None:
    """The environment, a reply to each command, and that the channel has gone."""
    environment, *heard = play(Session(), DIALOGUE)
    assert isinstance(environment, Environment)
    assert [each.value if isinstance(each, AgiReply) else each for each in heard] == [
        None,
        None,
        "BUSY,17",
        Hangup(),
        None,
    ]
