"""Tests of agi.session: whatever Asterisk says, and however it is cut, means the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.agi import session as limits
from c2c_agent.agi.message import (
    AgiReply,
    Environment,
    Event,
    Hangup,
    LocalAgiError,
    RemoteAgiError,
    get_variable,
    noop,
)
from c2c_agent.agi.session import Session
from tests.unit.agi.playbook import Turn, play, turns

BLOCK = b"agi_network: yes\nagi_uniqueid: c2c-1\n\n"
ENVIRONMENT = Environment({"agi_network": "yes", "agi_uniqueid": "c2c-1"})
NOTHING = AgiReply(200, "0", None, "200 result=0")
USAGE = b"520-Invalid command syntax.  Proper usage follows:\nuse it\n520 End of proper usage.\n"


def begun() -> Session:
    """A session that has its environment."""
    session = Session()
    assert session.receive(BLOCK) == [ENVIRONMENT]
    return session


def asked() -> Session:
    """A session with a command that waits for its reply."""
    session = begun()
    session.command(noop())
    return session


class TestEnvironment:
    """The block that opens a session."""

    def test_complete_with_the_empty_line(self) -> None:
        """Nothing is known until the block has ended."""
        session = Session()
        assert session.receive(BLOCK[:-1]) == []
        assert session.receive(b"\n") == [ENVIRONMENT]

    def test_carriage_returns(self) -> None:
        """CR LF is taken for LF."""
        assert Session().receive(BLOCK.replace(b"\n", b"\r\n")) == [ENVIRONMENT]

    def test_most_lines(self) -> None:
        """64 lines are an environment, and the 65th ends it all."""
        lines = b"".join(b"agi_arg_%d: x\n" % number for number in range(1, 65))
        (environment,) = Session().receive(lines + b"\n")
        assert isinstance(environment, Environment)
        assert len(environment.arguments) == 64
        with pytest.raises(RemoteAgiError, match="more than 64 lines"):
            Session().receive(lines + b"agi_arg_65: x\n")

    def test_most_bytes(self) -> None:
        """16 KiB are an environment, the empty line included, and one more byte is not."""
        room = limits.ENVIRONMENT_LIMIT - len(b"agi_a: \n" + b"agi_b: \n" + b"\n")
        half = b"agi_a: " + b"x" * (room // 2) + b"\nagi_b: "
        assert Session().receive(half + b"x" * (room - room // 2) + b"\n\n")
        with pytest.raises(RemoteAgiError, match="more than 16384 bytes"):
            Session().receive(half + b"x" * (room - room // 2 + 1) + b"\n\n")

    def test_endless_line(self) -> None:
        """A line that never ends is given up when it is too long, and not kept."""
        session = Session()
        assert session.receive(b"x" * limits.ENVIRONMENT_LIMIT) == []
        with pytest.raises(RemoteAgiError, match="more than 16384 bytes"):
            session.receive(b"x")
        assert not session._rest

    def test_no_command_before(self) -> None:
        """Asterisk reads no command before it has said its environment."""
        session = Session()
        session.receive(BLOCK[:-1])
        with pytest.raises(LocalAgiError, match="environment is not complete"):
            session.command(noop())
        assert session.receive(b"\n") == [ENVIRONMENT]
        assert session.command(noop()) == noop()

    def test_hangup_inside(self) -> None:
        """Asterisk writes the block in one go, so a HANGUP in it is somebody else's."""
        with pytest.raises(RemoteAgiError, match="HANGUP"):
            Session().receive(b"agi_arg_1: x\nHANGUP\n\n")


