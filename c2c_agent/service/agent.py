"""The whole agent: its parts, started and stopped in order.

start: store ─> calls of before ─> FastAGI listener ─> AMI link ─> HTTP listener
ready: when the first attempt to log in to AMI has come to a link, or is to be repeated
stop:  HTTP listener ─> FastAGI sessions (the dialplan goes on alone) ─> AMI ─> store
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from c2c_agent.agi.protocol import AgiFactory
from c2c_agent.config.sections import CallsConfig, Config, LogConfig, differences
from c2c_agent.host.clock import boot_id
from c2c_agent.host.sd_notify import Supervisor
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import DAY
from c2c_agent.service.parts import Parts
from c2c_agent.service.pbxs import pbx_limits
from c2c_agent.store.sqlite.store import Store

_log = Logger()

#: Seconds that one stage of the stop may take; all together have to keep to TimeoutStopSec=30.
_STAGE: Final = 5.0


@frozen
class _PbxLimits:
    """Those of one PBX."""

    max_concurrent: int | None


@frozen
class _AtOnce:
    """The settings that may change while calls go on.

    Not a whole Config: what waits for a restart may name a key that is there no more. `pbxs` are
    those that are there before as well.
    """

    calls: CallsConfig
    keys: Sequence[Key]
    log: LogConfig
    pbxs: Mapping[str, _PbxLimits]


_AT_ONCE: Final = re.compile(r"(calls|keys|log)(\..*)?|pbxs\..*\.max_concurrent")


class AgentService(Service):
    """The agent: `startService` raises where it cannot start, and then leaves nothing running.

    Raises what `Parts` raises. `supervisor` hears when it is ready, how it goes, and when it stops.
    """

    name = "c2c-agent"

    def __init__(self, config: Config, reactor: Any, supervisor: Supervisor | None = None) -> None:
        self._config = config
        limits = {name: _PbxLimits(pbx.max_concurrent) for name, pbx in config.pbxs.items()}
        self._at_once = _AtOnce(config.calls, config.keys, config.log, limits)
        self._reactor = reactor
        self._supervisor = supervisor or Supervisor(None, None, reactor)
        self.parts = Parts(config, reactor)

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Start all parts, in order. Raises StoreError, ConfigError, or what a listener raises."""
        parts = self.parts
        parts.keys.open(parts.operator_file)
        parts.tokens.open()
        parts.store.open()
        parts.clock.go_on(parts.directory / "clock", boot_id())
        started: list[Service] = []
        try:
            unfinished = parts.store.unfinished()
            if isinstance(parts.store, Store):  # a shared one counts by itself
                self._recall(parts.store, parts.clock.now() - DAY)
            parts.dispatcher.resume(unfinished)
            if parts.sharing is not None:
                parts.sharing.start()
            for part in [*parts.services, parts.http]:
                part.startService()
                started.append(part)
        except BaseException:
            parts.dispatcher.stop()
            for part in reversed(started):
                part.stopService()
            parts.store.close()
            raise
        super().startService()
        _log.info("started; {count} calls were in progress before", count=len(unfinished))
        if self._config.is_called_localhost:
            _log.warn(
                "server_id is {name}, as on every host; give this one a name of its own",
                name=self._config.server_id,
            )
        parts.health.tell(self._supervisor)

    def _recall(self, store: Store, since: float) -> None:
        """Count what keys have used since a moment."""
        for key_name, placed_at in store.placed_since(since):
            self.parts.meter.recall(key_name, [placed_at])
        for key_name, ended_at, seconds in store.answered_since(since):
            self.parts.meter.recall_spent(key_name, ended_at, seconds)

    def stopService(self) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Stop all parts, in order; fires when everything is stored and closed."""
        super().stopService()
        self.parts.health.tell_no_more()
        self._supervisor.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Stop in stages, each whatever became of the others. Calls go on in Asterisk."""
        parts = self.parts
        parts.intake.close()
        parts.live.close()
        async with AsyncExitStack() as last_first:
            last_first.callback(parts.store.close)
            if parts.sharing is not None:
                last_first.callback(parts.sharing.stop)
            last_first.push_async_callback(self._without_connections)
            for part in parts.services:
                last_first.push_async_callback(self._stopped, part)
            for fastagi in parts.pbxs.fastagi.values():
                last_first.push_async_callback(self._drained, fastagi.agi)
            last_first.callback(parts.dispatcher.stop)
            await self._stopped(parts.http)
            _log.info("stopping; {count} calls go on", count=parts.dispatcher.in_progress)

    async def _stopped(self, part: Service) -> None:
        stopping = part.stopService()
        if stopping is not None:
            await stopping.addTimeout(_STAGE, self._reactor)

    async def _without_connections(self) -> None:
        await self.parts.reporters.close().addTimeout(_STAGE, self._reactor)

    async def _drained(self, agi: AgiFactory) -> None:
        drained = agi.stop()
        agi.abort()
        await drained.addTimeout(_STAGE, self._reactor)

    def change(self, config: Config) -> tuple[list[str], list[str]]:
        """Take over what may change while calls go on.

        Gives the names of the settings that did, and of those that wait for a restart. Raises what
        `Parts` raises where the configuration could not be started with; nothing has changed then.
        """
        Parts(config, self._reactor)
        if self.parts.certificate is not None and config.http.listen == self._config.http.listen:
            self.parts.certificate.renew()
        # The longest talk stays: calls in progress were placed with it.
        calls = evolve(config.calls, max_duration=self._config.calls.max_duration)
        limits = {
            name: _PbxLimits(config.pbxs[name].max_concurrent) if name in config.pbxs else before
            for name, before in self._at_once.pbxs.items()
        }
        after = _AtOnce(calls, config.keys, config.log, limits)
        self.parts.read_last = config
        changed = list(differences(self._at_once, after))
        self._at_once = after
        parts = self.parts
        parts.tokens.take(self._config)
        parts.keys.configure(config.keys)
        parts.intake.change(calls)
        parts.meter.max_concurrent = calls.max_concurrent
        parts.meter.pbx_limits = pbx_limits(config)
        parts.pbxs.limit(calls.max_concurrent)
        waiting = [
            name for name in differences(self._config, config) if _AT_ONCE.fullmatch(name) is None
        ]
        return changed, [*waiting, *differences(calls, config.calls, "calls")]
