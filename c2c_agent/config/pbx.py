"""The sections that say how a PBX is reached, and how it dials. Pure data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from attrs import Attribute, Factory, field, frozen
from attrs.validators import and_, deep_iterable, deep_mapping, optional

from c2c_agent.call.job import PBX_KINDS
from c2c_agent.config.rules import (
    WORD,
    ImpossibleValueError,
    Listens,
    Shape,
    Within,
    is_context,
    is_template,
)
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pattern import Pattern, parse_pattern
from c2c_agent.text import described

_CHANNEL: Final = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_.@:/+*#{}-]+")
_VARIABLE_NAME: Final = re.compile(r"_{0,2}(?!C2C_)[A-Za-z][A-Za-z0-9_]*")
_VARIABLE_VALUE: Final = re.compile(r"[A-Za-z0-9 _.@:/+*#;=<>{}-]*")
_AGI_URL: Final = re.compile(
    r"agi://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[!-+\--~]{0,200})?"
)
_SOUNDS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*(&[A-Za-z0-9_][A-Za-z0-9_./-]*)*")
_EXTENSION: Final = re.compile(r"[A-Za-z0-9_*#+-]{1,32}")


@frozen
class AmiConfig:
    """How to reach the Asterisk Manager Interface."""

    host: str = field(
        default="127.0.0.1",
        metadata=described("The host of Asterisk.", values="a name or an address"),
    )
    port: int = field(
        default=5038,
        validator=Within(1, 65535, "(a TCP port)"),
        metadata=described("The port of AMI."),
    )
    username: str = field(
        default="c2c-agent",
        validator=Shape(WORD, "a word without blanks"),
        metadata=described("The AMI user."),
    )
    secret_file: str = field(
        default="/etc/c2c-agent/ami.secret",
        metadata=described(
            "The file with the AMI user's secret. If systemd hands in a credential with this "
            "file's name, that is read instead.",
            values="a path",
        ),
    )
    tls: bool = field(default=False, metadata=described("Whether AMI is reached over TLS."))
    ca_file: str | None = field(
        default=None,
        metadata=described(
            "With `tls`: a file with the authorities, or the certificates themselves, that may "
            "vouch for Asterisk.",
            values="a path",
            default="the system's authorities",
        ),
    )

    def __attrs_post_init__(self) -> None:
        if self.ca_file is not None and not self.tls:
            raise ImpossibleValueError("has no effect without tls", "ca_file")


#: Where FastAGI connections are taken by default, beside HTTP's port. Not 4573, which Asterisk
#: connects to where a URL names no port (res/res_agi.c, AGI_PORT): the FastAGI servers of FreePBX
#: and Wazo have that. None of these, and no connector of vtiger's (5000, 4573), listens at 8475.
AGI_PORT: Final = 8475
_PORT_OF_AGI_URLS: Final = 4573


def _listen(agi: AgiConfig) -> str:
    """The listener where none is configured: at the port of the URL, if that is."""
    port = str(AGI_PORT)
    if agi.url is not None:
        named = _AGI_URL.fullmatch(agi.url)
        port = str((named and named["port"]) or _PORT_OF_AGI_URLS)
    return f"tcp:{port}:interface=127.0.0.1"


@frozen
class AgiConfig:
    """Where FastAGI connections are taken, and under which URL Asterisk finds that place.

    `url` None: made from `listen`.
    """

    url: str | None = field(
        default=None,
        validator=optional(Shape(_AGI_URL, f"a URL such as agi://127.0.0.1:{AGI_PORT}/c2c")),
        metadata=described(
            "Under which URL Asterisk finds that place. It is needed where Asterisk is on another "
            "host.",
            default="made from `listen`",
        ),
    )
    listen: str = field(
        default=Factory(_listen, takes_self=True),
        validator=Listens(("tcp", "tcp6")),
        metadata=described(
            "Where FastAGI connections are taken. Where only `url` is given, its port counts.",
            values="a Twisted endpoint: `tcp:` or `tcp6:`",
            default=f"`tcp:{AGI_PORT}:interface=127.0.0.1`",
        ),
    )


@frozen
class LegRule:
    """How a number that `match`es is dialled."""

    match: Pattern
    channel: str = field(
        validator=and_(Shape(_CHANNEL, "a dial string such as PJSIP/{number}"), is_template)
    )


#: The option of a Local channel by which it stays in the talk (core_local.c).
_STAYS: Final = "/n"


@frozen
class SecondLegRule(LegRule):
    """How a second number is dialled.

    `optimize`: whether the Local channel leaves the talk to the two who talk, once they do; None is
    what `channel` says itself.
    """

    optimize: bool | None = None

    @property
    def dial_string(self) -> str:
        """The template of what is dialled."""
        if self.optimize is None or not self.channel.startswith("Local/"):
            return self.channel
        without = self.channel.removesuffix(_STAYS)
        return without if self.optimize else without + _STAYS

    @property
    def optimizes(self) -> bool:
        """Whether a Local channel is dialled that leaves the talk."""
        return self.channel.startswith("Local/") and not self.dial_string.endswith(_STAYS)


def _first_leg() -> Sequence[LegRule]:
    channel = "Local/{number}@c2c-first/n"
    return tuple(LegRule(parse_pattern(text), channel) for text in ("_X.", "_!"))


def _second_leg() -> Sequence[SecondLegRule]:
    channel = "Local/{number}@{context}"
    return tuple(SecondLegRule(parse_pattern(text), channel) for text in ("_X.", "_!"))


@frozen
class DialAsConfig:
    """Contexts for `dial_as`: by extension, and for those that Asterisk knows no endpoint of."""

    contexts: Mapping[str, str] = field(
        factory=dict,
        validator=deep_mapping(Shape(_EXTENSION, "an extension"), is_context),
        metadata=described(
            "The context of a `dial_as`. It wins over what Asterisk says of the PJSIP endpoint.",
            values="extension: context",
        ),
    )
    default_context: str | None = field(
        default=None,
        validator=optional(is_context),
        metadata=described(
            "The context of a `dial_as` that is no PJSIP endpoint. Without one, such a call is "
            "refused with `unknown_dial_as`.",
            values="a context",
        ),
    )
    language: bool = field(
        default=False,
        metadata=described(
            "Whether calls are in the language of the `dial_as` endpoint. By default the second "
            "leg is in the PBX's."
        ),
    )
    set_var: Sequence[str] = field(
        default=(),
        validator=deep_iterable(
            Shape(_VARIABLE_NAME, "a variable's name (letters, digits, _) outside C2C_")
        ),
        metadata=described(
            "Variables that your dialplan takes from the caller's PJSIP endpoint (`set_var`), such "
            "as a class of service: the names as they stand in `pjsip.conf`. Calls get the values "
            "of the `dial_as` endpoint.",
            values="a list of names",
        ),
    )


@frozen
class AsteriskConfig:
    """The Asterisk beside the agent."""

    ami: AmiConfig = field(
        factory=AmiConfig,
        metadata=described("How the agent reaches the Asterisk Manager Interface."),
    )
    agi: AgiConfig = field(
        factory=AgiConfig, metadata=described("How Asterisk reaches the agent over FastAGI.")
    )
    bridge_context: str = field(
        default="c2c-bridge",
        validator=is_context,
        metadata=described(
            "The context in which the answered first leg lands.", values="a context"
        ),
    )
    first_leg: Sequence[LegRule] = field(
        factory=_first_leg,
        metadata=described(
            "How the first number is rung. The first entry whose `match` (a pattern) matches "
            "counts. In `channel`, `{number}`, `{context}` and `{dial_as}` stand for what they "
            "say. Use `Local/` channels: Originate rings any other by itself, and follows a phone "
            "that forwards calls.",
            values="list of `match` and `channel`",
            default="any number: `Local/{number}@c2c-first/n`",
        ),
    )
    second_leg: Sequence[SecondLegRule] = field(
        factory=_second_leg,
        metadata=described(
            "How the second number is rung, in the same way. `optimize` says whether the Local "
            "channel leaves the talk to the two phones: `true` makes a talk as light as an "
            "ordinary call, `false` keeps the channel, and with it what the context has set for "
            "the talk (the dialplan page says what). Without it, the channel stays where `channel` "
            "ends with `/n`.",
            values="list of `match`, `channel` and `optimize`",
            default="any number: `Local/{number}@{context}`",
        ),
    )
    dial_as: DialAsConfig = field(
        factory=DialAsConfig, metadata=described("Which contexts calls are placed through.")
    )
    variables: Mapping[str, str] = field(
        factory=dict,
        validator=deep_mapping(
            Shape(_VARIABLE_NAME, "a variable's name (letters, digits, _) outside C2C_"),
            and_(Shape(_VARIABLE_VALUE, "a text without quotes, commas or brackets"), is_template),
        ),
        metadata=described(
            "More channel variables for the first leg, with the same placeholders in their values. "
            "A name that begins with `__` is inherited by all channels of the call.",
            values="name: value",
        ),
    )
    confirm_prompt: str = field(
        default="followme/options",
        validator=Shape(_SOUNDS, "names of sound files without ending, joined by &"),
        metadata=described(
            "What is played, after a tone, to whoever answers a call that is to be confirmed: that "
            "1 accepts it, and 2 rejects it. The default is part of Asterisk's core sounds."
        ),
    )
    numbers: NumberPlan | None = field(
        default=None,
        metadata=described(
            "The number plan: how callers write numbers, and how this PBX wants them dialled. "
            "Without one every number is dialled as it is written. See the page on numbers."
        ),
    )
    freepbx: bool = field(
        default=False,
        metadata=described("Whether the call sets what FreePBX decides the class of service by."),
    )


#: Which events of agents a relay hears.
Events: TypeAlias = Literal["all", "mixed", "own"]


class OtherSection(NamedTuple):
    """What is configured for a PBX that is reached over HTTP, as it stands in the files.

    It is a language of its own, which `pbx.other.reading` understands: that needs to know `where`
    in the configuration it stands, and of which of the `files` each value is.
    """

    value: Mapping[str, Any]
    where: tuple[str | int, ...]
    files: Mapping[tuple[str | int, ...], str]


_ADDRESS: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?/?")
_FINGERPRINT: Final = re.compile(r"([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_ACCOUNT: Final = re.compile(r"[0-9]{1,12}")
_PLUS: Final = re.compile(r"strip|keep|[0-9]{1,6}")


@frozen
class TlsConfig:
    """What the certificate of a PBX must be (`net.tls.Trust`)."""

    ca_file: str | None = field(
        default=None,
        metadata=described(
            "A file with the authority that vouches for the PBX. Each Switchvox has its own.",
            values="a path",
            default="the system's authorities",
        ),
    )
    server_name: str | None = field(
        default=None,
        validator=optional(Shape(WORD, "a name or an address")),
        metadata=described(
            "The name or address in its certificate, where that is another.",
            default="the host of the URL",
        ),
    )
    sha256: str | None = field(
        default=None,
        validator=optional(Shape(_FINGERPRINT, "64 hexadecimal digits, perhaps with colons")),
        metadata=described(
            "The fingerprint of its certificate. It alone decides where no authority stands "
            "beside it."
        ),
    )


def _is_address(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: scheme, host and port alone; without TLS only to this host."""
    if _ADDRESS.fullmatch(value) is None:
        advice = "must be a URL of scheme, host and port alone, such as https://pbx.example.com"
        raise ImpossibleValueError(advice, attribute.name)  # not shown: it may hold a password
    parts = urlsplit(value)
    try:
        possible = parts.port != 0
    except ValueError:
        possible = False
    if not possible:
        raise ImpossibleValueError("must have a port from 1 to 65535", attribute.name)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ImpossibleValueError(
            "must begin with https://; it carries a password", attribute.name
        )


