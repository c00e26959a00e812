"""How a back end is asked: logins, who we are, and what is known where no answer comes."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.errors import ConfigError
from c2c_agent.net.fresh_request import HttpAnswer, NoAnswerError, NotConnectedError
from c2c_agent.pbx.other.answer import Answer
from c2c_agent.pbx.other.client import Client, UnansweredError, UnsentError
from c2c_agent.pbx.other.program import Program
from tests.unit.pbx.other.back_end import BackEnd, client_of, json_answer, program

CALL = {"dial_first": "100", "dial_second": "200"}
OK = HttpAnswer(200)
KEY = {"secrets": {"key": {"file": "/key"}}}
LOGIN: dict[str, Any] = {
    **KEY,
    "login": {
        "lifetime": 60,
        "again_when": {"/errcode": 10004},
        "steps": [
            {"path": "/challenge", "save": {"challenge": "/c"}},
            {
                "path": "/login",
                "compute": {
                    "digest": {"md5": "{login.challenge}{secret.key}"},
                    "strong": {"sha256": "{secret.key}"},
                    "plain": {"base64": "{secret.key}"},
                },
                "json": {"md5": "{login.digest}", "sha": "{login.strong}", "b": "{login.plain}"},
                "success": {"/ok": 1},
                "save": {"token": "/token"},
            },
        ],
    },
    "auth": {"kind": "bearer", "token": "{login.token}"},
    "headers": {"X-Token": "{login.token}"},
    "check": {"path": "/ping", "success": {"text": "pong"}},
}
CHALLENGE = 'Digest realm="pbx", qop="auth", nonce="%s"'


class ClientTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.back_end = BackEnd()
        self.back_end.react("POST /call", OK)

    def client(self, what: Program, **secrets: str) -> Client:
        return client_of(what, self.back_end, self.clock, **secrets)

    def ask(self, client: Client, what: Program, *, once: bool = True) -> Deferred[Answer]:
        return Deferred.fromCoroutine(
            client.ask(what.place.request, CALL, seconds=9, message_id="msg", once=once)
        )

    def asked(self, client: Client, what: Program, *, once: bool = True) -> Answer:
        answer: Answer = self.successResultOf(self.ask(client, what, once=once))
        return answer

    def failed(self, asking: Deferred[Any], kind: type[Exception], words: str) -> None:
        failure = self.failureResultOf(asking, kind)
        assert words in str(failure.value), str(failure.value)

    def check(self, client: Client) -> Deferred[None]:
        return Deferred.fromCoroutine(client.check())

    def headers(self, number: int = -1) -> dict[str, str]:
        return dict(self.back_end.asked[number].headers)


class TestAuth(ClientTestCase):
    def test_none(self) -> None:
        """Headers as configured, a request's own before those of all."""
        what = program(headers={"X-A": "all", "X-B": "all"}, place={"headers": {"X-B": "own"}})
        assert self.asked(self.client(what), what) == Answer(200)
        assert self.headers() == {
            "X-A": "all",
            "X-B": "own",
            "Content-Type": "application/json",
        }
        assert self.back_end.asked[0].seconds == 9

    def test_basic(self) -> None:
        """Not where a request says no_auth."""
        auth = {"kind": "basic", "username": "me", "password": "{secret.key}"}
        what = program(auth=auth, **KEY)
        self.asked(self.client(what, key="hush"), what)
        expected = base64.b64encode(b"me:hush").decode()
        assert self.headers()["Authorization"] == f"Basic {expected}"
        what = program(auth=auth, place={"no_auth": True}, **KEY)
        self.asked(self.client(what, key="hush"), what)
        assert "Authorization" not in self.headers()

    def test_signature(self) -> None:
        """By the specification; the request's id is the message's, another has a new one."""
        secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
        auth = {"kind": "signature", "secret": "{secret.key}"}
        what = program(auth=auth, check={"path": "/ping"}, **KEY)
        client = self.client(what, key=secret)
        self.clock.advance(0)
        self.asked(client, what)
        headers = self.headers()
        assert headers["webhook-id"] == "msg"
        assert headers["webhook-timestamp"] == "1700000000"
        signed = f"msg.1700000000.{self.back_end.asked[0].body}".encode()
        digest = base64.b64encode(hmac.digest(b"k" * 24, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{digest}"
        self.back_end.react("GET /ping", OK)
        assert self.successResultOf(self.check(client)) is None
        assert self.headers()["webhook-id"] == "1"

    def test_a_secret_that_cannot_sign(self) -> None:
        """Found before anything is sent."""
        what = program(auth={"kind": "signature", "secret": "{secret.key}"}, **KEY)
        with self.assertRaises(ConfigError):
            self.client(what, key="short")

    def digest(self) -> tuple[Program, Client]:
        auth = {"kind": "digest", "username": "me", "password": "{secret.key}"}
        what = program(auth=auth, check={"path": "/ping"}, **KEY)
        return what, self.client(what, key="hush")

    def test_digest(self) -> None:
        """The challenge is got by the check; the order goes out once, with it."""
        what, client = self.digest()
        asks = HttpAnswer(401, challenges=(CHALLENGE % "a",))
        self.back_end.react("GET /ping", asks, OK)
        assert self.asked(client, what).status == 200
        assert self.back_end.targets() == ["GET /ping", "GET /ping", "POST /call"]
        assert "Authorization" not in self.headers(0)
        assert "nc=00000001" in self.headers(1)["Authorization"]
        assert 'uri="/call"' in self.headers(2)["Authorization"]
        assert "nc=00000002" in self.headers(2)["Authorization"]
        self.asked(client, what)
        assert len(self.back_end.asked) == 4  # the challenge is fresh
        self.clock.advance(11)
        self.back_end.react("GET /ping", asks, OK)
        self.asked(client, what)
        assert self.back_end.targets()[4:] == ["GET /ping", "GET /ping", "POST /call"]

    def test_an_order_is_not_sent_again_for_a_challenge(self) -> None:
        """It is refused; anything else is sent again."""
        what, client = self.digest()
        asks = HttpAnswer(401, challenges=(CHALLENGE % "b",))
        self.back_end.react("GET /ping", asks, OK)
        self.back_end.react("POST /call", asks, OK)
        assert self.asked(client, what).status == 401
        assert self.back_end.targets().count("POST /call") == 1
        self.back_end.react("POST /call", asks, OK)
        assert self.asked(client, what, once=False).status == 200

    def test_a_challenge_that_nobody_understands(self) -> None:
        """Or none, or no answer: the order does not go out."""
        what, client = self.digest()
        self.back_end.react("GET /ping", HttpAnswer(401, challenges=("Negotiate",)))
        self.failed(self.ask(client, what), UnsentError, "negotiate")
        self.back_end.react("GET /ping", NoAnswerError("cut"))
        self.failed(self.ask(client, what), UnsentError, "cut")
        assert "POST /call" not in self.back_end.targets()


class TestLogin(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.what = program(**LOGIN)
        self.back_end.react("POST /challenge", json_answer('{"c": "7"}'))
        self.back_end.react(
            "POST /login",
            json_answer('{"ok": 1, "token": "t1"}'),
            json_answer('{"ok": 1, "token": "t2"}'),
        )
        self.logged_in = self.client(self.what, key="hush")

    def logins(self) -> int:
        return self.back_end.targets().count("POST /login")

    def test_steps(self) -> None:
        """Each with what those before have given; one login serves all."""
        self.asked(self.logged_in, self.what)
        self.asked(self.logged_in, self.what)
        assert self.back_end.targets() == [
            *("POST /challenge", "POST /login", "POST /call", "POST /call")
        ]
        body = self.back_end.asked[1].body
        for made in (
            hashlib.md5(b"7hush", usedforsecurity=False).hexdigest(),
            hashlib.sha256(b"hush").hexdigest(),
            base64.b64encode(b"hush").decode(),
        ):
            assert made in body
        assert self.headers()["Authorization"] == "Bearer t1"
        assert self.headers()["X-Token"] == "t1"
        assert {"Authorization", "X-Token"}.isdisjoint(self.headers(1))

    def test_it_lapses(self) -> None:
        """After its lifetime a new one is made."""
        self.asked(self.logged_in, self.what)
        self.clock.advance(60)
        self.asked(self.logged_in, self.what)
        assert self.headers()["Authorization"] == "Bearer t2"

    def test_again(self) -> None:
        """The PBX says that it did not carry the order out: then once more, and not again."""
        lapsed = json_answer('{"errcode": "10004"}')
        self.back_end.react("POST /call", lapsed)
        assert self.asked(self.logged_in, self.what).document == {"errcode": "10004"}
        assert self.back_end.targets() == ["POST /challenge", "POST /login", "POST /call"] * 2
        assert self.headers()["Authorization"] == "Bearer t2"

    def test_one_at_a_time(self) -> None:
        """Calls that come together wait for one login; so do those that find it lapsed."""
        login: Deferred[HttpAnswer] = Deferred()
        self.back_end.react("POST /login", login, json_answer('{"ok": 1, "token": "t2"}'))
        asking = [self.ask(self.logged_in, self.what) for _ in range(3)]
        assert self.logins() == 1
        login.callback(json_answer('{"ok": 1, "token": "t1"}'))
        for one in asking:
            self.successResultOf(one)
        assert self.logins() == 1
        held: list[Deferred[HttpAnswer]] = [Deferred() for _ in range(3)]
        self.back_end.react("POST /call", *held, OK)
        asking = [self.ask(self.logged_in, self.what) for _ in range(3)]
        for order in held:
            order.callback(json_answer('{"errcode": "10004"}'))
        for answer in asking:
            assert self.successResultOf(answer).status == 200
        assert self.logins() == 2

    def test_it_fails(self) -> None:
        """Nothing else is sent; the reason has no secret in it."""
        for reaction, words in (
            (json_answer('{"ok": 0, "message": "wrong hush"}'), "refused: wrong ***"),
            (json_answer('{"ok": 1}'), "has no token"),
            (NoAnswerError("cut"), "the login failed: cut"),
            (NotConnectedError("no route"), "no route"),
        ):
            self.back_end.react("POST /login", reaction)
            self.failed(self.ask(self.logged_in, self.what), UnsentError, words)
        assert "POST /call" not in self.back_end.targets()

    def test_a_token_that_no_header_may_have(self) -> None:
        """Does not become one."""
        self.back_end.react("POST /login", json_answer('{"ok": 1, "token": "a\\r\\nX: y"}'))
        self.failed(self.ask(self.logged_in, self.what), UnsentError, "no header may have")

    def test_check(self) -> None:
        """After the login; its own success counts."""
        self.back_end.react("GET /ping", HttpAnswer(200, b"pong"), HttpAnswer(200, b"hush"))
        assert self.successResultOf(self.check(self.logged_in)) is None
        self.failed(self.check(self.logged_in), UnsentError, "the check was refused: HTTP 200")

    def test_secrets(self) -> None:
        """Those of the configuration and of every login."""
        self.asked(self.logged_in, self.what)
        assert {"hush", "t1", "7"} <= set(self.logged_in.secrets)
        assert self.logged_in.redacted("hush t1") == "*** ***"


class TestFaults(ClientTestCase):
    def test_not_connected(self) -> None:
        """It has not left."""
        what = program()
        self.back_end.react("POST /call", NotConnectedError("no route"))
        self.failed(self.ask(self.client(what), what), UnsentError, "no route")

    def test_no_answer(self) -> None:
        """Nobody knows."""
        what = program()
        self.back_end.react("POST /call", NoAnswerError("cut"))
        self.failed(self.ask(self.client(what), what), UnansweredError, "cut")

    def test_cannot_be_filled_in(self) -> None:
        """A value is missing: it has not left."""
        what = program(place={"path": "/{dial_as}"})
        self.failed(self.ask(self.client(what), what), UnsentError, "{dial_as} is not known yet")

    def test_nothing_to_check(self) -> None:
        """Is well."""
        assert self.successResultOf(self.check(self.client(program()))) is None
        assert self.back_end.asked == []
