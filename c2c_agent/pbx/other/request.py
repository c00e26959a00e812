"""A request as it is configured, and as it goes out. Pure.

Each value is encoded by the place where it lands; nothing of it can reach another part of the
request, and nothing of a request says where it goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from attrs import evolve, field, frozen

from c2c_agent.pbx.other.template import (
    Placeholder,
    Template,
    UnusableValueError,
    Where,
    hidden,
    is_credential,
    shown_as,
)

#: Bytes of a body that we send.
_LONGEST: Final = 65536

_FORM: Final = "application/x-www-form-urlencoded"


@frozen
class Body:
    """What is sent: a structure of `json`, the fields of a `form`, or a `text`."""

    json: Any = None  # of mappings, lists, templates, and what JSON has else
    form: Mapping[str, Template] | None = None
    text: Template | None = None

    @property
    def content_type(self) -> str:
        """What it is, unless the configuration says otherwise."""
        if self.form is not None:
            return _FORM
        return "text/plain; charset=utf-8" if self.text is not None else "application/json"

    def fill(self, values: Mapping[str, str]) -> str:
        """The body with its values. Raises UnusableValueError."""
        if self.form is not None:
            return urlencode(_pairs(self.form, values))
        if self.text is not None:
            return self.text.fill(values, Where.TEXT)
        return json.dumps(_filled(self.json, values), ensure_ascii=False, separators=(",", ":"))

    def shown(self) -> Body:
        """The same with stars for what is written out in it, and is a credential by its name."""
        form = None if self.form is None else _shown(self.form)
        return evolve(self, json=_shown_json(self.json), form=form)

    def templates(self) -> Iterator[Template]:
        """All texts in it."""
        yield from (self.form or {}).values()
        if self.text is not None:
            yield self.text
        yield from _templates(self.json)


@frozen
class OutgoingRequest:
    """A request as it goes out. `target`: path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str = ""


@frozen
class Request:
    """A request as it is configured. `no_auth`: it goes out without credentials."""

    method: str
    path: Template
    query: Mapping[str, Template] = field(factory=dict)
    raw_query: Template | None = None
    headers: Mapping[str, Template] = field(factory=dict)
    body: Body | None = None
    no_auth: bool = False

    def fill(self, values: Mapping[str, str]) -> OutgoingRequest:
        """The request with its values. Raises UnusableValueError."""
        path = self.path.fill(values, Where.PATH)
        if not {".", ".."}.isdisjoint(path.split("/")):
            raise UnusableValueError("a value would change the configured path")
        target = path
        if self.query:
            target += "?" + urlencode(_pairs(self.query, values), quote_via=quote)
        elif self.raw_query is not None:
            target += "?" + quote(self.raw_query.fill(values, Where.VALUE), safe="")
        headers = {
            name: template.fill(values, Where.HEADER) for name, template in self.headers.items()
        }
        if self.body is None:
            return OutgoingRequest(self.method, target, headers)
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = self.body.content_type
        body = self.body.fill(values)
        if len(body.encode()) > _LONGEST:
            raise UnusableValueError(f"the body would be longer than {_LONGEST} bytes")
        return OutgoingRequest(self.method, target, headers, body)

    def show(self, values: Mapping[str, str]) -> OutgoingRequest:
        """The same with stars for what is secret. Raises UnusableValueError."""
        shown = evolve(
            self,
            query=_shown(self.query),
            headers=_shown(self.headers),
            body=None if self.body is None else self.body.shown(),
        )
        return shown.fill(hidden(values, self.placeholders()))

    def in_url(self) -> Iterator[Placeholder]:
        """What stands in path and query."""
        for template in (self.path, *self.query.values(), self.raw_query):
            if template is not None:
                yield from template.placeholders

    def placeholders(self) -> Iterator[Placeholder]:
        """All of them."""
        yield from self.in_url()
        for template in self.headers.values():
            yield from template.placeholders
        if self.body is not None:
            for template in self.body.templates():
                yield from template.placeholders


def _pairs(fields: Mapping[str, Template], values: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, template.fill(values, Where.VALUE)) for name, template in fields.items()]


def _shown(named: Mapping[str, Template]) -> dict[str, Template]:
    return {name: shown_as(name, template) for name, template in named.items()}


def _shown_json(part: Any, name: str = "") -> Any:
    """`name`: of the field that it is in."""
    if isinstance(part, Mapping):
        return {
            below: _shown_json(value, below if is_credential(below) else name)
            for below, value in part.items()
        }
    if isinstance(part, list):
        return [_shown_json(below, name) for below in part]
    if isinstance(part, int | float) and not isinstance(part, bool):
        return shown_as(name, Template((str(part),))) if is_credential(name) else part
    return shown_as(name, part) if isinstance(part, Template) else part


def _filled(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, Template):
        return part.fill_json(values)
    if isinstance(part, Mapping):
        return {name: _filled(below, values) for name, below in part.items()}
    if isinstance(part, list):
        return [_filled(below, values) for below in part]
    return part


def _templates(part: Any) -> Iterator[Template]:
    if isinstance(part, Template):
        yield part
    elif isinstance(part, Mapping):
        for below in part.values():
            yield from _templates(below)
    elif isinstance(part, list):
        for below in part:
            yield from _templates(below)
