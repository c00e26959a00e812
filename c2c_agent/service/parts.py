"""The parts of an agent, put together from its configuration.

To make them is to check the configuration: files with secrets and certificates are read, and
descriptions of listeners are understood. Nothing is written, listened on or connected to, and no
thread runs, before `service.agent` starts them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from c2c_agent.amqp.link import AmqpLink, AmqpUser
from c2c_agent.config.files import operator_file
from c2c_agent.config.sections import AmqpConfig, Config
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.dispatch.kill_switch import StopSwitch, StopSwitchService
from c2c_agent.errors import of_setting
from c2c_agent.host.clock import SteadyClock, week_time
from c2c_agent.net.endpoints import ServerCertificate, listener
from c2c_agent.net.listening import listening
from c2c_agent.policy.meter import Meter, Use
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pbxs import PbxNames
from c2c_agent.report.live import Live
from c2c_agent.report.metrics import LoopWatch, Metrics, Sample
from c2c_agent.report.outbox import Outbox
from c2c_agent.service.checks import Checks
from c2c_agent.service.drivers import broker_link, job_consumer
from c2c_agent.service.health import Health
from c2c_agent.service.keys import AgentKeys
from c2c_agent.service.pbxs import Pbxs, pbx_limits
from c2c_agent.service.reporters import Reporters
from c2c_agent.service.sharing import ForeignStreams, Sharing, neighbours_of
from c2c_agent.service.tokens import RevokedElsewhere, TokenSecrets
from c2c_agent.store.outbox_table import OutboxTable
from c2c_agent.store.postgres.extra import shared_store
from c2c_agent.store.retention import Retention
from c2c_agent.store.sql_store import SqlStore
from c2c_agent.store.sqlite.store import Store
from c2c_agent.store.tokens_table import TokensTable
from c2c_agent.web.api import Api
from c2c_agent.web.server import ApiSite


class Parts:
    """What one configuration comes to. What cannot be raises ConfigError or AmiError.

    `services` are started in their order, `http` after all of them. `directory` is where the agent
    keeps its files. `read_last` is the configuration as it was read last, with what waits for a
    restart.
    """

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = self.read_last = config
        self._reactor = reactor
        self.operator_file = operator_file(config)
        self.directory = self.operator_file.parent
        self.clock = SteadyClock()
        self.switch = StopSwitch(self.directory)
        self.meter = Meter(config.calls.max_concurrent, pbx_limits(config))
        self.live = Live(
            config.server_id,
            most=config.http.max_streams,
            most_each=config.http.max_streams_each,
            buffer=config.http.stream_buffer,
        )
        self.keys = AgentKeys(config.keys, self.live.forbid)
        self.metrics = Metrics(self._sample)
        shared = shared_store(config, reactor) if config.store.url is not None else None
        self.store: SqlStore = shared or Store(config.store.file, reactor)
        self.tokens = TokenSecrets(config)
        self.tokens_table = TokensTable(self.store)

        self.pbxs = Pbxs(config, self.keys.ring, clock=self.clock, reactor=reactor)
        names = PbxNames(
            self.pbxs.kinds,
            relayed=config.relayed_kinds,
            for_jobs=() if config.amqp is None else config.amqp.jobs_pbxs,
        )

        reports = OutboxTable(self.store)
        self.reporters = Reporters(config, woken=self._woken, clock=self.clock, reactor=reactor)
        self.outbox = Outbox(
            reports,
            self.reporters.all,
            server_id=config.server_id,
            clock=reactor,
            now=self.clock.now,
        )
        neighbours = None
        if shared is not None:
            neighbours = neighbours_of(shared, self.pbxs.drivers, config.relay, reactor)
        self.dispatcher = Dispatcher(
            clock=reactor,
            now=self.clock.now,
            wall=self.clock.wall,
            store=self.store,
            drivers=self.pbxs.drivers,
            meter=self.meter,
            observers=(self.metrics, self.live),
            are_stopped=lambda: self.switch.state() is not None,
            outbox=self.outbox,
            neighbours=neighbours,
        )
        self.pbxs.observe(self.dispatcher)
        self.intake = Intake(
            clock=self.clock,
            week_time=week_time,
            new_id=lambda: str(uuid.uuid4()),
            dispatcher=self.dispatcher,
            store=self.store,
            drivers=self.pbxs.drivers,
            pbxs=names,
            limits=config.calls,
            meter=self.meter,
            number_plans=_number_plans(config),
            tokens=self.tokens_table,
        )
        self.sharing = None
        if shared is not None and neighbours is not None:
            ForeignStreams(self.live, self.dispatcher, self.store).follow(neighbours)
            self.sharing = Sharing(
                shared,
                neighbours,
                keys=self.keys.take,
                cancel=self.dispatcher.cancel,
                clock=reactor,
            )
        self.broker = None if config.amqp is None else self._broker(config.amqp)
        self.health = Health(
            store=self.store,
            switch=self.switch,
            dispatcher=self.dispatcher,
            outbox=self.outbox,
            live=self.live,
            pbxs=self.pbxs,
            meter=self.meter,
            broker=self.broker,
            now=self.clock.now,
        )
        self.checks = Checks(
            lambda: self.read_last,
            {name: asterisk.link for name, asterisk in self.pbxs.asterisks.items()},
            lambda checked: Parts(checked, reactor),
            reactor=reactor,
            now=self.clock.wall,
        )
        stop_watch = StopSwitchService(self.switch, self.dispatcher.hang_up_all, reactor)
        #: In the order in which they are started.
        self.services: list[Service] = [
            LoopWatch(reactor, self.metrics.loop_delayed),
            self.retention(self.store.delete_ended, "calls that ended"),
            self.retention(reports.delete_old, "reports of what happened"),
            self.retention(self.tokens_table.delete_old, "tokens that expired"),
            self.outbox,
            stop_watch,
            *self.pbxs.services(),
            *filter(None, [self.broker]),
            self.checks,
        ]
        if self.store.shared:
            self.services.append(RevokedElsewhere(self.live, self.tokens_table, reactor))
        listens = listening(config.http.listen)
        #: What an `ssl:` listener shows; None for any other.
        self.certificate = None
        if listens.kind == "ssl":
            with of_setting("http.listen"):
                self.certificate = ServerCertificate(listens)
        self.http = listener(config.http.listen, self._site(stop_watch), reactor, self.certificate)

    def retention(self, delete: Callable[[float], Deferred[int]], what: str) -> Retention:
        """Who deletes what is older than the configuration's `store.keep_days`."""

        def now() -> float:
            """Whichever clock is behind: one that was set forward deletes nothing."""
            return min(self.clock.now(), self.clock.wall())

        keep_days = self._config.store.keep_days
        return Retention(delete, what, keep_days=keep_days, clock=self._reactor, now=now)

    def _use(self, key_name: str) -> Use | None:
        """What a key uses; where several processes share a store, each knows its own part alone."""
        return None if self.store.shared else self.meter.use(key_name, self.clock.now())

    def _sample(self) -> Sample:
        return self.health.sample()

    def _woken(self) -> None:
        self.outbox.wake()

    def _broker(self, config: AmqpConfig) -> AmqpLink:
        """The link to the broker, and who works over it."""
        server_id = self._config.server_id
        users: list[AmqpUser] = []
        if self.reporters.results is not None:
            users.append(self.reporters.results)
        if config.jobs_key is not None:
            consumer = job_consumer(
                config,
                server_id,
                key_name=config.jobs_key,
                keys=self.keys.ring,
                intake=self.intake,
                dispatcher=self.dispatcher,
                reactor=self._reactor,
            )
            users.append(consumer)
        if self.pbxs.relay is not None:
            users.append(self.pbxs.relay)
        return broker_link(config, server_id, users, self._reactor)

    def _site(self, kill_switch: StopSwitchService) -> ApiSite:
        http = self._config.http
        api = Api(
            config=http,
            server_id=self._config.server_id,
            keys=self.keys.ring,
            intake=self.intake,
            dispatcher=self.dispatcher,
            live=self.live,
            readiness=self.health.readiness,
            metrics=self.metrics.expose,
            replay=self.outbox.replay,
            standing=self.outbox.standing,
            kill_switch=kill_switch,
            check=self.checks.found,
            fastagi=self.pbxs.fastagi_addresses,
            signer=self.tokens.signer,
            tokens=self.tokens_table,
            report_list=OutboxTable(self.store),
            use=self._use,
            clock=self._reactor,
            now=self.clock.wall,
        )
        return ApiSite(
            api,
            http.public_url,
            self._reactor,
            http.trusted_proxies,
            max_connections=http.max_connections,
        )


def _number_plans(config: Config) -> dict[str, NumberPlan]:
    """The number plans of the PBXs that have one, by their names."""
    asterisks = {name: pbx.asterisk for name, pbx in config.every_pbx.items()}
    plans = {name: one.numbers for name, one in asterisks.items() if one is not None}
    return {name: plan for name, plan in plans.items() if plan is not None}
