"""What the witness makes of events and records: what happened, and when it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.pbx.channel_log import Record
from tests.pbx.witness import CallSeen, SeenEvent, summarise

#: When all the events were written, one after the other: Asterisk's AMI thread had to wait.
LATE = 100.0


def seen(records: Mapping[str, Sequence[Record]], *events: tuple[str, dict[str, str]]) -> CallSeen:
    """Put a call together whose events all came late."""
    told = [
        SeenEvent(LATE + 0.001 * number, name, headers)
        for number, (name, headers) in enumerate(events)
    ]
    return summarise("c2c-1", told, lambda channel: records.get(channel, ()))


ROOT = {"Uniqueid": "c2c-1", "Channel": "Local/200@x;1"}
CALLEE = {"Uniqueid": "5.1", "Channel": "PJSIP/200-1"}
DIAL = {"Uniqueid": "c2c-1", "DestUniqueid": "5.1"}
EVENTS = [
    ("Newchannel", ROOT),
    ("Newchannel", CALLEE),
    ("DialBegin", DIAL),
    ("DialState", {**DIAL, "DialStatus": "RINGING"}),
    ("DialEnd", {**DIAL, "DialStatus": "ANSWER"}),
    ("Hangup", {**CALLEE, "Cause": "16"}),
    ("Hangup", {**ROOT, "Cause": "16"}),
]
RECORDS = {
    "c2c-1": [
        Record("CHAN_START", 90.0, "c2c-1", None),
        Record("BRIDGE_ENTER", 92.1, "c2c-1", "b-1"),
        Record("BRIDGE_EXIT", 94.5, "c2c-1", "b-1"),
        Record("BRIDGE_ENTER", 94.6, "c2c-1", "b-2"),
        Record("BRIDGE_EXIT", 94.7, "c2c-1", "b-2"),
        Record("HANGUP", 95.0, "c2c-1", None),
    ],
    "5.1": [
        Record("CHAN_START", 90.5, "5.1", None),
        Record("ANSWER", 92.0, "5.1", None),
        Record("HANGUP", 94.5, "5.1", None),
    ],
}


def test_times_are_those_of_the_records() -> None:
    """However late the events were written."""
    call = seen(RECORDS, *EVENTS)
    assert [(one.created, one.hung_up) for one in call.channels] == [(90.0, 95.0), (90.5, 94.5)]
    assert call.talk_seconds("PJSIP/200") == 2.5
    assert call.dial("PJSIP/200").ended == 92.0
    assert call.is_gone
    assert [(one.bridge, one.entered, one.left) for one in call.stays] == [
        ("b-1", 92.1, 94.5),
        ("b-2", 94.6, 94.7),
    ]


def test_a_stay_that_goes_on() -> None:
    """Entered and not left."""
    records = {"5.1": [*RECORDS["5.1"][:2], Record("BRIDGE_ENTER", 92.1, "5.1", "b-1")]}
    (stay,) = seen(records, *EVENTS[:5]).stays
    assert (stay.channel, stay.entered, stay.left) == ("5.1", 92.1, None)


def test_an_end_whose_record_is_still_to_come() -> None:
    """It has no time yet, so it is waited for."""
    records = {**RECORDS, "5.1": RECORDS["5.1"][:2]}
    call = seen(records, *EVENTS)
    assert call.channel("PJSIP/200").hung_up is None
    assert call.talk_seconds("PJSIP/200") is None
    assert not call.is_gone


def test_a_beginning_whose_record_is_still_to_come() -> None:
    """It has no time yet, and no other one."""
    call = seen({}, *EVENTS[:2])
    assert [(one.name, one.created) for one in call.channels] == [
        ("Local/200@x;1", None),
        ("PJSIP/200-1", None),
    ]
    assert call.originates == 1


def test_a_record_whose_event_is_still_to_come() -> None:
    """The cause of the end is in the event."""
    assert not seen(RECORDS, *EVENTS[:5]).is_gone


def test_a_refusal() -> None:
    """It is in no record: its time is that of the event."""
    refused = ("DialEnd", {**DIAL, "DialStatus": "BUSY"})
    dial = seen(RECORDS, *EVENTS[:4], refused).dial("PJSIP/200")
    assert (dial.status, dial.ended, dial.rang) == ("BUSY", LATE + 0.004, LATE + 0.003)
