"""Others join in by the PBX's own means: it is still the one call, with one outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import BUSY, RINGS_FOR_EVER, Behaviour
from tests.pbx.witness import CallSeen, Witness

ANSWERS_AT_ONCE = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=1.5)


def transfer(witness: Witness, request_id: str, channel: str) -> None:
    """Have a phone that talks transfer the talk to 201, without asking there.

    A REFER of the phone comes to the same in Asterisk (res_pjsip_refer.c, manager_bridges.c).
    """
    witness.wait_until_it_talks(linkedid_of(request_id), channel)
    answer = witness.action("BlindTransfer", Channel=channel, Context="from-phones", Exten="201")
    assert answer["Response"] == "Success", answer


@pytest.mark.parametrize("leg", ["first", "second"])
@pytest.mark.parametrize("third", [TALKS, BUSY], ids=["answers", "busy"])
def test_a_blind_transfer(
    agent: AgentProcess,
    phone: StartPhone,
    witness: Witness,
    leg: str,
    third: Behaviour,
    lateness: Lateness,
) -> None:
    """Who transfers has left; the call ends when nothing is left of it, and is told as it was."""
    phones = {"first": phone("100", ANSWERS_AT_ONCE), "second": phone("200", ANSWERS_AT_ONCE)}
    phone("201", third)
    request_id = agent.call("100", "200")
    talking = agent.reached(request_id, "connected")
    transfer(witness, request_id, talking[f"dial_{leg}"]["channel"])
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", leg)
    stays = phones["second" if leg == "first" else "first"].whole_call()
    # The first has waited for the second before.
    began, ended = phones["second"].whole_call().answered_at, stays.ended_at
    assert began is not None
    assert ended is not None
    assert call["talk_seconds"] == lateness.near(ended - began, 0.7)
    for name, number in (("dial_first", "100"), ("dial_second", "200")):
        assert call[name]["status"] == "ANSWER"
        assert call[name]["channel"].startswith(f"PJSIP/{number}-")
        assert call[name]["channel"] == talking[name]["channel"]
    assert witness.wait_until_gone(linkedid_of(request_id), 10).originates == 1


@pytest.mark.parametrize("leg", ["first", "second"])
def test_a_colleague_picks_up(
    agent: AgentProcess, phone: StartPhone, witness: Witness, leg: str, lateness: Lateness
) -> None:
    """From another phone, while that of the leg rings: the leg is that of the colleague's phone."""
    ringing = phone("100" if leg == "first" else "200", RINGS_FOR_EVER)
    phone("200" if leg == "first" else "100", ANSWERS_AT_ONCE)
    colleague = phone("101", Behaviour(ring_seconds=0.2, talk_seconds=3.0))
    request_id = agent.call("100", "200")
    told = agent.reached(request_id, f"{leg}_ringing")
    answer = witness.action(
        "Originate",
        Channel="PJSIP/101",
        Application="PickupChan",
        Data=told[f"dial_{leg}"]["channel"],
        Async="true",
    )
    assert answer["Response"] == "Success", answer
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"], call["cause"]) == ("connected", leg, 16)
    assert call[f"dial_{leg}"]["channel"].startswith("PJSIP/101-")
    assert call[f"dial_{leg}"]["cause"] == 16
    assert call["talk_seconds"] == lateness.near(colleague.whole_call().talk_seconds, 0.7)
    ringing.wait_for(lambda call: call.final_status, 20, "it is told that it need not ring")
    assert [one.final_status for one in ringing.calls()] == [487]


def pick_up(witness: Witness, number: str) -> None:
    """Have phone 101 take what rings that first number, as by *8 and the number."""
    place = {"Context": "from-phones", "Exten": f"*8{number}", "Priority": "1"}
    answer = witness.action("Originate", Channel="PJSIP/101", Async="true", **place)
    assert answer["Response"] == "Success", answer


