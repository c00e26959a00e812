"""When an event of AMI happened, which may be well before it is read.

Pure. Asterisk stamps its events where `timestampevents = yes` stands in manager.conf's `[general]`
(main/manager.c, append_event). An agent that stood still, or waits for a processor, then counts a
talk by what happened and not by when it came to reading of it.
"""

from __future__ import annotations

import re
from typing import Final

from c2c_agent.ami.message import Message

#: Seconds that an event may have waited to be read. What seems older was stamped by a clock that
#: has been set since.
LONGEST_WAIT: Final = 60.0

_STAMP: Final = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")


def happened_at(event: Message, *, now: float, wall: float) -> float:
    """When an event happened, by the steady clock that shows `now`, in seconds.

    `wall` is what the clock of Asterisk's host shows. An event without a stamp happened when it was
    read, so far as anybody knows; so did one whose stamp makes no sense.
    """
    stamp = event.get("Timestamp")
    if _STAMP.fullmatch(stamp) is None:
        return now
    waited = wall - float(stamp)
    return now - waited if 0.0 <= waited <= LONGEST_WAIT else now
