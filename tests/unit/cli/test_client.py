"""The command line's HTTP client: what it asks, what it makes of the answers, and of none."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from c2c_agent.call.events import FirstRinging, Gone, OriginateAccepted
from c2c_agent.call.evidence import CallEvidence, LegEvidence
from c2c_agent.cli import client as client_module
from c2c_agent.cli.client import (
    Client,
    ClientError,
    NobodyThere,
    Place,
    fastagi_of,
    local_place,
    operator_secret,
    place_of,
)
from c2c_agent.config.sections import Config, HttpConfig, StoreConfig
from c2c_agent.net.endpoints import ServerCertificate
from c2c_agent.net.listening import listening
from c2c_agent.policy.keys import KeyRing, key_digest, operator_key
from c2c_agent.policy.token import TokenSigner
from c2c_agent.report.delivery import Depth
from c2c_agent.report.metrics import Exposition
from c2c_agent.report.outbox import Standing
from c2c_agent.web.api import Api
from c2c_agent.web.server import ApiSite
from tests.certificates import Authority
from tests.fake_agent import FakeAgent, Scripted
from tests.fakes import CRM, OPERATOR_SECRET, Desk, uuid

# Its type is that of a module.
reactor: Any = global_reactor

T = TypeVar("T")

ONE = uuid(1)
SUCCESS = {"response": {"request_id": ONE, "status": "success", "errors": []}}
NOT_FOUND = {"error": {"code": "not_found", "message": "There is none."}}


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    """An agent that answers what is written down."""
    with FakeAgent() as running:
        yield running


@pytest.fixture
def client(agent: FakeAgent) -> Client:
    """A client of that agent."""
    return Client(place_of(f"http://{agent.address}"), "c2c_key")


def story(state: str, *events: str) -> dict[str, Any]:
    """A status with this timeline."""
    timeline = [
        {"utc.time": f"{number}.000", "event": event} for number, event in enumerate(events)
    ]
    return {"c2c_status": {"call": {"state": state, "timeline": timeline}}}


class TestAsking:
    """Each of its questions, as it goes over the wire."""

    def test_call(self, agent: FakeAgent, client: Client) -> None:
        """A form, so that nothing of a call stands in a URL, and the key as bearer."""
        agent.script = [SUCCESS]
        assert client.call({"dial_first": "+49 30", "dial_second": "200"}) == SUCCESS
        [asked] = agent.asked
        assert (asked.method, asked.path) == ("POST", "/c2c/v2")
        assert asked.form == {"dial_first": "+49 30", "dial_second": "200"}
        assert asked.authorization == "Bearer c2c_key"

    def test_cancel(self, agent: FakeAgent, client: Client) -> None:
        """By the request's id."""
        agent.script = [SUCCESS]
        assert client.cancel(ONE) == SUCCESS
        assert (agent.asked[0].method, agent.asked[0].path) == ("POST", f"/c2c/v2/cancel/{ONE}")

    def test_status(self, agent: FakeAgent, client: Client) -> None:
        """What stands within c2c_status; waiting is asked for in the query."""
        agent.script = [story("ended", "ended")] * 2
        assert client.status(ONE) == story("ended", "ended")["c2c_status"]
        client.status(ONE, wait=30, seen=2)
        assert [asked.path for asked in agent.asked] == [
            f"/c2c/v2/status/{ONE}",
            f"/c2c/v2/status/{ONE}?wait=30&seen=2",
        ]

    def test_calls(self, agent: FakeAgent, client: Client) -> None:
        """The list as it comes."""
        agent.script = [{"calls": [{"request_id": ONE}]}]
        assert client.calls(5) == [{"request_id": ONE}]
        assert agent.asked[0].path == "/c2c/v2/calls?limit=5"

    def test_behind_a_prefix(self, agent: FakeAgent) -> None:
        """An agent may be published below some path, with a slash at its end or not."""
        agent.script = [SUCCESS]
        Client(place_of(f"http://{agent.address}/agent/"), "c2c_key").cancel(ONE)
        assert agent.asked[0].path == f"/c2c/v2/cancel/{ONE}".replace("/c2c", "/agent/c2c", 1)

    def test_an_id_from_somewhere(self, agent: FakeAgent, client: Client) -> None:
        """Whatever is given for an id stays an id: no other path, no query."""
        agent.script = [SUCCESS] * 3
        for given in ("../calls", "a?b=c", "\u00e4 \n"):
            client.cancel(given)
        assert [asked.path.removeprefix("/c2c/v2/cancel/") for asked in agent.asked] == [
            "..%2Fcalls",
            "a%3Fb%3Dc",
            "%C3%A4%20%0A",
        ]


