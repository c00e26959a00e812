"""Whole calls as both Asterisks told them: legs, evidence, outcome, in whatever order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Final

import pytest

from c2c_agent.ami.message import Message, Receiver
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    LegEvent,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import Attempt, CallEvidence, Leg, LegEvidence, SaidBy
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.verdict import verdict
from c2c_agent.pbx.asterisk.call_trace import CallTrace, tells_of_legs
from c2c_agent.pbx.asterisk.channel_id import request_id_of, root_id
from c2c_agent.pbx.asterisk.channel_tree import CALLERS_CONTEXTS
from c2c_agent.pbx.asterisk.evidence import DialResult, dial_report, with_dial_report
from tests.fakes import uuid
from tests.playbook import a_call

TRANSCRIPTS: Final = sorted((Path(__file__).parents[3] / "transcripts").glob("call-*.txt"))
ROOT: Final = root_id(uuid(1))

#: Ids that an Asterisk makes whose `systemname` begins as our ids do.
FOREIGN: Final = (
    *("c2c-pbx1-1795415440.12", "c2c-1795415440.12", "c2c-1795415440.12;2", "c2c--1795415440.1"),
    *(f"{root_id(uuid(1))}-17.1", f"{root_id(uuid(1))}a-17.1", f"{root_id(uuid(1))}.example-17.1"),
    *(f"c2c-{uuid(1)}-17.1", f"c2c-{uuid(1)}a-17.1"),
)
SHIPPED: Final = Path(__file__).parents[4] / "asterisk-conf"

#: What a story's legs show: leg events in order, and who hung up.
STORIES: Final = {
    "connected-second-hangs-up": ("R1 A1 D R2 A2", Leg.SECOND),
    "connected-first-hangs-up": ("R1 A1 D R2 A2", Leg.FIRST),
    "connected-cancelled": ("R1 A1 D R2 A2", None),
    "far-side-ends-by-itself": ("R1 A1 D A2", Leg.SECOND),
    "first-busy": ("R1", None),
    "first-declines": ("R1", None),
    "first-unavailable": ("", None),
    "first-not-found": ("", None),
    "first-never-answers": ("R1", None),
    "first-no-such-extension": ("", None),
    "first-cancelled": ("R1", None),
    "first-dialplan-says-busy": ("", None),
    "second-busy": ("R1 A1 D R2", None),
    "second-declines": ("R1 A1 D R2", None),
    "second-unavailable": ("R1 A1 D", None),
    "second-never-answers": ("R1 A1 D R2", None),
    "second-no-such-extension": ("R1 A1", None),
    "second-dialplan-says-busy": ("R1 A1 D", None),
    "second-cancelled": ("R1 A1 D R2", None),
    "abandoned": ("R1 A1 D R2", Leg.FIRST),
    "device-as-first-leg": ("R1 A1 D R2 A2", Leg.SECOND),
}

#: What Dial itself tells of a second leg that no channel was ever made for.
NO_CHANNEL: Final = DialResult(status="CHANUNAVAIL", cause=0)

LETTERS: Final = {
    FirstRinging: "R1",
    FirstAnswered: "A1",
    SecondDialed: "D",
    SecondRinging: "R2",
    SecondAnswered: "A2",
}


def name_of(path: Path) -> str:
    """A story's name, without the version."""
    return re.sub(r"call-asterisk-[\d.]+-", "", path.stem)


@cache
def content(path: Path) -> tuple[str, bytes]:
    """The outcome that a transcript's head tells, and the bytes."""
    first, second, data = path.read_bytes().split(b"\n", 2)
    assert first.startswith(b"# Asterisk")
    return second.decode().rpartition(": ")[2], data.replace(b"c2c-REQUEST-ID", ROOT.encode())


@cache
def events(path: Path) -> tuple[Message, ...]:
    """The events of a transcript."""
    return tuple(message for message in Receiver().receive(content(path)[1]) if message.is_event)


def follow(told: Iterable[Message], trace: CallTrace | None = None) -> tuple[CallTrace, str]:
    """Follow events, one a second; the trace, and the leg events as letters."""
    trace = trace or CallTrace(ROOT, 20)
    happened: list[LegEvent] = []
    for second, event in enumerate(told):
        happened += trace.observe(event, float(second))
    return trace, " ".join(LETTERS[type(event)] for event in happened)


def outcome_of(trace: CallTrace, name: str) -> Outcome:
    """The outcome that the evidence gives, with what FastAGI adds."""
    evidence = trace.evidence()
    if name == "second-no-such-extension":
        evidence = with_dial(evidence, NO_CHANNEL, 99.0)
    return outcome(evidence, cancelled=name in {"first-cancelled", "second-cancelled"})


def with_dial(watched: CallEvidence, result: DialResult, at: float) -> CallEvidence:
    """What was watched, and what FastAGI told at that time."""
    return with_dial_report(watched, dial_report(watched, result, ahead=0.0, now=at))


def outcome(evidence: CallEvidence, *, cancelled: bool) -> Outcome:
    """That of a call of which nothing else is known."""
    return verdict(a_call(cancelled=cancelled), evidence).outcome


def event(name: str, **headers: str) -> Message:
    """An event with these headers."""
    lines = [f"Event: {name}", *(f"{key}: {value}" for key, value in headers.items())]
    return Message("\n".join(lines).encode())


every_transcript = pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)


@every_transcript
def test_the_legs_and_the_outcome(path: Path) -> None:
    """Each story shows its legs in order, who hung up, and the outcome that the agent gave."""
    name = name_of(path)
    trace, legs = follow(events(path))
    expected, hung_up_by = STORIES[name]
    assert legs == expected
    assert trace.all_gone
    assert trace.is_explained
    assert trace.evidence().hung_up_by is hung_up_by
    assert outcome_of(trace, name) == content(path)[0]


@every_transcript
def test_it_all_gone_when_the_last_channel_is_gone(path: Path) -> None:
    """Not before, and never again otherwise."""
    told = events(path)
    last = max(index for index, event in enumerate(told) if event.event == "Hangup")
    trace, _ = follow(told[:last])
    assert not trace.all_gone
    trace, _ = follow(told[: last + 1])
    assert trace.all_gone


@every_transcript
def test_the_answer_to_the_order_may_come_at_any_time(path: Path) -> None:
    """OriginateResponse travels a way of its own; wherever it comes, the outcome is the same."""
    name = name_of(path)
    told = list(events(path))
    answer = next(event for event in told if event.event == "OriginateResponse")
    told.remove(answer)
    for position in range(len(told) + 1):
        trace, _ = follow([*told[:position], answer, *told[position:]])
        assert trace.is_explained
        assert outcome_of(trace, name) == content(path)[0], position


@every_transcript
def test_an_answered_first_has_its_channel(path: Path) -> None:
    """Also where the answer to the order overtakes everything else."""
    told = list(events(path))
    answer = next(event for event in told if event.event == "OriginateResponse")
    told.remove(answer)
    trace = CallTrace(ROOT, 20)
    happened = [one for event in (answer, *told) for one in trace.observe(event, 1.0)]
    channels = [one.channel for one in happened if isinstance(one, FirstAnswered)]
    assert len(channels) == STORIES[name_of(path)][0].count("A1")
    assert all(channels)


@every_transcript
def test_each_byte_alone(path: Path) -> None:
    """The stream gives the same events when every byte comes alone."""
    receiver = Receiver()
    messages = [message for byte in content(path)[1] for message in receiver.receive(bytes([byte]))]
    assert tuple(message for message in messages if message.is_event) == events(path)


@pytest.mark.parametrize("version", ["16", "22"])
def test_every_split_point(version: str) -> None:
    """The shortest story of each version, cut in two at every byte."""
    ours = [path for path in TRANSCRIPTS if f"asterisk-{version}" in path.stem]
    path = min(ours, key=lambda path: path.stat().st_size)
    data = content(path)[1]
    for cut in range(len(data) + 1):
        receiver = Receiver()
        messages = receiver.receive(data[:cut]) + receiver.receive(data[cut:])
        assert tuple(message for message in messages if message.is_event) == events(path)


