"""`c2c-agent setup` and `c2c-agent key`: what is done once, before the agent runs."""

from __future__ import annotations

import sys

import click
from attrs import evolve

from c2c_agent.cli.client import fastagi_of
from c2c_agent.cli.options import config_option, path_of, plain_errors
from c2c_agent.cli.overview import key_list
from c2c_agent.config import files as configfile
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.config.sections import Config
from c2c_agent.errors import ConfigError
from c2c_agent.net.endpoints import is_taken
from c2c_agent.net.listening import listening
from c2c_agent.policy.keys import Key, key_digest, new_secret
from c2c_agent.policy.pattern import Pattern, PatternError, parse_pattern
from c2c_agent.setup import apply, files, journal
from c2c_agent.setup import plan as planning


@click.group()
def key() -> None:
    """Make keys for callers, and see how they are used."""


@key.command("new")
@click.argument("name")
@plain_errors
def key_new(name: str) -> None:
    """Make a key, and print it once.

    Also prints the lines for the configuration that let the key in.
    """
    secret = new_secret()
    try:
        Config(server_id="any", keys=[Key(name, key_digest(secret))])
    except ValueError as error:
        raise ConfigError(str(error)) from error
    click.echo(f"The key, for the caller (it is shown this once):\n\n    {secret}\n")
    click.echo("For the list `keys` of c2c-agent.yml; without `allow` it can dial nothing:\n")
    # In quotes: YAML would read some names as numbers, dates or truths.
    click.echo(f'    - name: "{name}"\n      sha256: "{key_digest(secret)}"\n      allow: []')


key.add_command(key_list)


@click.group()
def setup() -> None:
    """Set up the PBX beside the agent."""


@setup.command("asterisk")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--undo", is_flag=True, help="Give every file back as it was.")
@click.option(
    "--allow",
    multiple=True,
    metavar="PATTERN",
    help="Let the first key dial this, such as _1XX. Give it again for more, or use blanks.",
)
@click.option(
    "--no-voicemail", is_flag=True, help="On a FreePBX: let no voicemail answer for the second."
)
@click.option(
    "--asterisk-dir",
    metavar="FOLDER",
    default="/etc/asterisk",
    show_default=True,
    help="Asterisk's configuration is in this folder.",
)
@click.option("--pbx", metavar="NAME", help="The Asterisk's name in `pbxs`, where several are.")
@config_option
@plain_errors
def set_up_asterisk(
    *,
    dry_run: bool,
    undo: bool,
    allow: tuple[str, ...],
    no_voicemail: bool,
    asterisk_dir: str,
    pbx: str | None,
    config_path: str | None,
) -> None:
    """Write the AMI user, the dialplan and the agent's configuration.

    Shows the difference of every file first. If nothing has to change, it says so.
    """
    if undo and (dry_run or allow or no_voicemail):
        raise click.UsageError("--undo goes with none of --dry-run, --allow and --no-voicemail")
    if undo:
        _say(journal.undo(path_of(config_path)))
        _say(apply.reload_asterisk())
        return
    try:
        patterns = _patterns(" ".join(allow))
    except PatternError as error:
        raise click.BadParameter(str(error), param_hint="--allow") from error
    place = apply.place(asterisk_dir, path_of(config_path), pbx)
    found = files.read(place)
    wishes = planning.Wishes(patterns, new_secret(), new_secret(), no_voicemail=no_voicemail)
    try:
        plan = planning.plan(place, found, files.shipped(), wishes)
    except planning.AllowMissingError as error:
        if not _can_ask():
            raise click.UsageError(str(error)) from error
        wishes = evolve(wishes, allow=_asked_patterns())
        plan = planning.plan(place, found, files.shipped(), wishes)
    for change in plan.changes:
        click.echo(_printable(planning.shown(change, hide=change.path == place.secret_file)))
    notes = [*plan.notes, *apply.notes(plan), *_foreign(place.config, pbx)]
    if dry_run or not plan.changes:
        _say(notes)
        click.echo("Nothing was written." if plan.changes else "Nothing has to change.")
        return
    apply.apply(plan, place)
    click.echo(
        f"\nWritten: {len(plan.changes)} files. `c2c-agent setup asterisk --undo` undoes it."
    )
    _say(apply.reload_asterisk())
    _say(notes)
    if plan.key is not None:
        click.echo(f"The first key, for the caller (it is shown this once):\n\n    {plan.key}\n")
    click.echo("Now start the agent, and go the whole way round: c2c-agent check")


def _foreign(config_path: str, pbx: str | None) -> list[str]:
    """What to know of a program that has the agent's FastAGI port; nothing is sent to it."""
    try:
        config = configfile.load(config_path)
    except ConfigError:  # it is to be made, with the default
        config = Config(server_id="any")
    asterisk = config.pbx_of_kind("asterisk", pbx).asterisk
    listens = listening((asterisk or AsteriskConfig()).agi.listen)
    if not is_taken(listens) or listens.address in (fastagi_of(config) or "").split():
        return []
    note = (
        f"Another program listens at {listens.address}, where the agent is to take FastAGI: set "
        f"asterisk.agi.listen in {config_path} to a port that is free."
    )
    return [note]


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
