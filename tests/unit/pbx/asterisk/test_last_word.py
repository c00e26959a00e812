"""Which channel is told of for a leg, and which as tried before."""

from __future__ import annotations

from itertools import count

import pytest

from c2c_agent.call.evidence import MOST_TRIED, Attempt, SaidBy
from c2c_agent.pbx.asterisk.channel_tree import Channel
from c2c_agent.pbx.asterisk.last_word import LastWord, of_answered, of_unanswered

NAMES = count(1)


def phone(
    dialed: int,
    over: int | None,
    status: str | None = None,
    *,
    rang: bool = True,
    cause: int | None = None,
    refused: bool = False,
) -> Channel:
    """A phone, dialled and given up or refusing as the so-manieth thing that was told."""
    name = f"PJSIP/20{next(NAMES)}"
    return Channel(
        name,
        name,
        dialed_turn=dialed,
        over_turn=over,
        over_at=None if over is None else float(over),
        rang_at=float(dialed) if rang else None,
        status=status,
        cause=cause,
        refused=refused,
        answered=status == "ANSWER",
    )


def busy(dialed: int, over: int) -> Channel:
    """A phone that rang and was busy."""
    return phone(dialed, over, "BUSY", cause=17, refused=True)


def local(number: str, *, answered: bool = False) -> Channel:
    """A near half of a Local channel."""
    return Channel(number, f"Local/{number}@phones-1;1", answered=answered)


def names(word: LastWord) -> list[str]:
    """Who is told of as tried."""
    return [one.channel for one in word.tried]


def unanswered(*channels: Channel, timed_out: bool = False, is_over: bool = True) -> LastWord:
    """The last word of a leg behind a Local channel."""
    return of_unanswered([local("1"), *channels], local("1"), is_over=is_over, timed_out=timed_out)


class TestAnswered:
    def test_a_phone(self) -> None:
        """That is known to have answered, or that alone has; others count as tried before."""
        one, other = busy(1, 2), phone(3, 4, "ANSWER")
        expected = LastWord(SaidBy.DEVICE, other, tried=(Attempt(one.name, "BUSY", 17, None, 1.0),))
        assert of_answered([one, other], local("1"), None) == expected
        assert of_answered([one, other], local("1"), other) == expected

    def test_a_phone_that_the_talk_was_transferred_to(self) -> None:
        """It was not tried before the answer."""
        answered, later = phone(1, 2, "ANSWER"), busy(3, 4)
        assert names(of_answered([answered, later], None, answered)) == []
        seen_before = Channel("", "PJSIP/200")
        assert names(of_answered([later], None, seen_before)) == [later.name]

    def test_the_head_itself(self) -> None:
        """A leg that is dialled as a device, and found answered."""
        head = Channel("1", "PJSIP/100")
        assert of_answered([head], head, None) == LastWord(SaidBy.DEVICE, head)

    def test_a_dialplan(self) -> None:
        """The last of the Local channels that answered; what it dials is its far half's."""
        head, behind = local("1", answered=True), local("2", answered=True)
        far = Channel("3", "Local/2@phones-1;2", answered=True)
        refused = busy(1, 2)
        word = of_answered([head, behind, far, refused], head, None)
        assert (word.by, word.channel, names(word)) == (SaidBy.DIALPLAN, behind, [refused.name])

    def test_nobody_knows(self) -> None:
        """Only that it was answered was told elsewhere."""
        head = local("1")
        assert of_answered([head], head, None) == LastWord(None, head)
        assert of_answered([], None, None) == LastWord()


