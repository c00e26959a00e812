"""The PBX driver of a relay: calls are given to an agent beside a PBX elsewhere, over the broker.

Keeps the originate contract of `pbx`. A job goes to the queue of the key's agent, and the agent's
events say what became of it: the agent's own record of the call takes the place of what an
Asterisk would have told here. To publish a job twice does no harm (the agent knows each request by
its id, and a job past its `expires` rings nobody), so a job whose fate is not known is published
again; a call that was answered, or that the requester was told has failed, is never dialled late.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from attrs import define
from pika.adapters.twisted_connection import TwistedProtocolConnection
from pika.exceptions import ChannelClosedByBroker
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from c2c_agent.amqp.link import (
    Lose,
    NotPublished,
    Publisher,
    PublishingUnknown,
    Unroutable,
    consume,
)
from c2c_agent.amqp.messages import (
    CANCEL,
    DEAD,
    EVENTS,
    JOB,
    MalformedMessage,
    RelayedEvent,
    cancel_message,
    encode,
    job_message,
    jobs_queue,
    read_event,
    results_queue,
)
from c2c_agent.call.call import CallState, OriginatePlan, Timekeeper
from c2c_agent.call.events import Gone, LegEvent, OriginateUnanswered, OriginateUnsent, Relayed
from c2c_agent.call.evidence import CallEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import Events
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.driver import PbxObserver, PlacedCall

_log = Logger()

#: Seconds that the agent has less than the requester waits: for its answer to come back.
_WAY_BACK: Final = 1.0

#: Seconds after which nothing more is expected to be heard of a call: a day.
_GIVE_UP: Final = 86400

#: Seconds in which what is not heard of a call counts as not there: events that have waited for the
#: link come one after the other, and the first of them is long past.
_CATCH_UP: Final = 3.0

#: Events taken from the broker at once.
_PREFETCH: Final = 200

#: Days that a dead letter, and times that a job is given back, before the broker drops it.
_DEAD_DAYS: Final = 30
_DELIVERIES: Final = 20
#: Days without a relay after which its queue of results goes, lest it fill the broker's disk.
_RELAY_DAYS: Final = 14
_DAY_MILLISECONDS: Final = 86_400_000

#: The broker's word that a queue is there with other arguments (AMQP 0-9-1, section 1.2).
_PRECONDITION_FAILED: Final = 406

_NOBODY: Final = "The agent beside the PBX has not answered in time."


@define(eq=False)
class _Job:
    """A job that was given to an agent."""

    agent: str
    message: Mapping[str, object]
    tried: bool = False  # it was given out, and may have arrived
    confirmed: bool = False  # the broker has it
    heard: bool = False  # the agent has told of it
    void: bool = False  # its requester was told that it failed; the agent may not know
    unwanted: bool = False  # it was cancelled, and the agent could not be told so far
    waiting: IDelayedCall | None = None  # for the agent's answer, or until it is told of that


class RelayDriver:
    """The `PbxDriver` that gives calls to agents; an `AmqpUser`.

    `agents` are the ids of all agents that calls are given to; `server_id` is the relay's own.
    `events` says which events it hears, and whether it asks agents for its own: see RelayConfig.
    It is that of Asterisks, and `of_kind` gives that of others; `observer` hears of all calls.
    """

    method = "asterisk.call"

    def __init__(
        self,
        *,
        server_id: str,
        agents: Callable[[], Collection[str]],
        answer_timeout: float,
        clock: IReactorTime,
        now: Callable[[], float],
        events: Events = "all",
    ) -> None:
        self._events = events
        self._server_id = server_id
        self._agents = agents
        self._answer_timeout = answer_timeout
        self._clock = clock
        self._now = now
        self._jobs: dict[str, _Job] = {}
        self._publisher: Publisher | None = None
        self._channel: Any = None
        self.observer: PbxObserver  # set by who puts the parts together

    def of_kind(self, kind: str) -> RelayedKind:
        """The driver of one kind of PBX; which PBX of that kind, the job or the agent says."""
        return RelayedKind(self, kind)

    # PbxDriver

    def unready(self) -> str | None:
        """Why no call can be placed at present."""
        return None if self._publisher is not None else "The broker cannot be reached at present."

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Make the job's message."""
        if job.agent is None:
            message = "No PBX is configured for this key."
            raise ApiError(Fault(ErrorCode.UNSUPPORTED_PBX, message))
        expires = self._now() + self._answer_timeout - _WAY_BACK
        expires = expires if job.expires is None else min(expires, job.expires)
        asked = None if self._events == "all" else self._server_id
        return OriginatePlan(
            data={"agent": job.agent, **job_message(request_id, job, expires, asked)},
            target=jobs_queue(job.agent),
            timeout=_GIVE_UP,
            timekeeper=Timekeeper.ELSEWHERE,
        )

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Give the job to the agent; its answer, and all that follows, comes as events."""
        if self._publisher is None:
            self._tell(request_id, OriginateUnsent(str(self.unready())))
            return
        job = self._jobs[request_id] = _job_of(plan)
        job.waiting = self._clock.callLater(
            self._answer_timeout, self._too_late, request_id, self._cancel_now
        )
        self._in_background(self._publish(request_id, job))

    def cannot_hang_up(self, _request_id: str | None = None) -> str | None:
        """The agent is told, unless it has said of the call that its PBX hangs none up."""
        return None

    def hang_up(self, request_id: str) -> None:
        """Have the agent hang up whatever exists of the call."""
        job = self._jobs.get(request_id)
        if job is not None:
            job.unwanted = True
            self._cancel_now(request_id, job)

    def hang_up_foreign(self, call: PlacedCall) -> None:
        """Have the agent hang up a call that another process of the same store has given it."""
        self._in_background(self._cancel(call.request_id, _job_of(call.plan)))

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart; they are published again."""
        for call in calls:
            job = self._jobs[call.request_id] = _job_of(call.plan)
            job.tried = True
            # Whether the agent was told of these, nobody knows; to say it again does no harm.
            job.void = call.failed and call.second.answered_at is None
            job.unwanted = call.cancelled
            if not call.answered:
                # The link may come up just then: what the agent has said is to be heard first.
                job.waiting = self._clock.callLater(
                    self._answer_timeout, self._too_late, call.request_id, self._cancel_soon
                )

    def settle(self, request_ids: Collection[str]) -> None:
        """Give up calls of which nothing was heard for too long; the others tell of themselves."""
        for request_id in request_ids:
            job = self._jobs.get(request_id)
            if job is None or self._now() > _expiry(job) + _GIVE_UP:
                self._tell(request_id, Gone(CallEvidence(lost=True)))

    # AmqpUser

    async def opened(self, connection: TwistedProtocolConnection, lose: Lose) -> None:
        """Make sure of the queues, publish what was not confirmed, and listen to the agents."""
        await self._declare_results(connection)
        channel = await connection.channel()
        await self._declare(channel)
        publisher = await Publisher.open(connection, self._clock, lose)
        await channel.basic_qos(prefetch_count=_PREFETCH)
        messages, _ = await channel.basic_consume(results_queue(self._server_id))
        # Not before: of a link that comes up only half, the end is not told.
        self._channel, self._publisher = channel, publisher
        consume(messages, self._take, lose)
        self.observer.pbx_up()
        for request_id, job in list(self._jobs.items()):
            if not job.confirmed and not job.heard:
                self._in_background(self._publish(request_id, job))
            if job.unwanted:
                self._cancel_now(request_id, job)
            elif job.void:
                self._cancel_soon(request_id, job)

    def closed(self, reason: str) -> None:
        """Jobs can no longer be given to anybody; those that were go on."""
        self._publisher = None
        self.observer.pbx_down(reason)

    async def _declare_results(self, connection: TwistedProtocolConnection) -> None:
        """Make sure of this relay's queue, on a channel that the broker may close for it.

        One of 0.1 has no expiry, and keeps what it has: the broker changes no queue.
        """
        results = results_queue(self._server_id)
        expiring = {**_quorum(), "x-expires": _RELAY_DAYS * _DAY_MILLISECONDS}
        try:
            await self._declare_queue(connection, results, expiring)
        except ChannelClosedByBroker as error:
            if error.reply_code != _PRECONDITION_FAILED:
                raise
            _log.warn(
                "{queue} is of 0.1 and never expires; delete it while this relay is stopped, and "
                "it is made anew",
                queue=results,
            )
            await self._declare_queue(connection, results, _quorum())

    async def _declare_queue(
        self, connection: TwistedProtocolConnection, queue: str, arguments: Mapping[str, object]
    ) -> None:
        channel = await connection.channel()
        channel.on_closed.addErrback(lambda _: None)  # whoever declares hears of it, too
        await channel.queue_declare(queue, durable=True, arguments=arguments)

    async def _declare(self, channel: Any) -> None:
        dead = {"x-queue-type": "quorum", "x-message-ttl": _DEAD_DAYS * _DAY_MILLISECONDS}
        await channel.exchange_declare(EVENTS, exchange_type="topic", durable=True)
        await channel.exchange_declare(DEAD, exchange_type="fanout", durable=True)
        await channel.queue_declare(DEAD, durable=True, arguments=dead)
        await channel.queue_bind(DEAD, DEAD, "")
        results = results_queue(self._server_id)
        wanted = self._routing_keys()
        for key in wanted[self._events]:
            await channel.queue_bind(results, EVENTS, key)
        for key in sorted({*chain(*wanted.values())} - {*wanted[self._events]}):
            await channel.queue_unbind(results, EVENTS, key)  # nothing, where it is not bound
        for agent in sorted(self._agents()):
            await _declare_jobs(channel, agent)

    def _routing_keys(self) -> Mapping[Events, Sequence[str]]:
        """The events that this relay hears, by what the configuration says."""
        own = f"#.{self._server_id}"
        return {"all": ("#",), "mixed": (own, "#.call.*"), "own": (own,)}

    # Jobs out

    async def _publish(self, request_id: str, job: _Job) -> None:
        publisher = self._publisher
        if publisher is None:
            return  # as soon as there is a link again
        before, job.tried = job.tried, True
        try:
            await self._send(publisher, job.agent, request_id, JOB, job.message)
        except NotPublished as error:
            if job.waiting is not None and not before and not job.heard:
                self._drop(request_id)
                self._tell(request_id, OriginateUnsent(f"The job was not taken: {error}."))
            else:
                _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
        except PublishingUnknown as error:
            _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
        else:
            job.confirmed = True

    async def _cancel(self, request_id: str, job: _Job) -> None:
        if self._publisher is None:
            return  # as soon as there is a link again, or by the machine when the agent is heard
        try:
            message = cancel_message(request_id)
            await self._send(self._publisher, job.agent, request_id, CANCEL, message)
            job.void = job.unwanted = False
        except (NotPublished, PublishingUnknown) as error:
            _log.warn("call {call}: {reason}", call=request_id, reason=str(error))

    async def _send(
        self,
        publisher: Publisher,
        agent: str,
        request_id: str,
        kind: str,
        message: Mapping[str, object],
    ) -> None:
        async def publish() -> None:
            queue = jobs_queue(agent)
            await publisher.publish("", queue, encode(message), kind=kind, message_id=request_id)

        try:
            await publish()
        except Unroutable:
            await _declare_jobs(self._channel, agent)  # of a key that is new since the link came up
            await publish()

    def _too_late(self, request_id: str, cancel: Callable[[str, _Job], None]) -> None:
        """The requester has waited long enough: nobody is to be rung any more."""
        job = self._jobs.get(request_id)
        if job is not None:
            job.waiting, job.void = None, True
            cancel(request_id, job)
            self._tell(request_id, OriginateUnanswered(_NOBODY))

    def _cancel_now(self, request_id: str, job: _Job) -> None:
        self._in_background(self._cancel(request_id, job))

    def _cancel_soon(self, request_id: str, job: _Job) -> None:
        """Have a void call hung up, unless it is heard by then that they talk already."""

        def cancel() -> None:
            job.waiting = None
            if job.void:
                self._cancel_now(request_id, job)

        _stop_waiting(job)
        job.waiting = self._clock.callLater(_CATCH_UP, cancel)

    # Events in

    async def _take(self, message: Any) -> None:
        """Take one event, and say so when it cannot be lost any more."""
        channel, tag = message.channel, message.method.delivery_tag
        try:
            event = read_event(message.method.routing_key, message.body, self._server_id)
        except MalformedMessage as error:
            key = message.method.routing_key
            _log.warn("an event of {key} is a dead letter: {reason}", key=key, reason=str(error))
            if channel.is_open:
                channel.basic_reject(tag, requeue=False)
            return
        await self._relay(event)
        if channel.is_open:
            channel.basic_ack(tag)

    async def _relay(self, event: RelayedEvent) -> None:
        request_id = event.call.request_id
        job = self._jobs.get(request_id)
        if job is None:
            return  # another's, or over
        if job.agent != event.agent_id:
            _log.warn(
                "call {call}: an event came from {agent}, which was not given this call",
                call=request_id,
                agent=event.agent_id,
            )
            return
        job.heard = True
        if event.call.answer is not None:
            _stop_waiting(job)
        if job.void and event.call.state is CallState.CONNECTED:
            job.void = False
        elif job.void:
            self._cancel_soon(request_id, job)
        self.observer.leg_event(request_id, Relayed(event.server_id, event.call))
        await self.observer.until_stored(request_id)
        if event.call.outcome is not None:
            self._drop(request_id)

    def _tell(self, request_id: str, event: LegEvent) -> None:
        if isinstance(event, Gone):
            self._drop(request_id)
        self.observer.leg_event(request_id, event)

    def _drop(self, request_id: str) -> None:
        job = self._jobs.pop(request_id, None)
        if job is not None:
            _stop_waiting(job)

    def _in_background(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: _log.failure("a mistake in the relay", failure)
        )


