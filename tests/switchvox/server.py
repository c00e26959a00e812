"""A Switchvox double behind a real HTTP server, in a process's own thread and reactor."""

# Twisted's reactors have few annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.threads import blockingCallFromThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.server import Site

from tests.certificates import Issued
from tests.fake_switchvox import FakeServer, FakeSwitchvox

_T = TypeVar("_T")


@frozen
class Running:
    """A double, where it listens, and the reactor that it lives in."""

    fake: FakeSwitchvox
    server: FakeServer
    port: int
    scheme: str
    certificate: Path | None
    reactor: Any

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What its requests begin with."""
        return f"{self.scheme}://{self.address}"

    def do(self, what: Callable[[], _T]) -> _T:
        """Do something in its thread."""
        done: _T = blockingCallFromThread(self.reactor, what)
        return done


def over_tls(site: Site, issued: Issued, reactor: Any) -> TLSMemoryBIOFactory:
    """A site with a certificate. Twisted's own way would take the timers of another reactor."""
    context = DefaultOpenSSLContextFactory(str(issued.key), str(issued.certificate), SSL.TLS_METHOD)
    return TLSMemoryBIOFactory(context, False, site, clock=reactor)


@contextmanager
def serve(issued: Issued | None) -> Iterator[Running]:
    """A double that listens on loopback, until the end."""
    reactor = EPollReactor()
    fake = FakeSwitchvox(reactor)
    server = FakeServer(fake)
    factory = server.site if issued is None else over_tls(server.site, issued, reactor)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    thread = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False})
    thread.start()
    try:
        yield Running(
            fake,
            server,
            port.getHost().port,
            "http" if issued is None else "https",
            None if issued is None else issued.certificate,
            reactor,
        )
    finally:
        reactor.callFromThread(reactor.stop)
        thread.join(10)
