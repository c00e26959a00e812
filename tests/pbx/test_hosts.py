"""The equipment itself: what the Asterisks, the phones and the witness are, and that they agree."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pbx.sip_scenario import (
    ANSWERS,
    BUSY,
    DECLINES,
    NOT_FOUND,
    RINGS_FOR_EVER,
    UNAVAILABLE,
    Behaviour,
)
from tests.pbx.sockets import open_sockets
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

if TYPE_CHECKING:
    from tests.pbx.conftest import StartPhone
    from tests.pbx.hosts import AsteriskHost
    from tests.pbx.lateness import Lateness
    from tests.pbx.witness import CallSeen

#: How far two clocks of one call may be apart: events travel through threads and sockets.
SLACK = 0.25


def _originate(witness: Witness, channel: str, **place: str) -> str:
    """Place a call to an application, or what else AMI's headers say; return its id."""
    linkedid = f"hosts-{uuid.uuid4()}"
    answer = witness.action("Originate", Channel=channel, ChannelId=linkedid, Async="true", **place)
    assert answer["Response"] == "Success", answer
    return linkedid


def _originate_to(witness: Witness, channel: str, exten: str) -> str:
    """Place a call to what a phone would dial; return its id."""
    return _originate(witness, channel, Context="from-phones", Exten=exten, Priority="1")


def test_asterisk_is_the_version_it_says(asterisk: AsteriskHost) -> None:
    """Each host runs the major version that it is named for."""
    assert asterisk.cli("core show version").startswith(f"Asterisk {asterisk.version}.")


def test_agent_can_log_in(asterisk: AsteriskHost) -> None:
    """The shipped manager.d file makes a user whom AMI greets and lets in."""
    with socket.create_connection((asterisk.address, asterisk.ami_port), timeout=5) as connection:
        stream = connection.makefile("rb")
        assert stream.readline().startswith(b"Asterisk Call Manager/")
        user = f"Username: {asterisk.ami_username}\r\nSecret: {asterisk.ami_secret}\r\n"
        connection.sendall(f"Action: Login\r\n{user}\r\n".encode())
        assert stream.readline() == b"Response: Success\r\n"


def test_shipped_dialplan_is_loaded(asterisk: AsteriskHost) -> None:
    """The shipped contexts are there beside the test PBX's own, without any complaint."""
    for context in ("c2c-first", "c2c-bridge", "c2c-answered", "from-phones", "limited"):
        assert f"[ Context '{context}' created by 'pbx_config' ]" in asterisk.cli(
            f"dialplan show {context}"
        )
    # What other tests do to it comes after that.
    start = asterisk.logs().partition("Asterisk Ready.")[0]
    assert [line for line in start.splitlines() if "ERROR" in line] == []


@pytest.mark.parametrize(("number", "context"), [("100", "from-phones"), ("150", "limited")])
def test_phones_have_a_context_and_an_account(witness: Witness, number: str, context: str) -> None:
    """AMI tells each phone's context, caller ID and account: what a dial_as is resolved to."""
    expected = {
        "context": context,
        "callerid": f'"Phone {number}" <{number}>',
        "accountcode": f"acct{number}",
    }
    for parameter, value in expected.items():
        answer = witness.action("Getvar", Variable=f"PJSIP_ENDPOINT({number},{parameter})")
        assert answer["Value"] == value


def test_two_phones_talk(phone: StartPhone, witness: Witness, lateness: Lateness) -> None:
    """Voice goes both ways, and phones and witness measure the same call."""
    first = phone("100", Behaviour(ring_seconds=0.5))
    second = phone("200", Behaviour(ring_seconds=0.8, talk_seconds=1.5))
    linkedid = _originate_to(witness, "PJSIP/100", "200")
    second.wait_for(lambda call: call.answered_at, 5, "it answers")
    wait_until(lambda: first.packets_heard > 10, 5, "the first hears the second")
    wait_until(lambda: second.packets_heard > 10, 5, "the second hears the first")

    seen = witness.wait_until_gone(linkedid, 5)
    assert seen.originates == 1
    assert [seen.channel(name).cause for name in ("PJSIP/100", "PJSIP/200")] == [16, 16]
    assert len({stay.bridge for stay in seen.stays}) == 1

    called = second.wait_for(lambda call: call.ended_at, 5, "it has hung up")
    assert called.hung_up_by == "phone"
    assert called.ring_seconds == lateness.near(0.8, SLACK)
    assert called.ring_seconds == lateness.near(seen.ring_seconds("PJSIP/200"), SLACK)
    assert called.talk_seconds == lateness.near(1.5, SLACK)
    assert called.talk_seconds == lateness.near(seen.talk_seconds("PJSIP/200"), SLACK)
    assert called.answered_at == lateness.near(seen.dial("PJSIP/200").ended, SLACK)

    caller = first.wait_for(lambda call: call.ended_at, 5, "it was hung up")
    assert caller.hung_up_by == "pbx"
    assert caller.ring_seconds == lateness.near(0.5, SLACK)
    assert (first.complaints(), second.complaints()) == ([], [])


