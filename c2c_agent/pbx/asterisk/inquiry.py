"""Asking Asterisk what exists of calls, and what its dialplan has left of them.

One `Inquiry` asks for all calls. A list of channels is one of the whole PBX, however few calls it
is asked for; so ids are collected, one list at the most is on its way at any time, and the next one
waits for a while.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from c2c_agent.ami import actions
from c2c_agent.ami.link import AmiLink, LinkDown
from c2c_agent.ami.message import AmiError, Message
from c2c_agent.ami.pending import ActionTimedOut, LinkLost
from c2c_agent.pbx.asterisk.astdb import FAMILY

_log = Logger()

#: Seconds after which a call that was not found is looked for again before it is given up: an
#: order that was on its way when the link broke may only just be carried out.
_LOOK_AGAIN: Final = 2.0

#: What DBGet and DBGetTree say of an entry that is not there (main/db.c).
_NO_ENTRY: Final = "Database entry not found"

#: What an Asterisk without DBGetTree says of it (main/manager.c, `process_message`).
_NO_SUCH_ACTION: Final = "Invalid/unknown command"

#: Seconds from one list to the next, at the least.
_BETWEEN: Final = 2.0


@define(eq=False)
class _Pause:
    """Calls that are looked for again later; each with whether it was missing before."""

    calls: dict[str, bool]
    timer: IDelayedCall


class Inquiry:
    """Asks over `link`. One of three is told, once for each time that it was asked.

    `whose` says which request's call a listed channel belongs to, None where it is another's.
    `found` gets the channels of the call; `not_found` comes when two lists did not have it, and
    `not_listed` where Asterisk refuses to list. Where the link is lost, nobody is told: who wants
    to know asks again when it is back.
    """

    def __init__(
        self,
        link: AmiLink,
        clock: IReactorTime,
        *,
        whose: Callable[[Message], str | None],
        found: Callable[[str, Collection[Message]], None],
        not_found: Callable[[str], None],
        not_listed: Callable[[str], None],
    ) -> None:
        self._link = link
        self._clock = clock
        self._whose = whose
        self._found = found
        self._not_found = not_found
        self._not_listed = not_listed
        self._wanted: dict[str, bool] = {}  # for the next list: whether it was missing before
        self._listed_for: dict[str, bool] = {}  # those that the list on its way is for
        self._is_asking = False
        self._turn_at = float("-inf")  # when the next list may be asked for
        self._turn: IDelayedCall | None = None
        self._pauses: list[_Pause] = []

    # Which calls exist

    def ask(self, request_ids: Iterable[str]) -> None:
        """Find out about these calls; those that are asked for already are asked for once."""
        asked = [self._listed_for, *(pause.calls for pause in self._pauses)]
        for request_id in request_ids:
            if not any(request_id in calls for calls in asked):
                self._wanted.setdefault(request_id, False)
        self._send()

    def forget(self, request_id: str) -> None:
        """Nobody wants to know of a call any more."""
        for calls in (self._wanted, self._listed_for):
            calls.pop(request_id, None)
        for pause in self._pauses[:]:
            pause.calls.pop(request_id, None)
            if not pause.calls:
                self._end(pause)
        if not self._wanted:
            self._stop_waiting()

    def link_lost(self) -> None:
        """What was asked will not be answered."""
        self._wanted.clear()
        self._listed_for.clear()
        for pause in self._pauses[:]:
            self._end(pause)
        self._stop_waiting()
        self._turn_at = float("-inf")

    def _send(self) -> None:
        if not self._wanted or self._is_asking or self._turn is not None:
            return
        wait = self._turn_at - self._clock.seconds()
        if wait > 0:
            self._turn = self._clock.callLater(wait, self._have_turn)
            return
        self._is_asking = True
        self._turn_at = self._clock.seconds() + _BETWEEN
        self._listed_for, self._wanted = self._wanted, {}
        in_background(self._ask())

    def _have_turn(self) -> None:
        self._turn = None
        self._send()

    def _stop_waiting(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    async def _ask(self) -> None:
        try:
            await self._list()
        finally:
            self._is_asking = False
            self._send()

    async def _list(self) -> None:
        try:
            listed = await self._link.collect(actions.core_show_channels())
        except ActionTimedOut:
            calls = self._take_listed_for()
            # A slow Asterisk. Where the link is lost over it, who wants to know asks again.
            if self._link.is_up:
                self._pause(calls)
            return
        except AmiError as error:
            warn_of(error)
            calls = self._take_listed_for()
            self._turn_at = float("-inf")  # it cost nothing
            for request_id in calls if self._link.is_up else ():
                self._not_listed(request_id)
            return
        channels: defaultdict[str | None, list[Message]] = defaultdict(list)
        for channel in listed:
            channels[self._whose(channel)].append(channel)
        missing = {}
        for request_id, was_missing in self._take_listed_for().items():
            if request_id in channels:
                self._found(request_id, channels[request_id])
            elif was_missing:
                self._not_found(request_id)
            else:
                missing[request_id] = True
        self._pause(missing)

    def _take_listed_for(self) -> dict[str, bool]:
        calls, self._listed_for = self._listed_for, {}
        return calls

    def _pause(self, calls: dict[str, bool]) -> None:
        if calls:
            pause = _Pause(calls, self._clock.callLater(_LOOK_AGAIN, lambda: self._resume(pause)))
            self._pauses.append(pause)

    def _resume(self, pause: _Pause) -> None:
        self._pauses.remove(pause)
        self._wanted.update(pause.calls)
        self._send()

    def _end(self, pause: _Pause) -> None:
        self._pauses.remove(pause)
        pause.timer.cancel()

    # What the dialplan has left

    async def record(self, request_id: str) -> str | None:
        """The dialplan's record of a call; None where there is none. Raises AmiError."""
        try:
            entries = await self._link.collect(actions.db_get(FAMILY, request_id))
        except actions.ActionRefused as error:
            if _NO_ENTRY not in error.response.get("Message"):
                _log.warn("call {call}: {reason}", call=request_id, reason=str(error))
            return None
        return next((value for entry in entries if (value := entry.get("Val"))), "")

    async def recorded_calls(self) -> list[str]:
        """The calls of which there are records. None where Asterisk cannot tell at present."""
        try:
            entries = await self._link.collect(actions.db_get_tree(FAMILY))
        except actions.ActionRefused as error:
            if not error.response.get("Message").startswith((_NO_ENTRY, _NO_SUCH_ACTION)):
                warn_of(error)
            return []
        except AmiError as error:
            warn_of(error)
            return []
        return [entry.get("Key").rpartition("/")[2] for entry in entries]

    async def delete_record(self, request_id: str) -> None:
        """Delete the record of a call; the next link sees to it where this one is lost."""
        # Reading DB_DELETE is refused to AMI as dangerous; setting it deletes, too (func_db.c).
        order = actions.setvar(f"DB_DELETE({FAMILY}/{request_id})", "")
        try:
            response = await self._link.send(order)
        except AmiError as error:
            warn_of(error, request_id)
            return
        if response.response != "Success":
            warn_of(actions.ActionRefused(order.name, response), request_id)


def warn_of(error: AmiError, request_id: str | None = None) -> None:
    """Log what Asterisk said to something that is done without. Of a lost link the link tells."""
    if isinstance(error, LinkDown | LinkLost):
        return
    if request_id is None:
        _log.warn("{reason}", reason=str(error))
    else:
        _log.warn("call {call}: {reason}", call=request_id, reason=str(error))


def in_background(work: Coroutine[Any, Any, None]) -> None:
    """Let a coroutine run that nobody waits for; a mistake in it is logged."""
    Deferred.fromCoroutine(work).addErrback(
        lambda failure: _log.failure("a mistake in the Asterisk driver", failure)
    )
