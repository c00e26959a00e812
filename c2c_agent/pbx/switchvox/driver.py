"""The PBX driver for a Switchvox: one order for each call, and one look at all calls at a time.

Keeps the originate contract of `pbx.driver`. What is heard of a call goes to its `followed_call`,
which makes leg events of it. While calls last, the PBX's list of current calls is looked at, once
for all of them; nothing is asked while there are none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Coroutine, Iterator, Sequence
from typing import Any, Final

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import (
    LegEvent,
    NotHungUp,
    OriginateFailed,
    OriginateRefused,
    OriginateUnsent,
)
from c2c_agent.call.evidence import CallEvidence, Leg
from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.pbx.driver import PbxObserver, PlacedCall
from c2c_agent.pbx.switchvox.client import (
    ExtendClient,
    ExtendError,
    NoExtendApiError,
    UnansweredError,
    UnsentError,
)
from c2c_agent.pbx.switchvox.extend_api import (
    NOT_PERMITTED,
    UNKNOWN_ACCOUNT,
    WRONG_ACCOUNT,
    CurrentCall,
    Failure,
    LoggedCall,
    Result,
    accounts,
    current_calls,
    failed_after_trying,
    logged_calls,
    pbx_time,
    text_of,
)
from c2c_agent.pbx.switchvox.followed_call import (
    Accepted,
    FollowedCall,
    Heard,
    Listed,
    Logged,
    Missed,
    NoAnswer,
    Phase,
    Sought,
    Step,
    end_unseen,
    hear,
    may_be_logged,
)
from c2c_agent.pbx.switchvox.matching import (
    Match,
    Wanted,
    doubting,
    match_current,
    match_logged,
)
from c2c_agent.pbx.switchvox.order import (
    Order,
    make_plan,
    numbers_in,
    numbers_of,
    sends_second_timeout,
)

_log = Logger()

#: Seconds that the PBX has beyond the first phone's ringing to answer an order.
_SPARE: Final = 15.0

#: Seconds for what is asked before an order; it goes out without, where that takes longer.
_BEFORE: Final = 2.0

#: Seconds from one look at the list to the next; the first for as long after an order.
_OFTEN: Final = 1.0
_SELDOM: Final = 5.0
_FRESH: Final = 120.0

#: Seconds after which the log is asked for a call that is listed no more.
_ASK_LOG: Final = (2.0, 5.0, 10.0)
#: Seconds until it is asked again where the PBX could not be.
_ASK_AGAIN: Final = 5.0

#: Seconds for which an account is remembered, and for which it is that there is none.
_KNOWN: Final = 600.0
_UNKNOWN: Final = 30.0
_MOST_ACCOUNTS: Final = 10_000

#: Seconds for which the difference between the clocks is taken to be the same.
_SAME_CLOCK: Final = 600.0

#: How often a call is hung up; and for how long one that is not there is waited for.
_HANG_UPS: Final = 3
_WAIT_FOR: Final = 15.0

#: Seconds for which a call that is over may still be mistaken for another in the log.
_RECENT: Final = 300.0

#: Seconds until a PBX that is away is asked again, at first and at most.
_AGAIN: Final = 5.0
_LATEST: Final = 60.0

#: Seconds for which a right counts as missing: nobody but the PBX tells when it is there again.
_MISSING_RIGHT: Final = 300.0

#: Answers missing in a row after which the PBX counts as away.
_PATIENCE: Final = 2

_AWAY: Final = "The PBX cannot be reached at present."
_NOT_NOW: Final = (
    "The call cannot be cancelled on this PBX now: which of its current calls it is cannot be told."
)
_NOT_LISTED: Final = "The PBX does not list the call, so that it could not be hung up."
_STILL_THERE: Final = "The PBX was told to hang the call up, and has it still."
_NO_CANCEL: Final = "Calls cannot be cancelled on this PBX; whoever talks has to hang up."


@define(eq=False)
class _HangUp:
    """A call that is to end. `wanted`: of another process; None: it is one of ours."""

    until: float
    wanted: Wanted | None = None
    tries: int = 0
    entry_id: str | None = None  # what was hung up: that, and nothing that came afterwards


@frozen
class _Account:
    """What was found of an extension: its account id, or that it has none."""

    account_id: str | None
    until: float


@frozen
class _MissingRight:
    """What the PBX said that the agent's login may not do, and until when that counts."""

    words: str
    until: float


@frozen
class _Past:
    """A call that is over: what its entry in the log looks like, and which that is, if known."""

    wanted: Wanted
    until: float


