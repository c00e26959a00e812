"""The PBX driver for Asterisk: orders go out over AMI, the second leg is bridged over FastAGI.

Keeps the originate contract of `pbx.driver`. What is heard of a call, over AMI or FastAGI, goes to
its `followed_call`, which makes leg events of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import SessionLost
from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink, LinkDown
from c2c_agent.ami.message import AmiError, LocalAmiError, Message
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import (
    FirstAnswered,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    SecondDialed,
)
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.config.rules import CONTEXT
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.net.endpoints import is_loopback
from c2c_agent.pbx.asterisk import bridge
from c2c_agent.pbx.asterisk.call_trace import tells_of_legs
from c2c_agent.pbx.asterisk.channel_id import is_of_check, request_id_of, request_of
from c2c_agent.pbx.asterisk.event_time import happened_at
from c2c_agent.pbx.asterisk.evidence import DialResult
from c2c_agent.pbx.asterisk.followed_call import CANCEL_CAUSE, FollowedCall
from c2c_agent.pbx.asterisk.inquiry import Inquiry, in_background
from c2c_agent.pbx.asterisk.originate import make_plan, root_of, secret_digest
from c2c_agent.pbx.driver import PbxObserver, PlacedCall

_log = Logger()

#: What a caller is told without a link.
_AWAY: Final = "The PBX cannot be reached at present."

#: Seconds in which a result has to be stored; after that the dialplan leaves a record of its own.
_KEEP: Final = 2.0


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
        wall: Callable[[], float],
    ) -> None:
        self._config = config
        self._link = link
        self._agi_url = agi_url
        self._max_duration = max_duration
        self._clock = clock
        self._now = now
        self._wall = wall
        self._shares_clock = is_loopback(config.ami.host)
        self._calls: dict[str, FollowedCall] = {}
        self._joined: dict[str, str] = {}  # calls of other Linkedids, which are part of one of ours
        self._inquiry = Inquiry(
            link,
            clock,
            whose=self._whose,
            found=self._found,
            not_found=self._not_found,
            not_listed=self._not_listed,
        )
        self.observer: PbxObserver  # set by who puts the parts together

    # PbxDriver

    def unready(self) -> str | None:
        """Why no call can be placed at present."""
        return None if self._link.is_up else _AWAY

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Find the context of `dial_as`, and make the Originate."""
        try:
            context = await self._context_of(job.dial_as)
        except AmiError as error:
            _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
            words = error.words if isinstance(error, actions.ShuttingDown) else _AWAY
            raise ApiError(Fault(ErrorCode.PBX_UNAVAILABLE, words)) from error
        return make_plan(
            self._config,
            request_id,
            job,
            context,
            agi_url=self._agi_url,
            max_duration=job.max_duration or self._max_duration,
        )

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Send the order; its answer, and all that follows, comes as leg events."""
        self._follow(request_id, plan)
        action = plan.order
        assert isinstance(action, actions.Action)  # noqa: S101 - `prepare` of this driver made it

        def answered(response: Message) -> None:
            data = response.as_dict()
            if response.response == "Success":
                self._tell(request_id, OriginateAccepted(data))
                return
            self._drop(request_id)
            message = response.get("Message").strip() or "The PBX refused the call."
            self._tell(request_id, OriginateRefused(message, data))

        def failed(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, actions.ShuttingDown):
                self._drop(request_id)
                self._tell(request_id, OriginateUnsent(error.words))
            elif isinstance(error, (LinkDown, LocalAmiError)):
                self._drop(request_id)
                self._tell(request_id, OriginateUnsent(failure.getErrorMessage()))
            else:
                self._tell(request_id, OriginateUnanswered(failure.getErrorMessage()))

        sent = self._link.send(action, action_id=root_of(plan))
        sent.addCallbacks(answered, failed)
        sent.addErrback(lambda failure: _log.failure("call {call}", failure, call=request_id))

    def cannot_hang_up(self, _request_id: str | None = None) -> str | None:
        """It always can."""
        return None

    def hang_up(self, request_id: str) -> None:
        """Hang up whatever there is of a call."""
        call = self._calls.get(request_id)
        if call is not None:
            call.hang_up()

    def hang_up_foreign(self, call: PlacedCall) -> None:
        """Hang the first leg's channel up, by its id; who follows the call sees to the rest."""
        order = actions.hangup(root_of(call.plan), CANCEL_CAUSE)

        def failed(failure: Failure) -> None:
            reason = failure.getErrorMessage()
            _log.warn("call {call}: {reason}", call=call.request_id, reason=reason)

        self._link.send(order).addErrback(failed)

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart."""
        for call in calls:
            self._follow(call.request_id, call.plan).seen_before(call.first, call.second)

    def settle(self, request_ids: Collection[str]) -> None:
        """Ask Asterisk which of these calls it still has.

        Nothing where it cannot be asked: the observer hears `pbx_up` when it can.
        """
        self._inquiry.ask(one for one in request_ids if one in self._calls)

    # AmiObserver

    def link_up(self, version: str) -> None:
        """The link is up (again): time to ask what became of the calls."""
        _log.debug("settling with Asterisk {version}", version=version)
        self.observer.pbx_up()
        in_background(self._clear_away())

    def link_down(self, reason: str) -> None:
        """The link is lost; Asterisk may go on with the calls."""
        for call in self._calls.values():
            call.link_lost()
        self._inquiry.link_lost()
        self.observer.pbx_down(reason)

    def ami_event(self, event: Message) -> None:
        """An event; of one of our calls, if the AMI user's eventfilter is in place."""
        if not tells_of_legs(event):
            return  # nor is it looked whose it is: an older eventfilter lets many such through
        request_id = self._whose(event) or ""
        call = self._calls.get(request_id)
        if call is not None:
            call.take(event, self._happened_at(event))
            self._note_joined(request_id, call)

    def _whose(self, told: Message) -> str | None:
        """The request whose call an event, or a channel of a list, belongs to."""
        linked = told.get("Linkedid") or told.get("DestLinkedid")
        return request_id_of(told) or self._joined.get(linked)

    def _note_joined(self, request_id: str, call: FollowedCall) -> None:
        if call.other_linkedid is not None:
            self._joined[call.other_linkedid] = request_id

    def _happened_at(self, event: Message) -> float:
        if not self._shares_clock:
            return self._now()
        return happened_at(event, now=self._now(), wall=self._wall())

    # FastAGI

    def has_call_of(self, channel: AgiChannel) -> bool:
        """Whether the call that a channel names is one that was placed on this Asterisk."""
        return _named_call(channel) in self._calls

    async def accept(self, channel: AgiChannel) -> None:
        """Hold the conversation with a channel that came to the bridge context."""
        uniqueid = channel.environment.uniqueid
        request_id, of_check = _named_call(channel), is_of_check(uniqueid)
        is_ours = bool(request_id) or of_check
        if channel.environment.network_script != bridge.SCRIPT or not is_ours:
            _log.warn("FastAGI: refused a session of channel {channel!r}", channel=uniqueid)
            return
        if of_check:
            await bridge.acknowledge(channel)
            return
        try:
            plan = await self._plan_for(channel, request_id)
            if plan is None:
                _log.warn("FastAGI: refused a session of call {call!r}", call=request_id)
                await bridge.refuse(channel)
                return
        except SessionLost as error:
            _log.warn("call {call}: FastAGI: {reason}", call=request_id, reason=str(error))
            return
        await self._bridge(channel, request_id, plan)

    async def _plan_for(self, channel: AgiChannel, request_id: str) -> OriginatePlan | None:
        """The plan of a call, for a channel that knows its secret, and once; None: for no other.

        Of a call that version 0.1 has placed nothing is known but the id of its channel.
        """
        secret = await bridge.secret_of(channel)
        call = self._calls.get(request_id)
        if call is None:
            return None
        known = call.plan.secret_digest
        if known:
            is_proved = hmac.compare_digest(known, secret_digest(secret))
        else:
            is_proved = channel.environment.uniqueid == root_of(call.plan)
        if not is_proved:
            return None
        plan = self.observer.may_bridge(request_id)
        if plan is None:
            call.refused()
        return plan

    async def _bridge(self, channel: AgiChannel, request_id: str, plan: OriginatePlan) -> None:
        call = self._follow(request_id, plan)
        call.session_began(channel.environment.uniqueid, channel.environment.channel)
        self._note_joined(request_id, call)
        self._tell(request_id, FirstAnswered(call.first_channel))
        self._tell(request_id, SecondDialed(plan.timeout))

        async def keep(result: DialResult) -> bool:
            call.second_ended(result)
            stored = Deferred.fromCoroutine(self.observer.until_stored(request_id))
            try:
                return await stored.addTimeout(_KEEP, self._clock)
            except TimedOut:
                return False

        try:
            told = await bridge.bridge(
                channel,
                _target(plan, channel),
                ring_seconds=plan.timeout,
                max_duration=plan.max_duration or self._max_duration,
                in_own_language=self._config.dial_as.language,
                wants_refusals=call.wants_refusals,
                keep=keep,
            )
            if told:
                call.dialplan_told()
        except SessionLost as error:
            _log.warn("call {call}: FastAGI: {reason}", call=request_id, reason=str(error))
        finally:
            call.session_ended()

    # All calls

    def _tell(self, request_id: str, event: LegEvent) -> None:
        call = self._calls.get(request_id)
        if isinstance(event, Gone):
            self._drop(request_id)
        self.observer.leg_event(request_id, event)
        if isinstance(event, Gone) and call is not None and call.has_record:
            in_background(self._clear_away_after(request_id))

    async def _clear_away_after(self, request_id: str) -> None:
        """Delete the dialplan's record of a call, once its end is stored here."""
        if await self.observer.until_stored(request_id):
            await self._inquiry.delete_record(request_id)

    async def _clear_away(self) -> None:
        """Delete the records of calls whose end is stored: a crash came before it was done."""
        for request_id in await self._inquiry.recorded_calls():
            if request_id not in self._calls and await self.observer.has_ended(request_id):
                await self._inquiry.delete_record(request_id)

    def _follow(self, request_id: str, plan: OriginatePlan) -> FollowedCall:
        call = self._calls.get(request_id)
        if call is None:
            call = self._calls[request_id] = FollowedCall(
                request_id,
                plan,
                max_duration=plan.max_duration or self._max_duration,
                link=self._link,
                inquiry=self._inquiry,
                clock=self._clock,
                now=self._now,
                wall=self._wall,
                tell=partial(self._tell, request_id),
            )
        return call

    def _drop(self, request_id: str) -> None:
        call = self._calls.pop(request_id, None)
        if call is not None:
            call.drop()
            self._joined.pop(call.other_linkedid or "", None)
            self._inquiry.forget(request_id)

    def _found(self, request_id: str, channels: Collection[Message]) -> None:
        call = self._calls.get(request_id)
        if call is not None:
            call.found(channels)

    def _not_found(self, request_id: str) -> None:
        call = self._calls.get(request_id)
        if call is not None:
            call.not_found()

    def _not_listed(self, request_id: str) -> None:
        call = self._calls.get(request_id)
        if call is not None:
            call.not_listed()

    # Making a plan

    async def _context_of(self, dial_as: str) -> str:
        """The context of `dial_as`: configured, or of the PJSIP endpoint, or the default."""
        configured = self._config.dial_as.contexts.get(dial_as)
        if configured is not None:
            return configured
        response = await self._link.send(actions.getvar(f"PJSIP_ENDPOINT({dial_as},context)"))
        if response.response != "Success":
            said = response.get("Message").strip()
            _log.warn("PJSIP_ENDPOINT of {user} refused: {said}", user=dial_as, said=said)
            raise ApiError(Fault(ErrorCode.PBX_ERROR, said or "The PBX refused an inquiry."))
        context = response.get("Value").strip() or self._config.dial_as.default_context
        if context is None or CONTEXT.fullmatch(context) is None:
            message = "dial_as is no extension of this PBX that calls can be made as."
            raise ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, message))
        return context


def _named_call(channel: AgiChannel) -> str:
    """The call that a session is of, by its argument or, from a dialplan of 0.1, by the channel."""
    arguments = channel.environment.arguments
    if arguments and arguments[0]:
        return arguments[0]
    return request_of(channel.environment.uniqueid) or ""


def _target(plan: OriginatePlan, channel: AgiChannel) -> str:
    """What is dialled: a Local channel stays where the dialplan is that of version 0.1.

    That one bounds a talk by Dial alone, and would lose the bound with it. It gives no argument.
    """
    target = plan.target
    is_of_0_1 = not channel.environment.arguments
    leaves = target.startswith("Local/") and not target.endswith("/n")
    return target + "/n" if is_of_0_1 and leaves else target
