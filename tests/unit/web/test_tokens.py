"""Tokens over HTTP: made, used, ended; and tickets for streams."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.config.sections import HttpConfig
from c2c_agent.errors import StoreError
from c2c_agent.policy.token import LONGEST
from c2c_agent.report.live import Watch
from c2c_agent.web.answers import Reply
from c2c_agent.web.ask import PREFIX
from c2c_agent.web.browser import Browser
from tests.fakes import CALL_PARAMETERS, CRM, EPOCH, OPERATOR_SECRET, SHOP, SHOP_SECRET, uuid
from tests.unit.web.asking import BASE, BUSY, ONE, TWO, UNKNOWN_KEY, ApiTest

PAGE = "https://crm.example.com"
NAMED = evolve(CRM, origins=(PAGE, BASE))
TOKENS = f"{PREFIX}/tokens"
TICKETS = f"{PREFIX}/events/ticket"


class TokenTest(ApiTest):
    """The CRM makes tokens for its people. No token is told to anybody but who has asked for it."""

    def setUp(self) -> None:
        super().setUp()
        self.ring.change([NAMED, *[key for key in self.ring if key.name != "crm"]])

    def token(self, **wish: Any) -> str:
        """A token for the phone 100."""
        made: str = self.made(**wish)["token"]
        return made

    def made(self, **wish: Any) -> dict[str, Any]:
        """What is told of one."""
        return self.post(TOKENS, json_body={"dial_first": "100", **wish})

    def refusal(self, path: str = PREFIX, method: str = "POST", **how: Any) -> tuple[str, str]:
        """Why something is not done."""
        [fault] = self.faults(self.told(self.asks(method, path, **how)))
        return fault

    def places(self, token: str, request_id: str = ONE, **more: Any) -> list[str]:
        """Ask for a call with a token: what is wrong, or nothing."""
        browser = more.pop("browser", Browser())
        asked = self.asks(
            "POST", PREFIX, key=token, json_body={"request_id": request_id, **more}, browser=browser
        )
        if not asked.called:
            self.driver.tells(request_id, BUSY)
        return [code for code, _ in self.faults(self.told(asked))]


class Issued(TokenTest):
    """How a token is made."""

    def test_what_is_told(self) -> None:
        """The token, its id, and when it ends; nothing of it is stored."""
        made = self.made(expires_in=60)
        assert made.keys() == {"token", "id", "expires"}
        assert made["expires"] == EPOCH + 60
        assert self.made()["expires"] == EPOCH + 3600
        assert self.made(expires_in=str(LONGEST))["expires"] == EPOCH + LONGEST
        assert self.store.saves == []

    def test_what_is_wrong(self) -> None:
        """Everything at once, by name."""
        wish: dict[str, object] = {
            "dial_first": "1&2",
            "second": ["_"],
            "uses": 0,
            "expires_in": LONGEST + 1,
        }
        body = self.post(TOKENS, json_body=wish)
        assert [code for code, _ in self.faults(body)] == ["invalid_parameter"] * 4
        wishes: tuple[dict[str, object], ...] = (
            {"second": []},
            {"second": [1]},
            {"second": {"a": 1}},
            {"second": ["1"] * 33},
            {"second": "_" + "X" * 80},
            {"uses": "x"},
            {"uses": True},
            {"expires_in": 0.5},
        )
        for wish in wishes:
            code, message = self.refusal(TOKENS, json_body={"dial_first": "100", **wish})
            assert code == "invalid_parameter"
            assert message.startswith(next(iter(wish)))
        assert self.refusal(TOKENS) == ("invalid_parameter", "dial_first is missing.")

    def test_what_the_key_may_not(self) -> None:
        """A token is a part of it."""
        for wish in ({"dial_first": "900"}, {"dial_as": "200"}, {"origin": "https://other.com"}):
            code, _ = self.refusal(TOKENS, json_body={"dial_first": "100", **wish})
            assert code == "not_allowed"

    def test_the_default(self) -> None:
        """The first leg may be the key's default; in a form, patterns have commas between them."""
        self.ring.change([evolve(NAMED, default_first="101")])
        token = self.post(TOKENS, second="_1XX, 200")["token"]
        assert self.places(token, dial_second="200") == []
        job = self.desk.call(ONE).job
        assert job is not None
        assert job.dial_first == "101"

    def test_by_whom(self) -> None:
        """By a key that is known, and by no token."""
        for key in (None, UNKNOWN_KEY):
            code, _ = self.refusal(TOKENS, key=key)
            assert code == "unauthorized"
        for path in (TOKENS, f"{TOKENS}/other"):
            method = "POST" if path == TOKENS else "DELETE"
            assert self.refusal(path, method, key=self.token())[0] == "not_allowed"

    def test_without_a_secret(self) -> None:
        """Where relays share a store, they need one in common."""
        self.signer.change(())
        for path in (TOKENS, TICKETS):
            code, message = self.refusal(path, dial_first="100")
            assert code == "not_allowed"
            assert "http.token_secret_file" in message


