"""Complete calls between real SIP phones (SIPp), as a PBX has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from tests.bench.figures import Figure
from tests.bench.places import Bench
from tests.bench.rounds import alternate
from tests.bench.rows import calls
from tests.pbx.phones import Phone
from tests.pbx.sip_scenario import Behaviour

_FIRST: Final = "101"
_SECOND: Final = "201"
_BEHAVIOURS: Final = {
    _FIRST: Behaviour(ring_seconds=0.05),
    _SECOND: Behaviour(ring_seconds=0.05, talk_seconds=0.2),
}
#: Asterisk has RTP ports for 49 such calls here.
_AT_ONCE: Final = 40


def measure(bench: Bench) -> Iterator[Figure]:
    """Let agent and ceiling call them in turn."""
    count = bench.few(400, 100)
    numbers = {"first": _FIRST, "second": _SECOND}
    with ExitStack() as phones:
        for number, behaviour in _BEHAVIOURS.items():
            directory = bench.directory / f"phone-{number}"
            directory.mkdir()
            place = (bench.pbx.phones_address, bench.pbx.phone_port(number))
            phones.enter_context(Phone(number, *place, behaviour, directory))
        results = alternate(
            bench.rounds,
            {
                "ceiling": lambda: calls.peer(bench, "ceiling", count, _AT_ONCE, **numbers),
                "agent": lambda: calls.agent(bench, count, _AT_ONCE, **numbers),
            },
            "phones",
        )
    yield from calls.figures("phones", "between SIP phones", results)
