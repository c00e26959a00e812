"""The table of `call.machine`: a column for each event, a row for each state."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from attrs import evolve, fields, frozen

from c2c_agent.call import transitions as to
from c2c_agent.call.call import Call, CallState
from c2c_agent.call.events import Event
from c2c_agent.call.machine import TABLE, step
from tests.diagrams.svg import EDGE, FAINT, GREEN, INK, LINE, PALE, RED, Sheet
from tests.unit.call.test_machine import ONE_OF_EACH, in_state

STATES = list(CallState)
LEFT, TOP, ROW, COLUMN = 214, 250, 46, 44

#: The group of events that can tell of any state.
ANY = 2


@frozen
class Column:
    """One event: the states that it leads on from, and where to; in which it acts, and stays."""

    name: str
    leads: dict[CallState, frozenset[CallState]]
    acts: list[CallState]
    quiet: list[CallState]
    never: list[CallState]

    @property
    def targets(self) -> frozenset[CallState]:
        """The states that it can lead to."""
        return frozenset().union(*self.leads.values())

    @property
    def group(self) -> int:
        """0: it brings a call forward; 1: it ends one; 2: it can tell of any state; 3: neither."""
        if not self.targets:
            return 3
        if len(self.targets) > 1:
            return ANY
        return int(CallState.ENDED in self.targets)


def samples(event: Any) -> Iterator[Event]:
    """The event; of one that brings a call with it, one for each state of that call."""
    values = {field.name: getattr(event, field.name) for field in fields(type(event))}
    calls = {name: value for name, value in values.items() if isinstance(value, Call)}
    if not calls:
        yield event
    for name, call in calls.items():
        for state in STATES[1:]:
            yield evolve(event, **{name: evolve(call, state=state)})


def column(event: Event) -> Column:
    """What the table has for an event, tried out in each state."""
    leads: dict[CallState, frozenset[CallState]] = {}
    acts, quiet, never = [], [], []
    for state in STATES:
        transition = TABLE[type(event)][state]
        if transition in {to.late, to.repeated}:
            quiet.append(state)
        elif transition is to.never:
            never.append(state)
        else:
            after = {step(in_state(state), each, 1001.0).call.state for each in samples(event)}
            if after - {state}:
                leads[state] = frozenset(after - {state})
            else:
                acts.append(state)
    return Column(type(event).__name__, leads, acts, quiet, never)


def columns() -> list[Column]:
    """All events: first those that bring a call forward, in the order of the way."""

    def place(each: Column) -> tuple[int, int, int, str]:
        target = min(map(STATES.index, each.targets), default=len(STATES))
        return each.group, target, -len(each.leads), each.name

    return sorted(map(column, ONE_OF_EACH), key=place)


def draw() -> str:
    """The picture."""
    events = columns()
    gaps = [later.group != each.group for each, later in pairwise(events)]
    xs = [LEFT + 40.0]
    for gap in gaps:
        xs.append(xs[-1] + COLUMN + (22 if gap else 0))
    width = xs[-1] + 90
    bottom = TOP + ROW * len(STATES)
    sheet = Sheet(
        width,
        bottom + (106 if any(event.never for event in events) else 78),
        "States of a call, and what leads from one to the next",
        "A column is an event; nothing leads out of ended. It is the table in call/machine.py.",
    )
    for row, state in enumerate(STATES):
        y = TOP + ROW * row
        if row % 2 == 0:
            sheet.box(20, y, width - 40, ROW, fill=PALE, stroke="none", radius=6)
        over = state is CallState.ENDED
        sheet.box(32, y + 8, 160, 30, fill=INK if over else "#fff", stroke=INK if over else EDGE)
        sheet.text(
            112, y + 28, state.value, size=13, weight=600, anchor="middle", mono=True,
            fill="#fff" if over else INK,
        )  # fmt: skip
    for event, x in zip(events, xs, strict=True):
        _draw_column(sheet, event, x)
    legend = [
        ("leads to the arrow's state", GREEN, GREEN, 5.0),
        ("ends the call", RED, RED, 5.0),
        ("acts or is noted; the state stays", "#fff", LINE, 4.5),
        ("comes late or again: nothing changes", EDGE, "none", 2.5),
    ]
    x, y = 40.0, bottom + 44
    for words, fill, stroke, radius in legend:
        sheet.dot(x, y - 4, radius, fill=fill, stroke=stroke)
        sheet.text(x + 14, y, words, size=12)
        x += 40 + 6.6 * len(words)
    if any(event.never for event in events):
        words = "Where nothing stands, a driver that keeps its contract never tells of this event."
        sheet.text(40, y + 28, words, size=12, fill=FAINT)
    return str(sheet)


def _draw_column(sheet: Sheet, event: Column, x: float) -> None:
    def y(state: CallState) -> float:
        return TOP + ROW * (STATES.index(state) + 0.5)

    ends = event.targets == {CallState.ENDED}
    colour = RED if ends else GREEN
    sheet.text(
        x - 2, TOP - 14, event.name, size=12.5, weight=600 if event.leads else 400, turn=-52,
        fill=colour if event.leads else INK,
    )  # fmt: skip
    anywhere = event.group == ANY
    if event.leads:
        first = min(map(y, event.leads))
        last = max(map(y, event.targets))
        sheet.line(
            [(x, first), (x, last - 6)], stroke=colour, width=2.2, arrow=True, dashed=anywhere
        )
    for state in event.leads:
        sheet.dot(x, y(state), 5, fill=colour)
    if anywhere:
        sheet.text(x + 9, y(CallState.ENDED) + 4, "any", size=11, fill=colour)
    for state in event.acts:
        sheet.dot(x, y(state), 4.5, fill="#fff", stroke=LINE)
    for state in event.quiet:
        if not event.leads or not min(map(y, event.leads)) < y(state) < last:
            sheet.dot(x, y(state), 2.5, fill=EDGE)
