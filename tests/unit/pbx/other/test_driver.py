"""What the driver tells of a call, whatever its back end answers, or does not."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.call.call import Call, CallState, OriginatePlan
from c2c_agent.call.events import HangUp, LegEvent
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.call.job import CallJob
from c2c_agent.call.machine import step
from c2c_agent.call.outcome import Outcome, UnknownReason
from c2c_agent.errors import ErrorCode
from c2c_agent.net.fresh_request import HttpAnswer, NoAnswerError, NotConnectedError
from c2c_agent.pbx.driver import PlacedCall
from c2c_agent.pbx.other.driver import OtherDriver
from tests.playbook import a_call
from tests.unit.pbx.other.back_end import BackEnd, client_of, json_answer, program

ID = "2c4f781a-4825-4d09-a573-2d8689e5682b"
JOB = CallJob("100", "200", "100", 20)
STATUS: dict[str, Any] = {
    "every": 1,
    "requests": [
        {
            "path": "/status",
            "rules": [
                {"when": {"/state": "ringing"}, "tell": "first_ringing"},
                {
                    "when": {"/state": "up"},
                    "tell": "first_answered",
                    "save": {"channel": "/channel"},
                },
                {"when": {"/state": "talk"}, "tell": "second_answered"},
                {"when": {"/busy": True}, "tell": "first BUSY"},
                {"when": {"status": 404}, "tell": "gone"},
            ],
        }
    ],
}
GONE = HttpAnswer(404)
OK = HttpAnswer(200)


class DriverTestCase(SynchronousTestCase):
    """One call at a back end; what the driver tells drives its machine."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, **more: Any) -> None:
        """A driver of this back end, which is up."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.back_end = BackEnd()
        self.back_end.react("POST /call", OK)
        self.back_end.react("GET /status", OK)
        self.back_end.react("GET /ping", OK)
        self.program = program(**more)
        self.told: list[str] = []
        self.story: list[str] = []
        self.calls: dict[str, Call] = {}
        self.driver = self.make()

    def make(self) -> OtherDriver:
        client = client_of(self.program, self.back_end, self.clock, key="hush")
        driver = OtherDriver(
            self.program, client, max_duration=600, clock=self.clock, now=self.clock.seconds
        )
        driver.observer = self
        driver.start()
        return driver

    # PbxObserver

    def leg_event(self, request_id: str, event: LegEvent) -> None:
        self.told.append(type(event).__name__)
        call, commands, breach = step(self.calls[request_id], event, self.clock.seconds())
        assert not breach
        self.calls[request_id] = call
        if HangUp() in commands:
            self.driver.hang_up(request_id)

    def may_bridge(self, request_id: str) -> OriginatePlan | None:
        raise AssertionError(request_id)

    async def until_stored(self, request_id: str) -> bool:
        raise AssertionError(request_id)

    async def has_ended(self, request_id: str) -> bool:
        raise AssertionError(request_id)

    def pbx_up(self) -> None:
        self.story.append("up")

    def pbx_down(self, reason: str) -> None:
        self.story.append(reason)

    # On the way

    def place(self, request_id: str = ID) -> OriginatePlan:
        plan: OriginatePlan = self.successResultOf(
            Deferred.fromCoroutine(self.driver.prepare(request_id, JOB))
        )
        self.calls[request_id] = a_call(
            request_id=request_id, state=CallState.DIALING_FIRST, plan=plan, job=JOB
        )
        self.driver.originate(request_id, plan)
        return plan

    def hung_up(self, _asked: object) -> HttpAnswer:
        self.back_end.react("GET /status", GONE)
        return OK

    def pass_seconds(self, seconds: int) -> None:
        self.clock.pump([0.5] * 2 * seconds)

    @property
    def call(self) -> Call:
        return self.calls[ID]

    def ends(self, outcome: Outcome, reason: UnknownReason | None = None) -> None:
        assert (self.call.outcome, self.call.reason) == (outcome, reason)
        before = list(self.told)
        self.pass_seconds(30)
        assert self.told == before
        assert self.clock.getDelayedCalls() == []
        assert self.back_end.targets().count("POST /call") <= 1


class TestOrder(DriverTestCase):
    def test_nothing_is_told_of_it(self) -> None:
        """A back end without status: accepted, and then nobody knows, which is no fault."""
        self.place()
        assert self.told == ["OriginateAccepted", "Gone"]
        self.ends(Outcome.UNKNOWN, UnknownReason.NOT_TOLD)
        assert self.call.answer is not None
        assert self.call.answer.faults == ()

    def test_refused(self) -> None:
        """In the PBX's own words, without secrets."""
        self.begin(secrets={"key": {"file": "/key"}})
        self.back_end.react("POST /call", json_answer('{"message": "No hush."}', 404))
        self.place()
        self.ends(Outcome.PBX_ERROR)
        assert self.call.answer is not None
        assert self.call.answer.faults[0].message == "No ***."
        assert self.call.pbx_response is not None
        assert self.call.pbx_response.data == {"status": 404, "body": '{"message": "No ***."}'}

    def test_failed(self) -> None:
        """It tried, and says how that ended."""
        self.begin(place={"failed": [{"when": {"text": "BUSY"}, "tell": "first BUSY"}]})
        self.back_end.react("POST /call", HttpAnswer(500, b"BUSY"))
        self.place()
        assert self.told == ["OriginateFailed"]
        self.ends(Outcome.FIRST_BUSY)

    def test_unsent(self) -> None:
        """Nobody was rung."""
        self.back_end.react("POST /call", NotConnectedError("no route"))
        self.place()
        self.ends(Outcome.REJECTED)

    def test_unclear(self) -> None:
        """5xx, no answer, an unusable id: it may have run."""
        self.begin(place={"call_id": "/id"})
        for reaction in (
            HttpAnswer(503),
            HttpAnswer(429),
            NoAnswerError("cut"),
            json_answer('{"id": "a b"}'),
        ):
            self.told.clear()
            self.back_end.asked.clear()
            self.back_end.react("POST /call", reaction)
            self.place()
            assert self.told == ["OriginateUnanswered", "Gone"]
            self.ends(Outcome.UNKNOWN, UnknownReason.LOST)

    def test_it_blocks(self) -> None:
        """The answer comes when the first has answered; it is waited for as long as that rings."""
        self.begin(place={"answers_when": "first_answered"})
        self.place()
        assert self.told == ["OriginateAccepted", "FirstAnswered", "SecondDialed", "Gone"]
        assert self.back_end.asked[-1].seconds == 30

    def test_too_many_wait(self) -> None:
        """Refused from here, and not sent."""
        self.begin(max_pending=1)
        self.back_end.react("POST /call", Deferred())
        self.place()
        self.place("other")
        answer = self.calls["other"].answer
        assert answer is not None
        assert answer.faults[0].code is ErrorCode.TOO_MANY_CALLS
        assert self.back_end.targets() == ["POST /call"]


