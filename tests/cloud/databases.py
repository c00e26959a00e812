"""A real PostgreSQL on a loopback address: started, stopped, killed and removed, and its databases.

Used by the tests of the cloud, and by those of the store.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import docker
import psycopg
from attrs import frozen
from docker.errors import DockerException, ImageNotFound, NotFound
from psycopg import sql

from tests.pbx.hosts import LABEL, HostError
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from docker.models.containers import Container

#: Of the cloud's tests, and of the store's own: the two can run side by side.
ADDRESS: Final = "127.0.0.33"
STORE_ADDRESS: Final = "127.0.0.34"
PORT: Final = 5432

#: Of the server's own user, and of the agents' (the image's Dockerfile has the first).
PASSWORD: Final = "a password of the tests"

_IMAGE: Final = "c2c-agent-test/postgresql:latest"
_BOOT_SECONDS: Final = 60.0
_AGENT: Final = "agent"

_COMMAND: Final = [
    "/usr/lib/postgresql/bin/postgres",
    *("-D", "/var/lib/postgresql/tests"),
    *("-c", f"port={PORT}"),
    *("-c", "unix_socket_directories=/tmp"),
]


@frozen
class Database:
    """A database that belongs to the agents' user."""

    url: str

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of somebody else to it."""
        return psycopg.connect(self.url, password=PASSWORD, autocommit=True)

    def all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        with closing(self.connect()) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def do(self, statement: str, *values: object) -> None:
        """Carry out a statement."""
        with closing(self.connect()) as connection:
            connection.execute(statement.encode(), values or None)


class DatabaseServer:
    """One PostgreSQL. A container in the machine's own network, as the Asterisks are."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._name = f"c2c-agent-test-{address}"
        self._container: Container | None = None
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<PostgreSQL on {self.address}>"

    def __enter__(self) -> Self:
        self.start()
        with closing(self._admin()) as admin:
            command = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            admin.execute(command.format(sql.Identifier(_AGENT), PASSWORD))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._container is not None:
            self._container.remove(force=True, v=True)
            self._container = None

    def start(self) -> None:
        """Start it, with what it had kept if it ran before, and wait until it takes logins."""
        if self._container is None:
            self._container = self._create()
        self._container.start()
        wait_until(self._is_up, _BOOT_SECONDS, f"{self} is up")

    def stop(self) -> None:
        """Shut it down in good order."""
        self._started().stop(timeout=30)

    def kill(self) -> None:
        """End it as a crash does."""
        self._started().kill()
        self._started().wait()

    def new(self) -> Database:
        """A new, empty database."""
        name = f"c2c{next(self._numbers)}"
        with closing(self._admin()) as admin:
            command = sql.SQL("CREATE DATABASE {} OWNER {}")
            admin.execute(command.format(sql.Identifier(name), sql.Identifier(_AGENT)))
        return Database(f"postgresql://{_AGENT}@{self.address}:{PORT}/{name}")

    def logs(self, since: float | None = None) -> str:
        """What it logged."""
        if self._container is None:
            return ""
        whole = self._container.logs(since=since) if since else self._container.logs()
        return bytes(whole).decode("utf-8", "replace")

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.address,
            port=PORT,
            user="tests",
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _started(self) -> Container:
        if self._container is None:
            raise HostError(f"{self} was not started")
        return self._container

    def _create(self) -> Container:
        try:
            engine = docker.from_env()
            with suppress(NotFound):  # unless an earlier run left it behind
                engine.containers.get(self._name).remove(force=True, v=True)
            return engine.containers.create(
                _IMAGE,
                [*_COMMAND, "-c", f"listen_addresses={self.address}"],
                name=self._name,
                user="postgres",
                network_mode="host",
                stop_signal="SIGINT",  # a fast shutdown: sessions are ended
                labels={LABEL: os.environ.get("C2C_TEST_RUN", "by hand")},
            )
        except ImageNotFound:
            raise HostError(f"no image {_IMAGE}: scripts/test builds it") from None
        except DockerException as error:
            raise HostError(f"no Docker engine to be used here: {error}") from error

    def _is_up(self) -> bool:
        container = self._started()
        container.reload()
        if container.status != "running":
            raise HostError(f"{self} does not stay up:\n{self.logs()[-4000:]}")
        try:
            self._admin().close()
        except psycopg.OperationalError:
            return False
        return True
