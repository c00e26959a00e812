"""One connection to Asterisk, with a transport of memory and a clock that stands still."""

# Twisted's test doubles have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from c2c_agent.ami import actions
from c2c_agent.ami.actions import Action, ActionRefused
from c2c_agent.ami.message import LocalAmiError, Message, RemoteAmiError
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.ami.protocol import AmiProtocol, Limits, LinkDown, LoginRefused
from tests.unit.ami.transcripts import NAMES, transcript

BANNER = "Asterisk Call Manager/11.0.0\r\n"
WELCOME = {"Response": "Success", "ActionID": "agent-1", "Message": "Authentication accepted"}
LIMITS = Limits(login=10.0, answer=5.0, silence=20.0, ping=3.0, goodbye=1.0)


def text_of(**headers: str) -> str:
    """Return a message as Asterisk sends it."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"


class ConnectionTest(SynchronousTestCase):
    """A connection whose other side is played by the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Message] = []
        self.protocol = AmiProtocol(
            actions.login("c2c-agent", "hush"), self.on_event, self.clock, LIMITS
        )
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self.protocol

    def on_event(self, event: Message) -> None:
        """Note the event."""
        self.events.append(event)

    def connect(self) -> None:
        """Make the connection."""
        self.protocol.makeConnection(self.transport)

    def log_in(self) -> None:
        """Make the connection, and let Asterisk accept the login."""
        self.connect()
        self.says(BANNER)
        self.says(text_of(**WELCOME))
        assert self.protocol.is_ready
        self.heard()

    def says(self, text: str | bytes) -> None:
        """Asterisk says this."""
        self.protocol.dataReceived(text if isinstance(text, bytes) else text.encode())

    def answers(self, action_id: str, response: str = "Success", **headers: str) -> None:
        """Asterisk says this in answer to an action."""
        self.says(text_of(Response=response, ActionID=action_id, **headers))

    def heard(self) -> list[Message]:
        """Return the actions that Asterisk heard since this was asked last."""
        data = self.transport.value()
        self.transport.clear()
        return [Message(part) for part in data.split(b"\r\n\r\n")[:-1]]

    def reason(self) -> str:
        """Return why the connection ended, which it has to have done."""
        assert not self.clock.getDelayedCalls()
        assert not self.protocol.is_ready
        return self.successResultOf(self.protocol.when_lost())

    def fails(self, waiting: Deferred[Any], kind: type[Exception]) -> str:
        """Return in what words a Deferred failed, which it has to have done in this way."""
        return str(self.failureResultOf(waiting, kind).value)


