"""Texts with placeholders, and what a value must be for the place where it lands. Pure.

`{dial_first}`, `{saved.channel}`, `{timeout:int}` are placeholders. Other braces stay as they are,
so that a PBX's own `{name=value}` needs no escapes; only a single word in braces that nobody knows
is a mistake.

No text is ever put together and then parsed by us. What a value may be follows from its place, and
what came from the PBX (`call_id`, `saved`) is held to the narrowest rule everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final
from urllib.parse import quote

from attrs import frozen

from c2c_agent.errors import C2CError

_WORD: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)?)(:[A-Za-z]+)?\}")

#: The names of a call's own values, and the first halves of those with two.
OWN: Final = frozenset({"dial_first", "dial_second", "dial_as", "timeout", "request_id", "call_id"})
FAMILIES: Final = frozenset({"login", "saved", "secret"})

#: What a value may be where it becomes part of a text that a PBX reads by rules of its own.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.+*#@:/-]{1,128}")
_PRINTABLE: Final = re.compile(r"[ -~]*")

_HIDDEN: Final = "***"

#: Names of headers and fields that have a credential, as those of other people's APIs go.
_CREDENTIAL: Final = re.compile(
    r"passw|passphrase|secret|token|cookie|credential|authorization|session|signature"
    r"|key$|(^|[-_])(auth|pin|pwd|pw)$",
    re.IGNORECASE,
)


class TemplateError(C2CError):
    """A text is no template; the message says what would be right."""


class UnusableValueError(C2CError):
    """A value must not stand where it would land, or there is none yet. The value is not told."""


class Where(Enum):
    """Where a value lands."""

    PATH = "path"
    VALUE = "value"  # of a query or form, or in a string of JSON: encoded by a library afterwards
    HEADER = "header"
    TEXT = "text"
    PLAIN = "plain"  # compared or hashed here, and sent nowhere


@frozen
class Placeholder:
    """A place for a value; `number`: alone in a JSON string it becomes a number."""

    name: str
    number: bool = False

    @property
    def family(self) -> str:
        """The first half of its name: of `saved.channel` that is `saved`."""
        return self.name.partition(".")[0]


@frozen
class Template:
    """A text whose placeholders are filled with values."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> Iterator[Placeholder]:
        """Its placeholders, in order."""
        return (part for part in self.parts if isinstance(part, Placeholder))

    def fill(self, values: Mapping[str, str], where: Where) -> str:
        """The text with its values. Raises UnusableValueError."""
        return "".join(
            part if isinstance(part, str) else _escaped(part, values, where) for part in self.parts
        )

    def fill_json(self, values: Mapping[str, str]) -> str | int:
        """The same in a string of JSON, or a number. Raises UnusableValueError."""
        match self.parts:
            case (Placeholder(number=True) as alone,):
                return int(_escaped(alone, values, Where.VALUE))
        return self.fill(values, Where.VALUE)


def parse_template(text: str) -> Template:
    """The template that a text is. Raises TemplateError."""
    parts: list[str | Placeholder] = []
    end = 0
    for found in _WORD.finditer(text):
        parts += [text[end : found.start()], _placeholder(found[1], found[2])]
        end = found.end()
    parts.append(text[end:])
    return Template(tuple(part for part in parts if part))


def _placeholder(name: str, suffix: str | None) -> Placeholder:
    family, _, rest = name.partition(".")
    if (name not in OWN) if not rest else (family not in FAMILIES):
        known = ", ".join(sorted(OWN) + [f"{one}.…" for one in sorted(FAMILIES)])
        raise TemplateError(f"knows no placeholder {{{name}}}; known are {known}")
    if suffix not in {None, ":int"} or (suffix is not None and name != "timeout"):
        raise TemplateError(f"knows no {{{name}{suffix}}}; only {{timeout:int}} is a number")
    return Placeholder(name, number=suffix is not None)


def hidden(values: Mapping[str, str], names: Iterator[Placeholder]) -> dict[str, str]:
    """The values as they may be shown: stars for secrets, and for what a login gave."""
    shown = {name: text for name, text in values.items() if not _is_secret(name)}
    return shown | {one.name: _HIDDEN for one in names if _is_secret(one.name)}


def shown_as(name: str, template: Template) -> Template:
    """A named text as it may be shown: stars where a credential is written out in it."""
    if not is_credential(name) or not any(isinstance(part, str) for part in template.parts):
        return template
    if any(_is_secret(part.name) for part in template.placeholders):
        return template  # such as "Bearer {secret.token}": the stars come with the values
    return Template((_HIDDEN,))


def is_credential(name: str) -> bool:
    """Whether a header or a field of that name is likely to have a credential."""
    return _CREDENTIAL.search(name) is not None


def _is_secret(name: str) -> bool:
    return name.startswith(("secret.", "login."))


def is_plain(value: str) -> bool:
    """Whether a value that a PBX gave may be used at all."""
    return _PLAIN.fullmatch(value) is not None


def _escaped(part: Placeholder, values: Mapping[str, str], where: Where) -> str:
    value = values.get(part.name)
    if value is None:
        raise UnusableValueError(f"{{{part.name}}} is not known yet")
    from_pbx = part.family in {"saved", "call_id"}
    if (from_pbx or (where is Where.TEXT and part.family != "secret")) and not is_plain(value):
        raise UnusableValueError(f"{{{part.name}}} has characters that may not stand there")
    if where is Where.PATH:
        return quote(value, safe="")
    if where is Where.HEADER and _PRINTABLE.fullmatch(value) is None:
        raise UnusableValueError(f"{{{part.name}}} has characters that no header may have")
    return value
