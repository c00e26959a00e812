"""The pages of docs/recipes, as they stand: what each program sends places the call it is to.

Each page's configuration is that of a whole agent with a scripted PBX. What a page shows of a
program is run, with a stand-in for what the program has around it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml

from c2c_agent.policy.keys import key_digest
from tests.browser.conftest import ScriptedAgent
from tests.browser.receiver import Receiver
from tests.pages import Block, blocks
from tests.pbx.waiting import wait_until

KEY: Final = "c2c_the-key-of-a-recipe"

#: Addresses and secrets on the pages, which others have on their hosts.
_DOTS: Final = "…"

StartAgent = Callable[..., ScriptedAgent]


def free_port() -> int:
    """A port of this machine that nobody listens on, but for who is quicker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def page(name: str) -> list[Block]:
    """The blocks of a recipe."""
    return blocks(f"docs/recipes/{name}.md")


def text_of(name: str, language: str) -> str:
    """The one block of a recipe in that language."""
    [text] = [block.text for block in page(name) if block.language == language]
    return text


def program(name: str, file: str) -> str:
    """The program of a recipe that names that file in its first line."""
    [text] = [block.text for block in page(name) if block.file == file]
    return text


def configuration(name: str) -> dict[str, Any]:
    """The configuration of a recipe."""
    settings: dict[str, Any] = yaml.safe_load(text_of(name, "yaml"))
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartAgent]:
    """Start an agent with the configuration of a recipe, whose key has this secret."""
    started: list[ScriptedAgent] = []

    def start_one(name: str, key: str = KEY, **changes: Any) -> ScriptedAgent:
        settings = configuration(name)
        for one in settings["keys"]:
            assert one["sha256"] == _DOTS
            one["sha256"] = key_digest(key)
        agent = ScriptedAgent(tmp_path, free_port(), [])
        agent.settings |= {**settings, **changes}
        agent.configure(settings["keys"])
        agent.start()
        started.append(agent)
        return agent

    yield start_one
    for agent in started:
        agent.stop()


def sends(agent: ScriptedAgent, request: str) -> tuple[HTTPResponse, Any]:
    """Send these bytes, with the ends of lines that HTTP has; what the agent answers."""
    with closing(socket.create_connection(("127.0.0.1", urlsplit(agent.origin).port))) as link:
        link.settimeout(20)
        link.sendall(request.replace("\n", "\r\n").encode())
        answer = HTTPResponse(link)
        answer.begin()
        return answer, json.loads(answer.read())


def placed(agent: ScriptedAgent) -> list[tuple[str, str, str]]:
    """All calls: with which key, from whom, to whom."""
    return [
        (call["key"], call["call"]["dial_first"]["number"], call["call"]["dial_second"]["number"])
        for call in agent.calls()
    ]


def key_in(request: str) -> str:
    """The key that a request on a page shows."""
    found = re.search(r"api_key=([^&\s]+)", request)
    assert found is not None
    return found[1]


class TestDolibarr:
    def test_a_click(self, start: StartAgent) -> None:
        """One call, for two clicks; and Dolibarr's page may read the answer."""
        request = text_of("dolibarr", "http")
        agent = start("dolibarr", key_in(request))
        for replayed in (None, True):
            answer, said = sends(agent, request)
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "https://erp.example.com"
            assert said["response"]["status"] == "success"
            assert said["response"].get("replayed") is replayed
        assert placed(agent) == [("dolibarr-ann", "100", "+15550100100")]

    def test_another_phone(self, start: StartAgent) -> None:
        """Her key rings nobody else's; and a page of another origin rings nobody."""
        request = text_of("dolibarr", "http")
        agent = start("dolibarr", key_in(request))
        for wrong in (
            request.replace("dial_first=100", "dial_first=101"),
            request.replace("Origin: https://erp.", "Origin: https://evil."),
        ):
            answer, said = sends(agent, wrong)
            assert answer.status == 403  # which Dolibarr shows as "Error"
            assert said["response"]["errors"][0]["error"]["code"] == "not_allowed"
        assert all(call["call"]["outcome"] == "rejected" for call in agent.calls())

    def test_the_address(self) -> None:
        """What is entered in the setup becomes what is sent, by Dolibarr's substitutions."""
        entered = text_of("dolibarr", "text").strip()
        for mark, value in (
            ("__PASS__", "c2c_the-key-of-ann"),
            ("__PHONEFROM__", "100"),
            ("__PHONETO__", "%2B1+555+010+0100"),
        ):
            assert mark in entered
            entered = entered.replace(mark, value)
        path = entered.removeprefix("https://phone.example.com")
        assert text_of("dolibarr", "http").startswith(f"GET {path}&token=")


