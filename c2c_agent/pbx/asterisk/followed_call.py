"""One call that Asterisk was given, followed until nothing of it exists there.

`driver` has one FollowedCall for each call and passes on what it hears of it. Two tables decide:
`following` when the call is over and may be told so, `hanging_up` what is hung up and when. This
is the shell around them: it owns the timers, sends, and sums up the evidence of the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import AmiError, Message
from c2c_agent.ami.pending import ActionTimedOut
from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import Found, Gone, LegEvent, SecondEnded
from c2c_agent.call.evidence import CallEvidence, Leg, LegEvidence
from c2c_agent.call.evolve import evolve
from c2c_agent.pbx.asterisk import astdb, following, hanging_up
from c2c_agent.pbx.asterisk.call_trace import CallTrace
from c2c_agent.pbx.asterisk.evidence import (
    DialReport,
    DialResult,
    dial_report,
    with_dial_report,
    with_record,
)
from c2c_agent.pbx.asterisk.following import Existing, Following, Seen
from c2c_agent.pbx.asterisk.inquiry import Inquiry, in_background, warn_of
from c2c_agent.pbx.asterisk.originate import root_of
from c2c_agent.text import one_copy

_log = Logger()

#: Seconds that events are given to arrive which explain an end that was told already. An
#: OriginateResponse may come before, or after, everything else (pbx.c has a thread of its own
#: for it).
_EXPLAIN: Final = 1.5

#: Seconds after which it is looked for what others were left with, again and again.
_LOOK: Final = 3.0

#: Seconds after the second's answer within which a Local channel leaves the talk, where it does.
_LEAVES_WITHIN: Final = 1.0

#: Seconds before the end of the longest talk at which it is bounded exactly: most talks are over by
#: then, and the dialplan's own bound is later by no more than the ringing.
_BOUND_AHEAD: Final = 60.0

#: Seconds until a channel that is only just being made is hung up again; each time twice as long,
#: and this is the longest.
_HANG_UP_AGAIN: Final = 0.25
_HANG_UP_SELDOM: Final = 8.0

#: What Hangup and Setvar say of a channel that does not exist (main/manager.c, `action_hangup`,
#: `action_setvar`).
_NO_CHANNEL: Final = "No such channel"

#: The cause that a cancelled call is hung up with: normal clearing.
CANCEL_CAUSE: Final = 16


class FollowedCall:
    """A call at Asterisk. `tell` takes its leg events; the last one is Gone."""

    def __init__(
        self,
        request_id: str,
        plan: OriginatePlan,
        *,
        max_duration: int,
        link: AmiLink,
        inquiry: Inquiry,
        clock: IReactorTime,
        now: Callable[[], float],
        wall: Callable[[], float],
        tell: Callable[[LegEvent], None],
    ) -> None:
        self._request_id = request_id
        self._plan = plan
        self._max_duration = max_duration
        self._link = link
        self._inquiry = inquiry
        self._clock = clock
        self._now = now
        self._wall = wall
        self._tell = tell
        self._trace = CallTrace(root_of(plan), plan.timeout)
        self._heard_at = float("-inf")  # when the last event happened that was read
        self._dial_report: DialReport | None = None
        self._record: astdb.DialplanRecord | None = None
        self._following = Following()
        self._explaining: IDelayedCall | None = None
        self._hanging_up = hanging_up.State.IDLE
        self._hanging_again: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None  # for what others have been left with
        self._has_looked = False
        self._unsettled = False  # something was missed, and what there is was not listed yet
        self._hung = ""  # the channel that was hung up last
        self._ended_here = False
        self._in_vain = 0  # how often it was tried again since something was hung up
        self._set_right = False
        self._naming: IDelayedCall | None = None  # the request in the CDR of a channel that stays
        self._bounding: IDelayedCall | None = None

    @property
    def plan(self) -> OriginatePlan:
        """How it was placed."""
        return self._plan

    @property
    def has_record(self) -> bool:
        """Whether the dialplan's record of it may be in AstDB."""
        return self._following.has_record

    @property
    def other_linkedid(self) -> str | None:
        """The Linkedid under which it goes on, where that is another call's."""
        return self._trace.other_linkedid

    @property
    def first_channel(self) -> str | None:
        """The name of the channel that its first leg is shown by, as far as any is known."""
        return self._trace.name_of(Leg.FIRST)

    # What is heard of it

    def seen_before(self, first: LegEvidence, second: LegEvidence) -> None:
        """Take over what was known of it before a restart of the agent."""
        self._trace.seen_before(first, second)
        self._unsettled = True

    def take(self, event: Message, at: float) -> None:
        """An AMI event of the call, and when it happened."""
        self._heard_at = max(self._heard_at, at)  # they come in order, whatever their stamps say
        for leg_event in self._trace.observe(event, self._heard_at):
            self._tell(leg_event)
        self._set_talk_right()
        self._name_request_later()
        self._follow(following.Event.HEARD)
        self._hang_up_others()
        if event.event == "Hangup":
            self._look_for_others()

    def session_began(self, uniqueid: str, name: str) -> None:
        """FastAGI holds this channel, which dials: it cannot be gone before the session is."""
        self._trace.first_came(one_copy(uniqueid), one_copy(name), self._now())
        self._follow(following.Event.SESSION_BEGAN)

    def wants_refusals(self) -> bool:
        """Whether phones of the second leg have refused, and events did not tell how."""
        return any(one.sip is None for one in self._trace.evidence().second.tried)

    def second_ended(self, result: DialResult) -> None:
        """The session has told how the second leg ended."""
        self._dial_report = dial_report(
            self._trace.evidence(), result, ahead=self._ahead(), now=self._now()
        )
        if self._dial_report.answered_at is not None:
            self._trace.second_came(self._dial_report.answered_at)
        self._follow(following.Event.SESSION_TOLD)
        evidence = self._evidence()
        self._tell(SecondEnded(evidence.second, evidence.hung_up_by, evidence.hung_up_at))

    def dialplan_told(self) -> None:
        """The dialplan knows that the session has told all."""
        self._follow(following.Event.DIALPLAN_TOLD)

    def session_ended(self) -> None:
        """The session is over, or was lost."""
        self._follow(following.Event.SESSION_ENDED)

    def link_lost(self) -> None:
        """From here on something may be missed."""
        self._trace.lost = True
        self._unsettled, self._has_looked = True, False
        self._set_right = False  # what was said may not have been heard
        _cancel(self._naming)
        self._naming = None
        self._hang(hanging_up.Event.LINK_LOST)

    def found(self, channels: Iterable[Message]) -> None:
        """Asterisk still has these channels of it."""
        self._unsettled = False
        if self._has_looked:
            self._has_looked = False
            self._trace.still_there(channels)
            self._follow(following.Event.HEARD)
            self._look_for_others()
            return
        missed = self._trace.found(channels, self._now())
        self._tell(Found())
        for leg_event in missed:
            self._tell(leg_event)
        self._set_talk_right()
        self._name_request_later()
        self._follow(following.Event.HEARD)  # an end may have been told before the list was

    def not_found(self) -> None:
        """Asterisk has nothing of it any more."""
        self._unsettled = False
        if self._has_looked:
            self._trace.still_there([])
        else:
            self._trace.found([], self._now())
        self._follow(following.Event.NOT_FOUND)

    def not_listed(self) -> None:
        """Asterisk does not say what it has of it: events alone tell."""
        self._unsettled = False
        self._follow(following.Event.HEARD)

    def hang_up(self) -> None:
        """Hang up whatever exists of it, also what comes to be meanwhile."""
        self._trace.is_to_end()
        self._hang(hanging_up.Event.WANTED)

    def refused(self) -> None:
        """A channel of it wanted the second leg dialled, and may not have it."""
        self._ended_here = True

    def drop(self) -> None:
        """Nothing more is to be done for it."""
        self._follow(following.Event.DROPPED)
        self._hang(hanging_up.Event.DROPPED)

    # Its end

    def _follow(self, event: following.Event) -> None:
        self._following, commands = following.step(self._following, event, self._seen())
        if self._following.state is following.State.OVER:
            _cancel(self._looking)
            _cancel(self._naming)
            _cancel(self._bounding)
        for command in commands:
            match command:
                case following.Command.WAIT:
                    waited = following.Event.WAITED
                    self._explaining = self._clock.callLater(_EXPLAIN, self._follow, waited)
                case following.Command.STOP_WAITING:
                    _cancel(self._explaining)
                case following.Command.READ_RECORD:
                    in_background(self._read_record())
                case following.Command.TELL_END:
                    self._hang(hanging_up.Event.DROPPED)
                    evidence = self._evidence()
                    if evidence.hung_up_by is None:
                        # Nobody did after that, so this was the first end of it.
                        evidence = evolve(evidence, hung_up_by=self._trace.who_left())
                    self._tell(Gone(evidence))

    def _seen(self) -> Seen:
        trace = self._trace
        return Seen(self._existing(), trace.first_answered, trace.lost, trace.ran_dialplan)

    def _existing(self) -> Existing:
        trace = self._trace
        if self._unsettled:
            return Existing.SOMETHING  # what was told to end is perhaps not all that there was
        if trace.all_gone and trace.is_explained:
            return Existing.NOTHING
        if trace.all_gone or trace.all_going:
            return Existing.UNEXPLAINED
        return Existing.SOMETHING

    async def _read_record(self) -> None:
        try:
            record = await self._inquiry.record(self._request_id)
        except AmiError as error:
            is_slow = isinstance(error, ActionTimedOut) and self._link.is_up
            self._follow(following.Event.READ_LATE if is_slow else following.Event.READ_LOST)
            return
        if record is None:
            self._follow(following.Event.NO_RECORD)
            return
        self._record = astdb.read(record) if record else None
        self._follow(following.Event.RECORD_READ)

    def _evidence(self) -> CallEvidence:
        """All that is known of it: watched, reported, recorded."""
        evidence = self._trace.evidence()
        if self._dial_report is not None:
            several = self._trace.second_is_one_of_several()
            evidence = with_dial_report(evidence, self._dial_report, is_one_of_several=several)
        if self._record is not None:
            ahead, now = self._ahead(), self._now()
            evidence = with_record(evidence, self._record, ahead=ahead, now=now)
        return evolve(evidence, ended_here=self._ended_here)

    def _ahead(self) -> float:
        """By how much the clock of the PBX's host (it is this one's) is ahead of the steady one."""
        return self._wall() - self._now()

    # Who is left

    def _look_for_others(self) -> None:
        """Who talks on with another, older call is counted as part of that: no event tells."""
        waits = self._looking is not None and self._looking.active()
        is_over = self._following.state is following.State.OVER
        if not waits and not is_over and self._trace.is_left_to_others:
            self._looking = self._clock.callLater(_LOOK, self._look)

    def _look(self) -> None:
        if self._trace.is_left_to_others:
            self._has_looked = True
            self._inquiry.ask([self._request_id])

    # The talk

    def _set_talk_right(self) -> None:
        """Have the talk bounded exactly, and counted, where nothing is left of its dialling.

        The limit that Dial kept has gone with the Local channel, and the dialplan's own counts from
        the dialling. The CDR of the talk is a new one (cdr.c), which is to be written. That of the
        ringing, which would count as a talk too, is not: it is closed when the Local channel ends.
        """
        if self._set_right or not self._trace.talks_alone():
            return
        self._set_right = True
        _cancel(self._bounding)
        since = self._trace.talk_since()
        if since is not None:
            end = since + self._max_duration
            wait = max(0.0, end - _BOUND_AHEAD - self._now())
            self._bounding = self._clock.callLater(wait, self._bound, end)
        in_background(self._set(self._trace.caller, "CDR_PROP(disable)", "0"))

    def _bound(self, end: float) -> None:
        left = max(1.0, end - self._now())
        in_background(self._set(self._trace.caller, "TIMEOUT(absolute)", f"{left:.3f}"))

    def _name_request_later(self) -> None:
        """Have the CDR of a Local channel that stays in the talk lead to the request."""
        if self._naming is None and self._trace.second_answered:
            wait = 0.0 if self._plan.target.endswith("/n") else _LEAVES_WITHIN
            self._naming = self._clock.callLater(wait, self._name_request)

    def _name_request(self) -> None:
        stays = self._trace.far_half_of_second
        if stays is not None:
            in_background(self._set(stays, "CDR(userfield)", self._request_id))

    async def _set(self, channel: str, name: str, value: str) -> None:
        """Set it; where that fails the talk goes on, and the dialplan's own bound holds."""
        order = actions.setvar(name, value, channel)
        try:
            response = await self._link.send(order)
        except AmiError as error:
            warn_of(error, self._request_id)
            return
        # A channel may have ended meanwhile.
        if response.response != "Success" and _NO_CHANNEL not in response.get("Message"):
            warn_of(actions.ActionRefused(f"{order.name} {name}", response), self._request_id)

    # Hanging up

    def _hang(self, event: hanging_up.Event) -> None:
        self._hanging_up, commands = hanging_up.step(self._hanging_up, event)
        for command in commands:
            match command:
                case hanging_up.Command.SEND:
                    self._send_hangup()
                case hanging_up.Command.WAIT:
                    due = hanging_up.Event.DUE
                    seconds = min(_HANG_UP_AGAIN * 2**self._in_vain, _HANG_UP_SELDOM)
                    self._in_vain = min(self._in_vain + 1, 8)
                    self._hanging_again = self._clock.callLater(seconds, self._hang, due)
                case hanging_up.Command.STOP_WAITING:
                    _cancel(self._hanging_again)

    def _hang_up_others(self) -> None:
        """Mostly they all go with the first channel; but more than two may talk."""
        if self._trace.to_hang_up not in {self._hung, None}:
            self._hang(hanging_up.Event.OTHERS_EXIST)

    def _send_hangup(self) -> None:
        channel = self._trace.to_hang_up
        if channel is None:  # of the last one the end was not told
            self._hang(hanging_up.Event.NONE_EXISTS)
            self._follow(following.Event.HEARD)
            return
        self._hung = channel

        def answered(response: Message) -> None:
            said = response.get("Message").strip()
            refused = response.response != "Success"
            self._ended_here |= not refused
            if refused and _NO_CHANNEL not in said:
                self._refused(said)
                return
            if refused and channel != self._trace.root:
                self._trace.is_gone(channel)
            if not refused or channel != self._trace.root:
                self._in_vain = 0
            if refused or channel not in self._trace.main_channels:
                # The root may only just be made, or just gone.
                self._hang(hanging_up.Event.NOT_ALL)
            else:
                self._hang(hanging_up.Event.TAKEN)
                self._hang_up_others()

        def failed(failure: Failure) -> None:
            reason = failure.getErrorMessage()
            if isinstance(failure.value, actions.ShuttingDown):
                self._refused(reason)
                return
            _log.warn("call {call}: {reason}", call=self._request_id, reason=reason)
            self._hang(hanging_up.Event.FAILED)

        order = actions.hangup(channel, CANCEL_CAUSE)
        self._link.send(order).addCallbacks(answered, failed)

    def _refused(self, reason: str) -> None:
        """Asterisk does not do it at present, whatever exists: ask again, ever more seldom."""
        if not self._in_vain:
            _log.warn("call {call}: Hangup: {reason}", call=self._request_id, reason=reason)
        self._hang(hanging_up.Event.NOT_ALL)


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()
