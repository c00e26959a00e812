"""The whole agent in one process: what starts and stops when, and that nothing is left behind."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from email.message import Message
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from urllib.request import Request

import pytest
from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import Message as AmiMessage
from c2c_agent.call.events import Gone
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.cli.client import Client, operator_secret, place_of
from c2c_agent.config.pbx import AgiConfig, AmiConfig, AsteriskConfig, PbxConfig
from c2c_agent.config.sections import CallsConfig, Config, HttpConfig, StoreConfig, WebhookConfig
from c2c_agent.dispatch.kill_switch import Stopped, StopSwitch
from c2c_agent.errors import ConfigError, StoreError
from c2c_agent.host.clock import SteadyClock
from c2c_agent.host.sd_notify import Supervisor
from c2c_agent.pbx.asterisk.channel_id import root_id
from c2c_agent.policy.hours import parse_hours
from c2c_agent.report.webhook import Webhook
from c2c_agent.service.agent import AgentService
from c2c_agent.store.call_store import KeyRow
from c2c_agent.store.sqlite.store import Store
from tests.certificates import Authority
from tests.fakes import CRM, CRM_SECRET, SHOP, SHOP_SECRET, uuid
from tests.memory_host import Answer, Connection, MemoryHost, request
from tests.unit.agi.playbook import Playbook
from tests.unit.ami.fake_asterisk import FakeAsterisk, FakeSession, refuse_login

# Its type is that of a module.
reactor: Any = global_reactor

#: What is a listener, but not on this host.
NO_CERTIFICATE = "ssl:8443:privateKey=/nonexistent.pem"

HTTP_PORT, AGI_PORT, AMI_PORT = 8470, 8475, 5038
#: Seconds that a store may take on the busiest disk: not to be waited for.
PATIENCE = 60.0
ONE, TWO = uuid(1), uuid(2)
PLACE = f"/c2c/v2?dial_first=100&dial_second=200&request_id={ONE}"
AUTHORIZED = f"Authorization: Bearer {CRM_SECRET}"


def give_context(session: FakeSession, action: Any) -> None:
    """Answer Getvar: which context an endpoint has."""
    session.answers(action, Value="from-phones")


def writers() -> int:
    """How many stores are open."""
    return sum(thread.name == "store-writer" for thread in threading.enumerate())


class AgentTest(SynchronousTestCase):
    """An agent on a host of memory, whose store and secrets are in a directory."""

    def setUp(self) -> None:
        """Make the host and a configuration."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name) / "state"
        secret = Path(directory.name) / "ami.secret"
        secret.write_text("hush\n")
        asterisk = FakeAsterisk(None)
        asterisk.on_action["Getvar"] = give_context
        asterisk.on_action["Originate"] = self.take_order
        self.orders: list[Any] = []
        self.asterisk = asterisk
        self.host = MemoryHost(asterisk)
        self.config = Config(
            server_id="pbx1.example.com",
            store=StoreConfig(path=str(self.directory / "c2c.sqlite3")),
            asterisk=AsteriskConfig(ami=AmiConfig(secret_file=str(secret))),
            keys=[CRM],
        )
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def take_order(self, session: FakeSession, action: Any) -> None:
        """Accept an Originate, and keep it."""
        self.orders.append(action)
        session.answers(action)

    def tearDown(self) -> None:
        """No agent is left, no timer, and no secret in the log."""
        assert writers() == 0
        assert self.host.getDelayedCalls() == []
        assert "hush" not in repr(self.logged)

    def agent(self) -> AgentService:
        """An agent that is not started yet; a test that fails leaves it to be stopped here."""
        agent = AgentService(self.config, self.host)
        self.addCleanup(lambda: self.stop(agent) if agent.running else None)
        return agent

    def started(self) -> AgentService:
        """An agent that is started, and its link up if there is an Asterisk."""
        agent = self.agent()
        agent.startService()
        self.host.turn()
        return agent

    def started_with_a_webhook(self) -> tuple[AgentService, Webhook]:
        """An agent that is started, and what it reports to a receiver by."""
        secret = self.directory.parent / "whsec"
        secret.write_text("whsec_" + "A" * 32 + "\n")
        receiver = WebhookConfig("crm", "http://127.0.0.1:9/", str(secret))
        self.config = evolve(self.config, webhooks=[receiver])
        agent = self.started()
        [reporter] = agent.parts.reporters.all
        assert isinstance(reporter, Webhook)
        return agent, reporter

    def link_of(self, agent: AgentService) -> AmiLink:
        """Its link to Asterisk."""
        return agent.parts.pbxs.asterisks["asterisk"].link

    def stop(self, agent: AgentService) -> None:
        """Stop it, however many turns that takes."""
        stopped = agent.stopService()
        for _ in range(100):
            self.host.turn(0.1)
            if stopped.called:
                break
        self.successResultOf(stopped)

    def asks(self, target: str, *headers: str) -> Answer:
        """Ask over HTTP; the answer may take some turns."""
        client = Connection(self.host.factory(HTTP_PORT))
        client.sends(request(target, *headers, "Connection: close"))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.host.turn()
            answers = client.answers()
            if answers:
                client.leaves()
                return answers[0]
            # The store's threads are real, and take their time.
            threading.Event().wait(0.005)
        raise AssertionError("no answer")

    def lines(self) -> list[str]:
        """What is in the log, but for what Twisted says of its own."""
        return [
            formatEvent(event) or ""
            for event in self.logged
            if event["log_namespace"].startswith("c2c_agent")
        ]

    def secret_sent(self) -> str:
        """What a channel of the call that was placed last knows it by."""
        variables = [value for name, value in self.orders[-1].headers if name == "Variable"]
        [secret] = [one for one in variables if one.startswith("_C2C_SECRET=")]
        return str(secret.removeprefix("_C2C_SECRET="))

    def heard(self) -> list[str]:
        """The actions that came to Asterisk."""
        return [action for session in self.asterisk.sessions for action in session.heard]


