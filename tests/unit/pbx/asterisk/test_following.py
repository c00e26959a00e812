"""When a call is over, and when that may be told: every pair of state and event."""

from __future__ import annotations

from itertools import product

import pytest
from attrs import evolve

from c2c_agent.pbx.asterisk.following import (
    TABLE,
    Command,
    Event,
    Existing,
    Following,
    Seen,
    State,
    step,
)

FOLLOWED = Following()
EXPLAINING = Following(State.EXPLAINING)
READING = Following(State.READING)
ALIVE = Seen(Existing.SOMETHING)
REFUSED = Seen(Existing.NOTHING)  # the first leg, and all of it was watched
UNEXPLAINED = Seen(Existing.UNEXPLAINED)
ANSWERED = Seen(Existing.NOTHING, first_answered=True)
LOST = Seen(Existing.NOTHING, lost=True)

#: Where each event leads from each state, written down once more by hand, for a call of which
#: something exists, and for one that was answered and of which nothing does. One letter for each
#: state in order: its first letter (`e`xplaining, `o`ver …), or `.` where it stays.
EXPECTED = {
    Event.HEARD: ("....", "rr.."),
    Event.NOT_FOUND: ("oo..", "rr.."),
    Event.SESSION_BEGAN: (".f..", ".f.."),
    Event.SESSION_TOLD: ("....", "...."),
    Event.DIALPLAN_TOLD: ("....", "...."),
    Event.SESSION_ENDED: ("....", "r..."),
    Event.WAITED: (".o..", ".r.."),
    Event.RECORD_READ: ("..o.", "..o."),
    Event.NO_RECORD: ("..o.", "..o."),
    Event.READ_LATE: ("..e.", "..e."),
    Event.READ_LOST: ("..f.", "..f."),
    Event.DROPPED: ("ooo.", "ooo."),
}


class TestTable:
    def test_has_every_pair_of_state_and_event(self) -> None:
        """No event is missing, and no state."""
        assert set(TABLE) == set(Event) == set(EXPECTED)
        for row in TABLE.values():
            assert set(row) == set(State)

    @pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
    def test_every_pair_leads_where_it_should(self, state: State, event: Event) -> None:
        """The table agrees with one written by hand, whether a session is on or not."""
        for seen, row in zip((ALIVE, ANSWERED), EXPECTED[event], strict=True):
            letter = row[list(State).index(state)]
            after, _ = step(Following(state), event, seen)
            assert after.state.value.startswith(state.value if letter == "." else letter)

    @pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
    @pytest.mark.parametrize("seen", [ALIVE, REFUSED, UNEXPLAINED, ANSWERED, LOST])
    @pytest.mark.parametrize("in_session", [True, False])
    @pytest.mark.parametrize("told", [True, False])
    def test_commands_follow_from_the_state(
        self, state: State, event: Event, seen: Seen, *, in_session: bool, told: bool
    ) -> None:
        """The timer runs exactly while it explains; the end is told once, and read for once."""
        before = Following(state, in_session=in_session, told=told)
        after, commands = step(before, event, seen)
        entered = after.state if after.state is not state else None
        assert (Command.WAIT in commands) == (entered is State.EXPLAINING)
        assert (Command.READ_RECORD in commands) == (entered is State.READING)
        told_now = entered is State.OVER and event is not Event.DROPPED
        assert (Command.TELL_END in commands) == told_now
        if state is State.EXPLAINING and entered is not None:
            assert Command.STOP_WAITING in commands

    @pytest.mark.parametrize("event", Event)
    def test_nothing_changes_what_is_over(self, event: Event) -> None:
        """The end is told once."""
        over = Following(State.OVER, told=True, has_record=True)
        assert step(over, event, ANSWERED) == (over, ())


END = (Command.STOP_WAITING, Command.TELL_END)
READ = (Command.STOP_WAITING, Command.READ_RECORD)


