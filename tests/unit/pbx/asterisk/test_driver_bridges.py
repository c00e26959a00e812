"""The Asterisk driver dials the second leg over FastAGI, and tells what comes of it."""

from __future__ import annotations

from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent

from c2c_agent.agi.protocol import AgiFactory, AgiProtocol
from c2c_agent.ami.actions import Action
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.call.events import (
    FirstAnswered,
    Found,
    Gone,
    SecondAnswered,
    SecondDialed,
    SecondEnded,
)
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.config.pbx import AsteriskConfig, SecondLegRule
from c2c_agent.pbx.asterisk.channel_id import check_id, root_id
from c2c_agent.pbx.driver import PlacedCall
from c2c_agent.policy.pattern import parse_pattern
from tests.fake_link import message
from tests.fakes import uuid
from tests.unit.pbx.asterisk.driver_case import ID, ROOT, DriverTestCase, talking

ENVIRONMENT = (
    "agi_network: yes\nagi_network_script: {script}\nagi_channel: {name}\n"
    "agi_uniqueid: {uniqueid}\n{arguments}\n"
)


class BridgeTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = AgiFactory(self.driver.accept, self.clock)
        protocol = self.factory.buildProtocol(None)
        assert isinstance(protocol, AgiProtocol)
        self.agi = protocol
        self.transport = StringTransport()
        self.agi.makeConnection(cast("Any", self.transport))

    def connect(
        self,
        uniqueid: str = ROOT,
        script: str = "c2c",
        *,
        name: str = "PJSIP/100-1",
        arguments: tuple[str, ...] = (),
    ) -> None:
        """Asterisk connects with a channel."""
        lines = "".join(f"agi_arg_{n}: {text}\n" for n, text in enumerate(arguments, 1))
        self.say(ENVIRONMENT.format(uniqueid=uniqueid, script=script, name=name, arguments=lines))

    def prove(self, secret: str | None = None) -> None:
        """The channel tells the secret of the call, or another."""
        assert self.heard() == 'GET VARIABLE "C2C_SECRET"\n'
        self.say(f"200 result=1 ({secret or self.secret()})\n")

    def secret(self) -> str:
        """What was sent with the call."""
        plan = self.observer.plan
        assert plan is not None
        assert isinstance(plan.order, Action)
        sent = [value for _, value in plan.order.headers if value.startswith("_C2C_SECRET=")]
        return sent[0].removeprefix("_C2C_SECRET=")

    def come_to_the_bridge(self) -> None:
        """The answered first leg comes to the agent, and proves that it is of the call."""
        self.connect(arguments=(ID,))
        self.prove()

    def say(self, text: str) -> None:
        """Asterisk says something."""
        self.agi.dataReceived(text.encode())

    def heard(self) -> str:
        """What the agent has said since the last look."""
        text = self.transport.value()
        self.transport.clear()
        return str(text, "ascii")

    def hang_up(self) -> None:
        """The connection ends."""
        self.agi.connectionLost()

    def test_dials_and_reads_the_result(self) -> None:
        """One Dial, with the plan's target, timeout and the longest duration."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        assert self.observer.told == [FirstAnswered("PJSIP/100-1"), SecondDialed(30)]
        assert self.heard() == (
            'EXEC "Dial" "Local/200@from-phones,30,giS(3600)U(c2c-answered^PJSIP/100-1)"\n'
        )
        self.say("200 result=0\n")
        assert self.heard().startswith("GET FULL VARIABLE")
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.say("200 result=1\n")
        assert self.transport.disconnecting
        self.hang_up()
        self.originate_response("Success", "4")
        self.hang_up_first()
        (gone,) = [event for event in self.observer.told if isinstance(event, Gone)]
        assert gone.evidence.second.status == "ANSWER"
        assert {"DBGet", "Setvar"}.isdisjoint(self.link.names())

    def test_the_first_answered_while_the_link_was_down(self) -> None:
        """When it came to the bridge, and not when the link was back."""
        self.originate()
        self.driver.link_down("cut")
        self.clock.advance(3)
        self.come_to_the_bridge()
        self.clock.advance(60)
        self.driver.settle([ID])
        root = {"Uniqueid": ROOT, "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        up = message(Event="CoreShowChannel", ChannelStateDesc="Up", BridgeId="b", **root)
        self.link.last("CoreShowChannels").list(up)
        self.say("200 result=0\n")
        self.say("200 result=1 (ANSWER,16,15.0)\n")
        self.say("200 result=1\n")
        self.hang_up()
        self.hang_up_first()
        (gone,) = [event for event in self.observer.told if isinstance(event, Gone)]
        assert gone.evidence.first.answered_at == 3.0
        assert gone.evidence.second.answered_at == 15.0

    def test_the_result_is_stored_before_the_dialplan_is_told(self) -> None:
        """Whoever crashes in between finds it: here, or in AstDB."""
        self.observer.storing = Deferred()
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.say("200 result=0\n")
        self.heard()
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        assert self.heard() == ""
        ended = self.observer.told[-1]
        assert isinstance(ended, SecondEnded)
        assert ended.evidence.status == "ANSWER"
        self.observer.storing.callback(True)
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.say("200 result=1\n")
        self.hang_up()

    def test_a_store_that_is_too_slow(self) -> None:
        """The channel is not held for it: the dialplan leaves a record of its own."""
        self.observer.storing = Deferred()
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.say("200 result=0\n")
        self.heard()
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        self.clock.advance(2)
        assert self.heard() == ""
        assert self.transport.disconnecting
        self.hang_up()
        self.ends_and_leaves_a_record()

    def test_the_session_ends_before_the_dialplan_is_told(self) -> None:
        """Neither does it know then, and it leaves a record; the agent knows better."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.say("200 result=0\n")
        self.say("200 result=1 (ANSWER,16,12.500)\n")
        assert self.heard().endswith('SET VARIABLE "C2C_DONE" "1"\n')
        self.hang_up()
        self.ends_and_leaves_a_record()

    def ends_and_leaves_a_record(self) -> None:
        """The first leg is gone: the record is deleted as soon as the end is stored."""
        self.observer.storing = Deferred()
        self.originate_response("Success", "4")
        self.hang_up_first()
        assert isinstance(self.observer.told[-1], Gone)
        assert "DBGet" not in self.link.names()
        assert "Setvar" not in self.link.names()
        self.observer.storing.callback(True)
        deletion = self.link.last("Setvar")
        assert deletion.headers == {"Variable": f"DB_DELETE(c2c/{ID})", "Value": ""}

    def test_the_end_waits_for_the_session(self) -> None:
        """The first leg is gone, but the session still has to tell how the second ended."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.say("200 result=-1\nHANGUP\n")
        self.heard()
        assert Gone not in map(type, self.observer.told)
        self.say("200 result=1 (CANCEL,0,)\n")
        self.say("200 result=1\n")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.second.status == "CANCEL"
        self.hang_up()

    def test_a_session_that_is_lost(self) -> None:
        """The call goes on; how it ended is taken from AstDB."""
        self.originate()
        self.first_leg()
        self.come_to_the_bridge()
        self.hang_up()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").refuse("Database entry not found")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.dialed is False

    def test_a_call_that_may_not_be_bridged(self) -> None:
        """Told to end: the dialplan hangs up and dials nothing by itself."""
        self.connect(root_id(uuid(7)))
        assert self.heard() == 'GET VARIABLE "C2C_SECRET"\n'
        self.say("200 result=0\n")
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.say("200 result=1\n")
        assert self.transport.disconnecting
        self.hang_up()

    def test_a_call_that_is_not_put_through(self) -> None:
        """Its own channel may not have the second leg dialled: that ends it from here."""
        self.originate()
        self.first_leg()
        secret, self.observer.plan = self.secret(), None
        self.connect(arguments=(ID,))
        self.prove(secret)
        assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
        self.hang_up()
        self.originate_response("Success", "4")
        self.hang_up_first()
        self.link.last("DBGet").refuse("Database entry not found")
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.ended_here

    def test_the_phone_itself_dials(self) -> None:
        """It is known by the argument and the secret; its own id says nothing. And once only."""
        self.originate()
        self.first_leg()
        self.connect("17.5", arguments=(ID,))
        assert self.observer.told == []
        self.prove()
        assert self.observer.told == [FirstAnswered("PJSIP/100-1"), SecondDialed(30)]
        assert self.heard().startswith('EXEC "Dial"')
        self.hang_up()
        self.hang_up_first()
        assert Gone not in map(type, self.observer.told)
        self.event("Hangup", Uniqueid="17.5", Channel="PJSIP/100-1", Cause="16")
        self.link.last("DBGet").refuse("Database entry not found")
        assert isinstance(self.observer.told[-1], Gone)

    def pick_up(self, *, told: bool) -> None:
        """Another phone takes the first number, and comes to the bridge in its place."""
        self.originate()
        self.event("Newchannel", Uniqueid=ROOT, Channel="Local/100@c2c-first-1;1")
        if told:
            other = {"Uniqueid": "9.1", "Linkedid": "9.1", "Channel": "PJSIP/101-9"}
            picked = {"TargetUniqueid": ROOT, "TargetLinkedid": ROOT}
            self.driver.ami_event(message(Event="Pickup", **other, **picked))
        self.event("Hangup", Uniqueid=ROOT, Channel="Local/100@c2c-first-1;1", Cause="26")
        self.connect("9.1", name="PJSIP/101-9", arguments=(ID,))
        self.prove()

    def test_a_first_number_that_is_picked_up(self) -> None:
        """What is told under the other call's Linkedid is of the call, whoever has said so."""
        for told in (True, False):
            with self.subTest(told=told):
                self.setUp()
                self.pick_up(told=told)
                other = {"Uniqueid": "9.1", "Linkedid": "9.1", "Channel": "PJSIP/101-9"}
                near = {"DestUniqueid": "9.2", "DestLinkedid": "9.1", "DestChannel": "Local/200;1"}
                self.driver.ami_event(message(Event="DialBegin", **other, **near))
                answered = message(Event="DialEnd", DialStatus="ANSWER", **other, **near)
                self.driver.ami_event(answered)
                assert isinstance(self.observer.told[-1], SecondAnswered)
                self.driver.settle([ID])
                up = {"ChannelStateDesc": "Up", "BridgeId": "b"}
                self.link.last("CoreShowChannels").list(
                    message(Event="CoreShowChannel", **other, **up)
                )
                assert self.observer.told[-1:] == [Found()]
                self.driver.hang_up(ID)
                assert self.link.last("Hangup").headers["Channel"] == "9.1"
                self.hang_up()
                self.driver.ami_event(message(Event="Hangup", Cause="16", **other))
                near = {"Uniqueid": "9.2", "Linkedid": "9.1", "Channel": "Local/200;1"}
                self.driver.ami_event(message(Event="Hangup", Cause="16", **near))
                self.link.last("DBGet").refuse("Database entry not found")
                assert isinstance(self.observer.told[-1], Gone)

    def test_a_dialplan_of_version_0_1(self) -> None:
        """It says no more than its channel's id, and needs the Local channel for its limit."""
        self.originate()
        self.connect()
        self.prove()
        assert self.heard().startswith('EXEC "Dial" "Local/200@from-phones/n,30,')
        self.hang_up()

    def test_a_stranger_who_knows_the_call(self) -> None:
        """By its id alone, and even by the id of its channel: nothing is dialled or told."""
        for uniqueid, secret in (("17.5", "0" * 32), (ROOT, "0" * 32), (ROOT, "")):
            with self.subTest(uniqueid=uniqueid, secret=secret):
                self.setUp()
                self.originate()
                self.connect(uniqueid, arguments=(ID,))
                assert self.heard() == 'GET VARIABLE "C2C_SECRET"\n'
                self.say(f"200 result=1 ({secret})\n")
                assert self.heard() == 'SET VARIABLE "C2C_DONE" "1"\n'
                assert self.observer.told == []
                self.hang_up()

    def test_a_stranger_who_goes_away(self) -> None:
        """Asked for the secret, it hangs up: nothing was given out."""
        self.originate()
        self.connect("17.5", arguments=(ID,))
        self.hang_up()
        assert self.observer.told == []

    def test_a_call_of_version_0_1(self) -> None:
        """It has no secret, and is known by the id of its channel as it was then."""
        self.originate()
        assert self.observer.plan is not None
        plan = evolve(self.observer.plan, secret_digest="")
        self.driver.hang_up(ID)
        self.link.last("Hangup").fail(LinkLost("cut"))
        self.setUp()
        self.observer.plan = plan
        self.driver.adopt([PlacedCall(ID, plan, LegEvidence(), LegEvidence())])
        self.connect(arguments=(ID,))
        self.heard()
        self.say("200 result=0\n")
        assert self.heard().startswith('EXEC "Dial"')
        self.hang_up()

    def test_a_test_call(self) -> None:
        """Acknowledged by a cause that nothing else gives."""
        self.connect(check_id())
        self.heard()
        self.say("200 result=1\n")
        assert self.heard() == 'EXEC "Hangup" "27"\n'
        self.say("200 result=-1\n")
        assert self.transport.disconnecting
        self.hang_up()

    def test_a_channel_that_is_not_ours(self) -> None:
        """Given back without a word."""
        for uniqueid, script in (("17.1", "c2c"), (ROOT, "other")):
            with self.subTest(uniqueid=uniqueid, script=script):
                self.setUp()
                self.connect(uniqueid, script)
                assert self.heard() == ""
                assert self.transport.disconnecting
                self.hang_up()


