"""Whose call it is: caller ID on both phones, accountcode, and the context of dial_as."""

from __future__ import annotations

import pytest

from tests.pbx.agents import OTHER_KEY, AgentProcess
from tests.pbx.conftest import StartPhone, StartTalker
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.linkedid import linkedid_of
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.sip_trace import SipMessage
from tests.pbx.waiting import wait_until

QUICK = Behaviour(ring_seconds=0.2)
TALKS = Behaviour(ring_seconds=0.2, talk_seconds=0.5)


def identity(invite: SipMessage) -> dict[str, str]:
    """What an INVITE says of who calls, without what is of this call alone."""
    names = ("From", "P-Asserted-Identity", "Remote-Party-ID", "Privacy")
    return {name: invite.header(name).partition(";tag=")[0] for name in names}


def accounts(asterisk: AsteriskHost, request_id: str, destination: str) -> set[str]:
    """The accounts in the CDRs of a call's leg to `destination`, when they are written."""

    def written() -> set[str]:
        rows = asterisk.cdrs(linkedid_of(request_id))
        return {row["accountcode"] for row in rows if row["dst"] == destination}

    return wait_until(written, 10, f"a CDR of the leg to {destination}")


class TestCallerId:
    def test_each_phone_shows_the_right_caller(
        self, agent: AgentProcess, phone: StartPhone
    ) -> None:
        """The first shows whom it will talk to, the second the dial_as user."""
        first, second = phone("100", QUICK), phone("200", TALKS)
        agent.ended(agent.call("100", "200"))
        assert first.invites()[0].caller_number == "200"
        assert second.invites()[0].caller_number == "100"
        assert second.invites()[0].caller_name == "Phone 100"

    def test_dial_as_is_the_identity_of_the_second_leg(
        self, agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """Somebody else's identity: their caller ID, and their account is billed."""
        phone("100", QUICK)
        second = phone("200", TALKS)
        request_id = agent.call("100", "200", dial_as="102")
        call = agent.ended(request_id)
        assert call["outcome"] == "connected"
        assert second.invites()[0].caller_number == "102"
        assert second.invites()[0].caller_name == "Phone 102"
        assert accounts(asterisk, request_id, "200") == {"acct102"}

    def test_the_misspelling_of_the_specification_works(
        self, agent: AgentProcess, phone: StartPhone
    ) -> None:
        """`dail_as` is dial_as."""
        phone("100", QUICK)
        second = phone("200", TALKS)
        agent.ended(agent.call("100", "200", dail_as="102"))
        assert second.invites()[0].caller_number == "102"

    def test_the_account_is_that_of_dial_as_by_default_the_first(
        self, agent: AgentProcess, asterisk: AsteriskHost, phone: StartPhone
    ) -> None:
        """Without dial_as the first leg's own user pays."""
        phone("100", QUICK)
        phone("200", TALKS)
        request_id = agent.call("100", "200")
        agent.ended(request_id)
        assert accounts(asterisk, request_id, "200") == {"acct100"}


class TestWithheld:
    """Whoever withholds the number in calls of the phone's own does so here."""

    @pytest.mark.parametrize("caller", ["100", "190", "191", "192"])
    @pytest.mark.parametrize("called", ["200", "247"], ids=["phone", "trunk"])
    def test_the_second_is_told_as_much_as_by_a_call_of_the_phone(
        self,
        agent: AgentProcess,
        asterisk: AsteriskHost,
        phone: StartPhone,
        talker: StartTalker,
        caller: str,
        called: str,
    ) -> None:
        """Number, name, presentation, and what a provider is told beside them."""
        first, second = talker(caller), phone(called, TALKS)
        own = first.call(called, (asterisk.address, 5060))
        second.wait_for(lambda call: call.ended_at, 20, "the phone's own call is over")
        wait_until(lambda: own.ended_at, 10, "it is over for the phone, too")
        assert agent.ended(agent.call(caller, called))["outcome"] == "connected"
        [by_itself, by_us] = map(identity, second.invites())
        assert by_us == by_itself
        if caller in {"190", "191"}:
            assert caller not in by_us["From"]

    @pytest.mark.parametrize(("first", "user"), [("101", "190"), ("190", "100"), ("301", "190")])
    def test_it_is_the_user_s_whoever_is_rung_first(
        self,
        agent: AgentProcess,
        asterisk: AsteriskHost,
        phone: StartPhone,
        talker: StartTalker,
        first: str,
        user: str,
    ) -> None:
        """Another phone that shows its number, one that does not, and one outside."""
        phone("101" if first == "301" else first, QUICK)
        own, second = talker(user), phone("247", TALKS)
        called = own.call("247", (asterisk.address, 5060))
        wait_until(lambda: called.ended_at, 20, "the user's own call is over")
        assert agent.ended(agent.call(first, "247", dial_as=user))["outcome"] == "connected"
        [by_itself, by_us] = map(identity, second.invites())
        assert by_us == by_itself

    def test_nothing_in_the_talk_shows_more(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Nor what the second's provider is told while they talk."""
        phone("190", QUICK)
        provider = phone("247", Behaviour(ring_seconds=0.2, talk_seconds=2.0))
        assert agent.ended(agent.call("190", "247"))["outcome"] == "connected"
        messages = provider.whole_call().messages
        named = [one for one in messages if one.received and one.header("P-Asserted-Identity")]
        assert named
        for message in named:
            assert message.header("Privacy") == "id", message
            assert ";privacy=full;" in message.header("Remote-Party-ID"), message


class TestPermission:
    def test_the_context_of_dial_as_decides(self, agent: AgentProcess, phone: StartPhone) -> None:
        """150 may dial 200 but not 103, whoever is rung first."""
        phone("100", QUICK)
        phone("200", TALKS)
        stranger = phone("103", TALKS)
        assert agent.ended(agent.call("100", "200", dial_as="150"))["outcome"] == "connected"
        refused = agent.ended(agent.call("100", "103", dial_as="150"))
        assert refused["outcome"] == "second_unreachable"
        assert stranger.calls() == []

    def test_a_first_number_outside_is_dialled_with_that_permission_too(
        self, agent: AgentProcess
    ) -> None:
        """A first leg that is no device goes through the context of dial_as, too."""
        busy = agent.ended(agent.call("290", "200", dial_as="100"))
        assert busy["outcome"] == "first_busy"
        unreachable = agent.ended(agent.call("290", "200", dial_as="150"))
        assert unreachable["outcome"] == "first_unreachable"

    def test_unknown_dial_as(self, agent: AgentProcess, phone: StartPhone) -> None:
        """No such endpoint and no context configured: refused, and nobody is rung."""
        first = phone("100", QUICK)
        response = agent.place("100", "200", dial_as="777")
        assert response["status"] == "fail"
        assert response["errors"][0]["error"]["code"] == "unknown_dial_as"
        call = agent.ended(response["request_id"])
        assert call["outcome"] == "rejected"
        assert first.calls() == []

    def test_patterns_of_the_key_hold_for_both_numbers(self, agent: AgentProcess) -> None:
        """A key that may dial 1XX places no call to or from 2XX."""
        response = agent.place("200", "201", OTHER_KEY)
        assert [entry["error"]["code"] for entry in response["errors"]] == ["not_allowed"] * 2


class TestOwnConfiguration:
    def test_configured_contexts_win(
        self, asterisk: AsteriskHost, phone: StartPhone, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A configured context wins over the endpoint's; the default serves unknown users."""
        phone("100", QUICK)
        second = phone("200", TALKS)
        other = phone("103", TALKS)
        contexts = {"contexts": {"100": "limited"}, "default_context": "from-phones"}
        with AgentProcess(
            asterisk, tmp_path_factory.mktemp("agent"), asterisk_changes={"dial_as": contexts}
        ) as agent:
            assert agent.ended(agent.call("100", "103"))["outcome"] == "second_unreachable"
            assert other.calls() == []
            assert agent.ended(agent.call("100", "200", dial_as="777"))["outcome"] == "connected"
        assert second.invites()[-1].caller_number == "777"

    def test_a_device_as_first_leg(
        self, asterisk: AsteriskHost, phone: StartPhone, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Dialled as a device, without the Local channel: the same results."""
        phone("100", QUICK)
        phone("200", TALKS)
        rules = [{"match": "_X.", "channel": "PJSIP/{number}"}]
        with AgentProcess(
            asterisk, tmp_path_factory.mktemp("agent"), asterisk_changes={"first_leg": rules}
        ) as agent:
            call = agent.ended(agent.call("100", "200"))
            assert (call["outcome"], call["hung_up_by"]) == ("connected", "second")
            request_id = agent.call("100", "201", timeout="30")
            agent.reached(request_id, "dialing_second")
            agent.cancel(request_id)
            call = agent.ended(request_id)
            assert (call["outcome"], call["hung_up_by"]) == ("cancelled", "cancel")

    def test_the_pbx_refuses_in_its_own_words(
        self, asterisk: AsteriskHost, phone: StartPhone, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A bridge context that does not exist: Asterisk's message reaches the caller."""
        first = phone("100", QUICK)
        with AgentProcess(
            asterisk,
            tmp_path_factory.mktemp("agent"),
            asterisk_changes={"bridge_context": "c2c-nowhere"},
        ) as agent:
            response = agent.place("100", "200")
            assert response["status"] == "fail"
            error = response["errors"][0]["error"]
            assert error["code"] == "pbx_error"
            assert error["message"] == "Extension does not exist."
            assert error["url"].endswith(response["request_id"])
            assert agent.ended(response["request_id"])["outcome"] == "pbx_error"
        assert first.calls() == []

    def test_more_variables(
        self, asterisk: AsteriskHost, phone: StartPhone, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Configured variables are sent, with their placeholders filled in."""
        phone("100", QUICK)
        phone("200", TALKS)
        with AgentProcess(
            asterisk,
            tmp_path_factory.mktemp("agent"),
            asterisk_changes={"variables": {"__SITE": "hq {number} {dial_as}"}},
        ) as agent:
            request_id = agent.call("100", "200")
            agent.ended(request_id)
            sent = agent.status(request_id)["pbx_request"]["pbx_data"]["Variable"]
        assert "__SITE=hq 100 100" in sent

    def test_the_longest_duration(
        self,
        asterisk: AsteriskHost,
        phone: StartPhone,
        tmp_path_factory: pytest.TempPathFactory,
        lateness: Lateness,
    ) -> None:
        """A forgotten talk is ended by the PBX."""
        phone("100", QUICK)
        second = phone("200", QUICK)
        with AgentProcess(
            asterisk, tmp_path_factory.mktemp("agent"), {"calls": {"max_duration": 2}}
        ) as agent:
            call = agent.ended(agent.call("100", "200"))
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "limit")
        assert call["talk_seconds"] == lateness.near(second.whole_call().talk_seconds, 0.5)
        assert call["talk_seconds"] > 1.5
