"""What is said in a FastAGI session: commands out; environment, replies and hangup in.

Text becomes a command line here and nowhere else, and the lines of Asterisk get their meaning here.
`agi.session` cuts the byte stream into these lines and knows whose turn it is; `agi.protocol` puts
both on a connection. Pure: no Twisted, no clock, no I/O.

"Reference" is the reference on Asterisk 16 to 22, "res_agi.c" the file of Asterisk that speaks AGI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from sys import intern
from types import MappingProxyType
from typing import Final, NewType, TypeAlias

from attrs import field, frozen

from c2c_agent.errors import C2CError
from c2c_agent.text import decode, one_copy

COMMAND_LIMIT: Final = 2000
"""A command line has fewer bytes than this, line end included.

Asterisk's buffer has 2048 (8192 since 20.16, 21.11, 22.6), and what does not fit is executed as the
*next* command (AGI_BUF_LEN in res/res_agi.c).
"""

WORD_LIMIT: Final = 20
"""A command has at most this many words, the verb's own included.

`parse_args` of res/res_agi.c means to stop at 127, but quoted words pass its check and overrun an
array on the stack: Asterisk dies (seen on 16.28 and 22.10). No AGI command needs more than ten.
"""

Command = NewType("Command", bytes)
"""A whole command line with its line end; only `encode_command` makes one."""

_VERB: Final = re.compile(r"[A-Z]+(?: [A-Z]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class AgiError(C2CError):
    """Root of what can go wrong in a FastAGI session."""


class LocalAgiError(AgiError):
    """We were about to send something impossible; nothing was sent, the session is unharmed."""


class RemoteAgiError(AgiError):
    """The peer sent something impossible; nothing that it says can be believed any more."""


class SessionLost(AgiError):  # noqa: N818 - it says what happened, as Twisted's ConnectionLost does
    """The session ended before a command got its reply, or it had ended when one was to be sent."""


def _snapshot(variables: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(variables))


@frozen
class Environment:
    """What Asterisk says of the channel, once, when the session begins.

    The names, all of which begin with `agi_`, are those of `setup_env` in res/res_agi.c. Asterisk
    says `unknown` for a number or name that is empty, and leaves `agi_network_script` out when the
    URL has no path.
    """

    _variables: Mapping[str, str] = field(converter=_snapshot)

    @classmethod
    def parse(cls, lines: bytes) -> Environment:
        """Read the lines of the block, without the empty line that ends it.

        Raises RemoteAgiError for a line that is no `agi_<name>: <value>`, and for a name that comes
        twice. Asterisk sends neither, but passes a line break in a caller's name or an argument on
        as it is: then the block holds lines that somebody else has written.
        """
        variables: dict[str, str] = {}
        for line in decode(lines).split("\n") if lines else ():
            name, colon, value = line.partition(": ")
            if not colon or not name.startswith("agi_"):
                raise RemoteAgiError(f"no line of an AGI environment: {line[:80]!r}")
            if name in variables:
                raise RemoteAgiError(f"{name[:80]!r} comes twice in the AGI environment")
            # Most are the same in every session, and sessions last as long as calls do.
            variables[intern(name)] = one_copy(value)
        return cls(variables)

    def get(self, name: str, default: str = "") -> str:
        """Look one variable up by its full name, such as `agi_callerid`."""
        return self._variables.get(name, default)

    @property
    def network_script(self) -> str:
        """Path and query of the URL, without the slash before it: `c2c?x=1`."""
        return self.get("agi_network_script")

    @property
    def request(self) -> str:
        """The whole URL that the dialplan gave to `AGI()`, without the arguments after it."""
        return self.get("agi_request")

    @property
    def channel(self) -> str:
        """Name of the channel: `PJSIP/100-00000000`."""
        return self.get("agi_channel")

    @property
    def uniqueid(self) -> str:
        """Uniqueid of the channel, which is the `ChannelId` of the Originate that made it."""
        return self.get("agi_uniqueid")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments after the URL in `AGI(agi://…,one,two)`; one between two may be empty."""
        found: list[str] = []
        while (argument := self._variables.get(f"agi_arg_{len(found) + 1}")) is not None:
            found.append(argument)
        return tuple(found)


