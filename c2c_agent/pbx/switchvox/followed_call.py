"""One call that a Switchvox was given, and what each thing that is heard of it means.

Pure: a table of phases and of what can be heard. The PBX gives no id and no events. What is known
is its answer to the order, which comes when the first phone has answered; whether the call is
listed, and as what; and what its log has afterwards. What follows from that alone is told as
inferred, and what does not follow is not told.

    ordered ─> accepted ─> ending ─> over
       │  └──> early ──┘     │
       └─────> lost ─────────┘

`early`: the answer came so soon that the first phone may still ring. `lost`: nobody knows whether
the PBX has the call. `ending`: it is listed no more, and the log is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from attrs import evolve, frozen

from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginateUnanswered,
    SecondAnswered,
    SecondDialed,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Source
from c2c_agent.pbx.switchvox.extend_api import AT_ONCE, CurrentCall, LoggedCall
from c2c_agent.pbx.switchvox.matching import Match, Wanted, doubting, is_number

#: States of a listed call in which its second side was answered, by a person or by the PBX.
_ANSWERED: Final = frozenset(
    {"talking", "conference", "ivr", "queued", "leaving_voicemail", "parked", "monitoring"}
)

#: Lists in a row in which a call is not, before it counts as over.
_MISSING: Final = 2

#: Seconds for which a call that nobody knows of is looked for.
_SOUGHT: Final = 15.0

#: Seconds by which the PBX's end of a ringing may seem to come too early, and too late: its list
#: is looked at once in a second, or less often.
_EARLIER: Final = 1.0
_LATER: Final = 8.0

#: Seconds beyond the ringing of both legs for which several entries may keep a call from its end.
_UNDECIDED: Final = 60.0


class Phase(StrEnum):
    """Where a call is, as far as its driver knows."""

    ORDERED = "ordered"
    EARLY = "early"
    ACCEPTED = "accepted"
    LOST = "lost"
    ENDING = "ending"
    OVER = "over"


@frozen
class FollowedCall:
    """What is known of a call.

    `placed_at` is when the order was written; None: nobody knows. `missed`: something may have
    happened unseen. `still_first`: it was seen that the answer to the order does not wait for the
    first phone. `undecided`: something is listed that may be this call, or another.
    Times are seconds on the clock of the program.
    """

    wanted: Wanted
    timeout: int
    second_timeout: bool
    placed_at: float | None
    phase: Phase = Phase.ORDERED
    first: LegEvidence = LegEvidence()
    second: LegEvidence = LegEvidence()
    accepted_at: float | None = None
    missing: int = 0
    missing_since: float | None = None
    seen: bool = False  # in a list, after the order was answered
    sought_since: float | None = None
    found_told: bool = False
    missed: bool = False
    still_first: bool = False
    undecided: bool = False


@frozen
class Accepted:
    """The PBX says that it called; `seconds` after the order."""

    dialed_first: str
    dialed_second: str
    data: Mapping[str, object]
    seconds: float


@frozen
class NoAnswer:
    """The order has left, and no answer came."""

    reason: str


@frozen
class Sought:
    """It is to be found out whether the PBX has the call."""


@frozen
class Missed:
    """The PBX could not be asked for a while."""


@frozen
class Listed:
    """The PBX's list of current calls: which is this one, and what else is there."""

    match: Match
    ids: frozenset[str] = frozenset()


@frozen
class Logged:
    """What the PBX's log has of the call. `last`: it will not be asked again."""

    entry: LoggedCall | None
    last: bool


Heard: TypeAlias = Accepted | NoAnswer | Sought | Missed | Listed | Logged


class Step(NamedTuple):
    """A call after something was heard of it, and the leg events that follow."""

    call: FollowedCall
    told: tuple[LegEvent, ...] = ()


def hear(call: FollowedCall, heard: Heard, now: float) -> Step:
    """The call after what was heard at `now` (seconds)."""
    if isinstance(heard, Listed):
        call = evolve(
            call,
            wanted=doubting(call.wanted, heard.match),
            undecided=bool(heard.match.doubtful),
        )
    return _TABLE[type(heard)].get(call.phase, _nothing)(call, heard, now)


def _nothing(call: FollowedCall, _heard: Heard, _now: float) -> Step:
    """Changes nothing in this phase."""
    return Step(call)


# The order


def _accepted(call: FollowedCall, heard: Accepted, now: float) -> Step:
    wanted = evolve(
        call.wanted,
        first=call.wanted.first | ({heard.dialed_first} - {""}),
        second=call.wanted.second | ({heard.dialed_second} - {""}),
    )
    call = evolve(call, wanted=wanted, accepted_at=now, missing=0)
    told = OriginateAccepted(heard.data)
    if heard.seconds < AT_ONCE:
        return Step(evolve(call, phase=Phase.EARLY), (told,))
    after, answered = _first_answered(call, now, Source.REPORTED)
    return Step(after, (told, *answered))


