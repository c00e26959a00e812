"""One copy of strings that stand in many calls."""

from __future__ import annotations

import uuid

from c2c_agent.text import one_copy


def made(text: str) -> str:
    """A new string, as it comes from a connection."""
    return text.encode().decode()


def test_the_same_words_are_one_object() -> None:
    """Whoever brings them."""
    first = made(f"words that nobody has said before, {uuid.uuid4()}")
    assert one_copy(first) is first
    assert one_copy(made(first)) is first


def test_what_is_long_is_not_kept() -> None:
    """Nobody else says the same."""
    first, second = made("x" * 1000), made("x" * 1000)
    assert one_copy(first) is first
    assert one_copy(second) is second


def test_few_are_kept() -> None:
    """What was not heard for long is let go."""
    first = made(f"long ago, {uuid.uuid4()}")
    assert one_copy(first) is first
    for number in range(2000):
        one_copy(f"text {number}")
    second = made(first)
    assert one_copy(second) is second
