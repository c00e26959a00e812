"""Several relays that share one PostgreSQL: any of them answers for the calls of all."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from c2c_agent.policy.keys import key_digest
from tests.cloud.conftest import Cloud, Relay, StartPhone
from tests.cloud.databases import Database, DatabaseServer
from tests.cloud.test_faults import place_in, placed_once
from tests.pbx.agents import KEY
from tests.pbx.event_reader import EventReader
from tests.pbx.receiver import SECRET, WebhookReceiver
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.test_live import CONNECTED
from tests.pbx.waiting import wait_until
from tests.pbx.witness import Witness

TALKS = Behaviour(ring_seconds=0.4, talk_seconds=1.5)
TALKS_LONG = Behaviour(ring_seconds=0.4, talk_seconds=8)
QUICK = Behaviour(ring_seconds=0.3)
RINGS = Behaviour(ring_seconds=None)
RINGS_A_WHILE = Behaviour(ring_seconds=4)

_RECEIVER = "127.0.0.1"


@pytest.fixture
def both(cloud: Cloud, database: Database) -> tuple[Relay, Relay]:
    """Two relays on one database, not started yet."""
    return cloud.sharing("a", database), cloud.sharing("b", database)


def test_from_end_to_end(
    cloud: Cloud, database: Database, phone: StartPhone, witness: Witness
) -> None:
    """curl, A, RabbitMQ, the agent, two phones; status at B, and a webhook that is verified."""
    first, second = phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
    with WebhookReceiver(_RECEIVER) as receiver:
        a, b = (
            cloud.sharing(
                name,
                database,
                webhooks=[
                    {
                        "name": "crm",
                        "url": receiver.url,
                        "secret_file": str(secret_file(cloud)),
                    }
                ],
            )
            for name in ("a", "b")
        )
        with cloud.agent(), a, b:
            asked = subprocess.run(
                [
                    *("curl", "--silent", "--header", f"Authorization: Bearer {KEY}"),
                    f"{a.url}/c2c/v2?dial_first=100&dial_second=200",
                ],
                capture_output=True,
                check=True,
                timeout=60,
            )
            answer = json.loads(asked.stdout)
            assert answer["server_id"] == "relay-a"
            assert answer["response"]["status"] == "success"
            request_id = answer["response"]["request_id"]
            call = b.ended(request_id)
            status = b.status(request_id)
            assert status == a.status(request_id)
            told = receiver.wait_for(request_id, "call.ended")
        assert receiver.refused == []
        events = receiver.of(request_id)
    assert (call["outcome"], call["dial_second"]["status"]) == ("connected", "ANSWER")
    assert (len(first.calls()), len(second.calls())) == (1, 1)
    # Both sides: what A gave to the agent, and what the agent and Asterisk said to each other.
    assert status["request"]["request_data"]["api_key"] == "crm"
    assert status["pbx_request"]["pbx_data"]["agent"] == "pbx1"
    assert status["response"]["response_data"]["response_data"]["Response"] == "Success"
    assert (told["server_id"], told["call"]["outcome"]) == ("relay-a", "connected")
    # Each once: B tells nothing of A's call.
    assert events == [
        "call.accepted",
        "call.first_ringing",
        "call.first_answered",
        "call.second_ringing",
        "call.connected",
        "call.ended",
    ]
    placed_once(witness, [request_id])


def secret_file(cloud: Cloud) -> Path:
    """The file with the webhook's secret."""
    file = cloud.directory / "crm.whsec"
    file.write_text(SECRET + "\n", encoding="utf-8")
    return file


def test_progress_at_the_other(cloud: Cloud, both: tuple[Relay, Relay], phone: StartPhone) -> None:
    """Each step is seen at B as it comes; who waits there is woken, not put off."""
    phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
    a, b = both
    with cloud.agent(), a, b:
        request_id = a.call("100", "200")
        seen: list[str] = []
        longest = 0.0
        while "ended" not in seen:
            begin = time.monotonic()
            call = b.status(request_id, wait=60, seen=len(seen))["call"]
            longest = max(longest, time.monotonic() - begin)
            events = [entry["event"] for entry in call["timeline"]]
            assert len(events) > len(seen)
            seen = events
        assert seen == [entry["event"] for entry in a.status(request_id)["call"]["timeline"]]
        listed = b.ask("/c2c/v2/calls?api_key=" + KEY.replace(" ", "%20"))["calls"]
        assert [one["request_id"] for one in listed] == [request_id]
    assert longest < 30
    assert {"first_ringing", "first_answered", "second_ringing", "connected"} <= set(seen)


