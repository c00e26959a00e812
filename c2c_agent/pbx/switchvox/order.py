"""What a Switchvox is told of a call.

Pure: the parameters of `switchvox.call` out of job and configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.errors import ApiError, ErrorCode, Fault

_METHODS: Final[Mapping[str, str]] = {
    "admin": "switchvox.call",
    "extension": "switchvox.users.call",
}

#: Digits and * are sure to be taken; of # nobody knows, and the PBX says.
_NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")


@frozen
class Order:
    """A method of the PBX, and what goes with it."""

    method: str
    parameters: Mapping[str, str]


def numbers_of(config: SwitchvoxConfig, job: CallJob) -> tuple[str, str]:
    """The two numbers as the PBX takes them. Raises ApiError for what it does not take."""
    faults = []
    if _NUMBER.fullmatch(job.dial_first) is None:
        faults.append(_fault("dial_first"))
    if _NUMBER.fullmatch(job.dial_second) is None:
        faults.append(_fault("dial_second"))
    if job.confirm:
        message = "This PBX cannot ask whoever answers first to confirm."
        faults.append(Fault(ErrorCode.INVALID_PARAMETER, message))
    if faults:
        raise ApiError(*faults)
    return _plain(config, job.dial_first), _plain(config, job.dial_second)


def make_plan(config: SwitchvoxConfig, job: CallJob, account: str | None) -> OriginatePlan:
    """How a call is placed; `account` is the id of `dial_as`'s account. Raises ApiError."""
    first, second = numbers_of(config, job)
    parameters = {"dial_first": first, "dial_second": second, "timeout": str(job.timeout)}
    if account is not None:
        name = "dial_as_account_id" if config.login == "admin" else "account_id"
        parameters[name] = account
    if config.second_timeout:
        parameters["timeout_second_call"] = str(job.timeout)
    if config.ignore_user_call_rules:
        parameters["ignore_user_call_rules"] = "1"
    if config.ignore_user_api_settings:
        parameters["ignore_user_api_settings"] = "1"
    if job.auto_answer is not None:
        parameters["auto_answer"] = "1"
    method = _METHODS[config.login]
    return OriginatePlan(
        data={"method": method, "parameters": parameters},
        target=second,
        timeout=job.timeout,
        max_duration=job.max_duration,
        order=Order(method, parameters),
    )


def numbers_in(plan: OriginatePlan) -> tuple[str, str]:
    """The two numbers of a plan that was stored."""
    match plan.data:
        case {"parameters": {"dial_first": str(first), "dial_second": str(second)}}:
            return first, second
    return "", plan.target


def sends_second_timeout(plan: OriginatePlan) -> bool:
    """Whether a plan has the PBX end the second phone's ringing with the first's timeout."""
    match plan.data:
        case {"parameters": {"timeout_second_call": _}}:
            return True
    return False


def _plain(config: SwitchvoxConfig, number: str) -> str:
    if not number.startswith("+") or config.plus == "keep":
        return number
    return number[1:] if config.plus == "strip" else config.plus + number[1:]


def _fault(name: str) -> Fault:
    return Fault(ErrorCode.INVALID_PARAMETER, f"{name}: this PBX takes digits, * and # alone.")
