"""How a call is hung up, whatever of it exists: a pure, total table.

The channel whose end is the call's is hung up, and mostly all the rest goes with it. One that is
only just being made is hung up as soon as it is there; who talks on after it has gone is hung up
one by one. `followed_call` owns the timer and sends.

    idle ─> sent ─> done
             └─> again ─> sent …
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """How far it is."""

    IDLE = "idle"
    SENT = "sent"  # one channel's Hangup was sent, and is not answered
    AGAIN = "again"  # it is said again in a moment
    DONE = "done"  # the rest should end by itself
    OVER = "over"  # nothing more is to be done


class Event(Enum):
    """What can happen."""

    WANTED = "the call is to end"
    TAKEN = "Asterisk hangs up the channel whose end is the call's"
    NOT_ALL = "it refused, or has hung up another channel: some may exist"
    FAILED = "no answer came"
    DUE = "the moment is over"
    OTHERS_EXIST = "the channel whose end is the call's has gone, and others exist"
    NONE_EXISTS = "no channel is known that could be hung up"
    LINK_LOST = "Asterisk cannot be told"
    DROPPED = "nothing of the call exists"


class Command(Enum):
    """What is to be done."""

    SEND = "hang up one channel"
    WAIT = "come back with DUE in a moment"
    STOP_WAITING = "do not"


class Step(NamedTuple):
    """How far it is after an event, and what is to be done."""

    state: State
    commands: tuple[Command, ...] = ()


def step(state: State, event: Event) -> Step:
    """What comes after `event`; pure."""
    return TABLE[event].get(state, Step(state))


_SEND: Final = Step(State.SENT, (Command.SEND,))
_AGAIN: Final = Step(State.AGAIN, (Command.WAIT,))

#: What is not listed changes nothing: it was asked for already, or comes too late.
TABLE: Final[Mapping[Event, Mapping[State, Step]]] = {
    Event.WANTED: {State.IDLE: _SEND},
    Event.TAKEN: {State.SENT: Step(State.DONE)},
    Event.NOT_ALL: {State.SENT: _AGAIN},
    # Asked again when the call is found on a new link.
    Event.FAILED: {State.SENT: Step(State.IDLE)},
    Event.DUE: {State.AGAIN: _SEND},
    Event.OTHERS_EXIST: {State.DONE: _AGAIN},
    Event.NONE_EXISTS: {State.SENT: Step(State.DONE)},
    Event.LINK_LOST: {
        State.SENT: Step(State.IDLE),
        State.AGAIN: Step(State.IDLE, (Command.STOP_WAITING,)),
        State.DONE: Step(State.IDLE),
    },
    Event.DROPPED: {
        State.IDLE: Step(State.OVER),
        State.SENT: Step(State.OVER),
        State.AGAIN: Step(State.OVER, (Command.STOP_WAITING,)),
        State.DONE: Step(State.OVER),
    },
}
