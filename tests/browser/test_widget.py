"""The widget on a page of another origin, against a whole agent with a scripted PBX.

The back end of the page gives it tokens, as a CRM would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from c2c_agent.policy.keys import key_digest
from tests.browser.chromium import Tab
from tests.browser.conftest import KEY, ScriptedAgent
from tests.browser.customer_page import CustomerPage

OpenTab = Callable[..., Tab]


@pytest.fixture
def agent(tmp_path: Path, unused_tcp_port_of_browser: int) -> Iterator[ScriptedAgent]:
    """An agent that has not been started, and knows no origin yet."""
    agent = ScriptedAgent(tmp_path, unused_tcp_port_of_browser, [])
    yield agent
    agent.stop()


@pytest.fixture
def customers(agent: ScriptedAgent) -> Iterator[CustomerPage]:
    """The page, whose origin the agent knows."""
    page = CustomerPage(agent.origin, KEY)
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_X.", "_+X."]}
    agent.configure([{**key, "origins": [page.origin], "repeat_window": 5}])
    agent.start()
    yield page
    page.close()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_call(
    agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab, look: str
) -> None:
    """From the click to the end, beside the name; the key never came to the page."""
    tab = open_tab(look, allowed=(customers.origin,))
    tab.page.goto(customers.origin)
    ann = tab.page.locator("c2c-call").first
    tab.look("widget-before")
    ann.get_by_role("button", name="Call Ann").click()
    expect(ann.get_by_role("status")).to_have_text("Talking")
    tab.look("widget-talking")
    ann.get_by_role("button", name="Hang up").click()
    expect(ann.get_by_role("status")).to_have_text("Call ended")
    [call] = agent.calls()
    assert (call["key"], call["call"]["outcome"]) == ("crm", "connected")
    assert call["call"]["dial_first"]["number"] == "100"
    assert KEY not in tab.page.content()


def test_a_link(agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab) -> None:
    """A tel: link of the page rings, and shows how it goes beside it."""
    tab = open_tab(allowed=(customers.origin,))
    tab.page.goto(customers.origin)
    tab.page.click("text=+1 555 010 0100")
    expect(tab.page.get_by_text("Talking")).to_be_visible()
    tab.look("widget-link")
    [call] = agent.calls()
    assert call["call"]["dial_second"]["number"] == "+15550100100"


def test_a_double_click(agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab) -> None:
    """Is one call, of an element and of a link; and busy is said beside it."""
    tab = open_tab(allowed=(customers.origin,))
    tab.page.goto(customers.origin)
    ben = tab.page.locator("c2c-call").nth(1)
    ben.get_by_role("button", name="209").dblclick()
    tab.page.locator("text=+1 555 010 0100").dblclick()
    expect(ben.get_by_role("status")).to_have_text("Busy")
    expect(tab.page.get_by_text("Talking")).to_be_visible()
    assert len(agent.calls()) == 2


def test_a_page_that_is_not_known(
    agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab
) -> None:
    """Places nothing, whatever token it has."""
    stranger = CustomerPage(agent.origin, KEY)
    try:
        tab = open_tab(allowed=(stranger.origin,))
        tab.page.goto(stranger.origin)
        ann = tab.page.locator("c2c-call").first
        ann.get_by_role("button", name="Call Ann").click()
        expect(ann.get_by_role("status")).to_have_text("The call could not be placed")
        assert agent.calls() == []
    finally:
        stranger.close()
    assert customers.tokens == 0


def test_a_token_that_has_expired(
    agent: ScriptedAgent, customers: CustomerPage, open_tab: OpenTab
) -> None:
    """Is not the end: the page's back end is asked for another one."""
    tab = open_tab(allowed=(customers.origin,))
    customers.stale = [b'{"token": "e30.e30.expired"}']
    tab.page.goto(customers.origin)
    ann = tab.page.locator("c2c-call").first
    ann.get_by_role("button", name="Call Ann").click()
    expect(ann.get_by_role("status")).to_have_text("Talking")
    assert customers.tokens == 2
    assert len(agent.calls()) == 1
