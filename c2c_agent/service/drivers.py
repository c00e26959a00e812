"""The ways to a PBX: to an Asterisk over AMI and FastAGI, or through a broker to other agents.

What is made here is not connected and does not listen before it is started.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.protocol import AgiFactory
from c2c_agent.ami.link import AmiLink, ami_endpoint
from c2c_agent.amqp.jobs import JobConsumer
from c2c_agent.amqp.link import AmqpLink, AmqpUser
from c2c_agent.amqp.login import broker_endpoint, login_parameters
from c2c_agent.amqp.messages import jobs_queue
from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.config.files import read_secret
from c2c_agent.config.pbx import AsteriskConfig, RelayConfig
from c2c_agent.config.sections import AmqpConfig, CallsConfig
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.errors import of_setting
from c2c_agent.host.clock import SteadyClock
from c2c_agent.net.endpoints import listener
from c2c_agent.net.listening import listening
from c2c_agent.pbx.asterisk.bridge import agi_url
from c2c_agent.pbx.asterisk.driver import AsteriskDriver
from c2c_agent.policy.keys import KeyRing

#: FastAGI sessions beyond the calls that may be in progress: refused ones, checks, strangers.
_SPARE_SESSIONS: Final = 100


@frozen
class AsteriskParts:
    """The way to one Asterisk: the driver, and its AMI link."""

    driver: AsteriskDriver
    link: AmiLink


class FastAgi:
    """Where FastAGI sessions are taken: those of one Asterisk, or of several."""

    def __init__(self, listen: str, limits: CallsConfig, reactor: Any) -> None:
        self.address = listening(listen).address
        self.agi = AgiFactory(self._accept, reactor)
        self.listener = listener(listen, self.agi, reactor)
        self._drivers: list[AsteriskDriver] = []
        self.limit(limits.max_concurrent)

    def add(self, driver: AsteriskDriver) -> None:
        """Take the sessions of one Asterisk more."""
        self._drivers.append(driver)

    def limit(self, max_concurrent: int) -> None:
        """Take so many sessions as that many calls need."""
        self.agi.max_sessions = max_concurrent + _SPARE_SESSIONS

    async def _accept(self, channel: AgiChannel) -> None:
        """Give a session to the Asterisk that has the call which it names.

        A name proves nothing: the driver asks for the secret of the call, which the channels of
        that Asterisk alone know. Who names no call of any is answered alike by all.
        """
        theirs = (driver for driver in self._drivers if driver.has_call_of(channel))
        await next(theirs, self._drivers[0]).accept(channel)


def asterisk_parts(
    config: AsteriskConfig, limits: CallsConfig, *, clock: SteadyClock, reactor: Any
) -> AsteriskParts:
    """The way to the Asterisk of this configuration. Raises ConfigError, AmiError."""
    ami = config.ami
    with of_setting("asterisk.ami.ca_file"):
        endpoint = ami_endpoint(reactor, ami.host, ami.port, tls=ami.tls, ca_file=ami.ca_file)
    with of_setting("asterisk.ami.secret_file"):
        secret = read_secret(ami.secret_file)
    link = AmiLink(
        endpoint,
        username=config.ami.username,
        secret=secret,
        new_secret=partial(read_secret, config.ami.secret_file),
        clock=reactor,
    )
    driver = AsteriskDriver(
        config,
        link=link,
        agi_url=agi_url(config.agi),
        max_duration=limits.max_duration,
        clock=reactor,
        now=clock.now,
        wall=clock.wall,
    )
    link.observer = driver
    return AsteriskParts(driver, link)


def relay_driver(
    config: RelayConfig, server_id: str, keys: KeyRing, *, clock: SteadyClock, reactor: Any
) -> RelayDriver:
    """The way to the agents that the keys name."""
    return RelayDriver(
        server_id=server_id,
        agents=lambda: {key.agent for key in keys if key.agent is not None},
        answer_timeout=config.answer_timeout,
        events=config.events,
        clock=reactor,
        now=clock.wall,
    )


def agent_id(config: AmqpConfig, server_id: str) -> str:
    """The name that the agent has at the broker."""
    return config.agent_id or server_id


def job_consumer(
    config: AmqpConfig,
    server_id: str,
    *,
    key_name: str,
    keys: KeyRing,
    intake: Intake,
    dispatcher: Dispatcher,
    reactor: Any,
) -> JobConsumer:
    """Who takes jobs from the broker, as the key of that name."""
    return JobConsumer(
        jobs_queue(agent_id(config, server_id)),
        prefetch=config.prefetch,
        key=lambda: keys.named(key_name),
        intake=intake,
        dispatcher=dispatcher,
        clock=reactor,
    )


def broker_link(
    config: AmqpConfig, server_id: str, users: Sequence[AmqpUser], reactor: Any
) -> AmqpLink:
    """The link to the broker, over which the `users` work. Raises ConfigError."""
    return AmqpLink(
        broker_endpoint(config, reactor),
        login_parameters(config, f"c2c-agent {agent_id(config, server_id)}"),
        clock=reactor,
        users=users,
    )
