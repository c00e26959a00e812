"""Who is behind a proxy, and who only says so."""

from __future__ import annotations

import pytest

from c2c_agent.web.client_address import Proxies

PROXIES = Proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7, 10.1.1.1", "192.0.2.7"),
        ("2001:db8::1", " 2001:DB9::0007 ", "2001:db9::7"),
        # Whoever is no trusted proxy may say what he likes.
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7, x y, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "fe80::1%from 192.0.2.66", "127.0.0.1"),
        ("-", "192.0.2.7", "-"),
    ],
)
def test_client(peer: str, forwarded_for: str, client: str) -> None:
    """The rightmost address that no trusted proxy has."""
    assert PROXIES.client(peer, forwarded_for) == client


def test_no_proxies() -> None:
    """Then the header is nothing but a claim."""
    assert Proxies([]).client("127.0.0.1", "192.0.2.7") == "127.0.0.1"


def test_an_endless_list() -> None:
    """Only the nearest entries are looked at."""
    assert PROXIES.client("127.0.0.1", "192.0.2.7," + ",".join(["10.0.0.1"] * 50)) == "10.0.0.1"