class Calling(TokenTest):
    """What a token places."""

    def test_its_own(self) -> None:
        """From its phone, which it need not name, as whom it says."""
        token = self.token(dial_as="150", second=["_20X"])
        assert self.places(token, dial_second="200") == []
        call = self.desk.call(ONE)
        assert call.job is not None
        assert (call.key, call.job.dial_first, call.job.dial_as) == ("crm", "100", "150")
        assert token not in repr(call)

    def test_others(self) -> None:
        """Another phone, another number, another identity; and what its key may not."""
        token = self.token(second=["_XXX"])
        others = (
            {"dial_first": "101", "dial_second": "200"},
            {"dial_second": "299"},
            {"dial_second": "900"},
            {"dial_second": "200", "dial_as": "101"},
        )
        for number, other in enumerate(others, 10):
            assert set(self.places(token, uuid(number), **other)) == {"not_allowed"}, other
        assert self.places(self.token(second=["200"]), TWO, dial_second="201") == ["not_allowed"]
        assert self.driver.originated == []

    def test_its_uses(self) -> None:
        """So many calls; a refusal and a repetition are none."""
        token = self.token(uses=2)
        assert self.places(token, uuid(1), dial_second="900") == ["not_allowed"]
        assert self.places(token, uuid(2), dial_second="200") == []
        assert self.places(token, uuid(2), dial_second="200") == []
        assert self.places(token, uuid(3), dial_second="200") == []
        assert self.places(token, uuid(4), dial_second="200") == ["rate_limited"]
        assert self.driver.originated == [uuid(2), uuid(3)]

    def test_without_a_store(self) -> None:
        """What cannot be counted is not placed."""
        token = self.token(uses=2)
        self.desk.tokens.broken = True
        asked = self.asks("POST", PREFIX, key=token, dial_second="200")
        self.failureResultOf(asked, StoreError)
        assert self.driver.originated == []

    def test_expired(self) -> None:
        """It says so."""
        token = self.token(expires_in=60)
        self.clock.advance(60)
        assert self.refusal(key=token, **CALL_PARAMETERS) == (
            "unauthorized",
            "This token has expired.",
        )

    def test_forged(self) -> None:
        """It is a key that is not known, in the log as well."""
        token = self.token()
        for text in (token[:-3], "e30.e30.e30", token.replace(".", "..")):
            code, message = self.refusal(key=text, **CALL_PARAMETERS)
            assert (code, message) == ("unauthorized", "This api_key is not known.")

    def test_the_end_of_its_key(self) -> None:
        """It is one of its tokens'."""
        token = self.token()
        self.ring.change([SHOP])
        assert self.places(token, dial_second="200") == ["unauthorized"]

    def test_in_a_url(self) -> None:
        """There it is refused, whatever it opens."""
        token = self.token()
        for how in ({"query": {**CALL_PARAMETERS, "api_key": token}}, {"api_key": token}):
            code, message = self.refusal(key=None, **how)
            assert code == "unauthorized"
            assert message.startswith("A token belongs in the header Authorization")

    def test_its_origin(self) -> None:
        """Pages of that alone may use it, and no program."""
        token = self.token(origin=PAGE)
        for origin in (BASE, "https://other.com", "null", ""):
            asked = self.places(token, dial_second="200", browser=Browser(origin))
            assert asked == ["not_allowed"], origin
        assert self.places(token, dial_second="200", browser=Browser(PAGE)) == []

    def test_a_page_of_our_own(self) -> None:
        """It names no origin where it only reads, but the browser says that it is one."""
        token = self.token(origin=BASE)
        own = Browser(same_origin=True)
        assert self.get(f"{PREFIX}/calls", key=token, browser=own) == {"calls": []}
        for browser in (Browser(), Browser(PAGE, same_origin=True)):
            path = f"{PREFIX}/calls"
            assert self.refusal(path, "GET", key=token, browser=browser)[0] == "not_allowed"
        assert (
            self.refusal(f"{PREFIX}/calls", "GET", key=self.token(origin=PAGE), browser=own)[0]
            == "not_allowed"
        )