@every_transcript
def test_all_events_are_known_to_be_of_the_call(path: Path) -> None:
    """Each event leads to the request, but for bridges, which no channel is named by."""
    for event in events(path):
        assert request_id_of(event) == uuid(1), event.event


@every_transcript
def test_the_shipped_filter(path: Path) -> None:
    """It lets through exactly the events of the call that tell of its legs."""
    lines = (SHIPPED / "manager.d" / "c2c-agent.conf").read_text(encoding="utf-8").splitlines()
    [pattern] = [line.partition(" = ")[2] for line in lines if line.startswith("eventfilter =")]
    # POSIX regular expressions, as Asterisk has them, know no lines.
    passing = re.compile(pattern, re.DOTALL)
    for event in events(path):
        text = "".join(f"{name}: {value}\r\n" for name, value in event.headers)
        of_0_1 = f"c2c-{uuid(1)}"  # a call that goes on over an upgrade
        for root in (ROOT, of_0_1):
            told = bool(passing.search(text.replace(ROOT, root)))
            assert told is tells_of_legs(event), event.event
        for foreign in ("17.1", *FOREIGN):
            picked_up = text.replace(ROOT, foreign)
            in_ours = any(f"Context: {name}\r\n" in picked_up for name in CALLERS_CONTEXTS)
            assert bool(passing.search(picked_up)) is (tells_of_legs(event) and in_ours)
            assert not passing.search(re.sub(r"Context: c2c-\w+", r"\g<0>-too", picked_up))


#: The halves of the second leg's Local channel, and the first leg's near half.
NEAR: Final = {"DestUniqueid": "l1", "DestChannel": "Local/200@x-1;1"}
FIRST: Final = {"DestUniqueid": "c2c-1", "DestChannel": "Local/100@x-0;1"}


def second_is_dialled(at: float) -> CallTrace:
    """A call whose first leg was answered, and whose second is being dialled."""
    trace = CallTrace("c2c-1", 20)
    trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel=FIRST["DestChannel"]), at)
    trace.observe(event("DialEnd", DialStatus="ANSWER", **FIRST), at)
    halves = {
        "LocalOneUniqueid": "l1",
        "LocalOneChannel": NEAR["DestChannel"],
        "LocalTwoUniqueid": "l2",
        "LocalTwoChannel": "Local/200@x-1;2",
    }
    trace.observe(event("LocalBridge", **halves), at)
    trace.observe(event("DialBegin", Uniqueid="c2c-1", **NEAR), at)
    return trace


def talk(at: float) -> CallTrace:
    """A call whose second leg is a dialplan that has answered by itself."""
    trace = second_is_dialled(at)
    trace.observe(event("DialEnd", Uniqueid="c2c-1", DialStatus="ANSWER", **NEAR), at)
    return trace


def phone(number: str) -> dict[str, str]:
    """A phone of the second leg, as the one that is dialled."""
    return {"DestUniqueid": number, "DestChannel": f"PJSIP/{number}-1"}


def dials(trace: CallTrace, number: str, at: float) -> None:
    """The dialplan behind the second leg rings a phone."""
    trace.observe(event("DialBegin", Uniqueid="l2", **phone(number)), at)
    trace.observe(event("DialState", Uniqueid="l2", DialStatus="RINGING", **phone(number)), at)


def answers(trace: CallTrace, number: str, at: float) -> None:
    """That phone answers."""
    trace.observe(event("DialEnd", Uniqueid="l2", DialStatus="ANSWER", **phone(number)), at)


def refuses(trace: CallTrace, number: str, at: float, cause: str) -> None:
    """That phone refuses: its channel was never up."""
    channel = {"Uniqueid": number, "Channel": f"PJSIP/{number}-1", "ChannelStateDesc": "Ringing"}
    trace.observe(event("HangupRequest", Cause=cause, **channel), at)
    trace.observe(event("DialEnd", Uniqueid="l2", DialStatus="BUSY", **phone(number)), at)
    trace.observe(event("Hangup", Cause=cause, **channel), at)


def rings_out(trace: CallTrace, number: str, at: float, status: str = "NOANSWER") -> None:
    """The dialplan gives that phone up."""
    trace.observe(event("DialEnd", Uniqueid="l2", DialStatus=status, **phone(number)), at)


class TestSeveralPhones:
    """A second leg behind which several phones are rung, for less than the request's timeout."""

    def outcome(self, trace: CallTrace, status: str, cause: int, at: float) -> Outcome:
        """What comes of the call where Dial says this of the leg as a whole."""
        trace.observe(event("DialEnd", Uniqueid="c2c-1", DialStatus=status, **NEAR), at)
        trace.observe(
            event("Hangup", Uniqueid="l1", Channel=NEAR["DestChannel"], Cause=str(cause)), at
        )
        result = DialResult(status, cause, first_hung_up=status == "CANCEL")
        return outcome(with_dial(trace.evidence(), result, at), cancelled=False)

    def test_one_refuses_and_one_rings_out(self) -> None:
        """Asterisk tells the refusal; the other rang for as long as it might."""
        trace = second_is_dialled(0.0)
        for number in ("201", "202"):
            dials(trace, number, 1.0)
        refuses(trace, "201", 2.0, "17")
        rings_out(trace, "202", 9.0)
        assert self.outcome(trace, "BUSY", 17, 9.0) is Outcome.SECOND_NO_ANSWER

    def test_one_after_the_other(self) -> None:
        """The first one rang out, the next one was busy: that is the last word."""
        trace = second_is_dialled(0.0)
        dials(trace, "201", 1.0)
        rings_out(trace, "201", 9.0)
        dials(trace, "202", 9.0)
        refuses(trace, "202", 10.0, "17")
        assert self.outcome(trace, "BUSY", 17, 10.0) is Outcome.SECOND_BUSY

    def test_the_first_gives_up(self) -> None:
        """One rang out, the dialplan went on to the next, and the first hung up."""
        trace = second_is_dialled(0.0)
        dials(trace, "201", 1.0)
        rings_out(trace, "201", 9.0)
        dials(trace, "202", 9.0)
        rings_out(trace, "202", 12.0, "CANCEL")
        assert self.outcome(trace, "CANCEL", 0, 12.0) is Outcome.ABANDONED

    def test_a_phone_that_only_tries(self) -> None:
        """It never rang, so it did not ring out: the refusal of the other counts."""
        trace = second_is_dialled(0.0)
        for number in ("201", "202"):
            trace.observe(event("DialBegin", Uniqueid="l2", **phone(number)), 1.0)
        proceeding = event("DialState", Uniqueid="l2", DialStatus="PROCEEDING", **phone("202"))
        assert trace.observe(proceeding, 1.0) == []
        refuses(trace, "201", 2.0, "17")
        rings_out(trace, "202", 9.0)
        assert self.outcome(trace, "BUSY", 17, 9.0) is Outcome.SECOND_BUSY

    def test_one_that_was_never_tied(self) -> None:
        """A phone of nobody knows which leg says nothing."""
        trace = second_is_dialled(0.0)
        lonely = {"DestUniqueid": "9", "DestChannel": "PJSIP/900-9"}
        trace.observe(event("DialEnd", DialStatus="NOANSWER", **lonely), 1.0)
        assert trace.evidence().timed_out is None
        assert trace.evidence().rang_out == frozenset()

    def test_the_one_that_rang_out_is_told_of(self) -> None:
        """The other one was tried; its cause is on what was hung up with it, and is not its own."""
        trace = second_is_dialled(0.0)
        for number in ("201", "202"):
            dials(trace, number, 1.0)
        refuses(trace, "201", 2.0, "17")
        rings_out(trace, "202", 9.0)
        trace.observe(event("Hangup", Uniqueid="202", Channel="PJSIP/202-1", Cause="17"), 9.0)
        trace.observe(event("DialEnd", Uniqueid="c2c-1", DialStatus="BUSY", **NEAR), 9.0)
        trace.observe(event("Hangup", Uniqueid="l1", Channel=NEAR["DestChannel"], Cause="17"), 9.1)
        second = trace.evidence().second
        assert (second.channel, second.status, second.cause) == ("PJSIP/202-1", "NOANSWER", 16)
        assert second.by is SaidBy.DEVICE
        assert second.tried == (Attempt("PJSIP/201-1", "BUSY", 17, None, 1.0),)
        assert trace.second_is_one_of_several()

    def test_a_stale_contact(self) -> None:
        """What rang has refused: the leg's ringing, and its end, are those of that phone."""
        trace = second_is_dialled(0.0)
        stale = event("DialBegin", Uniqueid="l2", **phone("202"))
        trace.observe(stale, 1.0)
        dials(trace, "201", 1.0)
        refuses(trace, "201", 1.3, "21")
        trace.observe(event("DialEnd", Uniqueid="c2c-1", DialStatus="NOANSWER", **NEAR), 20.0)
        rings_out(trace, "202", 20.0, "CANCEL")
        second = trace.evidence().second
        assert (second.channel, second.cause, second.ended_at) == ("PJSIP/201-1", 21, 1.3)
        assert second.tried == ()

    def test_a_stale_contact_of_the_first(self) -> None:
        """Our timeout ended what was no phone: it is no reason."""
        trace = CallTrace("c2c-1", 20)
        far = {"Uniqueid": "c2c-1;2"}
        trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel="Local/100@x;1"), 0.0)
        trace.observe(event("Newchannel", Uniqueid="c2c-1;2", Channel="Local/100@x;2"), 0.0)
        for number in ("201", "202"):
            trace.observe(event("DialBegin", **far, **phone(number)), 1.0)
        for at in (1.0, 1.1):
            trace.observe(event("DialState", DialStatus="RINGING", **far, **phone("201")), at)
        refuses(trace, "201", 1.4, "21")
        trace.observe(event("OriginateResponse", Response="Failure", Reason="3"), 20.0)
        evidence = trace.evidence()
        assert (evidence.timed_out, evidence.first.cause) == (None, 21)
        assert outcome(evidence, cancelled=False) is Outcome.FIRST_DECLINED

    def test_the_phone_says_no_cause(self) -> None:
        """Then the leg as a whole says why, where that phone was all of it."""
        trace = second_is_dialled(0.0)
        dials(trace, "201", 1.0)
        refuses(trace, "201", 2.0, "0")
        trace.observe(event("DialEnd", Uniqueid="c2c-1", DialStatus="BUSY", **NEAR), 2.0)
        trace.observe(event("Hangup", Uniqueid="l1", Channel=NEAR["DestChannel"], Cause="17"), 2.1)
        assert trace.evidence().second.cause == 17


