"""The way in: what is refused, what is answered again, and that nobody is ever rung twice."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeAlias

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from c2c_agent.call.call import Answer, CallState, Entry
from c2c_agent.call.events import (
    FirstAnswered,
    FirstRinging,
    Found,
    Gone,
    LegEvent,
    OriginateAccepted,
    OriginateRefused,
    OriginateUnanswered,
    OriginateUnsent,
    SecondAnswered,
    SecondDialed,
    SecondRinging,
)
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.call.job import PARAMETERS
from c2c_agent.call.outcome import Outcome
from c2c_agent.call.record import dump
from c2c_agent.config.sections import CallsConfig
from c2c_agent.dispatch.dispatcher import StoreUnreadableError
from c2c_agent.dispatch.intake import Submission
from c2c_agent.errors import ApiError, ErrorCode, Fault, StoreError
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import DAY
from c2c_agent.policy.numbers import NumberPlan
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.report.event import call_summary
from tests.fakes import CRM, DISK_BROKEN, EPOCH, SHOP, Desk, DeskTest, uuid

ONE, TWO = uuid(1), uuid(2)

ENDED = Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17)))
LOST = Gone(CallEvidence(lost=True))


def codes(answer: Answer | None) -> list[str]:
    """What is wrong, by code."""
    assert answer is not None
    return [fault.code.value for fault in answer.faults]


def one_of_many(number: int) -> Key:
    """A key that does not have more refused than are stored."""
    return evolve(CRM, name=f"key{number % 20}")


class IntakeTest(DeskTest):
    """Requests that come in at a desk."""

    def told(self, submitted: Deferred[Submission]) -> Submission:
        """What the requester was told."""
        return self.successResultOf(submitted)

    def accepted(self, request_id: str = ONE, key: Key = CRM, /, **parameters: Any) -> Submission:
        """A request that the PBX has accepted."""
        submitted = self.desk.submit(key, request_id=request_id, **parameters)
        self.driver.tells(request_id, OriginateAccepted())
        submission = self.told(submitted)
        assert codes(submission.answer) == []
        return submission

    def refused(self, key: Key = CRM, /, **parameters: Any) -> list[str]:
        """A request that is refused: its faults. It is stored; the PBX hears nothing of it."""
        before = list(self.driver.originated), list(self.clock.getDelayedCalls())
        submission = self.told(self.desk.submit(key, **parameters))
        assert (self.driver.originated, self.clock.getDelayedCalls()) == before
        kept = self.store.kept(submission.call.request_id)
        assert kept is not None
        assert kept.state is CallState.ENDED
        assert kept.answer == submission.answer
        assert self.desk.dispatcher.active(kept.request_id) is None
        return codes(submission.answer)


class Accepted(IntakeTest):
    """A request that is placed."""

    def test_answered_when_the_pbx_has_answered(self) -> None:
        """Not when it is stored, and not when it is sent."""
        self.store.hold_writes()
        submitted = self.desk.submit()
        self.assertNoResult(submitted)
        self.store.commit()
        self.assertNoResult(submitted)
        [request_id] = self.driver.originated
        self.driver.tells(request_id, OriginateAccepted())
        assert self.told(submitted).answer == Answer()

    def test_what_the_status_will_show(self) -> None:
        """When and how it came, what it said, and whose it is; the key's name for the key.

        What means nothing is not kept.
        """
        call = self.accepted(dial_as="101", note="x").call
        assert call.key == "crm"
        assert (call.received.at, call.received.method) == (EPOCH, "GET")
        assert call.received.url == "http://pbx1.example.com/c2c/v2"
        assert call.received.data == {
            "dial_first": "100",
            "dial_second": "200",
            "dial_as": "101",
            "request_id": ONE,
            "api_key": "crm",
        }
        assert call.timeline[0] == Entry(EPOCH, "accepted")

    def test_an_id_of_our_own(self) -> None:
        """Each request without one gets a new one; nothing is looked up for it."""
        self.desk.submit()
        self.desk.submit()
        assert len(set(self.driver.originated)) == 2
        assert self.store.reads == []

    def test_an_id_of_the_callers_own(self) -> None:
        """It is taken in lower case, and looked up."""
        upper = "2C4F781A-4825-4D09-A573-2D8689E5682B"
        assert self.accepted(upper.lower()).call.request_id == upper.lower()
        submission = self.told(self.desk.submit(request_id=upper))
        assert submission.replayed
        assert self.driver.originated == [upper.lower()]

    def test_refused_by_the_pbx(self) -> None:
        """Its words, unmodified."""
        submitted = self.desk.submit(request_id=ONE)
        self.driver.tells(ONE, OriginateRefused("Extension does not exist."))
        answer = self.told(submitted).answer
        assert answer == Answer((Fault(ErrorCode.PBX_ERROR, "Extension does not exist."),))

    def test_not_stored(self) -> None:
        """A disk that is full is no reason to place calls that nobody knows of."""
        self.store.hold_writes()
        submitted = self.desk.submit(request_id=ONE)
        self.store.fail()
        assert codes(self.told(submitted).answer) == ["internal_error"]
        self.store.release()
        assert self.driver.originated == []
        assert self.desk.call(ONE).outcome is Outcome.REJECTED


class Planned(IntakeTest):
    """A request to a PBX with a number plan."""

    KEY = evolve(CRM, allow=(parse_pattern("_1XX"), parse_pattern("_+49X.")), dial_as=None)

    def setUp(self) -> None:
        """Plan the numbers."""
        super().setUp()
        internal = (parse_pattern("_1XX"),)
        self.desk.number_plans["asterisk"] = NumberPlan(
            "DE", "national", outside="0", internal=internal
        )

    def test_dialled_as_the_plan_says(self) -> None:
        """The job says what was asked, and what the PBX is told where that differs."""
        job = self.accepted(
            ONE, self.KEY, dial_first="100", dial_second="+49 (0) 30 123456"
        ).call.job
        assert job is not None
        assert (job.dial_first, job.dial_second) == ("100", "+4930123456")
        assert (job.dialed_first, job.dialed_second) == (None, "0030123456")
        assert (job.first_as_dialed, job.second_as_dialed) == ("100", "0030123456")
        assert self.store.kept(ONE) == self.desk.call(ONE)

    def test_allowed_in_another_form(self) -> None:
        """Who may dial a number may write it as people do."""
        self.accepted(ONE, self.KEY, dial_second="030 123456")
        assert self.refused(self.KEY, dial_second="0012125550100") == ["not_allowed"]

    def test_a_key_s_own_plan(self) -> None:
        """Its callers write numbers as in their own country."""
        key = evolve(self.KEY, numbers=NumberPlan("US", "e164"))
        key = evolve(key, allow=(*key.allow, parse_pattern("_NXXNXXXXXX")))
        job = self.accepted(ONE, key, dial_second="212 555 0100").call.job
        assert job is not None
        assert job.dialed_second == "+12125550100"

    def test_two_readings(self) -> None:
        """Refused, with words."""
        submission = self.told(self.desk.submit(self.KEY, dial_second="+49 030 123456"))
        assert [fault.message for fault in submission.answer.faults] == [
            (
                "dial_second is not a number that can be dialled: the 0 behind its country code "
                "may be dialled or left out; write it as it is dialled from abroad."
            )
        ]
        assert self.driver.prepared == []

    def test_at_a_relay(self) -> None:
        """The agent beside the PBX has a plan of its own, so what it will dial is not known."""
        key = evolve(self.KEY, agent="pbx1", numbers=NumberPlan("DE", "international"))
        job = self.accepted(ONE, key, dial_second="030 123456").call.job
        assert job is not None
        assert (job.dial_second, job.dialed_second) == ("030123456", None)

    def test_the_same_request_again(self) -> None:
        """Also where the plan has changed meanwhile: it asks for the same."""
        self.accepted(ONE, self.KEY, dial_second="+4930123456")
        del self.desk.number_plans["asterisk"]
        again = self.told(self.desk.submit(self.KEY, request_id=ONE, dial_second="+4930123456"))
        assert again.replayed


class Refused(IntakeTest):
    """A request that never reaches the PBX."""

    def test_several_faults(self) -> None:
        """All that is wrong is said at once, in order: how it was sent, then what it says."""
        twice = Fault(ErrorCode.INVALID_PARAMETER, "'timeout' is given twice.")
        submission = self.told(
            self.desk.submit(CRM, (twice,), dial_first="", dial_second="x&y", timeout="soon")
        )
        assert [fault.message.split(" is ")[0] for fault in submission.answer.faults] == [
            "'timeout'",
            "dial_first",
            "dial_second",
            "timeout",
        ]
        assert codes(submission.answer) == ["invalid_parameter"] * 4
        assert submission.call.outcome is Outcome.REJECTED

    def test_faults_of_a_valid_job(self) -> None:
        """What was wrong with the sending refuses it, however well the rest can be read."""
        twice = Fault(ErrorCode.INVALID_PARAMETER, "'timeout' is given twice.")
        assert codes(self.told(self.desk.submit(CRM, (twice,))).answer) == ["invalid_parameter"]
        assert self.driver.prepared == []

    def test_not_allowed(self) -> None:
        """Both numbers and the identity are checked against the key's patterns."""
        assert self.refused(dial_first="300", dial_second="299", dial_as="200") == [
            "not_allowed",
            "not_allowed",
            "not_allowed",
        ]

    def test_a_pbx_that_is_not_configured(self) -> None:
        """It is named, and comes with whatever else is wrong."""
        submission = self.told(self.desk.submit(pbx="switchvox", dial_second="300"))
        assert [fault.message for fault in submission.answer.faults] == [
            "This key may not dial this dial_second.",
            "No switchvox PBX is configured here.",
        ]
        assert codes(submission.answer) == ["not_allowed", "unsupported_pbx"]

    def test_several_pbxs(self) -> None:
        """The key says which of the kind it is; after a restart the same one is asked."""
        self.desk = Desk("asterisk", "asterisk north", "switchvox hotel")
        self.clock, self.store = self.desk.clock, self.desk.store
        north = evolve(CRM, name="shop", pbx={"asterisk": "north"})
        for key, request_id in ((CRM, ONE), (north, TWO)):
            self.desk.submit(key, request_id=request_id)
        assert self.desk.drivers["asterisk"].originated == [ONE]
        assert self.desk.drivers["north"].originated == [TWO]
        assert self.desk.meter.running_on("north") == 1
        self.desk.restart()
        assert [call.request_id for call in self.desk.drivers["north"].adopted] == [TWO]
        assert self.desk.meter.running_on("north") == 1
        self.desk.dispatcher.observer_of("north").pbx_up()
        assert self.desk.drivers["asterisk"].settled == []
        assert self.desk.drivers["north"].settled == [TWO]
        self.desk.drivers["north"].tells(TWO, ENDED)
        assert self.desk.meter.running_on("north") == 0
        self.desk.drivers["asterisk"].tells(ONE, ENDED)

    def test_the_pbx_at_an_agent(self) -> None:
        """A relay's key names it: the job keeps it over a restart, and the status tells it."""
        self.desk = Desk("asterisk", "other", relayed=["asterisk", "other"])
        self.clock, self.store = self.desk.clock, self.desk.store
        key = evolve(CRM, agent="pbx1", pbx={"other": "south"})
        self.desk.submit(key, request_id=ONE, pbx="other")
        assert self.desk.drivers["other"].originated == [ONE]
        self.desk.restart()
        call = self.desk.call(ONE)
        assert call.job is not None
        assert (call.job.pbx_name, call.job.agent_pbx) == ("other", "south")
        assert call_summary(call)["pbx"] == "south"
        refused = self.told(self.desk.submit(key))
        assert codes(refused.answer) == ["not_allowed"]
        self.desk.drivers["other"].tells(ONE, ENDED)

    def test_the_pbx_that_a_key_names(self) -> None:
        """What it may not use, and what is not there, is refused; so is one call too many."""
        self.desk = Desk("asterisk north", "asterisk south", "switchvox hotel")
        self.clock, self.store = self.desk.clock, self.desk.store
        self.desk.meter.pbx_limits = {"south": 1}
        self.desk.number_plans["south"] = NumberPlan("DE", "national", outside="0")
        key = evolve(CRM, pbx={"asterisk": "south"}, allow=[parse_pattern("_X.")])
        self.desk.submit(key, request_id=ONE, dial_second="0049301234567")
        call = self.desk.call(ONE)
        assert call.job is not None
        assert (call.job.pbx, call.job.pbx_name) == ("asterisk", "south")
        assert call.job.dialed_second == "00301234567"  # by the plan of that PBX
        many = self.told(self.desk.submit(key, request_id=TWO))
        assert codes(many.answer) == ["too_many_calls"]
        other = self.told(self.desk.submit(key, pbx="switchvox"))
        assert codes(other.answer) == ["not_allowed"]
        assert self.desk.intake.method_of(other.call.job) == "switchvox.call"
        vague = self.told(self.desk.submit())
        assert codes(vague.answer) == ["unsupported_pbx"]
        self.desk.drivers["south"].tells(ONE, ENDED)

    def test_the_method_of_a_job_that_is_none(self) -> None:
        """It is of the kind that was asked for, if there is such a kind."""
        self.desk = Desk("asterisk", "switchvox hotel")
        method_of = self.desk.intake.method_of
        wrong = self.told(self.desk.submit(pbx="switchvox", timeout="soon"))
        assert wrong.call.job is None
        assert method_of(wrong.call.job, "switchvox") == "switchvox.call"
        assert method_of(None, "other") == "other.call"
        mistaken: list[object] = ["fax", None, ["other"], {}, 7]
        for asked in mistaken:
            assert method_of(None, asked) == "asterisk.call"

    def test_an_id_that_is_none(self) -> None:
        """It is stored under one of our own."""
        submission = self.told(self.desk.submit(request_id="17"))
        assert codes(submission.answer) == ["invalid_parameter"]
        assert self.store.kept(submission.call.request_id) is not None
        assert submission.call.request_id != "17"

    def test_expired(self) -> None:
        """Too old when it arrived: nobody is rung, and no call is counted."""
        assert self.refused(expires=str(EPOCH - 1)) == ["expired"]
        assert self.desk.call(self.store.saves[0].request_id).outcome is Outcome.EXPIRED
        assert self.driver.prepared == []

    def test_expired_while_the_plan_was_made(self) -> None:
        """Too old when its turn came."""
        self.driver.hold_plans()
        submitted = self.desk.submit(request_id=ONE, expires=EPOCH + 2)
        self.clock.advance(3)
        self.driver.make_plans()
        assert codes(self.told(submitted).answer) == ["expired"]
        assert self.desk.call(ONE).outcome is Outcome.EXPIRED
        assert self.driver.originated == []

    def test_in_time(self) -> None:
        """The second of its expiry still counts."""
        self.accepted(expires=EPOCH)

    def test_the_pbx_cannot_be_reached(self) -> None:
        """In the driver's words."""
        self.driver.reason = "The PBX cannot be reached at present."
        submission = self.told(self.desk.submit())
        assert submission.answer == Answer(
            (Fault(ErrorCode.PBX_UNAVAILABLE, "The PBX cannot be reached at present."),)
        )
        assert self.driver.prepared == []

    def test_unknown_dial_as(self) -> None:
        """What the driver finds out while it makes the plan."""
        self.driver.refusal = ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, "No such extension."))
        assert self.refused() == ["unknown_dial_as"]
        assert self.desk.meter.running == 0

    def test_a_mistake_while_the_plan_is_made(self) -> None:
        """The requester is told; the log has more; the next request finds no trace of it."""
        self.driver.refusal = ZeroDivisionError()
        assert self.refused() == ["internal_error"]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        assert self.desk.meter.running == 0

    def test_cancelled_while_the_plan_is_made(self) -> None:
        """The plan comes too late."""
        self.driver.hold_plans()
        submitted = self.desk.submit(request_id=ONE)
        self.desk.dispatcher.cancel(ONE)
        assert codes(self.told_once_planned(submitted)) == ["expired"]
        assert self.desk.call(ONE).outcome is Outcome.CANCELLED
        assert self.driver.originated == []
        assert self.desk.meter.running == 0

    def test_cancelled_while_the_store_is_asked(self) -> None:
        """Nothing more is done for it."""
        self.store.hold_reads()
        submitted = self.desk.submit(request_id=ONE)
        self.desk.dispatcher.cancel(ONE)
        self.store.answer()
        assert self.told(submitted).call.outcome is Outcome.CANCELLED
        assert self.driver.prepared == []

    def test_cancelled_while_the_store_is_asked_and_slow(self) -> None:
        """Nor where the store has not heard of the end yet, so that it knows no such call."""
        self.store.hold_reads()
        self.store.hold_writes()
        submitted = self.desk.submit(request_id=ONE)
        self.desk.dispatcher.cancel(ONE)
        self.store.answer()
        assert self.told(submitted).call.outcome is Outcome.CANCELLED
        assert self.driver.prepared == []
        self.store.commit()
        assert self.desk.call(ONE).outcome is Outcome.CANCELLED

    def told_once_planned(self, submitted: Deferred[Submission]) -> Answer:
        """What is told when the driver is ready."""
        self.driver.make_plans()
        return self.told(submitted).answer