class TestFollowing:
    """A call's timeline, entry by entry."""

    def test_each_once_as_it_comes(self, agent: FakeAgent, client: Client) -> None:
        """Nothing is asked for before what is known was taken; each entry comes once."""
        agent.script = [
            story("dialing_first", "accepted", "dialing_first"),
            story("dialing_first", "accepted", "dialing_first"),  # nothing new for 30 seconds
            story("ended", "accepted", "dialing_first", "ended"),
        ]
        seen = []
        for entry, call in client.follow(ONE):
            seen.append((entry["event"], call["state"], len(agent.asked)))
        assert seen == [
            ("accepted", "dialing_first", 1),
            ("dialing_first", "dialing_first", 1),
            ("ended", "ended", 3),
        ]
        assert [asked.path.partition("?")[2] for asked in agent.asked] == [
            "wait=30&seen=0",
            "wait=30&seen=2",
            "wait=30&seen=2",
        ]


class TestErrors:
    """What went wrong, in words for the user."""

    def test_told_by_the_agent(self, agent: FakeAgent, client: Client) -> None:
        """Its own words."""
        agent.script = [
            {"c2c_status": None, "errors": [NOT_FOUND]},
            {"response": {"errors": [NOT_FOUND]}},
        ]
        with pytest.raises(ClientError, match="There is none"):
            client.status(ONE)
        with pytest.raises(ClientError, match="There is none"):
            client.calls(5)

    def test_nobody_there(self) -> None:
        """It is said where it was looked for; and it is not the same as one that says no."""
        with FakeAgent() as gone:
            address = gone.address
        with pytest.raises(NobodyThere, match=rf"agent at {address} does not answer .*running\?"):
            Client(place_of(f"http://{address}"), "c2c_key").calls(1)

    def test_no_time_to_lose(self) -> None:
        """An agent that hangs does not keep calls from being stopped without it."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with (
                patch.object(client_module, "_HURRY", 0.1),
                pytest.raises(ClientError, match="does not answer"),
            ):
                Client(place_of(f"http://127.0.0.1:{port}"), "c2c_key").stop_calls("", hang_up=True)

    def test_hangs_up(self, agent: FakeAgent, client: Client) -> None:
        """An agent that just ends is there still, or was."""
        agent.script = [None]
        with pytest.raises(ClientError, match="does not answer") as raised:
            client.calls(1)
        assert not isinstance(raised.value, NobodyThere)

    @pytest.mark.parametrize("answer", [b"", b"<html>", b"\xff", b"[" * 100_000])
    def test_no_json(self, agent: FakeAgent, client: Client, answer: bytes) -> None:
        """Who speaks no JSON is no agent."""
        agent.script = [answer]
        with pytest.raises(ClientError, match="is no c2c-agent"):
            client.calls(1)

    @pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"Asterisk Call Manager\r\n"])
    def test_no_http(self, greeting: bytes) -> None:
        """Who speaks another protocol is none either, whatever was hoped for."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]

            def greet() -> None:
                connection, _ = other.accept()
                with connection:
                    connection.sendall(greeting)
                    connection.recv(65536)

            for scheme in ("http", "https"):
                greeting_once = Thread(target=greet)
                greeting_once.start()
                with pytest.raises(ClientError, match=f"127.0.0.1:{port} is no c2c-agent"):
                    Client(place_of(f"{scheme}://127.0.0.1:{port}"), "c2c_key").calls(1)
                greeting_once.join()

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            [],
            17,
            {"status": "ok"},
            {"response": "yes", "c2c_status": "yes", "calls": "many", "errors": "none"},
            {"response": {}, "c2c_status": {}, "errors": []},
            {"response": {"errors": ["x"]}, "errors": [{"error": {}}]},
        ],
    )
    def test_other_json(self, agent: FakeAgent, client: Client, answer: Any) -> None:
        """JSON of something else is no answer either, whatever was asked."""
        asks: list[Callable[[], object]] = [
            lambda: client.call({}),
            lambda: client.cancel(ONE),
            lambda: client.status(ONE),
            lambda: client.calls(1),
            lambda: next(client.follow(ONE)),
        ]
        for ask in asks:
            agent.script = [answer]
            with pytest.raises(ClientError, match=f"{agent.address} is no c2c-agent"):
                ask()

    @pytest.mark.parametrize("secret", ["", "c2c_\nkey", "c2c_\u20ac", "c2c_\x00"])
    def test_no_key(self, secret: str) -> None:
        """What cannot be a key is not sent, and above all not shown."""
        with pytest.raises(ClientError, match="no key") as raised:
            Client(Place("127.0.0.1"), secret)
        assert "c2c_" not in str(raised.value)

    def test_blanks_around_the_key(self, agent: FakeAgent) -> None:
        """A line's end that came along does no harm."""
        agent.script = [SUCCESS]
        Client(place_of(f"http://{agent.address}"), " c2c_key\n").cancel(ONE)
        assert agent.asked[0].authorization == "Bearer c2c_key"

    def test_tls(self, agent: FakeAgent) -> None:
        """Https is spoken where the URL says so; what does not speak it is no agent there."""
        with pytest.raises(ClientError, match="is no c2c-agent"):
            Client(place_of(f"https://{agent.address}"), "c2c_key").calls(1)

    def test_no_authority(self, tmp_path: Path) -> None:
        """A file of authorities that is none is named."""
        with pytest.raises(ClientError, match="No such file"):
            place_of("https://pbx1", str(tmp_path / "none.pem"))
        (tmp_path / "none.pem").write_text("none")
        with pytest.raises(
            ClientError, match=r"none\.pem: this file must hold certificates in PEM"
        ):
            place_of("https://pbx1", str(tmp_path / "none.pem"))


