"""The evidence of a call, put together: what was watched, reported, recorded."""

from __future__ import annotations

from math import inf

import pytest
from attrs import evolve

from c2c_agent.call.evidence import (
    Attempt,
    CallEvidence,
    Leg,
    LegEvidence,
    NotConfirmed,
    SaidBy,
)
from c2c_agent.pbx.asterisk import astdb
from c2c_agent.pbx.asterisk.evidence import (
    DialReport,
    DialResult,
    dial_report,
    with_dial_report,
    with_record,
)

ANSWERED = DialResult("ANSWER", 16, answered_at=3610.0)


class TestReport:
    """What Dial says of the second leg, beside what was watched of it."""

    def test_all_was_watched(self) -> None:
        """Then it adds status, cause and SIP response, and an end where none was told yet."""
        watched = CallEvidence(second=LegEvidence(channel="PJSIP/200-2", ended_at=20.0))
        result = DialResult("BUSY", 17, {"PJSIP/200-2": 486, "PJSIP/201-3": 603})
        told = dial_report(watched, result, ahead=0.0, now=21.0)
        assert with_dial_report(watched, told).second == LegEvidence(
            channel="PJSIP/200-2", status="BUSY", cause=17, sip=486, ended_at=20.0
        )
        assert dial_report(CallEvidence(), ANSWERED, ahead=0.0, now=21.0) == DialReport(
            ANSWERED, 21.0
        )

    def test_what_was_watched_says_more(self) -> None:
        """The channel's own cause and response; but Dial's word of the leg as a whole counts."""
        watched = LegEvidence(
            channel="PJSIP/200-2", status="NOANSWER", cause=21, sip=603, ended_at=20.0
        )
        told = DialReport(DialResult("CHANUNAVAIL", 0, {"PJSIP/200-2": 480}), 20.0)
        merged = with_dial_report(CallEvidence(second=watched), told)
        assert merged.second == evolve(watched, status="CHANUNAVAIL")
        silent = with_dial_report(CallEvidence(second=watched), DialReport(DialResult(""), 20.0))
        assert silent.second == watched

    def test_of_several_phones(self) -> None:
        """What was watched is one phone's word, and what Dial says is not of that one."""
        watched = LegEvidence(
            channel="PJSIP/200-2", status="NOANSWER", cause=16, ended_at=9.0, by=SaidBy.DEVICE
        )
        told = DialReport(DialResult("BUSY", 17), 20.0)
        merged = with_dial_report(CallEvidence(second=watched), told, is_one_of_several=True)
        assert merged.second == watched
        given_up = DialReport(DialResult("CANCEL", 0), 20.0)
        merged = with_dial_report(CallEvidence(second=watched), given_up, is_one_of_several=True)
        assert merged.second == evolve(watched, status="CANCEL")

    def test_the_responses_of_phones(self) -> None:
        """Each phone has its own; one that rang, or was answered for by a dialplan, has none."""
        sips = {"PJSIP/201-3": 486, "PJSIP/202-4": 180, "Local/1@x;1": 200, "PJSIP/203-5": 404}
        watched = LegEvidence(
            channel="Local/1@x;1",
            by=SaidBy.DIALPLAN,
            tried=(Attempt("PJSIP/201-3"), Attempt("PJSIP/202-4"), Attempt("PJSIP/203-5", sip=603)),
        )
        told = DialReport(DialResult("ANSWER", 16, sips), 20.0)
        second = with_dial_report(CallEvidence(second=watched), told).second
        assert second.sip is None
        answered = LegEvidence(channel="PJSIP/203-5", by=SaidBy.DEVICE)
        assert with_dial_report(CallEvidence(second=answered), told).second.sip is None
        assert [one.sip for one in second.tried] == [486, None, 603]

    def test_nothing_was_watched(self) -> None:
        """The PBX knows of one phone, so that was it; of two nobody knows which."""
        one = DialReport(DialResult("BUSY", 17, {"PJSIP/200-2": 486}), 20.0)
        second = with_dial_report(CallEvidence(), one).second
        assert (second.channel, second.sip) == ("PJSIP/200-2", 486)
        two = DialReport(DialResult("BUSY", 17, {"PJSIP/200-2": 486, "PJSIP/200-3": 404}), 20.0)
        second = with_dial_report(CallEvidence(), two).second
        assert (second.channel, second.sip) == (None, None)

    def test_overtakes_the_events_of_a_short_talk(self) -> None:
        """FastAGI is a connection of its own; the end is not before the answer."""
        told = DialReport(ANSWERED, 20.0)
        watched = CallEvidence(second=LegEvidence(answered_at=20.1, ended_at=20.4))
        assert with_dial_report(watched, told).second.ended_at == 20.4
        earlier = CallEvidence(second=LegEvidence(answered_at=19.9, ended_at=20.4))
        assert with_dial_report(earlier, told).second.ended_at == 20.0
        by_its_clock = DialReport(ANSWERED, 20.0, answered_at=3620.0)
        assert with_dial_report(watched, by_its_clock).second.ended_at == 20.0

    def test_events_were_missed(self) -> None:
        """It says who hung up, and since when they had talked, by the PBX's clock."""
        watched = CallEvidence(second=LegEvidence(status="ANSWER"), lost=True)
        told = dial_report(watched, ANSWERED, ahead=3600.0, now=30.0)
        assert told == DialReport(ANSWERED, 30.0, 10.0, Leg.SECOND, 30.0)
        merged = with_dial_report(watched, told)
        assert (merged.second.answered_at, merged.hung_up_at) == (10.0, 30.0)
        assert merged.hung_up_by is Leg.SECOND
        first = dial_report(watched, evolve(ANSWERED, first_hung_up=True), ahead=3600.0, now=30.0)
        assert first.hung_up_by is Leg.FIRST

    def test_events_were_missed_and_no_answer_came(self) -> None:
        """Who did not answer did not hang up."""
        told = dial_report(CallEvidence(lost=True), DialResult("BUSY", 17), ahead=0.0, now=30.0)
        assert told == DialReport(DialResult("BUSY", 17), 30.0)

    def test_what_was_seen_before_events_were_missed(self) -> None:
        """Counts more."""
        watched = CallEvidence(
            second=LegEvidence(answered_at=11.0), hung_up_by=Leg.FIRST, hung_up_at=29.0, lost=True
        )
        told = dial_report(watched, ANSWERED, ahead=3600.0, now=30.0)
        assert told == DialReport(ANSWERED, 30.0)
        merged = with_dial_report(watched, told)
        assert (merged.hung_up_by, merged.hung_up_at) == (Leg.FIRST, 29.0)
        assert merged.second.answered_at == 11.0
        untimed = dial_report(CallEvidence(lost=True), DialResult("ANSWER"), ahead=3600.0, now=30.0)
        assert untimed.answered_at is None


