"""One request over one connection: what it says of TLS, of timeouts, and of what has left."""

# twisted.trial has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import hashlib
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.trial.unittest import TestCase

from c2c_agent.errors import ConfigError
from c2c_agent.net.fresh_request import (
    FreshRequests,
    HttpAnswer,
    NoAnswerError,
    NotConnectedError,
)
from c2c_agent.net.tls import Trust
from c2c_agent.pbx.switchvox.login import LONGEST
from tests.certificates import Authority, Issued
from tests.fake_switchvox import HUGE, FakeServer, FakeSwitchvox, Fault

METHOD = "switchvox.nothing"
BODY = '{"request": {"method": "switchvox.nothing"}}'


def requests(host: str, port: int, trust: Trust | None) -> FreshRequests:
    """Who sends requests, as a Switchvox is sent them."""
    return FreshRequests(
        reactor, host=host, port=port, trust=trust, connect_seconds=10.0, longest=LONGEST
    )


class TransportTestCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.fake = FakeSwitchvox(reactor)
        self.server = FakeServer(self.fake)
        self.fake.scheme = "basic"
        self.password = self.fake.password
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.authority = Authority(self.directory)

    def listen(self, issued: Issued | None = None, method: int = SSL.TLS_METHOD) -> int:
        """Let the double listen; its port."""
        at: Any = reactor
        if issued is None:
            port = at.listenTCP(0, self.server.site, interface="127.0.0.1")
        else:
            context = DefaultOpenSSLContextFactory(str(issued.key), str(issued.certificate), method)
            port = at.listenSSL(0, self.server.site, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def post(
        self, port: int, trust: Trust | None = None, seconds: float = 5.0
    ) -> Deferred[HttpAnswer]:
        """Send a request, with credentials."""
        send = requests(host="127.0.0.1", port=port, trust=trust)
        pair = f"{self.fake.username}:{self.password}".encode()
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        return ensureDeferred(send("POST", "/json", headers, BODY, seconds))


class PlainTest(TransportTestCase):
    async def test_gets_status_body_and_challenges(self) -> None:
        got = await self.post(self.listen())
        self.assertEqual(got.status, 200)
        self.assertIn(b"Unknown method", got.body)
        self.password = "another"
        got = await self.post(self.listen())
        self.assertEqual(got.status, 403)

    async def test_a_challenge_is_handed_on(self) -> None:
        self.fake.scheme = "empty-qop"
        self.fake.refused_with = 401
        got = await self.post(self.listen())
        self.assertEqual(got.status, 401)
        [challenge] = got.challenges
        self.assertIn('qop=""', challenge)

    async def test_nothing_has_left_where_nobody_listens(self) -> None:
        at: Any = reactor
        port = at.listenTCP(0, self.server.site, interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        await self.assertFailure(self.post(number), NotConnectedError)

    async def test_nobody_knows_where_the_connection_is_lost(self) -> None:
        faults: list[Fault] = ["dropped", "dropped-placed", "cut", "blocked"]
        port = self.listen()
        for fault in faults:
            self.fake.faults[METHOD] = [fault]
            await self.assertFailure(self.post(port), NoAnswerError)

    async def test_an_answer_that_never_comes_has_its_time(self) -> None:
        self.fake.faults[METHOD] = ["never"]
        failed = self.assertFailure(self.post(self.listen(), seconds=0.3), NoAnswerError)
        self.assertIn("within 0.3 s", str(await failed))

    async def test_an_answer_that_drips_has_its_time_as_a_whole(self) -> None:
        self.server.drips = 0.05
        failed = self.assertFailure(self.post(self.listen(), seconds=0.4), NoAnswerError)
        self.assertIn("within 0.4 s", str(await failed))

    async def test_a_huge_answer_is_not_read_to_its_end(self) -> None:
        self.fake.faults[METHOD] = ["huge-placed"]
        failed = self.assertFailure(self.post(self.listen()), NoAnswerError)
        self.assertIn("longer than", str(await failed))
        self.assertGreater(HUGE, LONGEST)

    async def test_any_content_type_will_do(self) -> None:
        self.fake.content_type = "text/html; charset=utf-16"
        got = await self.post(self.listen())
        self.assertIn(b"Unknown method", got.body)


class TlsTest(TransportTestCase):
    def trust(self, **fields: str) -> Trust:
        """The authority of the tests, and more."""
        return Trust(**{"ca_file": str(self.authority.file), **fields})

    def fingerprint(self, issued: Issued) -> str:
        """As openssl shows it."""
        der = ssl.PEM_cert_to_DER_cert(issued.certificate.read_text())
        text = hashlib.sha256(der).hexdigest().upper()
        return ":".join(text[at : at + 2] for at in range(0, 64, 2))

    async def refused(self, port: int, trust: Trust) -> str:
        """Why there is no connection; and nothing has arrived."""
        error = await self.assertFailure(self.post(port, trust), NotConnectedError)
        self.assertEqual(self.fake.asked, [])
        self.assertEqual(self.fake.challenges, 0)
        return str(error)

    async def test_its_own_authority_is_trusted(self) -> None:
        port = self.listen(self.authority.issue("pbx", "127.0.0.1"))
        self.assertEqual((await self.post(port, self.trust())).status, 200)

    async def test_no_other_is(self) -> None:
        port = self.listen(self.authority.issue("pbx", "127.0.0.1"))
        elsewhere = self.directory / "elsewhere"
        elsewhere.mkdir()
        await self.refused(port, Trust(ca_file=str(Authority(elsewhere).file)))
        await self.refused(port, Trust())

    async def test_the_name_must_be_right_or_be_given(self) -> None:
        port = self.listen(self.authority.issue("pbx", "192.0.2.7"))
        await self.refused(port, self.trust())
        await self.refused(port, self.trust(server_name="192.0.2.8"))
        answered = await self.post(port, self.trust(server_name="192.0.2.7"))
        self.assertEqual(answered.status, 200)

    async def test_a_fingerprint_alone_names_the_one_certificate(self) -> None:
        issued = self.authority.issue("pbx", "192.0.2.7")
        port = self.listen(issued)
        pinned = Trust(sha256=self.fingerprint(issued))
        self.assertEqual((await self.post(port, pinned)).status, 200)
        named = Trust(sha256=self.fingerprint(issued), server_name="pbx.example.com")
        self.assertEqual((await self.post(port, named)).status, 200)

    async def test_a_certificate_that_was_changed_is_refused(self) -> None:
        old = self.authority.issue("pbx", "127.0.0.1")
        pin = self.fingerprint(old)
        port = self.listen(self.authority.issue("pbx", "127.0.0.1"))
        await self.refused(port, Trust(sha256=pin))
        self.assertIn("fingerprint", await self.refused(port, self.trust(sha256=pin)))

    async def test_old_versions_of_tls_are_not_spoken(self) -> None:
        port = self.listen(self.authority.issue("pbx", "127.0.0.1"), SSL.TLSv1_1_METHOD)
        await self.refused(port, self.trust())

    async def test_a_port_without_tls_is_not_spoken_to(self) -> None:
        await self.refused(self.listen(), self.trust())

    def test_a_file_that_holds_no_certificate_is_an_error_of_the_configuration(self) -> None:
        broken = self.directory / "broken.pem"
        for text, words in (
            ("", "a certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can be read"),
        ):
            broken.write_text(text)
            with self.assertRaisesRegex(ConfigError, words):
                requests(host="pbx", port=443, trust=Trust(ca_file=str(broken)))
        with self.assertRaisesRegex(ConfigError, "No such file"):
            requests(host="pbx", port=443, trust=Trust(ca_file="/nowhere.pem"))
