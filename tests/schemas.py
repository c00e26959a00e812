"""JSON schemas of the descriptions, made strict: a property that no schema names is a mistake here.

To clients the schemas are open, since answers may come to say more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def strict(schemas: Any) -> Any:
    """The same with every object closed that names its properties and does not say otherwise."""
    closed = copy.deepcopy(schemas)
    _close(closed)
    return closed


def _close(part: Any) -> None:
    if isinstance(part, list):
        for below in part:
            _close(below)
    elif isinstance(part, dict):
        if isinstance(part.get("properties"), dict) and part.get("type") != "string":
            part.setdefault("additionalProperties", False)
        for below in part.values():
            _close(below)


class Schemas:
    """The schemas of a description, strict, by the JSON pointer at which they stand.

    `beside` are files that it refers to, by their URLs; `at` is its own.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        at: str = "file:///description",
        beside: Mapping[str, Any] | None = None,
    ) -> None:
        self._at = at
        self._registry: Registry[Any] = Registry().with_resources(
            (url, Resource.from_contents(strict(file), DRAFT202012))
            for url, file in {**(beside or {}), at: description}.items()
        )

    def faults(self, pointer: str, instance: object) -> list[str]:
        """What is wrong with something that is to keep to a schema."""
        validator = Draft202012Validator(
            {"$ref": f"{self._at}#{pointer}"},
            registry=self._registry,
            format_checker=FormatChecker(),
        )
        return [
            f"{error.json_path}: {error.message}"[:500] for error in validator.iter_errors(instance)
        ]
