"""`c2c-agent check`: the configuration, then the whole way round through the PBX.

The last check is the one that counts: a test call that rings nobody is originated into the bridge
context, runs through the dialplan, and has to come back over FastAGI: to the running agent or,
where none runs, to this program. Each finding that failed says what to do about it.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet import defer
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.protocol import AgiFactory
from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink, ami_endpoint
from c2c_agent.ami.message import AmiError, Message
from c2c_agent.check import exposure
from c2c_agent.check.exposure import listeners
from c2c_agent.check.finding import Finding
from c2c_agent.config.files import operator_file, read_secret
from c2c_agent.config.pbx import AmiConfig, AsteriskConfig, LegRule
from c2c_agent.config.sections import Config
from c2c_agent.dispatch.kill_switch import StopSwitch
from c2c_agent.errors import C2CError, ConfigError, StoreError
from c2c_agent.pbx.asterisk import bridge
from c2c_agent.pbx.asterisk.driver import CHECK_PREFIX
from c2c_agent.store.postgres.extra import database_versions
from c2c_agent.store.sqlite.store import SCHEMA_VERSION, connect

#: Seconds for the link to come up, and for the test call to come round.
_PATIENCE: Final = 10.0

#: Seconds between looks whether the link is up.
_LOOK: Final = 0.05

#: Contexts of asterisk-conf/c2c-bridge.conf besides the bridge context itself.
_HELPERS: Final = (
    "c2c-answered",
    "c2c-auto-answer",
    "c2c-confirm",
    "c2c-result",
    "c2c-first-result",
    "c2c-check",
)

#: The hangup handler of a context that rings the first.
_LEAVES_RESULT: Final = "c2c-first-result"

_LOCAL: Final = "Local/"

#: What writes our side of Asterisk's configuration.
_SETUP: Final = "c2c-agent setup asterisk"

#: A channel variable, and the seconds within which a channel that was ordered is there.
_PROBE: Final = "C2C_PROBE"
_PROBE_PATIENCE: Final = 3.0


class CheckFailed(C2CError):  # noqa: N818 - it says what happened
    """A check failed, and those after it make no sense."""

    def __init__(self, name: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.finding = Finding(name, message, advice)


def _sockets() -> list[str]:
    """The kernel's tables of sockets, as far as it has them."""
    tables = (Path("/proc/net", name) for name in ("tcp", "tcp6"))
    return [table.read_text(encoding="ascii") for table in tables if table.exists()]


async def run(
    config: Config, reactor: Any, sockets: Callable[[], Sequence[str]] = _sockets
) -> AsyncIterator[Finding]:
    """Check everything, one finding after the other, until one makes the rest senseless.

    `sockets` gives the kernel's tables, as `listening` reads them.
    """
    yield Finding("configuration", f"{len(config.keys)} keys, server_id {config.server_id}")
    for finding in _keys(config):
        yield finding
    url = config.store.url
    yield _store(config) if url is None else _database(url, config)
    for finding in [*_stopped(config), *_files(config), *_forwards(config)]:
        yield finding
    if config.asterisk is None:
        return
    way = _WayRound(config.asterisk, reactor)
    try:
        yield await way.log_in()
        yield await way.rights()
        for finding in await way.exposures():
            yield finding
        for context in way.contexts():
            yield await way.context(context)
        await way.probe()
        yield await way.come_round()
        if way.hears_foreign_calls:
            yield exposure.of_no_filter(config.asterisk.ami)
        for finding in open_listeners(config.asterisk, sockets()):
            yield finding
    except CheckFailed as failed:
        yield failed.finding
    except AmiError as error:
        yield Finding("AMI", str(error), "See the log of Asterisk, and check again.")
    finally:
        await way.close()


def _keys(config: Config) -> Iterator[Finding]:
    if not config.keys:
        advice = "Make one with `c2c-agent key new NAME`, and put it into the list `keys`."
        yield Finding("keys", "No key is configured, so nobody can place calls.", advice)
    for key in config.keys:
        if (wide := exposure.of_key(key)) is not None:
            yield wide
        elif key.allow:
            yield Finding(f"key {key.name}", f"may dial {', '.join(p.text for p in key.allow)}")
        else:
            advice = "Give it a list `allow` of the numbers or patterns that it may dial."
            yield Finding(f"key {key.name}", "allows nothing, so it can dial nothing.", advice)


def _stopped(config: Config) -> Iterator[Finding]:
    stopped = StopSwitch(operator_file(config).parent).state()
    if stopped is not None:
        advice = "To have calls placed again: c2c-agent start-calls"
        yield Finding("kill switch", str(stopped), advice, warning=True)


