"""Which leg a channel is part of."""

from __future__ import annotations

from c2c_agent.ami.channel_tree import ChannelTree
from c2c_agent.pbx import Leg

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
        tree.tie_to_root("17.3")
        tree.tie("17.4", "17.3")
        assert tree.leg_of("17.4") is Leg.SECOND

    def test_not_told_yet(self) -> None:
        """Then it is nobody's."""
        assert ChannelTree(ROOT).leg_of("17.5") is None

    def test_a_ring_of_parents(self) -> None:
        """Events that contradict each other end the search, too."""
        tree = ChannelTree(ROOT)
        tree.tie("17.6", "17.7")
        tree.tie("17.7", "17.6")
        assert tree.leg_of("17.6") is None
