"""The configuration: one frozen section for each part of the YAML.

Pure data with the rules that each value must keep. `parse` makes a Config from parsed YAML, `files`
from files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from attrs import Attribute, field, fields, frozen, has
from attrs.validators import and_, optional

from c2c_agent.config.pbx import (
    AsteriskConfig,
    RelayConfig,
)
from c2c_agent.config.rules import (
    NAME,
    WORD,
    ImpossibleValueError,
    are_networks,
    is_agent_id,
    shape,
    within,
)
from c2c_agent.policy.keys import OPERATOR, Key

_URL: Final = re.compile(r"https?://[!-~]{1,500}")
_DATABASE: Final = re.compile(r"postgres(ql)?://[!-~]{1,500}")
_PREFIX: Final = re.compile(r"[0-9]{1,6}")
_USUAL_PREFIX: Final[str | None] = "00"  # ITU-T E.164; North America dials 011
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
    keep_days: int = field(default=90, validator=within(7, 36500, "days"))

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
        default=None, validator=optional(shape(_URL, "a URL that starts with http:// or https://"))
    )
    status_requires_key: bool = False
    trusted_proxies: Sequence[str] = field(factory=tuple, validator=are_networks)
    max_streams: int = field(default=500, validator=within(1, 100_000, "streams"))
    max_streams_each: int = field(default=50, validator=within(1, 100_000, "streams"))
    stream_buffer: int = field(default=524_288, validator=within(16_384, 2**30, "bytes"))
    max_connections: int = field(default=1000, validator=within(10, 100_000, "connections"))


@frozen
class AmqpConfig:
    """The message broker, and what is done over it.

    `agent_id` None: the server_id. `jobs_key` is the name of the key to whose policy jobs are held;
    None: no jobs are taken. `prefetch`: how many at once. `results`: whether events are published.
    """

    host: str = field(validator=shape(WORD, "a host's name or address"))
    port: int = field(default=5671, validator=within(1, 65535, "(a TCP port)"))
    virtual_host: str = "/"
    username: str = field(default="c2c-agent", validator=shape(WORD, "a word without blanks"))
    password_file: str | None = None
    tls: bool = True
    ca_file: str | None = None
    certificate_file: str | None = None
    private_key_file: str | None = None
    agent_id: str | None = field(default=None, validator=optional(is_agent_id))
    jobs_key: str | None = None
    prefetch: int = field(default=50, validator=within(1, 1000, "jobs"))
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
class CallsConfig:
    """Limits of every call: seconds of ringing, calls at once, seconds of talk.

    `international_prefix`: what is dialled for a leading `+`; None: nothing is.
    """

    timeout: int = field(default=30, validator=within(1, 3600, "seconds"))
    max_timeout: int = field(default=120, validator=within(1, 3600, "seconds"))
    max_concurrent: int = field(default=200, validator=within(1, 100_000, "calls"))
    max_duration: int = field(default=14400, validator=within(1, 86400, "seconds"))
    international_prefix: str | None = field(
        default=_USUAL_PREFIX, validator=optional(shape(_PREFIX, "1 to 6 digits, in quotes"))
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

    name: str = field(validator=shape(NAME, "1 to 64 letters, digits, _, . or -"))
    url: str = field(
        validator=and_(shape(_URL, "a URL that starts with http:// or https://"), _receiver)
    )
    secret_file: str
    types: Sequence[EventName] | None = None
    keys: Sequence[str] | None = None
    timeout: int = field(default=15, validator=within(1, 60, "seconds"))


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

    server_id: str = field(validator=shape(WORD, "a word without blanks"))
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