@frozen
class SwitchvoxConfig:
    """A Switchvox, reached over its Extend API.

    `login` extension: with the name and password of an extension, which may do less. `accounts`:
    the account ids of extensions, which are looked up otherwise. `plus`: what becomes of a leading
    +; it is stripped, kept, or replaced with these digits. `follow`: its list of current calls is
    looked at while a call lasts; `call_logs`: its log afterwards. `max_pending` orders at most may
    wait for an answer at once.
    """

    url: str = field(
        validator=_is_address,
        metadata=described(
            "Where the PBX is: https, its name or address, and a port where it is not 443.",
            values="a URL",
        ),
    )
    username: str = field(
        validator=Shape(WORD, "a word without blanks"),
        metadata=described(
            "An account of the agent's own. It needs read and write on Manage Extensions, and the "
            "reports to see the log."
        ),
    )
    password_file: str = field(
        metadata=described(
            "The file with its password. If systemd hands in a credential with this file's name, "
            "that is read instead.",
            values="a path",
        )
    )
    login: Literal["admin", "extension"] = field(
        default="admin",
        metadata=described(
            "Whose account that is. With an extension's, calls are placed, but neither followed "
            "nor cancelled."
        ),
    )
    tls: TlsConfig = field(
        factory=TlsConfig, metadata=described("What the certificate of the PBX must be.")
    )
    auth: Literal["auto", "basic", "digest"] = field(
        default="auto",
        metadata=described("How the agent shows who it is. `auto`: as the PBX wants it."),
    )
    accounts: Mapping[str, str] = field(
        factory=dict,
        validator=deep_mapping(
            Shape(_EXTENSION, "an extension"), Shape(_ACCOUNT, "an account id, in quotes")
        ),
        metadata=described(
            "Account ids of extensions. They are looked up otherwise.",
            values="extension: account id",
        ),
    )
    ignore_user_call_rules: bool = field(
        default=True,
        metadata=described(
            "Whether the first phone is rung without its call rules, so that no voice mail "
            "answers it."
        ),
    )
    ignore_user_api_settings: bool = field(
        default=False,
        metadata=described(
            "Whether numbers are dialled as they are, without what the account's call API "
            "settings put before them."
        ),
    )
    second_timeout: bool = field(
        default=True,
        metadata=described("Whether the PBX is told how long the second phone may ring."),
    )
    plus: str = field(
        default="strip",
        validator=Shape(_PLUS, "strip, keep, or 1 to 6 digits in quotes"),
        metadata=described("What becomes of a leading `+`."),
    )
    follow: bool = field(
        default=True,
        metadata=described(
            "Whether the list of current calls is looked at while a call lasts. Without it, "
            "nothing is known of the second phone, and no call can be cancelled."
        ),
    )
    call_logs: bool = field(
        default=True,
        metadata=described("Whether the log is asked afterwards who talked."),
    )
    max_pending: int = field(
        default=20,
        validator=Within(1, 1000, "orders"),
        metadata=described("How many orders may wait for the PBX's answer at once."),
    )

    @property
    def host(self) -> str:
        """Where it is."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The TCP port there."""
        parts = urlsplit(self.url)
        return parts.port or (443 if self.has_tls else 80)

    @property
    def has_tls(self) -> bool:
        """Whether it is reached over TLS."""
        return urlsplit(self.url).scheme == "https"

    @property
    def is_followed(self) -> bool:
        """Whether its list can be looked at; an extension may not."""
        return self.follow and self.login == "admin"