class Starting(AgentTest):
    """Everything is there before the first request can come."""

    def test_order(self) -> None:
        """FastAGI before AMI, both before HTTP; the store before all of them."""
        agent = self.agent()
        assert self.host.journal == []
        assert writers() == 0
        with mock.patch.object(self.host, "listenTCP", side_effect=self.host.listenTCP) as listen:
            listen.side_effect = self.listening
            agent.startService()
        assert self.host.journal == ["listen 8475", "connect 5038", "listen 8470"]
        assert "started; 0 calls were in progress before" in self.lines()
        self.stop(agent)

    def listening(self, *arguments: Any, **more: Any) -> Any:
        """Whenever something listens, the store is open."""
        assert writers() == 1
        return MemoryHost.listenTCP(self.host, *arguments, **more)

    def test_ready(self) -> None:
        """When the link is up, the agent is ready; before, it says why it is not."""
        agent = self.agent()
        agent.startService()
        answer = self.asks_at_once("/readyz")
        assert (answer.code, answer.json["parts"]) == (
            503,
            {"store": "ok", "calls": "ok", "ami": "not connected yet"},
        )
        self.host.turn()
        answer = self.asks("/readyz")
        assert (answer.code, answer.json["parts"]) == (
            200,
            {"store": "ok", "calls": "ok", "ami": "ok"},
        )
        self.stop(agent)

    def asks_at_once(self, target: str) -> Answer:
        """Ask without a turn."""
        return Connection(self.host.factory(HTTP_PORT)).asks(target, "Connection: close")

    def test_not_ready(self) -> None:
        """A refused login is what readyz says, and a call hears that the PBX is away."""
        self.asterisk.on_action["Login"] = refuse_login
        agent = self.started()
        answer = self.asks("/readyz")
        assert (answer.code, answer.json["parts"]["ami"]) == (
            503,
            "login refused: Authentication failed",
        )
        assert self.asks(PLACE, AUTHORIZED).json["response"]["errors"][0]["error"]["code"] == (
            "pbx_unavailable"
        )
        self.stop(agent)

    def test_metrics(self) -> None:
        """What the parts are at, and what became of a call."""
        agent = self.started()
        self.asks(f"{PLACE}&timeout=never", AUTHORIZED)
        answer = self.asks("/metrics")
        told = answer.content.decode().splitlines()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        for line in (
            'c2c_requests_total{outcome="rejected"} 1.0',
            'c2c_calls{state="connected"} 0.0',
            "c2c_ami_up 1.0",
            "c2c_ami_reconnects_total 0.0",
            "c2c_agi_sessions 0.0",
            "c2c_event_streams 0.0",
            'c2c_agi_refused_total{reason="too_many"} 0.0',
        ):
            assert line in told
        self.host.turn(1.5)
        assert "c2c_event_loop_delay_seconds_sum 0.5" in self.asks("/metrics").content.decode()
        self.stop(agent)

    def test_shutting_down(self) -> None:
        """The link is up; requesters and readyz are told what Asterisk says to everything."""
        agent = self.started()
        words = "Asterisk is shutting down"

        def refuse(session: FakeSession, action: AmiMessage) -> None:
            session.answers(action, "Error", Message=words)

        self.asterisk.on_action["Getvar"] = refuse
        error = self.asks(PLACE, AUTHORIZED).json["response"]["errors"][0]["error"]
        assert (error["code"], error["message"]) == ("pbx_unavailable", words)
        answer = self.asks("/readyz")
        assert (answer.code, answer.json["parts"]["ami"]) == (503, words)
        self.host.turn(15)  # a Ping comes and is answered
        assert self.asks("/readyz").json["parts"]["ami"] == "ok"
        self.stop(agent)

    def test_without_an_asterisk(self) -> None:
        """Then it is ready at once, and says what it cannot do."""
        self.config = evolve(self.config, asterisk=None)
        agent = self.started()
        assert self.host.journal == ["listen 8470"]
        assert self.asks("/readyz").json == {
            "ready": True,
            "parts": {"store": "ok", "calls": "ok"},
        }
        answer = self.asks(PLACE, AUTHORIZED)
        assert answer.json["response"]["errors"][0]["error"]["code"] == "unsupported_pbx"
        self.stop(agent)

    def test_public_url(self) -> None:
        """The configuration reaches the answers."""
        self.config = evolve(self.config, http=HttpConfig(public_url="https://calls.example.com"))
        agent = self.started()
        answer = self.asks("/c2c/v2?dial_first=300&dial_second=200", AUTHORIZED)
        url = answer.json["response"]["errors"][0]["error"]["url"]
        assert url.startswith("https://calls.example.com/c2c/v2/status/")
        assert answer.json["server_id"] == "pbx1.example.com"
        self.stop(agent)


