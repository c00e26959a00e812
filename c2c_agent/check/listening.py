"""At which addresses of this host somebody listens, as the kernel lists them.

Pure: the text of /proc/net/tcp and /proc/net/tcp6 (proc(5)) in, addresses out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

#: The state LISTEN (include/net/tcp_states.h).
_LISTEN: Final = "0A"

#: Hexadecimal digits of one word of an address, which stands in the host's byte order.
_WORD: Final = 8


def listeners(table: str, port: int) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses at which the sockets of `table` listen on `port`."""
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, its_port = local.partition(":")
        if state == _LISTEN and int(its_port, 16) == port:
            yield _address(address)


def _address(digits: str) -> IPv4Address | IPv6Address:
    words = [digits[i : i + _WORD] for i in range(0, len(digits), _WORD)]
    packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
