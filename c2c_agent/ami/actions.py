"""The actions that this program sends to Asterisk, each made and checked by a function of its own.

Pure. Whoever wants something of Asterisk builds an `Action` here and gives it to `AmiLink`, which
adds the ActionID, sends it and brings the answer. A builder raises LocalAmiError, naming the
header, for a value that Asterisk would refuse, cut or take for something else; so there never is
such an action.

Header names and limits are those of Asterisk's main/manager.c, 16 to 22.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from c2c_agent.ami.message import (
    MAX_LINE,
    AmiError,
    LocalAmiError,
    Message,
    encode,
    headers_as_dict,
)

Headers = tuple[tuple[str, str], ...]

_SECRET_HEADERS: Final = frozenset({"Secret"})
#: What a variable's name ends with whose value is for nobody to see.
_SECRET_VARIABLE: Final = re.compile(r"(\w*_SECRET=).*")
_NOT_SHOWN: Final = "(not shown)"

#: Milliseconds; Asterisk reads Timeout into a C int.
_LONGEST_TIMEOUT: Final = 2**31 - 1

#: What could end a value, or mean something where the dialplan uses it: in `Variable:` a comma
#: starts another variable, quotes and backslashes are removed, brackets hide commas; in an
#: expression a quote ends a string, `$` and braces start a variable.
_SPECIAL: Final = r"\x00-\x1f\x7f,\"'\\()\[\]{}$"
#: Classes of events (`perms` in main/manager.c). With any other word in the list Asterisk sends no
#: events at all, and still answers `Response: Success`.
_CLASS: Final = (
    "(system|call|log|verbose|command|agent|user|config|dtmf|reporting|cdr|dialplan|originate|agi"
    "|cc|aoc|test|security|message|all)"
)


@frozen
class _Rule:
    """What the value of a header may be; `means` says it in words, `longest` counts bytes."""

    pattern: str
    means: str
    longest: int = MAX_LINE

    def check(self, header: str, value: str) -> str:
        """Return `value`, or raise LocalAmiError if it breaks the rule."""
        if re.fullmatch(self.pattern, value) is None:
            raise LocalAmiError(f"{header}: {value[:80]!r} is not {self.means}")
        if len(value.encode(errors="replace")) > self.longest:
            raise LocalAmiError(f"{header}: {value[:80]!r} … is longer than {self.longest} bytes")
        return value


#: Asterisk echoes it, but cuts it in the events of some lists, which use a buffer of 256 bytes for
#: the whole line: the line end is then missing, and two events become one. Seen on 16 and 22.
_ACTION_ID: Final = _Rule(r"[!-~]+", "printable ASCII without blanks", longest=243)
_EVENTS: Final = _Rule(f"on|off|{_CLASS}(,{_CLASS})*", "on, off or a list of classes of events")
_USERNAME: Final = _Rule(r"\S.*", "a name")
#: Asterisk cuts a Channel beyond 255 bytes silently (`action_originate`). A comma, an ampersand or
#: a quote would add to what is dialled wherever the text reaches the application Dial.
_DIALABLE: Final = _Rule(
    r"[A-Za-z][A-Za-z0-9_]*/[^\x00-\x1f\x7f,&\"']+",
    "technology/destination without comma, ampersand or quotes",
    longest=255,
)
#: AST_MAX_CONTEXT and AST_MAX_EXTENSION are 80, with the NUL.
_CONTEXT: Final = _Rule(r"[^\x00-\x20\x7f]+", "a word", longest=79)
_PRIORITY: Final = _Rule(r"[1-9][0-9]{0,8}|[A-Za-z_][A-Za-z0-9_-]*", "a number above 0 or a label")
#: Asterisk refuses what is longer than AST_MAX_PUBLIC_UNIQUEID.
_CHANNEL_ID: Final = _Rule(
    r"[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, dashes", longest=149
)
_CALLER_ID: Final = _Rule(
    r"(\"[^\x00-\x1f\x7f\"\\<>]+\" )?<[A-Za-z0-9*#+_@.-]+>",
    'a number, with a name that has no quote, backslash, "<" or ">"',
    longest=255,
)
#: Of a channel that exists. Asterisk passes over blanks in front, and takes what starts with a
#: slash for a regular expression to be tried on the names of all channels.
_CHANNEL: Final = _Rule(r"[^\x00-\x20\x7f/][^\x00-\x1f\x7f]*", "a channel's name or Uniqueid")
_VARIABLE: Final = _Rule(r"_{0,2}[A-Za-z][A-Za-z0-9_]*", "a variable's name")
_VALUE: Final = _Rule(
    rf"([^{_SPECIAL}]|\[[0-9A-Fa-f:.]+\])*",
    "free of commas, quotes, backslashes, brackets (but around an IPv6 address), dollars and "
    "control characters",
)
_READABLE: Final = _Rule(
    rf"{_VARIABLE.pattern}(\((,|[^{_SPECIAL}])*\))?", "a variable or NAME(arguments)"
)
_ASTDB: Final = _Rule(r"[A-Za-z0-9_.-]+", "letters, digits, dots, dashes")


class ActionRefused(AmiError):  # noqa: N818 - it says what happened, as Twisted's errors do
    """Asterisk answered the action with an Error; `response` is that answer."""

    def __init__(self, action: str, response: Message) -> None:
        super().__init__(f"{action} refused: {response.get('Message').strip()}")
        self.response = response


class ShuttingDown(AmiError):  # noqa: N818 - the same
    """Asterisk carries no action out any more; `words` are its own.

    It says so to every action, the Login included, from the time at which it was told to stop or
    to restart `gracefully` until its last call has ended (main/manager.c, `process_message`).
    """

    def __init__(self, action: str, words: str) -> None:
        super().__init__(f"{action}: {words}")
        self.words = words


#: What it says.
_SHUTTING_DOWN: Final = "Asterisk is shutting down"


def shutting_down(response: Message) -> str | None:
    """What Asterisk says where it carries nothing out any more; None where it may."""
    words = response.get("Message").strip()
    return words if response.response == "Error" and _SHUTTING_DOWN in words else None


def refusal(action: str, response: Message) -> ActionRefused | ShuttingDown:
    """What an answer comes to that is none."""
    words = shutting_down(response)
    return ActionRefused(action, response) if words is None else ShuttingDown(action, words)


def _without_secrets(headers: Headers) -> Headers:
    return tuple((name, _shown(name, value)) for name, value in headers)


def _shown(name: str, value: str) -> str:
    if name in _SECRET_HEADERS:
        return _NOT_SHOWN
    return _SECRET_VARIABLE.sub(rf"\1{_NOT_SHOWN}", value) if name == "Variable" else value


@frozen
class Action:
    """One action: its name, and its headers in order. The ActionID is added when it is sent.

    Raises LocalAmiError if it cannot be sent. Neither `repr` nor `as_dict` shows a secret.
    """

    name: str
    headers: Headers = field(default=(), repr=lambda headers: repr(_without_secrets(headers)))

    def __attrs_post_init__(self) -> None:
        """Find out now, not when it is to be sent, whether it can be."""
        encode(self.as_pairs("1"))

    def as_pairs(self, action_id: str) -> list[tuple[str, str]]:
        """Return all headers as they are sent, secrets among them.

        ActionID comes early: Asterisk's answer to a line that it cannot read then still has it.
        Raises LocalAmiError for an ActionID that would not come back as it is.
        """
        _ACTION_ID.check("ActionID", action_id)
        return [("Action", self.name), ("ActionID", action_id), *self.headers]

    def as_dict(self, action_id: str) -> dict[str, str | list[str]]:
        """Return names to values, ready for JSON; the values of a repeated header as a list.

        Raises LocalAmiError as `as_pairs` does.
        """
        return headers_as_dict(_without_secrets(tuple(self.as_pairs(action_id))))


def login(username: str, secret: str, events: str = "call") -> Action:
    """Log in, asking for events: `on`, `off`, or a comma list of classes of events.

    The user's `read` in manager.conf limits them further. The secret is sent as it is, so over a
    network only with TLS.
    """
    if not secret:
        raise LocalAmiError("Secret: is empty")
    return Action(
        "Login",
        (
            ("Username", _USERNAME.check("Username", username)),
            ("Secret", secret),
            ("Events", _EVENTS.check("Events", events)),
        ),
    )


def logoff() -> Action:
    """Say goodbye; Asterisk answers `Response: Goodbye` and closes the connection."""
    return Action("Logoff")


def ping() -> Action:
    """Ask for a sign of life; any user may."""
    return Action("Ping")


def originate(
    *,
    channel: str,
    context: str,
    exten: str,
    priority: int | str,
    timeout: float,
    channel_id: str,
    caller_id: tuple[str, str] | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Action:
    """Ring `channel` and, when it is answered, run it at `exten`,`priority` of `context`.

    Always asynchronous, since Asterisk otherwise reads nothing more from the connection until the
    end of the ringing; and always into the dialplan, since an application would need more rights.

    `channel` is technology/destination; `priority` a number or a label. `timeout` is the time to
    answer in seconds, of which Asterisk takes whole milliseconds; it must be above 0, which would
    mean "for ever". `channel_id` becomes the Uniqueid of the channel and the Linkedid of all that
    follow from it; it must be unique. `caller_id` is the number that the phone shows, and a name or
    `""`; None leaves the device's own. Asterisk takes every `-`, and every `.` but a last one, out
    of the number. `variables` are set on the channel; a name with `_` is inherited by the channels
    next to it, with `__` by all.
    """
    milliseconds = round(timeout * 1000) if math.isfinite(timeout * 1000) else 0
    if not 0 < milliseconds <= _LONGEST_TIMEOUT:
        raise LocalAmiError(f"Timeout: {timeout} s is not between 1 ms and {_LONGEST_TIMEOUT} ms")
    headers = [
        ("Channel", _DIALABLE.check("Channel", channel)),
        ("Context", _CONTEXT.check("Context", context)),
        ("Exten", _CONTEXT.check("Exten", exten)),
        ("Priority", _PRIORITY.check("Priority", str(priority))),
        ("Timeout", str(milliseconds)),
        ("Async", "true"),
        ("ChannelId", _CHANNEL_ID.check("ChannelId", channel_id)),
    ]
    if caller_id is not None:
        number, name = caller_id
        shown = f'"{name}" <{number}>' if name else f"<{number}>"
        headers.append(("CallerID", _CALLER_ID.check("CallerID", shown)))
    # One header each: within one, commas would separate them.
    headers += [("Variable", _variable(*item)) for item in variables.items()]
    return Action("Originate", tuple(headers))


def hangup(channel: str, cause: int) -> Action:
    """Hang up the channel of this name or Uniqueid. `cause` is a Q.850 cause, 1 to 127.

    Asterisk answers before the channel is gone; its Hangup event tells that.
    """
    if not 1 <= cause <= 127:  # noqa: PLR2004 - the seven bits of a cause in ITU-T Q.850
        raise LocalAmiError(f"Cause: {cause} is not 1 to 127")
    return Action("Hangup", (*_channel(channel), ("Cause", str(cause))))


def getvar(variable: str, channel: str | None = None) -> Action:
    """Ask for a variable, or for what one dialplan function gives: `DEVICE_STATE(PJSIP/100)`.

    Of the channel with this name or Uniqueid; without one, a global variable. The answer's `Value`
    is empty where there is none. Functions that reach outside Asterisk, such as SHELL, are refused
    with an Error to users without class `system`.
    """
    name = _READABLE.check("Variable", variable)
    return Action("Getvar", (*_channel(channel), ("Variable", name)))


def setvar(variable: str, value: str, channel: str | None = None) -> Action:
    """Set a variable, or let one dialplan function be set: `DB_DELETE(family/key)`.

    Of the channel with this name or Uniqueid; without one, a global variable. A value cannot begin
    with a blank: Asterisk skips those.
    """
    if value.startswith(" "):
        raise LocalAmiError("Value: begins with a blank")
    name = _READABLE.check("Variable", variable)
    return Action(
        "Setvar", (*_channel(channel), ("Variable", name), ("Value", _VALUE.check("Value", value)))
    )


def core_show_channels() -> Action:
    """Ask for all channels: a list of CoreShowChannel events."""
    return Action("CoreShowChannels")


def core_settings() -> Action:
    """Ask for Asterisk's version (`AsteriskVersion`) and limits."""
    return Action("CoreSettings")


