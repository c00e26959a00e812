"""Ringing that is let hear while nothing rings: whoever is dialled is not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.freepbx import agent_at_freepbx
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import RINGS_FOR_EVER, UNAVAILABLE

#: A ring group and a queue, none of whose members is registered.
NOBODY = pytest.mark.parametrize("number", ["600", "610"], ids=["ring-group", "queue"])


@pytest.fixture(scope="module")
def freepbx(asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """An agent in the FreePBX corner."""
    with agent_at_freepbx(asterisk, tmp_path_factory.mktemp("freepbx")) as agent:
        yield agent


class TestNobodyRegistered:
    """It is no ringing out, whatever the other side was let hear."""

    @NOBODY
    def test_second(self, freepbx: AgentProcess, phone: StartPhone, number: str) -> None:
        """Unreachable, and nothing rang."""
        phone("100")
        call = freepbx.ended(freepbx.call("100", number))
        assert call["outcome"] == "second_unreachable"
        assert call["dial_second"]["ring_seconds"] is None

    @NOBODY
    def test_first(self, freepbx: AgentProcess, phone: StartPhone, number: str) -> None:
        """The same, and nobody else is rung."""
        second = phone("200")
        call = freepbx.ended(freepbx.call(number, "200", dial_as="100"))
        assert call["outcome"] == "first_unreachable"
        assert call["dial_first"]["ring_seconds"] is None
        assert second.calls() == []

    def test_the_only_one_there_refuses_at_once(
        self, freepbx: AgentProcess, phone: StartPhone
    ) -> None:
        """It has not rung either."""
        phone("100")
        phone("202", UNAVAILABLE)
        call = freepbx.ended(freepbx.call("100", "601"))
        assert call["outcome"] == "second_unreachable"

    def test_one_of_them_rings(self, freepbx: AgentProcess, phone: StartPhone) -> None:
        """Then nobody answered."""
        phone("100")
        phone("202", RINGS_FOR_EVER)
        call = freepbx.ended(freepbx.call("100", "601"))
        assert call["outcome"] == "second_no_answer"
        assert call["dial_second"]["ring_seconds"] > 1
