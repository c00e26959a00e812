"""The log's lines of a call: one when it is placed, one when it has ended."""

from __future__ import annotations

from twisted.logger import Logger

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.evidence import LegEvidence

_log = Logger()


def log_state(call: Call) -> None:
    """The log's line for a call that has come to a new state."""
    job, state = call.job, call.state
    if state is CallState.DIALING_FIRST and job is not None:
        _log.info(
            "call {call} {state}: {dial_first}, then {dial_second}, as {dial_as}, for key {key}",
            call=call.request_id,
            state=state.value,
            dial_first=job.dial_first,
            dial_second=job.dial_second,
            dial_as=job.dial_as,
            key=call.key,
        )
    elif state is not CallState.ENDED:
        # Its last line tells what came of it, and its timeline when.
        _log.debug("call {call} {state}", call=call.request_id, state=state.value)
    elif call.answer is not None and call.answer.faults and call.plan is None:
        faults = "; ".join(f"{fault.code}: {fault.message}" for fault in call.answer.faults)
        _log.info(
            "call {call} ended: {outcome}, for key {key}: {faults}",
            call=call.request_id,
            outcome=call.outcome,
            key=call.key,
            faults=faults,
        )
    else:
        _log.info(
            "call {call} ended: {outcome}; first {first}, second {second}; talked {talk} s; "
            "cause {cause} ({text}); hung up by {by}",
            call=call.request_id,
            outcome=call.outcome,
            first=_last_word(call.first),
            second=_last_word(call.second),
            talk=None if call.talk_seconds is None else round(call.talk_seconds, 1),
            cause=call.cause,
            text=call.cause_text,
            by=call.hung_up_by,
        )


def _last_word(leg: LegEvidence) -> str | None:
    """A leg's status, and what gave it."""
    return leg.status if leg.by is None else f"{leg.status} by {leg.by}"
