"""What becomes of a call when the agent, the AMI link, or Asterisk itself goes away meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.pbx_files import SECOND_PHONES
from tests.pbx.phones import Phone
from tests.pbx.proxy import Wire
from tests.pbx.sip_scenario import BUSY, DECLINES, RINGS_FOR_EVER, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

QUICK = Behaviour(ring_seconds=0.3)
#: Until the test tells it to give its final answer, which is to take the call.
WAITS = Behaviour(ring_seconds=None)

#: Packets of 20 ms: a second of talk.
A_SECOND = 50


@pytest.fixture
def own_agent(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent that a test may end."""
    agent = AgentProcess(asterisk, tmp_path_factory.mktemp("agent"))
    agent.start()
    yield agent
    agent.stop()


def _ends_unwatched(
    agent: AgentProcess,
    witness: Witness,
    state: str,
    numbers: tuple[str, str] = ("100", "200"),
    *,
    then: Callable[[], object] = lambda: None,
    **asked: str,
) -> str:
    """Place a call, kill the agent when it has stored this state, and wait for the call's end.

    `then` is done when the agent is dead.
    """
    request_id = agent.call(*numbers, **asked)
    agent.stored(request_id, state)
    agent.kill()
    then()
    witness.wait_until_gone(linkedid_of(request_id), 20)
    return request_id


def _hang_up_after_a_second(phone: Phone) -> None:
    """Have it end its talk when that has lasted for a while: its length is compared."""
    wait_until(lambda: phone.packets_heard > A_SECOND, 20, "they have talked for a second")
    phone.hang_up()


