"""What an agent takes from the broker, and what the broker lets it do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from tests.cloud.brokers import ADDRESS, PASSWORD, PORT
from tests.cloud.conftest import Cloud, StartPhone
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from tests.cloud.brokers import Broker

TALKS = Behaviour(ring_seconds=0.3, talk_seconds=0.5)
QUICK = Behaviour(ring_seconds=0.3)


def channel_of(user: str) -> Any:
    """A channel of a foreign client that has logged in as this user."""
    login = pika.PlainCredentials(user, PASSWORD)
    return pika.BlockingConnection(
        pika.ConnectionParameters(ADDRESS, PORT, credentials=login)
    ).channel()


@pytest.fixture
def channel(broker: Broker) -> Iterator[Any]:  # noqa: ARG001 - it is there
    """A channel of somebody who may give jobs."""
    opened = channel_of("cloud")
    with closing(opened.connection):
        yield opened


def give(channel: Any, body: bytes) -> None:
    """Put a message into the queue of pbx1."""
    channel.basic_publish("", "c2c.jobs.pbx1", body, pika.BasicProperties(delivery_mode=2))


def dead_letter(channel: Any) -> tuple[Any, Any]:
    """How the next dead letter came, and its properties, as soon as there is one."""

    def got() -> tuple[Any, Any] | None:
        method, properties, _ = channel.basic_get("c2c.dead", auto_ack=True)
        return None if method is None else (method, properties)

    letter = wait_until(got, 20, "a dead letter")
    assert letter is not None
    return letter


def job(**changes: Any) -> dict[str, Any]:
    """A job as the contract has it."""
    return {
        "request_id": str(uuid4()),
        "dial_first": "100",
        "dial_second": "200",
        "dial_as": "100",
        "timeout": 10,
        "pbx": "asterisk",
        "expires": time.time() + 20,
    } | changes


class TestJobs:
    def test_the_same_job_three_times(self, cloud: Cloud, phone: StartPhone, channel: Any) -> None:
        """It is one call."""
        first = phone("pbx1", "100", QUICK)
        phone("pbx1", "200", TALKS)
        one = job()
        for _ in range(3):
            give(channel, json.dumps(one).encode())
        with cloud.agent() as agent:
            agent.logged(f"call {one['request_id']} dialing_first")
            assert agent.ended(one["request_id"])["outcome"] == "connected"
            wait_until(lambda: not cloud.broker.depth("c2c.jobs.pbx1"), 20, "all are acknowledged")
        assert len(first.calls()) == 1

    def test_malformed(self, cloud: Cloud, phone: StartPhone, channel: Any) -> None:
        """Each is a dead letter with its reason, and the next one is taken."""
        phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
        good = job()
        give(channel, b"\xff\x00")
        give(channel, b"[1]")
        give(channel, json.dumps({**job(), "request_id": "7"}).encode())
        give(channel, json.dumps(good).encode())
        with cloud.agent() as agent:
            agent.logged(f"call {good['request_id']} dialing_first")
            assert agent.ended(good["request_id"])["outcome"] == "connected"
        letters = [dead_letter(channel) for _ in range(3)]
        reasons = sorted(properties.headers["c2c-reason"] for _, properties in letters)
        assert reasons == ["no JSON object", "no valid JSON", "request_id is not a UUID"]
        assert {method.routing_key for method, _ in letters} == {"c2c.jobs.pbx1"}

    def test_another_call_with_the_same_id(
        self, cloud: Cloud, phone: StartPhone, channel: Any
    ) -> None:
        """It is not what the id stands for: a dead letter."""
        phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
        one = job()
        give(channel, json.dumps(one).encode())
        with cloud.agent() as agent:
            agent.logged(f"call {one['request_id']} dialing_first")
            agent.ended(one["request_id"])
            give(channel, json.dumps({**one, "dial_second": "201"}).encode())
            _, properties = dead_letter(channel)
        assert "used before for another call" in properties.headers["c2c-reason"]

    def test_past_its_time(self, cloud: Cloud, phone: StartPhone, channel: Any) -> None:
        """It rings nobody, and is told as expired."""
        first = phone("pbx1", "100", QUICK)
        late = job(expires=time.time() - 1)
        give(channel, json.dumps(late).encode())
        with cloud.agent() as agent:
            agent.logged(f"call {late['request_id']} ended: expired")
            assert agent.ended(late["request_id"])["outcome"] == "expired"
        assert first.calls() == []

    def test_beyond_the_agent_s_own_policy(self, cloud: Cloud, channel: Any) -> None:
        """Whatever a relay allows, the agent's key has to allow it as well."""
        abroad = job(dial_second="0037112345678")
        give(channel, json.dumps(abroad).encode())
        with cloud.agent() as agent:
            agent.logged(f"call {abroad['request_id']} ended: rejected")


