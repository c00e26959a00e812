"""The sections that say how a PBX is reached, and how it dials. Pure data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, deep_mapping, optional

from c2c_agent.config.rules import (
    WORD,
    is_context,
    is_template,
    shape,
    within,
)
from c2c_agent.policy.pattern import Pattern, parse_pattern

_CHANNEL: Final = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_.@:/+*#{}-]+")
_VARIABLE_NAME: Final = re.compile(r"_{0,2}(?!C2C_)[A-Za-z][A-Za-z0-9_]*")
_VARIABLE_VALUE: Final = re.compile(r"[A-Za-z0-9 _.@:/+*#;=<>{}-]*")
_AGI_URL: Final = re.compile(r"agi://[!-+\--~]{1,200}")
_SOUNDS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*(&[A-Za-z0-9_][A-Za-z0-9_./-]*)*")
_EXTENSION: Final = re.compile(r"[A-Za-z0-9_*#+-]{1,32}")


@frozen
class AmiConfig:
    """How to reach the Asterisk Manager Interface."""

    host: str = "127.0.0.1"
    port: int = field(default=5038, validator=within(1, 65535, "(a TCP port)"))
    username: str = field(default="c2c-agent", validator=shape(WORD, "a word without blanks"))
    secret_file: str = "/etc/c2c-agent/ami.secret"  # noqa: S105 - a path
    tls: bool = False


@frozen
class AgiConfig:
    """Where FastAGI connections are taken, and under which URL Asterisk finds that place.

    `url` None: made from `listen`.
    """

    listen: str = "tcp:4573:interface=127.0.0.1"
    url: str | None = field(
        default=None, validator=optional(shape(_AGI_URL, "a URL such as agi://127.0.0.1:4573/c2c"))
    )


@frozen
class LegRule:
    """How a number that `match`es is dialled."""

    match: Pattern
    channel: str = field(
        validator=and_(shape(_CHANNEL, "a dial string such as PJSIP/{number}"), is_template)
    )


def _first_leg() -> Sequence[LegRule]:
    channel = "Local/{number}@c2c-first/n"
    return tuple(LegRule(parse_pattern(text), channel) for text in ("_X.", "_!"))


def _second_leg() -> Sequence[LegRule]:
    channel = "Local/{number}@{context}/n"
    return tuple(LegRule(parse_pattern(text), channel) for text in ("_X.", "_!"))


@frozen
class DialAsConfig:
    """Contexts for `dial_as`: by extension, and for those that Asterisk knows no endpoint of."""

    contexts: Mapping[str, str] = field(
        factory=dict, validator=deep_mapping(shape(_EXTENSION, "an extension"), is_context)
    )
    default_context: str | None = field(default=None, validator=optional(is_context))


@frozen
class AsteriskConfig:
    """The Asterisk beside the agent."""

    ami: AmiConfig = field(factory=AmiConfig)
    agi: AgiConfig = field(factory=AgiConfig)
    bridge_context: str = field(default="c2c-bridge", validator=is_context)
    first_leg: Sequence[LegRule] = field(factory=_first_leg)
    second_leg: Sequence[LegRule] = field(factory=_second_leg)
    dial_as: DialAsConfig = field(factory=DialAsConfig)
    variables: Mapping[str, str] = field(
        factory=dict,
        validator=deep_mapping(
            shape(_VARIABLE_NAME, "a variable's name (letters, digits, _) outside C2C_"),
            and_(shape(_VARIABLE_VALUE, "a text without quotes, commas or brackets"), is_template),
        ),
    )
    confirm_prompt: str = field(
        default="followme/options",
        validator=shape(_SOUNDS, "names of sound files without ending, joined by &"),
    )
    freepbx: bool = False


@frozen
class RelayConfig:
    """Calls are given to agents beside PBXs elsewhere, over the broker.

    `answer_timeout`: seconds that an agent has to answer; later than that it rings nobody.
    """

    answer_timeout: int = field(default=10, validator=within(2, 120, "seconds"))
