"""Asking Asterisk what exists of calls: for all of them at once, one list at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.ami.actions import ShuttingDown
from c2c_agent.ami.link import AmiLink, LinkDown
from c2c_agent.ami.message import Message
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.pbx.asterisk.channel_id import request_id_of, root_id
from c2c_agent.pbx.asterisk.inquiry import Inquiry
from tests.fake_link import FakeLink, Sent, message
from tests.fakes import uuid

A, B, C, D = map(uuid, range(4))


def channel(request_id: str, number: int = 1) -> Message:
    """A channel of a call, as it is listed."""
    linked = root_id(request_id)
    return message(Event="CoreShowChannel", Uniqueid=f"7.{number}", Linkedid=linked)


class InquiryTestCase(SynchronousTestCase):
    """An inquiry over a fake link, that keeps what is told."""

    def setUp(self) -> None:
        self.link = FakeLink()
        self.clock = Clock()
        self.told: list[tuple[str, int]] = []  # a call, and how many channels it has
        self.refused: list[str] = []
        self.inquiry = Inquiry(
            cast("AmiLink", self.link),
            self.clock,
            whose=request_id_of,
            found=self.found,
            not_found=lambda request_id: self.told.append((request_id, 0)),
            not_listed=self.refused.append,
        )

    def tearDown(self) -> None:
        assert self.clock.getDelayedCalls() == []

    def found(self, request_id: str, channels: Collection[Message]) -> None:
        """Keep how many there are."""
        self.told.append((request_id, len(channels)))

    def list(self) -> Sent:
        """The list that was asked for last."""
        return self.link.last("CoreShowChannels")

    def next_list(self) -> Sent:
        """The next one, which waits for its turn."""
        before = self.lists()
        self.clock.advance(1.9)
        assert self.lists() == before
        self.clock.advance(0.1)
        assert self.lists() == before + 1
        return self.list()

    def lists(self) -> int:
        """How many lists were asked for."""
        return self.link.names().count("CoreShowChannels")


class ListTests(InquiryTestCase):
    def test_one_list_for_all(self) -> None:
        """What comes while one is on its way is asked for by the next, all together."""
        calls = [uuid(number) for number in range(100)]
        for call in calls:
            self.inquiry.ask([call])
        assert self.lists() == 1
        listed = [channel(call) for call in calls]
        self.list().list(*listed)
        assert self.told == [(uuid(0), 1)]
        self.next_list().list(*listed)
        assert self.told == [(call, 1) for call in calls]
        assert self.lists() == 2

    def test_all_of_its_channels(self) -> None:
        """And none of anybody else's."""
        self.inquiry.ask([A, B])
        self.list().list(
            channel(B),
            channel(A),
            channel(A, 2),
            message(Event="CoreShowChannel", Uniqueid="1.1", Linkedid="1.1"),
        )
        assert self.told == [(A, 2), (B, 1)]

    def test_asked_twice(self) -> None:
        """While it waits, is listed, or is to be looked for again: one answer."""
        self.inquiry.ask([A])
        self.inquiry.ask([A, B])
        self.inquiry.ask([B])
        self.list().list(channel(A))
        self.next_list().list()
        self.inquiry.ask([B])
        self.next_list().list()
        assert self.told == [(A, 1), (B, 0)]
        self.inquiry.ask([A])
        self.next_list().list(channel(A))
        assert self.told[2:] == [(A, 1)]

    def test_gone_after_two_lists(self) -> None:
        """Found in the second, it is found."""
        self.inquiry.ask([A, B])
        self.list().list()
        assert self.told == []
        self.clock.advance(1.9)
        assert self.lists() == 1
        self.clock.advance(0.1)
        self.list().list(channel(B))
        assert self.told == [(A, 0), (B, 1)]

    def test_each_has_its_time(self) -> None:
        """Who was missing later is looked for later; who waits for a list has the same one."""
        self.inquiry.ask([A])
        self.list().list()
        self.clock.advance(1)
        self.inquiry.ask([B])
        self.clock.advance(1)
        assert self.lists() == 2
        self.list().list()
        assert self.told == [(A, 0)]
        self.next_list().list()
        assert self.told == [(A, 0), (B, 0)]

    def test_a_hundred_that_ask_one_after_the_other(self) -> None:
        """Each of them wants to know for itself, and there is a list now and then, for all."""
        calls = [uuid(number) for number in range(100)]
        seen = 0
        for step in range(120):
            self.inquiry.ask(calls[step : step + 1])
            self.clock.advance(0.125)
            if self.lists() > seen:
                self.list().list(*map(channel, calls))
                seen += 1
        assert seen == 8  # in 14 seconds
        assert self.told == [(call, 1) for call in calls]

    def test_nobody_wants_to_know(self) -> None:
        """A call that was dropped is asked for no more, at any stage."""
        self.inquiry.ask([A])
        self.inquiry.ask([B, C])
        self.inquiry.forget(A)
        self.inquiry.forget(B)
        self.list().list(channel(A), channel(B))
        assert self.told == []
        self.next_list().list()
        self.inquiry.ask([D])
        self.inquiry.forget(C)
        self.inquiry.forget(D)
        assert self.lists() == 2

    def test_nothing_to_ask(self) -> None:
        """Then nothing is asked."""
        self.inquiry.ask([])
        assert self.lists() == 0

    def test_a_mistake_in_who_is_told(self) -> None:
        """Is logged, and the next is asked for all the same."""
        self.told = cast("list[tuple[str, int]]", None)
        self.inquiry.ask([A])
        self.inquiry.ask([B])
        self.list().list(channel(A))
        assert len(self.flushLoggedErrors(AttributeError)) == 1
        self.told = []
        self.next_list().list(channel(B))
        assert self.told == [(B, 1)]


