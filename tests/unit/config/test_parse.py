"""From YAML to a Config: merging, strict types, and errors that say what would be right."""

from __future__ import annotations

import datetime as dt
from copy import deepcopy
from typing import Any

import pytest

from c2c_agent.config.parse import parse
from c2c_agent.config.pbx import (
    AmiConfig,
    AsteriskConfig,
    LegRule,
    OtherSection,
    PbxConfig,
    RelayConfig,
    SwitchvoxConfig,
)
from c2c_agent.config.sections import AmqpConfig, CallsConfig, Config, HttpConfig, WebhookConfig
from c2c_agent.errors import ConfigError
from c2c_agent.policy.keys import Key
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pattern import parse_pattern

ZEROS = "0" * 64
ONES = "1" * 64
#: Each key has a secret of its own.
HASHES = {"bare": "2" * 64, "shop": "3" * 64, "door": "4" * 64}


def parsed(*documents: object) -> Config:
    """The Config of documents: the first stands in main.yml, the others in conf.d."""
    names = ["main.yml", *(f"conf.d/{count}.yml" for count in range(1, len(documents)))]
    return parse(zip(names, documents, strict=True), server_id="pbx1.example.com")


def told(*documents: object) -> list[str]:
    """The lines of the error of documents that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        parsed(*documents)
    return str(caught.value).split("\n")


def a_key(name: str = "crm", **more: object) -> dict[str, object]:
    """A key as it stands in the YAML."""
    return {"name": name, "sha256": HASHES.get(name, ZEROS), **more}


def a_webhook(name: str = "crm", **more: object) -> dict[str, object]:
    """A receiver as it stands in the YAML."""
    return {"name": name, "url": "http://127.0.0.1/x", "secret_file": "/etc/whsec", **more}


def a_broker(**more: object) -> dict[str, object]:
    """A broker as it stands in the YAML."""
    return {"host": "broker", "password_file": "/etc/amqp.password", **more}


class TestWell:
    """Configurations that can be used."""

    @pytest.mark.parametrize("document", [None, {}])
    def test_nothing(self, document: object) -> None:
        """An empty file is a configuration; the host's name stands in for the server_id."""
        assert parsed(document) == Config(server_id="pbx1.example.com")

    def test_everything(self) -> None:
        """What is documented can be said, and arrives with its type."""
        config = parsed(
            {
                "server_id": "pbx2",
                "store": {"path": "/srv/x.sqlite3", "keep_days": 30},
                "http": {
                    "listen": "unix:/run/c2c.sock",
                    "public_url": "https://pbx.example.com",
                    "status_requires_key": True,
                },
                "asterisk": {
                    "ami": {
                        "host": "10.0.0.1",
                        "port": 5039,
                        "username": "click",
                        "secret_file": "/etc/x",
                        "tls": True,
                    },
                    "agi": {"listen": "tcp:4574", "url": "agi://10.0.0.2:4574/c2c"},
                    "bridge_context": "my-bridge",
                    "first_leg": [{"match": "_1XX", "channel": "PJSIP/{number}"}],
                    "second_leg": [],
                    "dial_as": {"contexts": {"100": "internal"}, "default_context": "public"},
                    "variables": {"__X": "{number}"},
                    "confirm_prompt": "our/prompt&beep",
                    "freepbx": True,
                },
                "calls": {
                    "timeout": 20,
                    "max_timeout": 60,
                    "max_concurrent": 5,
                    "max_duration": 600,
                },
                "keys": [
                    a_key(
                        allow=["_1XX", "alice"],
                        deny=["_11X"],
                        dial_as=["_1XX"],
                        max_concurrent=10,
                        per_minute=60,
                        auto_answer="alert-info",
                        auto_answer_always=True,
                        confirm=True,
                    ),
                    a_key("bare"),
                ],
                "amqp": {
                    "host": "broker.example.com",
                    "port": 5673,
                    "virtual_host": "c2c",
                    "username": "pbx1",
                    "password_file": "/etc/c2c-agent/amqp.password",
                    "ca_file": "/etc/c2c-agent/ca.pem",
                    "agent_id": "pbx1",
                    "jobs_key": "bare",
                    "prefetch": 7,
                    "results": False,
                },
                "webhooks": [
                    {
                        "name": "crm",
                        "url": "https://crm.example.com/calls?token=1",
                        "secret_file": "/etc/crm.whsec",
                        "types": ["call.ended", "call.rejected"],
                        "keys": ["crm", "operator"],
                        "timeout": 5,
                    },
                    a_webhook("all"),
                ],
                "log": {"level": "debug", "numbers": "full"},
            }
        )
        assert config.server_id == "pbx2"
        assert (config.store.path, config.store.keep_days) == ("/srv/x.sqlite3", 30)
        assert config.http == HttpConfig("unix:/run/c2c.sock", "https://pbx.example.com", True)
        assert config.calls == CallsConfig(20, 60, 5, 600)
        assert (config.log.level, config.log.numbers) == ("debug", "full")
        assert config.keys == (
            Key(
                "crm",
                ZEROS,
                allow=(parse_pattern("_1XX"), parse_pattern("alice")),
                deny=(parse_pattern("_11X"),),
                dial_as=(parse_pattern("_1XX"),),
                max_concurrent=10,
                per_minute=60,
                auto_answer="alert-info",
                auto_answer_always=True,
                confirm=True,
            ),
            Key("bare", HASHES["bare"]),
        )
        assert config.amqp == AmqpConfig(
            host="broker.example.com",
            port=5673,
            virtual_host="c2c",
            username="pbx1",
            password_file="/etc/c2c-agent/amqp.password",
            tls=True,
            ca_file="/etc/c2c-agent/ca.pem",
            agent_id="pbx1",
            jobs_key="bare",
            prefetch=7,
            results=False,
        )
        assert config.webhooks == (
            WebhookConfig(
                "crm",
                "https://crm.example.com/calls?token=1",
                "/etc/crm.whsec",
                types=("call.ended", "call.rejected"),
                keys=("crm", "operator"),
                timeout=5,
            ),
            WebhookConfig("all", "http://127.0.0.1/x", "/etc/whsec"),
        )
        asterisk = config.asterisk
        assert asterisk is not None
        assert (asterisk.ami.host, asterisk.ami.port, asterisk.ami.tls) == ("10.0.0.1", 5039, True)
        assert asterisk.ami.secret_file == "/etc/x"
        assert asterisk.agi.url == "agi://10.0.0.2:4574/c2c"
        assert asterisk.bridge_context == "my-bridge"
        assert asterisk.first_leg == (LegRule(parse_pattern("_1XX"), "PJSIP/{number}"),)
        assert asterisk.second_leg == ()
        assert asterisk.dial_as.contexts == {"100": "internal"}
        assert asterisk.dial_as.default_context == "public"
        assert asterisk.variables == {"__X": "{number}"}
        assert asterisk.confirm_prompt == "our/prompt&beep"
        assert asterisk.freepbx is True

    def test_switchvox(self) -> None:
        """Off where it is not given; the account ids are text."""
        section = {"url": "https://pbx", "username": "c2c", "password_file": "/p"}
        assert parsed({}).switchvox is None
        assert parsed({"switchvox": {**section, "accounts": {"104": "1110"}}}).switchvox == (
            SwitchvoxConfig("https://pbx", "c2c", "/p", accounts={"104": "1110"})
        )
        assert parsed({"switchvox": section}, {"switchvox": False}).switchvox is None
        number = "must be text, not a whole number (1110); write it in quotes"
        [line] = told({"switchvox": {**section, "accounts": {"104": 1110}}})
        assert line == f"main.yml: switchvox.accounts.104: {number}"
        assert told({"switchvox": {**section, "url": "http://pbx"}}) == [
            "main.yml: switchvox.url: must begin with https://; it carries a password"
        ]

    def test_pbxs(self) -> None:
        """Each has a name of its own, and files are merged; then there is no Asterisk by itself."""
        hotel: dict[str, Any] = {"url": "https://pbx", "username": "c2c", "password_file": "/p"}
        base = {"base_url": "https://pbx", "place": {}}
        config = parsed(
            {
                "pbxs": {
                    "north": {"asterisk": {}, "max_concurrent": 3},
                    "south": {"asterisk": {"ami": {"host": "pbx2"}}},
                    "hotel": {"switchvox": hotel},
                },
                "keys": [a_key(pbx={"asterisk": "north", "other": "dialer"})],
            },
            {"pbxs": {"dialer": {"other": base}, "north": {"max_concurrent": 4}}},
        )
        assert config.asterisk is None
        assert config.pbxs["north"] == PbxConfig(asterisk=AsteriskConfig(), max_concurrent=4)
        assert config.pbxs["south"].asterisk == AsteriskConfig(ami=AmiConfig(host="pbx2"))
        assert config.pbxs["hotel"] == PbxConfig(switchvox=SwitchvoxConfig(**hotel))
        other = config.pbxs["dialer"].other
        assert other is not None
        assert other.where == ("pbxs", "dialer", "other")
        assert other.files["pbxs", "dialer", "other"] == "conf.d/1.yml"
        assert config.every_pbx == config.pbxs
        assert config.pbx_kinds == {
            "north": "asterisk",
            "south": "asterisk",
            "hotel": "switchvox",
            "dialer": "other",
        }

    def test_pbxs_beside_sections(self) -> None:
        """A PBX with a section of its own is called like its kind; so is each of a relay's."""
        config = parsed({"asterisk": {}, "pbxs": {"north": {"asterisk": {}}}})
        assert list(config.every_pbx) == ["asterisk", "north"]
        section = {"base_url": "https://pbx", "place": {}}
        relay = parsed(
            {
                "asterisk": False,
                "relay": {},
                "amqp": a_broker(),
                "pbxs": {"dialer": {"other": section}},
                "keys": [a_key(pbx={"switchvox": "switchvox", "other": "dialer"})],
            }
        )
        assert relay.relayed_kinds == ["asterisk", "switchvox", "other"]
        assert relay.pbx_kinds == {
            "asterisk": "asterisk",
            "switchvox": "switchvox",
            "other": "other",
            "dialer": "other",
        }
        assert list(relay.every_pbx) == ["dialer"]

    def test_pbxs_at_agents(self) -> None:
        """A relay cannot know which they have; of a kind that goes to no agent, it does."""
        hotel = {"url": "https://pbx", "username": "c2c", "password_file": "/p"}
        relay = {
            "asterisk": False,
            "relay": {},
            "amqp": a_broker(),
            "switchvox": hotel,
            "keys": [a_key(pbx={"asterisk": "north"})],
        }
        config = parsed(relay)
        assert config.keys[0].pbx == {"asterisk": "north"}
        assert config.relayed_kinds == ["asterisk", "other"]
        assert told({**relay, "keys": [a_key(pbx={"switchvox": "north"})]}) == [
            "main.yml: keys[0].pbx.switchvox: there is no switchvox PBX with the name 'north'"
        ]
        assert parsed({"keys": [a_key()]}).relayed_kinds == []

    def test_pbxs_for_jobs(self) -> None:
        """They are there."""
        section: dict[str, object] = {"pbxs": {"north": {"asterisk": {}}}}
        config = parsed({**section, "amqp": a_broker(jobs_pbxs=["north"])})
        assert config.amqp is not None
        assert config.amqp.jobs_pbxs == ("north",)
        assert told({**section, "amqp": a_broker(jobs_pbxs=["north", "south"])}) == [
            "main.yml: amqp.jobs_pbxs[1]: there is no PBX with the name 'south'"
        ]

    def test_pbx_of_a_kind(self) -> None:
        """By its name; without one, that of the section, or the only one."""
        several = parsed({"pbxs": {"north": {"asterisk": {}}, "south": {"asterisk": {}}}})
        assert several.pbx_of_kind("asterisk", "south") == several.pbxs["south"]
        assert parsed({}).pbx_of_kind("asterisk").asterisk == AsteriskConfig()
        one = parsed({"pbxs": {"north": {"asterisk": {}}}})
        assert one.pbx_of_kind("asterisk") == one.pbxs["north"]
        for config, kind, name, message in (
            (several, "asterisk", None, "no asterisk PBX; known are north, south."),
            (several, "asterisk", "west", "no asterisk PBX 'west'; known are north, south."),
            (several, "switchvox", "north", "no switchvox PBX."),
        ):
            with pytest.raises(ConfigError) as caught:
                config.pbx_of_kind(kind, name)
            assert str(caught.value) == f"The configuration has {message}"

    @pytest.mark.parametrize(
        ("document", "line"),
        [
            (
                {"pbxs": {"north": {}}},
                "pbxs.north: must have exactly one of asterisk, switchvox, other",
            ),
            (
                {"pbxs": {"north": {"asterisk": {}, "other": {"base_url": "https://a"}}}},
                "pbxs.north: must have exactly one of asterisk, switchvox, other",
            ),
            (
                {"pbxs": {"other": {"asterisk": {}}}},
                "pbxs.other: 'other' is the name of the PBX of the section other; take another",
            ),
            (
                {"pbxs": {"north": {"asterisk": {"amy": {}}}}},
                "pbxs.north.asterisk.amy: is unknown; did you mean 'ami'?",
            ),
            (
                {"pbxs": {"north": {"asterisk": {}, "max_concurrent": 0}}},
                "pbxs.north.max_concurrent: must be from 1 to 100000 calls, not 0",
            ),
            (
                {"keys": [a_key(pbx={"asterisk": "north"})]},
                "keys[0].pbx.asterisk: there is no asterisk PBX with the name 'north'",
            ),
            (
                {"keys": [a_key(pbx={"avaya": "north"})]},
                "keys[0]: pbx names kinds: asterisk, switchvox, other, and not 'avaya'",
            ),
            (
                {
                    "relay": {},
                    "amqp": a_broker(),
                    "pbxs": {"north": {"asterisk": {}}},
                },
                (
                    "pbxs.north.asterisk: must be left out beside relay: a call goes to one or "
                    "the other"
                ),
            ),
            (
                {"store": {"url": "postgresql://db/c2c"}, "pbxs": {"north": {"asterisk": {}}}},
                "pbxs: must be left out beside store.url: that store is for relays",
            ),
        ],
    )
    def test_pbxs_that_cannot_be(self, document: dict[str, object], line: str) -> None:
        """Each says what would be right, and where."""
        assert told(document) == [f"main.yml: {line}"]

    def test_relay(self) -> None:
        """In the place of a PBX; a later file may take it back."""
        document = {"amqp": a_broker(), "asterisk": False, "relay": {"answer_timeout": 20}}
        assert parsed(document).relay == RelayConfig(20)
        assert parsed(document, {"relay": {}}).relay == RelayConfig(20)
        assert parsed(document, {"relay": False, "amqp": False}).amqp is None

    def test_without_asterisk(self) -> None:
        """`asterisk: false` is an agent without one; what is left out is the Asterisk beside it."""
        assert parsed({"asterisk": False}).asterisk is None
        assert parsed({"asterisk": {}}).asterisk == AsteriskConfig()

    def test_other(self) -> None:
        """It is kept as it stands, with where that is, and of which file each value is."""
        config = parsed(
            {"other": {"base_url": "https://a", "place": {"path": "/a", "json": {"x": 1}}}},
            {"other": {"place": {"path": "/b"}}},
        )
        assert config.other == OtherSection(
            {"base_url": "https://a", "place": {"path": "/b", "json": {"x": 1}}},
            ("other",),
            {
                ("other",): "conf.d/1.yml",
                ("other", "base_url"): "main.yml",
                ("other", "place"): "conf.d/1.yml",
                ("other", "place", "json"): "main.yml",
                ("other", "place", "json", "x"): "main.yml",
                ("other", "place", "path"): "conf.d/1.yml",
            },
        )
        assert parsed({"other": False}).other is None

    def test_null_where_nothing_is_a_value(self) -> None:
        """Null says outright what holds anyway."""
        config = parsed(
            {
                "http": {"public_url": None},
                "asterisk": {"agi": {"url": None}, "dial_as": {"default_context": None}},
                "keys": [a_key(dial_as=None, max_concurrent=None, per_minute=None)],
            }
        )
        assert config == Config(server_id="pbx1.example.com", keys=(Key("crm", ZEROS),))


