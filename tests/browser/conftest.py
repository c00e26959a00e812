"""Chromium, and an agent whose pages it opens, as fixtures.

Whatever a test does, at its end no page has broken its Content-Security-Policy, had an error, or
asked for anything at another origin than those that the test is about. Screenshots are kept where
C2C_SCREENSHOTS says, which is `build/screenshots` in a run of `scripts/test`; else with what the
tests write.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext

from c2c_agent.policy.keys import key_digest
from tests.browser.chromium import Tab, chromium
from tests.pbx.waiting import wait_until

KEY: Final = "a key for the browser"
CONSOLE_KEY: Final = "a key of those who look after it"


CRM: Final[dict[str, Any]] = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_X.", "_+X."]}
CARE: Final[dict[str, Any]] = {
    "name": "care",
    "sha256": key_digest(CONSOLE_KEY),
    "allow": ["_XXX"],
    "console": True,
}
KEYS: Final[list[dict[str, Any]]] = [CRM, CARE]


def pytest_itemcollected(item: pytest.Function) -> None:
    """Mark a test that needs a browser, before any are deselected by their marks."""
    if "browser" in item.fixturenames:
        item.add_marker("browser")


class ScriptedAgent:
    """A whole agent with a scripted PBX, in a process of its own."""

    def __init__(self, directory: Path, port: int, keys: list[dict[str, Any]]) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.directory = directory
        secret = directory / "ami.secret"
        secret.write_text("not used\n", encoding="utf-8")
        secret.chmod(0o600)
        self._config = directory / "c2c-agent.yml"
        configuration = {
            "server_id": "pbx1.example.com",
            "store": {"path": str(directory / "c2c.sqlite3")},
            "http": {"listen": f"tcp:{port}:interface=127.0.0.1"},
            "asterisk": {
                "ami": {"host": "127.0.0.1", "username": "c2c-agent", "secret_file": str(secret)}
            },
            "calls": {"timeout": 20, "max_concurrent": 5000},
            "keys": keys,
        }
        self.settings: dict[str, Any] = configuration
        self.configure(keys)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, keys: list[dict[str, Any]]) -> None:
        """Have these keys at the next start."""
        text = yaml.safe_dump({**self.settings, "keys": keys})
        self._config.write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self.directory / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.browser.scripted_agent", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._listens, 20, "the agent listens")

    def stop(self) -> None:
        """Stop it as systemd does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def reload(self, keys: list[dict[str, Any]]) -> None:
        """Have these keys from now on."""
        self.configure(keys)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def _listens(self) -> bool:
        try:
            with urlopen(f"{self.origin}/healthz", timeout=5) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def operator(self) -> str:
        """The key of its own host."""
        return (self.directory / "operator.key").read_text(encoding="utf-8").strip()

    def ask(
        self, path: str, *, key: str | None = None, method: str | None = None, **form: str
    ) -> dict[str, Any]:
        """Ask it with a key, or with that of its own host; what it says."""
        data = urlencode(form).encode() if form else None
        headers = {"Authorization": f"Bearer {key or self.operator}"}
        asked = Request(self.origin + path, data, headers, method=method)  # noqa: S310 - our own
        with urlopen(asked, timeout=30) as answer:  # noqa: S310
            told: dict[str, Any] = json.load(answer)
        return told

    def calls(self) -> list[dict[str, Any]]:
        """All calls that it has placed, the newest first."""
        calls: list[dict[str, Any]] = self.ask("/c2c/v2/calls?limit=1000")["calls"]
        return calls

    def place(self, first: str, second: str) -> str:
        """Place a call; its id."""
        answer = self.ask("/c2c/v2", dial_first=first, dial_second=second)
        return str(answer["response"]["request_id"])


@pytest.fixture
def agent(tmp_path: Path, unused_tcp_port_of_browser: int) -> Iterator[ScriptedAgent]:
    """An agent with a key that may ring everybody, and one that looks after it."""
    agent = ScriptedAgent(tmp_path, unused_tcp_port_of_browser, KEYS)
    agent.start()
    yield agent
    agent.stop()


@pytest.fixture
def unused_tcp_port_of_browser() -> int:
    """A port of this machine that nobody listens on, but for who is quicker."""
    from socket import socket  # noqa: PLC0415

    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, for all tests of this process."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept: where C2C_SCREENSHOTS says, or with what the tests write."""
    kept = os.environ.get("C2C_SCREENSHOTS")
    path = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def open_tab(
    browser: Browser, agent: ScriptedAgent, screenshots: Path
) -> Iterator[Callable[..., Tab]]:
    """Open tabs; none may have complained, or asked anybody but the agent and who is `allowed`."""
    tabs: list[tuple[BrowserContext, Tab, set[str]]] = []

    def open_one(
        look: str = "light", width: int = 1280, allowed: tuple[str, ...] = (), **how: Any
    ) -> Tab:
        scheme: Any = look
        context = browser.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": 800},
            reduced_motion="reduce",
            **how,
        )
        tab = Tab(context, screenshots, f"{look}-{width}")
        tabs.append((context, tab, {agent.origin, *allowed}))
        return tab

    yield open_one
    for context, tab, allowed in tabs:
        context.close()
        assert tab.complaints == []
        assert tab.origins <= allowed
