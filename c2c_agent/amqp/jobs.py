"""Jobs from the broker: taken in like any other request, acknowledged when they are in the store.

A job that comes again, because its acknowledgement was lost or it was published twice, is answered
from the store and dials nothing. What cannot be used goes to the dead letters, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pika.adapters.twisted_connection import TwistedChannel, TwistedProtocolConnection
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from c2c_agent.amqp.link import Lose, NotPublished, Publisher, PublishingUnknown, consume
from c2c_agent.amqp.messages import (
    CANCEL,
    DEAD,
    REASON,
    MalformedMessage,
    pbx_name_of,
    read_job,
    relay_of,
)
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.errors import ErrorCode
from c2c_agent.policy.keys import Key

_log = Logger()

#: Seconds until a job that could not be looked up in the store is given back, to come again.
_PAUSE: Final = 5.0

#: How the request of a call came in that was a job; no HTTP method is called so.
_METHOD: Final = "AMQP"


class JobConsumer:
    """Takes the jobs of one queue in; an `AmqpUser`.

    `key` gives the key whose policy they are held to, None where there is none any more. `prefetch`
    is how many are taken in at once.
    """

    def __init__(
        self,
        queue: str,
        *,
        prefetch: int,
        key: Callable[[], Key | None],
        intake: Intake,
        dispatcher: Dispatcher,
        clock: IReactorTime,
    ) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._key = key
        self._intake = intake
        self._dispatcher = dispatcher
        self._clock = clock
        self._dead_letters: Publisher | None = None

    async def opened(self, connection: TwistedProtocolConnection, lose: Lose) -> None:
        """Begin to take jobs."""
        self._dead_letters = await Publisher.open(connection, self._clock, self._no_reasons)
        channel = await connection.channel()
        await channel.basic_qos(prefetch_count=self._prefetch)
        messages, _ = await channel.basic_consume(self._queue)
        consume(messages, self._take, lose)

    def closed(self, reason: str) -> None:  # noqa: ARG002
        """What was not acknowledged comes again on the next connection."""
        self._dead_letters = None

    def _no_reasons(self, reason: str) -> None:
        """The broker takes no reasons. Jobs go on, and are refused without."""
        _log.warn("dead letters will have no reasons: {reason}", reason=reason)
        self._dead_letters = None

    async def _take(self, message: Any) -> None:
        """Take one message in, and say so when it cannot be lost any more."""
        channel, tag = message.channel, message.method.delivery_tag
        try:
            parameters = read_job(message.body)
            if message.properties.type == CANCEL:
                await self._cancel(str(parameters["request_id"]))
            elif not await self._submitted(parameters, message.body):
                await deferLater(self._clock, _PAUSE)
                _settle(channel.basic_nack, tag)
                return
        except MalformedMessage as error:
            await self._bury(message, str(error))
            return
        _settle(channel.basic_ack, tag)

    async def _cancel(self, request_id: str) -> None:
        """End a call that came over the broker; it tells of all others, too, which are not its."""
        active = self._dispatcher.active(request_id)
        if active is None:
            return
        if active.call.received.method == _METHOD:
            why = self._dispatcher.cancel(request_id)
            if why is not None:
                _log.warn("call {call}: {why}", call=request_id, why=why)
            await self._dispatcher.until_stored(request_id)
        else:
            _log.warn(
                "call {call}: it did not come over the broker, so no job can end it",
                call=request_id,
            )

    async def _submitted(self, parameters: Any, body: bytes) -> bool:
        """Whether a job is known from now on; raises MalformedMessage where it never will be."""
        key, relay, pbx_name = self._key(), relay_of(body), pbx_name_of(body)
        if key is None:
            raise MalformedMessage("the agent has no key for jobs")
        try:
            submission = await self._intake.submit(
                key,
                parameters,
                url=f"amqp:{self._queue}",
                method=_METHOD,
                must_keep=True,
                relay=relay,
                pbx_name=pbx_name,
            )
        except Exception as error:  # noqa: BLE001 - the store cannot be read; it comes again
            _log.warn("a job could not be taken: {reason}", reason=str(error))
            return False
        if any(fault.code is ErrorCode.REQUEST_ID_CONFLICT for fault in submission.answer.faults):
            raise MalformedMessage(submission.answer.faults[0].message)
        if submission.kept:
            await self._dispatcher.until_stored(str(parameters["request_id"]))
        return submission.kept

    async def _bury(self, message: Any, reason: str) -> None:
        """Put a message to the dead letters, with the reason; at least without, if need be."""
        queue, channel, tag = self._queue, message.channel, message.method.delivery_tag
        _log.warn("a message in {queue} is a dead letter: {reason}", queue=queue, reason=reason)
        if self._dead_letters is not None:
            try:
                await self._dead_letters.publish(
                    DEAD,
                    queue,
                    message.body,
                    kind=str(message.properties.type or ""),
                    message_id=str(message.properties.message_id or ""),
                    headers={REASON: reason},
                )
            except (NotPublished, PublishingUnknown) as error:
                _log.warn(
                    "the reason of a dead letter could not be told: {reason}", reason=str(error)
                )
            else:
                _settle(channel.basic_ack, tag)
                return
        _settle(channel.basic_reject, tag, requeue=False)


def _settle(settle: Callable[..., Any], tag: int, **more: Any) -> None:
    """Say what became of a message; where the channel is gone, the broker sends it again."""
    channel: TwistedChannel = settle.__self__  # type: ignore[attr-defined]
    if channel.is_open:
        settle(tag, **more)
