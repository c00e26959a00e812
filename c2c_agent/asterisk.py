"""The PBX driver for Asterisk: orders go out over AMI, the second leg is bridged over FastAGI.

Keeps the originate contract of `pbx`. AMI events come in as they come; `ami.call_trace` makes leg
events of them, call by call. A call whose end nobody watched is explained, where possible, by what
the dialplan left in AstDB (asterisk-conf/c2c-bridge.conf, context c2c-result).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.agi import scripts
from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import SessionLost
from c2c_agent.ami import actions
from c2c_agent.ami.call_trace import PREFIX, CallTrace, request_id_of
from c2c_agent.ami.message import AmiError, LocalAmiError, Message
from c2c_agent.ami.service import AmiLink, LinkDown
from c2c_agent.asterisk_plan import make_plan, merge_left
from c2c_agent.config import CONTEXT, AsteriskConfig
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.job import CallJob
from c2c_agent.pbx import (
    FirstAnswered,
    Found,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginatePlan,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    PbxObserver,
    PlacedCall,
    SecondDialed,
)

_log = Logger()

#: Channel ids of test calls; what follows is the check's own.
CHECK_PREFIX: Final = PREFIX + "check-"

#: Seconds that events are given to arrive which explain an end that was told already. An
#: OriginateResponse may come before, or after, everything else (reference, section 2.3).
_EXPLAIN: Final = 1.5

#: Seconds between attempts to hang up a channel that is only just being made.
_HANG_UP_AGAIN: Final = 0.25

#: Seconds after which a call that was not found is looked for again before it is given up: an
#: order that was on its way when the link broke may only just be carried out.
_LOOK_AGAIN: Final = 2.0

#: The cause that a cancelled call is hung up with: normal clearing.
_CANCEL_CAUSE: Final = 16

_FAMILY: Final = "c2c"


@define(eq=False)
class _Followed:
    """A call that Asterisk was given."""

    trace: CallTrace
    session: bool = False  # a FastAGI session holds its first leg
    told_all: bool = False  # the session ended in order, and told how the second leg ended
    timer: IDelayedCall | None = None
    hanging_up: bool = False
    finishing: bool = False


class AsteriskDriver:
    """The `PbxDriver` for the Asterisk on the other end of `link`."""

    method = "asterisk.call"

    def __init__(
        self,
        config: AsteriskConfig,
        *,
        link: AmiLink,
        agi_url: str,
        max_duration: int,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._config = config
        self._link = link
        self._agi_url = agi_url
        self._max_duration = max_duration
        self._clock = clock
        self._now = now
        self._calls: dict[str, _Followed] = {}
        self.observer: PbxObserver  # set by who puts the parts together

    # PbxDriver

    def unready(self) -> str | None:
        """Why no call can be placed at present."""
        return None if self._link.is_up else "The PBX cannot be reached at present."

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Find the context of `dial_as`, and make the Originate."""
        try:
            context = await self._context_of(job.dial_as)
        except AmiError as error:
            _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
            raise ApiError(
                Fault(ErrorCode.PBX_UNAVAILABLE, "The PBX cannot be reached at present.")
            ) from error
        return make_plan(
            self._config,
            request_id,
            job,
            context,
            agi_url=self._agi_url,
            max_duration=self._max_duration,
        )

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Send the order; its answer, and all that follows, comes as leg events."""
        followed = self._follow(request_id, plan)
        action = plan.order
        assert isinstance(action, actions.Action)  # noqa: S101 - `prepare` of this driver made it

        def answered(response: Message) -> None:
            data = response.as_dict()
            if response.response == "Success":
                self._tell(request_id, OriginateAccepted(data))
                return
            self._drop(request_id, followed)
            message = response.get("Message").strip() or "The PBX refused the call."
            self._tell(request_id, OriginateRefused(message, data))

        def failed(failure: Failure) -> None:
            if isinstance(failure.value, (LinkDown, LocalAmiError)):
                self._drop(request_id, followed)
                self._tell(request_id, OriginateUnsent(failure.getErrorMessage()))
            else:
                self._tell(request_id, OriginateUnanswered(failure.getErrorMessage()))

        sent = self._link.send(action, action_id=PREFIX + request_id)
        sent.addCallbacks(answered, failed)
        sent.addErrback(lambda failure: _log.failure("call {call}", failure, call=request_id))

    def hang_up(self, request_id: str) -> None:
        """Hang the first leg's channel up, and with it all the rest; until it is gone."""
        followed = self._calls.get(request_id)
        if followed is not None and not followed.hanging_up:
            followed.hanging_up = True
            self._hang_up(request_id, followed)

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart."""
        for call in calls:
            followed = self._follow(call.request_id, call.plan)
            followed.trace.seen_before(call.first, call.second)

    def settle(self, request_ids: Collection[str]) -> None:
        """Ask Asterisk which of these calls it still has.

        Nothing where it cannot be asked: the observer hears `pbx_up` when it can.
        """
        self._in_background(self._settle(request_ids, look_again=True))

    # AmiObserver

    def link_up(self, version: str) -> None:
        """The link is up (again): time to ask what became of the calls."""
        _log.debug("settling with Asterisk {version}", version=version)
        self.observer.pbx_up()

    def link_down(self, reason: str) -> None:
        """The link is lost; Asterisk may go on with the calls."""
        _log.warn("AMI is down: {reason}", reason=reason)
        for followed in self._calls.values():
            followed.trace.lost = True
            followed.hanging_up = False
        self.observer.pbx_down(reason)

    def ami_event(self, event: Message) -> None:
        """An event; of one of our calls, if the AMI user's eventfilter is in place."""
        request_id = request_id_of(event)
        followed = self._calls.get(request_id) if request_id is not None else None
        if followed is None or request_id is None:
            return
        for leg_event in followed.trace.observe(event, self._now()):
            self._tell(request_id, leg_event)
        self._finish_when_over(request_id, followed)

    # FastAGI

    async def accept(self, channel: AgiChannel) -> None:
        """Hold the conversation with a channel that came to the bridge context."""
        uniqueid = channel.environment.uniqueid
        if channel.environment.network_script != scripts.SCRIPT or not uniqueid.startswith(PREFIX):
            _log.warn("FastAGI: refused a session of channel {channel!r}", channel=uniqueid)
            return
        if uniqueid.startswith(CHECK_PREFIX):
            await scripts.acknowledge(channel)
            return
        request_id = uniqueid.removeprefix(PREFIX)
        plan = self.observer.may_bridge(request_id)
        if plan is None:
            _log.warn("FastAGI: refused a session of call {call}", call=request_id)
            await scripts.refuse(channel)
            return
        await self._bridge(channel, request_id, self._follow(request_id, plan), plan)

    async def _bridge(
        self, channel: AgiChannel, request_id: str, followed: _Followed, plan: OriginatePlan
    ) -> None:
        self._tell(request_id, FirstAnswered())
        self._tell(request_id, SecondDialed(plan.timeout))
        followed.session = True
        try:
            result = await scripts.bridge(
                channel,
                plan.target,
                ring_seconds=plan.timeout,
                max_duration=self._max_duration,
            )
        except SessionLost as error:
            _log.warn("call {call}: FastAGI: {reason}", call=request_id, reason=str(error))
        else:
            followed.told_all = True
            followed.trace.dial_ended(result, self._now())
        finally:
            followed.session = False
            self._finish_when_over(request_id, followed)

    # Following a call to its end

    def _tell(self, request_id: str, event: LegEvent) -> None:
        self.observer.leg_event(request_id, event)

    def _follow(self, request_id: str, plan: OriginatePlan) -> _Followed:
        followed = self._calls.get(request_id)
        if followed is None:
            trace = CallTrace(PREFIX + request_id, plan.timeout)
            followed = self._calls[request_id] = _Followed(trace)
        return followed

    def _drop(self, request_id: str, followed: _Followed) -> None:
        if followed.timer is not None and followed.timer.active():
            followed.timer.cancel()
        if self._calls.get(request_id) is followed:
            del self._calls[request_id]

    def _finish_when_over(self, request_id: str, followed: _Followed) -> None:
        """Where nothing is left of the call: say so, at once or when it may be explained."""
        trace = followed.trace
        if not trace.is_over or followed.session or followed.finishing:
            return
        if followed.timer is not None and followed.timer.active():
            if not trace.is_explained:
                return
            followed.timer.cancel()
        if trace.is_explained:
            self._finish(request_id, followed)
        else:
            followed.timer = self._clock.callLater(_EXPLAIN, self._finish, request_id, followed)

    def _finish(self, request_id: str, followed: _Followed) -> None:
        if not followed.finishing:
            followed.finishing = True
            self._in_background(self._conclude(request_id, followed))

    async def _conclude(self, request_id: str, followed: _Followed) -> None:
        """Sum up the evidence, with what the dialplan left, and tell that the call is gone."""
        evidence = followed.trace.evidence()
        answered = evidence.first.answered_at is not None
        if not followed.told_all and (answered or evidence.lost):
            try:
                left = await self._collect(request_id)
            except AmiError:
                # Not now: it will be settled when the link is back, and then be collected.
                followed.finishing = False
                return
            if left is not None:
                evidence = merge_left(evidence, left)
        self._drop(request_id, followed)
        self._tell(request_id, Gone(evidence))

    async def _collect(self, request_id: str) -> str | None:
        """Take what the dialplan left of a call out of AstDB."""
        try:
            entries = await self._link.collect(actions.db_get(_FAMILY, request_id))
        except actions.ActionRefused:
            return None  # no such entry
        # Reading DB_DELETE is refused to AMI as dangerous; setting it deletes, too (func_db.c).
        await self._link.send(actions.setvar(f"DB_DELETE({_FAMILY}/{request_id})", ""))
        return next((entry.get("Val") for entry in entries if entry.get("Val")), None)

    async def _settle(self, request_ids: Iterable[str], *, look_again: bool) -> None:
        try:
            listed = await self._link.collect(actions.core_show_channels())
        except AmiError:
            return
        by_call: dict[str, list[Message]] = {}
        for channel in listed:
            request_id = request_id_of(channel)
            if request_id is not None:
                by_call.setdefault(request_id, []).append(channel)
        missing = []
        for request_id in request_ids:
            followed = self._calls.get(request_id)
            if followed is None or followed.finishing:
                continue
            if request_id in by_call:
                self._found(request_id, followed, by_call[request_id])
            elif look_again:
                missing.append(request_id)
            else:
                followed.trace.found([], self._now())
                self._finish(request_id, followed)
        if missing:
            again = self._settle(missing, look_again=False)
            self._clock.callLater(_LOOK_AGAIN, self._in_background, again)

    def _found(self, request_id: str, followed: _Followed, channels: Iterable[Message]) -> None:
        missed = followed.trace.found(channels, self._now())
        self._tell(request_id, Found())
        for event in missed:
            self._tell(request_id, event)

    def _hang_up(self, request_id: str, followed: _Followed) -> None:
        if self._calls.get(request_id) is not followed or not followed.hanging_up:
            return

        def answered(response: Message) -> None:
            if response.response != "Success":
                # Only just being made, or just gone; in the one case it has to be said again.
                self._clock.callLater(_HANG_UP_AGAIN, self._hang_up, request_id, followed)

        def failed(failure: Failure) -> None:
            _log.warn("call {call}: {reason}", call=request_id, reason=failure.getErrorMessage())
            followed.hanging_up = False  # asked again when the call is found on a new link

        hung_up = self._link.send(actions.hangup(PREFIX + request_id, _CANCEL_CAUSE))
        hung_up.addCallbacks(answered, failed)
        hung_up.addErrback(lambda failure: _log.failure("call {call}", failure, call=request_id))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: _log.failure("a mistake in the Asterisk driver", failure)
        )

    # Making a plan

    async def _context_of(self, dial_as: str) -> str:
        """The context of `dial_as`: configured, or of the PJSIP endpoint, or the default."""
        configured = self._config.dial_as.contexts.get(dial_as)
        if configured is not None:
            return configured
        response = await self._link.send(actions.getvar(f"PJSIP_ENDPOINT({dial_as},context)"))
        context = response.get("Value").strip() or self._config.dial_as.default_context
        if context is None or CONTEXT.fullmatch(context) is None:
            message = "dial_as is no extension of this PBX that calls can be made as."
            raise ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, message))
        return context
