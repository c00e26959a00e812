"""When a call at Asterisk is over, and when that may be told: a pure, total table.

`step(following, event, seen)` gives what comes after an event, and the commands to carry out;
`seen` is what has been watched of the call up to now. `followed_call` owns the timer and sends.

    followed ─> explaining ─> reading ─> over
        └────────────┴───────────────────↗

A call is over when nothing of it exists and no FastAGI session holds a channel of it. It may have
to be explained before (an OriginateResponse travels a way of its own), and the dialplan's record in
AstDB is read where the end was not watched and no session has told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple, TypeAlias

from attrs import frozen

from c2c_agent.call.evolve import evolve


class State(StrEnum):
    """Where the following of a call is."""

    FOLLOWED = "followed"
    EXPLAINING = "explaining"  # nothing exists; what explains the end may still come
    READING = "reading"  # the dialplan's record is asked for
    OVER = "over"


class Event(Enum):
    """What can happen."""

    HEARD = "something of it was heard"
    NOT_FOUND = "Asterisk lists nothing of it"
    SESSION_BEGAN = "FastAGI holds a channel of it"
    SESSION_TOLD = "the session has told how the second leg ended"
    DIALPLAN_TOLD = "the dialplan knows that it need not leave a record"
    SESSION_ENDED = "the session is over, or was lost"
    WAITED = "nothing more will explain the end"
    RECORD_READ = "the record was there"
    NO_RECORD = "there is no record"
    READ_LATE = "no answer came; Asterisk is slow"
    READ_LOST = "no answer came; the link is lost, or Asterisk answers nothing any more"
    DROPPED = "nothing more is to be done for it"


class Command(Enum):
    """What is to be done."""

    WAIT = "come back with WAITED in a moment"
    STOP_WAITING = "do not"
    READ_RECORD = "read the record, and tell how that went"
    TELL_END = "sum up the evidence, and tell that the call is gone"


class Existing(Enum):
    """What exists of a call on the PBX, as far as was heard."""

    SOMETHING = "something"
    UNEXPLAINED = "nothing, or only what ends by itself; why is not known"
    NOTHING = "nothing, and why is known"


@frozen
class Seen:
    """What has been watched of a call. `lost`: some of it was missed.

    `ran_dialplan`: a dialplan rang the first leg, so it leaves a record where nobody answered.
    """

    existing: Existing
    first_answered: bool = False
    lost: bool = False
    ran_dialplan: bool = False


@frozen
class Following:
    """How far a call has been followed.

    `told`: a session has told how the second leg ended, so no record is needed. `has_record`: the
    dialplan's record of the call may be in AstDB.
    """

    state: State = State.FOLLOWED
    in_session: bool = False
    told: bool = False
    has_record: bool = False


class Step(NamedTuple):
    """How far it has been followed after an event, and what is to be done."""

    following: Following
    commands: tuple[Command, ...] = ()


def step(following: Following, event: Event, seen: Seen) -> Step:
    """What comes after `event`; pure."""
    return TABLE[event][following.state](following, seen)


# Transitions


def _late(following: Following, _seen: Seen) -> Step:
    """Came after what it is for: changes nothing."""
    return Step(following)


def _look(following: Following, seen: Seen) -> Step:
    """Whether it is over now; a session that holds a channel has still to tell."""
    if following.in_session or seen.existing is Existing.SOMETHING:
        return Step(following)
    if seen.existing is Existing.NOTHING:
        return _conclude(following, seen)
    return _explain(following, seen)


def _look_again(following: Following, seen: Seen) -> Step:
    """Whether it has been explained meanwhile."""
    if following.in_session or seen.existing is not Existing.NOTHING:
        return Step(following)
    return _conclude(following, seen)


def _explain(following: Following, _seen: Seen) -> Step:
    return Step(evolve(following, state=State.EXPLAINING), (Command.WAIT,))


def _conclude(following: Following, seen: Seen) -> Step:
    """It is over; perhaps something is still to be learned."""
    if following.told:
        return _end(following, seen)
    if not seen.first_answered and not seen.lost:
        # All was watched; that the agent was there, c2c-first-result does not know.
        return _end(evolve(following, has_record=seen.ran_dialplan), seen)
    reading = evolve(following, state=State.READING)
    return Step(reading, (Command.STOP_WAITING, Command.READ_RECORD))


def _end(following: Following, _seen: Seen) -> Step:
    over = evolve(following, state=State.OVER)
    return Step(over, (Command.STOP_WAITING, Command.TELL_END))


def _end_with_record(following: Following, seen: Seen) -> Step:
    """The record stays until the end is stored: until then it is the only proof."""
    return _end(evolve(following, has_record=True), seen)


def _wait_for_link(following: Following, _seen: Seen) -> Step:
    """It is looked for again when the link is back, or when its time is over."""
    return Step(evolve(following, state=State.FOLLOWED))


def _begin_session(following: Following, _seen: Seen) -> Step:
    began = evolve(following, state=State.FOLLOWED, in_session=True)
    waiting = following.state is State.EXPLAINING
    return Step(began, (Command.STOP_WAITING,) if waiting else ())


def _end_session(following: Following, seen: Seen) -> Step:
    return _look(evolve(following, in_session=False), seen)


def _leave_session(following: Following, _seen: Seen) -> Step:
    """Its end decides nothing any more."""
    return Step(evolve(following, in_session=False))


def _take_word(following: Following, _seen: Seen) -> Step:
    """The dialplan leaves a record, too, unless it is told that it need not."""
    return Step(evolve(following, told=True, has_record=True))


def _no_record(following: Following, _seen: Seen) -> Step:
    return Step(evolve(following, has_record=False))


def _drop(following: Following, _seen: Seen) -> Step:
    return Step(evolve(following, state=State.OVER), (Command.STOP_WAITING,))


# The table

Transition: TypeAlias = Callable[[Following, Seen], Step]


def _row(
    *, followed: Transition, explaining: Transition, reading: Transition, over: Transition = _late
) -> Mapping[State, Transition]:
    """One event's transition in each state; a state cannot be forgotten."""
    return {State(name): transition for name, transition in locals().items()}


TABLE: Final[Mapping[Event, Mapping[State, Transition]]] = {
    Event.HEARD: _row(followed=_look, explaining=_look_again, reading=_late),
    Event.NOT_FOUND: _row(followed=_conclude, explaining=_conclude, reading=_late),
    Event.SESSION_BEGAN: _row(followed=_begin_session, explaining=_begin_session, reading=_late),
    Event.SESSION_TOLD: _row(followed=_take_word, explaining=_take_word, reading=_take_word),
    Event.DIALPLAN_TOLD: _row(followed=_no_record, explaining=_no_record, reading=_no_record),
    Event.SESSION_ENDED: _row(
        followed=_end_session, explaining=_leave_session, reading=_leave_session
    ),
    Event.WAITED: _row(followed=_late, explaining=_conclude, reading=_late),
    Event.RECORD_READ: _row(followed=_late, explaining=_late, reading=_end_with_record),
    Event.NO_RECORD: _row(followed=_late, explaining=_late, reading=_end),
    Event.READ_LATE: _row(followed=_late, explaining=_late, reading=_explain),
    Event.READ_LOST: _row(followed=_late, explaining=_late, reading=_wait_for_link),
    Event.DROPPED: _row(followed=_drop, explaining=_drop, reading=_drop),
}
