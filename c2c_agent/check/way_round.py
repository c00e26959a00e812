"""The way of a call: from AMI through the dialplan, and back over FastAGI.

The last check is the one that counts: a test call that rings nobody is originated into the bridge
context, runs through the dialplan, and has to come back over FastAGI: to the running agent or,
where none runs, to this program. Each finding that failed says what to do about it.
"""

from __future__ import annotations

import errno
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

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
from c2c_agent.ami.message import Message
from c2c_agent.check import answering, exposure, lightness
from c2c_agent.check.finding import CheckFailed, Finding
from c2c_agent.config.files import read_secret
from c2c_agent.config.pbx import AmiConfig, AsteriskConfig, LegRule
from c2c_agent.config.rules import CONTEXT
from c2c_agent.errors import ConfigError
from c2c_agent.net.listening import listening
from c2c_agent.pbx.asterisk import bridge
from c2c_agent.pbx.asterisk.channel_id import check_id
from c2c_agent.policy.keys import Key

#: Seconds for the link to come up, and for the test call to come round.
_PATIENCE: Final = 10.0

#: Seconds between looks whether the link is up.
_LOOK: Final = 0.05

#: Contexts of asterisk-conf/c2c-bridge.conf besides the bridge context itself.
_HELPERS: Final = (
    "c2c-answered",
    "c2c-answered-by",
    "c2c-as-user",
    "c2c-language",
    "c2c-auto-answer",
    "c2c-confirm",
    "c2c-result",
    "c2c-first-result",
    "c2c-check",
    lightness.TAKEN,
    "c2c-talk",
)

#: The hangup handler of a context that rings the first.
_LEAVES_RESULT: Final = "c2c-first-result"

_LOCAL: Final = "Local/"

#: What to do where another program has the port.
FOREIGN: Final = (
    "Give asterisk.agi.listen a port that is free (a FreePBX has its own FastAGI server at 4573), "
    "then restart the agent. Nothing was sent to that program."
)

#: A device that may be somebody's, and so many of them at the most are asked for their context.
_USER: Final = re.compile(r"[A-Za-z0-9_*#+.-]{1,32}")
_MOST_DEVICES: Final = 500

#: As many contexts are looked at, of users and included by theirs.
_MOST_CONTEXTS: Final = 200

#: What writes our side of Asterisk's configuration.
_SETUP: Final = "c2c-agent setup asterisk"

#: A channel variable, and the seconds within which a channel that was ordered is there.
_PROBE: Final = "C2C_PROBE"
_PROBE_PATIENCE: Final = 3.0


