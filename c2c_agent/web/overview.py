"""The paths that show many at once: calls that are looked for, reports that wait, keys in use.

What is shown is cut into pages: an answer says as `next` with which `cursor` it goes on.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from attrs import frozen
from twisted.internet.defer import Deferred

from c2c_agent.call.call import Call
from c2c_agent.call.job import is_request_id
from c2c_agent.call.number import NumberError, read_number
from c2c_agent.call.outcome import Outcome
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Use
from c2c_agent.report.delivery import Listed
from c2c_agent.report.event import Json
from c2c_agent.store.call_store import Wanted
from c2c_agent.web import answers
from c2c_agent.web.answers import Reply, Text
from c2c_agent.web.ask import PREFIX, Access, Ask, Caller

_CALLS: Final = "asterisk.calls"
_REPORTS: Final = "asterisk.reports"
_KEYS: Final = "asterisk.keys"

_MOST: Final = 1000
_USUAL: Final = 20
_TIME: Final = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")

_COLUMNS: Final = (
    *("utc.time", "request_id", "key", "dial_first", "dial_second", "dial_as"),
    *("state", "outcome", "hung_up_by", "cause", "talk_seconds"),
)


class ReportList(Protocol):
    """What is needed of `outbox_table.OutboxTable`."""

    def listed(
        self, most: int, *, key_name: str | None, before: int | None, dead: bool | None
    ) -> Deferred[list[Listed]]:
        """Reports that wait or were given up, the newest first."""


@frozen
class Overview:
    """Shows many at once. `use` is what a key uses at present; None where nobody here knows."""

    server_id: str
    access: Access
    recent: Callable[[int, str | None, Wanted], Coroutine[Any, Any, list[Call]]]
    report_list: ReportList
    use: Callable[[str], Use | None]

    async def calls(self, ask: Ask) -> Reply:
        """List the calls of a key that are looked for; a console sees those of all."""
        try:
            caller = await self._caller(ask)
            limit = _limit(ask)
            wanted = _wanted(ask, caller)
            name = self._name(ask, caller)
            as_csv = _choice(ask, "format", ("json", "csv")) == "csv"
        except ApiError as error:
            return self._fail(error, _CALLS)
        calls = await self.recent(limit, name, wanted)
        following = _cursor(calls[-1]) if limit and len(calls) == limit else None
        if not as_csv:
            return Reply(_page("calls", [answers.listing(call) for call in calls], following))
        headers = []
        if following is not None:
            headers.append(("Link", f'<{_next_url(ask, following)}>; rel="next"'))
        return Reply(Text("text/csv; charset=utf-8", _csv(calls)), headers=headers)

    async def reports(self, ask: Ask) -> Reply:
        """List what webhooks and the broker were not told yet of a key's calls, and why."""
        try:
            caller = await self._key_alone(ask, "reports")
            limit = _limit(ask)
            state = _choice(ask, "state", ("waiting", "given_up"))
            before = _number_cursor(ask)
        except ApiError as error:
            return self._fail(error, _REPORTS)
        listed = await self.report_list.listed(
            limit,
            key_name=None if caller.oversees else caller.key.name,
            before=before,
            dead=None if state is None else state == "given_up",
        )
        following = str(listed[-1].number) if limit and len(listed) == limit else None
        return Reply(_page("reports", [_report(one) for one in listed], following))

    async def keys(self, ask: Ask) -> Reply:
        """List the key with its limits and their use; a console sees all keys, and no secret."""
        try:
            caller = await self._key_alone(ask, "keys")
        except ApiError as error:
            return self._fail(error, _KEYS)
        own = caller.key.name
        shown = [key for key in self.access.keys if caller.oversees or key.name == own]
        return Reply({"key": own, "keys": [_key(key, self.use(key.name)) for key in shown]})

    async def _caller(self, ask: Ask) -> Caller:
        caller = await self.access.caller(ask)
        if isinstance(caller, Fault):
            raise ApiError(caller)
        return caller

    async def _key_alone(self, ask: Ask, what: str) -> Caller:
        caller = await self._caller(ask)
        if caller.token is not None:
            raise ApiError(Fault(ErrorCode.NOT_ALLOWED, f"A token cannot list {what}."))
        return caller

    def _name(self, ask: Ask, caller: Caller) -> str | None:
        """Of which key calls are wanted; None: of all."""
        asked = ask.parameters.values.get("key")
        if caller.oversees:
            return None if asked is None else str(asked)
        if asked is not None and asked != caller.key.name:
            message = "This key may not see another key's calls."
            raise ApiError(Fault(ErrorCode.NOT_ALLOWED, message))
        return caller.key.name

    def _fail(self, error: ApiError, method: str) -> Reply:
        return answers.refused(*error.faults, method=method, server_id=self.server_id)