class TestStatus(DriverTestCase):
    def setUp(self) -> None:
        self.begin(status=STATUS, cancel=[{"path": "/hangup/{saved.channel}"}])

    def test_the_whole_way(self) -> None:
        """What it tells, and no sooner than it does."""
        self.back_end.react(
            "GET /status",
            json_answer('{"state": "ringing"}'),
            json_answer('{"state": "up", "channel": "c1"}'),
            json_answer('{"state": "talk"}'),
            json_answer('{"state": "talk"}'),
            GONE,
        )
        self.place()
        self.pass_seconds(10)
        assert self.told == [
            *("OriginateAccepted", "FirstRinging", "FirstAnswered", "SecondAnswered", "Gone")
        ]
        self.ends(Outcome.CONNECTED)
        assert self.call.talk_seconds == 2

    def test_html_says_nothing(self) -> None:
        """Nor does a failure, or the same again."""
        self.back_end.react(
            "GET /status",
            HttpAnswer(200, b"<html>"),
            HttpAnswer(500),
            NoAnswerError("late"),
            json_answer('{"state": "ringing", "busy": true}'),
            GONE,
        )
        self.place()
        self.pass_seconds(20)
        self.ends(Outcome.FIRST_BUSY)

    def test_gone_between_failures(self) -> None:
        """One that is not answered neither says that it is gone nor that it is not."""
        self.back_end.react("GET /status", GONE, NoAnswerError("late"), GONE)
        self.place()
        self.pass_seconds(10)
        self.ends(Outcome.UNKNOWN, UnknownReason.NOT_TOLD)

    def test_ten_failures(self) -> None:
        """Something may have been missed; and after two hours it is given up."""
        self.begin(status=STATUS)
        self.back_end.react("GET /status", NoAnswerError("late"))
        self.place()
        self.clock.pump([5] * 100)
        assert self.told == ["OriginateAccepted"]
        self.clock.pump([5] * 1440)
        self.ends(Outcome.UNKNOWN, UnknownReason.LOST)

    def test_longer_than_it_can_last(self) -> None:
        """A status that never says that it is gone is not asked for ever."""
        self.place()
        self.clock.pump([1] * 699)
        assert self.told == ["OriginateAccepted"]
        self.clock.pump([1] * 3)
        self.ends(Outcome.UNKNOWN, UnknownReason.NOT_TOLD)

    def test_unanswered_and_there(self) -> None:
        """The answer was lost: found by its own id, and hung up, as its requester was told so."""
        self.begin(status=STATUS, cancel=[{"path": "/hangup"}])
        self.back_end.react("POST /hangup", OK)
        self.back_end.react("POST /call", NoAnswerError("cut"))
        self.back_end.react(
            "GET /status", json_answer('{"state": "ringing"}'), HttpAnswer(200), GONE
        )
        self.place()
        self.pass_seconds(1)
        assert self.told == ["OriginateUnanswered", "Found", "FirstRinging"]
        asked = self.back_end.targets()
        assert asked.index("POST /hangup") < asked.index("GET /status")
        self.pass_seconds(20)
        self.ends(Outcome.CANCELLED)

    def test_unanswered_and_not_there(self) -> None:
        """Not before it can be told that the order is not on its way any more."""
        self.back_end.react("POST /call", NoAnswerError("cut"))
        self.back_end.react("GET /status", GONE)
        self.place()
        self.pass_seconds(5)
        assert self.told == ["OriginateUnanswered"]
        self.pass_seconds(5)
        assert self.told == ["OriginateUnanswered", "Gone"]
        self.ends(Outcome.UNKNOWN, UnknownReason.LOST)

    def test_hang_up_waits_for_what_it_needs(self) -> None:
        """The channel is known only when the first has answered."""
        self.back_end.react("GET /status", OK, OK, json_answer('{"state": "up", "channel": "c1"}'))
        self.back_end.react("POST /hangup/c1", self.hung_up)
        self.place()
        self.driver.hang_up(ID)
        self.driver.hang_up(ID)
        self.calls[ID] = evolve(self.call, cancelled=True)
        self.pass_seconds(20)
        self.ends(Outcome.CANCELLED)
        assert 1 <= self.back_end.targets().count("POST /hangup/c1") <= 3

    def test_hang_up_that_is_not_heard(self) -> None:
        """Tried for a while; after it was answered three times, no more."""
        self.back_end.react("GET /status", json_answer('{"state": "up", "channel": "c1"}'))
        self.back_end.react("POST /hangup/c1", NoAnswerError("cut"), OK)
        self.place()
        self.pass_seconds(2)
        self.driver.hang_up(ID)
        self.pass_seconds(30)
        assert self.back_end.targets().count("POST /hangup/c1") == 4

    def test_no_way_to_hang_up(self) -> None:
        """Nothing is sent; the call goes on."""
        self.begin(status=STATUS)
        self.place()
        before = len(self.back_end.asked)
        self.driver.hang_up(ID)
        assert len(self.back_end.asked) == before

    def test_while_placing(self) -> None:
        """An order that blocks is looked after meanwhile; that it is not there yet says nothing."""
        look = {
            "path": "/early",
            "rules": [
                {"when": {"text": "true"}, "tell": "first_ringing"},
                {"when": {"text": "false"}, "tell": "gone"},
            ],
        }
        self.begin(
            place={"answers_when": "first_answered"}, status={**STATUS, "while_placing": [look]}
        )
        order: Deferred[HttpAnswer] = Deferred()
        self.back_end.react("POST /call", order)
        early = [HttpAnswer(200, b"false")] * 3 + [HttpAnswer(200, b"true")]
        self.back_end.react("GET /early", *early)
        self.place()
        self.pass_seconds(6)
        assert self.told == ["FirstRinging"]
        self.driver.settle([ID])  # nothing while the answer is still to come
        self.driver.hang_up(ID)
        order.callback(OK)
        assert self.told == ["FirstRinging", "OriginateAccepted", "FirstAnswered", "SecondDialed"]
        self.back_end.react("GET /status", GONE)
        self.pass_seconds(3)
        assert self.told[-1] == "Gone"

    def test_cleanup(self) -> None:
        """After the end, once."""
        self.begin(status=STATUS, cleanup=[{"path": "/clean/{call_id}"}])
        self.back_end.react(f"POST /clean/{ID}", OK)
        self.back_end.react("GET /status", GONE)
        self.place()
        self.pass_seconds(5)
        assert self.back_end.targets()[-1] == f"POST /clean/{ID}"
        self.ends(Outcome.UNKNOWN, UnknownReason.NOT_TOLD)

    def test_ring_timeout(self) -> None:
        """Where the back end is told none, it is cancelled from here."""
        self.begin(
            status=STATUS, ring_timeout="cancel", cancel=[{"method": "DELETE", "path": "/c"}]
        )
        self.back_end.react("DELETE /c", self.hung_up)
        self.back_end.react("GET /status", json_answer('{"state": "ringing"}'))
        self.place()
        self.pass_seconds(19)
        assert "DELETE /c" not in self.back_end.targets()
        self.pass_seconds(6)
        self.ends(Outcome.FIRST_NO_ANSWER)

    def test_the_driver_stops(self) -> None:
        """Nothing is asked any more."""
        self.place()
        self.driver.stop()
        before = len(self.back_end.asked)
        self.pass_seconds(20)
        assert len(self.back_end.asked) == before
        assert self.clock.getDelayedCalls() == []


