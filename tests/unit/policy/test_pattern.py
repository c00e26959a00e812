"""Extension patterns: which numbers they match, against a slow reading of Asterisk's rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c2c_agent.policy.pattern import PatternError, numbers_of, parse_pattern

DIGITS = "0123456789"
CLASSES = {"X": DIGITS, "Z": DIGITS[1:], "N": DIGITS[2:]}
LETTERS = "".join(letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in "xzn")
PLAIN = DIGITS + LETTERS + LETTERS.upper() + "*#+"


# The oracle: Asterisk's rules, one character after the other, without regular expressions.


def members(inside: str) -> set[str]:
    """The characters that stand between a pair of brackets, ranges written out."""
    if len(inside) >= 3 and inside[1] == "-":
        here = {chr(code) for code in range(ord(inside[0]), ord(inside[2]) + 1)}
        return here | members(inside[3:])
    return {inside[0]} | members(inside[1:]) if inside else set()


def asterisk_matches(pattern: str, number: str) -> bool:
    """Whether Asterisk takes `number` for `pattern`; dashes count nowhere."""
    if not pattern.startswith("_"):
        return pattern.replace("-", "") == number.replace("-", "")
    return rest_matches(pattern[1:], number.replace("-", ""))


def rest_matches(pattern: str, number: str) -> bool:
    """Whether the rest of a pattern matches the rest of a number."""
    if not pattern:
        return not number
    symbol, rest = pattern[0], pattern[1:]
    if symbol == "-":
        return rest_matches(rest, number)
    if symbol == "!":
        return True
    if not number:
        return False
    if symbol == ".":
        return True
    if symbol == "[":
        end = pattern.index("]")
        allowed, rest = members(pattern[1:end]), pattern[end + 1 :]
    else:
        allowed = set(CLASSES.get(symbol.upper(), symbol))
    return number[0] in allowed and rest_matches(rest, number[1:])


@st.composite
def ranges(draw: st.DrawFn) -> str:
    """A range such as 2-7 between a pair of brackets."""
    among = draw(st.sampled_from([DIGITS, LETTERS, LETTERS.upper()]))
    low, high = sorted([draw(st.sampled_from(among)), draw(st.sampled_from(among))])
    return f"{low}-{high}"


PARTS = st.one_of(
    st.sampled_from("XZNxzn"),
    st.sampled_from(PLAIN),
    st.just("-"),
    st.lists(ranges() | st.sampled_from(PLAIN), min_size=1, max_size=3).map(
        lambda inside: f"[{''.join(inside)}]"
    ),
)
NUMBERS = st.text(st.sampled_from(PLAIN + "xznXZN-"), max_size=8)


@st.composite
def patterns_and_numbers(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and a number that matches it, or nearly does."""
    parts = draw(st.lists(PARTS, max_size=6))
    tail = draw(st.sampled_from(["", ".", "!"]))
    pattern = "_" + "".join(parts) + tail
    if not pattern.strip("_-"):
        pattern += "X"
    number = ""
    for part in parts:
        inside = members(part[1:-1]) if part[0] == "[" else set(CLASSES.get(part.upper(), part))
        number += draw(st.sampled_from(sorted(inside)))
    if tail or draw(st.booleans()):
        number += draw(NUMBERS)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(number)))
        number = number[:cut] + draw(st.sampled_from(["", "-", "5", "q"])) + number[cut + 1 :]
    return pattern, number


@settings(deadline=None)
@given(patterns_and_numbers())
def test_a_pattern_covers_what_asterisk_matches(pair: tuple[str, str]) -> None:
    """Whatever pattern and number."""
    pattern, number = pair
    assert parse_pattern(pattern).covers(number) is asterisk_matches(pattern, number)


@settings(deadline=None)
@given(patterns_and_numbers())
def test_a_pattern_matches_the_same_without_codes_in_its_tail(pair: tuple[str, str]) -> None:
    """What `.` and `!` stand for has no *, # or + in it; all else is as to Asterisk."""
    pattern, number = pair
    length = len(re.findall(r"\[[^]]*\]|[^-]", pattern[1:].rstrip(".!")))
    tail = number.replace("-", "")[length:]
    wanted = asterisk_matches(pattern, number) and not set(tail) & set("*#+")
    assert parse_pattern(pattern).matches(number) is wanted


@st.composite
def literals_and_numbers(draw: st.DrawFn) -> tuple[str, str]:
    """A text that is no pattern, and a number that is the same but for dashes, or nearly so."""
    literal = draw(
        st.from_regex(r"\A\+?[A-Za-z0-9*#-]{1,12}\Z").filter(lambda text: text.strip("-+"))
    )
    number = "".join(draw(st.sampled_from(["", "", "", "-"])) + letter for letter in literal)
    cut = draw(st.integers(0, len(number)))
    return literal, draw(st.sampled_from([number, number.replace("-", ""), number[:cut]]))


