"""The configuration read again while calls go on (SIGHUP): checked first, then taken over, or not.

A configuration that cannot be is refused, and the old one stays. No call is touched either way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from c2c_agent.config.sections import Config
from c2c_agent.errors import C2CError
from c2c_agent.host.log import Log
from c2c_agent.host.sd_notify import Supervisor
from c2c_agent.service.agent import AgentService

_log = Logger()


class Reload:
    """Reads the configuration again, whenever it is called.

    `load` gives what the files hold now; it may take its time, for it asks for the host's name.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Config]],
        *,
        agent: AgentService,
        log: Log,
        supervisor: Supervisor,
    ) -> None:
        self._load = load
        self._agent = agent
        self._lines = log
        self._supervisor = supervisor
        self._turn = DeferredLock()  # the one that was read last has to win

    def __call__(self) -> Deferred[None]:
        """Read it, and take it over; fires when that is done or refused, and never fails."""
        return self._turn.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> None:
        self._supervisor.reloading()
        try:
            config = await self._load()
            changed, waiting = self._agent.change(config)
            self._lines.change(config.log.level, full_numbers=config.log.numbers == "full")
        except C2CError as error:
            _log.error("configuration refused, the old one stays: {reason}", reason=str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the agent goes on as it was
            _log.failure("configuration not read again, the old one stays")
        else:
            _log.info("configuration read again; changed: {names}", names=_listed(changed))
            if waiting:
                _log.warn("changed, but needs a restart: {names}", names=_listed(waiting))
        finally:
            self._supervisor.reloaded()


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"
