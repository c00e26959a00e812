"""What clients send over HTTP: parameters or faults, never an exception, and never much memory."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c2c_agent.errors import ErrorCode
from c2c_agent.web.request import Proxies, read_parameters

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
NO_JSON = "The body is no valid JSON, or too deeply nested."
NO_OBJECT = "The body is no JSON object."
NO_FORM = "The {} is no form of parameters (name=value&…, percent-encoded UTF-8)."


def read(query: bytes = b"", kind: str = "", body: bytes = b"") -> dict[str, object]:
    """The parameters of a request in which nothing is wrong."""
    parameters = read_parameters(query, kind, body)
    assert parameters.faults == ()
    return dict(parameters.values)


def faults(
    query: bytes = b"", kind: str = "", body: bytes = b"", *, oversized: bool = False
) -> list[str]:
    """What is wrong with a request."""
    parameters = read_parameters(query, kind, body, oversized=oversized)
    assert {fault.code for fault in parameters.faults} <= {ErrorCode.INVALID_PARAMETER}
    return [fault.message for fault in parameters.faults]


class TestQuery:
    """Parameters in the query string."""

    def test_as_the_specification_has_it(self) -> None:
        """Names and values, percent-decoded as UTF-8; empty ones stay."""
        assert read(b"dial_first=100&dial_second=%2B49+30&x=%C3%A4&timeout=&flag") == {
            "dial_first": "100",
            "dial_second": "+49 30",
            "x": "\u00e4",
            "timeout": "",
            "flag": "",
        }

    def test_nothing(self) -> None:
        """No query string, no parameters."""
        assert read() == {}

    def test_control_characters(self) -> None:
        """A percent-encoded NUL or line break arrives as such, to be refused by its parameter."""
        assert read(b"dial_first=1%00&dial_second=2%0d%0aVariable:%20A=B") == {
            "dial_first": "1\0",
            "dial_second": "2\r\nVariable: A=B",
        }

    @pytest.mark.parametrize(
        "query", [b"a=\xff", b"a=%ff", b"%ff=a", b"a=%ed%a0%80", b"\xc3\xa4=1"]
    )
    def test_no_utf_8(self, query: bytes) -> None:
        """Bytes that are no text, encoded or raw, are a fault."""
        assert faults(query) == [NO_FORM.format("query string")]

    def test_too_many(self) -> None:
        """A hundred parameters are read; nobody means more."""
        query = "&".join(f"p{number}=1" for number in range(100))
        assert len(read(query.encode())) == 100
        assert faults(f"{query}&q=1".encode()) == [NO_FORM.format("query string")]


class TestBody:
    """Parameters in the body."""

    @pytest.mark.parametrize(
        "kind",
        [JSON, "Application/JSON; charset=utf-8", "application/vnd.c2c+json", " application/json "],
    )
    def test_json(self, kind: str) -> None:
        """Where the Content-Type says so; values keep their types."""
        values = {"dial_first": 100, "dial_second": "200", "x": [1.5, {"y": None}], "z": True}
        assert read(kind=kind, body=json.dumps(values).encode()) == values

    @pytest.mark.parametrize("kind", ["", FORM, "text/plain", FORM + "; charset=utf-8"])
    def test_form(self, kind: str) -> None:
        """Where it says anything else, or nothing."""
        assert read(kind=kind, body=b"dial_first=100&dial_second=%2B200") == {
            "dial_first": "100",
            "dial_second": "+200",
        }

    @pytest.mark.parametrize("kind", [JSON, FORM, ""])
    @pytest.mark.parametrize("body", [b"", b" \r\n"])
    def test_no_body(self, kind: str, body: bytes) -> None:
        """The specification has clients say application/json on a GET, too."""
        assert read(b"a=1", kind, body) == {"a": "1"}

    def test_query_and_body(self) -> None:
        """Both are read."""
        assert read(b"api_key=x", JSON, b'{"dial_first": "100"}') == {
            "api_key": "x",
            "dial_first": "100",
        }

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_encodings_of_json(self, encoding: str) -> None:
        """Those of RFC 4627, which some clients still send."""
        assert read(kind=JSON, body='{"x": "\u00e4"}'.encode(encoding)) == {"x": "\u00e4"}

    def test_lone_surrogate(self) -> None:
        """JSON can hold half a character; it arrives, to be refused by its parameter."""
        assert read(kind=JSON, body=b'{"dial_first": "\\ud800"}') == {"dial_first": "\ud800"}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"dial_first=100",
            b'{"a": 1,}',
            b"{'a': 1}",
            b'{"a": 1} {"b": 2}',
            b'{"a": "\xff"}',
            b'{"a": "\n"}',
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": [-Infinity]}',
            b'{"a": 1e999}',
            b'{"a": [-1e999]}',
            pytest.param(b'{"a": ' + b"1" * 5000 + b"}", id="huge integer"),
            pytest.param(b'{"a": ' + b"1" * 60_000 + b"}", id="huger integer"),
            pytest.param(b"[" * 60_000, id="bomb of lists"),
            pytest.param(b'{"a":' * 10_000, id="bomb of objects"),
            pytest.param(b"\xfe\xff[", id="half of UTF-16"),
        ],
    )
    def test_no_json(self, body: bytes) -> None:
        """Broken, or with numbers that JSON does not have or that no answer could show."""
        assert faults(kind=JSON, body=body) == [NO_JSON]

    @pytest.mark.parametrize(
        "body", [b"[]", b'"x"', b"1", b"null", b"true", b'[["a", 1]]', b"[{}]"]
    )
    def test_no_object(self, body: bytes) -> None:
        """JSON without names has no parameters."""
        assert faults(kind=JSON, body=body) == [NO_OBJECT]

    @pytest.mark.parametrize("depth", [*range(30, 35), *range(50, 3000, 50)])
    def test_nested(self, depth: int) -> None:
        """What is nested more deeply than anybody means is refused, and breaks nothing."""
        for begin, end in ((b"[", b"]"), (b'{"a":', b"}")):
            body = b'{"x": ' + begin * depth + b"1" + end * depth + b"}"
            parameters = read_parameters(b"", JSON, body)
            if depth > 32:
                assert [fault.message for fault in parameters.faults] == [NO_JSON]
            else:
                assert json.loads(body) == parameters.values

    def test_no_form(self) -> None:
        """Bytes that are no text are a fault of the body."""
        assert faults(kind=FORM, body=b"a=\xff") == [NO_FORM.format("body")]

    def test_oversized(self) -> None:
        """A body that was cut off is not read at all; what is in the query string is."""
        parameters = read_parameters(b"a=1", JSON, b'{"b": 2}', oversized=True)
        assert parameters.values == {"a": "1"}
        assert [fault.message for fault in parameters.faults] == [
            "The body is longer than 65536 bytes."
        ]


class TestTwice:
    """One parameter in two places."""

    @pytest.mark.parametrize(
        ("query", "kind", "body"),
        [
            (b"a=1&a=1", "", b""),
            (b"a=1", FORM, b"a=1"),
            (b"a=1", JSON, b'{"a": "1"}'),
            (b"", JSON, b'{"a": "1", "a": "1"}'),
        ],
    )
    def test_the_same(self, query: bytes, kind: str, body: bytes) -> None:
        """Said twice is said once."""
        assert read(query, kind, body) == {"a": "1"}

    @pytest.mark.parametrize(
        ("query", "kind", "body"),
        [
            (b"a=1&a=2", "", b""),
            (b"a=1", FORM, b"a=2"),
            (b"a=1", JSON, b'{"a": "2"}'),
            (b"", JSON, b'{"a": "1", "a": 2}'),
        ],
    )
    def test_different(self, query: bytes, kind: str, body: bytes) -> None:
        """Nobody guesses which was meant."""
        assert faults(query, kind, body) == ["'a' is given twice."]

    def test_several_faults(self) -> None:
        """All are told, in the order of reading."""
        assert faults(b"a=1&a=2", JSON, b'{"a": 3, "b": 1, "b": 2}') == [
            "'a' is given twice.",
            "'a' is given twice.",
            "'b' is given twice.",
        ]
        assert faults(b"\xff", JSON, b"[") == [NO_FORM.format("query string"), NO_JSON]

    def test_a_long_name(self) -> None:
        """The message does not become as long as the name."""
        (message,) = faults(b"x" * 1000 + b"=1&" + b"x" * 1000 + b"=2")
        assert len(message) < 100


SCRAPS = st.sampled_from(
    [
        b"--a",
        b"--a--",
        b"\r\n\r\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"&",
        b"=",
        b"%",
        b"%00",
        b"%ff",
        b"NaN",
        b"1e999",
    ]
)
BYTES = st.binary(max_size=200) | st.lists(SCRAPS | st.binary(max_size=3)).map(b"".join)
KINDS = (
    st.sampled_from(
        [JSON, FORM, "multipart/form-data; boundary=a", "", "json", "text/plain; charset=\ud800"]
    )
    | st.text()
)


@settings(deadline=None)
@given(query=BYTES, kind=KINDS, body=BYTES, oversized=st.booleans())
@example(query=b"", kind=JSON, body=b"[" * 60_000, oversized=False)
@example(query=b"", kind=JSON, body=b'{"a":' + b"9" * 65_000, oversized=False)
@example(query=b"&" * 60_000, kind=FORM, body=b"&" * 60_000, oversized=False)
@example(query=b"%00=%00", kind=JSON, body=b'{"":"\\u0000","":"\\ud800"}', oversized=False)
def test_any_bytes(query: bytes, kind: str, body: bytes, oversized: bool) -> None:
    """Whatever is sent: names that are text, values that JSON can show, and faults in words."""
    parameters = read_parameters(query, kind, body, oversized=oversized)
    assert all(isinstance(name, str) for name in parameters.values)
    json.dumps(dict(parameters.values), allow_nan=False)
    for fault in parameters.faults:
        assert fault.code is ErrorCode.INVALID_PARAMETER
        assert fault.message.endswith(".")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(deadline=None)
@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5))
def test_what_was_encoded_is_decoded(values: dict[str, str]) -> None:
    """Query string, form and JSON bring every text as it was."""
    form = urlencode(values, quote_via=quote).encode()
    assert read(form) == values
    assert read(b"", FORM, form) == values
    assert read(b"", JSON, json.dumps(values).encode()) == values


class TestJsonWithoutItsContentType:
    """Many clients forget to say that a body is JSON, or say that it is a form."""

    BODY = b'{"dial_first": "100", "api_key": "c2c_secret"}'

    @pytest.mark.parametrize("kind", ["", FORM, "text/plain", "application/octet-stream"])
    @pytest.mark.parametrize("before", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
    def test_read_as_json(self, kind: str, before: bytes) -> None:
        """It begins like JSON, as no form of ours does."""
        parameters = read_parameters(b"", kind, before + self.BODY)
        assert parameters.faults == ()
        assert parameters.values == {"dial_first": "100", "api_key": "c2c_secret"}

    @pytest.mark.parametrize("kind", ["", FORM, "text/plain"])
    @pytest.mark.parametrize(
        ("body", "fault"), [(b'{"api_key": "c2c_secret"', NO_JSON), (b'["c2c_secret"]', NO_OBJECT)]
    )
    def test_never_a_parameter_s_name(self, kind: str, body: bytes, fault: str) -> None:
        """What is broken is refused, with words that do not repeat it."""
        parameters = read_parameters(b"", kind, body)
        assert parameters.values == {}
        assert [one.message for one in parameters.faults] == [fault]

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("", "it has no Content-Type"),
            ("application/xml; charset=utf-8", "it has the Content-Type 'application/xml'"),
            ("\u00e4" * 60, "it has the Content-Type '" + "\\xe4" * 40 + "'"),
        ],
    )
    def test_neither(self, kind: str, said: str) -> None:
        """The message names the Content-Type, for that is the reason why something is missing."""
        assert faults(kind=kind, body=b"<call><first>100</first></call>") == [
            (
                f"The body was read as a form, because {said}, but it is none; "
                "send JSON with the Content-Type application/json, or a form."
            )
        ]

    def test_secrets(self) -> None:
        """All keys that were presented are known, whichever of them counts."""
        parameters = read_parameters(b"api_key=one&api_key=two", JSON, b'{"api_key": "three"}')
        assert parameters.secrets == {"one", "two", "three"}
        assert "one" not in repr(parameters.secrets) or "secrets" not in repr(parameters)


MULTIPART = "multipart/form-data; boundary=xyz"
NO_PARTS = "The body is no multipart/form-data (RFC 7578) of at most 100 named texts in UTF-8."


def parts(*fields: tuple[str, str], end: str = "--xyz--\r\n") -> bytes:
    """A body of these fields: what stands behind `name=`, and the text."""
    text = "".join(
        f"--xyz\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n"
        for name, value in fields
    )
    return (text + end).encode()


class TestMultipart:
    """A body in parts, as browsers send a form with files, and some libraries any form."""

    def test_fields(self) -> None:
        """Names and texts; a plus is a plus here."""
        body = parts(('"dial_first"', "100"), ("dial_second", "+49 30"), ('"x"', "\u00e4\r\n"))
        assert read(kind=MULTIPART, body=body) == {
            "dial_first": "100",
            "dial_second": "+49 30",
            "x": "\u00e4\r\n",
        }

    def test_ways_to_write_it(self) -> None:
        """With a preamble and an epilogue, quotes, blanks, and headers of each part."""
        body = (
            b"not shown\r\n--a b\t \r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"content-disposition: FORM-DATA; Name=timeout\r\nContent-Transfer-Encoding: 8BIT\r\n"
            b"\r\n30\r\n--a b-- \r\nnot shown"
        )
        assert read(kind='Multipart/Form-Data; Boundary="a b"', body=body) == {"timeout": "30"}

    def test_nothing_in_a_field(self) -> None:
        """An empty text is one."""
        assert read(kind=MULTIPART, body=parts(("timeout", ""))) == {"timeout": ""}

    def test_twice(self) -> None:
        """As of any form."""
        body = parts(("timeout", "1"), ("timeout", "2"))
        assert faults(kind=MULTIPART, body=body) == ["'timeout' is given twice."]

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("multipart/form-data", parts(("a", "1"))),
            ("multipart/form-data; boundary=", parts(("a", "1"))),
            ("multipart/form-data; boundary=" + "x" * 71, parts(("a", "1"))),
            ("multipart/form-data; boundary=\u00e4", parts(("a", "1"))),
            ("multipart/form-data; boundary=other", parts(("a", "1"))),
            (MULTIPART, parts(("a", "1"), end="")),
            (MULTIPART, parts()),
            (MULTIPART, parts(("a; filename=x.txt", "1"))),
            (MULTIPART, parts(("a", "1")).replace(b"form-data", b"attachment")),
            (MULTIPART, parts(("a", "1")).replace(b"name=", b"title=")),
            (MULTIPART, parts(("a", "1")).replace(b"\r\n\r\n1", b"\r\n1")),
            (MULTIPART, parts(("a", "1")).replace(b"--xyz\r\n", b"--xyzzy\r\n")),
            (MULTIPART, parts(("a", "1")).replace(b"\r\n", b"\n")),
            (MULTIPART, parts(("a", "1")).replace(b"1", b"\xff")),
            (MULTIPART, parts(("a", "1")).replace(b"name=a", b"name=\xff")),
            (MULTIPART, parts(("a\r\nContent-Transfer-Encoding: base64", "MQ=="))),
            (MULTIPART, parts(*[("a", "1")] * 101)),
            (MULTIPART, b'{"a": "1"}'),
        ],
    )
    def test_broken(self, kind: str, body: bytes) -> None:
        """Refused in words, whatever is wrong with it; nothing of it counts."""
        parameters = read_parameters(b"b=2", kind, body)
        assert [one.message for one in parameters.faults] == [NO_PARTS]
        assert parameters.values == {"b": "2"}


class TestTheSame:
    """One parameter in two places that says the same, as each of them writes it."""

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            ("confirm=true", '{"confirm": true}'),
            ("confirm=1", '{"confirm": true}'),
            ("confirm=false", '{"confirm": false}'),
            ("confirm=0", '{"confirm": false}'),
            ("timeout=30", '{"timeout": 30}'),
            ("expires=1.5", '{"expires": 1.5}'),
            ("timeout=", '{"timeout": 30}'),
            ("timeout=30", '{"timeout": null}'),
            ("timeout=30", '{"timeout": ""}'),
            ("timeout=30&timeout=", "{}"),
        ],
    )
    def test_no_fault(self, query: str, body: str) -> None:
        """One that is empty says nothing, so the other counts."""
        [value] = read(query.encode(), JSON, body.encode()).values()
        assert value not in {None, ""}

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            ("a=true", '{"a": false}'),
            ("a=0", '{"a": true}'),
            ("a=yes", '{"a": true}'),
            ("a=True", '{"a": true}'),
            ("a=01", '{"a": 1}'),
            ("", '{"a": 1, "a": true}'),
        ],
    )
    def test_a_fault(self, query: str, body: str) -> None:
        """Nobody guesses which was meant."""
        assert faults(query.encode(), JSON, body.encode()) == ["'a' is given twice."]


def test_a_leading_plus_is_a_plus() -> None:
    """Unescaped in a query or a form it would be a blank, and another number would be dialled."""
    assert read(b"dial_first=+49+30&dial_second=1+2") == {
        "dial_first": "+49 30",
        "dial_second": "1 2",
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"tel:+49301234567", "tel:+49301234567"),
        (b"TEL:+49", "TEL:+49"),
        (b"(+49)30+1234567", "(+49)30 1234567"),
        (b"tel:(+49)30", "tel:(+49)30"),
        (b"%20+49", " +49"),
        (b"tel%3A+030", "tel: 030"),
        (b"%28+030%29+12", "( 030) 12"),
        (b"tel:030+12", "tel:030 12"),
        (b"hotel:+49", "hotel: 49"),
        (b"tel:///+49891234567", "tel:///+49891234567"),
        (b"callto://+49", "callto://+49"),
        (b"%20tel:%20+49", " tel: +49"),
        (b"%C2%A0+49", "\u00a0+49"),
        (b"%E2%80%AA+49%E2%80%AC", "\u202a+49\u202c"),
        (b"(%E2%80%8E+49)", "(\u200e+49)"),
        (b"%E2%80%ACtel:///+*7", "\u202ctel:///+*7"),
        (b"%E2%80%8Ecallto:+49%E2%80%AC", "\u200ecallto:+49\u202c"),
        (b"t%E2%80%8Bel:/%E2%80%89/+49", "t\u200bel:/\u2009/+49"),
        (b"%E2%80%93+49", "\u2013+49"),
        (b"%EF%BC%91+49", "\uff11 49"),
        (b"-+49", "-+49"),
        (b"%EF%BC%8B49", "\uff0b49"),
        (b"+%2B49", " +49"),
        (b"++%2B49", "  +49"),
        (b"tel%3A%2F%2F%2F%2B49", "tel:///+49"),
        (b"tel%3A%2F%2F%2F+49", "tel:/// 49"),
    ],
)
def test_a_plus_behind_what_people_write_before_it(text: bytes, number: str) -> None:
    """It is a plus there, too; but what comes from a form, with all else escaped, is a blank."""
    assert read(b"dial_second=" + text) == {"dial_second": number}
    assert read(kind=FORM, body=b"dial_second=" + text) == {"dial_second": number}


def test_the_same_in_query_and_json() -> None:
    """A number is the same in a query string and as a JSON number."""
    assert read(b"timeout=30", kind="application/json", body=b'{"timeout": 30}') == {"timeout": 30}


PROXIES = Proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7, 10.1.1.1", "192.0.2.7"),
        ("2001:db8::1", " 2001:DB9::0007 ", "2001:db9::7"),
        # Whoever is no trusted proxy may say what he likes.
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7, x y, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "fe80::1%from 192.0.2.66", "127.0.0.1"),
        ("-", "192.0.2.7", "-"),
    ],
)
def test_client(peer: str, forwarded_for: str, client: str) -> None:
    """The rightmost address that no trusted proxy has."""
    assert PROXIES.client(peer, forwarded_for) == client


def test_no_proxies() -> None:
    """Then the header is nothing but a claim."""
    assert Proxies([]).client("127.0.0.1", "192.0.2.7") == "127.0.0.1"


def test_an_endless_list() -> None:
    """Only the nearest entries are looked at."""
    assert PROXIES.client("127.0.0.1", "192.0.2.7," + ",".join(["10.0.0.1"] * 50)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "forwarded_for", "client"),
    [
        (["unix"], "192.0.2.7", "192.0.2.7"),
        (["unix"], "192.0.2.66, 192.0.2.7", "192.0.2.7"),  # the other one anybody may have written
        (["unix", "192.0.2.7"], "192.0.2.66, 192.0.2.7", "192.0.2.66"),
        (["unix"], "unix", "unix"),
        (["unix"], "", "unix"),
        (["127.0.0.1"], "192.0.2.7", "unix"),
        ([], "192.0.2.7", "unix"),
    ],
)
def test_a_proxy_at_a_unix_socket(trusted: list[str], forwarded_for: str, client: str) -> None:
    """It has no address, and is trusted by the name of its kind."""
    assert Proxies(trusted).client("unix", forwarded_for) == client