class TestAgentGone:
    def test_the_dialplan_connects_them_alone(
        self,
        own_agent: AgentProcess,
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
        lateness: Lateness,
    ) -> None:
        """Killed while the first rings: who picks up is connected, and the agent learns of it."""
        first = phone("100", WAITS)
        second = phone("200", Behaviour(ring_seconds=0.5, talk_seconds=1.5))
        request_id = _ends_unwatched(own_agent, witness, "first_ringing", then=first.decide)
        seen = witness.call(linkedid_of(request_id))
        assert request_id in asterisk.database("c2c")
        own_agent.start()
        call = own_agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert len(first.calls()) == len(second.calls()) == seen.originates == 1
        assert second.invites()[0].caller_number == "100"
        wait_until(lambda: request_id not in asterisk.database("c2c"), 5, "it is taken from AstDB")

    def test_the_talk_goes_on(
        self, own_agent: AgentProcess, phone: StartPhone, lateness: Lateness
    ) -> None:
        """Killed during the talk and back before its end: the talk is tracked on."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = own_agent.call("100", "200")
        own_agent.stored(request_id, "connected")
        own_agent.kill()
        own_agent.start()
        assert own_agent.status(request_id)["call"]["state"] == "connected"
        own_agent.reached(request_id, "pbx_found")
        second.hang_up()
        call = own_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    def test_the_talk_ends_meanwhile(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """Killed during the talk and back after its end: talk time comes from AstDB."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = _ends_unwatched(
            own_agent, witness, "connected", then=partial(_hang_up_after_a_second, second)
        )
        own_agent.start()
        call = own_agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    @pytest.mark.parametrize("by", ["cancel", "limit"])
    def test_who_ends_the_talk_that_goes_on(
        self, own_agent: AgentProcess, phone: StartPhone, by: str
    ) -> None:
        """Neither of the two did, and neither is said to have."""
        phone("100", QUICK)
        phone("200", QUICK)
        longest = {"cancel": "600", "limit": "6"}[by]
        request_id = own_agent.call("100", "200", max_duration=longest)
        own_agent.stored(request_id, "connected")
        own_agent.kill()
        own_agent.start()
        if by == "cancel":
            own_agent.cancel(request_id)
        call = own_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", by)

    def test_nobody_watched_the_longest_duration(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """Killed during the talk and back after its limit: that is what ended it."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = _ends_unwatched(own_agent, witness, "connected", max_duration="6")
        own_agent.start()
        call = own_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert call["talk_seconds"] > 5.5

    def test_back_while_they_talk_by_themselves(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
    ) -> None:
        """Killed while the first rings, back when the dialplan has connected them: tracked on."""
        first = phone("100", WAITS)
        second = phone("200", QUICK)
        request_id = own_agent.call("100", "200")
        own_agent.stored(request_id, "first_ringing")
        own_agent.kill()
        time.sleep(1)  # the length of the ringing is compared
        first.decide()
        second.wait_for(lambda call: call.answered_at, 20, "they talk")
        own_agent.start()
        own_agent.reached(request_id, "connected")
        second.hang_up()
        call = own_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        rang = call["dial_first"]["ring_seconds"]
        assert rang == lateness.near(first.calls()[0].ring_seconds, 0.5)
        assert witness.call(linkedid_of(request_id)).originates == 1

    @pytest.mark.parametrize("back", ["during", "after"])
    def test_the_second_answers_meanwhile(
        self,
        own_agent: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        back: str,
        lateness: Lateness,
    ) -> None:
        """Killed while the second rings; it answers; back during the talk, or after it."""
        phone("100", QUICK)
        second = phone("200", WAITS)
        request_id = own_agent.call("100", "200")
        own_agent.stored(request_id, "second_ringing")
        own_agent.kill()
        second.decide()
        second.wait_for(lambda call: call.answered_at, 20, "they talk")
        if back == "after":
            _hang_up_after_a_second(second)
            witness.wait_until_gone(linkedid_of(request_id), 20)
        own_agent.start()
        if back == "during":
            own_agent.reached(request_id, "connected")
            second.hang_up()
        call = own_agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert len(second.calls()) == 1

    def test_the_second_refuses_meanwhile(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """Killed while the second rings; it declines; the agent still learns why."""
        phone("100", QUICK)
        second = phone("200", Behaviour(ring_seconds=None, final=603))
        request_id = _ends_unwatched(own_agent, witness, "second_ringing", then=second.decide)
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == "second_declined"

    def test_one_of_the_second_s_phones_refuses(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """The dialplan rings both alone; the other one rings for as long as it may."""
        first = phone("100", WAITS)
        phone("240", BUSY)
        phone(SECOND_PHONES["240"], RINGS_FOR_EVER)
        request_id = _ends_unwatched(
            own_agent, witness, "first_ringing", ("100", "240"), then=first.decide, timeout="6"
        )
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == "second_no_answer"

    @pytest.mark.parametrize(
        ("final", "outcome"),
        [(486, "first_busy"), (603, "first_declined"), (480, "first_no_answer")],
    )
    def test_the_first_refuses_meanwhile(
        self,
        own_agent: AgentProcess,
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
        final: int,
        outcome: str,
    ) -> None:
        """Killed while the first rings, which then refuses; the dialplan has noted why."""
        first = phone("100", Behaviour(ring_seconds=None, final=final))
        request_id = _ends_unwatched(own_agent, witness, "first_ringing", then=first.decide)
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == outcome
        assert len(first.calls()) == 1
        wait_until(lambda: request_id not in asterisk.database("c2c"), 5, "it is taken from AstDB")

    @pytest.mark.parametrize(("final", "outcome"), [(486, "first_busy"), (603, "first_declined")])
    def test_a_first_outside_refuses_meanwhile(
        self,
        own_agent: AgentProcess,
        phone: StartPhone,
        witness: Witness,
        final: int,
        outcome: str,
    ) -> None:
        """The same where it is the dial_as user's context that rings it."""
        outside = phone("104", Behaviour(ring_seconds=None, final=final))
        request_id = _ends_unwatched(
            own_agent,
            witness,
            "first_ringing",
            ("304", "200"),
            then=outside.decide,
            dial_as="100",
        )
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == outcome
        assert len(outside.calls()) == 1

    def test_nobody_saw_whether_it_rang(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """Not available (SIP 480), which phones say before and after they ring: unknown."""
        first = phone("100", Behaviour(ring_seconds=None, ringing=False, final=480))
        request_id = _ends_unwatched(own_agent, witness, "dialing_first", then=first.decide)
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == "unknown"

    def test_the_first_rings_out_meanwhile(
        self, own_agent: AgentProcess, phone: StartPhone, witness: Witness
    ) -> None:
        """Killed while the first rings, until the timeout: that nobody answered is known."""
        first = phone("100", RINGS_FOR_EVER)
        request_id = _ends_unwatched(own_agent, witness, "first_ringing", timeout="5")
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == "first_no_answer"
        assert len(first.calls()) == 1

    def test_nobody_saw_why(
        self,
        own_agent: AgentProcess,
        asterisk: AsteriskHost,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """The same, and what the dialplan noted is lost as well: honestly unknown."""
        first = phone("100", Behaviour(ring_seconds=None, final=603))
        request_id = _ends_unwatched(own_agent, witness, "first_ringing", then=first.decide)
        asterisk.cli(f"database del c2c {request_id}")
        own_agent.start()
        assert own_agent.ended(request_id)["outcome"] == "unknown"
        assert len(first.calls()) == 1

    def test_a_refusal_that_was_watched_leaves_nothing(
        self, own_agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """What the dialplan noted of it is deleted."""
        phone("100", BUSY)
        request_id = own_agent.call("100", "200")
        assert own_agent.ended(request_id)["outcome"] == "first_busy"
        wait_until(lambda: request_id not in asterisk.database("c2c"), 5, "AstDB has none of it")

    def test_the_first_answers_after_the_restart(
        self, own_agent: AgentProcess, phone: StartPhone, lateness: Lateness
    ) -> None:
        """Killed and back while the first rings: the new agent bridges as the old one would."""
        first = phone("100", WAITS)
        second = phone("200", Behaviour(ring_seconds=0.5, talk_seconds=1.0))
        request_id = own_agent.call("100", "200", timeout="60")
        own_agent.stored(request_id, "first_ringing")
        own_agent.kill()
        own_agent.start()
        own_agent.reached(request_id, "pbx_found")
        first.decide()
        call = own_agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        rang = call["dial_first"]["ring_seconds"]
        assert rang == lateness.near(first.calls()[0].ring_seconds, 0.5)
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    def test_stopped_in_order_the_talk_goes_on(
        self, own_agent: AgentProcess, phone: StartPhone, lateness: Lateness
    ) -> None:
        """SIGTERM during the talk hands the call over to the dialplan."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = own_agent.call("100", "200")
        own_agent.reached(request_id, "connected")
        own_agent.stop()
        own_agent.start()
        own_agent.reached(request_id, "pbx_found")
        second.hang_up()
        call = own_agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    def test_status_and_replay_survive(self, own_agent: AgentProcess, phone: StartPhone) -> None:
        """What was answered before a restart is answered after it, word for word."""
        first = phone("100", BUSY)
        asked = {"request_id": "11111111-2222-4333-8444-555555555555"}
        answer = own_agent.place("100", "200", **asked)
        own_agent.ended(answer["request_id"])
        before = own_agent.status(answer["request_id"])
        own_agent.stop()
        own_agent.start()
        assert own_agent.status(answer["request_id"]) == before
        assert own_agent.place("100", "200", **asked) == {**answer, "replayed": True}
        conflict = own_agent.place("100", "201", **asked)
        assert conflict["errors"][0]["error"]["code"] == "request_id_conflict"
        assert len(first.calls()) == 1


class TestLinkCut:
    @pytest.fixture
    def wired(
        self, asterisk: AsteriskHost, wire: Wire, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[AgentProcess]:
        """An agent at the end of the wire."""
        with AgentProcess(
            asterisk,
            tmp_path_factory.mktemp("agent"),
            asterisk_changes={"dial_as": {"contexts": {"150": "from-phones"}}},
            ami_port=wire.place[1],
        ) as agent:
            yield agent

    def test_during_the_talk(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone, lateness: Lateness
    ) -> None:
        """Cut and mended during the talk: one session again, and the end is seen."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = wired.call("100", "200")
        wired.reached(request_id, "connected")
        wire.cut()
        wired.reached(request_id, "pbx_lost")
        assert not wired.is_ready()
        wire.mend()
        wired.reached(request_id, "pbx_found")
        second.hang_up()
        call = wired.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert wire.connections == 2

    def test_both_answer_while_it_is_cut(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone, lateness: Lateness
    ) -> None:
        """Mended during the talk: the times are those of the answers, not of the mending."""
        first = phone("100", WAITS)
        second = phone("200", Behaviour(ring_seconds=1.0))
        request_id = wired.call("100", "200")
        wired.reached(request_id, "first_ringing")
        wire.cut()
        time.sleep(1)  # the length of the ringing is compared
        first.decide()
        second.wait_for(lambda call: call.answered_at, 20, "they talk")
        time.sleep(1.5)
        wire.mend()
        wired.reached(request_id, "connected")
        second.hang_up()
        call = wired.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        rang = call["dial_first"]["ring_seconds"]
        assert rang == lateness.near(first.calls()[0].ring_seconds, 0.5)

    def test_the_end_comes_while_it_is_cut(
        self,
        wired: AgentProcess,
        wire: Wire,
        phone: StartPhone,
        witness: Witness,
        lateness: Lateness,
    ) -> None:
        """FastAGI told how the second leg ended; after the link's return the call settles."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        request_id = wired.call("100", "200")
        wired.reached(request_id, "connected")
        wire.cut()
        _hang_up_after_a_second(second)
        witness.wait_until_gone(linkedid_of(request_id), 20)
        wire.mend()
        call = wired.ended(request_id)
        assert call["outcome"] == "connected"
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)

    def test_the_second_refuses_while_it_is_cut(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone, witness: Witness
    ) -> None:
        """The evidence came over FastAGI, not over AMI."""
        first = phone("100", WAITS)
        phone("200", DECLINES)
        request_id = wired.call("100", "200")
        wired.reached(request_id, "first_ringing")
        wire.cut()
        first.decide()
        witness.wait_until_gone(linkedid_of(request_id), 20)
        wire.mend()
        assert wired.ended(request_id)["outcome"] == "second_declined"

    def test_the_answer_to_the_order_is_lost(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone, witness: Witness
    ) -> None:
        """Nobody knows whether the order arrived: it is not sent again, and the truth comes out."""
        first = phone("100", RINGS_FOR_EVER)
        asked = {"request_id": "21111111-2222-4333-8444-555555555555", "timeout": "8"}
        wire.deaf = True
        # Its context is configured: to look one up would have to be answered, too.
        answer = wired.place("100", "200", dial_as="150", **asked)
        assert answer["errors"][0]["error"]["code"] == "pbx_unavailable"
        wire.cut()
        wire.deaf = False
        wire.mend()
        wait_until(wired.is_ready, 30, "the link is back")
        again = wired.place("100", "200", dial_as="150", **asked)
        assert again == {**answer, "replayed": True}
        call = wired.ended(answer["request_id"])
        assert call["outcome"] in {"first_no_answer", "unknown"}
        assert witness.call(linkedid_of(answer["request_id"])).originates == 1
        assert len(first.calls()) == 1

    def test_without_a_link_nothing_is_placed(
        self, wired: AgentProcess, wire: Wire, phone: StartPhone
    ) -> None:
        """The caller is told at once, and nothing happens later."""
        first = phone("100", QUICK)
        wire.cut()
        wait_until(lambda: not wired.is_ready(), 20, "the agent has noticed")
        answer = wired.place("100", "200")
        assert answer["errors"][0]["error"]["code"] == "pbx_unavailable"
        assert wired.ended(answer["request_id"])["outcome"] == "rejected"
        wire.mend()
        wait_until(wired.is_ready, 30, "the link is back")
        assert first.calls() == []


class TestAsteriskGone:
    def test_killed_during_the_talk(
        self, own_agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """It was connected; how long they talked, nobody knows; the next call works."""
        phone("100", QUICK)
        phone("200", QUICK)
        request_id = own_agent.call("100", "200")
        own_agent.reached(request_id, "connected")
        asterisk.kill()
        wait_until(lambda: not own_agent.is_ready(), 20, "the agent has noticed")
        asterisk.start()
        call = own_agent.ended(request_id)
        assert call["outcome"] == "connected"
        wait_until(own_agent.is_ready, 30, "the link is back")
        phone("200", Behaviour(ring_seconds=0.3, talk_seconds=0.5))
        assert own_agent.ended(own_agent.call("100", "200"))["outcome"] == "connected"

    def test_killed_while_the_first_rings(
        self, own_agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """The phone may have been answered in the last moment: unknown, and never rung again."""
        first = phone("100", RINGS_FOR_EVER)
        request_id = own_agent.call("100", "200")
        own_agent.reached(request_id, "first_ringing")
        asterisk.kill()
        asterisk.start()
        assert own_agent.ended(request_id)["outcome"] == "unknown"
        assert len(first.calls()) == 1

    def test_restarted_in_order(
        self, own_agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """A graceful stop hangs the calls up; the agent sees it, or settles it afterwards."""
        phone("100", QUICK)
        phone("200", QUICK)
        request_id = own_agent.call("100", "200")
        own_agent.reached(request_id, "connected")
        asterisk.restart()
        assert own_agent.ended(request_id)["outcome"] == "connected"
