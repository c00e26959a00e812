"""From parsed YAML to a Config: merging, strict types, and errors that help.

Pure. `parse` takes the documents in order, each with the name of its file; later ones are laid over
earlier ones: sections are merged key by key, the lists `keys` and `webhooks` by names, any other
value replaces the earlier one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from types import GenericAlias
from typing import Any, Final, Literal, TypeAlias, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from c2c_agent.config.pbx import (
    AsteriskConfig,
    OtherSection,
    RelayConfig,
    SwitchvoxConfig,
)
from c2c_agent.config.rules import ImpossibleValueError
from c2c_agent.config.sections import AmqpConfig, Config
from c2c_agent.errors import ConfigError
from c2c_agent.policy.hours import Hours, parse_hours
from c2c_agent.policy.keys import Key
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pattern import Pattern, parse_pattern

#: The way from the root to a value: names of sections and indices of lists.
Path: TypeAlias = tuple[str | int, ...]


#: Lists whose members have names, by which they are merged.
_NAMED: Final = frozenset({("keys",), ("webhooks",)})


def parse(documents: Iterable[tuple[str, object]], *, server_id: str) -> Config:
    """Make the Config of these documents; raises ConfigError.

    `server_id` stands in where none is configured.
    """
    merged: dict[str, Any] = {"server_id": server_id}
    origins: dict[Path, str] = {}
    for file, document in documents:
        if document is None:
            continue  # an empty file
        if not isinstance(document, Mapping):
            raise ConfigError(
                f"{file}: a mapping such as 'http: …' is expected, not {_kind(document)}"
            )
        _lay_over(merged, document, file, (), origins)
    try:
        return _converter(merged, origins).structure(merged, Config)
    except BaseValidationError as error:
        lines = [
            f"{_origin(path, origins)}: {_dotted(path)}: {advice}"
            for path, advice in _advice(error, ())
        ]
        raise ConfigError("\n".join(lines)) from None


def parse_key(fields: Mapping[str, object], place: str) -> Key:
    """A key that stands somewhere else than in the configuration, and means the same.

    Raises ConfigError, which names the `place`.
    """
    try:
        return _converter().structure(fields, Key)
    except BaseValidationError as error:
        lines = [f"{place}: {_dotted(path)}: {advice}" for path, advice in _advice(error, ())]
        raise ConfigError("\n".join(lines)) from None


def _lay_over(
    below: dict[str, Any],
    above: Mapping[Any, Any],
    file: str,
    path: Path,
    origins: dict[Path, str],
) -> None:
    """Merge `above` into `below`, and note which file each value is from."""
    for name, value in above.items():
        here = (*path, name)
        origins[here] = file
        if isinstance(value, Mapping):
            if not isinstance(below.get(name), dict):
                below[name] = {}
            _lay_over(below[name], value, file, here, origins)
        elif here in _NAMED and isinstance(value, list):
            below[name] = _merge_named(below.get(name), value, file, here, origins)
        else:
            below[name] = value


def _merge_named(
    below: object, above: list[Any], file: str, path: Path, origins: dict[Path, str]
) -> list[Any]:
    """What a later file has takes the place of what has its name, or is added."""
    merged = list(below) if isinstance(below, list) else []
    names = [_name(one) for one in merged]
    for one in above:
        if _name(one) is not None and _name(one) in names:
            index = names.index(_name(one))
            names[index] = None  # a second one in the same file is one too many
            merged[index] = one
        else:
            index = len(merged)
            merged.append(one)
        origins[*path, index] = file
    return merged


def _name(one: object) -> object:
    return one.get("name") if isinstance(one, Mapping) else None


# Types: exactly what is meant, nothing converted


def _converter(
    whole: Mapping[str, Any] | None = None, origins: Mapping[Path, str] | None = None
) -> cattrs.Converter:
    """`whole` is what is made of it, and `origins` the files of that, where they are needed."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _strict)
    converter.register_structure_hook_factory(
        attrs.has, lambda section: _section(converter, section)
    )
    converter.register_structure_hook_func(
        lambda kind: kind == AsteriskConfig | None,
        lambda value, _kind: _asterisk(converter, value),
    )
    for section in (AmqpConfig, RelayConfig, SwitchvoxConfig, NumberPlan):
        converter.register_structure_hook_func(
            partial(operator.eq, section | None), partial(_optional, converter, section)
        )
    converter.register_structure_hook_func(
        partial(operator.eq, OtherSection | None),
        lambda value, _kind: _other(value, whole or {}, origins or {}),
    )
    converter.register_structure_hook(Pattern, _pattern)
    converter.register_structure_hook(Hours, _hours)
    converter.register_structure_hook_func(_is(Literal), _choice)
    converter.register_structure_hook_func(
        _is(Sequence),
        lambda value, kind: _sequence(converter, value, kind),
    )
    return converter


_WORDS: Final[Mapping[type, str]] = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    list: "list",
    dict: "mapping",
    float: "number with a fraction",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _WORDS.get(type(value), type(value).__name__)


def _strict(value: object, kind: type[Any]) -> Any:
    if type(value) is kind:
        return value
    # Which text was meant is not known: YAML reads 0100 as 64.
    hint = "; write it in quotes" if kind is str and type(value) in {int, float} else ""
    raise TypeError(f"must be {_WORDS[kind]}, not {_kind(value)} ({value!r}){hint}")