class LoginTests(ConnectionTest):
    """From the connection to the login."""

    def test_banner_then_login(self) -> None:
        """The login is sent when the banner is complete, and the answer to it ends the wait."""
        logged_in = self.protocol.when_logged_in()
        self.connect()
        self.says(BANNER[:10])
        assert self.heard() == []
        self.says(BANNER[10:])
        [login] = self.heard()
        assert login.headers == [
            ("Action", "Login"),
            ("ActionID", "agent-1"),
            ("Username", "c2c-agent"),
            ("Secret", "hush"),
            ("Events", "call"),
        ]
        self.assertNoResult(logged_in)
        assert not self.protocol.is_ready
        self.says(text_of(**WELCOME))
        assert self.successResultOf(logged_in).get("Message") == "Authentication accepted"
        assert self.protocol.is_ready

    def test_login_is_sent_once(self) -> None:
        """Whatever Asterisk says before it answers."""
        self.connect()
        self.says(BANNER)
        self.says("\r\n" + text_of(Response="Error", Message="Missing action in request"))
        assert len(self.heard()) == 1

    def test_refused(self) -> None:
        """Everybody who waits hears Asterisk's words, and the connection is closed."""
        before = [self.protocol.when_logged_in() for _ in range(2)]
        self.connect()
        self.says(BANNER)
        self.answers("agent-1", "Error", Message="Authentication failed")
        for waiting in (*before, self.protocol.when_logged_in()):
            assert self.fails(waiting, LoginRefused) == "Authentication failed"
        assert not self.transport.connected
        assert not self.transport.disconnected  # closed in order, not aborted
        assert self.reason() == "login refused: Authentication failed"

    def test_refused_without_a_word(self) -> None:
        """A reason is given all the same."""
        self.connect()
        self.says(BANNER)
        self.answers("agent-1", "Error")
        assert self.fails(self.protocol.when_logged_in(), LoginRefused) == "no reason given"

    def test_silence_from_the_start(self) -> None:
        """A peer that accepts and says nothing is given up."""
        logged_in = self.protocol.when_logged_in()
        self.connect()
        self.clock.advance(9.9)
        assert self.transport.connected
        self.clock.advance(0.1)
        assert self.transport.disconnected  # aborted
        assert self.fails(logged_in, LinkLost) == "no login within 10 s"
        assert self.reason() == "no login within 10 s"

    def test_silence_behind_the_banner(self) -> None:
        """The time counts from the connection, not from the banner."""
        self.connect()
        self.clock.advance(9)
        self.says(BANNER)
        self.clock.advance(1)
        assert self.reason() == "no login within 10 s"

    def test_connection_lost_before_the_login(self) -> None:
        """Those who wait hear why."""
        logged_in = self.protocol.when_logged_in()
        self.connect()
        self.says(BANNER)
        self.transport.loseConnection()
        assert self.fails(logged_in, LinkLost) == "Asterisk closed the connection"

    def test_nothing_can_be_sent_before_the_login(self) -> None:
        """Asterisk would refuse it; so it is not sent."""
        self.connect()
        self.says(BANNER)
        self.heard()
        assert self.fails(self.protocol.send(actions.ping()), LinkDown) == "Ping: not logged in yet"
        self.fails(self.protocol.collect(actions.core_show_channels()), LinkDown)
        assert self.heard() == []

    def test_no_secret_in_the_log(self) -> None:
        """Not even at the most talkative level, nor of a login that is answered twice."""
        with capturedLogs() as logged:
            self.log_in()
            self.says(text_of(**WELCOME))
            self.transport.loseConnection()
        assert logged
        assert "hush" not in repr(logged)


