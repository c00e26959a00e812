"""The Asterisk driver finds out what became of calls that it did not watch."""

from __future__ import annotations

from c2c_agent.ami.actions import ShuttingDown
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.call.events import (
    Found,
    Gone,
)
from c2c_agent.call.evidence import LegEvidence
from c2c_agent.pbx.driver import PlacedCall
from tests.fake_link import message
from tests.unit.pbx.asterisk.driver_case import ID, ROOT, DriverTestCase, talking


class SettleTests(DriverTestCase):
    def setUp(self) -> None:
        super().setUp()
        plan = self.plan()
        seen = LegEvidence(ringing_at=-5.0, answered_at=-3.0)
        self.driver.adopt([PlacedCall(ID, plan, seen, LegEvidence())])

    def test_found(self) -> None:
        """It is alive, and what was missed is told."""
        self.driver.settle([ID, "another"])
        root = {"Uniqueid": ROOT, "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        self.link.last("CoreShowChannels").list(
            message(Event="CoreShowChannel", ChannelStateDesc="Up", BridgeId="b", **root),
            message(Event="CoreShowChannel", Uniqueid="7.1", Linkedid="7.1", Channel="SIP/x"),
        )
        assert self.observer.told[0] == Found()
        assert len(self.observer.told) == 2
        self.clock.advance(1)
        told = [one.headers for one in self.link.sent if one.action.name == "Setvar"]
        assert [headers["Variable"] for headers in told] == ["CDR_PROP(disable)"]

    def test_what_ends_before_the_list_is_there(self) -> None:
        """The Local channel leaves the talk just when the agent is back: that goes on."""
        self.driver.settle([ID])
        halves = [one for one in talking() if one.get("Channel").startswith("Local/")]
        self.hang_up_listed(*halves)
        self.link.last("CoreShowChannels").list(*talking())
        self.clock.advance(1)
        assert "DBGet" not in self.link.names()
        assert Gone not in map(type, self.observer.told)
        self.hang_up_listed(*(one for one in talking() if one not in halves))
        self.link.last("DBGet").refuse("Database entry not found")
        assert Gone in map(type, self.observer.told)

    def test_all_ends_before_the_list_is_there(self) -> None:
        """Nothing is told any more after it."""
        self.driver.settle([ID])
        self.hang_up_listed(*talking())
        self.link.last("CoreShowChannels").list(*talking())
        self.link.last("DBGet").refuse("Database entry not found")
        assert Gone in map(type, self.observer.told)

    def test_a_list_that_is_refused(self) -> None:
        """Then events alone tell, also those before the refusal."""
        self.driver.settle([ID])
        self.hang_up_listed(*talking())
        self.link.last("CoreShowChannels").refuse("Permission denied")
        self.link.last("DBGet").refuse("Database entry not found")
        assert Gone in map(type, self.observer.told)

    def test_the_first_refuses_in_this_moment(self) -> None:
        """Its phone is listed still, and what dialled it no more: it is not the second's."""
        plan = self.plan()
        self.driver.adopt([PlacedCall(ID, plan, LegEvidence(ringing_at=-5.0), LegEvidence())])
        self.driver.settle([ID])
        phone = {"Uniqueid": "7.1", "Linkedid": ROOT, "Channel": "PJSIP/100-1"}
        self.link.last("CoreShowChannels").list(
            message(Event="CoreShowChannel", ChannelStateDesc="Ringing", **phone)
        )
        half = {"Uniqueid": ROOT, "Channel": "Local/100@c2c-first-0;1"}
        self.event("Hangup", **half, Cause="17")
        self.event("Hangup", Uniqueid="7.1", Channel="PJSIP/100-1", Cause="17")
        self.clock.advance(2)
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="first,BUSY,17,0.0"))
        gone = self.observer.told[-1]
        assert isinstance(gone, Gone)
        assert gone.evidence.first.status == "BUSY"
        assert gone.evidence.first.channel == "PJSIP/100-1"
        assert (gone.evidence.dialed, gone.evidence.second) == (False, LegEvidence())

    def test_gone_only_after_a_second_look(self) -> None:
        """An order on its way when the link broke may only just be carried out."""
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        assert self.observer.told == []
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        self.link.last("Setvar").succeed()
        (gone,) = self.observer.told
        assert isinstance(gone, Gone)
        assert gone.evidence.second.status == "BUSY"
        assert not gone.evidence.lost

    def test_asterisk_cannot_be_asked(self) -> None:
        """Nothing is concluded from that."""
        self.driver.settle([ID])
        self.link.is_up = False
        self.link.last("CoreShowChannels").fail(LinkLost("cut"))
        assert self.observer.told == []

    def test_asterisk_is_slow(self) -> None:
        """The link is up still, so nobody else will ask again."""
        self.driver.settle([ID])
        for _ in range(3):
            self.link.last("CoreShowChannels").fail(ActionTimedOut("CoreShowChannels"))
            assert self.observer.told == []
            self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").fail(ActionTimedOut("CoreShowChannels"))
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        for _ in range(3):
            assert self.observer.told == []
            self.link.last("DBGet").fail(ActionTimedOut("DBGet"))
            self.clock.advance(2)
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        (gone,) = self.observer.told
        assert isinstance(gone, Gone)

    def test_asterisk_shuts_down_over_the_record(self) -> None:
        """It is there, and is read when the call is asked for the next time."""
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").fail(ShuttingDown("DBGet", "Asterisk is shutting down"))
        assert self.observer.told == []
        assert self.clock.getDelayedCalls() == []
        self.clock.advance(5)
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        self.link.last("DBGet").list(message(Event="DBGetResponse", Val="BUSY,17,1.0,,2.0"))
        (gone,) = self.observer.told
        assert isinstance(gone, Gone)
        assert gone.evidence.second.status == "BUSY"

    def test_asterisk_is_slow_and_the_link_is_lost(self) -> None:
        """When it is back, all are settled."""
        self.driver.settle([ID])
        asked = self.link.last("CoreShowChannels")
        self.link.is_up = False
        asked.fail(ActionTimedOut("CoreShowChannels"))
        assert self.clock.getDelayedCalls() == []
        self.driver.link_down("cut")
        self.link.is_up = True
        self.driver.settle([ID])
        self.link.last("CoreShowChannels").list()
        self.clock.advance(2)
        self.link.last("CoreShowChannels").list()
        asked = self.link.last("DBGet")
        self.link.is_up = False
        asked.fail(ActionTimedOut("DBGet"))
        assert self.clock.getDelayedCalls() == []
        assert self.observer.told == []

    def test_the_link_tells_when_to_settle(self) -> None:
        """Up: settle. Down: noted."""
        self.driver.link_up("22.10.1")
        self.link.last("DBGetTree").refuse("Database entry not found")
        self.driver.link_down("cut")
        assert (self.observer.ups, self.observer.downs) == (1, ["cut"])

    def test_records_that_a_crash_has_left(self) -> None:
        """Deleted where the end is stored; of a call in progress, or another agent's, they stay."""
        self.originate()
        self.observer.ended = {"1", ID}
        self.driver.link_up("22.10.1")
        self.link.last("DBGetTree").list(
            *(
                message(Event="DBGetTreeResponse", Key=f"/c2c/{key}", Val="ANSWER")
                for key in ("1", "2", ID)
            )
        )
        deletions = [sent for sent in self.link.sent if sent.action.name == "Setvar"]
        (deletion,) = deletions
        assert deletion.headers["Variable"] == "DB_DELETE(c2c/1)"
        deletion.succeed()
