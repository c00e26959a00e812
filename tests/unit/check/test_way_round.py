"""The way round through the PBX: what each check says, and what to do where it fails."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any
from unittest import mock

from attrs import evolve
from twisted.internet.error import CannotListenError

from c2c_agent.ami.message import Message
from c2c_agent.check.finding import Finding
from c2c_agent.config.pbx import AgiConfig, AmiConfig
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.setup.files import shipped as shipped_files
from tests.fakes import CRM
from tests.unit.ami.fake_asterisk import (
    FakeSession,
    refuse_login,
    say_nothing,
)
from tests.unit.check.pbx_under_check import (
    AGI_PORT,
    AGI_URL,
    CONTEXTS,
    CheckTest,
    sockets,
)


class TheProbe(CheckTest):
    """A call that rings nobody, under an id that is not the agent's."""

    def test_it_is_ended(self) -> None:
        """Nothing of it is left on the PBX."""
        self.check()
        [probe] = [order for order in self.pbx.asked if order.get("Context") == "c2c-check"]
        assert not probe.get("ChannelId").startswith("c2c-")
        assert self.pbx.hung_up == [probe.get("ChannelId")]

    def test_no_filter(self) -> None:
        """Calls work; but everybody's calls are told here."""
        self.pbx.filters = False
        findings = self.check()
        assert findings[-2].name == "test call"
        warning = findings[-1]
        assert (warning.name, warning.warning, warning.failed) == ("AMI eventfilter", True, False)
        shipped = shipped_files()["manager.d/c2c-agent.conf"]
        [line] = [line for line in shipped.splitlines() if line.startswith("eventfilter")]
        assert line in warning.advice

    def test_no_stamps(self) -> None:
        """Calls work; but a busy host measures them by when it reads."""
        self.pbx.stamps = False
        *_, before, warning = self.check()
        assert before.name == "test call"
        assert (warning.name, warning.warning) == ("AMI timestampevents", True)
        assert "timestampevents = yes" in shipped_files()["manager.d/c2c-agent.conf"].splitlines()
        assert "timestampevents = yes" in warning.advice

    def test_variables_are_dropped(self) -> None:
        """An AMI user with `setvar` on an old Asterisk: no call could work."""
        self.pbx.probe = ""
        failed = self.failed(seconds=3)
        assert failed.name == "AMI user"
        assert "Take `setvar` out of manager.conf's [c2c-agent]" in failed.advice
        assert len(self.pbx.hung_up) == 1

    def test_variables_come_a_little_later(self) -> None:
        """A channel is there before its variables are: that is waited for."""
        self.pbx.probe = ""
        self.pbx.host.callLater(1, setattr, self.pbx, "probe", "1")
        assert self.check(seconds=1)[-1].name == "test call"

    def test_no_channel(self) -> None:
        """Where the probe never comes to be, the test call says what is wrong."""
        self.pbx.probe = None
        assert self.check(seconds=3)[-1].name == "test call"


