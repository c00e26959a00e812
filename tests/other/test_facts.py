"""The table of what each PBX tells says what the examples that are shipped make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from c2c_agent.call.evidence import Leg
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.rules import LegEnd, Over, Progress, Told
from tests.other.caller import example

PAGE: Final = Path(__file__).parents[2] / "docs" / "pbxs.md"

#: The columns of the table, by the files.
COLUMNS: Final = {
    "asterisk-ari": "ARI",
    "freeswitch": "FreeSWITCH",
    "3cx": "3CX",
    "yeastar-p": "Yeastar P",
    "grandstream-ucm": "Grandstream UCM",
    "kamailio": "Kamailio",
    "webhook": "webhook",
}
NOTHING: Final = "–"  # noqa: RUF001 - as the page has it

#: What is told where a fact is reported.
REPORTED: Final[Mapping[str, frozenset[Told]]] = {
    "the first phone rings": frozenset({Progress.FIRST_RINGING}),
    "the first phone was answered": frozenset({Progress.FIRST_ANSWERED}),
    "the first phone was busy, or declined": frozenset(
        {LegEnd(Leg.FIRST, "BUSY"), LegEnd(Leg.FIRST, "DECLINED")}
    ),
    "the first phone rang out": frozenset({LegEnd(Leg.FIRST, "NOANSWER")}),
    "the second phone rings": frozenset({Progress.SECOND_RINGING}),
    "the second phone was answered": frozenset({Progress.SECOND_ANSWERED}),
    "the second phone was busy, or declined": frozenset(
        {LegEnd(Leg.SECOND, "BUSY"), LegEnd(Leg.SECOND, "DECLINED")}
    ),
    "the second phone rang out": frozenset({LegEnd(Leg.SECOND, "NOANSWER")}),
    "the call is over": frozenset({Over.GONE}),
}


def told_by(program: Program) -> Iterator[Told]:
    """Everything that a program can tell of a call."""
    if program.place.blocks:
        yield Progress.FIRST_ANSWERED
    yield from (end for _, end in program.place.failed)
    status = program.status
    for one in (*status.requests, *status.while_placing) if status is not None else ():
        rules = (*one.look.rules, *one.look.otherwise, *filter(None, [one.look.absent]))
        yield from (rule.tell for rule in rules if rule.tell is not None)


def table() -> Mapping[str, Mapping[str, str]]:
    """The table: of each column, what stands there of each fact."""
    rows = [
        [cell.strip(" `*") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    head, _, *facts = rows
    return {
        name: {row[0]: row[number] for row in facts} for number, name in enumerate(head) if number
    }


@pytest.mark.parametrize("file", COLUMNS)
def test_what_is_told(file: str) -> None:
    """Each fact that the example's rules tell, and no other."""
    program, column = example(file, "http://127.0.0.1:1"), table()[COLUMNS[file]]
    told = set(told_by(program))
    for fact, words in REPORTED.items():
        expected = "reported" if words <= told else NOTHING
        if fact == "the first phone rang out" and not words <= told and Over.GONE in told:
            expected = "inferred"  # from how long it lasted
        assert column[fact] == expected, fact
    assert column["a call can be cancelled"] == ("yes" if program.cancel else NOTHING)
    assert column["it refused the order"] == "reported"
    assert column["who hung up"] == NOTHING


def test_every_example() -> None:
    """None is left out, and each column stands for a PBX."""
    files = {file.stem for file in (PAGE.parents[1] / "examples" / "other").glob("*.yml")}
    assert files == {*COLUMNS}
    assert {*table()} == {"asterisk", "switchvox", *COLUMNS.values()}
