"""A stolen key, and what a thief tries with it: each test is named for the trick.

At a desk (`tests.fakes`), so that time and PBX do as the test says; the same and more on real
Asterisks is in tests/pbx/test_toll_fraud.py.
"""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any, ClassVar
from unittest import mock

from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.call.call import CallState
from c2c_agent.call.events import FirstAnswered, Gone, OriginateAccepted, SecondAnswered
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.dispatch.intake import Submission
from c2c_agent.policy.hours import WeekTime, parse_hours
from c2c_agent.policy.keys import Key, operator_key
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.policy.token import Token
from tests.fakes import CRM, EPOCH, DeskTest, uuid

DAY = 86400.0
ONE = uuid(1)


def stolen(**limits: Any) -> Key:
    """The key of the crm, with more limits."""
    return evolve(CRM, **limits)


class Thief(DeskTest):
    """Who has a key, and asks."""

    def asks(self, key: Key = CRM, /, **parameters: Any) -> str:
        """Ask for a call; `placed`, or why not. What is placed the PBX accepts."""
        before = len(self.driver.originated)
        submission = self.told(self.desk.submit(key, **parameters))
        faults = submission.answer.faults
        assert (len(self.driver.originated) > before) is (not faults)
        return faults[0].code.value if faults else "placed"

    def told(self, submitted: Deferred[Submission]) -> Submission:
        """What became of a request."""
        for request_id in self.driver.originated:
            self.driver.tells(request_id, OriginateAccepted())
        return self.successResultOf(submitted)

    def end(self, request_id: str) -> None:
        """The call is over now; the PBX has seen when."""
        now = self.desk.now()
        answered = self.desk.call(request_id).first.answered_at
        first = LegEvidence(status="ANSWER", answered_at=answered, ended_at=now)
        self.driver.tells(request_id, Gone(CallEvidence(first=first)))

    def talk(self, key: Key, seconds: float, **parameters: Any) -> str:
        """Ask for a call and have the first leg answered for so long."""
        said = self.asks(key, **parameters)
        if said == "placed":
            request_id = self.driver.originated[-1]
            self.driver.tells(request_id, FirstAnswered())
            self.clock.advance(seconds)
            self.end(request_id)
        return said


class Numbers(Thief):
    """To reach a number that no pattern names."""

    def test_as_the_first_number(self) -> None:
        """The first is held to the patterns as the second is."""
        assert self.asks(dial_first="900", dial_as="100") == "not_allowed"
        assert self.asks(dial_second="900") == "not_allowed"

    def test_as_the_identity(self) -> None:
        """Nor may it pretend to be somebody whom its list does not name."""
        assert self.asks(dial_as="200") == "not_allowed"
        assert self.asks(dail_as="200") == "not_allowed"
        assert self.asks(dial_as="1*0") == "not_allowed"

    def test_written_otherwise(self) -> None:
        """Blanks, dashes, tel: and brackets are dropped before anything is asked of a pattern."""
        for number in ("9-0-0", "(900)", "tel:900", " 900 ", "9.0/0", "+900", "00900", "+100"):
            assert self.asks(dial_second=number) == "not_allowed", number

    def test_with_another_number_behind_it(self) -> None:
        """What separates numbers, options and contexts for Asterisk is in no number."""
        for number in ("100&900", "100,900", "100@out", "100/n", "100|900", "${X}", "100\n900"):
            assert self.asks(dial_second=number) in {"invalid_parameter", "not_allowed"}, number

    def test_codes_behind_an_open_pattern(self) -> None:
        """`.` and `!` let no star, hash or plus through; a pattern that has them does, there."""
        key = stolen(allow=(parse_pattern("_1."), parse_pattern("_2!"), parse_pattern("_*21*1XX")))
        for number in ("1*72900", "10#5", "2*", "2#", "*72100", "*21*2", "*21*10*"):
            assert self.asks(key, dial_second=number) == "not_allowed", number
        assert self.asks(key, dial_second="*21*100") == "placed"

    def test_the_other_form_of_a_denied_number(self) -> None:
        """Denied with 00 is denied with +, and the other way round, for both numbers."""
        key = stolen(
            allow=(parse_pattern("_X."), parse_pattern("_+X.")),
            deny=(parse_pattern("_0049."), parse_pattern("_+881.")),
            dial_as=None,
        )
        for number in ("004930", "+4930", "00881930", "+881930"):
            assert self.asks(key, dial_second=number) == "not_allowed", number
            assert self.asks(key, dial_first=number) == "not_allowed", number
        assert self.asks(key, dial_second="+4830") == "placed"

    def test_what_the_operator_may_not(self) -> None:
        """The command line's key is held to what is denied to any key."""
        operator = operator_key("0" * 64, [CRM, stolen(name="x", deny=(parse_pattern("_+9."),))])
        assert self.asks(operator, dial_second="299") == "not_allowed"
        assert self.asks(operator, dial_second="009123") == "not_allowed"

    def test_what_is_no_parameter(self) -> None:
        """Names that Asterisk knows mean nothing here; the plan is that of the plain request."""
        smuggled = {"Channel": "PJSIP/900", "variables": "X=1", "caller_id": "900", "context": "x"}
        assert self.asks(**smuggled) == "placed"
        [call] = self.store.unfinished()
        assert call.job is not None
        assert (call.job.dial_first, call.job.dial_second, call.job.dial_as) == (
            "100",
            "200",
            "100",
        )
        assert "900" not in str(call.plan)