class TestMerging:
    """Later files over earlier ones."""

    def test_sections_key_by_key(self) -> None:
        """What a later file does not say stays; what it says replaces."""
        config = parsed(
            {"http": {"listen": "tcp:1", "public_url": "http://a"}, "calls": {"timeout": 10}},
            None,
            {"http": {"public_url": "http://b"}, "asterisk": {"ami": {"port": 1}}},
            {"asterisk": {"ami": {"username": "x"}}},
        )
        assert config.http == HttpConfig("tcp:1", "http://b")
        assert config.calls.timeout == 10
        assert config.asterisk is not None
        assert (config.asterisk.ami.port, config.asterisk.ami.username) == (1, "x")

    def test_lists_are_replaced(self) -> None:
        """All but `keys`: half of an ordered list of rules would mean something else."""
        config = parsed(
            {"asterisk": {"first_leg": [{"match": "_1X", "channel": "PJSIP/{number}"}]}},
            {"asterisk": {"first_leg": [{"match": "_2X", "channel": "SIP/{number}"}]}},
        )
        assert config.asterisk is not None
        assert [rule.match.text for rule in config.asterisk.first_leg] == ["_2X"]

    def test_limits_of_a_key(self) -> None:
        """Hours are read, and may be given in a list only."""
        limits: dict[str, Any] = {
            "per_day": 100,
            "minutes_per_day": 60,
            "max_duration": 600,
            "hours": ["Mo-Fr 08:00-18:00", "Sa 10:00-12:00"],
            "timezone": "Europe/Berlin",
        }
        [key] = parsed({"keys": [a_key(**limits)]}).keys
        assert [hours.text for hours in key.hours] == limits["hours"]
        assert (key.per_day, key.minutes_per_day, key.max_duration) == (100, 60, 600)
        assert key.timezone == "Europe/Berlin"
        assert told({"keys": [a_key(hours="Mo-Fr 08:00-18:00")]}) == [
            "main.yml: keys[0].hours: must be a list, not text ('Mo-Fr 08:00-18:00')"
        ]
        advice = "'always' names no hours; write them as in 'Mo-Fr,Su 08:00-18:00'"
        wrong = {"keys": [a_key(hours=["always"])]}
        assert told(wrong) == [f"main.yml: keys[0].hours[0]: {advice}"]
        assert told({"keys": [a_key(hours=[8])]})[0].startswith(
            "main.yml: keys[0].hours[0]: must be text, not a whole number (8)"
        )

    def test_the_international_prefix(self) -> None:
        """In quotes, for YAML reads 00 as 0; null where there is none."""
        assert parsed({}).calls.international_prefix == "00"
        assert (
            parsed({"calls": {"international_prefix": "011"}}).calls.international_prefix == "011"
        )
        assert parsed({"calls": {"international_prefix": None}}).calls.international_prefix is None
        assert "must be text" in told({"calls": {"international_prefix": 0}})[0]

    def test_number_plans(self) -> None:
        """Of the PBX, and of a key; without one numbers are dialled as they are written."""
        assert parsed({}).asterisk == AsteriskConfig(numbers=None)
        plan = {"region": "DE", "dial": "national", "outside": "0", "internal": ["_1XX"]}
        config = parsed({"asterisk": {"numbers": plan}, "keys": [a_key(numbers=plan)]})
        assert config.asterisk is not None
        read = NumberPlan("DE", "national", outside="0", internal=(parse_pattern("_1XX"),))
        assert (config.asterisk.numbers, config.keys[0].numbers) == (read, read)
        assert told({"asterisk": {"numbers": {"dial": "e164"}}}) == [
            "main.yml: asterisk.numbers.region: is missing"
        ]
        assert told({"asterisk": {"numbers": {"region": "DE", "dial": "local"}}}) == [
            (
                "main.yml: asterisk.numbers.dial: must be one of national, international, e164, "
                "not 'local'"
            )
        ]
        assert (
            "region must be the two capital letters of a country, not 'XX'"
            in told({"keys": [a_key(numbers={"region": "XX", "dial": "e164"})]})[0]
        )

    def test_keys_by_name(self) -> None:
        """A later key takes the place of the one with its name, whole; others are added."""
        config = parsed(
            {"keys": [a_key("crm", per_minute=1), a_key("shop")]},
            {"keys": [a_key("door"), {"name": "crm", "sha256": ONES}]},
        )
        assert [(key.name, key.sha256, key.per_minute) for key in config.keys] == [
            ("crm", ONES, None),
            ("shop", HASHES["shop"], None),
            ("door", HASHES["door"], None),
        ]

    def test_null_switches_a_section_off_and_a_later_one_on_again(self) -> None:
        """As of any other value, the last word counts."""
        assert parsed({"asterisk": {"freepbx": True}}, {"asterisk": False}).asterisk is None
        assert parsed({"asterisk": False}, {"asterisk": {}}).asterisk == AsteriskConfig()
        assert parsed({"keys": None}, {"keys": [a_key()]}).keys == (Key("crm", ZEROS),)

    def test_documents_stay_as_they_are(self) -> None:
        """Merging changes nothing of what was passed in."""
        documents: list[Any] = [
            {"http": {"listen": "tcp:1"}, "keys": [a_key()]},
            {"http": {"listen": "tcp:2"}, "keys": [{"name": "crm", "sha256": ONES}, a_key("b")]},
        ]
        before = deepcopy(documents)
        parsed(*documents)
        assert documents == before


