"""The relay keeps the contract of every PBX driver: its PBX is an agent behind a broker."""

from __future__ import annotations

import json
from typing import Any

import pika
from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.amqp.messages import CANCEL
from c2c_agent.amqp.relay import RelayDriver
from c2c_agent.call.call import Call
from c2c_agent.call.events import (
    Cancel,
    Event,
    FirstAnswered,
    FirstRinging,
    Gone,
    OriginateAccepted,
    OriginateRefused,
    Place,
)
from c2c_agent.call.machine import step
from c2c_agent.call.record import to_json
from c2c_agent.pbx.driver import PbxDriver, PlacedCall
from tests import pbx_driver_contract as contract
from tests.fake_broker import FakeConnection
from tests.pbx_driver_contract import ID, StagedPbx, Watcher
from tests.playbook import PLAN, a_call

NOW = 1_435_628_937.0


class _HeardConnection(FakeConnection):
    """A connection over which the staged agent gets what is published, at once."""

    def __init__(self, agent: StagedAgent) -> None:
        super().__init__()
        self._agent = agent

    def take(
        self, exchange: str, routing_key: str, body: bytes, properties: pika.BasicProperties
    ) -> Deferred[None]:
        taken = super().take(exchange, routing_key, body, properties)
        assert (exchange, routing_key) == ("", "c2c.jobs.pbx1")
        self._agent.take(str(properties.type), json.loads(body))
        return taken


class StagedAgent(StagedPbx):
    """An agent that tells of its one call; what it tells waits at the broker for a relay."""

    job = evolve(StagedPbx.job, agent="pbx1", agent_pbx="south")

    def __init__(self) -> None:
        super().__init__()
        self._up = True
        self._call: Call | None = None
        self._accepted = False
        self._unheard: list[bytes] = []
        self._relays: list[tuple[RelayDriver, list[_HeardConnection]]] = []

    def start(self, watcher: Watcher, *adopted: PlacedCall) -> PbxDriver:
        clock: Any = self.clock
        driver = RelayDriver(
            server_id="relay-a",
            agents=lambda: {"pbx1"},
            answer_timeout=10,
            clock=clock,
            now=self._now,
        )
        driver.observer = watcher
        driver.adopt(adopted)
        self._relays.append((driver, []))
        if self._up:
            self._connect(*self._relays[-1])
        return driver

    def drop_drivers(self) -> None:
        self._relays.clear()

    def take(self, kind: str, fields: dict[str, Any]) -> None:
        """Take a job, once, or the word that it is not wanted any more."""
        assert fields["request_id"] == ID
        if kind != CANCEL:
            assert fields["pbx_name"] == "south"
            if self._call is None:
                self.orders.append(ID)
                self._call = step(a_call(request_id=ID), Place(PLAN), self._now()).call
            return
        self.hung_up.append(ID)
        self._happens(Cancel())
        if self._accepted:
            self.clock.callLater(0.1, self.end)

    def accept(self) -> None:
        self._accepted = True
        self._happens(OriginateAccepted({"Response": "Success"}))
        if self.hung_up:
            self.clock.callLater(0.1, self.end)

    def refuse(self) -> None:
        self._happens(OriginateRefused("Extension does not exist.", {"Response": "Error"}))

    def ring(self) -> None:
        self._happens(FirstRinging("PJSIP/100-1"))

    def answer(self) -> None:
        self._happens(FirstAnswered("PJSIP/100-1"))

    def end(self) -> None:
        self._happens(Gone())

    def lose_link(self) -> None:
        self._up = False
        for driver, connections in self._relays:
            connections.clear()
            driver.closed("cut")

    def restore_link(self) -> None:
        self._up = True
        for driver, connections in self._relays:
            self._connect(driver, connections)

    def _now(self) -> float:
        return NOW + self.clock.seconds()

    def _connect(self, driver: RelayDriver, connections: list[_HeardConnection]) -> None:
        connection: Any = _HeardConnection(self)
        opening = Deferred.fromCoroutine(driver.opened(connection, _never_lost))
        assert opening.called
        opening.addErrback(_fail)
        connections.append(connection)
        unheard, self._unheard = self._unheard, []
        for body in unheard:
            connection.deliver(body, key="pbx1.call.x")

    def _happens(self, event: Event) -> None:
        """The agent's call goes on, and it tells so."""
        assert self._call is not None
        before = self._call
        self._call = step(before, event, self._now()).call
        if self._call is before:
            return
        body = json.dumps({"server_id": "pbx1.test", "record": to_json(self._call)}).encode()
        connected = [connection for _, connections in self._relays for connection in connections]
        for connection in connected:
            connection.deliver(body, key="pbx1.call.x")
        if not connected:
            self._unheard.append(body)


def _never_lost(reason: str) -> None:
    raise AssertionError(reason)


def _fail(failure: Any) -> None:
    failure.raiseException()


class RelayContract(contract.PbxDriverContract):
    """Over AMQP."""

    def make_pbx(self) -> StagedPbx:
        return StagedAgent()
