"""A Call as text and back: how the store keeps it.

Pure. The text is JSON with the fields of `call.Call` that are not at their defaults; so a record
written by an older version, which lacks a newer field, can still be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from c2c_agent.call.call import Call, OriginatePlan, Timekeeper


def _converter() -> Converter:
    converter = Converter(
        unstruct_collection_overrides={tuple: list}, omit_if_default=True, detailed_validation=False
    )
    # What came in and what the PBX said is kept as it is; so are the caller's own words.
    as_it_is = (Mapping[str, object], Mapping[str, str])
    converter.register_structure_hook_func(lambda kind: kind in as_it_is, lambda value, _: value)
    converter.register_unstructure_hook_func(lambda kind: kind in as_it_is, lambda value: value)
    # The driver's own form of a plan is not kept: nothing is ever sent twice.
    left_out = override(omit=True)
    converter.register_unstructure_hook(
        OriginatePlan, make_dict_unstructure_fn(OriginatePlan, converter, order=left_out)
    )
    converter.register_structure_hook(
        OriginatePlan, make_dict_structure_fn(OriginatePlan, converter, order=left_out)
    )
    return converter


_CONVERTER = _converter()
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def to_json(call: Call) -> dict[str, Any]:
    """A call as what JSON knows."""
    record: dict[str, Any] = _CONVERTER.unstructure(call)
    plan, request = call.plan, call.pbx_request
    if plan is not None and request is not None and plan.data == request.data:
        del record["plan"]["data"]  # it was sent as planned: so it stands there once
    return record


def from_json(record: object) -> Call:
    """The call of a record; raises whatever is wrong with it, in words of cattrs."""
    match record:
        case {"plan": {"target": _} as plan, "pbx_request": {"data": data} as request, **others}:
            record = {**others, "plan": {"data": data, **plan}, "pbx_request": request}
    match record:
        # Version 0.1 did not say so, but a relay's plan was known by the agent in it, and is: an
        # Asterisk's is an action, whose headers begin with capitals.
        case {"plan": {"data": {"agent": _}} as plan, **others}:
            record = {**others, "plan": {"timekeeper": Timekeeper.ELSEWHERE.value, **plan}}
    return _CONVERTER.structure(record, Call)


def dump(call: Call) -> str:
    """The text of a call."""
    return _ENCODER.encode(to_json(call))


def load(text: str) -> Call:
    """The call of a text."""
    return from_json(json.loads(text))
