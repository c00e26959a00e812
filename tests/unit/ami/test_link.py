"""The link to Asterisk, on a reactor of memory whose clock stands still."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import (
    MemoryReactorClock,
    StringTransport,
    StringTransportWithDisconnection,
)
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink, LinkDown, ami_endpoint
from c2c_agent.ami.message import LocalAmiError, Message
from c2c_agent.ami.pending import LinkLost
from c2c_agent.errors import C2CError, ConfigError
from tests.certificates import Authority

BANNER = "Asterisk Call Manager/11.0.0\r\n"
VERSION = "22.10.1"
UP = f"up {VERSION}"
NO_ANSWER = "Connection was refused by other side: no"


class Connection:
    """A connection that the reactor was asked for, as Asterisk has it."""

    def __init__(self, factory: Any, transport: Any) -> None:
        self.transport = transport
        self.protocol = factory.buildProtocol(None)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def says(self, text: str) -> None:
        """Say something."""
        self.protocol.dataReceived(text.encode())

    def heard(self) -> list[Message]:
        """Return the actions that came since this was asked last."""
        data = self.transport.value()
        self.transport.clear()
        return [Message(part) for part in data.split(b"\r\n\r\n")[:-1]]

    def answers(self, name: str, response: str = "Success", **headers: str) -> None:
        """Answer the one action that came, which has to have this name."""
        [action] = self.heard()
        assert action.get("Action") == name
        lines = {"Response": response, "ActionID": action.action_id} | headers
        self.says("".join(f"{header}: {value}\r\n" for header, value in lines.items()) + "\r\n")

    def event(self, name: str) -> None:
        """Report something."""
        self.says(f"Event: {name}\r\n\r\n")

    def welcomes(self) -> None:
        """Say the banner, and accept the login."""
        self.says(BANNER)
        self.answers("Login", Message="Authentication accepted")

    def comes_up(self, version: str = VERSION) -> None:
        """Do all that it takes for the link to be up."""
        self.welcomes()
        self.answers("CoreSettings", AsteriskVersion=version)

    def refuses(self, message: str = "Authentication failed") -> None:
        """Say the banner, and refuse the login."""
        self.says(BANNER)
        self.answers("Login", "Error", Message=message)

    def is_open(self) -> bool:
        """Whether it still is a connection."""
        return bool(self.transport.connected)


class LinkTest(SynchronousTestCase):
    """A link whose Asterisk is played by the test, which is also the link's observer."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.seen: list[str] = []
        self.connections: list[Connection] = []
        self.link = self.make_link(observer=self)
        logs = capturedLogs()
        self.logged = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)

    def tearDown(self) -> None:
        """No test ends with two sessions, or with a secret in the log."""
        assert sum(connection.is_open() for connection in self.connections) <= 1
        assert "hush" not in repr(self.logged)

    def make_link(self, **changes: Any) -> AmiLink:
        """Return a link of the usual arguments, with these changed."""
        usual: dict[str, Any] = {
            "username": "c2c-agent",
            "secret": "hush",
            "clock": self.reactor,
            "jitter": lambda: 0.5,
        }
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 5038)
        return AmiLink(endpoint, **(usual | changes))

    def link_up(self, version: str) -> None:
        self.seen.append(f"up {version}")

    def link_down(self, reason: str) -> None:
        self.seen.append(f"down {reason}")

    def ami_event(self, event: Message) -> None:
        self.seen.append(event.event)

    def accept(self, transport: Any = None) -> Connection:
        """Let the attempt to connect succeed."""
        assert not any(connection.is_open() for connection in self.connections)
        connection = Connection(
            self.reactor.tcpClients[-1][2], transport or StringTransportWithDisconnection()
        )
        self.connections.append(connection)
        return connection

    def refuse(self) -> None:
        """Let the attempt to connect fail."""
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(self.reactor.connectors[-1], Failure(Refused("no")))

    def start(self) -> Connection:
        """Start the link and bring it up."""
        self.link.startService()
        connection = self.accept()
        connection.comes_up()
        assert self.is_up()
        return connection

    def waits(self) -> float:
        """Let the time pass until the next attempt, and return how long that took."""
        attempts = len(self.reactor.tcpClients)
        seconds = 0.0
        while len(self.reactor.tcpClients) == attempts:
            assert seconds < 100
            self.reactor.advance(0.5)
            seconds += 0.5
        return seconds

    def log(self, level: LogLevel = LogLevel.info) -> list[str]:
        """Return what the link itself logged, at this level or above."""
        ours = [event for event in self.logged if event["log_namespace"].startswith("c2c_agent")]
        return [formatEvent(event) for event in ours if event["log_level"] >= level]

    def is_up(self) -> bool:
        """Whether the link is up now."""
        return self.link.is_up

    def words(self, waiting: Deferred[Any], kind: type[Exception]) -> str:
        """Return in what words a Deferred failed, which it has to have done in this way."""
        return str(self.failureResultOf(waiting, kind).value)


