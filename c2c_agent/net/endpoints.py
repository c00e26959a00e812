"""An endpoint that tells why it did not connect."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer


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
