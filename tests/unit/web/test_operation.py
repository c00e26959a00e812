"""The paths of those who look after the agent: dead letters, checks, the kill switch, health."""

# Twisted's test cases have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

from unittest import mock

from attrs import evolve

from c2c_agent.report.live import Watch
from c2c_agent.web.ask import PREFIX
from tests.fakes import (
    CALL_PARAMETERS,
    CRM_SECRET,
    OPERATOR_SECRET,
    SHOP,
    SHOP_SECRET,
)
from tests.unit.web.asking import CHECKED, EXPOSITION, ONE, TWO, UNKNOWN_KEY, ApiTest


class Replaying(ApiTest):
    """`POST /c2c/v2/replay`."""

    def test_the_operator(self) -> None:
        """All dead letters, or some; it is told how many."""
        path = f"{PREFIX}/replay"
        assert self.post(path, key=OPERATOR_SECRET) == {"replayed": 7}
        assert self.post(path, key=OPERATOR_SECRET, target="crm") == {"replayed": 7}
        assert self.post(path, key=OPERATOR_SECRET, request_id=ONE, target="") == {"replayed": 7}
        assert self.replayed == [(None, None), ("crm", None), (None, ONE)]

    def test_nobody_else(self) -> None:
        """What is told to whom is the host's own affair."""
        body = self.post(f"{PREFIX}/replay", key=CRM_SECRET)
        assert self.faults(body) == [("not_allowed", "This key may not send dead letters again.")]
        body = self.post(f"{PREFIX}/replay", key=UNKNOWN_KEY)
        assert self.faults(body) == [("unauthorized", "This api_key is not known.")]
        assert self.replayed == []

    def test_unreadable(self) -> None:
        """What is no wish of anybody's sends nothing; it would be everything, to everybody."""
        path = f"{PREFIX}/replay"
        for how in (
            {"query": "target=crm&target=shop"},
            {"query": "request_id=%ff"},
            {"json_body": ["crm"]},
            {"json_body": {"target": ["crm"]}},
            {"json_body": {"target": None}},
            {"json_body": {"request_id": 17}},
            {"targt": "crm"},
        ):
            body = self.told(self.asks("POST", path, key=OPERATOR_SECRET, **how))
            assert {code for code, _ in self.faults(body)} == {"invalid_parameter"}, how
        assert self.replayed == []


class Targets(ApiTest):
    """`GET /c2c/v2/targets`."""

    def test_the_operator(self) -> None:
        """What waits, what was given up, what fails, since when and why."""
        assert self.get(f"{PREFIX}/targets", key=OPERATOR_SECRET) == {
            "targets": [
                {
                    "target": "crm",
                    "waiting": 3,
                    "given_up": 1,
                    "oldest": "1435628930.500",
                    "failing_since": "1435628937.000",
                    "reason": "HTTP 500",
                },
                {
                    "target": "shop",
                    "waiting": 0,
                    "given_up": 0,
                    "oldest": None,
                    "failing_since": None,
                    "reason": None,
                },
            ]
        }

    def test_nobody_else(self) -> None:
        """Who is told of calls is the host's own affair."""
        body = self.get(f"{PREFIX}/targets", key=CRM_SECRET)
        assert self.faults(body) == [("not_allowed", "This key may not see who is told of calls.")]


class Checking(ApiTest):
    """`GET /c2c/v2/check`."""

    def test_a_console(self) -> None:
        """It is told what was found, and what to do."""
        assert self.get(f"{PREFIX}/check", key=OPERATOR_SECRET) == CHECKED

    def test_nobody_else(self) -> None:
        """What is wrong with the agent helps thieves."""
        body = self.get(f"{PREFIX}/check", key=CRM_SECRET)
        assert self.faults(body) == [("not_allowed", "This key may not see what the checks find.")]
        body = self.get(f"{PREFIX}/check", key=UNKNOWN_KEY)
        assert self.faults(body) == [("unauthorized", "This api_key is not known.")]


class Consoles(ApiTest):
    """A key of the configuration with `console: true`."""

    def setUp(self) -> None:
        """Give the shop one."""
        super().setUp()
        others = [key for key in self.ring if key.name != "shop"]
        self.ring.change([*others, evolve(SHOP, console=True)])

    def test_looks_after_the_agent(self) -> None:
        """All that the host's own key may, but calls that it may not place itself."""
        self.placed(ONE, CRM_SECRET)
        assert [call["key"] for call in self.get(f"{PREFIX}/calls", key=SHOP_SECRET)["calls"]] == [
            "crm"
        ]
        assert self.get(f"{PREFIX}/check", key=SHOP_SECRET) == CHECKED
        assert len(self.get(f"{PREFIX}/targets", key=SHOP_SECRET)["targets"]) == 2
        assert self.post(f"{PREFIX}/replay", key=SHOP_SECRET) == {"replayed": 7}
        told = self.post(f"{PREFIX}/cancel/{ONE}", key=SHOP_SECRET)
        assert told["response"]["status"] == "success"
        assert self.post(f"{PREFIX}/stop-calls", key=SHOP_SECRET)["stopped"] is True
        assert self.post(f"{PREFIX}/start-calls", key=SHOP_SECRET)["stopped"] is False
        body = self.post(PREFIX, key=SHOP_SECRET, dial_first="99999", dial_second="99999")
        assert {code for code, _ in self.faults(body)} == {"not_allowed"}

    def test_its_tokens(self) -> None:
        """They see the calls of their key and phone alone, and look after nothing."""
        self.placed(ONE, CRM_SECRET)
        wish = {"dial_first": CALL_PARAMETERS["dial_first"]}
        token = self.post(f"{PREFIX}/tokens", key=SHOP_SECRET, **wish)["token"]
        assert self.get(f"{PREFIX}/calls", key=token)["calls"] == []
        body = self.post(f"{PREFIX}/cancel/{ONE}", key=token)
        assert self.faults(body)[0][0] == "not_found"
        for path in ("reports", "keys", "targets", "check"):
            assert self.faults(self.get(f"{PREFIX}/{path}", key=token))
        watch = self.successResultOf(self.asks("GET", f"{PREFIX}/events", key=token)).body
        assert isinstance(watch, Watch)
        self.placed(TWO, CRM_SECRET)
        assert watch.take() == b""
        watch.close()