class TestDialplanAnswers:
    """What answered is no phone, and has no cause of one."""

    def test_after_a_phone_has_refused(self) -> None:
        """Asterisk leaves the phone's cause on the channel that had dialled it."""
        trace = second_is_dialled(0.0)
        dials(trace, "201", 1.0)
        refuses(trace, "201", 2.0, "17")
        answered = event("DialEnd", Uniqueid="c2c-1", DialStatus="ANSWER", **NEAR)
        assert trace.observe(answered, 2.0) == [SecondAnswered(NEAR["DestChannel"], at=2.0)]
        trace.observe(event("Hangup", Uniqueid="l1", Channel=NEAR["DestChannel"], Cause="17"), 4.0)
        second = trace.evidence().second
        assert second == LegEvidence(
            channel=NEAR["DestChannel"],
            status="ANSWER",
            cause=16,
            cause_text="Normal Clearing",
            answered_at=2.0,
            ended_at=4.0,
            by=SaidBy.DIALPLAN,
            tried=(Attempt("PJSIP/201-1", "BUSY", 17, None, 1.0),),
        )

    def test_it_hangs_up_at_once(self) -> None:
        """Asterisk tells the end before the answer: two threads see to them."""
        trace = second_is_dialled(0.0)
        near = {"Uniqueid": "l1", "Channel": NEAR["DestChannel"], "ChannelStateDesc": "Up"}
        trace.observe(event("HangupRequest", **near), 1.0)
        assert trace.evidence().hung_up_by is None
        trace.observe(event("DialEnd", Uniqueid="c2c-1", DialStatus="ANSWER", **NEAR), 1.1)
        trace.observe(event("Hangup", Cause="16", **near), 1.2)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.SECOND, 1.1)

    def test_found_after_a_restart(self) -> None:
        """The list shows that no phone is there; which one was tried, nobody knows."""
        trace = CallTrace("c2c-1", 20)
        answered = LegEvidence(channel=NEAR["DestChannel"], answered_at=2.0)
        trace.seen_before(LegEvidence(channel="PJSIP/100-1", answered_at=1.0), answered)
        channels = {
            "root": ("PJSIP/100-1", "Up", "b1"),
            "l1": (NEAR["DestChannel"], "Up", "b1"),
            "l2": ("Local/200@x-1;2", "Up", ""),
        }
        trace.found(listed(**channels), 5.0)
        trace.observe(event("Hangup", Uniqueid="l1", Channel=NEAR["DestChannel"], Cause="17"), 9.0)
        second = trace.evidence().second
        assert (second.by, second.cause, second.tried) == (SaidBy.DIALPLAN, 16, ())

    def test_a_queue_that_finds_somebody(self) -> None:
        """From then on it was that phone."""
        trace = talk(0.0)
        assert trace.evidence().second.by is SaidBy.DIALPLAN
        dials(trace, "201", 1.0)
        answers(trace, "201", 2.0)
        assert trace.evidence().second.by is SaidBy.DEVICE


def test_a_channel_that_is_there_no_more() -> None:
    """Its end was not told; with it, the call's has come."""
    trace = CallTrace("c2c-1", 20)
    trace.observe(event("Newchannel", Uniqueid="7", Channel="PJSIP/200-7"), 1.0)
    trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel="PJSIP/100-0"), 1.0)
    trace.observe(event("Hangup", Uniqueid="c2c-1", Channel="PJSIP/100-0"), 2.0)
    told = [trace.to_hang_up]
    trace.is_gone("7")
    assert [*told, trace.to_hang_up] == ["7", None]
    assert trace.all_gone


