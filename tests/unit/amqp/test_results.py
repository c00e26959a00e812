"""Events published to the broker."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from pika.exceptions import ChannelClosed, ChannelClosedByBroker, ConnectionClosed, NackError
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.amqp.results import ResultPublisher
from c2c_agent.call.call import Answer, CallState, Entry
from c2c_agent.report.delivery import Delivered, Delivery, Later, Target, Waiting, reports
from c2c_agent.report.event import EventType
from tests.fake_broker import FakeConnection
from tests.fakes import uuid
from tests.playbook import REQUEST_ID, a_call


class Results(SynchronousTestCase):
    """One event after the other."""

    def setUp(self) -> None:
        """The link comes up."""
        self.woken = 0
        self.lost: list[str] = []
        clock: Any = Clock()
        self.results = ResultPublisher("pbx1", clock, self.wake)
        self.broker = FakeConnection()

    def wake(self) -> None:
        """Something can be delivered."""
        self.woken += 1
        assert self.results.ready()

    def connect(self) -> None:
        """The link comes up."""
        connection: Any = self.broker
        opening = self.results.opened(connection, self.lost.append)
        self.successResultOf(Deferred.fromCoroutine(opening))

    def deliver(self, relay: str | None = None) -> Delivery:
        """Deliver the event of a call that rings."""
        after = a_call(
            state=CallState.FIRST_RINGING,
            timeline=(Entry(1001.0, "first_ringing"),),
            relay=relay,
        )
        [report] = reports(a_call(), after, [self.results.target], server_id="pbx1.test")
        delivering = self.results.deliver(Waiting(report))
        delivered: Delivery = self.successResultOf(Deferred.fromCoroutine(delivering))
        return delivered

    def test_published(self) -> None:
        """To the exchange of events, under the agent's name, with its own record."""
        self.connect()
        assert self.woken == 1
        assert self.deliver() == Delivered()
        [(exchange, key, body, properties)] = self.broker.published
        assert (exchange, key) == ("c2c.events", "pbx1.call.first_ringing")
        event = json.loads(body)
        assert (properties.message_id, properties.type) == (event["id"], "call.first_ringing")
        assert event["record"]["request_id"] == REQUEST_ID

    def test_without_a_link(self) -> None:
        """It waits, and counts as no attempt."""
        assert not self.results.ready()
        assert self.deliver() == Later("no link to the broker", 0.0, counted=False)
        self.connect()
        self.results.closed("cut")
        assert not self.results.ready()
        self.results.revive()
        assert not self.results.ready()

    def test_the_link_is_lost_meanwhile(self) -> None:
        """Nobody knows whether it arrived: published again, with the same id."""
        self.connect()
        self.broker.error = ChannelClosed(0, "cut")
        delivery = self.deliver()
        assert isinstance(delivery, Later)
        assert not delivery.counted

    def test_a_channel_that_the_broker_closes(self) -> None:
        """Nothing would be published on it ever again: the link is made anew."""
        self.connect()
        [channel] = self.broker.channels
        channel.on_closed.callback(ChannelClosedByBroker(404, "no exchange"))
        [reason] = self.lost
        assert "no exchange" in reason

    def test_a_channel_that_is_closed_with_its_connection(self) -> None:
        """There is no link then that could be given up."""
        self.connect()
        [channel] = self.broker.channels
        channel.on_closed.callback(ConnectionClosed(320, "shutdown"))
        assert self.lost == []

    def test_not_taken(self) -> None:
        """Tried again in a while, for ever."""
        self.connect()
        self.broker.error = NackError([])
        delivery = self.deliver()
        assert isinstance(delivery, Later)
        assert delivery.seconds > 0

    def test_that_the_pbx_has_answered(self) -> None:
        """It is told to relays, and to nobody else."""
        before, after = a_call(), a_call(answer=Answer(), timeline=(Entry(1.0, "accepted"),))
        told = reports(before, after, [self.results.target, Target("crm")], server_id="x")
        assert [(report.target, report.type) for report in told] == [
            (self.results.target.name, EventType.PLACED)
        ]

    def test_to_one_relay(self) -> None:
        """That which asked for it; the routing key says so."""
        self.connect()
        assert self.deliver("relay-a.example.com") == Delivered()
        [(exchange, key, _, _)] = self.broker.published
        assert (exchange, key) == ("c2c.events", "pbx1.call.first_ringing.relay-a.example.com")

    def test_each_to_the_relay_of_its_own_request(self) -> None:
        """Also when events of several calls come in turn, and a call comes to its end."""
        self.connect()
        relays: dict[str, str | None] = {uuid(1): "relay-a", uuid(2): None, uuid(3): "relay-b"}
        for state in (CallState.FIRST_RINGING, CallState.ENDED, CallState.ENDED):
            for request_id, relay in relays.items():
                before = a_call(request_id=request_id, relay=relay)
                after = evolve(before, state=state, timeline=(Entry(1001.0, state.value),))
                [report] = reports(before, after, [self.results.target], server_id="pbx1.test")
                delivering = self.results.deliver(Waiting(report))
                assert self.successResultOf(Deferred.fromCoroutine(delivering)) == Delivered()
        for _, key, body, _ in self.broker.published:
            event = json.loads(body)
            relay = relays[event["request_id"]]
            assert key == f"pbx1.{event['type']}" + (f".{relay}" if relay else "")
        assert len(self.broker.published) == 9
        assert self.results._relays == {}, "nothing is kept of calls that are over"
