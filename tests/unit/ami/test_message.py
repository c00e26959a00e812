"""AMI on the wire: `Message`, `Receiver` and `encode`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c2c_agent.ami import message as message_module
from c2c_agent.ami.message import (
    MAX_BANNER,
    MAX_HEADERS,
    MAX_LINE,
    MAX_MESSAGE,
    LocalAmiError,
    Message,
    Receiver,
    RemoteAmiError,
    encode,
    headers_as_dict,
)
from tests.unit.ami.transcripts import NAMES, transcript

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def received(*chunks: bytes) -> list[Message]:
    """Return the messages in these chunks, which follow a banner."""
    receiver = Receiver()
    receiver.receive(BANNER)
    return [message for chunk in chunks for message in receiver.receive(chunk)]


def outcome(chunks: Iterable[bytes]) -> tuple[list[bytes], str, str]:
    """Return the messages, the banner and the fault that a receiver finds in these chunks."""
    receiver = Receiver()
    messages: list[bytes] = []
    fault = ""
    for chunk in (*chunks, b""):  # a fault behind messages is raised by the call after
        try:
            messages += [message._raw for message in receiver.receive(chunk)]
        except RemoteAmiError as error:
            fault = str(error)
    return messages, receiver.banner, fault


def single_bytes(data: bytes) -> Iterator[bytes]:
    """Cut between all bytes."""
    return (data[at : at + 1] for at in range(len(data)))


# Message


def test_headers_keep_their_order_and_repetition() -> None:
    """Headers are there as they came, the repeated ones too."""
    message = Message(b"Response: Success\r\nOutput: one\r\nOutput: \r\nOutput: two")
    assert message.headers == [
        ("Response", "Success"),
        ("Output", "one"),
        ("Output", ""),
        ("Output", "two"),
    ]
    assert message.get_all("output") == ["one", "", "two"]
    assert message.get_all("nothing") == []


def test_look_up_ignores_case_and_the_first_wins() -> None:
    """Asterisk looks headers up in the same way."""
    message = Message(b"UNIQUEID: 1\r\nUniqueid: 2\r\nLinkedid: 3")
    assert message.get("uniqueid") == "1"
    assert message.get("LINKEDID") == "3"
    assert "UniqueID" in message
    assert "Channel" not in message
    assert message.get("Channel") == ""
    assert message.get("Channel", "none") == "none"


def test_a_name_is_looked_up_as_a_whole() -> None:
    """Neither the end of another name nor a value is taken for the name."""
    message = Message(b"DestChannel: a\r\nChannelState: 6\r\nText: Channel: b\r\nChannel: c")
    assert message.get("Channel") == "c"
    assert "State" not in message
    assert Message(b"DestChannel: a").get("Channel") == ""


def test_one_blank_behind_the_colon_is_no_part_of_the_value() -> None:
    """Asterisk sets one; what goes beyond is the value's own."""
    message = Message(b"None:a: b\r\nOne: a: b\r\nTwo:  a \r\nEmpty:\r\nBlank: \r\nLast:z")
    assert [message.get(name) for name in ("None", "One", "Two", "Empty", "Blank", "Last")] == [
        "a: b",
        "a: b",
        " a ",
        "",
        "",
        "z",
    ]
    assert [value for _, value in message.headers] == ["a: b", "a: b", " a ", "", "", "z"]


def test_only_a_line_feed_ends_a_line() -> None:
    """Other characters that Python takes for line ends belong to the value."""
    value = "a\x0bb\x0cc\x1cd\x85e\u2028f\rg"
    message = Message(f"Value: {value}\nNext: 1".encode())
    assert message.headers == [("Value", value), ("Next", "1")]
    assert message.get("Value") == value


def test_lines_without_a_colon_are_passed_over() -> None:
    """They are no headers, and harm none."""
    message = Message(b"--END COMMAND--\r\n\r\nResponse: Success\r\nstray")
    assert message.headers == [("Response", "Success")]
    assert message.get("Response") == "Success"
    assert "stray" not in message


def test_text_is_utf8_and_other_bytes_become_escapes() -> None:
    """One odd caller name never stops the stream, nor hides what is odd about it."""
    message = Message(b"CallerIDName: J\xc3\xbcrg \xfc \xe6\x97\r\nNext: \xe6\x97\xa5")
    assert message.get("CallerIDName") == "Jürg \\xfc \\xe6\\x97"
    assert message.headers[0] == ("CallerIDName", "Jürg \\xfc \\xe6\\x97")
    assert message.get("Next") == "日"


