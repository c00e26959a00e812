"""`c2c-agent check`: prints what `check` finds, and makes an exit status of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from c2c_agent.check.finding import Finding
from c2c_agent.cli.client import fastagi_of
from c2c_agent.cli.options import config_option, load, plain_errors
from c2c_agent.config.sections import Config
from c2c_agent.errors import ConfigError


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@plain_errors
def check(config_path: str | None, as_json: bool) -> None:
    """Check the configuration and the way through the PBX.

    Each line is one finding: ok, WARN or FAIL. Below a WARN or a FAIL stands what to do about it.
    The exit status is 1 if calls do not work.
    """
    try:
        config = load(config_path)
    except ConfigError as error:
        findings = [Finding("configuration", str(error), "Correct this, and check again.")]
        _report(findings, as_json=as_json)
        sys.exit(1)
    found: list[Finding] = []

    def find(finding: Finding) -> None:
        found.append(finding)
        if not as_json:
            _report([finding], as_json=False)

    if not _check_all(config, find):
        find(
            Finding(
                "check", "The check was stopped before its end.", "Run it again, and let it finish."
            )
        )
    if as_json:
        _report(found, as_json=True)
    sys.exit(any(finding.failed for finding in found))


def _check_all(config: Config, find: Callable[[Finding], None]) -> bool:
    """Run the checks; whether to their end, for a signal is no failure to Twisted."""
    from twisted.internet import task  # noqa: PLC0415
    from twisted.internet.defer import Deferred  # noqa: PLC0415
    from twisted.internet.threads import deferToThread  # noqa: PLC0415

    from c2c_agent.check import run as checks  # noqa: PLC0415
    from c2c_agent.check.outside import Outside, server_of  # noqa: PLC0415
    from c2c_agent.service.drivers import broker_link  # noqa: PLC0415
    from c2c_agent.service.parts import Parts  # noqa: PLC0415

    complete = False

    async def all_checks(reactor: Any) -> None:
        nonlocal complete

        async def agent() -> str | None:
            found: str | None = await deferToThread(fastagi_of, config)
            return found

        beyond = Outside(
            running=agent,
            broker=lambda amqp: broker_link(amqp, config.server_id, (), reactor),
            receiver=partial(server_of, reactor=reactor),
            sockets=checks.sockets,
        )
        build = partial(Parts, reactor=reactor)
        async for finding in checks.run(config, reactor, build, beyond):
            find(finding)
        complete = True

    def start(reactor: Any) -> Any:
        return Deferred.fromCoroutine(all_checks(reactor))

    try:
        task.react(start)
    except SystemExit as done:
        if done.code:
            raise
    return complete


def _report(findings: list[Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
        return
    for finding in findings:
        mark, colour = ("FAIL", "red") if finding.failed else ("ok  ", "green")
        if finding.warning:
            mark, colour = "WARN", "yellow"
        click.echo(f"{click.style(mark, fg=colour)} {finding.name}: {finding.message}")
        if finding.advice:
            click.echo(f"     -> {finding.advice}")