class SwitchvoxDriver:
    """The `PbxDriver` for the Switchvox that `client` asks. `now` is the program's steady clock."""

    method = "switchvox.call"

    def __init__(
        self,
        config: SwitchvoxConfig,
        client: ExtendClient,
        *,
        clock: IReactorTime,
        now: Any,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._now = now
        self.observer: PbxObserver  # set by who puts the parts together
        self._calls: dict[str, FollowedCall] = {}
        self._before: dict[str, str] = {}  # calls whose order is only just being made: its first
        self._hang_ups: dict[str, _HangUp] = {}
        self._past: list[_Past] = []
        self._taken_entries: dict[str, float] = {}  # of the log, and until when they count
        self._accounts: dict[str, _Account] = {}
        self._missing_rights: dict[str, _MissingRight] = {}  # by method; what orders need alone
        self._ahead: float | None = None  # of the PBX's clock to ours
        self._ahead_until = 0.0
        self._is_up: bool | None = None  # None: nobody has tried yet
        self._reason = "It has not been asked yet."
        self._failures = 0
        self._again = _AGAIN
        self._retry: IDelayedCall | None = None
        self._next_look: IDelayedCall | None = None
        self._looking = False
        self._look_again = False
        self._log_timers: dict[str, IDelayedCall] = {}
        self._stopped = False

    # Its life

    def start(self) -> None:
        """Log in, in the background; the observer hears `pbx_up` or `pbx_down`."""
        self._stopped = False
        _in_background(self.try_it())

    def stop(self) -> None:
        """Ask nothing any more; calls go on in the PBX."""
        self._stopped = True
        for timer in (self._retry, self._next_look, *self._log_timers.values()):
            if timer is not None and timer.active():
                timer.cancel()
        self._retry = self._next_look = None
        self._log_timers.clear()

    async def try_it(self) -> None:
        """Find out whether the PBX can be asked."""
        try:
            if self._client.proven is None:
                await self._client.prove()
            else:
                await self._client.ask(self._client.proof, {})
            await self._learn_clock()
        except ExtendError as error:
            self._failures = _PATIENCE  # asked for its own sake, one failure is enough
            self._went_wrong(error)
        else:
            self._went_well()

    @property
    def is_up(self) -> bool:
        """Whether it could be asked when it last was."""
        return self._is_up is True

    @property
    def last_error(self) -> str:
        """Why not, or what its login may not do; "" where it could, and may."""
        if not self._is_up:
            return self._reason
        now = self._now()
        missing = [
            f"Its login may not use {method}: {right.words}"
            for method, right in sorted(self._missing_rights.items())
            if right.until > now
        ]
        return "; ".join(missing)

    @property
    def clock_ahead(self) -> float | None:
        """Seconds by which the PBX's clock is ahead of ours, in whatever zone; None: unknown."""
        return self._ahead

    def _went_well(self) -> None:
        self._failures, self._again = 0, _AGAIN
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._retry = None
        if self._is_up is not True:
            self._is_up = True
            _log.info("{pbx}: calls can be placed", pbx=self._config.url)
            self.observer.pbx_up()
            self._look_in(_OFTEN)

    def _went_wrong(self, error: ExtendError) -> None:
        self._failures += 1
        if isinstance(error, UnansweredError) and self._failures < _PATIENCE:
            self._look_in(_OFTEN)
            return
        self._reason = str(error)
        for request_id in list(self._calls):
            self._hear(request_id, Missed())
        if self._is_up is not False:
            self._is_up = False
            _log.warn(
                "{pbx}: no calls can be placed: {reason}; trying again",
                pbx=self._config.url,
                reason=self._reason,
            )
            self.observer.pbx_down(self._reason)
        if not self._stopped and (self._retry is None or not self._retry.active()):
            self._retry = self._clock.callLater(self._again, self._try_again)
            self._again = min(2 * self._again, _LATEST)

    def _try_again(self) -> None:
        _in_background(self.try_it())

    # PbxDriver

    def unready(self) -> str | None:
        """Why no call can be placed at present; a missing right is told by the PBX itself."""
        if self._is_up:
            return self._client.closed()
        return self._client.closed() or _AWAY

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Find the account of `dial_as`, and write the order."""
        numbers_of(self._config, job)
        try:
            account = await self._account_of(job.dial_as)
        except ExtendError as error:
            _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
            raise ApiError(Fault(ErrorCode.PBX_UNAVAILABLE, _AWAY)) from error
        if account is None and self._config.login == "admin":
            message = "dial_as is no extension of this PBX that calls can be made as."
            raise ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, message))
        return make_plan(self._config, job, account)

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Send the order; its answer, and all that follows, comes as leg events."""
        first, _ = numbers_in(plan)
        waiting = [call for call in self._calls.values() if call.phase is Phase.ORDERED]
        if len(waiting) + len(self._before) >= self._config.max_pending:
            self._refuse_here(request_id, "Too many orders wait for this PBX's answer.")
        elif first in self._before.values() or any(first in call.wanted.first for call in waiting):
            # Nothing but the numbers tells calls apart there.
            self._refuse_here(request_id, "A call to dial_first is being placed already.")
        else:
            self._before[request_id] = first
            placing = Deferred.fromCoroutine(self._place(request_id, plan))
            placing.addErrback(self._mistaken, request_id)

    def _mistaken(self, failure: TwistedFailure, request_id: str) -> None:
        """A mistake in this program: the call must come to an end all the same."""
        _log.failure("call {call}", failure, call=request_id)
        if self._before.pop(request_id, None) is not None:
            message = "An internal error; see the log."
            self._tell(request_id, OriginateUnsent(message, ErrorCode.INTERNAL_ERROR))
        else:
            self._hear(request_id, NoAnswer("An internal error; see the log."))

    def _refuse_here(self, request_id: str, message: str) -> None:
        self._tell(request_id, OriginateUnsent(message, ErrorCode.TOO_MANY_CALLS))

    def cannot_hang_up(self, request_id: str | None = None) -> str | None:
        """An extension's login may not, nor is it known which call it is without the list."""
        if not self._config.is_followed:
            return _NO_CANCEL
        call = self._calls.get(request_id or "")
        return _NOT_NOW if call is not None and call.undecided else None

    def hang_up(self, request_id: str) -> None:
        """Hang up a call, once it is known which of those listed it is."""
        if request_id in self._calls or request_id in self._before:
            self._hang_ups[request_id] = _HangUp(until=self._now() + _WAIT_FOR)
            self._look()

    def hang_up_foreign(self, call: PlacedCall) -> None:
        """Hang up a call of another process, where it is known which of those listed it is."""
        followed = self._as_it_was(call)
        self._hang_ups[call.request_id] = _HangUp(self._now() + _WAIT_FOR, followed.wanted)
        self._look()

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart."""
        for call in calls:
            self._calls[call.request_id] = self._as_it_was(call)
            if call.cancelled:
                self._hang_ups[call.request_id] = _HangUp(until=self._now() + _WAIT_FOR)

    def settle(self, request_ids: Collection[str]) -> None:
        """Look which of these calls the PBX still has; nothing while their order is open."""
        for request_id in request_ids:
            self._hear(request_id, Sought())
        self._look()

    def _as_it_was(self, call: PlacedCall) -> FollowedCall:
        first, second = numbers_in(call.plan)
        return FollowedCall(
            wanted=Wanted(
                frozenset({first} - {""}),
                frozenset({second}),
                float(call.plan.timeout),
                placed_at=self._there(call.placed_at),
            ),
            timeout=call.plan.timeout,
            second_timeout=sends_second_timeout(call.plan),
            placed_at=call.placed_at,
            phase=Phase.LOST,
            first=call.first,
            second=call.second,
            missed=True,
        )

    # The order

    async def _place(self, request_id: str, plan: OriginatePlan) -> None:
        order = plan.order
        assert isinstance(order, Order)  # noqa: S101 - `prepare` of this driver made it
        try:
            baseline = await self._look_before()
        except UnsentError as error:
            del self._before[request_id]
            self._hang_ups.pop(request_id, None)
            self._unsent(request_id, error)
            return
        first = self._before.pop(request_id)
        if request_id in self._hang_ups:
            del self._hang_ups[request_id]
            self._tell(request_id, OriginateUnsent("The call was cancelled."))
            return
        if self._stopped:
            self._tell(request_id, OriginateUnsent("The agent is shutting down."))
            return
        begun = self._now()
        wanted = Wanted(
            frozenset({first}),
            frozenset({plan.target}),
            float(plan.timeout),
            placed_at=self._there(begun),
            baseline=baseline,
        )
        self._calls[request_id] = FollowedCall(
            wanted, plan.timeout, sends_second_timeout(plan), begun
        )
        if self._config.is_followed:
            self._look_in(_OFTEN)
        try:
            answer = await self._client.ask(
                order.method,
                order.parameters,
                seconds=plan.timeout + _SPARE,
                transaction_id=request_id,
            )
        except UnansweredError as error:
            self._hear(request_id, NoAnswer(f"The PBX gave no answer: {error}."))
            self._look()
        except NoExtendApiError as error:
            self._drop(request_id)
            self._tell(request_id, OriginateRefused(f"{error}."))
        except ExtendError as error:
            self._drop(request_id)
            self._unsent(request_id, error)
        else:
            self._note_right(order.method, answer)
            self._answered(request_id, answer, self._now() - begun)

    def _unsent(self, request_id: str, error: ExtendError) -> None:
        _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
        self._tell(request_id, OriginateUnsent(_AWAY))
        self._went_wrong(error)

    async def _look_before(self) -> frozenset[str] | None:
        """The ids of the calls that are there before an order; None where nobody knows.

        Raises UnsentError where the order would not get there either.
        """
        if not self._config.is_followed:
            return None
        try:
            if self._now() >= self._ahead_until:
                await self._learn_clock()
            return frozenset(entry.id for entry in await self._list(_BEFORE))
        except (UnansweredError, NoExtendApiError) as error:
            _log.warn("the calls before an order could not be read: {reason}", reason=str(error))
            return None

    def _answered(self, request_id: str, answer: Result | Failure, seconds: float) -> None:
        if isinstance(answer, Result):
            self._accepted(request_id, answer, seconds)
            return
        call = self._drop(request_id)
        if answer.codes & WRONG_ACCOUNT:
            self._accounts.clear()
        message, *others = answer.messages
        message = message or "The PBX refused the call."
        if not failed_after_trying(answer, seconds):
            is_unknown = answer.faults[0].code == UNKNOWN_ACCOUNT
            code = ErrorCode.UNKNOWN_DIAL_AS if is_unknown else ErrorCode.PBX_ERROR
            self._tell(request_id, OriginateRefused(message, answer.data, tuple(others), code))
            return
        rang_out = call is not None and seconds >= call.timeout - 1
        evidence = CallEvidence(timed_out=Leg.FIRST if rang_out else None)
        failed = OriginateFailed(message, answer.data, evidence, tuple(others))
        self._tell(request_id, failed)

    def _note_right(self, method: str, answer: Result | Failure) -> None:
        """Remember whether the login may do what an order needs, for who looks after the PBX."""
        if isinstance(answer, Failure) and answer.codes & NOT_PERMITTED:
            until = self._now() + _MISSING_RIGHT
            self._missing_rights[method] = _MissingRight(answer.text, until)
        else:
            self._missing_rights.pop(method, None)

    def _accepted(self, request_id: str, answer: Result, seconds: float) -> None:
        info = answer.tree
        heard = Accepted(
            text_of(info, "call_info", "dialed_first"),
            text_of(info, "call_info", "dialed_second"),
            answer.data,
            seconds,
        )
        self._hear(request_id, heard)
        call = self._calls.get(request_id)
        if call is not None and not self._config.is_followed:
            self._take(request_id, end_unseen(call))

    # What is heard

    def _hear(self, request_id: str, heard: Heard) -> None:
        call = self._calls.get(request_id)
        if call is not None:
            self._take(request_id, hear(call, heard, self._now()))

    def _take(self, request_id: str, step: Step) -> None:
        before = self._calls[request_id]
        self._calls[request_id] = step.call
        if step.call.phase is Phase.OVER:
            self._drop(request_id)
        elif step.call.phase is not before.phase:
            self._stop_log_timer(request_id)
            if step.call.phase is Phase.ENDING:
                self._ask_log_in(_ASK_LOG[0], request_id, 0)
        for event in step.told:
            self._tell(request_id, event)

    def _tell(self, request_id: str, event: LegEvent) -> None:
        self.observer.leg_event(request_id, event)

    def _drop(self, request_id: str) -> FollowedCall | None:
        self._hang_ups.pop(request_id, None)
        self._stop_log_timer(request_id)
        call = self._calls.pop(request_id, None)
        if call is not None:
            self._past.append(_Past(call.wanted, self._now() + _RECENT))
        return call

    # The list

    def _look(self) -> None:
        """Look at the list now."""
        if self._looking:
            self._look_again = True
        elif not self._stopped and self._is_up and self._has_to_look():
            self._looking = True
            _in_background(self._look_once())

    def _has_to_look(self) -> bool:
        return bool(self._calls or self._hang_ups)

    def _look_in(self, seconds: float) -> None:
        if self._stopped or not self._has_to_look():
            return
        if self._next_look is None or not self._next_look.active():
            self._next_look = self._clock.callLater(seconds, self._look)

    async def _look_once(self) -> None:
        self._look_again = False
        try:
            entries: Sequence[CurrentCall] = ()
            if self._config.is_followed:
                if self._ahead is None and self._now() >= self._ahead_until:
                    await self._learn_clock()
                entries = await self._list(_SELDOM)
        except ExtendError as error:
            self._went_wrong(error)
        else:
            self._listed(entries)
            if self._config.is_followed:
                self._went_well()
        finally:
            self._looking = False
            if self._look_again:
                self._look()
            self._look_in(self._pause())

    def _pause(self) -> float:
        since = self._now() - _FRESH
        fresh = any(
            call.placed_at is None or call.placed_at > since for call in self._calls.values()
        )
        return _OFTEN if fresh or self._hang_ups else _SELDOM

    async def _list(self, seconds: float) -> Sequence[CurrentCall]:
        answer = await self._client.ask("switchvox.currentCalls.getList", {}, seconds=seconds)
        if isinstance(answer, Failure):
            raise UnansweredError(answer.text)
        entries = current_calls(answer)
        if entries is None:
            raise UnansweredError("the list of current calls has an unknown form")
        return entries

    def _listed(self, entries: Sequence[CurrentCall]) -> None:
        wanted = {request_id: self._timed(request_id) for request_id in self._calls}
        for request_id, hang_up in self._hang_ups.items():
            if hang_up.wanted is not None:
                wanted[request_id] = hang_up.wanted
        matches = match_current(wanted, entries)
        ids = frozenset(entry.id for entry in entries)
        for request_id, match in matches.items():
            self._hear(request_id, Listed(match, ids))
        for request_id, hang_up in list(self._hang_ups.items()):
            match = matches.get(request_id, Match())
            if hang_up.wanted is not None:
                hang_up.wanted = doubting(hang_up.wanted, match)
            self._hang_up_listed(request_id, match)

    def _timed(self, request_id: str) -> Wanted:
        """What a call must look like; the PBX's clock may only be known by now."""
        call = self._calls[request_id]
        if call.wanted.placed_at is None and self._ahead is not None:
            call = evolve(call, wanted=evolve(call.wanted, placed_at=self._there(call.placed_at)))
            self._calls[request_id] = call
        return call.wanted

    def _hang_up_listed(self, request_id: str, match: Match) -> None:
        hang_up, entry = self._hang_ups[request_id], match.entry
        is_it = entry is not None and hang_up.entry_id in {None, entry.id}
        if entry is not None and is_it and hang_up.tries < _HANG_UPS:
            hang_up.tries += 1
            hang_up.entry_id = entry.id
            _in_background(self._hang_up(entry.id))
        elif hang_up.tries and not is_it:
            del self._hang_ups[request_id]
        elif match.doubtful:
            self._not_hung_up(request_id, _NOT_NOW)
        elif self._now() >= hang_up.until:
            self._not_hung_up(request_id, _STILL_THERE if is_it else _NOT_LISTED)

    def _not_hung_up(self, request_id: str, reason: str) -> None:
        hang_up = self._hang_ups.pop(request_id)
        _log.warn("call {call}: {reason}", call=request_id, reason=reason)
        if hang_up.wanted is None:
            self._tell(request_id, NotHungUp(reason))

    async def _hang_up(self, entry_id: str) -> None:
        try:
            answer = await self._client.ask(
                "switchvox.currentCalls.hangUp", {"current_call_id": entry_id}
            )
        except ExtendError as error:
            _log.warn("a call was not hung up: {reason}", reason=str(error))
        else:
            if isinstance(answer, Failure):
                _log.warn("a call was not hung up: {reason}", reason=answer.text)

    # The log

    def _ask_log_in(self, seconds: float, request_id: str, attempt: int) -> None:
        if not self._stopped:
            self._log_timers[request_id] = self._clock.callLater(
                seconds, self._ask_log, request_id, attempt
            )

    def _stop_log_timer(self, request_id: str) -> None:
        timer = self._log_timers.pop(request_id, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _ask_log(self, request_id: str, attempt: int) -> None:
        del self._log_timers[request_id]
        _in_background(self._ask_log_once(request_id, attempt))

    async def _ask_log_once(self, request_id: str, attempt: int) -> None:
        last = attempt + 1 == len(_ASK_LOG)
        call = self._calls[request_id]
        if not self._config.call_logs or self._there(call.placed_at) is None:
            self._hear(request_id, Logged(None, last=True))
            return
        try:
            entry = await self._logged(request_id)
        except ExtendError as error:
            self._went_wrong(error)
            self._log_again(_ASK_AGAIN, request_id, attempt)
            return
        if not may_be_logged(self._calls[request_id], last=last):
            entry = None
        if entry is not None:
            self._taken_entries[entry.id] = self._now() + _RECENT
        self._hear(request_id, Logged(entry, last))
        if not last:
            self._log_again(_ASK_LOG[attempt + 1] - _ASK_LOG[attempt], request_id, attempt + 1)

    def _log_again(self, seconds: float, request_id: str, attempt: int) -> None:
        call = self._calls.get(request_id)
        if call is not None and call.phase is Phase.ENDING and request_id not in self._log_timers:
            self._ask_log_in(seconds, request_id, attempt)

    async def _logged(self, request_id: str) -> LoggedCall | None:
        """The entry of a call that is over; None: not there, or not told from others."""
        wanted = self._timed(request_id)
        begun, now = wanted.placed_at, self._there(self._now())
        assert begun is not None  # noqa: S101 - where the clock is not known, it is not asked
        assert now is not None  # noqa: S101 - likewise
        found = [await self._any_account_of(number) for number in sorted(wanted.first)]
        answer = await self._client.ask(
            "switchvox.callLogs.search",
            {
                "start_date": _shown(begun - 60),
                "end_date": _shown(now + 60),
                "account_ids": [account for account in found if account is not None],
                "sort_field": "start_time",
                "sort_order": "DESC",
                "items_per_page": "100",
            },
        )
        if isinstance(answer, Failure):
            _log.warn("the call log could not be read: {reason}", reason=answer.text)
            return None
        entries = [entry for entry in logged_calls(answer) if entry.id not in self._taken_entries]
        return match_logged(wanted, entries, others=list(self._others(request_id)))

    def _others(self, request_id: str) -> Iterator[Wanted]:
        now = self._now()
        self._past = [past for past in self._past if past.until > now]
        for entry_id in [one for one, until in self._taken_entries.items() if until <= now]:
            del self._taken_entries[entry_id]
        yield from (past.wanted for past in self._past)
        for other, call in self._calls.items():
            if other != request_id:
                yield call.wanted

    # Clock and accounts

    async def _learn_clock(self) -> None:
        """How far the PBX's clock is ahead of ours, in its own time zone."""
        if self._config.login != "admin":
            return
        asked = self._now()
        answer = await self._client.ask("switchvox.systemClock.getInfo", {}, seconds=_BEFORE)
        told = None
        if isinstance(answer, Result):
            told = pbx_time(text_of(answer.tree, "system", "current_time"))
        self._ahead = None if told is None else told - (asked + self._now()) / 2
        self._ahead_until = self._now() + _SAME_CLOCK

    def _there(self, at: float | None) -> float | None:
        """A time of ours on the PBX's clock."""
        return None if at is None or self._ahead is None else at + self._ahead

    async def _any_account_of(self, extension: str) -> str | None:
        """The same, but None where the PBX does not say. Raises ExtendError."""
        try:
            return await self._account_of(extension)
        except ApiError:
            return None

    async def _account_of(self, extension: str) -> str | None:
        """The account id of an extension; None: it has none. Raises ExtendError, ApiError."""
        configured = self._config.accounts.get(extension)
        if configured is not None or self._config.login != "admin":
            return configured
        known = self._accounts.get(extension)
        if known is not None and self._now() < known.until:
            return known.account_id
        method = "switchvox.extensions.getInfo"
        answer = await self._client.ask(method, {"extensions": [extension]})
        self._note_right(method, answer)
        if isinstance(answer, Failure):
            raise ApiError(*(Fault(ErrorCode.PBX_ERROR, text) for text in answer.messages))
        account = accounts(answer).get(extension)
        until = self._now() + (_UNKNOWN if account is None else _KNOWN)
        if len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts.clear()
        self._accounts[extension] = _Account(account, until)
        return account


def _shown(at: float) -> str:
    """A time of the PBX's clock, as it reads them."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def _in_background(work: Coroutine[Deferred[Any], Any, Any]) -> None:
    Deferred.fromCoroutine(work).addErrback(lambda failure: _log.failure("switchvox", failure))