@settings(deadline=None)
@given(literals_and_numbers())
def test_a_literal_matches_as_asterisk_matches_it(pair: tuple[str, str]) -> None:
    """Without the underscore every letter stands for itself, X and N too."""
    literal, number = pair
    pattern = parse_pattern(literal)
    assert pattern.literal == literal
    assert pattern.matches(literal)
    assert pattern.matches(number) is asterisk_matches(literal, number)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("_1XX", ["100", "199"], ["10", "1000", "200", "1a0", "", "_1XX"]),
        ("_NXXNXXXXXX", ["2125551234"], ["1125551234", "2121551234", "212555123"]),
        ("_Z!", ["1", "12"], ["0", "", "9*#", "1+"]),
        ("_0.", ["00", "0123"], ["0", "1", "0*", "01#2", "0123*#"]),
        ("_!", ["", "0", "front"], ["+49", "*72", "1#"]),
        ("_*21*X.", ["*21*50"], ["*21*5#", "*21*5", "*21**", "*2105"]),
        ("_[15-9]X", ["10", "59", "90"], ["20", "40", "1"]),
        ("_[*#+]1", ["*1", "#1", "+1"], ["11"]),
        ("_1-X-X", ["100"], ["1-X-X", "10"]),
        ("_x", ["5"], ["x", "X"]),
        ("_+49.", ["+4930"], ["4930", "+49"]),
        ("100", ["100"], ["1000", "10", "200"]),
        ("+4930123", ["+4930123"], ["4930123"]),
        ("front-desk_2", ["front-desk_2"], ["front-desk2", "Front-desk_2"]),
    ],
)
def test_examples(pattern: str, matching: list[str], others: list[str]) -> None:
    """What an admin may write, and what it lets through."""
    parsed = parse_pattern(pattern)
    assert [number for number in [*matching, *others] if parsed.matches(number)] == matching


@pytest.mark.parametrize("digit", ["\u0663", "\uff11", "\u00b2"])  # Arabic, full width, superscript
def test_digits_are_ascii(digit: str) -> None:
    """Digits of other scripts are no digits to Asterisk."""
    assert not parse_pattern("_X").matches(digit)


def test_dashes_in_a_number_do_not_evade_a_pattern() -> None:
    """Asterisk dials 555-1234 as 5551234, so a rule against the one is a rule against the other."""
    assert parse_pattern("_555XXXX").matches("555-1234")
    assert parse_pattern("555-1234").matches("5551234")
    assert not parse_pattern("_X.").matches("5-")


def test_a_pattern_keeps_its_text() -> None:
    """The text as written identifies a pattern; only a literal has an extension of its own."""
    pattern = parse_pattern("_1XX")
    assert (pattern.text, pattern.literal) == ("_1XX", None)
    assert pattern == parse_pattern("_1XX")
    assert pattern != parse_pattern("_1XZ")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "neither a number nor a pattern"),
        ("1.", "a pattern starts with an underscore"),
        ("[1-9]", "a pattern starts with an underscore"),
        ("100&200", "neither a number nor a pattern"),
        ("100\n", "neither a number nor a pattern"),
        ("1 00", "neither a number nor a pattern"),
        ("-", "neither a number nor a pattern"),
        ("+", "neither a number nor a pattern"),
        ("1" * 33, "neither a number nor a pattern"),
        ("_", "something must follow the underscore"),
        ("_--", "something must follow the underscore"),
        ("_1.2", "'.' must be the last character"),
        ("_!X", "'!' must be the last character"),
        ("_[12", r"a '\[' without its '\]'"),
        ("_[]", "empty brackets match nothing"),
        ("_[9-1]", r"no set of digits and ranges such as \[15-9\]"),
        ("_[1-]", "no set of digits and ranges"),
        ("_[-9]", "no set of digits and ranges"),
        ("_[^1]", "no set of digits and ranges"),
        ("_[1-&]", "no set of digits and ranges"),
        ("_[1-_]", "no set of digits and ranges"),
        ("_[&-1]", "no set of digits and ranges"),
        ("_[#-9]", "no set of digits and ranges"),
        ("_[+-9]", "no set of digits and ranges"),
        ("_1]", "']' cannot stand in an extension pattern"),
        ("_1 2", "' ' cannot stand in an extension pattern"),
        ("_1\n", "cannot stand in an extension pattern"),
        ("_1&2", "'&' cannot stand in an extension pattern"),
        ("_(1)", "cannot stand in an extension pattern"),
        ("_1@x", "cannot stand in an extension pattern"),
    ],
)
def test_no_pattern(text: str, advice: str) -> None:
    """What is no pattern is refused, with the text and what would be right."""
    with pytest.raises(PatternError, match=advice) as caught:
        parse_pattern(text)
    assert repr(text) in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=12) | st.text("_XZN[]-.!019a+", max_size=12).map("_{}".format))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    """No text makes anything but a Pattern or a PatternError."""
    try:
        pattern = parse_pattern(text)
    except PatternError:
        return
    assert pattern.text == text
    assert pattern.matches("100") in {True, False}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("_62[3-5]", ["623", "624", "625"]),
        ("_6-Z", [f"6{digit}" for digit in range(1, 10)]),
        ("_*7", ["*7"]),
        ("_XX", [f"{number:02}" for number in range(100)]),
        ("_XXX", None),
        ("_6.", None),
        ("_6!", None),
    ],
)
def test_all_numbers_of_a_pattern(text: str, numbers: list[str] | None) -> None:
    """Those of a fixed length, as long as they are not too many."""
    found = numbers_of(text, 100)
    assert (found if found is None else sorted(found)) == numbers
    if found is not None:
        assert all(parse_pattern(text).matches(number) for number in found)
