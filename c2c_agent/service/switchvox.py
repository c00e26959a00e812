"""The way to one Switchvox: its driver, and who looks now and then whether it is there."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.host.clock import SteadyClock
from c2c_agent.pbx.switchvox.driver import SwitchvoxDriver
from c2c_agent.pbx.switchvox.login import extend_client

#: Seconds from one look to the next while there are no calls: so that who asks whether the agent is
#: ready hears what is so, and not what was.
_LOOK: Final = 60.0


@frozen
class SwitchvoxParts:
    """The way to one Switchvox."""

    driver: SwitchvoxDriver
    service: Service


def switchvox_parts(config: SwitchvoxConfig, *, clock: SteadyClock, reactor: Any) -> SwitchvoxParts:
    """The way to the Switchvox of this configuration. Raises ConfigError."""
    driver = SwitchvoxDriver(config, extend_client(config, reactor), clock=reactor, now=clock.now)
    return SwitchvoxParts(driver, _Looks(driver, reactor))


class _Looks(Service):
    """Has a driver look whether its PBX is there: at the start, and once in a minute."""

    def __init__(self, driver: SwitchvoxDriver, reactor: Any) -> None:
        self._driver = driver
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Log in, in the background."""
        super().startService()
        self._driver.start()
        self._loop.start(_LOOK, now=False)

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Ask nothing any more; calls go on in the PBX."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self._driver.stop()

    def _look(self) -> Deferred[None] | None:
        if not self._driver.is_up:
            return None  # it tries again by itself
        return Deferred.fromCoroutine(self._driver.try_it())