class TestRestart(DriverTestCase):
    def setUp(self) -> None:
        self.begin(
            place={"call_id": "/id", "save": {"channel": "/channel"}},
            status={
                "every": 1,
                "requests": [
                    {
                        "path": "/status/{call_id}",
                        "rules": [
                            {"when": {"/state": "up"}, "tell": "first_answered"},
                            {"when": {"status": 404}, "tell": "gone"},
                        ],
                    }
                ],
            },
            cancel=[{"method": "DELETE", "path": "/c/{saved.channel}"}],
        )
        self.back_end.react("POST /call", json_answer('{"id": 7, "channel": "c1"}'))
        self.back_end.react("GET /status/7", OK)
        self.back_end.react("DELETE /c/c1", OK)

    def adopt(self, **more: Any) -> None:
        """The process is killed, and started again."""
        plan = self.place()
        self.driver.stop()
        response = self.call.pbx_response
        self.told.clear()
        self.driver = self.make()
        placed = PlacedCall(
            ID,
            plan,
            self.call.first,
            LegEvidence(),
            answered=True,
            placed_at=1000.0,
            response=None if response is None else response.data,
        )
        self.driver.adopt([evolve(placed, **more)])

    def test_found_by_what_the_answer_gave(self) -> None:
        """Its id and what was saved."""
        self.adopt()
        self.driver.settle([ID])
        assert self.told == ["Found"]
        assert self.back_end.targets()[-1] == "GET /status/7"
        self.driver.hang_up(ID)
        assert self.back_end.targets()[-1] == "DELETE /c/c1"

    def test_whether_it_can_be_hung_up(self) -> None:
        """Where it is said how."""
        assert self.driver.cannot_hang_up() is None
        self.begin(status=STATUS)
        why = self.driver.cannot_hang_up()
        assert why is not None
        assert "cannot be cancelled" in why

    def test_it_was_cancelled(self) -> None:
        """It is hung up at once."""
        self.adopt(cancelled=True)
        assert self.back_end.targets()[-1] == "DELETE /c/c1"

    def test_its_answer_was_not_heard(self) -> None:
        """Without an id nobody can ask."""
        self.adopt(response=None, answered=False)
        self.driver.settle([ID, "of nobody"])
        assert self.told == ["Gone"]
        self.ends(Outcome.UNKNOWN, UnknownReason.LOST)

    def test_for_another_process(self) -> None:
        """By what is stored of the call."""
        plan = self.place()
        assert self.call.pbx_response is not None
        data = self.call.pbx_response.data
        self.driver.hang_up_foreign(
            PlacedCall(ID, plan, LegEvidence(), LegEvidence(), response=data)
        )
        assert self.back_end.targets()[-1] == "DELETE /c/c1"


