"""Writes every picture into docs/diagrams."""

from __future__ import annotations

from tests.diagrams.pictures import FOLDER, PICTURES

FOLDER.mkdir(parents=True, exist_ok=True)
for name, draw in PICTURES.items():
    (FOLDER / name).write_text(draw(), encoding="utf-8")
