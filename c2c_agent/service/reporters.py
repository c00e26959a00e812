"""Who is told what became of calls: the receivers of webhooks, and the broker.

What is made here is not connected before there is something to tell.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.client import HTTPConnectionPool

from c2c_agent.amqp.results import ResultPublisher
from c2c_agent.config.files import read_secret, read_webhook_secrets
from c2c_agent.config.sections import Config, WebhookConfig
from c2c_agent.errors import of_setting
from c2c_agent.host.clock import SteadyClock
from c2c_agent.net.http_client import http_client
from c2c_agent.report.delivery import Reporter
from c2c_agent.report.webhook import Webhook
from c2c_agent.service.drivers import agent_id


class Reporters:
    """All reporters of one configuration, and the connections that they keep.

    `results` is the one that tells the broker; None where the broker is told nothing. `woken` is
    called when it can deliver (again). Raises ConfigError.
    """

    def __init__(
        self, config: Config, *, woken: Callable[[], None], clock: SteadyClock, reactor: Any
    ) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._clock = clock
        self._reactor = reactor
        self.results = self._result_publisher(config, woken)
        self.all: list[Reporter] = []
        for index, receiver in enumerate(config.webhooks):
            with of_setting(f"webhooks[{index}].secret_file"):
                self.all.append(self._webhook(receiver))
        self.all += [] if self.results is None else [self.results]

    def close(self) -> Deferred[None]:
        """End the connections that wait for further reports."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    def _webhook(self, receiver: WebhookConfig) -> Webhook:
        signs = receiver.format == "standard"
        return Webhook(
            receiver,
            read_webhook_secrets(receiver.secret_file) if signs else (),
            token=None if signs else read_secret(receiver.secret_file),
            client=http_client(self._reactor, self._pool),
            fresh=http_client(self._reactor),
            clock=self._reactor,
            now=self._clock.wall,
            random=random.random,
        )

    def _result_publisher(
        self, config: Config, woken: Callable[[], None]
    ) -> ResultPublisher | None:
        """Who tells the broker; a relay is told, and tells nobody there."""
        if config.amqp is None or config.relay is not None or not config.amqp.results:
            return None
        return ResultPublisher(agent_id(config.amqp, config.server_id), self._reactor, woken)
