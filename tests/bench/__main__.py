"""Runs the rows of the benchmark, prints the table and writes the JSON.

`scripts/bench` prepares what this needs, and starts it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import Figure, on_page, table
from tests.bench.places import place
from tests.bench.rows import (
    busy,
    calls,
    crowd,
    endurance,
    fastagi,
    intake,
    latency,
    lookup,
    parsing,
    phones,
    relay,
    setup,
    talk,
)

ROWS: Final = {
    "calls": calls,
    "phones": phones,
    "talk": talk,
    "setup": setup,
    "latency": latency,
    "parsing": parsing,
    "fastagi": fastagi,
    "busy": busy,
    "crowd": crowd,
    "lookup": lookup,
    "endurance": endurance,
    "intake": intake,
    "relay": relay,
}

_ROUNDS: Final = 5


def main() -> int:
    """Run what was asked for; 0 if every figure is reached."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; else all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and three rounds")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="whose table is taken anew")
    parser.add_argument("--asterisk", default="22", choices=["16", "22"])
    chosen = parser.parse_args()
    unknown = [name for name in chosen.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    if chosen.page is not None:  # said now rather than in half an hour
        on_page(chosen.page.read_text(encoding="utf-8"), {}, [])
    # Ended from outside, it still takes its Asterisk and its agents along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    began = time.monotonic()
    with place(chosen.asterisk, 3 if chosen.quick else _ROUNDS, quick=chosen.quick) as bench:
        machine = _machine(bench.pbx.cli("core show version").split(" built")[0])
        for name in chosen.rows or ROWS:
            bench.come_to_rest()
            for figure in ROWS[name].measure(bench):
                figures.append(figure)
                sys.stdout.write(table([figure]) + "\n")
                sys.stdout.flush()
    sys.stdout.write("\n" + "\n".join(f"{what}: {value}" for what, value in machine.items()))
    sys.stdout.write("\n\n" + table(figures) + f"\n\n{time.monotonic() - began:.0f} s\n")
    result = {"machine": machine, "figures": [figure.as_json() for figure in figures]}
    chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if chosen.page is not None:
        page = on_page(chosen.page.read_text(encoding="utf-8"), machine, figures)
        chosen.page.write_text(page, encoding="utf-8")
    return 0 if all(figure.reached for figure in figures) else 1


def _machine(asterisk: str) -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    names = ("Twisted", "attrs", "cattrs", "pika", "psycopg", "panoramisk", "pyst2")
    return {
        "CPU": f"{cpu}, {os.cpu_count()} cores",
        "Linux": platform.release().partition("-")[0],
        "Python": platform.python_version(),
        "Asterisk": asterisk.removeprefix("Asterisk ").strip(),
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
        "load before the run": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


if __name__ == "__main__":
    sys.exit(main())