class ActionTests(ConnectionTest):
    """Actions and their responses."""

    def test_responses_are_known_by_their_action_id(self) -> None:
        """Not by their order, nor by what comes between."""
        self.log_in()
        first = self.protocol.send(actions.core_status())
        second = self.protocol.send(actions.getvar("A"))
        third = self.protocol.send(actions.ping(), action_id="c2c-3")
        assert [(action.get("Action"), action.action_id) for action in self.heard()] == [
            ("CoreStatus", "agent-2"),
            ("Getvar", "agent-3"),
            ("Ping", "c2c-3"),
        ]
        self.answers("c2c-3", Ping="Pong")
        self.says(text_of(Event="Hangup", ActionID="agent-3"))
        self.answers("agent-3", "Error", Message="Permission denied")
        self.answers("agent-2", CoreCurrentCalls="1")
        assert self.successResultOf(third).get("Ping") == "Pong"
        assert self.successResultOf(second).response == "Error"
        assert self.successResultOf(first).get("CoreCurrentCalls") == "1"
        assert [event.event for event in self.events] == ["Hangup"]

    def test_an_action_id_that_is_out_cannot_be_used_again(self) -> None:
        """Two answers could not be told apart. When the first is there, it is free."""
        self.log_in()
        first = self.protocol.send(actions.ping(), action_id="c2c-1")
        self.heard()
        second = self.protocol.send(actions.ping(), action_id="c2c-1")
        assert self.fails(second, LocalAmiError).startswith("ActionID: 'c2c-1'")
        assert self.heard() == []
        self.answers("c2c-1")
        self.successResultOf(first)
        third = self.protocol.send(actions.ping(), action_id="c2c-1")
        self.answers("c2c-1")
        self.successResultOf(third)

    def test_an_impossible_action_id_is_not_sent(self) -> None:
        """It would not come back as it is."""
        self.log_in()
        sent = self.protocol.send(actions.ping(), action_id="two words")
        assert self.fails(sent, LocalAmiError).startswith("ActionID")
        assert self.heard() == []

    def test_responses_that_nobody_asked_for(self) -> None:
        """Unknown, without an ActionID, or a second time: they are noted, and harm nothing."""
        self.log_in()
        sent = self.protocol.send(actions.ping())
        with capturedLogs() as logged:
            self.says(text_of(Response="Error", Message="Missing action in request"))
            self.answers("agent-77")
            self.says("Nothing: known\r\nActionID: agent-2\r\n\r\n")
            self.answers("agent-2", Ping="Pong")
            self.answers("agent-2", Ping="Pong")
        assert self.successResultOf(sent).get("Ping") == "Pong"
        assert [event["log_level"] for event in logged] == [LogLevel.debug] * 4
        assert self.events == []
        assert self.protocol.is_ready

    def test_no_answer_in_time(self) -> None:
        """The failure names the action; the answer that comes late is noted, and forgotten."""
        self.log_in()
        sent = self.protocol.send(actions.core_status())
        patient = self.protocol.send(actions.ping(), time_limit=6.0)
        self.clock.advance(4.9)
        self.assertNoResult(sent)
        self.clock.advance(0.1)
        assert self.fails(sent, ActionTimedOut) == "CoreStatus: no answer within 5 s"
        with capturedLogs() as logged:
            self.answers("agent-2")
        [event] = logged
        assert (event["log_level"], event["action"]) == (LogLevel.debug, "CoreStatus")
        self.clock.advance(1)
        assert self.fails(patient, ActionTimedOut) == "Ping: no answer within 6 s"
        assert self.protocol.is_ready

    def test_the_action_id_of_a_late_answer_is_not_free(self) -> None:
        """Or the late answer would be taken for that of another action."""
        self.log_in()
        first = self.protocol.send(actions.ping(), action_id="c2c-1")
        self.clock.advance(5)
        self.fails(first, ActionTimedOut)
        self.fails(self.protocol.send(actions.ping(), action_id="c2c-1"), LocalAmiError)
        self.answers("c2c-1")
        self.protocol.send(actions.ping(), action_id="c2c-1")
        assert len(self.heard()) == 2

    def test_cancelled(self) -> None:
        """Who does not want to wait any longer disturbs nobody."""
        self.log_in()
        sent = self.protocol.send(actions.ping())
        asked = self.protocol.collect(actions.core_show_channels())
        sent.cancel()
        asked.cancel()
        self.fails(sent, CancelledError)
        self.fails(asked, CancelledError)
        self.answers("agent-2")
        self.answers("agent-3", EventList="start")
        self.says(text_of(Event="CoreShowChannel", ActionID="agent-3"))
        self.says(text_of(Event="Done", ActionID="agent-3", EventList="Complete"))
        assert self.events == []
        assert self.protocol.is_ready

    def test_the_end_of_the_connection_fails_everything(self) -> None:
        """Each failure names its action and the reason; what is sent afterwards is not sent."""
        self.log_in()
        again: list[Deferred[Message]] = []
        sent = self.protocol.send(actions.core_status())
        sent.addErrback(self.send_again, again)
        asked = self.protocol.collect(actions.core_show_channels())
        given_up = self.protocol.send(actions.ping())
        given_up.cancel()
        self.fails(given_up, CancelledError)
        self.answers("agent-3", EventList="start")
        self.protocol.connectionLost(Failure(ConnectionLost("reset by peer")))
        words = "Connection to the other side was lost in a non-clean fashion: reset by peer"
        assert self.fails(sent, LinkLost) == f"CoreStatus: {words}"
        assert self.fails(asked, LinkLost) == f"CoreShowChannels: {words}"
        assert self.fails(again[0], LinkDown) == f"Ping: {words}"
        assert self.reason() == words

    def send_again(self, failure: Failure, sent: list[Deferred[Message]]) -> Failure:
        """Send something in answer to a failure."""
        sent.append(self.protocol.send(actions.ping()))
        return failure


