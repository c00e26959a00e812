"""The link over real sockets, to an Asterisk that does what a healthy one would not do.

What these tests wait for is an event; how long it takes does not matter. No test may ever see two
sessions at once.
"""

# Twisted's tests and services have few annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink
from c2c_agent.ami.message import Message
from c2c_agent.ami.pending import LinkLost
from c2c_agent.ami.protocol import Limits
from tests.unit.ami.fake_asterisk import (
    BANNER,
    FakeAsterisk,
    FakeSession,
    OnAction,
    accept_login,
    greet,
    pong,
    refuse_login,
    say_nothing,
    tell_version,
)

# Its type is that of a module.
reactor: Any = global_reactor

#: Seconds that are long enough for the busiest machine: not to be waited for.
PATIENCE = 30.0
LIMITS = Limits(*[PATIENCE] * 5)


class FakeAsteriskTest(TestCase):
    """A fake Asterisk, and a link to it that connects without much waiting."""

    timeout = 2 * PATIENCE
    limits = LIMITS

    def setUp(self) -> None:
        self.asterisk = FakeAsterisk(reactor)
        self.asterisk.start()
        self.seen: list[str] = []
        self.link = AmiLink(
            TCP4ClientEndpoint(reactor, "127.0.0.1", self.asterisk.port),
            username="c2c-agent",
            secret="hush",
            clock=reactor,
            observer=self,
            limits=self.limits,
        )
        self.link._reconnect.pause = lambda: 0.02  # type: ignore[method-assign]

        self.addCleanup(self.clean_up)

    async def clean_up(self) -> None:
        """Expect that nothing is left, and that at no time there were two sessions."""
        await self.link.stopService()
        await self.asterisk.stop()
        await self.until(lambda: not self.asterisk.open)
        assert self.asterisk.most_open == 1

    def link_up(self, version: str) -> None:
        self.seen.append(f"up {version}")

    def link_down(self, reason: str) -> None:
        self.seen.append(f"down {reason}")

    def ami_event(self, event: Message) -> None:
        self.seen.append(event.event)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is the case."""
        for _ in range(int(PATIENCE / 0.005)):
            if condition():
                return
            await deferLater(reactor, 0.005)
        self.fail(f"waited in vain; seen: {self.seen}, last error: {self.link.last_error}")

    async def up(self, times: int = 1) -> FakeSession:
        """Wait until the link has come up so many times; return its session."""
        self.link.startService()
        await self.until(lambda: self.link.is_up and self.link.reconnects == times - 1)
        return self.asterisk.sessions[-1]

    async def lost(self, waiting: Deferred[Any]) -> str:
        """Wait until an action failed with the link; return the failure's words."""
        with self.assertRaises(LinkLost) as caught:
            await waiting
        return str(caught.exception)

    def at_first(self, odd: Callable[..., None], then: Callable[..., None], times: int = 1) -> Any:
        """Return what does something odd so many times, and then what is usual."""
        left = [odd] * times

        def play(*arguments: object) -> None:
            (left.pop() if left else then)(*arguments)

        return play


class HealthyTests(FakeAsteriskTest):
    """The fake itself, and the link to it, when all is well."""

    async def test_a_session(self) -> None:
        """From the login to the goodbye."""
        session = await self.up()
        response = await self.link.send(actions.ping())
        assert response.get("Ping") == "Pong"
        session.sends(Event="Hangup")
        await self.until(lambda: "Hangup" in self.seen)
        await self.link.stopService()
        assert session.heard == ["Login", "CoreSettings", "Ping", "Logoff"]
        assert self.seen == ["up 22.10.1", "Hangup", "down closed by us"]

    async def test_many_events_and_actions_at_once(self) -> None:
        """All events come, in order, and every action gets its answer."""
        session = await self.up()
        sent = [self.link.send(actions.ping()) for _ in range(200)]
        for number in range(20_000):
            session.says(f"Event: E{number}\r\nChannel: {'x' * (number % 300)}\r\n\r\n")
        assert {answer.get("Ping") for answer in await gatherResults(sent)} == {"Pong"}
        await self.until(lambda: len(self.seen) == 20_001)
        assert self.seen[1:] == [f"E{number}" for number in range(20_000)]

    async def test_restarts(self) -> None:
        """The listener goes away with its sessions, is away for a while, and comes back."""
        for times in (1, 2, 3):
            await self.up(times)
            await self.asterisk.stop()
            await self.until(lambda: not self.link.is_up)
            await self.until(lambda: "refused" in self.link.last_error)
            await deferLater(reactor, 0.1)
            self.asterisk.start()
        await self.up(4)
        assert [what.split()[0] for what in self.seen] == ["up", "down"] * 3 + ["up"]
        assert len(self.asterisk.sessions) == 4


