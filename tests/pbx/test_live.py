"""Real calls, followed live."""

from __future__ import annotations

import time
from pathlib import Path

from tests.pbx.agents import KEY, OTHER_KEY, AgentProcess
from tests.pbx.conftest import StartPhone
from tests.pbx.event_reader import EventReader, SleepingReader
from tests.pbx.hosts import AsteriskHost
from tests.pbx.lateness import Lateness
from tests.pbx.sip_scenario import Behaviour
from tests.pbx.waiting import wait_until

RINGS = Behaviour(ring_seconds=0.6)
TALKS = Behaviour(ring_seconds=0.6, talk_seconds=1)

CONNECTED = [
    "call.accepted",
    "call.first_ringing",
    "call.first_answered",
    "call.second_ringing",
    "call.connected",
    "call.ended",
]


class TestLive:
    def test_a_call(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Seen as it happens, in order; who comes later, or again, hears the same."""
        phone("100", RINGS), phone("200", RINGS)
        request_id = agent.call("100", "200")
        url = f"{agent.url}/c2c/v2/events/{request_id}"
        with EventReader(url) as live:
            live.wait_for(5)
            assert agent.status(request_id)["call"]["state"] == "connected"
            agent.cancel(request_id)  # they talk until then, however late this is
            call = agent.ended(request_id)
            live.ended()
        assert live.content_type == "text/event-stream"
        assert live.of(request_id) == CONNECTED
        assert live.events[-1]["call"] == call
        with EventReader(url) as later, EventReader(url, last_event_id=live.ids[3]) as again:
            later.ended()
            again.ended()
        assert later.events == live.events
        assert again.events == live.events[4:]

    def test_all_calls_of_a_key(self, agent: AgentProcess, phone: StartPhone) -> None:
        """Of that key, and of no other."""
        phone("100", RINGS), phone("200", TALKS), phone("101", TALKS)
        url = f"{agent.url}/c2c/v2/events"
        with EventReader(url, KEY) as crm, EventReader(url, OTHER_KEY) as other:
            theirs = agent.call("100", "101", api_key=OTHER_KEY)
            ours = [agent.call("100", "200") for _ in range(2)]
            for request_id in (theirs, *ours):
                agent.ended(request_id)
            crm.wait_for(12)
            other.wait_for(6)
        assert [crm.of(request_id) for request_id in (theirs, *ours)] == [[], CONNECTED, CONNECTED]
        assert [other.of(request_id) for request_id in (theirs, *ours)] == [CONNECTED, [], []]

    def test_a_reader_that_never_reads(
        self, asterisk: AsteriskHost, tmp_path: Path, phone: StartPhone, lateness: Lateness
    ) -> None:
        """While calls go through its stream is cut; they and other readers do not notice."""
        phone("100", RINGS), phone("200", TALKS)
        with AgentProcess(asterisk, tmp_path, {"http": {"stream_buffer": 16_384}}) as agent:
            url = f"{agent.url}/c2c/v2/events"
            alone = self.seconds_of_calls(agent)
            with SleepingReader(url, KEY) as sleeping, EventReader(url, KEY) as quick:
                together = self.seconds_of_calls(agent)
                wait_until(sleeping.is_cut, 20, "the sleeping reader is cut")
                agent.logged("the event stream of")
                quick.wait_for(120)
            requests = {event["request_id"] for event in quick.events}
            assert [quick.of(request_id) for request_id in requests] == [CONNECTED] * 20
            assert together < 2 * alone + lateness.seconds
            began = time.monotonic()
            with EventReader(url, KEY) as open_at_the_end:
                agent.stop()
                open_at_the_end.ended()
            assert time.monotonic() - began < 10 + lateness.seconds

    def seconds_of_calls(self, agent: AgentProcess) -> float:
        """Put twenty calls through, all at once; the seconds that it took."""
        began = time.monotonic()
        placed = [agent.call("100", "200") for _ in range(20)]
        assert {agent.ended(request_id)["outcome"] for request_id in placed} == {"connected"}
        return time.monotonic() - began
