"""`c2c-agent probe`: prints what `check.switchvox_probe` measures."""

from __future__ import annotations

import secrets
from typing import Any

import click
from attrs import evolve

from c2c_agent.cli.options import config_option, give_up, load, plain_errors


@click.group()
def probe() -> None:
    """Measure what a PBX does that its documents do not say."""


@probe.command("switchvox")
@config_option
@click.option(
    "--call",
    "numbers",
    nargs=2,
    metavar="FIRST SECOND",
    help="Place one call between these two, and watch it.",
)
@click.option(
    "--hang-up",
    "hangs_up",
    is_flag=True,
    help="Hang the call up as soon as the PBX lists it, to see what that does.",
)
@click.option(
    "--as-given",
    "as_given",
    is_flag=True,
    help="Send a leading + as it is, to see what the PBX makes of it.",
)
@click.option(
    "--wrong-password",
    "tries_wrong",
    is_flag=True,
    help="Log in once with a wrong password, to see how the PBX refuses it.",
)
@click.option("--pbx", metavar="NAME", help="Ask the Switchvox of this name, where several are.")
@plain_errors
def probe_switchvox(
    config_path: str | None,
    numbers: tuple[str, str] | None,
    hangs_up: bool,
    as_given: bool,
    tries_wrong: bool,
    pbx: str | None,
) -> None:
    """Ask a Switchvox how it behaves.

    The report shows no numbers. Nothing is placed or changed, unless --call names two phones: they
    ring, and somebody should answer both. Where nobody answers the second, the report shows for how
    long it rings.
    """
    for name, is_given in (("--hang-up", hangs_up), ("--as-given", as_given)):
        if is_given and numbers is None:
            raise click.UsageError(f"{name} needs --call.")
    from twisted.internet import task  # noqa: PLC0415
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    from c2c_agent.check.switchvox_probe import Probe  # noqa: PLC0415
    from c2c_agent.pbx.switchvox.login import extend_client  # noqa: PLC0415

    config = load(config_path).pbx_of_kind("switchvox", pbx).switchvox
    assert config is not None  # noqa: S101 - it is of that kind
    first, second = numbers or (None, None)

    async def tell(reactor: Any) -> None:
        stranger = None
        if tries_wrong:
            stranger = extend_client(config, reactor, password=secrets.token_urlsafe(8))
        probe = Probe(
            extend_client(config, reactor),
            evolve(config, plus="keep") if as_given else config,
            reactor,
            hangs_up=hangs_up,
            stranger=stranger,
        )
        async for line in probe.report(first, second):
            click.echo(line)
        if not probe.has_logged_in:
            give_up("The Switchvox could not be asked.")

    task.react(lambda reactor: Deferred.fromCoroutine(tell(reactor)))