class Closing(IntakeTest):
    """The agent stops: no new calls."""

    def test_refused(self) -> None:
        """Who asks now is told to ask again later; calls in progress go on."""
        self.accepted(ONE)
        self.desk.intake.close()
        submission = self.told(self.desk.submit())
        assert submission.answer == Answer(
            (Fault(ErrorCode.PBX_UNAVAILABLE, "The agent is shutting down."),)
        )
        assert self.desk.call(ONE).state is CallState.DIALING_FIRST

    def test_answered_again(self) -> None:
        """What was done before is still told."""
        self.accepted(ONE)
        self.desk.intake.close()
        assert self.told(self.desk.submit(request_id=ONE)).replayed

    def test_a_plan_that_is_still_being_made(self) -> None:
        """It comes too late: the order would leave when nobody listens any more."""
        self.driver.hold_plans()
        submitted = self.desk.submit(request_id=ONE)
        self.desk.intake.close()
        self.desk.dispatcher.stop()
        self.driver.make_plans()
        assert codes(self.told(submitted).answer) == ["pbx_unavailable"]
        assert self.driver.originated == []
        assert self.desk.call(ONE).outcome is Outcome.REJECTED


Step: TypeAlias = tuple[Any, ...]

#: How a call that was just placed may end: what happens to ONE, and its outcome.
ENDINGS: dict[str, tuple[list[Step], Outcome]] = {
    "accepted, then gone": (
        [("tell", ONE, OriginateAccepted()), ("tell", ONE, FirstRinging()), ("tell", ONE, ENDED)],
        Outcome.FIRST_BUSY,
    ),
    "refused": ([("tell", ONE, OriginateRefused("no"))], Outcome.PBX_ERROR),
    "not sent": ([("tell", ONE, OriginateUnsent("no"))], Outcome.REJECTED),
    "never answered": (
        [("tell", ONE, OriginateUnanswered("lost")), ("tell", ONE, LOST)],
        Outcome.UNKNOWN,
    ),
    "cancelled": ([("cancel", ONE), ("tell", ONE, LOST)], Outcome.CANCELLED),
    "settled after a lost link": (
        [("pbx_down",), ("pbx_up",), ("tell", ONE, Found()), ("tell", ONE, ENDED)],
        Outcome.FIRST_BUSY,
    ),
    "told twice": ([("tell", ONE, ENDED), ("tell", ONE, LOST)], Outcome.FIRST_BUSY),
    "not stored at its end": (
        [("hold_writes",), ("tell", ONE, ENDED), ("fail",), ("release",)],
        Outcome.FIRST_BUSY,
    ),
}