class TakenTests(DriverTestCase):
    """The phone that answered dials the second leg itself, and the way to it goes."""

    def setUp(self) -> None:
        super().setUp()
        self.originate()
        self.talk()

    def talk(self) -> None:
        """They talk since second 4, over a Local channel."""
        self.event("Newchannel", Uniqueid=ROOT, Channel="Local/100@c2c-first-0;1")
        self.event("Newchannel", Uniqueid=ROOT + ";2", Channel="Local/100@c2c-first-0;2")
        phone = {"Uniqueid": "7.1", "Channel": "PJSIP/100-1"}
        dialed = {"DestUniqueid": "7.1", "DestChannel": "PJSIP/100-1"}
        far = {"Uniqueid": ROOT + ";2", "Channel": "Local/100@c2c-first-0;2"}
        self.event("DialBegin", **far, **dialed)
        self.event("DialEnd", DialStatus="ANSWER", **far, **dialed)
        self.originate_response("Success", "4")
        self.near = {"DestUniqueid": "7.2", "DestChannel": "Local/200@x-1;1"}
        self.event("DialBegin", **phone, **self.near)
        self.clock.advance(4)
        far = {"Uniqueid": "7.3", "Channel": "Local/200@x-1;2"}
        dialed = {"DestUniqueid": "7.4", "DestChannel": "PJSIP/200-2"}
        self.event("DialBegin", **far, **dialed)
        self.event("DialEnd", DialStatus="ANSWER", **far, **dialed)
        self.event("DialEnd", DialStatus="ANSWER", **phone, **self.near)
        for number in "12":
            name = f"Local/100@c2c-first-0;{number}"
            uniqueid = ROOT if number == "1" else ROOT + ";2"
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")

    def optimize(self) -> None:
        """The Local channel leaves the talk."""
        halves = {"LocalOneUniqueid": "7.2", "LocalTwoUniqueid": "7.3"}
        names = {"LocalOneChannel": "Local/200@x-1;1", "LocalTwoChannel": "Local/200@x-1;2"}
        self.event("LocalOptimizationEnd", LocalOneLinkedid=ROOT, **halves, **names)
        for uniqueid, name in (("7.2", "Local/200@x-1;1"), ("7.3", "Local/200@x-1;2")):
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")

    def ends(self, uniqueid: str, linkedid: str = ROOT) -> None:
        """A phone's channel ends."""
        name = {"7.1": "PJSIP/100-1", "7.4": "PJSIP/200-2"}[uniqueid]
        self.driver.ami_event(
            message(Event="Hangup", Linkedid=linkedid, Uniqueid=uniqueid, Channel=name, Cause="16")
        )

    def set_on_the_phone(self) -> dict[str, str]:
        """What was set, by name."""
        sent = [one.headers for one in self.link.sent if one.action.name == "Setvar"]
        assert {headers["Channel"] for headers in sent} <= {"7.1"}
        return {headers["Variable"]: headers["Value"] for headers in sent}

    def over(self) -> bool:
        """Whether the call is told to be gone."""
        return Gone in map(type, self.observer.told)

    def finish(self) -> None:
        """Nothing was left in AstDB."""
        self.link.last("DBGet").refuse("Database entry not found")
        assert self.over()

    def test_the_cdr(self) -> None:
        """Once the way is gone, the talk is counted; once."""
        halves = {"LocalOneUniqueid": "7.2", "LocalTwoUniqueid": "7.3"}
        names = {"LocalOneChannel": "Local/200@x-1;1", "LocalTwoChannel": "Local/200@x-1;2"}
        self.event("LocalOptimizationEnd", LocalOneLinkedid=ROOT, **halves, **names)
        assert self.set_on_the_phone() == {}
        self.optimize()
        assert self.set_on_the_phone() == {"CDR_PROP(disable)": "0"}
        self.clock.advance(2)
        self.event("DialState", DialStatus="RINGING", **self.near)
        assert self.link.names().count("Setvar") == 1
        self.link.last("Setvar").fail(LinkLost("cut"))
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def refused(self, words: str) -> list[str]:
        """What is logged where the talk is not counted as it should; it goes on to its end."""
        self.optimize()
        with capturedLogs() as logs:
            self.link.last("Setvar").refuse(words)
        self.ends("7.4")
        self.ends("7.1")
        self.finish()
        return [str(formatEvent(entry)) for entry in logs]

    def test_what_is_not_set(self) -> None:
        """The log has Asterisk's words."""
        said = f"call {ID}: Setvar CDR_PROP(disable) refused: Permission denied"
        assert self.refused("Permission denied") == [said]

    def test_a_channel_that_has_just_ended(self) -> None:
        """Nothing is wrong with that."""
        assert self.refused("No such channel") == []

    def test_asterisk_is_slow(self) -> None:
        """Then it may be set, or not; the log says so."""
        self.optimize()
        late = ActionTimedOut("Setvar: no answer within 10 s")
        with capturedLogs() as logs:
            self.link.last("Setvar").fail(late)
        assert [str(formatEvent(entry)) for entry in logs] == [f"call {ID}: {late}"]
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_the_cdr_of_a_channel_that_stays(self) -> None:
        """Where it has not left the talk by then, as with a recording, its own leads here."""
        self.clock.advance(0.9)
        assert self.link.names().count("Setvar") == 0
        self.clock.advance(0.2)
        headers = self.link.last("Setvar").headers
        told = {name: headers[name] for name in ("Channel", "Variable", "Value")}
        assert told == {"Channel": "Local/200@x-1;2", "Variable": "CDR(userfield)", "Value": ID}
        assert self.link.names().count("Setvar") == 1
        self.link.last("Setvar").fail(LinkLost("cut"))
        for uniqueid, name in (("7.2", "Local/200@x-1;1"), ("7.3", "Local/200@x-1;2")):
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_the_cdr_of_a_channel_that_is_to_stay(self) -> None:
        """As the configuration has it, it leads here from the answer on."""
        stays = SecondLegRule(parse_pattern("_X."), "Local/{number}@{context}", optimize=False)
        self.config = AsteriskConfig(second_leg=[stays])
        self.setUp()
        self.clock.advance(0)
        assert self.link.last("Setvar").headers["Variable"] == "CDR(userfield)"
        self.driver.link_down("cut")
        self.link.last("Setvar").fail(LinkLost("cut"))
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list(*talking())
        self.clock.advance(0)
        assert self.link.names().count("Setvar") == 2
        self.link.last("Setvar").succeed()
        for uniqueid, name in (("7.2", "Local/200@x-1;1"), ("7.3", "Local/200@x-1;2")):
            self.event("Hangup", Uniqueid=uniqueid, Channel=name, Cause="16")
        self.ends("7.4")
        self.ends("7.1")
        self.clock.advance(2)
        self.finish()

    def test_the_limit(self) -> None:
        """A talk that comes near it is bounded exactly, from its beginning on."""
        self.clock.advance(0.5)
        self.optimize()
        self.clock.advance(3537.5)
        assert "TIMEOUT(absolute)" not in self.set_on_the_phone()
        self.clock.advance(3)
        assert self.set_on_the_phone()["TIMEOUT(absolute)"] == "59.000"
        self.link.last("Setvar").fail(LinkLost("cut"))
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_the_limit_is_near_when_the_link_is_back(self) -> None:
        """What was said while it was cut is said again: it may not have been heard."""
        names = {"LocalOneChannel": "Local/200@x-1;1", "LocalTwoChannel": "Local/200@x-1;2"}
        self.event("LocalBridge", LocalOneUniqueid="7.2", LocalTwoUniqueid="7.3", **names)
        self.optimize()
        self.driver.link_down("cut")
        self.clock.advance(3590)
        self.link.last("Setvar").fail(LinkLost("cut"))
        before = self.link.names().count("Setvar")
        self.driver.settle([ID])
        two = {"7.1": ("PJSIP/100-1", "c2c-talk"), "7.4": ("PJSIP/200-2", "from-phones")}
        self.link.last("CoreShowChannels").list(
            *(
                message(
                    Event="CoreShowChannel",
                    ChannelStateDesc="Up",
                    BridgeId="b",
                    Linkedid=ROOT,
                    Uniqueid=uniqueid,
                    Channel=name,
                    Context=context,
                )
                for uniqueid, (name, context) in two.items()
            )
        )
        self.clock.advance(0)
        assert self.set_on_the_phone()["TIMEOUT(absolute)"] == "10.000"
        assert self.link.names().count("Setvar") == before + 2
        self.ends("7.4")
        self.ends("7.1")
        self.finish()

    def test_hung_up_from_here(self) -> None:
        """The phone that dialled is, and all goes with it."""
        self.optimize()
        self.driver.hang_up(ID)
        sent = self.link.last("Hangup")
        assert sent.headers["Channel"] == "7.1"
        sent.succeed()
        self.ends("7.1")
        self.ends("7.4")
        self.finish()

    def test_left_to_an_older_call(self) -> None:
        """Its end is told as that one's, so it is looked for, as long as it is there."""
        self.optimize()
        self.ends("7.1")
        self.clock.advance(3)
        there = {"Uniqueid": "7.4", "Linkedid": ROOT, "Channel": "PJSIP/200-2"}
        self.link.last("CoreShowChannels").list(message(Event="CoreShowChannel", **there))
        assert not self.over()
        assert Found not in map(type, self.observer.told)
        self.clock.advance(3)
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.finish()
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert not gone.evidence.lost

    def test_all_ends_before_it_is_looked_for(self) -> None:
        """Then nothing is asked."""
        self.optimize()
        self.ends("7.4")
        self.ends("7.1")
        self.finish()
        self.clock.advance(10)
        assert "CoreShowChannels" not in self.link.names()
