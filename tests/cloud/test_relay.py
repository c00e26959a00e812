"""Calls through the broker: a relay, the agents beside their PBXs, and real phones."""

from __future__ import annotations

from tests.cloud.conftest import Cloud, StartPhone
from tests.pbx.agents import OTHER_KEY
from tests.pbx.event_reader import EventReader
from tests.pbx.sip_scenario import BUSY, Behaviour
from tests.pbx.test_live import CONNECTED
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

TALKS = Behaviour(ring_seconds=0.4, talk_seconds=1.0)
QUICK = Behaviour(ring_seconds=0.3)
RINGS = Behaviour(ring_seconds=None)


class TestCalls:
    def test_a_call(self, cloud: Cloud, phone: StartPhone) -> None:
        """The requester hears what the PBX says, and the story is that of the agent."""
        first, second = phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
        with cloud.agent() as agent, cloud.relay() as relay:
            request_id = relay.call("100", "200")
            call = relay.ended(request_id)
            status = relay.status(request_id)
            beside = agent.status(request_id)
        assert call["outcome"] == "connected"
        for name in ("outcome", "hung_up_by", "cause", "dial_first", "dial_second", "talk_seconds"):
            assert call[name] == beside["call"][name]
        assert (len(first.calls()), len(second.calls())) == (1, 1)
        # Both sides: what the relay gave to the agent, and the agent to Asterisk.
        assert status["pbx_request"]["pbx_data"]["agent"] == "pbx1"
        told = status["response"]["response_data"]
        assert told["server_id"] == "pbx1.test"
        assert told["pbx_data"]["Action"] == "Originate"
        assert told["response_data"]["Response"] == "Success"

    def test_live(self, cloud: Cloud, phone: StartPhone) -> None:
        """Followed at the relay as beside the PBX: while it goes on, and afterwards."""
        phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
        with cloud.agent() as agent, cloud.relay() as relay:
            request_id = relay.call("100", "200")
            path = f"/c2c/v2/events/{request_id}"
            with EventReader(relay.url + path) as live, EventReader(agent.url + path) as beside:
                live.ended()
                beside.ended()
            with EventReader(relay.url + path) as later:
                later.ended()
        assert live.of(request_id) == later.of(request_id) == beside.of(request_id) == CONNECTED
        assert live.ids == later.ids

    def test_the_second_is_busy(self, cloud: Cloud, phone: StartPhone) -> None:
        """Its evidence comes along."""
        phone("pbx1", "100", QUICK), phone("pbx1", "200", BUSY)
        with cloud.agent(), cloud.relay() as relay:
            call = relay.ended(relay.call("100", "200"))
        assert (call["outcome"], call["cause"]) == ("second_busy", 17)

    def test_the_pbx_refuses(self, cloud: Cloud) -> None:
        """Its own words are the answer."""
        with cloud.agent() as agent, cloud.relay() as relay:
            refused = relay.place("100", "200", dial_as="999")
            call = relay.ended(refused["request_id"])
            beside = agent.status(refused["request_id"])["call"]
        assert refused["status"] == "fail"
        assert [one["error"]["code"] for one in refused["errors"]] == ["unknown_dial_as"]
        assert call["outcome"] == beside["outcome"] == "rejected"

    def test_cancel(self, cloud: Cloud, phone: StartPhone) -> None:
        """It goes through to the phone."""
        first = phone("pbx1", "100", RINGS)
        with cloud.agent(), cloud.relay() as relay:
            request_id = relay.call("100", "200")
            relay.reached(request_id, "first_ringing")
            relay.cancel(request_id)
            assert relay.ended(request_id)["outcome"] == "cancelled"
        assert first.whole_call().cancelled_at is not None

    def test_two_agents(self, cloud: Cloud, phone: StartPhone) -> None:
        """Each gets the calls of its own keys, and rings its own phones."""
        phones = {
            pbx: (phone(pbx, "100", QUICK), phone(pbx, "200", TALKS)) for pbx in ("pbx1", "pbx2")
        }
        with cloud.agent("pbx1") as one, cloud.agent("pbx2") as two, cloud.relay() as relay:
            at_one = relay.call("100", "200")
            assert relay.ended(at_one)["outcome"] == "connected"
            assert [len(phone.calls()) for phone in phones["pbx2"]] == [0, 0]
            at_two = relay.place("100", "200", key=OTHER_KEY)["request_id"]
            assert relay.ended(at_two)["outcome"] == "connected"
            assert one.ask(f"/c2c/v2/status/{at_two}")["c2c_status"] is None
            assert two.ask(f"/c2c/v2/status/{at_one}")["c2c_status"] is None
        assert [len(one.calls()) for pbx in phones.values() for one in pbx] == [1, 1, 1, 1]


class TestEvents:
    def test_to_the_relay_whose_call_it_is(self, cloud: Cloud, phone: StartPhone) -> None:
        """The queues of others get nothing, but of those that want all."""
        phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
        others = {name: {"answer_timeout": 10, "events": name} for name in ("all", "mixed", "own")}
        for name, wanted in others.items():
            with cloud.relay(name, relay=wanted) as relay:  # makes its queue, and binds it
                relay.logged("AMQP link up")
            cloud.broker.ctl("purge_queue", f"c2c.results.relay-{name}")
        with cloud.agent(), cloud.relay("a", relay=others["own"]) as relay:
            assert relay.ended(relay.call("100", "200"))["outcome"] == "connected"
        of_all, *of_others = (f"c2c.results.relay-{name}" for name in others)
        wait_until(lambda: cloud.broker.depth(of_all) > 4, 20, "the broker has counted them")
        assert [cloud.broker.depth(queue) for queue in of_others] == [0, 0]

    def test_from_an_agent_that_is_asked_for_nothing(self, cloud: Cloud, phone: StartPhone) -> None:
        """As older ones are: a relay that has changed to mixed hears it beside its own."""
        phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
        with cloud.agent():
            with cloud.relay("a") as relay:
                request_id = relay.call("100", "200")
            relay.configure("relay", {"answer_timeout": 10, "events": "mixed"})
            with relay:
                assert relay.ended(request_id)["outcome"] == "connected"
                assert relay.ended(relay.call("100", "200"))["outcome"] == "connected"


class TestNobodyThere:
    def test_the_agent_is_away(self, cloud: Cloud, phone: StartPhone) -> None:
        """The requester hears it in time; what waited in the queue rings nobody."""
        first = phone("pbx1", "100", QUICK)
        with cloud.relay(answer_timeout=5) as relay:
            late = relay.place("100", "200")
            assert [one["error"]["code"] for one in late["errors"]] == ["pbx_unavailable"]
            with cloud.agent(), Witness(cloud.hosts["pbx1"]) as witness:
                call = relay.ended(late["request_id"])
                assert call["outcome"] == "expired"
                assert witness.linkedids() == []
        assert first.calls() == []

    def test_the_broker_is_away(self, cloud: Cloud) -> None:
        """Said at once."""
        with cloud.relay() as relay:
            cloud.broker.stop()
            try:
                relay.logged("No AMQP link")
                refused = relay.place("100", "200")
            finally:
                cloud.broker.start()
        assert [one["error"]["code"] for one in refused["errors"]] == ["pbx_unavailable"]