class TestTheHost:
    """Where the agent of a configuration is, and the key of its host."""

    @pytest.mark.parametrize(
        ("listen", "url"),
        [
            ("tcp:8470:interface=127.0.0.1", "http://127.0.0.1:8470"),
            ("tcp:8470", "http://127.0.0.1:8470"),
            ("tcp:port=8470:interface=192.0.2.1", "http://192.0.2.1:8470"),
        ],
    )
    def test_url(self, listen: str, url: str) -> None:
        """From what it listens on."""
        assert local_place(Config(server_id="pbx1", http=HttpConfig(listen=listen))) == place_of(
            url
        )

    def test_unix(self) -> None:
        """A UNIX socket is asked by its path."""
        config = Config(server_id="pbx1", http=HttpConfig(listen="unix:/run/c2c.sock:mode=600"))
        assert local_place(config) == Place("/run/c2c.sock", is_unix=True)
        assert place_of("unix:/run/c2c.sock") == local_place(config)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:8470",
            "localhost",
            "ftp://127.0.0.1",
            "http://",
            "http://[::1",
            "http://127.0.0.1:port",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:0",
            "unix:c2c.sock",
        ],
    )
    def test_no_url(self, url: str) -> None:
        """What names no place is named itself."""
        with pytest.raises(ClientError, match="is no URL of an agent"):
            place_of(url)

    def config(self, directory: Path) -> Config:
        """A configuration with its store there."""
        return Config(server_id="pbx1", store=StoreConfig(path=str(directory / "c2c.sqlite3")))

    def test_key(self, tmp_path: Path) -> None:
        """From the file beside the store."""
        (tmp_path / "operator.key").write_text("c2c_host\n")
        assert operator_secret(self.config(tmp_path)) == "c2c_host"

    def test_no_key(self, tmp_path: Path) -> None:
        """Which file, why, and what to do."""
        with pytest.raises(ClientError, match=r"operator\.key cannot be read \(No such file.*root"):
            operator_secret(self.config(tmp_path))

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        """A file that holds no key is named, too."""
        (tmp_path / "operator.key").write_bytes(content)
        with pytest.raises(ClientError, match=r"operator\.key .*no key"):
            operator_secret(self.config(tmp_path))


