"""The client against the double, in memory: how it logs in, and what it says went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, pairwise

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from c2c_agent.net.fresh_request import HttpAnswer
from c2c_agent.net.http_auth import Credentials
from c2c_agent.pbx.switchvox.client import (
    CredentialsRefusedError,
    ExtendClient,
    NoExtendApiError,
    UnansweredError,
    UnsentError,
    Wanted,
)
from c2c_agent.pbx.switchvox.extend_api import Answer, Failure, Result, current_calls
from tests.fake_switchvox import FakeSwitchvox, Scheme

PROOF = "switchvox.info.getList"
LIST = "switchvox.currentCalls.getList"


class AnswersAll:
    """Another server than a Switchvox: it answers everything alike."""

    def __init__(self, answer: HttpAnswer) -> None:
        self._answer = answer

    async def __call__(
        self, _method: str, _path: str, _headers: Mapping[str, str], _body: str, _seconds: float, /
    ) -> HttpAnswer:
        """Answer."""
        return self._answer


class ClientTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fake = FakeSwitchvox(self.clock)
        self.client = self.connect()

    def connect(self, wanted: Wanted = "auto", password: str | None = None) -> ExtendClient:
        """A client of the double."""
        words = count(1)
        return ExtendClient(
            self.fake.send,
            Credentials(self.fake.username, self.fake.password if password is None else password),
            proof=PROOF,
            wanted=wanted,
            seconds=self.clock.seconds,
            new_word=lambda: f"word{next(words)}",
        )

    def ask(self, method: str = LIST, **parameters: object) -> Deferred[Answer]:
        """Ask, on the way to an answer."""
        return Deferred.fromCoroutine(self.client.ask(method, parameters))

    def got(self, method: str = LIST, **parameters: object) -> Result:
        """The result of a question."""
        answer = self.successResultOf(self.ask(method, **parameters))
        assert isinstance(answer, Result)
        return answer

    def fails(self, kind: type[Exception], method: str = LIST, **parameters: object) -> str:
        """Why a question got no answer."""
        return str(self.failureResultOf(self.ask(method, **parameters), kind).value)


class LoginTest(ClientTestCase):
    def test_every_scheme_is_found_without_a_wrong_try(self) -> None:
        schemes: list[Scheme] = ["empty-qop", "no-qop", "qop-list", "basic"]
        for scheme in schemes:
            with self.subTest(scheme):
                self.setUp()
                self.fake.scheme = scheme
                self.fake.extensions = {}
                self.assertEqual(current_calls(self.got()), ())
                self.assertEqual(self.fake.wrong_credentials, 0)
                self.assertEqual(self.fake.challenges, 1)
                self.assertEqual(self.fake.asked, [PROOF, LIST])

    def test_the_first_to_carry_credentials_is_the_harmless_request(self) -> None:
        self.got()
        self.got()
        self.assertEqual(self.fake.asked, [PROOF, LIST, LIST])
        self.assertIsInstance(self.client.proven, Result)

    def test_many_at_once_log_in_once(self) -> None:
        self.fake.faults[PROOF] = ["late"]
        asked = [self.ask() for _ in range(3)]
        self.clock.advance(5)
        for answer in asked:
            self.assertIsInstance(self.successResultOf(answer), Result)
        self.assertEqual(self.fake.asked.count(PROOF), 1)

    def test_a_nonce_that_is_too_old_is_made_anew_and_the_request_sent_again(self) -> None:
        for scheme, uses in (("empty-qop", 1), ("qop-list", 3)):
            with self.subTest(scheme):
                self.setUp()
                self.fake.scheme, self.fake.nonce_uses = scheme, uses  # type: ignore[assignment]
                for _ in range(8):
                    self.got()
                self.assertEqual(self.fake.wrong_credentials, 0)
                self.assertEqual(self.fake.asked.count(LIST), 8)

    def test_a_pbx_that_was_upgraded_meanwhile_wants_basic(self) -> None:
        self.got()
        self.fake.scheme, self.fake.refused_with = "basic", 401
        self.got()
        self.fake.scheme = "empty-qop"
        self.got()
        self.assertEqual(self.fake.asked.count(LIST), 3)

    def test_the_scheme_can_be_given(self) -> None:
        self.fake.scheme = "basic"
        self.client = self.connect("basic")
        self.got()
        self.assertEqual(self.fake.challenges, 0)
        self.client = self.connect("digest")
        self.assertIn("asks for basic", self.fails(UnsentError))
        self.assertEqual(self.fake.wrong_credentials, 0)

    def test_what_cannot_be_answered_is_not_tried(self) -> None:
        self.fake.scheme = "auth-int"
        self.assertIn("asks for digest", self.fails(UnsentError))
        self.assertEqual(self.fake.wrong_credentials, 0)

    def test_a_login_that_may_not_do_the_harmless_thing_is_still_one(self) -> None:
        self.fake.permitted = False
        self.got()
        assert isinstance(self.client.proven, Failure)
        self.assertEqual(self.client.proven.codes, {"27168"})


class RefusedTest(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect(password="wrong")

    def test_two_refusals_in_a_row_and_nothing_is_sent_for_a_minute(self) -> None:
        for _ in range(2):
            self.assertIn("HTTP 403", self.fails(CredentialsRefusedError))
        self.assertEqual(self.fake.wrong_credentials, 2)
        for _ in range(5):
            self.clock.advance(11)
            self.assertIn("next attempt is in", self.fails(CredentialsRefusedError))
        self.assertEqual(self.fake.wrong_credentials, 2)
        self.assertIn("refuses", self.client.closed() or "")
        self.clock.advance(5)
        self.assertIsNone(self.client.closed())
        self.fails(CredentialsRefusedError)
        self.assertEqual(self.fake.wrong_credentials, 3)

    def test_the_pause_grows_to_a_quarter_of_an_hour(self) -> None:
        tried = []
        for second in range(6000):
            before = self.fake.wrong_credentials
            self.fails(CredentialsRefusedError)
            if self.fake.wrong_credentials > before:
                tried.append(second)
            self.clock.advance(1)
        pauses = [later - earlier for earlier, later in pairwise(tried)]
        self.assertEqual(pauses[:7], [1, 60, 120, 240, 480, 900, 900])

    def test_so_is_basic_which_gets_another_challenge(self) -> None:
        self.fake.scheme, self.fake.refused_with = "basic", 401
        self.assertIn("HTTP 401", self.fails(CredentialsRefusedError))
        self.assertEqual(self.fake.wrong_credentials, 1)

    def test_a_digest_that_is_answered_401_is_refused_too(self) -> None:
        self.fake.refused_with = 401
        self.fails(CredentialsRefusedError)
        self.assertEqual(self.fake.wrong_credentials, 1)

    def test_a_success_begins_anew(self) -> None:
        right, self.fake.password = self.fake.password, "wrong"
        self.got()
        self.fake.password = right
        self.fails(CredentialsRefusedError)
        self.fake.password = "wrong"
        self.got()
        self.fake.password = right
        self.fails(CredentialsRefusedError)
        self.assertIsNone(self.client.closed())


class FaultTest(ClientTestCase):
    def test_nothing_has_left_where_nobody_listens(self) -> None:
        self.fake.faults[""] = ["no-connection"]
        self.assertIn("nobody listens", self.fails(UnsentError))
        self.got()
        self.fake.faults[LIST] = ["no-connection"]
        self.fails(UnsentError)

    def test_while_it_logs_in_nothing_of_the_question_has_left(self) -> None:
        for fault in ("dropped", "never", "html-502", "html-200-placed", "huge-placed"):
            with self.subTest(fault):
                self.setUp()
                self.fake.faults[PROOF] = [fault]
                asked = self.ask()
                self.clock.advance(10)
                self.failureResultOf(asked, UnsentError)

    def test_afterwards_nobody_knows(self) -> None:
        for fault in (
            "dropped",
            "dropped-placed",
            "cut",
            "html-502",
            "html-200-placed",
            "empty-placed",
            "no-result-placed",
            "huge-placed",
            "never",
            "restart",
        ):
            with self.subTest(fault):
                self.setUp()
                self.got()
                self.fake.faults[LIST] = [fault]
                asked = self.ask()
                self.clock.advance(10)
                self.failureResultOf(asked, UnansweredError)
                self.got()  # and the next works

    def test_a_restart_forgets_the_nonces(self) -> None:
        self.got()
        self.fake.faults[LIST] = ["forgotten-nonce"]
        self.got()
        self.assertEqual(self.fake.wrong_credentials, 0)

    def test_another_server_knows_no_extend_api(self) -> None:
        self.client._request = AnswersAll(HttpAnswer(404, b"<html>"))
        self.assertIn("no Extend API", self.fails(NoExtendApiError))

    def test_a_server_that_asks_nobody_who_he_is_is_none(self) -> None:
        self.client._request = AnswersAll(HttpAnswer(200, b"{}"))
        self.assertIn("asks for no login", self.fails(UnsentError))

    def test_an_error_of_the_pbx_is_an_answer(self) -> None:
        answer = self.successResultOf(self.ask("switchvox.nothing"))
        assert isinstance(answer, Failure)
        self.assertEqual(answer.text, "Unknown method (switchvox.nothing).")
        self.fake.as_text = False
        answer = self.successResultOf(self.ask("switchvox.nothing"))
        assert isinstance(answer, Failure)
        self.assertEqual(answer.codes, {"99999"})
