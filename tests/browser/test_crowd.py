"""The console with a thousand live calls: it stays quick, and small."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Tab
from tests.browser.conftest import ScriptedAgent
from tests.browser.test_console import signed_in

OpenTab = Callable[..., Tab]

CALLS = 1000

#: Calls that the page keeps at most, and that come and end in each round.
KEPT = 2000
PASSING = 100

#: Seconds for which the page is watched: C2C_CROWD_SECONDS=600 sees what ten minutes leave behind.
SECONDS = float(os.environ.get("C2C_CROWD_SECONDS", "5"))

#: Seconds of a round, and of the trace at its beginning.
ROUND, TRACED = 60.0, 5.0

#: Milliseconds of work at one go, from which on a page is felt to stand still.
LONG = 50

#: Where in a trace the page's own programs run; a task that waits for a processor works no longer.
RUN = "disabled-by-default-devtools.timeline,devtools.timeline,toplevel"


def longest_task(trace: bytes) -> float:
    """Milliseconds of processor time that the page's main thread worked at one go, at most."""
    events = json.loads(trace)["traceEvents"]
    pages = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask")
        and (event["pid"], event["tid"]) in pages
        and "tdur" in event
    ]
    assert tasks
    return float(max(tasks))


def heap(tab: Tab) -> float:
    """Megabytes that the page's programs hold, when all that is let go is collected."""
    devtools = tab.page.context.new_cdp_session(tab.page)
    devtools.send("HeapProfiler.enable")
    devtools.send("HeapProfiler.collectGarbage")
    used = devtools.send("Runtime.getHeapUsage")["usedSize"]
    devtools.detach()
    return float(used) / 1e6


def work(tab: Tab, agent: ScriptedAgent, seconds: float) -> float:
    """Let calls come and end for so many seconds; the longest task of the page meanwhile."""
    browser = tab.page.context.browser
    assert browser is not None
    browser.start_tracing(page=tab.page, categories=RUN.split(","))
    ended(agent, PASSING)
    tab.page.wait_for_timeout(seconds * 1000)
    return longest_task(browser.stop_tracing())


def ended(agent: ScriptedAgent, count: int) -> None:
    """Place calls that end by themselves, a moment later."""
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lambda _: agent.place("100", "209"), range(count)))


@pytest.mark.timeout(900 + 2 * SECONDS)
def test_a_thousand_calls(agent: ScriptedAgent, open_tab: OpenTab, screenshots: Path) -> None:
    """No task over 50 ms once they are shown, while calls come and end; what ended is let go."""
    with ThreadPoolExecutor(8) as clients:
        ids = list(clients.map(lambda _: agent.place("100", "200"), range(CALLS)))
    tab = open_tab()
    signed_in(tab, agent, agent.operator)
    in_progress = tab.page.locator("#tiles dd").first
    expect(in_progress).to_have_text(str(CALLS))
    expect(tab.page.locator("#live-table tbody tr")).to_have_count(100)
    rounds = max(1, round(SECONDS / ROUND))
    if rounds > 1:
        ended(agent, KEPT - CALLS)  # as many as the page keeps: from now on it lets go
    tab.page.wait_for_timeout(2000)
    before = heap(tab)
    held, worked = [], []
    for _ in range(rounds):
        worked.append(work(tab, agent, TRACED))
        tab.page.wait_for_timeout(max(0, min(SECONDS, ROUND) - TRACED) * 1000)
        held.append(heap(tab))
    seen = {"longest_tasks_ms": worked, "megabytes": [before, *held]}
    (screenshots / "crowd.json").write_text(json.dumps(seen), encoding="utf-8")
    expect(in_progress).to_have_text(str(CALLS))
    assert max(worked) < LONG
    assert max(held) < before + 3
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda each: agent.ask(f"/c2c/v2/cancel/{each}", now="1"), ids))
    expect(in_progress).to_have_text("0")
    expect(tab.page.locator("#nobody")).to_be_visible()
