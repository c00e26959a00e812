"""What single values of the configuration must be, and the words that say so. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Any, Final, TypeAlias

from attrs import Attribute, frozen

from c2c_agent.net.listening import listening
from c2c_agent.policy.keys import AGENT_ID

#: What may stand in a template of a dial string or a variable.
_PLACEHOLDER: Final = re.compile(r"\{(number|context|dial_as)\}")
#: A dialplan context, as Asterisk bounds it (AST_MAX_CONTEXT) and without what separates contexts.
CONTEXT: Final = re.compile(r"[A-Za-z0-9_.-]{1,79}")
WORD: Final = re.compile(r"[!-~]{1,253}")
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


#: Stands for the address of a client at a UNIX socket, which has none. No header can name it: it
#: is no address.
UNIX: Final = "unix"


class ImpossibleValueError(ValueError):
    """A value that cannot be: what would be right, and `where` in its section it stands."""

    def __init__(self, advice: str, *where: str | int) -> None:
        super().__init__(advice)
        self.where = where


Validator: TypeAlias = Callable[[Any, Any, Any], None]


@frozen
class Shape:
    """A validator: the whole text has a shape, which `words` describe."""

    regex: re.Pattern[str]
    words: str

    def __call__(self, _instance: object, attribute: Attribute[Any], value: str) -> None:
        """Judge a value. Raises ImpossibleValueError."""
        if self.regex.fullmatch(value) is None:
            raise ImpossibleValueError(f"must be {self.words}, not {value!r}", attribute.name)


@frozen
class Within:
    """A validator: a number from `low` to `high`, both included."""

    low: int
    high: int
    unit: str

    def __call__(self, _instance: object, attribute: Attribute[Any], value: int) -> None:
        """Judge a value. Raises ImpossibleValueError."""
        if not self.low <= value <= self.high:
            advice = f"must be from {self.low} to {self.high} {self.unit}, not {value}"
            raise ImpossibleValueError(advice, attribute.name)


@frozen
class Listens:
    """A validator: the description of a listener of one of these kinds."""

    kinds: Sequence[str]

    def __call__(self, _instance: object, attribute: Attribute[Any], value: str) -> None:
        """Judge a value. Raises ImpossibleValueError."""
        try:
            listening(value, *self.kinds)
        except ValueError as error:
            raise ImpossibleValueError(str(error), attribute.name) from None


def is_template(_instance: object, attribute: Attribute[Any], value: str) -> None:
    """A validator: a text with `{number}`, `{context}`, `{dial_as}` in it, and no other braces."""
    if not {"{", "}"}.isdisjoint(_PLACEHOLDER.sub("", value)):
        raise ImpossibleValueError(
            f"may have only {{number}}, {{context}} and {{dial_as}} in braces, unlike {value!r}",
            attribute.name,
        )


def are_networks(_instance: object, attribute: Attribute[Any], value: Sequence[str]) -> None:
    """A validator: each is an address or a network, or `unix`: whoever uses a UNIX socket."""
    for index, text in enumerate(value):
        try:
            if text != UNIX:
                ip_network(text)
        except ValueError as error:
            advice = f"must be unix, an address or a network such as 192.0.2.0/24: {error}"
            raise ImpossibleValueError(advice, attribute.name, index) from None


is_agent_id = Shape(AGENT_ID, "1 to 64 letters, digits, _, . or -")


is_context = Shape(CONTEXT, "the name of a dialplan context")
