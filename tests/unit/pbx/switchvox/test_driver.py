"""The Switchvox driver over the double, in memory: what is told of every story, and of faults."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, get_args

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import Call, CallState, OriginatePlan
from c2c_agent.call.events import (
    Cancel,
    Gone,
    GuardExpired,
    HangUp,
    LegEvent,
    OriginateFailed,
    OriginateUnsent,
    Place,
    Settle,
)
from c2c_agent.call.evidence import LegEvidence, Source
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.errors import ApiError, ErrorCode
from c2c_agent.errors import Fault as RequestFault
from c2c_agent.net.http_auth import Credentials
from c2c_agent.pbx.driver import PlacedCall
from c2c_agent.pbx.switchvox.client import ExtendClient
from c2c_agent.pbx.switchvox.driver import SwitchvoxDriver
from tests.fake_switchvox import FakeSwitchvox, Fault, Story
from tests.playbook import a_call

ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
OUTSIDE = "5554578299"

LIST = "switchvox.currentCalls.getList"
CALL = "switchvox.call"
HANG_UP = "switchvox.currentCalls.hangUp"
SEARCH = "switchvox.callLogs.search"

CONFIG = SwitchvoxConfig("https://pbx.example.com", "c2c-agent", "/nowhere")


def a_job(first: str = "101", second: str = OUTSIDE, **fields: Any) -> CallJob:
    """A wanted call."""
    return CallJob(first, second, fields.pop("dial_as", "101"), 30, pbx="switchvox", **fields)


class Machines:
    """The observer: drives a machine for each call, as the dispatcher does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.calls: dict[str, Call] = {}
        self.told: dict[str, list[LegEvent]] = {}
        self.story: list[str] = []
        self.driver: SwitchvoxDriver
        self.guards: dict[str, float] = {}

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        """Let it happen."""
        self.told.setdefault(request_id, []).append(event)
        self.apply(request_id, event)

    def apply(self, request_id: str, event: Any) -> None:
        """Let any event happen to a call, and do what follows."""
        call = self.calls[request_id]
        self.calls[request_id], commands, breach = step(call, event, self._clock.seconds())
        assert not breach, f"{event} in {call.state}"
        for command in commands:
            if isinstance(command, HangUp):
                self.driver.hang_up(request_id)
            elif isinstance(command, Settle):
                self.driver.settle([request_id])

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        """No PBX of this kind asks."""
        raise AssertionError(request_id)

    async def until_stored(self, request_id: str) -> bool:
        """Nobody asks."""
        raise AssertionError(request_id)

    async def has_ended(self, request_id: str) -> bool:
        """Nobody asks."""
        raise AssertionError(request_id)

    def pbx_up(self) -> None:
        """Settle every call, as the dispatcher does."""
        self.story.append("up")
        going = [one for one, call in self.calls.items() if call.state is not CallState.ENDED]
        self.driver.settle(going)

    def pbx_down(self, reason: str) -> None:
        """Note it."""
        assert reason
        self.story.append("down")


class DriverTestCase(SynchronousTestCase):
    config = CONFIG

    def setUp(self) -> None:
        self.begin()

    def begin(self, **settings: Any) -> None:
        """A new double, and a driver before it."""
        self.clock = Clock()
        self.fake = FakeSwitchvox(self.clock)
        self.watcher = Machines(self.clock)
        self.driver = self.start(**settings)

    def tearDown(self) -> None:
        self.fake.hang_up_all()
        self.pass_time(120)
        assert self.clock.getDelayedCalls() == [], self.clock.getDelayedCalls()

    def start(self, **settings: Any) -> SwitchvoxDriver:
        """A driver that is up."""
        driver = self.make(**settings)
        driver.start()
        return driver

    def make(self, **settings: Any) -> SwitchvoxDriver:
        """A driver."""
        self.client = ExtendClient(
            self.fake.send,
            Credentials(self.fake.username, self.fake.password),
            proof="switchvox.info.getList",
            wanted="auto",
            seconds=self.clock.seconds,
            new_word=lambda: "word",
        )
        config = evolve(self.config, **settings)
        driver = SwitchvoxDriver(config, self.client, clock=self.clock, now=self.clock.seconds)
        driver.observer = self.watcher
        self.watcher.driver = driver
        return driver

    def pass_time(self, seconds: float) -> None:
        """Second by second."""
        self.clock.pump([1] * round(seconds))

    def plan(self, job: CallJob | None = None, request_id: str = ID) -> OriginatePlan:
        """The plan of a call."""
        preparing = Deferred.fromCoroutine(self.driver.prepare(request_id, job or a_job()))
        plan: OriginatePlan = self.successResultOf(preparing)
        return plan

    def place(self, job: CallJob | None = None, request_id: str = ID) -> None:
        """Place a call."""
        plan = self.plan(job, request_id)
        call = a_call(request_id=request_id, job=job or a_job(), max_duration=14400)
        self.watcher.calls[request_id] = call
        self.watcher.apply(request_id, Place(plan))
        self.driver.originate(request_id, plan)

    def call(self, request_id: str = ID) -> Call:
        """A call as it is."""
        return self.watcher.calls[request_id]

    def told(self, request_id: str = ID) -> list[str]:
        """What was told of a call."""
        return [type(event).__name__ for event in self.watcher.told.get(request_id, [])]