def take(desk: Desk, step: Step) -> None:
    """Let one thing happen at a desk."""
    what, *details = step
    does: dict[str, Callable[..., object]] = {
        "submit": partial(submit, desk),
        "tell": partial(tell, desk),
        "cancel": desk.dispatcher.cancel,
        "advance": desk.clock.advance,
        "pbx_up": desk.dispatcher.pbx_up,
        "pbx_down": lambda: desk.dispatcher.pbx_down("cut"),
        "hold_plans": desk.driver.hold_plans,
        "make_plans": desk.driver.make_plans,
        "restart": desk.restart,
        "killed_after_the_commit": partial(desk.restart, committed=True),
    }
    act = does[what] if what in does else getattr(desk.store, what)
    act(*details)


def submit(desk: Desk, key: Key, request_id: str, parameters: dict[str, Any]) -> None:
    """A request comes in; it may be told that the store cannot be read."""
    submitted = desk.submit(key, request_id=request_id, **parameters)
    submitted.addErrback(lambda failure: failure.trap(sqlite3.Error, StoreUnreadableError))


def tell(desk: Desk, request_id: str, event: LegEvent) -> None:
    """The PBX tells an event; none of an order that it was not given."""
    if request_id in desk.driver.originated:
        desk.driver.tells(request_id, event)


