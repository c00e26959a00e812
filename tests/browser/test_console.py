"""The console in a browser, against a whole agent with a scripted PBX."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Tab
from tests.browser.conftest import KEY, ScriptedAgent
from tests.browser.test_dial import LOOKS

OpenTab = Callable[..., Tab]


def signed_in(tab: Tab, agent: ScriptedAgent, key: str) -> None:
    """Sign in."""
    tab.page.goto(f"{agent.origin}/console")
    expect(tab.page.locator("#key")).to_be_focused()
    tab.page.keyboard.type(key)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#live")).to_be_visible()
    expect(tab.page.locator("#link")).to_have_text("live")


@pytest.mark.parametrize(("look", "width"), LOOKS)
def test_every_view(agent: ScriptedAgent, open_tab: OpenTab, look: str, width: int) -> None:
    """With calls in every state; each is looked at."""
    for first, second in (("109", "200"), ("100", "209"), ("100", "404"), ("101", "208")):
        agent.place(first, second)
    talking = agent.place("102", "200")
    tab = open_tab(look, width)
    tab.page.goto(f"{agent.origin}/console")
    tab.look("console-sign-in")
    signed_in(tab, agent, agent.operator)
    expect(tab.page.locator("#live-table tbody tr:not(.over)")).to_have_count(2)
    expect(tab.page.locator("#live-table").get_by_text("talking")).to_have_count(2)
    tab.look("console-live")
    tab.page.click("text=History")
    expect(tab.page.locator("#history-table tbody tr")).to_have_count(5)
    tab.look("console-history")
    tab.page.click("text=Keys")
    expect(tab.page.locator("#keys-table tbody tr")).to_have_count(2)
    tab.look("console-keys")
    tab.page.click("text=Reports")
    expect(tab.page.locator("#reports-words")).to_have_text("Everything was delivered.")
    tab.look("console-reports")
    agent.ask(f"/c2c/v2/cancel/{talking}", now="1")
    tab.page.goto(f"{agent.origin}/console#call/{talking}")
    expect(tab.page.locator("#call .lead")).to_contain_text("102 and 200 talked")
    tab.page.click("summary")
    tab.look("console-call")
    tab.page.goto(f"{agent.origin}/console#operation")
    expect(tab.page.locator("#ready")).to_have_text("ready")
    tab.look("console-operation")
    tab.page.click("#stop-calls")
    tab.look("console-stop")


def test_live(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """A call that is placed here, in two tabs, to its end, which one of them brings."""
    tab, other = open_tab(), open_tab()
    for one in (tab, other):
        signed_in(one, agent, KEY)
    tab.page.fill("#place-first", "100")
    tab.page.fill("#place-second", "200")
    tab.page.keyboard.press("Enter")
    row = other.page.locator("#live-table tbody tr")
    expect(row.locator(".chip")).to_have_text(["talking", "talking"])
    row.get_by_role("button").click()
    for one in (tab, other):
        expect(one.page.locator("#live-table .chip.good")).to_have_text("Talked")
    for one in (tab, other):
        expect(one.page.locator("#nobody")).to_be_visible()
    assert [(call["key"], call["call"]["outcome"]) for call in agent.calls()] == [
        ("crm", "connected")
    ]


def test_one_call(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Its ladder grows as it goes on; the evidence is in words, and the JSON is the status."""
    tab = open_tab()
    signed_in(tab, agent, agent.operator)
    request_id = agent.place("100", "200")
    tab.page.locator("#live-table tbody a").click()
    expect(tab.page.locator("svg.ladder .rung")).to_have_count(8)
    tab.page.locator("#call").get_by_role("button", name="Hang up").click()
    expect(tab.page.locator("#call .lead")).to_contain_text("100 and 200 talked")
    expect(tab.page.locator("#call .said").first).to_contain_text("The dial status was ANSWER.")
    tab.page.click("summary")
    assert request_id in tab.page.locator("#call pre").inner_text()


def test_history(agent: ScriptedAgent, open_tab: OpenTab, tmp_path: Path) -> None:
    """What is looked for is found, and is the same in CSV."""
    for second in ("209", "209", "404"):
        agent.place("100", second)
    tab = open_tab(accept_downloads=True)
    signed_in(tab, agent, agent.operator)
    tab.page.click("text=History")
    rows = tab.page.locator("#history-table tbody tr")
    expect(rows).to_have_count(3)
    tab.page.select_option("#f-outcome", "pbx_error")
    tab.page.keyboard.press("Enter")
    tab.page.click("text=Show >> nth=0")
    expect(rows).to_have_count(1)
    tab.page.select_option("#f-outcome", "")
    tab.page.fill("#f-number", "2-0-9")
    tab.page.keyboard.press("Enter")
    expect(rows).to_have_count(2)
    with tab.page.expect_download() as download:
        tab.page.click("#csv")
    file = tmp_path / "calls.csv"
    download.value.save_as(file)
    found = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
    assert [call["second"] for call in found] == ["209", "209"]


def test_keys(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """What each uses of its limits; a key sees itself alone."""
    tab = open_tab()
    signed_in(tab, agent, KEY)
    tab.page.fill("#place-first", "100")
    tab.page.fill("#place-second", "200")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#live-table tbody tr")).to_have_count(1)
    tab.page.click("text=Keys")
    row = tab.page.locator("#keys-table tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("th")).to_have_text("crm")
    expect(row.locator("td").first).to_contain_text("1")


def test_the_kill_switch(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Asks before it stops anything, and can be turned back."""
    tab = open_tab()
    signed_in(tab, agent, agent.operator)
    tab.page.click("text=Operation")
    tab.page.click("#stop-calls")
    tab.page.click("text=Leave as it is")
    expect(tab.page.locator("#ready")).to_have_text("ready")
    tab.page.click("#stop-calls")
    tab.page.fill("#reason", "a key was stolen")
    tab.page.locator("dialog").get_by_role("button", name="Stop all calls").click()
    expect(tab.page.locator("#parts")).to_contain_text("calls are stopped: a key was stolen")
    answer = agent.ask("/c2c/v2", dial_first="100", dial_second="200")
    assert answer["response"]["errors"][0]["error"]["code"] == "not_allowed"
    tab.page.click("#start-calls")
    expect(tab.page.locator("#ready")).to_have_text("ready")
    agent.place("100", "200")


def test_a_key_that_may_not_stop(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Is told so."""
    tab = open_tab()
    signed_in(tab, agent, KEY)
    tab.page.click("text=Operation")
    tab.page.click("#stop-calls")
    tab.page.locator("dialog").get_by_role("button", name="Stop all calls").click()
    expect(tab.page.locator("#switch-error")).to_have_text("This key may not stop calls.")
