"""PostgreSQL where it is installed: psycopg is an extra of the package, and may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorFromThreads

from c2c_agent.config.files import store_password
from c2c_agent.config.sections import Config
from c2c_agent.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from c2c_agent.store.postgres.store import Counts, PostgresStore

_NOT_INSTALLED = "psycopg is missing; install it by `pip install 'c2c-agent[postgresql]'`"


def shared_store(config: Config, reactor: IReactorFromThreads) -> PostgresStore:
    """The store of `store.url`, not opened yet. Raises ConfigError."""
    try:
        from c2c_agent.store.postgres.store import PostgresStore  # noqa: PLC0415 - psycopg is an extra
    except ImportError as error:
        raise ConfigError(f"configuration: store.url: {_NOT_INSTALLED} ({error})") from error
    try:
        return PostgresStore(
            str(config.store.url), store_password(config), config.server_id, reactor
        )
    except StoreError as error:
        raise ConfigError(f"configuration: {error}") from error


def database_versions(config: Config) -> tuple[int, int]:
    """The schema that is known here, and that of the database of `store.url`; 0: it has none.

    Raises StoreError, ConfigError.
    """
    try:
        from c2c_agent.store.postgres import store as postgres  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ConfigError(_NOT_INSTALLED) from error
    found = postgres.version_of(str(config.store.url), store_password(config))
    return postgres.SCHEMA_VERSION, found


def check_counts(config: Config) -> Counts:
    """Count anew what keys use, in the database of `store.url`. Raises StoreError, ConfigError."""
    try:
        from c2c_agent.store.postgres import store as postgres  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ConfigError(_NOT_INSTALLED) from error
    try:
        return postgres.check(str(config.store.url), store_password(config))
    except StoreError as error:
        raise StoreError(f"The store {config.store.url} cannot be used: {error}") from error
