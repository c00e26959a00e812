"""The section of a Switchvox: what may stand in it."""

from __future__ import annotations

from typing import Any

import pytest

from c2c_agent.config.pbx import SwitchvoxConfig, TlsConfig
from c2c_agent.config.rules import ImpossibleValueError

PIN = ":".join(["0A"] * 32)


def section(url: str = "https://pbx.example.com", **more: Any) -> SwitchvoxConfig:
    """A section."""
    return SwitchvoxConfig(url, "c2c-agent", "/etc/c2c-agent/switchvox.password", **more)


class TestAddress:
    """Scheme, host and port, and nothing else."""

    @pytest.mark.parametrize(
        ("url", "host", "port", "tls"),
        [
            ("https://pbx.example.com", "pbx.example.com", 443, True),
            ("https://192.0.2.1:8443/", "192.0.2.1", 8443, True),
            ("https://[2001:db8::1]", "2001:db8::1", 443, True),
            ("http://127.0.0.1", "127.0.0.1", 80, False),
            ("http://localhost:8080", "localhost", 8080, False),
        ],
    )
    def test_possible(self, url: str, host: str, port: int, *, tls: bool) -> None:
        """Without TLS only on this host."""
        config = section(url)
        assert (config.host, config.port, config.has_tls) == (host, port, tls)

    @pytest.mark.parametrize(
        "url",
        [
            "pbx.example.com",
            "ftp://pbx.example.com",
            "https://user:secret@pbx.example.com",
            "https://pbx.example.com/json",
            "https://pbx.example.com:0",
            "https://pbx.example.com:99999",
            "https://pbx.example.com?x",
            "http://pbx.example.com",
            "",
        ],
    )
    def test_impossible(self, url: str) -> None:
        """It is not shown: it may hold a password."""
        with pytest.raises(ImpossibleValueError) as caught:
            section(url)
        assert "secret" not in str(caught.value)


class TestValues:
    """What else may stand there."""

    def test_an_extensions_login_follows_nothing(self) -> None:
        """It may not look at the list."""
        assert section().is_followed
        assert not section(login="extension").is_followed
        assert not section(follow=False).is_followed

    @pytest.mark.parametrize(
        "more",
        [
            {"plus": "00 1"},
            {"accounts": {"101": "x"}},
            {"accounts": {"1 1": "1107"}},
            {"max_pending": 0},
        ],
    )
    def test_impossible(self, more: dict[str, Any]) -> None:
        """Each says what would be right."""
        with pytest.raises(ImpossibleValueError):
            section(**more)

    def test_a_fingerprint(self) -> None:
        """As openssl shows it, or without colons."""
        assert TlsConfig(sha256=PIN).sha256 == PIN
        TlsConfig(sha256=PIN.replace(":", ""))
        with pytest.raises(ImpossibleValueError):
            TlsConfig(sha256="0A:0B")