def _first_answered(call: FollowedCall, now: float, source: Source) -> Step:
    first = evolve(call.first, answered_at=now, status="ANSWER", source=source)
    after = evolve(call, phase=Phase.ACCEPTED, first=first, accepted_at=now)
    return Step(after, (FirstAnswered(source=source), SecondDialed(call.timeout)))


def _unanswered(call: FollowedCall, heard: NoAnswer, now: float) -> Step:
    after = evolve(call, phase=Phase.LOST, missed=True, sought_since=now)
    return Step(after, (OriginateUnanswered(heard.reason),))


# The list


def _listed_before_the_answer(call: FollowedCall, heard: Listed, now: float) -> Step:
    entry = heard.match.entry
    if entry is None:
        return Step(call)
    return _first_rings(_keep(call, entry, heard), now)


def _first_rings(call: FollowedCall, now: float) -> Step:
    if call.first.ringing_at is not None:
        return Step(call)
    first = evolve(call.first, ringing_at=now, source=Source.INFERRED)
    return Step(evolve(call, first=first), (FirstRinging(source=Source.INFERRED),))


def _listed_early(call: FollowedCall, heard: Listed, now: float) -> Step:
    entry = heard.match.entry
    if entry is None:
        return _not_listed(call, heard, now)
    found, call = _found(evolve(_keep(call, entry, heard), missing=0, seen=True))
    if entry.state == "ringing" and is_number(entry.to_number, call.wanted.first):
        after, told = _first_rings(call, now)
        return Step(evolve(after, still_first=True), (*found, *told))
    after, told = _first_answered(call, now, Source.INFERRED)
    return Step(after, (*found, *told))


def _listed(call: FollowedCall, heard: Listed, now: float) -> Step:
    entry = heard.match.entry
    if entry is None:
        return _not_listed(call, heard, now)
    call = evolve(_keep(call, entry, heard), missing=0, seen=True)
    told, call = _found(call)
    if call.second.answered_at is not None or not _second_has_answered(call, entry):
        return Step(call, told)
    second = evolve(call.second, answered_at=now, status="ANSWER", source=Source.INFERRED)
    return Step(evolve(call, second=second), (*told, SecondAnswered(source=Source.INFERRED)))


def _second_has_answered(call: FollowedCall, entry: CurrentCall) -> bool:
    if entry.state not in _ANSWERED:
        return False
    # Where the first's ringing was seen after the answer, its talk with the PBX is one, too.
    return not call.still_first or is_number(entry.to_number, call.wanted.second)


def _listed_when_lost(call: FollowedCall, heard: Listed, now: float) -> Step:
    if heard.match.entry is not None:
        found = Phase.EARLY if call.first.answered_at is None else Phase.ACCEPTED
        # That it is there is told, whether somebody asked or not.
        return hear(evolve(call, phase=found, sought_since=call.sought_since or now), heard, now)
    if call.sought_since is None or now - call.sought_since < _SOUGHT:
        return Step(call)
    return Step(evolve(call, phase=Phase.ENDING, missing_since=now))


def _listed_again(call: FollowedCall, heard: Listed, now: float) -> Step:
    if heard.match.entry is None:
        return Step(call)
    back = Phase.EARLY if call.first.answered_at is None else Phase.ACCEPTED
    return hear(evolve(call, phase=back, missing=0), heard, now)


def _not_listed(call: FollowedCall, _heard: Listed, now: float) -> Step:
    longest = 2 * call.timeout + _UNDECIDED
    if call.undecided and call.placed_at is not None and now < call.placed_at + longest:
        return Step(evolve(call, missing=0))  # one of them may be this one
    since = now if call.missing == 0 else call.missing_since
    after = evolve(call, missing=call.missing + 1, missing_since=since)
    if after.missing >= _MISSING:
        after = evolve(after, phase=Phase.ENDING)
    return Step(after)


def _keep(call: FollowedCall, entry: CurrentCall, heard: Listed) -> FollowedCall:
    """Remember its entry; what is listed beside it is another call."""
    others = (call.wanted.baseline or frozenset()) | (heard.ids - {entry.id})
    return evolve(call, wanted=evolve(call.wanted, entry_id=entry.id, baseline=others))


# Found again


