"""Each configuration that is shipped, run: calls that connect, are refused, and are cancelled."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from c2c_agent.call.call import Call, CallState
from c2c_agent.call.outcome import Outcome, UnknownReason
from tests.other.caller import EXAMPLES, Caller, example
from tests.other.doubles import Dialer, Double, FreeSwitch, Kamailio, ThreeCx, Ucm, Yeastar


def asynchronous(
    test: Callable[[Any], Coroutine[Any, Any, None]],
) -> Callable[[Any], Deferred[None]]:
    """Run a test that is a coroutine."""

    @wraps(test)
    def run(case: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(case))

    return run


class ExampleTest(TestCase):
    """An example beside its double."""

    timeout = 40
    secret = "hush"

    async def begin(self, name: str, double: Double, **secrets: str) -> Caller:
        """A caller at the double, which is up."""
        listening = double.listen()
        self.addCleanup(listening.stopListening)
        program = example(name, f"http://127.0.0.1:{listening.getHost().port}")
        caller = Caller(program, {"key": self.secret, "password": self.secret, **secrets})
        self.addCleanup(caller.driver.stop)
        await caller.up()
        return caller

    def no_secret(self, caller: Caller, call: Call) -> None:
        """None is shown of a call."""
        assert self.secret not in repr((caller.data, call.plan, call.pbx_response, call.answer))

    @staticmethod
    def fault(call: Call) -> str:
        """What a requester is told."""
        assert call.answer is not None
        return call.answer.faults[0].message


class TestFreeSwitch(ExampleTest):
    @asynchronous
    async def test_connected(self) -> None:
        """The order waits for the first's answer; ringing is seen meanwhile."""
        double = FreeSwitch()
        caller = await self.begin("freeswitch", double)
        call = await caller.ended(await caller.place())
        assert call.outcome is Outcome.CONNECTED
        assert caller.told == [
            *("FirstRinging", "OriginateAccepted", "FirstAnswered", "SecondDialed"),
            *("SecondAnswered", "Gone"),
        ]
        assert double.placed == 1
        self.no_secret(caller, call)

    @asynchronous
    async def test_refused_and_failed(self) -> None:
        """Busy is an outcome; no such phone is an error, in its words."""
        double = FreeSwitch()
        caller = await self.begin("freeswitch", double)
        assert (await caller.ended(await caller.place("105"))).outcome is Outcome.FIRST_BUSY
        call = await caller.ended(await caller.place("199"))
        assert (call.outcome, self.fault(call)) == (Outcome.PBX_ERROR, "SUBSCRIBER_ABSENT")

    @asynchronous
    async def test_cancelled(self) -> None:
        """By its own id."""
        double = FreeSwitch()
        caller = await self.begin("freeswitch", double)
        request_id = await caller.place()
        await caller.until(request_id, CallState.DIALING_SECOND)
        caller.cancel(request_id)
        assert (await caller.ended(request_id)).outcome is Outcome.CANCELLED
        assert double.hung_up


class TestYeastar(ExampleTest):
    @asynchronous
    async def test_connected(self) -> None:
        """A login, and a second one when its token has lapsed: the order was not carried out."""
        double = Yeastar()
        caller = await self.begin("yeastar-p", double, id="id")
        double.lapsed = True
        call = await caller.ended(await caller.place())
        assert call.outcome is Outcome.CONNECTED
        assert (double.placed, double.token) == (1, 2)
        assert caller.told == [
            *("OriginateAccepted", "FirstRinging", "FirstAnswered", "SecondRinging"),
            *("SecondAnswered", "Gone"),
        ]
        self.no_secret(caller, call)
        assert "token2" not in repr((call.plan, call.pbx_response))

    @asynchronous
    async def test_refused_and_cancelled(self) -> None:
        """Cancelled by the channel that a status has shown."""
        double = Yeastar()
        caller = await self.begin("yeastar-p", double, id="id")
        call = await caller.ended(await caller.place("105"))
        assert (call.outcome, self.fault(call)) == (Outcome.PBX_ERROR, "EXTENSION IS BUSY")
        request_id = await caller.place()
        caller.cancel(request_id)
        assert (await caller.ended(request_id)).outcome is Outcome.CANCELLED
        assert double.hung_up


class TestThreeCx(ExampleTest):
    @asynchronous
    async def test_connected(self) -> None:
        """Found in the list among others; gone when it is absent."""
        double = ThreeCx()
        caller = await self.begin("3cx", double)
        call = await caller.ended(await caller.place())
        assert call.outcome is Outcome.CONNECTED
        assert caller.told == [
            *("OriginateAccepted", "FirstRinging", "SecondDialed", "SecondAnswered", "Gone")
        ]
        assert double.placed == 1

    @asynchronous
    async def test_refused_and_cancelled(self) -> None:
        """By the participant that the answer gave."""
        double = ThreeCx()
        caller = await self.begin("3cx", double)
        call = await caller.ended(await caller.place("105"))
        assert (call.outcome, self.fault(call)) == (Outcome.PBX_ERROR, "Device is busy.")
        request_id = await caller.place()
        await caller.until(request_id, CallState.FIRST_RINGING)
        caller.cancel(request_id)
        assert (await caller.ended(request_id)).outcome is Outcome.CANCELLED
        assert double.hung_up


class TestWithoutStatus(ExampleTest):
    async def taken(self, name: str, double: Double, words: str, **secrets: str) -> None:
        """Taken, and nobody tells the rest; refused in its own words."""
        caller = await self.begin(name, double, **secrets)
        call = await caller.ended(await caller.place())
        assert (call.outcome, call.reason) == (Outcome.UNKNOWN, UnknownReason.NOT_TOLD)
        assert call.answer is not None
        assert call.answer.faults == ()
        assert double.placed == 1
        call = await caller.ended(await caller.place("105"))
        assert (call.outcome, self.fault(call)) == (Outcome.PBX_ERROR, words)
        self.no_secret(caller, call)

    @asynchronous
    async def test_grandstream(self) -> None:
        """After its challenge."""
        await self.taken("grandstream-ucm", Ucm(), "Extension is busy")

    @asynchronous
    async def test_webhook(self) -> None:
        """A foreign library has verified it; with another secret its words reach the caller."""
        await self.taken("webhook", Dialer(), "That one is busy.", hook=Dialer.secret)
        double = Dialer()
        caller = await self.begin("webhook", double, hook="whsec_" + "QUFB" * 11)
        call = await caller.ended(await caller.place())
        assert self.fault(call) == "No matching signature found"
        assert double.placed == 0


class TestKamailio(ExampleTest):
    @asynchronous
    async def test_taken(self) -> None:
        """What it does not take, it says with HTTP 500."""
        double = Kamailio()
        caller = await self.begin("kamailio", double)
        call = await caller.ended(await caller.place())
        assert (call.outcome, call.reason) == (Outcome.UNKNOWN, UnknownReason.NOT_TOLD)
        call = await caller.ended(await caller.place("105"))
        assert (call.outcome, self.fault(call)) == (Outcome.PBX_ERROR, "Cannot place it")


def test_every_example_is_run() -> None:
    """Here, or against the real one (tests/pbx/test_other.py)."""
    here = {"freeswitch", "yeastar-p", "3cx", "grandstream-ucm", "webhook", "kamailio"}
    assert {file.stem for file in EXAMPLES.glob("*.yml")} == here | {"asterisk-ari"}