class Revoked(TokenTest):
    """A token that is ended."""

    def test_by_its_key(self) -> None:
        """It opens nothing from then on."""
        made = self.made(uses=5)
        path = f"{TOKENS}/{made['id']}"
        assert self.told(self.asks("DELETE", path, key=SHOP_SECRET)) == {"revoked": made["id"]}
        assert self.places(made["token"], dial_second="200") == []
        assert self.told(self.asks("DELETE", path)) == {"revoked": made["id"]}
        assert self.refusal(key=made["token"], **CALL_PARAMETERS) == (
            "unauthorized",
            "This token was revoked.",
        )
        assert self.refusal(f"{PREFIX}/cancel/{ONE}", key=made["token"])[0] == "unauthorized"

    def test_by_itself(self) -> None:
        """As at the end of a session."""
        made = self.made()
        path = f"{TOKENS}/{made['id']}"
        assert self.told(self.asks("DELETE", path, key=made["token"])) == {"revoked": made["id"]}
        assert self.places(made["token"], dial_second="200") == ["unauthorized"]

    def test_by_nobody(self) -> None:
        """Without a key nothing is ended."""
        assert self.refusal(f"{TOKENS}/x", "DELETE", key=None)[0] == "unauthorized"


class Seeing(TokenTest):
    """What a token sees, and hangs up: the calls of its phone, of its key."""

    config = HttpConfig(status_requires_key=True)

    def test_calls(self) -> None:
        """Its own, and no others."""
        token = self.token()
        self.placed(ONE)
        asked = self.asks(
            "GET", PREFIX, {"dial_first": "101", "dial_second": "200", "request_id": TWO}
        )
        self.driver.tells(TWO, BUSY)
        self.told(asked)
        self.placed(uuid(3), SHOP_SECRET)
        listed = self.get(f"{PREFIX}/calls", key=token)["calls"]
        assert [one["request_id"] for one in listed] == [ONE]
        assert self.get(f"{PREFIX}/status/{ONE}", key=token)["c2c_status"] is not None
        for other in (TWO, uuid(3)):
            assert self.get(f"{PREFIX}/status/{other}", key=token)["c2c_status"] is None
            assert self.refusal(f"{PREFIX}/cancel/{other}", key=token)[0] == "not_found"
        assert self.post(f"{PREFIX}/cancel/{ONE}", key=token)["response"]["status"] == "success"
        assert self.driver.hung_up == [ONE]

    def test_no_operation(self) -> None:
        """Not even a token of the operator's key stops calls."""
        token = self.post(TOKENS, key=OPERATOR_SECRET, dial_first="100")["token"]
        code, _ = self.refusal(f"{PREFIX}/stop-calls", key=token)
        assert code == "unauthorized"
        assert not self.desk.stopped