def test_a_message_knows_what_it_is() -> None:
    """Events, responses, and OriginateResponse, which looks like both."""
    event = Message(b"Event: Hangup\r\nUniqueid: c2c-1")
    response = Message(b"Response: Error\r\nActionID: 7\r\nMessage: No such channel")
    both = Message(b"Event: OriginateResponse\r\nActionID: c2c-1\r\nResponse: Failure")
    neither = Message(b"Output: x")
    unusual = Message(b"Privilege: call,all\r\nEVENT: Hangup")
    assert [(m.is_event, m.is_response) for m in (event, response, both, neither, unusual)] == [
        (True, False),
        (False, True),
        (True, False),
        (False, False),
        (True, False),
    ]
    assert (event.event, event.response, event.action_id) == ("Hangup", "", "")
    assert (response.event, response.response, response.action_id) == ("", "Error", "7")
    assert (both.event, both.response, both.action_id) == ("OriginateResponse", "Failure", "c2c-1")


def test_as_dict_makes_lists_of_repeated_headers_only() -> None:
    """The form for a status page."""
    assert Message(b"Response: Success\r\nOutput: a\r\nOutput: b").as_dict() == {
        "Response": "Success",
        "Output": ["a", "b"],
    }
    assert headers_as_dict([]) == {}


def test_messages_with_the_same_headers_are_equal() -> None:
    """However their lines ended."""
    message = Message(b"Event: Hangup\r\nCause: 16")
    assert message == Message(b"Event:Hangup\nCause:16\n")
    assert hash(message) == hash(Message(b"Event: Hangup\nCause: 16"))
    assert message != Message(b"Event: Hangup\r\nCause: 17")
    assert message != "Event: Hangup"
    assert repr(message) == r"Message(b'Event: Hangup\r\nCause: 16')"


def test_a_message_cannot_be_changed() -> None:
    """Its list of headers is a copy, and it takes no attributes."""
    message = Message(b"Event: Hangup")
    message.headers.clear()
    assert message.event == "Hangup"
    with pytest.raises(AttributeError):
        message.event = "Newchannel"  # type: ignore[misc]  # that is the point
    with pytest.raises(AttributeError):
        message.other = "x"  # type: ignore[attr-defined]  # that is the point


# Receiver


def test_the_banner_comes_first() -> None:
    """It is no message, and known as soon as its line ends."""
    receiver = Receiver()
    assert receiver.receive(BANNER[:-1]) == []
    assert receiver.banner == ""
    assert receiver.receive(BANNER[-1:]) == []
    assert receiver.banner == "Asterisk Call Manager/11.0.0"
    assert received() == []


def test_messages_may_come_in_the_same_data_as_the_banner() -> None:
    """Nothing is lost between the two."""
    receiver = Receiver()
    assert receiver.receive(BANNER + b"Response: Success\r\n\r\n") == [
        Message(b"Response: Success")
    ]


@pytest.mark.parametrize(
    "line", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\n"]
)
def test_any_other_first_line_is_refused(line: bytes) -> None:
    """Whoever says this is no Asterisk, and stays so."""
    receiver = Receiver()
    with pytest.raises(RemoteAmiError, match="no Asterisk Manager Interface"):
        receiver.receive(line)
    with pytest.raises(RemoteAmiError):
        receiver.receive(BANNER)
    assert receiver.banner == ""


def test_an_endless_banner_is_refused() -> None:
    """At the byte beyond the limit, whether its end is there or not."""
    longest = b"Asterisk Call Manager/".ljust(MAX_BANNER, b"1")
    assert Receiver().receive(longest) == []
    assert Receiver().receive(longest + b"\n") == []
    for chunks in ([longest + b"1"], [longest + b"1\n"], [longest, b"1"]):
        assert "no banner" in outcome(chunks)[2]


