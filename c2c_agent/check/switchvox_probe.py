"""What nobody could find out without a real Switchvox: measured on one, and told as a report.

Numbers are masked, so that the report can be shown to others. It is asked only; a call is placed
only where two numbers are given.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from c2c_agent.call.job import CallJob
from c2c_agent.config.pbx import SwitchvoxConfig
from c2c_agent.pbx.switchvox.client import ExtendClient, ExtendError
from c2c_agent.pbx.switchvox.extend_api import (
    CurrentCall,
    Failure,
    Result,
    accounts,
    current_calls,
    inside,
    many,
    text_of,
)
from c2c_agent.pbx.switchvox.matching import Wanted, doubting, match_current
from c2c_agent.pbx.switchvox.order import Order, make_plan

#: Seconds between two looks at the list, while a call goes on.
_OFTEN: Final = 0.5

#: Seconds after the order's answer for which the list is looked at, at most.
_LONGEST: Final = 300.0

#: How often the log is asked after a call's end, once in a second.
_LOG: Final = 10

#: Seconds of ringing: others than the PBX's own 30, so that it shows whose are kept.
_TIMEOUT: Final = 20

_LIST: Final = "switchvox.currentCalls.getList"
_HANG_UP: Final = "switchvox.currentCalls.hangUp"

#: Bytes of a refusal that are shown.
_WORDS: Final = 200

#: What of a challenge is of one PBX, or of one moment.
_OWN: Final = re.compile(r'\b(realm|nonce|opaque)="?[^",]*"?', re.IGNORECASE)

_DIGITS: Final = re.compile(r"\d{3,}")

#: What tells of calls: all else in an entry is left out.
_SHOWN: Final = ("state", "start_time", "duration", "from_caller_id_number", "to_caller_id_number")


class Probe:
    """Asks, with this client. `seconds` are those of `clock`.

    `hangs_up`: the call is hung up as soon as it is known which of those listed it is. `stranger`
    has a wrong password, and logs in once.
    """

    def __init__(
        self,
        client: ExtendClient,
        config: SwitchvoxConfig,
        clock: IReactorTime,
        *,
        hangs_up: bool = False,
        stranger: ExtendClient | None = None,
    ) -> None:
        self._client = client
        self._stranger = stranger
        self._config = config
        self._clock = clock
        self._hangs_up = hangs_up
        self._names: Mapping[str, str] = {}
        self.has_logged_in = False

    async def report(self, first: str | None, second: str | None) -> AsyncIterator[str]:
        """The lines of the report; of a call only where there are two numbers."""
        yield f"c2c-agent probe switchvox; login: {self._config.login}"
        try:
            proof = await self._client.prove()
        except ExtendError as error:
            yield f"login: {error}"
            return
        self.has_logged_in = True
        yield f"login: taken, with {self._client.scheme_name}"
        for challenge in self._client.challenges:
            yield f"challenge: {_OWN.sub(_lengths, challenge)}"
        if self._stranger is not None:
            yield f"wrong password: {await self._refusal(self._stranger)}"
        told = proof.tree if isinstance(proof, Result) else {}
        software = [inside(told, "info", name) for name in ("software", "max_concurrent")]
        yield f"information: {self._masked(software)}"
        clock = "switchvox.systemClock.getInfo"
        yield f"{clock}: {await self._asked(clock, {})}"
        yield f"{_LIST}: {await self._form_of_list()}"
        if first is not None and second is not None:
            self._names = {_core(first): "FIRST", _core(second): "SECOND"}
            async for line in self._call(first, second):
                yield line

    async def _asked(self, method: str, parameters: Mapping[str, object]) -> str:
        try:
            answer = await self._client.ask(method, parameters)
        except ExtendError as error:
            return f"no answer: {error}"
        return self._masked(answer.data)

    async def _refusal(self, stranger: ExtendClient) -> str:
        """How a login is refused: in HTTP, and in words."""
        try:
            await stranger.prove()
        except ExtendError as error:
            got = stranger.refused
            if got is None:
                return f"no answer: {error}"
            challenges = [_OWN.sub(_lengths, challenge) for challenge in got.challenges]
            words = got.body[:_WORDS].decode("utf-8", "replace")
            return f"HTTP {got.status}, challenges {challenges}, words {self._masked(words)}"
        return "taken"

    async def _call(self, first: str, second: str) -> AsyncIterator[str]:
        job = CallJob(first, second, first, _TIMEOUT, pbx="switchvox")
        order = make_plan(self._config, job, await self._account(first)).order
        assert isinstance(order, Order)  # noqa: S101 - its own
        yield f"order: {self._masked(order.parameters)}"
        before = await self._entries()
        wanted = Wanted(
            frozenset({first, _core(first)}),
            frozenset({second, _core(second)}),
            _TIMEOUT,
            baseline=None if before is None else frozenset(entry.id for entry in before),
        )
        logged = await self._log(first)
        begun = self._clock.seconds()
        asked = Deferred.fromCoroutine(
            self._client.ask(order.method, order.parameters, seconds=job.timeout + 15)
        )
        answers: list[str] = []
        asked.addCallbacks(
            lambda answer: answers.append(self._masked(answer.data)),
            lambda failure: answers.append(f"no answer: {failure.getErrorMessage()}"),
        )
        shown, told, ended = "", False, 0
        while ended < 2 and self._clock.seconds() - begun < _LONGEST:  # noqa: PLR2004 - in a row
            after = f"after {self._clock.seconds() - begun:.1f} s"
            if answers and not told:
                told = True
                yield f"{after}: the order is answered: {answers[0]}"
            listed = await self._listed()
            if listed != shown:
                shown = listed
                yield f"{after}: current calls: {listed}"
            if self._hangs_up:
                match = match_current({"": wanted}, await self._entries() or ())[""]
                wanted = doubting(wanted, match)
                if match.entry is not None:
                    self._hangs_up = False
                    said = await self._asked(_HANG_UP, {"current_call_id": match.entry.id})
                    yield f"{after}: {_HANG_UP}: {said}"
            ended = ended + 1 if told and listed == "[]" else 0
            await deferLater(self._clock, _OFTEN)
        ended_at = self._clock.seconds()
        for _ in range(_LOG):
            await deferLater(self._clock, 1)
            said = await self._log(first)
            if said != logged:
                break
        yield f"log, {self._clock.seconds() - ended_at:.0f} s after the end: {said}"

    async def _entries(self) -> Sequence[CurrentCall] | None:
        """The calls that the PBX has; None where it does not say."""
        try:
            answer = await self._client.ask(_LIST, {})
        except ExtendError:
            return None
        return current_calls(answer) if isinstance(answer, Result) else None

    async def _form_of_list(self) -> str:
        """How the list is built; other people's calls are nobody's business."""
        try:
            answer = await self._client.ask(_LIST, {})
        except ExtendError as error:
            return f"no answer: {error}"
        listed = inside(answer.tree, "current_calls") if isinstance(answer, Result) else None
        if not isinstance(listed, Mapping):
            return self._masked(answer.data)
        calls = many(listed.get("current_call"))
        names = sorted({name for call in calls if isinstance(call, Mapping) for name in call})
        return f"{len(calls)} calls; the list has {sorted(listed)}, a call {names}"

    async def _listed(self) -> str:
        try:
            answer = await self._client.ask(_LIST, {})
        except ExtendError as error:
            return f"no answer: {error}"
        if isinstance(answer, Failure):
            return self._masked(answer.data)
        calls = many(inside(answer.tree, "current_calls", "current_call"))
        ours = [call for call in calls if self._is_ours(call)]
        return self._masked([{name: text_of(call, name) for name in _SHOWN} for call in ours])

    def _is_ours(self, call: object) -> bool:
        sides = [text_of(call, f"{side}_caller_id_number") for side in ("from", "to")]
        return any(_core(side).endswith(number) for side in sides for number in self._names if side)

    async def _account(self, extension: str) -> str | None:
        known = self._config.accounts.get(extension)
        if known is not None or self._config.login != "admin":
            return known
        answer = await self._client.ask("switchvox.extensions.getInfo", {"extensions": [extension]})
        return accounts(answer).get(extension) if isinstance(answer, Result) else None

    async def _log(self, first: str) -> str:
        answer = await self._client.ask("switchvox.systemClock.getInfo", {})
        today = (
            text_of(answer.tree, "system", "current_time")[:10]
            if isinstance(answer, Result)
            else ""
        )
        return await self._asked(
            "switchvox.callLogs.search",
            {
                "start_date": f"{today} 00:00:00",
                "end_date": f"{today} 23:59:59",
                "account_ids": [await self._account(first) or ""],
                "sort_field": "start_time",
                "sort_order": "DESC",
                "items_per_page": "1",
            },
        )

    def _masked(self, tree: object) -> str:
        """A tree as text, with the two numbers by their names and all others as signs."""
        return json.dumps(_mapped(tree, self._mask), ensure_ascii=False)

    def _mask(self, text: str) -> str:
        for number, name in self._names.items():
            before, found, after = text.rpartition(number)
            if found and not re.search(r"\d", after):
                return f"{re.sub(r'[0-9]', 'x', before)}{name}{after}"
        if re.fullmatch(r"[\d :.T-]*|[\d.]{1,12}", text) and not text.isdigit():
            return text  # a time, a version
        return _DIGITS.sub(lambda digits: "x" * len(digits[0]), text)


def _core(number: str) -> str:
    """A number without the signs of which nobody knows whether the PBX keeps them."""
    return number.lstrip("+").rstrip("#") or number


def _lengths(found: re.Match[str]) -> str:
    """How long a value is, in its place."""
    name, _, value = found[0].partition("=")
    inner = value.strip('"')
    return f"{name}={value.replace(inner, f'({len(inner)} characters)') if inner else value}"


def _mapped(tree: Any, change: Callable[[str], str]) -> Any:
    if isinstance(tree, Mapping):
        return {
            name: child if name == "code" else _mapped(child, change)  # an error's, and no number
            for name, child in tree.items()
        }
    if isinstance(tree, list):
        return [_mapped(child, change) for child in tree]
    return tree if tree is None or isinstance(tree, bool) else change(str(tree))
