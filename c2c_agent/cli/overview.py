"""The commands that list what an agent has: calls that are looked for, reports, keys."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from c2c_agent.call.outcome import Outcome
from c2c_agent.cli.options import client_of, config_option, moment, plain_errors, url_option


@click.command()
@click.option("--follow", is_flag=True, help="Go on, and show calls as they come and change.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for a spreadsheet.")
@click.option("--limit", default=20, show_default=True, help="Show at most this many.")
@click.option(
    "--outcome",
    type=click.Choice([outcome.value for outcome in Outcome]),
    help="Only calls that ended so.",
)
@click.option(
    "--since", metavar="WHEN", help="Only calls since then: 90m, 2h, 3d, or 2026-11-30 13:00."
)
@click.option("--until", metavar="WHEN", help="Only calls before then, said in the same way.")
@click.option("--key", metavar="NAME", help="Only calls that this key asked for.")
@click.option("--number", metavar="NUMBER", help="Only calls with this number as one of the legs.")
@url_option
@config_option
@plain_errors
def calls(
    *,
    follow: bool,
    as_json: bool,
    as_csv: bool,
    limit: int,
    outcome: str | None,
    since: str | None,
    until: str | None,
    key: str | None,
    number: str | None,
    url: str | None,
    ca_file: str | None,
    config_path: str | None,
) -> None:
    """Show recent calls, the latest last."""
    if as_csv and (follow or as_json):
        raise click.UsageError("--csv goes with neither --follow nor --json.")
    client = client_of(config_path, url, ca_file)
    asked = {
        "outcome": outcome,
        "since": None if since is None else f"{moment('--since', since, -1):.3f}",
        "until": None if until is None else f"{moment('--until', until, -1):.3f}",
        "key": key,
        "number": number,
    }
    wanted = {name: value for name, value in asked.items() if value is not None}
    if as_csv:
        click.echo(client.calls_csv(limit, **wanted), nl=False)
        return
    shown: dict[str, str] = {}
    while True:
        for item in reversed(client.calls(limit, **wanted)):
            state = item["call"]["outcome"] or item["call"]["state"]
            if shown.get(item["request_id"]) == state:
                continue
            shown[item["request_id"]] = state
            click.echo(json.dumps(item) if as_json else _line(item))
        if not follow:
            return
        _sleep(1)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
@click.option("--limit", default=20, show_default=True, help="Show at most this many.")
@click.option(
    "--state", type=click.Choice(["waiting", "given_up"]), help="Only reports in this state."
)
@url_option
@config_option
@plain_errors
def reports(
    *,
    as_json: bool,
    limit: int,
    state: str | None,
    url: str | None,
    ca_file: str | None,
    config_path: str | None,
) -> None:
    """Show what receivers were not told yet, the latest last."""
    wanted = {} if state is None else {"state": state}
    for item in reversed(client_of(config_path, url, ca_file).reports(limit, **wanted)):
        if as_json:
            click.echo(json.dumps(item))
            continue
        attempts = f", {item['attempts']} attempts failed" if item["attempts"] else ""
        reason = f": {item['reason']}" if item["reason"] else ""
        state_words = str(item["state"]).replace("_", " ")
        click.echo(
            f"{_when(item['utc.time'])}  {item['request_id']}  {item['type']} -> {item['target']}  "
            f"{state_words}{attempts}{reason}"
        )


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
@url_option
@config_option
@plain_errors
def key_list(
    *, as_json: bool, url: str | None, ca_file: str | None, config_path: str | None
) -> None:
    """Show the keys with their limits and use."""
    for item in client_of(config_path, url, ca_file).key_list():
        click.echo(json.dumps(item) if as_json else _key_line(item))


def _key_line(item: Mapping[str, Any]) -> str:
    limits, use = item["limits"], item["use"]
    if use is None:
        return f"{item['name']}  (use is not known to one of several relays)"
    parts = [
        f"{words} {use[used]:g}{'' if limits[limit] is None else f' of {limits[limit]}'}"
        for words, used, limit in (
            ("in progress", "concurrent", "max_concurrent"),
            ("this minute", "minute", "per_minute"),
            ("this day", "day", "per_day"),
            ("minutes this day", "minutes_day", "minutes_per_day"),
        )
    ]
    return f"{item['name']}  {', '.join(parts)}"


def _sleep(seconds: float) -> None:
    """Wait; by a name of its own, for time.sleep is that of every thread."""
    time.sleep(seconds)


def _when(epoch: str) -> str:
    return datetime.fromtimestamp(float(epoch)).astimezone().isoformat(" ", "seconds")


def _line(item: Mapping[str, Any]) -> str:
    now = item["call"]
    legs = f"{now['dial_first']['number']} -> {now['dial_second']['number']}"
    talk = "" if now["talk_seconds"] is None else f" {now['talk_seconds']} s"
    outcome = now["outcome"] or now["state"]
    return f"{_when(item['utc.time'])}  {item['request_id']}  {legs}  {outcome}{talk}"
