"""How the one host and port of a program is reached, and which addresses never are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from c2c_agent.net.endpoints import is_loopback
from c2c_agent.net.fresh_request import FreshRequests
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.reading import is_link_local


def requests_of(program: Program, reactor: Any) -> FreshRequests:
    """Who sends a program's requests. Raises ConfigError."""
    parts = urlsplit(program.base_url)
    has_tls = parts.scheme == "https"
    refuses: Callable[[str], str | None] = partial(
        why_not, plain=not has_tls and not program.insecure_http
    )
    return FreshRequests(
        reactor,
        host=parts.hostname or "",
        port=parts.port or (443 if has_tls else 80),
        trust=program.trust if has_tls else None,
        connect_seconds=program.timeouts.connect,
        why_not=refuses,
    )


def why_not(address: str, *, plain: bool) -> str | None:
    """Why nothing is sent to an address, whatever name has led to it; None: it is.

    `plain`: there is no TLS, and nobody has allowed that to another host.
    """
    if is_link_local(address):
        return f"{address} is a link-local address"
    if plain and not is_loopback(address):
        return f"{address} is another host, and there is no TLS"
    return None