def test_blank_lines_between_messages_are_passed_over() -> None:
    """Asterisk sends such behind error texts that end with a line feed of their own."""
    stream = (
        b"\r\n\r\n\r\nResponse: Error\r\nMessage: Uniqueid length exceeds maximum of 149\n\r\n\r\n"
        b"Event: Hangup\r\n\r\n\n\n\n\r\nstray\r\n\r\nEvent: Newchannel\r\n\r\n"
    )
    assert [message.headers for message in received(stream)] == [
        [("Response", "Error"), ("Message", "Uniqueid length exceeds maximum of 149")],
        [("Event", "Hangup")],
        [("Event", "Newchannel")],
    ]


def test_a_bare_line_feed_ends_a_line_and_a_message() -> None:
    """Also mixed with CRLF."""
    stream = b"A: 1\nB: 2\n\nA: 3\r\nB: 4\n\r\nA: 5\nB: 6\r\n\n"
    assert [message.headers for message in received(stream)] == [
        [("A", "1"), ("B", "2")],
        [("A", "3"), ("B", "4")],
        [("A", "5"), ("B", "6")],
    ]


def test_there_is_no_limit_to_the_number_of_headers() -> None:
    """Asterisk's own limit is for what it reads; an EndpointDetail has 144."""
    headers = [(f"Header{number}", str(number)) for number in range(1000)]
    stream = "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + b"\r\n"
    [message] = received(stream)
    assert message.headers == headers


def test_a_message_without_end_is_refused() -> None:
    """At the byte beyond the limit, however it comes; one of just that size is taken."""
    longest = b"A: ".ljust(MAX_MESSAGE, b"x")
    assert len(received(longest + b"\n\r\n")) == 1
    assert len(received(longest, b"\n", b"\r", b"\n")) == 1
    for chunks in ([longest + b"x\n\r\n"], [longest, b"xxx"], [longest + b"\r\n", b"x"]):
        with pytest.raises(RemoteAmiError, match="more than 1048576 bytes"):
            received(*chunks)


def test_messages_before_a_fault_are_not_lost() -> None:
    """They come first, and the next call tells of the fault."""
    receiver = Receiver()
    receiver.receive(BANNER)
    too_long = b"A: " + b"x" * MAX_MESSAGE
    messages = receiver.receive(b"Event: Hangup\r\n\r\n" + too_long + b"\n\nEvent: Late\r\n\r\n")
    assert messages == [Message(b"Event: Hangup")]
    for _ in range(2):
        with pytest.raises(RemoteAmiError):
            receiver.receive(b"")


def test_whether_a_message_is_unfinished_is_known() -> None:
    """So that a connection that ends within one can be told from others."""
    receiver = Receiver()
    receiver.receive(BANNER + b"Event: Hangup\r\n\r\n\r\n")
    assert not receiver.unfinished
    receiver.receive(b"Event: Hang")
    assert receiver.unfinished


@pytest.mark.parametrize("name", NAMES)
def test_a_real_stream_may_be_cut_anywhere(name: str) -> None:
    """Two pieces, cut at every point, and every byte by itself, give the same messages."""
    stream = transcript(name)
    whole = outcome([stream])
    assert whole[1].startswith("Asterisk Call Manager/")
    assert whole[2] == ""
    assert outcome(single_bytes(stream)) == whole
    for at in range(len(stream)):
        assert outcome([stream[:at], stream[at:]]) == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_real_stream_is_understood(name: str) -> None:
    """Every message of it is an event or a response with its headers, and nothing is left."""
    receiver = Receiver()
    messages = receiver.receive(transcript(name))
    assert all(message.is_event != message.is_response for message in messages)
    assert all(len(message.headers) > 1 for message in messages)
    assert messages[-1].response == "Goodbye"
    assert not receiver.unfinished


PIECES = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"a: b",
        b"Event: Hangup",
        b":",
        b" ",
        b"\xff",
        b"\xc3\xbc",
    ]
)
STREAMS = st.lists(PIECES | st.binary(max_size=4), max_size=40).map(b"".join)


@given(st.lists(st.binary()))
@settings(deadline=None)
def test_nothing_but_remote_errors_comes_of_arbitrary_bytes(chunks: list[bytes]) -> None:
    """With and without a banner."""
    outcome(chunks)
    outcome([BANNER, *chunks])


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 200)), data=st.data())
@settings(deadline=None)
def test_the_way_a_stream_is_cut_never_matters(
    stream: bytes, cuts: list[int], data: st.DataObject
) -> None:
    """Not even around the limits, which are set low here."""
    stream = data.draw(st.sampled_from([b"", BANNER])) + stream
    points = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(points)]
    with (
        patch.object(message_module, "MAX_MESSAGE", 24),
        patch.object(message_module, "MAX_BANNER", 30),
    ):
        whole = outcome([stream])
        assert outcome(chunks) == whole
        assert outcome(single_bytes(stream)) == whole