@frozen
class PbxConfig:
    """One PBX among several: the section of its kind, and its own limits.

    `max_concurrent` calls at most may be in progress on it; None: it has no limit of its own.
    """

    asterisk: AsteriskConfig | None = field(
        default=None,
        metadata=described(
            "An Asterisk, with the settings of the section `asterisk`. `{}` has their defaults.",
            values="a mapping",
        ),
    )
    switchvox: SwitchvoxConfig | None = field(
        default=None,
        metadata=described(
            "A Switchvox, with the settings of the section `switchvox`.", values="a mapping"
        ),
    )
    other: OtherSection | None = field(
        default=None,
        metadata=described(
            "A PBX over HTTP, with the settings of the section `other`.", values="a mapping"
        ),
    )
    max_concurrent: int | None = field(
        default=None,
        validator=optional(Within(1, 100_000, "calls")),
        metadata=described(
            "How many calls may be in progress on this PBX at once.",
            values="1 to 100000 calls",
            default="no limit of its own",
        ),
    )

    def __attrs_post_init__(self) -> None:
        if len(self._sections) != 1:
            raise ImpossibleValueError(f"must have exactly one of {', '.join(PBX_KINDS)}")

    @property
    def _sections(self) -> Mapping[str, object]:
        there = {kind: getattr(self, kind) for kind in PBX_KINDS}
        return {kind: section for kind, section in there.items() if section is not None}

    @property
    def kind(self) -> str:
        """Which of `PBX_KINDS` it is."""
        (kind,) = self._sections
        return kind


@frozen
class RelayConfig:
    """Calls are given to agents beside PBXs elsewhere, over the broker.

    `answer_timeout`: seconds that an agent has to answer; later than that it rings nobody.
    `events`: `own` has agents tell this relay alone of its calls; `mixed` does so, and hears those
    of older agents, too; `all` asks for nothing, and hears all events of all agents.
    """

    answer_timeout: int = field(
        default=10,
        validator=Within(2, 120, "seconds"),
        metadata=described(
            "How long an agent has to answer. A call that it hears of later rings nobody."
        ),
    )
    events: Events = field(
        default="all",
        metadata=described(
            "Which events of agents come to this relay. `all`: those of all calls, whichever relay "
            "placed them. `own`: those of its own calls alone; its cost does not grow with the "
            "number of relays then. All agents have to be of version 0.2 for that, and their "
            "topic permission at the broker has to allow the relay's `server_id` at the end of "
            "the routing key. `mixed`: its own, and those of agents of version 0.1. On the way "
            "from `all` to `own` it is needed until the calls of before have ended."
        ),
    )