class NotStarting(AgentTest):
    """A part that cannot start: the reason is raised, and nothing is left running."""

    def assert_refuses(self, error: type[Exception], match: str) -> None:
        """The agent does not start, now or later."""
        agent = self.agent()
        with pytest.raises(error, match=match):
            agent.startService()
        assert not agent.running
        assert writers() == 0
        self.host.turn()
        assert self.host.getDelayedCalls() == []
        assert not self.asterisk.open
        begun = [entry for entry in self.host.journal if entry.startswith("listen")]
        ended = [entry for entry in self.host.journal if entry.startswith("close")]
        assert [entry.split()[1] for entry in begun] == [entry.split()[1] for entry in ended]

    def test_the_store(self) -> None:
        """Nothing else was begun."""
        self.directory.mkdir()
        (self.directory / "c2c.sqlite3").write_text("something else" * 1000)
        self.assert_refuses(StoreError, r"c2c\.sqlite3 cannot be used")
        assert self.host.journal == []

    def test_the_operator_s_key(self) -> None:
        """Where it cannot be made: said in a line that names it, and nothing else was begun."""
        self.directory.write_text("a file")
        self.assert_refuses(ConfigError, r"operator\.key: (Not a directory|File exists)")
        assert self.host.journal == []

    def test_the_fastagi_listener(self) -> None:
        """Its port is taken: no link is made."""
        self.host.taken.add(AGI_PORT)
        self.assert_refuses(CannotListenError, "8475")
        assert self.host.journal == []

    def test_the_http_listener(self) -> None:
        """Its port is taken: what was begun before is ended again."""
        self.host.taken.add(HTTP_PORT)
        self.assert_refuses(CannotListenError, "8470")
        assert self.host.journal == ["listen 8475", "connect 5038", "close 8475"]

    def test_with_calls_in_progress(self) -> None:
        """Their timers end, too; and the next start finds them again."""
        agent = self.started()
        self.asks_nothing(agent)
        self.host.taken.add(HTTP_PORT)
        self.host.journal.clear()
        self.assert_refuses(CannotListenError, "8470")
        self.host.taken.clear()
        agent = self.started()
        assert self.lines().count("started; 1 calls were in progress before") == 1
        self.stop(agent)

    def asks_nothing(self, agent: AgentService) -> None:
        """Place a call, and stop at once."""
        assert self.asks(PLACE, AUTHORIZED).json["response"]["status"] == "success"
        self.stop(agent)

    def test_a_configuration_that_cannot_be(self) -> None:
        """A certificate that is none: the setting, and the file."""
        bad = self.directory.parent / "bad.pem"
        bad.write_text("no certificate")
        for file in ("/nonexistent.pem", str(bad)):
            self.config = evolve(self.config, http=HttpConfig(listen=f"ssl:1:privateKey={file}"))
            with pytest.raises(ConfigError, match=f"http.listen: {file}: a certificate"):
                self.agent()

    def test_no_ami_secret(self) -> None:
        """Which file should be there."""
        assert self.config.asterisk is not None
        ami = AmiConfig(secret_file="/nonexistent/ami.secret")
        self.config = evolve(self.config, asterisk=evolve(self.config.asterisk, ami=ami))
        with pytest.raises(ConfigError, match=r"/nonexistent/ami\.secret"):
            self.agent()