@given(STREAMS)
@settings(deadline=None)
def test_look_up_and_list_of_headers_agree(stream: bytes) -> None:
    """A header found by its name is the first of that name in the list."""
    for message in received(stream):
        for name, _ in message.headers:
            if name.isascii() and "\\" not in name:  # no escape of a byte
                assert message.get(name.upper(), "?") == message.get_all(name)[0]
                assert name.upper() in message


# encode


def test_a_message_is_encoded_line_by_line() -> None:
    """Repeated headers stay repeated; an empty value is one."""
    assert encode([("Action", "Ping"), ("Variable", "A=1"), ("Variable", "B=ü"), ("X", "")]) == (
        b"Action: Ping\r\nVariable: A=1\r\nVariable: B=\xc3\xbc\r\nX: \r\n\r\n"
    )


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
def test_control_characters_are_refused(code: int) -> None:
    """A line feed would start a header, two an action; the others have no business here either."""
    with pytest.raises(LocalAmiError, match=r"^CallerID: "):
        encode([("Action", "Originate"), ("CallerID", f"100{chr(code)}Action: Ping")])
    with pytest.raises(LocalAmiError, match="no name"):
        encode([(f"X{chr(code)}", "1")])


@pytest.mark.parametrize(
    "name", ["", " ", "A B", "A:", ":", "1A", "Ä", "A\u2028", "-", "A" + "b" * 99 + "!"]
)
def test_odd_names_are_refused(name: str) -> None:
    """No header of Asterisk is called so."""
    with pytest.raises(LocalAmiError, match="no name of a header"):
        encode([(name, "x")])


def test_a_line_may_be_so_long_and_not_longer() -> None:
    """Asterisk's limit counts bytes and leaves out CRLF."""
    room = MAX_LINE - len("Value: ")
    assert len(encode([("Value", "x" * room)])) == MAX_LINE + 4
    assert len(encode([("Value", "ü" * (room // 2))])) <= MAX_LINE + 4
    for value in ("x" * (room + 1), "ü" * (room // 2 + 1)):
        with pytest.raises(LocalAmiError, match=r"^Value: 102\d bytes"):
            encode([("Value", value)])


def test_a_message_may_have_so_many_headers_and_not_more() -> None:
    """And one at least."""
    assert encode([("X", "1")] * MAX_HEADERS).count(b"\r\n") == MAX_HEADERS + 1
    for number in (0, MAX_HEADERS + 1):
        with pytest.raises(LocalAmiError, match=f"not {number}$"):
            encode([("X", "1")] * number)


def test_a_lone_surrogate_is_refused() -> None:
    """JSON lets one through, UTF-8 does not."""
    with pytest.raises(LocalAmiError, match=r"^Exten: "):
        encode([("Exten", "\ud800")])


@pytest.mark.parametrize("value", ["hush\n", "hush\ud800", "hush" * 300])
def test_errors_do_not_show_values(value: str) -> None:
    """For one may be a secret."""
    with pytest.raises(LocalAmiError) as caught:
        encode([("Secret", value)])
    assert "hush" not in str(caught.value)


NAME = st.sampled_from(["Action", "ActionID", "Variable", "X-1_y"]) | st.text(max_size=8)


@given(st.lists(st.tuples(NAME, st.text()), max_size=10))
@settings(deadline=None)
@example([("CallerID", "x\n\nAction: Ping")])
@example([("X", "\u2028Action: Ping"), ("X", "\x85")])
def test_whatever_the_text_no_header_is_smuggled_in(headers: list[tuple[str, str]]) -> None:
    """Either it is refused, or exactly these headers go out, and come back as they were."""
    try:
        data = encode(headers)
    except LocalAmiError:
        return
    assert data.count(b"\n") == data.count(b"\r") == len(headers) + 1
    assert data.endswith(b"\r\n\r\n")
    assert all(len(line) <= MAX_LINE for line in data.split(b"\r\n"))
    [message] = received(data)
    assert message.headers == headers
