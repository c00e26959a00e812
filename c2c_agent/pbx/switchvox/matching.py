"""Which entry of the PBX's lists is which of our calls: only where there is just one possible.

Pure. The PBX gives a call that it places no id. What it lists of current calls, and logs of past
ones, is told apart by what was there before, by the two numbers and by the time. Where two entries
would do, or one entry for two calls, neither counts: it is not guessed. Nor does one of them later,
when the other has gone: which of the two was the call's is not known then either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from attrs import evolve, field, frozen

from c2c_agent.pbx.switchvox.extend_api import CurrentCall, LoggedCall

#: Digits that two spellings of one number have in common at their ends, at least.
_TAIL: Final = 7

#: Seconds by which a call may seem to begin before it was ordered, and after its first leg's
#: ringing.
_EARLY: Final = 2.0
_LATE: Final = 5.0

_NO_DIGITS: Final = re.compile(r"[^0-9*#A-Za-z]")


@frozen
class Wanted:
    """What a call's entry must look like.

    `first` and `second` are the numbers of its legs, each as asked for and as dialled. `placed_at`
    is on the PBX's clock; None: that clock is not known. `baseline` are the ids that were there
    before; None: nobody looked. `doubtful` are the ids of entries that would have done, where
    others would have, too.
    """

    first: frozenset[str]
    second: frozenset[str]
    timeout: float
    placed_at: float | None = None
    baseline: frozenset[str] | None = field(default=None, repr=False)
    entry_id: str | None = None
    doubtful: frozenset[str] = field(default=frozenset(), repr=False)


@frozen
class Match:
    """What a list says of a call: the one entry that is its own; or which ones may be."""

    entry: CurrentCall | None = None
    doubtful: frozenset[str] = frozenset()


class _Entry(Protocol):
    """What the two lists have in common."""

    @property
    def id(self) -> str: ...
    @property
    def from_number(self) -> str: ...
    @property
    def to_number(self) -> str: ...
    @property
    def started_at(self) -> float | None: ...


def match_current(
    calls: Mapping[str, Wanted], entries: Sequence[CurrentCall]
) -> Mapping[str, Match]:
    """The entry of each call; a call that has one keeps it for as long as it is listed.

    One that shows one number alone may still turn out to be another call's: where an entry with
    both comes to stand beside it.
    """
    by_id = {entry.id: entry for entry in entries}
    taken = {call.entry_id for call in calls.values()}
    possible = {
        name: [
            entry
            for entry in entries
            if (entry.id == call.entry_id or entry.id not in taken) and _fits(call, entry)
        ]
        for name, call in calls.items()
    }
    known = {
        name: entry
        for name, call in calls.items()
        if call.entry_id not in call.doubtful
        and (entry := by_id.get(call.entry_id or "")) is not None
        and (_is_whole(entry) or not any(map(_is_whole, possible[name])))
    }
    possible = {name: found for name, found in possible.items() if name not in known}
    claims = Counter(entry.id for candidates in possible.values() for entry in candidates)
    matches = {name: Match(entry) for name, entry in known.items()}
    for name, candidates in possible.items():
        doubtful = calls[name].doubtful | {one for one, count in claims.items() if count > 1}
        alone = len(candidates) == 1 and candidates[0].id not in doubtful
        ids = frozenset(entry.id for entry in candidates)
        matches[name] = Match(candidates[0]) if alone else Match(doubtful=ids)
    return matches


def doubting(call: Wanted, match: Match) -> Wanted:
    """What the call's entry must look like from now on: none that was in doubt is it any more."""
    return evolve(call, doubtful=call.doubtful | match.doubtful) if match.doubtful else call


def match_logged(
    call: Wanted, entries: Iterable[LoggedCall], *, others: Collection[Wanted] = ()
) -> LoggedCall | None:
    """The one entry of the log that is a call's own, and that no other call's could be."""
    if call.placed_at is None:
        return None  # without the time, any earlier call of the two would do as well
    candidates = [entry for entry in entries if _fits(call, entry, whole=True)]
    if len(candidates) != 1 or any(_fits(other, candidates[0], whole=True) for other in others):
        return None
    return candidates[0]


def is_number(listed: str, numbers: Iterable[str]) -> bool:
    """Whether what is listed is one of these numbers, perhaps in another spelling."""
    plain = _plain(listed)
    if not plain:
        return False
    for number in numbers:
        wanted = _plain(number)
        if plain == wanted:
            return True
        if min(len(plain), len(wanted)) >= _TAIL and plain[-_TAIL:] == wanted[-_TAIL:]:
            return True
    return False


def _fits(call: Wanted, entry: _Entry, *, whole: bool = False) -> bool:
    """Whether an entry may be a call's; `whole`: both numbers must be there."""
    if call.baseline is not None and entry.id in call.baseline:
        return False
    if call.placed_at is None:
        if call.baseline is None:
            return False  # nothing tells it from a call that was there before
    elif entry.started_at is None or not (
        call.placed_at - _EARLY <= entry.started_at <= call.placed_at + call.timeout + _LATE
    ):
        return False
    return any(
        is_number(one, call.first)
        and (is_number(other, call.second) or (not whole and not _plain(other)))
        for one, other in (
            (entry.from_number, entry.to_number),
            (entry.to_number, entry.from_number),
        )
    )


def _is_whole(entry: _Entry) -> bool:
    """Whether it shows both numbers."""
    return bool(_plain(entry.from_number) and _plain(entry.to_number))


def _plain(number: str) -> str:
    return _NO_DIGITS.sub("", number)
