"""What callers and receivers are shown of a call: the JSON of responses and of the status.

Pure. The shapes are those of web/openapi.yml; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from c2c_agent.call.call import Call, Exchange
from c2c_agent.call.job import CallJob
from c2c_agent.call.request_data import known
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.report.event import Json, _exact, call_summary, dialed_numbers
from c2c_agent.report.live import Watch
from c2c_agent.report.metrics import Exposition
from c2c_agent.web.browser import HeaderFields

#: The HTTP status that says the same as the code of an error.
_STATUS: Final[Mapping[str, int]] = {
    ErrorCode.INVALID_PARAMETER: 422,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_ALLOWED: 403,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.TOO_MANY_CALLS: 429,
    ErrorCode.REQUEST_ID_CONFLICT: 409,
    ErrorCode.UNKNOWN_DIAL_AS: 422,
    ErrorCode.UNSUPPORTED_PBX: 422,
    ErrorCode.PBX_ERROR: 502,
    ErrorCode.PBX_UNAVAILABLE: 503,
    ErrorCode.EXPIRED: 422,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.TOO_MANY_STREAMS: 429,
}


@frozen
class Text:
    """An answer that is no JSON."""

    content_type: str
    content: bytes


@frozen
class Reply:
    """What goes back to the client: JSON, metrics, another text, or live events.

    None: there is nothing to say, beyond the `headers`. `lasts`: for how many seconds events are
    sent; None: to the end of what is followed.
    """

    body: Json | Exposition | Text | Watch | None
    code: int = 200
    retry_after: int | None = None
    headers: HeaderFields = ()
    lasts: float | None = None


def http_status(body: object) -> int:
    """The HTTP status that says what an answer's first error says; 200 where there is none."""
    match body:
        case {"response": {"errors": [{"error": {"code": code}}, *_]}}:
            return _STATUS[code]
        case {"errors": [{"error": {"code": code}}, *_]}:
            return _STATUS[code]
    return 200


def refused(*faults: Fault, method: str, server_id: str) -> Reply:
    """The reply to a request that is not stored."""
    return Reply(response(None, faults, status_url=None, method=method, server_id=server_id))


def response(
    request_id: str | None,
    faults: Sequence[Fault],
    *,
    status_url: str | None,
    method: str,
    server_id: str,
    replayed: bool = False,
    job: CallJob | None = None,
) -> Json:
    """The answer to a request. `status_url` None: nothing was stored under the id."""
    body: Json = {
        "request_id": request_id,
        "status": "fail" if faults else "success",
        "errors": [{"error": _error(fault, status_url)} for fault in faults],
    }
    body.update(dialed_numbers(job))
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
                # What 0.1 has stored may have more, even a key.
                "request_data": known(received.data, "api_key"),
            },
            "pbx_request": _exchange(call, call.pbx_request, "pbx_data"),
            "response": _exchange(call, call.pbx_response, "response_data"),
            "call": call_summary(call),
        }
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


def _whole(at: float) -> str:
    """Epoch seconds as the public Click-2-Call API prints them."""
    return str(int(at))
