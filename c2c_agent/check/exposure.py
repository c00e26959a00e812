"""Where the PBX, or the agent beside it, is open wider than it has to be.

Pure. Each function looks at one thing that `check` has found out, and gives a warning or None: the
agent works all the same, but a stranger may work with it, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from c2c_agent.check.finding import Finding
from c2c_agent.config.pbx import AmiConfig, LegRule
from c2c_agent.net.endpoints import is_loopback
from c2c_agent.net.listening import listening
from c2c_agent.pbx.asterisk.channel_id import PREFIX
from c2c_agent.policy.keys import Key

#: The first versions in which an AMI user with `originate` can no longer write files and run
#: programs (CVE-2024-42365, GHSA-c4cg-9275-6w44), by branch; 22 never could, other branches that
#: are older got no repair.
_REPAIRED: Final[Mapping[int, tuple[int, ...]]] = {
    18: (18, 24, 2),
    20: (20, 9, 2),
    21: (21, 4, 2),
}
_NEVER_OPEN: Final = 22

#: Rights of an AMI user that lead to programs or files of the host, each with an action that this
#: right alone opens (seen on Asterisk 16.28 and 22.10 with a user for each).
_DANGEROUS: Final[Mapping[str, str]] = {
    "system": "ModuleLoad",
    "command": "Command",
    "config": "UpdateConfig",
}

#: The eventfilter that is shipped (asterisk-conf/manager.d/c2c-agent.conf).
EVENT_FILTER: Final = (
    "^Event: (Newchannel|LocalBridge|LocalOptimizationEnd|BlindTransfer|AttendedTransfer|Pickup"
    "|Dial|OriginateResponse|Hangup).*((Linkedid|Uniqueid): c2c-([a-z2-7]{26}|[0-9a-f-]{36})"
    "|Context: c2c-(bridge|talk|confirm))[^-.0-9A-Za-z_]"
)

#: Extensions that take whatever is dialled, letters included.
_TAKES_ANYTHING: Final = frozenset({"_.", "_!"})

#: Somewhere abroad, a premium number in North America, and a satellite telephone.
_EXPENSIVE: Final = ("0037112345678", "01137112345678", "19005551234", "00881612345678")


def of_version(version: str) -> Finding | None:
    """A known hole of this version, as far as its number tells."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        return None  # certified or built from git: its number says nothing
    number = tuple(int(part) for part in match.groups())
    branch = number[0]
    if branch >= _NEVER_OPEN or (branch in _REPAIRED and number >= _REPAIRED[branch]):
        return None
    return Finding(
        "Asterisk's version",
        f"{version} has a hole by its number: who may originate may run programs (CVE-2024-42365).",
        "Update Asterisk (18.24.2, 20.9.2, 21.4.2 or newer), unless your distribution has repaired "
        "it under this number; and keep the AMI secret to the agent.",
        warning=True,
    )


def of_rights(ami: AmiConfig, commands: Collection[str]) -> Finding | None:
    """Rights of the AMI user that the agent does not need, by the actions that it may send."""
    wide = [right for right, action in _DANGEROUS.items() if action in commands]
    if not wide:
        return None
    return Finding(
        "AMI rights",
        f"the AMI user also has {', '.join(wide)}, which opens this host to whoever has its secret",
        f"In manager.conf [{ami.username}]: write = originate,call,reporting; then "
        "`manager reload`.",
        warning=True,
    )


def of_no_filter(ami: AmiConfig) -> Finding:
    """AMI tells the agent of all calls of the PBX."""
    return Finding(
        "AMI eventfilter",
        "AMI tells of everybody's calls, which costs both sides processor time",
        f"In manager.conf [{ami.username}]: eventfilter = {EVENT_FILTER} ; then `manager reload`.",
        warning=True,
    )


def of_no_times(ami: AmiConfig) -> Finding | None:
    """AMI does not tell when an event happened, where the agent could make use of it."""
    if not is_loopback(ami.host):
        return None  # nobody knows whether the two hosts' clocks agree
    return Finding(
        "AMI timestampevents",
        "AMI does not tell when something happened: on a busy host the agent measures ringing and "
        "talk by when it reads of them",
        "In manager.conf [general]: timestampevents = yes; then `manager reload`.",
        warning=True,
    )


def of_system_name(name: str) -> Finding | None:
    """A PBX whose own channels have ids that begin as the agent's do."""
    if not name.startswith(PREFIX):
        return None
    return Finding(
        "systemname",
        f"the ids of all channels of this PBX begin with {name}-, and those of the agent's calls "
        f"with {PREFIX}: the agent tells them apart, but other programs and an older eventfilter "
        "may not",
        "Give systemname in asterisk.conf another beginning (autosystemname: the host's name), and "
        "restart Asterisk.",
        warning=True,
    )


def of_link(ami: AmiConfig) -> Finding | None:
    """A secret that crosses a network in the clear."""
    if ami.tls or is_loopback(ami.host):
        return None
    return Finding(
        "AMI link",
        f"the secret and all calls cross the network to {ami.host} in the clear",
        "Run the agent on the PBX host (127.0.0.1), or use asterisk.ami.tls.",
        warning=True,
    )


def of_http(listen: str) -> Finding | None:
    """Keys that cross a network in the clear."""
    listens = listening(listen)
    if listens.kind == "ssl" or not listens.is_open:
        return None
    return Finding(
        "http.listen",
        f"keys and numbers of whoever comes from another host to {listen} travel in the clear",
        "Let it be ssl:, or listen on 127.0.0.1 behind a reverse proxy with TLS.",
        warning=True,
    )