def test_live_at_the_other(cloud: Cloud, both: tuple[Relay, Relay], phone: StartPhone) -> None:
    """Followed at B as at A, by its id and by its key: the same events, with the same ids."""
    phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
    a, b = both
    with cloud.agent(), a, b, EventReader(f"{b.url}/c2c/v2/events", KEY) as all_of_key:
        request_id = a.call("100", "200")
        path = f"/c2c/v2/events/{request_id}"
        with EventReader(a.url + path) as here, EventReader(b.url + path) as there:
            here.ended()
            there.ended()
        wait_until(lambda: len(all_of_key.of(request_id)) == len(CONNECTED), 10, "all is told")
    assert here.of(request_id) == there.of(request_id) == all_of_key.of(request_id) == CONNECTED
    assert here.ids == there.ids == all_of_key.ids
    assert {event["server_id"] for event in there.events} == {"relay-a"}


def test_cancel_at_the_other(cloud: Cloud, both: tuple[Relay, Relay], phone: StartPhone) -> None:
    """It goes through to the phone, and both say so."""
    first = phone("pbx1", "100", RINGS)
    a, b = both
    with cloud.agent(), a, b:
        request_id = a.call("100", "200")
        b.reached(request_id, "first_ringing")
        b.cancel(request_id)
        assert b.ended(request_id)["outcome"] == "cancelled"
        assert a.ended(request_id)["outcome"] == "cancelled"
    assert first.whole_call().cancelled_at is not None


def test_cancel_where_nobody_knows_the_agent(
    cloud: Cloud, both: tuple[Relay, Relay], phone: StartPhone, witness: Witness
) -> None:
    """A was killed; B tells the agent itself, and A hears of the end when it is back."""
    first = phone("pbx1", "100", RINGS)
    a, b = both
    with cloud.agent() as agent, b:
        a.start()
        request_id = a.call("100", "200")
        b.reached(request_id, "first_ringing")
        a.kill()
        b.cancel(request_id)
        assert agent.ended(request_id)["outcome"] == "cancelled"
        wait_until(lambda: first.calls()[0].cancelled_at, 20, "the phone is silent")
        with a:
            assert b.ended(request_id)["outcome"] == "cancelled"
    placed_once(witness, [request_id])


def test_cancel_of_a_job_that_was_not_taken(
    cloud: Cloud,
    both: tuple[Relay, Relay],
    phone: StartPhone,
    clients: ThreadPoolExecutor,
) -> None:
    """Its relay is dead, its agent away: back again, they connect nobody."""
    first = phone("pbx1", "100", RINGS_A_WHILE)
    a, b = both
    with b:
        a.start()
        request_id, lost = place_in(clients, a)
        wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 1, 20, "the job waits")
        a.kill()
        with suppress(OSError, HTTPException):
            lost.result()
        b.cancel(request_id)
        wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 2, 20, "the word waits, too")
        with cloud.agent() as agent, a:
            ended = b.ended(request_id)
            assert agent.ended(request_id)["outcome"] == ended["outcome"] == "cancelled"
    assert first.calls() == [] or first.calls()[0].answered_at is None


def test_the_same_request_at_both(
    cloud: Cloud,
    both: tuple[Relay, Relay],
    phone: StartPhone,
    witness: Witness,
    clients: ThreadPoolExecutor,
) -> None:
    """Twenty times at once, over both: one call, one answer for all; another call conflicts."""
    first = phone("pbx1", "100", QUICK)
    phone("pbx1", "200", TALKS)
    request_id = str(uuid4())
    with cloud.agent(), both[0], both[1]:
        asked = [
            clients.submit(both[number % 2].place, "100", "200", request_id=request_id)
            for number in range(20)
        ]
        other = clients.submit(both[1].place, "100", "201", request_id=request_id)
        told = [answer.result() for answer in asked]
        codes = [one["error"]["code"] for one in other.result()["errors"]]
        assert codes in (["request_id_conflict"], [])
        if codes:
            assert [answer["status"] for answer in told] == ["success"] * 20
            assert sum("replayed" in answer for answer in told) == 19
            assert both[1].ended(request_id)["outcome"] == "connected"
            assert len(first.calls()) == 1
        else:  # the other call came first: then all twenty conflict
            assert [answer["status"] for answer in told] == ["fail"] * 20
            both[0].ended(request_id)
    placed_once(witness, [request_id])


