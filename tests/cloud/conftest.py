"""A cloud in small: a broker, two PBXs with an agent beside each, and relays."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from c2c_agent.policy.keys import key_digest
from tests.certificates import Authority
from tests.cloud.brokers import ADDRESS, PASSWORD, PORT, TLS_PORT, Broker
from tests.cloud.databases import ADDRESS as DATABASE_ADDRESS
from tests.cloud.databases import PASSWORD as DATABASE_PASSWORD
from tests.cloud.databases import Database, DatabaseServer
from tests.pbx.agents import KEY, OTHER_KEY, AgentProcess
from tests.pbx.conftest import alone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.phones import Phone
from tests.pbx.proxy import Wire
from tests.pbx.sip_scenario import ANSWERS, Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

#: The versions of the two PBXs, and where each lives.
PBXS = {"pbx1": ("22", "127.0.0.42"), "pbx2": ("16", "127.0.0.36")}
_RELAY_ADDRESS = "127.0.0.31"
_WIRE_ADDRESS = "127.0.0.32"


def pytest_configure(config: pytest.Config) -> None:
    """Let pyst2 use the names that threading's methods had in its days."""
    for old in ("setDaemon", "isSet", "currentThread"):
        config.addinivalue_line("filterwarnings", rf"ignore:{old}\(\) is deprecated")


def pytest_itemcollected(item: pytest.Function) -> None:
    """Mark what needs Docker."""
    if "broker" in item.fixturenames:
        item.add_marker("pbx")
    if "server" in item.fixturenames:
        item.add_marker("postgres")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the processes logged meanwhile to the report of a test that failed."""
    report = yield
    given = getattr(item, "funcargs", {})
    if report.failed and "broker" in given:
        for log in sorted(given["tmp_path"].glob("*/agent.log")):
            report.sections.append((log.parent.name, log.read_text(encoding="utf-8")))
        report.sections.append(("broker", given["broker"].logs(since=call.start)[-4000:]))
        if "server" in given:
            report.sections.append(("server", given["server"].logs(since=call.start)[-4000:]))
    return report


class Relay(AgentProcess):
    """A cloud process: gives the calls of its keys to the agents."""


class NoPbx:
    """Where a process lives that has no Asterisk beside it."""

    address = _RELAY_ADDRESS
    ami_port = 5038
    ami_username = "nobody"
    ami_secret = "nothing"


class Cloud:
    """Makes the processes of one test; they share its directory and end with it."""

    def __init__(self, broker: Broker, hosts: Mapping[str, AsteriskHost], directory: Path) -> None:
        self.broker = broker
        self.hosts = hosts
        self.directory = directory
        self._processes: list[AgentProcess] = []

    def agent(
        self,
        name: str = "pbx1",
        *,
        wire: Wire | None = None,
        jobs_pbxs: Sequence[str] = (),
        **changes: Any,
    ) -> AgentProcess:
        """An agent beside its PBX; known to the broker by a certificate, unless behind a wire."""
        directory = self._own(name)
        issued = self.broker.authority.issue(name)
        amqp: dict[str, Any] = {"agent_id": name, "jobs_key": "crm", "jobs_pbxs": [*jobs_pbxs]}
        if wire is None:
            amqp |= {
                "host": ADDRESS,
                "port": TLS_PORT,
                "ca_file": str(self.broker.authority.file),
                "certificate_file": str(issued.certificate),
                "private_key_file": str(issued.key),
            }
        else:
            host, port = wire.place
            amqp |= self._password(directory, name) | {"host": host, "port": port}
        agent = AgentProcess(
            self.hosts[name], directory, {"server_id": f"{name}.test", "amqp": amqp, **changes}
        )
        self._processes.append(agent)
        return agent

    def relay(
        self,
        name: str = "a",
        *,
        answer_timeout: int = 60,
        wire: Wire | None = None,
        **changes: Any,
    ) -> Relay:
        """A relay whose key `crm` belongs to pbx1 and whose key `other` to pbx2.

        The agent has as long to answer as no standstill of the machine takes, nor the broker's
        counting of its messages; where nobody is to answer, a test is over sooner with less.
        """
        directory = self._own(f"relay-{name}")
        broker, port = (ADDRESS, PORT) if wire is None else wire.place
        amqp = {"host": broker, "port": port, **self._password(directory, "cloud")}
        keys = [
            {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"], "agent": "pbx1"},
            {"name": "other", "sha256": key_digest(OTHER_KEY), "allow": ["_XXX"], "agent": "pbx2"},
        ]
        host: Any = NoPbx()
        settings = {
            "server_id": f"relay-{name}",
            "asterisk": False,
            "amqp": amqp,
            "relay": {"answer_timeout": answer_timeout},
            "keys": keys,
        }
        relay = Relay(host, directory, {**settings, **changes})
        self._processes.append(relay)
        return relay

    def sharing(self, name: str, database: Database, **changes: Any) -> Relay:
        """A relay that shares a database with others."""
        password = self.directory / "database.password"
        password.write_text(DATABASE_PASSWORD + "\n", encoding="utf-8")
        directory = self.directory / f"relay-{name}"
        store = {"url": database.url, "password_file": str(password), "directory": str(directory)}
        relay = self.relay(name, **changes)
        relay.configure("store", store)
        return relay

    def _own(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir()
        return directory

    def _password(self, directory: Path, user: str) -> dict[str, Any]:
        file = directory / "amqp.password"
        file.write_text(PASSWORD + "\n", encoding="utf-8")
        return {"username": user, "password_file": str(file), "tls": False}

    def end(self) -> None:
        """Stop whatever still runs."""
        for process in reversed(self._processes):
            process.stop()


def _is_idle(host: AsteriskHost) -> bool:
    return not host.core_show_channels()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A PostgreSQL."""
    with alone(DATABASE_ADDRESS, request.config), DatabaseServer(DATABASE_ADDRESS) as running:
        yield running


