"""The parsers that hostile bytes reach, each with what has to hold whatever they are.

A target takes bytes, and raises AssertionError where something does not hold; any exception that
the parser does not promise is a finding, too. `__main__` lets Atheris look for such bytes,
`test_targets` tries the ones that are in `corpus/`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

from c2c_agent.agi import message as agi_message
from c2c_agent.agi.session import Session
from c2c_agent.ami import actions
from c2c_agent.ami.message import (
    MAX_LINE,
    LocalAmiError,
    Message,
    Receiver,
    RemoteAmiError,
    encode,
)
from c2c_agent.amqp.messages import MalformedMessage, read_event, read_job, relay_of
from c2c_agent.call.call import Call, Received
from c2c_agent.call.events import Relayed
from c2c_agent.call.job import JobRules, parse_job
from c2c_agent.call.machine import step
from c2c_agent.call.number import NumberError, read_number
from c2c_agent.call.record import dump, load
from c2c_agent.config.files import document
from c2c_agent.config.parse import parse
from c2c_agent.config.pbx import AsteriskConfig
from c2c_agent.config.sections import Config
from c2c_agent.errors import ApiError, ConfigError
from c2c_agent.pbx.asterisk.originate import make_plan
from c2c_agent.policy.pattern import PatternError, parse_pattern
from c2c_agent.web.answers import status
from c2c_agent.web.request import read_parameters

Target = Callable[[bytes], None]

_REQUEST_ID: Final = "2c4f781a-4825-4d09-a573-2d8689e5682b"
_CONFIG: Final = AsteriskConfig()
_CONTEXT: Final = "from-phones"
_NUMBER: Final = r"(\+?[0-9*#]{1,32}|desk-1)"
#: Whatever a job says, each header of its Originate is one of these.
_HEADERS: Final = tuple(
    map(
        re.compile,
        (
            "Action: Originate",
            "ActionID: c2c-x",
            f"Channel: Local/{_NUMBER}@c2c-first/n",
            "Context: c2c-bridge",
            "Exten: s",
            "Priority: 1",
            "Async: true",
            "Timeout: [0-9]{4,6}",
            rf'CallerID: "{_NUMBER}" <\1>',
            "ChannelId: c2c-[a-z2-7]{26}",
            "Variable: _*C2C_[A-Z_]+=[A-Za-z0-9_.@:/+*#-]*",
        ),
    )
)
_DIALED: Final = re.compile(f"Local/{_NUMBER}@from-phones")


def pieces(data: bytes) -> list[bytes]:
    """The data behind its first byte, cut into pieces of a size that this one says."""
    size = data[0] % 64 + 1 if data else 1
    rest = data[1:]
    cuts = [*range(0, len(rest), size), len(rest)]
    return [rest[begin:end] for begin, end in pairwise(cuts)]


# AMI


def ami(data: bytes) -> None:
    """What Asterisk says: cut anywhere it means the same, and can be said again or is refused."""
    whole = _ami_messages([data[1:]])
    assert _ami_messages(pieces(data)) == whole
    for message in whole[0]:
        assert message.is_event or message.is_response or not message.response
        json.dumps(message.as_dict())
        for name, _ in message.headers:
            if name.isascii() and "\\" not in name:
                assert message.get(name) == message.get_all(name)[0]
        try:
            sent = encode(message.headers)
        except LocalAmiError:
            continue
        lines = sent.split(b"\r\n")
        assert len(lines) == len(message.headers) + 2
        assert all(len(line) <= MAX_LINE for line in lines)
        assert b"\n" not in sent.replace(b"\r\n", b"")


def _ami_messages(chunks: list[bytes]) -> tuple[list[Message], str, bool]:
    receiver, messages = Receiver(), []
    try:
        for chunk in chunks:
            messages += receiver.receive(chunk)
        receiver.receive(b"")  # what came before a fault is returned first
    except RemoteAmiError:
        return messages, receiver.banner, True
    return messages, receiver.banner, False


# AGI


def agi(data: bytes) -> None:
    """What a FastAGI client says; to each reply comes the next command."""
    session, events = Session(), 0
    try:
        for piece in pieces(data):
            for event in session.receive(piece):
                events += 1
                if isinstance(event, agi_message.Environment):
                    assert event.arguments is not None
                if not isinstance(event, agi_message.Hangup):
                    session.command(agi_message.get_variable("DIALSTATUS"))
    except agi_message.RemoteAgiError:
        try:
            session.receive(b"200 result=1\n")
        except agi_message.RemoteAgiError:
            pass
        else:
            raise AssertionError("a session went on after a fault")
    except agi_message.LocalAgiError:
        # Two replies in one piece: the second was not asked for by then. A real session sends its
        # command only after both have been read, and is refused in the same way.
        assert events > 1
    assert len(session._rest) + session._size <= agi_message.COMMAND_LIMIT * 64


def agi_words(data: bytes) -> None:
    """What is said in a FastAGI session: the words that come out are those that went in."""
    words = data.decode("utf-8", "surrogateescape").split("\x1f")
    try:
        line = agi_message.encode_command("EXEC", *words)
    except agi_message.LocalAgiError:
        return
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert _as_asterisk_reads(line.decode()[:-1]) == ["EXEC", *words]


def _as_asterisk_reads(line: str) -> list[str]:
    """The words of a command line, by the rules of `parse_args` (res/res_agi.c)."""
    words, word, quoted, escaped, begun = [], "", False, False, False
    for character in line:
        if escaped:
            word, escaped = word + character, False
        elif character == "\\":
            escaped = begun = True
        elif character == '"':
            quoted, begun = not quoted, True
        elif character in " \t" and not quoted:
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + character, True
    return [*words, word] if begun else words


# Jobs


def job(data: bytes) -> None:
    """A job from the broker, or the parameters of a request: an Originate of one shape, or none."""
    kind, body = data[:1], data[1:]
    try:
        if kind in {b"", b"a"}:
            parameters: Mapping[str, object] = read_job(body)
            relay = relay_of(body)
            assert relay is None or not {*"#* "} & {*relay}, relay
        else:
            query, _, body = body.partition(b"\n")
            content_type = "application/json" if kind == b"j" else ""
            read = read_parameters(query, content_type, body)
            assert all(fault.message.isprintable() for fault in read.faults)
            parameters = read.values
        wanted = parse_job(parameters, JobRules(names={"desk-1"}, auto_answer="call-info"))
        # As intake would store it, and a status show it.
        json.dumps(dict(parameters))
    except (MalformedMessage, ApiError):
        return
    plan = make_plan(
        _CONFIG,
        _REQUEST_ID,
        wanted,
        _CONTEXT,
        agi_url="agi://127.0.0.1:8475/c2c",
        max_duration=14400,
    )
    assert _DIALED.fullmatch(plan.target), plan.target
    assert isinstance(plan.order, actions.Action)
    *lines, end, nothing = encode(plan.order.as_pairs("c2c-x")).decode().split("\r\n")
    assert (end, nothing) == ("", "")
    assert len(lines) < 30
    for line in lines:
        assert any(header.fullmatch(line) for header in _HEADERS), line
    agi_message.exec_("Dial", f"{plan.target},{plan.timeout},g")


# Numbers


def number(data: bytes) -> None:
    """A number, however it is written: the one that was written, or none; never another.

    It is the same as JSON, in a query and in a form.
    """
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = read_number(text)
    except NumberError as error:
        refusal = str(error)
        read = ""
    if not read:
        assert refusal.isprintable()
        return
    assert re.fullmatch(r"\+?[0-9*#]{1,32}", read), read
    assert read.startswith("+") is any(plus in text for plus in "+\uff0b\ufe62")
    written = "".join(map(_digit, text))
    plain = read.removeprefix("+")
    if plain != written:
        # A zero that stood alone in brackets, behind a country code: left out, and nothing else.
        assert written in {f"{plain[:at]}0{plain[at:]}" for at in (1, 2, 3)}
        assert read.startswith("+")
        assert any(bracket in text for bracket in "(\uff08")
    # As a form has it; and as `encodeURI` of ECMAScript has it, which leaves a plus as it is.
    for safe in ("", "/:().*-+"):
        given = b"dial_first=" + quote(text, safe=safe).encode()
        for query, body in ((given, b""), (b"", given)):
            values = read_parameters(query, "", body).values
            assert read_number(values["dial_first"]) == read, values


def _digit(character: str) -> str:
    """A digit, `*` or `#` in ASCII; of anything else, nothing."""
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    return unicodedata.normalize("NFKC", character) if character in "*#\uff0a\uff03" else ""


# Patterns


def pattern(data: bytes) -> None:
    """A pattern and a number: read or refused, and matched in a moment."""
    text, _, number = data.decode("utf-8", "surrogateescape").partition("\n")
    try:
        read = parse_pattern(text)
    except PatternError:
        return
    read.matches(number[:128])
    if read.literal is not None:
        assert read.matches(read.literal)


# The configuration


def configuration(data: bytes) -> None:
    """A configuration: it is one, or each fault is told in a line."""
    try:
        config = parse([("x.yml", document(data, "x.yml"))], server_id="pbx.example.com")
    except ConfigError:
        return
    assert isinstance(config, Config)


# Events


def event(data: bytes) -> None:
    """An event of an agent, at a relay: no more than the call of its own story can come of it."""
    try:
        told = read_event("pbx1.call.ended", data)
    except MalformedMessage:
        return
    call = Call(
        request_id=told.call.request_id,
        key="crm",
        received=Received(1.0, "http://x/c2c/v2", "GET", {}),
        fingerprint="f",
        max_duration=14400,
    )
    after = step(call, Relayed(told.server_id, told.call), 2.0).call
    assert (after.key, after.fingerprint, after.received) == ("crm", "f", call.received)
    shown: Any = status(load(dump(after)))
    json.dumps(shown)


TARGETS: Final[Mapping[str, Target]] = {
    "ami": ami,
    "agi": agi,
    "agi-words": agi_words,
    "job": job,
    "number": number,
    "pattern": pattern,
    "configuration": configuration,
    "event": event,
}
