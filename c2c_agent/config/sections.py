"""The configuration: one frozen section for each part of the YAML.

Pure data with the rules that each value must keep. `parse` makes a Config from parsed YAML, `files`
from files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from attrs import Attribute, Factory, field, fields, frozen, has
from attrs.validators import and_, deep_mapping, optional

from c2c_agent.call.job import PBX_KINDS
from c2c_agent.config.pbx import (
    AsteriskConfig,
    OtherSection,
    PbxConfig,
    RelayConfig,
    SwitchvoxConfig,
)
from c2c_agent.config.rules import (
    NAME,
    WORD,
    ImpossibleValueError,
    Listens,
    Shape,
    Within,
    are_networks,
    is_agent_id,
)
from c2c_agent.errors import ConfigError
from c2c_agent.policy.keys import OPERATOR, Key
from c2c_agent.text import described

_URL: Final = re.compile(r"https?://[!-~]{1,500}")
_DATABASE: Final = re.compile(r"postgres(ql)?://[!-~]{1,500}")
_PREFIX: Final = re.compile(r"[0-9]{1,6}")
_USUAL_PREFIX: Final[str | None] = "00"  # ITU-T E.164; North America dials 011
#: The words in which receivers of results can be told (`report.formats`).
FormatName: TypeAlias = Literal["standard", "zammad"]

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

    path: str | None = field(
        default=None,
        metadata=described(
            "The file of the SQLite store.",
            values="a path",
            default="`/var/lib/c2c-agent/c2c.sqlite3`",
        ),
    )
    url: str | None = field(
        default=None,
        validator=optional(_database),
        metadata=described(
            "A PostgreSQL database in the place of the file. Several relays may share it: each has "
            "a `server_id` of its own, and any of them answers for the calls of all. Parameters "
            "are libpq's; no password may be in it. It needs `asterisk: false`.",
            values="a URL such as `postgresql://c2c@db.example.com/c2c?sslmode=verify-full`",
        ),
    )
    password_file: str | None = field(
        default=None,
        metadata=described(
            "The file with the password for `store.url`, or a systemd credential of the file's "
            "name.",
            values="a path",
        ),
    )
    directory: str = field(
        default="/var/lib/c2c-agent",
        metadata=described(
            "With `store.url`: where this host's own files are, such as the key of its command "
            "line.",
            values="a path",
        ),
    )
    keep_days: int = field(
        default=90,
        validator=Within(7, 36500, "days"),
        metadata=described(
            "How long requests are kept after their end. Then they are forgotten, and a "
            "`request_id` is new again."
        ),
    )

    def __attrs_post_init__(self) -> None:
        if self.url is not None and self.path is not None:
            advice = "must not be given beside url: the store is one or the other"
            raise ImpossibleValueError(advice, "path")
        if self.url is None and self.password_file is not None:
            raise ImpossibleValueError("has no effect without url", "password_file")

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
    `stream_buffer` bytes may wait for each. `token_secret_file` None: the agent makes a
    secret, unless several relays share its store.
    """

    listen: str = field(
        default="tcp:8470:interface=127.0.0.1",
        validator=Listens(("tcp", "tcp6", "ssl", "unix")),
        metadata=described(
            "Where requests are taken. An `ssl:` listener shows a renewed certificate after a "
            "reload. A `unix:` one has the mode 660, unless it names another.",
            values="a Twisted endpoint: `tcp:`, `tcp6:`, `ssl:` or `unix:`",
        ),
    )
    public_url: str | None = field(
        default=None,
        validator=optional(Shape(_URL, "a URL that starts with http:// or https://")),
        metadata=described(
            "What the URLs of statuses begin with.", default="taken from each request"
        ),
    )
    status_requires_key: bool = field(
        default=False,
        metadata=described("Whether a status needs the key as well as the id of the request."),
    )
    trusted_proxies: Sequence[str] = field(
        factory=tuple,
        validator=are_networks,
        metadata=described(
            "Reverse proxies whose `X-Forwarded-For` is believed. `unix` stands for whoever "
            "connects to a `unix:` listener.",
            values="list of addresses, networks and `unix`",
        ),
    )
    max_streams: int = field(
        default=500,
        validator=Within(1, 100_000, "streams"),
        metadata=described("How many streams of live events may be open at once."),
    )
    max_streams_each: int = field(
        default=50,
        validator=Within(1, 100_000, "streams"),
        metadata=described("How many of them one key may have; without a key, one address."),
    )
    stream_buffer: int = field(
        default=524_288,
        validator=Within(16_384, 2**30, "bytes"),
        metadata=described(
            "How much may wait for a client that does not read. Beyond that its stream is cut."
        ),
    )
    token_secret_file: str | None = field(
        default=None,
        metadata=described(
            "The file with the secret that tokens are signed with: one secret of at least 32 "
            "characters in a line. The first signs, and all are accepted: to change it, put a new "
            "line on top, reload every relay, and take the old line out after 12 hours. Relays "
            "that share a store need the same file.",
            default="a secret that the agent makes, in `token.secret` beside its store",
        ),
    )
    max_connections: int = field(
        default=1000,
        validator=Within(10, 100_000, "connections"),
        metadata=described(
            "How many clients may be connected at once. If one more connects, an idle one makes "
            "room; if none is idle, the new one is refused with 503 and `Retry-After`."
        ),
    )


