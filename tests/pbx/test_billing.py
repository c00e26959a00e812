"""What the CDRs of a call say: one row has the seconds of its talk, and leads to the request."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartTalker
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.talker import TalkerCall
from tests.pbx.waiting import wait_until

#: How the second leg is dialled: the Local channel leaves the talk, or stays, or there is none.
WAYS: Final = {
    "light": {"match": "_X.", "channel": "Local/{number}@{context}"},
    "kept": {"match": "_X.", "channel": "Local/{number}@{context}", "optimize": False},
    "straight": {"match": "_X.", "channel": "PJSIP/{number}"},
}

#: Seconds for which the second rings: of these none may be counted where the way is a Local one.
RINGING: Final = 2.0


def an_agent(asterisk: AsteriskHost, tmp_path: Path, way: str) -> AgentProcess:
    """An agent that dials the second leg in one of the ways."""
    return AgentProcess(asterisk, tmp_path, asterisk_changes={"second_leg": [WAYS[way]]})


def rows(asterisk: AsteriskHost, request_id: str) -> list[dict[str, str]]:
    """All CDRs of a call, once it has none of its channels any more."""
    wait_until(lambda: not asterisk.core_show_channels(), 10, "all channels are gone")
    linkedid = linkedid_of(request_id)
    wait_until(lambda: asterisk.cdrs(linkedid), 10, "its CDRs are written")
    time.sleep(0.3)  # of all its channels
    return asterisk.cdrs(linkedid)


def billed(found: list[dict[str, str]], number: str = "200") -> list[dict[str, str]]:
    """Those that count: of the talk, or of the way to a number."""
    return [row for row in found if int(row["billsec"]) > 0 and row["dst"] == number]


def seconds(call: TalkerCall) -> float:
    """For how long a phone has talked."""
    assert call.answered_at is not None
    assert call.ended_at is not None
    return call.ended_at - call.answered_at


@pytest.mark.parametrize(
    ("way", "first", "hangs_up"),
    [
        ("light", "100", "first"),
        ("light", "100", "second"),
        ("light", "301", "second"),
        ("kept", "100", "second"),
        ("kept", "301", "first"),
        ("straight", "100", "second"),
        ("straight", "301", "first"),
    ],
)
def test_one_row_counts(
    asterisk: AsteriskHost,
    talker: StartTalker,
    tmp_path: Path,
    way: str,
    first: str,
    hangs_up: str,
) -> None:
    """That of the talk, on the user's account; a first outside is a call of its own besides."""
    with an_agent(asterisk, tmp_path, way) as agent:
        rung = talker({"301": "101"}.get(first, first))
        second = talker("200", ring_seconds=RINGING)
        request_id = agent.call(first, "200", dial_as="102")
        other = second.the_call()
        wait_until(lambda: other.talks, 10, "they talk")
        time.sleep(2.2)
        if hangs_up == "first":
            rung.hang_up(rung.the_call())
        else:
            second.hang_up(other)
        wait_until(lambda: other.ended_at, 10, "it has ended")
        assert agent.ended(request_id)["outcome"] == "connected"
        found = rows(asterisk, request_id)
    [row] = billed(found)
    expected = seconds(other) + (RINGING if way == "straight" else 0)
    assert abs(int(row["billsec"]) - expected) <= 1.5
    assert (row["accountcode"], row["userfield"]) == ("acct102", request_id)
    assert row["disposition"] == "ANSWERED"
    others = [one for one in found if int(one["billsec"]) > 0 and one is not row]
    assert {one["dst"] for one in others} == ({first} if first == "301" else set())
    assert len(others) <= 1


def test_a_short_talk(agent: AgentProcess, asterisk: AsteriskHost, talker: StartTalker) -> None:
    """Of a talk that is over a moment after the answer there is a row, too."""
    talker("100")
    second = talker("200")
    request_id = agent.call("100", "200", dial_as="102")
    other = second.the_call()
    wait_until(lambda: other.talks, 10, "they talk")
    wait_until(lambda: len(asterisk.core_show_channels()) == 2, 5, "the Local channel has left")
    second.hang_up(other)
    agent.ended(request_id)
    found = [row for row in rows(asterisk, request_id) if row["userfield"] == request_id]
    [row] = found
    assert (row["accountcode"], row["dst"], row["disposition"]) == ("acct102", "200", "ANSWERED")
    assert seconds(other) < 0.6