class AForeignListener(CheckTest):
    """Another program where FastAGI should be: named, and nothing is sent to it."""

    def assert_nothing_sent(self) -> None:
        """No call was placed that would have come there."""
        assert [
            order.get("Exten") for order in self.pbx.asked if order.get("Context") != "c2c-check"
        ] == ["c2c-no-such-extension"]

    def test_no_agent_runs(self) -> None:
        """A FreePBX's own server, for one, which bears no test call."""
        self.pbx.host.taken.add(AGI_PORT)
        failed = self.failed()
        assert failed.name == "FastAGI"
        assert (
            failed.message == f"another program listens at 127.0.0.1:{AGI_PORT}, and no agent runs"
        )
        assert "a port that is free" in failed.advice
        self.assert_nothing_sent()

    def test_the_agent_listens_elsewhere(self) -> None:
        """It runs with another configuration, or is too old to say where."""
        self.pbx.host.taken.add(AGI_PORT)
        for told, said in (("127.0.0.1:4573", "127.0.0.1:4573"), ("", "does not tell")):
            self.agent = told
            self.pbx.asked.clear()
            failed = self.failed()
            assert said in failed.message
            assert "Restart the agent" in failed.advice
            self.assert_nothing_sent()

    def test_an_address_of_another_host(self) -> None:
        """What nobody can listen on here is no other program's."""
        refused = CannotListenError("192.0.2.9", AGI_PORT, OSError(99, "Cannot assign address"))
        with mock.patch.object(self.pbx.host, "listenTCP", side_effect=refused):
            failed = self.failed()
        assert "nobody can listen at" in failed.message
        assert "Cannot assign address" in failed.message

    def test_a_url_that_leads_there(self) -> None:
        """Asterisk would be sent to another program of this host, though the agent listens."""
        self.sockets = [sockets("0100007F:11DD")]  # 4573
        for url in ("agi://127.0.0.1/c2c", "agi://127.0.0.1:4573/c2c"):
            self.configure(agi=AgiConfig(url=url, listen="tcp:8475:interface=127.0.0.1"))
            self.pbx.asked.clear()
            failed = self.failed()
            assert "names the port 4573, where another program listens" in failed.message
            self.assert_nothing_sent()


class TheLogin(CheckTest):
    """The link to AMI."""

    def test_no_secret(self) -> None:
        """Where it belongs, and for whom."""
        self.secret.unlink()
        failed = self.failed()
        assert failed.name == "AMI secret"
        assert str(self.secret) in failed.message
        assert "[c2c-agent]" in failed.advice

    def test_a_secret_that_cannot_be_sent(self) -> None:
        """Said before anything is sent."""
        self.configure(ami=evolve(self.ami(), username="c2c-agent"))
        self.secret.write_text("hush" + "x" * 10_000)
        failed = self.failed()
        assert failed.name == "AMI"
        assert self.pbx.host.journal == []

    def ami(self) -> AmiConfig:
        """The section `asterisk.ami`."""
        assert self.config.asterisk is not None
        return self.config.asterisk.ami

    def test_nobody_listens(self) -> None:
        """Where it was tried, and what manager.conf needs."""
        asterisk, self.pbx.host.asterisk = self.pbx.host.asterisk, None
        failed = self.failed()
        self.pbx.host.asterisk = asterisk
        assert failed.name == "AMI login"
        assert failed.message.startswith("127.0.0.1:5038: Connection was refused")
        assert "Is Asterisk running" in failed.advice
        assert "enabled = yes" in failed.advice

    def test_refused(self) -> None:
        """Which secret is to be compared with what."""
        self.does("Login", refuse_login)
        failed = self.failed()
        assert failed.message == "127.0.0.1:5038: login refused: Authentication failed"
        assert f"Compare the secret in {self.secret} with [c2c-agent]" in failed.advice

    def test_shutting_down(self) -> None:
        """It is no secret that is wrong."""

        def refuse(session: FakeSession, action: Message) -> None:
            session.answers(action, "Error", Message="Asterisk is shutting down")

        for asked in ("Login", "CoreSettings"):
            self.does(asked, refuse)
            failed = self.failed()
            assert "Asterisk is shutting down" in failed.message
            assert "core abort shutdown" in failed.advice

    def test_no_right_to_look(self) -> None:
        """The user may log in, but lacks `reporting`."""
        self.does(
            "CoreSettings",
            lambda session, action: session.answers(action, "Error", Message="Permission denied"),
        )
        failed = self.failed()
        assert failed.name == "AMI login"
        assert "Permission denied" in failed.message
        assert "[c2c-agent]: write = originate,call,reporting" in failed.advice

    def test_something_else_listens(self) -> None:
        """Something that says nothing, or no AMI."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_connect = say_nothing
        assert self.failed(seconds=10).name == "AMI login"

    def does(self, action: str, what: Any) -> None:
        """Let Asterisk answer an action in this way."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action[action] = what