class Stopping(ApiTest):
    """`POST /c2c/v2/stop-calls` and `start-calls`."""

    def test_the_operator(self) -> None:
        """Calls are stopped, with or without hanging up, and placed again."""
        self.placed(ONE)
        stop, start = f"{PREFIX}/stop-calls", f"{PREFIX}/start-calls"
        told = self.post(stop, key=OPERATOR_SECRET, reason="a key was stolen")
        assert told == {"stopped": True, "hung_up": 0}
        assert self.desk.stop_reason == "a key was stolen"
        refused = self.post(PREFIX, **CALL_PARAMETERS)
        assert self.faults(refused)[0][0] == "not_allowed"
        assert self.driver.hung_up == []
        told = self.post(stop, key=OPERATOR_SECRET, hang_up="true")
        assert told == {"stopped": True, "hung_up": 1}
        assert self.driver.hung_up == [ONE]
        assert self.post(start, key=OPERATOR_SECRET) == {"stopped": False, "were_stopped": True}
        assert self.post(start, key=OPERATOR_SECRET) == {"stopped": False, "were_stopped": False}

    def test_a_truth(self) -> None:
        """What hangs up, and what does not."""
        self.placed(ONE)
        for hang_up in (False, "false", "0"):
            body = self.told(
                self.asks(
                    "POST",
                    f"{PREFIX}/stop-calls",
                    key=OPERATOR_SECRET,
                    json_body={"hang_up": hang_up},
                )
            )
            assert body == {"stopped": True, "hung_up": 0}
        body = self.told(
            self.asks(
                "POST", f"{PREFIX}/stop-calls", key=OPERATOR_SECRET, json_body={"hang_up": True}
            )
        )
        assert body == {"stopped": True, "hung_up": 1}

    def test_unreadable(self) -> None:
        """Nothing of it is done, and it is said: whoever hears "stopped" goes home."""
        self.placed(ONE)
        for how in (
            {"hang_up": "True"},
            {"hang_up": "yes"},
            {"hang_up": ""},
            {"hangup": "true"},
            {"query": "hang_up=true&hang_up=false"},
            {"json_body": ["hang_up"]},
            {"json_body": "stop"},
            {"json_body": {"hang_up": 1.5}},
            {"json_body": {"hang_up": None}},
            {"json_body": {"reason": ["stolen"]}},
        ):
            body = self.told(self.asks("POST", f"{PREFIX}/stop-calls", key=OPERATOR_SECRET, **how))
            assert {code for code, _ in self.faults(body)} == {"invalid_parameter"}, how
        assert not self.desk.stopped
        assert self.driver.hung_up == []
        self.desk.stopped = True
        body = self.told(
            self.asks("POST", f"{PREFIX}/start-calls", key=OPERATOR_SECRET, json_body=[])
        )
        assert [code for code, _ in self.faults(body)] == ["invalid_parameter"]
        assert self.desk.stopped

    def test_nobody_else(self) -> None:
        """A stolen key neither stops calls nor lets them be placed again."""
        self.desk.stopped = True
        for path, what in (("stop-calls", "stop calls"), ("start-calls", "start calls")):
            body = self.post(f"{PREFIX}/{path}", key=CRM_SECRET)
            assert self.faults(body) == [("not_allowed", f"This key may not {what}.")]
            body = self.post(f"{PREFIX}/{path}", key=UNKNOWN_KEY)
            assert self.faults(body) == [("unauthorized", "This api_key is not known.")]
        assert self.desk.stopped

    def test_the_disk_is_full(self) -> None:
        """Who wanted to stop calls is told that they are not."""
        error = OSError(28, "No space left on device")
        for path, method in (("stop-calls", "stop"), ("start-calls", "start")):
            with mock.patch.object(self.desk, method, side_effect=error):
                body = self.post(f"{PREFIX}/{path}", key=OPERATOR_SECRET)
            assert self.faults(body) == [
                (
                    "internal_error",
                    "The kill switch cannot be turned: No space left on device.",
                )
            ]


class Health(ApiTest):
    """`GET /healthz` and `/readyz`, for what watches the agent: ordinary codes, and no key."""

    def ready(self) -> tuple[int, object]:
        """What readyz says."""
        reply = self.successResultOf(self.asks("GET", "/readyz", key=None))
        return reply.code, reply.body

    def test_alive(self) -> None:
        """The agent answers."""
        assert self.get("/healthz", key=None) == {"status": "ok"}

    def test_ready(self) -> None:
        """Every part is well."""
        assert self.ready() == (200, {"ready": True, "parts": {"store": "ok", "ami": "ok"}})

    def test_metrics(self) -> None:
        """Shown as they are, to whoever asks."""
        reply = self.successResultOf(self.asks("GET", "/metrics", key=None))
        assert (reply.code, reply.body) == (200, EXPOSITION)

    def test_not_ready(self) -> None:
        """Which part is not, and why."""
        self.parts["ami"] = "Connection was refused"
        assert self.ready() == (
            503,
            {"ready": False, "parts": {"store": "ok", "ami": "Connection was refused"}},
        )