NUMBER_HINT = "must be text, not a whole number (200); write it in quotes"

#: Documents that cannot be used, and every line that is told of them.
ERRORS: dict[str, tuple[list[object], list[str]]] = {
    "a proxy that is no address": (
        [{"http": {"trusted_proxies": ["unix", "proxy"]}}],
        [
            (
                "main.yml: http.trusted_proxies[1]: must be unix, an address or a network such as "
                "192.0.2.0/24: 'proxy' does not appear to be an IPv4 or IPv6 network"
            )
        ],
    ),
    "an empty section": (
        [{"asterisk": None}],
        [
            (
                "main.yml: asterisk: is empty; leave it out for the defaults, or write false "
                "for no Asterisk"
            )
        ],
    ),
    "no mapping: list": (
        [["http"]],
        ["main.yml: a mapping such as 'http: …' is expected, not list"],
    ),
    "no mapping: text": (
        [None, "http"],
        ["conf.d/1.yml: a mapping such as 'http: …' is expected, not text"],
    ),
    "no mapping: number": (
        [8470],
        ["main.yml: a mapping such as 'http: …' is expected, not a whole number"],
    ),
    "unknown key, suggestion": (
        [{"htp": {}, "calls": {"time_out": 3}}],
        [
            "main.yml: calls.time_out: is unknown; did you mean 'timeout'?",
            "main.yml: htp: is unknown; did you mean 'http'?",
        ],
    ),
    "unknown key, its value not shown": (
        [{"asterisk": {"ami": {"secret": "hunter2"}}}],
        ["main.yml: asterisk.ami.secret: is unknown; did you mean 'secret_file'?"],
    ),
    "unknown key, nothing near": (
        [{"log": {"colour": True}}],
        ["main.yml: log.colour: is unknown; known are level, numbers"],
    ),
    "unknown keys that are no text": (
        [{"log": {True: 1, 5: {6: 7}}}],
        [
            "main.yml: log[5]: is unknown; known are level, numbers",
            "main.yml: log[True]: is unknown; known are level, numbers",
        ],
    ),
    "unknown key of a key": (
        [{"keys": [a_key("a"), a_key("b", alow=["_X."])]}],
        ["main.yml: keys[1].alow: is unknown; did you mean 'allow'?"],
    ),
    "section is null": ([{"http": None}], ["main.yml: http: must be a mapping, not null (None)"]),
    "section is text": (
        [{"asterisk": {"ami": "localhost"}}],
        ["main.yml: asterisk.ami: must be a mapping, not text ('localhost')"],
    ),
    "list is text": (
        [{"keys": [a_key(allow="_1XX")]}],
        ["main.yml: keys[0].allow: must be a list, not text ('_1XX')"],
    ),
    "list is mapping": (
        [{"keys": {"crm": ZEROS}}],
        [f"main.yml: keys: must be a list, not mapping ({{'crm': '{ZEROS}'}})"],
    ),
    "key is text": (
        [{"keys": ["crm"]}],
        ["main.yml: keys[0]: must be a mapping, not text ('crm')"],
    ),
    "number in place of text": (
        [{"keys": [a_key(allow=["100", 200], deny=[200])], "http": {"listen": 200}}],
        [
            f"main.yml: http.listen: {NUMBER_HINT}",
            f"main.yml: keys[0].allow[1]: {NUMBER_HINT}",
            f"main.yml: keys[0].deny[0]: {NUMBER_HINT}",
        ],
    ),
    "fraction in place of text": (
        [{"server_id": 1.5}],
        [
            (
                "main.yml: server_id: must be text, not number with a fraction (1.5); "
                "write it in quotes"
            )
        ],
    ),
    "names of a mapping": (
        [{"asterisk": {"dial_as": {"contexts": {100: "internal", "200": None}}}}],
        [
            (
                "main.yml: asterisk.dial_as.contexts[100]: must be text, not a whole number (100); "
                "write it in quotes"
            ),
            "main.yml: asterisk.dial_as.contexts.200: must be text, not null (None)",
        ],
    ),
    "no whole number": (
        [{"calls": {"timeout": "30", "max_timeout": True, "max_concurrent": 1.5}}],
        [
            "main.yml: calls.timeout: must be a whole number, not text ('30')",
            "main.yml: calls.max_timeout: must be a whole number, not true or false (True)",
            (
                "main.yml: calls.max_concurrent: must be a whole number, "
                "not number with a fraction (1.5)"
            ),
        ],
    ),
    "prompt that would be more": (
        [{"asterisk": {"confirm_prompt": "hello,3)"}}],
        [
            (
                "main.yml: asterisk.confirm_prompt: must be names of sound files without ending, "
                "joined by &, not 'hello,3)'"
            )
        ],
    ),
    "neither true nor false": (
        [{"asterisk": {"freepbx": 1, "ami": {"tls": "no"}}}],
        [
            "main.yml: asterisk.ami.tls: must be true or false, not text ('no')",
            "main.yml: asterisk.freepbx: must be true or false, not a whole number (1)",
        ],
    ),
    "a type of YAML's own": (
        [{"server_id": dt.date(2026, 11, 23)}],
        ["main.yml: server_id: must be text, not date (datetime.date(2026, 11, 23))"],
    ),
    "none of the choices": (
        [{"log": {"level": "loud", "numbers": ["full"]}}],
        [
            "main.yml: log.level: must be one of debug, info, warn, error, not 'loud'",
            "main.yml: log.numbers: must be one of masked, full, not ['full']",
        ],
    ),
    "bad patterns": (
        [
            {
                "keys": [a_key(allow=["_1.X", "1X."], dial_as=["_"])],
                "asterisk": {"first_leg": [{"match": "_[1", "channel": "PJSIP/{number}"}]},
            }
        ],
        [
            "main.yml: asterisk.first_leg[0].match: '_[1': a '[' without its ']'",
            "main.yml: keys[0].allow[0]: '_1.X': '.' must be the last character",
            (
                "main.yml: keys[0].allow[1]: '1X.' is neither a number nor a pattern; "
                "a pattern starts with an underscore"
            ),
            (
                "main.yml: keys[0].dial_as[0]: '_' matches nothing; "
                "something must follow the underscore"
            ),
        ],
    ),
    "missing fields": (
        [{"keys": [{"sha256": ZEROS}], "asterisk": {"second_leg": [{}]}}],
        [
            "main.yml: asterisk.second_leg[0].match: is missing",
            "main.yml: asterisk.second_leg[0].channel: is missing",
            "main.yml: keys[0].name: is missing",
        ],
    ),
    "value out of range": (
        [{"asterisk": {"ami": {"port": 0}}}],
        ["main.yml: asterisk.ami.port: must be from 1 to 65535 (a TCP port), not 0"],
    ),
    "value of a wrong shape": (
        [{"server_id": "two words"}],
        ["main.yml: server_id: must be a word without blanks, not 'two words'"],
    ),
    "bad template": (
        [{"asterisk": {"first_leg": [{"match": "_X", "channel": "PJSIP/{exten}"}]}}],
        [
            (
                "main.yml: asterisk.first_leg[0].channel: may have only {number}, {context} and "
                "{dial_as} in braces, unlike 'PJSIP/{exten}'"
            )
        ],
    ),
    "reserved variable": (
        [{"asterisk": {"variables": {"__C2C_FIRST": "1"}}}],
        [
            (
                "main.yml: asterisk.variables: must be a variable's name (letters, digits, _) "
                "outside C2C_, not '__C2C_FIRST'"
            )
        ],
    ),
    "timeout > max_timeout": (
        [{"calls": {"timeout": 130}}],
        ["main.yml: calls.timeout: must be at most max_timeout (120), not 130"],
    ),
    "default timeout > max_timeout": (
        [{"calls": {"max_timeout": 20}}],
        ["main.yml: calls.timeout: must be at most max_timeout (20), not 30"],
    ),
    "key's name": (
        [{"keys": [a_key("c r m")]}],
        [
            "main.yml: keys[0]: name must be 1 to 64 letters, digits, _, . or -, not 'c r m'",
        ],
    ),
    "key's hash": (
        [{"keys": [{"name": "crm", "sha256": "secret"}]}],
        ["main.yml: keys[0]: sha256 must be the 64 hexadecimal digits that `key new` prints"],
    ),
    "key's cap": (
        [{"keys": [a_key(max_concurrent=0)]}],
        ["main.yml: keys[0]: 'max_concurrent' must be >= 1: 0"],
    ),
    "key's auto_answer": (
        [{"keys": [a_key(auto_answer="loud")]}],
        [
            (
                "main.yml: keys[0].auto_answer: must be one of call-info, alert-info, "
                "ring-answer, not 'loud'"
            )
        ],
    ),
    "key's confirm": (
        [{"keys": [a_key(confirm=1)]}],
        ["main.yml: keys[0].confirm: must be one of true, false, auto, not 1"],
    ),
    "keys of one name": (
        [{"keys": [a_key("a"), a_key("b"), a_key("a")]}, {"keys": [a_key("c")]}],
        ["main.yml: keys[2]: each needs a name of its own; 'a' stands there twice"],
    ),
    "keys of one name in a later file": (
        [{"keys": [a_key("a")]}, {"keys": [a_key("a"), a_key("a")]}],
        ["conf.d/1.yml: keys[1]: each needs a name of its own; 'a' stands there twice"],
    ),
    "keys of one secret": (
        [{"keys": [a_key("a"), a_key("b")]}],
        [("main.yml: keys[1].sha256: is that of the key 'a'; make one with c2c-agent key new")],
    ),
    "keys of one secret in two files": (
        [{"keys": [a_key("a"), a_key("shop")]}, {"keys": [a_key("b")]}],
        [("conf.d/1.yml: keys[2].sha256: is that of the key 'a'; make one with c2c-agent key new")],
    ),
    "agent with a blank": (
        [{"keys": [a_key(agent="p b")]}],
        ["main.yml: keys[0]: 'agent' must match regex '[A-Za-z0-9_.-]{1,64}' ('p b' doesn't)"],
    ),
    "amqp without a login": (
        [{"amqp": {"host": "broker"}}],
        [
            (
                "main.yml: amqp.password_file: must be given, or certificate_file and "
                "private_key_file, and not both"
            )
        ],
    ),
    "amqp with two logins": (
        [{"amqp": a_broker(certificate_file="a", private_key_file="b")}],
        [
            (
                "main.yml: amqp.password_file: must be given, or certificate_file and "
                "private_key_file, and not both"
            )
        ],
    ),
    "half a certificate": (
        [{"amqp": {"host": "broker", "certificate_file": "a"}}],
        ["main.yml: amqp.certificate_file: must be given together with private_key_file"],
    ),
    "a certificate without tls": (
        [
            {
                "amqp": {
                    "host": "broker",
                    "tls": False,
                    "certificate_file": "a",
                    "private_key_file": "b",
                }
            }
        ],
        ["main.yml: amqp.tls: must be true for a client certificate"],
    ),
    "jobs of an unknown key": (
        [{"amqp": a_broker(jobs_key="crm")}],
        ["main.yml: amqp.jobs_key: there is no key with the name 'crm'"],
    ),
    "empty relay": (
        [{"amqp": a_broker(), "asterisk": False, "relay": None}],
        ["main.yml: relay: is empty; write {} for its defaults, or leave it out"],
    ),
    "relay without a broker": (
        [{"asterisk": False, "relay": {}}],
        ["main.yml: relay: needs the section amqp"],
    ),
    "events of a relay by no such name": (
        [{"amqp": a_broker(), "asterisk": False, "relay": {"events": "some"}}],
        ["main.yml: relay.events: must be one of all, mixed, own, not 'some'"],
    ),
    "own events of a relay that cannot be named": (
        [{"server_id": "a.#", "amqp": a_broker(), "asterisk": False, "relay": {"events": "own"}}],
        [
            (
                "main.yml: relay.events: must be all where the server_id has # or *: it stands in "
                "routing keys"
            )
        ],
    ),
    "relay beside a PBX": (
        [{"amqp": a_broker(), "relay": {}, "asterisk": {}}],
        ["main.yml: asterisk: must be false beside relay: a call goes to one or the other"],
    ),
    "webhooks of one name": (
        [{"webhooks": [a_webhook("a")]}, {"webhooks": [a_webhook("b"), a_webhook("b")]}],
        ["conf.d/1.yml: webhooks[2]: each needs a name of its own; 'b' stands there twice"],
    ),
    "a webhook's name": (
        [{"webhooks": [a_webhook("a b")]}],
        ["main.yml: webhooks[0].name: must be 1 to 64 letters, digits, _, . or -, not 'a b'"],
    ),
    "a webhook's event": (
        [{"webhooks": [a_webhook("a", types=["call.gone"])]}],
        [
            (
                "main.yml: webhooks[0].types[0]: must be one of call.accepted, call.rejected, "
                "call.first_ringing, call.first_answered, call.second_ringing, call.connected, "
                "call.ended, not 'call.gone'"
            )
        ],
    ),
    "a webhook's key": (
        [{"keys": [a_key("a")], "webhooks": [a_webhook("a", keys=["a", "b"])]}],
        ["main.yml: webhooks[0].keys: there is no key with the name 'b'"],
    ),
    "a webhook's URL": (
        [{"webhooks": [a_webhook("a", url="ftp://x")]}],
        [
            (
                "main.yml: webhooks[0].url: must be a URL that starts with http:// or https://, "
                "not 'ftp://x'"
            )
        ],
    ),
    "a webhook's URL without a host": (
        [{"webhooks": [a_webhook("a", url="https:///calls")]}],
        [
            (
                "main.yml: webhooks[0].url: must have a host, and a port from 1 to 65535 where it "
                "names one"
            )
        ],
    ),
    "no section other": (
        [{"other": ["https://a"]}],
        ["main.yml: other: must be a mapping, not list"],
    ),
    "other beside a shared store": (
        [
            {
                "store": {"url": "postgresql://db/c2c"},
                "asterisk": False,
                "other": {"base_url": "https://a"},
            }
        ],
        ["main.yml: other: must be left out beside store.url: that store is for relays"],
    ),
    "a Switchvox beside a shared store": (
        [
            {
                "store": {"url": "postgresql://db/c2c"},
                "asterisk": False,
                "switchvox": {"url": "https://a", "username": "b", "password_file": "/c"},
            }
        ],
        ["main.yml: switchvox: must be left out beside store.url: that store is for relays"],
    ),
    "the operator's name": (
        [{"keys": [a_key("a"), a_key("operator")]}],
        ["main.yml: keys[1]: 'operator' is the agent's own name for its host's key; take another"],
    ),
}