class TestVtiger:
    def test_a_click(self, start: StartAgent) -> None:
        """One call."""
        request = text_of("vtiger", "http")
        agent = start("vtiger", key_in(request))
        answer, said = sends(agent, request)
        assert (answer.status, said["response"]["status"]) == (200, "success")
        assert placed(agent) == [("vtiger", "100", "+15550100100")]

    def test_a_record(self, start: StartAgent) -> None:
        """It comes back as metadata; Vtiger's own secret is not kept."""
        request = text_of("vtiger", "http").replace(" HTTP/1.1", "&record=4711 HTTP/1.1")
        agent = start("vtiger", key_in(request))
        request_id = sends(agent, request)[1]["response"]["request_id"]
        status = agent.ask(f"/c2c/v2/status/{request_id}")["c2c_status"]
        assert status["call"]["metadata"] == {"record": "4711"}
        for hidden in ("3127645f0d4c1ab", "OutgoingCall", key_in(request)):
            assert hidden not in json.dumps(status)

    def test_a_link_places_nothing(self, start: StartAgent) -> None:
        """The key takes POST alone."""
        request = text_of("vtiger", "http").replace("POST ", "GET ", 1)
        agent = start("vtiger", key_in(request))
        assert sends(agent, request)[1]["response"]["status"] == "fail"
        assert agent.calls() == []

    def test_the_address(self) -> None:
        """What is entered in the settings is the beginning of what is sent."""
        [entered] = [
            re.findall(r"`https://phone\.example\.com(/[^`]+)`", line)
            for line in Path("docs/recipes/vtiger.md").read_text(encoding="utf-8").splitlines()
            if "App URL" in line
        ]
        path = entered[0]
        assert text_of("vtiger", "http").startswith(f"POST {path}/makecall?event=OutgoingCall&")


def test_zammad(start: StartAgent, tmp_path: Path) -> None:
    """It hears in its own words, at the endpoint with the token, and of each call one end."""
    receiver = Receiver(200)
    try:
        [webhook] = configuration("zammad")["webhooks"]
        token = tmp_path / "zammad.token"
        token.write_text("0a1b2c\n", encoding="utf-8")
        token.chmod(0o600)
        path = urlsplit(webhook["url"]).path
        here = {**webhook, "url": receiver.origin + path, "secret_file": str(token)}
        agent = start("zammad", webhooks=[here])
        form = {"dial_first": "100", "dial_second": "0301234567"}
        request_id = agent.ask("/c2c/v2", key=KEY, **form)["response"]["request_id"]
        wait_until(lambda: "answer" in receiver.told, 20, "Zammad hears of the answer")
        agent.ask(f"/c2c/v2/cancel/{request_id}", key=KEY, now="1")
        wait_until(lambda: "hangup" in receiver.told, 20, "Zammad hears of the end")
        shown = json.loads(text_of("zammad", "json"))
        assert receiver.bodies == [{**one, "callId": request_id} for one in shown]
        assert set(receiver.paths) == {f"{path}/0a1b2c"}
    finally:
        receiver.close()


#: What Odoo and OCA's base_phone have around the add-on.
_ODOO: Final = {
    "odoo/__init__.py": """
        from types import SimpleNamespace as Namespace
        def _(text):
            return text
        api = Namespace(model=lambda method: method)
        """,
    "odoo/models.py": """
        from types import SimpleNamespace as Namespace
        class AbstractModel:
            env = Namespace(user=Namespace(phone="100"))
            def click2dial(self, erp_number):
                return {"dialed_number": erp_number}
        """,
    "odoo/exceptions.py": """
        class UserError(Exception):
            pass
        """,
    "click.py": """
        import sys
        from models import PhoneCommon
        print(PhoneCommon().click2dial(sys.argv[1]))
        """,
}


