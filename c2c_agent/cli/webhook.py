"""`c2c-agent webhook`: tries a receiver of events, from this host and with its secret."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import click
from attrs import evolve

from c2c_agent.cli.client import ClientError
from c2c_agent.cli.options import config_option, give_up, load, plain_errors
from c2c_agent.config.sections import Config


@click.group()
def webhook() -> None:
    """Try a webhook."""


@webhook.command("test")
@click.argument("name")
@config_option
@plain_errors
def webhook_test(name: str, config_path: str | None) -> None:
    """Send the webhook NAME an event of the type webhook.test.

    It is signed as any other, and sent once.
    """
    config = load(config_path)
    receivers = [receiver for receiver in config.webhooks if receiver.name == name]
    if not receivers:
        names = ", ".join(receiver.name for receiver in config.webhooks) or "none"
        raise ClientError(f"There is no webhook {name!r} in the configuration; there are: {names}.")
    reason = _in_reactor(evolve(config, webhooks=receivers, amqp=None, relay=None))
    if reason is not None:
        give_up(f"{name} was not told: {reason}")
    click.echo(f"{name} was told.")


def _in_reactor(config: Config) -> str | None:
    """Why the one receiver of a configuration was not told; None: it was."""
    from twisted.internet import task  # noqa: PLC0415
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    told: list[str | None] = []

    async def tell(reactor: Any) -> None:
        told.append(await send_test(config, reactor))

    begin: Callable[[Any], Any] = lambda reactor: Deferred.fromCoroutine(tell(reactor))  # noqa: E731
    try:
        task.react(begin)
    except SystemExit as done:
        if done.code:
            raise
    if not told:
        sys.exit(1)  # by a signal
    return told[0]


async def send_test(config: Config, reactor: Any) -> str | None:
    """Send the one receiver of a configuration a test; why it has not taken it, or None."""
    from c2c_agent.host.clock import SteadyClock  # noqa: PLC0415
    from c2c_agent.report.delivery import Delivered, Report, Waiting  # noqa: PLC0415
    from c2c_agent.service.reporters import Reporters  # noqa: PLC0415

    reporters = Reporters(config, woken=lambda: None, clock=SteadyClock(), reactor=reactor)
    [reporter] = reporters.all
    at, event_id = time.time(), str(uuid.uuid4())
    body = {
        "id": event_id,
        "type": "webhook.test",
        "server_id": config.server_id,
        "request_id": None,
        "utc.time": f"{at:.3f}",
    }
    report = Report(reporter.target.name, event_id, "webhook.test", "", at, json.dumps(body))
    delivery = await reporter.deliver(Waiting(report))
    await reporters.close()
    return None if isinstance(delivery, Delivered) else delivery.reason