class TestUnanswered:
    def test_no_device(self) -> None:
        """Then the dialplan refused; unless nobody knows of any channel, or it is not over."""
        assert unanswered().by is SaidBy.DIALPLAN
        assert unanswered(is_over=False).by is None
        assert of_unanswered([], None, is_over=True, timed_out=False) == LastWord()

    def test_one_phone(self) -> None:
        """Its word is the last."""
        one = busy(1, 2)
        assert unanswered(one) == LastWord(SaidBy.DEVICE, one, has_refused=True)

    def test_it_rang_out(self) -> None:
        """Given up by who dialled it, or by the time that it was given."""
        one = phone(1, 2, "NOANSWER")
        assert unanswered(one) == LastWord(SaidBy.DEVICE, one, rang_out=True)
        one = phone(1, 2, "CANCEL")
        assert unanswered(one, timed_out=True) == LastWord(SaidBy.DEVICE, one, rang_out=True)
        one = phone(1, None)
        assert unanswered(one, timed_out=True) == LastWord(SaidBy.DEVICE, one, rang_out=True)

    def test_it_was_given_up_by_us(self) -> None:
        """Nobody had the last word."""
        one = phone(1, 2, "CANCEL")
        assert unanswered(one) == LastWord(None, one)

    def test_nothing_was_heard_of_it(self) -> None:
        """It did not answer, but it did not ring."""
        one = phone(1, 2, "NOANSWER", rang=False)
        assert unanswered(one) == LastWord(SaidBy.DEVICE, one)

    @pytest.mark.parametrize("order", [1, -1])
    def test_one_refuses_and_one_rings_out(self, order: int) -> None:
        """Who was there to be answered counts; the other was tried."""
        one, other = busy(1, 3), phone(2, 4, "NOANSWER")
        word = unanswered(*[one, other][::order])
        assert (word.channel, word.rang_out, names(word)) == (other, True, [one.name])
        assert word.speaks_for_itself

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize(
        "stale",
        [
            phone(2, 9, "CANCEL", rang=False),
            phone(2, None, rang=False),
            phone(2, 9, "NOANSWER", rang=False),
            phone(2, 9, "NOANSWER", rang=False, cause=18, refused=True),
        ],
        ids=["given-up", "forgotten", "given-up-by-its-context", "timed-out"],
    )
    def test_a_stale_contact(self, stale: Channel, order: int) -> None:
        """What the live phone said counts, whenever the other is given up."""
        live = busy(1, 3)
        word = unanswered(*[live, stale][::order], timed_out=True)
        assert (word.by, word.channel, word.has_refused) == (SaidBy.DEVICE, live, True)

    def test_two_that_refuse_at_once(self) -> None:
        """The later one; but who rang, or says why, counts more than who cannot be reached."""
        one, other = busy(1, 3), busy(2, 4)
        assert unanswered(one, other).channel is other
        away = phone(2, 4, "CHANUNAVAIL", rang=False, cause=1)
        assert unanswered(one, away).channel is one
        assert unanswered(away, phone(1, 3, "CONGESTION", rang=False, cause=34)).channel is away

    def test_one_after_the_other(self) -> None:
        """Then the later one has the last word, whatever it is."""
        one, later = busy(1, 2), phone(3, 4, "CHANUNAVAIL", rang=False, cause=1)
        word = unanswered(one, later)
        assert (word.channel, names(word)) == (later, [one.name])

    def test_a_call_that_was_taken_and_not_wanted(self) -> None:
        """As where somebody is asked for a key before they are put through."""
        one = phone(1, 2, "ABORT")
        assert unanswered(one) == LastWord(SaidBy.DEVICE, one, has_refused=True)

    def test_many(self) -> None:
        """The last ones are told of, oldest first."""
        tried = [busy(2 * turn, 2 * turn + 1) for turn in range(MOST_TRIED + 3)]
        word = unanswered(*tried)
        assert names(word) == [one.name for one in tried[2:-1]]


def test_an_end_that_was_told_before_the_beginning() -> None:
    """The two come from threads of their own."""
    device = busy(2, 1)
    assert unanswered(device).channel is device
    earlier = busy(1, 2)
    assert unanswered(earlier, busy(4, 3)).channel is not earlier
