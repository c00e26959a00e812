"""A real PostgreSQL on a loopback address: started, stopped, killed and removed, and its databases.

Used by the tests of the cloud, and by those of the store.
"""

from __future__ import annotations

from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import psycopg
from attrs import frozen
from psycopg import sql

from tests.cloud.servers import Server

if TYPE_CHECKING:
    from typing import Self

#: Of the cloud's tests, and of the store's own: the two can run side by side.
ADDRESS: Final = "127.0.0.33"
STORE_ADDRESS: Final = "127.0.0.34"
PORT: Final = 5432

#: Of the server's own user, and of the agents' (the image's Dockerfile has the first).
PASSWORD: Final = "a password of the tests"

_IMAGE: Final = "c2c-agent-test/postgresql:latest"
_AGENT: Final = "agent"

_COMMAND: Final = [
    "/usr/lib/postgresql/bin/postgres",
    *("-D", "/var/lib/postgresql/tests"),
    *("-c", f"port={PORT}"),
    *("-c", "unix_socket_directories=/tmp"),
    # Killed, it begins by bringing its thousands of files to the disk: at once, not one by one.
    *("-c", "recovery_init_sync_method=syncfs"),
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


class DatabaseServer(Server):
    """One PostgreSQL."""

    def __init__(self, address: str, *, max_connections: int = 100) -> None:
        super().__init__(_IMAGE, address)
        self._max_connections = max_connections
        self._numbers = count(1)

    def __enter__(self) -> Self:
        super().__enter__()
        with closing(self._admin()) as admin:
            command = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            admin.execute(command.format(sql.Identifier(_AGENT), PASSWORD))
        return self

    def new(self) -> Database:
        """A new, empty database."""
        name = f"c2c{next(self._numbers)}"
        with closing(self._admin()) as admin:
            command = sql.SQL("CREATE DATABASE {} OWNER {}")
            admin.execute(command.format(sql.Identifier(name), sql.Identifier(_AGENT)))
        return Database(f"postgresql://{_AGENT}@{self.address}:{PORT}/{name}")

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

    # Server

    def _options(self) -> dict[str, Any]:
        return {
            "command": [
                *_COMMAND,
                *("-c", f"listen_addresses={self.address}"),
                *("-c", f"max_connections={self._max_connections}"),
            ],
            "user": "postgres",
            "stop_signal": "SIGINT",  # a fast shutdown: sessions are ended
        }

    def _answers(self) -> bool:
        try:
            self._admin().close()
        except psycopg.OperationalError:
            return False
        return True
