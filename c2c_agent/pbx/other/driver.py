"""The PBX driver for whatever takes an order over HTTP, as a program has it.

Keeps the originate contract of `pbx.driver`. An order goes out once. What becomes of a call is
asked while it lasts, where the program says how; nothing is asked while there are no calls.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Final

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from c2c_agent.call.call import OriginatePlan
from c2c_agent.call.events import (
    Found,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginateFailed,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
)
from c2c_agent.call.job import CallJob
from c2c_agent.errors import ErrorCode
from c2c_agent.pbx.driver import PbxObserver, PlacedCall
from c2c_agent.pbx.other.answer import Answer
from c2c_agent.pbx.other.client import Client, UnansweredError, UnsentError
from c2c_agent.pbx.other.order import kept_before, kept_of, make_plan, shown_answer, values_of
from c2c_agent.pbx.other.program import Program, Result, StatusRequest
from c2c_agent.pbx.other.progress import FollowedCall, adopted, end_of_order, hear
from c2c_agent.pbx.other.request import Request
from c2c_agent.pbx.other.rules import Over, Progress, Told
from c2c_agent.pbx.other.template import UnusableValueError, is_plain

_log = Logger()

#: Failed checks in a row after which the PBX counts as away.
_PATIENCE: Final = 3

#: Seconds until a failed check is made again, at first and at most.
_AGAIN: Final = 1.0
_LATEST: Final = 60.0

#: Looks without an answer in a row after which something may have been missed; and the seconds
#: after which a call that could not be looked at is given up.
_MISSED: Final = 10
_LOST: Final = 7200.0
#: Seconds between such looks, at most.
_SELDOM: Final = 10.0

#: Seconds after an order without an answer before it counts that the PBX has no such call: the
#: order may still be on its way.
_ON_ITS_WAY: Final = 5.0

#: How often, and after how many seconds, a call that is to end is hung up again.
_HANG_UPS: Final = 15
_HANG_UP_AGAIN: Final = 1.0
#: Answers to it after which nothing more is sent: it was heard.
_HEARD: Final = 3

#: Seconds beyond all its limits after which a call is not looked at any more.
_SPARE: Final = 60.0

_AWAY: Final = "The PBX cannot be reached at present."
_NO_CANCEL: Final = "Calls cannot be cancelled on this PBX; whoever talks has to hang up."


@define(eq=False)
class _Call:
    """A call of this driver, with its timers."""

    values: dict[str, str]
    followed: FollowedCall
    longest: float  # seconds for which it may be looked at
    open: bool = False  # its order is out, and not answered yet
    sought: bool = False  # Found is to be told as soon as it is seen
    unanswered_at: float | None = None
    hang_ups: int | None = None  # how many more times; None: it is not to end
    heard: int = 0  # answers to a hang-up
    hanging_up: bool = False
    failures: int = 0  # looks without an answer, in a row
    failing_since: float | None = None
    looking: bool = False
    next_look: IDelayedCall | None = None
    next_hang_up: IDelayedCall | None = None
    over: bool = False
    lookable: bool = field(default=False)  # its id is known, so that it can be asked for

    def stop(self) -> None:
        """Do nothing more for it."""
        for timer in (self.next_look, self.next_hang_up):
            if timer is not None and timer.active():
                timer.cancel()


class OtherDriver:
    """The `PbxDriver` for the back end that `client` asks.

    `max_duration`: seconds of talk at most. `now` is the program's steady clock.
    """

    method = "other.call"

    def __init__(
        self,
        program: Program,
        client: Client,
        *,
        max_duration: int,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._program = program
        self._client = client
        self._max_duration = max_duration
        self._clock = clock
        self._now = now
        self.observer: PbxObserver  # set by who puts the parts together
        self._calls: dict[str, _Call] = {}
        self._is_up: bool | None = None  # None: nobody has tried yet
        self._reason = "It has not been asked yet."
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._trying = False
        self._stopped = False

    # Its life

    def start(self) -> None:
        """Log in and check, in the background; the observer hears `pbx_up` or `pbx_down`."""
        self._stopped = False
        _in_background(self.try_it())

    def stop(self) -> None:
        """Ask nothing any more; calls go on in the PBX."""
        self._stopped = True
        self._stop_retry()
        for call in self._calls.values():
            call.stop()

    @property
    def is_up(self) -> bool:
        """Whether its check, where there is one, was well."""
        return self._is_up is True

    @property
    def last_error(self) -> str:
        """Why not; "" where it was."""
        return "" if self._is_up else self._reason

    async def try_it(self) -> None:
        """Find out whether calls can be placed."""
        if self._trying:
            return
        self._trying = True
        try:
            await self._client.check()
        except (UnsentError, UnansweredError) as error:
            self._went_wrong(str(error))
        else:
            self._went_well()
        finally:
            self._trying = False

    def _went_well(self) -> None:
        self._failures = 0
        self._stop_retry()
        if self._is_up is not True:
            self._is_up = True
            _log.info("{pbx}: calls can be placed", pbx=self._program.base_url)
            self.observer.pbx_up()

    def _went_wrong(self, reason: str) -> None:
        self._failures += 1
        self._reason = reason
        if self._is_up is None or (self._is_up and self._failures >= _PATIENCE):
            self._is_up = False
            _log.warn(
                "{pbx}: no calls can be placed: {reason}; trying again",
                pbx=self._program.base_url,
                reason=reason,
            )
            self.observer.pbx_down(reason)
        self._stop_retry()
        if not self._stopped:
            seconds = min(_AGAIN * 2 ** min(self._failures - 1, 10), _LATEST)
            self._retry = self._clock.callLater(seconds, lambda: _in_background(self.try_it()))

    def _stop_retry(self) -> None:
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._retry = None

    # PbxDriver

    def unready(self) -> str | None:
        """Why no call can be placed at present."""
        return None if self._is_up else _AWAY

    async def prepare(self, request_id: str, job: CallJob) -> OriginatePlan:
        """Fill the order in."""
        longest = job.max_duration or self._max_duration
        return make_plan(self._program, request_id, job, longest)

    def originate(self, request_id: str, plan: OriginatePlan) -> None:
        """Send the order; its answer, and all that follows, comes as leg events."""
        if sum(call.open for call in self._calls.values()) >= self._program.max_pending:
            message = "Too many orders wait for this PBX's answer."
            self._tell(request_id, OriginateUnsent(message, ErrorCode.TOO_MANY_CALLS))
            return
        call = self._follow(request_id, plan, FollowedCall(plan.timeout, self._now()))
        call.open = True
        if self._program.status is not None and self._program.status.while_placing:
            self._look_later(request_id, call)
        _in_background(self._place(request_id, call))

    def cannot_hang_up(self, _request_id: str | None = None) -> str | None:
        """Nobody has said how."""
        return None if self._program.cancel else _NO_CANCEL

    def hang_up(self, request_id: str) -> None:
        """Hang up whatever there is of a call, or comes to be."""
        call = self._calls.get(request_id)
        if call is None or not self._program.cancel:
            return
        call.hang_ups, call.heard = _HANG_UPS, 0
        if not call.open and not call.hanging_up:
            _in_background(self._hang_up(request_id, call))

    def hang_up_foreign(self, call: PlacedCall) -> None:
        """Hang up a call that another process follows."""
        values = self._values(call)
        for request in self._program.cancel:
            _in_background(self._cancel(call.request_id, request, values))

    def adopt(self, calls: Collection[PlacedCall]) -> None:
        """Take over calls that were placed before a restart."""
        for call in calls:
            followed = adopted(call.plan.timeout, call.placed_at, call.first, call.second)
            taken = self._follow(call.request_id, call.plan, followed)
            taken.values = self._values(call)
            taken.lookable = "call_id" in taken.values
            taken.sought = True
            if not call.answered or call.failed:
                taken.unanswered_at = self._clock.seconds()
            if call.cancelled:
                self.hang_up(call.request_id)

    def settle(self, request_ids: Collection[str]) -> None:
        """Look for these calls. Nothing while the answer to an order is still to come."""
        for request_id in request_ids:
            call = self._calls.get(request_id)
            if call is None or call.open:
                continue
            if self._program.status is None or not call.lookable:
                self._end(request_id, call)
            elif call.next_look is None or not call.next_look.active() or call.failures:
                self._look_now(request_id, call)

    # The order

    async def _place(self, request_id: str, call: _Call) -> None:
        place, timeouts = self._program.place, self._program.timeouts
        seconds = timeouts.answer + (call.followed.timeout if place.blocks else 0)
        try:
            answer = await self._client.ask(
                place.request, call.values, seconds=seconds, message_id=request_id, once=True
            )
        except UnsentError as error:
            self._forget(request_id, call)
            self._tell(request_id, OriginateUnsent(f"The PBX was not reached: {error}."))
            self._doubt()
            return
        except UnansweredError as error:
            self._unanswered(request_id, call, f"The PBX did not answer: {error}.")
            self._doubt()
            return
        self._answered(request_id, call, answer)

    def _answered(self, request_id: str, call: _Call, answer: Answer) -> None:
        place = self._program.place
        result, end = place.judge(answer, call.values)
        words = self._client.redacted(place.error_message.of(answer))
        shown = shown_answer(answer, {}, self._client.secrets)
        if result is Result.ACCEPTED:
            self._accepted(request_id, call, answer)
        elif result is Result.REFUSED:
            self._forget(request_id, call)
            self._tell(request_id, OriginateRefused(words, shown))
        elif end is not None:
            self._forget(request_id, call)
            self._tell(request_id, OriginateFailed(words, shown, end_of_order(end)))
        else:
            self._unanswered(request_id, call, f"The PBX did not say whether it took it: {words}.")

    def _accepted(self, request_id: str, call: _Call, answer: Answer) -> None:
        try:
            kept = kept_of(self._program, answer)
        except UnusableValueError as error:
            self._unanswered(request_id, call, f"The PBX cannot be understood: {error}.")
            return
        call.values |= kept
        call.lookable = "call_id" in call.values
        call.open = False
        shown = shown_answer(answer, kept, self._client.secrets)
        self._tell(request_id, OriginateAccepted(shown))
        if self._program.place.blocks:
            self._hear(request_id, call, [Progress.FIRST_ANSWERED, Progress.SECOND_DIALED])
        if self._program.status is None or not call.lookable:
            self._end(request_id, call)
        else:
            self._go_on(request_id, call)

    def _unanswered(self, request_id: str, call: _Call, message: str) -> None:
        call.open = False
        call.unanswered_at = self._clock.seconds()
        call.sought = True
        call.followed = evolve(call.followed, missed=True)
        self._tell(request_id, OriginateUnanswered(message))
        if self._program.status is None or not call.lookable:
            self._end(request_id, call)
        else:
            self._go_on(request_id, call)

    def _go_on(self, request_id: str, call: _Call) -> None:
        if call.hang_ups is not None and not call.hanging_up:
            _in_background(self._hang_up(request_id, call))
        self._look_later(request_id, call)

    # What becomes of it

    def _look_later(self, request_id: str, call: _Call) -> None:
        status = self._program.status
        if status is None or call.over or self._stopped or call.looking:
            return
        if call.next_look is not None and call.next_look.active():
            return
        seconds = min(status.every * 2 ** min(call.failures, 10), max(_SELDOM, status.every))
        call.next_look = self._clock.callLater(seconds, self._look_now, request_id, call)

    def _look_now(self, request_id: str, call: _Call) -> None:
        if call.next_look is not None and call.next_look.active():
            call.next_look.cancel()
        if not call.looking and not call.over:
            _in_background(self._look(request_id, call))

    async def _look(self, request_id: str, call: _Call) -> None:
        status = self._program.status
        assert status is not None  # noqa: S101 - else nothing is looked at
        placing = call.open
        call.looking = True
        told: list[Told] = []
        whole = True
        try:
            for one in status.while_placing if placing else status.requests:
                try:
                    told += await self._ask(call, one)
                except (UnsentError, UnansweredError) as error:
                    whole = False
                    _log.debug("call {call}: {reason}", call=request_id, reason=str(error))
        finally:
            call.looking = False
        if not self._has(request_id, call):
            return
        if placing:  # that it is not there yet says nothing
            told = [one for one in told if one is not Over.GONE]
        self._count(call, whole=whole)
        if not whole:
            self._doubt()
        self._hear(request_id, call, told, whole=whole)
        if self._is_lost(call):
            self._end(request_id, call)
        if self._has(request_id, call):
            self._cancel_late(request_id, call)
            self._look_later(request_id, call)

    async def _ask(self, call: _Call, one: StatusRequest) -> list[Told]:
        try:
            answer = await self._client.ask(
                one.request, call.values, seconds=self._program.timeouts.answer
            )
        except UnsentError as error:
            if isinstance(error.__cause__, UnusableValueError):
                return []  # what it asks for is not known yet, and will be
            raise
        told, saved = one.look.judge(answer, call.values)
        call.values |= {f"saved.{name}": text for name, text in saved.items() if is_plain(text)}
        return told

    def _count(self, call: _Call, *, whole: bool) -> None:
        if whole:
            call.failures, call.failing_since = 0, None
            return
        call.failures += 1
        call.failing_since = call.failing_since or self._clock.seconds()
        if call.failures >= _MISSED:
            call.followed = evolve(call.followed, missed=True)

    def _is_lost(self, call: _Call) -> bool:
        since, placed_at = call.failing_since, call.followed.placed_at
        silent = since is not None and self._clock.seconds() - since > _LOST
        return silent or (placed_at is not None and self._now() - placed_at > call.longest)

    def _hear(
        self, request_id: str, call: _Call, told: Iterable[Told], *, whole: bool = True
    ) -> None:
        told = list(told)
        since = call.unanswered_at
        on_its_way = since is not None and self._clock.seconds() - since < _ON_ITS_WAY
        if on_its_way:
            told = [one for one in told if one is not Over.GONE]
        gone = Over.GONE in told
        if call.sought and whole and not gone and not call.open and (told or not on_its_way):
            call.sought = False
            call.unanswered_at = None
            self._tell(request_id, Found())
        call.followed, events = hear(call.followed, told, self._now(), whole=whole)
        for event in events:
            if isinstance(event, Gone):
                self._end(request_id, call)
            else:
                self._tell(request_id, event)

    def _cancel_late(self, request_id: str, call: _Call) -> None:
        """Where the PBX is told no timeout: see to it from here."""
        leg = call.followed.overdue(self._now()) if self._program.cancels_late else None
        if leg is not None and not call.open:
            call.followed = evolve(call.followed, late=leg)
            self.hang_up(request_id)

    def _end(self, request_id: str, call: _Call) -> None:
        if not self._has(request_id, call):
            return
        evidence = call.followed.evidence
        self._forget(request_id, call)
        self._tell(request_id, Gone(evidence))
        for request in self._program.cleanup:
            _in_background(self._cancel(request_id, request, call.values))

    # Hanging up

    async def _hang_up(self, request_id: str, call: _Call) -> None:
        call.hanging_up = True
        heard = False
        for request in self._program.cancel:
            heard |= await self._cancel(request_id, request, call.values)
        call.heard += heard
        call.hang_ups = (call.hang_ups or 0) - 1
        if call.over or self._stopped or call.hang_ups <= 0 or call.heard >= _HEARD:
            call.hanging_up = False
            return
        call.next_hang_up = self._clock.callLater(
            _HANG_UP_AGAIN, lambda: _in_background(self._hang_up(request_id, call))
        )

    async def _cancel(self, request_id: str, request: Request, values: Mapping[str, str]) -> bool:
        """Send such a request; whether it was answered."""
        try:
            await self._client.ask(request, values, seconds=self._program.timeouts.answer)
        except (UnsentError, UnansweredError) as error:
            _log.info("call {call}: {reason}", call=request_id, reason=str(error))
            return False
        return True

    # Housekeeping

    def _follow(self, request_id: str, plan: OriginatePlan, followed: FollowedCall) -> _Call:
        longest = 2 * plan.timeout + (plan.max_duration or self._max_duration) + _SPARE
        values = values_of(request_id, plan)
        if self._program.own_id:
            values["call_id"] = request_id
        call = _Call(values, followed, longest, lookable="call_id" in values)
        self._calls[request_id] = call
        return call

    def _values(self, call: PlacedCall) -> dict[str, str]:
        values = values_of(call.request_id, call.plan)
        if self._program.own_id:
            values["call_id"] = call.request_id
        return values | kept_before(call.response)

    def _has(self, request_id: str, call: _Call) -> bool:
        return self._calls.get(request_id) is call

    def _forget(self, request_id: str, call: _Call) -> None:
        call.open, call.over = False, True
        call.stop()
        if self._has(request_id, call):
            del self._calls[request_id]

    def _doubt(self) -> None:
        """A request went wrong: perhaps the PBX is away."""
        can_tell = self._program.check is not None or self._program.login is not None
        if can_tell and self._retry is None and not self._stopped:
            _in_background(self.try_it())

    def _tell(self, request_id: str, event: LegEvent) -> None:
        self.observer.leg_event(request_id, event)


def _in_background(doing: Coroutine[Deferred[Any], Any, Any]) -> None:
    Deferred.fromCoroutine(doing).addErrback(lambda failure: _log.failure("in background", failure))