class StoryTest(DriverTestCase):
    def test_they_talk(self) -> None:
        self.fake.stories = {"101": Story(4.0), OUTSIDE: Story(6.0, talks=10.0)}
        self.place()
        self.pass_time(3)
        self.assertEqual(self.call().state, CallState.FIRST_RINGING)
        self.pass_time(3)
        self.assertEqual(self.call().state, CallState.DIALING_SECOND)
        self.assertEqual(self.call().answer and self.call().answer.faults, ())  # type: ignore[union-attr]
        self.pass_time(6)
        self.assertEqual(self.call().state, CallState.CONNECTED)
        self.pass_time(20)
        call = self.call()
        self.assertEqual(call.outcome, Outcome.CONNECTED)
        self.assertEqual(call.talk_seconds, 10.0)
        self.assertEqual(call.first.source, Source.REPORTED)
        self.assertEqual(call.second.source, Source.REPORTED)
        self.assertEqual(
            self.told(),
            [
                "FirstRinging",
                "OriginateAccepted",
                "FirstAnswered",
                "SecondDialed",
                "SecondAnswered",
                "Gone",
            ],
        )

    def test_what_is_sent(self) -> None:
        self.place(a_job(max_duration=60, auto_answer="ring"))
        self.assertEqual(
            self.fake.written,
            [
                {
                    "dial_first": "101",
                    "dial_second": OUTSIDE,
                    "timeout": "30",
                    "dial_as_account_id": "1107",
                    "timeout_second_call": "30",
                    "ignore_user_call_rules": "1",
                    "auto_answer": "1",
                }
            ],
        )
        self.assertEqual(self.fake.placed[0].transaction_id, ID)
        request = self.call().pbx_request
        assert request is not None
        self.assertEqual(request.data, {"method": CALL, "parameters": self.fake.written[0]})

    def test_without_the_log_the_talk_is_inferred(self) -> None:
        self.begin(call_logs=False)
        self.place()
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)
        self.assertEqual(self.call().second.source, Source.INFERRED)
        self.assertNotIn(SEARCH, self.fake.asked)

    def test_the_first_does_not_answer(self) -> None:
        self.fake.stories = {"101": Story(None)}
        self.place()
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.FIRST_NO_ANSWER)
        [fault] = self.call().answer.faults  # type: ignore[union-attr]
        self.assertEqual(fault.message, "Your call failed to connect (Originate failed).")
        self.assertEqual(fault.code, ErrorCode.PBX_ERROR)

    def test_the_first_is_busy_or_away_which_the_pbx_does_not_tell_apart(self) -> None:
        self.fake.stories = {"101": Story(refuses=1.0)}
        self.place()
        self.pass_time(5)
        self.assertEqual(self.call().outcome, Outcome.PBX_ERROR)
        self.assertIn("OriginateFailed", self.told())

    def test_the_second_does_not_answer(self) -> None:
        self.fake.stories = {OUTSIDE: Story(None)}
        self.place()
        self.pass_time(60)
        self.assertEqual(self.call().outcome, Outcome.SECOND_NO_ANSWER)

    def test_the_second_is_busy_which_the_pbx_does_not_tell(self) -> None:
        self.fake.stories = {OUTSIDE: Story(None, refuses=3.0)}
        self.place()
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.UNKNOWN)
        self.assertEqual(self.call().reason, UnknownReason.NOT_TOLD)
        self.assertEqual(self.call().first.source, Source.REPORTED)

    def test_the_ringing_of_the_second_says_nothing_where_its_time_was_not_sent(self) -> None:
        self.begin(second_timeout=False)
        self.fake.stories = {OUTSIDE: Story(None)}
        self.place()
        self.pass_time(60)
        self.assertNotIn("timeout_second_call", self.fake.written[0])
        self.assertEqual(self.call().reason, UnknownReason.NOT_TOLD)

    def test_from_and_to_the_other_way_round(self) -> None:
        self.fake.swapped = True
        self.place()
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_numbers_as_numbers(self) -> None:
        self.fake.as_text = False
        self.place()
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)
        self.assertEqual(self.call().talk_seconds, 10.0)

    def test_a_log_that_is_late_or_says_less(self) -> None:
        delays: list[float | None] = [0.0, 8.0, None]
        for after in delays:
            with self.subTest(after):
                self.begin()
                self.fake.log_after, self.fake.log_accounts = after, False
                self.place()
                self.pass_time(60)
                self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_other_peoples_calls_are_never_taken_for_ours(self) -> None:
        others = {
            "id": "SIP/101-1",
            "state": "talking",
            "start_time": self.fake.shown(0),
            "from_caller_id_number": "101",
            "to_caller_id_number": OUTSIDE,
        }
        self.fake.strangers = [others]
        self.place()
        self.pass_time(1)
        self.fake.strangers.append({**others, "id": "SIP/101-2"})
        self.pass_time(5)
        self.watcher.apply(ID, Cancel())
        self.pass_time(3)
        self.assertNotIn("SIP/101-1", [call.id for call in self.fake.placed])
        self.assertEqual(self.fake.unknown_ids, 0)

    def test_where_two_would_do_neither_is_hung_up(self) -> None:
        self.fake.stories = {"101": Story(None)}
        self.fake.strangers = []
        self.place()
        self.fake.strangers = [
            {
                "id": "SIP/101-2",
                "state": "ringing",
                "start_time": self.fake.shown(0),
                "from_caller_id_number": OUTSIDE,
                "to_caller_id_number": "101",
            }
        ]
        self.watcher.apply(ID, Cancel())
        self.pass_time(20)
        self.assertEqual(self.fake.hung_up, [])
        self.assertEqual(self.fake.unknown_ids, 0)
        self.assertEqual(self.notes(), ["cannot_hang_up"])
        self.assertFalse(self.call().cancelled)
        self.assertIn("cancelled on this PBX now", str(self.driver.cannot_hang_up(ID)))
        self.assertIsNone(self.driver.cannot_hang_up())
        self.assertIsNone(self.driver.cannot_hang_up("another"))
        self.fake.strangers = []

    def a_stranger(self, **fields: str) -> dict[str, str]:
        """Another call of the same two numbers, listed."""
        return {
            "id": "SIP/101-2",
            "state": "talking",
            "start_time": self.fake.shown(0),
            "from_caller_id_number": "101",
            "to_caller_id_number": OUTSIDE,
            **fields,
        }

    def test_of_two_that_would_do_the_one_that_is_left_is_not_ours(self) -> None:
        for fields in ({}, {"to_caller_id_number": ""}):
            with self.subTest(**fields):
                self.begin()
                self.fake.stories = {"101": Story(4.0), OUTSIDE: Story(6.0, talks=10.0)}
                self.place()
                self.fake.strangers = [self.a_stranger(**fields)]
                self.pass_time(30)  # ours has ended
                self.assertEqual(len(self.fake.log), 1)
                self.assertEqual(self.call().state, CallState.DIALING_SECOND)
                self.watcher.apply(ID, Cancel())
                self.pass_time(20)
                self.assertEqual(self.fake.unknown_ids, 0)
                self.fake.strangers = []
                self.pass_time(20)
                self.assertEqual(self.call().state, CallState.ENDED)

    def test_of_two_that_would_do_the_other_ones_log_is_not_ours(self) -> None:
        self.fake.stories = {"101": Story(4.0), OUTSIDE: Story(6.0, talks=None)}
        self.place()
        self.fake.strangers = [self.a_stranger()]
        self.pass_time(8)
        self.fake.strangers = []
        self.fake.log.append(
            {
                "id": "7",
                "start_time": self.fake.shown(0),
                "from_number": "101",
                "to_number": OUTSIDE,
                "talk_duration": "5",
                "total_duration": "8",
            }
        )
        self.pass_time(160)
        call = self.call()
        self.assertEqual((call.outcome, call.talk_seconds), (Outcome.UNKNOWN, None))

    def notes(self) -> list[str]:
        """What the call's timeline has of calls that could not be hung up."""
        entries = [entry.event for entry in self.call().timeline]
        return [event for event in entries if event == "cannot_hang_up"]

    def test_a_call_that_is_not_listed_cannot_be_hung_up(self) -> None:
        self.fake.lists_at_once = False
        self.fake.stories = {"101": Story(None)}
        self.place()
        self.pass_time(2)
        self.watcher.apply(ID, Cancel())
        self.pass_time(10)
        self.assertTrue(self.call().cancelled)
        self.pass_time(8)
        self.assertEqual((self.call().cancelled, self.notes()), (False, ["cannot_hang_up"]))
        self.assertIn("does not list", str(self.call().cannot_hang_up))
        self.pass_time(20)
        self.assertEqual(self.call().outcome, Outcome.FIRST_NO_ANSWER)

    def test_a_pbx_that_does_not_hang_up(self) -> None:
        self.fake.stories = {"101": Story(None)}
        self.fake.forbidden = {HANG_UP}
        self.place()
        self.pass_time(3)
        self.watcher.apply(ID, Cancel())
        self.pass_time(20)
        self.assertEqual(self.fake.asked.count(HANG_UP), 3)
        self.assertEqual(self.notes(), ["cannot_hang_up"])
        self.assertIn("has it still", str(self.call().cannot_hang_up))
        self.fake.forbidden = set()
        self.watcher.apply(ID, Cancel())
        self.pass_time(3)
        self.assertEqual(self.call().outcome, Outcome.CANCELLED)

    def test_a_stranger_whose_other_side_is_hidden_is_not_hung_up(self) -> None:
        self.fake.stories = {"101": Story(None)}
        self.place()
        [ours] = self.fake.placed
        ours.listed = False
        self.fake.strangers = [self.a_stranger(from_caller_id_number="", to_caller_id_number="101")]
        self.pass_time(2)
        ours.listed = True
        self.pass_time(2)
        self.watcher.apply(ID, Cancel())
        self.pass_time(20)
        self.assertEqual((self.fake.hung_up, self.fake.unknown_ids), ([], 0))
        self.fake.strangers = []

    def test_another_agents_call_is_not_hung_up_where_it_was_in_doubt(self) -> None:
        self.fake.strangers = [self.a_stranger(), self.a_stranger(id="SIP/101-3")]
        plan = self.plan()
        self.driver.hang_up_foreign(PlacedCall(ID, plan, LegEvidence(), LegEvidence(), placed_at=0))
        self.pass_time(2)
        del self.fake.strangers[0]
        self.pass_time(20)
        self.assertEqual(self.fake.unknown_ids, 0)
        self.fake.strangers = []

    def test_an_early_answer_is_not_taken_for_the_first_phones(self) -> None:
        self.fake.blocks = False
        self.fake.stories = {"101": Story(8.0), OUTSIDE: Story(5.0)}
        self.place()
        self.assertEqual(self.told(), ["OriginateAccepted"])
        self.pass_time(4)
        self.assertEqual(self.call().state, CallState.FIRST_RINGING)
        self.pass_time(6)
        self.assertEqual(self.call().state, CallState.DIALING_SECOND)
        self.assertEqual(self.call().first.source, Source.INFERRED)
        self.pass_time(5)
        self.assertEqual(self.call().state, CallState.CONNECTED)
        self.pass_time(30)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_an_early_answer_of_a_phone_that_nobody_takes_up(self) -> None:
        self.fake.blocks = False
        self.fake.stories = {"101": Story(None)}
        self.place()
        self.pass_time(60)
        self.assertNotIn("FirstAnswered", self.told())
        self.assertEqual(self.call().outcome, Outcome.FIRST_NO_ANSWER)

    def test_a_pbx_that_is_not_followed_tells_nothing_more(self) -> None:
        for settings in ({"follow": False}, {"login": "extension"}):
            with self.subTest(settings):
                self.begin(**settings)
                self.place()
                self.pass_time(3)
                self.assertEqual(self.call().outcome, Outcome.UNKNOWN)
                self.assertEqual(self.call().reason, UnknownReason.NOT_TOLD)
                self.assertEqual(self.call().first.status, "ANSWER")
                self.assertNotIn(LIST, self.fake.asked)

    def test_an_extensions_login_calls_in_its_own_name(self) -> None:
        self.begin(login="extension", accounts={"101": "1107"})
        self.place()
        self.place(a_job("102", dial_as="102"), "b")
        self.assertEqual(self.fake.written[0]["account_id"], "1107")
        self.assertNotIn("account_id", self.fake.written[1])
        self.assertEqual(self.fake.asked.count("switchvox.users.call"), 2)


