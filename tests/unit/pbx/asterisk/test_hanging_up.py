"""How a call is hung up: every pair of state and event."""

from __future__ import annotations

from itertools import product

import pytest

from c2c_agent.pbx.asterisk.hanging_up import TABLE, Command, Event, State, step

#: Where each event leads from each state, written down once more by hand: `I`dle, `S`ent,
#: `A`gain, `D`one, `O`ver in this order; `.` stays where it is.
EXPECTED = {
    Event.WANTED: "S....",
    Event.TAKEN: ".D...",
    Event.NOT_ALL: ".A...",
    Event.FAILED: ".I...",
    Event.DUE: "..S..",
    Event.OTHERS_EXIST: "...A.",
    Event.NONE_EXISTS: ".D...",
    Event.LINK_LOST: ".III.",
    Event.DROPPED: "OOOO.",
}


def test_the_table_has_every_event() -> None:
    """And names no state that there is not."""
    assert set(TABLE) == set(Event) == set(EXPECTED)
    assert "".join(state.name[0] for state in State) == "ISADO"


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair(state: State, event: Event) -> None:
    """Leads where it should; it sends, waits and stops waiting as the states say."""
    after, commands = step(state, event)
    letter = EXPECTED[event][list(State).index(state)]
    assert after.name[0] == (state.name[0] if letter == "." else letter)
    if after is state:
        expected: tuple[Command, ...] = ()
    elif after is State.SENT:
        expected = (Command.SEND,)
    elif after is State.AGAIN:
        expected = (Command.WAIT,)
    elif state is State.AGAIN:
        expected = (Command.STOP_WAITING,)
    else:
        expected = ()
    assert commands == expected


def test_one_that_is_only_just_being_made() -> None:
    """Is hung up as soon as it is there, and then who talks on."""
    state = State.IDLE
    told: list[Command] = []
    for event in (
        *(Event.WANTED, Event.NOT_ALL, Event.DUE, Event.TAKEN),
        *(Event.OTHERS_EXIST, Event.DUE, Event.NOT_ALL, Event.DUE, Event.NONE_EXISTS),
    ):
        state, commands = step(state, event)
        told += commands
    assert state is State.DONE
    assert told == [Command.SEND, Command.WAIT] * 3 + [Command.SEND]
