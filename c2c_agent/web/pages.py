"""The pages for browsers: the files of `static/`, read once, and the headers that they go with.

Pure but for the first look at the files of the package. What is served stands in a table that is
made from the names of those files; a path is looked up there and never becomes the name of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from attrs import frozen

from c2c_agent.web.browser import HeaderFields

#: What a browser may do on a page: load from its own origin alone, and be in nobody's frame
#: (Content Security Policy Level 3).
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    # To be kept, and asked for again each time: a page is never older than the agent.
    "cache-control": "no-cache",
}

#: The widget is for pages of other origins; nothing in it is anybody's secret.
_FOR_OTHER_ORIGINS: Final = {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
}

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

#: The files that have a path of their own; all others are below `/static/`.
_PATHS: Final = {"dial.html": "/dial", "console.html": "/console", "c2c.js": "/c2c.js"}


@frozen
class Page:
    """A file for a browser. `tag` is its entity tag (RFC 9110, section 8.8.3)."""

    content_type: str
    content: bytes
    tag: str
    headers: HeaderFields

    def is_known_to(self, if_none_match: str) -> bool:
        """Whether a client has it already, by what it sent as If-None-Match."""
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return self.tag in tags or tags == ["*"]


@cache
def pages() -> Mapping[str, Page]:
    """All pages by their paths. Not to be changed."""
    found: dict[str, Page] = {}
    for file in files("c2c_agent.web").joinpath("static").iterdir():
        content_type = _TYPES.get(file.name.rpartition(".")[2])
        if content_type is None:
            continue
        content = file.read_bytes()
        more = _FOR_OTHER_ORIGINS if file.name == "c2c.js" else {}
        tag = f'"{sha256(content).hexdigest()[:32]}"'
        found[_PATHS.get(file.name, f"/static/{file.name}")] = Page(
            content_type=content_type,
            content=content,
            tag=tag,
            headers=tuple({**_HEADERS, **more, "ETag": tag}.items()),
        )
    return found
