"""The dial page in a browser, against a whole agent with a scripted PBX."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Tab
from tests.browser.conftest import CRM, KEY, KEYS, ScriptedAgent
from tests.pbx.waiting import wait_until

OpenTab = Callable[..., Tab]

LOOKS = [(look, width) for look in ("light", "dark") for width in (1280, 360)]


def signed_in(tab: Tab, agent: ScriptedAgent, query: str = "", key: str = KEY) -> None:
    """Sign in by keyboard alone."""
    tab.page.goto(f"{agent.origin}/dial{query}")
    expect(tab.page.locator("#key")).to_be_focused()
    tab.page.keyboard.type(key)
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#dial")).to_be_visible()


def state(tab: Tab, name: str) -> None:
    """Wait for a state of the call that is shown."""
    expect(tab.page.locator("c2c-call-card")).to_have_attribute("data-state", name)


@pytest.mark.parametrize(("look", "width"), LOOKS)
def test_a_call_by_keyboard(agent: ScriptedAgent, open_tab: OpenTab, look: str, width: int) -> None:
    """From the key to the outcome, without a mouse; every view is looked at."""
    tab = open_tab(look, width)
    tab.page.goto(f"{agent.origin}/dial")
    tab.look("dial-sign-in")
    signed_in(tab, agent)
    expect(tab.page.locator("#second")).to_be_focused()
    tab.page.keyboard.type("200")
    expect(tab.page.locator("#call")).to_have_text("Call 200")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type("100")
    tab.look("dial-number")
    tab.page.keyboard.press("Enter")
    state(tab, "second_ringing")
    expect(tab.page.locator(".leg .word")).to_have_text(["answered", "ringing"])
    tab.look("dial-ringing")
    state(tab, "connected")
    expect(tab.page.locator(".clock")).to_have_text("0:01")
    tab.look("dial-talking")
    expect(tab.page.locator(".stop")).to_be_focused()
    tab.page.keyboard.press("Enter")
    state(tab, "ended")
    expect(tab.page.locator(".outcome")).to_contain_text("100 and 200 talked")
    expect(tab.page.locator(".again")).to_be_focused()
    tab.look("dial-ended")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#first")).to_have_value("100")
    assert [call["call"]["outcome"] for call in agent.calls()] == ["connected"]


def test_ends_are_sentences(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Busy is no error, and what the PBX refuses is said in its words."""
    tab = open_tab()
    signed_in(tab, agent)
    tab.page.fill("#first", "100")
    tab.page.fill("#second", "209")
    tab.page.click("#call")
    expect(tab.page.locator(".outcome")).to_have_text("209 was busy.")
    tab.page.click(".again")
    tab.page.fill("#second", "404")
    tab.page.click("#call")
    expect(tab.page.locator("#dial-error")).to_have_text("Extension does not exist.")


