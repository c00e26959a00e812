"""Where we connect to and listen: endpoints, and the certificates that they show."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from OpenSSL.crypto import Error as OpenSSLError
from OpenSSL.SSL import Context
from twisted.application.internet import StreamServerEndpointService
from twisted.application.strports import service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import (
    IOpenSSLContextFactory,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    DiffieHellmanParameters,
    PrivateCertificate,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from zope.interface import implementer

from c2c_agent.errors import ConfigError
from c2c_agent.net.listening import Listening, listening

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

#: The mode of a UNIX socket, where its description has none: who may connect can try keys.
_MODE: Final = "660"

#: Connections that may wait to be accepted. Of those beyond, the client tries again a second later.
_BACKLOG: Final = 1024


@implementer(IStreamClientEndpoint)
class WatchedEndpoint:
    """An endpoint that tells why it did not connect, which ClientService keeps to itself."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, not_connected: Callable[[Failure], None]
    ) -> None:
        self._endpoint = endpoint
        self._not_connected = not_connected

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, as the endpoint does."""

        def tell(failure: Failure) -> Failure:
            self._not_connected(failure)
            return failure

        return self._endpoint.connect(factory).addErrback(tell)

    def __repr__(self) -> str:
        return repr(self._endpoint)


@implementer(IOpenSSLContextFactory)
class ServerCertificate:
    """The certificate that a TLS listener shows to each new connection.

    The files are those of an `ssl:` description. Raises ConfigError, as `renew` does.
    """

    def __init__(self, listens: Listening) -> None:
        self._files = listens.fields
        self._options = self._read()

    def renew(self) -> None:
        """Read the files again; what cannot be used leaves the certificate as it was."""
        self._options = self._read()

    def getContext(self) -> Context:  # noqa: N802 - the name of Twisted's IOpenSSLContextFactory
        """Give what a new connection is set up by."""
        return self._options.getContext()

    def _read(self) -> CertificateOptions:
        key = self._files["privateKey"]
        own, chain, parameters = (
            self._files.get(name) for name in ("certKey", "extraCertChain", "dhParameters")
        )
        names = ", ".join(dict.fromkeys(filter(None, [own or key, key, chain, parameters])))
        try:
            pem = Path(own or key).read_bytes() + b"\n" + Path(key).read_bytes()
            certificate = PrivateCertificate.loadPEM(pem)
            options = CertificateOptions(
                privateKey=certificate.privateKey.original,
                certificate=certificate.original,
                extraCertChain=None if chain is None else _chain(chain),
                dhParameters=None if parameters is None else _parameters(parameters),
            )
            options.getContext()  # finds a key that is another certificate's
        except Exception as error:  # OpenSSL's errors have no root that is documented
            reason = getattr(error, "strerror", None) or str(error)
            message = f"{names}: a certificate with its key should be there, in PEM: {reason}"
            raise ConfigError(message) from error
        return options


def trust_root(ca_file: str | None) -> Any:
    """The authorities in a file, for `optionsForClientTLS`; None: those of the system.

    Raises ConfigError.
    """
    if ca_file is None:
        return None
    try:
        found = _PEM.findall(Path(ca_file).read_bytes())
        if found:
            return trustRootFromCertificates([Certificate.loadPEM(pem) for pem in found])
    except OSError as error:
        raise ConfigError(f"{ca_file}: {error.strerror}") from None
    except OpenSSLError as error:
        raise ConfigError(f"{ca_file}: no certificate in PEM: {error}") from None
    raise ConfigError(f"{ca_file}: this file must hold certificates in PEM")


def _parameters(file: str) -> DiffieHellmanParameters:
    parameters: DiffieHellmanParameters = DiffieHellmanParameters.fromFile(FilePath(file))
    return parameters


def _chain(file: str) -> list[Any]:
    found = _PEM.findall(Path(file).read_bytes())
    if not found:
        raise ValueError(f"{file} has no certificate")
    return [Certificate.loadPEM(pem).original for pem in found]


def listener(
    description: str,
    factory: Any,
    reactor: Any,
    certificate: ServerCertificate | None = None,
) -> StreamServerEndpointService:
    """A service that listens where a Twisted endpoint's `description` says, once it is started.

    `certificate` is what an `ssl:` one shows; without, it reads its own. Raises ConfigError for
    what is no such description, or one of a kind that `listening` does not know.
    """
    try:
        listens = listening(description)
        if listens.kind == "ssl":
            return _tls_listener(listens, factory, reactor, certificate)
        more = "" if "backlog" in listens.fields else f":backlog={_BACKLOG}"
        if listens.kind == "unix" and "mode" not in listens.fields:
            more += f":mode={_MODE}"
        return service(description + more, factory, reactor=reactor)
    except ValueError as error:
        message = f"configuration: {description!r} is no endpoint to listen on: it {error}"
        raise ConfigError(message) from error


def _tls_listener(
    listens: Listening, factory: Any, reactor: Any, certificate: ServerCertificate | None
) -> StreamServerEndpointService:
    endpoint = SSL4ServerEndpoint(
        reactor,
        listens.port,
        certificate or ServerCertificate(listens),
        int(listens.fields.get("backlog", _BACKLOG)),
        listens.fields.get("interface", ""),
    )
    listens_with_tls = StreamServerEndpointService(endpoint, factory)
    # As twisted.application.strports.service has it: who starts it hears why it cannot listen.
    listens_with_tls._raiseSynchronously = True  # noqa: SLF001
    return listens_with_tls


def is_taken(listens: Listening) -> bool:
    """Whether another program listens at a TCP port; nothing is sent to it, or connected."""
    interface = listens.fields.get("interface", "")
    family = socket.AF_INET6 if listens.kind == "tcp6" or ":" in interface else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((interface, listens.port or 0))
            probe.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def is_loopback(host: str) -> bool:
    """Whether nobody but this host can be reached at `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