@pytest.mark.parametrize(("documents", "lines"), ERRORS.values(), ids=ERRORS)
def test_errors(documents: list[object], lines: list[str]) -> None:
    """Every fault at once, each with file, path, and what would be right."""
    assert told(*documents) == lines


def test_impossible_values_of_one_section() -> None:
    """Each is told, also where the section has other faults; attrs stops at the first."""
    ami = {"port": 0, "username": "a b", "tls": "yes", "secret": "x"}
    lines = told({"asterisk": {"ami": ami}, "calls": {"timeout": 0, "max_timeout": 0}})
    places = [line.split(": ")[1] for line in lines]
    assert sorted(places) == [
        "asterisk.ami.port",
        "asterisk.ami.secret",
        "asterisk.ami.tls",
        "asterisk.ami.username",
        "calls.max_timeout",
        "calls.timeout",
    ]


class TestOrigins:
    """Which file an error names."""

    def test_each_fault_its_own(self) -> None:
        """The file where the value stands, also where another has the same section."""
        assert told(
            {"http": {"listen": 1}, "calls": {"timeout": "1"}, "keys": [a_key("a", allow=[1])]},
            {"http": {"public_url": 2}, "keys": [a_key("b", allow=[3])]},
            {"calls": {"max_timeout": 100}, "log": {"levl": "info"}},
        ) == [
            "main.yml: http.listen: must be text, not a whole number (1); write it in quotes",
            (
                "conf.d/1.yml: http.public_url: must be text, not a whole number (2); "
                "write it in quotes"
            ),
            "main.yml: calls.timeout: must be a whole number, not text ('1')",
            (
                "main.yml: keys[0].allow[0]: must be text, not a whole number (1); "
                "write it in quotes"
            ),
            (
                "conf.d/1.yml: keys[1].allow[0]: must be text, not a whole number (3); "
                "write it in quotes"
            ),
            "conf.d/2.yml: log.levl: is unknown; did you mean 'level'?",
        ]

    def test_impossible_values(self) -> None:
        """Likewise where the type is right and the value is not."""
        assert told({"http": {"public_url": "ftp://a"}}, {"http": {"listen": "tcp:1"}}) == [
            (
                "main.yml: http.public_url: must be a URL that starts with http:// or https://, "
                "not 'ftp://a'"
            )
        ]
        assert told({"calls": {"timeout": 99}}, {"calls": {"max_timeout": 60}}) == [
            "main.yml: calls.timeout: must be at most max_timeout (60), not 99"
        ]

    def test_the_last_file_that_said_it(self) -> None:
        """A value that was replaced is not blamed."""
        assert told({"server_id": "a"}, {"server_id": "a b"}, {"log": {"level": "info"}}) == [
            "conf.d/1.yml: server_id: must be a word without blanks, not 'a b'"
        ]

    def test_a_key_that_was_replaced(self) -> None:
        """The file that has the key as it is now."""
        assert told({"keys": [a_key(per_minute="1")]}, {"keys": [a_key(per_minute="2")]}) == [
            "conf.d/1.yml: keys[0].per_minute: must be a whole number, not text ('2')"
        ]

    def test_a_value_of_no_file(self) -> None:
        """A host's name that cannot be a server_id is no file's; the path tells all the same."""
        with pytest.raises(ConfigError) as caught:
            parse([("main.yml", {})], server_id="")
        assert str(caught.value) == (
            "configuration: server_id: must be a word without blanks, not ''"
        )

    def test_the_same_order_every_time(self) -> None:
        """Unknown keys come in the order of their names."""
        lines = told(dict.fromkeys("qwertzuiopasdfghjkly"))
        assert [line.split(": ")[1] for line in lines] == sorted("qwertzuiopasdfghjkly")
