"""The paths of calls: placed, shown, cancelled, listed and followed, and by whom."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from c2c_agent.call.events import FirstRinging, OriginateAccepted, OriginateRefused
from c2c_agent.config.sections import HttpConfig
from c2c_agent.errors import ApiError, ErrorCode, Fault
from c2c_agent.policy.keys import KeyRing
from c2c_agent.report.event import EventType
from c2c_agent.report.live import Watch
from c2c_agent.web.answers import Reply
from c2c_agent.web.ask import PREFIX
from tests.fakes import (
    CALL_PARAMETERS,
    CRM,
    CRM_SECRET,
    EPOCH,
    OPERATOR_SECRET,
    SHOP_SECRET,
    uuid,
)
from tests.unit.web.asking import BASE, BUSY, ONE, TWO, UNKNOWN_KEY, ApiTest


class Placing(ApiTest):
    """`GET` and `POST /c2c/v2`."""

    def test_success(self) -> None:
        """As the specification prints it."""
        asked = self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE})
        self.assertNoResult(asked)
        self.driver.tells(ONE, OriginateAccepted())
        assert self.told(asked) == {
            "response": {"request_id": ONE, "status": "success", "errors": []},
            "method": "asterisk.call",
            "server_id": "pbx1.example.com",
        }

    def test_refused_by_the_pbx(self) -> None:
        """Its own words, and where the whole story is."""
        asked = self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE})
        self.driver.tells(ONE, OriginateRefused("Extension does not exist."))
        assert self.told(asked)["response"] == {
            "request_id": ONE,
            "status": "fail",
            "errors": [
                {
                    "error": {
                        "message": "Extension does not exist.",
                        "code": "pbx_error",
                        "url": f"{BASE}/c2c/v2/status/{ONE}",
                    }
                }
            ],
        }

    def test_ways_to_send_parameters(self) -> None:
        """In the query, as a form, as JSON (on GET, too), or some here and some there."""
        ways: list[Deferred[Reply]] = [
            self.asks("GET", PREFIX, CALL_PARAMETERS),
            self.asks("POST", PREFIX, CALL_PARAMETERS),
            self.asks("POST", PREFIX, **CALL_PARAMETERS),
            self.asks("POST", PREFIX, json_body=CALL_PARAMETERS),
            self.asks("GET", PREFIX, json_body=CALL_PARAMETERS),
            self.asks("POST", PREFIX, {"dial_first": "100"}, dial_second="200"),
            self.asks("POST", PREFIX, {"dial_first": "100"}, json_body={"dial_second": 200}),
        ]
        for number, asked in enumerate(ways):
            [request_id] = self.driver.originated[number : number + 1]
            self.driver.tells(request_id, OriginateAccepted())
            assert self.told(asked)["response"]["request_id"] == request_id
            job = self.desk.call(request_id).job
            assert job is not None
            assert (job.dial_first, job.dial_second) == ("100", "200")

    def test_ways_to_send_the_key(self) -> None:
        """In the query, as a form, as JSON, as bearer; the same in two places is fine."""
        asked = {"api_key": CRM_SECRET, **CALL_PARAMETERS}
        self.asks("GET", PREFIX, asked, key=None)
        self.asks("POST", PREFIX, key=None, **asked)
        self.asks("POST", PREFIX, key=None, json_body=asked)
        self.asks("GET", PREFIX, CALL_PARAMETERS)
        self.asks("GET", PREFIX, asked)
        assert len(self.driver.originated) == 5

    def test_two_keys(self) -> None:
        """The parameter comes before the bearer; two parameters that differ are an error."""
        self.asks("GET", PREFIX, {"api_key": SHOP_SECRET, **CALL_PARAMETERS}, key=CRM_SECRET)
        assert self.desk.call(self.driver.originated[0]).key == "shop"
        twice = self.asks(
            "POST", PREFIX, {"api_key": CRM_SECRET}, api_key=SHOP_SECRET, **CALL_PARAMETERS
        )
        assert self.faults(self.told(twice)) == [("invalid_parameter", "'api_key' is given twice.")]
        assert len(self.driver.originated) == 1

    def test_a_key_that_is_no_text(self) -> None:
        """It is none, and the one in the header counts."""
        asked = {"api_key": 17, **CALL_PARAMETERS}
        self.asks("POST", PREFIX, json_body=asked)
        assert len(self.driver.originated) == 1
        body = self.post(PREFIX, key=None, json_body=asked)
        assert self.faults(body) == [("unauthorized", "api_key is missing.")]

    def test_both_spellings_of_dial_as(self) -> None:
        """The specification's misspelling is taken, too; both at once only if they agree."""
        for parameters in (
            {"dial_as": "101"},
            {"dail_as": "101"},
            {"dial_as": "101", "dail_as": "101"},
        ):
            self.asks("GET", PREFIX, {**CALL_PARAMETERS, **parameters})
            job = self.desk.call(self.driver.originated[-1]).job
            assert job is not None
            assert job.dial_as == "101"
        body = self.get(PREFIX, {**CALL_PARAMETERS, "dial_as": "101", "dail_as": "102"})
        assert self.faults(body) == [
            ("invalid_parameter", "dial_as and dail_as are both given and differ.")
        ]

    def test_several_faults(self) -> None:
        """One entry each, all with the URL of the story: a refused request is stored, too."""
        body = self.get(PREFIX, "dial_first=300&dial_second=299&timeout=5&timeout=6")
        request_id = body["response"]["request_id"]
        assert self.faults(body) == [
            ("invalid_parameter", "'timeout' is given twice."),
            ("not_allowed", "This key may not dial this dial_first."),
            ("not_allowed", "This key may not dial this dial_second."),
            ("not_allowed", "This key may not place calls as this dial_as."),
        ]
        for entry in body["response"]["errors"]:
            assert entry["error"]["url"] == f"{BASE}/c2c/v2/status/{request_id}"
        story = self.get(f"{PREFIX}/status/{request_id}")["c2c_status"]
        assert story["call"]["outcome"] == "rejected"
        assert self.driver.prepared == []

    def test_a_replay(self) -> None:
        """The stored answer, marked as such."""
        self.placed(ONE)
        body = self.get(PREFIX, {**CALL_PARAMETERS, "request_id": ONE})
        assert body["response"] == {
            "request_id": ONE,
            "status": "success",
            "errors": [],
            "replayed": True,
        }
        assert self.driver.originated == [ONE]

    def test_a_conflict(self) -> None:
        """The id was another call's."""
        self.placed(ONE)
        body = self.get(PREFIX, {**CALL_PARAMETERS, "request_id": ONE, "dial_second": "201"})
        assert self.faults(body) == [
            ("request_id_conflict", "This request_id was used before for another call.")
        ]
        assert "replayed" not in body["response"]
        # Of this request nothing is kept, and the other's status says nothing of it.
        assert body["response"]["request_id"] is None
        assert "url" not in json.dumps(body)
        assert self.driver.originated == [ONE]

    def test_what_is_not_kept(self) -> None:
        """A refused request beyond the cap has no id and no URL, for there is nothing behind."""
        kept = [self.get(PREFIX, {"dial_first": "300"})["response"] for _ in range(61)]
        assert all(one["request_id"] and one["errors"][0]["error"]["url"] for one in kept[:60])
        assert kept[60]["request_id"] is None
        assert "url" not in json.dumps(kept[60])

    def test_a_key_that_stands_somewhere_else_too(self) -> None:
        """It is in nothing that is stored or shown; `tearDown` looks for it everywhere."""
        for parameters in (
            {"dial_first": CRM_SECRET, "dial_second": f"200;ext={CRM_SECRET}"},
            {"timeout": [CRM_SECRET], "pbx": {CRM_SECRET: CRM_SECRET}},
            {CRM_SECRET: "x", "note": CRM_SECRET, "dial_first": "300"},
            {"api_key": CRM_SECRET, "dial_as": CRM_SECRET},
        ):
            body = self.post(PREFIX, json_body={**CALL_PARAMETERS, **parameters})
            request_id = body["response"]["request_id"]
            shown = self.get(f"{PREFIX}/status/{request_id}")["c2c_status"]["request"]
            assert shown["request_data"]["api_key"] == "crm"
            assert "note" not in shown["request_data"]

    def test_when_to_come_again(self) -> None:
        """Over the rate of the key, the answer says when the next call has a chance."""
        limited = evolve(CRM, per_minute=1)
        self.api._access.keys = KeyRing([limited])
        self.placed(ONE)
        self.clock.advance(10)
        reply = self.successResultOf(self.asks("GET", PREFIX, CALL_PARAMETERS))
        assert reply.retry_after == 50
        assert self.faults(reply.body)[0][0] == "rate_limited"

    def test_the_method_is_the_pbx_s(self) -> None:
        """As its driver names it, also when the request comes again; of none here, by its kind."""
        self.driver.method = "phones.dial"
        for _ in range(2):
            asked = self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE})
            self.driver.tells(ONE, OriginateAccepted())
            assert self.told(asked)["method"] == "phones.dial"
        assert self.get(PREFIX, {**CALL_PARAMETERS, "dial_first": ""})["method"] == "phones.dial"
        body = self.get(PREFIX, {**CALL_PARAMETERS, "pbx": "switchvox"})
        assert body["method"] == "switchvox.call"
        for wrong in ({"timeout": "soon"}, {"api_key": "unknown"}):
            body = self.get(PREFIX, {**CALL_PARAMETERS, "pbx": "other", **wrong})
            assert body["method"] == "other.call", wrong

    def test_the_method_where_no_pbx_is_configured(self) -> None:
        """That of the PBX which is the default."""
        self.desk.drivers.clear()
        self.desk.pbx_kinds.clear()
        assert self.get(PREFIX, CALL_PARAMETERS)["method"] == "asterisk.call"

    def test_every_code_comes_from_somewhere(self) -> None:
        """What else can go wrong, in the words of the contract's codes."""
        body = self.get(PREFIX, {**CALL_PARAMETERS, "pbx": "switchvox"})
        assert self.faults(body) == [("unsupported_pbx", "No switchvox PBX is configured here.")]
        body = self.get(PREFIX, {**CALL_PARAMETERS, "expires": EPOCH - 1})
        assert self.faults(body)[0][0] == "expired"
        self.driver.reason = "The PBX cannot be reached at present."
        body = self.get(PREFIX, CALL_PARAMETERS)
        assert self.faults(body) == [("pbx_unavailable", "The PBX cannot be reached at present.")]
        self.driver.reason = None
        self.driver.refusal = ApiError(Fault(ErrorCode.UNKNOWN_DIAL_AS, "No such extension."))
        body = self.get(PREFIX, CALL_PARAMETERS)
        assert self.faults(body) == [("unknown_dial_as", "No such extension.")]