class Limits(IntakeTest):
    """Calls at once and calls a minute: taken once at the beginning, given back once at the end."""

    limits: ClassVar = {"max_concurrent": 3}
    key = Key(name="crm", sha256=CRM.sha256, allow=CRM.allow, max_concurrent=2, per_minute=4)

    def fill(self) -> None:
        """All that the key may have at once."""
        for number in range(2):
            self.accepted(uuid(100 + number), self.key)

    def test_of_the_key(self) -> None:
        """The third at once is one too many; another key still has room."""
        self.fill()
        assert self.refused(self.key) == ["too_many_calls"]
        self.accepted(ONE, SHOP)

    def test_of_all(self) -> None:
        """The PBX as a whole has its limit, too."""
        self.fill()
        self.accepted(ONE, SHOP)
        assert self.refused(SHOP) == ["too_many_calls"]

    def test_in_a_minute(self) -> None:
        """The fifth in a minute is one too many; the answer says when to come again."""
        for number in range(4):
            self.accepted(uuid(number), self.key)
            self.driver.tells(uuid(number), ENDED)
            self.clock.advance(10)
        submission = self.told(self.desk.submit(self.key))
        assert codes(submission.answer) == ["rate_limited"]
        assert submission.retry_after == 20
        self.clock.advance(20)
        self.accepted(uuid(5), self.key)

    def test_given_back_once(self) -> None:
        """However a call ends, the key may place exactly one more, and never two."""
        for name, (steps, outcome) in ENDINGS.items():
            self.desk = Desk(max_concurrent=3)
            self.clock, self.store = self.desk.clock, self.desk.store
            self.accepted(TWO, self.key)
            self.desk.submit(self.key, request_id=ONE)
            for step in steps:
                take(self.desk, step)
            assert self.desk.call(ONE).outcome is outcome, name
            assert self.desk.meter.running == 1, name
            self.accepted(uuid(3), self.key)
            assert codes(self.told(self.desk.submit(self.key)).answer) == ["too_many_calls"], name

    def test_not_taken_by_what_is_refused(self) -> None:
        """A PBX that is away, a number that is denied, a job that is late: none of them counts."""
        self.driver.reason = "away"
        for _ in range(10):
            assert self.refused(self.key) == ["pbx_unavailable"]
            assert self.refused(self.key, dial_first="300") == ["not_allowed"]
            assert self.refused(self.key, expires=EPOCH - 1) == ["expired"]
        self.driver.reason = None
        self.fill()

    def test_not_taken_by_an_answer_from_memory(self) -> None:
        """To ask again costs nothing."""
        self.fill()
        for _ in range(10):
            assert self.told(self.desk.submit(self.key, request_id=uuid(100))).replayed

    def test_not_taken_for_a_day_by_what_is_refused_late(self) -> None:
        """What was dialled while its plan was made counts on."""
        key = evolve(CRM, per_day=2)
        self.driver.hold_plans()
        slow = self.desk.submit(key)
        self.clock.advance(65)
        self.driver._plans_held = False
        self.accepted(ONE, key)
        self.driver.tells(ONE, ENDED)
        self.driver.refusal = ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, "No such extension."))
        self.driver.make_plans()
        assert codes(self.told(slow).answer) == ["unknown_dial_as"]
        self.driver.refusal = None
        self.clock.advance(5)
        self.accepted(TWO, key)
        self.driver.tells(TWO, ENDED)
        self.clock.advance(DAY - 69)  # both are less than a day ago
        assert codes(self.told(self.desk.submit(key)).answer) == ["rate_limited"]

    def test_over_a_restart(self) -> None:
        """Calls that went on count again; their end gives their place back."""
        self.fill()
        self.desk.restart()
        assert self.refused(self.key) == ["too_many_calls"]
        self.driver.tells(uuid(100), ENDED)
        self.accepted(ONE, self.key)


