"""What the description of a listener says."""

from __future__ import annotations

import pytest

from c2c_agent.net.listening import Listening, listening


@pytest.mark.parametrize(
    ("description", "address"),
    [
        ("tcp:4573:interface=127.0.0.1", "127.0.0.1:4573"),
        ("tcp:4573", "127.0.0.1:4573"),
        ("tcp:port=4573", "127.0.0.1:4573"),
        ("tcp:interface=10.0.0.5:port=4573", "10.0.0.5:4573"),
        ("tcp:4573:interface=0.0.0.0", "127.0.0.1:4573"),
        ("tcp:4573:interface=:backlog=50", "127.0.0.1:4573"),
        ("tcp:4573:interface=pbx.example.com", "pbx.example.com:4573"),
        (r"tcp6:4573:interface=\:\:1", "[::1]:4573"),
        (r"tcp:4573:interface=\:\:", "127.0.0.1:4573"),
        ("tcp6:4573", "[::1]:4573"),
        (r"tcp6:4573:interface=\:\:", "[::1]:4573"),
        (r"tcp6:4573:interface=2001\:db8\:\:5", "[2001:db8::5]:4573"),
        ("ssl:8443:privateKey=/etc/key.pem:certKey=/etc/cert.pem", "127.0.0.1:8443"),
        ("unix:/run/c2c.sock", None),
    ],
)
def test_address(description: str, address: str | None) -> None:
    """Where a listener is reached from its own host; None for one without a TCP port."""
    listens = listening(description)
    assert listens.address == address
    assert listens.port == (None if address is None else int(address.rpartition(":")[2]))
    assert bool(listens.host) is (address is not None)


def test_fields() -> None:
    """All that it says, with what was escaped as it was meant."""
    assert listening(r"unix:/run/a\:b\\c:mode=600:lockfile=0") == Listening(
        "unix", r"/run/a:b\c", {"mode": "600", "lockfile": "0"}
    )
    assert listening("unix:address=/run/c2c.sock") == Listening("unix", "/run/c2c.sock")


@pytest.mark.parametrize(
    ("description", "is_open"),
    [
        ("tcp:1", True),
        ("tcp:1:interface=0.0.0.0", True),
        ("tcp:1:interface=127.0.0.1", False),
        ("tcp:1:interface=127.0.5.5", False),
        (r"tcp6:1:interface=\:\:1", False),
        ("tcp6:1", True),
        ("tcp:1:interface=localhost", False),
        ("tcp:1:interface=pbx.example.com", True),
        ("unix:/run/c2c.sock", False),
    ],
)
def test_is_open(description: str, is_open: bool) -> None:
    """Whether others than this host may reach it."""
    assert listening(description).is_open is is_open


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("", "must begin with one of tcp:, tcp6:, ssl:, unix:"),
        ("nonsense", "must begin with"),
        ("systemd:domain=INET:index=0", "must begin with"),
        ("tcp", "must name a port"),
        ("tcp:", "must name a port"),
        ("tcp:http", "must name a port"),
        ("tcp:65536", "must name a port"),
        ("tcp:1:2", "port is twice"),
        ("tcp:1:mode=600", "mode is unknown to tcp:"),
        ("tcp:1:backlog=many", "backlog is impossible"),
        ("tcp6:1:interface=127.0.0.1", "must be an IPv6 address"),
        (r"tcp6:1:interface=\:\:g", "is no address"),
        (r"tcp6:1:interface=\:", "is no address"),
        ("tcp6:::1", "port is twice"),
        ("unix:", "must name a path"),
        ("unix:c2c.sock", "must name a path"),
        ("unix:/" + 107 * "x", "must name a path"),
        ("unix:/run/c2c.sock:mode=abc", "mode is impossible"),
        ("unix:/run/c2c.sock:lockfile=yes", "lockfile is impossible"),
        ("ssl:8443", "privateKey is missing"),
        ("ssl:8443:privateKey=/k:sslmethod=TLSv1_METHOD", "sslmethod is unknown to ssl:"),
    ],
)
def test_impossible(description: str, why: str) -> None:
    """What cannot be listened on, or not be reached by who has to, and why."""
    with pytest.raises(ValueError, match=why):
        listening(description)


def test_wanted_kinds() -> None:
    """Not every listener is one that its user can reach: Asterisk knows TCP alone."""
    assert listening("tcp6:1", "tcp", "tcp6").kind == "tcp6"
    with pytest.raises(ValueError, match="one of tcp:, tcp6: not 'unix:/run/agi'"):
        listening("unix:/run/agi", "tcp", "tcp6")


@pytest.mark.parametrize("description", ["", "tcp:"])
def test_an_empty_field_at_the_end(description: str) -> None:
    """It is a field all the same, and no place to listen at."""
    with pytest.raises(ValueError, match=r"."):
        listening(description)
