"""What `check` warns of: each thing once as it should be, once open."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest
from attrs import evolve

from c2c_agent.check import exposure
from c2c_agent.check.exposure import listeners
from c2c_agent.config.pbx import AmiConfig, LegRule
from c2c_agent.policy.pattern import parse_pattern
from tests.fakes import CRM


class TestVersion:
    """Versions with the hole of CVE-2024-42365, by their numbers."""

    @pytest.mark.parametrize(
        "version",
        ["18.24.2", "18.26.4", "20.9.2", "20.10.0", "21.4.2", "22.0.0", "22.10.1", "23.1.0"],
    )
    def test_repaired(self, version: str) -> None:
        """From the first repaired one of each branch on."""
        assert exposure.of_version(version) is None

    @pytest.mark.parametrize(
        "version",
        ["16.28.0~dfsg-0+deb11u4", "17.9.4", "18.24.1", "19.8.1", "20.9.1", "21.4.1", "21.0.0"],
    )
    def test_open(self, version: str) -> None:
        """Before it, and wherever no repair was ever made."""
        found = exposure.of_version(version)
        assert found is not None
        assert found.warning
        assert not found.failed
        assert found.message.startswith(version)

    @pytest.mark.parametrize("version", ["certified/20.7-cert2", "GIT-master-123abc", ""])
    def test_unknown(self, version: str) -> None:
        """A version whose number says nothing is not accused."""
        assert exposure.of_version(version) is None


class TestRights:
    """What the AMI user may do beyond what the agent needs."""

    def test_as_shipped(self) -> None:
        """The actions of originate, call and reporting."""
        assert exposure.of_rights(AmiConfig(), {"Originate", "Hangup", "CoreSettings"}) is None

    @pytest.mark.parametrize(
        ("action", "right"),
        [("ModuleLoad", "system"), ("Command", "command"), ("UpdateConfig", "config")],
    )
    def test_too_wide(self, action: str, right: str) -> None:
        """Each right that opens the host is named, and where it stands."""
        found = exposure.of_rights(AmiConfig(username="c2c"), {"Originate", action})
        assert found is not None
        assert f"also has {right}, " in found.message
        assert "[c2c]" in found.advice


class TestLink:
    """The way to AMI."""

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.22", "::1", "localhost"])
    def test_on_this_host(self, host: str) -> None:
        """Nobody listens in between."""
        assert exposure.of_link(AmiConfig(host=host)) is None

    @pytest.mark.parametrize("host", ["192.0.2.1", "pbx1.example.com"])
    def test_over_a_network(self, host: str) -> None:
        """In the clear it is a warning; under TLS it is none."""
        found = exposure.of_link(AmiConfig(host=host))
        assert found is not None
        assert host in found.message
        assert exposure.of_link(AmiConfig(host=host, tls=True)) is None


@pytest.mark.parametrize("name", ["", "pbx1", "my-c2c-pbx", "C2C-pbx", "c2c"])
def test_a_system_name_of_its_own(name: str) -> None:
    """Its channels' ids begin as no call's of ours."""
    assert exposure.of_system_name(name) is None


@pytest.mark.parametrize("name", ["c2c-pbx1", "c2c-"])
def test_a_system_name_that_begins_as_our_ids_do(name: str) -> None:
    """Which it is, and where it stands."""
    found = exposure.of_system_name(name)
    assert found is not None
    assert found.warning
    assert f"begin with {name}-" in found.message
    assert "asterisk.conf" in found.advice


@pytest.mark.parametrize("extension", ["_.", "_!"])
def test_a_context_that_takes_anything(extension: str) -> None:
    """An extension for whatever is dialled."""
    assert exposure.of_context("c2c-first", {"s", "_X.", "_[0-9*#+]!"}) is None
    found = exposure.of_context("c2c-first", {"s", extension})
    assert found is not None
    assert found.name == "context c2c-first"
    assert found.message.startswith(f"the extension {extension} ")


@pytest.mark.parametrize(
    ("allow", "deny", "wide"),
    [
        (["_."], [], True),
        (["_!"], [], True),
        (["_[0-9+]."], [], True),
        (["_X.", "_+X."], [], True),
        (["_X."], [], True),  # the plus is not needed
        (["_1XX", "_NXXNXXXXXX"], [], False),
        (["_."], ["_00."], False),
    ],
)
def test_a_key_that_may_dial_anywhere(allow: list[str], deny: list[str], *, wide: bool) -> None:
    """By what it may dial, not by how that is written."""
    key = evolve(
        CRM,
        allow=tuple(parse_pattern(text) for text in allow),
        deny=tuple(parse_pattern(text) for text in deny),
    )
    found = exposure.of_key(key)
    assert (found is not None) is wide
    assert found is None or found.name == "key crm"


@pytest.mark.parametrize(
    ("channels", "warned"),
    [
        (["Local/{number}@c2c-first/n"], False),
        (["Local/{number}@phones/n", "Local/{number}@trunk/n"], False),
        (["Local/{number}@c2c-first/n", "PJSIP/{number}"], True),
    ],
)
def test_a_first_leg_that_forwards(channels: list[str], *, warned: bool) -> None:
    """Originate follows a phone's 302; only a dialplan's Dial can be told not to."""
    rules = [LegRule(parse_pattern("_X."), channel) for channel in channels]
    found = exposure.of_first_leg(rules)
    assert (found is not None) is warned
    assert found is None or found.message.startswith("PJSIP/{number} is rung by Originate itself")


@pytest.mark.parametrize(
    ("mode", "open_to_others"),
    [
        (0o600, False),
        (0o640, False),
        (0o100640, False),
        (0o644, True),
        (0o660, True),
        (0o641, True),
    ],
)
def test_a_file_that_others_can_use(mode: int, *, open_to_others: bool) -> None:
    """The agent's group may read; nobody else anything."""
    found = exposure.of_mode("/etc/c2c-agent/ami.secret", mode)
    assert (found is not None) is open_to_others
    assert found is None or found.advice == "chmod 0640 /etc/c2c-agent/ami.secret"


HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
)
V4 = (
    HEAD
    + "   0: 0100007F:13AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   110 0 1 1\n"
    "   1: 00000000:13AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000   110 0 1 1\n"
    "   2: 0200000A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 1 1\n"
    "   3: 0100007F:13AE 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000   110 0 1 1\n"
)
V6 = (
    HEAD
    + "   0: 00000000000000000000000000000000:13AE 00000000000000000000000000000000:0000 0A 0 0\n"
    "   1: 00000000000000000000000001000000:13AE 00000000000000000000000000000000:0000 0A 0 0\n"
    "   2: 0000000000000000FFFF00000100007F:13AE 00000000000000000000000000000000:0000 0A 0 0\n"
)


@pytest.mark.parametrize(
    ("table", "port", "addresses"),
    [
        (V4, 5038, ["127.0.0.1", "0.0.0.0"]),
        (V4, 22, ["10.0.0.2"]),
        (V4, 80, []),
        (V6, 5038, ["::", "::1", "127.0.0.1"]),
        ("", 5038, []),
    ],
)
def test_listeners(table: str, port: int, addresses: list[str]) -> None:
    """Those that listen there, and no connections."""
    assert list(listeners(table, port)) == [ip_address(address) for address in addresses]


@pytest.mark.parametrize(
    ("family", "address", "table"),
    [(socket.AF_INET, "127.0.0.9", "tcp"), (socket.AF_INET6, "::1", "tcp6")],
)
def test_as_this_kernel_says_it(family: int, address: str, table: str) -> None:
    """A real socket, found in the real table."""
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.bind((address, 0))
        listening.listen()
        text = Path("/proc/net", table).read_text(encoding="ascii")
        found = listeners(text, listening.getsockname()[1])
        # On another address the same port may be somebody else's.
        assert [one for one in found if one == ip_address(address)] == [ip_address(address)]


def test_a_port_at_which_nobody_listens() -> None:
    """Asterisk would be sent to nobody there, so there is nobody to be warned of."""
    assert exposure.of_foreign_url("agi://127.0.0.1:9999/c2c", "tcp:8475", [HEAD]) is None


def test_times_of_events() -> None:
    """They are of use where the clock is the agent's own."""
    assert exposure.of_no_times(AmiConfig(host="192.0.2.1")) is None
    told = exposure.of_no_times(AmiConfig())
    assert told is not None
    assert told.warning
