"""The configuration read again: taken over or refused, and said in the log."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.config.sections import Config, LogConfig
from c2c_agent.errors import ConfigError
from c2c_agent.service.reload import Reload

CONFIG = Config(server_id="pbx1", log=LogConfig("debug", "full"))


class ReloadTest(SynchronousTestCase):
    """A reload whose files are read when the test says so."""

    def setUp(self) -> None:
        """Put mocks around it: what it does is to call them in order."""
        self.reads: list[Deferred[Config]] = []
        self.parts = mock.Mock()
        self.parts.agent.change.return_value = (["keys"], [])
        self.reload = Reload(
            self.read,
            agent=self.parts.agent,
            log=self.parts.log,
            supervisor=self.parts.supervisor,
        )

    def read(self) -> Deferred[Config]:
        """Begin to read."""
        self.reads.append(Deferred())
        return self.reads[-1]

    def reloaded(self, result: object) -> list[str]:
        """Reload with this result of reading; the lines of the log."""
        with capturedLogs() as logs:
            done = self.reload()
            reading: Any = self.reads[-1]
            reading.errback(result) if isinstance(result, Exception) else reading.callback(result)
            self.successResultOf(done)
        self.flushLoggedErrors()
        return [f"{event['log_level'].name} {formatEvent(event)}" for event in logs]

    def test_taken_over(self) -> None:
        """Agent and log have it; systemd hears before and after."""
        assert self.reloaded(CONFIG) == ["info configuration read again; changed: keys"]
        assert self.parts.mock_calls == [
            mock.call.supervisor.reloading(),
            mock.call.agent.change(CONFIG),
            mock.call.log.change("debug", full_numbers=True),
            mock.call.supervisor.reloaded(),
        ]

    def test_what_waits_for_a_restart(self) -> None:
        """It is named."""
        self.parts.agent.change.return_value = ([], ["http.listen", "server_id"])
        assert self.reloaded(CONFIG) == [
            "info configuration read again; changed: nothing",
            "warn changed, but needs a restart: http.listen, server_id",
        ]

    def test_refused(self) -> None:
        """By who reads it or by the agent: the reason, and nothing has changed."""
        refused = "error configuration refused, the old one stays: no"
        assert self.reloaded(ConfigError("no")) == [refused]
        assert not self.parts.agent.change.called
        self.parts.agent.change.side_effect = ConfigError("no")
        assert self.reloaded(CONFIG) == [refused]
        assert not self.parts.log.change.called
        assert self.parts.supervisor.reloaded.call_count == 2

    def test_a_mistake_of_ours(self) -> None:
        """The agent goes on, and can be asked to again."""
        assert self.reloaded(ZeroDivisionError()) == [
            "critical configuration not read again, the old one stays"
        ]
        assert self.reloaded(CONFIG) == ["info configuration read again; changed: keys"]

    def test_one_after_the_other(self) -> None:
        """What was read last wins, however long the reading before it took."""
        first, second = self.reload(), self.reload()
        assert len(self.reads) == 1
        self.reads[0].callback(CONFIG)
        self.successResultOf(first)
        self.reads[1].callback(CONFIG)
        self.successResultOf(second)