class Again(IntakeTest):
    """The same request_id again: answered from what is known, and nothing is dialled."""

    def assert_replayed(self, submitted: Deferred[Submission], *faults: str) -> None:
        """Told what the first was told."""
        submission = self.told(submitted)
        assert submission.replayed
        assert submission.call.request_id == ONE
        assert codes(submission.answer) == list(faults)

    def assert_conflict(self, submitted: Deferred[Submission]) -> None:
        """Told that the id is another call's."""
        submission = self.told(submitted)
        assert not submission.replayed
        assert codes(submission.answer) == ["request_id_conflict"]

    def again(self) -> list[Deferred[Submission]]:
        """The same request, and two that only have its id: other numbers, another key."""
        return [
            self.desk.submit(request_id=ONE),
            self.desk.submit(request_id=ONE, dial_second="201"),
            self.desk.submit(SHOP, request_id=ONE),
        ]

    def assert_told_apart(self, submitted: list[Deferred[Submission]], *faults: str) -> None:
        """The same is answered as the first was; the others conflict."""
        same, other_numbers, other_key = submitted
        self.assert_replayed(same, *faults)
        self.assert_conflict(other_numbers)
        self.assert_conflict(other_key)

    def test_while_the_store_is_asked(self) -> None:
        """Nobody knows yet whether the first is new; the others wait for what becomes of it."""
        self.store.hold_reads()
        first = self.desk.submit(request_id=ONE)
        again = self.again()
        self.store.answer()
        self.driver.tells(ONE, OriginateAccepted())
        assert not self.told(first).replayed
        self.assert_told_apart(again)
        assert self.store.reads == [ONE]
        assert self.driver.originated == [ONE]

    def test_while_the_store_is_asked_about_one_that_has_ended(self) -> None:
        """Whatever happens meanwhile, that one has ended, and nobody is told of a second end."""
        happens: list[Callable[[], object]] = [
            lambda: self.desk.dispatcher.cancel(ONE),
            self.desk.dispatcher.hang_up_all,
            lambda: self.driver.tells(ONE, LOST),
        ]
        self.accepted(ONE)
        self.driver.tells(ONE, ENDED)
        saves, reports = list(self.store.saves), list(self.store.reports)
        for happening in happens:
            self.store.hold_reads()
            again = self.again()
            happening()
            self.store.release()
            self.assert_told_apart(again)
            assert (self.store.saves, self.store.reports) == (saves, reports)
        assert self.desk.call(ONE).outcome is Outcome.FIRST_BUSY
        assert self.driver.hung_up == []

    def test_while_the_plan_is_made(self) -> None:
        """They wait for the first, too."""
        self.driver.hold_plans()
        self.desk.submit(request_id=ONE)
        again = self.again()
        self.driver.make_plans()
        self.driver.tells(ONE, OriginateRefused("no"))
        self.assert_told_apart(again, "pbx_error")
        assert self.driver.prepared == self.driver.originated == [ONE]

    def test_while_it_is_being_stored(self) -> None:
        """One commit, one order."""
        self.store.hold_writes()
        self.desk.submit(request_id=ONE)
        again = self.again()
        assert self.driver.originated == []
        self.store.release()
        self.driver.tells(ONE, OriginateAccepted())
        self.assert_told_apart(again)
        assert self.driver.originated == [ONE]

    def test_while_it_waits_for_the_pbx(self) -> None:
        """The answer to the first is the answer to all."""
        self.desk.submit(request_id=ONE)
        again = self.again()
        for waiting in again:
            self.assertNoResult(waiting)
        self.driver.tells(ONE, OriginateAccepted())
        self.assert_told_apart(again)
        assert self.driver.originated == [ONE]

    def test_while_it_goes_on(self) -> None:
        """The answer is known, and given at once."""
        self.accepted(ONE)
        self.driver.tells(ONE, FirstRinging(), FirstAnswered(), SecondAnswered())
        self.assert_told_apart(self.again())
        assert self.driver.originated == [ONE]

    def test_when_it_has_ended(self) -> None:
        """It is in the store only, and answered from there."""
        self.accepted(ONE)
        self.driver.tells(ONE, ENDED)
        assert self.desk.dispatcher.active(ONE) is None
        self.assert_told_apart(self.again())
        assert self.desk.dispatcher.active(ONE) is None
        assert self.driver.originated == [ONE]

    def test_when_its_end_could_not_be_stored(self) -> None:
        """It is in memory only, and answered from there."""
        self.accepted(ONE)
        self.store.hold_writes()
        self.driver.tells(ONE, ENDED)
        self.store.fail()
        self.assert_told_apart(self.again())
        assert self.driver.originated == [ONE]

    def test_when_it_was_refused(self) -> None:
        """Also a request that was wrong is answered again as it was; and so is a corrected one."""
        assert self.refused(request_id=ONE, dial_first="", note="x") == ["invalid_parameter"]
        self.assert_replayed(
            self.desk.submit(note="x", dial_first="", request_id=ONE), "invalid_parameter"
        )
        self.assert_conflict(self.desk.submit(request_id=ONE))
        assert self.driver.originated == []

    def test_when_it_was_not_allowed(self) -> None:
        """What a key may has changed meanwhile: the answer has not."""
        assert self.refused(request_id=ONE, dial_second="300") == ["not_allowed"]
        self.assert_replayed(self.desk.submit(request_id=ONE, dial_second="300"), "not_allowed")
        assert self.driver.originated == []

    def test_after_a_restart(self) -> None:
        """The new process knows what the old one did, for what goes on and for what has ended."""
        for events in ((), (FirstRinging(),), (ENDED,)):
            self.desk = Desk()
            self.clock, self.store = self.desk.clock, self.desk.store
            self.accepted(ONE)
            self.driver.tells(ONE, *events)
            self.desk.restart()
            self.assert_told_apart(self.again())
            self.desk.dispatcher.pbx_up()
            self.desk.end_all()
            self.assert_told_apart(self.again())
            assert self.driver.originated == [ONE]

    def test_after_a_restart_in_the_middle_of_an_order(self) -> None:
        """Whether it left is not known; it is found out, and not sent again."""
        self.desk.submit(request_id=ONE)
        self.desk.restart()
        again = self.again()
        for waiting in again:
            self.assertNoResult(waiting)
        self.driver.tells(ONE, Found())
        self.assert_told_apart(again)
        assert self.driver.originated == [ONE]

    def test_after_a_restart_before_the_commit(self) -> None:
        """Nothing was stored, so nothing was sent: it is a new request."""
        self.store.hold_writes()
        self.desk.submit(request_id=ONE)
        self.desk.restart()
        self.store.release()
        assert not self.accepted(ONE).replayed
        assert self.driver.originated == [ONE]

    def test_written_otherwise(self) -> None:
        """The same call in other words is the same call."""
        self.accepted(ONE, dial_as="100", timeout="30")
        self.assert_replayed(
            self.desk.submit(request_id=ONE, dial_first="1-00", dial_second="(200)", timeout=30)
        )
        self.assert_conflict(self.desk.submit(request_id=ONE, timeout=31))

    def test_after_a_reload(self) -> None:
        """It is the same request, whatever it leaves to the configuration."""
        self.accepted(ONE)
        self.accepted(TWO)
        self.driver.tells(TWO, ENDED)
        self.desk.intake.change(CallsConfig(timeout=25))
        key = evolve(CRM, confirm=True, auto_answer="call-info", auto_answer_always=True)
        for request_id in (ONE, TWO):
            assert self.told(self.desk.submit(request_id=request_id)).replayed
            assert self.told(self.desk.submit(key, request_id=request_id)).replayed
        self.assert_told_apart(self.again())
        self.assert_conflict(self.desk.submit(request_id=ONE, timeout=24))
        assert self.driver.originated == [ONE, TWO]

    def test_after_a_reload_that_would_refuse_it(self) -> None:
        """It was not refused when it was made."""
        self.accepted(ONE, timeout=100)
        self.desk.intake.change(CallsConfig(max_timeout=60))
        self.assert_replayed(self.desk.submit(request_id=ONE, timeout=100))
        self.assert_conflict(self.desk.submit(request_id=ONE, timeout=101))

    def test_a_thousand_at_once(self) -> None:
        """One is placed; all get its answer."""
        self.store.hold_reads()
        self.store.hold_writes()
        submitted = [self.desk.submit(request_id=ONE) for _ in range(1000)]
        self.store.answer()
        submitted += [self.desk.submit(request_id=ONE) for _ in range(1000)]
        self.store.release()
        self.driver.tells(ONE, OriginateAccepted())
        told = [self.told(each) for each in submitted]
        assert [each.replayed for each in told].count(False) == 1
        assert all(each.answer == Answer() for each in told)
        assert self.driver.originated == [ONE]
        assert self.desk.meter.running == 1

    def test_a_cancelled_one(self) -> None:
        """It does not come to life again."""
        self.desk.submit(request_id=ONE)
        self.desk.dispatcher.cancel(ONE)
        self.driver.tells(ONE, Gone(CallEvidence(first=LegEvidence(status="CANCEL"))))
        self.assert_replayed(self.desk.submit(request_id=ONE))
        assert self.driver.originated == [ONE]