def _section(converter: cattrs.Converter, section: type[Any]) -> Callable[[Any, Any], Any]:
    """A mapping for a section; cattrs alone would stumble over anything else."""
    structure = make_dict_structure_fn(section, converter)

    def check(value: object, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a mapping, not {_kind(value)} ({value!r})")
        try:
            return structure(value, kind)
        except ClassValidationError as error:
            told = {_place(cause)[:1] for cause in error.exceptions}
            more = [
                fault
                for fault in _impossible_values(converter, section, value)
                if fault.where[:1] not in told
            ]
            if not more:
                raise
            causes = [*error.exceptions, *more]
            raise ClassValidationError(error.message, causes, section) from None

    return check


def _impossible_values(
    converter: cattrs.Converter, section: type[Any], values: Mapping[Any, Any]
) -> Iterator[ImpossibleValueError]:
    """Each value of a section that its rule refuses; attrs stops at the first."""
    for attribute in attrs.fields(section):
        if attribute.validator is None or attribute.name not in values:
            continue
        try:
            value = converter.structure(values[attribute.name], attribute.type)
        except (BaseValidationError, ValueError, TypeError):
            continue  # of another type than it should be, which is told
        try:
            attribute.validator(None, attribute, value)
        except ImpossibleValueError as fault:
            yield fault
        except ValueError:
            continue  # of a rule that attrs comes to when these are mended


def _asterisk(converter: cattrs.Converter, value: object) -> AsteriskConfig | None:
    """The section of the PBX, or `false` for none; an empty one is rather a slip of the pen."""
    if value is False:
        return None
    if value is None:
        raise TypeError("is empty; leave it out for the defaults, or write false for no Asterisk")
    return converter.structure(value, AsteriskConfig)


def _optional(
    converter: cattrs.Converter, section: type[Any], value: object, _kind: object
) -> object:
    """A section that is off where it is not given; an empty one is rather a slip of the pen."""
    if value is False:
        return None
    if value is None:
        raise TypeError("is empty; write {} for its defaults, or leave it out")
    return converter.structure(value, section)


def _other(
    value: object, whole: Mapping[str, Any], origins: Mapping[Path, str]
) -> OtherSection | None:
    """A section that is understood later; until then it is kept where it stands."""
    if value is False:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a mapping, not {_kind(value)}")
    where = next((path for path, found in _all_mappings(whole, ()) if found is value), ())
    files = {path: file for path, file in origins.items() if path[: len(where)] == where}
    return OtherSection(value, where, files)


def _all_mappings(value: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, object]]:
    for name, below in value.items():
        if isinstance(below, Mapping):
            yield (*path, name), below
            yield from _all_mappings(below, (*path, name))


def _is(origin: Any) -> Callable[[Any], bool]:
    """Whether a type is `origin[…]`."""
    return lambda kind: get_origin(kind) is origin


def _sequence(converter: cattrs.Converter, value: object, kind: Any) -> Any:
    """A list; cattrs alone would take a text for a list of its letters."""
    if not isinstance(value, list):
        raise TypeError(f"must be a list, not {_kind(value)} ({value!r})")
    return converter.structure(value, cast("Any", GenericAlias(tuple, (*get_args(kind), ...))))


def _pattern(value: object, _kind: type[Pattern]) -> Pattern:
    return parse_pattern(_strict(value, str))


def _hours(value: object, _kind: type[Hours]) -> Hours:
    return parse_hours(_strict(value, str))


def _choice(value: object, kind: Any) -> Any:
    choices = get_args(kind)
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        words = (str(one).lower() if isinstance(one, bool) else one for one in choices)
        raise ValueError(f"must be one of {', '.join(words)}, not {value!r}")
    return value


# Errors


def _advice(error: BaseException, path: Path) -> Iterator[tuple[Path, str]]:
    """Every single fault in cattrs' tree of them: its path, and what would be right."""
    match error:
        case ForbiddenExtraKeysError():
            for name in sorted(error.extra_fields, key=str):
                yield (*path, name), _unknown(name, error.cl)
        case BaseValidationError():
            for cause in error.exceptions:
                yield from _advice(cause, (*path, *_place(cause)))
        case KeyError():
            yield path, "is missing"
        case _:
            yield path, str(error.args[0])


def _place(cause: BaseException) -> Path:
    """Where in its parent a fault is; cattrs says it in a note."""
    if isinstance(cause, ImpossibleValueError):
        return cause.where
    return tuple(
        note.name if isinstance(note, AttributeValidationNote) else note.index
        for note in getattr(cause, "__notes__", ())
        if isinstance(note, (AttributeValidationNote, IterableValidationNote))
    )


def _unknown(name: object, section: type[Any]) -> str:
    known = [attribute.name for attribute in attrs.fields(section)]
    close = get_close_matches(str(name), known, 1)
    return (
        f"is unknown; did you mean {close[0]!r}?"
        if close
        else f"is unknown; known are {', '.join(known)}"
    )


def _dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the whole"


def _origin(path: Path, origins: Mapping[Path, str]) -> str:
    """The file that a value, or the nearest that stands above it, is from."""
    for length in range(len(path), -1, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return "configuration"