class SeveralPbxs(AgentTest):
    """Two Asterisks, each with an AMI link of its own, at one FastAGI listener."""

    def setUp(self) -> None:
        """Two that are alike, and a key for each; what one is sent, `orders_of` has."""
        super().setUp()
        self.sessions: list[FakeSession] = []
        asterisk = self.config.asterisk
        assert asterisk is not None
        self.config = evolve(
            self.config,
            asterisk=None,
            pbxs={name: PbxConfig(asterisk=asterisk) for name in ("north", "south")},
            keys=[
                evolve(CRM, pbx={"asterisk": "north"}),
                evolve(SHOP, pbx={"asterisk": "south"}),
            ],
        )

    def take_order(self, session: FakeSession, action: Any) -> None:
        """Accept it, and keep over whose link it came."""
        super().take_order(session, action)
        self.sessions.append(session)

    def placed(self, request_id: str, secret: str) -> None:
        """A call is placed with a key."""
        target = f"/c2c/v2?dial_first=100&dial_second=200&request_id={request_id}"
        answer = self.asks(target, f"Authorization: Bearer {secret}")
        assert answer.json["response"]["status"] == "success"

    def bridged(self, request_id: str, secret: str, answer: str) -> None:
        """A channel comes for a call with a secret; the agent answers so."""
        session = Playbook(self.host.factory(AGI_PORT), self.host)
        session.play(
            f"""
            agi_network: yes
            agi_network_script: c2c
            agi_channel: PJSIP/100-00000001
            agi_uniqueid: c2c-{request_id}
            agi_arg_1: {request_id}

            > GET VARIABLE "C2C_SECRET"
            200 result=1 ({secret})
            > {answer}
            """
        )
        session.play("= lost")

    def test_each_has_its_own_link(self) -> None:
        """One listener, two links; the key says over which an order goes."""
        agent = self.started()
        assert self.host.journal == ["listen 8475", "connect 5038", "connect 5038", "listen 8470"]
        self.placed(ONE, CRM_SECRET)
        self.placed(TWO, SHOP_SECRET)
        north, south = self.sessions
        assert north is self.asterisk.sessions[0]
        assert south is self.asterisk.sessions[1]
        status = self.asks(f"/c2c/v2/status/{TWO}").json["c2c_status"]
        assert status["call"]["pbx"] == "south"
        health = self.asks("/healthz").json
        assert health["fastagi"] == f"127.0.0.1:{AGI_PORT}"
        self.stop(agent)

    def test_fastagi_is_shared(self) -> None:
        """Each call is bridged for who knows its secret, on whichever Asterisk it is."""
        agent = self.started()
        self.placed(ONE, CRM_SECRET)
        first = self.secret_sent()
        self.placed(TWO, SHOP_SECRET)
        second = self.secret_sent()
        dial = 'EXEC "Dial" "Local/200@from-phones,30,giS(14400)U(c2c-answered^PJSIP/100-00000001)"'
        self.bridged(TWO, first, 'SET VARIABLE "C2C_DONE" "1"')
        self.bridged(TWO, second, dial)
        self.bridged(ONE, first, dial)
        self.bridged(uuid(9), first, 'SET VARIABLE "C2C_DONE" "1"')
        self.stop(agent)

    def test_one_is_away(self) -> None:
        """Its line says so, and the calls of the other go on."""
        agent = self.started()
        self.asterisk.sessions[1].hang_up()
        self.host.turn()
        answer = self.asks("/readyz")
        assert answer.code == 503
        assert answer.json["parts"]["pbx north"] == "ok"
        assert "ok" not in answer.json["parts"]["pbx south"]
        told = self.asks("/metrics").content.decode().splitlines()
        assert 'c2c_pbx_up{kind="asterisk",pbx="north"} 1.0' in told
        assert 'c2c_pbx_up{kind="asterisk",pbx="south"} 0.0' in told
        assert 'c2c_ami_up{pbx="north"} 1.0' in told
        self.placed(ONE, CRM_SECRET)
        away = self.asks(
            "/c2c/v2?dial_first=100&dial_second=200", f"Authorization: Bearer {SHOP_SECRET}"
        )
        assert away.faults == ["pbx_unavailable"]
        self.stop(agent)

    def test_limits_at_a_reload(self) -> None:
        """They count at once; a PBX more waits for a restart, and is no key's before."""
        agent = self.started()
        self.placed(ONE, CRM_SECRET)
        north = evolve(self.config.pbxs["north"], max_concurrent=1)
        limited = evolve(self.config, pbxs={**self.config.pbxs, "north": north})
        assert agent.change(limited) == (["pbxs.north.max_concurrent"], [])
        assert self.asks(PLACE.replace(ONE, TWO), AUTHORIZED).faults == ["too_many_calls"]
        assert agent.change(limited) == ([], [])
        more = evolve(
            self.config,
            pbxs={**self.config.pbxs, "west": north},
            keys=[evolve(CRM, pbx={"asterisk": "west"})],
        )
        changed, waiting = agent.change(more)
        assert (changed, waiting) == (["keys", "pbxs.north.max_concurrent"], ["pbxs"])
        assert self.asks(PLACE.replace(ONE, uuid(3)), AUTHORIZED).faults == ["unsupported_pbx"]
        self.stop(agent)

    def test_what_systemd_is_told(self) -> None:
        """How many there are, and which of them cannot be reached."""
        agent = self.started()
        assert agent.parts.health._summary() == "Calls go to 2 PBXs"
        self.asterisk.sessions[1].hang_up()
        self.host.turn()
        away = "Calls go to 2 PBXs; no AMI link, trying again: south"
        assert agent.parts.health._summary() == away
        self.stop(agent)

    def test_a_fault_of_one(self) -> None:
        """The error names the PBX."""
        south = PbxConfig(asterisk=AsteriskConfig(ami=AmiConfig(secret_file="/nonexistent")))
        self.config = evolve(self.config, pbxs={**self.config.pbxs, "south": south})
        with pytest.raises(ConfigError, match=r"pbxs\.south: asterisk\.ami\.secret_file: /none"):
            self.agent()