class Legs(Thief):
    """With the key of people who call outside: to join two numbers outside."""

    KEY = evolve(
        CRM,
        allow=(parse_pattern("_XXX"), parse_pattern("_0X.")),
        dial_as=None,
        first=(parse_pattern("_1XX"),),
        second=(parse_pattern("_0X."), parse_pattern("_2XX")),
    )

    def test_two_numbers_outside(self) -> None:
        """The first has to be one of theirs."""
        assert self.asks(self.KEY, dial_first="0900123", dial_second="0301") == "not_allowed"
        assert self.asks(self.KEY, dial_second="0301") == "placed"

    def test_the_other_way_round(self) -> None:
        """Nor may a number outside be rung first, to be joined with a phone of theirs."""
        assert self.asks(self.KEY, dial_first="0900123", dial_second="100") == "not_allowed"

    def test_a_leg_that_nothing_allows(self) -> None:
        """A pattern of a leg opens nothing that is not allowed, or is denied."""
        narrow = evolve(self.KEY, allow=(parse_pattern("_1XX"),))
        assert self.asks(narrow, dial_second="0301") == "not_allowed"
        denied = evolve(self.KEY, deny=(parse_pattern("_0900."),))
        assert self.asks(denied, dial_second="0900123") == "not_allowed"

    def test_written_otherwise(self) -> None:
        """The same number is the same leg, however it is written."""
        for number in ("tel:0900-123", "(0900) 123", "0900.123"):
            assert self.asks(self.KEY, dial_first=number, dial_second="0301") == "not_allowed"

    def test_as_the_identity(self) -> None:
        """That a leg may be rung does not say as whom."""
        key = evolve(self.KEY, dial_as=(parse_pattern("_1XX"),))
        assert self.asks(key, dial_second="0301", dial_as="0301") == "not_allowed"

    def test_no_first_at_all(self) -> None:
        """The default is a number that the key may ring first, or none."""
        assert self.asks(self.KEY, dial_first="") == "invalid_parameter"
        assert self.asks(evolve(self.KEY, default_first="100"), dial_first="") == "placed"

    def test_a_second_click(self) -> None:
        """Another pair is another call: the window opens nothing, and hides nothing."""
        key = evolve(self.KEY, repeat_window=300)
        assert self.asks(key, dial_second="0301") == "placed"
        assert self.asks(key, dial_first="0301", dial_second="100") == "not_allowed"
        assert self.asks(key, dial_first="0900123", dial_second="0301") == "not_allowed"


