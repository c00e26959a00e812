"""Clicks in a real browser, by which real phones ring.

The page is of another origin than the agent; the witness counts what Asterisk was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from c2c_agent.policy.keys import key_digest
from tests.browser.chromium import Tab, chromium
from tests.browser.customer_page import CustomerPage
from tests.pbx.agents import KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.hosts import AsteriskHost
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.witness import Witness

RINGS = Behaviour(ring_seconds=0.6)
TALKS = Behaviour(ring_seconds=0.6, talk_seconds=2)

pytestmark = pytest.mark.browser


@pytest.fixture
def agent(asterisk: AsteriskHost, tmp_path: Path) -> AgentProcess:
    """An agent of its own, which has not been started."""
    return AgentProcess(asterisk, tmp_path)


@pytest.fixture
def customers(agent: AgentProcess) -> Iterator[CustomerPage]:
    """A page whose origin the agent knows; it runs as long as the page."""
    page = CustomerPage(agent.url, KEY)
    key = {"name": "crm", "sha256": key_digest(KEY), "allow": ["_XXX"]}
    agent.configure("keys", [{**key, "origins": [page.origin], "repeat_window": 5}])
    with agent:
        yield page
    page.close()


@pytest.fixture
def stranger(agent: AgentProcess) -> Iterator[CustomerPage]:
    """A page whose origin the agent does not know, although it has a token."""
    page = CustomerPage(agent.url, KEY)
    yield page
    page.close()


@pytest.fixture
def tab(
    agent: AgentProcess, customers: CustomerPage, stranger: CustomerPage, tmp_path: Path
) -> Iterator[Tab]:
    """A tab that asks nobody but the agent and the pages, and breaks no policy."""
    with chromium() as browser:
        context = browser.new_context()
        tab = Tab(context, tmp_path, "light")
        yield tab
        context.close()
    assert tab.complaints == []
    assert tab.origins <= {agent.url, customers.origin, stranger.origin}


def token_of(customers: CustomerPage, agent: AgentProcess) -> str:
    """A token as the page's back end has it."""
    token: str = json.loads(customers.token(agent.url))["token"]
    return token


def dial(tab: Tab, agent: AgentProcess, token: str) -> None:
    """Sign in to the dial page, and call 200."""
    tab.page.goto(f"{agent.url}/dial?number=tel:200")
    tab.page.fill("#key", token)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#call")).to_have_text("Call 200")
    tab.page.keyboard.press("Enter")


class TestBrowser:
    def test_a_double_click_on_a_link(
        self, customers: CustomerPage, tab: Tab, phone: StartPhone, witness: Witness
    ) -> None:
        """Rings one phone, then the other, once; how it goes stands beside the link."""
        phone("100", RINGS), phone("200", TALKS)
        tab.page.goto(customers.origin)
        tab.page.locator("a[href='tel:200']").dblclick()
        said = tab.page.locator("a[href='tel:200'] + c2c-call").get_by_role("status")
        expect(said).to_have_text("Talking")
        expect(said).to_have_text("Call ended")
        seen = witness.wait_until_gone(witness.wait_for_first_call(20), 20)
        assert seen.originates == 1
        assert len(witness.linkedids()) == 1

    def test_the_dial_page(
        self,
        agent: AgentProcess,
        customers: CustomerPage,
        tab: Tab,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """With a token, as a person has it: a call, and its end by Hang up."""
        phone("100", RINGS), phone("200", RINGS)
        dial(tab, agent, token_of(customers, agent))
        assert tab.page.input_value("#first") == "100"
        card = tab.page.locator("c2c-call-card")
        expect(card).to_have_attribute("data-state", "connected")
        expect(tab.page.locator(".clock")).to_have_text("0:01")
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator(".outcome")).to_contain_text("100 and 200 talked")
        seen = witness.wait_until_gone(witness.wait_for_first_call(20), 20)
        assert seen.originates == 1

    def test_a_token_that_has_expired(
        self, customers: CustomerPage, tab: Tab, phone: StartPhone, witness: Witness
    ) -> None:
        """The page gets another one, and one call is placed."""
        phone("100", RINGS), phone("200", TALKS)
        customers.wishes["expires_in"] = 1
        customers.stale = [customers.token(customers.agent)]
        del customers.wishes["expires_in"]
        tab.page.wait_for_timeout(1500)
        tab.page.goto(customers.origin)
        ann = tab.page.locator("c2c-call").first
        ann.get_by_role("button", name="Call Ann").click()
        expect(ann.get_by_role("status")).to_have_text("Call ended")
        assert customers.tokens == 2
        seen = witness.wait_until_gone(witness.wait_for_first_call(20), 20)
        assert seen.originates == 1

    def test_who_may_not(
        self,
        agent: AgentProcess,
        customers: CustomerPage,
        stranger: CustomerPage,
        tab: Tab,
        witness: Witness,
    ) -> None:
        """A page of another origin, and a token of another first leg: no phone rings."""
        tab.page.goto(stranger.origin)
        ann = tab.page.locator("c2c-call").first
        ann.get_by_role("button", name="Call Ann").click()
        expect(ann.get_by_role("status")).to_have_text("The call could not be placed")
        tab.page.goto(f"{agent.url}/dial?number=tel:200")
        tab.page.fill("#key", token_of(customers, agent))
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#first")).to_have_value("100")
        tab.page.evaluate("document.getElementById('first').value = '101'")
        tab.page.click("#call")
        expect(tab.page.locator("#dial-error")).to_contain_text("may not dial this dial_first.")
        tab.page.wait_for_timeout(2000)
        assert witness.linkedids() == []

    def test_two_tabs(
        self,
        agent: AgentProcess,
        customers: CustomerPage,
        tab: Tab,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """The same call in both is one; either hangs it up, and both say how it ended."""
        phone("100", RINGS), phone("200", RINGS)
        both = [tab, tab.another()]
        for one in both:
            dial(one, agent, token_of(customers, agent))
        for one in both:
            expect(one.page.locator("c2c-call-card")).to_have_attribute("data-state", "connected")
        both[1].page.click(".stop")
        for one in both:
            expect(one.page.locator(".outcome")).to_contain_text("100 and 200 talked")
        seen = witness.wait_until_gone(witness.wait_for_first_call(20), 20)
        assert seen.originates == 1
        assert len(witness.linkedids()) == 1

    def test_the_connection_is_lost(
        self,
        agent: AgentProcess,
        customers: CustomerPage,
        tab: Tab,
        phone: StartPhone,
        witness: Witness,
    ) -> None:
        """And comes back during the talk, which goes on meanwhile; the page hangs it up then."""
        phone("100", RINGS), phone("200", RINGS)
        dial(tab, agent, token_of(customers, agent))
        card = tab.page.locator("c2c-call-card")
        expect(card).to_have_attribute("data-state", "connected")
        agent.kill()
        expect(tab.page.locator(".lost")).to_be_visible()
        assert len(witness.linkedids()) == 1
        assert not witness.call(witness.linkedids()[0]).is_gone
        agent.start()
        expect(tab.page.locator(".lost")).to_be_hidden()
        expect(card).to_have_attribute("data-state", "connected")
        tab.page.click(".stop")
        expect(tab.page.locator(".outcome")).to_contain_text("100 and 200 talked")
        seen = witness.wait_until_gone(witness.wait_for_first_call(20), 20)
        assert seen.originates == 1