class Stopping(AgentTest):
    """In stages: no new calls, then the links, then the store; calls go on in Asterisk."""

    def test_order(self) -> None:
        """HTTP first; then FastAGI sessions, AMI, and the FastAGI listener; at last the store."""
        agent = self.started()
        assert self.asks(PLACE, AUTHORIZED).json["response"]["status"] == "success"
        session = Playbook(self.host.factory(AGI_PORT), self.host)
        session.play(
            f"""
            agi_network: yes
            agi_network_script: c2c
            agi_channel: PJSIP/100-00000001
            agi_uniqueid: {root_id(ONE)}
            agi_arg_1: {ONE}

            > GET VARIABLE "C2C_SECRET"
            200 result=1 ({self.secret_sent()})
            > EXEC "Dial" "Local/200@from-phones,30,giS(14400)U(c2c-answered^PJSIP/100-00000001)"
            """
        )
        stopped = agent.stopService()
        assert self.host.journal[-1] == "close 8470"
        assert session.transport.disconnected
        assert "Logoff" not in self.heard()
        session.play("= aborted")
        self.host.turn()
        assert self.heard()[-1] == "Logoff"
        self.successResultOf(stopped)
        assert self.host.journal[-2:] == ["close 8470", "close 8475"]
        assert "stopping; 1 calls go on" in self.lines()
        assert "Hangup" not in self.heard()

    def test_no_new_calls(self) -> None:
        """A client that is still connected hears so; one that was there before gets its answer."""
        agent = self.started()
        client = Connection(self.host.factory(HTTP_PORT))
        stopped = agent.stopService()
        client.sends(request(PLACE, AUTHORIZED, "Connection: close"))
        [answer] = client.answers()
        assert answer.json["response"]["errors"][0]["error"]["message"] == (
            "The agent is shutting down."
        )
        client.leaves()
        self.host.turn()
        self.successResultOf(stopped)

    def test_a_name_of_every_host(self) -> None:
        """The log warns of a server_id by which no agent is told from another."""
        self.config = evolve(self.config, server_id="localhost.localdomain")
        self.stop(self.started())
        lines = [formatEvent(event) or "" for event in self.logged]
        assert len([line for line in lines if "as on every host" in line]) == 1

    def test_where_it_takes_fastagi(self) -> None:
        """It tells: by that `check` knows its listener from another program's."""
        agent = self.started()
        health = self.asks("/healthz").json
        assert health == {"status": "ok", "fastagi": f"127.0.0.1:{AGI_PORT}"}
        self.stop(agent)

    def test_a_renewed_certificate(self) -> None:
        """The next connection is shown it; what cannot be used changes nothing at all."""
        authority = Authority(self.directory.parent)
        issued = authority.issue("pbx1", "127.0.0.1")
        listen = f"ssl:8443:privateKey={issued.key}:certKey={issued.certificate}"
        self.config = evolve(self.config, http=HttpConfig(listen=listen))
        agent = self.agent()
        certificate = agent.parts.certificate
        assert certificate is not None
        first = certificate.getContext()
        agent.change(self.config)
        second = certificate.getContext()
        assert second is not first
        issued.key.unlink()
        with pytest.raises(ConfigError, match=r"http\.listen: "):
            agent.change(evolve(self.config, keys=[]))
        assert certificate.getContext() is second
        # A listener that waits for a restart is another's affair.
        agent.change(evolve(self.config, http=HttpConfig()))
        assert certificate.getContext() is second

    def test_streams(self) -> None:
        """Who follows calls is let go at once, and nothing waits for it."""
        agent = self.started()
        client = Connection(self.host.factory(HTTP_PORT))
        client.sends(request("/c2c/v2/events", AUTHORIZED))
        stopped = agent.stopService()
        assert client.transport.value().endswith(b"retry: 3000\n\n\r\n0\r\n\r\n")
        for _ in range(100):
            self.host.turn()  # no time passes
        self.successResultOf(stopped)
        client.leaves()

    def test_the_store_is_closed_whatever_happens(self) -> None:
        """A stage that fails does not keep the store from writing what waits."""
        agent = self.started()
        link = self.link_of(agent)
        stop_link = link.stopService
        with mock.patch.object(link, "stopService", side_effect=ZeroDivisionError):
            stopped = agent.stopService()
            self.host.turn(0.1)
        self.failureResultOf(stopped, ZeroDivisionError)
        assert writers() == 0
        stop_link()
        self.host.turn()

    def test_again_and_again(self) -> None:
        """Started and stopped, nothing piles up."""
        for _ in range(3):
            self.stop(self.started())
            assert not self.asterisk.open
        assert self.asterisk.most_open == 1

    def test_a_stage_that_does_not_end(self) -> None:
        """It is given up in time, and the store is closed all the same."""
        agent = self.started()
        link = self.link_of(agent)
        stop_link = link.stopService
        with mock.patch.object(link, "stopService", return_value=Deferred()):
            stopped = agent.stopService()
            self.host.turn(5)
        self.failureResultOf(stopped, DeferredTimeout)
        assert writers() == 0
        stop_link()
        self.host.turn()


class Heard(Supervisor):
    """A supervisor that keeps what it is told."""

    def __init__(self, clock: Any) -> None:
        super().__init__("kept", None, clock)
        self.told: list[str] = []

    def _tell(self, *lines: str) -> None:
        self.told += lines


class Supervised(AgentTest):
    """What systemd is told."""

    def test_the_link_comes_and_goes(self) -> None:
        """Ready after the first attempt, not before; then how the link goes, until the end."""
        heard = Heard(self.host)
        agent = AgentService(self.config, self.host, heard)
        agent.startService()
        assert heard.told == []
        self.host.turn()
        assert heard.told[0] == "READY=1"
        assert heard.told[1].startswith("STATUS=AMI link up: Asterisk ")
        self.stop(agent)
        assert heard.told[2:] == ["STOPPING=1"]

    def test_no_link(self) -> None:
        """A PBX that is away does not keep the agent from being ready; it is said."""
        self.host.asterisk = None
        heard = Heard(self.host)
        agent = AgentService(self.config, self.host, heard)
        self.addCleanup(lambda: self.stop(agent) if agent.running else None)
        agent.startService()
        self.host.turn(1)
        assert heard.told[0] == "READY=1"
        assert heard.told[1].startswith("STATUS=No AMI link, trying again: Connection was refused")
        self.host.asterisk = self.asterisk
        self.host.turn(20)
        assert heard.told[2].startswith("STATUS=AMI link up: Asterisk ")
        self.stop(agent)