class UpTests(LinkTest):
    """How the link comes up, and what it does then."""

    def test_up(self) -> None:
        """After the login and the version, not before."""
        self.link.startService()
        assert (self.is_up(), self.link.last_error) == (False, "not connected yet")
        connection = self.accept()
        connection.says(BANNER)
        assert not self.is_up()
        connection.answers("Login", Message="Authentication accepted")
        assert not self.is_up()
        assert self.seen == []
        connection.answers("CoreSettings", AsteriskVersion=VERSION)
        assert self.is_up()
        assert self.seen == [UP]
        assert (self.link.asterisk_version, self.link.last_error) == (VERSION, "")
        assert self.link.reconnects == 0
        assert self.log() == [f"AMI link up: Asterisk {VERSION}"]

    def test_actions_go_through(self) -> None:
        """With their ActionID and time limit."""
        connection = self.start()
        sent = self.link.send(actions.ping(), action_id="c2c-1", time_limit=3.0)
        connection.answers("Ping", Ping="Pong")
        assert self.successResultOf(sent).action_id == "c2c-1"
        asked = self.link.collect(actions.core_show_channels(), "c2c-2", 3.0)
        connection.answers("CoreShowChannels", EventList="start")
        connection.says("Event: Done\r\nActionID: c2c-2\r\nEventList: Complete\r\n\r\n")
        assert self.successResultOf(asked) == []

    def test_nothing_is_sent_while_the_link_is_down(self) -> None:
        """The failure says why there is no link."""
        words = "Ping: no AMI link: not connected yet"
        assert self.words(self.link.send(actions.ping()), LinkDown) == words
        self.link.startService()
        self.refuse()
        words = f"CoreShowChannels: no AMI link: {NO_ANSWER}"
        assert self.words(self.link.collect(actions.core_show_channels()), LinkDown) == words
        self.waits()
        self.accept().welcomes()
        self.words(self.link.send(actions.ping()), LinkDown)

    def test_nothing_is_sent_on_a_link_that_is_just_given_up(self) -> None:
        """Even before the transport is gone, and the observer was told."""
        self.link.startService()
        held: Any = StringTransport()
        connection = self.accept(held)
        connection.comes_up()
        self.reactor.pump([10, 10])  # silence, then no answer to the Ping
        assert held.disconnected
        assert not self.is_up()
        assert self.seen == [UP]
        words = "Ping: no AMI link: it is just closing"
        assert self.words(self.link.send(actions.ping()), LinkDown) == words
        held.connected = False
        connection.protocol.connectionLost(Failure(Refused()))
        assert self.seen == [UP, "down no answer to a Ping within 10 s"]

    def test_events_come_between_up_and_down(self) -> None:
        """Those that are there early wait for `link_up`; none comes after `link_down`."""
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.event("FullyBooted")
        connection.event("Newchannel")
        assert self.seen == []
        connection.answers("CoreSettings", AsteriskVersion=VERSION)
        connection.event("Hangup")
        connection.transport.loseConnection()
        assert self.seen == [
            UP,
            "FullyBooted",
            "Newchannel",
            "Hangup",
            "down Asterisk closed the connection",
        ]

    def test_early_events_of_a_session_that_did_not_come_up(self) -> None:
        """They are not those of the next."""
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.event("Newchannel")
        connection.transport.loseConnection()
        self.waits()
        self.accept().comes_up()
        assert self.seen == [UP]

    def test_without_an_observer(self) -> None:
        """The link works for those who only send."""
        self.link.observer = None
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.event("Newchannel")
        connection.answers("CoreSettings", AsteriskVersion=VERSION)
        connection.event("Hangup")
        connection.transport.loseConnection()
        assert self.seen == []
        assert not self.is_up()

    def test_mistakes_of_the_observer(self) -> None:
        """They are logged, and the link goes on."""
        self.link.observer = Mistaken()
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.event("Newchannel")
        connection.event("Newstate")
        connection.answers("CoreSettings", AsteriskVersion=VERSION)
        connection.event("Hangup")
        assert self.is_up()
        connection.transport.loseConnection()
        self.waits()
        self.accept().comes_up()
        assert self.is_up()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 6
        assert len(self.log(LogLevel.critical)) == 6

    def test_what_cannot_be_sent_is_found_at_once(self) -> None:
        """A secret with a line end is one of a badly read file."""
        with self.assertRaises(LocalAmiError):
            self.make_link(secret="hush\n")