class PrepareTest(DriverTestCase):
    def refused(self, job: CallJob) -> list[tuple[ErrorCode, str]]:
        """Why a call is not placed."""
        preparing = Deferred.fromCoroutine(self.driver.prepare(ID, job))
        error = self.failureResultOf(preparing, ApiError).value
        return [(fault.code, fault.message) for fault in error.faults]

    def test_an_account_is_looked_up_once(self) -> None:
        for _ in range(3):
            self.plan()
        self.assertEqual(self.fake.asked.count("switchvox.extensions.getInfo"), 1)
        self.clock.advance(601)
        self.plan()
        self.assertEqual(self.fake.asked.count("switchvox.extensions.getInfo"), 2)

    def test_nobody_is_looked_up_for_half_a_minute(self) -> None:
        for _ in range(2):
            self.assertEqual(self.refused(a_job(dial_as="7"))[0][0], ErrorCode.UNKNOWN_DIAL_AS)
        self.assertEqual(self.fake.asked.count("switchvox.extensions.getInfo"), 1)
        self.clock.advance(31)
        self.fake.extensions["7"] = "1200"
        parameters: Any = self.plan(a_job(dial_as="7")).data["parameters"]
        self.assertEqual(parameters["dial_as_account_id"], "1200")

    def test_a_configured_account_is_not_looked_up(self) -> None:
        self.begin(accounts={"101": "77"})
        self.plan()
        self.assertNotIn("switchvox.extensions.getInfo", self.fake.asked)

    def test_an_account_that_is_wrong_is_forgotten(self) -> None:
        self.place()
        self.fake.extensions = {"101": "9"}
        self.place(a_job("102"), "b")
        self.assertIn("OriginateRefused", self.told("b"))
        [fault] = self.call("b").answer.faults  # type: ignore[union-attr]
        self.assertEqual(
            fault, RequestFault(ErrorCode.UNKNOWN_DIAL_AS, "That account_id is invalid.")
        )
        self.plan()
        self.assertEqual(self.fake.asked.count("switchvox.extensions.getInfo"), 2)

    def test_a_right_that_is_missing_is_told_to_who_looks_after_the_pbx(self) -> None:
        self.fake.forbidden = {CALL}
        self.place()
        self.assertEqual(self.call().outcome, Outcome.PBX_ERROR)
        self.assertIn(f"may not use {CALL}: ", self.driver.last_error)
        self.assertIn("not permitted", self.driver.last_error)
        self.assertIsNone(self.driver.unready())  # the next order may be taken
        self.fake.forbidden = {"switchvox.extensions.getInfo"}
        self.assertIn("not permitted", self.refused(a_job("102", dial_as="102"))[0][1])
        self.assertEqual(self.driver.last_error.count("may not use"), 2)
        self.fake.forbidden = set()
        self.place(request_id="b")
        self.pass_time(3)
        self.assertNotIn(CALL, self.driver.last_error)
        self.clock.advance(301)
        self.assertEqual(self.driver.last_error, "")

    def test_a_plus_is_stripped_kept_or_replaced(self) -> None:
        for plus, dialled in (("strip", "15551"), ("keep", "+15551"), ("011", "01115551")):
            self.begin(plus=plus)
            self.assertEqual(self.plan(a_job(second="+15551")).target, dialled)

    def test_what_the_pbx_cannot_dial_or_do_is_refused(self) -> None:
        self.assertEqual(
            [code for code, _ in self.refused(a_job("anna", "bob", confirm=True))],
            [ErrorCode.INVALID_PARAMETER] * 3,
        )

    def test_the_pbx_says_why_not(self) -> None:
        self.fake.faults["switchvox.extensions.getInfo"] = ["dropped"]
        self.assertEqual(self.refused(a_job())[0][0], ErrorCode.PBX_UNAVAILABLE)