class ListTests(ConnectionTest):
    """Actions that ask for lists."""

    def item(self, action_id: str, channel: str) -> None:
        """Asterisk sends an item of a list."""
        self.says(text_of(Event="CoreShowChannel", ActionID=action_id, Channel=channel))

    def complete(self, action_id: str) -> None:
        """Asterisk ends a list."""
        self.says(
            text_of(
                Event="CoreShowChannelsComplete",
                ActionID=action_id,
                EventList="Complete",
                ListItems="2",
            )
        )

    def test_items(self) -> None:
        """They come when all are there, and only to who asked; other events go their way."""
        self.log_in()
        asked = self.protocol.collect(actions.core_show_channels())
        self.says(text_of(Event="Newchannel"))
        self.answers("agent-2", EventList="start", Message="Channels will follow")
        self.item("agent-2", "Local/1")
        self.says(text_of(Event="OriginateResponse", ActionID="c2c-1", Response="Failure"))
        self.item("agent-2", "Local/2")
        self.assertNoResult(asked)
        self.complete("agent-2")
        items = self.successResultOf(asked)
        assert [item.get("Channel") for item in items] == ["Local/1", "Local/2"]
        assert [event.event for event in self.events] == ["Newchannel", "OriginateResponse"]

    def test_an_empty_list(self) -> None:
        """It is a list as well. What Asterisk counts does not matter: 16 says 1 here."""
        self.log_in()
        asked = self.protocol.collect(actions.db_get_tree("c2c"), action_id="c2c-tree")
        self.answers("c2c-tree", EventList="start")
        self.complete("c2c-tree")
        assert self.successResultOf(asked) == []

    def test_two_lists_at_once(self) -> None:
        """Each has its own items."""
        self.log_in()
        asked = [self.protocol.collect(actions.core_show_channels()) for _ in range(2)]
        for action_id in ("agent-2", "agent-3"):
            self.answers(action_id, EventList="start")
        for action_id in ("agent-3", "agent-2"):
            self.item(action_id, f"of {action_id}")
        for action_id in ("agent-2", "agent-3"):
            self.complete(action_id)
        channels = [[i.get("Channel") for i in self.successResultOf(items)] for items in asked]
        assert channels == [["of agent-2"], ["of agent-3"]]

    def test_refused(self) -> None:
        """The failure has Asterisk's answer."""
        self.log_in()
        asked = self.protocol.collect(actions.db_get("c2c", "1"))
        self.answers("agent-2", "Error", Message="Database entry not found")
        failure = self.failureResultOf(asked, ActionRefused)
        assert str(failure.value) == "DBGet refused: Database entry not found"
        assert failure.value.response.response == "Error"

    def test_no_list(self) -> None:
        """An action whose answer is no list cannot be collected; the link does not mind."""
        self.log_in()
        asked = self.protocol.collect(actions.ping())
        self.answers("agent-2", Ping="Pong")
        assert self.fails(asked, RemoteAmiError) == "the answer to Ping is no list"
        assert self.protocol.is_ready

    def test_a_list_that_was_given_up(self) -> None:
        """Its late items are nobody's events."""
        self.log_in()
        asked = self.protocol.collect(actions.core_show_channels())
        self.answers("agent-2", EventList="start")
        self.item("agent-2", "Local/1")
        self.clock.advance(5)
        assert self.fails(asked, ActionTimedOut) == "CoreShowChannels: no answer within 5 s"
        self.item("agent-2", "Local/2")
        assert len(self.protocol._pending._sent["agent-2"].messages) == 2  # nothing piles up
        self.complete("agent-2")
        assert self.events == []

    def test_a_list_that_nobody_collects(self) -> None:
        """Who only sends gets the response at once; the items are not events either."""
        self.log_in()
        sent = self.protocol.send(actions.core_show_channels())
        self.answers("agent-2", EventList="start")
        assert self.successResultOf(sent).get("EventList") == "start"
        with capturedLogs() as logged:
            self.item("agent-2", "Local/1")
            self.complete("agent-2")
        assert (self.events, logged) == ([], [])  # it was not late, either
        self.item("agent-2", "Local/2")  # of no list that is known
        assert [event.get("Channel") for event in self.events] == ["Local/2"]

    def test_a_second_response_within_a_list(self) -> None:
        """It is not taken for an item."""
        self.log_in()
        asked = self.protocol.collect(actions.core_show_channels())
        self.answers("agent-2", EventList="start")
        self.answers("agent-2", EventList="start")
        self.complete("agent-2")
        assert self.successResultOf(asked) == []


