"""TLS towards a server that is known by its own authority, by its name, or by its certificate.

A connection counts as made when the handshake is over and the certificate was the right one; so
what fails before has sent nothing. There is no way not to look at the certificate.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NoReturn

from attrs import frozen
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from c2c_agent.errors import C2CError, ConfigError

#: Seconds that a handshake may take.
_HANDSHAKE: Final = 10.0

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class WrongCertificateError(C2CError):
    """The server shows another certificate than the one it is known by."""


@frozen
class Trust:
    """What a server's certificate must be.

    `ca_file`: issued by an authority in this file (PEM); None: by one that this host trusts.
    `server_name`: for this name or address; None: for the host that is connected to. `sha256`: the
    very certificate with this fingerprint, in hexadecimal digits. Without a `ca_file` beside it,
    the fingerprint alone decides: nobody else can show that certificate.
    """

    ca_file: str | None = None
    server_name: str | None = None
    sha256: str | None = None


def tls_endpoint(
    reactor: Any, host: str, port: int, trust: Trust, *, connect_seconds: float = 10.0
) -> IStreamClientEndpoint:
    """An endpoint whose connections are only made to the server that is trusted.

    Raises ConfigError where the authority's file cannot be used.
    """
    below = HostnameEndpoint(reactor, host.encode(), port, timeout=connect_seconds)
    pin = None if trust.sha256 is None else plain_fingerprint(trust.sha256)
    return _ShownEndpoint(wrapClientTLS(_creator(host, trust), below), pin, reactor)


def plain_fingerprint(text: str) -> str:
    """A fingerprint without what people put between its digits."""
    return re.sub(r"[\s:]", "", text).lower()


def _creator(host: str, trust: Trust) -> IOpenSSLClientConnectionCreator:
    name = trust.server_name or host
    if trust.sha256 is not None and trust.ca_file is None:
        return _ByFingerprint(name, plain_fingerprint(trust.sha256))
    root = platformTrust() if trust.ca_file is None else _authorities(trust.ca_file)
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(name, trustRoot=root)
    return creator


def _authorities(file: str) -> Any:
    try:
        blocks = _PEM.findall(Path(file).read_bytes())
        certificates = [Certificate.loadPEM(block) for block in blocks]
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except Exception as error:  # OpenSSL's errors have no root of their own
        raise ConfigError(f"{file}: no certificate in this file can be read") from error
    if not certificates:
        raise ConfigError(f"{file}: this file must hold a certificate in PEM")
    return trustRootFromCertificates(certificates)


@implementer(IOpenSSLClientConnectionCreator)
class _ByFingerprint:
    """Connections to the one certificate with this fingerprint, whoever has issued it."""

    def __init__(self, name: str, pin: str) -> None:
        self._name = name
        self._pin = pin
        self._context = CertificateOptions().getContext()

    def clientConnectionForTLS(  # noqa: N802 - Twisted's name
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: ARG002, N803 - Twisted's name
    ) -> SSL.Connection:
        """Make a connection; its handshake fails at any other certificate."""
        connection = SSL.Connection(self._context, None)
        if not (isIPAddress(self._name) or isIPv6Address(self._name)):
            connection.set_tlsext_host_name(self._name.encode("idna"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._is_right)
        return connection

    def _is_right(
        self, _connection: SSL.Connection, certificate: X509, _error: int, depth: int, _ok: int
    ) -> bool:
        return depth != 0 or _fingerprint(certificate) == self._pin


def _fingerprint(certificate: X509) -> str:
    return plain_fingerprint(certificate.digest("sha256").decode())


@implementer(IStreamClientEndpoint)
class _ShownEndpoint:
    """An endpoint that has connected when the handshake is over and the certificate is right."""

    def __init__(self, endpoint: IStreamClientEndpoint, pin: str | None, clock: Any) -> None:
        self._endpoint = endpoint
        self._pin = pin
        self._clock = clock

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the Deferred fails with what OpenSSL says of the handshake."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        shown = await self._endpoint.connect(_ShownFactory(factory, self._pin))
        assert isinstance(shown, _Shown)  # noqa: S101 - that factory makes no others
        return await shown.ready.addTimeout(_HANDSHAKE, self._clock, onTimeoutCancel=_too_slow)


class _ShownFactory(Factory):
    noisy = False

    def __init__(self, inner: IProtocolFactory, pin: str | None) -> None:
        self._inner = inner
        self._pin = pin

    def buildProtocol(self, addr: Any) -> Protocol | None:  # noqa: N802 - Twisted's name
        inner = self._inner.buildProtocol(addr)
        return None if inner is None else _Shown(inner, self._pin)


@implementer(IHandshakeListener)
class _Shown(Protocol):
    """Passes everything on to `inner`, and tells when the other side has shown who it is."""

    def __init__(self, inner: Any, pin: str | None) -> None:
        self._inner = inner
        self._pin = pin
        self.ready = Deferred[IProtocol](lambda _: self._abort())

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        self._inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._inner.dataReceived(data)

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        transport: Any = self.transport
        shown = _fingerprint(transport.getPeerCertificate())
        if self._pin is not None and shown != self._pin:
            error = WrongCertificateError(f"the certificate has the fingerprint {shown}")
            self.ready.errback(error)
            self._abort()
        elif not self.ready.called:
            self.ready.callback(self._inner)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's
        if not self.ready.called:
            self.ready.errback(reason)
        self._inner.connectionLost(reason)

    def _abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


def _too_slow(_cancelled: object, seconds: float) -> NoReturn:
    raise TimeoutError(f"no TLS handshake within {seconds:g} s")
