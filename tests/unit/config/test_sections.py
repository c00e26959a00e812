"""The sections of the configuration: their defaults, and what each value must be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import asdict, evolve

from c2c_agent.config.pbx import (
    AgiConfig,
    AmiConfig,
    AsteriskConfig,
    DialAsConfig,
    LegRule,
    PbxConfig,
)
from c2c_agent.config.rules import ImpossibleValueError
from c2c_agent.config.sections import (
    CallsConfig,
    Config,
    HttpConfig,
    LogConfig,
    StoreConfig,
    WebhookConfig,
    differences,
)
from c2c_agent.policy.keys import OPERATOR, Key
from c2c_agent.policy.pattern import parse_pattern

ANY = parse_pattern("_X.")
ANY_SHA256 = "0" * 64


class TestDefaults:
    """What holds where nothing is configured."""

    def test_the_documented_ones(self) -> None:
        """Everything on one host, and reached from there alone."""
        config = Config(server_id="pbx1.example.com")
        assert asdict(config.store) == {
            "path": None,
            "url": None,
            "password_file": None,
            "directory": "/var/lib/c2c-agent",
            "keep_days": 90,
        }
        assert config.store.file == "/var/lib/c2c-agent/c2c.sqlite3"
        assert asdict(config.http) == {
            "listen": "tcp:8470:interface=127.0.0.1",
            "public_url": None,
            "status_requires_key": False,
            "trusted_proxies": (),
            "max_streams": 500,
            "max_streams_each": 50,
            "stream_buffer": 524_288,
            "max_connections": 1000,
            "token_secret_file": None,
        }
        assert asdict(config.calls) == {
            "timeout": 30,
            "max_timeout": 120,
            "max_concurrent": 200,
            "max_duration": 14400,
            "international_prefix": "00",
        }
        assert config.keys == ()
        assert asdict(config.log) == {"level": "info", "numbers": "masked"}
        assert config.asterisk is not None
        assert asdict(config.asterisk.ami) == {
            "host": "127.0.0.1",
            "port": 5038,
            "username": "c2c-agent",
            "secret_file": "/etc/c2c-agent/ami.secret",
            "tls": False,
            "ca_file": None,
        }
        assert asdict(config.asterisk.agi) == {
            "listen": "tcp:8475:interface=127.0.0.1",
            "url": None,
        }
        assert config.asterisk.bridge_context == "c2c-bridge"
        assert config.asterisk.dial_as == DialAsConfig(contexts={}, default_context=None)
        assert config.asterisk.variables == {}
        assert config.asterisk.freepbx is False

    @pytest.mark.parametrize("number", ["100", "7", "+4930", "*97", "alice"])
    def test_every_number_has_a_dial_string(self, number: str) -> None:
        """The first leg goes through c2c-first, the second through the context of dial_as."""
        asterisk = AsteriskConfig()
        for rules, channel in (
            (asterisk.first_leg, "Local/{number}@c2c-first/n"),
            (asterisk.second_leg, "Local/{number}@{context}"),
        ):
            found = next(rule for rule in rules if rule.match.covers(number))
            assert found.channel == channel


#: Of each value, what makes its section; what is well; what is refused; what would be right.
VALUES: list[tuple[Callable[..., object], str, list[object], list[object], str]] = [
    (Config, "server_id", ["pbx1", "a" * 253], ["", "a b", "a\n", "\u00e4", "a" * 254], "a word"),
    (StoreConfig, "keep_days", [7, 36500], [6, 36501], "from 7 to 36500 days"),
    (
        StoreConfig,
        "url",
        [None, "postgresql://db/c2c", "postgres://c2c@[::1]:5433/c2c?sslmode=require"],
        ["", "mysql://db/c2c", "postgresql://", "postgresql://a b", "db"],
        "a URL such as postgresql://c2c-agent@db.example.com/c2c",
    ),
    (
        StoreConfig,
        "url",
        [],
        ["postgresql://c2c:hush@db/c2c", "postgresql://db/c2c?password=hush"],
        "no password in it; give it a file of its own, password_file",
    ),
    (
        HttpConfig,
        "public_url",
        [None, "http://a", "https://pbx.example.com:8443/c2c"],
        ["", "ftp://a", "http://", "//a", "http://a b", "https://a\n"],
        "a URL that starts with http:// or https://",
    ),
    (AmiConfig, "port", [1, 65535], [0, 65536, -1], "from 1 to 65535"),
    (AmiConfig, "username", ["c2c-agent"], ["", "a b", "a\r\nAction: x"], "a word without blanks"),
    (
        AgiConfig,
        "url",
        [None, "agi://127.0.0.1:8475/c2c"],
        ["agi://", "http://a", "agi://a b", "agi://a,b", "agi://a\n", "agi://::1/c2c", "agi://a:b"],
        "a URL such as agi://127.0.0.1:8475/c2c",
    ),
    (
        AsteriskConfig,
        "bridge_context",
        ["c2c-bridge", "from_internal.2", "x" * 79],
        ["", "a b", "a,b", "a@b", "a/b", "${X}", "a\n", "x" * 80],
        "the name of a dialplan context",
    ),
    (
        DialAsConfig,
        "default_context",
        [None, "from-internal"],
        ["", "a,b", "x" * 80],
        "the name of a dialplan context",
    ),
    (
        DialAsConfig,
        "contexts",
        [{}, {"100": "from-internal", "alice": "x", "+49*#_-": "y"}],
        [{"": "x"}, {"1,0": "x"}, {"a b": "x"}, {"1" * 33: "x"}],
        "an extension",
    ),
    (DialAsConfig, "contexts", [], [{"100": ""}, {"100": "a,b"}], "the name of a dialplan context"),
    (
        DialAsConfig,
        "set_var",
        [(), ("CLASS_OF_SERVICE", "_X", "__FLOOR2")],
        [("C2C_DIAL_AS",), ("__C2C_X",), ("CHANNEL(language)",), ("a=b",), ("",), ("1",)],
        "a variable's name",
    ),
    (CallsConfig, "timeout", [1, 120], [0, -1, 3601], "from 1 to 3600 seconds"),
    (CallsConfig, "max_timeout", [30, 3600], [0, 3601], "from 1 to 3600 seconds"),
    (CallsConfig, "max_concurrent", [1, 100_000], [0, 100_001], "from 1 to 100000 calls"),
    (CallsConfig, "max_duration", [1, 86400], [0, 86401], "from 1 to 86400 seconds"),
    (
        CallsConfig,
        "international_prefix",
        [None, "00", "011", "810"],
        ["", "+", "0 0", "1234567", "00\n"],
        "1 to 6 digits, in quotes",
    ),
    (LogConfig, "level", ["debug"], [], ""),
]


@pytest.mark.parametrize(
    ("section", "name", "well", "refused", "advice"),
    [pytest.param(*row, id=f"{row[0].__name__}.{row[1]}") for row in VALUES],
)
def test_values(
    section: Callable[..., object],
    name: str,
    well: list[object],
    refused: list[object],
    advice: str,
) -> None:
    """What each value may be, both limits included, and what is told of any other."""
    for value in well:
        assert getattr(section(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValueError, match=advice):
            section(**{name: value})


def test_timeout_and_max_timeout() -> None:
    """The default may be as long as the longest, and no longer."""
    assert CallsConfig(timeout=60, max_timeout=60).timeout == 60
    with pytest.raises(ValueError, match=r"must be at most max_timeout \(60\), not 61"):
        CallsConfig(timeout=61, max_timeout=60)


class TestTemplates:
    """Dial strings and variables, with their placeholders."""

    @pytest.mark.parametrize(
        "channel",
        [
            "PJSIP/{number}",
            "PJSIP/{number}@trunk_1",
            "Local/{number}@{context}/n",
            "Local/{number}{number}@{context}-{dial_as}/n",
            "SIP/100",
            "DAHDI/g1/{number}",
            "PJSIP/trunk/sip:{number}@10.0.0.1:5060",
        ],
    )
    def test_dial_strings(self, channel: str) -> None:
        """A technology, a slash, and what it dials; the placeholders where they are wanted."""
        filled = LegRule(ANY, channel).channel.format(number="1", context="2", dial_as="3")
        assert "{" not in filled

    @pytest.mark.parametrize(
        "channel",
        [
            "",
            "{number}",
            "PJSIP",
            "PJSIP/",
            "/{number}",
            "PJSIP/{number}&PJSIP/200",
            "PJSIP/{number},30",
            "PJSIP/{number} x",
            "PJSIP/${EXTEN}",
            "PJSIP/{number}\n",
            "{number}/100",
        ],
    )
    def test_no_dial_string(self, channel: str) -> None:
        """Nothing that Asterisk would read as more than one destination, or as an option."""
        with pytest.raises(ValueError, match=r"a dial string such as PJSIP/\{number\}"):
            LegRule(ANY, channel)

    BRACES = (
        "{}",
        "{0}",
        "{exten}",
        "{Number}",
        "{number",
        "number}",
        "{number}}",
        "{{number}}",
        "{con{number}text}",
        "{number.real}",
        "{number:10}",
        "{number:{context}}",
    )

    @pytest.mark.parametrize("braces", BRACES)
    def test_braces_of_a_dial_string(self, braces: str) -> None:
        """Unknown placeholders, formats, escapes, stray braces: all but the three is refused."""
        with pytest.raises(ValueError, match=r"only \{number\}, \{context\} and \{dial_as\}"):
            LegRule(ANY, "PJSIP/" + braces)

    @pytest.mark.parametrize("braces", [*BRACES, "{number:>9}", "{number:=9}"])
    def test_braces_of_a_variable(self, braces: str) -> None:
        """In a variable's value likewise."""
        with pytest.raises(ValueError, match=r"only \{number\}, \{context\} and \{dial_as\}"):
            AsteriskConfig(variables={"A": braces})

    @pytest.mark.parametrize("braces", ["{number!r}", "{number[0]}"])
    def test_what_else_format_knows(self, braces: str) -> None:
        """Conversions and subscripts are refused as well."""
        for section in (
            lambda: LegRule(ANY, "PJSIP/" + braces),
            lambda: AsteriskConfig(variables={"A": braces}),
        ):
            with pytest.raises(ValueError, match="must be"):
                section()


