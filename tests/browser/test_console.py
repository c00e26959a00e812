"""The console in a browser, against a whole agent with a scripted PBX."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from c2c_agent.policy.keys import key_digest
from tests.browser.chromium import Tab
from tests.browser.conftest import CARE, CONSOLE_KEY, CRM, KEY, ScriptedAgent
from tests.browser.receiver import Receiver
from tests.browser.test_dial import LOOKS

OpenTab = Callable[..., Tab]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks that says 410 to all."""
    receiver = Receiver(410)
    yield receiver
    receiver.close()


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
    expect(tab.page.locator("#keys-table tbody tr")).to_have_count(3)
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
    expect(tab.page.locator("#checked")).to_contain_text("1 fault: calls do not work.")
    tab.look("console-operation")
    tab.page.click("#stop-calls")
    tab.look("console-stop")


def test_live(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """A call that is placed here, in two tabs, to its end, which one of them brings."""
    tab, other = open_tab(), open_tab()
    for one in (tab, other):
        signed_in(one, agent, CONSOLE_KEY)
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
        ("care", "connected")
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


def test_history_by_key_and_time(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Each finds its own calls and no others."""
    agent.place("100", "209")
    agent.ask("/c2c/v2", key=KEY, dial_first="101", dial_second="209")
    tab = open_tab()
    signed_in(tab, agent, agent.operator)
    tab.page.click("text=History")
    rows = tab.page.locator("#history-table tbody tr")
    expect(rows).to_have_count(2)
    show = tab.page.locator("#filters").get_by_role("button", name="Show")
    tab.page.fill("#f-key", "crm")
    show.click()
    expect(rows).to_have_count(1)
    expect(rows.locator("td").nth(1)).to_have_text("101")
    expect(rows.locator("td").last).to_have_text("crm")
    tab.page.fill("#f-key", "nobody")
    show.click()
    expect(tab.page.locator("#history-words")).to_have_text("0 calls.")
    expect(rows).to_have_count(0)
    tab.page.fill("#f-key", "")
    # By the clock of the browser, as a person types it: an hour ago, and in an hour.
    before, after = tab.page.evaluate(
        """[-1, 1].map((hours) => new Date(
            Date.now() + hours * 3600000 - new Date().getTimezoneOffset() * 60000
        ).toISOString().slice(0, 16))"""
    )
    for since, until, found in (  # each finds another count, so none is that of the one before
        (before, after, 2),
        (after, "", 0),
        (before, "", 2),
        ("", before, 0),
        ("", after, 2),
    ):
        tab.page.fill("#f-since", since)
        tab.page.fill("#f-until", until)
        show.click()
        expect(tab.page.locator("#history-words")).to_have_text(f"{found} calls.")
        expect(rows).to_have_count(found)


def test_what_the_pbx_does_not_tell(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Is no fault: not in the chart, not in the history."""
    agent.place("100", "207")
    tab = open_tab()
    signed_in(tab, agent, agent.operator)
    legend = tab.page.locator(".legend li")
    expect(legend).to_have_text(["0 talked", "0 not answered", "1 not told by the PBX", "0 failed"])
    tab.page.click("text=History")
    expect(tab.page.locator("#history-table .chip.untold")).to_have_text("Unknown")
    tab.page.locator("#history-table tbody a").click()
    expect(tab.page.locator("#call .lead")).to_have_text(
        "How the call ended is not known: the PBX does not tell."
    )


def test_keys(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """What each uses of its limits, and which of them open the console."""
    agent.ask("/c2c/v2", key=KEY, dial_first="100", dial_second="200")
    tab = open_tab()
    signed_in(tab, agent, CONSOLE_KEY)
    tab.page.click("text=Keys")
    rows = tab.page.locator("#keys-table tbody tr")
    expect(rows.locator("th")).to_have_text(["crm", "careconsole", "operatorconsole"])
    expect(rows.first.locator("td").first).to_contain_text("1")


def test_a_key_without_a_console(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """It is let in nowhere, nor is a token of a key that has one."""
    token = agent.ask("/c2c/v2/tokens", key=CONSOLE_KEY, dial_first="100")["token"]
    for secret in (KEY, token):
        tab = open_tab()
        tab.page.goto(f"{agent.origin}/console")
        tab.page.fill("#key", secret)
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#sign-in-error")).to_have_text("This key opens no console.")
        expect(tab.page.locator("#live")).to_be_hidden()
        assert tab.page.evaluate("sessionStorage.length") == 0


def test_a_key_that_ends(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Who has signed in with it is shown out, wherever they are; so is who lost the console."""
    tab = open_tab()
    for keys in ([CRM], [CRM, {**CARE, "console": False}]):
        agent.reload([CRM, CARE])
        signed_in(tab, agent, CONSOLE_KEY)
        agent.reload(keys)
        expect(tab.page.locator("#sign-in")).to_be_visible()
        expect(tab.page.locator("#live")).to_be_hidden()
        assert tab.page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(("look", "width"), LOOKS)
def test_reports(
    agent: ScriptedAgent, open_tab: OpenTab, receiver: Receiver, look: str, width: int
) -> None:
    """What a receiver wanted no more is there, and why; *Send again* sends it."""
    agent.stop()
    agent.settings["webhooks"] = [receiver.settings(agent.directory)]
    agent.configure([CRM, CARE])
    agent.start()
    tab = open_tab(look, width)
    signed_in(tab, agent, CONSOLE_KEY)
    tab.page.click("text=Reports")
    expect(tab.page.locator("#reports-words")).to_have_text("Everything was delivered.")
    request_id = agent.place("100", "209")
    rows = tab.page.locator("#reports-table tbody tr")
    expect(rows).to_have_count(4)  # without a click
    expect(rows.first).to_contain_text("call.ended")
    expect(rows.first).to_contain_text("given up")
    expect(rows.first).to_contain_text("the receiver said 410 Gone")
    tab.look("console-reports-given-up")
    assert receiver.told == ["call.accepted"]  # after a 410 it was left alone
    receiver.status = 204
    rows.first.get_by_role("button", name="Send again: call.ended to crm-hook").click()
    expect(tab.page.locator("#reports-words")).to_have_text("Everything was delivered.")
    expect(rows).to_have_count(0)
    assert receiver.told[1:] == [
        *("call.accepted", "call.first_ringing", "call.first_answered", "call.ended")
    ]
    assert receiver.requests == {request_id}


def test_checks(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """What is wrong, and what to do: here there is no Asterisk. No secret is shown."""
    tab = open_tab()
    signed_in(tab, agent, CONSOLE_KEY)
    tab.page.click("text=Operation")
    findings = tab.page.locator("#findings li")
    expect(findings.filter(has_text="AMI login")).to_contain_text("not connected yet")
    expect(findings.filter(has_text="AMI login")).to_contain_text("Is Asterisk running")
    expect(findings.filter(has_text="key crm")).to_contain_text("may dial")
    page = tab.page.content()
    assert "not used" not in page  # the AMI secret
    assert key_digest(KEY) not in page
    tab.page.evaluate("document.getElementById('checked').textContent = ''")
    tab.page.click("#check")
    expect(tab.page.locator("#checked")).to_contain_text("Checked at")


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