def _sought(call: FollowedCall, _heard: Sought, now: float) -> Step:
    # Who asks again and again does not wait for longer.
    is_sought = call.sought_since is not None and not call.found_told
    since = call.sought_since if is_sought else now
    return Step(evolve(call, sought_since=since, found_told=False))


def _found(call: FollowedCall) -> tuple[tuple[LegEvent, ...], FollowedCall]:
    if call.sought_since is None or call.found_told:
        return (), call
    return (Found(),), evolve(call, found_told=True)


def _missed(call: FollowedCall, _heard: Missed, _now: float) -> Step:
    return Step(evolve(call, missed=True, missing=0))


# The end


def may_be_logged(call: FollowedCall, *, last: bool) -> bool:
    """Whether an entry that fits, the log's only one, is this call's.

    Where the list had several that would have done, the other may be the one that is over; and be
    logged first. `last`: the log will not be asked again.
    """
    return not call.undecided and (last or not call.wanted.doubtful)


def _logged(call: FollowedCall, heard: Logged, now: float) -> Step:
    if heard.entry is None and not heard.last:
        return Step(call)
    evidence = _evidence(call, heard.entry, now)
    return Step(evolve(call, phase=Phase.OVER), (Gone(evidence),))


def end_unseen(call: FollowedCall) -> Step:
    """The end of a call that is not followed: nobody will tell what becomes of it."""
    return Step(evolve(call, phase=Phase.OVER), (Gone(_untold(call)),))


def _untold(call: FollowedCall) -> CallEvidence:
    return CallEvidence(
        first=call.first,
        second=call.second,
        dialed=call.first.answered_at is not None,
        lost=True,
        not_told=not call.missed,
    )


def _evidence(call: FollowedCall, entry: LoggedCall | None, now: float) -> CallEvidence:
    ended_at = call.missing_since if entry is None else _end_of(call, entry)
    talked = call.second.answered_at is not None or (entry is not None and entry.talked)
    if talked:
        return _talk(call, entry, now if ended_at is None else ended_at)
    evidence = _untold(call)
    if entry is None and (not call.seen or call.missed):
        return evidence  # it may have been answered, unseen
    leg = _leg_that_rang(call)
    if leg is None or call.accepted_at is None or ended_at is None:
        return evidence
    if -_EARLIER <= ended_at - call.accepted_at - call.timeout <= _LATER:
        return evolve(evidence, timed_out=leg, lost=False, not_told=False)
    return evidence


def _leg_that_rang(call: FollowedCall) -> Leg | None:
    """Whose ringing the PBX may have ended with our timeout; None: nobody's, or nobody knows."""
    if call.first.answered_at is None:
        return Leg.FIRST if call.still_first else None
    return Leg.SECOND if call.second_timeout else None


def _talk(call: FollowedCall, entry: LoggedCall | None, ended_at: float) -> CallEvidence:
    first, second = call.first, call.second
    if first.answered_at is None and first.status is None:
        first = evolve(first, status="ANSWER", source=Source.INFERRED)
    if entry is not None and entry.talked:
        answered_at = second.answered_at
        if entry.talk_seconds:
            answered_at = ended_at - entry.talk_seconds
        second = evolve(second, status="ANSWER", answered_at=answered_at, source=Source.REPORTED)
    return CallEvidence(
        first=first,
        second=evolve(second, ended_at=ended_at),
        dialed=True,
        hung_up_at=ended_at,
        lost=second.answered_at is None,
    )


def _end_of(call: FollowedCall, entry: LoggedCall) -> float | None:
    """When a logged call ended, on our clock."""
    begun, placed = entry.started_at, call.wanted.placed_at
    if begun is None or placed is None or entry.total_seconds is None or call.placed_at is None:
        return call.missing_since
    return call.placed_at + (begun - placed) + entry.total_seconds


_ON_THE_WAY: Final = (Phase.EARLY, Phase.ACCEPTED, Phase.LOST, Phase.ENDING)

_TABLE: Final[Mapping[type, Mapping[Phase, Callable[..., Step]]]] = {
    Accepted: {Phase.ORDERED: _accepted},
    NoAnswer: {Phase.ORDERED: _unanswered},
    # Nothing while the order's answer is still to come.
    Sought: dict.fromkeys(_ON_THE_WAY, _sought),
    Missed: dict.fromkeys((Phase.ORDERED, *_ON_THE_WAY), _missed),
    Listed: {
        Phase.ORDERED: _listed_before_the_answer,
        Phase.EARLY: _listed_early,
        Phase.ACCEPTED: _listed,
        Phase.LOST: _listed_when_lost,
        Phase.ENDING: _listed_again,
    },
    Logged: {Phase.ENDING: _logged},
}