class SecondClick(IntakeTest):
    """The same two numbers again, within the window of their key."""

    KEY = evolve(CRM, repeat_window=5)

    def again(self, key: Key = KEY, /, **parameters: Any) -> Submission:
        """Another request, without an id or with one of its own."""
        submission = self.told(self.desk.submit(key, **parameters))
        assert self.driver.originated == [ONE]
        return submission

    def test_while_the_pbx_is_asked(self) -> None:
        """A double click is one call, and both are told the same."""
        first = self.desk.submit(self.KEY, request_id=ONE)
        second = self.desk.submit(self.KEY)
        third = self.desk.submit(self.KEY, request_id=TWO, timeout=5)
        self.assertNoResult(second)
        self.driver.tells(ONE, OriginateAccepted())
        for submission in (self.told(second), self.told(third)):
            assert submission.call.request_id == ONE
            assert submission.replayed
            assert codes(submission.answer) == []
        assert not self.told(first).replayed
        assert self.driver.originated == [ONE]
        assert self.store.kept(TWO) is None

    def test_while_the_store_is_asked(self) -> None:
        """Also before anybody knows whether the first was made before."""
        self.store.hold_reads()
        first, second = self.desk.submit(self.KEY, request_id=ONE), self.desk.submit(self.KEY)
        self.store.release()
        self.driver.tells(ONE, OriginateAccepted())
        assert self.told(second).call.request_id == self.told(first).call.request_id == ONE

    def test_when_it_has_ended(self) -> None:
        """A busy phone is not rung again by a second click; after the window it is."""
        self.accepted(ONE, self.KEY)
        self.driver.tells(ONE, ENDED)
        self.clock.advance(4.9)
        assert self.again().replayed
        self.clock.advance(0.2)
        self.accepted(TWO, self.KEY)
        assert self.driver.originated == [ONE, TWO]

    def test_after_a_restart(self) -> None:
        """The store knows of it."""
        self.accepted(ONE, self.KEY)
        self.desk.restart()
        assert self.again(self.KEY, request_id=TWO).call.request_id == ONE
        assert self.again().replayed

    def test_after_a_refusal(self) -> None:
        """That was no call; nor is a request that is refused."""
        self.driver.reason = "The PBX cannot be reached at present."
        assert codes(self.told(self.desk.submit(self.KEY)).answer) == ["pbx_unavailable"]
        self.driver.reason = None
        self.accepted(ONE, self.KEY)
        faults = (Fault(ErrorCode.INVALID_PARAMETER, "x"),)
        assert codes(self.told(self.desk.submit(self.KEY, faults)).answer) == ["invalid_parameter"]

    def test_another_call(self) -> None:
        """Other numbers, another key, or a key without a window."""
        self.accepted(ONE, self.KEY)
        self.accepted(TWO, self.KEY, dial_second="201")
        self.accepted(uuid(3), evolve(SHOP, repeat_window=5))
        self.accepted(uuid(4), CRM)

    def test_where_others_use_the_store(self) -> None:
        """A click that came to another process is the same."""
        desk = self.desk = Desk(shared=True)
        self.clock, self.store = desk.clock, desk.store
        desk.submit(self.KEY, request_id=ONE)
        self.driver.tells(ONE, OriginateAccepted())
        call = evolve(desk.call(ONE), server_id="other")
        other = self.desk = Desk(shared=True)
        self.clock, self.store = other.clock, other.store
        other.store.put(call)
        second = self.told(other.submit(self.KEY, request_id=TWO))
        assert (second.call.request_id, second.replayed) == (ONE, True)
        assert other.driver.originated == []
        assert other.store.cancels == []

    def test_nothing_is_kept_for_long(self) -> None:
        """What is beyond its window is forgotten with the next."""
        for number in range(3):
            self.accepted(uuid(number), self.KEY, dial_second=f"20{number}")
            self.clock.advance(3)
        assert len(self.desk.intake._repeats._taken) == 2


class Unwritable(IntakeTest):
    """The disk is full, and stays so."""

    def fill(self) -> None:
        """As many requests are refused as are kept in memory."""
        self.accepted(ONE)
        self.driver.tells(ONE, ENDED)
        self.store.hold_writes()
        for number in range(1000):
            submission = self.told(self.desk.submit(one_of_many(number), pbx="other"))
            assert codes(submission.answer) == ["unsupported_pbx"]
            self.store.fail()

    def kept_in_memory(self) -> int:
        """How many calls are."""
        return sum(self.desk.dispatcher.states.values())

    def test_what_is_kept(self) -> None:
        """So many, and no more; what comes beyond is told so, and is known no more than before."""
        self.fill()
        for asked in ({}, {"request_id": TWO}, {"pbx": "other"}):
            submission = self.told(self.desk.submit(**asked))
            assert (codes(submission.answer), submission.kept) == (["internal_error"], False)
        assert self.kept_in_memory() == 1000
        assert self.desk.dispatcher.active(TWO) is None
        assert self.driver.prepared == [ONE]

    def test_what_was_made_before(self) -> None:
        """It is answered again, for the disk can be read."""
        self.fill()
        assert self.told(self.desk.submit(request_id=ONE)).replayed

    def test_when_there_is_room_again(self) -> None:
        """All is stored, and requests are taken as ever."""
        self.fill()
        self.store.release()
        self.clock.advance(5)
        assert self.kept_in_memory() == self.desk.dispatcher.unstored == 0
        self.accepted(TWO)