def test_a_second_click(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Is no second call."""
    tab = open_tab()
    signed_in(tab, agent)
    tab.page.fill("#first", "100")
    tab.page.fill("#second", "200")
    tab.page.evaluate(
        "document.getElementById('call').click(), document.getElementById('call').click()"
    )
    state(tab, "connected")
    assert len(agent.calls()) == 1


def test_the_same_call_again(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Within five seconds the same numbers are the first call, also after it is over."""
    tab = open_tab()
    signed_in(tab, agent)
    for later in (0, 4, 6):  # seconds since the first was asked for
        tab.page.fill("#first", "100")
        tab.page.fill("#second", "209")
        tab.page.evaluate(f"performance.now = () => {1e6 + later * 1000}")
        tab.page.click("#call")
        expect(tab.page.locator(".outcome")).to_have_text("209 was busy.")
        tab.page.click(".again")
        assert len(agent.calls()) == (1 if later < 5 else 2)


def test_the_connection_is_lost(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """And comes back during a call: the page says so, and shows the call to its end."""
    tab = open_tab()
    signed_in(tab, agent)
    tab.page.fill("#first", "100")
    tab.page.fill("#second", "200")
    tab.page.click("#call")
    state(tab, "connected")
    agent.stop()
    expect(tab.page.locator(".lost")).to_be_visible()
    expect(tab.page.locator(".clock")).to_be_visible()
    agent.start()  # this PBX has forgotten the call meanwhile
    state(tab, "ended")
    expect(tab.page.locator(".lost")).to_be_hidden()
    [call] = agent.calls()
    assert call["call"]["state"] == "ended"


def test_a_link(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """What the browser opens for a tel: link fills the form, and rings nobody.

    The registration itself asks a person, which no browser without a window does: this opens the
    address that the browser would open.
    """
    tab = open_tab()
    tab.page.add_init_script(
        "navigator.registerProtocolHandler = (...given) => { window.registered = given; };"
    )
    signed_in(tab, agent, "?number=tel%3A%2B1-555-010-0100")
    expect(tab.page.locator("#second")).to_have_value("+1-555-010-0100")
    assert tab.page.url == f"{agent.origin}/dial"  # the number is not left in the history
    tab.page.click("#register")
    assert tab.page.evaluate("window.registered") == ["tel", f"{agent.origin}/dial?number=%s"]
    assert agent.calls() == []


def test_links_without_https(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """The page says what browsers want, and does not offer what they refuse."""
    plain = "http://phone.example.com"
    tab = open_tab(allowed=(plain,))
    tab.page.route(
        f"{plain}/**",
        lambda route: route.fulfill(
            response=route.fetch(url=route.request.url.replace(plain, agent.origin))
        ),
    )
    for origin, words, offered in (
        (plain, "browsers want this page over HTTPS", False),
        (agent.origin, "You are asked before anything rings", True),
    ):
        tab.page.goto(f"{origin}/dial")
        tab.page.fill("#key", KEY)
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#links-words")).to_be_visible()
        expect(tab.page.locator("#links-words")).to_contain_text(words)
        expect(tab.page.locator("#register")).to_be_visible(visible=offered)
        assert tab.page.evaluate("isSecureContext") is offered


def test_a_token_of_another_phone(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """It rings its own phone alone, whatever a page asks for; and it is no key for another's."""
    token = agent.ask("/c2c/v2/tokens", key=KEY, dial_first="101")["token"]
    tab = open_tab()
    signed_in(tab, agent, key=token)
    expect(tab.page.locator("#first")).to_have_value("101")
    expect(tab.page.locator("#first")).to_have_attribute("readonly", "")
    tab.page.evaluate("document.getElementById('first').value = '100'")
    tab.page.fill("#second", "200")
    tab.page.click("#call")
    expect(tab.page.locator("#dial-error")).to_contain_text("may not dial this dial_first.")
    other = agent.ask("/c2c/v2", key=KEY, dial_first="100", dial_second="200")
    refused = tab.page.evaluate(
        """([id, token]) => fetch(`/c2c/v2/cancel/${id}`,
            {method: "POST", headers: {Authorization: `Bearer ${token}`}})
            .then((answer) => answer.json())""",
        [other["response"]["request_id"], token],
    )
    assert refused["response"]["errors"][0]["error"]["code"] == "not_found"
    outcomes = {call["call"]["outcome"] for call in agent.calls()}
    assert outcomes == {"rejected", None}


def test_two_tabs(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """The same two numbers in both, at once, are one call; both show it to its end."""
    agent.reload([{**CRM, "repeat_window": 5}])
    tab = open_tab()
    both = [tab, tab.another()]
    for one in both:
        signed_in(one, agent)
        one.page.fill("#first", "100")
        one.page.fill("#second", "200")
    for one in both:
        one.page.click("#call")
    for one in both:
        state(one, "connected")
    both[1].page.click(".stop")
    for one in both:
        expect(one.page.locator(".outcome")).to_contain_text("100 and 200 talked")
    assert len(agent.calls()) == 1


READ: Final = """async ([path, token]) => {
    const answer = await fetch(path, {headers: {Authorization: `Bearer ${token}`}});
    window.heard = "";
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) window.heard += text;
    return window.heard;
}"""

ENDED: Final = "window.heard.includes('call.ended')"


def test_a_stream_ends(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """When its token is revoked, and when its key ends; what is read then is over."""
    tab = open_tab()
    tab.page.goto(f"{agent.origin}/dial")
    for end in ("token", "key"):
        made = agent.ask("/c2c/v2/tokens", key=KEY, dial_first="100")
        script = f"window.reading = ({READ})({json.dumps(['/c2c/v2/events', made['token']])}); 0"
        tab.page.evaluate(script)
        wait_until(lambda: tab.page.evaluate("window.heard"), 20, "the stream begins")
        agent.ask("/c2c/v2", key=KEY, dial_first="100", dial_second="209")
        wait_until(lambda: tab.page.evaluate(ENDED), 20, "the call ends")
        if end == "token":
            agent.ask(f"/c2c/v2/tokens/{made['id']}", key=KEY, method="DELETE")
        else:
            agent.reload([{**CRM, "sha256": "0" * 64}])
        assert "call.ended" in tab.page.evaluate("window.reading")


def test_a_token_that_is_revoked(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """During a call the page shows who dialled out, where a status takes a key."""
    agent.stop()
    agent.settings["http"]["status_requires_key"] = True
    agent.configure(KEYS)
    agent.start()
    made = agent.ask("/c2c/v2/tokens", key=KEY, dial_first="100")
    tab = open_tab()
    signed_in(tab, agent, key=made["token"])
    tab.page.fill("#second", "200")
    tab.page.click("#call")
    state(tab, "connected")
    agent.ask(f"/c2c/v2/tokens/{made['id']}", key=KEY, method="DELETE")
    expect(tab.page.locator("#sign-in-error")).to_have_text("This token was revoked.")
    assert tab.page.evaluate("sessionStorage.length") == 0


def test_a_wrong_key(agent: ScriptedAgent, open_tab: OpenTab) -> None:
    """Is refused in the agent's words, and not kept; signing out forgets the right one."""
    tab = open_tab()
    tab.page.goto(f"{agent.origin}/dial")
    tab.page.fill("#key", "nobody's")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#sign-in-error")).to_have_text("This api_key is not known.")
    assert tab.page.evaluate("sessionStorage.length") == 0
    signed_in(tab, agent)
    tab.page.reload()
    expect(tab.page.locator("#dial")).to_be_visible()
    assert KEY not in tab.page.evaluate("JSON.stringify(localStorage) + document.cookie + location")
    tab.page.click("#sign-out")
    assert tab.page.evaluate("sessionStorage.length") == 0
