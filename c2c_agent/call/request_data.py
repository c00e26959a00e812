"""What is kept of a request's parameters: those that are known, bounded, without a secret. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Final

from c2c_agent.call.job import METADATA, is_parameter

#: Characters of a value that are kept; no value that means anything comes near.
_LONGEST: Final = 256

_ALL_METADATA: Final = 5000  # of all metadata in one object

#: Parameters, and characters of a name, that are kept; there are not so many.
_MOST: Final = 40
_LONGEST_NAME: Final = 64

#: What stands in the place of a secret that was presented with a request.
MASK: Final = "[key]"

#: Characters of the shortest secret that is looked for. A shorter one may be part of a number.
_SHORTEST: Final = 8


def known(parameters: Mapping[str, object], *more: str) -> dict[str, object]:
    """The parameters that mean something, and `more`; the others are passed over."""
    return {
        name: value
        for name, value in parameters.items()
        # The misspelling of the public API counts, and of metadata also what is to be refused.
        if name in {*more, "dail_as"} or is_parameter(name) or name.startswith(METADATA)
    }


def bounded(parameters: Mapping[str, object]) -> dict[str, object]:
    """The parameters with the beginnings of values that nobody can have meant."""
    return {
        name[:_LONGEST_NAME]: _cut(value, _ALL_METADATA if name == "metadata" else _LONGEST)
        for name, value in islice(parameters.items(), _MOST)
    }


def without(secrets: Collection[str], value: Any) -> Any:
    """A value, or all that is in it, with a mask in the place of each secret."""
    if isinstance(value, str):
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {without(secrets, name): without(secrets, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without(secrets, inner) for inner in value]
    return value


def _cut(value: object, longest: int) -> object:
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= longest else f"{text[:longest]}…"