@pytest.mark.parametrize("ends", ["first", "second", "cancel"])
def test_a_colleague_picks_the_first_number_up(
    agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness, ends: str
) -> None:
    """By the number that is rung, Asterisk has the colleague's phone do what Originate began.

    It keeps the ids of its own call.
    """
    ringing = phone("100", RINGS_FOR_EVER)
    colleague, second = phone("101", ANSWERS_AT_ONCE), phone("200", ANSWERS_AT_ONCE)
    request_id = agent.call("100", "200")
    agent.reached(request_id, "first_ringing")
    pick_up(witness, "100")
    agent.reached(request_id, "connected")
    time.sleep(3)
    assert agent.status(request_id)["call"]["state"] == "connected"
    match ends:
        case "first":
            colleague.hang_up()
        case "second":
            second.hang_up()
        case _:
            agent.cancel(request_id)
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", ends)
    assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.7)
    assert call["dial_first"]["channel"].startswith("PJSIP/101-")
    assert call["dial_first"]["status"] == call["dial_second"]["status"] == "ANSWER"
    ringing.wait_for(lambda call: call.final_status, 20, "it is told that it need not ring")


def test_a_picked_up_call_counts(
    asterisk: AsteriskHost,
    phone: StartPhone,
    witness: Witness,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It takes a place of its key for as long as they talk, and its longest duration ends it."""
    phone("100", RINGS_FOR_EVER)
    second = phone("200", ANSWERS_AT_ONCE)
    phone("101", ANSWERS_AT_ONCE)
    bounds = {"calls": {"max_concurrent": 1, "max_duration": 5}}
    with AgentProcess(asterisk, tmp_path_factory.mktemp("agent"), bounds) as agent:
        request_id = agent.call("100", "200")
        agent.reached(request_id, "first_ringing")
        pick_up(witness, "100")
        agent.reached(request_id, "connected")
        time.sleep(3)
        refused = agent.place("102", "200")
        assert refused["errors"][0]["error"]["code"] == "too_many_calls"
        call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
        assert second.whole_call().hung_up_by == "pbx"


def test_a_colleague_picks_the_second_number_up(
    agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
) -> None:
    """By the number that is rung: the leg is that of the colleague's phone."""
    phone("100", ANSWERS_AT_ONCE)
    phone("200", RINGS_FOR_EVER)
    colleague = phone("101", Behaviour(ring_seconds=0.2, talk_seconds=3.0))
    request_id = agent.call("100", "200")
    agent.reached(request_id, "second_ringing")
    answer = witness.action(
        "Originate",
        Channel="PJSIP/101",
        Application="Pickup",
        Data="200@from-phones",
        Async="true",
    )
    assert answer["Response"] == "Success", answer
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
    assert call["dial_second"]["channel"].startswith("PJSIP/101-")
    assert call["talk_seconds"] == lateness.near(colleague.whole_call().talk_seconds, 0.7)


@pytest.mark.parametrize("leg", ["first", "second"])
def test_the_talk_is_joined_with_an_older_call(
    agent: AgentProcess, phone: StartPhone, witness: Witness, leg: str
) -> None:
    """As an attended transfer does it: the other half of the talk goes on with the older call.

    Asterisk counts the channels of one bridge as part of the oldest call among them, so the end of
    some of ours is told as that call's, or not at all.
    """
    phone("100", ANSWERS_AT_ONCE)
    phone("200", ANSWERS_AT_ONCE)
    customer = phone("103", Behaviour(ring_seconds=0.2, talk_seconds=10.0))
    answer = witness.action(
        "Originate",
        Channel="PJSIP/103",
        ChannelId="older",
        Application="Wait",
        Data="30",
        Async="true",
    )
    assert answer["Response"] == "Success", answer
    older = witness.wait_for("older", lambda call: call.has("PJSIP/103"), 10, "it is there")
    customer.wait_for(lambda call: call.answered_at, 10, "the older call is up")
    request_id = agent.call("100", "200")
    agent.reached(request_id, "connected")
    other = "second" if leg == "first" else "first"
    stays = agent.status(request_id)["call"][f"dial_{other}"]["channel"]
    witness.wait_until_it_talks(linkedid_of(request_id), stays)
    answer = witness.action(
        "Bridge", Channel1=stays, Channel2=older.channel("PJSIP/103").name, Tone="no"
    )
    assert answer["Response"] == "Success", answer
    call = agent.ended(request_id)
    assert call["outcome"] == "connected"
    assert customer.whole_call().hung_up_by == "phone"


@pytest.fixture
def dials_devices(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent that dials the first leg as a device, so that its channel is the phone's own."""
    rules = [{"match": "_X.", "channel": "PJSIP/{number}"}]
    with AgentProcess(
        asterisk, tmp_path_factory.mktemp("agent"), asterisk_changes={"first_leg": rules}
    ) as agent:
        yield agent


def test_cancelled_when_the_first_channel_has_gone(
    dials_devices: AgentProcess, phone: StartPhone, witness: Witness
) -> None:
    """The first has transferred the talk: what is left is hung up."""
    agent = dials_devices
    phone("100", ANSWERS_AT_ONCE)
    phone("200", ANSWERS_AT_ONCE)
    third = phone("201", ANSWERS_AT_ONCE)
    request_id = agent.call("100", "200")
    channel = agent.reached(request_id, "connected")["dial_first"]["channel"]
    transfer(witness, request_id, channel)
    third.wait_for(lambda call: call.answered_at, 10, "the talk goes on")
    assert agent.status(request_id)["call"]["state"] == "connected"
    agent.cancel(request_id)
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "cancel")
    witness.wait_until_gone(linkedid_of(request_id), 10)


def test_cancelled_when_the_second_does_not_hang_on_the_first(
    dials_devices: AgentProcess, asterisk: AsteriskHost, phone: StartPhone, witness: Witness
) -> None:
    """As in a conference, each stays without the other: both are hung up."""
    agent = dials_devices
    phone("100", ANSWERS_AT_ONCE)
    second = phone("200", ANSWERS_AT_ONCE)
    asterisk.cli("dialplan add extension apart,1,Wait,600 into apart")
    request_id = agent.call("100", "200")
    call = agent.reached(request_id, "connected")
    witness.wait_until_it_talks(linkedid_of(request_id), call["dial_first"]["channel"])
    place = {"Context": "apart", "Exten": "apart", "Priority": "1"}
    answer = witness.action(
        "Redirect",
        Channel=call["dial_first"]["channel"],
        ExtraChannel=call["dial_second"]["channel"],
        **place,
        **{f"Extra{name}": value for name, value in place.items()},
    )
    assert answer["Response"] == "Success", answer

    def are_apart(call: CallSeen) -> bool:
        return sum(channel.hung_up is None for channel in call.channels) == 2

    witness.wait_for(linkedid_of(request_id), are_apart, 10, "the rest has gone")
    agent.cancel(request_id)
    assert agent.ended(request_id)["outcome"] == "connected"
    assert second.whole_call().hung_up_by == "pbx"
    witness.wait_until_gone(linkedid_of(request_id), 10)


def test_a_queue_whose_first_agent_refuses(
    agent: AgentProcess, phone: StartPhone, witness: Witness, lateness: Lateness
) -> None:
    """The second number answers by itself and then rings phones: the talk is not over with one."""
    phone("100", ANSWERS_AT_ONCE)
    phone("201", Behaviour(ring_seconds=0.5, final=486))
    answering = phone("202", Behaviour(ring_seconds=0.5, talk_seconds=2.0))
    request_id = agent.call("100", "295")
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
    talk = answering.whole_call()
    assert talk.talk_seconds is not None
    assert call["talk_seconds"] >= talk.talk_seconds
    seen = witness.wait_until_gone(linkedid_of(request_id), 10)
    answered, ended = seen.dial("Local/295@from-phones").ended, seen.channel("PJSIP/100").hung_up
    assert answered is not None
    assert ended is not None
    talked = ended - answered
    assert talked >= talk.talk_seconds + 0.5  # what the one who refuses rings for
    assert call["talk_seconds"] == lateness.near(talked, 0.7)
