"""Tests of agi.channel: commands and their replies, and the hangup."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import AgiReply, LocalAgiError, SessionLost, exec_, noop
from c2c_agent.agi.protocol import Refusal
from tests.unit.agi.playbook import BEGIN, ProtocolTest


class CommandTests(ProtocolTest):
    """One command, one reply, or the end."""

    def test_local_error(self) -> None:
        """What cannot be sent is refused at once, and the conversation goes on if it likes."""

        async def conversation(channel: AgiChannel) -> None:
            waiting = channel.command("NOOP", "first")
            for words in ("NOOP", "second"), ("NOOP", "\n"):
                try:
                    channel.command(*words)
                except LocalAgiError as error:
                    self.heard.append(str(error))
            self.heard.append((await waiting).code)

        self.connect(self.factory(conversation), BEGIN + '> NOOP "first"\n200 result=0\n= closed')
        assert self.heard == [
            "No command can be sent: a reply is outstanding",
            "control character in argument 1 of NOOP",
            200,
        ]

    def test_no_reply(self) -> None:
        """A reply that is five seconds late ends the session, and the coroutine hears of it."""

        async def conversation(channel: AgiChannel) -> None:
            try:
                await channel.command("NOOP", "x")
            except SessionLost as error:
                self.heard.append(str(error))

        factory = self.factory(conversation)
        self.connect(factory, BEGIN + '> NOOP "x"\n= 4.9 s\n= open\n= 0.1 s\n= aborted')
        assert self.heard == ["no reply within 5 s (asked: NOOP)"]
        assert factory.refusals == {Refusal.REPLY_LATE: 1}

    def test_patience(self) -> None:
        """A command may have more or less time than others, or all of it."""

        async def conversation(channel: AgiChannel) -> None:
            await channel.command("NOOP", "long", patience=60)
            await channel.command("NOOP", "for ever", patience=None)
            await channel.command("NOOP", "short", patience=0.5)

        self.connect(
            self.factory(conversation),
            BEGIN
            + """\