def test_a_recorded_talk(asterisk: AsteriskHost, talker: StartTalker, tmp_path: Path) -> None:
    """A channel that stays without having been told to has the request in its row as well."""
    with an_agent(asterisk, tmp_path, "light") as agent:
        first, second = talker("100"), talker("200")
        request_id = agent.call("100", "282", dial_as="102")
        other = second.the_call()
        wait_until(lambda: other.talks, 10, "they talk")
        time.sleep(2.2)
        first.hang_up(first.the_call())
        agent.ended(request_id)
        [row] = billed(rows(asterisk, request_id), "282")
    assert (row["accountcode"], row["userfield"]) == ("acct102", request_id)
    assert int(row["billsec"]) >= 2


def test_a_queue(agent: AgentProcess, asterisk: AsteriskHost, talker: StartTalker) -> None:
    """It answers at once and rings then: all seconds since are billed, and none of them twice."""
    talker("100")
    second = talker("201", ring_seconds=RINGING)
    request_id = agent.call("100", "295", dial_as="102")
    other = second.the_call()
    wait_until(lambda: other.talks, 10, "they talk")
    time.sleep(2.2)
    second.hang_up(other)
    agent.ended(request_id)
    counting = billed(rows(asterisk, request_id), "295")
    assert {row["accountcode"] for row in counting} == {"acct102"}
    assert {row["dcontext"] for row in counting} == {"from-phones", "c2c-talk"}
    total = sum(int(row["billsec"]) for row in counting)
    assert abs(total - (RINGING + seconds(other))) <= 2.0
    [talk] = [row for row in counting if row["dcontext"] == "c2c-talk"]
    assert talk["userfield"] == request_id
    assert abs(int(talk["billsec"]) - seconds(other)) <= 1.5


@pytest.mark.parametrize("way", ["light", "straight"])
def test_the_dialplan_alone(
    asterisk: AsteriskHost, talker: StartTalker, tmp_path: Path, way: str
) -> None:
    """The agent dies while the first rings: the context's own row counts, or else the phone's."""
    with an_agent(asterisk, tmp_path, way) as agent:
        first = talker("100", ring_seconds=None)
        second = talker("200", ring_seconds=RINGING)
        request_id = agent.call("100", "200", dial_as="102")
        ringing = first.the_call()
        agent.kill()
        first.answer(ringing)
        other = second.the_call()
        wait_until(lambda: other.talks, 10, "they talk")
        time.sleep(2.2)
        second.hang_up(other)
        found = rows(asterisk, request_id)
        agent.start()
        assert agent.ended(request_id)["outcome"] == "connected"
    [row] = [row for row in found if int(row["billsec"]) > 0]
    expected = seconds(other) + (RINGING if way == "straight" else 0)
    assert abs(int(row["billsec"]) - expected) <= 1.5
    assert (row["accountcode"], row["dst"]) == ("acct102", "200")


@pytest.mark.parametrize("is_back", [True, False])
def test_the_agent_dies_while_the_second_rings(
    asterisk: AsteriskHost, talker: StartTalker, tmp_path: Path, *, is_back: bool
) -> None:
    """Back before the end, it has the row written; where not, the talk is in its own report."""
    with an_agent(asterisk, tmp_path, "light") as agent:
        talker("100")
        second = talker("200", ring_seconds=None)
        request_id = agent.call("100", "200", dial_as="102")
        other = second.the_call()
        agent.kill()
        second.answer(other)
        wait_until(lambda: other.talks, 10, "they talk")
        if is_back:
            agent.start()
        time.sleep(2.2)
        second.hang_up(other)
        found = billed(rows(asterisk, request_id))
        if not is_back:
            agent.start()
        call = agent.ended(request_id)
    assert len(found) == is_back
    assert {row["userfield"] for row in found} <= {request_id}
    assert call["outcome"] == "connected"
    assert call["talk_seconds"] == pytest.approx(seconds(other), abs=1.0)
