"""`evolve` as attrs has it, at half the cost: what is known of a call is evolved forty times.

attrs looks each field up by its name, every time. Here all are read at once, and passed in their
order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["evolve"]

if TYPE_CHECKING:  # by attrs' own, mypy knows which changes are right
    from attrs import evolve
else:

    def evolve(instance, /, **changes):
        """A copy of an instance, with other values in some of its fields.

        Of a class of attrs with two fields or more, none of them by keyword alone. Raises KeyError
        for a field that it does not have.
        """
        kind = instance.__class__
        read, places = _fields(kind)
        values = [*read(instance)]
        for name, value in changes.items():
            values[places[name]] = value
        return kind(*values)


@cache
def _fields(kind: Any) -> tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, int]]:
    """What reads all fields of a class that its instances are made of, and the place of each."""
    made_of = [one for one in kind.__attrs_attrs__ if one.init]
    places = {one.alias: place for place, one in enumerate(made_of)}
    return attrgetter(*(one.name for one in made_of)), places