class Changing(AgentTest):
    """Another configuration while it runs."""

    def test_what_changes_at_once(self) -> None:
        """Keys and limits hold for the next request; the call in progress goes on."""
        agent = self.started()
        assert self.asks(PLACE, AUTHORIZED).json["response"]["status"] == "success"
        heard = self.heard()
        calls = CallsConfig(max_concurrent=1, max_duration=60)
        changed, waiting = agent.change(evolve(self.config, calls=calls))
        assert (changed, waiting) == (["calls.max_concurrent"], ["calls.max_duration"])
        assert self.heard() == heard
        place = "/c2c/v2?dial_first=100&dial_second=200"
        assert self.asks(place, AUTHORIZED).faults == ["too_many_calls"]
        changed, _ = agent.change(evolve(self.config, keys=[]))
        assert changed == ["calls.max_concurrent", "keys"]
        assert self.asks(place, AUTHORIZED).faults == ["unauthorized"]
        self.stop(agent)

    def test_streams(self) -> None:
        """Who follows with a key that is not valid any more is let go, and nobody else."""
        self.config = evolve(self.config, keys=[CRM, SHOP])
        agent = self.started()
        clients = [Connection(self.host.factory(HTTP_PORT)) for _ in range(2)]
        for client, secret in zip(clients, (CRM_SECRET, SHOP_SECRET), strict=True):
            client.sends(request(f"/c2c/v2/events?api_key={secret}"))
        agent.change(evolve(self.config, keys=[evolve(CRM, sha256="0" * 64), SHOP]))
        ended = [client.transport.value().endswith(b"\r\n0\r\n\r\n") for client in clients]
        assert ended == [True, False]
        self.stop(agent)
        for client in clients:
            client.leaves()

    def test_streams_with_a_key_of_the_database(self) -> None:
        """The configuration takes its name for another secret: who follows with it is let go."""
        agent = self.started()
        agent.parts.keys.take([KeyRow("shop", SHOP.sha256, {"allow": ["_XXX"]})])
        clients = [Connection(self.host.factory(HTTP_PORT)) for _ in range(2)]
        for client, secret in zip(clients, (CRM_SECRET, SHOP_SECRET), strict=True):
            client.sends(request(f"/c2c/v2/events?api_key={secret}"))
        agent.change(evolve(self.config, keys=[CRM, evolve(SHOP, sha256="0" * 64)]))
        assert self.asks(f"/c2c/v2/calls?api_key={SHOP_SECRET}").faults == ["unauthorized"]
        ended = [client.transport.value().endswith(b"\r\n0\r\n\r\n") for client in clients]
        assert ended == [False, True]
        self.stop(agent)
        for client in clients:
            client.leaves()

    def test_what_waits(self) -> None:
        """What needs a restart is named, each time anew, and does not change."""
        agent = self.started()
        config = evolve(self.config, http=HttpConfig(listen="tcp:8471"), asterisk=None)
        for _ in range(2):
            assert agent.change(config) == ([], ["http.listen", "asterisk"])
        self.stop(agent)

    def test_a_key_that_goes_with_its_webhook(self) -> None:
        """The key is worth nothing at once, though the webhook waits for a restart."""
        secret = self.directory.parent / "whsec"
        secret.write_text("whsec_" + "A" * 32 + "\n")
        receiver = WebhookConfig("crm", "http://127.0.0.1:9/", str(secret), keys=[CRM.name])
        before = self.config
        self.config = evolve(before, webhooks=[receiver])
        agent = self.started()
        assert agent.change(evolve(before, keys=[SHOP])) == (["keys"], ["webhooks"])
        assert self.asks("/c2c/v2/calls", AUTHORIZED).faults == ["unauthorized"]
        assert agent.change(self.config) == (["keys"], [])
        self.stop(agent)

    def test_what_cannot_be(self) -> None:
        """What could not be started with is refused as a whole."""
        agent = self.started()
        config = evolve(self.config, http=HttpConfig(listen=NO_CERTIFICATE), keys=[])
        with pytest.raises(ConfigError, match=r"http\.listen: /nonexistent\.pem"):
            agent.change(config)
        assert self.asks("/c2c/v2/calls", AUTHORIZED).json == {"calls": []}
        self.stop(agent)


class OverARestart(AgentTest):
    """What the next agent knows of the one before."""

    def test_calls_in_progress(self) -> None:
        """They are counted, settled with Asterisk, and never placed again."""
        self.config = evolve(self.config, calls=CallsConfig(max_concurrent=1))
        first = self.started()
        self.asks(PLACE, AUTHORIZED)
        self.stop(first)
        second = self.started()
        assert "started; 1 calls were in progress before" in self.lines()
        assert self.heard().count("Originate") == 1
        assert "CoreShowChannels" in self.heard()
        refused = self.asks("/c2c/v2?dial_first=100&dial_second=200", AUTHORIZED)
        assert refused.json["response"]["errors"][0]["error"]["code"] == "too_many_calls"
        replayed = self.asks(PLACE, AUTHORIZED)
        assert replayed.json["response"]["replayed"] is True
        second.parts.dispatcher.leg_event(ONE, Gone(CallEvidence(lost=True)))
        self.stop(second)
        assert self.heard().count("Originate") == 1

    def test_calls_of_the_last_minute(self) -> None:
        """A key's rate goes on over a restart."""
        self.config = evolve(self.config, keys=[evolve(CRM, per_minute=1)])
        first = self.started()
        self.asks(PLACE, AUTHORIZED)
        first.parts.dispatcher.leg_event(ONE, Gone(CallEvidence(lost=True)))
        self.stop(first)
        second = self.started()
        refused = self.asks("/c2c/v2?dial_first=100&dial_second=200", AUTHORIZED)
        assert refused.json["response"]["errors"][0]["error"]["code"] == "rate_limited"
        self.stop(second)

    def test_calls_and_minutes_of_the_last_day(self) -> None:
        """What a key may in a day, it may not again after a restart."""
        self.config = evolve(self.config, keys=[evolve(CRM, per_day=2, minutes_per_day=1)])
        first = self.started()
        self.asks(PLACE, AUTHORIZED)
        now = first.parts.clock.now()
        evidence = CallEvidence(first=LegEvidence(answered_at=now - 50.0, ended_at=now))
        first.parts.dispatcher.leg_event(ONE, Gone(evidence))
        self.stop(first)
        second = self.started()
        place = "/c2c/v2?dial_first=100&dial_second=200&timeout=9"
        refused = self.asks(f"{place}9", AUTHORIZED)
        assert refused.faults == ["rate_limited"]
        assert self.asks(place, AUTHORIZED).json["response"]["status"] == "success"
        self.stop(second)
        self.config = evolve(self.config, keys=[evolve(CRM, per_day=2)])
        third = self.started()
        assert self.asks(place, AUTHORIZED).faults == ["rate_limited"]
        self.stop(third)

    def test_the_steady_clock_goes_on(self) -> None:
        """The host's clock was set meanwhile: a call's times are on one clock all the same."""
        with mock.patch("c2c_agent.service.agent.boot_id", return_value="a-boot"):
            first = self.started()
            before = first.parts.clock.now()
            self.stop(first)
            with mock.patch("c2c_agent.service.parts.SteadyClock", self.an_hour_ahead):
                second = self.started()
                assert before <= second.parts.clock.now() < before + 600
                assert second.parts.clock.ahead() == pytest.approx(3600, abs=1)
                self.stop(second)

    def an_hour_ahead(self) -> SteadyClock:
        """A clock of a host whose own was set forward."""
        return SteadyClock(lambda: time.time() + 3600)