@frozen
class AmqpConfig:
    """The message broker, and what is done over it.

    `agent_id` None: the server_id. `jobs_key` is the name of the key to whose policy jobs are held;
    None: no jobs are taken. `jobs_pbxs` are the PBXs that they may name beside that of the key.
    `prefetch`: how many at once. `results`: whether events are published.
    """

    host: str = field(
        validator=Shape(WORD, "a host's name or address"),
        metadata=described("The broker, a RabbitMQ.", values="a name or an address"),
    )
    port: int = field(
        default=5671,
        validator=Within(1, 65535, "(a TCP port)"),
        metadata=described("The port of the broker."),
    )
    virtual_host: str = field(
        default="/", metadata=described("The virtual host at the broker.", values="text")
    )
    username: str = field(
        default="c2c-agent",
        validator=Shape(WORD, "a word without blanks"),
        metadata=described("The user, for a login by password."),
    )
    password_file: str | None = field(
        default=None,
        metadata=described(
            "The file with the user's password, or a systemd credential of the file's name.",
            values="a path",
        ),
    )
    tls: bool = field(default=True, metadata=described("Whether the connection is encrypted."))
    ca_file: str | None = field(
        default=None,
        metadata=described(
            "A file with the authorities that may vouch for the broker.",
            values="a path",
            default="the system's authorities",
        ),
    )
    certificate_file: str | None = field(
        default=None,
        metadata=described(
            "A certificate, for a login without a password. The broker takes the name from it.",
            values="a path",
        ),
    )
    private_key_file: str | None = field(
        default=None, metadata=described("The key of that certificate.", values="a path")
    )
    agent_id: str | None = field(
        default=None,
        validator=optional(is_agent_id),
        metadata=described(
            "Under which name the agent takes jobs (from the queue `c2c.jobs.<agent_id>`) and "
            "publishes events.",
            default="the `server_id`",
        ),
    )
    jobs_key: str | None = field(
        default=None,
        metadata=described(
            "The name of the key to whose policy jobs are held. Without one, no jobs are taken.",
            values="name of a key",
        ),
    )
    jobs_pbxs: Sequence[str] = field(
        default=(),
        metadata=described(
            "The PBXs that a job may name, as a relay's key does (`keys[].pbx`). A job that names "
            "none goes to the PBX that `jobs_key` means. A job may name that one, too, and no "
            "others. If `jobs_key` has `pbx`, the kinds that it does not name stay refused.",
            values="list of names of PBXs",
            default="none beside that of `jobs_key`",
        ),
    )
    prefetch: int = field(
        default=50,
        validator=Within(1, 1000, "jobs"),
        metadata=described("How many jobs are taken in at once."),
    )
    results: bool = field(default=True, metadata=described("Whether events are published."))

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

    timeout: int = field(
        default=30,
        validator=Within(1, 3600, "seconds"),
        metadata=described("How long each leg rings, where a request does not say it."),
    )
    max_timeout: int = field(
        default=120,
        validator=Within(1, 3600, "seconds"),
        metadata=described("How long each leg may ring at most."),
    )
    max_concurrent: int = field(
        default=200,
        validator=Within(1, 100_000, "calls"),
        metadata=described("How many calls may be in progress at once, all keys together."),
    )
    max_duration: int = field(
        default=14400,
        validator=Within(1, 86400, "seconds"),
        metadata=described("The longest talk. The PBX ends it, whether the agent is there or not."),
    )
    international_prefix: str | None = field(
        default=_USUAL_PREFIX,
        validator=optional(Shape(_PREFIX, "1 to 6 digits, in quotes")),
        metadata=described(
            'What is dialled in the place of a leading `+`; North America has `"011"`. A number '
            "that a key's `deny` has in one of the two forms is denied in the other, too. With "
            "`null` the forms have nothing in common.",
            values="1 to 6 digits in quotes, or null",
            default='`"00"`',
        ),
    )

    def __attrs_post_init__(self) -> None:
        if self.timeout > self.max_timeout:
            advice = f"must be at most max_timeout ({self.max_timeout}), not {self.timeout}"
            raise ImpossibleValueError(advice, "timeout")


