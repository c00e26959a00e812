"""What was told of one leg, and which of it is evidence."""

from __future__ import annotations

import pytest

from c2c_agent.call.evidence import Attempt, LegEvidence, SaidBy
from c2c_agent.pbx.asterisk.channel_tree import Channel
from c2c_agent.pbx.asterisk.last_word import LastWord
from c2c_agent.pbx.asterisk.leg_trace import LegTrace

PHONE = "PJSIP/200-2"
LOCAL = "Local/200@phones-1;1"


def channel(name: str, cause: int | None = None, **told: float | str | bool) -> Channel:
    """A channel that ended with this cause."""
    ended = Channel(name, name, cause=cause, cause_text=None if cause is None else f"text {cause}")
    for attribute, value in told.items():
        setattr(ended, attribute, value)
    return ended


def evidence(
    trace: LegTrace,
    word: LastWord,
    head: Channel | None = None,
    *,
    unrung: bool = False,
    lost: bool = False,
) -> LegEvidence:
    """What is evidence of a leg of which these had the last word, and stands for it."""
    return trace.evidence(word, head, unrung=unrung, lost=lost)


class TestEnd:
    """When the dialling of a leg ended."""

    def test_now(self) -> None:
        """Where nothing is known of its channel's end; the first time it is told counts."""
        trace = LegTrace()
        assert trace.over_at(None) is None
        for now in (4.0, 5.0):
            trace.dialing_ended(channel(LOCAL), now)
        assert trace.over_at(None) == 4.0

    def test_with_its_channel(self) -> None:
        """That it has ended may be told before."""
        trace, head = LegTrace(), channel(LOCAL, ended_at=3.0)
        assert trace.over_at(head) == 3.0
        trace.dialing_ended(head, 4.0)
        assert trace.ended_at == 3.0


class TestDevice:
    """Which phone has answered."""

    def test_the_last_one_until_the_leg_is_answered(self) -> None:
        """A voicemail may be passed by; who takes the talk over did not answer the call."""
        trace = LegTrace()
        passed_by, answered, later = (channel(f"PJSIP/20{number}-1") for number in range(3))
        trace.device_answered(passed_by)
        trace.device_answered(answered)
        trace.answered_at = 5.0
        trace.device_answered(later)
        assert trace.device is answered

    def test_found_answered(self) -> None:
        """Then whatever is the first to be told of is the one."""
        trace, phone = LegTrace(answered_at=5.0), channel(PHONE)
        trace.device_answered(phone)
        assert trace.device is phone

    @pytest.mark.parametrize(
        ("name", "answered_at", "device"),
        [(PHONE, 3.0, PHONE), (LOCAL, 3.0, None), (None, 3.0, None), (PHONE, None, None)],
    )
    def test_before_a_restart(
        self, name: str | None, answered_at: float | None, device: str | None
    ) -> None:
        """What was shown of an answered leg is what answered it, if it was a phone."""
        trace = LegTrace()
        trace.seen_before(LegEvidence(channel=name, ringing_at=2.0, answered_at=answered_at))
        assert (trace.ringing_at, trace.answered_at) == (2.0, answered_at)
        assert (trace.device.name if trace.device is not None else None) == device


class TestLastWord:
    """Which channel is told of."""

    def test_answered(self) -> None:
        """The phone that did."""
        phone = channel(PHONE)
        word = LegTrace(answered_at=3.0, device=phone).last_word([phone], None, timed_out=False)
        assert (word.by, word.channel) == (SaidBy.DEVICE, phone)

    @pytest.mark.parametrize(
        ("ended_at", "status", "by"),
        [
            (4.0, "BUSY", SaidBy.DEVICE),
            (4.0, "CANCEL", None),  # for our sake
            (None, None, None),
        ],
    )
    def test_not_answered(
        self, ended_at: float | None, status: str | None, by: SaidBy | None
    ) -> None:
        """A phone speaks for the leg when its dialling is over."""
        phone = channel(PHONE, status="BUSY")
        trace = LegTrace(status, ended_at=ended_at)
        word = trace.last_word([phone], None, timed_out=False)
        assert (word.by, word.channel) == (by, phone)

    @pytest.mark.parametrize("timed_out", [True, False])
    def test_rung_out(self, *, timed_out: bool) -> None:
        """A phone that was given up has spoken where the limit of its ringing was what ended it."""
        phone = channel(PHONE, rang_at=2.0, status="CANCEL")
        word = LegTrace(ended_at=4.0).last_word([phone], None, timed_out=timed_out)
        assert word.rang_out is timed_out


