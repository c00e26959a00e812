"""How a talk ends, and whose side ended it; whole calls are those of `test_call_trace`."""

from __future__ import annotations

import pytest

from c2c_agent.call.evidence import NO_MEDIA, Leg
from c2c_agent.pbx.asterisk.channel_tree import APART, ChannelTree
from c2c_agent.pbx.asterisk.end_of_talk import EndOfTalk
from c2c_agent.pbx.asterisk.leg_trace import LegTrace

ROOT = "c2c-1"

#: The first's phone was taken out of the root; it talks with the second's through a Local channel.
NAMES = {
    ROOT: "Local/100@phones-0;1",
    ROOT + ";2": "Local/100@phones-0;2",
    "p1": "PJSIP/100-1",
    "l1": "Local/200@phones-1;1",
    "l2": "Local/200@phones-1;2",
    "p2": "PJSIP/200-2",
}


class Talk:
    """Two who talk since second 2, and what is told of them."""

    def __init__(self) -> None:
        self.tree = ChannelTree(ROOT)
        self.legs = {Leg.FIRST: LegTrace(answered_at=1.0), Leg.SECOND: LegTrace(answered_at=2.0)}
        self.end = EndOfTalk(self.tree, self.legs)
        for uniqueid, name in NAMES.items():
            self.tree.channel(uniqueid, name)
        self.tree.tie(ROOT + ";2", ROOT)
        self.tree.tie("p1", ROOT + ";2")
        self.tree.set_caller("p1", NAMES["p1"])
        self.tree.tie_to_caller("l1")
        self.tree.tie("l2", "l1")
        self.tree.tie("p2", "l2")
        for uniqueid in ("p1", "l1", "p2"):
            self.tree.channels[uniqueid].answered = True

    def hangs_up(self, uniqueid: str, at: float) -> None:
        """Somebody behind a channel hangs up, and it ends."""
        channel = self.tree.channels[uniqueid]
        channel.asked_at = self.end.heard_at = at
        self.end.hung_up(channel, at)
        self.ends(uniqueid, at)

    def ends(self, uniqueid: str, at: float) -> None:
        """A channel ends."""
        channel = self.tree.channels[uniqueid]
        self.end.heard_at = at
        channel.ended, channel.ended_at = True, at

    def optimize(self, at: float) -> None:
        """The two talk on without the Local channel between them."""
        for uniqueid in ("l1", "l2"):
            self.tree.channels[uniqueid].optimized = True
            self.hangs_up(uniqueid, at)


class TestHungUp:
    """Who ended it by hanging up."""

    @pytest.mark.parametrize(("uniqueid", "by"), [("p1", Leg.FIRST), ("p2", Leg.SECOND)])
    def test_a_party(self, uniqueid: str, by: Leg) -> None:
        """The side of the one who did."""
        talk = Talk()
        talk.optimize(3.0)
        assert talk.end.ended() == (None, None)
        talk.hangs_up(uniqueid, 9.0)
        assert talk.end.ended() == (by, 9.0)

    def test_both(self) -> None:
        """The one who did so first."""
        talk = Talk()
        talk.optimize(3.0)
        talk.hangs_up("p2", 9.0)
        talk.hangs_up("p1", 9.5)
        assert talk.end.ended() == (Leg.SECOND, 9.0)

    def test_told_before_the_answer(self) -> None:
        """Of what was dialled it counts, when the answer has come, and ended the talk then."""
        talk = Talk()
        talk.legs[Leg.SECOND].answered_at = None
        talk.hangs_up("p2", 1.4)
        talk.hangs_up("l1", 1.5)
        assert talk.end.ended() == (None, None)
        talk.legs[Leg.SECOND].answered_at = 2.0
        assert talk.end.ended() == (Leg.SECOND, 2.0)
        assert talk.end.who_left() is None

    def test_a_channel_of_no_leg(self) -> None:
        """It ends no talk."""
        talk = Talk()
        talk.tree.channel("x1", "PJSIP/900-1")
        talk.hangs_up("x1", 9.0)
        assert talk.end.ended() == (None, None)

    def test_from_here(self) -> None:
        """Who hangs up then does not end it, but it is over."""
        talk = Talk()
        talk.end.transferred("p1", 8.0)
        talk.end.is_to_end()
        talk.hangs_up("p1", 9.0)
        assert talk.end.ended() == (None, 9.0)
        assert talk.end.who_left() is None


