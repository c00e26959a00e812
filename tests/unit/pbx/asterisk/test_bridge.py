"""Tests of pbx.asterisk.bridge: what is said to a channel, and what is learned from it."""

from __future__ import annotations

import pytest

from c2c_agent.agi.channel import AgiChannel
from c2c_agent.agi.message import SessionLost
from c2c_agent.call.evidence import SaidBy
from c2c_agent.config.pbx import AgiConfig
from c2c_agent.pbx.asterisk.bridge import acknowledge, agi_url, bridge, refuse
from c2c_agent.pbx.asterisk.evidence import DialResult
from tests.unit.agi.playbook import BEGIN, ProtocolTest

DIAL = '> EXEC "Dial" "PJSIP/200,20,giS(3600)U(c2c-answered^PJSIP/100-00000001)"\n'
READ = '> GET FULL VARIABLE "${DIALSTATUS},${HANGUPCAUSE},${SHARED(C2C_ANSWERED)}${C2C_ANSWERED}"\n'
DONE = '> SET VARIABLE "C2C_DONE" "1"\n200 result=1\n= closed'
KEYS = '> GET FULL VARIABLE "${HANGUPCAUSE_KEYS()}"\n'


class BridgeTests(ProtocolTest):
    """One Dial, its result, and C2C_DONE as the last word."""

    def setUp(self) -> None:
        super().setUp()
        self.kept: list[DialResult] = []
        self.keeps = True
        self.asks = False
        self.in_own_language = False

    async def keep(self, result: DialResult) -> bool:
        """Be a store, in order or not."""
        self.kept.append(result)
        return self.keeps

    def bridge(self, dialogue: str, *, told: bool = True) -> DialResult:
        """Play a dialogue; what the conversation learned, and whether the dialplan was told."""

        async def conversation(channel: AgiChannel) -> None:
            self.heard.append(
                await bridge(
                    channel,
                    "PJSIP/200",
                    ring_seconds=20,
                    max_duration=3600,
                    in_own_language=self.in_own_language,
                    wants_refusals=lambda: self.asks,
                    keep=self.keep,
                )
            )

        self.connect(self.factory(conversation), BEGIN + dialogue)
        assert self.heard == [told]
        (result,) = self.kept
        return result

    def test_answered(self) -> None:
        """The second leg ended the talk; the first was still there."""
        result = self.bridge(
            DIAL + "200 result=0\n" + READ + "200 result=1 (ANSWER,16,1795411045.435)\n" + DONE
        )
        assert result == DialResult("ANSWER", 16, answered_at=1795411045.435)

    def test_the_result_is_kept_before_the_last_word(self) -> None:
        """Where it could not be, the dialplan is not told that we have it, and leaves its own."""
        self.keeps = False
        dialogue = DIAL + "200 result=0\n" + READ + "200 result=1 (ANSWER,16,)\n= closed"
        assert self.bridge(dialogue, told=False) == DialResult("ANSWER", 16)

    def test_the_session_ends_before_the_last_word(self) -> None:
        """The result is kept, so that it counts."""
        result = self.bridge(
            DIAL
            + "200 result=0\n"
            + READ
            + "200 result=1 (ANSWER,16,)\n"
            + '> SET VARIABLE "C2C_DONE" "1"\n= lost',
            told=False,
        )
        assert result == DialResult("ANSWER", 16)

    def test_dial_lasts_as_long_as_the_call(self) -> None:
        """However long: no time limit of ours ends it."""
        result = self.bridge(
            DIAL + "= 14400 s\n= open\n200 result=0\n" + READ + "200 result=1 (ANSWER,16,)\n" + DONE
        )
        assert result == DialResult("ANSWER", 16)

    def test_in_the_language_of_the_dial_as_user(self) -> None:
        """It is handed on before the second is called."""
        self.in_own_language = True
        dialogue = DIAL.replace("U(", "b(c2c-language^s^1)U(") + "200 result=0\n"
        dialogue += READ + "200 result=1 (ANSWER,16,)\n" + DONE
        assert self.bridge(dialogue) == DialResult("ANSWER", 16)

    def test_the_first_hangs_up(self) -> None:
        """Its hangup comes with Dial's result, and the variables can still be read."""
        result = self.bridge(
            DIAL + "200 result=-1\n" + READ + "HANGUP\n200 result=1 (CANCEL,0,)\n" + DONE
        )
        assert result == DialResult("CANCEL", 0, first_hung_up=True)

    def test_the_sip_response_of_a_refusal(self) -> None:
        """Of the second leg's SIP channels; ours is not asked, whatever the order."""
        result = self.bridge(
            DIAL
            + "200 result=0\n"
            + READ
            + "200 result=1 (BUSY,17,)\n"
            + KEYS
            + "200 result=1 (PJSIP/100-00000001,PJSIP/200-00000001)\n"
            + '> GET FULL VARIABLE "${HANGUPCAUSE(PJSIP/200-00000001,tech)}"\n'
            + "200 result=1 (SIP 486 Busy Here)\n"
            + DONE
        )
        assert result == DialResult("BUSY", 17, {"PJSIP/200-00000001": 486}, SaidBy.DEVICE)

    def test_the_responses_of_who_refused_before_something_answered(self) -> None:
        """Asked where events have not told them: it costs a conversation with each call."""
        self.asks = True
        result = self.bridge(
            DIAL
            + "200 result=0\n"
            + READ
            + "200 result=1 (ANSWER,16,)\n"
            + KEYS
            + "200 result=1 (PJSIP/100-00000001,PJSIP/201-00000001,PJSIP/202-00000001)\n"
            + '> GET FULL VARIABLE "${HANGUPCAUSE(PJSIP/201-00000001,tech)}"\n'
            + "200 result=1 (SIP 486 Busy Here)\n"
            + '> GET FULL VARIABLE "${HANGUPCAUSE(PJSIP/202-00000001,tech)}"\n'
            + "200 result=1 (SIP 603 Decline)\n"
            + DONE
        )
        refused = {"PJSIP/201-00000001": 486, "PJSIP/202-00000001": 603}
        assert result == DialResult("ANSWER", 16, refused)

    def test_a_dialplan_that_refuses(self) -> None:
        """Ours is the only channel that there is a cause of."""
        result = self.bridge(
            DIAL
            + "200 result=0\n"
            + READ
            + "200 result=1 (CHANUNAVAIL,21,)\n"
            + KEYS
            + "200 result=1 (PJSIP/100-00000001)\n"
            + DONE
        )
        assert result == DialResult("CHANUNAVAIL", 21, refused_by=SaidBy.DIALPLAN)

    def test_a_refusal_without_a_sip_response(self) -> None:
        """No extension, no channel, nothing to ask."""
        result = self.bridge(
            DIAL
            + "200 result=0\n"
            + READ
            + "200 result=1 (CHANUNAVAIL,0,)\n"
            + KEYS
            + "200 result=1 ()\n"
            + DONE
        )
        assert result == DialResult("CHANUNAVAIL", 0)

    def test_a_cause_that_is_no_sip_response(self) -> None:
        """Another technology says something of its own."""
        result = self.bridge(
            DIAL
            + "200 result=0\n"
            + READ
            + "200 result=1 (CONGESTION,34,)\n"
            + KEYS
            + "200 result=1 (PJSIP/trunk-1)\n"
            + '> GET FULL VARIABLE "${HANGUPCAUSE(PJSIP/trunk-1,tech)}"\n'
            + "200 result=0\n"
            + DONE
        )
        assert result == DialResult("CONGESTION", 34)

    def test_variables_that_are_not_there(self) -> None:
        """A dialplan without c2c-answered, or an application Dial that never ran."""
        result = self.bridge(
            DIAL + "200 result=-2\n" + READ + "200 result=0\n" + KEYS + "200 result=0\n" + DONE
        )
        assert result == DialResult(status="")

    def test_lost(self) -> None:
        """A connection that ends before the result was read leaves no result."""

        async def conversation(channel: AgiChannel) -> None:
            try:
                await bridge(
                    channel,
                    "PJSIP/200",
                    ring_seconds=20,
                    max_duration=3600,
                    wants_refusals=lambda: False,
                    keep=self.keep,
                )
            except SessionLost:
                self.heard.append("lost")

        self.connect(self.factory(conversation), BEGIN + DIAL + "= lost")
        assert self.heard == ["lost"]


