"""Who follows calls hears of them, and nobody is held up by who is slow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve

from c2c_agent.call.call import Call, CallState, Entry
from c2c_agent.call.outcome import Outcome
from c2c_agent.errors import ApiError
from c2c_agent.report.event import EventType, event_json
from c2c_agent.report.live import Live, LiveEvent, Watch, live_event
from tests.playbook import REQUEST_ID, a_call

SERVER = "pbx1.example.com"
OTHER = "00000000-0000-4000-8000-000000000001"


def in_state(state: str, request_id: str = REQUEST_ID, key: str = "crm") -> Call:
    """A call that has just come to a state."""
    outcome = Outcome.CONNECTED if state == "ended" else None
    timeline = (Entry(1010.25, state),)
    return a_call(
        request_id=request_id,
        key=key,
        state=CallState(state),
        outcome=outcome,
        timeline=timeline,
    )


def goes_to(live: Live, state: str, request_id: str = REQUEST_ID, key: str = "crm") -> None:
    """Have a call come to a state."""
    call = in_state(state, request_id, key)
    live.call_changed(evolve(call, state=CallState.ACCEPTED, outcome=None), call)


def read(text: bytes) -> list[dict[str, str]]:
    """The fields of each event in a stream, as the HTML Standard has them read."""
    blocks = text.decode().split("\n\n")
    assert blocks.pop() == ""
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def types(watch: Watch) -> list[str]:
    """What waits for a reader: the states, without `call.`."""
    return [event["event"].removeprefix("call.") for event in read(watch.take())]


def live_of(*, most: int = 10, most_each: int = 5, buffer: int = 100_000) -> Live:
    """One without readers."""
    return Live(SERVER, most=most, most_each=most_each, buffer=buffer)


class TestEvents:
    def test_text(self) -> None:
        """Id, type, and the event that webhooks get, in one line."""
        call = in_state("connected")
        event = live_event(call, EventType.CONNECTED, server_id=SERVER, at=1010.25)
        told = event_json(call, EventType.CONNECTED, server_id=SERVER, at=1010.25)
        [fields] = read(event.text)
        assert fields["id"] == event.id == told["id"]
        assert fields["event"] == "call.connected"
        assert json.loads(fields["data"]) == told
        assert not event.final

    def test_no_line_of_its_own(self) -> None:
        """Whatever a PBX says, it ends no line of the stream."""
        call = in_state("ended")
        call = evolve(call, cause_text="a\n\nevent: x\r\ndata: \u2028\x85")
        [fields] = read(live_event(call, EventType.ENDED, server_id=SERVER, at=0).text)
        assert json.loads(fields["data"])["call"]["cause_text"] == call.cause_text


class TestWho:
    def test_a_request(self) -> None:
        """Its own events, in order, and then the end."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "crm")
        for state in ("dialing_first", "first_ringing"):
            goes_to(live, state)
            goes_to(live, state, OTHER)
        assert (types(watch), watch.ended) == (["accepted", "first_ringing"], False)
        goes_to(live, "ended", OTHER)
        goes_to(live, "ended")
        assert watch.ended
        assert types(watch) == ["ended"]
        assert live.open == 0

    def test_a_key(self) -> None:
        """The events of its calls, one after the other."""
        live = live_of()
        crm, shop, all_keys = (live.follow_key(name, "x") for name in ("crm", "shop", None))
        goes_to(live, "ended")
        goes_to(live, "connected", OTHER, "shop")
        assert (types(crm), types(shop)) == (["ended"], ["connected"])
        assert types(all_keys) == ["ended", "connected"]
        assert not crm.ended

    def test_what_is_not_told(self) -> None:
        """That the PBX took the order is for relays; other changes are for nobody."""
        live = live_of()
        watch = live.follow_key(None, "x")
        goes_to(live, "dialing_second")
        live.publish(in_state("dialing_first"), EventType.PLACED)
        assert watch.take() == b""

    def test_from_elsewhere(self) -> None:
        """What another process has done to a call is told alike."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "x")
        live.publish(in_state("connected"), EventType.CONNECTED)
        assert types(watch) == ["connected"]

    def test_all_have_the_same_bytes(self) -> None:
        """An event is written once, however many read it."""
        live = live_of()
        watches = [live.follow_key("crm", "x") for _ in range(3)]
        goes_to(live, "connected")
        assert len({id(watch._waiting[0].text) for watch in watches}) == 1

    def test_nobody(self) -> None:
        """Where nobody follows, nothing is even written."""
        live = live_of()
        live.event = None  # type: ignore[assignment,method-assign]
        live.follow_key("shop", "x")
        goes_to(live, "connected")

    def test_gone(self) -> None:
        """Who is gone hears nothing and counts no more, also where that is said twice."""
        live = live_of()
        first, second = (live.follow_key("crm", "x") for _ in range(2))
        first.close()
        first.close()
        goes_to(live, "connected")
        assert (first.take(), types(second), live.open) == (b"", ["connected"], 1)


class TestBeginning:
    def past(self, *states: str) -> list[LiveEvent]:
        """What has happened to the call before."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "x")
        for state in states:
            goes_to(live, state)
        return list(watch._waiting)

    def begun(self, past: list[LiveEvent], last_id: str = "") -> Watch:
        """A reader of the call, to whom something has happened before it could begin."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "x")
        goes_to(live, "first_ringing")
        goes_to(live, "first_answered")
        watch.begin(past, last_id)
        goes_to(live, "connected")
        return watch

    def test_in_order(self) -> None:
        """What has happened first, and nothing twice."""
        watch = self.begun(self.past("dialing_first", "first_ringing"))
        assert types(watch) == ["accepted", "first_ringing", "first_answered", "connected"]

    def test_from_where_one_was(self) -> None:
        """Only what the reader has not seen before."""
        past = self.past("dialing_first", "first_ringing")
        assert types(self.begun(past, past[0].id)) == [
            "first_ringing",
            "first_answered",
            "connected",
        ]
        answered = self.past("first_answered")[0].id
        assert types(self.begun(past, answered)) == ["connected"]

    def test_an_id_of_nothing(self) -> None:
        """As if none was given."""
        assert len(types(self.begun(self.past("dialing_first"), "x"))) == 4

    def test_ended(self) -> None:
        """The final event, and the end; for who has seen it, the end."""
        past = self.past("connected", "ended")
        for last_id, left in ((past[0].id, ["ended"]), (past[1].id, [])):
            watch = live_of().follow_request(REQUEST_ID, "x")
            watch.begin(past, last_id)
            assert (watch.ended, types(watch)) == (True, left)

    def test_ends_meanwhile(self) -> None:
        """The same where the end came after the past was read."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "x")
        goes_to(live, "ended")
        watch.begin(self.past("connected"))
        assert (watch.ended, types(watch)) == (True, ["connected", "ended"])


