"""One call that a back end has, followed by what it tells: pure.

Events only move forward: what was told late, or told again, changes nothing. That a call is gone
counts when two looks in a row say so, since a back end may still be writing down why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from attrs import evolve, frozen

from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Gone,
    LegEvent,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Source
from c2c_agent.pbx.other.rules import LegEnd, Over, Progress, Told

#: Seconds by which a ringing may be shorter than its timeout, and have lasted that long.
_SLACK: Final = 1.0

_ORDER: Final = tuple(Progress)


@frozen
class FollowedCall:
    """What is known of a call. `timeout`: seconds of ringing; `placed_at`: when its order left.

    `gone_at`: since when it is said to be gone. `missed`: something may have happened that nobody
    saw. `late`: the leg that was cancelled from here, because it rang for too long.
    """

    timeout: float
    placed_at: float | None
    reached: Progress | None = None
    reached_at: float | None = None
    first: LegEvidence = LegEvidence()
    second: LegEvidence = LegEvidence()
    rang_out: frozenset[Leg] = frozenset()
    gone_at: float | None = None
    missed: bool = False
    late: Leg | None = None

    def has_reached(self, progress: Progress) -> bool:
        """Whether it has come as far as that."""
        return self.reached is not None and _ORDER.index(self.reached) >= _ORDER.index(progress)

    @property
    def evidence(self) -> CallEvidence:
        """What is known of its end."""
        answered = self.has_reached(Progress.FIRST_ANSWERED)
        talked = self.second.answered_at is not None
        timed_out, first = self.late, self.first
        if not answered and first.status is None and self._lasted():
            timed_out = Leg.FIRST
        if timed_out is Leg.FIRST:
            first = evolve(first, source=first.source or Source.INFERRED)
        return CallEvidence(
            first=first,
            second=evolve(self.second, ended_at=self.gone_at) if talked else self.second,
            timed_out=timed_out,
            rang_out=self.rang_out,
            dialed=self.has_reached(Progress.SECOND_DIALED),
            hung_up_at=self.gone_at if talked else None,
            lost=True,
            not_told=not self.missed,
        )

    def _lasted(self) -> bool:
        """Whether it is known that the first rang out: then nobody may have missed an answer."""
        if self.missed or self.gone_at is None or self.placed_at is None:
            return False
        return self.gone_at - self.placed_at >= self.timeout - _SLACK

    def overdue(self, now: float) -> Leg | None:
        """The leg that has been ringing for longer than it may."""
        if self.late is not None or self.second.answered_at is not None or self.gone_at is not None:
            return None
        if self.has_reached(Progress.FIRST_ANSWERED):
            since, leg = self.reached_at, Leg.SECOND
        else:
            since, leg = self.placed_at, Leg.FIRST
        return leg if since is not None and now - since >= self.timeout else None


class Step(NamedTuple):
    """A call after something was told of it, and the leg events that follow."""

    call: FollowedCall
    events: tuple[LegEvent, ...] = ()


def hear(call: FollowedCall, told: Iterable[Told], now: float, *, whole: bool = True) -> Step:
    """The call after one look at it at `now` (seconds).

    `whole`: every request of the look was answered; only then it says that a call is not gone.
    """
    told = list(told)
    events: list[LegEvent] = []
    for progress in sorted((one for one in told if isinstance(one, Progress)), key=_ORDER.index):
        if not call.has_reached(progress):
            call = _at(call, progress, now)
            events.append(_event(progress, call))
    for end in told:
        if isinstance(end, LegEnd):
            call = _ended(call, end)
    if Over.GONE not in told:
        return Step(evolve(call, gone_at=None) if whole else call, tuple(events))
    if call.gone_at is None:
        return Step(evolve(call, gone_at=now), tuple(events))
    return Step(call, (*events, Gone(call.evidence)))


def _at(call: FollowedCall, progress: Progress, now: float) -> FollowedCall:
    first, second = call.first, call.second
    source = Source.REPORTED
    match progress:
        case Progress.FIRST_RINGING:
            first = evolve(first, ringing_at=now, source=source)
        case Progress.FIRST_ANSWERED:
            first = evolve(first, answered_at=now, status="ANSWER", source=source)
        case Progress.SECOND_RINGING:
            second = evolve(second, ringing_at=now, source=source)
        case Progress.SECOND_ANSWERED:
            second = evolve(second, answered_at=now, status="ANSWER", source=source)
    # The second rings since the first was answered, or since it was dialled.
    ringing = progress is Progress.SECOND_RINGING and call.reached is not None
    at = call.reached_at if ringing else now
    return evolve(call, reached=progress, reached_at=at, first=first, second=second)


def _event(progress: Progress, call: FollowedCall) -> LegEvent:
    match progress:
        case Progress.FIRST_RINGING:
            return FirstRinging(source=Source.REPORTED)
        case Progress.FIRST_ANSWERED:
            return FirstAnswered(source=Source.REPORTED)
        case Progress.SECOND_DIALED:
            return SecondDialed(call.timeout)
        case Progress.SECOND_RINGING:
            return SecondRinging(source=Source.REPORTED)
        case _:
            return SecondAnswered(source=Source.REPORTED)


def _ended(call: FollowedCall, end: LegEnd) -> FollowedCall:
    """A leg's end, in a word that may come before the call's own."""
    leg = call.first if end.leg is Leg.FIRST else call.second
    if leg.answered_at is None:
        leg = evolve(leg, status=end.status, source=Source.REPORTED)
    rang_out = call.rang_out - {end.leg}
    if end.status == "NOANSWER":
        rang_out |= {end.leg}
    if end.leg is Leg.FIRST:
        return evolve(call, first=leg, rang_out=rang_out)
    return evolve(call, second=leg, rang_out=rang_out)


def end_of_order(end: LegEnd) -> CallEvidence:
    """What is known where the answer to the order says that it came to nothing."""
    call = _ended(FollowedCall(0, None), end)
    return CallEvidence(first=call.first, second=call.second, rang_out=call.rang_out, lost=True)


def adopted(
    timeout: float, placed_at: float | None, first: LegEvidence, second: LegEvidence
) -> FollowedCall:
    """A call that was placed before a restart."""
    reached: Progress | None = None
    at: float | None = None
    for progress, moment in (
        (Progress.FIRST_RINGING, first.ringing_at),
        (Progress.FIRST_ANSWERED, first.answered_at),
        (Progress.SECOND_RINGING, second.ringing_at),
        (Progress.SECOND_ANSWERED, second.answered_at),
    ):
        if moment is not None:
            reached, at = progress, moment
    return FollowedCall(timeout, placed_at, reached, at, first=first, second=second, missed=True)
