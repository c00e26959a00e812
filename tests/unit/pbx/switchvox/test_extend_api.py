"""The Extend API's answers, in every shape that a Switchvox gives them."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from c2c_agent.pbx.switchvox.extend_api import (
    ApiFault,
    CurrentCall,
    Failure,
    LoggedCall,
    Nonsense,
    Result,
    accounts,
    answer,
    current_calls,
    failed_after_trying,
    logged_calls,
    many,
    pbx_time,
    request,
    text_of,
)


def result(tree: object) -> Result:
    """A result, as if it had been read."""
    got = answer(json.dumps({"response": {"method": "m", "result": tree}}).encode())
    assert isinstance(got, Result)
    return got


def failure(*faults: tuple[object, str]) -> Failure:
    """Errors, as if they had been read."""
    errors = [{"code": code, "message": message} for code, message in faults]
    tree: Any = errors[0] if len(errors) == 1 else errors
    got = answer(json.dumps({"response": {"errors": {"error": tree}}}).encode())
    assert isinstance(got, Failure)
    return got


class RequestTest(TestCase):
    def test_is_the_method_with_its_parameters(self) -> None:
        body = json.loads(request("switchvox.call", {"dial_first": "101"}, "id-1"))
        asked = {"method": "switchvox.call", "parameters": {"dial_first": "101"}}
        self.assertEqual(body, {"request": {**asked, "transaction_id": "id-1"}})
        self.assertEqual(
            json.loads(request("m", {})), {"request": {"method": "m", "parameters": {}}}
        )


class AnswerTest(TestCase):
    def test_keeps_the_response_as_it_came(self) -> None:
        self.assertEqual(result({"a": "1"}).data, {"method": "m", "result": {"a": "1"}})

    def test_an_empty_result_is_one(self) -> None:
        empties: list[object] = [{}, None, "", []]
        for empty in empties:
            self.assertEqual(result(empty).tree, {})

    def test_one_error_or_several_codes_as_text_or_as_numbers(self) -> None:
        one = failure((41591, "Your call failed."))
        self.assertEqual(one.faults, (ApiFault("41591", "Your call failed."),))
        two = failure(("10011", "A is missing"), (10010, "B is wrong"))
        self.assertEqual(two.codes, {"10011", "10010"})
        self.assertEqual(two.text, "A is missing; B is wrong")

    def test_anything_else_is_nonsense(self) -> None:
        for body, words in (
            (b"", "an empty answer"),
            (b"<html>no</html>", "no JSON"),
            (b'{"response": {"resul', "no JSON"),
            (b"\xff\xfe", "no JSON"),
            (b"[" * 100_000, "no JSON"),
            (b"9" * 5000, "no JSON"),
            (b"[]", "neither"),
            (b'{"response": {"method": "switchvox.call"}}', "neither"),
            (b'{"response": {"errors": {}}}', "neither"),
            (b'{"response": {"errors": {"error": ["x"]}}}', "neither"),
            (b'{"response": {"errors": {"error": ["x"]}, "result": {}}}', "neither"),
            (b'{"response": {"result": "yes"}}', "neither"),
        ):
            got = answer(body)
            assert isinstance(got, Nonsense), body
            self.assertIn(words, got.reason)

    @given(st.binary(max_size=200))
    def test_no_bytes_break_it(self, body: bytes) -> None:
        self.assertIsInstance(answer(body), (Result, Failure, Nonsense))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.text() | st.floats() | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "current_calls",
                            "current_call",
                            "total_items",
                            "calls",
                            "call",
                            "extensions",
                            "extension",
                            "events",
                            "event",
                            "id",
                            "number",
                            "type",
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_no_tree_breaks_what_reads_it(self, tree: object) -> None:
        got = Result(tree if isinstance(tree, dict) else {"x": tree}, {})
        current_calls(got)
        logged_calls(got)
        accounts(got)


class FailedAfterTryingTest(TestCase):
    def test_the_originate_that_failed_is_one_at_any_time(self) -> None:
        self.assertTrue(failed_after_trying(failure((41591, "x")), 0.0))

    def test_a_known_refusal_is_none_however_late(self) -> None:
        self.assertFalse(failed_after_trying(failure((84711, "x")), 40.0))

    def test_an_unknown_error_is_one_unless_it_came_at_once(self) -> None:
        self.assertFalse(failed_after_trying(failure((99999, "x")), 0.9))
        self.assertTrue(failed_after_trying(failure((99999, "x")), 1.0))
        self.assertTrue(failed_after_trying(failure((84711, "x"), (99999, "y")), 1.0))


class TreeTest(TestCase):
    def test_many(self) -> None:
        self.assertEqual(many(None), ())
        self.assertEqual(many({"a": 1}), ({"a": 1},))
        self.assertEqual(many([1, 2]), [1, 2])

    def test_text_is_what_stands_at_a_leaf(self) -> None:
        tree = {"a": {"b": 7, "c": " x ", "d": True, "e": None, "f": ["1"]}}
        self.assertEqual(text_of(tree, "a", "b"), "7")
        self.assertEqual(text_of(tree, "a", "c"), "x")
        for nothing in ("d", "e", "f", "g"):
            self.assertEqual(text_of(tree, "a", nothing), "")
        self.assertEqual(text_of(tree, "a", "b", "c"), "")


class CurrentCallsTest(TestCase):
    entry: ClassVar[dict[str, object]] = {
        "id": "SIP/101-6602",
        "state": "Ringing",
        "start_time": "2026-11-30 12:00:01",
        "from_caller_id_number": 101,
        "to_caller_id_number": "915554578299",
    }

    def test_none_one_and_several(self) -> None:
        self.assertEqual(current_calls(result({"current_calls": {"total_items": "0"}})), ())
        one = current_calls(
            result({"current_calls": {"total_items": 1, "current_call": self.entry}})
        )
        started = pbx_time("2026-11-30 12:00:01")
        wanted = CurrentCall("SIP/101-6602", "ringing", "101", "915554578299", started)
        self.assertEqual(one, (wanted,))
        both = {"total_items": "2", "current_call": [self.entry, {**self.entry, "id": "x"}]}
        self.assertEqual(len(current_calls(result({"current_calls": both})) or ()), 2)

    def test_an_answer_that_does_not_tell_them_is_not_an_empty_list(self) -> None:
        self.assertIsNone(current_calls(result({})))
        self.assertIsNone(current_calls(result({"current_calls": {}})))
        self.assertIsNone(current_calls(result({"current_calls": {"total_items": "3"}})))

    def test_an_entry_without_an_id_is_passed_over(self) -> None:
        nameless = {"current_calls": {"total_items": "1", "current_call": {"state": "ringing"}}}
        self.assertEqual(current_calls(result(nameless)), ())


class LoggedCallsTest(TestCase):
    def entry(self, **fields: object) -> LoggedCall:
        """The only entry of a log."""
        [logged] = logged_calls(result({"calls": {"total_items": "1", "call": fields}}))
        return logged

    def test_an_answered_call_has_talk_or_an_event_of_it(self) -> None:
        self.assertTrue(self.entry(talk_duration="4").talked)
        self.assertTrue(self.entry(events={"event": {"type": "TALKING"}}).talked)
        self.assertFalse(
            self.entry(talk_duration=0, events={"event": [{"type": "RINGALL"}]}).talked
        )

    def test_a_duration_in_another_form_is_none(self) -> None:
        self.assertEqual(self.entry(talk_duration="4", total_duration=9).total_seconds, 9.0)
        self.assertIsNone(self.entry(talk_duration="0:04").talk_seconds)

    def test_keeps_what_the_pbx_shows_of_its_events(self) -> None:
        events = {"event": [{"display": "Call was hung up by 101"}, {"type": "HANGUP"}]}
        self.assertEqual(self.entry(events=events).words, ("Call was hung up by 101",))


class AccountsTest(TestCase):
    def test_of_one_of_several_and_of_none(self) -> None:
        one = {"number": 104, "account_id": 1110}
        self.assertEqual(accounts(result({"extensions": {"extension": one}})), {"104": "1110"})
        two = [one, {"number": "105", "account_id": "1111"}, {"number": "106"}]
        self.assertEqual(
            accounts(result({"extensions": {"extension": two}})), {"104": "1110", "105": "1111"}
        )
        self.assertEqual(accounts(result({"extensions": {}})), {})


class PbxTimeTest(TestCase):
    def test_seconds_of_a_clock_with_no_zone(self) -> None:
        first, later = pbx_time("2026-11-30 12:00:01"), pbx_time("2026-12-01T00:00:02")
        assert first is not None and later is not None  # noqa: PT018
        self.assertEqual(later - first, 43201.0)

    def test_what_is_written_otherwise_is_none(self) -> None:
        for text in ("", "Nov 30", "2026-13-01 00:00:00", "0000-01-01 00:00:00", "12:00:01"):
            self.assertIsNone(pbx_time(text))