class TestEvidence:
    """What is told of a leg."""

    def test_nothing_is_known(self) -> None:
        """No channel, no cause."""
        assert evidence(LegTrace(), LastWord()) == LegEvidence()

    def test_times_and_status(self) -> None:
        """As they were told of the leg as a whole."""
        trace = LegTrace("ANSWER", ringing_at=1.0, answered_at=2.0)
        phone = channel(PHONE, 16, sip=200)
        tried = (Attempt("PJSIP/199-1", "BUSY", 17),)
        word = LastWord(SaidBy.DEVICE, phone, tried=tried)
        assert evidence(trace, word, channel(LOCAL, ended_at=9.0)) == LegEvidence(
            channel=PHONE,
            status="ANSWER",
            cause=16,
            cause_text="text 16",
            sip=200,
            ringing_at=1.0,
            answered_at=2.0,
            ended_at=9.0,
            by=SaidBy.DEVICE,
            tried=tried,
        )

    def test_an_answer_that_was_missed(self) -> None:
        """When it was found is no time of an answer."""
        told = evidence(LegTrace(answered_at=60.0, missed=True), LastWord())
        assert (told.status, told.answered_at) == ("ANSWER", None)

    @pytest.mark.parametrize(
        ("ringing_at", "unrung", "told"),
        [(1.0, True, True), (1.0, False, False), (None, True, False)],
    )
    def test_nothing_rang(self, ringing_at: float | None, *, unrung: bool, told: bool) -> None:
        """Of a leg that nobody heard ringing, that need not be told."""
        trace = LegTrace(ringing_at=ringing_at)
        assert evidence(trace, LastWord(), unrung=unrung).unrung is told

    def test_a_response_is_a_phone_s(self) -> None:
        """A Local channel has none of its own."""
        word = LastWord(SaidBy.DIALPLAN, channel(LOCAL, sip=486))
        assert evidence(LegTrace(), word).sip is None

    def test_one_of_several_that_refused(self) -> None:
        """Its status and its end count, not those of the leg as a whole."""
        phone = channel(PHONE, 17, status="BUSY", over_at=3.0)
        word = LastWord(SaidBy.DEVICE, phone, has_refused=True, is_one_of_several=True)
        told = evidence(LegTrace("NOANSWER", ended_at=9.0), word, channel(LOCAL, 18))
        assert (told.status, told.ended_at, told.cause) == ("BUSY", 3.0, 17)


class TestCause:
    """Whose cause is the leg's."""

    @pytest.mark.parametrize(
        ("name", "tried", "lost", "cause"),
        [
            (PHONE, 17, False, 17),  # its own
            (LOCAL, 17, False, 16),  # that of the phone that was tried before
            (LOCAL, 21, False, 17),
            (LOCAL, None, True, 16),  # perhaps that of a phone which nobody knows
            (LOCAL, None, False, 17),
        ],
    )
    def test_answered(self, name: str, tried: int | None, cause: int, *, lost: bool) -> None:
        """What answered, and has no cause of its own, has ended normally."""
        before = () if tried is None else (Attempt("PJSIP/199-1", "BUSY", tried),)
        word = LastWord(SaidBy.DEVICE, channel(name, 17), tried=before)
        told = evidence(LegTrace(answered_at=2.0), word, lost=lost)
        text = "Normal Clearing" if cause == 16 else f"text {cause}"
        assert (told.cause, told.cause_text) == (cause, text)

    @pytest.mark.parametrize(
        ("phone", "head", "cause"),
        [
            (26, None, 26),
            (26, 16, 26),  # the head's says nothing
            (26, 18, 18),  # that nobody answered is said of the leg as a whole
            (26, 17, 26),  # busy was another one
        ],
    )
    def test_given_up(self, phone: int, head: int | None, cause: int) -> None:
        """The phone's cause says only that it was."""
        word = LastWord(SaidBy.DEVICE, channel(PHONE, phone))
        assert evidence(LegTrace(), word, channel(LOCAL, head)).cause == cause

    def test_no_phone(self) -> None:
        """Then the head is all there is."""
        word = LastWord(SaidBy.DIALPLAN, channel("Local/201@phones-1;1", 26))
        assert evidence(LegTrace(), word, channel(LOCAL, 17)).cause == 17

    @pytest.mark.parametrize(
        ("phone", "several", "cause"), [(21, False, 21), (0, False, 17), (0, True, 0)]
    )
    def test_refused(self, phone: int, cause: int, *, several: bool) -> None:
        """The phone's own counts; of one phone that says none, that of the head."""
        refused = channel(PHONE, phone, refused=True)
        word = LastWord(SaidBy.DEVICE, refused, has_refused=True, is_one_of_several=several)
        assert evidence(LegTrace(), word, channel(LOCAL, 17)).cause == cause
