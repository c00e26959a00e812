"""The way to one PBX over HTTP: its driver, and who looks now and then whether it is there.

What is made here is not connected before it is started.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from c2c_agent.config.files import read_secret
from c2c_agent.config.pbx import OtherSection
from c2c_agent.config.sections import CallsConfig
from c2c_agent.host.clock import SteadyClock
from c2c_agent.pbx.other.client import Client
from c2c_agent.pbx.other.connection import requests_of
from c2c_agent.pbx.other.driver import OtherDriver
from c2c_agent.pbx.other.reading import read

#: Seconds from one look to the next while there are no calls: so that who asks whether the agent is
#: ready hears what is so, and not what was.
_LOOK: Final = 60.0


@frozen
class OtherParts:
    """The way to one PBX over HTTP."""

    driver: OtherDriver
    service: Service


def other_parts(
    section: OtherSection, limits: CallsConfig, *, clock: SteadyClock, reactor: Any
) -> OtherParts:
    """The way to the PBX of this section. Raises ConfigError."""
    program = read(section.value, section.where, section.files)
    secrets = {name: read_secret(file) for name, file in program.secret_files.items()}
    client = Client(
        program,
        requests_of(program, reactor),
        secrets=secrets,
        seconds=reactor.seconds,
        wall=clock.wall,
        new_word=lambda: uuid.uuid4().hex,
    )
    driver = OtherDriver(
        program, client, max_duration=limits.max_duration, clock=reactor, now=clock.now
    )
    can_tell = program.check is not None or program.login is not None
    return OtherParts(driver, _Looks(driver, reactor, again=can_tell))


class _Looks(Service):
    """Has a driver look whether its PBX is there: at the start, and `again` once in a minute."""

    def __init__(self, driver: OtherDriver, reactor: Any, *, again: bool) -> None:
        self._driver = driver
        self._again = again
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:  # noqa: N802 - Twisted's name
        """Log in and check, in the background."""
        super().startService()
        self._driver.start()
        if self._again:
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
