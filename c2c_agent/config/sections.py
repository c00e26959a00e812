"""The configuration: one frozen section for each part of the YAML.

Pure data with the rules that each value must keep. `configparse` makes a Config from parsed YAML,
`configfile` from files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from attrs import Attribute, field, fields, frozen, has
from attrs.validators import and_, deep_mapping, optional

from c2c_agent.policy.keys import AGENT_ID, OPERATOR, Key
from c2c_agent.policy.pattern import Pattern, parse_pattern

#: What may stand in a template of a dial string or a variable.
_PLACEHOLDER: Final = re.compile(r"\{(number|context|dial_as)\}")

#: A dialplan context, as Asterisk bounds it (AST_MAX_CONTEXT) and without what separates contexts.
CONTEXT: Final = re.compile(r"[A-Za-z0-9_.-]{1,79}")
_CHANNEL: Final = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_.@:/+*#{}-]+")
_VARIABLE_NAME: Final = re.compile(r"_{0,2}(?!C2C_)[A-Za-z][A-Za-z0-9_]*")
_VARIABLE_VALUE: Final = re.compile(r"[A-Za-z0-9 _.@:/+*#;=<>{}-]*")
_URL: Final = re.compile(r"https?://[!-~]{1,500}")
_AGI_URL: Final = re.compile(r"agi://[!-+\--~]{1,200}")
_WORD: Final = re.compile(r"[!-~]{1,253}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SOUNDS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*(&[A-Za-z0-9_][A-Za-z0-9_./-]*)*")
_DATABASE: Final = re.compile(r"postgres(ql)?://[!-~]{1,500}")
_PREFIX: Final = re.compile(r"[0-9]{1,6}")
_USUAL_PREFIX: Final[str | None] = "00"  # ITU-T E.164; North America dials 011
_EXTENSION: Final = re.compile(r"[A-Za-z0-9_*#+-]{1,32}")


#: What receivers of results can be told of (`report.EventType`).
EventName: TypeAlias = Literal[
    "call.accepted",
    "call.rejected",
    "call.first_ringing",
    "call.first_answered",
    "call.second_ringing",
    "call.connected",
    "call.ended",
]


class ImpossibleValueError(ValueError):
    """A value that cannot be: what would be right, and `where` in its section it stands."""

    def __init__(self, advice: str, *where: str | int) -> None:
        super().__init__(advice)
        self.where = where


_Validator: TypeAlias = Callable[[Any, Any, Any], None]


def _shape(regex: re.Pattern[str], words: str) -> _Validator:
    """A validator: the whole text has a shape, which `words` describe."""

    def check(_instance: object, attribute: Attribute[Any], value: str) -> None:
        if regex.fullmatch(value) is None:
            raise ImpossibleValueError(f"must be {words}, not {value!r}", attribute.name)

    return check


def _range(low: int, high: int, unit: str) -> _Validator:
    """A validator: a number from `low` to `high`."""

    def check(_instance: object, attribute: Attribute[Any], value: int) -> None:
        if not low <= value <= high:
            advice = f"must be from {low} to {high} {unit}, not {value}"
            raise ImpossibleValueError(advice, attribute.name)

    return check


def _template(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: a text with `{number}`, `{context}`, `{dial_as}` in it, and no other braces."""
    if not {"{", "}"}.isdisjoint(_PLACEHOLDER.sub("", value)):
        raise ImpossibleValueError(
            f"may have only {{number}}, {{context}} and {{dial_as}} in braces, unlike {value!r}",
            attribute.name,
        )


def _networks(_instance: object, attribute: Attribute[Any], value: Sequence[str]) -> None:
    """A validator: each is an address or a network."""
    for index, text in enumerate(value):
        try:
            ip_network(text)
        except ValueError as error:
            advice = f"must be an address or a network such as 192.0.2.0/24: {error}"
            raise ImpossibleValueError(advice, attribute.name, index) from None


_agent_id = _shape(AGENT_ID, "1 to 64 letters, digits, _, . or -")
_context = _shape(CONTEXT, "the name of a dialplan context")