# The dialplan's record


def with_text(
    known: CallEvidence, text: str, *, ahead: float = 0.0, now: float = inf
) -> CallEvidence:
    """What is known, together with a record as it is written."""
    return with_record(known, astdb.read(text), ahead=ahead, now=now)


def test_times_of_another_clock() -> None:
    """They are moved together: by what is known, or by the end that both have seen."""
    text = "ANSWER,16,4600.0,4605.0,4620.0"
    moved = with_text(CallEvidence(lost=True), text, ahead=3600.0)
    assert (moved.first.answered_at, moved.second.answered_at) == (1000.0, 1005.0)
    assert moved.second.ended_at == 1020.0
    seen = CallEvidence(first=LegEvidence(ended_at=2020.0), lost=True)
    moved = with_text(seen, text, ahead=-3600.0)
    assert (moved.second.answered_at, moved.second.ended_at) == (2005.0, 2020.0)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_was_set_after_the_end(jump: float) -> None:
    """Nobody was there for the end, and the clock is another since: the beginning was seen."""
    seen = CallEvidence(LegEvidence(answered_at=1000.2), LegEvidence(answered_at=1005.1), lost=True)
    moved = with_text(seen, "ANSWER,16,1000.2,1005.1,1020.2", ahead=jump, now=1060.0)
    assert moved.second.answered_at == pytest.approx(1005.1)
    assert moved.second.ended_at == pytest.approx(1020.2)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_was_set_before_the_end(jump: float) -> None:
    """Then it is still what it was at the end."""
    seen = CallEvidence(LegEvidence(answered_at=1000.2), LegEvidence(answered_at=1005.1), lost=True)
    text = f"ANSWER,16,1000.2,1005.1,{1020.2 + jump}"
    moved = with_text(seen, text, ahead=jump, now=1060.0)
    assert moved.second.ended_at == pytest.approx(1020.2)