def test_a_relay_is_killed_while_its_requester_waits(
    cloud: Cloud,
    both: tuple[Relay, Relay],
    phone: StartPhone,
    witness: Witness,
    clients: ThreadPoolExecutor,
) -> None:
    """Who asks again at B waits there; B takes nothing over, and A goes on when it is back."""
    phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
    a, b = both
    with b:
        a.start()
        request_id, lost = place_in(clients, a)
        wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 1, 20, "the job waits")
        a.kill()
        with suppress(OSError, HTTPException):
            lost.result()
        assert b.status(request_id)["call"]["state"] == "dialing_first"
        again = clients.submit(b.place, "100", "200", request_id=request_id)
        a.start()
        wait_until(lambda: cloud.broker.depth("c2c.jobs.pbx1") == 2, 20, "it was given out again")
        assert "started; 1 calls were in progress before" in a.log()
        with cloud.agent():
            told = again.result()
            assert (told["status"], told["replayed"]) == ("success", True)
            assert b.ended(request_id)["outcome"] == "connected"
        a.stop()
    assert "started; 0 calls were in progress before" in b.log()
    placed_once(witness, [request_id])


def test_limits_hold_over_both(
    cloud: Cloud,
    database: Database,
    phone: StartPhone,
    witness: Witness,
    clients: ThreadPoolExecutor,
) -> None:
    """Calls at once and calls a minute, wherever they are asked for; a dead relay's count, too."""
    phone("pbx1", "100", RINGS_A_WHILE), phone("pbx1", "200", TALKS)
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"], "agent": "pbx1"}
    limited = {**key, "max_concurrent": 3, "per_minute": 5}
    a, b = (cloud.sharing(name, database, keys=[limited]) for name in ("a", "b"))
    with cloud.agent(), b:
        a.start()
        asked = [clients.submit((a, b)[number % 2].place, "100", "200") for number in range(12)]
        told = [answer.result() for answer in asked]
        placed = [one["request_id"] for one in told if one["status"] == "success"]
        refused = [one["errors"][0]["error"]["code"] for one in told if one["status"] == "fail"]
        assert (len(placed), set(refused)) == (3, {"too_many_calls"})
        a.kill()
        assert codes(b.place("100", "200")) == ["too_many_calls"]
        a.start()
        for request_id in placed:
            assert b.ended(request_id)["outcome"] == "connected"
        asked = [clients.submit((a, b)[number % 2].place, "100", "200") for number in range(6)]
        told = [answer.result() for answer in asked]
        placed += [one["request_id"] for one in told if one["status"] == "success"]
        refused = [one["errors"][0]["error"]["code"] for one in told if one["status"] == "fail"]
        assert (len(placed), set(refused)) == (5, {"rate_limited"})
        for request_id in placed:
            a.ended(request_id)
        a.stop()
    placed_once(witness, placed)


def codes(response: dict[str, Any]) -> list[str]:
    """What is wrong, by code."""
    return [entry["error"]["code"] for entry in response["errors"]]


def test_the_database_is_restarted(
    cloud: Cloud,
    server: DatabaseServer,
    both: tuple[Relay, Relay],
    phone: StartPhone,
    witness: Witness,
) -> None:
    """In the middle of calls: new ones are refused meanwhile, and nothing else is lost."""
    phone("pbx1", "100", QUICK)
    second = phone("pbx1", "200", TALKS_LONG)
    a, b = both
    with cloud.agent(), a, b:
        calls = [a.call("100", "200"), b.call("100", "200")]
        wait_until(lambda: len(second.calls()) == 2, 20, "both ring")
        for relay, request_id in zip(both, calls, strict=True):
            relay.reached(request_id, "second_ringing")
        server.stop()
        try:
            refused = a.place("100", "200")
            assert codes(refused) == ["internal_error"]
            wait_until(lambda: not b.is_ready(), 20, "B says that it has no store")
            wait_until(lambda: all(one.ended_at for one in second.calls()), 30, "both have ended")
        finally:
            server.start()
        for relay in both:
            relay.logged("heard again")
        for request_id in calls:
            for relay in both:
                call = relay.ended(request_id)
                assert call["outcome"] == "connected"
        assert a.ended(refused["request_id"])["outcome"] == "rejected"
        for relay in both:
            wait_until(relay.is_ready, 20, f"{relay} is ready again")
        again = b.call("100", "200")
        assert a.ended(again)["outcome"] == "connected"
    placed_once(witness, [*calls, again])