class TestVariables:
    """Channel variables of the first leg."""

    @pytest.mark.parametrize("name", ["A", "__REALCALLERIDNUM", "_Ab_1", "C2C", "C2CX", "XC2C_A"])
    def test_names(self, name: str) -> None:
        """Letters, digits, underscores; at most two underscores before them."""
        assert AsteriskConfig(variables={name: "1"}).variables == {name: "1"}

    @pytest.mark.parametrize(
        "name",
        [
            *("C2C_REQUEST_ID", "_C2C_FIRST", "__C2C_DONE", "C2C_"),
            *("", "_", "1A", "___A", "A-B", "A B", "A=B", "A\n", "CALLERID(num)", "\u00c4"),
        ],
    )
    def test_no_names(self, name: str) -> None:
        """The agent's own are reserved, and a function is no variable."""
        with pytest.raises(
            ValueError, match=r"variable's name \(letters, digits, _\) outside C2C_"
        ):
            AsteriskConfig(variables={name: "1"})

    @pytest.mark.parametrize("value", ["", "{number}", "{dial_as}@{context}", "a b;c=<d>:1/2+3*#"])
    def test_values(self, value: str) -> None:
        """A text, with the same placeholders as dial strings."""
        assert AsteriskConfig(variables={"A": value}).variables == {"A": value}

    @pytest.mark.parametrize(
        "value", ["a,B=c", '"', "'", "(", "[", "${A}", "a\r\nAction: x", "\u00e4"]
    )
    def test_no_values(self, value: str) -> None:
        """Nothing that would set a second variable or be evaluated."""
        with pytest.raises(ValueError, match="a text without quotes, commas or brackets"):
            AsteriskConfig(variables={"A": value})