class OtherTests(ProtocolTest):
    """Sessions in which nothing is dialled."""

    def test_refuse(self) -> None:
        """The dialplan hangs up, and dials nothing by itself."""
        self.connect(self.factory(refuse), BEGIN + DONE)

    def test_acknowledge(self) -> None:
        """The test call ends with a cause that nothing else gives."""
        done = '> SET VARIABLE "C2C_DONE" "1"\n200 result=1\n'
        hangup = '> EXEC "Hangup" "27"\n200 result=-1\nHANGUP\n= closed'
        self.connect(self.factory(acknowledge), BEGIN + done + hangup)


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (AgiConfig(), "agi://127.0.0.1:8475/c2c"),
        (AgiConfig(listen="tcp:4574"), "agi://127.0.0.1:4574/c2c"),
        (AgiConfig(listen="tcp:8475:interface=192.0.2.1"), "agi://192.0.2.1:8475/c2c"),
        (AgiConfig(url="agi://agent:8475/c2c"), "agi://agent:8475/c2c"),
        (AgiConfig(url="agi://agent/c2c"), "agi://agent/c2c"),
        (AgiConfig(listen=r"tcp6:8475:interface=\:\:1"), "agi://[::1]:8475/c2c"),
        (AgiConfig(listen="tcp6:8475"), "agi://[::1]:8475/c2c"),
    ],
)
def test_agi_url(config: AgiConfig, url: str) -> None:
    """As configured, or as the listener is reached from the same host."""
    assert agi_url(config) == url
