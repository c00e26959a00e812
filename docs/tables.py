"""What pages of the documentation show from the program itself, as Markdown.

Pure. A page has a fence such as

    ```{generated} settings
    ```

and `filled` puts the text in its place. So what the program knows (its settings, the HTTP API, its
metrics) is written down once, and a page cannot be behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import yaml

from c2c_agent.call.call import Call, Received
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.outcome import Outcome
from c2c_agent.config.sections import Config
from c2c_agent.report.metrics import AgiSample, Metrics, OutboxSample, PbxSample, Sample
from c2c_agent.web.operation import description

_FENCE: Final = re.compile(r"^```\{generated\} ([a-z-]+)\n```$", re.MULTILINE)

#: Values that are explained together with the setting that they stand in.
_WITHIN: Final = frozenset({"Hours", "LegRule", "Pattern", "SecondLegRule"})


class UndescribedError(Exception):
    """A part of the program that should be described is not; the message names it."""


def filled(source: str) -> str:
    """The source of a page with everything that is generated in its place."""
    return _FENCE.sub(lambda fence: _GENERATED[fence[1]](), source)


# Settings


@attrs.frozen
class Setting:
    """One setting: its dotted name, which values it can have, and what it means; as Markdown."""

    name: str
    kind: str
    default: str
    text: str


@attrs.frozen
class Section:
    """A section of the configuration, and the settings in it that are no sections themselves."""

    name: str
    text: str
    settings: Sequence[Setting]


def sections(root: type[Any] = Config) -> Iterator[Section]:
    """Every section, with all of its settings; raises UndescribedError."""
    types = get_type_hints(root)
    own = [field for field in attrs.fields(root) if _below(types[field.name], field) is None]
    yield Section("", "", [_setting(root, field, field.name) for field in own])
    for field in attrs.fields(root):
        if (found := _below(types[field.name], field)) is not None:
            section, brackets = found
            name = field.name + brackets
            yield Section(name, _described(root, field), list(_settings(section, name)))


def _settings(section: type[Any], path: str) -> Iterator[Setting]:
    types = get_type_hints(section)
    for field in attrs.fields(section):
        name = f"{path}.{field.name}"
        if (found := _below(types[field.name], field)) is None:
            yield _setting(section, field, name)
        else:
            _described(section, field)
            yield from _settings(found[0], name + found[1])


def _below(kind: Any, field: attrs.Attribute[Any]) -> tuple[type[Any], str] | None:
    """The section that a setting is, or has several of, and the brackets that say so.

    None where the setting says of its values itself what they are.
    """
    kind = _without_none(kind)
    brackets = ""
    if get_origin(kind) is Sequence:
        [kind] = get_args(kind)
        brackets = "[]"
    if get_origin(kind) is Mapping:
        kind = get_args(kind)[1]
        brackets = ".<name>"
    if field.metadata.get("values"):
        return None
    known = isinstance(kind, type) and attrs.has(kind) and kind.__name__ not in _WITHIN
    return (kind, brackets) if known else None


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in {Union, UnionType}:
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _described(section: type[Any], field: attrs.Attribute[Any]) -> str:
    text = field.metadata.get("text")
    if not text:
        raise UndescribedError(f"{section.__name__}.{field.name} has no description")
    return str(text)


def _setting(section: type[Any], field: attrs.Attribute[Any], name: str) -> Setting:
    text = _described(section, field)
    kind = field.metadata.get("values") or _kind(get_type_hints(section)[field.name], field)
    if kind is None:
        raise UndescribedError(f"{section.__name__}.{field.name}: say which values it can have")
    return Setting(name, kind, field.metadata.get("default") or _default(field), text)


def _kind(kind: Any, field: attrs.Attribute[Any]) -> str | None:
    """What values a setting has, as far as its type and its rule tell."""
    kind = _without_none(kind)
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        *others, last = map(str, get_args(kind))
        return f"{', '.join(others)} or {last}"
    if get_origin(kind) is Sequence:
        [inner] = get_args(kind)
        return f"list of {inner.__name__.lower()}s" if inner.__name__ in _WITHIN else None
    for rule in _rules(field.validator):
        if kind is int and hasattr(rule, "low"):
            return f"{rule.low} to {rule.high} {rule.unit}".strip()
        if kind is str and hasattr(rule, "words"):
            return str(rule.words)
    return "text" if kind is str else None


def _rules(validator: Any) -> Iterator[Any]:
    """The single rules of a validator, which attrs may have wrapped."""
    yield validator
    wrapped = getattr(validator, "validator", None)
    within = [wrapped] if wrapped is not None else getattr(validator, "_validators", ())
    for rule in within:
        yield from _rules(rule)


def _default(field: attrs.Attribute[Any]) -> str:
    value = field.default
    if value is attrs.NOTHING:
        return "must be given"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # it is a class at run time
        value = value.factory()  # type: ignore[union-attr]
    if value is None or value in ((), {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def settings_page() -> str:
    """The settings for the page: a heading for each section, and one for each setting."""
    return "\n".join(_section_text(section, _as_headings) for section in sections())


def settings_man() -> str:
    """The settings for the man page: a list of definitions for each section."""
    return "\n".join(_section_text(section, _as_definitions) for section in sections())


def _section_text(section: Section, show: Callable[[Iterable[Setting]], str]) -> str:
    heading = section.name.removesuffix("[]").removesuffix(".<name>") or "Without a section"
    return f"### {heading}\n\n{section.text}\n\n{show(section.settings)}"


def _as_headings(settings: Iterable[Setting]) -> str:
    return "".join(
        f"#### {setting.name}\n\n{setting.text}\n\n"
        f"*Values:* {setting.kind}. *Default:* {setting.default}.\n\n"
        for setting in settings
    )


def _as_definitions(settings: Iterable[Setting]) -> str:
    return "".join(
        f"{setting.name} ({setting.kind}; default: {setting.default})\n: {setting.text}\n\n"
        for setting in settings
    )


# The HTTP API


def http_api() -> str:
    """Every operation, then every schema."""
    api = description()
    operations = [
        (path, method, operation, shared.get("parameters", ()))
        for path, shared in api["paths"].items()
        for method, operation in shared.items()
        if method in {"get", "post"}
    ]
    text = [f"{api['info']['description']}\n"]
    for tag in api["tags"]:
        text.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}\n")
        text += [
            _operation(api, path, method, operation, parameters)
            for path, method, operation, parameters in operations
            if tag["name"] in operation["tags"]
        ]
    text.append("## Schemas\n")
    text += [_schema(name, schema) for name, schema in api["components"]["schemas"].items()]
    return "\n".join(text)


def _operation(
    api: Mapping[str, Any],
    path: str,
    method: str,
    operation: Mapping[str, Any],
    shared: Sequence[Mapping[str, Any]],
) -> str:
    needs_key = {} not in operation.get("security", ())
    text = [
        f"### {operation['summary'].rstrip('.')}\n",
        f"`{method.upper()} {path}`{'' if needs_key else ' (no key is needed)'}\n",
        operation.get("description", "") + "\n",
    ]
    parameters = [_resolved(api, one) for one in (*shared, *operation.get("parameters", ()))]
    if parameters:
        rows = [
            (
                f"`{one['name']}`" + (", required" if one.get("required") else ""),
                one["in"],
                _type(one["schema"]),
                _cell(one.get("description", "")),
            )
            for one in parameters
        ]
        text.append(_table(("parameter", "in", "value", "meaning"), rows))
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        [schema] = {_type(one["schema"]) for one in content.values()}
        text.append(f"Body: {schema}, as {_list(f'`{kind}`' for kind in content)}.\n")
    for code, answer in operation["responses"].items():
        told = _resolved(api, answer)
        shapes = [
            f"`{kind}`: {_type(one['schema'])}" for kind, one in told.get("content", {}).items()
        ]
        text.append(f"Answer {code}: {told['description']} {'; '.join(shapes)}\n")
    return "\n".join(text)


def _resolved(api: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference refers to."""
    if "$ref" not in part:
        return part
    found: Any = api
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found  # type: ignore[no-any-return]


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    """A schema under a heading of its own, and with a table of what is in it."""
    text = [f"### {name}\n", schema.get("description", "") + "\n"]
    if schema.get("properties"):
        text.append(_properties(schema))
    else:
        text.append(f"{_type(schema)}\n")
    return "\n".join(text)


