"""The broker and the receivers: reached or not, and told nothing."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.trial.unittest import TestCase

from c2c_agent.check import outside, way_round
from c2c_agent.check.finding import Finding
from c2c_agent.check.outside import server_of
from c2c_agent.config.pbx import RelayConfig
from c2c_agent.config.sections import AmqpConfig, HttpConfig, WebhookConfig
from c2c_agent.errors import ConfigError
from c2c_agent.net.endpoints import ServerCertificate
from c2c_agent.net.listening import listening
from tests.certificates import Authority
from tests.fakes import CRM
from tests.unit.check.pbx_under_check import CheckTest

# Its type is that of a module.
reactor: Any = global_reactor

URL = "https://crm.example.com/hook?token=hush"


class Outside(CheckTest):
    """What `check` says of them."""

    def with_a_broker(self, **changes: Any) -> None:
        """Configure one whose password is in a file."""
        file = self.directory / "password"
        file.write_text("x")
        file.chmod(0o640)
        amqp = AmqpConfig(host="mq.example.com", password_file=str(file), **changes)
        self.config = evolve(self.config, amqp=amqp)

    def with_a_webhook(self, url: str = URL) -> None:
        """Configure one."""
        file = self.directory / "whsec"
        file.write_text("whsec_" + "A" * 32)
        file.chmod(0o640)
        self.config = evolve(self.config, webhooks=[WebhookConfig("crm", url, str(file))])

    def found(self, name: str) -> list[Finding]:
        """What is found of one thing; the way round is gone all the same."""
        findings = self.check()
        assert findings[-1].name == "test call"
        return [finding for finding in findings if finding.name == name]

    def test_broker(self) -> None:
        """It lets the agent in."""
        self.with_a_broker()
        assert self.found("broker") == [Finding("broker", "mq.example.com:5671 lets the agent in")]

    def test_a_broker_that_does_not(self) -> None:
        """Its own words, and what may be wrong; calls are checked nevertheless."""
        self.with_a_broker()
        self.broker = "ACCESS_REFUSED - Login was refused"
        [found] = self.found("broker")
        assert found.failed
        assert found.message == "mq.example.com:5671: ACCESS_REFUSED - Login was refused"
        assert "amqp.username" in found.advice

    def test_a_silent_broker(self) -> None:
        """It is waited for, but not for ever."""
        self.with_a_broker()
        self.broker = None
        findings = self.check(seconds=10)
        assert [one.message for one in findings if one.name == "broker"] == [
            "mq.example.com:5671: no answer"
        ]

    def test_files_of_the_broker(self) -> None:
        """A setting whose file cannot be used."""
        self.with_a_broker()
        self.broker = ConfigError("amqp.ca_file: /nonexistent: No such file")
        [found] = self.found("broker")
        assert (found.failed, found.message) == (True, "amqp.ca_file: /nonexistent: No such file")

    def test_a_broker_without_tls(self) -> None:
        """A warning, unless nobody else can listen."""
        self.with_a_broker(tls=False)
        [found] = self.found("amqp.tls")
        assert found.warning
        assert self.config.amqp is not None
        self.config = evolve(self.config, amqp=evolve(self.config.amqp, host="127.0.0.1"))
        assert self.found("amqp.tls") == []

    def test_webhook(self) -> None:
        """Its server can be reached; what is in its path is shown to nobody."""
        self.with_a_webhook()
        [found] = self.found("webhook crm")
        assert not found.advice
        assert found.message.startswith("the server of https://crm.example.com can be reached")

    def test_a_webhook_that_cannot_be_reached(self) -> None:
        """Why, and how to try it with an event."""
        self.with_a_webhook()
        self.receivers[URL] = "DNSLookupError: no such name"
        [found] = self.found("webhook crm")
        assert found.message == "https://crm.example.com: DNSLookupError: no such name"
        assert "c2c-agent webhook test crm" in found.advice
        assert found.failed

    def test_a_webhook_in_the_clear(self) -> None:
        """A warning, unless it is on this host."""
        self.with_a_webhook("http://crm.example.com/")
        found = self.found("webhook crm")
        assert [finding.warning for finding in found] == [False, True]
        self.with_a_webhook("http://127.0.0.1:8000/")
        assert [finding.warning for finding in self.found("webhook crm")] == [False]

    def test_http_in_the_clear(self) -> None:
        """A warning where others than this host come."""
        for listen, warned in (
            ("tcp:8470", True),
            ("tcp:8470:interface=192.0.2.1", True),
            ("tcp:8470:interface=127.0.0.1", False),
            ("unix:/run/c2c-agent/http", False),
        ):
            self.config = evolve(self.config, http=HttpConfig(listen=listen))
            assert [finding.warning for finding in self.found("http.listen")] == [True] * warned

    def test_a_key_of_a_relay_without_an_agent(self) -> None:
        """Its calls could be given to nobody."""
        self.with_a_broker()
        keys = [CRM, evolve(CRM, name="pbx1", sha256="1" * 64, agent="pbx1")]
        self.config = evolve(self.config, relay=RelayConfig(), asterisk=None, keys=keys)
        found = {one.name: one.failed for one in self.check() if one.name.startswith("key ")}
        assert found == {"key crm": True, "key pbx1": False}


class Advice(CheckTest):
    """What to do, by what AMI says."""

    def advised(self, reason: str) -> str:
        """The advice for a login that came to nothing."""

        class Refused:
            last_error = reason

        assert self.config.asterisk is not None
        link: Any = Refused()
        return way_round._login_advice(link, self.config.asterisk.ami)

    def test_beside_the_running_agent(self) -> None:
        """An Asterisk that lets nobody in twice."""
        advice = self.advised("login refused: Login Already In Use")
        assert "allowmultiplelogin" in advice
        assert "secret" not in advice

    def test_a_certificate_of_nobody_known(self) -> None:
        """Who vouches for it has to be named."""
        words = "[('SSL routines', '', 'certificate verify failed')]"
        assert "asterisk.ami.ca_file" in self.advised(words)
        assert "secret" not in self.advised(words)

    def test_another_secret(self) -> None:
        """As ever."""
        assert "Compare the secret" in self.advised("login refused: Authentication failed")


class Hears(Factory):
    """A server that notes what it is told."""

    def __init__(self) -> None:
        self.told = b""

    def buildProtocol(self, _address: object) -> Protocol:
        """Take a client in."""
        conversation = Protocol()
        conversation.dataReceived = self.hear  # type: ignore[method-assign]
        return conversation

    def hear(self, data: bytes) -> None:
        """Nothing should come."""
        self.told += data


class ServerOf(TestCase):
    """A real server on a loopback port."""

    timeout = 30

    def setUp(self) -> None:
        """It hears nothing, whatever comes of it."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.authority = Authority(Path(directory.name))
        self.factory = Hears()

    def tearDown(self) -> None:
        """Nothing was sent but TLS."""
        assert self.factory.told == b""

    def listen(self, *, tls: bool) -> int:
        """On a port."""
        if tls:
            issued = self.authority.issue("crm", "127.0.0.1")
            files = f"privateKey={issued.key}:certKey={issued.certificate}"
            certificate = ServerCertificate(listening(f"ssl:1:{files}"))
            port = reactor.listenSSL(0, self.factory, certificate, interface="127.0.0.1")
        else:
            port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def test_reached(self) -> None:
        """In the clear."""
        assert await server_of(f"http://127.0.0.1:{self.listen(tls=False)}/x", reactor) is None

    async def test_tls(self) -> None:
        """By a certificate of an authority that is known."""
        number = self.listen(tls=True)
        known = trustRootFromCertificates([Certificate.loadPEM(self.authority.file.read_bytes())])
        self.patch(
            outside, "optionsForClientTLS", lambda host: optionsForClientTLS(host, trustRoot=known)
        )
        assert await server_of(f"https://127.0.0.1:{number}/x", reactor) is None

    async def test_an_unknown_authority(self) -> None:
        """It is said."""
        number = self.listen(tls=True)
        reason = await server_of(f"https://127.0.0.1:{number}/x", reactor)
        assert reason is not None
        assert "certificate verify failed" in reason

    async def test_nobody(self) -> None:
        """It is said, too."""
        port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        reason = await server_of(f"https://127.0.0.1:{number}/x", reactor)
        assert reason is not None
        assert "refused" in reason