class OrderTest(DriverTestCase):
    def test_one_open_order_for_each_first_phone(self) -> None:
        self.fake.stories = {"101": Story(5.0), "102": Story(5.0)}
        self.place()
        self.place(a_job(second="200"), "b")
        self.place(a_job("102"), "c")
        self.assertEqual(self.told("b"), ["OriginateUnsent"])
        self.assertEqual(self.call("b").answer.faults[0].code, ErrorCode.TOO_MANY_CALLS)  # type: ignore[union-attr]
        self.assertEqual(len(self.fake.placed), 2)

    def test_no_more_open_orders_than_configured(self) -> None:
        self.begin(max_pending=1)
        self.fake.stories = {"101": Story(5.0)}
        self.place()
        self.place(a_job("102"), "b")
        self.assertEqual(self.told("b"), ["OriginateUnsent"])

    def test_whether_calls_can_be_cancelled(self) -> None:
        self.assertIsNone(self.driver.cannot_hang_up())
        for settings in ({"login": "extension"}, {"follow": False}):
            self.begin(**settings)
            self.assertIn("cannot be cancelled", str(self.driver.cannot_hang_up()))

    def test_cancelled_while_its_order_is_open(self) -> None:
        self.fake.stories = {"101": Story(None)}
        self.place()
        self.pass_time(3)
        self.watcher.apply(ID, Cancel())
        self.pass_time(3)
        self.assertEqual(self.call().outcome, Outcome.CANCELLED)
        self.assertEqual(self.fake.hung_up, [ID])

    def test_cancelled_before_its_order_goes_out(self) -> None:
        self.fake.faults[LIST] = ["never"]
        self.place()
        self.watcher.apply(ID, Cancel())
        self.pass_time(5)
        self.assertEqual(self.call().outcome, Outcome.CANCELLED)
        self.assertEqual(self.fake.placed, [])

    def test_stopped_before_its_order_goes_out(self) -> None:
        self.fake.faults[LIST] = ["never"]
        self.place()
        self.driver.stop()
        self.pass_time(5)
        self.assertEqual(self.told(), ["OriginateUnsent"])
        self.assertEqual(self.fake.placed, [])

    def test_a_list_that_does_not_come_does_not_keep_it(self) -> None:
        self.fake.faults[LIST] = ["never"]
        self.place()
        self.pass_time(3)
        self.assertEqual(len(self.fake.placed), 1)
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_a_mistake_leaves_no_call_without_an_end(self) -> None:
        asked = self.client.ask
        for method, told in ((LIST, "OriginateUnsent"), (CALL, "OriginateUnanswered")):
            with self.subTest(method):
                self.watcher.told.clear()

                async def ask(one: str, *rest: Any, wrong: str = method, **more: Any) -> Any:
                    if one == wrong:
                        raise RuntimeError(one)
                    return await asked(one, *rest, **more)

                self.client.ask = ask  # type: ignore[assignment, method-assign]
                self.place()
                self.client.ask = asked  # type: ignore[method-assign]
                self.pass_time(60)
                self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
                self.assertEqual(self.told()[0], told)
                self.assertEqual(self.call().state, CallState.ENDED)
        self.assertEqual(self.fake.placed, [])

    def test_settling_does_nothing_while_it_is_open(self) -> None:
        self.fake.stories = {"101": Story(25.0)}
        self.place()
        for _ in range(4):
            self.watcher.apply(ID, GuardExpired())
            self.pass_time(5)
        self.assertEqual(self.told(), ["FirstRinging"])
        self.pass_time(60)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_a_talk_that_is_too_long_is_hung_up(self) -> None:
        self.fake.stories = {OUTSIDE: Story(2.0, talks=None)}
        self.place()
        self.pass_time(130)
        self.assertEqual(self.call().state, CallState.CONNECTED)
        self.watcher.apply(ID, GuardExpired())
        self.pass_time(20)
        self.assertEqual(self.fake.hung_up, [ID])
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_after_a_while_the_list_is_looked_at_less_often(self) -> None:
        self.fake.stories = {OUTSIDE: Story(2.0, talks=None)}
        self.place()
        self.pass_time(130)
        before = self.fake.asked.count(LIST)
        self.pass_time(60)
        self.assertEqual(self.fake.asked.count(LIST) - before, 12)

    def test_nothing_is_asked_while_there_are_no_calls(self) -> None:
        asked = list(self.fake.asked)
        self.pass_time(600)
        self.assertEqual(self.fake.asked, asked)


