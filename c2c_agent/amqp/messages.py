"""What goes over the broker: the names of queues and exchanges, and the messages.

Pure. A relay publishes jobs to the queue of an agent, and the agent publishes what became of them
to the exchange of events (docs/asyncapi.yml). Whoever may touch what, the broker's own
permissions say; so all names begin alike.

    c2c.jobs.<agent_id>       queue, quorum: jobs and cancellations for one agent
    c2c.events                exchange, topic: events, with the routing key <agent_id>.<type>, or
                              <agent_id>.<type>.<server_id> for the relay that asked for that
    c2c.results.<server_id>   queue, quorum: events for one relay
    c2c.dead                  exchange, fanout, and queue: what could not be used, with the reason
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from c2c_agent.call.call import Call
from c2c_agent.call.job import DEEPEST, CallJob, is_request_id
from c2c_agent.call.record import from_json
from c2c_agent.errors import C2CError
from c2c_agent.text import finite, no_constant

EVENTS: Final = "c2c.events"
DEAD: Final = "c2c.dead"

#: AMQP's property `type` of the messages in a queue of jobs; a job may have none.
JOB: Final = "c2c.job"
CANCEL: Final = "c2c.cancel"

#: The header of a dead letter that says why it is one.
REASON: Final = "c2c-reason"

#: A server_id that can stand in a routing key.
_RELAY: Final = re.compile(r"[!-\"$-)+-~]{1,120}")

#: The name of a PBX, as in a configuration.
_PBX_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

#: Bytes of a message that are looked at; no job and no event comes near.
_LONGEST: Final = 256 * 1024

#: What a job may say of a call; anything else in it is passed over.
_JOB_FIELDS: Final = (
    "request_id",
    "dial_first",
    "dial_second",
    "dial_as",
    "timeout",
    "pbx",
    "expires",
    "auto_answer",
    "confirm",
    "max_duration",
    "metadata",
)


class MalformedMessage(C2CError):  # noqa: N818 - it says what it is
    """A message that cannot be used; the text says why."""


def jobs_queue(agent_id: str) -> str:
    """The queue of an agent."""
    return f"c2c.jobs.{agent_id}"


def results_queue(server_id: str) -> str:
    """The queue of a relay."""
    return f"c2c.results.{server_id}"


def event_key(agent_id: str, event_type: str, relay: str | None = None) -> str:
    """The routing key of an event; `relay` is the server_id of the relay that it is for."""
    return f"{agent_id}.{event_type}" if relay is None else f"{agent_id}.{event_type}.{relay}"


def agent_of(routing_key: str, relay: str) -> str:
    """Whose event it is, for the relay of that server_id; "" for one that is for another relay.

    Types have one dot, and begin with `call`.
    """
    for key in (routing_key.removesuffix(f".{relay}"), routing_key):
        match key.rsplit(".", 2):
            case [agent, "call", _]:
                return agent
    return ""


# Jobs


def job_message(
    request_id: str, job: CallJob, expires: float, relay: str | None = None
) -> dict[str, object]:
    """The job as an agent takes it: it rings nobody unless it has begun to by `expires`.

    `relay` is the server_id of the relay that alone is to hear of it; None: all relays are.
    """
    message: dict[str, object] = {
        "request_id": request_id,
        "dial_first": job.dial_first,
        "dial_second": job.dial_second,
        "dial_as": job.dial_as,
        "timeout": job.timeout,
        "pbx": job.pbx,
        "expires": round(expires, 3),
    }
    # Only where it is wanted, or expressly not: else the agent's own key decides.
    if job.auto_answer is not None or job.no_auto_answer:
        message["auto_answer"] = not job.no_auto_answer
    if job.confirm or job.no_confirm:
        message["confirm"] = job.confirm
    if job.max_duration is not None:
        message["max_duration"] = job.max_duration
    if job.metadata:
        message["metadata"] = dict(job.metadata)
    if job.agent_pbx is not None:
        message["pbx_name"] = job.agent_pbx
    if relay is not None:
        message["relay"] = relay
    return message


def cancel_message(request_id: str) -> dict[str, object]:
    """The word that a call is not wanted any more."""
    return {"request_id": request_id}


def encode(message: Mapping[str, object]) -> bytes:
    """A message's body."""
    return json.dumps(message, separators=(",", ":")).encode()


def read_job(body: bytes) -> Mapping[str, object]:
    """The parameters of a job, or of a cancellation; raises MalformedMessage.

    Whether they are right is for `job.parse_job` to say; but without an id nobody could ever be
    told what is wrong with them.
    """
    fields = _object(body)
    request_id = fields.get("request_id")
    if not isinstance(request_id, str) or not is_request_id(request_id):
        raise MalformedMessage("request_id is not a UUID")
    parameters: dict[str, object] = {name: fields[name] for name in _JOB_FIELDS if name in fields}
    if _is_deeper(parameters, DEEPEST + 1):
        raise MalformedMessage("too deeply nested")
    return {**parameters, "request_id": request_id.lower()}


def relay_of(body: bytes) -> str | None:
    """The relay that alone is to hear of a job; raises MalformedMessage. None: all are."""
    relay = _object(body).get("relay")
    if relay is not None and not (isinstance(relay, str) and _RELAY.fullmatch(relay)):
        raise MalformedMessage("relay is not the server_id of a relay")
    return relay


def pbx_name_of(body: bytes) -> str | None:
    """The name of the PBX that a job is for; raises MalformedMessage.

    None: which one of its kind, the agent's key for jobs says.
    """
    name = _object(body).get("pbx_name")
    if name is not None and not (isinstance(name, str) and _PBX_NAME.fullmatch(name)):
        raise MalformedMessage("pbx_name is not the name of a PBX")
    return name


# Events


@frozen
class RelayedEvent:
    """An event as it came from an agent."""

    agent_id: str
    server_id: str
    call: Call


def read_event(routing_key: str, body: bytes, relay: str = "") -> RelayedEvent:
    """The event of a message, for the relay of that server_id; raises MalformedMessage."""
    fields = _object(body)
    try:
        call = from_json(fields["record"])
        server_id = str(fields["server_id"])
    except Exception as error:
        raise MalformedMessage(f"no event of an agent: {error!r}"[:300]) from error
    if not is_request_id(call.request_id):
        raise MalformedMessage("request_id is not a UUID")
    return RelayedEvent(agent_of(routing_key, relay), server_id, call)


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > _LONGEST:
        raise MalformedMessage(f"longer than {_LONGEST} bytes")
    try:
        fields = json.loads(body, parse_constant=no_constant, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage("no valid JSON") from error
    if not isinstance(fields, dict):
        raise MalformedMessage("no JSON object")
    return fields


def _is_deeper(value: object, levels: int) -> bool:
    """Whether objects and lists stand in each other more deeply than so many levels."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(one, levels - 1) for one in inner)
