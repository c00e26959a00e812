"""An AMI link whose other end is the test: it sees each action and answers when it likes."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred

from c2c_agent.ami.actions import Action, ActionRefused
from c2c_agent.ami.link import LinkDown
from c2c_agent.ami.message import AmiError, Message


def message(**headers: str) -> Message:
    """A message with these headers; `__` stands for a dash in a name."""
    lines = [f"{name.replace('__', '-')}: {value}" for name, value in headers.items()]
    return Message("\n".join(lines).encode())


@define(eq=False)
class Sent:
    """An action that was sent, and what the agent waits for."""

    action: Action
    action_id: str | None
    answer: Deferred[Message] | None = None
    items: Deferred[list[Message]] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The action's headers; of a repeated one the last."""
        return dict(self.action.headers)

    def succeed(self, **headers: str) -> None:
        """Asterisk answers with success, or with a list that has no items."""
        if self.items is not None:
            self.items.callback([])
        else:
            assert self.answer is not None
            self.answer.callback(message(Response="Success", **headers))

    def refuse(self, text: str) -> None:
        """Asterisk answers with an error."""
        response = message(Response="Error", Message=text)
        if self.items is not None:
            self.items.errback(ActionRefused(self.action.name, response))
        else:
            assert self.answer is not None
            self.answer.callback(response)

    def list(self, *items: Message) -> None:
        """Asterisk answers with a list."""
        assert self.items is not None
        self.items.callback(list(items))

    def fail(self, error: AmiError) -> None:
        """No answer comes."""
        waiting = self.items or self.answer
        assert waiting is not None
        waiting.errback(error)


class FakeLink:
    """What `AsteriskDriver` uses of an AmiLink."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[Sent] = []

    def send(self, action: Action, action_id: str | None = None) -> Deferred[Message]:
        """Keep an action until the test answers it."""
        answer = Deferred[Message]()
        sent = Sent(action, action_id, answer=answer)
        self._take(sent)
        return answer

    def collect(self, action: Action) -> Deferred[list[Message]]:
        """Keep an action that asks for a list until the test answers it."""
        items = Deferred[list[Message]]()
        self._take(Sent(action, None, items=items))
        return items

    def _take(self, sent: Sent) -> None:
        if self.is_up:
            self.sent.append(sent)
        else:
            sent.fail(LinkDown(f"{sent.action.name}: no link"))

    def last(self, name: str) -> Sent:
        """The action that was sent last, which must be of this name."""
        assert self.sent, f"no {name} was sent"
        assert self.sent[-1].action.name == name, self.sent[-1].action
        return self.sent[-1]

    def names(self) -> list[str]:
        """The names of all actions that were sent."""
        return [sent.action.name for sent in self.sent]