def _properties(schema: Mapping[str, Any]) -> str:
    rows = [
        (f"`{name}`", _type(part), _cell(part.get("description", "")))
        for name, part in _flat(schema, "")
    ]
    return _table(("field", "value", "meaning"), rows)


def _flat(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each property by its dotted name, those of properties without a name of their own as well."""
    for name, part in schema.get("properties", {}).items():
        # The names of the specification have dots in them.
        yield path + name, part
        inner = part.get("items", part)
        yield from _flat(inner, f"{path}{name}{'[]' if 'items' in part else ''} → ")


def _type(schema: Mapping[str, Any]) -> str:
    """In a few words what values a schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "oneOf" in schema:
        return " or ".join(_type(one) for one in schema["oneOf"])
    if "const" in schema:
        return f"`{_json(schema['const'])}`"
    kinds = schema.get("type", "any value")
    text = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if "enum" in schema:
        text = _list((f"`{_json(one)}`" for one in schema["enum"]), "or")
    if "items" in schema and "properties" not in schema["items"]:
        text += f" of {_type(schema['items'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None:
        text += f" from {low} to {high}"
    if "default" in schema:
        text += f" (default `{_json(schema['default'])}`)"
    if "pattern" in schema:
        text += f" matching `{_cell(schema['pattern'])}`"
    return text


def _json(value: object) -> str:
    return {True: "true", False: "false", None: "null"}.get(value, str(value))  # type: ignore[call-overload, no-any-return]


# Metrics and alerts


def metrics() -> str:
    """Each metric that the agent has, in its own words."""
    sample = Sample(
        pbxs=[PbxSample("north", "asterisk", up=True, reconnects=0)],
        agi=AgiSample(open_sessions=0, refusals={"reason": 0}),
        outbox={"target": OutboxSample(0, 0, 0.0)},
    )
    counted = Metrics(lambda: sample)
    nothing = Call("", "", Received(0.0, "", "", {}), "", 0)
    leg = LegEvidence(status="ANSWER")
    ended = attrs.evolve(nothing, outcome=Outcome.CONNECTED, first=leg, second=leg)
    counted.call_changed(nothing, ended)  # a series with labels is there from its first count on
    exposed = counted.expose().content.decode()
    texts = dict(re.findall(r"^# HELP (\S+) (.*)$", exposed, re.MULTILINE))
    rows = []
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE):
        if name.endswith("_created"):
            continue  # when a series began: an addition of the library's
        found = re.search(rf"^{name}(?:_bucket)?\{{(.*?)\}} ", exposed, re.MULTILINE)
        labels = re.findall(r"([a-z]+)=", found[1]) if found else []
        shown = ", ".join(f"`{label}`" for label in labels if label != "le")
        rows.append((f"`{name}`", kind, shown, _cell(texts[name])))
    return _table(("metric", "type", "labels", "meaning"), rows)


#: What Prometheus puts into the texts of alerts, in words.
_TEMPLATES: Final = (
    (r"\{\{ \$labels\.instance \}\}", "the host"),
    (r"\{\{ \$labels\.[a-z]+ \}\}", "…"),
    (r"\{\{ \$value[^}]*\}\}", "N"),
)


def alerts() -> str:
    """Each alert that is shipped, and what it says."""
    rules = yaml.safe_load(Path(__file__).with_name("alerts.yml").read_text(encoding="utf-8"))
    rows = []
    for group in rules["groups"]:
        for rule in group["rules"]:
            told = ". ".join(rule["annotations"][part] for part in ("summary", "description"))
            for pattern, words in _TEMPLATES:
                told = re.sub(pattern, words, told)
            rows.append((f"`{rule['alert']}`", rule["labels"]["severity"], _cell(told)))
    return _table(("alert", "severity", "what it says"), rows)


# Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Text that stands in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _list(words: Iterable[str], before_last: str = "and") -> str:
    *others, last = words
    return f"{', '.join(others)} {before_last} {last}" if others else last


_GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "alerts": alerts,
    "http-api": http_api,
    "metrics": metrics,
    "settings": settings_page,
    "settings-man": settings_man,
}