def test_the_first_leg_was_watched_in_part() -> None:
    """What was seen of it stays."""
    seen = CallEvidence(LegEvidence(channel="PJSIP/100-1", cause=21, ended_at=9.0), lost=True)
    merged = with_text(seen, "first,CHANUNAVAIL,0,3610.0", ahead=3600.0)
    assert merged == CallEvidence(evolve(seen.first, status="CHANUNAVAIL"))
    moved = with_text(CallEvidence(lost=True), "first,BUSY,17,3610.0", ahead=3600.0)
    assert moved.first.ended_at == 10.0


def test_the_first_leg_was_taken_for_the_second() -> None:
    """Its phone alone was found, and could have been either; as nobody answered, it is this."""
    root = LegEvidence(channel="Local/100@c2c-first-0;1", cause=17, ended_at=9.0)
    phone = LegEvidence(channel="PJSIP/100-1", cause=17, sip=486, ended_at=9.1)
    merged = with_text(CallEvidence(root, phone, dialed=True, lost=True), "first,BUSY,17,9.0")
    assert merged == CallEvidence(evolve(root, channel="PJSIP/100-1", sip=486, status="BUSY"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ANSWER,16,10.0,12.0,20.0",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="ANSWER", cause=16, answered_at=12.0, ended_at=20.0),
                dialed=True,
            ),
        ),
        (
            "BUSY,17,10.0,,11.0",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="BUSY", cause=17, ended_at=11.0),
                dialed=True,
            ),
        ),
        (
            "CHANUNAVAIL,21,10.0,,11.0,,PJSIP/100-1,PJSIP/100-1",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="CHANUNAVAIL", cause=21, ended_at=11.0, by=SaidBy.DIALPLAN),
                dialed=True,
            ),
        ),
        (
            ",0,10.0,,11.0",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(cause=0, ended_at=11.0),
                hung_up_by=Leg.FIRST,
            ),
        ),
        (
            ",0,10.0,,20.0,unconfirmed",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(cause=0, ended_at=20.0),
                not_confirmed=NotConfirmed.SILENT,
            ),
        ),
        (
            ",0,10.0,,20.0,declined",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(cause=0, ended_at=20.0),
                not_confirmed=NotConfirmed.DECLINED,
            ),
        ),
        (
            "BUSY,17,10.0,,11.0,yes",
            CallEvidence(
                LegEvidence(status="ANSWER", answered_at=10.0),
                LegEvidence(status="BUSY", cause=17, ended_at=11.0),
                dialed=True,
            ),
        ),
        (
            "first,BUSY,17,11.0",
            CallEvidence(LegEvidence(status="BUSY", cause=17, ended_at=11.0)),
        ),
        (
            "first,,20,11.0",
            CallEvidence(LegEvidence(cause=20, ended_at=11.0, by=SaidBy.DIALPLAN)),
        ),
        (
            "first,NOANSWER,19,11.0",
            CallEvidence(LegEvidence(status="NOANSWER", cause=19, ended_at=11.0), lost=True),
        ),
        (
            "first,CANCEL,x",
            CallEvidence(LegEvidence(status="CANCEL")),
        ),
        (
            "nonsense",
            CallEvidence(LegEvidence(status="ANSWER"), LegEvidence(status="nonsense"), dialed=True),
        ),
    ],
    ids=[
        "answered",
        "busy",
        "refused-by-the-dialplan",
        "gone-before",
        "unconfirmed",
        "declined",
        "confirmed",
        "first-busy",
        "first-absent",
        "first-silent",
        "first-given-up",
        "nonsense",
    ],
)
def test_what_the_dialplan_left(text: str, expected: CallEvidence) -> None:
    """Status, cause and times become evidence; nothing is lost any more."""
    assert with_text(CallEvidence(lost=True), text) == expected
