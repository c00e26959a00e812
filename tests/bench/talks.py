"""Talks between phones that send voice: through an agent, and as an ordinary call between them.

Both phones are the same, so is the PBX, and the second is dialled through the same context. What
differs is who begins: the agent, or the first phone itself.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Final

from attrs import evolve, frozen

from tests.bench.places import Bench
from tests.bench.usage import cpu_seconds
from tests.pbx.agents import AgentProcess
from tests.pbx.hosts import AsteriskHost
from tests.pbx.pbx_files import PHONE_PASSWORD
from tests.pbx.sound import HD, ULAW, Codec
from tests.pbx.talker import Talker, TalkerCall
from tests.pbx.waiting import wait_until

#: No test's address, and not that of the benchmark's Asterisk.
_ADDRESS: Final = "127.0.0.63"
_SIP_PORT: Final = 5060

#: Of the packets that were said, so many have to be heard, or the figures are of something else.
_DELIVERED: Final = 0.99

#: Where a phone's endpoint begins.
_USER: Final = re.compile(r"^\[(?P<number>\w+)]\(.*\)$", re.MULTILINE)

_RING: Final = 0.2
_SETTLE: Final = 2.0


@frozen
class Pair:
    """Two phones: their numbers, and what they speak."""

    first: str
    second: str
    codecs: Sequence[Codec]


NARROW: Final = Pair("101", "201", (ULAW,))
WIDE: Final = Pair("160", "260", (HD, ULAW))
DIRECT: Final = Pair("170", "270", (ULAW,))


class TalksError(Exception):
    """Talks were not what they should be; the text says what."""


@contextmanager
def talking_place(bench: Bench) -> Iterator[Bench]:
    """An Asterisk with timers, which talks need, and the benchmark's own goes without."""
    host = AsteriskHost(bench.pbx.version, _ADDRESS, verbosity=0)
    host.files["logger.conf"] = "[general]\n[logfiles]\nconsole => warning,error\n"
    host.files["cel.conf"] = "[general]\nenable = no\n"  # as Asterisk comes; the tests' witness's
    # As of any PBX, its phones prove who they are when they call.
    host.files["pjsip_phones.conf"] = _USER.sub(
        r"\g<0>\nauth = \g<number>", host.files["pjsip_phones.conf"]
    )
    lock = Path(gettempdir()) / f"c2c-agent-test-{os.getuid()}-{_ADDRESS}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with host:
            yield evolve(bench, pbx=host, directory=Path(mkdtemp(dir=bench.directory)))


@frozen
class Cost:
    """CPU milliseconds: of a second of one talk, or of one call."""

    asterisk: float
    agent: float = 0.0


@frozen
class Contest:
    """Who begins the calls: `begin` places one from the first phone to the second."""

    begin: Callable[[Talker, Talker], object]
    agent: AgentProcess | None = None

    def used(self, bench: Bench) -> tuple[float, float]:
        """CPU seconds so far: Asterisk's, the agent's."""
        return cpu_seconds(bench.pbx.pid), cpu_seconds(self.agent.pid) if self.agent else 0.0


def ordinary(bench: Bench) -> Contest:
    """The first phone calls the second."""
    place = (bench.pbx.address, _SIP_PORT)
    return Contest(lambda first, second: first.call(second.number, place, PHONE_PASSWORD))


def through(agent: AgentProcess) -> Contest:
    """The agent calls them."""
    return Contest(lambda first, second: agent.call(first.number, second.number), agent)


@contextmanager
def _phones(
    bench: Bench, pair: Pair, talk_seconds: float | None = None
) -> Iterator[tuple[Talker, Talker]]:
    def phone(number: str, ends_after: float | None) -> Talker:
        place = (bench.pbx.phones_address, bench.pbx.phone_port(number))
        return Talker(
            number,
            *place,
            codecs=pair.codecs,
            ring_seconds=_RING,
            talk_seconds=ends_after,
            keeps=False,
        )

    with phone(pair.first, None) as first, phone(pair.second, talk_seconds) as second:
        yield first, second


def second_of_talk(bench: Bench, contest: Contest, pair: Pair, talks: int, seconds: float) -> Cost:
    """What a second of talk costs, of so many talks at once over so many seconds."""
    with _phones(bench, pair) as (first, second):
        for _ in range(talks):
            contest.begin(first, second)
        phones = (first, second)
        wait_until(
            lambda: all(sum(call.talks for call in phone.calls) == talks for phone in phones),
            30,
            f"{talks} talks",
        )
        calls = [call for phone in phones for call in phone.calls]
        time.sleep(_SETTLE)
        before, heard, said = contest.used(bench), _received(calls), _sent(calls)
        time.sleep(seconds)
        after = contest.used(bench)
        delivered = (_received(calls) - heard) / (_sent(calls) - said)
        if delivered < _DELIVERED:
            raise TalksError(f"of the packets of voice only {100 * delivered:.1f} % were heard")
        for call in first.calls:
            first.hang_up(call)
        _at_rest(bench)
    return _cost(before, after, talks * seconds)


def short_call(bench: Bench, contest: Contest, pair: Pair, calls: int, rate: float) -> Cost:
    """What a call costs that has one second of talk, from its beginning to its end."""
    with _phones(bench, pair, talk_seconds=1.0) as (first, second):
        contest.begin(first, second)  # whatever is made at first use is there now
        wait_until(lambda: second.calls and second.calls[0].ended_at, 30, "the first call's end")
        _at_rest(bench)
        before, began = contest.used(bench), time.monotonic()
        for number in range(calls):
            contest.begin(first, second)
            time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
        wait_until(
            lambda: sum(call.ended_at is not None for call in second.calls) == calls + 1,
            30,
            f"the end of {calls} calls",
        )
        _at_rest(bench)
        after = contest.used(bench)
        if any(call.answered_at is None or not call.sent for call in (*first.calls, *second.calls)):
            raise TalksError("of these calls some were none")
    return _cost(before, after, calls)


def _at_rest(bench: Bench) -> None:
    wait_until(lambda: not bench.pbx.core_show_channels(), 30, "all calls are over")
    time.sleep(0.3)  # what is written of them is written


def _cost(before: tuple[float, float], after: tuple[float, float], units: float) -> Cost:
    asterisk, agent = (1000 * (b - a) / units for a, b in zip(before, after, strict=True))
    return Cost(asterisk, agent)


def _received(calls: Sequence[TalkerCall]) -> int:
    return sum(call.received for call in calls)


def _sent(calls: Sequence[TalkerCall]) -> int:
    return sum(call.sent for call in calls)