class TestEvidence:
    def test_the_device_that_answered_is_shown(self) -> None:
        """Of several places where a phone is registered, the one that was taken."""
        trace = CallTrace("c2c-1", 20)
        told = [
            event("Newchannel", Uniqueid="c2c-1", Channel="Local/1@x;1"),
            event("Newchannel", Uniqueid="c2c-1;2", Channel="Local/1@x;2"),
        ]
        for number in "23":
            dest = {"DestUniqueid": number, "DestChannel": f"PJSIP/100-{number}"}
            told += [
                event("Newchannel", Uniqueid=number, Channel=f"PJSIP/100-{number}"),
                event("DialBegin", Uniqueid="c2c-1;2", **dest),
            ]
        told.append(
            event(
                "DialEnd",
                Uniqueid="c2c-1;2",
                DestUniqueid="2",
                DestChannel="PJSIP/100-2",
                DialStatus="ANSWER",
            )
        )
        told.append(
            event("DialEnd", DestUniqueid="c2c-1", DestChannel="Local/1@x;1", DialStatus="ANSWER")
        )
        follow(told, trace)
        assert trace.evidence().first.channel == "PJSIP/100-2"

    def test_a_device_that_took_the_talk_over_is_not(self) -> None:
        """The talk was transferred: another phone answered, but not our call.

        Also where the answer to the order came before all else.
        """
        told = sorted(
            events(find("22", "connected-second-hangs-up")),
            key=lambda one: one.event != "OriginateResponse",
        )
        trace, _ = follow(told)
        before = trace.evidence()
        dest = {"DestUniqueid": "9", "DestChannel": "PJSIP/201-9"}
        trace.observe(event("DialBegin", Uniqueid=f"{ROOT};2", **dest), 90.0)
        trace.observe(event("DialEnd", Uniqueid=f"{ROOT};2", DialStatus="ANSWER", **dest), 91.0)
        assert trace.evidence() == before

    @pytest.mark.parametrize(("caller", "leg"), [("c2c-1;2", Leg.FIRST), ("c2c-1", Leg.SECOND)])
    def test_a_phone_that_picks_the_call_up(self, caller: str, leg: Leg) -> None:
        """It was not dialled; Asterisk says that the dialling of the other has ended with it."""
        trace = CallTrace("c2c-1", 20)
        rings = {"DestUniqueid": "2", "DestChannel": "PJSIP/100-2"}
        trace.observe(event("DialBegin", Uniqueid=caller, **rings), 1.0)
        picks_up = {"DestUniqueid": "9", "DestChannel": "PJSIP/101-9"}
        trace.observe(event("DialEnd", Uniqueid=caller, DialStatus="ANSWER", **picks_up), 2.0)
        if leg is Leg.FIRST:
            root = {"DestUniqueid": "c2c-1", "DestChannel": "Local/1@x;1"}
            trace.observe(event("DialEnd", DialStatus="ANSWER", **root), 2.1)
        trace.observe(event("Hangup", Uniqueid="2", Channel="PJSIP/100-2", Cause="26"), 2.2)
        trace.observe(event("HangupRequest", Uniqueid="9", Channel="PJSIP/101-9"), 5.0)
        trace.observe(event("Hangup", Uniqueid="9", Channel="PJSIP/101-9", Cause="16"), 5.1)
        evidence = trace.evidence()
        assert evidence.hung_up_by is leg
        told = evidence.first if leg is Leg.FIRST else evidence.second
        assert (told.channel, told.cause, told.status) == ("PJSIP/101-9", 16, "ANSWER")

    def test_of_two_that_answer_the_later_one_is(self) -> None:
        """A voicemail answers and is passed by, before the leg counts as answered."""
        trace = CallTrace("c2c-1", 20)
        for number in "23":
            dest = {"DestUniqueid": number, "DestChannel": f"PJSIP/100-{number}"}
            trace.observe(event("DialBegin", Uniqueid="c2c-1;2", **dest), 1.0)
            trace.observe(event("DialEnd", Uniqueid="c2c-1;2", DialStatus="ANSWER", **dest), 2.0)
        root = {"DestUniqueid": "c2c-1", "DestChannel": "Local/1@x;1"}
        trace.observe(event("DialEnd", DialStatus="ANSWER", **root), 3.0)
        assert trace.evidence().first.channel == "PJSIP/100-3"

    def test_an_answer_of_nobody_knows_whom(self) -> None:
        """A device that was never tied to a leg is shown for none."""
        trace = CallTrace("c2c-1", 20)
        dest = {"DestUniqueid": "9", "DestChannel": "PJSIP/900-9"}
        trace.observe(event("DialEnd", DialStatus="ANSWER", **dest), 1.0)
        assert trace.evidence().first.channel is None

    def test_who_transferred_is_not_who_hung_up(self) -> None:
        """His phone hung up, and the talk went on with another one."""
        trace = talk(0.0)
        dials(trace, "200", 1.0)
        answers(trace, "200", 2.0)
        trace.observe(event("HangupRequest", Uniqueid="200", Channel="PJSIP/200-1"), 5.0)
        assert trace.evidence().hung_up_by is Leg.SECOND
        dials(trace, "201", 5.0)
        answers(trace, "201", 6.0)
        assert trace.evidence().hung_up_by is None
        trace.observe(event("HangupRequest", Uniqueid="c2c-1", Channel="Local/100@x-0;1"), 99.0)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.FIRST, 99.0)
        assert evidence.second.channel == "PJSIP/200-1"

    def test_a_phone_that_was_only_rung_has_not_hung_up(self) -> None:
        """A queue has answered, and one of its phones refuses: the talk goes on."""
        trace = talk(0.0)
        dials(trace, "201", 1.0)
        refuses(trace, "201", 2.0, "17")
        assert trace.evidence().hung_up_by is None
        dials(trace, "202", 3.0)
        answers(trace, "202", 4.0)
        trace.observe(event("HangupRequest", Uniqueid="202", Channel="PJSIP/202-1"), 9.0)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.SECOND, 9.0)

    def test_without_devices_the_head_of_the_leg_is_shown(self) -> None:
        """A leg that ends in the dialplan is shown by the channel that stands for it."""
        trace, _ = follow(events(find("22", "far-side-ends-by-itself")))
        channel = trace.evidence().second.channel
        assert channel is not None
        assert channel.startswith("Local/293@")

    def test_what_dial_tells_fills_what_events_did_not(self) -> None:
        """Cause and SIP response of Asterisk 16 come over FastAGI."""
        trace, _ = follow(events(find("16", "second-busy")))
        name = trace.evidence().second.channel
        assert name is not None
        told = DialResult(status="BUSY", cause=17, sips={name: 486})
        evidence = with_dial(trace.evidence(), told, 50.0)
        assert evidence.second.sip == 486
        assert evidence.second.cause == 17

    def test_a_call_without_any_channel(self) -> None:
        """Refused within milliseconds: unreachable, but more may still be told of it."""
        trace = CallTrace("c2c-1", 20)
        answer = event("OriginateResponse", Response="Failure", Reason="0", Uniqueid="c2c-1")
        assert trace.observe(answer, 1.0) == []
        assert trace.all_gone
        assert not trace.is_explained
        assert outcome(trace.evidence(), cancelled=False) is Outcome.FIRST_UNREACHABLE

    def test_congestion_that_a_dialplan_indicates(self) -> None:
        """Reason 8 is what a Local channel's Congestion() gives."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(event("OriginateResponse", Response="Failure", Reason="8"), 1.0)
        assert trace.evidence().first.status == "CONGESTION"

    def test_an_attempt_that_was_forwarded(self) -> None:
        """A dial that ended and one that was answered: the answered one counts."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel="PJSIP/100-1"), 0.0)
        for number, status in (("2", "NOANSWER"), ("3", "ANSWER")):
            dest = {"DestUniqueid": number, "DestChannel": f"PJSIP/20{number}-1"}
            trace.observe(event("DialBegin", Uniqueid="c2c-1", **dest), float(number))
            trace.observe(
                event("DialEnd", Uniqueid="c2c-1", DialStatus=status, **dest), float(number)
            )
        second = trace.evidence().second
        assert (second.answered_at, second.ended_at) == (3.0, None)
        assert second.channel == "PJSIP/203-1"

    def test_a_hangup_request_of_an_unknown_channel(self) -> None:
        """A channel that was never tied to a leg says nothing of who hung up."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(event("HangupRequest", Uniqueid="9", Channel="PJSIP/900-1"), 1.0)
        assert trace.evidence().hung_up_by is None


def find(version: str, name: str) -> Path:
    """The transcript of a story on a version."""
    return next(p for p in TRANSCRIPTS if f"asterisk-{version}" in p.stem and name_of(p) == name)


def listed(**channels: tuple[str, str, str]) -> list[Message]:
    """What CoreShowChannels lists: Uniqueid to name, state, bridge."""
    return [
        event(
            "CoreShowChannel",
            Uniqueid=uniqueid.replace("root", "c2c-1").replace("_", ";"),
            Channel=name,
            ChannelStateDesc=state,
            BridgeId=bridge,
        )
        for uniqueid, (name, state, bridge) in channels.items()
    ]


TALKING = {
    "root": ("Local/100@first-0;1", "Up", "b2"),
    "root_2": ("Local/100@first-0;2", "Up", "b1"),
    "p1": ("PJSIP/100-1", "Up", "b1"),
    "l1": ("Local/200@phones-1;1", "Up", "b2"),
    "l2": ("Local/200@phones-1;2", "Up", "b3"),
    "p2": ("PJSIP/200-2", "Up", "b3"),
}


class TestFound:
    @pytest.mark.parametrize("order", [sorted(TALKING), sorted(TALKING, reverse=True)])
    def test_a_talk(self, order: list[str]) -> None:
        """Both legs are known again, in whatever order the channels are listed."""
        trace = CallTrace("c2c-1", 20)
        missed = trace.found(listed(**{name: TALKING[name] for name in order}), 5.0)
        assert missed == [FirstAnswered("PJSIP/100-1"), SecondAnswered("PJSIP/200-2")]
        trace.observe(event("HangupRequest", Uniqueid="p2", Channel="PJSIP/200-2"), 7.0)
        assert trace.evidence().hung_up_by is Leg.SECOND
        assert trace.evidence().lost

    def test_when_they_answered_is_not_known(self) -> None:
        """When they were found is no time of an answer; that they have answered is known."""
        trace = CallTrace("c2c-1", 20)
        trace.found(listed(**TALKING), 60.0)
        assert trace.first_answered
        evidence = trace.evidence()
        assert (evidence.first.status, evidence.second.status) == ("ANSWER", "ANSWER")
        assert (evidence.first.answered_at, evidence.second.answered_at) == (None, None)
        assert outcome(evidence, cancelled=False) is Outcome.CONNECTED
        told = DialResult("ANSWER", 16, answered_at=10.0)
        assert with_dial(evidence, told, 90.0).second.answered_at == 10.0

    def test_an_answer_that_was_seen_counts_more(self) -> None:
        """The host's clock may have been set meanwhile."""
        trace = talk(4.0)
        trace.found([], 60.0)
        told = DialResult("ANSWER", 16, answered_at=-3600.0)
        assert with_dial(trace.evidence(), told, 90.0).second.answered_at == 4.0

    def test_the_first_had_come_to_the_bridge(self) -> None:
        """No event told that it was answered: what was heard of it first counts."""
        trace = CallTrace("c2c-1", 20)
        for now in (3.0, 5.0):
            trace.first_came("c2c-1", "Local/100@first-0;1", now)
        trace.found(listed(**TALKING), 60.0)
        assert trace.evidence().first.answered_at == 3.0

    def test_the_second_s_answer_was_told_elsewhere(self) -> None:
        """It is not told once more, and an answer that was seen counts more."""
        trace = second_is_dialled(3.0)
        trace.second_came(4.0)
        late = event("DialEnd", Uniqueid="c2c-1", DialStatus="ANSWER", **NEAR)
        assert trace.observe(late, 9.0) == []
        assert trace.evidence().second.answered_at == 4.0
        trace.second_came(5.0)
        assert trace.evidence().second.answered_at == 4.0
        unseen = CallTrace("c2c-1", 20)
        unseen.found(listed(**TALKING), 60.0)
        unseen.second_came(4.0)
        assert unseen.evidence().second.answered_at == 4.0

    def test_a_transfer_after_a_restart(self) -> None:
        """Who answered is shown, as without the restart; not the one who took the talk over."""
        trace = CallTrace("c2c-1", 20)
        trace.seen_before(
            LegEvidence(channel="PJSIP/100-1", answered_at=2.0),
            LegEvidence(channel="PJSIP/200-2", answered_at=3.0),
        )
        trace.found(listed(**TALKING), 5.0)
        trace.observe(event("Hangup", Uniqueid="p2", Channel="PJSIP/200-2", Cause="16"), 6.0)
        dest = {"DestUniqueid": "9", "DestChannel": "PJSIP/201-9"}
        trace.observe(event("DialBegin", Uniqueid="l2", **dest), 6.0)
        trace.observe(event("DialEnd", Uniqueid="l2", DialStatus="ANSWER", **dest), 7.0)
        second = trace.evidence().second
        assert (second.channel, second.cause) == ("PJSIP/200-2", 16)

    def test_who_answered_has_gone_meanwhile(self) -> None:
        """It is shown all the same."""
        trace = CallTrace("c2c-1", 20)
        trace.seen_before(
            LegEvidence(channel="Local/100@first-0;1", answered_at=2.0),
            LegEvidence(channel="PJSIP/299-9", answered_at=3.0),
        )
        trace.found(listed(**TALKING), 5.0)
        evidence = trace.evidence()
        assert (evidence.first.channel, evidence.second.channel) == ("PJSIP/100-1", "PJSIP/299-9")

    def test_what_was_known_is_not_told_again(self) -> None:
        """A restart of the agent in the middle of a talk."""
        trace = CallTrace("c2c-1", 20)
        first = LegEvidence(ringing_at=1.0, answered_at=2.0)
        trace.seen_before(first, LegEvidence(ringing_at=2.5, answered_at=3.0))
        assert trace.found(listed(**TALKING), 5.0) == []
        assert trace.evidence().second.answered_at == 3.0

    def test_the_first_rings(self) -> None:
        """Its phone is of the first leg, though its dialling was not seen."""
        trace = CallTrace("c2c-1", 20)
        channels = {
            "root": ("Local/100@first-0;1", "Ringing", ""),
            "root_2": ("Local/100@first-0;2", "Ring", ""),
            "p1": ("PJSIP/100-1", "Ringing", ""),
        }
        assert trace.found(listed(**channels), 5.0) == [FirstRinging("PJSIP/100-1")]
        assert trace.found(listed(**channels), 6.0) == []

    def test_the_second_rings(self) -> None:
        """What is in no bridge was dialled by the root, once that was answered."""
        trace = CallTrace("c2c-1", 20)
        channels = {
            "root": ("PJSIP/100-1", "Up", ""),
            "p2": ("PJSIP/200-2", "Ringing", ""),
        }
        assert trace.found(listed(**channels), 5.0) == [FirstAnswered("PJSIP/100-1")]
        assert trace.evidence().second.channel == "PJSIP/200-2"

    def test_only_the_second_is_left(self) -> None:
        """The root has gone unseen."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel="PJSIP/100-1"), 0.0)
        assert trace.found(listed(p2=("PJSIP/200-2", "Up", "")), 5.0) == []
        assert not trace.all_gone
        assert trace.found([], 6.0) == []
        assert trace.all_gone

    def test_the_first_is_being_made(self) -> None:
        """Neither ringing nor up: nothing is known yet."""
        trace = CallTrace("c2c-1", 20)
        assert trace.found(listed(root=("PJSIP/100-1", "Down", "")), 5.0) == []

    @pytest.mark.parametrize(
        ("first_hung_up", "by"), [(True, Leg.FIRST), (False, Leg.SECOND)], ids=["first", "second"]
    )
    def test_dial_tells_what_was_missed(self, first_hung_up: bool, by: Leg) -> None:
        """Where the link was down, FastAGI says who left, and since when they had talked."""
        trace = CallTrace("c2c-1", 20, lost=True)
        result = DialResult("ANSWER", 16, first_hung_up=first_hung_up, answered_at=3.5)
        evidence = with_dial(trace.evidence(), result, 9.0)
        assert evidence == CallEvidence(
            second=LegEvidence(status="ANSWER", cause=16, answered_at=3.5, ended_at=9.0),
            hung_up_by=by,
            hung_up_at=9.0,
            lost=True,
        )
        again = DialResult("ANSWER", 16, first_hung_up=not first_hung_up)
        assert with_dial(evidence, again, 10.0).hung_up_by is by


#: A phone that was taken out of the root and dials the second leg, as lists show it.
TAKEN = {
    "p1": ("PJSIP/100-1", "Up", "b1"),
    "p2": ("PJSIP/200-2", "Up", "b1"),
}
PHONE = {"Uniqueid": "p1", "Channel": "PJSIP/100-1"}
HALVES = {
    "LocalOneUniqueid": "l1",
    "LocalOneChannel": "Local/200@phones-1;1",
    "LocalTwoUniqueid": "l2",
    "LocalTwoChannel": "Local/200@phones-1;2",
}


def dialing(caller: dict[str, str], uniqueid: str, name: str) -> Message:
    """A channel dials another one."""
    return event("DialBegin", DestUniqueid=uniqueid, DestChannel=name, **caller)


def dialed(caller: dict[str, str], uniqueid: str, name: str, status: str = "ANSWER") -> Message:
    """It is answered."""
    dialed = {"DestUniqueid": uniqueid, "DestChannel": name}
    return event("DialEnd", DialStatus=status, **dialed, **caller)


def ends(uniqueid: str, name: str) -> Message:
    """A channel ends."""
    return event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")


def leaves(trace: CallTrace, uniqueid: str, name: str, at: float) -> None:
    """A phone hangs up."""
    trace.observe(event("HangupRequest", Uniqueid=uniqueid, Channel=name), at)
    trace.observe(ends(uniqueid, name), at)


def attended(
    orig: str, target: str, *, mine: str = "x9", transferee: str = "p1", result: str = "Success"
) -> Message:
    """An attended transfer, done or failed."""
    told = {
        "OrigTransfererUniqueid": orig,
        "SecondTransfererUniqueid": mine,
        "SecondTransfererLinkedid": ROOT,
        "TransferTargetUniqueid": target,
        "TransferTargetChannel": "Local/201@phones-3;1",
        "TransfereeUniqueid": transferee,
        "TransfereeChannel": "PJSIP/900-7",
    }
    return event("AttendedTransfer", Result=result, **{k: v for k, v in told.items() if v})


def taken_talk(*, told: bool = True) -> CallTrace:
    """Two talk; the first's phone has dialled; up to second 5. `told`: a session has said so."""
    trace = CallTrace("c2c-1", 20)
    root, far = ({"Uniqueid": one, "Channel": f"Local/1@x;{n}"} for n, one in ROOTS.items())
    trace.observe(event("Newchannel", **root), 0.0)
    trace.observe(event("LocalBridge", **LOCAL_ROOT), 0.0)
    trace.observe(dialing(far, "p1", "PJSIP/100-1"), 1.0)
    trace.observe(dialed(far, "p1", "PJSIP/100-1"), 2.0)
    trace.observe(event("OriginateResponse", Response="Success", Reason="4"), 2.0)
    if told:
        trace.first_came("p1", "PJSIP/100-1", 2.0)
    begun = trace.observe(dialing(PHONE, "l1", "Local/200@phones-1;1"), 3.0)
    assert begun == [SecondDialed(20)]
    trace.observe(event("LocalBridge", **HALVES), 3.0)
    far_half = {"Uniqueid": "l2", "Channel": "Local/200@phones-1;2"}
    trace.observe(dialing(far_half, "p2", "PJSIP/200-2"), 3.0)
    trace.observe(dialed(far_half, "p2", "PJSIP/200-2"), 4.0)
    trace.observe(dialed(PHONE, "l1", "Local/200@phones-1;1"), 4.0)
    return trace


