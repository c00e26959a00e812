"""What a browser says of the page that asks, and what it has to be told.

Pure. A page of another origin may read an answer only where the answer names its origin; for all
but the plainest requests the browser asks for that first (Fetch Standard, section 3.2, CORS). It
does so once more where a public page reaches into a private network (Private Network Access, the
draft of the WICG). What a browser fetches before anybody has clicked says so in a header.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from attrs import frozen

#: Names and values of an answer's headers.
HeaderFields: TypeAlias = Sequence[tuple[str, str]]

#: Where browsers say that nobody has asked for a page yet: standard, Safari's, old Firefox's.
_EARLY: Final = ("sec-purpose", "purpose", "x-moz")

#: What a page may send, and may read beside the body.
_METHODS: Final = "GET, POST, DELETE"
_SENT: Final = "Authorization, Content-Type, Last-Event-ID"
_READ: Final = "Retry-After"

#: Seconds for which a browser need not ask again.
_MAX_AGE: Final = "600"

#: What the answer depends on, for caches.
VARY: Final = ("Vary", "Origin")


@frozen
class Browser:
    """What a request's headers say of the browser; of other programs they say nothing.

    `origin`: that of the page; '' where none is named. `early`: nobody has asked for it yet.
    `asks_first`: it is a preflight, and with `private_network` one from a public page into a
    private network. `same_origin`: the browser says that the page is of this server.
    """

    origin: str = ""
    early: bool = False
    asks_first: bool = False
    private_network: bool = False
    same_origin: bool = False


def read_browser(method: str, header: Callable[[str], str]) -> Browser:
    """Read the headers of a request; `header` gives one by its name in lower case, or ''."""
    return Browser(
        origin=header("origin"),
        early=any("prefetch" in header(name).lower() for name in _EARLY),
        asks_first=method == "OPTIONS" and bool(header("access-control-request-method")),
        private_network=header("access-control-request-private-network") == "true",
        same_origin=header("sec-fetch-site") == "same-origin",
    )


def origin_of(url: str) -> str:
    """The origin of a URL (RFC 6454, section 4), as browsers write it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def readable(origin: str) -> HeaderFields:
    """The headers by which a page of that origin may read an answer."""
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", _READ),
    )


def preflight(browser: Browser) -> HeaderFields:
    """The headers of the answer to a browser that asks first, for a page that may ask."""
    fields = [
        ("Access-Control-Allow-Origin", browser.origin),
        ("Access-Control-Allow-Methods", _METHODS),
        ("Access-Control-Allow-Headers", _SENT),
        ("Access-Control-Max-Age", _MAX_AGE),
    ]
    if browser.private_network:
        fields.append(("Access-Control-Allow-Private-Network", "true"))
    return fields