def _wrong(message: str) -> ApiError:
    return ApiError(Fault(ErrorCode.INVALID_PARAMETER, message))


def _limit(ask: Ask) -> int:
    limit = ask.number("limit", _MOST)
    if isinstance(limit, Fault):
        raise ApiError(limit)
    return _USUAL if limit is None else limit


def _choice(ask: Ask, name: str, choices: Sequence[str]) -> str | None:
    value = ask.parameters.values.get(name)
    if value is not None and value not in choices:
        raise _wrong(f"{name} must be one of {', '.join(choices)}.")
    return None if value is None else str(value)


def _wanted(ask: Ask, caller: Caller) -> Wanted:
    """Which calls are looked for; raises ApiError."""
    number = ask.parameters.values.get("number")
    try:
        plain = None if number is None else read_number(number, caller.key.names)
    except NumberError as error:
        raise _wrong(f"number is not a number that can be dialled: {error}.") from error
    outcome = _choice(ask, "outcome", [each.value for each in Outcome])
    return Wanted(
        since=_time(ask, "since"),
        until=_time(ask, "until"),
        number=plain,
        first=caller.dial_first,
        outcome=None if outcome is None else Outcome(outcome),
        after=_place(ask),
    )


def _time(ask: Ask, name: str) -> float | None:
    value = ask.parameters.values.get(name)
    if value is None:
        return None
    if _TIME.fullmatch(str(value)) is None:
        raise _wrong(f"{name} must be a time in epoch seconds.")
    return float(str(value))


def _cursor(call: Call) -> str:
    """Where the list goes on after a call."""
    text = f"{call.received.at!r} {call.request_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(ask: Ask) -> tuple[float, str] | None:
    value = ask.parameters.values.get("cursor")
    if value is None:
        return None
    try:
        text = base64.urlsafe_b64decode(f"{value}==").decode("ascii")
        at, _, request_id = text.partition(" ")
        if is_request_id(request_id) and math.isfinite(float(at)):
            return float(at), request_id
    except (ValueError, binascii.Error):
        pass
    raise _wrong("cursor is none that was given as next.")


def _number_cursor(ask: Ask) -> int | None:
    value = ask.parameters.values.get("cursor")
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,18}", str(value)) is None:
        raise _wrong("cursor is none that was given as next.")
    return int(str(value))


def _page(name: str, items: list[Json], following: str | None) -> Json:
    page: Json = {name: items}
    if following is not None:
        page["next"] = following
    return page


def _next_url(ask: Ask, following: str) -> str:
    """The same question, about what comes then."""
    given = {name: str(value) for name, value in ask.parameters.values.items() if name != "api_key"}
    return f"{ask.base_url}{PREFIX}/calls?{urlencode({**given, 'cursor': following})}"


def _csv(calls: Sequence[Call]) -> bytes:
    """Calls as RFC 4180 has it, with what is not there empty."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for call in calls:
        shown = answers.listing(call)
        now = shown["call"]
        legs = {name: now[name]["number"] for name in ("dial_first", "dial_second")}
        fields = {
            **now,
            **legs,
            **{name: shown[name] for name in ("utc.time", "request_id", "key")},
        }
        rows.writerow([fields[name] for name in _COLUMNS])
    return text.getvalue().encode()


def _report(one: Listed) -> Json:
    return {
        "id": one.event_id,
        "target": one.target,
        "type": one.type,
        "request_id": one.request_id,
        "utc.time": f"{one.at:.3f}",
        "state": "waiting" if one.dead_at is None else "given_up",
        "attempts": one.attempts,
        "utc.due": f"{one.due_at:.3f}" if one.dead_at is None else None,
        "reason": one.reason,
    }


def _key(key: Key, use: Use | None) -> Json:
    return {
        "name": key.name,
        "console": key.console,
        "limits": {
            "max_concurrent": key.max_concurrent,
            "per_minute": key.per_minute,
            "per_day": key.per_day,
            "minutes_per_day": key.minutes_per_day,
            "max_duration": key.max_duration,
        },
        "use": None
        if use is None
        else {
            "concurrent": use.running,
            "minute": use.minute,
            "day": use.day,
            "minutes_day": round(use.seconds / 60, 1),
        },
    }
