"""Numbers that answer by themselves."""

from __future__ import annotations

import pytest

from c2c_agent.ami.message import Message
from c2c_agent.check import answering
from tests.fake_link import message


def steps(extension: str, *told: str) -> list[Message]:
    """The steps of an extension, each an application and its data."""
    split = (one.partition(" ") for one in told)
    return [
        message(Extension=extension, Application=application, AppData=data)
        for application, _, data in split
    ]


@pytest.mark.parametrize(
    ("told", "answers"),
    [
        (["Answer"], "Answer"),
        (["Gosub who,s,1", "Set X=1", "Queue sales,r"], "Queue"),
        (["Authenticate 1234", "Dial PJSIP/trunk"], "Authenticate"),
        (["Playback closed,noanswer", "Hangup 21"], None),
        (["Ringing", "Dial PJSIP/100,20", "VoiceMail 100"], None),  # a phone may answer first
        (["Goto other,s,1"], None),
        (["Hangup 21"], None),
    ],
)
def test_what_answers(told: list[str], answers: str | None) -> None:
    """The first that does, unless a phone rings before."""
    found = answering.of_contexts(steps("600", *told), lambda _: True)
    if answers is None:
        assert found is None
        return
    assert found is not None
    assert found.warning
    assert f"600 ({answers})" in found.message
    assert "confirm: auto" in found.advice


def test_only_what_is_rung_unasked() -> None:
    """Not where no key has it rung first, or somebody is asked; nor a pattern of all lengths."""
    items = [*steps("600", "Answer"), *steps("601", "Queue"), *steps("_9X.", "Answer")]
    found = answering.of_contexts(items, lambda number: number != "600")
    assert found is not None
    assert "600" not in found.message
    assert "_9X." not in found.message
    assert answering.of_contexts(items, lambda _: False) is None


@pytest.mark.parametrize(
    ("extension", "rung", "named"),
    [
        ("_62X", "625", True),
        ("_62X", "635", False),
        ("_62[3-5]", "625", True),
        ("_62[3-4]", "625", False),
        ("_62X", "620", False),  # that has an extension of its own, which rings a phone
        ("_XXX", "625", True),
        ("_XXXX", "6255", False),  # too many to be looked at
        ("_62.", "625", False),
        ("_6[z-a]X", "625", False),  # not what a key could have
    ],
)
def test_a_pattern(extension: str, rung: str, *, named: bool) -> None:
    """It is named where a key may have one of its numbers rung first, through it."""
    items = [*steps(extension, "Authenticate 1234", "Dial PJSIP/x"), *steps("620", "Dial PJSIP/y")]
    found = answering.of_contexts(items, lambda number: number == rung)
    assert (found is not None) is named
    if found is not None:
        assert f"{extension} (Authenticate)" in found.message


def test_not_all_are_named() -> None:
    """There may be hundreds."""
    items = [item for number in range(600, 607) for item in steps(str(number), "Answer")]
    found = answering.of_contexts(items, lambda _: True)
    assert found is not None
    assert "604 (Answer) and 2 more" in found.message


def test_included() -> None:
    """Contexts that are part of one."""
    items = [message(IncludeContext="outbound"), message(Extension="600"), message()]
    assert answering.included(items) == ["outbound"]
