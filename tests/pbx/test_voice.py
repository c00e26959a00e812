"""What the two hear, over which way, and what is dialled for it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from c2c_agent.policy.keys import key_digest
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartTalker
from tests.pbx.hosts import AsteriskHost
from tests.pbx.linkedid import linkedid_of
from tests.pbx.pbx_files import CALLER_NAMES, PHONE_PASSWORD
from tests.pbx.sound import HD, RINGBACK_HZ, ULAW, Codec
from tests.pbx.talker import Talker, TalkerCall
from tests.pbx.test_strangers import Stranger, environment
from tests.pbx.waiting import wait_until


def talk(agent: AgentProcess, first: Talker, second: Talker) -> tuple[str, TalkerCall, TalkerCall]:
    """Have the agent bring two phones together, and wait until each hears the other."""
    request_id = agent.call(first.number, second.number)
    calls = first.the_call(), second.the_call()
    wait_until(
        lambda: calls[0].hears(second.hz) and calls[1].hears(first.hz), 15, "they hear each other"
    )
    return request_id, *calls


def channels(asterisk: AsteriskHost) -> set[str]:
    """What is in use, without the numbers."""
    return {name.rpartition("-")[0] for name in asterisk.core_show_channels()}


def formats(asterisk: AsteriskHost) -> set[str]:
    """The formats of all channels that there are: native, read and written."""
    shown = [asterisk.cli(f"core show channel {name}") for name in asterisk.core_show_channels()]
    return set(re.findall(r"(?:NativeFormats|ReadFormat|WriteFormat): (\S+)", "\n".join(shown)))


class TestHeard:
    """Two phones, and nothing between them but the PBX."""

    @pytest.mark.parametrize(
        ("numbers", "codecs", "format_"),
        [(("100", "200"), [ULAW], "ulaw"), (("160", "260"), [HD, ULAW], "g722")],
        ids=["G.711", "G.722"],
    )
    def test_each_other_and_the_ringing_before(
        self,
        agent: AgentProcess,
        asterisk: AsteriskHost,
        talker: StartTalker,
        numbers: tuple[str, str],
        codecs: list[Codec],
        format_: str,
    ) -> None:
        """As in an ordinary call: two channels, one format, nothing is translated."""
        first = talker(numbers[0], *codecs)
        second = talker(numbers[1], *codecs, ring_seconds=1.0)
        request_id, call, other = talk(agent, first, second)
        answered = other.answered_at
        assert answered is not None
        assert call.share_of(*RINGBACK_HZ, since=answered - 0.6, until=answered - 0.05) > 0.8
        assert channels(asterisk) == {f"PJSIP/{number}" for number in numbers}
        assert formats(asterisk) == {f"({format_})", format_}
        assert {call.codec, other.codec} == {codecs[0]}
        second.hang_up(other)
        assert agent.ended(request_id)["hung_up_by"] == "second"

    def test_their_codecs_differ(
        self, agent: AgentProcess, asterisk: AsteriskHost, talker: StartTalker
    ) -> None:
        """Only between them it is translated."""
        first, second = talker("160", HD, ULAW), talker("200")
        request_id, call, other = talk(agent, first, second)
        assert channels(asterisk) == {"PJSIP/160", "PJSIP/200"}
        assert (call.codec, other.codec) == (HD, ULAW)
        first.hang_up(call)
        assert agent.ended(request_id)["hung_up_by"] == "first"

    def test_a_context_that_keeps_its_channel(
        self, asterisk: AsteriskHost, talker: StartTalker, tmp_path: object
    ) -> None:
        """As a rule says it: the Local channel stays, and they hear each other all the same."""
        rules = [{"match": "_X.", "channel": "Local/{number}@{context}", "optimize": False}]
        with AgentProcess(asterisk, tmp_path, asterisk_changes={"second_leg": rules}) as agent:  # type: ignore[arg-type]
            first, second = talker("100"), talker("200")
            request_id, _, other = talk(agent, first, second)
            assert "Local/200@from-phones" in channels(asterisk)
            second.hang_up(other)
            call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")


def test_direct_media_and_back(
    agent: AgentProcess, asterisk: AsteriskHost, talker: StartTalker
) -> None:
    """From phone to phone; through the PBX where somebody there is to hear it."""
    first, second = talker("170"), talker("270")
    request_id, call, other = talk(agent, first, second)

    def come_from(host: str) -> bool:
        return {place for one in (call, other) for place, _ in one.heard_from()} == {host}

    wait_until(lambda: come_from(asterisk.phones_address), 10, "the voices go straight")
    assert call.hears(second.hz)
    assert other.hears(first.hz)
    channel = agent.status(request_id)["call"]["dial_first"]["channel"]
    asterisk.cli(f"mixmonitor start {channel} /tmp/talk.wav")
    wait_until(lambda: come_from(asterisk.address), 10, "the voices go through the PBX")
    asterisk.cli(f"mixmonitor stop {channel}")
    wait_until(lambda: come_from(asterisk.phones_address), 10, "the voices go straight again")
    wait_until(lambda: call.hears(second.hz) and other.hears(first.hz), 10, "and are heard")
    first.hang_up(call)
    assert agent.ended(request_id)["outcome"] == "connected"


def test_the_limit_holds_on_the_light_way(agent: AgentProcess, talker: StartTalker) -> None:
    """From the answer on, with no Local channel that could keep it."""
    talker("100")
    second = talker("200", ring_seconds=1.5)
    request_id = agent.call("100", "200", max_duration="3")
    wait_until(lambda: second.calls and second.calls[0].ended_at, 20, "it is ended")
    call = agent.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
    [other] = second.calls
    assert other.answered_at is not None
    assert other.ended_at is not None
    assert 2.5 < other.ended_at - other.answered_at < 4.5
    assert not other.hung_up


#: The device with a name, which keys have to allow by that name.
RECEPTION = "reception"


@pytest.fixture(scope="module")
def dialling(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent whose key may have the reception rung."""
    keys = [{"name": "desk", "sha256": key_digest(KEY), "allow": ["_XXX", RECEPTION]}]
    with AgentProcess(asterisk, tmp_path_factory.mktemp("dialling"), {"keys": keys}) as agent:
        yield agent