class TestKeys:
    """The keys, all together."""

    def test_names_are_distinct(self) -> None:
        """A name stands for one key in records and limits."""
        with pytest.raises(ValueError, match="each needs a name of its own; 'crm' stands"):
            Config(server_id="x", keys=(Key("crm", ANY_SHA256), Key("crm", "1" * 64)))

    def test_the_operator_s_name_is_taken(self) -> None:
        """Who bears it sees and cancels every call: no key of the configuration may."""
        with pytest.raises(ValueError, match="'operator' is the agent's own"):
            Config(server_id="x", keys=(Key(OPERATOR, ANY_SHA256),))


class TestSharedStore:
    """A database in the place of the file."""

    URL = "postgresql://c2c@db.example.com/c2c"

    def test_one_or_the_other(self) -> None:
        """Not a file as well, and no password without it."""
        with pytest.raises(ImpossibleValueError, match="must not be given beside url"):
            StoreConfig(path="/srv/c2c.sqlite3", url=self.URL)
        with pytest.raises(ImpossibleValueError, match="no effect without url"):
            StoreConfig(password_file="/etc/c2c-agent/database.password")

    def test_no_password_is_shown(self) -> None:
        """Whatever is wrong with the URL that it stands in."""
        for url in ("postgresql://c2c:hush@db/c2c", "mysql://c2c:hush@db/c2c"):
            with pytest.raises(ImpossibleValueError) as caught:
                StoreConfig(url=url)
            assert "hush" not in str(caught.value)

    def test_for_relays(self) -> None:
        """Beside a PBX there is nothing to share."""
        store = StoreConfig(url=self.URL)
        with pytest.raises(ImpossibleValueError, match=r"must be false beside store\.url"):
            Config(server_id="a", store=store)
        assert Config(server_id="a", store=store, asterisk=None).store.url == self.URL

    def test_a_format_with_types_of_its_own(self) -> None:
        """Which events it is told of is not for the configuration to say."""
        with pytest.raises(ValueError, match="must not be given beside format: zammad"):
            WebhookConfig("z", "http://a", "/etc/z", format="zammad", types=["call.ended"])

    def test_keys_that_are_not_known_here(self) -> None:
        """A webhook may be for a key of the database."""
        webhook = WebhookConfig("crm", "http://a", "/etc/crm.whsec", keys=["shop"])
        store = StoreConfig(url=self.URL)
        assert Config(server_id="a", store=store, asterisk=None, webhooks=[webhook]).webhooks
        with pytest.raises(ImpossibleValueError, match="no key with the name 'shop'"):
            Config(server_id="a", webhooks=[webhook])