class EventTests(ConnectionTest):
    """Events and who follows them."""

    def test_originate_response_is_an_event(self) -> None:
        """Though it has the action's ActionID, and a Response; and whether before or after it."""
        self.log_in()
        sent = self.protocol.send(actions.ping(), action_id="c2c-1")
        outcome = text_of(Event="OriginateResponse", ActionID="c2c-1", Response="Failure")
        self.says(outcome)
        self.assertNoResult(sent)
        self.answers("c2c-1", Message="Originate successfully queued")
        self.says(outcome)
        assert self.successResultOf(sent).response == "Success"
        assert [event.event for event in self.events] == ["OriginateResponse"] * 2

    def test_a_mistake_of_the_observer(self) -> None:
        """It is logged, with the event's name; the next event comes as if nothing had been."""
        seen: list[str] = []

        def mistaken(event: Message) -> None:
            seen.append(event.event)
            raise ZeroDivisionError

        self.protocol._on_event = mistaken
        self.log_in()
        with capturedLogs() as logged:
            self.says(text_of(Event="Newchannel") + text_of(Event="Hangup"))
        assert seen == ["Newchannel", "Hangup"]
        assert [event["log_level"] for event in logged] == [LogLevel.critical] * 2
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 2
        assert self.protocol.is_ready

    def test_nothing_comes_after_the_end(self) -> None:
        """An observer that ends the connection sees no other event."""
        seen: list[str] = []

        def ending(event: Message) -> None:
            seen.append(event.event)
            self.protocol.abort("enough")

        self.protocol._on_event = ending
        self.log_in()
        self.says(text_of(Event="Newchannel") + text_of(Event="Hangup"))
        assert seen == ["Newchannel"]
        assert self.reason() == "enough"


class SilenceTests(ConnectionTest):
    """Keeping in touch."""

    def test_a_ping_after_silence(self) -> None:
        """Any byte puts it off; the answer begins the wait anew."""
        self.log_in()
        self.clock.advance(19)
        self.says("Event: Half")
        self.clock.advance(19.9)
        assert self.heard() == []
        self.clock.advance(0.1)
        [ping] = self.heard()
        assert ping.get("Action") == "Ping"
        self.says(" of it\r\n\r\n")
        self.answers(ping.action_id, Ping="Pong")
        self.clock.advance(19.9)
        assert self.heard() == []
        self.clock.advance(0.1)
        assert len(self.heard()) == 1

    def test_a_ping_that_is_not_answered(self) -> None:
        """The connection is cut, whatever else may come from it."""
        self.log_in()
        sent = self.protocol.send(actions.core_status(), time_limit=99)
        self.clock.advance(20)
        self.clock.advance(2)
        self.says(text_of(Event="Newchannel"))
        self.clock.advance(1)
        assert self.transport.disconnected  # aborted
        assert self.fails(sent, LinkLost) == "CoreStatus: no answer to a Ping within 3 s"
        assert self.reason() == "no answer to a Ping within 3 s"

    def test_the_end_during_a_ping(self) -> None:
        """Nothing is left of it."""
        self.log_in()
        self.clock.advance(20)
        self.transport.loseConnection()
        assert self.reason() == "Asterisk closed the connection"