class TestReplies:
    """One command, one reply."""

    def test_words_or_a_ready_command(self) -> None:
        """A command can be given either way, and comes back as the bytes to send."""
        session = begun()
        assert session.command("GET VARIABLE", "X") == b'GET VARIABLE "X"\n'
        assert session.receive(b"200 result=0\n") == [NOTHING]
        assert session.command(get_variable("X")) == b'GET VARIABLE "X"\n'

    def test_no_second_command(self) -> None:
        """Asterisk does not read ahead, so the next command has to wait for the reply."""
        session = asked()
        for _ in range(2):
            with pytest.raises(LocalAgiError, match="a reply is outstanding"):
                session.command(noop())
        assert session.receive(b"200 result=0\n") == [NOTHING]
        session.command(noop())

    def test_no_command_inside_a_long_reply(self) -> None:
        """A reply of many lines is outstanding until its last one."""
        session = asked()
        assert session.receive(USAGE[:-1]) == []
        with pytest.raises(LocalAgiError, match="a reply is outstanding"):
            session.command(noop())
        assert session.receive(b"\n") == [AgiReply(520, "", None, USAGE.decode().rstrip())]
        session.command(noop())

    def test_refused_words_take_no_turn(self) -> None:
        """Words that cannot be sent leave the session as it was."""
        session = begun()
        with pytest.raises(LocalAgiError, match="control character"):
            session.command("NOOP", "a\nb")
        session.command(noop())

    def test_carriage_return(self) -> None:
        """CR LF is taken for LF."""
        assert asked().receive(b"HANGUP\r\n200 result=0\r\n") == [Hangup(), NOTHING]

    def test_usage_in_one_line(self) -> None:
        """Without documentation, Asterisk says 520 in a single line."""
        text = "520 Invalid command syntax.  Proper usage not available."
        assert asked().receive(text.encode() + b"\n") == [AgiReply(520, "", None, text)]

    def test_usage_may_look_like_anything(self) -> None:
        """Only a line that begins with `520 ` ends a long 520; the text before it is free."""
        text = "520-Usage:\n200 result=1\nHANGUP\n520-x\n\n511 x\n 520 x\n520\n520 End."
        session = asked()
        assert session.receive(text.encode() + b"\n") == [AgiReply(520, "", None, text)]
        assert not session.hung_up

    def test_nobody_asked(self) -> None:
        """A reply without a command is the peer's fault, before the first command and later."""
        with pytest.raises(RemoteAgiError, match="nobody asked"):
            begun().receive(b"200 result=0\n")
        with pytest.raises(RemoteAgiError, match="nobody asked"):
            asked().receive(b"200 result=0\n200 result=0\n")

    @pytest.mark.parametrize("data", [b"2", b"HANGUX", b"HANGUP\rX", b"HANGUP\nH\0", b"\n", b"\r"])
    def test_nobody_asked_for_its_beginning(self, data: bytes) -> None:
        """Half a reply that nobody asked for is found before a command makes it look like one."""
        with pytest.raises(RemoteAgiError, match="nobody asked"):
            begun().receive(data)

    def test_unknown_reply(self) -> None:
        """What is no reply is the peer's fault, also when one is due."""
        with pytest.raises(RemoteAgiError, match="no AGI reply"):
            asked().receive(b"hello\n")

    @pytest.mark.parametrize(
        "value", ["a\nb", "a)\n200 result=1 (b", "a)\nHANGUP\n(b", "\n", "\n)"]
    )
    def test_line_break_in_a_value(self, value: str) -> None:
        """A value can forge neither a reply nor a hangup, as long as its tail comes with it."""
        session = asked()
        with pytest.raises(RemoteAgiError):
            session.receive(f"200 result=1 ({value})\n".encode())
        assert not session.hung_up

    @given(st.text("a()\n20 result=1HANGUP", max_size=40), st.text("a()\n ", max_size=10))
    def test_no_line_break_passes(self, before: str, after: str) -> None:
        """The same for all values: the last line of such a reply is none that may come."""
        with pytest.raises(RemoteAgiError):
            asked().receive(f"200 result=1 ({before}\n{after})\n".encode())

    def test_longest_line(self) -> None:
        """A reply of 64 KiB is a reply, its line end included, and a longer one is not."""
        line = b"200 result=1 (%s)\n"
        room = limits.REPLY_LIMIT - len(line % b"")
        (reply,) = asked().receive(line % (b"x" * room))
        assert reply == AgiReply(200, "1", "x" * room, "200 result=1 (" + "x" * room + ")")
        with pytest.raises(RemoteAgiError, match="more than 65536 bytes"):
            asked().receive(line % (b"x" * (room + 1)))

    def test_endless_line(self) -> None:
        """A reply that never ends is given up when it is too long."""
        session = asked()
        assert session.receive(b"x" * limits.REPLY_LIMIT) == []
        with pytest.raises(RemoteAgiError, match="more than 65536 bytes"):
            session.receive(b"x")

    def test_longest_usage(self) -> None:
        """A 520 of 64 KiB is a reply, and a longer one is not, in long lines or short ones."""
        room = limits.REPLY_LIMIT - len(b"520-\n\n520 \n")
        for filling in b"x" * room, b"\n" * room:
            (reply,) = asked().receive(b"520-\n" + filling + b"\n520 \n")
            assert isinstance(reply, AgiReply)
            with pytest.raises(RemoteAgiError, match="more than 65536 bytes"):
                asked().receive(b"520-\n" + filling + b"x\n520 \n")
            with pytest.raises(RemoteAgiError, match="more than 65536 bytes"):
                asked().receive(b"520-\n" + filling + b"x\n520 x")

    def test_room_is_for_each_reply(self) -> None:
        """A long reply takes no room from the next one."""
        session = asked()
        for _ in range(3):
            session.receive(b"520-" + b"x" * 40_000 + b"\n520 End.\n")
            session.command(noop())
            assert session.receive(b"200 result=1 (" + b"x" * 40_000 + b")\n")
            session.command(noop())