class LoginTests(FakeAsteriskTest):
    """Whatever may happen before the link is up."""

    async def test_a_late_banner(self) -> None:
        """In two pieces, and after a while."""

        def late(session: FakeSession) -> None:
            reactor.callLater(0.1, session.says, BANNER[:9])
            reactor.callLater(0.2, session.says, BANNER[9:])

        self.asterisk.on_connect = late
        await self.up()
        assert len(self.asterisk.sessions) == 1

    async def test_no_version(self) -> None:
        """The same; the observer hears of the second session alone."""
        silent: OnAction = lambda session, _: session.cut()  # noqa: E731 - for its type
        self.asterisk.on_action["CoreSettings"] = self.at_first(silent, tell_version)
        await self.up()
        assert len(self.asterisk.sessions) == 2
        assert self.seen == ["up 22.10.1"]

    async def test_login_refused(self) -> None:
        """We close the connection, each time before the next is made."""
        self.asterisk.on_action["Login"] = self.at_first(refuse_login, accept_login, times=3)
        await self.up()
        assert len(self.asterisk.sessions) == 4
        assert self.asterisk.open == {self.asterisk.sessions[-1]}

    async def test_login_refused_and_closed(self) -> None:
        """Also when Asterisk closes it at the same time."""

        def refuse_and_close(session: FakeSession, action: Message) -> None:
            refuse_login(session, action)
            session.hang_up()

        self.asterisk.on_action["Login"] = self.at_first(refuse_and_close, accept_login, times=3)
        await self.up()
        assert len(self.asterisk.sessions) == 4

    async def test_another_protocol(self) -> None:
        """Who greets in another way is cut off."""
        ssh = "SSH-2.0-OpenSSH_9.2p1\r\n"
        self.asterisk.on_connect = self.at_first(lambda session: session.says(ssh), greet)
        await self.up()
        assert len(self.asterisk.sessions) == 2

    async def test_closed_at_once(self) -> None:
        """As Asterisk does with too many that have not logged in."""
        self.asterisk.on_connect = self.at_first(FakeSession.hang_up, greet, times=3)
        await self.up()
        assert len(self.asterisk.sessions) == 4


class LossTests(FakeAsteriskTest):
    """Whatever may end a link."""

    async def test_cut_within_a_message(self) -> None:
        """Half an event is none; who waits hears of the loss; the link comes back."""
        session = await self.up()
        self.asterisk.on_action["Ping"] = say_nothing
        sent = self.link.send(actions.ping())
        await self.until(lambda: "Ping" in session.heard)
        session.says("Event: Hangup\r\nUniqueid: c2c")
        session.hang_up()
        assert "Ping: Asterisk closed the connection within a message" in await self.lost(sent)
        await self.up(2)
        assert "Hangup" not in self.seen

    async def test_reset(self) -> None:
        """The reason is in the system's words."""
        session = await self.up()
        session.cut()
        await self.up(2)
        assert self.seen[1].startswith("down Connection to the other side was lost")

    async def test_garbage(self) -> None:
        """A message without end is cut off."""
        session = await self.up()
        session.says("Event: Hangup\r\n\r\nEvent: " + "x" * 3 * 1024 * 1024)
        await self.up(2)
        assert self.seen[1] == "Hangup"
        assert "more than 1048576 bytes" in self.seen[2]


