"""The ids that channels are made with, and whose call a channel or an event is of."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.ami.message import Message
from c2c_agent.pbx.asterisk.channel_id import (
    check_id,
    is_of_check,
    request_id_of,
    request_of,
    root_id,
)

ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
ROOT = "c2c-frhxqgsievgqtjltfwditzlifm"

#: What a FreePBX's table of CDRs has room for, as Uniqueid and as Linkedid.
ROOM = 32

#: What an Asterisk makes whose `systemname` begins as our ids do.
FOREIGN = (
    *("c2c-pbx1-1795415440.12", "c2c-1795415440.12", "c2c-1795415440.12;2", "c2c--1795415440.1"),
    *(f"{ROOT}-17.1", f"{ROOT}a-17.1", f"{ROOT}.example-17.1"),
    *(f"c2c-{ID}-17.1", f"c2c-{ID}a-17.1"),
)


def event(name: str, **headers: str) -> Message:
    """An event with these headers."""
    lines = [f"Event: {name}", *(f"{key}: {value}" for key, value in headers.items())]
    return Message("\n".join(lines).encode())


def test_how_it_is_written() -> None:
    """As `base32` of the GNU coreutils writes the UUID's 16 bytes; in lower case."""
    assert root_id(ID) == ROOT
    assert root_id("00000000-0000-0000-0000-000000000000") == "c2c-" + 26 * "a"
    assert root_id("ffffffff-ffff-ffff-ffff-ffffffffffff") == "c2c-" + 25 * "7" + "4"


@given(st.uuids(allow_nil=True))
def test_there_and_back(request_id: UUID) -> None:
    """A request's id is read from that of its channel, whichever half it is."""
    root = root_id(str(request_id))
    assert len(root + ";2") == ROOM
    for uniqueid in (root, root + ";1", root + ";2"):
        assert request_of(uniqueid) == str(request_id)
    assert not is_of_check(root)


def test_of_version_0_1() -> None:
    """Calls that it has placed may go on over an upgrade."""
    assert request_of(f"c2c-{ID}") == request_of(f"c2c-{ID};2") == ID


@pytest.mark.parametrize(
    "uniqueid",
    [
        *("", "<unknown>", "17.1", "c2d-1", "c2c-", "c2c-1", ID, f"x{ROOT}", ROOT[4:]),
        *(ROOT[:-1], ROOT + "a", ROOT.upper(), ROOT + "\n", "c2c-" + 26 * "7"),
        *(f"c2c-{ID[:-1]}", f"c2c-{ID}0", f"c2c-{ID.upper()}"),
        *FOREIGN,
    ],
)
def test_only_a_whole_id_is_ours(uniqueid: str) -> None:
    """What merely begins so was made by a PBX that has such a name, or by somebody else."""
    assert request_of(uniqueid) is None
    assert not is_of_check(uniqueid)


def test_a_check_has_ids_of_its_own() -> None:
    """Each time another; none is a request's, and none is longer."""
    first, second = check_id(), check_id()
    assert first != second
    for one in (first, second):
        assert is_of_check(one)
        assert request_of(one) is None
        assert len(one + ";2") == ROOM


def test_foreign_events_are_of_no_call() -> None:
    """Without our prefix, or with no id at all, an event is nobody's."""
    assert request_id_of(event("Hangup", Linkedid="17.1")) is None
    assert request_id_of(event("OriginateResponse", Uniqueid="<unknown>")) is None
    assert request_id_of(event("FullyBooted")) is None
    for foreign in FOREIGN:
        assert request_id_of(event("Hangup", Uniqueid=foreign, Linkedid=foreign)) is None


def test_a_child_of_ours_on_a_pbx_whose_name_begins_as_our_ids_do() -> None:
    """It is known by its Linkedid, whatever its own id begins with."""
    assert request_id_of(event("Hangup", Uniqueid=FOREIGN[0], Linkedid=ROOT)) == ID


@pytest.mark.parametrize("uniqueid", [ROOT, ROOT + ";2"])
@pytest.mark.parametrize("linkedid", ["17.1", root_id("00000000-0000-0000-0000-000000000000")])
def test_a_channel_that_was_joined_with_another_call(uniqueid: str, linkedid: str) -> None:
    """It has that call's Linkedid, though it may be one of ours, and is known by its own id."""
    assert request_id_of(event("Hangup", Uniqueid=uniqueid, Linkedid=linkedid)) == ID


@pytest.mark.parametrize(
    "header",
    [
        *("DestLinkedid", "LocalOneLinkedid", "TransfererLinkedid", "OrigTransfererLinkedid"),
        *("SecondTransfererLinkedid", "TargetLinkedid"),
    ],
)
def test_an_event_of_two_channels(header: str) -> None:
    """Either may be of our call."""
    assert request_id_of(event("Any", Uniqueid="17.1", Linkedid="17.1", **{header: ROOT})) == ID
