"""A cloud in small: a broker, a database, relays, and agents beside a scripted Asterisk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from c2c_agent.policy.keys import key_digest
from tests.bench.peers.run import started
from tests.bench.places import Bench
from tests.bench.recorded_call import recorded_call
from tests.certificates import Authority
from tests.cloud.brokers import PASSWORD as BROKER_PASSWORD
from tests.cloud.brokers import PORT, Broker
from tests.cloud.databases import PASSWORD as DATABASE_PASSWORD
from tests.cloud.databases import Database, DatabaseServer
from tests.pbx.agents import KEY, AgentProcess

#: No test's addresses, and none of the benchmark's own Asterisks.
_BROKER: Final = "127.0.0.64"
_DATABASE: Final = "127.0.0.65"

#: Where relays, agents and bare scripts live.
PROCESSES: Final = "127.0.0.66"

#: A hundred relays have three connections each.
_CONNECTIONS: Final = 340

#: Bounds that are counted, and that no round comes to.
_LIMITS: Final = {"max_concurrent": 5000, "per_minute": 1_000_000, "per_day": 10_000_000}


class _Host:
    """Where the processes live: the Asterisk there is scripted."""

    address = PROCESSES
    ami_port = 5038
    ami_username = "c2c-agent"
    ami_secret = "nothing"


@define
class Cloud:
    """What stands already, and makes what a round needs."""

    broker: Broker
    server: DatabaseServer
    directory: Path
    _numbers: Iterator[int] = field(factory=count, init=False)

    @property
    def broker_login(self) -> list[Any]:
        """Where the broker is, and a relay's user, for a peer."""
        return [self.broker.address, PORT, "cloud", BROKER_PASSWORD]

    def agent(self, *, relayed: bool) -> AgentProcess:
        """An agent with a new store, that takes jobs from the broker or knows of none."""
        directory = self._new()
        changes: dict[str, Any] = {}
        if relayed:
            amqp = {"agent_id": "pbx1", "jobs_key": "crm", **self._amqp(directory, "pbx1")}
            changes = {"server_id": "pbx1.bench", "amqp": amqp}
        return self._process(directory, changes)

    def relay(self, server_id: str, database: Database) -> AgentProcess:
        """A relay that shares a database, and hears the events of its own calls."""
        directory = self._new()
        password = directory / "database.password"
        password.write_text(DATABASE_PASSWORD + "\n", encoding="utf-8")
        key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"], "agent": "pbx1"}
        relay = self._process(
            directory,
            {
                "server_id": server_id,
                "asterisk": False,
                "amqp": self._amqp(directory, "cloud"),
                "relay": {"answer_timeout": 30, "events": "own"},
                "keys": [{**key, **_LIMITS}],
            },
        )
        store = {"url": database.url, "password_file": str(password), "directory": str(directory)}
        relay.configure("store", store)
        return relay

    def _process(self, directory: Path, changes: dict[str, Any]) -> AgentProcess:
        host: Any = _Host()
        usual = {
            "calls": {"timeout": 10, "max_concurrent": 5000},
            "log": {"level": "info", "numbers": "masked"},
        }
        return AgentProcess(host, directory, {**usual, **changes})

    def _amqp(self, directory: Path, user: str) -> dict[str, Any]:
        file = directory / "amqp.password"
        file.write_text(BROKER_PASSWORD + "\n", encoding="utf-8")
        place = {"host": self.broker.address, "port": PORT, "tls": False}
        return {**place, "username": user, "password_file": str(file)}

    def _new(self) -> Path:
        directory = self.directory / f"process-{next(self._numbers)}"
        directory.mkdir()
        return directory


@contextmanager
def cloud(bench: Bench) -> Iterator[Cloud]:
    """A cloud of which all is gone afterwards; each agent's Asterisk plays one recorded call."""
    directory = bench.directory / "cloud"
    directory.mkdir()
    order = {"ami": [_Host.address, _Host.ami_port], "call": recorded_call(bench)}
    with (
        started("scripted_asterisk", order),
        Broker(Authority(directory), _BROKER) as broker,
        DatabaseServer(_DATABASE, max_connections=_CONNECTIONS) as server,
    ):
        yield Cloud(broker, server, directory)
