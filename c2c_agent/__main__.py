"""The command line: `c2c-agent run`, `check`, `call`, `status`, `calls`, `setup`, `store`, more.

The only module that touches the global reactor. What a command does stands elsewhere (`service`,
`check`, `client`, `setup_files`, `store_care`); here are its options, words and exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import click
from attrs import evolve

from c2c_agent import __version__
from c2c_agent.check.finding import Finding
from c2c_agent.cli.client import Client, ClientError, local_url, operator_secret
from c2c_agent.config import files as configfile
from c2c_agent.config.sections import Config
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch
from c2c_agent.errors import C2CError, ConfigError
from c2c_agent.host import log
from c2c_agent.policy.keys import Key, key_digest, new_secret
from c2c_agent.policy.pattern import Pattern, PatternError, parse_pattern
from c2c_agent.setup import apply as setup_files
from c2c_agent.setup import plan as setup_asterisk

P = ParamSpec("P")
T = TypeVar("T")

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


def _config_option(command: Callable[P, T]) -> Callable[P, T]:
    """`--config FILE`, before or after the subcommand."""
    return click.option(
        "--config",
        "config_path",
        metavar="FILE",
        default=None,
        help=f"The configuration; default {configfile.DEFAULT_PATH}.",
    )(command)


def _plain_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Errors raised on purpose are for the user: words, no traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except C2CError as error:
            _give_up(str(error))

    return run


def _give_up(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(1)


def _path(config_path: str | None) -> str:
    outer: str | None = click.get_current_context().find_root().params.get("config_path")
    return config_path or outer or configfile.DEFAULT_PATH


def _load(config_path: str | None) -> Config:
    return configfile.load(_path(config_path))


def _client(config_path: str | None, url: str | None) -> Client:
    secret = os.environ.get("C2C_API_KEY")
    if url is not None and secret is not None:
        return Client(url, secret)
    config = _load(config_path)
    return Client(url or local_url(config), secret or operator_secret(config))


_url_option = click.option("--url", metavar="URL", help="The agent, if it is not this host's.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="c2c-agent")
@_config_option
def main(config_path: str | None) -> None:
    """Rings the first number, then the second, and tells the truth about it."""
    del config_path  # the subcommands take it from the context


@main.command()
@_config_option
@_plain_errors
def run(config_path: str | None) -> None:
    """Run the agent in the foreground, as systemd does; SIGHUP reads the configuration again."""
    path = _path(config_path)
    config = configfile.load(path)
    from c2c_agent.host import reactor as fair_reactor  # noqa: PLC0415

    if "twisted.internet.reactor" not in sys.modules:
        fair_reactor.install()
    # Only now, for importing the reactor installs one.
    from twisted.internet import reactor  # noqa: PLC0415
    from twisted.internet.error import CannotListenError  # noqa: PLC0415
    from twisted.internet.threads import deferToThread  # noqa: PLC0415

    from c2c_agent.host.clock import keep_steady  # noqa: PLC0415
    from c2c_agent.host.sd_notify import Supervisor  # noqa: PLC0415
    from c2c_agent.service.agent import AgentService  # noqa: PLC0415
    from c2c_agent.service.reload import Reload  # noqa: PLC0415

    lines = log.start(config.log.level, full_numbers=config.log.numbers == "full")
    process: Any = reactor
    keep_steady(process)
    supervisor = Supervisor.of(os.environ, os.getpid(), process)
    try:
        service = AgentService(config, process, supervisor)
        reload = Reload(
            partial(deferToThread, configfile.load, path),
            agent=service,
            log=lines,
            supervisor=supervisor,
        )
        # Before the start, for until then the signal would end the process.
        signal.signal(signal.SIGHUP, lambda *_: process.callFromThread(reload))
        service.startService()
    except (CannotListenError, OSError, OverflowError) as error:  # all that a bind can raise
        _give_up(str(error))
    process.addSystemEventTrigger("before", "shutdown", service.stopService)
    process.run()


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_plain_errors
def check(config_path: str | None, as_json: bool) -> None:
    """Check the configuration and the whole way round through the PBX."""
    try:
        config = _load(config_path)
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
        find(Finding("check", "it was stopped before its end.", "Let it come to its end."))
    if as_json:
        _report(found, as_json=True)
    sys.exit(any(finding.failed for finding in found))


def _check_all(config: Config, find: Callable[[Finding], None]) -> bool:
    """Run the checks; whether to their end, for a signal is no failure to Twisted."""
    from twisted.internet import task  # noqa: PLC0415
    from twisted.internet.defer import Deferred  # noqa: PLC0415

    from c2c_agent.check import run as checks  # noqa: PLC0415
    from c2c_agent.service.parts import Parts  # noqa: PLC0415

    complete = False

    async def all_checks(reactor: Any) -> None:
        nonlocal complete
        async for finding in checks.run(config, reactor, lambda config: Parts(config, reactor)):
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


@main.command()
@click.argument("first")
@click.argument("second")
@click.option("--dial-as", metavar="EXTENSION", help="With whose permission; default FIRST.")
@click.option("--timeout", metavar="SECONDS", type=int, help="Of ringing, for each leg.")
@click.option("--auto-answer", is_flag=True, help="Have the first phone answer by itself.")
@click.option("--confirm", is_flag=True, help="Have the first press 1 before SECOND is rung.")
@click.option("--wait", is_flag=True, help="Show what happens until the call has ended.")
@_url_option
@_config_option
@_plain_errors
def call(
    first: str,
    second: str,
    *,
    dial_as: str | None,
    timeout: int | None,
    auto_answer: bool,
    confirm: bool,
    wait: bool,
    url: str | None,
    config_path: str | None,
) -> None:
    """Ring FIRST, then SECOND, and connect them. The exit status tells the outcome."""
    client = _client(config_path, url)
    asked = {"dial_first": first, "dial_second": second}
    if dial_as is not None:
        asked["dial_as"] = dial_as
    if timeout is not None:
        asked["timeout"] = str(timeout)
    if auto_answer:
        asked["auto_answer"] = "true"
    if confirm:
        asked["confirm"] = "true"
    response = client.call(asked)["response"]
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
    sys.exit(EXIT_STATUS.get(ended["outcome"], 1))


@main.command()
@click.argument("request_id")
@click.option("--json", "as_json", is_flag=True, help="The whole story, for programs.")
@_url_option
@_config_option
@_plain_errors
def status(request_id: str, *, as_json: bool, url: str | None, config_path: str | None) -> None:
    """Show what became of a request."""
    story = _client(config_path, url).status(request_id)
    if as_json:
        click.echo(json.dumps({"c2c_status": story}, indent=2))
        return
    for event in story["call"]["timeline"]:
        click.echo(f"{_clock(event['utc.time'])}  {_words(event)}")
    _summary(story["call"])


@main.command()
@click.argument("request_id")
@_url_option
@_config_option
@_plain_errors
def cancel(request_id: str, *, url: str | None, config_path: str | None) -> None:
    """Hang up whatever exists of a call."""
    response = _client(config_path, url).cancel(request_id)["response"]
    for entry in response["errors"]:
        raise ClientError(str(entry["error"]["message"]))
    click.echo("cancelled")


@main.command()
@click.argument("request_id", required=False)
@click.option("--target", help="Only what this webhook was not told.")
@_url_option
@_config_option
@_plain_errors
def replay(
    request_id: str | None, *, target: str | None, url: str | None, config_path: str | None
) -> None:
    """Report again what was given up: all of it, one call's, or one receiver's."""
    count = _client(config_path, url).replay(target, request_id)
    click.echo(f"{count} reports are sent again")


@main.command("stop-calls")
@click.option("--reason", metavar="TEXT", default="", help="For the log and whoever looks.")
@click.option("--hang-up", is_flag=True, help="Hang up the calls in progress, too.")
@_config_option
@_plain_errors
def stop_calls(*, reason: str, hang_up: bool, config_path: str | None) -> None:
    """Place no calls any more, until start-calls; also over restarts, and without an agent."""
    config = _load(config_path)
    try:
        count = _operator(config).stop_calls(reason, hang_up=hang_up)
    except ClientError as error:
        _turn(lambda: _switch(config).stop(Stopped(reason, hang_up=hang_up)))
        click.echo("Calls are stopped; an agent that runs or starts finds them so.")
        if hang_up:
            click.echo("What is in progress is hung up by it, then.")
        click.echo(f"(No agent was told: {error})")
        return
    click.echo(
        f"Calls are stopped. {count} in progress are hung up." if hang_up else "Calls are stopped."
    )


@main.command("start-calls")
@_config_option
@_plain_errors
def start_calls(*, config_path: str | None) -> None:
    """Place calls again, after stop-calls."""
    config = _load(config_path)
    try:
        was = _operator(config).start_calls()
    except ClientError:
        was = _turn(_switch(config).start)
    click.echo("Calls are placed again." if was else "Calls were not stopped.")


def _operator(config: Config) -> Client:
    return Client(local_url(config), operator_secret(config))


def _switch(config: Config) -> StopSwitch:
    return StopSwitch(configfile.operator_file(config).parent)


def _turn(turn: Callable[[], T]) -> T:
    """Turn the kill switch without an agent."""
    try:
        return turn()
    except OSError as error:
        message = f"{error.filename}: {error.strerror}; run this as root or as the agent's user."
        raise ClientError(message) from error


@main.command()
@click.option("--follow", is_flag=True, help="Go on, and show calls as they come and change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
@click.option("--limit", default=20, show_default=True, help="How many of the latest.")
@_url_option
@_config_option
@_plain_errors
def calls(
    *, follow: bool, as_json: bool, limit: int, url: str | None, config_path: str | None
) -> None:
    """Show recent calls, the latest last."""
    client = _client(config_path, url)
    shown: dict[str, str] = {}
    while True:
        for item in reversed(client.calls(limit)):
            state = item["call"]["outcome"] or item["call"]["state"]
            if shown.get(item["request_id"]) == state:
                continue
            shown[item["request_id"]] = state
            click.echo(json.dumps(item) if as_json else _line(item))
        if not follow:
            return
        _sleep(1)


@main.group()
def key() -> None:
    """Keys for callers."""


@key.command("new")
@click.argument("name")
@_plain_errors
def key_new(name: str) -> None:
    """Make a key, print it once, and the lines for the configuration."""
    secret = new_secret()
    try:
        Config(server_id="any", keys=[Key(name, key_digest(secret))])
    except ValueError as error:
        raise ConfigError(str(error)) from error
    click.echo(f"The key, for the caller (it is shown this once):\n\n    {secret}\n")
    click.echo("For the list `keys` of c2c-agent.yml; without `allow` it can dial nothing:\n")
    # In quotes: YAML would read some names as numbers, dates or truths.
    click.echo(f'    - name: "{name}"\n      sha256: "{key_digest(secret)}"\n      allow: []')


@main.group()
def setup() -> None:
    """Set up what stands beside the agent."""


@setup.command("asterisk")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--undo", is_flag=True, help="Take back all that setup has done.")
@click.option(
    "--allow",
    multiple=True,
    metavar="PATTERN",
    help="What the first key may dial, such as _1XX; several with blanks between, or given again.",
)
@click.option(
    "--asterisk-dir",
    metavar="FOLDER",
    default="/etc/asterisk",
    show_default=True,
    help="Asterisk's configuration.",
)
@_config_option
@_plain_errors
def set_up_asterisk(
    *,
    dry_run: bool,
    undo: bool,
    allow: tuple[str, ...],
    asterisk_dir: str,
    config_path: str | None,
) -> None:
    """Write the AMI user, the dialplan's includes and the agent's configuration.

    Shows the difference of every file first. Says so where nothing has to change.
    """
    if undo and (dry_run or allow):
        raise click.UsageError("--undo goes with neither --dry-run nor --allow")
    if undo:
        _say(setup_files.undo(_path(config_path)))
        _say(setup_files.reload_asterisk())
        return
    try:
        patterns = _patterns(" ".join(allow))
    except PatternError as error:
        raise click.BadParameter(str(error), param_hint="--allow") from error
    place = setup_files.place(asterisk_dir, _path(config_path))
    found = setup_files.read(place)
    wishes = setup_asterisk.Wishes(patterns, key=new_secret(), ami_secret=new_secret())
    try:
        plan = setup_asterisk.plan(place, found, setup_files.shipped(), wishes)
    except setup_asterisk.AllowMissingError as error:
        if not _can_ask():
            raise click.UsageError(str(error)) from error
        wishes = evolve(wishes, allow=_asked_patterns())
        plan = setup_asterisk.plan(place, found, setup_files.shipped(), wishes)
    for change in plan.changes:
        click.echo(_printable(setup_asterisk.shown(change, hide=change.path == place.secret_file)))
    notes = [*plan.notes, *setup_files.notes(plan)]
    if dry_run or not plan.changes:
        _say(notes)
        click.echo("Nothing was written." if plan.changes else "Nothing has to change.")
        return
    setup_files.apply(plan, place)
    click.echo(
        f"\nWritten: {len(plan.changes)} files. `c2c-agent setup asterisk --undo` undoes it."
    )
    _say(setup_files.reload_asterisk())
    _say(notes)
    if plan.key is not None:
        click.echo(f"The first key, for the caller (it is shown this once):\n\n    {plan.key}\n")
    click.echo("Now start the agent, and go the whole way round: c2c-agent check")


def _patterns(text: str) -> list[Pattern]:
    """The patterns of a text with blanks between; raises PatternError."""
    return [parse_pattern(word) for word in text.split()]


def _can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty()


def _asked_patterns() -> list[Pattern]:
    """What the admin at the terminal says; there is no default, and nothing is no answer."""
    click.echo(
        "What may the first key dial? Numbers, or patterns as in Asterisk's dialplan\n"
        "(X is 0-9, Z 1-9, N 2-9, a dot anything more), with blanks between: _1XX _NXXNXXXXXX"
    )

    def read(text: str) -> list[Pattern]:
        try:
            patterns = _patterns(text)
        except PatternError as error:
            raise click.UsageError(str(error)) from error
        if not patterns:
            raise click.UsageError("a key without patterns can dial nothing")
        return patterns

    patterns: list[Pattern] = click.prompt("The first key may dial", value_proc=read)
    return patterns


def _say(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def _printable(text: str) -> str:
    """Text of a file that may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@main.group()
