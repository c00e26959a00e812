"""The worst days of a relay: each test ends with a count of jobs, calls on the PBX, and results."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.cloud.conftest import Cloud, StartPhone
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

if TYPE_CHECKING:
    from tests.cloud.conftest import Relay
    from tests.pbx.proxy import Wire

TALKS = Behaviour(ring_seconds=0.4, talk_seconds=1.5)
TALKS_ON = Behaviour(ring_seconds=0.4, talk_seconds=40)
RINGS_A_WHILE = Behaviour(ring_seconds=4)
RINGS_LONG = Behaviour(ring_seconds=9)
QUICK = Behaviour(ring_seconds=0.3)

#: Calls at once.
SOME = 6


def placed_once(witness: Witness, request_ids: Sequence[str]) -> None:
    """Each of these was a call on the PBX, and nothing else was; each was originated once."""
    calls = sorted(linkedid for linkedid in witness.linkedids() if linkedid.startswith("c2c-"))
    assert calls == sorted(linkedid_of(request_id) for request_id in request_ids)
    assert [witness.call(linkedid).originates for linkedid in calls] == [1] * len(calls)


def place_in(
    clients: ThreadPoolExecutor, relay: Relay, **more: str
) -> tuple[str, Future[dict[str, Any]]]:
    """A call that is being asked for: its id, and the answer to come."""
    request_id = str(uuid4())
    return request_id, clients.submit(relay.place, "100", "200", request_id=request_id, **more)


def test_the_broker_is_killed(
    cloud: Cloud, phone: StartPhone, witness: Witness, clients: ThreadPoolExecutor
) -> None:
    """With calls in all stages: none is lost, none is dialled twice, and every result arrives."""
    first, second = phone("pbx1", "100", RINGS_A_WHILE), phone("pbx1", "200", TALKS)
    with cloud.agent(), cloud.relay() as relay:
        asked = [place_in(clients, relay) for _ in range(SOME)]
        for _, answer in asked:
            assert answer.result()["status"] == "success"
        wait_until(lambda: len(first.calls()) == SOME, 20, "all first phones ring")
        cloud.broker.kill()
        wait_until(second.calls, 20, "the calls go on without the broker")
        cloud.broker.start()
        outcomes = [relay.ended(request_id)["outcome"] for request_id, _ in asked]
    assert outcomes == ["connected"] * SOME
    placed_once(witness, [request_id for request_id, _ in asked])
    assert (len(first.calls()), len(second.calls())) == (SOME, SOME)


def test_the_agent_is_killed_between_commit_and_acknowledgement(
    cloud: Cloud,
    phone: StartPhone,
    witness: Witness,
    clients: ThreadPoolExecutor,
    wire: Wire,
) -> None:
    """The broker gives the job again, and it dials nothing."""
    first = phone("pbx1", "100", RINGS_LONG)
    phone("pbx1", "200", TALKS)
    agent, relay = cloud.agent(wire=wire), cloud.relay()
    with relay:
        agent.start()
        agent.logged("AMQP link up")
        wire.mute = True  # what the agent says to the broker is lost
        request_id, answer = place_in(clients, relay, timeout="30")
        wait_until(first.calls, 20, "the first phone rings")
        # The broker counts every few seconds only.
        wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 1, 20, "it is not acknowledged")
        agent.kill()
        wire.mute = False
        with agent:
            assert answer.result()["status"] == "success"
            assert relay.ended(request_id)["outcome"] == "connected"
            wait_until(lambda: not cloud.broker.depth("c2c.jobs.pbx1"), 20, "it is acknowledged")
    placed_once(witness, [request_id])
    assert len(first.calls()) == 1


def test_the_agent_is_killed_between_originate_and_result(
    cloud: Cloud, phone: StartPhone, witness: Witness
) -> None:
    """The dialplan goes on alone; back again, the agent tells what became of it."""
    phone("pbx1", "100", RINGS_A_WHILE)
    second = phone("pbx1", "200", TALKS)
    agent, relay = cloud.agent(), cloud.relay()
    with relay:
        agent.start()
        agent.logged("AMQP link up")
        request_ids = [relay.call("100", "200") for _ in range(3)]
        agent.reached(request_ids[-1], "first_ringing")
        agent.kill()
        wait_until(lambda: len(second.calls()) == 3, 20, "the calls go on without the agent")
        with agent:
            outcomes = [relay.ended(request_id)["outcome"] for request_id in request_ids]
    assert outcomes == ["connected"] * 3
    placed_once(witness, request_ids)


def test_the_relay_is_killed_while_a_requester_waits(
    cloud: Cloud, phone: StartPhone, witness: Witness, clients: ThreadPoolExecutor
) -> None:
    """It gives the job out again when it is back; the requester asks again, and is answered."""
    phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
    relay = cloud.relay()
    relay.start()
    request_id, lost = place_in(clients, relay)
    wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 1, 20, "the job waits")
    relay.kill()
    with suppress(OSError, HTTPException):
        lost.result()
    relay.start()
    wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 2, 20, "it was given out again")
    with cloud.agent():
        again = relay.place("100", "200", request_id=request_id)
        assert (again["status"], again["replayed"]) == ("success", True)
        assert relay.ended(request_id)["outcome"] == "connected"
    placed_once(witness, [request_id])


def test_the_way_to_the_agent_is_cut(
    cloud: Cloud, phone: StartPhone, witness: Witness, wire: Wire
) -> None:
    """For longer than a job lives: a late one rings nobody, and the result of a talk arrives."""
    phone("pbx1", "100", QUICK)
    second = phone("pbx1", "200", TALKS)
    agent, relay = cloud.agent(wire=wire), cloud.relay(answer_timeout=10)
    with relay, agent:
        agent.logged("AMQP link up")
        talking = relay.call("100", "200")
        wait_until(lambda: second.calls() and second.calls()[0].answered_at, 20, "they talk")
        wire.cut()
        late = relay.place("100", "200")
        assert [one["error"]["code"] for one in late["errors"]] == ["pbx_unavailable"]
        assert relay.status(talking)["call"]["outcome"] is None
        wire.mend()
        assert relay.ended(talking)["outcome"] == "connected"
        assert relay.ended(late["request_id"])["outcome"] == "expired"
    placed_once(witness, [talking])


def test_a_cancel_while_the_way_from_the_relay_is_cut(
    cloud: Cloud, phone: StartPhone, witness: Witness, wire: Wire
) -> None:
    """And it is killed before it can be told: their talk, of which nothing new is heard, ends."""
    phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS_ON)
    with cloud.agent(), cloud.relay(wire=wire) as relay:
        request_id = relay.call("100", "200")
        relay.reached(request_id, "connected")
        wire.cut()
        assert relay.cancel(request_id)["status"] == "success"
        relay.kill()
        wire.mend()
        relay.start()
        call = relay.ended(request_id)
    assert (call["outcome"], call["hung_up_by"]) == ("connected", "cancel")
    placed_once(witness, [request_id])


def test_a_client_that_repeats_itself(
    cloud: Cloud, phone: StartPhone, witness: Witness, clients: ThreadPoolExecutor
) -> None:
    """The same request twenty times at once: one call, one answer for all."""
    first = phone("pbx1", "100", QUICK)
    phone("pbx1", "200", TALKS)
    request_id = str(uuid4())
    with cloud.agent(), cloud.relay() as relay:
        asked = [
            clients.submit(relay.place, "100", "200", request_id=request_id) for _ in range(20)
        ]
        assert {answer.result()["status"] for answer in asked} == {"success"}
        assert sum("replayed" in answer.result() for answer in asked) == 19
        assert relay.ended(request_id)["outcome"] == "connected"
    placed_once(witness, [request_id])
    assert len(first.calls()) == 1
