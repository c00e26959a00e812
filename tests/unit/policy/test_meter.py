"""Caps: how many calls, and for how long, for each key and in all."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from c2c_agent.call.job import CallJob
from c2c_agent.errors import ErrorCode, Fault
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import DAY, Admission, Lease, LimitReached, Meter

HOUR = 3600.0


def key(
    name: str = "crm",
    *,
    max_concurrent: int | None = None,
    per_minute: int | None = None,
    per_day: int | None = None,
    minutes_per_day: int | None = None,
    max_duration: int | None = None,
) -> Key:
    """A key with these caps."""
    return Key(
        name=name,
        sha256="0" * 64,
        max_concurrent=max_concurrent,
        per_minute=per_minute,
        per_day=per_day,
        minutes_per_day=minutes_per_day,
        max_duration=max_duration,
    )


def job(*, timeout: int = 30, confirm: bool = False, max_duration: int | None = None) -> CallJob:
    """A wanted call."""
    return CallJob("100", "101", "100", timeout, confirm=confirm, max_duration=max_duration)


def admitted(meter: Meter, key: Key, now: float, job: CallJob, longest: int = 600) -> Admission:
    """How a call is admitted that is."""
    lease = meter.admit(key, job, longest, now)
    assert isinstance(lease, Lease)
    return lease.admission


def admit(meter: Meter, key: Key, now: float) -> LimitReached | None:
    """Why a call is not admitted; None if it is."""
    lease = meter.admit(key, job(), 600, now)
    return None if isinstance(lease, Lease) else lease


TOO_MANY = ErrorCode.TOO_MANY_CALLS
RATE = ErrorCode.RATE_LIMITED


def code(refusal: LimitReached | None) -> ErrorCode | None:
    """Why a call was not admitted; None if it was."""
    return None if refusal is None else refusal.fault.code


class TestConcurrency:
    """Calls in progress."""

    def test_cap_of_a_key(self) -> None:
        """Counted for each key by itself; an end makes room."""
        meter = Meter(100)
        crm, shop = key("crm", max_concurrent=2), key("shop", max_concurrent=1)
        assert [code(admit(meter, crm, 0.0)) for _ in range(3)] == [None, None, TOO_MANY]
        assert [code(admit(meter, shop, 0.0)) for _ in range(2)] == [None, TOO_MANY]
        assert meter.running == 3
        meter.release("crm")
        assert [code(admit(meter, crm, 0.0)) for _ in range(2)] == [None, TOO_MANY]

    def test_cap_of_a_pbx(self) -> None:
        """Counted for each PBX by itself, those of before a restart as well; an end makes room."""
        meter = Meter(100, {"north": 2})
        north, south = evolve(job(), named_pbx="north"), evolve(job(), named_pbx="south")
        resumed = meter.resume("crm", Admission(600, 630), 0.0, "north")
        first = meter.admit(key(), north, 600, 0.0)
        assert isinstance(first, Lease)
        assert meter.running_on("north") == 2
        reached = meter.admit(key("shop"), north, 600, 0.0)
        assert isinstance(reached, LimitReached)
        assert reached.fault == Fault(
            TOO_MANY, "This PBX has as many calls in progress as it may have."
        )
        for other in (south, job()):
            assert isinstance(meter.admit(key(), other, 600, 0.0), Lease)
        for lease in (first, resumed):
            for _ in range(2):  # the second has no meaning
                lease.release(dialled=True)
        assert meter.running_on("north") == 0
        assert isinstance(meter.admit(key(), north, 600, 0.0), Lease)

    def test_cap_of_all(self) -> None:
        """All keys together have one, too, and the message says which was reached."""
        meter = Meter(2)
        crm, shop = key("crm"), key("shop", max_concurrent=1)
        assert admit(meter, crm, 0.0) is None
        assert admit(meter, shop, 0.0) is None
        assert admit(meter, crm, 0.0) == LimitReached(
            Fault(TOO_MANY, "This PBX has as many calls in progress as it may have."), retry_after=5
        )
        meter.release("crm")
        assert admit(meter, shop, 0.0) == LimitReached(
            Fault(TOO_MANY, "This key has as many calls in progress as it may have."), retry_after=5
        )
        assert admit(meter, crm, 0.0) is None

    def test_a_cap_may_be_changed(self) -> None:
        """A new configuration counts at once, for the calls that are in progress already."""
        meter = Meter(10)
        for _ in range(3):
            assert admit(meter, key(max_concurrent=3), 0.0) is None
        assert code(admit(meter, key(max_concurrent=2), 0.0)) is TOO_MANY
        meter.max_concurrent = 3
        assert code(admit(meter, key(), 0.0)) is TOO_MANY

    def test_calls_of_before_a_restart(self) -> None:
        """They stand in the way of new ones until they have ended."""
        meter = Meter(10)
        meter.count("crm")
        assert meter.running == 1
        crm = key(max_concurrent=1)
        assert code(admit(meter, crm, 0.0)) is TOO_MANY
        meter.release("crm")
        assert meter.running == 0
        assert admit(meter, crm, 0.0) is None


class TestRate:
    """Calls in the last minute."""

    def test_window_slides(self) -> None:
        """What is a minute old counts no more; not a moment earlier."""
        meter = Meter(100)
        crm = key(per_minute=2)
        times = [1000.0, 1010.0, 1059.5, 1060.0, 1069.0, 1070.0, 1119.0, 1120.0]
        told = [code(admit(meter, crm, at)) for at in times]
        assert told == [None, None, RATE, None, RATE, None, RATE, None]

    def test_when_another_try_is_worth_it(self) -> None:
        """In whole seconds, until the oldest that counts is a minute old; one at least."""
        meter = Meter(100)
        crm = key(per_minute=2)
        assert admit(meter, crm, 1000.0) is None
        assert admit(meter, crm, 1030.0) is None
        message = Fault(RATE, "This key may place 2 calls a minute.")
        assert admit(meter, crm, 1030.0) == LimitReached(message, retry_after=30)
        assert admit(meter, crm, 1030.5) == LimitReached(message, retry_after=30)
        assert admit(meter, crm, 1059.9999) == LimitReached(message, retry_after=1)

    def test_refused_calls_do_not_count(self) -> None:
        """Who keeps asking is not kept out for longer, neither by this cap nor by the others."""
        meter = Meter(1)
        crm = key(per_minute=2)
        assert admit(meter, crm, 1000.0) is None
        assert code(admit(meter, crm, 1001.0)) is TOO_MANY
        meter.release("crm")
        assert admit(meter, crm, 1002.0) is None
        meter.release("crm")
        assert [code(admit(meter, crm, 1003.0)) for _ in range(5)] == [RATE] * 5
        assert meter.running == 0
        assert admit(meter, crm, 1060.0) is None

    def test_keys_have_windows_of_their_own(self) -> None:
        """One key's calls are not another's."""
        meter = Meter(100)
        assert admit(meter, key("crm", per_minute=1), 0.0) is None
        assert admit(meter, key("shop", per_minute=1), 0.0) is None
        assert code(admit(meter, key("crm", per_minute=1), 0.0)) is RATE

    def test_a_lowered_rate(self) -> None:
        """The wait is until so many have become too old that the new rate is kept."""
        meter = Meter(100)
        for at in (1000.0, 1010.0, 1020.0, 1030.0):
            assert admit(meter, key(), at) is None
        refusal = admit(meter, key(per_minute=2), 1030.0)
        assert refusal is not None
        assert refusal.retry_after == 50
        assert admit(meter, key(per_minute=2), 1080.0) is None

    def test_calls_of_before_a_restart(self) -> None:
        """They count, but are not in progress."""
        meter = Meter(100)
        meter.recall("crm", [990.0, 1000.0])
        meter.recall("crm", [1020.0])
        refusal = admit(meter, key(per_minute=2), 1050.0)
        assert refusal is not None
        assert refusal.retry_after == 10
        assert meter.running == 0
        assert admit(meter, key(per_minute=2), 1060.0) is None

    @settings(deadline=None)
    @given(
        st.lists(st.integers(0, 100 * 64), max_size=20).map(sorted),
        st.integers(1, 4),
    )
    def test_the_promise_is_kept(self, ticks: list[int], per_minute: int) -> None:
        """Never more a minute than allowed, and whoever waits as told is let in."""
        times = [1_000_000 + tick / 64 for tick in ticks]  # these add up without rounding
        meter = Meter(10_000)
        crm = key(per_minute=per_minute)
        admitted: list[float] = []
        waits: list[float] = []
        for at in times:
            refusal = admit(meter, crm, at)
            if refusal is None:
                admitted.append(at)
                assert sum(at - earlier < 60 for earlier in admitted) <= per_minute
            else:
                assert refusal.retry_after is not None
                assert 1 <= refusal.retry_after <= 60
                waits = [at, float(refusal.retry_after)]
        if waits and waits[0] == times[-1]:
            assert admit(meter, crm, sum(waits)) is None


class TestDay:
    """Calls in the last 24 hours."""

    def test_a_day_is_24_hours_at_every_moment(self) -> None:
        """No hour of the day, midnight included, gives the day's calls anew."""
        meter = Meter(100)
        crm = key(per_day=2)
        assert admit(meter, crm, 0.0) is None
        assert admit(meter, crm, 10 * HOUR) is None
        for hour in range(10, 24):
            assert code(admit(meter, crm, hour * HOUR + 0.5)) is RATE
        assert admit(meter, crm, DAY) is None
        assert code(admit(meter, crm, DAY)) is RATE

    def test_when_another_try_is_worth_it(self) -> None:
        """When the oldest call that counts is a day old."""
        meter = Meter(100)
        assert admit(meter, key(per_day=1), 0.0) is None
        assert admit(meter, key(per_day=1), 6 * HOUR) == LimitReached(
            Fault(RATE, "This key may place 1 calls a day."), retry_after=64800
        )

    def test_calls_within_a_minute_count_a_day_from_the_last_of_them(self) -> None:
        """Taken together, for the memory's sake; a day is never shorter than that."""
        meter = Meter(100)
        crm = key(per_day=3)
        assert [code(admit(meter, crm, at)) for at in (0.0, 30.0, 59.0)] == [None] * 3
        assert code(admit(meter, crm, DAY + 58.9)) is RATE
        assert [code(admit(meter, crm, DAY + 59.0)) for _ in range(4)] == [None, None, None, RATE]

    def test_what_was_never_dialled_does_not_count(self) -> None:
        """Neither do refused ones."""
        meter = Meter(100)
        crm = key(per_day=1, max_concurrent=1)
        assert admit(meter, crm, 0.0) is None
        meter.release("crm", dialled=False)
        assert admit(meter, crm, 1.0) is None
        assert code(admit(meter, crm, 2.0)) is TOO_MANY
        meter.release("crm")
        assert code(admit(meter, crm, 3.0)) is RATE

    def test_what_is_found_late_not_to_be_dialled(self) -> None:
        """It is that call which does not count, and not the latest."""
        meter = Meter(100)
        crm = key(per_day=2)
        assert admit(meter, crm, 0.0) is None
        assert admit(meter, crm, 65.0) is None
        meter.release("crm", dialled=False, at=0.0)
        assert admit(meter, crm, 70.0) is None
        assert code(admit(meter, crm, DAY + 64.0)) is RATE
        assert admit(meter, crm, DAY + 70.0) is None

    def test_what_is_found_a_day_late(self) -> None:
        """It counts no more anyway, and nothing is taken from what came after it."""
        meter = Meter(100)
        crm = key(per_day=1)
        assert admit(meter, crm, 0.0) is None
        assert admit(meter, crm, DAY) is None
        meter.release("crm", dialled=False, at=0.0)
        assert code(admit(meter, crm, DAY + 1.0)) is RATE

    def test_a_day_that_has_forgotten(self) -> None:
        """What ends undialled after a day has nothing left to take back."""
        meter = Meter(100)
        assert admit(meter, key(), 0.0) is None
        meter.recall("shop", [])
        meter.release("shop", dialled=False)
        assert code(admit(meter, key("shop", per_day=1), 1.0)) is None

    def test_calls_of_before_a_restart(self) -> None:
        """They count on."""
        meter = Meter(100)
        meter.recall("crm", [0.0, HOUR])
        assert code(admit(meter, key(per_day=2), 2 * HOUR)) is RATE
        assert admit(meter, key(per_day=2), DAY) is None