def store() -> None:
    """Care of the store, whether the agent runs or not."""


def _store_file(config_path: str | None) -> Path:
    """The file; a database has better tools of its own."""
    config = _load(config_path).store
    if config.url is not None:
        _give_up(
            f"The store is the database {config.url}, which has tools of its own: pg_dump makes a "
            "backup, pg_amcheck checks it, and autovacuum gives room back."
        )
    return Path(config.file)


@store.command("check")
@_config_option
@_plain_errors
def store_check(config_path: str | None) -> None:
    """Read all of the store. The exit status is 0 if it is sound, else 1."""
    from c2c_agent.store.sqlite import care as store_care  # noqa: PLC0415

    path = _store_file(config_path)
    count = store_care.check(path)
    click.echo(f"The store {path} is sound: {count} requests.")


@store.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@_config_option
@_plain_errors
def store_backup(file: Path, config_path: str | None) -> None:
    """Copy the store to FILE, which may not exist yet: all of it, as it is at one moment."""
    from c2c_agent.store.sqlite import care as store_care  # noqa: PLC0415

    store_care.backup(_store_file(config_path), file)


@store.command("vacuum")
@_config_option
@_plain_errors
def store_vacuum(config_path: str | None) -> None:
    """Give back the room of deleted requests, in steps for which no call waits long."""
    from c2c_agent.store.sqlite import care as store_care  # noqa: PLC0415

    path = _store_file(config_path)
    click.echo(f"The store {path} has given back {store_care.vacuum(path) // 1024} KiB.")