class Hanging(IntakeTest):
    """The disk hangs: it fails nothing, and stores nothing."""

    def test_refusals(self) -> None:
        """Those that wait for it count, too; what is beyond is told so, and not kept."""
        self.store.hold_writes()
        for number in range(1000):
            assert self.told(self.desk.submit(one_of_many(number), dial_first="300")).kept
        assert self.desk.dispatcher.unstored == 0  # none has failed
        for _ in range(3):
            submission = self.told(self.desk.submit(dial_first="300"))
            assert (codes(submission.answer), submission.kept) == (["internal_error"], False)
        assert len(self.store.waiting) == sum(self.desk.dispatcher.states.values()) == 1000
        self.store.release()
        assert self.desk.dispatcher.states == {}
        self.accepted(TWO)

    def test_questions(self) -> None:
        """So do those of which the store does not say whether they were made before."""
        self.store.hold_reads()
        for number in range(1000):
            self.assertNoResult(self.desk.submit(one_of_many(number), request_id=uuid(number + 5)))
        for asked in ({}, {"request_id": TWO}):
            submission = self.told(self.desk.submit(**asked))
            assert (codes(submission.answer), submission.kept) == (["internal_error"], False)
        assert len(self.store.reads) == 1000


class Flood(IntakeTest):
    """A key whose requests are refused, again and again."""

    def refuse(self, count: int, **parameters: Any) -> list[Submission]:
        """Refuse so many requests."""
        return [self.told(self.desk.submit(**parameters)) for _ in range(count)]

    def assert_only_answered(self, submission: Submission, code: str) -> None:
        """It was refused, and nothing of it is kept."""
        assert (set(codes(submission.answer)), submission.kept) == ({code}, False)
        assert self.store.kept(submission.call.request_id) is None
        assert self.desk.dispatcher.active(submission.call.request_id) is None

    def test_beyond_the_cap(self) -> None:
        """Sixty in a minute are stored, of each key; those beyond are answered in the same way."""
        for refused in (
            {"dial_first": "300"},
            {"dial_second": "x" * 60_000},
            {"expires": "1"},
        ):
            self.clock.advance(61)
            before = len(self.store.all_kept())
            submissions = self.refuse(62, **refused)
            assert len(self.store.all_kept()) == before + 60
            assert [one.kept for one in submissions] == [True] * 60 + [False] * 2
            for one in submissions[60:]:
                self.assert_only_answered(one, codes(submissions[0].answer)[0])
                assert one.answer == submissions[0].answer
        assert self.told(self.desk.submit(SHOP, dial_first="")).kept  # another key
        assert self.driver.prepared == []

    def test_limits(self) -> None:
        """What the limits refuse counts, too, and what the PBX cannot place."""
        key = evolve(CRM, per_minute=1)
        self.accepted(ONE, key)
        submissions = [self.told(self.desk.submit(key)) for _ in range(61)]
        assert [one.retry_after for one in submissions] == [60] * 61
        self.assert_only_answered(submissions[-1], "rate_limited")
        self.driver.refusal = ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, "Who?"))
        self.assert_only_answered(self.told(self.desk.submit()), "unknown_dial_as")
        assert self.desk.meter.running == 1

    def test_a_minute_later(self) -> None:
        """They are stored again."""
        self.refuse(61, dial_first="300")
        self.clock.advance(61)
        assert self.told(self.desk.submit(dial_first="300")).kept

    def test_what_is_placed(self) -> None:
        """It is not held back, for it is no refusal."""
        self.refuse(61, dial_first="300")
        self.accepted(ONE)

    def test_what_was_made_before(self) -> None:
        """It is answered again."""
        self.accepted(ONE)
        self.driver.tells(ONE, ENDED)
        self.desk.submit(dial_first="300", request_id=TWO)
        self.refuse(61, dial_first="300")
        assert self.told(self.desk.submit(dial_first="300", request_id=TWO)).replayed
        self.desk.stopped = True
        assert self.told(self.desk.submit(request_id=ONE)).replayed

    def test_what_the_store_cannot_be_asked_of(self) -> None:
        """It is refused, and not kept."""
        self.refuse(60, dial_first="300")
        self.store.hold_reads()
        submitted = self.desk.submit(dial_first="300", request_id=TWO)
        self.store.fail_reads(StoreError("no"))
        self.assert_only_answered(self.told(submitted), "not_allowed")

    def test_what_has_to_be_kept(self) -> None:
        """A job of a broker: somebody waits for the event that tells of its end."""
        self.refuse(61, dial_first="300")
        submitted = Deferred.fromCoroutine(
            self.desk.intake.submit(
                CRM, {"dial_first": "300"}, url="amqp:x", method="AMQP", must_keep=True
            )
        )
        assert self.told(submitted).kept


class KeptData(IntakeTest):
    """What is kept of a request's parameters."""

    SECRET = "c2c_0123456789"

    def kept(self, **parameters: Any) -> Submission:
        """A request with a secret, of which nothing that is kept has it."""
        parameters = {"dial_first": "100", "dial_second": "200", **parameters}
        fault = Fault(ErrorCode.INVALID_PARAMETER, f"'{self.SECRET}' is given twice.")
        submitted = Deferred.fromCoroutine(
            self.desk.intake.submit(
                CRM,
                parameters,
                (fault,),
                url=f"http://{self.SECRET}/c2c/v2",
                method="POST",
                secrets={self.SECRET, "1"},
            )
        )
        submission = self.told(submitted)
        assert self.SECRET not in dump(self.store.all_kept()[-1])
        assert self.SECRET not in repr(self.store.reports)
        return submission

    def test_no_secret(self) -> None:
        """Wherever it stands: it is looked for, and replaced."""
        call = self.kept(dial_first=f"x{self.SECRET}y", timeout=[{self.SECRET: self.SECRET}]).call
        assert call.received.data["dial_first"] == "x[key]y"
        assert call.received.data["timeout"] == [{"[key]": "[key]"}]
        assert call.received.url == "http://[key]/c2c/v2"
        assert call.answer is not None
        assert call.answer.faults[0].message == "'[key]' is given twice."

    def test_a_secret_that_is_too_short(self) -> None:
        """It may be a part of any number: so it is not looked for."""
        assert self.kept(dial_first="101").call.received.data["dial_first"] == "101"

    def test_bounded(self) -> None:
        """A few kilobytes, whatever was sent; the same request is the same even so."""
        long: dict[str, Any] = dict.fromkeys(PARAMETERS - {"request_id"}, "x" * 60_000)
        long |= {"pbx": ["y" * 60_000], "unknown": "z", "x" * 60_000: "z"}
        call = self.told(self.desk.submit(**long, request_id=ONE)).call
        assert len(dump(call)) < 20_000
        assert set(call.received.data) == PARAMETERS | {"api_key"}
        assert len(json.dumps(call.received.data)) < 4_000
        assert self.told(self.desk.submit(**long, request_id=ONE)).replayed
        other = self.told(self.desk.submit(**{**long, "timeout": "5"}, request_id=ONE))
        assert codes(other.answer) == ["request_id_conflict"]