class TestFastAgi:
    """Where the running agent takes FastAGI: by that another program is told from it."""

    @pytest.mark.parametrize(
        ("said", "address"),
        [
            ({"status": "ok", "fastagi": "127.0.0.1:8475"}, "127.0.0.1:8475"),
            ({"status": "ok"}, ""),  # of 0.1, or of no Asterisk
            ({"status": "well"}, None),
            ([], None),
            (b"<html>", None),
            (b"[" * 100_000, None),
            (None, None),
        ],
    )
    def test_told(self, agent: FakeAgent, said: Scripted, address: str | None) -> None:
        """As the agent says it; what says something else is none."""
        agent.script = [said]
        port = agent.address.partition(":")[2]
        http = HttpConfig(listen=f"tcp:{port}:interface=127.0.0.1")
        assert fastagi_of(Config(server_id="pbx1", http=http)) == address

    def test_nobody(self, tmp_path: Path) -> None:
        """No agent runs."""
        for listen in (f"unix:{tmp_path}/none", f"ssl:1:privateKey={tmp_path}/none"):
            config = Config(server_id="pbx1", http=HttpConfig(listen=listen))
            assert fastagi_of(config) is None


async def nothing_found() -> dict[str, Any]:
    """Be checks that nobody asks for."""
    return {"utc.time": "1435628937.000", "ok": True, "findings": []}


