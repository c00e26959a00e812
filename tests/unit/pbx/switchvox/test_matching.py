"""Whose entry it is: found where there is one possible, and never guessed."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from attrs import evolve

from c2c_agent.pbx.switchvox.extend_api import CurrentCall, LoggedCall
from c2c_agent.pbx.switchvox.matching import (
    Match,
    Wanted,
    doubting,
    is_number,
    match_current,
    match_logged,
)

CALL = Wanted(
    first=frozenset({"101"}),
    second=frozenset({"15554578299", "915554578299"}),
    timeout=30,
    placed_at=1000.0,
    baseline=frozenset({"SIP/old-1"}),
)
ENTRY = CurrentCall("SIP/101-2", "ringing", "101", "915554578299", 1000.0)


def logged(**fields: Any) -> LoggedCall:
    """An entry of the log."""
    entry = LoggedCall("77", "101", "915554578299", 1000.0, False, 0.0, 12.0, ())
    return evolve(entry, **fields)


class NumberTest(TestCase):
    def test_a_number_is_its_own_in_any_spelling(self) -> None:
        for listed in ("15554578299", "+1 (555) 457-8299", "915554578299", "4578299"):
            self.assertTrue(is_number(listed, CALL.second), listed)

    def test_short_numbers_must_be_equal(self) -> None:
        self.assertTrue(is_number("101", {"101"}))
        for other in ("1101", "10", "", "anonymous", "4101"):
            self.assertFalse(is_number(other, {"101"}), other)


class CurrentTest(TestCase):
    def match(self, *entries: CurrentCall, call: Wanted = CALL) -> Match:
        """What is found for one call."""
        return match_current({"a": call}, entries)["a"]

    def test_finds_the_one_that_has_come_since(self) -> None:
        old = evolve(ENTRY, id="SIP/old-1")
        self.assertEqual(self.match(old, ENTRY), Match(ENTRY))

    def test_from_and_to_may_be_the_other_way_round(self) -> None:
        swapped = evolve(ENTRY, from_number=ENTRY.to_number, to_number="101")
        self.assertEqual(self.match(swapped), Match(swapped))

    def test_one_side_may_be_missing(self) -> None:
        half = evolve(ENTRY, to_number="")
        self.assertEqual(self.match(half), Match(half))
        self.assertEqual(self.match(evolve(half, from_number="", to_number="102")), Match())

    def test_another_number_another_time_or_none_is_no_match(self) -> None:
        for entry in (
            evolve(ENTRY, from_number="102"),
            evolve(ENTRY, to_number="200"),
            evolve(ENTRY, started_at=997.9),
            evolve(ENTRY, started_at=1035.1),
            evolve(ENTRY, started_at=None),
        ):
            self.assertEqual(self.match(entry), Match())

    def test_of_two_that_would_do_neither_counts(self) -> None:
        two = self.match(ENTRY, evolve(ENTRY, id="SIP/101-3"))
        self.assertEqual(two, Match(doubtful=frozenset({ENTRY.id, "SIP/101-3"})))

    def test_what_once_was_in_doubt_is_not_found_when_it_is_alone(self) -> None:
        for other in (evolve(ENTRY, id="SIP/101-3"), evolve(ENTRY, id="SIP/101-3", to_number="")):
            call = doubting(CALL, self.match(ENTRY, other))
            for left in (ENTRY, other):
                alone = self.match(left, call=call)
                self.assertEqual(alone, Match(doubtful=frozenset({left.id})))
            self.assertEqual(self.match(call=call), Match())

    def test_one_with_one_number_is_doubted_when_one_with_both_turns_up(self) -> None:
        half = evolve(ENTRY, id="SIP/101-3", from_number="", to_number="101")
        kept = evolve(CALL, entry_id=half.id)
        self.assertEqual(self.match(half, call=kept), Match(half))
        both = self.match(half, ENTRY, call=kept)
        self.assertEqual(both, Match(doubtful=frozenset({half.id, ENTRY.id})))
        kept = doubting(kept, both)
        self.assertIsNone(self.match(half, call=kept).entry)
        self.assertIsNone(self.match(ENTRY, call=kept).entry)

    def test_one_with_both_numbers_is_kept_whatever_turns_up(self) -> None:
        kept = evolve(CALL, entry_id=ENTRY.id)
        self.assertEqual(self.match(ENTRY, evolve(ENTRY, id="z"), call=kept), Match(ENTRY))

    def test_one_entry_for_two_calls_is_neithers(self) -> None:
        found = match_current({"a": CALL, "b": CALL}, [ENTRY])
        doubt = Match(doubtful=frozenset({ENTRY.id}))
        self.assertEqual(found, {"a": doubt, "b": doubt})

    def test_what_was_found_is_kept_and_no_other_calls(self) -> None:
        kept = evolve(CALL, entry_id=ENTRY.id)
        talking = evolve(ENTRY, state="talking", from_number="7", started_at=None)
        found = match_current({"a": kept, "b": CALL}, [talking])
        self.assertEqual(found, {"a": Match(talking), "b": Match()})

    def test_an_entry_that_took_the_place_of_one_is_found(self) -> None:
        kept = evolve(CALL, entry_id="SIP/101-gone")
        self.assertEqual(self.match(ENTRY, call=kept), Match(ENTRY))

    def test_without_the_pbxs_clock_the_baseline_decides(self) -> None:
        timeless = evolve(CALL, placed_at=None)
        self.assertIsNotNone(self.match(evolve(ENTRY, started_at=5.0), call=timeless).entry)

    def test_without_both_nothing_is_found(self) -> None:
        self.assertEqual(
            self.match(ENTRY, call=evolve(CALL, placed_at=None, baseline=None)), Match()
        )
        self.assertEqual(self.match(ENTRY, call=evolve(CALL, baseline=None)), Match(ENTRY))


class LoggedTest(TestCase):
    def test_finds_the_one_entry(self) -> None:
        self.assertEqual(match_logged(CALL, [logged(), logged(from_number="9")]), logged())

    def test_both_numbers_must_be_there(self) -> None:
        self.assertIsNone(match_logged(CALL, [logged(to_number="")]))

    def test_two_that_would_do_are_none(self) -> None:
        self.assertIsNone(match_logged(CALL, [logged(), logged(id="78")]))

    def test_an_entry_that_may_be_another_calls_is_none(self) -> None:
        earlier = evolve(CALL, placed_at=999.0)
        self.assertIsNone(match_logged(CALL, [logged()], others=[earlier]))
        long_ago = evolve(CALL, placed_at=900.0)
        self.assertEqual(match_logged(CALL, [logged()], others=[long_ago]), logged())

    def test_without_the_time_nothing_is_found(self) -> None:
        self.assertIsNone(match_logged(evolve(CALL, placed_at=None), [logged()]))