def _forwards(config: Config) -> Iterator[Finding]:
    if config.asterisk is not None:
        forwards = exposure.of_first_leg(config.asterisk.first_leg)
        if forwards is not None:
            yield forwards


def _store(config: Config) -> Finding:
    """The store is only looked at: this may be root, and the file has to be the agent's own."""
    path = Path(config.store.file)
    try:
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            advice = f"Make {path.parent} a directory that the agent's user can write to."
            return Finding("store", f"{path} cannot be written.", advice)
        if not path.exists():
            return Finding("store", f"{path} will be made by the agent's first start")
        if (owner := path.stat().st_uid) != (wanted := path.parent.stat().st_uid):
            advice = f"chown --reference={path.parent} {path}*"
            message = f"{path} belongs to the user {owner}, its directory to {wanted}."
            return Finding("store", message, advice)
        with closing(connect(path, "ro")) as store:
            (version,) = store.execute("SELECT version FROM schema_version").fetchone()
    except (OSError, sqlite3.Error) as error:
        advice = f"Put a backup in its place, or move {path} away to begin a new one."
        return Finding("store", f"{path} cannot be used: {error}", advice)
    if version > SCHEMA_VERSION:
        advice = "Install the version of c2c-agent that has written it, or a newer one."
        return Finding("store", f"{path} is of a newer version of c2c-agent.", advice)
    return Finding("store", f"{path} can be written")


def _database(url: str, config: Config) -> Finding:
    """The store that several processes share: reached, and of a schema that is known."""
    try:
        known, version = database_versions(config)
    except (StoreError, ConfigError) as error:
        advice = "See that the server runs, and that the user of the URL may connect to it."
        return Finding("store", f"{url} cannot be used: {error}", advice)
    if version > known:
        advice = "Install the version of c2c-agent that has written it, or a newer one."
        return Finding("store", f"{url} is of a newer version of c2c-agent.", advice)
    if not version:
        return Finding("store", f"{url} is reached; its tables will be made by the first start")
    return Finding("store", f"{url} is reached")


def _files(config: Config) -> Iterator[Finding]:
    """Files with secrets or telephone numbers in them that are open to others."""
    files = [operator_file(config)]
    if config.store.url is None:
        files.append(Path(config.store.file))
    elif config.store.password_file is not None:
        files.append(Path(config.store.password_file))
    if config.asterisk is not None:
        files.append(Path(config.asterisk.ami.secret_file))
    if config.amqp is not None:
        own = (config.amqp.password_file, config.amqp.private_key_file)
        files += [Path(file) for file in own if file is not None]
    files += [Path(webhook.secret_file) for webhook in config.webhooks]
    for file in files:
        with suppress(OSError):  # what cannot be read is for another check to tell
            wide = exposure.of_mode(str(file), file.stat().st_mode)
            if wide is not None:
                yield wide


def open_listeners(config: AsteriskConfig, tables: Sequence[str]) -> Iterator[Finding]:
    """Whether AMI and FastAGI listen to more than this host, where they are used within it."""
    ami, agi = config.ami, urlsplit(bridge.agi_url(config.agi))
    services: list[tuple[str, str, int | None, str]] = [
        ("FastAGI", agi.hostname or "", agi.port, "Let asterisk.agi.listen name 127.0.0.1.")
    ]
    if not ami.tls:
        advice = "In manager.conf [general]: bindaddr = 127.0.0.1; then `manager reload`."
        services.insert(0, ("AMI", ami.host, ami.port, advice))
    for name, host, port, advice in services:
        addresses = [address for table in tables for address in listeners(table, port or 0)]
        wide = exposure.of_listeners(name, host, addresses, advice)
        if wide is not None:
            yield wide