def test_phone_shows_the_caller(phone: StartPhone, witness: Witness) -> None:
    """The INVITE that a phone got can be read: name, number, any header."""
    phone("100")
    second = phone("200", Behaviour(talk_seconds=0.2))
    linkedid = _originate_to(witness, "PJSIP/100", "200")
    witness.wait_until_gone(linkedid, 5)
    (invite,) = second.invites()
    assert (invite.caller_name, invite.caller_number) == ("Phone 100", "100")
    assert invite.header("user-agent") == "c2c-agent test PBX"
    assert invite.body.startswith("v=0")


@pytest.mark.parametrize(
    ("behaviour", "cause", "status"),
    [(BUSY, 17, 486), (DECLINES, 21, 603), (UNAVAILABLE, 19, 480), (NOT_FOUND, 1, 404)],
    ids=["busy", "declines", "unavailable", "not-found"],
)
def test_refusals(
    phone: StartPhone,
    witness: Witness,
    behaviour: Behaviour,
    cause: int,
    status: int,
) -> None:
    """A phone that refuses gives the hangup cause that Asterisk has for its status."""
    refusing = phone("100", behaviour)
    linkedid = _originate_to(witness, "PJSIP/100", "200")
    seen = witness.wait_until_gone(linkedid, 5)
    assert seen.channel("PJSIP/100").cause == cause
    refusing.whole_call()
    assert [call.final_status for call in refusing.calls()] == [status]
    assert not seen.has("PJSIP/200")


def test_phone_rings_until_the_caller_gives_up(
    asterisk: AsteriskHost, phone: StartPhone, witness: Witness, lateness: Lateness
) -> None:
    """An Originate's timeout reaches the phone as a CANCEL, which it answers as it should."""
    ringing = phone("100", RINGS_FOR_EVER)
    witness.action(
        "Originate",
        Channel="PJSIP/100",
        ChannelId="given-up",
        Timeout="1200",
        Async="true",
        Context="from-phones",
        Exten="200",
        Priority="1",
    )
    seen = witness.wait_until_gone("given-up", 5)
    assert seen.originates == 1
    call = ringing.wait_for(lambda call: call.final_status, 2, "it was given up")
    assert call.cancelled_at is not None
    assert call.ring_seconds == lateness.near(1.2, SLACK)
    assert call.final_status == 487
    assert (call.answered_at, call.hung_up_by) == (None, None)
    assert ringing.complaints() == []
    wait_until(lambda: not asterisk.core_show_channels(), 5, "no channel is left")


def test_first_phone_hangs_up_while_the_second_rings(phone: StartPhone, witness: Witness) -> None:
    """The second phone stops ringing when the first has had enough."""
    first = phone("100", Behaviour(talk_seconds=1))
    second = phone("200", RINGS_FOR_EVER)
    linkedid = _originate_to(witness, "PJSIP/100", "200")
    seen = witness.wait_until_gone(linkedid, 5)
    assert seen.dial("PJSIP/200").status == "CANCEL"
    second.wait_for(lambda call: call.final_status == 487, 5, "it was cancelled")
    first.whole_call()
    assert [call.hung_up_by for call in first.calls()] == ["phone"]


def test_phone_hangs_up_on_an_application(
    asterisk: AsteriskHost, phone: StartPhone, witness: Witness
) -> None:
    """A phone's BYE that finds no other phone in the call: Asterisk 22 notes no cause for it."""
    phone("100", Behaviour(talk_seconds=0.5))
    linkedid = _originate_to(witness, "PJSIP/100", "298")
    seen = witness.wait_until_gone(linkedid, 5)
    assert seen.channel("PJSIP/100").cause == {"16": 16, "22": 0}[asterisk.version]


def test_pbx_hangs_up(phone: StartPhone, witness: Witness, lateness: Lateness) -> None:
    """A phone that talks for ever takes a BYE."""
    talking = phone("100", ANSWERS)
    linkedid = _originate_to(witness, "PJSIP/100", "293")
    witness.wait_until_gone(linkedid, 5)
    call = talking.wait_for(lambda call: call.hung_up_by, 5, "somebody hung up")
    assert call.hung_up_by == "pbx"
    assert call.talk_seconds == lateness.near(1, SLACK)
    assert len(talking.calls()) == 1


def test_early_media_without_ringing(
    asterisk: AsteriskHost, phone: StartPhone, witness: Witness, lateness: Lateness
) -> None:
    """A phone can speak before it answers, and need not ring at all."""
    early = phone("100", Behaviour(ring_seconds=0.5, ringing=False, early_media=True))
    linkedid = _originate_to(witness, "PJSIP/100", "298")
    wait_until(lambda: _packets(asterisk, "100") > 10, 5, "its voice arrives")
    early.hang_up()
    seen = witness.wait_until_gone(linkedid, 5)
    assert seen.ring_seconds("PJSIP/100") is None
    (call,) = early.calls()
    assert (call.ringing_at, call.ring_seconds) == (None, None)
    assert call.early_media_at is not None
    assert call.answered_at == lateness.near(call.early_media_at + 0.5, SLACK)


