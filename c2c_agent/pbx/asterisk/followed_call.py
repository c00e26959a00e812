"""One call that Asterisk was given, followed until nothing of it is left there.

`asterisk` has one FollowedCall for each call and passes on what it hears of it. When all channels
are gone, no FastAGI session holds one, and all that will be told has been told, the evidence is
summed up and Gone goes out, once. Where the end was not watched, the dialplan's own record of it in
AstDB (asterisk-conf/c2c-bridge.conf, c2c-result and c2c-first-result) is collected first.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import AmiError, Message
from c2c_agent.ami.pending import ActionTimedOut
from c2c_agent.call.events import Found, Gone, LegEvent, SecondEnded
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.pbx.asterisk import astdb
from c2c_agent.pbx.asterisk.call_trace import PREFIX, CallTrace
from c2c_agent.pbx.asterisk.evidence import (
    DialReport,
    DialResult,
    dial_report,
    with_dial_report,
    with_record,
)
from c2c_agent.text import one_copy

_log = Logger()

#: Seconds that events are given to arrive which explain an end that was told already. An
#: OriginateResponse may come before, or after, everything else (reference, section 2.3).
_EXPLAIN: Final = 1.5

#: Seconds between attempts to hang up a channel that is only just being made.
_HANG_UP_AGAIN: Final = 0.25

#: The cause that a cancelled call is hung up with: normal clearing.
_CANCEL_CAUSE: Final = 16


class FollowedCall:
    """A call at Asterisk. `tell` takes its leg events; the last one is Gone."""

    def __init__(
        self,
        request_id: str,
        ring_seconds: float,
        *,
        link: AmiLink,
        clock: IReactorTime,
        now: Callable[[], float],
        wall: Callable[[], float],
        tell: Callable[[LegEvent], None],
    ) -> None:
        self._request_id = request_id
        self._link = link
        self._clock = clock
        self._now = now
        self._wall = wall
        self._tell = tell
        self._trace = CallTrace(one_copy(PREFIX + request_id), ring_seconds)
        self._dial_report: DialReport | None = None
        self._in_session = False  # FastAGI holds the first leg's channel
        self._told_all = False  # a session ended in order, and told how the second leg ended
        self._hanging_up = False
        self._root_hung_up = False  # and the end of the first leg's channel is to be told yet
        self._hanging_again: IDelayedCall | None = None
        self._concluding = False
        self._explaining: IDelayedCall | None = None
        self._over = False
        self.has_record = False  # the dialplan's record of it is in AstDB still

    # What is heard of it

    def seen_before(self, first: LegEvidence, second: LegEvidence) -> None:
        """Take over what was known of it before a restart of the agent."""
        self._trace.seen_before(first, second)

    def take(self, event: Message) -> None:
        """An AMI event of the call."""
        for leg_event in self._trace.observe(event, self._now()):
            self._tell(leg_event)
        self._conclude_if_over()
        self._hang_up_the_rest()

    def session_began(self) -> None:
        """FastAGI holds the first leg's channel: it cannot be gone before the session is."""
        self._in_session = True
        self._trace.first_came(self._now())

    def second_ended(self, result: DialResult) -> None:
        """The session has told how the second leg ended."""
        self._told_all = True
        self.has_record = True  # unless the dialplan hears of it, too
        self._dial_report = dial_report(
            self._trace.evidence(), result, ahead=self._ahead(), now=self._now()
        )
        if self._dial_report.answered_at is not None:
            self._trace.second_came(self._dial_report.answered_at)
        evidence = self._evidence()
        self._tell(SecondEnded(evidence.second, evidence.hung_up_by, evidence.hung_up_at))

    def dialplan_told(self) -> None:
        """The dialplan knows that the session has told all."""
        self.has_record = False

    def session_ended(self) -> None:
        """The session is over, or was lost."""
        self._in_session = False
        self._conclude_if_over()

    def link_lost(self) -> None:
        """From here on something may be missed."""
        self._trace.lost = True
        self._hanging_up = self._root_hung_up = False

    def found(self, channels: Iterable[Message]) -> None:
        """Asterisk still has these channels of it."""
        missed = self._trace.found(channels, self._now())
        self._tell(Found())
        for leg_event in missed:
            self._tell(leg_event)

    def not_found(self) -> None:
        """Asterisk has nothing of it any more."""
        self._trace.found([], self._now())
        self._conclude()

    def drop(self) -> None:
        """Nothing more is to be done for it."""
        self._over = True
        for timer in (self._explaining, self._hanging_again):
            if timer is not None and timer.active():
                timer.cancel()

    # Hanging up

    def hang_up(self) -> None:
        """Hang the first leg's channel up, and with it all the rest; until it is gone."""
        if not self._hanging_up:
            self._hanging_up = True
            self._hang_up()

    def _hang_up_the_rest(self) -> None:
        """Mostly they all go with the first channel; but more than two may talk."""
        if not self._root_hung_up or self._over:
            return
        if self._trace.to_hang_up not in {self._trace.root, None}:
            self._root_hung_up = False
            self._hang_up_again()

    def _hang_up_again(self) -> None:
        self._hanging_again = self._clock.callLater(_HANG_UP_AGAIN, self._hang_up)

    def _hang_up(self) -> None:
        if self._over or not self._hanging_up:
            return
        channel = self._trace.to_hang_up
        if channel is None:
            self._conclude_if_over()  # of the last one the end was not told
            return

        def answered(response: Message) -> None:
            refused = response.response != "Success"
            if refused and channel != self._trace.root:
                self._trace.is_gone(channel)
            if refused or channel != self._trace.root:
                # Only just being made, or just gone; in the one case it has to be said again. Or
                # the first channel has gone and others are left: each has to be hung up, unless
                # it is gone and its end was not told.
                self._hang_up_again()
            else:
                self._root_hung_up = True
                self._hang_up_the_rest()

        def failed(failure: Failure) -> None:
            # Asked again when the call is found on a new link.
            self._hanging_up = False
            reason = failure.getErrorMessage()
            _log.warn("call {call}: {reason}", call=self._request_id, reason=reason)

        order = actions.hangup(channel, _CANCEL_CAUSE)
        self._link.send(order).addCallbacks(answered, failed)

    # Its end

    def _conclude_if_over(self) -> None:
        """Where nothing is left of it: conclude, at once or when it may have been explained."""
        if self._in_session or not (self._trace.all_gone or self._trace.all_going):
            return
        if self._trace.all_gone and self._trace.is_explained:
            self._conclude()
        elif self._explaining is None:
            self._explaining = self._clock.callLater(_EXPLAIN, self._conclude)

    def _conclude(self) -> None:
        if not (self._concluding or self._over):
            self._concluding = True
            in_background(self._tell_the_end())

    async def _tell_the_end(self) -> None:
        evidence = self._evidence()
        answered = self._trace.first_answered
        if not self._told_all and not answered and not evidence.lost:
            self.has_record = self._trace.ran_dialplan  # its c2c-first-result does not know of us
        elif not self._told_all:
            try:
                evidence = await self._with_record(evidence)
            except AmiError as error:
                # Not now: it will be settled when the link is back, and concluded then.
                self._concluding = False
                if isinstance(error, ActionTimedOut) and self._link.is_up:
                    self._explaining = self._clock.callLater(_EXPLAIN, self._conclude)
                return
        self.drop()
        self._tell(Gone(evidence))

    async def _with_record(self, evidence: CallEvidence) -> CallEvidence:
        """The evidence together with the dialplan's record in AstDB.

        That stays there until the end is stored: until then it is the only proof.
        """
        try:
            entries = await self._link.collect(actions.db_get(astdb.FAMILY, self._request_id))
        except actions.ActionRefused:
            return evidence  # there is none
        self.has_record = True
        text = next((entry.get("Val") for entry in entries if entry.get("Val")), None)
        if text is None:
            return evidence
        record = astdb.read(text)
        return with_record(evidence, record, ahead=self._ahead(), now=self._now())

    def _evidence(self) -> CallEvidence:
        evidence = self._trace.evidence()
        return (
            evidence if self._dial_report is None else with_dial_report(evidence, self._dial_report)
        )

    def _ahead(self) -> float:
        """By how much the clock of the PBX's host (it is this one's) is ahead of the steady one."""
        return self._wall() - self._now()


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Let a coroutine run that nobody waits for; a mistake in it is logged."""
    Deferred.fromCoroutine(work).addErrback(
        lambda failure: _log.failure("a mistake in the Asterisk driver", failure)
    )
