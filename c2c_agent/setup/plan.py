"""What `setup asterisk` changes: from the files that are there to the files as they are to be.

Pure. `plan` looks at the whole configuration of an Asterisk and of the agent, and gives a change
for each file that needs one. What is right already stays as it is, whoever made it: so a second
run changes nothing. `files` reads the files, `apply` makes the changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from enum import Enum, auto
from ipaddress import ip_address
from json import dumps
from typing import Final

from attrs import field, frozen

from c2c_agent.config.pbx import AmiConfig
from c2c_agent.net.endpoints import is_loopback
from c2c_agent.policy.keys import key_digest
from c2c_agent.policy.pattern import Pattern
from c2c_agent.setup.asterisk_conf import (
    SetupError,
    as_read,
    before_include,
    body_of,
    executed,
    has_section,
    includes,
    settings,
    with_block,
    without_block,
)

#: The files of asterisk-conf that are shipped.
AMI_USER: Final = "manager.d/c2c-agent.conf"
FIRST: Final = "c2c-first.conf"
BRIDGE: Final = "c2c-bridge.conf"
SHIPPED: Final = (AMI_USER, FIRST, BRIDGE)

#: What FreePBX's `fwconsole chown` leaves as it is, or gives to whom.
CHOWN: Final = "freepbx_chown.conf"

#: The context of asterisk-conf/c2c-bridge.conf that blocks the voicemail of a FreePBX.
NO_VOICEMAIL: Final = "c2c-no-voicemail"
_WITHOUT_VOICEMAIL: Final = "\n".join(
    [
        "  second_leg:",
        f'    - {{match: "_X.", channel: "Local/{{number}}@{NO_VOICEMAIL}"}}',
        f'    - {{match: "_!", channel: "Local/{{number}}@{NO_VOICEMAIL}"}}',
    ]
)

#: The name of the key that a new configuration has.
FIRST_KEY: Final = "first"

_SECRET: Final = re.compile(r"(?im)^([ +-]?[ \t]*\w*(?:secret|password)[ \t]*=).*$")
_PERMIT: Final = re.compile(r"(?m)^permit[ \t]*=.*$")
#: What the shipped file adds to [general], with its comment.
_REOPENED: Final = re.compile(r"(?m)^;[^\n]*\n\[general\]\(\+\)\n[^\n]+\n\n")
_MANAGER_D: Final = r"manager\.d/\*(?:\.conf)?"
_TRUE: Final = frozenset({"yes", "true", "y", "t", "1", "on"})
_ANY_ADDRESS: Final = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - to be replaced
_DEFAULT: Final = AmiConfig()


class AllowMissingError(SetupError):
    """A new configuration needs patterns for its first key, and none were given."""


class Kind(Enum):
    """Whose a new file is, and so who may read it."""

    AMI = auto()  # holds a secret; for Asterisk
    DIALPLAN = auto()  # for Asterisk
    AGENT = auto()  # for the agent


@frozen
class Change:
    """One file as it was found (None: not there), and as it is to be.

    `block` is the marked block that it gets, where the rest of the file is somebody else's.
    """

    path: str
    kind: Kind
    before: str | None = field(repr=False)
    after: str = field(repr=False)
    block: str | None = field(default=None, repr=False)


@frozen
class Place:
    """Where everything lies, and how the agent logs in.

    `username` and `secret_file` are those of the agent's configuration, if it has one already.
    """

    asterisk_dir: str
    config: str
    secret_file: str
    username: str = _DEFAULT.username
    freepbx: bool = False

    def asterisk(self, name: str) -> str:
        """The path of a file of Asterisk's configuration."""
        return f"{self.asterisk_dir}/{name}"


@frozen
class Wishes:
    """What the new configuration is made of: what its key may dial, and two fresh secrets.

    `no_voicemail`: the second is dialled without the voicemail behind it.
    """

    allow: Sequence[Pattern]
    key: str = field(repr=False)
    ami_secret: str = field(repr=False)
    no_voicemail: bool = False


@frozen
class Plan:
    """The changes in the order in which they are to be made, and what the admin should know.

    `key` is the secret of the first key, where the configuration is made anew.
    """

    changes: Sequence[Change]
    notes: Sequence[str]
    key: str | None = field(repr=False)


