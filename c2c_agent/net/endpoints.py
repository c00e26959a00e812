"""Where we connect to and listen: endpoints, and what their descriptions say."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from twisted.application.internet import StreamServerEndpointService
from twisted.application.strports import service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from c2c_agent.errors import ConfigError

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


def listener(description: str, factory: Any, reactor: Any) -> StreamServerEndpointService:
    """A service that listens where a Twisted endpoint's `description` says, once it is started.

    Raises ConfigError for what is no such description.
    """
    takes_it = description.startswith(("tcp", "ssl")) and "backlog=" not in description
    backlog = f":backlog={_BACKLOG}" if takes_it else ""
    try:
        return service(description + backlog, factory, reactor=reactor)
    except Exception as error:  # Twisted's parsers and OpenSSL have no root of their own
        message = f"configuration: {description!r} is no endpoint to listen on: {error}"
        raise ConfigError(message) from error


def tcp_address(listen: str) -> str | None:
    """Where a Twisted endpoint such as `tcp:4573:interface=127.0.0.1` is reached from its own host.

    As `host:port`; None for one that is no TCP listener.
    """
    kind, _, rest = listen.partition(":")
    fields = [field.replace("\0", ":") for field in rest.replace("\\:", "\0").split(":")]
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    port = named.get("port", fields[0])
    if kind not in {"tcp", "tcp6", "ssl"} or not port.isdigit():
        return None
    host = named.get("interface", "")
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether nobody but this host can be reached at `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
