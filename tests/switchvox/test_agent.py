"""A whole agent before the double, over HTTP and TLS: a request comes in, and its end is told."""

# twisted.trial has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import treq
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from c2c_agent.check import switchvox
from c2c_agent.config.pbx import SwitchvoxConfig, TlsConfig
from c2c_agent.config.sections import Config, HttpConfig, StoreConfig
from c2c_agent.policy.keys import Key, key_digest
from c2c_agent.policy.pattern import parse_pattern
from c2c_agent.service.agent import AgentService
from tests.certificates import Authority
from tests.fake_switchvox import FakeServer, FakeSwitchvox, Story

SECRET = "c2c_" + "s" * 40
KEY = Key("crm", key_digest(SECRET), allow=(parse_pattern("_X."),))

BEARER = Headers({"Authorization": [f"Bearer {SECRET}"]})


class AgentTest(TestCase):
    timeout = 20

    def setUp(self) -> None:
        at: Any = reactor
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        self.fake = FakeSwitchvox(at)
        self.fake.log_after = 0
        authority = Authority(folder)
        issued = authority.issue("switchvox", "127.0.0.1")
        context = DefaultOpenSSLContextFactory(str(issued.key), str(issued.certificate))
        self.site = FakeServer(self.fake).site
        port = self.port = at.listenSSL(0, self.site, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        password = folder / "switchvox.password"
        password.write_text(self.fake.password + "\n", encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.config = Config(
            server_id="pbx1.example.com",
            store=StoreConfig(path=str(folder / "state" / "c2c.sqlite3")),
            http=HttpConfig(listen=f"tcp:{self.url.rpartition(':')[2]}:interface=127.0.0.1"),
            asterisk=None,
            switchvox=SwitchvoxConfig(
                f"https://127.0.0.1:{port.getHost().port}",
                self.fake.username,
                str(password),
                tls=TlsConfig(ca_file=str(authority.file)),
            ),
            keys=[KEY],
        )
        (folder / "state").mkdir()

    async def ask(self, path: str, **parameters: str) -> Any:
        """A request with the key."""
        answer = await treq.get(
            f"{self.url}{path}",
            params=parameters,
            headers=BEARER,
            persistent=False,
        )
        return json.loads(await answer.content())

    async def until_quiet(self) -> None:
        """What was being asked when the agent was stopped is answered still."""
        at: Any = reactor
        # One that is still being made is among the writers.
        while any(isinstance(one, Connection) for one in (*at.getReaders(), *at.getWriters())):
            await deferLater(reactor, 0.02)

    async def start(self, config: Config) -> AgentService:
        """An agent whose PBX is there."""
        agent = AgentService(config, reactor)
        agent.startService()
        self.addCleanup(self.until_quiet)
        self.addCleanup(agent.stopService)
        while (await self.ask("/readyz"))["parts"]["switchvox"] != "ok":
            await deferLater(reactor, 0.05)
        return agent

    async def test_they_talk(self) -> None:
        self.fake.stories = {"101": Story(1.2), "5554578299": Story(1.2, talks=1.5)}
        await self.start(self.config)
        answer = await self.ask(
            "/c2c/v2", dial_first="101", dial_second="5554578299", pbx="switchvox"
        )
        self.assertEqual(answer["method"], "switchvox.call")
        self.assertEqual(answer["response"]["status"], "success")
        request_id = answer["response"]["request_id"]
        status = (await self.ask(f"/c2c/v2/status/{request_id}", wait="20"))["c2c_status"]
        call = status["call"]
        self.assertEqual((call["state"], call["outcome"]), ("ended", "connected"))
        self.assertEqual(call["dial_second"]["source"], "reported")
        self.assertEqual(status["pbx_request"]["pbx_data"]["parameters"]["dial_first"], "101")
        told = status["response"]["response_data"]["result"]["call_info"]
        self.assertEqual(told["dialed_second"], "95554578299")
        self.assertNotIn(self.fake.password, json.dumps(status))
        self.assertEqual(len(self.fake.placed), 1)

    async def test_the_pbx_says_no_in_its_own_words(self) -> None:
        self.fake.stories = {"101": Story(None, refuses=0.2)}
        await self.start(self.config)
        answer = await self.ask("/c2c/v2", dial_first="101", dial_second="102", pbx="switchvox")
        [error] = answer["response"]["errors"]
        self.assertEqual(
            error["error"]["message"], "Your call failed to connect (Originate failed)."
        )
        unknown = await self.ask(
            "/c2c/v2", dial_first="101", dial_second="102", dial_as="999", pbx="switchvox"
        )
        [error] = unknown["response"]["errors"]
        self.assertEqual(error["error"]["code"], "unknown_dial_as")

    async def test_cancelled_while_the_first_phone_rings(self) -> None:
        self.fake.stories = {"101": Story(None)}
        await self.start(self.config)
        request_id = "2c4f781a-4825-4d09-a573-2d8689e5682b"
        asked = self.ask(
            "/c2c/v2",
            dial_first="101",
            dial_second="102",
            pbx="switchvox",
            request_id=request_id,
        )
        answered = ensureDeferred(asked)
        while not self.fake.placed:
            await deferLater(reactor, 0.05)
        cancelled = await treq.post(
            f"{self.url}/c2c/v2/cancel/{request_id}",
            headers=BEARER,
            persistent=False,
        )
        await cancelled.content()
        await answered
        status = await self.ask(f"/c2c/v2/status/{request_id}", wait="10")
        self.assertEqual(status["c2c_status"]["call"]["outcome"], "cancelled")

    async def test_its_certificate_has_changed(self) -> None:
        await self.start(self.config)
        number = self.port.getHost().port
        await self.port.stopListening()
        another = TemporaryDirectory()
        self.addCleanup(another.cleanup)
        stranger = Authority(Path(another.name)).issue("switchvox", "127.0.0.1")
        context = DefaultOpenSSLContextFactory(str(stranger.key), str(stranger.certificate))
        at: Any = reactor
        self.port = at.listenSSL(number, self.site, context, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        asked = len(self.fake.asked)
        answer = await self.ask("/c2c/v2", dial_first="101", dial_second="102", pbx="switchvox")
        [error] = answer["response"]["errors"]
        self.assertEqual(error["error"]["code"], "pbx_unavailable")
        self.assertEqual((self.fake.written, len(self.fake.asked)), ([], asked))

    async def test_the_check_is_content_without_any_call(self) -> None:
        assert self.config.switchvox is not None
        found = [one async for one in switchvox.findings(self.config.switchvox, reactor)]
        self.assertEqual([one.failed for one in found], [False] * 3, found)
        bare = evolve(self.config.switchvox, tls=TlsConfig())
        [login] = [one async for one in switchvox.findings(bare, reactor)]
        self.assertIn("certificate", login.message)
        self.assertIn("ca_file", login.advice)
        self.assertEqual(self.fake.placed, [])
