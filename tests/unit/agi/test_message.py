"""Tests of agi.message: each word arrives as it was meant, or is refused before it is sent."""

from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.agi import message
from c2c_agent.agi.message import (
    AgiError,
    AgiReply,
    Environment,
    LocalAgiError,
    RemoteAgiError,
    SessionLost,
    encode_command,
)
from c2c_agent.errors import C2CError


def words_of(line: str) -> list[str]:
    """Split a line as Asterisk does: at blanks outside of quotes; a backslash takes the next as is.

    Written from the description in the reference, for these tests: the encoder knows nothing of it.
    """
    words: list[str] = []
    word: str | None = None
    quoted = False
    characters = iter(line)
    for character in characters:
        if character in " \t" and not quoted:
            if word is not None:
                words.append(word)
            word = None
        elif character == '"':
            quoted = not quoted
            word = word or ""
        elif character == "\\":
            word = (word or "") + next(characters, "")
        else:
            word = (word or "") + character
    return words if word is None else [*words, word]


def quoted(argument: str) -> bytes:
    """Quote an argument, the long way round, to know how long it gets."""
    return b'"%s"' % b"".join(
        b"\\" + each.encode() if each in '"\\' else each.encode() for each in argument
    )


TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)
VERB = st.lists(st.text("ABCDEXYZ", min_size=1, max_size=8), min_size=1, max_size=3).map(" ".join)


class TestEncodeCommand:
    """The one place where text becomes a command line."""

    @given(VERB, st.lists(TEXT, max_size=25))
    def test_exactly_these_words_or_none(self, verb: str, arguments: list[str]) -> None:
        """Any text makes one line that Asterisk reads as the same words, or is refused."""
        try:
            line = encode_command(verb, *arguments)
        except LocalAgiError:
            text = "".join(arguments)
            assert (
                any(character < " " or character == "\x7f" for character in text)
                or any("\ud800" <= character <= "\udfff" for character in text)
                or len([*verb.split(" "), *arguments]) > 20
                or len(verb) + sum(len(quoted(each)) + 1 for each in arguments) + 1 >= 2000
            )
        else:
            assert line.endswith(b"\n")
            assert line.count(b"\n") == 1
            assert len(line) < message.COMMAND_LIMIT
            assert words_of(line[:-1].decode()) == [*verb.split(" "), *arguments]

    @given(st.lists(st.text('" \\a', max_size=12), max_size=6))
    def test_quotes_and_backslashes(self, arguments: list[str]) -> None:
        """The characters that mean something to Asterisk arrive as themselves, in any order."""
        line = encode_command("NOOP", *arguments)
        assert words_of(line[:-1].decode()) == ["NOOP", *arguments]

    @pytest.mark.parametrize("code", [*range(0x20), 0x7F])
    def test_no_control_characters(self, code: int) -> None:
        """A line feed would make two commands of one; its kin have no business there either."""
        with pytest.raises(LocalAgiError, match="control character in argument 2 of SET VARIABLE"):
            encode_command("SET VARIABLE", "X", f"a{chr(code)}b")

    def test_no_lone_surrogate(self) -> None:
        """Text that is no text cannot be sent."""
        with pytest.raises(LocalAgiError, match="surrogate"):
            encode_command("NOOP", "\udcff")

    @pytest.mark.parametrize(
        "verb", ["", "noop", "NOOP ", " NOOP", "GET  VARIABLE", "NOOP\n", 'NOOP "', "NÖÖP", "A\tB"]
    )
    def test_only_verbs_are_sent_bare(self, verb: str) -> None:
        """What stands outside of quotes is of a fixed alphabet."""
        with pytest.raises(LocalAgiError, match="no AGI verb"):
            encode_command(verb)

    @pytest.mark.parametrize("verb", ["FAILURE", "FAILUREX", "FAILURE NOW"])
    def test_failure_is_no_command(self, verb: str) -> None:
        """Asterisk ends the session at a line that begins so."""
        with pytest.raises(LocalAgiError, match="no AGI verb"):
            encode_command(verb, "x")

    def test_longest_line(self) -> None:
        """A line of 1999 bytes goes out and a longer one does not; characters do not count."""
        room = message.COMMAND_LIMIT - 1 - len(b'NOOP ""\n')
        assert len(encode_command("NOOP", "x" * room)) == 1999
        with pytest.raises(LocalAgiError, match="NOOP of 2000 bytes"):
            encode_command("NOOP", "x" * (room + 1))
        with pytest.raises(LocalAgiError, match="NOOP of 2000 bytes"):
            encode_command("NOOP", "x" * (room - 1) + "é")

    def test_most_words(self) -> None:
        """Twenty words go out, the verb's own included, and one more does not."""
        assert encode_command("GET VARIABLE", *"x" * 18)
        with pytest.raises(LocalAgiError, match="over 20 words"):
            encode_command("GET VARIABLE", *"x" * 19)


class TestCommands:
    """The commands that have a function of their own."""

    def test_lines(self) -> None:
        """They are the lines that the documentation of Asterisk shows, with quotes."""
        assert message.exec_("Dial", "PJSIP/1,20,g") == b'EXEC "Dial" "PJSIP/1,20,g"\n'
        assert message.exec_("Answer") == b'EXEC "Answer" ""\n'
        assert message.get_variable("DIALSTATUS") == b'GET VARIABLE "DIALSTATUS"\n'
        assert message.get_full_variable("${A} b") == b'GET FULL VARIABLE "${A} b"\n'
        assert message.set_variable("A", 'b"\\') == b'SET VARIABLE "A" "b\\"\\\\"\n'
        assert message.verbose("hello", 3) == b'VERBOSE "hello" "3"\n'
        assert message.noop() == b'NOOP ""\n'