def core_status() -> Action:
    """Ask since when Asterisk runs: `CoreStartupDate`, `CoreStartupTime`."""
    return Action("CoreStatus")


def list_commands() -> Action:
    """Ask which actions this user may send: the response has a header named as each of them."""
    return Action("ListCommands")


def device_state_list() -> Action:
    """Ask for all devices: a list of DeviceStateChange events with `Device` and `State`."""
    return Action("DeviceStateList")


def show_dialplan(context: str) -> Action:
    """Ask for a context: a list of ListDialplan events. Where it does not exist, an Error."""
    return Action("ShowDialPlan", (("Context", _CONTEXT.check("Context", context)),))


def db_get(family: str, key: str) -> Action:
    """Ask for one entry of AstDB: a list of one DBGetResponse event with `Val`.

    Where there is no such entry, the answer is an Error.
    """
    return Action("DBGet", (_of_family(family), ("Key", _ASTDB.check("Key", key))))


def db_get_tree(family: str) -> Action:
    """Ask for a family of AstDB: a list of DBGetTreeResponse events with `Key` and `Val`.

    `Key` is the whole path, `/family/key`. An Asterisk that does not know this action yet answers
    with an Error.
    """
    return Action("DBGetTree", (_of_family(family),))


def _of_family(family: str) -> tuple[str, str]:
    return "Family", _ASTDB.check("Family", family)


def _channel(channel: str | None) -> Headers:
    return () if channel is None else (("Channel", _CHANNEL.check("Channel", channel)),)


def _variable(name: str, value: str) -> str:
    # A name that ends with ")" would call a function.
    return f"{_VARIABLE.check('Variable', name)}={_VALUE.check(f'Variable {name}', value)}"
