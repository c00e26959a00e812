"""What callers and receivers are shown of a call: the JSON of responses and of the status.

Pure. The shapes are the outside contract's (section 1); nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from c2c_agent.call.call import Call, Entry, Exchange
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.errors import ErrorCode, Fault

Json: TypeAlias = dict[str, Any]


def response(
    request_id: str | None,
    faults: Sequence[Fault],
    *,
    status_url: str | None,
    method: str,
    server_id: str,
    replayed: bool = False,
) -> Json:
    """The answer to a request. `status_url` None: nothing was stored under the id."""
    body: Json = {
        "request_id": request_id,
        "status": "fail" if faults else "success",
        "errors": [{"error": _error(fault, status_url)} for fault in faults],
    }
    if replayed:
        body["replayed"] = True
    return {"response": body, "method": method, "server_id": server_id}


def _error(fault: Fault, status_url: str | None) -> Json:
    error: Json = {"message": fault.message, "code": fault.code.value}
    if status_url is not None:
        error["url"] = status_url
    return error


def no_status(fault: Fault) -> Json:
    """The status of a request that cannot be shown."""
    return {"c2c_status": None, "errors": [{"error": _error(fault, None)}]}


def not_found(request_id: str) -> Json:
    """The status of a request that nobody made."""
    return no_status(Fault(ErrorCode.NOT_FOUND, f"No request has the id {request_id}."))


def status(call: Call) -> Json:
    """The whole story of a request."""
    received = call.received
    return {
        "c2c_status": {
            "request": {
                "utc.time": _whole(received.at + call.clock_ahead),
                "request_url": received.url,
                "http_method": received.method,
                "request_data": received.data,
            },
            "pbx_request": _exchange(call, call.pbx_request, "pbx_data"),
            "response": _exchange(call, call.pbx_response, "response_data"),
            "call": call_summary(call),
        }
    }


def call_summary(call: Call) -> Json:
    """The part of a status that tells of the call itself."""
    job = call.job
    return {
        "state": call.state.value,
        "outcome": call.outcome.value if call.outcome is not None else None,
        "hung_up_by": call.hung_up_by.value if call.hung_up_by is not None else None,
        "cause": call.cause,
        "cause_text": call.cause_text,
        "dial_first": _leg(job.dial_first if job else None, call.first),
        "dial_second": _leg(job.dial_second if job else None, call.second),
        "dial_as": job.dial_as if job else None,
        "talk_seconds": _rounded(call.talk_seconds),
        "timeline": [_entry(call, entry) for entry in call.timeline],
    }


def listing(call: Call) -> Json:
    """One call in a list of calls."""
    return {
        "request_id": call.request_id,
        "utc.time": _exact(call.received.at + call.clock_ahead),
        "key": call.key,
        "call": call_summary(call),
    }


def _exchange(call: Call, exchange: Exchange | None, name: str) -> Json | None:
    if exchange is None:
        return None
    data: Mapping[str, object] = exchange.data
    return {"utc.time": _whole(exchange.at + call.clock_ahead), name: data}


def _leg(number: str | None, leg: LegEvidence) -> Json:
    return {
        "number": number,
        "status": leg.status if leg.answered_at is None else "ANSWER",
        "ring_seconds": _rounded(_ring_seconds(leg)),
        "channel": leg.channel,
        "cause": leg.cause,
        "cause_text": leg.cause_text,
        "sip": leg.sip,
    }


def _ring_seconds(leg: LegEvidence) -> float | None:
    """From ringing to the answer, or to the end; None where it did not ring, or still does."""
    end = leg.answered_at if leg.answered_at is not None else leg.ended_at
    if leg.ringing_at is None or end is None:
        return None
    return max(0.0, end - leg.ringing_at)


def _entry(call: Call, entry: Entry) -> Json:
    shown: Json = {"utc.time": _exact(entry.at + call.clock_ahead), "event": entry.event}
    if entry.detail is not None:
        shown["detail"] = entry.detail
    return shown


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _whole(at: float) -> str:
    """Epoch seconds as the specification prints them."""
    return str(int(at))


def _exact(at: float) -> str:
    return f"{at:.3f}"
