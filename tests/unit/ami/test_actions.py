"""The actions: what each builder sends, what it refuses, and what it never shows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c2c_agent.ami import actions
from c2c_agent.ami.actions import Action, ActionRefused
from c2c_agent.ami.message import LocalAmiError, Message, encode


def originate(**changes: Any) -> Action:
    """Return an Originate of usual values, with these changed."""
    usual: dict[str, Any] = {
        "channel": "Local/100@c2c-first/n",
        "context": "c2c-bridge",
        "exten": "s",
        "priority": 1,
        "timeout": 30,
        "channel_id": "c2c-1",
    }
    return actions.originate(**(usual | changes))


def variables_as_asterisk_reads_them(value: str) -> list[tuple[str, str]]:
    """Take a `Variable:` value apart by the rules of the Asterisk documentation.

    Commas separate, but not within quotes, parentheses or brackets; a quote is taken out, a
    backslash makes the next character literal and is taken out; no `=`, no variable.
    """
    parts, part, depth, quoted = [], "", 0, False
    characters = iter(value)
    for character in characters:
        if character == '"':
            quoted = not quoted
        elif character == "\\":
            part += next(characters, "")
        elif character == "," and not quoted and depth == 0:
            parts.append(part)
            part = ""
        else:
            depth += (character in "([") - (character in ")]")
            part += character
    pairs = [text.partition("=") for text in (*parts, part)]
    return [(name, text) for name, sign, text in pairs if sign]


@pytest.mark.parametrize(
    ("action", "name", "headers"),
    [
        (
            actions.login("c2c-agent", "s3cret"),
            "Login",
            [("Username", "c2c-agent"), ("Secret", "s3cret"), ("Events", "call")],
        ),
        (
            actions.login("u", "s", events="call,cdr"),
            "Login",
            [("Username", "u"), ("Secret", "s"), ("Events", "call,cdr")],
        ),
        (actions.logoff(), "Logoff", []),
        (actions.ping(), "Ping", []),
        (
            actions.hangup("c2c-1", 16),
            "Hangup",
            [("Channel", "c2c-1"), ("Cause", "16")],
        ),
        (
            actions.getvar("DEVICE_STATE(PJSIP/100)"),
            "Getvar",
            [("Variable", "DEVICE_STATE(PJSIP/100)")],
        ),
        (
            actions.getvar("C2C_DONE", "PJSIP/100-00000001"),
            "Getvar",
            [("Channel", "PJSIP/100-00000001"), ("Variable", "C2C_DONE")],
        ),
        (
            actions.setvar("C2C_DONE", "1", channel="c2c-1"),
            "Setvar",
            [("Channel", "c2c-1"), ("Variable", "C2C_DONE"), ("Value", "1")],
        ),
        (
            actions.setvar("DB_DELETE(c2c/1)", ""),
            "Setvar",
            [("Variable", "DB_DELETE(c2c/1)"), ("Value", "")],
        ),
        (actions.core_show_channels(), "CoreShowChannels", []),
        (actions.core_settings(), "CoreSettings", []),
        (actions.core_status(), "CoreStatus", []),
        (actions.show_dialplan("c2c-bridge"), "ShowDialPlan", [("Context", "c2c-bridge")]),
        (actions.db_get("c2c", "1-2"), "DBGet", [("Family", "c2c"), ("Key", "1-2")]),
        (actions.db_get_tree("c2c"), "DBGetTree", [("Family", "c2c")]),
    ],
    ids=lambda value: value.name if isinstance(value, Action) else "",
)
def test_what_is_sent(action: Action, name: str, headers: list[tuple[str, str]]) -> None:
    """Each action has its name and headers, in order, behind its ActionID."""
    assert action.as_pairs("7") == [("Action", name), ("ActionID", "7"), *headers]


def test_originate_sends_everything_that_asterisk_needs() -> None:
    """Asynchronous, into the dialplan, the time in milliseconds, one header for each variable."""
    action = originate(
        timeout=2.5,
        caller_id=("200", "Call 200"),
        variables={"__C2C_REQUEST_ID": "1-2", "C2C_AGI": "agi://127.0.0.1:4573/c2c"},
    )
    assert action.as_pairs("c2c-1") == [
        ("Action", "Originate"),
        ("ActionID", "c2c-1"),
        ("Channel", "Local/100@c2c-first/n"),
        ("Context", "c2c-bridge"),
        ("Exten", "s"),
        ("Priority", "1"),
        ("Timeout", "2500"),
        ("Async", "true"),
        ("ChannelId", "c2c-1"),
        ("CallerID", '"Call 200" <200>'),
        ("Variable", "__C2C_REQUEST_ID=1-2"),
        ("Variable", "C2C_AGI=agi://127.0.0.1:4573/c2c"),
    ]


@pytest.mark.parametrize(
    ("caller_id", "sent"),
    [
        (("+4989*1#", ""), ["<+4989*1#>"]),
        (("front-desk", "Jürg, O (x)"), ['"Jürg, O (x)" <front-desk>']),
        (None, []),
    ],
)
def test_caller_id(caller_id: tuple[str, str] | None, sent: list[str]) -> None:
    """A number in angle brackets, so that none is taken for a name."""
    headers = originate(caller_id=caller_id).headers
    assert [value for name, value in headers if name == "CallerID"] == sent


def test_priority_may_be_a_label() -> None:
    """Or a number, as a number or as text."""
    for priority in (1, "1", "start", "n-1"):
        assert ("Priority", str(priority)) in originate(priority=priority).headers


@pytest.mark.parametrize(
    ("header", "build"),
    [
        ("Username", lambda: actions.login("", "s")),
        ("Username", lambda: actions.login("a\nb", "s")),
        ("Secret", lambda: actions.login("u", "")),
        ("Secret", lambda: actions.login("u", "s\n")),
        ("Events", lambda: actions.login("u", "s", events="")),
        ("Events", lambda: actions.login("u", "s", events="call,calls")),
        ("Events", lambda: actions.login("u", "s", events="call,")),
        ("Events", lambda: actions.login("u", "s", events="call, cdr")),
        ("Channel", lambda: originate(channel="")),
        ("Channel", lambda: originate(channel="100")),
        ("Channel", lambda: originate(channel="/100")),
        ("Channel", lambda: originate(channel="PJSIP/")),
        ("Channel", lambda: originate(channel="PJSIP/100&PJSIP/101")),
        ("Channel", lambda: originate(channel="PJSIP/100,1,g")),
        ("Channel", lambda: originate(channel='PJSIP/"100"')),
        ("Channel", lambda: originate(channel="PJSIP/'100'")),
        ("Channel", lambda: originate(channel="PJSIP/100\n")),
        ("Channel", lambda: originate(channel="PJSIP/" + "1" * 250)),
        ("Channel", lambda: originate(channel="PJSIP/" + "é" * 125)),
        ("Context", lambda: originate(context="")),
        ("Context", lambda: originate(context="a b")),
        ("Context", lambda: originate(context="c" * 80)),
        ("Exten", lambda: originate(exten="")),
        ("Exten", lambda: originate(exten="1\r\n")),
        ("Exten", lambda: originate(exten="1" * 80)),
        ("Priority", lambda: originate(priority=0)),
        ("Priority", lambda: originate(priority=-1)),
        ("Priority", lambda: originate(priority="")),
        ("Timeout", lambda: originate(timeout=0)),
        ("Timeout", lambda: originate(timeout=-1)),
        ("Timeout", lambda: originate(timeout=0.0004)),
        ("Timeout", lambda: originate(timeout=math.nan)),
        ("Timeout", lambda: originate(timeout=math.inf)),
        ("Timeout", lambda: originate(timeout=1e308)),
        ("Timeout", lambda: originate(timeout=2**31 / 1000)),
        ("ChannelId", lambda: originate(channel_id="")),
        ("ChannelId", lambda: originate(channel_id="/c2c/")),
        ("ChannelId", lambda: originate(channel_id="c2c 1")),
        ("ChannelId", lambda: originate(channel_id="c" * 150)),
        ("CallerID", lambda: originate(caller_id=("", ""))),
        ("CallerID", lambda: originate(caller_id=("", "name"))),
        ("CallerID", lambda: originate(caller_id=("100> <200", ""))),
        ("CallerID", lambda: originate(caller_id=("100", 'a" <200> "'))),
        ("CallerID", lambda: originate(caller_id=("100", "a\\"))),
        ("CallerID", lambda: originate(caller_id=("100", "a\n\nAction: Ping"))),
        ("CallerID", lambda: originate(caller_id=("100", "ü" * 125))),
        ("Variable", lambda: originate(variables={"": "1"})),
        ("Variable", lambda: originate(variables={"1A": "1"})),
        ("Variable", lambda: originate(variables={"___A": "1"})),
        ("Variable", lambda: originate(variables={"A B": "1"})),
        ("Variable", lambda: originate(variables={"Ä": "1"})),
        ("Variable", lambda: originate(variables={"DB(c2c/1)": "1"})),
        ("Variable", lambda: originate(variables={"PJSIP_HEADER(add,X)": "1"})),
        ("Variable", lambda: originate(variables={"A": "x" * 1022})),
        ("Cause", lambda: actions.hangup("c2c-1", 0)),
        ("Cause", lambda: actions.hangup("c2c-1", 128)),
        ("Channel", lambda: actions.hangup("", 16)),
        ("Channel", lambda: actions.hangup("/.*/", 16)),
        ("Channel", lambda: actions.hangup(" /.*/", 16)),
        ("Channel", lambda: actions.hangup("a\nb", 16)),
        ("Channel", lambda: actions.getvar("A", "/.*/")),
        ("Variable", lambda: actions.getvar("")),
        ("Variable", lambda: actions.getvar("A(")),
        ("Variable", lambda: actions.getvar("A(${B})")),
        ("Variable", lambda: actions.getvar("A(B(c))")),
        ("Variable", lambda: actions.getvar("A(b)c")),
        ("Channel", lambda: actions.setvar("A", "1", channel="")),
        ("Variable", lambda: actions.setvar("A b", "1")),
        ("Value", lambda: actions.setvar("A", " 1")),
        ("Value", lambda: actions.setvar("A", '"')),
        ("Value", lambda: actions.setvar("A", "1\n")),
        ("Context", lambda: actions.show_dialplan("")),
        ("Family", lambda: actions.db_get_tree("")),
        ("Family", lambda: actions.db_get("c2c/x", "1")),
        ("Key", lambda: actions.db_get("c2c", "a b")),
        ("ActionID", lambda: actions.ping().as_pairs("")),
        ("ActionID", lambda: actions.ping().as_pairs(" 1")),
        ("ActionID", lambda: actions.ping().as_pairs("1\n")),
        ("ActionID", lambda: actions.ping().as_pairs("x" * 244)),
        ("ActionID", lambda: actions.ping().as_dict("é")),
        ("X", lambda: Action("Ping", (("X", "1\n"),))),
        ("Action", lambda: Action("Ping\n")),
    ],
)
def test_what_is_refused(header: str, build: Callable[[], object]) -> None:
    """The error names the header that is to blame."""
    with pytest.raises(LocalAmiError, match=rf"^{header}\b"):
        build()


@pytest.mark.parametrize("character", [*map(chr, range(0x20)), "\x7f", *",\"'\\()[]{}$"])
def test_special_characters_in_variables_are_refused(character: str) -> None:
    """They could end the value, or mean something where the dialplan uses it."""
    with pytest.raises(LocalAmiError, match=r"^Variable A: .* is not free of commas"):
        originate(variables={"A": f"x{character}y"})


@pytest.mark.parametrize("value", ["agi://[::1]:8475/c2c", "agi://[2001:db8::ffff:192.0.2.1]/c2c"])
def test_an_ipv6_address_in_a_variable(value: str) -> None:
    """Brackets around one hide no comma, and arrive as they are."""
    header = dict(originate(variables={"C2C_AGI": value}).as_pairs("1"))["Variable"]
    assert variables_as_asterisk_reads_them(header) == [("C2C_AGI", value)]


@pytest.mark.parametrize("value", ["[", "]", "[]", "[a,b]", "[::1", "::1]", "[g]", "[[::1]]"])
def test_other_brackets_in_a_variable(value: str) -> None:
    """Any others are none that somebody means."""
    with pytest.raises(LocalAmiError):
        originate(variables={"C2C_AGI": value})


@given(
    st.dictionaries(
        st.from_regex(r"_{0,2}[A-Z]{1,3}", fullmatch=True) | st.text(max_size=5),
        st.text(st.sampled_from("a1 =,;\"'\\()[]{}$/@\n") | st.characters()),
        max_size=5,
    )
)
@example({"A": "x,B=1"})
@example({"A": "(", "B": "1,C=2)"})
@settings(deadline=None)
def test_variables_arrive_as_they_are(variables: dict[str, str]) -> None:
    """Whatever is not refused, Asterisk reads as just these variables."""
    try:
        action = originate(variables=variables)
    except LocalAmiError:
        return
    [*_, last] = encode(action.as_pairs("1")).split(b"\r\n\r\n")
    assert last == b""
    values = Message(encode(action.as_pairs("1"))).get_all("Variable")
    assert [variables_as_asterisk_reads_them(value) for value in values] == [
        [pair] for pair in variables.items()
    ]


@given(st.text(), st.text(), st.text(), st.text(), st.text())
@settings(deadline=None)
def test_an_action_that_exists_can_be_sent(
    channel: str, context: str, exten: str, channel_id: str, number: str
) -> None:
    """A builder refuses with LocalAmiError alone, and its action is encoded without one."""
    builders: tuple[Callable[[], Action], ...] = (
        lambda: originate(
            channel=channel,
            context=context,
            exten=exten,
            channel_id=channel_id,
            caller_id=(number, ""),
        ),
        lambda: actions.login(channel, context, exten),
        lambda: actions.hangup(channel, 16),
        lambda: actions.getvar(channel, context),
        lambda: actions.setvar(channel, context, exten),
        lambda: actions.db_get(channel, context),
        lambda: actions.show_dialplan(channel),
    )
    for build in builders:
        try:
            action = build()
        except LocalAmiError:
            continue
        assert encode(action.as_pairs("1"))


def test_the_dictionary_is_ready_for_json() -> None:
    """Repeated headers become a list, a single one stays text."""
    shown = originate(variables={"A": "1", "B": "2"}).as_dict(action_id="c2c-1")
    assert shown["Variable"] == ["A=1", "B=2"]
    assert list(shown)[:2] == ["Action", "ActionID"]
    assert json.loads(json.dumps(shown)) == shown
    assert originate(variables={"A": "1"}).as_dict("c2c-1")["Variable"] == "A=1"


def test_no_secret_is_ever_shown() -> None:
    """Neither in `repr`, nor in the dictionary, nor in an error."""
    action = actions.login("c2c-agent", "hush")
    assert "hush" not in repr(action)
    assert action.as_dict("1")["Secret"] == "(not shown)"
    assert ("Secret", "hush") in action.as_pairs("1")
    for secret in ("hush\n", "hush\ud800", "hush" * 300):
        with pytest.raises(LocalAmiError) as caught:
            actions.login("c2c-agent", secret)
        assert "hush" not in str(caught.value)


def test_an_action_cannot_be_changed() -> None:
    """It may be stored and sent later as it is."""
    action = actions.ping()
    with pytest.raises(AttributeError):
        action.name = "Logoff"  # type: ignore[misc]  # that is the point
    assert action == Action("Ping")
    assert hash(action) == hash(Action("Ping"))


def test_a_refusal_speaks_in_asterisks_words() -> None:
    """Some of which end with a line feed of their own."""
    response = Message(b"Response: Error\r\nMessage: Did not find context nope \n")
    refused = ActionRefused("ShowDialPlan", response)
    assert str(refused) == "ShowDialPlan refused: Did not find context nope"
    assert refused.response is response