class TestMinutes:
    """Minutes of calls that were answered."""

    def test_a_call_gets_what_is_left(self) -> None:
        """Less the second's ringing, which costs the first leg's time."""
        crm = key(minutes_per_day=5)
        assert admitted(Meter(9), crm, 0.0, job()) == Admission(270, reserved=300)
        asking = job(timeout=20, confirm=True)
        assert admitted(Meter(9), crm, 0.0, asking) == Admission(300 - 20 - 36, reserved=300)
        assert admitted(Meter(9), crm, 0.0, job(), 60) == Admission(60, reserved=90)

    def test_the_shortest_limit_counts(self) -> None:
        """The configuration's, the key's, the job's."""
        wanted = job(max_duration=50)
        assert admitted(Meter(9), key(), 0.0, wanted, 40).max_duration == 40
        assert admitted(Meter(9), key(), 0.0, wanted, 60).max_duration == 50
        assert admitted(Meter(9), key(max_duration=7), 0.0, wanted, 60).max_duration == 7

    def test_calls_at_once_do_not_spend_the_same_minutes(self) -> None:
        """What one may still use, another cannot have; what it did not use, it gives back."""
        meter = Meter(9)
        crm = key(minutes_per_day=10)
        first = admitted(meter, crm, 0.0, job(), 270)
        assert (first.reserved, admitted(meter, crm, 0.0, job()).reserved) == (300, 300)
        refusal = admit(meter, crm, 1.0)
        assert refusal == LimitReached(Fault(RATE, "This key may talk for 10 minutes a day."), None)
        meter.settle("crm", first.reserved, 10.0, 12.0)
        assert admitted(meter, crm, 12.0, job()) == Admission(260, reserved=290)

    def test_what_was_spent_counts_for_a_day(self) -> None:
        """From the end of the call on."""
        meter = Meter(9)
        crm = key(minutes_per_day=5)
        meter.settle("crm", admitted(meter, crm, 0.0, job()).reserved, 300.0, 300.0)
        assert admit(meter, crm, 300.0 + 10 * HOUR) == LimitReached(
            Fault(RATE, "This key may talk for 5 minutes a day."), retry_after=14 * 3600
        )
        assert admitted(meter, crm, 300.0 + DAY, job()).max_duration == 270

    def test_a_slot_is_given_back_once(self) -> None:
        """However often it is released and settled; another call's is not touched."""
        meter = Meter(9)
        crm = key(per_day=9, minutes_per_day=10)
        lease, other = (meter.admit(crm, job(), 270, float(at)) for at in range(2))
        assert isinstance(lease, Lease)
        assert isinstance(other, Lease)
        for _ in range(3):
            lease.release(dialled=False)
            lease.settle(60.0, 2.0)
            assert meter.running == 1
        # Ten minutes, less the other's five and the one that was talked, less its own ringing.
        assert admitted(meter, crm, 3.0, job()) == Admission(210, reserved=240)
        other.release(dialled=True)
        other.settle(0.0, 4.0)
        assert meter.running == 1

    def test_a_slot_of_before_a_restart(self) -> None:
        """Counted as it was admitted: released undialled, it is that day's which is taken back."""
        meter = Meter(9)
        meter.recall("crm", [5.0])
        lease = meter.resume("crm", Admission(30, reserved=60), 5.0)
        assert meter.running == 1
        assert code(admit(meter, key(per_day=1), 6.0)) is RATE
        lease.release(dialled=False)
        assert admit(meter, key(per_day=1), 6.0) is None

    def test_a_call_that_nobody_answered_costs_nothing(self) -> None:
        """It only gives back what it had reserved."""
        meter = Meter(9)
        crm = key(minutes_per_day=1)
        for at in range(100):
            admission = admitted(meter, crm, float(at), job())
            assert admission == Admission(30, reserved=60)
            meter.release("crm")
            meter.settle("crm", admission.reserved, 0.0, float(at))

    def test_calls_of_before_a_restart(self) -> None:
        """Those that have ended, and those that go on."""
        meter = Meter(9)
        meter.recall_spent("crm", 100.0, 120.0)
        meter.count("crm", 60.0)
        crm = key(minutes_per_day=4)
        assert admitted(meter, crm, 200.0, job()) == Admission(30, reserved=60)
        assert code(admit(meter, crm, 200.0)) is RATE

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1), st.integers(1, 5000)), max_size=40)
    )
    def test_never_more_than_the_minutes(self, story: list[tuple[int, float, int]]) -> None:
        """Whatever calls come and end, each using some of what it was given."""
        meter, crm = Meter(100), key(minutes_per_day=10)
        going: list[Lease] = []
        spent: list[tuple[float, float]] = []
        now = 0.0
        for turn, share, pause in story:
            now += pause
            if turn < 5 or not going:
                lease = meter.admit(crm, job(), 200, now)
                if isinstance(lease, Lease):
                    going.append(lease)
            else:
                ended = going.pop(turn % len(going))
                used = share * ended.admission.reserved
                spent.append((now, used))
                ended.settle(used, now)
                ended.settle(used, now)  # once is all
            recent = sum(seconds for at, seconds in spent if at > now - DAY)
            assert recent + sum(each.admission.reserved for each in going) <= 600 + 1e-6