@frozen
class AgiReply:
    """The answer to one command; `agi_handle_command` in res/res_agi.c has them.

    `code` is 200 (done), 510 (no such command), 511 (not on a channel that is hung up) or 520
    (wrong arguments). `result` is the word after `result=`, "" without one; what it means differs
    from command to command, and -1 is mostly a channel that is gone. `value` is what stands in the
    parentheses after it, which are all that tell an empty variable ("") from one that is not set
    (None). `text` is everything that was said, the lines of a long 520 joined by line feeds.
    """

    code: int
    result: str
    value: str | None
    text: str

    @classmethod
    def parse(cls, lines: bytes) -> AgiReply:
        """Read a reply, without its last line end; raises RemoteAgiError for anything else."""
        text = decode(lines)
        if not text.startswith("200 result="):
            if text.startswith(("510 ", "511 ", "520 ", "520-")):
                return cls(int(text[:3]), "", None, text)
            raise RemoteAgiError(f"no AGI reply: {text[:80]!r}")
        result, _, rest = text.removeprefix("200 result=").partition(" ")
        if not rest.startswith("("):
            return cls(200, result, None, text)
        # The value may itself hold parentheses, so only the last one ends it. There is always one,
        # unless the value has a line break; then its tail is still to come and would be taken for
        # the reply to some later command.
        value, end, _ = rest[1:].rpartition(")")
        if not end:
            raise RemoteAgiError(f"a line break in the value of an AGI reply: {text[:80]!r}")
        return cls(200, result, value, text)


@frozen
class Hangup:
    """The line `HANGUP`: the channel is gone, or Asterisk ends the session for another reason.

    It is no reply and may come at any moment. The session goes on in dead mode: variables can be
    read and set, most else is refused with 511 (`run_agi` in res/res_agi.c).
    """


Event: TypeAlias = Environment | AgiReply | Hangup


def encode_command(verb: str, *arguments: str) -> Command:
    """Make the line of a command: the verb as it is (`GET VARIABLE`), each argument in quotes.

    Raises LocalAgiError for what Asterisk would not read back as exactly these words: a verb that
    is not of upper-case words, a control character, text that UTF-8 cannot carry, a line or a
    number of words over the limits. A verb must not begin with `FAILURE` either: to Asterisk that
    is not a command but the end of the session.
    """
    if not _VERB.fullmatch(verb) or verb.startswith("FAILURE"):
        raise LocalAgiError(f"no AGI verb: {verb[:80]!r}")
    if verb.count(" ") + 1 + len(arguments) > WORD_LIMIT:
        raise LocalAgiError(f"{verb} with {len(arguments)} arguments is over {WORD_LIMIT} words")
    words = [verb]
    for number, argument in enumerate(arguments, 1):
        if _CONTROL.search(argument):
            raise LocalAgiError(f"control character in argument {number} of {verb}")
        words.append('"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"')
    try:
        line = (" ".join(words) + "\n").encode()
    except UnicodeEncodeError as error:
        raise LocalAgiError(f"lone surrogate in an argument of {verb}") from error
    if len(line) >= COMMAND_LIMIT:
        raise LocalAgiError(f"{verb} of {len(line)} bytes; the limit is {COMMAND_LIMIT}")
    return Command(line)


def exec_(application: str, arguments: str = "") -> Command:
    """Run a dialplan application; `result` is what it returns, -2 if there is no such one.

    The arguments are separated by commas, and nothing in them is expanded, unless somebody has set
    the channel variable AGIEXECFULL (`handle_exec` in res/res_agi.c).
    """
    return encode_command("EXEC", application, arguments)


def get_variable(name: str) -> Command:
    """Ask for a channel variable or dialplan function; `value` is None if it is not set.

    Asterisk cuts the value after 1023 bytes; `get_full_variable("${NAME}")` does not.
    """
    return encode_command("GET VARIABLE", name)


def get_full_variable(expression: str) -> Command:
    """Ask what a dialplan expression such as `${DIALSTATUS} ${HANGUPCAUSE}` expands to."""
    return encode_command("GET FULL VARIABLE", expression)


def set_variable(name: str, value: str) -> Command:
    """Set a channel variable or dialplan function; `result` is always 1."""
    return encode_command("SET VARIABLE", name, value)


def verbose(message: str, level: int = 1) -> Command:
    """Show a line on Asterisk's console, if that is at least as verbose as `level`, 1 to 4."""
    return encode_command("VERBOSE", message, str(level))


def noop(text: str = "") -> Command:
    """Do nothing, which shows that the session is alive; a debugging console shows the text."""
    return encode_command("NOOP", text)