class TestItsEnd:
    """What is to be learned before it may be told."""

    def test_refused_and_watched(self) -> None:
        """All is known; a record is there if a dialplan rang the first, and is not read."""
        assert step(FOLLOWED, Event.HEARD, REFUSED) == (Following(State.OVER), END)
        rung = evolve(REFUSED, ran_dialplan=True)
        after, commands = step(FOLLOWED, Event.HEARD, rung)
        assert after == Following(State.OVER, has_record=True)
        assert commands == END

    @pytest.mark.parametrize("seen", [ANSWERED, LOST])
    def test_how_it_ended_was_not_told(self, seen: Seen) -> None:
        """Then the dialplan's record is read."""
        assert step(FOLLOWED, Event.HEARD, seen) == (READING, READ)

    def test_a_session_has_told(self) -> None:
        """It needs no record then, whatever was missed; but there is one, unless it knows."""
        told, _ = step(FOLLOWED, Event.SESSION_TOLD, ALIVE)
        assert told == Following(told=True, has_record=True)
        assert step(told, Event.HEARD, LOST) == (evolve(told, state=State.OVER), END)
        known, _ = step(told, Event.DIALPLAN_TOLD, ALIVE)
        assert known == Following(told=True)

    def test_not_explained_yet(self) -> None:
        """It waits, and is told as soon as it is, or when nothing more will come."""
        assert step(FOLLOWED, Event.HEARD, UNEXPLAINED) == (EXPLAINING, (Command.WAIT,))
        assert step(EXPLAINING, Event.HEARD, UNEXPLAINED) == (EXPLAINING, ())
        assert step(EXPLAINING, Event.HEARD, REFUSED) == (Following(State.OVER), END)
        assert step(EXPLAINING, Event.WAITED, UNEXPLAINED) == (Following(State.OVER), END)

    def test_the_record(self) -> None:
        """That it is there counts: it is deleted when the end is stored."""
        assert step(READING, Event.RECORD_READ, LOST).following.has_record
        assert not step(READING, Event.NO_RECORD, LOST).following.has_record

    def test_asterisk_does_not_answer(self) -> None:
        """A slow one is asked again in a moment; without a link, when the call is looked for."""
        assert step(READING, Event.READ_LATE, LOST) == (EXPLAINING, (Command.WAIT,))
        assert step(READING, Event.READ_LOST, LOST) == (FOLLOWED, ())


class TestSession:
    """FastAGI holds a channel: the call cannot be over before the session is."""

    def test_holds_the_end_back(self) -> None:
        """Whatever was heard of the channels."""
        began, commands = step(FOLLOWED, Event.SESSION_BEGAN, ALIVE)
        assert (began, commands) == (Following(in_session=True), ())
        for seen in (ANSWERED, UNEXPLAINED):
            assert step(began, Event.HEARD, seen) == (began, ())
        assert step(began, Event.SESSION_ENDED, ALIVE) == (FOLLOWED, ())
        assert step(began, Event.SESSION_ENDED, ANSWERED) == (READING, READ)

    def test_begins_while_the_end_is_explained(self) -> None:
        """Then it was none."""
        began, commands = step(EXPLAINING, Event.SESSION_BEGAN, UNEXPLAINED)
        assert began == Following(in_session=True)
        assert commands == (Command.STOP_WAITING,)

    def test_of_a_call_that_was_not_found(self) -> None:
        """Asterisk knows better; its end decides nothing then."""
        reading, commands = step(Following(in_session=True), Event.NOT_FOUND, LOST)
        assert reading == Following(State.READING, in_session=True)
        assert commands == READ
        assert step(reading, Event.SESSION_ENDED, LOST) == (READING, ())
        waiting = step(reading, Event.READ_LATE, LOST).following
        assert step(waiting, Event.HEARD, LOST) == (waiting, ())
        assert step(waiting, Event.WAITED, LOST) == (reading, READ)