_DEFAULT_PATH: Final = "/var/lib/c2c-agent/c2c.sqlite3"


def _database(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: the URL of a PostgreSQL database, without a password in it."""
    if _DATABASE.fullmatch(value) is None:
        advice = "must be a URL such as postgresql://c2c-agent@db.example.com/c2c"
        raise ImpossibleValueError(advice, attribute.name)  # not shown: it may hold a password
    parts = urlsplit(value)
    if parts.password is not None or "password" in parse_qs(parts.query):
        advice = "must have no password in it; give it a file of its own, password_file"
        raise ImpossibleValueError(advice, attribute.name)


@frozen
class StoreConfig:
    """Where requests are kept, and for how many days after their end.

    `url` is that of a PostgreSQL database, which several relays may share, in the place of the file
    `path`; None: there is only the file. `directory` is then where this host's own files are.
    """

    path: str | None = None
    url: str | None = field(default=None, validator=optional(_database))
    password_file: str | None = None
    directory: str = "/var/lib/c2c-agent"
    keep_days: int = field(default=90, validator=_range(7, 36500, "days"))

    def __attrs_post_init__(self) -> None:
        if self.url is not None and self.path is not None:
            advice = "must not be given beside url: the store is one or the other"
            raise ImpossibleValueError(advice, "path")
        if self.url is None and self.password_file is not None:
            raise ImpossibleValueError("is of no use without url", "password_file")

    @property
    def file(self) -> str:
        """The file, where it is one."""
        return self.path or _DEFAULT_PATH


@frozen
class HttpConfig:
    """The HTTP API. `public_url` None: status URLs start as the request's own did.

    `trusted_proxies` are the addresses and networks whose word counts for who the client is.
    `max_connections`: how many clients may be connected at once, those with streams among them.
    `max_streams` of live events may there be at once, `max_streams_each` of one key or address, and
    `stream_buffer` bytes may wait for each.
    """

    listen: str = "tcp:8470:interface=127.0.0.1"
    public_url: str | None = field(
        default=None, validator=optional(_shape(_URL, "a URL that starts with http:// or https://"))
    )
    status_requires_key: bool = False
    trusted_proxies: Sequence[str] = field(factory=tuple, validator=_networks)
    max_streams: int = field(default=500, validator=_range(1, 100_000, "streams"))
    max_streams_each: int = field(default=50, validator=_range(1, 100_000, "streams"))
    stream_buffer: int = field(default=524_288, validator=_range(16_384, 2**30, "bytes"))
    max_connections: int = field(default=1000, validator=_range(10, 100_000, "connections"))


@frozen
class AmiConfig:
    """How to reach the Asterisk Manager Interface."""

    host: str = "127.0.0.1"
    port: int = field(default=5038, validator=_range(1, 65535, "(a TCP port)"))
    username: str = field(default="c2c-agent", validator=_shape(_WORD, "a word without blanks"))
    secret_file: str = "/etc/c2c-agent/ami.secret"  # noqa: S105 - a path
    tls: bool = False


@frozen
class AgiConfig:
    """Where FastAGI connections are taken, and under which URL Asterisk finds that place.

    `url` None: made from `listen`.
    """

    listen: str = "tcp:4573:interface=127.0.0.1"
    url: str | None = field(
        default=None, validator=optional(_shape(_AGI_URL, "a URL such as agi://127.0.0.1:4573/c2c"))
    )


@frozen
class LegRule:
    """How a number that `match`es is dialled."""

    match: Pattern
    channel: str = field(
        validator=and_(_shape(_CHANNEL, "a dial string such as PJSIP/{number}"), _template)
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
        factory=dict, validator=deep_mapping(_shape(_EXTENSION, "an extension"), _context)
    )
    default_context: str | None = field(default=None, validator=optional(_context))


@frozen
class AsteriskConfig:
    """The Asterisk beside the agent."""

    ami: AmiConfig = field(factory=AmiConfig)
    agi: AgiConfig = field(factory=AgiConfig)
    bridge_context: str = field(default="c2c-bridge", validator=_context)
    first_leg: Sequence[LegRule] = field(factory=_first_leg)
    second_leg: Sequence[LegRule] = field(factory=_second_leg)
    dial_as: DialAsConfig = field(factory=DialAsConfig)
    variables: Mapping[str, str] = field(
        factory=dict,
        validator=deep_mapping(
            _shape(_VARIABLE_NAME, "a variable's name (letters, digits, _) outside C2C_"),
            and_(_shape(_VARIABLE_VALUE, "a text without quotes, commas or brackets"), _template),
        ),
    )
    confirm_prompt: str = field(
        default="followme/options",
        validator=_shape(_SOUNDS, "names of sound files without ending, joined by &"),
    )
    freepbx: bool = False


@frozen
class AmqpConfig:
    """The message broker, and what is done over it.

    `agent_id` None: the server_id. `jobs_key` is the name of the key to whose policy jobs are held;
    None: no jobs are taken. `prefetch`: how many at once. `results`: whether events are published.
    """

    host: str = field(validator=_shape(_WORD, "a host's name or address"))
    port: int = field(default=5671, validator=_range(1, 65535, "(a TCP port)"))
    virtual_host: str = "/"
    username: str = field(default="c2c-agent", validator=_shape(_WORD, "a word without blanks"))
    password_file: str | None = None
    tls: bool = True
    ca_file: str | None = None
    certificate_file: str | None = None
    private_key_file: str | None = None
    agent_id: str | None = field(default=None, validator=optional(_agent_id))
    jobs_key: str | None = None
    prefetch: int = field(default=50, validator=_range(1, 1000, "jobs"))
    results: bool = True

    def __attrs_post_init__(self) -> None:
        if (self.certificate_file is None) is not (self.private_key_file is None):
            advice = "must be given together with private_key_file"
            raise ImpossibleValueError(advice, "certificate_file")
        if (self.certificate_file is None) is (self.password_file is None):
            advice = "must be given, or certificate_file and private_key_file, and not both"
            raise ImpossibleValueError(advice, "password_file")
        if self.certificate_file is not None and not self.tls:
            raise ImpossibleValueError("must be true for a client certificate", "tls")


@frozen
class RelayConfig:
    """Calls are given to agents beside PBXs elsewhere, over the broker.

    `answer_timeout`: seconds that an agent has to answer; later than that it rings nobody.
    """

    answer_timeout: int = field(default=10, validator=_range(2, 120, "seconds"))


@frozen
class CallsConfig:
    """Limits of every call: seconds of ringing, calls at once, seconds of talk.

    `international_prefix`: what is dialled for a leading `+`; None: nothing is.
    """

    timeout: int = field(default=30, validator=_range(1, 3600, "seconds"))
    max_timeout: int = field(default=120, validator=_range(1, 3600, "seconds"))
    max_concurrent: int = field(default=200, validator=_range(1, 100_000, "calls"))
    max_duration: int = field(default=14400, validator=_range(1, 86400, "seconds"))
    international_prefix: str | None = field(
        default=_USUAL_PREFIX, validator=optional(_shape(_PREFIX, "1 to 6 digits, in quotes"))
    )

    def __attrs_post_init__(self) -> None:
        if self.timeout > self.max_timeout:
            advice = f"must be at most max_timeout ({self.max_timeout}), not {self.timeout}"
            raise ImpossibleValueError(advice, "timeout")


@frozen
class LogConfig:
    """How much is logged, and whether numbers are shown in full."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    numbers: Literal["masked", "full"] = "masked"


def _receiver(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: the URL has a host, perhaps a port, and no password in it."""
    try:
        parts = urlsplit(value)
        possible = bool(parts.hostname) and parts.port != 0
    except ValueError:
        possible = False
    # The value is not shown: it may hold a password.
    if not possible:
        advice = "must have a host, and a port from 1 to 65535 where it names one"
        raise ImpossibleValueError(advice, attribute.name)
    if "@" in parts.netloc:
        advice = "must have no user and password in it; the receiver knows us by the signature"
        raise ImpossibleValueError(advice, attribute.name)


@frozen
class WebhookConfig:
    """A receiver of results over HTTP. `types` and `keys` None: events of all of them.

    `secret_file` has one secret in a line, the newest first; `timeout` is in seconds.
    """

    name: str = field(validator=_shape(_NAME, "1 to 64 letters, digits, _, . or -"))
    url: str = field(
        validator=and_(_shape(_URL, "a URL that starts with http:// or https://"), _receiver)
    )
    secret_file: str
    types: Sequence[EventName] | None = None
    keys: Sequence[str] | None = None
    timeout: int = field(default=15, validator=_range(1, 60, "seconds"))


def _distinct_names(
    _instance: object, attribute: Attribute[Any], named: Sequence[Key | WebhookConfig]
) -> None:
    """A validator: each has a name of its own, and none that of the agent's host."""
    names = [one.name for one in named]
    for index, name in enumerate(names):
        if name in names[:index]:
            advice = f"each needs a name of its own; {name!r} stands there twice"
            raise ImpossibleValueError(advice, attribute.name, index)
        if name == OPERATOR:
            advice = f"{name!r} is the agent's own name for its host's key; take another"
            raise ImpossibleValueError(advice, attribute.name, index)


@frozen
class Config:
    """The whole configuration."""

    server_id: str = field(validator=_shape(_WORD, "a word without blanks"))
    store: StoreConfig = field(factory=StoreConfig)
    http: HttpConfig = field(factory=HttpConfig)
    asterisk: AsteriskConfig | None = field(factory=AsteriskConfig)
    amqp: AmqpConfig | None = None
    relay: RelayConfig | None = None
    calls: CallsConfig = field(factory=CallsConfig)
    keys: Sequence[Key] = field(factory=tuple, validator=_distinct_names)
    webhooks: Sequence[WebhookConfig] = field(factory=tuple, validator=_distinct_names)
    log: LogConfig = field(factory=LogConfig)

    def __attrs_post_init__(self) -> None:
        names = {OPERATOR, *(key.name for key in self.keys)}
        if self.store.url is not None and self.asterisk is not None:
            advice = "must be false beside store.url: that store is for relays"
            raise ImpossibleValueError(advice, "asterisk")
        for index, webhook in enumerate(self.webhooks):
            for name in webhook.keys or ():
                # Of the keys in a database nothing is known here.
                if name not in names and self.store.url is None:
                    advice = f"there is no key with the name {name!r}"
                    raise ImpossibleValueError(advice, "webhooks", index, "keys")
        self._check_broker(names - {OPERATOR})

    def _check_broker(self, keys: Collection[str]) -> None:
        if self.amqp is not None and self.amqp.jobs_key not in {None, *keys}:
            advice = f"there is no key with the name {self.amqp.jobs_key!r}"
            raise ImpossibleValueError(advice, "amqp", "jobs_key")
        if self.relay is not None and self.amqp is None:
            raise ImpossibleValueError("needs the section amqp", "relay")
        if self.relay is not None and self.asterisk is not None:
            advice = "must be false beside relay: a call goes to one or the other"
            raise ImpossibleValueError(advice, "asterisk")


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The dotted names of the settings in which two configurations differ."""
    if type(old) is type(new) and has(type(old)):
        for attribute in fields(type(old)):
            name = f"{path}.{attribute.name}".lstrip(".")
            yield from differences(getattr(old, attribute.name), getattr(new, attribute.name), name)
    elif old != new:
        yield path


def tcp_address(listen: str) -> str | None:
    """Where a Twisted endpoint such as `tcp:4573:interface=127.0.0.1` is reached from its own host.

    As `host:port`; None for one that is no TCP listener.
    """
    kind, _, rest = listen.partition(":")
    fields = [field.replace("\0", ":") for field in rest.replace("\\:", "\0").split(":")]
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    port = named.get("port", fields[0])
    if kind not in {"tcp", "tcp6", "ssl"} or not port.isdigit():
        return None
    host = named.get("interface", "")
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
