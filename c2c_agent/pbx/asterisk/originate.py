"""What Asterisk is told of a call, and what its dialplan leaves behind of it.

Pure: the Originate with its variables out of job and configuration, and back from what the
contexts c2c-result and c2c-first-result of asterisk-conf/c2c-bridge.conf write into AstDB.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from attrs import evolve

from c2c_agent.ami import actions
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence, Refusal
from c2c_agent.call.job import CONFIRM_SECONDS, CallJob
from c2c_agent.config.pbx import AsteriskConfig, LegRule
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.asterisk.call_trace import PREFIX
from c2c_agent.text import one_copy

#: What a record of c2c-first-result begins with.
_OF_FIRST: Final = "first,"

#: Seconds by which what was seen here may be late: a busy host, or one that swaps.
_SLACK: Final = 30.0


def make_plan(
    config: AsteriskConfig,
    request_id: str,
    job: CallJob,
    context: str,
    *,
    agi_url: str,
    max_duration: int,
) -> OriginatePlan:
    """How a call is placed; `context` is that of `dial_as`.

    The variables are those of the outside contract, section 4, and those that c2c-bridge needs.
    Raises ApiError for a number that the configuration does not say how to dial.
    """
    target = _dial_string(config.second_leg, job.dial_second, job, context)
    variables = {
        "__C2C_REQUEST_ID": request_id,
        "__C2C_FIRST": job.dial_first,
        "__C2C_SECOND": job.dial_second,
        "__C2C_DIAL_AS": job.dial_as,
        "__C2C_CONTEXT": context,
        "__C2C_TIMEOUT": str(job.timeout),
        # For the bridge's own channel alone, so not inherited.
        "C2C_AGI": agi_url,
        "C2C_SECOND_CHANNEL": target,
        "C2C_MAX_DURATION": str(max_duration),
    }
    if job.auto_answer is not None:
        variables["__C2C_AUTO_ANSWER"] = job.auto_answer
    if job.confirm:
        variables["C2C_CONFIRM"] = config.confirm_prompt
    if config.freepbx:
        variables["C2C_FREEPBX"] = "1"
    for name, template in config.variables.items():
        variables[name] = _fill(template, job.dial_first, job, context)
    if config.freepbx:
        # A first leg that is no device here goes through that context, too, and its caller ID is
        # dial_second's, by which FreePBX would decide. c2c-bridge does the same for the second leg.
        variables |= {"__REALCALLERIDNUM": job.dial_as, "__AMPUSER": "", "__AMPUSERCIDNAME": ""}
    call_id = one_copy(PREFIX + request_id)
    action = actions.originate(
        channel=_dial_string(config.first_leg, job.dial_first, job, context),
        context=config.bridge_context,
        exten="s",
        priority="1",
        timeout=job.timeout,
        caller_id=(job.dial_second, job.dial_second),
        channel_id=call_id,
        variables=variables,
    )
    data = action.as_dict(action_id=call_id)
    return OriginatePlan(
        data=data,
        target=target,
        timeout=job.timeout,
        confirm_seconds=CONFIRM_SECONDS if job.confirm else 0,
        max_duration=max_duration,
        order=action,
    )


def _dial_string(rules: Iterable[LegRule], number: str, job: CallJob, context: str) -> str:
    """How a number is rung: the first rule that matches it."""
    for rule in rules:
        if rule.match.covers(number):
            return _fill(rule.channel, number, job, context)
    message = "The configuration does not say how this number is to be dialled."
    raise ApiError(Fault(ErrorCode.NOT_ALLOWED, message))


def _fill(template: str, number: str, job: CallJob, context: str) -> str:
    return template.format(number=number, context=context, dial_as=job.dial_as)


def merge_left(
    evidence: CallEvidence, left: str, *, ahead: float = 0.0, now: float = inf
) -> CallEvidence:
    """The evidence together with what the dialplan left of a call that the agent did not watch.

    Of a first leg that was not answered (c2c-first-result): `first`, dial status, hangup cause, and
    the end, in epoch seconds. Else (c2c-result): dial status and hangup cause of the second; when
    the first leg came to the bridge, when the second answered (if it did), and the end; then, where
    the first was asked to confirm, what it said. Where no dial status is there, the first leg was
    gone before the second was dialled, or did not confirm.

    The times are the PBX's: its clock is `ahead` of ours by so many seconds, unless both saw the
    end, and so tell by how many. Where the end would then be before the first answered, or after
    `now`, that clock was set since, and the beginning, which both saw, tells.
    """
    if left.startswith(_OF_FIRST):
        return _merge_first(evidence, left.removeprefix(_OF_FIRST), ahead)
    status, cause, started, answered, ended, confirmed = (left.split(",") + [""] * 6)[:6]
    began_at, answered_at, ended_at = map(_seconds, (started, answered, ended))
    first, second = evidence.first, evidence.second
    if ended_at is not None and first.ended_at is not None:
        ahead = ended_at - first.ended_at
    elif (
        ended_at is not None
        and began_at is not None
        and first.answered_at is not None
        and not first.answered_at - _SLACK <= ended_at - ahead <= now + _SLACK
    ):
        ahead = began_at - first.answered_at
    began_at, answered_at, ended_at = (
        None if at is None else at - ahead for at in (began_at, answered_at, ended_at)
    )
    refusal = next((refusal for refusal in Refusal if refusal.value == confirmed), None)
    return evolve(
        evidence,
        first=evolve(first, status="ANSWER", answered_at=first.answered_at or began_at),
        second=evolve(
            second,
            status=status or second.status,
            cause=int(cause) if second.cause is None and cause.isdecimal() else second.cause,
            answered_at=answered_at or second.answered_at,
            ended_at=second.ended_at or ended_at,
        ),
        dialed=evidence.dialed or bool(status),
        refusal=refusal,
        hung_up_by=evidence.hung_up_by if status or refusal is not None else Leg.FIRST,
        lost=False,
    )


def _merge_first(evidence: CallEvidence, left: str, ahead: float) -> CallEvidence:
    """The evidence together with why the first leg was not answered.

    So the second was not dialled. What was taken for it was the first's, of which only the phone
    was found: whatever rang it had gone already.
    """
    seen, found = evidence.first, evidence.second
    status, cause, ended = (left.split(",") + [""] * 3)[:3]
    ended_at = _seconds(ended)
    first = evolve(
        seen,
        channel=found.channel or seen.channel,
        status=status or seen.status,
        cause=int(cause) if seen.cause is None and cause.isdecimal() else seen.cause,
        sip=seen.sip if found.sip is None else found.sip,
        ended_at=seen.ended_at or (None if ended_at is None else ended_at - ahead),
    )
    # Whether the phone rang before it gave this up, Dial does not tell.
    lost = status == "NOANSWER"
    return evolve(evidence, first=first, second=LegEvidence(), dialed=False, lost=lost)


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
