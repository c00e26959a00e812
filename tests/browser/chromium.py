"""Debian's Chromium, and its pages, which are watched."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

#: What a network without internet, and a container without namespaces of its own, need.
_FLAGS: Final = [
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
]

#: What Chromium says where a page breaks its policy.
_BROKEN: Final = re.compile("Content Security Policy")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window."""
    path = shutil.which("chromium")
    assert path is not None, "chromium is missing: scripts/prepare installs it"
    expect.set_options(timeout=20_000)  # the machine may have much else to do
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


class Tab:
    """A page in a context of its own, that is watched."""

    def __init__(self, context: BrowserContext, screenshots: Path, name: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(20_000)
        self._context = context
        self._screenshots = screenshots
        self._name = name
        self.complaints: list[str] = []
        self.origins: set[str] = set()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def another(self) -> Tab:
        """Another tab of the same window; it is watched as this one is."""
        tab = Tab(self._context, self._screenshots, self._name)
        tab.complaints, tab.origins = self.complaints, self.origins
        return tab

    def _console(self, message: Any) -> None:
        if _BROKEN.search(message.text):
            self.complaints.append(message.text)

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"}:
            self.origins.add(f"{parts.scheme}://{parts.netloc}")

    def look(self, what: str) -> None:
        """Keep a screenshot, and have axe-core look at the page: it may find nothing."""
        self.page.evaluate("scrollTo(0, 0)")  # or what sticks to the top would hide the middle
        file = self._screenshots / f"{what}-{self._name}.png"
        self.page.screenshot(path=str(file), full_page=True)
        devtools = self._context.new_cdp_session(self.page)  # no policy of the page's keeps it out
        devtools.send("Runtime.evaluate", {"expression": _axe()})
        found = devtools.send(
            "Runtime.evaluate",
            {
                "expression": "axe.run().then(({violations}) => JSON.stringify("
                "violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)])))",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        assert json.loads(found["result"]["value"]) == [], what
        overflow = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, f"{what} is wider than the window"


def _axe() -> str:
    tools = os.environ["C2C_BROWSER_TOOLS"]
    return Path(tools, "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
