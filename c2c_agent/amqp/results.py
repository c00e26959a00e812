"""What became of calls, told to the broker: the reporter that publishes events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from pika.adapters.twisted_connection import TwistedProtocolConnection
from twisted.internet.interfaces import IReactorTime

from c2c_agent.amqp.link import Lose, NotPublished, Publisher, PublishingUnknown
from c2c_agent.amqp.messages import EVENTS, event_key
from c2c_agent.report.delivery import Delivered, Delivery, Later, Report, Target, Waiting
from c2c_agent.report.event import FINAL

#: The name of the target, beside those of webhooks; no configured name can have a blank.
TARGET: Final = "AMQP results"

#: Events on their way to the broker at once.
_WINDOW: Final = 100

#: Seconds until an event that the broker has not taken is published again.
_PAUSE: Final = 5.0


class ResultPublisher:
    """The reporter of one broker, and an `AmqpUser`.

    It gives nothing up: an event is delivered when the broker has confirmed it. `woken` is called
    when it can deliver (again).
    """

    window = _WINDOW

    def __init__(self, agent_id: str, clock: IReactorTime, woken: Callable[[], None]) -> None:
        self.target = Target(TARGET, relay=True)
        self._agent_id = agent_id
        self._clock = clock
        self._woken = woken
        self._publisher: Publisher | None = None
        # By request, until its last event is delivered: to read each event's body anew took one
        # twentieth of a call's CPU.
        self._relays: dict[str, str | None] = {}

    # AmqpUser

    async def opened(self, connection: TwistedProtocolConnection, lose: Lose) -> None:
        """Publish what has waited."""
        self._publisher = await Publisher.open(connection, self._clock, lose)
        self._woken()

    def closed(self, reason: str) -> None:  # noqa: ARG002
        """Let everything wait."""
        self._publisher = None

    # Reporter

    def ready(self) -> bool:
        """Whether there is a link."""
        return self._publisher is not None

    def revive(self) -> None:
        """Nothing to forget: no event is ever refused for good."""

    async def deliver(self, waiting: Waiting) -> Delivery:
        """Publish an event once."""
        if self._publisher is None:
            return Later("no link to the broker", 0.0, counted=False)
        report = waiting.report
        try:
            await self._publisher.publish(
                EVENTS,
                event_key(self._agent_id, report.type, self._relay_of(report)),
                report.body.encode(),
                kind=report.type,
                message_id=report.event_id,
            )
        except PublishingUnknown as error:
            return Later(str(error), 0.0, counted=False)
        except NotPublished as error:
            return Later(str(error), _PAUSE)
        if report.type in FINAL:
            self._relays.pop(report.request_id, None)
        return Delivered()

    def _relay_of(self, report: Report) -> str | None:
        """To whom an event goes, as the record of its call says; None: to all relays."""
        if report.request_id not in self._relays:
            record = json.loads(report.body)["record"]
            self._relays[report.request_id] = record.get("relay")
        return self._relays[report.request_id]
