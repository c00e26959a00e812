"""`c2c-agent store`: care of the file that the agent keeps its requests in."""

from __future__ import annotations

from pathlib import Path

import click

from c2c_agent.cli.options import config_option, give_up, load, plain_errors
from c2c_agent.config.sections import Config


@click.group()
def store() -> None:
    """Check, copy or shrink the store.

    The commands work while the agent runs, and while it does not.
    """


def _store_file(config_path: str | None) -> Path:
    """The file; a database has better tools of its own."""
    config = load(config_path).store
    if config.url is not None:
        give_up(
            f"The store is the database {config.url}, which has tools of its own: pg_dump makes a "
            "backup, and autovacuum gives room back."
        )
    return Path(config.file)


@store.command("check")
@config_option
@plain_errors
def store_check(config_path: str | None) -> None:
    """Read all of the store, and say whether it is sound.

    In a database, count anew what the keys use. Counts that were wrong are right afterwards. The
    exit status is 0 if the store is sound, else 1.
    """
    from c2c_agent.store.sqlite import care as store_care  # noqa: PLC0415

    config = load(config_path)
    if config.store.url is not None:
        _check_counts(config)
        return
    path = _store_file(config_path)
    count = store_care.check(path)
    click.echo(f"The store {path} is sound: {count} requests.")


def _check_counts(config: Config) -> None:
    """Say whether a database counts rightly."""
    from c2c_agent.store.postgres.extra import check_counts  # noqa: PLC0415

    counts = check_counts(config)
    if counts.wrong:
        wrong = ", ".join(counts.wrong)
        give_up(f"The store {config.store.url} counted wrongly, and counts rightly now: {wrong}.")
    click.echo(
        f"The store {config.store.url} counts rightly: {counts.requests} requests, "
        f"{counts.in_progress} in progress."
    )


@store.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@plain_errors
def store_backup(file: Path, config_path: str | None) -> None:
    """Copy the store to FILE, as it is at one moment.

    FILE must not exist yet.
    """
    from c2c_agent.store.sqlite import care as store_care  # noqa: PLC0415

    store_care.backup(_store_file(config_path), file)


@store.command("vacuum")
@config_option
@plain_errors
def store_vacuum(config_path: str | None) -> None:
    """Give back the room of deleted requests.

    It works in small steps, so that no call waits for long.
    """
    from c2c_agent.store.sqlite import care as store_care  # noqa: PLC0415

    path = _store_file(config_path)
    click.echo(f"The store {path} has given back {store_care.vacuum(path) // 1024} KiB.")
