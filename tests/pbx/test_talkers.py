"""The phones that talk: what they say is heard, in ordinary calls of the test PBX."""

from __future__ import annotations

import pytest

from tests.pbx.conftest import StartTalker
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sound import HD, RINGBACK_HZ, ULAW, Codec
from tests.pbx.talker import Talker, TalkerCall
from tests.pbx.waiting import wait_until


def talk(asterisk: AsteriskHost, first: Talker, second: Talker) -> tuple[TalkerCall, TalkerCall]:
    """Have the first phone call the second, and wait until each hears the other's tone."""
    placed = first.call(second.number, (asterisk.address, 5060))
    taken = second.the_call()
    wait_until(
        lambda: placed.hears(second.hz) and taken.hears(first.hz), 10, "they hear each other"
    )
    return placed, taken


@pytest.mark.parametrize(
    ("first", "second", "codecs"),
    [("101", "201", [ULAW]), ("160", "260", [HD, ULAW])],
    ids=["G.711", "G.722"],
)
def test_they_hear_each_other(
    asterisk: AsteriskHost, talker: StartTalker, first: str, second: str, codecs: list[Codec]
) -> None:
    """Each the other's tone and not its own, from the PBX."""
    phones = talker(first, *codecs), talker(second, *codecs)
    placed, taken = talk(asterisk, *phones)
    assert placed.share_of(phones[0].hz) < 0.1
    assert {call.codec for call in (placed, taken)} == {codecs[0]}
    assert {host for host, _ in placed.sources} == {asterisk.address}
    phones[0].hang_up(placed)
    wait_until(lambda: taken.ended_at, 10, "the other side is told")
    assert (placed.hung_up, taken.hung_up) == (True, False)


def test_their_codecs_differ(asterisk: AsteriskHost, talker: StartTalker) -> None:
    """The PBX translates."""
    first, second = talker("160", HD, ULAW), talker("201")
    placed, taken = talk(asterisk, first, second)
    assert taken.codec is ULAW
    second.hang_up(taken)
    wait_until(lambda: placed.ended_at, 10, "the other side is told")


def test_direct_media(asterisk: AsteriskHost, talker: StartTalker) -> None:
    """Each is told in mid-call where the other one is, and hears it from there."""
    first, second = talker("170"), talker("270")
    placed, taken = talk(asterisk, first, second)
    phones = {asterisk.phones_address}
    wait_until(
        lambda: {host for call in (placed, taken) for host, _ in call.heard_from()} == phones,
        10,
        "the voices go straight",
    )
    assert placed.hears(second.hz)
    assert taken.hears(first.hz)
    first.hang_up(placed)
    wait_until(lambda: taken.ended_at, 10, "the other side is told")


def test_refusals_and_ringing(asterisk: AsteriskHost, talker: StartTalker) -> None:
    """Busy is told; a call that rings may be given up."""
    first, busy, rings = (
        talker("101"),
        talker("201", final=486),
        talker("202", ring_seconds=None),
    )
    refused = first.call(busy.number, (asterisk.address, 5060))
    wait_until(lambda: refused.ended_at, 10, "it is refused")
    assert refused.statuses[-1] == 486
    given_up = first.call(rings.number, (asterisk.address, 5060))
    ringing = rings.the_call()
    wait_until(lambda: 180 in given_up.statuses, 10, "it rings")
    first.hang_up(given_up)
    wait_until(lambda: ringing.ended_at and given_up.ended_at, 10, "it is given up")
    assert (ringing.answered_at, given_up.statuses[-1]) == (None, 487)


def test_a_tone_of_the_pbx(asterisk: AsteriskHost, talker: StartTalker) -> None:
    """Who calls by way of an answered channel hears it ring, and then the other's tone."""
    first, second = talker("101"), talker("201", ring_seconds=1.0)
    asterisk.cli("channel originate PJSIP/101 extension 201@from-phones")
    call, other = first.the_call(), second.the_call()
    wait_until(lambda: call.hears(second.hz), 10, "it hears the other")
    answered = other.answered_at
    assert answered is not None
    assert call.share_of(*RINGBACK_HZ, since=answered - 0.6, until=answered - 0.05) > 0.8
    first.hang_up(call)
    wait_until(lambda: other.ended_at, 10, "the other side is told")
