"""Tones in G.711 and G.722, without a PBX."""

from __future__ import annotations

import pytest

from tests.pbx.sound import ALAW, HD, ULAW, Codec, samples_of, share_of_tone, tone


@pytest.mark.parametrize("codec", [ULAW, ALAW, HD], ids=lambda codec: codec.name)
def test_a_tone_is_recognised(codec: Codec) -> None:
    """Said twice over, it goes on unbroken; other tones are not in it."""
    samples = samples_of(codec, tone(codec, 740) * 2)[codec.rate // 5 :]
    assert share_of_tone(samples, codec.rate, 740) > 0.99
    assert share_of_tone(samples, codec.rate, 760) < 0.01
    assert share_of_tone(samples, codec.rate, 440, 480) < 0.01


@pytest.mark.parametrize("codec", [ULAW, ALAW], ids=lambda codec: codec.name)
def test_silence_is_no_tone(codec: Codec) -> None:
    """Not even by rounding."""
    quiet = b"\xff" if codec is ULAW else b"\xd5"
    assert share_of_tone(samples_of(codec, [quiet * 1600]), 8000, 740) == 0.0


def test_two_tones_share_the_power() -> None:
    """As those of a ringback do."""
    one, other = samples_of(ULAW, tone(ULAW, 440)), samples_of(ULAW, tone(ULAW, 480))
    both = [a + b for a, b in zip(one, other, strict=True)]
    assert share_of_tone(both, 8000, 440, 480) > 0.99
    assert share_of_tone(both, 8000, 440) == pytest.approx(0.5, abs=0.02)


def test_nothing_is_no_tone() -> None:
    """Where no packet came."""
    assert share_of_tone([], 8000, 740) == 0.0
