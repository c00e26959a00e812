"""Which leg a channel is part of, and what is alive."""

from __future__ import annotations

import pytest

from c2c_agent.call.evidence import Leg
from c2c_agent.pbx.asterisk.channel_tree import ChannelTree

ROOT = "c2c-1"


class TestLegOf:
    """From a channel up to one whose leg is known."""

    def test_up_to_the_root(self) -> None:
        """Whatever the first leg's channel dialled is of the first leg."""
        tree = ChannelTree(ROOT)
        tree.tie("17.1", ROOT)
        tree.tie("17.2", "17.1")
        assert tree.leg_of("17.2") is Leg.FIRST

    def test_up_to_what_the_root_dialled(self) -> None:
        """And whatever the bridge's Dial made is of the second."""
        tree = ChannelTree(ROOT)
        tree.tie_to_caller("17.3")
        tree.tie("17.4", "17.3")
        assert tree.leg_of("17.4") is Leg.SECOND

    @pytest.mark.parametrize(
        ("dialed_by", "leg"),
        [
            (ROOT, Leg.SECOND),
            (ROOT + ";2", Leg.FIRST),
            ("17.1", Leg.FIRST),  # what the first talks with: it has transferred the talk
            ("17.2", Leg.SECOND),  # somewhere behind that
            ("17.3", Leg.FIRST),  # a phone, which the first talks with when the rest is gone
            ("17.9", None),
            ("", None),
        ],
    )
    def test_who_dialed(self, dialed_by: str, leg: Leg | None) -> None:
        """It says which leg a channel is part of, where its own is known."""
        tree = ChannelTree(ROOT)
        for uniqueid, name in (
            ("17.1", "Local/200@x-1;1"),
            ("17.2", "Local/200@x-1;2"),
            ("17.3", "PJSIP/200-2"),
        ):
            tree.channel(uniqueid, name)
        tree.tie_to_caller("17.1")
        tree.tie("17.2", "17.1")
        tree.tie("17.3", "17.2")
        tree.tie_to_who_dialed("17.4", dialed_by)
        assert tree.leg_of("17.4") is leg

    def test_a_phone_that_rang_as_the_first(self) -> None:
        """Not the root, even if it is a phone, nor a Local channel, nor the second's."""
        tree = ChannelTree(ROOT)
        for uniqueid, name in (
            (ROOT, "PJSIP/100-1"),
            ("17.1", "PJSIP/101-2"),
            ("17.2", "Local/100@x-1;1"),
            ("17.3", "PJSIP/200-2"),
        ):
            tree.channel(uniqueid, name)
        tree.tie("17.1", ROOT)
        tree.tie("17.2", ROOT)
        tree.tie_to_caller("17.3")
        known = [*tree.channels, "17.9"]
        assert [uniqueid for uniqueid in known if tree.rang_as_first(uniqueid)] == ["17.1"]

    def test_not_told_yet(self) -> None:
        """Then it is nobody's."""
        assert ChannelTree(ROOT).leg_of("17.5") is None

    def test_a_ring_of_parents(self) -> None:
        """Events that contradict each other end the search, too."""
        tree = ChannelTree(ROOT)
        tree.tie("17.6", "17.7")
        tree.tie("17.7", "17.6")
        assert tree.leg_of("17.6") is None


class TestLeft:
    """What has not ended."""

    def test_in_order(self) -> None:
        """Those that were told of first come first."""
        tree = ChannelTree(ROOT)
        for uniqueid, name in ((ROOT, "PJSIP/100-1"), ("17.1", "PJSIP/200-2")):
            tree.channel(uniqueid, name)
        assert tree.alive == [ROOT, "17.1"]
        assert not tree.all_ended
        tree.channels[ROOT].ended = True
        assert tree.alive == ["17.1"]

    def test_what_is_not_listed(self) -> None:
        """It has ended; what had ended before is not there again."""
        tree = ChannelTree(ROOT)
        for uniqueid, name in ((ROOT, "PJSIP/100-1"), ("17.1", "PJSIP/200-2")):
            tree.channel(uniqueid, name)
        tree.end_all_but({"17.1"})
        assert tree.alive == ["17.1"]
        tree.end_all_but({ROOT, "17.1"})
        assert tree.alive == ["17.1"]

    @pytest.mark.parametrize(
        ("ended", "only_they"),
        [
            ([], False),
            (["17.1"], False),  # a phone is left
            (["17.3"], False),  # both halves are
            (["17.1", "17.3"], True),
            (["17.2", "17.3"], True),
            (["17.1", "17.2", "17.3"], True),
        ],
    )
    def test_halves(self, ended: list[str], *, only_they: bool) -> None:
        """One ends by itself when the other has, and only then."""
        tree = ChannelTree(ROOT)
        tree.channel("17.1", "Local/200@x-1;1")
        tree.channel("17.2", "Local/200@x-1;2")
        tree.channel("17.3", "PJSIP/200-2")
        for uniqueid in ended:
            tree.channels[uniqueid].ended = True
        assert tree.only_halves_alive is only_they

    def test_by_name(self) -> None:
        """A channel, where there is one of the name."""
        tree = ChannelTree(ROOT)
        phone = tree.channel("17.1", "PJSIP/200-2")
        assert tree.named("PJSIP/200-2") is phone
        assert tree.named("PJSIP/201-3") is None


class TestUnrung:
    """Whether nothing rang, whatever was let hear."""

    def tree(self, **device: bool) -> ChannelTree:
        """A second leg with a Local channel, and perhaps a device behind it."""
        tree = ChannelTree(ROOT)
        tree.channel("l1", "Local/600@x-1;1").rang_at = 1.0  # Dial's option r
        tree.tie_to_caller("l1")
        if device:
            phone = tree.channel("p1", "PJSIP/200-2")
            phone.rang_at, phone.refused = 1.0 if device["rang"] else None, device["refused"]
            tree.tie("p1", "l1")
        return tree

    def test_no_device(self) -> None:
        """Nothing can have rung."""
        assert self.tree().is_unrung(Leg.SECOND)

    @pytest.mark.parametrize(
        ("rang", "refused", "unrung"),
        [
            (False, True, True),
            (True, True, False),
            (True, False, False),
            (False, False, False),  # a trunk says nothing of it; so does a queue of its members
        ],
    )
    def test_a_device(self, *, rang: bool, refused: bool, unrung: bool) -> None:
        """It said at once that it would not."""
        assert self.tree(rang=rang, refused=refused).is_unrung(Leg.SECOND) is unrung


@pytest.mark.parametrize(
    ("cause", "hung_up", "talks", "silent"),
    [
        *((44, False, False, True), (44, True, False, False), (16, False, False, False)),
        # Asterisk has not told yet of its end, and so not of the cause.
        *((None, False, True, True), (None, True, True, False), (None, False, False, False)),
    ],
)
def test_fell_silent(cause: int | None, *, hung_up: bool, talks: bool, silent: bool) -> None:
    """Asterisk ended it for that reason; a phone may hang up with the same cause."""
    tree = ChannelTree(ROOT)
    phone = tree.channel("p1", "PJSIP/200-2")
    tree.tie_to_caller("p1")
    phone.cause, phone.asked_at = cause, 1.0 if hung_up else None
    phone.answered, phone.ended = True, not talks
    assert tree.may_have_fallen_silent(Leg.SECOND) is silent
    assert not tree.may_have_fallen_silent(Leg.FIRST)