#: Contacts that would dial somebody else, or change how is dialled.
FOREIGN = [
    "<sip:x&Local/101@from-phones>",
    "<sip:x%26Local/101@{phones}:6180>",
    "<sip:x&PJSIP/101/sip:101@{phones}:6101>",
    "<sip:x&PJSIP/101@247>",
    "<sip:x,2,rm(default)@{phones}:6180>",
    "<sip:x(@{phones}:6180>",
    "<sip:x/y@{phones}:6180>",
]


@pytest.mark.parametrize("device", ["180", RECEPTION])
class TestRegistered:
    """What a phone has registered as its address."""

    def placed(
        self,
        agent: AgentProcess,
        asterisk: AsteriskHost,
        talker: StartTalker,
        device: str,
        contact: str,
    ) -> tuple[Talker, list[Talker], dict[str, object]]:
        """The device with this contact is called: its phone, all others, and the call."""
        talker("200")
        others, own = [talker("101"), talker("247")], talker(device)
        place = (asterisk.address, 5060)
        contact = contact.format(phones=asterisk.phones_address, own=device, port=own.port)
        try:
            assert own.register(place, contact, PHONE_PASSWORD) == 200
            request_id = agent.call(device, "200", timeout="4", dial_as="100")
            wait_until(
                lambda: own.calls or agent.status(request_id)["call"]["state"] == "ended",
                10,
                "it rings, or is refused",
            )
            if own.calls:
                agent.reached(request_id, "connected")
                own.hang_up(own.calls[0])
            call = agent.ended(request_id)
        finally:
            own.register(place, "*", PHONE_PASSWORD, expires=0)
        return own, others, call

    @pytest.mark.parametrize("contact", FOREIGN)
    def test_foreign(
        self,
        dialling: AgentProcess,
        asterisk: AsteriskHost,
        talker: StartTalker,
        device: str,
        contact: str,
    ) -> None:
        """Nobody is rung by it, and the log says why."""
        since = time.time() - 1
        own, others, call = self.placed(dialling, asterisk, talker, device, contact)
        assert [phone.calls for phone in (own, *others)] == [[], [], []]
        assert call["outcome"] == "first_unreachable"
        told = f"{device} has registered an address that is not dialled"
        assert told in asterisk.logs(since)

    @pytest.mark.parametrize(
        "contact",
        [
            "<sip:{own}@{phones}:{port}>",
            "<sip:{own}@{phones}:{port};transport=udp;ob>",
            '"x&Local/101@from-phones,9" <sip:{own}@{phones}:{port}>',
        ],
        ids=["plain", "with-parameters", "with-a-hostile-name"],
    )
    def test_own(
        self,
        dialling: AgentProcess,
        asterisk: AsteriskHost,
        talker: StartTalker,
        device: str,
        contact: str,
    ) -> None:
        """It rings there, and nowhere else."""
        own, others, call = self.placed(dialling, asterisk, talker, device, contact)
        assert [len(phone.calls) for phone in (own, *others)] == [1, 0, 0]
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")

    @pytest.mark.parametrize("password", ["", "the-password-of-another-phone"])
    def test_a_stranger(
        self, asterisk: AsteriskHost, talker: StartTalker, device: str, password: str
    ) -> None:
        """Registers nothing without the password, and calls nobody in the name of the device."""
        place, second, stranger = (asterisk.address, 5060), talker("200"), talker(device)
        contact = f"<sip:{device}@{asterisk.phones_address}:{stranger.port}>"
        assert stranger.register(place, contact, password) == 401
        assert asterisk.cli("pjsip show contacts").count(f"{device}/sip:") == 0
        call = stranger.call("200", place, password)
        wait_until(lambda: call.ended_at, 10, "it is refused")
        assert call.statuses[-1] == 401
        own = stranger.call("200", place, PHONE_PASSWORD)
        wait_until(lambda: own.talks and second.calls, 10, "with its password it talks")
        stranger.hang_up(own)
        wait_until(lambda: second.calls[0].ended_at, 10, "its talk is over")
        assert len(second.calls) == 1