class AwayTest(DriverTestCase):
    def test_wrong_credentials_are_tried_rarely_and_it_says_so(self) -> None:
        right, self.fake.password = self.fake.password, "changed"
        self.driver.stop()
        self.fake.password, typed = "changed", right
        self.assertEqual(self.client._credentials.password, typed)
        driver = self.make()
        self.client._credentials = Credentials(self.fake.username, typed)
        driver.start()
        self.pass_time(300)
        self.assertLess(self.fake.wrong_credentials, 6)
        self.assertIn("refuses the agent's login", driver.unready() or "")
        driver.stop()

    def test_a_pbx_that_is_away_is_asked_again(self) -> None:
        self.fake.faults["switchvox.info.getList"] = ["no-connection"] * 2
        with capturedLogs() as logs:
            Deferred.fromCoroutine(self.driver.try_it())
            self.assertEqual(self.driver.unready(), "The PBX cannot be reached at present.")
            self.assertEqual(self.driver.last_error, "nobody listens there")
            self.pass_time(5)
            self.assertFalse(self.driver.is_up)
            self.pass_time(10)
        away = "no calls can be placed: nobody listens there; trying again"
        self.assertEqual(
            [formatEvent(entry) for entry in logs],
            [f"{CONFIG.url}: {away}", f"{CONFIG.url}: calls can be placed"],
        )
        self.assertIsNone(self.driver.unready())
        self.assertEqual(self.watcher.story, ["up", "down", "up"])

    def test_without_a_connection_the_order_never_leaves(self) -> None:
        plan = self.plan()
        for method in (LIST, CALL):
            with self.subTest(method):
                self.fake.faults[method] = ["no-connection"]
                self.watcher.calls[ID] = a_call(job=a_job())
                self.watcher.apply(ID, Place(plan))
                self.driver.originate(ID, plan)
                self.assertIsInstance(self.watcher.told[ID][-1], OriginateUnsent)
                self.pass_time(10)
        self.assertEqual(self.fake.placed, [])

    def test_a_restart_of_the_pbx_ends_its_calls(self) -> None:
        self.place()
        self.pass_time(1)
        self.fake.restart()
        self.assertIn("OriginateUnanswered", self.told())
        self.pass_time(60)
        self.assertEqual(self.call().outcome, Outcome.UNKNOWN)
        self.assertEqual(self.call().reason, UnknownReason.LOST)
        self.assertEqual(len(self.fake.placed), 1)

    def test_a_lost_answer_and_a_call_that_goes_on(self) -> None:
        self.fake.faults[CALL] = ["dropped-placed"]
        self.place()
        self.pass_time(2)
        self.assertEqual(self.told()[:2], ["OriginateUnanswered", "Found"])
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.CANCELLED)  # its requester knows no better
        self.assertEqual(len(self.fake.placed), 1)
        self.assertEqual(self.fake.hung_up, [ID])


