"""`c2c-agent check` within the agent, for the console: no test call, and never two at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from c2c_agent.ami.link import AmiLink
from c2c_agent.check import run as checks
from c2c_agent.check.finding import Finding
from c2c_agent.check.outside import Outside, server_of
from c2c_agent.config.sections import Config
from c2c_agent.report.event import Json
from c2c_agent.service.drivers import broker_link

#: Seconds for which findings are told again: several may look at once, and one may click often.
_FRESH: Final = 5.0


class Checks(Service):
    """Looks at the agent and its PBX, whenever somebody asks.

    `config` gives the configuration that was read last, `links` are the agent's own to Asterisks,
    by their names, and `build` makes the parts of an agent; it raises C2CError. `now` gives epoch
    seconds. `aside` takes looks that wait for files and for the store.
    """

    name = "checks"

    def __init__(
        self,
        config: Callable[[], Config],
        links: Mapping[str, AmiLink],
        build: Callable[[Config], object],
        *,
        reactor: Any,
        now: Callable[[], float],
        aside: Callable[[checks.Looks], Awaitable[Sequence[Finding]]] = deferToThread,
    ) -> None:
        self._config = config
        self._build = build
        self._reactor = reactor
        self._now = now
        self._within = checks.Within(links, aside)
        self._running: Deferred[Json] | None = None
        self._waiting: list[Deferred[Json]] = []
        self._latest: Json = {}
        self._found_at = float("-inf")

    async def found(self) -> Json:
        """What was found a moment ago, or is found now; fails where the agent stops meanwhile."""
        if self._reactor.seconds() - self._found_at < _FRESH:
            return self._latest
        waiting = Deferred[Json]()
        self._waiting.append(waiting)
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._check())
            self._running.addBoth(self._tell)
        return await waiting

    def stopService(self) -> None:  # noqa: N802 - Twisted's name
        """Look no further."""
        super().stopService()
        if self._running is not None:
            self._running.cancel()

    async def _check(self) -> Json:
        config = self._config()
        outside = self._outside(config)
        run = checks.run(config, self._reactor, self._build, outside, self._within)
        found = [finding async for finding in run]
        self._found_at = self._reactor.seconds()
        self._latest = {
            "utc.time": f"{self._now():.3f}",
            "ok": not any(finding.failed for finding in found),
            "findings": [finding.as_dict() for finding in found],
        }
        return self._latest

    def _tell(self, result: Any) -> None:
        self._running = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)  # a Failure fails it

    def _outside(self, config: Config) -> Outside:
        return Outside(
            running=_nobody,
            broker=lambda amqp: broker_link(amqp, config.server_id, (), self._reactor),
            receiver=partial(server_of, reactor=self._reactor),
            sockets=checks.sockets,
        )


async def _nobody() -> str | None:
    """Without a test call it is not asked where that would come to."""
    return None