class TestSlowReaders:
    @pytest.mark.parametrize("how", ["bytes", "events"])
    def test_let_go(self, how: str) -> None:
        """Who takes nothing is let go, with nothing left of it; the others hear everything."""
        live = live_of(buffer=20_000 if how == "bytes" else 10**9)
        slow, quick = (live.follow_key("crm", "x") for _ in range(2))
        heard = 0
        for number in range(1001):
            goes_to(live, "connected", f"00000000-0000-4000-8000-{number:012}")
            heard += len(types(quick))
        assert heard == 1001
        assert (slow.behind, slow.ended, slow.take()) == (True, True, b"")
        assert (quick.behind, quick.ended, live.open) == (False, False, 1)

    def test_room_again(self) -> None:
        """What was taken counts no more."""
        live = live_of(buffer=2_000)
        watch = live.follow_key("crm", "x")
        for _ in range(20):
            goes_to(live, "connected")
            assert types(watch) == ["connected"]
        assert not watch.behind

    def test_the_past_has_room(self) -> None:
        """A whole story is told, however small the buffer."""
        live = live_of(buffer=10)
        watch = live.follow_request(REQUEST_ID, "x")
        call = in_state("connected")
        watch.begin([live.event(call, EventType.CONNECTED, 1010.25)])
        assert (types(watch), watch.behind) == (["connected"], False)


class TestWaking:
    def test_when(self) -> None:
        """For each event, for the end, and when it is let go."""
        live = live_of(buffer=2_000)
        told: list[Any] = []
        watch = live.follow_key("crm", "x")
        watch.woken = lambda: told.append((watch.behind, watch.ended))
        goes_to(live, "connected")
        assert told == [(False, False)]
        goes_to(live, "ended")
        goes_to(live, "ended")
        assert told[-1] == (True, True)
        told.clear()
        other = live.follow_key("crm", "x")
        other.woken = lambda: told.append(other.ended)
        live.close()
        assert told == [True]