class RestartTest(DriverTestCase):
    def adopted(self, **fields: Any) -> PlacedCall:
        """What the dispatcher tells of the call after a restart of the agent."""
        call = self.call()
        assert call.plan is not None
        assert call.pbx_request is not None
        return PlacedCall(
            ID, call.plan, call.first, call.second, placed_at=call.pbx_request.at, **fields
        )

    def restart(self, **fields: Any) -> None:
        """The agent is killed, and started again."""
        adopted = self.adopted(**fields)
        self.driver.stop()
        self.driver.observer = Machines(self.clock)
        self.driver.observer.calls = dict(self.watcher.calls)
        self.driver.observer.driver = self.driver
        self.watcher.told = {}
        self.driver = self.make()
        self.driver.adopt([adopted])
        self.driver.start()

    def test_a_call_that_goes_on_is_found(self) -> None:
        self.place()
        self.pass_time(1)
        self.restart()
        self.pass_time(40)
        self.assertIn("Found", self.told())
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)

    def test_a_call_that_is_over_is_in_the_log(self) -> None:
        self.place()
        self.pass_time(5)
        adopted_at = self.clock.seconds()
        self.driver.stop()
        self.pass_time(20)
        self.assertGreater(self.clock.seconds(), adopted_at)
        self.restart()
        self.pass_time(40)
        self.assertEqual(self.call().outcome, Outcome.CONNECTED)
        self.assertEqual(len(self.fake.placed), 1)

    def test_a_call_that_was_to_end_is_hung_up(self) -> None:
        self.fake.stories = {OUTSIDE: Story(2.0, talks=None)}
        self.place()
        self.pass_time(6)
        self.restart(cancelled=True)
        self.pass_time(30)
        self.assertEqual(self.fake.hung_up, [ID])

    def test_of_which_nothing_is_known_is_lost(self) -> None:
        self.fake.log_after = None
        self.place()
        self.pass_time(1)
        self.fake.restart()
        self.restart()
        self.pass_time(60)
        self.assertEqual(self.call().reason, UnknownReason.LOST)

    def test_it_is_lost_however_often_it_is_sought(self) -> None:
        self.fake.log_after = None
        self.place()
        self.pass_time(1)
        self.fake.restart()
        self.restart()
        for _ in range(12):  # its guard runs out again and again
            self.pass_time(5)
            self.driver.settle([ID])
        self.assertEqual(self.call().reason, UnknownReason.LOST)

    def test_without_the_time_of_its_order_it_is_not_guessed(self) -> None:
        self.place()
        self.pass_time(5)
        adopted = evolve(self.adopted(), placed_at=None)
        self.driver.stop()
        self.driver = self.make()
        self.driver.adopt([adopted])
        self.driver.start()
        self.pass_time(60)
        self.assertNotIn("Found", self.told())
        self.assertEqual(self.told()[-1], "Gone")