@pytest.fixture
def database(server: DatabaseServer) -> Database:
    """An empty database on it."""
    return server.new()


class StartPhone(Protocol):
    """What the fixture `phone` is: starts a phone of a PBX."""

    def __call__(self, pbx: str, number: str, behaviour: Behaviour = ANSWERS) -> Phone:
        """The phone of that number, ready to be called."""
        ...


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Broker]:
    """A RabbitMQ with TLS."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with alone(ADDRESS, request.config), Broker(authority) as running:
        yield running


@pytest.fixture(scope="session")
def hosts(request: pytest.FixtureRequest) -> Iterator[Mapping[str, AsteriskHost]]:
    """Two PBXs, of both versions."""
    with ExitStack() as last_first:
        hosts = {name: AsteriskHost(*place) for name, place in PBXS.items()}
        for host in hosts.values():
            last_first.enter_context(alone(host.address, request.config))
            last_first.enter_context(host)
        yield hosts


@pytest.fixture
def cloud(broker: Broker, hosts: Mapping[str, AsteriskHost], tmp_path: Path) -> Iterator[Cloud]:
    """Nothing runs yet, and nothing is in the queues."""
    for queue in ("c2c.jobs.pbx1", "c2c.jobs.pbx2", "c2c.dead"):
        broker.ctl("purge_queue", queue)
    made = Cloud(broker, hosts, tmp_path)
    yield made
    made.end()
    for host in hosts.values():
        wait_until(partial(_is_idle, host), 10, f"{host} is idle")


@pytest.fixture
def phone(hosts: Mapping[str, AsteriskHost], tmp_path: Path) -> Iterator[StartPhone]:
    """Start phones; they end after the test."""
    phones: list[Phone] = []
    memory = Path("/dev", "shm")
    place = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(prefix="phones-", dir=place) as directory:

        def start(pbx: str, number: str, behaviour: Behaviour = ANSWERS) -> Phone:
            own = Path(directory) / f"{len(phones)}-{number}"
            own.mkdir()
            address = (hosts[pbx].phones_address, hosts[pbx].phone_port(number))
            phones.append(Phone(number, *address, behaviour, own))
            phones[-1].start()
            return phones[-1]

        yield start
        for started in phones:
            started.stop()
        shutil.copytree(directory, tmp_path / "phones")


@pytest.fixture
def wire(broker: Broker) -> Iterator[Wire]:  # noqa: ARG001 - it leads there
    """The way to the broker, from an agent or a relay."""
    with Wire(_WIRE_ADDRESS, PORT, (ADDRESS, PORT)) as whole:
        yield whole


@pytest.fixture
def witness(cloud: Cloud) -> Iterator[Witness]:
    """A foreign observer of pbx1."""
    with Witness(cloud.hosts["pbx1"]) as observer:
        yield observer


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    """Clients that wait for their answers side by side."""
    with ThreadPoolExecutor(20) as pool:
        yield pool
