"""The whole agent, put together from a configuration; started and stopped in order.

start: store ─> calls of before ─> FastAGI listener ─> AMI link ─> HTTP listener
ready: when the first attempt to log in to AMI has come to a link, or is to be repeated
stop:  HTTP listener ─> FastAGI sessions (the dialplan goes on alone) ─> AMI ─> store
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve, fields, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.client import HTTPConnectionPool

from c2c_agent.agi.protocol import AgiFactory, Refusal
from c2c_agent.ami.link import AmiLink, ami_endpoint
from c2c_agent.amqp.jobs import JobConsumer
from c2c_agent.amqp.link import AmqpLink, AmqpUser
from c2c_agent.amqp.login import broker_endpoint, login_parameters
from c2c_agent.amqp.messages import jobs_queue
from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.amqp.results import ResultPublisher
from c2c_agent.call.call import Call
from c2c_agent.config.files import operator_file, read_secret, read_webhook_secrets
from c2c_agent.config.pbx import AsteriskConfig, RelayConfig
from c2c_agent.config.sections import (
    AmqpConfig,
    CallsConfig,
    Config,
    LogConfig,
    WebhookConfig,
    differences,
)
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.dispatch.kill_switch import StopSwitch, StopSwitchService
from c2c_agent.dispatch.neighbours import Neighbours, SharedStore
from c2c_agent.errors import ConfigError
from c2c_agent.host.clock import SteadyClock, boot_id, check_timezone, week_time
from c2c_agent.host.files import write_anew
from c2c_agent.host.sd_notify import Supervisor
from c2c_agent.net.endpoints import listener
from c2c_agent.net.http_client import http_client
from c2c_agent.pbx.asterisk.bridge import agi_url
from c2c_agent.pbx.asterisk.driver import AsteriskDriver
from c2c_agent.pbx.driver import PbxDriver
from c2c_agent.policy.keys import (
    OPERATOR,
    Key,
    KeyRing,
    is_secret,
    key_digest,
    new_secret,
    operator_key,
)
from c2c_agent.policy.meter import DAY, Meter
from c2c_agent.report.delivery import Reporter
from c2c_agent.report.live import Live
from c2c_agent.report.metrics import AgiSample, AmiSample, LoopWatch, Metrics, OutboxSample, Sample
from c2c_agent.report.outbox import Outbox
from c2c_agent.report.webhook import Webhook
from c2c_agent.service.key_table import usable
from c2c_agent.service.sharing import Sharing
from c2c_agent.store.call_store import KeyRow
from c2c_agent.store.outbox_table import OutboxTable
from c2c_agent.store.postgres.extra import shared_store
from c2c_agent.store.retention import Retention
from c2c_agent.store.sql_store import SqlStore
from c2c_agent.store.sqlite.store import Store
from c2c_agent.web.api import Api
from c2c_agent.web.server import ApiSite

_log = Logger()

#: FastAGI sessions beyond the calls that may be in progress: refused ones, checks, strangers.
_SPARE_SESSIONS: Final = 100

#: Seconds that another process of the same store has to answer a request: without a relay's limit,
#: and beyond it.
_ANSWER: Final = 30.0
_SPARE: Final = 5.0

#: Seconds that one stage of the stop may take; all together have to keep to TimeoutStopSec=30.
_STAGE: Final = 5.0


@frozen
class _AtOnce:
    """The settings that may change while calls go on.

    Not a whole Config: what waits for a restart may name a key that is there no more.
    """

    calls: CallsConfig
    keys: Sequence[Key]
    log: LogConfig


_AT_ONCE: Final = frozenset(attribute.name for attribute in fields(_AtOnce))


class AgentService(Service):
    """The agent: `startService` raises where it cannot start, and then leaves nothing running.

    To make one is to check its configuration: what cannot be raises ConfigError or AmiError.
    `supervisor` hears when it is ready, how it goes, and when it stops.
    """

    name = "c2c-agent"

    def __init__(self, config: Config, reactor: Any, supervisor: Supervisor | None = None) -> None:
        self._config = config
        self._at_once = _AtOnce(config.calls, config.keys, config.log)
        self._reactor = reactor
        self._supervisor = supervisor or Supervisor(None, None, reactor)
        self._clock = SteadyClock()
        shared = shared_store(config, reactor) if config.store.url is not None else None
        self._store: SqlStore = shared or Store(config.store.file, reactor)
        self._directory = operator_file(config).parent
        self._switch = StopSwitch(self._directory)
        for timezone in {key.timezone for key in config.keys} - {None}:
            check_timezone(str(timezone))
        self._meter = Meter(config.calls.max_concurrent)
        self._metrics = Metrics(self._sample)
        self._drivers: dict[str, PbxDriver] = {}
        self._reports = OutboxTable(self._store)
        self._pool = HTTPConnectionPool(reactor)
        self._results = self._result_publisher(config)
        reporters: list[Reporter] = [self._webhook(receiver) for receiver in config.webhooks]
        reporters += [] if self._results is None else [self._results]
        self._outbox = Outbox(
            self._reports,
            reporters,
            server_id=config.server_id,
            clock=reactor,
            now=self._clock.now,
        )
        self._live = Live(
            config.server_id,
            most=config.http.max_streams,
            most_each=config.http.max_streams_each,
            buffer=config.http.stream_buffer,
        )
        neighbours = None if shared is None else self._neighbours(config, shared)
        self._dispatcher = Dispatcher(
            clock=reactor,
            now=self._clock.now,
            wall=self._clock.wall,
            store=self._store,
            drivers=self._drivers,
            meter=self._meter,
            observers=(self._metrics, self._live),
            are_stopped=lambda: self._switch.state() is not None,
            outbox=self._outbox,
            neighbours=neighbours,
        )
        self._intake = Intake(
            clock=self._clock,
            week_time=week_time,
            new_id=lambda: str(uuid.uuid4()),
            dispatcher=self._dispatcher,
            store=self._store,
            drivers=self._drivers,
            limits=config.calls,
            meter=self._meter,
        )
        self._stop_watch = StopSwitchService(self._switch, self._dispatcher.hang_up_all, reactor)
        self._operator_sha256 = key_digest(_operator_secret(operator_file(config)))
        self._key_rows: Sequence[KeyRow] = ()  # in the database
        self._keys = KeyRing(self._all_keys(config.keys))
        self._sharing = None
        if shared is not None and neighbours is not None:
            self._sharing = Sharing(
                shared,
                neighbours,
                keys=self._take_keys,
                cancel=self._dispatcher.cancel,
                clock=reactor,
            )
        self._link: AmiLink | None = None
        self._broker: AmqpLink | None = None
        self._link_tried = False
        self._agi: AgiFactory | None = None
        self._parts: list[Service] = [
            LoopWatch(reactor, self._metrics.loop_delayed),
            self._retention(self._store.delete_ended, "calls that ended"),
            self._retention(self._reports.delete_old, "reports of what happened"),
            self._outbox,
            self._stop_watch,
        ]
        if config.asterisk is not None:
            self._add_asterisk(config.asterisk, config.calls.max_duration)
        if config.amqp is not None:
            self._add_broker(config.amqp, config.relay)
        self._http = listener(config.http.listen, self._site(config), self._reactor)

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Start all parts, in order. Raises StoreError, ConfigError, or what a listener raises."""
        self._store.open()
        self._clock.go_on(self._directory / "clock", boot_id())
        started: list[Service] = []
        try:
            unfinished = self._store.unfinished()
            if isinstance(self._store, Store):  # a shared one counts by itself
                self._recall(self._store, self._clock.now() - DAY)
            self._dispatcher.resume(unfinished)
            if self._sharing is not None:
                self._sharing.start()
            for part in [*self._parts, self._http]:
                part.startService()
                started.append(part)
        except BaseException:
            self._dispatcher.stop()
            for part in reversed(started):
                part.stopService()
            self._store.close()
            raise
        super().startService()
        _log.info("started; {count} calls were in progress before", count=len(unfinished))
        self._tell_supervisor()

    def _recall(self, store: Store, since: float) -> None:
        """Count what keys have used since a moment."""
        for key_name, placed_at in store.placed_since(since):
            self._meter.recall(key_name, [placed_at])
        for key_name, ended_at, seconds in store.answered_since(since):
            self._meter.recall_spent(key_name, ended_at, seconds)

    async def _stop(self) -> None:
        """Stop in stages, each whatever became of the others. Calls go on in Asterisk."""
        self._intake.close()
        self._live.close()
        async with AsyncExitStack() as last_first:
            last_first.callback(self._store.close)
            if self._sharing is not None:
                last_first.callback(self._sharing.stop)
            last_first.push_async_callback(self._without_connections)
            for part in self._parts:
                last_first.push_async_callback(self._stopped, part)
            if self._agi is not None:
                last_first.push_async_callback(self._drained, self._agi)
            last_first.callback(self._dispatcher.stop)
            await self._stopped(self._http)
            _log.info("stopping; {count} calls go on", count=self._dispatcher.in_progress)

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop all parts, in order; fires when everything is stored and closed."""
        super().stopService()
        self._supervisor.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stopped(self, part: Service) -> None:
        stopping = part.stopService()
        if stopping is not None:
            await stopping.addTimeout(_STAGE, self._reactor)

    async def _without_connections(self) -> None:
        await self._pool.closeCachedConnections().addTimeout(_STAGE, self._reactor)

    async def _drained(self, agi: AgiFactory) -> None:
        drained = agi.stop()
        agi.abort()
        await drained.addTimeout(_STAGE, self._reactor)

    def change(self, config: Config) -> tuple[list[str], list[str]]:
        """Take over what may change while calls go on.

        Gives the names of the settings that did, and of those that wait for a restart. Raises what
        making an agent raises where the configuration could not be started with; nothing has
        changed then.
        """
        AgentService(config, self._reactor)
        # The longest talk stays: calls in progress were placed with it.
        calls = evolve(config.calls, max_duration=self._config.calls.max_duration)
        after = _AtOnce(calls, config.keys, config.log)
        changed = list(differences(self._at_once, after))
        self._at_once = after
        self._change_keys()
        self._intake.change(calls)
        self._meter.max_concurrent = calls.max_concurrent
        if self._agi is not None:
            self._agi.max_sessions = calls.max_concurrent + _SPARE_SESSIONS
        waiting = [
            name
            for name in differences(self._config, config)
            if name.partition(".")[0] not in _AT_ONCE
        ]
        return changed, [*waiting, *differences(calls, config.calls, "calls")]

    def _all_keys(self, configured: Sequence[Key]) -> list[Key]:
        """The keys of the configuration, those of the database, and that of this host."""
        shared, complaints = usable(self._key_rows, {key.name for key in configured})
        for complaint in complaints:
            _log.warn("left out: {complaint}", complaint=complaint)
        keys = [*filter(_has_its_timezone, shared), *configured]
        return [*keys, operator_key(self._operator_sha256, keys)]

    def _take_keys(self, rows: Sequence[KeyRow]) -> None:
        """The table of keys, as it is now."""
        self._key_rows = rows
        self._change_keys()
        _log.info("{count} keys in the store", count=len(rows))

    def _change_keys(self) -> None:
        """Hold the keys as they are now; who follows with one that is no more is let go."""
        keys = self._all_keys(self._at_once.keys)
        kept = {(key.name, key.sha256) for key in keys}
        self._live.forbid([key.name for key in self._keys if (key.name, key.sha256) not in kept])
        self._keys.change(keys)

    def _neighbours(self, config: Config, store: SharedStore) -> Neighbours:
        answer_timeout = _ANSWER if config.relay is None else config.relay.answer_timeout + _SPARE
        neighbours = Neighbours(
            store, self._drivers, answer_timeout=answer_timeout, clock=self._reactor
        )
        neighbours.observers.append(self._changed_elsewhere)
        neighbours.missed_observers.append(self._missed)
        return neighbours

    def _changed_elsewhere(self, request_id: str, key_name: str) -> None:
        """Tell who follows a call of another process what has happened to it."""
        if self._live.is_followed(request_id, key_name):
            self._catch_up(request_id)

    def _missed(self) -> None:
        for request_id in self._live.followed_requests():
            self._catch_up(request_id)

    def _catch_up(self, request_id: str) -> None:
        if self._dispatcher.known(request_id) is not None:
            return  # it is one of this process

        def found(call: Call | None) -> None:
            if call is not None:
                self._live.catch_up(call)

        self._store.find(request_id).addCallback(found).addErrback(
            lambda failure: _log.warn(
                "call {call} could not be looked at: {reason}",
                call=request_id,
                reason=failure.getErrorMessage(),
            )
        )

    def _link_changed(self) -> None:
        self._link_tried = True
        self._tell_supervisor()

    def _tell_supervisor(self) -> None:
        """Say how it goes, once everything is started and the PBX was tried."""
        link = self._link
        if not self.running or (link is not None and not self._link_tried):
            return
        if link is None:
            self._supervisor.ready("No PBX is configured")
        elif link.is_up:
            self._supervisor.ready(f"AMI link up: Asterisk {link.asterisk_version}")
        else:
            self._supervisor.ready(f"No AMI link, trying again: {link.last_error}")

    def _site(self, config: Config) -> ApiSite:
        api = Api(
            config=config.http,
            server_id=config.server_id,
            keys=self._keys,
            operator=OPERATOR,
            intake=self._intake,
            dispatcher=self._dispatcher,
            live=self._live,
            readiness=self._readiness,
            metrics=self._metrics.expose,
            replay=self._outbox.replay,
            kill_switch=self._stop_watch,
            clock=self._reactor,
        )
        http = config.http
        return ApiSite(
            api,
            http.public_url,
            self._reactor,
            http.trusted_proxies,
            max_connections=http.max_connections,
        )

    def _retention(self, delete: Callable[[float], Deferred[int]], what: str) -> Retention:
        keep_days = self._config.store.keep_days

        def now() -> float:
            """Whichever clock is behind: one that was set forward deletes nothing."""
            return min(self._clock.now(), self._clock.wall())

        return Retention(delete, what, keep_days=keep_days, clock=self._reactor, now=now)

    def _webhook(self, receiver: WebhookConfig) -> Webhook:
        return Webhook(
            receiver,
            read_webhook_secrets(receiver.secret_file),
            client=http_client(self._reactor, self._pool),
            fresh=http_client(self._reactor),
            clock=self._reactor,
            now=self._clock.wall,
            random=random.random,
        )

    def _add_asterisk(self, config: AsteriskConfig, max_duration: int) -> None:
        link = AmiLink(
            ami_endpoint(self._reactor, config.ami.host, config.ami.port, tls=config.ami.tls),
            username=config.ami.username,
            secret=read_secret(config.ami.secret_file),
            new_secret=partial(read_secret, config.ami.secret_file),
            clock=self._reactor,
        )
        driver = AsteriskDriver(
            config,
            link=link,
            agi_url=agi_url(config.agi),
            max_duration=max_duration,
            clock=self._reactor,
            now=self._clock.now,
            wall=self._clock.wall,
        )
        driver.observer = self._dispatcher
        link.observer = driver
        link.changed = self._link_changed
        self._link = link
        self._drivers["asterisk"] = driver
        self._agi = AgiFactory(
            driver.accept,
            self._reactor,
            max_sessions=self._meter.max_concurrent + _SPARE_SESSIONS,
        )
        self._parts += [listener(config.agi.listen, self._agi, self._reactor), link]

    def _result_publisher(self, config: Config) -> ResultPublisher | None:
        """Who tells the broker; a relay is told, and tells nobody there."""
        if config.amqp is None or config.relay is not None or not config.amqp.results:
            return None
        agent_id = config.amqp.agent_id or config.server_id
        return ResultPublisher(agent_id, self._reactor, self._results_can_go)

    def _results_can_go(self) -> None:
        self._outbox.wake()

    def _add_broker(self, config: AmqpConfig, relay: RelayConfig | None) -> None:
        """The link to the broker, and who works over it."""
        agent_id = config.agent_id or self._config.server_id
        users: list[AmqpUser] = []
        if self._results is not None:
            users.append(self._results)
        if config.jobs_key is not None:
            key_name = config.jobs_key
            users.append(
                JobConsumer(
                    jobs_queue(agent_id),
                    prefetch=config.prefetch,
                    key=lambda: self._keys.named(key_name),
                    intake=self._intake,
                    dispatcher=self._dispatcher,
                    clock=self._reactor,
                )
            )
        if relay is not None:
            driver = RelayDriver(
                server_id=self._config.server_id,
                agents=lambda: {key.agent for key in self._keys if key.agent is not None},
                answer_timeout=relay.answer_timeout,
                clock=self._reactor,
                now=self._clock.wall,
            )
            driver.observer = self._dispatcher
            self._drivers["asterisk"] = driver
            users.append(driver)
        self._broker = AmqpLink(
            broker_endpoint(config, self._reactor),
            login_parameters(config, f"c2c-agent {agent_id}"),
            clock=self._reactor,
            users=users,
        )
        self._parts.append(self._broker)

    def _readiness(self) -> Mapping[str, str | None]:
        """Of each part, why it is not ready; None where it is."""
        stopped = self._switch.state()
        parts = {
            "store": self._store.last_error,
            "calls": None if stopped is None else str(stopped),
        }
        if self._link is not None:
            parts["ami"] = (
                None if self._link.is_up else self._link.last_error or "not connected yet"
            )
        if self._broker is not None:
            parts["amqp"] = self._broker.last_error or None
        return parts

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._clock.now() - since)

    def _sample(self) -> Sample:
        link, agi = self._link, self._agi
        return Sample(
            calls=self._dispatcher.states,
            streams=self._live.open,
            streams_cut=self._live.cut,
            stopped=self._switch.state() is not None,
            outbox={
                target: OutboxSample(depth.waiting, depth.dead, self._age(depth.oldest_at))
                for target, depth in self._outbox.depths.items()
            },
            ami=None if link is None else AmiSample(link.is_up, link.reconnects),
            agi=None
            if agi is None
            else AgiSample(agi.open_sessions, {why.value: agi.refusals[why] for why in Refusal}),
        )


def _has_its_timezone(key: Key) -> bool:
    """Whether the host knows a key's time zone; where not, the log says so."""
    try:
        if key.timezone is not None:
            check_timezone(key.timezone)
    except ConfigError as error:
        _log.warn("left out: key {name!r} of the store: {why}", name=key.name, why=str(error))
        return False
    return True


def _operator_secret(file: Path) -> str:
    """The secret by which the command line on this host knows itself to the agent.

    Made at the first start, readable for the agent's user and root alone; made anew where a full
    disk has left less than a key. Raises ConfigError.
    """
    try:
        if file.exists():
            secret = file.read_bytes().decode("ascii", "replace").strip()
            if is_secret(secret):
                return secret
        return _make_operator_secret(file)
    except OSError as error:
        message = f"the key of this host's command line, {file}: {error.strerror}"
        raise ConfigError(message) from error


def _make_operator_secret(file: Path) -> str:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    secret = new_secret()
    write_anew(file, f"{secret}\n".encode("ascii"), 0o600)
    return secret