class Mistaken:
    """An observer that does everything wrong."""

    def link_up(self, version: str) -> None:
        raise ZeroDivisionError(version)

    def link_down(self, reason: str) -> None:
        raise ZeroDivisionError(reason)

    def ami_event(self, event: Message) -> None:
        raise ZeroDivisionError(event)


class LossTests(LinkTest):
    """How the link goes down, and comes up again."""

    def test_lost_and_up_again(self) -> None:
        """The observer hears of both, and so does the log, in one line each."""
        connection = self.start()
        sent = self.link.send(actions.ping())
        connection.transport.loseConnection()
        assert self.words(sent, LinkLost) == "Ping: Asterisk closed the connection"
        assert not self.is_up()
        assert self.link.last_error == "Asterisk closed the connection"
        assert self.waits() == 1.5
        self.accept().comes_up("22.10.2")
        assert self.is_up()
        assert (self.link.asterisk_version, self.link.reconnects) == ("22.10.2", 1)
        assert self.seen == [UP, "down Asterisk closed the connection", "up 22.10.2"]
        assert self.log() == [
            f"AMI link up: Asterisk {VERSION}",
            "No AMI link: Asterisk closed the connection. Next attempt in 1.5 s",
            "AMI link up: Asterisk 22.10.2",
        ]

    def test_lost_again_for_the_same_reason(self) -> None:
        """It is another loss, so the log says it again."""
        self.start().transport.loseConnection()
        self.waits()
        self.accept().comes_up()
        self.connections[-1].transport.loseConnection()
        lost = "No AMI link: Asterisk closed the connection. Next attempt in 1.5 s"
        assert self.log(LogLevel.warn) == [lost, lost]

    def test_an_asterisk_that_does_not_listen(self) -> None:
        """It is tried less and less often, and the log says it once."""
        self.link.startService()
        waits = []
        for _ in range(7):
            self.refuse()
            waits.append(self.waits())
        assert waits == [1.5, 2.5, 4.5, 8.5, 8.5, 8.5, 8.5]
        assert self.link.last_error == NO_ANSWER
        assert self.log() == [f"No AMI link: {NO_ANSWER}. Next attempt in 1.5 s"]
        assert self.seen == []

    def test_the_wait_is_short_again_after_a_link(self) -> None:
        """But not after a connection that did not become one."""
        self.link.startService()
        waits = []
        for _ in range(3):
            self.accept().transport.loseConnection()
            waits.append(self.waits())
        self.accept().comes_up()
        for _ in range(2):
            self.connections[-1].transport.loseConnection()
            waits.append(self.waits())
            self.accept()
        assert waits == [1.5, 2.5, 4.5, 1.5, 2.5]

    def test_the_wait_depends_on_chance(self) -> None:
        """So that many agents do not come at the same instant."""
        self.link = self.make_link(jitter=iter([0.0, 1.0]).__next__)
        self.link.startService()
        self.refuse()
        assert self.waits() == 1.0
        self.refuse()
        assert self.waits() == 3.0

    def test_a_refused_login(self) -> None:
        """It is tried seldom; the log says it once, and once more when the reason changes."""
        self.link.startService()
        waits = []
        for _ in range(5):
            connection = self.accept()
            connection.refuses()
            assert not connection.is_open()
            waits.append(self.waits())
        assert waits == [10.5, 20.5, 40.5, 59.5, 59.5]
        assert self.link.last_error == "login refused: Authentication failed"
        assert len(self.log()) == 1
        self.accept().refuses("Login Already In Use")
        self.waits()
        self.accept().refuses("Login Already In Use")
        assert self.log() == [
            "No AMI link: login refused: Authentication failed. Next attempt in 10.5 s",
            "No AMI link: login refused: Login Already In Use. Next attempt in 59.5 s",
        ]
        assert self.seen == []

    def test_a_secret_that_was_changed(self) -> None:
        """After a refusal, and not before, the new one is asked for, and used."""
        secrets = ["changed"]
        self.link = self.make_link(observer=self, new_secret=secrets.pop)
        self.link.startService()
        first = self.accept()
        first.says(BANNER)
        assert b"Secret: hush" in first.transport.value()
        assert secrets == ["changed"]
        first.answers("Login", "Error", Message="Authentication failed")
        self.waits()
        second = self.accept()
        second.says(BANNER)
        assert b"Secret: changed" in second.transport.value()

    def test_a_new_secret_that_is_none(self) -> None:
        """The old one is tried again, and the log says why."""

        def unreadable() -> str:
            raise C2CError("ami.secret: Permission denied")

        self.link = self.make_link(observer=self, new_secret=unreadable)
        self.link.startService()
        self.accept().refuses()
        self.waits()
        self.accept().comes_up()
        assert "AMI: the secret stays as it was: ami.secret: Permission denied" in self.log()

    def test_a_login_that_is_accepted_at_last(self) -> None:
        """From then on it is as if nothing had been."""
        self.link.startService()
        self.accept().refuses()
        self.waits()
        connection = self.accept()
        connection.comes_up()
        assert self.is_up()
        connection.transport.loseConnection()
        assert self.waits() == 1.5
        self.accept().refuses()
        assert len(self.log()) == 4

    def test_a_peer_that_says_nothing(self) -> None:
        """It is given up after ten seconds, and tried again."""
        self.link.startService()
        connection = self.accept()
        self.reactor.advance(9.5)
        assert connection.is_open()
        self.reactor.advance(0.5)
        assert not connection.is_open()
        assert self.link.last_error == "no login within 10 s"
        assert self.waits() == 1.5

    def test_a_peer_that_does_not_answer_the_login(self) -> None:
        """The same."""
        self.link.startService()
        connection = self.accept()
        connection.says(BANNER)
        self.reactor.advance(10)
        assert not connection.is_open()
        assert self.waits() == 1.5

    def test_no_version(self) -> None:
        """An Asterisk that does not tell its version does not become a link."""
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.answers("CoreSettings", "Error", Message="Permission denied")
        assert not connection.is_open()
        assert self.link.last_error == (
            "CoreSettings refused: Permission denied (the AMI user needs write=reporting)"
        )
        assert self.waits() == 10.5

    def test_another_refusal(self) -> None:
        """No right is missing where Asterisk does not say so."""
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.answers("CoreSettings", "Error", Message="Not now")
        assert self.link.last_error == "CoreSettings refused: Not now"

    def test_no_answer_to_the_question_for_the_version(self) -> None:
        """It is not waited for for ever."""
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        self.reactor.advance(10)
        assert not connection.is_open()
        assert self.link.last_error == "CoreSettings: no answer within 10 s"
        assert self.waits() == 1.5

    def test_lost_while_asked_for_the_version(self) -> None:
        """The observer hears nothing of it."""
        self.link.startService()
        connection = self.accept()
        connection.welcomes()
        connection.transport.loseConnection()
        assert self.seen == []
        assert self.waits() == 1.5

    def test_the_question_for_a_sign_of_life(self) -> None:
        """A link that answers it stays up; one that does not is made anew."""
        connection = self.start()
        for _ in range(10):
            self.reactor.advance(10)
            connection.answers("Ping", Ping="Pong")
        assert self.is_up()
        self.reactor.advance(10)
        self.reactor.advance(10)
        assert not connection.is_open()
        assert self.seen == [UP, "down no answer to a Ping within 10 s"]
        assert self.waits() == 1.5

    def test_a_new_session_waits_for_the_end_of_the_old_one(self) -> None:
        """However long that takes."""
        self.link.startService()
        held: Any = StringTransport()
        connection = self.accept(held)
        connection.refuses()
        assert held.disconnecting
        attempts = len(self.reactor.tcpClients)
        self.reactor.advance(1)
        assert held.disconnected  # aborted
        self.reactor.pump([10] * 10)
        assert len(self.reactor.tcpClients) == attempts
        held.connected = False
        connection.protocol.connectionLost(Failure(Refused()))
        assert self.waits() == 10.5