def test_keys_of_the_table(
    cloud: Cloud, both: tuple[Relay, Relay], database: Database, phone: StartPhone
) -> None:
    """Known at both as soon as they are there, with their policy; revoked, they open nothing."""
    phone("pbx1", "100", QUICK), phone("pbx1", "200", TALKS)
    secret = "a key in the table"
    put = "INSERT INTO keys (name, sha256, settings) VALUES (%s, %s, %s)"
    a, b = both
    with cloud.agent() as agent, a, b:
        assert codes(a.place("100", "200", key=secret)) == ["unauthorized"]
        database.do(
            put,
            "shop",
            key_digest(secret),
            json.dumps({"allow": ["100", "200", "1000"], "agent": "pbx1", "max_concurrent": 1}),
        )
        for relay in both:
            wait_until(partial(is_known, relay, secret), 20, "the key is known")
        assert codes(b.place("100", "300", key=secret)) == ["not_allowed"]
        # Both have to allow it: the key here, and the agent's own.
        told = b.place("100", "1000", key=secret)
        assert codes(told) == ["not_allowed"]
        assert a.ended(told["request_id"])["outcome"] == "rejected"
        assert agent.status(told["request_id"])["call"]["outcome"] == "rejected"
        placed = a.place("100", "200", key=secret)
        assert placed["status"] == "success"
        assert codes(b.place("100", "200", key=secret)) == ["too_many_calls"]
        assert b.ended(placed["request_id"])["outcome"] == "connected"
        # One that is wrong is named; the others work.
        database.do(put, "bad", key_digest("another"), json.dumps({"allow": "100"}))
        database.do(put, "crm", key_digest("clash"), "{}")
        for relay in both:
            relay.logged("key 'bad' of the store: allow: must be a list")
            relay.logged("key 'crm' of the store: the configuration has a key of this name")
            assert is_known(relay, secret)
            assert not is_known(relay, "clash")
        database.do("DELETE FROM keys WHERE name = 'shop'")
        for relay in both:
            wait_until(partial(is_unknown, relay, secret), 10, "it is revoked")
    assert secret not in a.log() + b.log()


def is_known(relay: Relay, secret: str) -> bool:
    """Whether a relay knows a key."""
    return "calls" in relay.ask("/c2c/v2/calls?api_key=" + secret.replace(" ", "%20"))


def is_unknown(relay: Relay, secret: str) -> bool:
    """Whether a relay does not know a key."""
    return not is_known(relay, secret)


def test_keys_at_the_start(both: tuple[Relay, Relay], database: Database) -> None:
    """They are there before the first request is."""
    secret = "a key in the table"
    with both[0]:
        database.do("INSERT INTO keys VALUES (%s, %s)", "shop", key_digest(secret))
    with both[1]:
        assert is_known(both[1], secret)
        assert "the store holds 1 keys" in both[1].log()


def test_two_of_one_name(cloud: Cloud, both: tuple[Relay, Relay], database: Database) -> None:
    """A second process with the server_id of one that lives does not start, and says why."""
    twin = cloud.sharing("twin", database, server_id="relay-a")
    with both[0]:
        twin.start(wait=False)
        twin.logged("another process with the server_id relay-a uses it")
        wait_until(lambda: twin.ended_by_itself == 1, 20, "it gives up")


def test_commands(both: tuple[Relay, Relay], database: Database) -> None:
    """`check` looks at the database, and so does `store check`; else `store` says what to use."""
    a, _ = both
    with a:
        checked = a.run("check")
        assert f"store: {database.url} is reached" in checked.stdout
        assert a.run("calls").returncode == 0
        counted = a.run("store", "check")
        assert counted.returncode == 0
        assert "counts rightly" in counted.stdout
        for command in (["vacuum"], ["backup", "file"]):
            done = a.run("store", *command)
            assert done.returncode == 1
            assert "pg_dump" in done.stderr
        assert a.ask("/readyz")["parts"]["store"] == "ok"
