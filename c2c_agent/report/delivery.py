"""What is told of a call, to whom, and what may become of the telling.

Pure. An event is what receivers of results hear (docs/asyncapi.yml); a report is one
event for one target. The store keeps a report from the transaction of the change that it tells of
until it is delivered; `outbox` gives it to the target's `Reporter`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Coroutine, Iterable
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from c2c_agent.call.call import Call
from c2c_agent.call.record import to_json
from c2c_agent.report.event import EventType, event_json, event_type


@frozen
class Target:
    """Somebody who is told: of which kinds of events, of which keys' calls. None: of all.

    A `relay` is told more: it shows the call as if it had placed it itself.
    """

    name: str
    types: Collection[EventType] | None = None
    keys: Collection[str] | None = None
    relay: bool = False

    def wants(self, event: EventType, key: str) -> bool:
        """Whether an event of a call of this key is for it."""
        if event is EventType.PLACED and not self.relay:
            return False
        return (self.types is None or event in self.types) and (
            self.keys is None or key in self.keys
        )


@frozen
class Report:
    """One event for one target. `event_id` is the event's, and stays the same over all attempts."""

    target: str
    event_id: str
    type: str
    request_id: str
    at: float  # epoch seconds
    body: str  # JSON


@frozen
class Waiting:
    """A report that waits in the store; `attempts` have failed so far."""

    report: Report
    attempts: int = 0


def reports(
    before: Call, after: Call, targets: Iterable[Target], *, server_id: str
) -> tuple[Report, ...]:
    """What is to be told of a change of a call, one report for each target that wants it."""
    event = event_type(before, after)
    if event is None:
        return ()
    wanted = [target for target in targets if target.wants(event, after.key)]
    if not wanted:
        return ()
    at = after.timeline[-1].at
    told = event_json(after, event, server_id=server_id, at=at)
    relayed = {**told, "record": to_json(after)} if any(target.relay for target in wanted) else told
    return tuple(
        Report(
            target.name,
            told["id"],
            event.value,
            after.request_id,
            at,
            json.dumps(relayed if target.relay else told, separators=(",", ":")),
        )
        for target in wanted
    )


@frozen
class Listed:
    """A report in a list: without its body, and with what became of it so far.

    `dead_at`: when it was given up; None: it waits, and is due at `due_at`. Times are epoch
    seconds. `reason`: why the latest attempt failed.
    """

    number: int
    target: str
    event_id: str
    type: str
    request_id: str
    at: float
    attempts: int
    due_at: float
    dead_at: float | None
    reason: str | None


# What became of an attempt


@frozen
class Delivered:
    """The target has it."""


@frozen
class Later:
    """It did not work; after so many seconds it is tried again. `counted`: as a failed attempt."""

    reason: str
    seconds: float
    counted: bool = True


@frozen
class Refused:
    """It did not work, and is not tried again: a dead letter, until somebody replays it."""

    reason: str


Delivery: TypeAlias = Delivered | Later | Refused


class Reporter(Protocol):
    """Delivers reports to one target.

    `window`: how many at once; never two of one request. A reporter that cannot deliver at present
    (no link) says so by `ready`, and has the outbox woken when it can again.
    """

    target: Target
    window: int

    def ready(self) -> bool:
        """Whether it can deliver at present."""

    def deliver(self, waiting: Waiting) -> Coroutine[Any, Any, Delivery]:
        """Try once. Whatever it raises counts as `Later`, by a mistake of ours."""

    def revive(self) -> None:
        """Forget that the target wanted nothing any more."""


@frozen
class Depth:
    """How much of a target's waits, how much was given up, and since when the oldest waits."""

    waiting: int = 0
    dead: int = 0
    oldest_at: float | None = None  # epoch seconds
