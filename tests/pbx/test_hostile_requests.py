"""Nothing that a caller sends reaches Asterisk as anything but a number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import BUSY
from tests.pbx.witness import Witness

#: What each would do, if it got through, is in Asterisk's README-SERIOUSLY.bestpractices: more
#: targets, other options, another context, another header, another action, another command.
HOSTILE = {
    "another-target": "200&PJSIP/201",
    "timeout-and-options": "200,1,g",
    "another-context": "200@from-internal",
    "another-context-by-options": "200@from-internal/",
    "options-of-local": "200/n",
    "technology-and-trunk": "PJSIP/200@trunk",
    "uri-by-technology": "PJSIP/100/sip:200@127.0.0.1",
    "another-header": "200\r\nVariable: SHELL(x)=1",
    "another-action": "200\n\nAction: Originate\nChannel: PJSIP/201\nApplication: Wait\nData: 9",
    "carriage-return": "200\rX: y",
    "delete": "\x7f200",
    "nul": "200\x00201",
    "quotes": '200" "201',
    "single-quote": "200'201",
    "backslash": "200\\,1",
    "expression": "${SHELL(id)}",
    "expression-in-brackets": "$[1+1]",
    "function": "200}SHELL(id)",
    "bracket": "200[1",
    "semicolon": "200;1",
    "equals": "A=200",
    "percent": "%0d%0a200",
    "pipe": "200|1",
    "caret": "200^1",
    "tab": "20\t0",
    "superscripts": "\u00b2\u2070\u2070",
    "too-long": "2" * 33,
    "longer-than-an-extension": "2" * 100,
    "letters": "phone",
    "sip-uri": "sip:200@127.0.0.1",
    "plus-inside": "2+00",
}


@pytest.fixture(scope="module")
def agent(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent of its own: it stores only so many refusals of a key in a minute."""
    with AgentProcess(asterisk, tmp_path_factory.mktemp("agent")) as agent:
        yield agent


def errors(response: dict[str, Any]) -> list[tuple[str, str]]:
    """Code and message of each error."""
    return [(entry["error"]["code"], entry["error"]["message"]) for entry in response["errors"]]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", ["dial_first", "dial_second", "dial_as"])
def test_refused_by_name(agent: AgentProcess, witness: Witness, name: str, value: str) -> None:
    """Refused, naming the parameter; the foreign AMI client saw nothing happen on the PBX."""
    asked = {"dial_first": "100", "dial_second": "200", "api_key": KEY, name: value}
    response = agent.ask(f"/c2c/v2?{urlencode(asked)}")["response"]
    ((code, message),) = errors(response)
    assert code == "invalid_parameter"
    assert message.startswith(name)
    # Of a key's refusals in a minute so many are stored; those beyond have no id to ask for.
    if response["request_id"] is not None:
        assert agent.ended(response["request_id"])["outcome"] == "rejected"
    assert witness.linkedids() == []


@pytest.mark.parametrize("value", ["tel:(2)00", "2-0.0", " 2/0/0 "])
def test_decoration_does_not_get_through(
    agent: AgentProcess, phone: StartPhone, value: str
) -> None:
    """What people write between digits is dropped before anything is built of the number."""
    phone("100", BUSY)
    request_id = agent.call("100", value)
    agent.ended(request_id)
    sent = agent.status(request_id)["pbx_request"]["pbx_data"]
    assert sent["CallerID"] == '"200" <200>'
    assert "_C2C_SECOND_CHANNEL=Local/200@from-phones" in sent["Variable"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout", "1\n2"), ("timeout", "1e9"), ("request_id", "x\r\nY: z"), ("pbx", "a,b")],
)
def test_other_parameters(agent: AgentProcess, witness: Witness, name: str, value: str) -> None:
    """The same holds for everything else that is asked for."""
    response = agent.place("100", "200", **{name: value})
    assert [code for code, _ in errors(response)] == ["invalid_parameter"]
    assert witness.linkedids() == []


def test_several_faults_are_told_together(agent: AgentProcess) -> None:
    """One answer names them all."""
    response = agent.place("1&2", "", timeout="soon", pbx="none")
    assert [message.split()[0] for _, message in errors(response)] == [
        "dial_first",
        "dial_second",
        "timeout",
        "pbx",
    ]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/c2c/v2", {"Content-Type": "application/json"}, b"{no json"),
        ("POST", "/c2c/v2", {"Content-Type": "application/json"}, b"[" * 60_000),
        ("POST", "/c2c/v2", {}, b"x" * 10_000_000),
        ("GET", "/c2c/v2/nothing/here", {}, b""),
        ("DELETE", "/c2c/v2", {}, b""),
        ("PUT", "/c2c/v2/status/x", {}, b""),
        ("GET", "/c2c/v2?dial_first=%ff%fe", {}, b""),
        ("GET", "/c2c/v2/status/%00", {}, b""),
    ],
    ids=["no-json", "bomb", "10-MB", "no-path", "delete", "put", "no-utf-8", "nul"],
)
def test_always_200_and_json(
    agent: AgentProcess, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    """Whatever is wrong, as the public API promises."""
    connection = HTTPConnection(agent.host.address, agent.http_port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("content-type") == "application/json"
    story = json.loads(answer.read())
    assert story.get("errors") or story["response"]["status"] == "fail"
    connection.close()