class StopTests(LinkTest):
    """How the service ends; nothing is left, in whatever state it was."""

    def stop(self) -> Deferred[None]:
        """Stop the link."""
        return self.link.stopService()

    def stopped(self, stopping: Deferred[None]) -> None:
        """Expect the link to have stopped, and to leave nothing."""
        self.successResultOf(stopping)
        assert not self.reactor.getDelayedCalls()
        assert not any(connection.is_open() for connection in self.connections)
        assert not self.is_up()
        assert not self.link.running
        attempts = len(self.reactor.tcpClients)
        self.reactor.pump([10] * 10)
        assert len(self.reactor.tcpClients) == attempts

    def test_when_up(self) -> None:
        """Asterisk is told, and the connection is closed when it has said goodbye."""
        connection = self.start()
        stopping = self.stop()
        assert self.seen == [UP, "down closed by us"]
        self.words(self.link.send(actions.ping()), LinkDown)
        self.assertNoResult(stopping)
        connection.event("Hangup")
        connection.answers("Logoff", "Goodbye", Message="Thanks for all the fish.")
        self.stopped(stopping)
        assert self.seen == [UP, "down closed by us"]

    def test_when_asterisk_does_not_say_goodbye(self) -> None:
        """It is waited for for a second."""
        self.start()
        stopping = self.stop()
        self.reactor.advance(0.9)
        self.assertNoResult(stopping)
        self.reactor.advance(0.1)
        self.stopped(stopping)

    def test_when_the_connection_does_not_close(self) -> None:
        """It is cut after another second."""
        self.link.startService()
        held: Any = StringTransport()
        connection = self.accept(held)
        connection.comes_up()
        stopping = self.stop()
        self.reactor.advance(1)
        assert held.disconnecting
        assert not held.disconnected
        self.reactor.advance(1)
        assert held.disconnected
        held.connected = False
        connection.protocol.connectionLost(Failure(Refused()))
        self.stopped(stopping)

    def test_when_the_connection_is_lost_meanwhile(self) -> None:
        """Then that is the end."""
        connection = self.start()
        stopping = self.stop()
        connection.transport.loseConnection()
        self.stopped(stopping)

    def test_when_logging_in(self) -> None:
        """The connection is closed."""
        self.link.startService()
        self.accept().says(BANNER)
        self.stopped(self.stop())
        assert self.seen == []

    def test_when_connecting(self) -> None:
        """The attempt is given up."""
        self.link.startService()
        self.stopped(self.stop())

    def test_when_waiting(self) -> None:
        """There is no next attempt."""
        self.link.startService()
        self.refuse()
        self.stopped(self.stop())

    def test_twice(self) -> None:
        """Who stops it a second time does not want to wait for goodbyes."""
        self.start()
        first = self.stop()
        second = self.stop()
        self.stopped(second)
        self.stopped(first)

    def test_again_from_a_callback(self) -> None:
        """Who stops what is stopped just now, stops it too late, and does no harm."""
        connection = self.start()
        stopping = self.stop().addCallback(lambda _: self.stop())
        connection.answers("Logoff", "Goodbye")
        self.stopped(stopping)

    def test_again_while_the_connection_closes(self) -> None:
        """Both wait for its end."""
        self.link.startService()
        held: Any = StringTransport()
        connection = self.accept(held)
        connection.comes_up()
        first = self.stop()
        connection.answers("Logoff", "Goodbye")
        second = self.stop()
        self.assertNoResult(first)
        self.assertNoResult(second)
        held.connected = False
        connection.protocol.connectionLost(Failure(Refused()))
        self.stopped(first)
        self.stopped(second)

    def test_before_the_start(self) -> None:
        """There is nothing to be done."""
        self.stopped(self.stop())

    def test_started_again(self) -> None:
        """The link comes up again."""
        connection = self.start()
        stopping = self.stop()
        connection.answers("Logoff", "Goodbye")
        self.successResultOf(stopping)
        self.start()
        assert self.seen == [UP, "down closed by us", UP]

    def test_started_again_while_it_stops(self) -> None:
        """The old session ends, then a new one begins."""
        connection = self.start()
        stopping = self.stop()
        self.link.startService()
        connection.answers("Logoff", "Goodbye")
        self.successResultOf(stopping)
        assert not connection.is_open()
        self.waits()
        self.accept().comes_up()
        assert self.is_up()
        assert self.seen == [UP, "down closed by us", UP]