class TestCheck(DriverTestCase):
    def setUp(self) -> None:
        self.begin(check={"path": "/ping"})

    def test_up(self) -> None:
        """As soon as it has answered."""
        assert self.story == ["up"]
        assert (self.driver.is_up, self.driver.last_error, self.driver.unready()) == (
            True,
            "",
            None,
        )

    def test_down_and_up(self) -> None:
        """After three failures in a row; it is tried again, ever more seldom."""
        self.back_end.react("POST /call", NotConnectedError("no route"))
        self.back_end.react("GET /ping", HttpAnswer(503))
        self.place()
        assert self.driver.is_up
        with capturedLogs() as logs:
            self.pass_seconds(4)
        away = "no calls can be placed: the check was refused: HTTP 503; trying again"
        assert [formatEvent(entry) for entry in logs] == [f"http://127.0.0.1:9: {away}"]
        assert self.story == ["up", "the check was refused: HTTP 503"]
        assert self.driver.unready() is not None
        assert self.driver.last_error == "the check was refused: HTTP 503"
        self.pass_seconds(600)
        assert self.back_end.targets().count("GET /ping") < 25
        self.back_end.react("GET /ping", OK)
        with capturedLogs() as logs:
            self.pass_seconds(61)
        assert [formatEvent(entry) for entry in logs] == ["http://127.0.0.1:9: calls can be placed"]
        assert self.story == ["up", "the check was refused: HTTP 503", "up"]
        assert self.clock.getDelayedCalls() == []

    def test_down_from_the_start(self) -> None:
        """Told at the first failure."""
        self.back_end.react("GET /ping", NoAnswerError("late"))
        self.story.clear()
        driver = self.make()
        assert self.story == ["late"]
        assert not driver.is_up
        driver.stop()
        assert self.clock.getDelayedCalls() == []

    def test_one_check_at_a_time(self) -> None:
        """However many ask for it."""
        ping: Deferred[HttpAnswer] = Deferred()
        self.back_end.react("GET /ping", ping)
        before = len(self.back_end.asked)
        for _ in range(3):
            Deferred.fromCoroutine(self.driver.try_it())
        assert len(self.back_end.asked) == before + 1
        ping.callback(OK)

    def test_json_is_what_is_sent(self) -> None:
        """The numbers, in their places."""
        self.place()
        assert json.loads(self.back_end.asked[-1].body) == {"from": "100", "to": "200"}