def test_phone_takes_calls_at_once_and_in_turn(phone: StartPhone, witness: Witness) -> None:
    """One phone has as many lines as it needs."""
    busy_bee = phone("100", Behaviour(ring_seconds=1))
    for _ in range(2):
        ids = [_originate_to(witness, "PJSIP/100", "298") for _ in range(3)]
        for _ in ids:
            busy_bee.hang_up()
        for linkedid in ids:
            assert witness.wait_until_gone(linkedid, 5).originates == 1
    calls = busy_bee.calls()
    assert [call.final_status for call in calls] == [200] * 6
    starts, ends = (
        [call.invite.at for call in calls],
        [call.ended_at or 0 for call in calls],
    )
    assert max(starts[:3]) < min(ends[:3])
    assert max(ends[:3]) < min(starts[3:])
    assert busy_bee.complaints() == []


@pytest.mark.parametrize(
    ("exten", "status", "cause"),
    [("290", "BUSY", 17), ("291", "CONGESTION", 34), ("292", None, 21), ("299", "ANSWER", 16)],
)
def test_extensions_that_need_no_phone(
    witness: Witness, exten: str, status: str | None, cause: int
) -> None:
    """The test PBX's own numbers behave as its dialplan says."""
    linkedid = _originate(witness, f"Local/{exten}@from-phones/n", Application="Wait", Data="1")
    seen = witness.wait_until_gone(linkedid, 8)
    inner = next(channel for channel in seen.channels if channel.name.endswith(";2"))
    assert inner.cause == cause
    if status is not None:
        assert seen.dials[0].status == status


def test_limited_context(asterisk: AsteriskHost) -> None:
    """Phone 150 reaches the phones 200 to 209 and nothing else."""
    for exten, there in (("200", True), ("209", True), ("210", False), ("100", False)):
        shown = asterisk.cli(f"dialplan show {exten}@limited")
        assert ("There is no existence" not in shown) is there


def test_cdrs_name_the_account(asterisk: AsteriskHost, phone: StartPhone, witness: Witness) -> None:
    """What was billed to whom can be read, call by call."""
    phone("100")
    phone("200", Behaviour(talk_seconds=0.2))
    linkedid = _originate_to(witness, "PJSIP/100", "200")
    witness.wait_until_gone(linkedid, 8)
    rows = wait_until(lambda: asterisk.cdrs(linkedid), 5, "the CDRs are written")
    assert [(row["accountcode"], row["dst"], row["disposition"]) for row in rows] == [
        ("acct100", "200", "ANSWERED")
    ]


def test_asterisk_restarts_and_crashes(asterisk: AsteriskHost) -> None:
    """Asterisk comes back with what it knew: after a restart, and after it was killed.

    (What it wrote to AstDB within the last second before it was killed may be lost: it commits
    once a second.)
    """
    entry = {"key": "value,of:some/length"}
    asterisk.cli("database put c2c-test key value,of:some/length")
    asterisk.restart()
    assert asterisk.database("c2c-test") == entry
    asterisk.kill()
    assert not asterisk.is_running()
    asterisk.start()
    assert asterisk.database("c2c-test") == entry
    asterisk.cli("database deltree c2c-test")
    assert asterisk.database("c2c-test") == {}


def test_witness_survives_a_crash(asterisk: AsteriskHost, witness: Witness) -> None:
    """When the PBX dies, the witness says so at once and keeps what it saw."""
    linkedid = _originate(witness, "Local/298@from-phones", Application="Wait", Data="30")

    def is_up(call: CallSeen) -> bool:
        return len(call.channels) == 2 and all(channel.created for channel in call.channels)

    seen = witness.wait_for(linkedid, is_up, 5, "it is up")
    asterisk.kill()
    wait_until(lambda: not witness.is_connected(), 5, "the witness has noticed")
    with pytest.raises(ConnectionError):
        witness.action("Ping")
    assert witness.call(linkedid).channels == seen.channels
    asterisk.start()
    with Witness(asterisk) as second:
        assert second.action("Ping")["Response"] == "Success"


def test_phone_listens_on_its_own_address_only(phone: StartPhone) -> None:
    """No socket of a phone can be reached from another machine."""
    started = phone("100")
    inodes = open_sockets(started.pid)
    places = set()
    for table in ("udp", "udp6", "tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                places.add(fields[1].partition(":")[0])
    assert {bytes.fromhex(place)[::-1] for place in places} == {socket.inet_aton(started.address)}


def test_a_file_that_closes_while_sockets_are_counted() -> None:
    """It is not there, and no more: this process closes the folder itself once it has read it."""
    with socket.socket() as one, socket.socket() as another:
        both = {str(os.fstat(each.fileno()).st_ino) for each in (one, another)}
        assert both <= open_sockets(os.getpid())
    assert not both & open_sockets(os.getpid())


def _packets(host: AsteriskHost, number: str) -> int:
    """Return how many packets of voice Asterisk has received from a phone so far."""
    for line in host.cli("pjsip show channelstats").splitlines():
        fields = line.split()
        if any(field.startswith(f"{number}-") for field in fields[:2]) and "ulaw" in fields:
            return int(fields[fields.index("ulaw") + 1])
    return 0