class TestReply:
    """What Asterisk answers."""

    @pytest.mark.parametrize(
        ("line", "result", "value"),
        [
            ("200 result=0", "0", None),
            ("200 result=-1", "-1", None),
            ("200 result=1 ()", "1", ""),
            ("200 result=1 (BUSY)", "1", "BUSY"),
            ("200 result=1 (a (b) c)", "1", "a (b) c"),
            ("200 result=1 ())", "1", ")"),
            ("200 result=1 (()", "1", "("),
            ("200 result=1 ( )", "1", " "),
            ("200 result= (timeout)", "", "timeout"),
            ("200 result=", "", None),
            ("200 result=0 (timeout) endpos=0", "0", "timeout"),
            ("200 result=0 endpos=1234", "0", None),
        ],
    )
    def test_done(self, line: str, result: str, value: str | None) -> None:
        """The value ends at the last parenthesis; an empty one is not the same as none."""
        assert AgiReply.parse(line.encode()) == AgiReply(200, result, value, line)

    @pytest.mark.parametrize(
        "text",
        [
            "510 Invalid or unknown command",
            "511 Command Not Permitted on a dead channel or intercept routine",
            "520 Invalid command syntax.  Proper usage not available.",
            "520-Invalid command syntax.  Proper usage follows:\n200 (x)\n520 End of proper usage.",
        ],
    )
    def test_refused(self, text: str) -> None:
        """A refusal has its code and its text, and neither result nor value."""
        assert AgiReply.parse(text.encode()) == AgiReply(int(text[:3]), "", None, text)

    @pytest.mark.parametrize(
        "line",
        ["", "HANGUP", "200", "200 ", "200 OK", "200-result=1", "510", "511-x", "100 Trying", "x"],
    )
    def test_no_reply(self, line: str) -> None:
        """What Asterisk never says is not given a meaning."""
        with pytest.raises(RemoteAgiError, match="no AGI reply"):
            AgiReply.parse(line.encode())

    def test_line_break_in_a_value(self) -> None:
        """A value that does not end on its line has a line break in it."""
        with pytest.raises(RemoteAgiError, match="line break"):
            AgiReply.parse(b"200 result=1 (a")

    def test_odd_bytes(self) -> None:
        """A name in Latin-1 is shown with escapes, and breaks nothing."""
        assert AgiReply.parse(b"200 result=1 (J\xfcrg)").value == "J\\xfcrg"

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\n")))
    def test_any_value(self, value: str) -> None:
        """Every value without a line break comes back as it is."""
        assert AgiReply.parse(f"200 result=1 ({value})".encode()).value == value


class TestEnvironment:
    """What Asterisk says of the channel."""

    def test_properties(self) -> None:
        """The fields that conversations need have names; the others are found by theirs."""
        environment = Environment.parse(
            b"agi_network: yes\n"
            b"agi_network_script: c2c?job=1\n"
            b"agi_request: agi://127.0.0.1/c2c?job=1\n"
            b"agi_channel: PJSIP/100-00000001\n"
            b"agi_uniqueid: c2c-1\n"
            b"agi_calleridname: J\xfcrg: \xe2\x82\xac\n"
            b"agi_accountcode: "
        )
        assert environment.network_script == "c2c?job=1"
        assert environment.request == "agi://127.0.0.1/c2c?job=1"
        assert environment.channel == "PJSIP/100-00000001"
        assert environment.uniqueid == "c2c-1"
        assert environment.arguments == ()
        assert environment.get("agi_calleridname") == "J\\xfcrg: €"
        assert environment.get("agi_accountcode", "none") == ""
        assert environment.get("agi_dnid") == ""
        assert environment.get("agi_dnid", "none") == "none"

    def test_arguments(self) -> None:
        """Arguments are in order, up to the first that is not there; empty ones count."""
        lines = b"agi_arg_1: one\nagi_arg_2: \nagi_arg_3: three\nagi_arg_5: five"
        assert Environment.parse(lines).arguments == ("one", "", "three")

    def test_empty(self) -> None:
        """Nothing is made up: a block may be empty, and a URL without a path has no script."""
        assert Environment.parse(b"") == Environment({})
        assert Environment({}).network_script == ""

    def test_immutable(self) -> None:
        """Neither the environment nor what it was made from can change it."""
        variables = {"agi_uniqueid": "c2c-1"}
        environment = Environment(variables)
        variables["agi_uniqueid"] = "c2c-2"
        assert environment.uniqueid == "c2c-1"
        with pytest.raises(FrozenInstanceError):
            environment._variables = {}  # type: ignore[misc]

    @pytest.mark.parametrize(
        "line",
        [b"HANGUP", b"agi_channel", b"agi_channel:", b"channel: x", b"GET / HTTP/1.1", b"\0"],
    )
    def test_other_lines(self, line: bytes) -> None:
        """A line that Asterisk would not write is from somebody else, and voids the block."""
        with pytest.raises(RemoteAgiError, match="no line of an AGI environment"):
            Environment.parse(b"agi_network: yes\n" + line)

    def test_repeated_name(self) -> None:
        """A name that comes twice was smuggled in by a value with a line break."""
        with pytest.raises(RemoteAgiError, match="'agi_uniqueid' comes twice"):
            Environment.parse(b"agi_uniqueid: c2c-1\nagi_uniqueid: c2c-2")


def test_errors_have_one_root() -> None:
    """A caller can catch one AGI error, or all of them, or all of the program's."""
    for error in LocalAgiError, RemoteAgiError, SessionLost:
        assert issubclass(error, AgiError)
    assert issubclass(AgiError, C2CError)