def plan(
    place: Place, found: Mapping[str, str], shipped: Mapping[str, str], wishes: Wishes
) -> Plan:
    """What has to change; raises SetupError.

    `found` is the text of every file that is there, by its path, `shipped` that of asterisk-conf.
    """
    for name in ("manager.conf", "extensions.conf"):
        if place.asterisk(name) not in found:
            raise SetupError(
                f"{place.asterisk(name)} is not there: name the folder of Asterisk's configuration "
                "with --asterisk-dir."
            )
    if place.config not in found and not wishes.allow:
        raise AllowMissingError(
            f"{place.config} is to be made: say with --allow what its first key may dial, "
            "such as --allow _1XX --allow _NXXNXXXXXX"
        )
    if wishes.no_voicemail and not _is_freepbx(place, found):
        raise SetupError(
            "Only a FreePBX can be asked not to let voicemail answer (--no-voicemail). Elsewhere "
            "write a context that dials the phones alone: the page on the dialplan has a recipe."
        )
    return _Planner(place, found, shipped, wishes).plan()


class _Planner:
    """Makes one plan."""

    def __init__(
        self,
        place: Place,
        found: Mapping[str, str],
        shipped: Mapping[str, str],
        wishes: Wishes,
    ) -> None:
        self._place = place
        self._found = found
        self._shipped = shipped
        self._wishes = wishes
        self._freepbx = _is_freepbx(place, found)
        self._new_config = place.config not in found

    def plan(self) -> Plan:
        """Includes come after what they include: Asterisk takes nothing with a file missing."""
        changes = [
            *self._agent(),
            *self._contexts(),
            *self._chown(),
            *self._ami(),
            *self._includes(),
        ]
        changed = [change for change in changes if change.before != change.after]
        key = self._wishes.key if self._new_config else None
        return Plan(changed, list(self._notes()), key)

    def _change(self, path: str, kind: Kind, after: str) -> Change:
        return Change(path, kind, self._found.get(path), after)

    def _blocked(self, path: str, kind: Kind, body: str) -> Change:
        before = self._found.get(path)
        after, block = with_block(path, before or "", body)
        return Change(path, kind, before, after, block)

    def _agent(self) -> Iterator[Change]:
        if self._new_config:
            yield self._change(self._place.config, Kind.AGENT, self._yaml())
        if self._place.secret_file not in self._found:
            yield self._change(self._place.secret_file, Kind.AGENT, f"{self._secret()}\n")

    def _contexts(self) -> Iterator[Change]:
        first = self._place.asterisk(FIRST)
        if first not in self._found:  # it is the admin's to edit
            yield self._change(first, Kind.DIALPLAN, self._shipped[FIRST])
        yield self._change(self._place.asterisk(BRIDGE), Kind.DIALPLAN, self._shipped[BRIDGE])

    def _ami(self) -> Iterator[Change]:
        """AMI switched on, and the agent's user; each where it is missing."""
        path = self._place.asterisk("manager_custom.conf" if self._freepbx else "manager.conf")
        body = there = body_of(self._found.get(path, ""))
        if self._secret_in_asterisk() is None:
            user = self._ami_user()
            if not self._freepbx and includes(self._manager(), _MANAGER_D):
                yield self._own_file(user)
            else:
                # The comment at the top is about the folder manager.d.
                body = user.partition("\n\n")[2]
        if not (self._freepbx or self._ami_is_on()) and self._ami_stays_inside():
            body = self._switched_on() + body
        if body != there:
            yield self._blocked(path, Kind.AMI, body)

    def _ami_user(self) -> str:
        user = self._shipped[AMI_USER].replace("[c2c-agent]", f"[{self._place.username}]")
        if not self._general_comes_first():
            user = _REOPENED.sub("", user)  # Asterisk would then read nothing of manager.conf
        secret = self._secret().replace(";", "\\;")
        user = _SECRET.sub(lambda line: f"{line[1]} {secret}", user)
        bound = self._general().get("bindaddr", "").strip("[]")
        try:
            address = ip_address(bound)
        except ValueError:  # every one, or a name
            return user
        if address.is_loopback or address.is_unspecified:
            return user
        # Who connects to an address of its own host comes from that address.
        also = f"permit = {address}/{address.max_prefixlen}"
        return _PERMIT.sub(lambda line: f"{line[0]}\n{also}", user, count=1)

    def _own_file(self, user: str) -> Change:
        path = self._place.asterisk(AMI_USER)
        if path in self._found:
            raise SetupError(
                f"{path} is there, but has no user [{self._place.username}] with a secret: "
                "complete it, or remove it, and run this again."
            )
        return self._change(path, Kind.AMI, user)

    def _chown(self) -> Iterator[Change]:
        """On a FreePBX: have the file with the AMI secret stay closed to others."""
        path = self._place.asterisk(CHOWN)
        if self._freepbx and not self._is_kept_closed() and not self._has_custom():
            yield self._blocked(path, Kind.DIALPLAN, f"[custom]\n{self._chown_line()}\n")

    def _chown_line(self) -> str:
        return f"file = {self._place.asterisk('manager_custom.conf')},0640,asterisk,asterisk"

    def _is_kept_closed(self) -> bool:
        return "manager_custom.conf" in self._found.get(self._place.asterisk(CHOWN), "")

    def _has_custom(self) -> bool:
        return has_section(self._found.get(self._place.asterisk(CHOWN), ""), "custom")

    def _general(self) -> Mapping[str, str]:
        return settings(self._as_read("manager.conf"), "general")

    def _ami_is_on(self) -> bool:
        return self._general().get("enabled", "no").lower() in _TRUE

    def _ami_stays_inside(self) -> bool:
        """Whether AMI, switched on, would listen to this host alone, or to nobody in particular."""
        address = self._general().get("bindaddr", "")
        return address in _ANY_ADDRESS or is_loopback(address)

    def _switched_on(self) -> str:
        """What switches AMI on, for this host alone."""
        general = self._general()
        # Of a second section of that name Asterisk would read nothing, be the first one empty.
        if self._has_general():
            lines = ["; AMI was off.", "[general](+)", "enabled = yes"]
        else:
            lines = ["; AMI was off.", "[general]", "enabled = yes", "timestampevents = yes"]
        if general.get("bindaddr", "") in _ANY_ADDRESS:
            lines.append("bindaddr = 127.0.0.1")
        return "\n".join(lines) + "\n\n"

    def _has_general(self) -> bool:
        return has_section(self._as_read("manager.conf"), "general")

    def _general_comes_first(self) -> bool:
        """Whether [general] is there where the AMI user will stand, so that it can be reopened."""
        file = r"manager_custom\.conf" if self._freepbx else _MANAGER_D
        before = before_include(self._manager(), file)
        return self._has_general() if before is None else has_section(before, "general")

    def _includes(self) -> Iterator[Change]:
        path = self._place.asterisk(
            "extensions_custom.conf" if self._freepbx else "extensions.conf"
        )
        texts = [self._as_read("extensions.conf"), self._found.get(path, "")]
        bare = {name: without_block(text) for name, text in self._found.items()}
        outside = [
            as_read(self._place.asterisk("extensions.conf"), bare, self._place.asterisk_dir),
            bare.get(path, ""),
        ]
        if _missing(texts):
            body = "".join(f'#include "{name}"\n' for name in _missing(outside))
            yield self._blocked(path, Kind.DIALPLAN, body)

    def _ami_sections(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Every place where the AMI user stands, with its settings."""
        read = settings(self._as_read("manager.conf"), self._place.username)
        if read:
            places = [
                path
                for path, text in self._found.items()
                if path.endswith(".conf") and has_section(text, self._place.username)
            ]
            yield (places or [self._place.asterisk("manager.conf")])[0], read
        for path, text in self._found.items():
            name = path.removeprefix(self._place.asterisk_dir + "/")
            if re.fullmatch(r"manager(_\w+)?\.conf|manager\.d/[^/]+", name):
                section = settings(text, self._place.username)
                if section:
                    yield path, section

    def _secret_in_asterisk(self) -> str | None:
        for path, section in self._ami_sections():
            secret = section.get("secret")
            if secret == "CHANGE_ME":  # noqa: S105 - as asterisk-conf ships it
                raise SetupError(
                    f"{path}: the secret is still CHANGE_ME: remove the section "
                    f"[{self._place.username}], and run this again."
                )
            if secret:
                self._compare(path, secret)
                return secret
        return None

    def _compare(self, path: str, secret: str) -> None:
        own = self._found.get(self._place.secret_file)
        if own is not None and own.rstrip("\r\n") != secret:
            raise SetupError(
                f"{path} and {self._place.secret_file} have different secrets for "
                f"{self._place.username}: give both the same, and run this again."
            )

    def _secret(self) -> str:
        """The secret that stands on one of the two sides already, else a fresh one."""
        there = self._secret_in_asterisk()
        if there is not None:
            return there
        own = self._found.get(self._place.secret_file, "").rstrip("\r\n")
        return own or self._wishes.ami_secret

    def _yaml(self) -> str:
        lines = [
            "# The agent's configuration. What is not here has its default: man c2c-agent.yml."
        ]
        ami = []
        address = self._general().get("bindaddr", "")
        if address not in _ANY_ADDRESS and address != _DEFAULT.host:
            ami.append(f"    host: {dumps(address)}")
        port = self._general().get("port", "")
        if re.fullmatch("[0-9]+", port) and int(port) != _DEFAULT.port:
            ami.append(f"    port: {int(port)}")
        if self._place.secret_file != _DEFAULT.secret_file:
            ami.append(f"    secret_file: {dumps(self._place.secret_file)}")
        if ami or self._freepbx:
            lines.append("asterisk:")
        if self._freepbx:
            lines.append("  freepbx: true")
        if self._wishes.no_voicemail:
            lines.append(_WITHOUT_VOICEMAIL)
        if ami:
            lines += ["  ami:", *ami]
        allow = ", ".join(dumps(pattern.text) for pattern in self._wishes.allow)
        lines += [
            "keys:",
            f"  - name: {FIRST_KEY}",
            f'    sha256: "{key_digest(self._wishes.key)}"',
            f"    allow: [{allow}]",
        ]
        return "\n".join(lines) + "\n"

    def _as_read(self, name: str) -> str:
        """The text of a file as Asterisk reads it, with all that it includes."""
        return as_read(self._place.asterisk(name), self._found, self._place.asterisk_dir)

    def _manager(self) -> str:
        return self._found[self._place.asterisk("manager.conf")]

    def _notes(self) -> Iterator[str]:
        for name in ("manager.conf", "extensions.conf"):
            for command in executed(self._as_read(name)):
                yield (
                    f"{self._place.asterisk(name)} has #exec {command}: it was not run, so what it "
                    "prints is not known here. If it has the AMI's [general] or the user "
                    f"[{self._place.username}], look at what was written."
                )
        if self._freepbx and not self._is_kept_closed() and self._has_custom():
            yield (
                f"Put into [custom] of {self._place.asterisk(CHOWN)}, lest `fwconsole chown` open "
                f"the file with the AMI secret to everybody: {self._chown_line()}"
            )
        if not self._ami_is_on() and not self._ami_stays_inside():
            yield (
                f"AMI is off, and {self._place.asterisk('manager.conf')} would have it listen to a "
                "network: set enabled = yes and bindaddr = 127.0.0.1 there; then `manager reload`."
            )
        if self._freepbx:
            yield from self._notes_on_freepbx()
        if self._wishes.allow and not self._new_config:
            yield f"{self._place.config} is there already: --allow changes nothing in it."

    def _notes_on_freepbx(self) -> Iterator[str]:
        if not self._ami_is_on():
            yield "AMI is off: switch it on in FreePBX (Settings, Asterisk Manager Users)."
        extensions = self._found[self._place.asterisk("extensions.conf")]
        for name, text in (("manager", self._manager()), ("extensions", extensions)):
            if not includes(text, rf"{name}_custom\.conf"):
                yield (
                    f"{self._place.asterisk(name + '.conf')} does not include {name}_custom.conf, "
                    "as FreePBX does: include it."
                )
        if not self._new_config and not self._place.freepbx:
            yield f"This is a FreePBX: set asterisk.freepbx to true in {self._place.config}."
        if NO_VOICEMAIL not in self._found.get(self._place.config, ""):
            yield from self._notes_on_voicemail()

    def _notes_on_voicemail(self) -> Iterator[str]:
        if not self._wishes.no_voicemail:
            yield (
                "A voicemail that answers for the second counts as connected. With --no-voicemail "
                "the second is dialled without it: busy, declined and unanswered stay as they are."
            )
        elif not self._new_config:
            yield (
                f"Put into the section asterisk of {self._place.config}, so that no voicemail "
                f"answers for the second:\n{_WITHOUT_VOICEMAIL}"
            )


def _is_freepbx(place: Place, found: Mapping[str, str]) -> bool:
    custom = ("manager_custom.conf", "extensions_custom.conf")
    return place.asterisk("extensions_additional.conf") in found or all(
        place.asterisk(name) in found for name in custom
    )


def _missing(texts: Sequence[str]) -> list[str]:
    """Those of our dialplan files that none of the texts includes."""
    return [
        name
        for name in (FIRST, BRIDGE)
        if not any(includes(text, re.escape(name)) for text in texts)
    ]


def shown(change: Change, *, hide: bool = False) -> str:
    """The difference as text, without secrets; `hide` for a file that is nothing but a secret."""
    before, after = change.before, change.after
    lines = unified_diff(
        [] if before is None else _lines(before),
        _lines("(a secret)" if hide else after),
        fromfile="/dev/null" if before is None else change.path,
        tofile=change.path,
        lineterm="",
    )
    return _SECRET.sub(r"\1 ********", "\n".join(lines))


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
