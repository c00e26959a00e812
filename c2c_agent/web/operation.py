"""The paths of those who look after the agent: dead letters, checks, kill switch, health, metrics.

`description` is what `/openapi.json` says: the HTTP API, for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, Protocol

import yaml

from c2c_agent import __version__
from c2c_agent.call.request_data import without
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.report.event import Json
from c2c_agent.report.metrics import Exposition
from c2c_agent.report.outbox import Standing
from c2c_agent.web.answers import Reply, refused
from c2c_agent.web.ask import Access, Ask

# The one in C takes a sixth of the time; not every build of PyYAML has it.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_REPLAY: Final = "asterisk.replay"
_TARGETS: Final = "asterisk.targets"
_CHECK: Final = "asterisk.check"
_STOP: Final = "asterisk.stop-calls"
_START: Final = "asterisk.start-calls"


class KillSwitch(Protocol):
    """What is needed of `StopSwitchService`. Both raise OSError where it cannot be turned."""

    def stop(self, reason: str, *, hang_up: bool) -> int:
        """Have no call placed any more; how many in progress are hung up."""

    def start(self) -> bool:
        """Have calls placed again; whether they had been stopped."""


class Operation:
    """What is asked and done in operation."""

    def __init__(
        self,
        *,
        server_id: str,
        access: Access,
        readiness: Callable[[], Mapping[str, str | None]],
        metrics: Callable[[], Exposition],
        replay: Callable[[str | None, str | None], Coroutine[Any, Any, int]],
        standing: Callable[[], Coroutine[Any, Any, Sequence[Standing]]],
        kill_switch: KillSwitch,
        check: Callable[[], Coroutine[Any, Any, Json]],
        fastagi: str | None = None,
    ) -> None:
        self._server_id = server_id
        self._access = access
        self._readiness = readiness
        self._metrics = metrics
        self._replay = replay
        self._standing = standing
        self._kill_switch = kill_switch
        self._check = check
        self._health: Json = {"status": "ok"}
        if fastagi is not None:
            self._health["fastagi"] = fastagi

    async def replay(self, ask: Ask) -> Reply:
        """Send dead letters again, for a console: all, one target's, or one request's.

        What cannot be read sends nothing: it would be all dead letters, to everybody.
        """
        fault = self._access.no_console(ask, "send dead letters again")
        faults = [fault] if fault is not None else _unreadable(ask, {"target", "request_id"})
        if faults:
            return self._fail(*faults, method=_REPLAY)
        target, request_id = map(ask.parameters.values.get, ("target", "request_id"))
        return Reply({"replayed": await self._replay(_text(target), _text(request_id))})

    async def targets(self, ask: Ask) -> Reply:
        """How it stands with who is told of calls, for a console: what fails, and why."""
        fault = self._access.no_console(ask, "see who is told of calls")
        if fault is not None:
            return self._fail(fault, method=_TARGETS)
        return Reply({"targets": [_shown(one) for one in await self._standing()]})

    async def check(self, ask: Ask) -> Reply:
        """Look at the agent and its PBX, for a console: what was found, and what to do."""
        fault = self._access.no_console(ask, "see what the checks find")
        if fault is not None:
            return self._fail(fault, method=_CHECK)
        return Reply(await self._check())

    async def stop_calls(self, ask: Ask) -> Reply:
        """Turn the kill switch, for a console; with `hang_up`, calls in progress end as well."""
        fault = self._access.no_console(ask, "stop calls")
        faults = [fault] if fault is not None else _unreadable(ask, {"reason"}, {"hang_up"})
        if faults:
            return self._fail(*faults, method=_STOP)
        reason, hang_up = map(ask.parameters.values.get, ("reason", "hang_up"))
        try:
            said = without(ask.secrets, _text(reason) or "")
            count = self._kill_switch.stop(said, hang_up=_is_true(hang_up))
        except OSError as error:
            return self._fail(_no_switch(error), method=_STOP)
        return Reply({"stopped": True, "hung_up": count})

    async def start_calls(self, ask: Ask) -> Reply:
        """Let calls be placed again, for a console."""
        fault = self._access.no_console(ask, "start calls")
        faults = [fault] if fault is not None else _unreadable(ask)
        if faults:
            return self._fail(*faults, method=_START)
        try:
            was = self._kill_switch.start()
        except OSError as error:
            return self._fail(_no_switch(error), method=_START)
        return Reply({"stopped": False, "were_stopped": was})

    async def healthz(self, _ask: Ask) -> Reply:
        """Whether the agent is alive at all, and where it takes FastAGI: by that it is known."""
        return Reply(self._health)

    async def readyz(self, _ask: Ask) -> Reply:
        """Whether the agent can place calls; of each part, why not."""
        parts = self._readiness()
        ready = not any(parts.values())
        body: Json = {"ready": ready, "parts": {name: why or "ok" for name, why in parts.items()}}
        return Reply(body, code=200 if ready else 503)

    async def metrics(self, _ask: Ask) -> Reply:
        """Everything that is counted, for Prometheus."""
        return Reply(self._metrics())

    async def describe(self, _ask: Ask) -> Reply:
        """Say what this API is, in words of OpenAPI."""
        return Reply(description())

    def _fail(self, *faults: Fault, method: str) -> Reply:
        return refused(*faults, method=method, server_id=self._server_id)


@cache
def description() -> Json:
    """The description, with the version of this program. Not to be changed."""
    text = files("c2c_agent.web").joinpath("openapi.yml").read_text(encoding="utf-8")
    described: Json = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    described["info"]["version"] = __version__
    return described


#: How a truth may be given, in a form and in JSON.
_TRUTHS: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}


def _unreadable(ask: Ask, texts: Collection[str] = (), truths: Collection[str] = ()) -> list[Fault]:
    """What in a request cannot be read as it was meant; then nothing of it is done.

    Elsewhere an unknown parameter is passed over. Here it would be a `hangup` that hangs up
    nothing, or a `targt` that sends to all.
    """
    faults = list(ask.parameters.faults)
    for name, value in ask.parameters.values.items():
        if name == "api_key" or (name in texts and isinstance(value, str)):
            continue
        if name in truths and (isinstance(value, bool) or str(value) in _TRUTHS):
            continue
        known = ", ".join(sorted([*texts, *truths])) or "none"
        wanted = "be text" if name in texts else "be true or false"
        message = (
            f"{name} must {wanted}."
            if name in {*texts, *truths}
            else f"{name[:40]!r} is no parameter of this path; there are: {known}."
        )
        faults.append(Fault(ErrorCode.INVALID_PARAMETER, message))
    return faults


def _shown(standing: Standing) -> Json:
    depth, trouble = standing.depth, standing.trouble
    return {
        "target": standing.target,
        "waiting": depth.waiting,
        "given_up": depth.dead,
        "oldest": None if depth.oldest_at is None else f"{depth.oldest_at:.3f}",
        "failing_since": None if trouble is None else f"{trouble.since:.3f}",
        "reason": None if trouble is None else trouble.reason,
    }


def _text(value: object) -> str | None:
    """A text; None where none, or an empty one, is given."""
    return value if isinstance(value, str) and value else None


def _is_true(value: object) -> bool:
    return value is True or _TRUTHS.get(str(value), False)


def _no_switch(error: OSError) -> Fault:
    message = f"The kill switch cannot be turned: {error.strerror}."
    return Fault(ErrorCode.INTERNAL_ERROR, message)