class TestWebhooks:
    """Where results go to."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://crm.example.com",
            "http://127.0.0.1:9/a?b=@c",
            "http://[::1]:8080/calls",
            "https://crm:443/user@host",
        ],
    )
    def test_possible(self, url: str) -> None:
        """A host, perhaps a port."""
        assert WebhookConfig("crm", url, "/etc/crm.whsec").url == url

    @pytest.mark.parametrize(
        "url",
        [
            "https://crm:hush@crm.example.com/",
            "https://crm:hush@crm.example.com:port/",
            "https://hush@crm.example.com/",
            "http:///hush",
            "http://:80/hush",
            "http://crm:0/hush",
            "http://crm:99999/hush",
            "http://[::1/hush",
        ],
    )
    def test_impossible(self, url: str) -> None:
        """Nothing could ever be delivered there; what may be a password is not repeated."""
        with pytest.raises(ImpossibleValueError) as caught:
            WebhookConfig("crm", url, "/etc/crm.whsec")
        assert "hush" not in str(caught.value)


def test_a_ca_file_without_tls() -> None:
    """It would vouch for nobody."""
    with pytest.raises(ImpossibleValueError, match="no effect without tls"):
        AmiConfig(ca_file="/etc/c2c-agent/ami-ca.pem")


def test_differences() -> None:
    """The dotted names of settings; of what has names, only where the same names are there."""
    north = PbxConfig(asterisk=AsteriskConfig())
    before = Config("pbx1", pbxs={"north": north, "south": north})
    after = evolve(before, pbxs={"north": evolve(north, max_concurrent=3), "south": north})
    assert [*differences(before, after)] == ["pbxs.north.max_concurrent"]
    assert [*differences(before, evolve(before, pbxs={"north": north}))] == ["pbxs"]
    assert [*differences(before, evolve(before, server_id="pbx2"))] == ["server_id"]
    assert [*differences(before, before)] == []
