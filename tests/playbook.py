"""A call's story as a dialogue: what happens, where that leads, what is done about it.

Playbook(a_call())
    .at(0).on(Place(PLAN)).goes_to("dialing_first").does(SendOriginate(), Guard(35.0))
    .at(2).on(FirstRinging("PJSIP/100-1")).goes_to("first_ringing")
"""

from __future__ import annotations

from typing import Any, Self

from c2c_agent.call.call import Call, OriginatePlan, Received
from c2c_agent.call.events import Command, Event
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome

PLAN = OriginatePlan(data={"Action": "Originate"}, target="Local/200@from-phones/n", timeout=30)
JOB = CallJob(dial_first="100", dial_second="200", dial_as="100", timeout=30)
REQUEST_ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"


def a_call(**changes: Any) -> Call:
    """A call that was just accepted."""
    fields: dict[str, Any] = {
        "request_id": REQUEST_ID,
        "key": "crm",
        "received": Received(1000.0, "http://pbx/c2c/v2", "GET", {"dial_first": "100"}),
        "fingerprint": "crm 100 200",
        "max_duration": 3600,
        "job": JOB,
    }
    return Call(**{**fields, **changes})


class Playbook:
    """Plays events to a call and checks what it does; time is in seconds since the start."""

    def __init__(self, call: Call, start: float = 1000.0) -> None:
        self.call = call
        self._start = start
        self._now = start
        self._commands: tuple[Command, ...] = ()

    def at(self, seconds: float) -> Self:
        """The time of what comes next."""
        self._now = self._start + seconds
        return self

    def on(self, event: Event) -> Self:
        """An event happens; everything that the one before asked for must have been expected."""
        state = self.call.state
        self.call, self._commands, breach = step(self.call, event, self._now)
        assert not breach, f"{type(event).__name__} cannot come in {state.value}"
        return self

    def goes_to(self, state: str) -> Self:
        """The state that the call is in now."""
        assert self.call.state.value == state, f"in {self.call.state.value}, not in {state}"
        return self

    def does(self, *commands: Command) -> Self:
        """The commands that the last event gave, all of them, in order."""
        assert self._commands == commands, f"does {self._commands}, not {commands}"
        return self

    def ends(self, outcome: Outcome, **fields: object) -> Self:
        """The call has ended so, with these values in its fields."""
        assert self.call.outcome is outcome, f"ended {self.call.outcome}, not {outcome}"
        self.goes_to("ended")
        for name, value in fields.items():
            assert getattr(self.call, name) == value, f"{name} is {getattr(self.call, name)!r}"
        return self