class Unreadable(IntakeTest):
    """The store cannot say whether a request was made before: then nothing is dialled for it."""

    def setUp(self) -> None:
        """Let the disk be asked."""
        super().setUp()
        self.store.hold_reads()

    def test_all_who_wait_are_told(self) -> None:
        """The first hears what the disk says, the others that it could not be asked."""
        first = self.desk.submit(request_id=ONE)
        again = [self.desk.submit(request_id=ONE), self.desk.submit(SHOP, request_id=ONE)]
        self.store.fail_reads()
        self.failureResultOf(first, type(DISK_BROKEN))
        for waiting in again:
            self.failureResultOf(waiting, StoreUnreadableError)
        assert self.driver.prepared == []
        assert self.desk.meter.running == 0
        assert self.desk.dispatcher.active(ONE) is None

    def test_asked_again_later(self) -> None:
        """Nothing was done and nothing remembered: the next try is as good as new."""
        self.failing(self.desk.submit(request_id=ONE))
        self.store.release()
        self.accepted(ONE)
        assert self.driver.originated == [ONE]

    def failing(self, submitted: Deferred[Submission]) -> None:
        """Let the disk fail for a request."""
        self.store.fail_reads()
        self.failureResultOf(submitted, sqlite3.OperationalError)


LEG_EVENTS: list[LegEvent] = [
    OriginateAccepted(),
    OriginateRefused("no"),
    OriginateUnsent("no"),
    OriginateUnanswered("lost"),
    FirstRinging(),
    FirstAnswered(),
    SecondDialed(30),
    SecondRinging(),
    SecondAnswered(),
    Found(),
    ENDED,
    LOST,
]

REQUESTS = st.tuples(
    st.just("submit"),
    st.sampled_from([CRM, SHOP]),
    st.sampled_from([ONE, TWO]),
    st.sampled_from([{}, {"dial_second": "201"}, {"dial_first": ""}, {"expires": EPOCH + 2}]),
)

STEPS: st.SearchStrategy[Step] = st.one_of(
    REQUESTS,
    REQUESTS,
    st.tuples(st.just("tell"), st.sampled_from([ONE, TWO]), st.sampled_from(LEG_EVENTS)),
    st.tuples(st.just("cancel"), st.sampled_from([ONE, TWO])),
    st.tuples(st.just("advance"), st.sampled_from([1, 6, 40, 4000])),
    st.tuples(st.sampled_from(["hold_writes", "commit", "fail"])),
    st.tuples(st.sampled_from(["hold_reads", "answer", "fail_reads"])),
    st.tuples(st.sampled_from(["hold_plans", "make_plans", "pbx_up", "pbx_down"])),
    st.tuples(st.sampled_from(["restart", "killed_after_the_commit"])),
)


class AutoAnswers(IntakeTest):
    """`auto_answer`, as the key has it."""

    KEY = evolve(CRM, auto_answer="call-info")

    def test_part_of_the_call(self) -> None:
        """A repeated request that wants it otherwise is another call."""
        self.desk.submit(self.KEY, request_id=ONE, auto_answer="true")
        self.driver.tells(ONE, OriginateAccepted())
        job = self.desk.call(ONE).job
        assert job is not None
        assert job.auto_answer == "call-info"
        again = self.successResultOf(self.desk.submit(self.KEY, request_id=ONE, auto_answer=True))
        assert again.replayed
        otherwise = self.successResultOf(self.desk.submit(self.KEY, request_id=ONE))
        assert codes(otherwise.answer) == ["request_id_conflict"]

    def test_confirm(self) -> None:
        """As the key has it; and part of the call, too."""
        careful = evolve(CRM, confirm=True)
        self.desk.submit(careful, request_id=ONE)
        self.driver.tells(ONE, OriginateAccepted())
        job = self.desk.call(ONE).job
        assert job is not None
        assert job.confirm
        for other in (False, "auto"):
            otherwise = self.successResultOf(
                self.desk.submit(careful, request_id=ONE, confirm=other)
            )
            assert codes(otherwise.answer) == ["request_id_conflict"]

    def test_not_allowed(self) -> None:
        """A key without a profile: refused, and stored as that."""
        refused = self.successResultOf(self.desk.submit(request_id=ONE, auto_answer="true"))
        assert codes(refused.answer) == ["not_allowed"]
        assert self.driver.originated == []


class NeverTwice(DeskTest):
    """Whatever happens, in whatever order: at most one order, and exactly one end."""

    @pytest.mark.breach(required=False)  # any order has such as no driver keeps to
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, max_size=30))
    def test_any_order_of_events(self, steps: list[Step]) -> None:
        """Duplicates, full disks, cancels, lost links, restarts: no phone rings twice for it.

        The fake driver itself insists that an order is not sent before its call is durable, nor
        after its end.
        """
        desk = Desk()
        outcomes: dict[str, Outcome | None] = {}
        for step in steps:
            take(desk, step)
            assert len(set(desk.driver.originated)) == len(desk.driver.originated)
            assert 0 <= desk.meter.running <= len({ONE, TWO})
            for call in desk.store.all_kept():
                assert outcomes.get(call.request_id) in {None, call.outcome}, "a final outcome"
                outcomes[call.request_id] = call.outcome
        desk.end_all()
        assert desk.dispatcher.active(ONE) is desk.dispatcher.active(TWO) is None
        assert all(call.outcome is not None for call in desk.store.all_kept())
        assert desk.dispatcher.in_progress == 0
        assert desk.meter.running == 0
        assert desk.clock.getDelayedCalls() == []
        assert len(set(desk.driver.originated)) == len(desk.driver.originated)
        assert self.flushLoggedErrors() == []