class TestResultsQueue:
    """The queue of a relay, which no other queue's rules hold for."""

    @pytest.fixture
    def relays(self, broker: Broker, tmp_path: Path) -> Iterator[Cloud]:
        """No PBX is needed."""
        made = Cloud(broker, {}, tmp_path)
        yield made
        made.end()

    def test_it_expires(self, broker: Broker, relays: Cloud) -> None:
        """Two weeks without its relay, and it is gone with all that it holds."""
        with relays.relay("expiring") as relay:
            relay.logged("AMQP link up")
        assert arguments(broker, "c2c.results.relay-expiring") == {
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": "c2c.dead",
            "x-expires": 14 * 24 * 3600 * 1000,
        }

    def test_one_that_stands_there_without(
        self, broker: Broker, relays: Cloud, channel: Any
    ) -> None:
        """As 0.1 has made it: it is used as it is, and once it was deleted it is made anew."""
        queue = "c2c.results.relay-old"
        of_0_1 = {
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": "c2c.dead",
        }
        channel.queue_declare(queue, durable=True, arguments=of_0_1)
        with pytest.raises(ChannelClosedByBroker, match="PRECONDITION_FAILED"):
            channel.connection.channel().queue_declare(
                queue, durable=True, arguments={**of_0_1, "x-expires": 60_000}
            )
        relay = relays.relay("old")
        with relay:
            relay.logged(f"{queue} is of 0.1 and never expires")
            relay.logged("AMQP link up")
            channel.basic_publish("c2c.events", "pbx1.call.ended", b"no event")
            relay.logged("is a dead letter")  # it listens to that queue
        assert arguments(broker, queue) == of_0_1
        assert broker.depth(queue) == 0
        channel.queue_delete(queue)
        with relay:
            wait_until(
                lambda: "x-expires" in arguments(broker, queue), 20, "the queue is made anew"
            )
        assert relay.log().count("never expires") == 1


def arguments(broker: Broker, queue: str) -> dict[str, Any]:
    """What a queue was declared with; nothing where there is none."""
    listed = broker.ctl("list_queues", "--silent", "--formatter", "json", "name", "arguments")
    for one in json.loads(listed):
        if one["name"] == queue:
            return {name: value for name, _, value in one["arguments"]}
    return {}


class TestLogin:
    def test_a_wrong_password(self, cloud: Cloud) -> None:
        """The broker's own word for it is in the log."""
        relay = cloud.relay()
        (relay.directory / "amqp.password").write_text("wrong\n", encoding="utf-8")
        relay.start(wait=False)
        relay.logged("ACCESS_REFUSED")


class TestPermissions:
    """As `deploy/definitions.json` gives them."""

    def test_another_s_queue(self, broker: Broker) -> None:  # noqa: ARG002
        """An agent reads its own jobs only."""
        own = channel_of("pbx1")
        with closing(own.connection):
            own.basic_get("c2c.jobs.pbx1")
            with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
                own.basic_get("c2c.jobs.pbx2")

    @pytest.mark.parametrize(
        ("exchange", "key"),
        [
            ("c2c.events", "pbx2.call.ended"),  # in another's name
            ("", "c2c.jobs.pbx2"),  # a job for another
            ("", "c2c.jobs.pbx1"),  # or for itself
            ("amq.topic", "pbx1.call.ended"),
        ],
    )
    def test_what_an_agent_may_not_publish(
        self,
        broker: Broker,  # noqa: ARG002
        exchange: str,
        key: str,
    ) -> None:
        """Nothing but its own events, and dead letters."""
        own = channel_of("pbx1")
        with closing(own.connection):
            own.confirm_delivery()
            own.basic_publish("c2c.dead", "c2c.jobs.pbx1", b"{}")
            with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
                own.basic_publish(exchange, key, b"{}")

    def test_what_an_agent_may_not_make(self, broker: Broker) -> None:  # noqa: ARG002
        """No queues or exchanges of its own."""
        own = channel_of("pbx1")
        with (
            closing(own.connection),
            pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"),
        ):
            own.queue_declare("c2c.jobs.pbx3")