class WithTheRealApi(TestCase):
    """Client and API against each other, on a loopback port; the client blocks in a thread."""

    timeout = 60

    def setUp(self) -> None:
        """Listen in front of a desk."""
        self.desk = Desk()
        api = Api(
            config=HttpConfig(),
            server_id="pbx1.example.com",
            keys=KeyRing([operator_key(key_digest(OPERATOR_SECRET), [CRM])]),
            intake=self.desk.intake,
            dispatcher=self.desk.dispatcher,
            live=self.desk.live,
            readiness=dict,
            metrics=lambda: Exposition("text/plain", b""),
            replay=self.replay,
            standing=self.standing,
            kill_switch=self.desk,
            check=nothing_found,
            signer=TokenSigner(),
            tokens=self.desk.tokens,
            report_list=self.desk.report_list,
            use=lambda name: self.desk.meter.use(name, self.desk.now()),
            now=self.desk.wall,
            clock=self.desk.clock,
        )
        self.site = ApiSite(api, None, reactor)
        port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.client = Client(place_of(f"http://127.0.0.1:{port.getHost().port}"), OPERATOR_SECRET)

    async def test_unix(self) -> None:
        """The same over a UNIX socket."""
        with TemporaryDirectory() as directory:
            path = f"{directory}/http"
            port = reactor.listenUNIX(path, self.site)
            place = place_of(f"unix:{path}")
            assert await self.ask(Client(place, OPERATOR_SECRET).calls, 5) == []
            assert await self.ask(place.has_somebody)
            await port.stopListening()
            with pytest.raises(NobodyThere):
                await self.ask(Client(place, OPERATOR_SECRET).calls, 5)
            assert not await self.ask(place.has_somebody)

    async def test_tls(self) -> None:
        """Who vouches for it is named, or known from the configuration; else nothing is sent."""
        with TemporaryDirectory() as directory:
            authority = Authority(Path(directory))
            issued = authority.issue("pbx1", "127.0.0.1")
            files = f"privateKey={issued.key}:certKey={issued.certificate}"
            certificate = ServerCertificate(listening(f"ssl:1:{files}"))
            listens = reactor.listenSSL(0, self.site, certificate, interface="127.0.0.1")
            self.addCleanup(listens.stopListening)
            number = listens.getHost().port
            url = f"https://127.0.0.1:{number}"
            http = HttpConfig(listen=f"ssl:{number}:{files}")
            own = local_place(Config(server_id="pbx1", http=http))
            for place in (place_of(url, str(authority.file)), own):
                assert await self.ask(Client(place, OPERATOR_SECRET).calls, 5) == []
            with pytest.raises(ClientError, match=r"not trusted .*--ca-file"):
                await self.ask(Client(place_of(url), OPERATOR_SECRET).calls, 5)
            assert await self.ask(place_of(url).has_somebody)

    async def replay(self, target: str | None, request_id: str | None) -> int:
        """Be the outbox: there are three dead letters, one of them the crm's."""
        return 1 if (target, request_id) == ("crm", ONE) else 3

    async def test_replay(self) -> None:
        """Dead letters are sent again: some, or all."""
        assert await self.ask(self.client.replay, "crm", ONE) == 1
        assert await self.ask(self.client.replay, None, None) == 3

    def ask(self, question: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Ask in a thread."""
        asked: Deferred[T] = deferToThread(question, *arguments)
        return asked

    async def until(self, what: Callable[[], object]) -> None:
        """Let the reactor go on until something is so."""
        while not what():
            turned = Deferred[None]()
            reactor.callLater(0.001, turned.callback, None)
            await turned

    async def test_a_call_and_its_end(self) -> None:
        """Placed, listed, followed to its end, and found again."""
        asked = self.ask(
            self.client.call, {"dial_first": "100", "dial_second": "200", "request_id": ONE}
        )
        await self.until(lambda: self.desk.driver.originated)
        self.desk.driver.tells(ONE, OriginateAccepted())
        assert (await asked)["response"]["request_id"] == ONE
        [listed] = await self.ask(self.client.calls, 5)
        assert listed["request_id"] == ONE

        seen: list[str] = []
        following = self.ask(
            lambda: seen.extend(entry["event"] for entry, _ in self.client.follow(ONE))
        )
        active = self.desk.dispatcher.active(ONE)
        assert active is not None
        for event in (
            FirstRinging(),
            Gone(CallEvidence(first=LegEvidence(status="BUSY", cause=17))),
        ):
            await self.until(lambda: active.change_waiters)
            self.desk.driver.tells(ONE, event)
        await following
        assert seen == ["accepted", "dialing_first", "originate_accepted", "first_ringing", "ended"]
        story = await self.ask(self.client.status, ONE)
        assert story["call"]["outcome"] == "first_busy"

    async def test_cancelled(self) -> None:
        """As the operator of the host."""
        self.desk.submit(request_id=ONE)
        answer = await self.ask(self.client.cancel, ONE)
        assert answer["response"]["status"] == "success"
        assert self.desk.driver.hung_up == [ONE]
        self.desk.end_all()

    async def standing(self) -> list[Standing]:
        """Be the outbox: one receiver, and all is well."""
        return [Standing("crm", Depth(), None)]

    async def test_targets(self) -> None:
        """How it stands with who is told."""
        [crm] = await self.ask(self.client.targets)
        assert (crm["target"], crm["waiting"], crm["reason"]) == ("crm", 0, None)

    async def test_errors(self) -> None:
        """The API's words reach the user."""
        with pytest.raises(ClientError, match="No request has the id"):
            await self.ask(self.client.status, ONE)
        with pytest.raises(ClientError, match="whole number"):
            await self.ask(self.client.calls, 100_000)