> NOOP "long"
= 59 s
200 result=0
> NOOP "for ever"
= 1000000 s
200 result=0
> NOOP "short"
= 0.4 s
= open
= 0.1 s
= aborted
""",
        )

    def test_each_reply_has_its_own_time(self) -> None:
        """The time for a reply begins with its command."""

        async def conversation(channel: AgiChannel) -> None:
            await channel.command(noop())
            await channel.command(noop())

        four = "= 4 s\n200 result=0\n"
        self.connect(
            self.factory(conversation),
            BEGIN + '> NOOP ""\n' + four + '> NOOP ""\n' + four + "= closed",
        )

    def test_lost_connection(self) -> None:
        """The command that waits fails, by its name, and so do all after it."""

        async def conversation(channel: AgiChannel) -> None:
            for _ in range(2):
                try:
                    await channel.command("NOOP", "x")
                except SessionLost as error:
                    self.heard.append(str(error))

        factory = self.factory(conversation)
        self.connect(factory, BEGIN + '> NOOP "x"\n= lost')
        assert self.heard == [
            "Connection was closed cleanly. (asked: NOOP)",
            "Connection was closed cleanly.",
        ]
        assert factory.open_sessions == 0
        assert not factory.refusals

    def test_what_was_asked_is_said_without_numbers(self) -> None:
        """It goes to the log, which shows none, and a talk is one command with a number in it."""

        async def conversation(channel: AgiChannel) -> None:
            try:
                await channel.command(exec_("Dial", "Local/0155512345@outside/n,30,g"))
            except SessionLost as error:
                self.heard.append(str(error))

        dial = '> EXEC "Dial" "Local/0155512345@outside/n,30,g"'
        self.connect(self.factory(conversation), f"{BEGIN}{dial}\n= lost")
        assert self.heard == ["Connection was closed cleanly. (asked: EXEC)"]

    def test_close(self) -> None:
        """The channel can be given back while a command waits, and only once."""
        channels: list[AgiChannel] = []

        async def conversation(channel: AgiChannel) -> None:
            channels.append(channel)
            try:
                await channel.command(noop(), patience=None)
            except SessionLost as error:
                self.heard.append(str(error))
                channel.close()

        book = self.connect(self.factory(conversation), BEGIN + '> NOOP ""')
        channels[0].close()
        book.play("= closed")
        assert self.heard == ["closed by us (asked: NOOP)"]

    def test_cancel(self) -> None:
        """A wait that is cancelled ends the session: the reply may still come."""
        waiting: list[Deferred[AgiReply]] = []

        async def conversation(channel: AgiChannel) -> None:
            waiting.append(channel.command(noop(), patience=None))
            try:
                await waiting[0]
            except CancelledError:
                self.heard.append("cancelled")

        factory = self.factory(conversation)
        book = self.connect(factory, BEGIN + '> NOOP ""')
        waiting[0].cancel()
        book.play("200 result=0\n= aborted")
        assert self.heard == ["cancelled"]
        assert factory.refusals == {Refusal.REPLY_LATE: 1}


class HangupTests(ProtocolTest):
    """The channel is hung up while we talk about it."""

    def test_told_once(self) -> None:
        """Everybody who asked is told when it happens, once, and who asks later at once."""

        async def conversation(channel: AgiChannel) -> None:
            for _ in range(2):
                channel.when_hung_up().addCallback(self.heard.append)
            self.heard.append(channel.hung_up)
            await channel.command(noop())
            self.heard.append(channel.hung_up)
            channel.when_hung_up().addCallback(self.heard.append)

        book = self.connect(self.factory(conversation), BEGIN + '> NOOP ""')
        assert self.heard == [False]
        book.play("HANGUP\nHANGUP")
        assert self.heard == [False, True, True]
        book.play("200 result=0\n= closed")
        assert self.heard == [False, True, True, True, True]

    def test_known_with_the_reply(self) -> None:
        """When HANGUP comes in the packet of a reply, the reply finds the channel hung up."""

        async def conversation(channel: AgiChannel) -> None:
            self.heard.append((await channel.command(noop())).result)
            self.heard.append(channel.hung_up)

        book = self.connect(self.factory(conversation), BEGIN + '> NOOP ""')
        book.protocol.dataReceived(b"200 result=-1\nHANGUP\n")
        book.play("= closed")
        assert self.heard == ["-1", True]

    def test_before_the_first_command(self) -> None:
        """A channel may be gone before we have said a word."""

        async def conversation(channel: AgiChannel) -> None:
            self.heard.append(await channel.when_hung_up())
            self.heard.append((await channel.command(noop())).code)

        self.connect(
            self.factory(conversation), BEGIN + 'HANGUP\n> NOOP ""\n511 Not Permitted\n= closed'
        )
        assert self.heard == [True, 511]

    def test_close_when_hung_up(self) -> None:
        """Who gives the channel back at HANGUP does not get the reply that came with it."""

        async def conversation(channel: AgiChannel) -> None:
            channel.when_hung_up().addCallback(lambda _: channel.close())
            await channel.command(noop())
            self.heard.append("a reply")

        book = self.connect(self.factory(conversation), BEGIN + '> NOOP ""')
        book.protocol.dataReceived(b"HANGUP\n200 result=0\n")
        book.play("= closed")
        assert self.heard == []

    def test_never(self) -> None:
        """Who waits for a hangup is told when the session ends without one, and afterwards."""
        channels: list[AgiChannel] = []

        async def conversation(channel: AgiChannel) -> None:
            channels.append(channel)
            self.heard.append(await channel.when_hung_up())

        self.connect(self.factory(conversation), BEGIN + "= lost")
        channels[0].when_hung_up().addCallback(self.heard.append)
        assert self.heard == [False, False]
