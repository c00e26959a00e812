"""Who hears which event, where agents and relays of two versions are at work together."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any, Final

import pytest
from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from c2c_agent.amqp.messages import agent_of, encode, event_key, read_job, relay_of
from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.config.pbx import Events
from tests.playbook import JOB, REQUEST_ID

ALL: Final[list[Events]] = ["all", "mixed", "own"]


def matches(binding: list[str], key: list[str]) -> bool:
    """Whether a topic exchange takes a key for a binding (AMQP 0-9-1, section 3.1.3.3)."""
    match binding:
        case []:
            return not key
        case ["#", *rest]:
            return any(matches(rest, key[start:]) for start in range(len(key) + 1))
        case [word, *rest]:
            return bool(key) and word in {"*", key[0]} and matches(rest, key[1:])
    raise AssertionError(binding)


@frozen
class Agent:
    """An agent; an `old` one, of version 0.1, passes over what it does not know in a job."""

    name: str
    old: bool

    def event_key(self, job: bytes, kind: str) -> str:
        """The routing key of what it tells of a job."""
        assert read_job(job)["request_id"] == REQUEST_ID
        return event_key(self.name, kind, None if self.old else relay_of(job))


class Relay:
    """A relay, as it is configured."""

    def __init__(self, name: str, events: Events) -> None:
        self.name = name
        clock: Any = Clock()
        self.driver = RelayDriver(
            server_id=name,
            agents=list,
            answer_timeout=10,
            clock=clock,
            now=lambda: 1.0,
            events=events,
        )
        self.bindings = self.driver._routing_keys()[events]

    def job(self, agent: Agent) -> bytes:
        """A job of it."""
        found: list[bytes] = []
        preparing = self.driver.prepare(REQUEST_ID, evolve(JOB, agent=agent.name))
        Deferred.fromCoroutine(preparing).addCallback(lambda plan: found.append(encode(plan.data)))
        return found[0]

    def hears(self, key: str) -> bool:
        """Whether its queue gets an event."""
        return any(matches(one.split("."), key.split(".")) for one in self.bindings)


@pytest.mark.parametrize("name", ["relay-a", "relay-a.example.com", "com"])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("agent_name", ["pbx1", "pbx1.example.com"])
def test_who_placed_a_call_hears_of_it(name: str, agent_name: str, *, old: bool) -> None:
    """In every mixture but one that is not allowed: of its own alone, from an old agent."""
    agent = Agent(agent_name, old)
    for events in ALL:
        relay = Relay(name, events)
        key = agent.event_key(relay.job(agent), "call.ended")
        assert relay.hears(key) is not (old and events == "own")
        assert agent_of(key, name) == agent_name


def test_how_many_hear_of_it() -> None:
    """Of eight relays: the one whose call it is, and those that want to hear all."""
    heard: Counter[tuple[bool, str, str]] = Counter()
    for old, events, others in product([True, False], ALL, ALL):
        agent = Agent("pbx1", old)
        relays = [Relay("relay-0", events), *(Relay(f"relay-{n}", others) for n in range(1, 8))]
        key = agent.event_key(relays[0].job(agent), "call.ended")
        heard[old, events, others] = sum(relay.hears(key) for relay in relays)
        for other in relays[1:]:
            assert agent_of(key, other.name) in {"", "pbx1"}
    assert heard[False, "own", "own"] == heard[False, "mixed", "mixed"] == 1
    assert heard[False, "mixed", "own"] == heard[False, "own", "mixed"] == 1
    assert heard[False, "own", "all"] == heard[False, "mixed", "all"] == 8
    # As in version 0.1, and while agents of it are there.
    assert heard[True, "all", "all"] == heard[True, "mixed", "mixed"] == 8
    assert heard[False, "all", "own"] == 1