class Tokens(Thief):
    """With a token that was copied from a page."""

    TOKEN = Token(id="one", dial_first="100", expires=int(EPOCH) + 60, uses=2)

    def asks_with(self, token: Token = TOKEN, **parameters: Any) -> str:
        """Ask with a token of the crm."""
        before = len(self.driver.originated)
        submission = self.told(self.desk.submit(CRM, (), token, **parameters))
        faults = submission.answer.faults
        assert (len(self.driver.originated) > before) is (not faults)
        return faults[0].code.value if faults else "placed"

    def test_from_another_phone(self) -> None:
        """It rings its own first, and nobody else."""
        for number in ("101", "200", "1-01", "tel:101"):
            assert self.asks_with(dial_first=number, dial_as="100") == "not_allowed", number

    def test_to_what_its_key_may_not(self) -> None:
        """A pattern of a token opens nothing."""
        token = evolve(self.TOKEN, second=(parse_pattern("_."),))
        for number in ("900", "299", "0900123"):
            assert self.asks_with(token, dial_second=number) == "not_allowed", number

    def test_to_what_it_may_not(self) -> None:
        """Though its key may."""
        token = evolve(self.TOKEN, second=(parse_pattern("201"),))
        assert self.asks_with(token) == "not_allowed"
        assert self.asks_with(token, dial_second="20*1") == "not_allowed"
        assert self.asks_with(token, dial_second="201") == "placed"

    def test_as_somebody_else(self) -> None:
        """It has one identity."""
        assert self.asks_with(dial_as="101") == "not_allowed"
        assert self.asks_with(dail_as="101") == "not_allowed"
        assert self.asks_with(evolve(self.TOKEN, dial_as="101"), dial_as="100") == "not_allowed"

    def test_more_often(self) -> None:
        """Its uses are used up, whatever the ids; over restarts, too."""
        assert self.asks_with(request_id=ONE) == "placed"
        self.desk.restart()
        assert self.asks_with() == "placed"
        assert self.asks_with() == "rate_limited"
        assert self.asks_with(request_id=uuid(9)) == "rate_limited"

    def test_all_at_once(self) -> None:
        """So are they where many ask in the same moment."""
        self.driver.hold_plans()
        submitted = [self.desk.submit(CRM, (), self.TOKEN) for _ in range(9)]
        self.driver.make_plans()
        told = [self.told(one) for one in submitted]
        assert sum(not one.answer.faults for one in told) == len(self.driver.originated) == 2

    def test_beyond_its_keys_limits(self) -> None:
        """They are the key's, for all its tokens together."""
        key = stolen(per_day=1)
        for number, code in ((1, "placed"), (2, "rate_limited")):
            token = evolve(self.TOKEN, id=str(number))
            faults = self.told(self.desk.submit(key, (), token)).answer.faults
            assert (faults[0].code.value if faults else "placed") == code

    def test_a_call_of_somebody_else_again(self) -> None:
        """Another's request_id is another call: it is not answered from that."""
        assert self.asks(request_id=ONE, dial_first="101", dial_second="200") == "placed"
        assert self.asks_with(request_id=ONE) == "request_id_conflict"