class WayRound:
    """The way from AMI through the dialplan back over FastAGI.

    `link` is one that somebody else has opened, and closes; None: one of its own is opened.
    """

    def __init__(
        self,
        config: AsteriskConfig,
        keys: Sequence[Key],
        reactor: Any,
        link: AmiLink | None = None,
    ) -> None:
        self._config = config
        self._keys = keys
        self._reactor = reactor
        self._link = link
        self._is_own = link is None
        self._port: IListeningPort | None = None
        self._hung_up = Deferred[str]()
        self._channel_id = check_id()
        self._foreign_id = f"foreign-{uuid.uuid4()}"
        self._devices: list[str] = []
        self._of_users: list[str] = []
        self._listed: dict[str, list[Message]] = {}
        #: Whether AMI tells of calls that are not the agent's.
        self.hears_foreign_calls = False
        #: Whether AMI tells when an event happened.
        self.hears_times = False

    # AmiObserver

    def link_up(self, version: str) -> None:
        """The login worked."""

    def link_down(self, reason: str) -> None:
        """The link was lost; whatever is asked next fails."""

    def ami_event(self, event: Message) -> None:
        """Look at the end of the test call, and out for what no agent should hear."""
        if event.get("Uniqueid") == self._foreign_id:
            self.hears_foreign_calls = True
        ended = event.event == "Hangup" and event.get("Uniqueid") == self._channel_id
        if ended and not self._hung_up.called:
            self.hears_times = "Timestamp" in event
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
        link = self._link or await self._open(secret)
        place = f"{ami.host}:{ami.port}"
        if not link.is_up:
            raise CheckFailed("AMI login", f"{place}: {link.last_error}", _login_advice(link, ami))
        return Finding("AMI login", f"Asterisk {link.asterisk_version} at {place}")

    async def _open(self, secret: str) -> AmiLink:
        """Open a link of its own; it has been tried then."""
        ami = self._config.ami
        self._link = link = AmiLink(
            ami_endpoint(self._reactor, ami.host, ami.port, tls=ami.tls, ca_file=ami.ca_file),
            username=ami.username,
            secret=secret,
            clock=self._reactor,
            observer=self,
        )
        untried = link.last_error
        link.startService()
        deadline = self._reactor.seconds() + _PATIENCE
        while link.last_error == untried and self._reactor.seconds() < deadline:
            await deferLater(self._reactor, _LOOK)
        return link

    async def rights(self) -> Finding:
        """Ask for what needs the rights that the agent needs; nothing is placed."""
        link = self._the_link()
        probe = actions.originate(
            channel=f"{_LOCAL}s@c2c-check/n",
            context=self._config.bridge_context,
            exten="c2c-no-such-extension",
            priority="1",
            timeout=1.0,
            channel_id=check_id(),
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
        settings = await link.send(actions.core_settings())
        found = [
            exposure.of_version(link.asterisk_version),
            exposure.of_system_name(settings.get("SystemName").strip()),
            exposure.of_link(ami),
            exposure.of_rights(ami, {name for name, _ in commands.headers}),
        ]
        return [finding for finding in found if finding is not None]

    def contexts(self) -> list[str]:
        """The contexts that calls run through, as far as the configuration names them."""
        known = _contexts_of([*self._config.first_leg, *self._config.second_leg])
        own = self._contexts_of_users()
        return list(dict.fromkeys([self._config.bridge_context, *_HELPERS, *known, *own]))

    def _contexts_of_users(self) -> list[str]:
        dial_as = self._config.dial_as
        return [*dial_as.contexts.values(), *filter(None, [dial_as.default_context])]

    async def contexts_of_endpoints(self) -> list[str]:
        """The contexts that the devices of this PBX have, unless the configuration names them.

        None where Asterisk does not list its devices.
        """
        link = self._the_link()
        try:
            listed = await link.collect(actions.device_state_list())
        except actions.ActionRefused:
            return []
        named = [item.get("Device").partition("/") for item in listed]
        users = [name for kind, _, name in named if kind == "PJSIP" and _USER.fullmatch(name)]
        self._devices = users
        found = []
        for user in users[:_MOST_DEVICES]:
            answer = await link.send(actions.getvar(f"PJSIP_ENDPOINT({user},context)"))
            found.append(answer.get("Value").strip())
        known = self.contexts()
        self._of_users = [one for one in dict.fromkeys(found) if CONTEXT.fullmatch(one)]
        return [one for one in self._of_users if one not in known]

    async def context(self, name: str) -> Finding:
        """Whether a context exists in the dialplan."""
        try:
            items = self._listed[name] = await self._list(name)
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
        light = self._lightness(name, items)
        rings_first = name in _contexts_of(self._config.first_leg)
        if rings_first and not any(_LEAVES_RESULT in item.get("AppData") for item in items):
            return Finding(
                f"context {name}",
                "leaves no result: a refusal while the agent is away ends as `unknown`",
                "Begin its extensions as those of asterisk-conf/c2c-first.conf: with "
                f"Set(CHANNEL(hangup_handler_push)={_LEAVES_RESULT},s,1).",
                warning=True,
            )
        return light or Finding(f"context {name}", "is there")

    async def _list(self, context: str) -> list[Message]:
        return list(await self._the_link().collect(actions.show_dialplan(context)))

    async def answering(self) -> list[Finding]:
        """Whether numbers that answer by themselves may be rung first, and nobody is asked."""
        waiting = dict.fromkeys([*self._contexts_of_users(), *self._of_users])
        seen: dict[str, list[Message]] = {}
        while waiting and len(seen) < _MOST_CONTEXTS:
            name = next(iter(waiting))
            del waiting[name]
            try:
                seen[name] = self._listed.get(name) or await self._list(name)
            except actions.ActionRefused:  # included, and not there
                seen[name] = []
            waiting |= dict.fromkeys(
                other for other in answering.included(seen[name]) if other not in seen
            )
        items = [item for listed in seen.values() for item in listed]
        found = answering.of_contexts(items, self._is_rung_unasked)
        return [] if found is None else [found]

    def _is_rung_unasked(self, number: str) -> bool:
        """Whether a key may have it rung first through a context, with nobody asked there."""
        return number not in self._devices and any(
            not key.confirm and key.may_ring_first(number) for key in self._keys
        )

    def _lightness(self, name: str, items: Sequence[Message]) -> Finding | None:
        """What a context makes dear, or loses."""
        if name in _contexts_of(self._config.first_leg):
            return lightness.of_first_leg(name, items)
        rules = [rule for rule in self._config.second_leg if rule.optimizes]
        of_users = any(_leads_to_users(rule) for rule in rules)
        if name in _contexts_of(rules) or (of_users and name not in self._own_contexts()):
            return lightness.of_second_leg(name, items)
        return None

    def _own_contexts(self) -> list[str]:
        """Those that are no user's."""
        named = _contexts_of([*self._config.first_leg, *self._config.second_leg])
        ours = {self._config.bridge_context, *_HELPERS, *named}
        return [name for name in ours if name not in self._contexts_of_users()]

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

    async def come_round(
        self, agent: Callable[[], Awaitable[str | None]], sockets: Iterable[str]
    ) -> Finding:
        """Originate the test call and see it come back over FastAGI.

        Not where that would come to a program that is no agent: `agent` says where the running one
        takes FastAGI, `sockets` who listens here at all.
        """
        url = bridge.agi_url(self._config.agi)
        foreign = exposure.of_foreign_url(url, self._config.agi.listen, sockets)
        if foreign is not None:
            raise CheckFailed(foreign.name, foreign.message, foreign.advice)
        running = not await self._listen(agent)
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

    async def _listen(self, agent: Callable[[], Awaitable[str | None]]) -> bool:
        """Take FastAGI sessions, unless the running agent does. Raises CheckFailed for others."""
        factory = AgiFactory(self._acknowledge, self._reactor)
        listen = self._config.agi.listen
        try:
            self._port = await serverFromString(self._reactor, listen).listen(factory)
        except CannotListenError as error:
            address = listening(listen).address
            told = await agent()
            if address in (told or "").split():
                return False
            if getattr(error.socketError, "errno", None) != errno.EADDRINUSE:
                message = (
                    f"asterisk.agi.listen: nobody can listen at {address}: {error.socketError}"
                )
                advice = "Let asterisk.agi.listen name an address of this host, and a free port."
            elif told is None:
                message = f"another program listens at {address}, and no agent runs"
                advice = FOREIGN
            else:
                place = told or "a place that it does not tell"
                message = f"another program listens at {address}; the running agent does at {place}"
                advice = f"Restart the agent, if it runs with an older configuration. {FOREIGN}"
            raise CheckFailed("FastAGI", message, advice) from error
        return True

    async def _acknowledge(self, channel: AgiChannel) -> None:
        if channel.environment.uniqueid == self._channel_id:
            await bridge.acknowledge(channel)

    async def close(self) -> None:
        """Leave nothing open."""
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        if self._link is not None and self._is_own:
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


def _leads_to_users(rule: LegRule) -> bool:
    """Whether the context of the dial_as user is where it leads in the end."""
    return "{context}" in rule.channel or f"@{lightness.NO_VOICEMAIL}" in rule.channel


def _rights_advice(ami: AmiConfig) -> str:
    return (
        f"In manager.conf [{ami.username}]: write = originate,call,reporting; "
        "then `manager reload`."
    )


def _login_advice(link: AmiLink, ami: AmiConfig) -> str:
    if "CoreSettings refused" in link.last_error:
        return _rights_advice(ami)
    if "shutting down" in link.last_error:
        return "Wait until its last call has ended, or say `core abort shutdown` in its CLI."
    if "already in use" in link.last_error.lower():
        return (
            "The running agent is logged in, and manager.conf has allowmultiplelogin = no: stop "
            "the agent for the check, or take that line out, then `manager reload`."
        )
    if "certificate" in link.last_error.lower():
        return (
            "Name the authority of Asterisk's certificate, or the certificate itself, with "
            "asterisk.ami.ca_file, and the host as the certificate does with asterisk.ami.host."
        )
    if "refused" in link.last_error and "login" in link.last_error:
        return (
            f"Compare the secret in {ami.secret_file} with [{ami.username}] in manager.conf, and "
            f"its permit, then `manager reload`; where there is no such user, `{_SETUP}` makes it."
        )
    return (
        "Is Asterisk running, with enabled = yes in manager.conf's [general], and a bindaddr and "
        "port that are those of asterisk.ami?"
    )