class TheRights(CheckTest):
    """What the AMI user may do."""

    def test_lacking(self) -> None:
        """Which rights, and the line that gives them."""
        for denied, lacking in (
            ({"Originate"}, "originate"),
            ({"Getvar"}, "call"),
            ({"Originate", "Getvar"}, "originate, call"),
        ):
            self.pbx.denied = denied
            failed = self.failed()
            assert failed.name == "AMI rights"
            assert failed.message == f"the AMI user lacks write = {lacking}"
            assert "manager.conf [c2c-agent]: write = originate,call,reporting" in failed.advice

    def test_the_link_is_lost_meanwhile(self) -> None:
        """No check can go on; the log of Asterisk has more."""
        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action["Originate"] = lambda session, _: session.cut()
        failed = self.failed()
        assert failed.name == "AMI"
        assert "log of Asterisk" in failed.advice


class TheDialplan(CheckTest):
    """The contexts."""

    def test_missing(self) -> None:
        """Which, and how it comes to be there."""
        for name in CONTEXTS:
            self.pbx.contexts = {*CONTEXTS} - {name}
            failed = self.failed()
            assert failed.name == f"context {name}"
            assert failed.message.startswith("not there: ")
            assert f"Did not find context {name}" in failed.message
            assert f"[{name}]" in failed.advice
            assert "dialplan reload" in failed.advice
            assert "c2c-agent setup asterisk" in failed.advice


class TheNumbersThatAnswer(CheckTest):
    """What answers by itself where a first leg is dialled."""

    def setUp(self) -> None:
        """A user's context includes one with a queue, and one that is not there."""
        super().setUp()
        self.pbx.devices = ["PJSIP/101"]
        self.pbx.contexts |= {"sales", "queues"}
        self.pbx.included = {"sales": ["queues", "gone"], "queues": ["sales"]}
        self.pbx.answers = {"queues": "Queue"}
        self.key = evolve(CRM, allow=(parse_pattern("_6XX"),), deny=())
        self.config = evolve(self.config, keys=[self.key])

    def numbers(self) -> list[Finding]:
        """What is found of them."""
        return [finding for finding in self.check() if finding.name == "first numbers"]

    def test_no_person_is_asked_for(self) -> None:
        """Named, wherever in the user's context it is included from."""
        [found] = self.numbers()
        assert "600 (Queue)" in found.message
        assert not found.failed

    def test_a_person_is_asked_for(self) -> None:
        """The key does so already."""
        self.config = evolve(self.config, keys=[evolve(self.key, confirm="auto")])
        assert self.numbers() == []

    def test_a_device_of_that_number(self) -> None:
        """It is rung itself."""
        self.pbx.devices.append("PJSIP/600")
        assert self.numbers() == []


class TheWayRound(CheckTest):
    """The test call."""

    def test_refused(self) -> None:
        """In Asterisk's words."""

        def refuse(session: FakeSession, action: Message) -> None:
            session.answers(action, "Error", Message="Too many calls")

        assert self.pbx.host.asterisk is not None
        self.pbx.host.asterisk.on_action["Originate"] = refuse
        failed = self.failed()
        assert (failed.name, failed.message) == ("test call", "Too many calls")

    def test_not_heard_of(self) -> None:
        """The user gets no events: which right, and which filter."""
        self.pbx.cause = ""
        failed = self.failed(seconds=10)
        assert failed.message == "it was not heard of within 10 s"
        assert "read = call" in failed.advice
        assert "eventfilter" in failed.advice

    def test_not_come_back(self) -> None:
        """It ended by itself: Asterisk could not reach the listener."""
        self.pbx.comes_round = False
        self.pbx.cause = "16"
        failed = self.failed()
        assert failed.message == f"it did not come back over FastAGI ({AGI_URL}, cause 16)"
        assert "res_agi.so" in failed.advice