@frozen
class LogConfig:
    """How much is logged, and whether numbers are shown in full."""

    level: Literal["debug", "info", "warn", "error"] = field(
        default="info", metadata=described("How much is logged.")
    )
    numbers: Literal["masked", "full"] = field(
        default="masked", metadata=described("Whether telephone numbers are shown in the log.")
    )


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

    name: str = field(
        validator=Shape(NAME, "1 to 64 letters, digits, _, . or -"),
        metadata=described(
            "The name of the receiver, for the log, metrics and `c2c-agent replay`."
        ),
    )
    url: str = field(
        validator=and_(Shape(_URL, "a URL that starts with http:// or https://"), _receiver),
        metadata=described("Where events are sent."),
    )
    secret_file: str = field(
        metadata=described(
            "The file with the secrets that sign: one `whsec_…` in a line, the newest first.",
            values="a path",
        )
    )
    types: Sequence[EventName] | None = field(
        default=None,
        metadata=described("Which events are sent.", values="list of events", default="all"),
    )
    keys: Sequence[str] | None = field(
        default=None,
        metadata=described("Of which keys' calls.", values="list of names of keys", default="all"),
    )
    format: FormatName = field(
        default="standard",
        metadata=described(
            "In which words the receiver is told. `standard`: the events of this program, signed. "
            "`zammad`: `newCall`, `answer` and `hangup` of Zammad's CTI (generic). Then `url` ends "
            "before the token of Zammad's endpoint, `secret_file` holds this token, and nothing is "
            "signed.",
            values="`standard` or `zammad`",
        ),
    )
    timeout: int = field(
        default=15,
        validator=Within(1, 60, "seconds"),
        metadata=described("How long the receiver has for an answer."),
    )

    def __attrs_post_init__(self) -> None:
        if self.format != "standard" and self.types is not None:
            advice = f"must not be given beside format: {self.format}, which has types of its own"
            raise ImpossibleValueError(advice, "types")


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


def _distinct_hashes(_instance: object, attribute: Attribute[Any], keys: Sequence[Key]) -> None:
    """A validator: no two keys have one secret, for nobody could say whose policy counts."""
    known: dict[str, str] = {}
    for index, key in enumerate(keys):
        if key.sha256 in known:
            advice = f"is that of the key {known[key.sha256]!r}; make one with c2c-agent key new"
            raise ImpossibleValueError(advice, attribute.name, index, "sha256")
        known[key.sha256] = key.name


