"""The ways to all PBXs of one configuration, by their names.

What is made here is not connected and does not listen before it is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

from twisted.application.service import Service

from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.config.pbx import AsteriskConfig, PbxConfig
from c2c_agent.config.sections import Config
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.errors import of_setting
from c2c_agent.host.clock import SteadyClock
from c2c_agent.pbx.driver import PbxDriver
from c2c_agent.policy.keys import KeyRing
from c2c_agent.service.drivers import AsteriskParts, FastAgi, asterisk_parts, relay_driver
from c2c_agent.service.other import OtherParts, other_parts
from c2c_agent.service.switchvox import SwitchvoxParts, switchvox_parts


class Pbxs:
    """All PBXs that calls can be placed on. What cannot be made raises ConfigError or AmiError.

    `drivers` and `kinds` are by the names of PBXs. A relay has one PBX of each kind, called like
    that, unless one of the name is beside it: calls on it go to agents.
    """

    def __init__(self, config: Config, keys: KeyRing, *, clock: SteadyClock, reactor: Any) -> None:
        self._config = config
        self._clock = clock
        self._reactor = reactor
        self.kinds = config.pbx_kinds
        self.drivers: dict[str, PbxDriver] = {}
        self.asterisks: dict[str, AsteriskParts] = {}
        #: Those that hold no connection open, and are asked.
        self.asked: dict[str, OtherParts | SwitchvoxParts] = {}
        #: By the listener's description: Asterisks with the same one share it.
        self.fastagi: dict[str, FastAgi] = {}
        for name, pbx in config.every_pbx.items():
            # The faults of a section `other` name its place themselves.
            is_named = name in config.pbxs and pbx.other is None
            with of_setting(f"pbxs.{name}") if is_named else nullcontext():
                self.drivers[name] = self._driver(name, pbx)
        self.relay = self._relay(keys)

    def _driver(self, name: str, pbx: PbxConfig) -> PbxDriver:
        if pbx.asterisk is not None:
            return self._asterisk(name, pbx.asterisk)
        if pbx.switchvox is not None:
            self.asked[name] = switchvox_parts(
                pbx.switchvox, clock=self._clock, reactor=self._reactor
            )
        if pbx.other is not None:
            self.asked[name] = other_parts(
                pbx.other, self._config.calls, clock=self._clock, reactor=self._reactor
            )
        return self.asked[name].driver

    def _asterisk(self, name: str, config: AsteriskConfig) -> PbxDriver:
        calls, listen = self._config.calls, config.agi.listen
        parts = asterisk_parts(config, calls, clock=self._clock, reactor=self._reactor)
        self.asterisks[name] = parts
        if listen not in self.fastagi:
            self.fastagi[listen] = FastAgi(listen, calls, self._reactor)
        self.fastagi[listen].add(parts.driver)
        return parts.driver

    def _relay(self, keys: KeyRing) -> RelayDriver | None:
        config = self._config.relay
        if config is None or self._config.amqp is None:
            return None
        relay = relay_driver(
            config, self._config.server_id, keys, clock=self._clock, reactor=self._reactor
        )
        for kind in self._config.relayed_kinds:
            self.drivers[kind] = relay.of_kind(kind)
        return relay

    def observe(self, dispatcher: Dispatcher) -> None:
        """Have the dispatcher hear of all calls; each PBX tells of its own alone."""
        for name, driver in self.drivers.items():
            driver.observer = dispatcher.observer_of(name)
        if self.relay is not None:
            self.relay.observer = dispatcher.observer_of(*self._config.relayed_kinds)

    def services(self) -> Iterator[Service]:
        """What connects to the PBXs, and what they connect to, in the order of its start."""
        yield from (fastagi.listener for fastagi in self.fastagi.values())
        yield from (asterisk.link for asterisk in self.asterisks.values())
        yield from (pbx.service for pbx in self.asked.values())

    def limit(self, max_concurrent: int) -> None:
        """Take so many FastAGI sessions as that many calls need."""
        for fastagi in self.fastagi.values():
            fastagi.limit(max_concurrent)

    @property
    def fastagi_addresses(self) -> str | None:
        """Where FastAGI sessions are taken, as `host:port`, with blanks between; None: nowhere."""
        addresses = (fastagi.address for fastagi in self.fastagi.values())
        return " ".join(filter(None, addresses)) or None


def pbx_limits(config: Config) -> Mapping[str, int]:
    """How many calls may be in progress on each PBX that has a limit of its own."""
    limits = {name: pbx.max_concurrent for name, pbx in config.pbxs.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}