class LogTests(LinkTest):
    """What others log of the link."""

    def test_the_endpoint_is_shown(self) -> None:
        """ClientService names it in its own lines, which have their own namespace."""
        self.link.startService()
        self.refuse()
        theirs = [event for event in self.logged if "twisted" in event["log_namespace"]]
        assert "TCP4ClientEndpoint" in formatEvent(theirs[0])


class Endpoints(SynchronousTestCase):
    """Where AMI is."""

    def test_how_it_is_reached(self) -> None:
        """In the clear, or over TLS with the host's name to be checked."""
        port, hello = self.opening("192.0.2.1", 5039, tls=False)
        assert (port, hello) == (5039, b"")
        port, hello = self.opening("pbx1.example.com", 5040, tls=True)
        assert port == 5040
        assert hello.startswith(b"\x16\x03\x01")  # a ClientHello (RFC 8446, section 5.1)
        assert b"pbx1.example.com" in hello

    def test_authorities(self) -> None:
        """Those of a file, where one is named; what is none is no reason to trust anybody."""
        with TemporaryDirectory() as directory:
            file = Authority(Path(directory)).file
            ami_endpoint(MemoryReactorClock(), "pbx1", 5039, tls=True, ca_file=str(file))
            file.unlink()
            with pytest.raises(ConfigError, match=r"ca\.pem"):
                ami_endpoint(MemoryReactorClock(), "pbx1", 5039, tls=True, ca_file=str(file))

    def opening(self, host: str, port: int, *, tls: bool) -> tuple[int, bytes]:
        """To which port it connects, and what is said at once there."""
        reactor = MemoryReactorClock()
        endpoint = ami_endpoint(reactor, host, port, tls=tls)
        connecting = endpoint.connect(Factory.forProtocol(Protocol))
        connecting.addErrback(lambda _: None)
        _, its_port, factory, *_ = reactor.tcpClients[-1]
        transport: Any = StringTransport()
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", its_port))
        protocol.makeConnection(transport)
        reactor.advance(0)
        return its_port, transport.value()
