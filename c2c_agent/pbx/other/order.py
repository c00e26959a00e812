"""What is stored and shown of an order, and what is needed of it after a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.job import CallJob
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.other.answer import Answer
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.rules import values_at
from c2c_agent.pbx.other.template import UnusableValueError, is_plain, shown_as

#: Characters of an answer that a status shows.
_SHOWN: Final = 4096

_DIALED: Final = ("dial_first", "dial_second", "dial_as")


def make_plan(program: Program, request_id: str, job: CallJob, max_duration: int) -> OriginatePlan:
    """How a call is placed. Raises ApiError, such as `unknown_dial_as`."""
    dial_as = job.dial_as
    if program.dial_as is not None:
        if dial_as not in program.dial_as:
            message = "dial_as is nobody whom the configuration of this PBX knows."
            raise ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, message))
        dial_as = program.dial_as[dial_as]
    values = {
        "dial_first": job.dial_first,
        "dial_second": job.dial_second,
        "dial_as": dial_as,
        "timeout": str(job.timeout),
        "request_id": request_id,
    }
    try:
        shown = program.place.request.show(values)
        headers = {
            name: shown_as(name, text)
            for name, text in program.headers.items()
            if not any(text.placeholders)
        }
    except UnusableValueError as error:
        raise ApiError(
            Fault(ErrorCode.PBX_ERROR, f"This call cannot be placed: {error}.")
        ) from error
    data: dict[str, object] = {
        "method": shown.method,
        "url": program.base_url + shown.target,
        "headers": {name: "".join(map(str, text.parts)) for name, text in headers.items()}
        | dict(shown.headers),
        "body": shown.body,
        **{name: values[name] for name in _DIALED},
    }
    return OriginatePlan(
        data=data, target=job.dial_second, timeout=job.timeout, max_duration=max_duration
    )


def values_of(request_id: str, plan: OriginatePlan) -> dict[str, str]:
    """The values of a call; they can be had of the plan as it is stored, too."""
    own = {name: str(plan.data.get(name, "")) for name in _DIALED}
    return own | {"timeout": str(plan.timeout), "request_id": request_id}


def kept_of(program: Program, answer: Answer) -> dict[str, str]:
    """What an accepting answer gives: `call_id` and `saved`. Raises UnusableValueError."""
    kept = {f"saved.{name}": text for name, text in _saved(program, answer).items()}
    if program.place.call_id is not None:
        kept |= values_at({"call_id": program.place.call_id}, answer.document)
    for name, text in kept.items():
        if not is_plain(text):
            raise UnusableValueError(f"its answer has an unusable {name}")
    return kept


def _saved(program: Program, answer: Answer) -> dict[str, str]:
    return values_at(program.place.save, answer.document)


def shown_answer(
    answer: Answer, kept: Mapping[str, str], secrets: Iterable[str]
) -> dict[str, object]:
    """What a status shows of an answer; `kept` is found there after a restart."""
    shown: dict[str, object] = {
        "status": answer.status,
        "body": redacted(answer.text, secrets)[:_SHOWN],
    }
    return shown | ({"kept": dict(kept)} if kept else {})


def kept_before(response: Mapping[str, Any] | None) -> dict[str, str]:
    """What an order's answer gave, before a restart."""
    kept = (response or {}).get("kept")
    if not isinstance(kept, Mapping):
        return {}
    return {str(name): str(text) for name, text in kept.items()}


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets, however they are written in it; the longest are looked for first."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms(secret: str) -> tuple[str, ...]:
    """As it is, in a URL, and in JSON."""
    in_json = secret.replace("\\", "\\\\").replace('"', '\\"')
    return secret, quote(secret, safe=""), quote(secret), in_json, in_json.replace("/", "\\/")