class Numerous(Thief):
    """To place more calls than the key may."""

    def test_at_midnight(self) -> None:
        """A day is any 24 hours."""
        key = stolen(per_day=3)
        self.clock.advance(DAY - EPOCH % DAY - 60)  # a minute before midnight, UTC
        assert [self.asks(key) for _ in range(4)] == [*["placed"] * 3, "rate_limited"]
        for _ in range(23):
            self.clock.advance(3600)
            assert self.asks(key) == "rate_limited"
        self.clock.advance(3700)
        assert self.asks(key) == "placed"

    def test_with_the_same_id(self) -> None:
        """A repetition counts once, and rings nobody: it is neither stopped nor a way round."""
        key = stolen(per_day=2)
        assert self.asks(key, request_id=ONE) == "placed"
        for _ in range(5):
            assert self.told(self.desk.submit(key, request_id=ONE)).replayed
        assert len(self.driver.originated) == 1
        assert [self.asks(key) for _ in range(2)] == ["placed", "rate_limited"]

    def test_all_at_once(self) -> None:
        """While none of them is stored yet."""
        self.store.hold_writes()
        key = stolen(per_day=2)
        submitted = [self.desk.submit(key) for _ in range(20)]
        self.store.release()
        placed = [self.told(each) for each in submitted]
        assert sum(not each.answer.faults for each in placed) == 2
        assert len(self.driver.originated) == 2

    def test_with_the_clock_set(self) -> None:
        """Whoever can set the host's clock moves no window."""
        key = stolen(per_day=1)
        assert self.asks(key) == "placed"
        for self.desk.clock_set in (3600.0, -3600.0, 2 * DAY):
            assert self.asks(key) == "rate_limited"

    def test_what_was_refused_does_not_count(self) -> None:
        """Nor does it help: refused ones use nothing up."""
        key = stolen(per_day=1)
        assert [self.asks(key, dial_second="900") for _ in range(5)] == ["not_allowed"] * 5
        self.driver.reason = "The PBX cannot be reached at present."
        assert self.asks(key) == "pbx_unavailable"
        self.driver.reason = None
        assert self.asks(key) == "placed"


class Lengthy(Thief):
    """To talk for longer than the key may."""

    limits: ClassVar = {"max_duration": 3600}

    def test_one_long_call(self) -> None:
        """It is placed with what is left as its limit; the second's ringing counts."""
        key = stolen(minutes_per_day=10)
        assert self.talk(key, 200.0) == "placed"
        assert self.asks(key, timeout=20) == "placed"
        [call] = self.store.unfinished()
        assert call.job is not None
        assert call.max_duration == call.job.max_duration == 600 - 200 - 20

    def test_many_calls_at_once(self) -> None:
        """What one may use, no other can: together never more than is left."""
        key = stolen(minutes_per_day=10, max_duration=170)
        said = [self.asks(key, timeout=30) for _ in range(6)]
        assert said == [*["placed"] * 3, *["rate_limited"] * 3]
        assert sum(30 + call.max_duration for call in self.store.unfinished()) <= 600

    def test_by_asking_for_more(self) -> None:
        """A request may only shorten its talk."""
        assert self.asks(stolen(max_duration=60), max_duration="86400") == "placed"
        assert [call.max_duration for call in self.store.unfinished()] == [60]
        assert self.asks(max_duration="5") == "placed"
        assert [call.max_duration for call in self.store.unfinished()] == [60, 5]
        assert self.asks(max_duration="0") == "invalid_parameter"
        assert self.asks(max_duration="86401") == "invalid_parameter"
        assert self.asks(max_duration="forever") == "invalid_parameter"

    def test_with_another_duration_under_the_same_id(self) -> None:
        """That is another call."""
        assert self.asks(request_id=ONE, max_duration=5) == "placed"
        assert self.asks(request_id=ONE, max_duration=6) == "request_id_conflict"

    def test_the_first_leg_alone(self) -> None:
        """A first leg that is kept waiting costs minutes, too, though nobody is connected."""
        key = stolen(minutes_per_day=1)
        assert self.talk(key, 29.0, timeout=29) == "placed"
        assert self.asks(key, timeout=31) == "rate_limited"

    def test_a_restart_in_the_middle(self) -> None:
        """What a call has reserved stays so; what it used counts from its end on."""
        key = stolen(minutes_per_day=10)
        assert self.asks(key, request_id=ONE) == "placed"
        self.driver.tells(ONE, FirstAnswered(), SecondAnswered())
        self.desk.restart()
        assert self.asks(key) == "rate_limited"
        self.clock.advance(100)
        self.end(ONE)
        assert self.asks(key, timeout=30) == "placed"
        [call] = self.store.unfinished()
        assert call.max_duration == 600 - 100 - 30

    def test_a_call_that_the_requester_was_told_has_failed(self) -> None:
        """It may go on: its minutes are kept until it has ended."""
        key = stolen(minutes_per_day=10)
        self.driver.mistake = RuntimeError("a mistake")
        assert self.told(self.desk.submit(key, request_id=ONE)).answer.faults
        self.flushLoggedErrors(RuntimeError)
        self.driver.mistake = None
        assert self.desk.call(ONE).state is not CallState.ENDED
        assert self.told(self.desk.submit(key)).answer.faults[0].code.value == "rate_limited"