class Clocks(AgentTest):
    """Who asks which clock, where the host's was set by an hour."""

    def test_for_others_the_host_s(self) -> None:
        """A job's expiry, and what is shown."""
        agent = self.started()
        agent.parts.clock._host = lambda: time.time() + 3600
        place = "/c2c/v2?dial_first=100&dial_second=200&expires="
        assert self.asks(f"{place}{time.time() + 3000:.0f}", AUTHORIZED).faults == ["expired"]
        placed = self.asks(f"{place}{time.time() + 4000:.0f}", AUTHORIZED).json["response"]
        assert placed["status"] == "success"
        shown = self.asks(f"/c2c/v2/status/{placed['request_id']}").json["c2c_status"]
        assert float(shown["request"]["utc.time"]) == pytest.approx(time.time() + 3600, abs=60)
        self.stop(agent)

    def test_who_asks_which(self) -> None:
        """Pauses of reports are counted on the steady clock; their signatures tell the host's."""
        agent, reporter = self.started_with_a_webhook()
        agent.parts.clock._host = lambda: time.time() + 3600
        assert reporter._now() == pytest.approx(time.time() + 3600, abs=60)
        for steady in (agent.parts.outbox._now, agent.parts.dispatcher._now):
            assert steady() == pytest.approx(time.time(), abs=60)
        self.stop(agent)

    def test_nothing_is_deleted_early(self) -> None:
        """By a clock that was set forward, be it by years."""
        agent = self.started()
        now = agent.parts.retention(agent.parts.store.delete_ended, "calls")._now
        for host in (lambda: time.time() + 1e9, lambda: time.time() - 3600):
            agent.parts.clock._host = host
            assert now() == pytest.approx(min(host(), time.time()), abs=60)
        self.stop(agent)


class Webhooks(AgentTest):
    """How reports go to receivers."""

    def test_no_cookies(self) -> None:
        """What a receiver sets is not sent back to it: with one name each, they would pile up."""
        agent, reporter = self.started_with_a_webhook()
        kept = reporter._client._cookiejar
        headers = Message()
        headers["Set-Cookie"] = "nonce-1=x"
        kept.extract_cookies(mock.Mock(info=lambda: headers), Request("http://127.0.0.1:9/"))
        assert not [*kept]
        self.stop(agent)


class KillSwitch(AgentTest):
    """A file beside the store, and what it does to an agent."""

    def test_turned_beside_the_agent(self) -> None:
        """It counts at once, and shows everywhere; over a restart, too; calls are hung up."""
        agent = self.started()
        self.asks(PLACE, AUTHORIZED)
        StopSwitch(self.directory).stop(Stopped("a key was stolen", hang_up=True))
        place = "/c2c/v2?dial_first=100&dial_second=200"
        assert self.asks(place, AUTHORIZED).faults == ["not_allowed"]
        self.host.turn(1)
        assert "1 calls in progress are hung up" in self.lines()
        assert "Hangup" in self.heard()
        for _ in range(2):
            answer = self.asks("/readyz")
            assert answer.code == 503
            assert answer.json["parts"]["calls"] == "calls are stopped: a key was stolen"
            assert "c2c_calls_stopped 1.0" in self.asks("/metrics").content.decode()
            assert self.asks(place, AUTHORIZED).faults == ["not_allowed"]
            self.stop(agent)
            agent = self.started()
        StopSwitch(self.directory).start()
        assert "c2c_calls_stopped 0.0" in self.asks("/metrics").content.decode()
        assert self.asks(place, AUTHORIZED).json["response"]["status"] == "success"
        self.stop(agent)


class TimeZones(AgentTest):
    """Of keys with hours."""

    def test_outside_and_within(self) -> None:
        """The host's clock decides, in the key's own time zone."""
        place = "/c2c/v2?dial_first=100&dial_second=200"
        monday_noon_in_tokyo = 1_795_402_800.0
        hours = (parse_hours("Mo 11:00-13:00"),)
        self.config = evolve(self.config, keys=[evolve(CRM, hours=hours, timezone="Asia/Tokyo")])
        agent = self.started()
        agent.parts.clock._host = lambda: monday_noon_in_tokyo
        assert self.asks(place, AUTHORIZED).json["response"]["status"] == "success"
        agent.parts.clock._host = lambda: monday_noon_in_tokyo + 3600
        assert self.asks(place, AUTHORIZED).faults == ["not_allowed"]
        self.stop(agent)

    def test_one_that_is_not_known(self) -> None:
        """The agent does not start with it, and a reload refuses it."""
        wrong = evolve(CRM, timezone="Mars/Olympus")
        agent = self.started()
        with pytest.raises(ConfigError, match="'Mars/Olympus' is not known here"):
            agent.change(evolve(self.config, keys=[wrong]))
        self.stop(agent)


