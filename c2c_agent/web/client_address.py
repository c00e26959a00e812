"""From which address a request came, when there may be a reverse proxy in between. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

#: Entries of X-Forwarded-For that are looked at: nobody has so many proxies of his own.
_MOST: Final = 20


class Proxies:
    """The proxies whose X-Forwarded-For is believed; without any, nobody's is."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(text) for text in trusted)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The address of the client, `peer` being the one that the connection is from.

        Each proxy adds to the right whom it heard from. So the list counts from the right, and
        only as far as it was written by trusted proxies; what stands further left, anybody may
        have written.
        """
        client = peer
        for heard_from in reversed(forwarded_for.split(",")[-_MOST:]):
            if not self._is_trusted(client):
                break
            address = _plain(heard_from)
            if address is None:
                break
            client = address
        return client

    def _is_trusted(self, text: str) -> bool:
        address = _plain(text)
        return address is not None and any(ip_address(address) in net for net in self._trusted)


def _plain(text: str) -> str | None:
    """An address in its canonical form. None if it is none, or has a zone: that may be any text."""
    if "%" in text:
        return None
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # a client of IPv4 at a listener of IPv6
    return str(mapped or address)