class AtNight(Thief):
    """To call when nobody is there to notice."""

    def test_outside_its_hours(self) -> None:
        """Refused; what began within them goes on."""
        key = stolen(hours=(parse_hours("Mo-Fr 08:00-18:00"),))
        assert self.asks(key, request_id=ONE) == "placed"
        self.desk.week_time = WeekTime(0, 18 * 60)
        assert self.asks(key) == "not_allowed"
        self.desk.week_time = WeekTime(5, 12 * 60)
        assert self.asks(key) == "not_allowed"
        assert self.desk.call(ONE).state is not CallState.ENDED
        assert self.driver.hung_up == []

    def test_in_its_own_time_zone(self) -> None:
        """Which hours it is decides the key's, or the host's, time zone; nothing of the request."""
        asked: list[tuple[float, str | None]] = []

        def week_time(at: float, timezone: str | None) -> WeekTime:
            asked.append((at, timezone))
            return WeekTime(6, 0)

        self.desk.intake._week_time = week_time
        self.desk.clock_set = 3600.0
        hours = (parse_hours("Mo-Fr 08:00-18:00"),)
        zone = {"timezone": "Asia/Tokyo"}
        assert self.asks(stolen(hours=hours, timezone="Europe/Berlin"), **zone) == "not_allowed"
        assert asked == [(EPOCH + 3600.0, "Europe/Berlin")]


class Stopped(Thief):
    """To go on where the operator has pulled the plug."""

    def test_new_calls(self) -> None:
        """None is placed; what was asked before is answered as before."""
        assert self.asks(request_id=ONE) == "placed"
        self.desk.stopped = True
        assert self.asks() == "not_allowed"
        assert self.told(self.desk.submit(request_id=ONE)).replayed
        assert self.asks(request_id=uuid(2)) == "not_allowed"
        self.desk.stopped = False
        assert self.told(self.desk.submit(request_id=uuid(2))).answer.faults, "refused for good"
        assert self.asks() == "placed"

    def test_calls_that_are_on_their_way(self) -> None:
        """Accepted, and not yet given to the PBX: they never are."""
        self.store.hold_writes()
        submitted = self.desk.submit(request_id=ONE)
        self.desk.stopped = True
        self.store.release()
        answer = self.told(submitted).answer
        assert [fault.code.value for fault in answer.faults] == ["not_allowed"]
        assert self.driver.originated == []
        assert self.desk.meter.running == 0

    def test_calls_whose_plan_is_being_made(self) -> None:
        """The same a moment earlier."""
        self.driver.hold_plans()
        submitted = self.desk.submit(request_id=ONE)
        self.desk.stopped = True
        self.driver.make_plans()
        assert self.told(submitted).answer.faults[0].code.value == "not_allowed"
        assert self.driver.originated == []

    def test_calls_in_progress(self) -> None:
        """All are hung up, where that is wanted; those that have ended are not counted."""
        for number in (1, 2, 3):
            assert self.asks(request_id=uuid(number)) == "placed"
        self.end(uuid(3))
        assert self.desk.dispatcher.hang_up_all() == 2
        assert self.driver.hung_up == [uuid(1), uuid(2)]

    def test_one_that_cannot_be_hung_up(self) -> None:
        """A mistake with one call saves none of the others."""
        for number in (1, 2):
            assert self.asks(request_id=uuid(number)) == "placed"
        hang_up = self.driver.hang_up

        def mistaken(request_id: str) -> None:
            if request_id == uuid(1):
                raise RuntimeError(request_id)
            hang_up(request_id)

        with mock.patch.object(self.driver, "hang_up", mistaken):
            assert self.desk.dispatcher.hang_up_all() == 2
        assert self.driver.hung_up == [uuid(2)]
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
