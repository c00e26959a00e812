"""Who answered, who refused, who rang: what is told of a leg is of the one that said so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from tests.pbx.agents import AgentProcess
from tests.pbx.conftest import StartPhone, StartTalker
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.pbx_files import PHONE_PASSWORD, SECOND_PHONES
from tests.pbx.sip_scenario import (
    BUSY,
    DECLINES,
    NOT_FOUND,
    RINGS_FOR_EVER,
    UNAVAILABLE,
    Behaviour,
)
from tests.pbx.talker import Talker

QUICK: Final = Behaviour(ring_seconds=0.2)
TALKS: Final = Behaviour(ring_seconds=0.3, talk_seconds=1.0)


def told(leg: dict[str, Any], *parts: str) -> tuple[Any, ...]:
    """These parts of a leg."""
    return tuple(leg[part] for part in parts)


class TestWhoAnswered:
    """An application of the PBX's is no phone; the call is connected all the same."""

    @pytest.mark.parametrize(
        ("refuses", "status", "cause", "sip"),
        [(BUSY, "BUSY", 17, 486), (DECLINES, "NOANSWER", 21, 603)],
        ids=["busy", "declines"],
    )
    def test_the_voicemail_behind_a_phone_that_refuses(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        lateness: Lateness,
        refuses: Behaviour,
        status: str,
        cause: int,
        sip: int,
    ) -> None:
        """It answered, not the phone, which was tried before."""
        phone("100", QUICK)
        refusing = phone("202", refuses)
        request_id = agent.call("100", "210")
        call = agent.ended(request_id)
        assert call["outcome"] == "connected"
        [answer] = [entry for entry in call["timeline"] if entry["event"] == "connected"]
        assert answer["detail"] == call["dial_second"]["channel"]
        second = call["dial_second"]
        assert told(second, "by", "status", "cause", "sip") == ("dialplan", "ANSWER", 16, None)
        assert second["channel"].startswith("Local/210@from-phones-")
        [tried] = second["tried"]
        assert tried["channel"].startswith("PJSIP/202-")
        assert told(tried, "status", "cause", "sip") == (status, cause, sip)
        assert tried["ring_seconds"] == lateness.near(refusing.whole_call().ring_seconds, 0.3)
        first = call["dial_first"]
        assert told(first, "by", "tried") == ("device", [])
        assert first["channel"].startswith("PJSIP/100-")

    def test_the_voicemail_behind_a_phone_that_rings_out(
        self, agent: AgentProcess, phone: StartPhone, lateness: Lateness
    ) -> None:
        """The phone was tried for as long as the dialplan lets it ring."""
        phone("100", QUICK)
        phone("202", RINGS_FOR_EVER)
        call = agent.ended(agent.call("100", "210"))
        second = call["dial_second"]
        assert (call["outcome"], second["by"]) == ("connected", "dialplan")
        [tried] = second["tried"]
        assert told(tried, "status", "sip") == ("NOANSWER", None)
        assert tried["ring_seconds"] == lateness.near(2.0, 0.5)

    def test_the_phone_before_the_voicemail(self, agent: AgentProcess, phone: StartPhone) -> None:
        """It answers: then nothing else did, and nothing was tried before."""
        phone("100", QUICK)
        phone("202", TALKS)
        second = agent.ended(agent.call("100", "210"))["dial_second"]
        assert told(second, "by", "tried") == ("device", [])
        assert second["channel"].startswith("PJSIP/202-")

    @pytest.mark.parametrize(
        ("number", "application"),
        [("211", "voicemail"), ("212", "menu"), ("213", "announcement"), ("293", "silence")],
        ids=["voicemail-without-a-phone", "menu", "announcement", "silence"],
    )
    def test_an_application(
        self, agent: AgentProcess, phone: StartPhone, number: str, application: str
    ) -> None:
        """There is no phone behind it at all."""
        phone("100", QUICK)
        call = agent.ended(agent.call("100", number))
        second = call["dial_second"]
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "second"), application
        assert told(second, "by", "status", "cause", "sip") == ("dialplan", "ANSWER", 16, None)
        assert second["channel"].startswith(f"Local/{number}@from-phones-")
        assert second["tried"] == []

    @pytest.mark.parametrize("number", ["214", "215"], ids=["conference", "queue"])
    def test_one_that_waits_for_somebody(
        self, agent: AgentProcess, phone: StartPhone, number: str
    ) -> None:
        """Nobody comes, and the first hangs up: it talked with an application."""
        phone("100", Behaviour(ring_seconds=0.2, talk_seconds=2.0))
        phone("203", RINGS_FOR_EVER)
        call = agent.ended(agent.call("100", number))
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")
        assert told(call["dial_second"], "by", "tried") == ("dialplan", [])

    def test_the_agent_of_a_queue(self, agent: AgentProcess, phone: StartPhone) -> None:
        """From then on it is that person who has answered."""
        phone("100", QUICK)
        phone("203", TALKS)
        second = agent.ended(agent.call("100", "215"))["dial_second"]
        assert told(second, "by", "status") == ("device", "ANSWER")
        assert second["channel"].startswith("PJSIP/203-")

    def test_an_agent_who_refuses_before_another_answers(
        self, agent: AgentProcess, phone: StartPhone
    ) -> None:
        """The one is told as what was tried, the other as who answered."""
        phone("100", QUICK)
        phone("201", BUSY)
        phone("202", TALKS)
        second = agent.ended(agent.call("100", "295"))["dial_second"]
        assert told(second, "by", "cause", "sip") == ("device", 16, None)
        assert second["channel"].startswith("PJSIP/202-")
        assert [one["channel"].partition("-")[0] for one in second["tried"]] == ["PJSIP/201"]

    def test_the_voicemail_of_one_in_a_group(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Of several extensions the one that answered is named, not the group."""
        phone("100", QUICK)
        phone("202", BUSY)
        phone("203", RINGS_FOR_EVER)
        second = agent.ended(agent.call("100", "216"))["dial_second"]
        assert told(second, "by", "cause", "sip") == ("dialplan", 16, None)
        assert second["channel"].startswith("Local/210@from-phones-")
        assert [one["channel"].partition("-")[0] for one in second["tried"]] == ["PJSIP/202"]

    def test_a_first_number_that_is_no_phone(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Dialled in the context of dial_as, it answers by itself before the second is rung."""
        phone("202", BUSY)
        phone("200", TALKS)
        call = agent.ended(agent.call("210", "200", dial_as="100"))
        assert call["outcome"] == "connected"
        first = call["dial_first"]
        assert told(first, "by", "status", "sip") == ("dialplan", "ANSWER", None)
        assert first["channel"].startswith("Local/210@c2c-first-")
        assert [one["channel"].partition("-")[0] for one in first["tried"]] == ["PJSIP/202"]
        assert call["dial_second"]["by"] == "device"

    def test_an_agent_that_comes_back(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """It sees that no phone is there; what was tried before, nobody remembers."""
        first = phone("100", QUICK)
        phone("202", BUSY)
        agent = AgentProcess(asterisk, tmp_path)
        agent.start()
        request_id = agent.call("100", "223")
        agent.stored(request_id, "connected")
        agent.kill()
        with agent:
            agent.reached(request_id, "pbx_found")
            first.hang_up()
            call = agent.ended(request_id)
        assert (call["outcome"], call["hung_up_by"]) == ("connected", "first")
        second = call["dial_second"]
        assert told(second, "by", "status", "cause", "sip") == ("dialplan", "ANSWER", 16, None)
        assert second["channel"].startswith("Local/223@from-phones-")

    def test_it_is_said_everywhere(self, agent: AgentProcess, phone: StartPhone) -> None:
        """The log's line, the command line, and the metrics."""
        phone("100", QUICK)
        phone("202", BUSY)
        request_id = agent.call("100", "210")
        agent.ended(request_id)
        agent.logged(
            f"call {request_id} ended: connected; first ANSWER by device, second ANSWER by dialplan"
        )
        shown = agent.run("status", request_id).stdout
        assert "dial_second 210: status ANSWER, by dialplan" in shown
        assert "    before PJSIP/202-" in shown
        assert 'c2c_legs_total{by="dialplan",leg="second",status="ANSWER"}' in agent.metrics()


class TestWhoRefused:
    """A dialplan that lets nobody through is no person who declines."""

    @pytest.mark.parametrize(
        ("number", "outcome", "cause"),
        [
            ("230", "second_unreachable", 21),
            ("231", "second_unreachable", 19),
            ("232", "second_unreachable", 18),
            ("218", "second_unreachable", 19),
            ("233", "second_busy", 17),
            ("234", "second_unreachable", 34),
        ],
        ids=["rejected", "no-answer", "no-user", "lets-ringing-be-heard", "busy", "congested"],
    )
    def test_the_dialplan_alone(
        self, agent: AgentProcess, phone: StartPhone, number: str, outcome: str, cause: int
    ) -> None:
        """As a class of service does it; whatever it says was said by nobody's phone."""
        phone("100", QUICK)
        call = agent.ended(agent.call("100", number))
        assert (call["outcome"], call["cause"]) == (outcome, cause)
        second = call["dial_second"]
        assert told(second, "by", "cause", "sip", "tried") == ("dialplan", cause, None, [])
        assert second["channel"].startswith(f"Local/{number}@from-phones-")

    def test_a_first_number(self, agent: AgentProcess) -> None:
        """The same where the first is dialled in the context of dial_as."""
        call = agent.ended(agent.call("230", "200", dial_as="100"))
        assert (call["outcome"], call["dial_first"]["by"]) == ("first_unreachable", "dialplan")

    def test_a_phone_before_the_dialplan(self, agent: AgentProcess, phone: StartPhone) -> None:
        """What the phone said counts, not what the dialplan made of it."""
        phone("100", QUICK)
        phone("202", BUSY)
        call = agent.ended(agent.call("100", "219"))
        assert (call["outcome"], call["cause"]) == ("second_busy", 17)
        assert told(call["dial_second"], "by", "cause", "sip") == ("device", 17, 486)

    def test_a_phone(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Somebody pressed the button."""
        phone("100", QUICK)
        phone("202", DECLINES)
        call = agent.ended(agent.call("100", "202"))
        assert (call["outcome"], call["dial_second"]["by"]) == ("second_declined", "device")


class TestWhoRang:
    """Two phones ring, one refuses: the leg is told as the one that rang to the end."""

    @pytest.mark.parametrize(
        ("leg", "call"), [("first", ("140", "200")), ("second", ("100", "240"))]
    )
    @pytest.mark.parametrize("order", [1, -1], ids=["one-way", "other-way"])
    def test_one_refuses_and_one_rings_out(
        self, agent: AgentProcess, phone: StartPhone, leg: str, call: tuple[str, str], order: int
    ) -> None:
        """Channel, status, cause and response are of one phone; the other was tried."""
        user = call[0] if leg == "first" else call[1]
        phone("200" if leg == "first" else "100", QUICK)
        places = [user, SECOND_PHONES[user]][::order]
        phone(places[0], BUSY)
        phone(places[1], RINGS_FOR_EVER)
        ended = agent.ended(agent.call(*call, timeout="2"))
        assert ended["outcome"] == f"{leg}_no_answer"
        self.check(ended[f"dial_{leg}"])

    def test_for_as_long_as_the_context_lets_them(
        self, agent: AgentProcess, phone: StartPhone
    ) -> None:
        """Its Dial says busy of both."""
        phone("100", QUICK)
        phone("240", BUSY)
        phone(SECOND_PHONES["240"], RINGS_FOR_EVER)
        ended = agent.ended(agent.call("100", "245", timeout="8"))
        assert ended["outcome"] == "second_no_answer"
        assert ended["cause"] == ended["dial_second"]["cause"]
        self.check(ended["dial_second"])

    def check(self, leg: dict[str, Any]) -> None:
        """What is told of the leg is of the phone that rang out."""
        assert told(leg, "by", "status") == ("device", "NOANSWER")
        assert leg["cause"] not in {17, 21}
        assert leg["sip"] != 486
        [tried] = leg["tried"]
        assert told(tried, "status", "cause") == ("BUSY", 17)
        assert tried["channel"] != leg["channel"]


#: Beside the port of a phone, one where no phone is.
GONE: Final = 700

#: What the phone of a user does who does not answer, what that is called, and its cause.
REFUSALS: Final = [
    pytest.param(DECLINES, "declined", 21, id="declines"),
    pytest.param(BUSY, "busy", 17, id="busy"),
    pytest.param(evolve(BUSY, ringing=False, ring_seconds=0), "busy", 17, id="busy-at-once"),
    pytest.param(UNAVAILABLE, "unreachable", 19, id="unavailable"),
    pytest.param(NOT_FOUND, "unreachable", 1, id="not-found"),
]


@pytest.mark.parametrize("leg", ["first", "second"])
@pytest.mark.parametrize("ports", [(0, GONE), (GONE, 0)], ids=["before", "behind"])
class TestStaleContact:
    """A phone that went to another place, and is registered at the old one still."""

    @pytest.fixture(autouse=True)
    def _registered(
        self, asterisk: AsteriskHost, phone: StartPhone, leg: str, ports: tuple[int, int]
    ) -> Iterator[None]:
        """One user has both places, and the other one answers."""
        self.user = "180" if leg == "first" else "280"
        self.numbers = ("180", "200") if leg == "first" else ("100", "280")
        phone("200" if leg == "first" else "100", QUICK)
        pbx, port = (asterisk.address, 5060), asterisk.phone_port(self.user)
        with Talker(self.user, asterisk.phones_address, port + 2 * GONE) as registering:
            for more in ports:
                contact = f"<sip:{self.user}@{asterisk.phones_address}:{port + more}>"
                assert registering.register(pbx, contact, PHONE_PASSWORD) == 200
            yield
            registering.register(pbx, "*", PHONE_PASSWORD, expires=0)

    @pytest.mark.parametrize(("refuses", "result", "cause"), REFUSALS)
    def test_the_live_phone_refuses(
        self,
        agent: AgentProcess,
        phone: StartPhone,
        lateness: Lateness,
        leg: str,
        refuses: Behaviour,
        result: str,
        cause: int,
    ) -> None:
        """What it says counts, when it says it; of the other one nothing was ever heard."""
        live = phone(self.user, refuses)
        call = agent.ended(agent.call(*self.numbers, timeout="3"))
        assert (call["outcome"], call["cause"]) == (f"{leg}_{result}", cause)
        shown = call[f"dial_{leg}"]
        assert told(shown, "by", "cause", "tried") == ("device", cause, [])
        rang = live.calls()[0].ring_seconds
        assert shown["ring_seconds"] == (None if rang is None else lateness.near(rang, 0.3))

    def test_the_live_phone_rings_out(
        self, agent: AgentProcess, phone: StartPhone, leg: str
    ) -> None:
        """Then nobody answered."""
        phone(self.user, RINGS_FOR_EVER)
        call = agent.ended(agent.call(*self.numbers, timeout="2"))
        assert call["outcome"] == f"{leg}_no_answer"
        assert told(call[f"dial_{leg}"], "by", "status") == ("device", "NOANSWER")

    def test_the_context_lets_them_ring_for_less(
        self, agent: AgentProcess, phone: StartPhone, lateness: Lateness, leg: str
    ) -> None:
        """Its Dial gives the stale one up, and says nothing of the refusal."""
        phone(self.user, DECLINES)
        numbers = ("222", "200") if leg == "first" else ("100", "220")
        call = agent.ended(agent.call(*numbers, dial_as="100", timeout="8"))
        assert (call["outcome"], call["cause"]) == (f"{leg}_declined", 21)
        assert call[f"dial_{leg}"]["ring_seconds"] == lateness.near(0.3, 0.3)


#: What the dialplan takes from a device.
TAKEN: Final = {"set_var": ["CLASS_OF_SERVICE", "__FLOOR"], "language": True}


@pytest.fixture(scope="module")
def permitting(
    asterisk: AsteriskHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentProcess]:
    """An agent that is told which variables of a device the dialplan decides by."""
    with AgentProcess(
        asterisk, tmp_path_factory.mktemp("agent"), asterisk_changes={"dial_as": TAKEN}
    ) as agent:
        yield agent


class TestPermission:
    """What a dialplan takes from the caller's device is there for the dial_as user's calls.

    221 rings 202 for a device with a class of service, a floor and a language, as 155's has.
    """

    def test_the_user_s_own_call(
        self, asterisk: AsteriskHost, phone: StartPhone, talker: StartTalker
    ) -> None:
        """It goes through: that is what the others are held against."""
        second = phone("202", TALKS)
        own = talker("155")
        call = own.call("221", (asterisk.address, 5060))
        second.wait_for(lambda one: one.answered_at, 20, "it is answered")
        own.hang_up(call)

    def test_of_the_second(self, permitting: AgentProcess, phone: StartPhone) -> None:
        """Whoever is first: it is the dial_as user's that counts."""
        phone("100", QUICK)
        second = phone("202", TALKS)
        call = permitting.ended(permitting.call("100", "221", dial_as="155"))
        assert (call["outcome"], call["dial_second"]["by"]) == ("connected", "device")
        assert len(second.calls()) == 1

    def test_of_a_first_number_outside(self, permitting: AgentProcess, phone: StartPhone) -> None:
        """It is dialled in the same context, with the same permission."""
        phone("202", QUICK)
        phone("200", TALKS)
        call = permitting.ended(permitting.call("221", "200", dial_as="155"))
        assert (call["outcome"], call["dial_first"]["by"]) == ("connected", "device")

    def test_without_an_agent(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone
    ) -> None:
        """The dialplan that dials alone has it, too."""
        first = phone("100", Behaviour(ring_seconds=None))
        second = phone("202", TALKS)
        agent = AgentProcess(asterisk, tmp_path, asterisk_changes={"dial_as": TAKEN})
        agent.start()
        request_id = agent.call("100", "221", dial_as="155")
        agent.stored(request_id, "first_ringing")
        agent.kill()
        first.decide()
        second.wait_for(lambda call: call.ended_at, 20, "the call has ended")
        with agent:
            assert agent.ended(request_id)["outcome"] == "connected"

    @pytest.mark.parametrize(
        ("first", "numbers"), [("155", ("155", "221")), ("200", ("221", "200"))]
    )
    def test_who_has_it_not(
        self, permitting: AgentProcess, phone: StartPhone, first: str, numbers: tuple[str, str]
    ) -> None:
        """The dialplan refuses, and nobody is rung, though the first phone's own user may."""
        phone(first, QUICK)
        asked = phone("202", TALKS)
        call = permitting.ended(permitting.call(*numbers, dial_as="100"))
        leg = "second" if numbers[1] == "221" else "first"
        assert (call["outcome"], call[f"dial_{leg}"]["by"]) == (f"{leg}_unreachable", "dialplan")
        assert asked.calls() == []