class TestHangup:
    """The line that is no reply and comes when it likes."""

    @pytest.mark.parametrize(
        "dialogue",
        [
            b"{}HANGUP\n> NOOP\n200 result=0\n> NOOP\n200 result=0\n",
            b"{}> NOOP\nHANGUP\n200 result=0\n> NOOP\n200 result=0\n",
            b"{}> NOOP\n200 result=0\nHANGUP\n> NOOP\n200 result=0\n",
            b"{}> NOOP\n200 result=0\n> NOOP\nHANGUP\n200 result=0\n",
            b"{}> NOOP\n200 result=0\n> NOOP\n200 result=0\nHANGUP\n",
            b"{}> NOOP\nHANGUP\nHANGUP\n200 result=0\n> NOOP\n200 result=0\nHANGUP\n",
        ],
    )
    def test_never_shifts_replies(self, dialogue: bytes) -> None:
        """Wherever HANGUP comes, the replies are those of their commands."""
        session = Session()
        events = play(session, turns(dialogue.replace(b"{}", BLOCK)))
        assert [event for event in events if event != Hangup()] == [ENVIRONMENT, NOTHING, NOTHING]
        assert events.count(Hangup()) == dialogue.count(b"HANGUP")
        assert session.hung_up

    def test_in_one_packet(self) -> None:
        """HANGUP may come together with the environment, and together with a reply."""
        assert Session().receive(BLOCK + b"HANGUP\n") == [ENVIRONMENT, Hangup()]
        session = asked()
        assert session.receive(b"200 result=-1\nHANGUP\nHANGUP\n") == [
            AgiReply(200, "-1", None, "200 result=-1"),
            Hangup(),
            Hangup(),
        ]
        assert session.hung_up

    def test_not_hung_up(self) -> None:
        """A session is not in dead mode until Asterisk says so; result=-1 alone does not."""
        session = asked()
        session.receive(b"200 result=-1\nHANG")
        assert not session.hung_up
        session.receive(b"UP\n")
        assert session.hung_up


def test_nothing_after_a_fault() -> None:
    """Who has broken the protocol is not heard again, and nothing is sent to it."""
    session = asked()
    with pytest.raises(RemoteAgiError, match="no AGI reply"):
        session.receive(b"x\n")
    with pytest.raises(RemoteAgiError, match="broken"):
        session.receive(b"200 result=0\n")
    with pytest.raises(LocalAgiError, match="broken"):
        session.command(noop())


VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=20)
REPLY = st.one_of(
    VALUE.map("200 result=1 ({})".format),
    st.sampled_from(
        ["200 result=0", "200 result=-1", "510 x", "511 x", "520 x", "200 result= (x)"]
    ),
    st.lists(VALUE.filter(lambda line: not line.startswith("520 ")), max_size=3).map(
        lambda lines: "\n".join(["520-Usage:", *lines, "520 End."])
    ),
)
HANGUPS = st.integers(0, 2)


@given(st.lists(st.tuples(HANGUPS, HANGUPS, REPLY)), HANGUPS, st.sets(st.integers(0, 400)))
def test_any_dialogue_cut_anywhere(
    exchanges: list[tuple[int, int, str]], last: int, cuts: set[int]
) -> None:
    """A dialogue gives the events that it was made of, wherever it is cut."""
    dialogue: list[Turn] = []
    expected: list[Event] = [ENVIRONMENT]
    heard, line = BLOCK, b"HANGUP\n"
    for before, between, reply in exchanges:
        dialogue.append(Turn(heard + line * before, noop()))
        heard = line * between + reply.encode() + b"\n"
        expected += [Hangup()] * (before + between)
        expected.append(AgiReply.parse(reply.encode()))
    dialogue.append(Turn(heard + line * last, None))
    expected += [Hangup()] * last
    assert play(Session(), dialogue, *cuts) == expected


STREAM = st.lists(
    st.one_of(
        st.sampled_from([BLOCK, b"\n", b"\r\n", b"HANGUP\n", b"HANGUP\r\n", b"agi_a: x\n", USAGE]),
        st.sampled_from(
            [b"200 result=0\n", b"200 result=1 (", b"520-x\n", b"520 x\n", b"x" * 70_000]
        ),
        st.binary(max_size=8),
    ),
    max_size=8,
).map(b"".join)


def heard(session: Session, stream: bytes, cuts: set[int]) -> tuple[list[Event], bool]:
    """Let a session hear a stream in pieces; say what it made of it, and if it went wrong."""
    events: list[Event] = []
    try:
        for begin, end in pairwise(sorted({0, *(cuts & {*range(len(stream))}), len(stream)})):
            events += session.receive(stream[begin:end])
    except RemoteAgiError:
        return events, True
    return events, False


@given(st.sampled_from([Session, begun, asked]), STREAM, st.sets(st.integers(0, 300)))
def test_any_stream_cut_anywhere(start: type[Session], stream: bytes, cuts: set[int]) -> None:
    """Whatever is sent gives events or RemoteAgiError, the same ones however it is cut.

    Only that a fault voids its whole piece depends on the pieces.
    """
    single, broken = heard(start(), stream, set(range(min(len(stream), 300))))
    events, broken_too = heard(start(), stream, cuts)
    assert broken_too == broken
    assert events == single if not broken else events == single[: len(events)]


@given(st.lists(st.one_of(st.binary(), STREAM, st.none())))
def test_total(pieces: list[bytes | None]) -> None:
    """Neither any bytes nor any command at any moment raise anything but our two errors."""
    session = Session()
    for piece in pieces:
        try:
            if piece is None:
                session.command(noop())
            else:
                session.receive(piece)
        except (LocalAgiError, RemoteAgiError):
            pass
