"""Streams recorded from real Asterisks, which these tests replay."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "transcripts"

NAMES = tuple(
    f"ami-asterisk-{version}-{what}"
    for version in ("16.28", "22.10")
    for what in ("session", "originate-busy")
)


def transcript(name: str) -> bytes:
    """Return what Asterisk sent, byte for byte, without the comment in front."""
    data = (_FOLDER / f"{name}.txt").read_bytes()
    while data.startswith(b"#"):
        _, _, data = data.partition(b"\n")
    return data