class Keeping(AgentTest):
    """What becomes of the store in the long run."""

    def until(self, true: Callable[[], bool], seconds: float = 0) -> None:
        """Wait for the store's threads, which are real; meanwhile the host's time goes on."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.host.turn(seconds)
            if true():
                return
            threading.Event().wait(0.005)
        raise AssertionError("never")

    def ended_days_ago(self, agent: AgentService, days: int) -> None:
        """Make the one call an old one, once it is stored: a refusal is told before that."""
        self.until(lambda: not agent.parts.dispatcher.states)
        with closing(sqlite3.connect(self.config.store.file)) as other, other:
            at = time.time() - days * 86400 - 60
            other.execute("UPDATE calls SET received_at = ?, ended_at = ?", (at, at))

    def test_old_calls(self) -> None:
        """Deleted at the start and every hour; until then a request is answered from the store."""
        refused = f"/c2c/v2?dial_first=300&dial_second=200&request_id={ONE}"
        agent = self.started()
        self.asks(refused, AUTHORIZED)
        self.ended_days_ago(agent, 89)
        self.host.turn(3600)
        assert self.asks(refused, AUTHORIZED).json["response"]["replayed"] is True
        self.ended_days_ago(agent, 90)
        deleted = "deleted 1 calls that ended more than 90 days ago"
        self.until(lambda: deleted in self.lines(), seconds=600)
        assert "replayed" not in self.asks(refused, AUTHORIZED).json["response"]
        self.ended_days_ago(agent, 90)
        self.stop(agent)
        agent = self.started()
        self.until(lambda: self.lines().count(deleted) == 2)
        self.stop(agent)

    def test_a_full_disk(self) -> None:
        """New calls are refused and ring nobody, a running one ends; it mends by itself."""
        agent = self.started()
        assert self.asks(PLACE, AUTHORIZED).json["response"]["status"] == "success"
        self.room(agent, 1)
        long = "".join(f"&metadata.word{number}={'x' * 256}" for number in range(16))
        refused = self.asks(f"{PLACE[:-1]}2{long}", AUTHORIZED)
        assert refused.faults == ["internal_error"]
        assert self.heard().count("Originate") == 1
        answer = self.asks("/readyz")
        assert (answer.code, answer.json["parts"]["store"]) == (503, "database or disk is full")
        agent.parts.dispatcher.leg_event(ONE, Gone(CallEvidence(lost=True)))
        status = self.asks(f"/c2c/v2/status/{ONE}").json["c2c_status"]["call"]
        assert status["outcome"] == "unknown"
        self.room(agent, 1_000_000)
        self.until(lambda: not agent.parts.dispatcher.states, seconds=1)
        assert self.asks("/readyz").code == 200
        self.stop(agent)

    def room(self, agent: AgentService, pages: int) -> None:
        """How large the file may become; never less than it is."""
        store = agent.parts.store
        assert isinstance(store, Store)
        store._writer.execute(f"PRAGMA max_page_count = {pages}")


class OperatorKey(AgentTest):
    """The key of the agent's own host, beside the store."""

    def test_made_at_the_first_start(self) -> None:
        """Not before; and then it stays."""
        agent = self.agent()
        assert not self.directory.exists()
        agent.startService()
        secret = operator_secret(self.config)
        self.stop(agent)
        self.stop(self.started())
        assert operator_secret(self.config) == secret

    def test_opens_the_api(self) -> None:
        """Who can read it sees the calls of all, as the command line does."""
        agent = self.started()
        secret = operator_secret(self.config)
        assert self.asks("/c2c/v2/calls", f"Authorization: Bearer {secret}").json == {"calls": []}
        self.stop(agent)


class OnTheLoopback(TestCase):
    """The same with real sockets: an agent between an Asterisk that is faked and a real client."""

    timeout = 60

    async def test_from_start_to_stop(self) -> None:
        """It comes up, answers the command line's client, and goes without a trace."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        secret = Path(directory.name) / "ami.secret"
        secret.write_text("hush\n")
        asterisk = FakeAsterisk(reactor)
        asterisk.start()
        self.addCleanup(asterisk.stop)
        config = Config(
            server_id="pbx1.example.com",
            store=StoreConfig(path=str(Path(directory.name) / "c2c.sqlite3")),
            http=HttpConfig(listen="tcp:0:interface=127.0.0.1"),
            asterisk=AsteriskConfig(
                ami=AmiConfig(port=asterisk.port, secret_file=str(secret)),
                agi=AgiConfig(listen="tcp:0:interface=127.0.0.1"),
            ),
        )
        agent = AgentService(config, reactor)
        self.addCleanup(lambda: agent.stopService() if agent.running else None)
        agent.startService()
        port = (await self.port_of(agent)).getHost().port
        client = Client(place_of(f"http://127.0.0.1:{port}"), operator_secret(config))
        assert await deferToThread(client.calls, 5) == []
        while not agent.parts.pbxs.asterisks["asterisk"].link.is_up:
            await deferLater(reactor, 0.01)
        await agent.stopService()
        assert asterisk.sessions[0].heard[-1] == "Logoff"
        assert writers() == 0

    def port_of(self, agent: AgentService) -> Deferred[Any]:
        """Where its HTTP listener is."""
        told: Deferred[Any] = Deferred()

        def tell(port: Any) -> Any:
            told.callback(port)
            return port

        waiting: Any = agent.parts.http._waitingForPort
        waiting.addCallback(tell)
        return told
