"""Calls through a real Kamailio, by the example that is shipped, with SIPp phones.

It knows no call's id and tells nothing of it: so the phones are asked what really happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.other.kamailio import Kamailio, ReferredPhone
from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import AsteriskHost
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "other" / "kamailio.yml"

#: Addresses of its own: no Asterisk is there.
ADDRESS: Final = "127.0.0.95"

pytestmark = pytest.mark.kamailio


@pytest.fixture
def kamailio(tmp_path: Path) -> Iterator[Kamailio]:
    """One that listens."""
    with Kamailio(ADDRESS, tmp_path) as running:
        yield running


@pytest.fixture
def agent(kamailio: Kamailio, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent that knows it by the example, with the phones' addresses here."""
    text = EXAMPLE.read_text(encoding="utf-8").replace("@127.0.0.1:", f"@{ADDRESS}:")
    section: dict[str, Any] = yaml.safe_load(text)["other"]
    assert section["base_url"] == "http://127.0.0.1:8090"
    section["base_url"] = kamailio.url
    directory = tmp_path / "agent"
    directory.mkdir()
    changes = {"asterisk": False, "other": section}
    with AgentProcess(AsteriskHost("22", ADDRESS), directory, changes) as running:
        yield running


@pytest.fixture
def first(tmp_path: Path) -> Iterator[ReferredPhone]:
    """The phone that is rung first."""
    directory = tmp_path / "first"
    directory.mkdir()
    with ReferredPhone(ADDRESS, 5081, directory) as phone:
        yield phone


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Phone]:
    """The phone that the first is referred to."""
    directory = tmp_path / "second"
    directory.mkdir()
    with Phone("200", ADDRESS, 5082, Behaviour(ring_seconds=0.3), directory) as phone:
        yield phone


def test_a_call(agent: AgentProcess, first: ReferredPhone, second: Phone) -> None:
    """Both are rung, each once; of what became of it, nothing is claimed."""
    answer = agent.place("100", "200", pbx="other")
    assert answer["status"] == "success", answer
    call = agent.ended(answer["request_id"])
    assert (call["outcome"], call["reason"]) == ("unknown", "not_told_by_pbx")
    assert [call[leg]["source"] for leg in ("dial_first", "dial_second")] == [None, None]
    [refer] = wait_until(lambda: first.heard("REFER"), 20, "the first is referred")
    assert refer.header("Refer-To").strip("<>") == f"sip:200@{ADDRESS}:5082"
    first.follow(f"sip:200@{ADDRESS}:5082")
    assert second.whole_call().talk_seconds is not None
    assert len(first.heard("INVITE")) == 1


def test_it_says_no(agent: AgentProcess, kamailio: Kamailio) -> None:
    """In its own words, over JSON-RPC."""
    section = yaml.safe_load(agent.config.read_text(encoding="utf-8"))["other"]
    section["place"]["json"]["method"] = "dlg.nothing"
    agent.stop()
    agent.configure("other", section)
    agent.start()
    [fault] = agent.place("100", "200", pbx="other")["errors"]
    assert (fault["error"]["code"], fault["error"]["message"]) == ("pbx_error", "Method Not Found")
    kamailio.stop()
    [fault] = agent.place("100", "200", pbx="other")["errors"]
    assert fault["error"]["code"] == "pbx_unavailable"
    assert "was not reached" in fault["error"]["message"]


def test_it_cannot_be_cancelled(agent: AgentProcess, first: ReferredPhone) -> None:
    """Of a call that has no id, nothing can be hung up; what had ended, had."""
    request_id = agent.call("100", "200", pbx="other")
    assert agent.cancel(request_id)["ended"] == "unknown"
    wait_until(lambda: first.heard("REFER"), 20, "the first is referred all the same")
