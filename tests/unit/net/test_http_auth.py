"""Challenges of HTTP servers, and what is answered to them; requests is the oracle."""

from __future__ import annotations

import re
from typing import Any
from unittest import TestCase

from requests.auth import HTTPDigestAuth

from c2c_agent.net.http_auth import (
    Basic,
    Credentials,
    Digest,
    NoSchemeError,
    Scheme,
    authorization,
    choose,
)

NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c0"
DIGEST = f'Digest realm="The \\"PBX\\"", qop="%s", nonce="{NONCE}", algorithm="MD5", stale="false"'
WHO = Credentials("c2c-agent", 'pass "word" é')
FIELD = re.compile(r'(\w+)="?((?:[^",\\]|\\.)*)"?')


def answered(scheme: Scheme, count: int = 1, cnonce: str = "0a4f113b") -> dict[str, str]:
    """The fields of our answer to a challenge, of a POST to /json."""
    header = authorization(scheme, WHO, method="POST", uri="/json", count=count, cnonce=cnonce)
    assert header.startswith("Digest ")
    return dict(FIELD.findall(header))


class ChooseTest(TestCase):
    def digest(self, *headers: str) -> Digest:
        """The digest that is chosen."""
        chosen = choose(headers)
        assert isinstance(chosen, Digest)
        return chosen

    def test_reads_every_part_of_a_digest_challenge(self) -> None:
        chosen = self.digest(DIGEST % "auth,auth-int" + ', opaque="5ccc", stale=TRUE')
        self.assertEqual(chosen, Digest('The "PBX"', NONCE, "MD5", "5ccc", qop=True, stale=False))

    def test_takes_an_empty_qop_for_none(self) -> None:
        self.assertFalse(self.digest(DIGEST % "").qop)
        self.assertFalse(self.digest(f'Digest realm="x", nonce="{NONCE}"').qop)

    def test_sees_that_only_the_nonce_is_too_old(self) -> None:
        self.assertTrue(self.digest(f'digest realm="x", nonce="{NONCE}", stale=true').stale)

    def test_digest_goes_before_basic_in_whatever_order_they_come(self) -> None:
        both = ['Basic realm="a, b"', DIGEST % ""]
        self.assertIsInstance(choose(both), Digest)
        self.assertIsInstance(choose([", ".join(both)]), Digest)
        self.assertIsInstance(choose([", ".join(reversed(both))]), Digest)

    def test_takes_only_the_scheme_that_is_wanted(self) -> None:
        both = ['Basic realm="a"', DIGEST % ""]
        self.assertEqual(choose(both, "basic"), Basic())
        self.assertIsInstance(choose(both, "digest"), Digest)
        with self.assertRaisesRegex(NoSchemeError, "asks for basic"):
            choose(['Basic realm="a"'], "digest")

    def test_refuses_what_it_cannot_answer(self) -> None:
        for challenge in (
            DIGEST % "auth-int",
            f'Digest realm="x", nonce="{NONCE}", algorithm="MD5-sess"',
            'Digest realm="x", qop="auth"',
            "Negotiate",
            "Bearer realm=x",
            "",
            '= , "',
        ):
            with self.subTest(challenge), self.assertRaises(NoSchemeError):
                choose([challenge])
        with self.assertRaisesRegex(NoSchemeError, "asks for nothing"):
            choose([])

    def test_a_stronger_digest_is_taken_where_it_comes_first(self) -> None:
        chosen = choose(
            [f'Digest realm="x", nonce="{NONCE}", qop=auth, algorithm=SHA-256', DIGEST % ""]
        )
        assert isinstance(chosen, Digest)
        self.assertEqual(chosen.algorithm, "SHA-256")

    def test_no_header_however_long_takes_long(self) -> None:
        with self.assertRaises(NoSchemeError):
            choose(["Digest " + 'a="' * 500_000])


class AuthorizationTest(TestCase):
    def test_basic_is_name_and_password_in_utf_8(self) -> None:
        value = authorization(
            Basic(),
            Credentials("Aladdin", "open sésame"),
            method="POST",
            uri="/",
            count=1,
            cnonce="",
        )
        self.assertEqual(value, "Basic QWxhZGRpbjpvcGVuIHPDqXNhbWU=")

    def test_answers_as_requests_does(self) -> None:
        for qop in ("", "auth", "auth,auth-int"):
            for algorithm in ("MD5", "SHA-256"):
                with self.subTest(qop=qop, algorithm=algorithm):
                    self.compare(qop, algorithm)

    def compare(self, qop: str, algorithm: str) -> None:
        """Give both the same challenge."""
        foreign: Any = HTTPDigestAuth(WHO.username, WHO.password)
        foreign.init_per_thread_state()
        challenge = {"realm": "pbx", "nonce": NONCE, "qop": qop, "algorithm": algorithm}
        foreign._thread_local.chal = challenge
        built = foreign.build_digest_header("POST", "https://pbx.example.com/json")
        assert built is not None
        theirs = dict(FIELD.findall(built))
        header = "Digest " + ", ".join(f'{name}="{value}"' for name, value in challenge.items())
        ours = answered(choose([header]), cnonce=theirs.get("cnonce", ""))
        self.assertEqual(ours["response"], theirs["response"])
        self.assertEqual(set(ours), set(theirs))

    def test_the_example_of_rfc_2617(self) -> None:
        value = authorization(
            Digest("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", qop=True),
            Credentials("Mufasa", "Circle Of Life"),
            method="GET",
            uri="/dir/index.html",
            count=1,
            cnonce="0a4f113b",
        )
        self.assertIn('response="6629fae49393a05397450978507c4ef1"', value)

    def test_gives_the_opaque_text_back(self) -> None:
        self.assertEqual(answered(Digest("x", NONCE, opaque="5ccc"))["opaque"], "5ccc")
        self.assertNotIn("opaque", answered(Digest("x", NONCE)))

    def test_each_use_of_a_nonce_has_its_number(self) -> None:
        scheme = Digest("x", NONCE, qop=True)
        self.assertEqual(answered(scheme, 1)["nc"], "00000001")
        self.assertEqual(answered(scheme, 26)["nc"], "0000001a")
        self.assertNotEqual(answered(scheme, 1)["response"], answered(scheme, 2)["response"])

    def test_quotes_what_has_quotes_in_it(self) -> None:
        value = authorization(
            Digest('a "b" \\c', NONCE), WHO, method="POST", uri="/json", count=1, cnonce=""
        )
        self.assertIn('realm="a \\"b\\" \\\\c"', value)

    def test_no_password_is_shown_with_the_credentials(self) -> None:
        self.assertNotIn("word", repr(WHO))