def of_broker(host: str, *, tls: bool) -> Finding | None:
    """A broker whose password crosses a network in the clear."""
    if tls or is_loopback(host):
        return None
    return Finding(
        "amqp.tls",
        f"the password, all jobs and all events cross the network to {host} in the clear",
        "Let amqp.tls be true, and the broker listen with TLS.",
        warning=True,
    )


def of_webhook(name: str, url: str) -> Finding | None:
    """A receiver that is told in the clear, across a network."""
    parts = urlsplit(url)
    if parts.scheme == "https" or is_loopback(parts.hostname or ""):
        return None
    return Finding(
        f"webhook {name}",
        f"all that it is told crosses the network to {parts.hostname} in the clear",
        "Let its url begin with https://.",
        warning=True,
    )


def of_listeners(
    name: str, host: str, addresses: Iterable[IPv4Address | IPv6Address], advice: str
) -> Finding | None:
    """A service of this host that is used at `host`, and listens to others as well."""
    wide = [str(address) for address in addresses if not address.is_loopback]
    if not wide or not is_loopback(host):
        return None
    return Finding(
        f"{name} address",
        f"it listens on {', '.join(wide)}, not only on {host}",
        advice,
        warning=True,
    )


def of_context(name: str, extensions: Collection[str]) -> Finding | None:
    """An extension of a context of ours that takes whatever comes."""
    wide = sorted(_TAKES_ANYTHING.intersection(extensions))
    if not wide:
        return None
    return Finding(
        f"context {name}",
        f"the extension {wide[0]} takes anything, letters included",
        f"Name in [{name}] only what may be dialled there, for instance _[0-9*#+]!",
        warning=True,
    )


def of_key(key: Key) -> Finding | None:
    """A key with which a thief could dial anywhere."""
    if not all(key.may_dial(number) for number in _EXPENSIVE):
        return None
    return Finding(
        f"key {key.name}",
        "may dial any number, also abroad and premium numbers",
        "Let `allow` name what it is for, such as _1XX or _NXXNXXXXXX.",
        warning=True,
    )


def of_first_leg(rules: Iterable[LegRule]) -> Finding | None:
    """A phone that Asterisk rings without our dialplan may forward the call wherever it likes."""
    bare = [rule.channel for rule in rules if not rule.channel.startswith("Local/")]
    if not bare:
        return None
    return Finding(
        "asterisk.first_leg",
        f"{bare[0]} is rung by Originate itself, which follows a phone that forwards calls (302), "
        "to numbers that no key allows",
        "Let it be Local/{number}@c2c-first/n, or a context whose Dial has the option i.",
        warning=True,
    )


def of_mode(path: str, mode: int) -> Finding | None:
    """A file that should be the agent's alone, by its permission bits."""
    if not mode & 0o027:
        return None
    return Finding(
        f"file {path}",
        f"others can use it (mode {mode & 0o777:04o})",
        f"chmod 0640 {path}",
        warning=True,
    )


def open_listeners(ami: AmiConfig, agi_url: str, tables: Iterable[str]) -> Iterator[Finding]:
    """Whether AMI and FastAGI listen to more than this host, where they are used within it.

    `tables` are the kernel's tables of sockets (proc_net_tcp.rst of its documentation).
    """
    agi = urlsplit(agi_url)
    services: list[tuple[str, str, int | None, str]] = [
        ("FastAGI", agi.hostname or "", agi.port, "Let asterisk.agi.listen name 127.0.0.1.")
    ]
    if not ami.tls:
        advice = "In manager.conf [general]: bindaddr = 127.0.0.1; then `manager reload`."
        services.insert(0, ("AMI", ami.host, ami.port, advice))
    for name, host, port, advice in services:
        addresses = [address for table in tables for address in listeners(table, port or 0)]
        wide = of_listeners(name, host, addresses, advice)
        if wide is not None:
            yield wide


def of_foreign_url(url: str, listen: str, tables: Iterable[str]) -> Finding | None:
    """A program of this host that Asterisk would be sent to in the place of the agent."""
    agi, port = urlsplit(url), listening(listen).port
    named = agi.port or _AGI_PORT
    if not is_loopback(agi.hostname or "") or named == port:
        return None
    if not any(True for table in tables for _ in listeners(table, named)):
        return None
    return Finding(
        "FastAGI",
        f"asterisk.agi.url names the port {named}, where another program listens; the agent has "
        f"{port}",
        "Take asterisk.agi.url out, or let it name the port of asterisk.agi.listen. Nothing was "
        "sent to that program.",
    )


#: Where a URL without a port leads Asterisk to (res/res_agi.c, AGI_PORT).
_AGI_PORT: Final = 4573

#: The state LISTEN (include/net/tcp_states.h).
_LISTEN: Final = "0A"


#: Hexadecimal digits of one word of an address, which stands in the host's byte order.
_WORD: Final = 8


def listeners(table: str, port: int) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses at which the sockets of `table` listen on `port`."""
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, its_port = local.partition(":")
        if state == _LISTEN and int(its_port, 16) == port:
            yield _address(address)


def _address(digits: str) -> IPv4Address | IPv6Address:
    words = [digits[i : i + _WORD] for i in range(0, len(digits), _WORD)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
