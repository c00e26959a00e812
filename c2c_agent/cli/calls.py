"""The commands that ask a running agent: for a call, for what became of it, to stop all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import click

from c2c_agent.call.job import PBX_KINDS
from c2c_agent.call.outcome import UnknownReason
from c2c_agent.cli.client import Client, ClientError, NobodyThere, local_place, operator_secret
from c2c_agent.cli.options import (
    T,
    client_of,
    config_option,
    load,
    moment,
    plain_errors,
    url_option,
)
from c2c_agent.config import files as configfile
from c2c_agent.config.sections import Config
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch

#: Exit status of `call --wait` by outcome; 1 is any trouble with the command itself.
EXIT_STATUS: Final[Mapping[str, int]] = {
    "connected": 0,
    "first_busy": 10,
    "first_no_answer": 11,
    "first_declined": 12,
    "first_unreachable": 13,
    "second_busy": 20,
    "second_no_answer": 21,
    "second_declined": 22,
    "second_unreachable": 23,
    "abandoned": 30,
    "cancelled": 31,
    "rejected": 40,
    "pbx_error": 41,
    "expired": 42,
    "unknown": 50,
}


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--dial-as",
    metavar="EXTENSION",
    help="Call with this user's permission. The default is FIRST.",
)
@click.option(
    "--timeout", metavar="SECONDS", type=int, help="Let each phone ring for as long at most."
)
@click.option("--auto-answer", is_flag=True, help="Let the first phone answer by itself.")
@click.option("--confirm", is_flag=True, help="Ask FIRST to press 1 before SECOND is rung.")
@click.option(
    "--confirm-auto", is_flag=True, help="The same, but only if the dialplan answers, not a phone."
)
@click.option(
    "--pbx",
    metavar="KIND",
    type=click.Choice(PBX_KINDS),
    help="Which kind of PBX; the default is asterisk.",
)
@click.option(
    "--request-id",
    metavar="UUID",
    help="Give the call this id. The same id again is the same call, and rings nobody.",
)
@click.option(
    "--expires",
    metavar="WHEN",
    help="Ring nobody after this time: 30s, 5m, 2h from now, or 2026-11-30 13:00.",
)
@click.option(
    "--max-duration", metavar="SECONDS", type=int, help="Let them talk for as long at most."
)
@click.option("--wait", is_flag=True, help="Show what happens until the call has ended.")
@url_option
@config_option
@plain_errors
def call(
    first: str,
    second: str,
    *,
    dial_as: str | None,
    timeout: int | None,
    auto_answer: bool,
    confirm: bool,
    confirm_auto: bool,
    pbx: str | None,
    request_id: str | None,
    expires: str | None,
    max_duration: int | None,
    wait: bool,
    url: str | None,
    ca_file: str | None,
    config_path: str | None,
) -> None:
    """Ring FIRST, then SECOND, and connect them.

    With --wait, the exit status is 0 if the call connected. Otherwise it tells the outcome; the man
    page lists them.
    """
    client = client_of(config_path, url, ca_file)
    asked = {
        "dial_first": first,
        "dial_second": second,
        "dial_as": dial_as,
        "timeout": timeout,
        "auto_answer": "true" if auto_answer else None,
        "confirm": "true" if confirm else "auto" if confirm_auto else None,
        "pbx": pbx,
        "request_id": request_id,
        "expires": None if expires is None else f"{moment('--expires', expires, 1):.3f}",
        "max_duration": max_duration,
    }
    response = client.call(
        {name: str(value) for name, value in asked.items() if value is not None}
    )["response"]
    request_id = response["request_id"]
    for entry in response["errors"]:
        click.echo(f"{entry['error']['code']}: {entry['error']['message']}", err=True)
    if request_id is None:
        sys.exit(1)
    if not wait:
        click.echo(request_id)
        sys.exit(0 if response["status"] == "success" else 1)
    click.echo(f"request {request_id}")
    ended: dict[str, Any] = {}
    for event, now in client.follow(request_id):
        click.echo(f"{_clock(event['utc.time'])}  {_words(event)}")
        ended = now
    _summary(ended)
    sys.exit(_exit_status(ended))


def _exit_status(call: Mapping[str, Any]) -> int:
    """By the outcome; that a PBX never tells how its calls end is no failure of this one."""
    if call.get("reason") == UnknownReason.NOT_TOLD.value:
        return 0
    return EXIT_STATUS.get(call["outcome"], 1)


@click.command()
@click.argument("request_id")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON, for programs.")
@url_option
@config_option
@plain_errors
def status(
    request_id: str, *, as_json: bool, url: str | None, ca_file: str | None, config_path: str | None
) -> None:
    """Show what happened to a request."""
    story = client_of(config_path, url, ca_file).status(request_id)
    if as_json:
        click.echo(json.dumps({"c2c_status": story}, indent=2))
        return
    for event in story["call"]["timeline"]:
        click.echo(f"{_clock(event['utc.time'])}  {_words(event)}")
    _summary(story["call"])


@click.command()
@click.argument("request_id")
@url_option
@config_option
@plain_errors
def cancel(
    request_id: str, *, url: str | None, ca_file: str | None, config_path: str | None
) -> None:
    """Hang up a call, in whatever state it is."""
    response = client_of(config_path, url, ca_file).cancel(request_id)["response"]
    for entry in response["errors"]:
        raise ClientError(str(entry["error"]["message"]))
    if "ended" in response:
        raise ClientError(f"There is nothing to cancel: the call has ended ({response['ended']}).")
    click.echo("cancelled")


@click.command()
@click.argument("request_id", required=False)
@click.option("--target", metavar="NAME", help="Send what this webhook did not get.")
@url_option
@config_option
@plain_errors
def replay(
    request_id: str | None,
    *,
    target: str | None,
    url: str | None,
    ca_file: str | None,
    config_path: str | None,
) -> None:
    """Send events again that webhooks did not get.

    All events that were given up are sent again; or only those of the call REQUEST_ID, or only
    those for the webhook --target.
    """
    count = client_of(config_path, url, ca_file).replay(target, request_id)
    click.echo(f"{count} reports are sent again")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@url_option
@config_option
@plain_errors
def targets(
    *, as_json: bool, url: str | None, ca_file: str | None, config_path: str | None
) -> None:
    """Show who is told of calls, and why telling fails.

    Of each webhook, and of the broker, it shows how many events wait and were given up.
    """
    standing = client_of(config_path, url, ca_file).targets()
    if as_json:
        click.echo(json.dumps(standing, indent=2))
        return
    if not standing:
        click.echo("Nobody is told of calls: there are no webhooks, and no broker.")
    for one in standing:
        click.echo(f"{one['target']}: {one['waiting']} wait, {one['given_up']} given up")
        if one["reason"] is not None:
            click.echo(f"  fails since {_clock(one['failing_since'])}: {one['reason']}")


@click.command("stop-calls")
@click.option("--reason", metavar="TEXT", default="", help="Say why. The log and `check` show it.")
@click.option("--hang-up", is_flag=True, help="Also hang up the calls in progress.")
@config_option
@plain_errors
def stop_calls(*, reason: str, hang_up: bool, config_path: str | None) -> None:
    """Place no calls any more, until start-calls.

    This holds over restarts, and it works while no agent runs.
    """
    config = load(config_path)
    try:
        count = _operator(config).stop_calls(reason, hang_up=hang_up)
    except ClientError as error:
        switch = _switch(config)
        _turn(lambda: switch.stop(Stopped(reason, hang_up=hang_up)))
        click.echo(
            f"{switch.file} is written. An agent that has its store there places no calls"
            + (", and hangs up those in progress." if hang_up else ".")
        )
        if isinstance(error, NobodyThere):
            click.echo(f"(No agent was told: {error})")
            return
        raise ClientError(
            f"The running agent has not said that it stops calls: {error}\nIt may go on. Try again "
            "with the configuration that it runs with, or end it: systemctl stop c2c-agent"
        ) from error
    click.echo(
        f"Calls are stopped. {count} in progress are hung up." if hang_up else "Calls are stopped."
    )


@click.command("start-calls")
@config_option
@plain_errors
def start_calls(*, config_path: str | None) -> None:
    """Place calls again, after stop-calls."""
    config = load(config_path)
    try:
        was = _operator(config).start_calls()
    except NobodyThere:
        was = _turn(_switch(config).start)
    click.echo("Calls are placed again." if was else "Calls were not stopped.")


def _operator(config: Config) -> Client:
    """Who tells the running agent; raises NobodyThere where none listens."""
    place = local_place(config)
    if not place.has_somebody():
        raise NobodyThere(f"nobody listens at {place.address}")
    return Client(place, operator_secret(config))


def _switch(config: Config) -> StopSwitch:
    return StopSwitch(configfile.operator_file(config).parent)


def _turn(turn: Callable[[], T]) -> T:
    """Turn the kill switch without an agent."""
    try:
        return turn()
    except OSError as error:
        message = f"{error.filename}: {error.strerror}; run this as root or as the agent's user."
        raise ClientError(message) from error


#: What is shown of a leg, and of what was tried before its last word, under which label.
_EVIDENCE: Final = (
    ("status", "status"),
    ("by", "by"),
    ("rang", "ring_seconds"),
    ("cause", "cause"),
)


def _clock(epoch: str) -> str:
    return datetime.fromtimestamp(float(epoch)).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _words(event: Mapping[str, Any]) -> str:
    words = str(event["event"]).replace("_", " ")
    return f"{words}: {event['detail']}" if "detail" in event else words


def _evidence(leg: Mapping[str, Any]) -> str:
    told = [f"{label} {leg[part]}" for label, part in _EVIDENCE if leg.get(part) is not None]
    return ", ".join(told) or "not reached"


def _summary(now: Mapping[str, Any]) -> None:
    click.echo(f"outcome {now['outcome'] or '(none yet)'}")
    for name in ("dial_first", "dial_second"):
        leg = now[name]
        click.echo(f"  {name} {leg['number']}: {_evidence(leg)}")
        for tried in leg.get("tried", ()):  # an agent of 0.1 tells of none
            click.echo(f"    before {tried['channel']}: {_evidence(tried)}")
    if now["talk_seconds"] is not None:
        click.echo(f"  talked {now['talk_seconds']} s, hung up by {now['hung_up_by'] or 'nobody'}")
