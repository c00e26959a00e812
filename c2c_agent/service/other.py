"""The way to one PBX over HTTP: its driver, and who looks now and then whether it is there.

What is made here is not connected before it is started.
"""

from __future__ import annotations

import uuid
from typing import Any

from attrs import frozen
from twisted.application.service import Service

from c2c_agent.config.files import read_secret
from c2c_agent.config.pbx import OtherSection
from c2c_agent.config.sections import CallsConfig
from c2c_agent.host.clock import SteadyClock
from c2c_agent.pbx.other.client import Client
from c2c_agent.pbx.other.connection import requests_of
from c2c_agent.pbx.other.driver import OtherDriver
from c2c_agent.pbx.other.reading import read
from c2c_agent.service.looks import Looks


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
    return OtherParts(driver, Looks(driver, reactor, again=can_tell))