def test_a_user_with_a_hostile_name(agent: AgentProcess, talker: StartTalker) -> None:
    """It is shown as it is, and is no argument of anything; as whoever the call is made."""
    third, first, second = talker("101"), talker("193"), talker("200")
    request_id, call, other = talk(agent, first, second)
    name = other.invite.header("From").partition(" <")[0]
    assert name.strip('"').replace("\\", "") == CALLER_NAMES["193"]
    first.hang_up(call)
    ended = agent.ended(request_id)
    assert (ended["outcome"], ended["hung_up_by"]) == ("connected", "first")
    assert third.calls == []
    assert [len(phone.calls) for phone in (first, second)] == [1, 1]


def test_a_stranger_who_knows_the_request(agent: AgentProcess, talker: StartTalker) -> None:
    """In the moment in which the first has answered: the secret is asked for, nothing is told."""
    first, second = talker("100", ring_seconds=None), talker("200")
    request_id = agent.call("100", "200")
    ringing = first.the_call()
    for uniqueid in ("1795415440.12", linkedid_of(request_id)):
        stranger = Stranger(agent)
        named = environment(uniqueid)[:-1] + f"agi_arg_1: {request_id}\n\n".encode()
        stranger.say(named)
        assert stranger.hears_line() == b'GET VARIABLE "C2C_SECRET"\n'
        stranger.say(b"200 result=1 (0123456789abcdef0123456789abcdef)\n")
        assert stranger.hears_line() == b'SET VARIABLE "C2C_DONE" "1"\n'
        stranger.say(b"200 result=1\n")
        assert stranger.hears_until_closed() == b""
    first.answer(ringing)
    other = second.the_call()
    wait_until(lambda: other.talks, 10, "the call goes on as if nothing had been")
    second.hang_up(other)
    assert agent.ended(request_id)["outcome"] == "connected"
    assert "_C2C_SECRET=(not shown)" in str(agent.status(request_id)["pbx_request"])