class ShuttingDownTests(ConnectionTest):
    """Asterisk carries nothing out until its last call has ended."""

    WORDS = "Asterisk is shutting down"

    def refuse(self) -> None:
        """It answers what was sent last."""
        [sent] = self.heard()
        self.answers(sent.action_id, "Error", Message=self.WORDS)

    def test_every_action_is_told_so(self) -> None:
        """It is no answer to what was asked, and no refusal of it either."""
        self.log_in()
        for ask in (self.protocol.send, self.protocol.collect):
            asked = ask(actions.core_show_channels())
            self.refuse()
            told = self.fails(asked, actions.ShuttingDown)
            assert told == "CoreShowChannels: Asterisk is shutting down"
            assert self.protocol.refusal == self.WORDS

    def test_it_is_asked_however_much_it_tells(self) -> None:
        """The link stays; and it may be aborted, which nothing tells of."""
        self.log_in()
        self.protocol.send(actions.core_status()).addErrback(lambda _: None)
        self.refuse()
        for _ in range(2):
            for _ in range(20):
                self.clock.advance(1)
                self.says(text_of(Event="Newchannel"))
            self.refuse()
            assert self.protocol.refusal == self.WORDS
        self.clock.advance(20)
        [ping] = self.heard()
        self.answers(ping.action_id, Ping="Pong")
        assert self.protocol.refusal == ""
        self.clock.advance(19)
        self.says(text_of(Event="Newchannel"))
        self.clock.advance(19)
        assert self.heard() == []

    def test_the_login(self) -> None:
        """It is refused with these words."""
        self.connect()
        self.says(BANNER)
        self.answers("agent-1", "Error", Message=self.WORDS)
        assert self.reason() == "login refused: Asterisk is shutting down"


class EndTests(ConnectionTest):
    """How a connection ends, and what is said of it."""

    def test_garbage(self) -> None:
        """Who does not speak AMI is cut off, with his words as the reason."""
        self.connect()
        self.says("SSH-2.0-OpenSSH_9.2p1\r\n")
        assert self.transport.disconnected
        assert "it says 'SSH-2.0-OpenSSH_9.2p1'" in self.reason()

    def test_garbage_behind_messages(self) -> None:
        """The messages count; then the connection is cut."""
        self.log_in()
        self.says(text_of(Event="Hangup").encode() + b"A: " + b"x" * (1024 * 1024 + 3))
        assert [event.event for event in self.events] == ["Hangup"]
        self.says("x")
        assert "more than 1048576 bytes" in self.reason()

    def test_the_end_within_a_message(self) -> None:
        """This is how Asterisk parts with readers that are too slow."""
        self.log_in()
        self.says("Event: Hang")
        self.transport.loseConnection()
        assert "within a message (writetimeout" in self.reason()
        assert self.events == []

    def test_close_in_order(self) -> None:
        """Once is enough."""
        self.log_in()
        self.protocol.close("enough")
        self.protocol.close("again")
        self.protocol.abort("again")
        assert not self.transport.disconnected
        assert self.reason() == "enough"

    def test_close_by_force(self) -> None:
        """Where the other side does not let go."""
        self.log_in()
        held: Any = StringTransport()  # which stays connected until it is told otherwise
        self.protocol.transport = held
        self.protocol.close("enough")
        assert held.disconnecting
        assert not held.disconnected
        assert not self.protocol.is_ready
        self.clock.advance(1)
        assert held.disconnected
        self.protocol.connectionLost(Failure(ConnectionDone()))
        assert self.reason() == "enough"

    def test_what_a_connection_says_after_the_end_is_not_heard(self) -> None:
        """Until the transport is gone, too."""
        self.log_in()
        held: Any = StringTransport()
        self.protocol.transport = held
        sent = self.protocol.send(actions.ping())
        self.protocol.close("enough")
        self.answers("agent-2")
        self.says(text_of(Event="Hangup"))
        self.assertNoResult(sent)
        assert self.events == []
        self.protocol.connectionLost(Failure(ConnectionDone()))
        assert self.fails(sent, LinkLost) == "Ping: enough"


class TransportTests(SynchronousTestCase):
    """What is asked of a TCP transport, and of others not."""

    def test_options(self) -> None:
        """No waiting for acknowledgements; and the system looks after the other side as well."""
        transport = TcpTransport()
        connected(transport)
        assert transport.options == {"nodelay": True, "keepalive": True}

    def test_a_transport_without_options(self) -> None:
        """A UNIX socket provides the interface but not the options; a StringTransport neither."""
        transport = TcpTransport()
        transport.error = OSError("operation not supported")
        connected(transport)
        connected(StringTransport())


class TcpTransport(StringTransport):
    """A transport of memory with the options of TCP."""

    error: OSError | None = None

    def __init__(self) -> None:
        super().__init__()
        directlyProvides(self, ITCPTransport)
        self.options: dict[str, bool] = {}

    def setTcpNoDelay(self, enabled: bool) -> None:
        if self.error is not None:
            raise self.error
        self.options["nodelay"] = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options["keepalive"] = enabled


