"""The HTTP API: `/c2c/v2`, its status, cancel and list, and the health of the agent.

Everything below `/c2c/v2` is answered with 200 and JSON, whatever went wrong: the public API
promises it. Each handler is a coroutine from what was asked to what is replied; `http_server` puts
them on a listener. What is asked for is done by `intake` and `dispatcher`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeAlias

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.job import is_request_id
from c2c_agent.config.sections import HttpConfig
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.policy.keys import Key, KeyRing
from c2c_agent.report.event import Json
from c2c_agent.report.live import Live, Watch
from c2c_agent.report.metrics import Exposition
from c2c_agent.text import one_copy
from c2c_agent.web import answers as result
from c2c_agent.web import openapi
from c2c_agent.web.request import Parameters

_log = Logger()

PREFIX: Final = "/c2c/v2"

#: The longest that a status is held back, in seconds.
_MAX_WAIT: Final = 60
_MAX_CALLS: Final = 1000

_CANCEL: Final = "asterisk.cancel"
_CALLS: Final = "asterisk.calls"
_REPLAY: Final = "asterisk.replay"
_EVENTS: Final = "asterisk.events"

#: Seconds after which a refused stream is worth another try.
_STREAM_RETRY: Final = 30
_STOP: Final = "asterisk.stop-calls"
_START: Final = "asterisk.start-calls"

_INTERNAL: Final = Fault(ErrorCode.INTERNAL_ERROR, "An internal error; the agent's log has more.")

_BUSY: Final = Fault(ErrorCode.RATE_LIMITED, "There are more connections than this agent serves.")


@frozen
class Reply:
    """What goes back to the client: JSON, metrics in Prometheus's own format, or live events."""

    body: Json | Exposition | Watch
    code: int = 200
    retry_after: int | None = None


Handler: TypeAlias = Callable[["Ask"], Coroutine[Any, Any, Reply]]


@frozen
class Ask:
    """A request, read: method, the id in the path, parameters, who asks.

    `last_event_id` is the last event that a client of a stream has seen before.
    """

    method: str
    path: str
    base_url: str
    item: str
    parameters: Parameters
    bearer: str | None
    client: str
    last_event_id: str = ""

    @property
    def secret(self) -> str | None:
        """The key that was presented."""
        given = self.parameters.values.get("api_key")
        return given if isinstance(given, str) and given else self.bearer


class KillSwitch(Protocol):
    """What is needed of `StopSwitchService`. Both raise OSError where it cannot be turned."""

    def stop(self, reason: str, *, hang_up: bool) -> int:
        """Have no call placed any more; how many in progress are hung up."""

    def start(self) -> bool:
        """Have calls placed again; whether they had been stopped."""


