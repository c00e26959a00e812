"""Which host is reached, and which addresses never are."""

from __future__ import annotations

from unittest import TestCase

from twisted.internet.testing import MemoryReactorClock

from c2c_agent.errors import ConfigError
from c2c_agent.pbx.other.connection import requests_of, why_not
from tests.unit.pbx.other.back_end import program


class TestConnection(TestCase):
    def test_addresses(self) -> None:
        """Whatever name has led to one."""
        assert why_not("169.254.169.254", plain=False) == "169.254.169.254 is a link-local address"
        assert why_not("fe80::1%eth0", plain=False) is not None
        assert why_not("10.0.0.1", plain=True) == "10.0.0.1 is another host, and there is no TLS"
        assert why_not("10.0.0.1", plain=False) is None
        assert why_not("127.0.0.1", plain=True) is None

    def test_made(self) -> None:
        """With and without TLS; what cannot be trusted is found now."""
        host = MemoryReactorClock()
        for url in ("http://127.0.0.1:9", "https://pbx", "https://[::1]:8443"):
            requests_of(program(base_url=url), host)
        with self.assertRaisesRegex(ConfigError, "/none.pem"):
            requests_of(program(base_url="https://pbx", tls={"ca_file": "/none.pem"}), host)