class TestHowMany:
    def refused(self, live: Live, owner: str) -> str:
        """The code of a refusal."""
        with pytest.raises(ApiError) as refusal:
            live.follow_key("crm", owner)
        return refusal.value.faults[0].code

    def test_of_one_owner(self) -> None:
        """No more than so many; others are not concerned, and there is room when one leaves."""
        live = live_of(most_each=2)
        first = live.follow_key("crm", "crm")
        live.follow_request(REQUEST_ID, "crm")
        assert self.refused(live, "crm") == "too_many_streams"
        live.follow_key("shop", "shop")
        first.close()
        live.follow_key("crm", "crm")

    def test_in_all(self) -> None:
        """Whoever they are."""
        live = live_of(most=3)
        for owner in "abc":
            live.follow_key("crm", owner)
        assert self.refused(live, "d") == "too_many_streams"

    def test_shutting_down(self) -> None:
        """All end, and nobody comes in."""
        live = live_of()
        watches = [live.follow_key("crm", "x"), live.follow_request(REQUEST_ID, "x")]
        goes_to(live, "connected")
        live.close()
        assert [(watch.ended, types(watch)) for watch in watches] == [(True, ["connected"])] * 2
        assert (live.open, self.refused(live, "x")) == (0, "pbx_unavailable")

    def test_a_key_that_is_no_more(self) -> None:
        """Who follows with it hears no more."""
        live = live_of()
        crm, shop = (live.follow_key(name, "x") for name in ("crm", "shop"))
        all_keys, call = live.follow_key(None, "crm"), live.follow_request(REQUEST_ID, "crm")
        live.forbid(["crm", "nobody"])
        assert all_keys.ended  # it was read with that key, though it follows all
        assert call.ended
        assert (crm.ended, shop.ended) == (True, False)


def at(*states: str, server_id: str = "relay-a", **changes: Any) -> Call:
    """A call of another process that has come through these states."""
    timeline = tuple(Entry(1000.0 + number, state) for number, state in enumerate(states))
    outcome = Outcome.CONNECTED if states[-1] == "ended" else None
    state = CallState(states[-1])
    return a_call(state=state, outcome=outcome, timeline=timeline, server_id=server_id, **changes)


class TestCallsOfOthers:
    """Another process has the call; what the store has of it is looked at, now and then."""

    PATH = ("dialing_first", "first_ringing", "first_answered", "second_ringing", "connected")

    def test_a_request(self) -> None:
        """Each event once, also where several had become one change; then the end."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "crm")
        watch.begin(live.past(at(*self.PATH[:1])))
        live.catch_up(at(*self.PATH[:1]))
        assert types(watch) == ["accepted"]
        live.catch_up(at(*self.PATH[:4]))
        live.catch_up(at(*self.PATH[:4]))
        assert types(watch) == ["first_ringing", "first_answered", "second_ringing"]
        live.catch_up(at(*self.PATH, "ended"))
        assert types(watch) == ["connected", "ended"]
        assert watch.ended

    def test_a_key(self) -> None:
        """A call that has only just begun is followed from its beginning."""
        live = live_of()
        watch = live.follow_key("crm", "crm")
        live.catch_up(at(*self.PATH[:2]))
        live.catch_up(at(*self.PATH[:4]))
        live.catch_up(at(*self.PATH, "ended"))
        told = read(watch.take())
        assert [event["event"] for event in told] == [
            "call.accepted",
            "call.first_ringing",
            "call.first_answered",
            "call.second_ringing",
            "call.connected",
            "call.ended",
        ]
        assert not watch.ended

    def test_from_now_on(self) -> None:
        """Of a call that was under way before, a key hears no old news."""
        live = live_of()
        watch = live.follow_key(None, "operator")
        live.catch_up(at(*self.PATH))
        assert types(watch) == ["connected"]
        live.catch_up(at(*self.PATH, "ended"))
        assert types(watch) == ["ended"]

    def test_whose_it_is(self) -> None:
        """The events are those that the process tells which has the call, with its ids."""
        live = live_of()
        watch = live.follow_request(REQUEST_ID, "crm")
        live.catch_up(at("dialing_first"))
        [event] = read(watch.take())
        told = event_json(at("dialing_first"), EventType.ACCEPTED, server_id="relay-a", at=1000.0)
        assert json.loads(event["data"]) == told

    def test_nobody_any_more(self) -> None:
        """Whoever followed it is gone before its end: what was told of it is forgotten."""
        live = live_of()
        watch = live.follow_key("crm", "crm")
        live.catch_up(at(*self.PATH))
        assert live.is_followed(REQUEST_ID, "crm")
        assert set(live._told) == {REQUEST_ID}
        watch.close()
        assert not live.is_followed(REQUEST_ID, "crm")
        assert live._told == {}

    def test_nobody(self) -> None:
        """Where nobody follows it, nothing is kept of it; nor before there is an event."""
        live = live_of()
        assert not live.is_followed(REQUEST_ID, "crm")
        live.catch_up(at(*self.PATH))
        assert live._told == {}
        live.follow_key("shop", "shop")
        other = live.follow_request(OTHER, "crm")
        assert not live.is_followed(REQUEST_ID, "crm")
        assert live.is_followed(OTHER, "crm")
        assert live.is_followed(REQUEST_ID, "shop")
        assert live.followed_requests() == [OTHER]
        live.catch_up(at("accepted", request_id=OTHER))
        assert types(other) == []