class Api:
    """The routes, and what each does."""

    def __init__(
        self,
        *,
        config: HttpConfig,
        server_id: str,
        keys: KeyRing,
        operator: str,
        intake: Intake,
        dispatcher: Dispatcher,
        live: Live,
        readiness: Callable[[], Mapping[str, str | None]],
        metrics: Callable[[], Exposition],
        replay: Callable[[str | None, str | None], Coroutine[Any, Any, int]],
        kill_switch: KillSwitch,
        clock: IReactorTime,
    ) -> None:
        self._config = config
        self._server_id = server_id
        self._keys = keys
        self._operator = operator  # name of the key that may see and cancel every call
        self._intake = intake
        self._dispatcher = dispatcher
        self._live = live
        self._readiness = readiness
        self._metrics = metrics
        self._replay = replay
        self._kill_switch = kill_switch
        self._clock = clock
        self._routes: tuple[tuple[re.Pattern[str], Mapping[str, Handler]], ...] = (
            # No HEAD here: who only asks for headers wants nobody rung.
            (re.compile(PREFIX), {"GET": self.call, "POST": self.call}),
            (re.compile(PREFIX + "/status/(?P<item>[^/]+)"), _shown(self.status)),
            (re.compile(PREFIX + "/cancel/(?P<item>[^/]+)"), {"POST": self.cancel}),
            (re.compile(PREFIX + "/calls"), _shown(self.calls)),
            (re.compile(PREFIX + "/events"), _shown(self.all_events)),
            (re.compile(PREFIX + "/events/(?P<item>[^/]+)"), _shown(self.events)),
            (re.compile(PREFIX + "/replay"), {"POST": self.replay}),
            (re.compile(PREFIX + "/stop-calls"), {"POST": self.stop_calls}),
            (re.compile(PREFIX + "/start-calls"), {"POST": self.start_calls}),
            (re.compile("/healthz"), _shown(self.healthz)),
            (re.compile("/readyz"), _shown(self.readyz)),
            (re.compile("/metrics"), _shown(self.metrics)),
            (re.compile(r"/openapi\.json"), _shown(self.describe)),
        )

    def route(self, method: str, path: str) -> tuple[Handler, str]:
        """The handler of a request, and the id in its path."""
        path = path.rstrip("/") or "/"
        for pattern, handlers in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                return handlers.get(method, self.wrong_method), match.groupdict().get("item", "")
        return self.nothing_here, ""

    # Handlers

    async def call(self, ask: Ask) -> Reply:
        """Place a call."""
        key = self._key(ask)
        faults = ask.parameters.faults
        if key is None:
            if faults and ask.secret is None:
                return self._fail(*faults)  # the key may stand in what could not be read
            return self._fail(*faults, self._unauthorized(ask))
        values = {name: value for name, value in ask.parameters.values.items() if name != "api_key"}
        url = one_copy(ask.base_url + PREFIX)  # kept with the call: one copy for all
        submission = await self._intake.submit(key, values, faults, url=url, method=ask.method)
        body = result.response(
            submission.call.request_id,
            submission.answer.faults,
            status_url=self._status_url(ask, submission.call.request_id),
            method=self._intake.method_of(submission.call.job),
            server_id=self._server_id,
            replayed=submission.replayed,
        )
        return Reply(body, retry_after=submission.retry_after)

    async def status(self, ask: Ask) -> Reply:
        """Show the story of a request; with `wait`, when it has ended or went on."""
        numbers = [self._number(ask, "wait", _MAX_WAIT), self._number(ask, "seen", 10**6)]
        wrong = [number for number in numbers if isinstance(number, Fault)]
        if wrong:
            return Reply(result.no_status(wrong[0]))
        wait, seen = (number if isinstance(number, int) else None for number in numbers)
        key = self._key(ask)
        if self._config.status_requires_key and key is None:
            return Reply(result.no_status(self._unauthorized(ask)))
        call = await self._find(ask)
        if call is None or not self._may_see(key, call):
            return Reply(result.not_found(ask.item))
        if wait:
            call = await self._wait(call, wait, seen)
        return Reply(result.status(call))

    async def cancel(self, ask: Ask) -> Reply:
        """Hang up whatever exists of a call."""
        key = self._key(ask)
        if key is None:
            return self._fail(self._unauthorized(ask), method=_CANCEL)
        call = await self._find(ask)
        if call is None or not self._is_of(key, call):
            message = f"This key placed no call with the id {ask.item}."
            return self._fail(Fault(ErrorCode.NOT_FOUND, message), method=_CANCEL)
        await self._dispatcher.cancel_anywhere(call)
        return Reply(
            result.response(
                call.request_id,
                (),
                status_url=self._status_url(ask, call.request_id),
                method=_CANCEL,
                server_id=self._server_id,
            )
        )

    async def calls(self, ask: Ask) -> Reply:
        """List the latest calls of a key; the operator sees those of all."""
        key = self._key(ask)
        if key is None:
            return self._fail(self._unauthorized(ask), method=_CALLS)
        limit = self._number(ask, "limit", _MAX_CALLS)
        if isinstance(limit, Fault):
            return self._fail(limit, method=_CALLS)
        name = None if key.name == self._operator else key.name
        calls = await self._dispatcher.recent(20 if limit is None else limit, name)
        return Reply({"calls": [result.listing(call) for call in calls]})

    async def all_events(self, ask: Ask) -> Reply:
        """Stream what happens from now on to a key's calls; the operator sees those of all."""
        key = self._key(ask)
        if key is None:
            return self._fail(self._unauthorized(ask), method=_EVENTS)
        name = None if key.name == self._operator else key.name
        try:
            watch = self._live.follow_key(name, key.name)
        except ApiError as error:
            return evolve(self._fail(*error.faults, method=_EVENTS), retry_after=_STREAM_RETRY)
        return Reply(watch)

    async def events(self, ask: Ask) -> Reply:
        """Stream what has happened to a call, and happens, to its end."""
        key = self._key(ask)
        if self._config.status_requires_key and key is None:
            return Reply(result.no_status(self._unauthorized(ask)))
        if not is_request_id(ask.item):
            return Reply(result.not_found(ask.item))
        owner = ask.client if key is None else key.name
        try:
            watch = self._live.follow_request(ask.item.lower(), owner)
        except ApiError as error:
            return Reply(result.no_status(error.faults[0]), retry_after=_STREAM_RETRY)
        reply: Reply | None = None
        try:
            # What happens while the store is asked waits in the watch.
            call = await self._find(ask)
            if call is None or not self._may_see(key, call):
                return Reply(result.not_found(ask.item))
            past = self._live.past(call)
            if past and past[-1].final and past[-1].id == ask.last_event_id:
                # A browser that has seen the end would come again and again, but for this.
                return Reply(result.status(call))
            watch.begin(past, ask.last_event_id)
            reply = Reply(watch)
            return reply
        finally:
            if reply is None:
                watch.close()

    async def replay(self, ask: Ask) -> Reply:
        """Send dead letters again, for the operator: all, one target's, or one request's."""
        fault = self._no_operator(ask, "send dead letters again")
        if fault is not None:
            return self._fail(fault, method=_REPLAY)
        target, request_id = (
            value if isinstance(value, str) and value else None
            for value in map(ask.parameters.values.get, ("target", "request_id"))
        )
        return Reply({"replayed": await self._replay(target, request_id)})

    async def stop_calls(self, ask: Ask) -> Reply:
        """Turn the kill switch, for the operator; with `hang_up`, calls in progress end as well."""
        fault = self._no_operator(ask, "stop calls")
        if fault is not None:
            return self._fail(fault, method=_STOP)
        reason, hang_up = map(ask.parameters.values.get, ("reason", "hang_up"))
        try:
            count = self._kill_switch.stop(
                reason if isinstance(reason, str) else "", hang_up=hang_up in {"true", "1", True}
            )
        except OSError as error:
            return self._fail(_no_switch(error), method=_STOP)
        return Reply({"stopped": True, "hung_up": count})

    async def start_calls(self, ask: Ask) -> Reply:
        """Let calls be placed again, for the operator."""
        fault = self._no_operator(ask, "start calls")
        if fault is not None:
            return self._fail(fault, method=_START)
        try:
            was = self._kill_switch.start()
        except OSError as error:
            return self._fail(_no_switch(error), method=_START)
        return Reply({"stopped": False, "were_stopped": was})

    async def healthz(self, _ask: Ask) -> Reply:
        """Whether the agent is alive at all."""
        return Reply({"status": "ok"})

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
        return Reply(openapi.description())

    async def nothing_here(self, ask: Ask) -> Reply:
        """Answer for a path that does not exist."""
        return self._absent(ask, f"There is nothing at {ask.path[:200]}.", 404)

    async def wrong_method(self, ask: Ask) -> Reply:
        """Answer for a method that a path does not know."""
        return self._absent(ask, f"{ask.method[:20]} cannot be used at {ask.path[:200]}.", 405)

    # Parts of the answers

    def _absent(self, ask: Ask, message: str, code: int) -> Reply:
        reply = self._fail(Fault(ErrorCode.NOT_FOUND, message))
        return reply if ask.path.startswith(PREFIX) else Reply(reply.body, code=code)

    def _fail(self, *faults: Fault, method: str | None = None) -> Reply:
        """An answer to a request that is not stored; `method` None: one that wants a call."""
        method = method or self._intake.method_of(None)
        return Reply(
            result.response(None, faults, status_url=None, method=method, server_id=self._server_id)
        )

    def failed(self, ask_path: str) -> Reply:
        """The answer where a handler failed by a mistake of ours, or the store by its own."""
        if ask_path.startswith((PREFIX + "/status/", PREFIX + "/events/")):
            return Reply(result.no_status(_INTERNAL))
        return Reply(self._fail(_INTERNAL).body, code=200 if ask_path.startswith(PREFIX) else 500)

    def looks_after(self, ask: Ask) -> bool:
        """Whether a request is of somebody who looks after the agent: health, or its own host."""
        key = None if not ask.path.startswith(PREFIX) else self._key(ask)
        return not ask.path.startswith(PREFIX) or (key is not None and key.name == self._operator)

    def busy(self, ask_path: str, retry_after: int) -> Reply:
        """The answer where there are more connections than may be."""
        if ask_path.startswith(PREFIX + "/status/"):
            return Reply(result.no_status(_BUSY), retry_after=retry_after)
        return Reply(self._fail(_BUSY).body, retry_after=retry_after)

    def _key(self, ask: Ask) -> Key | None:
        return self._keys.find(ask.secret) if ask.secret else None

    def _no_operator(self, ask: Ask, what: str) -> Fault | None:
        """Why who asks is not the operator of this host; None: it is."""
        key = self._key(ask)
        if key is None:
            return self._unauthorized(ask)
        if key.name != self._operator:
            return Fault(ErrorCode.NOT_ALLOWED, f"This key may not {what}.")
        return None

    def _unauthorized(self, ask: Ask) -> Fault:
        if ask.secret is None:
            return Fault(ErrorCode.UNAUTHORIZED, "api_key is missing.")
        _log.warn("unauthorized: a key that is not known, from {client}", client=ask.client)
        return Fault(ErrorCode.UNAUTHORIZED, "This api_key is not known.")

    def _may_see(self, key: Key | None, call: Call) -> bool:
        """Whether a call is shown: the id is enough, unless the configuration says otherwise."""
        return not self._config.status_requires_key or (key is not None and self._is_of(key, call))

    def _is_of(self, key: Key, call: Call) -> bool:
        return key.name in {call.key, self._operator}

    async def _find(self, ask: Ask) -> Call | None:
        if not is_request_id(ask.item):
            return None
        return await self._dispatcher.find(ask.item.lower())

    def _status_url(self, ask: Ask, request_id: str) -> str:
        return f"{ask.base_url}{PREFIX}/status/{request_id}"

    def _number(self, ask: Ask, name: str, most: int) -> int | Fault | None:
        """A number in the query string; a fault where it is none, None where it is not given."""
        text = ask.parameters.values.get(name)
        if text is None:
            return None
        if isinstance(text, str) and re.fullmatch(r"[0-9]{1,7}", text) and int(text) <= most:
            return int(text)
        message = f"{name} must be a whole number from 0 to {most}."
        return Fault(ErrorCode.INVALID_PARAMETER, message)

    async def _wait(self, call: Call, seconds: int, seen: int | None) -> Call:
        """The call when it has ended, or has more than `seen` entries, or after `seconds`."""
        deadline = self._clock.seconds() + seconds
        left: float = seconds
        while (changed := self._dispatcher.changed(call.request_id)) is not None:
            try:
                call = await self._dispatcher.find(call.request_id) or call
                seen_all = seen is None or len(call.timeline) <= seen
                if call.state is CallState.ENDED or not seen_all or left <= 0:
                    return call
                await changed.addTimeout(left, self._clock)
            except TimedOut:
                pass  # the time is over: once more to look
            finally:
                changed.addErrback(_let_go).cancel()
            left = deadline - self._clock.seconds()
        return await self._dispatcher.find(call.request_id) or call


def _shown(handler: Handler) -> Mapping[str, Handler]:
    """The methods of a path that is only looked at."""
    return {"GET": handler, "HEAD": handler}


def _no_switch(error: OSError) -> Fault:
    message = f"The kill switch cannot be turned: {error.strerror}."
    return Fault(ErrorCode.INTERNAL_ERROR, message)


def _let_go(failure: Any) -> None:
    failure.trap(CancelledError)