class RelayedKind:
    """The calls of one kind of PBX that a relay gives to agents: a `PbxDriver`."""

    def __init__(self, relay: RelayDriver, kind: str) -> None:
        self.method = f"{kind}.call"
        self.observer: PbxObserver  # the relay has one for all kinds
        self.unready = relay.unready
        self.prepare = relay.prepare
        self.originate = relay.originate
        self.cannot_hang_up = relay.cannot_hang_up
        self.hang_up = relay.hang_up
        self.hang_up_foreign = relay.hang_up_foreign
        self.adopt = relay.adopt
        self.settle = relay.settle


async def _declare_jobs(channel: Any, agent: str) -> None:
    await channel.queue_declare(jobs_queue(agent), durable=True, arguments=_quorum())


def _job_of(plan: OriginatePlan) -> _Job:
    data = dict(plan.data)
    return _Job(agent=str(data.pop("agent")), message=data)


def _expiry(job: _Job) -> float:
    expires = job.message["expires"]
    return float(expires) if isinstance(expires, (int, float)) else 0.0


def _stop_waiting(job: _Job) -> None:
    if job.waiting is not None and job.waiting.active():
        job.waiting.cancel()
    job.waiting = None


def _quorum() -> dict[str, object]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": _DELIVERIES,
        "x-dead-letter-exchange": DEAD,
    }
