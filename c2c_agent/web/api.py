"""The HTTP API: `/c2c/v2`, its status, cancel and list, and the health of the agent.

Everything below `/c2c/v2` is answered with 200 and JSON, whatever went wrong: the public API
promises it. Here are the routes; `calls` and `operation` answer them, and `server` puts them on a
listener.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import NOT_MODIFIED, UNAUTHORIZED

from c2c_agent.config.sections import HttpConfig
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.intake import Intake
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import KeyRing
from c2c_agent.policy.meter import Use
from c2c_agent.policy.token import TokenSigner
from c2c_agent.report.event import Json
from c2c_agent.report.live import Live
from c2c_agent.report.metrics import Exposition
from c2c_agent.report.outbox import Standing
from c2c_agent.store.call_store import TokenStore
from c2c_agent.web import answers
from c2c_agent.web.answers import Reply, Text, http_status
from c2c_agent.web.ask import PREFIX, Access, Ask
from c2c_agent.web.browser import VARY, preflight, readable
from c2c_agent.web.calls import Calls
from c2c_agent.web.operation import KillSwitch, Operation
from c2c_agent.web.overview import Overview, ReportList
from c2c_agent.web.pages import pages
from c2c_agent.web.tokens import Tokens

_INTERNAL: Final = Fault(ErrorCode.INTERNAL_ERROR, "An internal error; the agent's log has more.")

_BUSY: Final = Fault(ErrorCode.RATE_LIMITED, "There are more connections than this agent serves.")

#: What is asked for below PREFIX, beside calls, and is named in an answer.
_OPERATIONS: Final = frozenset(
    {"cancel", "calls", "events", "replay", "check", "stop-calls", "start-calls"}
)

Handler: TypeAlias = Callable[[Ask], Coroutine[Any, Any, Reply]]


class Api:
    """The routes, and who answers each.

    `check` looks at the agent and its PBX. `fastagi` is where FastAGI
    connections are taken, as `host:port`; None: nowhere. `now` gives epoch seconds as the host's
    clock has them. `use`: what a key uses at present; None where nobody here knows.
    """

    def __init__(
        self,
        *,
        config: HttpConfig,
        server_id: str,
        keys: KeyRing,
        intake: Intake,
        dispatcher: Dispatcher,
        live: Live,
        readiness: Callable[[], Mapping[str, str | None]],
        metrics: Callable[[], Exposition],
        replay: Callable[[str | None, str | None], Coroutine[Any, Any, int]],
        standing: Callable[[], Coroutine[Any, Any, Sequence[Standing]]],
        kill_switch: KillSwitch,
        check: Callable[[], Coroutine[Any, Any, Json]],
        signer: TokenSigner,
        tokens: TokenStore,
        report_list: ReportList,
        use: Callable[[str], Use | None],
        fastagi: str | None = None,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._server_id = server_id
        self._intake = intake
        self._access = Access(keys, signer=signer, tokens=tokens, now=now)
        self._calls = calls = Calls(
            config=config,
            server_id=server_id,
            access=self._access,
            intake=intake,
            dispatcher=dispatcher,
            live=live,
            clock=clock,
        )
        issued = Tokens(
            server_id=server_id,
            access=self._access,
            signer=signer,
            store=tokens,
            revoked=live.revoke,
            now=now,
        )
        overview = Overview(
            server_id=server_id,
            access=self._access,
            recent=dispatcher.recent,
            report_list=report_list,
            use=use,
        )
        self._operation = operation = Operation(
            server_id=server_id,
            access=self._access,
            readiness=readiness,
            metrics=metrics,
            replay=replay,
            standing=standing,
            kill_switch=kill_switch,
            check=check,
            fastagi=fastagi,
        )
        self._routes: tuple[tuple[re.Pattern[str], Mapping[str, Handler]], ...] = (
            # No HEAD here: who only asks for headers wants nobody rung.
            (re.compile(PREFIX), {"GET": calls.place, "POST": calls.place}),
            (re.compile(PREFIX + "/status/(?P<item>[^/]+)"), _shown(calls.status)),
            (re.compile(PREFIX + "/cancel/(?P<item>[^/]+)"), {"POST": calls.cancel}),
            (re.compile(PREFIX + "/calls"), _shown(overview.calls)),
            (re.compile(PREFIX + "/events"), _shown(calls.all_events)),
            (re.compile(PREFIX + "/events/ticket"), {"POST": issued.ticket}),
            (re.compile(PREFIX + "/events/(?P<item>[^/]+)"), _shown(calls.call_events)),
            (re.compile(PREFIX + "/tokens"), {"POST": issued.issue}),
            (re.compile(PREFIX + "/tokens/(?P<item>[^/]+)"), {"DELETE": issued.revoke}),
            (re.compile(PREFIX + "/reports"), _shown(overview.reports)),
            (re.compile(PREFIX + "/keys"), _shown(overview.keys)),
            (re.compile(PREFIX + "/replay"), {"POST": operation.replay}),
            (re.compile(PREFIX + "/targets"), _shown(operation.targets)),
            (re.compile(PREFIX + "/check"), _shown(operation.check)),
            (re.compile(PREFIX + "/stop-calls"), {"POST": operation.stop_calls}),
            (re.compile(PREFIX + "/start-calls"), {"POST": operation.start_calls}),
            (re.compile("/healthz"), _shown(operation.healthz)),
            (re.compile("/readyz"), _shown(operation.readyz)),
            (re.compile("/metrics"), _shown(operation.metrics)),
            (re.compile(r"/openapi\.json"), _shown(operation.describe)),
        )

    def route(self, method: str, path: str) -> tuple[Handler, str]:
        """The handler of a request, and the id in its path."""
        if path in pages():
            return (self.page if method in {"GET", "HEAD"} else self.wrong_method), path
        path = path.rstrip("/") or "/"
        for pattern, handlers in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                return handlers.get(method, self.wrong_method), match.groupdict().get("item", "")
        return self.nothing_here, ""

    async def answer(self, handler: Handler, ask: Ask) -> Reply:
        """What a handler replies, in the form in which the client can take it."""
        if not ask.path.startswith(PREFIX):
            return await handler(ask)
        if ask.browser.asks_first and self._access.keys.welcomes(ask.browser.origin):
            return Reply(None, code=204, headers=(VARY, *preflight(ask.browser)))
        key = self._access.key(ask)
        fault = None if key is None else self._access.page_fault(ask, key)
        reply = await handler(ask) if fault is None else self._refused(ask.path, fault)
        return self.for_client(ask, reply)

    def for_client(self, ask: Ask, reply: Reply) -> Reply:
        """A reply with what the client's browser has to know, and the status that its key wants."""
        if not ask.path.startswith(PREFIX):
            return reply
        code = http_status(reply.body) if self._access.shows_errors(ask) else reply.code
        headers = [*reply.headers, VARY]
        if self._access.may_read(ask):
            headers += readable(ask.browser.origin)
        if code == UNAUTHORIZED:
            headers.append(("WWW-Authenticate", "Bearer"))
        return evolve(reply, code=code, headers=headers)

    async def page(self, ask: Ask) -> Reply:
        """Show a page to a browser, if it does not have it already."""
        page = pages()[ask.item]
        if page.is_known_to(ask.if_none_match):
            return Reply(None, code=NOT_MODIFIED, headers=page.headers)
        return Reply(Text(page.content_type, page.content), headers=page.headers)

    async def nothing_here(self, ask: Ask) -> Reply:
        """Answer for a path that does not exist."""
        return self._absent(ask, f"There is nothing at {ask.path[:200]}.", 404)

    async def wrong_method(self, ask: Ask) -> Reply:
        """Answer for a method that a path does not know."""
        return self._absent(ask, f"{ask.method[:20]} cannot be used at {ask.path[:200]}.", 405)

    def failed(self, ask_path: str) -> Reply:
        """The answer where a handler failed by a mistake of ours, or the store by its own."""
        reply = self._refused(ask_path, _INTERNAL)
        return reply if ask_path.startswith(PREFIX) else evolve(reply, code=500)

    def looks_after(self, ask: Ask) -> bool:
        """Whether a request is of somebody who looks after the agent: health, or a console."""
        if ask.path in pages():
            return False
        key = None if not ask.path.startswith(PREFIX) else self._access.key(ask)
        return not ask.path.startswith(PREFIX) or (key is not None and key.console)

    def busy(self, ask_path: str, retry_after: int) -> Reply:
        """The answer where there are more connections than may be."""
        return evolve(self._refused(ask_path, _BUSY), retry_after=retry_after)

    def _absent(self, ask: Ask, message: str, code: int) -> Reply:
        reply = self._fail(Fault(ErrorCode.NOT_FOUND, message))
        return reply if ask.path.startswith(PREFIX) else Reply(reply.body, code=code)

    def _refused(self, ask_path: str, fault: Fault) -> Reply:
        """A refusal in the shape that a path answers in."""
        if ask_path.startswith((PREFIX + "/status/", PREFIX + "/events/")):
            return Reply(answers.no_status(fault))
        asked = ask_path.removeprefix(PREFIX).split("/")[1:2]
        if asked and _OPERATIONS.issuperset(asked):
            return self._fail(fault, method=f"asterisk.{asked[0]}")
        return self._fail(fault)

    def _fail(self, fault: Fault, method: str | None = None) -> Reply:
        """An answer that is not stored; `method` None: to a request that wants a call."""
        return answers.refused(
            fault, method=method or self._intake.method_of(None), server_id=self._server_id
        )


def _shown(handler: Handler) -> Mapping[str, Handler]:
    """The methods of a path that is only looked at."""
    return {"GET": handler, "HEAD": handler}