class LinkTests(InquiryTestCase):
    def test_a_slow_asterisk(self) -> None:
        """It is asked again; how often a call was missing is not forgotten over it."""
        self.inquiry.ask([A])
        self.list().list()
        self.clock.advance(2)
        self.list().fail(ActionTimedOut("CoreShowChannels"))
        self.clock.advance(2)
        self.list().list()
        assert self.told == [(A, 0)]

    def test_the_link_is_lost_over_it(self) -> None:
        """Who wants to know asks again, and has then two lists as everybody."""
        self.inquiry.ask([A])
        self.list().list()
        self.clock.advance(2)
        self.inquiry.ask([B])
        late = self.list()
        self.inquiry.link_lost()
        self.inquiry.ask([A])
        assert self.lists() == 2
        late.fail(LinkLost("cut"))
        assert self.lists() == 3
        self.list().list()
        assert self.told == []
        self.clock.advance(2)
        self.list().list()
        assert self.told == [(A, 0)]

    def test_a_pause_ends_with_the_link(self) -> None:
        """Nothing of it is asked on the next one."""
        self.inquiry.ask([A])
        self.list().list()
        self.inquiry.link_lost()
        self.clock.advance(10)
        assert self.lists() == 1

    def test_without_a_link(self) -> None:
        """Nobody is told; nor where it is lost while Asterisk is slow."""
        self.link.is_up = False
        self.inquiry.ask([A])
        self.link.is_up = True
        self.inquiry.ask([B])
        self.link.is_up = False
        self.list().fail(ActionTimedOut("CoreShowChannels"))
        assert self.told == []


