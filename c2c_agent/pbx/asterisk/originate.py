"""What Asterisk is told of a call: the Originate with its variables. Pure."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final

from c2c_agent.ami import actions
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.job import CONFIRM_SECONDS, CallJob
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.asterisk.channel_id import root_id
from c2c_agent.policy.pattern import Pattern
from c2c_agent.text import one_copy

#: The context of asterisk-conf/c2c-bridge.conf, which can take the phone that answered out of the
#: channels that rang it. One that an admin has written in its place cannot.
_SHIPPED_BRIDGE: Final = "c2c-bridge"


#: The variable of c2c-bridge that is the language of the dial_as endpoint.
_LANGUAGE: Final = "_C2C_LANGUAGE=language"


def secret_digest(secret: str) -> str:
    """By what a channel's secret is known."""
    return hashlib.sha256(secret.encode()).hexdigest()


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

    The variables are those that docs/dialplan.md promises, and those that c2c-bridge needs.
    Raises ApiError for a number that the configuration does not say how to dial.
    """
    first, second = job.first_as_dialed, job.second_as_dialed
    second_leg = ((rule.match, rule.dial_string) for rule in config.second_leg)
    target = _dial_string(second_leg, second, job, context)
    secret = secrets.token_hex(16)
    variables = {
        "__C2C_REQUEST_ID": request_id,
        "__C2C_FIRST": first,
        "__C2C_SECOND": second,
        "__C2C_DIAL_AS": job.dial_as,
        "__C2C_CONTEXT": context,
        "__C2C_TIMEOUT": str(job.timeout),
        # For the bridge's own channel alone: the root, or the phone that it rings.
        "_C2C_AGI": agi_url,
        "_C2C_SECOND_CHANNEL": target,
        "_C2C_MAX_DURATION": str(max_duration),
        "_C2C_SECRET": secret,
    }
    if config.bridge_context == _SHIPPED_BRIDGE:
        variables["C2C_TAKEN"] = "0"  # may be
    if job.auto_answer is not None:
        variables["__C2C_AUTO_ANSWER"] = job.auto_answer
    if job.confirm:
        variables["_C2C_CONFIRM"] = config.confirm_prompt
    if job.confirm == "auto":
        variables["_C2C_CONFIRM_WHERE"] = "dialplan"  # answers, and no device
    as_user = [_as_set(name) for name in config.dial_as.set_var]
    if config.dial_as.language:
        as_user.append(_LANGUAGE)
    if as_user:
        variables["_C2C_AS_USER"] = ":".join(as_user)
    if config.freepbx:
        variables["_C2C_FREEPBX"] = "1"
    for name, template in config.variables.items():
        variables[_one_further(name)] = _fill(template, first, job, context)
    if config.freepbx:
        # A first leg that is no device here goes through that context, too, and its caller ID is
        # dial_second's, by which FreePBX would decide. c2c-bridge does the same for the second leg.
        variables |= {"__REALCALLERIDNUM": job.dial_as, "__AMPUSER": "", "__AMPUSERCIDNAME": ""}
    first_leg = ((rule.match, rule.channel) for rule in config.first_leg)
    call_id = one_copy(root_id(request_id))
    action = actions.originate(
        channel=_dial_string(first_leg, first, job, context),
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
        secret_digest=secret_digest(secret),
    )


def root_of(plan: OriginatePlan) -> str:
    """The id of the first channel of a call that was placed so; version 0.1 wrote others."""
    return one_copy(str(plan.data["ChannelId"]))


def _one_further(name: str) -> str:
    """The name by which a variable of the first leg comes to the phone as the root has it."""
    return name if name.startswith("__") else "_" + name


def _as_set(name: str) -> str:
    """As which name a variable of an endpoint is set on the channel that dials, and what it is.

    The channel that runs the user's dialplan is the next one; what is inherited stays so.
    """
    return f"{'__' + name.lstrip('_') if name.startswith('_') else '_' + name}={name}"


def _dial_string(
    rules: Iterable[tuple[Pattern, str]], number: str, job: CallJob, context: str
) -> str:
    """How a number is rung: the first rule that matches it."""
    for pattern, template in rules:
        if pattern.covers(number):
            return _fill(template, number, job, context)
    message = "The configuration does not say how this number is to be dialled."
    raise ApiError(Fault(ErrorCode.NOT_ALLOWED, message))


def _fill(template: str, number: str, job: CallJob, context: str) -> str:
    return template.format(number=number, context=context, dial_as=job.dial_as)
