"""When an event happened: by its stamp, unless there is none or it makes no sense."""

from __future__ import annotations

import pytest

from c2c_agent.pbx.asterisk.event_time import LONGEST_WAIT, happened_at
from tests.fake_link import message

WALL = 1_767_225_600.0
NOW = 5_000.0


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("1767225600.000000", NOW),
        ("1767225599.750000", NOW - 0.25),
        ("1767225592.000000", NOW - 8),
        (f"{WALL - LONGEST_WAIT:.6f}", NOW - LONGEST_WAIT),
        # The clock was set between the two.
        (f"{WALL - LONGEST_WAIT - 1:.6f}", NOW),
        ("1767225600.500000", NOW),
        ("", NOW),
        ("1767225599", NOW),
        ("nan", NOW),
        ("-1.5", NOW),
        ("1767225599.75x", NOW),
        ("\u0661\u0667.\u0661", NOW),
    ],
)
def test_by_its_stamp(stamp: str, at: float) -> None:
    """Seconds of the steady clock."""
    event = message(Event="Hangup", Timestamp=stamp)
    assert happened_at(event, now=NOW, wall=WALL) == at


def test_no_stamp() -> None:
    """It happened when it was read."""
    assert happened_at(message(Event="Hangup"), now=NOW, wall=WALL) == NOW
