"""Text of what the PBX sent, and one copy of strings that stand in many calls."""

from __future__ import annotations

import uuid

from c2c_agent.text import decode, one_copy


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


def test_text_of_bytes() -> None:
    """UTF-8 is read, and every byte that is none can still be seen."""
    assert decode("Büro €".encode()) == "Büro €"
    assert decode(bytearray(b"")) == ""
    assert decode("Büro".encode("latin-1")) == r"B\xfcro"
    assert decode(b"\xe2\x82") == r"\xe2\x82"
