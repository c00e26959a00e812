"""Many at once: calls that are looked for, reports that wait, keys and their use."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import csv
import io
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import evolve

from c2c_agent.report.delivery import Listed
from c2c_agent.web.answers import Reply, Text
from c2c_agent.web.ask import PREFIX
from tests.fakes import CRM, CRM_SECRET, EPOCH, OPERATOR_SECRET, SHOP_SECRET, uuid
from tests.unit.web.asking import BASE, BUSY, UNKNOWN_KEY, ApiTest

CALLS = f"{PREFIX}/calls"


class Looking(ApiTest):
    """Calls that are looked for."""

    def setUp(self) -> None:
        """Three calls of the crm, a minute apart, and one of the shop."""
        super().setUp()
        for number, second in ((1, "200"), (2, "201"), (3, "200")):
            self.asks(
                "POST",
                PREFIX,
                json_body={"request_id": uuid(number), "dial_first": "100", "dial_second": second},
            )
            if number != 3:
                self.driver.tells(uuid(number), BUSY)
            self.clock.advance(60)
        self.placed(uuid(4), SHOP_SECRET)

    def found(self, key: str = CRM_SECRET, **query: str) -> list[int]:
        """The numbers of the calls that are found."""
        listed = self.get(CALLS, query, key=key)["calls"]
        return [int(one["request_id"][-12:]) for one in listed]

    def test_each_filter(self) -> None:
        """By time, number as people write it, outcome; all together."""
        assert self.found() == [3, 2, 1]
        assert self.found(since=str(EPOCH + 60)) == [3, 2]
        assert self.found(until=f"{EPOCH + 60:.3f}") == [1]
        assert self.found(number="tel:2-00") == [3, 1]
        assert self.found(outcome="first_busy") == [2, 1]
        assert self.found(number="200", outcome="first_busy", since="0") == [1]
        assert self.found(number="300") == []

    def test_whose(self) -> None:
        """A key's own; the operator's are all, or those of a key."""
        assert self.found(CRM_SECRET) == [3, 2, 1]
        assert self.found(OPERATOR_SECRET) == [4, 3, 2, 1]
        assert self.get(CALLS, {"key": "shop"}, key=OPERATOR_SECRET)["calls"] != []
        assert len(self.get(CALLS, {"key": "crm"})["calls"]) == 3
        body = self.get(CALLS, {"key": "shop"})
        assert self.faults(body) == [("not_allowed", "This key may not see another key's calls.")]

    def test_page_by_page(self) -> None:
        """Each page says where the next begins; the last one nothing."""
        page = self.get(CALLS, {"limit": "2"})
        assert [one["request_id"] for one in page["calls"]] == [uuid(3), uuid(2)]
        page = self.get(CALLS, {"limit": "2", "cursor": page["next"]})
        assert [one["request_id"] for one in page["calls"]] == [uuid(1)]
        assert "next" not in page
        assert self.get(CALLS, {"limit": "0"}) == {"calls": []}

    def test_what_is_wrong(self) -> None:
        """By name."""
        for query, words in (
            ({"since": "yesterday"}, "since must be a time"),
            ({"until": "1e3"}, "until must be a time"),
            ({"outcome": "fine"}, "outcome must be one of connected,"),
            ({"number": "1&2"}, "number is not a number"),
            ({"format": "xml"}, "format must be one of json, csv."),
            ({"limit": "1001"}, "limit must be a whole number"),
            *(
                ({"cursor": cursor}, "cursor is none")
                for cursor in ("x", "\u00e4", "bmFuIHg", "IA")
            ),
        ):
            [(code, message)] = self.faults(self.get(CALLS, query))
            assert code == "invalid_parameter"
            assert message.startswith(words), query
        assert self.faults(self.get(CALLS, key=UNKNOWN_KEY))[0][0] == "unauthorized"

    def table(self, **query: str) -> tuple[Reply, list[dict[str, str]]]:
        """A table, read."""
        reply = self.successResultOf(self.asks("GET", CALLS, {"format": "csv", **query}))
        assert isinstance(reply.body, Text)
        assert reply.body.content_type == "text/csv; charset=utf-8"
        self.answers.remove(reply)
        return reply, list(csv.DictReader(io.StringIO(reply.body.content.decode())))

    def test_a_table(self) -> None:
        """A line for each call; what is not there is empty."""
        reply, rows = self.table(outcome="first_busy", limit="1")
        assert rows == [
            {
                "utc.time": f"{EPOCH + 60:.3f}",
                "request_id": uuid(2),
                "key": "crm",
                "dial_first": "100",
                "dial_second": "201",
                "dial_as": "100",
                "state": "ended",
                "outcome": "first_busy",
                "hung_up_by": "",
                "cause": "17",
                "talk_seconds": "",
            }
        ]
        link = dict(reply.headers)["Link"]
        url = urlsplit(link.removeprefix("<").removesuffix('>; rel="next"'))
        assert f"{url.scheme}://{url.netloc}" == BASE
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        _, rows = self.table(**query)
        assert [row["request_id"] for row in rows] == [uuid(1)]

    def test_the_last_table(self) -> None:
        """It leads nowhere."""
        reply, rows = self.table()
        assert len(rows) == 3
        assert "Link" not in dict(reply.headers)


class Reports(ApiTest):
    """What receivers were not told yet."""

    ONE = Listed(7, "crm", "e-1", "call.ended", uuid(1), EPOCH, 0, EPOCH + 5, None, None)
    TWO = evolve(ONE, number=6, attempts=10, dead_at=EPOCH + 99, reason="HTTP 500")

    def test_what_is_shown(self) -> None:
        """Whether it waits, and until when; or that it was given up, and why."""
        self.desk.report_list.reports = [self.ONE, self.TWO]
        shown = self.get(f"{PREFIX}/reports")
        assert shown == {
            "reports": [
                {
                    "id": "e-1",
                    "target": "crm",
                    "type": "call.ended",
                    "request_id": uuid(1),
                    "utc.time": f"{EPOCH:.3f}",
                    "state": "waiting",
                    "attempts": 0,
                    "utc.due": f"{EPOCH + 5:.3f}",
                    "reason": None,
                },
                {
                    "id": "e-1",
                    "target": "crm",
                    "type": "call.ended",
                    "request_id": uuid(1),
                    "utc.time": f"{EPOCH:.3f}",
                    "state": "given_up",
                    "attempts": 10,
                    "utc.due": None,
                    "reason": "HTTP 500",
                },
            ]
        }

    def test_what_is_asked(self) -> None:
        """Of a key's calls, or of all; those that wait, or not; page by page."""
        self.desk.report_list.reports = [self.ONE, self.TWO]
        page = self.get(f"{PREFIX}/reports", {"limit": "1", "state": "waiting"})
        assert page["next"] == "7"
        query = {"cursor": page["next"], "state": "given_up"}
        self.get(f"{PREFIX}/reports", query, key=OPERATOR_SECRET)
        assert self.desk.report_list.asked == [("crm", None, False), (None, 7, True)]

    def test_who_sees_none(self) -> None:
        """Nobody without a key, no token; nor is a wrong question answered."""
        token = self.post(f"{PREFIX}/tokens", dial_first="100")["token"]
        for what in ("reports", "keys"):
            path = f"{PREFIX}/{what}"
            assert self.faults(self.get(path, key=None))[0][0] == "unauthorized"
            refusal = self.faults(self.get(path, key=token))
            assert refusal == [("not_allowed", f"A token cannot list {what}.")]
        for query in ({"state": "x"}, {"cursor": "x"}, {"limit": "-1"}):
            body = self.get(f"{PREFIX}/reports", query)
            assert self.faults(body)[0][0] == "invalid_parameter"
        assert self.desk.report_list.asked == []


