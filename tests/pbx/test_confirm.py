"""The first has to press 1: the second is rung only for a person, whoever watches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.freepbx import INTERNAL, agent_at_freepbx
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import ANSWERS, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

WAITS = Behaviour(ring_seconds=None)
ACCEPTS = Behaviour(presses="1")
WAITS_AND_ACCEPTS = Behaviour(ring_seconds=None, presses="1")
DECLINES = Behaviour(presses="2")
MISTYPES = Behaviour(presses="7")
LEAVES = Behaviour(talk_seconds=2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)

#: Tone, prompt and waiting, three times, and what a busy machine adds.
PATIENCE = 60


def events(call: dict[str, object]) -> list[object]:
    """What the timeline of a call says."""
    timeline = call["timeline"]
    assert isinstance(timeline, list)
    return [entry["event"] for entry in timeline]


def times_asked(witness: Witness, request_id: str) -> str:
    """How often the first was asked, as its channel knows it."""
    call = witness.call(linkedid_of(request_id))
    if not call.has("PJSIP/100"):
        return ""
    channel = call.channel("PJSIP/100").name
    return witness.action("Getvar", Channel=channel, Variable="C2C_ASKED").get("Value", "")


class TestConfirm:
    def test_a_person_presses_1(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Then all goes on as it would have; who says nothing of it is not asked."""
        first, second = phone("100", ACCEPTS), phone("200", TALKS)
        call = agent.ended(agent.call("100", "200", confirm="true"))
        assert call["outcome"] == "connected"
        answered = first.calls()[0].answered_at
        assert answered is not None
        assert second.calls()[0].invite.at - answered > 0.9
        assert "overdue" not in events(call)

    def test_a_voicemail_box(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """It presses nothing: asked three times, hung up, and the second never rings."""
        first, second = phone("100", ANSWERS), phone("200", TALKS)
        request_id = agent.call("100", "200", confirm="true")
        call = agent.ended(request_id)
        assert call["outcome"] == "first_no_answer"
        assert call["dial_first"]["status"] == "ANSWER"
        assert call["dial_second"]["status"] is None
        assert "first_not_confirmed" in events(call)
        assert "overdue" not in events(call)
        assert first.voices_heard == 0
        assert second.calls() == []
        assert not witness.call(linkedid_of(request_id)).has("PJSIP/200")

    def test_the_wrong_key(self, agent: AgentProcess, phone: StartPhone) -> None:
        """It is no yes, and no no either: asked again."""
        phone("100", MISTYPES)
        second = phone("200", TALKS)
        call = agent.ended(agent.call("100", "200", confirm="true"))
        assert call["outcome"] == "first_no_answer"
        assert second.calls() == []

    def test_declined(self, agent: AgentProcess, phone: StartPhone) -> None:
        """2 says no, as the prompt has it."""
        phone("100", DECLINES)
        second = phone("200", TALKS)
        call = agent.ended(agent.call("100", "200", confirm="true"))
        assert (call["outcome"], events(call)[-2]) == ("first_declined", "first_declined")
        assert second.calls() == []

    def test_the_first_hangs_up(self, agent: AgentProcess, phone: StartPhone) -> None:
        """A person who leaves while being asked has abandoned the call."""
        phone("100", LEAVES)
        second = phone("200", TALKS)
        call = agent.ended(agent.call("100", "200", confirm="true"))
        assert (call["outcome"], call["hung_up_by"]) == ("abandoned", "first")
        assert second.calls() == []

    def test_cancelled(self, agent: AgentProcess, phone: StartPhone) -> None:
        """While the prompt is played."""
        first, second = phone("100", ANSWERS), phone("200", TALKS)
        request_id = agent.call("100", "200", confirm="true")
        wait_until(lambda: first.packets_heard, 10, "the first hears something")
        agent.cancel(request_id)
        assert agent.ended(request_id)["outcome"] == "cancelled"
        assert second.calls() == []

    @pytest.mark.parametrize("asked", ["2", "3"])
    def test_the_first_hangs_up_when_asked_again(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness, asked: str
    ) -> None:
        """It has left, too; that it pressed nothing before says no more than that."""
        first, second = phone("100", ANSWERS), phone("200", TALKS)
        request_id = agent.call("100", "200", confirm="true")
        wait_until(lambda: times_asked(witness, request_id) == asked, PATIENCE, "asked again")
        first.hang_up()
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("abandoned", "first")
        assert "first_not_confirmed" not in events(call)
        assert second.calls() == []

    def test_cancelled_when_asked_again(
        self, agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """It is cancelled, whatever was not pressed before."""
        phone("100", ANSWERS)
        second = phone("200", TALKS)
        request_id = agent.call("100", "200", confirm="true")
        wait_until(lambda: times_asked(witness, request_id) == "2", PATIENCE, "asked again")
        agent.cancel(request_id)
        assert agent.ended(request_id)["outcome"] == "cancelled"
        assert second.calls() == []


class TestWhileTheAgentIsAway:
    """The dialplan asks, so nobody has to be there."""

    def test_nobody_confirms(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """The second never rings, and the agent learns of it when it is back."""
        first = phone("100", WAITS)
        second = phone("200", TALKS)
        agent = AgentProcess(asterisk, tmp_path)
        agent.start()
        request_id = agent.call("100", "200", confirm="true")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        first.decide()
        wait_until(lambda: not asterisk.core_show_channels(), PATIENCE, "the call is over")
        with agent:
            call = agent.ended(request_id)
        assert call["outcome"] == "first_no_answer"
        assert "first_not_confirmed" in events(call)
        assert second.calls() == []

    def test_a_person_confirms(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """They talk without it."""
        first = phone("100", WAITS_AND_ACCEPTS)
        second = phone("200", TALKS)
        agent = AgentProcess(asterisk, tmp_path)
        agent.start()
        request_id = agent.call("100", "200", confirm="true")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        first.decide()
        second.wait_for(lambda call: call.ended_at, 15, "the talk is over")
        with agent:
            assert agent.ended(request_id)["outcome"] == "connected"


@pytest.fixture(scope="module")
def freepbx(asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """An agent in the FreePBX corner, which asks with few words."""
    directory = tmp_path_factory.mktemp("freepbx")
    with agent_at_freepbx(asterisk, directory, confirm_prompt="beep") as agent:
        yield agent


class TestWhereADialplanAnswers:
    """`confirm=auto`: a person is asked for only where no device has answered."""

    @pytest.mark.parametrize(
        ("number", "answers"),
        [("100", "100"), ("101", "101"), ("630", "202")],
        ids=["a-phone", "another-users", "follow-me"],
    )
    def test_a_device(
        self, freepbx: AgentProcess, phone: StartPhone, number: str, answers: str
    ) -> None:
        """Not asked, however many dialplans it was dialled through."""
        first, second = phone(answers), phone("200", TALKS)
        call = freepbx.ended(freepbx.call(number, "200", dial_as="100", confirm="auto"))
        assert call["outcome"] == "connected"
        answered = first.calls()[0].answered_at
        assert answered is not None
        assert second.calls()[0].invite.at - answered < 0.9

    def test_outside(self, agent: AgentProcess, phone: StartPhone) -> None:
        """A trunk is a device."""
        first, second = phone("101"), phone("200", TALKS)
        call = agent.ended(agent.call("301", "200", dial_as="100", confirm="auto"))
        assert call["outcome"] == "connected"
        answered = first.calls()[0].answered_at
        assert answered is not None
        assert second.calls()[0].invite.at - answered < 0.9

    @pytest.mark.parametrize("number", ["294", "621"], ids=["voicemail", "PIN"])
    def test_nobody_is_there(
        self,
        asterisk: AsteriskHost,
        tmp_path: Path,
        phone: StartPhone,
        number: str,
    ) -> None:
        """What answers by itself presses no key, and the second is left in peace."""
        second = phone("200", TALKS)
        context = {"294": "from-phones", "621": INTERNAL}[number]
        changes = {"confirm_prompt": "beep", "dial_as": {"contexts": {"100": context}}}
        with AgentProcess(asterisk, tmp_path, asterisk_changes=changes) as agent:
            call = agent.ended(agent.call(number, "200", dial_as="100", confirm="auto"))
        assert call["outcome"] == "first_no_answer"
        assert "first_not_confirmed" in events(call)
        assert second.calls() == []

    def test_a_queue_whose_agent_comes(self, freepbx: AgentProcess, phone: StartPhone) -> None:
        """Its music is no person; the one who comes then presses 1."""
        agent_of_queue = phone("201", Behaviour(ring_seconds=2, presses="1"))
        second = phone("200", TALKS)
        call = freepbx.ended(freepbx.call("611", "200", dial_as="100", confirm="auto"))
        assert call["outcome"] == "connected"
        answered = agent_of_queue.calls()[0].answered_at
        assert answered is not None
        assert second.calls()[0].invite.at > answered

    def test_check_names_them(self, asterisk: AsteriskHost, tmp_path: Path) -> None:
        """Where a key may have them rung first, and nobody is asked for."""
        agent = agent_at_freepbx(asterisk, tmp_path)
        key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_6XX"]}
        for confirm, is_named in ((False, True), ("auto", False)):
            agent.configure("keys", [{**key, "confirm": confirm}])
            checked = agent.run("check")
            assert ("610 (Queue), 611 (Answer)" in checked.stdout) is is_named, checked.stdout

    def test_without_it(self, freepbx: AgentProcess, phone: StartPhone) -> None:
        """The second rings for a queue's music: that is what it is for."""
        agent_of_queue = phone("201", Behaviour(ring_seconds=2))
        second = phone("200", TALKS)
        call = freepbx.ended(freepbx.call("611", "200", dial_as="100"))
        assert call["outcome"] == "connected"
        assert second.calls()[0].invite.at < agent_of_queue.calls()[0].invite.at + 1.5

    def test_while_the_agent_is_away(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """The dialplan asks by itself, and only there."""
        first, second = phone("202", WAITS), phone("200", TALKS)
        agent = agent_at_freepbx(asterisk, tmp_path, confirm_prompt="beep")
        agent.start()
        request_id = agent.call("630", "200", dial_as="100", confirm="auto")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        first.decide()
        second.wait_for(lambda call: call.ended_at, 15, "the talk is over")
        with agent:
            assert agent.ended(request_id)["outcome"] == "connected"
