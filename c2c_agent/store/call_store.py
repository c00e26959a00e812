"""The seam to a store: what the calls in progress, and what asks for them, need of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from c2c_agent.call.call import Call
from c2c_agent.config.sections import CallsConfig
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission, LimitReached
from c2c_agent.report.delivery import Report


class CallStore(Protocol):
    """What the dispatcher needs of `store.Store`."""

    def save(
        self, call: Call, reports: Sequence[Report] = (), *, patient: bool = False
    ) -> Deferred[None]:
        """Keep a call, and the reports of its change; fires when it is durable.

        `patient`: nothing waits for that, so it may be written with others a moment later.
        """

    def hurry(self) -> None:
        """Something waits now for what was saved patiently."""

    @property
    def shared(self) -> bool:
        """Whether other processes use it, too: then it counts calls."""

    @property
    def server_id(self) -> str:
        """Of the process whose calls these are; '' where no other uses it."""

    def claim(self, call: Call, key: Key | None, limits: CallsConfig) -> Deferred[Claim]:
        """Take a request for this process, unless it was made before."""

    def find(self, request_id: str) -> Deferred[Call | None]:
        """The call of a request."""

    def recent(self, limit: int, key_name: str | None = None) -> Deferred[list[Call]]:
        """The latest calls, newest first."""


@frozen
class Claim:
    """What became of the wish to have a request: the call that was there `earlier`, or none.

    `admitted`: what the limits say, where the store counts calls; None: it does not, or the call
    could not be placed anyway.
    """

    earlier: Call | None = None
    admitted: Admission | LimitReached | None = None


@frozen
class KeyRow:
    """A row of the table `keys`; `settings` is what its JSON says."""

    name: str
    sha256: str
    settings: object
