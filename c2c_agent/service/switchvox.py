"""The way to one Switchvox: its driver, and who looks now and then whether it is there."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.application.service import Service

from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.host.clock import SteadyClock
from c2c_agent.pbx.switchvox.driver import SwitchvoxDriver
from c2c_agent.pbx.switchvox.login import extend_client
from c2c_agent.service.looks import Looks


@frozen
class SwitchvoxParts:
    """The way to one Switchvox."""

    driver: SwitchvoxDriver
    service: Service


def switchvox_parts(config: SwitchvoxConfig, *, clock: SteadyClock, reactor: Any) -> SwitchvoxParts:
    """The way to the Switchvox of this configuration. Raises ConfigError."""
    driver = SwitchvoxDriver(config, extend_client(config, reactor), clock=reactor, now=clock.now)
    return SwitchvoxParts(driver, Looks(driver, reactor))