def _no_kind(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: a PBX has no name that its section alone would give it."""
    if value in PBX_KINDS:
        advice = f"{value!r} is the name of the PBX of the section {value}; take another"
        raise ImpossibleValueError(advice, attribute.name, value)


_is_pbx_name = and_(Shape(NAME, "1 to 64 letters, digits, _, . or -"), _no_kind)


def _the_asterisk_beside(config: Config) -> AsteriskConfig | None:
    """The Asterisk where none is configured: on this host, unless PBXs are named."""
    return None if config.pbxs else AsteriskConfig()


@frozen
class Config:
    """The whole configuration."""

    server_id: str = field(
        validator=Shape(WORD, "a word without blanks"),
        metadata=described("What answers and events call this agent.", default="the host's name"),
    )
    other: OtherSection | None = field(
        default=None,
        metadata=described(
            "A PBX, or a program, that takes calls over HTTP, for requests with `pbx` `other`. "
            "What it is sent, and what its answers mean, is said in a language of its own: see the "
            'page "Any PBX over HTTP" of the documentation.',
            values="a mapping",
            default="there is none",
        ),
    )
    pbxs: Mapping[str, PbxConfig] = field(
        factory=dict,
        validator=deep_mapping(_is_pbx_name, lambda *_: None),
        metadata=described(
            "More than one PBX, or more than one of a kind, each with a name of its own. A request "
            "names the kind (`pbx`), and the key says which PBX of this kind it is (`keys[].pbx`). "
            "With `pbxs`, the section `asterisk` has no default. The PBX of a section `asterisk`, "
            "`switchvox` or `other` beside it is called like its kind."
        ),
    )
    store: StoreConfig = field(factory=StoreConfig, metadata=described("Where requests are kept."))
    http: HttpConfig = field(factory=HttpConfig, metadata=described("The HTTP API."))
    asterisk: AsteriskConfig | None = field(
        default=Factory(_the_asterisk_beside, takes_self=True),
        metadata=described(
            "The Asterisk beside the agent. `asterisk: false` makes an agent without one."
        ),
    )
    switchvox: SwitchvoxConfig | None = field(
        default=None,
        metadata=described(
            "A Switchvox, over its Extend API, for requests with `pbx` `switchvox`. Without this "
            "section there is none."
        ),
    )
    amqp: AmqpConfig | None = field(
        default=None,
        metadata=described(
            "A RabbitMQ that jobs come from and events go to. Without this section there is none. "
            "A login needs either `password_file`, or `certificate_file` and `private_key_file`."
        ),
    )
    relay: RelayConfig | None = field(
        default=None,
        metadata=described(
            "With this section the program is no agent beside a PBX: it gives calls to agents, "
            "over the broker. It needs `asterisk: false` and the section `amqp`."
        ),
    )
    calls: CallsConfig = field(factory=CallsConfig, metadata=described("Limits of every call."))
    keys: Sequence[Key] = field(
        factory=tuple,
        validator=[_distinct_names, _distinct_hashes],
        metadata=described(
            "Who may place calls, and which. Without `allow` a key can dial nothing."
        ),
    )
    webhooks: Sequence[WebhookConfig] = field(
        factory=tuple,
        validator=_distinct_names,
        metadata=described("Who is told of calls over HTTP."),
    )
    log: LogConfig = field(factory=LogConfig, metadata=described("What is logged."))

    @property
    def every_pbx(self) -> Mapping[str, PbxConfig]:
        """All PBXs, by their names: one that has a section by itself is called like its kind."""
        alone = {kind: getattr(self, kind) for kind in PBX_KINDS}
        there = {kind: section for kind, section in alone.items() if section is not None}
        return {
            **{kind: PbxConfig(**{kind: section}) for kind, section in there.items()},
            **self.pbxs,
        }

    @property
    def pbx_kinds(self) -> Mapping[str, str]:
        """The kinds of all PBXs, by their names; a relay gives calls of each kind to agents."""
        beside = {name: pbx.kind for name, pbx in self.every_pbx.items()}
        return {**{kind: kind for kind in self.relayed_kinds}, **beside}

    @property
    def relayed_kinds(self) -> Sequence[str]:
        """The kinds whose calls a relay gives to agents: all but those of a section beside it."""
        return [kind for kind in PBX_KINDS if self.relay is not None and kind not in self.every_pbx]

    def pbx_of_kind(self, kind: str, name: str | None = None) -> PbxConfig:
        """The PBX of that name; None: that of the kind's own section, or the only one.

        Raises ConfigError where there is none, or more than one.
        """
        there = {name: pbx for name, pbx in self.every_pbx.items() if pbx.kind == kind}
        if name is None and len(there) == 1:
            (name,) = there
        found = there.get(kind if name is None else name)
        if found is None:
            known = f"; known are {', '.join(there)}" if there else ""
            named = f"no {kind} PBX" if name is None or not there else f"no {kind} PBX {name!r}"
            raise ConfigError(f"The configuration has {named}{known}.")
        return found

    @property
    def is_called_localhost(self) -> bool:
        """Whether the server_id is every host's; a host without a name of its own has no better."""
        return self.server_id.partition(".")[0] in {"localhost", "localhost4", "localhost6"}

    def __attrs_post_init__(self) -> None:
        names = {OPERATOR, *(key.name for key in self.keys)}
        if self.store.url is not None and self.asterisk is not None:
            advice = "must be false beside store.url: that store is for relays"
            raise ImpossibleValueError(advice, "asterisk")
        for name in ("other", "switchvox", "pbxs"):
            if self.store.url is not None and getattr(self, name):
                advice = "must be left out beside store.url: that store is for relays"
                raise ImpossibleValueError(advice, name)
        for index, webhook in enumerate(self.webhooks):
            for name in webhook.keys or ():
                # Of the keys in a database nothing is known here.
                if name not in names and self.store.url is None:
                    advice = f"there is no key with the name {name!r}"
                    raise ImpossibleValueError(advice, "webhooks", index, "keys")
        self._check_broker(names - {OPERATOR})
        self._check_pbxs()

    def _check_pbxs(self) -> None:
        """See that keys name PBXs that are there, and that a relay has no Asterisk.

        Which PBXs an agent has, a relay cannot know.
        """
        kinds, relayed = self.pbx_kinds, self.relayed_kinds
        for index, name in enumerate(() if self.amqp is None else self.amqp.jobs_pbxs):
            if name not in kinds:
                advice = f"there is no PBX with the name {name!r}"
                raise ImpossibleValueError(advice, "amqp", "jobs_pbxs", index)
        for index, key in enumerate(self.keys):
            for kind, name in key.pbx.items():
                if kind not in relayed and kinds.get(name) != kind:
                    advice = f"there is no {kind} PBX with the name {name!r}"
                    raise ImpossibleValueError(advice, "keys", index, "pbx", kind)
        for name, pbx in self.pbxs.items():
            if self.relay is not None and pbx.kind == "asterisk":
                advice = "must be left out beside relay: a call goes to one or the other"
                raise ImpossibleValueError(advice, "pbxs", name, "asterisk")

    def _check_broker(self, keys: Collection[str]) -> None:
        if self.amqp is not None and self.amqp.jobs_key not in {None, *keys}:
            advice = f"there is no key with the name {self.amqp.jobs_key!r}"
            raise ImpossibleValueError(advice, "amqp", "jobs_key")
        if self.relay is not None and self.amqp is None:
            raise ImpossibleValueError("needs the section amqp", "relay")
        if self.relay is not None and self.relay.events != "all" and {*"#*"} & {*self.server_id}:
            advice = "must be all where the server_id has # or *: it stands in routing keys"
            raise ImpossibleValueError(advice, "relay", "events")
        if self.relay is not None and self.asterisk is not None:
            advice = "must be false beside relay: a call goes to one or the other"
            raise ImpossibleValueError(advice, "asterisk")


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The dotted names of the settings in which two configurations differ."""
    if type(old) is type(new) and has(type(old)):
        for attribute in fields(type(old)):
            name = f"{path}.{attribute.name}".lstrip(".")
            yield from differences(getattr(old, attribute.name), getattr(new, attribute.name), name)
    elif isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        for name in old:
            yield from differences(old[name], new[name], f"{path}.{name}")
    elif old != new:
        yield path
