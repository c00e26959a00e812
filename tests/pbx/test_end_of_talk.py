"""The end of a talk: it lasts as long as somebody of each side talks, and who ended it is told.

The second leg's phone may leave the first to a colleague or to the dialplan, and go on itself when
the first has left. What is heard is held against what is told.
"""

from __future__ import annotations

import time

import pytest
from attrs import evolve

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import RINGS_FOR_EVER, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

ANSWERS_AT_ONCE = Behaviour(ring_seconds=0.2)

#: A desk whose phone may transfer by *2, one with a survey for who is left, and one whose agent is
#: asked when the caller has gone (tests/pbx/etc/extensions.conf).
TRANSFERS, SURVEY, AFTER_TALK = "281", "282", "283"


def asks_a_colleague(witness: Witness, request_id: str, channel: str) -> None:
    """Have a phone that talks begin an attended transfer to 201, as by *2 and the number."""
    witness.wait_until_it_talks(linkedid_of(request_id), channel)
    answer = witness.action("Atxfer", Channel=channel, Context="from-phones", Exten="201")
    assert answer["Response"] == "Success", answer


def is_asked(colleague: Phone) -> None:
    """Wait until the colleague talks with who asks.

    Who leaves in the moment of the colleague's answer ends the asking another way; Asterisk 16.28
    has then been seen to crash (main/bridge_basic.c, `blond_nonfinal_enter`).
    """
    colleague.wait_for(lambda call: call.answered_at, 20, "it is asked")
    time.sleep(1)


def heard(first: Phone, second: Phone) -> float:
    """For how long the first phone had somebody to hear, since the second answered."""
    ended, answered = first.whole_call().ended_at, second.calls()[0].answered_at
    assert ended is not None
    assert answered is not None
    return ended - answered


@pytest.mark.parametrize("ends", ["first", "second"])
def test_an_attended_transfer(
    agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness, ends: str
) -> None:
    """The second asks a colleague, and leaves the first to them: the talk goes on."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    colleague = phone("201", ANSWERS_AT_ONCE)
    request_id = agent.call("100", TRANSFERS)
    talking = agent.reached(request_id, "connected")
    asks_a_colleague(witness, request_id, talking["dial_second"]["channel"])
    is_asked(colleague)
    second.hang_up()
    time.sleep(3)
    (first if ends == "first" else colleague).hang_up()
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", ends)
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)
    assert call["dial_second"]["channel"] == talking["dial_second"]["channel"]


@pytest.mark.parametrize("ends", ["first", "second"])
def test_an_attended_transfer_by_keys(
    agent: AgentProcess, phone: StartPhone, lateness: Lateness, ends: str
) -> None:
    """Who answered presses *2 and the number: Dial's option t holds when its channel is gone."""
    first = phone("100", ANSWERS_AT_ONCE)
    second = phone("200", evolve(ANSWERS_AT_ONCE, presses="*2201"))
    colleague = phone("201", ANSWERS_AT_ONCE)
    request_id = agent.call("100", TRANSFERS)
    talking = agent.reached(request_id, "connected")
    is_asked(colleague)
    second.hang_up()
    time.sleep(3)
    (first if ends == "first" else colleague).hang_up()
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", ends)
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)
    assert call["dial_second"]["channel"] == talking["dial_second"]["channel"]


@pytest.mark.parametrize("ends", ["first", "second"])
def test_a_transfer_that_comes_back(
    agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness, ends: str
) -> None:
    """The colleague does not answer, and the second, who has hung up, is rung again."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    colleague = phone("201", RINGS_FOR_EVER)
    request_id = agent.call("100", TRANSFERS)
    talking = agent.reached(request_id, "connected")
    asks_a_colleague(witness, request_id, talking["dial_second"]["channel"])
    colleague.wait_for(lambda call: call.ringing_at, 20, "it is asked")
    second.hang_up()

    def talks_again() -> bool:
        # Not always in its second call: Asterisk gives one up that takes it too long.
        return any(call.answered_at for call in second.calls()[1:])

    wait_until(talks_again, 60, "it is rung again, and talks")
    time.sleep(3)
    (first if ends == "first" else second).hang_up()
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", ends)
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)


def test_asked_and_not_transferred(
    agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
) -> None:
    """The first hangs up while the second asks a colleague: those two are no part of its talk."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    colleague = phone("201", ANSWERS_AT_ONCE)
    request_id = agent.call("100", TRANSFERS)
    talking = agent.reached(request_id, "connected")
    asks_a_colleague(witness, request_id, talking["dial_second"]["channel"])
    is_asked(colleague)
    first.hang_up()
    time.sleep(3)
    second.hang_up()
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)


