"""Where a listener is reached, and what is a listener."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from OpenSSL.SSL import Connection
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from c2c_agent.errors import ConfigError
from c2c_agent.net.endpoints import ServerCertificate, is_loopback, is_taken, listener, trust_root
from c2c_agent.net.listening import listening
from tests.certificates import Authority, Issued


def opened(description: str) -> tuple[int, int]:
    """On which port it listens once it is started, and how many connections may wait there."""
    reactor: Any = MemoryReactorClock()
    service = listener(description, Factory(), reactor)
    assert reactor.tcpServers == []
    service.startService()
    [(port, _, backlog, _)] = reactor.tcpServers
    return port, backlog


def test_backlog() -> None:
    """Room for a burst of connections, unless the description says how much."""
    assert opened("tcp:8470") == (8470, 1024)
    assert opened("tcp:8470:backlog=7") == (8470, 7)


def test_unix(tmp_path: Path) -> None:
    """A UNIX socket has room, too, and is not everybody's unless that is said."""
    reactor: Any = MemoryReactorClock()
    listener(f"unix:{tmp_path}/socket", Factory(), reactor).startService()
    listener(f"unix:{tmp_path}/open:mode=666:backlog=7", Factory(), reactor).startService()
    assert [(path, backlog, mode) for path, _, backlog, mode, _ in reactor.unixServers] == [
        (f"{tmp_path}/socket", 1024, 0o660),
        (f"{tmp_path}/open", 7, 0o666),
    ]


@pytest.mark.parametrize("description", ["nonsense", "tcp:http", "tcp", "systemd:domain=INET"])
def test_no_listener(description: str) -> None:
    """What is none is named."""
    with pytest.raises(ConfigError, match=f"'{description}' is no endpoint to listen on"):
        listener(description, Factory(), MemoryReactorClock())


class TestTls:
    """An `ssl:` listener and its certificate."""

    def described(self, issued: Issued, more: str = "") -> str:
        """The description of a listener that shows a certificate."""
        return f"ssl:8443:privateKey={issued.key}:certKey={issued.certificate}{more}"

    def shown(self, certificate: ServerCertificate) -> int:
        """The serial number that the next connection is shown."""
        shown = Connection(certificate.getContext(), None).get_certificate()
        assert shown is not None
        return shown.get_serial_number()

    def test_listens(self, tmp_path: Path) -> None:
        """With room for a burst, and with what a chain and parameters have to add."""
        authority = Authority(tmp_path)
        issued = authority.issue("pbx1", "127.0.0.1")
        reactor: Any = MemoryReactorClock()
        more = f":extraCertChain={authority.file}:interface=127.0.0.1"
        service = listener(self.described(issued, more), Factory(), reactor)
        service.startService()
        [(port, _, _, backlog, interface)] = reactor.sslServers
        assert (port, backlog, interface) == (8443, 1024, "127.0.0.1")

    def test_key_in_the_same_file(self, tmp_path: Path) -> None:
        """One file for both."""
        issued = Authority(tmp_path).issue("pbx1", "127.0.0.1")
        both = tmp_path / "both.key"
        both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
        assert self.shown(ServerCertificate(listening(f"ssl:8443:privateKey={both}")))

    def test_renewed(self, tmp_path: Path) -> None:
        """New connections are shown the new one; what cannot be used leaves the old one."""
        authority = Authority(tmp_path)
        issued = authority.issue("pbx1", "127.0.0.1")
        certificate = ServerCertificate(listening(self.described(issued)))
        first = self.shown(certificate)
        authority.issue("pbx1", "127.0.0.1")
        assert self.shown(certificate) == first
        certificate.renew()
        second = self.shown(certificate)
        assert second != first
        issued.certificate.write_text("none")
        with pytest.raises(ConfigError, match="in PEM"):
            certificate.renew()
        assert self.shown(certificate) == second

    @pytest.mark.parametrize("broken", ["certificate", "key", "chain", "mixed", "missing"])
    def test_no_certificate(self, tmp_path: Path, broken: str) -> None:
        """The files are named, and what should be in them."""
        issued = Authority(tmp_path).issue("pbx1", "127.0.0.1")
        chain = tmp_path / "chain.pem"
        chain.write_bytes(issued.certificate.read_bytes())
        match broken:
            case "certificate":
                issued.certificate.write_text("none")
            case "key":
                issued.key.write_text("none")
            case "chain":
                chain.write_text("none")
            case "mixed":
                issued.key.write_bytes(Authority(tmp_path).issue("pbx2", "::1").key.read_bytes())
            case _:
                issued.key.unlink()
        described = self.described(issued, f":extraCertChain={chain}")
        with pytest.raises(ConfigError, match=rf"{issued.certificate}, {issued.key}, {chain}: "):
            listener(described, Factory(), MemoryReactorClock())


def test_is_taken() -> None:
    """Whether somebody listens there, of whatever interface; nothing is connected for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for interface in ("127.0.0.1", "0.0.0.0", ""):
            assert is_taken(listening(f"tcp:{port}:interface={interface}"))
        assert not is_taken(listening(f"tcp:{port}:interface=127.0.0.9"))
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not is_taken(listening(f"tcp:{port}:interface=127.0.0.1"))
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert is_taken(listening(rf"tcp6:{server.getsockname()[1]}:interface=\:\:1"))
    assert not is_taken(listening(f"tcp:{port}:interface=192.0.2.9"))  # of no interface here


def test_trust_root(tmp_path: Path) -> None:
    """The authorities of a file, or those of the system; what is none is named."""
    assert trust_root(None) is None
    assert trust_root(str(Authority(tmp_path).file)) is not None
    file = tmp_path / "none.pem"
    with pytest.raises(ConfigError, match=f"{file}: No such file"):
        trust_root(str(file))
    for text in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=f"{file}: .*in PEM"):
            trust_root(str(file))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("pbx", False)],
)
def test_is_loopback(host: str, loopback: bool) -> None:
    """Whether nobody but this host can be reached there."""
    assert is_loopback(host) is loopback