def _clock(epoch: str) -> str:
    return datetime.fromtimestamp(float(epoch)).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _words(event: Mapping[str, Any]) -> str:
    words = str(event["event"]).replace("_", " ")
    return f"{words}: {event['detail']}" if "detail" in event else words


def _sleep(seconds: float) -> None:
    """Wait; by a name of its own, for time.sleep is that of every thread."""
    time.sleep(seconds)


def _line(item: Mapping[str, Any]) -> str:
    now = item["call"]
    legs = f"{now['dial_first']['number']} -> {now['dial_second']['number']}"
    talk = "" if now["talk_seconds"] is None else f" {now['talk_seconds']} s"
    when = datetime.fromtimestamp(float(item["utc.time"])).astimezone().isoformat(" ", "seconds")
    return f"{when}  {item['request_id']}  {legs}  {now['outcome'] or now['state']}{talk}"


def _summary(now: Mapping[str, Any]) -> None:
    click.echo(f"outcome {now['outcome'] or '(none yet)'}")
    for name in ("dial_first", "dial_second"):
        leg = now[name]
        told = [
            f"{label} {leg[part]}"
            for label, part in (("status", "status"), ("rang", "ring_seconds"), ("cause", "cause"))
            if leg[part] is not None
        ]
        click.echo(f"  {name} {leg['number']}: {', '.join(told) or 'not reached'}")
    if now["talk_seconds"] is not None:
        click.echo(f"  talked {now['talk_seconds']} s, hung up by {now['hung_up_by'] or 'nobody'}")


if __name__ == "__main__":
    main(prog_name="c2c-agent")
