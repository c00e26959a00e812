"""The section `other`: what it comes to, and every mistake by file and path."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from c2c_agent.call.evidence import Leg
from c2c_agent.errors import ConfigError
from c2c_agent.net.tls import Trust
from c2c_agent.pbx.other.answer import Answer
from c2c_agent.pbx.other.program import Auth, AuthKind, Program, Result, Timeouts
from c2c_agent.pbx.other.reading import Where, is_link_local, read
from c2c_agent.pbx.other.rules import LegEnd, Over, Progress

PLACE: dict[str, Any] = {
    "path": "/call",
    "json": {"from": "{dial_first}", "to": "{dial_second}"},
    "success": {"status": [200]},
}
FILES: dict[Where, str] = {("other",): "c2c-agent.yml", ("other", "place"): "conf.d/pbx.yml"}
GONE = [{"path": "/x", "rules": [{"when": {"status": 404}, "tell": "gone"}]}]


def section(**more: Any) -> dict[str, Any]:
    """The smallest section, and more."""
    return {"base_url": "https://pbx.example.com", "place": PLACE, **more}


def program(**more: Any) -> Program:
    """What the section comes to."""
    return read(section(**more), ("other",), FILES)


def place(**more: Any) -> dict[str, Any]:
    """An order, with more in it; what is None is left out."""
    return {name: value for name, value in {**PLACE, **more}.items() if value is not None}


class TestReading(TestCase):
    def test_the_smallest(self) -> None:
        """An address and an order; the rest has its defaults."""
        read_one = program()
        assert read_one.base_url == "https://pbx.example.com"
        assert read_one.auth == Auth()
        assert read_one.trust == Trust()
        assert read_one.timeouts == Timeouts(5, 10)
        assert (read_one.login, read_one.status, read_one.check) == (None, None, None)
        assert read_one.own_id
        assert read_one.max_pending == 20

    def test_an_answer_to_an_order(self) -> None:
        """Success, then failed, then refused; the rest may have run."""
        one = program(
            place=place(
                success={"text": "^.OK"},
                failed=[{"when": {"text": "USER_BUSY"}, "tell": "first BUSY"}],
                error_message=["/message", "-ERR (.*)"],
                call_id="/id",
                save={"channel": "/channel"},
                answers_when="first_answered",
            )
        ).place
        assert one.judge(Answer(200, b"+OK"), {}) == (Result.ACCEPTED, None)
        busy = LegEnd(Leg.FIRST, "BUSY")
        assert one.judge(Answer(200, b"-ERR USER_BUSY"), {}) == (Result.FAILED, busy)
        assert one.judge(Answer(404), {})[0] is Result.REFUSED
        for status in (408, 425, 429, 500, 503, 199):
            assert one.judge(Answer(status), {})[0] is Result.UNCLEAR, status
        assert one.error_message.of(Answer(200, b"-ERR NO")) == "NO"
        assert one.blocks
        assert list(one.save) == ["channel"]
        refused = program(place=place(refused={"status": "500-502"})).place
        assert refused.judge(Answer(501), {})[0] is Result.REFUSED
        assert refused.judge(Answer(404), {})[0] is Result.UNCLEAR

    def test_the_whole(self) -> None:
        """Every section."""
        one = program(
            base_url="http://127.0.0.1:8088/",
            tls={"ca_file": "/ca.pem", "server_name": "pbx", "sha256": None},
            auth={"kind": "bearer", "token": "{login.token}"},
            secrets={"key": {"file": "/etc/key"}},
            headers={"User-Agent": "c2c"},
            login={
                "lifetime": 60,
                "again_when": {"status": 401},
                "steps": [
                    {"path": "/a", "save": {"challenge": "/c"}},
                    {
                        "path": "/b",
                        "compute": {"token": {"md5": "{login.challenge}{secret.key}"}},
                        "form": {"t": "{login.token}"},
                        "success": {"/ok": True},
                        "no_auth": True,
                    },
                ],
            },
            dial_as={"104": "1110"},
            status={
                "every": 2,
                "requests": [
                    {
                        "path": "/calls/{call_id}",
                        "for_each": "/*/members/*",
                        "rules": [{"when": {"/n": ["{dial_first}", 1, 2.5]}, "save": {"c": "/c"}}],
                        "otherwise": [{"when": {"status": ["404"]}, "tell": "gone"}],
                        "absent": {"where": {"/n": "{dial_first}"}, "tell": "gone"},
                    }
                ],
                "while_placing": [
                    {
                        "path": "/is/{call_id}",
                        "rules": [{"when": {"text": "yes"}, "tell": "first_ringing"}],
                    }
                ],
            },
            cancel=[{"method": "DELETE", "path": "/calls/{saved.c}"}],
            cleanup=[{"path": "/clean", "json": {"id": "{call_id}", "n": 1}}],
            check={"path": "/ping"},
            timeouts={"connect": 2, "answer": 3},
            ring_timeout="cancel",
            max_pending=5,
        )
        assert one.base_url == "http://127.0.0.1:8088"
        assert one.trust == Trust("/ca.pem", "pbx")
        assert one.login is not None
        assert one.login.lifetime == 60
        assert one.login.again_when[0].hold(Answer(401), {})
        assert one.login.steps[1].request.no_auth
        assert one.login.steps[1].compute["token"][0] == "md5"
        assert one.dial_as == {"104": "1110"}
        assert one.status is not None
        assert one.status.every == 2
        look = one.status.requests[0].look
        assert look.absent is not None
        assert look.absent.tell is Over.GONE
        assert one.status.while_placing[0].look.rules[0].tell is Progress.FIRST_RINGING
        assert (one.cancel[0].method, one.cleanup[0].method) == ("DELETE", "POST")
        assert one.check is not None
        assert one.check.request.method == "GET"
        assert (one.timeouts, one.cancels_late, one.max_pending) == (Timeouts(2, 3), True, 5)

    def test_kinds_of_auth(self) -> None:
        """Each with its texts."""
        key = {"key": {"file": "/key"}}
        for auth in (
            {"kind": "none"},
            {"kind": "basic", "username": "me", "password": "{secret.key}"},
            {"kind": "signature", "secret": "{secret.key}"},
        ):
            assert program(auth=auth, secrets=key).auth.kind is AuthKind(auth["kind"])
        digest = {"kind": "digest", "username": "me", "password": "{secret.key}"}
        assert set(program(auth=digest, secrets=key, check={"path": "/x"}).auth.texts) == {
            "username",
            "password",
        }

    def test_a_secret_in_the_url(self) -> None:
        """Where that is said in so many words."""
        one = program(
            secrets={"key": {"file": "/key"}},
            secret_in_url=True,
            place=place(query={"key": "{secret.key}"}),
        )
        assert [name.name for name in one.place.request.in_url()] == ["secret.key"]


#: What is wrong, where that is told, and some words of it.
MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"base_url": "https://a:b@pbx"}, "base_url", "scheme, host and port alone"),
    ({"base_url": "https://pbx/{dial_first}"}, "base_url", "scheme, host and port alone"),
    ({"base_url": "https://{dial_first}"}, "base_url", "scheme, host and port alone"),
    ({"base_url": "https://pbx:0"}, "base_url", "port from 1 to 65535"),
    ({"base_url": "https://pbx:99999"}, "base_url", "port from 1 to 65535"),
    ({"base_url": "http://pbx"}, "base_url", "must begin with https://"),
    ({"base_url": "https://169.254.169.254"}, "base_url", "link-local"),
    ({"base_url": "https://[fe80::1]", "insecure_http": True}, "base_url", "link-local"),
    ({"base_url": 1}, "base_url", "in quotes"),
    ({"insecure_http": "yes"}, "insecure_http", "true or false"),
    ({"tls": {"sha256": "12"}}, "tls.sha256", "64 hexadecimal digits"),
    ({"tls": {"verify": False}}, "tls.verify", "is unknown"),
    ({"auth": "basic"}, "auth.kind", "must be one of none, basic"),
    ({"auth": {"kind": "ntlm"}}, "auth.kind", "must be one of none, basic"),
    ({"auth": {"kind": "basic", "username": "a"}}, "auth.password", "is missing"),
    ({"auth": {"kind": "bearer", "token": "hush"}}, "auth.token", "kept in a file"),
    ({"auth": {"kind": "bearer", "token": "{secret.x}"}}, "auth.token", "secrets has no 'x'"),
    ({"auth": {"kind": "bearer", "token": "{login.x}"}}, "auth.token", "saved nowhere"),
    (
        {
            "secrets": {"key": {"file": "/k"}},
            "auth": {"kind": "digest", "username": "a", "password": "{secret.key}"},
        },
        "auth",
        "needs check",
    ),
    ({"secrets": {"key": "hush"}}, "secrets.key", "must be a mapping"),
    ({"secrets": {"key": {"value": "hush"}}}, "secrets.key.value", "is unknown"),
    ({"secrets": {"a-b": {"file": "/k"}}}, "secrets.a-b", "letters, digits and _"),
    ({"headers": {"a b": "x"}}, "headers.a b", "name of a header"),
    ({"headers": {"Host": "evil"}}, "headers.Host", "sets itself"),
    ({"headers": {"X": "a\r\nY: b"}}, "headers.X", "printable ASCII"),
    ({"headers": {"Authorization": "Bearer abc"}}, "headers.Authorization", "kept in a file"),
    ({"headers": {"cookie": "a=b"}}, "headers.cookie", "kept in a file"),
    (
        {"place": {"path": "/", "success": {}, "headers": {"X-API-Key": "abc"}}},
        "place.headers.X-API-Key",
        "kept in a file",
    ),
    ({"headers": {"X": "{dial_first}"}}, "headers.X", "not known yet"),
    ({"login": {}}, "login.steps", "is missing"),
    ({"login": {"steps": []}}, "login.steps", "must not be empty"),
    ({"login": {"steps": 1}}, "login.steps", "must be a list"),
    ({"login": {"steps": [{"path": "/{dial_first}"}]}}, "login.steps[0].path", "not known yet"),
    (
        {"login": {"steps": [{"path": "/x", "compute": {"a": {"md5": "x", "sha256": "x"}}}]}},
        "login.steps[0].compute.a",
        "must be one of md5",
    ),
    (
        {"login": {"steps": [{"path": "/x"}], "lifetime": 0}},
        "login.lifetime",
        "from 1 to 86400 seconds",
    ),
    ({"dial_as": []}, "dial_as", "must be a mapping"),
    ({"dial_as": {104: "1110"}}, "dial_as.104", "must have its name in quotes"),
    ({"timeouts": {"answer": "10"}}, "timeouts.answer", "from 1 to 120"),
    ({"timeouts": {"answer": True}}, "timeouts.answer", "from 1 to 120"),
    ({"ring_timeout": "cancel"}, "ring_timeout", "needs status and cancel"),
    ({"ring_timeout": "ignore"}, "ring_timeout", "must be one of cancel"),
    ({"cleanup": [{"path": "/x"}]}, "cleanup", "needs status"),
    ({"max_pending": 0}, "max_pending", "from 1 to 1000"),
    ({"plaice": {}}, "plaice", "did you mean 'place'?"),
    ({"xyz": {}}, "xyz", "known are base_url"),
    ({"place": []}, "place", "must be a mapping"),
    ({"place": place(path=None)}, "place.path", "is missing"),
    ({"place": place(success=None)}, "place.success", "is missing"),
    ({"place": place(path="call")}, "place.path", "such as /api/call"),
    ({"place": place(path="//evil.example.com/")}, "place.path", "such as /api/call"),
    ({"place": place(path="/a?b={dial_first}")}, "place.path", "such as /api/call"),
    ({"place": place(path=7)}, "place.path", "blanks in it; write it in quotes"),
    ({"place": place(json={"to": "200"})}, "place", "{dial_first} or {dial_second}"),
    ({"place": place(json={"to": "{dial_secnod}"})}, "place.json.to", "knows no placeholder"),
    ({"place": place(json={"to": ["{call_id}"]})}, "place.json.to[0]", "not known yet"),
    ({"place": place(json={"a": {1, 2}})}, "place.json.a", "what JSON knows"),
    ({"place": place(form={"a": "b"})}, "place.form", "beside json"),
    ({"place": place(query={}, raw_query="x")}, "place.raw_query", "beside query"),
    ({"place": place(method="GET")}, "place.json", "with GET"),
    ({"place": place(method="TRACE")}, "place.method", "must be one of GET"),
    ({"place": place(no_auth=1)}, "place.no_auth", "true or false"),
    ({"place": place(success={})}, "place.success", "must have a condition"),
    ({"place": place(success=True)}, "place.success", "must be a mapping"),
    ({"place": place(success={"code": 1})}, "place.success.code", "is unknown"),
    ({"place": place(success={"status": 99})}, "place.success.status", "400-499"),
    ({"place": place(success={"status": True})}, "place.success.status", "400-499"),
    ({"place": place(success={"text": "("})}, "place.success.text", "no regular expression"),
    ({"place": place(success={"/a/*": 1})}, "place.success./a/*", "only in for_each"),
    ({"place": place(success={"/a": {}})}, "place.success./a", "a single value"),
    ({"place": place(success={"/a": "{call_id}"})}, "place.success./a", "not known yet"),
    (
        {"place": place(failed=[{"when": {"status": 1}, "tell": "gone"}])},
        "place.failed[0].tell",
        "how a leg ended",
    ),
    ({"place": place(failed=[{"when": {"status": 200}}])}, "place.failed[0]", "must have tell"),
    ({"place": place(error_message=["/~"])}, "place.error_message[0]", "RFC 6901"),
    ({"place": place(error_message=["["])}, "place.error_message[0]", "no regular expression"),
    ({"place": place(call_id="id")}, "place.call_id", "JSON pointer"),
    ({"place": place(save={"a b": "/a"})}, "place.save.a b", "letters, digits and _"),
    ({"place": place(save={"a": "a"})}, "place.save.a", "JSON pointer"),
    ({"place": place(save={f"a{n}": "/a" for n in range(11)})}, "other", "10 values at most"),
    ({"place": place(answers_when="soon")}, "place.answers_when", "must be one of accepted"),
    ({"status": {"requests": []}}, "status.requests", "must not be empty"),
    ({"status": {"requests": GONE, "every": 0.1}}, "status.every", "from 0.5 to 10"),
    ({"status": {"requests": [{"path": "/x"}]}}, "status.requests[0]", "must have rules"),
    (
        {"status": {"requests": [{**GONE[0], "absent": {"where": {"/a": 1}, "tell": "gone"}}]}},
        "status.requests[0].absent",
        "needs for_each",
    ),
    (
        {
            "status": {
                "requests": [{**GONE[0], "rules": [{"when": {"status": 1}, "tell": "ended"}]}]
            }
        },
        "status.requests[0].rules[0].tell",
        "must be one of first_ringing",
    ),
    (
        {"status": {"requests": [{**GONE[0], "rules": [{"when": {"status": 200}}]}]}},
        "status.requests[0].rules[0]",
        "must have tell, or save",
    ),
    (
        {
            "place": place(call_id="/id"),
            "status": {
                "requests": GONE,
                "while_placing": [{**GONE[0], "path": "/{call_id}"}],
            },
        },
        "status.while_placing[0].path",
        "not known yet",
    ),
    ({"cancel": [{"path": "/{saved.x}"}]}, "cancel[0].path", "is saved nowhere"),
    (
        {
            "secrets": {"k": {"file": "/k"}},
            "cancel": [{"path": "/x", "query": {"k": "{secret.k}"}}],
        },
        "cancel[0]",
        "secret_in_url",
    ),
    ({"cancel": {"path": "/x"}}, "cancel", "must be a list"),
]


class TestMistakes(TestCase):
    def test_each(self) -> None:
        """Named by its path, with what would be right; no value is shown that may be a secret."""
        for more, where, words in MISTAKES:
            with self.subTest(more=more), self.assertRaises(ConfigError) as caught:
                program(**more)
            lines = str(caught.exception).splitlines()
            named = where if where == "other" else f"other.{where}"
            assert any(f": {named}: " in line and words in line for line in lines), lines
            assert "hush" not in str(caught.exception)

    def test_by_file(self) -> None:
        """The nearest that is known."""
        with self.assertRaises(ConfigError) as caught:
            program(place=place(path=None, success={}), max_pending=0)
        assert sorted(str(caught.exception).splitlines()) == [
            "c2c-agent.yml: other.max_pending: must be from 1 to 1000 orders",
            "conf.d/pbx.yml: other.place.path: is missing",
            "conf.d/pbx.yml: other.place.success: must have a condition",
        ]
        with self.assertRaisesRegex(ConfigError, r"^configuration: other\.place: is missing$"):
            read({"base_url": "https://pbx"}, ("other",), {})

    def test_nothing_at_all(self) -> None:
        """Not even a mapping."""
        with self.assertRaisesRegex(ConfigError, r"^c2c-agent\.yml: other: must be a mapping$"):
            read("x", ("other",), FILES)

    def test_a_body_of_text(self) -> None:
        """As it is written, with what is filled in."""
        body = program(place=place(json=None, text="call {dial_first}")).place.request.body
        assert body is not None
        assert body.text is not None

    def test_too_deep(self) -> None:
        """A body that nobody means."""
        deep: Any = "{dial_first}"
        for _ in range(20):
            deep = [deep]
        with self.assertRaisesRegex(ConfigError, "is too deep"):
            program(place=place(json=deep))

    def test_too_many(self) -> None:
        """Rules that nobody can read."""
        with self.assertRaisesRegex(ConfigError, "a list of at most 100"):
            program(cancel=[{"path": "/x"}] * 101)

    def test_link_local(self) -> None:
        """In whatever spelling."""
        for host in ("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.0.1"):
            assert is_link_local(host), host
        for host in ("127.0.0.1", "10.0.0.1", "::1", "pbx.example.com", "::ffff:10.0.0.1"):
            assert not is_link_local(host), host