def connected(transport: StringTransport) -> AmiProtocol:
    """Return a protocol that was connected with this transport."""
    protocol = AmiProtocol(actions.login("u", "s"), lambda _: None, Clock(), LIMITS)
    protocol.makeConnection(transport)
    return protocol


class TranscriptTests(ConnectionTest):
    """What real Asterisks sent, as answers to the same actions."""

    def play(self, name: str) -> None:
        """Say the banner and the welcome of a transcript; keep the rest for `go_on`."""
        stream = transcript(name)
        begin = stream.index(b"\r\n\r\n") + 4
        self.rest = stream[begin:]
        self.connect()
        self.says(stream[:begin])
        assert self.protocol.is_ready

    def go_on(self) -> None:
        """Say the rest, byte by byte."""
        for at in range(len(self.rest)):
            self.says(self.rest[at : at + 1])

    def test_session(self) -> None:
        """Every action gets its answer, and every event goes to the observer."""
        for name in NAMES[::2]:
            self.setUp()
            self.play(name)
            call = "c2c-5f0e7c1a-0000-4000-8000-00000000000" + name[13] + "-check"
            too_long = Action("Originate", (("ChannelId", "x" * 150),))
            settings = self.protocol.send(actions.core_settings())
            status = self.protocol.send(actions.core_status())
            device = self.protocol.send(actions.getvar("DEVICE_STATE(PJSIP/100)"))
            before = self.protocol.collect(actions.core_show_channels())
            ping = self.protocol.send(actions.ping())
            no_channel = self.protocol.send(actions.hangup("c2c-none", 16))
            refused = self.protocol.send(too_long)
            unreadable = self.protocol.send(actions.ping())
            queued = self.protocol.send(actions.ping(), action_id=call)
            during = self.protocol.collect(actions.core_show_channels())
            hung_up = self.protocol.send(actions.hangup(call, 26))
            goodbye = self.protocol.send(actions.logoff())
            self.go_on()

            version = self.successResultOf(settings).get("AsteriskVersion")
            assert version.startswith(name.split("-")[2])
            assert self.successResultOf(status).get("CoreCurrentCalls") == "0"
            assert self.successResultOf(device).get("Value") == "NOT_INUSE"
            assert self.successResultOf(before) == []
            assert self.successResultOf(ping).get("Ping") == "Pong"
            assert self.successResultOf(no_channel).get("Message") == "No such channel"
            said = self.successResultOf(refused).get("Message")
            assert said == "Uniqueid length exceeds maximum of 149"
            assert "line too long" in self.successResultOf(unreadable).get("Message")
            assert self.successResultOf(queued).get("Message") == "Originate successfully queued"
            channels = self.successResultOf(during)
            assert {channel.get("Uniqueid") for channel in channels} == {call, call + ";2"}
            assert {channel.get("CallerIDName") for channel in channels} == {r"Jürg \'J\' Ä"}
            assert self.successResultOf(hung_up).get("Message") == "Channel Hungup"
            assert self.successResultOf(goodbye).response == "Goodbye"
            names = [event.event for event in self.events]
            assert names.count("Newchannel") == names.count("Hangup") == 2
            assert "CoreShowChannel" not in names

    def test_originate(self) -> None:
        """The outcome of an Originate comes as an event, among those of its channels."""
        for name in NAMES[1::2]:
            self.setUp()
            self.play(name)
            call = "c2c-5f0e7c1a-0000-4000-8000-00000000000" + name[13]
            self.protocol.send(actions.core_settings())
            sent = self.protocol.send(actions.ping(), action_id=call)
            self.protocol.send(actions.logoff())
            self.go_on()
            assert self.successResultOf(sent).response == "Success"
            [outcome] = [event for event in self.events if event.event == "OriginateResponse"]
            assert (outcome.get("Reason"), outcome.get("Uniqueid")) == ("5", call)
            hung_up = {
                e.get("Uniqueid"): e.get("Cause") for e in self.events if e.event == "Hangup"
            }
            assert hung_up == {call: "0", call + ";2": "17"}