class TestEndsByItself:
    """Who was told to hang up, and did not end the talk."""

    def test_the_root(self) -> None:
        """The phone was taken out of it."""
        talk = Talk()
        talk.hangs_up(ROOT, 3.0)
        assert talk.end.ended() == (None, None)

    @pytest.mark.parametrize(("cause", "by"), [(NO_MEDIA, None), (16, Leg.SECOND)])
    def test_a_channel_between(self, cause: int, by: Leg | None) -> None:
        """It goes with the phone behind it, which nothing was heard of any more."""
        talk = Talk()
        talk.tree.channels["p2"].cause = cause
        talk.ends("p2", 9.0)
        talk.hangs_up("l1", 9.0)
        talk.ends("p1", 9.0)
        assert talk.end.ended() == (by, 9.0)

    @pytest.mark.parametrize(
        ("half_at", "phone_at", "by"),
        [(9.0, 9.001, None), (9.001, 9.0, Leg.SECOND), (9.0, 9.0, Leg.SECOND)],
    )
    def test_a_trunk_that_repeats_it(self, half_at: float, phone_at: float, by: Leg | None) -> None:
        """Where the half that dialled it was hung up before."""
        talk = Talk()
        talk.tree.channels["l2"].asked_at = half_at
        talk.hangs_up("p2", phone_at)
        assert talk.end.ended()[0] is by

    def test_the_half_had_left_before(self) -> None:
        """Then the one that it dialled has hung up by itself."""
        talk = Talk()
        talk.tree.channels["l2"].optimized = True
        talk.tree.channels["l2"].asked_at = 3.0
        talk.hangs_up("p2", 9.0)
        assert talk.end.ended() == (Leg.SECOND, 9.0)

    def test_the_half_of_the_root_had_gone_before(self) -> None:
        """That one has done its part when the phone is taken out."""
        talk = Talk()
        talk.tree.channels[ROOT + ";2"].asked_at = 3.0
        talk.hangs_up("p1", 9.0)
        assert talk.end.ended() == (Leg.FIRST, 9.0)


class TestGoesOn:
    """The talk goes on with somebody else."""

    @pytest.mark.parametrize(("after", "by"), [(APART, None), (APART / 2, Leg.SECOND)])
    def test_another_one_of_the_leg(self, after: float, by: Leg | None) -> None:
        """If it is there for longer than what ends together."""
        talk = Talk()
        talk.optimize(3.0)
        talk.tree.stand_in("p3", "PJSIP/201-3", "p2")
        talk.hangs_up("p2", 6.0)
        talk.end.heard_at = 6.0 + after
        assert talk.end.ended()[0] is by

    @pytest.mark.parametrize(("left_at", "by"), [(8.0, Leg.FIRST), (9.0, Leg.SECOND)])
    def test_the_other_leg_was_gone(self, left_at: float, by: Leg) -> None:
        """Who is the last to hang up has not ended the talk."""
        talk = Talk()
        talk.optimize(3.0)
        talk.ends("p1", left_at)
        talk.hangs_up("p2", 9.0)
        assert talk.end.ended() == ((None, 8.0) if by is Leg.FIRST else (Leg.SECOND, 9.0))

    def test_there_was_no_talk(self) -> None:
        """Then it was not over at any time either."""
        talk = Talk()
        talk.legs[Leg.SECOND].answered_at = None
        talk.ends("p1", 9.0)
        assert talk.end.ended() == (None, None)


class TestTransferred:
    """Who leaves the talk to another one."""

    def test_nobody_comes(self) -> None:
        """Who has transferred it has left, and the other one waits: its end is the talk's."""
        talk = Talk()
        talk.optimize(3.0)
        talk.end.transferred("p2", 6.0)
        talk.hangs_up("p2", 6.1)
        assert talk.end.who_left() is Leg.SECOND
        assert talk.end.ended()[0] is None
        talk.hangs_up("p1", 9.0)
        assert talk.end.ended() == (Leg.FIRST, 9.0)

    def test_somebody_comes(self) -> None:
        """It has the place of who has left."""
        talk = Talk()
        talk.optimize(3.0)
        talk.end.transferred("p2", 6.0, "t1", "Local/201@phones-3;1")
        talk.hangs_up("p2", 6.1)
        talk.end.heard_at = 8.0
        assert talk.end.who_left() is None
        talk.hangs_up("t1", 9.0)
        assert talk.end.ended() == (Leg.SECOND, 9.0)

    def test_not_a_party_of_ours(self) -> None:
        """Of the two whom an event tells of, one may be of another call."""
        talk = Talk()
        talk.end.transferred("x8", 6.0, "x9", "PJSIP/900-9")
        assert talk.end.who_left() is None
        assert "x9" not in talk.tree.channels


class TestFromOutside:
    """One that nothing was heard of until it ended."""

    @pytest.mark.parametrize(
        ("gone", "leg"), [(["p1"], Leg.FIRST), (["p2"], Leg.SECOND), (["p1", "p2"], Leg.SECOND)]
    )
    def test_in_the_place_of_who_left(self, gone: list[str], leg: Leg) -> None:
        """It was called back, as the transfer had failed."""
        talk = Talk()
        talk.optimize(3.0)
        for uniqueid in gone:
            talk.ends(uniqueid, 6.0)
        talk.end.leaves("p5", "PJSIP/205-5")
        assert talk.tree.leg_of("p5") is leg
        assert talk.tree.channels["p5"].answered

    @pytest.mark.parametrize("uniqueid", ["p5", "p1", ROOT])
    def test_in_nobody_s_place(self, uniqueid: str) -> None:
        """While all are there, or where it is known."""
        talk = Talk()
        talk.optimize(3.0)
        if uniqueid != "p5":
            talk.ends("p2", 6.0)
        before = talk.tree.leg_of(uniqueid)
        talk.end.leaves(uniqueid, "PJSIP/205-5")
        assert "p5" not in talk.tree.channels
        assert talk.tree.leg_of(uniqueid) is before