class RecordTests(InquiryTestCase):
    def test_a_record(self) -> None:
        """Its text; empty where there is an entry without a value."""
        for items, text in (
            ([message(Event="DBGetResponse", Val="BUSY,17")], "BUSY,17"),
            ([message(Event="DBGetResponse", Val="")], ""),
            ([], ""),
        ):
            reading = Deferred.fromCoroutine(self.inquiry.record(A))
            sent = self.link.last("DBGet")
            assert sent.headers == {"Family": "c2c", "Key": A}
            sent.list(*items)
            assert self.successResultOf(reading) == text

    def test_a_refusal_for_another_reason(self) -> None:
        """It is no record either, and the log says so."""
        with capturedLogs() as logs:
            reading = Deferred.fromCoroutine(self.inquiry.record(A))
            self.link.last("DBGet").refuse("Permission denied")
            assert self.successResultOf(reading) is None
        [entry] = logs
        assert "DBGet refused: Permission denied" in str(formatEvent(entry))

    def test_no_record(self) -> None:
        """Asterisk says that there is none, or does not answer: that is not the same."""
        reading = Deferred.fromCoroutine(self.inquiry.record(A))
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.successResultOf(reading) is None
        reading = Deferred.fromCoroutine(self.inquiry.record(A))
        self.link.last("DBGet").fail(LinkLost("cut"))
        self.failureResultOf(reading, LinkLost)

    def test_all_records(self) -> None:
        """The calls that they are of; none where Asterisk cannot tell."""
        reading = Deferred.fromCoroutine(self.inquiry.recorded_calls())
        keys = (f"/c2c/{A}", f"/c2c/{B}")
        self.link.last("DBGetTree").list(
            *(message(Event="DBGetTreeResponse", Key=key, Val="ANSWER") for key in keys)
        )
        assert self.successResultOf(reading) == [A, B]
        reading = Deferred.fromCoroutine(self.inquiry.recorded_calls())
        self.link.last("DBGetTree").refuse("Database entry not found")
        assert self.successResultOf(reading) == []

    def test_a_record_is_deleted(self) -> None:
        """By the one way that AMI allows; where the link is lost over it, it stays."""
        deleting = Deferred.fromCoroutine(self.inquiry.delete_record(A))
        sent = self.link.last("Setvar")
        assert sent.headers == {"Variable": f"DB_DELETE(c2c/{A})", "Value": ""}
        sent.fail(LinkLost("cut"))
        with capturedLogs() as logs:
            self.successResultOf(deleting)
        assert logs == []


class RefusalTests(InquiryTestCase):
    """What Asterisk refuses is said in its own words; that there is no link, by the link."""

    def logged(self, doing: Callable[[], object]) -> list[str]:
        """What is logged meanwhile."""
        with capturedLogs() as logs:
            doing()
        return [str(formatEvent(entry)) for entry in logs]

    def test_the_list(self) -> None:
        """It is told that there is none, and the next one is asked for at once."""
        self.inquiry.ask([A])
        said = self.logged(lambda: self.list().refuse("Permission denied"))
        assert said == ["CoreShowChannels refused: Permission denied"]
        assert len(self.refused) == 1
        assert self.told == []
        self.inquiry.ask([B])
        assert self.logged(lambda: self.list().fail(LinkLost("cut"))) == []
        self.inquiry.ask([C])
        words = ShuttingDown("CoreShowChannels", "Asterisk is shutting down")
        assert self.logged(lambda: self.list().fail(words)) == [str(words)]
        assert self.lists() == 3

    def test_the_records(self) -> None:
        """None, or a version that cannot list them, is no refusal."""
        ordinary = ["Database entry not found", "Invalid/unknown command: DBGetTree. Use ..."]
        for text, told in (
            *((text, []) for text in ordinary),
            ("Permission denied", ["DBGetTree refused: Permission denied"]),
        ):
            reading = Deferred.fromCoroutine(self.inquiry.recorded_calls())
            assert self.logged(partial(self.link.last("DBGetTree").refuse, text)) == told
            assert self.successResultOf(reading) == []

    def test_the_records_without_an_answer(self) -> None:
        """Said, unless the link is the reason."""
        late = ActionTimedOut("DBGetTree: no answer within 10 s")
        for error, told in ((late, [str(late)]), (LinkLost("cut"), []), (LinkDown("none"), [])):
            reading = Deferred.fromCoroutine(self.inquiry.recorded_calls())
            assert self.logged(partial(self.link.last("DBGetTree").fail, error)) == told
            assert self.successResultOf(reading) == []

    def test_the_deletion(self) -> None:
        """It names the call whose record stays."""
        deleting = Deferred.fromCoroutine(self.inquiry.delete_record(A))
        said = self.logged(lambda: self.link.last("Setvar").refuse("Permission denied"))
        assert said == [f"call {A}: Setvar refused: Permission denied"]
        self.successResultOf(deleting)
        deleting = Deferred.fromCoroutine(self.inquiry.delete_record(A))
        assert self.logged(lambda: self.link.last("Setvar").succeed()) == []
        self.successResultOf(deleting)
