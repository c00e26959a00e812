"""`c2c-agent check` within the agent that it checks."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, succeed

from c2c_agent.ami.link import AmiLink, ami_endpoint
from c2c_agent.ami.message import Message
from c2c_agent.check.finding import Finding
from c2c_agent.config.pbx import PbxConfig
from c2c_agent.config.sections import WebhookConfig
from c2c_agent.service.checks import Checks
from tests.unit.check.pbx_under_check import CONTEXTS, CheckTest


class Nobody:
    """Hears of the agent's link, and does nothing."""

    def link_up(self, version: str) -> None:
        """The link is there."""

    def link_down(self, reason: str) -> None:
        """It was lost."""

    def ami_event(self, event: Message) -> None:
        """Something happened."""


class Checking(CheckTest):
    """With the agent's own link, and with looks at files that take as long as a test wants."""

    def setUp(self) -> None:
        """Have an agent's link, which is up."""
        super().setUp()
        host = self.pbx.host
        endpoint = ami_endpoint(host, "127.0.0.1", 5038, tls=False)
        self.own = AmiLink(
            endpoint, username="c2c-agent", secret="hush", clock=host, observer=Nobody()
        )
        self.own.startService()
        host.turn()
        self.looks: list[Callable[[], Sequence[Finding]]] = []
        self.held: Deferred[Sequence[Finding]] | None = None
        self.checks = Checks(
            lambda: self.config,
            {"asterisk": self.own},
            self.build,
            reactor=host,
            now=lambda: 1_435_628_937.25,
            aside=self.aside,
        )

    def tearDown(self) -> None:
        """The link is the agent's to close, and nobody has closed it before."""
        assert self.own.is_up
        self.own.stopService()
        self.pbx.host.turn()
        super().tearDown()

    def aside(self, look: Callable[[], Sequence[Finding]]) -> Deferred[Sequence[Finding]]:
        """Look at once, or when the test lets it."""
        self.looks.append(look)
        return succeed(look()) if self.held is None else self.held

    def asks(self) -> Deferred[Any]:
        """Ask what is wrong."""
        return Deferred.fromCoroutine(self.checks.found())

    def found(self) -> Any:
        """What is found, after as many turns as that takes."""
        asked = self.asks()
        for _ in range(20):
            self.pbx.host.turn()
        return self.successResultOf(asked)

    def test_all_is_well(self) -> None:
        """Every line of `c2c-agent check` but its test call; no call is placed, nobody logs in."""
        told = self.found()
        assert told["ok"] is True
        assert told["utc.time"] == "1435628937.250"
        assert [one["name"] for one in told["findings"]] == [
            *("configuration", "key crm", "store", "AMI login", "AMI rights"),
            *(f"context {name}" for name in CONTEXTS),
        ]
        [rights] = self.pbx.asked  # one that no dialplan takes
        assert rights.get("Exten") == "c2c-no-such-extension"
        assert self.pbx.host.asterisk is not None
        assert len(self.pbx.host.asterisk.open) == 1

    def test_a_fault(self) -> None:
        """It comes with what to do about it."""
        self.pbx.contexts.remove("c2c-bridge")
        told = self.found()
        assert told["ok"] is False
        assert told["findings"][-1]["name"] == "context c2c-bridge"
        assert told["findings"][-1]["advice"].startswith("Write the context [c2c-bridge]")

    def test_no_secret(self) -> None:
        """None of those that the configuration names is told to anybody."""
        secret = self.directory / "whsec"
        secret.write_text("whsec_" + "A" * 32 + "\n")
        url = "http://127.0.0.1:9/hook?token=quiet"
        self.config = evolve(self.config, webhooks=[WebhookConfig("crm", url, str(secret))])
        told = json.dumps(self.found())
        assert "webhook crm" in told
        for hidden in ("hush", "AAAA", "quiet", self.config.keys[0].sha256):
            assert hidden not in told

    def test_several_at_once(self) -> None:
        """They are told the same, and again for a moment; then somebody looks anew."""
        self.held = Deferred()
        first, second = self.asks(), self.asks()
        assert len(self.looks) == 1
        self.held.callback([Finding("store", "is there")])
        self.held = None
        for _ in range(20):
            self.pbx.host.turn()
        told = self.successResultOf(first)
        assert self.successResultOf(second) is told
        assert self.successResultOf(self.asks()) is told
        self.pbx.host.turn(5)
        assert self.found() is not told

    def test_the_agent_stops(self) -> None:
        """Who waits is told nothing, and nothing is left."""
        self.held = Deferred()
        asked = self.asks()
        self.checks.startService()
        self.checks.stopService()
        self.failureResultOf(asked, CancelledError)

    def test_of_an_asterisk_that_has_a_name(self) -> None:
        """Its own link is asked, and each line says of which it is."""
        north = PbxConfig(asterisk=self.config.asterisk)
        self.config = evolve(self.config, asterisk=None, pbxs={"north": north})
        self.checks = Checks(
            lambda: self.config,
            {"north": self.own},
            self.build,
            reactor=self.pbx.host,
            now=lambda: 0.0,
            aside=self.aside,
        )
        connections = self.pbx.host.journal.count("connect 5038")
        names = [finding["name"] for finding in self.found()["findings"]]
        assert "PBX north: AMI login" in names
        assert self.pbx.host.journal.count("connect 5038") == connections

    def test_the_link_is_lost(self) -> None:
        """That is a finding, and no other connection is made."""
        lost = AmiLink(
            ami_endpoint(self.pbx.host, "127.0.0.1", 5038, tls=False),
            username="c2c-agent",
            secret="hush",
            clock=self.pbx.host,
            observer=Nobody(),
        )
        self.checks = Checks(
            lambda: self.config,
            {"asterisk": lost},
            self.build,
            reactor=self.pbx.host,
            now=lambda: 0.0,
            aside=self.aside,
        )
        last = self.found()["findings"][-1]
        assert (last["ok"], last["name"]) == (False, "AMI login")
        assert last["message"] == "127.0.0.1:5038: not connected yet"