ROOTS = {"1": "c2c-1", "2": "c2c-1;2"}
LOCAL_ROOT = {
    "LocalOneUniqueid": "c2c-1",
    "LocalOneChannel": "Local/1@x;1",
    "LocalTwoUniqueid": "c2c-1;2",
    "LocalTwoChannel": "Local/1@x;2",
}


def optimize(trace: CallTrace, *, told: bool = True) -> None:
    """What was between the two goes; which half asks for it, nobody knows beforehand."""
    if told:
        trace.observe(event("LocalOptimizationEnd", **HALVES), 5.0)
    for uniqueid, name in (("l1", HALVES["LocalOneChannel"]), ("l2", HALVES["LocalTwoChannel"])):
        trace.observe(event("HangupRequest", Uniqueid=uniqueid, Channel=name), 5.0)
        trace.observe(ends(uniqueid, name), 5.0)


class TestTaken:
    @pytest.mark.parametrize(("cause", "by"), [("44", None), ("16", Leg.SECOND)])
    def test_a_channel_between_ends_with_a_silent_phone(self, cause: str, by: Leg | None) -> None:
        """Its request to be hung up is then no word of the second's."""
        trace = taken_talk()
        trace.observe(event("Hangup", Uniqueid="p2", Channel="PJSIP/200-2", Cause=cause), 9.0)
        name = HALVES["LocalOneChannel"]
        trace.observe(event("HangupRequest", Uniqueid="l1", Channel=name), 9.0)
        assert trace.evidence().hung_up_by is by

    @pytest.mark.parametrize(("cause", "by"), [("44", None), ("16", Leg.SECOND)])
    def test_its_request_overtakes_the_phones_end(self, cause: str, by: Leg | None) -> None:
        """Whether the phone fell silent is not known before; until then nobody has hung up."""
        trace = taken_talk()
        name = HALVES["LocalOneChannel"]
        trace.observe(event("HangupRequest", Uniqueid="l1", Channel=name), 9.0)
        assert trace.evidence().hung_up_by is None
        trace.observe(event("Hangup", Uniqueid="p2", Channel="PJSIP/200-2", Cause=cause), 9.0)
        assert trace.evidence().hung_up_by is by

    @pytest.mark.parametrize("told", [True, False])
    @pytest.mark.parametrize("leg", list(Leg))
    def test_what_ends_by_itself_is_nobody_s_end(self, leg: Leg, *, told: bool) -> None:
        """The root ends at the answer, the way to the second a moment later: they talk on."""
        trace = taken_talk(told=told)
        trace.observe(event("HangupRequest", Uniqueid="c2c-1", Channel="Local/1@x;1"), 4.5)
        for number, uniqueid in ROOTS.items():
            trace.observe(ends(uniqueid, f"Local/1@x;{number}"), 4.5)
        assert not trace.talks_alone()
        optimize(trace)
        assert trace.talks_alone()
        assert trace.talk_since() == 4.0
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.first.ended_at, evidence.second.ended_at) == (
            None,
            None,
            None,
        )
        assert trace.to_hang_up == trace.caller == "p1"
        phones = {Leg.FIRST: ("p1", "PJSIP/100-1"), Leg.SECOND: ("p2", "PJSIP/200-2")}
        uniqueid, name = phones.pop(leg)
        trace.observe(event("HangupRequest", Uniqueid=uniqueid, Channel=name), 9.0)
        trace.observe(ends(uniqueid, name), 9.0)
        assert [trace.all_gone, trace.is_left_to_others] == [False, True]
        trace.observe(ends(*phones.popitem()[1]), 9.5)
        assert [trace.all_gone, trace.is_left_to_others] == [True, False]
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (leg, 9.0)
        assert {evidence.first.ended_at, evidence.second.ended_at} == {9.0, 9.5}
        assert evidence.first.channel == "PJSIP/100-1"
        assert evidence.second.channel == "PJSIP/200-2"

    @pytest.mark.parametrize(("at", "by", "ended"), [(9.0, Leg.FIRST, 9.0), (5.2, Leg.SECOND, 5.0)])
    def test_an_older_filter(self, at: float, by: Leg, ended: float) -> None:
        """What leaves a talk is not told: who goes on for longer shows it, in all but a moment."""
        trace = taken_talk()
        optimize(trace, told=False)
        assert trace.evidence().second.ended_at is None
        trace.observe(event("HangupRequest", **PHONE), at)
        trace.observe(ends("p1", "PJSIP/100-1"), at)
        trace.observe(ends("p2", "PJSIP/200-2"), at)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.second.ended_at) == (by, ended)

    def test_it_is_hung_up_from_here(self) -> None:
        """What ends then was not ended by a party."""
        trace = taken_talk()
        trace.is_to_end()
        trace.observe(event("HangupRequest", Uniqueid="l1", Channel="Local/200@phones-1;1"), 6.0)
        assert trace.evidence().hung_up_by is None

    def test_the_first_transfers_the_talk(self) -> None:
        """Who takes its place is of its leg, and it is who left where nobody else ends it."""
        trace = taken_talk()
        optimize(trace)
        transfer = {"TransfererUniqueid": "p1", "TransfererLinkedid": ROOT}
        trace.observe(event("BlindTransfer", Result="Fail", **transfer), 6.0)
        assert trace.who_left() is None
        done = event("BlindTransfer", Result="Success", **transfer)
        assert request_id_of(done) == uuid(1)
        trace.observe(done, 6.0)
        trace.observe(ends("p1", "PJSIP/100-1"), 6.0)
        second = {"Uniqueid": "p2", "Channel": "PJSIP/200-2"}
        trace.observe(dialing(second, "p3", "PJSIP/201-3"), 6.0)
        assert trace.who_left() is Leg.FIRST
        trace.observe(dialed(second, "p3", "PJSIP/201-3"), 7.0)
        trace.observe(event("HangupRequest", Uniqueid="p3", Channel="PJSIP/201-3"), 8.0)
        assert trace.evidence().hung_up_by is Leg.FIRST
        assert trace.evidence().first.channel == "PJSIP/100-1"
        trace.is_to_end()
        assert trace.who_left() is None

    def test_the_first_transfers_before_the_way_is_gone(self) -> None:
        """Then what it talks with is the Local channel, which dials in its place."""
        trace = taken_talk()
        trace.observe(ends("p1", "PJSIP/100-1"), 5.0)
        near = {"Uniqueid": "l1", "Channel": "Local/200@phones-1;1"}
        trace.observe(dialing(near, "p3", "PJSIP/201-3"), 6.0)
        trace.observe(dialed(near, "p3", "PJSIP/201-3"), 7.0)
        trace.observe(event("HangupRequest", Uniqueid="p3", Channel="PJSIP/201-3"), 8.0)
        assert trace.evidence().hung_up_by is Leg.FIRST

    @pytest.mark.parametrize("by", list(Leg))
    def test_the_second_asks_a_colleague_and_leaves(self, by: Leg) -> None:
        """Who takes its place is of its leg, and the talk goes on."""
        trace = taken_talk()
        optimize(trace)
        trace.observe(attended("p2", "t1", result="Fail"), 6.0)
        for _ in range(2):
            trace.observe(attended("p2", "t1"), 6.0)
        assert trace.who_left() is Leg.SECOND
        leaves(trace, "p2", "PJSIP/200-2", 6.1)
        trace.observe(event("Newchannel", Uniqueid="p9", Channel="PJSIP/109-9"), 8.0)
        assert trace.who_left() is None
        assert trace.evidence().hung_up_by is None
        if by is Leg.FIRST:
            leaves(trace, "p1", "PJSIP/100-1", 9.0)
            trace.observe(ends("t1", "Local/201@phones-3;1"), 9.1)
        else:
            leaves(trace, "t1", "Local/201@phones-3;1", 9.0)
            trace.observe(ends("p1", "PJSIP/100-1"), 9.1)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (by, 9.0)
        assert evidence.second.channel == "PJSIP/200-2"

    @pytest.mark.parametrize("target", ["t1", ""])
    def test_who_takes_its_place_is_named_or_not(self, target: str) -> None:
        """The bridge that the colleague was asked in may be empty when the event is made."""
        trace = taken_talk()
        optimize(trace)
        halves = {"LocalOneUniqueid": "t1", "LocalTwoUniqueid": "t2"}
        names = {
            "LocalOneChannel": "Local/201@phones-3;1",
            "LocalTwoChannel": "Local/201@phones-3;2",
        }
        trace.observe(event("LocalBridge", **halves, **names), 5.5)
        far = {"Uniqueid": "t2", "Channel": "Local/201@phones-3;2"}
        trace.observe(dialing(far, "p3", "PJSIP/201-3"), 5.5)
        trace.observe(dialed(far, "p3", "PJSIP/201-3"), 5.9)
        near = {"DestUniqueid": "t1", "DestChannel": "Local/201@phones-3;1"}
        trace.observe(event("DialEnd", DialStatus="ANSWER", **near), 5.9)
        trace.observe(event("HangupRequest", Uniqueid="p2", Channel="PJSIP/200-2"), 6.0)
        trace.observe(attended("p2", target, mine="p2"), 6.0)
        trace.observe(ends("p2", "PJSIP/200-2"), 6.0)
        leaves(trace, "p3", "PJSIP/201-3", 9.0)
        trace.observe(ends("t1", "Local/201@phones-3;1"), 9.1)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.SECOND, 9.0)

    @pytest.mark.parametrize("by", list(Leg))
    @pytest.mark.parametrize("goes_first", [True, False])
    def test_the_colleague_is_not_named(self, by: Leg, *, goes_first: bool) -> None:
        """As where the asking is over by then: it is whom the second has called meanwhile."""
        trace = taken_talk()
        optimize(trace)
        near, far = "Local/201@phones-3;1", "Local/201@phones-3;2"
        halves = {"LocalOneUniqueid": "t1", "LocalTwoUniqueid": "t2"}
        names = {"LocalOneChannel": near, "LocalTwoChannel": far}
        trace.observe(event("LocalBridge", **halves, **names), 6.0)
        behind = {"Uniqueid": "t2", "Channel": far}
        trace.observe(dialing(behind, "p3", "PJSIP/201-3"), 6.0)
        trace.observe(dialed(behind, "p3", "PJSIP/201-3"), 7.0)
        trace.observe(dialed({}, "t1", near), 7.0)
        trace.observe(event("HangupRequest", Uniqueid="p2", Channel="PJSIP/200-2"), 7.1)
        way_goes = [
            event("LocalOptimizationEnd", **halves, **names),
            ends("t1", near),
            ends("t2", far),
        ]
        told = attended("p2", "", mine="p2")
        for one in (*way_goes, told) if goes_first else (told, *way_goes):
            trace.observe(one, 7.2)
        trace.observe(ends("p2", "PJSIP/200-2"), 7.2)
        assert trace.evidence().hung_up_by is None
        last = ("p1", "PJSIP/100-1") if by is Leg.FIRST else ("p3", "PJSIP/201-3")
        leaves(trace, *last, 11.0)
        for uniqueid, name in (("p1", "PJSIP/100-1"), ("p3", "PJSIP/201-3")):
            trace.observe(ends(uniqueid, name), 11.1)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (by, 11.0)
        assert evidence.second.channel == "PJSIP/200-2"

    def test_nobody_is_there_whom_the_second_could_have_called(self) -> None:
        """The colleague talks in a call of another's, of which nothing is told here."""
        trace = taken_talk()
        optimize(trace)
        trace.observe(event("Newchannel", Uniqueid="p9", Channel="PJSIP/109-9"), 6.0)
        trace.observe(attended("p2", "", mine="p2"), 6.0)
        leaves(trace, "p2", "PJSIP/200-2", 6.1)
        assert trace.who_left() is Leg.SECOND

    def test_our_call_is_the_one_in_which_a_colleague_was_asked(self) -> None:
        """Then it is the other call's party that comes to ours; or a whole conference does."""
        for comes in ("x7", ""):
            trace = taken_talk()
            optimize(trace)
            told = attended("x8", "p1", mine="p2", transferee=comes)
            assert request_id_of(told) == uuid(1)
            trace.observe(told, 6.0)
            leaves(trace, "p2", "PJSIP/200-2", 6.1)
            assert trace.who_left() is Leg.SECOND
            leaves(trace, "p1", "PJSIP/100-1", 9.0)
            assert trace.evidence().hung_up_by is Leg.FIRST

    @pytest.mark.parametrize("by", list(Leg))
    def test_a_transfer_that_comes_back(self, by: Leg) -> None:
        """The one who is called back comes from a call of its own: only its end is told."""
        trace = taken_talk()
        optimize(trace)
        leaves(trace, "p2", "PJSIP/200-2", 6.0)
        if by is Leg.FIRST:
            trace.observe(event("HangupRequest", **PHONE), 9.0)
            trace.observe(ends("p5", "PJSIP/200-5"), 9.1)
            trace.observe(ends("p1", "PJSIP/100-1"), 9.2)
        else:
            leaves(trace, "p5", "PJSIP/200-5", 9.0)
            trace.observe(ends("p1", "PJSIP/100-1"), 9.2)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (by, 9.0)

    def test_one_from_outside_while_both_are_there(self) -> None:
        """It stands for nobody."""
        trace = taken_talk()
        optimize(trace)
        leaves(trace, "p5", "PJSIP/205-5", 6.0)
        leaves(trace, "p1", "PJSIP/100-1", 9.0)
        assert trace.evidence().hung_up_by is Leg.FIRST

    def test_the_dialplan_goes_on_with_the_first(self) -> None:
        """A survey, when the agent has hung up: the talk lasts until somebody leaves that."""
        trace = taken_talk()
        leaves(trace, "p2", "PJSIP/200-2", 6.0)
        assert trace.evidence().hung_up_by is Leg.SECOND
        leaves(trace, "p1", "PJSIP/100-1", 9.0)
        for uniqueid, name in zip(("l1", "l2"), sorted(HALVES.values())[:2], strict=True):
            trace.observe(ends(uniqueid, name), 9.1)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.FIRST, 9.0)

    def test_the_dialplan_goes_on_with_the_second(self) -> None:
        """The talk was ended by its bound: who hangs up afterwards has not ended it."""
        trace = taken_talk()
        optimize(trace)
        trace.observe(ends("p1", "PJSIP/100-1"), 9.0)
        leaves(trace, "p2", "PJSIP/200-2", 9.5)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (None, 9.0)

    def test_a_trunk_that_repeats_that_it_was_hung_up(self) -> None:
        """The half that dialled it was told so before: nobody behind the trunk has hung up."""
        for first in (HALVES["LocalTwoChannel"], "PJSIP/200-2"):
            trace = taken_talk()
            trunk = event("HangupRequest", Uniqueid="p2", Channel="PJSIP/200-2")
            half = event("HangupRequest", Uniqueid="l2", Channel=HALVES["LocalTwoChannel"])
            is_made_to = first != "PJSIP/200-2"
            for at, told in enumerate((half, trunk) if is_made_to else (trunk, half)):
                trace.observe(told, 9.0 + at / 1000)
            by = trace.evidence().hung_up_by
            assert by is (None if is_made_to else Leg.SECOND)

    def test_the_first_waits_for_who_comes_in_the_place_of_the_second(self) -> None:
        """It hangs up while that one rings: that is the end, though the second had left before."""
        trace = taken_talk()
        optimize(trace)
        transfer = {"TransfererUniqueid": "p2", "TransfererLinkedid": ROOT}
        trace.observe(event("BlindTransfer", Result="Success", **transfer), 6.0)
        trace.observe(ends("p2", "PJSIP/200-2"), 6.0)
        leaves(trace, "p1", "PJSIP/100-1", 9.0)
        evidence = trace.evidence()
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.FIRST, 9.0)

    def test_the_first_number_is_picked_up(self) -> None:
        """The other phone does what the root had to do, under its own call's ids."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel="Local/1@x;1"), 0.0)
        phone = {"Uniqueid": "9.1", "Channel": "PJSIP/101-9", "Linkedid": "9.0"}
        picks_up = event("Pickup", **phone, TargetUniqueid="c2c-1", TargetLinkedid=ROOT)
        assert request_id_of(picks_up) == uuid(1)
        for _ in range(2):
            trace.observe(picks_up, 1.0)
        assert (trace.other_linkedid, trace.lost) == ("9.0", True)
        trace.observe(ends("c2c-1", "Local/1@x;1"), 1.0)
        assert not trace.all_gone
        assert trace.to_hang_up == trace.caller == "9.1"
        trace.first_came("9.1", "PJSIP/101-9", 1.1)
        assert trace.observe(dialing(phone, "l1", "Local/200@x-1;1"), 2.0) == [SecondDialed(20)]
        trace.observe(dialed(phone, "l1", "Local/200@x-1;1"), 3.0)
        trace.observe(event("HangupRequest", **phone), 9.0)
        evidence = trace.evidence()
        assert (evidence.first.channel, evidence.first.status) == ("PJSIP/101-9", "ANSWER")
        assert (evidence.hung_up_by, evidence.hung_up_at) == (Leg.FIRST, 9.0)

    def test_a_phone_that_rings_is_picked_up(self) -> None:
        """Dial itself tells who it was."""
        trace = CallTrace("c2c-1", 20)
        picks_up = event("Pickup", Uniqueid="9.1", Linkedid="9.1", TargetUniqueid="p1")
        assert trace.observe(picks_up, 1.0) == []
        assert (trace.other_linkedid, trace.lost) == (None, False)

    def test_picked_up_and_not_told(self) -> None:
        """An older filter keeps it back: a session on a channel of nobody's knowledge shows it."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(event("Newchannel", Uniqueid="c2c-1", Channel="Local/1@x;1"), 0.0)
        trace.first_came("9.1", "PJSIP/101-9", 1.0)
        assert (trace.other_linkedid, trace.lost) == ("9.1", False)

    def test_what_is_behind_was_not_seen(self) -> None:
        """The device of the leg stands for it all the same, or nothing does."""
        trace = CallTrace("c2c-1", 20)
        trace.first_came("p1", "PJSIP/100-1", 2.0)
        trace.observe(dialing(PHONE, "l1", "Local/200@phones-1;1"), 3.0)
        trace.observe(event("LocalOptimizationEnd", **HALVES), 5.0)
        trace.observe(ends("l1", "Local/200@phones-1;1"), 5.0)
        assert trace.evidence().second.ended_at is None

    def test_the_root_dials(self) -> None:
        """As where the first is outside: what was between it and the second goes as well."""
        trace = CallTrace("c2c-1", 20)
        root = {"Uniqueid": "c2c-1", "Channel": "Local/1@x;1"}
        trace.observe(event("Newchannel", **root), 0.0)
        trace.first_came("c2c-1", "Local/1@x;1", 2.0)
        assert (trace.second_answered, trace.far_half_of_second) == (False, None)
        trace.observe(dialing(root, "l1", "Local/200@phones-1;1"), 3.0)
        far_half = HALVES["LocalTwoChannel"]
        assert (trace.second_answered, trace.far_half_of_second) == (False, far_half)
        trace.observe(dialed(root, "l1", "Local/200@phones-1;1"), 4.0)
        assert (trace.second_answered, trace.far_half_of_second) == (True, far_half)
        trace.observe(event("LocalOptimizationEnd", **HALVES), 4.1)
        assert not trace.talks_alone()
        trace.observe(ends("l1", "Local/200@phones-1;1"), 4.1)
        assert trace.talks_alone()
        assert trace.far_half_of_second is None

    def test_a_session_that_tells_late(self) -> None:
        """What the phone had dialled by then is the second leg."""
        trace = CallTrace("c2c-1", 20)
        trace.observe(dialing(PHONE, "l1", "Local/200@phones-1;1"), 3.0)
        trace.first_came("p1", "PJSIP/100-1", 3.1)
        trace.first_came("p1", "PJSIP/100-1", 3.2)
        answered = dialed(PHONE, "l1", "Local/200@phones-1;1")
        assert trace.observe(answered, 4.0) == [SecondAnswered("Local/200@phones-1;1")]

    @pytest.mark.parametrize("answer", ["BUSY", "ANSWER"])
    @pytest.mark.parametrize(
        "order", [*permutations(["p1", "l1", "l2"]), *permutations(["p1", "l1", "l2", "p2"])]
    )
    def test_found_while_the_second_is_dialed(self, order: tuple[str, ...], answer: str) -> None:
        """Its phone belongs to it, made already or not, in whatever order they are listed."""
        trace = CallTrace("c2c-1", 20)
        names = {"l1": "Local/200@phones-1;1", "l2": "Local/200@phones-1;2", "p2": "PJSIP/200-2"}
        down = {one: (name, "Down", "") for one, name in names.items()}
        states = {"p1": ("PJSIP/100-1", "Up", ""), **down}
        trace.first_came("p1", "PJSIP/100-1", 1.0)
        trace.found(listed(**{one: states[one] for one in order}), 1.0)
        far_half = {"Uniqueid": "l2", "Channel": names["l2"]}
        trace.observe(dialing(far_half, "p2", names["p2"]), 2.0)
        trace.observe(dialed(far_half, "p2", names["p2"], status=answer), 3.0)
        trace.observe(dialed(PHONE, "l1", names["l1"], status=answer), 3.0)
        evidence = trace.evidence()
        assert (evidence.second.channel, evidence.second.status) == ("PJSIP/200-2", answer)
        assert (evidence.second.by, evidence.first.tried) == (SaidBy.DEVICE, ())
        if answer == "ANSWER":
            optimize(trace)
            assert trace.talks_alone()

    def test_found_after_a_restart(self) -> None:
        """The phone is known by where it is in the dialplan."""
        trace = CallTrace("c2c-1", 20)
        channels = listed(**TAKEN)
        place = "Context: c2c-talk"
        head = channels[0]
        lines = [f"{name}: {value}" for name, value in head.headers]
        channels[0] = Message("\n".join([*lines, place]).encode())
        missed = trace.found(channels, 5.0)
        assert missed == [FirstAnswered("PJSIP/100-1"), SecondAnswered("PJSIP/200-2")]
        assert trace.talks_alone()
        assert trace.talk_since() is None
        assert trace.to_hang_up == "p1"
        trace.still_there(channels[1:])
        assert trace.to_hang_up == "p2"
        trace.still_there([])
        assert trace.all_gone
