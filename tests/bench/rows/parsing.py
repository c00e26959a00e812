"""CPU seconds for an unfiltered AMI stream, of the agent's link, panoramisk and pyst2.

The stream is recorded here and now: all that Asterisk tells an AMI user who may see everything
while the bare script places calls. Each client reads it from a socket, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.bench.figures import Figure, at_least
from tests.bench.peers.run import run
from tests.bench.places import Bench
from tests.bench.recording import playing, record
from tests.bench.rounds import alternate, ratios
from tests.bench.rows import calls

#: The share of the stream that pyst2 gets: all of it would take it a minute and more.
_SHARE_OF_PYST2: Final = 10


def measure(bench: Bench) -> Iterator[Figure]:
    """Record, then let each hear it in turn."""
    count = bench.few(1000, 200)
    path = bench.directory / "stream"
    record(bench, path, lambda: calls.peer(bench, "ceiling", count, 50))
    stream = path.read_bytes()
    path.unlink()
    messages = stream.split(b"\r\n\r\n")
    part = b"\r\n\r\n".join(messages[: len(messages) // _SHARE_OF_PYST2]) + b"\r\n\r\n"

    def hear(client: str, heard: bytes) -> float:
        with playing(heard) as place:
            said = run("ami_client", {"client": client, "ami": list(place)})
        expected = heard.count(b"Event: ") - heard.count(b"SubEvent: ")
        if abs(said["events"] - expected) > expected // 100:
            raise AssertionError(f"{client} heard {said['events']} events of {expected}")
        return float(said["cpu"]) / len(heard) * len(stream)

    seconds = alternate(
        bench.rounds,
        {
            "agent": lambda: hear("agent", stream),
            "panoramisk": lambda: hear("panoramisk", stream),
            "pyst2": lambda: hear("pyst2", part),
        },
        "parsing",
    )
    for peer, goal in (("panoramisk", at_least(4)), ("pyst2", None)):
        yield Figure(
            "parsing",
            f"AMI events, {peer}'s CPU seconds over the agent's",
            ratios(seconds[peer], seconds["agent"]),
            goal,
            behind={
                **{f"CPU s of {who}": values for who, values in seconds.items()},
                f"events of {count} calls": [len(messages) - 1],
                "megabytes": [len(stream) / 1e6],
            },
            limit="the subscriber's look at each event, then the split into messages",
        )