class Status(ApiTest):
    """`GET /c2c/v2/status/<request_id>`."""

    def status(self, request_id: str, query: dict[str, Any] | str = "", **how: Any) -> Any:
        """What is told at once."""
        how.setdefault("key", None)
        return self.get(f"{PREFIX}/status/{request_id}", query, **how)

    def waits(self, request_id: str, query: dict[str, Any] | str) -> Deferred[Reply]:
        """Ask for a status that is held back."""
        return self.asks("GET", f"{PREFIX}/status/{request_id}", query, key=None)

    def test_the_whole_story(self) -> None:
        """Who has the id sees it all, without a key; the key's name stands where the key stood."""
        self.asks(
            "GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE, "api_key": CRM_SECRET}, key=None
        )
        self.driver.tells(ONE, OriginateAccepted({"Response": "Success"}), BUSY)
        story = self.status(ONE)["c2c_status"]
        assert story["request"] == {
            "utc.time": "1435628937",
            "request_url": f"{BASE}/c2c/v2",
            "http_method": "GET",
            "request_data": {
                "dial_first": "100",
                "dial_second": "200",
                "request_id": ONE,
                "api_key": "crm",
            },
        }
        assert story["pbx_request"]["pbx_data"]["Action"] == "Originate"
        assert story["response"]["response_data"] == {"Response": "Success"}
        assert story["call"]["outcome"] == "first_busy"

    def test_on_the_way(self) -> None:
        """A part that has not happened yet is null."""
        self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE})
        story = self.status(ONE)["c2c_status"]
        assert story["response"] is None
        assert (story["call"]["state"], story["call"]["outcome"]) == ("dialing_first", None)

    def test_unknown(self) -> None:
        """Nobody made such a request; also what is no UUID is nobody's."""
        for request_id in (TWO, "17", "%2e%2e", ONE + "0"):
            assert self.status(request_id) == {
                "c2c_status": None,
                "errors": [
                    {
                        "error": {
                            "message": f"No request has the id {request_id}.",
                            "code": "not_found",
                        }
                    }
                ],
            }
        assert self.store.reads == [TWO]

    def test_in_capitals(self) -> None:
        """A UUID is the same in either case."""
        request_id = "2c4f781a-4825-4d09-a573-2d8689e5682b"
        self.ended(request_id)
        assert self.status(request_id.upper()) == self.status(request_id)

    def test_a_slash_at_the_end(self) -> None:
        """It does not matter."""
        self.ended(ONE)
        assert self.status(ONE + "/") == self.status(ONE)

    def test_while_it_is_asked_for_again(self) -> None:
        """Whoever does so, with whatever key: the status is that of the call that was placed."""
        self.ended(ONE)
        for key in (CRM_SECRET, SHOP_SECRET):
            self.store.hold_reads()
            self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE}, key=key)
            asked = [self.waits(ONE, query) for query in ("", "wait=60")]
            self.store.release()
            for one in asked:
                status = self.told(one)["c2c_status"]
                assert status["call"]["outcome"] == "first_busy"
                assert status["request"]["request_data"]["api_key"] == "crm"

    def test_held_until_the_end(self) -> None:
        """`wait` holds the answer back until the call has ended."""
        self.placed(ONE)
        waiting = self.waits(ONE, "wait=60")
        self.driver.tells(ONE, FirstRinging())
        self.assertNoResult(waiting)
        self.driver.tells(ONE, BUSY)
        assert self.told(waiting)["c2c_status"]["call"]["outcome"] == "first_busy"

    def test_held_for_so_long(self) -> None:
        """Or until the seconds have passed; then it is told as it is."""
        self.placed(ONE)
        waiting = self.waits(ONE, "wait=7")
        self.clock.advance(3)
        self.driver.tells(ONE, FirstRinging())
        self.clock.advance(3.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        assert self.told(waiting)["c2c_status"]["call"]["state"] == "first_ringing"

    def test_several_wait(self) -> None:
        """Each for its own time."""
        self.placed(ONE)
        short, long = self.waits(ONE, "wait=1"), self.waits(ONE, "wait=60")
        self.clock.advance(1)
        assert self.told(short)["c2c_status"]["call"]["state"] == "dialing_first"
        self.assertNoResult(long)
        self.driver.tells(ONE, BUSY)
        assert self.told(long)["c2c_status"]["call"]["outcome"] == "first_busy"

    def test_nothing_to_wait_for(self) -> None:
        """A call that has ended, stored or not, is told at once; and wait=0 waits for nothing."""
        self.ended(ONE)
        assert self.status(ONE, "wait=60")["c2c_status"]["call"]["outcome"] == "first_busy"
        self.placed(TWO)
        assert self.status(TWO, "wait=0")["c2c_status"]["call"]["state"] == "dialing_first"
        self.store.hold_writes()
        self.driver.tells(TWO, BUSY)
        assert self.status(TWO, "wait=60")["c2c_status"]["call"]["outcome"] == "first_busy"

    def test_the_next_event(self) -> None:
        """`seen=N` is for who knows N entries of the timeline: told as soon as there are more."""
        self.placed(ONE)
        seen = len(self.status(ONE)["c2c_status"]["call"]["timeline"])
        waiting = self.waits(ONE, f"wait=30&seen={seen}")
        self.assertNoResult(waiting)
        self.driver.tells(ONE, FirstRinging())
        timeline = self.told(waiting)["c2c_status"]["call"]["timeline"]
        assert [entry["event"] for entry in timeline[seen:]] == ["first_ringing"]
        assert self.status(ONE, f"wait=30&seen={seen}")["c2c_status"] is not None
        assert self.status(ONE, "wait=30&seen=0")["c2c_status"] is not None

    def test_out_of_range(self) -> None:
        """The fault is named, whether there is such a call or not."""
        for query, message in (
            ("wait=61", "wait must be a whole number from 0 to 60."),
            ("wait=-1", "wait must be a whole number from 0 to 60."),
            ("wait=", "wait must be a whole number from 0 to 60."),
            ("wait=1.5", "wait must be a whole number from 0 to 60."),
            ("wait=60&seen=x", "seen must be a whole number from 0 to 1000000."),
            ("wait=99999999999", "wait must be a whole number from 0 to 60."),
            ("wait=%D9%A1", "wait must be a whole number from 0 to 60."),  # a digit elsewhere
        ):
            body = self.status(ONE, query)
            assert body["c2c_status"] is None
            assert self.faults(body) == [("invalid_parameter", message)]

    def test_without_a_key(self) -> None:
        """The id is the capability: any key, or none, shows the same."""
        self.ended(ONE)
        shown = [self.status(ONE, key=key) for key in (None, CRM_SECRET, SHOP_SECRET, UNKNOWN_KEY)]
        assert all(story == shown[0] for story in shown)


class StatusWithKey(ApiTest):
    """`http.status_requires_key`: the key is asked for as well."""

    config = HttpConfig(status_requires_key=True)

    def status(self, request_id: str, key: str | None) -> dict[str, Any]:
        """What is told at once."""
        return self.get(f"{PREFIX}/status/{request_id}", key=key)

    def test_own(self) -> None:
        """The key that placed the call sees it, and so does the operator."""
        self.ended(ONE)
        assert self.status(ONE, CRM_SECRET)["c2c_status"] is not None
        assert self.status(ONE, OPERATOR_SECRET)["c2c_status"] is not None

    def test_another_key(self) -> None:
        """For it, there is no such call: it looks the same as one that nobody made."""
        self.ended(ONE)
        unknown = self.status(TWO, SHOP_SECRET)
        assert self.faults(unknown) == [("not_found", f"No request has the id {TWO}.")]
        other = self.status(ONE, SHOP_SECRET)
        assert self.faults(other) == [("not_found", f"No request has the id {ONE}.")]

    def test_no_key(self) -> None:
        """Without one, nothing is told, not even whether there is such a call."""
        self.ended(ONE)
        for request_id in (ONE, TWO):
            missing = self.status(request_id, None)
            assert self.faults(missing) == [("unauthorized", "api_key is missing.")]
            unknown = self.status(request_id, UNKNOWN_KEY)
            assert self.faults(unknown) == [("unauthorized", "This api_key is not known.")]
            assert missing["c2c_status"] is unknown["c2c_status"] is None


class Cancelling(ApiTest):
    """`POST /c2c/v2/cancel/<request_id>`."""

    def cancel(self, request_id: str, key: str = CRM_SECRET) -> dict[str, Any]:
        """What is told at once."""
        return self.post(f"{PREFIX}/cancel/{request_id}", key=key)

    def test_own(self) -> None:
        """The PBX is asked to hang up; the answer is like that to a call."""
        self.placed(ONE)
        assert self.cancel(ONE) == {
            "response": {"request_id": ONE, "status": "success", "errors": []},
            "method": "asterisk.cancel",
            "server_id": "pbx1.example.com",
        }
        assert self.driver.hung_up == [ONE]

    def test_on_a_pbx_that_hangs_none_up(self) -> None:
        """It is said so, and the call goes on; before its order goes out, it can be cancelled."""
        self.placed(ONE)
        self.driver.lasts = "Calls cannot be cancelled on this PBX."
        body = self.cancel(ONE)
        assert self.faults(body) == [("unsupported_pbx", "Calls cannot be cancelled on this PBX.")]
        assert body["response"]["request_id"] == ONE
        assert self.driver.hung_up == []
        assert not self.desk.call(ONE).cancelled
        self.driver.hold_plans()
        self.desk.submit(request_id=TWO)
        assert self.cancel(TWO)["response"]["status"] == "success"
        self.driver.make_plans()
        assert self.desk.call(TWO).outcome == "cancelled"

    def test_the_method(self) -> None:
        """It is that of the kind of PBX which has the call."""
        self.desk.drivers["other"] = self.driver
        self.desk.pbx_kinds["other"] = "other"
        self.desk.submit(request_id=ONE, pbx="other")
        assert self.cancel(ONE)["method"] == "other.cancel"

    def test_the_operator(self) -> None:
        """The agent's own host may cancel every call."""
        self.placed(ONE)
        assert self.cancel(ONE, OPERATOR_SECRET)["response"]["status"] == "success"
        assert self.driver.hung_up == [ONE]

    def test_anothers_and_nobodys(self) -> None:
        """They look the same, and nothing is hung up."""
        self.placed(ONE)
        for request_id, key in ((ONE, SHOP_SECRET), (TWO, SHOP_SECRET), ("17", CRM_SECRET)):
            body = self.cancel(request_id, key)
            assert self.faults(body) == [
                ("not_found", f"This key placed no call with the id {request_id}.")
            ]
            assert body["response"]["request_id"] is None
        assert self.driver.hung_up == []

    def test_one_that_has_ended(self) -> None:
        """There is nothing to hang up; it stays as it ended."""
        self.ended(ONE)
        response = self.cancel(ONE)["response"]
        assert response["status"] == "success"
        assert (
            response["ended"] == self.get(f"{PREFIX}/status/{ONE}")["c2c_status"]["call"]["outcome"]
        )
        assert self.driver.hung_up == []
        assert self.desk.call(ONE).outcome == "first_busy"

    def test_with_the_key_as_a_parameter(self) -> None:
        """As with a call, the key may stand in the form."""
        self.placed(ONE)
        body = self.post(f"{PREFIX}/cancel/{ONE}", key=None, api_key=CRM_SECRET)
        assert body["response"]["status"] == "success"


class Listing(ApiTest):
    """`GET /c2c/v2/calls`."""

    def setUp(self) -> None:
        """Place some calls of two keys."""
        super().setUp()
        for number, key in enumerate([CRM_SECRET, SHOP_SECRET, CRM_SECRET]):
            self.placed(uuid(number), key)
            self.clock.advance(1)

    def listed(self, key: str, query: str = "") -> list[str]:
        """The ids of the calls that are shown."""
        return [call["request_id"] for call in self.get(f"{PREFIX}/calls", query, key=key)["calls"]]

    def test_of_a_key(self) -> None:
        """Its own calls, the newest first."""
        assert self.listed(CRM_SECRET) == [uuid(2), uuid(0)]
        assert self.listed(SHOP_SECRET) == [uuid(1)]

    def test_of_all(self) -> None:
        """The operator sees all."""
        assert self.listed(OPERATOR_SECRET) == [uuid(2), uuid(1), uuid(0)]

    def test_limit(self) -> None:
        """So many of the latest; 20 where nothing is said."""
        assert self.listed(OPERATOR_SECRET, "limit=2") == [uuid(2), uuid(1)]
        assert self.listed(OPERATOR_SECRET, "limit=0") == []
        for number in range(3, 30):
            self.placed(uuid(number))
        assert len(self.listed(OPERATOR_SECRET)) == 20
        assert len(self.listed(OPERATOR_SECRET, "limit=1000")) == 30

    def test_limit_out_of_range(self) -> None:
        """The fault is named."""
        for limit in ("1001", "-1", "x"):
            body = self.get(f"{PREFIX}/calls", f"limit={limit}")
            assert self.faults(body) == [
                ("invalid_parameter", "limit must be a whole number from 0 to 1000.")
            ]

    def test_what_is_shown(self) -> None:
        """Each call as in its status."""
        [call] = self.get(f"{PREFIX}/calls", "limit=1")["calls"]
        assert call["key"] == "crm"
        assert call["utc.time"] == f"{EPOCH + 2:.3f}"
        story = self.get(f"{PREFIX}/status/{uuid(2)}")["c2c_status"]
        assert call["call"] == story["call"]


class Following(ApiTest):
    """`GET /c2c/v2/events` and `GET /c2c/v2/events/<request_id>`."""

    def tearDown(self) -> None:
        """Nobody is counted who was refused, or has heard all."""
        self.desk.live.close()
        assert self.desk.live.open == 0
        super().tearDown()

    def watch(self, request_id: str | None = ONE, key: str | None = None, **how: Any) -> Watch:
        """Follow a request, or with None all calls of a key."""
        reply = self.successResultOf(self.follows(request_id, key, **how))
        assert isinstance(reply.body, Watch), reply
        return reply.body

    def follows(self, request_id: str | None, key: str | None, **how: Any) -> Deferred[Reply]:
        """Ask for a stream."""
        path = f"{PREFIX}/events" if request_id is None else f"{PREFIX}/events/{request_id}"
        return self.asks("GET", path, key=key, **how)

    def refused(self, *asked: Any, **how: Any) -> list[tuple[str, str]]:
        """Ask for a stream that is refused: the errors."""
        return self.faults(self.told(self.follows(*asked, **how)))

    def heard(self, watch: Watch) -> list[tuple[str, str]]:
        """What waits for a reader: ids and types."""
        lines = watch.take().decode().splitlines()
        ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
        return list(
            zip(ids, [line[12:] for line in lines if line.startswith("event: ")], strict=True)
        )

    def types(self, watch: Watch) -> list[str]:
        """The same, without the ids."""
        return [event for _, event in self.heard(watch)]

    def test_a_request(self) -> None:
        """What has happened, then what happens, to its end; the id is enough."""
        self.placed()
        watch = self.watch()
        assert self.types(watch) == ["accepted"]
        self.driver.tells(ONE, FirstRinging())
        self.driver.tells(ONE, BUSY)
        assert self.types(watch) == ["first_ringing", "ended"]
        assert watch.ended

    def test_the_same_as_webhooks_get(self) -> None:
        """Each event, byte for byte, whether it is told at once or later."""
        self.placed()
        at_once = self.watch()
        self.driver.tells(ONE, FirstRinging("PJSIP/100-1"), BUSY)
        told = at_once.take()
        reports = [report.body for report in self.store.reports]
        assert [line[6:] for line in told.decode().splitlines() if line[:5] == "data:"] == reports
        assert self.watch().take() == told

    def test_one_that_has_ended(self) -> None:
        """Its story, and the end."""
        self.ended()
        watch = self.watch()
        assert (self.types(watch), watch.ended) == (["accepted", "ended"], True)

    def test_one_that_is_asked_for_again(self) -> None:
        """While the store looks whether it was: the end is told, as there will be no other."""
        self.ended()
        self.store.hold_reads()
        self.asks("GET", PREFIX, {**CALL_PARAMETERS, "request_id": ONE})
        asked = self.follows(ONE, None)
        self.store.release()
        watch = self.successResultOf(asked).body
        assert isinstance(watch, Watch)
        assert (self.types(watch), watch.ended) == (["accepted", "ended"], True)

    def test_one_that_was_refused(self) -> None:
        """The one event that there is."""
        self.asks("GET", PREFIX, {"dial_first": "&", "request_id": ONE})
        assert self.types(self.watch()) == ["rejected"]

    def test_coming_again(self) -> None:
        """From where the client was; who has seen the end is answered, and comes no more."""
        self.placed()
        [(accepted, _)] = self.heard(self.watch())
        self.driver.tells(ONE, FirstRinging())
        assert self.types(self.watch(last_event_id=accepted)) == ["first_ringing"]
        self.driver.tells(ONE, BUSY)
        events = self.heard(self.watch(last_event_id=accepted))
        assert [event for _, event in events] == ["first_ringing", "ended"]
        asked = self.follows(ONE, None, last_event_id=events[-1][0])
        assert self.told(asked)["c2c_status"]["call"]["outcome"] == "first_busy"

    def test_while_the_store_is_asked(self) -> None:
        """What happens meanwhile is heard, once."""
        self.ended()
        kept = self.store.kept(ONE)
        assert kept is not None
        self.store.hold_reads()
        asked = self.follows(ONE, None)
        self.desk.live.publish(kept, EventType.ENDED)
        self.store.release()
        body = self.successResultOf(asked).body
        assert isinstance(body, Watch)
        assert self.types(body) == ["accepted", "ended"]

    def test_unknown(self) -> None:
        """As its status says it."""
        for unknown in (ONE, "x", ONE + "0"):
            said = self.refused(unknown, None)
            assert said == [("not_found", f"No request has the id {unknown}.")]

    def test_in_capitals(self) -> None:
        """It is the same id."""
        upper = "ABCDEF00-0000-4000-8000-000000000000"
        self.placed(upper.lower())
        assert self.types(self.watch(upper)) == ["accepted"]

    def test_the_store_cannot_be_read(self) -> None:
        """Then nobody follows."""
        self.store.hold_reads()
        asked = self.follows(ONE, None)
        self.store.fail_reads()
        self.failureResultOf(asked)
        assert self.desk.live.open == 0

    def test_a_key(self) -> None:
        """Its calls from now on, and no one else's; the operator hears of all."""
        crm, shop, operator = (
            self.watch(None, key) for key in (CRM_SECRET, SHOP_SECRET, OPERATOR_SECRET)
        )
        self.placed()
        self.placed(TWO, SHOP_SECRET)
        self.driver.tells(ONE, BUSY)
        assert self.types(crm) == ["accepted", "ended"]
        assert self.types(shop) == ["accepted"]
        assert self.types(operator) == ["accepted", "accepted", "ended"]
        assert self.types(self.watch(None, CRM_SECRET)) == []

    def test_too_many(self) -> None:
        """The desk has room for four of one key or address; later there may be more."""
        self.placed()
        for _ in range(4):
            self.watch()
            watch = self.watch(None, CRM_SECRET)
        for request_id, key in ((ONE, None), (ONE, CRM_SECRET), (None, CRM_SECRET)):
            reply = self.successResultOf(self.follows(request_id, key))
            body = json.loads(json.dumps(reply.body))
            message = "Too many event streams are open."
            assert self.faults(body) == [("too_many_streams", message)]
            assert (reply.code, reply.retry_after) == (200, 30)
        watch.close()
        self.watch(ONE, CRM_SECRET)


class FollowingWithKey(Following):
    """The same where a status needs the key as well."""

    config = HttpConfig(status_requires_key=True)

    def follows(
        self, request_id: str | None, key: str | None = None, **how: Any
    ) -> Deferred[Reply]:
        """With the key that placed it, unless another is given."""
        return super().follows(request_id, key or CRM_SECRET, **how)

    def test_too_many(self) -> None:
        """As above; all are of the key here."""

    def test_who_may(self) -> None:
        """The operator, and nobody else."""
        self.placed()
        assert self.types(self.watch(ONE, OPERATOR_SECRET)) == ["accepted"]
        assert self.refused(ONE, SHOP_SECRET) == [("not_found", f"No request has the id {ONE}.")]
        assert self.refused(ONE, UNKNOWN_KEY) == [("unauthorized", "This api_key is not known.")]
        asked = self.asks("GET", f"{PREFIX}/events/{ONE}", key=None)
        assert self.faults(self.told(asked)) == [("unauthorized", "api_key is missing.")]