class TestOdoo:
    @staticmethod
    def clicks(folder: Path, url: str, number: str) -> subprocess.CompletedProcess[str]:
        """Have the add-on dial."""
        for name, text in {**_ODOO, "models.py": program("odoo", "models.py")}.items():
            file = folder / "addon" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            first, *lines = text.lstrip("\n").splitlines()
            indent = len(first) - len(first.lstrip())
            file.write_text("\n".join(line[indent:] for line in (first, *lines)))
        return subprocess.run(
            [sys.executable, "click.py", number],
            cwd=folder / "addon",
            env={"C2C_URL": url, "C2C_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_a_click(self, start: StartAgent, tmp_path: Path) -> None:
        """One call from the user's phone."""
        agent = start("odoo")
        done = self.clicks(tmp_path, agent.origin, "+1 555 010 0100")
        assert (done.stdout, done.returncode) == ("{'dialed_number': '+1 555 010 0100'}\n", 0)
        assert placed(agent) == [("odoo", "100", "+15550100100")]

    def test_refused(self, start: StartAgent, tmp_path: Path) -> None:
        """Odoo shows its user why, also where no agent answers."""
        agent = start("odoo")
        done = self.clicks(tmp_path, agent.origin, "112")
        assert "UserError: This key may not dial this dial_second." in done.stderr
        done = self.clicks(tmp_path, f"http://127.0.0.1:{free_port()}", "+15550100100")
        assert "UserError: The telephone does not answer." in done.stderr

    def test_the_manifest(self) -> None:
        """It is Python's literal, as Odoo reads it."""
        text = program("odoo", "manifest.py")
        manifest = eval(compile(text, "manifest", "eval"), {})  # noqa: S307 - a page of our own
        assert manifest["depends"] == ["base_phone"]


def of_php() -> str:
    """PHP's command line."""
    path = shutil.which("php")
    assert path is not None, "PHP is missing: scripts/prepare installs it"
    return path


@contextmanager
def php(folder: Path, router: str, **environment: str) -> Iterator[str]:
    """PHP's own web server, with this program; where it is."""
    (folder / "router.php").write_text(router, encoding="utf-8")
    origin = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        [of_php(), "-S", origin, "router.php"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "C2C_KEY": KEY, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        host, _, port = origin.partition(":")
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://{origin}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.php
class TestTokensOfPages:
    """The back ends that give a page its tokens; the widget's part is in tests/browser."""

    @pytest.mark.parametrize(
        ("name", "setting", "before"),
        [
            ("suitecrm", "CRM_ORIGIN", "$current_user = (object) ['phone_work' => '100'];"),
            ("own-page", "PAGE_ORIGIN", "session_start(); $_SESSION['extension'] = '100';"),
        ],
    )
    def test_a_call(
        self, start: StartAgent, tmp_path: Path, name: str, setting: str, before: str
    ) -> None:
        """As the widget places it: with the page's origin, and the token in a header."""
        agent = start(name)
        [key] = configuration(name)["keys"]
        [origin] = key["origins"]
        (tmp_path / "token.php").write_text(program(name, "token.php"), encoding="utf-8")
        quiet = "error_reporting(E_ALL & ~E_NOTICE);"  # a session is begun twice by that
        router = f"<?php {quiet} {before} require 'token.php';"
        with php(tmp_path, router, C2C_URL=agent.origin, **{setting: origin}) as back_end:
            with urlopen(Request(back_end, b"", method="POST"), timeout=20) as answer:  # noqa: S310
                made = json.load(answer)
            for page_origin, status in ((origin, "success"), ("https://evil.example.com", "fail")):
                body = json.dumps({"dial_second": "+1 555 010 0100"})
                _, said = sends(
                    agent,
                    "POST /c2c/v2 HTTP/1.1\nHost: phone.example.com\nConnection: close\n"
                    f"Authorization: Bearer {made['token']}\nOrigin: {page_origin}\n"
                    f"Content-Type: application/json\nContent-Length: {len(body)}\n\n{body}",
                )
                assert said["response"]["status"] == status
        assert placed(agent) == [(key["name"], "100", "+15550100100")]

    def test_nobody_has_signed_in(self, start: StartAgent, tmp_path: Path) -> None:
        """Then there is no token."""
        agent = start("own-page")
        back_end_of_the_page = php(tmp_path, program("own-page", "token.php"), C2C_URL=agent.origin)
        with back_end_of_the_page as back_end, pytest.raises(HTTPError, match="401"):
            urlopen(Request(back_end, b"", method="POST"), timeout=20)  # noqa: S310 - our own

    def test_all_php_is_php(self, tmp_path: Path) -> None:
        """What is shown can be read by PHP."""
        for name in ("suitecrm", "own-page"):
            for block in page(name):
                if block.language == "php":
                    file = tmp_path / "shown.php"
                    file.write_text(block.text, encoding="utf-8")
                    subprocess.run([of_php(), "-l", str(file)], check=True, capture_output=True)


def test_freepbx(start: StartAgent, tmp_path: Path) -> None:
    """A token of an extension, made as the page says, places its calls."""
    agent = start("freepbx")
    script = tmp_path / "token.sh"
    script.write_text(text_of("freepbx", "sh"), encoding="utf-8")
    done = subprocess.run(
        ["/usr/bin/env", "bash", str(script)],
        env={"PATH": os.environ["PATH"], "C2C_URL": agent.origin, "C2C_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    token = json.loads(done.stdout)["token"]
    agent.ask("/c2c/v2", key=token, dial_second="0301234567")
    agent.ask("/c2c/v2", key=token, dial_second="*97")
    assert sorted(placed(agent)) == [("portal", "200", "*97"), ("portal", "200", "0301234567")]


@pytest.mark.parametrize(
    "link",
    ["tel:+1-555-010-0100", "tel:%2B15550100", "tel:*21*100#", "tel:1;ext=2", "callto:a b&c=d"],
)
def test_a_link_on_linux(tmp_path: Path, link: str) -> None:
    """It comes to the dial page as it was, whatever stands in it."""
    script, *_ = [block.text for block in page("telephone-links") if block.language == "sh"]
    (tmp_path / "c2c-tel").write_text(script, encoding="utf-8")
    opener = tmp_path / "xdg-open"
    opener.write_text("#!/bin/sh\nprintf '%s' \"$1\"\n", encoding="utf-8")
    opener.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(tmp_path / "c2c-tel"), link],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    opened = urlsplit(done.stdout)
    assert (opened.netloc, opened.path) == ("phone.example.com", "/dial")
    assert parse_qs(opened.query, strict_parsing=True) == {"number": [link]}