class Keys(ApiTest):
    """Keys and their use."""

    def shown(self, key: str) -> dict[str, Any]:
        """What is shown of each."""
        body = self.get(f"{PREFIX}/keys", key=key)
        assert "sha256" not in json.dumps(body)
        return {one["name"]: one for one in body["keys"]}

    def test_its_own(self) -> None:
        """With its limits, and what is used of them."""
        self.ring.change([evolve(CRM, per_day=9), *[key for key in self.ring if key.name != "crm"]])
        self.placed(uuid(1))
        self.ended(uuid(2))
        assert self.shown(CRM_SECRET) == {
            "crm": {
                "name": "crm",
                "console": False,
                "limits": {
                    "max_concurrent": None,
                    "per_minute": None,
                    "per_day": 9,
                    "minutes_per_day": None,
                    "max_duration": None,
                },
                "use": {
                    "concurrent": 1,
                    "minute": 2,
                    "day": 2,
                    "minutes_day": round((14400 + 30) / 60, 1),
                },
            }
        }

    def test_all(self) -> None:
        """A console sees them, used or not, and which of them have one."""
        self.ring.change([evolve(CRM, console=True), *[k for k in self.ring if k.name != "crm"]])
        for key in (OPERATOR_SECRET, CRM_SECRET):
            shown = self.shown(key)
            assert {name: one["console"] for name, one in shown.items()} == {
                "crm": True,
                "shop": False,
                "operator": True,
            }
            assert shown["shop"]["use"]["day"] == 0

    def test_who_asks(self) -> None:
        """It is told its own name."""
        for key, name in ((CRM_SECRET, "crm"), (OPERATOR_SECRET, "operator")):
            assert self.get(f"{PREFIX}/keys", key=key)["key"] == name
