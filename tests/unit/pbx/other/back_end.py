"""A back end for tests: it answers as it is told, and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeAlias

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from c2c_agent.net.fresh_request import HttpAnswer
from c2c_agent.pbx.other.client import Client
from c2c_agent.pbx.other.program import Program
from c2c_agent.pbx.other.reading import read

Reaction: TypeAlias = HttpAnswer | Exception | Deferred[HttpAnswer]


@frozen
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str
    seconds: float


class BackEnd:
    """Reacts to `METHOD /path` as `reactions` say, one after the other, the last for ever."""

    def __init__(self, **reactions: Any) -> None:
        self.asked: list[Asked] = []
        self.reactions: dict[str, list[Reaction | Callable[[Asked], Reaction]]] = {}
        for name, reaction in reactions.items():
            self.react(name, reaction)

    def react(self, name: str, *reactions: Any) -> None:
        """Let it react so from now on."""
        self.reactions[name] = list(reactions)

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: str, seconds: float, /
    ) -> HttpAnswer:
        """Take a request."""
        asked = Asked(method, target, dict(headers), body, seconds)
        self.asked.append(asked)
        reactions = self.reactions[f"{method} {target.partition('?')[0]}"]
        reaction = reactions.pop(0) if len(reactions) > 1 else reactions[0]
        if callable(reaction):
            reaction = reaction(asked)
        if isinstance(reaction, Exception):
            raise reaction
        return await reaction if isinstance(reaction, Deferred) else reaction

    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{one.method} {one.target}" for one in self.asked]


def json_answer(text: str, status: int = 200) -> HttpAnswer:
    """An answer with this JSON."""
    return HttpAnswer(status, text.encode())


def program(**more: Any) -> Program:
    """A back end that takes an order, and more."""
    place = {
        "path": "/call",
        "json": {"from": "{dial_first}", "to": "{dial_second}"},
        "success": {"status": 200},
        "error_message": "/message",
        **more.pop("place", {}),
    }
    return read({"base_url": "http://127.0.0.1:9", "place": place, **more}, ("other",), {})


def client_of(what: Program, back_end: BackEnd, clock: Clock, **secrets: str) -> Client:
    """A client that asks this back end; its words are 1, 2, 3."""
    words = count(1)
    return Client(
        what,
        back_end.send,
        secrets=secrets,
        seconds=clock.seconds,
        wall=lambda: 1_700_000_000 + clock.seconds(),
        new_word=lambda: str(next(words)),
    )
