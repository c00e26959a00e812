"""What phones say and hear: tones in G.711 and G.722, made and recognised.

A phone says one tone, and is known by it to whoever hears it. Nothing is asked of the codec but
what RFC 3551 says of its packets: 160 bytes for 20 ms, and a clock of 8,000 ticks a second, also
where G.722 samples 16,000 times.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

import G722
from attrs import frozen

PACKET_SECONDS: Final = 0.02
#: Ticks of the RTP clock in a packet, and bytes of each of these codecs.
PACKET_TICKS: Final = 160

#: The tone that says "it rings" in the PBX's country (its indications: us).
RINGBACK_HZ: Final = (440, 480)

_LOUDNESS: Final = 8000
_BIAS: Final = 0x84  # ITU-T G.711, mu-law
_CLIP: Final = 32635


@frozen
class Codec:
    """A codec by its name in SDP and its static payload type (RFC 3551, section 6)."""

    name: str
    payload_type: int
    #: Samples in a second.
    rate: int


ULAW: Final = Codec("PCMU", 0, 8000)
ALAW: Final = Codec("PCMA", 8, 8000)
HD: Final = Codec("G722", 9, 16000)

BY_PAYLOAD_TYPE: Final = {codec.payload_type: codec for codec in (ULAW, ALAW, HD)}


@cache
def tone(codec: Codec, hz: int) -> tuple[bytes, ...]:
    """The packets' payloads of a second of a tone; said again and again it goes on unbroken.

    G.722 depends on what came before, so its second is one that such a second has preceded.
    """
    samples = array(
        "h",
        (
            round(_LOUDNESS * math.sin(2 * math.pi * hz * number / codec.rate))
            for number in range(2 * codec.rate)
        ),
    )
    whole = _encoded(codec, samples)[-8000:]
    return tuple(
        whole[start : start + PACKET_TICKS] for start in range(0, len(whole), PACKET_TICKS)
    )


def samples_of(codec: Codec, payloads: Iterable[bytes]) -> Sequence[int]:
    """What was heard, in 16 bits; one payload after the other, as a phone would play them."""
    whole = b"".join(payloads)
    if codec is HD:
        return array("h", G722.G722(HD.rate, 64000).decode(whole))
    table = _decoding(codec)
    return array("h", [table[byte] for byte in whole])


def share_of_tone(samples: Sequence[int], rate: int, *hz: int) -> float:
    """How much of the power of what was heard is in these tones, 0 to 1 (Goertzel's algorithm).

    Of silence, and of nothing, it is 0.
    """
    count = len(samples)
    power = sum(sample * sample for sample in samples)
    if power <= count * 100:  # quieter than what a codec makes of silence
        return 0.0
    return sum(_power_at(samples, rate, one) for one in hz) / power


def _power_at(samples: Sequence[int], rate: int, hz: int) -> float:
    factor = 2 * math.cos(2 * math.pi * hz / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    squared = last * last + before * before - factor * last * before
    return 2 * squared / len(samples)


def _encoded(codec: Codec, samples: array[int]) -> bytes:
    if codec is HD:
        return bytes(G722.G722(HD.rate, 64000).encode(samples))
    one = _ulaw if codec is ULAW else _alaw
    return bytes(map(one, samples))


def _ulaw(sample: int) -> int:
    """ITU-T G.711, mu-law."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> (exponent + 3) & 0x0F) & 0xFF


def _alaw(sample: int) -> int:
    """ITU-T G.711, A-law."""
    sign = 0x80 if sample >= 0 else 0
    magnitude = min(abs(sample) >> 3, 0xFFF)
    exponent = max(magnitude.bit_length() - 5, 0)
    mantissa = magnitude >> max(exponent, 1) & 0x0F
    return (sign | exponent << 4 | mantissa) ^ 0x55


@cache
def _decoding(codec: Codec) -> tuple[int, ...]:
    """The sample that each byte of G.711 stands for."""
    return tuple(map(_of_ulaw if codec is ULAW else _of_alaw, range(256)))


def _of_ulaw(byte: int) -> int:
    byte = ~byte & 0xFF
    magnitude = ((byte & 0x0F) << 3 | _BIAS) << (byte >> 4 & 7)
    return (_BIAS - magnitude) if byte & 0x80 else (magnitude - _BIAS)


def _of_alaw(byte: int) -> int:
    byte ^= 0x55
    exponent = byte >> 4 & 7
    magnitude = (byte & 0x0F) << 4 | 8
    if exponent:
        magnitude = (magnitude + 0x100) << (exponent - 1)
    return magnitude if byte & 0x80 else -magnitude