class Streams(TokenTest):
    """Events by token, and by ticket."""

    def follows(self, query: dict[str, str] | str = "", **how: Any) -> Watch:
        """A stream."""
        reply = self.reply(self.asks("GET", f"{PREFIX}/events", query, **how))
        assert isinstance(reply.body, Watch), reply.body
        self.addCleanup(reply.body.close)
        return reply.body

    def reply(self, asked: Deferred[Reply]) -> Reply:
        """What is replied at once."""
        return self.successResultOf(asked)

    def ticket(self, **how: Any) -> str:
        """A ticket."""
        made: str = self.post(TICKETS, **how)["ticket"]
        return made

    def test_of_its_phone(self) -> None:
        """The others' are not heard."""
        watch = self.follows(key=self.token())
        self.asks("GET", PREFIX, {"dial_first": "101", "dial_second": "200", "request_id": TWO})
        assert watch.take() == b""
        self.placed(ONE)
        assert b"call.accepted" in watch.take()

    def test_until_it_expires(self) -> None:
        """No longer; a key has no end."""
        reply = self.reply(self.asks("GET", f"{PREFIX}/events", key=self.token(expires_in=60)))
        assert reply.lasts == 60.0
        assert isinstance(reply.body, Watch)
        reply.body.close()
        reply = self.reply(self.asks("GET", f"{PREFIX}/events"))
        assert reply.lasts is None
        assert isinstance(reply.body, Watch)
        reply.body.close()

    def test_the_end_of_the_key(self) -> None:
        """It is the end of what follows with its tokens."""
        watch = self.follows(key=self.token())
        self.desk.live.forbid(["crm"])
        assert watch.ended

    def test_a_token_that_is_revoked(self) -> None:
        """It ends what is open with it, by itself or by a ticket, and nothing else."""
        made = self.post(TOKENS, dial_first="100")
        token, other = made["token"], self.token()
        ticket = self.ticket(key=token)
        ended = [self.follows(key=token), self.follows({"ticket": ticket}, key=None)]
        left = [self.follows(key=other), self.follows()]
        late = self.ticket(key=token)
        self.told(self.asks("DELETE", f"{TOKENS}/{made['id']}"))
        assert [watch.ended for watch in (*ended, *left)] == [True, True, False, False]
        assert self.refusal(f"{PREFIX}/events", "GET", query={"ticket": late}, key=None) == (
            "unauthorized",
            "The token of this ticket was revoked.",
        )

    def test_a_token_with_which_one_call_is_followed(self) -> None:
        """It ends that, too."""
        made = self.post(TOKENS, dial_first="100")
        self.placed(ONE)
        path = f"{PREFIX}/events/{ONE}"
        watch = self.reply(self.asks("GET", path, key=made["token"])).body
        assert isinstance(watch, Watch)
        assert not watch.ended
        self.told(self.asks("DELETE", f"{TOKENS}/{made['id']}"))
        assert watch.ended

    def test_a_ticket_of_a_token(self) -> None:
        """What it opens ends with the token."""
        ticket = self.ticket(key=self.token(expires_in=60))
        self.clock.advance(10)
        reply = self.reply(self.asks("GET", f"{PREFIX}/events", {"ticket": ticket}, key=None))
        assert reply.lasts == 50.0
        assert isinstance(reply.body, Watch)
        reply.body.close()

    def test_a_ticket(self) -> None:
        """It opens one stream, once, for who has asked for it."""
        ticket = self.ticket(key=self.token())
        watch = self.follows({"ticket": ticket}, key=None)
        self.asks("GET", PREFIX, {"dial_first": "101", "dial_second": "200", "request_id": TWO})
        assert watch.take() == b""
        self.placed(ONE)
        assert b"call.accepted" in watch.take()
        assert self.refusal(f"{PREFIX}/events", "GET", query={"ticket": ticket}, key=None) == (
            "unauthorized",
            "This ticket was used before.",
        )

    def test_a_ticket_of_a_key(self) -> None:
        """It hears all calls of the key."""
        watch = self.follows({"ticket": self.ticket()}, key=None)
        self.placed(ONE)
        assert b"call.accepted" in watch.take()

    def test_a_ticket_that_is_none(self) -> None:
        """Too late, or no ticket at all; nor is it a key anywhere else."""
        ticket = self.ticket()
        assert self.refusal(key=ticket, **CALL_PARAMETERS)[0] == "unauthorized"
        assert self.refusal(TICKETS, key=None)[0] == "unauthorized"
        self.clock.advance(30)
        for text, why in ((ticket, "has expired."), ("x", "is not valid.")):
            refusal = self.refusal(f"{PREFIX}/events", "GET", query={"ticket": text})
            assert refusal == ("unauthorized", f"This ticket {why}")

    def test_the_page_of_a_ticket(self) -> None:
        """The one that has asked for it."""
        ticket = self.ticket(browser=Browser(PAGE))
        for origin in (BASE, ""):
            refusal = self.refusal(
                f"{PREFIX}/events", "GET", query={"ticket": ticket}, browser=Browser(origin)
            )
            assert refusal == ("not_allowed", "This page may not use this ticket.")
        self.follows({"ticket": ticket}, key=None, browser=Browser(PAGE))

    def test_of_one_request(self) -> None:
        """The id is enough; where it is not, a ticket is."""
        self.placed(ONE)
        path = f"{PREFIX}/events/{ONE}"
        for query in ({"ticket": self.ticket()}, {"ticket": "x"}):
            reply = self.reply(self.asks("GET", path, query, key=None))
            assert isinstance(reply.body, Watch)
            reply.body.close()