@pytest.mark.parametrize("ends", ["first", "dialplan"])
def test_the_dialplan_goes_on_with_the_first(
    agent: AgentProcess, phone: StartPhone, lateness: Lateness, ends: str
) -> None:
    """The second hangs up, and the first hears a survey (Dial's option g)."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    request_id = agent.call("100", SURVEY)
    agent.reached(request_id, "connected")
    time.sleep(1)
    second.hang_up()
    if ends == "first":
        time.sleep(2)
        first.hang_up()
    call = agent.ended(request_id)
    by = "first" if ends == "first" else "second"
    assert (call["outcome"], call["hung_up_by"]) == ("connected", by)
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)


def test_the_dialplan_goes_on_with_the_second(
    agent: AgentProcess, phone: StartPhone, lateness: Lateness
) -> None:
    """The first hangs up, and the second hears something (Dial's option F): the talk is over."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    request_id = agent.call("100", AFTER_TALK)
    agent.reached(request_id, "connected")
    time.sleep(1)
    first.hang_up()
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)
    assert second.whole_call().hung_up_by == "pbx"


@pytest.mark.parametrize("ends", ["limit", "cancel", "stop-calls"])
def test_who_hangs_up_afterwards_has_not_ended_it(
    asterisk: AsteriskHost,
    phone: StartPhone,
    tmp_path_factory: pytest.TempPathFactory,
    lateness: Lateness,
    ends: str,
) -> None:
    """The talk was ended from here, and the second's phone hangs up a moment later."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    longest = 2 if ends == "limit" else 60
    with AgentProcess(
        asterisk, tmp_path_factory.mktemp("agent"), {"calls": {"max_duration": longest}}
    ) as agent:
        request_id = agent.call("100", AFTER_TALK)
        agent.reached(request_id, "connected")
        if ends == "cancel":
            agent.cancel(request_id)
        elif ends == "stop-calls":
            assert agent.run("stop-calls", "--hang-up").returncode == 0
        first.whole_call()
        if ends == "limit":
            second.hang_up()
        call = agent.ended(request_id)
    by = "limit" if ends == "limit" else "cancel"
    assert (call["outcome"], call["hung_up_by"]) == ("connected", by)
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)


@pytest.mark.parametrize("numbers", ["100 284", "100 286", "285 200", "285 284"])
@pytest.mark.parametrize("ends", ["first", "second", "limit", "cancel", "stop-calls"])
def test_another_channel_technology(
    asterisk: AsteriskHost,
    phone: StartPhone,
    tmp_path_factory: pytest.TempPathFactory,
    lateness: Lateness,
    numbers: str,
    ends: str,
) -> None:
    """A leg whose channel is no PJSIP's: who ended the talk is told all the same."""
    first, second = phone("100", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    longest = 2 if ends == "limit" else 60
    with AgentProcess(
        asterisk, tmp_path_factory.mktemp("agent"), {"calls": {"max_duration": longest}}
    ) as agent:
        request_id = agent.call(*numbers.split(), dial_as="100")
        agent.reached(request_id, "connected")
        match ends:
            case "first":
                first.hang_up()
            case "second":
                second.hang_up()
            case "cancel":
                agent.cancel(request_id)
            case "stop-calls":
                assert agent.run("stop-calls", "--hang-up").returncode == 0
        call = agent.ended(request_id)
    by = "cancel" if ends == "stop-calls" else ends
    assert (call["outcome"], call["hung_up_by"]) == ("connected", by)
    assert call["talk_seconds"] == lateness.near(heard(first, second), 0.7)