class SilenceTests(FakeAsteriskTest):
    """A peer that holds the connection and does not speak."""

    limits = evolve(LIMITS, login=2.0, silence=0.2, goodbye=0.2)

    async def test_a_link_without_anything_to_do(self) -> None:
        """It is kept by Pings."""
        session = await self.up()
        await self.until(lambda: session.heard.count("Ping") == 3)
        assert self.link.is_up
        assert len(self.asterisk.sessions) == 1

    async def test_no_banner(self) -> None:
        """The connection is given up, and another one made."""
        self.asterisk.on_connect = self.at_first(say_nothing, greet)
        await self.up()
        first, second = self.asterisk.sessions
        assert first.heard == []
        assert second.heard[:2] == ["Login", "CoreSettings"]

    async def test_no_answer_to_the_login(self) -> None:
        """The same."""
        self.asterisk.on_action["Login"] = self.at_first(say_nothing, accept_login)
        await self.up()
        assert len(self.asterisk.sessions) == 2

    async def test_a_peer_that_does_not_say_goodbye(self) -> None:
        """It is not waited for for long."""
        self.asterisk.on_action["Logoff"] = say_nothing
        session = await self.up()
        await self.link.stopService()
        assert "Logoff" in session.heard
        await self.until(lambda: not self.asterisk.open)


class PingTests(FakeAsteriskTest):
    """A peer that has fallen silent."""

    limits = evolve(LIMITS, silence=0.2, ping=0.5)

    async def test_a_ping_without_an_answer(self) -> None:
        """The link is cut, and made anew."""
        self.asterisk.on_action["Ping"] = self.at_first(say_nothing, pong)
        await self.up()
        await self.up(2)
        assert self.seen[1] == "down no answer to a Ping within 0.5 s"


class AnswerTests(FakeAsteriskTest):
    """Answers as no healthy Asterisk gives them."""

    async def test_twice(self) -> None:
        """The first counts."""

        def twice(session: FakeSession, action: Message) -> None:
            session.answers(action, Ping="Pong")
            session.answers(action, "Error", Message="no")
            session.sends(Response="Error", Message="Missing action in request")

        self.asterisk.on_action["Ping"] = twice
        await self.up()
        for _ in range(3):
            assert (await self.link.send(actions.ping())).get("Ping") == "Pong"
        assert len(self.asterisk.sessions) == 1

    async def test_in_another_order(self) -> None:
        """And with events, before and between, that have their ActionIDs."""
        out: list[Message] = []

        def collect(session: FakeSession, action: Message) -> None:
            out.append(action)
            if len(out) == 3:
                session.sends(Event="Newchannel", ActionID=out[0].action_id)
                for one in reversed(out):
                    session.answers(one, Value=one.get("Variable"))
                    session.sends(Event="OriginateResponse", ActionID=one.action_id, Response="x")

        self.asterisk.on_action["Getvar"] = collect
        await self.up()
        answers = await gatherResults([self.link.send(actions.getvar(name)) for name in "ABC"])
        assert [answer.get("Value") for answer in answers] == ["A", "B", "C"]
        await self.until(lambda: len(self.seen) == 5)
        assert self.seen[1:] == ["Newchannel", *["OriginateResponse"] * 3]

    async def test_lists_within_lists(self) -> None:
        """Each has its own items, wherever the others' are."""
        out: list[Message] = []

        def collect(session: FakeSession, action: Message) -> None:
            out.append(action)
            if len(out) == 2:
                ids = [one.action_id for one in out]
                for one in ids:
                    session.sends(Response="Success", ActionID=one, EventList="start")
                for one in ids * 2:
                    session.sends(Event="CoreShowChannel", ActionID=one, Channel=one)
                for one in ids:
                    session.sends(Event="Complete", ActionID=one, EventList="Complete")

        self.asterisk.on_action["CoreShowChannels"] = collect
        await self.up()
        asked = [self.link.collect(actions.core_show_channels(), name) for name in ("a", "b")]
        lists = await gatherResults(asked)
        assert [[item.get("Channel") for item in items] for items in lists] == [
            ["a"] * 2,
            ["b"] * 2,
        ]
        assert self.seen == ["up 22.10.1"]
