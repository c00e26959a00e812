"""Which calls were asked for a moment ago: a second click on the same number is the same call.

What this process has taken in is here from its first moment on, so that two requests at once are
one call. What was before a restart, or came to another process, the store knows (`claim`).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from attrs import define, field, frozen

from c2c_agent.call.call import Call
from c2c_agent.call.outcome import Outcome
from c2c_agent.dispatch.active import ActiveCall

#: What never reached the PBX was no call that could be repeated.
_NO_CALL: Final = frozenset({Outcome.REJECTED, Outcome.EXPIRED, Outcome.PBX_ERROR})

#: Name of a key, and the two numbers.
_Pair: TypeAlias = tuple[str, str, str]


@frozen
class _Taken:
    active: ActiveCall
    until: float


@define
class Repeats:
    """The calls of keys that have a `repeat_window`, of so many seconds; 0: of such as have none.

    Times are those at which the requests came in.
    """

    _taken: dict[_Pair, _Taken] = field(factory=dict)

    def find(self, call: Call, window: int) -> ActiveCall | None:
        """The call between the same two numbers that the same key has asked for within a window."""
        taken = self._taken.get(_pair(call)) if window else None
        if taken is None or call.received.at >= taken.until:
            return None
        return None if taken.active.call.outcome in _NO_CALL else taken.active

    def note(self, active: ActiveCall, window: int) -> None:
        """A call is taken in: it is the one that is meant from now on, for as long as that is."""
        if not window:
            return
        call = active.call
        now = call.received.at
        self._taken = {pair: one for pair, one in self._taken.items() if now < one.until}
        self._taken[_pair(call)] = _Taken(active, now + window)


def _pair(call: Call) -> _Pair:
    job = call.job
    return (call.key, job.dial_first, job.dial_second) if job is not None else (call.key, "", "")