class _WayRound:
    """The way from AMI through the dialplan back over FastAGI."""

    def __init__(self, config: AsteriskConfig, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._link: AmiLink | None = None
        self._port: IListeningPort | None = None
        self._hung_up = Deferred[str]()
        self._channel_id = CHECK_PREFIX + str(uuid.uuid4())
        self._foreign_id = f"foreign-{uuid.uuid4()}"
        #: Whether AMI tells of calls that are not the agent's.
        self.hears_foreign_calls = False

    # AmiObserver

    def link_up(self, version: str) -> None:
        """The login worked."""

    def link_down(self, reason: str) -> None:
        """The link was lost; whatever is asked next fails."""

    def ami_event(self, event: Message) -> None:
        """Look out for the end of the test call, and for what no agent should hear."""
        if event.get("Uniqueid") == self._foreign_id:
            self.hears_foreign_calls = True
        ended = event.event == "Hangup" and event.get("Uniqueid") == self._channel_id
        if ended and not self._hung_up.called:
            self._hung_up.callback(event.get("Cause"))

    # The checks

    async def log_in(self) -> Finding:
        """Connect to AMI and log in."""
        ami = self._config.ami
        try:
            secret = read_secret(ami.secret_file)
        except ConfigError as error:
            advice = (
                f"Put the secret of manager.conf's [{ami.username}] into that file, mode 0640, or "
                f"let `{_SETUP}` make both."
            )
            raise CheckFailed("AMI secret", str(error), advice) from error
        self._link = AmiLink(
            ami_endpoint(self._reactor, ami.host, ami.port, tls=ami.tls),
            username=ami.username,
            secret=secret,
            clock=self._reactor,
            observer=self,
        )
        untried = self._link.last_error
        self._link.startService()
        place = f"{ami.host}:{ami.port}"
        deadline = self._reactor.seconds() + _PATIENCE
        while self._link.last_error == untried and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, _LOOK)
        if not self._link.is_up:
            advice = _login_advice(self._link, ami)
            raise CheckFailed("AMI login", f"{place}: {self._link.last_error}", advice)
        return Finding("AMI login", f"Asterisk {self._link.asterisk_version} at {place}")

    async def rights(self) -> Finding:
        """Ask for what needs the rights that the agent needs; nothing is placed."""
        link = self._the_link()
        probe = actions.originate(
            channel=f"{_LOCAL}s@c2c-check/n",
            context=self._config.bridge_context,
            exten="c2c-no-such-extension",
            priority="1",
            timeout=1.0,
            channel_id=self._channel_id + "-rights",
        )
        lacking = [
            right
            for right, action in (("originate", probe), ("call", actions.getvar("EPOCH")))
            if "ermission denied" in (await link.send(action)).get("Message")
        ]
        if lacking:
            message = f"the AMI user lacks write = {', '.join(lacking)}"
            raise CheckFailed("AMI rights", message, _rights_advice(self._config.ami))
        return Finding("AMI rights", "originate, call, reporting")

    async def exposures(self) -> list[Finding]:
        """Where Asterisk, or the way to it, is open wider than it has to be."""
        ami, link = self._config.ami, self._the_link()
        commands = await link.send(actions.list_commands())
        found = [
            exposure.of_version(link.asterisk_version),
            exposure.of_link(ami),
            exposure.of_rights(ami, {name for name, _ in commands.headers}),
        ]
        return [finding for finding in found if finding is not None]

    def contexts(self) -> list[str]:
        """The contexts that calls run through, as far as the configuration names them."""
        known = _contexts_of([*self._config.first_leg, *self._config.second_leg])
        dial_as = self._config.dial_as
        own = [*dial_as.contexts.values(), *filter(None, [dial_as.default_context])]
        return list(dict.fromkeys([self._config.bridge_context, *_HELPERS, *known, *own]))

    async def context(self, name: str) -> Finding:
        """Whether a context exists in the dialplan."""
        try:
            items = await self._the_link().collect(actions.show_dialplan(name))
        except actions.ActionRefused as error:
            advice = (
                f"Write the context [{name}], or include its file from extensions.conf "
                "(asterisk-conf/README.md says how), then `dialplan reload`; "
                f"`{_SETUP}` does it for those of c2c-agent."
            )
            raise CheckFailed(f"context {name}", f"not there: {error}", advice) from error
        wide = exposure.of_context(name, {item.get("Extension") for item in items})
        if wide is not None:
            return wide
        rings_first = name in _contexts_of(self._config.first_leg)
        if rings_first and not any(_LEAVES_RESULT in item.get("AppData") for item in items):
            return Finding(
                f"context {name}",
                "leaves no result: a refusal while the agent is away ends as `unknown`",
                "Begin its extensions as those of asterisk-conf/c2c-first.conf: with "
                f"Set(CHANNEL(hangup_handler_push)={_LEAVES_RESULT},s,1).",
                warning=True,
            )
        return Finding(f"context {name}", "is there")

    async def probe(self) -> None:
        """Place a call that rings nobody, under an id that is not the agent's, with a variable.

        Whether the variable arrives is seen here, whether AMI tells of the call in `ami_event`.
        """
        link = self._the_link()
        call = actions.originate(
            channel=f"{_LOCAL}s@c2c-check/n",
            context="c2c-check",
            exten="s",
            priority="1",
            timeout=_PATIENCE,
            channel_id=self._foreign_id,
            variables={_PROBE: "1"},
        )
        if (await link.send(call)).response != "Success":
            return  # the test call will tell why
        value = await self._value_of_probe()
        await link.send(actions.hangup(self._foreign_id, bridge.CHECK_CAUSE))
        if value == "":
            user = self._config.ami.username
            raise CheckFailed(
                "AMI user",
                "the channel variables that the agent sends with a call do not arrive",
                f"Take `setvar` out of manager.conf's [{user}]: Asterisk 16 to 19, 18 before 18.17 "
                "and 20 before 20.2 drop ours because of it; then `manager reload`.",
            )

    async def _value_of_probe(self) -> str | None:
        """The variable of the probe, as soon as it is there; None if not even its channel is."""
        deadline = self._reactor.seconds() + _PROBE_PATIENCE
        value = None
        while not value and self._reactor.seconds() < deadline:
            answer = await self._the_link().send(actions.getvar(_PROBE, self._foreign_id))
            if answer.response == "Success":
                value = answer.get("Value")  # empty at first: a channel is made, then furnished
            if not value:
                await deferLater(self._reactor, _LOOK)
        return value

    async def come_round(self) -> Finding:
        """Originate the test call and see it come back over FastAGI."""
        try:
            url = bridge.agi_url(self._config.agi)
        except ConfigError as error:
            raise CheckFailed("FastAGI", str(error), "Correct asterisk.agi.") from error
        running = not await self._listen()
        call = actions.originate(
            channel=f"{_LOCAL}s@c2c-check/n",
            context=self._config.bridge_context,
            exten="s",
            priority="1",
            timeout=_PATIENCE,
            channel_id=self._channel_id,
            variables={"C2C_AGI": url},
        )
        response = await self._the_link().send(call)
        if response.response != "Success":
            raise CheckFailed("test call", response.get("Message"), "See the log of Asterisk.")
        try:
            cause = await self._within(self._hung_up)
        except defer.TimeoutError as error:
            raise CheckFailed(
                "test call",
                f"it was not heard of within {_PATIENCE:g} s",
                "The AMI user needs read = call, and an eventfilter that lets Uniqueid: c2c- "
                "through.",
            ) from error
        if cause != str(bridge.CHECK_CAUSE):
            raise CheckFailed(
                "test call",
                f"it did not come back over FastAGI ({url}, cause {cause})",
                "Look for 'AGI' in the log of Asterisk: can it reach that address? Is "
                "res_agi.so loaded?",
            )
        to = "the running agent" if running else "this check (the agent is not running)"
        return Finding("test call", f"through the bridge context and over FastAGI to {to}")

    async def _listen(self) -> bool:
        """Take FastAGI sessions, unless the running agent does."""
        factory = AgiFactory(self._acknowledge, self._reactor)
        listen = self._config.agi.listen
        try:
            self._port = await serverFromString(self._reactor, listen).listen(factory)
        except CannotListenError:
            return False
        except Exception as error:  # Twisted's parsers of endpoints have no root of their own
            message = f"{listen!r} is no endpoint to listen on: {error}"
            raise CheckFailed("FastAGI", message, "Correct asterisk.agi.listen.") from error
        return True

    async def _acknowledge(self, channel: AgiChannel) -> None:
        if channel.environment.uniqueid == self._channel_id:
            await bridge.acknowledge(channel)

    async def close(self) -> None:
        """Leave nothing open."""
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        if self._link is not None:
            await self._link.stopService()

    def _the_link(self) -> AmiLink:
        assert self._link is not None  # noqa: S101 - `log_in` is the first check
        return self._link

    def _within(self, waiting: Deferred[str]) -> Deferred[str]:
        """Wait for something, but not for ever; fails with TimeoutError."""
        return waiting.addTimeout(_PATIENCE, self._reactor)


def _contexts_of(rules: Iterable[LegRule]) -> list[str]:
    """The contexts that Local channels of these rules name literally."""
    templates = [rule.channel for rule in rules if rule.channel.startswith(_LOCAL)]
    named = [text.partition("@")[2].partition("/")[0] for text in templates]
    return [name for name in named if name and "{" not in name]


def _rights_advice(ami: AmiConfig) -> str:
    return (
        f"In manager.conf [{ami.username}]: write = originate,call,reporting; "
        "then `manager reload`."
    )


def _login_advice(link: AmiLink, ami: AmiConfig) -> str:
    if "CoreSettings refused" in link.last_error:
        return _rights_advice(ami)
    if "refused" in link.last_error and "login" in link.last_error:
        return (
            f"Compare the secret in {ami.secret_file} with [{ami.username}] in manager.conf, and "
            f"its permit, then `manager reload`; where there is no such user, `{_SETUP}` makes it."
        )
    return (
        "Is Asterisk running, with enabled = yes in manager.conf's [general], and a bindaddr and "
        "port that are those of asterisk.ami?"
    )
