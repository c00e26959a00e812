"""The check of a PBX over HTTP: nobody is rung."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.check.finding import Finding
from c2c_agent.check.other import finding, secret_files
from c2c_agent.config.pbx import OtherSection
from c2c_agent.net.fresh_request import HttpAnswer, NotConnectedError
from tests.unit.pbx.other.back_end import BackEnd, json_answer

PLACE = {"path": "/{dial_first}", "success": {"status": 200}}
LOGIN = {"steps": [{"path": "/login", "save": {"token": "/token"}}]}


def section(**more: Any) -> OtherSection:
    """A section with more in it."""
    whole = {"base_url": "http://127.0.0.1:9", "place": PLACE, **more}
    return OtherSection(whole, ("other",), {("other",): "c2c-agent.yml"})


class TestFinding(SynchronousTestCase):
    def find(self, configured: OtherSection, back_end: BackEnd | None = None) -> Finding:
        """What is found."""
        send = (back_end or BackEnd()).send
        found: Finding = self.successResultOf(
            Deferred.fromCoroutine(finding(configured, Clock(), send))
        )
        return found

    def test_well(self) -> None:
        """It says what was tried."""
        back_end = BackEnd()
        back_end.react("POST /login", json_answer('{"token": "x"}'))
        back_end.react("GET /ping", HttpAnswer(200))
        found = self.find(section(check={"path": "/ping"}, login=LOGIN), back_end)
        message = "http://127.0.0.1:9 let us log in and answered the check"
        assert found == Finding("PBX other", message)

    def test_away(self) -> None:
        """With the reason, and what to do."""
        back_end = BackEnd()
        back_end.react("GET /ping", NotConnectedError("no route"))
        found = self.find(section(check={"path": "/ping"}), back_end)
        assert found.failed
        assert found.message == "http://127.0.0.1:9: no route"

    def test_nothing_to_ask(self) -> None:
        """A warning."""
        found = self.find(section())
        assert found.warning
        assert "was not asked" in found.message

    def test_a_mistake(self) -> None:
        """By file and path; its secrets are no one's concern then."""
        found = self.find(section(plaice={}))
        assert found.failed
        assert found.message.startswith("c2c-agent.yml: other.plaice: is unknown")
        assert list(secret_files(section(plaice={}))) == []

    def test_secret_files(self) -> None:
        """Those that should be closed to others."""
        assert list(secret_files(section(secrets={"a": {"file": "/a"}}))) == ["/a"]
