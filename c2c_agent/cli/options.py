"""What commands share: the option `--config`, errors in plain words, whom to ask, times."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Final, Literal, NoReturn, ParamSpec, TypeVar

import click

from c2c_agent import __version__
from c2c_agent.cli.client import Client, ClientError, local_place, operator_secret, place_of
from c2c_agent.config import files as configfile
from c2c_agent.config.sections import Config
from c2c_agent.errors import C2CError

P = ParamSpec("P")
T = TypeVar("T")

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def config_option(command: Callable[P, T]) -> Callable[P, T]:
    """`--config FILE`, before or after the subcommand."""
    return click.option(
        "--config",
        "config_path",
        metavar="FILE",
        default=None,
        help=f"The configuration file. The default is {configfile.DEFAULT_PATH}.",
    )(command)


def plain_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Errors raised on purpose are for the user: words, no traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except C2CError as error:
            give_up(str(error))

    return run


def give_up(message: str) -> NoReturn:
    """End with words on standard error, and exit status 1."""
    click.echo(message, err=True)
    sys.exit(1)


def path_of(config_path: str | None) -> str:
    """The configuration's path: as the command has it, else the program, else the default."""
    outer: str | None = click.get_current_context().find_root().params.get("config_path")
    return config_path or outer or configfile.DEFAULT_PATH


def load(config_path: str | None) -> Config:
    """The configuration; raises ConfigError."""
    return configfile.load(path_of(config_path))


def client_of(config_path: str | None, url: str | None, ca_file: str | None = None) -> Client:
    """Who asks the agent at the URL, or this host's; with $C2C_API_KEY, or as its operator."""
    secret = os.environ.get("C2C_API_KEY")
    if url is not None and secret is not None:
        return Client(place_of(url, ca_file), secret)
    config = load(config_path)
    place = local_place(config) if url is None else place_of(url, ca_file)
    return Client(place, secret or operator_secret(config))


def url_option(command: Callable[P, T]) -> Callable[P, T]:
    """`--url URL` and `--ca-file FILE`: the agent to ask, and who vouches for it."""
    url = click.option(
        "--url",
        metavar="URL",
        help="Ask the agent at this URL (http, https, or unix:PATH), not the one of this host.",
    )
    ca_file = click.option(
        "--ca-file",
        metavar="FILE",
        help="With an https URL: trust the authorities, or the certificate, in this file.",
    )
    return url(ca_file(command))


def moment(option: str, text: str, direction: Literal[-1, 1]) -> float:
    """Epoch seconds of a moment that an option names; raises ClientError.

    It is a date with a time, or a span: so long ago (`direction` -1), or so long from now (1).
    """
    span = _SPAN.fullmatch(text)
    if span is not None:
        return time.time() + direction * int(span[1]) * _SECONDS[span[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        example = "nor a time such as 2026-11-30 13:00"
        raise ClientError(f"{option}: {text!r} is neither 90m, 2h or 3d, {example}") from None


def program(*commands: click.Command) -> click.Group:
    """The program that has these commands, and the options that stand before them."""

    @click.group(context_settings={"help_option_names": ["-h", "--help"]}, commands=commands)
    @click.version_option(__version__, prog_name="c2c-agent")
    @config_option
    def main(config_path: str | None) -> None:
        """Ring the first number, then the second, and tell what happened.

        `c2c-agent COMMAND --help` explains a command.
        """
        del config_path  # the subcommands take it from the context

    return main
