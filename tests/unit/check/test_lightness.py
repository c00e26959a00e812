"""What contexts lose where Local channels leave a talk."""

from __future__ import annotations

import pytest

from c2c_agent.check import lightness
from tests.fake_link import message


@pytest.mark.parametrize(
    ("extension", "application", "data", "lost"),
    [
        ("_X.", "Set", "TIMEOUT(absolute)=3600", "TIMEOUT(absolute)"),
        ("_X.", "Set", "TIMEOUT(absolute)=${LIMIT_2}", "TIMEOUT(absolute)"),
        ("_X.", "Set", "CHANNEL(hangup_handler_push)=bill,s,1", "hangup handler"),
        ("h", "NoOp", "", "extension h"),
        ("_X.", "Dial", "PJSIP/${EXTEN},30,gT", "what comes after Dial"),
        ("_X.", "Dial", "PJSIP/${EXTEN}@${IF($[1,2]?a:b)},30,b(x^s^1)g", "what comes after Dial"),
        ("_X.", "Dial", "PJSIP/gateway,30,tT", None),
        ("_X.", "Dial", "PJSIP/${EXTEN},,b(greet^s^1)", None),
        ("_X.", "Set", "TIMEOUT(absolute)=0", None),
        ("_X.", "Set", "TIMEOUT(digit)=3", None),
        ("_X.", "Hangup", "${HANGUPCAUSE}", None),
    ],
)
def test_second_leg(extension: str, application: str, data: str, lost: str | None) -> None:
    """Named once, with what to do; nothing where there is nothing."""
    item = message(Extension=extension, Application=application, AppData=data)
    found = lightness.of_second_leg("sales", [item, item])
    if lost is None:
        assert found is None
        return
    assert found is not None
    assert found.warning
    assert found.message.count(lost) == 1
    assert "optimize: false" in found.advice


@pytest.mark.parametrize(("data", "heavy"), [("PJSIP/1,,G(c2c-taken^s^1)", False), ("x", True)])
def test_first_leg(data: str, *, heavy: bool) -> None:
    """A c2c-first of version 0.1 keeps its channels."""
    found = lightness.of_first_leg("c2c-first", [message(Application="Dial", AppData=data)])
    assert (found is not None) is heavy
