"""Lets Atheris look for bytes that a parser cannot bear: `python -m tests.fuzz TARGET [OPTION…]`.

Options go to libFuzzer (`-max_total_time=60`). It begins with what is in `corpus/TARGET`, and keeps
what is new in a folder of its own, which it is told as the next argument that is no option. A
finding is written to the current folder; in the corpus it becomes a test.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import mkdtemp

import atheris

with atheris.instrument_imports(include=["c2c_agent"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Look until the time is over, or something is found."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [OPTION…]")
    name, *more = sys.argv[1:]
    options = [word for word in more if word.startswith("-")]
    found = [word for word in more if not word.startswith("-")] or [mkdtemp(prefix="c2c-fuzz-")]
    corpus = Path(__file__).parent / "corpus" / name
    atheris.Setup([sys.argv[0], *options, found[0], str(corpus)], TARGETS[name])
    atheris.Fuzz()


main()
