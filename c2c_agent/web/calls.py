"""The paths of calls: place one, look at one, cancel one, follow them.

Each is a coroutine from what was asked to what is replied. What is asked for is done by
`dispatch`.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.job import is_request_id
from c2c_agent.config.sections import HttpConfig
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.policy.keys import Key
from c2c_agent.report.live import Live
from c2c_agent.text import one_copy
from c2c_agent.web import answers
from c2c_agent.web.answers import Reply
from c2c_agent.web.ask import PREFIX, Access, Ask, Caller, Listener
from c2c_agent.web.request import renamed

#: The longest that a status is held back, in seconds.
_MAX_WAIT: Final = 60

#: Seconds after which a refused stream is worth another try.
_STREAM_RETRY: Final = 30

_CANCEL: Final = "asterisk.cancel"
_EVENTS: Final = "asterisk.events"


class Calls:
    """What can be done with calls over HTTP."""

    def __init__(
        self,
        *,
        config: HttpConfig,
        server_id: str,
        access: Access,
        intake: Intake,
        dispatcher: Dispatcher,
        live: Live,
        clock: IReactorTime,
    ) -> None:
        self._config = config
        self._server_id = server_id
        self._access = access
        self._intake = intake
        self._dispatcher = dispatcher
        self._live = live
        self._clock = clock

    async def place(self, ask: Ask) -> Reply:
        """Place a call."""
        caller = await self._access.caller(ask)
        faults = ask.parameters.faults
        method = self._intake.method_of(None, ask.parameters.values.get("pbx"))
        if isinstance(caller, Fault):
            if faults and ask.secret is None:
                # The key may stand in what could not be read.
                return self._fail(*faults, method=method)
            return self._fail(*faults, caller, method=method)
        key = caller.key
        fault = _no_call(ask, key)
        if fault is not None:
            return self._fail(fault, method=method)
        values = {name: value for name, value in ask.parameters.values.items() if name != "api_key"}
        values, twice = renamed(values, key.map)
        faults += tuple(
            Fault(ErrorCode.INVALID_PARAMETER, f"{name!r} is given twice.") for name in twice
        )
        url = one_copy(ask.base_url + PREFIX)  # kept with the call: one copy for all
        submission = await self._intake.submit(
            key,
            values,
            faults,
            url=url,
            method=ask.method,
            token=caller.token,
            secrets=ask.secrets,
        )
        # Of what is not kept there is nothing to be asked for later.
        request_id = submission.call.request_id if submission.kept else None
        body = answers.response(
            request_id,
            submission.answer.faults,
            status_url=None if request_id is None else ask.status_url(request_id),
            method=self._intake.method_of(submission.call.job, values.get("pbx")),
            server_id=self._server_id,
            replayed=submission.replayed,
            job=submission.call.job,
        )
        return Reply(body, retry_after=submission.retry_after)

    async def status(self, ask: Ask) -> Reply:
        """Show the story of a request; with `wait`, when it has ended or went on."""
        numbers = [ask.number("wait", _MAX_WAIT), ask.number("seen", 10**6)]
        wrong = [number for number in numbers if isinstance(number, Fault)]
        if wrong:
            return Reply(answers.no_status(wrong[0]))
        wait, seen = (number if isinstance(number, int) else None for number in numbers)
        caller = await self._access.caller(ask) if self._config.status_requires_key else None
        if isinstance(caller, Fault):
            return Reply(answers.no_status(caller))
        call = await self._find(ask)
        if call is None or not self._may_see(caller, call):
            return Reply(answers.not_found(ask.item))
        if wait and call.state is not CallState.ENDED:
            call = await self._wait(call, wait, seen)
        return Reply(answers.status(call))

    async def cancel(self, ask: Ask) -> Reply:
        """Hang up whatever exists of a call."""
        caller = await self._access.caller(ask)
        if isinstance(caller, Fault):
            return self._fail(caller, method=_CANCEL)
        call = await self._find(ask)
        if call is None or not self._access.is_of(caller, call):
            message = f"This key placed no call with the id {ask.item}."
            return self._fail(Fault(ErrorCode.NOT_FOUND, message), method=_CANCEL)
        why = await self._dispatcher.cancel_anywhere(call)
        body = answers.response(
            call.request_id,
            () if why is None else (Fault(ErrorCode.UNSUPPORTED_PBX, why),),
            status_url=ask.status_url(call.request_id),
            method=_CANCEL if call.job is None else f"{call.job.pbx}.cancel",
            server_id=self._server_id,
        )
        if call.outcome is not None:
            body["response"]["ended"] = call.outcome.value
        return Reply(body)

    async def all_events(self, ask: Ask) -> Reply:
        """Stream what happens from now on to a key's calls; a console sees those of all."""
        listener = await self._access.listener(ask)
        if isinstance(listener, Fault):
            return self._fail(listener, method=_EVENTS)
        key = listener.key
        name = None if listener.oversees else key.name
        try:
            watch = self._live.follow_key(name, key.name, listener.dial_first, listener.token)
        except ApiError as error:
            return evolve(self._fail(*error.faults, method=_EVENTS), retry_after=_STREAM_RETRY)
        return Reply(watch, lasts=self._access.lasts(listener.expires))

    async def call_events(self, ask: Ask) -> Reply:
        """Stream what has happened to a call, and happens, to its end."""
        heard = await self._access.listener(ask)
        if isinstance(heard, Fault) and self._config.status_requires_key:
            return Reply(answers.no_status(heard))
        listener = None if isinstance(heard, Fault) else heard
        if not is_request_id(ask.item):
            return Reply(answers.not_found(ask.item))
        owner, token = (
            (ask.client, None) if listener is None else (listener.key.name, listener.token)
        )
        try:
            watch = self._live.follow_request(ask.item.lower(), owner, token)
        except ApiError as error:
            return Reply(answers.no_status(error.faults[0]), retry_after=_STREAM_RETRY)
        reply: Reply | None = None
        try:
            # What happens while the store is asked waits in the watch.
            call = await self._find(ask)
            if call is None or not self._may_see(listener, call):
                return Reply(answers.not_found(ask.item))
            past = self._live.past(call)
            if past and past[-1].final and past[-1].id == ask.last_event_id:
                # A browser that has seen the end would come again and again, but for this.
                return Reply(answers.status(call))
            watch.begin(past, ask.last_event_id)
            expires = None if listener is None else listener.expires
            reply = Reply(watch, lasts=self._access.lasts(expires))
            return reply
        finally:
            if reply is None:
                watch.close()

    def _fail(self, *faults: Fault, method: str) -> Reply:
        """An answer to a request that is not stored."""
        return answers.refused(*faults, method=method, server_id=self._server_id)

    def _may_see(self, caller: Caller | Listener | None, call: Call) -> bool:
        """Whether a call is shown: the id is enough, unless the configuration says otherwise."""
        return not self._config.status_requires_key or (
            caller is not None and self._access.is_of(caller, call)
        )

    async def _find(self, ask: Ask) -> Call | None:
        if not is_request_id(ask.item):
            return None
        return await self._dispatcher.find(ask.item.lower())

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


def _no_call(ask: Ask, key: Key) -> Fault | None:
    """Why a request by this key places no call, whatever is in it."""
    if ask.browser.early:
        message = "A browser asks for this early, before anybody has: that places no call."
        return Fault(ErrorCode.NOT_ALLOWED, message)
    if key.methods is not None and ask.method not in key.methods:
        message = f"This key places calls by {' or '.join(key.methods)} alone, not {ask.method}."
        return Fault(ErrorCode.NOT_ALLOWED, message)
    return None


def _let_go(failure: Any) -> None:
    failure.trap(CancelledError)