class FaultTest(DriverTestCase):
    def test_every_fault_of_the_order_ends_in_one_outcome_and_is_written_once(self) -> None:
        for fault in get_args(Fault):
            with self.subTest(fault):
                self.begin()
                self.fake.faults[CALL] = [fault]
                self.place()
                self.pass_time(200)
                self.assertEqual(self.call().state, CallState.ENDED, self.told())
                written = len(self.fake.written)
                self.assertLessEqual(written, 1)
                self.assertLessEqual(len(self.fake.placed), 1)
                ends = [e for e in self.watcher.told[ID] if isinstance(e, (Gone, OriginateFailed))]
                self.assertLessEqual(len(ends), 1)

    def test_every_fault_of_the_list_and_of_the_log(self) -> None:
        for method in (LIST, SEARCH, "switchvox.systemClock.getInfo"):
            for fault in get_args(Fault):
                with self.subTest(method=method, fault=fault):
                    self.begin()
                    self.place()
                    self.fake.faults[method] = [fault]
                    self.pass_time(200)
                    self.assertEqual(self.call().state, CallState.ENDED, self.told())
                    self.assertEqual(len(self.fake.written), 1)

    def test_ten_thousand_faults_and_nobody_is_rung_twice(self) -> None:
        dice = random.Random(20261130)  # noqa: S311 - of tests
        faults = [fault for fault in get_args(Fault) if not fault.startswith("huge")]
        numbers = ["101", "102", "104"]
        seen: Counter[str] = Counter()
        placed = 0
        self.begin()
        request = 0
        while seen.total() < 10_000:
            for first in numbers:
                request += 1
                request_id = f"request {request}"
                for method, most in ((CALL, 1), (LIST, 2), (SEARCH, 1), ("", 1)):
                    drawn = dice.choices(faults, k=dice.randint(0, most))
                    self.fake.faults.setdefault(method, []).extend(drawn)
                    seen.update(drawn)
                self.fake.stories[first] = Story(
                    dice.choice([0.2, 2.0, None]), refuses=dice.choice([None, None, 1.0])
                )
                self.fake.nonce_uses = dice.choice([None, 1, 3])
                self.fake.scheme = dice.choice(["empty-qop", "qop-list", "basic"])
                self.place_or_not(a_job(first, dial_as=first), request_id)
            self.clock.pump([dice.choice([0.5, 1, 5])] * 6)
            if dice.random() < 0.2:
                self.settle_all()
            counted = Counter(call.transaction_id for call in self.fake.placed)
            assert all(times == 1 for times in counted.values()), counted.most_common(1)
            placed = len(counted)
        self.fake.faults.clear()
        self.clock.pump([5] * 40)
        self.settle_all()
        self.clock.pump([5] * 40)
        for request_id, call in self.watcher.calls.items():
            self.assertEqual(call.state, CallState.ENDED, (request_id, self.told(request_id)))
        self.assertGreater(placed, 100)
        self.assertEqual(len(self.fake.written), len(self.fake.placed))

    def place_or_not(self, job: CallJob, request_id: str) -> None:
        """Place a call, if the PBX lets it be prepared."""
        preparing = Deferred.fromCoroutine(self.driver.prepare(request_id, job))
        plans: list[OriginatePlan] = []
        preparing.addCallbacks(plans.append, lambda failure: failure.trap(ApiError))
        self.clock.advance(0)
        if not plans:
            return
        call = a_call(request_id=request_id, job=job)
        self.watcher.calls[request_id] = call
        self.watcher.apply(request_id, Place(plans[0]))
        self.driver.originate(request_id, plans[0])

    def settle_all(self) -> None:
        """The guards of all calls run out."""
        for request_id, call in list(self.watcher.calls.items()):
            if call.state is not CallState.ENDED:
                self.watcher.apply(request_id, GuardExpired())
