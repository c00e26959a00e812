"""How much is used: calls in progress, calls and minutes of the latest minute and day, by key.

Pure; times are seconds on one clock. A day is the last 24 hours, at every moment, so that midnight
opens nothing twice. What counts can be asked of the store as well, which is what the meter begins
with after a restart: calls in progress, calls placed since a moment, seconds of answered calls that
ended since a moment, each by key.

Minutes are counted from the moment at which the first leg was answered to the end, for from then on
both legs may cost something. A call in progress has as much reserved as it can use at the most; so
calls at once cannot spend the same minutes twice, and none can use more than was left.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field, frozen

from c2c_agent.call.job import CallJob
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import Key

#: Seconds after which another try is worth it where too many calls are in progress: nobody knows
#: when the next one ends.
_CALLS_END: Final = 5

_MINUTE: Final = 60.0
DAY: Final = 86400.0

#: Seconds of a minute that are taken together: a minute at hundreds of calls a second is megabytes.
_GRAIN: Final = 0.1


@frozen
class LimitReached:
    """Why a call may not be placed now, and after how many seconds it is worth another try."""

    fault: Fault
    retry_after: int | None = None


@frozen
class Admission:
    """A call may be placed: the seconds that it may talk, and those that it has reserved."""

    max_duration: int
    reserved: int


@define(eq=False)
class Lease:
    """The slot of a call that was admitted: released once, and settled once, whatever comes."""

    admission: Admission
    _meter: Meter
    _key_name: str
    _admitted_at: float
    _pbx: str | None = None
    _released: bool = False
    _settled: bool = False

    def release(self, *, dialled: bool) -> None:
        """Nobody waits for the call any more; `dialled`: it counts for the day."""
        if not self._released:
            self._released = True
            self._meter.release(self._key_name, dialled=dialled, at=self._admitted_at)
            self._meter.leave(self._pbx)

    def settle(self, spent: float, now: float) -> None:
        """The call has ended, and was answered for so many seconds."""
        if not self._settled:
            self._settled = True
            self._meter.settle(self._key_name, self.admission.reserved, spent, now)


@define
class _Window:
    """What was used within the last so many seconds.

    What comes within `grain` seconds is taken together, and counts from the latest on: so a day of
    any number of calls needs a bounded memory, and is never shorter than a day.
    """

    seconds: float
    grain: float = 0.0
    total: float = 0.0
    _entries: deque[list[float]] = field(factory=deque)  # [began, latest, amount]

    def add(self, at: float, amount: float = 1.0) -> None:
        """Use so much at a moment; moments come in order."""
        self.total += amount
        if self._entries and at - self._entries[-1][0] < self.grain:
            self._entries[-1][1:] = [max(at, self._entries[-1][1]), self._entries[-1][2] + amount]
        else:
            self._entries.append([at, at, amount])

    def take_back(self, at: float, amount: float = 1.0) -> None:
        """Unuse what was used at a moment, unless that is forgotten already."""
        entry = next((entry for entry in reversed(self._entries) if entry[0] <= at), None)
        if entry is not None:
            entry[2] -= amount
            self.total -= amount

    def forget(self, now: float) -> None:
        """Leave out what is too long ago."""
        while self._entries and self._entries[0][1] <= now - self.seconds:
            self.total -= self._entries.popleft()[2]

    def wait(self, limit: float, now: float) -> int:
        """After how many whole seconds less than `limit` will have been used; one at least."""
        total, turn = self.total, now
        for _, latest, amount in self._entries:
            if total < limit:
                break
            total -= amount
            turn = latest + self.seconds
        return max(1, math.ceil(turn - now))


def _minute() -> _Window:
    return _Window(_MINUTE, grain=_GRAIN)


def _day() -> _Window:
    return _Window(DAY, grain=_MINUTE)


@define
class _Usage:
    """What one key uses. `reserved`, `spent`: seconds of answered calls."""

    running: int = 0
    reserved: float = 0.0
    minute: _Window = field(factory=_minute)
    day: _Window = field(factory=_day)
    spent: _Window = field(factory=_day)


@frozen
class Use:
    """What a key uses: calls in progress, calls of the latest minute and day, seconds of a day."""

    running: int
    minute: int
    day: int
    seconds: float


class Meter:
    """Counts what each key uses, what each PBX has in progress, and all together.

    The counting is by name, so it goes on over a change of the configuration. `pbx_limits`: how
    many calls may be in progress on a PBX, by its name, where it has a limit of its own.
    """

    def __init__(self, max_concurrent: int, pbx_limits: Mapping[str, int] | None = None) -> None:
        self.max_concurrent = max_concurrent
        self.pbx_limits = {} if pbx_limits is None else pbx_limits
        self._running_on: Counter[str] = Counter()
        self._usage: defaultdict[str, _Usage] = defaultdict(_Usage)

    @property
    def running(self) -> int:
        """Calls in progress, all keys together."""
        return sum(usage.running for usage in self._usage.values())

    def admit(self, key: Key, job: CallJob, longest: int, now: float) -> Lease | LimitReached:
        """Take one call of `key` in at `now`; LimitReached where a cap is.

        `longest` is for how many seconds any call may talk; the job or the key may say less.
        """
        usage = self._usage[key.name]
        most = self.pbx_limits.get(job.pbx_name, math.inf)
        if self.running >= self.max_concurrent or self.running_on(job.pbx_name) >= most:
            return _too_many("This PBX has as many calls in progress as it may have.")
        if key.max_concurrent is not None and usage.running >= key.max_concurrent:
            return _too_many("This key has as many calls in progress as it may have.")
        for window in (usage.minute, usage.day, usage.spent):
            window.forget(now)
        if key.per_minute is not None and usage.minute.total >= key.per_minute:
            message = f"This key may place {key.per_minute} calls a minute."
            return _limited(message, usage.minute.wait(key.per_minute, now))
        if key.per_day is not None and usage.day.total >= key.per_day:
            message = f"This key may place {key.per_day} calls a day."
            return _limited(message, usage.day.wait(key.per_day, now))
        longest = min(filter(None, (longest, job.max_duration, key.max_duration)))
        if key.minutes_per_day is not None:
            limit = key.minutes_per_day * _MINUTE - usage.reserved - job.seconds_before_talk
            longest = min(longest, math.floor(limit - usage.spent.total))
            if longest < 1:
                message = f"This key may talk for {key.minutes_per_day} minutes a day."
                return _limited(message, usage.spent.wait(limit, now) if limit >= 1 else None)
        usage.minute.add(now)
        usage.day.add(now)
        admission = Admission(longest, reserved=job.seconds_before_talk + longest)
        return self.resume(key.name, admission, now, job.pbx_name)

    def resume(
        self, key_name: str, admission: Admission, admitted_at: float, pbx: str | None = None
    ) -> Lease:
        """Count a call that was admitted before a restart, or by several processes together."""
        self.count(key_name, admission.reserved)
        if pbx is not None:
            self._running_on[pbx] += 1
        return Lease(admission, self, key_name, admitted_at, pbx)

    def running_on(self, pbx: str) -> int:
        """Calls in progress on the PBX of that name."""
        return self._running_on[pbx]

    def use(self, key_name: str, now: float) -> Use:
        """What a key uses at present; what calls in progress have reserved is used."""
        usage = self._usage.get(key_name, _Usage())
        for window in (usage.minute, usage.day, usage.spent):
            window.forget(now)
        seconds = usage.spent.total + usage.reserved
        return Use(usage.running, int(usage.minute.total), int(usage.day.total), seconds)

    # For leases

    def release(self, key_name: str, *, dialled: bool = True, at: float = math.inf) -> None:
        """One call of the key is over; where it was never dialled, the day does not count it.

        `at` is when it was admitted, perhaps long ago; what came since then is not its own.
        """
        usage = self._usage[key_name]
        usage.running -= 1
        if not dialled:
            usage.day.take_back(at)

    def leave(self, pbx: str | None) -> None:
        """One call on a PBX is over."""
        if pbx is not None:
            self._running_on[pbx] -= 1

    def settle(self, key_name: str, reserved: float, spent: float, now: float) -> None:
        """One call of the key has ended: so much was reserved, and so much was used of it."""
        usage = self._usage[key_name]
        usage.reserved -= reserved
        if spent > 0:
            usage.spent.add(now, spent)

    # After a restart, or from what several processes have counted together; on the same clock

    def count(self, key_name: str, reserved: float = 0.0, *, calls: int = 1) -> None:
        """Count calls that are in progress, and what they have reserved."""
        self._usage[key_name].running += calls
        self._usage[key_name].reserved += reserved

    def recall(self, key_name: str, placed_at: Iterable[float]) -> None:
        """Count calls placed before a restart, oldest first, on the same clock as `admit`."""
        for at in placed_at:
            self.recall_minute(key_name, at)
            self.recall_day(key_name, at)

    def recall_minute(self, key_name: str, placed_at: float, calls: float = 1.0) -> None:
        """Count calls for the latest minute alone, oldest first."""
        self._usage[key_name].minute.add(placed_at, calls)

    def recall_day(self, key_name: str, placed_at: float, calls: float = 1.0) -> None:
        """Count calls for the latest day alone, oldest first."""
        self._usage[key_name].day.add(placed_at, calls)

    def recall_spent(self, key_name: str, ended_at: float, seconds: float) -> None:
        """Count a call that ended before a restart, oldest first."""
        self._usage[key_name].spent.add(ended_at, seconds)


def _too_many(message: str) -> LimitReached:
    return LimitReached(Fault(ErrorCode.TOO_MANY_CALLS, message), retry_after=_CALLS_END)


def _limited(message: str, retry_after: int | None) -> LimitReached:
    return LimitReached(Fault(ErrorCode.RATE_LIMITED, message), retry_after)
