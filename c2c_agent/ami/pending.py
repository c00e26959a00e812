"""The actions that are out on a connection, and which of Asterisk's messages answers which.

`protocol` adds an action here when it sends one, and shows every message. An answer is known by
its ActionID, never by its place: events come in between, answers come late, twice or not at all,
and an OriginateResponse bears the ActionID of an action that was answered long ago.

    action ─> Response ─────────────────────────────────────> answered
    action ─> Response, EventList: start ─> event … event ─> event, EventList: Complete ─> answered
"""

from __future__ import annotations

from typing import Final, NoReturn

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from c2c_agent.ami.actions import Action, refusal
from c2c_agent.ami.message import AmiError, LocalAmiError, Message, RemoteAmiError

_log = Logger()

#: The header of the response that starts a list, and of the event that ends it (main/manager.c,
#: `astman_send_listack`, `astman_send_list_complete_start`).
_EVENT_LIST: Final = "EventList"


class LinkLost(AmiError):  # noqa: N818 - it says what happened, as Twisted's ConnectionLost does
    """The link was lost before the answer came. Asterisk may have carried the action out."""


class ActionTimedOut(AmiError):  # noqa: N818 - the same
    """No answer came in time. Asterisk may have carried the action out, or may still do so."""


@define(eq=False)
class _Sent:
    """An action that is out until the last message that belongs to it has come.

    `answer` is None from when nobody waits any more: answered, timed out, or cancelled. What still
    comes is then known for what it is.
    """

    name: str
    whole_list: bool  # the answer is not the response alone
    answer: Deferred[list[Message]] | None = None
    list_begun: bool = False
    messages: list[Message] = field(factory=list)

    def forget(self, _: object) -> None:
        """Keep in mind that nobody waits any more."""
        self.answer = None

    def fire(self) -> None:
        """Give the messages to who still waits."""
        answer, self.answer = self.answer, None
        if answer is None:
            _log.debug("AMI: the answer to {action} came too late", action=self.name)
        else:
            answer.callback(self.messages)

    def fail(self, error: AmiError) -> None:
        """Tell who still waits that no answer will come."""
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.errback(error)


class Pending:
    """The actions on one connection whose answers are not complete. `clock` is the reactor's."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._sent: dict[str, _Sent] = {}  # by ActionID

    def response_to(self, action: Action, action_id: str, seconds: float) -> Deferred[Message]:
        """Return a Deferred of the response to an action, Success or Error.

        Raises LocalAmiError if the ActionID is in use. The Deferred fails with ActionTimedOut
        after `seconds`, with LinkLost by `fail_all`, with CancelledError by its `cancel`.
        """
        answer = self._add(action, action_id, seconds, whole_list=False)
        return answer.addCallback(lambda messages: messages[0])

    def list_from(self, action: Action, action_id: str, seconds: float) -> Deferred[list[Message]]:
        """Return a Deferred of the items of the list that an action asks for.

        Raises and fails as `response_to` does; and it fails with ActionRefused or ShuttingDown if
        the response is not Success, with RemoteAmiError if no list comes of it.
        """

        def items(messages: list[Message]) -> list[Message]:
            response, *events = messages
            if response.response != "Success":
                raise refusal(action.name, response)
            if _EVENT_LIST not in response:
                raise RemoteAmiError(f"the answer to {action.name} is no list")
            # Never mind ListItems: Asterisk 16 counts 1 in an empty DBGetTree.
            return events

        return self._add(action, action_id, seconds, whole_list=True).addCallback(items)

    def _add(
        self, action: Action, action_id: str, seconds: float, *, whole_list: bool
    ) -> Deferred[list[Message]]:
        if action_id in self._sent:
            raise LocalAmiError(f"ActionID: {action_id!r} is that of an action that is still out")

        def timed_out(_: object, seconds: float) -> NoReturn:
            raise ActionTimedOut(f"{action.name}: no answer within {seconds:g} s")

        sent = self._sent[action_id] = _Sent(action.name, whole_list)
        answer: Deferred[list[Message]] = Deferred(sent.forget)
        answer.addTimeout(seconds, self._clock, timed_out)
        sent.answer = answer
        return answer

    def take_response(self, message: Message) -> None:
        """See to a response. One that nobody asked for is passed over.

        Asterisk answers a line that is too long twice, the second time without an ActionID.
        """
        sent = self._sent.get(message.action_id)
        if sent is None or sent.list_begun:
            said = message.get("Message") or message.response
            _log.debug("AMI: a response to nothing that was asked: {said!r}", said=said)
            return
        sent.messages.append(message)
        if message.get(_EVENT_LIST).lower() == "start":
            sent.list_begun = True
            if sent.whole_list:
                return
        else:
            del self._sent[message.action_id]
        sent.fire()

    def take_event(self, message: Message) -> bool:
        """See to an event if it belongs to a list, wanted or not; return whether it does."""
        sent = self._sent.get(message.action_id) if self._sent else None
        if sent is None or not sent.list_begun:
            return False
        if message.get(_EVENT_LIST).lower() == "complete":
            del self._sent[message.action_id]
            if sent.whole_list:
                sent.fire()
        elif sent.answer is not None:
            sent.messages.append(message)
        return True

    def fail_all(self, reason: str) -> None:
        """Fail every answer that is waited for with LinkLost."""
        lost, self._sent = self._sent, {}
        for sent in lost.values():
            sent.fail(LinkLost(f"{sent.name}: {reason}"))
